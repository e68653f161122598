//! The sandbox's services: their versions, the proxy before them, and its control endpoint.
//!
//! Decides what a version answers and which version a request reaches. Never counts health checks
//! as requests. Contract: `GET /split` tells the split that the proxy truly uses, whatever a fault
//! makes `PUT /split` say.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::Fault;
use super::serve::{self, BODY_BYTES_MAX, Caller, Reply, error, reply};
use super::world::{Balance, FAULT_LATENCY, Service, Version, World, locked};
use super::{health, metrics};

/// Names the version that answered, through the proxy too.
pub const VERSION_HEADER: &str = "x-version";

/// The quickest answer.
const WORK: Duration = Duration::from_millis(6);

/// Answers differ by up to this many milliseconds, so that percentiles have something to show.
const WORK_SPREAD_MS: u64 = 25;

/// Steps through the spread without a pattern that the eye sees; prime to it.
const WORK_STEP: u64 = 7;

/// One version of one service, at its own port.
pub async fn version(world: Arc<World>, service: usize, place: usize, listener: TcpListener) {
    let handle = move |request: Request<Incoming>| {
        let world = Arc::clone(&world);
        async move { Ok(answer(&world, &world.services[service], place, &request).await) }
    };
    serve::serve(listener, handle).await;
}

async fn answer(
    world: &World,
    service: &Service,
    place: usize,
    request: &Request<Incoming>,
) -> Reply {
    let version = &service.versions[place];
    let start = Instant::now();
    let mut reply = match request.uri().path() {
        "/metrics" => return exposition(metrics::own_page(service, version)),
        "/health" => {
            linger(world, service, place, Duration::ZERO).await;
            health::answer(world, service, place)
        }
        _ => {
            linger(world, service, place, work(version)).await;
            let failed = world.request_fails(service, place);
            version.record(failed, start.elapsed());
            worked(service, version, failed)
        }
    };
    if let Ok(name) = HeaderValue::from_str(version.name) {
        reply.headers_mut().insert(VERSION_HEADER, name);
    }
    reply
}

async fn linger(world: &World, service: &Service, place: usize, work: Duration) {
    let slow = world.canary_fault(service, place, Fault::CanaryLatency);
    let extra = if slow { FAULT_LATENCY } else { Duration::ZERO };
    tokio::time::sleep(work + extra).await;
}

fn work(version: &Version) -> Duration {
    let served = locked(&version.tally).count();
    WORK + Duration::from_millis(served.wrapping_mul(WORK_STEP) % WORK_SPREAD_MS)
}

fn worked(service: &Service, version: &Version, failed: bool) -> Reply {
    if failed {
        return error(StatusCode::INTERNAL_SERVER_ERROR, "the request failed");
    }
    let body = json!({ "service": service.name, "version": version.name });
    serve::json(StatusCode::OK, &body)
}

/// Prometheus text, with the type that scrapers expect.
pub fn exposition(text: String) -> Reply {
    reply(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text)
}

/// The weighted proxy before both versions.
pub async fn proxy(world: Arc<World>, caller: Caller, service: usize, listener: TcpListener) {
    let handle = move |request: Request<Incoming>| {
        let (world, caller) = (Arc::clone(&world), caller.clone());
        async move { Ok(forward(&caller, &world.services[service], &request).await) }
    };
    serve::serve(listener, handle).await;
}

async fn forward(caller: &Caller, service: &Service, request: &Request<Incoming>) -> Reply {
    if request.method() != Method::GET {
        return error(StatusCode::METHOD_NOT_ALLOWED, "the proxy forwards GET");
    }
    let place = locked(&service.balance).pick();
    let address = service.versions[place].address;
    let path = request.uri().path_and_query().map_or("/", hyper::http::uri::PathAndQuery::as_str);
    let Ok(onward) = Request::get(format!("http://{address}{path}")).body(Empty::new()) else {
        return error(StatusCode::BAD_REQUEST, "no such address");
    };
    let Ok(response) = caller.request(onward).await else {
        return error(StatusCode::BAD_GATEWAY, "the version does not answer");
    };
    let (head, body) = response.into_parts();
    let Ok(body) = Limited::new(body, BODY_BYTES_MAX).collect().await else {
        return error(StatusCode::BAD_GATEWAY, "the version's answer was cut off");
    };
    let mut reply = Response::new(Full::new(body.to_bytes()));
    *reply.status_mut() = head.status;
    for name in [CONTENT_TYPE.as_str(), VERSION_HEADER] {
        if let Some(value) = head.headers.get(name)
            && let Ok(name) = hyper::header::HeaderName::from_bytes(name.as_bytes())
        {
            reply.headers_mut().insert(name, value.clone());
        }
    }
    reply
}

