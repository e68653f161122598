//! What the journal says is wanted, after a crash or a stop.
//!
//! Decides nothing about the world: it only folds records. Contract: folding the entries that are
//! durable gives the split that is set, the last fence and the operation that is still open, for
//! each service by name.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::record::{Entry, Event, Intent, OperationResult};
use crate::types::{Actor, Fence, Group, Percent, Untrusted};

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
    /// The operation that ended last, with its result.
    pub ended: Option<Ended>,
    /// The last emergency rollback.
    pub rolled_back: Option<DateTime<Utc>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    pub intent: Intent,
    pub actor: Actor,
    pub at: DateTime<Utc>,
    pub result: OperationResult,
    pub sentence: Untrusted,
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
                let Some(service) = fold.services.get_mut(&outcome.service) else { continue };
                let open = service.open.take_if(|(intent, ..)| intent.fence == outcome.fence);
                if let Some((intent, actor, at)) = open {
                    if outcome.result == OperationResult::Refused {
                        service.set = intent.from;
                    }
                    let (result, sentence) = (outcome.result, outcome.sentence.clone());
                    service.ended = Some(Ended { intent, actor, at, result, sentence });
                } else if let Some(ended) = &mut service.ended
                    && ended.intent.fence == outcome.fence
                {
                    // Proven after its first verdict.
                    ended.result = outcome.result;
                    ended.sentence = outcome.sentence.clone();
                }
            }
            Event::Interrupted { fence, service, sentence } => {
                if let Some(service) = fold.services.get_mut(service)
                    && let Some((intent, actor, at)) =
                        service.open.take_if(|(intent, ..)| intent.fence == *fence)
                {
                    service.set = None;
                    let (result, sentence) = (OperationResult::Unknown, sentence.clone());
                    service.ended = Some(Ended { intent, actor, at, result, sentence });
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
            | Event::IncidentsChanged { .. }
            | Event::ReleaseStarted(_)
            | Event::StepStarted { .. }
            | Event::StepEnded { .. }
            | Event::CanaryStep { .. }
            | Event::Look(_)
            | Event::Answered { .. }
            | Event::ReleaseChanged { .. }
            | Event::ReleaseEnded { .. }
            | Event::TriggerFired { .. }
            | Event::TriggerSet { .. }
            | Event::Frozen { .. }
            | Event::Thawed { .. }
            | Event::Marked { .. } => {}
        }
    }
    let extra = fold.submissions.len().saturating_sub(SUBMISSIONS_MAX);
    fold.submissions.drain(..extra);
    fold
}
