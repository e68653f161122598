//! The sandbox's alerts, as Alertmanager's API serves them.
//!
//! Decides which alerts fire, from what is true in the [`World`]; keeps the silences. Never makes
//! up an alert. Contract: an alert keeps its fingerprint and start while it fires; a silence that
//! was accepted covers its alerts until it ends or is deleted.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::Fault;
use super::health::ERROR_PERCENT_MAX;
use super::serve::{self, Reply, error};
use super::world::{Service, Version, World, locked};
use crate::io::clock;

/// A version slower than this on average raises an alert.
const LATENCY_MAX: Duration = Duration::from_secs(1);

/// Alerts are looked at that often even when nobody asks, so that their start is true.
const LOOK: Duration = Duration::from_millis(250);

/// More silences than this are refused: nothing in the sandbox needs them.
const SILENCES_MAX: usize = 200;

/// How long an alert counts after it was last looked at: longer than any poller's interval.
const LASTING: Duration = Duration::from_mins(5);

type Labels = BTreeMap<String, String>;

/// What the feed remembers.
#[derive(Default)]
pub struct Board {
    /// Firing, by fingerprint.
    firing: BTreeMap<String, Alert>,
    silences: BTreeMap<String, Silence>,
    /// Names the next silence.
    next: u64,
}

#[derive(Clone)]
struct Alert {
    labels: Labels,
    summary: String,
    since: DateTime<Utc>,
}

#[derive(Clone, Deserialize, serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Silence {
    matchers: Vec<Matcher>,
    starts_at: DateTime<Utc>,
    ends_at: DateTime<Utc>,
    created_by: String,
    comment: String,
}

#[derive(Clone, Deserialize, serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Matcher {
    name: String,
    value: String,
    is_regex: bool,
    #[serde(default = "yes")]
    is_equal: bool,
}

fn yes() -> bool {
    true
}

impl Silence {
    fn covers(&self, labels: &Labels, now: DateTime<Utc>) -> bool {
        let fits = |one: &Matcher| {
            let value = labels.get(&one.name).map_or("", String::as_str);
            (value == one.value) == one.is_equal
        };
        self.starts_at <= now && now < self.ends_at && self.matchers.iter().all(fits)
    }
}

/// Serves the feed for ever and keeps its alerts up to date.
pub async fn run(world: Arc<World>, board: Arc<Mutex<Board>>, listener: TcpListener) {
    let handle = {
        let (world, board) = (Arc::clone(&world), Arc::clone(&board));
        move |request: Request<Incoming>| {
            let (world, board) = (Arc::clone(&world), Arc::clone(&board));
            async move { io::Result::Ok(answer(&world, &board, request).await) }
        }
    };
    let look = async {
        let mut tick = tokio::time::interval(LOOK);
        loop {
            tick.tick().await;
            locked(&board).look(&world, clock::now().wall);
        }
    };
    let open = |listener| serve::serve(listener, handle.clone());
    tokio::select! {
        () = serve::while_off(listener, world.faults.subscribe(), Fault::FeedDown, open) => {}
        () = look => {}
    }
}

async fn answer(world: &World, board: &Mutex<Board>, request: Request<Incoming>) -> Reply {
    let now = clock::now().wall;
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    match (method, path.as_str()) {
        (Method::GET, "/api/v2/alerts") => {
            let mut board = locked(board);
            board.look(world, now);
            serve::json(StatusCode::OK, &board.alerts(&query, now))
        }
        (Method::GET, "/api/v2/silences") => {
            serve::json(StatusCode::OK, &locked(board).silences(now))
        }
        (Method::POST, "/api/v2/silences") => match serve::body(request).await {
            Ok(body) => locked(board).silence(&body, now),
            Err(refusal) => refusal,
        },
        (Method::DELETE, path) => match path.strip_prefix("/api/v2/silence/") {
            Some(id) => locked(board).end(id, now),
            None => error(StatusCode::NOT_FOUND, "no such path"),
        },
        (_, _) => error(StatusCode::NOT_FOUND, "no such path"),
    }
}

impl Board {
    /// Brings the alerts up to what is true now.
    fn look(&mut self, world: &World, now: DateTime<Utc>) {
        let mut firing = BTreeMap::new();
        for (labels, summary) in troubles(world) {
            let fingerprint = fingerprint(&labels);
            let since = self.firing.get(&fingerprint).map_or(now, |known| known.since);
            firing.insert(fingerprint, Alert { labels, summary, since });
        }
        self.firing = firing;
    }

