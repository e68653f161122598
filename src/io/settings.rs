//! What the configuration tells the adapters: addresses, paths, argument lists, secrets.
//!
//! Decides nothing. Never shown on a screen as it is. Contract: each list stands in the order of
//! the list of the same name in [`engine::settings::Settings`], so that an id finds both halves.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::io::http::Method;

#[derive(Clone, Debug, Default)]
pub struct Settings {
    pub probes: Vec<ProbeTarget>,
    pub routers: Vec<RouterTarget>,
    /// By router: its other way to take all traffic to stable.
    pub fallbacks: Vec<Option<Fallback>>,
    pub hosts: Vec<HostTarget>,
    pub feeds: Vec<FeedTarget>,
    /// By service; `None` where stable and canary are not counted.
    pub signals: Vec<Option<SignalsTarget>>,
    /// By service; `None` where it has no tenants.
    pub tenants: Vec<Option<TenantsTarget>>,
    pub tasks: Vec<TaskTarget>,
    pub channels: Vec<ChannelTarget>,
}

/// A secret, or why it is missing: that is an error of the part that needs it, not of the rest.
/// [`Secret::value`] says what it is right now.
#[derive(Clone)]
pub enum Secret {
    Known(String),
    /// Read when it is used.
    File(PathBuf),
    Missing(String),
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Secret::Known(_) => f.write_str("Secret(***)"),
            Secret::File(path) => write!(f, "Secret(file {})", path.display()),
            Secret::Missing(why) => write!(f, "Secret(missing: {why})"),
        }
    }
}

/// How an HTTP endpoint is asked.
#[derive(Clone, Debug, Default)]
pub struct HttpTarget {
    pub url: String,
    /// Sent as given; values are secrets and never logged.
    pub headers: BTreeMap<String, Secret>,
    /// Sent as `Authorization: Bearer …`.
    pub token: Option<Secret>,
    pub timeout: Duration,
    pub body_bytes_max: usize,
    /// At most 3, to the same origin; off unless asked for.
    pub follow_redirects: bool,
    /// `Accept-Encoding: gzip`, capped by ratio; off unless asked for.
    pub compressed: bool,
    /// PEM file of an authority to trust besides the public ones.
    pub ca_file: Option<PathBuf>,
    /// The connection ends with the answer.
    pub close: bool,
}

#[derive(Clone, Debug)]
pub enum ProbeTarget {
    Http {
        http: HttpTarget,
        expect: Option<engine::health::Expect>,
        figures: Vec<engine::health::Figure>,
    },
    /// `host:port`
    Tcp {
        address: String,
        timeout: Duration,
    },
    Command {
        argv: Vec<String>,
        timeout: Duration,
        expect: Option<engine::health::Expect>,
    },
}

#[derive(Clone, Debug)]
pub enum HostTarget {
    Local,
    NodeExporter(HttpTarget),
}

#[derive(Clone, Debug)]
pub enum FeedTarget {
    Alertmanager(HttpTarget),
    Prometheus(HttpTarget),
    PagerDuty {
        http: HttpTarget,
        from: String,
    },
    Statuspage(HttpTarget),
    JsonUrl(HttpTarget),
    JsonFile(PathBuf),
    /// Figures by name, each the one value of a query.
    Counters {
        http: HttpTarget,
        queries: Vec<(String, String)>,
    },
}

/// Where the counters of both groups come from.
#[derive(Clone, Debug)]
pub enum SignalsTarget {
    /// One instant query per group and signal; `{arm}` is already replaced: [group a, group b].
    Prometheus {
        http: HttpTarget,
        requests: [String; 2],
        errors: Option<[String; 2]>,
        buckets: Option<[String; 2]>,
        sum: Option<[String; 2]>,
        count: Option<[String; 2]>,
    },
    /// Prometheus text, scraped directly; the same selectors, matched here: metric name and
    /// `label="value"`, `!=`, `=~`, `!~`.
    Exposition {
        /// One page for both groups, or one page for each.
        pages: Vec<HttpTarget>,
        requests: [String; 2],
        errors: Option<[String; 2]>,
        buckets: Option<[String; 2]>,
        sum: Option<[String; 2]>,
        count: Option<[String; 2]>,
    },
    /// HAProxy's own per-server counters: `show stat` of one backend.
    Haproxy { socket: PathBuf, backend: String, groups: [Vec<String>; 2], timeout: Duration },
}

/// Where the figures of tenants come from.
#[derive(Clone, Debug)]
pub struct TenantsTarget {
    pub http: HttpTarget,
    /// By figure, then by tenant; `{tenant}` is already replaced.
    pub queries: Vec<Vec<String>>,
}

