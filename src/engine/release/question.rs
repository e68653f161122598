//! A step that asks a person.
//!
//! Decides what an answer, a silence and the step's default mean. Never answers by itself before
//! the time is up. Contract: a plan that is declined ends where it is; a deploy is taken back.

use super::{Back, Facts, Move, Release, Traffic, Word};
use crate::record::{ReleaseKind, ReleaseResult, ReleaseState};
use crate::types::{Time, Untrusted};

impl Release {
    pub(super) fn ask(
        &mut self,
        question: &str,
        default: Option<bool>,
        deadline: Time,
        facts: &Facts,
    ) -> Option<Move> {
        let late = facts.now.mono >= deadline;
        let answer = self.answered.or(if late { default } else { None });
        match answer {
            // A yes counts once it is on record.
            Some(true) if self.word != Word::Recorded => None,
            Some(true) => {
                self.done(Untrusted::new("yes"), facts.now);
                self.next(facts)
            }
            Some(false) if self.facts.kind != ReleaseKind::Deploy => {
                // A plan that is declined ends where it is; nothing is taken back.
                self.back = Back {
                    ending: ReleaseResult::Aborted,
                    undoes: false,
                    traffic: Traffic::Home,
                    stuck: false,
                };
                let why = format!("declined at step {}", self.place + 1);
                self.change(ReleaseState::WalkingBack, &why);
                self.next(facts)
            }
            Some(false) => {
                self.fail("the answer was no", facts.now);
                self.next(facts)
            }
            None if late => {
                self.fail("nobody answered in time", facts.now);
                self.next(facts)
            }
            None if self.goes() => {
                self.change(ReleaseState::Asking, question);
                self.next(facts)
            }
            None => self.wake(deadline),
        }
    }
}
