//! What the engine watches in the world: settings, and the answers of probes, hosts and feeds.
//!
//! Decides nothing about routes. Contract: answers are random but readable; some have no data.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use engine::reading::{
    Alert, AlertState, FeedReading, GroupCounters, HostReading, Measurement, Observation, Series,
    TaskAnswer,
};
use engine::settings::{
    Environment, Feed, Host, Probe, Router, Service, Settings, Signals, Tenants,
};
use engine::types::{
    Failure, FailureKind, ProbeId, RouterId, ServiceId, Severity, Status, Untrusted,
};

use crate::rng::Rng;

/// Sparse on purpose: this world is about routes, the pollers only add noise.
const POLL: Duration = Duration::from_secs(20);
const REREAD: Duration = Duration::from_secs(5);

/// `routers[s]` is the number of routers of service `s`.
pub fn settings(routers: &[usize], polls: bool) -> Settings {
    let mut settings = Settings {
        environment: Environment { name: "sim".into(), timezone: "UTC".into(), band: "ok".into() },
        hash: "0".repeat(64),
        ..Settings::default()
    };
    for (place, &count) in (0_u32..).zip(routers) {
        let first = u32::try_from(settings.routers.len()).expect("few routers");
        let count = u32::try_from(count).expect("few routers");
        settings.services.push(Service {
            name: format!("service{place}"),
            alias: format!("s{place}"),
            runbook: None,
            probes: if polls { vec![ProbeId(place)] } else { Vec::new() },
            routers: (first..first + count).map(RouterId).collect(),
            signals: polls.then(|| Signals {
                interval: POLL,
                window: POLL * 3,
                slow_above: None,
                versions: ["one".into(), "two".into()],
                tenants: Tenants::default(),
            }),
            canary: None,
            triggers: Vec::new(),
            deploy: None,
            recovery: None,
            maintenance: None,
            phases: Vec::new(),
            checks: Vec::new(),
            flag: false,
        });
        for edge in 0..count {
            settings.routers.push(Router {
                service: ServiceId(place),
                name: format!("edge{place}-{edge}"),
                kind: "http".into(),
                reread: REREAD,
                timeout: Duration::from_secs(3),
                manual: "set {a} {b}".into(),
                fallback: None,
            });
        }
        if polls {
            settings.probes.push(Probe {
                service: ServiceId(place),
                name: format!("probe{place}"),
                interval: POLL,
                timeout: Duration::from_secs(2),
                degraded_above: None,
                unhealthy_above: None,
                rise: 2,
                fall: 2,
            });
        }
    }
    if polls {
        settings.hosts.push(Host { name: "host".into(), interval: POLL });
        settings.feeds.push(Feed {
            name: "feed".into(),
            kind: "json".into(),
            interval: POLL,
            can_acknowledge: true,
            can_escalate: true,
        });
    }
    settings
}

pub fn failure(rng: &mut Rng) -> Failure {
    let kind = rng.pick(&[
        FailureKind::Timeout,
        FailureKind::Unreachable,
        FailureKind::Refused,
        FailureKind::Malformed,
        FailureKind::Denied,
    ]);
    Failure::new(kind, "the world said no")
}

fn sometimes<T>(rng: &mut Rng, value: T) -> Result<T, Failure> {
    if rng.chance(250) { Err(failure(rng)) } else { Ok(value) }
}

pub fn observation(rng: &mut Rng) -> Observation {
    Observation {
        status: rng.pick(&Status::ALL),
        latency: rng.chance(800).then(|| rng.millis(1, 2000)),
        message: Untrusted::new("as drawn"),
        certificate_expires: None,
        clock_ahead_s: None,
    }
}

pub fn host(rng: &mut Rng) -> Result<HostReading, Failure> {
    let percent = f64::from(u32::try_from(rng.below(100)).expect("below 100"));
    sometimes(rng, HostReading { cpu_percent: Some(percent), ..HostReading::default() })
}

pub fn feed(rng: &mut Rng) -> Result<FeedReading, Failure> {
    let mut reading = FeedReading::default();
    for n in 0..4 {
        if rng.chance(400) {
            reading.alerts.push(Alert {
                fingerprint: format!("f{n}"),
                name: Untrusted::new("trouble"),
                severity: rng.pick(&[Severity::Low, Severity::High, Severity::Critical]),
                state: rng.pick(&[AlertState::Triggered, AlertState::Acknowledged]),
                summary: Untrusted::new("drawn"),
                labels: BTreeMap::new(),
                started_at: None,
                links: Vec::new(),
            });
        }
    }
    sometimes(rng, reading)
}

/// Counters that rise, stand still, start again, or are not there.
pub fn measurement(rng: &mut Rng, at: DateTime<Utc>) -> Result<Measurement, Failure> {
    let group = |rng: &mut Rng| {
        let count = f64::from(u32::try_from(rng.below(100_000)).expect("below 100,000"));
        let series = Series::from([("all".to_owned(), count)]);
        GroupCounters { requests: rng.chance(800).then_some(series), ..GroupCounters::default() }
    };
    let measurement = Measurement::new(at, group(rng), group(rng));
    sometimes(rng, measurement)
}

pub fn task(rng: &mut Rng) -> TaskAnswer {
    let said = Untrusted::new("said");
    match rng.pick(&[0_u8, 0, 0, 0, 1, 2]) {
        0 => TaskAnswer::Passed { output: said },
        1 => TaskAnswer::Failed { output: said },
        _ => TaskAnswer::Unknown { why: said },
    }
}
