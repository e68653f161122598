//! Since when the handover tells what happened: the window, or a time that was typed.
//!
//! Decides which instant a time of day means: the last one in the shown zone. Never a key of
//! another page. Contract: what is half typed changes nothing; Enter takes it, Esc forgets it.

use chrono::{DateTime, TimeDelta, Utc};
use engine::types::Now;

use super::keymap::Key;
use super::{Action, Mode, Page, Ui};

/// `23:59`.
const TYPED_MAX: usize = 5;
/// Every time of day was once in this, also on the day that is an hour longer.
const BACK_MAX: i64 = 25 * 60;

#[derive(Clone, Debug, Default)]
pub struct Since {
    pub typed: String,
    /// `None` for the window.
    pub from: Option<DateTime<Utc>>,
}

impl Ui {
    /// A time of day in the shown zone, as `14:03:11`.
    #[must_use]
    pub fn time_of_day(&self, at: DateTime<Utc>) -> String {
        match self.zone.checked_sub(1).and_then(|zone| self.zones.get(zone)) {
            Some(zone) => zone.time_of_day(at),
            None => at.format("%H:%M:%S").to_string(),
        }
    }

    /// `None` for a key that is not meant for the time.
    pub(super) fn since_key(&mut self, key: Key, burst: bool, now: Now) -> Option<Vec<Action>> {
        let Mode::Page { page: Page::Handover, scroll } = &mut self.mode else {
            self.since.typed.clear();
            return None;
        };
        let begun = !self.since.typed.is_empty();
        match key {
            Key::Char(c) if !burst && (c.is_ascii_digit() || (begun && c == ':')) => {
                if self.since.typed.len() < TYPED_MAX {
                    self.since.typed.push(c);
                }
            }
            Key::Backspace if begun => _ = self.since.typed.pop(),
            Key::Esc if begun => self.since.typed.clear(),
            Key::Enter if begun => {
                *scroll = 0;
                let typed = std::mem::take(&mut self.since.typed);
                let shown = self.stopped.as_ref().map_or(now, |(at, _)| *at);
                match self.last(&typed, shown.wall) {
                    Some(from) => self.since.from = Some(from),
                    None => self.alarm(&format!("{typed} is no time: 14:00"), now),
                }
            }
            Key::Char(_)
            | Key::Ctrl(_)
            | Key::F(_)
            | Key::Insert
            | Key::Delete
            | Key::Enter
            | Key::Esc
            | Key::Tab
            | Key::BackTab
            | Key::Backspace
            | Key::Up
            | Key::Down
            | Key::Left
            | Key::Right
            | Key::PageUp
            | Key::PageDown
            | Key::Home
            | Key::End => return None,
        }
        Some(vec![Action::Redraw])
    }

    /// The last instant that read so; `14:00`, `9:30` and `1400` are times.
    fn last(&self, typed: &str, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let cut = typed.len().checked_sub(2)?;
        let (hour, minute) = typed.split_once(':').unwrap_or(typed.split_at(cut));
        let (hour, minute): (u8, u8) = (hour.parse().ok()?, minute.parse().ok()?);
        let wanted = format!("{hour:02}:{minute:02}:");
        let this_minute = now - TimeDelta::seconds(now.timestamp() % 60);
        let mut minutes = (0..=BACK_MAX).map(|back| this_minute - TimeDelta::minutes(back));
        minutes.find(|at| self.time_of_day(*at).starts_with(&wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_day_is_the_last_one_in_the_shown_zone() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().expect("a time");
        let zone = "Europe/Lisbon".parse().expect("a zone");
        let mut ui = Ui::new(false, Some(zone));
        let now = at("2026-07-14T14:03:11Z");
        let check = |ui: &Ui, typed, expected: &str| {
            assert_eq!(ui.last(typed, now), Some(at(expected)), "{typed}");
        };
        check(&ui, "14:00", "2026-07-14T14:00:00Z");
        check(&ui, "1403", "2026-07-14T14:03:00Z");
        check(&ui, "14:04", "2026-07-13T14:04:00Z");
        check(&ui, "9:30", "2026-07-14T09:30:00Z");
        check(&ui, "000", "2026-07-14T00:00:00Z");
        ui.zone = 1;
        check(&ui, "14:00", "2026-07-14T13:00:00Z");
        check(&ui, "15:03", "2026-07-14T14:03:00Z");
        for typed in ["", "1", "24:00", "12:60", "1:", "1:2:3", ":30", "99999"] {
            assert_eq!(ui.last(typed, now), None, "{typed}");
        }
        // What the clocks left out was there the day before.
        let spring = at("2026-03-29T01:30:00Z");
        assert_eq!(ui.last("01:15", spring), Some(at("2026-03-28T01:15:00Z")));
        assert_eq!(ui.last("02:15", spring), Some(at("2026-03-29T01:15:00Z")));
    }
}
