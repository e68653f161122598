//! Colours, symbols, keys and clicks on a real terminal, whatever it is and says.

use super::*;

/// What the terminal is asked, and what this one says: white behind the text.
const QUESTION: &[u8] = b"\x1b]11;?\x1b\\\x1b[?2026$p\x1b[c";
const LIGHT: &str = "\x1b]11;rgb:ffff/ffff/ffff\x1b\\\x1b[?64;1;2c";

fn asked(console: &Console) {
    let deadline = Instant::now() + PATIENCE;
    while find_last(&console.seen().bytes, QUESTION).is_none() {
        assert!(Instant::now() < deadline, "the terminal was not asked");
        std::thread::sleep(PAUSE);
    }
}

/// A piece of text in the colour that `theme` gives to a role, by the bytes that set it.
fn is_drawn_in(console: &Console, style: &str) -> bool {
    find_last(&console.seen().bytes, style.as_bytes()).is_some()
}

/// An answer within half a second counts; a loaded machine may be later, so it is tried again.
const TRIES: usize = 10;

#[test]
fn a_light_background_is_asked_for_after_the_first_paint_and_changes_the_theme() {
    let environment = [("COLORFGBG", ""), ("COLORTERM", "truecolor")];
    // The light theme's ink.
    let light = "38;2;48;48;48";
    let answered = |_: usize| {
        let mut console = Console::on_feed(INCIDENT, (100, 30), &environment);
        asked(&console);
        assert!(!console.text().trim().is_empty(), "painted before it was asked");
        console.keys(LIGHT);
        let deadline = Instant::now() + Duration::from_secs(3);
        while !is_drawn_in(&console, light) && Instant::now() < deadline {
            std::thread::sleep(PAUSE);
        }
        // No key of it: `r`, `g`, `b`, `f` and `/` would all do something.
        let text = console.text();
        assert!(!text.contains("filter /") && !text.contains("ignored"), "{text}");
        is_drawn_in(&console, light)
    };
    assert!((0..TRIES).any(answered), "no light theme");
}

#[test]
fn a_late_or_cut_answer_is_no_key() {
    let mut console = Console::on_feed(INCIDENT, (100, 30), &[("COLORFGBG", "")]);
    console.shows("Queue");
    asked(&console);
    std::thread::sleep(Duration::from_secs(1));
    for part in ["\x1b]11;rgb:ff", "ff/ffff/", "ffff\x1b", "\\\x1b[?6", "4c"] {
        console.keys(part);
    }
    console.keys("?");
    console.shows("╭ keys ");
    let text = console.text();
    assert!(!text.contains("filter /") && !text.contains("ignored"), "{text}");
    console.keys("q");
    console.until("the panels", |screen| !screen.contains("╭ keys "));
    console.keys("q");
    assert_eq!(console.ended(PATIENCE), 0);
    console.is_restored();
}

#[test]
fn frames_are_marked_once_the_terminal_says_that_it_knows_the_marks() {
    let marks = |console: &Console| {
        let sent = String::from_utf8_lossy(&console.seen().bytes).into_owned();
        ["\x1b[?2026h", "\x1b[?2026l"].map(|mark| sent.matches(mark).count())
    };
    for (answer, knows) in [("\x1b[?2026;2$y", true), ("\x1b[?2026;0$y", false), ("", false)] {
        let mut console = Console::on_feed(INCIDENT, (100, 30), &[("COLORFGBG", "")]);
        console.shows("Queue");
        asked(&console);
        assert_eq!(marks(&console), [0, 0], "it has not answered yet");
        console.keys(&format!("{answer}\x1b[?64;1;2c"));
        console.keys("?");
        console.shows("keys");
        console.keys("q");
        console.keys("q");
        assert_eq!(console.ended(PATIENCE), 0);
        console.is_restored();
        // One more end goes out when it leaves, in case that a frame was cut.
        // What it sent last may still be on its way to us.
        let deadline = Instant::now() + PATIENCE;
        while marks(&console)[1] == 0 {
            assert!(Instant::now() < deadline, "no mark after {answer:?}");
            std::thread::sleep(PAUSE);
        }
        let [begun, ended] = marks(&console);
        assert_eq!((begun > 0, begun + 1), (knows, ended), "{answer:?}");
    }
}

