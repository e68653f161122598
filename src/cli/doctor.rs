//! `quarterdeck doctor`: what of the terminal, the machine and the sources is not as it should be.
//!
//! Decides what each finding means and what to do about it. Never changes anything. Contract: one
//! line for each thing, with a remedy where something is wrong; 1 when anything is, else 0.

mod sources;
mod term;

use std::path::Path;
use std::time::Duration;

use engine::snapshot::{JournalState, Snapshot};
use serde::Serialize;

use crate::cli::{Exit, Global, print, taste, wait_for};
use crate::io::state;
use crate::link::{Link, Options};

/// An engine that was just started has asked everything once after this.
const ENGINE_PATIENCE: Duration = Duration::from_secs(10);

/// Less room than this fills up before anybody looks.
const FREE_BYTES_MIN: u64 = 256 * 1024 * 1024;

#[derive(clap::Args)]
pub struct Args {
    /// One JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Ok,
    /// It works, but less well than it could.
    Warn,
    Fail,
    /// It cannot be known from here.
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub name: String,
    pub state: State,
    pub found: String,
    /// What to do; empty when there is nothing to do.
    pub remedy: String,
}

impl Finding {
    pub fn new(name: &str, state: State, found: impl Into<String>, remedy: &str) -> Finding {
        let remedy = if state == State::Ok { "" } else { remedy };
        Finding { name: name.to_owned(), state, found: found.into(), remedy: remedy.to_owned() }
    }
}

pub fn run(args: &Args, global: &Global) -> Result<u8, Exit> {
    let mut findings = term::findings(global.look.color, global.look.ascii, global.look.no_probe);
    findings.extend(own_file());
    match global.load() {
        Err(exit) => findings.push(Finding::new(
            "configuration",
            State::Fail,
            exit.why,
            "quarterdeck check names every problem; quarterdeck config example is a file to begin \
             with",
        )),
        Ok((path, loaded)) => {
            let found = path.display().to_string();
            findings.push(Finding::new("configuration", State::Ok, found, ""));
            findings.extend(loaded.warnings.iter().map(|warning| {
                let found = format!("{}:{}: {}", warning.line, warning.column, warning.text);
                Finding::new("configuration", State::Warn, found, "mend that line, or set it")
            }));
            let dir = global.state_dir(&loaded)?;
            findings.push(state_dir(&dir));
            findings.extend(sources::clocks(&loaded.io));
            let options =
                Options { state_dir: dir, config: path, config_hash: None, read_only: true };
            findings.extend(engine(&options));
        }
    }
    let failed = findings.iter().any(|finding| finding.state == State::Fail);
    print(&if args.json { document(&findings)? } else { lines(&findings) })?;
    Ok(u8::from(failed))
}

fn document(findings: &[Finding]) -> Result<String, Exit> {
    let ok = findings.iter().all(|finding| finding.state != State::Fail);
    let document = serde_json::json!({ "ok": ok, "checks": findings });
    serde_json::to_string_pretty(&document)
        .map(|text| text + "\n")
        .map_err(|error| Exit::new(1, error.to_string()))
}

fn lines(findings: &[Finding]) -> String {
    let mut out = String::new();
    for finding in findings {
        let word = match finding.state {
            State::Ok => "ok",
            State::Warn => "warn",
            State::Fail => "FAIL",
            State::Unknown => "?",
        };
        out += &format!("{word:<5} {:<24} {}\n", finding.name, finding.found);
        if !finding.remedy.is_empty() {
            out += &format!("{:<5} {:<24} do: {}\n", "", "", finding.remedy);
        }
    }
    out
}

fn own_file() -> Vec<Finding> {
    let Ok(path) = taste::path() else { return Vec::new() };
    let told = taste::read(&path).2;
    told.into_iter()
        .map(|told| {
            let state = if told.grave { State::Fail } else { State::Warn };
            let text = format!("{}:{}", path.display(), told.text);
            Finding::new("console.toml", state, text, "mend that line")
        })
        .collect()
}

/// Is it ours, may it be written, is there room?
fn state_dir(dir: &Path) -> Finding {
    let shown = dir.display();
    if let Err(why) = state::private_dir(dir) {
        return Finding::new("state directory", State::Fail, why, "chown, chmod or --state-dir");
    }
    let free = rustix::fs::statvfs(dir).map(|facts| facts.f_bavail.saturating_mul(facts.f_frsize));
    match free {
        Ok(free) if free < FREE_BYTES_MIN => Finding::new(
            "state directory",
            State::Fail,
            format!("{shown}: {} MB free", free / 1_000_000),
            "make room: without a journal only changes toward safety go on",
        ),
        Ok(_) | Err(_) => {
            Finding::new("state directory", State::Ok, format!("{shown}: writable"), "")
        }
    }
}

/// What the engine says of everything that it asks.
fn engine(options: &Options) -> Vec<Finding> {
    let mut link = match Link::connect(options) {
        Ok(link) => link,
        Err(failure) => {
            let remedy = "quarterdeck engine in a terminal says why";
            let found = failure.text.to_string();
            return vec![Finding::new("engine", State::Fail, found, remedy)];
        }
    };
    let whole = wait_for(&mut link, ENGINE_PATIENCE, |picture| {
        let answered = picture.sources.iter().all(|source| !source.is_awaited());
        answered.then(|| picture.clone())
    });
    let Some(picture) = whole.or_else(|| link.snapshot()) else {
        let remedy = "look into engine.log in the state directory";
        return vec![Finding::new("engine", State::Fail, "it shows nothing", remedy)];
    };
    let notice = link.notice().map(|notice| {
        Finding::new("engine", State::Warn, notice.to_string(), "nothing: it takes over by itself")
    });
    let fine =
        || Finding::new("engine", State::Ok, format!("at {}", options.state_dir.display()), "");
    let mut findings = vec![notice.unwrap_or_else(fine), journal(&picture)];
    findings.extend(sources::reachable(&picture));
    findings
}

fn journal(picture: &Snapshot) -> Finding {
    let remedy =
        "make room, or mend the file's owner and mode; quarterdeck journal verify checks it";
    match &picture.head.journal {
        JournalState::Writable => Finding::new("journal", State::Ok, "written", ""),
        JournalState::Spooling { why } | JournalState::Lost { why } => {
            Finding::new("journal", State::Fail, why.to_string(), remedy)
        }
    }
}
