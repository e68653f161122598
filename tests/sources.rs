//! The adapters of hosts, feeds and metrics against the real servers.

#[path = "support/servers.rs"]
mod servers;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use engine::reading::{AlertState, FeedReading, Measurement, Series};
use engine::types::{Actor, Failure, FailureKind, Severity, Untrusted};
use quarterdeck::io::http::Client;
use quarterdeck::io::settings::{
    FeedTarget, HostTarget, HttpTarget, Secret, SignalsTarget, TenantsTarget,
};
use quarterdeck::io::{feed, host, metrics};

const TIMEOUT: Duration = Duration::from_secs(5);

/// A port at which nobody listens; one that was given back may be another's by now.
const NOBODY: u16 = 1;

fn http(url: &str) -> HttpTarget {
    HttpTarget {
        url: url.into(),
        headers: BTreeMap::new(),
        token: None,
        timeout: TIMEOUT,
        body_bytes_max: 64 * 1024,
        follow_redirects: false,
        compressed: false,
        ca_file: None,
        close: false,
    }
}

fn block<T>(work: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().expect("a runtime").block_on(work)
}

fn client() -> Client {
    Client::new().expect("a client")
}

fn ann() -> Actor {
    Actor { user: Untrusted::new("ann"), uid: Some(1000), ssh: None }
}

fn total(series: Option<&Series>) -> Option<f64> {
    series.map(|series| series.values().sum())
}

/// Repeats `look` until it gives something; says the last failure when it never does.
async fn until<T>(mut look: impl AsyncFnMut() -> Result<Option<T>, Failure>) -> T {
    let deadline = Instant::now() + servers::READY_WITHIN;
    let mut last = String::from("nothing came");
    while Instant::now() < deadline {
        match look().await {
            Ok(Some(value)) => return value,
            Ok(None) => {}
            Err(failure) => last = failure.text.to_string(),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("not within the deadline: {last}");
}

#[test]
fn an_alert_is_read_and_acknowledged() {
    let server = servers::alertmanager();
    let target = FeedTarget::Alertmanager(http(&server.url()));
    block(async {
        let client = client();
        let mut reader = feed::Reader::new("alerts", target);
        let quiet = reader.read(&client).await.expect("a quiet feed");
        assert_eq!(quiet, FeedReading::default());
        let body = r#"[{"labels":{"alertname":"Disk \"full\" \\ ü","severity":"page"},
            "annotations":{"summary":"soon"}}]"#;
        let url = format!("{}/api/v2/alerts", server.url());
        let method = quarterdeck::io::http::Method::Post;
        let sent = client.send(&http(&url), method, &url, &[], Some(body.into())).await;
        assert_eq!(sent.expect("an answer").status, 200);
        let one = async |reader: &mut feed::Reader| {
            let reading = reader.read(&client).await?;
            Ok(reading.alerts.into_iter().next())
        };
        let alert = until(async || one(&mut reader).await).await;
        assert_eq!(alert.name.display(), "Disk \"full\" \\ ü");
        assert_eq!((alert.severity, alert.state), (Severity::Critical, AlertState::Triggered));
        let comment = Untrusted::new("mine");
        let done = reader.acknowledge(&client, &alert.fingerprint, &ann(), &comment).await;
        done.expect("a silence is made");
        let taken = until(async || {
            let alert = one(&mut reader).await?;
            Ok(alert.filter(|alert| alert.state == AlertState::Acknowledged))
        });
        assert_eq!(taken.await.fingerprint, alert.fingerprint);
        let unknown = reader.acknowledge(&client, "nothing", &ann(), &comment).await;
        assert_eq!(unknown.expect_err("not in the reading").kind, FailureKind::Refused);
        let up = reader.escalate(&client, &alert.fingerprint, &ann()).await;
        let up = up.expect_err("Alertmanager has no levels");
        assert!(up.text.display().contains("cannot escalate"), "{}", up.text);
    });
}

