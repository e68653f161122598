//! The pages over the panels: what changed, on one axis of time; and the handover.
//!
//! Decides what stands around them. Never says more than the picture shows: what the journal's
//! tail does not reach back to is not told as if nothing had happened. Contract: every line has its
//! time.

mod changes;
mod handover;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use engine::snapshot::Snapshot;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::{Scene, cell, overlay, put, time_of_day, zone_name};
use crate::ui::Page;
use crate::ui::keymap::Act;
use crate::ui::theme::Role;

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
            let of_window = match scene.ui.since.from {
                Some(_) => String::new(),
                None => format!(" (last {})", window.word()),
            };
            let since = time_of_day(scene, handover::since(scene));
            format!(" handover · since {since}{of_window} · {} ", zone_name(scene))
        }
    };
    let title = Line::styled(title, theme.style(Role::Focus));
    let inside = overlay(buffer, area, theme, (area.width, area.height), title);
    let (top, lines) = match page {
        Page::Changes => changes::draw(buffer, inside, scene, picture),
        Page::Handover => (0, handover::lines(scene, picture)),
    };
    let rows = inside.height.saturating_sub(top + 1);
    let last = lines.len().saturating_sub(usize::from(rows));
    for (row, line) in (top..top + rows).zip(lines.into_iter().skip(scroll.min(last))) {
        put(buffer, inside, row, line);
    }
    put(buffer, inside, inside.height.saturating_sub(1), hint(scene, page));
}

fn hint(scene: Scene<'_>, page: Page) -> Line<'static> {
    let theme = scene.theme;
    let typed = &scene.ui.since.typed;
    if page == Page::Handover && !typed.is_empty() {
        let typed = format!("{typed}{}", theme.pick("▏", "_"));
        return Line::from(vec![
            Span::styled("since ", theme.style(Role::Key)),
            Span::styled(typed, theme.style(Role::Input)),
            Span::styled(
                format!(" {}, as 14:00  Enter takes  Esc forgets", zone_name(scene)),
                theme.style(Role::Dim),
            ),
        ]);
    }
    let key = |act| scene.ui.keymap.shown(act);
    let other = match page {
        Page::Changes => format!("{} handover", key(Act::Handover)),
        Page::Handover => format!("0-9 since a time  {} changes", key(Act::Changes)),
    };
    let hint = format!(
        "{} window  {other}  {} {} the past  {} closes",
        key(Act::Window),
        key(Act::Earlier),
        key(Act::Later),
        key(Act::Back)
    );
    Line::styled(hint, theme.style(Role::Dim))
}

fn span(span: Duration) -> TimeDelta {
    TimeDelta::from_std(span).unwrap_or(TimeDelta::MAX)
}

/// Something that happened.
struct Told {
    at: DateTime<Utc>,
    who: String,
    text: String,
}

fn line(scene: Scene<'_>, told: &Told) -> Line<'static> {
    let theme = scene.theme;
    Line::from(vec![
        cell(&time_of_day(scene, told.at), 8, theme.style(Role::Dim)),
        cell(&told.who, 11, theme.style(Role::Dim)),
        Span::styled(told.text.clone(), theme.style(Role::Text)),
    ])
}

/// When the journal's tail begins; `None` when it reaches back to `since`. What was before is not
/// known here.
fn beginning(picture: &Snapshot, since: DateTime<Utc>) -> Option<DateTime<Utc>> {
    picture.journal.iter().map(|line| line.at).min().filter(|at| *at > since)
}

/// The same as the last line of a list.
fn reach(scene: Scene<'_>, picture: &Snapshot, since: DateTime<Utc>) -> Option<Line<'static>> {
    let at = time_of_day(scene, beginning(picture, since)?);
    let text = format!("  what was before {at} is in the journal: quarterdeck journal list");
    Some(Line::styled(text, scene.theme.style(Role::Dim)))
}
