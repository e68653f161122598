//! The engine's side of the journal: what waits to be durable, and what was written lately.
//!
//! Decides who is told when an entry is durable, and what a record reads like on screen. Never
//! writes. Contract: every entry that goes out comes back once, as durable, spooled or failed; one
//! toward safety that failed goes out again.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::record::{Entry, Event, Intent, Outcome, StepResult};
use crate::snapshot::{JournalLine, JournalState};
use crate::types::{Actor, EffectId, Fence, Now, RouterId, ServiceId, Untrusted};
use crate::{Appended, Effect};

/// Lines of the journal panel.
const TAIL_MAX: usize = 100;

/// Entries toward safety that no disk took, kept to be appended again: some operations with all
/// their writes. It is also the most that one input appends again.
const LOST_MAX: usize = 32;

/// Entries on their way to a disk that does not answer; beyond it notes are left out, and what
/// raises exposure is refused.
const WAITING_MAX: usize = 512;

/// While the journal cannot be written it is asked this often whether it can again.
pub const KNOCK_EVERY: Duration = Duration::from_secs(2);

/// Who waits for an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Intent(ServiceId, Fence),
    Outcome(ServiceId, Fence),
    Correction(RouterId),
    /// What a release does next waits for it.
    Release(ServiceId),
    /// The result of its checks is told then.
    Validation(ServiceId),
    /// The start of a runbook's command.
    Runbook(u64),
    /// Its end, which is shown then.
    RunbookEnd(u64),
    /// Nobody: it is only a note.
    Note,
    /// Nobody: it shows whether the journal can be written again.
    Knock,
}

/// An entry on its way to the disk.
#[derive(Debug)]
struct Waiting {
    purpose: Purpose,
    entry: Box<Entry>,
    safety: bool,
    /// The effect that asked for it first: the order of entries.
    first: EffectId,
}

impl Waiting {
    fn again(&self, id: EffectId) -> bool {
        self.first != id
    }

    /// What a failure must not forget. A correction that has no record is not made at all, or its
    /// write has one.
    fn is_kept(&self) -> bool {
        match self.purpose {
            Purpose::Intent(..)
            | Purpose::Outcome(..)
            | Purpose::Release(_)
            | Purpose::RunbookEnd(_)
            | Purpose::Note => self.safety,
            Purpose::Correction(_)
            | Purpose::Validation(_)
            | Purpose::Runbook(_)
            | Purpose::Knock => false,
        }
    }
}

/// Since when, and why, the journal cannot be written.
#[derive(Debug)]
struct Outage {
    since: DateTime<Utc>,
    why: Untrusted,
}

#[derive(Debug)]
pub struct Ledger {
    /// Tells the entries of this engine's life from those of another.
    prefix: String,
    waiting: BTreeMap<EffectId, Waiting>,
    /// Toward safety and on no disk, by their order.
    lost: BTreeMap<EffectId, Box<Entry>>,
    /// Entries of the outage that will never be on record.
    left_out: u32,
    outage: Option<Outage>,
    now: DateTime<Utc>,
    tail: VecDeque<JournalLine>,
    pub state: JournalState,
}

