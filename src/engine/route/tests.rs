//! The route by hand: one operation, its routers' answers, and the word that comes out.

use super::*;
use crate::reading::Lease;
use crate::settings;
use crate::types::FailureKind;

const EDGES: [RouterId; 2] = [RouterId(0), RouterId(1)];
const REREAD: Duration = Duration::from_secs(5);

/// A route and everything around it.
struct Rig {
    route: Route,
    now: Now,
    settings: Settings,
    effects: Vec<Effect>,
    last_id: u64,
    schedule: Schedule,
    ledger: Ledger,
    fence: Fence,
    raised: Vec<(String, Option<(String, String)>)>,
    /// Writes that went out: when, by the other way, and with what budget.
    asked: Vec<(Time, bool, Duration)>,
}

/// What a router does with each write, and shows when it is read.
#[derive(Clone, Copy, Debug)]
enum Edge {
    /// Takes writes.
    Obeys,
    /// Says yes and shows this.
    Shows(f64),
    /// Says no and shows this.
    Refuses(f64),
    /// Does not answer a write and cannot be read.
    Silent,
    /// Obeys, and its file carries the fence of somebody else.
    Foreign,
    /// Obeys only what comes by its other way.
    OtherWay,
}

fn percent(value: u8) -> Percent {
    Percent::new(value).expect("a percent")
}

impl Rig {
    fn new() -> Rig {
        let routers = (0..).zip(EDGES).map(|(place, _): (u32, _)| settings::Router {
            service: ServiceId(0),
            name: format!("edge{place}"),
            kind: "http".into(),
            reread: REREAD,
            timeout: Duration::from_secs(3),
            manual: "set {a} {b}".into(),
            fallback: None,
        });
        let service = settings::Service {
            name: "web".into(),
            alias: "web".into(),
            runbook: None,
            probes: Vec::new(),
            routers: EDGES.to_vec(),
            signals: None,
            canary: None,
            triggers: Vec::new(),
            deploy: None,
            recovery: None,
            maintenance: None,
            phases: Vec::new(),
            checks: Vec::new(),
            flag: false,
        };
        let wall = chrono::DateTime::UNIX_EPOCH;
        Rig {
            route: Route::new(ServiceId(0), &EDGES),
            now: Now { mono: Time(1_000_000), wall },
            settings: Settings {
                services: vec![service],
                routers: routers.collect(),
                ..Settings::default()
            },
            effects: Vec::new(),
            last_id: 0,
            schedule: Schedule::default(),
            ledger: Ledger::new(1, &[]),
            fence: Fence(0),
            raised: Vec::new(),
            asked: Vec::new(),
        }
    }

    fn with<T>(&mut self, work: impl FnOnce(&mut Route, &mut Context) -> T) -> T {
        let mut ctx = Context {
            now: self.now,
            settings: &self.settings,
            effects: &mut self.effects,
            last_id: &mut self.last_id,
            schedule: &mut self.schedule,
            ledger: &mut self.ledger,
            fence: &mut self.fence,
            raised: &mut self.raised,
        };
        work(&mut self.route, &mut ctx)
    }

    fn begin(&mut self, fence: u64, verb: &str, from: u8, to: u8) {
        let intent = Intent {
            fence: Fence(fence),
            submission: format!("s{fence}"),
            service: "web".into(),
            verb: verb.into(),
            stable: Group::A,
            from: Some(percent(from)),
            to: percent(to),
            reason: Untrusted::default(),
            seen: Untrusted::default(),
            routers: Vec::new(),
        };
        let actor = Actor::engine();
        let operation = Operation::new(Fence(fence), intent, actor, to <= from, self.now);
        self.with(|route, ctx| route.begin(operation, ctx));
    }

    /// Answers reads with what was never set, until a write comes out.
    fn next_write(&mut self) -> Option<(EffectId, RouterId, Fence)> {
        let due = std::iter::from_fn(|| self.schedule.pop_due(self.now.mono)).collect::<Vec<_>>();
        for timer in due {
            if let Timer::Router(router) = timer {
                self.with(|route, ctx| route.act(router, ctx));
            }
        }
        for effect in std::mem::take(&mut self.effects) {
            match effect {
                Effect::SetSplit { id, router, fence, .. } => return Some((id, router, fence)),
                Effect::ReadSplit { id, router, .. } => {
                    let reading = SplitReading {
                        a: 50.0,
                        b: 50.0,
                        fence: None,
                        note: Untrusted::default(),
                        lease: Lease::default(),
                    };
                    self.with(|route, ctx| route.split_read(id, router, Ok(reading), ctx));
                }
                _ => {}
            }
        }
        None
    }

