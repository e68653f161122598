//! How each of the sandbox's services words its health.
//!
//! Decides how healthy a version is, from what it served lately and from its database. Never
//! invents a figure. Contract: the body and the HTTP status say the same.

use hyper::StatusCode;
use serde_json::{Value, json};

use super::Fault;
use super::serve::{self, Reply};
use super::world::{Format, Service, World};

/// Above this share of errors a version calls itself impaired.
pub const ERROR_PERCENT_MAX: f64 = 5.0;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Health {
    Good,
    Impaired,
    Bad,
}

/// The answer of `/health`.
pub fn answer(world: &World, service: &Service, place: usize) -> Reply {
    let version = &service.versions[place];
    let errors = version.recent().error_percent;
    let database = !world.is_on(Fault::DatabaseDown);
    let health = if service.needs_database && !database {
        Health::Bad
    } else if errors.is_some_and(|percent| percent > ERROR_PERCENT_MAX) {
        Health::Impaired
    } else {
        Health::Good
    };
    let body = match service.format {
        Format::HealthJson => health_json(service.name, version.name, health, errors),
        Format::AspNet => asp_net(health, errors),
        Format::Spring => spring(health, database),
    };
    let status = match health {
        Health::Good | Health::Impaired => StatusCode::OK,
        Health::Bad => StatusCode::SERVICE_UNAVAILABLE,
    };
    match service.format {
        Format::HealthJson => serve::reply(status, "application/health+json", body.to_string()),
        Format::AspNet | Format::Spring => serve::json(status, &body),
    }
}

fn health_json(service: &str, version: &str, health: Health, errors: Option<f64>) -> Value {
    let status = match health {
        Health::Good => "pass",
        Health::Impaired => "warn",
        Health::Bad => "fail",
    };
    let mut check = json!({ "componentType": "component", "observedUnit": "percent" });
    check["status"] = status.into();
    if let Some(percent) = errors {
        check["observedValue"] = percent.into();
    }
    let mut body = json!({ "status": status, "releaseId": version, "serviceId": service });
    body["output"] = described(health, errors).into();
    body["checks"] = json!({ "requests:errors": [check] });
    body
}

fn asp_net(health: Health, errors: Option<f64>) -> Value {
    let status = match health {
        Health::Good => "Healthy",
        Health::Impaired => "Degraded",
        Health::Bad => "Unhealthy",
    };
    json!({
        "status": status,
        "totalDuration": "00:00:00.0012000",
        "entries": { "requests": {
            "data": {},
            "description": described(health, errors),
            "duration": "00:00:00.0011000",
            "status": status,
            "tags": ["ready"],
        } },
    })
}

fn spring(health: Health, database: bool) -> Value {
    let status = match health {
        Health::Good => "UP",
        // Spring has no word of its own between these two; teams add one.
        Health::Impaired => "DEGRADED",
        Health::Bad => "DOWN",
    };
    let db = if database { "UP" } else { "DOWN" };
    json!({
        "status": status,
        "components": { "db": { "status": db, "details": { "database": "PostgreSQL" } } },
    })
}

fn described(health: Health, errors: Option<f64>) -> String {
    match (health, errors) {
        (Health::Good, _) | (Health::Impaired, None) => String::new(),
        (Health::Impaired, Some(percent)) => format!("{percent:.0} % of the requests failed"),
        (Health::Bad, _) => "the database does not answer".to_owned(),
    }
}
