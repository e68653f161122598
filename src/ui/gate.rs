//! What stands against giving a canary more traffic, as the snapshot shows it.
//!
//! Decides which facts an operator must override by hand. Never blocks a way to safety: nobody
//! asks it there. Contract: what is unknown, stale or not counted stands against; a gate keeps its
//! key while its words change.

use engine::reading::AlertState;
use engine::snapshot::{
    ArmView, FreezeView, IncidentView, JournalState, ProbeView, RouteState, RouteView, RouterView,
    ServiceView, SignalsView, Snapshot,
};
use engine::types::{Freshness, Now, Percent, Severity, Status};

use crate::ui::words;

/// Fewer errors than this are noise, whatever stable has.
const ERROR_PERCENT_MIN: f64 = 1.0;
/// A canary this many times worse than stable is worse, not unlucky. The engine's own analysis is
/// finer; this is what a person would see.
const TIMES_WORSE: f64 = 2.0;
/// Latencies closer than this are one histogram bucket apart.
const LATENCY_MS_MIN: f64 = 100.0;
/// Longest part of a probe's own words.
const WORDS_MAX: usize = 40;
/// The key of a freeze.
pub const FREEZE: &str = "freeze";
/// Names of incidents that are told one by one.
const NAMED_MAX: usize = 2;
/// More gates than this are counted in the journal's line.
const TOLD_MAX: usize = 8;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    /// The same for the same trouble.
    pub key: String,
    pub text: String,
    /// False once it stopped standing against, while the guard is open.
    pub holds: bool,
}

/// What stands against giving the canary `to`; nothing where that is not more than it may have.
#[must_use]
pub fn against_split(
    picture: &Snapshot,
    service: &ServiceView,
    to: Percent,
    now: Now,
) -> Vec<Gate> {
    let Some(route) = &service.route else { return Vec::new() };
    let exposure = exposure(route, now);
    if to == Percent::ZERO || exposure.is_some_and(|canary| f64::from(to.get()) <= canary) {
        return Vec::new();
    }
    against(picture, service, is_measured(exposure) || to == Percent::FULL, now)
}

/// The most that any router gives the canary, if all of them were read, lately.
#[must_use]
pub fn exposure(route: &RouteView, now: Now) -> Option<f64> {
    let fresh = |one: &RouterView| one.canary.filter(|_| words::unread(one, now).is_none());
    let mut read = route.routers.iter().map(fresh);
    read.try_fold(0.0_f64, |most, canary| Some(most.max(canary?)))
}

/// The canary has a share by which it can be measured, for all that is known.
#[must_use]
pub fn is_measured(exposure: Option<f64>) -> bool {
    exposure.is_none_or(|canary| canary >= 0.5)
}

/// A reason behind what it overrides: the journal keeps both.
#[must_use]
pub fn overridden(against: &[Gate], reason: &str) -> String {
    let holding: Vec<&str> =
        against.iter().filter(|gate| gate.holds).map(|gate| gate.text.as_str()).collect();
    if holding.is_empty() {
        return reason.to_owned();
    }
    let more = holding.len().saturating_sub(TOLD_MAX);
    let more = if more > 0 { format!("; {more} more") } else { String::new() };
    let told = holding[..holding.len().min(TOLD_MAX)].join("; ");
    format!("OVERRIDE of [{told}{more}]: {reason}")
}

fn gate(key: &str, text: String) -> Gate {
    Gate { key: key.to_owned(), text, holds: true }
}

/// Everything that stands against more exposure of `service`. `measured`: the canary has, or the
/// command skips, the first share by which it could be measured.
#[must_use]
pub fn against(picture: &Snapshot, service: &ServiceView, measured: bool, now: Now) -> Vec<Gate> {
    let mut found = Vec::new();
    match picture.head.journal {
        JournalState::Writable => {}
        JournalState::Spooling { .. } | JournalState::Lost { .. } => {
            found.push(gate("journal", "the journal cannot be written".to_owned()));
        }
    }
    found.extend(freezes(picture, service, now));
    // A flag has nothing to ask and no arms to count: its reading is all that is known of it.
    if service.probes.is_empty() && !service.flag {
        found.push(gate("probes", "UNKNOWN: nothing watches it".to_owned()));
    }
    found.extend(service.probes.iter().filter_map(|one| probe(one, now)));
    if let Some(view) = &service.route {
        found.extend(route(view, now));
    }
    found.extend(signals(service.signals.as_ref(), measured && !service.flag, now));
    found.extend(incidents(&picture.incidents.open));
    found
}

/// A freeze forbids every change toward more exposure; a release that is on its way waits there.
fn freezes(picture: &Snapshot, service: &ServiceView, now: Now) -> Option<Gate> {
    let holds = |freeze: &&FreezeView| {
        freeze.until > now.wall && freeze.service.as_ref().is_none_or(|name| *name == service.name)
    };
    let freeze = picture.head.freezes.iter().find(holds)?;
    let what = if freeze.service.is_none() { "the line is stopped" } else { "frozen" };
    let why = words::clip(freeze.reason.display(), WORDS_MAX);
    let until = freeze.until.format("%H:%M UTC");
    Some(gate(FREEZE, format!("{what} until {until} by {}: {why}", freeze.user)))
}