    fn durable(&mut self, fence: u64) {
        self.with(|route, ctx| route.intent_appended(Fence(fence), None, ctx));
    }

    /// Answers every request of the route as `edges` do, and every record as durable.
    fn answer(&mut self, edges: &mut [Edge; 2], written: &mut [u8; 2]) {
        while !self.effects.is_empty() {
            for effect in std::mem::take(&mut self.effects) {
                match effect {
                    Effect::SetSplit { id, router, weights, fallback, budget, .. } => {
                        self.asked.push((self.now.mono, fallback, budget));
                        let edge = edges[router.index()];
                        let obeys = matches!(edge, Edge::Obeys | Edge::Foreign);
                        if obeys || (fallback && matches!(edge, Edge::OtherWay)) {
                            written[router.index()] = weights.b.get();
                        }
                        let why = Untrusted::new("why");
                        let answer = match edge {
                            Edge::Obeys | Edge::Shows(_) | Edge::Foreign => WriteAnswer::Applied,
                            Edge::OtherWay if fallback => WriteAnswer::Applied,
                            Edge::Refuses(_) | Edge::OtherWay => {
                                WriteAnswer::Rejected { why, newer: None }
                            }
                            Edge::Silent => WriteAnswer::Unknown { why },
                        };
                        self.with(|route, ctx| route.split_set(id, router, &answer, ctx));
                    }
                    Effect::ReadSplit { id, router, .. } => {
                        let place = router.index();
                        let shown = |b: f64, fence: Option<u64>| {
                            Ok(SplitReading {
                                a: 100.0 - b,
                                b,
                                fence,
                                note: Untrusted::default(),
                                lease: Lease::default(),
                            })
                        };
                        let result = match edges[place] {
                            Edge::Obeys | Edge::OtherWay => shown(f64::from(written[place]), None),
                            Edge::Foreign => shown(f64::from(written[place]), Some(999)),
                            Edge::Shows(b) | Edge::Refuses(b) => shown(b, None),
                            Edge::Silent => Err(Failure::new(FailureKind::Timeout, "late")),
                        };
                        self.with(|route, ctx| route.split_read(id, router, result, ctx));
                    }
                    Effect::Append { id, .. } => self.recorded(id),
                    Effect::Answer(_) => {}
                    Effect::Probe { .. }
                    | Effect::ReadHost { .. }
                    | Effect::ReadFeed { .. }
                    | Effect::Measure { .. }
                    | Effect::Acknowledge { .. }
                    | Effect::Notify { .. }
                    | Effect::Escalate { .. }
                    | Effect::Task { .. } => panic!("no route asks for {effect:?}"),
                }
            }
        }
    }

    fn recorded(&mut self, id: EffectId) {
        match self.ledger.appended(id, &crate::Appended::Durable) {
            Some(Purpose::Intent(_, fence)) => self.durable(fence.0),
            Some(Purpose::Outcome(_, fence)) => {
                self.with(|route, ctx| route.outcome_appended(fence, ctx));
            }
            Some(Purpose::Correction(router)) => {
                self.with(|route, ctx| route.correction_appended(router, false, ctx));
            }
            Some(
                Purpose::Release(_)
                | Purpose::Validation(_)
                | Purpose::Runbook(_)
                | Purpose::RunbookEnd(_)
                | Purpose::Note
                | Purpose::Knock,
            )
            | None => {}
        }
    }

