//! What rules may name, and what each name stands for.
//!
//! Decides how the figures of two arms add up to those of the service. Never fills a gap: a figure
//! that an arm does not have is left out. Contract: the lists of names are all that `values`,
//! `host_values` and `baseline` ever give.

use std::collections::BTreeMap;

use super::Values;
use crate::reading::HostReading;
use crate::snapshot::{ArmView, SignalsView};
use crate::tenant;
use crate::types::Now;

macro_rules! names {
    ($($arm:literal)*) => {
        &[$(
            concat!($arm, ".requests"),
            concat!($arm, ".errors"),
            concat!($arm, ".error_rate"),
            concat!($arm, ".availability"),
            concat!($arm, ".throughput"),
            concat!($arm, ".latency_avg"),
            concat!($arm, ".latency_p50"),
            concat!($arm, ".latency_p95"),
            concat!($arm, ".latency_p99"),
            concat!($arm, ".share"),
        )*]
    };
}

/// What `fail_when` and `pass_when` may name.
pub const CANARY_NAMES: &[&str] = names!["stable" "canary" "baseline" "service"];

/// What a trigger may name: without a release there is no baseline.
pub const TRIGGER_NAMES: &[&str] = names!["stable" "canary" "service"];

/// What a rule on hosts may name; percents, and the fullest disk.
pub const HOST_NAMES: &[&str] = &[
    "host.cpu",
    "host.memory",
    "host.swap",
    "host.load1",
    "host.load5",
    "host.load15",
    "host.disk",
];

/// What an incident of our own may name: a host's figures; a service's, with how many of its
/// probes are down and degraded; how many incidents all feeds have. `counter.NAME` comes with each
/// counter of the file, `tenants.FIGURE` with each figure of tenants.
pub const INCIDENT_NAMES: &[&str] = &[
    "host.cpu",
    "host.memory",
    "host.swap",
    "host.load1",
    "host.load5",
    "host.load15",
    "host.disk",
    "feed.open",
    "feed.critical",
    "feed.high",
    "feed.unacknowledged",
    "service.down",
    "service.degraded",
    "service.requests",
    "service.errors",
    "service.error_rate",
    "service.availability",
    "service.throughput",
    "service.latency_avg",
    "service.latency_p50",
    "service.latency_p95",
    "service.latency_p99",
    "stable.error_rate",
    "stable.availability",
    "stable.latency_p95",
    "canary.error_rate",
    "canary.availability",
    "canary.latency_p95",
    "canary.share",
    tenant::OVER,
    tenant::OVER_TARGET,
];

const BASELINE: &str = "baseline.";
const STABLE: &str = "stable.";

/// The figures of both arms over their window, by name: `requests`, `errors`, `error_rate` and
/// `availability` in percent (together 100), `throughput` per second, latencies in milliseconds,
/// `share` in percent of the requests, where `traffic` is the canary's.
///
/// `service.*` is both arms together, so it is there only when both arms are: sums, the average
/// latency weighted by requests. Quantiles of two arms cannot be added up: `service` has them only
/// while one arm has all the requests. `baseline` is what [`baseline`] gave when the release began.
///
/// The caller gives views that are fresh: what is too old to count is not to be passed on.
#[must_use]
pub fn values(
    stable: &ArmView,
    canary: &ArmView,
    traffic: Option<f64>,
    baseline: Option<&Values>,
) -> Values {
    let mut values = Values::new();
    put(&mut values, "stable", stable, traffic.map(|traffic| 100.0 - traffic));
    put(&mut values, "canary", canary, traffic);
    put(&mut values, "service", &together(stable, canary), traffic.map(|_| 100.0));
    for (name, value) in baseline.into_iter().flatten() {
        if name.starts_with(BASELINE) {
            values.insert(name.clone(), *value);
        }
    }
    values
}

/// The same of a service's section, where its newest look is fresh; nothing of an old one, so that
/// every rule on it is no data.
#[must_use]
pub fn fresh(
    signals: &SignalsView,
    traffic: Option<f64>,
    baseline: Option<&Values>,
    now: Now,
) -> Values {
    if !signals.is_fresh(now) {
        return Values::new();
    }
    let mut values = values(&signals.stable, &signals.canary, traffic, baseline);
    values.extend(tenant::values(&signals.tenants));
    values
}

/// What stable shows now, under the names that a release keeps it by: `baseline.*`.
#[must_use]
pub fn baseline(now: &Values) -> Values {
    let stable = now.iter().filter_map(|(name, value)| Some((name.strip_prefix(STABLE)?, value)));
    stable.map(|(field, value)| (format!("{BASELINE}{field}"), *value)).collect()
}

