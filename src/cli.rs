//! The command line: one subcommand for everything that the console can do.
//!
//! Decides exit codes and what is printed. Never acts by itself: every change is submitted to the
//! engine of the state directory, as the console's are. Contract: 0 is success and only that; 64
//! is a wrong call, 65 a wrong configuration, 69 an engine that cannot be reached.

pub mod console;
mod demo;
mod doctor;
mod history;
mod incident;
mod journal;
mod operate;
mod plain;
mod release;
mod report;
mod runbook;
mod status;
mod steer;
mod stuck;
mod taste;
mod validate;
mod version;
mod wait;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand};
use engine::settings::Settings;
use engine::types::Actor;

use crate::cli::console::{ColorChoice, Source};
use crate::config::Loaded;
use crate::io::recording::Player;
use crate::io::state;
use crate::link::{Link, Options};
use crate::zone::Zone;
use crate::{config, driver};

/// Exit codes beyond those of the commands themselves (as in `sysexits.h`).
pub const USAGE: u8 = 64;
pub const BAD_CONFIG: u8 = 65;
pub const UNAVAILABLE: u8 = 69;

/// A notice waits this long for the picture that completes it; a rollback must not wait longer.
const NOTICE_PATIENCE: Duration = Duration::from_millis(500);

/// What a command ends with: an exit code, after an explanation on standard error.
pub struct Exit {
    pub code: u8,
    pub why: String,
}

impl Exit {
    pub fn new(code: u8, why: impl Into<String>) -> Exit {
        Exit { code, why: why.into() }
    }
}

#[derive(Parser)]
#[command(
    name = "quarterdeck",
    version = env!("QUARTERDECK_VERSION"),
    about = "The release officer's console: watch production and move its traffic",
    after_help = "Without a command the console opens.\n\nExit codes: 0 done (an operation: \
                  VERIFIED), 1 refused or failed, 2 PARTIAL, 3 UNKNOWN, 4 SUPERSEDED, 64 wrong \
                  call, 65 wrong configuration, 69 no engine. `deploy` and `run`: 0 ended good, 1 \
                  refused, failed, rolled back or aborted; when the time is up: 2 it waits for a \
                  person, 3 it goes on. `ready`: 0 yes, 1 no, 3 not known. `status`: 2 any DOWN, 1 \
                  any DEGRADED, 3 any UNKNOWN or STALE, 0 else."
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Args, Clone)]
pub struct Global {
    /// The configuration; else `$QUARTERDECK_CONFIG`, else the XDG path
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where journal and socket live; else `$XDG_STATE_HOME/quarterdeck/ENVIRONMENT`
    #[arg(long, global = true, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Look, but never act
    #[arg(long, global = true)]
    read_only: bool,
    /// No screen: what changes, line by line, for screen readers and logs
    #[arg(long)]
    plain: bool,
    /// A wall that nobody touches: large type, read-only; Ctrl-C twice ends it. It looks up no
    /// secret itself: the engine that it joins, or starts when there is none, has them
    #[arg(long)]
    kiosk: bool,
    /// Keep what is shown in a new file, for `replay`
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    #[command(flatten)]
    look: Look,
}

/// How the console is drawn.
#[derive(Args, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Look {
    /// auto (by the terminal's background), dark, light, contrast, redgreen, blueyellow, mono, or
    /// one of your own
    #[arg(long, global = true, value_name = "NAME")]
    theme: Option<String>,
    #[arg(long, global = true, value_enum, default_value = "auto")]
    color: ColorChoice,
    /// Letters instead of symbols
    #[arg(long, global = true)]
    ascii: bool,
    /// IANA name of the clock beside UTC; else your own, else the environment's
    #[arg(long, global = true, value_name = "ZONE")]
    timezone: Option<Zone>,
    /// Ask the terminal nothing, not even its background
    #[arg(long, global = true)]
    no_probe: bool,
    /// Nothing flashes
    #[arg(long, global = true)]
    no_blink: bool,
    /// For a thin line: draw what changes at most every 5 s, keys and alarms at once
    #[arg(long, global = true)]
    slow: bool,
}

