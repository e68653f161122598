//! A step that sets a feature flag.
//!
//! Decides when it is done: when the flag was read back as it was set. Never touches the service's
//! own traffic. Contract: on the way back a flag that a step turned on is turned off, as an
//! operation of its own that says itself what became of it.

use super::{Doing, Facts, Move, READ_PATIENCE, Release};
use crate::record::{OperationResult, ReleaseState};
use crate::settings::Action;
use crate::snapshot::{RouteState, StepState};
use crate::types::{Fence, Percent, ServiceId, Untrusted};

impl Release {
    /// The flag that the current step sets.
    #[must_use]
    pub fn flag(&self) -> Option<ServiceId> {
        match self.step()?.action {
            Action::Flag { flag, .. } => Some(flag),
            Action::Probe(_)
            | Action::Task(_)
            | Action::Split(_)
            | Action::Canary
            | Action::Switch
            | Action::Wait { .. }
            | Action::Ask { .. }
            | Action::Maintenance(_)
            | Action::Validate
            | Action::Note(_) => None,
        }
    }

    pub(super) fn set_flag(&mut self, flag: ServiceId, to: Percent, facts: &Facts) -> Option<Move> {
        let route = facts.flag?;
        if route.set == Some(to) && route.state() == RouteState::Verified {
            return self.flag_is_set(to, facts);
        }
        let started = self.marks[self.place].started.unwrap_or(facts.now);
        if route.exposure().is_none() && started.age(facts.now) < READ_PATIENCE {
            // Not read yet: an engine has just started.
            return self.wake(started.mono + READ_PATIENCE);
        }
        if self.restarted && route.set.is_none_or(|set| to > set) {
            let why = "a restart came in between: resume turns the flag on";
            self.change(ReleaseState::Paused, why);
            return self.next(facts);
        }
        self.doing = Doing::Splitting(None);
        Some(Move::Flag { flag, to })
    }

    pub(super) fn flagging(&mut self, fence: Fence, facts: &Facts) -> Option<Move> {
        let route = facts.flag?;
        match route.result_of(fence)? {
            OperationResult::Verified => self.flag_is_set(route.set?, facts),
            result @ (OperationResult::Superseded
            | OperationResult::Partial
            | OperationResult::Unknown
            | OperationResult::Refused) => {
                self.doing = Doing::Acting;
                self.fail(&format!("the flag ended {}", result.word()), facts.now);
                self.next(facts)
            }
        }
    }

    fn flag_is_set(&mut self, to: Percent, facts: &Facts) -> Option<Move> {
        self.doing = Doing::Acting;
        self.read_back(&format!("read back on for {to}"), facts)
    }

    /// The next flag that a step turned on and nobody has turned off again.
    pub(super) fn flag_to_turn_off(&mut self) -> Option<Move> {
        let place = (0..self.steps.len()).rev().find(|&place| {
            let on =
                matches!(self.steps[place].action, Action::Flag { to, .. } if to > Percent::ZERO);
            let mark = &self.marks[place];
            let begun = mark.touched || mark.state != StepState::Waiting;
            self.back.undoes && on && begun && mark.state != StepState::Undone
        })?;
        let Action::Flag { flag, .. } = self.steps[place].action else { return None };
        self.marks[place].state = StepState::Undone;
        let detail = Untrusted::new("told to be off");
        self.marks[place].detail = detail.clone();
        self.record_step(place, crate::record::StepResult::Undone, detail);
        Some(Move::Flag { flag, to: Percent::ZERO })
    }
}
