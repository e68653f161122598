//! The canary of a release: its steps, the looks at both arms, and what they allow.
//!
//! Decides when a step is over and why. Never sets a split, and never raises exposure on missing
//! or old data: that only waits. Contract: counts go in as they were journaled, so that replaying
//! the looks of a release gives the same evidence; the clock is an argument.

use std::time::Duration;

use crate::analysis::{Control, Counts, Histogram, Kind, Latency, Policy, Signal, Slower, Verdict};
use crate::record::ArmCount;
use crate::rule::{self, Answer, Rule, Tally, Values, Weighed};
use crate::settings::{Canary, OnFail, Pass};
use crate::snapshot::{ArmTotals, CanaryView, Evidence};
use crate::types::{Now, Percent, Time, Untrusted};

/// Stable is called degraded, too, when its errors are this many times its baseline…
const COMMON_FACTOR: f64 = 2.0;
/// …and that many points above it: noise around nothing is no outage.
const COMMON_POINTS: f64 = 0.5;
/// Fewer errors of stable than this say nothing about it.
const COMMON_ERRORS_MIN: u64 = 5;

/// What a canary's step comes to.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    Stay,
    /// The step is passed; the sentence says on what.
    Pass(String),
    /// Take it back.
    Fail(String),
    /// A person must look; nothing is raised until then.
    Hold(String),
}

/// What both arms did since the last look; `None` is no data.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Delta {
    pub stable: Option<ArmCount>,
    pub canary: Option<ArmCount>,
}

#[derive(Clone, Debug)]
pub struct Rollout {
    settings: Canary,
    policy: Policy,
    hotfix: bool,
    baseline: Values,
    /// Of the data source: older than three of it is stale.
    interval: Duration,
    place: usize,
    /// When the step's split was verified.
    since: Option<Now>,
    /// The longest wait counts from here; a person who resumes starts it anew.
    waits_from: Option<Now>,
    fresh: Option<Time>,
    looked: Option<Now>,
    pending: Delta,
    /// Errors, and slow requests where they are counted.
    signals: Vec<Signal>,
    latency: Option<Latency>,
    slower: Option<Slower>,
    totals: [ArmTotals; 2],
    /// Both arms over the whole release, for the question whether stable is sick, too.
    stable_all: ArmTotals,
    tally: Tally,
    rules_pass: bool,
    /// A rule that fails had no figures at the last look: it did not say that all is well.
    blind: Option<String>,
    canary_per_s: Option<f64>,
    next: Next,
    verdict: Verdict,
    sentence: String,
}

impl Rollout {
    /// `slow`: requests above the border are counted. `interval`: of the data source.
    #[must_use]
    pub fn new(
        settings: Canary,
        hotfix: bool,
        slow: bool,
        baseline: Values,
        interval: Duration,
    ) -> Rollout {
        let policy = settings.policy.divided(if slow { 2 } else { 1 });
        let objective = settings.objective.map(|percent| percent / 100.0);
        let mut signals = vec![Signal::new(Kind::Errors, &policy, objective)];
        if slow {
            signals.push(Signal::new(Kind::Slow, &policy, None));
        }
        Rollout {
            settings,
            policy,
            hotfix,
            baseline,
            interval,
            place: 0,
            since: None,
            waits_from: None,
            fresh: None,
            looked: None,
            pending: Delta::default(),
            signals,
            latency: None,
            slower: None,
            totals: [ArmTotals::default(); 2],
            stable_all: ArmTotals::default(),
            tally: Tally::default(),
            rules_pass: false,
            blind: None,
            canary_per_s: None,
            next: Next::Stay,
            verdict: Verdict::NeedMoreData { requests: None, at_rate: None },
            sentence: "the split is being set".to_owned(),
        }
    }

    #[must_use]
    pub fn place(&self) -> usize {
        self.place
    }

    /// Percent that the current step wants.
    #[must_use]
    pub fn percent(&self) -> Percent {
        self.settings.steps.get(self.place).copied().unwrap_or(Percent::FULL)
    }

    /// Percent of the step after this one.
    #[must_use]
    pub fn following(&self) -> Option<Percent> {
        self.settings.steps.get(self.place + 1).copied()
    }

