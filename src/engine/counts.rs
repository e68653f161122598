//! From raw counters to what both arms did over the last window.
//!
//! Decides which differences count. Never fills a gap: a reset, a series that vanished, a value
//! that is no number or an arm that is missing makes its interval *no data*, never zero. Contract:
//! pure; memory is bounded by [`LOOKS_MAX`] and [`SERIES_MAX`].
//!
//! A series that appears in an arm that was already counted starts at zero: the first error of a
//! version is an error. One that comes back after it vanished has an unknown past, so it only
//! starts anew.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::reading::{GroupCounters, Measurement};
use crate::record::ArmCount;
use crate::settings::Signals;
use crate::snapshot::ArmView;
use crate::types::{Group, Now};

/// Looks kept, whatever the window: an hour of one look each four seconds.
pub const LOOKS_MAX: usize = 900;
/// Series followed for one arm; more, and the arm is no data until it has fewer.
pub const SERIES_MAX: usize = 20_000;
/// Past looks in [`ArmView::error_history`].
pub const HISTORY_MAX: usize = 60;

/// The counters of one service.
#[derive(Clone, Debug)]
pub struct Counts {
    window: Duration,
    slow_above: Option<Duration>,
    at: Option<DateTime<Utc>>,
    tracks: [Track; 2],
    looks: VecDeque<Look>,
}

/// What one arm's counters read last.
#[derive(Clone, Debug, Default)]
struct Track {
    /// Was there data in the last look?
    known: bool,
    /// The last value, and whether the last look still had it.
    last: BTreeMap<Key, (f64, bool)>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Signal {
    Requests,
    Errors,
    Bucket(String),
    Sum,
    Count,
}

type Key = (Signal, String);

/// One look's differences.
#[derive(Clone, Debug)]
struct Look {
    received: Now,
    arms: [Option<Interval>; 2],
    latency_avg_ms: [Option<f64>; 2],
}

#[derive(Clone, Debug, Default)]
struct Interval {
    seconds: f64,
    requests: f64,
    errors: f64,
    buckets: BTreeMap<String, f64>,
    sum: Option<f64>,
    count: Option<f64>,
}

fn place(group: Group) -> usize {
    match group {
        Group::A => 0,
        Group::B => 1,
    }
}

/// So many looks in a row without an arm are no reset and no late scrape.
const VANISHED_LOOKS: usize = 3;

impl Counts {
    #[must_use]
    pub fn new(window: Duration, slow_above: Option<Duration>) -> Counts {
        Counts {
            window,
            slow_above,
            at: None,
            tracks: [Track::default(), Track::default()],
            looks: VecDeque::new(),
        }
    }

    /// Takes one look. The same `at` again is the same look; an earlier one is a source whose
    /// clock or identity changed, so every counter starts anew. What each group did since the look
    /// before comes back, `None` where that is no data; nothing for the same look.
    pub fn observe(&mut self, m: &Measurement, received: Now) -> Option<[Option<ArmCount>; 2]> {
        if self.at == Some(m.at) {
            return None;
        }
        let span = self.at.and_then(|last| (m.at - last).to_std().ok());
        self.at = Some(m.at);
        // A gap of more than two windows says nothing about this one.
        let span = span.filter(|span| *span <= self.window * 2);
        let [track_a, track_b] = &mut self.tracks;
        let arms = [track_a.advance(&m.a, span), track_b.advance(&m.b, span)];
        let latency_avg_ms = [&m.a, &m.b].map(|counters| {
            counters.latency_avg_ms.filter(|value| value.is_finite() && *value >= 0.0)
        });
        self.looks.push_back(Look { received, arms, latency_avg_ms });
        let window = self.window;
        let old = |look: &Look| look.received.age(received) >= window;
        // The last looks stay for the history, beyond the window too.
        while self.looks.len() > LOOKS_MAX
            || (self.looks.len() > HISTORY_MAX && self.looks.front().is_some_and(old))
        {
            self.looks.pop_front();
        }
        let newest = self.looks.back()?;
        Some([0, 1].map(|group| Some(newest.arms[group].as_ref()?.count(self.slow_above))))
    }

    /// Both arms over the window that ends with the newest look, and the percent of all requests
    /// that the canary served.
    #[must_use]
    pub fn view(&self, stable: Group, signals: &Signals) -> (ArmView, ArmView, Option<f64>) {
        let canary = match stable {
            Group::A => Group::B,
            Group::B => Group::A,
        };
        let stable = self.arm(stable, signals);
        let canary = self.arm(canary, signals);
        let share = match (stable.requests, canary.requests) {
            (Some(stable), Some(canary)) if stable + canary > 0.0 => {
                Some(canary / (stable + canary) * 100.0)
            }
            _ => None,
        };
        (stable, canary, share)
    }

