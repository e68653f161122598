//! Canary against stable: is the canary's share of the events more than its share of the traffic?
//!
//! Decides between two ratios of event rates, at every look anew. Never uses a configured weight,
//! only the share that the requests themselves show, so that causes common to both arms cancel.
//! Contract: pure; the state has a fixed size, and equals itself after JSON.
//!
//! Of an event, seen while the canary had the share `w` of the requests, a canary with `r` times
//! the rate of stable is the source with probability `p(r) = w r / (1 - w + w r)`. So a look with
//! `x_c` events of the canary and `x_s` of stable moves the log-likelihood of `r` by
//!
//! ```text
//! L(r) += x_c ln p(r) + x_s ln(1 - p(r)) = x_c ln r - (x_c + x_s) ln(1 + w (r - 1)) + const
//! ```
//!
//! which is kept on a grid of ratios, less its value at the null `r_0`. The e-value against "at
//! most `r_0`" is `mean_j exp(L(r_0 exp(0.15 j)) - L(r_0))`, j = 1..24, that against "at least" has
//! `exp(-0.15 j)`, j = 1..16: likelihood ratios of a monotone family, valid at every look and under
//! every sequence of shares that does not look ahead. The nulls above `r_0` are tested likewise.
//! Events that are not rare split less widely than this (hypergeometric below binomial in convex
//! order), so it stays valid for them.

use serde::{Deserialize, Serialize};

use super::Counts;
use super::evidence::{e_value, least, ln_mean_exp, reaches, settled, threshold};

/// Ratios ahead of the null that the FAIL side bets on.
pub const FAIL_BETS: usize = 24;
/// Ratios ahead of the null that the PASS side bets on.
pub const PASS_BETS: usize = 16;
/// Distance of neighbouring bets, in logarithms.
const GRID: f64 = 0.15;
/// Nulls above the first for the "at least" figure: in steps of a third of the distance of bets,
/// so that the figure is coarse by a twentieth, up to `exp(3)`, some 20 times the tolerated ratio.
pub const LEAST_NULLS: usize = 60;
/// Events of the canary below which nothing fails: with fewer, one client can be the evidence.
pub const FAIL_EVENTS_MIN: f64 = 5.0;
/// Looks with events of the canary below which nothing fails: a burst inside one look is one
/// incident, however many requests it took (a retry storm).
pub const FAIL_LOOKS_MIN: u32 = 2;
/// Events of both arms that one look may count for; the events of a fuller look are scaled down,
/// by one factor for both arms. A power below 1 of a likelihood ratio has a mean below 1 too, so
/// the verdict stays valid, and dependent events (retries of one failure) weigh at most so much.
/// Higher than a look of a few seconds needs: at 100 events the smallest harm is clear in ten.
pub const EVENTS_PER_LOOK_MAX: f64 = 100.0;
/// Looks that may wait for a request in the other arm, as looks of one share: longer, and a cause
/// that came meanwhile (an outage of both) would be held against the arm that came back.
pub const WAITING_LOOKS_MAX: u32 = 60;
/// What is left of earlier looks in the recent share: it follows a step within some ten looks.
const RECENT_KEPT: f64 = 0.9;

/// The evidence of one signal (errors, slow requests) so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The ratio that FAIL rejects: `1 + tol`.
    null_fail: f64,
    /// The ratio that PASS rejects: the harm.
    null_pass: f64,
    /// `L(r_i) - L(r_0)` upwards from `null_fail`: the nulls, then the bets beyond the last null.
    above: Vec<f64>,
    /// `L(r_i) - L(r_0)` downwards from `null_pass`.
    below: Vec<f64>,
    stable: Counts,
    canary: Counts,
    /// Events that the canary would have at equal rates: the sum of share × events.
    expected: f64,
    /// Counts that wait for requests in both arms.
    pending: [Counts; 2],
    /// Looks in [`Self::pending`].
    waiting: u32,
    /// Requests of stable and canary lately, older ones faded.
    recent: [f64; 2],
    /// Looks with events of the canary.
    looks: u32,
}

impl Comparison {
    /// Against "at most `1 + tol` times stable" (FAIL) and "at least `harm` times" (PASS).
    #[must_use]
    pub fn new(tol: f64, harm: f64) -> Comparison {
        Comparison {
            null_fail: 1.0 + tol,
            null_pass: harm,
            above: vec![0.0; 1 + LEAST_NULLS + FAIL_BETS],
            below: vec![0.0; 1 + PASS_BETS],
            stable: Counts::default(),
            canary: Counts::default(),
            expected: 0.0,
            pending: [Counts::default(); 2],
            waiting: 0,
            recent: [0.0; 2],
            looks: 0,
        }
    }

