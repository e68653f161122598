//! The sources: every poller with its state, age and last error.
//!
//! Decides nothing. Contract: failing ones stand first, so that silence is seen; an error is there
//! whole where the list leaves room, and zoomed.

use engine::snapshot::{Snapshot, SourceState};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::{Scene, cell, first_row, frame, number, put};
use crate::ui::theme::Role;
use crate::ui::{Panel, words};

const KIND_WIDTH: usize = 12;
/// Less of an error than this says nothing.
const ERROR_MIN: usize = 16;
/// State, age and name with their spaces.
const HEAD: usize = 34;
/// Rows that one error may take when it is zoomed.
const ERROR_ROWS_MAX: usize = 4;

pub fn draw(buffer: &mut Buffer, at: Rect, scene: Scene<'_>, picture: &Snapshot) {
    let shown = scene.ui.sources(picture, scene.now);
    let mut all: Vec<_> =
        shown.into_iter().map(|source| (source.state_at(scene.now), source)).collect();
    all.sort_by_key(|(state, source)| (rank(*state), source.skew_s.is_none()));
    let failing = picture.sources.iter().map(|source| source.state_at(scene.now));
    let failing = failing.filter(|state| *state == SourceState::Failing).count();
    let part = scene.ui.part(all.len(), picture.sources.len());
    let extra = match (failing, part.is_empty()) {
        (0, _) => part,
        (_, true) => format!("{failing} failing"),
        (_, false) => format!("{failing} failing · {part}"),
    };
    let inside = frame(buffer, at, scene, Panel::Sources, &extra);
    let theme = scene.theme;
    let first = first_row(scene, Panel::Sources, all.len());
    let mut row = 0;
    // Rows that the list leaves; zoomed it is scrolled.
    let mut spare = if scene.ui.zoomed {
        usize::MAX
    } else {
        usize::from(inside.height).saturating_sub(all.len().saturating_sub(first))
    };
    for (state, source) in all.into_iter().skip(first) {
        if row >= inside.height {
            break;
        }
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
        let width = usize::from(inside.width);
        let wide = width > HEAD + KIND_WIDTH + ERROR_MIN;
        if wide || (source.error.is_empty() && source.skew_s.is_none()) {
            spans.push(cell(&source.kind, KIND_WIDTH, theme.style(Role::Dim)));
        }
        let skew = source.skew().map(|skew| format!("clock {skew} ")).unwrap_or_default();
        let said_role =
            if source.error.is_empty() && !skew.is_empty() { Role::Degraded } else { role };
        let said = skew + words::why(source);
        let error = said.trim_end();
        let taken = HEAD + if wide { KIND_WIDTH + 1 } else { 0 };
        let rows = words::wrap(error, width.saturating_sub(2), ERROR_ROWS_MAX);
        let below = words::width(error) > width.saturating_sub(taken) && rows.len() <= spare;
        if !below {
            spans.push(Span::styled(error.to_owned(), theme.style(said_role)));
        }
        put(buffer, inside, row, Line::from(spans));
        row += 1;
        if below {
            spare -= rows.len();
            for line in rows {
                put(buffer, inside, row, Line::styled(format!("  {line}"), theme.style(said_role)));
                row += 1;
            }
        }
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
