//! The engine by hand: what wins, what is on record, and when it may end.

use super::*;
use crate::reading::{Lease, Observation, SplitReading, WriteAnswer};
use crate::settings::{self, Step};
use crate::types::{Failure, FailureKind, Status};

const WEB: ServiceId = ServiceId(0);
const EDGE: RouterId = RouterId(0);

fn percent(value: u8) -> Percent {
    Percent::new(value).expect("a percent")
}

fn settings() -> Settings {
    let service = settings::Service {
        name: "web".into(),
        alias: "web".into(),
        runbook: None,
        probes: vec![ProbeId(0)],
        routers: vec![EDGE],
        signals: None,
        canary: None,
        triggers: Vec::new(),
        checks: Vec::new(),
        flag: false,
        deploy: None,
        recovery: None,
        maintenance: None,
        phases: Vec::new(),
    };
    let router = settings::Router {
        service: WEB,
        name: "proxy".into(),
        kind: "http".into(),
        reread: Duration::from_secs(5),
        timeout: Duration::from_secs(3),
        manual: "set {a} {b}".into(),
        fallback: None,
    };
    let probe = settings::Probe {
        service: WEB,
        name: "proxy".into(),
        interval: Duration::from_secs(5),
        timeout: Duration::from_secs(1),
        degraded_above: None,
        unhealthy_above: None,
        rise: 1,
        fall: 1,
    };
    let switch = Step::new("switch", settings::Action::Switch, Duration::from_mins(30));
    let plan = settings::Plan { name: "go".into(), service: Some(WEB), steps: vec![switch] };
    Settings {
        services: vec![service],
        plans: vec![plan],
        routers: vec![router],
        probes: vec![probe],
        ..Settings::default()
    }
}

/// An engine with one router that obeys, and a journal that does as it is told.
struct Rig {
    engine: Engine,
    now: Now,
    effects: Vec<Effect>,
    canary: u8,
    readable: bool,
    journal: Appended,
    /// What is durable, in its order.
    entries: Vec<Entry>,
    answers: Vec<Reply>,
    submissions: u32,
    observation: Observation,
}

impl Rig {
    fn new() -> Rig {
        Rig::recovered(Vec::new())
    }

    fn recovered(entries: Vec<Entry>) -> Rig {
        Rig::restarted(entries, Some(0))
    }

    /// With what the router shows, where it can be read.
    fn restarted(entries: Vec<Entry>, shown: Option<u8>) -> Rig {
        let now = Now { mono: Time(3_600_000_000), wall: chrono::DateTime::UNIX_EPOCH };
        let mut effects = Vec::new();
        let settings = settings();
        let engine = Engine::recover(settings, "test", 1, &entries, Fence(0), now, &mut effects);
        let mut rig = Rig {
            engine,
            now,
            effects,
            canary: shown.unwrap_or_default(),
            readable: shown.is_some(),
            journal: Appended::Durable,
            entries,
            answers: Vec::new(),
            submissions: 0,
            observation: Observation {
                status: Status::Up,
                latency: Some(Duration::from_millis(5)),
                message: Untrusted::default(),
                certificate_expires: None,
                clock_ahead_s: None,
            },
        };
        rig.play(1);
        rig
    }

    fn fails() -> Appended {
        Appended::Failed { why: Untrusted::new("the disk is full") }
    }

