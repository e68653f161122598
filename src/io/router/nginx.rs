//! nginx by a file of its own, a reload, and a proof.
//!
//! Decides when a reload counts as applied: the new generation answers on new connections and the
//! old workers are gone. Never counts requests to prove a share, never leaves a file on disk that
//! nginx does not run without saying so. Contract: the previous file is put back before a
//! rejection is reported.

pub mod access;
mod conf;
mod proof;
pub mod rest;

use std::cell::RefCell;
use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use engine::reading::{Lease, SplitReading, WriteAnswer};
use engine::types::{Failure, FailureKind, Fence, Untrusted, Weights};
use rustix::process::{Pid, Signal, kill_process};

use self::conf::Conf;
use super::{Deadline, rejected, unknown};
use crate::io::command;
use crate::io::settings::RouterTarget;

/// Kept free at the end of a budget for putting the previous file back: a part of what is left,
/// and at most what a busy disk needs to sync one small file.
const RESTORE_PART: u32 = 5;
const RESTORE_TIME_MAX: Duration = Duration::from_secs(1);

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
            RouterTarget::Haproxy { .. }
            | RouterTarget::Http(_)
            | RouterTarget::Command { .. }
            | RouterTarget::Flag(_) => None,
        }
    }
}

impl Place<'_> {
    /// Why a file that holds this is no way to the traffic.
    fn misfit(&self, conf: &Conf) -> Option<String> {
        conf.misfit(self.file, self.upstream, self.split_by)
    }
}

/// Why the file as it stands is no way to the traffic of this block; `None` also where no reading
/// would come to that question.
#[must_use]
pub fn misfit(file: &Path, upstream: &str, split_by: Option<&str>) -> Option<String> {
    let text = load(file).ok()??;
    Conf::parse(&text).ok()?.misfit(file, upstream, split_by)
}

/// Beside the managed file, under a name that `include *.conf` does not match.
fn sibling(file: &Path, suffix: &str) -> PathBuf {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    file.with_file_name(format!(".{name}.{suffix}"))
}

/// What this writer knows of the generations it wrote.
#[derive(Default)]
pub struct Memory {
    previous: Option<Conf>,
    disk: Arc<Disk>,
    /// Since when the file holds something that nginx does not run.
    ahead: RefCell<Option<rest::Ahead>>,
}

/// The managed file's way to the disk: one change after the other, the newest last.
#[derive(Default)]
struct Disk {
    /// The highest fence that any change was asked for.
    newest: AtomicU64,
    busy: Mutex<()>,
}

impl Disk {
    /// Runs `work` on a thread of its own, so that a slow disk holds up nobody else. At the
    /// deadline it is left behind: it may still land, but never after a newer one.
    async fn change(
        self: Arc<Disk>,
        fence: Fence,
        deadline: Deadline,
        work: impl FnOnce() -> Result<(), Failure> + Send + 'static,
    ) -> Result<(), Failure> {
        self.newest.fetch_max(fence.0, Ordering::SeqCst);
        let task = tokio::task::spawn_blocking(move || {
            let _busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
            if self.newest.load(Ordering::SeqCst) > fence.0 {
                let text = format!("fence {fence} was superseded while the disk was slow");
                return Err(Failure::new(FailureKind::Refused, text));
            }
            work()
        });
        finish(task, deadline).await
    }
}

