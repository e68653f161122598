//! The engine's part in the size of groups of hosts: when it is judged, and what follows.
//!
//! Decides whether a plan is run for an advice. Never judges: [`crate::scaling`] does. Contract:
//! a change of advice is on record; a plan runs only when somebody armed it, on fresh readings, and
//! not again before the cool-down is over, also over a restart.

use super::Engine;
use crate::Effect;
use crate::command::{Command, Submission};
use crate::reading::HostReading;
use crate::record::{Advised, Event};
use crate::scaling::{self, Advice, Size};
use crate::schedule::Timer;
use crate::settings::Scaling;
use crate::snapshot::AdviceView;
use crate::types::{Actor, HostId, Now, Untrusted};

impl Engine {
    pub(super) fn note_load(&mut self, host: HostId, reading: &HostReading, now: Now) {
        for (group, place) in scaling::places(&self.settings.scaling, host) {
            let figures = [reading.cpu_percent, reading.memory_percent];
            self.groups[group].observe(place, figures, now);
        }
    }

    pub(super) fn judge_size(&mut self, group: usize, now: Now, effects: &mut Vec<Effect>) {
        let own = self.settings.scaling[group].clone();
        self.schedule.set(Timer::Scaling(group), now.mono + own.every);
        let hosts: Vec<_> = own
            .hosts
            .iter()
            .map(|&id| self.settings.host(id))
            .map(|host| (host.name.as_str(), host.interval))
            .collect();
        let advice = self.groups[group].judge(&own, &hosts, now);
        let old = self.groups[group].advice.replace((advice.clone(), now));
        let same =
            old.is_some_and(|(old, _)| (old.size, old.urgent) == (advice.size, advice.urgent));
        self.dirty.hosts = true;
        let result = self.act_on_size(group, &own, &advice, now, effects);
        if same && result.is_none() {
            return;
        }
        let event = Event::Advised(Advised {
            group: own.name,
            size: advice.size,
            urgent: advice.urgent,
            sentence: Untrusted::new(&advice.sentence),
            armed: own.armed,
            started: result == Some(Ok(())),
            result: Untrusted::new(&match result {
                Some(Err(why)) => format!("not started: {why}"),
                Some(Ok(())) => "its plan was started".to_owned(),
                None => String::new(),
            }),
        });
        self.note(event, now, effects);
    }

    /// Runs the plan for the advice; `None` where nothing is to be run now.
    fn act_on_size(
        &mut self,
        group: usize,
        own: &Scaling,
        advice: &Advice,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Option<Result<(), String>> {
        let plan = match advice.size {
            Size::Up => own.up,
            Size::Down => own.down,
            Size::Right | Size::NoData => None,
        }?;
        if !own.armed || !scaling::has_cooled(own, self.groups[group].acted, now) {
            return None;
        }
        let plan = self.settings.plan(plan);
        let service = self.settings.service(plan.service?).name.clone();
        let submission = Submission {
            id: format!("scaling/{}/{}", own.name, now.wall.timestamp_millis()),
            command: Command::Run {
                plan: plan.name.clone(),
                service,
                version: String::new(),
                reason: Untrusted::new(&format!("{}: {}", own.name, advice.sentence)),
            },
            expected: None,
            seen: Untrusted::default(),
            actor: Actor::engine(),
            read_only: false,
        };
        // A plan that could not start counts, too: it is not asked for each minute.
        self.groups[group].acted = Some(now.wall);
        Some(self.deploy(&submission, now, effects).map(|_| ()))
    }

    /// When a plan was started last, from the journal.
    pub(super) fn recall_advice(&mut self, advised: &Advised, at: chrono::DateTime<chrono::Utc>) {
        let place = self.settings.scaling.iter().position(|own| own.name == advised.group);
        if let Some(place) = place.filter(|_| advised.started) {
            self.groups[place].acted = Some(at);
        }
    }

    /// What a host's line says of its first group.
    pub(super) fn advice_view(&self, host: HostId) -> Option<AdviceView> {
        let (group, _) = *scaling::places(&self.settings.scaling, host).first()?;
        let own = &self.settings.scaling[group];
        let (advice, at) = self.groups[group].advice.clone()?;
        Some(AdviceView {
            group: own.name.clone(),
            size: advice.size,
            urgent: advice.urgent,
            sentence: Untrusted::new(&advice.sentence),
            armed: own.armed,
            every: own.every,
            at,
        })
    }
}
