//! A verdict as one sentence with its evidence.
//!
//! Decides the words and how many digits a figure shows. Never judges. Contract: pure; no figure is
//! shown surer than it is: "at least" is rounded down, what is still needed up.

use super::{Control, Kind, NoData, Objective, Policy, Road, Signal, Slower, Verdict};

/// The verdict of a signal.
pub fn sentence(signal: &Signal, verdict: &Verdict, policy: &Policy, control: Control) -> String {
    match (verdict, control, signal.objective()) {
        (Verdict::Fail, Control::Objective, Some(objective)) => {
            let luck = one_in(policy.alpha);
            let (seen, allowed) = alone(signal.kind(), objective);
            format!("FAIL: {seen}; above the objective of {allowed}; by luck less than {luck}.")
        }
        (Verdict::Fail, Control::Stable | Control::Objective, _) => failed(signal, policy),
        (Verdict::Pass { road: Road::Stable }, _, _) => {
            let luck = one_in(policy.beta);
            let harm = signal.comparison().harm();
            let beside = beside(signal, "with");
            format!("PASS: {beside}; less than {harm:.1}× stable; by luck less than {luck}.")
        }
        (Verdict::Pass { road: Road::Objective }, _, Some(objective)) => {
            let luck = one_in(policy.beta);
            let (seen, allowed) = alone(signal.kind(), objective);
            format!("PASS: {seen}; below the objective of {allowed}; by luck less than {luck}.")
        }
        (Verdict::Pass { road: Road::Objective }, _, None) => "PASS: the objective is met.".into(),
        (Verdict::NeedMoreData { requests, at_rate }, _, _) => {
            let seen = match (control, signal.objective()) {
                (Control::Objective, Some(objective)) => alone(signal.kind(), objective).0,
                (Control::Objective, None) | (Control::Stable, _) => beside(signal, "with"),
            };
            format!("NEED MORE DATA: {seen}; {}.", more(*requests, *at_rate))
        }
        (Verdict::NoData { why }, _, _) => format!("NO DATA: {}.", reason(*why)),
    }
}

impl Slower {
    /// FAIL by whole distributions.
    #[must_use]
    pub fn sentence(&self, policy: &Policy) -> String {
        let figure = match self.quantile {
            Some((percent, ms)) => {
                format!("p{percent:.0} slower by at least {} ms", rounded_down(ms))
            }
            None => format!(
                "at most {} of its requests within {} ms, at least {} of stable's",
                percent(self.canary_at_most),
                figure(self.border_ms),
                percent(self.stable_at_least)
            ),
        };
        let luck = one_in(policy.alpha);
        format!("FAIL: the canary is slower: {figure}; by luck less than {luck}.")
    }
}

fn failed(signal: &Signal, policy: &Policy) -> String {
    let comparison = signal.comparison();
    let (stable, canary) = comparison.totals();
    let share = comparison.share().unwrap_or(0.0);
    let part = canary.events / (stable.events + canary.events);
    // "only" says something when its part of the events is well above its share.
    let with = if part > share * 1.5 { "but only" } else { "with" };
    let least = match comparison.at_least(policy.alpha) {
        Some(least) => format!("at least {}× stable; ", rounded_down(least)),
        None => String::new(),
    };
    let luck = one_in(policy.alpha);
    format!("FAIL: {}; {least}by luck less than {luck}.", beside(signal, with))
}

/// "the canary had 17 of 41 errors but only 5 % of the traffic"
fn beside(signal: &Signal, with: &str) -> String {
    let (stable, canary) = signal.comparison().totals();
    let events = match signal.kind() {
        Kind::Errors => "errors",
        Kind::Slow => "slow requests",
    };
    let all = figure(stable.events + canary.events);
    let Some(share) = signal.comparison().share() else {
        let alone = |objective| alone(signal.kind(), objective).0;
        return signal.objective().map_or_else(|| "no request was seen".into(), alone);
    };
    let share = percent(share);
    format!(
        "the canary had {} of {all} {events} {with} {share} of the traffic",
        figure(canary.events)
    )
}

/// "0 errors in 312 canary requests", and the rate allowed.
fn alone(kind: Kind, objective: &Objective) -> (String, String) {
    let seen = objective.seen();
    let one = (seen.events - 1.0).abs() < 0.005;
    let events = match (kind, one) {
        (Kind::Errors, true) => "error",
        (Kind::Errors, false) => "errors",
        (Kind::Slow, true) => "slow one",
        (Kind::Slow, false) => "slow ones",
    };
    let seen =
        format!("{} {events} in {} canary requests", figure(seen.events), figure(seen.requests));
    (seen, percent(objective.rate()))
}

fn more(requests: Option<f64>, at_rate: Option<f64>) -> String {
    let Some(requests) = requests else {
        return "no end in sight at these rates".into();
    };
    let requests = format!("about {} more requests", rounded_up(requests));
    match at_rate {
        Some(seconds) => format!("{requests}, some {} at this rate", span(seconds)),
        None => requests,
    }
}

fn reason(why: NoData) -> &'static str {
    match why {
        NoData::Missing => "the source has no counts for an arm",
        NoData::Stale => "the counts are stale",
        NoData::Gap => "looks are missing",
        NoData::Reset => "a counter was reset",
        NoData::PollerLate => "the poller was late",
    }
}

/// "1 in 100"
fn one_in(level: f64) -> String {
    format!("1 in {:.0}", (1.0 / level).floor())
}

