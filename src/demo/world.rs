//! What is true in the sandbox: faults, splits, and what each version served.
//!
//! Decides which version gets the next request and which request fails. Never opens a socket.
//! Contract: every figure that the sandbox's pages show is counted here, where it happens.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::{Counters, Fault};

/// The service whose canary the canary faults break: the one with a release in flight.
pub const BROKEN: &str = "checkout";

/// Upper bounds of the histogram in seconds, as they stand on the page.
pub const BUCKETS: [(f64, &str); 9] = [
    (0.005, "0.005"),
    (0.01, "0.01"),
    (0.025, "0.025"),
    (0.05, "0.05"),
    (0.1, "0.1"),
    (0.5, "0.5"),
    (1.0, "1"),
    (2.5, "2.5"),
    (5.0, "5"),
];

/// Alerts and health look at the last seconds only, so that they come and go with the fault.
const ERROR_WINDOW: Duration = Duration::from_secs(5);

/// Shorter: while a slow request is under way nothing else ends, so two seconds show it alone.
const LATENCY_WINDOW: Duration = Duration::from_secs(2);

/// A rate of fewer requests than this says nothing; a 10 % canary serves ten in the window.
const REQUESTS_MIN: usize = 5;

/// More served requests than this in the window are forgotten, oldest first.
const RECENT_MAX: usize = 4096;

/// The share of requests that the error fault lets fail.
const FAULT_ERROR_PERCENT: u32 = 20;

/// What the latency fault adds.
pub const FAULT_LATENCY: Duration = Duration::from_secs(2);

/// Locks, also after a panic elsewhere: every value here is whole between two statements.
pub fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Which faults are on, in the order of [`Fault::ALL`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults([bool; Fault::ALL.len()]);

impl Faults {
    pub fn is_on(self, fault: Fault) -> bool {
        self.0[fault as usize]
    }
    pub fn set(&mut self, fault: Fault, on: bool) {
        self.0[fault as usize] = on;
    }
}

/// How a service words its health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    HealthJson,
    AspNet,
    Spring,
}

pub struct Service {
    pub name: &'static str,
    pub format: Format,
    /// Without the database it can neither work nor be healthy.
    pub needs_database: bool,
    pub balance: Mutex<Balance>,
    /// Stable, canary.
    pub versions: [Version; 2],
}

pub struct Version {
    pub name: &'static str,
    pub address: SocketAddr,
    pub tally: Mutex<Tally>,
}

/// Smooth weighted round robin: exact over every hundred picks, and spread within it.
#[derive(Clone, Copy, Debug)]
pub struct Balance {
    weights: [u8; 2],
    current: [i32; 2],
}

impl Balance {
    pub fn new(canary: u8) -> Balance {
        Balance { weights: [100 - canary, canary], current: [0, 0] }
    }

    /// The shares in percent: stable, canary.
    pub fn split(self) -> (u8, u8) {
        (self.weights[0], self.weights[1])
    }

    /// The place of the version that gets the next request.
    pub fn pick(&mut self) -> usize {
        for (current, weight) in self.current.iter_mut().zip(self.weights) {
            *current += i32::from(weight);
        }
        let place = usize::from(self.current[1] > self.current[0]);
        self.current[place] -= 100;
        place
    }
}

/// What one version served.
#[derive(Debug, Default)]
pub struct Tally {
    pub succeeded: u64,
    pub failed: u64,
    /// Requests in each bucket alone; the page adds them up.
    pub buckets: [u64; BUCKETS.len()],
    pub sum_s: f64,
    recent: VecDeque<Served>,
    /// Percent points owed to the error fault: deterministic, so that a test can count.
    debt: u32,
}

#[derive(Debug)]
struct Served {
    at: Instant,
    failed: bool,
    latency: Duration,
}

/// A version's last seconds; `None` where too few requests ended.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Recent {
    pub error_percent: Option<f64>,
    pub latency: Option<Duration>,
}

impl Tally {
    pub fn count(&self) -> u64 {
        self.succeeded + self.failed
    }

    pub fn record(&mut self, at: Instant, failed: bool, latency: Duration) {
        if failed {
            self.failed += 1;
        } else {
            self.succeeded += 1;
        }
        let seconds = latency.as_secs_f64();
        self.sum_s += seconds;
        if let Some(place) = BUCKETS.iter().position(|(bound, _)| seconds <= *bound) {
            self.buckets[place] += 1;
        }
        self.recent.push_back(Served { at, failed, latency });
        while self.recent.len() > RECENT_MAX
            || self.recent.front().is_some_and(|old| at - old.at > ERROR_WINDOW)
        {
            self.recent.pop_front();
        }
    }

