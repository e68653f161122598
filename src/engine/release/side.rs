//! Steps that run beside the current one.
//!
//! Decides which tasks of a plan with links may begin early, and what their answers mean. Never
//! moves traffic, waits or asks: those are steps of the release itself. Contract: the first step
//! that is not done is the release's own, as in a list; at most [`SIDES_MAX`] others run beside
//! it, each behind its own durable record; nothing is taken back while one still runs.

use super::{Doing, Facts, Move, Purpose, Release};
use crate::reading::TaskAnswer;
use crate::record::{Event, ReleaseState, StepResult};
use crate::settings::Action;
use crate::snapshot::StepState;
use crate::types::{EffectId, Now, Untrusted};

/// With the release's own step four programs at once: a machine that deploys has other work, too.
const SIDES_MAX: usize = 3;

/// A step that runs beside the release's own.
#[derive(Clone, Debug)]
pub struct Side {
    pub place: usize,
    pub doing: SideDoing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SideDoing {
    /// Its start is being recorded; the record's id, once it went out.
    Recording(Option<EffectId>),
    /// It may act.
    Ready,
    Asked(Purpose),
    Running(EffectId, Purpose),
}

/// What the answer of a task means for its step.
pub enum Meaning {
    Done(Untrusted),
    /// Its `verify` decides.
    Verify(Untrusted),
    /// It was not done before the restart: it is done again.
    Again,
    Failed(String),
}

impl Meaning {
    pub fn of(purpose: Purpose, answer: TaskAnswer, verified: bool) -> Meaning {
        match (purpose, answer) {
            (Purpose::Act, TaskAnswer::Passed { output }) if verified => Meaning::Verify(output),
            (Purpose::Act, TaskAnswer::Unknown { why }) if verified => Meaning::Verify(why),
            (_, TaskAnswer::Passed { output }) => Meaning::Done(output),
            (Purpose::Recheck, TaskAnswer::Failed { .. } | TaskAnswer::Unknown { .. }) => {
                Meaning::Again
            }
            (Purpose::Verify, TaskAnswer::Failed { output }) => {
                Meaning::Failed(format!("done, but not verified: {output}"))
            }
            (Purpose::Verify, TaskAnswer::Unknown { why }) => {
                Meaning::Failed(format!("not verified: {why}"))
            }
            (_, TaskAnswer::Failed { output }) => Meaning::Failed(output.display().to_owned()),
            (_, TaskAnswer::Unknown { why }) => {
                Meaning::Failed(format!("not known whether it happened: {why}"))
            }
        }
    }
}

impl Release {
    /// What the steps beside the current one need next.
    pub(super) fn beside(&mut self, facts: &Facts) -> Option<Move> {
        let goes = self.goes() || self.state == ReleaseState::Asking;
        for at in 0..self.sides.len() {
            let Side { place, doing } = self.sides[at];
            let purpose = match doing {
                SideDoing::Ready if goes => Purpose::Act,
                SideDoing::Asked(purpose) => purpose,
                SideDoing::Ready | SideDoing::Recording(_) | SideDoing::Running(..) => continue,
            };
            let step = &self.steps[place];
            let task = match (purpose, &step.action) {
                (Purpose::Act, Action::Task(task)) => Some(*task),
                (Purpose::Verify | Purpose::Recheck, _) => step.verify,
                (Purpose::Act | Purpose::Undo(_), _) => None,
            };
            let Some(task) = task else { continue };
            self.sides[at].doing = SideDoing::Asked(purpose);
            return Some(Move::Task { step: place, task, budget: step.timeout });
        }
        if !goes || matches!(self.doing, Doing::Opening | Doing::Closing) {
            return None;
        }
        let place = self.ready_beside()?;
        self.sides.push(Side { place, doing: SideDoing::Recording(None) });
        self.marks[place].state = StepState::Running;
        self.marks[place].started = Some(facts.now);
        let event = Event::StepStarted {
            release: self.facts.release,
            service: self.facts.service.clone(),
            step: u32::try_from(place).unwrap_or(u32::MAX),
            name: self.steps[place].name.clone(),
        };
        Some(Move::Record { event, first: true })
    }

    /// The first task behind the current step that waits for nothing any more.
    fn ready_beside(&self) -> Option<usize> {
        // Where the current step is one of them, nothing else of the release's own runs.
        let most = SIDES_MAX + usize::from(self.has_beside(self.place));
        if self.links.is_empty() || self.sides.len() >= most {
            return None;
        }
        let done = |place: &u32| self.marks[*place as usize].state == StepState::Done;
        (self.place + 1..self.steps.len()).find(|&place| {
            matches!(self.steps[place].action, Action::Task(_))
                && self.marks[place].state == StepState::Waiting
                && self.links[place].iter().all(done)
        })
    }

