//! Is the canary bad? The verdict, from counts alone.
//!
//! Decides FAIL, PASS or NEED MORE DATA, and says it in a sentence with its evidence. Never reads a
//! clock, and never takes missing data for good or bad: the caller, who knows how old its counts
//! are, says NO DATA. Contract: pure; every state is plain data of a fixed size that equals itself
//! after JSON; every test is valid at every look, so looking often is no sin.
//!
//! 1. [`Signal`]: errors, or requests slower than a threshold. One [`Comparison`] with stable, and
//!    where the service has an objective, the canary alone against it ([`Objective`]). Kept over
//!    all steps, pauses and restarts of a release: its evidence adds up whatever the split was.
//! 2. [`Latency`]: whole distributions; says "slower", never PASS. One for each step.
//! 3. [`Proportions`]: for signals that are not rare, where a [`Comparison`] is valid but weak.
//!
//! A caller with k signals judges each with [`Policy::divided`]`(k)` and joins them by
//! [`Verdict::all`]. FAIL is wrong with a chance of at most α for the whole release; each road to
//! PASS with at most β, for a canary that is truly harmful.

mod comparison;
mod evidence;
mod latency;
mod objective;
mod proportions;
mod words;

use serde::{Deserialize, Serialize};

pub use comparison::{
    Comparison, EVENTS_PER_LOOK_MAX, FAIL_BETS, FAIL_EVENTS_MIN, FAIL_LOOKS_MIN, LEAST_NULLS,
    PASS_BETS, WAITING_LOOKS_MAX,
};
pub use evidence::progress;
pub use latency::{BORDERS_MAX, Histogram, Latency, Slower};
pub use objective::Objective;
pub use proportions::Proportions;

use evidence::settled;

/// What one arm did: requests, and how many of them were events (errors, slow ones).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    pub requests: f64,
    pub events: f64,
}

impl Counts {
    fn is_sound(self) -> bool {
        [self.requests, self.events].into_iter().all(|count| count.is_finite() && count >= 0.0)
    }

    fn plus(self, more: Counts) -> Counts {
        Counts {
            requests: settled(self.requests + more.requests),
            events: settled(self.events + more.events),
        }
    }

    /// Sources that count a retry twice can have more events than requests.
    fn bounded(self) -> Counts {
        Counts { events: self.events.min(self.requests), ..self }
    }

    /// Events for each request; `None` without requests.
    #[must_use]
    pub fn rate(self) -> Option<f64> {
        (self.requests > 0.0).then(|| self.bounded().events / self.requests)
    }
}

/// How sure a verdict must be, and what counts as harm.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Chance of a FAIL of a canary no worse than tolerated, over the whole release.
    pub alpha: f64,
    /// Chance of a PASS of a canary that does harm.
    pub beta: f64,
    /// Tolerated excess over stable: 0.1 is a tenth more events.
    pub tol: f64,
    /// Times the error rate of stable that are harm.
    pub harm_errors: f64,
    /// Times stable's rate of slow requests that are harm.
    pub harm_slow: f64,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy { alpha: 0.01, beta: 0.05, tol: 0.1, harm_errors: 2.0, harm_slow: 1.5 }
    }
}

impl Policy {
    /// The policy of each of so many signals of one release: α is their common allowance. β is not
    /// divided, since PASS needs every signal.
    #[must_use]
    pub fn divided(self, signals: u32) -> Policy {
        Policy { alpha: self.alpha / f64::from(signals.max(1)), ..self }
    }

    /// Are the figures such that the tests mean anything?
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let chance = |p: f64| p > 0.0 && p < 1.0;
        let harmful = |harm: f64| harm.is_finite() && harm > 1.0 + self.tol;
        chance(self.alpha)
            && chance(self.beta)
            && (0.0..=10.0).contains(&self.tol)
            && harmful(self.harm_errors)
            && harmful(self.harm_slow)
    }
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Errors,
    Slow,
}

/// What the canary is held against when it is to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Control {
    Stable,
    /// Stable is sick and the canary its hotfix, or the canary has all the traffic.
    Objective,
}

/// Which test let the canary pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Road {
    Stable,
    Objective,
}

/// Why the telemetry says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoData {
    Missing,
    Stale,
    Gap,
    Reset,
    PollerLate,
}

/// What the evidence says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "verdict")]
pub enum Verdict {
    Pass {
        road: Road,
    },
    Fail,
    NeedMoreData {
        /// Further canary requests until PASS or FAIL is expected; `None`: no end in sight.
        requests: Option<f64>,
        /// Seconds that they take at the canary's present rate.
        at_rate: Option<f64>,
    },
    NoData {
        why: NoData,
    },
}

