//! The steps of a release: how far each is, and how long it took beside what was expected.
//!
//! Decides which a person reads: those under way and those that have an estimate. Never makes up a
//! time. Contract: the JSON has all of them, as `docs/status.schema.json` says.

use std::time::Duration;

use engine::snapshot::{ReleaseView, StepState, StepView};
use engine::types::Now;
use serde_json::{Value, json};

use super::millis;

pub fn json(step: &StepView, now: Now) -> Value {
    json!({
        "name": step.name,
        "state": step.state,
        "took_ms": millis(took(step, now)),
        "estimate_ms": millis(step.estimate),
    })
}

/// So far, while it is under way.
fn took(step: &StepView, now: Now) -> Option<Duration> {
    step.started.map(|started| started.age(step.ended.unwrap_or(now)))
}

pub fn plain(release: &ReleaseView, now: Now) -> String {
    let told = |step: &&StepView| step.state == StepState::Running || step.estimate.is_some();
    let seconds = |span: Duration| format!("{:.1} s", span.as_secs_f64());
    let lines = release.steps.iter().filter(told).map(|step| {
        let took = took(step, now).map_or_else(|| "-".to_owned(), seconds);
        let about = step.estimate.map(|span| format!(" of about {}", seconds(span)));
        format!("    {:<8} {}: {took}{}\n", word(step.state), step.name, about.unwrap_or_default())
    });
    lines.collect()
}

fn word(state: StepState) -> &'static str {
    match state {
        StepState::Waiting => "waiting",
        StepState::Running => "running",
        StepState::Done => "done",
        StepState::Failed => "failed",
        StepState::Undone => "undone",
    }
}
