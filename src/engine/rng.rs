//! The engine's own randomness: a seed in, a fixed sequence out.
//!
//! Decides nothing. Never used for secrets. Contract: the same seed gives the same sequence
//! (`SplitMix64`, public domain, by Sebastiano Vigna).

use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    #[must_use]
    pub fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A span in `[0, limit)`.
    pub fn up_to(&mut self, limit: Duration) -> Duration {
        let micros = u64::try_from(limit.as_micros()).unwrap_or(u64::MAX).max(1);
        Duration::from_micros(self.next_u64() % micros)
    }

    /// `interval` give or take a twentieth, so that pollers do not march in step.
    pub fn jitter(&mut self, interval: Duration) -> Duration {
        interval.mul_f64(0.95) + self.up_to(interval / 10)
    }
}
