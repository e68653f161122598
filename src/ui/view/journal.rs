//! The tail of the journal, newest first.
//!
//! Decides only that looks in a row are one line, and what of a line is left out where there is
//! little room; zoomed, everything is there, on as many rows as it takes. Never shows outside text
//! without having been cleaned: its type sees to it.

use engine::snapshot::Snapshot;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::{Scene, cell, first_row, frame, put, time_of_day, zone_name};
use crate::ui::theme::Role;
use crate::ui::{Panel, words};

/// What a watched release writes at each look.
const LOOK: &str = "look";
/// Time, user and kind with their spaces.
const HEAD: usize = 34;
/// Less of the text than this says nothing.
const TEXT_MIN: usize = 24;
/// What goes on below its line stands this far in.
const INDENT: usize = 2;
/// More rows of one line than this are an essay.
const ROWS_MAX: usize = 8;

pub fn draw(buffer: &mut Buffer, at: Rect, scene: Scene<'_>, picture: &Snapshot) {
    let mut lines = scene.ui.journal(picture);
    let mut extra = zone_name(scene);
    let part = scene.ui.part(lines.len(), picture.journal.len());
    if !part.is_empty() {
        extra = format!("{part} · {extra}");
    }
    let inside = frame(buffer, at, scene, Panel::Journal, &extra);
    let theme = scene.theme;
    if !scene.ui.zoomed {
        // Of looks in a row the newest says what the others said, and leaves room for acts.
        lines.dedup_by(|older, newer| older.kind == LOOK && newer.kind == LOOK);
    }
    let first = first_row(scene, Panel::Journal, lines.len());
    let wide = usize::from(inside.width);
    let narrow = wide < HEAD + TEXT_MIN;
    let mut row = 0;
    for entry in lines.into_iter().skip(first) {
        if row >= inside.height {
            break;
        }
        let (dim, text) = (theme.style(Role::Dim), theme.style(Role::Text));
        let mut spans = vec![cell(&time_of_day(scene, entry.at), 8, dim)];
        if scene.ui.zoomed || !narrow {
            spans.push(cell(entry.user.display(), 11, dim));
            spans.push(cell(&entry.kind, 12, text));
        }
        let whole = entry.text.display();
        let mut below = Vec::new();
        if scene.ui.zoomed && narrow {
            below = words::wrap(whole, wide.saturating_sub(INDENT), ROWS_MAX);
        } else if scene.ui.zoomed {
            below = words::wrap(whole, wide - HEAD, ROWS_MAX);
            let first = if below.is_empty() { String::new() } else { below.remove(0) };
            spans.push(Span::styled(first, text));
        } else {
            spans.push(Span::styled(whole.to_owned(), text));
        }
        put(buffer, inside, row, Line::from(spans));
        row += 1;
        let indent = if narrow { INDENT } else { HEAD };
        for more in below {
            put(buffer, inside, row, Line::styled(" ".repeat(indent) + &more, text));
            row += 1;
        }
    }
}
