//! `quarterdeck --plain`: what happens, line by line, for screen readers and logs.
//!
//! Decides what is worth a line: what became different, never a figure that only moved. Never takes
//! a key, and changes nothing. Contract: each line stands for itself, with its time, and nothing in
//! it draws.

use std::collections::BTreeMap;

use engine::reading::AlertState;
use engine::snapshot::{Snapshot, SourceState};
use engine::types::Now;

use crate::cli::{Exit, print, status};
use crate::io::clock;
use crate::link::{Link, Wake};

/// The longest silence after which ages are looked at again: what is late says nothing.
const LOOK: std::time::Duration = std::time::Duration::from_secs(1);

/// Prints the whole state, then every change, until it is ended.
pub fn run(mut link: Link) -> Result<u8, Exit> {
    let mut before: Option<BTreeMap<String, String>> = None;
    let (mut lost, mut silent) = (false, false);
    loop {
        let wake = link.wait(LOOK);
        let now = clock::now();
        if (wake == Wake::Lost) != lost && wake != Wake::TimedOut {
            lost = wake == Wake::Lost;
            let text =
                if lost { "the engine is LOST: nothing is known" } else { "the engine is back" };
            say(now, text)?;
        }
        let silence = link.silence();
        if silence.is_some() != silent && !lost {
            silent = silence.is_some();
            let text = if silent {
                "the engine does not answer: nothing is known"
            } else {
                "the engine answers again"
            };
            say(now, text)?;
        }
        silent &= !lost;
        let Some(picture) = link.snapshot() else { continue };
        let facts = facts(&picture, now);
        match &before {
            None => _ = print(&status::plain(&picture, now))?,
            Some(before) => {
                for line in changes(before, &facts) {
                    say(now, &line)?;
                }
            }
        }
        before = Some(facts);
    }
}

fn say(now: Now, line: &str) -> Result<(), Exit> {
    print(&format!("{} {line}\n", now.wall.format("%H:%M:%SZ"))).map(|_| ())
}

/// What is so, by what it is about.
fn facts(picture: &Snapshot, now: Now) -> BTreeMap<String, String> {
    let mut facts = BTreeMap::new();
    for service in picture.services.iter() {
        let name = &service.name;
        facts.insert(format!("service {name}"), service.status_at(now).word().to_owned());
        for probe in &service.probes {
            let status = probe.status_at(now).word().to_owned();
            facts.insert(format!("probe {name}/{}", probe.name), status);
        }
        if let Some(route) = &service.route {
            let set = route.set.map_or("nothing set".to_owned(), |set| format!("set {set}"));
            facts.insert(format!("split of {name}"), format!("{set}, {}", route.state.word()));
        }
        if let Some(operation) = &service.operation {
            let text = format!(
                "{} to {} by {}: {}",
                operation.verb,
                operation.to,
                operation.user,
                operation.phase.word()
            );
            facts.insert(format!("operation of {name}"), text);
        }
        if let Some(release) = &service.release {
            let word = release.result.map_or(release.state.word(), |result| result.word());
            let step = release.step + 1;
            let text = format!("r{} {} step {step}: {word}", release.id, release.what());
            facts.insert(format!("release of {name}"), text);
        }
    }
    for incident in &picture.incidents.open {
        let state = match incident.state {
            AlertState::Triggered => "open",
            AlertState::Acknowledged => "acknowledged",
            AlertState::Resolved => "resolved",
        };
        let text = format!("{} {}: {}", incident.severity.word(), incident.name, incident.summary);
        facts.insert(format!("incident {}", incident.key), format!("{state} {text}"));
    }
    for source in picture.sources.iter() {
        let state = match source.state_at(now) {
            SourceState::Ok | SourceState::Waiting => "answers".to_owned(),
            SourceState::Stale => "silent".to_owned(),
            SourceState::Failing => format!("fails: {}", source.error),
        };
        facts.insert(format!("source {}", source.name), state);
        if let Some(skew_s) = source.skew_s {
            let side = if skew_s > 0 { "ahead of ours" } else { "behind ours" };
            facts.insert(format!("clock of {}", source.name), side.to_owned());
        }
    }
    for freeze in &picture.head.freezes {
        let what = freeze.service.as_deref().unwrap_or("every service");
        let until = freeze.until.format("%H:%MZ");
        let text = format!("until {until} by {}: {}", freeze.user, freeze.reason);
        facts.insert(format!("freeze of {what}"), text);
    }
    for banner in &picture.head.banners {
        facts.insert(format!("banner: {banner}"), "shown".to_owned());
    }
    facts
}

fn changes(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<String> {
    let new = after
        .iter()
        .filter(|(name, text)| before.get(*name) != Some(text))
        .map(|(name, text)| format!("{name}: {text}"));
    let gone = before.keys().filter(|name| !after.contains_key(*name));
    new.chain(gone.map(|name| format!("{name}: over"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_became_different_is_a_line() {
        let facts = |all: &[(&str, &str)]| -> BTreeMap<String, String> {
            all.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
        };
        let before = facts(&[("service a", "UP"), ("incident 1", "open"), ("service b", "UP")]);
        let after = facts(&[("service a", "DOWN"), ("service b", "UP"), ("source x", "fails")]);
        let lines = ["service a: DOWN", "source x: fails", "incident 1: over"];
        assert_eq!(changes(&before, &after), lines);
        assert_eq!(changes(&after, &after), [""; 0]);
    }
}
