//! Simulated releases: what both arms do each second, and what judges make of it.
//!
//! Decides the dice and the rules that the verdict is measured against. Contract: the same seed
//! gives the same stream; counts are drawn exactly (Poisson), never by a normal approximation.

use engine::analysis::{Comparison, Counts, Policy};

/// Percent of the traffic and seconds of each step of a release.
pub const STEPS: [(f64, u32); 4] = [(1.0, 600), (5.0, 600), (25.0, 600), (50.0, 600)];
/// One constant tenth, for as long as a slow signal needs.
pub const TENTH: [(f64, u32); 1] = [(10.0, 24 * 3600)];

/// `SplitMix64`, public domain, by Sebastiano Vigna.
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Rng {
        let mut rng = Rng(seed);
        // Neighbouring seeds start far apart.
        rng.0 = rng.next();
        rng
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In `(0, 1)`.
    fn uniform(&mut self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "52 bits fit")]
        let bits = (self.next() >> 12) as f64;
        (bits + 0.5) / 4_503_599_627_370_496.0
    }

    pub fn poisson(&mut self, mean: f64) -> f64 {
        if mean < 10.0 { self.poisson_few(mean) } else { self.poisson_many(mean) }
    }

    /// Knuth: as many factors as keep the product above `exp(-mean)`.
    fn poisson_few(&mut self, mean: f64) -> f64 {
        if mean <= 0.0 {
            return 0.0;
        }
        let floor = (-mean).exp();
        let (mut product, mut count) = (self.uniform(), 0.0);
        while product > floor {
            product *= self.uniform();
            count += 1.0;
        }
        count
    }

    /// Hörmann's transformed rejection with squeeze (PTRS, 1993).
    fn poisson_many(&mut self, mean: f64) -> f64 {
        let b = 0.931 + 2.53 * mean.sqrt();
        let a = -0.059 + 0.02483 * b;
        let inverse_alpha = 1.1239 + 1.1328 / (b - 3.4);
        let squeeze = 0.9277 - 3.6224 / (b - 2.0);
        loop {
            let place = self.uniform() - 0.5;
            let height = self.uniform();
            let edge = 0.5 - place.abs();
            let count = ((2.0 * a / edge + b) * place + mean + 0.43).floor();
            if edge >= 0.07 && height <= squeeze {
                return count;
            }
            if count < 0.0 || (edge < 0.013 && height > edge) {
                continue;
            }
            let log = (height * inverse_alpha / (a / (edge * edge) + b)).ln();
            if log <= count * mean.ln() - mean - ln_factorial(count) {
                return count;
            }
        }
    }
}

/// `ln k!`, by Stirling's series above the first few (exact to 1e-10 there).
fn ln_factorial(k: f64) -> f64 {
    if k < 9.5 {
        let mut product = 1.0;
        let mut factor = 2.0;
        while factor <= k {
            product *= factor;
            factor += 1.0;
        }
        return f64::ln(product);
    }
    let (x, inverse) = (k + 1.0, 1.0 / (k + 1.0));
    let square = inverse * inverse;
    let series = inverse * (1.0 / 12.0 - square * (1.0 / 360.0 - square / 1260.0));
    (x - 0.5) * x.ln() - x + 0.5 * (2.0 * std::f64::consts::PI).ln() + series
}

/// A service under release.
#[derive(Clone, Copy)]
pub struct Traffic {
    /// Requests a second, both arms.
    pub requests: f64,
    /// Errors for each request of stable.
    pub errors: f64,
    /// The canary's error rate over that of stable.
    pub ratio: f64,
    /// In the third minute of each ten, both arms fail so many times as often.
    pub outage: f64,
}

impl Traffic {
    /// One second of both arms. Errors and successes are drawn apart, so that requests are Poisson
    /// and errors binomial among them.
    fn second(&self, second: u32, percent: f64, rng: &mut Rng) -> (Counts, Counts) {
        let mut arm = |requests: f64, rate: f64| {
            let events = rng.poisson(requests * rate);
            Counts { requests: events + rng.poisson(requests * (1.0 - rate)), events }
        };
        let canary = self.requests * percent / 100.0;
        let errors = if second % 600 / 60 == 2 { self.errors * self.outage } else { self.errors };
        (arm(self.requests - canary, errors), arm(canary, errors * self.ratio))
    }
}

/// Looks once a second; true ends the release for this judge.
pub trait Judge {
    fn look(&mut self, second: u32, stable: Counts, canary: Counts) -> bool;
}

/// When a judge ended the release, and what it cost until then.
#[derive(Clone, Copy, Default)]
pub struct Ending {
    pub second: Option<u32>,
    /// Canary requests that failed beyond the rate of stable.
    pub harmed: f64,
}

