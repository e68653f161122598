//! A user without privileges: root may write where the mode of a file forbids it.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

/// `nobody` and `nogroup` on Debian.
pub const ID: u32 = 65534;

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Lets the command run as `nobody` when this is root; other users have no privileges anyway.
pub fn become_nobody(command: &mut Command) {
    if is_root() {
        command.uid(ID).gid(ID);
    }
}

/// Gives a file or directory to the user that `become_nobody` becomes.
pub fn give(path: &Path) {
    if is_root() {
        std::os::unix::fs::chown(path, Some(ID), Some(ID)).expect("root may give a file away");
    }
}

pub fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("it is ours");
}

/// The original may stand where nobody else may look. The copy is made by another process: a file
/// that is open for writing here, and so for a moment in whatever another test just forks, cannot
/// be run.
pub fn copy_program(from: &Path, to: &Path) {
    let done = Command::new("/bin/cp").arg(from).arg(to).status().expect("cp starts");
    assert!(done.success(), "{} cannot be copied", from.display());
    mode(to, 0o755);
}

/// When this is root: runs the named tests of this program once more as `nobody`, and says true.
pub fn ran_as_nobody(tests: &[&str]) -> bool {
    if !is_root() {
        return false;
    }
    let place = tempfile::tempdir().expect("a temporary directory");
    mode(place.path(), 0o755);
    let (program, scratch) = (place.path().join("tests"), place.path().join("scratch"));
    copy_program(&std::env::current_exe().expect("its path"), &program);
    std::fs::create_dir(&scratch).expect("makes");
    give(&scratch);
    let mut command = Command::new(&program);
    command.args(tests).args(["--exact", "--nocapture"]);
    command.current_dir(&scratch).env("TMPDIR", &scratch).env("HOME", &scratch);
    become_nobody(&mut command);
    let output = command.output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout);
    let count = format!("{} passed; 0 failed", tests.len());
    assert!(
        output.status.success() && said.contains(&count),
        "as nobody: {said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    true
}