#[test]
fn every_terminal_and_locale_shows_the_state() {
    let unicode = |text: &str| text.contains('│');
    for (name, value, draws) in [
        ("TERM", "xterm", true),
        ("TERM", "screen", true),
        ("TERM", "tmux-256color", true),
        ("TERM", "linux", false),
        ("LC_ALL", "C", false),
        ("LANG", "POSIX", false),
        ("LANG", "C.UTF-8", true),
    ] {
        let console = Console::on_feed(INCIDENT, (80, 24), &[(name, value)]);
        console.shows("Queue");
        assert_eq!(unicode(&console.text()), draws, "{name}={value}\n{}", console.text());
        if !draws {
            assert!(console.text().is_ascii(), "{name}={value}\n{}", console.text());
        }
    }
}

#[test]
fn a_terminal_of_sixteen_colours_is_sent_no_others() {
    let term = |term| Console::on_feed(INCIDENT, (120, 40), &[("TERM", term)]);
    let asked = times::start(private_dir(), &["--color", "16"], INCIDENT);
    for (name, console) in [("16", asked), ("linux", term("linux")), ("vt100", term("vt100"))] {
        console.shows("Queue");
        let sent = String::from_utf8_lossy(&console.seen().bytes).into_owned();
        let styles = sent.split("\x1b[").filter_map(|sequence| {
            let (numbers, _) = sequence.split_once('m')?;
            numbers.bytes().all(|it| it.is_ascii_digit() || it == b';').then_some(numbers)
        });
        let numbers: Vec<u8> =
            styles.flat_map(|style| style.split(';')).flat_map(str::parse).collect();
        assert!(numbers.iter().all(|it| ![38, 48, 5].contains(it)), "{name}: {numbers:?}");
        assert!(numbers.iter().any(|it| (30..38).contains(it)), "{name}: {numbers:?}");
        assert!(numbers.iter().any(|it| (90..98).contains(it)), "{name}: {numbers:?}");
    }
}

/// A person's own file, in the directory of the test.
fn own_file(text: &str) -> tempfile::TempDir {
    let dir = private_dir();
    fs::create_dir_all(dir.path().join("quarterdeck/themes")).expect("a folder");
    fs::write(dir.path().join("quarterdeck/console.toml"), text).expect("the file");
    dir
}

fn with_own(dir: tempfile::TempDir, environment: &[(&str, &str)]) -> Console {
    let home = dir.path().to_str().expect("a plain path").to_owned();
    let mut environment = environment.to_vec();
    environment.push(("XDG_CONFIG_HOME", &home));
    Console::on_service("tcp = \"127.0.0.1:9\"\n", dir, INCIDENT, (120, 40), &environment)
}

#[test]
fn own_keys_work_and_a_conflict_is_told() {
    let own = "theme = \"mono\"\n[keys]\nhelp = \"Ctrl-T\"\nzoom = \"q\"\n";
    let mut console = with_own(own_file(own), &[]);
    console
        .shows("console.toml:4:1: q is zoom now, quit has no key: give it one, or use the palette");
    console.keys("\x14");
    console.shows("Ctrl-T");
    console.shows("All traffic to the canary");
    console.keys("\x1b");
    console.until("the help closed", |screen| !screen.contains("All traffic to the canary"));
    console.keys("q");
    console.until("a zoomed panel", |screen| !screen.contains("sources ·"));
    console.keys("\x03\x03");
    assert_eq!(console.ended(PATIENCE), 0);
}

