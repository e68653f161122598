//! Incidents of our own: when a condition opens one, and when it is over.
//!
//! Decides by the definitions' rules, for each host or service. Never acts: it says what is due.
//! Contract: what opens is on record, so that it opens once, also over a restart; no data neither
//! opens nor resolves; an incident is escalated at most once.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::incident::OWN;
use crate::record::{Entry, Event};
use crate::rule::{Answer, Values};
use crate::settings::{Definition, Scope};
use crate::types::{Now, Severity, Time, Untrusted};

/// The state of a condition on one host or service.
#[derive(Clone, Debug, Default)]
struct Watch {
    /// True since then, without a gap.
    since: Option<Now>,
    /// Not true since then, while it is open.
    gone: Option<Now>,
}

/// An incident that is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    pub definition: String,
    pub subject: String,
    pub opened: Now,
    pub acknowledged: bool,
    pub escalated: bool,
    /// Its channels have a notice of it on record.
    pub told: bool,
    pub name: Untrusted,
    pub severity: Severity,
    /// Plans of its actions that wait for their turn, and since when, in their order.
    pub waiting: Vec<(String, Now)>,
}

impl Open {
    /// No definition's: Quarterdeck raised it by itself.
    #[must_use]
    pub fn is_raised(&self) -> bool {
        self.definition.is_empty()
    }
}

/// What a look asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    Open { definition: usize, subject: String, summary: String },
    Resolve { key: String },
}

#[derive(Clone, Debug, Default)]
pub struct Response {
    watches: BTreeMap<String, Watch>,
    pub open: BTreeMap<String, Open>,
}

/// The board's key of an incident.
#[must_use]
pub fn key_of(definition: &str, subject: &str) -> String {
    format!("{OWN}/incident/{definition}/{subject}")
}

/// Definition and subject; both empty for what is raised by itself, `None` for a feed's.
fn parts(key: &str) -> Option<(&str, &str)> {
    let own = key.strip_prefix(OWN)?.strip_prefix('/')?;
    own.strip_prefix("incident/").map_or(Some(("", "")), |own| own.split_once('/'))
}

/// Not a feed's, whose own word counts after a restart.
pub(crate) fn is_own(key: &str) -> bool {
    parts(key).is_some()
}

impl Response {
    /// Takes what is on record.
    pub fn apply(&mut self, entry: &Entry, now: Now) {
        let age = (now.wall - entry.at).to_std().unwrap_or_default();
        let at = Now { mono: now.mono - age, wall: entry.at };
        if let Event::IncidentOpened { key, name, severity } = &entry.event
            && let Some((definition, subject)) = parts(key)
        {
            let open = Open {
                definition: definition.to_owned(),
                subject: subject.to_owned(),
                opened: at,
                acknowledged: false,
                escalated: false,
                told: false,
                name: name.clone(),
                severity: Severity::named(severity),
                waiting: Vec::new(),
            };
            self.open.insert(key.clone(), open);
        } else if let Event::IncidentResolved { key, .. } = &entry.event {
            self.open.remove(key);
        } else if let Event::Acknowledged { key, .. } = &entry.event {
            self.mark(key, |open| open.acknowledged = true);
        } else if let Event::Escalated { key, .. } = &entry.event {
            self.mark(key, |open| open.escalated = true);
        } else if let Event::NoticeQueued(notice) = &entry.event {
            self.mark(&notice.key, |open| open.told = true);
        } else if let Event::ActionTaken { key, plan, waits, .. } = &entry.event {
            self.mark(key, |open| {
                open.waiting.retain(|(own, _)| own != plan);
                if *waits {
                    open.waiting.push((plan.clone(), at));
                }
            });
        }
    }

    /// The actions that wait for their turn, the oldest first: incident, plan, since when.
    #[must_use]
    pub fn waiting(&self) -> Vec<(String, String, Now)> {
        let all = self.open.iter().flat_map(|(key, open)| {
            open.waiting.iter().map(|(plan, since)| (key.clone(), plan.clone(), *since))
        });
        let mut all: Vec<(String, String, Now)> = all.collect();
        all.sort_by_key(|(_, _, since)| since.wall);
        all
    }

