//! Which entries a restart still needs.
//!
//! Decides what can be left out without a change of what folding gives: the evidence of releases
//! that are over, incidents that are resolved, notices that arrived. Never looks at settings, which
//! may be others after a restart. Contract: an engine that recovers from what is kept is the one
//! that recovers from all; what is kept stands in its order.

use std::collections::{BTreeMap, BTreeSet};

use super::{SUBMISSIONS_MAX, order};
use crate::history::RELEASES_MAX;
use crate::record::{Entry, Event, Intent, ReleaseKind, StepResult};
use crate::response;
use crate::runbook::RUNS_SHOWN_MAX;
use crate::types::Fence;

/// Raised with each change of what is kept: what older rules left out may be needed by new ones.
pub const RULES: u32 = 1;

/// The newest entries are kept whatever they say: an outage puts what it held up behind newer ones,
/// and the end of the journal is shown.
pub const NEWEST: usize = 2_000;

/// Entries of a journal, read one after the other, without those that nobody needs any more.
#[derive(Debug, Default)]
pub struct Needed {
    entries: Vec<Entry>,
    /// As many are looked through again.
    due: usize,
}

impl Needed {
    /// Goes on from entries that were kept before.
    #[must_use]
    pub fn from(entries: Vec<Entry>) -> Needed {
        let due = 2 * entries.len();
        Needed { entries, due }
    }

    pub fn push(&mut self, entry: Entry) {
        self.entries.push(entry);
        if self.entries.len() >= self.due.max(3 * NEWEST) {
            self.entries = needed(std::mem::take(&mut self.entries), NEWEST);
            self.due = 2 * self.entries.len();
        }
    }

    #[must_use]
    pub fn entries(self) -> Vec<Entry> {
        self.entries
    }
}

/// What a restart needs of `entries`, and the `newest` of them.
#[must_use]
pub fn needed(entries: Vec<Entry>, newest: usize) -> Vec<Entry> {
    let first = entries.len().saturating_sub(newest);
    let seen = Seen::of(&entries, first);
    let stays: Vec<bool> =
        entries.iter().enumerate().map(|(place, entry)| seen.needs(place, entry)).collect();
    entries.into_iter().zip(stays).filter_map(|(entry, stays)| stays.then_some(entry)).collect()
}

/// What all entries say together.
#[derive(Default)]
struct Seen<'e> {
    /// From here on all are kept.
    first: usize,
    /// Of each entry: its place in the order in which they were made.
    ranks: Vec<usize>,
    services: BTreeMap<&'e str, Own>,
    /// The rank of the last end of each incident.
    resolved: BTreeMap<&'e str, usize>,
    /// Notices by number: of which incident, and whether it is over.
    notices: BTreeMap<u64, (&'e str, bool)>,
    runs: BTreeSet<u64>,
    /// The last of their kind that stand for all before them.
    last: BTreeSet<usize>,
}

/// What concerns one service.
#[derive(Default)]
struct Own {
    /// Number, kind and rank, in their order.
    releases: Vec<(u64, ReleaseKind, usize)>,
    /// Fence, place and rank, in their order.
    intents: Vec<(Fence, usize, usize)>,
    rolled_back: Option<Fence>,
    /// Below this a release is over for good: what it did on its way changes nothing any more.
    whole: u64,
    /// Below these it is not even history.
    deploys: u64,
    others: u64,
    known: BTreeSet<Fence>,
    kept: BTreeSet<Fence>,
}

impl Own {
    fn close(&mut self, first: usize) {
        let nth = |many: usize, of: &dyn Fn(ReleaseKind) -> bool| {
            let mut own = self.releases.iter().rev().filter(|(_, kind, _)| of(*kind));
            own.nth(many - 1).map_or(0, |(release, ..)| *release)
        };
        // An operation may take back the end of the newest.
        self.whole = nth(2, &|_| true);
        self.deploys = nth(RELEASES_MAX, &|kind| kind == ReleaseKind::Deploy);
        self.others = nth(RELEASES_MAX, &|_| true);
        let history = self.releases.iter().find(|(release, ..)| *release >= self.deploys);
        let since = history.map_or(usize::MAX, |(.., rank)| *rank);
        let newest = self.intents.len().saturating_sub(SUBMISSIONS_MAX);
        for (place, (fence, entry, rank)) in self.intents.iter().enumerate() {
            self.known.insert(*fence);
            let recent = place >= newest || *entry >= first || *rank >= since;
            if recent || self.rolled_back == Some(*fence) {
                self.kept.insert(*fence);
            }
        }
    }