    /// Percent of the requests that took longer than the configured border, by the nearest bucket
    /// bound below it; `None` without a border or a histogram.
    #[must_use]
    pub fn slow_percent(&self, group: Group) -> Option<f64> {
        let border = self.slow_above?;
        let buckets = cumulative(&self.sum(group)?.buckets);
        let (_, total) = buckets.last().copied().filter(|(_, total)| *total > 0.0)?;
        Some((total - within(&buckets, border)?) / total * 100.0)
    }

    fn in_window(&self) -> impl Iterator<Item = &Look> {
        let newest = self.looks.back().map(|look| look.received);
        self.looks.iter().filter(move |look| {
            newest.is_some_and(|newest| look.received.age(newest) < self.window)
        })
    }

    /// The window's intervals of one arm in one; `None` when none of them has data, and when it has
    /// vanished: what it did before that is no figure of now.
    fn sum(&self, group: Group) -> Option<Interval> {
        let group = place(group);
        if self.looks.iter().rev().take(VANISHED_LOOKS).all(|look| look.arms[group].is_none()) {
            return None;
        }
        let mut all: Option<Interval> = None;
        for interval in self.in_window().filter_map(|look| look.arms[group].as_ref()) {
            let all = all.get_or_insert_with(Interval::default);
            all.seconds += interval.seconds;
            all.requests += interval.requests;
            all.errors += interval.errors;
            for (bound, count) in &interval.buckets {
                *all.buckets.entry(bound.clone()).or_default() += count;
            }
            all.sum = add(all.sum, interval.sum);
            all.count = add(all.count, interval.count);
        }
        all
    }

    fn arm(&self, group: Group, signals: &Signals) -> ArmView {
        let place = place(group);
        let version = signals.versions[place].clone();
        let error_history = self
            .looks
            .iter()
            .skip(self.looks.len().saturating_sub(HISTORY_MAX))
            .map(|look| look.arms[place].as_ref().and_then(Interval::error_percent))
            .collect();
        let Some(all) = self.sum(group) else {
            return ArmView { version, error_history, ..ArmView::default() };
        };
        let average = match (all.sum, all.count) {
            (Some(sum), Some(count)) if count > 0.0 => Some(sum / count * 1000.0),
            _ => self.looks.back().and_then(|look| look.latency_avg_ms[place]),
        };
        let buckets = cumulative(&all.buckets);
        let quantile = |q| quantile(&buckets, q).map(|seconds| seconds * 1000.0);
        ArmView {
            version,
            requests: Some(all.requests),
            requests_per_s: (all.seconds > 0.0).then(|| all.requests / all.seconds),
            errors: Some(all.errors),
            error_percent: all.error_percent(),
            latency_avg_ms: average,
            latency_p50_ms: quantile(0.50),
            latency_p95_ms: quantile(0.95),
            latency_p99_ms: quantile(0.99),
            error_history,
        }
    }
}

fn add(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a + b),
        (some, None) | (None, some) => some,
    }
}

impl Interval {
    /// Sources that count a retry twice can have more errors than requests: still 100 percent.
    fn error_percent(&self) -> Option<f64> {
        (self.requests > 0.0).then(|| (self.errors / self.requests * 100.0).min(100.0))
    }
}

impl Track {
    /// The differences to the last look; `None` when any of them cannot be trusted.
    fn advance(&mut self, counters: &GroupCounters, span: Option<Duration>) -> Option<Interval> {
        let values = flatten(counters);
        let was_known = self.known;
        let absent: Vec<Key> = self
            .last
            .iter()
            .filter(|(key, (_, present))| *present && !values.contains_key(*key))
            .map(|(key, _)| key.clone())
            .collect();
        let mut sound = was_known && absent.is_empty() && span.is_some();
        for key in absent {
            if let Some((_, present)) = self.last.get_mut(&key) {
                *present = false;
            }
        }
        self.known = counters.requests.is_some() && values.len() <= SERIES_MAX;
        if !self.known || values.values().any(|value| !value.is_finite() || *value < 0.0) {
            self.known = false;
            self.last.clear();
            return None;
        }
        let mut interval = Interval::default();
        for (key, value) in values {
            let rise = match self.last.get(&key) {
                Some((last, true)) => value - last,
                // Its past is unknown: it may have counted while it was away.
                Some((_, false)) => -1.0,
                None => value,
            };
            sound &= rise >= 0.0;
            interval.add(&key.0, rise);
            self.last.insert(key, (value, true));
        }
        if self.last.len() > SERIES_MAX {
            self.last.retain(|_, (_, present)| *present);
        }
        let span = span.filter(|_| sound)?;
        interval.seconds = span.as_secs_f64();
        Some(interval)
    }
}

