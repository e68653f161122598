//! Quarterdeck's own shape, for whatever has no adapter: a file or a URL (`docs/feeds.md`).
//!
//! Decides nothing beyond defaults. Never takes a page without `incidents` for a quiet one.
//! Contract: pure; an entry needs an `id` or a `name`, the rest is optional.

use chrono::{DateTime, Utc};
use engine::reading::{Alert, AlertState};
use engine::types::Untrusted;
use serde_json::Value;

use super::{
    Found, each, fingerprint, fingerprint_of, hash_of, json_of, links, list, past, raw_labels,
    severity, shown_labels, text,
};

pub(super) fn parse(body: &[u8], now: DateTime<Utc>) -> Result<Vec<Found>, String> {
    each(list(&json_of(body)?, "incidents")?, now, one)
}

/// One entry of the list; `None` when it is over.
pub(super) fn one(
    incident: &Value,
    place: usize,
    now: DateTime<Utc>,
) -> Result<Option<Found>, String> {
    let id = incident.get("id").filter(|id| !id.is_null()).map(super::plain);
    let id = id.unwrap_or_default();
    let name = text(incident, "name");
    if id.is_empty() && name.is_empty() {
        return Err(format!("incident {place}: neither an id nor a name"));
    }
    let state = match text(incident, "state") {
        "resolved" => return Ok(None),
        "acknowledged" => AlertState::Acknowledged,
        _ => AlertState::Triggered,
    };
    let raw = raw_labels(incident.get("labels"));
    let urls = incident.get("links").and_then(Value::as_array).into_iter().flatten();
    let alert = Alert {
        fingerprint: if id.is_empty() {
            hash_of([name, &fingerprint_of(&raw)])
        } else {
            fingerprint(&id)
        },
        name: Untrusted::new(if name.is_empty() { &id } else { name }),
        severity: severity(text(incident, "severity")),
        state,
        summary: Untrusted::new(text(incident, "summary")),
        labels: shown_labels(&raw),
        started_at: past(text(incident, "started_at"), now),
        links: links(urls.filter_map(Value::as_str)),
    };
    Ok(Some(Found { alert, raw }))
}
