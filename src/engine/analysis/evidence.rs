//! Arithmetic of e-values, in logarithms.
//!
//! Decides nothing. Never leaves the logarithm, so that no amount of evidence overflows. Contract:
//! an *e-value* is a number whose mean is at most 1 while the null hypothesis holds, at every look;
//! by Ville's inequality it ever reaches 1/α with a chance of at most α.

/// Finest steps kept of a log-likelihood or a sum, in one. A multiple of such a step below a
/// million has at most 15 digits, so that it comes back from its JSON as the very same number.
const STEPS: f64 = 1e9;
/// Added and taken away, it leaves a number below 2^51 rounded: 1.5 · 2^52.
const ROUND: f64 = 6_755_399_441_055_744.0;

/// To the nearest step.
pub fn settled(value: f64) -> f64 {
    let steps = value * STEPS;
    // Beyond that the spacing of the numbers is wider than the step.
    if steps.abs() < 1e15 { ((steps + ROUND) - ROUND) / STEPS } else { value }
}

/// `ln(mean(exp(x)))`, by the greatest of them (log-sum-exp); of nothing, minus infinity.
pub fn ln_mean_exp(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let greatest = values.clone().fold(f64::NEG_INFINITY, f64::max);
    if !greatest.is_finite() {
        return greatest;
    }
    let (mut sum, mut count) = (0.0, 0.0);
    for value in values {
        sum += (value - greatest).exp();
        count += 1.0;
    }
    greatest + (sum / count).ln()
}

/// Does `ln(mean(exp(x)))` reach the threshold? A mean is at most the greatest, so that most looks
/// are answered without an exponential.
pub fn reaches(values: impl Iterator<Item = f64> + Clone, threshold: f64) -> bool {
    values.clone().any(|value| value >= threshold) && ln_mean_exp(values) >= threshold
}

/// The e-value of its logarithm, at most the greatest number there is.
pub fn e_value(ln_e: f64) -> f64 {
    ln_e.exp().min(f64::MAX)
}

/// `ln(1/level)`: what a logarithm must reach.
pub fn threshold(level: f64) -> f64 {
    -level.ln()
}

/// How far along the way to its threshold, in 0 to 1, for a bar.
#[must_use]
pub fn progress(ln_e: f64, level: f64) -> f64 {
    let part = ln_e / threshold(level);
    if part.is_nan() { 0.0 } else { part.clamp(0.0, 1.0) }
}

/// Further requests that an estimate may name; more is "no end in sight".
pub const MORE_MAX: f64 = 1e9;

/// The least `m` in 0 to [`MORE_MAX`] from which on `reached(m)` holds, to one part in a thousand.
/// `reached` may turn true once and never false again.
pub fn least(reached: impl Fn(f64) -> bool) -> Option<f64> {
    if reached(0.0) {
        return Some(0.0);
    }
    let (mut below, mut above) = (0.0, 1.0);
    while !reached(above) {
        below = above;
        above *= 2.0;
        if above > MORE_MAX {
            return None;
        }
    }
    while above - below > (above * 1e-3).max(0.5) {
        let middle = f64::midpoint(below, above);
        if reached(middle) {
            above = middle;
        } else {
            below = middle;
        }
    }
    Some(above.ceil())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_of_huge_numbers_is_found() {
        let mean = ln_mean_exp([1000.0, 1000.0, f64::NEG_INFINITY, 1000.0].into_iter());
        assert!((mean - (1000.0 + 0.75_f64.ln())).abs() < 1e-12, "{mean}");
        assert!(e_value(mean) > 1e308 && e_value(mean).is_finite());
        assert!(ln_mean_exp(std::iter::empty()) < f64::MIN);
    }

    #[test]
    fn a_threshold_is_reached_by_the_mean_alone() {
        let check = |values: [f64; 2], expected| {
            assert_eq!(reaches(values.into_iter(), 3.0), expected, "{values:?}");
        };
        check([2.9, 2.9], false);
        check([3.1, 0.0], false);
        check([3.1, 3.0], true);
        check([9.0, -9.0], true);
    }

    #[test]
    fn settled_numbers_survive_their_json() {
        let mut x = 0.1_f64;
        for _ in 0..2000 {
            x = (x * 1.37 + 0.011) % 90_000.0;
            for value in [settled(x), settled(-x)] {
                let text = serde_json::to_string(&value).expect("a number");
                let back: f64 = serde_json::from_str(&text).expect("a number");
                assert_eq!(value.to_bits(), back.to_bits(), "{text}");
            }
        }
    }

    #[test]
    fn the_least_is_found_or_given_up() {
        assert_eq!(least(|m| m >= 137.0), Some(137.0));
        assert_eq!(least(|_| true), Some(0.0));
        assert_eq!(least(|_| false), None);
    }
}
