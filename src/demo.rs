//! The sandbox: a small live fleet in this process, real HTTP on loopback, broken on demand.
//!
//! Decides which servers there are and on which free ports. Never talks to the engine: the fleet
//! is reached only through the adapters that a production fleet is reached through. Contract: a
//! [`Fleet`] lives in a thread of its own; dropping the handle ends the thread and frees its ports.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use engine::types::{Failure, FailureKind};
use hyper::Request;
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::{oneshot, watch};

use world::{Balance, Format, Service, Version, World, locked};

mod feed;
pub mod fleets;
mod health;
mod load;
mod metrics;
pub mod scenario;
mod serve;
mod service;
pub mod stand_in;
mod world;

/// Name of the file, in the directory given to [`Fleet::config`], that holds the token.
pub const TOKEN_FILE: &str = "token";

/// Name of the file, beside the token, that holds the configuration.
pub const CONFIG_FILE: &str = "quarterdeck.toml";

/// How often each service is asked unless told otherwise: a 10 % canary gets two a second.
pub const REQUESTS_PER_S: u32 = 20;

/// Long enough for a person to see it and press `R` first, short enough to see it go by itself.
const TRIGGER_SPAN: &str = "30s";

/// What can be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    CanaryErrors,
    CanaryLatency,
    DatabaseDown,
    FeedDown,
    RouterHangs,
    RouterLies,
}

impl Fault {
    pub const ALL: [Fault; 6] = [
        Fault::CanaryErrors,
        Fault::CanaryLatency,
        Fault::DatabaseDown,
        Fault::FeedDown,
        Fault::RouterHangs,
        Fault::RouterLies,
    ];

    /// The line in the fault menu.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Fault::CanaryErrors => "checkout canary: 20 % errors",
            Fault::CanaryLatency => "checkout canary: 2 s slower",
            Fault::DatabaseDown => "database down",
            Fault::FeedDown => "alert feed down",
            Fault::RouterHangs => "routers hang: accept and never answer",
            Fault::RouterLies => "routers lie: accept and do not apply",
        }
    }

    /// The key in the fault menu.
    #[must_use]
    pub fn key(self) -> char {
        match self {
            Fault::CanaryErrors => 'e',
            Fault::CanaryLatency => 'l',
            Fault::DatabaseDown => 'd',
            Fault::FeedDown => 'f',
            Fault::RouterHangs => 'h',
            Fault::RouterLies => 'i',
        }
    }
}

/// What the sandbox's users saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests that ended, one way or the other.
    pub requests: u64,
    /// Of these: no answer, or an error status.
    pub failed_requests: u64,
}

/// Where everything listens.
#[derive(Clone, Copy, Debug)]
struct Ports {
    proxies: [SocketAddr; 3],
    controls: [SocketAddr; 3],
    feed: SocketAddr,
    metrics: SocketAddr,
    database: SocketAddr,
}

/// The handle of a running fleet.
pub struct Fleet {
    world: Arc<World>,
    ports: Ports,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Fleet {
    /// Starts everything; checkout has a canary at 10 %, the others none.
    pub fn start() -> Result<Fleet, Failure> {
        Fleet::start_with_load(REQUESTS_PER_S)
    }

    /// As [`Fleet::start`], with that many requests a second to each service; none with zero.
    pub fn start_with_load(requests_per_s: u32) -> Result<Fleet, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|why| cannot("start the sandbox", &why))?;
        let (world, ports) = open(&runtime, requests_per_s)?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("sandbox".to_owned())
            .spawn(move || {
                // A dropped sender is a request to stop too.
                drop(runtime.block_on(stopped));
                // Detached tasks must not hold the handle's owner up.
                runtime.shutdown_background();
            })
            .map_err(|why| cannot("start the sandbox's thread", &why))?;
        Ok(Fleet { world, ports, stop: Some(stop), thread: Some(thread) })
    }

    /// The configuration that points Quarterdeck at this fleet. Its routers read their token from
    /// [`TOKEN_FILE`] in `dir`, where the caller writes [`Fleet::token`].
    #[must_use]
    pub fn config(&self, dir: &Path) -> String {
        config(&self.world, &self.ports, &dir.join(TOKEN_FILE))
    }

    /// Writes the configuration and its token into `dir`, both for this user alone; the path of
    /// the configuration.
    pub fn write_config(&self, dir: &Path) -> Result<PathBuf, Failure> {
        let path = dir.join(CONFIG_FILE);
        write_private(&dir.join(TOKEN_FILE), self.token())?;
        write_private(&path, &self.config(dir))?;
        Ok(path)
    }

    /// The bearer token of the control endpoints.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.world.token
    }

    /// Every fault, and whether it is on.
    #[must_use]
    pub fn faults(&self) -> Vec<(Fault, bool)> {
        Fault::ALL.into_iter().map(|fault| (fault, self.world.is_on(fault))).collect()
    }

    pub fn set_fault(&self, fault: Fault, on: bool) {
        self.world.faults.send_modify(|faults| faults.set(fault, on));
    }

    #[must_use]
    pub fn counters(&self) -> Counters {
        self.world.counters()
    }

    /// The version that a service's canary runs.
    #[must_use]
    pub fn next_version(&self, service: &str) -> Option<&'static str> {
        self.world.service(service).map(|service| service.versions[1].name)
    }

    /// The split that the proxy truly uses: stable, canary. A service that is not in the fleet
    /// serves nothing.
    #[must_use]
    pub fn split(&self, service: &str) -> (u8, u8) {
        self.world.service(service).map_or((0, 0), |service| locked(&service.balance).split())
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the sandbox was printed where it happened.
            drop(thread.join());
        }
    }
}

