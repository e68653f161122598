//! The past on screen: the pictures that were kept, and those of a recording.
//!
//! Decides which pictures are kept, and which of them is shown. Never acts: while the past is shown
//! no key changes anything. Contract: what is kept stays below its limit, newer in finer steps than
//! older; a banner says that it is the past.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use engine::snapshot::{ServiceView, Snapshot};
use engine::types::{Now, Time};

use super::keymap::Act;
use super::{Action, Ui};

/// Pictures closer than this say nothing new to people.
const APART_MIN: Duration = Duration::from_secs(2);
/// A console that is open all day must stay small: some hours of a few services, minutes of a
/// thousand.
const KEPT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// What one of each takes, about.
const PROBE_BYTES: usize = 1_500;
const HOST_BYTES: usize = 1_000;
const ROW_BYTES: usize = 500;
/// What the two pairs of keys go.
const STEP: Duration = Duration::from_secs(10);
const LEAP: Duration = Duration::from_mins(1);

/// What of the past is shown, beside the picture itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Past {
    /// A picture that this console kept.
    Kept,
    /// A recording: how fast it goes, and how much of it is over, in percent.
    Replay { speed: f64, paused: bool, percent: u8 },
}

/// Pictures of the last hours.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    pictures: VecDeque<(Now, Snapshot, usize)>,
    bytes: usize,
}

impl Kept {
    pub fn push(&mut self, now: Now, picture: &Snapshot) {
        let last = self.pictures.back();
        if last.is_some_and(|(at, _, _)| at.age(now) < APART_MIN) {
            return;
        }
        let bytes = bytes(last.map(|(_, last, _)| last), picture);
        self.bytes += bytes;
        self.pictures.push_back((now, picture.clone(), bytes));
        if self.bytes > KEPT_BYTES_MAX {
            self.thin();
        }
    }

    /// Every second one of the older half goes: what is long ago is looked at in larger steps.
    fn thin(&mut self) {
        let old = self.pictures.len() / 2;
        let mut place = 0;
        self.pictures.retain(|_| {
            place += 1;
            place > old || place % 2 == 1
        });
        // What the ones that are gone shared with their neighbours is small.
        self.bytes = self.pictures.iter().map(|(_, _, bytes)| bytes).sum();
        while self.bytes > KEPT_BYTES_MAX
            && let Some((_, _, bytes)) = self.pictures.pop_front()
        {
            self.bytes -= bytes;
        }
    }

    /// The newest picture at or before `at`; else the oldest.
    #[must_use]
    pub fn at(&self, at: Time) -> Option<(Now, &Snapshot)> {
        let after = self.pictures.partition_point(|(own, _, _)| own.mono <= at);
        let (at, picture, _) = self.pictures.get(after.saturating_sub(1))?;
        Some((*at, picture))
    }

    /// The first picture after `at`.
    fn after(&self, at: Time) -> Option<(Now, &Snapshot)> {
        let after = self.pictures.partition_point(|(own, _, _)| own.mono <= at);
        self.pictures.get(after).map(|(at, picture, _)| (*at, picture))
    }

    /// Since when there are pictures.
    #[must_use]
    pub fn since(&self) -> Option<Now> {
        self.pictures.front().map(|(at, _, _)| *at)
    }
}

/// What `picture` takes beside what it shares with the one before.
fn bytes(last: Option<&Snapshot>, picture: &Snapshot) -> usize {
    let new = |shared: Option<bool>| !shared.unwrap_or(false);
    let mut bytes = ROW_BYTES;
    if new(last.map(|last| Arc::ptr_eq(&last.services, &picture.services))) {
        let last = last.map(|last| last.services.as_slice());
        let probes = |service: &ServiceView, last: Option<&Arc<ServiceView>>| {
            1 + unshared(last.map(|last| last.probes.as_slice()), &service.probes)
        };
        let services = picture.services.iter().enumerate().map(|(place, service)| {
            let last = last.and_then(|last| last.get(place));
            let shared = last.is_some_and(|last| Arc::ptr_eq(last, service));
            if shared { 0 } else { probes(service, last) }
        });
        bytes += services.sum::<usize>() * PROBE_BYTES;
    }
    if new(last.map(|last| Arc::ptr_eq(&last.hosts, &picture.hosts))) {
        bytes += picture.hosts.len() * HOST_BYTES;
    }
    if new(last.map(|last| Arc::ptr_eq(&last.incidents, &picture.incidents))) {
        bytes += (picture.incidents.open.len() + picture.incidents.resolved.len()) * ROW_BYTES;
    }
    if new(last.map(|last| Arc::ptr_eq(&last.journal, &picture.journal))) {
        bytes += picture.journal.len() * ROW_BYTES;
    }
    if new(last.map(|last| Arc::ptr_eq(&last.sources, &picture.sources))) {
        bytes += unshared(last.map(|last| last.sources.as_slice()), &picture.sources) * ROW_BYTES;
    }
    bytes
}