    fn answer(&mut self) {
        while !self.effects.is_empty() {
            for effect in std::mem::take(&mut self.effects) {
                let input = match effect {
                    Effect::SetSplit { id, router, weights, .. } => {
                        self.canary = weights.b.get();
                        Input::SplitSet { id, router, answer: WriteAnswer::Applied }
                    }
                    Effect::ReadSplit { id, router, .. } => {
                        if !self.readable {
                            let result = Err(Failure::new(FailureKind::Timeout, "no answer"));
                            self.engine.handle(
                                self.now,
                                Input::SplitRead { id, router, result },
                                &mut self.effects,
                            );
                            continue;
                        }
                        let b = f64::from(self.canary);
                        let note = Untrusted::default();
                        let reading = SplitReading {
                            a: 100.0 - b,
                            b,
                            fence: None,
                            note,
                            lease: Lease::default(),
                        };
                        Input::SplitRead { id, router, result: Ok(reading) }
                    }
                    Effect::Append { id, entry, .. } => {
                        if self.journal == Appended::Durable {
                            self.entries.push(*entry);
                        }
                        Input::Appended { id, result: self.journal.clone() }
                    }
                    Effect::Answer(reply) => {
                        self.answers.push(reply);
                        continue;
                    }
                    Effect::Probe { id, probe } => {
                        Input::Probed { id, probe, observation: self.observation.clone() }
                    }
                    Effect::ReadHost { .. }
                    | Effect::ReadFeed { .. }
                    | Effect::Measure { .. }
                    | Effect::Task { .. }
                    | Effect::Acknowledge { .. }
                    | Effect::Notify { .. }
                    | Effect::Escalate { .. } => panic!("nobody asks for this here: {effect:?}"),
                };
                self.engine.handle(self.now, input, &mut self.effects);
            }
        }
    }

    /// Answers all that is asked for, for this long.
    fn play(&mut self, seconds: u64) {
        let end = self.now.mono + Duration::from_secs(seconds);
        self.answer();
        while let Some((at, _)) = self.engine.next_deadline().filter(|(at, _)| *at <= end) {
            self.to(at);
            self.engine.handle_deadline(self.now, &mut self.effects);
            self.answer();
        }
        self.to(end);
    }

    fn to(&mut self, at: Time) {
        self.now.wall += at.since(self.now.mono);
        self.now.mono = self.now.mono.max(at);
    }

    fn submission(&mut self, command: Command, expected: Option<Expected>) -> Submission {
        self.submissions += 1;
        Submission {
            id: format!("s{}", self.submissions),
            command,
            expected,
            seen: Untrusted::new("a screen"),
            actor: Actor { user: Untrusted::new("ada"), ..Actor::engine() },
            read_only: false,
        }
    }

    fn submit(&mut self, command: Command, expected: Option<Expected>) {
        let submission = self.submission(command, expected);
        self.engine.handle(self.now, Input::Submitted(submission), &mut self.effects);
    }

    fn seen(&mut self) -> Option<Expected> {
        self.engine.snapshot().services[0].expected()
    }

    fn split(&mut self, to: u8) {
        let expected = self.seen();
        self.submit(
            Command::Split { service: "web".into(), canary: percent(to), reason: why() },
            expected,
        );
    }

    fn rollback(&mut self) {
        self.submit(Command::Rollback { service: "web".into(), reason: why() }, None);
    }

    fn accepted(&self) -> bool {
        matches!(self.answers.last(), Some(Reply::Accepted { .. }))
    }

    fn set(&self) -> Option<u8> {
        self.engine.routes[0].set.map(Percent::get)
    }
}

fn why() -> Untrusted {
    Untrusted::new("why")
}

#[test]
fn all_traffic_to_stable_wins_whatever_moved_since() {
    let check = |command: Command, wins: bool| {
        let mut rig = Rig::new();
        let outdated = rig.seen();
        rig.split(25);
        rig.play(1);
        assert!(rig.accepted() && rig.set() == Some(25));
        rig.submit(command.clone(), outdated);
        rig.play(1);
        assert_eq!((rig.accepted(), rig.set() == Some(0)), (wins, wins), "{command:?}");
    };
    let split = |to| Command::Split { service: "web".into(), canary: percent(to), reason: why() };
    check(Command::Abort { service: "web".into(), reason: why() }, true);
    check(Command::Rollback { service: "web".into(), reason: why() }, true);
    check(split(0), true);
    check(split(10), false);
    check(Command::Promote { service: "web".into(), reason: why() }, false);
}

