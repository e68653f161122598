//! Incidents from the command line: what is open, and what a person says of it.
//!
//! Decides which incident a word means. Never guesses: a word that fits several names them all.
//! Contract: 0 when it was taken, 1 when it was refused or no incident fits.

use std::time::Duration;

use clap::{Args, Subcommand};
use engine::command::{Command, Reply, Submission};
use engine::reading::AlertState;
use engine::snapshot::{IncidentView, Incidents, Snapshot};
use engine::triage::Say;
use engine::types::{Actor, Now, Untrusted};
use engine::words;
use serde_json::{Value, json};

use crate::cli::{Exit, Global, UNAVAILABLE, operate, print, status, submission_id, wait_for};
use crate::config;
use crate::io::clock;

/// As long as `status` waits for the first answers.
const ANSWERS_PATIENCE: Duration = Duration::from_secs(10);

/// More that fit than this are not named one by one.
const NAMED_MAX: usize = 10;

#[derive(Subcommand)]
pub enum Action {
    /// What is open, worst first
    List(List),
    /// Say that you have it; its feed hears it, too
    Ack(Text),
    /// Hand it to the next level
    Escalate(Which),
    /// Say who has it; without a name, nobody
    Assign(Assign),
    /// Write something down about it
    Note(Note),
    /// Put it aside for a while: not escalated, behind the others
    Snooze(Snooze),
    /// End a snooze
    Wake(Which),
}

#[derive(Args)]
pub struct List {
    /// One JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub struct Which {
    /// Its key, or a part of its key or name that fits no other
    incident: String,
}

#[derive(Args)]
pub struct Text {
    #[command(flatten)]
    which: Which,
    /// Kept in the journal
    #[arg(long, value_name = "TEXT", default_value = "")]
    comment: String,
}

#[derive(Args)]
pub struct Assign {
    #[command(flatten)]
    which: Which,
    #[arg(default_value = "")]
    to: String,
}

#[derive(Args)]
pub struct Note {
    #[command(flatten)]
    which: Which,
    text: String,
}

#[derive(Args)]
pub struct Snooze {
    #[command(flatten)]
    which: Which,
    /// For this long: "30m", "2h", "1d"
    #[arg(long = "for", value_name = "TIME", value_parser = config::duration)]
    span: Duration,
    /// Why; kept in the journal
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
}

pub fn run(action: &Action, global: &Global) -> Result<u8, Exit> {
    let say = |which: &Which, say: Say| {
        submit(&which.incident, global, |key| Command::Triage { key, say })
    };
    let text = |text: &str| Untrusted::new(text);
    match action {
        Action::List(args) => list(args, global),
        Action::Ack(args) => {
            let comment = text(&args.comment);
            submit(&args.which.incident, global, |key| Command::Acknowledge { key, comment })
        }
        Action::Escalate(args) => submit(&args.incident, global, |key| Command::Escalate { key }),
        Action::Assign(args) => say(&args.which, Say::Assign { to: text(&args.to) }),
        Action::Note(args) => say(&args.which, Say::Note { text: text(&args.text) }),
        Action::Snooze(args) => {
            let (seconds, reason) = (args.span.as_secs().max(1), text(&args.reason));
            say(&args.which, Say::Snooze { seconds, reason })
        }
        Action::Wake(args) => say(args, Say::Snooze { seconds: 0, reason: text("") }),
    }
}

/// The picture once every source has answered.
fn look(link: &mut crate::link::Link) -> Result<Snapshot, Exit> {
    let whole = wait_for(link, ANSWERS_PATIENCE, |snapshot| {
        snapshot.sources.iter().all(|source| !source.is_awaited()).then(|| snapshot.clone())
    });
    whole
        .or_else(|| link.snapshot())
        .ok_or_else(|| Exit::new(UNAVAILABLE, "the engine shows nothing"))
}

