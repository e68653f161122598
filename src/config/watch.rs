//! What is watched: probes, hosts, feeds and the sources of metrics.
//!
//! Decides their defaults and limits. Never sends a request. Contract: each reader asks for every
//! key of its table and finishes it, whatever was wrong before.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use engine::health::{Expect, FIGURES_MAX, Figure};
use engine::settings::{COUNTERS, Feed, Host, Probe};
use engine::types::ServiceId;
use toml::de::DeValue;

use super::reader::{Node, Reader, Table};
use super::{secret, task, value};
use crate::io::settings::{FeedTarget, HostTarget, HttpTarget, ProbeTarget, Secret};

/// Below, polling is a load test; above, the panel is a history.
pub const INTERVALS: RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_hours(24);

/// An answer that takes longer than a minute is no answer.
pub const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_mins(1);

/// Levels and holds: anything that a person may wait for.
pub const SPANS: RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_hours(365 * 24);

/// Rise and fall beyond this hide an outage.
const STREAK_MAX: u32 = 100;

/// A name or a path: several stand in one line.
const FIGURE_CHARS_MAX: usize = 64;

/// A health body; settable up to four times that.
const PROBE_BODY_BYTES: u32 = 64 * 1024;
const PROBE_BODY_BYTES_MAX: u32 = 256 * 1024;
/// Feeds and pages of metrics carry thousands of entries.
const PAGE_BODY_BYTES: usize = 8 * 1024 * 1024;

const PAGERDUTY: &str = "https://api.pagerduty.com";

/// Where counters can be asked for.
pub enum Source {
    Prometheus(HttpTarget),
    /// The target without an address, and the addresses, in which `{arm}` may stand.
    Exposition(HttpTarget, Vec<String>),
}

pub type Sources = BTreeMap<String, Source>;

/// Says when `name` was there before, in one list of the file.
pub fn unique(table: &Table<'_>, seen: &mut BTreeSet<String>, name: Option<&String>, what: &str) {
    if let Some(name) = name
        && !seen.insert(name.clone())
    {
        let article = if what.starts_with(['a', 'e', 'i', 'o']) { "an" } else { "a" };
        table.problem("name", format!("there is already {article} {what} named `{name}`"));
    }
}

/// The options that every part with a URL takes; the address itself is filled in later.
pub fn http_options(table: &mut Table<'_>, timeout: Duration, body_bytes_max: usize) -> HttpTarget {
    HttpTarget {
        url: String::new(),
        headers: headers(table),
        token: secret::secret(table, "token"),
        timeout: table.duration("timeout", TIMEOUTS).unwrap_or(timeout),
        body_bytes_max,
        follow_redirects: false,
        compressed: false,
        ca_file: ca_file(table),
        close: false,
    }
}

/// A PEM file of an authority.
pub fn ca_file(table: &mut Table<'_>) -> Option<PathBuf> {
    let path = table.path("ca")?;
    if !path.is_file() {
        table.warn("ca", format!("`ca`: there is no file {}", path.display()));
    }
    Some(path)
}

/// Headers by name, each plain or a secret.
pub fn headers(table: &mut Table<'_>) -> BTreeMap<String, Secret> {
    let mut headers = BTreeMap::new();
    let Some(inner) = table.table("headers", "headers") else { return headers };
    for (name, at, node) in inner.entries() {
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if name.is_empty() || name.len() > 128 || !name.bytes().all(token) {
            table.reader.problem(at, "a header's name holds a character that HTTP does not allow");
        } else if let Some(value) = header(table.reader, &name, node) {
            headers.insert(name.to_ascii_lowercase(), value);
        }
    }
    headers
}

/// A header that carries a credential must be a secret; the others may stand as they are.
fn header<'a>(reader: &'a Reader<'a>, name: &str, node: &'a Node<'a>) -> Option<Secret> {
    const TELLING: [&str; 7] =
        ["authorization", "cookie", "token", "key", "secret", "pass", "auth"];
    let lower = name.to_ascii_lowercase();
    let open = matches!(node.get_ref(), DeValue::String(_))
        && !TELLING.iter().any(|word| lower.contains(word));
    if !open {
        return secret::from_node(reader, name, node);
    }
    let text = reader.text(name, node)?;
    if text.chars().any(char::is_control) {
        reader.problem(node.span().start, format!("`{name}` holds a control character"));
        return None;
    }
    Some(Secret::Known(text))
}