#[test]
fn an_abort_joins_the_rollback_in_flight() {
    let mut rig = Rig::new();
    rig.split(25);
    rig.play(1);
    rig.rollback();
    rig.submit(Command::Abort { service: "web".into(), reason: why() }, None);
    rig.play(1);
    let fences: Vec<Option<Fence>> = rig.answers[1..]
        .iter()
        .map(|reply| match reply {
            Reply::Accepted { fence, .. } => *fence,
            Reply::Refused { .. } => None,
        })
        .collect();
    assert_eq!(fences, [Some(Fence(2)), Some(Fence(2))]);
}

fn answers(entries: &[Entry]) -> Vec<&Event> {
    let answers = |event: &&Event| matches!(event, Event::JournalAnswers { .. });
    entries.iter().map(|entry| &entry.event).filter(answers).collect()
}

#[test]
fn what_an_outage_left_out_is_appended_once_the_journal_answers() {
    let mut rig = Rig::new();
    rig.split(25);
    rig.play(1);
    rig.journal = Rig::fails();
    rig.rollback();
    rig.play(10);
    assert!(rig.accepted(), "safety needs no journal");
    assert_eq!((rig.set(), rig.canary), (Some(0), 0));
    assert!(rig.engine.ledger.unrecorded() > 0);
    assert_eq!(fold(&rig.entries).services["web"].set, Some(percent(25)), "as the journal is now");
    rig.journal = Appended::Durable;
    rig.play(3);
    assert_eq!(rig.engine.ledger.unrecorded(), 0);
    assert_eq!(rig.engine.ledger.state, JournalState::Writable, "noticed by itself");
    let service = &fold(&rig.entries).services["web"];
    assert_eq!((service.set, service.open.is_some()), (Some(Percent::ZERO), false));
    assert_eq!(service.ended.as_ref().map(|ended| ended.result), Some(OperationResult::Verified));
    assert_eq!(answers(&rig.entries).len(), 1);
    let mut ids: Vec<&str> = rig.entries.iter().map(|entry| entry.id.as_str()).collect();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "nothing is recorded twice");
}

#[test]
fn what_was_left_out_comes_before_anything_newer() {
    let mut rig = Rig::new();
    rig.split(25);
    rig.play(1);
    rig.journal = Rig::fails();
    rig.rollback();
    rig.play(1);
    rig.journal = Appended::Durable;
    rig.split(10);
    rig.play(1);
    let mut verbs = Vec::new();
    for entry in &rig.entries {
        if let Event::Intent(intent) = &entry.event {
            verbs.push(intent.verb.as_str());
        }
    }
    assert_eq!(verbs, ["split", "rollback", "split"]);
    assert_eq!(fold(&rig.entries).services["web"].set, Some(percent(10)));
}

#[test]
fn what_waits_for_the_journal_is_bounded_and_intents_stay_longest() {
    let mut rig = Rig::new();
    rig.journal = Rig::fails();
    for _ in 0..40 {
        rig.rollback();
        rig.play(1);
        rig.canary = 25;
        rig.play(6);
    }
    assert!(rig.engine.ledger.unrecorded() <= 33, "{}", rig.engine.ledger.unrecorded());
    rig.journal = Appended::Durable;
    rig.play(3);
    let said = answers(&rig.entries);
    let [Event::JournalAnswers { left_out, .. }] = said[..] else { panic!("{said:?}") };
    assert!(*left_out > 0, "and what is gone is said");
    assert_eq!(fold(&rig.entries).services["web"].set, rig.engine.routes[0].set);
}