impl Verdict {
    /// One verdict of several signals: the first of FAIL, NO DATA, NEED MORE DATA (the longest)
    /// that any has; PASS only when all do. `None` of nothing.
    #[must_use]
    pub fn all(verdicts: impl IntoIterator<Item = Verdict>) -> Option<Verdict> {
        verdicts.into_iter().reduce(|a, b| if b.weight() > a.weight() { b } else { a })
    }

    fn weight(&self) -> (u8, f64) {
        match self {
            Verdict::Pass { .. } => (0, 0.0),
            Verdict::NeedMoreData { requests, .. } => (1, requests.unwrap_or(f64::INFINITY)),
            Verdict::NoData { .. } => (2, 0.0),
            Verdict::Fail => (3, 0.0),
        }
    }
}

/// One signal of a release.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Signal {
    kind: Kind,
    comparison: Comparison,
    objective: Option<Objective>,
}

impl Signal {
    /// `objective`: the allowed rate of events, in 0 to 1; one that is no rate counts as none.
    #[must_use]
    pub fn new(kind: Kind, policy: &Policy, objective: Option<f64>) -> Signal {
        let harm = match kind {
            Kind::Errors => policy.harm_errors,
            Kind::Slow => policy.harm_slow,
        };
        Signal {
            kind,
            comparison: Comparison::new(policy.tol, harm),
            objective: objective.and_then(Objective::new),
        }
    }

    /// Takes what both arms did since the last look, `None` for a stable without data or traffic.
    /// False, and nothing taken, where a count is no count.
    pub fn observe(&mut self, stable: Option<Counts>, canary: Counts) -> bool {
        if !(canary.is_sound() && stable.is_none_or(Counts::is_sound)) {
            return false;
        }
        if let Some(stable) = stable {
            self.comparison.observe(stable, canary);
        }
        if let Some(objective) = &mut self.objective {
            objective.observe(canary);
        }
        true
    }

    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    #[must_use]
    pub fn comparison(&self) -> &Comparison {
        &self.comparison
    }

    #[must_use]
    pub fn objective(&self) -> Option<&Objective> {
        self.objective.as_ref()
    }

    /// Evidence toward FAIL, 0 to 1 of the way in logarithms.
    #[must_use]
    pub fn toward_fail(&self, policy: &Policy, control: Control) -> f64 {
        let ln_e = match (control, &self.objective) {
            (Control::Objective, Some(objective)) => objective.ln_e_fail(policy.tol),
            (Control::Objective, None) => return 0.0,
            (Control::Stable, _) => self.comparison.ln_e_fail(),
        };
        progress(ln_e, policy.alpha)
    }

    /// Evidence toward PASS on the road that is further, 0 to 1 of the way in logarithms.
    #[must_use]
    pub fn toward_pass(&self, policy: &Policy) -> f64 {
        let alone = self.objective.as_ref().map_or(f64::NEG_INFINITY, Objective::ln_e_pass);
        progress(self.comparison.ln_e_pass().max(alone), policy.beta)
    }

    /// The verdict by the evidence so far. `canary_per_s`: the canary's requests a second now.
    #[must_use]
    pub fn judge(&self, policy: &Policy, control: Control, canary_per_s: Option<f64>) -> Verdict {
        let fails = match (control, &self.objective) {
            (Control::Stable, _) => self.comparison.fails(policy.alpha),
            (Control::Objective, Some(objective)) => objective.fails(policy.alpha, policy.tol),
            (Control::Objective, None) => false,
        };
        if fails {
            return Verdict::Fail;
        }
        let keeps = self.objective.as_ref().is_some_and(|o| o.passes(policy.beta));
        match control {
            // A hotfix that is only less sick than stable does not pass by that.
            Control::Stable if self.comparison.passes(policy.beta) => {
                return Verdict::Pass { road: Road::Stable };
            }
            Control::Stable | Control::Objective if keeps => {
                return Verdict::Pass { road: Road::Objective };
            }
            Control::Stable | Control::Objective => {}
        }
        let requests = self.more(policy, control);
        let at_rate = match (requests, canary_per_s) {
            (Some(requests), Some(rate)) if rate > 0.0 => Some(requests / rate),
            (Some(_) | None, Some(_) | None) => None,
        };
        Verdict::NeedMoreData { requests, at_rate }
    }

    /// Canary requests until PASS is expected of a healthy canary, before it has any: at this share
    /// of the traffic and stable's rate of events (each in 0 to 1). `None`: by evidence, never.
    #[must_use]
    pub fn foresee(&self, policy: &Policy, share: f64, rate: f64) -> Option<f64> {
        let beside = self.comparison.foresee_pass(policy.beta, share, rate);
        let alone = self.objective.as_ref().and_then(|o| o.foresee_pass(policy.beta, rate));
        beside.into_iter().chain(alone).min_by(f64::total_cmp)
    }

