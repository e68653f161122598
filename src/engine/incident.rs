//! What is wrong right now, from every feed and from Quarterdeck itself.
//!
//! Decides when an incident opens and resolves: it is open while its feed names it, and a feed
//! that fails resolves nothing. Never shows more than a person can read. Contract: an incident is
//! known by feed and fingerprint; the same again is the same incident.

pub mod group;

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};

use chrono::{DateTime, Utc};

use self::group::Group;
use crate::reading::{Alert, AlertState, FeedReading};
use crate::record::{Entry, Event};
use crate::rule::Values;
use crate::settings;
use crate::snapshot::{INCIDENTS_SHOWN_MAX, IncidentView, Incidents};
use crate::triage::Triage;
use crate::types::{FeedId, Now, Severity, Time, Untrusted};

/// Resolved incidents that stay readable.
const RESOLVED_MAX: usize = 50;

/// Records written for one reading; a storm gets one summary beyond that.
const RECORDS_PER_READING_MAX: usize = 20;

/// The source of incidents that the engine raises itself.
pub const OWN: &str = "quarterdeck";

#[derive(Debug, Default)]
pub struct Board {
    open: BTreeMap<String, Incident>,
    resolved: VecDeque<IncidentView>,
    dropped: BTreeMap<FeedId, u32>,
    triage: Triage,
}

#[derive(Debug)]
struct Incident {
    feed: Option<FeedId>,
    fingerprint: String,
    view: IncidentView,
    /// The alerts that belong to it, for one of our own.
    group: Option<Group>,
}

impl Board {
    /// Takes what is on record; true when it changes what is shown.
    pub fn apply(&mut self, entry: &Entry, now: Now) -> bool {
        let Some(key) = self.triage.apply(entry, now) else { return false };
        if let Some(incident) = self.open.get_mut(key) {
            incident.view.triage = self.triage.view(key);
        }
        true
    }

    /// The open incidents whose rest is over, and when the next one's is.
    #[must_use]
    pub fn rested(&self, now: Now) -> (Vec<String>, Option<Time>) {
        let (mut due, next) = self.triage.due(now);
        due.retain(|key| self.open.contains_key(key));
        (due, next)
    }

    /// It rests until then.
    #[must_use]
    pub fn rests(&self, key: &str) -> Option<Time> {
        self.triage.rests(key)
    }

    /// Takes a whole reading of one feed and says what is worth a record.
    pub fn read(
        &mut self,
        feed: FeedId,
        settings: &settings::Feed,
        reading: FeedReading,
        now: Now,
    ) -> Vec<Event> {
        self.dropped.insert(feed, reading.dropped);
        let whole = reading.dropped == 0;
        let mut opened = Vec::new();
        let mut seen = std::collections::BTreeSet::new();
        for alert in reading.alerts {
            if alert.state == AlertState::Resolved {
                continue;
            }
            let key = format!("{}/{}", settings.name, alert.fingerprint);
            seen.insert(key.clone());
            if let Some(incident) = self.open.get_mut(&key) {
                refresh(&mut incident.view, alert, now);
            } else {
                let incident = Incident {
                    feed: Some(feed),
                    fingerprint: alert.fingerprint.clone(),
                    view: view_of(key.clone(), settings, alert, &self.triage, now),
                    group: None,
                };
                opened.push(opened_event(&incident.view));
                self.open.insert(key, incident);
            }
        }
        let gone: Vec<String> = self
            .open
            .iter()
            .filter(|(key, incident)| incident.feed == Some(feed) && !seen.contains(*key))
            .map(|(key, _)| key.clone())
            .collect();
        let mut resolved = Vec::new();
        for key in gone {
            if whole {
                resolved.extend(self.resolve_at(&key, now));
            } else {
                // It may be among those that were left out: counted there, not called over.
                self.open.remove(&key);
            }
        }
        bounded(&settings.name, opened, resolved)
    }