#[test]
fn a_journal_that_only_spools_is_asked_until_it_takes_records() {
    let mut rig = Rig::new();
    rig.journal = Appended::Spooled { why: Untrusted::new("full") };
    rig.rollback();
    rig.play(1);
    assert!(matches!(rig.engine.ledger.state, JournalState::Spooling { .. }));
    // A knock is not toward safety: the spool does not take it, and that says nothing new.
    rig.journal = Rig::fails();
    rig.play(3);
    assert!(matches!(rig.engine.ledger.state, JournalState::Spooling { .. }));
    rig.journal = Appended::Durable;
    rig.play(3);
    assert_eq!(rig.engine.ledger.state, JournalState::Writable);
}

#[test]
fn an_engine_stays_while_there_is_something_to_watch_over() {
    let mut rig = Rig::new();
    let idle = |rig: &Rig| (rig.engine.is_idle(rig.now), rig.engine.may_retire());
    assert_eq!(idle(&rig), (true, true), "nothing was ever set");
    rig.split(25);
    assert_eq!(idle(&rig), (false, false), "a record is on its way");
    rig.play(60);
    assert_eq!(idle(&rig), (false, true), "a canary is watched; another engine can do that, too");
    rig.rollback();
    rig.play(60);
    assert_eq!(idle(&rig), (false, true), "the hold");
    rig.play(15 * 60);
    assert_eq!(idle(&rig), (true, true), "all is stable, and was for long");
    rig.split(100);
    rig.play(60);
    assert_eq!(idle(&rig), (true, true), "all traffic is on one version");
    rig.journal = Rig::fails();
    rig.submit(Command::Abort { service: "web".into(), reason: why() }, None);
    rig.play(60);
    assert_eq!(idle(&rig), (false, false), "what no disk has dies with the engine");
    rig.journal = Appended::Durable;
    rig.play(3);
    assert_eq!(idle(&rig), (true, true));
    // A restart in the hold goes on with it.
    rig.rollback();
    rig.play(60);
    let mut rig = Rig::recovered(rig.entries);
    rig.play(1);
    assert!(!rig.engine.is_idle(rig.now));
}

#[test]
fn every_submission_is_on_record_with_its_actor() {
    let mut rig = Rig::new();
    rig.split(25);
    rig.play(1);
    rig.rollback();
    rig.rollback();
    rig.submit(Command::Abort { service: "web".into(), reason: Untrusted::new("too") }, None);
    rig.submit(Command::Verify { service: "web".into() }, None);
    rig.play(1);
    let mut said = Vec::new();
    for entry in &rig.entries {
        match &entry.event {
            Event::Joined { fence, submission, verb, reason, .. } => {
                let text = format!("{submission} {verb} #{fence} {reason}");
                said.push((text, entry.actor.user.display().to_owned()));
            }
            Event::Reread { submission, service } => {
                let text = format!("{submission} reads {service}");
                said.push((text, entry.actor.user.display().to_owned()));
            }
            other => assert!(!format!("{other:?}").contains("s3"), "{other:?}"),
        }
    }
    let by_ada = |text: &str| (text.to_owned(), "ada".to_owned());
    let expected = ["s3 rollback #2 why", "s4 abort #2 too", "s5 reads web"].map(by_ada);
    assert_eq!(said, expected);
}

#[test]
fn a_probe_without_an_answer_is_a_source_that_fails() {
    let mut rig = Rig::new();
    let state = |rig: &mut Rig| {
        let now = rig.now;
        let picture = rig.engine.snapshot();
        let source = picture.sources.iter().find(|source| source.kind == "probe");
        let source = source.expect("a probe").clone();
        (source.state_at(now).word(), source.error.display().to_owned())
    };
    rig.play(6);
    assert_eq!(state(&mut rig), ("ok", String::new()));
    rig.observation.latency = None;
    for status in [Status::Down, Status::Unknown] {
        rig.observation.status = status;
        rig.observation.message = Untrusted::new("connection refused");
        rig.play(6);
        assert_eq!(state(&mut rig), ("failing", "connection refused".to_owned()), "{status}");
    }
    // A bad answer is an answer.
    rig.observation.latency = Some(Duration::from_millis(5));
    rig.play(6);
    assert_eq!(state(&mut rig), ("ok", String::new()));
}

