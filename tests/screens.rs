//! The screen as printed buffers, and the mechanics of the guard by keys.

#[path = "screens/sample.rs"]
mod sample;

use std::sync::Arc;
use std::time::Duration;

use engine::command::{Command, Expected};
use engine::record::OperationResult;
use engine::snapshot::{
    INCIDENTS_SHOWN_MAX, IncidentView, Incidents, JournalState, Phase, Snapshot,
};
use engine::types::{Fence, Now, Percent, Status, Untrusted};
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
    drawn(ui, picture, (width, height), symbols, now())
}

fn printed_at(ui: &Ui, picture: &Snapshot, size: (u16, u16), now: Now) -> String {
    drawn(ui, picture, size, Symbols::Unicode, now)
}

fn drawn(
    ui: &Ui,
    picture: &Snapshot,
    (width, height): (u16, u16),
    symbols: Symbols,
    now: Now,
) -> String {
    let backend = TestBackend::new(width, height);
    let mut terminal = Terminal::new(backend).expect("a test backend cannot fail");
    terminal
        .draw(|frame| view::draw(frame, Some(picture), ui, &theme(symbols), now))
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
fn a_storm_is_counted_and_its_worst_are_listed() {
    let mut picture = sample();
    let mut storm = (*picture.incidents).clone();
    let one = storm.open[0].clone();
    storm.open = (0..INCIDENTS_SHOWN_MAX)
        .map(|number| IncidentView { key: format!("a/{number}"), ..one.clone() })
        .collect();
    storm.total = 10_000;
    storm.dropped = 2_500;
    picture.incidents = Arc::new(storm);
    let mut ui = ui(&picture);
    ui.focus = Panel::Incidents;
    ui.zoomed = true;
    let screen = printed(&ui, &picture, 120, 30, Symbols::Unicode);
    let title = "10000 open, the worst 500 listed, 2500 more left out by their feed's limit";
    assert!(screen.contains(title), "{screen}");
    press(&mut ui, &picture, &[Key::Char('G')], 0);
    assert_eq!(ui.incident.as_deref(), Some("a/499"));
}

#[test]
fn a_silent_feed_is_said_where_its_incidents_stand() {
    let mut picture = sample();
    let mut sources = (*picture.sources).clone();
    sources[0].success = Some(sample::ago(40));
    sources[0].error = Untrusted::new("connection refused");
    picture.sources = Arc::new(sources.clone());
    let check = |picture: &Snapshot, text: &str| {
        let mut ui = ui(picture);
        ui.focus = Panel::Incidents;
        let screen = printed(&ui, picture, 80, 24, Symbols::Unicode);
        assert!(screen.contains(text), "{text}: {screen}");
    };
    check(&picture, "alerts: silent for 40s connection refused");
    let none = Snapshot { incidents: Arc::new(Incidents::default()), ..picture.clone() };
    check(&none, "none was open when it was last heard");
    sources[0].success = None;
    picture.sources = Arc::new(sources);
    check(&picture, "alerts: silent since the start connection refused");
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
    let picture = calm();
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
    assert_eq!(submitted(&actions).first().map(|asked| &asked.0), Some(&split(40, "looks good")));
}

/// What the sample's payments has against it.
const AGAINST: [&str; 4] = [
    "api DEGRADED: db: pool at 96 %",
    "canary worse: errors 21.4 %, stable 0.1 %",
    "canary worse: takes 2.1s, stable 88ms",
    "1 critical open: HighErrorRate",
];

#[test]
fn more_exposure_names_what_stands_against_it_and_wants_a_typed_override() {
    let picture = sample();
    for (verb, percent) in [("S", "40\n"), ("P", "100\n")] {
        let mut ui = ui(&picture);
        press(&mut ui, &picture, &typed(verb), 0);
        let (_, at) = press(&mut ui, &picture, &typed("pay\n"), 500);
        let screen = printed(&ui, &picture, 100, 30, Symbols::Unicode);
        for text in AGAINST {
            assert!(screen.contains(text), "{text}: {screen}");
        }
        let (actions, at) = press(&mut ui, &picture, &typed(percent), at);
        let (_, at) = press(&mut ui, &picture, &typed("\nyes\n"), at);
        let screen = printed(&ui, &picture, 100, 30, Symbols::Unicode);
        assert!(screen.contains("type override, or Esc"), "{screen}");
        assert_eq!(submitted(&actions), []);
        let (_, at) = press(&mut ui, &picture, &[Key::Ctrl('u')], at);
        let (_, at) = press(&mut ui, &picture, &typed("override\n\n"), at);
        let Mode::Guard(guard) = &ui.mode else { panic!("no guard") };
        assert!(guard.fires.is_none(), "a reason is asked for");
        let (_, at) = press(&mut ui, &picture, &typed("known: old pool\n"), at);
        let actions = ui.update(Event::Tick, Some(&picture), later(at + 5_001));
        let asked = submitted(&actions);
        let (Command::Split { reason, .. } | Command::Promote { reason, .. }) = &asked[0].0 else {
            panic!("{asked:?}")
        };
        let reason = reason.display();
        assert!(reason.starts_with("OVERRIDE of [api DEGRADED"), "{reason}");
        assert!(reason.ends_with("]: known: old pool"), "{reason}");
        assert!(AGAINST.iter().all(|text| reason.contains(text)), "{reason}");
    }
}

#[test]
fn less_exposure_and_every_way_to_safety_want_no_override() {
    let picture = sample();
    let mut down = ui(&picture);
    press(&mut down, &picture, &[Key::Char('S')], 0);
    let (_, at) = press(&mut down, &picture, &typed("pay\n10\nit is bad\n"), 500);
    let actions = down.update(Event::Tick, Some(&picture), later(at + 5_001));
    assert_eq!(submitted(&actions).first().map(|asked| &asked.0), Some(&split(10, "it is bad")));
    for verb in ["R", "A"] {
        let mut ui = ui(&picture);
        press(&mut ui, &picture, &typed(verb), 0);
        let screen = printed(&ui, &picture, 100, 30, Symbols::Unicode);
        assert!(!screen.contains("AGAINST") && !screen.contains("override"), "{screen}");
        let (actions, _) = press(&mut ui, &picture, &typed("pay\n"), 500);
        assert_eq!(submitted(&actions).len(), 1, "{verb}");
    }
}

#[test]
fn what_turns_up_in_the_countdown_stops_it() {
    let mut ui = ui(&calm());
    press(&mut ui, &calm(), &[Key::Char('S')], 0);
    let (_, at) = press(&mut ui, &calm(), &typed("pay\n40\nlooks good\n"), 500);
    let mut worse = calm();
    worse.incidents = sample().incidents;
    let actions = ui.update(Event::Changed, Some(&worse), later(at + 1_000));
    assert_eq!(submitted(&actions), []);
    let actions = ui.update(Event::Tick, Some(&worse), later(at + 6_000));
    assert_eq!(submitted(&actions), [], "it was stopped");
    let screen = printed(&ui, &worse, 100, 30, Symbols::Unicode);
    assert!(screen.contains("stopped: something new stands against it"), "{screen}");
    assert!(screen.contains("AGAINST │ 1 critical open"), "{screen}");
    // What went away again stays in its row, and wants no override's words in the journal.
    let (_, at) = press(&mut ui, &calm(), &typed("\noverride"), at + 6_000);
    let screen = printed(&ui, &calm(), 100, 30, Symbols::Unicode);
    assert!(screen.contains("no longer: 1 critical open"), "{screen}");
    press(&mut ui, &calm(), &[Key::Enter], at);
    let actions = ui.update(Event::Tick, Some(&calm()), later(at + 6_000));
    assert_eq!(submitted(&actions).first().map(|asked| &asked.0), Some(&split(40, "looks good")));
}

#[test]
fn the_guard_at_every_size() {
    let picture = sample();
    for (name, keys) in [("override", "S"), ("rollback", "R")] {
        for (width, height) in [(80, 24), (60, 20), (40, 10)] {
            let mut ui = ui(&picture);
            press(&mut ui, &picture, &typed(keys), 0);
            let (_, at) = press(&mut ui, &picture, &typed("pay"), 500);
            if keys == "S" {
                press(&mut ui, &picture, &typed("\n40\nno\n"), at);
            }
            let name = format!("guard_{name}_{width}x{height}");
            let screen = printed_at(&ui, &picture, (width, height), later(at + 100));
            insta::assert_snapshot!(name, screen);
        }
    }
}

fn split(percent: u8, reason: &str) -> Command {
    let canary = Percent::new(percent).expect("a percent");
    Command::Split { service: "payments".to_owned(), canary, reason: Untrusted::new(reason) }
}

/// The sample with nothing against more exposure of payments.
fn calm() -> Snapshot {
    let mut picture = sample();
    let mut services = (*picture.services).clone();
    services[1].probes[0].status = Status::Up;
    // Nothing grows stale while a test types.
    services[1].probes[0].interval = Duration::from_mins(1);
    let signals = services[1].signals.as_mut().expect("payments is counted");
    signals.canary = signals.stable.clone();
    signals.interval = Duration::from_mins(1);
    picture.services = Arc::new(services);
    picture.incidents = Arc::new(Incidents::default());
    picture
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
