//! What a person said is accepted once it is on record.
//!
//! Decides when whoever paused, resumed, answered, froze, marked or switched a rule is told so.
//! Never delays what was said: it is in force at once. Contract: one answer for each, in time; an
//! accepted word survives a crash, and where the journal has no record of it the answer says so.

use std::time::Duration;

use super::{Engine, Taken};
use crate::command::{Reply, Submission};
use crate::record::Event;
use crate::schedule::Timer;
use crate::types::{EffectId, Now, ServiceId, Time, Untrusted};
use crate::{Appended, Effect};

/// A client waits for its answer no longer than this, whatever the journal does.
const PATIENCE: Duration = Duration::from_secs(20);

/// Who waits for a record.
#[derive(Clone, Debug)]
pub(super) struct Promise {
    submission: String,
    until: Time,
}

impl Engine {
    /// The submission is answered when this record is durable.
    pub(super) fn promise(&mut self, submission: &Submission, id: EffectId, now: Now) -> Taken {
        let until = now.mono + PATIENCE;
        self.promised.insert(id, Promise { submission: submission.id.clone(), until });
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
        said.map_or(Taken::Accepted(None), |id| self.promise(submission, id, now))
    }

    pub(super) fn is_promised(&self, submission: &str) -> bool {
        self.promised.values().any(|promise| promise.submission == submission)
    }

    /// What became of a record that somebody may wait for.
    pub(super) fn promise_kept(
        &mut self,
        id: EffectId,
        result: &Appended,
        effects: &mut Vec<Effect>,
    ) {
        let Some(Promise { submission, .. }) = self.promised.remove(&id) else { return };
        let reply = match result {
            Appended::Durable | Appended::Spooled { .. } => {
                Reply::Accepted { submission, fence: None }
            }
            Appended::Failed { why } => {
                let why = format!("it is in force, but the journal cannot be written: {why}");
                Reply::Refused { submission, why: Untrusted::new(&why) }
            }
        };
        self.keep(reply.clone());
        effects.push(Effect::Answer(reply));
    }

    /// The journal does not answer in time.
    pub(super) fn promises_late(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let late = self.promised.extract_if(.., |_, promise| promise.until <= now.mono);
        let late: Vec<Promise> = late.map(|(_, promise)| promise).collect();
        for Promise { submission, .. } in late {
            let why = "it is in force, but the journal does not answer: a restart may forget it";
            let reply = Reply::Refused { submission, why: Untrusted::new(why) };
            self.keep(reply.clone());
            effects.push(Effect::Answer(reply));
        }
        if let Some(until) = self.promised.values().map(|promise| promise.until).min() {
            self.schedule.set(Timer::Answer, until);
        }
    }
}
