//! What the journal says is wanted, after a crash or a stop.
//!
//! Decides nothing about the world: it only folds records. Contract: folding the entries that are
//! durable gives the split that is set, the last fence and the operation that is still open, for
//! each service by name.

pub mod needed;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::record::{
    Entry, Event, Intent, Look, OperationResult, Outcome, ReleaseKind, ReleaseResult,
    ReleaseStarted, ReleaseState, RouterProof, StepResult,
};
use crate::release::graph;
use crate::snapshot::StepState;
use crate::types::{Actor, Fence, Group, Percent, Untrusted};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fold {
    pub services: BTreeMap<String, ServiceFold>,
    /// The highest fence of any operation.
    pub fence: Fence,
    /// Submissions that were accepted, and the fence they got.
    pub submissions: Vec<(String, Option<Fence>)>,
    /// The highest number of any release.
    pub release: u64,
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
    pub release: Option<OpenRelease>,
    /// A result whose intent is not on record, or not yet.
    orphan: Option<Outcome>,
    /// The release that was finalised last, until something else begins: whoever took the traffic
    /// back while its end was on its way to the journal took the end back.
    finalised: Option<OpenRelease>,
}

/// A release that has started and not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenRelease {
    pub facts: ReleaseStarted,
    pub actor: Actor,
    pub at: DateTime<Utc>,
    /// Of the plan step that is next or under way.
    pub place: usize,
    pub marks: Vec<(StepState, Untrusted)>,
    pub state: ReleaseState,
    pub why: String,
    /// On the way back: how it ends, and whether its steps are taken back.
    pub back: Option<(ReleaseResult, bool)>,
    pub canary_place: usize,
    pub looks: Vec<Look>,
    /// The step at `place` failed, or its canary did, and what was to follow is not on record.
    pub failed: bool,
    /// A step could not be taken back.
    pub stuck: bool,
    /// Steps that ended, in that order.
    pub order: Vec<usize>,
}

impl OpenRelease {
    fn new(facts: ReleaseStarted, entry: &Entry) -> OpenRelease {
        OpenRelease {
            marks: vec![(StepState::Waiting, Untrusted::default()); facts.steps.len()],
            facts,
            actor: entry.actor.clone(),
            at: entry.at,
            place: 0,
            state: ReleaseState::Running,
            why: String::new(),
            back: None,
            canary_place: 0,
            looks: Vec::new(),
            failed: false,
            stuck: false,
            order: Vec::new(),
        }
    }

    /// Whoever takes the traffic back ends the release, also where its own record of that is lost.
    fn preempted(&mut self, intent: &Intent) {
        let own = intent.submission.starts_with("engine-") && intent.verb != "rollback";
        if intent.to != Percent::ZERO || own || self.state == ReleaseState::WalkingBack {
            return;
        }
        let abort = intent.verb != "rollback";
        let ending = if abort { ReleaseResult::Aborted } else { ReleaseResult::RolledBack };
        self.back = Some((ending, abort));
        self.state = ReleaseState::WalkingBack;
        self.why = format!("{} under {}", intent.verb, intent.fence);
    }

    fn mark(&mut self, step: u32, state: StepState, detail: &Untrusted) {
        if let Some(mark) = self.marks.get_mut(step as usize) {
            *mark = (state, detail.clone());
        }
    }
}

impl ServiceFold {
    fn release_ended(&mut self, release: u64, result: ReleaseResult, stable: Group) {
        let open = self.release.take_if(|open| open.facts.release == release);
        let flipped = |open: &OpenRelease| open.facts.stable != stable;
        self.finalised = open.filter(|open| flipped(open) && result == ReleaseResult::Good);
        if self.finalised.is_some() {
            self.stable = Some(stable);
            self.set = Some(Percent::ZERO);
        }
    }

    /// Nothing is left to do for an older operation, but it may be the newest that is known whole.
    fn came_late(&mut self, intent: &Intent, entry: &Entry) {
        let newest = self.ended.as_ref().is_none_or(|ended| ended.intent.fence < intent.fence);
        if newest && self.open.is_none() {
            self.ended = Some(Ended {
                intent: intent.clone(),
                actor: entry.actor.clone(),
                at: entry.at,
                result: OperationResult::Superseded,
                sentence: Untrusted::new("a newer operation took its place"),
            });
        }
    }

    /// No disk took what was wanted; what was proven is all there is.
    fn without_intent(&mut self, outcome: &Outcome) {
        self.orphan = Some(outcome.clone());
        self.set = match outcome.result {
            // Nothing was moved: what was wanted before still is.
            OperationResult::Refused => return,
            OperationResult::Verified => proven(outcome),
            OperationResult::Partial | OperationResult::Unknown | OperationResult::Superseded => {
                None
            }
        };
        self.fence = outcome.fence;
        self.open = None;
        // Nothing is set again by itself under a fence that has no intent.
        self.rolled_back = None;
    }
}

