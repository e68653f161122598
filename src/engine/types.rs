//! The words that every module shares: time, percents, statuses, ids, actors.
//!
//! Decides how a status ranks, how old is stale, and what a percent is. Never reads a clock: the
//! time is always an argument. Contract: `Status` is ordered by severity, worst last.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

pub use crate::text::Untrusted;

/// Microseconds of a clock that never steps back and counts through suspend (`CLOCK_BOOTTIME`).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Time(pub u64);

impl Time {
    /// The span since `earlier`; zero when `earlier` lies in the future.
    #[must_use]
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Time;
    fn add(self, span: Duration) -> Time {
        let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        Time(self.0.saturating_add(micros))
    }
}

impl Sub<Duration> for Time {
    type Output = Time;
    fn sub(self, span: Duration) -> Time {
        let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        Time(self.0.saturating_sub(micros))
    }
}

/// One instant on both clocks: `mono` measures spans, `wall` is only a label for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Now {
    pub mono: Time,
    pub wall: DateTime<Utc>,
}

impl Now {
    /// How long ago this instant was, seen from `now`.
    #[must_use]
    pub fn age(self, now: Now) -> Duration {
        now.mono.since(self.mono)
    }
}

/// A whole percent from 0 to 100.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(try_from = "u8", into = "u8")]
pub struct Percent(u8);

impl Percent {
    pub const ZERO: Percent = Percent(0);
    pub const FULL: Percent = Percent(100);

    /// `None` above 100.
    #[must_use]
    pub fn new(value: u8) -> Option<Percent> {
        (value <= 100).then_some(Percent(value))
    }
    #[must_use]
    pub fn get(self) -> u8 {
        self.0
    }
    /// What is left of 100.
    #[must_use]
    pub fn rest(self) -> Percent {
        Percent(100 - self.0)
    }
}

impl TryFrom<u8> for Percent {
    type Error = String;
    fn try_from(value: u8) -> Result<Self, String> {
        Percent::new(value).ok_or_else(|| format!("{value} is above 100 percent"))
    }
}

impl From<Percent> for u8 {
    fn from(value: Percent) -> u8 {
        value.0
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", self.0)
    }
}

/// One status vocabulary for everything that is watched; the order is the severity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    Up,
    Maint,
    Unknown,
    Stale,
    Degraded,
    Down,
}

impl Status {
    pub const ALL: [Status; 6] =
        [Status::Up, Status::Maint, Status::Unknown, Status::Stale, Status::Degraded, Status::Down];

    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Status::Up => "UP",
            Status::Maint => "MAINT",
            Status::Unknown => "UNKNOWN",
            Status::Stale => "STALE",
            Status::Degraded => "DEGRADED",
            Status::Down => "DOWN",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// How bad an incident is; the order is the severity, worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Low,
    Medium,
    High,
    Critical,
}

impl Severity {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
            Severity::Critical => "critical",
        }
    }
}

impl Severity {
    /// By its word; one that is not known may mean anything.
    #[must_use]
    pub fn named(word: &str) -> Severity {
        let all = [Severity::Low, Severity::Medium, Severity::High, Severity::Critical];
        all.into_iter().find(|own| own.word() == word).unwrap_or(Severity::Critical)
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// The two server groups that the configuration names; which of them is stable is journaled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    A,
    B,
}

impl Group {
    /// The other one.
    #[must_use]
    pub fn other(self) -> Group {
        match self {
            Group::A => Group::B,
            Group::B => Group::A,
        }
    }
    /// Its key in the configuration.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Group::A => "a",
            Group::B => "b",
        }
    }
}

/// The role that a group plays in the release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arm {
    Stable,
    Canary,
}

/// Absolute shares for both groups; they always add up to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weights {
    pub a: Percent,
    pub b: Percent,
}

impl Weights {
    /// The weights that give `canary` percent to the group that is not `stable`.
    #[must_use]
    pub fn for_split(stable: Group, canary: Percent) -> Weights {
        match stable {
            Group::A => Weights { a: canary.rest(), b: canary },
            Group::B => Weights { a: canary, b: canary.rest() },
        }
    }
}