/// Counters are whole numbers; one that is not (a sum of rates) is taken as the nearest.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts are finite, not negative, and below 2^53"
)]
fn whole(count: f64) -> u64 {
    count.round() as u64
}

impl Interval {
    fn count(&self, slow_above: Option<Duration>) -> ArmCount {
        let buckets = cumulative(&self.buckets);
        let slow = slow_above.and_then(|border| {
            let (_, total) = buckets.last()?;
            Some(whole(total - within(&buckets, border)?))
        });
        ArmCount {
            requests: whole(self.requests),
            errors: whole(self.errors.min(self.requests)),
            slow,
            buckets: buckets
                .iter()
                .map(|(bound, count)| (bound.to_string(), whole(*count)))
                .collect(),
        }
    }

    fn add(&mut self, signal: &Signal, rise: f64) {
        match signal {
            Signal::Requests => self.requests += rise,
            Signal::Errors => self.errors += rise,
            Signal::Bucket(bound) => *self.buckets.entry(bound.clone()).or_default() += rise,
            Signal::Sum => self.sum = add(self.sum, Some(rise)),
            Signal::Count => self.count = add(self.count, Some(rise)),
        }
    }
}

fn flatten(counters: &GroupCounters) -> BTreeMap<Key, f64> {
    let mut values = BTreeMap::new();
    let plain = [
        (Signal::Requests, &counters.requests),
        (Signal::Errors, &counters.errors),
        (Signal::Sum, &counters.latency_sum_s),
        (Signal::Count, &counters.latency_count),
    ];
    for (signal, series) in plain {
        for (name, value) in series.iter().flatten() {
            values.insert((signal.clone(), name.clone()), *value);
        }
    }
    for (bound, series) in counters.buckets.iter().flatten() {
        for (name, value) in series {
            values.insert((Signal::Bucket(bound.clone()), name.clone()), *value);
        }
    }
    values
}

/// Bounds in seconds, ascending, with counts that never fall: buckets of one look may have been
/// read a moment apart.
fn cumulative(buckets: &BTreeMap<String, f64>) -> Vec<(f64, f64)> {
    let mut sorted: Vec<(f64, f64)> = buckets
        .iter()
        .filter_map(|(bound, count)| Some((bound.parse::<f64>().ok()?, *count)))
        .filter(|(bound, _)| !bound.is_nan())
        .collect();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut highest = 0.0_f64;
    for (_, count) in &mut sorted {
        highest = highest.max(*count);
        *count = highest;
    }
    sorted
}

/// Requests up to the nearest bound at or below the border.
fn within(buckets: &[(f64, f64)], border: Duration) -> Option<f64> {
    let border = border.as_secs_f64() + f64::EPSILON;
    buckets.iter().rev().find(|(bound, _)| *bound <= border).map(|(_, count)| *count)
}

