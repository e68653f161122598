//! `quarterdeck demo`: the sandbox fleet and the console on it.
//!
//! Decides where the sandbox's files live: in a directory of its own that goes away with it. Never
//! hands the engine anything but the configuration file, as in production. Contract: everything
//! listens on loopback, and ends with this process, its engine too; what a killed one left behind
//! is cleared up by the next.

use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use engine::settings::Settings;
use rustix::fs::FlockOperation;
use rustix::process::{Pid, Signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::cli::{Exit, Global, UNAVAILABLE, USAGE, console, needs_screen, plain, print, show};
use crate::demo::{Fault, Fleet, fleets, scenario};
use crate::io::journal::sqlite;
use crate::io::{state, terminal};
use crate::link::{Link, Options};

mod fleet;

#[derive(clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Args {
    /// One of the fleets of docs/fleets.md, with its real servers
    #[arg(long, value_name = "NAME", conflicts_with_all = ["scenario", "duration", "json"])]
    fleet: Option<String>,
    /// A fleet's times are divided by it
    #[arg(long, value_name = "N", default_value_t = 30, requires = "fleet",
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    speed: u32,
    /// Play this story by itself
    #[arg(long, value_name = "NAME")]
    scenario: Option<String>,
    /// Name the scenarios and the fleets
    #[arg(long)]
    list: bool,
    /// No terminal; needs --scenario or --fleet
    #[arg(long)]
    headless: bool,
    /// How long a headless scenario runs
    #[arg(long = "for", value_name = "DURATION", default_value = "60s")]
    duration: String,
    /// End by printing one JSON object (a headless scenario always does)
    #[arg(long)]
    json: bool,
    /// The sandbox on a wall: large type, read-only; Ctrl-C twice ends it
    #[arg(long, conflicts_with = "headless")]
    kiosk: bool,
    /// No screen: what changes, line by line, until a signal ends it
    #[arg(long, conflicts_with_all = ["headless", "fleet", "scenario", "kiosk"])]
    plain: bool,
}

pub fn run(args: &Args, global: &Global) -> Result<u8, Exit> {
    let mut global = global.clone();
    global.kiosk |= args.kiosk;
    global.plain |= args.plain;
    let global = &global;
    if args.list {
        let lines = scenario::SCENARIOS.iter().chain(fleets::FLEETS);
        let lines = lines.map(|(name, what)| format!("{name:<14} {what}\n"));
        return print(&lines.collect::<String>());
    }
    if let Some(name) = &args.fleet {
        return fleet::run(name, args, global);
    }
    if args.headless && args.scenario.is_none() {
        return Err(Exit::new(USAGE, "--headless needs --scenario or --fleet"));
    }
    let duration = seconds(&args.duration)?;
    if let Some(name) = &args.scenario {
        let names: Vec<&str> = scenario::SCENARIOS.iter().map(|(name, _)| *name).collect();
        if !names.contains(&name.as_str()) {
            let names = names.join(", ");
            return Err(Exit::new(USAGE, format!("no scenario {name}; there are {names}")));
        }
        if !args.headless {
            return Err(Exit::new(USAGE, "a scenario plays with --headless"));
        }
    }
    if !args.headless {
        needs_screen()?;
    }
    let place = Place::make()?;
    let started = Arc::new(OnceLock::new());
    let leaving = Arc::new(Mutex::new(()));
    if args.headless || global.plain {
        place.clear_on_signals(Arc::clone(&started), Arc::clone(&leaving))?;
    }
    let fleet = Fleet::start().map_err(|failure| Exit::new(1, failure.text.to_string()))?;
    let config =
        fleet.write_config(&place.dir).map_err(|failure| Exit::new(1, failure.text.to_string()))?;
    let options = Options {
        state_dir: place.dir.join("state"),
        config,
        // The directory is new: no engine runs there.
        config_hash: None,
        read_only: global.looks_only(),
    };
    let state_dir = options.state_dir.clone();
    let mut link = Link::connect(&options)
        .map_err(|failure| Exit::new(UNAVAILABLE, failure.text.to_string()))?;
    let ending = started.get_or_init(|| link.clone());
    let result = if let Some(name) = &args.scenario {
        let journal = || match sqlite::verify(&state_dir) {
            Ok(report) => (report.records, true),
            Err(broken) => (broken.seq, false),
        };
        scenario::run(name, &fleet, &mut link, duration, journal)
            .map_err(|why| Exit::new(1, why))
            .and_then(|outcome| {
                let json = serde_json::to_string(&outcome)
                    .map_err(|error| Exit::new(1, error.to_string()))?;
                print(&format!("{json}\n"))
            })
    } else if global.plain {
        plain::run(link)
    } else {
        let (source, menu) = (console::Source::Engine(link), Box::new(Menu(fleet)));
        show(source, global, Some(menu), &Settings::default(), None)
    };
    let _only = leaving.lock();
    ending.retire();
    drop(place);
    result
}