    /// Takes what both arms did since the last look. A look without requests in one arm has no
    /// share: it waits for the next, at most [`WAITING_LOOKS_MAX`] times. False, and nothing
    /// taken, where a count is no count.
    pub fn observe(&mut self, stable: Counts, canary: Counts) -> bool {
        if !(stable.is_sound() && canary.is_sound()) {
            return false;
        }
        self.stable = self.stable.plus(stable);
        self.canary = self.canary.plus(canary);
        let [waiting_stable, waiting_canary] = self.pending;
        let block = [waiting_stable.plus(stable), waiting_canary.plus(canary)];
        self.pending = block;
        if block.iter().any(|arm| arm.requests <= 0.0) {
            self.waiting = self.waiting.saturating_add(1);
            if self.waiting >= WAITING_LOOKS_MAX {
                self.waiting = 0;
                self.pending = [Counts::default(); 2];
            }
            return true;
        }
        self.waiting = 0;
        self.pending = [Counts::default(); 2];
        let [stable, canary] = block.map(Counts::bounded);
        self.recent = [
            settled(self.recent[0] * RECENT_KEPT + stable.requests),
            settled(self.recent[1] * RECENT_KEPT + canary.requests),
        ];
        if stable.events + canary.events <= 0.0 {
            return true;
        }
        let share = canary.requests / (stable.requests + canary.requests);
        self.expected = settled(self.expected + share * (stable.events + canary.events));
        if canary.events > 0.0 {
            self.looks = self.looks.saturating_add(1);
        }
        let total = stable.events + canary.events;
        let scale = (EVENTS_PER_LOOK_MAX / total).min(1.0);
        let split = Split { share, canary: canary.events * scale, total: total * scale };
        split.add_to(&mut self.above, self.null_fail, upwards);
        split.add_to(&mut self.below, self.null_pass, downwards);
        true
    }

    /// All requests and events seen.
    #[must_use]
    pub fn totals(&self) -> (Counts, Counts) {
        (self.stable, self.canary)
    }

    /// The canary's part of all requests seen, in 0 to 1.
    #[must_use]
    pub fn share(&self) -> Option<f64> {
        let all = self.stable.requests + self.canary.requests;
        (all > 0.0).then(|| self.canary.requests / all)
    }

    /// Events that the canary would have had at the rate of stable.
    #[must_use]
    pub fn expected(&self) -> f64 {
        self.expected
    }

    /// The ratio that FAIL rejects.
    #[must_use]
    pub fn tolerated(&self) -> f64 {
        self.null_fail
    }

    /// The ratio that PASS rejects.
    #[must_use]
    pub fn harm(&self) -> f64 {
        self.null_pass
    }

    #[must_use]
    pub fn ln_e_fail(&self) -> f64 {
        self.ln_e_above(0)
    }

    #[must_use]
    pub fn ln_e_pass(&self) -> f64 {
        ln_mean_exp(self.below.iter().skip(1).copied())
    }

    /// Evidence that the canary is worse than tolerated.
    #[must_use]
    pub fn e_fail(&self) -> f64 {
        e_value(self.ln_e_fail())
    }

    /// Evidence that the canary is less than harmful.
    #[must_use]
    pub fn e_pass(&self) -> f64 {
        e_value(self.ln_e_pass())
    }

    #[must_use]
    pub fn fails(&self, alpha: f64) -> bool {
        self.canary.events >= FAIL_EVENTS_MIN
            && self.looks >= FAIL_LOOKS_MIN
            && reaches(self.bets_above(0), threshold(alpha))
    }

    #[must_use]
    pub fn passes(&self, beta: f64) -> bool {
        reaches(self.below.iter().skip(1).copied(), threshold(beta))
    }

    /// The canary's rate is at least so many times that of stable: the greatest ratio of the grid
    /// that is rejected together with all below it, so the whole statement errs with a chance of
    /// at most α. `None` while not even the tolerated ratio is rejected.
    #[must_use]
    pub fn at_least(&self, alpha: f64) -> Option<f64> {
        let rejected =
            (0..=LEAST_NULLS).take_while(|k| self.ln_e_above(*k) >= threshold(alpha)).last()?;
        let steps = (1..=rejected).map(upwards).sum::<f64>();
        Some(self.null_fail * steps.exp())
    }

