//! A screen too small for panels: what is open, what was just said, and the worst status.
//!
//! Decides what may be open there at all: nothing that would be answered unseen. Of the guards
//! these are what takes traffic off a canary or holds everything up, while verb, target, change
//! and field fit. Contract: a row for each, as far as there are rows; the rest stands behind the
//! last one, so that what comes first is cut last.

use engine::snapshot::Snapshot;
use engine::types::Status;
use ratatui::buffer::Buffer;
use ratatui::layout::{Rect, Size};
use ratatui::text::{Line, Span};

use super::{HEIGHT_MIN, Scene, WIDTH_MIN, guard, header, incidents, put, status_span};
use crate::ui::guard::{Field, Guard, STOP_SECONDS, Verb};
use crate::ui::past::Past;
use crate::ui::theme::Role;
use crate::ui::{Mode, Tone, keymap, words};

/// Cells for what is typed: a whole alias with a mistake, or the end of a reason.
const TYPED: usize = 8;

/// True for a screen without panels.
#[must_use]
pub fn is_small(size: Size) -> bool {
    size.width < WIDTH_MIN || size.height < HEIGHT_MIN
}

/// What is open, when it cannot be answered on a screen of this size.
#[must_use]
pub fn unseen(mode: &Mode, size: Size) -> Option<&'static str> {
    if !is_small(size) {
        return None;
    }
    match mode {
        Mode::Panels | Mode::Filter | Mode::Palette { .. } | Mode::Room { .. } => None,
        Mode::Guard(guard) => (!fits(guard, size)).then(|| guard.verb.word()),
        Mode::Help { .. } => Some("the keys"),
        Mode::Page { .. } => Some("this page"),
        Mode::Runbook(_) => Some("a runbook"),
        Mode::Faults => Some("the faults"),
        Mode::Escalate { .. } => Some("ESCALATE"),
    }
}

/// True when all that a guard must say has its place.
fn fits(guard: &Guard, size: Size) -> bool {
    let Some(head) = head(guard, "->") else { return false };
    let field = words::width(&label(guard)) + TYPED + 1;
    let (head, width) = (words::width(&head), usize::from(size.width));
    match size.height {
        0 => false,
        1 => head + 1 + field <= width,
        2.. => head.max(field) <= width,
    }
}

/// What will happen; `None` for a guard that must say more than fits into a line.
fn head(guard: &Guard, arrow: &str) -> Option<String> {
    let verb = guard.verb.word();
    match guard.verb {
        Verb::Rollback | Verb::Abort => {
            let percent = |value: Option<_>| value.map_or("?".to_owned(), |it| format!("{it}"));
            let from = percent(guard.expected.and_then(|expected| expected.set));
            Some(format!("{verb} {} {from} {arrow} {}", guard.name, percent(guard.target())))
        }
        Verb::StopTheLine => Some(format!("{verb}: no release for {} min", STOP_SECONDS / 60)),
        Verb::Pause => Some(format!("{verb} {}", guard.name)),
        Verb::Promote
        | Verb::Shift
        | Verb::Deploy
        | Verb::Run
        | Verb::Resume
        | Verb::Yes
        | Verb::No
        | Verb::Freeze
        | Verb::Thaw
        | Verb::RuleOff
        | Verb::RuleOn
        | Verb::MarkBad
        | Verb::MarkGood
        | Verb::Assign
        | Verb::Note
        | Verb::Snooze => None,
    }
}

/// What stands before the field that takes the keys.
fn label(guard: &Guard) -> String {
    match guard.fields.get(guard.at) {
        Some((Field::Alias, _)) => format!("type {} ", guard.alias.to_uppercase()),
        Some((field, _)) => format!("{} ", field.label()),
        None => String::new(),
    }
}

pub(super) fn draw(buffer: &mut Buffer, area: Rect, scene: Scene<'_>) {
    let Some(last) = area.height.checked_sub(1) else { return };
    let mut lines = open(scene, area);
    lines.extend(news(scene));
    lines.push(status(scene));
    let rest = lines.split_off(usize::from(last).min(lines.len()));
    let mut behind: Vec<Span<'static>> = Vec::new();
    for line in rest {
        if !behind.is_empty() {
            behind.push(Span::raw(" "));
        }
        let style = line.style;
        behind.extend(line.spans.into_iter().map(|span| span.patch_style(style)));
    }
    lines.push(Line::from(behind));
    for (row, line) in (0..area.height).zip(lines) {
        put(buffer, area, row, line);
    }
}