/// A URL, and the options beside it.
fn http_target(
    table: &mut Table<'_>,
    key: &'static str,
    options: HttpTarget,
) -> Option<HttpTarget> {
    table.url(key).map(|url| HttpTarget { url, ..options })
}

/// A compiled `expect`.
pub fn expect(table: &mut Table<'_>) -> Option<Expect> {
    let source = table.string("expect")?;
    match Expect::compile(&source) {
        Ok(expect) => Some(expect),
        Err(why) => {
            let why = engine::types::Untrusted::new(&why);
            table.problem("expect", format!("`expect` is no valid CEL expression: {why}"));
            None
        }
    }
}

pub fn probe(
    mut table: Table<'_>,
    service: ServiceId,
    names: &mut BTreeSet<String>,
) -> Option<(Probe, ProbeTarget)> {
    let kind = table.one_of(&["http", "tcp", "command"]);
    let name = if table.has("name") { table.name("name") } else { kind.map(ToOwned::to_owned) };
    table.get("name");
    unique(&table, names, name.as_ref(), "probe of this service");
    let timeout = table.duration("timeout", TIMEOUTS).unwrap_or(Duration::from_secs(2));
    let probe = Probe {
        service,
        name: name.unwrap_or_default(),
        interval: table.duration("interval", INTERVALS).unwrap_or(Duration::from_secs(5)),
        timeout,
        degraded_above: table.duration("degraded_above", SPANS),
        unhealthy_above: table.duration("unhealthy_above", SPANS),
        rise: table.integer("rise", 1..=STREAK_MAX).unwrap_or(2),
        fall: table.integer("fall", 1..=STREAK_MAX).unwrap_or(3),
    };
    levels(&table, &probe);
    if kind != Some("http") {
        let why = "belongs to http probes";
        table.refuse(&["method", "redirects", "compressed", "body_max"], why);
        table.refuse(&["headers", "token", "ca", "figures"], why);
    }
    if kind == Some("tcp") {
        table.refuse(&["expect"], "has nothing to judge: a tcp probe only connects");
    }
    let target = probe_target(&mut table, kind, timeout);
    table.finish();
    Some((probe, target?))
}

fn probe_target(
    table: &mut Table<'_>,
    kind: Option<&str>,
    timeout: Duration,
) -> Option<ProbeTarget> {
    match kind? {
        "http" => {
            table.word("method", &["GET"]);
            let mut options = http_options(table, timeout, 0);
            options.follow_redirects = table.boolean("redirects").unwrap_or(false);
            options.compressed = table.boolean("compressed").unwrap_or(false);
            let bytes = table.integer("body_max", 1..=PROBE_BODY_BYTES_MAX);
            options.body_bytes_max = bytes.unwrap_or(PROBE_BODY_BYTES) as usize;
            let expect = expect(table);
            let figures = figures(table);
            Some(ProbeTarget::Http { http: http_target(table, "http", options)?, expect, figures })
        }
        "tcp" => {
            let address = table.string("tcp")?;
            if let Err(why) = value::address(&address) {
                table.problem("tcp", format!("`tcp` {why}"));
                return None;
            }
            Some(ProbeTarget::Tcp { address, timeout })
        }
        _ => {
            let expect = expect(table);
            Some(ProbeTarget::Command { argv: table.argv("command")?, timeout, expect })
        }
    }
}

