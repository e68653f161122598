//! What travels of a snapshot to a client that has an older one.
//!
//! Decides which sections and rows that takes: those that changed, so that a thousand answers a
//! second among ten thousand probes cost a thousand rows and not ten thousand. Never leaves out
//! what is new. Contract: [`Snapshot::changes_since`], applied in its order to the older snapshot,
//! gives the newer one.

use std::sync::Arc;

use chrono::DateTime;
use serde::{Deserialize, Serialize};

use crate::settings::Environment;
use crate::snapshot::{
    Head, HostView, Incidents, JournalLine, JournalState, ProbeView, ServiceView, Snapshot,
    SourceView,
};
use crate::types::{Now, Time};

/// A section, or what changed of one.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "section", content = "data")]
pub enum Section {
    Head(Arc<Head>),
    /// Without their probes.
    Services(Rows<ServiceView>),
    /// Of the service at a place.
    Probes {
        service: usize,
        rows: Rows<ProbeView>,
    },
    Hosts(Arc<Vec<HostView>>),
    Incidents(Arc<Incidents>),
    Journal(Arc<Vec<JournalLine>>),
    Sources(Rows<SourceView>),
}

/// Rows of a list by their places, in order; the others are as they were.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Rows<T> {
    /// Of the whole list.
    pub count: usize,
    pub changed: Vec<(usize, Arc<T>)>,
}

impl<T> Rows<T> {
    /// What is to be sent of `new` to who has `old`; `None` when that is nothing.
    fn between(
        old: Option<&[Arc<T>]>,
        new: &[Arc<T>],
        is_same: impl Fn(&T, &T) -> bool,
    ) -> Option<Rows<T>> {
        let had = |place: usize, row: &Arc<T>| {
            let old = old.and_then(|old| old.get(place));
            old.is_some_and(|old| Arc::ptr_eq(old, row) || is_same(old, row))
        };
        let changed = new.iter().enumerate().filter(|(place, row)| !had(*place, row));
        let changed: Vec<_> = changed.map(|(place, row)| (place, Arc::clone(row))).collect();
        let same_length = old.is_some_and(|old| old.len() == new.len());
        (!changed.is_empty() || !same_length).then_some(Rows { count: new.len(), changed })
    }

    fn apply(self, list: &mut Vec<Arc<T>>, mut carry: impl FnMut(&T, &mut Arc<T>)) -> Applied {
        list.truncate(self.count);
        for (place, mut row) in self.changed {
            if let Some(old) = list.get_mut(place) {
                carry(old, &mut row);
                *old = row;
            } else if place == list.len() {
                list.push(row);
            } else {
                return Err(MISPLACED);
            }
        }
        if list.len() == self.count { Ok(()) } else { Err(MISPLACED) }
    }
}

/// Why a section does not fit the snapshot that it is to change.
pub type Applied = Result<(), &'static str>;

const MISPLACED: &str = "a row has no place";

impl Snapshot {
    /// One to fill: the first changes carry all sections, so nothing empty is ever shown.
    #[must_use]
    pub fn empty() -> Snapshot {
        let epoch = Now { mono: Time(0), wall: DateTime::UNIX_EPOCH };
        Snapshot {
            head: Arc::new(Head {
                environment: Environment::default(),
                started: epoch,
                journal: JournalState::Writable,
                banners: Vec::new(),
                freezes: Vec::new(),
                runs: Vec::new(),
            }),
            services: Arc::default(),
            hosts: Arc::default(),
            incidents: Arc::default(),
            journal: Arc::default(),
            sources: Arc::default(),
        }
    }

