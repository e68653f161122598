//! The five fleets of the documentation, ready to be started: files, and the script that does it.
//!
//! Decides where a fleet's files are put and when it is up. Never knows what a fleet is made of:
//! that stands in its `run`. Contract: what was started ends with the handle, and with this process
//! however that ends: `run` goes on only as long as its input is open.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use std::{fs, thread};

use engine::types::{Failure, FailureKind};

/// Name and purpose.
pub const FLEETS: &[(&str, &str)] = &[
    ("operations", "validation, a canary by time, incidents that answer: HAProxy, Prometheus"),
    ("conversormpp", "blue-green, canary, rolling, an emergency: nginx, PostgreSQL"),
    ("mtm", "a migration as a graph, a rollback that restores: MariaDB"),
    ("hotswap", "schema migrations by an orchestrator: PostgreSQL, Redis, Prometheus"),
    ("arzti3", "flags first, limits for each tenant, a ladder back: HAProxy, PostgreSQL"),
];

macro_rules! files {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_str!(concat!("../../fixtures/fleets/", $path)))),*]
    };
}

/// Every file of every fleet, below its folder.
const FILES: &[(&str, &str)] = files![
    "arzti3/development.toml",
    "arzti3/haproxy.cfg",
    "arzti3/live.toml",
    "arzti3/prometheus.yml",
    "arzti3/quarterdeck.toml",
    "arzti3/run",
    "arzti3/runbooks/server.md",
    "arzti3/settings.sh",
    "arzti3/settings/appsettings.Development.json",
    "arzti3/settings/appsettings.Live.json",
    "arzti3/settings/appsettings.Production.json",
    "arzti3/settings/appsettings.Staging.json",
    "arzti3/settings/appsettings.Test.json",
    "arzti3/settings/appsettings.json",
    "arzti3/staging.toml",
    "arzti3/stand-ins.toml",
    "arzti3/tables",
    "arzti3/test.toml",
    "conversormpp/api-nginx/nginx.conf",
    "conversormpp/api-nginx/split.conf",
    "conversormpp/api-nginx/version.conf",
    "conversormpp/canary-version",
    "conversormpp/checks",
    "conversormpp/development.toml",
    "conversormpp/maintenance",
    "conversormpp/quarterdeck.toml",
    "conversormpp/run",
    "conversormpp/runbooks/site.md",
    "conversormpp/schema",
    "conversormpp/site-nginx/nginx.conf",
    "conversormpp/site-nginx/split.conf",
    "conversormpp/site-nginx/version.conf",
    "conversormpp/staging.toml",
    "conversormpp/stand-ins.toml",
    "hotswap/execution",
    "hotswap/locks",
    "hotswap/prometheus.yml",
    "hotswap/quarterdeck.toml",
    "hotswap/rules.yml",
    "hotswap/run",
    "hotswap/runbooks/rolled-back.md",
    "hotswap/runbooks/slow.md",
    "hotswap/runbooks/stuck.md",
    "hotswap/stand-ins.toml",
    "hotswap/token.secret",
    "mtm/app/appsettings.json",
    "mtm/app/overlays.json",
    "mtm/database",
    "mtm/db.secret",
    "mtm/files",
    "mtm/quarterdeck.toml",
    "mtm/run",
    "mtm/runbooks/overlay.md",
    "mtm/runtime",
    "mtm/stand-ins.toml",
    "operations/alertmanager.yml",
    "operations/gates",
    "operations/haproxy.cfg",
    "operations/pagerduty.secret",
    "operations/prometheus.yml",
    "operations/quarterdeck.toml",
    "operations/rules.yml",
    "operations/run",
    "operations/runbooks/breach.md",
    "operations/runbooks/site.md",
    "operations/slack.secret",
    "operations/stand-ins.toml",
    "stand-ins.sh",
];

/// A database's first start on a loaded machine.
const START_PATIENCE: Duration = Duration::from_mins(2);

/// Longer than `run` gives what it ends.
const END_PATIENCE: Duration = Duration::from_secs(10);

const PAUSE: Duration = Duration::from_millis(10);

/// Why a start failed: as much as a person reads.
const WHY_BYTES_MAX: u64 = 4096;

/// A fleet that runs.
pub struct Running {
    run: Child,
    /// The fleet's filled-in files.
    pub site: PathBuf,
}