#[test]
fn names_of_sources_are_unique() {
    let mut rig = Rig::new();
    let picture = rig.engine.snapshot();
    let names: Vec<&str> = picture.sources.iter().map(|source| source.name.as_str()).collect();
    assert_eq!(names, ["web/proxy probe", "web/proxy router"]);
}

#[test]
fn a_reading_of_a_router_ages() {
    use crate::snapshot::RouterState::{Failing, Late, Live, Stale, Waiting};
    let mut rig = Rig::new();
    let route = rig.engine.snapshot().services[0].route.clone().expect("a route");
    let mut view = route.routers[0].clone();
    let at = view.read.expect("it was read");
    let check = |seconds: u64, state| {
        let now = Now { mono: at.mono + Duration::from_secs(seconds), wall: at.wall };
        assert_eq!(view.state_at(now), state, "after {seconds} s");
    };
    check(7, Live);
    check(8, Late);
    check(15, Late);
    check(16, Stale);
    view.error = Untrusted::new("refused");
    assert_eq!(view.state_at(at), Failing);
    view.error = Untrusted::default();
    view.read = None;
    assert_eq!(view.state_at(at), Waiting);
}

#[test]
fn a_disk_that_does_not_answer_collects_a_bounded_queue() {
    let mut rig = Rig::new();
    for _ in 0..2_000 {
        rig.submit(Command::Verify { service: "web".into() }, None);
        rig.submit(Command::Escalate { key: "none".into() }, None);
        rig.rollback();
    }
    let waiting = rig.engine.ledger.unrecorded();
    assert!((512..520).contains(&waiting), "{waiting}");
    rig.play(3);
    assert_eq!((rig.set(), rig.engine.ledger.unrecorded()), (Some(0), 0), "safety went on");
}

#[test]
fn a_switch_whose_proof_is_lost_is_proven_by_what_the_routers_show() {
    let mut rig = Rig::new();
    let (plan, service) = ("go".to_owned(), "web".to_owned());
    let expected = rig.seen();
    rig.submit(Command::Run { plan, service, version: String::new(), reason: why() }, expected);
    rig.play(5);
    let ended = |entries: &[Entry]| {
        let mut ends = entries.iter().filter_map(|entry| match &entry.event {
            Event::ReleaseEnded { stable, sentence, .. } => Some((*stable, sentence.to_string())),
            _ => None,
        });
        ends.next_back()
    };
    let whole = "all steps are done: the arms change roles";
    assert_eq!(ended(&rig.entries), Some((Group::B, whole.to_owned())));
    // The engine was killed when the last step was on record, and the proof before it was not.
    let mut kept = rig.entries;
    kept.retain(|entry| !matches!(entry.event, Event::Outcome(_) | Event::ReleaseEnded { .. }));
    let part = "all steps are done; the proof of the switch is lost and the canary has up to 40 %: \
                the arms keep their roles";
    for (shown, expected) in [(100, (Group::B, whole)), (40, (Group::A, part))] {
        let mut rig = Rig::restarted(kept.clone(), Some(shown));
        rig.play(5);
        assert_eq!(ended(&rig.entries), Some((expected.0, expected.1.to_owned())));
    }
    let mut rig = Rig::restarted(kept, None);
    rig.play(60);
    assert_eq!(ended(&rig.entries), None);
    let view = rig.engine.snapshot().services[0].release.clone().expect("it is open");
    assert!(view.sentence.display().contains("every router must be read first"), "{view:?}");
    (rig.readable, rig.canary) = (true, 100);
    rig.play(120);
    assert_eq!(ended(&rig.entries), Some((Group::B, whole.to_owned())));
}

fn freeze(seconds: u64) -> Command {
    Command::Freeze { service: Some("web".into()), seconds, reason: why() }
}

