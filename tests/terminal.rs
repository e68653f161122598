//! The real program on a real terminal: keys in, bytes out, and the terminal as it is left.

#[path = "terminal/cost.rs"]
mod cost;
#[path = "terminal/keys.rs"]
mod keys;
#[path = "terminal/looks.rs"]
mod looks;
#[path = "terminal/options.rs"]
mod options;
#[path = "terminal/soak.rs"]
mod soak;
#[path = "terminal/times.rs"]
mod times;
#[path = "terminal/trouble.rs"]
mod trouble;

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::num::NonZero;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use engine::text::Untrusted;
use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use quarterdeck::io::terminal::Screen;
use rustix::process::{Pid, Signal, kill_process};
use unicode_width::UnicodeWidthStr;

/// Far above what a start takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// A console whose terminal hung up must be gone after this.
const GONE_WITHIN: Duration = Duration::from_secs(1);
/// How often a time is measured before it is too long: a loaded machine is late now and then.
const ROUNDS: usize = 3;
/// Longer than the span below which two keys are no person's.
const BETWEEN_KEYS: Duration = Duration::from_millis(40);
const PAUSE: Duration = Duration::from_millis(10);

/// What the program wrote, as bytes and as the screen they make.
struct Seen {
    parser: vt100::Parser,
    bytes: Vec<u8>,
}

/// The program on a terminal of its own, in a directory of its own.
struct Console {
    master: Option<Box<dyn MasterPty + Send>>,
    writer: Option<Box<dyn Write + Send>>,
    child: Box<dyn Child + Send + Sync>,
    seen: Arc<Mutex<Seen>>,
    reader: Option<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    dir: tempfile::TempDir,
}

impl Drop for Console {
    fn drop(&mut self) {
        // It fails only when the process is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        // The engine would end by itself, but only after its directory is gone.
        for pid in processes_of(self.dir.path()) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// The processes that name this directory on their command line.
fn processes_of(dir: &Path) -> Vec<Pid> {
    let name = dir.to_str().expect("a plain path");
    let all = fs::read_dir("/proc").expect("the list of processes");
    let own = |entry: fs::DirEntry| {
        let pid = entry.file_name().to_str()?.parse().ok().and_then(Pid::from_raw)?;
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        String::from_utf8_lossy(&line).contains(name).then_some(pid)
    };
    all.filter_map(Result::ok).filter_map(own).collect()
}

fn private_dir() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).expect("a private one");
    dir
}

impl Console {
    fn demo((columns, rows): (u16, u16), environment: &[(&str, &str)]) -> Console {
        Console::start(private_dir(), &["demo"], (columns, rows), environment)
    }

    /// A console on one feed of the given incidents.
    fn on_feed(incidents: &str, size: (u16, u16), environment: &[(&str, &str)]) -> Console {
        Console::on_service("tcp = \"127.0.0.1:9\"\n", private_dir(), incidents, size, environment)
    }