/// Opens every port and starts what serves it.
fn open(runtime: &Runtime, requests_per_s: u32) -> Result<(Arc<World>, Ports), Failure> {
    let _inside = runtime.enter();
    let versions = [listen_pair()?, listen_pair()?, listen_pair()?];
    let proxies = [listen()?, listen()?, listen()?];
    let controls = [listen()?, listen()?, listen()?];
    let (feed, metrics, database) = (listen()?, listen()?, listen()?);
    let ports = Ports {
        proxies: [proxies[0].1, proxies[1].1, proxies[2].1],
        controls: [controls[0].1, controls[1].1, controls[2].1],
        feed: feed.1,
        metrics: metrics.1,
        database: database.1,
    };
    let places = versions.each_ref().map(|pair| [pair[0].1, pair[1].1]);
    let world = Arc::new(world_at(places)?);
    let caller = {
        let _inside = runtime.enter();
        serve::caller()
    };
    for (service, pair) in versions.into_iter().enumerate() {
        for (place, (listener, _)) in pair.into_iter().enumerate() {
            runtime.spawn(service::version(Arc::clone(&world), service, place, listener));
        }
    }
    for (service, (listener, address)) in proxies.into_iter().enumerate() {
        let (world, caller) = (Arc::clone(&world), caller.clone());
        let users = load::Users { proxy: address, headers: Vec::new(), per_s: requests_per_s };
        runtime.spawn(load::run(Arc::clone(&world.seen), caller.clone(), users));
        runtime.spawn(service::proxy(world, caller, service, listener));
    }
    for (service, (listener, _)) in controls.into_iter().enumerate() {
        runtime.spawn(service::control(Arc::clone(&world), service, listener));
    }
    let board = Arc::new(Mutex::new(feed::Board::default()));
    runtime.spawn(feed::run(Arc::clone(&world), board, feed.0));
    runtime.spawn(page(Arc::clone(&world), metrics.0));
    let faults = world.faults.subscribe();
    runtime.spawn(serve::while_off(database.0, faults, Fault::DatabaseDown, accept));
    Ok((world, ports))
}

fn world_at(places: [[SocketAddr; 2]; 3]) -> Result<World, Failure> {
    let version =
        |name, address| Version { name, address, tally: Mutex::new(world::Tally::default()) };
    let service = |index: usize, name, format, canary, names: [&'static str; 2]| Service {
        name,
        format,
        needs_database: matches!(format, Format::Spring),
        balance: Mutex::new(Balance::new(canary)),
        versions: [version(names[0], places[index][0]), version(names[1], places[index][1])],
    };
    Ok(World {
        faults: watch::Sender::default(),
        services: [
            service(0, "checkout", Format::HealthJson, 10, ["2.4.1", "2.5.0"]),
            service(1, "catalog", Format::AspNet, 0, ["7.0.3", "7.1.0"]),
            service(2, "payments", Format::Spring, 0, ["1.12.0", "1.13.0"]),
        ],
        token: token()?,
        seen: Arc::default(),
    })
}

/// The page that the metrics adapter scrapes: all versions of all services.
async fn page(world: Arc<World>, listener: TcpListener) {
    let handle = move |_: Request<Incoming>| {
        let world = Arc::clone(&world);
        async move { Ok(service::exposition(metrics::page(&world.services))) }
    };
    serve::serve(listener, handle).await;
}

/// The database: it takes connections, and that is all that is asked of it.
async fn accept(listener: TcpListener) {
    loop {
        if listener.accept().await.is_err() {
            tokio::time::sleep(serve::RETRY).await;
        }
    }
}

fn listen_pair() -> Result<[(TcpListener, SocketAddr); 2], Failure> {
    Ok([listen()?, listen()?])
}