    #[must_use]
    pub fn is_set(&self) -> bool {
        self.since.is_some()
    }

    /// Is this the last step, where no control arm is left?
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.place + 1 >= self.settings.steps.len()
    }

    /// The longest that a step may take, with some room to set the split.
    #[must_use]
    pub fn bake(&self) -> Duration {
        self.settings.bake
    }

    /// Goes to a step; its split is still to be verified.
    pub fn enter(&mut self, place: usize) {
        self.place = place.min(self.settings.steps.len().saturating_sub(1));
        self.since = None;
        "the split is being set".clone_into(&mut self.sentence);
    }

    /// The step's split was read back.
    pub fn verified(&mut self, now: Now) {
        self.since = Some(now);
        self.waits_from = Some(now);
        self.looked = Some(now);
        self.pending = Delta::default();
        self.totals = [ArmTotals::default(); 2];
        self.latency = None;
        self.tally = Tally::default();
        self.rules_pass = false;
        self.blind = None;
        self.next = Next::Stay;
        self.verdict = Verdict::NeedMoreData { requests: None, at_rate: None };
        "watching".clone_into(&mut self.sentence);
    }

    /// A person said to go on: what held or failed is accepted, and evidence starts anew.
    pub fn resume(&mut self, now: Now) {
        self.waits_from = Some(now);
        if matches!(self.next, Next::Fail(_) | Next::Hold(_)) {
            let place = self.place;
            let (since, looked) = (self.since, self.looked);
            let fresh = Rollout::new(
                self.settings.clone(),
                self.hotfix,
                self.signals.len() > 1,
                std::mem::take(&mut self.baseline),
                self.interval,
            );
            *self = Rollout { place, since, looked, waits_from: Some(now), ..fresh };
        }
    }

    /// Takes one difference; `from` and `to`: when its readings were asked for. What began before
    /// the split was verified belongs to both splits, and is left out. True when it is time for a
    /// look, which [`Rollout::look`] judges.
    pub fn observe(
        &mut self,
        delta: Delta,
        from: Option<Time>,
        to: Option<Time>,
        now: Now,
    ) -> bool {
        let Some(since) = self.since else { return false };
        if from.is_none_or(|from| from < since.mono) {
            return false;
        }
        if delta.canary.is_some() {
            self.fresh = to.or(self.fresh);
        }
        add(&mut self.pending.stable, delta.stable);
        add(&mut self.pending.canary, delta.canary);
        self.looked.is_none_or(|at| at.age(now) >= self.settings.every)
    }

    /// The counts since the last look, for the journal and for [`Rollout::look`].
    pub fn take(&mut self) -> Delta {
        std::mem::take(&mut self.pending)
    }

    /// Judges one look. `values`: what the user's rules may name, without the baseline.
    pub fn look(&mut self, delta: &Delta, mut values: Values, now: Now) {
        let span = self.looked.map_or(self.settings.every, |at| at.age(now));
        self.looked = Some(now);
        self.count(delta, span);
        values.extend(self.baseline.clone());
        let rules = self.rules(&values);
        let evidence = self.evidence(delta, now);
        let (next, sentence) = match (rules, evidence) {
            (Some(Next::Fail(why)), _) => (Next::Fail(why.clone()), why),
            (_, (Next::Fail(why), _)) => match self.common_cause() {
                Some(both) => (Next::Hold(format!("{both}; {why}")), format!("{both}; {why}")),
                None => (Next::Fail(why.clone()), why),
            },
            (Some(Next::Hold(why)), _) => (Next::Hold(why.clone()), why),
            (Some(Next::Pass(_) | Next::Stay) | None, (next, sentence)) => (next, sentence),
        };
        self.next = match next {
            Next::Fail(why) if self.settings.on_fail == OnFail::Hold => Next::Hold(why),
            next @ (Next::Fail(_) | Next::Hold(_) | Next::Pass(_) | Next::Stay) => next,
        };
        self.sentence = sentence;
    }

    /// What a replayed look adds to the evidence, after a restart.
    pub fn replay(&mut self, delta: &Delta) {
        self.count(delta, self.settings.every);
    }

    /// What a replayed look came to: a person who resumes then starts the evidence anew.
    pub fn judged(&mut self, verdict: &str, sentence: &str) {
        self.next = match verdict {
            "FAIL" => Next::Fail(sentence.to_owned()),
            "HOLD" => Next::Hold(sentence.to_owned()),
            _ => Next::Stay,
        };
    }

    fn count(&mut self, delta: &Delta, span: Duration) {
        let seconds = span.as_secs_f64().max(0.001);
        self.canary_per_s = delta.canary.as_ref().map(|canary| exact(canary.requests) / seconds);
        for (total, arm) in self.totals.iter_mut().zip([&delta.stable, &delta.canary]) {
            total.add(arm.as_ref());
        }
        self.stable_all.add(delta.stable.as_ref());
        let Some(canary) = &delta.canary else { return };
        // Without requests on stable there is no control; the objective needs none.
        let stable = delta.stable.as_ref().filter(|stable| stable.requests > 0);
        for signal in &mut self.signals {
            let events = |arm: &ArmCount| match signal.kind() {
                Kind::Errors => Some(arm.errors),
                Kind::Slow => arm.slow,
            };
            let counts = |arm: &ArmCount| {
                let events = exact(events(arm)?);
                Some(Counts { requests: exact(arm.requests), events })
            };
            if let Some(own) = counts(canary) {
                signal.observe(stable.and_then(counts), own);
            }
        }
        if let Some(stable) = stable {
            self.compare_latency(stable, canary);
        }
    }

    fn compare_latency(&mut self, stable: &ArmCount, canary: &ArmCount) {
        let borders = |arm: &ArmCount| -> Vec<f64> {
            let all = arm.buckets.iter().filter_map(|(bound, _)| bound.parse::<f64>().ok());
            all.filter(|bound| bound.is_finite()).map(|bound| bound * 1000.0).collect()
        };
        let histogram = |arm: &ArmCount| {
            let counts: Vec<f64> = arm.buckets.iter().map(|(_, count)| exact(*count)).collect();
            let total = counts.last().copied().unwrap_or(0.0);
            Histogram { within: counts[..counts.len().saturating_sub(1)].to_vec(), total }
        };
        if self.latency.is_none() {
            self.latency = Latency::new(borders(canary));
        }
        if let Some(latency) = &mut self.latency {
            latency.observe(&histogram(stable), &histogram(canary));
            self.slower = latency.slower(self.policy.alpha);
        }
    }

    fn control(&self) -> Control {
        if self.hotfix || self.is_last() { Control::Objective } else { Control::Stable }
    }

    fn evidence(&mut self, delta: &Delta, now: Now) -> (Next, String) {
        if delta.canary.is_none() || self.is_stale(now) {
            self.verdict = Verdict::NoData { why: crate::analysis::NoData::Missing };
            return (Next::Stay, "NO DATA: the canary was not counted since the last look".into());
        }
        let control = self.control();
        if let Some(slower) = &self.slower
            && control == Control::Stable
        {
            let sentence = slower.sentence(&self.policy);
            self.verdict = Verdict::Fail;
            return (Next::Fail(sentence.clone()), sentence);
        }
        let mut verdicts = Vec::new();
        for signal in &self.signals {
            // Without an objective for it, this signal has nothing to be held against.
            if control == Control::Objective && signal.objective().is_none() {
                continue;
            }
            let mut verdict = signal.judge(&self.policy, control, self.canary_per_s);
            let mut held_against = control;
            if verdict != Verdict::Fail && signal.objective().is_some() {
                // The absolute promise stands, whatever stable does.
                let alone = signal.judge(&self.policy, Control::Objective, self.canary_per_s);
                if alone == Verdict::Fail {
                    (verdict, held_against) = (alone, Control::Objective);
                }
            }
            let sentence = signal.sentence(&verdict, &self.policy, held_against);
            verdicts.push((verdict, sentence));
        }
        let Some(worst) = Verdict::all(verdicts.iter().map(|(verdict, _)| verdict.clone())) else {
            let sentence = "at 100 % without an objective: only rules and time decide";
            self.verdict = Verdict::NeedMoreData { requests: None, at_rate: None };
            return (Next::Pass(sentence.to_owned()), sentence.to_owned());
        };
        let said = verdicts.into_iter().find(|(verdict, _)| *verdict == worst);
        let sentence = said.map(|(_, sentence)| sentence).unwrap_or_default();
        self.verdict = worst;
        let next = match &self.verdict {
            Verdict::Fail => Next::Fail(sentence.clone()),
            Verdict::Pass { .. } => Next::Pass(sentence.clone()),
            Verdict::NeedMoreData { .. } | Verdict::NoData { .. } => Next::Stay,
        };
        (next, sentence)
    }

    /// The user's rules: what they demand, if anything.
    fn rules(&mut self, values: &Values) -> Option<Next> {
        let (fail_when, pass_when) = (&self.settings.fail_when, &self.settings.pass_when);
        let (weighed, sentence) = rule::weigh(fail_when, pass_when, values);
        let guard =
            fail_when.iter().any(|rule| is_guard(rule) && rule.judge(values) == Answer::True);
        self.tally.count(weighed);
        self.rules_pass = weighed == Weighed::Passed;
        // Where nobody is left on stable, what is compared with it says nothing any more.
        let alone = self.is_last();
        self.blind = fail_when.iter().find_map(|rule| match rule.judge(values) {
            Answer::NoData(name) if alone && name.starts_with("stable.") => None,
            Answer::NoData(name) => Some(format!("`{}` has no data: {name}", rule.source)),
            Answer::True | Answer::False => None,
        });
        let (look, often) = self.tally.reached(&self.settings.limits)?;
        match look {
            Weighed::Failed if weighed == Weighed::Failed => {
                let why = format!("FAIL: {sentence}; {often}");
                match self.common_cause().filter(|_| !guard) {
                    Some(both) => Some(Next::Hold(format!("{both}; {why}"))),
                    None => Some(Next::Fail(why)),
                }
            }
            Weighed::NoData | Weighed::Inconclusive => {
                Some(Next::Hold(format!("HOLD: {sentence}; {often}")))
            }
            Weighed::Failed | Weighed::Passed => None,
        }
    }

    /// Is stable sick, too? Then it is not the canary.
    fn common_cause(&self) -> Option<String> {
        let all = self.stable_all;
        if self.hotfix || all.requests == 0 || all.errors < COMMON_ERRORS_MIN {
            return None;
        }
        let now = 100.0 * exact(all.errors) / exact(all.requests);
        let before = self.baseline.get("baseline.error_rate").copied();
        let risen = before
            .is_some_and(|before| now > before * COMMON_FACTOR && now > before + COMMON_POINTS);
        let broken = self.settings.objective.is_some_and(|objective| now > objective);
        (risen || broken).then(|| {
            format!("HOLD: stable has {now:.1} % errors itself, so it may not be the canary")
        })
    }

    /// True when the newest figures are too old to decide anything.
    #[must_use]
    pub fn is_stale(&self, now: Now) -> bool {
        self.fresh.is_none_or(|at| now.mono.since(at) > self.interval * 3)
    }

    /// What the step comes to at `now`.
    #[must_use]
    pub fn next(&self, now: Now) -> Next {
        let Some(since) = self.since else { return Next::Stay };
        if matches!(self.next, Next::Fail(_) | Next::Hold(_)) {
            return self.next.clone();
        }
        let times = self.settings.times(self.place);
        if since.age(now) >= times.soak && !self.is_stale(now) && self.rules_allow() {
            match (&self.next, self.settings.pass) {
                (Next::Pass(why), Pass::Evidence) => return Next::Pass(why.clone()),
                (_, Pass::Time) if self.totals[1].requests >= self.settings.requests_min => {
                    return Next::Pass(format!(
                        "PASS: {} requests in {} s without a fail",
                        self.totals[1].requests,
                        since.age(now).as_secs()
                    ));
                }
                (Next::Pass(_) | Next::Stay | Next::Fail(_) | Next::Hold(_), _) => {}
            }
        }
        let waited = self.waits_from.unwrap_or(since).age(now);
        if waited >= times.wait {
            let minutes = waited.as_secs() / 60;
            let why = self.blind.as_ref().unwrap_or(&self.sentence);
            return Next::Hold(format!("HOLD after {minutes} min: {why}"));
        }
        Next::Stay
    }

    fn rules_allow(&self) -> bool {
        if self.settings.pass_when.is_empty() { self.blind.is_none() } else { self.rules_pass }
    }

    /// When [`Rollout::next`] may change without a new look.
    #[must_use]
    pub fn wakes(&self, now: Now) -> Option<Now> {
        let since = self.since?;
        let times = self.settings.times(self.place);
        let soak = shifted(since, times.soak);
        let wait = shifted(self.waits_from.unwrap_or(since), times.wait);
        [soak, wait].into_iter().filter(|at| at.mono > now.mono).min_by_key(|at| at.mono)
    }

    /// A judgement beside the step's time: bake watches with it.
    #[must_use]
    pub fn failed(&self) -> Option<&str> {
        match &self.next {
            Next::Fail(why) => Some(why),
            Next::Stay | Next::Pass(_) | Next::Hold(_) => None,
        }
    }

    /// Why a person must look.
    #[must_use]
    pub fn held(&self) -> Option<&str> {
        match &self.next {
            Next::Hold(why) => Some(why),
            Next::Stay | Next::Pass(_) | Next::Fail(_) => None,
        }
    }

    #[must_use]
    pub fn sentence(&self) -> &str {
        &self.sentence
    }

    /// One word: PASS, FAIL, NEED MORE DATA, NO DATA.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match (&self.next, &self.verdict) {
            (Next::Fail(_), _) => "FAIL",
            (Next::Hold(_), _) => "HOLD",
            (Next::Pass(_), _) => "PASS",
            (Next::Stay, Verdict::NoData { .. }) => "NO DATA",
            (Next::Stay, Verdict::Pass { .. } | Verdict::Fail | Verdict::NeedMoreData { .. }) => {
                "NEED MORE DATA"
            }
        }
    }

    #[must_use]
    pub fn view(&self) -> CanaryView {
        let control = self.control();
        let evidence = self.signals.iter().map(|signal| Evidence {
            name: match signal.kind() {
                Kind::Errors => "errors".to_owned(),
                Kind::Slow => "slow requests".to_owned(),
            },
            fail: signal.toward_fail(&self.policy, control),
            pass: signal.toward_pass(&self.policy),
        });
        let times = self.settings.times(self.place);
        let until = |span| self.since.map(|since| shifted(since, span));
        CanaryView {
            steps: self.settings.steps.clone(),
            place: u32::try_from(self.place).unwrap_or(u32::MAX),
            since: self.since,
            soak_until: until(times.soak),
            wait_until: self.waits_from.map(|from| shifted(from, times.wait)),
            bake_until: None,
            stable: self.totals[0],
            canary: self.totals[1],
            evidence: evidence.collect(),
            verdict: self.word().to_owned(),
            sentence: Untrusted::new(&self.sentence),
        }
    }
}

