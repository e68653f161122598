//! The wall, the pages and the past: what they show, and that nothing can be changed from there.

use engine::reading::AlertState;
use quarterdeck::ui::past::Past;
use quarterdeck::ui::{Page, Unanswered};

use super::*;

/// The sample with nothing wrong in it.
fn quiet() -> Snapshot {
    let mut picture = sample();
    let mut services = (*picture.services).clone();
    for probe in services.iter_mut().flat_map(|it| &mut Arc::make_mut(it).probes).map(Arc::make_mut)
    {
        probe.status = Status::Up;
        probe.message = Untrusted::default();
        probe.observed = Some(sample::ago(1));
    }
    picture.services = Arc::new(services);
    picture.incidents = Arc::new(Incidents::default());
    picture
}

fn wall(ui: &mut Ui, picture: &Snapshot) {
    press(ui, picture, &[Key::Char('w')], 0);
    assert!(matches!(ui.mode, Mode::Room { .. }));
}

#[test]
fn the_wall_is_quiet_until_something_is_wrong() {
    let calm = quiet();
    let mut own = ui(&calm);
    wall(&mut own, &calm);
    insta::assert_snapshot!("wall_quiet", printed(&own, &calm, 80, 24, Symbols::Unicode));
    let trouble = sample();
    insta::assert_snapshot!("wall_trouble", printed(&own, &trouble, 120, 40, Symbols::Unicode));
    let mut down = sample();
    let mut services = (*down.services).clone();
    crate::first_probe(&mut services[1]).status = Status::Down;
    down.services = Arc::new(services);
    insta::assert_snapshot!("wall_down", printed(&own, &down, 120, 40, Symbols::Ascii));
}

#[test]
fn the_wall_turns_while_all_is_well_and_follows_the_worst_else() {
    let calm = quiet();
    let mut own = ui(&calm);
    wall(&mut own, &calm);
    let shows = |own: &Ui, picture: &Snapshot, seconds: u64| {
        // Nothing grows stale on the way.
        printed_at(own, picture, (100, 30), later(seconds * 1_000))
    };
    let mut long = calm.clone();
    let mut services = (*long.services).clone();
    for probe in services.iter_mut().flat_map(|it| &mut Arc::make_mut(it).probes).map(Arc::make_mut)
    {
        probe.interval = Duration::from_hours(1);
    }
    for route in services.iter_mut().filter_map(|it| Arc::make_mut(it).route.as_mut()) {
        route.routers.iter_mut().for_each(|router| router.reread = Duration::from_hours(1));
    }
    long.services = Arc::new(services.clone());
    assert!(shows(&own, &long, 10).contains("+3 healthy"));
    assert!(shows(&own, &long, 30).contains("0 % to the canary, VERIFIED"));
    assert!(shows(&own, &long, 50).contains("25 % to the canary, VERIFIED"));
    assert!(shows(&own, &long, 90).contains("+3 healthy"), "and round again");
    crate::first_probe(&mut services[2]).status = Status::Down;
    crate::first_probe(&mut services[2]).message = Untrusted::new("no answer");
    long.services = Arc::new(services);
    for seconds in [10, 30, 50, 70] {
        assert!(shows(&own, &long, seconds).contains("api: no answer"), "{seconds}");
    }
}

/// So many services of each status, in this order.
pub fn fleet(all: &[(Status, usize)]) -> Snapshot {
    let mut picture = quiet();
    let bare = picture.services[2].clone();
    let statuses = all.iter().flat_map(|(status, count)| vec![*status; *count]);
    let services = statuses.zip('a'..).map(|(status, letter)| {
        let mut service = bare.clone();
        Arc::make_mut(&mut service).name = format!("svc-{letter}");
        crate::first_probe(&mut service).status = status;
        service
    });
    picture.services = Arc::new(services.collect());
    picture
}

