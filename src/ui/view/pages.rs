//! The pages over the panels: what changed, on one axis of time; and the handover.
//!
//! Decides what counts as a change, and what expires. Never says more than the picture shows: what
//! the journal's tail does not reach back to is not told as if nothing had happened. Contract:
//! every line has its time.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use engine::reading::AlertState;
use engine::record::{OperationResult, ReleaseState};
use engine::snapshot::{Phase, RouteState, ServiceView, Snapshot, TriggerState};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::{Scene, cell, overlay, put, time_of_day, zone_name};
use crate::ui::guard::in_flight;
use crate::ui::keymap::Act;
use crate::ui::theme::Role;
use crate::ui::trend::Trends;
use crate::ui::{Page, words};

/// Names of the rows, and of what stands left of the graph.
const LABEL: usize = 9;
/// Rows of the graph.
const GRAPH_MAX: u16 = 8;
/// A certificate that is valid for less than this is told.
const CERTIFICATE: TimeDelta = TimeDelta::days(14);

pub fn draw(buffer: &mut Buffer, area: Rect, scene: Scene<'_>, page: Page, scroll: usize) {
    let theme = scene.theme;
    let Some(picture) = scene.ui.shown(scene.live) else { return };
    let window = scene.ui.window;
    let title = match page {
        Page::Changes => {
            let service = scene.ui.service.as_deref().unwrap_or("no service");
            format!(" what changed · {service} · last {} · {} ", window.word(), zone_name(scene))
        }
        Page::Handover => {
            let since = scene.now.wall - span(window.span());
            let since = time_of_day(scene, since);
            format!(" handover · since {since} (last {}) · {} ", window.word(), zone_name(scene))
        }
    };
    let title = Line::styled(title, theme.style(Role::Focus));
    let inside = overlay(buffer, area, theme, (area.width, area.height), title);
    let (top, lines) = match page {
        Page::Changes => (strip(buffer, inside, scene, picture), changes(scene, picture)),
        Page::Handover => (0, handover(scene, picture)),
    };
    let rows = inside.height.saturating_sub(top + 1);
    let last = lines.len().saturating_sub(usize::from(rows));
    for (row, line) in (top..top + rows).zip(lines.into_iter().skip(scroll.min(last))) {
        put(buffer, inside, row, line);
    }
    let key = |act| scene.ui.keymap.shown(act);
    let other = match page {
        Page::Changes => format!("{} handover", key(Act::Handover)),
        Page::Handover => format!("{} changes", key(Act::Changes)),
    };
    let hint = format!(
        "{} window  {other}  {} {} the past  {} closes",
        key(Act::Window),
        key(Act::Earlier),
        key(Act::Later),
        key(Act::Back)
    );
    let hint = Line::styled(hint, theme.style(Role::Dim));
    put(buffer, inside, inside.height.saturating_sub(1), hint);
}

fn span(span: Duration) -> TimeDelta {
    TimeDelta::from_std(span).unwrap_or(TimeDelta::MAX)
}

/// What a change is about, in the order of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About {
    Deploys,
    Splits,
    Flags,
    Config,
    Alerts,
}

const ROWS: [(About, &str); 5] = [
    (About::Deploys, "deploys"),
    (About::Splits, "splits"),
    (About::Flags, "flags"),
    (About::Config, "config"),
    (About::Alerts, "alerts"),
];

impl About {
    /// Of a line of the journal; `None` for what only looks.
    fn of(kind: &str) -> Option<About> {
        Some(match kind {
            "release" | "canary" | "step" | "answer" | "frozen" | "thawed" | "marked" => {
                About::Deploys
            }
            "intent" | "outcome" | "drift" | "split" => About::Splits,
            "config" | "started" => About::Config,
            "opened" | "resolved" | "incidents" | "trigger" | "acknowledged" | "escalated" => {
                About::Alerts
            }
            kind if kind.contains("flag") => About::Flags,
            _ => return None,
        })
    }
}