macro_rules! index {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub u32);
        impl $name {
            /// The place in the settings' list.
            #[must_use]
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }
    )*};
}

index! {
    /// Place of a service in [`crate::settings::Settings::services`].
    ServiceId;
    /// Place of a probe in [`crate::settings::Settings::probes`].
    ProbeId;
    /// Place of a router in [`crate::settings::Settings::routers`].
    RouterId;
    /// Place of a host in [`crate::settings::Settings::hosts`].
    HostId;
    /// Place of a feed in [`crate::settings::Settings::feeds`].
    FeedId;
    /// Place of a plan in [`crate::settings::Settings::plans`].
    PlanId;
    /// Place of a channel in [`crate::settings::Settings::channels`].
    ChannelId;
    /// Place of a task in [`crate::settings::Settings::tasks`].
    TaskId;
}

/// Names one effect; its reply carries it back.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct EffectId(pub u64);

/// Rises with every accepted operation; a writer refuses anything lower than it has seen.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Fence(pub u64);

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Who asked: the kernel names the user (peer credentials), the client adds its SSH connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    pub user: Untrusted,
    /// `None` where nobody asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh: Option<Untrusted>,
}

impl Actor {
    /// Quarterdeck itself, where nobody asked: recovery, drift correction.
    #[must_use]
    pub fn engine() -> Actor {
        Actor { user: Untrusted::new("quarterdeck"), uid: None, ssh: None }
    }
}

/// Why an adapter could not answer. Closed: one variant for each way a caller may react.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// No answer within the deadline.
    Timeout,
    /// Refused, reset, no such file: nobody is there.
    Unreachable,
    /// The other side answered with an error of its own.
    Refused,
    /// The answer is not what the format promises, or is larger than allowed.
    Malformed,
    /// A secret or permission that this part needs is missing.
    Denied,
}

/// A failure with text that names the operation and the object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub kind: FailureKind,
    pub text: Untrusted,
}

impl Failure {
    #[must_use]
    pub fn new(kind: FailureKind, text: impl AsRef<str>) -> Failure {
        Failure { kind, text: Untrusted::new(text.as_ref()) }
    }
}

/// Old, by the age of a value and the interval at which it should be renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Freshness {
    Live,
    Late,
    Stale,
}

impl Freshness {
    /// Live below 1.5 intervals, late to 3, stale beyond.
    #[must_use]
    pub fn of(age: Duration, interval: Duration) -> Freshness {
        // Whole numbers: this is asked of every probe for every frame.
        let (age, interval) = (age.as_nanos(), interval.as_nanos());
        if age * 2 < interval * 3 {
            Freshness::Live
        } else if age <= interval * 3 {
            Freshness::Late
        } else {
            Freshness::Stale
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_rank_by_severity() {
        assert!(Status::Down > Status::Degraded);
        assert!(Status::Degraded > Status::Stale);
        assert!(Status::Unknown > Status::Maint);
        assert!(Status::Maint > Status::Up);
    }

    #[test]
    fn freshness_has_two_borders() {
        let interval = Duration::from_secs(10);
        let of = |secs| Freshness::of(Duration::from_secs(secs), interval);
        assert_eq!(of(14), Freshness::Live);
        assert_eq!(of(15), Freshness::Late);
        assert_eq!(of(30), Freshness::Late);
        assert_eq!(of(31), Freshness::Stale);
    }

    #[test]
    fn a_percent_above_100_does_not_exist() {
        assert_eq!(Percent::new(101), None);
        assert!(serde_json::from_str::<Percent>("101").is_err());
    }

    #[test]
    fn weights_follow_the_role_of_the_group() {
        let ten = Percent::new(10).expect("10 is a percent");
        let weights = Weights::for_split(Group::B, ten);
        assert_eq!((weights.a.get(), weights.b.get()), (10, 90));
    }
}
