//! What the configuration tells the engine, checked and in the engine's own words.
//!
//! Decides nothing. Never holds an address, a path or a secret: those belong to the adapters,
//! which find them under the same ids. Contract: ids are places in these lists, and every list is
//! as long as the adapters' list of the same name.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::analysis::Policy;
use crate::rule::Rule;
use crate::runbook::Runbook;
use crate::types::{
    ChannelId, FeedId, HostId, Percent, PlanId, ProbeId, RouterId, ServiceId, Severity, TaskId,
    Untrusted,
};

#[derive(Clone, Debug, Default)]
pub struct Settings {
    pub environment: Environment,
    pub services: Vec<Service>,
    pub probes: Vec<Probe>,
    pub routers: Vec<Router>,
    pub hosts: Vec<Host>,
    pub scaling: Vec<Scaling>,
    pub feeds: Vec<Feed>,
    pub plans: Vec<Plan>,
    /// Ways to reach people.
    pub channels: Vec<Channel>,
    /// Who is told of what Quarterdeck raises by itself.
    pub notify: Vec<ChannelId>,
    pub runbooks: Vec<Runbook>,
    /// Incidents of our own.
    pub incidents: Vec<Definition>,
    /// What plans run and call; the adapters know the program or the address.
    pub tasks: Vec<Task>,
    /// SHA-256 of the file, in hex: journaled, so that a change of configuration is on record.
    pub hash: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    pub name: String,
    /// IANA name, shown beside UTC.
    pub timezone: String,
    /// Theme role of the band that every screen and guard carries.
    pub band: String,
}

#[derive(Clone, Debug, Default)]
pub struct Service {
    pub name: String,
    /// What is typed to fire a guard: 1 to 4 letters, unique.
    pub alias: String,
    pub runbook: Option<String>,
    pub probes: Vec<ProbeId>,
    /// They move together; empty when Quarterdeck only watches.
    pub routers: Vec<RouterId>,
    /// A feature flag: its one router's canary share is the percent that it is on for.
    pub flag: bool,
    /// Present when stable and canary are counted.
    pub signals: Option<Signals>,
    /// How a release is raised step by step; `None` when it is switched at once.
    pub canary: Option<Canary>,
    /// Rules that roll back by themselves.
    pub triggers: Vec<Trigger>,
    /// What a release must pass before it begins.
    pub checks: Vec<Check>,
    /// What brings a version onto the group that is not stable, before traffic moves.
    pub deploy: Option<PlanId>,
    /// What may follow after an emergency rollback moved the traffic.
    pub recovery: Option<PlanId>,
    /// Steps behind the canary or switch and its bake: time that is watched, and checks.
    pub phases: Vec<Step>,
    /// The maintenance page: on, off.
    pub maintenance: Option<[TaskId; 2]>,
}

/// One named check of a validation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    pub name: String,
    pub task: TaskId,
    /// Of one try.
    pub timeout: Duration,
    /// Tries after the first that failed.
    pub retries: u32,
    /// Before the second try; doubled each time.
    pub pause: Duration,
    /// A release begins only when it passed; else it is a warning.
    pub critical: bool,
}

/// One way to reach people; the adapters know the address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    pub name: String,
    /// "slack", "pagerduty", "webhook", "command".
    pub kind: String,
}

/// An incident of our own: when it opens, who is told, what is done.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    pub name: String,
    pub severity: Severity,
    /// A page of ours, or an address.
    pub runbook: Option<String>,
    pub rule: Rule,
    pub scope: Scope,
    /// The rule is true for that long before it opens.
    pub span: Duration,
    /// The rule is not true for that long before it is over.
    pub clear_after: Duration,
    pub notify: Vec<ChannelId>,
    /// Nobody acknowledged it for that long.
    pub escalate_after: Option<Duration>,
    pub escalate_to: Vec<ChannelId>,
    pub actions: Vec<PlanId>,
    /// Actions run; without it they are only written down.
    pub armed: bool,
}

/// What a definition is looked at for, one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Hosts,
    Services,
    /// Counters and feeds: one subject, the environment.
    Environment,
}

