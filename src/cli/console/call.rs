//! Calls whoever does not look at the console: the terminal's bell, and a notice of the desktop.
//!
//! Decides what is worth a call: an open incident that is critical or high, and a question of a
//! release. Never calls for what stood there when the console began, and never unless the person's
//! own file asks for it. Contract: at most one call in [`SPAN`]; what came up meanwhile is in the
//! next one, unless it is over.

use std::collections::BTreeMap;
use std::env;
use std::time::Duration;

use engine::reading::AlertState;
use engine::snapshot::Snapshot;
use engine::types::{Now, Severity, Time};

use crate::io::terminal::sequences;

/// A storm rings once, and then as often as somebody can bear who already is on the way.
const SPAN: Duration = Duration::from_secs(10);

/// By the reason's key: what is said of it.
type Reasons = BTreeMap<String, String>;

#[derive(Debug, Default)]
pub struct Calls {
    bell: bool,
    notice: bool,
    /// Everything that calls and was there before; `None` before the first picture.
    known: Option<Reasons>,
    last: Option<Time>,
}

impl Calls {
    #[must_use]
    pub fn new(bell: bool, notice: bool) -> Calls {
        Calls { bell, notice, ..Calls::default() }
    }

    /// What the terminal is sent now, if anything.
    pub fn of(&mut self, live: &Snapshot, now: Now) -> Option<String> {
        if !self.bell && !self.notice {
            return None;
        }
        let text = self.due(reasons(live, now), now.mono)?;
        if !self.notice {
            return Some(sequences::BELL.to_owned());
        }
        let program = env::var("TERM_PROGRAM").unwrap_or_default();
        let tmux = env::var_os("TMUX").is_some();
        let title = format!("Quarterdeck {}", live.head.environment.name);
        Some(sequences::notice(&title, &text, &program, tmux))
    }

    /// What is new, worst first, when it is time to say it.
    fn due(&mut self, reasons: Reasons, now: Time) -> Option<String> {
        let Some(known) = &mut self.known else {
            self.known = Some(reasons);
            return None;
        };
        known.retain(|key, _| reasons.contains_key(key));
        if self.last.is_some_and(|last| now.since(last) < SPAN) {
            return None;
        }
        let mut fresh = reasons.iter().filter(|(key, _)| !known.contains_key(*key));
        let (_, first) = fresh.next()?;
        let text = match fresh.count() {
            0 => first.clone(),
            more => format!("{first}, and {more} more"),
        };
        self.known = Some(reasons);
        self.last = Some(now);
        Some(text)
    }
}

fn reasons(live: &Snapshot, now: Now) -> Reasons {
    let open = live.incidents.open.iter().filter(|incident| {
        let severe = incident.severity >= Severity::High;
        severe && incident.state == AlertState::Triggered && !incident.is_snoozed(now)
    });
    let incidents = open.map(|incident| {
        let rank = u8::from(incident.severity != Severity::Critical);
        let text = format!("{}: {}", incident.severity, incident.name);
        (format!("{rank} {}", incident.key), text)
    });
    let questions = live.services.iter().filter_map(|service| {
        let release = service.release.as_ref()?;
        let question = release.question.as_ref()?;
        let key = format!("2 r{} step {}", release.id, release.step);
        Some((key, format!("{} asks: {}", service.name, question.text)))
    });
    incidents.chain(questions).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_new_calls_and_a_storm_calls_once_in_a_while() {
        let mut calls = Calls::new(true, true);
        let mut check = |second: u64, open: &[&str], expected: Option<&str>| {
            let reasons = open.iter().map(|key| ((*key).to_owned(), format!("<{key}>"))).collect();
            let said = calls.due(reasons, Time(second * 1_000_000));
            assert_eq!(said.as_deref(), expected, "after {second} s");
        };
        check(0, &["a"], None);
        check(1, &["a", "b"], Some("<b>"));
        check(2, &["a", "b", "c"], None);
        check(3, &["a", "b", "c", "d", "e"], None);
        // One of them is over before its turn.
        check(11, &["a", "b", "d", "e"], Some("<d>, and 1 more"));
        check(30, &["a", "b", "d", "e"], None);
        // It comes back.
        check(31, &["b", "d", "e"], None);
        check(32, &["a", "b", "d", "e"], Some("<a>"));
    }
}
