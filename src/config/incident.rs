//! Incidents of our own, and the ways to reach people.
//!
//! Decides that each can be judged: a rule on hosts or on services, those that it is about, plans
//! and channels that are there. Never opens one. Contract: channels stand in the order of their
//! names, in both halves.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use engine::response::CLEAR_AFTER;
use engine::rule::{INCIDENT_NAMES, Rule};
use engine::settings::{Channel, Definition, Scope, Settings};
use engine::types::{ChannelId, PlanId, Severity, Untrusted};
use toml::de::DeValue;

use super::reader::Table;
use super::watch::{SPANS, unique};
use super::{later, secret, value, watch};
use crate::io::notify;
use crate::io::settings::{ChannelTarget, HttpTarget, Secret};
use crate::io::task::fill;

const PAGERDUTY: &str = "https://events.pagerduty.com/v2/enqueue";

/// More labels than these narrow nothing down.
const ALERT_LABELS_MAX: usize = 16;

const KINDS: [&str; 4] = ["slack", "pagerduty", "webhook", "command"];

/// `[notify.NAME]`: one way to reach people.
pub fn channels(table: &Table<'_>, named: &mut later::Named) -> (Vec<Channel>, Vec<ChannelTarget>) {
    let reader = table.reader;
    let mut found = BTreeMap::new();
    for (name, at, node) in table.entries() {
        if let Err(why) = value::name(&name) {
            reader.problem(at, format!("the key under `notify` {why}"));
        }
        named.channels.insert(name.clone());
        let Some(mut channel) = reader.table("notify", "channel", "a table", node) else {
            continue;
        };
        let kind = channel.one_of(&KINDS);
        let target = kind.and_then(|kind| target(&mut channel, kind));
        channel.finish();
        if let (Some(kind), Some(target)) = (kind, target) {
            found.insert(name.clone(), (Channel { name, kind: kind.to_owned() }, target));
        }
    }
    found.into_values().unzip()
}

fn target(table: &mut Table<'_>, kind: &str) -> Option<ChannelTarget> {
    match kind {
        "slack" => {
            let mut inner = table.table("slack", "slack")?;
            let url = secret::secret(inner.need("url"), "url");
            inner.finish();
            Some(ChannelTarget::Slack { url: url? })
        }
        "pagerduty" => {
            let mut inner = table.table("pagerduty", "events")?;
            let routing_key = secret::secret(inner.need("routing_key"), "routing_key");
            let url = if inner.has("url") { inner.url("url") } else { Some(PAGERDUTY.to_owned()) };
            inner.get("url");
            inner.finish();
            Some(ChannelTarget::PagerDuty { url: url?, routing_key: routing_key? })
        }
        "webhook" => webhook(table),
        _ => Some(ChannelTarget::Command { argv: table.argv("command")? }),
    }
}

fn webhook(table: &mut Table<'_>) -> Option<ChannelTarget> {
    let mut inner = table.table("webhook", "webhook")?;
    let node = inner.need("url").get("url");
    let url = match node.map(toml::Spanned::get_ref) {
        Some(DeValue::String(_)) => inner.url("url").map(Secret::Known),
        Some(_) => secret::secret(&mut inner, "url"),
        None => None,
    };
    let template = inner.string("template");
    if let Some(template) = &template {
        for name in fill::placeholders(template) {
            if !notify::PLACEHOLDERS.contains(&name) {
                let name: String = name.chars().take(64).collect();
                let known = notify::PLACEHOLDERS.map(|name| format!("{{{name}}}")).join(", ");
                inner.problem(
                    "template",
                    format!("`template` has an unknown placeholder `{{{name}}}`; known: {known}"),
                );
            }
        }
    }
    let http = HttpTarget {
        headers: watch::headers(&mut inner),
        token: secret::secret(&mut inner, "token"),
        ca_file: watch::ca_file(&mut inner),
        ..HttpTarget::default()
    };
    inner.finish();
    Some(ChannelTarget::Webhook { http, url: url?, template })
}

