//! What the adapters report: one reading for each kind of source.
//!
//! Decides nothing. Never holds raw outside text: every such field is [`Untrusted`]. Contract: a
//! figure that the source did not give is `None`, never zero.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::types::{Fence, Severity, Status, Untrusted};

/// One answer of a health endpoint, judged by its content but not yet by rise and fall.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    pub status: Status,
    /// `None` when no answer came.
    pub latency: Option<Duration>,
    /// Why it is so, in a few words; empty when all is well.
    pub message: Untrusted,
    pub certificate_expires: Option<DateTime<Utc>>,
    /// By how many seconds the clock of who answered is ahead of ours; `None` when it does not say.
    #[serde(default)]
    pub clock_ahead_s: Option<i64>,
}

impl Observation {
    /// Something answered, whatever it said. A look that was not answered took no measured time.
    #[must_use]
    pub fn answered(&self) -> bool {
        self.latency.is_some() || !matches!(self.status, Status::Unknown | Status::Down)
    }
}

/// Telemetry of one machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HostReading {
    pub cpu_percent: Option<f64>,
    pub memory_percent: Option<f64>,
    pub memory_total_bytes: Option<u64>,
    pub swap_percent: Option<f64>,
    /// Over 1, 5 and 15 minutes.
    pub load: Option<[f64; 3]>,
    pub processes: Option<u64>,
    pub network_receive_bytes_per_s: Option<f64>,
    pub network_transmit_bytes_per_s: Option<f64>,
    pub disks: Vec<Disk>,
    pub temperatures: Vec<Temperature>,
    pub uptime: Option<Duration>,
    /// As of [`Observation`].
    #[serde(default)]
    pub clock_ahead_s: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Disk {
    pub mount: Untrusted,
    pub used_percent: f64,
    pub total_bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Temperature {
    pub label: Untrusted,
    pub celsius: f64,
}

/// Everything that one feed says now; what is missing from it is resolved.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FeedReading {
    pub alerts: Vec<Alert>,
    /// Counters by name, where the feed counts.
    #[serde(default)]
    pub figures: BTreeMap<String, f64>,
    /// As of [`Observation`].
    #[serde(default)]
    pub clock_ahead_s: Option<i64>,
    /// Left out by the adapter's limit; shown, never silent.
    pub dropped: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// The same for the same trouble; duplicates within a feed are merged by it.
    pub fingerprint: String,
    pub name: Untrusted,
    pub severity: Severity,
    pub state: AlertState,
    pub summary: Untrusted,
    pub labels: BTreeMap<Untrusted, Untrusted>,
    pub started_at: Option<DateTime<Utc>>,
    /// Where a person reads more: the generator, the runbook, the incident's page.
    pub links: Vec<Untrusted>,
}

/// A silence of ours in an Alertmanager ends after this: long enough to work on it, short enough
/// that a forgotten one speaks again in the same shift.
pub const SILENCE_HOURS: i64 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertState {
    Triggered,
    /// Somebody has it (PagerDuty), or a silence covers it (Alertmanager).
    Acknowledged,
    Resolved,
}

/// Raw counters of both groups at one moment of the source's clock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// The scrape's own timestamp; the same again is the same look, not a new one.
    pub at: DateTime<Utc>,
    pub a: GroupCounters,
    pub b: GroupCounters,
    #[serde(default)]
    pub tenants: TenantReading,
    /// As of [`Observation`].
    #[serde(default)]
    pub clock_ahead_s: Option<i64>,
}

impl Measurement {
    /// Of a service without tenants.
    #[must_use]
    pub fn new(at: DateTime<Utc>, a: GroupCounters, b: GroupCounters) -> Measurement {
        Measurement { at, a, b, tenants: TenantReading::default(), clock_ahead_s: None }
    }
}

/// What each tenant uses now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TenantReading {
    /// What is not there has no data.
    pub values: Vec<TenantValue>,
    /// Why some of it cannot be read; empty when all can.
    pub error: Untrusted,
}

/// One figure of one tenant; both are places in the settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TenantValue {
    pub tenant: usize,
    pub figure: usize,
    pub value: f64,
}

