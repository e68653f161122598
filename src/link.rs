//! The client's end of the engine's socket.
//!
//! Decides when an engine must be started: when nobody answers in the state directory, or when the
//! one that does is idle and runs on another configuration or an older build. A busy one goes on,
//! the client with it, and [`Link::notice`] says so. Never invents a state: while the engine is
//! gone or silent, the last snapshot stays and is marked as such. Contract: a thread of its own
//! reads the socket and joins again after a loss; every call here returns within its timeout.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use engine::command::{Reply, Submission};
use engine::record::OperationResult;
use engine::snapshot::{OperationView, Phase, Snapshot};
use engine::types::{Failure, FailureKind, Fence, Percent, Untrusted};

use crate::io::socket;
use crate::io::wire::{self, BUILD, ToClient, ToEngine};

/// An engine that cannot be reached after this long is said to be missing.
const START_PATIENCE: Duration = Duration::from_secs(10);

/// The engine answers within 20 s whatever its journal does; two more for the way there and back on
/// a loaded machine.
pub const REPLY_PATIENCE: Duration = Duration::from_secs(22);

/// An idle engine ends within this; one that still answers is busy, and a command waits no longer.
const RETIRE_PATIENCE: Duration = Duration::from_secs(1);

/// Between two requests to a busy engine to end once it is idle.
const RETIRE_AGAIN: Duration = Duration::from_secs(5);

/// An engine says every 2 s that it is alive; three times as long it may be held up.
const SILENCE_MAX: Duration = Duration::from_secs(6);

/// Between two starts of an engine that found the directory taken.
const START_AGAIN: Duration = Duration::from_millis(200);

/// Between two tries to join again.
const REJOIN_PAUSE: Duration = Duration::from_millis(300);

#[derive(Clone, Debug)]
pub struct Options {
    pub state_dir: PathBuf,
    pub config: PathBuf,
    /// Of the file as this client read it; `None` goes along with whatever the engine runs on.
    pub config_hash: Option<String>,
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
    /// Called by the reading thread after each change.
    listener: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

#[derive(Default)]
struct State {
    snapshot: Option<Snapshot>,
    revision: u64,
    /// When the engine last said anything.
    heard: Option<Instant>,
    replies: Vec<Reply>,
    /// The writing half; `None` while the engine is gone.
    stream: Option<UnixStream>,
    closed: bool,
    /// Why this engine is not the one that this client would have started.
    foreign: Option<Foreign>,
    /// When a foreign engine may be asked again to end; `None` when this client does not ask.
    ask_again: Option<Instant>,
}

/// How an engine differs from the one that a client would start.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Foreign {
    Config,
    Older { build: String },
}

impl Foreign {
    fn of(build: &str, config_hash: &str, options: &Options) -> Option<Foreign> {
        if older(build, BUILD) {
            return Some(Foreign::Older { build: build.to_owned() });
        }
        let same = options.config_hash.as_ref().is_none_or(|own| own == config_hash);
        (!same).then_some(Foreign::Config)
    }

    fn notice(&self, busy: &[Fence]) -> Untrusted {
        let doing = if busy.is_empty() {
            String::new()
        } else {
            let fences: Vec<String> = busy.iter().map(|fence| format!("#{fence}")).collect();
            format!(" (it is busy with {})", fences.join(", "))
        };
        Untrusted::new(&match self {
            Foreign::Config => format!(
                "the running engine uses another configuration{doing}: this change takes effect \
                 when it ends"
            ),
            Foreign::Older { build } => format!(
                "the running engine is of the older build {build}{doing}: {BUILD} takes over when \
                 it ends"
            ),
        })
    }
}

/// A connection whose first message was read.
struct Joined {
    stream: BufReader<UnixStream>,
    foreign: Option<Foreign>,
}

