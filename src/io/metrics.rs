//! Reads the counters of both groups, in one look.
//!
//! Decides which source is asked and what of its answer is a counter. Never takes differences and
//! never fills a gap: the engine does the first, nobody does the second. Contract: bounded in time
//! by the target's timeout and in size by [`BODY_BYTES_MAX`]; a group without series is `None`.

pub mod exposition;
mod haproxy;
mod prometheus;
pub mod selector;
mod tenants;

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use engine::reading::{GroupCounters, Measurement, Series, TenantReading};
use engine::types::{Failure, FailureKind};

use self::exposition::Sample;
use self::selector::Selector;
use crate::io::clock;
use crate::io::http::{Client, Method, farthest};
use crate::io::settings::{HttpTarget, SignalsTarget, TenantsTarget};

/// A page or a query's answer beyond this is not a look at one service.
pub const BODY_BYTES_MAX: usize = 8 << 20;
/// Series of one signal; a selector that finds more is missing a label.
const SERIES_MAX: usize = 5_000;

/// One look at both groups.
pub async fn measure(client: &Client, target: &SignalsTarget) -> Result<Measurement, Failure> {
    match target {
        SignalsTarget::Prometheus { http, requests, errors, buckets, sum, count } => {
            let queries = Queries { requests, errors, buckets, sum, count };
            let look = prometheus::look(client, http, &queries);
            within(http.timeout, "prometheus", look).await
        }
        SignalsTarget::Exposition { pages, requests, errors, buckets, sum, count } => {
            let timeout = pages.iter().map(|page| page.timeout).sum();
            let queries = Queries { requests, errors, buckets, sum, count };
            within(timeout, "metrics page", scrape(client, pages, &queries)).await
        }
        SignalsTarget::Haproxy { socket, backend, groups, timeout } => {
            within(*timeout, "haproxy socket", haproxy::look(socket, backend, groups)).await
        }
    }
}

/// What each tenant uses now.
pub async fn tenants(client: &Client, target: &TenantsTarget) -> TenantReading {
    let look = async { Ok(tenants::look(client, target).await) };
    let found = within(target.http.timeout, "prometheus, tenants", look).await;
    found.unwrap_or_else(|failure| TenantReading { values: Vec::new(), error: failure.text })
}

/// The values that one instant query finds now; those that are no number are counted apart.
pub async fn values(
    client: &Client,
    http: &HttpTarget,
    query: &str,
) -> Result<(Vec<f64>, usize), Failure> {
    within(http.timeout, "prometheus", prometheus::values(client, http, query)).await
}

async fn within<T>(
    timeout: Duration,
    what: &str,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::time::timeout(timeout, work).await.unwrap_or_else(|_| {
        let millis = timeout.as_millis();
        Err(Failure::new(FailureKind::Timeout, format!("{what}: no answer within {millis} ms")))
    })
}

/// One text for each group and signal, as the configuration gives them.
struct Queries<'a> {
    requests: &'a [String; 2],
    errors: &'a Option<[String; 2]>,
    buckets: &'a Option<[String; 2]>,
    sum: &'a Option<[String; 2]>,
    count: &'a Option<[String; 2]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Signal {
    Requests,
    Errors,
    Buckets,
    Sum,
    Count,
}

impl Signal {
    fn word(self) -> &'static str {
        match self {
            Signal::Requests => "requests",
            Signal::Errors => "errors",
            Signal::Buckets => "buckets",
            Signal::Sum => "sum",
            Signal::Count => "count",
        }
    }
}

impl Queries<'_> {
    /// The texts of one group, requests first.
    fn of(&self, group: usize) -> Vec<(Signal, &str)> {
        let mut texts = vec![(Signal::Requests, self.requests[group].as_str())];
        let optional = [
            (Signal::Errors, self.errors),
            (Signal::Buckets, self.buckets),
            (Signal::Sum, self.sum),
            (Signal::Count, self.count),
        ];
        for (signal, text) in optional {
            if let Some(text) = text {
                texts.push((signal, text[group].as_str()));
            }
        }
        texts
    }
}

