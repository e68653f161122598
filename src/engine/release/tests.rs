//! A release by hand: what a restart finds, and what it makes of it.

use super::*;
use crate::analysis;
use crate::record::{ArmCount, Intent, Look, OperationResult};
use crate::recovery::OpenRelease;
use crate::route::Operation;
use crate::settings::{AfterCrash, Canary, Limits, OnFail, Pass};
use crate::types::Group;

const STEPS: [&str; 3] = ["prepare", "canary", "bake"];

fn now(seconds: u64) -> Now {
    let wall = chrono::DateTime::UNIX_EPOCH + Duration::from_secs(seconds);
    Now { mono: Time(0) + Duration::from_secs(seconds), wall }
}

fn percent(value: u8) -> Percent {
    Percent::new(value).expect("a percent")
}

fn steps() -> Vec<Step> {
    let actions = [
        Action::Task(TaskId(0)),
        Action::Canary,
        Action::Wait { span: Duration::from_mins(1), watch: true },
    ];
    let step = |(name, action): (&str, Action)| Step {
        after_crash: AfterCrash::Ask,
        ..Step::new(name, action, Duration::from_mins(30))
    };
    STEPS.into_iter().zip(actions).map(step).collect()
}

fn canary() -> Canary {
    Canary {
        steps: vec![percent(10), Percent::FULL],
        pass: Pass::Time,
        objective: Some(3.0),
        soak: Duration::from_secs(5),
        wait: Duration::from_mins(5),
        own_times: std::collections::BTreeMap::new(),
        every: Duration::from_secs(2),
        on_fail: OnFail::RollBack,
        bake: Duration::from_mins(1),
        requests_min: 10,
        fail_when: Vec::new(),
        pass_when: Vec::new(),
        limits: Limits::default(),
        policy: analysis::Policy::default(),
    }
}

/// What the journal knows of it: two looks at many errors, the last with this verdict.
fn open(place: usize, state: ReleaseState, verdict: &str) -> OpenRelease {
    let facts = ReleaseStarted {
        release: 7,
        submission: "s".to_owned(),
        service: "web".to_owned(),
        version: "v2".to_owned(),
        plan: "default".to_owned(),
        kind: ReleaseKind::Deploy,
        hotfix: false,
        stable: Group::A,
        after: Vec::new(),
        steps: STEPS.iter().map(|name| (*name).to_owned()).collect(),
        baseline: std::collections::BTreeMap::new(),
        reason: Untrusted::default(),
        seen: Untrusted::default(),
    };
    let look = |verdict: &str| Look {
        release: 7,
        service: "web".to_owned(),
        place: 0,
        stable: Some(ArmCount { requests: 900, ..ArmCount::default() }),
        canary: Some(ArmCount { requests: 100, errors: 50, ..ArmCount::default() }),
        verdict: verdict.to_owned(),
        sentence: Untrusted::new("50 errors in 100 requests"),
    };
    let mark = |at: usize| match at.cmp(&place) {
        std::cmp::Ordering::Less => StepState::Done,
        std::cmp::Ordering::Equal => StepState::Running,
        std::cmp::Ordering::Greater => StepState::Waiting,
    };
    OpenRelease {
        facts,
        actor: Actor::engine(),
        at: now(0).wall,
        place,
        marks: (0..STEPS.len()).map(|at| (mark(at), Untrusted::default())).collect(),
        state,
        why: "as it was".to_owned(),
        back: None,
        canary_place: 0,
        looks: vec![look("NEED MORE DATA"), look(verdict)],
        failed: false,
        stuck: false,
        order: Vec::new(),
    }
}

fn recovered(open: OpenRelease) -> Release {
    let rollout =
        Rollout::new(canary(), false, false, crate::rule::Values::new(), Duration::from_secs(2));
    Release::recovered(ServiceId(0), open, steps(), Some(rollout), now(100))
}

/// How near the errors are to a fail.
fn evidence(release: &Release) -> f64 {
    release.view().canary.expect("it has a canary").evidence[0].fail
}

#[test]
fn evidence_survives_a_restart_until_a_person_resumes() {
    for place in [1, 2] {
        // Whether it was held, or held and then paused.
        for state in [ReleaseState::Held, ReleaseState::Paused] {
            let mut release = recovered(open(place, state, "HOLD"));
            assert!(evidence(&release) > 0.9, "step {place} {state:?}: {}", evidence(&release));
            release.resume("a person", now(101)).expect("it can be resumed");
            assert!(evidence(&release) < 0.1, "step {place} {state:?}: {}", evidence(&release));
        }
        let mut release = recovered(open(place, ReleaseState::Paused, "NEED MORE DATA"));
        release.resume("a person", now(101)).expect("it can be resumed");
        assert!(evidence(&release) > 0.9, "step {place}: nothing was held against it");
    }
}

#[test]
fn a_word_that_lets_it_go_on_counts_once_it_is_on_record() {
    let (id, other) = (EffectId(8), EffectId(9));
    let mut release = recovered(open(1, ReleaseState::Paused, "NEED MORE DATA"));
    release.resume("a person", now(101)).expect("it can be resumed");
    assert!(!release.goes());
    release.word_went_out(id);
    assert!(!release.word_recorded(other, None) && !release.goes());
    assert!(release.word_recorded(id, None) && release.goes());
    // Without its record nothing is as it was said.
    release.doing = Doing::Acting;
    release.promote("a person", now(102)).expect("it is at its canary");
    release.word_went_out(other);
    assert!(release.word_recorded(other, Some("the disk is full")));
    assert_eq!(release.state, ReleaseState::Held);
    assert_eq!(release.rollout.as_ref().map(Rollout::place), Some(0), "it is not promoted");
    // What is toward safety is not held up, nor held instead.
    release.resume("a person", now(103)).expect("it can be resumed");
    assert!(release.reply(true, &Untrusted::default()).is_err(), "one word at a time");
    release.word_went_out(EffectId(10));
    release.preempt(true, Some(Fence(3)), "an abort");
    assert!(release.word_recorded(EffectId(10), Some("the disk is full")));
    assert_eq!(release.state, ReleaseState::WalkingBack);
}

