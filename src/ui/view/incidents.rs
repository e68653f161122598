//! The incidents: worst first, with severity, state and age in words.
//!
//! Decides what of an incident fits a row. Never shows a label or a summary as anything but text,
//! nor an empty list as calm where nobody was heard.

use engine::reading::AlertState;
use engine::snapshot::{IncidentView, ServiceView, Snapshot, SourceState, SourceView};
use engine::types::{Now, Severity, Untrusted};
use ratatui::buffer::Buffer;
use ratatui::layout::{Margin, Rect};
use ratatui::text::{Line, Span};

use super::{Scene, cell, frame, mark, number, put, state_word, time_of_day, window};
use crate::ui::theme::Role;
use crate::ui::{Panel, Ui, words};

/// Kinds of sources that name incidents; the others watch, count or route.
const FEED_KINDS: [&str; 5] = ["alertmanager", "prometheus", "pagerduty", "statuspage", "json"];
/// State and age with their spaces, and the space after the severity.
const STATE_AND_AGE: usize = 17;
/// Less of a summary than this is only its first word.
const SUMMARY_MIN: usize = 12;
/// Rows that one text of the selected incident may take.
const TEXT_ROWS_MAX: usize = 3;
/// More silent feeds than this are counted, so that the list keeps its room.
const SILENT_MAX: usize = 2;

pub fn draw(buffer: &mut Buffer, at: Rect, scene: Scene<'_>, picture: &Snapshot) {
    let shown = scene.ui.incidents(picture);
    let extra = extra(picture, shown.len(), scene.now);
    let inside = frame(buffer, at, scene, Panel::Incidents, &extra);
    let over = over(picture, inside, shown.len(), scene.now);
    let top = u16::try_from(over.len()).unwrap_or(inside.height);
    for (row, spans) in (0..).zip(over) {
        let span = |(text, role)| Span::styled(text, scene.theme.style(role));
        put(buffer, inside, row, spans.into_iter().map(span).collect::<Line<'_>>());
    }
    if shown.is_empty() {
        let text = if picture.incidents.total > 0 {
            " none match the filter"
        } else {
            match Known::of(picture, scene.now) {
                Known::All => " none open",
                Known::Past => " none was open when it was last heard",
                Known::Waiting => " not known yet: waiting for the first answer",
                Known::Never => " not known: it was never heard",
                Known::NoFeed => " no feed is configured; own rules opened none",
            }
        };
        put(buffer, inside, top, Line::styled(text, scene.theme.style(Role::Dim)));
    }
    let chosen = shown.iter().position(|it| Some(&it.key) == scene.ui.incident.as_ref());
    let (room, detail) = halves(inside, top);
    let (rows, marked) = rows(&shown, chosen, room, inside.width, scene);
    let count = u16::try_from(rows.len()).unwrap_or(room).max(u16::from(shown.is_empty()));
    for (row, line) in (top..).zip(rows) {
        put(buffer, inside, row, line);
    }
    // What was resolved lately stands where there is room left, and is never selected.
    let resolved = picture.incidents.resolved.iter();
    for (row, incident) in (top + count..top + room).zip(resolved) {
        put(buffer, inside, row, line(incident, inside.width, scene));
    }
    if let Some(marked) = marked.filter(|_| scene.ui.focus == Panel::Incidents) {
        mark(buffer, inside, top + marked, scene.theme.style(Role::Selection));
    }
    let Some(place) = chosen.filter(|_| detail > 0) else { return };
    let first = inside.height - detail;
    let details = details(shown[place], picture, inside.width, scene);
    for (row, line) in (first..inside.height).zip(details) {
        put(buffer, inside, row, line);
    }
}

/// The rows of the list below what stands over it, and those about the selected one.
fn halves(inside: Rect, top: u16) -> (u16, u16) {
    let detail = if inside.height >= 8 { inside.height / 2 } else { 0 };
    (inside.height.saturating_sub(detail).saturating_sub(top), detail)
}

/// The place in the list of the row that is drawn at `y`, in a panel with its frame.
#[must_use]
pub fn row_at(panel: Rect, picture: &Snapshot, ui: &Ui, now: Now, y: u16) -> Option<usize> {
    let inside = panel.inner(Margin::new(1, 1));
    let shown = ui.incidents(picture);
    let chosen = shown.iter().position(|it| Some(&it.key) == ui.incident.as_ref());
    let top = u16::try_from(over(picture, inside, shown.len(), now).len()).ok()?;
    let row = y.checked_sub(inside.y + top)?;
    let (room, _) = halves(inside, top);
    window(shown.len(), chosen.unwrap_or_default(), room).nth(usize::from(row))
}

/// A line before the theme is known.
type Spans = Vec<(String, Role)>;

/// What stands over the list: the silent feeds, and what there is most of.
fn over(picture: &Snapshot, inside: Rect, listed: usize, now: Now) -> Vec<Spans> {
    let mut lines = silence(&silent(picture, now), inside, listed);
    if !picture.incidents.names.is_empty() {
        lines.push(vec![(format!("most of all {}", picture.incidents.mostly()), Role::Dim)]);
    }
    lines.truncate(usize::from(inside.height));
    lines
}

/// How many there are, and how many of them nobody can see here.
fn extra(picture: &Snapshot, matching: usize, now: Now) -> String {
    let incidents = &picture.incidents;
    let listed = incidents.open.len();
    let mut text = match (incidents.total, Known::of(picture, now)) {
        (1.., _) | (0, Known::All) => format!("{} open", incidents.total),
        (0, Known::Past | Known::Waiting | Known::Never) => "unknown".to_owned(),
        (0, Known::NoFeed) => "no feed".to_owned(),
    };
    if usize::try_from(incidents.total).is_ok_and(|total| total > listed) {
        text = format!("{text}, the worst {listed} listed");
    }
    if incidents.dropped > 0 {
        text = format!("{text}, {} more left out by their feed's limit", incidents.dropped);
    }
    if matching != listed {
        text = format!("{text}, {matching} match");
    }
    text
}

/// Whether it can be said that nothing is open.
#[must_use]
pub fn is_known(picture: &Snapshot, now: Now) -> bool {
    Known::of(picture, now) == Known::All
}

/// What an empty list says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// Every feed was heard lately: nothing is open.
    All,
    /// Every feed was heard once, and not all of them lately.
    Past,
    /// No feed failed, and not all of them have answered yet.
    Waiting,
    /// One that fails was never heard.
    Never,
    /// Incidents of our own may open, but nobody else is asked.
    NoFeed,
}