#[derive(Subcommand)]
enum Command {
    /// A live environment on loopback, to try everything on
    Demo(demo::Args),
    /// A fleet's small servers, for its `run`
    #[command(hide = true)]
    StandIn(demo::StandIn),
    /// One look at everything, for scripts
    Status(status::Args),
    /// Wait until services are healthy, routers verified, an operation or a release ended
    Wait(wait::Args),
    /// Play what `--record` kept: pause, speed, seek; every panel works
    Replay {
        file: PathBuf,
        /// As fast as it was, or so many times faster
        #[arg(long, value_name = "TIMES", default_value_t = 1.0, value_parser = speed)]
        speed: f64,
    },
    /// What of terminal, machine, secrets and sources is wrong, and what to do about it
    Doctor(doctor::Args),
    /// Release a version: deploy plan, canary or switch, bake; followed to its end
    Deploy(release::Deploy),
    /// Run the checks that a release must pass; 0 when it may begin
    Validate(validate::Validate),
    /// Run a plan of the configuration for a service
    Run(release::Run),
    /// Let the release in flight go no further; it is still watched
    Pause(steer::Pause),
    /// Let a paused or held release go on
    Resume(steer::Resume),
    /// Answer the question of the release in flight
    Reply(steer::Answer),
    /// Give a share of the traffic to the canary
    Split(operate::Split),
    /// Turn a feature flag on for a share, or off at once
    Flag(operate::Flag),
    /// All traffic to the canary; finishes the canary of a release in flight
    Promote(operate::Change),
    /// All traffic back to stable, at once
    Rollback(operate::Change),
    /// End the release in flight: all traffic to stable, then its steps back
    Abort(operate::Change),
    /// No release for a while; never blocks a rollback
    Freeze(steer::Freeze),
    /// End a freeze
    Thaw(steer::Thaw),
    /// Freeze everything and pause every release
    StopTheLine(steer::Span),
    /// Switch a rule of `rollback_when` off for a while, or on again
    Trigger(steer::Trigger),
    /// Say that a version is bad, or good after all
    Mark(steer::Mark),
    /// The number of the next version
    #[command(subcommand)]
    Version(version::Version),
    /// What became of the releases, and how they keep their objectives
    Releases(history::Args),
    /// Would a rollback work right now?
    Ready(history::Args),
    /// What is open, and what a person says of it
    #[command(subcommand)]
    Incident(incident::Action),
    /// Read a runbook, or run one of its commands
    Runbook(runbook::Runbook),
    /// Markdown for the post-mortem: timeline and figures, from the journal
    Report(report::Report),
    /// Read, check and export what was done
    #[command(subcommand)]
    Journal(journal::Command),
    /// Check the configuration
    Check,
    /// The configuration's schema, or an example of it
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Run the engine in the foreground, for a service manager
    Engine {
        /// End when nobody looks and nothing is going on
        #[arg(long, hide = true)]
        on_demand: bool,
    },
    /// Completions for a shell
    Completions { shell: clap_complete::Shell },
    /// The manual page
    Man,
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// JSON Schema of the file
    Schema,
    /// A commented file
    Example,
}

/// Runs the command line of this process.
#[must_use]
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
        }
    };
    match dispatch(cli) {
        Ok(code) => ExitCode::from(code),
        Err(exit) => {
            complain(&format!("quarterdeck: {}", exit.why));
            ExitCode::from(exit.code)
        }
    }
}

fn dispatch(cli: Cli) -> Result<u8, Exit> {
    let global = cli.global;
    match cli.command {
        None => open_console(&global),
        Some(Command::Demo(args)) => demo::run(&args, &global),
        Some(Command::StandIn(args)) => demo::stand_in(&args),
        Some(Command::Status(args)) => status::run(&args, &global),
        Some(Command::Wait(args)) => wait::run(&args, &global),
        Some(Command::Replay { file, speed }) => {
            let player = Player::open(&file).map_err(|why| Exit::new(BAD_CONFIG, why))?;
            needs_screen()?;
            show(Source::Recording { player, speed }, &global, None, &Settings::default(), None)
        }
        Some(Command::Doctor(args)) => doctor::run(&args, &global),
        Some(Command::Deploy(args)) => release::deploy(&args, &global),
        Some(Command::Validate(args)) => validate::run(&args, &global),
        Some(Command::Run(args)) => release::run(&args, &global),
        Some(Command::Pause(args)) => steer::pause(&args, &global),
        Some(Command::Resume(args)) => steer::resume(&args, &global),
        Some(Command::Reply(args)) => steer::reply(&args, &global),
        Some(Command::Freeze(args)) => steer::freeze(&args, &global),
        Some(Command::Thaw(args)) => steer::thaw(&args, &global),
        Some(Command::StopTheLine(args)) => steer::stop_the_line(&args, &global),
        Some(Command::Trigger(args)) => steer::trigger(&args, &global),
        Some(Command::Mark(args)) => steer::mark(&args, &global),
        Some(Command::Version(action)) => version::run(&action, &global),
        Some(Command::Releases(args)) => history::releases(&args, &global),
        Some(Command::Ready(args)) => history::ready(&args, &global),
        Some(Command::Split(args)) => operate::split(&args, &global),
        Some(Command::Flag(args)) => operate::flag(&args, &global),
        Some(Command::Promote(args)) => operate::promote(&args, &global),
        Some(Command::Rollback(args)) => operate::rollback(&args, &global),
        Some(Command::Abort(args)) => operate::abort(&args, &global),
        Some(Command::Report(args)) => report::run(&args, &global),
        Some(Command::Runbook(args)) => runbook::run(&args, &global),
        Some(Command::Incident(action)) => incident::run(&action, &global),
        Some(Command::Journal(command)) => journal::run(&command, &global),
        Some(Command::Check) => check(&global),
        Some(Command::Config(ConfigCommand::Schema)) => print(config::SCHEMA),
        Some(Command::Config(ConfigCommand::Example)) => print(config::EXAMPLE),
        Some(Command::Engine { on_demand }) => engine(&global, on_demand),
        Some(Command::Completions { shell }) => {
            let mut out = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "quarterdeck", &mut out);
            print(&String::from_utf8_lossy(&out))
        }
        Some(Command::Man) => {
            let mut out = Vec::new();
            clap_mangen::Man::new(Cli::command())
                .render(&mut out)
                .map_err(|error| Exit::new(1, error.to_string()))?;
            print(&String::from_utf8_lossy(&out))
        }
    }
}

