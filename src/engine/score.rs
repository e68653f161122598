//! The health score: one number from 0 to 100 for the whole environment.
//!
//! Decides the formula and nothing else. Never counts the unknown as healthy. Contract:
//!
//! 1. Every service that is not in maintenance weighs the same: UP 100, DEGRADED 50, UNKNOWN or
//!    STALE 25, DOWN 0; the base is their average.
//! 2. Each open incident that nobody has taken costs 10 when critical (at most 30 in all) and 3
//!    when high (at most 15 in all).
//! 3. Below [`CRITICAL_BELOW`] the environment is critical; with nothing watched there is no score.

use crate::reading::AlertState;
use crate::snapshot::{HostView, Incidents, ServiceView};
use crate::types::{Now, Severity, Status};

/// Below this the environment is critical.
pub const CRITICAL_BELOW: u8 = 50;

/// The score as of `now`; hosts are shown beside it and do not count.
#[must_use]
pub fn score(
    services: &[ServiceView],
    _hosts: &[HostView],
    incidents: &Incidents,
    now: Now,
) -> Option<u8> {
    let worth = |status| match status {
        Status::Up => Some(100),
        Status::Degraded => Some(50),
        Status::Unknown | Status::Stale => Some(25),
        Status::Down => Some(0),
        Status::Maint => None,
    };
    let worths: Vec<u32> =
        services.iter().filter_map(|service| worth(service.status_at(now))).collect();
    let count = u32::try_from(worths.len()).ok().filter(|count| *count > 0)?;
    let base = worths.iter().sum::<u32>() / count;
    let untaken = |severity| {
        let taken = |state| state != AlertState::Triggered;
        let open = incidents.open.iter();
        let many = open.filter(|own| own.severity == severity && !taken(own.state)).count();
        u32::try_from(many).unwrap_or(u32::MAX)
    };
    let cost = untaken(Severity::Critical).saturating_mul(10).min(30)
        + untaken(Severity::High).saturating_mul(3).min(15);
    u8::try_from(base.saturating_sub(cost)).ok()
}
