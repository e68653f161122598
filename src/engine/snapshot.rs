//! What a client sees: one immutable picture of the state, in sections.
//!
//! Decides how values age into what is shown. Never holds anything that the engine could not
//! prove: a split is shown only as it was read back. Contract: whole sections, newest wins; every
//! value carries the instant it was observed, and the viewer's clock decides what is stale.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::command::Expected;
use crate::reading::{Access, AlertState, HostReading};
use crate::record::{OperationResult, ReleaseKind, ReleaseResult, ReleaseState, RunResult};
use crate::settings::Environment;
use crate::types::{Fence, Freshness, Now, Percent, Severity, Status, Untrusted};

/// Sections are shared, and so are the rows of the long ones: an unchanged one is recognised by its
/// pointer.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub head: Arc<Head>,
    pub services: Arc<Vec<Arc<ServiceView>>>,
    pub hosts: Arc<Vec<HostView>>,
    pub incidents: Arc<Incidents>,
    pub journal: Arc<Vec<JournalLine>>,
    pub sources: Arc<Vec<Arc<SourceView>>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Head {
    pub environment: Environment,
    pub started: Now,
    pub journal: JournalState,
    /// What must be read before anything else: a journal that cannot be written, an operation that
    /// a restart interrupted.
    pub banners: Vec<Untrusted>,
    pub freezes: Vec<FreezeView>,
    /// Commands of runbooks, newest last.
    #[serde(default)]
    pub runs: Vec<RunView>,
}

