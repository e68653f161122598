//! The sandbox's HTTP server and client: bounded, on loopback, cut off when told.
//!
//! Decides how many connections there may be and how much a body may hold. Never knows what is
//! served. Contract: when the future of [`serve`] is dropped, its port and every connection to it
//! are closed.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full, Limited};
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Fault;
use super::world::Faults;

/// Connections at one port; more wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 256;

/// Nothing here sends or receives a larger body.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// A pause after a failed accept or bind, so that a lasting failure does not spin.
pub const RETRY: Duration = Duration::from_millis(50);

pub type Reply = Response<Full<Bytes>>;

/// Shared by load and proxies; keeps its connections open.
pub type Caller = Client<HttpConnector, Empty<Bytes>>;

pub fn caller() -> Caller {
    Client::builder(TokioExecutor::new()).build_http()
}

/// Opens a connection for each request, as many users do: a router that reloads drops none.
pub fn caller_without_pool() -> Caller {
    Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http()
}

/// A whole answer.
pub fn reply(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = status;
    let value = hyper::header::HeaderValue::from_static(content_type);
    reply.headers_mut().insert(CONTENT_TYPE, value);
    reply
}

pub fn json(status: StatusCode, body: &serde_json::Value) -> Reply {
    reply(status, "application/json", body.to_string())
}

/// An error as the control endpoint and the feed word it.
pub fn error(status: StatusCode, text: &str) -> Reply {
    json(status, &serde_json::json!({ "error": text }))
}

/// The whole body, or what was wrong with it.
pub async fn body(request: Request<Incoming>) -> Result<Bytes, Reply> {
    match Limited::new(request.into_body(), BODY_BYTES_MAX).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(_) => Err(error(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large or cut off")),
    }
}

/// Answers with `handle`; an `Err` from it closes the connection without an answer.
pub async fn serve<H, F>(listener: TcpListener, handle: H)
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = io::Result<Reply>> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => {
                match accepted {
                    Ok((stream, _)) => {
                        connections.spawn(converse(stream, handle.clone()));
                    }
                    Err(_) => tokio::time::sleep(RETRY).await,
                }
            }
        }
    }
}

async fn converse<H, F>(stream: TcpStream, handle: H)
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = io::Result<Reply>> + Send + 'static,
{
    // A client that goes away ends its own conversation; there is nobody to tell.
    drop(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), service_fn(handle))
            .await,
    );
}

/// Runs `open` on the port while `fault` is off; while it is on, the port refuses.
pub async fn while_off<O, F>(
    listener: TcpListener,
    mut faults: watch::Receiver<Faults>,
    fault: Fault,
    open: O,
) where
    O: Fn(TcpListener) -> F,
    F: Future<Output = ()>,
{
    let Ok(address) = listener.local_addr() else { return };
    let mut next = listener;
    loop {
        tokio::select! {
            () = open(next) => {}
            () = until(&mut faults, fault, true) => {}
        }
        until(&mut faults, fault, false).await;
        next = bind_again(address).await;
    }
}

/// Returns once the fault is as wanted; never when the sandbox is gone.
pub async fn until(faults: &mut watch::Receiver<Faults>, fault: Fault, on: bool) {
    if faults.wait_for(|faults| faults.is_on(fault) == on).await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn bind_again(address: SocketAddr) -> TcpListener {
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(_) => tokio::time::sleep(RETRY).await,
        }
    }
}