struct Change {
    at: DateTime<Utc>,
    about: About,
    who: String,
    text: String,
}

/// Everything in the window that changed something for the selected service, newest first.
fn found(scene: Scene<'_>, picture: &Snapshot) -> Vec<Change> {
    let since = scene.now.wall - span(scene.ui.window.span());
    let service = scene.ui.service.as_deref().unwrap_or_default();
    let other = |text: &str| {
        let names = picture.services.iter().map(|one| one.name.as_str());
        !text.contains(service)
            && names.filter(|name| *name != service).any(|name| text.contains(name))
    };
    let journal = picture.journal.iter().filter_map(|line| {
        let about = About::of(&line.kind)?;
        let text = line.text.display();
        (!other(text)).then(|| Change {
            at: line.at,
            about,
            who: line.user.display().to_owned(),
            text: format!("{}: {text}", line.kind),
        })
    });
    let incidents = picture.incidents.open.iter().chain(&picture.incidents.resolved);
    let alerts = incidents.map(|incident| Change {
        at: incident.started_at.unwrap_or(incident.first_seen.wall),
        about: About::Alerts,
        who: incident.source.clone(),
        text: format!("{} {}: {}", incident.severity.word(), incident.name, incident.summary),
    });
    let mut all: Vec<Change> = journal
        .chain(alerts)
        .filter(|change| change.at >= since && change.at <= scene.now.wall)
        .collect();
    all.sort_by_key(|change| std::cmp::Reverse(change.at));
    all
}

/// The latency, the axis, and a row of marks for each kind of change; says how many rows it took.
fn strip(buffer: &mut Buffer, at: Rect, scene: Scene<'_>, picture: &Snapshot) -> u16 {
    let theme = scene.theme;
    let rows = (at.height / 3).clamp(1, GRAPH_MAX);
    let wide = usize::from(at.width).saturating_sub(LABEL + 1);
    if wide < 10 || at.height < 12 {
        return 0;
    }
    let service = scene.ui.service.as_deref().unwrap_or_default();
    let values = scene.ui.trends.values(service, scene.ui.window, scene.now);
    let most = values.iter().flatten().fold(0.0_f64, |most, value| most.max(*value));
    // The newest value stands at the right edge.
    let at_column = |column: usize| -> Option<f64> {
        let from_right = (wide - 1 - column) * Trends::count() / wide;
        values.iter().rev().nth(from_right).copied().flatten()
    };
    let (steps, none) = theme.spark();
    for row in 0..rows {
        let label = match row {
            0 => words::millis((most > 0.0).then_some(most)),
            _ => String::new(),
        };
        let line: String = (0..wide)
            .map(|column| match at_column(column) {
                Some(value) => block(value / most.max(f64::MIN_POSITIVE), row, rows, steps),
                None if row + 1 == rows => none,
                None => ' ',
            })
            .collect();
        let spans = vec![
            cell(&label, LABEL, theme.style(Role::Dim)),
            Span::styled(line, theme.style(Role::Text)),
        ];
        put(buffer, at, row, Line::from(spans));
    }
    axis(buffer, at, rows, wide, scene);
    let changes = found(scene, picture);
    let window = span(scene.ui.window.span()).num_milliseconds().max(1);
    for (row, (about, name)) in (rows + 1..).zip(ROWS) {
        let mut marks = vec![' '; wide];
        for change in changes.iter().filter(|change| change.about == about) {
            let ago = (scene.now.wall - change.at).num_milliseconds().clamp(0, window);
            let from_right = usize::try_from(ago).unwrap_or_default() * wide
                / usize::try_from(window).unwrap_or(1);
            let mark = theme.pick("▲", "^").chars().next().unwrap_or('^');
            if let Some(place) = (wide - 1).checked_sub(from_right.min(wide - 1)) {
                marks[place] = mark;
            }
        }
        let role = if about == About::Alerts { Role::Degraded } else { Role::Strong };
        let marks: String = marks.into_iter().collect();
        let spans =
            vec![cell(name, LABEL, theme.style(Role::Dim)), Span::styled(marks, theme.style(role))];
        put(buffer, at, row, Line::from(spans));
    }
    rows + 1 + u16::try_from(ROWS.len()).unwrap_or_default() + 1
}