/// The field that takes the keys, and what belongs to it.
fn open(scene: Scene<'_>, area: Rect) -> Vec<Line<'static>> {
    let theme = scene.theme;
    let field = |before: usize, label: &str, text: &str| {
        // The last cell of a row may say that more follows.
        let room = usize::from(area.width).saturating_sub(before + words::width(label) + 2);
        let room = room.max(TYPED);
        let text = format!("{}{}", end_of(text, room), theme.pick("▏", "_"));
        Line::from(vec![
            Span::styled(label.to_owned(), theme.style(Role::Key)),
            Span::styled(text, theme.style(Role::Input)),
        ])
    };
    match &scene.ui.mode {
        Mode::Guard(guard) => {
            let Some(head) = head(guard, theme.pick("→", "->")) else { return Vec::new() };
            let before = if area.height == 1 { words::width(&head) + 1 } else { 0 };
            let head = Line::styled(head, theme.style(Role::Focus));
            let text = guard.fields.get(guard.at).map_or("", |(_, text)| text);
            let moved = scene.live.and_then(|live| guard.moved(live));
            let moved = moved.map(|text| Line::styled(text, theme.style(Role::Banner)));
            let mut lines = vec![head, field(before, &label(guard), text)];
            // A wrong word is said before what it was meant for moved.
            let mut remarks = guard::remarks(guard, scene);
            let hint = remarks.pop();
            lines.extend(remarks.into_iter().chain(moved).chain(hint));
            lines
        }
        Mode::Filter => vec![field(0, "filter /", &scene.ui.filter)],
        Mode::Palette { query, at } => {
            let found = keymap::search(query);
            let chosen = found.get((*at).min(found.len().saturating_sub(1)));
            let name = chosen.map_or("nothing is called so", |binding| binding.name);
            vec![field(0, ":", query), Line::styled(name, theme.style(Role::Selection))]
        }
        Mode::Panels
        | Mode::Room { .. }
        | Mode::Help { .. }
        | Mode::Page { .. }
        | Mode::Runbook(_)
        | Mode::Faults
        | Mode::Escalate { .. } => Vec::new(),
    }
}

/// What comes before any status.
fn news(scene: Scene<'_>) -> Vec<Line<'static>> {
    let (ui, theme) = (scene.ui, scene.theme);
    let message = ui.message.as_ref().map(|message| {
        let role = match message.tone {
            Tone::Plain => Role::Strong,
            Tone::Alarm => Role::Banner,
        };
        Line::styled(message.text.clone(), theme.style(role))
    });
    let past = match ui.past {
        Some(Past::Kept) => Some("PAST"),
        Some(Past::Replay { .. }) => Some("REPLAY"),
        None => ui.stopped.as_ref().map(|_| "view stopped"),
    };
    let words = [
        (past, Role::Frozen),
        (ui.is_unheard().then_some("STALE"), Role::Down),
        (ui.read_only.then_some("READ-ONLY"), Role::Strong),
    ];
    let words =
        words.into_iter().filter_map(|(word, role)| Some(Line::styled(word?, theme.style(role))));
    let banners = scene.live.map(header::banners).unwrap_or_default();
    let banners = banners.into_iter().map(|own| Line::styled(own.text, theme.style(own.role)));
    message.into_iter().chain(words).chain(banners).collect()
}

/// The worst status, what is open, and what the keys are about when that is something else.
fn status(scene: Scene<'_>) -> Line<'static> {
    let Some(picture) = scene.ui.shown(scene.live) else { return Line::raw("no data") };
    let worst = picture.services.iter().max_by_key(|service| service.status_at(scene.now));
    let status = worst.map_or(Status::Unknown, |service| service.status_at(scene.now));
    let name = worst.map_or("", |service| service.name.as_str());
    let mut status = status_span(scene.theme, status);
    if scene.ui.is_unheard() {
        status.style = scene.theme.style(Role::Stale);
    }
    let open = match picture.incidents.total {
        0 if !incidents::is_known(picture, scene.now) => String::new(),
        total => format!(" {total} open"),
    };
    let selected = selected(picture, scene).filter(|selected| *selected != name);
    let selected = selected.map(|selected| format!("  {} {selected}", scene.theme.pick("▸", ">")));
    let text = format!(" {name}{open}{}", selected.unwrap_or_default());
    Line::from(vec![status, Span::raw(text)])
}

fn selected<'a>(picture: &'a Snapshot, scene: Scene<'_>) -> Option<&'a str> {
    let own = scene.ui.service.as_ref()?;
    picture.services.iter().find(|service| service.name == *own).map(|one| one.name.as_str())
}

/// As much of the end of `text` as `wide` cells hold: it is where one types.
fn end_of(text: &str, wide: usize) -> String {
    let mut kept = text;
    while words::width(kept) > wide
        && let Some(first) = kept.chars().next()
    {
        kept = &kept[first.len_utf8()..];
    }
    kept.to_owned()
}
