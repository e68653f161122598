//! What many probes and many alerts cost, beside a bare HTTP client that asks the same.
//!
//! Each size runs the same servers first under a client that only asks and drops the answer, then
//! under an engine with a console open on it: requests a second, CPU, and how late each request
//! came are counted at the servers.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::process::Usage;
use crate::targets::{Alerts, Targets};
use crate::terminal::Session;
use crate::{Deck, key_to_paint, ms, setting};

const SIZES: [usize; 4] = [10, 100, 1_000, 10_000];
const INTERVAL: Duration = Duration::from_secs(10);
/// One list of the configuration holds 500 entries.
const PROBES_PER_SERVICE: usize = 20;
/// Connections are made and first answers are in.
const SETTLE: Duration = Duration::from_secs(15);
/// Names the file of addresses; this program is the bare client then.
const CLIENT: &str = "QUARTERDECK_BENCH_CLIENT";

pub fn is_client() -> bool {
    std::env::var_os(CLIENT).is_some()
}

/// Asks each address each interval, evenly spread, with kept connections; ends when killed.
pub fn client() {
    let list = std::env::var(CLIENT).expect("the file of addresses");
    let list = std::fs::read_to_string(list).expect("addresses");
    let addresses: Vec<SocketAddr> = list.lines().flat_map(str::parse).collect();
    // Already there is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let local = tokio::task::LocalSet::new();
    let count = u32::try_from(addresses.len()).expect("few enough");
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    for (place, address) in (0..count).zip(addresses) {
        let client = client.clone();
        local.spawn_local(async move {
            let first = tokio::time::Instant::now() + INTERVAL * place / count;
            let mut due = tokio::time::interval_at(first, INTERVAL);
            loop {
                due.tick().await;
                let answer = client.get(format!("http://{address}/health")).send().await;
                let _ = answer.expect("the server answers").bytes().await;
            }
        });
    }
    runtime.expect("a runtime").block_on(local);
}

/// What the servers and `/proc` say of one window.
struct Cost {
    cpu: f64,
    per_probe: Duration,
    resident_mb: f64,
    wakes: f64,
    /// The longest that a request came after its interval, as a share of the interval.
    late: f64,
}

fn cost(pids: &[i32], targets: &Targets, window: Duration) -> Cost {
    targets.take();
    let (begin, before) = (Instant::now(), Usage::of(pids));
    std::thread::sleep(window);
    let (end, after) = (Instant::now(), Usage::of(pids));
    let asked = targets.take();
    let seconds = end.duration_since(begin).as_secs_f64();
    let cpu = after.cpu.saturating_sub(before.cpu);
    let mut last = vec![None; targets.addresses.len()];
    let mut late = Duration::ZERO;
    for (place, at) in &asked {
        if let Some(before) = last[*place].replace(*at) {
            late = late.max(at.saturating_duration_since(before).saturating_sub(INTERVAL));
        }
    }
    Cost {
        cpu: cpu.as_secs_f64() / seconds * 100.0,
        per_probe: cpu / u32::try_from(asked.len().max(1)).expect("few enough"),
        resident_mb: after.resident_kb as f64 / 1024.0,
        wakes: (after.wakes - before.wakes) as f64 / seconds,
        late: late.as_secs_f64() / INTERVAL.as_secs_f64() * 100.0,
    }
}

fn bare(targets: &Targets, window: Duration) -> Cost {
    let dir = tempfile::tempdir().expect("a directory");
    let list = dir.path().join("addresses");
    let addresses: Vec<String> = targets.addresses.iter().map(SocketAddr::to_string).collect();
    std::fs::write(&list, addresses.join("\n")).expect("a list");
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    let mut child = command.env(CLIENT, &list).stdin(Stdio::null()).spawn().expect("it starts");
    std::thread::sleep(SETTLE);
    let cost = cost(&[i32::try_from(child.id()).expect("a number")], targets, window);
    // It fails only when it is gone already.
    let _ = child.kill();
    let _ = child.wait();
    cost
}

fn config(targets: &Targets, alerts: Option<&Alerts>) -> String {
    let mut text = "[environment]\nname = \"bench\"\n".to_owned();
    if let Some(alerts) = alerts {
        let _ = writeln!(
            text,
            "[[feed]]\nname = \"alerts\"\ninterval = \"{}s\"\njson = {{ url = \"{}\" }}",
            alerts.interval.as_secs(),
            alerts.url
        );
    }
    for (service, addresses) in targets.addresses.chunks(PROBES_PER_SERVICE).enumerate() {
        let _ = writeln!(text, "[[service]]\nname = \"s{service}\"");
        for (place, address) in addresses.iter().enumerate() {
            let _ = writeln!(
                text,
                "[[service.probe]]\nname = \"p{place}\"\nhttp = \"http://{address}/health\"\n\
                 interval = \"10s\""
            );
        }
    }
    text
}

/// An engine and a console on it; keys are timed after the window.
fn own(targets: &Targets, alerts: Option<&Alerts>, window: Duration) -> (Cost, String) {
    let mut deck = Deck::new(&config(targets, alerts));
    let engine = deck.start_engine();
    let mut session = Session::start(&deck.words(), (80, 24));
    std::thread::sleep(SETTLE);
    let cost = cost(&[engine, session.pid()], targets, window);
    let keys = setting("QUARTERDECK_KEYS", 60);
    let times = key_to_paint(&mut session, [b"?", b"?"], " keys ", keys);
    let (p50, p99) = times.unzip();
    (cost, format!("{} · {}", ms(p50), ms(p99)))
}

fn line(name: &str, cost: &Cost, keys: &str, ratio: Option<f64>) {
    let ratio = ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"));
    println!(
        "{name:<34} {:>7.2} {:>10.1} {:>7.1} {:>8.1} {:>7.2} {keys:>13} {ratio:>6}",
        cost.cpu,
        cost.per_probe.as_secs_f64() * 1e6,
        cost.resident_mb,
        cost.wakes,
        cost.late
    );
}

pub fn run() {
    let window = Duration::from_secs(setting("QUARTERDECK_SECONDS", 20)).max(INTERVAL * 2);
    println!(
        "\n{:<34} {:>7} {:>10} {:>7} {:>8} {:>7} {:>13} {:>6}",
        "probes every 10 s",
        "CPU %",
        "us/probe",
        "RSS MB",
        "wakes/s",
        "late %",
        "key p50·p99",
        "ratio"
    );
    let largest = setting("QUARTERDECK_PROBES", 10_000);
    for size in SIZES.into_iter().filter(|size| *size as u64 <= largest) {
        let targets = Targets::serve(size);
        let bare = bare(&targets, window);
        line(&format!("{size} by a bare client"), &bare, "", None);
        let (own, keys) = own(&targets, None, window);
        let ratio = own.per_probe.as_secs_f64() / bare.per_probe.as_secs_f64();
        line(&format!("{size}"), &own, &keys, Some(ratio));
    }
    for (probes, alerts, changes) in [(1_000, 10_000, 0), (10, 100_000, 10_000)] {
        if probes as u64 > largest {
            continue;
        }
        let targets = Targets::serve(probes);
        let feed = Alerts::serve(alerts, changes);
        let (own, keys) = own(&targets, Some(&feed), window);
        let name = format!("{probes}, {alerts} alerts, {changes} changes/s");
        line(&name, &own, &keys, None);
    }
}
