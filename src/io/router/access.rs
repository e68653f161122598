//! What the system says of files, before one of them is written.
//!
//! Decides whether this user may write, enter or run something. Never changes anything, and never
//! waits for a disk that hangs. Contract: a yes is of this moment; only a write proves more.

use std::path::Path;

use engine::reading::Access;
use rustix::fs::{Access as Mode, AtFlags, CWD, accessat};

use super::Deadline;

/// Looks on a thread of its own: a disk may hang.
pub async fn on_disk(
    deadline: Deadline,
    look: impl FnOnce() -> Result<String, String> + Send + 'static,
) -> Access {
    let task = tokio::task::spawn_blocking(look);
    match tokio::time::timeout(deadline.left(), task).await {
        Ok(Ok(Ok(how))) => Access::granted(&how),
        Ok(Ok(Err(why))) => Access::denied(&why),
        Ok(Err(_)) | Err(_) => Access::Unknown,
    }
}

/// May this process, with the rights that it has now?
pub fn may(path: &Path, mode: Mode, what: &str) -> Result<(), String> {
    accessat(CWD, path, mode, AtFlags::EACCESS)
        .map_err(|error| format!("cannot {what} {}: {error}", path.display()))
}

/// A program by its path, or by its name on the `PATH` that it would be found by.
pub fn may_run(program: &str) -> Result<(), String> {
    let runs = |path: &Path| path.is_file() && may(path, Mode::EXEC_OK, "run").is_ok();
    if program.contains('/') {
        let path = Path::new(program);
        let why = || format!("cannot run {program}: it is not there, or not for this user");
        return if runs(path) { Ok(()) } else { Err(why()) };
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&path).any(|dir| runs(&dir.join(program))) {
        return Ok(());
    }
    Err(format!("no program {program} on the PATH"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_must_be_there_and_run() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let script = dir.path().join("set");
        std::fs::write(&script, "#!/bin/sh\n").expect("writes");
        let check = |program: &str, part: &str| match may_run(program) {
            Ok(()) => assert_eq!(part, "", "{program}"),
            Err(why) => assert!(!part.is_empty() && why.contains(part), "{program}: {why}"),
        };
        check("/bin/sh", "");
        check("sh", "");
        check("no-such-program", "on the PATH");
        check(&script.display().to_string(), "cannot run");
        check(&dir.path().display().to_string(), "cannot run");
    }
}
