//! A sandbox leaves nothing behind: not its directory, and not its engine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Far above what a start takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A sandbox without a terminal; ended by its number, and its engine with it.
struct Headless {
    child: Child,
    base: PathBuf,
}

impl Headless {
    fn start(base: &Path) -> Headless {
        let words = ["demo", "--scenario", "good-canary", "--headless", "--for", "60s"];
        Headless::start_as(base, &words, Stdio::null())
    }

    fn start_as(base: &Path, words: &[&str], out: Stdio) -> Headless {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quarterdeck"));
        command.args(words);
        for name in ["HOME", "XDG_RUNTIME_DIR", "XDG_STATE_HOME", "TMPDIR"] {
            command.env(name, base);
        }
        let child = command.stdin(Stdio::null()).stdout(out).spawn();
        let sandbox = Headless { child: child.expect("the program starts"), base: base.to_owned() };
        until("an engine in the sandbox", || engines(&sandbox.dir()).len() == 1);
        sandbox
    }

    fn dir(&self) -> PathBuf {
        self.base.join(format!("quarterdeck-demo-{}", self.child.id()))
    }

    fn signal(&mut self, signal: Signal) -> Option<i32> {
        kill_process(Pid::from_child(&self.child), signal).expect("the process is there");
        self.child.wait().expect("a child can be waited for").code()
    }
}

impl Drop for Headless {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
        for engine in engines(&self.dir()) {
            let _ = kill_process(engine, Signal::KILL);
        }
    }
}

/// The engines that name this directory on their command line.
fn engines(dir: &Path) -> Vec<Pid> {
    let name = format!("{}/", dir.display());
    let all = fs::read_dir("/proc").expect("the list of processes");
    let own = |entry: fs::DirEntry| {
        let pid = entry.file_name().to_str()?.parse().ok().and_then(Pid::from_raw)?;
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        String::from_utf8_lossy(&line).contains(&name).then_some(pid)
    };
    all.filter_map(Result::ok).filter_map(own).collect()
}

fn until(what: &str, look: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !look() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_signal_leaves_nothing_behind() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130), (Signal::HUP, 129)] {
        let base = tempfile::tempdir().expect("a directory");
        let mut sandbox = Headless::start(base.path());
        assert_eq!(sandbox.signal(signal), Some(code));
        assert!(!sandbox.dir().exists(), "{signal:?} leaves its directory");
        until("the engine gone", || engines(&sandbox.dir()).is_empty());
    }
}

#[test]
fn the_sandbox_is_told_line_by_line_and_leaves_nothing_behind() {
    let base = tempfile::tempdir().expect("a directory");
    let told = base.path().join("told");
    let out = fs::File::create(&told).expect("a file");
    let mut sandbox = Headless::start_as(base.path(), &["demo", "--plain"], out.into());
    until("a service is told", || {
        fs::read_to_string(&told).is_ok_and(|text| text.contains("checkout"))
    });
    assert_eq!(sandbox.signal(Signal::TERM), Some(143));
    assert!(!sandbox.dir().exists(), "it leaves its directory");
    until("the engine gone", || engines(&sandbox.dir()).is_empty());
}

#[test]
fn a_start_clears_up_after_a_killed_one_and_spares_the_living() {
    let base = tempfile::tempdir().expect("a directory");
    let living = Headless::start(base.path());
    let mut killed = Headless::start(base.path());
    assert_eq!(killed.signal(Signal::KILL), None);
    // As an older version left them: without a lock; and what is not ours to remove.
    let old = base.path().join("quarterdeck-demo-2147483647");
    fs::create_dir_all(old.join("state")).expect("a directory");
    let other = base.path().join("quarterdeck-demo-notes");
    fs::create_dir(&other).expect("a directory");
    let target = base.path().join("target");
    fs::create_dir(&target).expect("a directory");
    let link = base.path().join("quarterdeck-demo-2147483646");
    std::os::unix::fs::symlink(&target, &link).expect("a link");
    let next = Headless::start(base.path());
    assert!(!killed.dir().exists() && !old.exists(), "the dead are cleared");
    until("the engine of the killed one gone", || engines(&killed.dir()).is_empty());
    assert!(living.dir().exists() && next.dir().exists(), "the living are spared");
    assert!(other.exists() && link.exists() && target.exists(), "others are spared");
    until("one engine of the living", || engines(&living.dir()).len() == 1);
}
