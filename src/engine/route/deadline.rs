//! The one deadline of an operation, handed down to every question that it asks.
//!
//! Decides how long a write or a read may take, and when a router that is not proven goes its other
//! way. Never gives a step a clock of its own. Contract: while the operation is applied nothing
//! that it asks for ends after the decision, and the other way is for all traffic to stable only.

use std::time::Duration;

use super::{Context, DECIDE_AFTER, Operation, Route, Step};
use crate::schedule::Timer;
use crate::settings;
use crate::snapshot::Phase;
use crate::types::{Percent, Time};

/// A router that is not proven by then goes its other way: three tries are over, and half of the
/// time is left.
pub const FALLBACK_AFTER: Duration = Duration::from_secs(12);

/// Writes of one operation that go the other way; a switch that did not work thrice is broken.
const FALLBACKS_MAX: u32 = 3;

/// What a write leaves for reading it back.
const READ_TIME: Duration = Duration::from_secs(1);

/// Less than this is no try at all.
const BUDGET_MIN: Duration = Duration::from_millis(250);

pub(super) struct Budgets {
    pub write: Duration,
    pub read: Duration,
}

impl Route {
    /// The promise counts from the request, also after it was taken over under a new fence.
    pub(super) fn set_deadlines(&self, operation: &Operation, ctx: &mut Context) {
        let from = operation.requested.mono;
        ctx.schedule.set(Timer::Decide(self.service), from + DECIDE_AFTER);
        let other = |router: &super::Router| ctx.settings.router(router.id).fallback.is_some();
        if operation.to == Percent::ZERO && self.routers.iter().any(other) {
            ctx.schedule.set(Timer::Fallback(self.service), from + FALLBACK_AFTER);
        } else {
            ctx.schedule.clear(Timer::Fallback(self.service));
        }
    }

    /// What the next write or read of this router may take.
    pub(super) fn budgets(&self, router: &settings::Router, now: Time) -> Budgets {
        let (write, read) = (router.timeout, router.timeout * 2 / 3);
        let applying = self.operation.as_ref().filter(|it| it.phase == Phase::Applying);
        let Some(operation) = applying else { return Budgets { write, read } };
        let until = |after: Duration| (operation.requested.mono + after).since(now);
        let mut left = until(DECIDE_AFTER);
        let other_way = until(FALLBACK_AFTER);
        if router.fallback.is_some() && operation.to == Percent::ZERO && !other_way.is_zero() {
            left = other_way;
        }
        Budgets {
            write: write.min(left.saturating_sub(READ_TIME).max(BUDGET_MIN)),
            read: read.min(left.max(BUDGET_MIN)),
        }
    }

    /// The routers that are not proven go their other way next.
    pub fn fall_back(&mut self, ctx: &mut Context) {
        let applying = |it: &Operation| it.phase == Phase::Applying && it.to == Percent::ZERO;
        if !self.operation.as_ref().is_some_and(applying) {
            return;
        }
        let mut due = Vec::new();
        for router in self.routers.iter_mut().filter(|router| router.proven.is_none()) {
            if ctx.settings.router(router.id).fallback.is_some() {
                router.fallbacks = FALLBACKS_MAX;
                router.step = Step::Write;
                due.push(router.id);
            }
        }
        for router in due {
            self.act(router, ctx);
        }
    }
}