/// By linear interpolation inside the bucket; beyond the last finite bound, that bound.
fn quantile(buckets: &[(f64, f64)], q: f64) -> Option<f64> {
    let (last, total) = buckets.last().copied()?;
    // Without the bucket of everything the total is unknown.
    if !last.is_infinite() || total <= 0.0 {
        return None;
    }
    let rank = q * total;
    let found = buckets.iter().position(|(_, count)| *count >= rank)?;
    let (upper, count) = buckets[found];
    let (lower, below) = match found.checked_sub(1) {
        Some(before) => buckets[before],
        None => (0.0, 0.0),
    };
    if upper.is_infinite() {
        return (found > 0).then_some(lower);
    }
    if upper <= 0.0 || count <= below {
        return Some(upper);
    }
    Some(lower + (upper - lower) * (rank - below) / (count - below))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reading::Series;
    use crate::settings::Tenants;
    use crate::types::Time;

    const WINDOW: Duration = Duration::from_mins(1);

    fn signals() -> Signals {
        Signals {
            interval: Duration::from_secs(5),
            window: WINDOW,
            slow_above: None,
            versions: ["v1".into(), "v2".into()],
            tenants: Tenants::default(),
        }
    }

    fn now(second: u32) -> Now {
        let wall = DateTime::from_timestamp(i64::from(second), 0).expect("a valid second");
        Now { mono: Time(u64::from(second) * 1_000_000), wall }
    }

    fn series(values: &[(&str, f64)]) -> Series {
        values.iter().map(|(name, value)| ((*name).into(), *value)).collect()
    }

    fn arm(requests: f64, errors: Option<f64>) -> GroupCounters {
        GroupCounters {
            requests: Some(series(&[("s", requests)])),
            errors: errors.map(|errors| series(&[("e", errors)])),
            ..GroupCounters::default()
        }
    }

    /// Looks at a and b at the given seconds.
    fn counts(looks: &[(u32, GroupCounters, GroupCounters)]) -> Counts {
        let mut counts = Counts::new(WINDOW, Some(Duration::from_millis(100)));
        for (second, a, b) in looks {
            let at = now(*second).wall;
            counts.observe(&Measurement::new(at, a.clone(), b.clone()), now(*second));
        }
        counts
    }

    fn check(
        looks: &[(u32, GroupCounters)],
        requests: Option<f64>,
        errors: Option<f64>,
        history: &[Option<f64>],
    ) {
        let looks: Vec<_> = looks
            .iter()
            .map(|(second, a)| (*second, a.clone(), GroupCounters::default()))
            .collect();
        let (stable, canary, share) = counts(&looks).view(Group::A, &signals());
        assert_eq!((stable.requests, stable.errors), (requests, errors));
        assert_eq!(stable.error_history, history);
        assert_eq!((canary.requests, canary.error_percent, share), (None, None, None));
    }

    #[test]
    fn an_arm_that_vanished_has_no_figures() {
        let there = |second: u32| {
            (second, arm(f64::from(second), None), arm(f64::from(second) * 2.0, None))
        };
        let gone = |second: u32| (second, arm(f64::from(second), None), GroupCounters::default());
        let requests = |looks: &[(u32, GroupCounters, GroupCounters)]| {
            let (stable, canary, _) = counts(looks).view(Group::A, &signals());
            (stable.requests, canary.requests)
        };
        let mut looks = vec![there(0), there(5), there(10), gone(15), gone(20)];
        assert_eq!(requests(&looks), (Some(20.0), Some(20.0)), "a gap");
        looks.push(gone(25));
        assert_eq!(requests(&looks), (Some(25.0), None), "gone");
    }

    #[test]
    fn the_first_look_is_no_data() {
        check(&[(0, arm(10.0, None))], None, None, &[None]);
        check(&[(0, GroupCounters::default())], None, None, &[None]);
    }

    #[test]
    fn differences_add_up_and_absent_errors_are_zero() {
        check(
            &[(0, arm(10.0, None)), (5, arm(20.0, None)), (10, arm(40.0, Some(5.0)))],
            Some(30.0),
            Some(5.0),
            &[None, Some(0.0), Some(25.0)],
        );
    }

    #[test]
    fn the_same_scrape_is_the_same_look() {
        check(
            &[(0, arm(10.0, None)), (5, arm(20.0, None)), (5, arm(99.0, None))],
            Some(10.0),
            Some(0.0),
            &[None, Some(0.0)],
        );
    }

    #[test]
    fn a_reset_is_no_data_for_its_interval() {
        check(
            &[(0, arm(10.0, None)), (5, arm(4.0, None)), (10, arm(6.0, None))],
            Some(2.0),
            Some(0.0),
            &[None, None, Some(0.0)],
        );
    }

    #[test]
    fn a_vanished_series_is_no_data_and_comes_back_without_a_past() {
        let both = |x: f64, y: f64| GroupCounters {
            requests: Some(series(&[("x", x), ("y", y)])),
            ..GroupCounters::default()
        };
        let one = |x: f64| GroupCounters {
            requests: Some(series(&[("x", x)])),
            ..GroupCounters::default()
        };
        let looks =
            [(0, both(1.0, 100.0)), (5, one(2.0)), (10, both(3.0, 150.0)), (15, both(4.0, 151.0))];
        check(&looks, Some(2.0), Some(0.0), &[None, None, None, Some(0.0)]);
        let errors_gone = [(0, arm(1.0, Some(1.0))), (5, arm(2.0, None)), (10, arm(4.0, None))];
        check(&errors_gone, Some(2.0), Some(0.0), &[None, None, Some(0.0)]);
    }

    #[test]
    fn a_value_that_is_no_number_is_no_data() {
        for bad in [f64::NAN, f64::INFINITY, -1.0] {
            let looks = [
                (0, arm(1.0, None)),
                (5, arm(bad, None)),
                (10, arm(9.0, None)),
                (15, arm(10.0, None)),
            ];
            check(&looks, Some(1.0), Some(0.0), &[None, None, None, Some(0.0)]);
        }
    }

    #[test]
    fn a_missing_arm_is_no_data() {
        let looks = [(0, arm(1.0, None)), (5, GroupCounters::default())];
        check(&looks, None, None, &[None, None]);
    }

    #[test]
    fn old_looks_and_long_gaps_leave_the_window() {
        let looks = [(0, arm(0.0, None)), (5, arm(10.0, None)), (65, arm(11.0, None))];
        check(&looks, Some(1.0), Some(0.0), &[None, Some(0.0), Some(0.0)]);
        let gap = [(0, arm(0.0, None)), (500, arm(10.0, None))];
        check(&gap, None, None, &[None, None]);
        let back = [(10, arm(0.0, None)), (5, arm(10.0, None))];
        check(&back, None, None, &[None, None]);
    }

    #[test]
    fn share_follows_the_roles() {
        let looks =
            [(0, arm(0.0, None), arm(0.0, None)), (10, arm(90.0, None), arm(10.0, Some(2.0)))];
        let counts = counts(&looks);
        let (stable, canary, share) = counts.view(Group::A, &signals());
        assert_eq!((stable.version.as_str(), canary.version.as_str()), ("v1", "v2"));
        assert_eq!((share, canary.error_percent), (Some(10.0), Some(20.0)));
        assert_eq!(stable.requests_per_s, Some(9.0));
        let (stable, _, share) = counts.view(Group::B, &signals());
        assert_eq!((stable.version.as_str(), share), ("v2", Some(90.0)));
    }

    #[test]
    fn no_requests_have_no_error_rate() {
        check(&[(0, arm(1.0, None)), (5, arm(1.0, None))], Some(0.0), Some(0.0), &[None, None]);
    }

    #[test]
    fn histories_are_bounded() {
        let mut counts = Counts::new(WINDOW, None);
        for second in 0..2000_u32 {
            let a = arm(f64::from(second), None);
            let m = Measurement::new(now(second).wall, a, GroupCounters::default());
            counts.observe(&m, now(second));
        }
        let (stable, _, _) = counts.view(Group::A, &signals());
        assert_eq!(stable.error_history.len(), HISTORY_MAX);
        assert_eq!(stable.requests, Some(60.0));
        assert!(counts.looks.len() <= HISTORY_MAX);
    }

    fn histogram(counts: [f64; 3]) -> GroupCounters {
        let bounds = ["0.1", "0.2", "+Inf"];
        let buckets = bounds
            .iter()
            .zip(counts)
            .map(|(bound, count)| ((*bound).to_owned(), Series::from([("s".to_owned(), count)])));
        GroupCounters {
            requests: Some(series(&[("s", counts[2])])),
            buckets: Some(buckets.collect()),
            latency_sum_s: Some(series(&[("s", counts[2] * 0.05)])),
            latency_count: Some(series(&[("s", counts[2])])),
            ..GroupCounters::default()
        }
    }

    #[test]
    fn quantiles_are_interpolated_inside_a_bucket() {
        let none = GroupCounters::default();
        let looks = [
            (0, histogram([5.0, 5.0, 5.0]), none.clone()),
            (5, histogram([55.0, 103.0, 105.0]), none),
        ];
        let counts = counts(&looks);
        let (stable, _, _) = counts.view(Group::A, &signals());
        let near = |value: Option<f64>, wanted: f64| {
            let value = value.expect("a histogram has quantiles");
            assert!((value - wanted).abs() < 1e-6, "{value} is not {wanted}");
        };
        near(stable.latency_p50_ms, 100.0);
        near(stable.latency_p95_ms, 193.75);
        near(stable.latency_p99_ms, 200.0);
        near(stable.latency_avg_ms, 50.0);
        near(counts.slow_percent(Group::A), 50.0);
    }

    #[test]
    fn a_histogram_without_its_last_bucket_has_no_quantiles() {
        assert_eq!(quantile(&[(0.1, 5.0)], 0.5), None);
        assert_eq!(quantile(&[(f64::INFINITY, 5.0)], 0.5), None);
        assert_eq!(quantile(&[(0.1, 0.0), (f64::INFINITY, 0.0)], 0.5), None);
        assert_eq!(quantile(&[], 0.5), None);
    }
}
