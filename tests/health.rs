//! Health endpoints that answer well, badly, hostilely or not at all.
//!
//! Every server here listens on a free port of loopback and writes raw bytes, so that it can break
//! any rule of HTTP.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use engine::health::Expect;
use engine::reading::Observation;
use engine::types::{FailureKind, Status};
use quarterdeck::io::http::{Client, Method};
use quarterdeck::io::settings::{HttpTarget, ProbeTarget, Secret};
use quarterdeck::io::{command, probe};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

const BODY_MAX: usize = 64 * 1024;

/// What a server does with one connection, after the request's head was read.
#[derive(Clone)]
enum Play {
    /// Writes these bytes and closes.
    Say(Vec<u8>),
    /// Writes the first, then the second for ever.
    Endless(Vec<u8>, Vec<u8>),
    /// Writes one byte at a time.
    Drip(Vec<u8>, Duration),
    Silent,
    Hang,
    /// UP for who has this token; 401 for everybody else.
    Bearer(&'static str),
}

struct Server {
    address: String,
    written: Arc<AtomicUsize>,
    asked: Arc<AtomicUsize>,
}

impl Server {
    async fn start(play: Play) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        let (written, asked) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let server = Server { address, written: written.clone(), asked: asked.clone() };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (play, written, asked) = (play.clone(), written.clone(), asked.clone());
                tokio::spawn(async move {
                    // A client that had enough closes; that is what these tests want.
                    let _ = perform(stream, play, &written, &asked).await;
                });
            }
        });
        server
    }

    fn url(&self) -> String {
        format!("http://{}/health", self.address)
    }
}

async fn perform(
    mut stream: TcpStream,
    play: Play,
    written: &AtomicUsize,
    asked: &AtomicUsize,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    asked.fetch_add(1, Ordering::SeqCst);
    match play {
        Play::Say(bytes) => {
            stream.write_all(&bytes).await?;
            stream.shutdown().await?;
        }
        Play::Endless(first, then) => {
            stream.write_all(&first).await?;
            loop {
                stream.write_all(&then).await?;
                written.fetch_add(then.len(), Ordering::SeqCst);
            }
        }
        Play::Drip(bytes, pause) => {
            for byte in bytes {
                stream.write_all(&[byte]).await?;
                tokio::time::sleep(pause).await;
            }
        }
        Play::Silent => {}
        Play::Bearer(token) => {
            let known = String::from_utf8_lossy(&head).contains(&format!("Bearer {token}\r"));
            let (status, body) = if known { ("200 OK", "UP") } else { ("401 No", "DOWN") };
            let said = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            stream.write_all(said.as_bytes()).await?;
        }
        Play::Hang => std::future::pending().await,
    }
    Ok(())
}

fn answer(head: &str, body: &[u8]) -> Play {
    let head = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n", body.len());
    Play::Say([head.as_bytes(), body].concat())
}

fn json(body: &str) -> Play {
    answer("200 OK\r\nContent-Type: application/json", body.as_bytes())
}

fn target(url: String) -> HttpTarget {
    HttpTarget {
        url,
        headers: BTreeMap::new(),
        token: None,
        timeout: Duration::from_secs(2),
        body_bytes_max: BODY_MAX,
        follow_redirects: false,
        compressed: false,
        ca_file: None,
        close: false,
    }
}

fn client() -> Client {
    Client::new().expect("a client needs nothing from outside")
}

async fn look(http: HttpTarget) -> Observation {
    probe::run(&client(), &ProbeTarget::Http { http, expect: None, figures: Vec::new() }).await
}

async fn look_at(play: Play) -> Observation {
    let server = Server::start(play).await;
    look(target(server.url())).await
}

#[track_caller]
fn check(observation: &Observation, status: Status, words: &str) {
    assert_eq!(observation.status, status, "{observation:?}");
    assert!(observation.message.display().contains(words), "{observation:?}");
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/health")
}

fn gzipped(size: usize) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let chunk = vec![b' '; 64 * 1024];
    let mut left = size;
    while left > 0 {
        let count = left.min(chunk.len());
        encoder.write_all(&chunk[..count]).expect("memory takes it");
        left -= count;
    }
    encoder.finish().expect("memory takes it")
}

