//! The sandbox fleet from outside: its ports are read from the configuration it generates.

#[path = "demo/place.rs"]
mod place;
#[path = "demo/scenarios.rs"]
mod scenarios;
#[path = "demo/visible.rs"]
mod visible;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use engine::reading::WriteAnswer;
use engine::types::{FailureKind, Group, Percent, Weights};
use quarterdeck::demo::{Fault, Fleet, TOKEN_FILE};
use quarterdeck::io::http::Client;
use quarterdeck::io::router::http;
use quarterdeck::io::settings::{HttpTarget, RouterTarget, Secret};
use serde_json::Value;

/// A fault must show within this time.
const VISIBLE: Duration = Duration::from_secs(5);
/// Where it only has to come: far above what anything here needs on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);

struct Answer {
    status: u16,
    head: String,
    body: String,
}

/// One request on a connection of its own; `None` when nobody answers it.
fn ask(method: &str, url: &str, token: Option<&str>, body: &str) -> Option<Answer> {
    let (address, path) = url.strip_prefix("http://")?.split_once('/')?;
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(4))).expect("a timeout can be set");
    let mut request = format!("{method} /{path} HTTP/1.1\r\nHost: {address}\r\n");
    if let Some(token) = token {
        write!(request, "Authorization: Bearer {token}\r\n").expect("a string takes it");
    }
    let length = body.len();
    write!(request, "Connection: close\r\nContent-Length: {length}\r\n\r\n{body}")
        .expect("a string takes it");
    stream.write_all(request.as_bytes()).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, head: head.to_lowercase(), body: body.to_owned() })
}

fn get(url: &str) -> Answer {
    ask("GET", url, None, "").expect("the sandbox answers")
}

fn json(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).expect("the body is JSON")
}

/// A fleet with the addresses that its configuration names.
struct Sandbox {
    fleet: Fleet,
    config: toml::Table,
}

impl Sandbox {
    fn start(requests_per_s: u32) -> Sandbox {
        let fleet = Fleet::start_with_load(requests_per_s).expect("the sandbox starts");
        let text = fleet.config(Path::new("/nowhere"));
        let config = text.parse().unwrap_or_else(|why| panic!("{why}\n{text}"));
        Sandbox { fleet, config }
    }

    fn service(&self, name: &str) -> &toml::Table {
        let services = self.config["service"].as_array().expect("a list of services");
        let found = services.iter().find(|service| service["name"].as_str() == Some(name));
        found.and_then(toml::Value::as_table).expect("the service is there")
    }

    fn split_url(&self, name: &str) -> String {
        let service = self.service(name);
        service["router"]["http"]["url"].as_str().expect("a router address").to_owned()
    }

    fn probe(&self, service: &str, probe: &str) -> String {
        let probes = self.service(service)["probe"].as_array().expect("a list of probes");
        let found = probes.iter().find(|one| one["name"].as_str() == Some(probe));
        let probe = found.expect("the probe is there");
        let address = probe.get("http").or_else(|| probe.get("tcp"));
        address.and_then(toml::Value::as_str).expect("an address").to_owned()
    }

    fn metrics(&self) -> Vec<(String, f64)> {
        samples(&get(self.config["metrics"][0]["exposition"].as_str().expect("an address")).body)
    }

    fn feed(&self, path: &str) -> String {
        let root = self.config["feed"][0]["alertmanager"].as_str().expect("an address");
        format!("{root}{path}")
    }

    fn alerts(&self) -> Vec<Value> {
        let answer = get(&self.feed("/api/v2/alerts?active=true&silenced=true"));
        json(&answer).as_array().expect("a list of alerts").clone()
    }

    fn alert(&self, name: &str) -> Option<Value> {
        self.alerts().into_iter().find(|alert| alert["labels"]["alertname"] == name)
    }

