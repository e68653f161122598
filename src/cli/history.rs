//! What became of releases, and whether a rollback would work right now.
//!
//! Decides how they are printed and the exit code of `ready`. Never calls ready what is not known.
//! Contract: `ready` ends with 0 only while every check is known, good and fresh; 1 when one is
//! bad, 3 when one is not known.

use std::time::Duration;

use engine::history::{Goal, History, Objective, objectives};
use engine::snapshot::{PastRelease, ServiceView, Snapshot, SourceView};
use engine::types::Now;
use engine::words;
use serde_json::{Value, json};

use crate::cli::operate::service_of;
use crate::cli::{Exit, Global, UNAVAILABLE, USAGE, complain, journal, print, wait_for};
use crate::io::clock;
use crate::io::journal::sqlite;

/// As long as `status` waits for the first answers.
const ANSWERS_PATIENCE: Duration = Duration::from_secs(10);

#[derive(clap::Args)]
pub struct Args {
    /// Of this service alone
    service: Option<String>,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// One service as it is when every source has answered once.
pub fn service(name: &str, global: &Global) -> Result<ServiceView, Exit> {
    one(&answered(global)?, name)
}

/// Every release of it that is on record, newest first; a client is sent the newest alone.
pub fn whole(service: &ServiceView, global: &Global) -> Result<Vec<PastRelease>, Exit> {
    let mut history = History::whole(&service.name);
    sqlite::entries(&journal::directory(global)?, |entry| history.apply(entry))
        .map_err(|failure| Exit::new(1, failure.text.to_string()))?;
    let mut past = history.views(usize::MAX);
    // What the journal could not take yet.
    let known = |own: &&PastRelease| past.iter().any(|past| past.id == own.id);
    let late: Vec<PastRelease> =
        service.history.iter().filter(|own| !known(own)).cloned().collect();
    past.splice(..0, late);
    Ok(past)
}

fn one(snapshot: &Snapshot, name: &str) -> Result<ServiceView, Exit> {
    service_of(snapshot, name).cloned().ok_or_else(|| {
        let names: Vec<&str> = snapshot.services.iter().map(|own| own.name.as_str()).collect();
        Exit::new(USAGE, format!("no service {name}; there are {}", names.join(", ")))
    })
}

/// The services asked for.
fn look(args: &Args, global: &Global) -> Result<Vec<ServiceView>, Exit> {
    let snapshot = answered(global)?;
    let Some(name) = &args.service else { return Ok(snapshot.services().cloned().collect()) };
    Ok(vec![one(&snapshot, name)?])
}

fn answered(global: &Global) -> Result<Snapshot, Exit> {
    let mut link = global.link()?;
    let whole = wait_for(&mut link, ANSWERS_PATIENCE, |snapshot: &Snapshot| {
        let is_done = |source: &SourceView| !source.is_awaited();
        snapshot.sources().all(is_done).then(|| snapshot.clone())
    });
    whole
        .or_else(|| link.snapshot())
        .ok_or_else(|| Exit::new(UNAVAILABLE, "the engine shows nothing"))
}

pub fn releases(args: &Args, global: &Global) -> Result<u8, Exit> {
    let services = look(args, global)?;
    let now = clock::now().wall;
    if args.json {
        let services: Vec<Value> = services
            .iter()
            .map(|service| {
                let releases: Vec<Value> = service.history.iter().map(past).collect();
                let met = objectives(&measured(service, global), now);
                let objectives: Vec<Value> = met.iter().map(objective).collect();
                json!({ "name": service.name, "releases": releases, "objectives": objectives })
            })
            .collect();
        return print(&format!("{:#}\n", json!({ "services": services })));
    }
    let mut out = String::new();
    for service in &services {
        out += &format!("{}\n", service.name);
        for past in &service.history {
            out += &row(past);
        }
        out += &goals(&objectives(&measured(service, global), now));
    }
    print(&out)
}

/// What the objectives are computed from: a busy day has more releases than a client is sent.
fn measured(service: &ServiceView, global: &Global) -> Vec<PastRelease> {
    whole(service, global).unwrap_or_else(|exit| {
        let (name, why) = (&service.name, exit.why);
        complain(&format!("objectives of {name} are of its newest releases alone: {why}"));
        service.history.clone()
    })
}

fn took(past: &PastRelease) -> Duration {
    (past.ended - past.started).to_std().unwrap_or_default()
}

fn seconds(span: Duration) -> f64 {
    span.as_secs_f64()
}

fn past(past: &PastRelease) -> Value {
    json!({
        "id": past.id,
        "version": past.version,
        "plan": past.plan,
        "kind": past.kind,
        "user": past.user,
        "started": past.started,
        "ended": past.ended,
        "took_s": seconds(took(past)),
        "result": past.result,
        "rollback_took_s": past.rollback_took.map(seconds),
        "down_s": past.down.map(seconds),
        "bad": past.bad,
    })
}

fn row(past: &PastRelease) -> String {
    let at = past.started.format("%Y-%m-%d %H:%M:%SZ");
    let rollback = past
        .rollback_took
        .map_or_else(String::new, |span| format!(", traffic back in {}", words::span(span)));
    let bad = if past.bad { ", marked bad" } else { "" };
    format!(
        "  r{:<4} {at}  {:<16} {:<12} {:>7}  {} by {}{rollback}{bad}\n",
        past.id,
        past.version,
        past.result.word(),
        words::span(took(past)),
        past.plan,
        past.user
    )
}

fn objective(objective: &Objective) -> Value {
    json!({
        "objective": objective.goal.words(),
        "window_s": objective.window.as_secs(),
        "releases": objective.counted,
        "value": objective.value,
        "met": objective.met,
    })
}

/// A line for each goal, with every window that has something to count.
fn goals(objectives: &[Objective]) -> String {
    let mut out = String::new();
    for goal in Goal::ALL {
        let windows: Vec<String> = objectives
            .iter()
            .filter(|objective| objective.goal == goal)
            .filter_map(|objective| {
                let met = if objective.met? { "met" } else { "MISSED" };
                let value = match (goal, objective.value) {
                    (Goal::Success, Some(percent)) => format!(" {percent:.0} %"),
                    (Goal::DeployTime | Goal::RollbackTime | Goal::Downtime, Some(seconds)) => {
                        format!(" {}", words::span(Duration::from_secs_f64(seconds)))
                    }
                    (_, None) => String::new(),
                };
                let (count, window) = (objective.counted, words::span(objective.window));
                Some(format!("{met}{value} of {count} in {window}"))
            })
            .collect();
        let windows =
            if windows.is_empty() { "none to count".to_owned() } else { windows.join(", ") };
        out += &format!("  {}: {windows}\n", goal.words());
    }
    out
}

pub fn ready(args: &Args, global: &Global) -> Result<u8, Exit> {
    let services = look(args, global)?;
    let now = clock::now();
    // Where nothing can be moved, there is nothing to be ready for, unless it is asked by name.
    let asked = |service: &&ServiceView| service.route.is_some() || args.service.is_some();
    let services: Vec<&ServiceView> = services.iter().filter(asked).collect();
    let lamps: Vec<Option<bool>> =
        services.iter().map(|service| service.readiness.summary(now).0).collect();
    if args.json {
        let services: Vec<Value> = services.iter().map(|service| document(service, now)).collect();
        print(&format!("{:#}\n", json!({ "services": services })))?;
    } else {
        let lines = services.iter().map(|service| lines(service, now));
        print(&lines.collect::<String>())?;
    }
    Ok(exit_code(&lamps))
}

/// 1 when one is not ready, else 3 when one is not known; none at all is not known, too.
fn exit_code(lamps: &[Option<bool>]) -> u8 {
    if lamps.contains(&Some(false)) {
        1
    } else if lamps.is_empty() || lamps.contains(&None) {
        3
    } else {
        0
    }
}

fn document(service: &ServiceView, now: Now) -> Value {
    let (ready, sentence) = service.readiness.summary(now);
    let checks: Vec<Value> = service
        .readiness
        .checks
        .iter()
        .map(|check| {
            json!({
                "name": check.name,
                "ok": check.ok_at(now),
                "why": check.why,
                "at": check.at.map(|at| at.wall),
            })
        })
        .collect();
    json!({ "name": service.name, "ready": ready, "sentence": sentence, "checks": checks })
}

fn lines(service: &ServiceView, now: Now) -> String {
    let (_, sentence) = service.readiness.summary(now);
    let mut out = format!("{}: {sentence}\n", service.name);
    for check in &service.readiness.checks {
        let word = match check.ok_at(now) {
            Some(true) => "yes",
            Some(false) => "no",
            None => "unknown",
        };
        let age = check.at.map(|at| format!(", {} ago", words::span(at.age(now))));
        out += &format!("  {word:<8} {}: {}{}\n", check.name, check.why, age.unwrap_or_default());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_is_only_what_is_known_to_be() {
        let check = |lamps: &[Option<bool>], code: u8| assert_eq!(exit_code(lamps), code);
        check(&[Some(true), Some(true)], 0);
        check(&[Some(true), None, Some(false)], 1);
        check(&[Some(true), None], 3);
        check(&[], 3);
    }

    #[test]
    fn goals_are_told_only_where_there_is_something_to_count() {
        let started = chrono::DateTime::UNIX_EPOCH;
        let past = PastRelease {
            id: 1,
            version: "2.0".to_owned(),
            plan: "default".to_owned(),
            kind: engine::record::ReleaseKind::Deploy,
            user: engine::types::Untrusted::new("ann"),
            started,
            ended: started + chrono::TimeDelta::seconds(600),
            result: engine::record::ReleaseResult::RolledBack,
            rollback_took: Some(Duration::from_secs(400)),
            down: Some(Duration::from_secs(8)),
            bad: false,
        };
        let text = goals(&objectives(&[past], started + chrono::TimeDelta::seconds(1200)));
        let expected = "  deployment success above 95 %: MISSED 0 % of 1 in 30 min, MISSED 0 % of \
                        1 in 24 h\n  deployment below 15 min: none to count\n  rollback below 5 \
                        min: MISSED 6 min of 1 in 30 min, MISSED 6 min of 1 in 24 h\n  no \
                        downtime: MISSED 8 s of 1 in 30 min, MISSED 8 s of 1 in 24 h\n";
        assert_eq!(text, expected);
    }
}
