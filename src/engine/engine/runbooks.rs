//! The engine's part in runbooks: a command of a page that a person runs.
//!
//! Decides whether it may run, and keeps what it said. Never runs what the person did not see.
//! Contract: a run is on record before it begins, and its end before it is shown; one that a
//! restart cut off ends as unknown.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Engine, Taken};
use crate::Effect;
use crate::command::{Command, Submission};
use crate::ledger::Purpose;
use crate::reading::{TaskAnswer, TaskContext};
use crate::record::{Event, RunResult};
use crate::runbook::{RUNS_AT_ONCE_MAX, What};
use crate::types::{Actor, EffectId, Now, TaskId, Untrusted};

/// A run on its way: to the journal, then to the world.
#[derive(Clone, Debug)]
pub(super) struct Running {
    effect: Option<EffectId>,
    task: TaskId,
    context: TaskContext,
    budget: Duration,
}

pub(super) type AllRunning = BTreeMap<u64, Running>;

impl Engine {
    /// What a restart found under way is over; nobody knows how.
    pub(super) fn end_cut_off_runs(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let open: Vec<u64> = self.runs.open().map(|view| view.run).collect();
        for run in open {
            let output = Untrusted::new("a restart cut it off: look whether it happened");
            self.end_run(run, RunResult::Unknown, output, now, effects);
        }
    }

