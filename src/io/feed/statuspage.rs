//! The summary of a Statuspage.
//!
//! Decides that a component which is not operational is an incident of its own, and that running
//! maintenance is one of low severity. Contract: pure; a status that is not known is shown.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use engine::reading::{Alert, AlertState};
use engine::types::{Severity, Untrusted};
use serde_json::Value;

use super::{Found, fingerprint, json_of, links, list, past, severity, shown_labels, text};

pub(super) fn parse(body: &[u8], now: DateTime<Utc>) -> Result<Vec<Found>, String> {
    let value = json_of(body)?;
    let mut found = Vec::new();
    // Every summary lists its components; a page without them is something else.
    for component in list(&value, "components")? {
        let status = text(component, "status");
        // A group repeats the worst of its members.
        let group = component.get("group").and_then(Value::as_bool).unwrap_or_default();
        if group || status == "operational" {
            continue;
        }
        let rank = match status {
            "major_outage" => Severity::Critical,
            "partial_outage" => Severity::High,
            "under_maintenance" => Severity::Low,
            _ => Severity::Medium,
        };
        let raised = Raised { kind: "component", rank, since: "updated_at" };
        found.push(raised.found(component, AlertState::Triggered, now));
    }
    for incident in list(&value, "incidents").map(Vec::as_slice).unwrap_or_default() {
        let state = match text(incident, "status") {
            "resolved" | "postmortem" => continue,
            "identified" | "monitoring" => AlertState::Acknowledged,
            _ => AlertState::Triggered,
        };
        let rank = severity(text(incident, "impact"));
        let raised = Raised { kind: "incident", rank, since: "started_at" };
        found.push(raised.found(incident, state, now));
    }
    let maintenance = list(&value, "scheduled_maintenances").map(Vec::as_slice);
    for maintenance in maintenance.unwrap_or_default() {
        if matches!(text(maintenance, "status"), "in_progress" | "verifying") {
            let raised =
                Raised { kind: "maintenance", rank: Severity::Low, since: "scheduled_for" };
            found.push(raised.found(maintenance, AlertState::Acknowledged, now));
        }
    }
    Ok(found)
}

struct Raised {
    kind: &'static str,
    rank: Severity,
    /// The field that says when it began.
    since: &'static str,
}

impl Raised {
    fn found(&self, value: &Value, state: AlertState, now: DateTime<Utc>) -> Found {
        let (id, name, status) = (text(value, "id"), text(value, "name"), text(value, "status"));
        let key = if id.is_empty() { name } else { id };
        let updates = value.get("incident_updates").and_then(Value::as_array);
        let said = updates.and_then(|all| all.first()).map_or("", |update| text(update, "body"));
        let summary = if said.is_empty() { status.replace('_', " ") } else { said.to_owned() };
        let raw = BTreeMap::from([
            ("kind".to_owned(), self.kind.to_owned()),
            ("status".to_owned(), status.to_owned()),
        ]);
        let began = [text(value, self.since), text(value, "created_at")];
        let alert = Alert {
            fingerprint: fingerprint(&format!("{}:{key}", self.kind)),
            name: Untrusted::new(name),
            severity: self.rank,
            state,
            summary: Untrusted::new(&summary),
            labels: shown_labels(&raw),
            started_at: began.iter().find_map(|time| past(time, now)),
            links: links([text(value, "shortlink")]),
        };
        Found { alert, raw }
    }
}
