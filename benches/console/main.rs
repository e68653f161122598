//! What the console and its engine cost on a terminal, beside the programs that somebody would
//! have open instead: `cargo bench --bench console`.
//!
//! Decides nothing: it prints tables, with the machine's name and how busy others kept it. Never
//! measures from inside: each program runs on a pseudo-terminal of the same size, and its whole
//! process tree is counted, our engine with it. Contract: a program that is not installed is said
//! to be missing. `QUARTERDECK_SECONDS` (20) is the length of a window, `QUARTERDECK_ROUNDS` (9)
//! the number of starts, `QUARTERDECK_KEYS` (60) that of keys, `QUARTERDECK_PROBES` (10000) the
//! largest number of probes; the medians are printed. `-- scale` prints the tables of many probes
//! and alerts alone.

#![expect(clippy::cast_precision_loss, reason = "what is counted here is far below 2^52")]

mod floor;
mod process;
mod scale;
mod targets;
mod terminal;

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use process::Usage;
use rustix::process::Signal;
use targets::Targets;
use terminal::Session;

const PROGRAM: &str = env!("CARGO_BIN_EXE_quarterdeck");
const SIZES: [(u16, u16); 2] = [(80, 24), (200, 60)];
/// Before a window: what only happens at a start is over.
const SETTLE: Duration = Duration::from_secs(6);
/// Ages are told in minutes from here on.
const QUIET_AFTER: Duration = Duration::from_secs(70);
/// Between two keys: longer than the answer to the one before.
const BETWEEN_KEYS: Duration = Duration::from_millis(230);
/// A console that answers later than this missed the key.
const KEY_PATIENCE: Duration = Duration::from_secs(2);

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// A program, and the key whose answer is timed.
struct Peer {
    name: &'static str,
    words: Vec<String>,
    /// Opens and closes the help; `help` is text that only the help has.
    keys: [&'static [u8]; 2],
    help: &'static str,
    package: &'static str,
}

fn peers() -> Vec<Peer> {
    let peer = |name, command: &str, keys, help, package| Peer {
        name,
        words: command.split(' ').map(str::to_owned).collect(),
        keys,
        help,
        package,
    };
    let own = std::env::current_exe().expect("this program").display().to_string();
    let floor = format!("{own} {}", floor::WORD);
    vec![
        // Bare ratatui, as the libraries alone would have it.
        peer("floor", &floor, [b"?" as &[u8], b"?"], floor::HELP, "this program"),
        peer("bottom", "btm --rate 1s", [b"?" as &[u8], b"?"], "General", "cargo install bottom"),
        peer("btop", "btop --utf-force", [b"h" as &[u8], b"h"], "Description:", "apt install btop"),
        peer("htop", "htop -d 10", [b"h" as &[u8], b"q"], "released under", "apt install htop"),
        peer("glances", "glances -t 1", [b"h" as &[u8], b"h"], "SORT PROC", "apt install glances"),
    ]
}

/// The console, on three services with ten probes and this host, and the engine that it shows.
struct Deck {
    dir: tempfile::TempDir,
    engine: Option<Child>,
}

impl Drop for Deck {
    fn drop(&mut self) {
        self.end_engine();
    }
}

impl Deck {
    fn new(config: &str) -> Deck {
        let deck = Deck { dir: tempfile::tempdir().expect("a directory"), engine: None };
        std::fs::write(deck.dir.path().join("config.toml"), config).expect("a configuration");
        deck
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn words(&self) -> Vec<String> {
        let of = |name: &str| self.dir.path().join(name).display().to_string();
        let (config, state) = (of("config.toml"), of("state"));
        [PROGRAM, "--config", &config, "--state-dir", &state].map(str::to_owned).to_vec()
    }

    /// Starts the engine, and waits until it listens.
    fn start_engine(&mut self) -> i32 {
        let mut command = Command::new(PROGRAM);
        command.args(&self.words()[1..]).arg("engine").stdin(Stdio::null());
        let engine = command.stderr(Stdio::null()).spawn().expect("the engine starts");
        let pid = i32::try_from(engine.id()).expect("a number");
        self.engine = Some(engine);
        let socket = self.dir.path().join("state/engine.sock");
        let end = Instant::now() + KEY_PATIENCE * 10;
        while std::os::unix::net::UnixStream::connect(&socket).is_err() {
            assert!(Instant::now() < end, "the engine does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
        pid
    }

    fn end_engine(&mut self) {
        if let Some(mut engine) = self.engine.take() {
            // It fails only when it is gone already.
            let _ = engine.kill();
            let _ = engine.wait();
        }
    }
}

/// Ten probes of three services every five seconds; this machine each second.
fn config(targets: &Targets) -> String {
    let host = "[[host]]\nname = \"here\"\nlocal = true\ninterval = \"1s\"\n";
    services(targets, "5s") + host
}

/// The same services asked so seldom that nothing changes but the clock.
fn quiet(targets: &Targets) -> String {
    services(targets, "10m")
}

fn services(targets: &Targets, interval: &str) -> String {
    let mut text = "[environment]\nname = \"bench\"\n".to_owned();
    let mut addresses = targets.addresses.iter();
    for (service, probes) in [("checkout", 4), ("search", 3), ("billing", 3)] {
        let _ = writeln!(text, "[[service]]\nname = \"{service}\"");
        for (place, address) in addresses.by_ref().take(probes).enumerate() {
            let _ = writeln!(
                text,
                "[[service.probe]]\nname = \"p{place}\"\nhttp = \"http://{address}/health\"\n\
                 interval = \"{interval}\""
            );
        }
    }
    text
}

/// The figures of one program at one size.
#[derive(Default)]
struct Row {
    name: String,
    paint: Option<Duration>,
    cpu: f64,
    bytes: f64,
    wakes: f64,
    resident_mb: f64,
    proportional_mb: f64,
    key: Option<(Duration, Duration)>,
    others: f64,
}

fn median(times: &mut [Duration]) -> Option<Duration> {
    times.sort();
    times.get(times.len() / 2).copied()
}

fn percentile(sorted: &[Duration], percent: usize) -> Option<Duration> {
    sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1))).copied()
}

/// One window of a settled program; `engine` is counted with it.
fn steady(row: &mut Row, session: &Session, engine: Option<i32>, window: Duration) {
    let pids = || {
        let mut all = process::tree(session.pid());
        all.extend(engine);
        all
    };
    let look = || (Instant::now(), Usage::of(&pids()), session.bytes(), process::busy());
    let (begin, before, bytes, busy) = look();
    std::thread::sleep(window);
    let (end, after, more, busier) = look();
    let seconds = end.duration_since(begin).as_secs_f64();
    let cpu = after.cpu.saturating_sub(before.cpu).as_secs_f64();
    row.cpu = cpu / seconds * 100.0;
    row.wakes = (after.wakes - before.wakes) as f64 / seconds;
    row.bytes = (more - bytes) as f64 / seconds;
    row.resident_mb = after.resident_kb as f64 / 1024.0;
    row.proportional_mb = after.proportional_kb as f64 / 1024.0;
    row.others = (busier.saturating_sub(busy).as_secs_f64() - cpu).max(0.0) / seconds * 100.0;
}

/// From the key to the first bytes after which the help is there, or gone: p50 and p99.
fn key_to_paint(
    session: &mut Session,
    keys: [&[u8]; 2],
    help: &str,
    count: u64,
) -> Option<(Duration, Duration)> {
    let mut asked = Vec::new();
    for place in 0..count {
        let open = place % 2 == 0;
        asked.push((session.write(keys[usize::from(!open)]), open));
        std::thread::sleep(BETWEEN_KEYS);
    }
    let mut screen = session.screen();
    let mut chunks = session.chunks().into_iter().peekable();
    let mut times = Vec::new();
    for (at, open) in asked {
        while let Some((_, bytes)) = chunks.next_if(|(when, _)| *when < at) {
            screen.feed(&bytes);
        }
        while let Some((when, bytes)) = chunks.next_if(|(when, _)| *when < at + KEY_PATIENCE) {
            screen.feed(&bytes);
            if screen.text().contains(help) == open {
                times.push(when.duration_since(at));
                break;
            }
        }
    }
    // A key that was missed must not be left out of the percentiles in silence.
    if times.len() as u64 != count {
        return None;
    }
    times.sort();
    Some((percentile(&times, 50)?, percentile(&times, 99)?))
}

fn measure(
    name: &str,
    words: &[String],
    engine: Option<i32>,
    (keys, help): ([&[u8]; 2], &str),
    size: (u16, u16),
) -> Row {
    let mut row = Row { name: name.to_owned(), ..Row::default() };
    let mut paints = Vec::new();
    for _ in 0..setting("QUARTERDECK_ROUNDS", 9) {
        paints.extend(Session::start(words, size).full_paint());
    }
    row.paint = median(&mut paints);
    let mut session = Session::start(words, size);
    std::thread::sleep(SETTLE);
    steady(&mut row, &session, engine, Duration::from_secs(setting("QUARTERDECK_SECONDS", 20)));
    row.key = key_to_paint(&mut session, keys, help, setting("QUARTERDECK_KEYS", 60));
    row
}

fn ms(time: Option<Duration>) -> String {
    time.map_or_else(|| "-".to_owned(), |time| format!("{:.1}", time.as_secs_f64() * 1e3))
}

fn print(rows: &[Row]) {
    println!(
        "{:<22} {:>9} {:>7} {:>8} {:>8} {:>7} {:>7} {:>13} {:>8}",
        "",
        "paint ms",
        "CPU %",
        "bytes/s",
        "wakes/s",
        "RSS MB",
        "PSS MB",
        "key p50·p99",
        "others %"
    );
    for row in rows {
        let (p50, p99) = row.key.unzip();
        println!(
            "{:<22} {:>9} {:>7.2} {:>8.0} {:>8.1} {:>7.1} {:>7.1} {:>13} {:>8.1}",
            row.name,
            ms(row.paint),
            row.cpu,
            row.bytes,
            row.wakes,
            row.resident_mb,
            row.proportional_mb,
            format!("{} · {}", ms(p50), ms(p99)),
            row.others
        );
    }
}

/// From the start of a console that must start its engine first: in a new state directory, whose
/// journal has to be made, and in the same one again.
fn cold_start(targets: &Targets, size: (u16, u16)) -> [Option<Duration>; 2] {
    let mut paints = [Vec::new(), Vec::new()];
    for _ in 0..setting("QUARTERDECK_ROUNDS", 9) {
        let deck = Deck::new(&config(targets));
        for paints in &mut paints {
            let session = Session::start(&deck.words(), size);
            paints.extend(session.full_paint());
            drop(session);
            end_engines_in(deck.path());
        }
    }
    paints.map(|mut paints| median(&mut paints))
}

/// Engines that a console started outlive it.
fn end_engines_in(dir: &Path) {
    let name = dir.display().to_string();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok) {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let pid = entry.file_name().to_str().and_then(|text| text.parse().ok());
        if String::from_utf8_lossy(&line).contains(&name)
            && let Some(pid) = pid.and_then(rustix::process::Pid::from_raw)
        {
            // It fails only when it is gone already.
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
    }
}

/// A console on which nothing changes, once every age is told in minutes.
fn idle(targets: &Targets) {
    let mut deck = Deck::new(&quiet(targets));
    let engine = deck.start_engine();
    let session = Session::start(&deck.words(), SIZES[0]);
    std::thread::sleep(QUIET_AFTER);
    let mut row = Row { name: "nothing changes".to_owned(), ..Row::default() };
    let window = Duration::from_secs(setting("QUARTERDECK_SECONDS", 20));
    steady(&mut row, &session, Some(engine), window);
    println!();
    print(&[row]);
}

fn leaving(name: &str, words: &[String]) {
    let signals = [("SIGTERM", Signal::TERM), ("SIGHUP", Signal::HUP), ("SIGINT", Signal::INT)];
    let mut line = format!("{name:<22}");
    for (title, signal) in signals {
        let session = Session::start(words, SIZES[0]);
        session.full_paint();
        let left = session.leave(signal);
        let kept = if left.kept.is_empty() {
            String::new()
        } else {
            format!(", leaves {}", left.kept.join(" and "))
        };
        let _ = write!(line, "  {title} {}{kept}", gone(left.after));
    }
    let session = Session::start(words, SIZES[0]);
    session.full_paint();
    let _ = write!(line, "  hang-up {}", gone(session.hang_up()));
    println!("{line}");
}

fn gone(after: Option<Duration>) -> String {
    after.map_or_else(|| "stays".to_owned(), |at| ms(Some(at)) + " ms")
}

fn main() {
    // A bare client of the scale tables is this program again.
    if scale::is_client() {
        return scale::client();
    }
    if std::env::args().any(|word| word == floor::WORD) {
        return floor::run().expect("a terminal");
    }
    println!("machine: {}", process::machine());
    if std::env::args().any(|word| word == "scale") {
        return scale::run();
    }
    let installed = |peer: &Peer| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|dir| dir.join(&peer.words[0]).exists())
    };
    let (peers, missing): (Vec<Peer>, Vec<Peer>) = peers().into_iter().partition(installed);
    for peer in &missing {
        println!("{} is not installed: {}", peer.name, peer.package);
    }
    let targets = Targets::serve(10);
    let own: ([&[u8]; 2], &str) = ([b"?", b"?"], " keys ");
    for size in SIZES {
        println!("\n{} × {}, one refresh a second", size.0, size.1);
        let mut deck = Deck::new(&config(&targets));
        let engine = deck.start_engine();
        let mut rows = vec![measure("quarterdeck", &deck.words(), Some(engine), own, size)];
        drop(deck);
        for peer in &peers {
            rows.push(measure(peer.name, &peer.words, None, (peer.keys, peer.help), size));
        }
        print(&rows);
        let [first, again] = cold_start(&targets, size).map(ms);
        println!("with the engine's start: {again} ms, {first} ms in a new state directory");
    }
    idle(&targets);
    println!("\nleaving");
    let mut deck = Deck::new(&config(&targets));
    deck.start_engine();
    leaving("quarterdeck", &deck.words());
    drop(deck);
    for peer in peers.iter().filter(|peer| peer.help != floor::HELP) {
        leaving(peer.name, &peer.words);
    }
    scale::run();
}