/// Every recognised format, as a server sends it, with its status and what the message names.
const FORMATS: [(&str, Status, &str); 29] = [
    ("aspnet_json_unhealthy", Status::Down, "db is \"Unhealthy\": timeout"),
    ("aspnet_null_report", Status::Unknown, "no known status"),
    ("aspnet_text_degraded", Status::Degraded, "Degraded"),
    ("aspnet_text_healthy", Status::Up, ""),
    ("database_degraded", Status::Degraded, "replication lag 12.5 s"),
    ("database_healthy", Status::Up, ""),
    ("fastapi_alive", Status::Up, ""),
    ("fastapi_dead", Status::Down, "dead"),
    ("fastapi_metrics", Status::Unknown, "an expect can judge it"),
    ("fastapi_not_ready", Status::Down, "session_manager"),
    ("gatus_failed", Status::Down, "web is \"success: false\": [RESPONSE_TIME] < 500 failed"),
    ("health_json_fail", Status::Down, "queue:depth is \"fail\": queue is full"),
    ("health_json_pass", Status::Up, ""),
    ("health_json_warn", Status::Degraded, "cassandra:responseTime is \"warn\": slow since 03:30"),
    ("kubernetes_failed", Status::Down, "etcd failed: reason withheld"),
    ("kubernetes_ok", Status::Up, ""),
    ("microprofile_down", Status::Down, "mailbox"),
    ("no_content", Status::Up, ""),
    ("prometheus_ready", Status::Up, ""),
    ("spring_custom", Status::Degraded, "FATIGUED"),
    ("spring_nested_down", Status::Down, "broker.us1"),
    ("spring_out_of_service", Status::Maint, "OUT_OF_SERVICE"),
    ("spring_unknown", Status::Unknown, "UNKNOWN"),
    ("spring_up", Status::Up, ""),
    ("status_healthy", Status::Up, ""),
    ("status_ok", Status::Up, ""),
    ("status_ready", Status::Up, ""),
    ("statuspage_minor", Status::Degraded, "Payments"),
    ("statuspage_none", Status::Up, ""),
];

#[tokio::test]
async fn every_format_is_recognised() {
    for (name, status, words) in FORMATS {
        let path = fixtures().join(format!("{name}.http"));
        let text = std::fs::read_to_string(&path).expect("the fixture is there");
        let (head, body) = text.split_once("\n\n").expect("a head and a body");
        let head = head.strip_prefix("HTTP/1.1 ").expect("a status line").replace('\n', "\r\n");
        let found = look_at(answer(&head, body.as_bytes())).await;
        println!("{name}: {} {}", found.status, found.message);
        check(&found, status, words);
        assert_eq!(found.status == Status::Up, found.message.is_empty(), "{name}: {found:?}");
    }
    let files = std::fs::read_dir(fixtures()).expect("the folder is there");
    let files = files.filter_map(Result::ok).filter(|entry| entry.path().is_file()).count();
    assert_eq!(files, FORMATS.len(), "every fixture stands in the table");
}