/// Rows that the list before does not have.
fn unshared<T>(last: Option<&[Arc<T>]>, rows: &[Arc<T>]) -> usize {
    let had = |place: usize, row: &Arc<T>| {
        last.and_then(|last| last.get(place)).is_some_and(|last| Arc::ptr_eq(last, row))
    };
    rows.iter().enumerate().filter(|(place, row)| !had(*place, row)).count()
}

impl Ui {
    /// What travels in time: of the recording, else of what was kept.
    pub(super) fn travel(&mut self, act: Act, now: Now) -> Vec<Action> {
        let back = matches!(act, Act::Earlier | Act::MuchEarlier);
        let span = if matches!(act, Act::MuchEarlier | Act::MuchLater) { LEAP } else { STEP };
        if let Some(Past::Replay { .. }) = self.past {
            return vec![Action::Seek { back, span }, Action::Redraw];
        }
        let shown = self.stopped.as_ref().map_or(now.mono, |(at, _)| at.mono);
        let found = if back {
            self.kept.at(shown - span)
        } else {
            // Forward at least by one picture, however far apart they are kept.
            let next = self.kept.after(shown);
            let wanted = self.kept.at(shown + span);
            next.map(|next| wanted.filter(|it| it.0.mono > next.0.mono).unwrap_or(next))
                .filter(|(at, _)| at.age(now) >= APART_MIN)
        };
        let found = found.map(|(at, picture)| (at, Box::new(picture.clone())));
        match found {
            Some(found) => {
                self.stopped = Some(found);
                self.past = Some(Past::Kept);
            }
            None if back => self.say("nothing is kept yet", now),
            None => self.back_to_now(),
        }
        vec![Action::Redraw]
    }

    /// Back to what is so now.
    pub(super) fn back_to_now(&mut self) {
        if self.past == Some(Past::Kept) {
            self.past = None;
            self.stopped = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use engine::snapshot::{Head, Incidents, JournalState};

    use super::*;

    fn at(seconds: u64) -> Now {
        Now { mono: Time(seconds * 1_000_000), wall: DateTime::UNIX_EPOCH }
    }

    fn picture(banner: &str) -> Snapshot {
        Snapshot {
            head: Arc::new(Head {
                environment: engine::settings::Environment::default(),
                started: at(0),
                journal: JournalState::Writable,
                banners: vec![engine::types::Untrusted::new(banner)],
                freezes: Vec::new(),
                runs: Vec::new(),
            }),
            services: Arc::default(),
            hosts: Arc::default(),
            incidents: Arc::new(Incidents::default()),
            journal: Arc::default(),
            sources: Arc::default(),
        }
    }

    #[test]
    fn a_day_stays_below_the_limit_and_reaches_back_to_its_beginning() {
        let mut kept = Kept::default();
        for second in 0..86_400 {
            kept.push(at(second), &picture(""));
            assert!(kept.bytes <= KEPT_BYTES_MAX);
        }
        assert_eq!(kept.pictures.len() * ROW_BYTES, kept.bytes);
        let gaps: Vec<Duration> = kept
            .pictures
            .iter()
            .zip(kept.pictures.iter().skip(1))
            .map(|(one, next)| one.0.age(next.0))
            .collect();
        assert!(kept.since().is_some_and(|since| since.mono < at(3_600).mono), "{gaps:?}");
        assert_eq!(gaps.last(), Some(&APART_MIN), "the newest are close");
    }

    #[test]
    fn the_keys_go_back_and_forth_and_end_at_now() {
        let mut ui = Ui::new(false, None);
        for second in (0..60).step_by(2) {
            ui.kept.push(at(second), &picture(&second.to_string()));
        }
        let now = at(59);
        let shown = |ui: &Ui| ui.stopped.as_ref().map(|(at, _)| at.mono.0 / 1_000_000);
        ui.travel(Act::Earlier, now);
        assert_eq!((shown(&ui), ui.past), (Some(48), Some(Past::Kept)));
        ui.travel(Act::MuchEarlier, now);
        assert_eq!(shown(&ui), Some(0));
        ui.travel(Act::Later, now);
        assert_eq!(shown(&ui), Some(10));
        ui.travel(Act::MuchLater, now);
        assert_eq!(shown(&ui), None, "it is now again");
        assert_eq!(ui.past, None);
    }
}
