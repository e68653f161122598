//! The tail of the journal, newest first.
//!
//! Decides only that looks in a row are one line unless it is zoomed. Never shows outside text
//! without having been cleaned: its type sees to it.

use engine::snapshot::Snapshot;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::{Scene, cell, frame, put, time_of_day, zone_name};
use crate::ui::Panel;
use crate::ui::theme::Role;

/// What a watched release writes at each look.
const LOOK: &str = "look";

pub fn draw(buffer: &mut Buffer, at: Rect, scene: Scene<'_>, picture: &Snapshot) {
    let inside = frame(buffer, at, scene, Panel::Journal, &zone_name(scene));
    let theme = scene.theme;
    let first = scene.ui.scroll.get(&Panel::Journal).copied().unwrap_or_default();
    let mut lines: Vec<_> = picture.journal.iter().collect();
    lines.sort_by_key(|line| std::cmp::Reverse(line.at));
    if !scene.ui.zoomed {
        // Of looks in a row the newest says what the others said, and leaves room for acts.
        lines.dedup_by(|older, newer| older.kind == LOOK && newer.kind == LOOK);
    }
    let rows = usize::from(inside.height);
    for (row, entry) in (0..).zip(lines.into_iter().skip(first).take(rows)) {
        let spans = vec![
            cell(&time_of_day(scene, entry.at), 8, theme.style(Role::Dim)),
            cell(entry.user.display(), 11, theme.style(Role::Dim)),
            cell(&entry.kind, 12, theme.style(Role::Text)),
            Span::styled(entry.text.display().to_owned(), theme.style(Role::Text)),
        ];
        put(buffer, inside, row, Line::from(spans));
    }
}