#[test]
fn the_wall_names_or_counts_whatever_is_in_trouble() {
    use Status::{Degraded, Down, Stale, Up};
    let check = |all: &[(Status, usize)], size: (u16, u16), expected: &[&str]| {
        let picture = fleet(all);
        let mut own = ui(&picture);
        wall(&mut own, &picture);
        let screen = printed_at(&own, &picture, size, now());
        for text in expected {
            assert!(screen.contains(text), "{text} at {size:?}: {screen}");
        }
        screen
    };
    // The first of the list, not the last, has the large type: its alias is in the probe's line.
    let down = [(Up, 1), (Down, 12)];
    let named = "and 11 more DOWN: svc-c, svc-d, svc-e, svc-f, svc-g, svc-h, svc-i and 4 more";
    let screen = check(&down, (80, 24), &[named]);
    assert!(!screen.contains("svc-b"), "{screen}");
    let all = "and 11 more DOWN: svc-c, svc-d, svc-e, svc-f, svc-g, svc-h, svc-i, svc-j, svc-k, \
               svc-l, svc-m";
    check(&down, (200, 60), &[all]);
    check(&down, (40, 10), &["svc-b", "and 11 more DOWN: svc-c and 10 more"]);
    check(
        &[(Degraded, 1), (Down, 2)],
        (80, 24),
        &["and 1 more DOWN: svc-c", "and 1 DEGRADED: svc-a"],
    );
    let screen = check(&[(Down, 1), (Up, 3)], (80, 24), &["22ms, 1s ago"]);
    assert!(!screen.contains("  and "), "{screen}");
    // Nothing is DOWN: eight are named, as far as there is room, and the rest is counted.
    let worn = [(Up, 2), (Stale, 4), (Degraded, 9)];
    check(&worn, (120, 40), &["svc-g", "svc-n", "+1 DEGRADED  +4 STALE  +2 healthy"]);
    check(&worn, (40, 10), &["svc-g", "+4 DEGRADED  +4 STALE  +2 healthy"]);
}

#[test]
fn the_wall_stays_with_any_alarm_that_nobody_has_taken_or_put_aside() {
    let check = |state, snoozed: Option<i64>, stays: bool| {
        let mut picture = fleet(&[(Status::Up, 3)]);
        picture.incidents = Arc::clone(&sample().incidents);
        let incidents = Arc::make_mut(&mut picture.incidents);
        incidents.open.retain(|incident| incident.severity == Severity::Low);
        let [incident] = incidents.open.as_mut_slice() else { panic!("one alarm is low") };
        incident.state = state;
        incident.triage.snoozed_until =
            snoozed.map(|seconds| now().wall + chrono::TimeDelta::seconds(seconds));
        let mut own = ui(&picture);
        wall(&mut own, &picture);
        for service in Arc::make_mut(&mut picture.services) {
            crate::first_probe(service).interval = Duration::from_hours(1);
        }
        let screen = printed_at(&own, &picture, (100, 30), later(30_000));
        assert_eq!(screen.contains("+3 healthy"), stays, "{state:?} {snoozed:?} {screen}");
        assert_eq!(screen.contains(" LOW HighErrorRate"), stays, "{state:?} {snoozed:?} {screen}");
    };
    check(AlertState::Triggered, None, true);
    check(AlertState::Triggered, Some(-1), true);
    check(AlertState::Triggered, Some(60), false);
    check(AlertState::Acknowledged, None, false);
}

#[test]
fn no_key_of_the_wall_changes_anything() {
    let picture = sample();
    for kiosk in [false, true] {
        let mut own = ui(&picture);
        wall(&mut own, &picture);
        own.kiosk = kiosk;
        let keys: Vec<Key> = keymap::BINDINGS
            .iter()
            .filter(|binding| binding.danger != keymap::Danger::None)
            .flat_map(|binding| binding.keys.to_vec())
            .collect();
        let (actions, at) = press(&mut own, &picture, &keys, 0);
        assert_eq!(submitted(&actions), []);
        assert!(matches!(own.mode, Mode::Room { .. }), "kiosk {kiosk}");
        let (actions, at) = press(&mut own, &picture, &typed("wq"), at);
        let left = actions.contains(&Action::Quit);
        assert_eq!(left, !kiosk, "w leaves the wall and q the console, but not a kiosk");
        let (actions, _) = press(&mut own, &picture, &[Key::Ctrl('c'), Key::Ctrl('c')], at);
        assert!(actions.contains(&Action::Quit));
    }
}

#[test]
fn the_pages_tell_what_changed_and_what_must_be_known() {
    let picture = releasing(faces().swap_remove(2).1);
    let mut own = Ui::new(false, Some(lisbon()));
    for second in (0..1_200).rev().step_by(30) {
        own.update(Event::Changed, Some(&picture), sample::ago(second));
    }
    own.service = Some("payments".to_owned());
    press(&mut own, &picture, &[Key::Char('L')], 0);
    insta::assert_snapshot!("changes", printed(&own, &picture, 120, 40, Symbols::Unicode));
    insta::assert_snapshot!("changes_small", printed(&own, &picture, 40, 10, Symbols::Unicode));
    press(&mut own, &picture, &[Key::Char('H')], 100);
    assert!(matches!(own.mode, Mode::Page { page: Page::Handover, .. }));
    insta::assert_snapshot!("handover", printed(&own, &picture, 120, 40, Symbols::Unicode));
    // A key of the panels closes the page, and does nothing else.
    let (actions, _) = press(&mut own, &picture, &[Key::Char('R')], 200);
    assert_eq!(submitted(&actions), []);
    assert!(matches!(own.mode, Mode::Panels));
}

