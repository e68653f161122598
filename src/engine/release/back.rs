//! The way back: traffic to stable first, then the steps, last one first.
//!
//! Decides what is taken back and how it ends. Never gives the canary traffic. Contract: what could
//! not be taken back is said, and the release has failed.

use super::{Doing, Facts, Move, Purpose, Release, Traffic, graph};
use crate::reading::TaskAnswer;
use crate::record::{OperationResult, ReleaseResult, StepResult};
use crate::settings::Action;
use crate::snapshot::StepState;
use crate::types::{Now, Percent};

impl Release {
    pub(super) fn back(&mut self, facts: &Facts) -> Option<Move> {
        match self.doing {
            Doing::Opening | Doing::Running(..) | Doing::Closing | Doing::Splitting(None) => None,
            Doing::Asked(purpose) => self.task(purpose, facts),
            Doing::Splitting(Some(fence)) => {
                let result = facts.route.result_of(fence)?;
                if facts.route.fence > fence {
                    // Another rollback took its place: the traffic is back when that one is done.
                    self.doing = Doing::Splitting(Some(facts.route.fence));
                    return self.back(facts);
                }
                self.doing = Doing::Acting;
                if matches!(result, OperationResult::Verified | OperationResult::Superseded) {
                    self.back.traffic = Traffic::Home;
                    return self.back(facts);
                }
                self.back.traffic = Traffic::Lost;
                self.back.stuck = true;
                let result = result.word();
                let summary = format!("the rollback ended {result}: no step is undone; look now");
                Some(Move::Page { summary })
            }
            Doing::Idle | Doing::Recording | Doing::Acting => {
                let moving = facts.route.operation().filter(|operation| operation.in_flight());
                let asked = self.back.traffic != Traffic::Open;
                if let Some(operation) = moving.filter(|_| asked) {
                    // It drifted and is put back: no step goes before the traffic does.
                    self.doing = Doing::Splitting(Some(operation.fence));
                    return None;
                }
                let routed = facts.route.has_routers();
                let exposed = facts.route.set != Some(Percent::ZERO)
                    || facts.route.exposure().is_none_or(|exposure| exposure > 0.0);
                if !asked && routed && exposed && self.moved_traffic() {
                    self.doing = Doing::Splitting(None);
                    return Some(Move::RollBack { sentence: self.sentence.clone() });
                }
                if !asked {
                    self.back.traffic = Traffic::Home;
                }
                self.take_back(facts)
            }
        }
    }

    /// Did any step so far give the canary traffic?
    fn moved_traffic(&self) -> bool {
        self.changed
            || self.steps.iter().zip(&self.marks).any(|(step, mark)| {
                mark.state != StepState::Waiting
                    && matches!(step.action, Action::Canary | Action::Split(_) | Action::Switch)
            })
    }

    /// The last one that ended first, and none before those that waited for it.
    fn take_back(&mut self, facts: &Facts) -> Option<Move> {
        if !self.sides.is_empty() {
            return None;
        }
        if let Some(off) = self.flag_to_turn_off() {
            return Some(off);
        }
        let undoes = self.back.undoes && self.back.traffic == Traffic::Home;
        let touched: Vec<usize> = (0..self.steps.len())
            .filter(|&place| {
                let (step, mark) = (&self.steps[place], &self.marks[place]);
                let reversible = step.undo.is_some() || step.action == Action::Maintenance(true);
                let touched = match mark.state {
                    StepState::Done | StepState::Failed | StepState::Running => true,
                    StepState::Waiting => mark.touched,
                    StepState::Undone => false,
                };
                undoes && reversible && touched
            })
            .collect();
        let place = self.last_of(&touched);
        if let Some(place) = place {
            self.doing = Doing::Asked(Purpose::Undo(place));
            return self.task(Purpose::Undo(place), facts);
        }
        if self.back.stuck {
            self.back.ending = ReleaseResult::Failed;
        }
        self.doing = Doing::Closing;
        Some(self.closing(facts))
    }

    fn last_of(&self, touched: &[usize]) -> Option<usize> {
        if self.links.is_empty() {
            return touched.last().copied();
        }
        let number = |place: usize| u32::try_from(place).unwrap_or(u32::MAX);
        let waited: Vec<usize> =
            touched.iter().flat_map(|&place| graph::behind(&self.links, number(place))).collect();
        let ended = |place: usize| self.order.iter().position(|own| *own == place);
        let free = touched.iter().copied().filter(|place| !waited.contains(place));
        free.max_by_key(|&place| (ended(place).unwrap_or(usize::MAX), place))
    }

    pub(super) fn undone(&mut self, place: usize, answer: TaskAnswer, now: Now) {
        let (result, detail) = match answer {
            TaskAnswer::Passed { output } => (StepResult::Undone, output),
            TaskAnswer::Failed { output } => (StepResult::NotUndone, output),
            TaskAnswer::Unknown { why } => (StepResult::NotUndone, why),
        };
        let name = self.steps[place].name.clone();
        let mark = &mut self.marks[place];
        mark.state = StepState::Undone;
        mark.ended = Some(now);
        mark.detail = detail.clone();
        if result == StepResult::NotUndone {
            self.back.stuck = true;
            let summary = format!("{name} could not be taken back: {detail}");
            self.sentence = format!("{}; {summary}", self.sentence);
            self.notes.push(Move::Page { summary });
        }
        self.record_step(place, result, detail);
    }
}
