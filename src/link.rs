//! The client's end of the engine's socket.
//!
//! Decides when an engine must be started: when nobody answers in the state directory. Never
//! invents a state: while the engine is gone, the last snapshot stays and is marked as such.
//! Contract: a thread of its own reads the socket and joins again after a loss; every call here
//! returns within its timeout.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use engine::command::{Reply, Submission};
use engine::snapshot::{Head, HostView, Incidents, JournalLine, ServiceView, Snapshot, SourceView};
use engine::types::{Failure, FailureKind, Untrusted};

use crate::io::socket;
use crate::io::wire::{self, BUILD, ToClient, ToEngine};

/// An engine that cannot be reached after this long is said to be missing.
const START_PATIENCE: Duration = Duration::from_secs(10);

/// The engine answers a submission before anything moves; the journal is not waited for.
const REPLY_PATIENCE: Duration = Duration::from_secs(5);

/// Between two tries to join again.
const REJOIN_PAUSE: Duration = Duration::from_millis(300);

#[derive(Clone, Debug)]
pub struct Options {
    pub state_dir: PathBuf,
    pub config: PathBuf,
    /// This client may look, not act.
    pub read_only: bool,
}

/// A handle on the connection; clones share it, each with its own place in [`Link::wait`].
#[derive(Clone)]
pub struct Link {
    shared: Arc<Shared>,
    seen: u64,
    read_only: bool,
}

/// Why [`Link::wait`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// The snapshot changed.
    Changed,
    TimedOut,
    /// The engine is gone; the last snapshot stays readable.
    Lost,
}

struct Shared {
    options: Options,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    snapshot: Option<Snapshot>,
    revision: u64,
    replies: Vec<Reply>,
    /// The writing half; `None` while the engine is gone.
    stream: Option<UnixStream>,
    closed: bool,
}

