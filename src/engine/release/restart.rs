//! A release that a restart found open.
//!
//! Decides what becomes of each step that was under way: done again, checked or asked for, by its
//! own rule. Never raises exposure. Contract: the journal's fold is all that is known of it.

use super::downtime::Downtime;
use super::side::{Side, SideDoing};
use super::{Back, Doing, Mark, Move, Purpose, Release, graph, interrupted};
use crate::record::{ReleaseKind, ReleaseState, StepResult};
use crate::recovery::OpenRelease;
use crate::rollout::{Delta, Rollout};
use crate::settings::{Action, AfterCrash, Step};
use crate::snapshot::StepState;
use crate::types::{Now, ServiceId, Untrusted};

impl Release {
    /// One that a restart found open. What was going on is done again, checked or asked for, by
    /// its step's own rule; exposure is not raised before a person says so.
    #[must_use]
    pub fn recovered(
        service: ServiceId,
        open: OpenRelease,
        mut steps: Vec<Step>,
        rollout: Option<Rollout>,
        now: Now,
    ) -> Release {
        let OpenRelease { facts, actor, at, place, marks, state, why, back, .. } = open;
        let (canary_place, looks) = (open.canary_place, open.looks);
        let (failed, stuck) = (open.failed, open.stuck);
        let changed = !steps.iter().map(|step| &step.name).eq(&facts.steps)
            || graph::links(&steps) != facts.after;
        if changed {
            steps = facts.steps.iter().map(|name| Step::lost(name)).collect();
        }
        let since = (now.wall - at).to_std().unwrap_or_default();
        let started = Now { mono: now.mono - since, wall: at };
        let mut release = Release::new(service, facts, steps, actor, rollout, started);
        release.doing = Doing::Idle;
        release.place = place.min(release.steps.len());
        release.order = open.order;
        release.restarted = true;
        release.downtime = Downtime::unknown();
        release.back.stuck = stuck;
        release.changed = changed;
        for (mark, (state, detail)) in release.marks.iter_mut().zip(marks) {
            mark.state = state;
            mark.detail = detail;
        }
        if let Some(rollout) = &mut release.rollout {
            let judged = looks.last().map(|look| (look.verdict.clone(), look.sentence.clone()));
            for look in looks {
                rollout.replay(&Delta { stable: look.stable, canary: look.canary });
            }
            rollout.enter(canary_place);
            let over = |step: &Step| matches!(step.action, Action::Canary | Action::Switch);
            if release.steps[..release.place].iter().any(over) {
                // All the traffic was given: what follows is watched, as before the restart.
                rollout.enter(usize::MAX);
                rollout.verified(now);
            }
            // The last word stands until a person says otherwise.
            if let Some((verdict, sentence)) = judged {
                rollout.judged(&verdict, sentence.display());
            }
        }
        if let Some((ending, undoes)) = back {
            release.back = Back { ending, undoes, ..release.back };
        }
        release.state = state;
        release.sentence = why;
        match state {
            ReleaseState::WalkingBack => release.doing = Doing::Acting,
            ReleaseState::Asking => release.state = ReleaseState::Running,
            ReleaseState::Running
            | ReleaseState::Paused
            | ReleaseState::Held
            | ReleaseState::Ended => {}
        }
        release.take_up(failed);
        release
    }

    /// What was under way at a restart.
    fn take_up(&mut self, failed: bool) {
        if self.state == ReleaseState::Held {
            // People were told by an engine that is gone.
            self.notes.push(Move::Page { summary: self.sentence.clone() });
        }
        if self.state == ReleaseState::WalkingBack {
            return;
        }
        if self.changed {
            let why = "the plan changed since this release started: only abort is left";
            return self.hold(why);
        }
        // A pause that came before the fail would not have stopped it.
        let failed = failed && matches!(self.state, ReleaseState::Running | ReleaseState::Paused);
        if failed && self.facts.kind == ReleaseKind::Deploy {
            return self.failed_before();
        }
        let of = |marks: &[Mark], first: usize, state| {
            let places = (first..marks.len()).filter(|&place| marks[place].state == state);
            places.collect::<Vec<usize>>()
        };
        let interrupted_before = of(&self.marks, self.place, StepState::Failed);
        for place in of(&self.marks, self.place, StepState::Running) {
            self.take_up_step(place);
        }
        if failed {
            return self.failed_before();
        }
        if let Some(&place) = interrupted_before.first()
            && self.state == ReleaseState::Running
        {
            // Nobody has said yet what becomes of it.
            self.hold(&interrupted(&self.steps[place].name.clone()));
        }
    }

    fn take_up_step(&mut self, place: usize) {
        let step = &self.steps[place];
        let rule = match step.action {
            Action::Task(_) | Action::Maintenance(_) => step.after_crash,
            Action::Probe(_)
            | Action::Split(_)
            | Action::Flag { .. }
            | Action::Canary
            | Action::Switch
            | Action::Wait { .. }
            | Action::Ask { .. }
            | Action::Validate
            | Action::Note(_) => AfterCrash::Repeat,
        };
        match rule {
            AfterCrash::Repeat => self.marks[place] = self.marks[place].again(),
            AfterCrash::Check if step.verify.is_some() => {
                if place == self.place {
                    self.doing = Doing::Asked(Purpose::Recheck);
                } else {
                    let doing = SideDoing::Asked(Purpose::Recheck);
                    self.sides.push(Side { place, doing });
                }
            }
            AfterCrash::Check | AfterCrash::Ask => {
                let name = step.name.clone();
                self.marks[place].state = StepState::Failed;
                let detail = Untrusted::new("under way at a restart");
                self.record_step(place, StepResult::Interrupted, detail);
                self.hold(&interrupted(&name));
            }
        }
    }

    /// Its step failed before the restart, and nothing that followed is on record.
    fn failed_before(&mut self) {
        let place = self.marks.iter().position(|mark| mark.state == StepState::Failed);
        let place = place.unwrap_or(self.place);
        let name = self.steps.get(place).map(|step| step.name.clone()).unwrap_or_default();
        let why = format!("step {} ({name}) failed before a restart", place + 1);
        match self.facts.kind {
            ReleaseKind::Deploy => {
                self.doing = Doing::Acting;
                self.walk_back(&why);
            }
            ReleaseKind::Plan | ReleaseKind::Recovery => {
                self.hold(&format!("{why}; resume repeats it, abort ends it"));
            }
        }
    }
}
