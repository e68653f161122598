//! The routers: one writer for each, whatever it is.
//!
//! Decides whether a write may go out (its fence) and which adapter carries it. Never decides what
//! to write. Contract: a write is absolute and idempotent, a lower fence than one seen is refused,
//! `set` and `read` return within their budget, and a reply is never taken for truth.

mod access;
pub mod command;
pub mod fence;
pub mod flag;
pub mod haproxy;
pub mod http;
pub mod lease;
pub mod nginx;
mod weights;

use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

use engine::reading::{Access, Claim, SplitReading, WriteAnswer};
use engine::types::{Failure, FailureKind, Fence, Untrusted, Weights};
use tokio::time::Instant;

use crate::io::http::Client;
use crate::io::router::fence::{FenceFile, Kept};
use crate::io::router::lease::{Identity, Lease};
use crate::io::settings::{Fallback, FlagPlace, FlagTarget, RouterTarget};

/// After a write its mark is taken off the lease; a mark that stays ends by itself.
const LEASE_TIME: Duration = Duration::from_millis(500);

/// Whether a write would be taken is worth no longer a wait than this: it is only for the lamp.
const ACCESS_TIME: Duration = Duration::from_millis(300);

/// This engine's only writer of one router, for as long as it lives.
pub struct Writer {
    target: RouterTarget,
    fallback: Option<Fallback>,
    fence: FenceFile,
    /// Shared with other engines, where the router has a place for it.
    lease: Option<Lease>,
    own: Identity,
    nginx: nginx::Memory,
    /// Whether an HTTP endpoint keeps the fence; `None` before it was read.
    http_fenced: Cell<Option<bool>>,
    /// What a person must know about the last write; shown with each reading.
    trouble: String,
}

impl Writer {
    /// Takes the router's lock in `state_dir` and reads the highest fence it has seen.
    pub fn open(
        name: &str,
        target: RouterTarget,
        own: &Identity,
        state_dir: &Path,
    ) -> Result<Writer, Failure> {
        let fence = FenceFile::open(name, state_dir)?;
        let places = match &target {
            RouterTarget::Haproxy { socket, backend, .. } => lease::places(socket, backend),
            RouterTarget::Nginx { file, .. } => lease::places(file, ""),
            RouterTarget::Command { lease: Some(path), .. } => lease::place(path),
            RouterTarget::Command { lease: None, .. }
            | RouterTarget::Http(_)
            | RouterTarget::Flag(_) => Vec::new(),
        };
        let lease = (!places.is_empty()).then(|| Lease::new(places, own.clone()));
        let (own, nginx, trouble) = (own.clone(), nginx::Memory::default(), String::new());
        let (fallback, http_fenced) = (None, Cell::new(None));
        Ok(Writer { target, fallback, fence, lease, own, nginx, http_fenced, trouble })
    }

    #[must_use]
    pub fn with_fallback(self, fallback: Option<Fallback>) -> Writer {
        Writer { fallback, ..self }
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
        self.send(client, weights, fence, claim, false, budget).await
    }

    /// The same by the router's other way.
    pub async fn fall_back(
        &mut self,
        client: &Client,
        weights: Weights,
        fence: Fence,
        claim: &Claim,
        budget: Duration,
    ) -> WriteAnswer {
        self.send(client, weights, fence, claim, true, budget).await
    }

    async fn send(
        &mut self,
        client: &Client,
        weights: Weights,
        fence: Fence,
        claim: &Claim,
        fallback: bool,
        budget: Duration,
    ) -> WriteAnswer {
        let deadline = Deadline::after(budget);
        if weights.a.get() == 0 && weights.b.get() == 0 {
            return rejected("both groups would get nothing: no server would answer");
        }
        self.trouble.clear();
        match self.fence.raise(fence, claim.emergency, deadline).await {
            Ok(Kept::Durable) => {}
            Ok(Kept::InMemory(why)) => self.trouble = format!("the fence is not durable: {why}"),
            Err(why) => return rejected(why.text.display()),
        }
        let Some(lease) = &self.lease else {
            return self.pass(client, weights, fence, fallback, deadline).await;
        };
        match lease.take(fence, claim, deadline).await {
            Ok(taken) if taken.trouble.is_empty() => {}
            Ok(taken) => self.trouble = taken.trouble,
            Err(refusal) => {
                let (why, newer) = (Untrusted::new(&refusal.why), refusal.newer);
                return WriteAnswer::Rejected { why, newer };
            }
        }
        let answer = self.pass(client, weights, fence, fallback, deadline).await;
        if let Some(lease) = &self.lease {
            lease.wrote(Deadline::after(LEASE_TIME)).await;
        }
        answer
    }

    /// What was let through, by the way that was asked for.
    async fn pass(
        &mut self,
        client: &Client,
        weights: Weights,
        fence: Fence,
        fallback: bool,
        deadline: Deadline,
    ) -> WriteAnswer {
        if !fallback {
            return self.write(client, weights, fence, deadline).await;
        }
        match (&self.fallback, &self.target) {
            (Some(Fallback::Maint), RouterTarget::Haproxy { socket, backend, groups }) => {
                let place = haproxy::Place { socket, backend, groups };
                haproxy::maint::set(&place, weights, deadline).await
            }
            (Some(Fallback::Command(argv)), _) => command::set(argv, weights, deadline).await,
            (Some(Fallback::Http(http)), _) => {
                http::set(client, http, weights, None, deadline.left()).await
            }
            (Some(Fallback::Maint) | None, _) => rejected("this router has no other way"),
        }
    }

