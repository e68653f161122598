//! The port by which a fleet's stand-ins are steered: by plans, by tests and by people.
//!
//! Decides what each address means. Never answers for a slot. Contract: a change is made before it
//! is answered.
//!
//! `PUT /slots/NAME {"version": "2.0"}` starts a version there, `null` stops it, `GET
//! /slots/NAME/2.0` says whether it runs, `GET /health/NAME` how it is; `PUT /knobs
//! {"cpu": 97}` turns knobs; `POST /told/CHANNEL` keeps what is sent. Each is read by `GET`, and
//! `GET /users` says what those who ask for work saw; `GET /metrics` has the counters of all slots
//! and the knobs.

use std::collections::BTreeMap;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::slot;
use super::world::World;
use crate::demo::serve::{self, Reply, error};
use crate::demo::service::exposition;
use crate::demo::world::locked;

/// A knob's name stands on a page of Prometheus text.
const KNOB_CHARS_MAX: usize = 64;

pub async fn serve(world: Arc<World>, listener: TcpListener) {
    let handle = move |request: Request<Incoming>| {
        let world = Arc::clone(&world);
        async move { Ok(answer(&world, request).await) }
    };
    serve::serve(listener, handle).await;
}

async fn answer(world: &World, request: Request<Incoming>) -> Reply {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let body = match serve::body(request).await {
        Ok(body) => body,
        Err(refusal) => return refusal,
    };
    let mut parts = path.trim_matches('/').splitn(2, '/');
    let (first, rest) = (parts.next().unwrap_or_default(), parts.next());
    match (method, first, rest) {
        (Method::GET, "slots", None) => serve::json(StatusCode::OK, &slot::list(world)),
        (Method::PUT, "slots", Some(name)) => deploy(world, name, &body),
        (Method::GET, "slots", Some(which)) => runs(world, which),
        (Method::GET, "health", Some(name)) => match world.slot(name) {
            Some(slot) => slot::health(world, slot).await,
            None => error(StatusCode::NOT_FOUND, "no such slot"),
        },
        (Method::GET, "knobs", None) => serve::json(StatusCode::OK, &json!(*locked(&world.knobs))),
        (Method::PUT, "knobs", None) => turn(world, &body),
        (Method::GET, "told", Some(channel)) => {
            serve::json(StatusCode::OK, &Value::Array(world.told(channel)))
        }
        (Method::POST, "told", Some(channel)) => {
            let text = || Value::String(String::from_utf8_lossy(&body).into_owned());
            world.tell(channel, serde_json::from_slice(&body).unwrap_or_else(|_| text()));
            serve::json(StatusCode::ACCEPTED, &json!({ "status": "ok" }))
        }
        (Method::GET, "users", None) => {
            let seen = world.seen.counters();
            let body = json!({ "requests": seen.requests, "failed": seen.failed_requests });
            serve::json(StatusCode::OK, &body)
        }
        (Method::GET, "metrics", None) => {
            exposition(slot::counters(&world.slots) + &slot::gauges(world))
        }
        _ => error(StatusCode::NOT_FOUND, "no such address"),
    }
}

fn deploy(world: &World, name: &str, body: &[u8]) -> Reply {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Wanted {
        version: Option<String>,
    }
    let Some(slot) = world.slot(name) else {
        return error(StatusCode::NOT_FOUND, "no such slot");
    };
    match serde_json::from_slice(body) {
        Ok(Wanted { version }) => {
            slot.run(version);
            serve::json(StatusCode::OK, &slot::list(world))
        }
        Err(why) => error(StatusCode::BAD_REQUEST, &why.to_string()),
    }
}

/// `SLOT/VERSION`: 200 when that is what runs there.
fn runs(world: &World, which: &str) -> Reply {
    let (name, version) = which.split_once('/').unwrap_or((which, ""));
    match world.slot(name).and_then(super::world::Slot::version) {
        Some(own) if own == version => serve::json(StatusCode::OK, &json!({ "version": own })),
        Some(own) => error(StatusCode::NOT_FOUND, &format!("{own} runs there")),
        None => error(StatusCode::NOT_FOUND, "nothing runs there"),
    }
}

fn turn(world: &World, body: &[u8]) -> Reply {
    let wanted: BTreeMap<String, f64> = match serde_json::from_slice(body) {
        Ok(wanted) => wanted,
        Err(why) => return error(StatusCode::BAD_REQUEST, &why.to_string()),
    };
    let fits = |name: &String| {
        name.len() <= KNOB_CHARS_MAX && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
    };
    if !wanted.keys().all(fits) {
        return error(StatusCode::BAD_REQUEST, "a knob is named by a-z and _");
    }
    let mut knobs = locked(&world.knobs);
    knobs.extend(wanted);
    serve::json(StatusCode::OK, &json!(*knobs))
}
