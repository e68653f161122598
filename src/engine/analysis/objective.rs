//! The canary alone against its own objective.
//!
//! Decides whether the canary's rate of events is below (or above) an absolute rate `p0`. Never
//! looks at stable: it needs no control arm, and so sees no common cause. Contract: pure; the
//! counts of the canary are the whole state, because `p0` does not move.
//!
//! With `n` requests and `x` events so far, both valid at every look (a mean of likelihood ratios
//! of a monotone family):
//!
//! ```text
//! E_abs = mean_j (p1_j/p0)^x ((1-p1_j)/(1-p0))^(n-x)    p1_j = p0 exp(-0.3 j), j = 1..16   PASS
//! and, where the objective is the control, above p0' = (1 + tol) p0, with p1_j in odds:
//! E_up  = mean_j (p1_j/p0')^x ((1-p1_j)/(1-p0'))^(n-x)  o1_j = o0' exp(0.15 j), j = 1..24  FAIL
//! ```

use serde::{Deserialize, Serialize};

use super::Counts;
use super::comparison::{FAIL_BETS, FAIL_EVENTS_MIN};
use super::evidence::{e_value, least, ln_mean_exp, threshold};

const PASS_BETS: u32 = 16;
const PASS_GRID: f64 = 0.3;
const FAIL_GRID: f64 = 0.15;

/// The canary's counts against the objective.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Objective {
    /// The rate of events allowed, in 0 to 1 (not percent).
    p0: f64,
    seen: Counts,
}

impl Objective {
    /// `None` for a rate that is none: it must lie between 0 and 1, without them.
    #[must_use]
    pub fn new(p0: f64) -> Option<Objective> {
        (p0 > 0.0 && p0 < 1.0).then(|| Objective { p0, seen: Counts::default() })
    }

    /// Takes what the canary did since the last look; false, and nothing taken, where a count is
    /// no count. Events beyond the requests count as so many requests.
    pub fn observe(&mut self, canary: Counts) -> bool {
        if !canary.is_sound() {
            return false;
        }
        self.seen = self.seen.plus(canary);
        true
    }

    /// The rate of events allowed, in 0 to 1.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.p0
    }

    #[must_use]
    pub fn seen(&self) -> Counts {
        self.seen
    }

    #[must_use]
    pub fn ln_e_pass(&self) -> f64 {
        self.ln_e_below(self.seen)
    }

    /// Evidence that the canary keeps its objective.
    #[must_use]
    pub fn e_pass(&self) -> f64 {
        e_value(self.ln_e_pass())
    }

    #[must_use]
    pub fn passes(&self, beta: f64) -> bool {
        self.ln_e_pass() >= threshold(beta)
    }

    #[must_use]
    pub fn ln_e_fail(&self, tol: f64) -> f64 {
        self.ln_e_above(self.seen, tol)
    }

    /// Evidence that the canary breaks its objective by more than `tol` of it.
    #[must_use]
    pub fn e_fail(&self, tol: f64) -> f64 {
        e_value(self.ln_e_fail(tol))
    }

    #[must_use]
    pub fn fails(&self, alpha: f64, tol: f64) -> bool {
        self.seen.events >= FAIL_EVENTS_MIN && self.ln_e_fail(tol) >= threshold(alpha)
    }

    /// Further requests until PASS when none of them has an event.
    #[must_use]
    pub fn more_without_events(&self, beta: f64) -> Option<f64> {
        least(|more| self.ln_e_below(self.after(more, 0.0)) >= threshold(beta))
    }

    /// Requests until PASS of a canary with this rate of events, with none seen yet.
    #[must_use]
    pub fn foresee_pass(&self, beta: f64, rate: f64) -> Option<f64> {
        if !(0.0..=1.0).contains(&rate) {
            return None;
        }
        least(|more| {
            let seen = Counts { requests: more, events: more * rate };
            self.ln_e_below(seen) >= threshold(beta)
        })
    }

    /// Further requests until PASS when events go on at the observed rate; `None` when they never
    /// would be enough, or nothing was seen.
    #[must_use]
    pub fn more_until_pass(&self, beta: f64) -> Option<f64> {
        let rate = self.seen.rate()?;
        least(|more| self.ln_e_below(self.after(more, rate)) >= threshold(beta))
    }

    /// Further requests until FAIL when events go on at the observed rate.
    #[must_use]
    pub fn more_until_fail(&self, alpha: f64, tol: f64) -> Option<f64> {
        let rate = self.seen.rate()?;
        least(|more| {
            let seen = self.after(more, rate);
            seen.events >= FAIL_EVENTS_MIN && self.ln_e_above(seen, tol) >= threshold(alpha)
        })
    }

    fn after(&self, more: f64, rate: f64) -> Counts {
        self.seen.plus(Counts { requests: more, events: more * rate })
    }

    fn ln_e_below(&self, seen: Counts) -> f64 {
        let p0 = self.p0;
        let rate = |j: u32| p0 * (-PASS_GRID * f64::from(j)).exp();
        ln_mean_exp((1..=PASS_BETS).map(|j| ln_ratio(seen, p0, rate(j))))
    }

    fn ln_e_above(&self, seen: Counts, tol: f64) -> f64 {
        // An allowance that leaves no room above it cannot be broken.
        let null = self.p0 * (1.0 + tol);
        if null >= 1.0 {
            return f64::NEG_INFINITY;
        }
        // In odds, so that the bets stay below one.
        let rate = |j: u32| {
            let odds = null / (1.0 - null) * (FAIL_GRID * f64::from(j)).exp();
            odds / (1.0 + odds)
        };
        ln_mean_exp((1..).take(FAIL_BETS).map(|j| ln_ratio(seen, null, rate(j))))
    }
}

