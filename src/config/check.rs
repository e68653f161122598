//! The checks of a service: what a release must pass before it begins.
//!
//! Decides their defaults and limits. Never runs one. Contract: each check is one look, by the
//! same words as a plan's `check`, and has a name of its own in its service.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use engine::settings::{Check, Probe, Service};
use engine::types::{ProbeId, Untrusted};
use engine::validation::RUN_MAX;

use super::reader::Table;
use super::task::{self, Made, Tasks};
use super::value;
use super::watch::{Sources, unique};
use crate::io::settings::{ProbeTarget, TaskTarget};

/// The whole run has no more.
const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(10)..=RUN_MAX;
const TIMEOUT: Duration = Duration::from_secs(30);

/// More tries than this hide that something is wrong.
const RETRIES_MAX: u32 = 10;
const RETRIES: u32 = 3;

const PAUSES: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(30);
const PAUSE: Duration = Duration::from_secs(1);

/// A record and a panel hold that many.
const CHECKS_MAX: usize = 100;

/// The probes of the file so far, in both halves.
#[derive(Clone, Copy)]
pub struct Probes<'p> {
    pub engine: &'p [Probe],
    pub io: &'p [ProbeTarget],
}

/// `[[service.check]]`.
pub fn checks(
    table: &mut Table<'_>,
    service: &Service,
    probes: Probes<'_>,
    sources: &Sources,
    tasks: &mut Tasks,
) -> Vec<Check> {
    let mut names = BTreeSet::new();
    let inner = table.tables("check", "service_check");
    if inner.len() > CHECKS_MAX {
        table.problem("check", format!("a service has at most {CHECKS_MAX} checks"));
    }
    let read = |inner| check(inner, service, probes, sources, tasks, &mut names);
    inner.into_iter().filter_map(read).collect()
}

fn check(
    mut table: Table<'_>,
    service: &Service,
    probes: Probes<'_>,
    sources: &Sources,
    tasks: &mut Tasks,
    names: &mut BTreeSet<String>,
) -> Option<Check> {
    let name = table.need("name").name("name");
    unique(&table, names, name.as_ref(), "check of this service");
    let timeout = table.duration("timeout", TIMEOUTS).unwrap_or(TIMEOUT);
    let retries = table.integer("retries", 0..=RETRIES_MAX).unwrap_or(RETRIES);
    let pause = table.duration("pause", PAUSES).unwrap_or(PAUSE);
    let critical = table.boolean("critical").unwrap_or(true);
    let found = task::look(&mut table, sources, |name| own_probe(service, probes.engine, name));
    table.finish();
    let made = match found? {
        task::Check::Task(made) => *made,
        task::Check::Probe(label, id) => {
            // A target that was refused leaves the lists apart; its problem is told already.
            let target = TaskTarget::Look(probes.io.get(id.index())?.clone());
            Made { kind: "check probe", label, target }
        }
    };
    let task = tasks.add(made);
    Some(Check { name: name?, task, timeout, retries, pause, critical })
}

fn own_probe(service: &Service, probes: &[Probe], name: &str) -> Result<ProbeId, Option<String>> {
    let own = || service.probes.iter().map(|id| (*id, probes[id.index()].name.as_str()));
    own().find(|(_, own)| *own == name).map(|(id, _)| id).ok_or_else(|| {
        let hint = value::nearest(name, own().map(|(_, name)| name))
            .map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        Some(format!("`{}` has no probe named `{}`{hint}", service.name, Untrusted::new(name)))
    })
}