    /// Replaces one section, or what changed of it. What does not fit is an error, and the snapshot
    /// is then good for nothing.
    pub fn apply(&mut self, section: Section) -> Applied {
        match section {
            Section::Head(data) => self.head = data,
            Section::Services(rows) => {
                // A row comes without its probes: they stay until theirs come.
                let carry = |old: &ServiceView, new: &mut Arc<ServiceView>| {
                    Arc::make_mut(new).probes.clone_from(&old.probes);
                };
                return rows.apply(Arc::make_mut(&mut self.services), carry);
            }
            Section::Probes { service, rows } => {
                let services = Arc::make_mut(&mut self.services);
                let service = services.get_mut(service).ok_or(MISPLACED)?;
                return rows.apply(&mut Arc::make_mut(service).probes, |_, _| ());
            }
            Section::Hosts(data) => self.hosts = data,
            Section::Incidents(data) => self.incidents = data,
            Section::Journal(data) => self.journal = data,
            Section::Sources(rows) => {
                return rows.apply(Arc::make_mut(&mut self.sources), |_, _| ());
            }
        }
        Ok(())
    }

    /// What differs from `older`; everything when there is none.
    #[must_use]
    pub fn changes_since(&self, older: Option<&Snapshot>) -> Vec<Section> {
        let mut changed = Vec::new();
        macro_rules! is_new {
            ($field:ident) => {
                !older.is_some_and(|older| Arc::ptr_eq(&older.$field, &self.$field))
            };
        }
        if is_new!(head) {
            changed.push(Section::Head(Arc::clone(&self.head)));
        }
        if is_new!(services) {
            self.services_since(older.map(|older| older.services.as_slice()), &mut changed);
        }
        if is_new!(hosts) {
            changed.push(Section::Hosts(Arc::clone(&self.hosts)));
        }
        if is_new!(incidents) {
            changed.push(Section::Incidents(Arc::clone(&self.incidents)));
        }
        if is_new!(journal) {
            changed.push(Section::Journal(Arc::clone(&self.journal)));
        }
        if is_new!(sources) {
            let older = older.map(|older| older.sources.as_slice());
            let rows = Rows::between(older, &self.sources, |old, new| old == new);
            changed.extend(rows.map(Section::Sources));
        }
        changed
    }

    fn services_since(&self, older: Option<&[Arc<ServiceView>]>, changed: &mut Vec<Section>) {
        let rows = Rows::between(older, &self.services, ServiceView::is_same_beside_probes);
        changed.extend(rows.map(Section::Services));
        for (place, service) in self.services.iter().enumerate() {
            let older = older.and_then(|older| older.get(place));
            if older.is_some_and(|older| Arc::ptr_eq(older, service)) {
                continue;
            }
            let older = older.map_or(&[][..], |older| older.probes.as_slice());
            let rows = Rows::between(Some(older), &service.probes, |old, new| old == new);
            changed.extend(rows.map(|rows| Section::Probes { service: place, rows }));
        }
    }
}

