//! Whether the managed file could be replaced and nginx told, seen without doing so.
//!
//! Decides by permissions, room and the master's process. Never writes, never signals. Contract: a
//! yes needs everything that a write needs before its proof.

use std::path::{Path, PathBuf};

use engine::reading::Access;
use rustix::fs::{Access as Mode, statvfs};
use rustix::process::test_kill_process;

use super::Place;
use crate::io::router::Deadline;
use crate::io::router::access::{may, may_run, on_disk};

/// For a second and a third copy of a file of a few lines.
const ROOM_BYTES_MIN: u64 = 64 * 1024;

pub async fn look(place: &Place<'_>, deadline: Deadline) -> Access {
    let (file, pid) = (place.file.to_owned(), place.pid.to_owned());
    let test = place.test.first().cloned();
    on_disk(deadline, move || check(&file, &pid, test.as_deref())).await
}

fn check(file: &Path, pid: &Path, test: Option<&str>) -> Result<String, String> {
    let dir = file.parent().map_or_else(|| PathBuf::from("."), Path::to_owned);
    may(&dir, Mode::WRITE_OK | Mode::EXEC_OK, "write in")?;
    may(file, Mode::READ_OK, "read")?;
    if let Ok(room) = statvfs(&dir)
        && room.f_bavail.saturating_mul(room.f_frsize) < ROOM_BYTES_MIN
    {
        return Err(format!("no room in {}", dir.display()));
    }
    test.map_or(Ok(()), may_run)?;
    let master = super::master(pid).map_err(|failure| failure.text.display().to_owned())?;
    test_kill_process(master).map_err(|error| {
        let id = master.as_raw_nonzero();
        format!("cannot signal nginx ({id}): {error}; the engine must run as nginx's user")
    })?;
    Ok(format!("{} takes a new file, nginx a signal", dir.display()))
}
