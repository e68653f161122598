//! The checks of a service from the command line: asked for, and followed to their end.
//!
//! Decides what is printed while they run. Never starts a release. Contract: 0 only when a release
//! may begin; 1 when it may not, or when the run was refused.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::Args;
use engine::command::{Command, Reply, Submission};
use engine::snapshot::{CheckState, CheckView, ValidationView};
use engine::types::{Actor, Untrusted};
use engine::validation::RUN_MAX;
use engine::words;
use serde_json::json;

use crate::cli::operate::service_of;
use crate::cli::{Exit, Global, UNAVAILABLE, print, submission_id, wait_for};

/// The run's own limit, and what a loaded machine adds.
const PATIENCE: Duration = RUN_MAX.saturating_add(Duration::from_secs(30));

#[derive(Args)]
pub struct Validate {
    service: String,
    /// What would be released; for checks that name a `{version}`
    #[arg(long, value_name = "VERSION", default_value = "")]
    version: String,
    /// One JSON document at the end, and nothing else
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Validate, global: &Global) -> Result<u8, Exit> {
    let name = &args.service;
    let command = Command::Validate { service: name.clone(), version: args.version.clone() };
    let mut link = global.link()?;
    let submission = Submission {
        id: submission_id(),
        seen: Untrusted::default(),
        expected: None,
        command,
        // The engine replaces it by what the kernel says.
        actor: Actor::engine(),
        read_only: global.read_only,
    };
    let reply = link
        .submit(&submission)
        .map_err(|failure| Exit::new(UNAVAILABLE, failure.text.to_string()))?;
    if let Reply::Refused { why, .. } = reply {
        return Err(Exit::new(1, why.to_string()));
    }
    let mut told = BTreeSet::new();
    let ended = wait_for(&mut link, PATIENCE, |snapshot| {
        let view = service_of(snapshot, name)?.validation.as_ref()?;
        if !view.submissions.contains(&submission.id) {
            return None;
        }
        if !args.json {
            tell(view, &mut told);
        }
        view.can_deploy.map(|_| view.clone())
    });
    let Some(view) = ended else {
        return Err(Exit::new(1, "the checks have no result: the engine may have been restarted"));
    };
    let can_deploy = view.can_deploy == Some(true);
    if args.json {
        print(&format!("{}\n", document(name, &view)))?;
    } else {
        print(&summary(&view))?;
    }
    Ok(u8::from(!can_deploy))
}

/// A line for each check that ended since the last time.
fn tell(view: &ValidationView, told: &mut BTreeSet<String>) {
    for check in &view.checks {
        let over = matches!(check.state, CheckState::Passed | CheckState::Failed);
        if over && told.insert(check.name.clone()) {
            let tries =
                if check.tries > 1 { format!(", {} tries", check.tries) } else { String::new() };
            let took = check.took.map_or_else(|| "not begun".to_owned(), words::span);
            let detail = check.detail.to_string().replace('\u{240a}', "\n            ");
            // A reader that went away does not stop the run.
            let _ =
                print(&format!("  {:<9} {} ({took}{tries}): {detail}\n", word(check), check.name));
        }
    }
}

fn word(check: &CheckView) -> &'static str {
    match check.state {
        CheckState::Waiting => "waiting",
        CheckState::Running => "running",
        CheckState::Retrying => "retrying",
        CheckState::Passed => "passed",
        CheckState::Failed if check.critical => "FAILED",
        CheckState::Failed => "warning",
    }
}

/// Passed, failed, warnings.
fn counts(view: &ValidationView) -> [usize; 3] {
    let failed = |critical: bool| {
        let own =
            |check: &&CheckView| check.state == CheckState::Failed && check.critical == critical;
        view.checks.iter().filter(own).count()
    };
    let passed = view.checks.iter().filter(|check| check.state == CheckState::Passed).count();
    [passed, failed(true), failed(false)]
}

fn took(view: &ValidationView) -> Option<Duration> {
    Some(view.started.age(view.ended?))
}

fn summary(view: &ValidationView) -> String {
    let [passed, failed, warnings] = counts(view);
    let word = if view.can_deploy == Some(true) { "CAN DEPLOY" } else { "CANNOT DEPLOY" };
    let took = took(view).map_or(String::new(), |took| format!(" in {}", words::span(took)));
    format!("{word}: {passed} passed, {failed} failed, {warnings} warnings{took}\n")
}

fn document(service: &str, view: &ValidationView) -> serde_json::Value {
    let millis = |span: Option<Duration>| span.map(|span| u64::try_from(span.as_millis()).ok());
    let [passed, failed, warnings] = counts(view);
    let checks = view.checks.iter().map(|check| {
        json!({
            "name": check.name,
            "critical": check.critical,
            "state": check.state,
            "tries": check.tries,
            "took_ms": millis(check.took),
            "detail": check.detail,
        })
    });
    json!({
        "service": service,
        "version": view.version,
        "passed": passed,
        "failed": failed,
        "warnings": warnings,
        "can_deploy": view.can_deploy,
        "took_ms": millis(took(view)),
        "ended": view.ended.map(|at| at.wall),
        "checks": checks.collect::<Vec<_>>(),
    })
}