/// Waits for work on the disk until the deadline.
async fn finish<T>(
    task: tokio::task::JoinHandle<Result<T, Failure>>,
    deadline: Deadline,
) -> Result<T, Failure> {
    match tokio::time::timeout(deadline.left(), task).await {
        Ok(Ok(result)) => result,
        Ok(Err(error)) => Err(Failure::new(FailureKind::Malformed, error.to_string())),
        Err(_) => {
            let text = "the disk did not answer in time; what was asked may still be done";
            Err(Failure::new(FailureKind::Timeout, text))
        }
    }
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
    let previous = match read_file(place.file, deadline).await {
        Ok(previous) => previous,
        Err(failure) => return rejected(failure.text.display()),
    };
    if let Some(text) = &previous
        && !text.contains(conf::GENERATION)
    {
        let file = place.file.display();
        return rejected(format!("{file} has no {}: not a file of Quarterdeck", conf::GENERATION));
    }
    let held = previous.as_deref().and_then(|text| Conf::parse(text).ok());
    if let Some(why) = held.and_then(|held| place.misfit(&held)) {
        return rejected(why);
    }
    memory.ahead.replace(None);
    let previous = rest::what_runs(place, memory, previous, deadline).await;
    memory.previous = previous.as_deref().and_then(|text| Conf::parse(text).ok());
    let limit = deadline.earlier((deadline.left() / RESTORE_PART).min(RESTORE_TIME_MAX));
    let (file, before, text) = (place.file.to_owned(), previous.clone(), wanted.print());
    let work = move || {
        if limit.left().is_zero() {
            // A process that was stopped must not write what it wanted long ago.
            let text = "no time left: not written";
            return Err(Failure::new(FailureKind::Refused, text));
        }
        store(&file, before.as_deref(), &text)
    };
    match Arc::clone(&memory.disk).change(fence, limit, work).await {
        Ok(()) => {}
        Err(failure) if failure.kind == FailureKind::Timeout => {
            return unknown(format!("{}: {}", place.file.display(), failure.text));
        }
        Err(failure) => return rejected(failure.text.display()),
    }
    let undo =
        Undo { disk: Arc::clone(&memory.disk), file: place.file.to_owned(), previous, fence };
    if let Err(why) = test(place, limit).await {
        return rejected(format!("{why}; {}", undo.run(deadline).await));
    }
    let (master, old) = match hang_up(place) {
        Ok(found) => found,
        Err(failure) => {
            return rejected(format!("{}; {}", failure.text, undo.run(deadline).await));
        }
    };
    let generation = wanted.generation();
    match proof::wait(place.proof, &generation, master, &old, limit).await {
        proof::Proof::Proven => WriteAnswer::Applied,
        proof::Proof::Mixed(why) | proof::Proof::Unseen(why) => {
            unknown(format!("nginx was reloaded, but {why}"))
        }
        proof::Proof::Old(running) => {
            let undone = undo.run(deadline).await;
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
    let text = read_file(place.file, deadline).await?;
    let text = text.ok_or_else(|| malformed(format!("{file} is missing")))?;
    let mut notes = Vec::new();
    let held = Conf::parse(&text);
    if let Some(why) = held.as_ref().ok().and_then(|held| place.misfit(held)) {
        return Err(malformed(why));
    }
    let conf = match &held {
        Ok(conf) if conf.generation() == running => {
            memory.ahead.replace(None);
            conf.clone()
        }
        Ok(_) | Err(_) => {
            let holds = match &held {
                Ok(conf) => format!("holds {}", conf.generation()),
                Err(why) => format!("cannot be read ({why})"),
            };
            let said = format!("nginx runs generation {running}, the file {holds}");
            match rest::find(place, memory, &running, deadline).await? {
                Some((conf, text)) => {
                    notes.push(said);
                    match &held {
                        Ok(held) => rest::seen(memory, held, &running, text),
                        // What a person edited is theirs.
                        Err(_) => drop(memory.ahead.replace(None)),
                    }
                    conf
                }
                None => return Err(malformed(said)),
            }
        }
    };
    if let Ok(master) = master(place.pid) {
        let leaving = proof::workers(master).iter().filter(|pid| proof::is_leaving(**pid)).count();
        if leaving > 0 {
            notes.push(format!("{leaving} old workers still finish their requests"));
        }
    }
    let (a, b) = conf.shares(place.groups).map_err(malformed)?;
    let fence = Some(conf.fence.0);
    Ok(SplitReading {
        a,
        b,
        fence,
        note: Untrusted::new(&notes.join(", ")),
        lease: Lease::default(),
    })
}

/// Puts the file back that was there before.
struct Undo {
    disk: Arc<Disk>,
    file: PathBuf,
    previous: Option<String>,
    fence: Fence,
}

impl Undo {
    async fn run(self, deadline: Deadline) -> String {
        let Undo { disk, file, previous, fence } = self;
        let kept = sibling(&file, "previous").display().to_string();
        let shown = file.display().to_string();
        let work = move || {
            let done = match &previous {
                Some(text) => replace(&file, text),
                None => fs::remove_file(&file),
            };
            done.map_err(|error| write_failure(&file, &error))
        };
        match disk.change(fence, deadline, work).await {
            Ok(()) => "the previous file is put back".to_owned(),
            Err(failure) => format!(
                "the previous file could NOT be put back ({}): copy {kept} over {shown} before the \
                 next reload",
                failure.text
            ),
        }
    }
}

async fn read_file(path: &Path, deadline: Deadline) -> Result<Option<String>, Failure> {
    let path = path.to_owned();
    finish(tokio::task::spawn_blocking(move || load(&path)), deadline).await
}

fn load(path: &Path) -> Result<Option<String>, Failure> {
    let shown = path.display();
    let malformed = |why: String| Failure::new(FailureKind::Malformed, format!("{shown} {why}"));
    let mut text = String::new();
    let read = fs::File::open(path).and_then(|file| {
        // One byte more than allowed tells a file that is too large from one that just fits.
        file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)
    });
    match read {
        Ok(_) if text.len() as u64 > FILE_BYTES_MAX => Err(malformed("is too large".to_owned())),
        Ok(_) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let text = format!("cannot read {shown}: {error}; give the engine's user permission");
            Err(Failure::new(FailureKind::Denied, text))
        }
        Err(error) => Err(malformed(format!("cannot be read: {error}"))),
    }
}

