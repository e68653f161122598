//! Help, palette and fault menu: lists over the panels, all made from their tables.
//!
//! Decides how they look. Never knows a key by itself.

use ratatui::buffer::Buffer;
use ratatui::layout::{Rect, Size};
use ratatui::text::{Line, Span};

use super::{Scene, cell, mark, overlay, put, window};
use crate::ui::theme::Role;
use crate::ui::{Ui, keymap, words};

/// The page of keys is no wider than its longest row.
const KEYS_WIDTH: u16 = 98;
/// Cells for the keys of an act.
const KEY: usize = 16;
/// Rows of one act's help: enough at 40 columns.
const HELP_ROWS_MAX: usize = 6;

pub fn help(buffer: &mut Buffer, area: Rect, scene: Scene<'_>, scroll: usize) {
    let theme = scene.theme;
    let rows = rows(scene.ui, area.width);
    let wanted = u16::try_from(rows.len() + 2).unwrap_or(u16::MAX);
    let title = Line::styled(" keys ", theme.style(Role::Focus));
    let inside = overlay(buffer, area, theme, (KEYS_WIDTH, wanted), title);
    let shown = usize::from(inside.height);
    let first = scroll.min(rows.len().saturating_sub(shown));
    let more = rows.len().saturating_sub(first + shown);
    for (row, [keys, text, guard]) in (0..inside.height).zip(rows.into_iter().skip(first)) {
        let spans = vec![
            cell(&keys, KEY, theme.style(Role::Key)),
            Span::styled(text, theme.style(Role::Text)),
            Span::styled(guard, theme.style(Role::Dim)),
        ];
        put(buffer, inside, row, Line::from(spans));
    }
    if more > 0 {
        let frame = Rect { y: inside.bottom(), height: 1, ..inside };
        put(buffer, frame, 0, Line::styled(format!(" {more} more below "), theme.style(Role::Key)));
    }
}

/// The last place that the page of keys scrolls to on a screen of this size.
#[must_use]
pub fn last(ui: &Ui, size: Size) -> usize {
    rows(ui, size.width).len().saturating_sub(usize::from(size.height.saturating_sub(2)))
}

/// Keys, help and guard of each act; what does not fit beside the help stands below it, so that no
/// guard is cut off.
fn rows(ui: &Ui, width: u16) -> Vec<[String; 3]> {
    let wide = usize::from(width.min(KEYS_WIDTH)).saturating_sub(KEY + 3);
    let mut rows = Vec::new();
    for binding in keymap::BINDINGS {
        let guard = binding.danger.word();
        let help = words::wrap(binding.help, wide, HELP_ROWS_MAX);
        let first = rows.len();
        rows.extend(help.into_iter().map(|text| [String::new(), text, String::new()]));
        if let Some([keys, ..]) = rows.get_mut(first) {
            *keys = ui.keymap.all(binding.act);
        }
        match rows.last_mut() {
            _ if guard.is_empty() => {}
            Some([_, text, beside]) if words::width(text) + 2 + words::width(guard) <= wide => {
                *beside = format!("  {guard}");
            }
            Some(_) | None => {
                let guard = words::wrap(guard, wide, HELP_ROWS_MAX);
                rows.extend(guard.into_iter().map(|part| [String::new(), String::new(), part]));
            }
        }
    }
    rows
}

pub fn palette(buffer: &mut Buffer, area: Rect, scene: Scene<'_>, query: &str, at: usize) {
    let theme = scene.theme;
    let title = Line::styled(" commands ", theme.style(Role::Focus));
    let inside = overlay(buffer, area, theme, (72, 16), title);
    let typed = format!("{query}{}", theme.pick("▏", "_"));
    put(
        buffer,
        inside,
        0,
        Line::from(vec![
            Span::styled(":", theme.style(Role::Key)),
            Span::styled(typed, theme.style(Role::Input)),
        ]),
    );
    let found = keymap::search(query);
    let at = at.min(found.len().saturating_sub(1));
    let range = window(found.len(), at, inside.height.saturating_sub(1));
    for (row, place) in (1..).zip(range) {
        let binding = found[place];
        let spans = vec![
            cell(&scene.ui.keymap.shown(binding.act), 9, theme.style(Role::Key)),
            cell(binding.name, 15, theme.style(Role::Text)),
            Span::styled(binding.help, theme.style(Role::Dim)),
        ];
        put(buffer, inside, row, Line::from(spans));
        if place == at {
            mark(buffer, inside, row, theme.style(Role::Selection));
        }
    }
}

pub fn faults(buffer: &mut Buffer, area: Rect, scene: Scene<'_>) {
    let theme = scene.theme;
    let rows = u16::try_from(scene.ui.faults.len() + 4).unwrap_or(u16::MAX);
    let title = Line::styled(" break something ", theme.style(Role::Focus));
    let inside = overlay(buffer, area, theme, (46, rows), title);
    for (row, fault) in (0..).zip(&scene.ui.faults) {
        let role = if fault.on { Role::Down } else { Role::Text };
        let spans = vec![
            cell(&fault.key.to_string(), 2, theme.style(Role::Key)),
            cell(if fault.on { "ON" } else { "off" }, 3, theme.style(role)),
            Span::styled(fault.label.clone(), theme.style(role)),
        ];
        put(buffer, inside, row, Line::from(spans));
    }
    let hint = "a key switches it; any other key closes";
    let last = inside.height.saturating_sub(1);
    put(buffer, inside, last, Line::styled(hint, theme.style(Role::Dim)));
}
