//! The lease of one router: which engine may write it, and the highest fence of any engine.
//!
//! Decides whether a claim passes: a fence lower than one seen, or the same one of another engine,
//! never does, and while another engine has something in flight only an emergency does. Never holds
//! its lock longer than it takes to check and write the file, so that an engine that is stopped or
//! dead blocks nobody. Contract: the file belongs to the router, not to an engine; a fence is
//! durable before [`Lease::take`] lets it pass, but for an emergency on a disk that fails.

mod file;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use engine::reading::{self, Claim};
use engine::types::{Fence, Now, Time, Untrusted};

use self::file::{Beat, By, State};
pub use self::file::{Place, runtime_dir};
use super::Deadline;
use crate::io::clock;

/// How long a claim holds at least. It is renewed each 2 s while something is in flight.
const TTL: Duration = Duration::from_secs(8);

/// A claim outlives the write that it was made for by this long.
const AFTER_WRITE: Duration = Duration::from_secs(2);

/// No claim holds longer, whatever its file says: the longest write, and time after it.
const LEFT_MAX: Duration = Duration::from_secs(30);

/// Clocks of two hosts that keep time do not differ by this much.
const SKEW_MAX: chrono::TimeDelta = chrono::TimeDelta::minutes(5);

/// An emergency waits this long for a write of another engine that is under way.
const WRITER_PATIENCE: Duration = Duration::from_secs(1);
const WRITER_LOOK: Duration = Duration::from_millis(20);

/// This engine, as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The same after a restart: the host and the state directory.
    key: String,
    /// "bob@web1".
    who: String,
    state_dir: String,
    environment: String,
    boot: String,
}

impl Identity {
    #[must_use]
    pub fn here(environment: &str, state_dir: &Path) -> Identity {
        let name = rustix::system::uname();
        let host = name.nodename().to_string_lossy();
        let state_dir = std::fs::canonicalize(state_dir).unwrap_or_else(|_| state_dir.to_owned());
        let state_dir = state_dir.display().to_string();
        let user = crate::io::socket::user_name(rustix::process::geteuid().as_raw());
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let key = engine::record::sha256_hex(format!("{host}\0{state_dir}").as_bytes());
        Identity {
            key: key[..16].to_owned(),
            who: format!("{user}@{host}"),
            state_dir,
            environment: environment.to_owned(),
            boot: boot.trim().to_owned(),
        }
    }

    /// One text that tells it from every other engine: for routers that keep the lease themselves.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{} {}", self.who, self.key)
    }

    fn by(&self) -> By {
        By { key: self.key.clone(), who: self.who.clone() }
    }

    /// `span` from `now`, while `doing` goes on.
    fn beat(&self, doing: &str, span: Duration, now: Now) -> Beat {
        let wall = chrono::TimeDelta::from_std(span).unwrap_or_default();
        Beat {
            by: self.by(),
            pid: std::process::id(),
            state_dir: self.state_dir.clone(),
            environment: self.environment.clone(),
            doing: doing.to_owned(),
            boot: self.boot.clone(),
            span_ms: u64::try_from(span.as_millis()).unwrap_or(u64::MAX),
            until_us: (now.mono + span).0,
            until: now.wall + wall,
        }
    }
}

/// Why a claim did not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub why: String,
    /// The fence that stands in the way.
    pub newer: Option<Fence>,
}

/// The lease of one router, as one engine sees it.
pub struct Lease {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    places: Vec<Place>,
    own: Identity,
    /// Another host's claim, and when it was first seen: its clock is not ours.
    seen: Option<(Beat, Time)>,
}

/// What passed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// What a person should know.
    pub trouble: String,
}

impl Lease {
    /// `places` in the order in which they are preferred; all that exist count.
    #[must_use]
    pub fn new(places: Vec<Place>, own: Identity) -> Lease {
        Lease { inner: Arc::new(Mutex::new(Inner { places, own, seen: None })) }
    }

    /// Takes the router for a write under `fence`.
    pub async fn take(
        &self,
        fence: Fence,
        claim: &Claim,
        deadline: Deadline,
    ) -> Result<Taken, Refusal> {
        let (claim, span) = (claim.clone(), deadline.left());
        let emergency = claim.emergency;
        let work = move |inner: &mut Inner| inner.take(fence, &claim, span, clock::now());
        let busy = match self.run(deadline.for_disk(emergency), work).await {
            Ok(Ok(busy)) => busy,
            Ok(Err(refusal)) => return Err(refusal),
            Err(why) if emergency => {
                return Ok(Taken {
                    trouble: format!("another engine cannot see this write: {why}"),
                });
            }
            Err(why) => {
                let why = format!("cannot keep the lease: {why}; nothing was sent");
                return Err(Refusal { why, newer: None });
            }
        };
        let trouble = busy.trouble;
        if busy.writing {
            let end = Deadline::after(WRITER_PATIENCE.min(deadline.left() / 2));
            let still = loop {
                let Ok(true) = self.run(deadline.for_disk(true), Inner::others_write).await else {
                    break false;
                };
                if end.left().is_zero() {
                    break true;
                }
                tokio::time::sleep(WRITER_LOOK).await;
            };
            if still {
                let trouble = "another engine's write was under way: it may still land";
                return Ok(Taken { trouble: trouble.to_owned() });
            }
        }
        Ok(Taken { trouble })
    }

