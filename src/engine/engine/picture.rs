//! The picture that clients get, and whether anything still goes on.
//!
//! Decides which sections are built anew. Never changes what they show. Contract: a section that
//! did not change keeps its pointer.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::{Dirty, Engine, guards};
use crate::record::OperationResult;
use crate::release::Release;
use crate::route::Route;
use crate::settings;
use crate::snapshot::{
    Head, HostView, Phase, Readiness, RouteState, ServiceView, Snapshot, SourceView,
};
use crate::types::{HostId, Now, Percent, ServiceId};
use crate::validation::Validation;
use crate::watch::Probe;

impl Engine {
    /// Something is under way: an operation, a release, an answer to an operator.
    #[must_use]
    pub fn acts(&self) -> bool {
        let busy = |route: &Route| {
            route.operation().is_some_and(|operation| {
                operation.in_flight()
                    || (operation.safety
                        && matches!(
                            operation.phase,
                            Phase::Ended(OperationResult::Partial | OperationResult::Unknown)
                        ))
            })
        };
        let releasing = self.releases.iter().flatten().any(Release::in_flight);
        let validating = self.validations.iter().any(Validation::is_running);
        let going = releasing || validating || !self.running.is_empty();
        !self.responses.is_empty() || going || self.routes.iter().any(busy)
    }

    /// Another engine may take over at once: nothing is under way, and all that happened is where
    /// that one can read it.
    #[must_use]
    pub fn may_retire(&self) -> bool {
        !self.acts() && self.ledger.unrecorded() == 0
    }

    /// Nobody would miss this engine: it may retire, no service is between its versions, and no
    /// rollback is being held.
    #[must_use]
    pub fn is_idle(&self, now: Now) -> bool {
        self.may_retire()
            && !self.is_guarding()
            && self.notices.is_empty()
            && !self.routes.iter().any(|route| route.wants_watching(now.mono))
    }

    /// What is not in a snapshot yet is more than new figures of what is watched.
    #[must_use]
    pub fn has_news(&self) -> bool {
        let Dirty { head, incidents, journal, news, .. } = &self.dirty;
        *head || *incidents || *journal || *news
    }

    /// The state as clients see it; sections that did not change keep their pointer.
    pub fn snapshot(&mut self) -> Snapshot {
        let dirty = std::mem::take(&mut self.dirty);
        let old = self.shown.take();
        macro_rules! section {
            ($field:ident, $build:expr) => {
                match &old {
                    Some(old) if !dirty.$field => Arc::clone(&old.$field),
                    Some(_) | None => Arc::new($build),
                }
            };
        }
        let snapshot = Snapshot {
            head: section!(head, self.head()),
            services: match &old {
                Some(old) if !dirty.services => self.services_from(&old.services, &dirty.probed),
                Some(_) | None => Arc::new(self.service_views()),
            },
            hosts: section!(
                hosts,
                (0..)
                    .zip(&self.hosts)
                    .zip(&self.settings.hosts)
                    .map(|((place, host), settings)| HostView {
                        advice: self.advice_view(HostId(place)),
                        ..host.view(settings)
                    })
                    .collect()
            ),
            incidents: section!(incidents, self.board.section()),
            journal: section!(journal, self.ledger.tail()),
            sources: section!(sources, self.source_views()),
        };
        self.shown = Some(snapshot.clone());
        snapshot
    }

    /// The state and the split of a service's route as the services' section shows them, for
    /// whoever looks too often to build the section each time.
    #[must_use]
    pub fn route_shown(&self, service: ServiceId) -> (RouteState, Option<Percent>) {
        let route = &self.routes[service.index()];
        (route.state(), route.set)
    }

    fn head(&self) -> Head {
        Head {
            environment: self.settings.environment.clone(),
            started: self.started,
            journal: self.ledger.state.clone(),
            banners: self.banners.clone(),
            freezes: self.freezes.views(self.latest),
            runs: self.runs.views(),
        }
    }

    fn service_views(&self) -> Vec<Arc<ServiceView>> {
        (0..)
            .zip(&self.settings.services)
            .map(|(n, own)| Arc::new(self.service_view(ServiceId(n), own)))
            .collect()
    }

    /// The same views but of the services whose probes answered.
    fn services_from(
        &self,
        old: &Arc<Vec<Arc<ServiceView>>>,
        probed: &BTreeSet<ServiceId>,
    ) -> Arc<Vec<Arc<ServiceView>>> {
        if probed.is_empty() {
            return Arc::clone(old);
        }
        let mut views = Vec::clone(old);
        for &id in probed {
            views[id.index()] = Arc::new(self.service_view(id, self.settings.service(id)));
        }
        Arc::new(views)
    }

    fn service_view(&self, id: ServiceId, settings: &settings::Service) -> ServiceView {
        let route = &self.routes[id.index()];
        let (signals, traffic) = match (&self.signals[id.index()], &settings.signals) {
            (Some(signals), Some(own)) => {
                let (view, traffic) = signals.view(own, route.stable);
                (Some(view), traffic)
            }
            (Some(_) | None, Some(_) | None) => (None, None),
        };
        let every = settings.signals.as_ref().map_or(Duration::ZERO, |own| own.interval);
        let probes = settings.probes.iter();
        let mut view = ServiceView {
            name: settings.name.clone(),
            alias: settings.alias.clone(),
            runbook: settings.runbook.clone(),
            flag: settings.flag,
            probes: probes.map(|&id| self.probes[id.index()].view()).collect(),
            route: (!settings.routers.is_empty()).then(|| route.view(&self.settings, traffic)),
            signals,
            operation: route.operation_view(&self.settings),
            release: self.releases[id.index()].as_ref().map(Release::view),
            validation: self.validations[id.index()].view(&settings.checks),
            readiness: Readiness::default(),
            triggers: self.triggers[id.index()].views(&settings.triggers, every, self.latest),
            plans: self.plans_of(id),
            history: self.history[id.index()].views(guards::HISTORY_SHOWN_MAX),
        };
        view.readiness = self.readiness(id, &view);
        view
    }

    fn plans_of(&self, id: ServiceId) -> Vec<String> {
        let plans = self.settings.plans.iter();
        let own = plans.filter(|plan| plan.service.is_none_or(|service| service == id));
        own.map(|plan| plan.name.clone()).collect()
    }

    fn source_views(&self) -> Vec<Arc<SourceView>> {
        let mut sources = Vec::new();
        for (host, settings) in self.hosts.iter().zip(&self.settings.hosts) {
            sources.push(host.source(settings));
        }
        for (feed, settings) in self.feeds.iter().zip(&self.settings.feeds) {
            sources.push(feed.source(settings));
        }
        sources.extend(self.notices.sources());
        for (signals, service) in self.signals.iter().zip(&self.settings.services) {
            if let Some(signals) = signals {
                sources.push(signals.source(service));
            }
        }
        for (route, service) in self.routes.iter().zip(&self.settings.services) {
            for router in route.view(&self.settings, None).routers {
                sources.push(SourceView {
                    name: format!("{}/{} router", service.name, router.name),
                    kind: router.kind,
                    interval: router.reread,
                    success: router.read,
                    error: router.error,
                    skew_s: None,
                });
            }
        }
        let probes = self.probes.iter().map(Probe::source);
        probes.chain(sources.into_iter().map(Arc::new)).collect()
    }
}