    /// Opens an incident of the engine's own; nothing happens when it is open already.
    pub fn raise(
        &mut self,
        key: &str,
        severity: Severity,
        name: &str,
        summary: &str,
        now: Now,
    ) -> Option<Event> {
        if let Some(incident) = self.open.get_mut(key) {
            incident.view.last_seen = now;
            incident.view.summary = Untrusted::new(summary);
            return None;
        }
        let view = IncidentView {
            key: key.to_owned(),
            name: Untrusted::new(name),
            severity,
            state: AlertState::Triggered,
            source: OWN.to_owned(),
            summary: Untrusted::new(summary),
            labels: BTreeMap::new(),
            links: Vec::new(),
            started_at: Some(now.wall),
            first_seen: now,
            last_seen: now,
            pending: Untrusted::default(),
            can_acknowledge: true,
            can_escalate: false,
            triage: self.triage.view(key),
            alerts: None,
        };
        let event = opened_event(&view);
        let incident = Incident { feed: None, fingerprint: key.to_owned(), view, group: None };
        self.open.insert(key.to_owned(), incident);
        Some(event)
    }

    /// Closes an incident; `None` when it was not open.
    pub fn resolve_at(&mut self, key: &str, now: Now) -> Option<Event> {
        let mut incident = self.open.remove(key)?;
        self.triage.forget(key);
        incident.view.state = AlertState::Resolved;
        incident.view.last_seen = now;
        let event = Event::IncidentResolved {
            key: incident.view.key.clone(),
            name: incident.view.name.clone(),
        };
        self.resolved.push_front(incident.view);
        self.resolved.truncate(RESOLVED_MAX);
        Some(event)
    }

    /// Where an incident came from: its feed (`None` for the engine's own) and fingerprint.
    #[must_use]
    pub fn origin(&self, key: &str) -> Option<(Option<FeedId>, String)> {
        let incident = self.open.get(key)?;
        Some((incident.feed, incident.fingerprint.clone()))
    }

    #[must_use]
    pub fn view(&self, key: &str) -> Option<&IncidentView> {
        self.open.get(key).map(|incident| &incident.view)
    }

    /// One of a definition: it has somebody to be handed to, and alerts that belong to it.
    pub fn define(&mut self, key: &str, group: Option<Group>) {
        if let Some(incident) = self.open.get_mut(key) {
            incident.view.can_escalate = true;
            incident.group = group;
        }
    }

    pub fn set_pending(&mut self, key: &str, text: &str) {
        if let Some(incident) = self.open.get_mut(key) {
            incident.view.pending = Untrusted::new(text);
        }
    }

    pub fn set_state(&mut self, key: &str, state: AlertState) {
        if let Some(incident) = self.open.get_mut(key) {
            incident.view.state = state;
        }
    }

    /// How many incidents of feeds there are, as rules call it.
    #[must_use]
    pub fn figures(&self) -> Values {
        let of_feeds = || self.open.values().filter(|own| own.feed.is_some()).map(|own| &own.view);
        let count = |fits: &dyn Fn(&IncidentView) -> bool| {
            let count = of_feeds().filter(|view| fits(view)).count();
            f64::from(u32::try_from(count).unwrap_or(u32::MAX))
        };
        let severe = |severity: Severity| count(&|view| view.severity == severity);
        Values::from([
            ("feed.open".to_owned(), count(&|_| true) + f64::from(self.left_out())),
            ("feed.critical".to_owned(), severe(Severity::Critical)),
            ("feed.high".to_owned(), severe(Severity::High)),
            ("feed.unacknowledged".to_owned(), count(&|view| view.state == AlertState::Triggered)),
        ])
    }

    /// What the feeds' limits left out.
    fn left_out(&self) -> u32 {
        self.dropped.values().fold(0, |sum, own| sum.saturating_add(*own))
    }