/// What stands in for a fleet's applications.
#[derive(clap::Args)]
pub struct StandIn {
    /// Where the fleet's files are
    source: PathBuf,
    /// Where they go, filled in
    site: PathBuf,
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    speed: u32,
}

pub fn stand_in(args: &StandIn) -> Result<u8, Exit> {
    crate::demo::stand_in::run(&args.source, &args.site, args.speed)
        .map(|()| 0)
        .map_err(|failure| Exit::new(1, failure.text.to_string()))
}

/// Whole seconds or minutes: `60s`, `2m`.
fn seconds(text: &str) -> Result<Duration, Exit> {
    let wrong = || Exit::new(USAGE, format!("--for {text}: say a duration such as 60s or 2m"));
    let (number, factor) = match text.strip_suffix('m') {
        Some(number) => (number, 60),
        None => (text.strip_suffix('s').unwrap_or(text), 1),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    if number == 0 || number > 24 * 3600 {
        return Err(wrong());
    }
    Ok(Duration::from_secs(number * factor))
}

/// The names of the sandboxes' directories begin with it; the process's number follows.
const PREFIX: &str = "quarterdeck-demo-";

/// Held by the process that a directory belongs to.
const LOCK: &str = "demo.lock";

/// Directories of dead sandboxes that one start clears; the next one goes on.
const SWEPT_MAX: usize = 64;

/// Far above what an engine whose fleet is gone needs on a loaded machine; one that hangs is left
/// to itself. A console that must end at once is ended by its terminal's own limit.
const ENGINE_PATIENCE: Duration = Duration::from_secs(5);

/// Longest that a signal waits for a start to be through.
const START_PATIENCE: Duration = Duration::from_secs(10);

const PAUSE: Duration = Duration::from_millis(5);

/// The sandbox's directory; removed at the end, after its engine.
struct Place {
    dir: PathBuf,
    /// Says that the directory is in use, for as long as it is open.
    _lock: File,
}

impl Place {
    fn make() -> Result<Place, Exit> {
        let base = std::env::var_os("XDG_RUNTIME_DIR")
            .map(PathBuf::from)
            .filter(|dir| dir.is_dir())
            .unwrap_or_else(std::env::temp_dir);
        sweep(&base);
        let dir = base.join(format!("{PREFIX}{}", std::process::id()));
        state::private_dir(&dir).map_err(|why| Exit::new(1, why))?;
        let failed = |what: &str| Exit::new(1, format!("{}: {what}", dir.display()));
        let mut options = File::options();
        options.create(true).truncate(false).write(true).mode(0o600);
        let lock = options.open(dir.join(LOCK)).map_err(|error| failed(&error.to_string()))?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| failed("another sandbox lives there"))?;
        Ok(Place { dir, _lock: lock })
    }

    /// Without a console nobody else listens to signals. An engine that is just being started
    /// listens nowhere yet, and would outlive its directory: its start is waited for. Who holds
    /// `leaving` says how the process ends: the scenario's end must not overtake the signal's.
    fn clear_on_signals(
        &self,
        started: Arc<OnceLock<Link>>,
        leaving: Arc<Mutex<()>>,
    ) -> Result<(), Exit> {
        let failed = |error: std::io::Error| Exit::new(1, format!("signals: {error}"));
        let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(failed)?;
        let dir = self.dir.clone();
        let watch = move || {
            if let Some(signal) = signals.forever().next() {
                let _only = leaving.lock();
                let deadline = Instant::now() + START_PATIENCE;
                while started.get().is_none() && Instant::now() < deadline {
                    thread::sleep(PAUSE);
                }
                if let Some(link) = started.get() {
                    link.retire();
                }
                clear(&dir);
                std::process::exit(i32::from(terminal::exit_code(signal)));
            }
        };
        thread::Builder::new().name("signals".to_owned()).spawn(watch).map_err(failed)?;
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        clear(&self.dir);
    }
}

