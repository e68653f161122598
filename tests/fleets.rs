//! The five fleets of docs/fleets.md, each from its own files with its real servers: a healthy
//! start, the good release, the bad one, the emergency.
//!
//! Every time of a fleet's configuration is divided by [`SPEED`], down to 100 ms; latencies, their
//! limits, shares and counts are as they are documented.

#[path = "fleets/arzti3.rs"]
mod arzti3;
#[path = "fleets/conversormpp.rs"]
mod conversormpp;
#[path = "fleets/hotswap.rs"]
mod hotswap;
#[path = "fleets/mtm.rs"]
mod mtm;
#[path = "fleets/operations.rs"]
mod operations;
#[path = "support/product.rs"]
#[expect(dead_code, reason = "shared with tests that need more of it")]
mod product;
#[path = "support/servers.rs"]
#[expect(dead_code, reason = "shared with tests that need more of it")]
mod servers;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use product::{PROGRAM, Said, until};
use serde_json::{Value, json};

/// 15 minutes take 7.5 s, 30 s between two looks 250 ms.
const SPEED: &str = "120";

/// A database's first start beside everything else that is tested.
const START_PATIENCE: Duration = Duration::from_mins(2);

/// Most of a story is waiting: all that are asked for are played at once.
const STORIES: [(&str, fn()); 5] = [
    ("operations", operations::story),
    ("conversormpp", conversormpp::story),
    ("mtm", mtm::story),
    ("hotswap", hotswap::story),
    ("arzti3", arzti3::story),
];