/// The logarithm of the likelihood of `p1` to that of `p0`.
fn ln_ratio(seen: Counts, p0: f64, p1: f64) -> f64 {
    let seen = seen.bounded();
    seen.events * (p1 / p0).ln() + (seen.requests - seen.events) * ((-p1).ln_1p() - (-p0).ln_1p())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALPHA: f64 = 0.01;
    const BETA: f64 = 0.05;

    fn after(p0: f64, requests: f64, events: f64) -> Objective {
        let mut objective = Objective::new(p0).expect("a rate");
        assert!(objective.observe(Counts { requests, events }));
        objective
    }

    #[test]
    fn an_errorless_canary_needs_three_hundred_requests_for_one_percent() {
        let check = |p0: f64, from: f64, to: f64| {
            let needed = after(p0, 0.0, 0.0).more_without_events(BETA).expect("it passes");
            assert!((from..=to).contains(&needed), "{p0}: {needed}");
            assert!(after(p0, needed, 0.0).passes(BETA));
            assert!(!after(p0, needed - 4.0, 0.0).passes(BETA));
        };
        check(0.01, 280.0, 380.0);
        check(0.001, 2800.0, 3800.0);
    }

    #[test]
    fn errors_delay_the_pass_and_too_many_prevent_it() {
        let clean = after(0.01, 100.0, 0.0);
        let spotted = after(0.01, 100.0, 1.0);
        let need = |o: &Objective| o.more_without_events(BETA).expect("it passes");
        assert!(need(&spotted) > need(&clean));
        let good = after(0.01, 1000.0, 3.0);
        let more = good.more_until_pass(BETA).expect("it passes");
        assert!(after(0.01, 1000.0 + more, 3.0 + more * 0.003).passes(BETA));
        assert_eq!(after(0.01, 1000.0, 20.0).more_until_pass(BETA), None);
        assert_eq!(after(0.01, 0.0, 0.0).more_until_pass(BETA), None, "nothing seen");
    }

    #[test]
    fn a_broken_objective_fails() {
        assert!(after(0.01, 300.0, 30.0).fails(ALPHA, 0.1));
        assert!(!after(0.01, 3000.0, 30.0).fails(ALPHA, 0.1));
        assert!(!after(0.01, 5.0, 4.0).fails(ALPHA, 0.1), "four events");
        assert!(!after(0.95, 500.0, 500.0).fails(ALPHA, 0.1), "no room above");
        let more = after(0.01, 100.0, 3.0).more_until_fail(ALPHA, 0.1).expect("it fails");
        assert!(after(0.01, 100.0 + more, 3.0 + more * 0.03).fails(ALPHA, 0.1));
    }

    #[test]
    fn odd_rates_and_counts_are_refused() {
        for odd in [0.0, 1.0, -0.1, f64::NAN, f64::INFINITY] {
            assert_eq!(Objective::new(odd), None);
        }
        let mut objective = after(0.01, 10.0, 0.0);
        assert!(!objective.observe(Counts { requests: f64::NAN, events: 0.0 }));
        assert_eq!(objective, after(0.01, 10.0, 0.0));
        assert!(after(0.01, 10.0, 20.0).ln_e_pass().is_finite(), "more errors than requests");
    }
}
