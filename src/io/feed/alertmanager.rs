//! Alertmanager, API v2.
//!
//! Decides when an alert counts as taken: when something suppresses it. Never edits a silence that
//! somebody else made. Contract: pure; a silence matches every label of one alert exactly, and
//! ends by itself after [`SILENCE_HOURS`].

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use engine::reading::{Alert, AlertState, SILENCE_HOURS};
use engine::types::{Actor, Untrusted};
use serde_json::{Value, json};

use super::{
    Found, each, fingerprint, fingerprint_of, json_of, links, past, raw_labels, severity,
    shown_labels, text,
};

pub(super) const ALERTS_PATH: &str = "/api/v2/alerts?active=true&silenced=true&inhibited=true";

pub(super) fn parse(body: &[u8], now: DateTime<Utc>) -> Result<Vec<Found>, String> {
    let value = json_of(body)?;
    let alerts = value.as_array().ok_or("the answer is not a list of alerts")?;
    each(alerts, now, one)
}

/// One alert of the list; `None` when it is over.
pub(super) fn one(
    alert: &Value,
    place: usize,
    now: DateTime<Utc>,
) -> Result<Option<Found>, String> {
    let raw = raw_labels(alert.get("labels"));
    if raw.is_empty() {
        return Err(format!("alert {place}: no labels"));
    }
    // An end that has passed is the sender's word that it is over.
    if past(text(alert, "endsAt"), now).is_some() {
        return Ok(None);
    }
    let given = text(alert, "fingerprint");
    let notes = alert.get("annotations").cloned().unwrap_or_default();
    let suppressed =
        alert.get("status").is_some_and(|status| text(status, "state") == "suppressed");
    let summary = ["summary", "message", "description"].map(|key| text(&notes, key));
    let links = links([
        text(&notes, "runbook_url"),
        text(&notes, "dashboard_url"),
        text(alert, "generatorURL"),
    ]);
    let label = |name: &str| raw.get(name).map(String::as_str).unwrap_or_default();
    let alert = Alert {
        fingerprint: if given.is_empty() { fingerprint_of(&raw) } else { fingerprint(given) },
        name: Untrusted::new(label("alertname")),
        severity: severity(label("severity")),
        state: if suppressed { AlertState::Acknowledged } else { AlertState::Triggered },
        summary: Untrusted::new(summary.iter().find(|text| !text.is_empty()).unwrap_or(&"")),
        labels: shown_labels(&raw),
        started_at: past(text(alert, "startsAt"), now),
        links,
    };
    Ok(Some(Found { alert, raw }))
}

/// The body that silences exactly the alert with these labels.
pub(super) fn silence(
    labels: &BTreeMap<String, String>,
    actor: &Actor,
    comment: &Untrusted,
    now: DateTime<Utc>,
) -> String {
    let matchers: Vec<Value> = labels
        .iter()
        .map(|(name, value)| {
            json!({ "name": name, "value": value, "isRegex": false, "isEqual": true })
        })
        .collect();
    let time = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Millis, true);
    let comment =
        if comment.is_empty() { "acknowledged in Quarterdeck" } else { comment.display() };
    json!({
        "matchers": matchers,
        "startsAt": time(now),
        "endsAt": time(now + TimeDelta::hours(SILENCE_HOURS)),
        "createdBy": actor.user.display(),
        "comment": comment,
    })
    .to_string()
}

/// A good answer names the silence; anything else may be a proxy's page.
pub(super) fn silenced(body: &[u8]) -> Result<(), String> {
    if text(&json_of(body)?, "silenceID").is_empty() {
        return Err("the answer names no silence".into());
    }
    Ok(())
}