    /// Further canary requests until the nearest end.
    fn more(&self, policy: &Policy, control: Control) -> Option<f64> {
        let against_stable = || {
            let fail = self.comparison.more_until_fail(policy.alpha);
            [fail, self.comparison.more_until_pass(policy.beta)]
        };
        let against_objective = |objective: &Objective| match objective.seen().rate() {
            None => [objective.more_without_events(policy.beta), None],
            Some(_) => [
                objective.more_until_pass(policy.beta),
                objective
                    .more_until_fail(policy.alpha, policy.tol)
                    .filter(|_| control == Control::Objective),
            ],
        };
        let stable = match control {
            Control::Stable => against_stable(),
            Control::Objective => [None; 2],
        };
        let alone = self.objective.as_ref().map_or([None; 2], against_objective);
        stable.into_iter().chain(alone).flatten().min_by(f64::total_cmp)
    }

    /// The verdict in a sentence, with its evidence.
    #[must_use]
    pub fn sentence(&self, verdict: &Verdict, policy: &Policy, control: Control) -> String {
        words::sentence(self, verdict, policy, control)
    }
}

/// What a self-test found: how often two equal halves were told apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SelfTest {
    pub runs: u32,
    /// More than α of the runs (twice, as each half is held against the other) says that the
    /// events depend on one another: retries pinned to a backend, one client, one bad host.
    pub alarms: u32,
}

