//! Scripted runs of the sandbox: a story with a known end, for scripts and tests.
//!
//! Decides when a fault starts and what an operator asks then. Never looks at the fleet to detect
//! anything: only what the snapshot shows counts as seen. Contract: a time that did not come is
//! null, and the final split is the proxy's own.

use std::time::{Duration, Instant};

use chrono::SecondsFormat;
use engine::command::{Command, Reply, Submission};
use engine::record::{OperationResult, ReleaseResult, ReleaseState};
use engine::snapshot::{Phase, RouteState, RouteView, ServiceView, Snapshot, SourceState};
use engine::types::{Actor, Fence, Percent, Status, Untrusted};
use serde::Serialize;

use super::world::BROKEN;
use super::{Fault, Fleet};
use crate::io::clock;
use crate::link::{Link, Wake};

/// Name and story of each scenario.
pub const SCENARIOS: &[(&str, &str)] = &[
    ("bad-canary", "the canary fails at 50 %; it is detected, rolled back and verified"),
    ("good-canary", "the canary does well and is promoted to all traffic"),
    ("router-lies", "a rollback is not called verified while the router only says it applied it"),
    ("auto-canary", "a release carries itself through its steps and is finalised"),
    ("auto-rollback", "a release breaks on its way; its verdict takes it back by itself"),
    ("feed-down", "the alert feed goes away, is shown as failing, and comes back"),
];

/// The snapshot is looked at again at least this often, for what ages without a change.
const LOOK: Duration = Duration::from_millis(200);

/// The share that scenarios give the canary before anything happens.
const SHARE: u8 = 50;

/// A share of errors above this is a detection.
const ERROR_PERCENT_MAX: f64 = 5.0;

/// An honest router is given this long to prove an older rollback by itself before another is sent.
const SETTLE: Duration = Duration::from_secs(4);

/// A command is refused once when the state moves under it; more often is worth telling.
const TRIES_MAX: u32 = 3;

/// What a run ends with; the names and their order are an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outcome {
    pub scenario: String,
    pub fault_at: Option<String>,
    pub detected_at: Option<String>,
    pub rollback_requested_at: Option<String>,
    pub verified_at: Option<String>,
    pub final_split: FinalSplit,
    pub requests: u64,
    pub failed_requests: u64,
    pub journal_records: u64,
    pub chain_ok: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct FinalSplit {
    pub stable: u8,
    pub canary: u8,
}

#[derive(Default)]
struct Times {
    fault: Option<String>,
    detected: Option<String>,
    rollback_requested: Option<String>,
    verified: Option<String>,
}

/// Plays the scenario for `duration`. `journal` counts the records and checks their chain.
pub fn run(
    name: &str,
    fleet: &Fleet,
    link: &mut Link,
    duration: Duration,
    journal: impl Fn() -> (u64, bool),
) -> Result<Outcome, String> {
    let start = Instant::now();
    let mut play = Play {
        fleet,
        link,
        third: start + duration / 3,
        two_thirds: start + duration * 2 / 3,
        end: start + duration,
        asked: 0,
        times: Times::default(),
    };
    match name {
        "bad-canary" => play.bad_canary()?,
        "good-canary" => play.good_canary()?,
        "router-lies" => play.router_lies()?,
        "auto-canary" => play.auto_canary()?,
        "auto-rollback" => play.auto_rollback()?,
        "feed-down" => play.feed_down()?,
        other => {
            let names: Vec<&str> = SCENARIOS.iter().map(|(name, _)| *name).collect();
            return Err(format!("no scenario {other:?}; there are {}", names.join(", ")));
        }
    }
    play.rest(play.end)?;
    let times = play.times;
    let (stable, canary) = fleet.split(BROKEN);
    let counters = fleet.counters();
    let (journal_records, chain_ok) = journal();
    Ok(Outcome {
        scenario: name.to_owned(),
        fault_at: times.fault,
        detected_at: times.detected,
        rollback_requested_at: times.rollback_requested,
        verified_at: times.verified,
        final_split: FinalSplit { stable, canary },
        requests: counters.requests,
        failed_requests: counters.failed_requests,
        journal_records,
        chain_ok,
    })
}

struct Play<'a> {
    fleet: &'a Fleet,
    link: &'a mut Link,
    third: Instant,
    two_thirds: Instant,
    end: Instant,
    /// Submissions so far; part of their ids.
    asked: u32,
    times: Times,
}

