//! The lease's file: how it is found, trusted, locked, read and written.
//!
//! Decides whether a file may be trusted: only those who may use the router can have made it. Never
//! follows a symbolic link, never shrinks or grows the file after it was made. Contract: a reader
//! without the lock gets a whole state or none; the lock is let go with the value.

use std::fs::{File, OpenOptions, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};
use engine::types::Fence;
use rustix::fs::{FlockOperation, OFlags, flock};
use serde::{Deserialize, Serialize};

/// One block of any disk: overwritten in place, so that a full disk does not matter.
const FILE_BYTES: usize = 2048;

/// Twenty digits and a line end.
const FENCE_BYTES: usize = 21;

/// No engine counts so far; whoever writes more wants to block everybody.
const FENCE_MAX: u64 = 1_000_000_000_000_000;

/// Texts in the file are cut to this, so that three claims fit.
const TEXT_CHARS_MAX: usize = 80;

/// The lock is held for one write and its sync.
const LOCK_PATIENCE: Duration = Duration::from_millis(200);
const LOCK_LOOK: Duration = Duration::from_millis(5);

/// Of the host and not of a user; the first that is as it should be.
const RUNTIME_DIRS: [&str; 2] = ["/run/lock", "/dev/shm"];

/// Looks at a file that another process is just writing.
const PEEKS_MAX: u32 = 5;

/// An engine, by the name that stays after a restart, and for people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct By {
    pub key: String,
    pub who: String,
}

/// A claim, with its end on three clocks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    pub by: By,
    pub pid: u32,
    pub state_dir: String,
    pub environment: String,
    pub doing: String,
    /// The boot that `until_us` counts from.
    pub boot: String,
    pub span_ms: u64,
    pub until_us: u64,
    pub until: DateTime<Utc>,
}

impl Beat {
    pub fn full_name(&self) -> String {
        let Beat { by, pid, state_dir, environment, .. } = self;
        format!("{} (pid {pid}, {environment}, {state_dir})", by.who)
    }

    fn cut(&mut self) {
        for text in [&mut self.state_dir, &mut self.environment, &mut self.doing, &mut self.by.who]
        {
            if text.chars().count() > TEXT_CHARS_MAX {
                *text = text.chars().take(TEXT_CHARS_MAX).collect();
            }
        }
    }
}

/// All that the file says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    #[serde(skip)]
    pub fence: Fence,
    /// Who raised the fence.
    pub by: By,
    /// Who has something in flight.
    pub holder: Option<Beat>,
    /// A write that is under way.
    pub writing: Option<Beat>,
    /// A write of another engine that was under way when the router was taken from it.
    pub others: Option<Beat>,
}

impl State {
    fn parse(bytes: &[u8]) -> Result<State, &'static str> {
        if bytes.is_empty() {
            return Ok(State::default());
        }
        let text = std::str::from_utf8(bytes).map_err(|_| "holds no text")?;
        let (fence, rest) = text.split_once('\n').ok_or("is cut off")?;
        let (sum, rest) = rest.split_once(' ').ok_or("is cut off")?;
        let fence: u64 = fence.parse().map_err(|_| "holds no fence")?;
        if fence > FENCE_MAX {
            return Err("holds a fence that no engine writes");
        }
        let body = rest.trim_end();
        if sum != check_sum(fence, body) {
            return Err("is damaged");
        }
        let state: State = serde_json::from_str(body).map_err(|_| "is not of this version")?;
        Ok(State { fence: Fence(fence), ..state })
    }

    fn print(&self) -> Result<Vec<u8>, String> {
        let mut state = self.clone();
        for beat in [&mut state.holder, &mut state.writing, &mut state.others].into_iter().flatten()
        {
            beat.cut();
        }
        let body = serde_json::to_string(&state).map_err(|error| error.to_string())?;
        let fence = self.fence.0;
        let mut text = format!("{fence:020}\n{} {body}", check_sum(fence, &body));
        if text.len() >= FILE_BYTES || text.len() <= FENCE_BYTES {
            return Err("the lease does not fit its file".to_owned());
        }
        text.extend(std::iter::repeat_n(' ', FILE_BYTES - 1 - text.len()));
        text.push('\n');
        Ok(text.into_bytes())
    }
}

fn check_sum(fence: u64, body: &str) -> String {
    engine::record::sha256_hex(format!("{fence}\n{body}").as_bytes())[..16].to_owned()
}

/// One place where a lease may stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    path: PathBuf,
    /// Whoever may use this may make and write the lease: the router's socket, or a directory.
    like: PathBuf,
}

impl Place {
    #[must_use]
    pub fn new(path: PathBuf, like: PathBuf) -> Place {
        Place { path, like }
    }

    /// The state without the lock; `None` where there is no file.
    pub fn peek(&self) -> Result<Option<State>, String> {
        let Some(file) = self.open()? else { return Ok(None) };
        let mut broken = "";
        for _ in 0..PEEKS_MAX {
            match State::parse(&self.load(&file)?) {
                Ok(state) => return Ok(Some(state)),
                Err(why) => broken = why,
            }
            std::thread::yield_now();
        }
        Err(format!("{} {broken}; remove it when no engine writes the router", self.path.display()))
    }

