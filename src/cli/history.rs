//! What became of releases, and whether a rollback would work right now.
//!
//! Decides how they are printed and the exit code of `ready`. Never calls ready what is not known.
//! Contract: `ready` ends with 0 only while every check is known, good and fresh; 1 when one is
//! bad, 3 when one is not known.

use std::time::Duration;

use engine::record::{ReleaseKind, ReleaseResult};
use engine::snapshot::{PastRelease, ServiceView, Snapshot, SourceView};
use engine::types::Now;
use engine::words;
use serde_json::{Value, json};

use crate::cli::operate::service_of;
use crate::cli::{Exit, Global, UNAVAILABLE, USAGE, print, wait_for};
use crate::io::clock;

/// As long as `status` waits for the first answers.
const ANSWERS_PATIENCE: Duration = Duration::from_secs(10);

/// The objectives of a release: this share of them ends good, each within its time.
const GOOD_PERCENT: f64 = 95.0;
const RELEASE_WITHIN: Duration = Duration::from_mins(15);
const ROLLBACK_WITHIN: Duration = Duration::from_mins(5);

#[derive(clap::Args)]
pub struct Args {
    /// Of this service alone
    service: Option<String>,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// The services asked for, as they are when every source has answered once.
fn look(args: &Args, global: &Global) -> Result<Vec<ServiceView>, Exit> {
    let mut link = global.link()?;
    let whole = wait_for(&mut link, ANSWERS_PATIENCE, |snapshot: &Snapshot| {
        let answered = |source: &SourceView| source.success.is_some() || !source.error.is_empty();
        snapshot.sources.iter().all(answered).then(|| snapshot.clone())
    });
    let Some(snapshot) = whole.or_else(|| link.snapshot()) else {
        return Err(Exit::new(UNAVAILABLE, "the engine shows nothing"));
    };
    let Some(name) = &args.service else { return Ok(snapshot.services.to_vec()) };
    let Some(service) = service_of(&snapshot, name) else {
        let names: Vec<&str> = snapshot.services.iter().map(|own| own.name.as_str()).collect();
        return Err(Exit::new(USAGE, format!("no service {name}; there are {}", names.join(", "))));
    };
    Ok(vec![service.clone()])
}

pub fn releases(args: &Args, global: &Global) -> Result<u8, Exit> {
    let services = look(args, global)?;
    if args.json {
        let services: Vec<Value> = services
            .iter()
            .map(|service| {
                let releases: Vec<Value> = service.history.iter().map(past).collect();
                let objectives = Objectives::of(&service.history).json();
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
        out += &Objectives::of(&service.history).text();
    }
    print(&out)
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

/// How the deploys of a history keep the objectives; `None` where there were none to count.
struct Objectives {
    deploys: usize,
    good_percent: Option<f64>,
    /// The longest of the good ones, and of the ways back.
    release: Option<Duration>,
    rollback: Option<Duration>,
}

impl Objectives {
    fn of(history: &[PastRelease]) -> Objectives {
        let deploys = || history.iter().filter(|past| past.kind == ReleaseKind::Deploy);
        let good = || deploys().filter(|past| past.result == ReleaseResult::Good);
        let count = deploys().count();
        #[expect(clippy::cast_precision_loss, reason = "a history is short")]
        let good_percent = (count > 0).then(|| 100.0 * good().count() as f64 / count as f64);
        Objectives {
            deploys: count,
            good_percent,
            release: good().map(took).max(),
            rollback: history.iter().filter_map(|past| past.rollback_took).max(),
        }
    }

    fn json(&self) -> Value {
        let within = |found: Option<Duration>, most: Duration| {
            json!({
                "longest_s": found.map(seconds),
                "objective_s": seconds(most),
                "kept": found.map(|found| found < most),
            })
        };
        json!({
            "deploys": self.deploys,
            "good": {
                "percent": self.good_percent,
                "objective_percent": GOOD_PERCENT,
                "kept": self.good_percent.map(|percent| percent > GOOD_PERCENT),
            },
            "release": within(self.release, RELEASE_WITHIN),
            "rollback": within(self.rollback, ROLLBACK_WITHIN),
        })
    }

    fn text(&self) -> String {
        let Some(percent) = self.good_percent else { return "  no release yet\n".to_owned() };
        let kept = |kept: bool| if kept { "kept" } else { "MISSED" };
        let mut out = format!(
            "  objectives: {percent:.0} % of {} good, above {GOOD_PERCENT:.0} %: {}",
            self.deploys,
            kept(percent > GOOD_PERCENT)
        );
        for (name, found, most) in [
            ("longest good release", self.release, RELEASE_WITHIN),
            ("longest rollback", self.rollback, ROLLBACK_WITHIN),
        ] {
            if let Some(found) = found {
                let (took, most_words) = (words::span(found), words::span(most));
                out += &format!("; {name} {took}, below {most_words}: {}", kept(found < most));
            }
        }
        out + "\n"
    }
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

    fn past(result: ReleaseResult, seconds: i64, rollback: Option<u64>) -> PastRelease {
        let started = chrono::DateTime::UNIX_EPOCH;
        PastRelease {
            id: 1,
            version: "2.0".to_owned(),
            plan: "default".to_owned(),
            kind: ReleaseKind::Deploy,
            user: engine::types::Untrusted::new("ann"),
            started,
            ended: started + chrono::TimeDelta::seconds(seconds),
            result,
            rollback_took: rollback.map(Duration::from_secs),
            bad: false,
        }
    }

    #[test]
    fn objectives_are_told_only_where_there_is_something_to_count() {
        assert_eq!(Objectives::of(&[]).text(), "  no release yet\n");
        let history =
            [past(ReleaseResult::Good, 600, None), past(ReleaseResult::RolledBack, 90, Some(400))];
        let text = Objectives::of(&history).text();
        assert!(text.contains("50 % of 2 good, above 95 %: MISSED"), "{text}");
        assert!(text.contains("longest good release 10 min, below 15 min: kept"), "{text}");
        assert!(text.contains("longest rollback 6 min, below 5 min: MISSED"), "{text}");
    }
}
