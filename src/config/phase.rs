//! Phases of a service: what a release is watched for at full traffic before it is good.
//!
//! Decides into which steps each is taken apart: watched time, then its checks, again and again.
//! Never judges. Contract: the checks are those of the service, by name; a phase has at most
//! [`LOOKS_MAX`] looks.

use std::collections::BTreeSet;
use std::time::Duration;

use engine::settings::{Action, Check, Service, Step};

use super::reader::Table;
use super::value;
use super::watch::{SPANS, unique};

/// More looks than this are monitoring, which probes, rules and triggers do.
const LOOKS_MAX: u32 = 20;

/// `[[service.phase]]`, as the steps behind the bake.
pub fn phases(table: &mut Table<'_>, service: &Service) -> Vec<Step> {
    let mut names = BTreeSet::new();
    let inner = table.tables("phase", "service_phase");
    if !inner.is_empty() && service.routers.is_empty() {
        table.problem("phase", "`phase` needs a router: without one nothing is released");
    }
    inner.into_iter().flat_map(|inner| phase(inner, service, &mut names)).collect()
}

fn phase(mut table: Table<'_>, service: &Service, names: &mut BTreeSet<String>) -> Vec<Step> {
    let name = table.need("name").name("name");
    unique(&table, names, name.as_ref(), "phase of this service");
    let span = table.need("for").duration("for", SPANS);
    let every = table.duration("every", SPANS);
    let checks = checks(&mut table, service);
    if checks.is_empty() && every.is_some() {
        table.problem("every", "`every` needs `checks`: what is looked at");
    }
    let looks = match (span, every) {
        (Some(span), Some(every)) if !every.is_zero() => {
            span.as_millis().div_ceil(every.as_millis())
        }
        (_, _) => 1,
    };
    let looks = u32::try_from(looks).unwrap_or(u32::MAX);
    if looks > LOOKS_MAX {
        table.problem("every", format!("`every`: more than {LOOKS_MAX} looks in one phase"));
    }
    table.finish();
    let (Some(name), Some(span)) = (name, span) else { return Vec::new() };
    let looks = looks.clamp(1, LOOKS_MAX);
    let mut steps = Vec::new();
    for look in 1..=looks {
        let place = if looks == 1 { name.clone() } else { format!("{name} {look}/{looks}") };
        let wait = Action::Wait { span: span / looks, watch: true };
        let limit = (span / looks * 2).max(Duration::from_mins(1));
        steps.push(Step::new(&place, wait, limit));
        steps.extend(checks.iter().map(|check| {
            let name = format!("{place}: {}", check.name);
            Step::new(&name, Action::Task(check.task), check.timeout)
        }));
    }
    steps
}

fn checks<'s>(table: &mut Table<'_>, service: &'s Service) -> Vec<&'s Check> {
    let mut found = Vec::new();
    for name in table.strings("checks").unwrap_or_default() {
        if let Some(check) = service.checks.iter().find(|check| check.name == name) {
            found.push(check);
            continue;
        }
        let known = service.checks.iter().map(|check| check.name.as_str());
        let hint = value::nearest(&name, known)
            .map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        let name = engine::types::Untrusted::new(&name);
        let why = format!("`{}` has no [[service.check]] named `{name}`{hint}", service.name);
        table.problem("checks", why);
    }
    found
}
