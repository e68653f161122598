//! One number for the header: how healthy is what we watch?
//!
//! Decides the score. Never decides anything with it: no gate and no trigger reads it. Contract:
//! no figure when nothing is watched or nothing of it is known, and beside each figure how much is
//! not; below [`CRITICAL_BELOW`] the header says critical.
//!
//! 1. Every service weighs the same: UP 100, DEGRADED 50, UNKNOWN and STALE 25, DOWN 0. A service
//!    in MAINT is left out. Where all the others are UNKNOWN or STALE there is no score.
//! 2. The score is their average, less 10 for each critical incident that nobody acknowledged (at
//!    most 30) and less 3 for each high one (at most 15).
//! 3. Hosts do not count: their trouble shows in what runs on them, or as an incident.

use std::sync::Arc;

use crate::reading::AlertState;
use crate::snapshot::{HostView, Incidents, ServiceView};
use crate::types::{Now, Severity, Status};

/// Below this the header is drawn as critical.
pub const CRITICAL_BELOW: u8 = 50;

const CRITICAL_COST: u32 = 10;
const CRITICAL_COST_MAX: u32 = 30;
const HIGH_COST: u32 = 3;
const HIGH_COST_MAX: u32 = 15;

/// The figure, and what it does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Score {
    /// 0 to 100; `None` when nothing is watched, or nothing of it is known.
    pub value: Option<u8>,
    /// Services that are UNKNOWN or STALE.
    pub unknown: usize,
}

#[must_use]
pub fn score(
    services: &[Arc<ServiceView>],
    _hosts: &[HostView],
    incidents: &Incidents,
    now: Now,
) -> Score {
    let unknown = services.iter().filter(|service| !is_known(service.status_at(now))).count();
    let worth: Vec<u32> =
        services.iter().filter_map(|service| worth(service.status_at(now))).collect();
    let count = u32::try_from(worth.len()).unwrap_or(u32::MAX);
    if worth.len() == unknown {
        return Score { value: None, unknown };
    }
    let average = worth.iter().sum::<u32>() / count;
    let open = |severity| {
        let open = incidents.open.iter().filter(|incident| {
            incident.severity == severity && incident.state == AlertState::Triggered
        });
        u32::try_from(open.count()).unwrap_or(u32::MAX)
    };
    let cost = open(Severity::Critical).saturating_mul(CRITICAL_COST).min(CRITICAL_COST_MAX)
        + open(Severity::High).saturating_mul(HIGH_COST).min(HIGH_COST_MAX);
    Score { value: u8::try_from(average.saturating_sub(cost)).ok(), unknown }
}

fn is_known(status: Status) -> bool {
    match status {
        Status::Up | Status::Degraded | Status::Down | Status::Maint => true,
        Status::Unknown | Status::Stale => false,
    }
}

fn worth(status: Status) -> Option<u32> {
    match status {
        Status::Up => Some(100),
        Status::Degraded => Some(50),
        Status::Unknown | Status::Stale => Some(25),
        Status::Down => Some(0),
        Status::Maint => None,
    }
}