    fn mark(&mut self, key: &str, set: impl FnOnce(&mut Open)) {
        if let Some(open) = self.open.get_mut(key) {
            set(open);
        }
    }

    /// New figures of one host or service: what opens, and what is over.
    pub fn look(
        &mut self,
        definitions: &[Definition],
        scope: Scope,
        subject: &str,
        values: &Values,
        now: Now,
    ) -> Vec<Call> {
        let mut calls = Vec::new();
        let about = |own: &Definition| own.scope == scope && own.is_about(subject);
        for (place, own) in definitions.iter().enumerate().filter(|(_, own)| about(own)) {
            let key = key_of(&own.name, subject);
            let is_open = self.open.contains_key(&key);
            let watch = self.watches.entry(key.clone()).or_default();
            match own.rule.judge(values) {
                Answer::True => {
                    watch.gone = None;
                    let since = *watch.since.get_or_insert(now);
                    if !is_open && since.age(now) >= own.span {
                        let summary = format!("{} ({})", own.rule.figures(values), own.rule.source);
                        let subject = subject.to_owned();
                        calls.push(Call::Open { definition: place, subject, summary });
                    }
                }
                Answer::False => {
                    watch.since = None;
                    let gone = *watch.gone.get_or_insert(now);
                    if is_open && gone.age(now) >= own.clear_after {
                        watch.gone = None;
                        calls.push(Call::Resolve { key });
                    }
                }
                // A gap is no evidence, for neither side.
                Answer::NoData(_) => *watch = Watch::default(),
            }
        }
        calls
    }

    /// The incidents that nobody took in time, and when to look again. One that rests is not due.
    #[must_use]
    pub fn overdue(
        &self,
        definitions: &[Definition],
        rests: impl Fn(&str) -> Option<Time>,
        now: Now,
    ) -> (Vec<String>, Option<Time>) {
        let mut due = Vec::new();
        let mut next: Option<Time> = None;
        for (key, open) in &self.open {
            let own = definitions.iter().find(|own| own.name == open.definition);
            let Some(after) = own.and_then(|own| own.escalate_after) else { continue };
            if open.acknowledged || open.escalated {
                continue;
            }
            let at = (open.opened.mono + after).max(rests(key).unwrap_or_default());
            if at <= now.mono {
                due.push(key.clone());
            } else {
                next = Some(next.map_or(at, |next| next.min(at)));
            }
        }
        (due, next)
    }
}

