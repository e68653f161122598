//! What stands around releases: triggers, freezes, marks, readiness.
//!
//! Decides what their calls become: an operation, a record, an incident. Never decides when a rule
//! fires or what a freeze covers: [`crate::trigger`] and [`crate::freeze`] do. Contract: each of
//! them takes every entry that is appended, at a start as when it is written.

use std::time::Duration;

use super::promises::{Word, permits};
use super::{Engine, Taken};
use crate::Effect;
use crate::command::{Command, Submission};
use crate::ledger::Purpose;
use crate::notice::Stage;
use crate::readiness::{self, readiness};
use crate::record::{Entry, Event, OperationResult};
use crate::rule::Values;
use crate::schedule::Timer;
use crate::settings::Definition;
use crate::snapshot::{Phase, Readiness, ServiceView};
use crate::trigger::{Call, Ground};
use crate::types::{Actor, EffectId, Now, Percent, ServiceId, Severity, Untrusted};

/// Past releases that a client is sent for each service.
pub(super) const HISTORY_SHOWN_MAX: usize = 20;

/// A freeze that ended because the wall clock stepped is seen to have ended within this.
const LAPSE_LOOK: Duration = Duration::from_mins(1);
const LAPSE_GRAIN: Duration = Duration::from_millis(1);

impl Engine {
    /// Takes an entry into everything that keeps a view of the journal.
    pub(super) fn apply(&mut self, entry: &Entry, now: Now) {
        self.freezes.apply(entry);
        for triggers in &mut self.triggers {
            triggers.apply(entry, now);
        }
        for history in &mut self.history {
            history.apply(entry);
        }
        self.response.apply(entry, now);
        self.dirty.incidents |= self.board.apply(entry, now);
        self.dirty.head |= self.runs.apply(entry, now);
        self.notices.apply(entry, now);
        if let Event::Advised(advised) = &entry.event {
            self.recall_advice(advised, entry.at);
        }
        for validation in &mut self.validations {
            validation.apply(entry, now);
        }
        if let Event::Frozen { .. } | Event::TriggerSet { .. } = &entry.event {
            self.await_lapse(now);
        }
    }

    /// A freeze or a switched-off rule may be over: what clients see is built anew.
    pub(super) fn lapse(&mut self, now: Now) {
        self.dirty.head = true;
        self.dirty.services = true;
        self.await_lapse(now);
    }

    fn await_lapse(&mut self, now: Now) {
        let end = self.freezes.next_end(now).map(|end| (end - now.wall).to_std());
        // Never at once: the clocks have different grains.
        let thawed = end.map(|left| now.mono + left.unwrap_or_default() + LAPSE_GRAIN);
        let on = self.triggers.iter().filter_map(|triggers| triggers.next_on(now));
        match thawed.into_iter().chain(on).min() {
            // A freeze ends by the wall clock, which may step meanwhile.
            Some(at) => self.schedule.set(Timer::Lapse, at.min(now.mono + LAPSE_LOOK)),
            None => self.schedule.clear(Timer::Lapse),
        }
    }

    /// More exposure is for after the freeze, or after somebody lifted it.
    pub(super) fn check_unfrozen(&self, service: ServiceId, now: Now) -> Result<(), String> {
        let frozen = self.freezes.forbids(&self.settings.service(service).name, now);
        frozen.map_or(Ok(()), |why| Err(format!("{why} (thaw lifts it, a rollback needs none)")))
    }

    /// Writes down what nothing waits for.
    pub(super) fn jot(
        &mut self,
        actor: Actor,
        event: Event,
        safety: bool,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        self.append(actor, event, Purpose::Note, safety, now, effects);
    }

