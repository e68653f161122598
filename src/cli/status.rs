//! One look at everything, for scripts and for people in a hurry.
//!
//! Decides the JSON's shape (`docs/status.schema.json`) and the exit code. Never calls
//! healthy what was not seen. Contract: 2 if any service is DOWN, else 1 if any is DEGRADED, else 3
//! if any is UNKNOWN or STALE, else 0; MAINT counts as 0.

mod steps;

use std::time::Duration;

use engine::record::ReleaseResult;
use engine::snapshot::{
    CheckState, CheckView, HostView, IncidentView, JournalState, ProbeView, ReleaseView,
    ServiceView, SignalsView, Snapshot, SourceView, TriggerState, ValidationView,
};
use engine::types::{Freshness, Now, Status};
use engine::words;
use serde_json::{Value, json};

use crate::cli::incident::unlisted;
use crate::cli::{Exit, Global, UNAVAILABLE, print, wait_for};
use crate::io::clock;

#[derive(clap::Args)]
pub struct Args {
    /// One JSON object
    #[arg(long)]
    json: bool,
    /// Wait at most this many seconds for every source's first answer
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    timeout: u64,
}

pub fn run(args: &Args, global: &Global) -> Result<u8, Exit> {
    let mut link = global.link()?;
    let patience = Duration::from_secs(args.timeout);
    let whole = wait_for(&mut link, patience, |snapshot| {
        let answered = |source: &SourceView| !source.is_awaited();
        snapshot.sources().all(answered).then(|| snapshot.clone())
    });
    let Some(snapshot) = whole.or_else(|| link.snapshot()) else {
        return Err(Exit::new(UNAVAILABLE, "the engine shows nothing"));
    };
    let now = clock::now();
    if args.json {
        print(&format!("{:#}\n", document(&snapshot, now)))?;
    } else {
        print(&plain(&snapshot, now))?;
    }
    Ok(exit_code(&snapshot, now))
}

/// 2 DOWN, 1 DEGRADED, 3 UNKNOWN or STALE, 0 else.
#[must_use]
pub fn exit_code(snapshot: &Snapshot, now: Now) -> u8 {
    let worst = snapshot.services.iter().map(|service| service.status_at(now)).max();
    match worst {
        Some(Status::Down) => 2,
        Some(Status::Degraded) => 1,
        Some(Status::Unknown | Status::Stale) => 3,
        Some(Status::Up | Status::Maint) | None => 0,
    }
}