/// `[[incident]]`.
pub fn incident(
    mut table: Table<'_>,
    seen: &mut BTreeSet<String>,
    named: &mut later::Named,
    settings: &Settings,
    counters: &[String],
) -> Option<Definition> {
    let (channels, plans) = (&settings.channels, &settings.plans);
    let name = table.need("name").name("name");
    unique(&table, seen, name.as_ref(), "incident");
    let severity = table.need("severity").word("severity", &["critical", "high", "medium", "low"]);
    let rule = rule(&mut table, counters);
    let only = only(&mut table, rule.as_ref().map(|(_, scope)| *scope), settings);
    let alerts = alerts(&mut table);
    let span = table.duration("for", SPANS).unwrap_or(Duration::ZERO);
    let clear_after = table.duration("clear_after", SPANS).unwrap_or(CLEAR_AFTER);
    let escalate_after = table.duration("escalate_after", SPANS);
    if table.has("escalate_to") && !table.has("escalate_after") {
        table.problem("escalate_to", "`escalate_to` needs `escalate_after`: when that is");
    }
    let notify = named_channels(&mut table, "notify", channels, named);
    let escalate_to = named_channels(&mut table, "escalate_to", channels, named);
    let armed = table.boolean("armed").unwrap_or(false);
    let at = table.place_of("actions");
    let mut actions = Vec::new();
    for plan in table.strings("actions").unwrap_or_default() {
        named.uses_plan(at, &plan);
        let Some(place) = plans.iter().position(|own| own.name == plan) else { continue };
        let served = rule.as_ref().is_none_or(|(_, scope)| *scope == Scope::Services);
        if armed && !served && plans[place].service.is_none() {
            let text =
                format!("`actions`: the plan `{plan}` needs `service`: what it is about has none");
            table.problem("actions", text);
        }
        actions.push(PlanId(super::place(place)));
    }
    table.finish();
    let severity = match severity? {
        "critical" => Severity::Critical,
        "high" => Severity::High,
        "medium" => Severity::Medium,
        _ => Severity::Low,
    };
    let (rule, scope) = rule?;
    Some(Definition {
        name: name?,
        severity,
        runbook: None,
        rule,
        scope,
        only,
        alerts,
        span,
        clear_after,
        notify,
        escalate_after,
        escalate_to,
        actions,
        armed,
    })
}

/// The hosts or services that it is about.
fn only(table: &mut Table<'_>, scope: Option<Scope>, settings: &Settings) -> Vec<String> {
    let names = table.strings("only").unwrap_or_default();
    let known: Vec<&str> = match scope {
        Some(Scope::Hosts) => settings.hosts.iter().map(|own| own.name.as_str()).collect(),
        Some(Scope::Services) => settings.services.iter().map(|own| own.name.as_str()).collect(),
        Some(Scope::Environment) if !names.is_empty() => {
            let why = "`only` names hosts or services: `when` is about neither";
            table.problem("only", why);
            return Vec::new();
        }
        Some(Scope::Environment) | None => return Vec::new(),
    };
    for name in &names {
        if !known.contains(&name.as_str()) {
            let hint = value::nearest(name, known.iter().copied())
                .map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            let name = Untrusted::new(name);
            table.problem("only", format!("`only`: nothing of its kind is named `{name}`{hint}"));
        }
    }
    names
}

/// Labels of the alerts that belong to it.
fn alerts(table: &mut Table<'_>) -> Vec<(String, String)> {
    let Some(inner) = table.table("alerts", "alerts") else { return Vec::new() };
    let mut labels = Vec::new();
    for (name, _, node) in inner.entries() {
        if let Some(value) = table.reader.text("alerts", node) {
            labels.push((name, value));
        }
    }
    if labels.len() > ALERT_LABELS_MAX {
        table.problem("alerts", format!("`alerts` names more than {ALERT_LABELS_MAX} labels"));
    }
    labels
}

/// The condition, and what it is looked at for.
fn rule(table: &mut Table<'_>, counters: &[String]) -> Option<(Rule, Scope)> {
    let source = table.need("when").string("when")?;
    let known = INCIDENT_NAMES.iter().copied();
    let known: Vec<&str> = known.chain(counters.iter().map(String::as_str)).collect();
    let rule = match Rule::compile(&source, &known) {
        Ok(rule) => rule,
        Err(why) => {
            let why = Untrusted::new(&why);
            table.problem("when", format!("`when` is no rule: {why}"));
            return None;
        }
    };
    let scope_of = |name: &String| match name.split('.').next() {
        Some("host") => Scope::Hosts,
        Some("counter" | "feed") => Scope::Environment,
        Some(_) | None => Scope::Services,
    };
    let mut scopes = rule.operands().iter().map(scope_of);
    let scope = scopes.next().unwrap_or(Scope::Services);
    if scopes.any(|other| other != scope) {
        let why = "`when` names hosts, services or counters and feeds: it is looked at for each of \
                   one kind";
        table.problem("when", why);
        return None;
    }
    Some((rule, scope))
}

fn named_channels(
    table: &mut Table<'_>,
    key: &'static str,
    channels: &[Channel],
    named: &mut later::Named,
) -> Vec<ChannelId> {
    let at = table.place_of(key);
    let mut found = Vec::new();
    for name in table.strings(key).unwrap_or_default() {
        let place = channels.iter().position(|own| own.name == name);
        named.used_channels.push((at, name));
        let id = place.map(|place| ChannelId(super::place(place)));
        found.extend(id.filter(|id| !found.contains(id)));
    }
    found
}
