//! Phase two: all is healed, and everything must come to an end.
//!
//! Decides when the world may ask for the end, and whether it is one. Contract: what is in flight
//! after the patience of every task is aborted, then all traffic is taken back; both must succeed.

use std::time::Duration;

use chrono::{DateTime, Utc};
use engine::command::Command;
use engine::record::ReleaseState;
use engine::snapshot::{
    FreezeView, Phase, ReleaseView, RouteState, ServiceView, Snapshot, StepState, StepView,
    TriggerState,
};
use engine::types::{Time, Untrusted};

use super::world::{Happening, World};
use crate::check::{Checked, holds};

/// It is looked this often whether all is over already.
const GLANCE: Duration = Duration::from_secs(5);
/// And this often at most: meanwhile late writes land, routes are read again, verdicts fall.
const GLANCES: u32 = 9;
/// Aborts and rollbacks are tried this often where somebody was faster.
const TRIES_MAX: u32 = 12;
/// One run in so many stays for the whole patience, to see that what is over stays so.
const PATIENT_RUNS: u64 = 8;

#[derive(Clone, Copy, Debug)]
pub enum Stage {
    /// What is in flight waits for a person or moves.
    Look {
        glances: u32,
    },
    /// So many glances are left before it is asked for again.
    Abort {
        tries: u32,
        glances: u32,
    },
    RollBack {
        tries: u32,
    },
    Last {
        tries: u32,
        glances: u32,
    },
}

impl World {
    /// Begins phase two anew.
    pub(super) fn look_soon(&mut self) {
        self.after(GLANCE, Happening::Settle(Stage::Look { glances: GLANCES }));
    }

    pub(super) fn settle(&mut self, stage: Stage) -> Checked {
        if self.busy_until > self.now {
            let wait = self.busy_until.since(self.now) + GLANCE;
            let stage = match stage {
                Stage::Look { .. } => Stage::Look { glances: GLANCES },
                Stage::Abort { .. } | Stage::RollBack { .. } | Stage::Last { .. } => stage,
            };
            self.after(wait, Happening::Settle(stage));
            return Ok(());
        }
        let Some(shown) = self.shown() else { return Ok(()) };
        match stage {
            Stage::Look { glances } => {
                let rests = shown.services().all(rests);
                if glances > 0 && (!rests || self.stays()) {
                    self.after(GLANCE, Happening::Settle(Stage::Look { glances: glances - 1 }));
                    return Ok(());
                }
                for view in shown.services.iter() {
                    ends_or_waits(view, &shown, self.clock().mono)?;
                }
                self.settle(Stage::Abort { tries: 0, glances: 0 })
            }
            Stage::Abort { tries, glances } => self.abort_all(&shown, tries, glances),
            Stage::RollBack { tries } => {
                let names: Vec<String> =
                    shown.services.iter().map(|own| own.name.clone()).collect();
                self.after(GLANCE, Happening::Settle(Stage::Last { tries, glances: GLANCES }));
                for service in names {
                    let reason = Untrusted::new("the last word");
                    let command = Command::Rollback { service, reason };
                    let last = self.new_submission(command, false);
                    self.submit(last)?;
                }
                Ok(())
            }
            Stage::Last { tries, glances } => {
                let mut views = shown.services.iter().enumerate();
                let found = views.try_for_each(|(place, view)| self.converges(view, place));
                if glances > 0 && (found.is_err() || self.stays()) {
                    let glances = glances - 1;
                    self.after(GLANCE, Happening::Settle(Stage::Last { tries, glances }));
                    return Ok(());
                }
                if found.is_err() && self.disk.lost_intents > 0 && tries < TRIES_MAX {
                    return self.settle(Stage::RollBack { tries: tries + 1 });
                }
                self.done = true;
                found
            }
        }
    }

    fn stays(&self) -> bool {
        self.plan.seed.is_multiple_of(PATIENT_RUNS)
    }