#[test]
fn a_node_exporter_is_read() {
    let server = servers::node_exporter();
    block(async {
        let client = client();
        let mut reader = host::Reader::new(HostTarget::NodeExporter(http(&server.url())));
        let first = reader.read(&client).await.expect("a first page");
        assert_eq!(first.cpu_percent, None, "a rate needs two pages");
        assert!(first.memory_percent.is_some_and(|p| p > 0.0 && p < 100.0));
        assert!(first.load.is_some() && first.uptime.is_some());
        let cpu = until(async || Ok(reader.read(&client).await?.cpu_percent)).await;
        assert!((0.0..=100.0).contains(&cpu));
    });
}

#[test]
fn this_machine_is_read() {
    block(async {
        let client = client();
        let mut reader = host::Reader::new(HostTarget::Local);
        reader.read(&client).await.expect("this machine");
        let second = reader.read(&client).await.expect("this machine again");
        assert!(second.cpu_percent.is_some() && second.processes.is_some());
    });
}

fn counters(good: u32, bad: u32) -> String {
    format!(
        "# TYPE http_requests_total counter\n\
         http_requests_total{{version=\"v1\",code=\"200\"}} {good}\n\
         http_requests_total{{version=\"v1\",code=\"503\"}} {bad}\n\
         http_requests_total{{version=\"v2\",code=\"200\"}} 7\n\
         latency_bucket{{version=\"v1\",le=\"0.1\"}} {good}\n\
         latency_bucket{{version=\"v1\",le=\"+Inf\"}} {}\n",
        good + bad
    )
}

fn both(text: &str) -> [String; 2] {
    ["v1", "v2"].map(|version| text.replace('@', version))
}

fn check_counters(m: &Measurement, good: f64, bad: f64) {
    assert_eq!(total(m.a.requests.as_ref()), Some(good + bad));
    assert_eq!(total(m.a.errors.as_ref()), Some(bad));
    let buckets = m.a.buckets.as_ref().expect("a histogram");
    assert_eq!(total(buckets.get("0.1")), Some(good));
    assert_eq!(total(m.b.requests.as_ref()), Some(7.0));
    assert_eq!((m.b.errors.as_ref(), m.b.buckets.as_ref()), (None, None));
}

#[test]
fn prometheus_is_measured_and_its_alerts_are_read() {
    let page = servers::Page::serve();
    page.set("/metrics", 200, &counters(90, 10));
    let rules = "groups: [ { name: g, rules: [ { alert: Always, expr: 'vector(1)', labels: { \
                 severity: warning } } ] } ]\n";
    let server = servers::prometheus(&[page.port], rules);
    let target = SignalsTarget::Prometheus {
        http: http(&server.url()),
        requests: both("http_requests_total{version=\"@\"}"),
        errors: Some(both("http_requests_total{version=\"@\",code=~\"5..\"}")),
        buckets: Some(both("latency_bucket{version=\"@\"}")),
        sum: None,
        count: None,
    };
    block(async {
        let client = client();
        let first = until(async || {
            let look = metrics::measure(&client, &target).await?;
            Ok(look.a.requests.is_some().then_some(look))
        });
        let first = first.await;
        check_counters(&first, 90.0, 10.0);
        page.set("/metrics", 200, &counters(180, 20));
        let second = until(async || {
            let look = metrics::measure(&client, &target).await?;
            Ok((total(look.a.requests.as_ref()) == Some(200.0)).then_some(look))
        });
        let second = second.await;
        assert!(second.at > first.at, "a new scrape has a new time");
        let again = metrics::measure(&client, &target).await.expect("a third look");
        assert!(again.at >= second.at);

        let asked = |query: &str| ["v1", "v2", "v3"].map(|own| query.replace('@', own)).to_vec();
        let queries = vec![
            asked("http_requests_total{version=\"@\"} # of several the greatest"),
            asked("0 / (http_requests_total{version=\"@\",code=\"200\"} - 7)"),
            asked("sum("),
        ];
        let tenants = TenantsTarget { http: http(&server.url()), queries };
        let look = metrics::tenants(&client, &tenants).await;
        let figure = |figure| [0, 1, 2].map(|tenant| look.value(tenant, figure));
        assert_eq!(figure(0), [Some(180.0), Some(7.0), None]);
        assert_eq!(figure(1), [Some(0.0), None, None], "what is no number is no data");
        assert_eq!(figure(2), [None; 3]);
        assert!(look.error.display().contains("parse error"), "{}", look.error);

        let mut bad = target.clone();
        if let SignalsTarget::Prometheus { requests, .. } = &mut bad {
            requests[0] = "sum(".into();
        }
        let failure = metrics::measure(&client, &bad).await.expect_err("not a query");
        assert_eq!(failure.kind, FailureKind::Refused);
        assert!(failure.text.display().contains("parse error"), "{}", failure.text);

        let mut reader = feed::Reader::new("prom", FeedTarget::Prometheus(http(&server.url())));
        let alert = until(async || Ok(reader.read(&client).await?.alerts.pop())).await;
        assert_eq!((alert.name.display(), alert.severity), ("Always", Severity::Medium));
    });
}

