//! A runbook as it is drawn: the page, which line a key runs, and what it said last.
//!
//! Decides how much of each shows. Never shows a command as run before the journal has its end.

use engine::runbook::{What, result_word};
use engine::snapshot::RunView;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::{Scene, boxed, mark, put};
use crate::ui::runbook::{Reading, Step};
use crate::ui::theme::Role;
use crate::ui::words;

/// Lines of what a command said.
const OUTPUT_MAX: usize = 12;
/// Number and mark of a command.
const GUTTER: usize = 5;

pub fn draw(buffer: &mut Buffer, area: Rect, scene: Scene<'_>, reading: &Reading) {
    let theme = scene.theme;
    let at = Rect { height: area.height.saturating_sub(1), ..area };
    ratatui::widgets::Widget::render(ratatui::widgets::Clear, at, buffer);
    let title = format!(" runbook · {} ", reading.page.name);
    let title = Line::styled(title, theme.style(Role::Focus));
    let inside = boxed(buffer, at, theme, title, Role::Focus);
    let below = below(reading, scene, usize::from(inside.width));
    let rows = u16::try_from(below.len()).unwrap_or(u16::MAX).min(inside.height / 2);
    let page = Rect { height: inside.height - rows, ..inside };
    let lines = (1..).zip(&reading.page.lines).skip(reading.scroll);
    for (row, (number, text)) in (0..page.height).zip(lines) {
        let own = (1..).zip(&reading.page.commands).find(|(_, command)| command.line == number);
        let chosen = own.is_some_and(|(place, _)| place == reading.chosen + 1);
        put(buffer, page, row, line(text.display(), own, scene));
        if chosen {
            mark(buffer, page, row, theme.style(Role::Selection));
        }
    }
    for (row, line) in (page.height..inside.height).zip(below) {
        put(buffer, inside, row, line);
    }
}

fn line(
    text: &str,
    own: Option<(usize, &engine::runbook::PageCommand)>,
    scene: Scene<'_>,
) -> Line<'static> {
    let theme = scene.theme;
    let Some((number, command)) = own else {
        let role = if text.starts_with('#') { Role::Strong } else { Role::Text };
        return Line::styled(format!("{}{text}", " ".repeat(GUTTER)), theme.style(role));
    };
    let (sign, role) = match (&command.what, command.changes) {
        (What::Refused { .. }, _) => ("x", Role::Dim),
        (What::Words(_) | What::Script(_), true) => ("!", Role::Degraded),
        (What::Words(_) | What::Script(_), false) => (" ", Role::Text),
    };
    Line::from(vec![
        Span::styled(format!("{number:>3}{sign} "), theme.style(Role::Key)),
        Span::styled(text.to_owned(), theme.style(role)),
    ])
}

/// What is asked now, else how the chosen command ended last; then the keys.
fn below(reading: &Reading, scene: Scene<'_>, width: usize) -> Vec<Line<'static>> {
    let theme = scene.theme;
    let mut lines = vec![Line::styled("─".repeat(width), theme.style(Role::Border))];
    let cursor = theme.pick("▏", "_");
    let hint = match &reading.step {
        Step::Ask { values, at } => {
            for (place, (name, value)) in values.iter().enumerate() {
                let here = if place == *at { cursor } else { "" };
                lines.push(Line::from(vec![
                    Span::styled(format!(" {name} "), theme.style(Role::Text)),
                    Span::styled(format!("{value}{here}"), theme.style(Role::Input)),
                ]));
            }
            "Enter goes on  Esc back"
        }
        Step::Confirm { typed, .. } => {
            let text = reading.command().map(engine::runbook::PageCommand::text);
            let text = format!(" it changes something: {}", text.unwrap_or_default());
            lines.push(Line::styled(text, theme.style(Role::Degraded)));
            lines.push(Line::from(vec![
                Span::styled(format!(" type {} ", reading.alias), theme.style(Role::Text)),
                Span::styled(format!("{typed}{cursor}"), theme.style(Role::Input)),
            ]));
            "Enter runs it  Esc back"
        }
        Step::Read => {
            lines.extend(ended(reading, scene));
            "Tab next command  Enter runs it  j k scroll  Esc closes"
        }
    };
    if !reading.problem.is_empty() {
        lines.push(Line::styled(format!(" {}", reading.problem), theme.style(Role::Degraded)));
    }
    lines.push(Line::styled(format!(" {hint}"), theme.style(Role::Dim)));
    lines
}

fn ended(reading: &Reading, scene: Scene<'_>) -> Vec<Line<'static>> {
    let theme = scene.theme;
    let line = reading.command().map_or(0, |command| command.line);
    let own = |run: &&RunView| {
        run.runbook == reading.page.name && usize::try_from(run.line).is_ok_and(|own| own == line)
    };
    let runs = scene.live.map(|live| &live.head.runs);
    let Some(run) = runs.and_then(|runs| runs.iter().rev().find(own)) else { return Vec::new() };
    let (word, role) = match run.result {
        None => {
            let since = words::age(run.started.age(scene.clock));
            (format!("running for {since}"), Role::Strong)
        }
        Some(result) => {
            let role = match result {
                engine::record::RunResult::Passed => Role::Up,
                engine::record::RunResult::Failed => Role::Down,
                engine::record::RunResult::Unknown => Role::Unknown,
            };
            let age = words::age_of(run.ended, scene.clock);
            (format!("{} {age} ago, by {}", result_word(result), run.user), role)
        }
    };
    let mut lines = vec![Line::styled(format!(" {}: {word}", run.command), theme.style(role))];
    let gutter = theme.pick("│", "|");
    let said = run.output.display().split('\u{240a}').filter(|line| !line.is_empty());
    let said: Vec<&str> = said.collect();
    let first = said.len().saturating_sub(OUTPUT_MAX);
    let text = |line: &&str| Line::styled(format!(" {gutter} {line}"), theme.style(Role::Text));
    lines.extend(said[first..].iter().map(text));
    lines
}