    fn abort_all(&mut self, shown: &Snapshot, tries: u32, glances: u32) -> Checked {
        let in_flight = |view: &&ServiceView| {
            view.release.as_ref().is_some_and(|release| release.result.is_none())
        };
        let open = shown.services().filter(in_flight).map(|view| view.name.clone());
        let open: Vec<String> = open.collect();
        if open.is_empty() {
            return self.settle(Stage::RollBack { tries: 0 });
        }
        if glances > 0 {
            let glances = glances - 1;
            self.after(GLANCE, Happening::Settle(Stage::Abort { tries, glances }));
            return Ok(());
        }
        holds("releases_end", tries < TRIES_MAX, || {
            let states = shown.services.iter().map(|view| view.release.as_ref());
            format!("{:?}", states.map(|own| own.map(told)).collect::<Vec<_>>())
        })?;
        let (tries, glances) = (tries + 1, GLANCES);
        self.after(GLANCE, Happening::Settle(Stage::Abort { tries, glances }));
        for service in open {
            let reason = Untrusted::new("the end");
            let abort = self.new_submission(Command::Abort { service, reason }, true);
            self.submit(abort)?;
        }
        Ok(())
    }

    /// A last rollback in a healed world ends verified, with all traffic truly on stable.
    fn converges(&self, view: &ServiceView, place: usize) -> Checked {
        let rule = "rollback_converges";
        let stable = self.models[place].stable;
        let all = self.of(place).iter().all(|router| {
            router.actual == engine::types::Weights::for_split(stable, engine::types::Percent::ZERO)
        });
        holds(rule, all, || format!("{} truly is {:?}", view.name, self.of(place)[0].actual))?;
        let verified = view.route.as_ref().is_some_and(|route| route.state == RouteState::Verified);
        holds(rule, verified, || format!("{:?} {:?}", view.route, view.operation))
    }
}

/// Nothing goes on by itself.
fn rests(view: &ServiceView) -> bool {
    let release = view.release.as_ref().filter(|own| own.result.is_none());
    let waits = |own: &ReleaseView| matches!(own.state, ReleaseState::Paused | ReleaseState::Held);
    let verified = view.route.as_ref().is_some_and(|own| own.state == RouteState::Verified);
    verified && release.is_none_or(waits)
}

/// Every release ended, moves, or waits for a person with a sentence.
fn ends_or_waits(view: &ServiceView, shown: &Snapshot, now: Time) -> Checked {
    let Some(release) = view.release.as_ref().filter(|own| own.result.is_none()) else {
        return Ok(());
    };
    let waits = !release.sentence.is_empty() && !release.next.is_empty();
    let right = match release.state {
        ReleaseState::Paused | ReleaseState::Asking | ReleaseState::Running => waits,
        ReleaseState::Held => {
            let key = format!("{}/release", view.name);
            waits && shown.incidents.open.iter().any(|own| own.key.ends_with(&key))
        }
        // It went on until now, and its traffic is on its way: `releases_end` waits for its end.
        ReleaseState::WalkingBack => view.operation.as_ref().is_some_and(|own| {
            !matches!(own.phase, Phase::Ended(_)) || now.since(own.changed.mono) < GLANCE
        }),
        ReleaseState::Ended => false,
    };
    holds("ends_or_waits_with_words", right, || told(release))
}

fn told(release: &ReleaseView) -> String {
    let marks: Vec<StepState> = release.steps.iter().map(|step| step.state).collect();
    format!(
        "r{} is {:?} at step {} of {marks:?}: {} / {}",
        release.id, release.state, release.step, release.sentence, release.next
    )
}

