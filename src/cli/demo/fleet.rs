//! `quarterdeck demo --fleet NAME`: a fleet with its real servers, and the console on it.
//!
//! Decides when it ends: with the console, or without one with its input or a signal. Never
//! configures anything: the fleet's own file is what the engine gets. Contract: without a terminal
//! one JSON line says where everything is, once everything answers.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::{Args, Place};
use crate::cli::console::Source;
use crate::cli::{
    BAD_CONFIG, Exit, Global, UNAVAILABLE, USAGE, complain, needs_screen, print, show,
};
use crate::demo::fleets::{FLEETS, Running};
use crate::io::terminal;
use crate::link::{Link, Options};

/// How often a start or a quiet life looks whether a signal came.
const PAUSE: Duration = Duration::from_millis(50);

/// Where everything is.
#[derive(serde::Serialize)]
struct Everything {
    fleet: String,
    config: PathBuf,
    state: PathBuf,
    ports: BTreeMap<String, u16>,
}

pub fn run(name: &str, args: &Args, global: &Global) -> Result<u8, Exit> {
    let names: Vec<&str> = FLEETS.iter().map(|(name, _)| *name).collect();
    if !names.contains(&name) {
        let names = names.join(", ");
        return Err(Exit::new(USAGE, format!("no fleet {name}; there are {names}")));
    }
    if !args.headless {
        needs_screen()?;
    }
    let signal = Arc::new(AtomicUsize::new(0));
    let flags: Result<Vec<_>, _> = [SIGTERM, SIGINT, SIGHUP]
        .into_iter()
        .map(|number| {
            let value = usize::try_from(number).unwrap_or_default();
            signal_hook::flag::register_usize(number, Arc::clone(&signal), value)
        })
        .collect();
    let flags = flags.map_err(|error| Exit::new(1, format!("signals: {error}")))?;
    let came = || i32::try_from(signal.load(Ordering::Relaxed)).unwrap_or_default();
    let place = Place::make()?;
    if !args.headless {
        complain(&format!("starting the fleet {name}…"));
    }
    let fleet = match Running::start(name, &place.dir, args.speed, || came() != 0) {
        Ok(fleet) => fleet,
        Err(_) if came() != 0 => return Ok(terminal::exit_code(came())),
        Err(failure) => return Err(Exit::new(1, failure.text.to_string())),
    };
    let options = Options {
        state_dir: place.dir.join("state"),
        config: fleet.site.join("quarterdeck.toml"),
        // The directory is new: no engine runs there.
        config_hash: None,
        read_only: global.looks_only(),
    };
    let everything = Everything {
        fleet: name.to_owned(),
        config: options.config.clone(),
        state: options.state_dir.clone(),
        ports: fleet.ports(),
    };
    let link = Link::connect(&options)
        .map_err(|failure| Exit::new(UNAVAILABLE, failure.text.to_string()))?;
    let ending = link.clone();
    let result = if args.headless {
        serde_json::to_string(&everything)
            .map_err(|error| Exit::new(1, error.to_string()))
            .and_then(|json| print(&format!("{json}\n")))
            .map(|_| stay(came))
    } else {
        // The console listens to signals itself.
        for flag in flags {
            signal_hook::low_level::unregister(flag);
        }
        let loaded = crate::config::read_blind(&options.config);
        let settings = loaded.map_err(|why| Exit::new(BAD_CONFIG, why))?.engine;
        show(Source::Engine(link), global, None, &settings, None)
    };
    ending.retire();
    // The engine first: what it watches goes away after it.
    super::end_engine(&place.dir.join("state"));
    drop(fleet);
    drop(place);
    result
}

/// Goes on until the input ends or a signal comes; the exit code.
fn stay(came: impl Fn() -> i32) -> u8 {
    let (tell, ended) = mpsc::channel::<()>();
    thread::spawn(move || {
        // Whatever is typed, only its end counts.
        let mut buffer = [0; 256];
        while std::io::stdin().read(&mut buffer).is_ok_and(|count| count > 0) {}
        drop(tell);
    });
    loop {
        match ended.recv_timeout(PAUSE) {
            Err(mpsc::RecvTimeoutError::Timeout) if came() == 0 => {}
            Err(mpsc::RecvTimeoutError::Timeout) => return terminal::exit_code(came()),
            Ok(()) | Err(mpsc::RecvTimeoutError::Disconnected) => return 0,
        }
    }
}