fn probe(probe: &ProbeView, now: Now) -> Option<Gate> {
    let status = probe.status_at(now);
    let text = match status {
        Status::Up | Status::Maint => return None,
        Status::Unknown => format!("{} UNKNOWN: no answer yet", probe.name),
        Status::Stale => {
            let age = words::age_of(probe.observed, now);
            format!("{} STALE {age} (last {})", probe.name, probe.status)
        }
        Status::Degraded | Status::Down => {
            let said = words::clip(probe.message.display(), WORDS_MAX);
            let said = if said.is_empty() { said } else { format!(": {said}") };
            format!("{} {status}{said}", probe.name)
        }
    };
    Some(gate(&format!("probe/{}", probe.name), text))
}

fn route(route: &RouteView, now: Now) -> Vec<Gate> {
    let unread =
        |router: &&RouterView| router.canary.is_none() || words::unread(router, now).is_some();
    let mut found: Vec<Gate> = route
        .routers
        .iter()
        .filter(unread)
        .map(|router| {
            gate(&format!("router/{}", router.name), format!("{} cannot be read", router.name))
        })
        .collect();
    found.extend(route.routers.iter().filter_map(|router| {
        let holder = router.holder.as_ref().filter(|holder| holder.until.mono > now.mono)?;
        let (key, doing) = (format!("holder/{}", router.name), holder.doing.display());
        let doing = words::clip(doing, WORDS_MAX);
        Some(gate(&key, format!("{} is held by {}: {doing}", router.name, holder.who)))
    }));
    let text = match (route.state, route.set) {
        (RouteState::Verified, _) | (RouteState::Unverified, None) => None,
        (RouteState::Drifted, _) => Some("DRIFTED: the routers do not show what was set"),
        (RouteState::Unverified, Some(_)) => Some("UNVERIFIED: nobody knows the split"),
        (RouteState::Changing, _) => Some("CHANGING: an operation is in flight"),
    };
    found.extend(text.map(|text| gate("route", text.to_owned())));
    found
}

fn signals(signals: Option<&SignalsView>, measured: bool, now: Now) -> Vec<Gate> {
    let Some(signals) = signals else {
        let text = "no data: stable and canary are not counted".to_owned();
        return if measured { vec![gate("signals", text)] } else { Vec::new() };
    };
    let is_old = |at: Now| Freshness::of(at.age(now), signals.interval) == Freshness::Stale;
    let age = match signals.observed {
        Some(at) if is_old(at) => Some(format!("the counts are STALE {}", words::age(at.age(now)))),
        None => Some("nothing was counted yet".to_owned()),
        Some(_) => None,
    };
    if let Some(age) = age {
        return vec![gate("signals", format!("no data: {age}"))];
    }
    let (stable, canary) = (&signals.stable, &signals.canary);
    if canary.requests.is_none_or(|count| count <= 0.0) {
        let text = "no data: the canary answered no request".to_owned();
        return if measured { vec![gate("signals", text)] } else { Vec::new() };
    }
    worse(stable, canary)
}

fn worse(stable: &ArmView, canary: &ArmView) -> Vec<Gate> {
    let mut found = Vec::new();
    match (canary.error_percent, stable.error_percent) {
        (None, _) => found.push(gate("errors", "no data: the canary's errors".to_owned())),
        (Some(own), other) if own >= ERROR_PERCENT_MIN => {
            let limit = other.unwrap_or_default() * TIMES_WORSE;
            let (own_text, other) = (words::percent(Some(own)), words::percent(other));
            if own > limit {
                let text = format!("canary worse: errors {own_text}, stable {other}");
                found.push(gate("errors", text));
            }
        }
        (Some(_), _) => {}
    }
    let slow = |arm: &ArmView| arm.latency_p95_ms.or(arm.latency_p50_ms).or(arm.latency_avg_ms);
    if let (Some(own), Some(other)) = (slow(canary), slow(stable))
        && own > other * TIMES_WORSE
        && own - other > LATENCY_MS_MIN
    {
        let (own, other) = (words::millis(Some(own)), words::millis(Some(other)));
        found.push(gate("latency", format!("canary worse: takes {own}, stable {other}")));
    }
    found
}

fn incidents(open: &[IncidentView]) -> Option<Gate> {
    let critical: Vec<&IncidentView> = open
        .iter()
        .filter(|one| one.severity == Severity::Critical && one.state != AlertState::Resolved)
        .collect();
    let names: Vec<&str> = critical.iter().take(NAMED_MAX).map(|one| one.name.display()).collect();
    let more = if critical.len() > names.len() { ", …" } else { "" };
    let count = critical.len();
    let text = format!("{count} critical open: {}{more}", names.join(", "));
    (count > 0).then(|| gate("incidents", text))
}
