//! Stories that end by themselves: nobody but the release decides.

use std::process::{Command, Stdio};

use serde_json::Value;

/// What the story ended with, as it is printed.
fn played(name: &str, duration: &str) -> Value {
    let base = tempfile::tempdir().expect("a directory");
    let mut command = Command::new(env!("CARGO_BIN_EXE_quarterdeck"));
    command.args(["demo", "--scenario", name, "--headless", "--for", duration]);
    for name in ["HOME", "XDG_RUNTIME_DIR", "XDG_STATE_HOME", "TMPDIR"] {
        command.env(name, base.path());
    }
    let output = command.stdin(Stdio::null()).output().expect("the program starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let failure = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{failure}");
    serde_json::from_str(&text).unwrap_or_else(|why| panic!("{why}: {text}{failure}"))
}

#[test]
fn a_good_release_carries_itself_to_the_end() {
    let ended = played("auto-canary", "90s");
    assert!(ended["verified_at"].is_string(), "{ended}");
    assert_eq!(ended["final_split"]["canary"], 100, "{ended}");
    assert_eq!(ended["failed_requests"], 0, "{ended}");
    assert_eq!(ended["chain_ok"], true, "{ended}");
    assert!(ended["rollback_requested_at"].is_null(), "{ended}");
}

#[test]
fn a_broken_release_takes_itself_back() {
    let ended = played("auto-rollback", "75s");
    for time in ["fault_at", "detected_at", "rollback_requested_at", "verified_at"] {
        assert!(ended[time].is_string(), "{time}: {ended}");
    }
    assert_eq!(ended["final_split"]["canary"], 0, "{ended}");
    assert_eq!(ended["chain_ok"], true, "{ended}");
    // Far fewer than a fifth of all: the canary had a quarter or a half, for seconds.
    let of = |name: &str| ended[name].as_u64().expect("a count");
    assert!(of("failed_requests") > 0, "{ended}");
    assert!(of("failed_requests") * 20 < of("requests"), "{ended}");
}