/// A command of a runbook that a person ran.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunView {
    pub run: u64,
    pub submission: String,
    pub runbook: String,
    pub line: u32,
    pub command: Untrusted,
    pub incident: Option<String>,
    pub user: Untrusted,
    pub started: Now,
    pub ended: Option<Now>,
    /// `None` while it runs.
    pub result: Option<RunResult>,
    /// The last lines of what it said.
    pub output: Untrusted,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum JournalState {
    Writable,
    /// Intents toward safety are in the spool and wait to be merged.
    Spooling {
        why: Untrusted,
    },
    /// Not even the spool took it: the banner and the log are the only record.
    Lost {
        why: Untrusted,
    },
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServiceView {
    pub name: String,
    pub alias: String,
    pub runbook: Option<String>,
    /// A feature flag: its split is the percent that it is on for.
    #[serde(default)]
    pub flag: bool,
    /// They travel apart: [`crate::section::Section::Probes`].
    #[serde(skip)]
    pub probes: Vec<Arc<ProbeView>>,
    /// `None` when the service has no router.
    pub route: Option<RouteView>,
    /// `None` when stable and canary are not counted.
    pub signals: Option<SignalsView>,
    /// The operation in flight, else the last one.
    pub operation: Option<OperationView>,
    /// The release in flight, else the last one.
    pub release: Option<ReleaseView>,
    /// The checks under way, else their last result; `None` without either.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<ValidationView>,
    /// Would a rollback work right now?
    pub readiness: Readiness,
    pub triggers: Vec<TriggerView>,
    /// Names of the plans that can be run for it.
    #[serde(default)]
    pub plans: Vec<String>,
    /// Newest first.
    pub history: Vec<PastRelease>,
}

/// The checks of a service: under way, or what they said last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValidationView {
    pub submissions: Vec<String>,
    pub version: String,
    pub user: Untrusted,
    pub started: Now,
    pub ended: Option<Now>,
    /// `None` while it is under way.
    pub can_deploy: Option<bool>,
    /// A release may begin on it for this long.
    pub fresh_for: Duration,
    pub checks: Vec<CheckView>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckView {
    pub name: String,
    pub critical: bool,
    pub state: CheckState,
    pub tries: u32,
    pub took: Option<Duration>,
    pub detail: Untrusted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckState {
    Waiting,
    Running,
    /// It failed and is tried again after a pause.
    Retrying,
    Passed,
    Failed,
}

/// A release or a plan that runs for a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReleaseView {
    pub id: u64,
    /// The submission that started it.
    pub submission: String,
    pub plan: String,
    pub kind: ReleaseKind,
    pub version: String,
    pub hotfix: bool,
    pub user: Untrusted,
    pub started: Now,
    pub state: ReleaseState,
    pub result: Option<ReleaseResult>,
    pub ended: Option<Now>,
    pub steps: Vec<StepView>,
    /// Place of the current plan step.
    pub step: u32,
    pub question: Option<Question>,
    pub canary: Option<CanaryView>,
    /// Why it is where it is.
    pub sentence: Untrusted,
    /// What happens next, and when.
    pub next: Untrusted,
}

impl ReleaseView {
    /// What it brings, or else what it does.
    #[must_use]
    pub fn what(&self) -> &str {
        if self.version.is_empty() { &self.plan } else { &self.version }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepView {
    pub name: String,
    pub state: StepState,
    pub started: Option<Now>,
    pub ended: Option<Now>,
    pub detail: Untrusted,
    /// How long people expect it to take.
    #[serde(default)]
    pub estimate: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    Waiting,
    Running,
    Done,
    Failed,
    Undone,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Question {
    pub text: String,
    pub until: Now,
    /// What counts when nobody answers; `None` fails the step.
    pub default: Option<bool>,
}

/// The stepped canary of a release.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CanaryView {
    /// Percents, rising.
    pub steps: Vec<Percent>,
    /// Place of the current one.
    pub place: u32,
    /// When its percent was verified; `None` before.
    pub since: Option<Now>,
    /// The soak's end, the longest wait's end, the bake's end at 100 %.
    pub soak_until: Option<Now>,
    pub wait_until: Option<Now>,
    pub bake_until: Option<Now>,
    /// Since the step began.
    pub stable: ArmTotals,
    pub canary: ArmTotals,
    pub evidence: Vec<Evidence>,
    /// PASS, FAIL, NEED MORE DATA, NO DATA.
    pub verdict: String,
    pub sentence: Untrusted,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ArmTotals {
    pub requests: u64,
    pub errors: u64,
    pub slow: Option<u64>,
}

/// How far one test is toward its thresholds: 0 is nothing, 1 is reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    pub name: String,
    pub fail: f64,
    pub pass: f64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Readiness {
    pub checks: Vec<ReadinessCheck>,
}

/// One thing that a rollback needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReadinessCheck {
    pub name: String,
    /// `None` when it is not known.
    pub ok: Option<bool>,
    pub why: Untrusted,
    /// When it was last seen; `None` where it has no age.
    pub at: Option<Now>,
    /// Older than this is not known any more.
    pub fresh_for: Duration,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TriggerView {
    pub rule: String,
    pub span: Duration,
    pub state: TriggerState,
    /// True since then, where it is counting.
    pub since: Option<Now>,
    pub sentence: Untrusted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TriggerState {
    Armed,
    /// It would fire, but something forbids it: then people are told.
    Held,
    Off,
}

/// One line of a service's release history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PastRelease {
    pub id: u64,
    pub version: String,
    pub plan: String,
    pub kind: ReleaseKind,
    pub user: Untrusted,
    pub started: DateTime<Utc>,
    pub ended: DateTime<Utc>,
    pub result: ReleaseResult,
    /// From the decision to roll back until the traffic was proven.
    pub rollback_took: Option<Duration>,
    /// How long all probes of the service said DOWN meanwhile; `None`: not known.
    pub down: Option<Duration>,
    pub bad: bool,
}

impl PastRelease {
    /// What it brought, or else what it did.
    #[must_use]
    pub fn what(&self) -> &str {
        if self.version.is_empty() { &self.plan } else { &self.version }
    }
}

/// No release, said by somebody, until then.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FreezeView {
    /// `None`: of any service.
    pub service: Option<String>,
    pub user: Untrusted,
    pub until: DateTime<Utc>,
    pub reason: Untrusted,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProbeView {
    pub name: String,
    /// After rise and fall; `Unknown` before the first answer.
    pub status: Status,
    pub interval: Duration,
    /// The last answer that was judged.
    pub observed: Option<Now>,
    pub latency: Option<Duration>,
    pub message: Untrusted,
    /// The last message of an answer that was not UP, and when.
    pub last_error: Option<(Now, Untrusted)>,
    /// Milliseconds, oldest first; `None` where there was no answer.
    pub latencies_ms: Vec<Option<u32>>,
    /// Percent of good answers over the kept window; `None` before the first.
    pub uptime_percent: Option<f64>,
    pub certificate_expires: Option<DateTime<Utc>>,
    /// When the status last changed.
    pub since: Option<Now>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouteView {
    pub state: RouteState,
    /// What is wanted, in percent to the canary; `None` until somebody, or the journal, said.
    pub set: Option<Percent>,
    /// Fence of the last accepted operation: with `set`, what a command expects.
    pub fence: Fence,
    pub routers: Vec<RouterView>,
    /// Percent of the requests that the canary truly served; `None` without counts.
    pub traffic: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RouteState {
    Verified,
    Drifted,
    Unverified,
    Changing,
}

impl RouteState {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            RouteState::Verified => "VERIFIED",
            RouteState::Drifted => "DRIFTED",
            RouteState::Unverified => "UNVERIFIED",
            RouteState::Changing => "CHANGING",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouterView {
    pub name: String,
    pub kind: String,
    /// Percent to the canary as last read back; kept, with its age, when later reads fail.
    pub canary: Option<f64>,
    pub read: Option<Now>,
    pub reread: Duration,
    /// Why the last read or write failed; empty when it did not.
    pub error: Untrusted,
    pub note: Untrusted,
    /// Another engine that has something in flight on it.
    #[serde(default)]
    pub holder: Option<HolderView>,
    /// Whether writes of other engines are checked at the same place; `None` before the first read.
    #[serde(default)]
    pub fenced: Option<bool>,
    /// Whether it would take a write, as the last reading says.
    #[serde(default)]
    pub access: Access,
    /// What moves it by hand; `{stable}` and `{canary}` stand for the percents.
    #[serde(default)]
    pub manual: String,
}

/// Another engine that has something in flight.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HolderView {
    pub who: Untrusted,
    pub doing: Untrusted,
    /// Unless it is renewed.
    pub until: Now,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SignalsView {
    pub interval: Duration,
    /// Rates and totals are over this span.
    pub window: Duration,
    pub stable: ArmView,
    pub canary: ArmView,
    /// The source's own time of the newest look.
    pub at: Option<DateTime<Utc>>,
    pub observed: Option<Now>,
    pub error: Untrusted,
    #[serde(default)]
    pub tenants: Vec<TenantView>,
    /// Why some of their figures cannot be read.
    #[serde(default)]
    pub tenants_error: Untrusted,
}

impl SignalsView {
    /// What it shows is what is so now.
    #[must_use]
    pub fn is_fresh(&self, now: Now) -> bool {
        let fresh = |at: Now| Freshness::of(at.age(now), self.interval) != Freshness::Stale;
        self.observed.is_some_and(fresh)
    }
}

/// One tenant, with its figures and what its class allows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TenantView {
    pub name: Untrusted,
    pub class: String,
    pub figures: Vec<TenantFigure>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TenantFigure {
    pub name: String,
    /// `None` is no data, never zero.
    pub value: Option<f64>,
    pub limit: Option<f64>,
    pub target: Option<f64>,
}

/// One arm over the window; `None` is no data, never zero.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ArmView {
    pub version: String,
    pub requests: Option<f64>,
    pub requests_per_s: Option<f64>,
    pub errors: Option<f64>,
    pub error_percent: Option<f64>,
    pub latency_avg_ms: Option<f64>,
    pub latency_p50_ms: Option<f64>,
    pub latency_p95_ms: Option<f64>,
    pub latency_p99_ms: Option<f64>,
    /// Percent of errors in each past look, oldest first.
    pub error_history: Vec<Option<f64>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OperationView {
    pub fence: Fence,
    /// Its fences before it took the routers from another engine.
    #[serde(default)]
    pub earlier: Vec<Fence>,
    pub submission: String,
    pub verb: String,
    pub service: String,
    pub from: Option<Percent>,
    pub to: Percent,
    pub user: Untrusted,
    pub reason: Untrusted,
    pub requested: Now,
    pub phase: Phase,
    /// Instant of the last change of phase.
    pub changed: Now,
    pub routers: Vec<RouterProgress>,
    /// One sentence that explains the phase.
    pub sentence: Untrusted,
    /// What a person can run by hand for the routers that are not proven.
    pub manual: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "phase", content = "result")]
pub enum Phase {
    /// The intent is on its way to the journal.
    Accepted,
    /// Routers are being written and read back.
    Applying,
    /// Every router is proven; the result is on its way to the journal.
    Recording,
    Ended(OperationResult),
}

impl Phase {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Phase::Accepted => "ACCEPTED",
            Phase::Applying => "APPLYING",
            Phase::Recording => "RECORDING",
            Phase::Ended(result) => result.word(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouterProgress {
    pub router: String,
    pub sent: Option<Now>,
    pub proven: Option<Now>,
    pub tries: u32,
    /// The router's last word: its answer, its refusal, or why nothing came.
    pub answer: Untrusted,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostView {
    pub name: String,
    pub interval: Duration,
    pub observed: Option<Now>,
    pub reading: Option<HostReading>,
    pub error: Untrusted,
    /// CPU percent, oldest first.
    pub cpu_history: Vec<Option<f32>>,
    /// What is said of the size of its group.
    #[serde(default)]
    pub advice: Option<AdviceView>,
}

/// Is a group of hosts too small or too large?
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdviceView {
    pub group: String,
    pub size: crate::scaling::Size,
    pub urgent: bool,
    pub sentence: Untrusted,
    /// Its plans run by themselves.
    pub armed: bool,
    pub every: Duration,
    pub at: Now,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Incidents {
    /// Worst first, then oldest first; at most [`INCIDENTS_SHOWN_MAX`].
    pub open: Vec<IncidentView>,
    /// All that are open, shown or not.
    pub total: u32,
    /// Left out by a feed's own limit.
    pub dropped: u32,
    /// What most alerts are called, when more are open than are shown.
    #[serde(default)]
    pub names: Vec<NameCount>,
    /// Lately resolved, newest first.
    pub resolved: Vec<IncidentView>,
}

impl Incidents {
    /// `Down 9001, Slow 1000`: what most alerts are called.
    #[must_use]
    pub fn mostly(&self) -> String {
        let told = self.names.iter().map(|own| format!("{} {}", own.name, own.count));
        told.collect::<Vec<_>>().join(", ")
    }
}

/// More rows than this are counted, not sent: nobody reads them one by one.
pub const INCIDENTS_SHOWN_MAX: usize = 500;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IncidentView {
    /// Feed and fingerprint: what acknowledge and escalate name.
    pub key: String,
    pub name: Untrusted,
    pub severity: Severity,
    pub state: AlertState,
    pub source: String,
    pub summary: Untrusted,
    pub labels: BTreeMap<Untrusted, Untrusted>,
    pub links: Vec<Untrusted>,
    /// As the source says; `None` when it does not or when it lies in the future.
    pub started_at: Option<DateTime<Utc>>,
    pub first_seen: Now,
    pub last_seen: Now,
    /// `acking…`, `escalating…`, or what went wrong.
    pub pending: Untrusted,
    pub can_acknowledge: bool,
    pub can_escalate: bool,
    /// What people said of it.
    #[serde(default)]
    pub triage: TriageView,
    /// The alerts of the feeds that belong to it; `None` where it groups none.
    #[serde(default)]
    pub alerts: Option<AlertsView>,
}

/// How many alerts belong to an incident, and the worst of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AlertsView {
    pub total: u32,
    pub worst: Vec<AlertLine>,
}

impl AlertsView {
    /// `3 alerts: high Down, low Slow and 1 more`.
    #[must_use]
    pub fn words(&self) -> String {
        let told = self.worst.iter().map(|own| format!("{} {}", own.severity, own.name));
        let told = told.collect::<Vec<_>>().join(", ");
        let more = (self.total as usize).saturating_sub(self.worst.len());
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        match self.total {
            0 => "no alerts of the feeds".to_owned(),
            1 => format!("1 alert: {told}"),
            total => format!("{total} alerts: {told}{more}"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlertLine {
    pub key: String,
    pub name: Untrusted,
    pub severity: Severity,
    pub state: AlertState,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NameCount {
    pub name: Untrusted,
    pub count: u32,
}

/// Who has an incident, what was noted, until when it rests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TriageView {
    /// Empty for nobody.
    pub assignee: Untrusted,
    /// Oldest first.
    pub notes: Vec<NoteView>,
    pub snoozed_until: Option<DateTime<Utc>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NoteView {
    pub at: DateTime<Utc>,
    pub user: Untrusted,
    pub text: Untrusted,
}

impl IncidentView {
    /// Somebody put it aside, and its time is not over.
    #[must_use]
    pub fn is_snoozed(&self, now: Now) -> bool {
        self.triage.snoozed_until.is_some_and(|until| until > now.wall)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JournalLine {
    pub at: DateTime<Utc>,
    pub user: Untrusted,
    pub kind: String,
    pub text: Untrusted,
}

/// A clock that is farther from ours than this makes ages and windows wrong enough to be misread.
pub const CLOCK_SKEW_MAX_S: u64 = 30;

/// One poller: a probe, host, feed, metrics source or router.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceView {
    pub name: String,
    pub kind: String,
    pub interval: Duration,
    /// Last success.
    pub success: Option<Now>,
    /// Why the last try failed; empty when it did not.
    pub error: Untrusted,
    /// By how many seconds its clock is ahead of ours, where that is more than
    /// [`CLOCK_SKEW_MAX_S`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skew_s: Option<i64>,
}

impl ProbeView {
    /// The status as of `now`: a value older than three intervals is stale, whatever it said.
    #[must_use]
    pub fn status_at(&self, now: Now) -> Status {
        status_at(self.status, self.observed, self.interval, now)
    }
}

/// See [`ProbeView::status_at`].
#[must_use]
pub fn status_at(status: Status, observed: Option<Now>, interval: Duration, now: Now) -> Status {
    match observed {
        None => Status::Unknown,
        Some(at) if Freshness::of(at.age(now), interval) == Freshness::Stale => Status::Stale,
        Some(_) => status,
    }
}

impl ServiceView {
    /// The worst of its probes; nothing watched is unknown. A flag is well when it is read back as
    /// it was set.
    #[must_use]
    pub fn status_at(&self, now: Now) -> Status {
        if let Some(route) = self.route.as_ref().filter(|_| self.flag) {
            return route.status_at(now);
        }
        let worst = self.probes.iter().map(|probe| probe.status_at(now)).max();
        worst.unwrap_or(Status::Unknown)
    }

    /// What a command on this service is decided on; `None` without a router and a release.
    #[must_use]
    pub fn expected(&self) -> Option<Expected> {
        let release = self.release.as_ref().filter(|release| release.result.is_none());
        let release = release.map(|release| (release.id, release.step));
        match &self.route {
            Some(route) => Some(Expected { set: route.set, fence: route.fence, release }),
            // A plan of a service that is only watched: no split was ever set.
            None => release.map(|release| Expected {
                set: None,
                fence: Fence(0),
                release: Some(release),
            }),
        }
    }

    /// The probe that makes it as bad as it is, the first of the list among equals.
    #[must_use]
    pub fn worst(&self, now: Now) -> Option<&ProbeView> {
        let worst = self.probes.iter().min_by_key(|probe| Reverse(probe.status_at(now)));
        worst.map(|probe| -> &ProbeView { probe })
    }

    /// When what its status says was seen: the newest answer of any probe while all are well, else
    /// that of the worst.
    #[must_use]
    pub fn observed(&self, now: Now) -> Option<Now> {
        match self.worst(now)?.status_at(now) {
            Status::Up | Status::Maint => {
                self.probes.iter().filter_map(|probe| probe.observed).max_by_key(|at| at.mono)
            }
            Status::Unknown | Status::Stale | Status::Degraded | Status::Down => {
                self.worst(now)?.observed
            }
        }
    }
}

impl RouteView {
    fn status_at(&self, now: Now) -> Status {
        let read = |router: &RouterView| {
            matches!(router.state_at(now), RouterState::Live | RouterState::Late)
        };
        match self.state {
            _ if !self.routers.iter().all(read) => Status::Unknown,
            RouteState::Drifted => Status::Degraded,
            // Nobody has said yet what it is to be.
            RouteState::Unverified if self.set.is_some() => Status::Unknown,
            RouteState::Unverified | RouteState::Verified | RouteState::Changing => Status::Up,
        }
    }
}

impl RouterView {
    /// What the last reading is worth as of `now`: one older than three rereads is stale, and one
    /// behind a failed read is only what was once true.
    #[must_use]
    pub fn state_at(&self, now: Now) -> RouterState {
        match self.read {
            _ if !self.error.is_empty() => RouterState::Failing,
            None => RouterState::Waiting,
            Some(at) => match Freshness::of(at.age(now), self.reread) {
                Freshness::Live => RouterState::Live,
                Freshness::Late => RouterState::Late,
                Freshness::Stale => RouterState::Stale,
            },
        }
    }
}

/// How much a router's reading says about now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RouterState {
    Live,
    Late,
    /// Asked for the first time, not answered yet.
    Waiting,
    Stale,
    Failing,
}

impl RouterState {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            RouterState::Live => "live",
            RouterState::Late => "late",
            RouterState::Waiting => "waiting",
            RouterState::Stale => "stale",
            RouterState::Failing => "failing",
        }
    }
}

/// What is asked by itself is asked at least this often; the rest speaks when there is a cause.
const INTERVAL_MAX: Duration = Duration::from_hours(24);

impl SourceView {
    /// Its first answer is still to come.
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        self.success.is_none() && self.error.is_empty() && self.interval <= INTERVAL_MAX
    }

    /// `299s ahead`, where it is too far from ours.
    #[must_use]
    pub fn skew(&self) -> Option<String> {
        let seconds = self.skew_s?;
        let side = if seconds > 0 { "ahead" } else { "behind" };
        Some(format!("{}s {side}", seconds.unsigned_abs()))
    }

    #[must_use]
    pub fn state_at(&self, now: Now) -> SourceState {
        match self.success {
            _ if !self.error.is_empty() => SourceState::Failing,
            None => SourceState::Waiting,
            Some(at) if Freshness::of(at.age(now), self.interval) == Freshness::Stale => {
                SourceState::Stale
            }
            Some(_) => SourceState::Ok,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceState {
    Ok,
    /// Asked for the first time, not answered yet.
    Waiting,
    Stale,
    Failing,
}

impl SourceState {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            SourceState::Ok => "ok",
            SourceState::Waiting => "waiting",
            SourceState::Stale => "stale",
            SourceState::Failing => "failing",
        }
    }
}

impl Snapshot {
    pub fn services(&self) -> impl Iterator<Item = &ServiceView> {
        self.services.iter().map(Arc::as_ref)
    }

    pub fn sources(&self) -> impl Iterator<Item = &SourceView> {
        self.sources.iter().map(Arc::as_ref)
    }
}