const GROUPS: [&str; 2] = ["a", "b"];

/// What one selector found: name, labels, value.
struct Row {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

/// Puts the rows of one signal where they belong. `Err` tells what is wrong with them.
fn store(counters: &mut GroupCounters, signal: Signal, rows: Vec<Row>) -> Result<(), String> {
    if rows.len() > SERIES_MAX {
        return Err(format!("{} finds more than {SERIES_MAX} series", signal.word()));
    }
    if rows.is_empty() {
        return Ok(());
    }
    if signal == Signal::Buckets {
        let mut buckets: BTreeMap<String, Series> = BTreeMap::new();
        for row in rows {
            let bound = row.labels.get("le").ok_or("buckets without a label `le`")?;
            let key = exposition::series_key(&row.name, &row.labels);
            buckets.entry(bound.clone()).or_default().insert(key, row.value);
        }
        counters.buckets = Some(buckets);
        return Ok(());
    }
    let series =
        rows.into_iter().map(|row| (exposition::series_key(&row.name, &row.labels), row.value));
    let series = Some(series.collect());
    match signal {
        Signal::Requests => counters.requests = series,
        Signal::Errors => counters.errors = series,
        Signal::Sum => counters.latency_sum_s = series,
        Signal::Count => counters.latency_count = series,
        Signal::Buckets => {}
    }
    Ok(())
}

/// The text pages: one for both groups, or one for each. A page that does not answer beside one
/// that does leaves its group without data.
async fn scrape(
    client: &Client,
    pages: &[HttpTarget],
    queries: &Queries<'_>,
) -> Result<Measurement, Failure> {
    let selectors = [selectors(queries, 0)?, selectors(queries, 1)?];
    let [first, rest @ ..] = pages else {
        return Err(Failure::new(FailureKind::Denied, "no metrics page is configured"));
    };
    let a = page(client, first).await;
    let (a, b) = match rest.first() {
        None => {
            let samples = a?;
            let now = clock::now().wall;
            let (a, at_a) = pick(&samples, &selectors[0], now)?;
            let (b, at_b) = pick(&samples, &selectors[1], now)?;
            let clock_ahead_s = ahead(&samples, now);
            let look = Measurement::new(newest(now, at_a, at_b), a, b);
            return Ok(Measurement { clock_ahead_s, ..look });
        }
        Some(second) => match (a, page(client, second).await) {
            (Err(failure), Err(_)) => return Err(failure),
            pair => pair,
        },
    };
    let now = clock::now().wall;
    let (a, b) = (a.unwrap_or_default(), b.unwrap_or_default());
    let clock_ahead_s = farthest(ahead(&a, now), ahead(&b, now));
    let (a, at_a) = pick(&a, &selectors[0], now)?;
    let (b, at_b) = pick(&b, &selectors[1], now)?;
    let look = Measurement::new(newest(now, at_a, at_b), a, b);
    Ok(Measurement { clock_ahead_s, ..look })
}

/// How far the newest time of a page lies in our future: so far at least its clock is ahead.
fn ahead(samples: &[Sample], now: DateTime<Utc>) -> Option<i64> {
    let newest = samples.iter().filter_map(|sample| sample.timestamp_ms).max()?;
    let ahead = DateTime::from_timestamp_millis(newest)? - now;
    Some(ahead.num_seconds()).filter(|seconds| *seconds > 0)
}

fn newest(now: DateTime<Utc>, a: Option<DateTime<Utc>>, b: Option<DateTime<Utc>>) -> DateTime<Utc> {
    a.max(b).unwrap_or(now)
}

async fn page(client: &Client, target: &HttpTarget) -> Result<Vec<Sample>, Failure> {
    let target = HttpTarget { body_bytes_max: BODY_BYTES_MAX, ..target.clone() };
    let answer = client.send(&target, Method::Get, &target.url, &[], None).await?;
    if answer.status != 200 {
        let text = format!("metrics page answers HTTP {}", answer.status);
        return Err(Failure::new(FailureKind::Refused, text));
    }
    exposition::parse(&answer.body)
        .map_err(|why| Failure::new(FailureKind::Malformed, format!("metrics page: {why}")))
}

fn selectors(queries: &Queries<'_>, group: usize) -> Result<Vec<(Signal, Selector)>, Failure> {
    let parse = |(signal, text): (Signal, &str)| {
        Selector::parse(text).map(|selector| (signal, selector)).map_err(|why| {
            let text = format!("{} of group {}: {why}", signal.word(), GROUPS[group]);
            Failure::new(FailureKind::Malformed, text)
        })
    };
    queries.of(group).into_iter().map(parse).collect()
}

/// The counters of one group, and the newest time that its request series carry.
fn pick(
    samples: &[Sample],
    selectors: &[(Signal, Selector)],
    now: DateTime<Utc>,
) -> Result<(GroupCounters, Option<DateTime<Utc>>), Failure> {
    let mut counters = GroupCounters::default();
    let mut at = None;
    for (signal, selector) in selectors {
        let found: Vec<&Sample> = samples.iter().filter(|s| selector.matches(s)).collect();
        if *signal == Signal::Requests {
            let newest = found.iter().filter_map(|sample| sample.timestamp_ms).max();
            // A time that has not come yet would make every later look an old one.
            at = newest.and_then(DateTime::from_timestamp_millis).filter(|at| *at <= now);
        }
        let row = |sample: &&Sample| Row {
            name: sample.name.clone(),
            labels: sample.labels.clone(),
            value: sample.value,
        };
        store(&mut counters, *signal, found.iter().map(row).collect())
            .map_err(|why| Failure::new(FailureKind::Malformed, format!("metrics page: {why}")))?;
    }
    Ok((counters, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_picked_apart_by_group() {
        let page = "http_requests_total{v=\"a\",code=\"200\"} 90 1700000000000\n\
                    http_requests_total{v=\"a\",code=\"500\"} 10 1700000001000\n\
                    lat_bucket{v=\"a\",le=\"0.1\"} 60\nlat_bucket{v=\"a\",le=\"+Inf\"} 100\n";
        let samples = exposition::parse(page.as_bytes()).expect("a valid page");
        let texts = |rest: &str| Some(["a", "b"].map(|v| rest.replace('@', v)));
        let requests = texts("http_requests_total{v=\"@\"}").expect("just made");
        let queries = Queries {
            requests: &requests,
            errors: &texts("http_requests_total{v=\"@\",code=~\"5..\"}"),
            buckets: &texts("lat_bucket{v=\"@\"}"),
            sum: &None,
            count: &None,
        };
        let now = clock::now().wall;
        let a = selectors(&queries, 0).expect("valid selectors");
        let (a, at) = pick(&samples, &a, now).expect("within the limits");
        assert_eq!(a.requests.as_ref().map(Series::len), Some(2));
        assert_eq!(a.errors.map(|series| series.into_values().sum::<f64>()), Some(10.0));
        let buckets = a.buckets.expect("two bounds");
        assert_eq!(buckets.keys().collect::<Vec<_>>(), ["+Inf", "0.1"]);
        let keys: Vec<&String> = buckets.values().flat_map(BTreeMap::keys).collect();
        assert_eq!(keys, ["lat_bucket{v=\"a\"}"; 2], "all bounds share a key");
        assert_eq!(at.map(|at| at.timestamp()), Some(1_700_000_001));
        let b = selectors(&queries, 1).expect("valid selectors");
        let (b, at) = pick(&samples, &b, now).expect("within the limits");
        assert_eq!((b, at), (GroupCounters::default(), None), "a missing arm is no data");
        let when = |ms| DateTime::from_timestamp_millis(ms).expect("a time");
        assert_eq!(ahead(&samples, when(1_699_999_701_000)), Some(300), "a time to come");
        assert_eq!(ahead(&samples, when(1_700_000_001_000)), None);
    }
}