    /// The write is over, whatever became of it.
    pub async fn wrote(&self, deadline: Deadline) {
        // A mark that stays ends by itself.
        let _ = self.run(deadline.for_disk(true), |inner| inner.wrote(clock::now())).await;
    }

    /// What the lease says; with `renew` it is kept for this engine if nobody else has it, without
    /// it it is given up.
    pub async fn look(&self, renew: Option<&Claim>, deadline: Deadline) -> reading::Lease {
        let (renew, span) = (renew.cloned(), deadline.left());
        let work = move |inner: &mut Inner| inner.look(renew.as_ref(), span, clock::now());
        match self.run(deadline.for_disk(true), work).await {
            Ok(Ok(lease)) => lease,
            Ok(Err(why)) | Err(why) => {
                reading::Lease { trouble: Untrusted::new(&why), ..reading::Lease::default() }
            }
        }
    }

    /// On a thread of its own: a disk may hang. One such thread is enough.
    async fn run<T: Send + 'static>(
        &self,
        patience: Duration,
        work: impl FnOnce(&mut Inner) -> T + Send + 'static,
    ) -> Result<T, String> {
        let inner = Arc::clone(&self.inner);
        let task = tokio::task::spawn_blocking(move || {
            let mut inner = inner
                .try_lock()
                .map_err(|_| "the disk still holds up an earlier look at the lease".to_owned())?;
            Ok(work(&mut inner))
        });
        match tokio::time::timeout(patience, task).await {
            Ok(Ok(result)) => result,
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("the disk of the lease did not answer in time".to_owned()),
        }
    }
}

/// A claim that passed.
struct Passed {
    /// Another engine's write was under way.
    writing: bool,
    trouble: String,
}

impl Inner {
    fn take(
        &mut self,
        fence: Fence,
        claim: &Claim,
        budget: Duration,
        now: Now,
    ) -> Result<Passed, Refusal> {
        let mut passed = Passed { writing: false, trouble: String::new() };
        let span = TTL.max(budget + AFTER_WRITE);
        let mut locks = match file::open_all(&self.places) {
            Ok(locks) => locks,
            Err(why) if claim.emergency => {
                passed.trouble = format!("another engine cannot see this write: {why}");
                return Ok(passed);
            }
            Err(why) => {
                let why = format!("cannot keep the lease: {why}; nothing was sent");
                return Err(Refusal { why, newer: None });
            }
        };
        for lock in &locks {
            self.check(&lock.state, fence, claim, now)?;
        }
        for lock in &mut locks {
            let raised = fence > lock.state.fence;
            lock.state.fence = fence;
            lock.state.by = self.own.by();
            if let Some(write) = lock.state.writing.take()
                && write.by.key != self.own.key
                && self.runs(&write, now)
            {
                passed.writing = true;
                lock.state.others = Some(write);
            }
            lock.state.writing = Some(self.own.beat("", budget, now));
            lock.state.holder = Some(self.own.beat(&claim.doing, span, now));
            if let Err(why) = lock.store(raised) {
                if !claim.emergency {
                    let why = format!("cannot keep the lease: {why}; nothing was sent");
                    return Err(Refusal { why, newer: None });
                }
                passed.trouble = format!("another engine may not see this write: {why}");
            }
        }
        Ok(passed)
    }

    fn check(
        &mut self,
        state: &State,
        fence: Fence,
        claim: &Claim,
        now: Now,
    ) -> Result<(), Refusal> {
        let mine = state.by.key == self.own.key || state.by.key.is_empty();
        if fence < state.fence || (fence == state.fence && !mine && fence > Fence(0)) {
            let by = if mine { String::new() } else { format!(" of {}", state.by.who) };
            let why = format!("fence {fence} is older than {}{by}: superseded", state.fence);
            return Err(Refusal { why, newer: Some(state.fence) });
        }
        let Some((beat, left)) = self.foreign(state, now).filter(|_| !claim.emergency) else {
            return Ok(());
        };
        let until = now.wall + chrono::TimeDelta::from_std(left).unwrap_or_default();
        let until = until.format("%H:%M:%SZ");
        let why = format!("held by {} ({}) until {until}", beat.by.who, beat.doing);
        Err(Refusal { why, newer: None })
    }

    /// Another engine's claim that still holds, and for how long.
    fn foreign(&mut self, state: &State, now: Now) -> Option<(Beat, Duration)> {
        let beat = state.holder.as_ref().filter(|beat| beat.by.key != self.own.key)?;
        let left = self.left(beat, now);
        (!left.is_zero()).then(|| (beat.clone(), left))
    }

