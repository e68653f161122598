//! An engine that hangs, and a console without a terminal: what is said of them.

use std::cell::Cell;
use std::process::{Command, Stdio};

use super::*;

/// The arguments for a service whose probe is asked once in ten minutes.
fn quiet(dir: &tempfile::TempDir) -> [String; 4] {
    let config = dir.path().join("config.toml");
    let text = "[environment]\nname = \"test\"\n\n[[service]]\nname = \"shop\"\n\n\
                [[service.probe]]\nname = \"port\"\ntcp = \"127.0.0.1:9\"\ninterval = \"10m\"\n";
    fs::write(&config, text).expect("the configuration");
    let of = |path: PathBuf| path.to_str().expect("a plain path").to_owned();
    let state = of(dir.path().join("state"));
    ["--config".to_owned(), of(config), "--state-dir".to_owned(), state]
}

#[test]
fn an_engine_that_is_stopped_is_said_to_be_silent_and_a_quiet_one_is_not() {
    let dir = private_dir();
    let arguments = quiet(&dir);
    let console = Console::start(dir, &arguments.each_ref().map(String::as_str), (120, 40), &[]);
    console.shows("shop/port DOWN");
    let (begin, silent) = (Instant::now(), "STALE: the engine does not answer since");
    // Nothing changes for longer than an engine may be silent; that it lives is no news.
    let still = Cell::new((None, begin));
    console.until("the engine is heard, and nothing new", |screen| {
        let ticker = screen.chars().find(|c| "◐◓◑◒".contains(*c));
        if still.get().0 != ticker {
            still.set((ticker, Instant::now()));
        }
        let long = ticker.is_some() && still.get().1.elapsed() > Duration::from_secs(7);
        long && begin.elapsed() > Duration::from_secs(8) && !screen.contains(silent)
    });
    let own = console.child.process_id().and_then(|pid| i32::try_from(pid).ok());
    let all = processes_of(console.dir.path());
    let engine = all.into_iter().find(|pid| Some(pid.as_raw_nonzero().get()) != own);
    let engine = engine.expect("an engine");
    kill_process(engine, Signal::STOP).expect("the engine is there");
    console.shows(silent);
    kill_process(engine, Signal::CONT).expect("the engine is there");
    console.until("the engine is heard again", |screen| !screen.contains(silent));
}

#[test]
fn without_a_terminal_it_says_what_needs_none() {
    let dir = private_dir();
    // In a session of its own it has no terminal at all, wherever this test runs.
    let out = Command::new("setsid")
        .arg("--wait")
        .arg(env!("CARGO_BIN_EXE_quarterdeck"))
        .args(quiet(&dir))
        .env("HOME", dir.path())
        .env("TERM", "xterm")
        .env_remove("XDG_CONFIG_HOME")
        .stdin(Stdio::null())
        .output()
        .expect("setsid of util-linux");
    for pid in processes_of(dir.path()) {
        // It fails only when the engine that was started is gone already.
        let _ = kill_process(pid, Signal::KILL);
    }
    let text = String::from_utf8_lossy(&out.stderr);
    assert!(!out.status.success(), "{text}");
    assert!(text.contains("`quarterdeck status` and `quarterdeck --plain` need none"), "{text}");
}

#[test]
fn what_knows_no_screen_is_refused_and_gets_lines() {
    for (term, said) in [("dumb", "TERM=dumb knows no screen"), ("", "TERM is not set")] {
        let mut console = Console::on_feed(INCIDENT, (300, 24), &[("TERM", term)]);
        assert_eq!(console.ended(PATIENCE), 1);
        let text = console.text();
        assert!(text.contains(said) && text.contains("`quarterdeck --plain`"), "{text}");
        assert!(find_last(&console.seen().bytes, b"\x1b").is_none(), "{text}");
        let dir = private_dir();
        let arguments = quiet(&dir);
        let mut arguments = arguments.each_ref().map(String::as_str).to_vec();
        arguments.push("--plain");
        let console = Console::start(dir, &arguments, (120, 40), &[("TERM", term)]);
        console.shows("DOWN");
        assert!(find_last(&console.seen().bytes, b"\x1b").is_none(), "{}", console.text());
    }
}
