//! What a client sees of a release.
//!
//! Decides the words for what is next. Never changes the release. Contract: every instant is one
//! that was taken, none is made up.

use std::time::Duration;

use super::Release;
use crate::record::{ReleaseKind, ReleaseState};
use crate::settings::Action;
use crate::snapshot::{Question, ReleaseView, StepState, StepView};
use crate::types::{Now, Untrusted};

impl Release {
    #[must_use]
    pub fn view(&self) -> ReleaseView {
        let steps = self.steps.iter().zip(&self.marks).map(|(step, mark)| StepView {
            name: step.name.clone(),
            state: mark.state,
            started: mark.started,
            ended: mark.ended,
            detail: mark.detail.clone(),
            estimate: step.estimate,
        });
        let canary = self.rollout.as_ref().map(|rollout| {
            let mut view = rollout.view();
            view.bake_until = self.bake_until();
            view
        });
        ReleaseView {
            id: self.facts.release,
            submission: self.facts.submission.clone(),
            plan: self.facts.plan.clone(),
            kind: self.facts.kind,
            version: self.facts.version.clone(),
            hotfix: self.facts.hotfix,
            user: self.actor.user.clone(),
            started: self.started,
            state: self.state,
            result: self.result,
            ended: self.ended,
            steps: steps.collect(),
            step: self.expected().1,
            question: self.question(),
            canary,
            sentence: Untrusted::new(self.told()),
            next: Untrusted::new(&self.what_next()),
        }
    }

    /// While the canary is watched, its own sentence is newer.
    fn told(&self) -> &str {
        match &self.rollout {
            Some(rollout)
                if self.watches() && rollout.is_set() && self.state == ReleaseState::Running =>
            {
                rollout.sentence()
            }
            Some(_) | None => &self.sentence,
        }
    }

    fn bake_until(&self) -> Option<Now> {
        let Action::Wait { span, watch: true } = self.step()?.action else { return None };
        Some(after(self.marks.get(self.place)?.started?, span))
    }

    fn question(&self) -> Option<Question> {
        let step = self.step()?;
        let Action::Ask { question, default } = &step.action else { return None };
        let started = self.marks.get(self.place)?.started?;
        (self.state == ReleaseState::Asking).then(|| Question {
            text: question.clone(),
            until: after(started, step.timeout),
            default: *default,
        })
    }

    /// Why no other release of the service may begin, and what ends this one.
    #[must_use]
    pub fn in_the_way(&self) -> String {
        let (id, name, state) = (self.facts.release, &self.facts.service, self.state.word());
        match self.question() {
            Some(question) => format!(
                "r{id} of {name} ({}) is {state} \"{}\": it must end first; `reply {name} no` \
                 declines it",
                self.facts.plan, question.text
            ),
            None => format!("r{id} of {name} is {state}: it must end first"),
        }
    }

    fn what_next(&self) -> String {
        match self.state {
            ReleaseState::Ended => String::new(),
            ReleaseState::Paused => "resume goes on, abort ends it".to_owned(),
            ReleaseState::Held => "resume goes on, promote finishes, abort ends it".to_owned(),
            ReleaseState::Asking => "a person says yes or no".to_owned(),
            ReleaseState::WalkingBack => "all traffic to stable, then its steps back".to_owned(),
            ReleaseState::Running => self.next_step(),
        }
    }

    fn next_step(&self) -> String {
        let in_canary = self.in_canary();
        if let Some(rollout) = self.rollout.as_ref().filter(|_| in_canary)
            && let Some(percent) = rollout.following()
        {
            return format!("then {percent}");
        }
        match self.steps.get(self.place + 1) {
            Some(step) => format!("then {}", step.name),
            None => match self.facts.kind {
                ReleaseKind::Deploy => "then it is finalised".to_owned(),
                ReleaseKind::Plan | ReleaseKind::Recovery => "then it is done".to_owned(),
            },
        }
    }

    /// Steps that are over, of all.
    #[must_use]
    pub fn progress(&self) -> (usize, usize) {
        let over = self.marks.iter().filter(|mark| mark.state == StepState::Done).count();
        (over, self.steps.len())
    }
}

fn after(from: Now, span: Duration) -> Now {
    let wall = chrono::TimeDelta::from_std(span).unwrap_or_default();
    Now { mono: from.mono + span, wall: from.wall + wall }
}