fn listen() -> Result<(TcpListener, SocketAddr), Failure> {
    let bound = || {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok((TcpListener::from_std(listener)?, address))
    };
    bound().map_err(|why: std::io::Error| cannot("open a port on loopback", &why))
}

/// A new file each time: the mode of an older one would stay.
fn write_private(path: &Path, text: &str) -> Result<(), Failure> {
    let write = || {
        match std::fs::remove_file(path) {
            Err(why) if why.kind() != ErrorKind::NotFound => return Err(why),
            Ok(()) | Err(_) => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(text.as_bytes())
    };
    write().map_err(|why| cannot(&format!("write {}", path.display()), &why))
}

/// 128 bits that nobody else on the machine can guess.
fn token() -> Result<String, Failure> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|why| cannot("read /dev/urandom", &why))?;
    Ok(engine::record::hex(&bytes))
}

fn cannot(what: &str, why: &std::io::Error) -> Failure {
    Failure::new(FailureKind::Unreachable, format!("cannot {what}: {why}"))
}

fn config(world: &World, ports: &Ports, token: &Path) -> String {
    let token = quoted(&token.to_string_lossy());
    let mut out = format!(
        r#"# The sandbox of `quarterdeck demo`; its ports are those of this run.
version = 1

[environment]
name = "demo"
timezone = "UTC"
band = "calm"

[[metrics]]
name = "demo"
exposition = "http://{}/metrics"

[[feed]]
name = "alerts"
alertmanager = "http://{}"
interval = "1s"

[[host]]
name = "here"
local = true
interval = "2s"
"#,
        ports.metrics, ports.feed
    );
    for (index, service) in world.services.iter().enumerate() {
        let [stable, canary] = &service.versions;
        let name = service.name;
        let labels = format!(r#"service="{name}",version="{{arm}}""#);
        let (proxy, control) = (ports.proxies[index], ports.controls[index]);
        write!(
            out,
            r#"
[[service]]
name = "{name}"
alias = "{alias}"
deploy = "deploy-{name}"

{probes}[service.signals]
metrics = "demo"
requests = 'http_requests_total{{{labels}}}'
errors = 'http_requests_total{{{labels},code=~"5.."}}'
latency = 'http_request_duration_seconds_bucket{{{labels}}}'
sum = 'http_request_duration_seconds_sum{{{labels}}}'
count = 'http_request_duration_seconds_count{{{labels}}}'
versions = {{ a = "{stable_name}", b = "{canary_name}" }}
interval = "1s"
window = "10s"

[service.router]
name = "proxy"
http = {{ url = "http://{control}/split", token = {{ file = {token} }} }}
reread = "1s"

[service.canary]
steps = [10, 25, 50, 100]
soak = "5s"
wait = "2m"
every = "1s"
bake = "10s"
objective = {{ error_rate = 10.0 }}

[[service.rollback_when]]
when = "canary.error_rate > 10.0"
for = "{TRIGGER_SPAN}"

[plan.deploy-{name}]
service = "{name}"
steps = [
  {{ check = {{ probe = "canary" }}, timeout = "30s" }},
  {{ canary = true }},
]

[plan.smoke-{name}]
service = "{name}"
steps = [
  {{ check = {{ probe = "stable" }}, timeout = "30s" }},
  {{ check = {{ probe = "canary" }}, timeout = "30s" }},
]
"#,
            alias = alias(name),
            probes = probes(service, proxy, ports.database),
            stable_name = stable.name,
            canary_name = canary.name,
        )
        .expect("writing to a string cannot fail");
    }
    out
}

/// One look decides at a version (`fall = 1`): a fault must show within seconds. At the proxy,
/// every look may meet another version, so only several in a row say something about the service.
fn probes(service: &Service, proxy: SocketAddr, database: SocketAddr) -> String {
    let [stable, canary] = &service.versions;
    let mut out = String::new();
    for (name, address, fall, rise) in
        [("proxy", proxy, 3, 2), ("stable", stable.address, 1, 1), ("canary", canary.address, 1, 1)]
    {
        write!(
            out,
            r#"[[service.probe]]
name = "{name}"
http = "http://{address}/health"
interval = "1s"
timeout = "3s"
degraded_above = "500ms"
fall = {fall}
rise = {rise}

"#
        )
        .expect("writing to a string cannot fail");
    }
    if service.needs_database {
        write!(
            out,
            r#"[[service.probe]]
name = "database"
tcp = "{database}"
interval = "1s"
timeout = "1s"
fall = 1
rise = 1

"#
        )
        .expect("writing to a string cannot fail");
    }
    out
}

/// What is typed to fire a guard.
fn alias(service: &str) -> &'static str {
    match service {
        "checkout" => "chk",
        "catalog" => "cat",
        _ => "pay",
    }
}

/// A TOML string; a JSON string is one.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
