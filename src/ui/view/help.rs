//! Help, palette and fault menu: lists over the panels, all made from their tables.
//!
//! Decides how they look. Never knows a key by itself.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::{Scene, cell, mark, overlay, put, window};
use crate::ui::keymap;
use crate::ui::theme::Role;

pub fn help(buffer: &mut Buffer, area: Rect, scene: Scene<'_>, scroll: usize) {
    let theme = scene.theme;
    let rows = u16::try_from(keymap::BINDINGS.len() + 2).unwrap_or(u16::MAX);
    let title = Line::styled(" keys ", theme.style(Role::Focus));
    let inside = overlay(buffer, area, theme, (92, rows), title);
    let first = scroll.min(keymap::BINDINGS.len().saturating_sub(usize::from(inside.height)));
    for (row, binding) in (0..inside.height).zip(keymap::BINDINGS.iter().skip(first)) {
        let mut spans = vec![
            cell(&scene.ui.keymap.all(binding.act), 16, theme.style(Role::Key)),
            Span::styled(binding.help, theme.style(Role::Text)),
        ];
        if !binding.danger.word().is_empty() {
            let guarded = format!("  {}", binding.danger.word());
            spans.push(Span::styled(guarded, theme.style(Role::Dim)));
        }
        put(buffer, inside, row, Line::from(spans));
    }
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