/// A rule about the canary alone is an absolute guard: it stands even when stable is sick, too.
fn is_guard(rule: &Rule) -> bool {
    rule.operands().iter().all(|name| name.starts_with("canary."))
}

fn shifted(from: Now, span: Duration) -> Now {
    let wall = chrono::TimeDelta::from_std(span).unwrap_or_default();
    Now { mono: from.mono + span, wall: from.wall + wall }
}

#[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
fn exact(count: u64) -> f64 {
    count as f64
}

fn add(sum: &mut Option<ArmCount>, more: Option<ArmCount>) {
    let Some(more) = more else { return };
    let Some(sum) = sum else {
        *sum = Some(more);
        return;
    };
    sum.requests += more.requests;
    sum.errors += more.errors;
    sum.slow = sum.slow.zip(more.slow).map(|(a, b)| a + b);
    if sum.buckets.len() == more.buckets.len() {
        for (mine, other) in sum.buckets.iter_mut().zip(more.buckets) {
            mine.1 += other.1;
        }
    } else {
        sum.buckets.clear();
    }
}

impl ArmTotals {
    fn add(&mut self, arm: Option<&ArmCount>) {
        let Some(arm) = arm else { return };
        self.requests += arm.requests;
        self.errors += arm.errors;
        if let Some(slow) = arm.slow {
            self.slow = Some(self.slow.unwrap_or(0) + slow);
        }
    }
}

#[cfg(test)]
mod tests;
