//! What changed for one service, on one axis of time with its latency.
//!
//! Decides what counts as a change, and of what: what names the service, what names none, and
//! every flag. Never says more than the picture shows: where the journal's tail does not reach,
//! there are dots. Contract: every line has its time.

use chrono::{DateTime, TimeDelta, Utc};
use engine::snapshot::{IncidentView, JournalLine, ServiceView, Snapshot};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::{Told, beginning, line, reach, span};
use crate::ui::theme::Role;
use crate::ui::trend::Trends;
use crate::ui::view::{Scene, cell, put, time_of_day};
use crate::ui::words;

/// Names of the rows, and of what stands left of the graph.
const LABEL: usize = 9;
/// Rows of the graph.
const GRAPH_MAX: u16 = 8;

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
    /// Of a line of the journal; `None` for what changed nothing.
    fn of(kind: &str) -> Option<About> {
        Some(match kind {
            "release" | "canary" | "step" | "answer" | "frozen" | "thawed" | "marked" => {
                About::Deploys
            }
            "intent" | "outcome" | "drift" => About::Splits,
            "config" => About::Config,
            "opened" | "resolved" | "trigger" | "acknowledged" | "escalated" => About::Alerts,
            _ => return None,
        })
    }
}

struct Change {
    about: About,
    told: Told,
}

/// Does the text name it, and not only something that begins or ends like it?
fn names(text: &str, name: &str) -> bool {
    let part = |it: char| it.is_alphanumeric() || it == '-' || it == '_';
    !name.is_empty()
        && text.match_indices(name).any(|(at, _)| {
            !text[..at].ends_with(part) && !text[at + name.len()..].starts_with(part)
        })
}

/// All that may say whose an incident is.
fn words_of(incident: &IncidentView) -> String {
    let mut words = format!("{} {} {}", incident.key, incident.name, incident.summary);
    for value in incident.labels.values() {
        words.push(' ');
        words.push_str(value.display());
    }
    words
}

/// Everything in the window that changed something for the selected service, newest first.
fn found(scene: Scene<'_>, picture: &Snapshot) -> Vec<Change> {
    let since = scene.now.wall - span(scene.ui.window.span());
    let service = scene.ui.service.as_deref().unwrap_or_default();
    let any = |text: &str, of: fn(&ServiceView) -> bool| {
        picture.services.iter().any(|one| of(one) && names(text, &one.name))
    };
    let concerns = |text: &str| names(text, service) || !any(text, |_| true);
    let incidents = || picture.incidents.open.iter().chain(&picture.incidents.resolved);
    let of_line = |entry: &JournalLine| {
        let mut about = About::of(&entry.kind)?;
        let text = entry.text.display();
        let mut concerned = concerns(text);
        // What follows the colon is somebody's reason.
        let what = text.split(": ").next().unwrap_or(text);
        if about == About::Splits && any(what, |one| one.flag) {
            (about, concerned) = (About::Flags, true);
        }
        if about == About::Alerts
            && let Some(incident) = incidents().find(|it| names(text, &it.key))
        {
            // One that stands there with its summary is not told twice.
            concerned = entry.kind != "opened" && concerns(&words_of(incident));
        }
        let who = entry.user.display().to_owned();
        let told = Told { at: entry.at, who, text: format!("{}: {text}", entry.kind) };
        concerned.then_some(Change { about, told })
    };
    let alerts = incidents().filter(|incident| concerns(&words_of(incident))).map(|incident| {
        let text = format!("{} {}: {}", incident.severity.word(), incident.name, incident.summary);
        let at = incident.started_at.unwrap_or(incident.first_seen.wall);
        Change { about: About::Alerts, told: Told { at, who: incident.source.clone(), text } }
    });
    let mut all: Vec<Change> = picture
        .journal
        .iter()
        .filter_map(of_line)
        .chain(alerts)
        .filter(|change| change.told.at >= since && change.told.at <= scene.now.wall)
        .collect();
    all.sort_by_key(|change| std::cmp::Reverse(change.told.at));
    all
}

