//! What the journal says is wanted, after a crash or a stop.
//!
//! Decides nothing about the world: it only folds records. Contract: folding the entries that are
//! durable gives the split that is set, the last fence and the operation that is still open, for
//! each service by name.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::record::{Entry, Event, Intent, OperationResult};
use crate::types::{Actor, Fence, Group, Percent};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fold {
    pub services: BTreeMap<String, ServiceFold>,
    /// The highest fence of any operation.
    pub fence: Fence,
    /// Submissions that were accepted, and the fence they got.
    pub submissions: Vec<(String, Fence)>,
    /// The configuration of the last start.
    pub config_hash: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceFold {
    pub stable: Option<Group>,
    pub set: Option<Percent>,
    pub fence: Fence,
    pub open: Option<(Intent, Actor, DateTime<Utc>)>,
    /// The last emergency rollback.
    pub rolled_back: Option<DateTime<Utc>>,
}

/// Submissions remembered over a restart: a retry comes within minutes, not after hundreds.
const SUBMISSIONS_MAX: usize = 256;

#[must_use]
pub fn fold(entries: &[Entry]) -> Fold {
    let mut fold = Fold::default();
    for entry in entries {
        match &entry.event {
            Event::Intent(intent) => {
                fold.fence = fold.fence.max(intent.fence);
                fold.submissions.push((intent.submission.clone(), intent.fence));
                let service = fold.services.entry(intent.service.clone()).or_default();
                service.stable = Some(intent.stable);
                service.set = Some(intent.to);
                service.fence = service.fence.max(intent.fence);
                if intent.verb == "rollback" {
                    service.rolled_back = Some(entry.at);
                }
                service.open = Some((intent.clone(), entry.actor.clone(), entry.at));
            }
            Event::Outcome(outcome) => {
                if let Some(service) = fold.services.get_mut(&outcome.service)
                    && let Some((intent, _, _)) =
                        service.open.take_if(|(intent, _, _)| intent.fence == outcome.fence)
                    && outcome.result == OperationResult::Refused
                {
                    service.set = intent.from;
                }
            }
            Event::Interrupted { fence, service, .. } => {
                if let Some(service) = fold.services.get_mut(service)
                    && service.open.take_if(|(intent, _, _)| intent.fence == *fence).is_some()
                {
                    service.set = None;
                }
            }
            Event::Started { config_hash, .. } | Event::ConfigChanged { config_hash } => {
                fold.config_hash = Some(config_hash.clone());
            }
            Event::Refused { .. }
            | Event::Sent { .. }
            | Event::Drift { .. }
            | Event::Acknowledged { .. }
            | Event::Escalated { .. }
            | Event::IncidentOpened { .. }
            | Event::IncidentResolved { .. }
            | Event::IncidentsChanged { .. } => {}
        }
    }
    let extra = fold.submissions.len().saturating_sub(SUBMISSIONS_MAX);
    fold.submissions.drain(..extra);
    fold
}
