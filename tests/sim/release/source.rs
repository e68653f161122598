//! A service under traffic, and the counters that a source shows of it.
//!
//! Decides how many requests each group truly served and how many of them failed, by the split
//! that the routers truly have. Contract: what the source shows may be old, reset or missing; the
//! truth beside it never is.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use engine::reading::{GroupCounters, Measurement, Series};
use engine::types::{Failure, FailureKind, Group, ServiceId, Time};

use crate::rng::Rng;

/// How a version behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quality {
    Good,
    /// Errors, in a thousand.
    Bad(u32),
    /// Answers late.
    Slow,
}

/// A fault of the source, until a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Fails,
    /// The same scrape again and again.
    Frozen,
    /// One group has no series.
    Vanished(Group),
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    pub requests: f64,
    pub errors: f64,
    pub slow: f64,
}

pub struct Source {
    rate: f64,
    /// Errors of a good version, in a thousand.
    base: u32,
    pub quality: [Quality; 2],
    /// Both groups suffer.
    pub sick: bool,
    pub fault: Option<(Fault, Time)>,
    /// What each group truly served since the world began.
    pub truth: [Count; 2],
    /// Since its counters started anew.
    shown: [Count; 2],
    flowed: Time,
    /// What it said last, and when.
    pub last: Option<(DateTime<Utc>, [Option<Count>; 2])>,
}

pub fn service(place: usize) -> ServiceId {
    ServiceId(u32::try_from(place).expect("few services"))
}

pub fn place(group: Group) -> usize {
    match group {
        Group::A => 0,
        Group::B => 1,
    }
}

impl Source {
    pub fn draw(rng: &mut Rng, now: Time) -> Source {
        Source {
            rate: rng.pick(&[4.0, 40.0, 120.0, 400.0]),
            base: rng.pick(&[0, 0, 1, 5]),
            quality: [Quality::Good; 2],
            sick: false,
            fault: None,
            truth: [Count::default(); 2],
            shown: [Count::default(); 2],
            flowed: now,
            last: None,
        }
    }

    /// Time passes with this share of the requests to group b.
    pub fn flow(&mut self, now: Time, share_b: f64, rng: &mut Rng) {
        let seconds = now.since(self.flowed).as_secs_f64();
        self.flowed = now;
        let mut whole = |value: f64| {
            let dice = f64::from(u32::try_from(rng.below(1000)).expect("below 1000")) / 1000.0;
            (value + dice).floor()
        };
        for (group, share) in [(0, 1.0 - share_b), (1, share_b)] {
            let requests = whole(self.rate * share * seconds);
            let bad = match self.quality[group] {
                Quality::Good | Quality::Slow => self.base,
                Quality::Bad(errors) => errors,
            };
            let bad = f64::from(if self.sick { bad.max(350) } else { bad }) / 1000.0;
            let errors = whole(requests * bad).min(requests);
            let late = if self.quality[group] == Quality::Slow { 0.6 } else { 0.02 };
            let slow = whole(requests * late).min(requests);
            for count in [&mut self.truth[group], &mut self.shown[group]] {
                count.requests += requests;
                count.errors += errors;
                count.slow += slow;
            }
        }
    }

    /// The counters of a group start at zero again.
    pub fn reset(&mut self, group: usize) {
        self.shown[group] = Count::default();
    }

    fn faulty(&self, now: Time) -> Option<Fault> {
        self.fault.filter(|(_, until)| now < *until).map(|(fault, _)| fault)
    }

    /// Does it show newly what this group does?
    pub fn is_sound(&self, group: Group, now: Time) -> bool {
        match self.faulty(now) {
            None => true,
            Some(Fault::Vanished(gone)) => gone != group,
            Some(Fault::Fails | Fault::Frozen) => false,
        }
    }

    /// What the source says now.
    pub fn measure(&mut self, now: Time, wall: DateTime<Utc>) -> Result<Measurement, Failure> {
        let fault = self.faulty(now);
        if fault == Some(Fault::Fails) {
            return Err(Failure::new(FailureKind::Timeout, "no answer"));
        }
        if fault == Some(Fault::Frozen)
            && let Some((at, groups)) = self.last
        {
            return Ok(said(at, groups));
        }
        let groups = [Group::A, Group::B].map(|group| {
            let gone = fault == Some(Fault::Vanished(group));
            Some(self.shown[place(group)]).filter(|_| !gone)
        });
        self.last = Some((wall, groups));
        Ok(said(wall, groups))
    }
}

/// The counters of both groups, as a source tells them.
pub fn said(at: DateTime<Utc>, groups: [Option<Count>; 2]) -> Measurement {
    let [a, b] = groups.map(|group| group.map(counters).unwrap_or_default());
    Measurement::new(at, a, b)
}

fn counters(count: Count) -> GroupCounters {
    let series = |value: f64| Series::from([("all".to_owned(), value)]);
    let within = [("0.1", count.requests - count.slow), ("1", count.requests)];
    let mut buckets: BTreeMap<String, Series> =
        within.iter().map(|(bound, value)| ((*bound).to_owned(), series(*value))).collect();
    buckets.insert("+Inf".to_owned(), series(count.requests));
    GroupCounters {
        requests: Some(series(count.requests)),
        errors: (count.errors > 0.0).then(|| series(count.errors)),
        buckets: Some(buckets),
        ..GroupCounters::default()
    }
}

/// A fault of a source and how long it lasts.
pub fn fault(rng: &mut Rng) -> (Fault, Duration) {
    let fault = rng.pick(&[
        Fault::Fails,
        Fault::Frozen,
        Fault::Vanished(Group::A),
        Fault::Vanished(Group::B),
    ]);
    (fault, rng.millis(2000, 30_000))
}
