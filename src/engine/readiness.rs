//! Would a rollback work right now?
//!
//! Decides it from what is seen anyway, one check for each thing that a rollback needs. Never asks
//! the world by itself, and never takes for granted what nothing has shown. Contract: *yes* only
//! while every check is known, good and fresh by the viewer's clock; one that is bad says *no*;
//! anything else is *unknown*, with the reason.

use std::sync::Arc;
use std::time::Duration;

use crate::reading::Access;
use crate::record::OperationResult;
use crate::settings;
use crate::snapshot::{
    JournalState, OperationView, Phase, ProbeView, Readiness, ReadinessCheck, RouteView,
    RouterView, SignalsView,
};
use crate::trigger::SAMPLE_MIN;
use crate::types::{Group, Now, Status, Untrusted};
use crate::words;

/// Without an objective, a stable with more percent of errors than this is no place to go back to:
/// the border at which both fleets' rules give up a canary.
pub const ERRORS_MAX: f64 = 10.0;

/// A group that carries at least this percent of the traffic, and carried all of it before, is
/// taken to carry all of it again.
const CARRIED_MIN: f64 = 50.0;

/// What is older than this many of its intervals is not known any more.
const FRESH_INTERVALS: u32 = 3;

/// How a route tells that a router said no to a write.
const REJECTED: &str = "rejected";

/// Where a rollback would go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub group: Group,
    /// What runs there; `None` when the journal does not say.
    pub version: Option<String>,
    /// Why that version is marked bad.
    pub bad: Option<Untrusted>,
    /// Some version of the service is marked bad: then one that is not known may be it.
    pub any_bad: bool,
}

/// Everything that is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    pub service: &'a settings::Service,
    /// `None` where there is no router: then nothing can be rolled back, and nothing is checked.
    pub route: Option<&'a RouteView>,
    /// The operation in flight, else the last one: how the routers took their last write.
    pub operation: Option<&'a OperationView>,
    pub probes: &'a [Arc<ProbeView>],
    pub signals: Option<&'a SignalsView>,
    pub target: &'a Target,
    pub journal: &'a JournalState,
    /// Who else holds the lease; `None` when it is ours or free.
    pub holder: Option<&'a str>,
}

/// A finding before it has a name: good or not, why, when and for how long it counts.
type Found = (Option<bool>, String, Option<(Now, Duration)>);

/// One check for each thing that a rollback of the service needs.
#[must_use]
pub fn readiness(facts: &Facts) -> Readiness {
    let Some(route) = facts.route.filter(|route| !route.routers.is_empty()) else {
        return Readiness::default();
    };
    let mut checks = Vec::new();
    for router in &route.routers {
        checks.push(check(format!("{} readable", router.name), readable(router)));
        checks.push(check(format!("{} writable", router.name), writable(router, facts.operation)));
    }
    // What a flag turns off runs nowhere else.
    if !facts.service.flag {
        checks.push(check("target", target(facts.target)));
        checks.push(check("target healthy", healthy(facts, route)));
        checks.push(check("target not marked bad", not_bad(facts.target)));
        checks.push(check("capacity", capacity(route)));
    }
    checks.push(check("lease", lease(facts.holder, route)));
    checks.push(check("journal", journal(facts.journal)));
    Readiness { checks }
}

fn check(name: impl Into<String>, found: Found) -> ReadinessCheck {
    let (ok, why, seen) = found;
    ReadinessCheck {
        name: name.into(),
        ok,
        why: Untrusted::new(&why),
        at: seen.map(|(at, _)| at),
        fresh_for: seen.map_or(Duration::ZERO, |(_, fresh_for)| fresh_for),
    }
}

fn readable(router: &RouterView) -> Found {
    let name = &router.name;
    if !router.error.is_empty() {
        return (Some(false), format!("{name} cannot be read: {}", router.error), None);
    }
    match (router.read, router.canary) {
        (Some(read), Some(canary)) => {
            let why = format!("{name} shows {canary:.1} % to the canary");
            (Some(true), why, Some((read, router.reread * FRESH_INTERVALS)))
        }
        (_, _) => (None, format!("{name} was not read yet"), None),
    }
}