#[test]
fn a_page_is_measured_without_a_metrics_server() {
    let (page, gone) = (servers::Page::serve(), NOBODY);
    page.set("/metrics", 200, &counters(90, 10));
    let target = |pages: Vec<HttpTarget>| SignalsTarget::Exposition {
        pages,
        requests: both("http_requests_total{version=\"@\"}"),
        errors: Some(both("http_requests_total{version=\"@\",code=~\"5..\"}")),
        buckets: Some(both("latency_bucket{version=\"@\"}")),
        sum: None,
        count: None,
    };
    let here = http(&format!("{}/metrics", page.url()));
    let nobody = http(&format!("http://127.0.0.1:{gone}/metrics"));
    block(async {
        let client = client();
        let look = metrics::measure(&client, &target(vec![here.clone()])).await;
        check_counters(&look.expect("one page for both"), 90.0, 10.0);
        let look = metrics::measure(&client, &target(vec![here.clone(), nobody.clone()])).await;
        let look = look.expect("one of two pages answers");
        assert!(look.a.requests.is_some() && look.b.requests.is_none());
        let look = metrics::measure(&client, &target(vec![nobody.clone(), nobody])).await;
        assert_eq!(look.expect_err("nobody is there").kind, FailureKind::Unreachable);
        page.set("/metrics", 200, "up 1\nnot a line {\n");
        let look = metrics::measure(&client, &target(vec![here])).await;
        let failure = look.expect_err("not a page");
        assert!(failure.text.display().contains("line 2"), "{}", failure.text);
    });
}

#[test]
fn haproxy_counts_its_own_servers() {
    let (page, gone) = (servers::Page::serve(), NOBODY);
    page.set("/ok", 200, "ok");
    page.set("/bad", 500, "bad");
    let server = servers::haproxy(page.port, gone);
    for path in ["/ok", "/ok", "/ok", "/ok", "/bad", "/bad"] {
        assert!(servers::get(server.port, path).is_some(), "haproxy answers");
    }
    let target = |backend: &str, canary: &str, socket: PathBuf| SignalsTarget::Haproxy {
        socket,
        backend: backend.into(),
        groups: [vec!["stable".into()], vec![canary.into()]],
        timeout: TIMEOUT,
    };
    let socket = server.directory.path().join("admin.sock");
    block(async {
        let client = client();
        let look = metrics::measure(&client, &target("app", "canary", socket.clone())).await;
        let look = look.expect("counters");
        assert!(total(look.a.requests.as_ref()).is_some_and(|count| count > 0.0));
        let errors = total(look.b.errors.as_ref());
        assert!(errors.is_some_and(|errors| errors > 0.0), "a dead server has errors: {errors:?}");
        let failure = async |target: SignalsTarget| {
            metrics::measure(&client, &target).await.expect_err("a failure")
        };
        let unknown = failure(target("nobody", "canary", socket.clone())).await;
        assert!(unknown.text.display().contains("No such proxy"), "{}", unknown.text);
        let injected = failure(target("app;disable", "canary", socket.clone())).await;
        assert_eq!(injected.kind, FailureKind::Denied);
        let missing = failure(target("app", "canary", socket.with_extension("none"))).await;
        assert_eq!(missing.kind, FailureKind::Unreachable);
    });
}

