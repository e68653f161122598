//! What a person said is accepted once it is on record.
//!
//! Decides when a word is in force, and when whoever said it is told so. What only restricts (a
//! freeze, a pause, a bad mark, a rule that is armed, a no) is in force at once and accepted also
//! where the journal cannot be written: the answer says that no record has it. What lets more
//! happen is in force once it is on record, and refused where it is not. Contract: one answer for
//! each, in time; what is refused does nothing.

use std::time::Duration;

use super::{Engine, Taken};
use crate::command::{Command, Reply, Submission};
use crate::record::{Entry, Event};
use crate::schedule::Timer;
use crate::types::{EffectId, Now, ServiceId, Time, Untrusted};
use crate::{Appended, Effect};

/// A client waits for its answer no longer than this, whatever the journal does.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a word means while no record has it.
#[derive(Clone, Debug)]
pub(super) enum Word {
    /// In force at once.
    Restricts,
    /// In force by this entry once it is durable.
    Permits(Box<Entry>),
    /// A release waits for it, and is held where the record is missing.
    Steers(ServiceId),
}

/// Who waits for a record.
#[derive(Clone, Debug)]
pub(super) struct Promise {
    submission: String,
    until: Time,
    word: Word,
    /// Its client was answered, and the record may still come.
    answered: bool,
}

/// Does this let more happen than before?
pub(super) fn permits(event: &Event) -> bool {
    matches!(
        event,
        Event::Thawed { .. }
            | Event::Marked { bad: false, .. }
            | Event::TriggerSet { off_until: Some(_), .. }
    )
}

impl Engine {
    /// The submission is answered when this record is durable.
    pub(super) fn promise(
        &mut self,
        submission: &Submission,
        id: EffectId,
        word: Word,
        now: Now,
    ) -> Taken {
        let until = now.mono + PATIENCE;
        let submission = submission.id.clone();
        self.promised.insert(id, Promise { submission, until, word, answered: false });
        if !self.schedule.is_set(Timer::Answer) {
            self.schedule.set(Timer::Answer, until);
        }
        Taken::Waits
    }

    /// The same, for what was said to a release: its own record is made here.
    pub(super) fn promise_of(
        &mut self,
        service: ServiceId,
        submission: &Submission,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Taken {
        let first = effects.len();
        self.carry(service, now, effects);
        let said = effects[first..].iter().find_map(|effect| match effect {
            Effect::Append { id, entry, .. } => {
                let said =
                    matches!(entry.event, Event::ReleaseChanged { .. } | Event::Answered { .. });
                said.then_some(*id)
            }
            _ => None,
        });
        let restricts =
            matches!(submission.command, Command::Pause { .. } | Command::Reply { yes: false, .. });
        let word = if restricts { Word::Restricts } else { Word::Steers(service) };
        said.map_or(Taken::Accepted(None), |id| self.promise(submission, id, word, now))
    }

    pub(super) fn is_promised(&self, submission: &str) -> bool {
        self.promised.values().any(|own| own.submission == submission && !own.answered)
    }

    /// What became of a record that somebody may wait for.
    pub(super) fn promise_kept(
        &mut self,
        id: EffectId,
        result: &Appended,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let Some(Promise { submission, word, answered, .. }) = self.promised.remove(&id) else {
            return;
        };
        let mut note = Untrusted::default();
        let mut refused = None;
        match (result, word) {
            (Appended::Durable | Appended::Spooled { .. }, Word::Permits(entry)) => {
                self.come_into_force(id, &entry, now);
            }
            (Appended::Durable | Appended::Spooled { .. }, Word::Restricts | Word::Steers(_)) => {}
            (Appended::Failed { why }, Word::Restricts) => {
                note =
                    Untrusted::new(&format!("a restart may forget it: no record has it ({why})"));
            }
            (Appended::Failed { why }, Word::Permits(_)) => {
                refused = Some(format!("the journal cannot be written, nothing was done: {why}"));
            }
            (Appended::Failed { why }, Word::Steers(_)) => {
                refused = Some(format!("the journal cannot be written, the release waits: {why}"));
            }
        }
        if answered {
            return;
        }
        let reply = match refused {
            None => Reply::Accepted { submission, fence: None, note },
            Some(why) => Reply::Refused { submission, why: Untrusted::new(&why) },
        };
        self.keep(reply.clone());
        effects.push(Effect::Answer(reply));
    }

    /// What restricts and was said since stands above it, as it does in the journal.
    fn come_into_force(&mut self, id: EffectId, entry: &Entry, now: Now) {
        self.apply(entry, now);
        for newer in self.ledger.waiting_after(id) {
            let said = matches!(
                newer.event,
                Event::Frozen { .. } | Event::Marked { .. } | Event::TriggerSet { .. }
            );
            if said && !permits(&newer.event) {
                self.apply(&newer, now);
            }
        }
        self.dirty.services = true;
        self.dirty.head = true;
    }

    /// The journal does not answer in time.
    pub(super) fn promises_late(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let mut late = Vec::new();
        for (id, own) in &mut self.promised {
            if !own.answered && own.until <= now.mono {
                own.answered = true;
                late.push((*id, own.submission.clone(), own.word.clone()));
            }
        }
        for (id, submission, word) in late {
            let reply = match word {
                Word::Restricts => {
                    let note = "a restart may forget it: the journal does not answer";
                    Reply::Accepted { submission, fence: None, note: Untrusted::new(note) }
                }
                Word::Permits(_) => {
                    let why = "the journal does not answer: it is not in force, and will be only \
                               if the journal takes it yet";
                    Reply::Refused { submission, why: Untrusted::new(why) }
                }
                Word::Steers(service) => {
                    if let Some(release) = &mut self.releases[service.index()] {
                        release.word_recorded(id, Some("the journal does not answer"));
                    }
                    self.touched.insert(service);
                    let why = "the journal does not answer: the release waits";
                    Reply::Refused { submission, why: Untrusted::new(why) }
                }
            };
            self.keep(reply.clone());
            effects.push(Effect::Answer(reply));
        }
        let open = self.promised.values().filter(|own| !own.answered);
        if let Some(until) = open.map(|own| own.until).min() {
            self.schedule.set(Timer::Answer, until);
        }
    }
}
