//! The alerts of a Prometheus server itself.
//!
//! Decides that only a firing alert is an incident: a pending one may still come to nothing.
//! Contract: pure; Prometheus gives no fingerprint, so it is computed as Alertmanager does.

use chrono::{DateTime, Utc};
use engine::reading::{Alert, AlertState};
use engine::types::Untrusted;
use serde_json::Value;

use super::{
    Found, each, fingerprint_of, json_of, links, list, past, raw_labels, severity, shown_labels,
    text,
};

pub(super) fn parse(body: &[u8], now: DateTime<Utc>) -> Result<Vec<Found>, String> {
    let value = json_of(body)?;
    if text(&value, "status") == "error" {
        return Err(format!("{}: {}", text(&value, "errorType"), text(&value, "error")));
    }
    let data = value.get("data").ok_or("no `data`")?;
    each(list(data, "alerts")?, now, one)
}

/// One alert of the list; `None` when it does not fire.
pub(super) fn one(
    alert: &Value,
    place: usize,
    now: DateTime<Utc>,
) -> Result<Option<Found>, String> {
    let raw = raw_labels(alert.get("labels"));
    if raw.is_empty() {
        return Err(format!("alert {place}: no labels"));
    }
    if matches!(text(alert, "state"), "pending" | "inactive") {
        return Ok(None);
    }
    let notes = alert.get("annotations").unwrap_or(&Value::Null);
    let label = |name: &str| raw.get(name).map(String::as_str).unwrap_or_default();
    let summary = ["summary", "message", "description"].map(|key| text(notes, key));
    let alert = Alert {
        fingerprint: fingerprint_of(&raw),
        name: Untrusted::new(label("alertname")),
        severity: severity(label("severity")),
        state: AlertState::Triggered,
        summary: Untrusted::new(summary.iter().find(|text| !text.is_empty()).unwrap_or(&"")),
        labels: shown_labels(&raw),
        started_at: past(text(alert, "activeAt"), now),
        links: links([text(notes, "runbook_url"), text(notes, "dashboard_url")]),
    };
    Ok(Some(Found { alert, raw }))
}