    /// The same, and a service with this probe and what follows it.
    fn on_service(
        probe: &str,
        dir: tempfile::TempDir,
        incidents: &str,
        size: (u16, u16),
        environment: &[(&str, &str)],
    ) -> Console {
        fs::write(dir.path().join("feed.json"), format!(r#"{{"incidents":[{incidents}]}}"#))
            .expect("the feed");
        let config = dir.path().join("config.toml");
        let text = format!(
            "[environment]\nname = \"test\"\n\n\
             [[service]]\nname = \"shop\"\nalias = \"shp\"\n\n\
             [[service.probe]]\nname = \"port\"\n{probe}\n\
             [[feed]]\nname = \"file\"\njson = {{ file = \"feed.json\" }}\n"
        );
        fs::write(&config, text).expect("the configuration");
        let state: PathBuf = dir.path().join("state");
        let of = |path: &Path| path.to_str().expect("a plain path").to_owned();
        let arguments = ["--config", &of(&config), "--state-dir", &of(&state)];
        Console::start(dir, &arguments, size, environment)
    }

    fn start(
        dir: tempfile::TempDir,
        arguments: &[&str],
        (columns, rows): (u16, u16),
        environment: &[(&str, &str)],
    ) -> Console {
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_quarterdeck"));
        command.args(arguments);
        Console::start_command(dir, command, (columns, rows), environment)
    }

    fn start_command(
        dir: tempfile::TempDir,
        mut command: CommandBuilder,
        (columns, rows): (u16, u16),
        environment: &[(&str, &str)],
    ) -> Console {
        let size = PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).expect("a terminal");
        command.env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        for name in ["HOME", "XDG_RUNTIME_DIR", "XDG_STATE_HOME", "TMPDIR"] {
            command.env(name, dir.path());
        }
        command.env("TERM", "xterm-256color");
        // What it is asked otherwise.
        command.env("COLORFGBG", "15;0");
        for (name, value) in environment {
            if value.is_empty() {
                command.env_remove(name);
            } else {
                command.env(name, value);
            }
        }
        let child = pair.slave.spawn_command(command).expect("the program starts");
        let mut input = pair.master.try_clone_reader().expect("a reader");
        let parser = vt100::Parser::new(cells(rows), cells(columns), 0);
        let seen = Arc::new(Mutex::new(Seen { parser, bytes: Vec::new() }));
        let stop = Arc::new(AtomicBool::new(false));
        let (to, stopped) = (seen.clone(), stop.clone());
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(count @ 1..) = input.read(&mut buffer) {
                let mut seen = to.lock().unwrap_or_else(PoisonError::into_inner);
                seen.parser.process(&buffer[..count]);
                seen.bytes.extend_from_slice(&buffer[..count]);
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
            }
        });
        let writer = Some(pair.master.take_writer().expect("a writer"));
        let (master, reader) = (Some(pair.master), Some(reader));
        Console { master, writer, child, seen, reader, stop, dir }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn text(&self) -> String {
        self.seen().parser.screen().contents()
    }

    /// At a person's pace: what comes faster is taken for a paste and ignored.
    fn keys(&mut self, keys: &str) {
        std::thread::sleep(BETWEEN_KEYS);
        let writer = self.writer.as_mut().expect("the terminal is there");
        writer.write_all(keys.as_bytes()).expect("the terminal takes keys");
    }

