//! A screen too small for panels: nothing is armed, and nothing fires, that is not seen there.

use std::sync::Arc;

use engine::command::Command;
use engine::snapshot::{JournalState, Snapshot};
use engine::types::Untrusted;
use quarterdeck::ui::keymap::Key;
use quarterdeck::ui::past::Past;
use quarterdeck::ui::theme::Symbols;
use quarterdeck::ui::{Event, Mode, Ui};
use ratatui::layout::Size;

use crate::sample::{ago, sample};
use crate::{calm, later, press, printed, submitted, typed, ui};

fn sized(picture: &Snapshot, (width, height): (u16, u16)) -> Ui {
    let mut ui = ui(picture);
    ui.update(Event::Resize(Size { width, height }), Some(picture), later(0));
    ui
}

fn shown(ui: &Ui, picture: &Snapshot) -> String {
    let size = ui.size.expect("it was told");
    printed(ui, picture, size.width, size.height, Symbols::Unicode)
}

#[test]
fn a_rollback_says_all_that_it_is_and_fires() {
    let picture = sample();
    for size in [(39, 9), (120, 9), (30, 2), (60, 1)] {
        let mut ui = sized(&picture, size);
        press(&mut ui, &picture, &[Key::Char('R')], 0);
        let (_, at) = press(&mut ui, &picture, &typed("pax"), 500);
        let screen = shown(&ui, &picture);
        assert!(screen.contains("ROLLBACK payments 25 % → 0 %"), "{size:?} {screen}");
        assert!(screen.contains("type PAY pax▏"), "{size:?} {screen}");
        let (actions, at) = press(&mut ui, &picture, &[Key::Enter], at);
        assert_eq!(submitted(&actions), []);
        if size.1 > 2 {
            assert!(shown(&ui, &picture).contains("\"pax\" is not the alias"), "{screen}");
        }
        let (actions, _) = press(&mut ui, &picture, &typed("\u{7f}"), at);
        assert_eq!(submitted(&actions), []);
        let (actions, _) = press(&mut ui, &picture, &[Key::Ctrl('u')], at + 50);
        assert_eq!(submitted(&actions), []);
        let (actions, _) = press(&mut ui, &picture, &typed("pay\n"), at + 100);
        let command =
            Command::Rollback { service: "payments".to_owned(), reason: Untrusted::default() };
        assert_eq!(submitted(&actions).first().map(|asked| &asked.0), Some(&command));
        assert!(shown(&ui, &picture).contains("REQUESTED"), "{size:?}");
    }
}

#[test]
fn stop_the_line_says_what_it_does() {
    let picture = sample();
    let mut ui = sized(&picture, (39, 9));
    press(&mut ui, &picture, &[Key::Char('X')], 0);
    let screen = shown(&ui, &picture);
    assert!(screen.contains("STOP THE LINE: no release for 60 min"), "{screen}");
    let (actions, _) = press(&mut ui, &picture, &[Key::Enter], 500);
    assert_eq!(submitted(&actions).len(), 1);
}

#[test]
fn what_must_say_more_does_not_open() {
    let picture = sample();
    let check = |size, keys: &str, what: &str| {
        let mut ui = sized(&picture, size);
        press(&mut ui, &picture, &typed(keys), 0);
        assert!(matches!(ui.mode, Mode::Panels), "{size:?} {keys}");
        let message = ui.message.as_ref().map_or("", |message| &message.text);
        assert!(message.starts_with(&format!("too small for {what}: it takes 40x10")), "{message}");
    };
    for (keys, what) in [("S", "SHIFT"), ("P", "PROMOTE"), ("f", "FREEZE"), (":shift\n", "SHIFT")] {
        check((39, 9), keys, what);
        check((39, 40), keys, what);
        check((200, 9), keys, what);
    }
    check((20, 9), "R", "ROLLBACK");
    check((39, 1), "R", "ROLLBACK");
    check((39, 1), "X", "STOP THE LINE");
    check((39, 9), "?", "the keys");
}

#[test]
fn a_screen_that_shrinks_sends_nothing() {
    let picture = calm();
    let mut ui = sized(&picture, (80, 24));
    press(&mut ui, &picture, &[Key::Char('S')], 0);
    let (_, at) = press(&mut ui, &picture, &typed("pay\n40\nlooks good\n"), 500);
    assert!(matches!(ui.mode, Mode::Guard(_)));
    let small = Event::Resize(Size { width: 39, height: 9 });
    ui.update(small, Some(&picture), later(at + 1_000));
    assert!(shown(&ui, &picture).contains("too small for SHIFT"));
    let actions = ui.update(Event::Tick, Some(&picture), later(at + 6_000));
    assert_eq!(submitted(&actions), []);
}

#[test]
fn what_changes_the_meaning_of_a_status_stands_before_it() {
    let mut picture = sample();
    let mut head = (*picture.head).clone();
    head.journal = JournalState::Spooling { why: Untrusted::new("disk full") };
    picture.head = Arc::new(head);
    for size in [(39, 9), (160, 1)] {
        let mut own = sized(&picture, size);
        own.read_only = true;
        own.lost = Some(ago(12));
        own.past = Some(Past::Kept);
        own.say("said just now", later(0));
        let screen = shown(&own, &picture);
        let parts =
            ["said just now", "PAST", "STALE", "READ-ONLY", "JOURNAL CANNOT BE WRITTEN", "open"];
        let at = parts.map(|part| screen.find(part).unwrap_or_else(|| panic!("{part}: {screen}")));
        assert!(at.is_sorted(), "{screen}");
    }
}

#[test]
fn what_is_typed_is_seen() {
    let picture = sample();
    let mut own = sized(&picture, (39, 1));
    press(&mut own, &picture, &typed("/a long line of words for the filter"), 0);
    assert!(shown(&own, &picture).contains("words for the filter▏"), "{}", shown(&own, &picture));
    for size in [(60, 1), (39, 2)] {
        let mut own = sized(&picture, size);
        press(&mut own, &picture, &typed("X"), 0);
        press(&mut own, &picture, &typed("the database of the shop is on fire"), 500);
        let screen = shown(&own, &picture);
        assert!(screen.contains("fire▏"), "{size:?} {screen}");
    }
    let mut own = sized(&picture, (39, 2));
    press(&mut own, &picture, &typed(":ro"), 0);
    let screen = shown(&own, &picture);
    assert!(screen.contains(":ro▏") && screen.contains("rollback"), "{screen}");
}
