//! The switches of the command line that a screen alone can show, and a screen that is tiny.

use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};

use super::keys::still;
use super::times::start;
use super::*;

#[test]
fn asked_for_no_questions_it_asks_none() {
    for (more, asks) in [(&[][..], true), (&["--no-probe"], false)] {
        let mut console = start(private_dir(), more, INCIDENT);
        console.shows("Queue");
        console.keys("?");
        // Questions go out before the first key is taken.
        console.shows("╭ keys ");
        let asked = find_last(&console.seen().bytes, b"\x1b[?2026$p").is_some();
        assert_eq!(asked, asks, "{more:?}");
    }
}

/// Whether a word on the screen is in reverse.
fn is_reverse(screen: &vt100::Screen, word: &str) -> Option<bool> {
    let (rows, columns) = size_of(screen);
    let row =
        (0..rows).find(|row| screen.contents_between(*row, 0, *row, columns).contains(word))?;
    let line = screen.contents_between(row, 0, row, columns);
    let column = line[..line.find(word)?].chars().count();
    Some(screen.cell(row, u16::try_from(column).ok()?)?.inverse())
}

#[test]
fn an_alarm_on_the_wall_flashes_unless_nothing_may() {
    for (more, flashes) in [(&["--kiosk"][..], true), (&["--kiosk", "--no-blink"], false)] {
        let console = start(private_dir(), more, INCIDENT);
        console.shows("HIGH Queue");
        let (mut seen, begin) = (BTreeSet::new(), Instant::now());
        let most = if flashes { PATIENCE } else { Duration::from_millis(2_500) };
        while seen.len() < 2 && begin.elapsed() < most {
            seen.extend(is_reverse(console.seen().parser.screen(), "Queue"));
            std::thread::sleep(PAUSE);
        }
        assert_eq!(seen.len() > 1, flashes, "{more:?}: {seen:?}");
    }
}

/// The seconds of the day by the clock in the first line.
fn clock(screen: &str) -> Option<u32> {
    let (before, _) = screen.lines().next()?.split_once(" UTC")?;
    let time = before.rsplit(' ').next()?;
    time.split(':').try_fold(0, |sum, part| Some(sum * 60 + part.parse::<u32>().ok()?))
}

#[test]
fn on_a_thin_line_the_clock_goes_in_steps() {
    let console = start(private_dir(), &["--slow"], INCIDENT);
    console.shows("Queue");
    let last = std::cell::Cell::new(None);
    console.until_in(PATIENCE, "a step of the clock", |screen| {
        let now = clock(&screen.contents())?;
        let step = now.saturating_sub(last.replace(Some(now)).unwrap_or(now));
        (step >= 4).then_some(())
    });
}

/// Killed when it is dropped.
struct Engine(Child);

impl Drop for Engine {
    fn drop(&mut self) {
        // It fails only when it is gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_kiosk_looks_up_no_secret_of_an_engine_that_runs() {
    let dir = private_dir();
    let place = |name: &str| dir.path().join(name).to_str().expect("a plain path").to_owned();
    let told = dir.path().join("told");
    let text = format!(
        "[environment]\nname = \"test\"\n\n[[service]]\nname = \"shop\"\nalias = \"shp\"\n\n\
         [[service.router]]\nname = \"api\"\nhttp = {{ url = \"http://127.0.0.1:9/s\", \
         token = {{ command = [\"/bin/sh\", \"-c\", \"echo x >> {}; echo secret\"] }} }}\n",
        told.display()
    );
    fs::write(place("config.toml"), text).expect("the configuration");
    let (config, state) = (place("config.toml"), place("state"));
    let arguments = ["--config", &config, "--state-dir", &state];
    let mut command = Command::new(env!("CARGO_BIN_EXE_quarterdeck"));
    command.args(arguments).arg("engine").stdin(Stdio::null()).stderr(Stdio::null());
    let _engine = Engine(command.spawn().expect("the program starts"));
    let socket = dir.path().join("state/engine.sock");
    let deadline = Instant::now() + PATIENCE;
    while std::os::unix::net::UnixStream::connect(&socket).is_err() {
        assert!(Instant::now() < deadline, "no engine at {}", socket.display());
        std::thread::sleep(PAUSE);
    }
    let lookups = || fs::read_to_string(&told).unwrap_or_default().lines().count();
    let engines = lookups();
    assert!(engines > 0, "the engine looked it up");
    for (more, looks_up) in [("--kiosk", false), ("--slow", true)] {
        let words = [&arguments[..], &[more]].concat();
        let console = Console::start(private_dir(), &words, (120, 40), &[]);
        console.shows("shop");
        assert_eq!(lookups() > engines, looks_up, "{more}");
    }
}

#[test]
fn on_a_tiny_screen_nothing_is_armed_unseen() {
    let (dir, arguments) = still();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut console = Console::start(dir, &arguments, (39, 9), &[]);
    console.shows("UP shop");
    console.keys("S");
    console.shows("too small for SHIFT: it takes 40x10");
    console.arm("R", "ROLLBACK shop");
    console.types("shp\r");
    console.shows("rollback shop: VERIFIED");
    // What was opened on a larger screen closes when it is gone.
    console.resize(80, 24);
    console.arm("S", "SHIFT shop");
    console.resize(39, 9);
    console.shows("too small for SHIFT");
    console.keys("q");
    assert_eq!(console.ended(PATIENCE), 0);
}
