//! What a slot answers: work, health in the words of its fleet, and its counters.
//!
//! Decides by the version's name and by the knobs. Never counts a look at health as work.
//! Contract: a slot where nothing runs closes the connection without a word.

use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::Health;
use super::world::{Manner, Slot, World};
use crate::demo::metrics;
use crate::demo::serve::{self, Reply};
use crate::demo::service::{VERSION_HEADER, exposition};
use crate::demo::world::locked;

/// Names the slot that answered, through a router too.
const SLOT_HEADER: &str = "x-slot";

/// The request header by which a router says that this is canary traffic.
const CANARY_HEADER: &str = "x-canary-version";

/// A database on loopback that takes longer is not there.
const DATABASE_PATIENCE: Duration = Duration::from_secs(1);

/// Longer than a probe waits for a health answer.
const HANG: Duration = Duration::from_secs(8);

/// The machine that the node page tells of.
const MEMORY_BYTES: f64 = 8_000_000_000.0;

/// One slot, at its own port.
pub async fn serve(world: Arc<World>, place: usize, listener: TcpListener) {
    let handle = move |request: Request<Incoming>| {
        let world = Arc::clone(&world);
        async move {
            let slot = &world.slots[place];
            match slot.version() {
                Some(version) => Ok(answer(&world, slot, &version, &request).await),
                None => Err(io::Error::from(io::ErrorKind::ConnectionReset)),
            }
        }
    };
    serve::serve(listener, handle).await;
}

async fn answer(world: &World, slot: &Slot, version: &str, request: &Request<Incoming>) -> Reply {
    let manner = Manner::of(version);
    if manner.hangs {
        tokio::time::sleep(HANG).await;
    }
    let path = request.uri().path();
    let mut reply = match path {
        "/metrics" => return exposition(counters([slot])),
        "/version" => serve::json(StatusCode::OK, &json!({ "version": version })),
        "/health/readiness" => readiness(manner),
        "/health/liveness" => serve::json(StatusCode::OK, &json!({ "status": "alive" })),
        "/health/metrics" => score(world, manner),
        "/health" => health(world, slot).await,
        _ => match path.strip_prefix("/api/health/") {
            Some(part) => worded(world.knob(&format!("{part}_down")) == 0.0),
            None => work(world, slot, manner, request).await,
        },
    };
    for (name, value) in [(VERSION_HEADER, version), (SLOT_HEADER, &slot.name)] {
        if let Ok(value) = hyper::header::HeaderValue::from_str(value) {
            reply.headers_mut().insert(name, value);
        }
    }
    if let Some(value) = request.headers().get(CANARY_HEADER) {
        reply.headers_mut().insert(CANARY_HEADER, value.clone());
    }
    reply
}

/// How the slot is, in its own words, also for those who cannot know its port.
pub async fn health(world: &World, slot: &Slot) -> Reply {
    match (slot.version(), slot.health) {
        (None, _) => serve::error(StatusCode::SERVICE_UNAVAILABLE, "nothing runs there"),
        (Some(version), Health::Ok) => worded(!Manner::of(&version).sick),
        (Some(version), Health::AspNet) => asp_net(world, slot, Manner::of(&version)).await,
    }
}

async fn work(world: &World, slot: &Slot, of: Manner, request: &Request<Incoming>) -> Reply {
    let start = Instant::now();
    let (path, manner) = match &slot.flag {
        None => ("", of),
        Some(flag) if slot.takes_new(world.knob(flag)) => ("b", of),
        Some(_) => ("a", Manner::of("")),
    };
    tokio::time::sleep(slot.work + manner.extra).await;
    let tenant = request.headers().get("x-tenant").and_then(|name| name.to_str().ok());
    let failed = {
        let mut tally = locked(slot.tally(tenant.unwrap_or_default(), path));
        let failed = tally.owes_error(manner.errs);
        tally.record(std::time::Instant::now(), failed, start.elapsed());
        failed
    };
    if failed {
        return serve::error(StatusCode::INTERNAL_SERVER_ERROR, "the request failed");
    }
    serve::json(StatusCode::OK, &json!({ "slot": slot.name }))
}

fn worded(good: bool) -> Reply {
    if good {
        serve::json(StatusCode::OK, &json!({ "status": "ok" }))
    } else {
        serve::json(StatusCode::SERVICE_UNAVAILABLE, &json!({ "status": "error" }))
    }
}