#[test]
fn a_theme_file_is_read_again_when_it_changes_and_a_broken_one_changes_nothing() {
    let dir = own_file("theme = \"own\"\n");
    let path = dir.path().join("quarterdeck/themes/own.toml");
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/themes");
    let text = fs::read_to_string(format!("{root}/dark.toml")).expect("the theme");
    fs::write(&path, &text).expect("a theme");
    let console = with_own(dir, &[("COLORTERM", "truecolor")]);
    console.shows("Queue");
    assert!(!is_drawn_in(&console, "38;2;1;2;250"));
    fs::write(&path, text.replace("#c8c8c8", "#0102fa")).expect("a theme");
    let deadline = Instant::now() + PATIENCE;
    while !is_drawn_in(&console, "38;2;1;2;250") {
        assert!(Instant::now() < deadline, "the theme was not read again");
        std::thread::sleep(PAUSE);
    }
    fs::write(&path, "[text]\nfg = \n").expect("a broken theme");
    console.shows("themes/own.toml:2: ");
    // What is drawn anew is drawn in the last good colours.
    let before = console.seen().bytes.len();
    console.resize(119, 40);
    let deadline = Instant::now() + PATIENCE;
    while find_last(&console.seen().bytes[before..], b"38;2;1;2;250").is_none() {
        assert!(Instant::now() < deadline, "the colours are gone");
        std::thread::sleep(PAUSE);
    }
    console.shows("Queue");
}

#[test]
fn a_broken_theme_keeps_nobody_out() {
    let dir = own_file("theme = \"own\"\n");
    let (dark, own) = ("quarterdeck/themes/dark.toml", "quarterdeck/themes/own.toml");
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/themes/dark.toml");
    fs::write(dir.path().join(dark), "[text]\nfg = \n").expect("a broken theme");
    fs::write(dir.path().join(own), "[text]\nfg = \n").expect("another one");
    let mut console = with_own(dir, &[("COLORTERM", "truecolor")]);
    console.shows("themes/own.toml:2: ");
    assert!(is_drawn_in(&console, "38;2;200;200;200"), "the ink of the theme inside");
    let text = fs::read_to_string(root).expect("the theme").replace("#c8c8c8", "#0102fa");
    fs::write(console.dir.path().join(own), text).expect("a whole one");
    let deadline = Instant::now() + PATIENCE;
    while !is_drawn_in(&console, "38;2;1;2;250") {
        assert!(Instant::now() < deadline, "it is mended, and not read");
        std::thread::sleep(PAUSE);
    }
    // Past the embedded ones it comes again.
    for name in ["dark.toml:2", "theme light", "theme contrast", "theme redgreen"] {
        console.keys("C");
        console.shows(name);
    }
    for name in ["theme blueyellow", "theme mono", "theme own"] {
        console.keys("C");
        console.shows(name);
    }
    console.keys("q");
    assert_eq!(console.ended(PATIENCE), 0);
}

#[test]
fn the_mouse_is_opt_in_and_selects_only() {
    let mut console = Console::on_feed(INCIDENT, (120, 40), &[]);
    console.shows("Queue");
    assert!(find_last(&console.seen().bytes, b"[?1000h").is_none(), "not unasked");
    console.keys("m");
    console.shows("the mouse selects rows here");
    // What it is told goes out before what it says.
    assert!(find_last(&console.seen().bytes, b"[?1000h").is_some(), "on");
    let focus = console.until_in(PATIENCE, "a focus", keys::focused);
    console.keys("\x1b[<0;100;20M");
    console.until_in(PATIENCE, "another focus", |screen| {
        keys::focused(screen).filter(|own| *own != focus)
    });
    console.keys("c");
    console.shows("copies services, incidents");
    console.keys("m");
    console.shows("the mouse is the terminal's");
    console.keys("q");
    assert_eq!(console.ended(PATIENCE), 0);
    console.is_restored();
    let seen = console.seen();
    let at = |text: &str| find_last(&seen.bytes, text.as_bytes());
    assert!(at("[?1000h") < at("[?1000l"), "the mouse is given back");
}

