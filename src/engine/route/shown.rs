//! What clients see of a route.
//!
//! Decides nothing. Never shows a split that was not read back. Contract: what is shown of a router
//! is its last reading, with its age.

use super::{Route, by_hand, by_role};
use crate::record::OperationResult;
use crate::settings::Settings;
use crate::snapshot::{OperationView, Phase, RouteView, RouterView};
use crate::types::{Percent, Weights};

impl Route {
    /// Every router was read last with this split.
    #[must_use]
    pub fn shows(&self, split: Percent) -> bool {
        self.routers.iter().all(|router| router.shows(self.stable, split, None))
    }

    #[must_use]
    pub fn view(&self, settings: &Settings, traffic: Option<f64>) -> RouteView {
        let routers = self
            .routers
            .iter()
            .map(|router| {
                let own = settings.router(router.id);
                RouterView {
                    name: own.name.clone(),
                    kind: own.kind.clone(),
                    canary: router.canary(self.stable),
                    read: router.reading.as_ref().map(|(_, at)| *at),
                    reread: own.reread,
                    error: router.error.clone(),
                    holder: router.holder(),
                    fenced: router.reading.as_ref().map(|(reading, _)| reading.lease.fenced),
                    access: router
                        .reading
                        .as_ref()
                        .map(|(reading, _)| reading.lease.access.clone())
                        .unwrap_or_default(),
                    note: router
                        .reading
                        .as_ref()
                        .map(|(reading, _)| reading.note.clone())
                        .unwrap_or_default(),
                    manual: by_role(&own.manual, self.stable),
                }
            })
            .collect();
        RouteView { state: self.state(), set: self.set, fence: self.fence, routers, traffic }
    }

    #[must_use]
    pub fn operation_view(&self, settings: &Settings) -> Option<OperationView> {
        let operation = self.operation.as_ref()?;
        let weights = Weights::for_split(self.stable, operation.to);
        // Before anything was sent nothing is left to do by hand, and not after a refusal.
        let nothing_sent = match operation.phase {
            Phase::Accepted => true,
            Phase::Ended(OperationResult::Refused) => {
                self.routers.iter().all(|router| router.sent.is_none())
            }
            Phase::Applying | Phase::Recording | Phase::Ended(_) => false,
        };
        let manual = self
            .routers
            .iter()
            .filter(|router| router.proven.is_none() && !nothing_sent)
            .map(|router| by_hand(&settings.router(router.id).manual, weights))
            .collect();
        Some(OperationView {
            fence: operation.fence,
            earlier: operation.earlier.clone(),
            submission: operation.submission.clone(),
            verb: operation.verb.clone(),
            service: settings.service(self.service).name.clone(),
            from: operation.from,
            to: operation.to,
            user: operation.actor.user.clone(),
            reason: operation.reason.clone(),
            requested: operation.requested,
            phase: operation.phase,
            changed: operation.changed,
            routers: self.routers.iter().map(|router| router.progress(settings)).collect(),
            sentence: operation.sentence.clone(),
            manual,
        })
    }
}
