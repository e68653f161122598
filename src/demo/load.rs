//! The sandbox's users: a steady, bounded stream of requests to each proxy.
//!
//! Decides when to ask. Never waits for a slow answer before asking again, up to a limit.
//! Contract: every request that was sent is counted once, when it ended.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::Request;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::serve::{BODY_BYTES_MAX, Caller};
use super::world::Seen;

/// At most that many at once: 20 a second that each take 2 s longer, with room to spare.
const IN_FLIGHT_MAX: usize = 64;

/// A user gives up after this; above the latency fault, so that slow is not failed.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who asks what, and how often.
#[derive(Clone)]
pub struct Users {
    pub proxy: SocketAddr,
    /// Sent with each request.
    pub headers: Vec<(String, String)>,
    pub per_s: u32,
}

/// Asks for ever; with nothing to do it only waits.
pub async fn run(seen: Arc<Seen>, caller: Caller, users: Users) {
    let Some(pause) = Duration::from_secs(1).checked_div(users.per_s) else {
        return std::future::pending().await;
    };
    let users = Arc::new(users);
    let mut tick = tokio::time::interval(pause);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut in_flight = JoinSet::new();
    loop {
        tick.tick().await;
        while in_flight.try_join_next().is_some() {}
        if in_flight.len() < IN_FLIGHT_MAX {
            in_flight.spawn(ask(Arc::clone(&seen), caller.clone(), Arc::clone(&users)));
        }
    }
}

async fn ask(seen: Arc<Seen>, caller: Caller, users: Arc<Users>) {
    let good = tokio::time::timeout(PATIENCE, answer(&caller, &users)).await.unwrap_or(false);
    seen.requests.fetch_add(1, Ordering::Relaxed);
    if !good {
        seen.failed_requests.fetch_add(1, Ordering::Relaxed);
    }
}

async fn answer(caller: &Caller, users: &Users) -> bool {
    let mut request = Request::get(format!("http://{}/", users.proxy));
    for (name, value) in &users.headers {
        request = request.header(name, value);
    }
    let Ok(request) = request.body(Empty::new()) else { return false };
    let Ok(response) = caller.request(request).await else { return false };
    let status = response.status();
    // Reading to the end gives the connection back to the pool.
    let whole = Limited::new(response.into_body(), BODY_BYTES_MAX).collect().await;
    whole.is_ok() && status.is_success()
}
