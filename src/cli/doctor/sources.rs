//! The doctor's look at what is asked: is it reachable, does its clock agree?
//!
//! Decides what a silence means. Never writes to anything. Contract: every source and router of the
//! configuration has its line.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use engine::snapshot::{CLOCK_SKEW_MAX_S, Snapshot, SourceState};
use tokio::task::JoinSet;

use super::{Finding, State};
use crate::io::clock;
use crate::io::http::{Client, Method};
use crate::io::settings::{
    FeedTarget, FlagPlace, FlagTarget, HostTarget, HttpTarget, ProbeTarget, RouterTarget, Settings,
    SignalsTarget,
};

/// A person waits for this.
const ASK_MAX: Duration = Duration::from_secs(3);
/// More servers than this are not asked for their time.
const ASKED_MAX: usize = 20;

/// What the engine hears, and last heard.
pub fn reachable(picture: &Snapshot) -> Vec<Finding> {
    let now = clock::now();
    let line = |source: &engine::snapshot::SourceView| {
        let name = &source.name;
        let remedy = format!(
            "see that it answers from this machine; its address and token stand under \"{}\" in \
             the configuration",
            source.name
        );
        match source.state_at(now) {
            SourceState::Ok => Finding::new(name, State::Ok, "answers", ""),
            SourceState::Waiting => Finding::new(name, State::Unknown, "not asked yet", &remedy),
            SourceState::Stale => Finding::new(name, State::Fail, "silent", &remedy),
            SourceState::Failing => {
                Finding::new(name, State::Fail, source.error.to_string(), &remedy)
            }
        }
    };
    picture.sources().map(line).collect()
}

/// How far the clocks of the servers are from ours, by the date of their answers.
pub fn clocks(settings: &Settings) -> Vec<Finding> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let (Ok(runtime), Ok(client)) = (runtime, Client::new()) else { return Vec::new() };
    let mut seen = BTreeSet::new();
    let targets: Vec<&HttpTarget> = http_targets(settings)
        .into_iter()
        .filter(|target| seen.insert(origin(&target.url).to_owned()))
        .take(ASKED_MAX)
        .collect();
    let asked = targets.len();
    let skews = runtime.block_on(skews(&client, &targets));
    let far = skews.iter().filter(|(_, skew)| skew.num_seconds().unsigned_abs() > CLOCK_SKEW_MAX_S);
    let mut findings: Vec<Finding> = far
        .map(|(name, skew)| {
            let found = format!("{name} is {} s away", skew.num_seconds());
            let remedy = "chronyc tracking (or timedatectl) here and there";
            Finding::new("clock", State::Fail, found, remedy)
        })
        .collect();
    if findings.is_empty() {
        findings.push(match skews.len() {
            0 if asked == 0 => Finding::new("clock", State::Ok, "no server to compare it with", ""),
            0 => {
                let found = format!("none of {asked} servers said its time");
                Finding::new("clock", State::Unknown, found, "see below whether they answer")
            }
            count => {
                let most = skews.iter().map(|(_, skew)| skew.abs().num_seconds()).max();
                let most = most.unwrap_or_default();
                Finding::new("clock", State::Ok, format!("within {most} s of {count} servers"), "")
            }
        });
    }
    findings
}

/// Of all that said their time, asked together: a person waits as long as for one.
async fn skews(client: &Client, targets: &[&HttpTarget]) -> Vec<(String, TimeDelta)> {
    let mut asking = JoinSet::new();
    for target in targets {
        let (client, target) = (client.clone(), HttpTarget::clone(target));
        asking.spawn(async move {
            let skew = skew(&client, &target).await?;
            Some((origin(&target.url).to_owned(), skew))
        });
    }
    let mut skews: Vec<_> = asking.join_all().await.into_iter().flatten().collect();
    skews.sort();
    skews
}

