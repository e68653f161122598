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
use super::world::World;

/// At most that many at once: 20 a second that each take 2 s longer, with room to spare.
const IN_FLIGHT_MAX: usize = 64;

/// A user gives up after this; above the latency fault, so that slow is not failed.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks `proxy` that often for ever; with nothing to do it only waits.
pub async fn run(world: Arc<World>, caller: Caller, proxy: SocketAddr, requests_per_s: u32) {
    let Some(pause) = Duration::from_secs(1).checked_div(requests_per_s) else {
        return std::future::pending().await;
    };
    let mut tick = tokio::time::interval(pause);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut in_flight = JoinSet::new();
    loop {
        tick.tick().await;
        while in_flight.try_join_next().is_some() {}
        if in_flight.len() < IN_FLIGHT_MAX {
            in_flight.spawn(ask(Arc::clone(&world), caller.clone(), proxy));
        }
    }
}

async fn ask(world: Arc<World>, caller: Caller, proxy: SocketAddr) {
    let good = tokio::time::timeout(PATIENCE, answer(&caller, proxy)).await.unwrap_or(false);
    world.requests.fetch_add(1, Ordering::Relaxed);
    if !good {
        world.failed_requests.fetch_add(1, Ordering::Relaxed);
    }
}

async fn answer(caller: &Caller, proxy: SocketAddr) -> bool {
    let Ok(request) = Request::get(format!("http://{proxy}/")).body(Empty::new()) else {
        return false;
    };
    let Ok(response) = caller.request(request).await else { return false };
    let status = response.status();
    // Reading to the end gives the connection back to the pool.
    let whole = Limited::new(response.into_body(), BODY_BYTES_MAX).collect().await;
    whole.is_ok() && status.is_success()
}
