//! Where the state of an environment lives.
//!
//! Decides the directory and who may enter it. Never the current directory, never a shared one.
//! Contract: the directory is 0700 and belongs to the user who runs this program.

use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// `$XDG_STATE_HOME/quarterdeck/ENVIRONMENT`, or the same below `~/.local/state`.
pub fn default_dir(environment: &str) -> Result<PathBuf, String> {
    let base = match std::env::var_os("XDG_STATE_HOME").filter(|dir| !dir.is_empty()) {
        Some(dir) => PathBuf::from(dir),
        None => home()?.join(".local/state"),
    };
    Ok(base.join("quarterdeck").join(environment))
}

/// `$XDG_CONFIG_HOME/quarterdeck/config.toml`, or the same below `~/.config`.
pub fn default_config() -> Result<PathBuf, String> {
    let base = match std::env::var_os("XDG_CONFIG_HOME").filter(|dir| !dir.is_empty()) {
        Some(dir) => PathBuf::from(dir),
        None => home()?.join(".config"),
    };
    Ok(base.join("quarterdeck/config.toml"))
}

fn home() -> Result<PathBuf, String> {
    std::env::var_os("HOME")
        .filter(|home| !home.is_empty())
        .map(PathBuf::from)
        .ok_or_else(|| "HOME is not set: say --state-dir and --config".to_owned())
}

/// What an engine leaves in its directory, the first thing first.
const TRACES: [&str; 4] = ["engine.lock", "engine.log", "journal.sqlite3", "spool.jsonl"];

/// Makes the directory, or checks the one that is there. One that others may enter is closed to
/// them only where nobody can miss it: it is an engine's already, or empty and nobody else's to
/// write in.
pub fn private_dir(dir: &Path) -> Result<(), String> {
    let told = |error: std::io::Error| {
        let shown = dir.display();
        format!("{shown}: {error}; it must be yours to write, or choose another with --state-dir")
    };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(told)?;
    let meta = std::fs::metadata(dir).map_err(told)?;
    let own = rustix::process::geteuid().as_raw();
    if meta.uid() != own {
        return Err(format!("{}: belongs to another user (uid {})", dir.display(), meta.uid()));
    }
    if meta.mode() & 0o777 != 0o700 {
        let shared = meta.mode() & 0o1022 != 0;
        let empty = || std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none());
        let ours = || TRACES.iter().any(|name| dir.join(name).exists());
        if !ours() && (shared || !empty()) || meta.mode() & 0o1000 != 0 {
            let (shown, mode) = (dir.display(), meta.mode() & 0o7777);
            return Err(format!(
                "{shown} is there for others, too (mode {mode:o}), and would have to be closed to \
                 them: name a directory of its own with --state-dir, or if it is for Quarterdeck \
                 alone, chmod 700 {shown}"
            ));
        }
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700)).map_err(told)?;
    }
    // A file system that is mounted read-only is found here, whatever the mode says.
    rustix::fs::access(dir, rustix::fs::Access::WRITE_OK).map_err(|error| told(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(dir: &Path) -> u32 {
        std::fs::metadata(dir).expect("it is there").mode() & 0o7777
    }

    #[test]
    fn only_a_directory_of_its_own_is_closed_to_others() {
        let check = |before: u32, holds: Option<&str>, expected: Option<&str>| {
            let base = tempfile::tempdir().expect("a directory");
            let dir = base.path().join("state");
            std::fs::create_dir(&dir).expect("makes");
            if let Some(name) = holds {
                std::fs::write(dir.join(name), "").expect("writes");
            }
            let permissions = std::fs::Permissions::from_mode(before);
            std::fs::set_permissions(&dir, permissions).expect("changes");
            let found = private_dir(&dir);
            let after = if expected.is_none() { 0o700 } else { before };
            assert_eq!(mode(&dir), after, "{before:o} {holds:?} {found:?}");
            let why = found.err().unwrap_or_default();
            assert_eq!(why.is_empty(), expected.is_none(), "{before:o} {holds:?}: {why}");
            assert!(expected.is_none_or(|part| why.contains(part)), "{why}");
        };
        check(0o700, Some("notes.txt"), None);
        check(0o755, None, None);
        check(0o755, Some("journal.sqlite3"), None);
        check(0o777, Some("engine.lock"), None);
        check(0o755, Some("notes.txt"), Some("chmod 700"));
        check(0o775, None, Some("(mode 775)"));
        check(0o1777, None, Some("--state-dir"));
        check(0o1777, Some("journal.sqlite3"), Some("(mode 1777)"));
    }

    #[test]
    fn a_new_directory_is_private() {
        let base = tempfile::tempdir().expect("a directory");
        let dir = base.path().join("a/b");
        private_dir(&dir).expect("it is made");
        assert_eq!([mode(&dir), mode(&base.path().join("a"))], [0o700, 0o700]);
    }
}