impl TenantReading {
    #[must_use]
    pub fn value(&self, tenant: usize, figure: usize) -> Option<f64> {
        let own = |one: &&TenantValue| (one.tenant, one.figure) == (tenant, figure);
        Some(self.values.iter().find(own)?.value).filter(|value| value.is_finite())
    }
}

/// Counters by series, so that a reset of one does not hide in a sum.
pub type Series = BTreeMap<String, f64>;

/// Everything counted for one group. `None` where the source has no such series.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GroupCounters {
    pub requests: Option<Series>,
    /// Absent with requests present means that no error series exists yet: zero errors.
    pub errors: Option<Series>,
    /// Cumulative buckets of a histogram: upper bound in seconds (as text), then series.
    pub buckets: Option<BTreeMap<String, Series>>,
    pub latency_sum_s: Option<Series>,
    pub latency_count: Option<Series>,
    /// Where the source gives only an average (HAProxy's rtime).
    pub latency_avg_ms: Option<f64>,
}

/// What a router shows when it is read back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SplitReading {
    /// Share of each group in percent, by weights and administrative state.
    pub a: f64,
    pub b: f64,
    /// The fence that the router's own configuration carries, where it can carry one.
    pub fence: Option<u64>,
    /// What a person should know: a server down, old workers still answering.
    pub note: Untrusted,
    /// Which engine may write it.
    #[serde(default)]
    pub lease: Lease,
}

/// Which engine may write a router, as this engine's writer found it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Lease {
    /// Writes of other engines are checked at the same place; else nobody would know of them.
    pub fenced: bool,
    /// The highest fence, if it is another engine's, and whose.
    pub other: Option<(Fence, Untrusted)>,
    /// Another engine that has something in flight.
    pub holder: Option<Holder>,
    /// Why the lease cannot be read.
    pub trouble: Untrusted,
    /// Whether the router itself would take a write of this engine.
    #[serde(default)]
    pub access: Access,
}

/// Whether a router would take a write, as far as that shows without one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "access")]
pub enum Access {
    /// Only a write would tell.
    #[default]
    Unknown,
    Granted {
        /// What shows it.
        how: Untrusted,
    },
    Denied {
        why: Untrusted,
    },
}

impl Access {
    #[must_use]
    pub fn granted(how: &str) -> Access {
        Access::Granted { how: Untrusted::new(how) }
    }
    #[must_use]
    pub fn denied(why: &str) -> Access {
        Access::Denied { why: Untrusted::new(why) }
    }
}

/// Another engine that has something in flight.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Holder {
    pub who: Untrusted,
    pub doing: Untrusted,
    /// How long its claim holds, from the reading on.
    pub left: Duration,
}

/// What an engine tells the others that could write the same router.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// All traffic to stable: goes on although a disk fails, and takes the router from another
    /// engine.
    pub emergency: bool,
    /// "#12 rollback of checkout".
    pub doing: String,
}

/// A router's reply to a write. A reply is never truth: only a reading is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "answer")]
pub enum WriteAnswer {
    Applied,
    /// The router, or its writer, said no; nothing changed as far as it knows.
    Rejected {
        why: Untrusted,
        /// The higher fence of another engine, where that is why.
        newer: Option<Fence>,
    },
    /// No answer in time: it may or may not have happened.
    Unknown {
        why: Untrusted,
    },
}

/// What a task may say in its arguments: `{service}`, `{version}`, `{group}`, `{reason}`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskContext {
    pub service: String,
    pub version: String,
    /// The group that is not stable: "a" or "b".
    pub group: String,
    pub reason: Untrusted,
    /// What a person gave besides, by name.
    pub values: BTreeMap<String, String>,
}

/// What a channel said to a notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotifyAnswer {
    Sent,
    /// The same again would be refused again.
    Refused {
        why: Untrusted,
    },
    /// Nobody answered, or not now; `after` is the receiver's own wish.
    Later {
        why: Untrusted,
        after: Option<Duration>,
    },
}

/// What became of a task, with the last lines of what it said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskAnswer {
    Passed {
        output: Untrusted,
    },
    Failed {
        output: Untrusted,
    },
    /// Killed at its deadline, or cut off: it may or may not have happened.
    Unknown {
        why: Untrusted,
    },
}