    #[must_use]
    pub fn section(&self) -> Incidents {
        let alerts = || self.open.values().filter(|own| own.feed.is_some()).map(|own| &own.view);
        let groups: Vec<(&IncidentView, &Group)> =
            self.open.values().filter_map(|own| Some((&own.view, own.group.as_ref()?))).collect();
        let (mut grouped, covered) = match groups.as_slice() {
            [] => <_>::default(),
            some => group::gather(some, &alerts().collect::<Vec<_>>()),
        };
        // What a view ranks by, looked up once; the worst are picked out before they are sorted.
        let mut order: Vec<Ranked<'_>> = self
            .open
            .values()
            .map(|incident| {
                let view = &incident.view;
                let rests = view.triage.snoozed_until.is_some();
                ((rests, covered.contains(view.key.as_str()), rank(view)), view)
            })
            .collect();
        let total = u32::try_from(order.len()).unwrap_or(u32::MAX);
        let by_rank = |(x, of_x): &Ranked<'_>, (y, of_y): &Ranked<'_>| {
            x.cmp(y).then_with(|| of_x.key.cmp(&of_y.key))
        };
        let mut names = Vec::new();
        if order.len() > INCIDENTS_SHOWN_MAX {
            names = group::names(alerts());
            order.select_nth_unstable_by(INCIDENTS_SHOWN_MAX, by_rank);
            order.truncate(INCIDENTS_SHOWN_MAX);
        }
        order.sort_unstable_by(by_rank);
        Incidents {
            total,
            open: order
                .into_iter()
                .map(|(_, view)| IncidentView {
                    alerts: grouped.remove(view.key.as_str()),
                    ..view.clone()
                })
                .collect(),
            dropped: self.left_out(),
            names,
            resolved: self.resolved.iter().cloned().collect(),
        }
    }
}

/// What comes first; the key decides between equals.
type Rank = (AlertState, Reverse<Severity>, DateTime<Utc>);

/// It rests, another incident stands for it, its rank.
type Ranked<'a> = ((bool, bool, Rank), &'a IncidentView);

fn rank(view: &IncidentView) -> Rank {
    (view.state, Reverse(view.severity), view.started_at.unwrap_or(view.first_seen.wall))
}

fn opened_event(view: &IncidentView) -> Event {
    Event::IncidentOpened {
        key: view.key.clone(),
        name: view.name.clone(),
        severity: view.severity.word().to_owned(),
    }
}

fn view_of(
    key: String,
    settings: &settings::Feed,
    alert: Alert,
    triage: &Triage,
    now: Now,
) -> IncidentView {
    IncidentView {
        triage: triage.view(&key),
        key,
        name: alert.name,
        severity: alert.severity,
        state: alert.state,
        source: settings.name.clone(),
        summary: alert.summary,
        labels: alert.labels,
        links: alert.links,
        started_at: alert.started_at,
        first_seen: now,
        last_seen: now,
        pending: Untrusted::default(),
        can_acknowledge: settings.can_acknowledge,
        can_escalate: settings.can_escalate,
        alerts: None,
    }
}

fn refresh(view: &mut IncidentView, alert: Alert, now: Now) {
    if alert.state == AlertState::Acknowledged {
        view.pending = Untrusted::default();
    }
    view.name = alert.name;
    view.severity = alert.severity;
    view.state = alert.state;
    view.summary = alert.summary;
    view.labels = alert.labels;
    view.links = alert.links;
    view.started_at = alert.started_at;
    view.last_seen = now;
}

fn bounded(source: &str, mut opened: Vec<Event>, mut resolved: Vec<Event>) -> Vec<Event> {
    let count = |events: &Vec<Event>| u32::try_from(events.len()).unwrap_or(u32::MAX);
    if opened.len() + resolved.len() > RECORDS_PER_READING_MAX {
        return vec![Event::IncidentsChanged {
            source: source.to_owned(),
            opened: count(&opened),
            resolved: count(&resolved),
        }];
    }
    opened.append(&mut resolved);
    opened
}

#[cfg(test)]
mod tests;
