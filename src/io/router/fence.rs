//! The highest fence that a router's writer has let through, and the lock that makes it the only
//! writer of its state directory.
//!
//! Decides whether a fence may pass. Never shrinks or grows its file after it was made, so that a
//! full disk does not block a rollback. Contract: the lock is held for the value's whole life; a
//! fence is durable before [`FenceFile::raise`] says [`Kept::Durable`], and an emergency passes
//! although the disk fails or hangs.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use engine::types::{Failure, FailureKind, Fence};
use rustix::fs::{FlockOperation, flock};

use super::Deadline;

/// Twenty digits (the largest u64) and a line end.
const FILE_BYTES: usize = 21;

/// Longest router name: with the prefix it stays well below the limit of a file name.
const NAME_BYTES_MAX: usize = 63;

const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// What became of a fence that passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    Durable,
    /// An emergency on a disk that fails: nobody remembers it after a crash, and this is why.
    InMemory(String),
}

pub struct FenceFile {
    disk: Arc<Mutex<Disk>>,
    max: Fence,
    /// Why the last fence is not on disk.
    trouble: Option<String>,
    path: String,
}

/// The file, and what it holds.
struct Disk {
    file: File,
    stored: Fence,
}

impl FenceFile {
    pub fn open(name: &str, state_dir: &Path) -> Result<FenceFile, Failure> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(plain) {
            let text = format!("router name {name:?} may hold only letters, digits, . _ -");
            return Err(Failure::new(FailureKind::Malformed, text));
        }
        let path = state_dir.join(format!("fence-{name}"));
        let shown = path.display().to_string();
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|error| {
                let text = format!("cannot open {shown}: {error}; is the state directory yours?");
                Failure::new(FailureKind::Denied, text)
            })?;
        lock(&file).map_err(|error| {
            let text = format!("{shown} is locked: another engine writes this router ({error})");
            Failure::new(FailureKind::Denied, text)
        })?;
        let max = read_or_prepare(&file, &shown)?;
        let disk = Arc::new(Mutex::new(Disk { file, stored: max }));
        Ok(FenceFile { disk, max, trouble: None, path: shown })
    }

    #[must_use]
    pub fn max(&self) -> Fence {
        self.max
    }

    /// Lets `fence` pass if nothing higher was seen, and remembers it for good. A disk that fails
    /// or does not answer soon stops all but an emergency. The disk works on a thread of its own.
    pub async fn raise(
        &mut self,
        fence: Fence,
        emergency: bool,
        deadline: Deadline,
    ) -> Result<Kept, Failure> {
        if fence < self.max {
            let text = format!("fence {fence} is older than {}: superseded", self.max);
            return Err(Failure::new(FailureKind::Refused, text));
        }
        if fence == self.max && self.trouble.is_none() {
            return Ok(Kept::Durable);
        }
        let Err(why) = self.store(fence, deadline.for_disk(emergency)).await else {
            self.max = fence;
            self.trouble = None;
            return Ok(Kept::Durable);
        };
        let text = format!("cannot store the fence in {}: {why}", self.path);
        if !emergency {
            let text = format!("{text}; nothing was sent");
            return Err(Failure::new(FailureKind::Denied, text));
        }
        self.max = fence;
        self.trouble = Some(text.clone());
        Ok(Kept::InMemory(text))
    }

    async fn store(&self, fence: Fence, patience: Duration) -> Result<(), String> {
        if self.disk.try_lock().is_err() {
            // One thread that the disk holds is enough.
            return Err("the disk still holds up an earlier write".to_owned());
        }
        let disk = Arc::clone(&self.disk);
        let task = tokio::task::spawn_blocking(move || raise(&disk, fence));
        match tokio::time::timeout(patience, task).await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(error))) => Err(error.to_string()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("the disk did not answer in time".to_owned()),
        }
    }
}

/// A write that the disk held up may come late: it never lowers what a newer one stored.
fn raise(disk: &Mutex<Disk>, fence: Fence) -> std::io::Result<()> {
    let mut disk = disk.lock().unwrap_or_else(PoisonError::into_inner);
    if fence > disk.stored {
        store(&disk.file, fence)?;
        disk.stored = fence;
    }
    Ok(())
}

/// A program that the last engine was just starting holds its lock for a moment longer.
fn lock(file: &File) -> rustix::io::Result<()> {
    let mut left = LOCK_TRIES;
    loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(_) if left > 0 => left -= 1,
            result => return result,
        }
        std::thread::sleep(LOCK_PAUSE);
    }
}

