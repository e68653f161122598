//! The engine's side of the journal: what waits to be durable, and what was written lately.
//!
//! Decides who is told when an entry is durable, and what a record reads like on screen. Never
//! writes. Contract: every entry that goes out comes back once, as durable, spooled or failed.

use std::collections::{BTreeMap, VecDeque};

use crate::record::{Entry, Event, Intent, StepResult};
use crate::snapshot::{JournalLine, JournalState};
use crate::types::{Actor, EffectId, Fence, Now, RouterId, ServiceId, Untrusted};
use crate::{Appended, Effect};

/// Lines of the journal panel.
const TAIL_MAX: usize = 100;

/// Who waits for an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Intent(ServiceId, Fence),
    Outcome(ServiceId, Fence),
    Correction(RouterId),
    /// What a release does next waits for it.
    Release(ServiceId),
    /// Nobody: it is only a note.
    Note,
}

#[derive(Debug)]
pub struct Ledger {
    /// Tells the entries of this engine's life from those of another.
    prefix: String,
    waiting: BTreeMap<EffectId, (Purpose, Box<Entry>)>,
    tail: VecDeque<JournalLine>,
    pub state: JournalState,
}

impl Ledger {
    pub fn new(seed: u64, entries: &[Entry]) -> Ledger {
        let first = entries.len().saturating_sub(TAIL_MAX);
        Ledger {
            prefix: format!("{seed:016x}"),
            waiting: BTreeMap::new(),
            tail: entries[first..].iter().map(line).collect(),
            state: JournalState::Writable,
        }
    }

    pub fn append(
        &mut self,
        id: EffectId,
        now: Now,
        actor: Actor,
        event: Event,
        purpose: Purpose,
        safety: bool,
    ) -> Effect {
        let entry =
            Box::new(Entry { id: format!("{}-{}", self.prefix, id.0), at: now.wall, actor, event });
        self.waiting.insert(id, (purpose, entry.clone()));
        Effect::Append { id, entry, safety }
    }

    /// Takes the reply; `None` when nobody waits for it.
    pub fn appended(&mut self, id: EffectId, result: &Appended) -> Option<Purpose> {
        let (purpose, entry) = self.waiting.remove(&id)?;
        self.state = match result {
            Appended::Durable => JournalState::Writable,
            Appended::Spooled { why } => JournalState::Spooling { why: why.clone() },
            Appended::Failed { why } => JournalState::Lost { why: why.clone() },
        };
        if !matches!(result, Appended::Failed { .. }) {
            if self.tail.len() == TAIL_MAX {
                self.tail.pop_front();
            }
            self.tail.push_back(line(&entry));
        }
        Some(purpose)
    }

    /// The journal has kept an operation waiting for too long.
    pub fn late(&mut self) {
        let why = Untrusted::new("the journal does not answer");
        self.state = JournalState::Lost { why };
    }

    #[must_use]
    pub fn tail(&self) -> Vec<JournalLine> {
        self.tail.iter().cloned().collect()
    }
}

/// One record as a person reads it.
#[must_use]
pub fn line(entry: &Entry) -> JournalLine {
    let (kind, text) = describe(&entry.event);
    JournalLine {
        at: entry.at,
        user: entry.actor.user.clone(),
        kind: kind.to_owned(),
        text: Untrusted::new(&text),
    }
}