async fn skew(client: &Client, target: &HttpTarget) -> Option<TimeDelta> {
    let timeout = target.timeout.min(ASK_MAX);
    let target = HttpTarget { timeout, ..target.clone() };
    let answer = client.send(&target, Method::Get, &target.url, &[], None).await.ok()?;
    let said = DateTime::parse_from_rfc2822(answer.headers.get("date")?).ok()?;
    Some(said.with_timezone(&Utc) - clock::now().wall)
}

/// Scheme, host and port, without anything that could be secret.
fn origin(url: &str) -> &str {
    let begin = url.find("://").map_or(0, |at| at + 3);
    let end = url[begin..].find(['/', '?', '#']).map_or(url.len(), |at| begin + at);
    let host = url[begin..end].rfind('@').map_or(begin, |at| begin + at + 1);
    &url[host..end]
}

fn http_targets(settings: &Settings) -> Vec<&HttpTarget> {
    let probes = settings.probes.iter().filter_map(|target| match target {
        ProbeTarget::Http { http, .. } => Some(http),
        ProbeTarget::Tcp { .. } | ProbeTarget::Command { .. } => None,
    });
    let hosts = settings.hosts.iter().filter_map(|target| match target {
        HostTarget::NodeExporter(http) => Some(http),
        HostTarget::Local => None,
    });
    let feeds = settings.feeds.iter().filter_map(|target| match target {
        FeedTarget::Alertmanager(http)
        | FeedTarget::Prometheus(http)
        | FeedTarget::PagerDuty { http, .. }
        | FeedTarget::Counters { http, .. }
        | FeedTarget::Statuspage(http)
        | FeedTarget::JsonUrl(http) => Some(http),
        FeedTarget::JsonFile(_) => None,
    });
    let signals = settings.signals.iter().flatten().filter_map(|target| match target {
        SignalsTarget::Prometheus { http, .. } => Some(http),
        SignalsTarget::Exposition { pages, .. } => pages.first(),
        SignalsTarget::Haproxy { .. } => None,
    });
    let tenants = settings.tenants.iter().flatten().map(|target| &target.http);
    let routers = settings.routers.iter().filter_map(|target| match target {
        RouterTarget::Http(http)
        | RouterTarget::Flag(FlagTarget { place: FlagPlace::Http { http, .. }, .. }) => Some(http),
        RouterTarget::Flag(FlagTarget { place: FlagPlace::File(_), .. })
        | RouterTarget::Haproxy { .. }
        | RouterTarget::Nginx { .. }
        | RouterTarget::Command { .. } => None,
    });
    probes.chain(hosts).chain(feeds).chain(signals).chain(tenants).chain(routers).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Instant;

    use super::*;

    #[test]
    fn all_clocks_are_asked_at_once() {
        // Connections wait to be taken, and nobody ever answers.
        let listeners: Vec<std::net::TcpListener> =
            (0..10).map(|_| std::net::TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
        let target = |listener: &std::net::TcpListener| HttpTarget {
            url: format!("http://{}/", listener.local_addr().expect("it is bound")),
            headers: BTreeMap::new(),
            token: None,
            timeout: Duration::from_secs(1),
            body_bytes_max: 1024,
            follow_redirects: false,
            compressed: false,
            ca_file: None,
            close: false,
        };
        let targets: Vec<HttpTarget> = listeners.iter().map(target).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let client = Client::new().expect("a client");
        let begin = Instant::now();
        let targets: Vec<&HttpTarget> = targets.iter().collect();
        let asking = skews(&client, &targets);
        assert_eq!(runtime.expect("a runtime").block_on(asking), []);
        // One after the other they would take ten seconds.
        assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
    }

    #[test]
    fn an_origin_says_no_secret() {
        let check = |url, expected| assert_eq!(origin(url), expected, "{url}");
        check("http://127.0.0.1:3000/health?key=s3cret", "127.0.0.1:3000");
        check("https://user:s3cret@example.com", "example.com");
        check("https://example.com?x=a@b", "example.com");
    }
}