/// As text that gives exactly the same figures when [`read`] again: for the journal.
#[must_use]
pub fn written(values: &Values) -> BTreeMap<String, String> {
    values.iter().map(|(name, value)| (name.clone(), value.to_string())).collect()
}

/// Figures from the journal; what is no number is left out.
#[must_use]
pub fn read(text: &BTreeMap<String, String>) -> Values {
    let parsed = text.iter().filter_map(|(name, value)| Some((name, value.parse::<f64>().ok()?)));
    parsed
        .filter(|(_, value)| value.is_finite())
        .map(|(name, value)| (name.clone(), value))
        .collect()
}

/// The figures of one machine.
#[must_use]
pub fn host_values(reading: &HostReading) -> Values {
    let mut values = Values::new();
    let mut insert = |name: &str, value: Option<f64>| {
        if let Some(value) = value.filter(|value| value.is_finite()) {
            values.insert(format!("host.{name}"), value);
        }
    };
    insert("cpu", reading.cpu_percent);
    insert("memory", reading.memory_percent);
    insert("swap", reading.swap_percent);
    for (place, name) in ["load1", "load5", "load15"].into_iter().enumerate() {
        insert(name, reading.load.map(|load| load[place]));
    }
    insert("disk", reading.disks.iter().map(|disk| disk.used_percent).reduce(f64::max));
    values
}

fn put(values: &mut Values, name: &str, arm: &ArmView, share: Option<f64>) {
    let figures = [
        ("requests", arm.requests),
        ("errors", arm.errors),
        ("error_rate", arm.error_percent),
        ("availability", arm.error_percent.map(|percent| 100.0 - percent)),
        ("throughput", arm.requests_per_s),
        ("latency_avg", arm.latency_avg_ms),
        ("latency_p50", arm.latency_p50_ms),
        ("latency_p95", arm.latency_p95_ms),
        ("latency_p99", arm.latency_p99_ms),
        ("share", share),
    ];
    for (field, value) in figures {
        if let Some(value) = value.filter(|value| value.is_finite()) {
            values.insert(format!("{name}.{field}"), value);
        }
    }
}

