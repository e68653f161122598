//! What people said of an incident: who has it, until when it may rest, what they noted.
//!
//! Decides when a rest is over. Never says whether an incident is open. Contract: it is exactly
//! what the journal has said of incidents since they opened, at most `NOTES_MAX` notes of one
//! and `MARKS_MAX` incidents.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::record::{Entry, Event};
use crate::snapshot::{NoteView, TriageView};
use crate::types::{Now, Time, Untrusted};

/// The newest notes that stand on the screen; the journal has all of them.
const NOTES_MAX: usize = 20;

/// More incidents than this are not handled one by one.
const MARKS_MAX: usize = 2_000;

/// Longer than this an incident is not put aside: then it is somebody's work.
pub const SNOOZE_MAX_SECONDS: u64 = 7 * 24 * 3_600;

/// What a person says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "say")]
pub enum Say {
    /// Who has it from now on; empty for nobody.
    Assign {
        to: Untrusted,
    },
    Note {
        text: Untrusted,
    },
    /// It is not escalated and stands behind the others for this long; 0 ends that.
    Snooze {
        seconds: u64,
        reason: Untrusted,
    },
}

/// The same on record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "said")]
pub enum Said {
    Assigned { to: Untrusted },
    Noted { text: Untrusted },
    Snoozed { until: Option<DateTime<Utc>>, reason: Untrusted },
}

impl Say {
    #[must_use]
    pub fn verb(&self) -> &'static str {
        match self {
            Say::Assign { .. } => "assign",
            Say::Note { .. } => "note",
            Say::Snooze { .. } => "snooze",
        }
    }

    #[must_use]
    pub fn reason(&self) -> &Untrusted {
        match self {
            Say::Assign { to } => to,
            Say::Note { text } => text,
            Say::Snooze { reason, .. } => reason,
        }
    }

    /// What goes on record, or why it makes no sense.
    pub fn said(self, now: Now) -> Result<Said, String> {
        Ok(match self {
            Say::Assign { to } => Said::Assigned { to },
            Say::Note { text } if text.is_empty() => return Err("the note is empty".to_owned()),
            Say::Note { text } => Said::Noted { text },
            Say::Snooze { seconds, .. } if seconds > SNOOZE_MAX_SECONDS => {
                return Err("an incident is snoozed for at most 7 days".to_owned());
            }
            Say::Snooze { seconds, reason } => {
                let span = i64::try_from(seconds).ok().and_then(chrono::TimeDelta::try_seconds);
                let until = span.filter(|_| seconds > 0).map(|span| now.wall + span);
                Said::Snoozed { until, reason }
            }
        })
    }
}

impl Said {
    /// As the journal's panel has it.
    #[must_use]
    pub fn line(&self) -> String {
        match self {
            Said::Assigned { to } if to.is_empty() => "given back".to_owned(),
            Said::Assigned { to } => format!("{to} has it"),
            Said::Noted { text } => text.display().to_owned(),
            Said::Snoozed { until: Some(until), reason } => {
                format!("snoozed until {}: {reason}", until.format("%H:%M:%SZ"))
            }
            Said::Snoozed { until: None, reason } => format!("not snoozed any more: {reason}"),
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Mark {
    view: TriageView,
    rests: Option<Time>,
}

#[derive(Clone, Debug, Default)]
pub struct Triage {
    marks: BTreeMap<String, Mark>,
}

impl Triage {
    /// Takes what is on record; the incident that it changes.
    pub fn apply<'e>(&mut self, entry: &'e Entry, now: Now) -> Option<&'e str> {
        if let Event::IncidentResolved { key, .. } = &entry.event {
            self.forget(key);
            return None;
        }
        let Event::Triaged { key, said } = &entry.event else { return None };
        if self.marks.len() >= MARKS_MAX && !self.marks.contains_key(key) {
            self.marks.pop_first();
        }
        let mark = self.marks.entry(key.clone()).or_default();
        match said {
            Said::Assigned { to } => mark.view.assignee = to.clone(),
            Said::Noted { text } => {
                let (user, text) = (entry.actor.user.clone(), text.clone());
                mark.view.notes.push(NoteView { at: entry.at, user, text });
                if mark.view.notes.len() > NOTES_MAX {
                    mark.view.notes.remove(0);
                }
            }
            Said::Snoozed { until, .. } => {
                mark.view.snoozed_until = *until;
                let left = |until: DateTime<Utc>| (until - now.wall).to_std().unwrap_or_default();
                mark.rests = until.map(|until| now.mono + left(until));
            }
        }
        Some(key)
    }

    pub fn forget(&mut self, key: &str) {
        self.marks.remove(key);
    }

    #[must_use]
    pub fn view(&self, key: &str) -> TriageView {
        self.marks.get(key).map(|mark| mark.view.clone()).unwrap_or_default()
    }

    /// It rests until then.
    #[must_use]
    pub fn rests(&self, key: &str) -> Option<Time> {
        self.marks.get(key)?.rests
    }

    /// The incidents whose rest is over, and when the next one's is.
    #[must_use]
    pub fn due(&self, now: Now) -> (Vec<String>, Option<Time>) {
        let resting = || self.marks.iter().filter_map(|(key, mark)| Some((key, mark.rests?)));
        let due = resting().filter(|(_, until)| *until <= now.mono).map(|(key, _)| key.clone());
        (due.collect(), resting().map(|(_, until)| until).filter(|at| *at > now.mono).min())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::types::Actor;

    fn at(seconds: u64) -> Now {
        let span = Duration::from_secs(seconds);
        Now { mono: Time(0) + span, wall: DateTime::UNIX_EPOCH + span }
    }

    fn record(own: &mut Triage, key: &str, say: Say, now: Now) {
        let said = say.said(now).expect("it makes sense");
        let event = Event::Triaged { key: key.to_owned(), said };
        own.apply(&Entry { id: String::new(), at: now.wall, actor: Actor::engine(), event }, now);
    }

    #[test]
    fn what_people_said_stands_until_the_incident_is_over() {
        let mut own = Triage::default();
        let text = |text: &str| Untrusted::new(text);
        record(&mut own, "k", Say::Assign { to: text("ana") }, at(0));
        for n in 0..=NOTES_MAX {
            record(&mut own, "k", Say::Note { text: text(&n.to_string()) }, at(1));
        }
        record(&mut own, "k", Say::Snooze { seconds: 60, reason: text("known") }, at(2));
        let view = own.view("k");
        assert_eq!((view.assignee.display(), view.notes.len()), ("ana", NOTES_MAX));
        assert_eq!(view.notes.last().map(|note| note.text.display()), Some("20"));
        assert_eq!(own.due(at(61)), (vec![], Some(at(62).mono)));
        assert_eq!(own.due(at(62)), (vec!["k".to_owned()], None));
        record(&mut own, "k", Say::Snooze { seconds: 0, reason: text("") }, at(62));
        assert_eq!(own.due(at(63)), (vec![], None));
        let event = Event::IncidentResolved { key: "k".to_owned(), name: text("k") };
        let entry = Entry { id: String::new(), at: at(64).wall, actor: Actor::engine(), event };
        own.apply(&entry, at(64));
        assert_eq!(own.view("k"), TriageView::default());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let long = Say::Snooze { seconds: SNOOZE_MAX_SECONDS + 1, reason: Untrusted::default() };
        assert!(long.said(at(0)).is_err());
        assert!(Say::Note { text: Untrusted::default() }.said(at(0)).is_err());
        let huge = Say::Snooze { seconds: u64::MAX, reason: Untrusted::default() };
        assert!(huge.said(at(0)).is_err());
    }
}
