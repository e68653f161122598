//! The wall: which page it shows, and which keys it takes.
//!
//! Decides what stands there: the overview and each service in turn, and only what is in trouble
//! while something is. Never acts. Contract: on a kiosk no key does anything but the one that ends
//! it.

use std::cmp::Reverse;
use std::time::Duration;

use engine::reading::AlertState;
use engine::snapshot::{IncidentView, Snapshot};
use engine::types::{Now, Status};

use super::keymap::{Act, Key, Keymap};
use super::{Action, Mode, Page, Ui};

/// Long enough to be read from across the room.
const TURN: Duration = Duration::from_secs(20);
/// Nothing burns in that moves this often.
const SHIFT: Duration = Duration::from_mins(10);

/// What the wall shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sight {
    Overview,
    Service(String),
}

/// The worst service while anything is DOWN, the first of the list among equals; the overview while
/// nobody has an alarm; else one after the other.
#[must_use]
pub fn sight(picture: &Snapshot, since: Now, shown: Now, clock: Now) -> Sight {
    let worst = picture.services.iter().min_by_key(|service| Reverse(service.status_at(shown)));
    let down = worst.filter(|worst| worst.status_at(shown) == Status::Down);
    if let Some(down) = down {
        return Sight::Service(down.name.clone());
    }
    if unheard(picture, shown).next().is_some() {
        return Sight::Overview;
    }
    let turn = since.age(clock).as_secs() / TURN.as_secs();
    let pages = picture.services.len() as u64 + 1;
    let place = usize::try_from(turn % pages.max(1)).unwrap_or_default();
    let service = place.checked_sub(1).and_then(|place| picture.services.get(place));
    service.map_or(Sight::Overview, |service| Sight::Service(service.name.clone()))
}

/// What nobody has taken or put aside, worst first as the engine has it: somebody must look.
pub fn unheard(picture: &Snapshot, now: Now) -> impl Iterator<Item = &IncidentView> {
    picture.incidents.open.iter().filter(move |incident| {
        incident.state == AlertState::Triggered && !incident.is_snoozed(now)
    })
}

/// By how many cells the whole picture is moved, on a wall that stands for weeks.
#[must_use]
pub fn shift(since: Now, clock: Now) -> u16 {
    u16::try_from(since.age(clock).as_secs() / SHIFT.as_secs() % 2).unwrap_or_default()
}

impl Ui {
    pub(super) fn room_key(
        &mut self,
        key: Key,
        burst: bool,
        live: Option<&Snapshot>,
        now: Now,
    ) -> Vec<Action> {
        let act = self.keymap.find(key).map(|binding| binding.act);
        match act {
            Some(Act::Interrupt) => self.act(Act::Interrupt, live, now),
            Some(_) | None if self.kiosk || (burst && key.is_text()) => Vec::new(),
            Some(Act::Room | Act::Back) => {
                self.mode = Mode::Panels;
                vec![Action::Redraw]
            }
            Some(act @ (Act::Theme | Act::Timezone | Act::Suspend | Act::Quit)) => {
                self.act(act, live, now)
            }
            Some(_) => {
                let back = self.keymap.shown(Act::Room);
                self.say(&format!("the wall takes no such key: {back} leaves it"), now);
                vec![Action::Redraw]
            }
            None => Vec::new(),
        }
    }

    /// A page scrolls and closes; what else is asked for is done on the panels.
    pub(super) fn page_key(
        &mut self,
        key: Key,
        burst: bool,
        live: Option<&Snapshot>,
        now: Now,
    ) -> Vec<Action> {
        let Mode::Page { page, scroll } = &mut self.mode else { return Vec::new() };
        if burst && key.is_text() {
            return Vec::new();
        }
        let act = Keymap::find(&self.keymap, key).map(|binding| binding.act);
        match (act, *page) {
            (Some(Act::Down), _) => *scroll += 1,
            (Some(Act::Up), _) => *scroll = scroll.saturating_sub(1),
            (Some(Act::PageDown), _) => *scroll += super::PAGE,
            (Some(Act::PageUp), _) => *scroll = scroll.saturating_sub(super::PAGE),
            (Some(Act::First), _) => *scroll = 0,
            (Some(Act::Changes), Page::Handover) => *page = Page::Changes,
            (Some(Act::Handover), Page::Changes) => *page = Page::Handover,
            (
                Some(
                    act @ (Act::Window
                    | Act::Timezone
                    | Act::Theme
                    | Act::Earlier
                    | Act::Later
                    | Act::MuchEarlier
                    | Act::MuchLater
                    | Act::Slower
                    | Act::Faster
                    | Act::Interrupt
                    | Act::Suspend),
                ),
                _,
            ) => return self.act(act, live, now),
            (_, _) => self.mode = Mode::Panels,
        }
        vec![Action::Redraw]
    }
}

#[cfg(test)]
mod tests {
    use engine::types::Time;

    use super::*;

    #[test]
    fn the_picture_moves_by_a_cell_every_ten_minutes() {
        let at = |seconds: u64| Now {
            mono: Time(seconds * 1_000_000),
            wall: chrono::DateTime::UNIX_EPOCH,
        };
        let check = |seconds, expected| assert_eq!(shift(at(0), at(seconds)), expected);
        check(0, 0);
        check(599, 0);
        check(600, 1);
        check(1_200, 0);
    }
}