/// `figures = [{ name, path, unit, below }]`.
fn figures(table: &mut Table<'_>) -> Vec<Figure> {
    let tables = table.tables("figures", "figure");
    if tables.len() > FIGURES_MAX {
        table.problem("figures", format!("a probe has at most {FIGURES_MAX} figures"));
    }
    let read = |mut table: Table<'_>| {
        let path = table.need("path").string("path");
        let name = table.string("name");
        let unit = table.string("unit").unwrap_or_default();
        let below = table.number("below", 0.0..=1e12);
        let texts = [("path", path.as_ref()), ("name", name.as_ref()), ("unit", Some(&unit))];
        for (key, text) in texts {
            let fits = |text: &&String| {
                text.chars().count() <= FIGURE_CHARS_MAX && !text.chars().any(char::is_control)
            };
            if text.is_some_and(|text| !fits(&text)) {
                table.problem(key, format!("`{key}` is at most {FIGURE_CHARS_MAX} plain letters"));
            }
        }
        table.finish();
        let path: Vec<String> = path?.split('.').map(str::to_owned).collect();
        let name = name.or_else(|| path.last().cloned())?;
        Some(Figure { name, path, unit, below })
    };
    tables.into_iter().filter_map(read).collect()
}

fn levels(table: &Table<'_>, probe: &Probe) {
    if let (Some(degraded), Some(unhealthy)) = (probe.degraded_above, probe.unhealthy_above)
        && unhealthy <= degraded
    {
        table.problem("unhealthy_above", "`unhealthy_above` is not above `degraded_above`");
    }
    for (key, level) in
        [("degraded_above", probe.degraded_above), ("unhealthy_above", probe.unhealthy_above)]
    {
        if level.is_some_and(|level| level >= probe.timeout) {
            table.warn(key, format!("`{key}` is never reached: `timeout` comes first"));
        }
    }
}

pub fn host(mut table: Table<'_>, names: &mut BTreeSet<String>) -> Option<(Host, HostTarget)> {
    let name = table.need("name").name("name");
    unique(&table, names, name.as_ref(), "host");
    let interval = table.duration("interval", INTERVALS).unwrap_or(Duration::from_secs(5));
    let kind = table.one_of(&["local", "node_exporter"]);
    let target = if kind == Some("local") {
        table.refuse(&["headers", "token", "ca", "timeout"], "belongs to hosts with node_exporter");
        if table.boolean("local") == Some(false) {
            table.problem("local", "`local` is true, or the host has a `node_exporter`");
        }
        Some(HostTarget::Local)
    } else {
        let options = http_options(&mut table, Duration::from_secs(5), PAGE_BODY_BYTES);
        http_target(&mut table, "node_exporter", options).map(HostTarget::NodeExporter)
    };
    table.finish();
    Some((Host { name: name?, interval }, target?))
}

/// Registers one source of metrics.
pub fn source(mut table: Table<'_>, sources: &mut Sources, names: &mut BTreeSet<String>) {
    let name = table.need("name").name("name");
    unique(&table, names, name.as_ref(), "source of metrics");
    if name.as_deref() == Some("haproxy") {
        table.problem("name", "`haproxy` stands for the service's own router; take another name");
    }
    let kind = table.one_of(&["prometheus", "exposition"]);
    let options = http_options(&mut table, Duration::from_secs(5), PAGE_BODY_BYTES);
    let source = if kind == Some("prometheus") {
        http_target(&mut table, "prometheus", options).map(Source::Prometheus)
    } else {
        pages(&mut table).map(|pages| Source::Exposition(options, pages))
    };
    table.finish();
    if let (Some(name), Some(source)) = (name, source) {
        sources.insert(name, source);
    }
}

fn pages(table: &mut Table<'_>) -> Option<Vec<String>> {
    let pages = table.string_or_list("exposition")?;
    if !(1..=2).contains(&pages.len()) {
        table.problem("exposition", "`exposition` is one URL, or one for each of both groups");
        return None;
    }
    for page in &pages {
        if let Err(why) = value::url(&page.replace("{arm}", "a")) {
            table.problem("exposition", format!("`exposition` {why}"));
            return None;
        }
    }
    Some(pages)
}

const FEEDS: [&str; 6] =
    ["alertmanager", "prometheus", "pagerduty", "statuspage", "json", COUNTERS];
/// They are asked one after the other, within an interval.
const COUNTERS_MAX: usize = 20;
const COUNTER_NAME_MAX: usize = 40;