/// Runs the policy on two halves of stable, so many looks for each run, each half as the canary of
/// the other. A last run that is not full does not count, unless it alarms.
#[must_use]
pub fn self_test(
    policy: &Policy,
    looks: impl IntoIterator<Item = (Counts, Counts)>,
    looks_per_run: u32,
) -> SelfTest {
    let fresh = || [0, 1].map(|_| Comparison::new(policy.tol, policy.harm_errors));
    let mut found = SelfTest::default();
    let (mut sides, mut taken) = (fresh(), 0);
    for (a, b) in looks {
        sides[0].observe(a, b);
        sides[1].observe(b, a);
        taken += 1;
        let alarm = sides.iter().any(|side| side.fails(policy.alpha));
        if alarm || taken >= looks_per_run {
            found.runs += 1;
            found.alarms += u32::from(alarm);
            (sides, taken) = (fresh(), 0);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(requests: f64, events: f64) -> Counts {
        Counts { requests, events }
    }

    fn after(looks: u32, objective: Option<f64>, stable: Counts, canary: Counts) -> Signal {
        let mut signal = Signal::new(Kind::Errors, &Policy::default(), objective);
        for _ in 0..looks {
            assert!(signal.observe(Some(stable), canary));
        }
        signal
    }

    fn judge(signal: &Signal, control: Control) -> Verdict {
        signal.judge(&Policy::default(), control, Some(10.0))
    }

    #[test]
    fn both_roads_lead_to_pass() {
        let beside = after(300, None, counts(90.0, 4.5), counts(10.0, 0.5));
        assert_eq!(judge(&beside, Control::Stable), Verdict::Pass { road: Road::Stable });
        let alone = after(40, Some(0.01), counts(90.0, 0.0), counts(10.0, 0.0));
        assert_eq!(judge(&alone, Control::Stable), Verdict::Pass { road: Road::Objective });
    }

    #[test]
    fn a_fail_is_stronger_than_a_kept_objective() {
        let worse = after(400, Some(0.05), counts(90.0, 0.09), counts(10.0, 0.1));
        assert!(worse.objective().is_some_and(|o| o.passes(0.05)));
        assert_eq!(judge(&worse, Control::Stable), Verdict::Fail);
        assert_eq!(judge(&worse, Control::Objective), Verdict::Pass { road: Road::Objective });
    }

    #[test]
    fn a_hotfix_is_held_against_the_objective() {
        let less_sick = after(60, Some(0.01), counts(90.0, 45.0), counts(10.0, 2.0));
        assert_eq!(judge(&less_sick, Control::Stable), Verdict::Pass { road: Road::Stable });
        assert_eq!(judge(&less_sick, Control::Objective), Verdict::Fail);
    }

    #[test]
    fn without_an_end_in_sight_none_is_told() {
        let silent = after(10, None, counts(90.0, 0.0), counts(10.0, 0.0));
        let none = Verdict::NeedMoreData { requests: None, at_rate: None };
        assert_eq!(judge(&silent, Control::Stable), none);
        let Verdict::NeedMoreData { requests: Some(requests), at_rate: Some(seconds) } =
            judge(&after(10, Some(0.01), counts(90.0, 0.0), counts(10.0, 0.0)), Control::Stable)
        else {
            panic!("the objective gives an end")
        };
        assert!((180.0..300.0).contains(&requests), "{requests}");
        assert!((seconds - requests / 10.0).abs() < 1e-9);
    }

    #[test]
    fn a_canary_alone_still_meets_its_objective() {
        let mut signal = Signal::new(Kind::Errors, &Policy::default(), Some(0.01));
        assert!(signal.observe(None, counts(400.0, 0.0)));
        assert_eq!(judge(&signal, Control::Stable), Verdict::Pass { road: Road::Objective });
        assert!(!signal.observe(None, counts(f64::NAN, 0.0)));
        assert!(!signal.observe(Some(counts(1.0, -1.0)), counts(1.0, 0.0)));
    }

    #[test]
    fn a_step_without_enough_traffic_is_foreseen() {
        let policy = Policy::default();
        let both = Signal::new(Kind::Errors, &policy, Some(0.01));
        let beside = Signal::new(Kind::Errors, &policy, None);
        let few = |signal: &Signal, rate| signal.foresee(&policy, 0.05, rate);
        assert_eq!(few(&beside, 0.0), None, "no error will ever come");
        assert!(few(&both, 0.0).is_some_and(|requests| requests < 380.0));
        assert!(few(&both, 0.002) < few(&beside, 0.002));
        assert_eq!(few(&both, 0.02), few(&beside, 0.02), "an objective that stable breaks");
    }

    #[test]
    fn dependent_events_alarm_in_the_self_test() {
        let policy = Policy::default();
        let half = |events| counts(50.0, events);
        let calm = (0..600).map(|i| (half(f64::from(i % 2)), half(f64::from((i + 1) % 2))));
        assert_eq!(self_test(&policy, calm, 60), SelfTest { runs: 10, alarms: 0 });
        let storms = (0..600).map(|i| (half(0.0), half(if i % 60 < 3 { 40.0 } else { 0.0 })));
        assert_eq!(self_test(&policy, storms, 57).alarms, 10);
    }

    #[test]
    fn several_signals_make_one_verdict() {
        let need = |requests| Verdict::NeedMoreData { requests, at_rate: None };
        let pass = Verdict::Pass { road: Road::Stable };
        let gone = Verdict::NoData { why: NoData::Gap };
        let check = |all: &[&Verdict], expected: Option<&Verdict>| {
            assert_eq!(Verdict::all(all.iter().copied().cloned()).as_ref(), expected);
        };
        check(&[], None);
        check(&[&pass, &pass], Some(&pass));
        check(&[&pass, &need(Some(5.0)), &need(Some(9.0))], Some(&need(Some(9.0))));
        check(&[&need(None), &need(Some(9.0))], Some(&need(None)));
        check(&[&need(None), &gone, &pass], Some(&gone));
        check(&[&gone, &Verdict::Fail, &pass], Some(&Verdict::Fail));
    }

    #[test]
    fn policies_are_divided_and_checked() {
        let policy = Policy::default();
        assert!((policy.divided(2).alpha - 0.005).abs() < 1e-12);
        assert_eq!(policy.divided(0), policy);
        assert!(policy.is_sound());
        for odd in [
            Policy { alpha: 0.0, ..policy },
            Policy { beta: f64::NAN, ..policy },
            Policy { tol: -0.1, ..policy },
            Policy { harm_slow: 1.05, ..policy },
        ] {
            assert!(!odd.is_sound(), "{odd:?}");
        }
    }

    #[test]
    fn the_bars_go_from_nothing_to_full() {
        let policy = Policy::default();
        let fresh = Signal::new(Kind::Errors, &policy, Some(0.01));
        assert!(fresh.toward_fail(&policy, Control::Stable) < 1e-9);
        assert!(fresh.toward_pass(&policy) < 1e-9);
        let bad = after(40, Some(0.01), counts(95.0, 1.0), counts(5.0, 1.0));
        assert!((bad.toward_fail(&policy, Control::Stable) - 1.0).abs() < 1e-9);
        assert!((bad.toward_fail(&policy, Control::Objective) - 1.0).abs() < 1e-9);
        assert!(bad.toward_pass(&policy) < 0.5);
    }

    #[test]
    fn the_state_equals_itself_after_json() {
        let state = after(17, Some(0.01), counts(95.0, 2.0), counts(5.0, 1.0));
        let text = serde_json::to_string(&state).expect("plain data");
        let back: Signal = serde_json::from_str(&text).expect("its own text");
        assert_eq!(back, state);
    }
}