impl ServiceView {
    fn is_same_beside_probes(&self, other: &ServiceView) -> bool {
        let ServiceView {
            name,
            alias,
            runbook,
            flag,
            probes: _,
            route,
            signals,
            operation,
            release,
            validation,
            readiness,
            triggers,
            plans,
            history,
        } = self;
        *name == other.name
            && *alias == other.alias
            && *runbook == other.runbook
            && *flag == other.flag
            && *route == other.route
            && *signals == other.signals
            && *operation == other.operation
            && *release == other.release
            && *validation == other.validation
            && *readiness == other.readiness
            && *triggers == other.triggers
            && *plans == other.plans
            && *history == other.history
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::types::Untrusted;

    fn probe(name: &str, message: &str) -> Arc<ProbeView> {
        let settings = crate::settings::Probe {
            service: crate::types::ServiceId(0),
            name: name.to_owned(),
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(1),
            degraded_above: None,
            unhealthy_above: None,
            rise: 1,
            fall: 1,
        };
        let mut view = crate::watch::Probe::new(&settings, "shop").view();
        Arc::make_mut(&mut view).message = Untrusted::new(message);
        view
    }

    fn service(name: &str, probes: Vec<Arc<ProbeView>>) -> Arc<ServiceView> {
        Arc::new(ServiceView { name: name.to_owned(), probes, ..ServiceView::default() })
    }

    fn source(name: &str) -> Arc<SourceView> {
        Arc::new(SourceView {
            name: name.to_owned(),
            kind: "probe".to_owned(),
            interval: Duration::from_secs(5),
            success: Some(Now { mono: Time(1), wall: DateTime::UNIX_EPOCH }),
            error: Untrusted::default(),
            skew_s: None,
        })
    }

    fn picture(services: Vec<Arc<ServiceView>>, sources: &[&str]) -> Snapshot {
        let sources = sources.iter().map(|name| source(name)).collect();
        let (services, sources) = (Arc::new(services), Arc::new(sources));
        Snapshot { services, sources, ..Snapshot::empty() }
    }

    /// Rows and probes that travel from `old` to `new`; what arrives is the new one.
    fn check(old: Option<&Snapshot>, new: &Snapshot, rows: usize, probes: usize) {
        let mut arrived = old.cloned().unwrap_or_else(Snapshot::empty);
        let mut seen = (0, 0);
        for section in new.changes_since(old) {
            match &section {
                Section::Services(rows) => seen.0 += rows.changed.len(),
                Section::Probes { rows, .. } => seen.1 += rows.changed.len(),
                Section::Head(_)
                | Section::Hosts(_)
                | Section::Incidents(_)
                | Section::Journal(_)
                | Section::Sources(_) => {}
            }
            let line = serde_json::to_string(&section).expect("names are strings");
            arrived.apply(serde_json::from_str(&line).expect("as written")).expect("it fits");
        }
        assert_eq!(seen, (rows, probes));
        assert_eq!(arrived.services, new.services);
        assert_eq!(arrived.sources, new.sources);
    }

    #[test]
    fn what_changed_travels_and_nothing_else() {
        let (a, b) = (probe("a", ""), probe("b", ""));
        let shop = service("shop", vec![Arc::clone(&a), Arc::clone(&b)]);
        let mail = service("mail", vec![Arc::clone(&a)]);
        let first = picture(vec![Arc::clone(&shop), Arc::clone(&mail)], &["x", "y"]);
        check(None, &first, 2, 3);
        check(Some(&first), &first, 0, 0);
        // Built anew and as before.
        let same = picture(vec![service("shop", shop.probes.clone()), mail.clone()], &["x", "y"]);
        check(Some(&first), &same, 0, 0);
        // One answer.
        let late = service("shop", vec![Arc::clone(&a), probe("b", "late")]);
        check(Some(&first), &picture(vec![late, mail.clone()], &["x", "z"]), 0, 1);
        // One row; its probes stay.
        let mut renamed = Arc::clone(&mail);
        Arc::make_mut(&mut renamed).alias = "ml".to_owned();
        check(Some(&first), &picture(vec![Arc::clone(&shop), renamed], &["x", "y"]), 1, 0);
        // Fewer, and more.
        let fewer = picture(vec![service("shop", vec![b])], &["y"]);
        check(Some(&first), &fewer, 0, 1);
        check(Some(&fewer), &first, 1, 3);
    }

    #[test]
    fn a_row_without_a_place_is_refused() {
        let mut picture = Snapshot::empty();
        let rows = |count, place| Rows { count, changed: vec![(place, source("x"))] };
        assert_eq!(picture.apply(Section::Sources(rows(2, 1))), Err(MISPLACED));
        assert_eq!(picture.apply(Section::Sources(rows(2, 0))), Err(MISPLACED));
        let probes = Rows { count: 0, changed: Vec::new() };
        assert_eq!(picture.apply(Section::Probes { service: 0, rows: probes }), Err(MISPLACED));
        assert_eq!(picture.apply(Section::Sources(rows(1, 0))), Ok(()));
    }
}