    fn alerts(&self, query: &str, now: DateTime<Utc>) -> Value {
        let off = |name: &str| query.split('&').any(|pair| pair == format!("{name}=false"));
        let (no_active, no_silenced) = (off("active"), off("silenced"));
        let mut list = Vec::new();
        for (fingerprint, alert) in &self.firing {
            let by: Vec<&String> = self
                .silences
                .iter()
                .filter(|(_, silence)| silence.covers(&alert.labels, now))
                .map(|(id, _)| id)
                .collect();
            let hidden = if by.is_empty() { no_active } else { no_silenced };
            if hidden {
                continue;
            }
            let state = if by.is_empty() { "active" } else { "suppressed" };
            list.push(json!({
                "fingerprint": fingerprint,
                "labels": alert.labels,
                "annotations": { "summary": alert.summary },
                "startsAt": stamp(alert.since),
                "updatedAt": stamp(now),
                "endsAt": stamp(now + LASTING),
                "generatorURL": "",
                "receivers": [{ "name": "sandbox" }],
                "status": { "state": state, "silencedBy": by, "inhibitedBy": [], "mutedBy": [] },
            }));
        }
        Value::Array(list)
    }

    fn silences(&self, now: DateTime<Utc>) -> Value {
        let list = self.silences.iter().map(|(id, silence)| {
            let mut one = json!(silence);
            one["id"] = id.as_str().into();
            let state = if silence.ends_at <= now { "expired" } else { "active" };
            one["status"] = json!({ "state": state });
            one
        });
        Value::Array(list.collect())
    }

    fn silence(&mut self, body: &[u8], now: DateTime<Utc>) -> Reply {
        let silence: Silence = match serde_json::from_slice(body) {
            Ok(silence) => silence,
            Err(why) => return error(StatusCode::BAD_REQUEST, &format!("not a silence: {why}")),
        };
        if let Some(text) = objection(&silence, now) {
            return error(StatusCode::BAD_REQUEST, text);
        }
        self.silences.retain(|_, known| known.ends_at > now);
        if self.silences.len() >= SILENCES_MAX {
            return error(StatusCode::TOO_MANY_REQUESTS, "too many silences");
        }
        self.next += 1;
        let id = format!("sandbox-{}", self.next);
        self.silences.insert(id.clone(), silence);
        serve::json(StatusCode::OK, &json!({ "silenceID": id }))
    }

    fn end(&mut self, id: &str, now: DateTime<Utc>) -> Reply {
        match self.silences.get_mut(id) {
            Some(silence) => {
                silence.ends_at = silence.ends_at.min(now);
                serve::json(StatusCode::OK, &json!({}))
            }
            None => error(StatusCode::NOT_FOUND, "no such silence"),
        }
    }
}

fn objection(silence: &Silence, now: DateTime<Utc>) -> Option<&'static str> {
    if silence.matchers.is_empty() || silence.matchers.iter().any(|one| one.name.is_empty()) {
        Some("a silence needs at least one matcher with a name")
    } else if silence.matchers.iter().any(|one| one.is_regex) {
        Some("the sandbox matches whole values only")
    } else if silence.ends_at <= now || silence.ends_at <= silence.starts_at {
        Some("a silence ends after it starts, and not in the past")
    } else if silence.created_by.is_empty() || silence.comment.is_empty() {
        Some("a silence needs an owner and a comment")
    } else {
        None
    }
}

/// Everything that is wrong in the fleet now.
fn troubles(world: &World) -> Vec<(Labels, String)> {
    let mut found = Vec::new();
    for service in &world.services {
        for (version, arm) in service.versions.iter().zip(["stable", "canary"]) {
            troubles_of(service, version, arm, &mut found);
        }
    }
    if world.is_on(Fault::DatabaseDown) {
        let labels = labels(&[("alertname", "DatabaseDown"), ("severity", "critical")]);
        found.push((labels, "The database refuses connections".to_owned()));
    }
    found
}

fn troubles_of(service: &Service, version: &Version, arm: &str, found: &mut Vec<(Labels, String)>) {
    let recent = version.recent();
    let name = format!("{} {arm} {}", service.name, version.name);
    let labels = |alert, severity| {
        labels(&[
            ("alertname", alert),
            ("severity", severity),
            ("service", service.name),
            ("arm", arm),
            ("version", version.name),
        ])
    };
    if let Some(percent) = recent.error_percent.filter(|percent| *percent > ERROR_PERCENT_MAX) {
        let summary = format!("{percent:.0} % of the requests to {name} failed");
        found.push((labels("HighErrorRate", "critical"), summary));
    }
    if let Some(latency) = recent.latency.filter(|latency| *latency > LATENCY_MAX) {
        let summary = format!("{name} takes {:.1} s on average", latency.as_secs_f64());
        found.push((labels("HighLatency", "warning"), summary));
    }
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// FNV-1a over the labels: stable, and as long as Alertmanager's own.
fn fingerprint(labels: &Labels) -> String {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for (name, value) in labels {
        for byte in name.bytes().chain([0xff]).chain(value.bytes()).chain([0xff]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    format!("{hash:016x}")
}

fn stamp(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}
