//! Small servers that stand in for the applications of a fleet, its users and its receivers.
//!
//! Decides what runs on which port, by the fleet's `stand-ins.toml`. Never starts a program: the
//! real servers beside it are started by the fleet's `run`. Contract: everything listens on
//! loopback, on the ports of `site`, and ends with this process.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine::types::{Failure, FailureKind};
use serde::Deserialize;
use tokio::net::{TcpListener, TcpStream};

use super::{load, serve};
use world::World;

mod control;
mod orchestrator;
mod site;
mod slot;
mod tokens;
mod world;

/// The file of a fleet that says what stands in.
const SPEC_FILE: &str = "stand-ins.toml";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Spec {
    #[serde(default)]
    slot: Vec<SlotSpec>,
    #[serde(default)]
    users: Vec<UsersSpec>,
    /// The port of a page like a node exporter's, by the knobs `cpu` and `memory`.
    node: Option<u16>,
    orchestrator: Option<OrchestratorSpec>,
    #[serde(default)]
    knobs: BTreeMap<String, f64>,
}

/// What executes migrations.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OrchestratorSpec {
    port: u16,
    /// The file that holds its bearer token.
    token: PathBuf,
    /// How long a token is accepted.
    life: String,
}

/// A place where a version of an application runs.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SlotSpec {
    name: String,
    port: u16,
    /// What runs there at first; nothing when it is empty.
    #[serde(default)]
    version: String,
    #[serde(default)]
    health: Health,
    database: Option<SocketAddr>,
    /// How long an answer takes.
    #[serde(default = "work_ms")]
    work_ms: u64,
    /// The knob that says for how many percent of the requests its new code is on; the version's
    /// manners are those of the new code.
    flag: Option<String>,
    #[serde(default)]
    tenants: Vec<String>,
}

fn work_ms() -> u64 {
    5
}

/// How `/health` is worded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Health {
    #[default]
    Ok,
    AspNet,
}

/// Those who ask for work.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UsersSpec {
    port: u16,
    per_second: u32,
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

/// Fills the fleet's files in and serves until the process is ended.
pub fn run(source: &Path, place: &Path, speed: u32) -> Result<(), Failure> {
    let site = site::Site::make(source, place, speed)?;
    let path = place.join(SPEC_FILE);
    let text = std::fs::read_to_string(&path)
        .map_err(|why| failed(&format!("{}: {why}", path.display())))?;
    let spec: Spec =
        toml::from_str(&text).map_err(|why| failed(&format!("{}: {why}", path.display())))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|why| failed(&why.to_string()))?;
    runtime.block_on(async {
        let world = Arc::new(World::new(&spec));
        for (place, slot) in spec.slot.iter().enumerate() {
            tokio::spawn(slot::serve(Arc::clone(&world), place, listen(slot.port).await?));
        }
        if let Some(port) = spec.node {
            tokio::spawn(slot::node(Arc::clone(&world), listen(port).await?));
        }
        if let Some(own) = &spec.orchestrator {
            let tokens = tokens::Tokens::new(own)?;
            let all = orchestrator::Orchestrator::new(Arc::clone(&world), tokens);
            tokio::spawn(orchestrator::serve(Arc::new(all), listen(own.port).await?));
        }
        let caller = serve::caller_without_pool();
        for users in spec.users {
            let users = load::Users {
                proxy: (Ipv4Addr::LOCALHOST, users.port).into(),
                headers: users.headers.into_iter().collect(),
                per_s: users.per_second,
            };
            let (seen, caller) = (Arc::clone(&world.seen), caller.clone());
            tokio::spawn(async move {
                // Nobody comes before there is a door: the routers start after this.
                while TcpStream::connect(users.proxy).await.is_err() {
                    tokio::time::sleep(serve::RETRY).await;
                }
                load::run(seen, caller, users).await;
            });
        }
        let held =
            site.control.set_nonblocking(true).and_then(|()| TcpListener::from_std(site.control));
        let held = held.map_err(|why| failed(&why.to_string()))?;
        control::serve(world, held).await;
        Ok(())
    })
}

async fn listen(port: u16) -> Result<TcpListener, Failure> {
    let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
    bound.map_err(|why| failed(&format!("port {port}: {why}")))
}

fn failed(text: &str) -> Failure {
    Failure::new(FailureKind::Unreachable, text)
}