    /// Plays timers and answers for this long.
    fn play(&mut self, span: Duration, mut edges: [Edge; 2], written: &mut [u8; 2]) {
        let end = self.now.mono + span;
        self.answer(&mut edges, written);
        while let Some((at, _)) = self.schedule.next().filter(|(at, _)| *at <= end) {
            self.now.mono = self.now.mono.max(at);
            let timer = self.schedule.pop_due(self.now.mono).expect("it is due");
            self.with(|route, ctx| match timer {
                Timer::Decide(_) => route.decide(ctx),
                Timer::Fallback(_) => route.fall_back(ctx),
                Timer::Journal(_) => route.journal_late(ctx),
                Timer::Router(router) => route.act(router, ctx),
                Timer::Knock
                | Timer::Answer
                | Timer::Release(_)
                | Timer::Validate(_)
                | Timer::Notice
                | Timer::Scaling(_)
                | Timer::Escalate
                | Timer::Rest
                | Timer::Lapse
                | Timer::Probe(_)
                | Timer::Measure(_)
                | Timer::Host(_)
                | Timer::Feed(_) => {
                    panic!("no route sets {timer:?}")
                }
            });
            self.answer(&mut edges, written);
        }
        self.now.mono = end;
    }

    /// Plays until the operation is decided, while each question takes all the time that it gets
    /// and fails; when the last of them ended.
    fn play_slowly(&mut self) -> Time {
        let mut open: Vec<(Time, Effect)> = Vec::new();
        let mut last = self.now.mono;
        while matches!(self.phase(), Phase::Accepted | Phase::Applying) {
            for effect in std::mem::take(&mut self.effects) {
                match &effect {
                    Effect::SetSplit { fallback, budget, .. } => {
                        self.asked.push((self.now.mono, *fallback, *budget));
                        open.push((self.now.mono + *budget, effect));
                    }
                    Effect::ReadSplit { budget, .. } => {
                        open.push((self.now.mono + *budget, effect));
                    }
                    Effect::Append { id, .. } => self.recorded(*id),
                    _ => {}
                }
            }
            let first = (0..open.len()).min_by_key(|place| open[*place].0);
            let ends = first.map(|place| open[place].0);
            last = last.max(ends.unwrap_or(last));
            let due = self.schedule.next().map(|(at, _)| at);
            if let Some(at) = due.filter(|at| ends.is_none_or(|ends| *at < ends)) {
                self.now.mono = self.now.mono.max(at);
                match self.schedule.pop_due(self.now.mono).expect("it is due") {
                    Timer::Decide(_) => self.with(Route::decide),
                    Timer::Fallback(_) => self.with(Route::fall_back),
                    Timer::Router(router) => self.with(|route, ctx| route.act(router, ctx)),
                    other => panic!("{other:?} is not meant here"),
                }
                continue;
            }
            let Some(place) = first.filter(|_| self.effects.is_empty()) else { continue };
            let (at, effect) = open.remove(place);
            self.now.mono = at;
            let why = Untrusted::new("late");
            match effect {
                Effect::SetSplit { id, router, .. } => {
                    let answer = WriteAnswer::Unknown { why };
                    self.with(|route, ctx| route.split_set(id, router, &answer, ctx));
                }
                Effect::ReadSplit { id, router, .. } => {
                    let failure = Err(Failure::new(FailureKind::Timeout, "late"));
                    self.with(|route, ctx| route.split_read(id, router, failure, ctx));
                }
                other => panic!("{other:?} was not kept"),
            }
        }
        last
    }

    fn phase(&self) -> Phase {
        self.route.operation().expect("an operation").phase
    }

    fn writes(&self) -> usize {
        self.effects.iter().filter(|effect| matches!(effect, Effect::SetSplit { .. })).count()
    }
}

/// One operation with these routers: the result after 30 s, and what is set then.
fn check(verb: &str, from: u8, to: u8, edges: [Edge; 2], result: OperationResult, set: u8) {
    let mut rig = Rig::new();
    rig.begin(1, verb, from, to);
    let mut written = [from; 2];
    rig.play(Duration::from_secs(30), edges, &mut written);
    let told = format!("{verb} {from} to {to}, {edges:?}: {:?}", rig.route.operation());
    assert_eq!(rig.phase(), Phase::Ended(result), "{told}");
    assert_eq!(rig.route.set, Some(percent(set)), "{told}");
    let view = rig.route.operation_view(&rig.settings).expect("an operation");
    let unproven = view.routers.iter().filter(|router| router.proven.is_none()).count();
    assert_eq!(view.manual.len(), unproven, "a way by hand for each router not proven: {told}");
    assert_eq!(result == OperationResult::Verified, unproven == 0, "{told}");
}

