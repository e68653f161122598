//! Ways in which a driver, a disk, a source or the configuration may be wrong around a release.
//!
//! Decides nothing but what is broken. Never part of the product: each defect sits between the
//! engine and the world, which judges by what is true. Contract: every one is caught by a rule that
//! names it, within [`super::MUTANT_SEEDS`] seeds.

use std::borrow::Cow;
use std::time::Duration;

use chrono::{DateTime, Utc};
use engine::command::{Command, Reply, Submission};
use engine::reading::{Measurement, TaskAnswer};
use engine::record::{Entry, Event, ReleaseState, StepResult};
use engine::settings::{Action, AfterCrash, Pass, Settings, Step};
use engine::types::{EffectId, Failure, FailureKind, Percent, Untrusted};
use engine::{Appended, Effect, Input};

use super::source;
use super::world::{Happening, World};
use crate::check::Checked;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// A read shows what was sent, not what is.
    ReadingsEchoTheWrite,
    /// The engine's clock is the one that people set.
    WallForMono,
    /// A step's start is called durable while it waits for the disk.
    StartsAreToldDurable,
    /// A step passes by time, whatever its verdict.
    VerdictsAreIgnored,
    /// The first look allows the next percent.
    SoaksAreSkipped,
    /// All the traffic at once.
    StepsAreSkipped,
    /// Timed steps take no time.
    WaitsAreSkipped,
    /// A question's default comes at once.
    QuestionsAnswerThemselves,
    /// What was under way at a crash is done again, whatever its rule.
    CrashesRepeat,
    /// The steps take one another back.
    UndoIsCrossed,
    /// A step is taken back before the traffic is.
    UndoComesFirst,
    /// An old scrape carries the time of now.
    StaleIsFresh,
    /// Each group's counters come as the other's.
    ArmsAreSwapped,
    /// A scrape is counted twice as high.
    CountsAreDoubled,
    /// Tasks answer twice.
    TasksAnswerTwice,
    /// A restart resumes what waits for a person.
    ResumesByItself,
    /// A pause is accepted and not passed on.
    PausesAreDropped,
    /// What a person said is accepted before the disk has it.
    WordsAreTakenAtOnce,
    /// A freeze stands in the way of a rollback.
    FreezesForbidRollbacks,
    /// The end of a release names the old roles.
    RolesNeverFlip,
    /// That a failed release goes back is on no record.
    WalkingBackIsDropped,
    /// A start forgets these records of the journal.
    ForgetsEnds,
    ForgetsStepEnds,
    ForgetsHolds,
    ForgetsLooks,
    ForgetsFreezes,
    ForgetsTriggers,
}

impl World {
    fn is(&self, mutant: Mutant) -> bool {
        self.plan.mutant == Some(mutant)
    }

    /// The configuration as the engine gets it.
    pub(super) fn told_settings(&self) -> Settings {
        let mut settings = self.fleet.settings.clone();
        let Some(mutant) = self.plan.mutant else { return settings };
        for canary in settings.services.iter_mut().filter_map(|own| own.canary.as_mut()) {
            match mutant {
                Mutant::VerdictsAreIgnored => {
                    (canary.pass, canary.requests_min) = (Pass::Time, 0);
                }
                Mutant::SoaksAreSkipped => {
                    canary.soak = Duration::ZERO;
                }
                Mutant::StepsAreSkipped => canary.steps = vec![Percent::FULL],
                Mutant::WaitsAreSkipped if !canary.bake.is_zero() => {
                    canary.bake = Duration::from_millis(1);
                }
                _ => {}
            }
        }
        for plan in &mut settings.plans {
            let undo: Vec<_> = plan.steps.iter().rev().filter_map(|step| step.undo).collect();
            let mut undo = undo.into_iter();
            for step in &mut plan.steps {
                change(step, mutant);
                if mutant == Mutant::UndoIsCrossed && step.undo.is_some() {
                    step.undo = undo.next();
                }
            }
        }
        settings
    }

