//! Telemetry of a machine: this one, or another through its node exporter.
//!
//! Decides where each figure comes from. Never reads more than is shown, and never runs anything
//! there. Contract: rates need two reads, so the first has none; a counter that fell is no data;
//! each read is bounded in time.

mod local;
mod node;

use std::time::Duration;

use engine::reading::HostReading;
use engine::types::{Failure, FailureKind};
use tokio::task::JoinHandle;

use self::local::Local;
use crate::io::clock;
use crate::io::http::{Client, Method};
use crate::io::metrics::exposition;
use crate::io::settings::{HostTarget, HttpTarget};

/// A mount on a dead file server blocks its reader; the console must not wait for it.
const LOCAL_TIMEOUT: Duration = Duration::from_secs(5);
/// The page of a machine with thousands of devices stays below.
const PAGE_BYTES_MAX: usize = 8 << 20;

pub struct Reader {
    target: HostTarget,
    local: LocalState,
    node: Option<node::Counters>,
}

/// Reading this machine blocks, so it happens on a thread, which takes the state along.
enum LocalState {
    Idle(Option<Box<Local>>),
    Reading(JoinHandle<(Box<Local>, HostReading)>),
}

impl Reader {
    #[must_use]
    pub fn new(target: HostTarget) -> Reader {
        Reader { target, local: LocalState::Idle(None), node: None }
    }

    pub async fn read(&mut self, client: &Client) -> Result<HostReading, Failure> {
        match &self.target {
            HostTarget::Local => self.read_local().await,
            HostTarget::NodeExporter(http) => {
                let page = page(client, http).await?;
                let counters = node::Counters::from_page(&page, clock::now());
                let reading = node::reading(&page, &counters, self.node.as_ref())?;
                self.node = Some(counters);
                Ok(reading)
            }
        }
    }

    async fn read_local(&mut self) -> Result<HostReading, Failure> {
        let mut task = match std::mem::replace(&mut self.local, LocalState::Idle(None)) {
            LocalState::Idle(state) => tokio::task::spawn_blocking(move || {
                let mut state = state.unwrap_or_else(|| Box::new(Local::new()));
                let reading = state.read(clock::now());
                (state, reading)
            }),
            // The last read still hangs: wait on, instead of letting one more thread hang too.
            LocalState::Reading(task) => task,
        };
        match tokio::time::timeout(LOCAL_TIMEOUT, &mut task).await {
            Ok(Ok((state, reading))) => {
                self.local = LocalState::Idle(Some(state));
                Ok(reading)
            }
            Ok(Err(error)) => {
                let text = format!("reading this machine: {error}");
                Err(Failure::new(FailureKind::Malformed, text))
            }
            Err(_) => {
                self.local = LocalState::Reading(task);
                let seconds = LOCAL_TIMEOUT.as_secs();
                let text = format!("reading this machine: nothing within {seconds} s");
                Err(Failure::new(FailureKind::Timeout, text))
            }
        }
    }
}

async fn page(client: &Client, http: &HttpTarget) -> Result<Vec<exposition::Sample>, Failure> {
    let http = HttpTarget { body_bytes_max: PAGE_BYTES_MAX, ..http.clone() };
    let base = http.url.trim_end_matches('/');
    let authority = base.split_once("://").map_or(base, |(_, rest)| rest);
    // An address without a path means the exporter's usual one.
    let url = if authority.contains('/') { base.to_owned() } else { format!("{base}/metrics") };
    let answer = client.send(&http, Method::Get, &url, &[], None).await?;
    if answer.status != 200 {
        let text = format!("node exporter answers HTTP {}", answer.status);
        return Err(Failure::new(FailureKind::Refused, text));
    }
    exposition::parse(&answer.body)
        .map_err(|why| Failure::new(FailureKind::Malformed, format!("node exporter: {why}")))
}

/// A share in percent; `None` of nothing.
fn percent(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| (part / whole * 100.0).clamp(0.0, 100.0))
}