    /// Waits until the screen is as wanted.
    fn until_in<T>(
        &self,
        limit: Duration,
        what: &str,
        look: impl Fn(&vt100::Screen) -> Option<T>,
    ) -> T {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(found) = look(self.seen().parser.screen()) {
                return found;
            }
            assert!(Instant::now() < deadline, "not in {limit:?}: {what}\n{}", self.text());
            std::thread::sleep(PAUSE);
        }
    }

    fn until(&self, what: &str, look: impl Fn(&str) -> bool) {
        self.until_in(PATIENCE, what, |screen| look(&screen.contents()).then_some(()));
    }

    fn shows(&self, text: &str) {
        self.until(text, |screen| screen.contains(text));
    }

    fn resize(&self, columns: u16, rows: u16) {
        let size = PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 };
        self.seen().parser.screen_mut().set_size(cells(rows), cells(columns));
        self.master.as_ref().expect("a terminal").resize(size).expect("a new size");
    }

    /// A service of the sandbox that is up, by its name: until all are known, the rows still change
    /// their places.
    fn selects(&mut self, service: &str) {
        self.until(service, |screen| {
            screen.lines().any(|line| line.contains("UP ") && line.contains(service))
        });
        self.keys("/");
        self.shows("filter /");
        self.keys(&format!("{service}\r"));
        self.shows(&format!("release · {service}"));
    }

    /// Opens a guard and waits until it takes keys.
    fn arm(&mut self, key: &str, title: &str) {
        self.keys(key);
        self.until(title, |screen| screen.contains(title) && screen.contains("Esc cancels"));
    }

    /// Types into the fields of a guard, Enter always apart: one that comes with its text is none.
    fn types(&mut self, fields: &str) {
        let cursor = |screen: &str| screen.lines().find(|it| it.contains('▏')).map(str::to_owned);
        let mut fields = fields.split_terminator('\r').peekable();
        while let Some(field) = fields.next() {
            self.keys(field);
            self.shows(&format!("{}▏", field.trim_start_matches('\x15')));
            let before = cursor(&self.text());
            self.keys("\r");
            if fields.peek().is_some() {
                self.until("the next field", |screen| cursor(screen) != before);
            }
        }
    }

    /// Types what a guard toward exposure asks for, until it has fired. On a loaded machine a probe
    /// is slow now and then: what stands against it is overridden, also where it comes in the
    /// countdown and stops it, with `reason` where none was asked for before.
    fn expose(&mut self, keys: &str, countdown: &str, reason: &str) {
        const OVERRIDE: &str = "type override ▏";
        const STOPPED: &str = "stopped: something new";
        let mut reason = reason;
        self.types(keys);
        loop {
            let asked = self.until_in(2 * PATIENCE, countdown, |screen| {
                let text = screen.contents();
                let open = text.contains("Esc cancels") || text.contains("any key cancels");
                let asked = [OVERRIDE, STOPPED].into_iter().find(|asked| text.contains(asked));
                (!open || asked.is_some()).then_some(asked)
            });
            match asked {
                Some(OVERRIDE) => self.types(&format!("override\r{}", std::mem::take(&mut reason))),
                Some(_) => self.keys("\r"),
                None => return,
            }
            self.until("what was typed", |screen| !screen.contains(asked.unwrap_or(OVERRIDE)));
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = self.child.process_id().expect("a process");
        let pid = Pid::from_raw(i32::try_from(pid).expect("a small number")).expect("not zero");
        kill_process(pid, signal).expect("the process is there");
    }

    /// Presses the key that leaves until it is gone: one that comes together with the key before it
    /// is no key of its own.
    fn leaves(&mut self, key: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.child.try_wait().expect("a child can be asked").is_none() {
            assert!(Instant::now() < deadline, "it does not leave\n{}", self.text());
            // It may leave between the question and the key.
            let _ = self.writer.as_mut().expect("a terminal").write_all(key.as_bytes());
            std::thread::sleep(BETWEEN_KEYS);
        }
        assert_eq!(self.ended(PATIENCE), 0);
    }

    /// The exit code; panics when the process does not end in time.
    fn ended(&mut self, limit: Duration) -> u32 {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be asked") {
                return status.exit_code();
            }
            assert!(Instant::now() < deadline, "still there after {limit:?}\n{}", self.text());
            std::thread::sleep(PAUSE);
        }
    }

    /// The terminal is the shell's again: the right screen, a cursor, no bracketed paste.
    fn is_restored(&mut self) {
        // All bytes are in when the reader met the end of the terminal.
        self.reader.take().expect("a reader").join().expect("the reader ends");
        let seen = self.seen();
        let screen = seen.parser.screen();
        assert!(!screen.alternate_screen(), "the alternate screen was left");
        assert!(!screen.hide_cursor(), "the cursor is shown");
        assert!(!screen.bracketed_paste(), "bracketed paste is off");
        for (on, off) in [("[?1049h", "[?1049l"), ("[?25l", "[?25h"), ("[?2004h", "[?2004l")] {
            let last = |end: &str| find_last(&seen.bytes, end.as_bytes());
            assert!(last(on).is_some() && last(on) < last(off), "{on} is undone by {off}");
        }
    }
}

fn cells(count: u16) -> NonZero<u16> {
    NonZero::new(count).expect("at least one cell")
}

fn size_of(screen: &vt100::Screen) -> (u16, u16) {
    let (rows, columns) = screen.size();
    (rows.get(), columns.get())
}

fn find_last(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).rposition(|window| window == wanted)
}

