//! How far each step of a release is.
//!
//! Decides nothing. Never forgets that a step was begun. Contract: a step that is to be done again
//! is waiting, and still to be taken back.

use crate::snapshot::StepState;
use crate::types::{Now, Untrusted};

#[derive(Clone, Debug)]
pub struct Mark {
    pub state: StepState,
    pub started: Option<Now>,
    pub ended: Option<Now>,
    pub detail: Untrusted,
    /// It was begun before, and may have left something behind.
    pub touched: bool,
}

impl Mark {
    pub fn waiting() -> Mark {
        Mark {
            state: StepState::Waiting,
            started: None,
            ended: None,
            detail: Untrusted::default(),
            touched: false,
        }
    }

    /// Nothing of this try happened.
    pub fn not_begun(&self) -> Mark {
        Mark { touched: self.touched, ..Mark::waiting() }
    }

    /// To be done again: what an earlier try left is still to be taken back.
    pub fn again(&self) -> Mark {
        let touched = self.touched || self.state != StepState::Waiting;
        Mark { touched, ..Mark::waiting() }
    }
}