/// The graph with its marks and the list below it; says how many rows the graph took.
pub fn draw(
    buffer: &mut Buffer,
    at: Rect,
    scene: Scene<'_>,
    picture: &Snapshot,
) -> (u16, Vec<Line<'static>>) {
    let changes = found(scene, picture);
    let mut lines: Vec<Line<'static>> =
        changes.iter().map(|change| line(scene, &change.told)).collect();
    if lines.is_empty() {
        let text = "nothing changed in this window, as far as the journal's tail reaches";
        lines.push(Line::styled(text, scene.theme.style(Role::Dim)));
    }
    let since = scene.now.wall - span(scene.ui.window.span());
    lines.extend(reach(scene, picture, since));
    (strip(buffer, at, scene, picture, &changes), lines)
}

/// The latency, the axis, and a row of marks for each kind of change; says how many rows it took.
fn strip(
    buffer: &mut Buffer,
    at: Rect,
    scene: Scene<'_>,
    picture: &Snapshot,
    changes: &[Change],
) -> u16 {
    let rows = (at.height / 3).clamp(1, GRAPH_MAX);
    let wide = usize::from(at.width).saturating_sub(LABEL + 1);
    if wide < 10 || at.height < 12 {
        return 0;
    }
    graph(buffer, at, rows, wide, scene);
    axis(buffer, at, rows, wide, scene);
    let below = Rect { y: at.y + rows + 1, height: at.height - rows - 1, ..at };
    marks(buffer, below, wide, scene, picture, changes);
    rows + 1 + u16::try_from(ROWS.len()).unwrap_or_default() + 1
}

fn graph(buffer: &mut Buffer, at: Rect, rows: u16, wide: usize, scene: Scene<'_>) {
    let theme = scene.theme;
    let service = scene.ui.service.as_deref().unwrap_or_default();
    let values = scene.ui.trends.values(service, scene.ui.window, scene.now);
    let most = words::ceiling(&values);
    // The newest value stands at the right edge.
    let at_column = |column: usize| -> Option<f64> {
        let from_right = (wide - 1 - column) * Trends::count() / wide;
        values.iter().rev().nth(from_right).copied().flatten()
    };
    let (steps, none) = theme.spark();
    for row in 0..rows {
        let label = match row {
            0 => words::millis(values.iter().any(Option::is_some).then_some(most)),
            _ => String::new(),
        };
        let line: String = (0..wide)
            .map(|column| match at_column(column) {
                Some(value) => block(value / most, row, rows, steps),
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
}

/// A row for each kind of change; dots where the journal's tail does not reach.
fn marks(
    buffer: &mut Buffer,
    at: Rect,
    wide: usize,
    scene: Scene<'_>,
    picture: &Snapshot,
    changes: &[Change],
) {
    let theme = scene.theme;
    let window = span(scene.ui.window.span());
    let column = |time: DateTime<Utc>| {
        let millis = window.num_milliseconds().max(1);
        let ago = (scene.now.wall - time).num_milliseconds().clamp(0, millis);
        let from_right =
            usize::try_from(ago).unwrap_or_default() * wide / usize::try_from(millis).unwrap_or(1);
        wide - 1 - from_right.min(wide - 1)
    };
    let unknown = match beginning(picture, scene.now.wall - window) {
        Some(begun) => column(begun),
        None if picture.journal.is_empty() => wide,
        None => 0,
    };
    for (row, (about, name)) in (0..).zip(ROWS) {
        let mut marks: Vec<&str> = vec![" "; wide];
        marks[..unknown].fill(theme.pick("·", "."));
        for change in changes.iter().filter(|change| change.about == about) {
            marks[column(change.told.at)] = theme.pick("▲", "^");
        }
        let role = if about == About::Alerts { Role::Degraded } else { Role::Strong };
        let spans = vec![
            cell(name, LABEL, theme.style(Role::Dim)),
            Span::styled(marks.concat(), theme.style(role)),
        ];
        put(buffer, at, row, Line::from(spans));
    }
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