/// A canary release: steps of exposure, and what each must show.
#[derive(Clone, Debug, PartialEq)]
pub struct Canary {
    /// Rising percents; the last is 100.
    pub steps: Vec<Percent>,
    pub pass: Pass,
    /// The absolute promise on errors, in percent of the requests.
    pub objective: Option<f64>,
    /// At least this long at each step.
    pub soak: Duration,
    /// At most this long at each step; then it holds.
    pub wait: Duration,
    /// By step: its own times instead of these two.
    pub own_times: BTreeMap<usize, StepTimes>,
    /// How often a look is judged and journaled.
    pub every: Duration,
    pub on_fail: OnFail,
    /// At 100 %, rollback kept warm, before the release is called good.
    pub bake: Duration,
    /// Fewer canary requests in a step are not enough where time decides.
    pub requests_min: u64,
    pub fail_when: Vec<Rule>,
    pub pass_when: Vec<Rule>,
    pub limits: Limits,
    pub policy: Policy,
}

/// How long one step of a canary takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepTimes {
    pub soak: Duration,
    pub wait: Duration,
}

impl Canary {
    /// The times of the step at this place.
    #[must_use]
    pub fn times(&self, place: usize) -> StepTimes {
        let usual = StepTimes { soak: self.soak, wait: self.wait };
        self.own_times.get(&place).copied().unwrap_or(usual)
    }
}

/// How often a rule may say something before it counts; reached at *more than*.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    pub failure: u32,
    pub consecutive_failure: Option<u32>,
    pub inconclusive: Option<u32>,
    /// Looks without data.
    pub error: Option<u32>,
}

/// What ends a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// The evidence, as soon as it is enough.
    Evidence,
    /// The soak is over, data are fresh and enough, nothing failed.
    Time,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFail {
    RollBack,
    Hold,
}

/// A rule that rolls back by itself when it was true for that long.
#[derive(Clone, Debug, PartialEq)]
pub struct Trigger {
    pub rule: Rule,
    pub span: Duration,
}

/// Steps in their order, by name.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub name: String,
    /// The service whose plan it is; `None` where no step touches one.
    pub service: Option<ServiceId>,
    pub steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What people read; the action's own words unless given.
    pub name: String,
    pub action: Action,
    /// The step's whole budget.
    pub timeout: Duration,
    /// Asked after the action: only a yes makes the step done.
    pub verify: Option<TaskId>,
    /// What takes the step back when the plan walks back.
    pub undo: Option<TaskId>,
    pub after_crash: AfterCrash,
    /// Names of the steps that must be done first; `None`: the one before it.
    pub after: Option<Vec<String>>,
    /// How long people expect it to take.
    pub estimate: Option<Duration>,
}

impl Step {
    /// A step that is done again after a crash, and needs nothing beside its action.
    #[must_use]
    pub fn new(name: &str, action: Action, timeout: Duration) -> Step {
        Step {
            name: name.to_owned(),
            action,
            timeout,
            verify: None,
            undo: None,
            after_crash: AfterCrash::Repeat,
            after: None,
            estimate: None,
        }
    }

    /// A step that the configuration does not know any more: only its name is left.
    #[must_use]
    pub fn lost(name: &str) -> Step {
        let action = Action::Note(String::new());
        Step { after_crash: AfterCrash::Ask, ..Step::new(name, action, Duration::ZERO) }
    }
}

/// Every kind of step.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// The service's probe of this name is UP, with answers newer than the step's start.
    Probe(String),
    /// Run, call or check: done when the adapter says so.
    Task(TaskId),
    Split(Percent),
    /// Sets a feature flag, which is a service of its own kind.
    Flag {
        flag: ServiceId,
        to: Percent,
    },
    /// The stepped one, by the service's [`Canary`].
    Canary,
    /// All traffic to the other group, at once.
    Switch,
    /// Time passes; watched, a probe that goes down or a rule that fails ends it.
    Wait {
        span: Duration,
        watch: bool,
    },
    /// A person decides; without an answer in time the default counts, without one it fails.
    Ask {
        question: String,
        default: Option<bool>,
    },
    Maintenance(bool),
    /// The service's checks pass, now or a little while ago.
    Validate,
    Note(String),
}

/// What a restart does with a step that was under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterCrash {
    /// It may be done twice.
    Repeat,
    /// Its `verify` says whether it is done; if not, it is done again.
    Check,
    /// A person says so.
    Ask,
}

