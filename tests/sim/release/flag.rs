//! Feature flags in a release world: one for some services, set by their plans.
//!
//! Decides when a flag may be turned on by the engine, and that the way back turned it off. Never
//! looks into the engine. Contract: a service's flag is named after it, and belongs to it alone.

use engine::record::{Entry, Event, Intent, ReleaseState, StepResult};
use engine::settings::Action;
use engine::types::{Percent, ServiceId};

use super::model::Open;
use super::source;
use super::world::World;
use crate::check::{Checked, holds};

impl World {
    pub(super) fn flags_hold(&self, entry: &Entry) -> Checked {
        match &entry.event {
            Event::Intent(intent) => self.flag_has_a_reason(intent),
            Event::StepEnded { service, step, result: StepResult::Undone, .. } => {
                self.flag_is_off(service, *step as usize)
            }
            Event::ReleaseEnded { service, .. } => {
                let open = self.models[self.place(service)].open.as_ref();
                let Some(open) = open.filter(|open| !open.changed) else { return Ok(()) };
                let left = (0..open.steps.len()).find(|&place| {
                    open.touched(place)
                        && turns_on(open, place).is_some_and(|flag| self.is_on(flag, open))
                });
                let back = open.state == ReleaseState::WalkingBack && open.undoes;
                holds("flags_go_on_the_way_back", !back || left.is_none(), || {
                    format!("{service} ends with its flag of step {left:?} on")
                })
            }
            _ => Ok(()),
        }
    }

    /// By the engine's last word for it, which is of this release: an earlier one may have left it.
    fn is_on(&self, flag: ServiceId, open: &Open) -> bool {
        let model = &self.models[flag.index()];
        let on = |(fence, to, _)| fence > open.from && to > Percent::ZERO;
        model.own && model.operation.is_some_and(on)
    }

    /// More of a flag by the engine is the current step of a release that goes on.
    fn flag_has_a_reason(&self, intent: &Intent) -> Checked {
        let place = self.place(&intent.service);
        let by_engine = intent.submission.starts_with("engine-");
        if !self.fleet.settings.services[place].flag || !by_engine {
            return Ok(());
        }
        let shown = self.exposed(place).map_or(Percent::ZERO, |(_, most)| most);
        if intent.to <= intent.from.unwrap_or(Percent::ZERO).max(shown) {
            return Ok(());
        }
        let wants = |open: &&Open| {
            open.steps.get(open.place).map(|step| &step.action)
                == Some(&Action::Flag { flag: source::service(place), to: intent.to })
        };
        let open = self.models.iter().filter_map(|model| model.open.as_ref()).find(wants);
        let goes = open.is_some_and(|open| {
            open.state == ReleaseState::Running
                && !open.restarted
                && !open.changed
                && open.step_durable.get(open.place) == Some(&true)
        });
        holds("a_flag_has_a_reason", goes, || format!("nobody goes on with {intent:?}"))
    }

    /// The engine said that a flag was told to be off: its last operation is that.
    fn flag_is_off(&self, service: &str, step: usize) -> Checked {
        let open = self.models[self.place(service)].open.as_ref();
        let Some(flag) = open.and_then(|open| turns_on(open, step)) else { return Ok(()) };
        let last = self.models[flag.index()].operation;
        let off = last.is_some_and(|(_, to, _)| to == Percent::ZERO);
        holds("an_undone_flag_is_off", off, || format!("step {step} of {service}: {last:?}"))
    }
}

/// The flag that a step gives to more people.
fn turns_on(open: &Open, step: usize) -> Option<ServiceId> {
    match open.steps.get(step)?.action {
        Action::Flag { flag, to } if to > Percent::ZERO => Some(flag),
        _ => None,
    }
}