/// Ends the engine that lives in `dir`, and removes `dir`.
fn clear(dir: &Path) {
    end_engine(&dir.join("state"));
    let deadline = Instant::now() + ENGINE_PATIENCE;
    // An engine's last write may put a file into a directory that is being emptied.
    while std::fs::remove_dir_all(dir).is_err() && dir.exists() && Instant::now() < deadline {
        thread::sleep(PAUSE);
    }
}

/// Ends the engine of this state directory. One that was only just started listens nowhere yet,
/// and would make its directory anew: it is found by its command line.
fn end_engine(state_dir: &Path) {
    let deadline = Instant::now() + ENGINE_PATIENCE;
    loop {
        let living = engines(state_dir);
        if living.is_empty() || Instant::now() > deadline {
            return;
        }
        for engine in living {
            // Gone already is as good.
            let _ = rustix::process::kill_process(engine, Signal::TERM);
        }
        thread::sleep(PAUSE);
    }
}

/// The processes that say so of themselves.
fn engines(state_dir: &Path) -> Vec<Pid> {
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    let own = |entry: std::fs::DirEntry| {
        let pid = entry.file_name().to_str()?.parse().ok().and_then(Pid::from_raw)?;
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        let mut words = line.split(|byte| *byte == 0).skip(1);
        let engine = words.next() == Some(b"engine")
            && words.any(|word| word == state_dir.as_os_str().as_bytes());
        engine.then_some(pid)
    };
    processes.filter_map(Result::ok).filter_map(own).collect()
}

/// Clears up after sandboxes that were killed. What cannot be cleared stays: it is no reason not to
/// start.
fn sweep(base: &Path) {
    let Ok(entries) = std::fs::read_dir(base) else { return };
    let own = rustix::process::geteuid().as_raw();
    let ours = entries.filter_map(|entry| {
        let entry = entry.ok()?;
        let number = entry.file_name().to_str()?.strip_prefix(PREFIX)?.parse().ok()?;
        // Of the entry itself: a link is nobody's directory.
        let meta = entry.metadata().ok()?;
        (meta.is_dir() && meta.uid() == own).then(|| (entry.path(), number))
    });
    for (dir, number) in ours.take(SWEPT_MAX) {
        if is_dead(&dir, number) {
            clear(&dir);
        }
    }
}

/// Nobody holds the lock; before there is one, nobody has the number.
fn is_dead(dir: &Path, number: i32) -> bool {
    match File::options().write(true).open(dir.join(LOCK)) {
        Ok(lock) => rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok(),
        Err(_) => Pid::from_raw(number)
            .is_some_and(|pid| rustix::process::test_kill_process(pid).is_err()),
    }
}

/// The fault menu of the console.
struct Menu(Fleet);

impl console::Faults for Menu {
    fn list(&self) -> Vec<(char, String, bool)> {
        self.0
            .faults()
            .into_iter()
            .map(|(fault, on)| (fault.key(), fault.label().to_owned(), on))
            .collect()
    }

    fn toggle(&mut self, index: usize) {
        if let Some(fault) = Fault::ALL.get(index) {
            let on = self.0.faults().iter().any(|(own, on)| own == fault && *on);
            self.0.set_fault(*fault, !on);
        }
    }
}