#[test]
fn the_result_is_what_was_read_and_nothing_else() {
    use Edge::{Foreign, Obeys, Refuses, Shows, Silent};
    use OperationResult::{Partial, Refused, Unknown, Verified};
    check("split", 0, 25, [Obeys, Obeys], Verified, 25);
    check("rollback", 25, 0, [Obeys, Obeys], Verified, 0);
    // Whole weights round; nothing and everything do not.
    check("split", 0, 25, [Obeys, Shows(25.4)], Verified, 25);
    check("split", 0, 25, [Obeys, Shows(25.6)], Partial, 25);
    // The smallest step that there is must be seen to be made.
    check("split", 0, 1, [Obeys, Shows(0.0)], Partial, 1);
    check("split", 0, 1, [Obeys, Shows(0.6)], Verified, 1);
    check("split", 100, 99, [Obeys, Shows(100.0)], Partial, 99);
    check("split", 25, 24, [Obeys, Shows(25.0)], Partial, 24);
    check("split", 0, 1, [Obeys, Shows(2.0)], Partial, 1);
    check("rollback", 25, 0, [Obeys, Shows(0.4)], Partial, 0);
    check("promote", 25, 100, [Obeys, Shows(99.6)], Partial, 100);
    // A yes is no proof, and the proof of another write is none.
    check("split", 0, 25, [Obeys, Shows(0.0)], Partial, 25);
    check("split", 0, 25, [Obeys, Foreign], Partial, 25);
    // Refused is only what moved nothing anywhere, and never a rollback.
    check("split", 0, 25, [Refuses(0.0), Refuses(0.0)], Refused, 0);
    check("split", 0, 25, [Refuses(0.0), Refuses(10.0)], Partial, 25);
    check("split", 0, 25, [Refuses(0.0), Obeys], Partial, 25);
    check("rollback", 25, 0, [Refuses(25.0), Refuses(25.0)], Partial, 0);
    // Who refuses and shows what is wanted is proven.
    check("split", 0, 25, [Refuses(25.0), Obeys], Verified, 25);
    check("split", 0, 25, [Obeys, Silent], Unknown, 25);
    check("rollback", 25, 0, [Silent, Silent], Unknown, 0);
    check("rollback", 25, 0, [Silent, Shows(25.0)], Unknown, 0);
}

#[test]
fn a_reading_proves_one_split_at_most() {
    for tenth in 0..=1000_u32 {
        let read = f64::from(tenth) / 10.0;
        let fits: Vec<u8> = (0..=100).filter(|set| same(percent(*set), read)).collect();
        assert!(fits.len() <= 1, "{read} proves {fits:?}");
        // Above 0 % and below 100 %, but nearer to these than to any other percent: no proof.
        let proves = tenth % 10 != 5 && !(1..5).contains(&tenth) && !(996..1000).contains(&tenth);
        assert_eq!(!fits.is_empty(), proves, "{read} proves {fits:?}");
    }
}

#[test]
fn exposure_waits_for_its_record_and_safety_does_not() {
    let check = |verb: &str, from: u8, to: u8, fails: bool, writes: usize, phase: Phase| {
        let mut rig = Rig::new();
        rig.begin(1, verb, from, to);
        assert_eq!(rig.writes(), 0, "{verb}: nothing before the journal");
        if fails {
            rig.with(|route, ctx| route.intent_appended(Fence(1), Some("disk full"), ctx));
        } else {
            rig.with(Route::journal_late);
        }
        assert_eq!((rig.writes(), rig.phase()), (writes, phase), "{verb}, fails: {fails}");
    };
    let refused = Phase::Ended(OperationResult::Refused);
    check("split", 0, 25, true, 0, refused);
    check("split", 0, 25, false, 0, Phase::Accepted);
    check("rollback", 25, 0, true, 2, Phase::Applying);
    check("rollback", 25, 0, false, 2, Phase::Applying);
}

