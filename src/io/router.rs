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

use std::path::Path;
use std::time::Duration;

use engine::reading::{SplitReading, WriteAnswer};
use engine::types::{Failure, FailureKind, Fence, Percent, Untrusted, Weights};
use tokio::time::Instant;

use crate::io::http::Client;
use crate::io::router::fence::FenceFile;
use crate::io::settings::RouterTarget;

/// HAProxy's own highest weight; nginx takes as much.
const WEIGHT_MAX: u16 = 256;

/// Absolute weights for each server of both groups: shares follow the groups, not their sizes.
///
/// A percent above zero never becomes 0, zero stays 0. The share is exact where 0–256 allows it,
/// else the nearest there is.
#[must_use]
pub fn server_weights(a: Percent, b: Percent, n_a: usize, n_b: usize) -> (u16, u16) {
    let (a, b) = (u16::from(a.get()), u16::from(b.get()));
    if a == 0 || b == 0 {
        return (a.min(1) * 100, b.min(1) * 100);
    }
    if n_a == n_b {
        return (a, b);
    }
    let size = |n: usize| f64::from(u32::try_from(n.max(1)).unwrap_or(u32::MAX));
    let (size_a, size_b) = (size(n_a), size(n_b));
    let wanted = f64::from(a) / f64::from(a + b);
    let mut best = (1, 1, f64::INFINITY);
    for per_a in 1..=WEIGHT_MAX {
        let of_a = f64::from(per_a) * size_a;
        let ideal = of_a * (1.0 - wanted) / (wanted * size_b);
        // The error only grows with the distance from the ideal: its two neighbours are enough.
        let first = (1..=WEIGHT_MAX).rev().find(|n| f64::from(*n) <= ideal).unwrap_or(1);
        for per_b in [first, (first + 1).min(WEIGHT_MAX)] {
            let error = (of_a / (of_a + f64::from(per_b) * size_b) - wanted).abs();
            if error + f64::EPSILON < best.2 {
                best = (per_a, per_b, error);
            }
        }
    }
    (best.0, best.1)
}

/// The only writer of one router, for as long as it lives.
pub struct Writer {
    target: RouterTarget,
    fence: FenceFile,
    nginx: nginx::Memory,
}

impl Writer {
    /// Takes the router's lock in `state_dir` and reads the highest fence it has seen.
    pub fn open(name: &str, target: RouterTarget, state_dir: &Path) -> Result<Writer, Failure> {
        let fence = FenceFile::open(name, state_dir)?;
        Ok(Writer { target, fence, nginx: nginx::Memory::default() })
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
        budget: Duration,
    ) -> WriteAnswer {
        let deadline = Deadline::after(budget);
        if weights.a.get() == 0 && weights.b.get() == 0 {
            return rejected("both groups would get nothing: no server would answer");
        }
        if let Err(why) = self.fence.raise(fence) {
            return rejected(why.text.display());
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
        let deadline = Deadline::after(budget);
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