#[test]
fn in_the_past_a_banner_stands_and_no_key_changes_anything() {
    let picture = sample();
    let mut own = ui(&picture);
    for second in 0..30 {
        own.update(Event::Changed, Some(&picture), later(second * 1_000));
    }
    press(&mut own, &picture, &[Key::Char('[')], 30_000);
    assert_eq!(own.past, Some(Past::Kept));
    let screen = printed_at(&own, &picture, (100, 30), later(31_000));
    assert!(screen.contains("THE PAST: 2026-03-14"), "{screen}");
    let keys: Vec<Key> = keymap::BINDINGS
        .iter()
        .filter(|binding| binding.danger != keymap::Danger::None)
        .flat_map(|binding| binding.keys.to_vec())
        .collect();
    for key in keys {
        let (actions, _) = press(&mut own, &picture, &[key], 31_000);
        assert_eq!(submitted(&actions), [], "{key}");
        assert!(matches!(own.mode, Mode::Panels), "{key}");
    }
    // Not by the palette either.
    let (_, at) = press(&mut own, &picture, &typed(":rollback\n"), 40_000);
    assert!(matches!(own.mode, Mode::Panels));
    press(&mut own, &picture, &[Key::Esc], at);
    assert_eq!((own.past, own.stopped.is_none()), (None, true));
    press(&mut own, &picture, &[Key::Char('R')], at + 1_000);
    assert!(matches!(own.mode, Mode::Guard(_)), "now it can be");
}

#[test]
fn alarms_flash_unless_they_must_not() {
    let mut picture = sample();
    let mut incidents = (*picture.incidents).clone();
    incidents.open.truncate(1);
    incidents.open[0].state = AlertState::Triggered;
    picture.incidents = Arc::new(incidents);
    let mut own = ui(&picture);
    wall(&mut own, &picture);
    let reversed = |own: &Ui, second: i64| {
        let now = Now { wall: now().wall + chrono::TimeDelta::seconds(second), ..now() };
        let mut terminal = Terminal::new(TestBackend::new(100, 30)).expect("it cannot fail");
        let theme = theme(Symbols::Unicode);
        terminal
            .draw(|frame| view::draw(frame, Some(&picture), own, &theme, now))
            .expect("it cannot fail");
        let cells = terminal.backend().buffer().content.iter();
        cells.filter(|cell| cell.modifier.contains(ratatui::style::Modifier::REVERSED)).count() > 10
    };
    assert_ne!(reversed(&own, 0), reversed(&own, 1));
    own.no_blink = true;
    assert!(!reversed(&own, 0) && !reversed(&own, 1));
}

/// All that the console itself keeps, as text; the pictures of the past have a limit of their own.
fn kept(ui: &Ui) -> usize {
    let mut own = ui.clone();
    (own.kept, own.stopped) = Default::default();
    format!("{own:?}").len()
}

#[test]
fn a_console_of_days_keeps_no_more_than_one_of_a_day() {
    let mut picture = sample();
    let mut own = ui(&picture);
    let (mut day, mut asked) = (0, 0);
    // Every 20 s another incident, and the next key of the table with what a guard wants.
    for turn in 0..3 * 24 * 180 {
        let mut incidents = (*picture.incidents).clone();
        incidents.open[0].key = format!("a/{turn}");
        picture.incidents = Arc::new(incidents);
        own.focus = Panel::Incidents;
        let place = usize::try_from(turn).expect("few turns") % keymap::BINDINGS.len();
        let mut events = vec![(0, Event::Changed)];
        events.push((10, Event::Key(keymap::BINDINGS[place].keys[0])));
        let typed = typed("pay\n40\nwhy\n").into_iter();
        events.extend((1..).map(|at| 500 + 50 * at).zip(typed.map(Event::Key)));
        events.push((8_000, Event::Tick));
        // Out of what is open, the zoom and the filter.
        events.extend([9_000, 9_100, 9_200].map(|at| (at, Event::Key(Key::Esc))));
        for (millis, event) in events {
            let now = later(turn * 20_000 + millis);
            for action in own.update(event, Some(&picture), now) {
                let Action::Submit { command, .. } = action else { continue };
                asked += 1;
                let silence = Unanswered::Unknown("silence".to_owned());
                own.update(Event::Replied(command, Err(silence)), Some(&picture), now);
            }
        }
        if turn == 24 * 180 {
            day = kept(&own);
        }
    }
    let days = kept(&own);
    assert!(asked > 1_000, "{asked} commands");
    assert!(day > 1_000 && days <= day + day / 10, "{day} and then {days}");
    println!("{asked} commands; {day} bytes after a day, {days} after three");
}
