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

/// Makes the directory, or checks the one that is there.
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
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700)).map_err(told)?;
    }
    // A file system that is mounted read-only is found here, whatever the mode says.
    rustix::fs::access(dir, rustix::fs::Access::WRITE_OK).map_err(|error| told(error.into()))
}