    fn left(&mut self, beat: &Beat, now: Now) -> Duration {
        let span = Duration::from_millis(beat.span_ms).min(LEFT_MAX);
        if beat.boot == self.own.boot {
            return Time(beat.until_us).since(now.mono).min(span);
        }
        // Another host: its wall clock only tells what is long over. What is not counts from when
        // it was first seen here.
        if now.wall - beat.until > SKEW_MAX {
            return Duration::ZERO;
        }
        let first = match &self.seen {
            Some((seen, at)) if seen == beat => *at,
            Some(_) | None => {
                self.seen = Some((beat.clone(), now.mono));
                now.mono
            }
        };
        span.saturating_sub(now.mono.since(first))
    }

    /// A write that may still land: its engine has time for it.
    fn runs(&self, write: &Beat, now: Now) -> bool {
        write.boot != self.own.boot || Time(write.until_us) > now.mono
    }

    fn others_write(&mut self) -> bool {
        let now = clock::now();
        let states = self.places.iter().filter_map(|place| place.peek().ok().flatten());
        states.filter_map(|state| state.others).any(|write| self.runs(&write, now))
    }

    fn wrote(&mut self, now: Now) -> Result<(), String> {
        for lock in &mut file::open_existing(&self.places)? {
            let State { writing, others, holder, .. } = &mut lock.state;
            let own = |write: &mut Beat| write.by.key == self.own.key;
            let ended = writing.take_if(own).is_some();
            if others.take_if(own).is_none() && !ended {
                continue;
            }
            if let Some(beat) = holder.as_mut().filter(|beat| beat.by.key == self.own.key) {
                *beat = self.own.beat(&beat.doing, TTL, now);
            }
            lock.store(false)?;
        }
        Ok(())
    }

    fn look(
        &mut self,
        renew: Option<&Claim>,
        budget: Duration,
        now: Now,
    ) -> Result<reading::Lease, String> {
        let span = TTL.max(budget + AFTER_WRITE);
        let mut lease = reading::Lease { fenced: true, ..reading::Lease::default() };
        for state in self.refresh(renew, span, now)? {
            let other = state.by.key != self.own.key && !state.by.key.is_empty();
            if other && lease.other.as_ref().is_none_or(|(fence, _)| *fence < state.fence) {
                lease.other = Some((state.fence, Untrusted::new(&state.by.who)));
            }
            if let Some((beat, left)) = self.foreign(&state, now) {
                lease.holder = Some(reading::Holder {
                    who: Untrusted::new(&beat.full_name()),
                    doing: Untrusted::new(&beat.doing),
                    left,
                });
            }
        }
        Ok(lease)
    }

    /// The states as they are, after ours was renewed or given up where that changes anything.
    fn refresh(
        &mut self,
        renew: Option<&Claim>,
        span: Duration,
        now: Now,
    ) -> Result<Vec<State>, String> {
        let mut states = Vec::new();
        for place in &self.places {
            states.extend(place.peek()?);
        }
        let key = self.own.key.clone();
        let own = |state: &State| state.holder.as_ref().is_some_and(|beat| beat.by.key == key);
        if renew.is_none() && !states.iter().any(own) {
            return Ok(states);
        }
        let locks = match renew {
            Some(_) => file::open_all(&self.places)?,
            None => file::open_existing(&self.places)?,
        };
        let mut after = Vec::new();
        for mut lock in locks {
            let free = self.foreign(&lock.state, now).is_none();
            match renew {
                Some(claim) if free => {
                    lock.state.holder = Some(self.own.beat(&claim.doing, span, now));
                    lock.store(false)?;
                }
                None if own(&lock.state) => {
                    lock.state.holder = None;
                    lock.store(false)?;
                }
                Some(_) | None => {}
            }
            after.push(lock.state);
        }
        Ok(after)
    }
}

/// Where the lease of a router on this host is kept: beside `target`, or in the runtime directory
/// under a name that both engines find.
#[must_use]
pub fn places(target: &Path, what: &str) -> Vec<Place> {
    let dir = target.parent().unwrap_or(Path::new("."));
    let dir = std::fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
    let name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let beside = match what {
        "" => dir.join(format!(".{name}.lease")),
        what => dir.join(format!(".{name}.{what}.lease")),
    };
    let whole = format!("{}\0{what}", dir.join(&name).display());
    let hash = engine::record::sha256_hex(whole.as_bytes());
    let shared = runtime_dir().join(format!("quarterdeck-{}.lease", &hash[..32]));
    vec![Place::new(beside, dir), Place::new(shared, target.to_owned())]
}

/// One file, where the configuration says.
#[must_use]
pub fn place(path: &Path) -> Vec<Place> {
    let dir: PathBuf = path.parent().unwrap_or(Path::new(".")).to_owned();
    vec![Place::new(path.to_owned(), dir)]
}

#[cfg(test)]
mod tests;