impl Running {
    /// Starts the fleet below `dir` and waits until everything answers, or `stop` says that nobody
    /// wants it any more.
    pub fn start(
        name: &str,
        dir: &Path,
        speed: u32,
        stop: impl Fn() -> bool,
    ) -> Result<Running, Failure> {
        let source = dir.join("fleet");
        unpack(name, &source).map_err(|why| failed(&format!("the fleet's files: {why}")))?;
        let program = std::env::current_exe().map_err(|why| failed(&why.to_string()))?;
        let site = dir.join("site");
        let mut command = Command::new(source.join(name).join("run"));
        command.arg(&site).arg(speed.to_string()).env("QUARTERDECK", program);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A key that interrupts the console's group is not for it.
        command.process_group(0);
        let run = command.spawn().map_err(|why| failed(&format!("bash: {why}")))?;
        let mut running = Running { run, site };
        let lines = running.lines();
        let deadline = Instant::now() + START_PATIENCE;
        loop {
            match lines.recv_timeout(PAUSE * 10) {
                Ok(line) if line == "ready" => return Ok(running),
                Err(mpsc::RecvTimeoutError::Timeout) if stop() => {
                    return Err(failed("stopped"));
                }
                Err(mpsc::RecvTimeoutError::Timeout) if Instant::now() > deadline => {
                    return Err(failed("the fleet did not become ready"));
                }
                Ok(_) | Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return Err(running.why()),
            }
        }
    }

    /// What `run` prints, line by line, until it ends.
    fn lines(&mut self) -> mpsc::Receiver<String> {
        let (tell, lines) = mpsc::channel();
        if let Some(out) = self.run.stdout.take() {
            thread::spawn(move || {
                for line in BufReader::new(out).lines().map_while(Result::ok) {
                    if tell.send(line).is_err() {
                        break;
                    }
                }
            });
        }
        lines
    }

    /// The last words of a `run` that ended.
    fn why(&mut self) -> Failure {
        let mut text = String::new();
        if let Some(errors) = self.run.stderr.take() {
            // What cannot be read is not there.
            drop(errors.take(WHY_BYTES_MAX).read_to_string(&mut text));
        }
        failed(&format!("the fleet did not start: {}", text.trim()))
    }

    /// Every port by the name that the fleet has for it.
    #[must_use]
    pub fn ports(&self) -> BTreeMap<String, u16> {
        let text = fs::read_to_string(self.site.join("ports")).unwrap_or_default();
        let one = |line: &str| {
            let (name, port) = line.split_once('=')?;
            Some((name.to_owned(), port.parse().ok()?))
        };
        text.lines().filter_map(one).collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.run.stdin.take());
        let deadline = Instant::now() + END_PATIENCE;
        while matches!(self.run.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(PAUSE);
        }
        // Gone already is as good; what it started ends with it.
        let _ = self.run.kill();
        let _ = self.run.wait();
    }
}

/// Writes one fleet's files, and what all share, below `dir`.
fn unpack(name: &str, dir: &Path) -> std::io::Result<()> {
    for (path, text) in FILES {
        let (fleet, _) = path.split_once('/').unwrap_or((name, path));
        if fleet != name {
            continue;
        }
        let path = dir.join(path);
        fs::create_dir_all(path.parent().unwrap_or(dir))?;
        fs::write(&path, text)?;
        let mode = if text.starts_with("#!") { 0o700 } else { 0o600 };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}

fn failed(text: &str) -> Failure {
    Failure::new(FailureKind::Unreachable, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collect(dir: &Path, below: &str, found: &mut Vec<String>) {
        for entry in fs::read_dir(dir).expect("a folder") {
            let entry = entry.expect("an entry");
            let name = entry.file_name().into_string().expect("plain names");
            if entry.path().is_dir() {
                collect(&entry.path(), &format!("{below}{name}/"), found);
            } else {
                found.push(format!("{below}{name}"));
            }
        }
    }

    #[test]
    fn every_file_of_every_fleet_is_there() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/fleets");
        let mut found = Vec::new();
        collect(&root, "", &mut found);
        found.sort();
        let known: Vec<&str> = FILES.iter().map(|(path, _)| *path).collect();
        assert_eq!(known, found);
        for (name, _) in FLEETS {
            assert!(known.contains(&format!("{name}/run").as_str()), "{name}");
        }
    }
}