/// By the last write, and by what the router shows without one; a no of either is a no.
fn writable(router: &RouterView, operation: Option<&OperationView>) -> Found {
    let name = &router.name;
    let seen = router.read.map(|read| (read, router.reread * FRESH_INTERVALS));
    if let Access::Denied { why } = &router.access {
        return (Some(false), format!("{name} would take no write: {why}"), seen);
    }
    let wrote = operation
        .and_then(|operation| operation.routers.iter().find(|progress| progress.router == *name))
        .filter(|wrote| wrote.sent.is_some());
    if let Some(wrote) = wrote {
        if wrote.answer.display().starts_with(REJECTED) {
            return (Some(false), format!("{name} refused the last write: {}", wrote.answer), None);
        }
        if wrote.proven.is_none() {
            return (None, format!("{name} has not shown its last write: {}", wrote.answer), None);
        }
    }
    if let Access::Granted { how } = &router.access {
        return (Some(true), format!("{name} would take a write: {how}"), seen);
    }
    // One that ended before this engine started counts as well: it wrote every router.
    let verified = operation
        .filter(|operation| operation.phase == Phase::Ended(OperationResult::Verified))
        .map(|operation| operation.changed);
    match wrote.and_then(|wrote| wrote.proven).or(verified) {
        Some(proven) => {
            let at = words::clock(proven.wall);
            (Some(true), format!("{name} took the write that was proven at {at}"), None)
        }
        None => (None, format!("whether {name} takes a write shows at the first one"), None),
    }
}

fn target(target: &Target) -> Found {
    let group = target.group.word();
    let why = match &target.version {
        Some(version) => format!("group {group}, {version}"),
        None => format!("group {group}; its version is not on record"),
    };
    (Some(true), why, None)
}

fn not_bad(target: &Target) -> Found {
    match (&target.version, &target.bad) {
        (Some(version), Some(why)) => {
            (Some(false), format!("{version} is marked bad: {why}"), None)
        }
        (None, Some(why)) => (Some(false), format!("stable is marked bad: {why}"), None),
        (Some(version), None) => (Some(true), format!("{version} is not marked bad"), None),
        (None, None) if target.any_bad => {
            let why = "versions are marked bad, and stable's version is not on record";
            (None, why.to_owned(), None)
        }
        (None, None) => (Some(true), "no version is marked bad".to_owned(), None),
    }
}

/// By stable's own requests; by the probes only while every router sends everything to stable,
/// because otherwise nobody knows whose answer they saw.
fn healthy(facts: &Facts, route: &RouteView) -> Found {
    let arm = facts.signals.and_then(|signals| arm(facts.service, signals));
    let alone = most(route).is_some_and(|canary| canary < 0.001);
    let probes = if alone { probed(facts.probes) } else { None };
    let (arm, probes) = match (arm, probes) {
        (Some(arm), Some(probes)) => (arm, probes),
        (Some(found), None) | (None, Some(found)) => return found,
        (None, None) if alone => {
            let why = "stable's requests are not counted, and no probe watches it";
            return (None, why.to_owned(), None);
        }
        (None, None) => {
            let why = "too few requests of stable are counted, and the probes see both groups";
            return (None, why.to_owned(), None);
        }
    };
    // What is worse counts; what is as good, by the requests of real users.
    if arm.0 == Some(false) || probes.0 == Some(true) { arm } else { probes }
}

fn arm(service: &settings::Service, signals: &SignalsView) -> Option<Found> {
    let stable = &signals.stable;
    let requests = stable.requests.filter(|requests| *requests >= SAMPLE_MIN)?;
    let errors = stable.error_percent?;
    let limit = service.canary.as_ref().and_then(|canary| canary.objective).unwrap_or(ERRORS_MAX);
    let seen = signals.observed.map(|at| (at, signals.interval * FRESH_INTERVALS));
    let why = format!("stable had {errors:.1} % errors in {requests:.0} requests");
    let found = if errors <= limit {
        (Some(true), why, seen)
    } else {
        (Some(false), format!("{why}, more than {limit} %"), seen)
    };
    seen.is_some().then_some(found)
}