#[test]
fn a_new_operation_has_proven_nothing_yet() {
    let mut rig = Rig::new();
    let mut written = [0; 2];
    rig.begin(1, "split", 0, 25);
    rig.play(Duration::from_secs(1), [Edge::Obeys; 2], &mut written);
    assert_eq!(rig.phase(), Phase::Ended(OperationResult::Verified));
    let fresh = |rig: &Rig| {
        let view = rig.route.operation_view(&rig.settings).expect("an operation");
        assert!(view.manual.is_empty(), "nothing was sent: {:?}", view.manual);
        view.routers.iter().all(|router| {
            router.proven.is_none()
                && router.sent.is_none()
                && router.tries == 0
                && router.answer.is_empty()
        })
    };
    rig.begin(2, "split", 25, 50);
    assert!(fresh(&rig), "{:?}", rig.route.operation_view(&rig.settings));
    let mut rig = Rig::new();
    rig.begin(1, "split", 0, 25);
    rig.durable(1);
    rig.begin(2, "rollback", 25, 0);
    // The first write is answered only now: that is no answer to the second operation.
    let mut sent = Vec::new();
    for effect in &rig.effects {
        if let Effect::SetSplit { id, router, .. } = effect {
            sent.push((*id, *router));
        }
    }
    let (id, router) = sent[0];
    rig.with(|route, ctx| route.split_set(id, router, &WriteAnswer::Applied, ctx));
    assert!(fresh(&rig), "{:?}", rig.route.operation_view(&rig.settings));
}

#[test]
fn a_newer_operation_never_writes_beside_an_older_write() {
    let mut rig = Rig::new();
    rig.begin(1, "split", 0, 50);
    rig.durable(1);
    assert_eq!(rig.writes(), 2);
    rig.begin(2, "rollback", 50, 0);
    // An answer to the older intent means nothing any more.
    rig.durable(1);
    rig.durable(2);
    assert_eq!(rig.writes(), 2, "the writes in flight end first");
    assert_eq!((rig.route.fence, rig.route.applied), (Fence(2), Fence(2)));
    let mut written = [0; 2];
    rig.play(Duration::from_secs(2), [Edge::Obeys; 2], &mut written);
    assert_eq!(rig.phase(), Phase::Ended(OperationResult::Verified));
    assert_eq!((written, rig.route.state()), ([0, 0], RouteState::Verified));
}

/// After a verified operation the routers show something else: what they show 30 s later, and the
/// number of troubles raised.
fn drifts(verb: &str, from: u8, to: u8, other: u8, expected: [u8; 2], raised: usize) {
    let mut rig = Rig::new();
    rig.begin(1, "split", 0, 50);
    let mut written = [0; 2];
    rig.play(Duration::from_secs(1), [Edge::Obeys; 2], &mut written);
    rig.begin(2, verb, from, to);
    rig.play(Duration::from_secs(1), [Edge::Obeys; 2], &mut written);
    assert_eq!(rig.phase(), Phase::Ended(OperationResult::Verified), "{verb}");
    written[1] = other;
    rig.play(Duration::from_secs(30), [Edge::Obeys; 2], &mut written);
    assert_eq!(written, expected, "{verb} {from} to {to}, then {other}");
    assert_eq!(rig.raised.len(), raised, "{verb} {from} to {to}, then {other}: {:?}", rig.raised);
}

#[test]
fn drift_is_corrected_only_when_it_is_ours_or_after_a_rollback() {
    // Our own older write landed late.
    drifts("split", 50, 20, 50, [20, 20], 0);
    // A person may have meant it.
    drifts("split", 50, 20, 70, [20, 70], 1);
    drifts("split", 50, 20, 0, [20, 0], 1);
    // After an emergency rollback nobody exposes more for a while.
    drifts("rollback", 50, 0, 70, [0, 0], 0);
    drifts("abort", 50, 0, 70, [0, 70], 1);
}