    fn set_split(&self, service: &str, canary: u8) {
        let body = format!(r#"{{"stable":{},"canary":{canary}}}"#, 100 - canary);
        let url = self.split_url(service);
        let answer = ask("PUT", &url, Some(self.fleet.token()), &body).expect("control answers");
        assert_eq!(answer.status, 200, "{}", answer.body);
    }

    fn work_url(&self, service: &str) -> String {
        self.probe(service, "proxy").replace("/health", "/work")
    }
}

/// Every line of a page as series and value; panics on one that is not Prometheus text.
fn samples(page: &str) -> Vec<(String, f64)> {
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    let parse = |line: &str| {
        let (series, value) = line.rsplit_once(' ')?;
        assert!(series.contains('{') && series.ends_with('}'), "{line}");
        Some((series.to_owned(), value.parse().ok()?))
    };
    lines.map(|line| parse(line).unwrap_or_else(|| panic!("no sample: {line}"))).collect()
}

fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_fleet_starts_with_a_canary_at_ten_percent() {
    let sandbox = Sandbox::start(20);
    assert_eq!(sandbox.fleet.split("checkout"), (90, 10));
    assert_eq!(sandbox.fleet.split("catalog"), (100, 0));
    assert_eq!(sandbox.fleet.split("payments"), (100, 0));
    assert!(sandbox.fleet.faults().iter().all(|(_, on)| !on));
    eventually("requests", || (sandbox.fleet.counters().requests > 60).then_some(()));
    assert_eq!(sandbox.fleet.counters().failed_requests, 0);
    assert_eq!(sandbox.alerts(), Vec::<Value>::new());
}

#[test]
fn the_configuration_and_its_token_are_for_this_user_alone() {
    let fleet = Fleet::start_with_load(0).expect("the sandbox starts");
    let dir = tempfile::tempdir().expect("a directory");
    let token = dir.path().join(TOKEN_FILE);
    std::fs::write(&token, "an older one").expect("a file is written");
    let path = fleet.write_config(dir.path()).expect("the configuration is written");
    assert_eq!(std::fs::read_to_string(&path).ok(), Some(fleet.config(dir.path())));
    assert_eq!(std::fs::read_to_string(&token).ok().as_deref(), Some(fleet.token()));
    for file in [path, token] {
        let mode = std::fs::metadata(file).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[test]
fn each_service_words_its_health_in_its_own_way() {
    let sandbox = Sandbox::start(0);
    for (service, word) in [("checkout", "pass"), ("catalog", "Healthy"), ("payments", "UP")] {
        for probe in ["proxy", "stable", "canary"] {
            let answer = get(&sandbox.probe(service, probe));
            assert_eq!((answer.status, &json(&answer)["status"]), (200, &Value::from(word)));
        }
    }
    let answer = get(&sandbox.probe("checkout", "stable"));
    assert!(answer.head.contains("application/health+json"), "{}", answer.head);
}

#[test]
fn the_proxy_splits_exactly() {
    let sandbox = Sandbox::start(0);
    for canary in [10, 50, 0, 100, 33] {
        sandbox.set_split("checkout", canary);
        let mut served: BTreeMap<bool, u8> = BTreeMap::new();
        for _ in 0..100 {
            let answer = get(&sandbox.work_url("checkout"));
            *served.entry(answer.head.contains("x-version: 2.5.0")).or_default() += 1;
        }
        assert_eq!(served.get(&true).copied().unwrap_or(0), canary);
        assert_eq!(sandbox.fleet.split("checkout"), (100 - canary, canary));
    }
}

#[test]
fn the_control_endpoint_refuses_what_is_wrong() {
    let sandbox = Sandbox::start(0);
    let url = sandbox.split_url("checkout");
    let token = sandbox.fleet.token();
    let check = |method: &str, token: Option<&str>, body: &str, status: u16| {
        let answer = ask(method, &url, token, body).expect("control answers");
        assert_eq!(answer.status, status, "{method} {body}: {}", answer.body);
        assert_eq!(sandbox.fleet.split("checkout"), (90, 10));
    };
    let good = r#"{"stable":50,"canary":50}"#;
    check("GET", None, "", 401);
    check("PUT", None, good, 401);
    check("PUT", Some("wrong"), good, 401);
    check("PUT", Some(token), "{", 400);
    check("PUT", Some(token), r#"{"stable":50}"#, 400);
    check("PUT", Some(token), r#"{"stable":50,"canary":49}"#, 422);
    check("PUT", Some(token), &"x".repeat(100_000), 413);
    check("POST", Some(token), good, 405);
    check("GET", Some(token), "", 200);
    let other = url.replace("/split", "/other");
    assert_eq!(ask("GET", &other, Some(token), "").expect("control answers").status, 404);
}

#[test]
fn the_metrics_page_counts_every_version() {
    let sandbox = Sandbox::start(0);
    for _ in 0..20 {
        get(&sandbox.work_url("checkout"));
    }
    let samples: BTreeMap<String, f64> = sandbox.metrics().into_iter().collect();
    let of = |series: &str| samples.get(series).copied().unwrap_or_else(|| panic!("{series}"));
    let counts = |series: &str| format!("{:.3}", of(series));
    let check = |version: &str, count: &str| {
        let labels = format!(r#"service="checkout",version="{version}""#);
        let duration = "http_request_duration_seconds";
        assert_eq!(counts(&format!(r#"http_requests_total{{{labels},code="200"}}"#)), count);
        assert_eq!(counts(&format!(r#"http_requests_total{{{labels},code="500"}}"#)), "0.000");
        assert_eq!(counts(&format!(r#"{duration}_bucket{{{labels},le="+Inf"}}"#)), count);
        assert_eq!(counts(&format!("{duration}_count{{{labels}}}")), count);
        let bounds = ["0.005", "0.01", "0.025", "0.05", "0.1", "0.5", "1", "2.5", "5", "+Inf"];
        let buckets =
            bounds.map(|bound| of(&format!(r#"{duration}_bucket{{{labels},le="{bound}"}}"#)));
        assert!(buckets.is_sorted(), "{buckets:?}");
    };
    check("2.4.1", "18.000");
    check("2.5.0", "2.000");
    let unasked = r#"http_requests_total{service="payments",version="1.13.0",code="200"}"#;
    assert_eq!(counts(unasked), "0.000");
}

#[test]
fn canary_errors_raise_an_alert_that_goes_with_them() {
    let sandbox = Sandbox::start(40);
    sandbox.set_split("checkout", 50);
    sandbox.fleet.set_fault(Fault::CanaryErrors, true);
    let alert = eventually("an alert", || sandbox.alert("HighErrorRate"));
    assert_eq!(alert["labels"]["service"], "checkout");
    assert_eq!(alert["labels"]["arm"], "canary");
    assert_eq!(alert["status"]["state"], "active");
    eventually("failed requests", || (sandbox.fleet.counters().failed_requests > 0).then_some(()));
    eventually("health to warn", || {
        let answer = get(&sandbox.probe("checkout", "canary"));
        (json(&answer)["status"] == "warn").then_some(())
    });
    let again = sandbox.alert("HighErrorRate").expect("it still fires");
    assert_eq!(again["fingerprint"], alert["fingerprint"]);
    assert_eq!(again["startsAt"], alert["startsAt"]);
    sandbox.fleet.set_fault(Fault::CanaryErrors, false);
    eventually("the alert's end", || sandbox.alert("HighErrorRate").is_none().then_some(()));
}

#[test]
fn a_slow_canary_is_slow_and_said_to_be() {
    let sandbox = Sandbox::start(20);
    sandbox.fleet.set_fault(Fault::CanaryLatency, true);
    let alert = eventually("an alert", || sandbox.alert("HighLatency"));
    assert_eq!(alert["labels"]["arm"], "canary");
    let start = Instant::now();
    get(&sandbox.probe("checkout", "canary"));
    assert!(start.elapsed() >= Duration::from_secs(2));
}

#[test]
fn the_database_goes_and_comes_back() {
    let sandbox = Sandbox::start(0);
    let database = sandbox.probe("payments", "database");
    assert!(TcpStream::connect(&database).is_ok());
    sandbox.fleet.set_fault(Fault::DatabaseDown, true);
    eventually("refusal", || TcpStream::connect(&database).is_err().then_some(()));
    let answer = get(&sandbox.probe("payments", "stable"));
    assert_eq!((answer.status, &json(&answer)["status"]), (503, &Value::from("DOWN")));
    assert!(sandbox.alert("DatabaseDown").is_some());
    assert_eq!(get(&sandbox.work_url("payments")).status, 500);
    assert_eq!(get(&sandbox.work_url("catalog")).status, 200);
    sandbox.fleet.set_fault(Fault::DatabaseDown, false);
    eventually("connection", || TcpStream::connect(&database).ok());
    assert_eq!(sandbox.alerts(), Vec::<Value>::new());
}

#[test]
fn the_feed_goes_and_comes_back() {
    let sandbox = Sandbox::start(0);
    let url = sandbox.feed("/api/v2/alerts");
    sandbox.fleet.set_fault(Fault::FeedDown, true);
    eventually("refusal", || ask("GET", &url, None, "").is_none().then_some(()));
    sandbox.fleet.set_fault(Fault::FeedDown, false);
    eventually("an answer", || ask("GET", &url, None, ""));
}

#[test]
fn a_lying_router_says_yes_and_stays() {
    let sandbox = Sandbox::start(0);
    sandbox.fleet.set_fault(Fault::RouterLies, true);
    sandbox.set_split("checkout", 0);
    assert_eq!(sandbox.fleet.split("checkout"), (90, 10));
    let answer = ask("GET", &sandbox.split_url("checkout"), Some(sandbox.fleet.token()), "");
    assert_eq!(json(&answer.expect("control answers"))["canary"], 10);
    sandbox.fleet.set_fault(Fault::RouterLies, false);
    sandbox.set_split("checkout", 0);
    assert_eq!(sandbox.fleet.split("checkout"), (100, 0));
}

#[test]
fn a_hanging_router_accepts_and_never_answers() {
    let sandbox = Sandbox::start(0);
    sandbox.fleet.set_fault(Fault::RouterHangs, true);
    let url = sandbox.split_url("checkout");
    let body = r#"{"stable":100,"canary":0}"#;
    let start = Instant::now();
    assert!(ask("PUT", &url, Some(sandbox.fleet.token()), body).is_none());
    assert!(start.elapsed() >= Duration::from_secs(4), "it waited for its own timeout");
    assert_eq!(sandbox.fleet.split("checkout"), (90, 10));
    assert_eq!(get(&sandbox.work_url("checkout")).status, 200, "traffic flows all the same");
    sandbox.fleet.set_fault(Fault::RouterHangs, false);
    sandbox.set_split("checkout", 0);
}

#[test]
fn a_silence_covers_its_alert_until_it_is_deleted() {
    let sandbox = Sandbox::start(0);
    sandbox.fleet.set_fault(Fault::DatabaseDown, true);
    let matcher = r#"{"name":"alertname","value":"DatabaseDown","isRegex":false,"isEqual":true}"#;
    let silence = |matchers: &str, end: &str| {
        let times = format!(r#""startsAt":"2020-01-01T00:00:00Z","endsAt":"{end}""#);
        let body =
            format!(r#"{{"matchers":[{matchers}],{times},"createdBy":"jo","comment":"mine"}}"#);
        ask("POST", &sandbox.feed("/api/v2/silences"), None, &body).expect("the feed answers")
    };
    assert_eq!(silence("", "2099-01-01T00:00:00Z").status, 400);
    assert_eq!(silence(matcher, "2021-01-01T00:00:00Z").status, 400);
    let answer = silence(matcher, "2099-01-01T00:00:00Z");
    assert_eq!(answer.status, 200, "{}", answer.body);
    let id = json(&answer)["silenceID"].as_str().expect("an id").to_owned();
    let alert = sandbox.alert("DatabaseDown").expect("it still fires");
    assert_eq!(alert["status"]["state"], "suppressed");
    assert_eq!(alert["status"]["silencedBy"][0], id.as_str());
    let unsilenced = get(&sandbox.feed("/api/v2/alerts?silenced=false"));
    assert_eq!(unsilenced.body, "[]");
    let url = sandbox.feed(&format!("/api/v2/silence/{id}"));
    assert_eq!(ask("DELETE", &url, None, "").expect("the feed answers").status, 200);
    let alert = sandbox.alert("DatabaseDown").expect("it still fires");
    assert_eq!(alert["status"]["state"], "active");
}

#[test]
fn a_dropped_fleet_frees_its_ports() {
    let sandbox = Sandbox::start(20);
    let url = sandbox.work_url("checkout");
    drop(sandbox.fleet);
    eventually("refusal", || ask("GET", &url, None, "").is_none().then_some(()));
}

/// The router as the adapter sees it.
fn target(sandbox: &Sandbox, token: Secret) -> HttpTarget {
    HttpTarget {
        url: sandbox.split_url("checkout"),
        headers: BTreeMap::new(),
        token: Some(token),
        timeout: Duration::from_secs(10),
        body_bytes_max: 64 * 1024,
        follow_redirects: false,
        compressed: false,
        ca_file: None,
        close: false,
    }
}

fn wait_for<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime starts").block_on(work)
}

#[test]
fn the_adapter_moves_the_proxy_and_reads_it_back() {
    let sandbox = Sandbox::start(0);
    let target = target(&sandbox, Secret::Known(sandbox.fleet.token().to_owned()));
    let budget = Duration::from_secs(2);
    let weights = |canary| Weights::for_split(Group::A, Percent::new(canary).expect("a percent"));
    wait_for(async {
        let client = Client::new().expect("a client");
        for canary in [25, 100, 0] {
            let answer = http::set(&client, &target, weights(canary), None, budget).await;
            assert_eq!(answer, WriteAnswer::Applied);
            let read = http::read(&client, &target, "", budget).await.expect("the split is read");
            let shares = format!("{:.1} {:.1}", read.a, read.b);
            assert_eq!(shares, format!("{}.0 {canary}.0", 100 - canary));
            assert_eq!(sandbox.fleet.split("checkout"), (100 - canary, canary));
        }
    });
}

#[test]
fn the_adapter_tells_rejected_from_unknown() {
    let sandbox = Sandbox::start(0);
    let secret = Secret::Known(sandbox.fleet.token().to_owned());
    let weights = Weights::for_split(Group::A, Percent::ZERO);
    let budget = Duration::from_millis(300);
    let gone =
        HttpTarget { url: "http://127.0.0.1:1/split".to_owned(), ..target(&sandbox, secret) };
    let missing = target(&sandbox, Secret::Missing("no such file".to_owned()));
    let wrong = target(&sandbox, Secret::Known("wrong".to_owned()));
    let right = target(&sandbox, Secret::Known(sandbox.fleet.token().to_owned()));
    wait_for(async {
        let client = Client::new().expect("a client");
        let set = |target| http::set(&client, target, weights, None, budget);
        assert!(matches!(set(&wrong).await, WriteAnswer::Rejected { .. }));
        assert!(matches!(set(&missing).await, WriteAnswer::Rejected { .. }));
        assert!(matches!(set(&gone).await, WriteAnswer::Unknown { .. }));
        let refused =
            http::read(&client, &wrong, "", budget).await.expect_err("no token, no split");
        assert_eq!(refused.kind, FailureKind::Refused);

        sandbox.fleet.set_fault(Fault::RouterHangs, true);
        let start = Instant::now();
        assert!(matches!(set(&right).await, WriteAnswer::Unknown { .. }));
        let late = http::read(&client, &right, "", budget).await.expect_err("it hangs");
        assert_eq!(late.kind, FailureKind::Timeout);
        // The client's own limits are further away than a loaded machine is late.
        assert!(start.elapsed() < budget * 30, "both calls keep to their budget");
    });
    assert_eq!(sandbox.fleet.split("checkout"), (90, 10));
}

#[test]
fn the_sandbox_configures_itself_without_a_warning() {
    let fleet = Fleet::start_with_load(0).expect("the sandbox starts");
    let dir = tempfile::tempdir().expect("a directory");
    let path = fleet.write_config(dir.path()).expect("the configuration is written");
    let text = std::fs::read_to_string(path).expect("it is there");
    let loaded = quarterdeck::config::load(&text, dir.path(), &|_| None)
        .unwrap_or_else(|problems| panic!("{problems:?}\n{text}"));
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    assert_eq!(loaded.engine.services.len(), 3);
    assert_eq!(loaded.engine.probes.len(), 10);
    assert_eq!(loaded.io.signals.iter().flatten().count(), 3);
    assert!(loaded.engine.services.iter().all(|service| service.canary.is_some()));
    assert!(loaded.engine.services.iter().all(|service| service.deploy.is_some()));
    assert!(loaded.engine.services.iter().all(|service| service.triggers.len() == 1));
    for router in &loaded.io.routers {
        let RouterTarget::Http(target) = router else { panic!("not an HTTP router") };
        let Some(Secret::File(path)) = &target.token else { panic!("the token is missing") };
        assert_eq!(std::fs::read_to_string(path).expect("it is there"), fleet.token());
    }
}