/// Something that an adapter runs or calls for a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// "run", "call", "check probe", "check command", "check query", "check file".
    pub kind: String,
    /// The program or the address without its secrets, for people.
    pub label: String,
}

/// How often the counters of both arms are read, and over what window rates are shown.
#[derive(Clone, Debug)]
pub struct Signals {
    pub interval: Duration,
    pub window: Duration,
    /// Requests slower than this count as slow; needs a histogram.
    pub slow_above: Option<Duration>,
    /// What the arms are called in metrics: group a, group b.
    pub versions: [String; 2],
    /// Read with them.
    pub tenants: Tenants,
}

/// Tenants of a service, and the figures that each has.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tenants {
    pub figures: Vec<String>,
    pub each: Vec<Tenant>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Tenant {
    pub name: Untrusted,
    /// Tenants of one class have the same limits.
    pub class: String,
    /// By figure: it may be no more.
    pub limits: Vec<Option<f64>>,
    /// By figure: it should be no more.
    pub targets: Vec<Option<f64>>,
}

#[derive(Clone, Debug)]
pub struct Probe {
    pub service: ServiceId,
    pub name: String,
    pub interval: Duration,
    pub timeout: Duration,
    pub degraded_above: Option<Duration>,
    pub unhealthy_above: Option<Duration>,
    /// That many good answers in a row to come back.
    pub rise: u32,
    /// That many bad answers in a row to go down.
    pub fall: u32,
}

#[derive(Clone, Debug)]
pub struct Router {
    pub service: ServiceId,
    pub name: String,
    /// What it is: "haproxy", "nginx", "http", "command".
    pub kind: String,
    /// How often a settled route is read again (drift check).
    pub reread: Duration,
    /// The longest that one write takes; a read gets two thirds of it.
    pub timeout: Duration,
    /// What a person would run by hand; `{a}` and `{b}` stand for the groups' percents.
    pub manual: String,
    /// The other way to take all traffic to stable, in words; `None` where there is none.
    pub fallback: Option<String>,
}

/// A group of hosts whose size is judged.
#[derive(Clone, Debug)]
pub struct Scaling {
    pub name: String,
    pub hosts: Vec<HostId>,
    /// Percents: both figures above these mean up, both below the others down.
    pub cpu_above: f64,
    pub memory_above: f64,
    /// Of the processor: up is urgent.
    pub urgent_above: f64,
    pub cpu_below: f64,
    pub memory_below: f64,
    pub up: Option<PlanId>,
    pub down: Option<PlanId>,
    /// Its plans run.
    pub armed: bool,
    pub every: Duration,
    /// Between two plans.
    pub cooldown: Duration,
}

#[derive(Clone, Debug)]
pub struct Host {
    pub name: String,
    pub interval: Duration,
}

/// The kind of a feed that counts and names no incidents.
pub const COUNTERS: &str = "counters";

#[derive(Clone, Debug)]
pub struct Feed {
    pub name: String,
    /// "alertmanager", "prometheus", "pagerduty", "statuspage", "json".
    pub kind: String,
    pub interval: Duration,
    pub can_acknowledge: bool,
    pub can_escalate: bool,
}

impl Settings {
    #[must_use]
    pub fn service_named(&self, name: &str) -> Option<ServiceId> {
        let place = self.services.iter().position(|service| service.name == name)?;
        Some(ServiceId(u32::try_from(place).expect("the number of services is bounded by config")))
    }
    #[must_use]
    pub fn service(&self, id: ServiceId) -> &Service {
        &self.services[id.index()]
    }
    #[must_use]
    pub fn probe(&self, id: ProbeId) -> &Probe {
        &self.probes[id.index()]
    }
    #[must_use]
    pub fn router(&self, id: RouterId) -> &Router {
        &self.routers[id.index()]
    }
    #[must_use]
    pub fn host(&self, id: HostId) -> &Host {
        &self.hosts[id.index()]
    }
    #[must_use]
    pub fn feed(&self, id: FeedId) -> &Feed {
        &self.feeds[id.index()]
    }
    #[must_use]
    pub fn plan(&self, id: PlanId) -> &Plan {
        &self.plans[id.index()]
    }
    #[must_use]
    pub fn task(&self, id: TaskId) -> &Task {
        &self.tasks[id.index()]
    }
}