fn play(name: &str) {
    static PLAYING: OnceLock<Mutex<BTreeMap<&str, JoinHandle<()>>>> = OnceLock::new();
    let playing = PLAYING.get_or_init(|| {
        // What a test prints is shown if that test fails; these threads belong to several.
        std::panic::set_hook(Box::new(|panic| drop(writeln!(std::io::stderr(), "{panic}"))));
        let filters: Vec<String> =
            std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
        let asked = |own: &&(&str, fn())| {
            filters.is_empty() || filters.iter().any(|filter| own.0.contains(filter.as_str()))
        };
        let start = |own: &(&'static str, fn())| (own.0, std::thread::spawn(own.1));
        Mutex::new(STORIES.iter().filter(asked).map(start).collect())
    });
    let own = playing.lock().expect("no thread panicked with it").remove(name);
    let story = || STORIES.iter().find(|story| story.0 == name).expect("a story").1;
    if let Err(panic) = own.unwrap_or_else(|| std::thread::spawn(story())).join() {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn operations_is_played() {
    play("operations");
}

#[test]
fn conversormpp_is_played() {
    play("conversormpp");
}

#[test]
fn mtm_is_played() {
    play("mtm");
}

#[test]
fn hotswap_is_played() {
    play("hotswap");
}

#[test]
fn arzti3_is_played() {
    play("arzti3");
}

/// A fleet that runs, and the words to its engine.
struct Fleet {
    demo: Child,
    told: Value,
}

impl Fleet {
    fn start(name: &str) -> Fleet {
        let words = ["demo", "--fleet", name, "--headless", "--speed", SPEED];
        let child = Command::new(PROGRAM)
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut fleet = Fleet { demo: child.expect("the program starts"), told: Value::Null };
        let mut line = String::new();
        let mut out = BufReader::new(fleet.demo.stdout.take().expect("it was asked for"));
        out.read_line(&mut line).expect("its output can be read");
        fleet.told = serde_json::from_str(&line).unwrap_or_else(|_| {
            let mut why = String::new();
            let errors = fleet.demo.stderr.as_mut().map(|errors| errors.read_to_string(&mut why));
            panic!("the fleet {name} does not start: {why} ({errors:?})")
        });
        fleet
    }

    fn command(&self, words: &[&str]) -> Command {
        let text = |key: &str| self.told[key].as_str().expect("a path").to_owned();
        let mut command = Command::new(PROGRAM);
        command.args(["--config", &text("config"), "--state-dir", &text("state")]);
        command.args(words).stdin(Stdio::null());
        command
    }

    fn run(&self, words: &[&str]) -> Said {
        Said::of(&self.command(words).output().expect("the program starts"))
    }

    /// A command that is followed in the background.
    fn follow(&self, words: &[&str]) -> Followed {
        let mut command = self.command(words);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        Followed(Some(child.expect("the program starts")))
    }

    fn status(&self) -> Value {
        let said = self.run(&["status", "--json"]);
        serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("{said:#?}"))
    }

    /// A part of `status --json` as a JSON pointer names it.
    fn at(&self, pointer: &str) -> Value {
        self.status().pointer(pointer).cloned().unwrap_or_default()
    }

    /// Polls until that part of `status --json` is as wanted.
    fn comes(&self, pointer: &str, wanted: &Value) {
        until(&format!("{pointer} is {wanted}"), || (self.at(pointer) == *wanted).then_some(()));
    }

    /// Every record of this kind, oldest first.
    fn records(&self, kind: &str) -> Vec<Value> {
        let said = self.run(&["journal", "export", "--json"]).ends(0, "");
        let entries = said.out.lines().map(|line| {
            let record: Value = serde_json::from_str(line).expect("a record is JSON");
            let body = record["body"].as_str().map(str::to_owned);
            body.map_or(record, |body| serde_json::from_str(&body).expect("an entry is JSON"))
        });
        entries.filter(|one| one["event"]["kind"] == kind).map(|one| one["event"].clone()).collect()
    }

    fn port(&self, name: &str) -> u16 {
        let port = self.told["ports"][name].as_u64().expect("the fleet names it");
        port.try_into().expect("a port")
    }

    /// Asks the stand-ins' control port.
    fn control(&self, method: &str, path: &str, body: &Value) -> Value {
        let text = ask(self.port("control"), method, path, &body.to_string());
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{path}: {text}"))
    }

    fn turn(&self, knobs: &Value) {
        self.control("PUT", "/knobs", knobs);
    }

    fn knob(&self, name: &str) -> Option<f64> {
        self.control("GET", "/knobs", &Value::Null)[name].as_f64()
    }

    /// What runs in this slot.
    fn runs(&self, slot: &str) -> Value {
        self.control("GET", "/slots", &Value::Null)[slot]["version"].clone()
    }

    /// Requests that users saw fail.
    fn failed(&self) -> u64 {
        let seen = self.control("GET", "/users", &Value::Null);
        seen["failed"].as_u64().expect("a count")
    }

    fn told(&self, channel: &str) -> Vec<Value> {
        let told = self.control("GET", &format!("/told/{channel}"), &Value::Null);
        told.as_array().expect("a list").clone()
    }

    /// Ends it by its input, as a shell's end would, and looks that nothing is left.
    fn ends(mut self) {
        self.run(&["journal", "verify"]).ends(0, "");
        let site = self.told["config"].as_str().expect("a path").replace("quarterdeck.toml", "");
        drop(self.demo.stdin.take());
        assert!(self.demo.wait().expect("it can be waited for").success());
        assert!(!std::path::Path::new(&site).exists(), "its files are gone");
        let left = processes_naming(&site);
        assert!(left.is_empty(), "{left:?}");
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        // Its end of the input ends it; a story that failed waits for that, too.
        drop(self.demo.stdin.take());
        let end = Instant::now() + START_PATIENCE;
        while matches!(self.demo.try_wait(), Ok(None)) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.demo.kill();
        let _ = self.demo.wait();
    }
}

/// A command that goes on.
struct Followed(Option<Child>);

impl Followed {
    fn ended(mut self) -> Said {
        let child = self.0.take().expect("it ends once");
        Said::of(&child.wait_with_output().expect("it ends"))
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            // Gone already is as good.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The command lines and folders of processes that have to do with `site`.
fn processes_naming(site: &str) -> Vec<String> {
    let all = std::fs::read_dir("/proc").expect("the list of processes");
    let naming = |entry: std::fs::DirEntry| {
        entry.file_name().to_str()?.parse::<u32>().ok()?;
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        let home = std::fs::read_link(entry.path().join("cwd")).unwrap_or_default();
        let own = line.contains(site) || home.starts_with(site.trim_end_matches('/'));
        own.then_some(line)
    };
    all.flatten().filter_map(naming).collect()
}

/// One request on loopback; the body of the answer.
fn ask(port: u16, method: &str, path: &str, body: &str) -> String {
    let text = exchange(port, method, path, body);
    text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()
}

/// The status line and the headers of an answer.
fn head(port: u16, path: &str) -> String {
    exchange(port, "GET", path, "").split("\r\n\r\n").next().unwrap_or_default().to_lowercase()
}

fn exchange(port: u16, method: &str, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("somebody listens");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a limit");
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + body).as_bytes()).expect("it takes a request");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("it answers");
    text
}