    pub(super) fn append(
        &mut self,
        actor: Actor,
        event: Event,
        purpose: Purpose,
        safety: bool,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> EffectId {
        let id = self.id();
        let effect = self.ledger.append(id, now, actor, event, purpose, safety);
        if let Effect::Append { entry, .. } = &effect {
            self.apply(entry, now);
        }
        effects.push(effect);
        id
    }

    /// New figures of a service: do its rules want a rollback?
    pub(super) fn pull_triggers(
        &mut self,
        service: ServiceId,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let settings = self.settings.service(service);
        let Some(signals) = &settings.signals else { return };
        if settings.triggers.is_empty() {
            return;
        }
        let values = self.values(service, now);
        let route = &self.routes[service.index()];
        let busy = route
            .operation()
            .filter(|operation| operation.in_flight() && operation.to == Percent::ZERO)
            .map(|operation| format!("#{} {} is in flight", operation.fence, operation.verb));
        let target = self.sick_target(service, &values);
        let ground = Ground {
            set: route.set,
            exposure: route.exposure(),
            traffic: values.get("canary.share").copied(),
            busy: busy.as_deref(),
            target: target.as_deref(),
        };
        let (own, every, name) = (&settings.triggers, signals.interval, settings.name.clone());
        let calls = self.triggers[service.index()].look(own, every, &values, &ground, now);
        // One that was open before a restart has nobody else to end it.
        for trigger in self.triggers[service.index()].not_held() {
            self.clear(&trigger_key(&name, trigger), now, effects);
        }
        for call in calls {
            match call {
                Call::Fire { trigger, sentence } => {
                    self.fire_trigger(service, trigger, &sentence, now, effects);
                }
                Call::Hold { trigger, sentence } => {
                    let key = trigger_key(&name, trigger);
                    let title = format!("{name}: a rollback is wanted and held");
                    self.raise(&key, Severity::Critical, &title, &sentence, now, effects);
                }
                Call::Clear { trigger } => {
                    let key = trigger_key(&name, trigger);
                    self.clear(&key, now, effects);
                }
            }
        }
    }

    fn fire_trigger(
        &mut self,
        service: ServiceId,
        trigger: u32,
        sentence: &str,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let name = self.settings.service(service).name.clone();
        let sentence_of = Untrusted::new(sentence);
        let event = Event::TriggerFired { service: name, trigger, sentence: sentence_of };
        self.jot(Actor::engine(), event, true, now, effects);
        let why = format!("rule {}: {sentence}", trigger + 1);
        let fence = self.roll_back(service, &why, now, effects);
        self.mark_bad(service, &why, now, effects);
        self.preempt(service, false, fence, &why);
    }

    /// A rollback that is not proven needs people, whoever asked for it, until it is.
    pub(super) fn page_unproven(
        &mut self,
        service: ServiceId,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let name = self.settings.service(service).name.clone();
        let key = format!("{}/{name}/rollback", crate::incident::OWN);
        let Some(operation) = self.routes[service.index()].operation() else { return };
        match operation.phase {
            Phase::Ended(OperationResult::Partial | OperationResult::Unknown)
                if operation.to == Percent::ZERO =>
            {
                let title = format!("{name}: a rollback is not proven");
                let summary = format!("#{}: {}", operation.fence, operation.sentence());
                self.raise(&key, Severity::Critical, &title, &summary, now, effects);
            }
            Phase::Ended(_) => self.clear(&key, now, effects),
            Phase::Accepted | Phase::Applying | Phase::Recording => {}
        }
    }

    /// The version of the release in flight is bad: it never comes back without a person's word.
    pub(super) fn mark_bad(
        &mut self,
        service: ServiceId,
        why: &str,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let Some(release) = &self.releases[service.index()] else { return };
        let version = release.facts.version.clone();
        if !release.in_flight() || version.is_empty() {
            return;
        }
        let event = Event::Marked {
            service: release.facts.service.clone(),
            version,
            bad: true,
            reason: Untrusted::new(why),
        };
        self.jot(Actor::engine(), event, true, now, effects);
    }

    /// Why stable cannot take the traffic.
    fn sick_target(&self, service: ServiceId, values: &Values) -> Option<String> {
        let target = self.history[service.index()].target(self.routes[service.index()].stable);
        if let Some(why) = target.bad {
            let version = target.version.unwrap_or_default();
            return Some(format!("stable runs {version}, which is marked bad: {why}"));
        }
        let errors = values.get("stable.error_rate").copied()?;
        (errors >= readiness::ERRORS_MAX).then(|| format!("stable has {errors:.1} % errors itself"))
    }

    pub(super) fn raise(
        &mut self,
        key: &str,
        severity: Severity,
        title: &str,
        summary: &str,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        self.dirty.incidents = true;
        if let Some(event) = self.board.raise(key, severity, title, summary, now) {
            self.note(event, now, effects);
            let channels = self.settings.notify.clone();
            self.tell(&channels, key, Stage::Opened, now, effects);
        }
    }

    /// What was raised so is over; nothing when it is not open.
    pub(super) fn clear(&mut self, key: &str, now: Now, effects: &mut Vec<Effect>) {
        if self.board.view(key).is_some() {
            let channels = self.settings.notify.clone();
            self.tell(&channels, key, Stage::Resolved, now, effects);
            self.resolve(key, now, effects);
        }
    }

    pub(super) fn resolve(&mut self, key: &str, now: Now, effects: &mut Vec<Effect>) {
        if let Some(event) = self.board.resolve_at(key, now) {
            self.dirty.incidents = true;
            self.note(event, now, effects);
        }
    }

    /// Freezes, triggers and marks: said by a person and on record.
    pub(super) fn say(
        &mut self,
        submission: &Submission,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<Taken, String> {
        let until = |seconds: u64| {
            let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
            now.wall + chrono::TimeDelta::try_seconds(seconds).unwrap_or_default()
        };
        let event = match submission.command.clone() {
            Command::Freeze { service, seconds, reason } => {
                if let Some(service) = &service {
                    self.known(service)?;
                }
                self.freezes.check_freeze(seconds, now)?;
                Event::Frozen { service, until: until(seconds), reason }
            }
            Command::StopTheLine { seconds, reason } => {
                self.freezes.check_freeze(seconds, now)?;
                self.pause_all(&submission.actor, &reason);
                Event::Frozen { service: None, until: until(seconds), reason }
            }
            Command::Thaw { service, reason } => {
                self.freezes.check_thaw(service.as_deref(), now)?;
                Event::Thawed { service, reason }
            }
            Command::Trigger { service, trigger, off_seconds, reason } => {
                let id = self.known(&service)?;
                self.triggers[id.index()].check(trigger, off_seconds)?;
                let off_until = (off_seconds > 0).then(|| until(off_seconds));
                Event::TriggerSet { service, trigger, off_until, reason }
            }
            Command::Mark { service, version, bad, reason } => {
                self.known(&service)?;
                super::releases::check_version(&version, false)?;
                if reason.is_empty() {
                    return Err("a mark needs a reason".to_owned());
                }
                Event::Marked { service, version, bad, reason }
            }
            other => return Err(format!("{} is not said", other.verb())),
        };
        let actor = submission.actor.clone();
        if permits(&event) {
            let id = self.id();
            let effect = self.ledger.append(id, now, actor, event, Purpose::Note, false);
            if let Effect::Append { entry, .. } = &effect {
                self.promise(submission, id, Word::Permits(entry.clone()), now);
            }
            effects.push(effect);
            return Ok(Taken::Waits);
        }
        let id = self.append(actor, event, Purpose::Note, true, now, effects);
        self.dirty.services = true;
        self.dirty.head = true;
        Ok(self.promise(submission, id, Word::Restricts, now))
    }

    fn pause_all(&mut self, actor: &Actor, reason: &Untrusted) {
        let why = format!("{} stopped the line: {reason}", actor.user);
        for (place, release) in (0..).zip(&mut self.releases) {
            if let Some(release) = release.as_mut().filter(|release| release.in_flight())
                && release.pause(&why).is_ok()
            {
                self.touched.insert(ServiceId(place));
            }
        }
    }

    /// A rule may want to take traffic back, and there is some to take back: nobody may look, but
    /// the engine stays. One that takes over has the same rules, so it may.
    #[must_use]
    pub fn is_guarding(&self) -> bool {
        let answers = |own: &Definition| own.armed || !own.notify.is_empty();
        if self.settings.incidents.iter().any(answers)
            || self.settings.scaling.iter().any(|own| own.armed)
        {
            return true;
        }
        self.settings.services.iter().zip(&self.routes).any(|(service, route)| {
            let exposed = route.set.is_some_and(|set| set > Percent::ZERO)
                || route.exposure().is_some_and(|exposure| exposure > 0.0);
            !service.triggers.is_empty() && exposed
        })
    }

    /// Would a rollback work right now?
    pub(super) fn readiness(&self, service: ServiceId, view: &ServiceView) -> Readiness {
        let target = self.history[service.index()].target(self.routes[service.index()].stable);
        let held = self.routes[service.index()].held(self.latest);
        let holder = held.as_ref().map(|held| held.trim_start_matches("held by "));
        readiness(&readiness::Facts {
            service: self.settings.service(service),
            route: view.route.as_ref(),
            operation: view.operation.as_ref(),
            probes: &view.probes,
            signals: view.signals.as_ref(),
            target: &target,
            journal: &self.ledger.state,
            holder,
        })
    }
}

fn trigger_key(service: &str, trigger: u32) -> String {
    format!("{}/{service}/rule-{}", crate::incident::OWN, trigger + 1)
}