    /// Evidence against "at most the ratio at `null`".
    fn ln_e_above(&self, null: usize) -> f64 {
        ln_mean_exp(self.bets_above(null))
    }

    fn bets_above(&self, null: usize) -> impl Iterator<Item = f64> + Clone {
        let base = self.above.get(null).copied().unwrap_or(0.0);
        bets(null).filter_map(|i| self.above.get(i)).map(move |value| value - base)
    }

    /// Further canary requests until FAIL is expected, if all goes on as observed.
    #[must_use]
    pub fn more_until_fail(&self, alpha: f64) -> Option<f64> {
        let ahead = self.outlook()?;
        let mut gains = vec![0.0; self.above.len()];
        ahead.add_to(&mut gains, self.null_fail, upwards);
        let at = |i: usize| Some((*self.above.get(i)?, *gains.get(i)?));
        let bets: Vec<(f64, f64)> = bets(0).filter_map(at).collect();
        let more = until(&bets, threshold(alpha))?;
        let missing = (FAIL_EVENTS_MIN - self.canary.events).max(0.0);
        let more = more.max(missing / ahead.canary);
        more.is_finite().then_some(more.ceil())
    }

    /// Further canary requests until PASS is expected, if all goes on as observed.
    #[must_use]
    pub fn more_until_pass(&self, beta: f64) -> Option<f64> {
        let mut gains = vec![0.0; self.below.len()];
        self.outlook()?.add_to(&mut gains, self.null_pass, downwards);
        let all: Vec<(f64, f64)> = self.below.iter().copied().zip(gains).skip(1).collect();
        until(&all, threshold(beta))
    }

    /// Canary requests until PASS is expected of a canary that equals stable, with no look taken
    /// yet: at this share of the canary and rate of events (each in 0 to 1).
    #[must_use]
    pub fn foresee_pass(&self, beta: f64, share: f64, rate: f64) -> Option<f64> {
        if !(share > 0.0 && share < 1.0 && rate > 0.0 && rate <= 1.0) {
            return None;
        }
        let mut gains = vec![0.0; self.below.len()];
        let each = Split { share, canary: rate, total: rate / share };
        each.add_to(&mut gains, self.null_pass, downwards);
        let all: Vec<(f64, f64)> = gains.into_iter().skip(1).map(|gain| (0.0, gain)).collect();
        until(&all, threshold(beta))
    }

    /// What one canary request is expected to bring.
    fn outlook(&self) -> Option<Split> {
        let [stable, canary] = self.recent;
        let events = self.stable.events + self.canary.events;
        if stable <= 0.0 || canary <= 0.0 || events <= 0.0 {
            return None;
        }
        let share = canary / (stable + canary);
        let all = self.stable.requests + self.canary.requests;
        let stable_rate = match self.stable.rate() {
            Some(rate) if rate > 0.0 => rate,
            Some(_) | None => events / all,
        };
        // The odds of the canary to those at equal rates, each with a quarter of an event more, so
        // that no event says little instead of everything.
        let ratio = (self.canary.events + 0.25) * (events - self.expected + 0.25)
            / ((self.stable.events + 0.25) * (self.expected + 0.25));
        let canary = stable_rate * ratio;
        Some(Split { share, canary, total: canary + stable_rate * (1.0 - share) / share })
    }
}

/// How events fell.
struct Split {
    /// The canary's part of the requests meanwhile.
    share: f64,
    /// Events of the canary.
    canary: f64,
    /// Events of both arms.
    total: f64,
}

impl Split {
    /// Adds `L(r_i) - L(r_0)` for each ratio of the grid that starts at `null`, in such steps.
    fn add_to(&self, grid: &mut [f64], null: f64, step: impl Fn(usize) -> f64) {
        // The logarithm of what all probabilities of the ratio are divided by.
        let whole = |ratio: f64| (1.0 + self.share * (ratio - 1.0)).ln();
        let at_null = whole(null);
        let (mut last, mut factor) = (0.0, 1.0);
        let (mut ratio, mut ln_ratio) = (null, 0.0);
        for (i, value) in grid.iter_mut().enumerate().skip(1) {
            let by = step(i);
            if (by - last).abs() > 0.0 {
                (last, factor) = (by, by.exp());
            }
            ratio *= factor;
            ln_ratio += by;
            let gain = self.canary * ln_ratio + self.total * (at_null - whole(ratio));
            *value = settled(*value + gain);
        }
    }
}