    async fn write(
        &mut self,
        client: &Client,
        weights: Weights,
        fence: Fence,
        deadline: Deadline,
    ) -> WriteAnswer {
        match &self.target {
            RouterTarget::Haproxy { socket, backend, groups } => {
                haproxy::set(&haproxy::Place { socket, backend, groups }, weights, deadline).await
            }
            RouterTarget::Nginx { .. } => match nginx::Place::of(&self.target) {
                Some(place) => nginx::set(&place, &mut self.nginx, weights, fence, deadline).await,
                None => rejected("not an nginx router"),
            },
            RouterTarget::Http(http) => {
                let own = self.own.text();
                if self.http_fenced.get().is_none() {
                    // Not read yet: what it is sent depends on what it keeps.
                    let look = http::read(client, http, &own, deadline.left() / 3).await;
                    self.http_fenced.set(look.ok().map(|reading| reading.lease.fenced));
                }
                let keeps = self.http_fenced.get() == Some(true);
                let stamp = keeps.then_some(http::Stamp { fence, holder: &own });
                http::set(client, http, weights, stamp.as_ref(), deadline.left()).await
            }
            RouterTarget::Command { set, .. } => command::set(set, weights, deadline).await,
            RouterTarget::Flag(target) => flag::set(client, target, weights, deadline).await,
        }
    }

    /// Reads the split back, by another path than the write where there is one. With `renew` the
    /// router is kept for this engine, without it it is given up.
    pub async fn read(
        &self,
        client: &Client,
        renew: Option<&Claim>,
        budget: Duration,
    ) -> Result<SplitReading, Failure> {
        let deadline = Deadline::after(budget);
        let lease = async {
            match &self.lease {
                Some(lease) => Some(lease.look(renew, deadline).await),
                None => None,
            }
        };
        let (reading, lease) = tokio::join!(self.show(client, deadline), lease);
        let mut reading = reading?;
        if let Some(lease) = lease {
            reading.lease = lease;
        }
        if let Some(access) = self.access(deadline).await {
            reading.lease.access = access;
        }
        let mended = self.mend(&reading.lease, deadline).await;
        let trouble = Some(self.trouble.clone()).filter(|trouble| !trouble.is_empty());
        for said in trouble.into_iter().chain(mended) {
            let note = [&said, reading.note.display()].join(", ");
            reading.note = Untrusted::new(note.trim_end_matches(", "));
        }
        Ok(reading)
    }

    /// A file of nginx at rest is what nginx runs, while nobody else is at it.
    async fn mend(&self, lease: &engine::reading::Lease, deadline: Deadline) -> Option<String> {
        if lease.holder.is_some() || !lease.trouble.is_empty() {
            return None;
        }
        nginx::rest::repair(&nginx::Place::of(&self.target)?, &self.nginx, deadline).await
    }

    /// Whether the router would take a write; `None` where only the reading could tell.
    async fn access(&self, deadline: Deadline) -> Option<Access> {
        let deadline = Deadline::after(ACCESS_TIME.min(deadline.left()));
        match &self.target {
            RouterTarget::Haproxy { socket, backend, groups } => {
                let place = haproxy::Place { socket, backend, groups };
                Some(haproxy::access::look(&place, deadline).await)
            }
            RouterTarget::Nginx { .. } => {
                Some(nginx::access::look(&nginx::Place::of(&self.target)?, deadline).await)
            }
            RouterTarget::Command { set, .. } => {
                let program = set.first()?.clone();
                Some(access::on_disk(deadline, move || command::access(&program)).await)
            }
            RouterTarget::Flag(FlagTarget { place: FlagPlace::File(path), .. }) => {
                let path = path.clone();
                Some(access::on_disk(deadline, move || flag::access(&path)).await)
            }
            RouterTarget::Http(_)
            | RouterTarget::Flag(FlagTarget { place: FlagPlace::Http { .. }, .. }) => None,
        }
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
            RouterTarget::Http(http) => {
                let read = http::read(client, http, &self.own.text(), deadline.left()).await;
                if let Ok(reading) = &read {
                    self.http_fenced.set(Some(reading.lease.fenced));
                }
                read
            }
            RouterTarget::Command { read, .. } => command::read(read, deadline).await,
            RouterTarget::Flag(target) => flag::read(client, target, deadline).await,
        }
    }
}

/// A healthy disk syncs within milliseconds; a busy one may take this long.
const DISK_PATIENCE: Duration = Duration::from_millis(500);

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
    /// How long to wait for a disk of our own. The rest of a budget belongs to the router; in a
    /// hurry nearly all of it does.
    #[must_use]
    pub fn for_disk(self, hurry: bool) -> Duration {
        let brief = self.left().min(DISK_PATIENCE);
        if hurry { brief } else { brief.max(self.left() / 2) }
    }
    /// The same end, this much earlier: room for what must still be done afterwards.
    #[must_use]
    pub fn earlier(self, by: Duration) -> Deadline {
        Deadline(self.0.checked_sub(by).unwrap_or(self.0))
    }
}

fn rejected(why: impl AsRef<str>) -> WriteAnswer {
    WriteAnswer::Rejected { why: Untrusted::new(why.as_ref()), newer: None }
}

fn unknown(why: impl AsRef<str>) -> WriteAnswer {
    WriteAnswer::Unknown { why: Untrusted::new(why.as_ref()) }
}