impl Play<'_> {
    fn bad_canary(&mut self) -> Result<(), String> {
        self.share_traffic()?;
        self.rest(self.third)?;
        self.times.fault = Some(stamp());
        self.fleet.set_fault(Fault::CanaryErrors, true);
        if self.until(self.end, |snapshot| canary_is_bad(snapshot).then_some(()))?.is_none() {
            return Ok(());
        }
        self.times.detected = Some(stamp());
        self.times.rollback_requested = Some(stamp());
        let fence = self.submit(rollback)?;
        if self.ended(fence, self.end)? == Some(OperationResult::Verified) {
            self.times.verified = Some(stamp());
        }
        Ok(())
    }

    fn good_canary(&mut self) -> Result<(), String> {
        self.share_traffic()?;
        self.rest(self.third)?;
        let fence = self.submit(promote)?;
        if self.ended(fence, self.end)? == Some(OperationResult::Verified) {
            self.times.verified = Some(stamp());
        }
        Ok(())
    }

    fn router_lies(&mut self) -> Result<(), String> {
        self.share_traffic()?;
        self.rest(self.third)?;
        self.times.fault = Some(stamp());
        self.fleet.set_fault(Fault::RouterLies, true);
        self.times.rollback_requested = Some(stamp());
        let lied_to = self.submit(rollback)?;
        // Accepted, read back as it was, and written again: the router does not do what it says.
        let caught = |snapshot: &Snapshot| {
            let operation = checkout(snapshot)?.operation.as_ref()?;
            let again = operation.routers.iter().any(|router| router.tries > 1);
            (operation.fence == lied_to && again).then_some(())
        };
        if self.until(self.two_thirds, caught)?.is_some() {
            self.times.detected = Some(stamp());
        }
        if self.ended(lied_to, self.two_thirds)? == Some(OperationResult::Verified) {
            return Err("a rollback that the router did not apply was called VERIFIED".into());
        }
        self.rest(self.two_thirds)?;
        self.fleet.set_fault(Fault::RouterLies, false);
        // The first rollback may still be at work, and prove itself now.
        let settled = self.end.min(Instant::now() + SETTLE);
        let mut result = self.ended(lied_to, settled)?;
        if result != Some(OperationResult::Verified) && Instant::now() < self.end {
            let fence = self.submit(rollback)?;
            result = self.ended(fence, self.end)?;
        }
        if result == Some(OperationResult::Verified) {
            self.times.verified = Some(stamp());
        }
        Ok(())
    }

    fn auto_canary(&mut self) -> Result<(), String> {
        self.deploy()?;
        if self.released(self.end)? == Some(ReleaseResult::Good) {
            self.times.verified = Some(stamp());
        }
        Ok(())
    }

    fn auto_rollback(&mut self) -> Result<(), String> {
        self.deploy()?;
        // Past its first step, so that the way back is one.
        let raised = |snapshot: &Snapshot| {
            let canary = checkout(snapshot)?.release.as_ref()?.canary.as_ref()?;
            (canary.place > 0 && canary.since.is_some()).then_some(())
        };
        if self.until(self.two_thirds, raised)?.is_none() {
            return Err("the release did not pass its first step in two thirds of the time".into());
        }
        self.times.fault = Some(stamp());
        self.fleet.set_fault(Fault::CanaryErrors, true);
        let judged = |snapshot: &Snapshot| {
            let service = checkout(snapshot)?;
            let back = service.release.as_ref()?.state == ReleaseState::WalkingBack;
            let operation = service.operation.as_ref()?;
            (back && operation.to == Percent::ZERO).then_some(operation.requested)
        };
        let Some(requested) = self.until(self.end, judged)? else { return Ok(()) };
        self.times.detected = Some(stamp());
        self.times.rollback_requested =
            Some(requested.wall.to_rfc3339_opts(SecondsFormat::Millis, true));
        if self.released(self.end)? == Some(ReleaseResult::RolledBack) {
            self.times.verified = Some(stamp());
        }
        Ok(())
    }

    /// From a healthy fleet without any canary, starts the release of checkout's next version.
    fn deploy(&mut self) -> Result<(), String> {
        self.baseline()?;
        let fence = self.submit(rollback)?;
        if self.ended(fence, self.two_thirds)? != Some(OperationResult::Verified) {
            return Err("the older canary was not taken back in two thirds of the time".into());
        }
        let version = self.fleet.next_version(BROKEN).ok_or("checkout has no next version")?;
        let reason = Untrusted::new("scenario: the next version");
        self.ask(|service| Command::Deploy {
            service,
            version: version.to_owned(),
            hotfix: false,
            reason,
        })
        .map(drop)
    }

    /// How the release ended; `None` when it did not in time.
    fn released(&mut self, deadline: Instant) -> Result<Option<ReleaseResult>, String> {
        self.until(deadline, |snapshot| checkout(snapshot)?.release.as_ref()?.result)
    }

    fn feed_down(&mut self) -> Result<(), String> {
        self.baseline()?;
        self.rest(self.third)?;
        self.times.fault = Some(stamp());
        self.fleet.set_fault(Fault::FeedDown, true);
        let failing = |snapshot: &Snapshot| feed_is(snapshot, SourceState::Failing).then_some(());
        if self.until(self.two_thirds, failing)?.is_some() {
            self.times.detected = Some(stamp());
        }
        self.rest(self.two_thirds)?;
        self.fleet.set_fault(Fault::FeedDown, false);
        Ok(())
    }

    /// Waits until everything is healthy and known; the stories start from there.
    fn baseline(&mut self) -> Result<(), String> {
        let healthy = |snapshot: &Snapshot| is_healthy(snapshot).then_some(());
        self.until(self.two_thirds, healthy)?
            .ok_or_else(|| "the fleet was not healthy in two thirds of the time".to_owned())
    }

    /// From a healthy fleet, half of checkout's traffic to the canary, verified.
    fn share_traffic(&mut self) -> Result<(), String> {
        self.baseline()?;
        let canary = Percent::new(SHARE).expect("half is a percent");
        let reason = Untrusted::new("scenario: half to the canary");
        let fence = self.submit(|service| Command::Split { service, canary, reason })?;
        match self.ended(fence, self.two_thirds)? {
            Some(OperationResult::Verified) => Ok(()),
            Some(other) => Err(format!("the split to {canary} ended {}", other.word())),
            None => Err(format!("the split to {canary} did not end in two thirds of the time")),
        }
    }

    /// Submits with the state that the newest snapshot shows; the fence to follow. Refused because
    /// that state has just moved, it looks and asks again.
    fn submit(&mut self, command: impl FnOnce(String) -> Command) -> Result<Fence, String> {
        self.ask(command)?.ok_or_else(|| "it has nothing to follow".to_owned())
    }

    fn ask(&mut self, command: impl FnOnce(String) -> Command) -> Result<Option<Fence>, String> {
        let command = command(BROKEN.to_owned());
        let verb = command.verb();
        let mut refusal = String::new();
        for _ in 0..TRIES_MAX {
            let submission = self.submission(command.clone())?;
            match self.link.submit(&submission) {
                Ok(Reply::Accepted { fence, .. }) => return Ok(fence),
                Ok(Reply::Refused { why, .. }) => why.display().clone_into(&mut refusal),
                Err(failure) => return Err(format!("{verb} was not answered: {}", failure.text)),
            }
            self.rest(self.end.min(Instant::now() + LOOK))?;
        }
        Err(format!("{verb} was refused: {refusal}"))
    }

    fn submission(&mut self, command: Command) -> Result<Submission, String> {
        let snapshot = self.link.snapshot().ok_or("the engine has shown nothing yet")?;
        let route = route(&snapshot).ok_or_else(|| format!("{BROKEN} has no router"))?;
        let service = snapshot.services().find(|service| service.name == BROKEN);
        let seen = format!("{BROKEN} {} at {}", route.state.word(), shown(route));
        self.asked += 1;
        let now = clock::now().wall.timestamp_micros();
        Ok(Submission {
            id: format!("scenario-{now}-{}", self.asked),
            command,
            expected: service.and_then(ServiceView::expected),
            seen: Untrusted::new(&seen),
            // The engine takes the user from the socket's peer; this names the client.
            actor: Actor {
                user: Untrusted::new("scenario"),
                uid: Some(rustix::process::getuid().as_raw()),
                ssh: None,
            },
            read_only: false,
        })
    }

    /// The result of the operation with this fence; `None` when it did not end in time.
    fn ended(
        &mut self,
        fence: Fence,
        deadline: Instant,
    ) -> Result<Option<OperationResult>, String> {
        self.until(deadline, |snapshot| {
            let operation = checkout(snapshot)?.operation.as_ref()?;
            match operation.phase {
                Phase::Ended(result) if operation.fence == fence => Some(result),
                Phase::Ended(_) | Phase::Accepted | Phase::Applying | Phase::Recording => None,
            }
        })
    }

    /// Lets time pass; only the loss of the engine ends it early.
    fn rest(&mut self, until: Instant) -> Result<(), String> {
        self.until(until, |_| None::<()>).map(drop)
    }

    fn until<T>(
        &mut self,
        deadline: Instant,
        seen: impl Fn(&Snapshot) -> Option<T>,
    ) -> Result<Option<T>, String> {
        loop {
            if let Some(found) = self.link.snapshot().as_ref().and_then(&seen) {
                return Ok(Some(found));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            match self.link.wait(left.min(LOOK)) {
                Wake::Changed | Wake::TimedOut => {}
                Wake::Lost => return Err("the engine is gone".to_owned()),
            }
        }
    }
}