impl Ledger {
    pub fn new(seed: u64, entries: &[Entry]) -> Ledger {
        let first = entries.len().saturating_sub(TAIL_MAX);
        Ledger {
            prefix: format!("{seed:016x}"),
            waiting: BTreeMap::new(),
            lost: BTreeMap::new(),
            left_out: 0,
            outage: None,
            now: DateTime::UNIX_EPOCH,
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
        let waiting = Waiting { purpose, entry: entry.clone(), safety, first: id };
        self.waiting.insert(id, waiting);
        self.now = now.wall;
        Effect::Append { id, entry, safety }
    }

    /// Takes the reply; `None` when nobody waits for it.
    pub fn appended(&mut self, id: EffectId, result: &Appended) -> Option<Purpose> {
        let waiting = self.waiting.remove(&id)?;
        let purpose = waiting.purpose;
        match result {
            Appended::Durable => self.state = JournalState::Writable,
            Appended::Spooled { why } => self.fails(JournalState::Spooling { why: why.clone() }),
            // The spool may still take what is toward safety; this was not.
            Appended::Failed { .. } if purpose == Purpose::Knock => {}
            Appended::Failed { why } => self.fails(JournalState::Lost { why: why.clone() }),
        }
        if !matches!(result, Appended::Failed { .. }) {
            if self.tail.len() == TAIL_MAX {
                self.tail.pop_front();
            }
            self.tail.push_back(line(&waiting.entry));
        } else if waiting.is_kept() {
            self.keep(waiting.first, waiting.entry);
        }
        Some(purpose)
    }

    /// The journal has kept an operation waiting for too long.
    pub fn late(&mut self) {
        let why = Untrusted::new("the journal does not answer");
        self.fails(JournalState::Lost { why });
    }

    fn fails(&mut self, state: JournalState) {
        if let JournalState::Spooling { why } | JournalState::Lost { why } = &state
            && self.outage.is_none()
        {
            self.outage = Some(Outage { since: self.now, why: why.clone() });
        }
        self.state = state;
    }

    /// What was wanted and what was proven stay longest: without them a restart goes wrong.
    fn keep(&mut self, first: EffectId, entry: Box<Entry>) {
        self.lost.insert(first, entry);
        if self.lost.len() > LOST_MAX {
            let detail = |entry: &Entry| {
                !matches!(
                    entry.event,
                    Event::Intent(_)
                        | Event::Outcome(_)
                        | Event::ReleaseEnded { .. }
                        | Event::Interrupted { .. }
                )
            };
            let least = self.lost.iter().find(|(_, entry)| detail(entry)).map(|(id, _)| *id);
            let oldest = self.lost.keys().next().copied();
            if let Some(id) = least.or(oldest) {
                self.lost.remove(&id);
                self.left_out += 1;
            }
        }
    }

    /// Entries are to be appended again, and none of them is on its way.
    #[must_use]
    pub fn owes(&self) -> bool {
        !self.lost.is_empty() && !self.waiting.iter().any(|(id, own)| own.again(*id))
    }

    /// Asks for what an outage left out once more, oldest first. Each entry keeps its name.
    pub fn append_again(&mut self, last_id: &mut u64) -> Vec<Effect> {
        let mut effects = Vec::new();
        for (first, entry) in std::mem::take(&mut self.lost) {
            *last_id += 1;
            let id = EffectId(*last_id);
            let (purpose, safety) = (Purpose::Note, true);
            let waiting = Waiting { purpose, entry: entry.clone(), safety, first };
            self.waiting.insert(id, waiting);
            effects.push(Effect::Append { id, entry, safety });
        }
        effects
    }

    /// What was said after this and is not on record yet.
    #[must_use]
    pub fn waiting_after(&self, id: EffectId) -> Vec<Entry> {
        let newer = self.waiting.values().filter(|own| own.first > id);
        newer.map(|own| Entry::clone(&own.entry)).collect()
    }

    #[must_use]
    pub fn knocks(&self) -> bool {
        self.waiting.values().any(|own| own.purpose == Purpose::Knock)
    }

    /// What there is to say once the journal can be written again; `None` when it always could.
    #[must_use]
    pub fn outage(&self) -> Option<Event> {
        let Outage { since, why } = self.outage.as_ref()?;
        let (since, why, left_out) = (*since, why.clone(), self.left_out);
        Some(Event::JournalAnswers { since, why, left_out })
    }

    /// The end of an outage by an entry for this purpose: what is to be recorded about it.
    pub fn over(&mut self, purpose: Purpose) -> Option<Event> {
        if self.state != JournalState::Writable {
            return None;
        }
        let event = self.outage();
        self.outage = None;
        self.left_out = 0;
        event.filter(|_| purpose != Purpose::Knock && !self.knocks())
    }

    /// Too many entries wait for the disk: no more notes.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.waiting.len() >= WAITING_MAX
    }

    /// A note that is not asked for.
    pub fn leave_out(&mut self) {
        self.left_out = self.left_out.saturating_add(1);
    }