    /// Whether the error fault takes this request; the first one after it starts is taken.
    pub fn owes_error(&mut self, fault: bool) -> bool {
        if !fault {
            self.debt = 100 - FAULT_ERROR_PERCENT;
            return false;
        }
        self.debt += FAULT_ERROR_PERCENT;
        let due = self.debt >= 100;
        if due {
            self.debt -= 100;
        }
        due
    }

    #[expect(clippy::cast_precision_loss, reason = "the window holds a few thousand requests")]
    pub fn recent(&self, now: Instant) -> Recent {
        let within = |window| self.recent.iter().filter(move |one| now - one.at <= window);
        let count = within(ERROR_WINDOW).count();
        let errors = within(ERROR_WINDOW).filter(|one| one.failed).count();
        let slow = within(LATENCY_WINDOW).count();
        let sum: Duration = within(LATENCY_WINDOW).map(|one| one.latency).sum();
        Recent {
            error_percent: (count >= REQUESTS_MIN).then(|| errors as f64 * 100.0 / count as f64),
            latency: u32::try_from(slow).ok().and_then(|slow| sum.checked_div(slow)),
        }
    }
}

pub struct World {
    pub faults: watch::Sender<Faults>,
    pub services: [Service; 3],
    /// What the control endpoints ask for.
    pub token: String,
    pub seen: Arc<Seen>,
}

/// What those who ask saw.
#[derive(Default)]
pub struct Seen {
    pub requests: AtomicU64,
    pub failed_requests: AtomicU64,
}

impl Seen {
    pub fn counters(&self) -> Counters {
        Counters {
            requests: self.requests.load(Ordering::Relaxed),
            failed_requests: self.failed_requests.load(Ordering::Relaxed),
        }
    }
}

impl World {
    pub fn is_on(&self, fault: Fault) -> bool {
        self.faults.borrow().is_on(fault)
    }

    pub fn service(&self, name: &str) -> Option<&Service> {
        self.services.iter().find(|service| service.name == name)
    }

    pub fn counters(&self) -> Counters {
        self.seen.counters()
    }

    /// Whether a canary fault is on for this version.
    pub fn canary_fault(&self, service: &Service, place: usize, fault: Fault) -> bool {
        place == 1 && service.name == BROKEN && self.is_on(fault)
    }

    /// Decides whether a request that a version is about to answer fails.
    pub fn request_fails(&self, service: &Service, place: usize) -> bool {
        let fault = self.canary_fault(service, place, Fault::CanaryErrors);
        let owed = locked(&service.versions[place].tally).owes_error(fault);
        owed || (service.needs_database && self.is_on(Fault::DatabaseDown))
    }
}

impl Version {
    pub fn record(&self, failed: bool, latency: Duration) {
        locked(&self.tally).record(Instant::now(), failed, latency);
    }

    pub fn recent(&self) -> Recent {
        locked(&self.tally).recent(Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_split(canary: u8) {
        let mut balance = Balance::new(canary);
        for _ in 0..3 {
            let picked: usize = (0..100).map(|_| balance.pick()).sum();
            assert_eq!(picked, usize::from(canary));
        }
    }

    #[test]
    fn every_hundred_picks_are_exact() {
        (0..=100).for_each(check_split);
    }

    #[test]
    fn picks_are_spread() {
        let mut balance = Balance::new(10);
        let picks: Vec<usize> = (0..100).map(|_| balance.pick()).collect();
        assert!(picks.chunks(10).all(|ten| ten.iter().sum::<usize>() == 1));
    }

    #[test]
    fn one_in_five_fails_beginning_with_the_first() {
        let mut tally = Tally::default();
        assert!(!tally.owes_error(false));
        let failed: Vec<bool> = (0..10).map(|_| tally.owes_error(true)).collect();
        assert_eq!(failed.iter().filter(|failed| **failed).count(), 2);
        assert!(failed[0]);
    }

    #[test]
    fn too_few_requests_have_no_rate() {
        let start = Instant::now();
        let mut tally = Tally::default();
        assert_eq!(tally.recent(start), Recent::default());
        for _ in 0..4 {
            tally.record(start, true, Duration::from_secs(1));
        }
        assert_eq!(tally.recent(start).error_percent, None);
        tally.record(start, false, Duration::from_secs(1));
        assert_eq!(tally.recent(start).error_percent, Some(80.0));
        let later = start + Duration::from_secs(6);
        assert_eq!(tally.recent(later), Recent::default());
    }
}
