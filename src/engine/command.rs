//! What an operator may ask, and what the operator saw when asking.
//!
//! Decides nothing by itself: [`crate::Engine`] checks a submission and answers with [`Reply`].
//! Contract: a submission's id is chosen by the client and reused on retry, so that asking twice
//! does a thing once.

use serde::{Deserialize, Serialize};

use crate::types::{Actor, Fence, Percent, Untrusted};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submission {
    /// Unique for each intention; the same again on a retry.
    pub id: String,
    pub command: Command,
    /// What the operator saw; `None` only where nothing is changed.
    #[serde(default)]
    pub expected: Option<Expected>,
    /// The line that stood on the operator's screen, kept in the journal.
    #[serde(default)]
    pub seen: Untrusted,
    pub actor: Actor,
    /// Set by a client that was started read-only; such a submission is refused.
    #[serde(default)]
    pub read_only: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "verb")]
pub enum Command {
    /// Give `canary` percent of the traffic to the canary.
    Split { service: String, canary: Percent, reason: Untrusted },
    /// All traffic to the canary.
    Promote { service: String, reason: Untrusted },
    /// All traffic to stable, ending the release in flight.
    Abort { service: String, reason: Untrusted },
    /// All traffic to stable at once, whatever is in flight.
    Rollback { service: String, reason: Untrusted },
    /// Read every router of the service again, now.
    Verify { service: String },
    /// Say that somebody has it. `key` is [`crate::snapshot::IncidentView::key`].
    Acknowledge { key: String, comment: Untrusted },
    /// Hand it to the next level of its escalation policy.
    Escalate { key: String },
}

impl Command {
    /// The word on screen, in the journal and on the command line.
    #[must_use]
    pub fn verb(&self) -> &'static str {
        match self {
            Command::Split { .. } => "split",
            Command::Promote { .. } => "promote",
            Command::Abort { .. } => "abort",
            Command::Rollback { .. } => "rollback",
            Command::Verify { .. } => "verify",
            Command::Acknowledge { .. } => "acknowledge",
            Command::Escalate { .. } => "escalate",
        }
    }
}

/// The state that a command was decided on; if it moved, the command is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expected {
    /// The split that was wanted then; `None` when none was.
    pub set: Option<Percent>,
    /// The fence of the service's last operation then.
    pub fence: Fence,
}

/// The engine's answer to a submission: at once, before anything moves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "answer")]
pub enum Reply {
    /// Follow the operation with this fence in the snapshot.
    Accepted {
        submission: String,
        fence: Option<Fence>,
    },
    Refused {
        submission: String,
        why: Untrusted,
    },
}
