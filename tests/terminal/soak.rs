//! The console and its engine for a while, on a live environment, with somebody at the keys: what
//! they take of memory and open files does not grow.
//!
//! `QUARTERDECK_SOAK_SECONDS` says for how long; `tests/long` takes ten minutes.

use quarterdeck::demo::Fleet;

use super::*;

/// Enough to see what grows with every second.
const SECONDS: u64 = 12;
/// Kilobytes that may come on top: at once, and with each second, because the console keeps
/// pictures (up to 4 MB) and the engine histories.
const GROWTH_MAX: u64 = 2 * 1024;
const GROWTH_PER_S_MAX: u64 = 16;
/// Connections come and go.
const FILES_MAX: usize = 12;
/// What somebody looks at; each leads back to the panels.
const KEYS: [&str; 12] = ["?", "\x1b", "L", "\x1b", "H", "\x1b", "z", "z", "\t", "[", "\x1b", ":"];

/// Resident kilobytes and open files.
fn taken(pid: Pid) -> (u64, usize) {
    let place = PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()));
    let status = fs::read_to_string(place.join("status")).expect("it lives");
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let resident = resident.and_then(|it| it.trim().strip_suffix(" kB")).expect("its memory");
    let files = fs::read_dir(place.join("fd")).expect("it lives").count();
    (resident.parse().expect("a number"), files)
}

#[test]
fn memory_and_open_files_do_not_grow() {
    let seconds = std::env::var("QUARTERDECK_SOAK_SECONDS").ok();
    let seconds = seconds.map_or(SECONDS, |text| text.parse().expect("a number of seconds"));
    let fleet = Fleet::start().expect("the sandbox");
    let dir = private_dir();
    let config = fleet.write_config(dir.path()).expect("its configuration");
    let state = dir.path().join("state");
    let of = |path: &Path| path.to_str().expect("a plain path").to_owned();
    let arguments = ["--config", &of(&config), "--state-dir", &of(&state)];
    let mut console = Console::start(dir, &arguments, (120, 40), &[]);
    console.until_in(PATIENCE, "counts", |screen| canary(screen, "errors"));
    let both = processes_of(console.dir.path());
    assert_eq!(both.len(), 2, "a console and an engine: {both:?}");
    // Everything was drawn and asked once before it is measured.
    let warm = Instant::now() + Duration::from_secs(seconds / 4);
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut most: Vec<(u64, usize)> = vec![(0, 0); both.len()];
    let mut first = None;
    for (key, size) in KEYS.iter().cycle().zip([(120, 40), (80, 24), (200, 60)].iter().cycle()) {
        if Instant::now() >= end {
            break;
        }
        console.keys(key);
        console.resize(size.0, size.1);
        std::thread::sleep(10 * PAUSE);
        for (most, pid) in most.iter_mut().zip(&both) {
            let (resident, files) = taken(*pid);
            *most = (most.0.max(resident), most.1.max(files));
        }
        if Instant::now() >= warm && first.is_none() {
            first = Some(std::mem::replace(&mut most, vec![(0, 0); both.len()]));
        }
    }
    let first = first.expect("it ran for longer than a quarter");
    println!("kilobytes and open files, at first and then: {first:?} {most:?}");
    let growth = GROWTH_MAX + seconds * GROWTH_PER_S_MAX;
    for (before, after) in first.iter().zip(&most) {
        assert!(after.0 <= before.0 + growth, "memory grows: {first:?} {most:?}");
        assert!(after.1 <= before.1 + FILES_MAX, "open files grow: {first:?} {most:?}");
    }
    console.leaves("\x03");
}