impl Known {
    fn of(picture: &Snapshot, now: Now) -> Known {
        let states = || feeds(picture).map(|feed| feed.state_at(now));
        let silent = |state| matches!(state, SourceState::Failing | SourceState::Stale);
        if feeds(picture).next().is_none() {
            Known::NoFeed
        } else if feeds(picture).any(|it| it.success.is_none() && silent(it.state_at(now))) {
            Known::Never
        } else if states().any(|state| state == SourceState::Waiting) {
            Known::Waiting
        } else if states().any(silent) {
            Known::Past
        } else {
            Known::All
        }
    }
}

fn feeds(picture: &Snapshot) -> impl Iterator<Item = &SourceView> {
    picture.sources().filter(|one| FEED_KINDS.contains(&one.kind.as_str()))
}

/// The feeds that do not say anything now, and since when: what they last said may be over, or
/// worse.
fn silent(picture: &Snapshot, now: Now) -> Vec<(&SourceView, String)> {
    let silent = feeds(picture).filter(|feed| match feed.state_at(now) {
        SourceState::Failing | SourceState::Stale => true,
        SourceState::Ok | SourceState::Waiting => false,
    });
    let told = |feed: &SourceView| match feed.success {
        Some(at) => format!("{}: silent for {} ", feed.name, words::age(at.age(now))),
        None => format!("{}: silent since the start ", feed.name),
    };
    silent.map(|feed| (feed, told(feed))).collect()
}

/// Each with the reason, whole where there is room for more rows than these.
fn silence(silent: &[(&SourceView, String)], at: Rect, listed: usize) -> Vec<Spans> {
    let width = usize::from(at.width);
    let named = silent.len().min(SILENT_MAX);
    // The sentence of an empty list has its row.
    let mut spare = usize::from(at.height).saturating_sub(silent.len() + listed.max(1));
    let mut lines = Vec::new();
    for (feed, head) in &silent[..named] {
        let why = words::why(feed);
        let rows = words::wrap(why, width.saturating_sub(2), TEXT_ROWS_MAX);
        let mut line = vec![(head.clone(), Role::Down)];
        if words::width(head) + words::width(why) > width && rows.len() <= spare {
            spare -= rows.len();
            lines.push(line);
            lines.extend(rows.into_iter().map(|row| vec![(format!("  {row}"), Role::Dim)]));
        } else {
            line.push((why.to_owned(), Role::Dim));
            lines.push(line);
        }
    }
    if silent.len() > named {
        let text = format!("{} more feeds are silent", silent.len() - named);
        lines.push(vec![(text, Role::Down)]);
    }
    lines
}