#[test]
fn under_a_freeze_exposure_only_falls() {
    let check = |command: Command, taken: bool| {
        let mut rig = Rig::new();
        rig.split(50);
        rig.play(1);
        rig.submit(freeze(600), None);
        rig.play(1);
        let expected = rig.seen();
        rig.submit(command.clone(), expected);
        rig.play(1);
        assert_eq!(rig.accepted(), taken, "{command:?}: {:?}", rig.answers.last());
        if let Some(Reply::Refused { why, .. }) = rig.answers.last() {
            for part in ["web is frozen until 00:10:02Z by ada: why", "thaw lifts it"] {
                assert!(why.display().contains(part), "{part}: {why}");
            }
        }
    };
    let service = || "web".to_owned();
    let split = |to| Command::Split { service: service(), canary: percent(to), reason: why() };
    check(split(60), false);
    check(Command::Promote { service: service(), reason: why() }, false);
    check(split(20), true);
    check(split(0), true);
    check(Command::Abort { service: service(), reason: why() }, true);
    check(Command::Rollback { service: service(), reason: why() }, true);
}

#[test]
fn a_freeze_that_is_over_leaves_the_picture_by_itself() {
    let mut rig = Rig::new();
    rig.submit(freeze(90), None);
    rig.play(89);
    assert_eq!(rig.engine.snapshot().head.freezes.len(), 1);
    rig.play(2);
    assert_eq!(rig.engine.snapshot().head.freezes.len(), 0);
    assert!(!rig.engine.schedule.is_set(Timer::Lapse));
    // The wall clock steps over the end.
    rig.submit(freeze(3_600), None);
    rig.play(1);
    assert_eq!(rig.engine.snapshot().head.freezes.len(), 1);
    rig.now.wall += Duration::from_hours(2);
    rig.play(60);
    assert_eq!(rig.engine.snapshot().head.freezes.len(), 0);
}

#[test]
fn what_was_said_is_accepted_once_it_is_on_record() {
    let freeze = |rig: &Rig| Submission {
        id: "said".to_owned(),
        command: Command::Freeze {
            service: None,
            seconds: 60,
            reason: Untrusted::new("a holiday"),
        },
        expected: None,
        seen: Untrusted::default(),
        actor: Actor { user: Untrusted::new("ada"), ..rig.entries[0].actor.clone() },
        read_only: false,
    };
    let fails = Rig::fails();
    for (result, told_so) in [
        (Some(Appended::Durable), ""),
        (Some(fails), "a restart may forget it: no record has it (the disk is full)"),
        (None, "a restart may forget it: the journal does not answer"),
    ] {
        let mut rig = Rig::new();
        let submission = freeze(&rig);
        let (mut effects, mut later) = (Vec::new(), Vec::new());
        rig.engine.handle(rig.now, Input::Submitted(submission.clone()), &mut effects);
        rig.engine.handle(rig.now, Input::Submitted(submission), &mut effects);
        assert!(told(&effects).is_empty(), "nothing is on record yet: {effects:?}");
        assert!(!rig.engine.snapshot().head.freezes.is_empty(), "it is in force at once");
        let Some(Effect::Append { id, .. }) = effects.first() else {
            panic!("it is said on record: {effects:?}");
        };
        if let Some(result) = result {
            rig.engine.handle(rig.now, Input::Appended { id: *id, result }, &mut later);
        } else {
            let mono = rig.now.mono + Duration::from_secs(21);
            rig.engine.handle_deadline(Now { mono, ..rig.now }, &mut later);
        }
        assert_eq!(told(&later), [(true, told_so.to_owned())]);
    }
}

/// The answers: accepted, and what is said beside it, or why not.
fn told(effects: &[Effect]) -> Vec<(bool, String)> {
    let replies = effects.iter().filter_map(|effect| match effect {
        Effect::Answer(Reply::Accepted { note, .. }) => Some((true, note.to_string())),
        Effect::Answer(Reply::Refused { why, .. }) => Some((false, why.to_string())),
        _ => None,
    });
    replies.collect()
}