/// The probe that is down, else the one whose answer is not known, else the oldest answer.
fn probed(probes: &[Arc<ProbeView>]) -> Option<Found> {
    let seen = |probe: &ProbeView| probe.observed.map(|at| (at, probe.interval * FRESH_INTERVALS));
    let found = |probe: &ProbeView, ok: Option<bool>| {
        let why = format!("probe {} is {}", probe.name, probe.status);
        (ok, why, seen(probe))
    };
    if let Some(down) = probes.iter().find(|probe| probe.status == Status::Down) {
        return Some(found(down, Some(false)));
    }
    let good = |probe: &ProbeView| matches!(probe.status, Status::Up | Status::Degraded);
    if let Some(open) = probes.iter().find(|probe| !good(probe) || probe.observed.is_none()) {
        return Some(found(open, None));
    }
    let oldest = probes.iter().min_by_key(|probe| probe.observed.map(|at| at.mono))?;
    Some(found(oldest, Some(true)))
}

/// What HAProxy says of its servers, else that stable carries the traffic already.
fn capacity(route: &RouteView) -> Found {
    let tells = |router: &&RouterView| router.kind == "haproxy";
    if let Some(router) = route.routers.iter().filter(tells).find(|it| !it.note.is_empty()) {
        // It names servers, not groups: whose server it is, nobody here knows.
        return (None, format!("{} says: {}", router.name, router.note), None);
    }
    let oldest = route.routers.iter().filter_map(|router| {
        let read = router.read?;
        Some((read, router.reread * FRESH_INTERVALS))
    });
    let seen = oldest.min_by_key(|(read, _)| read.mono);
    let carried = most(route).map(|canary| 100.0 - canary);
    if let Some(carried) = carried.filter(|carried| *carried >= CARRIED_MIN) {
        return (Some(true), format!("stable carries {carried:.0} % of the traffic"), seen);
    }
    match route.routers.iter().find(|router| !tells(router)) {
        Some(router) => {
            let why = format!("{} does not say how many servers of stable are up", router.name);
            (None, why, None)
        }
        None if carried.is_some() => (Some(true), "every server is up".to_owned(), seen),
        None => (None, "not every router could be read".to_owned(), None),
    }
}

/// The most that any router gives to the canary; `None` when one of them could not say.
fn most(route: &RouteView) -> Option<f64> {
    let shown = |router: &RouterView| router.canary.filter(|_| router.error.is_empty());
    route.routers.iter().map(shown).try_fold(0.0_f64, |most, canary| Some(most.max(canary?)))
}

fn lease(holder: Option<&str>, route: &RouteView) -> Found {
    if let Some(holder) = holder {
        return (Some(false), format!("{holder} holds the lease"), None);
    }
    let open = route.routers.iter().filter(|router| router.fenced == Some(false));
    let open: Vec<&str> = open.map(|router| router.name.as_str()).collect();
    if open.is_empty() {
        return (Some(true), "nobody else holds the lease".to_owned(), None);
    }
    let why = format!("{} unfenced: another engine could write unseen", open.join(", "));
    (Some(true), why, None)
}

fn journal(state: &JournalState) -> Found {
    let goes_on = "a rollback goes on all the same";
    match state {
        JournalState::Writable => (Some(true), "the journal is writable".to_owned(), None),
        JournalState::Spooling { why } => {
            (Some(false), format!("the journal cannot be written, {goes_on}: {why}"), None)
        }
        JournalState::Lost { why } => {
            let text = format!("neither journal nor spool can be written, {goes_on}: {why}");
            (Some(false), text, None)
        }
    }
}

impl ReadinessCheck {
    /// What it says as of `now`: what is too old is not known, good or bad.
    #[must_use]
    pub fn ok_at(&self, now: Now) -> Option<bool> {
        let old = self.at.is_some_and(|at| at.age(now) > self.fresh_for);
        self.ok.filter(|_| !old)
    }
}