    fn load(&self, file: &File) -> Result<Vec<u8>, String> {
        let mut bytes = vec![0; FILE_BYTES];
        let mut got = 0;
        while got < bytes.len() {
            match file.read_at(&mut bytes[got..], got as u64) {
                Ok(0) => break,
                Ok(more) => got += more,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("{}: {error}", self.path.display())),
            }
        }
        bytes.truncate(got);
        Ok(bytes)
    }

    fn open(&self) -> Result<Option<File>, String> {
        let shown = self.path.display();
        // Never waits for the other end of a pipe that somebody put there.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(flags.bits().cast_signed());
        let file = match options.open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(format!("{shown}: {error}; every engine of this router writes it"));
            }
        };
        let meta = file.metadata().map_err(|error| format!("{shown}: {error}"))?;
        if !meta.is_file() || meta.nlink() != 1 {
            return Err(format!("{shown} is no plain file: remove it"));
        }
        let like = std::fs::metadata(&self.like);
        let own = rustix::process::geteuid().as_raw();
        let known = [0, own].contains(&meta.uid());
        let shared = |like: std::fs::Metadata| {
            let group = like.mode() & 0o020 != 0 && meta.gid() == like.gid();
            meta.uid() == like.uid() || group || like.mode() & 0o002 != 0
        };
        if !known && !like.is_ok_and(shared) {
            let uid = meta.uid();
            return Err(format!("{shown} belongs to uid {uid}, who may not use the router"));
        }
        Ok(Some(file))
    }

    /// Makes the file for all who may use the router. `None` where this user may not make one.
    fn make(&self) -> Result<Option<File>, String> {
        let failed = |error: std::io::Error| format!("{}: {error}", self.path.display());
        let like = std::fs::metadata(&self.like).ok();
        let flags = OFlags::NOFOLLOW.bits().cast_signed();
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600).custom_flags(flags);
        let file = match options.open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return self.open(),
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::PermissionDenied
                        | ErrorKind::ReadOnlyFilesystem
                        | ErrorKind::NotFound
                ) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(failed(error)),
        };
        if let Some(like) = like {
            let mut mode = 0o600;
            if like.mode() & 0o020 != 0 {
                // Only a member of the group may give it away: that is what makes it trusted.
                let given = std::os::unix::fs::fchown(&file, None, Some(like.gid()));
                mode |= if given.is_ok() { 0o060 } else { 0 };
            }
            if like.mode() & 0o002 != 0 {
                mode |= 0o066;
            }
            file.set_permissions(Permissions::from_mode(mode)).map_err(failed)?;
        }
        let text = State::default().print()?;
        file.write_all_at(&text, 0).and_then(|()| file.sync_all()).map_err(failed)?;
        if let Some(dir) = self.path.parent() {
            // It may be a directory that this user may write and not read.
            let _ = File::open(dir).and_then(|dir| dir.sync_all());
        }
        Ok(Some(file))
    }

    fn lock(&self, file: File) -> Result<Lock, String> {
        let end = std::time::Instant::now() + LOCK_PATIENCE;
        while let Err(error) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
            let shown = self.path.display();
            if error != rustix::io::Errno::WOULDBLOCK && error != rustix::io::Errno::INTR {
                return Err(format!("{shown}: {error}"));
            }
            if std::time::Instant::now() >= end {
                return Err(format!("{shown} is locked by a process that does not go on"));
            }
            std::thread::sleep(LOCK_LOOK);
        }
        let state = State::parse(&self.load(&file)?).map_err(|why| {
            format!("{} {why}; remove it when no engine writes the router", self.path.display())
        })?;
        Ok(Lock { file, path: self.path.clone(), state })
    }
}

/// The file, locked, and what it said then.
pub struct Lock {
    file: File,
    path: PathBuf,
    pub state: State,
}

impl Lock {
    /// Writes the state; `durable` before it returns.
    pub fn store(&self, durable: bool) -> Result<(), String> {
        let text = self.state.print()?;
        let failed = |error: std::io::Error| format!("{}: {error}", self.path.display());
        self.file.write_all_at(&text, 0).map_err(failed)?;
        if durable { self.file.sync_data().map_err(failed) } else { Ok(()) }
    }
}

/// Every place that has a file; where none has, one is made at the first that allows it.
pub fn open_all(places: &[Place]) -> Result<Vec<Lock>, String> {
    let mut locks = open_existing(places)?;
    if !locks.is_empty() {
        return Ok(locks);
    }
    for place in places {
        if let Some(file) = place.make()? {
            locks.push(place.lock(file)?);
            return Ok(locks);
        }
    }
    let tried: Vec<String> = places.iter().map(|place| place.path.display().to_string()).collect();
    Err(format!("no place for the lease may be written: {}", tried.join(", ")))
}

pub fn open_existing(places: &[Place]) -> Result<Vec<Lock>, String> {
    let mut locks = Vec::new();
    for place in places {
        if let Some(file) = place.open()? {
            locks.push(place.lock(file)?);
        }
    }
    Ok(locks)
}

/// A directory of this host where every user may make a file and nobody may take another's away.
#[must_use]
pub fn runtime_dir() -> PathBuf {
    let sticky = |dir: &&str| {
        std::fs::symlink_metadata(dir)
            .is_ok_and(|meta| meta.is_dir() && meta.uid() == 0 && meta.mode() & 0o1002 == 0o1002)
    };
    PathBuf::from(RUNTIME_DIRS.iter().copied().find(sticky).unwrap_or(RUNTIME_DIRS[0]))
}