fn describe(event: &Event) -> (&'static str, String) {
    match event {
        Event::Started { version, .. } => ("started", format!("engine {version} started")),
        Event::ConfigChanged { .. } => ("config", "the configuration changed".to_owned()),
        Event::Refused { verb, service, why, .. } => {
            ("refused", format!("{verb} {}: {why}", service.as_deref().unwrap_or("")))
        }
        Event::Intent(intent) => ("intent", describe_intent(intent)),
        Event::Sent { fence, service, router, weights, answer } => (
            "sent",
            format!(
                "#{fence} {service}/{router} {}/{}: {answer}",
                weights.a.get(),
                weights.b.get()
            ),
        ),
        Event::Outcome(outcome) => (
            "outcome",
            format!(
                "#{} {} {}: {}",
                outcome.fence,
                outcome.service,
                outcome.result.word(),
                outcome.sentence
            ),
        ),
        Event::Interrupted { fence, service, sentence } => {
            ("interrupted", format!("#{fence} {service}: {sentence}"))
        }
        Event::Drift { service, router, set, read, corrected } => {
            let done = if *corrected { ", set again" } else { "" };
            ("drift", format!("{service}/{router} shows {read}, set is {set}{done}"))
        }
        Event::Acknowledged { key, result, .. } => ("acknowledged", format!("{key}: {result}")),
        Event::Escalated { key, result } => ("escalated", format!("{key}: {result}")),
        Event::IncidentOpened { key, name, severity } => {
            ("opened", format!("{severity} {name} ({key})"))
        }
        Event::IncidentResolved { key, name } => ("resolved", format!("{name} ({key})")),
        Event::IncidentsChanged { source, opened, resolved } => {
            ("incidents", format!("{source}: {opened} opened, {resolved} resolved"))
        }
        Event::Validated(it) => ("validated", crate::validation::line(it)),
        Event::ReleaseStarted(_)
        | Event::StepStarted { .. }
        | Event::StepEnded { .. }
        | Event::CanaryStep { .. }
        | Event::Look(_)
        | Event::Answered { .. }
        | Event::ReleaseChanged { .. }
        | Event::ReleaseEnded { .. } => describe_release(event),
        Event::TriggerFired { service, trigger, sentence } => {
            ("trigger", format!("{service} rule {}: {sentence}", trigger + 1))
        }
        Event::TriggerSet { service, trigger, off_until, reason } => {
            let state = off_until.map_or_else(
                || "armed".to_owned(),
                |until| format!("off until {}", until.format("%H:%M:%SZ")),
            );
            ("trigger", format!("{service} rule {} {state}: {reason}", trigger + 1))
        }
        Event::Frozen { service, until, reason } => {
            let scope = service.as_deref().unwrap_or("every service");
            ("frozen", format!("{scope} until {}: {reason}", until.format("%H:%M:%SZ")))
        }
        Event::Thawed { service, reason } => {
            ("thawed", format!("{}: {reason}", service.as_deref().unwrap_or("every service")))
        }
        Event::Marked { service, version, bad, reason } => {
            let word = if *bad { "bad" } else { "good" };
            ("marked", format!("{service} {version} is {word}: {reason}"))
        }
    }
}

fn describe_intent(intent: &Intent) -> String {
    let from = intent.from.map_or_else(|| "?".to_owned(), |from| from.get().to_string());
    let reason =
        if intent.reason.is_empty() { String::new() } else { format!(": {}", intent.reason) };
    let (fence, verb, service) = (intent.fence, &intent.verb, &intent.service);
    format!("#{fence} {verb} {service} {from} → {}{reason}", intent.to)
}

fn describe_release(event: &Event) -> (&'static str, String) {
    match event {
        Event::ReleaseStarted(it) => {
            let version =
                if it.version.is_empty() { String::new() } else { format!(" {}", it.version) };
            ("release", format!("r{} {}{version} by plan {}", it.release, it.service, it.plan))
        }
        Event::StepStarted { release, service, step, name } => {
            ("step", format!("r{release} {service} step {}: {name}", step + 1))
        }
        Event::StepEnded { release, service, step, result, detail } => {
            let told = if detail.is_empty() { String::new() } else { format!(": {detail}") };
            let result = match result {
                StepResult::Done => "done",
                StepResult::Failed => "failed",
                StepResult::Undone => "taken back",
                StepResult::Interrupted => "interrupted",
            };
            ("step", format!("r{release} {service} step {} {result}{told}", step + 1))
        }
        Event::CanaryStep { release, service, percent, .. } => {
            ("canary", format!("r{release} {service} at {percent}"))
        }
        Event::Look(look) => {
            ("look", format!("r{} {} {}", look.release, look.service, look.sentence))
        }
        Event::Answered { release, service, yes, reason, .. } => {
            let word = if *yes { "yes" } else { "no" };
            ("answer", format!("r{release} {service} {word}: {reason}"))
        }
        Event::ReleaseChanged { release, service, state, why, .. } => {
            ("release", format!("r{release} {service} {}: {why}", state.word()))
        }
        Event::ReleaseEnded { release, service, version, result, sentence, .. } => {
            ("release", format!("r{release} {service} {version} {}: {sentence}", result.word()))
        }
        Event::Started { .. }
        | Event::ConfigChanged { .. }
        | Event::Refused { .. }
        | Event::Intent(_)
        | Event::Sent { .. }
        | Event::Outcome(_)
        | Event::Interrupted { .. }
        | Event::Drift { .. }
        | Event::Acknowledged { .. }
        | Event::Escalated { .. }
        | Event::IncidentOpened { .. }
        | Event::IncidentResolved { .. }
        | Event::IncidentsChanged { .. }
        | Event::TriggerFired { .. }
        | Event::TriggerSet { .. }
        | Event::Frozen { .. }
        | Event::Thawed { .. }
        | Event::Validated(_)
        | Event::Marked { .. } => ("release", String::new()),
    }
}