impl Readiness {
    /// The lamp and its sentence, by the viewer's clock: `rollback ready: yes, 4 s ago`, where the
    /// age is that of the oldest check.
    #[must_use]
    pub fn summary(&self, now: Now) -> (Option<bool>, String) {
        let first = |wanted: Option<bool>| self.checks.iter().find(|it| it.ok_at(now) == wanted);
        if self.checks.is_empty() {
            return (None, "rollback ready: unknown: there is no router".to_owned());
        }
        if let Some(bad) = first(Some(false)) {
            return (Some(false), format!("rollback ready: no: {}", bad.why));
        }
        if let Some(open) = first(None) {
            let age = open.at.filter(|_| open.ok.is_some()).map(|at| words::span(at.age(now)));
            let why = match age {
                Some(age) => format!("{}: last known {age} ago", open.name),
                None => open.why.to_string(),
            };
            return (None, format!("rollback ready: unknown: {why}"));
        }
        let oldest = self.checks.iter().filter_map(|check| check.at).map(|at| at.age(now)).max();
        // Milliseconds would flicker, and say nothing.
        let age = match oldest {
            None => String::new(),
            Some(age) if age.as_secs() == 0 => ", now".to_owned(),
            Some(age) => format!(", {} ago", words::span(age)),
        };
        (Some(true), format!("rollback ready: yes{age}"))
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::snapshot::{ArmView, RouteState, RouterProgress};
    use crate::types::{Fence, Percent, Time};

    fn at(seconds: u64) -> Now {
        let wall = DateTime::UNIX_EPOCH + Duration::from_secs(seconds);
        Now { mono: Time(0) + Duration::from_secs(seconds), wall }
    }

    /// A service with two routers at 10 %, all well, seen at 96 to 100 s.
    struct World {
        service: settings::Service,
        route: RouteView,
        operation: Option<OperationView>,
        probes: Vec<Arc<ProbeView>>,
        signals: Option<SignalsView>,
        target: Target,
        journal: JournalState,
        holder: Option<&'static str>,
    }

    fn router(name: &str, kind: &str) -> RouterView {
        RouterView {
            name: name.to_owned(),
            kind: kind.to_owned(),
            canary: Some(10.0),
            read: Some(at(100)),
            reread: Duration::from_secs(10),
            error: Untrusted::default(),
            note: Untrusted::default(),
            manual: String::new(),
            holder: None,
            fenced: Some(true),
            access: Access::Unknown,
        }
    }

    fn progress(name: &str) -> RouterProgress {
        RouterProgress {
            router: name.to_owned(),
            sent: Some(at(10)),
            proven: Some(at(11)),
            tries: 1,
            answer: Untrusted::new("accepted"),
        }
    }

    fn probe(status: Status) -> Arc<ProbeView> {
        Arc::new(ProbeView {
            name: "api".to_owned(),
            status,
            interval: Duration::from_secs(5),
            observed: Some(at(98)),
            latency: None,
            message: Untrusted::default(),
            last_error: None,
            latencies_ms: Vec::new(),
            uptime_percent: None,
            certificate_expires: None,
            since: None,
        })
    }

    fn signals() -> SignalsView {
        let stable =
            ArmView { requests: Some(900.0), error_percent: Some(0.5), ..ArmView::default() };
        SignalsView {
            interval: Duration::from_secs(15),
            window: Duration::from_mins(1),
            stable,
            canary: ArmView::default(),
            at: None,
            observed: Some(at(96)),
            error: Untrusted::default(),
            tenants: Vec::new(),
            tenants_error: Untrusted::default(),
        }
    }

    fn operation() -> OperationView {
        OperationView {
            fence: Fence(1),
            earlier: Vec::new(),
            submission: "s".to_owned(),
            verb: "split".to_owned(),
            service: "shop".to_owned(),
            from: None,
            to: Percent::ZERO,
            user: Untrusted::default(),
            reason: Untrusted::default(),
            requested: at(9),
            phase: Phase::Applying,
            changed: at(9),
            routers: vec![progress("edge-1"), progress("edge-2")],
            sentence: Untrusted::default(),
            manual: Vec::new(),
        }
    }

    fn world() -> World {
        World {
            service: settings::Service {
                name: "shop".to_owned(),
                alias: "s".to_owned(),
                runbook: None,
                probes: Vec::new(),
                routers: Vec::new(),
                signals: None,
                canary: None,
                triggers: Vec::new(),
                deploy: None,
                recovery: None,
                maintenance: None,
                phases: Vec::new(),
                checks: Vec::new(),
                flag: false,
            },
            route: RouteView {
                state: RouteState::Verified,
                set: Percent::new(10),
                fence: Fence(1),
                routers: vec![router("edge-1", "haproxy"), router("edge-2", "nginx")],
                traffic: Some(10.0),
            },
            operation: Some(operation()),
            probes: vec![probe(Status::Up)],
            signals: Some(signals()),
            target: Target {
                group: Group::A,
                version: Some("1.4".to_owned()),
                bad: None,
                any_bad: true,
            },
            journal: JournalState::Writable,
            holder: None,
        }
    }

    fn summary(world: &World, now: Now) -> (Option<bool>, String) {
        let facts = Facts {
            service: &world.service,
            route: Some(&world.route),
            operation: world.operation.as_ref(),
            probes: &world.probes,
            signals: world.signals.as_ref(),
            target: &world.target,
            journal: &world.journal,
            holder: world.holder,
        };
        readiness(&facts).summary(now)
    }

    fn check(change: impl Fn(&mut World), ready: Option<bool>, words: &str) {
        let mut world = world();
        change(&mut world);
        let (found, sentence) = summary(&world, at(100));
        assert_eq!(found, ready, "{sentence}");
        assert!(sentence.contains(words), "{sentence}");
    }

    const YES: Option<bool> = Some(true);
    const NO: Option<bool> = Some(false);

    #[test]
    fn all_well_is_yes_with_the_oldest_age() {
        check(|_| {}, YES, "rollback ready: yes, 4 s ago");
        let (_, sentence) = Readiness {
            checks: vec![ReadinessCheck {
                name: "edge-1 readable".to_owned(),
                ok: YES,
                why: Untrusted::default(),
                at: Some(at(100)),
                fresh_for: Duration::from_secs(15),
            }],
        }
        .summary(Now { mono: at(100).mono + Duration::from_millis(391), ..at(100) });
        assert_eq!(sentence, "rollback ready: yes, now");
    }

    #[test]
    fn a_router_that_cannot_be_read_or_written_is_no() {
        let refused = |world: &mut World| world.route.routers[1].error = Untrusted::new("refused");
        check(refused, NO, "rollback ready: no: edge-2 cannot be read: refused");
        check(|world| world.route.routers[1].read = None, None, "edge-2 was not read yet");
        let write = |answer: &'static str, proven: bool| {
            move |world: &mut World| {
                let Some(operation) = &mut world.operation else { return };
                operation.routers[0].answer = Untrusted::new(answer);
                operation.routers[0].proven = proven.then(|| at(11));
            }
        };
        check(write("rejected: denied", false), NO, "edge-1 refused the last write");
        check(write("no answer: timeout", true), YES, "");
        check(write("no answer: timeout", false), None, "edge-1 has not shown its last write");
        let words = "whether edge-1 takes a write shows at the first one";
        check(|world| world.operation = None, None, words);
        // What an engine before this one proved, it proved of every router.
        let before = |world: &mut World| {
            let Some(operation) = &mut world.operation else { return };
            operation.phase = Phase::Ended(OperationResult::Verified);
            for progress in &mut operation.routers {
                (progress.sent, progress.proven) = (None, None);
            }
        };
        check(before, YES, "");
    }

