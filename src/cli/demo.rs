//! `quarterdeck demo`: the sandbox fleet and the console on it.
//!
//! Decides where the sandbox's files live: in a directory of its own that goes away with it. Never
//! hands the engine anything but the configuration file, as in production. Contract: everything
//! listens on loopback, and ends with this process.

use std::path::PathBuf;
use std::time::Duration;

use crate::cli::{Exit, Global, UNAVAILABLE, USAGE, console, print, show};
use crate::demo::{Fault, Fleet, scenario};
use crate::io::journal::sqlite;
use crate::io::state;
use crate::link::{Link, Options};

#[derive(clap::Args)]
pub struct Args {
    /// Play this story by itself
    #[arg(long, value_name = "NAME")]
    scenario: Option<String>,
    /// Name the scenarios
    #[arg(long)]
    list: bool,
    /// No terminal; needs --scenario
    #[arg(long, requires = "scenario")]
    headless: bool,
    /// How long a headless scenario runs
    #[arg(long = "for", value_name = "DURATION", default_value = "60s")]
    duration: String,
    /// End by printing one JSON object (a headless scenario always does)
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, global: &Global) -> Result<u8, Exit> {
    if args.list {
        let lines = scenario::SCENARIOS.iter().map(|(name, what)| format!("{name:<14} {what}\n"));
        return print(&lines.collect::<String>());
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
    let place = Place::make()?;
    let fleet = Fleet::start().map_err(|failure| Exit::new(1, failure.text.to_string()))?;
    let config =
        fleet.write_config(&place.dir).map_err(|failure| Exit::new(1, failure.text.to_string()))?;
    let options = Options {
        state_dir: place.dir.join("state"),
        config,
        // The directory is new: no engine runs there.
        config_hash: None,
        read_only: global.read_only,
    };
    let state_dir = options.state_dir.clone();
    let mut link = Link::connect(&options)
        .map_err(|failure| Exit::new(UNAVAILABLE, failure.text.to_string()))?;
    let ending = link.clone();
    let result = match &args.scenario {
        Some(name) => {
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
        }
        None => show(link, global, Some(Box::new(Menu(fleet)))),
    };
    ending.retire();
    drop(place);
    result
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

/// The sandbox's directory; removed at the end.
struct Place {
    dir: PathBuf,
}

impl Place {
    fn make() -> Result<Place, Exit> {
        let base = std::env::var_os("XDG_RUNTIME_DIR")
            .map(PathBuf::from)
            .filter(|dir| dir.is_dir())
            .unwrap_or_else(std::env::temp_dir);
        let dir = base.join(format!("quarterdeck-demo-{}", std::process::id()));
        state::private_dir(&dir).map_err(|why| Exit::new(1, why))?;
        Ok(Place { dir })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // What is left is small, private and in a temporary directory.
        let _ = std::fs::remove_dir_all(&self.dir);
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