#[test]
fn pagerduty_is_acknowledged_and_escalated() {
    let page = servers::Page::serve();
    let incidents = r#"{"incidents":[{"id":"P1","title":"X","status":"triggered"}]}"#;
    page.set("/incidents", 200, incidents);
    let mut target = http(&page.url());
    target.token = Some(Secret::Known("hidden".into()));
    let target = FeedTarget::PagerDuty { http: target, from: "ann@example.com".into() };
    block(async {
        let client = client();
        let mut reader = feed::Reader::new("pager", target);
        let reading = reader.read(&client).await.expect("one incident");
        assert_eq!(reading.alerts.len(), 1);
        let comment = Untrusted::default();
        reader.acknowledge(&client, "P1", &ann(), &comment).await.expect("acknowledged");
        reader.escalate(&client, "P1", &ann()).await.expect("escalated");
        reader.escalate(&client, "P1", &ann()).await.expect("escalated again");
        let requests = page.requests.lock().expect("no thread panicked").clone();
        let puts: Vec<&String> =
            requests.iter().filter(|(m, ..)| m == "PUT").map(|(.., body)| body).collect();
        let parts =
            ["\"status\":\"acknowledged\"", "\"escalation_level\":2", "\"escalation_level\":3"];
        assert_eq!(puts.len(), parts.len());
        for (body, part) in puts.iter().zip(parts) {
            assert!(body.contains(part) && body.contains("P1"), "{body}");
        }
        page.set("/incidents", 401, r#"{"error":{"message":"Bad token"}}"#);
        let denied = reader.read(&client).await.expect_err("denied");
        assert_eq!(denied.kind, FailureKind::Denied);
        let text = denied.text.display();
        assert!(text.contains("feed pager") && text.contains("Bad token"), "{text}");
        assert!(!text.contains("hidden"), "{text}");
    });
}

#[test]
fn pagerduty_escalates_from_the_level_that_it_is_at() {
    let page = servers::Page::serve();
    let incidents = r#"{"incidents":[{"id":"P1","title":"X","status":"triggered",
        "escalation_policy":{"id":"POL"},"assignments":[{"assignee":{"id":"ANN"}}]}]}"#;
    page.set("/incidents", 200, incidents);
    let on_call = r#"{"oncalls":[{"escalation_level":3,"user":{"id":"ANN"}}]}"#;
    let target = FeedTarget::PagerDuty { http: http(&page.url()), from: "ann@x.com".into() };
    block(async {
        let client = client();
        let mut reader = feed::Reader::new("pager", target);
        reader.read(&client).await.expect("one incident");
        let last = || {
            let requests = page.requests.lock().expect("no thread panicked").clone();
            let puts = requests.into_iter().filter(|(method, ..)| method == "PUT");
            puts.map(|(.., body)| body).collect::<Vec<_>>()
        };
        page.set("/oncalls", 200, "not JSON");
        reader.escalate(&client, "P1", &ann()).await.expect_err("the level is not known");
        assert_eq!(last(), Vec::<String>::new(), "nobody is paged by guess");
        page.set("/oncalls", 200, on_call);
        reader.escalate(&client, "P1", &ann()).await.expect("escalated");
        assert!(last()[0].contains("\"escalation_level\":4"), "{:?}", last());
        page.set("/oncalls", 403, "{}");
        reader.escalate(&client, "P1", &ann()).await.expect("escalated without the list");
        assert!(last()[1].contains("\"escalation_level\":5"), "{:?}", last());
    });
}

#[test]
fn a_file_is_a_feed() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("incidents.json");
    block(async {
        let client = client();
        let mut reader = feed::Reader::new("file", FeedTarget::JsonFile(path.clone()));
        let missing = reader.read(&client).await.expect_err("no file yet");
        assert_eq!(missing.kind, FailureKind::Unreachable);
        std::fs::copy("fixtures/feeds/json-incidents.json", &path).expect("a copy");
        assert_eq!(reader.read(&client).await.expect("two incidents").alerts.len(), 2);
        std::fs::write(&path, "{").expect("half a file");
        let half = reader.read(&client).await.expect_err("half a file");
        assert_eq!(half.kind, FailureKind::Malformed);
        let file = std::fs::File::create(&path).expect("an empty file");
        file.set_len(9 << 20).expect("a large file");
        let large = reader.read(&client).await.expect_err("a large file");
        assert_eq!(large.kind, FailureKind::Malformed);
    });
}