/// From one ratio to the next, in logarithms: the nulls are close, bets beyond them further apart.
fn upwards(i: usize) -> f64 {
    if i <= LEAST_NULLS { GRID / 3.0 } else { GRID }
}

fn downwards(_: usize) -> f64 {
    -GRID
}

/// Where the ratios lie that are bet on against this null: any above it would do.
fn bets(null: usize) -> impl Iterator<Item = usize> + Clone {
    let close = (null + 3..=LEAST_NULLS).step_by(3);
    close.chain(LEAST_NULLS + 1..).take(FAIL_BETS)
}

/// The least further requests that bring bets, each with its gain for one request, to a threshold.
fn until(bets: &[(f64, f64)], threshold: f64) -> Option<f64> {
    least(|more| ln_mean_exp(bets.iter().map(|(now, gain)| now + more * gain)) >= threshold)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALPHA: f64 = 0.01;
    const BETA: f64 = 0.05;

    fn look(requests: f64, events: f64) -> Counts {
        Counts { requests, events }
    }

    /// The same look again and again.
    fn after(looks: u32, stable: Counts, canary: Counts) -> Comparison {
        let mut comparison = Comparison::new(0.1, 2.0);
        for _ in 0..looks {
            assert!(comparison.observe(stable, canary));
        }
        comparison
    }

    /// The formula of the page, written down as it stands there.
    fn by_the_page(looks: &[(Counts, Counts)], r0: f64, step: f64, bets: u32) -> f64 {
        let total: f64 = (1..=bets)
            .map(|j| {
                let mut ll = 0.0;
                for (s, c) in looks {
                    let w = c.requests / (s.requests + c.requests);
                    let p0 = w * r0 / (1.0 - w + w * r0);
                    let q = r0 * (step * f64::from(j)).exp();
                    let p1 = w * q / (1.0 - w + w * q);
                    ll += c.events * (p1 / p0).ln() + s.events * ((1.0 - p1) / (1.0 - p0)).ln();
                }
                ll.exp()
            })
            .sum();
        total / f64::from(bets)
    }

    #[test]
    fn the_e_values_are_those_of_the_page() {
        let looks = [
            (look(99.0, 1.0), look(1.0, 0.0)),
            (look(95.0, 4.0), look(5.0, 1.0)),
            (look(75.0, 2.0), look(25.0, 3.0)),
            (look(50.0, 1.0), look(50.0, 2.0)),
        ];
        let mut comparison = Comparison::new(0.1, 2.0);
        for (stable, canary) in looks {
            comparison.observe(stable, canary);
        }
        let fail = by_the_page(&looks, 1.1, 0.15, 24);
        let pass = by_the_page(&looks, 2.0, -0.15, 16);
        assert!((comparison.e_fail() / fail - 1.0).abs() < 1e-7, "{} {fail}", comparison.e_fail());
        assert!((comparison.e_pass() / pass - 1.0).abs() < 1e-7, "{} {pass}", comparison.e_pass());
        // A null further up is the page's test of that ratio.
        let third = by_the_page(&looks, 1.1 * 0.45_f64.exp(), 0.15, 24);
        assert!((comparison.ln_e_above(9) - third.ln()).abs() < 1e-7);
    }

    #[test]
    fn a_bad_canary_fails_and_a_good_one_passes() {
        let bad = after(20, look(95.0, 1.0), look(5.0, 1.0));
        assert!(bad.fails(ALPHA) && !bad.passes(BETA));
        let least = bad.at_least(ALPHA).expect("rejected");
        assert!((2.0..19.0).contains(&least), "{least}");
        let good = after(200, look(90.0, 9.0), look(10.0, 1.0));
        assert!(good.passes(BETA) && !good.fails(ALPHA));
        assert_eq!(good.at_least(ALPHA), None);
    }

    #[test]
    fn few_events_or_one_look_never_fail() {
        assert!(!after(4, look(999.0, 0.0), look(1.0, 1.0)).fails(ALPHA), "four events");
        assert!(after(5, look(999.0, 0.0), look(1.0, 1.0)).fails(ALPHA), "five events");
        assert!(!after(1, look(900.0, 0.0), look(100.0, 90.0)).fails(ALPHA), "one look");
        assert!(after(2, look(900.0, 0.0), look(100.0, 90.0)).fails(ALPHA), "two looks");
    }

    #[test]
    fn a_full_look_counts_only_so_much() {
        let full = after(1, look(9000.0, 900.0), look(1000.0, 300.0));
        let capped = after(1, look(9000.0, 75.0), look(1000.0, 25.0));
        assert!((full.ln_e_fail() - capped.ln_e_fail()).abs() < 1e-6);
        assert!((full.totals().1.events - 300.0).abs() < 1e-9, "the totals stay whole");
    }

    #[test]
    fn an_outage_of_both_arms_is_no_evidence() {
        let outage = after(100, look(95.0, 95.0), look(5.0, 5.0));
        assert!(!outage.fails(ALPHA) && outage.e_fail() < 1.0);
    }

    #[test]
    fn a_look_without_requests_waits() {
        let mut apart = Comparison::new(0.1, 2.0);
        apart.observe(look(40.0, 1.0), look(0.0, 1.0));
        assert!(apart.ln_e_fail().abs() < 1e-12);
        apart.observe(look(55.0, 0.0), look(5.0, 0.0));
        let whole = after(1, look(95.0, 1.0), look(5.0, 1.0));
        assert_eq!(apart.above, whole.above);
        assert_eq!(apart.totals(), whole.totals());
    }

    #[test]
    fn a_canary_that_comes_back_in_an_outage_is_not_blamed() {
        let mut paused = after(100_000, look(1000.0, 0.0), look(0.0, 0.0));
        for _ in 0..20 {
            paused.observe(look(1000.0, 900.0), look(10.0, 9.0));
        }
        assert!(!paused.fails(ALPHA), "{}", paused.e_fail());
    }

    #[test]
    fn what_is_no_count_is_refused() {
        let fresh = Comparison::new(0.1, 2.0);
        for odd in [f64::NAN, f64::INFINITY, -1.0] {
            let mut comparison = fresh.clone();
            assert!(!comparison.observe(look(odd, 0.0), look(1.0, 0.0)));
            assert!(!comparison.observe(look(1.0, 0.0), look(1.0, odd)));
            assert_eq!(comparison, fresh);
        }
    }

    #[test]
    fn no_amount_of_evidence_overflows() {
        let endless = after(200_000, look(50.0, 0.0), look(50.0, 50.0));
        assert!(endless.e_fail().is_finite() && endless.fails(ALPHA));
        assert!(endless.ln_e_pass().is_finite() && !endless.passes(BETA));
        let least = endless.at_least(ALPHA).expect("rejected");
        assert!((least - 1.1 * 3.0_f64.exp()).abs() < 1e-9, "the end of the grid: {least}");
    }

    #[test]
    fn the_state_equals_itself_after_json() {
        let state = after(37, look(91.0, 3.0), look(7.0, 1.0));
        let text = serde_json::to_string(&state).expect("plain data");
        let back: Comparison = serde_json::from_str(&text).expect("its own text");
        assert_eq!(back, state);
    }

    #[test]
    fn a_pass_is_foreseen() {
        let told = Comparison::new(0.1, 2.0).foresee_pass(BETA, 0.1, 0.01).expect("it passes");
        let needed = (1..1000).find(|n| after(*n, look(90.0, 0.9), look(10.0, 0.1)).passes(BETA));
        assert!((told - 10.0 * f64::from(needed.expect("it passes"))).abs() <= 10.0, "{told}");
        for odd in [0.0, 1.0, f64::NAN] {
            assert_eq!(Comparison::new(0.1, 2.0).foresee_pass(BETA, odd, 0.01), None);
        }
    }

    #[test]
    fn the_outlook_is_about_right() {
        let (stable, canary) = (look(90.0, 1.8), look(10.0, 0.2));
        let told = after(30, stable, canary).more_until_pass(BETA).expect("it will pass");
        let needed = (1..1000).find(|n| after(30 + n, stable, canary).passes(BETA));
        let needed = 10.0 * f64::from(needed.expect("it passes"));
        assert!((0.7..1.3).contains(&(told / needed)), "{told} for {needed}");
        let (stable, canary) = (look(95.0, 0.95), look(5.0, 0.25));
        let told = after(15, stable, canary).more_until_fail(ALPHA).expect("it will fail");
        let needed = (1..1000).find(|n| after(15 + n, stable, canary).fails(ALPHA));
        let needed = 5.0 * f64::from(needed.expect("it fails"));
        assert!((0.5..2.0).contains(&(told / needed)), "{told} for {needed}");
        assert_eq!(after(30, look(90.0, 0.0), look(10.0, 0.0)).more_until_pass(BETA), None);
    }
}