#[test]
fn a_new_severe_incident_calls_once_and_only_who_wants_it() {
    let called = "\x1b]777;notify;Quarterdeck test;high: Queue\x07\x07";
    for (own, expected) in
        [("", None), ("bell = true\n", Some("\x07")), ("notice = true\n", Some(called))]
    {
        let dir = private_dir();
        fs::create_dir_all(dir.path().join(".config/quarterdeck")).expect("a folder");
        fs::write(dir.path().join(".config/quarterdeck/console.toml"), own).expect("the file");
        let console = times::start(dir, &[], &INCIDENT.replace("high", "low"));
        console.shows("· low ");
        assert!(find_last(&console.seen().bytes, b"\x07").is_none(), "nothing severe");
        let feed = console.dir.path().join("feed.json");
        let now = format!(r#"{{"incidents":[{INCIDENT}]}}"#);
        fs::write(&feed, now).expect("the feed");
        console.shows("▲ high ");
        // A call goes out before the frame that shows its reason.
        let sent = String::from_utf8_lossy(&console.seen().bytes).into_owned();
        let bells = |text: &str| text.matches('\x07').count();
        assert_eq!(bells(&sent), expected.map_or(0, bells), "{own}");
        assert!(expected.is_none_or(|call| sent.contains(call)), "{own}");
    }
}

#[test]
fn the_links_of_the_selected_incident_can_be_followed() {
    let incident = INCIDENT.replace("\"id\"", "\"links\":[\"https://wiki.example/q\"],\"id\"");
    for (term, known) in [("xterm-256color", true), ("linux", false)] {
        let console = Console::on_feed(&incident, (120, 40), &[("TERM", term)]);
        console.shows("link https://wiki.example/q");
        let link = b"\x1b]8;id=q0;https://wiki.example/q\x1b\\h\x1b]8;;\x1b\\";
        assert_eq!(find_last(&console.seen().bytes, link).is_some(), known, "{term}");
    }
}

#[test]
fn what_is_copied_is_sent_to_the_terminal_and_said_to_be_no_more() {
    let mut console = Console::on_feed(INCIDENT, (120, 40), &[]);
    console.shows("Queue");
    console.keys("c");
    console.shows("sent to the terminal's clipboard");
    let bytes = console.seen().bytes.clone();
    // "shop" in the clipboard's letters.
    assert!(find_last(&bytes, b"\x1b]52;c;c2hvc").is_some());
}

#[test]
fn tmux_takes_what_is_copied_into_its_buffer() {
    let dir = private_dir();
    let (socket, settings) = (dir.path().join("tmux"), dir.path().join("tmux.conf"));
    let own = "set -g status off\nset -s set-clipboard on\nset -g allow-passthrough off\n";
    fs::write(&settings, own).expect("the settings");
    let mut command = CommandBuilder::new("tmux");
    command.args(["-u", "-S"]);
    command.arg(&socket);
    command.arg("-f");
    command.arg(&settings);
    command.args(["new-session", env!("CARGO_BIN_EXE_quarterdeck"), "demo"]);
    let mut console = Console::start_command(dir, command, (120, 40), &[]);
    console.shows("release · checkout");
    console.keys("c");
    console.shows("sent to the terminal's clipboard");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut list = std::process::Command::new("tmux");
        list.arg("-S").arg(&socket).arg("list-buffers");
        let buffers = list.output().expect("tmux answers").stdout;
        if String::from_utf8_lossy(&buffers).contains("checkout") {
            break;
        }
        assert!(Instant::now() < deadline, "no buffer\n{}", console.text());
        std::thread::sleep(PAUSE);
    }
}

impl Console {
    /// Waits until the terminal was given back after so many bytes, and continues the program.
    pub fn comes_back(&self, written: usize) {
        let left = || find_last(&self.seen().bytes[written..], b"[?1049l");
        let deadline = Instant::now() + PATIENCE;
        let mut given_back = left();
        while given_back.is_none() {
            assert!(Instant::now() < deadline, "the terminal was not given back");
            std::thread::sleep(PAUSE);
            given_back = left();
        }
        // The stop is on its way: a continue that comes first is lost, the next one is not.
        while find_last(&self.seen().bytes[written..], b"[?1049h") < given_back {
            assert!(Instant::now() < deadline, "it did not come back");
            self.signal(Signal::CONT);
            std::thread::sleep(5 * PAUSE);
        }
    }
}

#[test]
fn suspended_by_its_key_it_comes_back() {
    let mut console = Console::on_feed(INCIDENT, (100, 30), &[]);
    console.shows("Queue");
    let written = console.seen().bytes.len();
    console.keys("\x1a");
    console.comes_back(written);
    console.shows("Queue");
    console.keys("q");
    assert_eq!(console.ended(PATIENCE), 0);
    console.is_restored();
}