#[test]
fn corrections_end_and_what_comes_back_is_told() {
    let mut rig = Rig::new();
    rig.begin(1, "rollback", 50, 0);
    let mut written = [50; 2];
    rig.play(Duration::from_secs(1), [Edge::Obeys; 2], &mut written);
    // Another writer puts it back each time.
    rig.play(Duration::from_mins(1), [Edge::Obeys, Edge::Shows(50.0)], &mut written);
    assert_eq!(rig.route.state(), RouteState::Drifted);
    assert_eq!(rig.route.routers[1].corrections, CORRECTIONS_MAX);
    let raised: Vec<bool> = rig.raised.iter().map(|(_, trouble)| trouble.is_some()).collect();
    assert_eq!(raised, [true], "raised once: {:?}", rig.raised);
    rig.play(Duration::from_secs(10), [Edge::Obeys; 2], &mut written);
    let raised: Vec<bool> = rig.raised.iter().map(|(_, trouble)| trouble.is_some()).collect();
    assert_eq!(raised, [true, false], "and resolved: {:?}", rig.raised);
}

#[test]
fn exposure_is_the_most_that_any_router_shows() {
    let check = |edges: [Edge; 2], expected: Option<f64>| {
        let mut rig = Rig::new();
        for id in EDGES {
            rig.with(|route, ctx| route.act(id, ctx));
        }
        rig.answer(&mut edges.clone(), &mut [0; 2]);
        assert_eq!(rig.route.exposure(), expected, "{edges:?}");
    };
    check([Edge::Shows(10.0), Edge::Shows(30.0)], Some(30.0));
    check([Edge::Shows(0.0), Edge::Shows(0.0)], Some(0.0));
    check([Edge::Shows(10.0), Edge::Silent], None);
    assert_eq!(Rig::new().route.exposure(), None, "never read");
}

#[test]
fn a_hold_corrects_toward_safety_only() {
    let check = |other: u8, expected: [u8; 2]| {
        let mut rig = Rig::new();
        let mut written = [50; 2];
        rig.begin(1, "rollback", 50, 0);
        rig.play(Duration::from_secs(1), [Edge::Obeys; 2], &mut written);
        rig.begin(2, "split", 0, 20);
        rig.play(Duration::from_secs(1), [Edge::Obeys; 2], &mut written);
        written[1] = other;
        rig.play(Duration::from_secs(30), [Edge::Obeys; 2], &mut written);
        assert_eq!(written, expected, "{other}");
        assert_eq!(rig.raised.len(), usize::from(written[1] != 20), "{other}: {:?}", rig.raised);
    };
    check(40, [20, 20]);
    check(10, [20, 10]);
}

#[test]
fn a_correction_that_cannot_be_recorded_waits_unless_it_is_held() {
    let check = |verb: &str, from: u8, to: u8, writes: usize| {
        let mut rig = Rig::new();
        rig.begin(1, verb, from, to);
        let mut written = [from; 2];
        rig.play(Duration::from_secs(1), [Edge::Obeys; 2], &mut written);
        rig.with(|route, ctx| route.correction_appended(EDGES[0], true, ctx));
        assert_eq!(rig.writes(), writes, "{verb}");
    };
    check("split", 0, 20, 0);
    check("abort", 20, 0, 0);
    check("rollback", 20, 0, 1);
}

#[test]
fn the_same_wish_again_joins_the_operation_in_flight() {
    let mut rig = Rig::new();
    rig.begin(1, "rollback", 50, 0);
    assert_eq!(rig.route.join("again"), Ok(None), "it waits for the journal too");
    rig.durable(1);
    let answered = |effects: &[Effect]| -> Vec<String> {
        let told = effects.iter().filter_map(|effect| match effect {
            Effect::Answer(Reply::Accepted { submission, fence: Some(Fence(1)), .. }) => {
                Some(submission.clone())
            }
            Effect::Answer(reply) => panic!("{reply:?}"),
            Effect::Probe { .. }
            | Effect::ReadHost { .. }
            | Effect::ReadFeed { .. }
            | Effect::Measure { .. }
            | Effect::SetSplit { .. }
            | Effect::ReadSplit { .. }
            | Effect::Append { .. }
            | Effect::Acknowledge { .. }
            | Effect::Notify { .. }
            | Effect::Escalate { .. }
            | Effect::Task { .. } => None,
        });
        told.collect()
    };
    assert_eq!(answered(&rig.effects), ["s1", "again"]);
    assert_eq!(rig.route.join("later"), Ok(Some(Fence(1))), "it is on record: at once");
    rig.begin(2, "rollback", 50, 0);
    let waits: Vec<bool> =
        (0..=WAITING_MAX).map(|n| rig.route.join(&n.to_string()).is_ok()).collect();
    assert_eq!(waits.iter().filter(|took| **took).count(), WAITING_MAX - 1, "its own is one");
}

