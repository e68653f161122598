//! The routers: one writer for each, whatever it is.
//!
//! Decides whether a write may go out (its fence) and which adapter carries it. Never decides what
//! to write. Contract: a write is absolute and idempotent, a lower fence than one seen is refused,
//! `set` and `read` return within their budget, and a reply is never taken for truth.

pub mod command;
pub mod fence;
pub mod haproxy;
pub mod http;
pub mod nginx;
mod weights;

use std::path::Path;
use std::time::Duration;

use engine::reading::{Claim, SplitReading, WriteAnswer};
use engine::types::{Failure, FailureKind, Fence, Untrusted, Weights};
use tokio::time::Instant;

use crate::io::http::Client;
use crate::io::router::fence::{FenceFile, Kept};
use crate::io::settings::RouterTarget;

/// The only writer of one router, for as long as it lives.
pub struct Writer {
    target: RouterTarget,
    fence: FenceFile,
    nginx: nginx::Memory,
    /// What a person must know about the last write; shown with each reading.
    trouble: String,
}

impl Writer {
    /// Takes the router's lock in `state_dir` and reads the highest fence it has seen.
    pub fn open(name: &str, target: RouterTarget, state_dir: &Path) -> Result<Writer, Failure> {
        let fence = FenceFile::open(name, state_dir)?;
        Ok(Writer { target, fence, nginx: nginx::Memory::default(), trouble: String::new() })
    }

    /// The highest fence that was let through.
    #[must_use]
    pub fn max_fence(&self) -> Fence {
        self.fence.max()
    }

    /// Sets the split. The fence is durable before the router is touched.
    pub async fn set(
        &mut self,
        client: &Client,
        weights: Weights,
        fence: Fence,
        claim: &Claim,
        budget: Duration,
    ) -> WriteAnswer {
        let deadline = Deadline::after(budget);
        if weights.a.get() == 0 && weights.b.get() == 0 {
            return rejected("both groups would get nothing: no server would answer");
        }
        match self.fence.raise(fence, claim.emergency, deadline).await {
            Ok(Kept::Durable) => self.trouble.clear(),
            Ok(Kept::InMemory(why)) => self.trouble = format!("the fence is not durable: {why}"),
            Err(why) => return rejected(why.text.display()),
        }
        match &self.target {
            RouterTarget::Haproxy { socket, backend, groups } => {
                haproxy::set(&haproxy::Place { socket, backend, groups }, weights, deadline).await
            }
            RouterTarget::Nginx { .. } => match nginx::Place::of(&self.target) {
                Some(place) => nginx::set(&place, &mut self.nginx, weights, fence, deadline).await,
                None => rejected("not an nginx router"),
            },
            RouterTarget::Http(http) => http::set(client, http, weights, deadline.left()).await,
            RouterTarget::Command { set, .. } => command::set(set, weights, deadline).await,
        }
    }

    /// Reads the split back, by another path than the write where there is one.
    pub async fn read(&self, client: &Client, budget: Duration) -> Result<SplitReading, Failure> {
        let mut reading = self.show(client, Deadline::after(budget)).await?;
        if !self.trouble.is_empty() {
            let note = [&self.trouble, reading.note.display()].join(", ");
            reading.note = Untrusted::new(note.trim_end_matches(", "));
        }
        Ok(reading)
    }

    async fn show(&self, client: &Client, deadline: Deadline) -> Result<SplitReading, Failure> {
        match &self.target {
            RouterTarget::Haproxy { socket, backend, groups } => {
                haproxy::read(&haproxy::Place { socket, backend, groups }, deadline).await
            }
            RouterTarget::Nginx { .. } => match nginx::Place::of(&self.target) {
                Some(place) => nginx::read(&place, &self.nginx, deadline).await,
                None => Err(Failure::new(FailureKind::Malformed, "not an nginx router")),
            },
            RouterTarget::Http(http) => http::read(client, http, deadline.left()).await,
            RouterTarget::Command { read, .. } => command::read(read, deadline).await,
        }
    }
}

/// One end for a whole operation; no step has a clock of its own.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Instant);

impl Deadline {
    #[must_use]
    pub fn after(budget: Duration) -> Deadline {
        Deadline(Instant::now() + budget)
    }
    #[must_use]
    pub fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }
    /// The same end, this much earlier: room for what must still be done afterwards.
    #[must_use]
    pub fn earlier(self, by: Duration) -> Deadline {
        Deadline(self.0.checked_sub(by).unwrap_or(self.0))
    }
}

fn rejected(why: impl AsRef<str>) -> WriteAnswer {
    WriteAnswer::Rejected { why: Untrusted::new(why.as_ref()) }
}

fn unknown(why: impl AsRef<str>) -> WriteAnswer {
    WriteAnswer::Unknown { why: Untrusted::new(why.as_ref()) }
}
