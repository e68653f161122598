//! Where the counters of stable and canary come from.
//!
//! Decides that both groups can be told apart and that counters are raw. Never asks a server.
//! Contract: `{arm}` is replaced here, once for each group; nothing behind this module knows it.

use std::time::Duration;

use engine::settings::{Signals, Tenants};

use super::reader::Table;
use super::value;
use super::watch::{INTERVALS, SPANS, Source, Sources};
use crate::io::settings::{HttpTarget, RouterTarget, SignalsTarget};

const ARM: &str = "{arm}";

/// Longest name of a version or a tenant in a query.
const NAME_BYTES_MAX: usize = 128;

/// Queries of one service, group a and group b.
struct Queries {
    requests: Option<[String; 2]>,
    errors: Option<[String; 2]>,
    buckets: Option<[String; 2]>,
    sum: Option<[String; 2]>,
    count: Option<[String; 2]>,
}

pub fn signals(
    mut table: Table<'_>,
    sources: &Sources,
    routers: &[RouterTarget],
) -> Option<(Signals, SignalsTarget)> {
    let metrics = match table.string("metrics") {
        None if sources.len() == 1 && !table.has("metrics") => sources.keys().next().cloned(),
        None => {
            table.need("metrics");
            None
        }
        given => given,
    };
    let versions = versions(&mut table);
    let signals = Signals {
        interval: table.duration("interval", INTERVALS).unwrap_or(Duration::from_secs(5)),
        window: table.duration("window", SPANS).unwrap_or(Duration::from_mins(1)),
        slow_above: table.duration("slow_above", SPANS),
        versions,
        tenants: Tenants::default(),
    };
    if signals.window < signals.interval * 2 {
        table.problem("window", "`window` is at least two intervals: a rate needs two readings");
    }
    let target = if metrics.as_deref() == Some("haproxy") {
        haproxy(&mut table, routers)
    } else {
        counted(&mut table, metrics.as_deref(), sources, &signals)
    };
    table.finish();
    Some((signals, target?))
}

/// Nothing in it ends a string of a query.
pub(super) fn can_stand_in_a_query(name: &str) -> bool {
    let harmless = |c: char| !c.is_control() && !matches!(c, '"' | '\\' | '\'' | '`');
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.chars().all(harmless)
}

fn versions(table: &mut Table<'_>) -> [String; 2] {
    let mut found = ["a".to_owned(), "b".to_owned()];
    let Some(mut inner) = table.table("versions", "versions") else { return found };
    for (place, key) in ["a", "b"].into_iter().enumerate() {
        let Some(version) = inner.need(key).string(key) else { continue };
        if !can_stand_in_a_query(&version) {
            inner.problem(key, format!("`{key}` is no name that can stand in a query"));
        }
        found[place] = version;
    }
    if found[0] == found[1] {
        inner.problem("b", "both groups have the same version: they cannot be told apart");
    }
    inner.finish();
    found
}

/// HAProxy counts by itself: the service's first haproxy router says where.
fn haproxy(table: &mut Table<'_>, routers: &[RouterTarget]) -> Option<SignalsTarget> {
    let why = "is not asked of HAProxy: it counts by itself";
    table.refuse(&["requests", "errors", "latency", "sum", "count"], why);
    table.refuse(&["slow_above"], "needs a histogram, which HAProxy does not have");
    let found = routers.iter().find_map(|router| match router {
        RouterTarget::Haproxy { socket, backend, groups } => Some(SignalsTarget::Haproxy {
            socket: socket.clone(),
            backend: backend.clone(),
            groups: groups.clone(),
            timeout: Duration::from_secs(2),
        }),
        RouterTarget::Nginx { .. }
        | RouterTarget::Http(_)
        | RouterTarget::Command { .. }
        | RouterTarget::Flag(_) => None,
    });
    if found.is_none() {
        table.problem("metrics", "`metrics = \"haproxy\"` needs a haproxy router in this service");
    }
    found
}

fn counted(
    table: &mut Table<'_>,
    metrics: Option<&str>,
    sources: &Sources,
    signals: &Signals,
) -> Option<SignalsTarget> {
    let queries = Queries {
        requests: query(table.need("requests"), "requests", signals),
        errors: query(table, "errors", signals),
        buckets: query(table, "latency", signals),
        sum: query(table, "sum", signals),
        count: query(table, "count", signals),
    };
    if signals.slow_above.is_some() && !table.has("latency") {
        table.problem("slow_above", "`slow_above` needs `latency`, the histogram's buckets");
    }
    if table.has("sum") != table.has("count") {
        let there = if table.has("sum") { "sum" } else { "count" };
        table.problem(there, "`sum` and `count` go together: an average needs both");
    }
    let name = metrics?;
    let Some(source) = sources.get(name) else {
        let hint = value::nearest(name, sources.keys().map(String::as_str))
            .map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        table.problem("metrics", format!("`metrics` names no [[metrics]] of this file{hint}"));
        return None;
    };
    if !tells_apart(table, source) {
        table.problem(
            "requests",
            "`requests` is the same for both groups: write `{arm}` where the version stands",
        );
    }
    from_source(source, &signals.versions, queries)
}

fn tells_apart(table: &mut Table<'_>, source: &Source) -> bool {
    let by_page = match source {
        Source::Prometheus(_) => false,
        Source::Exposition(_, pages) => pages.len() == 2 || pages[0].contains(ARM),
    };
    by_page || table.string("requests").is_none_or(|query| query.contains(ARM))
}

fn from_source(source: &Source, versions: &[String; 2], queries: Queries) -> Option<SignalsTarget> {
    let Queries { requests, errors, buckets, sum, count } = queries;
    let requests = requests?;
    Some(match source {
        Source::Prometheus(http) => {
            SignalsTarget::Prometheus { http: http.clone(), requests, errors, buckets, sum, count }
        }
        Source::Exposition(http, urls) => {
            let page = |url: String| HttpTarget { url, ..http.clone() };
            let pages = match urls.as_slice() {
                [one] if one.contains(ARM) => {
                    versions.iter().map(|version| page(one.replace(ARM, version))).collect()
                }
                [one] => vec![page(one.clone())],
                several => several
                    .iter()
                    .zip(versions)
                    .map(|(url, version)| page(url.replace(ARM, version)))
                    .collect(),
            };
            SignalsTarget::Exposition { pages, requests, errors, buckets, sum, count }
        }
    })
}

/// A selector of raw counters, once for each group.
fn query(table: &mut Table<'_>, key: &'static str, signals: &Signals) -> Option<[String; 2]> {
    let text = table.string(key)?;
    if let Err(why) = value::expression(&text) {
        table.problem(key, format!("`{key}` {why}"));
        return None;
    }
    for function in ["rate(", "irate(", "increase(", "delta("] {
        if text.contains(function) {
            table.problem(
                key,
                format!(
                    "`{key}` is a raw counter, without `{function}…)`: \
                     the differences are taken here, so that a reset is seen"
                ),
            );
            return None;
        }
    }
    let [a, b] = &signals.versions;
    Some([text.replace(ARM, a), text.replace(ARM, b)])
}
