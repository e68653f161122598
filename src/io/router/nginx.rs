//! nginx by a file of its own, a reload, and a proof.
//!
//! Decides when a reload counts as applied: the new generation answers on new connections and the
//! old workers are gone. Never counts requests to prove a share, never leaves a file on disk that
//! nginx does not run without saying so. Contract: the previous file is put back before a
//! rejection is reported.

mod conf;
mod proof;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use engine::reading::{SplitReading, WriteAnswer};
use engine::types::{Failure, FailureKind, Fence, Untrusted, Weights};
use rustix::process::{Pid, Signal, kill_process};

use self::conf::Conf;
use super::{Deadline, rejected, unknown};
use crate::io::command;
use crate::io::settings::RouterTarget;

/// Kept free at the end of a budget for putting the previous file back.
const RESTORE_TIME: Duration = Duration::from_millis(100);

/// A managed file is a few lines for each server; anything larger is not ours.
const FILE_BYTES_MAX: u64 = 256 * 1024;

/// The parts of an nginx target.
pub struct Place<'a> {
    file: &'a Path,
    upstream: &'a str,
    pid: &'a Path,
    test: &'a [String],
    proof: &'a str,
    groups: &'a [Vec<String>; 2],
    split_by: Option<&'a str>,
}

impl<'a> Place<'a> {
    /// `None` for another kind of router.
    #[must_use]
    pub fn of(target: &'a RouterTarget) -> Option<Place<'a>> {
        match target {
            RouterTarget::Nginx { file, upstream, pid, test, proof, groups, split_by } => {
                Some(Place {
                    file,
                    upstream,
                    pid,
                    test,
                    proof,
                    groups,
                    split_by: split_by.as_deref(),
                })
            }
            RouterTarget::Haproxy { .. } | RouterTarget::Http(_) | RouterTarget::Command { .. } => {
                None
            }
        }
    }

    /// Beside the managed file, under a name that `include *.conf` does not match.
    fn sibling(&self, suffix: &str) -> PathBuf {
        let name = self.file.file_name().unwrap_or_default().to_string_lossy();
        self.file.with_file_name(format!(".{name}.{suffix}"))
    }
}

/// What this writer knows of the generations it wrote.
#[derive(Default)]
pub struct Memory {
    previous: Option<Conf>,
}

pub async fn set(
    place: &Place<'_>,
    memory: &mut Memory,
    weights: Weights,
    fence: Fence,
    deadline: Deadline,
) -> WriteAnswer {
    let wanted = match Conf::build(place.upstream, place.split_by, place.groups, weights, fence) {
        Ok(wanted) => wanted,
        Err(why) => return rejected(why),
    };
    let previous = match read_file(place.file) {
        Ok(previous) => previous,
        Err(failure) => return rejected(failure.text.display()),
    };
    if let Some(text) = &previous
        && !text.contains(conf::GENERATION)
    {
        let file = place.file.display();
        return rejected(format!("{file} has no {}: not a file of Quarterdeck", conf::GENERATION));
    }
    memory.previous = previous.as_deref().and_then(|text| Conf::parse(text).ok());
    if let Err(failure) = store(place, previous.as_deref(), &wanted.print()) {
        return rejected(failure.text.display());
    }
    let undo = Undo { place, previous };
    let limit = deadline.earlier(RESTORE_TIME);
    if let Err(why) = test(place, limit).await {
        return rejected(format!("{why}; {}", undo.run()));
    }
    let (master, old) = match hang_up(place) {
        Ok(found) => found,
        Err(failure) => return rejected(format!("{}; {}", failure.text, undo.run())),
    };
    let generation = wanted.generation();
    match proof::wait(place.proof, &generation, master, &old, limit).await {
        proof::Proof::Proven => WriteAnswer::Applied,
        proof::Proof::Mixed(why) | proof::Proof::Unseen(why) => {
            unknown(format!("nginx was reloaded, but {why}"))
        }
        proof::Proof::Old(running) => {
            let undone = undo.run();
            let again = match hang_up(place) {
                Ok(_) => "and nginx told again",
                Err(_) => "but nginx could not be told",
            };
            rejected(format!(
                "nginx still runs {running} after the reload (its error log says why; a listen \
                 port may be taken); {undone} {again}"
            ))
        }
    }
}

pub async fn read(
    place: &Place<'_>,
    memory: &Memory,
    deadline: Deadline,
) -> Result<SplitReading, Failure> {
    let running = proof::ask(place.proof, deadline.left()).await?;
    let malformed = |why: String| Failure::new(FailureKind::Malformed, why);
    let file = place.file.display();
    let text = read_file(place.file)?.ok_or_else(|| malformed(format!("{file} is missing")))?;
    let mut notes = Vec::new();
    let held = Conf::parse(&text);
    let conf = match &held {
        Ok(conf) if conf.generation() == running => conf.clone(),
        Ok(_) | Err(_) => {
            let holds = match &held {
                Ok(conf) => format!("holds {}", conf.generation()),
                Err(why) => format!("cannot be read ({why})"),
            };
            let kept = read_file(&place.sibling("previous"))?;
            let kept = kept.and_then(|text| Conf::parse(&text).ok());
            let known = [kept, memory.previous.clone()].into_iter().flatten();
            let said = format!("nginx runs generation {running}, the file {holds}");
            match known.into_iter().find(|conf| conf.generation() == running) {
                Some(conf) => {
                    notes.push(said);
                    conf
                }
                None => return Err(malformed(said)),
            }
        }
    };
    if let Ok(master) = master(place) {
        let leaving = proof::workers(master).iter().filter(|pid| proof::is_leaving(**pid)).count();
        if leaving > 0 {
            notes.push(format!("{leaving} old workers still finish their requests"));
        }
    }
    let (a, b) = conf.shares(place.groups).map_err(malformed)?;
    let fence = Some(conf.fence.0);
    Ok(SplitReading { a, b, fence, note: Untrusted::new(&notes.join(", ")) })
}

/// Puts the file back that was there before.
struct Undo<'a> {
    place: &'a Place<'a>,
    previous: Option<String>,
}

