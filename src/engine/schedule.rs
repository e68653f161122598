//! When the engine wakes, and why.
//!
//! Decides nothing but the order. Never fires early. Contract: each [`Timer`] has at most one
//! deadline; setting it again moves it.

use std::collections::{BTreeMap, BTreeSet};

use crate::types::{FeedId, HostId, ProbeId, RouterId, ServiceId, Time};

/// Every reason to wake up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// An operation has not proven all its routers: say so now.
    Decide(ServiceId),
    /// Time for the other way of the routers that are not proven.
    Fallback(ServiceId),
    /// The journal has not answered about an operation's record.
    Journal(ServiceId),
    /// The journal could not be written: can it again?
    Knock,
    /// Somebody waits too long for a record of what they said.
    Answer,
    /// A router is to be written or read next.
    Router(RouterId),
    /// A release waits for a time: a soak, a deadline, an answer.
    Release(ServiceId),
    /// A notice is tried again.
    Notice,
    /// An incident that nobody took is escalated.
    Escalate,
    /// The size of a group of hosts is judged, by its place in the settings.
    Scaling(usize),
    /// An incident that was put aside speaks again.
    Rest,
    /// A freeze, or the time for which a rule is off, may be over: what is shown changes.
    Lapse,
    /// A validation tries a check again, or is over.
    Validate(ServiceId),
    Probe(ProbeId),
    Measure(ServiceId),
    Host(HostId),
    Feed(FeedId),
}

#[derive(Debug, Default)]
pub struct Schedule {
    order: BTreeSet<(Time, Timer)>,
    due: BTreeMap<Timer, Time>,
}

impl Schedule {
    pub fn set(&mut self, timer: Timer, at: Time) {
        if let Some(old) = self.due.insert(timer, at) {
            self.order.remove(&(old, timer));
        }
        self.order.insert((at, timer));
    }

    pub fn clear(&mut self, timer: Timer) {
        if let Some(old) = self.due.remove(&timer) {
            self.order.remove(&(old, timer));
        }
    }

    #[must_use]
    pub fn is_set(&self, timer: Timer) -> bool {
        self.due.contains_key(&timer)
    }

    #[must_use]
    pub fn next(&self) -> Option<(Time, Timer)> {
        self.order.first().copied()
    }

    /// Takes the first timer that is due.
    pub fn pop_due(&mut self, now: Time) -> Option<Timer> {
        let (at, timer) = self.next()?;
        if at > now {
            return None;
        }
        self.clear(timer);
        Some(timer)
    }
}

#[cfg(test)]
mod tests;