/// Part in 0 to 1 as percent with two digits that count.
fn percent(part: f64) -> String {
    let value = part * 100.0;
    // Not 100 % before it is all, not 0 % before it is none.
    let digits = match value {
        v if v > 99.0 && v < 100.0 => 1,
        v if v >= 10.0 || v <= 0.0 => 0,
        v if v >= 1.0 => 1,
        v => (1..8).find(|digits| v * 10_f64.powi(*digits) >= 9.5).unwrap_or(8),
    };
    let text = format!("{value:.*}", usize::try_from(digits).unwrap_or(0));
    let text =
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text} %")
}

/// Counts are whole but for sources that count otherwise.
fn figure(value: f64) -> String {
    let whole = (value - value.round()).abs() < 0.05;
    if whole { grouped(&format!("{value:.0}")) } else { format!("{value:.1}") }
}

/// "1,200"
fn grouped(digits: &str) -> String {
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// "4.1", "12": never above the value.
fn rounded_down(value: f64) -> String {
    if value >= 10.0 {
        return format!("{:.0}", value.floor());
    }
    format!("{:.1}", (value * 10.0).floor() / 10.0)
}

/// To two digits that count, upwards.
fn rounded_up(value: f64) -> String {
    let mut unit = 1.0;
    while value / unit > 100.0 {
        unit *= 10.0;
    }
    grouped(&format!("{:.0}", (value / unit).ceil() * unit))
}

fn span(seconds: f64) -> String {
    match seconds {
        s if s < 90.0 => format!("{:.0} s", s.ceil()),
        s if s < 90.0 * 60.0 => format!("{:.0} min", (s / 60.0).ceil()),
        s if s < 48.0 * 3600.0 => format!("{:.0} h", (s / 3600.0).ceil()),
        s => format!("{:.0} days", (s / 86_400.0).ceil()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Counts;
    use super::*;

    /// The sentence after so many equal looks.
    fn check(looks: u32, stable: [f64; 2], canary: [f64; 2], control: Control, expected: &str) {
        let policy = Policy::default();
        let mut signal = Signal::new(Kind::Errors, &policy, Some(0.01));
        let counts = |[requests, events]: [f64; 2]| Counts { requests, events };
        for _ in 0..looks {
            signal.observe(Some(counts(stable)), counts(canary));
        }
        let verdict = signal.judge(&policy, control, Some(2.0));
        assert_eq!(signal.sentence(&verdict, &policy, control), expected);
    }

    #[test]
    fn every_verdict_has_its_sentence() {
        let stable = Control::Stable;
        check(
            17,
            [95.0, 24.0 / 17.0],
            [5.0, 1.0],
            stable,
            "FAIL: the canary had 17 of 41 errors but only 5 % of the traffic; \
             at least 4.0× stable; by luck less than 1 in 100.",
        );
        check(
            60,
            [90.0, 18.0],
            [10.0, 2.0],
            stable,
            "PASS: the canary had 120 of 1,200 errors with 10 % of the traffic; \
             less than 2.0× stable; by luck less than 1 in 20.",
        );
        check(
            40,
            [90.0, 0.0],
            [10.0, 0.0],
            stable,
            "PASS: 0 errors in 400 canary requests; below the objective of 1 %; \
             by luck less than 1 in 20.",
        );
        check(
            60,
            [90.0, 45.0],
            [10.0, 2.0],
            Control::Objective,
            "FAIL: 120 errors in 600 canary requests; above the objective of 1 %; \
             by luck less than 1 in 100.",
        );
        check(
            0,
            [0.0, 0.0],
            [0.0, 0.0],
            stable,
            "NEED MORE DATA: 0 errors in 0 canary requests; about 340 more requests, \
             some 3 min at this rate.",
        );
    }

    #[test]
    fn what_is_unknown_is_said() {
        let policy = Policy::default();
        let signal = Signal::new(Kind::Slow, &policy, None);
        let verdict = Verdict::NoData { why: NoData::Reset };
        let said = signal.sentence(&verdict, &policy, Control::Stable);
        assert_eq!(said, "NO DATA: a counter was reset.");
        assert_eq!(more(None, None), "no end in sight at these rates");
        assert_eq!(
            more(Some(137.2), Some(340.0)),
            "about 140 more requests, some 6 min at this rate"
        );
        assert_eq!(more(Some(3.0), None), "about 3 more requests");
    }

    #[test]
    fn a_slower_canary_has_its_figure() {
        let policy = Policy::default();
        let mut slower = Slower {
            border_ms: 250.0,
            canary_at_most: 0.612,
            stable_at_least: 0.724,
            quantile: Some((75.0, 12.4)),
        };
        assert_eq!(
            slower.sentence(&policy),
            "FAIL: the canary is slower: p75 slower by at least 12 ms; by luck less than 1 in 100."
        );
        slower.quantile = None;
        assert_eq!(
            slower.sentence(&policy),
            "FAIL: the canary is slower: at most 61 % of its requests within 250 ms, \
             at least 72 % of stable's; by luck less than 1 in 100."
        );
    }

    #[test]
    fn figures_are_short_and_not_too_sure() {
        let check = |part: f64, expected: &str| assert_eq!(percent(part), expected);
        check(0.05, "5 %");
        check(0.333, "33 %");
        check(0.0123, "1.2 %");
        check(0.001, "0.1 %");
        check(0.000_57, "0.057 %");
        check(0.0, "0 %");
        check(0.9991, "99.9 %");
        check(1.0, "100 %");
        assert_eq!(rounded_down(4.19), "4.1");
        assert_eq!(rounded_down(4.0), "4.0");
        assert_eq!(rounded_down(12.9), "12");
        assert_eq!(rounded_up(1234.0), "1,300");
        assert_eq!(one_in(0.005), "1 in 200");
    }
}
