//! Two engines and the files between them, with clocks of their own.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use chrono::DateTime;

use super::*;

const BUDGET: Duration = Duration::from_secs(3);

fn identity(name: &str, boot: &str) -> Identity {
    Identity {
        key: name.to_owned(),
        who: format!("{name}@web1"),
        state_dir: format!("/state/{name}"),
        environment: "production".to_owned(),
        boot: boot.to_owned(),
    }
}

fn at(seconds: u64) -> Now {
    let wall = i64::try_from(seconds).expect("a small number");
    let wall = DateTime::UNIX_EPOCH + chrono::TimeDelta::seconds(wall);
    Now { mono: Time(seconds * 1_000_000), wall }
}

fn claim(emergency: bool) -> Claim {
    Claim { emergency, doing: "#12 canary of checkout".to_owned() }
}

/// An engine on a host of its own boot, sharing the directory.
fn engine(dir: &Path, name: &str, boot: &str) -> Inner {
    let places = place(&dir.join("lease"));
    Inner { places, own: identity(name, boot), seen: None }
}

#[track_caller]
fn check(inner: &mut Inner, second: u64, fence: u64, emergency: bool, expected: &str) {
    let found = match inner.take(Fence(fence), &claim(emergency), BUDGET, at(second)) {
        Ok(passed) if passed.trouble.is_empty() => "passed".to_owned(),
        Ok(passed) => passed.trouble,
        Err(Refusal { why, newer: None }) => why,
        Err(Refusal { newer: Some(newer), .. }) => format!("newer {newer}"),
    };
    assert!(found == expected || (!expected.is_empty() && found.contains(expected)), "{found}");
}

fn pair() -> (tempfile::TempDir, Inner, Inner) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (bob, eve) = (engine(dir.path(), "bob", "b1"), engine(dir.path(), "eve", "b1"));
    (dir, bob, eve)
}

#[test]
fn one_engine_writes_at_a_time_and_an_emergency_takes_over() {
    let (_dir, mut bob, mut eve) = pair();
    check(&mut bob, 10, 5, false, "passed");
    check(&mut bob, 10, 5, false, "passed");
    check(&mut eve, 11, 9, false, "held by bob@web1 (#12 canary of checkout) until 00:00:18Z");
    check(&mut eve, 11, 4, true, "newer 5");
    check(&mut eve, 11, 5, true, "newer 5");
    check(&mut eve, 11, 6, true, "passed");
    check(&mut bob, 12, 5, false, "newer 6");
    check(&mut bob, 12, 6, false, "newer 6");
    check(&mut bob, 12, 7, false, "held by eve@web1");
    // The same emergency again, by whoever is slower.
    check(&mut bob, 12, 7, true, "passed");
    let seen = eve.look(None, BUDGET, at(13)).expect("readable");
    assert_eq!(seen.other, Some((Fence(7), Untrusted::new("bob@web1"))));
    let holder = seen.holder.expect("bob is at it");
    assert!(holder.who.display().starts_with("bob@web1 (pid "), "{}", holder.who);
    assert_eq!(holder.left, Duration::from_secs(7));
}

#[test]
fn a_claim_runs_out_unless_it_is_renewed() {
    let (_dir, mut bob, mut eve) = pair();
    check(&mut bob, 10, 5, false, "passed");
    for second in [12, 14, 16] {
        bob.look(Some(&claim(false)), BUDGET, at(second)).expect("renewed");
    }
    check(&mut eve, 23, 6, false, "held by bob");
    let before = eve.look(None, BUDGET, at(23)).expect("readable").other;
    assert_eq!(before.map(|(fence, _)| fence), Some(Fence(5)), "renewing raises no fence");
    check(&mut eve, 25, 6, false, "passed");
    // Who comes back finds out, and cannot renew what another holds.
    let late = bob.look(Some(&claim(false)), BUDGET, at(26)).expect("readable");
    assert_eq!(late.other.map(|(fence, _)| fence), Some(Fence(6)));
    assert!(late.holder.is_some());
    eve.look(None, BUDGET, at(27)).expect("given up");
    check(&mut bob, 27, 7, false, "passed");
}

#[test]
fn a_slow_write_is_covered_to_its_end() {
    let (_dir, mut bob, mut eve) = pair();
    let slow = Duration::from_secs(20);
    assert!(bob.take(Fence(5), &claim(false), slow, at(10)).is_ok());
    check(&mut eve, 31, 6, false, "held by bob");
    check(&mut eve, 33, 6, false, "passed");
}