    #[test]
    fn a_router_may_show_without_a_write_whether_it_takes_one() {
        let shows = |access: Access, wrote: bool| {
            move |world: &mut World| {
                world.operation = world.operation.take().filter(|_| wrote);
                for router in &mut world.route.routers {
                    router.access = access.clone();
                }
            }
        };
        let granted = || Access::granted("its socket has level admin");
        check(shows(granted(), false), YES, "yes, 4 s ago");
        check(shows(Access::denied("level operator"), true), NO, "take no write: level operator");
        let refused = |world: &mut World| {
            shows(granted(), true)(world);
            if let Some(operation) = &mut world.operation {
                operation.routers[0].answer = Untrusted::new("rejected: denied");
            }
        };
        check(refused, NO, "edge-1 refused the last write");
        let mut world = world();
        shows(granted(), false)(&mut world);
        let (ready, sentence) = summary(&world, at(131));
        assert_eq!((ready, sentence.contains("edge-1 readable")), (None, true), "{sentence}");
    }

    #[test]
    fn stable_must_be_healthy_by_its_own_figures() {
        let percent = |percent: Option<f64>| {
            move |world: &mut World| {
                if let Some(signals) = &mut world.signals {
                    signals.stable.error_percent = percent;
                }
            }
        };
        check(percent(Some(10.5)), NO, "stable had 10.5 % errors in 900 requests, more than 10 %");
        check(percent(None), None, "the probes see both groups");
        check(|world| world.signals = None, None, "the probes see both groups");
        // With a canary the probes may have seen the canary.
        check(|world| world.probes = vec![probe(Status::Down)], YES, "");
    }