/// The rows that show, and which of them is the selected one; the others are not laid out.
fn rows(
    shown: &[&IncidentView],
    chosen: Option<usize>,
    room: u16,
    width: u16,
    scene: Scene<'_>,
) -> (Vec<Line<'static>>, Option<u16>) {
    let range = window(shown.len(), chosen.unwrap_or_default(), room);
    let marked = chosen.and_then(|chosen| u16::try_from(chosen.checked_sub(range.start)?).ok());
    let marked = marked.filter(|marked| *marked < room);
    (range.map(|place| line(shown[place], width, scene)).collect(), marked)
}

fn symbol(severity: Severity, scene: Scene<'_>) -> &'static str {
    match severity {
        Severity::Critical => scene.theme.pick("■", "[!!]"),
        Severity::High => scene.theme.pick("▲", "[! ]"),
        Severity::Medium => scene.theme.pick("●", "[m ]"),
        Severity::Low => scene.theme.pick("·", "[l ]"),
    }
}

/// What a row has for name and summary.
fn left(symbol: &str, width: u16) -> usize {
    usize::from(width).saturating_sub(words::width(symbol) + 9 + STATE_AND_AGE)
}

fn name_width(symbol: &str, width: u16) -> usize {
    let (left, name) = (left(symbol, width), if width < 70 { 16 } else { 22 });
    // Too little room for a summary is given to the name.
    if left < name + 1 + SUMMARY_MIN { left } else { name }
}

fn line(incident: &IncidentView, width: u16, scene: Scene<'_>) -> Line<'static> {
    let theme = scene.theme;
    let open = incident.state == AlertState::Triggered;
    let quiet = !open || incident.is_snoozed(scene.now);
    let loud = Role::of_severity(incident.severity);
    let severity = theme.style(if quiet { Role::Dim } else { loud });
    let symbol = symbol(incident.severity, scene);
    let word = format!("{symbol} {}", incident.severity);
    let state = if scene.ui.acking.contains_key(&incident.key) && open {
        "acking…"
    } else if !incident.pending.is_empty() {
        incident.pending.display()
    } else if incident.is_snoozed(scene.now) && open {
        "snoozed"
    } else {
        match incident.state {
            AlertState::Triggered => "open",
            AlertState::Acknowledged => "acked",
            AlertState::Resolved => "resolved",
        }
    };
    // Its source may not say since when; it is not younger than when it was first seen.
    let seen = incident.first_seen.age(scene.now);
    let age = incident.started_at.and_then(|at| (scene.now.wall - at).to_std().ok());
    let age = words::standing(age.unwrap_or(seen));
    let first = words::width(symbol) + 9;
    let (left, name) = (left(symbol, width), name_width(symbol, width));
    let mut spans = vec![
        cell(&word, first, severity),
        cell(state, 8, theme.style(if quiet { Role::Dim } else { Role::Strong })),
        number(&age, 6, theme.style(Role::Dim)),
        cell(incident.name.display(), name, severity),
    ];
    if left > name {
        let who = &incident.triage.assignee;
        let who = if who.is_empty() { String::new() } else { format!("@{who} ") };
        let alerts = incident.alerts.as_ref().filter(|alerts| alerts.total > 0);
        let alerts = alerts.map_or(String::new(), |alerts| format!("{} alerts ", alerts.total));
        spans.push(Span::styled(alerts, theme.style(Role::Text)));
        spans.push(Span::styled(who, theme.style(Role::Text)));
        spans.push(Span::styled(incident.summary.display().to_owned(), theme.style(Role::Dim)));
    }
    Line::from(spans)
}

/// What outside text says, behind a gutter; the name, too, where its row has no room for it.
fn details(
    incident: &IncidentView,
    picture: &Snapshot,
    width: u16,
    scene: Scene<'_>,
) -> Vec<Line<'static>> {
    let theme = scene.theme;
    let mut lines = vec![Line::styled(
        format!(
            "{} from {}, first seen {} ago, last {} ago",
            state_word(incident.state),
            incident.source,
            words::age(incident.first_seen.age(scene.now)),
            words::age(incident.last_seen.age(scene.now))
        ),
        theme.style(Role::Dim),
    )];
    let mut rows = |name: &str, text: &str, max: usize| {
        let room = usize::from(width).saturating_sub(words::width(name) + 3);
        for (place, text) in words::wrap(text, room, max).into_iter().enumerate() {
            let name = if place == 0 { name.to_owned() } else { " ".repeat(words::width(name)) };
            lines.push(Line::from(vec![
                Span::styled(theme.pick("│ ", "| "), theme.style(Role::Border)),
                Span::styled(name + " ", theme.style(Role::Dim)),
                Span::styled(text, theme.style(Role::Text)),
            ]));
        }
    };
    let name = incident.name.display();
    if words::width(name) > name_width(symbol(incident.severity, scene), width) {
        rows("name", name, TEXT_ROWS_MAX);
    }
    rows("summary", incident.summary.display(), TEXT_ROWS_MAX);
    if let Some(alerts) = &incident.alerts {
        rows("alerts", &alerts.words(), TEXT_ROWS_MAX);
    }
    for (name, text) in said(incident, scene) {
        rows(name, &text, TEXT_ROWS_MAX);
    }
    let is_link = |text: &&str| text.contains("://");
    let page = scene.ui.runbooks.of_incident(incident).filter(|page| !is_link(page));
    // An address is followed by its row.
    if let Some(page) = page.or_else(|| runbook(incident, picture)) {
        rows("runbook", page, 1);
    }
    for link in incident.links.iter().map(Untrusted::display).filter(is_link) {
        rows("link", link, 1);
    }
    for (name, value) in &incident.labels {
        rows("label", &format!("{name}={value}"), TEXT_ROWS_MAX);
    }
    lines
}

/// What people said of it, newest note first.
fn said(incident: &IncidentView, scene: Scene<'_>) -> Vec<(&'static str, String)> {
    let triage = &incident.triage;
    let who = &triage.assignee;
    let who = (!who.is_empty()).then(|| ("has it", who.display().to_owned()));
    let rest = triage.snoozed_until.filter(|_| incident.is_snoozed(scene.now));
    let rest = rest.map(|until| ("snoozed", format!("until {}", time_of_day(scene, until))));
    let notes = triage.notes.iter().rev().map(|note| {
        ("note", format!("{} {}: {}", time_of_day(scene, note.at), note.user, note.text))
    });
    who.into_iter().chain(rest).chain(notes).collect()
}

/// Of the service that a label names.
fn runbook<'a>(incident: &IncidentView, picture: &'a Snapshot) -> Option<&'a str> {
    let names = |service: &&ServiceView| {
        incident.labels.values().any(|value| value.display() == service.name)
    };
    picture.services().find(names)?.runbook.as_deref()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use chrono::DateTime;
    use engine::snapshot::TriageView;
    use engine::types::Time;

    use super::*;
    use crate::ui::theme::{Depth, Symbols, Theme};

    const NOW: Now = Now { mono: Time(60_000_000), wall: DateTime::UNIX_EPOCH };

    fn incident(number: usize) -> IncidentView {
        IncidentView {
            key: format!("storm/{number}"),
            name: Untrusted::new("Storm"),
            severity: Severity::High,
            state: AlertState::Triggered,
            source: "storm".to_owned(),
            summary: Untrusted::new(&format!("number {number}")),
            labels: BTreeMap::new(),
            links: Vec::new(),
            started_at: None,
            first_seen: NOW,
            last_seen: NOW,
            pending: Untrusted::default(),
            can_acknowledge: true,
            can_escalate: false,
            triage: TriageView::default(),
            alerts: None,
        }
    }

    #[test]
    fn a_storm_lays_out_only_the_rows_that_show() {
        let storm: Vec<IncidentView> = (0..10_000).map(incident).collect();
        let storm: Vec<&IncidentView> = storm.iter().collect();
        let theme = Theme::named("mono", Depth::Never, Symbols::Unicode).expect("embedded");
        let ui = Ui::new(false, None);
        let scene = Scene { live: None, ui: &ui, theme: &theme, now: NOW, clock: NOW };
        let check = |chosen: usize, room: u16, marked: Option<u16>, first: usize| {
            let (rows, found) = rows(&storm, Some(chosen), room, 80, scene);
            assert_eq!((rows.len(), found), (usize::from(room), marked));
            let wanted = format!("number {first}");
            assert!(rows.first().is_none_or(|row| row.to_string().ends_with(&wanted)));
        };
        check(0, 20, Some(0), 0);
        check(7_000, 20, Some(19), 6_981);
        check(9_999, 20, Some(19), 9_980);
        check(5, 0, None, 0);
    }

    #[test]
    fn an_incident_has_an_age_whatever_its_source_says() {
        let theme = Theme::named("mono", Depth::Never, Symbols::Unicode).expect("embedded");
        let ui = Ui::new(false, None);
        let scene = Scene { live: None, ui: &ui, theme: &theme, now: NOW, clock: NOW };
        let check = |started_at, seen: u64, expected: &str| {
            let first_seen = Now { mono: NOW.mono - Duration::from_secs(seen), ..NOW };
            let incident = IncidentView { started_at, first_seen, ..incident(1) };
            let row = line(&incident, 80, scene).to_string();
            assert!(row.contains(&format!(" open     {expected:>6} Storm")), "{row}");
        };
        check(None, 2, "2s");
        check(Some(NOW.wall - Duration::from_secs(30)), 2, "30s");
        check(Some(NOW.wall + Duration::from_secs(30)), 2, "2s");
    }
}
