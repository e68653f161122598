//! One simulated router and its only writer.
//!
//! Decides what becomes of a write and what a read shows. Contract: the writer refuses a fence
//! lower than it has seen, in every life of the engine; what it let through may land late.

use std::time::Duration;

use engine::reading::SplitReading;
use engine::types::{Percent, Weights};

use crate::rng::Rng;

/// Latest that a write lands after it was sent.
const LATE_MS_MAX: u64 = 8_000;

/// How often each fault strikes, in a thousand.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rates {
    pub reject: u64,
    pub hang: u64,
    pub late: u64,
    pub lie: u64,
    pub unreadable: u64,
    /// The file of the fence cannot be written.
    pub unfenced: u64,
    /// The file of the fence takes all the time there is: it may be written, the router is not.
    pub slow_fence: u64,
}

impl Rates {
    pub fn draw(rng: &mut Rng) -> Rates {
        let mut rate = || if rng.chance(400) { rng.pick(&[50, 150, 300, 600]) } else { 0 };
        Rates {
            reject: rate(),
            hang: rate(),
            late: rate(),
            lie: rate(),
            unreadable: rate(),
            unfenced: rate() / 3,
            slow_fence: rate() / 3,
        }
    }
}

/// What will become of a write.
pub struct Fate {
    /// When it lands, from now; `None` when it never does.
    pub lands: Option<Duration>,
    pub reply: Answer,
    /// When the reply comes, from now.
    pub after: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Applied,
    Rejected,
    Unknown,
}

pub struct Router {
    pub service: usize,
    pub name: String,
    pub actual: Weights,
    /// Whether its configuration carries the fence of the write that made it.
    pub carries: bool,
    pub carried: Option<u64>,
    /// The writer's own durable file.
    pub fence_max: u64,
    pub rates: Rates,
    /// Of its other way to all traffic on stable, where it has one.
    pub other_way: Rates,
    /// Everything it was since the last write was sent, oldest first.
    pub been: Vec<Weights>,
    /// What the engine of this life was last told.
    #[expect(clippy::option_option, reason = "not told yet, or told that it cannot be read")]
    pub told: Option<Option<Weights>>,
    /// All that it ever was, with the fence it carried.
    past: Vec<(Weights, Option<u64>)>,
    pub in_flight: bool,
    pub sent_fence: u64,
    /// The last weights sent, for a world that forges readings.
    pub sent: Weights,
}

pub fn all_stable() -> Weights {
    Weights { a: Percent::FULL, b: Percent::ZERO }
}

impl Router {
    pub fn new(service: usize, name: String, carries: bool, rates: Rates) -> Router {
        Router {
            service,
            name,
            actual: all_stable(),
            carries,
            carried: None,
            fence_max: 0,
            rates,
            other_way: Rates::default(),
            been: vec![all_stable()],
            told: None,
            past: vec![(all_stable(), None)],
            in_flight: false,
            sent_fence: 0,
            sent: all_stable(),
        }
    }

    pub fn becomes(&mut self, weights: Weights, fence: Option<u64>) {
        self.actual = weights;
        self.carried = fence.filter(|_| self.carries);
        self.past.push((self.actual, self.carried));
        if self.been.last() != Some(&weights) {
            self.been.push(weights);
        }
    }

    /// As after a reload: it shows an earlier state, with the fence of that time.
    pub fn reverts(&mut self, rng: &mut Rng) {
        let (weights, fence) = rng.pick(&self.past);
        self.becomes(weights, fence);
    }

    /// The writer's check and the router's mood.
    pub fn write(&mut self, fence: u64, fallback: bool, budget: Duration, rng: &mut Rng) -> Fate {
        let soon = rng.millis(1, 30);
        if fence < self.fence_max {
            return Fate { lands: None, reply: Answer::Rejected, after: soon };
        }
        let rates = if fallback { self.other_way } else { self.rates };
        if fence > self.fence_max && rng.chance(rates.unfenced) {
            return Fate { lands: None, reply: Answer::Rejected, after: soon };
        }
        if fence > self.fence_max && rng.chance(rates.slow_fence) {
            if rng.chance(500) {
                self.fence_max = fence;
            }
            return Fate { lands: None, reply: Answer::Rejected, after: budget };
        }
        self.fence_max = self.fence_max.max(fence);
        if rng.chance(rates.reject) {
            return Fate { lands: None, reply: Answer::Rejected, after: soon };
        }
        if rng.chance(rates.hang) {
            let lands = rng.chance(500).then(|| rng.millis(0, LATE_MS_MAX));
            return Fate { lands, reply: Answer::Unknown, after: budget };
        }
        if rng.chance(rates.late) {
            let lands = Some(rng.millis(30, LATE_MS_MAX));
            return Fate { lands, reply: Answer::Applied, after: soon };
        }
        if rng.chance(rates.lie) {
            return Fate { lands: None, reply: Answer::Applied, after: soon };
        }
        let lands = Some(soon / 2);
        Fate { lands, reply: Answer::Applied, after: soon }
    }
}

/// What a reading of whole percents says.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the world's shares are whole percents"
)]
pub fn weights_of(reading: &SplitReading) -> Weights {
    let percent = |share: f64| Percent::new(share.round() as u8).expect("a percent");
    Weights { a: percent(reading.a), b: percent(reading.b) }
}
