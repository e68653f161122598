//! The first step of a release of a service that has checks.
//!
//! Decides whether what the checks said is enough. Never runs one. Contract: only a fresh result
//! for the release's own version lets it go on; one from before the step began never fails it.

use super::{Facts, Move, Release};
use crate::types::{Now, Time, Untrusted};
use crate::validation::Validity;

impl Release {
    /// The checks cannot be run at all.
    pub fn cannot_validate(&mut self, why: &str, now: Now) {
        self.fail(why, now);
    }

    pub(super) fn validate(&mut self, started: Now, deadline: Time, facts: &Facts) -> Option<Move> {
        match &facts.validity {
            Validity::Passed(words) => self.done(Untrusted::new(words), facts.now),
            Validity::Failed { at, why } if at.mono >= started.mono => self.fail(why, facts.now),
            _ if facts.now.mono >= deadline => self.fail("not validated in time", facts.now),
            Validity::Running => return self.wake(deadline),
            Validity::None | Validity::Failed { .. } => return Some(Move::Validate),
        }
        self.next(facts)
    }
}
