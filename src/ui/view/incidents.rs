//! The incidents: worst first, with severity, state and age in words.
//!
//! Decides what of an incident fits a row. Never shows a label or a summary as anything but text.

use engine::reading::AlertState;
use engine::snapshot::{IncidentView, Snapshot};
use engine::types::Severity;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::{Scene, cell, frame, mark, number, put, state_word, window};
use crate::ui::theme::Role;
use crate::ui::{Panel, words};

pub fn draw(buffer: &mut Buffer, at: Rect, scene: Scene<'_>, picture: &Snapshot) {
    let incidents = &picture.incidents;
    let mut extra = format!("{} open", incidents.total);
    if incidents.dropped > 0 {
        extra = format!("{extra}, {} left out by their feed's limit", incidents.dropped);
    }
    let inside = frame(buffer, at, scene, Panel::Incidents, &extra);
    let shown = scene.ui.incidents(picture);
    if shown.is_empty() {
        let text = if incidents.total == 0 { " none open" } else { " none match the filter" };
        put(buffer, inside, 0, Line::styled(text, scene.theme.style(Role::Dim)));
    }
    let chosen = shown.iter().position(|it| Some(&it.key) == scene.ui.incident.as_ref());
    let detail = if inside.height >= 8 { inside.height / 2 } else { 0 };
    let range = window(shown.len(), chosen.unwrap_or_default(), inside.height - detail);
    for (row, place) in (0..).zip(range) {
        put(buffer, inside, row, line(shown[place], inside.width, scene));
        if Some(place) == chosen && scene.ui.focus == Panel::Incidents {
            mark(buffer, inside, row, scene.theme.style(Role::Selection));
        }
    }
    let Some(place) = chosen.filter(|_| detail > 0) else { return };
    let top = inside.height - detail;
    for (row, line) in (top..inside.height).zip(details(shown[place], scene)) {
        put(buffer, inside, row, line);
    }
}

fn line(incident: &IncidentView, width: u16, scene: Scene<'_>) -> Line<'static> {
    let theme = scene.theme;
    let open = incident.state == AlertState::Triggered;
    let severity = theme.style(if open { Role::of_severity(incident.severity) } else { Role::Dim });
    let symbol = match incident.severity {
        Severity::Critical => theme.pick("■", "[!!]"),
        Severity::High => theme.pick("▲", "[! ]"),
        Severity::Medium => theme.pick("●", "[m ]"),
        Severity::Low => theme.pick("·", "[l ]"),
    };
    let word = format!("{symbol} {}", incident.severity);
    let state = if scene.ui.acking.contains_key(&incident.key) && open {
        "acking…"
    } else if !incident.pending.is_empty() {
        incident.pending.display()
    } else {
        match incident.state {
            AlertState::Triggered => "open",
            AlertState::Acknowledged => "acked",
            AlertState::Resolved => "resolved",
        }
    };
    let age = incident.started_at.map(|at| (scene.now.wall - at).to_std().unwrap_or_default());
    let age = age.map_or("–".to_owned(), words::age);
    let mut spans = vec![
        cell(&word, words::width(symbol) + 9, severity),
        cell(state, 8, theme.style(if open { Role::Strong } else { Role::Dim })),
        number(&age, 6, theme.style(Role::Dim)),
        cell(incident.name.display(), if width < 70 { 16 } else { 22 }, severity),
    ];
    spans.push(Span::styled(incident.summary.display().to_owned(), theme.style(Role::Dim)));
    Line::from(spans)
}

/// What outside text says, behind a gutter.
fn details(incident: &IncidentView, scene: Scene<'_>) -> Vec<Line<'static>> {
    let theme = scene.theme;
    let gutter = theme.pick("│ ", "| ");
    let row = |name: &str, text: &str| {
        Line::from(vec![
            Span::styled(gutter, theme.style(Role::Border)),
            Span::styled(format!("{name} "), theme.style(Role::Dim)),
            Span::styled(text.to_owned(), theme.style(Role::Text)),
        ])
    };
    let mut lines = vec![
        Line::styled(
            format!("{} from {}", state_word(incident.state), incident.source),
            theme.style(Role::Dim),
        ),
        row("summary", incident.summary.display()),
    ];
    lines.extend(incident.links.iter().map(|link| row("link", link.display())));
    let labels = incident.labels.iter().map(|(name, value)| format!("{name}={value}"));
    lines.extend(labels.map(|label| row("label", &label)));
    lines
}