    fn intent(&mut self, intent: &Intent, place: usize, rank: usize) {
        self.intents.push((intent.fence, place, rank));
        if intent.verb == "rollback" {
            self.rolled_back = Some(intent.fence);
        }
    }
}

impl<'e> Seen<'e> {
    fn of(entries: &'e [Entry], first: usize) -> Seen<'e> {
        let mut seen = Seen { first, ranks: vec![0; entries.len()], ..Seen::default() };
        let (mut runs, mut last) = (Vec::new(), BTreeMap::new());
        for (rank, place) in order(entries).into_iter().enumerate() {
            seen.ranks[place] = rank;
            match &entries[place].event {
                Event::Intent(it) => {
                    seen.services.entry(&it.service).or_default().intent(it, place, rank);
                }
                Event::ReleaseStarted(it) => {
                    let own = seen.services.entry(&it.service).or_default();
                    own.releases.push((it.release, it.kind, rank));
                }
                Event::IncidentResolved { key, .. } => {
                    seen.resolved.insert(key, rank);
                }
                Event::NoticeQueued(notice) => {
                    seen.notices.insert(notice.number, (&notice.key, false));
                }
                Event::NoticeEnded { number, .. } => {
                    if let Some(notice) = seen.notices.get_mut(number) {
                        notice.1 = true;
                    }
                    last.insert(("notice", ""), place);
                }
                Event::RunbookStarted { run, .. } => runs.push(*run),
                Event::Started { .. } | Event::ConfigChanged { .. } => {
                    last.insert(("config", ""), place);
                }
                Event::TriggerFired { service, .. } => {
                    last.insert(("fired", service), place);
                }
                Event::Validated(it) => {
                    last.insert(("validated", &it.service), place);
                }
                Event::Advised(it) if it.started => {
                    last.insert(("advised", &it.group), place);
                }
                Event::Outcome(_)
                | Event::Interrupted { .. }
                | Event::Frozen { .. }
                | Event::Thawed { .. }
                | Event::TriggerSet { .. }
                | Event::Marked { .. }
                | Event::ReleaseEnded { .. }
                | Event::CanaryStep { .. }
                | Event::StepStarted { .. }
                | Event::StepEnded { .. }
                | Event::ReleaseChanged { .. }
                | Event::Look(_)
                | Event::IncidentOpened { .. }
                | Event::Acknowledged { .. }
                | Event::Escalated { .. }
                | Event::Triaged { .. }
                | Event::ActionTaken { .. }
                | Event::RunbookEnded { .. }
                | Event::Advised(_)
                | Event::IncidentsChanged { .. }
                | Event::JournalAnswers { .. }
                | Event::Joined { .. }
                | Event::Refused { .. }
                | Event::Reread { .. }
                | Event::Sent { .. }
                | Event::Drift { .. }
                | Event::Answered { .. } => {}
            }
        }
        seen.runs = runs.into_iter().rev().take(RUNS_SHOWN_MAX).collect();
        seen.last = last.into_values().collect();
        seen.services.values_mut().for_each(|own| own.close(first));
        seen
    }

    fn needs(&self, place: usize, entry: &Entry) -> bool {
        let recent = place >= self.first;
        match &entry.event {
            Event::Intent(it) => self.has(&it.service, it.fence),
            Event::Outcome(it) => self.has(&it.service, it.fence),
            Event::Interrupted { fence, service, .. } => self.has(service, *fence),
            _ if recent => true,
            // A word of a person stays until another one replaces it.
            Event::Frozen { .. }
            | Event::Thawed { .. }
            | Event::TriggerSet { .. }
            | Event::Marked { .. } => true,
            Event::ReleaseStarted(it) => self.is_history(&it.service, it.release),
            Event::ReleaseEnded { service, release, .. }
            | Event::CanaryStep { service, release, .. }
            | Event::StepEnded { service, release, result: StepResult::Undone, .. } => {
                self.is_history(service, *release)
            }
            Event::StepStarted { service, release, .. }
            | Event::StepEnded { service, release, .. }
            | Event::ReleaseChanged { service, release, .. } => self.is_open(service, *release),
            Event::Look(it) => self.is_open(&it.service, it.release),
            Event::IncidentOpened { key, .. } => response::is_own(key) && !self.is_over(place, key),
            Event::Acknowledged { key, .. }
            | Event::Escalated { key, .. }
            | Event::Triaged { key, .. }
            | Event::ActionTaken { key, .. } => !self.is_over(place, key),
            Event::NoticeQueued(notice) => self.is_told(place, notice.number),
            Event::NoticeEnded { number, .. } => {
                self.last.contains(&place) || self.is_told(place, *number)
            }
            Event::RunbookStarted { run, .. } | Event::RunbookEnded { run, .. } => {
                self.runs.contains(run)
            }
            Event::Started { .. }
            | Event::ConfigChanged { .. }
            | Event::TriggerFired { .. }
            | Event::Validated(_)
            | Event::Advised(_) => self.last.contains(&place),
            Event::IncidentResolved { .. }
            | Event::IncidentsChanged { .. }
            | Event::JournalAnswers { .. }
            | Event::Joined { .. }
            | Event::Refused { .. }
            | Event::Reread { .. }
            | Event::Sent { .. }
            | Event::Drift { .. }
            | Event::Answered { .. } => false,
        }
    }

    /// The operation with this fence is kept, or only its end is known.
    fn has(&self, service: &str, fence: Fence) -> bool {
        let own = self.services.get(service);
        own.is_none_or(|own| own.kept.contains(&fence) || !own.known.contains(&fence))
    }

    fn is_open(&self, service: &str, release: u64) -> bool {
        self.services.get(service).is_none_or(|own| release >= own.whole)
    }

    fn is_history(&self, service: &str, release: u64) -> bool {
        self.services.get(service).is_none_or(|own| {
            let kind = own.releases.iter().find(|(known, ..)| *known == release);
            let deploy = kind.is_none_or(|(_, kind, _)| *kind == ReleaseKind::Deploy);
            release >= if deploy { own.deploys } else { own.others }
        })
    }

    fn is_over(&self, place: usize, key: &str) -> bool {
        self.resolved.get(key).is_some_and(|resolved| self.ranks[place] < *resolved)
    }

    /// A notice that is still to be sent, or that says that people know of an open incident.
    fn is_told(&self, place: usize, number: u64) -> bool {
        self.notices.get(&number).is_some_and(|(key, ended)| {
            !ended || (response::is_own(key) && !self.is_over(place, key))
        })
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::notice::{Notice, Stage};
    use crate::record::RunResult;
    use crate::types::Severity;
    use crate::types::{Actor, Group, Percent, Untrusted};

    /// Keeps what `events` make a restart need; each is named by its place.
    fn check(events: Vec<Event>, kept: &[usize]) {
        let entry = |(place, event)| Entry {
            id: format!("life-{place}"),
            at: DateTime::UNIX_EPOCH,
            actor: Actor::engine(),
            event,
        };
        let entries: Vec<Entry> = events.into_iter().enumerate().map(entry).collect();
        let found = needed(entries.clone(), 0);
        let expected: Vec<Entry> = kept.iter().map(|place| entries[*place].clone()).collect();
        assert_eq!(found, expected);
        assert_eq!(needed(found, 0), expected, "what is kept stays kept");
        assert_eq!(needed(entries.clone(), entries.len()), entries);
    }

    fn opened(key: &str) -> Event {
        let (key, name) = (key.to_owned(), Untrusted::new("x"));
        Event::IncidentOpened { key, name, severity: "high".to_owned() }
    }

    fn resolved(key: &str) -> Event {
        Event::IncidentResolved { key: key.to_owned(), name: Untrusted::new("x") }
    }

    fn escalated(key: &str) -> Event {
        Event::Escalated { key: key.to_owned(), result: Untrusted::default() }
    }

    fn queued(number: u64, key: &str) -> Event {
        Event::NoticeQueued(Box::new(Notice {
            number,
            channel: "pager".to_owned(),
            key: key.to_owned(),
            stage: Stage::Opened,
            severity: Severity::named("high"),
            environment: "test".to_owned(),
            name: Untrusted::default(),
            summary: Untrusted::default(),
            at: DateTime::UNIX_EPOCH,
        }))
    }

    fn ended(number: u64) -> Event {
        let (channel, detail) = ("pager".to_owned(), Untrusted::default());
        Event::NoticeEnded { number, channel, sent: true, detail }
    }

    #[test]
    fn an_incident_is_needed_until_it_is_over() {
        let own = "quarterdeck/incident/errors/checkout";
        check(vec![opened(own), escalated(own)], &[0, 1]);
        check(vec![opened(own), escalated(own), resolved(own)], &[]);
        check(vec![opened(own), resolved(own), opened(own)], &[2]);
        // A feed says itself what is open.
        check(vec![opened("alerts/1"), escalated("alerts/1")], &[1]);
    }

    #[test]
    fn a_notice_is_needed_until_it_arrived_and_while_its_incident_is_open() {
        let own = "quarterdeck/incident/errors/checkout";
        check(vec![queued(1, "alerts/1"), queued(2, "alerts/2")], &[0, 1]);
        // The last end says which number comes next.
        check(vec![queued(1, "alerts/1"), ended(1), queued(2, "alerts/2"), ended(2)], &[3]);
        let told = vec![opened(own), queued(1, own), ended(1)];
        check(told.clone(), &[0, 1, 2]);
        let over = vec![resolved(own), queued(2, own), ended(2)];
        check(told.into_iter().chain(over).collect(), &[4, 5]);
    }

    #[test]
    fn the_newest_runs_are_needed_with_their_ends() {
        let started = |run| Event::RunbookStarted {
            run,
            submission: "s".to_owned(),
            runbook: "r".to_owned(),
            line: 1,
            command: Untrusted::default(),
            changes: false,
            service: None,
            incident: None,
            values: BTreeMap::new(),
        };
        let over = |run| {
            let (result, output) = (RunResult::Passed, Untrusted::default());
            Event::RunbookEnded { run, result, output }
        };
        let runs = RUNS_SHOWN_MAX + 1;
        let events = (1..=runs as u64).flat_map(|run| [started(run), over(run)]).collect();
        check(events, &(2..2 * runs).collect::<Vec<_>>());
    }

    #[test]
    fn the_last_operations_are_needed_with_their_ends_and_the_last_rollback() {
        let intent = |fence: u64| {
            Event::Intent(Intent {
                fence: Fence(fence),
                submission: format!("s{fence}"),
                service: "checkout".to_owned(),
                verb: if fence == 2 { "rollback" } else { "shift" }.to_owned(),
                stable: Group::A,
                from: None,
                to: Percent::ZERO,
                reason: Untrusted::default(),
                seen: Untrusted::default(),
                routers: Vec::new(),
            })
        };
        let over = |fence: u64| Event::Interrupted {
            fence: Fence(fence),
            service: "checkout".to_owned(),
            sentence: Untrusted::default(),
        };
        let last = SUBMISSIONS_MAX + 3;
        let events = (1..=last as u64).flat_map(|fence| [intent(fence), over(fence)]).collect();
        let kept = [2, 3].into_iter().chain(6..2 * last);
        check(events, &kept.collect::<Vec<_>>());
        // The start of this one was lost.
        check(vec![over(9)], &[0]);
    }
}