/// The journal alone gives the durable state of the engine that runs.
/// Where the wall clock `jumped`, spans that began before are as long as each clock says.
pub fn folded_is_the_same(
    running: &Snapshot,
    folded: &Snapshot,
    wall: DateTime<Utc>,
    jumped: bool,
) -> Checked {
    let rule = "journal_is_state";
    let freezes = |shown: &Snapshot| -> Vec<FreezeView> {
        shown.head.freezes.iter().filter(|freeze| freeze.until > wall).cloned().collect()
    };
    holds(rule, jumped || freezes(running) == freezes(folded), || {
        format!("freezes {:?} are {:?}", freezes(running), freezes(folded))
    })?;
    for (running, folded) in running.services.iter().zip(folded.services.iter()) {
        let resting = running
            .operation
            .as_ref()
            .is_none_or(|operation| matches!(operation.phase, Phase::Ended(_)));
        // On its way back a release begins another rollback at once, and turns off its flag.
        let goes = running.flag
            || running.release.as_ref().is_some_and(|release| release.result.is_none());
        let durable = |view: &ServiceView| {
            view.route.as_ref().map(|route| (route.set, Some(route.fence).filter(|_| !goes)))
        };
        holds(rule, !resting || durable(running) == durable(folded), || {
            format!("{} runs {:?}, is {:?}", running.name, durable(running), durable(folded))
        })?;
        let off = |view: &ServiceView| -> Vec<bool> {
            view.triggers.iter().map(|own| own.state == TriggerState::Off).collect()
        };
        // What ended meanwhile is shown until the section is built anew.
        let kept = off(folded).iter().zip(off(running)).all(|(folded, running)| running || !folded);
        holds(rule, jumped || kept, || {
            format!("triggers off {:?} are {:?}", off(running), off(folded))
        })?;
        // What is about to end may end while it is folded.
        let open = running.release.as_ref().filter(|own| own.result.is_none()).map(|own| own.id);
        let history = |view: &ServiceView| -> Vec<_> {
            let past = view.history.iter().filter(|past| Some(past.id) != open);
            past.map(|past| (past.id, past.result, past.bad)).collect()
        };
        holds(rule, history(running) == history(folded), || {
            format!("{:?} is {:?}", history(running), history(folded))
        })?;
        let open =
            |view: &ServiceView| view.release.clone().filter(|release| release.result.is_none());
        match (open(running), open(folded)) {
            (Some(running), Some(folded)) => same_release(&running, &folded)?,
            (None, None) => {}
            (running, folded) => {
                let told = |own: Option<ReleaseView>| own.map(|own| told(&own));
                return holds(rule, false, || format!("{:?}, {:?}", told(running), told(folded)));
            }
        }
    }
    Ok(())
}

fn same_release(running: &ReleaseView, folded: &ReleaseView) -> Checked {
    let rule = "journal_is_state";
    let text = || format!("{} is folded to {}", told(running), told(folded));
    holds(rule, running.id == folded.id && running.step == folded.step, text)?;
    let kept = match running.state {
        // A step that was under way may need a person besides.
        ReleaseState::Paused => {
            matches!(folded.state, ReleaseState::Paused | ReleaseState::Held)
        }
        ReleaseState::Held | ReleaseState::WalkingBack => folded.state == running.state,
        ReleaseState::Running | ReleaseState::Asking | ReleaseState::Ended => true,
    };
    holds(rule, kept, text)?;
    let over = |state: StepState| match state {
        StepState::Waiting | StepState::Running | StepState::Failed => None,
        StepState::Done | StepState::Undone => Some(state),
    };
    // What could not be taken back is tried again after a restart; a flag is turned off at once.
    let back = folded.state == ReleaseState::WalkingBack;
    let same = |a: StepState, b: StepState| {
        over(a) == over(b)
            || (a, b) == (StepState::Undone, StepState::Failed)
            || (back && over(a).is_none() && b == StepState::Undone)
    };
    let flag =
        |step: &StepView| back && step.name.starts_with("flag") && step.state == StepState::Undone;
    let marks = running.steps.iter().zip(&folded.steps);
    holds(rule, marks.into_iter().all(|(a, b)| flag(b) || same(a.state, b.state)), text)?;
    let canaries = running.canary.as_ref().zip(folded.canary.as_ref());
    // The last percent has another control.
    if let Some((running, folded)) = canaries.filter(|(a, b)| a.place == b.place) {
        for (a, b) in running.evidence.iter().zip(&folded.evidence) {
            let near = (a.fail - b.fail).abs() < 1e-6 && (a.pass - b.pass).abs() < 1e-6;
            holds("evidence_survives", near, || format!("{a:?} is folded to {b:?}"))?;
        }
    }
    Ok(())
}
