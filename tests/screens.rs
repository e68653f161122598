//! The screen as printed buffers, and the mechanics of the guard by keys.

#[path = "screens/classes.rs"]
mod classes;
#[path = "screens/cost.rs"]
mod cost;
#[path = "screens/faces.rs"]
mod faces;
#[path = "screens/gates.rs"]
mod gates;
#[path = "screens/header.rs"]
mod header;
#[path = "screens/pages.rs"]
mod pages;
#[path = "screens/panels.rs"]
mod panels;
#[path = "screens/pictures.rs"]
mod pictures;
#[path = "screens/rows.rs"]
mod rows;
#[path = "screens/sample.rs"]
mod sample;
#[path = "screens/small.rs"]
mod small;
#[path = "screens/tenants.rs"]
mod tenants;
#[path = "screens/times.rs"]
mod times;
#[path = "screens/trouble.rs"]
mod trouble;

use std::sync::Arc;
use std::time::Duration;

use engine::command::{Command, Expected};
use engine::reading::{AlertState, Temperature};
use engine::record::{OperationResult, ReleaseState};
use engine::snapshot::{
    AdviceView, AlertLine, AlertsView, FreezeView, HolderView, INCIDENTS_SHOWN_MAX, IncidentView,
    Incidents, JournalState, NameCount, NoteView, Phase, ReleaseView, Snapshot, TriggerState,
};
use engine::triage::Say;
use engine::types::{Fence, Now, Percent, Severity, Status, Untrusted};
use quarterdeck::ui::keymap::{self, Key};
use quarterdeck::ui::theme::{Depth, Symbols, Theme};
use quarterdeck::ui::{Action, Event, FaultItem, Mode, Panel, Ui, view};
use quarterdeck::zone::Zone;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::layout::Size;

use faces::faces;
use sample::{now, operation, release, releasing, sample};

fn first_probe(
    service: &mut Arc<engine::snapshot::ServiceView>,
) -> &mut engine::snapshot::ProbeView {
    Arc::make_mut(&mut Arc::make_mut(service).probes[0])
}

fn lisbon() -> Zone {
    "Europe/Lisbon".parse().expect("a zone")
}

fn theme(symbols: Symbols) -> Theme {
    Theme::named("dark", Depth::True, symbols).expect("dark is embedded")
}

fn ui(picture: &Snapshot) -> Ui {
    let mut ui = Ui::new(false, Some(lisbon()));
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
    text.chars()
        .map(|c| match c {
            '\n' => Key::Enter,
            '\t' => Key::Tab,
            c => Key::Char(c),
        })
        .collect()
}