#[tokio::test]
async fn bad_json_is_unknown_and_says_so() {
    check(&look_at(json(r#"{"status":"UP""#)).await, Status::Unknown, "JSON cannot be read");
    check(&look_at(json("\u{1}\u{2}")).await, Status::Unknown, "JSON cannot be read");
    let bytes = answer("200 OK\r\nContent-Type: application/json", b"{\"status\":\"\xff\xfe\"}");
    check(&look_at(bytes).await, Status::Unknown, "not UTF-8");
    let bytes = answer("200 OK", b"\xff\xfe\xfd");
    check(&look_at(bytes).await, Status::Unknown, "no known status");
}

#[tokio::test]
async fn a_huge_body_is_given_up_early() {
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n".to_vec();
    let server = Server::start(Play::Endless(head, vec![b'x'; 16 * 1024])).await;
    check(&look(target(server.url())).await, Status::Unknown, "larger than 65536 bytes");
    let written = server.written.load(Ordering::SeqCst);
    assert!(written < 10_000_000, "{written} bytes were taken");
}

#[tokio::test]
async fn an_endless_body_is_cut_at_the_limit() {
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    let chunk = [b"4000\r\n".as_slice(), &vec![b'x'; 16 * 1024], b"\r\n"].concat();
    let plain = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    for play in [Play::Endless(chunked, chunk), Play::Endless(plain, vec![b'x'; 16 * 1024])] {
        let server = Server::start(play).await;
        check(&look(target(server.url())).await, Status::Unknown, "larger than 65536 bytes");
        let written = server.written.load(Ordering::SeqCst);
        assert!(written < 10_000_000, "{written} bytes were taken");
    }
}

#[tokio::test]
async fn a_gzip_bomb_does_not_go_off() {
    let head = "200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip";
    let bomb = gzipped(5 * 1024 * 1024);
    assert!(bomb.len() < BODY_MAX, "small on the wire: {}", bomb.len());
    let server = Server::start(answer(head, &bomb)).await;
    check(&look(target(server.url())).await, Status::Unknown, "not asked for");
    let asked = HttpTarget { compressed: true, ..target(server.url()) };
    check(&look(asked.clone()).await, Status::Unknown, "larger than 65536 bytes");
    let server = Server::start(answer(head, &gzipped(60 * 1024))).await;
    let small = HttpTarget { url: server.url(), ..asked };
    check(&look(small).await, Status::Unknown, "more than 50 times");
}

#[tokio::test]
async fn compression_works_where_asked_for() {
    let head = "200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip";
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(br#"{"status":"UP"}"#).expect("memory takes it");
    let packed = encoder.finish().expect("memory takes it");
    let server = Server::start(answer(head, &packed)).await;
    let asked = HttpTarget { compressed: true, ..target(server.url()) };
    check(&look(asked.clone()).await, Status::Up, "");
    let server = Server::start(answer(head, &packed[..packed.len() / 2])).await;
    let cut = HttpTarget { url: server.url(), ..asked };
    check(&look(cut).await, Status::Unknown, "cannot be unpacked");
}

#[tokio::test]
async fn slowness_of_any_kind_ends_at_the_deadline() {
    let pause = Duration::from_millis(50);
    let head = b"HTTP/1.1 200 OK\r\nX-Long: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n\r\n".to_vec();
    let body = b"HTTP/1.1 200 OK\r\n\r\n{\"status\":\"UP\"}".to_vec();
    for play in [Play::Drip(head, pause), Play::Drip(body, pause), Play::Hang] {
        let server = Server::start(play).await;
        let timeout = Duration::from_millis(300);
        let started = Instant::now();
        let found = look(HttpTarget { timeout, ..target(server.url()) }).await;
        check(&found, Status::Down, "no answer within 300ms");
        assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    }
    let endless = Play::Endless(b"HTTP/1.1 200 OK\r\n".to_vec(), b"X-A: b\r\n".to_vec());
    let found = look_at(endless).await;
    assert_eq!(found.status, Status::Unknown, "endless headers: {found:?}");
}

/// Far longer than a good answer takes on a loaded machine.
const DRIPS_FOR: Duration = Duration::from_secs(3);

#[tokio::test]
async fn dripping_servers_do_not_delay_a_good_one() {
    let client = client();
    let good = Server::start(json(r#"{"status":"UP"}"#)).await;
    let slow: Vec<u8> = b"HTTP/1.1 200 OK\r\n".iter().chain(&[b'x'; 10_000]).copied().collect();
    let mut looks = Vec::new();
    for _ in 0..40 {
        let server = Server::start(Play::Drip(slow.clone(), Duration::from_millis(20))).await;
        let http = HttpTarget { timeout: DRIPS_FOR, ..target(server.url()) };
        let client = client.clone();
        looks.push(tokio::spawn(async move {
            probe::run(&client, &ProbeTarget::Http { http, expect: None, figures: Vec::new() })
                .await
        }));
    }
    let http = target(good.url());
    let found =
        probe::run(&client, &ProbeTarget::Http { http, expect: None, figures: Vec::new() }).await;
    check(&found, Status::Up, "");
    assert!(looks.iter().all(|look| !look.is_finished()), "it waited for one of them");
    for look in looks {
        check(&look.await.expect("a look never panics"), Status::Down, "no answer within 3s");
    }
}

#[tokio::test]
async fn redirects_stay_within_limits() {
    let place = |to: &str| answer(&format!("302 Found\r\nLocation: {to}"), b"");
    let server = Server::start(place("/again")).await;
    check(&look(target(server.url())).await, Status::Unknown, "HTTP 302");
    assert_eq!(server.asked.load(Ordering::SeqCst), 1, "off means not followed");

    let follow = |url| HttpTarget { follow_redirects: true, ..target(url) };
    check(&look(follow(server.url())).await, Status::Unknown, "more than 3 redirects");
    assert_eq!(server.asked.load(Ordering::SeqCst), 5, "the first request and 3 redirects");

    let other = Server::start(json(r#"{"status":"UP"}"#)).await;
    let server = Server::start(place(&format!("http://me:pw@{}/x?token=s", other.address))).await;
    let found = look(follow(server.url())).await;
    check(&found, Status::Unknown, "another origin");
    assert!(!found.message.display().contains("pw"), "{found:?}");
    assert_eq!(other.asked.load(Ordering::SeqCst), 0, "nobody else is asked");
}

#[tokio::test]
async fn a_good_redirect_is_followed_when_asked_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/health", listener.local_addr().expect("it is bound"));
    let serve = tokio::spawn(async move {
        let mut paths = Vec::new();
        let moved =
            "301 Moved\r\nLocation: /ready\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        let fine = "200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nOK";
        for rest in [moved, fine] {
            let (mut stream, _) = listener.accept().await.expect("a client comes");
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.expect("a whole request"));
            }
            let head = String::from_utf8_lossy(&head).into_owned();
            paths.push(head.split(' ').nth(1).unwrap_or_default().to_owned());
            let bytes = format!("HTTP/1.1 {rest}");
            stream.write_all(bytes.as_bytes()).await.expect("the client listens");
        }
        paths
    });
    check(&look(HttpTarget { follow_redirects: true, ..target(url) }).await, Status::Up, "");
    assert_eq!(serve.await.expect("the server ends well"), ["/health", "/ready"]);
}

#[tokio::test]
async fn hostile_text_reaches_nobody() {
    let hostile = [
        ("\u{1b}[2J\u{1b}]52;c;eA==\u{7}", "\\u001b[2J\\u001b]52;c;eA==\\u0007"),
        ("\u{9b}31m", "\\u009b31m"),
        ("\u{202e}\u{2066}\u{200b}", "\\u202e\\u2066\\u200b"),
        ("\u{e0041}\u{e0042}", "\\udb40\\udc41\\udb40\\udc42"),
        ("e\u{301}\u{301}\u{301}\u{301}\u{301}", "e\\u0301\\u0301\\u0301\\u0301\\u0301"),
    ];
    for (raw, escaped) in hostile {
        let failed = format!(r#"[{{"service":"{escaped}","status":"dead"}}]"#);
        let bodies = [
            format!(r#"{{"status":"{escaped}"}}"#),
            format!(r#"{{"status":"DOWN","components":{{"{escaped}":{{"status":"DOWN"}}}}}}"#),
            format!(r#"{{"status":"fail","output":"{escaped}"}}"#),
            format!(r#"{{"detail":{{"status":"x","failed_checks":{failed}}}}}"#),
        ];
        let plays = bodies.iter().map(|body| json(body)).chain([
            answer("200 OK", raw.as_bytes()),
            answer("500 Oops", format!("[-]{raw} failed").as_bytes()),
            answer("503 Oops", raw.as_bytes()),
        ]);
        for play in plays {
            let found = look_at(play).await;
            assert_ne!(found.status, Status::Up, "{found:?}");
            let shown = found.message.display();
            let harmful = |c: char| {
                c.is_control() || matches!(u32::from(c), 0x200b..=0x206f | 0xe0000..=0xe0fff)
            };
            assert!(!shown.contains(harmful), "{shown:?}");
            assert!(!shown.contains("\u{301}\u{301}\u{301}"), "{shown:?}");
        }
    }
}

#[tokio::test]
async fn nobody_there_is_down() {
    // A port that a test gave back may be another's by now; at this one nobody listens.
    let address = "127.0.0.1:1".to_owned();
    let found = look(target(format!("http://{address}/"))).await;
    check(&found, Status::Down, "connection refused");
    let tcp = ProbeTarget::Tcp { address, timeout: Duration::from_secs(1) };
    check(&probe::run(&client(), &tcp).await, Status::Down, "connection refused");
    check(&look_at(Play::Silent).await, Status::Down, "closed without an answer");
    check(&look_at(Play::Say(b"garbage\r\n\r\n".to_vec())).await, Status::Unknown, "");

    let there = Server::start(Play::Hang).await;
    let tcp = ProbeTarget::Tcp { address: there.address, timeout: Duration::from_secs(1) };
    check(&probe::run(&client(), &tcp).await, Status::Up, "");
}

#[tokio::test]
async fn an_answer_cut_off_is_not_an_answer() {
    let cut = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"status\":\"UP\"}".to_vec();
    check(&look_at(Play::Say(cut)).await, Status::Unknown, "cut off");
}

#[tokio::test]
async fn large_headers_are_refused() {
    let head = format!("200 OK\r\nX-Large: {}", "a".repeat(17 * 1024));
    check(&look_at(answer(&head, b"OK")).await, Status::Unknown, "headers are larger");
}

#[tokio::test]
async fn secrets_stay_secret() {
    let client = client();
    let server = Server::start(Play::Silent).await;
    let token = Some(Secret::Known("s3cr3t-token".to_owned()));
    let headers = BTreeMap::from([("X-Key".to_owned(), Secret::Known("s3cr3t-key".to_owned()))]);
    let url = format!("http://me:s3cr3t-pw@{}/x?key=s3cr3t-query", server.address);
    let http = HttpTarget { token, headers, ..target(url.clone()) };
    let failure =
        client.send(&http, Method::Get, &url, &[], None).await.expect_err("nobody answers");
    assert_eq!(failure.kind, FailureKind::Unreachable, "{failure:?}");
    let text = failure.text.display();
    assert!(text.contains(" (GET http://127.0.0.1:"), "{text}");
    assert!(!text.contains("s3cr3t"), "{text}");

    let missing = Secret::Missing("the environment variable TOKEN is not set".to_owned());
    let http = HttpTarget { token: Some(missing), ..target(server.url()) };
    let failure =
        client.send(&http, Method::Get, &http.url, &[], None).await.expect_err("it has no token");
    assert_eq!(failure.kind, FailureKind::Denied, "{failure:?}");
    assert!(failure.text.display().contains("TOKEN is not set"), "{failure:?}");

    let other = Server::start(json("{}")).await;
    let http = target(server.url());
    let failure = client.send(&http, Method::Put, &other.url(), &[], Some("{}".to_owned())).await;
    assert_eq!(failure.expect_err("another origin").kind, FailureKind::Denied);
    assert_eq!(other.asked.load(Ordering::SeqCst), 0, "a secret goes to its own origin only");
}

async fn serve_tls() -> String {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let file = |name: &str| fixtures().join("tls").join(name);
    let chain = CertificateDer::from_pem_file(file("server.pem")).expect("it is there");
    let key = PrivateKeyDer::from_pem_file(file("server.key")).expect("it is there");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .with_no_client_auth()
        .with_single_cert(vec![chain], key)
        .expect("key and certificate fit");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut head = Vec::new();
            while let Ok(byte) = stream.read_u8().await {
                head.push(byte);
                if head.ends_with(b"\r\n\r\n") {
                    break;
                }
            }
            let bytes = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nOK";
            // Whether the client still listens is its own affair.
            let _ = stream.write_all(bytes).await;
            let _ = stream.shutdown().await;
        }
    });
    format!("https://127.0.0.1:{port}/")
}

#[tokio::test]
async fn a_certificate_must_be_trusted_and_its_end_is_told() {
    let url = serve_tls().await;
    check(&look(target(url.clone())).await, Status::Down, "UnknownIssuer");

    let ca_file = Some(fixtures().join("tls/authority.pem"));
    let found = look(HttpTarget { ca_file, ..target(url.clone()) }).await;
    check(&found, Status::Up, "");
    let expires = found.certificate_expires.expect("HTTPS shows a certificate");
    assert_eq!(expires.to_rfc3339(), "2036-11-01T00:00:00+00:00");

    let ca_file = Some(fixtures().join("tls/nothing.pem"));
    check(&look(HttpTarget { ca_file, ..target(url) }).await, Status::Unknown, "nothing.pem");
}

/// How many connections three looks at one target take, of a server that would keep each.
async fn connections(close: bool) -> usize {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/", listener.local_addr().expect("it is bound"));
    let made = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&made);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                let mut line = String::new();
                while stream.read_line(&mut line).await.is_ok_and(|read| read > 0) {
                    if line == "\r\n" {
                        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK";
                        stream.write_all(answer).await.expect("the client reads");
                    }
                    line.clear();
                }
            });
        }
    });
    let client = client();
    let http = HttpTarget { close, ..target(url) };
    let look = ProbeTarget::Http { http, expect: None, figures: Vec::new() };
    for _ in 0..3 {
        check(&probe::run(&client, &look).await, Status::Up, "");
    }
    made.load(Ordering::Relaxed)
}

#[tokio::test]
async fn a_connection_is_kept_unless_it_is_to_close() {
    assert_eq!((connections(false).await, connections(true).await), (1, 3));
}

#[tokio::test]
async fn expect_judges_in_place_of_the_format() {
    let server = Server::start(json(r#"{"health_score":87}"#)).await;
    for (source, status, words) in [
        ("body.health_score >= 80 && latency_ms < 2000", Status::Up, ""),
        ("body.health_score >= 90", Status::Down, "expect is false: body.health_score >= 90"),
        ("body.score >= 90", Status::Unknown, "expect: no such key score"),
    ] {
        let expect = Some(Expect::compile(source).expect("it compiles"));
        let look = ProbeTarget::Http { http: target(server.url()), expect, figures: Vec::new() };
        check(&probe::run(&client(), &look).await, status, words);
    }
}

fn argv(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

async fn execute(words: &[&str], expect: Option<&str>) -> Observation {
    let expect = expect.map(|source| Expect::compile(source).expect("it compiles"));
    let timeout = Duration::from_secs(5);
    probe::run(&client(), &ProbeTarget::Command { argv: argv(words), timeout, expect }).await
}

#[tokio::test]
async fn a_command_says_it_by_its_exit_code() {
    check(&execute(&["true"], None).await, Status::Up, "");
    let words = ["sh", "-c", "echo one; printf 'replica \\033[31mlags\\n'; exit 2"];
    let found = execute(&words, None).await;
    check(&found, Status::Down, "exit code 2: replica ␛[31mlags");
    check(&execute(&["/nowhere/at-all"], None).await, Status::Unknown, "/nowhere/at-all");
    check(&execute(&[], None).await, Status::Unknown, "no program");
    check(&execute(&["sh", "-c", "kill -9 $$"], None).await, Status::Down, "signal");

    let lag = ["sh", "-c", r#"echo '{"lag":3}'; exit 1"#];
    check(&execute(&lag, Some("status == 1 && body.lag < 5")).await, Status::Up, "");
    check(&execute(&lag, Some("status == 0")).await, Status::Down, "expect is false");
    check(&execute(&["echo", "fine"], Some("body.contains('fine')")).await, Status::Up, "");
}

#[tokio::test]
async fn a_command_gets_nothing_it_need_not_have() {
    let limit = Duration::from_secs(5);
    let output = command::run(&argv(&["env"]), None, limit).await.expect("it runs");
    let text = String::from_utf8(output.stdout).expect("the environment is text");
    assert!(text.contains("PATH="), "{text}");
    assert!(!text.contains("CARGO_"), "{text}");

    let output = command::run(&argv(&["cat"]), Some("to be read"), limit).await.expect("it runs");
    assert_eq!(output.stdout, b"to be read");
    let output = command::run(&argv(&["cat"]), None, limit).await.expect("it runs");
    assert_eq!((output.code, output.stdout.len()), (Some(0), 0));
    // An argument is never a line for a shell.
    let output = command::run(&argv(&["echo", "; id $(id)"]), None, limit).await.expect("it runs");
    assert_eq!(output.stdout, b"; id $(id)\n");
}

#[tokio::test]
async fn a_command_is_bounded_in_size_and_killed_as_a_group() {
    let loud = argv(&["sh", "-c", "head -c 10000000 /dev/zero; echo x >&2"]);
    let output = command::run(&loud, None, Duration::from_secs(5)).await.expect("it runs");
    assert_eq!(output.stdout.len(), command::OUTPUT_BYTES_MAX);
    assert_eq!((output.code, output.truncated), (Some(0), true));

    let folder = tempfile::tempdir().expect("a folder of its own");
    let file = folder.path().join("pid");
    let script = format!("sleep 60 & echo $! > {}; wait", file.display());
    let started = Instant::now();
    let result = command::run(&argv(&["sh", "-c", &script]), None, Duration::from_secs(1)).await;
    assert_eq!(result.expect_err("it hangs").kind, FailureKind::Timeout);
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    expect_gone(&file).await;

    // What is left behind holds the pipe open, and is killed with its group.
    let script = format!("sleep 60 & echo $! > {}", file.display());
    let started = Instant::now();
    let result = command::run(&argv(&["sh", "-c", &script]), None, Duration::from_secs(10)).await;
    assert_eq!(result.expect("it ends").code, Some(0));
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    expect_gone(&file).await;
}

/// Waits until the process whose id stands in `file` has ended.
async fn expect_gone(file: &Path) {
    let id = std::fs::read_to_string(file).expect("the script wrote its child's id");
    let state = || std::fs::read_to_string(format!("/proc/{}/stat", id.trim()));
    let deadline = Instant::now() + Duration::from_secs(5);
    while state().is_ok_and(|stat| !stat.contains(") Z ")) {
        assert!(Instant::now() < deadline, "process {} still runs", id.trim());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_token_that_was_renewed_in_its_file_is_used_at_the_next_look() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("token");
    let server = Server::start(Play::Bearer("s3cr3t-2")).await;
    let http = HttpTarget { token: Some(Secret::File(path.clone())), ..target(server.url()) };
    let expect = Expect::compile("status == 200").expect("it compiles");
    let targets = [None, Some(expect)].map(|expect| ProbeTarget::Http {
        http: http.clone(),
        expect,
        figures: Vec::new(),
    });
    let denied = "denied: HTTP 401: look at the token";
    let looks = [
        (Some("s3cr3t-1\n"), Status::Unknown, denied),
        (Some("s3cr3t-2\n"), Status::Up, ""),
        (Some("s3cr3t-3\n"), Status::Unknown, denied),
        (None, Status::Unknown, "No such file"),
        (Some("s3cr3t-2"), Status::Up, ""),
    ];
    for (token, status, words) in looks {
        match token {
            Some(token) => std::fs::write(&path, token).expect("it can be written"),
            None => std::fs::remove_file(&path).expect("it is there"),
        }
        for target in &targets {
            let seen = probe::run(&client(), target).await;
            check(&seen, status, words);
            assert!(!format!("{seen:?}").contains("s3cr3t"), "{seen:?}");
        }
    }
    // Without a token of ours an answer is an answer; who wants a 401 gets it.
    let open = look(target(server.url())).await;
    check(&open, Status::Down, "401");
    let expect = Expect::compile("status == 401").ok();
    std::fs::write(&path, "s3cr3t-1").expect("it can be written");
    check(
        &probe::run(&client(), &ProbeTarget::Http { http, expect, figures: Vec::new() }).await,
        Status::Up,
        "",
    );
}
