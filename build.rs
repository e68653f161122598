//! What `--version` says: a release build of a checkout names its commit.
//!
//! Decides nothing else. Contract: without git, or outside of a checkout of its own, there is no
//! commit, and that is no error; other builds name none, so that a commit rebuilds nothing.

use std::env;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let version = env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let commit = if release { commit() } else { None };
    let version = commit.map_or(version.clone(), |commit| format!("{version} ({commit})"));
    println!("cargo:rustc-env=QUARTERDECK_VERSION={version}");
}

fn commit() -> Option<String> {
    let root = env::var("CARGO_MANIFEST_DIR").ok()?;
    let git = |arguments: &[&str]| {
        let output = Command::new("git").current_dir(&root).args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    let own = Path::new(&git(&["rev-parse", "--show-toplevel"])?).canonicalize().ok()?;
    if own != Path::new(&root).canonicalize().ok()? {
        return None;
    }
    // What was changed since is told by a plus.
    println!("cargo:rerun-if-changed=src");
    for name in ["HEAD", "logs/HEAD", "index"] {
        println!("cargo:rerun-if-changed={}", git(&["rev-parse", "--git-path", name])?);
    }
    git(&["describe", "--always", "--exclude=*", "--abbrev=12", "--dirty=+"])
}