#[test]
fn another_hosts_clock_is_not_compared() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut bob = engine(dir.path(), "bob", "b1");
    let mut far = engine(dir.path(), "eve", "b2");
    // Bob's host booted long before, and its wall clock is a minute ahead.
    let ahead = Now { mono: Time(9_000_000_000), wall: at(70).wall };
    assert!(bob.take(Fence(5), &claim(false), BUDGET, ahead).is_ok());
    check(&mut far, 10, 6, false, "held by bob@web1");
    check(&mut far, 17, 6, false, "held by bob@web1");
    check(&mut far, 19, 6, false, "passed");
    let mut later = engine(dir.path(), "joe", "b3");
    // What ended minutes ago on any clock does not hold up who looks for the first time.
    check(&mut later, 2000, 7, false, "passed");
}

#[test]
fn an_emergency_knows_of_a_write_under_way() {
    let (_dir, mut bob, mut eve) = pair();
    let now = clock::now();
    assert!(bob.take(Fence(5), &claim(false), BUDGET, now).is_ok());
    let passed = eve.take(Fence(6), &claim(true), BUDGET, now).unwrap_or_else(|_| panic!("taken"));
    assert!(passed.writing && eve.others_write());
    bob.wrote(now).expect("writes");
    assert!(!eve.others_write());
    eve.wrote(now).expect("writes");
    let again = bob.take(Fence(7), &claim(true), BUDGET, now).unwrap_or_else(|_| panic!("taken"));
    assert!(!again.writing);
}

#[test]
fn a_file_that_is_damaged_or_locked_stops_all_but_an_emergency() {
    let (dir, mut bob, mut eve) = pair();
    check(&mut bob, 10, 5, false, "passed");
    let path = dir.path().join("lease");
    let whole = std::fs::read(&path).expect("reads");
    let held = std::fs::File::open(&path).expect("opens");
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).expect("locks");
    check(&mut bob, 10, 6, false, "locked by a process that does not go on");
    check(&mut eve, 10, 6, true, "locked by a process that does not go on");
    drop(held);
    for damage in ["", "x", "00000000000000000009\n"] {
        let mut bytes = whole.clone();
        bytes[..damage.len()].copy_from_slice(damage.as_bytes());
        if damage.is_empty() {
            bytes.truncate(100);
        }
        std::fs::write(&path, bytes).expect("writes");
        check(&mut bob, 10, 6, false, "remove it when no engine writes the router");
        check(&mut bob, 10, 6, true, "another engine cannot see this write");
    }
    std::fs::write(&path, &whole).expect("writes");
    check(&mut bob, 10, 6, false, "passed");
}

#[test]
fn what_somebody_else_put_there_is_not_trusted() {
    let (dir, mut bob, _) = pair();
    let path = dir.path().join("lease");
    let other = dir.path().join("other");
    std::fs::write(&other, "precious").expect("writes");
    symlink(&other, &path).expect("links");
    check(&mut bob, 10, 5, false, "cannot keep the lease");
    std::fs::remove_file(&path).expect("removes");
    std::fs::hard_link(&other, &path).expect("links");
    check(&mut bob, 10, 5, false, "is no plain file");
    std::fs::remove_file(&path).expect("removes");
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RWXU).expect("makes");
    check(&mut bob, 10, 5, false, "is no plain file");
    assert_eq!(std::fs::read_to_string(&other).expect("reads"), "precious");
    std::fs::remove_file(&path).expect("removes");
    if rustix::process::geteuid().is_root() {
        std::fs::write(&path, "").expect("writes");
        std::os::unix::fs::chown(&path, Some(65534), Some(65534)).expect("root may");
        check(&mut bob, 10, 5, false, "who may not use the router");
    }
}

#[test]
fn both_engines_find_the_same_place() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (router, shared) = (dir.path().join("router"), dir.path().join("shared"));
    for made in [&router, &shared] {
        std::fs::create_dir(made).expect("makes");
    }
    let socket = router.join("admin.sock");
    std::fs::write(&socket, "").expect("writes");
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o666)).expect("ours");
    let beside = || Place::new(router.join(".admin.sock.app.lease"), router.clone());
    let fallback = || Place::new(shared.join("quarterdeck-1.lease"), socket.clone());
    let missing = || Place::new(dir.path().join("gone/x.lease"), router.clone());
    let with = |name: &str, places| Inner { places, own: identity(name, "b1"), seen: None };
    // One may not write beside the socket: it uses the fallback, and the other sees that.
    let mut bob = with("bob", vec![missing(), fallback()]);
    let mut eve = with("eve", vec![beside(), fallback()]);
    check(&mut bob, 10, 5, false, "passed");
    check(&mut eve, 11, 6, false, "held by bob");
    check(&mut eve, 11, 3, true, "newer 5");
    let mode = std::fs::metadata(shared.join("quarterdeck-1.lease")).expect("is there").mode();
    assert_eq!(mode & 0o777, 0o666, "whoever may use the socket may write the lease");
    assert!(!router.join(".admin.sock.app.lease").exists());
}
