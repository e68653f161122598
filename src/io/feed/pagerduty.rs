//! PagerDuty, REST v2.
//!
//! Decides how an incident's priority and urgency rank. Never resolves an incident. Contract:
//! pure; at most [`PAGES_MAX`] pages are asked for.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use engine::reading::{Alert, AlertState};
use engine::types::{Failure, FailureKind, Severity, Untrusted};
use serde_json::{Value, json};

use super::{Found, fingerprint, json_of, links, list, past, severity, shown_labels, text};
use crate::io::settings::{HttpTarget, Secret};

pub(super) const ACCEPT: (&str, &str) = ("Accept", "application/vnd.pagerduty+json;version=2");
pub(super) const PAGE_LEN: usize = 100;
/// PagerDuty itself answers no offset beyond ten thousand.
pub(super) const PAGES_MAX: usize = 100;

/// More people than this on one incident are not told one by one.
const ASSIGNEES_MAX: usize = 16;

pub(super) fn list_path(offset: usize) -> String {
    format!(
        "/incidents?statuses%5B%5D=triggered&statuses%5B%5D=acknowledged\
         &limit={PAGE_LEN}&offset={offset}"
    )
}

/// The token goes into PagerDuty's own form of the header.
pub(super) async fn authorized(http: &HttpTarget) -> Result<HttpTarget, Failure> {
    let mut http = http.clone();
    if let Some(secret) = http.token.take() {
        let token = secret.value().await.map_err(|why| {
            Failure::new(FailureKind::Denied, format!("the token is missing: {why}"))
        })?;
        let value = Secret::Known(format!("Token token={token}"));
        http.headers.insert("Authorization".into(), value);
    }
    Ok(http)
}

/// The incidents of one page, and whether there are more.
pub(super) fn parse(body: &[u8], now: DateTime<Utc>) -> Result<(Vec<Found>, bool), String> {
    let value = json_of(body)?;
    let mut found = Vec::new();
    for (place, incident) in list(&value, "incidents")?.iter().enumerate() {
        let id = text(incident, "id");
        if id.is_empty() {
            return Err(format!("incident {place}: no id"));
        }
        let state = match text(incident, "status") {
            "resolved" => continue,
            "acknowledged" => AlertState::Acknowledged,
            _ => AlertState::Triggered,
        };
        found.push(one(incident, id, state, now));
    }
    Ok((found, value.get("more").and_then(Value::as_bool).unwrap_or_default()))
}

fn one(incident: &Value, id: &str, state: AlertState, now: DateTime<Utc>) -> Found {
    let summary = |key: &str| incident.get(key).map_or("", |inner| text(inner, "summary"));
    let priority = summary("priority");
    let rank = match (priority, text(incident, "urgency")) {
        ("", "low") => Severity::Low,
        // An urgency that is not said pages somebody, as `high` does.
        ("", _) => Severity::High,
        (priority, _) => severity(priority),
    };
    let assigned = incident.get("assignments").and_then(Value::as_array).into_iter().flatten();
    let assignees: Vec<&str> = assigned
        .filter_map(|one| one.get("assignee").map(|who| text(who, "summary")))
        .filter(|who| !who.is_empty())
        .take(ASSIGNEES_MAX)
        .collect();
    let labels = [
        ("service", summary("service").to_owned()),
        ("escalation_policy", summary("escalation_policy").to_owned()),
        ("priority", priority.to_owned()),
        ("assigned", assignees.join(", ")),
        ("number", incident.get("incident_number").map_or(String::new(), super::plain)),
    ];
    let labels: BTreeMap<String, String> = labels
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    let raw = raw(incident, id);
    let alert = Alert {
        fingerprint: fingerprint(id),
        name: Untrusted::new(text(incident, "title")),
        severity: rank,
        state,
        summary: Untrusted::new(summary("service")),
        labels: shown_labels(&labels),
        started_at: past(text(incident, "created_at"), now),
        links: links([text(incident, "html_url")]),
    };
    Found { alert, raw }
}

/// What an answer needs: the incident, and by whom and which policy its level is found.
fn raw(incident: &Value, id: &str) -> BTreeMap<String, String> {
    let mut raw = BTreeMap::from([("id".to_owned(), id.to_owned())]);
    let plain = |id: &str| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let policy = incident.get("escalation_policy").map_or("", |policy| text(policy, "id"));
    if plain(policy) {
        raw.insert("policy".to_owned(), policy.to_owned());
    }
    let assigned = incident.get("assignments").and_then(Value::as_array).into_iter().flatten();
    let ids = assigned.filter_map(|one| one.get("assignee").map(|who| text(who, "id")));
    let ids: Vec<&str> = ids.filter(|id| plain(id)).take(ASSIGNEES_MAX).collect();
    if !ids.is_empty() {
        raw.insert("assignees".to_owned(), ids.join(" "));
    }
    raw
}

/// Who is on call at which level of the incident's policy; an incident does not tell its own
/// level. `None` when it says too little to ask.
pub(super) fn on_call_path(raw: &BTreeMap<String, String>) -> Option<String> {
    let policy = raw.get("policy").filter(|_| raw.contains_key("assignees"))?;
    Some(format!("/oncalls?escalation_policy_ids%5B%5D={policy}&limit={PAGE_LEN}"))
}

/// The highest level at which one of the incident's assignees is on call; `None` when none is, as
/// after a person gave it to somebody else.
pub(super) fn level(body: &[u8], raw: &BTreeMap<String, String>) -> Result<Option<u32>, String> {
    let value = json_of(body)?;
    let assignees: Vec<&str> =
        raw.get("assignees").map_or(Vec::new(), |ids| ids.split(' ').collect());
    let levels = list(&value, "oncalls")?.iter().filter_map(|one| {
        let user = one.get("user").map_or("", |user| text(user, "id"));
        let level = one.get("escalation_level").and_then(Value::as_u64)?;
        assignees.contains(&user).then(|| u32::try_from(level).ok())?
    });
    Ok(levels.max())
}

pub(super) fn acknowledgement(raw: &BTreeMap<String, String>) -> String {
    json!({ "incidents": [{
        "id": raw.get("id"), "type": "incident_reference", "status": "acknowledged",
    }] })
    .to_string()
}

pub(super) fn escalation(raw: &BTreeMap<String, String>, level: u32) -> String {
    json!({ "incidents": [{
        "id": raw.get("id"), "type": "incident_reference", "escalation_level": level,
    }] })
    .to_string()
}