/// A column of the canary's row in the release panel, by its heading.
fn canary(screen: &vt100::Screen, column: &str) -> Option<f64> {
    let text = screen.contents();
    let heading = text.lines().find(|line| line.contains("│arm "))?;
    let at = heading.find(column).map(|byte| heading[..byte].chars().count())?;
    let end = at + column.chars().count();
    let row = text.lines().find(|line| line.starts_with("│canary "))?;
    let figure: String = row.chars().skip(end - 7).take(7).collect();
    figure.trim().strip_suffix(" %")?.parse().ok()
}

#[test]
fn a_bad_canary_is_seen_and_rolled_back_by_keys() {
    let mut console = Console::demo((120, 40), &[]);
    let before = console.master.as_ref().expect("a terminal").get_termios();
    console.until("checkout UP", |screen| {
        screen.lines().any(|line| line.contains("UP ") && line.contains("checkout"))
    });
    console.until_in(PATIENCE, "counts", |screen| canary(screen, "errors"));
    console.arm("S", "SHIFT checkout");
    console.expose("chk\r50\rlook at it\r", "SHIFT in", "");
    console.shows("set 50 % to canary");
    console.keys("F");
    console.shows("break something");
    console.keys("e");
    console.shows("e  ON");
    console.keys("\x1b");
    console.until("the menu closed", |screen| !screen.contains("break something"));
    let errors = |screen: &vt100::Screen| canary(screen, "errors").filter(|it| *it >= 1.0);
    console.until_in(PATIENCE, "the canary's errors", errors);
    console.shows("HighErrorRate");
    console.arm("S", "SHIFT checkout");
    console.shows("AGAINST");
    console.types("chk\r60\r");
    console.shows("type override");
    console.keys("\x1b");
    console.shows("nothing was sent");
    console.arm("R", "ROLLBACK checkout");
    console.types("chk\r");
    console.until("the rollback VERIFIED", |screen| {
        screen.contains("rollback 50 % → 0 %")
            && screen.contains("→ VERIFIED")
            && screen.contains("set 0 % to canary")
    });
    let at_zero = |screen: &vt100::Screen| canary(screen, "router").filter(|it| *it == 0.0);
    console.until_in(PATIENCE, "the router at 0 %", at_zero);
    console.keys("q");
    assert_eq!(console.ended(PATIENCE), 0);
    let after = console.master.as_ref().expect("a terminal").get_termios();
    assert_eq!(format!("{before:?}"), format!("{after:?}"), "the line settings are as before");
    console.is_restored();
}

/// A release of the sandbox: four steps of five seconds or more, and ten seconds to bake.
const RELEASED_WITHIN: Duration = Duration::from_mins(3);

#[test]
fn a_release_is_started_paused_and_resumed_by_keys_and_finalises_itself() {
    let mut console = Console::demo((120, 40), &[]);
    console.selects("catalog");
    console.arm("D", "DEPLOY catalog");
    console.expose("7.1.0\rtry it\rcat\r", "DEPLOY in", "");
    console.until("the first step", |screen| {
        screen.contains("r1 7.1.0  CANARY 1/4 · RUNNING") && screen.contains("[10] · 25")
    });
    console.shows("rollback ready: yes");
    console.arm("p", "PAUSE catalog");
    console.types("look first\r");
    console.shows("CANARY 1/4 · PAUSED");
    console.shows("look first");
    console.arm("u", "RESUME catalog");
    console.expose("cat\r", "RESUME in", "busy machine\r");
    console.shows("CANARY 1/4 · RUNNING");
    let finalised =
        |screen: &vt100::Screen| screen.contents().contains("r1 7.1.0 · FINALISED").then_some(());
    console.until_in(RELEASED_WITHIN, "the release FINALISED", finalised);
    console.until("the new stable", |screen| {
        screen.lines().any(|line| line.starts_with("│stable  7.1.0"))
    });
    console.keys("q");
    assert_eq!(console.ended(PATIENCE), 0);
}