/// The control endpoint of one proxy.
pub async fn control(world: Arc<World>, service: usize, listener: TcpListener) {
    let handle = move |request: Request<Incoming>| {
        let world = Arc::clone(&world);
        async move { steer(&world, &world.services[service], request).await }
    };
    serve::serve(listener, handle).await;
}

async fn steer(world: &World, service: &Service, request: Request<Incoming>) -> io::Result<Reply> {
    if world.is_on(Fault::RouterHangs) {
        // Never answered: when the fault ends, the connection is closed and nothing was applied.
        serve::until(&mut world.faults.subscribe(), Fault::RouterHangs, false).await;
        return Err(io::Error::other("hung"));
    }
    if request.uri().path() != "/split" {
        return Ok(error(StatusCode::NOT_FOUND, "only /split is here"));
    }
    let bearer = format!("Bearer {}", world.token);
    let given = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes);
    if given != Some(bearer.as_bytes()) {
        return Ok(error(StatusCode::UNAUTHORIZED, "the bearer token is missing or wrong"));
    }
    if request.method() == Method::GET {
        let (stable, canary) = locked(&service.balance).split();
        return Ok(shares(stable, canary));
    }
    if request.method() != Method::PUT {
        return Ok(error(StatusCode::METHOD_NOT_ALLOWED, "GET or PUT"));
    }
    let body = match serve::body(request).await {
        Ok(body) => body,
        Err(refusal) => return Ok(refusal),
    };
    Ok(match wanted(&body) {
        Ok((stable, canary)) => {
            if !world.is_on(Fault::RouterLies) {
                *locked(&service.balance) = Balance::new(canary);
            }
            shares(stable, canary)
        }
        Err((status, text)) => error(status, &text),
    })
}

fn shares(stable: u8, canary: u8) -> Reply {
    // Whoever got this far may set it as well.
    serve::json(StatusCode::OK, &json!({ "stable": stable, "canary": canary, "writable": true }))
}

/// What a PUT asks for; both shares, whole percents, 100 together.
fn wanted(body: &Bytes) -> Result<(u8, u8), (StatusCode, String)> {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Wanted {
        stable: u8,
        canary: u8,
    }
    let Wanted { stable, canary } = serde_json::from_slice(body)
        .map_err(|why| (StatusCode::BAD_REQUEST, format!("not a split: {why}")))?;
    let sum = u16::from(stable) + u16::from(canary);
    if sum != 100 {
        let text = format!("{stable} and {canary} are {sum} together, not 100");
        return Err((StatusCode::UNPROCESSABLE_ENTITY, text));
    }
    Ok((stable, canary))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str, expected: Result<(u8, u8), u16>) {
        let found = wanted(&Bytes::copy_from_slice(body.as_bytes()));
        assert_eq!(found.map_err(|(status, _)| status.as_u16()), expected, "{body}");
    }

    #[test]
    fn only_a_whole_split_is_taken() {
        check(r#"{"stable":90,"canary":10}"#, Ok((90, 10)));
        check(r#"{"stable":90,"canary":11}"#, Err(422));
        check(r#"{"stable":0,"canary":0}"#, Err(422));
        check(r#"{"stable":-1,"canary":101}"#, Err(400));
        check(r#"{"stable":90}"#, Err(400));
        check(r#"{"stable":90,"canary":10,"blue":0}"#, Err(400));
        check("90", Err(400));
        check("", Err(400));
    }
}
