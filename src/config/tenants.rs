//! `[service.tenants]`: the figures of each tenant, and what its class allows.
//!
//! Decides that every tenant can be asked for and belongs to one class. Never asks a server.
//! Contract: `{tenant}` is replaced here, once for each tenant; limits stand in the order of the
//! figures.

use std::collections::BTreeSet;

use engine::settings::{Signals, Tenant, Tenants};
use engine::tenant::{OVER, OVER_TARGET, PREFIX};
use engine::types::Untrusted;

use super::reader::{Table, figure};
use super::signals::can_stand_in_a_query;
use super::watch::Sources;
use super::{task, value};
use crate::io::settings::TenantsTarget;

const TENANT: &str = "{tenant}";

/// Figures of a tenant: as many as stand in one line.
const FIGURES_MAX: usize = 8;

/// Tenants of a service: what can be asked for at each look, and shown.
const TENANTS_MAX: usize = 100;

/// Longest name of a figure.
const NAME_BYTES_MAX: usize = 32;

/// What a rule calls the figure of this name.
pub fn operand(name: &str) -> String {
    format!("{PREFIX}{name}")
}

/// Puts the tenants into the service's signals; what rules may name of them, and what is asked.
pub fn tenants(
    table: &mut Table<'_>,
    signals: Option<&mut Signals>,
    sources: &Sources,
) -> (Vec<String>, Option<TenantsTarget>) {
    let Some(mut inner) = table.table("tenants", "tenants") else { return Default::default() };
    if !table.has("signals") {
        inner.problem("", "`tenants` needs [service.signals]: they are read together");
    }
    let http = task::metrics(&mut inner, sources);
    let queries = queries(&mut inner);
    let figures: Vec<String> = queries.iter().map(|(name, _)| name.clone()).collect();
    let each = classes(&mut inner, &figures);
    inner.finish();
    let of = |query: &String| {
        let names = each.iter().map(|own| own.name.display());
        names.map(|name| query.replace(TENANT, name)).collect()
    };
    let queries = queries.iter().map(|(_, query)| of(query)).collect();
    let fixed = [OVER, OVER_TARGET].map(ToOwned::to_owned).into_iter();
    let names = fixed.chain(figures.iter().map(|name| operand(name))).collect();
    if let Some(signals) = signals {
        signals.tenants = Tenants { figures, each };
    }
    (names, http.map(|http| TenantsTarget { http, queries }))
}

/// Name and query of each figure.
fn queries(table: &mut Table<'_>) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let Some(inner) = table.need("figures").table("figures", "tenant_figures") else {
        return found;
    };
    for (name, at, node) in inner.entries() {
        let fits = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.len() <= NAME_BYTES_MAX;
        let Some(query) = inner.reader.text("figures", node) else { continue };
        let problem = if !fits {
            "the name of a figure has up to 32 of a-z, 0-9 and `_`, a letter first".to_owned()
        } else if [OVER, OVER_TARGET].contains(&operand(&name).as_str()) {
            format!("`{name}` is what rules call those who are over: name the figure otherwise")
        } else if found.len() == FIGURES_MAX {
            format!("tenants have at most {FIGURES_MAX} figures")
        } else if let Err(why) = value::expression(&query) {
            format!("`{name}` {why}")
        } else if !query.contains(TENANT) {
            format!("`{name}` is the same for all: write `{TENANT}` where the tenant's name stands")
        } else {
            found.push((name, query));
            continue;
        };
        inner.reader.problem(at, problem);
    }
    if inner.entries().next().is_none() {
        table.problem("figures", "`figures` names no query");
    }
    found
}

/// Every tenant, with what its class allows.
fn classes(table: &mut Table<'_>, figures: &[String]) -> Vec<Tenant> {
    let mut each: Vec<Tenant> = Vec::new();
    let mut seen = BTreeSet::new();
    let Some(all) = table.need("class").table("class", "tenant_classes") else { return each };
    for (class, at, node) in all.entries() {
        if let Err(why) = value::name(&class) {
            all.reader.problem(at, format!("the key under `class` {why}"));
        }
        let Some(mut inner) = all.reader.table("class", "tenant_class", "a table", node) else {
            continue;
        };
        let limits = bounds(&mut inner, "limits", figures);
        let targets = bounds(&mut inner, "targets", figures);
        for name in inner.need("names").strings("names").unwrap_or_default() {
            let shown = Untrusted::new(&name);
            if !can_stand_in_a_query(&name) || shown.display() != name {
                inner.problem("names", "`names` holds one that cannot stand in a query");
            } else if !seen.insert(name) {
                inner.problem("names", format!("the tenant `{shown}` is named twice"));
            } else {
                let (limits, targets) = (limits.clone(), targets.clone());
                each.push(Tenant { name: shown, class: class.clone(), limits, targets });
            }
        }
        inner.finish();
    }
    if each.len() > TENANTS_MAX {
        table.problem("class", format!("a service has at most {TENANTS_MAX} tenants"));
        each.truncate(TENANTS_MAX);
    }
    each
}

/// At most so much of each figure.
fn bounds(table: &mut Table<'_>, key: &'static str, figures: &[String]) -> Vec<Option<f64>> {
    let mut bounds = vec![None; figures.len()];
    let Some(inner) = table.table(key, "tenant_bounds") else { return bounds };
    for (name, at, node) in inner.entries() {
        let number = figure(node).filter(|number| *number >= 0.0 && number.is_finite());
        match figures.iter().position(|own| *own == name) {
            None => {
                let hint = value::nearest(&name, figures.iter().map(String::as_str))
                    .map_or(String::new(), |near| format!("; did you mean `{near}`?"));
                inner.reader.problem(at, format!("`{key}` names no figure of the tenants{hint}"));
            }
            Some(_) if number.is_none() => {
                inner.reader.problem(at, format!("`{key}` holds numbers from 0 on"));
            }
            Some(place) => bounds[place] = number,
        }
    }
    bounds
}