#[test]
fn what_lets_more_happen_is_in_force_once_it_is_on_record() {
    let fails = Rig::fails();
    for (result, accepted, frozen) in
        [(Some(Appended::Durable), true, 0), (Some(fails), false, 1), (None, false, 1)]
    {
        let mut rig = Rig::new();
        rig.submit(freeze(600), None);
        rig.play(1);
        let thaw = Command::Thaw { service: Some("web".into()), reason: why() };
        let submission = rig.submission(thaw, None);
        let (mut effects, mut later) = (Vec::new(), Vec::new());
        rig.engine.handle(rig.now, Input::Submitted(submission), &mut effects);
        assert_eq!(rig.engine.snapshot().head.freezes.len(), 1, "no record has it yet");
        let Some(Effect::Append { id, safety: false, .. }) = effects.first() else {
            panic!("it is said on record: {effects:?}");
        };
        if let Some(result) = result.clone() {
            rig.engine.handle(rig.now, Input::Appended { id: *id, result }, &mut later);
        } else {
            let mono = rig.now.mono + Duration::from_secs(21);
            rig.engine.handle_deadline(Now { mono, ..rig.now }, &mut later);
        }
        assert_eq!(told(&later).first().map(|(own, _)| *own), Some(accepted), "{later:?}");
        assert_eq!(rig.engine.snapshot().head.freezes.len(), frozen, "{result:?}");
        if result.is_none() {
            // The journal has it after all, and tells a restart so.
            let durable = Input::Appended { id: *id, result: Appended::Durable };
            let mut last = Vec::new();
            rig.engine.handle(rig.now, durable, &mut last);
            assert!(told(&last).is_empty(), "it was answered: {last:?}");
            assert_eq!(rig.engine.snapshot().head.freezes.len(), 0);
        }
    }
}

#[test]
fn what_restricts_stands_above_what_was_said_before_it() {
    let mut rig = Rig::new();
    rig.submit(freeze(600), None);
    rig.play(1);
    let mut effects = Vec::new();
    for command in [Command::Thaw { service: Some("web".into()), reason: why() }, freeze(900)] {
        let submission = rig.submission(command, None);
        rig.engine.handle(rig.now, Input::Submitted(submission), &mut effects);
    }
    rig.effects = effects;
    rig.play(1);
    let head = rig.engine.snapshot().head;
    assert_eq!(head.freezes.len(), 1, "frozen again before the thaw was on record");
    let again = Rig::recovered(rig.entries);
    assert_eq!({ again }.engine.snapshot().head.freezes, head.freezes);
}

#[test]
fn many_probes_begin_one_after_the_other_and_few_at_once() {
    let begun = |probes: u32, after: Duration| -> usize {
        let mut settings = settings();
        let probe = settings.probes[0].clone();
        settings.probes = (0..probes).map(|_| probe.clone()).collect();
        settings.services[0].probes = (0..probes).map(ProbeId).collect();
        let now = Now { mono: Time(3_600_000_000), wall: chrono::DateTime::UNIX_EPOCH };
        let mut effects = Vec::new();
        let mut engine = Engine::recover(settings, "test", 1, &[], Fence(0), now, &mut effects);
        engine.handle_deadline(Now { mono: now.mono + after, ..now }, &mut effects);
        effects.iter().filter(|effect| matches!(effect, Effect::Probe { .. })).count()
    };
    assert_eq!(begun(100, FIRST_LOOKS), 100);
    // In 300 ms of 4 s, each at its own random moment.
    let early = begun(4_000, FIRST_LOOKS);
    assert!((200..400).contains(&early), "{early}");
    assert_eq!(begun(4_000, Duration::from_secs(4)), 4_000);
}
