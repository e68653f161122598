//! The screen as printed buffers, and the mechanics of the guard by keys.

#[path = "screens/sample.rs"]
mod sample;

use std::sync::Arc;
use std::time::Duration;

use engine::command::{Command, Expected};
use engine::record::OperationResult;
use engine::snapshot::{JournalState, Phase, Snapshot};
use engine::types::{Fence, Now, Percent, Untrusted};
use quarterdeck::ui::keymap::{self, Key};
use quarterdeck::ui::theme::{Depth, Symbols, Theme};
use quarterdeck::ui::{Action, Event, FaultItem, Mode, Panel, Ui, view};
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use sample::{now, operation, sample};

fn theme(symbols: Symbols) -> Theme {
    Theme::named("dark", Depth::True, symbols).expect("dark is embedded")
}

fn ui(picture: &Snapshot) -> Ui {
    let mut ui = Ui::new(false, Some(chrono_tz::Europe::Lisbon));
    ui.update(Event::Changed, Some(picture), now());
    ui.service = Some("payments".to_owned());
    ui
}

fn printed(ui: &Ui, picture: &Snapshot, width: u16, height: u16, symbols: Symbols) -> String {
    let backend = TestBackend::new(width, height);
    let mut terminal = Terminal::new(backend).expect("a test backend cannot fail");
    terminal
        .draw(|frame| view::draw(frame, Some(picture), ui, &theme(symbols), now()))
        .expect("a test backend cannot fail");
    terminal.backend().to_string()
}

fn later(millis: u64) -> Now {
    let now = now();
    Now { mono: now.mono + Duration::from_millis(millis), ..now }
}

/// Types keys one by one, far enough apart for a person; returns what was asked and the instant.
fn press(ui: &mut Ui, picture: &Snapshot, keys: &[Key], from: u64) -> (Vec<Action>, u64) {
    let mut at = from;
    let mut actions = Vec::new();
    for key in keys {
        at += 50;
        actions.extend(ui.update(Event::Key(*key), Some(picture), later(at)));
    }
    (actions, at)
}

fn typed(text: &str) -> Vec<Key> {
    text.chars().map(|c| if c == '\n' { Key::Enter } else { Key::Char(c) }).collect()
}

fn submitted(actions: &[Action]) -> Vec<(Command, Option<Expected>)> {
    let asked = actions.iter().filter_map(|action| match action {
        Action::Submit { command, expected, .. } => Some((command.clone(), *expected)),
        Action::Quit | Action::Redraw | Action::Suspend | Action::Fault(_) => None,
    });
    asked.collect()
}

#[test]
fn the_screen_at_four_sizes() {
    let picture = sample();
    let ui = ui(&picture);
    for (width, height) in [(40, 10), (80, 24), (120, 40), (200, 60)] {
        let name = format!("screen_{width}x{height}");
        insta::assert_snapshot!(name, printed(&ui, &picture, width, height, Symbols::Unicode));
    }
    insta::assert_snapshot!("ascii_80x24", printed(&ui, &picture, 80, 24, Symbols::Ascii));
}

#[test]
fn every_panel_zoomed() {
    let picture = sample();
    let mut ui = ui(&picture);
    ui.zoomed = true;
    for panel in Panel::ALL {
        ui.focus = panel;
        let name = format!("zoom_{}", panel.title());
        insta::assert_snapshot!(name, printed(&ui, &picture, 100, 20, Symbols::Unicode));
    }
}

#[test]
fn what_stands_over_the_panels() {
    let picture = sample();
    let mut ui = ui(&picture);
    ui.faults = vec![FaultItem { key: '1', label: "canary errors 20 %".to_owned(), on: true }];
    for (name, keys) in [
        ("guard_rollback", "R"),
        ("guard_shift", "S"),
        ("help", "?"),
        ("palette", ":ro"),
        ("filter", "/pay"),
        ("faults", "F"),
    ] {
        let mut ui = ui.clone();
        press(&mut ui, &picture, &typed(keys), 0);
        insta::assert_snapshot!(name, printed(&ui, &picture, 100, 30, Symbols::Unicode));
        insta::assert_snapshot!(
            format!("{name}_small"),
            printed(&ui, &picture, 40, 10, Symbols::Unicode)
        );
    }
}