#[test]
fn an_engine_that_answers_late_does_a_thing_once() {
    let mut console = Console::demo((120, 40), &[]);
    console.until("checkout UP", |screen| {
        screen.lines().any(|line| line.contains("UP ") && line.contains("checkout"))
    });
    let own = console.child.process_id().and_then(|pid| i32::try_from(pid).ok());
    let all = processes_of(console.dir.path());
    let engine = all.into_iter().find(|pid| Some(pid.as_raw_nonzero().get()) != own);
    let engine = engine.expect("an engine");
    kill_process(engine, Signal::STOP).expect("the engine is there");
    console.arm("R", "ROLLBACK checkout");
    console.types("chk\r");
    console.shows("rollback REQUESTED");
    // Longer than one question waits: it is asked once more while the engine is still stopped.
    let seconds = |screen: &str| {
        let (_, age) = screen.split_once("rollback REQUESTED ")?;
        age.split_once("s ago")?.0.parse::<u32>().ok()
    };
    console.until("a second question", |screen| seconds(screen).is_some_and(|it| it >= 6));
    kill_process(engine, Signal::CONT).expect("the engine is there");
    console.shows("→ VERIFIED");
    console.shows("checkout VERIFIED: 1 of 1");
    let text = console.text();
    assert_eq!(text.matches("intent ").count(), 1, "{text}");
}

#[test]
fn pasted_text_fires_nothing() {
    let mut console = Console::demo((120, 40), &[]);
    console.until("checkout UP", |screen| {
        screen.lines().any(|line| line.contains("UP ") && line.contains("checkout"))
    });
    console.arm("R", "ROLLBACK checkout");
    console.keys("\x1b[200~chk\r\x1b[201~");
    console.shows("pasted text is not taken here");
    console.keys("\r");
    console.keys("x");
    console.shows("(chk) x");
    console.keys("\x1b");
    console.shows("nothing was sent");
    // As it comes from a terminal that does not say where a paste begins.
    for (key, title, text) in
        [("R", "ROLLBACK checkout", "chk\r"), ("S", "SHIFT checkout", "chk\r5\rpasted\r")]
    {
        console.arm(key, title);
        console.keys(text);
        console.shows("Enter came with the text: press it again");
        console.keys("\x1b");
        console.until("the panels", |screen| !screen.contains(title));
    }
    console.shows("nothing was sent");
    assert!(!console.text().contains("intent"), "{}", console.text());
}

#[test]
fn signals_end_it_with_the_terminal_restored() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::HUP, 129), (Signal::INT, 130)] {
        let mut console = Console::on_feed(INCIDENT, (100, 30), &[]);
        console.shows("Queue");
        console.signal(signal);
        assert_eq!(console.ended(PATIENCE), code);
        console.is_restored();
    }
}

/// Set for the process that panics on the terminal of the test below.
const PANIC: &str = "QUARTERDECK_TEST_PANIC";

/// What that process does: it takes the terminal as the console does, draws, and panics.
fn panic_on_the_terminal(place: &str) {
    let mut screen = Screen::enter(false).expect("a terminal");
    screen.draw(|frame| frame.render_widget("drawn", frame.area())).expect("a frame");
    assert_ne!(place, "here", "on purpose");
    let elsewhere = std::thread::spawn(|| panic!("on purpose"));
    assert!(elsewhere.join().is_err());
    let after = screen.draw(|frame| frame.render_widget("garbage", frame.area()));
    after.expect_err("the terminal is the shell's");
}