/// The one write that waits, to both routers in turn.
fn writes(rig: &mut Rig) -> Vec<(EffectId, RouterId, Fence)> {
    let write = |effect| match effect {
        Effect::SetSplit { id, router, fence, .. } => Some((id, router, fence)),
        _ => None,
    };
    std::mem::take(&mut rig.effects).into_iter().filter_map(write).collect()
}

fn newer(fence: u64) -> WriteAnswer {
    WriteAnswer::Rejected { why: Untrusted::new("superseded"), newer: Some(Fence(fence)) }
}

#[test]
fn an_emergency_takes_the_routers_under_a_higher_fence() {
    let mut rig = Rig::new();
    rig.fence = Fence(3);
    rig.begin(3, "rollback", 50, 0);
    rig.durable(3);
    let first = writes(&mut rig);
    assert!(first.iter().all(|(_, _, fence)| *fence == Fence(3)) && first.len() == 2);
    let (id, router, _) = first[0];
    rig.with(|route, ctx| route.split_set(id, router, &newer(40), ctx));
    assert!(writes(&mut rig).is_empty(), "the new intent is not durable yet");
    assert_eq!(rig.fence, Fence(41));
    rig.durable(41);
    let second = writes(&mut rig);
    assert_eq!(second.len(), 1, "the other router still answers");
    assert_eq!((second[0].1, second[0].2), (router, Fence(41)));
    let (id, router, _) = first[1];
    rig.with(|route, ctx| route.split_set(id, router, &WriteAnswer::Applied, ctx));
    let (id, router, _) = second[0];
    rig.with(|route, ctx| route.split_set(id, router, &WriteAnswer::Applied, ctx));
    assert_eq!(rig.route.result_of(Fence(3)), None, "it is the same operation");
    let operation = rig.route.operation().expect("in flight");
    assert_eq!((operation.fence, operation.phase), (Fence(41), Phase::Applying));
    // Three times, then it is a war.
    for (fence, expected) in [(60, 61), (80, 81), (90, 90)] {
        let write = loop {
            rig.now.mono = rig.now.mono + Duration::from_millis(500);
            if let Some(found) = rig.next_write() {
                break found;
            }
        };
        rig.with(|route, ctx| route.split_set(write.0, write.1, &newer(fence), ctx));
        assert_eq!(rig.fence, Fence(expected));
        rig.durable(expected);
    }
    let result = rig.route.operation().map(|operation| operation.phase);
    assert_eq!(result, Some(Phase::Recording));
    assert_eq!(rig.route.set, None, "what is wanted is another engine's to say");
}

#[test]
fn anything_else_gives_way_to_a_newer_fence() {
    let mut rig = Rig::new();
    rig.begin(3, "split", 0, 50);
    rig.durable(3);
    let (id, router, _) = writes(&mut rig)[0];
    rig.with(|route, ctx| route.split_set(id, router, &newer(40), ctx));
    rig.effects.clear();
    rig.with(|route, ctx| route.outcome_appended(Fence(3), ctx));
    assert_eq!(rig.route.result_of(Fence(3)), Some(OperationResult::Superseded));
    assert_eq!((rig.route.set, rig.fence), (None, Fence(40)));
    assert!(rig.route.take_news().is_some() && rig.route.take_news().is_none());
    assert!(writes(&mut rig).is_empty());
}