#[test]
fn an_operation_and_banners() {
    let mut picture = sample();
    let mut services = (*picture.services).clone();
    services[1].operation = Some(operation(Phase::Applying));
    picture.services = Arc::new(services.clone());
    insta::assert_snapshot!(
        "applying",
        printed(&ui(&picture), &picture, 120, 30, Symbols::Unicode)
    );
    services[1].operation = Some(operation(Phase::Ended(OperationResult::Partial)));
    picture.services = Arc::new(services);
    let mut head = (*picture.head).clone();
    head.journal = JournalState::Spooling { why: Untrusted::new("disk full") };
    picture.head = Arc::new(head);
    let mut ui = ui(&picture);
    ui.lost = Some(sample::ago(12));
    insta::assert_snapshot!("partial", printed(&ui, &picture, 120, 30, Symbols::Unicode));
}

#[test]
fn nothing_panics_at_any_small_size() {
    let picture = sample();
    let mut states = vec![ui(&picture)];
    for keys in ["R", "S", "?", ":", "/", "z", "G"] {
        let mut ui = ui(&picture);
        press(&mut ui, &picture, &typed(keys), 0);
        states.push(ui);
    }
    for ui in &states {
        for width in 1..=60 {
            for height in 1..=20 {
                printed(ui, &picture, width, height, Symbols::Unicode);
            }
        }
    }
}

#[test]
fn a_rollback_takes_the_alias_and_enter() {
    let picture = sample();
    let mut ui = ui(&picture);
    press(&mut ui, &picture, &[Key::Char('R')], 0);
    let (actions, _) = press(&mut ui, &picture, &typed("pay\n"), 500);
    let expected = Expected { set: Percent::new(25), fence: Fence(41), release: None };
    let command =
        Command::Rollback { service: "payments".to_owned(), reason: Untrusted::default() };
    assert_eq!(submitted(&actions), [(command, Some(expected))]);
}

#[test]
fn keys_of_the_dead_time_are_dropped() {
    let picture = sample();
    let mut ui = ui(&picture);
    let (actions, _) = press(&mut ui, &picture, &typed("Rpay\n"), 0);
    assert_eq!(submitted(&actions), []);
    let (actions, _) = press(&mut ui, &picture, &[Key::Enter], 600);
    assert_eq!(submitted(&actions), [], "the field is still empty");
    assert!(matches!(ui.mode, Mode::Guard(_)));
}

#[test]
fn pasted_text_never_confirms() {
    let picture = sample();
    let mut ui = ui(&picture);
    press(&mut ui, &picture, &[Key::Char('R')], 0);
    let paste = Event::Paste("pay\n".to_owned());
    let actions = ui.update(paste, Some(&picture), later(600));
    assert_eq!(submitted(&actions), []);
    let (actions, _) = press(&mut ui, &picture, &[Key::Enter], 600);
    assert_eq!(submitted(&actions), []);
}

#[test]
fn keys_that_come_together_are_no_person() {
    let picture = sample();
    let mut ui = ui(&picture);
    let actions = ui.update(Event::Burst(Key::Char('q')), Some(&picture), later(0));
    assert_eq!(actions, [Action::Redraw]);
    ui.update(Event::Key(Key::Char('R')), Some(&picture), later(5));
    assert!(matches!(ui.mode, Mode::Panels), "5 ms after another key");
}

#[test]
fn an_idle_guard_closes_itself() {
    let picture = sample();
    let mut ui = ui(&picture);
    press(&mut ui, &picture, &[Key::Char('R')], 0);
    ui.update(Event::Tick, Some(&picture), later(14_000));
    assert!(matches!(ui.mode, Mode::Guard(_)));
    ui.update(Event::Tick, Some(&picture), later(15_100));
    assert!(matches!(ui.mode, Mode::Panels));
}

