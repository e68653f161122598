//! Whole latency distributions, where a histogram exists.
//!
//! Decides whether the canary is slower at any bucket border. Never says PASS: a band that
//! does not part is no proof of equality. Contract: pure; at most [`BORDERS_MAX`] borders; one
//! state for each step, because the mixture over time is the same in both arms only while the
//! split stands.
//!
//! Time-uniform band around an empirical distribution (Howard & Ramdas 2022, "Sequential estimation
//! of quantiles with applications to A/B testing and best-arm identification", theorem 2): with a
//! chance of at least 1 - α, at all `n ≥ m` at once, it is nowhere further from the true one than
//!
//! ```text
//! f(n) = 0.85 sqrt((ln(1 + ln(n/m)) + C) / n),   C = 0.8 ln(1612/α)
//! ```
//!
//! With α/2 for each arm: slower at border `x` when `Fc(x) + f(n_c) < Fs(x) - f(n_s)`, where `F` is
//! the part of the requests that took at most `x`. Weak in the tail: the requests slower than a
//! threshold, counted and compared, see a p99 far earlier.

use serde::{Deserialize, Serialize};

use super::evidence::settled;

/// Borders of a histogram that are used: more than any shipped default, soon scanned.
pub const BORDERS_MAX: usize = 64;
/// The band holds from so many requests on; with fewer it is wider than 0.27 anyway.
const REQUESTS_MIN: f64 = 100.0;
/// Quantiles that a sentence may name, in percent.
const QUANTILES: [f64; 5] = [50.0, 75.0, 90.0, 95.0, 99.0];

/// What one arm's histogram gained since the last look.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// Requests that took at most each border, in the order of the borders.
    pub within: Vec<f64>,
    /// All requests.
    pub total: f64,
}

/// Both arms' distributions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Milliseconds, ascending, finite.
    borders: Vec<f64>,
    stable: Histogram,
    canary: Histogram,
}

/// How the canary is slower, at the sure end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Slower {
    /// The border, in milliseconds, where the bands are furthest apart.
    pub border_ms: f64,
    /// At most this part of the canary's requests is within it, in 0 to 1.
    pub canary_at_most: f64,
    /// At least this part of stable's.
    pub stable_at_least: f64,
    /// A quantile (in percent) and by how many milliseconds it is slower at least; `None` where
    /// the borders are too far apart to tell.
    pub quantile: Option<(f64, f64)>,
}

impl Histogram {
    fn empty(borders: usize) -> Histogram {
        Histogram { within: vec![0.0; borders], total: 0.0 }
    }

    fn fits(&self, borders: usize) -> bool {
        let sound = |value: &f64| value.is_finite() && *value >= 0.0;
        self.within.len() == borders && self.within.iter().all(sound) && sound(&self.total)
    }

    /// Buckets of one look may have been read a moment apart: a count never falls, nor exceeds all.
    fn add(&mut self, more: &Histogram) {
        let mut highest = 0.0_f64;
        for (sum, count) in self.within.iter_mut().zip(&more.within) {
            highest = highest.max(*count).min(more.total);
            *sum = settled(*sum + highest);
        }
        self.total = settled(self.total + more.total);
    }
}

impl Latency {
    /// `None` unless the borders (milliseconds) ascend, are finite, and at most [`BORDERS_MAX`].
    #[must_use]
    pub fn new(borders_ms: Vec<f64>) -> Option<Latency> {
        let count = borders_ms.len();
        let sound = (1..=BORDERS_MAX).contains(&count)
            && borders_ms.iter().all(|border| border.is_finite())
            && borders_ms.windows(2).all(|pair| pair[0] < pair[1]);
        sound.then(|| Latency {
            borders: borders_ms,
            stable: Histogram::empty(count),
            canary: Histogram::empty(count),
        })
    }

    /// Takes what both arms did since the last look; false, and nothing taken, where it does not
    /// fit the borders or a count is no count.
    pub fn observe(&mut self, stable: &Histogram, canary: &Histogram) -> bool {
        let borders = self.borders.len();
        if !(stable.fits(borders) && canary.fits(borders)) {
            return false;
        }
        self.stable.add(stable);
        self.canary.add(canary);
        true
    }

    /// Requests seen of stable and canary.
    #[must_use]
    pub fn requests(&self) -> (f64, f64) {
        (self.stable.total, self.canary.total)
    }