#[test]
fn a_fail_on_record_takes_it_back_after_a_restart() {
    for (state, expected) in [
        (ReleaseState::Running, ReleaseState::WalkingBack),
        (ReleaseState::Paused, ReleaseState::WalkingBack),
        // What was to follow is on record: people were asked.
        (ReleaseState::Held, ReleaseState::Held),
    ] {
        let failed = OpenRelease { failed: true, ..open(1, state, "FAIL") };
        assert_eq!(recovered(failed).state, expected, "{state:?}");
    }
}

#[test]
fn a_plan_that_failed_before_a_restart_asks_a_person() {
    let mut failed = OpenRelease { failed: true, ..open(0, ReleaseState::Running, "") };
    failed.facts.kind = ReleaseKind::Plan;
    failed.marks[0].0 = StepState::Failed;
    let mut release = recovered(failed);
    assert_eq!(release.state, ReleaseState::Held);
    release.resume("a person", now(101)).expect("it can be resumed");
    assert_eq!(release.state, ReleaseState::Running);
    assert_eq!(release.marks[0].state, StepState::Waiting);
    assert!(release.marks[0].touched, "what it left is still to be taken back");
}

#[test]
fn a_plan_that_goes_back_by_itself_does_so_after_a_restart() {
    let mut failed = OpenRelease { failed: true, ..open(0, ReleaseState::Running, "") };
    failed.facts.kind = ReleaseKind::Plan;
    failed.marks[0].0 = StepState::Failed;
    let mut steps = steps();
    steps[0].on_fail = OnFail::RollBack;
    let release = Release::recovered(ServiceId(0), failed, steps, None, now(100));
    assert_eq!(release.state, ReleaseState::WalkingBack);
}

#[test]
fn what_was_under_way_at_a_restart_follows_its_rule() {
    use AfterCrash::{Ask, Check, Repeat};
    for (rule, verify, state, doing) in [
        (Repeat, None, ReleaseState::Running, Doing::Idle),
        (Check, Some(TaskId(1)), ReleaseState::Running, Doing::Asked(Purpose::Recheck)),
        (Check, None, ReleaseState::Held, Doing::Idle),
        (Ask, Some(TaskId(1)), ReleaseState::Held, Doing::Idle),
    ] {
        let mut steps = steps();
        steps[0] = Step { after_crash: rule, verify, ..steps[0].clone() };
        let open = open(0, ReleaseState::Running, "");
        let release = Release::recovered(ServiceId(0), open, steps, None, now(100));
        assert_eq!((release.state, release.doing), (state, doing), "{rule:?}, {verify:?}");
    }
}

#[test]
fn a_plan_that_changed_since_can_only_be_aborted() {
    let mut steps = steps();
    "another".clone_into(&mut steps[2].name);
    let open = open(1, ReleaseState::Paused, "PASS");
    let mut release = Release::recovered(ServiceId(0), open, steps, None, now(100));
    assert_eq!(release.state, ReleaseState::Held);
    assert!(release.resume("a person", now(101)).is_err());
}

#[test]
fn no_step_is_undone_before_the_traffic_is_proven_back() {
    use OperationResult::{Partial, Unknown, Verified};
    for (result, undoes) in [(Verified, true), (Partial, false), (Unknown, false)] {
        let mut steps = steps();
        steps[0].undo = Some(TaskId(4));
        let back = Some((ReleaseResult::RolledBack, true));
        let open = OpenRelease { back, ..open(1, ReleaseState::WalkingBack, "FAIL") };
        let mut release = Release::recovered(ServiceId(0), open, steps, None, now(100));
        release.marks[0].state = StepState::Done;
        release.doing = Doing::Splitting(Some(Fence(3)));
        let mut route = Route::new(ServiceId(0), &[]);
        let mut next = |operation: Operation| {
            route.show_ended(operation);
            let facts = Facts {
                now: now(101),
                route: &route,
                flag: None,
                probes: Vec::new(),
                maintenance: None,
                validity: Validity::None,
            };
            release.back(&facts)
        };
        let rollback = || {
            let intent = Intent {
                fence: Fence(3),
                submission: "s".to_owned(),
                service: "web".to_owned(),
                verb: "rollback".to_owned(),
                stable: Group::A,
                from: Some(Percent::FULL),
                to: Percent::ZERO,
                reason: Untrusted::default(),
                seen: Untrusted::default(),
                routers: Vec::new(),
            };
            Operation::new(Fence(3), intent, Actor::engine(), true, now(100))
        };
        let ended = || rollback().ended(result, &Untrusted::default());
        assert!(next(rollback()).is_none(), "it waits for the traffic");
        if !undoes {
            assert!(matches!(next(ended()), Some(Move::Page { .. })), "{result:?}");
        }
        assert!(next(rollback()).is_none(), "{result:?}: it drifted, and waits for it again");
        if !undoes {
            assert!(matches!(next(ended()), Some(Move::Page { .. })), "{result:?}");
        }
        let last = next(ended());
        let undone = matches!(last, Some(Move::Task { task: TaskId(4), .. }));
        assert_eq!(undone, undoes, "{result:?}: {last:?}");
        assert_eq!(release.back.ending == ReleaseResult::Failed, !undoes, "{result:?}");
    }
}