    /// Entries that are on no disk yet.
    #[must_use]
    pub fn unrecorded(&self) -> usize {
        self.waiting.len() + self.lost.len()
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
        Event::JournalAnswers { since, why, left_out } => {
            let gone = match left_out {
                0 => String::new(),
                count => format!("; {count} records of that time are nowhere"),
            };
            let since = since.format("%H:%M:%SZ");
            ("journal", format!("it could not be written since {since} ({why}){gone}"))
        }
        Event::Refused { verb, service, why, .. } => {
            ("refused", format!("{verb} {}: {why}", service.as_deref().unwrap_or("")))
        }
        Event::Intent(intent) => ("intent", describe_intent(intent)),
        Event::Joined { fence, service, verb, reason, .. } => {
            ("joined", format!("{verb} {service} joins #{fence}: {reason}"))
        }
        Event::Reread { service, .. } => ("verify", format!("{service}: every router is read")),
        Event::Sent { fence, service, router, weights, answer } => {
            let (a, b) = (weights.a.get(), weights.b.get());
            ("sent", format!("#{fence} {service}/{router} {a}/{b}: {answer}"))
        }
        Event::Outcome(outcome) => ("outcome", describe_outcome(outcome)),
        Event::Interrupted { fence, service, sentence } => {
            ("interrupted", format!("#{fence} {service}: {sentence}"))
        }
        Event::Drift { service, router, set, read, corrected } => {
            let done = if *corrected { ", set again" } else { "" };
            ("drift", format!("{service}/{router} shows {read}, set is {set}{done}"))
        }
        Event::Acknowledged { key, result, .. } => ("acknowledged", format!("{key}: {result}")),
        Event::Escalated { key, result } => ("escalated", format!("{key}: {result}")),
        Event::RunbookStarted { .. } | Event::RunbookEnded { .. } => describe_run(event),
        Event::Triaged { key, said } => ("triage", format!("{key}: {}", said.line())),
        Event::IncidentOpened { key, name, severity } => {
            ("opened", format!("{severity} {name} ({key})"))
        }
        Event::IncidentResolved { key, name } => ("resolved", format!("{name} ({key})")),
        Event::IncidentsChanged { source, opened, resolved } => {
            ("incidents", format!("{source}: {opened} opened, {resolved} resolved"))
        }
        Event::NoticeQueued(it) => ("notice", crate::notice::line(it)),
        Event::NoticeEnded { .. } | Event::ActionTaken { .. } => describe_response(event),
        Event::Validated(it) => ("validated", crate::validation::line(it)),
        Event::Advised(it) => ("scaling", describe_advice(it)),
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
            let state = off_until.map_or_else(|| "armed".to_owned(), off);
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

fn off(until: DateTime<Utc>) -> String {
    format!("off until {}", until.format("%H:%M:%SZ"))
}

fn describe_outcome(outcome: &Outcome) -> String {
    let Outcome { fence, service, result, sentence, .. } = outcome;
    format!("#{fence} {service} {}: {sentence}", result.word())
}

fn describe_intent(intent: &Intent) -> String {
    let from = intent.from.map_or_else(|| "?".to_owned(), |from| from.get().to_string());
    let reason =
        if intent.reason.is_empty() { String::new() } else { format!(": {}", intent.reason) };
    let (fence, verb, service) = (intent.fence, &intent.verb, &intent.service);
    format!("#{fence} {verb} {service} {from} → {}{reason}", intent.to)
}

fn describe_run(event: &Event) -> (&'static str, String) {
    if let Event::RunbookStarted { run, runbook, line, command, .. } = event {
        return ("runbook", format!("x{run} {runbook}:{line} {command}"));
    }
    let Event::RunbookEnded { run, result, output } = event else {
        return ("runbook", String::new());
    };
    ("runbook", format!("x{run} {}: {output}", crate::runbook::result_word(*result)))
}

fn describe_response(event: &Event) -> (&'static str, String) {
    if let Event::ActionTaken { key, plan, armed, result, .. } = event {
        let word = if *armed { "armed" } else { "dry run" };
        return ("action", format!("{key}: plan {plan} ({word}): {result}"));
    }
    let Event::NoticeEnded { number, channel, sent, detail } = event else {
        return ("notice", String::new());
    };
    let word = if *sent { "sent" } else { "given up" };
    ("notice", format!("n{number} for {channel} {word}: {detail}"))
}

fn describe_advice(it: &crate::record::Advised) -> String {
    let urgent = if it.urgent { ", urgent" } else { "" };
    let result = if it.result.is_empty() { String::new() } else { format!("; {}", it.result) };
    format!("{} {}{urgent}: {}{result}", it.group, it.size.word(), it.sentence)
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
                StepResult::NotUndone => "could not be taken back",
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
            let blank = if version.is_empty() { "" } else { " " };
            let word = result.word();
            ("release", format!("r{release} {service}{blank}{version} {word}: {sentence}"))
        }
        Event::Started { .. }
        | Event::Joined { .. }
        | Event::Reread { .. }
        | Event::JournalAnswers { .. }
        | Event::ConfigChanged { .. }
        | Event::Refused { .. }
        | Event::Intent(_)
        | Event::Sent { .. }
        | Event::Outcome(_)
        | Event::Interrupted { .. }
        | Event::Drift { .. }
        | Event::Acknowledged { .. }
        | Event::Escalated { .. }
        | Event::Triaged { .. }
        | Event::RunbookStarted { .. }
        | Event::RunbookEnded { .. }
        | Event::IncidentOpened { .. }
        | Event::IncidentResolved { .. }
        | Event::IncidentsChanged { .. }
        | Event::TriggerFired { .. }
        | Event::TriggerSet { .. }
        | Event::Frozen { .. }
        | Event::Thawed { .. }
        | Event::Validated(_)
        | Event::Advised(_)
        | Event::NoticeQueued(_)
        | Event::NoticeEnded { .. }
        | Event::ActionTaken { .. }
        | Event::Marked { .. } => ("release", String::new()),
    }
}