impl Link {
    /// Connects, starting an engine first when none runs in the state directory.
    pub fn connect(options: &Options) -> Result<Link, Failure> {
        let Joined { stream, foreign } = settle(options)?;
        let write = stream.get_ref().try_clone().map_err(|error| lost(&error))?;
        let asks = foreign.is_some() && !options.read_only;
        let ask_again = asks.then(|| Instant::now() + RETIRE_AGAIN);
        let heard = Some(Instant::now());
        let state = State { stream: Some(write), foreign, heard, ask_again, ..State::default() };
        let shared = Arc::new(Shared {
            options: options.clone(),
            state: Mutex::new(state),
            changed: Condvar::new(),
            listener: OnceLock::new(),
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

    /// The newest whole snapshot, with the notice among its banners; `None` before the first.
    #[must_use]
    pub fn snapshot(&self) -> Option<Snapshot> {
        let state = self.shared.lock();
        let mut snapshot = state.snapshot.clone()?;
        if let Some(notice) = state.notice() {
            Arc::make_mut(&mut snapshot.head).banners.push(notice);
        }
        Some(snapshot)
    }

    /// True while the engine runs on another configuration than this client read, or is older.
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        self.shared.lock().foreign.is_some()
    }

    /// What is odd about the engine, and what it is busy with, as one sentence.
    #[must_use]
    pub fn notice(&self) -> Option<Untrusted> {
        self.shared.lock().notice()
    }

    /// True while the engine answers.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.shared.lock().stream.is_some()
    }

    /// How long the engine has said nothing, once that is longer than a living one is silent. An
    /// older one does not say that it is alive.
    #[must_use]
    pub fn silence(&self) -> Option<Duration> {
        let state = self.shared.lock();
        let speaks = !matches!(state.foreign, Some(Foreign::Older { .. }));
        let span = state.heard.filter(|_| speaks && state.stream.is_some())?.elapsed();
        (span > SILENCE_MAX).then_some(span)
    }

    /// This process was stopped itself: that nothing was heard meanwhile says nothing.
    pub fn listen_anew(&self) {
        self.shared.lock().heard = Some(Instant::now());
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

    /// Calls `listener` once for what came before, and after each change from now on, on the thread
    /// that reads: it must not block. The first listener of a connection is the only one.
    pub fn on_change(&self, listener: impl Fn() + Send + Sync + 'static) {
        self.shared.listener.get_or_init(|| Box::new(listener))();
    }

    /// Tells an idle engine to end now instead of a little later, and starts no other in its place.
    pub fn retire(&self) {
        let mut state = self.shared.lock();
        state.closed = true;
        if let Some(stream) = state.stream.as_mut() {
            // An engine that is gone already has done what was asked.
            let _ = stream.write_all(wire::encode(&ToEngine::Retire).as_bytes());
        }
    }

    /// Asks, and waits for the engine's answer as long as it promises one.
    pub fn submit(&mut self, submission: &Submission) -> Result<Reply, Failure> {
        self.submit_within(submission, REPLY_PATIENCE)
    }

    /// The same, at most this long.
    pub fn submit_within(
        &mut self,
        submission: &Submission,
        patience: Duration,
    ) -> Result<Reply, Failure> {
        let mut submission = submission.clone();
        submission.read_only |= self.read_only;
        let line = wire::encode(&ToEngine::Submit(Box::new(submission.clone())));
        let deadline = Instant::now() + patience;
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
                let engine = named(&self.shared.options.state_dir);
                let text = format!("{engine} did not answer: it may still be carried out");
                return Err(Failure::new(FailureKind::Timeout, text));
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

impl State {
    fn notice(&self) -> Option<Untrusted> {
        let busy = self.snapshot.as_ref().map(busy).unwrap_or_default();
        self.foreign.as_ref().map(|foreign| foreign.notice(&busy))
    }

    /// A foreign engine that was busy makes room as soon as it is idle.
    fn ask_again(&mut self, now: Instant) {
        let due = self.ask_again.is_some_and(|at| now >= at);
        let idle = self.snapshot.as_ref().is_some_and(|snapshot| busy(snapshot).is_empty());
        if due
            && idle
            && let Some(stream) = self.stream.as_mut()
        {
            // An engine that is gone already has done what was asked.
            let _ = stream.write_all(wire::encode(&ToEngine::Retire).as_bytes());
            self.ask_again = Some(now + RETIRE_AGAIN);
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
        let closed = state.closed;
        self.announce(state);
        closed
    }

    /// Wakes who waits, and tells who listens.
    fn announce(&self, state: MutexGuard<'_, State>) {
        self.changed.notify_all();
        drop(state);
        if let Some(listener) = self.listener.get() {
            listener();
        }
    }
}

fn read_all(mut reader: BufReader<UnixStream>, shared: &std::sync::Weak<Shared>) {
    let mut building: Option<Snapshot> = None;
    let mut changed = false;
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
            // Read before; a second one says nothing new.
            ToClient::Hello { .. } => {}
            ToClient::Section(section) => {
                if building.get_or_insert_with(Snapshot::empty).apply(section).is_err() {
                    return;
                }
                changed = true;
            }
            ToClient::Whole => {
                let mut state = shared.lock();
                let now = Instant::now();
                state.heard = Some(now);
                state.ask_again(now);
                if std::mem::take(&mut changed) {
                    state.snapshot.clone_from(&building);
                    state.revision += 1;
                    shared.announce(state);
                }
            }
            ToClient::Reply(reply) => {
                shared.lock().replies.push(reply);
                shared.changed.notify_all();
            }
        }
    }
}

/// The operations that keep an engine from ending: in flight, or a rollback that is tried on.
fn busy(snapshot: &Snapshot) -> Vec<Fence> {
    let keeps = |operation: &OperationView| match operation.phase {
        Phase::Accepted | Phase::Applying | Phase::Recording => true,
        Phase::Ended(OperationResult::Partial | OperationResult::Unknown) => {
            operation.to == Percent::ZERO
        }
        Phase::Ended(
            OperationResult::Verified | OperationResult::Superseded | OperationResult::Refused,
        ) => false,
    };
    let operations = snapshot.services.iter().filter_map(|service| service.operation.as_ref());
    operations.filter(|operation| keeps(operation)).map(|operation| operation.fence).collect()
}

/// True when version `left` comes before version `right`.
fn older(left: &str, right: &str) -> bool {
    let numbers = |version: &str| -> Vec<u64> {
        version.split('.').map(|part| part.parse().unwrap_or_default()).collect()
    };
    numbers(left) < numbers(right)
}

fn rejoin(shared: &Shared) -> Option<BufReader<UnixStream>> {
    loop {
        std::thread::sleep(REJOIN_PAUSE);
        if shared.lock().closed {
            return None;
        }
        if let Ok(Joined { stream, foreign }) = join(&shared.options)
            && let Ok(write) = stream.get_ref().try_clone()
        {
            let mut state = shared.lock();
            state.stream = Some(write);
            state.heard = Some(Instant::now());
            // A client that went along before goes along again: the file may be newer than what
            // it read. It asks no engine to end that others have just started, or two clients
            // with two files would never come to rest.
            state.foreign = foreign.filter(|_| state.foreign.is_some());
            state.ask_again = None;
            return Some(stream);
        }
    }
}

/// Joins an engine that runs on this client's configuration, if one can be had: a foreign one is
/// asked once to make room, and taken as it is when it does not.
fn settle(options: &Options) -> Result<Joined, Failure> {
    let first = join(options)?;
    if first.foreign.is_none() || options.read_only {
        return Ok(first);
    }
    retire(first.stream.into_inner());
    join(options)
}

/// Asks an engine to end, and waits a little for its end.
fn retire(mut stream: UnixStream) {
    let deadline = Instant::now() + RETIRE_PATIENCE;
    if stream.write_all(wire::encode(&ToEngine::Retire).as_bytes()).is_err() {
        return;
    }
    let mut sink = vec![0; 64 * 1024];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || stream.set_read_timeout(Some(left)).is_err() {
            return;
        }
        // What it shows meanwhile is shown again to the next connection.
        match stream.read(&mut sink) {
            Ok(1..) => {}
            Ok(0) | Err(_) => return,
        }
    }
}

/// Connects to the engine of the state directory, starting one when nobody answers.
fn join(options: &Options) -> Result<Joined, Failure> {
    let path = options.state_dir.join(socket::NAME);
    let deadline = Instant::now() + START_PATIENCE;
    let mut started: Option<Child> = None;
    loop {
        match UnixStream::connect(&path) {
            // One that ends just now says nothing more: the next takes its place.
            Ok(stream) => {
                if let Some(joined) = greet(stream, deadline, options)? {
                    return Ok(joined);
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                return Err(Failure::new(
                    FailureKind::Denied,
                    format!("{}: {error}; the engine belongs to another user", path.display()),
                ));
            }
            Err(_) => match started.as_mut() {
                None => started = Some(start(options)?),
                Some(child) => {
                    if let Ok(Some(status)) = child.try_wait() {
                        if !status.success() {
                            let why = last_words(&options.state_dir);
                            return Err(Failure::new(FailureKind::Refused, why));
                        }
                        // It found another engine in place, which may be gone by now.
                        started = None;
                        std::thread::sleep(START_AGAIN);
                    }
                }
            },
        }
        if Instant::now() > deadline {
            return Err(Failure::new(
                FailureKind::Timeout,
                format!(
                    "{} does not answer at {} after {} s; see {}",
                    named(&options.state_dir),
                    path.display(),
                    START_PATIENCE.as_secs(),
                    options.state_dir.join(LOG).display()
                ),
            ));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The engine, with its process where one listens: a stopped or hung one does so, too.
fn named(state_dir: &Path) -> String {
    let stream = UnixStream::connect(state_dir.join(socket::NAME));
    let peer = stream.ok().and_then(|stream| rustix::net::sockopt::socket_peercred(stream).ok());
    peer.map_or("the engine".to_owned(), |peer| {
        format!("the engine (pid {})", peer.pid.as_raw_nonzero())
    })
}

/// File name of the engine's log in the state directory.
pub const LOG: &str = "engine.log";
/// The one before is kept beside it. An engine says little, but one that cannot start says it again
/// to each client that asks.
const LOG_BYTES_MAX: u64 = 1024 * 1024;

/// Says who this is, and hears what the engine runs on; `None` when it ended instead.
fn greet(
    stream: UnixStream,
    deadline: Instant,
    options: &Options,
) -> Result<Option<Joined>, Failure> {
    let ssh = std::env::var("SSH_CONNECTION").ok().map(|ssh| Untrusted::new(&ssh));
    let hello = ToEngine::Hello { build: BUILD.to_owned(), ssh };
    let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    stream.set_read_timeout(Some(left)).map_err(|error| lost(&error))?;
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    if stream.get_mut().write_all(wire::encode(&hello).as_bytes()).is_err()
        || !matches!(stream.read_line(&mut line), Ok(1..))
    {
        return Ok(None);
    }
    let Ok(ToClient::Hello { build, config_hash, .. }) = serde_json::from_str(&line) else {
        return Err(Failure::new(
            FailureKind::Refused,
            "the running engine speaks another language: end it, and start this one again",
        ));
    };
    stream.get_ref().set_read_timeout(None).map_err(|error| lost(&error))?;
    Ok(Some(Joined { stream, foreign: Foreign::of(&build, &config_hash, options) }))
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
    if std::fs::metadata(path).is_ok_and(|log| log.len() > LOG_BYTES_MAX) {
        std::fs::rename(path, path.with_extension("log.1"))?;
    }
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
    fn a_log_that_is_long_begins_anew_beside_the_one_before() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join(LOG);
        let most = usize::try_from(LOG_BYTES_MAX).expect("it fits");
        for (before, kept) in [(10, false), (most + 1, true)] {
            std::fs::write(&path, "x".repeat(before)).expect("a log");
            open_log(&path).and_then(|mut log| log.write_all(b"new")).expect("a log to write to");
            let now = std::fs::read_to_string(&path).expect("the log");
            assert_eq!(now.len(), if kept { 3 } else { before + 3 });
            assert_eq!(dir.path().join("engine.log.1").exists(), kept);
        }
    }

    #[test]
    fn only_an_older_engine_is_asked_to_make_room() {
        assert!(older("0.1.0", "0.2.0"));
        assert!(older("0.9.0", "0.10.0"));
        assert!(!older("0.1.0", "0.1.0"));
        assert!(!older("1.0.0", "0.9.9"));
    }

    #[test]
    fn an_engine_is_foreign_by_its_build_or_its_configuration() {
        let check = |build: &str, hash: &str, own: Option<&str>, expected: Option<Foreign>| {
            let options = Options {
                state_dir: PathBuf::new(),
                config: PathBuf::new(),
                config_hash: own.map(str::to_owned),
                read_only: false,
            };
            assert_eq!(Foreign::of(build, hash, &options), expected, "{build} {hash} {own:?}");
        };
        let older = Some(Foreign::Older { build: "0.0.1".to_owned() });
        check(BUILD, "a", Some("a"), None);
        check(BUILD, "a", Some("b"), Some(Foreign::Config));
        check(BUILD, "", Some("b"), Some(Foreign::Config));
        check(BUILD, "a", None, None);
        check("0.0.1", "a", Some("a"), older.clone());
        check("0.0.1", "a", None, older);
        check("999.0.0", "a", Some("a"), None);
    }

    #[test]
    fn a_notice_names_what_the_engine_is_busy_with() {
        let check = |foreign: &Foreign, busy: &[u64], expected: &str| {
            let busy: Vec<Fence> = busy.iter().copied().map(Fence).collect();
            assert_eq!(foreign.notice(&busy).display(), expected);
        };
        check(
            &Foreign::Config,
            &[12],
            "the running engine uses another configuration (it is busy with #12): this change \
             takes effect when it ends",
        );
        check(
            &Foreign::Config,
            &[],
            "the running engine uses another configuration: this change takes effect when it ends",
        );
        let older = Foreign::Older { build: "0.0.1".to_owned() };
        let text = format!(
            "the running engine is of the older build 0.0.1 (it is busy with #3, #5): {BUILD} \
             takes over when it ends"
        );
        check(&older, &[3, 5], &text);
    }
}