    pub(super) fn run_command(
        &mut self,
        submission: &Submission,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<Taken, String> {
        let Command::Runbook { runbook, place, digest, service, incident, values, reason } =
            submission.command.clone()
        else {
            return Err("not a command of a runbook".to_owned());
        };
        let book = self.settings.runbooks.iter().find(|own| own.page.name == runbook);
        let book = book.ok_or_else(|| format!("no runbook {runbook}"))?;
        let command = book.page.commands.get(place as usize);
        let command = command.filter(|command| command.digest() == digest).ok_or_else(|| {
            format!("{runbook} is not what it was when this engine read it: look at it again")
        })?;
        let task = match (&command.what, book.tasks.get(place as usize)) {
            (What::Refused { why, .. }, _) => return Err(why.clone()),
            (What::Words(_) | What::Script(_), Some(Some(task))) => *task,
            (What::Words(_) | What::Script(_), Some(None) | None) => {
                return Err("it has no task".to_owned());
            }
        };
        command.check(&values)?;
        if self.running.len() >= RUNS_AT_ONCE_MAX {
            return Err(format!("{RUNS_AT_ONCE_MAX} commands are running: wait for one"));
        }
        if self.running.values().any(|own| own.task == task) {
            return Err("it is running".to_owned());
        }
        let (line, text, changes) = (command.line, command.text(), command.changes);
        let budget = command.timeout;
        let mut context = TaskContext { reason, values, ..TaskContext::default() };
        if let Some(service) = &service {
            let id = self.known(service)?;
            let release = self.releases[id.index()].as_ref().filter(|own| own.in_flight());
            let version = release.map(|own| own.facts.version.clone());
            context.version = version.unwrap_or_default();
            self.routes[id.index()].stable.other().word().clone_into(&mut context.group);
            context.service.clone_from(service);
        }
        let run = self.runs.last + 1;
        let event = Event::RunbookStarted {
            run,
            submission: submission.id.clone(),
            runbook,
            line: u32::try_from(line).unwrap_or(u32::MAX),
            command: Untrusted::new(&text),
            changes,
            service,
            incident,
            values: context.values.clone(),
        };
        self.running.insert(run, Running { effect: None, task, context, budget });
        let actor = submission.actor.clone();
        self.append(actor, event, Purpose::Runbook(run), false, now, effects);
        Ok(Taken::Accepted(None))
    }

    /// The start is on record, or cannot be: then nothing runs.
    pub(super) fn run_recorded(
        &mut self,
        run: u64,
        failure: Option<&str>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        if let Some(why) = failure {
            self.running.remove(&run);
            let output = Untrusted::new(&format!("not run: the journal does not take it ({why})"));
            self.end_run(run, RunResult::Failed, output, now, effects);
            return;
        }
        let id = self.id();
        let Some(own) = self.running.get_mut(&run) else { return };
        own.effect = Some(id);
        let (task, context, budget) = (own.task, own.context.clone(), own.budget);
        effects.push(Effect::Task { id, task, context, budget });
    }

    /// Takes the answer of a run; gives back one that belongs to something else.
    pub(super) fn run_ended(
        &mut self,
        id: EffectId,
        answer: TaskAnswer,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Option<TaskAnswer> {
        let found = self.running.iter().find(|(_, own)| own.effect == Some(id));
        let Some((&run, _)) = found else { return Some(answer) };
        self.running.remove(&run);
        let (result, output) = match answer {
            TaskAnswer::Passed { output } => (RunResult::Passed, output),
            TaskAnswer::Failed { output } => (RunResult::Failed, output),
            TaskAnswer::Unknown { why } => (RunResult::Unknown, why),
        };
        self.end_run(run, result, output, now, effects);
        None
    }

    fn end_run(
        &mut self,
        run: u64,
        result: RunResult,
        output: Untrusted,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        self.runs.await_record(run);
        let event = Event::RunbookEnded { run, result, output };
        self.append(Actor::engine(), event, Purpose::RunbookEnd(run), true, now, effects);
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::runbook::{Runbook, parse};
    use crate::settings::Settings;
    use crate::types::{Fence, Time};
    use crate::{Appended, Input};

    /// Lets the journal answer for the entries that wait; gives back the task that was asked for.
    fn append(
        engine: &mut Engine,
        effects: &mut Vec<Effect>,
        result: &Appended,
        now: Now,
    ) -> Option<EffectId> {
        for effect in std::mem::take(effects) {
            if let Effect::Append { id, .. } = effect {
                let input = Input::Appended { id, result: result.clone() };
                engine.handle(now, input, effects);
            }
        }
        asked(effects)
    }

    fn asked(effects: &[Effect]) -> Option<EffectId> {
        effects.iter().find_map(|effect| {
            let Effect::Task { id, .. } = effect else { return None };
            Some(*id)
        })
    }

    fn check(end: &Appended, told: &str) {
        let span = |_: &str| None;
        let page = parse("stuck", "stuck.md", "```sh\nuptime\n```\n", &span).expect("it is whole");
        let digest = page.commands[0].digest();
        let settings = Settings {
            runbooks: vec![Runbook { page, tasks: vec![Some(TaskId(0))] }],
            ..Settings::default()
        };
        let now = Now { mono: Time(3_600_000_000), wall: DateTime::UNIX_EPOCH };
        let mut effects = Vec::new();
        let mut engine = Engine::recover(settings, "test", 1, &[], Fence(0), now, &mut effects);
        append(&mut engine, &mut effects, &Appended::Durable, now);
        let submission = Submission {
            id: "s1".to_owned(),
            command: Command::Runbook {
                runbook: "stuck".to_owned(),
                place: 0,
                digest,
                service: None,
                incident: None,
                values: BTreeMap::new(),
                reason: Untrusted::default(),
            },
            expected: None,
            seen: Untrusted::default(),
            actor: Actor::engine(),
            read_only: false,
        };
        engine.handle(now, Input::Submitted(submission), &mut effects);
        assert_eq!(asked(&effects), None, "nothing runs before its start is on record");
        let id = append(&mut engine, &mut effects, &Appended::Durable, now).expect("it runs");
        let answer = TaskAnswer::Passed { output: Untrusted::new("up 3 days") };
        engine.handle(now, Input::TaskEnded { id, answer }, &mut effects);
        let shown = |engine: &mut Engine| {
            let view = engine.snapshot().head.runs[0].clone();
            (view.ended.is_some(), view.result, view.output.display().to_owned())
        };
        assert_eq!(shown(&mut engine), (false, None, String::new()), "before its record");
        append(&mut engine, &mut effects, end, now);
        let expected = (true, Some(RunResult::Passed), "up 3 days".to_owned());
        assert_eq!(shown(&mut engine), expected, "{told}");
    }

    #[test]
    fn the_end_of_a_run_is_shown_once_it_is_on_record() {
        check(&Appended::Durable, "durable");
        check(&Appended::Spooled { why: Untrusted::new("full") }, "in the spool");
        // A journal that is down says so itself; what was seen is not hidden.
        check(&Appended::Failed { why: Untrusted::new("full") }, "the journal is down");
    }
}