fn submitted(actions: &[Action]) -> Vec<(Command, Option<Expected>)> {
    let asked = actions.iter().filter_map(|action| match action {
        Action::Submit { command, expected, .. } => Some((command.clone(), *expected)),
        Action::Quit
        | Action::Redraw
        | Action::Suspend
        | Action::Fault(_)
        | Action::Theme
        | Action::Mouse(_)
        | Action::Copy(_)
        | Action::Seek { .. }
        | Action::PauseReplay
        | Action::Speed { .. } => None,
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
    Arc::make_mut(&mut services[1]).operation = Some(operation(Phase::Applying));
    picture.services = Arc::new(services.clone());
    insta::assert_snapshot!(
        "applying",
        printed(&ui(&picture), &picture, 120, 30, Symbols::Unicode)
    );
    Arc::make_mut(&mut services[1]).operation =
        Some(operation(Phase::Ended(OperationResult::Partial)));
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
fn nothing_panics_at_any_small_size() {
    let picture = releasing(faces().swap_remove(2).1);
    let mut states = vec![ui(&picture)];
    for keys in ["R", "S", "?", ":", "/", "z", "G", "y", "X", "b", "o", "lz", "llz"] {
        let mut ui = ui(&picture);
        press(&mut ui, &picture, &typed(keys), 0);
        states.push(ui);
    }
    for ui in &states {
        for width in (1..=60).step_by(3) {
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
fn an_enter_that_came_with_the_text_fires_nothing() {
    let picture = calm();
    for (verb, text) in [('R', "pay\n"), ('S', "pay\n40\npasted\n"), ('X', "why\n")] {
        let mut ui = ui(&picture);
        press(&mut ui, &picture, &[Key::Char(verb)], 0);
        let mut actions = Vec::new();
        for key in typed(text) {
            actions.extend(ui.update(Event::Burst(key), Some(&picture), later(600)));
        }
        actions.extend(ui.update(Event::Tick, Some(&picture), later(10_000)));
        assert_eq!(submitted(&actions), [], "{verb}");
        let screen = printed(&ui, &picture, 100, 30, Symbols::Unicode);
        assert!(screen.contains("Enter came with the text: press it again"), "{screen}");
    }
    let mut ui = ui(&picture);
    press(&mut ui, &picture, &[Key::Char('R')], 0);
    for key in typed("pay\n") {
        ui.update(Event::Burst(key), Some(&picture), later(600));
    }
    let (actions, _) = press(&mut ui, &picture, &[Key::Enter], 700);
    assert_eq!(submitted(&actions).len(), 1, "a person's own Enter confirms what is there");
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
    assert!(screen.contains("AGAINST  │ 1 critical open"), "{screen}");
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
    first_probe(&mut services[1]).status = Status::Up;
    // Nothing grows stale while a test types.
    first_probe(&mut services[1]).interval = Duration::from_mins(1);
    let signals = Arc::make_mut(&mut services[1]).signals.as_mut().expect("payments is counted");
    signals.canary = signals.stable.clone();
    signals.interval = Duration::from_mins(1);
    let route = Arc::make_mut(&mut services[1]).route.as_mut().expect("payments has a route");
    route.routers.iter_mut().for_each(|router| router.reread = Duration::from_mins(1));
    picture.services = Arc::new(services);
    picture.incidents = Arc::new(Incidents::default());
    picture
}

#[test]
fn read_only_leaks_through_no_way() {
    let picture = releasing(faces().swap_remove(2).1);
    let mut ui = ui(&picture);
    ui.read_only = true;
    let keys = ["R", "A", "P", "S", "v", "V", "a", "e", ":roll\n", ":ackn\n"];
    let more = ["D", "E", "p", "u", "y", "n", "X", "f", "T", "o", "O", "b", "B", ":stop the\n"];
    ui.focus = Panel::Incidents;
    for keys in keys.into_iter().chain(more) {
        let (actions, _) = press(&mut ui, &picture, &typed(keys), 0);
        assert_eq!(submitted(&actions), [], "{keys}");
        assert!(matches!(ui.mode, Mode::Panels), "{keys}");
    }
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
    let route = Arc::make_mut(&mut services[1]).route.as_mut().expect("payments has a route");
    route.set = Percent::new(canary);
    route.fence = Fence(42);
    moved.services = Arc::new(services);
    moved
}

#[test]
fn the_release_in_every_state_at_four_sizes() {
    for (name, release) in faces() {
        let picture = releasing(release);
        let ui = ui(&picture);
        for (width, height) in [(40, 10), (80, 24), (120, 40), (200, 60)] {
            let name = format!("release_{name}_{width}x{height}");
            insta::assert_snapshot!(name, printed(&ui, &picture, width, height, Symbols::Unicode));
        }
    }
}

#[test]
fn a_zoomed_release_shows_its_plan_and_every_check() {
    let mut picture = releasing(release());
    let mut services = (*picture.services).clone();
    Arc::make_mut(&mut services[1]).triggers[0].state = TriggerState::Held;
    Arc::make_mut(&mut services[1]).readiness.checks[1].ok = Some(false);
    Arc::make_mut(&mut services[1]).readiness.checks[1].why =
        Untrusted::new("v1.8.2 is marked bad: leaks");
    picture.services = Arc::new(services);
    let mut ui = ui(&picture);
    ui.focus = Panel::Release;
    ui.zoomed = true;
    insta::assert_snapshot!("release_zoomed", printed(&ui, &picture, 100, 40, Symbols::Unicode));
    insta::assert_snapshot!(
        "release_zoomed_ascii",
        printed(&ui, &picture, 100, 40, Symbols::Ascii)
    );
}

/// The fired commands: `arm`, then after the dead time `keys`, then the countdown.
fn fired(picture: &Snapshot, arm: &str, keys: &str) -> Vec<(Command, Option<Expected>)> {
    let mut ui = ui(picture);
    press(&mut ui, picture, &typed(arm), 0);
    let (mut actions, at) = press(&mut ui, picture, &typed(keys), 500);
    actions.extend(ui.update(Event::Tick, Some(picture), later(at + 5_001)));
    submitted(&actions)
}

/// The calm sample with a release of payments in this state.
fn calm_release(state: ReleaseState) -> Snapshot {
    let mut picture = calm();
    let mut services = (*picture.services).clone();
    Arc::make_mut(&mut services[1]).release = Some(ReleaseView { state, ..release() });
    picture.services = Arc::new(services);
    picture
}

const PAYMENTS: &str = "payments";

#[test]
fn a_release_is_paused_by_one_key_and_enter() {
    let picture = releasing(release());
    let paused = |reason: &str| Command::Pause {
        service: PAYMENTS.to_owned(),
        reason: Untrusted::new(reason),
    };
    let asked = fired(&picture, "p", "\n");
    assert_eq!(asked.first().map(|asked| &asked.0), Some(&paused("")));
    let asked = fired(&picture, "p", "db is slow\n");
    assert_eq!(asked.first().map(|asked| &asked.0), Some(&paused("db is slow")));
    assert_eq!(fired(&calm(), "p", "\n"), [], "no release is in flight");
    assert_eq!(fired(&calm_release(ReleaseState::Paused), "p", "\n"), [], "it is paused already");
}

#[test]
fn going_on_takes_the_alias_and_a_countdown_and_carries_the_step() {
    let picture = calm_release(ReleaseState::Held);
    let asked = fired(&picture, "u", "pay\n");
    let (service, reason) = (PAYMENTS.to_owned(), Untrusted::default());
    let expected = Expected { set: Percent::new(25), fence: Fence(41), release: Some((12, 1)) };
    let resume = Command::Resume { service: service.clone(), reason: reason.clone() };
    assert_eq!(asked, [(resume, Some(expected))]);
    assert_eq!(fired(&picture, "u", "\n"), [], "an empty alias fires nothing");
    let mut asking = calm_release(ReleaseState::Asking);
    let mut services = (*asking.services).clone();
    Arc::make_mut(&mut services[1]).release.as_mut().expect("it is there").question =
        faces().swap_remove(2).1.question;
    asking.services = Arc::new(services);
    let reply = |yes| Command::Reply { service: service.clone(), yes, reason: reason.clone() };
    let first = |asked: Vec<(Command, _)>| asked.into_iter().next().map(|(command, _)| command);
    assert_eq!(first(fired(&asking, "y", "pay\n")), Some(reply(true)));
    assert_eq!(first(fired(&asking, "y", "\n")), None);
    assert_eq!(first(fired(&asking, "n", "\n")), Some(reply(false)));
    assert_eq!(fired(&calm(), "y", "pay\n"), [], "nothing is asked");
}

#[test]
fn a_step_that_moved_meanwhile_is_said_and_stops_the_way_on() {
    let picture = calm_release(ReleaseState::Held);
    let mut ui = ui(&picture);
    press(&mut ui, &picture, &typed("u"), 0);
    let mut moved = picture.clone();
    let mut services = (*moved.services).clone();
    Arc::make_mut(&mut services[1]).release.as_mut().expect("it is there").step = 2;
    moved.services = Arc::new(services);
    let (actions, at) = press(&mut ui, &moved, &typed("pay\n"), 500);
    assert_eq!(submitted(&actions), []);
    let actions = ui.update(Event::Tick, Some(&moved), later(at + 5_001));
    assert_eq!(submitted(&actions), []);
    let screen = printed(&ui, &moved, 100, 30, Symbols::Unicode);
    assert!(screen.contains("moved under you: release r12 is at step 3 now"), "{screen}");
}

#[test]
fn a_deploy_asks_version_reason_and_alias() {
    let mut picture = calm();
    let mut services = (*picture.services).clone();
    let route = Arc::make_mut(&mut services[1]).route.as_mut().expect("payments has a route");
    route.routers.iter_mut().for_each(|router| router.canary = Some(0.0));
    picture.services = Arc::new(services);
    let asked = fired(&picture, "D", "v1.9.1\nfix\npay\n");
    let deploy = Command::Deploy {
        service: PAYMENTS.to_owned(),
        version: "v1.9.1".to_owned(),
        hotfix: false,
        reason: Untrusted::new("fix"),
    };
    assert_eq!(asked.first().map(|asked| &asked.0), Some(&deploy));
    let asked = fired(&picture, "D", "v1.9.1 hotfix\nfix\npay\n");
    let Some((Command::Deploy { version, hotfix, .. }, _)) = asked.first() else {
        panic!("{asked:?}")
    };
    assert_eq!((version.as_str(), *hotfix), ("v1.9.1", true));
    let mut own = ui(&picture);
    press(&mut own, &picture, &typed("D"), 0);
    let shown = |ui: &Ui| printed(ui, &picture, 100, 30, Symbols::Unicode);
    assert!(shown(&own).contains("hotfix   no; write `1.2.3 hotfix`"), "{}", shown(&own));
    press(&mut own, &picture, &typed("v1.9.1 hotfix"), 500);
    assert!(shown(&own).contains("hotfix   YES: over a sick stable"), "{}", shown(&own));
    assert_eq!(fired(&picture, "D", "v1.9.1\n\npay\n"), [], "a reason is asked for");
    let refused = |picture: &Snapshot, why: &str| {
        let mut ui = ui(picture);
        press(&mut ui, picture, &typed("D"), 0);
        assert!(matches!(ui.mode, Mode::Panels));
        let said = ui.message.as_ref().map_or("", |message| message.text.as_str());
        assert!(said.contains(why), "{said}");
    };
    refused(&calm(), "the canary has 25 % of the traffic already");
    refused(&calm_release(ReleaseState::Running), "r12 is RUNNING: it must end first");
    refused(&frozen(picture), "frozen by ana: audit; thaw ends it");
}

#[test]
fn a_plan_is_run_by_its_name() {
    let mut picture = calm();
    let refused = |picture: &Snapshot, why: &str| {
        let mut ui = ui(picture);
        press(&mut ui, picture, &typed("E"), 0);
        assert!(matches!(ui.mode, Mode::Panels));
        let said = ui.message.as_ref().map_or("", |message| message.text.as_str());
        assert!(said.contains(why), "{said}");
    };
    refused(&picture, "payments has no plan");
    let planned = |picture: &mut Snapshot| {
        let mut services = (*picture.services).clone();
        Arc::make_mut(&mut services[1]).plans = vec!["rolling".to_owned(), "ladder".to_owned()];
        picture.services = Arc::new(services);
    };
    planned(&mut picture);
    let run = |version: &str| Command::Run {
        plan: "ladder".to_owned(),
        service: PAYMENTS.to_owned(),
        version: version.to_owned(),
        reason: Untrusted::new("still broken"),
    };
    let asked = fired(&picture, "E", "ladder\n\nstill broken\npay\n");
    assert_eq!(asked.first().map(|asked| &asked.0), Some(&run("")));
    let asked = fired(&picture, "E", "ladder\nv1.9.1\nstill broken\npay\n");
    assert_eq!(asked.first().map(|asked| &asked.0), Some(&run("v1.9.1")));
    assert_eq!(fired(&picture, "E", "leader\nstill broken\npay\n"), [], "no such plan");
    let mut own = ui(&picture);
    press(&mut own, &picture, &typed("E"), 0);
    let screen = printed(&own, &picture, 100, 30, Symbols::Unicode);
    assert!(screen.contains("plans    │ rolling, ladder"), "{screen}");
    let mut running = calm_release(ReleaseState::Running);
    planned(&mut running);
    refused(&running, "r12 is RUNNING: it must end first");
}

/// The line is stopped.
fn frozen(mut picture: Snapshot) -> Snapshot {
    let mut head = (*picture.head).clone();
    head.freezes = vec![FreezeView {
        service: None,
        user: Untrusted::new("ana"),
        until: sample::ahead(3_600).wall,
        reason: Untrusted::new("audit"),
    }];
    picture.head = Arc::new(head);
    picture
}

#[test]
fn the_line_is_stopped_by_two_keys_and_started_by_a_word() {
    let asked = fired(&sample(), "X", "\n");
    let (seconds, reason) = (3_600, Untrusted::default());
    assert_eq!(asked, [(Command::StopTheLine { seconds, reason }, None)]);
    let picture = frozen(sample());
    let screen = printed(&ui(&picture), &picture, 100, 30, Symbols::Unicode);
    assert!(screen.contains("LINE STOPPED: no release of any service until"), "{screen}");
    let thaw = Command::Thaw { service: None, reason: Untrusted::new("over") };
    let asked = fired(&picture, "T", "all\nover\n");
    assert_eq!(asked.first().map(|asked| &asked.0), Some(&thaw));
    assert_eq!(fired(&picture, "T", "pay\nover\n"), [], "it is about every service");
    let mut own = ui(&picture);
    own.keymap = keymap::Keymap::with(&[("thaw", &["F5".to_owned()])]).0;
    press(&mut own, &picture, &[Key::Char('S')], 0);
    press(&mut own, &picture, &typed("pay\n"), 500);
    assert!(printed(&own, &picture, 100, 30, Symbols::Unicode).contains("; F5 thaws"), "its key");
    let held = frozen(calm_release(ReleaseState::Held));
    assert_eq!(fired(&held, "u", "pay\n"), [], "going on against it takes an override");
    let asked = fired(&held, "R", "pay\n");
    assert!(matches!(asked[0].0, Command::Rollback { .. }), "it never stops a rollback");
}

#[test]
fn freezes_rules_and_marks_go_as_they_are_typed() {
    let picture = releasing(release());
    let first = |arm: &str, keys: &str| fired(&picture, arm, keys).into_iter().next();
    let (service, reason) = (PAYMENTS.to_owned(), Untrusted::new("audit"));
    let freeze =
        Command::Freeze { service: Some(service.clone()), seconds: 3_600, reason: reason.clone() };
    assert_eq!(first("f", "\naudit\n").map(|asked| asked.0), Some(freeze));
    let off = Command::Trigger {
        service: service.clone(),
        trigger: 0,
        off_seconds: 3_600,
        reason: reason.clone(),
    };
    assert_eq!(first("o", "pay\n\naudit\n").map(|asked| asked.0), Some(off));
    assert_eq!(first("o", "\n\naudit\n"), None, "less protection takes the alias");
    assert_eq!(first("O", "\n"), None, "no rule is off");
    let version = "v1.9.0".to_owned();
    let mark = |bad| Command::Mark {
        service: service.clone(),
        version: version.clone(),
        bad,
        reason: reason.clone(),
    };
    assert_eq!(first("b", "\naudit\n").map(|asked| asked.0), Some(mark(true)));
    assert_eq!(first("B", "pay\n\naudit\n").map(|asked| asked.0), Some(mark(false)));
}

#[test]
fn a_filter_moves_the_selection_to_what_it_shows() {
    let picture = sample();
    let mut ui = ui(&picture);
    press(&mut ui, &picture, &typed("/check\n"), 0);
    assert_eq!(ui.service.as_deref(), Some("checkout"));
    press(&mut ui, &picture, &typed("R"), 500);
    let Mode::Guard(guard) = &ui.mode else { panic!("no guard") };
    assert_eq!(guard.name, "checkout");
}

#[test]
fn nothing_acts_on_what_a_filter_hides() {
    let picture = sample();
    let mut none = ui(&picture);
    press(&mut none, &picture, &typed("/zzz\n"), 0);
    assert_eq!(none.service, None);
    press(&mut none, &picture, &typed("R"), 500);
    assert!(matches!(none.mode, Mode::Panels));
    // A service that leaves the filter by itself stays selected, but no key acts on it.
    let mut gone = ui(&picture);
    let (_, mut at) = press(&mut gone, &picture, &typed("/status:degraded\n"), 0);
    assert_eq!(gone.service.as_deref(), Some(PAYMENTS));
    let well = calm();
    for key in ["R", "v", "D"] {
        let (actions, after) = press(&mut gone, &well, &typed(key), at);
        at = after;
        assert_eq!(submitted(&actions), []);
        assert!(matches!(gone.mode, Mode::Panels), "{key}");
        let said = gone.message.as_ref().map_or("", |message| message.text.as_str());
        assert!(said.contains("payments is hidden by /status:degraded"), "{said}");
    }
}

#[test]
fn an_acknowledgement_is_one_key_and_its_row_says_so() {
    let picture = sample();
    for key in ["a", "e"] {
        let mut elsewhere = ui(&picture);
        let (actions, _) = press(&mut elsewhere, &picture, &typed(key), 0);
        assert_eq!(submitted(&actions), [], "{key} outside of the incidents");
        assert!(matches!(elsewhere.mode, Mode::Panels), "{key} outside of the incidents");
    }
    let mut ui = ui(&picture);
    ui.focus = Panel::Incidents;
    let mut tiny = ui.clone();
    tiny.update(Event::Resize(Size { width: 39, height: 9 }), Some(&picture), later(0));
    let (actions, _) = press(&mut tiny, &picture, &typed("a"), 0);
    assert_eq!(submitted(&actions), [], "its row is not seen");
    let (actions, at) = press(&mut ui, &picture, &typed("a"), 0);
    let command = Command::Acknowledge { key: "a/1".to_owned(), comment: Untrusted::default() };
    assert_eq!(submitted(&actions), [(command, None)]);
    let screen = printed(&ui, &picture, 100, 30, Symbols::Unicode);
    assert!(screen.contains("acking…"), "{screen}");
    assert!(screen.contains("REQUESTED: acknowledge HighErrorRate"), "{screen}");
    let (actions, _) = press(&mut ui, &picture, &typed("a"), at + 500);
    assert_eq!(submitted(&actions), [], "asked once");
}

#[test]
fn what_is_said_of_an_incident_is_asked_for_and_shown() {
    let mut picture = sample();
    let key = || "a/1".to_owned();
    let text = |text: &str| Untrusted::new(text);
    for (keys, say) in [
        ("iana\n", Say::Assign { to: text("ana") }),
        ("i\n", Say::Assign { to: text("") }),
        ("Nrestarted it\n", Say::Note { text: text("restarted it") }),
        ("Z\tknown\n", Say::Snooze { seconds: 3_600, reason: text("known") }),
    ] {
        let mut ui = ui(&picture);
        ui.focus = Panel::Incidents;
        // No dead time: it is no guard.
        let (actions, _) = press(&mut ui, &picture, &typed(keys), 0);
        let command = Command::Triage { key: key(), say };
        assert_eq!(submitted(&actions), [(command, None)], "{keys:?}");
    }
    let mut incidents = (*picture.incidents).clone();
    let triage = &mut incidents.open[0].triage;
    triage.assignee = text("ana");
    triage.snoozed_until = Some(sample::ahead(600).wall);
    let at = sample::ago(60).wall;
    triage.notes = vec![NoteView { at, user: text("ben"), text: text("restarted it") }];
    picture.incidents = Arc::new(incidents);
    let mut ui = ui(&picture);
    ui.focus = Panel::Incidents;
    ui.zoomed = true;
    let screen = printed(&ui, &picture, 120, 40, Symbols::Unicode);
    for part in ["snoozed", "@ana ", "has it ana", "note ", "ben: restarted it"] {
        assert!(screen.contains(part), "{part}: {screen}");
    }
}

#[test]
fn a_share_that_is_not_read_any_more_is_said_with_its_age() {
    let mut picture = sample();
    let mut services = (*picture.services).clone();
    let route = Arc::make_mut(&mut services[1]).route.as_mut().expect("payments has a route");
    route.routers[0].read = Some(sample::ago(134));
    route.routers[0].error = Untrusted::new("connection refused");
    route.routers[1].holder = Some(HolderView {
        who: Untrusted::new("ops-2"),
        doing: Untrusted::new("#7 split to 40 %"),
        until: sample::ahead(20),
    });
    picture.services = Arc::new(services);
    let screen = printed(&ui(&picture), &picture, 120, 40, Symbols::Unicode);
    assert!(screen.contains("held by ops-2: #7 split"), "{screen}");
    assert_eq!(screen.matches(" 25% 2m").count(), 2, "list and canary: {screen}");
    assert!(screen.contains(" 75% 2m"), "{screen}");
    let mut ui = ui(&picture);
    press(&mut ui, &picture, &typed("R"), 0);
    let screen = printed(&ui, &picture, 120, 40, Symbols::Unicode);
    assert!(screen.contains("routers showed 25 % 2m14s ago"), "{screen}");
}

#[test]
fn what_is_done_by_hand_is_shown_whole() {
    let mut picture = sample();
    let mut services = (*picture.services).clone();
    let mut unknown = operation(Phase::Ended(OperationResult::Unknown));
    let manual = "printf 'Authorization: Bearer %s' \"$(cat /etc/quarterdeck/token)\" | curl -sS \
                  --fail -X PUT -H @- -d '{\"stable\":75,\"canary\":25}' http://edge-2:9/split";
    unknown.manual = vec![manual.to_owned()];
    Arc::make_mut(&mut services[1]).operation = Some(unknown);
    picture.services = Arc::new(services);
    let mut ui = ui(&picture);
    ui.focus = Panel::Release;
    ui.zoomed = true;
    let screen = printed(&ui, &picture, 60, 24, Symbols::Unicode);
    let squeezed = |text: &str| {
        text.chars().filter(|c| !c.is_whitespace() && !"│\"".contains(*c)).collect::<String>()
    };
    assert!(squeezed(&screen).contains(&squeezed(manual)), "{screen}");
    assert!(screen.contains("do not retry; v verifies"), "{screen}");
}

#[test]
fn the_guard_shows_the_request_to_each_router() {
    let picture = sample();
    let mut ui = ui(&picture);
    press(&mut ui, &picture, &typed("R"), 0);
    let screen = printed(&ui, &picture, 100, 30, Symbols::Unicode);
    for router in ["edge-1", "edge-2"] {
        let text = format!("{router}: echo 'set weight web/v2 0' | socat - /run/{router}.sock");
        assert!(screen.contains(&text), "{screen}");
    }
}

#[test]
fn what_a_zoomed_panel_says_more() {
    let mut picture = sample();
    let mut hosts = (*picture.hosts).clone();
    let reading = hosts[0].reading.as_mut().expect("a reading");
    reading.swap_percent = Some(12.0);
    reading.processes = Some(213);
    let label = Untrusted::new("cpu");
    reading.temperatures = vec![Temperature { label, celsius: 61.0 }];
    hosts[0].advice = Some(AdviceView {
        group: "web".to_owned(),
        size: engine::scaling::Size::Up,
        urgent: true,
        sentence: Untrusted::new("CPU 94 %, memory 82 % over 10 readings: above 80 and 80"),
        armed: false,
        every: Duration::from_mins(1),
        at: sample::ago(20),
    });
    picture.hosts = Arc::new(hosts);
    let mut incidents = (*picture.incidents).clone();
    let resolved = AlertState::Resolved;
    incidents.resolved = vec![sample::incident("a/9", Severity::High, resolved, "queue was long")];
    incidents.names = vec![NameCount { name: Untrusted::new("Down"), count: 9_001 }];
    let worst = AlertLine {
        key: "a/2".to_owned(),
        name: Untrusted::new("Down"),
        severity: Severity::High,
        state: AlertState::Triggered,
    };
    incidents.open[0].alerts = Some(AlertsView { total: 9_999, worst: vec![worst] });
    picture.incidents = Arc::new(incidents);
    let mut services = (*picture.services).clone();
    Arc::make_mut(&mut services[1]).runbook = Some("https://wiki.example.com/pay".to_owned());
    picture.services = Arc::new(services);
    let mut ui = ui(&picture);
    ui.zoomed = true;
    for (panel, words) in [
        (
            Panel::Hosts,
            vec![
                "web scale up URGENT: CPU 94 %, memory 82 %",
                "swap 12 %  processes 213",
                "temperatures cpu 61 °C",
            ],
        ),
        (
            Panel::Incidents,
            vec![
                "resolved",
                "queue was long",
                "first seen 2m10s ago",
                "runbook https://wiki",
                "most of all Down 9001",
                "9999 alerts 21 % errors",
                "alerts 9999 alerts: high Down and 9998 more",
            ],
        ),
        (Panel::Services, vec!["runbook https://wiki.example.com/pay"]),
    ] {
        ui.focus = panel;
        let screen = printed(&ui, &picture, 100, 24, Symbols::Unicode);
        assert!(words.iter().all(|word| screen.contains(word)), "{words:?}: {screen}");
    }
}