fn millis(span: Option<Duration>) -> Option<u64> {
    span.map(|span| u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}

fn probe(probe: &ProbeView, now: Now) -> Value {
    json!({
        "name": probe.name,
        "status": probe.status_at(now),
        "latency_ms": millis(probe.latency),
        "observed_at": probe.observed.map(|at| at.wall),
        "message": probe.message,
    })
}

fn service(service: &ServiceView, now: Now) -> Value {
    let split = service.route.as_ref().map(|route| {
        let routers: Vec<Value> = route
            .routers
            .iter()
            .map(|router| {
                let known = router.error.is_empty();
                json!({
                    "name": router.name,
                    "canary": router.canary.filter(|_| known),
                    "state": if known { "read" } else { "unreadable" },
                    "read_at": router.read.map(|at| at.wall),
                })
            })
            .collect();
        json!({ "set": route.set, "routers": routers, "traffic": route.traffic })
    });
    json!({
        "name": service.name,
        "status": service.status_at(now),
        "probes": service.probes.iter().map(|own| probe(own, now)).collect::<Vec<_>>(),
        "split": split,
        "tenants": service.signals.as_ref().map(|own| tenants(own, now)).unwrap_or_default(),
        "release": service.release.as_ref().map(|own| release(own, now)),
        "ready": service.readiness.summary(now).0,
        "validation": service.validation.as_ref().map(|view| validation(view, now)),
    })
}

/// Each tenant; without values when they are too old to say anything of now.
fn tenants(signals: &SignalsView, now: Now) -> Vec<Value> {
    let fresh = signals.is_fresh(now);
    let each = signals.tenants.iter().map(|own| {
        let figures = own.figures.iter().map(|figure| {
            json!({
                "name": figure.name,
                "value": figure.value.filter(|_| fresh),
                "limit": figure.limit,
                "target": figure.target,
            })
        });
        json!({
            "name": own.name,
            "class": own.class,
            "over": fresh && own.is_over(),
            "figures": figures.collect::<Vec<_>>(),
        })
    });
    each.collect()
}

fn release(release: &ReleaseView, now: Now) -> Value {
    let step = release.steps.get(release.step as usize);
    json!({
        "id": release.id,
        "version": release.version,
        "state": release.state.word(),
        "result": release.result,
        "step": step.map(|step| &step.name),
        "verdict": release.canary.as_ref().map(|canary| &canary.verdict),
        "sentence": release.sentence,
        "steps": release.steps.iter().map(|own| steps::json(own, now)).collect::<Vec<_>>(),
    })
}

fn validation(view: &ValidationView, now: Now) -> Value {
    let named = |state: CheckState, critical: bool| {
        let own = move |check: &&CheckView| check.state == state && check.critical == critical;
        view.checks.iter().filter(own).map(|check| check.name.as_str()).collect::<Vec<_>>()
    };
    let passed = view.checks.iter().filter(|check| check.state == CheckState::Passed).count();
    json!({
        "version": view.version,
        "state": if view.can_deploy.is_some() { "ended" } else { "running" },
        "can_deploy": view.can_deploy,
        "fresh": view.ended.map(|at| at.age(now) <= view.fresh_for),
        "ended_at": view.ended.map(|at| at.wall),
        "passed": passed,
        "failed": named(CheckState::Failed, true),
        "warnings": named(CheckState::Failed, false),
        "checks": view.checks.len(),
    })
}

fn host(host: &HostView) -> Value {
    let reading = host.reading.as_ref();
    json!({
        "name": host.name,
        "observed_at": host.observed.map(|at| at.wall),
        "cpu_percent": reading.and_then(|reading| reading.cpu_percent),
        "memory_percent": reading.and_then(|reading| reading.memory_percent),
        "swap_percent": reading.and_then(|reading| reading.swap_percent),
        "load": reading.and_then(|reading| reading.load),
        "processes": reading.and_then(|reading| reading.processes),
        "error": host.error,
        "advice": host.advice.as_ref().map(|own| json!({
            "group": own.group,
            "size": own.size,
            "urgent": own.urgent,
            "armed": own.armed,
            "sentence": own.sentence,
            "at": own.at.wall,
        })),
    })
}

pub fn incident(incident: &IncidentView) -> Value {
    json!({
        "id": incident.key,
        "name": incident.name,
        "severity": incident.severity,
        "state": incident.state,
        "source": incident.source,
        "started_at": incident.started_at,
        "labels": incident.labels,
        "assignee": Some(&incident.triage.assignee).filter(|name| !name.is_empty()),
        "snoozed_until": incident.triage.snoozed_until,
        "notes": incident.triage.notes.len(),
        "alerts": incident.alerts.as_ref().map(|alerts| json!({
            "total": alerts.total,
            "worst": alerts.worst.iter().map(|alert| json!({
                "id": alert.key,
                "name": alert.name,
                "severity": alert.severity,
                "state": alert.state,
            })).collect::<Vec<_>>(),
        })),
    })
}

fn source(source: &SourceView, now: Now) -> Value {
    json!({
        "name": source.name,
        "kind": source.kind,
        "state": source.state_at(now),
        "age_s": source.success.map(|at| at.age(now).as_secs_f64()),
        "error": source.error,
        "clock_ahead_s": source.skew_s,
    })
}

/// The whole look as one JSON object.
#[must_use]
pub fn document(snapshot: &Snapshot, now: Now) -> Value {
    let (services, hosts, incidents) = (&snapshot.services, &snapshot.hosts, &snapshot.incidents);
    let score = engine::score::score(services, hosts, incidents, now);
    json!({
        "environment": snapshot.head.environment.name,
        "at": now.wall,
        "score": score.value,
        "services_unknown": score.unknown,
        "services": services.iter().map(|own| service(own, now)).collect::<Vec<_>>(),
        "hosts": hosts.iter().map(host).collect::<Vec<_>>(),
        "incidents": incidents.open.iter().map(incident).collect::<Vec<_>>(),
        "incidents_open": incidents.total,
        "incidents_left_out": incidents.dropped,
        "sources": snapshot.sources.iter().map(|own| source(own, now)).collect::<Vec<_>>(),
    })
}

fn plain_service(service: &ServiceView, now: Now) -> String {
    let mut out = String::new();
    out += &format!("{:<9} {}\n", service.status_at(now).word(), service.name);
    for probe in &service.probes {
        let latency =
            probe.latency.map_or_else(|| "-".to_owned(), |span| format!("{} ms", span.as_millis()));
        out += &format!(
            "  {:<9} {:<20} {latency:>9}  {}\n",
            probe.status_at(now).word(),
            probe.name,
            probe.message
        );
    }
    if let Some(route) = &service.route {
        let set = route.set.map_or_else(|| "not set".to_owned(), |set| set.to_string());
        out += &format!("  split     set {set}, {}\n", route.state.word());
        for router in &route.routers {
            let shown = match router.canary.filter(|_| router.error.is_empty()) {
                Some(canary) => format!("{canary:.1} % read back"),
                None => format!("cannot be read: {}", router.error),
            };
            out += &format!("    {:<18} {shown}\n", router.name);
        }
        out += &format!("  {}\n", service.readiness.summary(now).1);
    }
    let fresh = service.signals.as_ref().filter(|own| own.is_fresh(now));
    for tenant in fresh.into_iter().flat_map(|own| &own.tenants).filter(|own| own.is_over()) {
        let over = tenant.figures.iter().filter(|own| own.is_over() == Some(true));
        let over = over.map(|own| {
            let (value, limit) = (own.value.unwrap_or_default(), own.limit.unwrap_or_default());
            format!("{} {value:.0}, at most {limit}", own.name)
        });
        let over = over.collect::<Vec<_>>().join("; ");
        out += &format!("  tenant    {} ({}) OVER: {over}\n", tenant.name, tenant.class);
    }
    if let Some(release) = &service.release {
        let word = release.result.map_or(release.state.word(), ReleaseResult::word);
        let (id, what) = (release.id, release.what());
        out += &format!("  release   r{id} {what} {word}: {}\n", release.sentence);
        out += &steps::plain(release, now);
    }
    if let Some(view) = &service.validation {
        let word = match view.can_deploy {
            None => "under way".to_owned(),
            Some(may) => {
                let age = words::span(view.ended.map(|at| at.age(now)).unwrap_or_default());
                format!("{}, {age} ago", if may { "may deploy" } else { "may not deploy" })
            }
        };
        let failed = view.checks.iter().filter(|check| check.state == CheckState::Failed);
        let failed: Vec<&str> = failed.map(|check| check.name.as_str()).collect();
        let failed =
            if failed.is_empty() { String::new() } else { format!(": {}", failed.join(", ")) };
        out += &format!("  checks    {} {word}{failed}\n", view.version);
    }
    for (number, trigger) in (1..).zip(&service.triggers) {
        let state = match trigger.state {
            TriggerState::Armed => "armed",
            TriggerState::Held => "held",
            TriggerState::Off => "off",
        };
        out += &format!("  rule {number}    {state}: {}\n", trigger.sentence);
    }
    out
}

/// One line for each group of hosts.
fn plain_advice(snapshot: &Snapshot, now: Now) -> String {
    let mut groups = std::collections::BTreeMap::new();
    groups.extend(
        snapshot.hosts.iter().filter_map(|host| host.advice.as_ref()).map(|it| (&it.group, it)),
    );
    let lines = groups.into_values().map(|it| {
        let urgent = if it.urgent { ", urgent" } else { "" };
        let stale = Freshness::of(it.at.age(now), it.every) == Freshness::Stale;
        let stale = if stale { " (stale)" } else { "" };
        format!("scaling   {} {}{urgent}{stale}: {}\n", it.group, it.size.word(), it.sentence)
    });
    lines.collect()
}

#[must_use]
pub fn plain(snapshot: &Snapshot, now: Now) -> String {
    let mut out = String::new();
    let score = engine::score::score(&snapshot.services, &snapshot.hosts, &snapshot.incidents, now);
    let unknown = match score.unknown {
        0 => String::new(),
        count => format!(", {count} unknown"),
    };
    let score = score.value.map_or_else(|| "?".to_owned(), |score| score.to_string()) + &unknown;
    let environment = &snapshot.head.environment.name;
    let at = now.wall.format("%Y-%m-%d %H:%M:%SZ");
    out += &format!("{environment}  health {score}  {at}\n");
    for service in snapshot.services.iter() {
        out += &plain_service(service, now);
    }
    out += &plain_advice(snapshot, now);
    for freeze in &snapshot.head.freezes {
        let frozen = freeze.service.as_deref().unwrap_or("everything");
        let until = words::until(freeze.until, now.wall);
        let (user, reason) = (&freeze.user, &freeze.reason);
        out += &format!("frozen    {frozen} until {until} by {user}: {reason}\n");
    }
    for incident in &snapshot.incidents.open {
        out +=
            &format!("{:<9} {} ({})\n", incident.severity.word(), incident.name, incident.source);
    }
    out += &unlisted(&snapshot.incidents);
    match &snapshot.head.journal {
        JournalState::Writable => {}
        JournalState::Spooling { why } => out += &format!("journal   spooling: {why}\n"),
        JournalState::Lost { why } => out += &format!("journal   cannot be written: {why}\n"),
    }
    for source in snapshot.sources.iter() {
        if !source.error.is_empty() {
            out += &format!("source    {}: {}\n", source.name, source.error);
        }
        if let Some(skew) = source.skew() {
            out += &format!("source    {}: clock {skew}\n", source.name);
        }
    }
    out
}