fn store(file: &Path, previous: Option<&str>, wanted: &str) -> Result<(), Failure> {
    let keep = previous.map_or(Ok(()), |text| replace(&sibling(file, "previous"), text));
    keep.and_then(|()| replace(file, wanted)).map_err(|error| write_failure(file, &error))
}

fn write_failure(file: &Path, error: &std::io::Error) -> Failure {
    let dir = file.parent().unwrap_or(Path::new(".")).display();
    let (kind, remedy) = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            (FailureKind::Refused, format!("make room for {dir}"))
        }
        ErrorKind::PermissionDenied => {
            (FailureKind::Denied, format!("give the engine's user write permission for {dir}"))
        }
        ErrorKind::ReadOnlyFilesystem => {
            (FailureKind::Denied, format!("{dir} is mounted read-only"))
        }
        _ => (FailureKind::Denied, format!("look at {dir}")),
    };
    let shown = file.display();
    let text = format!("cannot write {shown}: {error}; nothing was changed; {remedy}");
    Failure::new(kind, text)
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

fn master(file: &Path) -> Result<Pid, Failure> {
    let shown = file.display();
    let text = fs::read_to_string(file).map_err(|error| {
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
    let master = master(place.pid)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_change_that_the_disk_held_up_never_lands_after_a_newer_one() {
        let disk = Arc::<Disk>::default();
        let landed = Arc::<Mutex<Vec<u64>>>::default();
        let work = |fence: u64, held: Option<std::sync::mpsc::Receiver<()>>| {
            let landed = Arc::clone(&landed);
            move || {
                if let Some(held) = held {
                    held.recv().expect("is let go");
                }
                landed.lock().expect("no thread panicked").push(fence);
                Ok(())
            }
        };
        let change = |fence: u64, budget: u64, held| {
            let deadline = Deadline::after(Duration::from_millis(budget));
            Arc::clone(&disk).change(Fence(fence), deadline, work(fence, held))
        };
        let (go, held) = std::sync::mpsc::channel();
        let first = change(1, 50, Some(held)).await.expect_err("held up");
        assert_eq!(first.kind, FailureKind::Timeout, "{}", first.text);
        // The second waits behind the first and is given up too; the third is the newest.
        let second = change(2, 50, None).await.expect_err("held up");
        assert_eq!(second.kind, FailureKind::Timeout, "{}", second.text);
        let third = change(3, 10_000, None);
        let (third, ()) = tokio::join!(third, async {
            tokio::task::yield_now().await;
            go.send(()).expect("the first waits");
        });
        third.expect("lands");
        let late = change(2, 10_000, None).await.expect_err("superseded");
        assert_eq!(late.kind, FailureKind::Refused, "{}", late.text);
        assert_eq!(*landed.lock().expect("no thread panicked"), [1, 3]);
    }
}