#[test]
fn a_panic_gives_the_terminal_back_before_it_speaks() {
    if let Ok(place) = std::env::var(PANIC) {
        return panic_on_the_terminal(&place);
    }
    for (place, code) in [("here", 101), ("elsewhere", 0)] {
        let own = std::env::current_exe().expect("this test's program");
        let mut command = CommandBuilder::new(own);
        let name = "a_panic_gives_the_terminal_back_before_it_speaks";
        command.args(["--exact", name, "--nocapture", "--test-threads", "1"]);
        let mut console =
            Console::start_command(private_dir(), command, (80, 24), &[(PANIC, place)]);
        // This one may be in raw mode by now.
        let untouched = native_pty_system().openpty(PtySize::default()).expect("a terminal");
        let before = untouched.master.get_termios();
        assert_eq!(console.ended(PATIENCE), code, "{place}");
        let after = console.master.as_ref().expect("a terminal").get_termios();
        assert_eq!(format!("{before:?}"), format!("{after:?}"), "the line settings are as before");
        console.is_restored();
        let seen = console.seen();
        let at = |text: &str| find_last(&seen.bytes, text.as_bytes());
        assert!(at("drawn").is_some() && at("drawn") < at("[?1049l"), "{place}: it was drawn");
        assert!(at("[?1049l") < at("on purpose"), "{place}: restored before it is printed");
        assert_eq!(at("garbage"), None, "{place}: nothing is drawn on the shell's screen");
    }
}

/// The sandboxes' directories.
fn sandboxes(dir: &Path) -> usize {
    let entries = fs::read_dir(dir).expect("a directory").filter_map(Result::ok);
    let ours =
        |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with("quarterdeck-demo-");
    entries.filter(ours).count()
}

#[test]
fn however_the_sandbox_ends_it_leaves_nothing_behind() {
    type Way = fn(&mut Console);
    let hang_up: Way = |console| {
        console.stop.store(true, Ordering::SeqCst);
        console.writer = None;
        console.master = None;
        console.reader.take().expect("a reader").join().expect("the reader ends");
    };
    let ways: [(&str, Way, u32); 4] = [
        ("q", |console| console.keys("q"), 0),
        ("SIGTERM", |console| console.signal(Signal::TERM), 143),
        ("SIGHUP", |console| console.signal(Signal::HUP), 129),
        ("hang-up", hang_up, 129),
    ];
    for (name, way, code) in ways {
        let mut console = Console::demo((120, 40), &[]);
        console.until("checkout UP", |screen| {
            screen.lines().any(|line| line.contains("UP ") && line.contains("checkout"))
        });
        assert_eq!(sandboxes(console.dir.path()), 1);
        way(&mut console);
        assert_eq!(console.ended(PATIENCE), code, "{name}");
        assert_eq!(sandboxes(console.dir.path()), 0, "{name} leaves its directory");
        let deadline = Instant::now() + PATIENCE;
        while !processes_of(console.dir.path()).is_empty() {
            assert!(Instant::now() < deadline, "{name} leaves its engine");
            std::thread::sleep(PAUSE);
        }
    }
}

#[test]
fn the_sandbox_can_be_seen_on_a_wall() {
    let mut console = Console::start(private_dir(), &["demo", "--kiosk"], (120, 40), &[]);
    console.shows("READ-ONLY");
    console.shows("Ctrl-C twice ends");
    console.keys("\x03");
    console.shows("Ctrl-C again to quit");
    console.keys("\x03");
    assert_eq!(console.ended(PATIENCE), 0);
    assert_eq!(sandboxes(console.dir.path()), 0);
}

#[test]
fn continued_from_outside_it_takes_the_terminal_again() {
    let mut console = Console::on_feed(INCIDENT, (100, 30), &[]);
    console.shows("Queue");
    let before = console.seen().bytes.len();
    console.signal(Signal::STOP);
    console.signal(Signal::CONT);
    let entered = |console: &Console| find_last(&console.seen().bytes[before..], b"[?1049h");
    let deadline = Instant::now() + PATIENCE;
    while entered(&console).is_none() {
        assert!(Instant::now() < deadline, "the terminal was not taken again");
        std::thread::sleep(PAUSE);
    }
    console.shows("Queue");
    console.keys("q");
    assert_eq!(console.ended(PATIENCE), 0);
    console.is_restored();
}