    /// Is the canary slower, and by what? `None` while that is not sure at α.
    #[must_use]
    pub fn slower(&self, alpha: f64) -> Option<Slower> {
        let lower = sure(&self.stable, -band(self.stable.total, alpha / 2.0)?);
        let upper = sure(&self.canary, band(self.canary.total, alpha / 2.0)?);
        let (place, gap) = lower
            .iter()
            .zip(&upper)
            .map(|(stable, canary)| stable - canary)
            .enumerate()
            .max_by(|a, b| a.1.total_cmp(&b.1))?;
        (gap > 0.0).then(|| Slower {
            border_ms: self.borders[place],
            canary_at_most: upper[place],
            stable_at_least: lower[place],
            quantile: self.quantile(&lower, &upper),
        })
    }

    /// The canary's quantile is above every border that surely fewer of its requests keep; that of
    /// stable is at most the first that surely so many keep.
    fn quantile(&self, lower: &[f64], upper: &[f64]) -> Option<(f64, f64)> {
        let by = |percent: f64| {
            let q = percent / 100.0;
            let stable = lower.iter().position(|part| *part >= q)?;
            let canary = upper.iter().rposition(|part| *part < q)?;
            let by = self.borders[canary] - self.borders[stable];
            (by > 0.0).then_some((percent, by))
        };
        QUANTILES.into_iter().filter_map(by).max_by(|a, b| a.1.total_cmp(&b.1))
    }
}

/// Half the height of the band; `None` below its first `n`.
fn band(n: f64, alpha: f64) -> Option<f64> {
    let c = 0.8 * (1612.0 / alpha).ln();
    (n >= REQUESTS_MIN).then(|| 0.85 * (((n / REQUESTS_MIN).ln().ln_1p() + c) / n).sqrt())
}

fn sure(arm: &Histogram, shift: f64) -> Vec<f64> {
    arm.within.iter().map(|count| (count / arm.total + shift).clamp(0.0, 1.0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALPHA: f64 = 0.01;

    fn histogram(within: [f64; 5], total: f64) -> Histogram {
        Histogram { within: within.to_vec(), total }
    }

    fn after(stable: &Histogram, canary: &Histogram) -> Latency {
        let mut latency =
            Latency::new(vec![10.0, 25.0, 50.0, 100.0, 250.0]).expect("ascending borders");
        assert!(latency.observe(stable, canary));
        latency
    }

    #[test]
    fn the_band_is_that_of_the_paper() {
        let check = |n: f64, expected: f64| {
            let found = band(n, 0.005).expect("above the first");
            assert!((found - expected).abs() < 5e-4, "{n}: {found}");
        };
        check(100.0, 0.85 * (0.1 * 1.0147_f64).sqrt());
        check(10_000.0, 0.029_2);
        assert_eq!(band(99.0, 0.005), None);
    }

    #[test]
    fn a_slower_canary_is_seen_with_its_figure() {
        let stable = histogram([2000.0, 8000.0, 9500.0, 9900.0, 10_000.0], 10_000.0);
        let canary = histogram([100.0, 500.0, 1000.0, 1900.0, 2000.0], 2000.0);
        let slower = after(&stable, &canary).slower(ALPHA).expect("it is slower");
        assert!((slower.border_ms - 25.0).abs() < 1e-9);
        assert!(slower.canary_at_most < 0.33 && slower.stable_at_least > 0.76, "{slower:?}");
        // Stable's p75 is at most 25 ms, the canary's more than 50.
        assert_eq!(slower.quantile, Some((75.0, 25.0)));
    }

    #[test]
    fn equal_or_faster_or_few_is_not_slower() {
        let usual = histogram([2000.0, 8000.0, 9500.0, 9900.0, 10_000.0], 10_000.0);
        let faster = histogram([9000.0, 9900.0, 10_000.0, 10_000.0, 10_000.0], 10_000.0);
        let slow = histogram([0.0, 0.0, 0.0, 0.0, 90.0], 90.0);
        for canary in [usual.clone(), faster, slow] {
            assert_eq!(after(&usual, &canary).slower(ALPHA), None);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for odd in [vec![], vec![2.0, 1.0], vec![1.0, f64::INFINITY], vec![0.0; BORDERS_MAX + 1]] {
            assert_eq!(Latency::new(odd), None);
        }
        let usual = histogram([1.0, 2.0, 3.0, 4.0, 5.0], 5.0);
        let mut latency = after(&usual, &usual);
        let before = latency.clone();
        let short = Histogram { within: vec![1.0], total: 1.0 };
        let odd = histogram([1.0, f64::NAN, 3.0, 4.0, 5.0], 5.0);
        assert!(!latency.observe(&usual, &short) && !latency.observe(&odd, &usual));
        assert_eq!(latency, before);
    }

    #[test]
    fn counts_read_a_moment_apart_are_put_in_order() {
        let torn = histogram([5.0, 3.0, 9.0, 12.0, 8.0], 10.0);
        let latency = after(&torn, &torn);
        assert_eq!(latency.canary.within, [5.0, 5.0, 9.0, 10.0, 10.0]);
    }
}