/// One release before several judges, each until it ends it.
pub fn release(
    traffic: Traffic,
    steps: &[(f64, u32)],
    seed: u64,
    judges: &mut [&mut dyn Judge],
) -> Vec<Ending> {
    let mut rng = Rng::new(seed);
    let mut endings = vec![Ending::default(); judges.len()];
    let mut second = 0;
    for (percent, seconds) in steps {
        for _ in 0..*seconds {
            second += 1;
            let (stable, canary) = traffic.second(second, *percent, &mut rng);
            let mut open = false;
            for (judge, ending) in judges.iter_mut().zip(&mut endings) {
                if ending.second.is_some() {
                    continue;
                }
                ending.harmed += canary.events - traffic.errors * canary.requests;
                if judge.look(second, stable, canary) {
                    ending.second = Some(second);
                } else {
                    open = true;
                }
            }
            if !open {
                return endings;
            }
        }
    }
    endings
}

/// The verdict of the product: ends with FAIL.
pub struct Fails {
    comparison: Comparison,
    alpha: f64,
}

impl Fails {
    pub fn new(policy: &Policy) -> Fails {
        Fails { comparison: Comparison::new(policy.tol, policy.harm_errors), alpha: policy.alpha }
    }
}

impl Fails {
    /// "At least so many times stable", when it failed.
    pub fn at_least(&self) -> Option<f64> {
        self.comparison.at_least(self.alpha)
    }
}

impl Judge for Fails {
    fn look(&mut self, _: u32, stable: Counts, canary: Counts) -> bool {
        self.comparison.observe(stable, canary);
        self.comparison.fails(self.alpha)
    }
}

/// What one arm did in the minute that is under way.
#[derive(Default)]
struct Minute {
    stable: Counts,
    canary: Counts,
}

impl Minute {
    /// The whole minute, once it is over.
    fn add(&mut self, second: u32, stable: Counts, canary: Counts) -> Option<Minute> {
        for (sum, more) in [(&mut self.stable, stable), (&mut self.canary, canary)] {
            sum.requests += more.requests;
            sum.events += more.events;
        }
        second.is_multiple_of(60).then(|| std::mem::take(self))
    }
}

/// A threshold for the canary's error rate of each minute; ends when more than `limit` failed over
/// the whole run. Argo: one may fail, no requests pass. Flagger: four may, no requests fail.
pub struct Threshold {
    above: f64,
    limit: u32,
    no_data_fails: bool,
    failed: u32,
    minute: Minute,
}

impl Threshold {
    pub fn argo(above: f64) -> Threshold {
        let minute = Minute::default();
        Threshold { above, limit: 1, no_data_fails: false, failed: 0, minute }
    }

    pub fn flagger(above: f64) -> Threshold {
        Threshold { limit: 4, no_data_fails: true, ..Threshold::argo(above) }
    }
}

impl Judge for Threshold {
    fn look(&mut self, second: u32, stable: Counts, canary: Counts) -> bool {
        let Some(minute) = self.minute.add(second, stable, canary) else { return false };
        if minute.canary.rate().map_or(self.no_data_fails, |rate| rate > self.above) {
            self.failed += 1;
        }
        self.failed > self.limit
    }
}

/// The normal quantile of 0.99.
const RANKS_Z: f64 = 2.326;

/// Kayenta: the minutes' error rates of both arms by Mann and Whitney, at 98 % in both directions,
/// once every ten minutes.
#[derive(Default)]
pub struct Ranks {
    minute: Minute,
    stable: Vec<f64>,
    canary: Vec<f64>,
}

impl Judge for Ranks {
    fn look(&mut self, second: u32, stable: Counts, canary: Counts) -> bool {
        let Some(minute) = self.minute.add(second, stable, canary) else { return false };
        self.stable.extend(minute.stable.rate());
        self.canary.extend(minute.canary.rate());
        second.is_multiple_of(600) && z_of_ranks(&self.canary, &self.stable) > RANKS_Z
    }
}

/// Mann and Whitney's U as a normal deviate, with ties and continuity corrected; above zero when
/// `a` is above `b`.
fn z_of_ranks(a: &[f64], b: &[f64]) -> f64 {
    let count = |slice: &[f64]| f64::from(u32::try_from(slice.len()).expect("minutes are few"));
    let (na, nb) = (count(a), count(b));
    let n = na + nb;
    let mut all: Vec<f64> = a.iter().chain(b).copied().collect();
    all.sort_by(f64::total_cmp);
    let ties: f64 = all
        .chunk_by(|x, y| x.total_cmp(y).is_eq())
        .map(|tied| count(tied).powi(3) - count(tied))
        .sum();
    let wins = |x: f64| -> f64 {
        b.iter().map(|y| if x > *y { 1.0 } else { 0.5 * f64::from(u8::from(x >= *y)) }).sum()
    };
    let u: f64 = a.iter().map(|x| wins(*x)).sum();
    let variance = na * nb / 12.0 * (n + 1.0 - ties / (n * (n - 1.0)));
    if variance <= 0.0 { 0.0 } else { (u - na * nb / 2.0 - 0.5) / variance.sqrt() }
}

/// The middle one; `None` when more than half never ended.
pub fn median(seconds: impl Iterator<Item = Option<u32>>) -> Option<u32> {
    let mut all: Vec<u32> = seconds.map(|second| second.unwrap_or(u32::MAX)).collect();
    all.sort_unstable();
    all.get(all.len() / 2).copied().filter(|second| *second < u32::MAX)
}
