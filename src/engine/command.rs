//! What an operator may ask, and what the operator saw when asking.
//!
//! Decides nothing by itself: [`crate::Engine`] checks a submission and answers with [`Reply`].
//! Contract: a submission's id is chosen by the client and reused on retry, so that asking twice
//! does a thing once.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::triage::Say;
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
    Split {
        service: String,
        canary: Percent,
        reason: Untrusted,
    },
    /// All traffic to the canary.
    Promote {
        service: String,
        reason: Untrusted,
    },
    /// All traffic to stable, ending the release in flight.
    Abort {
        service: String,
        reason: Untrusted,
    },
    /// All traffic to stable at once, whatever is in flight.
    Rollback {
        service: String,
        reason: Untrusted,
    },
    /// Release this version by the service's deploy plan.
    Deploy {
        service: String,
        version: String,
        hotfix: bool,
        reason: Untrusted,
    },
    /// Run a named plan for a service.
    Run {
        plan: String,
        service: String,
        version: String,
        reason: Untrusted,
    },
    /// Let the release in flight go no further until it is resumed; it is still watched.
    Pause {
        service: String,
        reason: Untrusted,
    },
    Resume {
        service: String,
        reason: Untrusted,
    },
    /// What a person says to the question of the release in flight.
    Reply {
        service: String,
        yes: bool,
        reason: Untrusted,
    },
    /// No release of the service, or of any, for this many seconds; never blocks a rollback.
    Freeze {
        service: Option<String>,
        seconds: u64,
        reason: Untrusted,
    },
    Thaw {
        service: Option<String>,
        reason: Untrusted,
    },
    /// Freeze everything and pause every release.
    StopTheLine {
        seconds: u64,
        reason: Untrusted,
    },
    /// Switch a trigger off for this many seconds, or arm it again with 0.
    Trigger {
        service: String,
        trigger: u32,
        off_seconds: u64,
        reason: Untrusted,
    },
    /// Say that a version is bad, or good after all.
    Mark {
        service: String,
        version: String,
        bad: bool,
        reason: Untrusted,
    },
    /// Run the service's checks for this version, or for none in particular.
    Validate {
        service: String,
        version: String,
    },
    /// Read every router of the service again, now.
    Verify {
        service: String,
    },
    /// Say that somebody has it. `key` is [`crate::snapshot::IncidentView::key`].
    Acknowledge {
        key: String,
        comment: Untrusted,
    },
    /// Hand it to the next level of its escalation policy.
    Escalate {
        key: String,
    },
    /// Run a command of a runbook, as it stood on the screen.
    Runbook {
        runbook: String,
        /// Its place among the page's commands.
        place: u32,
        /// Of what was seen: another is refused.
        digest: String,
        /// What `{service}` stands for.
        service: Option<String>,
        /// The incident that it is about.
        incident: Option<String>,
        /// What it asks for.
        values: BTreeMap<String, String>,
        reason: Untrusted,
    },
    /// Say who has it, note something, let it rest: on record, whatever its feed.
    Triage {
        key: String,
        say: Say,
    },
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
            Command::Deploy { .. } => "deploy",
            Command::Run { .. } => "run",
            Command::Pause { .. } => "pause",
            Command::Resume { .. } => "resume",
            Command::Reply { .. } => "reply",
            Command::Freeze { .. } => "freeze",
            Command::Thaw { .. } => "thaw",
            Command::StopTheLine { .. } => "stop the line",
            Command::Trigger { .. } => "trigger",
            Command::Mark { .. } => "mark",
            Command::Validate { .. } => "validate",
            Command::Verify { .. } => "verify",
            Command::Acknowledge { .. } => "acknowledge",
            Command::Escalate { .. } => "escalate",
            Command::Runbook { .. } => "run a command",
            Command::Triage { say, .. } => say.verb(),
        }
    }

    /// The one service that it is about.
    #[must_use]
    pub fn service(&self) -> Option<&str> {
        match self {
            Command::Split { service, .. }
            | Command::Promote { service, .. }
            | Command::Abort { service, .. }
            | Command::Rollback { service, .. }
            | Command::Deploy { service, .. }
            | Command::Run { service, .. }
            | Command::Pause { service, .. }
            | Command::Resume { service, .. }
            | Command::Reply { service, .. }
            | Command::Trigger { service, .. }
            | Command::Mark { service, .. }
            | Command::Validate { service, .. }
            | Command::Verify { service } => Some(service),
            Command::Freeze { service, .. }
            | Command::Thaw { service, .. }
            | Command::Runbook { service, .. } => service.as_deref(),
            Command::StopTheLine { .. }
            | Command::Acknowledge { .. }
            | Command::Escalate { .. }
            | Command::Triage { .. } => None,
        }
    }

    /// Why, in the operator's words.
    #[must_use]
    pub fn reason(&self) -> Option<&Untrusted> {
        match self {
            Command::Split { reason, .. }
            | Command::Promote { reason, .. }
            | Command::Abort { reason, .. }
            | Command::Rollback { reason, .. }
            | Command::Deploy { reason, .. }
            | Command::Run { reason, .. }
            | Command::Pause { reason, .. }
            | Command::Resume { reason, .. }
            | Command::Reply { reason, .. }
            | Command::Freeze { reason, .. }
            | Command::Thaw { reason, .. }
            | Command::StopTheLine { reason, .. }
            | Command::Trigger { reason, .. }
            | Command::Mark { reason, .. }
            | Command::Runbook { reason, .. } => Some(reason),
            Command::Acknowledge { comment, .. } => Some(comment),
            Command::Triage { say, .. } => Some(say.reason()),
            Command::Validate { .. } | Command::Verify { .. } | Command::Escalate { .. } => None,
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
    /// The release in flight then, and the place of its step.
    #[serde(default)]
    pub release: Option<(u64, u32)>,
}

/// The engine's answer to a submission: at once, before anything moves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "answer")]
pub enum Reply {
    /// Follow the operation with this fence in the snapshot.
    Accepted {
        submission: String,
        fence: Option<Fence>,
        /// What to know beside it; mostly nothing.
        #[serde(default)]
        note: Untrusted,
    },
    Refused {
        submission: String,
        why: Untrusted,
    },
}

impl Reply {
    #[must_use]
    pub fn accepted(submission: String, fence: Option<Fence>) -> Reply {
        Reply::Accepted { submission, fence, note: Untrusted::default() }
    }
}
