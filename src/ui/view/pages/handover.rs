//! The handover: what the next one must know.
//!
//! Decides what is open, and what ends by itself. Never tells what ended before as still to come.
//! Contract: every line has its time.

use chrono::{DateTime, TimeDelta, Utc};
use engine::reading::{AlertState, SILENCE_HOURS};
use engine::record::{OperationResult, ReleaseState};
use engine::snapshot::{Phase, RouteState, ServiceView, Snapshot, TriggerState};
use engine::trigger::armed_again;
use ratatui::text::Line;

use super::{Told, line, reach, span};
use crate::ui::guard::in_flight;
use crate::ui::theme::Role;
use crate::ui::view::{Scene, time_of_day};
use crate::ui::words;

/// A certificate that is valid for less than this is told.
const CERTIFICATE: TimeDelta = TimeDelta::days(14);
/// The kind of the feeds in which an acknowledgement is a silence.
const ALERTMANAGER: &str = "alertmanager";

/// Since when it tells what happened.
pub fn since(scene: Scene<'_>) -> DateTime<Utc> {
    scene.ui.since.from.unwrap_or_else(|| scene.now.wall - span(scene.ui.window.span()))
}

/// What the next one must know: what is open, what ends soon, what happened.
pub fn lines(scene: Scene<'_>, picture: &Snapshot) -> Vec<Line<'static>> {
    let theme = scene.theme;
    let mut lines = Vec::new();
    let mut part = |title: &str, found: Vec<String>, none: &str| {
        lines.push(Line::styled(title.to_owned(), theme.style(Role::Strong)));
        if found.is_empty() {
            lines.push(Line::styled(format!("  {none}"), theme.style(Role::Dim)));
        }
        lines.extend(
            found
                .into_iter()
                .map(|text| Line::styled(format!("  {text}"), theme.style(Role::Text))),
        );
    };
    part("OPEN NOW", open(scene, picture), "nothing");
    part("ENDS BY ITSELF, soonest first", expiring(scene, picture), "nothing");
    lines.push(Line::styled("WHAT HAPPENED", theme.style(Role::Strong)));
    let since = since(scene);
    let told = picture.journal.iter().filter(|line| line.kind != "look" && line.at >= since);
    let mut told: Vec<Told> = told
        .map(|line| Told {
            at: line.at,
            who: line.user.display().to_owned(),
            text: format!("{}: {}", line.kind, line.text),
        })
        .collect();
    told.sort_by_key(|told| std::cmp::Reverse(told.at));
    lines.extend(told.iter().map(|told| line(scene, told)));
    lines.extend(reach(scene, picture, since));
    lines
}

fn open(scene: Scene<'_>, picture: &Snapshot) -> Vec<String> {
    let mut found = Vec::new();
    for service in picture.services.iter() {
        let name = &service.name;
        if let Some(release) = in_flight(service) {
            let state = release.state.word();
            let (id, what) = (release.id, release.what());
            found.push(format!("{name} r{id} {what} {state}: {}", release.sentence));
        }
        if let Some(operation) = &service.operation {
            let unfinished = match operation.phase {
                Phase::Accepted
                | Phase::Applying
                | Phase::Recording
                | Phase::Ended(OperationResult::Partial | OperationResult::Unknown) => true,
                Phase::Ended(
                    OperationResult::Verified
                    | OperationResult::Superseded
                    | OperationResult::Refused,
                ) => false,
            };
            if unfinished {
                let phase = operation.phase.word();
                found.push(format!("{name} {} {phase}: {}", operation.verb, operation.sentence));
            }
        }
        let state = service.route.as_ref().map(|route| route.state);
        if state == Some(RouteState::Drifted) {
            found.push(format!("{name} DRIFTED: its routers do not show what was set"));
        }
        let off = service.triggers.iter().filter(|rule| rule.state != TriggerState::Armed);
        found.extend(off.map(|rule| format!("{name} rule {}: {}", rule.rule, rule.sentence)));
    }
    found.extend(picture.incidents.open.iter().map(|incident| {
        let has = &incident.triage.assignee;
        let aside = incident.triage.snoozed_until.filter(|until| *until > scene.now.wall);
        let aside = aside.map(|until| format!("aside until {}", time_of_day(scene, until)));
        let owner = (!has.is_empty()).then(|| format!("{has} has it"));
        let state = match incident.state {
            AlertState::Triggered => None,
            AlertState::Acknowledged => Some("acknowledged".to_owned()),
            AlertState::Resolved => Some("resolved".to_owned()),
        };
        let known: Vec<String> = state.into_iter().chain(owner).chain(aside).collect();
        let state = if known.is_empty() { "NOBODY HAS IT".to_owned() } else { known.join(", ") };
        let age = words::age(incident.first_seen.age(scene.now));
        let severity = incident.severity.word();
        format!("{severity} {} {state} for {age}: {}", incident.name, incident.summary)
    }));
    found
}

/// What ends, with the time that is left; soonest first.
fn expiring(scene: Scene<'_>, picture: &Snapshot) -> Vec<String> {
    let mut ends: Vec<(DateTime<Utc>, String)> = picture
        .head
        .freezes
        .iter()
        .map(|freeze| {
            let what = freeze.service.as_deref().unwrap_or("every service");
            (freeze.until, format!("freeze of {what} by {}: {}", freeze.user, freeze.reason))
        })
        .collect();
    for service in picture.services.iter() {
        ends.extend(service_ends(service, scene));
    }
    ends.extend(incident_ends(picture));
    ends.retain(|(at, _)| *at > scene.now.wall);
    ends.sort();
    ends.into_iter()
        .map(|(at, text)| {
            let left = (at - scene.now.wall).to_std().unwrap_or_default();
            format!("{} (in {}) {text}", time_of_day(scene, at), words::age(left))
        })
        .collect()
}

fn service_ends(service: &ServiceView, scene: Scene<'_>) -> Vec<(DateTime<Utc>, String)> {
    let name = &service.name;
    let mut ends = Vec::new();
    if let Some(release) = in_flight(service) {
        let id = release.id;
        if let Some(question) = &release.question {
            ends.push((question.until.wall, format!("{name} r{id} asks: {}", question.text)));
        }
        let canary = release.canary.as_ref();
        if let Some(until) = canary.and_then(|canary| canary.wait_until) {
            let held = if release.state == ReleaseState::Held { "held" } else { "waits" };
            ends.push((
                until.wall,
                format!("{name} r{id} {held} for evidence, then holds and asks"),
            ));
        }
        if let Some(until) = canary.and_then(|canary| canary.bake_until) {
            ends.push((until.wall, format!("{name} r{id} bakes, then is finalised")));
        }
    }
    let off = service.triggers.iter().filter(|rule| rule.state == TriggerState::Off);
    ends.extend(off.filter_map(|rule| {
        let text = format!("{name} rule {} is armed again", rule.rule);
        Some((armed_again(rule, scene.now.wall)?, text))
    }));
    let checked = service.validation.as_ref().and_then(|it| Some((it.ended?, it)));
    if let Some((ended, validation)) = checked.filter(|(_, it)| it.can_deploy == Some(true)) {
        let until = ended.wall + span(validation.fresh_for);
        ends.push((until, format!("{name} checks of {} count", validation.version)));
    }
    let soon = |at: &DateTime<Utc>| *at - scene.now.wall < CERTIFICATE;
    for probe in &service.probes {
        if let Some(at) = probe.certificate_expires.filter(soon) {
            ends.push((at, format!("{name} certificate of {}", probe.name)));
        }
    }
    ends
}

/// What was put aside, and the silences of ours as far as the journal's tail reaches.
fn incident_ends(picture: &Snapshot) -> Vec<(DateTime<Utc>, String)> {
    let mut ends = Vec::new();
    for incident in &picture.incidents.open {
        let (name, key) = (&incident.name, &incident.key);
        if let Some(until) = incident.triage.snoozed_until {
            ends.push((until, format!("{name} ({key}) is not put aside any more")));
        }
        let feed = format!("{} feed", incident.source);
        let silences = picture.sources.iter().any(|it| it.name == feed && it.kind == ALERTMANAGER);
        let taken = format!("{key}: done");
        let ours = picture
            .journal
            .iter()
            .filter(|line| silences && line.kind == "acknowledged" && line.text.display() == taken);
        if let Some(at) = ours.map(|line| line.at).max() {
            let until = at + TimeDelta::hours(SILENCE_HOURS);
            ends.push((until, format!("{name} ({key}): our silence in the Alertmanager")));
        }
    }
    ends
}