fn readiness(manner: Manner) -> Reply {
    if manner.sick {
        let failed = json!([{ "service": "session_manager", "status": "unhealthy" }]);
        let body = json!({ "detail": { "status": "not_ready", "failed_checks": failed } });
        return serve::json(StatusCode::SERVICE_UNAVAILABLE, &body);
    }
    serve::json(StatusCode::OK, &json!({ "status": "ready" }))
}

fn score(world: &World, manner: Manner) -> Reply {
    let body = json!({
        "health_score": if manner.sick { 40 } else { 100 },
        "active_alerts": world.knob("alerts"),
        "critical_alerts": 0,
        "metrics_summary": {},
    });
    serve::json(StatusCode::OK, &body)
}

/// Impaired above these figures, and without its database; unhealthy when the version is sick.
async fn asp_net(world: &World, slot: &Slot, manner: Manner) -> Reply {
    let database = match slot.database {
        Some(address) => {
            let connect = TcpStream::connect(address);
            matches!(tokio::time::timeout(DATABASE_PATIENCE, connect).await, Ok(Ok(_)))
        }
        None => true,
    };
    let above = |knob: &str, limit: f64| world.knob(knob) > limit;
    let impaired = !database
        || above("pool_percent", 90.0)
        || above("memory_mb", 512.0)
        || above("response_ms", 1000.0);
    let (status, code) = match (manner.sick, impaired) {
        (true, _) => ("Unhealthy", StatusCode::SERVICE_UNAVAILABLE),
        (false, true) => ("Degraded", StatusCode::OK),
        (false, false) => ("Healthy", StatusCode::OK),
    };
    let data = json!({
        "poolPercent": world.knob("pool_percent"),
        "memoryMb": world.knob("memory_mb"),
        "averageResponseMs": world.knob("response_ms"),
        "database": database,
    });
    let own = json!({ "data": data, "duration": "00:00:00.0011", "status": status, "tags": [] });
    let body = json!({
        "status": status,
        "totalDuration": "00:00:00.0012",
        "entries": { "overlay": own },
    });
    serve::json(code, &body)
}

/// The counters of these slots.
pub fn counters<'a>(slots: impl IntoIterator<Item = &'a Slot>) -> String {
    let mut all = Vec::new();
    for slot in slots {
        for (whose, tally) in &slot.tallies {
            let mut labels = format!(r#"slot="{}""#, slot.name);
            for (name, value) in [("tenant", whose.tenant.as_str()), ("path", whose.path)] {
                if !value.is_empty() {
                    labels += &format!(r#",{name}="{value}""#);
                }
            }
            all.push((labels, tally));
        }
    }
    metrics::write(&all)
}

/// A page like a node exporter's, of one machine.
pub async fn node(world: Arc<World>, listener: TcpListener) {
    let handle = move |_: Request<Incoming>| {
        let world = Arc::clone(&world);
        async move { Ok(exposition(machine(&world))) }
    };
    serve::serve(listener, handle).await;
}

fn machine(world: &World) -> String {
    let cpu = world.knob("cpu");
    let (busy, idle) = {
        let mut machine = locked(&world.machine);
        machine.advance(cpu);
        (machine.busy_s, machine.idle_s)
    };
    let free = MEMORY_BYTES * (100.0 - world.knob("memory")) / 100.0;
    format!(
        "node_cpu_seconds_total{{cpu=\"0\",mode=\"user\"}} {busy}\n\
         node_cpu_seconds_total{{cpu=\"0\",mode=\"idle\"}} {idle}\n\
         node_memory_MemTotal_bytes {MEMORY_BYTES}\n\
         node_memory_MemAvailable_bytes {free}\n\
         node_load1 0.5\nnode_load5 0.5\nnode_load15 0.5\n"
    )
}

/// Every knob by its name, as a line of a page.
pub fn gauges(world: &World) -> String {
    let mut out = String::new();
    for (name, value) in locked(&world.knobs).iter() {
        writeln!(out, "{name} {value}").expect("writing to a string cannot fail");
    }
    out
}

/// All slots, as people see them.
pub fn list(world: &World) -> Value {
    let all = world.slots.iter().map(|slot| {
        let recent = |path| {
            let now = std::time::Instant::now();
            let latency = locked(slot.tally("", path)).recent(now).latency;
            latency.map(|latency| latency.as_secs_f64() * 1000.0)
        };
        let mut body = json!({ "version": slot.version(), "answered": slot.answered() });
        if slot.flag.is_some() {
            body["old_ms"] = recent("a").into();
            body["new_ms"] = recent("b").into();
        }
        (slot.name.clone(), body)
    });
    Value::Object(all.collect())
}
