//! The keys of what stands over the panels: filter, palette, help, faults.
//!
//! Decides how a text is typed and a row is chosen. Never acts by itself: what the palette finds
//! goes to the one dispatcher. Contract: keys that came together choose nothing.

use engine::snapshot::Snapshot;
use engine::types::Now;
use ratatui::layout::Size;

use super::keymap::{self, Key};
use super::{Action, Mode, PAGE, Ui, filter, view};

/// Of a screen that did not say yet.
const SIZE_USUAL: Size = Size { width: 80, height: 24 };

impl Ui {
    pub(super) fn filter_key(&mut self, key: Key) -> Vec<Action> {
        match key {
            Key::Char(c) if self.filter.chars().count() < filter::FILTER_CHARS_MAX => {
                self.filter.push(c);
            }
            Key::Backspace => {
                self.filter.pop();
            }
            Key::Ctrl('u') => self.filter.clear(),
            Key::Esc | Key::Ctrl('c') => {
                self.filter.clear();
                self.mode = Mode::Panels;
            }
            Key::Enter | Key::Tab | Key::Up | Key::Down => self.mode = Mode::Panels,
            Key::Char(_)
            | Key::Ctrl(_)
            | Key::BackTab
            | Key::Left
            | Key::Right
            | Key::PageUp
            | Key::PageDown
            | Key::Home
            | Key::End
            | Key::Insert
            | Key::Delete
            | Key::F(_) => {}
        }
        vec![Action::Redraw]
    }

    pub(super) fn palette_key(
        &mut self,
        key: Key,
        burst: bool,
        live: Option<&Snapshot>,
        now: Now,
    ) -> Vec<Action> {
        let Mode::Palette { query, at } = &mut self.mode else {
            return Vec::new();
        };
        match key {
            Key::Char(c) if query.chars().count() < filter::FILTER_CHARS_MAX => {
                query.push(c);
                *at = 0;
            }
            Key::Backspace => {
                query.pop();
                *at = 0;
            }
            Key::Up | Key::BackTab => *at = at.saturating_sub(1),
            Key::Down | Key::Tab => *at += 1,
            Key::Enter if burst => {}
            Key::Enter => {
                let found = keymap::search(query);
                let chosen = found.get((*at).min(found.len().saturating_sub(1)));
                let act = chosen.map(|binding| binding.act);
                self.mode = Mode::Panels;
                if let Some(act) = act {
                    return self.act(act, live, now);
                }
            }
            Key::Esc | Key::Ctrl('c') => self.mode = Mode::Panels,
            Key::Char(_)
            | Key::Ctrl(_)
            | Key::Left
            | Key::Right
            | Key::PageUp
            | Key::PageDown
            | Key::Home
            | Key::End
            | Key::Insert
            | Key::Delete
            | Key::F(_) => {}
        }
        vec![Action::Redraw]
    }

    pub(super) fn help_key(&mut self, key: Key) -> Vec<Action> {
        let last = view::help_last(self, self.size.unwrap_or(SIZE_USUAL));
        let Mode::Help { scroll } = &mut self.mode else {
            return Vec::new();
        };
        match key {
            Key::Down | Key::Char('j') => *scroll = (*scroll + 1).min(last),
            Key::Up | Key::Char('k') => *scroll = scroll.saturating_sub(1),
            Key::PageDown | Key::Char(' ') => *scroll = (*scroll + PAGE).min(last),
            Key::PageUp => *scroll = scroll.saturating_sub(PAGE),
            Key::Home => *scroll = 0,
            Key::End => *scroll = last,
            Key::Char(_)
            | Key::Ctrl(_)
            | Key::Enter
            | Key::Esc
            | Key::Tab
            | Key::BackTab
            | Key::Backspace
            | Key::Left
            | Key::Right
            | Key::Insert
            | Key::Delete
            | Key::F(_) => self.mode = Mode::Panels,
        }
        vec![Action::Redraw]
    }

    pub(super) fn fault_key(&mut self, key: Key, burst: bool) -> Vec<Action> {
        if burst && key.is_text() {
            return Vec::new();
        }
        let chosen = if let Key::Char(c) = key {
            self.faults.iter().position(|fault| fault.key == c)
        } else {
            None
        };
        if let Some(index) = chosen {
            return vec![Action::Fault(index), Action::Redraw];
        }
        self.mode = Mode::Panels;
        vec![Action::Redraw]
    }
}