#[test]
fn a_reading_tells_of_other_engines() {
    let mut rig = Rig::new();
    rig.begin(3, "split", 0, 50);
    rig.durable(3);
    let mut edges = [Edge::Obeys; 2];
    rig.answer(&mut edges, &mut [0; 2]);
    assert_eq!(rig.route.result_of(Fence(3)), Some(OperationResult::Verified));
    assert_eq!(rig.route.held(rig.now), None);
    rig.with(|route, ctx| route.act(EDGES[0], ctx));
    let holder = crate::reading::Holder {
        who: Untrusted::new("eve@web2"),
        doing: Untrusted::new("#40 split of web"),
        left: Duration::from_secs(8),
    };
    let other = Some((Fence(40), Untrusted::new("eve@web2")));
    let lease = Lease { fenced: true, other, holder: Some(holder), ..Lease::default() };
    let reading = SplitReading { a: 80.0, b: 20.0, fence: None, note: Untrusted::default(), lease };
    let Some(Effect::ReadSplit { id, renew: None, .. }) = rig.effects.pop() else {
        panic!("nothing is in flight: {:?}", rig.effects)
    };
    rig.with(|route, ctx| route.split_read(id, EDGES[0], Ok(reading), ctx));
    let held = rig.route.held(rig.now).expect("held");
    assert!(held.starts_with("held by eve@web2 (#40 split of web) until "), "{held}");
    assert_eq!((rig.route.set, rig.fence), (None, Fence(40)));
    assert!(rig.raised.is_empty(), "no drift: it is what somebody wants");
    rig.now.mono = rig.now.mono + Duration::from_secs(8);
    assert_eq!(rig.route.held(rig.now), None);
}

/// A rollback with these routers, the second of which has another way.
fn other_way(verb: &str, from: u8, to: u8, edges: [Edge; 2]) -> Rig {
    let mut rig = Rig::new();
    rig.settings.routers[1].fallback = Some("maint".into());
    rig.begin(1, verb, from, to);
    let mut written = [from; 2];
    rig.play(Duration::from_secs(30), edges, &mut written);
    rig
}

#[test]
fn a_router_that_is_not_proven_goes_its_other_way_in_time() {
    use Edge::{Obeys, OtherWay, Refuses, Silent};
    let check = |verb, from, to, edges: [Edge; 2], result, others: usize| {
        let rig = other_way(verb, from, to, edges);
        let operation = rig.route.operation().expect("an operation");
        assert_eq!(rig.phase(), Phase::Ended(result), "{edges:?}: {operation:?}");
        let ways: Vec<Duration> = rig
            .asked
            .iter()
            .filter(|(_, fallback, _)| *fallback)
            .map(|(at, ..)| at.since(operation.requested.mono))
            .collect();
        assert_eq!(ways.len(), others, "{verb} {edges:?}: {ways:?}");
        if let Some(first) = ways.first() {
            assert!((12..13).contains(&first.as_secs()), "{first:?}");
        }
    };
    check("rollback", 25, 0, [Obeys, OtherWay], OperationResult::Verified, 1);
    check("rollback", 25, 0, [Obeys, Obeys], OperationResult::Verified, 0);
    // The first one has no other way; what is not proven by the second one's is not said to be.
    check("rollback", 25, 0, [OtherWay, Obeys], OperationResult::Partial, 0);
    check("rollback", 25, 0, [Obeys, Refuses(25.0)], OperationResult::Partial, 3);
    check("rollback", 25, 0, [Obeys, Silent], OperationResult::Unknown, 3);
    check("abort", 25, 0, [Obeys, OtherWay], OperationResult::Verified, 1);
    // Only all traffic to stable goes the other way.
    check("split", 25, 10, [Obeys, OtherWay], OperationResult::Partial, 0);
    check("promote", 25, 100, [Obeys, OtherWay], OperationResult::Partial, 0);
}

#[test]
fn nothing_that_an_operation_asks_for_ends_after_its_decision() {
    for timeout in [1, 3, 11, 20] {
        for fallback in [None, Some("maint".to_owned())] {
            let mut rig = Rig::new();
            for router in &mut rig.settings.routers {
                router.timeout = Duration::from_secs(timeout);
                router.fallback.clone_from(&fallback);
            }
            let start = rig.now.mono;
            rig.begin(1, "rollback", 25, 0);
            rig.with(Route::journal_late);
            let longest = rig.play_slowly();
            assert!(longest.since(start) <= DECIDE_AFTER, "{timeout}: {longest:?}");
            assert!(rig.now.mono.since(start) <= DECIDE_AFTER, "{timeout}: {:?}", rig.now);
            assert_eq!(
                rig.asked
                    .iter()
                    .any(|(at, other, _)| { *other && at.since(start) <= Duration::from_secs(13) }),
                fallback.is_some(),
                "{timeout}: {:?}",
                rig.asked
            );
        }
    }
}
