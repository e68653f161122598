//! The product's own program in a directory of its own, and servers that misbehave on demand.
//!
//! Every engine is ended by its process id, which it tells on its socket.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_quarterdeck");

/// Far above what anything here needs on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Polls until `look` gives something.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// What a command ended with.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Said {
    pub fn of(output: &Output) -> Said {
        Said {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Asserts the exit code and a part of what was printed.
    #[track_caller]
    pub fn ends(self, code: i32, part: &str) -> Said {
        let has = self.out.contains(part) || self.err.contains(part);
        assert!(self.code == code && has, "expected {code} and {part:?}: {self:#?}");
        self
    }
}

/// A configuration and a state directory, and the engine that may run there.
pub struct Deck {
    pub dir: tempfile::TempDir,
}

impl Drop for Deck {
    fn drop(&mut self) {
        if let Some(pid) = self.engine() {
            // Gone already is as good.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

impl Deck {
    pub fn new(config: &str) -> Deck {
        let deck = Deck { dir: tempfile::tempdir().expect("a temporary directory") };
        std::fs::write(deck.config(), config).expect("a config file");
        deck
    }

    pub fn config(&self) -> PathBuf {
        self.dir.path().join("config.toml")
    }

    pub fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.arg("--config").arg(self.config()).arg("--state-dir").arg(self.state());
        command.args(words).stdin(Stdio::null());
        command
    }

    pub fn run(&self, words: &[&str]) -> Said {
        Said::of(&self.command(words).output().expect("the program starts"))
    }

    /// The engine's process id, by its own word.
    pub fn engine(&self) -> Option<Pid> {
        let stream = UnixStream::connect(self.state().join("engine.sock")).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).ok()?;
        let hello: serde_json::Value = serde_json::from_str(&line).ok()?;
        Pid::from_raw(hello["hello"]["pid"].as_i64()?.try_into().ok()?)
    }

    /// Ends the engine that runs here, and waits until its process is gone: its socket goes first,
    /// and what it still writes after that is written.
    pub fn end_engine(&self, signal: Signal) {
        let pid = self.engine().expect("the engine runs");
        kill_process(pid, signal).expect("it is ours");
        let stat = format!("/proc/{}/stat", pid.as_raw_nonzero());
        until("the end of the engine", || {
            // One that nobody has waited for yet is a zombie.
            let stat = std::fs::read_to_string(&stat).unwrap_or_default();
            let state = stat.rsplit(") ").next().unwrap_or_default();
            (state.is_empty() || state.starts_with('Z')).then_some(())
        });
    }

    /// Starts the engine in the foreground, and waits until it answers.
    pub fn start_engine(&self) -> Engine {
        self.start_engine_by(self.command(&["engine"]))
    }

    pub fn start_engine_by(&self, mut command: Command) -> Engine {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the program starts");
        until("the engine", || {
            if child.try_wait().expect("a child can be asked").is_some() {
                let mut why = String::new();
                let errors = child.stderr.as_mut().map(|errors| errors.read_to_string(&mut why));
                panic!("the engine ended: {why} ({errors:?})");
            }
            self.engine()
        });
        Engine { child }
    }
}

/// An engine in the foreground.
pub struct Engine {
    pub child: Child,
}

impl Engine {
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program without a configuration of its own.
pub fn bare(words: &[&str]) -> Said {
    let home = tempfile::tempdir().expect("a temporary directory");
    let output = Command::new(PROGRAM)
        .args(words)
        .stdin(Stdio::null())
        .env("HOME", home.path())
        .env_remove("XDG_CONFIG_HOME")
        .env_remove("XDG_STATE_HOME")
        .env_remove("QUARTERDECK_CONFIG")
        .output();
    Said::of(&output.expect("the program starts"))
}

/// A backend, and a router's control endpoint, in this process.
#[derive(Clone)]
pub struct Fake {
    pub port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    name: String,
    split: Mutex<(u64, u64)>,
    delay_ms: AtomicU64,
    down: AtomicBool,
    puts: AtomicU64,
}

impl Fake {
    /// Serves until the test process ends.
    pub fn serve(name: &str) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("a bound port").port();
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            split: Mutex::new((100, 0)),
            delay_ms: AtomicU64::new(0),
            down: AtomicBool::new(false),
            puts: AtomicU64::new(0),
        });
        let own = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                // A client that goes away in the middle is its own matter.
                std::thread::spawn(move || answer(stream, &shared));
            }
        });
        Fake { port, shared: own }
    }

    /// Every answer takes this long from now on; those that wait are released by a shorter one.
    pub fn delay(&self, delay: Duration) {
        let millis = u64::try_from(delay.as_millis()).expect("a short delay");
        self.shared.delay_ms.store(millis, Ordering::SeqCst);
    }

    /// Connections are closed without a word.
    pub fn down(&self, down: bool) {
        self.shared.down.store(down, Ordering::SeqCst);
    }

    pub fn split(&self) -> (u64, u64) {
        *self.shared.split.lock().expect("no thread panicked")
    }

    /// Writes that arrived, answered or not.
    pub fn puts(&self) -> u64 {
        self.shared.puts.load(Ordering::SeqCst)
    }
}

fn answer(mut stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    if shared.down.load(Ordering::SeqCst) {
        return Ok(());
    }
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let put = first.starts_with("PUT");
    shared.puts.fetch_add(u64::from(put), Ordering::SeqCst);
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(shared.delay_ms.load(Ordering::SeqCst)) {
        std::thread::sleep(Duration::from_millis(2));
    }
    if put && let Ok(told) = serde_json::from_slice::<serde_json::Value>(&body) {
        let wanted = (told["stable"].as_u64(), told["canary"].as_u64());
        if let (Some(stable), Some(canary)) = wanted {
            *shared.split.lock().expect("no thread panicked") = (stable, canary);
        }
    }
    let (stable, canary) = *shared.split.lock().expect("no thread panicked");
    let text = format!("{{\"status\":\"ok\",\"stable\":{stable},\"canary\":{canary}}}");
    let head = format!(
        "HTTP/1.1 200 OK\r\nX-Server: {}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        shared.name,
        text.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(text.as_bytes())
}

/// Which backend answers behind `port`, by its header.
pub fn server_of(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let name = |line: &str| {
        let (key, value) = line.split_once(": ")?;
        key.eq_ignore_ascii_case("x-server").then(|| value.to_owned())
    };
    text.lines().find_map(name)
}
