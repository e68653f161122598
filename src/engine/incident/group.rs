//! Which alerts of the feeds belong to an incident of our own.
//!
//! Decides by their labels. Never takes an alert away from its feed: it stands for itself, too.
//! Contract: pure; what is sent of a group is its size and the worst few.

use std::collections::{BTreeMap, BTreeSet};

use super::rank;
use crate::settings::{Definition, Scope};
use crate::snapshot::{AlertLine, AlertsView, IncidentView, NameCount};
use crate::types::Untrusted;

/// The first few say what it is about; the list of incidents has the others.
const ALERTS_NAMED_MAX: usize = 5;
/// Names that a storm is told by.
const NAMES_MAX: usize = 3;

/// What an alert must have to belong to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Group {
    /// A label that is this host or service, with or without a port.
    Subject(String),
    /// Each of these labels.
    Labels(Vec<(Untrusted, Untrusted)>),
}

impl Group {
    /// `None` where nothing ties an alert to it.
    #[must_use]
    pub fn of(definition: &Definition, subject: &str) -> Option<Group> {
        if !definition.alerts.is_empty() {
            let own = definition.alerts.iter().map(|(name, value)| {
                let value = value.replace("{subject}", subject);
                (Untrusted::new(name), Untrusted::new(&value))
            });
            return Some(Group::Labels(own.collect()));
        }
        match definition.scope {
            Scope::Hosts | Scope::Services => Some(Group::Subject(subject.to_owned())),
            Scope::Environment => None,
        }
    }

    fn holds(&self, alert: &IncidentView) -> bool {
        match self {
            Group::Subject(subject) => alert.labels.values().any(|value| {
                let rest = value.display().strip_prefix(subject.as_str());
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
            }),
            Group::Labels(labels) => {
                labels.iter().all(|(name, value)| alert.labels.get(name) == Some(value))
            }
        }
    }
}

/// The alerts of each group, and those that an incident at least as severe stands for.
#[must_use]
pub fn gather<'a>(
    groups: &[(&'a IncidentView, &Group)],
    alerts: &[&'a IncidentView],
) -> (BTreeMap<&'a str, AlertsView>, BTreeSet<&'a str>) {
    let mut views = BTreeMap::new();
    let mut covered = BTreeSet::new();
    for (own, group) in groups {
        let held = alerts.iter().copied().filter(|alert| group.holds(alert));
        let mut held: Vec<&IncidentView> = held.collect();
        covered
            .extend(held.iter().filter(|it| it.severity <= own.severity).map(|it| it.key.as_str()));
        let total = u32::try_from(held.len()).unwrap_or(u32::MAX);
        held.sort_by_cached_key(|alert| (rank(alert), alert.key.clone()));
        held.truncate(ALERTS_NAMED_MAX);
        let line = |alert: &IncidentView| AlertLine {
            key: alert.key.clone(),
            name: alert.name.clone(),
            severity: alert.severity,
            state: alert.state,
        };
        let worst = held.into_iter().map(line).collect();
        views.insert(own.key.as_str(), AlertsView { total, worst });
    }
    (views, covered)
}

/// The names that most alerts have, with how many.
pub fn names<'a>(alerts: impl Iterator<Item = &'a IncidentView>) -> Vec<NameCount> {
    let mut counts: BTreeMap<&Untrusted, u32> = BTreeMap::new();
    for alert in alerts {
        *counts.entry(&alert.name).or_default() += 1;
    }
    let mut counts: Vec<(&Untrusted, u32)> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts.truncate(NAMES_MAX);
    counts.into_iter().map(|(name, count)| NameCount { name: name.clone(), count }).collect()
}
