//! The operators and their clients.
//!
//! Decides what is asked, when it is asked again, and what is owed to the one who asked. Never
//! touches a router or the disk. Contract: a client that got no answer asks again with the same id.

use std::time::Duration;

use engine::command::{Command, Expected, Reply, Submission};
use engine::snapshot::Snapshot;
use engine::triage::Say;
use engine::types::{Actor, Fence, Percent, Untrusted};
use engine::{Engine, Input};

use super::{Happening, Mutant, World};
use crate::check::{self, Checked, holds};

impl World {
    pub(super) fn shown(&mut self) -> Option<Snapshot> {
        self.engine.as_mut().map(Engine::snapshot)
    }

    pub(super) fn operate(&mut self) -> Checked {
        let Some(shown) = self.shown() else { return Ok(()) };
        let count = shown.services.len() as u64;
        let view = &shown.services[usize::try_from(self.rng.below(count)).expect("few services")];
        let seen = view.expected();
        let expected = if self.rng.chance(150) { self.stale.or(seen) } else { seen };
        self.stale = seen;
        let (service, reason) = (view.name.clone(), Untrusted::new("drawn"));
        let percent = self.rng.pick(&[0, 1, 2, 5, 10, 24, 25, 50, 99, 100]);
        let canary = Percent::new(percent).expect("a percent");
        let first = shown.incidents.open.first().map(|incident| incident.key.clone());
        let command = match (self.rng.below(100), first) {
            (0..45, _) => Command::Split { service, canary, reason },
            (45..60, _) => Command::Promote { service, reason },
            (60..70, _) => Command::Abort { service, reason },
            (70..90, _) | (_, None) => Command::Rollback { service, reason },
            (90..93, Some(_)) => Command::Verify { service },
            (93..97, Some(key)) => Command::Acknowledge { key, comment: reason },
            (97..98, Some(key)) => Command::Escalate { key },
            (98, Some(key)) => Command::Triage { key, say: Say::Snooze { seconds: 60, reason } },
            (_, Some(key)) => Command::Triage { key, say: Say::Note { text: reason } },
        };
        let submission = self.submission(command, expected);
        if self.rng.chance(250) {
            let mut again = submission.clone();
            if self.plan.mutant == Some(Mutant::RetryIsNew) {
                again.id.push('x');
                if let Some(book) = self.checks.books.values_mut().last() {
                    book.intent.submission.clone_from(&again.id);
                }
            }
            let wait = self.rng.millis(1, 5000);
            self.after(wait, Happening::Retry(again));
        }
        self.submit(submission)
    }

    pub(super) fn submission(
        &mut self,
        command: Command,
        expected: Option<Expected>,
    ) -> Submission {
        self.submissions += 1;
        let actor = Actor { user: Untrusted::new("operator"), uid: Some(1000), ssh: None };
        Submission {
            id: format!("s{}", self.submissions),
            command,
            expected,
            seen: Untrusted::new("a screen"),
            actor,
            read_only: self.rng.chance(20),
        }
    }

    pub(super) fn submit(&mut self, submission: Submission) -> Checked {
        if self.engine.is_none() {
            self.unanswered.push(submission);
            return Ok(());
        }
        self.deliver(Input::Submitted(submission))
    }

    pub(super) fn answered(&mut self, reply: &Reply) -> Checked {
        self.checks.one_answer(reply)?;
        let Reply::Accepted { submission, fence: Some(fence), .. } = reply else { return Ok(()) };
        let asked = self.asked.get(submission);
        let Some(service) = asked.and_then(|asked| changes(&asked.command)).map(str::to_owned)
        else {
            return holds("one_answer", false, || format!("{submission} was never asked"));
        };
        self.checks.accepted_is_on_record(&service, *fence, self.now)?;
        if asked.is_some_and(|asked| matches!(asked.command, Command::Rollback { .. })) {
            self.owe(self.place(&service), *fence);
        }
        Ok(())
    }

    pub(super) fn answer_due(&mut self, id: String, suspended: Duration) -> Checked {
        let missed = self.suspended.saturating_sub(suspended);
        if missed > Duration::ZERO {
            let suspended = self.suspended;
            self.after(missed, Happening::AnswerDue { id, suspended });
            return Ok(());
        }
        holds("one_answer", !self.checks.awaited.contains(&id), || format!("{id} has no answer"))
    }

    pub(super) fn owe(&mut self, service: usize, fence: Fence) {
        if !self.owed.contains(&(service, fence)) {
            self.owed.push((service, fence));
        }
        let suspended = self.suspended;
        let due = Happening::ResultDue { service, fence, suspended };
        self.after(check::RESULT_WITHIN, due);
    }

    pub(super) fn result_due(
        &mut self,
        service: usize,
        fence: Fence,
        suspended: Duration,
    ) -> Checked {
        let missed = self.suspended.saturating_sub(suspended);
        if missed > Duration::ZERO {
            let suspended = self.suspended;
            self.after(missed, Happening::ResultDue { service, fence, suspended });
            return Ok(());
        }
        if let Some(shown) = self.shown() {
            check::rollback_has_result(&shown.services[service], fence)?;
        }
        self.owed.retain(|owed| *owed != (service, fence));
        Ok(())
    }
}

/// The service whose split the command changes.
pub(super) fn changes(command: &Command) -> Option<&str> {
    match command {
        Command::Split { service, .. }
        | Command::Promote { service, .. }
        | Command::Abort { service, .. }
        | Command::Rollback { service, .. } => Some(service),
        Command::Deploy { .. }
        | Command::Run { .. }
        | Command::Pause { .. }
        | Command::Resume { .. }
        | Command::Reply { .. }
        | Command::Freeze { .. }
        | Command::Thaw { .. }
        | Command::StopTheLine { .. }
        | Command::Trigger { .. }
        | Command::Mark { .. }
        | Command::Validate { .. }
        | Command::Verify { .. }
        | Command::Acknowledge { .. }
        | Command::Escalate { .. }
        | Command::Triage { .. }
        | Command::Runbook { .. } => None,
    }
}