    #[test]
    fn probes_count_while_stable_has_everything() {
        let alone = |probes: Vec<Arc<ProbeView>>, counted: bool| {
            move |world: &mut World| {
                for router in &mut world.route.routers {
                    router.canary = Some(0.0);
                }
                world.probes.clone_from(&probes);
                world.signals = world.signals.take().filter(|_| counted);
            }
        };
        check(alone(vec![probe(Status::Up)], false), YES, "yes, 2 s ago");
        check(alone(vec![probe(Status::Degraded)], true), YES, "yes, 4 s ago");
        check(alone(vec![probe(Status::Down)], true), NO, "probe api is DOWN");
        check(alone(vec![probe(Status::Up), probe(Status::Down)], false), NO, "DOWN");
        check(alone(vec![probe(Status::Maint)], false), None, "probe api is MAINT");
        check(alone(vec![probe(Status::Unknown)], true), None, "probe api is UNKNOWN");
        check(alone(Vec::new(), true), YES, "");
        check(alone(Vec::new(), false), None, "no probe watches it");
    }

    #[test]
    fn a_version_that_is_marked_bad_is_no_target() {
        let bad = |world: &mut World| world.target.bad = Some(Untrusted::new("leaks"));
        check(bad, NO, "1.4 is marked bad: leaks");
        check(|world| world.target.version = None, None, "stable's version is not on record");
        let none = |world: &mut World| {
            world.target.version = None;
            world.target.any_bad = false;
        };
        check(none, YES, "");
    }

    #[test]
    fn capacity_is_what_carries_or_what_the_router_says() {
        let canary = |percent: f64, kind: &'static str| {
            move |world: &mut World| {
                for router in &mut world.route.routers {
                    router.canary = Some(percent);
                    router.kind = kind.to_owned();
                }
            }
        };
        check(canary(50.0, "nginx"), YES, "");
        check(canary(75.0, "nginx"), None, "does not say how many servers");
        check(canary(75.0, "haproxy"), YES, "");
        let down = |world: &mut World| world.route.routers[0].note = Untrusted::new("blue-2 down");
        check(down, None, "edge-1 says: blue-2 down");
    }

    #[test]
    fn lease_and_journal_are_said() {
        check(|world| world.holder = Some("eve on ops-2"), NO, "eve on ops-2 holds the lease");
        let why = || Untrusted::new("disk full");
        let spooling = move |world: &mut World| {
            world.journal = JournalState::Spooling { why: why() };
        };
        check(spooling, NO, "the journal cannot be written, a rollback goes on all the same");
        let lost = move |world: &mut World| world.journal = JournalState::Lost { why: why() };
        check(lost, NO, "neither journal nor spool");
    }

    #[test]
    fn what_is_old_is_not_known_any_more() {
        let mut world = world();
        assert_eq!(summary(&world, at(130)).0, YES);
        let (ready, sentence) = summary(&world, at(131));
        assert_eq!(ready, None);
        assert_eq!(sentence, "rollback ready: unknown: edge-1 readable: last known 31 s ago");
        if let Some(signals) = &mut world.signals {
            signals.stable.error_percent = Some(50.0);
        }
        assert_eq!(summary(&world, at(120)).0, NO);
        assert_eq!(summary(&world, at(150)).0, None, "bad news get old too");
    }

    #[test]
    fn without_a_router_nothing_is_promised() {
        assert_eq!(Readiness::default().summary(at(0)).0, None);
    }
}