fn read_or_prepare(file: &File, shown: &str) -> Result<Fence, Failure> {
    let broken = |why: String| {
        let text = format!("{shown} {why}; remove it only if no engine runs");
        Failure::new(FailureKind::Malformed, text)
    };
    let size = file.metadata().map_err(|error| broken(error.to_string()))?.len();
    if size == 0 {
        store(file, Fence(0)).map_err(|error| broken(format!("cannot be written: {error}")))?;
        return Ok(Fence(0));
    }
    let mut bytes = [0_u8; FILE_BYTES];
    file.read_exact_at(&mut bytes, 0).map_err(|error| broken(format!("is cut off: {error}")))?;
    std::str::from_utf8(&bytes)
        .ok()
        .and_then(|text| text.trim_end().parse().ok())
        .map(Fence)
        .ok_or_else(|| broken("does not hold a fence".to_owned()))
}

fn store(file: &File, fence: Fence) -> std::io::Result<()> {
    file.write_all_at(format!("{:020}\n", fence.0).as_bytes(), 0)?;
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raise_by(file: &mut FenceFile, fence: u64, emergency: bool) -> Result<Kept, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let deadline = || Deadline::after(std::time::Duration::from_secs(30));
        let result =
            runtime.block_on(async { file.raise(Fence(fence), emergency, deadline()).await });
        runtime.shutdown_background();
        result
    }

    fn raise(file: &mut FenceFile, fence: u64) -> Result<Kept, Failure> {
        raise_by(file, fence, false)
    }

    #[test]
    fn a_lower_fence_is_refused_even_after_a_restart() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut first = FenceFile::open("edge", dir.path()).expect("opens");
        assert!(raise(&mut first, 7).is_ok());
        assert!(raise(&mut first, 7).is_ok(), "the same write may be repeated");
        drop(first);
        let mut again = FenceFile::open("edge", dir.path()).expect("opens again");
        assert_eq!(again.max(), Fence(7));
        assert!(raise(&mut again, 6).is_err());
    }

    /// A file that cannot be written stands for a disk that answers each write with an error.
    #[test]
    fn a_failing_disk_stops_all_but_an_emergency() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut file = FenceFile::open("edge", dir.path()).expect("opens");
        raise(&mut file, 7).expect("a disk that works");
        let path = dir.path().join("fence-edge");
        let good = {
            let mut disk = file.disk.lock().expect("no thread panicked");
            std::mem::replace(&mut disk.file, File::open(&path).expect("opens for reading"))
        };
        let why = raise(&mut file, 8).expect_err("no emergency");
        assert!(why.text.display().contains("nothing was sent"), "{}", why.text);
        assert_eq!(file.max(), Fence(7));
        for _ in 0..2 {
            let kept = raise_by(&mut file, 9, true).expect("goes on");
            let Kept::InMemory(why) = kept else { panic!("{kept:?}") };
            assert!(why.contains("cannot store the fence in"), "{why}");
        }
        assert!(raise(&mut file, 8).is_err(), "what is only in memory counts too");
        file.disk.lock().expect("no thread panicked").file = good;
        assert_eq!(raise(&mut file, 9), Ok(Kept::Durable), "stored when the disk is back");
    }

    #[test]
    fn a_hanging_disk_holds_up_an_emergency_only_for_a_moment() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut file = FenceFile::open("edge", dir.path()).expect("opens");
        let disk = Arc::clone(&file.disk);
        // Locked by nobody who lets go: a thread in a write that never returns.
        let (ready, locked) = std::sync::mpsc::channel();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let hanging = std::thread::spawn(move || {
            let _held = disk.lock().expect("no thread panicked");
            ready.send(()).expect("the test waits");
            let _ = ended.recv();
        });
        locked.recv().expect("it hangs");
        let started = std::time::Instant::now();
        assert!(matches!(raise_by(&mut file, 1, true), Ok(Kept::InMemory(_))));
        assert!(raise(&mut file, 2).is_err(), "one thread that hangs is enough");
        assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
        drop(end);
        hanging.join().expect("it ends");
    }

    #[test]
    fn a_second_writer_is_locked_out() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let _first = FenceFile::open("edge", dir.path()).expect("opens");
        let second = FenceFile::open("edge", dir.path()).err().expect("locked");
        assert_eq!(second.kind, FailureKind::Denied);
    }

    #[test]
    fn a_name_cannot_leave_the_directory() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        for name in ["", "../x", "a/b", "a b"] {
            assert!(FenceFile::open(name, dir.path()).is_err(), "{name:?}");
        }
    }
}
