//! The engine of Quarterdeck: a pure state machine that decides.
//!
//! Decides when to look, what a look means, whether a command is allowed and what is written to a
//! router. Never reads a clock, a file, a socket, the environment or a random number: the time and
//! every outcome come in as [`Input`], everything to be done goes out as [`Effect`]. Contract:
//! `handle` cannot fail, because failures are inputs; the same inputs give the same effects.

pub mod analysis;
pub mod command;
pub mod counts;
mod engine;
mod expression;
pub mod freeze;
pub mod health;
pub mod history;
pub mod incident;
mod ledger;
pub mod notice;
pub mod readiness;
pub mod reading;
pub mod record;
mod recovery;
pub mod release;
pub mod response;
mod rng;
pub mod rollout;
pub mod route;
pub mod rule;
pub mod runbook;
pub mod scaling;
mod schedule;
pub mod score;
pub mod section;
pub mod settings;
pub mod snapshot;
pub mod tenant;
pub mod text;
pub mod triage;
pub mod trigger;
pub mod types;
pub mod validation;
mod watch;
pub mod words;

pub use crate::engine::Engine;
pub use crate::ledger::line;
pub use crate::recovery::{in_order, needed};
pub use crate::schedule::Timer;

use std::time::Duration;

use crate::command::{Reply, Submission};
use crate::notice::Notice;
use crate::reading::{
    Claim, FeedReading, HostReading, Measurement, NotifyAnswer, Observation, SplitReading,
    TaskAnswer, TaskContext, WriteAnswer,
};
use crate::record::Entry;
use crate::types::{
    Actor, ChannelId, EffectId, Failure, FeedId, Fence, HostId, ProbeId, RouterId, ServiceId,
    TaskId, Untrusted, Weights,
};

/// Everything that can happen to the engine.
#[derive(Clone, Debug)]
pub enum Input {
    Submitted(Submission),
    /// A probe has no failure arm: no answer is an observation too.
    Probed {
        id: EffectId,
        probe: ProbeId,
        observation: Observation,
    },
    HostRead {
        id: EffectId,
        host: HostId,
        result: Result<HostReading, Failure>,
    },
    FeedRead {
        id: EffectId,
        feed: FeedId,
        result: Result<FeedReading, Failure>,
    },
    Measured {
        id: EffectId,
        service: ServiceId,
        result: Result<Measurement, Failure>,
    },
    SplitSet {
        id: EffectId,
        router: RouterId,
        answer: WriteAnswer,
    },
    SplitRead {
        id: EffectId,
        router: RouterId,
        result: Result<SplitReading, Failure>,
    },
    Appended {
        id: EffectId,
        result: Appended,
    },
    /// What became of a plan's task.
    TaskEnded {
        id: EffectId,
        answer: TaskAnswer,
    },
    /// What a channel said to [`Effect::Notify`].
    Notified {
        id: EffectId,
        answer: NotifyAnswer,
    },
    /// The feed's answer to [`Effect::Acknowledge`] or [`Effect::Escalate`].
    Responded {
        id: EffectId,
        key: String,
        result: Result<(), Failure>,
    },
}

/// What became of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Appended {
    Durable,
    /// In the spool beside the journal, to be merged; only entries toward safety go there.
    Spooled {
        why: Untrusted,
    },
    /// Nowhere. A change toward exposure stops here.
    Failed {
        why: Untrusted,
    },
}

/// Everything the engine can ask of the world. Every effect but `Answer` has exactly one reply,
/// within its budget.
#[derive(Clone, Debug)]
pub enum Effect {
    Probe {
        id: EffectId,
        probe: ProbeId,
    },
    ReadHost {
        id: EffectId,
        host: HostId,
    },
    ReadFeed {
        id: EffectId,
        feed: FeedId,
    },
    Measure {
        id: EffectId,
        service: ServiceId,
    },
    /// Absolute and idempotent. The writer refuses a fence lower than it has seen.
    SetSplit {
        id: EffectId,
        router: RouterId,
        weights: Weights,
        fence: Fence,
        claim: Claim,
        /// By the router's other way: the usual one could not be proven.
        fallback: bool,
        budget: Duration,
    },
    /// `renew` keeps the router for this engine while something is in flight; `None` gives it up.
    ReadSplit {
        id: EffectId,
        router: RouterId,
        renew: Option<Claim>,
        budget: Duration,
    },
    /// `safety`: may go to the spool when the journal refuses it.
    Append {
        id: EffectId,
        entry: Box<Entry>,
        safety: bool,
    },
    /// Run, call or check something for a plan; killed as a group at the end of its budget.
    Task {
        id: EffectId,
        task: TaskId,
        context: TaskContext,
        budget: Duration,
    },
    Acknowledge {
        id: EffectId,
        feed: FeedId,
        fingerprint: String,
        key: String,
        actor: Actor,
        comment: Untrusted,
    },
    Escalate {
        id: EffectId,
        feed: FeedId,
        fingerprint: String,
        key: String,
        actor: Actor,
    },
    /// Tell people through a channel.
    Notify {
        id: EffectId,
        channel: ChannelId,
        notice: Box<Notice>,
    },
    /// To the client that submitted.
    Answer(Reply),
}