fn list(args: &List, global: &Global) -> Result<u8, Exit> {
    let snapshot = look(&mut global.link()?)?;
    let incidents = &snapshot.incidents;
    if args.json {
        let open: Vec<Value> = incidents.open.iter().map(status::incident).collect();
        let (total, left_out) = (incidents.total, incidents.dropped);
        let whole = json!({ "total": total, "left_out": left_out, "open": open });
        return print(&format!("{whole:#}\n"));
    }
    let now = clock::now();
    let mut out = String::new();
    for incident in &incidents.open {
        out += &line(incident, now);
    }
    out += &unlisted(incidents);
    if incidents.open.is_empty() {
        out += "none open\n";
    }
    print(&out)
}

/// What is open and not listed, where there is any.
pub fn unlisted(incidents: &Incidents) -> String {
    let mut out = String::new();
    let more = (incidents.total as usize).saturating_sub(incidents.open.len());
    if more > 0 {
        out += &format!("and {more} more; most of all are {}\n", incidents.mostly());
    }
    if incidents.dropped > 0 {
        out += &format!("{} more were left out by their feed's limit\n", incidents.dropped);
    }
    out
}

fn line(incident: &IncidentView, now: Now) -> String {
    let triage = &incident.triage;
    let state = match incident.state {
        _ if incident.is_snoozed(now) => "snoozed",
        AlertState::Triggered => "open",
        AlertState::Acknowledged => "acked",
        AlertState::Resolved => "resolved",
    };
    let age = words::span(incident.first_seen.age(now));
    let who = if triage.assignee.is_empty() {
        String::new()
    } else {
        format!(", {} has it", triage.assignee)
    };
    let mut out = format!(
        "{:<9} {state:<9} {} ({}, {age}{who})\n",
        incident.severity.word(),
        incident.name,
        incident.key
    );
    if let Some(alerts) = &incident.alerts {
        out += &format!("          {}\n", alerts.words());
    }
    for note in &triage.notes {
        let at = note.at.format("%Y-%m-%d %H:%M:%SZ");
        out += &format!("          {at} {}: {}\n", note.user, note.text);
    }
    out
}

/// The one open incident that `word` means.
fn find<'a>(snapshot: &'a Snapshot, word: &str) -> Result<&'a IncidentView, Exit> {
    let open = &snapshot.incidents.open;
    if let Some(exact) = open.iter().find(|one| one.key == word) {
        return Ok(exact);
    }
    let fits = |one: &&IncidentView| one.key.contains(word) || one.name.display().contains(word);
    let found: Vec<&IncidentView> = open.iter().filter(fits).collect();
    match found.as_slice() {
        [] => Err(Exit::new(1, format!("no open incident fits {word}"))),
        [only] => Ok(only),
        several => {
            let keys = several.iter().take(NAMED_MAX).map(|one| one.key.as_str());
            let keys = keys.collect::<Vec<_>>().join(", ");
            Err(Exit::new(1, format!("{word} fits {} incidents: {keys}", several.len())))
        }
    }
}

fn submit(
    word: &str,
    global: &Global,
    command: impl FnOnce(String) -> Command,
) -> Result<u8, Exit> {
    let mut link = global.link()?;
    let snapshot = look(&mut link)?;
    // One that is not listed may still be open: then the engine knows its key.
    let listed = snapshot.incidents.open.len() == snapshot.incidents.total as usize;
    let (key, seen) = match find(&snapshot, word) {
        Ok(found) => (found.key.clone(), found.name.clone()),
        Err(_) if !listed => (word.to_owned(), Untrusted::default()),
        Err(exit) => return Err(exit),
    };
    let submission = Submission {
        id: submission_id(),
        command: command(key),
        expected: None,
        seen,
        // The engine replaces it by what the kernel says.
        actor: Actor::engine(),
        read_only: global.read_only,
    };
    match operate::submit(&mut link, &submission)? {
        Reply::Refused { .. } => Ok(1),
        Reply::Accepted { .. } => Ok(0),
    }
}