/// Writes to standard output; a reader that went away is no failure.
pub fn print(text: &str) -> Result<u8, Exit> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => Ok(0),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(0),
        Err(error) => Err(Exit::new(1, format!("standard output: {error}"))),
    }
}

/// A line on standard error, which may be a terminal that is gone.
pub fn complain(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

impl Global {
    /// The configuration's path: asked for, from the environment, or the XDG place.
    fn config_path(&self) -> Result<PathBuf, Exit> {
        let from_env = std::env::var_os("QUARTERDECK_CONFIG").filter(|path| !path.is_empty());
        if let Some(path) = self.config.clone().or(from_env.map(PathBuf::from)) {
            return std::path::absolute(&path)
                .map_err(|error| Exit::new(BAD_CONFIG, format!("{}: {error}", path.display())));
        }
        let path = state::default_config().map_err(|why| Exit::new(BAD_CONFIG, why))?;
        if path.exists() {
            return Ok(path);
        }
        Err(Exit::new(
            BAD_CONFIG,
            format!(
                "there is no configuration yet.\n  quarterdeck demo            try it on a live \
                 environment on this machine\n  quarterdeck config example  a commented file to \
                 begin with; put it at {}",
                path.display()
            ),
        ))
    }

    fn load(&self) -> Result<(PathBuf, Loaded), Exit> {
        let path = self.config_path()?;
        let read = if self.looks_only() { config::read_blind } else { config::read };
        let loaded = read(&path).map_err(|why| Exit::new(BAD_CONFIG, why))?;
        Ok((path, loaded))
    }

    fn state_dir(&self, loaded: &Loaded) -> Result<PathBuf, Exit> {
        match &self.state_dir {
            Some(dir) => std::path::absolute(dir)
                .map_err(|error| Exit::new(USAGE, format!("{}: {error}", dir.display()))),
            None => state::default_dir(&loaded.engine.environment.name)
                .map_err(|why| Exit::new(BAD_CONFIG, why)),
        }
    }

    /// A wall looks, too, and never acts.
    fn looks_only(&self) -> bool {
        self.read_only || self.kiosk
    }

    /// Joins the engine of the state directory, starting it if need be.
    fn join(&self) -> Result<Link, Exit> {
        self.join_in().map(|(link, ..)| link)
    }

    /// The same, with the settings and the directory.
    fn join_in(&self) -> Result<(Link, Settings, PathBuf), Exit> {
        let (config, loaded) = self.load()?;
        let state_dir = self.state_dir(&loaded)?;
        let config_hash = Some(loaded.engine.hash.clone());
        let options = Options { state_dir, config, config_hash, read_only: self.looks_only() };
        let link = Link::connect(&options)
            .map_err(|failure| Exit::new(UNAVAILABLE, failure.text.to_string()))?;
        Ok((link, loaded.engine, options.state_dir))
    }

    /// As [`Global::join`], for a command: what is odd about the engine goes to standard error.
    fn link(&self) -> Result<Link, Exit> {
        let mut link = self.join()?;
        if link.is_foreign() {
            // The picture says what the engine is busy with.
            wait_for(&mut link, NOTICE_PATIENCE, |_| Some(()));
            if let Some(notice) = link.notice() {
                complain(&format!("quarterdeck: {notice}"));
            }
        }
        Ok(link)
    }
}

fn open_console(global: &Global) -> Result<u8, Exit> {
    if !global.plain {
        needs_screen()?;
    }
    let (link, settings, state_dir) = global.join_in()?;
    if global.plain {
        return plain::run(link);
    }
    show(Source::Engine(link), global, None, &settings, Some(state_dir))
}

/// Before anything is started for a screen that cannot be drawn.
fn needs_screen() -> Result<(), Exit> {
    console::cannot_draw().map_or(Ok(()), |why| Err(Exit::new(1, why)))
}

/// How many times as fast a recording is played.
fn speed(text: &str) -> Result<f64, String> {
    let speed = text.parse().ok().filter(|speed: &f64| speed.is_finite() && *speed > 0.0);
    speed.ok_or_else(|| "a number above 0 such as 0.5 or 16".to_owned())
}

/// Runs the console until it is left; a sandbox and a recording remember nothing, and have no
/// settings of their own.
fn show(
    source: Source,
    global: &Global,
    faults: Option<Box<dyn console::Faults>>,
    settings: &Settings,
    state_dir: Option<PathBuf>,
) -> Result<u8, Exit> {
    let look = &global.look;
    let live = matches!(source, Source::Engine(_));
    let runbooks = console::Runbooks::of(settings);
    let options = console::Options {
        read_only: global.looks_only() || !live,
        theme: look.theme.clone(),
        color: look.color,
        symbols: console::symbols(look.ascii),
        no_probe: look.no_probe,
        slow: look.slow,
        timezone: look.timezone.clone(),
        own: taste::load().map_err(|why| Exit::new(BAD_CONFIG, why))?,
        // The engine replaces it by what the kernel says.
        actor: Actor::engine(),
        faults,
        kiosk: global.kiosk,
        no_blink: look.no_blink,
        record: global.record.clone(),
        state_dir,
        runbooks,
    };
    console::run(source, options).map(console::ExitKind::code).map_err(|why| Exit::new(1, why))
}

fn check(global: &Global) -> Result<u8, Exit> {
    let (path, loaded) = global.load()?;
    for problem in &loaded.warnings {
        let (path, line, column) = (path.display(), problem.line, problem.column);
        complain(&format!("{path}:{line}:{column}: warning: {}", problem.text));
    }
    if let Ok(own) = taste::path() {
        let told = taste::read(&own).2;
        for told in &told {
            complain(&format!("{}:{}", own.display(), told.text));
        }
        if told.iter().any(|told| told.grave) {
            let why = format!("{}: an emergency would lose its key", own.display());
            return Err(Exit::new(BAD_CONFIG, why));
        }
    }
    let engine = &loaded.engine;
    print(&format!(
        "{}: ok: environment {}, {} services, {} probes, {} routers, {} hosts, {} feeds, {} \
         warnings\n",
        path.display(),
        engine.environment.name,
        engine.services.len(),
        engine.probes.len(),
        engine.routers.len(),
        engine.hosts.len(),
        engine.feeds.len(),
        loaded.warnings.len()
    ))
}

fn engine(global: &Global, on_demand: bool) -> Result<u8, Exit> {
    if on_demand {
        // A session of its own: the terminal that started it may go away. Already leading one is
        // as good.
        let _ = rustix::process::setsid();
    }
    // Who looks only is a client; an engine always has its secrets.
    let path = global.config_path()?;
    let loaded = config::read(&path).map_err(|why| Exit::new(BAD_CONFIG, why))?;
    let state_dir = global.state_dir(&loaded)?;
    // What it runs begins there, wherever the engine was started from.
    let dir = path.parent().unwrap_or(&path);
    std::env::set_current_dir(dir)
        .map_err(|error| Exit::new(BAD_CONFIG, format!("{}: {error}", dir.display())))?;
    driver::run(loaded, &driver::Options { state_dir, on_demand })
        .map(|()| 0)
        .map_err(|why| Exit::new(1, why))
}

/// An id for a submission: unique, not secret.
fn submission_id() -> String {
    let now = crate::io::clock::now();
    format!("{:x}-{:x}", now.mono.0, std::process::id())
}

/// Waits until the engine has shown something that `ready` accepts.
fn wait_for<T>(
    link: &mut Link,
    timeout: Duration,
    mut ready: impl FnMut(&engine::snapshot::Snapshot) -> Option<T>,
) -> Option<T> {
    let begin = crate::io::clock::now();
    loop {
        if let Some(snapshot) = link.snapshot()
            && let Some(found) = ready(&snapshot)
        {
            return Some(found);
        }
        let spent = begin.age(crate::io::clock::now());
        let left = timeout.checked_sub(spent)?;
        link.wait(left.min(Duration::from_millis(500)));
    }
}
