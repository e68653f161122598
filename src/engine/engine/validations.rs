//! The engine's part in validations: who may ask, and what a run's steps become.
//!
//! Decides whether a service may be validated and whether its traffic may be promoted. Never
//! decides what a check means: that is [`crate::validation`]. Contract: every run ends in a record.

use super::{Engine, Taken};
use crate::Effect;
use crate::command::Submission;
use crate::ledger::Purpose;
use crate::reading::{TaskAnswer, TaskContext};
use crate::record::Event;
use crate::schedule::Timer;
use crate::types::{EffectId, Now, ServiceId};
use crate::validation::{Ask, Step};

impl Engine {
    pub(super) fn validate(
        &mut self,
        submission: &Submission,
        name: &str,
        version: &str,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<Taken, String> {
        let service = self.known(name)?;
        super::releases::check_version(version, true)?;
        let ask = Ask {
            submission: submission.id.clone(),
            version: version.to_owned(),
            actor: submission.actor.clone(),
        };
        self.begin_validation(service, ask, now, effects)?;
        Ok(Taken::Accepted(None))
    }

    /// A release wants its version validated; a run of another version comes first.
    pub(super) fn validate_release(
        &mut self,
        service: ServiceId,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let Some(release) = &self.releases[service.index()] else { return };
        let ask = Ask {
            submission: release.facts.submission.clone(),
            version: release.facts.version.clone(),
            actor: release.actor.clone(),
        };
        // Refused without checks, as after a change of the configuration.
        if let Err(why) = self.begin_validation(service, ask, now, effects)
            && let Some(release) = &mut self.releases[service.index()]
        {
            release.cannot_validate(&why, now);
        }
    }

    fn begin_validation(
        &mut self,
        service: ServiceId,
        ask: Ask,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<(), String> {
        let checks = &self.settings.service(service).checks;
        self.validations[service.index()].begin(ask, checks, now)?;
        self.carry_validation(service, now, effects);
        Ok(())
    }

    /// Goes on with a run as far as it can.
    pub(super) fn carry_validation(
        &mut self,
        service: ServiceId,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        self.dirty.services = true;
        loop {
            let checks = &self.settings.service(service).checks;
            match self.validations[service.index()].next(checks, now) {
                None => return,
                Some(Step::Wake(at)) => return self.schedule.set(Timer::Validate(service), at),
                Some(Step::Task { place, task, budget }) => {
                    let id = self.id();
                    let validation = &mut self.validations[service.index()];
                    validation.began(place, id, now);
                    let context = TaskContext {
                        service: self.settings.service(service).name.clone(),
                        version: validation.version().unwrap_or_default().to_owned(),
                        group: self.routes[service.index()].stable.other().word().to_owned(),
                        ..TaskContext::default()
                    };
                    effects.push(Effect::Task { id, task, context, budget });
                }
                Some(Step::Over { result, actor }) => {
                    let (event, purpose) = (Event::Validated(result), Purpose::Validation(service));
                    self.append(actor, event, purpose, false, now, effects);
                    self.schedule.clear(Timer::Validate(service));
                }
            }
        }
    }

    /// The result may be told, and a release that waits for it goes on.
    pub(super) fn validation_recorded(&mut self, service: ServiceId) {
        self.validations[service.index()].recorded();
        self.dirty.services = true;
        self.touched.insert(service);
    }

    /// Takes the answer of a check; gives back one that belongs to something else.
    pub(super) fn check_ended(
        &mut self,
        id: EffectId,
        answer: TaskAnswer,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Option<TaskAnswer> {
        let place = self.validations.iter().position(|own| own.runs(id));
        let Some(place) = place else { return Some(answer) };
        let service = ServiceId(u32::try_from(place).unwrap_or(u32::MAX));
        let checks = &self.settings.service(service).checks;
        self.validations[place].answered(id, answer, checks, now);
        self.carry_validation(service, now, effects);
        None
    }

    /// Why a promotion must wait; only services with checks have to be validated.
    pub(super) fn check_validated(&self, service: ServiceId, now: Now) -> Result<(), String> {
        let own = self.settings.service(service);
        if own.checks.is_empty() {
            return Ok(());
        }
        match self.validations[service.index()].forbids(now) {
            None => Ok(()),
            Some(why) => Err(format!("{}: {why}; quarterdeck validate {0} first", own.name)),
        }
    }
}
