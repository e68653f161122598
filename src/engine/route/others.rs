//! Other engines that write the same routers.
//!
//! Decides what they are told, when this one takes the routers from them and when it gives way.
//! Never compares clocks: a holder counts by the time that its reading said was left. Contract:
//! only an emergency takes the routers, a few times and each time under an intent of its own;
//! whatever lost them wants nothing more.

use std::time::Duration;

use super::{Context, JOURNAL_PATIENCE, Operation, Purpose, Route, Router, Step};
use crate::reading::Claim;
use crate::record::OperationResult;
use crate::schedule::Timer;
use crate::settings::Settings;
use crate::snapshot::{HolderView, Phase};
use crate::types::{Fence, Now, Percent, Untrusted};
use crate::words;

/// While something is in flight each router is read at least this often: that keeps the lease.
pub(super) const RENEW_EVERY: Duration = Duration::from_secs(2);

/// An emergency takes the routers from other engines this often; more would be a war with them.
const PREEMPTIONS_MAX: usize = 3;

impl Route {
    /// What a write, or a read that keeps the routers, tells other engines.
    pub(super) fn claim(&self, settings: &Settings) -> Claim {
        let service = &settings.service(self.service).name;
        let operation = self.operation.as_ref().filter(|operation| operation.in_flight());
        let doing = match (operation, &self.release) {
            (Some(own), _) => format!("#{} {} of {service}", own.fence, own.verb),
            (None, Some(release)) => release.clone(),
            (None, None) => format!("#{} of {service}", self.applied),
        };
        Claim { emergency: self.set == Some(Percent::ZERO), doing }
    }

    /// Something is in flight that other engines must not disturb.
    pub(super) fn keeps(&self) -> bool {
        let operating = self.operation.as_ref().is_some_and(Operation::in_flight);
        operating || (self.release.is_some() && self.yielded.is_none())
    }

    /// The writer refused a write: another engine's fence is newer. An emergency takes the routers
    /// under a fence above it, anything else gives way.
    pub(super) fn outrun(&mut self, newer: Fence, ctx: &mut Context) {
        self.foreign = self.foreign.max(newer);
        *ctx.fence = (*ctx.fence).max(newer);
        let emergency = self.operation.as_ref().filter(|operation| {
            operation.phase == Phase::Applying
                && operation.to == Percent::ZERO
                && operation.earlier.len() < PREEMPTIONS_MAX
        });
        let Some(old) = emergency.cloned() else {
            self.give_way(newer, &Untrusted::new("another engine"), ctx);
            return;
        };
        ctx.fence.0 = ctx.fence.0.saturating_add(1);
        let fence = *ctx.fence;
        let mut operation = old.clone();
        operation.earlier.push(old.fence);
        operation.fence = fence;
        operation.phase = Phase::Accepted;
        let sentence = format!("another engine wrote under #{newer}: taken over as #{fence}");
        operation.enter(Phase::Accepted, &sentence, ctx.now);
        self.begin(operation, ctx);
    }

    /// Another engine's operation has the routers now: what this one wanted is over, and what is
    /// wanted from here on is not this engine's to say.
    pub(super) fn give_way(&mut self, fence: Fence, who: &Untrusted, ctx: &mut Context) {
        *ctx.fence = (*ctx.fence).max(fence);
        if fence <= self.foreign && self.yielded.is_some() {
            return;
        }
        // Known from before this operation: its own fence is above it, or its write will tell.
        let accepted = |it: &Operation| it.phase == Phase::Accepted;
        if fence <= self.foreign && self.operation.as_ref().is_some_and(accepted) {
            return;
        }
        self.foreign = self.foreign.max(fence);
        self.yielded = Some(who.clone());
        self.news = Some(who.clone());
        self.set = None;
        self.hold_until = None;
        let service = &ctx.settings.service(self.service).name;
        for router in &mut self.routers {
            router.step = Step::Settled;
            if std::mem::take(&mut router.drifted) {
                let name = &ctx.settings.router(router.id).name;
                ctx.raised.push((format!("{}/{service}/{name}", crate::incident::OWN), None));
            }
        }
        let Some(operation) = self.operation.clone().filter(|it| it.phase == Phase::Applying)
        else {
            return;
        };
        let sentence = format!("superseded by #{fence} of {who}");
        let purpose = Purpose::Outcome(self.service, operation.fence);
        self.record_outcome(&operation, OperationResult::Superseded, &sentence, purpose, ctx);
        if let Some(operation) = self.operation.as_mut() {
            operation.verdict = Some(OperationResult::Superseded);
            operation.enter(Phase::Recording, &sentence, ctx.now);
        }
        ctx.schedule.clear(Timer::Decide(self.service));
        ctx.schedule.clear(Timer::Fallback(self.service));
        ctx.schedule.set(Timer::Journal(self.service), ctx.now.mono + JOURNAL_PATIENCE);
    }

    /// Whose operation took the routers, once.
    pub fn take_news(&mut self) -> Option<Untrusted> {
        self.news.take()
    }

    /// Another engine that has something in flight, as the routers last told.
    #[must_use]
    pub fn held(&self, now: Now) -> Option<String> {
        self.routers.iter().find_map(|router| {
            let (reading, at) = router.reading.as_ref()?;
            let holder = reading.lease.holder.as_ref()?;
            let left = (at.mono + holder.left).since(now.mono);
            let end = at.wall + chrono::TimeDelta::from_std(holder.left).unwrap_or_default();
            let (who, doing, until) = (&holder.who, &holder.doing, words::clock(end));
            (!left.is_zero()).then(|| format!("held by {who} ({doing}) until {until}"))
        })
    }
}

impl Router {
    /// Another engine that has something in flight.
    pub(super) fn holder(&self) -> Option<HolderView> {
        let (reading, at) = self.reading.as_ref()?;
        let holder = reading.lease.holder.as_ref()?;
        let left = chrono::TimeDelta::from_std(holder.left).unwrap_or_default();
        Some(HolderView {
            who: holder.who.clone(),
            doing: holder.doing.clone(),
            until: Now { mono: at.mono + holder.left, wall: at.wall + left },
        })
    }
}