#[derive(Clone, Debug)]
pub enum RouterTarget {
    Haproxy {
        socket: PathBuf,
        backend: String,
        /// Server names of group a and group b.
        groups: [Vec<String>; 2],
    },
    Nginx {
        /// The managed file; Quarterdeck is its only writer.
        file: PathBuf,
        /// Name of the `upstream` block, or of the variable with `split_clients`.
        upstream: String,
        pid: PathBuf,
        test: Vec<String>,
        /// Answers `$quarterdeck_generation` on new connections.
        proof: String,
        /// `host:port` of group a and group b.
        groups: [Vec<String>; 2],
        /// With `split_clients`, its key; `None` for weights in one upstream.
        split_by: Option<String>,
    },
    Http(HttpTarget),
    Command {
        read: Vec<String>,
        set: Vec<String>,
        /// Where engines that share it keep their lease.
        lease: Option<PathBuf>,
    },
    Flag(FlagTarget),
}

/// A feature flag: where its percent is read and set.
#[derive(Clone, Debug)]
pub struct FlagTarget {
    pub place: FlagPlace,
    /// The way to it in the document, from the outside in.
    pub key: Vec<String>,
}

#[derive(Clone, Debug)]
pub enum FlagPlace {
    /// Read by `GET`, set by `method`.
    Http { http: HttpTarget, method: Method },
    /// A JSON file.
    File(PathBuf),
}

/// Another way to take all traffic to stable.
#[derive(Clone, Debug)]
pub enum Fallback {
    /// Of HAProxy: every server of the group that gets nothing goes into maintenance.
    Maint,
    /// A program with the percents among its arguments.
    Command(Vec<String>),
    /// Another endpoint that takes the shares.
    Http(HttpTarget),
}

/// Where people are reached.
#[derive(Clone, Debug)]
pub enum ChannelTarget {
    /// An incoming webhook: who knows the address may write.
    Slack { url: Secret },
    /// Events API v2.
    PagerDuty { url: String, routing_key: Secret },
    Webhook {
        /// Headers, token and authority; the address stands beside it.
        http: HttpTarget,
        url: Secret,
        template: Option<String>,
    },
    /// Gets the notice as JSON on its input.
    Command { argv: Vec<String> },
}

/// What a plan's step runs, calls or checks. Its texts may hold placeholders; they are filled when
/// it is performed.
#[derive(Clone, Debug)]
pub enum TaskTarget {
    Run(Program),
    Call {
        http: HttpTarget,
        method: Method,
        /// Sent as JSON.
        body: Option<String>,
        /// What counts as success; empty for any 2xx.
        status: Vec<u16>,
    },
    /// Looks until it is UP.
    Probe(ProbeTarget),
    /// Looks once: only UP will do.
    Look(ProbeTarget),
    Command {
        program: Program,
        exit: i32,
        /// Must match what the program prints.
        output: Option<regex_lite::Regex>,
    },
    /// A check that is tried again after a failure, as long as there is time.
    Again {
        target: Box<TaskTarget>,
        /// After the first try.
        retries: u32,
        /// Before the second one; doubled each time.
        pause: Duration,
    },
    /// One server of an HAProxy backend, out of rotation or back in it.
    Server {
        socket: PathBuf,
        backend: String,
        server: String,
        drain: bool,
    },
    /// Every value that the query finds lies between.
    Query {
        http: HttpTarget,
        query: String,
        /// Its one value is what the limits are multiples of.
        baseline: Option<String>,
        above: Option<f64>,
        below: Option<f64>,
    },
    /// It is there and not empty.
    File {
        /// Where a relative path begins.
        dir: PathBuf,
        path: String,
        format: Option<Format>,
        /// Dotted paths that the document has.
        keys: Vec<String>,
        /// Words that the text has.
        names: Vec<String>,
    },
    /// The version that a program prints lies in these bounds.
    Runtime {
        program: Program,
        bounds: Vec<Bound>,
    },
    /// The certificate of an address is valid for longer than this.
    Certificate {
        http: HttpTarget,
        valid_for: Duration,
    },
    /// The file system of a path has more room than this.
    Disk {
        path: PathBuf,
        free_percent: Option<f64>,
        free_bytes: Option<f64>,
    },
}

/// A document that can be read whole, and so said to be valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Json,
    Toml,
    Yaml,
}

/// One bound of a version: major, minor, patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    pub order: Order,
    pub version: [u32; 3],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    AtLeast,
    Above,
    AtMost,
    Below,
    Exactly,
}

/// A program of a plan, and what it gets besides its arguments.
#[derive(Clone, Debug)]
pub struct Program {
    pub argv: Vec<String>,
    /// Beside the few variables that every program gets.
    pub env: BTreeMap<String, Given>,
    pub stdin: Option<Given>,
}

/// What a program gets: a text that anybody may see, with placeholders, or a secret.
#[derive(Clone, Debug)]
pub enum Given {
    Text(String),
    Secret(Secret),
    /// As it stands: braces in it are its own.
    Raw(String),
}
