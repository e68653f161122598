//! A settled route whose router shows something else.
//!
//! Decides whether it is set again by itself, and what people are told. Never corrects without a
//! record, more than twice, or against another engine. Contract: a router that comes back to what
//! is set resolves its incident.

use std::time::Duration;

use super::others::RENEW_EVERY;
use super::{CORRECTIONS_MAX, Context, Operation, Purpose, Route, Step};
use crate::record::{Event, OperationResult};
use crate::schedule::Timer;
use crate::snapshot::Phase;
use crate::types::{Actor, RouterId, Untrusted};

impl Route {
    /// Its drift was raised before a restart, and is not over until it shows what is set.
    pub fn drifted_before(&mut self, id: RouterId) {
        if let Some(router) = self.routers.iter_mut().find(|own| own.id == id) {
            router.drifted = true;
        }
    }

    /// A settled router was read: is it still what was set?
    pub(super) fn watch_drift(&mut self, id: RouterId, ctx: &mut Context) {
        let in_flight = self.operation.as_ref().is_some_and(Operation::in_flight);
        let holding = self.holding(ctx.now.mono);
        let verified = self.operation.as_ref().is_none_or(|operation| {
            matches!(operation.phase, Phase::Ended(OperationResult::Verified))
        });
        let (stable, fence, set) = (self.stable, self.applied, self.set);
        let keeps = self.keeps();
        let Some(router) = self.routers.iter_mut().find(|own| own.id == id) else { return };
        router.step = Step::Settled;
        let reread = ctx.settings.router(id).reread;
        let reread = if keeps { reread.min(RENEW_EVERY) } else { reread };
        let pause = if router.read_failures == 0 {
            reread
        } else {
            reread.min(Duration::from_millis(500) * (1 << router.read_failures.min(6)))
        };
        ctx.schedule.set(Timer::Router(id), ctx.now.mono + pause);
        let (Some(set), false, true) = (set, in_flight, router.error.is_empty()) else { return };
        let service = &ctx.settings.service(self.service).name;
        let name = &ctx.settings.router(id).name;
        let key = format!("{}/{service}/{name}", crate::incident::OWN);
        if router.shows(stable, set, None) {
            if router.drifted {
                router.drifted = false;
                ctx.raised.push((key, None));
            }
            return;
        }
        let read = router.canary(stable).unwrap_or_default();
        let late = verified && router.wrote_before(fence, read);
        let toward_safety = f64::from(set.get()) <= read;
        let correct = router.corrections < CORRECTIONS_MAX && (late || (holding && toward_safety));
        if router.drifted && !correct {
            return;
        }
        // A correction that does not hold is raised once no more are allowed.
        router.drifted |= !correct;
        let event = Event::Drift {
            service: service.clone(),
            router: name.clone(),
            set,
            read: Untrusted::new(&format!("{read:.1} %")),
            corrected: correct,
        };
        if correct {
            router.corrections += 1;
            ctx.append(Actor::engine(), event, Purpose::Correction(id), toward_safety);
        } else {
            let summary = format!("{name} shows {read:.1} % to the canary, set is {set}");
            let title = format!("{service}: split drifted");
            ctx.raised.push((key, Some((title, summary))));
            ctx.append(Actor::engine(), event, Purpose::Note, true);
        }
    }
}
