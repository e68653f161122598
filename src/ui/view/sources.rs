//! The sources: every poller with its state, age and last error.
//!
//! Decides nothing. Contract: failing ones stand first, so that silence is seen.

use engine::snapshot::{Snapshot, SourceState};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::{Scene, cell, frame, number, put};
use crate::ui::theme::Role;
use crate::ui::{Panel, words};

const KIND_WIDTH: usize = 12;
/// Less of an error than this says nothing.
const ERROR_MIN: usize = 16;

pub fn draw(buffer: &mut Buffer, at: Rect, scene: Scene<'_>, picture: &Snapshot) {
    let mut all: Vec<_> =
        picture.sources.iter().map(|source| (source.state_at(scene.now), source)).collect();
    all.sort_by_key(|(state, _)| rank(*state));
    let failing = all.iter().filter(|(state, _)| *state == SourceState::Failing).count();
    let extra = if failing == 0 { String::new() } else { format!("{failing} failing") };
    let inside = frame(buffer, at, scene, Panel::Sources, &extra);
    let theme = scene.theme;
    let first = scene.ui.scroll.get(&Panel::Sources).copied().unwrap_or_default();
    let rows = usize::from(inside.height);
    for (row, (state, source)) in (0..).zip(all.into_iter().skip(first).take(rows)) {
        let role = match state {
            SourceState::Ok => Role::Dim,
            SourceState::Waiting => Role::Unknown,
            SourceState::Stale => Role::Stale,
            SourceState::Failing => Role::Down,
        };
        let mut spans = vec![
            cell(state.word(), 7, theme.style(role)),
            number(&words::age_of(source.success, scene.now), 6, theme.style(Role::Dim)),
            cell(&source.name, 18, theme.style(Role::Text)),
        ];
        // What is wrong is worth more than what kind it is.
        let wide = usize::from(inside.width) > 34 + KIND_WIDTH + ERROR_MIN;
        if wide || source.error.is_empty() {
            spans.push(cell(&source.kind, KIND_WIDTH, theme.style(Role::Dim)));
        }
        spans.push(Span::styled(source.error.display().to_owned(), theme.style(role)));
        put(buffer, inside, row, Line::from(spans));
    }
}

fn rank(state: SourceState) -> u8 {
    match state {
        SourceState::Failing => 0,
        SourceState::Stale => 1,
        SourceState::Waiting => 2,
        SourceState::Ok => 3,
    }
}
