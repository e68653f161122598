//! A report for the post-mortem, written from the journal alone.
//!
//! Decides what belongs to it: everything on record in its time but the traffic of notices and
//! looks, which become figures. Never adds what is not on record. Contract: Markdown; figures are
//! charts of plain text; outside text stands in code spans and cannot end them.

use std::fmt::Write as _;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use engine::record::{ArmCount, Entry, Event, Record};

use crate::cli::{Exit, Global, journal, print};
use crate::config;
use crate::io::clock;
use crate::io::journal::sqlite;

/// What led to an incident stands before it.
const BEFORE: TimeDelta = TimeDelta::minutes(10);

/// More records than this are not read by people.
const RECORDS_MAX: u32 = 100_000;

/// Cells of a bar.
const BAR: usize = 40;

/// Rows of a chart; the newest are drawn.
const ROWS_MAX: usize = 60;

#[derive(Args)]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub struct Report {
    /// Of one incident: its key or a part of it
    #[arg(long, value_name = "ID", group = "what")]
    incident: Option<String>,
    /// Of everything since then: "2h", "1d"
    #[arg(long, value_name = "TIME", value_parser = config::duration, group = "what")]
    since: Option<Duration>,
}

pub fn run(args: &Report, global: &Global) -> Result<u8, Exit> {
    let dir = journal::directory(global)?;
    let failed = |failure: engine::types::Failure| Exit::new(1, failure.text.to_string());
    let records = sqlite::list(&dir, RECORDS_MAX).map_err(failed)?;
    let entries: Vec<Entry> = records.iter().filter_map(|record| record.entry().ok()).collect();
    let now = clock::now().wall;
    let (title, from, to) = match (&args.incident, args.since) {
        (Some(word), _) => incident(&entries, word, now)?,
        (None, since) => {
            let span = TimeDelta::from_std(since.unwrap_or_default()).unwrap_or_default();
            ("What happened".to_owned(), now - span, now)
        }
    };
    let own: Vec<&Entry> = entries.iter().filter(|own| own.at >= from && own.at <= to).collect();
    let left_out = left_out(&records, &entries, from);
    print(&document(&title, from, to, &own, &left_out))
}

/// What this report cannot know, in words; nothing when it read everything.
fn left_out(records: &[Record], entries: &[Entry], from: DateTime<Utc>) -> String {
    let cut = records.len() >= RECORDS_MAX as usize
        && entries.first().is_some_and(|oldest| oldest.at > from);
    let strange = records.len() - entries.len();
    let mut text = String::new();
    if cut {
        text += &format!("\nOnly the newest {RECORDS_MAX} records were read.\n");
    }
    if strange > 0 {
        text += &format!("\n{strange} records of the journal are not known to this version.\n");
    }
    text
}

/// The newest incident that the word means: its name, and its time.
fn incident(
    entries: &[Entry],
    word: &str,
    now: DateTime<Utc>,
) -> Result<(String, DateTime<Utc>, DateTime<Utc>), Exit> {
    let opened = entries.iter().rev().find_map(|entry| {
        let Event::IncidentOpened { key, name, severity } = &entry.event else { return None };
        let title = || (key, format!("{severity}: {}", code(name.display())), entry.at);
        key.contains(word).then(title)
    });
    let Some((key, title, at)) = opened else {
        return Err(Exit::new(1, format!("no incident on record fits {word}")));
    };
    let ended = entries.iter().find(|entry| {
        let over = matches!(&entry.event, Event::IncidentResolved { key: own, .. } if own == key);
        over && entry.at >= at
    });
    Ok((title, at - BEFORE, ended.map_or(now, |entry| entry.at)))
}

fn document(
    title: &str,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    own: &[&Entry],
    left_out: &str,
) -> String {
    let time = |at: DateTime<Utc>| at.format("%Y-%m-%d %H:%M:%SZ");
    let mut out = format!("# {title}\n\nFrom {} to {}.\n{left_out}", time(from), time(to));
    out += "\n## Timeline\n\n| time (UTC) | who | kind | what |\n|---|---|---|---|\n";
    for entry in own.iter().filter(|entry| is_told(&entry.event)) {
        let line = engine::line(entry);
        let (user, text) = (code(line.user.display()), code(line.text.display()));
        writeln!(out, "| {} | {user} | {} | {text} |", time(line.at), line.kind)
            .expect("writing to a string cannot fail");
    }
    out += &errors(own);
    out += &counts(own);
    out
}

/// Notices and looks become figures; what the engine sent is in the outcome.
fn is_told(event: &Event) -> bool {
    !matches!(
        event,
        Event::Look(_) | Event::Sent { .. } | Event::NoticeQueued(_) | Event::NoticeEnded { .. }
    )
}

/// A code span that its text cannot end, nor the cell around it.
fn code(text: &str) -> String {
    let text = text.replace('`', "'").replace('|', "¦").replace('\u{240a}', " ");
    // Of an empty one Markdown makes two backticks.
    if text.trim().is_empty() { String::new() } else { format!("`{text}`") }
}

/// The share of errors of both arms at each look.
fn errors(own: &[&Entry]) -> String {
    let looks: Vec<(DateTime<Utc>, &engine::record::Look)> = own
        .iter()
        .filter_map(|entry| {
            let Event::Look(look) = &entry.event else { return None };
            Some((entry.at, look))
        })
        .collect();
    if looks.is_empty() {
        return String::new();
    }
    let mut out = "\n## Errors of the canary, in percent\n".to_owned();
    let before = looks.len().saturating_sub(ROWS_MAX);
    if before > 0 {
        out += &format!("\nThe newest {ROWS_MAX} looks; {before} came before.\n");
    }
    out += "\n```text\n";
    for (at, look) in &looks[before..] {
        let share = |arm: &Option<ArmCount>| arm.as_ref().and_then(percent);
        let canary = share(&look.canary);
        let words =
            |value: Option<f64>| value.map_or("no data".to_owned(), |it| format!("{it:.1}"));
        let bar = canary.map_or(" ".repeat(BAR), |it| bar(it / 100.0));
        let time = at.format("%H:%M:%S");
        let stable = words(share(&look.stable));
        let name = &look.service;
        writeln!(out, "{time} {name:<12} {bar} {} (stable {stable})", words(canary))
            .expect("writing to a string cannot fail");
    }
    out + "```\n"
}

#[expect(clippy::cast_precision_loss, reason = "a percent needs no more digits")]
fn percent(arm: &ArmCount) -> Option<f64> {
    (arm.requests > 0).then(|| arm.errors as f64 / arm.requests as f64 * 100.0)
}

/// How many records of each kind.
fn counts(own: &[&Entry]) -> String {
    let mut kinds = std::collections::BTreeMap::<String, u32>::new();
    for entry in own {
        *kinds.entry(engine::line(entry).kind).or_default() += 1;
    }
    let most = kinds.values().copied().max().unwrap_or(1).max(1);
    let mut out = "\n## Records\n\n```text\n".to_owned();
    for (kind, count) in kinds {
        let bar = bar(f64::from(count) / f64::from(most));
        writeln!(out, "{kind:<14} {bar} {count}").expect("writing to a string cannot fail");
    }
    out + "```\n"
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to BAR")]
#[expect(clippy::cast_precision_loss, reason = "a bar has few cells")]
fn bar(part: f64) -> String {
    let full = (part.clamp(0.0, 1.0) * BAR as f64).round() as usize;
    format!("{}{}", "#".repeat(full), ".".repeat(BAR - full))
}
