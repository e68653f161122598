//! The sandbox's counters as Prometheus text.
//!
//! Decides nothing. Never hides a version without traffic: its counters stand at zero, as those of
//! a service that started and was not asked. Contract: counters only rise while the sandbox runs.

use std::fmt::Write as _;
use std::sync::Mutex;

use super::world::{BUCKETS, Service, Tally, Version, locked};

/// One page with every version of every service.
pub fn page<'a>(services: impl IntoIterator<Item = &'a Service>) -> String {
    let all = services
        .into_iter()
        .flat_map(|service| service.versions.iter().map(|version| labelled(service, version)));
    write(&all.collect::<Vec<_>>())
}

/// The page that one version shows of itself.
pub fn own_page(service: &Service, version: &Version) -> String {
    write(&[labelled(service, version)])
}

fn labelled<'a>(service: &Service, version: &'a Version) -> (String, &'a Mutex<Tally>) {
    (format!(r#"service="{}",version="{}""#, service.name, version.name), &version.tally)
}

/// The counters of all of them, each under its labels.
pub fn write(tallies: &[(String, &Mutex<Tally>)]) -> String {
    let mut out = String::new();
    add(&mut out, "# HELP http_requests_total Requests answered, by status code.");
    add(&mut out, "# TYPE http_requests_total counter");
    for (labels, tally) in tallies {
        let (good, bad) = {
            let tally = locked(tally);
            (tally.succeeded, tally.failed)
        };
        for (code, count) in [("200", good), ("500", bad)] {
            add(&mut out, &format!(r#"http_requests_total{{{labels},code="{code}"}} {count}"#));
        }
    }
    add(&mut out, "# HELP http_request_duration_seconds Time to answer.");
    add(&mut out, "# TYPE http_request_duration_seconds histogram");
    for (labels, tally) in tallies {
        histogram(&mut out, labels, &locked(tally));
    }
    out
}

fn histogram(out: &mut String, labels: &str, tally: &Tally) {
    let name = "http_request_duration_seconds";
    let mut below = 0;
    for ((_, bound), count) in BUCKETS.iter().zip(tally.buckets) {
        below += count;
        add(out, &format!(r#"{name}_bucket{{{labels},le="{bound}"}} {below}"#));
    }
    let count = tally.count();
    add(out, &format!(r#"{name}_bucket{{{labels},le="+Inf"}} {count}"#));
    add(out, &format!("{name}_sum{{{labels}}} {}", tally.sum_s));
    add(out, &format!("{name}_count{{{labels}}} {count}"));
}

fn add(out: &mut String, line: &str) {
    writeln!(out, "{line}").expect("writing to a string cannot fail");
}