#[test]
fn a_terminal_that_hangs_up_ends_it_at_once() {
    let gone_after = |_: usize| {
        let mut console = Console::on_feed(INCIDENT, (100, 30), &[]);
        console.shows("Queue");
        console.stop.store(true, Ordering::SeqCst);
        console.writer = None;
        console.master = None;
        // The last end of the terminal goes with the reader, after the clock's next second.
        console.reader.take().expect("a reader").join().expect("the reader ends");
        let hung_up = Instant::now();
        console.ended(PATIENCE);
        hung_up.elapsed()
    };
    let mut all = (0..ROUNDS).map(gone_after);
    assert!(all.any(|spent| spent < GONE_WITHIN), "never within {GONE_WITHIN:?}");
}

/// From the smallest to larger than any screen, each time far from the one before.
const SIZES: [(u16, u16); 12] = [
    (1, 1),
    (300, 100),
    (2, 40),
    (120, 2),
    (39, 9),
    (200, 60),
    (40, 10),
    (1, 100),
    (300, 1),
    (80, 24),
    (5, 60),
    (119, 40),
];

#[test]
fn every_size_draws_and_none_panics() {
    let mut console = Console::on_feed(INCIDENT, (80, 24), &[]);
    console.shows("Queue");
    for round in 0..3 {
        for size in SIZES {
            console.resize(size.0, size.1);
            if round > 0 {
                console.keys(["?", "z", "\t", ":", "/", "\x7f"][usize::from(size.1) % 6]);
            }
        }
    }
    console.resize(120, 40);
    console.until("a whole screen", |screen| screen.contains("TEST"));
    // The first closes whatever is open, the next asks, the last leaves.
    console.leaves("\x03");
    console.is_restored();
}

#[test]
fn small_terminals_show_the_state() {
    for size in [(40, 10), (20, 5)] {
        let console = Console::on_feed(INCIDENT, size, &[("TERM", "xterm")]);
        console.shows("shop");
    }
}

/// The parameters of every SGR sequence, and every other sequence without its numbers.
#[derive(Default)]
struct Sequences {
    styles: BTreeSet<String>,
    others: BTreeSet<String>,
    /// Control bytes outside of any sequence.
    loose: BTreeSet<u8>,
    text: String,
}

/// Splits what was written. Moves of the cursor are left out.
fn sequences(bytes: &[u8]) -> Sequences {
    let written = String::from_utf8_lossy(bytes).into_owned();
    let mut found = Sequences::default();
    let mut rest = written.chars().peekable();
    while let Some(c) = rest.next() {
        if c != '\x1b' {
            match u8::try_from(c) {
                Ok(byte) if c.is_control() => _ = found.loose.insert(byte),
                Ok(_) | Err(_) => found.text.push(c),
            }
            continue;
        }
        let mut whole = String::new();
        if rest.peek() == Some(&'[') {
            for c in rest.by_ref() {
                whole.push(c);
                if whole.len() > 1 && ('@'..='~').contains(&c) {
                    break;
                }
            }
        } else {
            whole.extend(rest.next());
        }
        match whole.chars().last() {
            Some('m') => _ = found.styles.insert(whole),
            Some('A'..='H') => {}
            Some(_) | None => _ = found.others.insert(whole),
        }
    }
    found
}

#[test]
fn without_colour_the_selection_is_still_seen() {
    let console = Console::on_feed(INCIDENT, (120, 40), &[("NO_COLOR", "1")]);
    console.shows("Queue");
    console.until_in(PATIENCE, "a row in reverse", |screen| {
        let (rows, columns) = size_of(screen);
        let reverse = |row| {
            let cells = (0..columns).filter_map(move |column| screen.cell(row, column));
            cells.filter(|cell| cell.inverse()).count() > 20
        };
        (0..rows).any(reverse).then_some(())
    });
    for style in sequences(&console.seen().bytes).styles {
        for number in style.trim_matches(['[', 'm']).split(';') {
            let number: u32 = number.parse().unwrap_or(0);
            let coloured = matches!(number, 30..=38 | 40..=48 | 58 | 90..=97 | 100..=107);
            assert!(!coloured, "{style:?} sets a colour");
        }
    }
}

/// An everyday incident.
const INCIDENT: &str = r#"{"id":"q","name":"Queue","severity":"high","summary":"jobs wait"}"#;

