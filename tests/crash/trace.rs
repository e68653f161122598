//! Faults at chosen system calls of a running engine, by strace.
//!
//! Decides nothing. Never runs the engine under it from the start: only what comes after
//! [`Trace::attach`] counts. Contract: strace counts the calls of each thread by themselves, so a
//! [`Place`] holds files that one thread writes at a time.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::site::Site;

const PROGRAM: &str = "/usr/bin/strace";

/// It ends at once, or never.
const PATIENCE: Duration = Duration::from_secs(2);

/// Files, and the calls that write them; without files, calls on anything.
pub struct Place {
    pub name: &'static str,
    pub files: Vec<PathBuf>,
    pub calls: &'static [&'static str],
}

/// What the engine writes during a rollback to files.
pub fn files(site: &Site) -> Vec<Place> {
    let state = site.deck.state();
    let nginx = site.managed().with_file_name("");
    let within = |dir: &Path, names: &[&str]| -> Vec<PathBuf> {
        names.iter().map(|name| dir.join(name)).collect()
    };
    let journal = [
        "journal.sqlite3",
        "journal.sqlite3-wal",
        "journal.sqlite3-shm",
        "journal.head",
        ".journal.head.new",
        "spool.jsonl",
        "",
    ];
    let managed =
        ["split.conf", ".split.conf.new", ".split.conf.previous", "..split.conf.previous.new", ""];
    let all: &[&str] = &["write", "pwrite64", "fsync", "fdatasync", "rename", "ftruncate"];
    let fence: &[&str] = &["pwrite64", "fdatasync"];
    vec![
        Place { name: "journal", files: within(&state, &journal), calls: all },
        Place { name: "fence of edge", files: within(&state, &["fence-web.edge"]), calls: fence },
        Place { name: "fence of inner", files: within(&state, &["fence-web.inner"]), calls: fence },
        Place {
            name: "managed file",
            files: within(&nginx, &managed),
            calls: &["write", "fsync", "rename"],
        },
    ]
}

/// The journal's files alone, and everything in the state directory.
pub fn state(site: &Site) -> Vec<Place> {
    let mut places = files(site);
    places.truncate(3);
    let all = places.iter().flat_map(|place| place.files.clone()).collect();
    places.truncate(1);
    places.push(Place { name: "state directory", files: all, calls: &[] });
    places
}

/// The same, and what goes to sockets, processes and other threads.
pub fn everything(site: &Site) -> Vec<Place> {
    let mut places = files(site);
    let calls = &["sendto", "kill", "write"];
    places.push(Place { name: "sockets and threads", files: Vec::new(), calls });
    places
}

/// One strace, attached to the engine.
pub struct Trace {
    child: Child,
    log: PathBuf,
}

impl Trace {
    /// From now on the `number`th `call` on the place's files gets `fault`, of any thread; with a
    /// `+` behind the number each call from there on.
    pub fn attach(pid: Pid, place: &Place, call: &str, fault: &str, number: &str) -> Trace {
        assert!(Path::new(PROGRAM).exists(), "{PROGRAM} is not installed: tests/run installs it");
        let log = std::env::temp_dir().join(format!("quarterdeck-strace-{}", pid.as_raw_nonzero()));
        let mut command = Command::new(PROGRAM);
        command.args(["-f", "-y", "-p", &pid.as_raw_nonzero().to_string(), "-o"]).arg(&log);
        command.args(["-e", &format!("trace={call}")]);
        command.args(["-e", &format!("inject={call}:{fault}:when={number}")]);
        for file in &place.files {
            command.arg("-P").arg(file);
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = child.spawn().expect("strace starts");
        let mut errors = BufReader::new(child.stderr.take().expect("a pipe"));
        let mut said = String::new();
        loop {
            let mut line = String::new();
            let length = errors.read_line(&mut line).expect("strace's words are text");
            assert!(
                length > 0,
                "strace may not attach to a process of this user: run the tests as root, or set \
                 kernel.yama.ptrace_scope to 0; it said: {said}"
            );
            if line.contains(" attached") {
                break;
            }
            said.push_str(&line);
        }
        // What it says later fits into the pipe, which must stay open.
        child.stderr = Some(errors.into_inner());
        Trace { child, log }
    }

    /// Lets go of the engine; the calls that got the fault.
    pub fn end(mut self) -> Vec<String> {
        let _ = kill_process(Pid::from_child(&self.child), Signal::INT);
        let end = Instant::now() + PATIENCE;
        while self.child.try_wait().expect("a child can be asked").is_none() {
            // It may wait for ever for the last thread of a process that was killed.
            if Instant::now() > end {
                let _ = self.child.kill();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let text = std::fs::read(&self.log).expect("strace's log");
        let text = String::from_utf8_lossy(&text).into_owned();
        let injected = text.lines().filter(|line| line.contains("INJECTED"));
        injected.map(str::to_owned).collect()
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.log);
    }
}

/// The process has ended, though its last thread may still be held by strace.
pub fn is_gone(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    stat.map_or(true, |stat| stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" Z")))
}