#[test]
fn the_state_that_was_seen_travels_even_when_the_target_moved() {
    let picture = sample();
    let mut ui = ui(&picture);
    press(&mut ui, &picture, &[Key::Char('R')], 0);
    let moved = moved_to(50);
    assert!(printed(&ui, &moved, 100, 30, Symbols::Unicode).contains("moved under you: now 50 %"));
    let (actions, _) = press(&mut ui, &moved, &typed("pay\n"), 500);
    let expected = Expected { set: Percent::new(25), fence: Fence(41), release: None };
    assert_eq!(submitted(&actions).first().and_then(|asked| asked.1), Some(expected));
}

#[test]
fn exposure_waits_and_any_key_cancels_the_wait() {
    let picture = sample();
    let keys: Vec<Key> = typed("pay\n40\nlooks good\n");
    let mut ui = ui(&picture);
    press(&mut ui, &picture, &[Key::Char('S')], 0);
    let (actions, at) = press(&mut ui, &picture, &keys, 500);
    assert_eq!(submitted(&actions), [], "the countdown runs");
    let mut cancelled = ui.clone();
    let actions = cancelled.update(Event::Key(Key::Enter), Some(&picture), later(at + 4_000));
    assert_eq!(submitted(&actions), []);
    assert!(matches!(cancelled.mode, Mode::Panels));
    let mut overtaken = ui.clone();
    let actions = overtaken.update(Event::Changed, Some(&moved_to(50)), later(at + 4_900));
    assert_eq!(submitted(&actions), []);
    let actions = ui.update(Event::Tick, Some(&picture), later(at + 5_001));
    let canary = Percent::new(40).expect("a percent");
    let reason = Untrusted::new("looks good");
    let command = Command::Split { service: "payments".to_owned(), canary, reason };
    assert_eq!(submitted(&actions).first().map(|asked| &asked.0), Some(&command));
}

#[test]
fn read_only_leaks_through_no_way() {
    let picture = sample();
    let mut ui = ui(&picture);
    ui.read_only = true;
    for keys in ["R", "A", "P", "S", "v", "a", "e", ":roll\n", ":ackn\n"] {
        let (actions, _) = press(&mut ui, &picture, &typed(keys), 0);
        assert_eq!(submitted(&actions), [], "{keys}");
        assert!(matches!(ui.mode, Mode::Panels), "{keys}");
    }
}

#[test]
fn an_acknowledgement_is_one_key_and_says_that_it_waits() {
    let picture = sample();
    let mut ui = ui(&picture);
    ui.focus = Panel::Incidents;
    let (actions, _) = press(&mut ui, &picture, &[Key::Char('a'), Key::Char('a')], 0);
    assert_eq!(submitted(&actions).len(), 1, "asked once");
    assert!(printed(&ui, &picture, 100, 30, Symbols::Unicode).contains("acking…"));
}

#[test]
fn the_first_interrupt_cancels_and_the_second_quits() {
    let picture = sample();
    let mut ui = ui(&picture);
    let (actions, at) = press(&mut ui, &picture, &[Key::Ctrl('c')], 0);
    assert!(!actions.contains(&Action::Quit));
    let (actions, _) = press(&mut ui, &picture, &[Key::Ctrl('c')], at);
    assert!(actions.contains(&Action::Quit));
}

#[test]
fn the_page_of_keys_is_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/keys.md");
    let made = keymap::document();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &made).expect("docs is writable");
    }
    let kept = std::fs::read_to_string(path).expect("docs/keys.md exists");
    assert_eq!(kept, made, "run with UPDATE_DOCS=1 to write it again");
}

fn moved_to(canary: u8) -> Snapshot {
    let mut moved = sample();
    let mut services = (*moved.services).clone();
    let route = services[1].route.as_mut().expect("payments has a route");
    route.set = Percent::new(canary);
    route.fence = Fence(42);
    moved.services = Arc::new(services);
    moved
}