impl Undo<'_> {
    fn run(&self) -> String {
        let result = match &self.previous {
            Some(text) => replace(self.place.file, text),
            None => fs::remove_file(self.place.file),
        };
        match result {
            Ok(()) => "the previous file is put back".to_owned(),
            Err(error) => format!(
                "the previous file could NOT be put back ({error}): copy {} over {} before the \
                 next reload",
                self.place.sibling("previous").display(),
                self.place.file.display()
            ),
        }
    }
}

fn read_file(path: &Path) -> Result<Option<String>, Failure> {
    let shown = path.display();
    match fs::metadata(path) {
        Ok(meta) if meta.len() > FILE_BYTES_MAX => {
            return Err(Failure::new(FailureKind::Malformed, format!("{shown} is too large")));
        }
        Ok(_) | Err(_) => {}
    }
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            let kind = match error.kind() {
                std::io::ErrorKind::PermissionDenied => FailureKind::Denied,
                _ => FailureKind::Malformed,
            };
            Err(Failure::new(kind, format!("cannot read {shown}: {error}")))
        }
    }
}

fn store(place: &Place<'_>, previous: Option<&str>, wanted: &str) -> Result<(), Failure> {
    let keep = previous.map_or(Ok(()), |text| replace(&place.sibling("previous"), text));
    keep.and_then(|()| replace(place.file, wanted)).map_err(|error| {
        let file = place.file.display();
        let text = format!(
            "cannot write {file}: {error}; the engine's user needs write permission for its \
             directory, and room; nothing was changed"
        );
        Failure::new(FailureKind::Denied, text)
    })
}

/// All or nothing, and durable: temporary file in the same directory, then a rename.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let new = path.with_file_name(format!(".{name}.new"));
    let result = (|| {
        let mut file = fs::File::create(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        fs::File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    })();
    if result.is_err() {
        let _ = fs::remove_file(&new);
    }
    result
}

/// Runs the configuration test; an error is what it said.
async fn test(place: &Place<'_>, limit: Deadline) -> Result<(), String> {
    if place.test.is_empty() {
        return Ok(());
    }
    match command::run(place.test, None, limit.left()).await {
        Ok(output) if output.code == Some(0) => Ok(()),
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            let line = text
                .lines()
                .find(|line| line.contains("[emerg]"))
                .or_else(|| text.lines().last())
                .unwrap_or("it said nothing");
            Err(format!("the configuration test failed: {line}"))
        }
        Err(failure) => Err(format!("the configuration test did not run: {}", failure.text)),
    }
}

fn master(place: &Place<'_>) -> Result<Pid, Failure> {
    let shown = place.pid.display();
    let text = fs::read_to_string(place.pid).map_err(|error| {
        let text = format!("cannot read the pid file {shown}: {error}; does nginx run?");
        Failure::new(FailureKind::Unreachable, text)
    })?;
    let number = text.trim().parse().ok().filter(|pid| *pid > 1);
    let pid = number.and_then(Pid::from_raw).ok_or_else(|| {
        Failure::new(FailureKind::Malformed, format!("{shown} does not hold a process id"))
    })?;
    // A stale pid file may name somebody else's process by now.
    if proof::command_line(pid).is_some_and(|line| line.contains("nginx")) {
        Ok(pid)
    } else {
        let text = format!("{shown} names {}, which is not nginx", pid.as_raw_nonzero());
        Err(Failure::new(FailureKind::Unreachable, text))
    }
}

/// Asks the master to reload; returns it and the workers that it had before.
fn hang_up(place: &Place<'_>) -> Result<(Pid, Vec<Pid>), Failure> {
    let master = master(place)?;
    let old = proof::workers(master);
    kill_process(master, Signal::HUP).map_err(|error| {
        let text = format!(
            "cannot signal nginx ({}): {error}; the engine must run as nginx's user",
            master.as_raw_nonzero()
        );
        Failure::new(FailureKind::Denied, text)
    })?;
    Ok((master, old))
}
