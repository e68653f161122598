//! What the configuration tells the engine, checked and in the engine's own words.
//!
//! Decides nothing. Never holds an address, a path or a secret: those belong to the adapters,
//! which find them under the same ids. Contract: ids are places in these lists, and every list is
//! as long as the adapters' list of the same name.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::types::{FeedId, HostId, ProbeId, RouterId, ServiceId};

#[derive(Clone, Debug, Default)]
pub struct Settings {
    pub environment: Environment,
    pub services: Vec<Service>,
    pub probes: Vec<Probe>,
    pub routers: Vec<Router>,
    pub hosts: Vec<Host>,
    pub feeds: Vec<Feed>,
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

#[derive(Clone, Debug)]
pub struct Service {
    pub name: String,
    /// What is typed to fire a guard: 1 to 4 letters, unique.
    pub alias: String,
    pub runbook: Option<String>,
    pub probes: Vec<ProbeId>,
    /// They move together; empty when Quarterdeck only watches.
    pub routers: Vec<RouterId>,
    /// Present when stable and canary are counted.
    pub signals: Option<Signals>,
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
    /// What a person would run by hand; `{a}` and `{b}` stand for the groups' percents.
    pub manual: String,
}

#[derive(Clone, Debug)]
pub struct Host {
    pub name: String,
    pub interval: Duration,
}

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
}