    /// What the journal gives back at a start.
    pub(super) fn remembered(&self) -> Cow<'_, [Entry]> {
        let Some(mutant) = self.plan.mutant else { return Cow::Borrowed(&self.disk.entries) };
        let forgets = |event: &Event| match mutant {
            Mutant::ForgetsEnds => matches!(event, Event::ReleaseEnded { .. }),
            Mutant::ForgetsStepEnds => {
                matches!(event, Event::StepEnded { result: StepResult::Done, .. })
            }
            Mutant::ForgetsHolds => matches!(
                event,
                Event::ReleaseChanged { state: ReleaseState::Paused | ReleaseState::Held, .. }
            ),
            Mutant::ForgetsLooks => matches!(event, Event::Look(_)),
            Mutant::ForgetsFreezes => matches!(event, Event::Frozen { .. }),
            Mutant::ForgetsTriggers => matches!(event, Event::TriggerFired { .. }),
            _ => false,
        };
        self.disk.entries.iter().filter(|entry| !forgets(&entry.event)).cloned().collect()
    }

    pub(super) fn resumes_by_itself(&mut self) -> Checked {
        if !self.is(Mutant::ResumesByItself) {
            return Ok(());
        }
        let Some(shown) = self.shown() else { return Ok(()) };
        for view in shown.services.iter() {
            let (service, reason) = (view.name.clone(), Untrusted::new("by itself"));
            let submission = self.new_submission(Command::Resume { service, reason }, true);
            let now = self.clock();
            let Some(engine) = self.engine.as_mut() else { continue };
            let mut effects = Vec::new();
            engine.handle(now, Input::Submitted(submission), &mut effects);
            effects.retain(|effect| !matches!(effect, Effect::Answer(_)));
            self.perform(effects)?;
        }
        Ok(())
    }

    /// A client's words on their way to the engine; a reply where they are not passed on.
    pub(super) fn waylaid(&self, submission: &Submission) -> Option<Reply> {
        let id = submission.id.clone();
        match &submission.command {
            Command::Pause { .. } if self.is(Mutant::PausesAreDropped) => {
                Some(Reply::accepted(id, None))
            }
            Command::Rollback { service, .. } if self.is(Mutant::FreezesForbidRollbacks) => {
                let frozen = self.models[self.place(service)].is_frozen(self.clock().wall);
                let why = Untrusted::new("frozen");
                frozen.then_some(Reply::Refused { submission: id, why })
            }
            _ => None,
        }
    }

    pub(super) fn mutate(&mut self, effects: &mut Vec<Effect>) {
        let Some(mutant) = self.plan.mutant else { return };
        let mut more = Vec::new();
        effects.retain_mut(|effect| {
            let Effect::Append { id, entry, .. } = effect else { return true };
            match (mutant, &mut entry.event) {
                (Mutant::RolesNeverFlip, Event::ReleaseEnded { stable, result, .. })
                    if *result == engine::record::ReleaseResult::Good =>
                {
                    *stable = stable.other();
                }
                (
                    Mutant::WalkingBackIsDropped,
                    Event::ReleaseChanged { state: ReleaseState::WalkingBack, .. },
                ) => return false,
                (
                    Mutant::UndoComesFirst,
                    Event::ReleaseChanged { state: ReleaseState::WalkingBack, service, .. },
                ) => more.push((id.0, service.clone())),
                (_, _) => {}
            }
            true
        });
        if mutant == Mutant::WordsAreTakenAtOnce
            && let Some(said) = self.person.as_ref().filter(|said| self.said.contains_key(&said.id))
        {
            let submission = said.id.clone();
            effects.push(Effect::Answer(Reply::accepted(submission, None)));
        }
        for (id, service) in more {
            let place = self.place(&service);
            let Some(open) = &self.models[place].open else { continue };
            let budget = Duration::from_secs(5);
            let undo = open.steps.iter().rev().find_map(|step| step.undo);
            effects.extend(undo.map(|task| {
                let context = engine::reading::TaskContext::default();
                Effect::Task { id: EffectId(id + 1_000_000), task, context, budget }
            }));
        }
    }

    pub(super) fn lie(
        &mut self,
        service: usize,
        wall: DateTime<Utc>,
        result: &mut Result<Measurement, Failure>,
    ) {
        if self.is(Mutant::StaleIsFresh) {
            let last = self.sources[service].last;
            *result = last
                .map(|(_, groups)| source::said(wall, groups))
                .ok_or_else(|| Failure::new(FailureKind::Timeout, "nothing yet"));
        }
        let Ok(measurement) = result else { return };
        if self.is(Mutant::ArmsAreSwapped) {
            std::mem::swap(&mut measurement.a, &mut measurement.b);
        }
        if self.is(Mutant::CountsAreDoubled) {
            for group in [&mut measurement.a, &mut measurement.b] {
                for value in group.requests.iter_mut().flat_map(|series| series.values_mut()) {
                    *value *= 2.0;
                }
            }
        }
    }

    pub(super) fn double(&mut self, id: EffectId, answer: &TaskAnswer, after: Duration) {
        if self.is(Mutant::TasksAnswerTwice) {
            let answer = answer.clone();
            self.after(after, Happening::Deliver(Input::TaskEnded { id, answer }));
        }
    }

    /// An answer before the disk has one; the disk's own is kept from the engine.
    pub(super) fn hasten(&mut self, id: EffectId, entry: &Entry) {
        let starts = matches!(entry.event, Event::StepStarted { .. });
        if starts && self.is(Mutant::StartsAreToldDurable) {
            self.unheard.remove(&id);
            let result = Appended::Durable;
            self.after(Duration::ZERO, Happening::Deliver(Input::Appended { id, result }));
        }
    }
}

/// A step of a plan as the engine gets it.
fn change(step: &mut Step, mutant: Mutant) {
    match (mutant, &mut step.action) {
        (Mutant::WaitsAreSkipped, Action::Wait { span, .. }) => *span = Duration::ZERO,
        (Mutant::QuestionsAnswerThemselves, Action::Ask { default, .. }) => {
            *default = Some(true);
            step.timeout = Duration::from_secs(1);
        }
        (Mutant::CrashesRepeat, _) => step.after_crash = AfterCrash::Repeat,
        (_, _) => {}
    }
}
