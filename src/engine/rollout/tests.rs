//! What looks come to when their readings are late or missing.

use std::collections::BTreeMap;

use super::*;
use crate::settings::{Limits, StepTimes};

fn now(seconds: u64) -> Now {
    let wall = chrono::DateTime::UNIX_EPOCH + Duration::from_secs(seconds);
    Now { mono: Time(0) + Duration::from_secs(seconds), wall }
}

/// Its split is verified at second 10; the source is read every 2 s.
fn watching(objective: Option<f64>) -> Rollout {
    let canary = Canary {
        steps: vec![Percent::FULL],
        pass: Pass::Time,
        objective,
        soak: Duration::from_secs(5),
        wait: Duration::from_mins(5),
        own_times: BTreeMap::new(),
        every: Duration::from_secs(2),
        on_fail: OnFail::RollBack,
        bake: Duration::ZERO,
        requests_min: 10,
        fail_when: Vec::new(),
        pass_when: Vec::new(),
        limits: Limits::default(),
        policy: Policy::default(),
    };
    let mut rollout = Rollout::new(canary, false, false, Values::new(), Duration::from_secs(2));
    rollout.verified(now(10));
    rollout
}

fn delta() -> Delta {
    let arm = || Some(ArmCount { requests: 500, ..ArmCount::default() });
    Delta { stable: arm(), canary: arm() }
}

#[test]
fn an_answer_is_as_old_as_its_question() {
    for (asked, came, expected) in [
        (16, 17, "PASS"),
        // The machine slept while it was on its way.
        (16, 60, "NO DATA"),
    ] {
        let mut rollout = watching(None);
        let (from, to) = (Some(now(12).mono), Some(now(asked).mono));
        assert!(rollout.observe(delta(), from, to, now(came)), "it is time for a look");
        let delta = rollout.take();
        rollout.look(&delta, Values::new(), now(came));
        assert_eq!(rollout.word(), expected, "asked at {asked} s, came at {came} s");
        let passes = matches!(rollout.next(now(came)), Next::Pass(_));
        assert_eq!(passes, expected == "PASS", "{:?}", rollout.next(now(came)));
    }
}

#[test]
fn a_rule_without_figures_lets_nothing_pass_by_time() {
    let mut rollout = watching(None);
    for (source, figure, passes) in [
        ("canary.latency_avg > baseline.latency_avg", None, false),
        ("canary.latency_avg > baseline.latency_avg", Some("baseline.latency_avg"), true),
        // At 100 % nobody is left on stable.
        ("canary.latency_avg > stable.latency_avg", None, true),
    ] {
        let rule = Rule::compile(source, rule::CANARY_NAMES).expect("it compiles");
        rollout.settings.fail_when = vec![rule];
        let names = ["canary.latency_avg"].into_iter().chain(figure);
        let values: Values = names.map(|name| (name.to_owned(), 5.0)).collect();
        assert!(rollout.observe(delta(), Some(now(12).mono), Some(now(16).mono), now(17)));
        rollout.look(&delta(), values, now(17));
        let next = rollout.next(now(17));
        assert_eq!(matches!(next, Next::Pass(_)), passes, "{source}: {next:?}");
        let Next::Hold(why) = rollout.next(now(400)) else { panic!("{source}: its time is up") };
        assert_eq!(why.contains("has no data: baseline.latency_avg"), !passes, "{why}");
        rollout.verified(now(10));
    }
}

#[test]
fn what_began_before_the_split_was_verified_is_left_out() {
    for (from, counts) in [(None, false), (Some(9), false), (Some(10), true)] {
        let mut rollout = watching(None);
        let from = from.map(|seconds| now(seconds).mono);
        let observed = rollout.observe(delta(), from, Some(now(13).mono), now(13));
        assert_eq!((observed, rollout.take() != Delta::default()), (counts, counts), "{from:?}");
    }
}

#[test]
fn a_person_who_resumes_starts_the_evidence_anew() {
    for (word, stays) in [("FAIL", false), ("HOLD", false), ("NEED MORE DATA", true)] {
        let mut rollout = watching(Some(3.0));
        let bad = |errors| Some(ArmCount { requests: 500, errors, ..ArmCount::default() });
        rollout.replay(&Delta { stable: bad(0), canary: bad(100) });
        rollout.judged(word, "said");
        let before = rollout.view().evidence;
        rollout.resume(now(20));
        assert_eq!(rollout.view().evidence == before, stays, "{word}");
    }
}

/// 5 % for 15 min, then 50 and 100 % for 2 min each, by time.
fn stepped() -> Rollout {
    let minutes = Duration::from_mins;
    let percent = |value| Percent::new(value).expect("a percent");
    let first = StepTimes { soak: minutes(15), wait: minutes(20) };
    let mut rollout = watching(None);
    rollout.settings = Canary {
        steps: [5, 50, 100].map(percent).to_vec(),
        soak: minutes(2),
        wait: minutes(10),
        own_times: BTreeMap::from([(0, first)]),
        ..rollout.settings
    };
    rollout
}

/// Looks each two seconds at what `count` says, until a step comes to something.
fn until_over(
    rollout: &mut Rollout,
    from: u64,
    count: impl Fn(u64) -> Option<ArmCount>,
) -> (u64, Next) {
    for after in (2..10_000).step_by(2) {
        let at = now(from + after);
        let delta = Delta { stable: count(after), canary: count(after) };
        let before = now(from + after - 2).mono;
        if rollout.observe(delta, Some(before), Some(at.mono), at) {
            let delta = rollout.take();
            rollout.look(&delta, Values::new(), at);
        }
        let next = rollout.next(at);
        if next != Next::Stay {
            return (after, next);
        }
    }
    panic!("it never ends")
}

fn healthy() -> ArmCount {
    ArmCount { requests: 100, ..ArmCount::default() }
}

#[test]
fn a_step_may_have_times_of_its_own() {
    let mut rollout = stepped();
    for (place, seconds) in [(0, 15 * 60), (1, 2 * 60), (2, 2 * 60)] {
        rollout.enter(place);
        rollout.verified(now(1000));
        let soak = rollout.view().soak_until.expect("it soaks");
        assert_eq!(soak.age(now(1000 + seconds)), Duration::ZERO, "step {place}");
        let (after, next) = until_over(&mut rollout, 1000, |_| Some(healthy()));
        assert!(matches!(next, Next::Pass(_)), "step {place}: {next:?}");
        assert_eq!(after, seconds, "step {place}");
    }
}

#[test]
fn counts_that_vanish_in_mid_step_hold_it() {
    for (place, wait) in [(0, 20 * 60), (1, 10 * 60)] {
        let mut rollout = stepped();
        rollout.enter(place);
        rollout.verified(now(1000));
        let gone = |after: u64| (after < 100).then(healthy);
        let (after, next) = until_over(&mut rollout, 1000, gone);
        let Next::Hold(why) = next else { panic!("{next:?}") };
        assert!(why.contains("NO DATA"), "{why}");
        assert_eq!((after, rollout.word()), (wait, "NO DATA"), "step {place}");
    }
}