/// Both arms as one; an arm that is not counted leaves out what it would add to.
fn together(stable: &ArmView, canary: &ArmView) -> ArmView {
    let sum = |a: Option<f64>, b: Option<f64>| Some(a? + b?);
    let requests = sum(stable.requests, canary.requests);
    let errors = sum(stable.errors, canary.errors);
    let rate = requests.zip(errors).filter(|(requests, _)| *requests > 0.0);
    let idle = |arm: &ArmView| arm.requests == Some(0.0);
    let only = match (idle(stable), idle(canary)) {
        (false, true) if stable.requests.is_some() => Some(stable),
        (true, false) if canary.requests.is_some() => Some(canary),
        (_, _) => None,
    };
    let weight = |arm: &ArmView| Some(arm.latency_avg_ms? * arm.requests?);
    let mixed = || {
        let weight = weight(stable)? + weight(canary)?;
        Some(weight / requests.filter(|requests| *requests > 0.0)?)
    };
    ArmView {
        requests,
        errors,
        // A retry may be counted twice: still 100 percent.
        error_percent: rate.map(|(requests, errors)| (errors / requests * 100.0).min(100.0)),
        requests_per_s: sum(stable.requests_per_s, canary.requests_per_s),
        latency_avg_ms: only.map_or_else(mixed, |arm| arm.latency_avg_ms),
        latency_p50_ms: only.and_then(|arm| arm.latency_p50_ms),
        latency_p95_ms: only.and_then(|arm| arm.latency_p95_ms),
        latency_p99_ms: only.and_then(|arm| arm.latency_p99_ms),
        ..ArmView::default()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chrono::DateTime;

    use super::*;
    use crate::reading::Disk;
    use crate::types::{Time, Untrusted};

    fn arm(requests: f64, errors: f64, latency: f64) -> ArmView {
        let busy = requests > 0.0;
        ArmView {
            requests: Some(requests),
            requests_per_s: Some(requests / 60.0),
            errors: Some(errors),
            error_percent: busy.then(|| errors / requests * 100.0),
            latency_avg_ms: busy.then_some(latency),
            latency_p95_ms: busy.then_some(latency * 3.0),
            ..ArmView::default()
        }
    }

    fn check(values: &Values, name: &str, expected: Option<f64>) {
        let found = values.get(name).copied();
        let near = match (found, expected) {
            (Some(found), Some(expected)) => (found - expected).abs() < 1e-9,
            (found, expected) => found == expected,
        };
        assert!(near, "{name}: {found:?} instead of {expected:?}");
    }

    #[test]
    fn two_arms_add_up_to_the_service() {
        let values = values(&arm(900.0, 9.0, 100.0), &arm(100.0, 11.0, 200.0), Some(10.0), None);
        check(&values, "stable.error_rate", Some(1.0));
        check(&values, "stable.share", Some(90.0));
        check(&values, "canary.availability", Some(89.0));
        check(&values, "canary.share", Some(10.0));
        check(&values, "service.requests", Some(1000.0));
        check(&values, "service.errors", Some(20.0));
        check(&values, "service.error_rate", Some(2.0));
        check(&values, "service.availability", Some(98.0));
        check(&values, "service.latency_avg", Some(110.0));
        check(&values, "service.latency_p95", None);
        check(&values, "baseline.requests", None);
        assert!(values.keys().all(|name| CANARY_NAMES.contains(&name.as_str())));
    }

    #[test]
    fn an_idle_arm_leaves_the_quantiles_to_the_other() {
        for (stable, canary) in [(600.0, 0.0), (0.0, 600.0)] {
            let values = values(&arm(stable, 6.0, 100.0), &arm(canary, 0.0, 100.0), None, None);
            check(&values, "service.latency_p95", Some(300.0));
            check(&values, "service.latency_avg", Some(100.0));
            check(&values, "service.share", None);
        }
        let idle = values(&arm(0.0, 0.0, 1.0), &arm(0.0, 0.0, 1.0), None, None);
        check(&idle, "service.requests", Some(0.0));
        check(&idle, "service.error_rate", None);
        check(&idle, "service.latency_avg", None);
    }

    #[test]
    fn an_arm_that_is_not_counted_leaves_the_service_without_figures() {
        let values = values(&arm(600.0, 6.0, 100.0), &ArmView::default(), None, None);
        check(&values, "stable.error_rate", Some(1.0));
        assert!(!values.keys().any(|name| name.starts_with("service.")), "{values:?}");
        assert!(!values.keys().any(|name| name.starts_with("canary.")), "{values:?}");
    }

    #[test]
    fn an_old_look_has_no_figures() {
        let at = |seconds: u64| Now {
            mono: Time(0) + Duration::from_secs(seconds),
            wall: DateTime::UNIX_EPOCH,
        };
        let signals = SignalsView {
            interval: Duration::from_secs(10),
            window: Duration::from_mins(1),
            stable: arm(600.0, 6.0, 100.0),
            canary: arm(60.0, 6.0, 100.0),
            at: None,
            observed: Some(at(100)),
            error: Untrusted::default(),
            tenants: Vec::new(),
            tenants_error: Untrusted::default(),
        };
        let now = |seconds| fresh(&signals, Some(10.0), None, at(seconds));
        check(&now(130), "canary.error_rate", Some(10.0));
        assert!(now(131).is_empty());
        let never = SignalsView { observed: None, ..signals.clone() };
        assert!(fresh(&never, None, None, at(100)).is_empty());
    }

    #[test]
    fn a_baseline_is_stable_at_the_start_and_survives_the_journal() {
        let start = values(&arm(700.0, 3.0, 33.3), &arm(0.0, 0.0, 0.0), Some(0.0), None);
        let kept = read(&written(&baseline(&start)));
        assert_eq!(kept, baseline(&start));
        let later = values(&arm(1.0, 1.0, 1.0), &arm(0.0, 0.0, 0.0), None, Some(&kept));
        assert_eq!(later.get("baseline.error_rate"), start.get("stable.error_rate"));
        assert_eq!(later.get("baseline.share"), Some(&100.0));
        let broken = BTreeMap::from([
            ("baseline.errors".to_owned(), "NaN".to_owned()),
            ("baseline.requests".to_owned(), "many".to_owned()),
        ]);
        assert!(read(&broken).is_empty());
    }

    #[test]
    fn a_host_has_its_fullest_disk() {
        let disk = |used_percent| Disk { mount: Untrusted::new("/"), used_percent, total_bytes: 1 };
        let reading = HostReading {
            cpu_percent: Some(12.0),
            memory_percent: Some(f64::NAN),
            load: Some([1.0, 2.0, 3.0]),
            disks: vec![disk(40.0), disk(91.0)],
            ..HostReading::default()
        };
        let values = host_values(&reading);
        check(&values, "host.cpu", Some(12.0));
        check(&values, "host.memory", None);
        check(&values, "host.swap", None);
        check(&values, "host.load15", Some(3.0));
        check(&values, "host.disk", Some(91.0));
        assert!(values.keys().all(|name| HOST_NAMES.contains(&name.as_str())));
    }
}