/// One cell of the graph: full below the value, a part of a block at it.
fn block(part: f64, row: u16, rows: u16, steps: &[char]) -> char {
    let height = part * f64::from(rows) - f64::from(rows - 1 - row);
    if height <= 0.0 {
        return if row + 1 == rows { steps[0] } else { ' ' };
    }
    let count = f64::from(u8::try_from(steps.len()).unwrap_or(u8::MAX));
    let place = (1..steps.len())
        .rev()
        .find(|place| f64::from(u8::try_from(*place).unwrap_or(u8::MAX)) <= height * count - 1.0);
    steps[place.unwrap_or_default()]
}

fn axis(buffer: &mut Buffer, at: Rect, row: u16, wide: usize, scene: Scene<'_>) {
    let window = span(scene.ui.window.span());
    let time = |ago: TimeDelta| time_of_day(scene, scene.now.wall - ago);
    let (left, middle, right) = (time(window), time(window / 2), time(TimeDelta::zero()));
    let half = (wide / 2).saturating_sub(left.len() + middle.len() / 2);
    let rest = wide.saturating_sub(left.len() + half + middle.len() + right.len());
    let text = format!("{left}{}{middle}{}{right}", " ".repeat(half), " ".repeat(rest));
    let dim = scene.theme.style(Role::Dim);
    let spans = vec![cell("latency", LABEL, dim), Span::styled(text, dim)];
    put(buffer, at, row, Line::from(spans));
}

fn changes(scene: Scene<'_>, picture: &Snapshot) -> Vec<Line<'static>> {
    let theme = scene.theme;
    let lines: Vec<Line<'static>> =
        found(scene, picture).iter().map(|change| line(scene, change)).collect();
    if lines.is_empty() {
        let text = "nothing changed in this window, as far as the journal's tail reaches";
        return vec![Line::styled(text, theme.style(Role::Dim))];
    }
    lines
}

fn line(scene: Scene<'_>, change: &Change) -> Line<'static> {
    let theme = scene.theme;
    Line::from(vec![
        cell(&time_of_day(scene, change.at), 8, theme.style(Role::Dim)),
        cell(&change.who, 11, theme.style(Role::Dim)),
        Span::styled(change.text.clone(), theme.style(Role::Text)),
    ])
}

/// What the next one must know: what is open, what ends soon, what happened.
fn handover(scene: Scene<'_>, picture: &Snapshot) -> Vec<Line<'static>> {
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
    let since = scene.now.wall - span(scene.ui.window.span());
    let told = picture.journal.iter().filter(|line| line.kind != "look" && line.at >= since);
    let mut told: Vec<Change> = told
        .map(|line| Change {
            at: line.at,
            about: About::Config,
            who: line.user.display().to_owned(),
            text: format!("{}: {}", line.kind, line.text),
        })
        .collect();
    told.sort_by_key(|change| std::cmp::Reverse(change.at));
    lines.extend(told.iter().map(|change| line(scene, change)));
    if let Some(oldest) = picture.journal.iter().map(|line| line.at).min().filter(|at| *at > since)
    {
        let text = format!(
            "  what was before {} is in the journal: quarterdeck journal list",
            time_of_day(scene, oldest)
        );
        lines.push(Line::styled(text, theme.style(Role::Dim)));
    }
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
        let state = match incident.state {
            AlertState::Triggered => "NOBODY HAS IT",
            AlertState::Acknowledged => "acknowledged",
            AlertState::Resolved => "resolved",
        };
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