/// How long a condition is gone before its incident is over, unless the file says otherwise.
pub const CLEAR_AFTER: Duration = Duration::from_mins(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::{HOST_NAMES, Rule};
    use crate::types::Actor;

    fn at(seconds: u64) -> Now {
        let span = Duration::from_secs(seconds);
        Now { mono: Time(0) + span, wall: chrono::DateTime::UNIX_EPOCH + span }
    }

    fn definition(span: u64) -> Definition {
        Definition {
            name: "hot".to_owned(),
            severity: Severity::Critical,
            runbook: None,
            rule: Rule::compile("host.cpu > 90", HOST_NAMES).expect("a rule"),
            scope: Scope::Hosts,
            only: Vec::new(),
            alerts: Vec::new(),
            span: Duration::from_secs(span),
            clear_after: Duration::from_mins(1),
            notify: Vec::new(),
            escalate_after: Some(Duration::from_mins(15)),
            escalate_to: Vec::new(),
            actions: Vec::new(),
            armed: false,
        }
    }

    fn cpu(percent: Option<f64>) -> Values {
        percent.map(|percent| ("host.cpu".to_owned(), percent)).into_iter().collect()
    }

    fn record(own: &mut Response, event: Event, now: Now) {
        let entry = Entry { id: String::new(), at: now.wall, actor: Actor::engine(), event };
        own.apply(&entry, now);
    }

    /// Looks at each second and percent in turn: `+` opens, `-` resolves.
    fn check(span: u64, looks: &[(u64, Option<f64>)], expected: &str) {
        let definitions = [definition(span)];
        let mut own = Response::default();
        let mut told = String::new();
        for (second, percent) in looks {
            let values = cpu(*percent);
            for call in own.look(&definitions, Scope::Hosts, "web-1", &values, at(*second)) {
                let key = key_of("hot", "web-1");
                let name = Untrusted::new("hot");
                let event = match call {
                    Call::Open { .. } => {
                        told.push_str(&format!("+{second} "));
                        Event::IncidentOpened { key, name, severity: "critical".to_owned() }
                    }
                    Call::Resolve { .. } => {
                        told.push_str(&format!("-{second} "));
                        Event::IncidentResolved { key, name }
                    }
                };
                record(&mut own, event, at(*second));
            }
        }
        assert_eq!(told.trim_end(), expected, "{looks:?}");
    }

    #[test]
    fn it_opens_at_once_or_after_its_time_and_once() {
        check(0, &[(0, Some(50.0)), (5, Some(95.0)), (10, Some(95.0))], "+5");
        check(10, &[(0, Some(95.0)), (5, Some(95.0)), (10, Some(95.0)), (15, Some(99.0))], "+10");
        check(10, &[(0, Some(95.0)), (5, None), (10, Some(95.0)), (15, Some(95.0))], "");
    }

    #[test]
    fn it_is_over_when_the_condition_is_gone_for_a_while() {
        let hot = (0, Some(95.0));
        check(0, &[hot, (5, Some(5.0)), (64, Some(5.0))], "+0");
        check(0, &[hot, (5, Some(5.0)), (65, Some(5.0)), (70, Some(95.0))], "+0 -65 +70");
        check(0, &[hot, (5, Some(5.0)), (40, Some(95.0)), (65, Some(5.0))], "+0");
        check(0, &[hot, (5, Some(5.0)), (40, None), (65, Some(5.0)), (125, Some(5.0))], "+0 -125");
    }

    #[test]
    fn it_is_looked_at_for_those_that_it_is_about() {
        let check = |only: &[&str], opens: bool| {
            let only = only.iter().map(ToString::to_string).collect();
            let definitions = [Definition { only, ..definition(0) }];
            let values = cpu(Some(95.0));
            let calls =
                Response::default().look(&definitions, Scope::Hosts, "web-1", &values, at(0));
            assert_eq!(!calls.is_empty(), opens, "{:?}", definitions[0].only);
        };
        check(&[], true);
        check(&["web-2", "web-1"], true);
        check(&["web-2", "web"], false);
    }

    #[test]
    fn it_escalates_once_unless_somebody_has_it() {
        let definitions = [definition(0)];
        let key = key_of("hot", "web-1");
        let opened = || Event::IncidentOpened {
            key: key_of("hot", "web-1"),
            name: Untrusted::new("hot"),
            severity: "critical".to_owned(),
        };
        let mut own = Response::default();
        record(&mut own, opened(), at(0));
        assert_eq!(own.overdue(&definitions, |_| None, at(899)), (vec![], Some(at(900).mono)));
        assert_eq!(own.overdue(&definitions, |_| None, at(900)).0, std::slice::from_ref(&key));
        let result = Untrusted::default();
        record(&mut own, Event::Escalated { key: key.clone(), result: result.clone() }, at(900));
        assert_eq!(own.overdue(&definitions, |_| None, at(901)), (vec![], None));
        let mut own = Response::default();
        record(&mut own, opened(), at(0));
        let comment = Untrusted::default();
        let rest = own.overdue(&definitions, |_| Some(at(1_000).mono), at(900));
        assert_eq!(rest, (vec![], Some(at(1_000).mono)));
        record(&mut own, Event::Acknowledged { key, comment, result }, at(10));
        assert_eq!(own.overdue(&definitions, |_| None, at(900)), (vec![], None));
    }
}