    pub(super) fn has_beside(&self, place: usize) -> bool {
        self.sides.iter().any(|side| side.place == place)
    }

    /// The record that was just asked for is the one of a step beside.
    pub(super) fn side_awaits(&mut self, id: EffectId) -> bool {
        let own = self.sides.iter_mut().find(|side| side.doing == SideDoing::Recording(None));
        let found = own.map(|side| side.doing = SideDoing::Recording(Some(id)));
        found.is_some()
    }

    /// The start of a step beside is durable, or is not; `false` for another record.
    pub fn side_recorded(&mut self, id: EffectId, failure: Option<&str>) -> bool {
        let own = self.sides.iter().position(|it| it.doing == SideDoing::Recording(Some(id)));
        let Some(at) = own else { return false };
        match failure {
            None => self.sides[at].doing = SideDoing::Ready,
            Some(why) => {
                let place = self.sides.remove(at).place;
                self.marks[place] = self.marks[place].not_begun();
                self.hold(&format!("the journal cannot be written: {why}; resume tries again"));
            }
        }
        true
    }

    /// The answer of a task beside; gives the answer back when it is another's.
    pub(super) fn side_ended(
        &mut self,
        id: EffectId,
        answer: TaskAnswer,
        now: Now,
    ) -> Option<TaskAnswer> {
        let own = |side: &Side| match side.doing {
            SideDoing::Running(own, purpose) if own == id => Some(purpose),
            SideDoing::Running(..)
            | SideDoing::Recording(_)
            | SideDoing::Ready
            | SideDoing::Asked(_) => None,
        };
        let found = (0..).zip(&self.sides).find_map(|(at, side)| Some((at, own(side)?)));
        let Some((at, purpose)) = found else { return Some(answer) };
        let place = self.sides[at].place;
        if self.state == ReleaseState::WalkingBack {
            // It ended on the way out: what it did is taken back like the rest.
            self.sides.remove(at);
            return None;
        }
        let verified = self.steps[place].verify.is_some();
        match Meaning::of(purpose, answer, verified) {
            Meaning::Verify(detail) => {
                self.marks[place].detail = detail;
                self.sides[at].doing = SideDoing::Asked(Purpose::Verify);
            }
            Meaning::Again => self.sides[at].doing = SideDoing::Ready,
            Meaning::Done(detail) => {
                self.sides.remove(at);
                self.over(place, StepState::Done, detail, now);
                self.pass_over();
            }
            Meaning::Failed(why) => {
                self.sides.remove(at);
                self.over(place, StepState::Failed, Untrusted::new(&why), now);
                self.side_failed(place, &why);
            }
        }
        None
    }

    fn side_failed(&mut self, place: usize, why: &str) {
        let why = format!("step {} ({}) failed: {why}", place + 1, self.steps[place].name);
        if self.fails_back(place) {
            self.let_go();
            self.walk_back(&why);
        } else {
            self.hold(&format!("{why}; resume repeats it, abort ends it"));
        }
    }

    /// The current step is left as it is: the traffic does not wait for its task.
    fn let_go(&mut self) {
        match self.doing {
            Doing::Running(id, purpose) => {
                let doing = SideDoing::Running(id, purpose);
                self.sides.push(Side { place: self.place, doing });
            }
            Doing::Recording => self.marks[self.place] = self.marks[self.place].not_begun(),
            Doing::Opening
            | Doing::Idle
            | Doing::Acting
            | Doing::Asked(_)
            | Doing::Splitting(_)
            | Doing::Closing => {}
        }
        self.doing = Doing::Acting;
    }

    /// On the way back only what runs already is waited for.
    pub(super) fn stop_beside(&mut self) {
        let marks = &mut self.marks;
        self.sides.retain(|side| match side.doing {
            SideDoing::Running(..) => true,
            SideDoing::Ready | SideDoing::Asked(_) => false,
            SideDoing::Recording(_) => {
                marks[side.place] = marks[side.place].not_begun();
                false
            }
        });
    }

    /// The next step of the release itself is the first that is not done.
    pub(super) fn pass_over(&mut self) {
        let done = |mark: &super::Mark| mark.state == StepState::Done;
        while self.doing == Doing::Idle && self.marks.get(self.place).is_some_and(done) {
            self.place += 1;
        }
    }

    /// Notes how a step ended, and when beside the others.
    pub(super) fn over(&mut self, place: usize, state: StepState, detail: Untrusted, now: Now) {
        let mark = &mut self.marks[place];
        mark.state = state;
        mark.ended = Some(now);
        if !detail.is_empty() {
            mark.detail = detail;
        }
        self.order.retain(|own| *own != place);
        self.order.push(place);
        let result = if state == StepState::Done { StepResult::Done } else { StepResult::Failed };
        let detail = self.marks[place].detail.clone();
        self.record_step(place, result, detail);
    }
}

#[cfg(test)]
mod tests;
