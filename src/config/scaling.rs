//! Groups of hosts whose size is judged.
//!
//! Decides the limits and that hosts and plans are there. Never judges. Contract: a plan that may
//! run by itself names its service.

use std::collections::BTreeSet;
use std::time::Duration;

use engine::settings::{Host, Plan, Scaling};
use engine::types::{HostId, PlanId, Untrusted};

use super::reader::Table;
use super::watch::{INTERVALS, SPANS, unique};
use super::{later, value};

/// The rule's own figures: both above these mean up, the processor alone says how urgent.
const ABOVE: f64 = 80.0;
const URGENT: f64 = 90.0;
/// Both below these mean down.
const CPU_BELOW: f64 = 20.0;
const MEMORY_BELOW: f64 = 30.0;

const EVERY: Duration = Duration::from_mins(1);
/// A new host needs minutes until it takes its share, and the figures more to say so.
const COOLDOWN: Duration = Duration::from_mins(10);

pub fn scaling(
    mut table: Table<'_>,
    seen: &mut BTreeSet<String>,
    named: &mut later::Named,
    hosts: &[Host],
    plans: &[Plan],
) -> Option<Scaling> {
    let name = table.need("name").name("name");
    unique(&table, seen, name.as_ref(), "scaling");
    let found = members(&mut table, hosts);
    let mut percent = |key, usual| table.number(key, 0.0..=100.0).unwrap_or(usual);
    let (cpu_above, memory_above) = (percent("cpu_above", ABOVE), percent("memory_above", ABOVE));
    let urgent_above = percent("urgent_above", URGENT);
    let (cpu_below, memory_below) =
        (percent("cpu_below", CPU_BELOW), percent("memory_below", MEMORY_BELOW));
    if cpu_below >= cpu_above || memory_below >= memory_above {
        let why = "a group is not too small and too large at once: the limits below are lower";
        table.problem("cpu_below", why);
    }
    let armed = table.boolean("armed").unwrap_or(false);
    let up = plan(&mut table, "up", armed, named, plans);
    let down = plan(&mut table, "down", armed, named, plans);
    if armed && !table.has("up") && !table.has("down") {
        table.problem("armed", "`armed` needs `up` or `down`: the plan that runs");
    }
    let every = table.duration("every", INTERVALS).unwrap_or(EVERY);
    let cooldown = table.duration("cooldown", SPANS).unwrap_or(COOLDOWN);
    table.finish();
    Some(Scaling {
        name: name?,
        hosts: found,
        cpu_above,
        memory_above,
        urgent_above,
        cpu_below,
        memory_below,
        up,
        down,
        armed,
        every,
        cooldown,
    })
}

fn members(table: &mut Table<'_>, hosts: &[Host]) -> Vec<HostId> {
    let mut found = Vec::new();
    let names = table.need("hosts").strings("hosts").unwrap_or_default();
    if names.is_empty() && table.has("hosts") {
        table.problem("hosts", "`hosts` is empty: there is nothing to judge");
    }
    for name in names {
        let all = || hosts.iter().map(|host| host.name.as_str());
        let Some(place) = all().position(|own| own == name) else {
            let hint = value::nearest(&name, all())
                .map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            let shown = Untrusted::new(&name);
            table.problem("hosts", format!("there is no [[host]] named `{shown}`{hint}"));
            continue;
        };
        let id = HostId(super::place(place));
        if found.contains(&id) {
            table.problem("hosts", format!("`hosts` names `{name}` twice"));
        }
        found.push(id);
    }
    found
}

fn plan(
    table: &mut Table<'_>,
    key: &'static str,
    armed: bool,
    named: &mut later::Named,
    plans: &[Plan],
) -> Option<PlanId> {
    let name = table.string(key)?;
    named.uses_plan(table.place_of(key), &name);
    let place = plans.iter().position(|own| own.name == name)?;
    if armed && plans[place].service.is_none() {
        let text = format!("`{key}`: the plan `{name}` needs `service`: a group of hosts has none");
        table.problem(key, text);
    }
    Some(PlanId(super::place(place)))
}