impl Link {
    /// Connects, starting an engine first when none runs in the state directory.
    pub fn connect(options: &Options) -> Result<Link, Failure> {
        let stream = join(options)?;
        let write = stream.try_clone().map_err(|error| lost(&error))?;
        let state = State { stream: Some(write), ..State::default() };
        let shared = Arc::new(Shared {
            options: options.clone(),
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        let reader = Arc::downgrade(&shared);
        std::thread::Builder::new()
            .name("link".to_owned())
            .spawn(move || {
                let mut stream = stream;
                loop {
                    read_all(stream, &reader);
                    let Some(shared) = reader.upgrade() else { return };
                    if shared.lose() {
                        return;
                    }
                    match rejoin(&shared) {
                        Some(fresh) => stream = fresh,
                        None => return,
                    }
                }
            })
            .map_err(|error| lost(&error))?;
        Ok(Link { shared, seen: 0, read_only: options.read_only })
    }

    /// The newest whole snapshot; `None` before the first.
    #[must_use]
    pub fn snapshot(&self) -> Option<Snapshot> {
        self.shared.lock().snapshot.clone()
    }

    /// True while the engine answers.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.shared.lock().stream.is_some()
    }

    /// Blocks until something changed, at most this long.
    pub fn wait(&mut self, timeout: Duration) -> Wake {
        let deadline = Instant::now() + timeout;
        let mut state = self.shared.lock();
        while state.revision == self.seen {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Wake::TimedOut;
            }
            state = self
                .shared
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        self.seen = state.revision;
        if state.stream.is_some() { Wake::Changed } else { Wake::Lost }
    }

    /// Tells an idle engine to end now instead of a little later.
    pub fn retire(&self) {
        if let Some(stream) = self.shared.lock().stream.as_mut() {
            // An engine that is gone already has done what was asked.
            let _ = stream.write_all(wire::encode(&ToEngine::Retire).as_bytes());
        }
    }

    /// Asks, and waits for the engine's immediate answer.
    pub fn submit(&mut self, submission: &Submission) -> Result<Reply, Failure> {
        let mut submission = submission.clone();
        submission.read_only |= self.read_only;
        let line = wire::encode(&ToEngine::Submit(Box::new(submission.clone())));
        let deadline = Instant::now() + REPLY_PATIENCE;
        let mut state = self.shared.lock();
        let Some(stream) = state.stream.as_mut() else {
            return Err(Failure::new(
                FailureKind::Unreachable,
                "the engine is gone: nothing was asked; it is being started again",
            ));
        };
        stream.write_all(line.as_bytes()).map_err(|error| lost(&error))?;
        loop {
            let found = state.replies.iter().position(|reply| match reply {
                Reply::Accepted { submission: id, .. } | Reply::Refused { submission: id, .. } => {
                    *id == submission.id
                }
            });
            if let Some(place) = found {
                return Ok(state.replies.remove(place));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || state.stream.is_none() {
                return Err(Failure::new(
                    FailureKind::Timeout,
                    "the engine did not answer: it may or may not have taken the command; asking \
                     again with the same id is safe",
                ));
            }
            state = self
                .shared
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // The reader holds no strong handle while it waits, so the last one is a clone of ours.
        if Arc::strong_count(&self.shared) == 1 {
            let mut state = self.shared.lock();
            state.closed = true;
            if let Some(stream) = state.stream.take() {
                let _ = stream.shutdown(std::net::Shutdown::Both);
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Marks the engine as gone; true when the client itself is closing.
    fn lose(&self) -> bool {
        let mut state = self.lock();
        state.stream = None;
        state.revision += 1;
        self.changed.notify_all();
        state.closed
    }
}

fn read_all(stream: UnixStream, shared: &std::sync::Weak<Shared>) {
    let mut building: Option<Snapshot> = None;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    loop {
        line.clear();
        match reader.read_line(&mut line) {
            Ok(1..) => {}
            Ok(0) | Err(_) => return,
        }
        let Ok(message) = serde_json::from_str::<ToClient>(&line) else { return };
        let Some(shared) = shared.upgrade() else { return };
        match message {
            // An idle older engine makes room for this client's own; a busy one goes on, and the
            // client with it.
            ToClient::Hello { build, .. } if older(&build, BUILD) => {
                if let Some(stream) = shared.lock().stream.as_mut() {
                    let _ = stream.write_all(wire::encode(&ToEngine::Retire).as_bytes());
                }
            }
            ToClient::Hello { .. } => {}
            ToClient::Section(section) => {
                building.get_or_insert_with(empty).apply(section);
            }
            ToClient::Whole => {
                let mut state = shared.lock();
                state.snapshot.clone_from(&building);
                state.revision += 1;
                shared.changed.notify_all();
            }
            ToClient::Reply(reply) => {
                shared.lock().replies.push(reply);
                shared.changed.notify_all();
            }
        }
    }
}

/// True when version `left` comes before version `right`.
fn older(left: &str, right: &str) -> bool {
    let numbers = |version: &str| -> Vec<u64> {
        version.split('.').map(|part| part.parse().unwrap_or_default()).collect()
    };
    numbers(left) < numbers(right)
}

/// A snapshot to fill: the first message carries all sections, so nothing empty is ever shown.
fn empty() -> Snapshot {
    let epoch = engine::types::Now {
        mono: engine::types::Time(0),
        wall: chrono::DateTime::<chrono::Utc>::UNIX_EPOCH,
    };
    Snapshot {
        head: Arc::new(Head {
            environment: engine::settings::Environment::default(),
            started: epoch,
            journal: engine::snapshot::JournalState::Writable,
            banners: Vec::new(),
            freezes: Vec::new(),
        }),
        services: Arc::new(Vec::<ServiceView>::new()),
        hosts: Arc::new(Vec::<HostView>::new()),
        incidents: Arc::new(Incidents::default()),
        journal: Arc::new(Vec::<JournalLine>::new()),
        sources: Arc::new(Vec::<SourceView>::new()),
    }
}

fn rejoin(shared: &Shared) -> Option<UnixStream> {
    loop {
        std::thread::sleep(REJOIN_PAUSE);
        if shared.lock().closed {
            return None;
        }
        if let Ok(stream) = join(&shared.options)
            && let Ok(write) = stream.try_clone()
        {
            let mut state = shared.lock();
            state.stream = Some(write);
            return Some(stream);
        }
    }
}

/// Connects to the engine of the state directory, starting one when nobody answers.
fn join(options: &Options) -> Result<UnixStream, Failure> {
    let path = options.state_dir.join(socket::NAME);
    let deadline = Instant::now() + START_PATIENCE;
    let mut started: Option<Child> = None;
    loop {
        match UnixStream::connect(&path) {
            Ok(mut stream) => {
                greet(&mut stream)?;
                return Ok(stream);
            }
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                return Err(Failure::new(
                    FailureKind::Denied,
                    format!("{}: {error}; the engine belongs to another user", path.display()),
                ));
            }
            Err(_) => {}
        }
        match started.as_mut() {
            None => started = Some(start(options)?),
            Some(child) => {
                if let Ok(Some(status)) = child.try_wait()
                    && !status.success()
                {
                    let why = last_words(&options.state_dir);
                    return Err(Failure::new(FailureKind::Refused, why));
                }
            }
        }
        if Instant::now() > deadline {
            return Err(Failure::new(
                FailureKind::Timeout,
                format!(
                    "no engine answers at {} after {} s; see {}",
                    path.display(),
                    START_PATIENCE.as_secs(),
                    options.state_dir.join(LOG).display()
                ),
            ));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// File name of the engine's log in the state directory.
pub const LOG: &str = "engine.log";

fn greet(stream: &mut UnixStream) -> Result<(), Failure> {
    let ssh = std::env::var("SSH_CONNECTION").ok().map(|ssh| Untrusted::new(&ssh));
    let hello = ToEngine::Hello { build: BUILD.to_owned(), ssh };
    stream.write_all(wire::encode(&hello).as_bytes()).map_err(|error| lost(&error))
}

/// Starts an engine that outlives this process: it makes a session of its own.
fn start(options: &Options) -> Result<Child, Failure> {
    crate::io::state::private_dir(&options.state_dir)
        .map_err(|why| Failure::new(FailureKind::Denied, why))?;
    let failed = |what: &str, error: &std::io::Error| {
        Failure::new(FailureKind::Unreachable, format!("{what}: {error}"))
    };
    let log_path = options.state_dir.join(LOG);
    let log = open_log(&log_path).map_err(|error| failed(&log_path.to_string_lossy(), &error))?;
    let program =
        std::env::current_exe().map_err(|error| failed("finding this program", &error))?;
    Command::new(&program)
        .arg("engine")
        .arg("--on-demand")
        .arg("--config")
        .arg(&options.config)
        .arg("--state-dir")
        .arg(&options.state_dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::from(log))
        .spawn()
        .map_err(|error| failed("starting the engine", &error))
}

fn open_log(path: &Path) -> std::io::Result<std::fs::File> {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

/// Why the engine ended, from the end of its log.
fn last_words(dir: &Path) -> String {
    let log = std::fs::read_to_string(dir.join(LOG)).unwrap_or_default();
    let end: Vec<&str> = log.lines().rev().take(20).collect();
    let start = end.iter().position(|line| line.starts_with("quarterdeck:")).unwrap_or(0);
    let lines: Vec<&str> = end.into_iter().take(start + 1).rev().collect();
    if lines.is_empty() {
        "the engine ended at once, without a word".to_owned()
    } else {
        lines.join("\n")
    }
}

fn lost(error: &std::io::Error) -> Failure {
    Failure::new(FailureKind::Unreachable, format!("the engine's socket: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_older_engine_is_asked_to_make_room() {
        assert!(older("0.1.0", "0.2.0"));
        assert!(older("0.9.0", "0.10.0"));
        assert!(!older("0.1.0", "0.1.0"));
        assert!(!older("1.0.0", "0.9.9"));
    }
}
