//! Two proportions, whatever their size.
//!
//! Decides whether the canary's part of events is above stable's where events are common: from
//! about one request in ten on, a [`super::Comparison`] is valid but slow, because it takes the
//! split of events for wider than it is. Never says PASS. Contract: pure; eight numbers of state;
//! meant beside a comparison, as a signal of its own when α is divided.
//!
//! For each look with requests in both arms (a: stable, b: canary; `y` events of `n` requests),
//!
//! ```text
//! E *= pa^ya (1-pa)^(na-ya) pb^yb (1-pb)^(nb-yb) / (p0^y (1-p0)^(n-y))    p0 = (na pa + nb pb)/n
//! ```
//!
//! with `pa`, `pb` from *earlier* looks, `(y + 0.18)/(n + 0.36)` (Turner, Ly & Grünwald, "Generic
//! e-variables for exact sequential k-sample tests"). A look is only bet on when the estimate says
//! `pb > pa`: then the factor rises with `yb` and falls with `ya`, so it is an e-value against
//! "the canary has at most stable's part", not only against equality.

use serde::{Deserialize, Serialize};

use super::Counts;
use super::comparison::{FAIL_EVENTS_MIN, FAIL_LOOKS_MIN};
use super::evidence::{e_value, settled, threshold};

/// Events and requests that each estimate starts from.
const PRIOR: (f64, f64) = (0.18, 0.36);

/// The evidence of one signal so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Proportions {
    ln_e: f64,
    stable: Counts,
    canary: Counts,
    /// Looks with events of the canary.
    looks: u32,
}

impl Proportions {
    /// Takes what both arms did since the last look; false, and nothing taken, where a count is no
    /// count. A look without requests in one arm only improves the estimate of the other.
    pub fn observe(&mut self, stable: Counts, canary: Counts) -> bool {
        if !(stable.is_sound() && canary.is_sound()) {
            return false;
        }
        let (a, b) = (stable.bounded(), canary.bounded());
        let (pa, pb) = (estimate(self.stable), estimate(self.canary));
        if a.requests > 0.0 && b.requests > 0.0 && pb > pa {
            let p0 = (a.requests * pa + b.requests * pb) / (a.requests + b.requests);
            self.ln_e = settled(self.ln_e + gain(a, pa, p0) + gain(b, pb, p0));
        }
        self.stable = self.stable.plus(a);
        self.canary = self.canary.plus(b);
        if b.events > 0.0 {
            self.looks = self.looks.saturating_add(1);
        }
        true
    }

    #[must_use]
    pub fn ln_e_fail(&self) -> f64 {
        self.ln_e
    }

    /// Evidence that the canary has more than stable's part of events.
    #[must_use]
    pub fn e_fail(&self) -> f64 {
        e_value(self.ln_e)
    }

    #[must_use]
    pub fn fails(&self, alpha: f64) -> bool {
        self.canary.events >= FAIL_EVENTS_MIN
            && self.looks >= FAIL_LOOKS_MIN
            && self.ln_e >= threshold(alpha)
    }
}

fn estimate(seen: Counts) -> f64 {
    (seen.events + PRIOR.0) / (seen.requests + PRIOR.1)
}

fn gain(arm: Counts, p: f64, p0: f64) -> f64 {
    arm.events * (p / p0).ln() + (arm.requests - arm.events) * ((-p).ln_1p() - (-p0).ln_1p())
}

#[cfg(test)]
mod tests {
    use super::super::Comparison;
    use super::*;

    fn check(looks: u32, stable: [f64; 2], canary: [f64; 2]) -> Proportions {
        let counts = |[requests, events]: [f64; 2]| Counts { requests, events };
        let mut proportions = Proportions::default();
        for _ in 0..looks {
            assert!(proportions.observe(counts(stable), counts(canary)));
        }
        proportions
    }

    #[test]
    fn common_events_are_told_apart() {
        assert!(check(20, [50.0, 15.0], [50.0, 30.0]).fails(0.01));
        assert!(!check(200, [50.0, 15.0], [50.0, 15.0]).fails(0.01));
        assert!(!check(200, [50.0, 30.0], [50.0, 15.0]).fails(0.01), "better is no fail");
        assert!(!check(1, [50.0, 0.0], [50.0, 50.0]).fails(0.01), "nothing was known before");
        assert!(check(500, [50.0, 0.0], [50.0, 50.0]).e_fail().is_finite());
    }

    #[test]
    fn it_is_stronger_than_the_split_where_events_are_common() {
        let looks = |fails: &dyn Fn(u32) -> bool| (1..1000).find(|n| fails(*n)).unwrap_or(1000);
        let (stable, canary) = ([50.0, 40.0], [50.0, 47.0]);
        let exact = looks(&|n| check(n, stable, canary).fails(0.01));
        let split = looks(&|n| {
            let mut comparison = Comparison::new(0.0, 2.0);
            for _ in 0..n {
                comparison.observe(
                    Counts { requests: 50.0, events: 40.0 },
                    Counts { requests: 50.0, events: 47.0 },
                );
            }
            comparison.fails(0.01)
        });
        assert!(exact * 3 < split, "{exact} {split}");
    }

    #[test]
    fn what_is_no_count_is_refused() {
        let mut proportions = check(3, [10.0, 1.0], [10.0, 2.0]);
        let before = proportions.clone();
        let odd = Counts { requests: f64::NAN, events: 0.0 };
        assert!(!proportions.observe(odd, Counts::default()));
        assert_eq!(proportions, before);
    }
}