fn rollback(service: String) -> Command {
    Command::Rollback { service, reason: Untrusted::new("scenario: the canary fails") }
}

fn promote(service: String) -> Command {
    Command::Promote { service, reason: Untrusted::new("scenario: the canary does well") }
}

fn checkout(snapshot: &Snapshot) -> Option<&ServiceView> {
    snapshot.services().find(|service| service.name == BROKEN)
}

fn route(snapshot: &Snapshot) -> Option<&RouteView> {
    checkout(snapshot)?.route.as_ref()
}

fn shown(route: &RouteView) -> String {
    let canary = route.routers.first().and_then(|router| router.canary);
    canary.map_or("unknown".to_owned(), |percent| format!("{percent:.0} % canary"))
}

/// Every service up, and checkout's split read back at least once.
fn is_healthy(snapshot: &Snapshot) -> bool {
    let now = clock::now();
    let up = |service: &ServiceView| service.status_at(now) == Status::Up;
    let read = |route: &RouteView| {
        route.state != RouteState::Changing && route.routers.iter().all(|one| one.canary.is_some())
    };
    !snapshot.services.is_empty()
        && snapshot.services().all(up)
        && route(snapshot).is_some_and(read)
        && feed_is(snapshot, SourceState::Ok)
}

/// By its signals or by an incident that names the service.
fn canary_is_bad(snapshot: &Snapshot) -> bool {
    let signals = checkout(snapshot).and_then(|service| service.signals.as_ref());
    let errors = signals.and_then(|signals| signals.canary.error_percent);
    let name = Untrusted::new(BROKEN);
    let named = || {
        let mut open = snapshot.incidents.open.iter();
        open.any(|incident| incident.labels.values().any(|value| *value == name))
    };
    errors.is_some_and(|percent| percent > ERROR_PERCENT_MAX) || named()
}

fn feed_is(snapshot: &Snapshot, state: SourceState) -> bool {
    let now = clock::now();
    let mut feeds = snapshot.sources.iter().filter(|source| source.name.contains("alerts"));
    feeds.any(|source| source.state_at(now) == state)
}

fn stamp() -> String {
    clock::now().wall.to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_object_has_its_names_in_order() {
        let outcome = Outcome {
            scenario: "bad-canary".to_owned(),
            fault_at: Some("2026-01-01T00:00:00.000Z".to_owned()),
            detected_at: None,
            rollback_requested_at: None,
            verified_at: None,
            final_split: FinalSplit { stable: 100, canary: 0 },
            requests: 3,
            failed_requests: 1,
            journal_records: 2,
            chain_ok: true,
        };
        let expected = concat!(
            r#"{"scenario":"bad-canary","fault_at":"2026-01-01T00:00:00.000Z","#,
            r#""detected_at":null,"rollback_requested_at":null,"verified_at":null,"#,
            r#""final_split":{"stable":100,"canary":0},"requests":3,"failed_requests":1,"#,
            r#""journal_records":2,"chain_ok":true}"#,
        );
        assert_eq!(serde_json::to_string(&outcome).expect("plain data"), expected);
    }
}