/// What an attacker would put into an alert: sequences, C1, bidi, invisible, tags, marks.
const HOSTILE: &[&str] = &[
    "\x1b[2J\x1b[31mred",
    "\x1b]52;c;aGVsbG8=\x07end",
    "\x1b]0;title\x1b\\\x1bP+q\x1b\\",
    "\u{9b}31m\u{9d}8;;http://x\u{9c}",
    "\u{202e}txt.exe\u{2066}a\u{2069}",
    "a\u{200b}b\u{200d}c\u{feff}d",
    "\u{e0041}\u{e0042}tag",
    "e\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}!",
    "line\r\nbreak\ttab\u{8}\u{8}\u{7f}",
];

/// The screen and everything written until the incidents stand on it.
fn painted(texts: &[String]) -> (Vec<Vec<u16>>, Sequences) {
    let incidents: Vec<String> = texts
        .iter()
        .enumerate()
        .map(|(place, text)| {
            let text = serde_json::to_string(text).expect("text is JSON");
            format!(
                r#"{{"id":"{place}","name":{text},"severity":"high","summary":{text},
                "labels":{{"team":{text}}}}}"#
            )
        })
        .collect();
    // A probe and a router that say the same on their way down.
    let dir = private_dir();
    let voice = dir.path().join("voice");
    fs::write(&voice, texts.join("-")).expect("the voice");
    let says = format!(r#"["/bin/sh", "-c", "cat {} >&2; exit 1"]"#, voice.display());
    let service = format!(
        "command = {says}\ninterval = \"1s\"\n\n[service.router]\nname = \"edge\"\n\
         command = {{ read = {says}, set = [\"/bin/true\", \"{{canary}}\"] }}\n"
    );
    let incidents = incidents.join(",");
    let mut console = Console::on_service(&service, dir, &incidents, (120, 60), &[]);
    console.shows("DOWN");
    console.shows("edge router failing");
    let open = format!("incidents · {} open", texts.len());
    console.shows(&open);
    console.keys("/");
    console.shows("filter /");
    console.keys("\x1b");
    console.until("the filter closed", |screen| !screen.contains("filter /"));
    let seen = console.seen();
    let screen = seen.parser.screen();
    let (rows, columns) = size_of(screen);
    let is_border = |row, column| {
        screen.cell(row, column).is_some_and(|cell| "│╭╮╰╯".contains(cell.contents()))
            && screen.cell(row, column).is_some_and(vt100::Cell::has_contents)
    };
    let borders = (0..rows)
        .map(|row| (0..columns).filter(|column| is_border(row, *column)).collect())
        .collect();
    (borders, sequences(&seen.bytes))
}

#[test]
fn hostile_text_is_only_text() {
    let hostile: Vec<String> = HOSTILE.iter().map(|text| (*text).to_owned()).collect();
    let plain: Vec<String> =
        HOSTILE.iter().map(|text| "x".repeat(Untrusted::new(text).display().width())).collect();
    let (borders, written) = painted(&hostile);
    let (plain_borders, plain) = painted(&plain);
    assert_eq!(written.others, plain.others, "no other sequence than with harmless text");
    assert_eq!(written.loose, plain.loose, "no control byte outside of a sequence");
    assert!(written.others.iter().all(|one| one.starts_with('[')), "{:?}", written.others);
    // Which of our own styles occur depends on how old the figures are at that moment.
    assert!(!written.styles.contains("[31m"), "no style of the text's own");
    assert_eq!(borders, plain_borders, "every border stands where it stood");
    let invisible = |c: &char| Untrusted::new(&c.to_string()).display() != c.to_string();
    let marks = |c: &char| ('\u{300}'..='\u{36f}').contains(c);
    let shown: BTreeSet<char> = written.text.chars().filter(|c| !marks(c)).collect();
    assert_eq!(shown.iter().filter(|c| invisible(c)).collect::<Vec<_>>(), Vec::<&char>::new());
}