/// The split that every router showed; `None` when they differ or one could not be read.
fn proven(outcome: &Outcome) -> Option<Percent> {
    let percent = |proof: &RouterProof| {
        let canary: f64 = proof.canary.as_deref()?.parse().ok()?;
        (0..=100).filter_map(Percent::new).find(|split| crate::route::same(*split, canary))
    };
    let mut routers = outcome.routers.iter().map(percent);
    let first = routers.next()??;
    routers.all(|other| other == Some(first)).then_some(first)
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

/// The entries as they were made. One that an outage held up stands behind newer ones of its
/// engine's life, and would undo them.
#[must_use]
pub fn in_order(entries: &[Entry]) -> Vec<&Entry> {
    order(entries).into_iter().map(|place| &entries[place]).collect()
}

/// Their places.
fn order(entries: &[Entry]) -> Vec<usize> {
    let (mut life, mut last, mut number) = (0_usize, "", 0_u64);
    let mut keyed = Vec::with_capacity(entries.len());
    for (place, entry) in entries.iter().enumerate() {
        let (prefix, count) = entry.id.rsplit_once('-').unwrap_or((entry.id.as_str(), ""));
        if prefix != last {
            (life, last, number) = (life + 1, prefix, 0);
        }
        number = count.parse().unwrap_or(number);
        keyed.push((life, number, place));
    }
    keyed.sort_unstable();
    keyed.into_iter().map(|(.., place)| place).collect()
}

#[must_use]
pub fn fold(entries: &[Entry]) -> Fold {
    let mut fold = Fold::default();
    for entry in in_order(entries) {
        fold.take(entry);
    }
    let extra = fold.submissions.len().saturating_sub(SUBMISSIONS_MAX);
    fold.submissions.drain(..extra);
    fold
}

impl OpenRelease {
    fn step_started(&mut self, step: u32) {
        self.failed = false;
        self.mark(step, StepState::Running, &Untrusted::default());
        if self.facts.after.is_empty() {
            self.place = step as usize;
            return;
        }
        // The record of an end may be lost; what waited for it did not begin before.
        for place in graph::behind(&self.facts.after, step) {
            if let Some(mark) = self.marks.get_mut(place) {
                mark.0 = StepState::Done;
            }
        }
        self.first_not_done();
    }

    /// Where steps run side by side, the release's own is the first that is not done.
    fn first_not_done(&mut self) {
        let open = self.marks.iter().position(|(state, _)| *state != StepState::Done);
        self.place = open.unwrap_or(self.marks.len());
    }

    fn step_ended(&mut self, step: u32, result: StepResult, detail: &Untrusted) {
        let state = match result {
            StepResult::Done => StepState::Done,
            StepResult::Failed | StepResult::Interrupted => StepState::Failed,
            StepResult::Undone | StepResult::NotUndone => StepState::Undone,
        };
        self.mark(step, state, detail);
        self.failed = result == StepResult::Failed;
        self.stuck |= result == StepResult::NotUndone;
        if state == StepState::Undone && self.state != ReleaseState::WalkingBack {
            // No disk took that it was on its way back, where alone a step is undone.
            let deploy = self.facts.kind == ReleaseKind::Deploy;
            let ending = if deploy { ReleaseResult::RolledBack } else { ReleaseResult::Aborted };
            self.back = Some((ending, true));
            self.state = ReleaseState::WalkingBack;
            "its steps were being taken back".clone_into(&mut self.why);
        }
        if matches!(result, StepResult::Done | StepResult::Failed) {
            self.order.retain(|own| *own != step as usize);
            self.order.push(step as usize);
        }
        if result == StepResult::Done && self.facts.after.is_empty() {
            // After an outage a record may come late.
            self.place = self.place.max(step as usize + 1);
        } else if result == StepResult::Done {
            self.first_not_done();
        }
    }

    fn changed(
        &mut self,
        state: ReleaseState,
        why: &Untrusted,
        back: Option<(ReleaseResult, bool)>,
    ) {
        let judged = self.looks.last().map_or("", |look| look.verdict.as_str());
        if state == ReleaseState::Running && matches!(judged, "FAIL" | "HOLD") {
            // A person resumed it: the evidence started anew.
            self.looks.clear();
        }
        self.state = state;
        self.failed = false;
        self.back = back.or(self.back);
        why.display().clone_into(&mut self.why);
    }
}

impl Fold {
    fn take(&mut self, entry: &Entry) {
        match &entry.event {
            Event::Intent(intent) => self.intent(intent, entry),
            Event::Outcome(outcome) => self.outcome(outcome),
            Event::Interrupted { fence, service, sentence } => {
                if let Some(service) = self.services.get_mut(service)
                    && let Some((intent, actor, at)) =
                        service.open.take_if(|(intent, ..)| intent.fence == *fence)
                {
                    service.set = None;
                    let (result, sentence) = (OperationResult::Unknown, sentence.clone());
                    service.ended = Some(Ended { intent, actor, at, result, sentence });
                }
            }
            Event::Started { config_hash, .. } | Event::ConfigChanged { config_hash } => {
                self.config_hash = Some(config_hash.clone());
            }
            Event::ReleaseStarted(started) => {
                self.release = self.release.max(started.release);
                self.submissions.push((started.submission.clone(), None));
                let service = self.services.entry(started.service.clone()).or_default();
                service.release = Some(OpenRelease::new(started.clone(), entry));
            }
            Event::ReleaseEnded { release, service, result, stable, .. } => {
                let Some(service) = self.services.get_mut(service) else { return };
                service.release_ended(*release, *result, *stable);
            }
            Event::StepStarted { release, service, step, .. } => {
                let Some(open) = self.open_release(service, *release) else { return };
                open.step_started(*step);
            }
            Event::StepEnded { release, service, step, result, detail } => {
                let Some(open) = self.open_release(service, *release) else { return };
                open.step_ended(*step, *result, detail);
            }
            Event::CanaryStep { release, service, place, .. } => {
                let Some(open) = self.open_release(service, *release) else { return };
                open.canary_place = *place as usize;
            }
            Event::ReleaseChanged { release, service, state, why, back } => {
                let Some(open) = self.open_release(service, *release) else { return };
                open.changed(*state, why, *back);
            }
            Event::Look(look) => {
                let Some(open) = self.open_release(&look.service, look.release) else { return };
                open.failed |= look.verdict == "FAIL";
                open.looks.push(look.clone());
            }
            // Asked again after a restart it is decided anew: a rollback twice does no harm.
            Event::Joined { .. }
            | Event::Refused { .. }
            | Event::Reread { .. }
            | Event::JournalAnswers { .. }
            | Event::Sent { .. }
            | Event::Drift { .. }
            | Event::Acknowledged { .. }
            | Event::Escalated { .. }
            | Event::Triaged { .. }
            | Event::RunbookStarted { .. }
            | Event::RunbookEnded { .. }
            | Event::IncidentOpened { .. }
            | Event::IncidentResolved { .. }
            | Event::IncidentsChanged { .. }
            | Event::Answered { .. }
            | Event::TriggerFired { .. }
            | Event::TriggerSet { .. }
            | Event::Frozen { .. }
            | Event::Thawed { .. }
            | Event::Validated(_)
            | Event::Advised(_)
            | Event::NoticeQueued(_)
            | Event::NoticeEnded { .. }
            | Event::ActionTaken { .. }
            | Event::Marked { .. } => {}
        }
    }

    fn intent(&mut self, intent: &Intent, entry: &Entry) {
        self.fence = self.fence.max(intent.fence);
        self.submissions.push((intent.submission.clone(), Some(intent.fence)));
        let service = self.services.entry(intent.service.clone()).or_default();
        if intent.verb == "rollback" {
            service.rolled_back = service.rolled_back.max(Some(entry.at));
        }
        let orphan = service.orphan.take_if(|outcome| outcome.fence == intent.fence);
        // After an outage a record may come late: what is newer stands.
        if intent.fence < service.fence || (intent.fence == service.fence && orphan.is_none()) {
            service.came_late(intent, entry);
            return;
        }
        let finalised = service.finalised.take();
        if service.release.is_none() {
            service.release = finalised.filter(|open| open.facts.stable == intent.stable);
        }
        service.stable = Some(intent.stable);
        service.set = Some(intent.to);
        service.fence = intent.fence;
        let open = service.open.replace((intent.clone(), entry.actor.clone(), entry.at));
        // A restart takes an operation up again under a new fence: what a release had to do with it
        // was settled when it was asked for.
        let again = open.is_some_and(|(open, ..)| open.submission == intent.submission);
        if let Some(release) = service.release.as_mut().filter(|_| !again) {
            release.preempted(intent);
        }
        if let Some(outcome) = orphan {
            self.outcome(&outcome);
        }
    }

    fn outcome(&mut self, outcome: &Outcome) {
        let service = self.services.entry(outcome.service.clone()).or_default();
        let open = service.open.take_if(|(intent, ..)| intent.fence == outcome.fence);
        if let Some((intent, actor, at)) = open {
            match outcome.result {
                OperationResult::Refused => service.set = intent.from,
                // The newest here, so by another engine: what is wanted is not ours to say.
                OperationResult::Superseded => service.set = None,
                OperationResult::Verified | OperationResult::Partial | OperationResult::Unknown => {
                }
            }
            let (result, sentence) = (outcome.result, outcome.sentence.clone());
            service.ended = Some(Ended { intent, actor, at, result, sentence });
        } else if let Some(ended) = &mut service.ended
            && ended.intent.fence == outcome.fence
        {
            // Proven after its first verdict.
            ended.result = outcome.result;
            ended.sentence = outcome.sentence.clone();
        } else if outcome.fence >= service.fence {
            service.without_intent(outcome);
            self.fence = self.fence.max(outcome.fence);
        }
    }

    fn open_release(&mut self, service: &str, release: u64) -> Option<&mut OpenRelease> {
        let open = self.services.get_mut(service)?.release.as_mut()?;
        (open.facts.release == release).then_some(open)
    }
}

#[cfg(test)]
mod tests;