pub fn feed(
    mut table: Table<'_>,
    sources: &Sources,
    names: &mut BTreeSet<String>,
) -> Option<(Feed, FeedTarget)> {
    let name = table.need("name").name("name");
    unique(&table, names, name.as_ref(), "feed");
    let interval = table.duration("interval", INTERVALS).unwrap_or(Duration::from_secs(15));
    let kind = table.one_of(&FEEDS);
    if kind != Some(COUNTERS) {
        table.refuse(&["metrics"], "belongs to `counters`");
    }
    if kind == Some("pagerduty") {
        table.refuse(&["token"], "stands inside `pagerduty`");
    }
    let options = http_options(&mut table, Duration::from_secs(10), PAGE_BODY_BYTES);
    let target = kind.and_then(|kind| feed_target(&mut table, kind, options, sources));
    table.finish();
    let kind = kind?;
    let feed = Feed {
        name: name?,
        kind: kind.to_owned(),
        interval,
        can_acknowledge: matches!(kind, "alertmanager" | "pagerduty"),
        can_escalate: kind == "pagerduty",
    };
    Some((feed, target?))
}

/// `counters = { NAME = query, … }`: what rules call `counter.NAME`.
fn counters(table: &mut Table<'_>, sources: &Sources) -> Option<FeedTarget> {
    let http = task::metrics(table, sources);
    let inner = table.table("counters", "counters")?;
    let mut queries = Vec::new();
    for (name, at, node) in inner.entries() {
        let fits = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !fits || name.is_empty() || name.len() > COUNTER_NAME_MAX {
            inner.reader.problem(at, "the name of a counter has letters, digits and `_`");
        } else if queries.len() == COUNTERS_MAX {
            inner.reader.problem(at, format!("a feed has at most {COUNTERS_MAX} counters"));
            break;
        } else if let Some(query) = inner.reader.text(&name, node) {
            if let Err(why) = value::expression(&query) {
                inner.reader.problem(at, format!("`{name}` {why}"));
            }
            queries.push((name, query));
        }
    }
    if queries.is_empty() {
        table.problem("counters", "`counters` names no query");
    }
    Some(FeedTarget::Counters { http: http?, queries })
}

fn feed_target(
    table: &mut Table<'_>,
    kind: &str,
    options: HttpTarget,
    sources: &Sources,
) -> Option<FeedTarget> {
    match kind {
        "alertmanager" => http_target(table, "alertmanager", options).map(FeedTarget::Alertmanager),
        "statuspage" => http_target(table, "statuspage", options).map(FeedTarget::Statuspage),
        "prometheus" => {
            let text = table.string("prometheus")?;
            match sources.get(&text) {
                Some(Source::Prometheus(http)) => {
                    let why = "is taken from the [[metrics]] entry that `prometheus` names";
                    table.refuse(&["headers", "token", "ca", "timeout"], why);
                    Some(FeedTarget::Prometheus(http.clone()))
                }
                Some(Source::Exposition(..)) => {
                    table.problem("prometheus", format!("`{text}` is no Prometheus server"));
                    None
                }
                None if value::name(&text).is_ok() => {
                    table.problem("prometheus", format!("there are no [[metrics]] named `{text}`"));
                    None
                }
                None => http_target(table, "prometheus", options).map(FeedTarget::Prometheus),
            }
        }
        "pagerduty" => {
            let mut inner = table.table("pagerduty", "pagerduty")?;
            let token = secret::secret(inner.need("token"), "token");
            let from = inner.need("from").string("from");
            if from.as_ref().is_some_and(|from| !from.contains('@') || from.contains(' ')) {
                inner.problem("from", "`from` is the e-mail address of a PagerDuty user");
            }
            let url = if inner.has("url") { inner.url("url") } else { Some(PAGERDUTY.to_owned()) };
            inner.get("url");
            inner.finish();
            Some(FeedTarget::PagerDuty {
                http: HttpTarget { url: url?, token, ..options },
                from: from?,
            })
        }
        COUNTERS => counters(table, sources),
        _ => {
            let mut inner = table.table("json", "json")?;
            let kind = inner.one_of(&["url", "file"]);
            let url = inner.url("url");
            let file = inner.path("file");
            inner.finish();
            match kind? {
                "url" => Some(FeedTarget::JsonUrl(HttpTarget { url: url?, ..options })),
                _ => file.map(FeedTarget::JsonFile),
            }
        }
    }
}
