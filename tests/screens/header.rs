//! The header says what must always be seen, contradicts nothing, and counts what has no room.

use std::sync::Arc;
use std::time::Duration;

use engine::snapshot::{FreezeView, JournalState, Snapshot};
use engine::types::{Status, Untrusted};
use quarterdeck::ui::keymap::Key;
use quarterdeck::ui::past::Past;
use quarterdeck::ui::theme::{Depth, Symbols, Theme};
use quarterdeck::ui::{Event, Mode, Ui, view};
use ratatui::buffer::Buffer;
use ratatui::layout::{Rect, Size};

use crate::sample::{ahead, now, sample};
use crate::times::fleet;
use crate::{press, printed, typed, ui};

fn first_row(own: &Ui, picture: &Snapshot, width: u16, height: u16) -> String {
    let screen = printed(own, picture, width, height, Symbols::Unicode);
    screen.lines().next().unwrap_or_default().trim_matches('"').to_owned()
}

#[test]
fn the_score_says_what_it_does_not_know() {
    use Status::{Down, Maint, Stale, Unknown, Up};
    let check = |all: &[(Status, usize)], width, expected: &str| {
        let picture = fleet(all);
        let row = first_row(&ui(&picture), &picture, width, 24);
        assert!(row.contains(expected), "{expected} in {row}");
        row
    };
    let row = check(&[(Unknown, 3)], 80, "health ?  ");
    assert!(!row.contains("CRITICAL"), "{row}");
    check(&[(Stale, 1), (Unknown, 1), (Maint, 1)], 80, "health ?  ");
    check(&[(Unknown, 3)], 40, " ? ");
    check(&[(Up, 4), (Unknown, 2)], 80, "health 75/100, 2 unknown  ");
    check(&[(Up, 4), (Unknown, 2)], 50, "75/100 2? ");
    check(&[(Up, 4), (Stale, 2)], 40, "75 2? ");
    check(&[(Down, 2), (Unknown, 1)], 80, "health 8/100 CRITICAL, 1 unknown  ");
    check(&[(Up, 2), (Maint, 1)], 80, "health 100/100  ");
    check(&[(Maint, 1)], 80, "health –  ");
}

#[test]
fn the_past_is_never_live() {
    let picture = sample();
    let mut own = ui(&picture);
    own.stopped = Some((now(), Box::new(picture.clone())));
    let replay = Past::Replay { speed: 1.0, paused: false, percent: 10 };
    for (past, word) in [(Past::Kept, "PAST"), (replay, "REPLAY")] {
        own.past = Some(past);
        let row = first_row(&own, &picture, 80, 24);
        assert!(row.contains(&format!("  {word} ")) && !row.contains("LIVE"), "{row}");
    }
}

#[test]
fn a_console_that_may_only_look_says_so_whatever_else_is_so() {
    let picture = sample();
    let mut own = ui(&picture);
    own.read_only = true;
    let check = |own: &Ui, width, height, expected: &str| {
        let row = first_row(own, &picture, width, height);
        let clock = row.contains("14:03");
        assert!(row.contains(expected) && clock, "{expected} and a clock in {row}");
    };
    check(&own, 80, 24, "LIVE READ-ONLY ");
    check(&own, 40, 10, "READ-ONLY ");
    own.silent = Some(Duration::from_secs(14));
    for mode in [Mode::Panels, Mode::Room { since: now() }] {
        own.mode = mode;
        check(&own, 80, 24, "STALE READ-ONLY ");
        check(&own, 60, 20, "STALE READ-ONLY ");
        check(&own, 40, 10, "STALE RO ");
    }
}

#[test]
fn a_cell_moves_with_the_engines_news_and_with_nothing_else() {
    let picture = sample();
    let mut own = ui(&picture);
    own.no_blink = true;
    let show = |own: &Ui, symbols, name: &str| {
        let area = Rect::new(0, 0, 80, 24);
        let mut buffer = Buffer::empty(area);
        let theme = Theme::named(name, Depth::Never, symbols).expect("it is embedded");
        view::draw_in(&mut buffer, area, Some(&picture), own, &theme, now());
        buffer
    };
    let events = [
        Event::Tick,
        Event::Resize(Size::new(80, 24)),
        Event::Lost,
        Event::Key(Key::Char('~')),
        Event::Changed,
    ];
    for mode in [Mode::Panels, Mode::Room { since: now() }] {
        own.mode = mode;
        for symbols in [Symbols::Unicode, Symbols::Ascii] {
            for event in events.clone() {
                let moves = matches!(event, Event::Changed);
                own.lost = None;
                let before = show(&own, symbols, "mono");
                own.update(event.clone(), Some(&picture), now());
                (own.lost, own.message) = (None, None);
                let after = show(&own, symbols, "mono");
                let cells = before.diff(&after);
                assert_eq!(cells.len(), usize::from(moves), "{event:?}: {cells:?}");
                assert!(cells.iter().all(|(x, y, _)| (*x, *y) == (12, 0)), "{cells:?}");
            }
        }
    }
    own.past = Some(Past::Kept);
    let before = show(&own, Symbols::Ascii, "mono");
    own.update(Event::Changed, Some(&picture), now());
    assert!(before.diff(&show(&own, Symbols::Ascii, "mono")).is_empty(), "the past has no news");
}

#[test]
fn a_clock_that_is_off_is_a_banner_and_stands_with_its_source() {
    let mut picture = sample();
    let sources = Arc::make_mut(&mut picture.sources);
    Arc::make_mut(&mut sources[0]).skew_s = Some(-45);
    let own = ui(&picture);
    let screen = |own: &Ui, picture: &Snapshot| printed(own, picture, 120, 40, Symbols::Unicode);
    let name = picture.sources[0].name.clone();
    let text = format!("CLOCK: {name} is 45s behind: its times mislead");
    assert!(screen(&own, &picture).contains(&text), "{}", screen(&own, &picture));
    Arc::make_mut(&mut Arc::make_mut(&mut picture.sources)[1]).skew_s = Some(299);
    let name = picture.sources[1].name.clone();
    let text = format!("CLOCK: {name} is 299s ahead; 1 other is off, too: its times");
    let screen = screen(&own, &picture);
    for text in [text.as_str(), "clock 299s ahead", "clock 45s behind"] {
        assert!(screen.contains(text), "{text}: {screen}");
    }
    let small = printed(&own, &picture, 40, 10, Symbols::Unicode);
    assert!(small.contains(&format!("CLOCK: {name} is 299s")), "{small}");
}

#[test]
fn banners_without_a_row_are_counted_and_named() {
    let freeze = |service: Option<&str>| FreezeView {
        service: service.map(str::to_owned),
        user: Untrusted::new("ana"),
        until: ahead(3_600).wall,
        reason: Untrusted::new("audit: of the year"),
    };
    let mut picture = sample();
    let services = [Some("alpha"), Some("beta"), None, Some("gamma")];
    Arc::make_mut(&mut picture.head).freezes = services.map(freeze).to_vec();
    let shows = |picture: &Snapshot, width, height, expected: &[&str]| {
        let screen = printed(&ui(picture), picture, width, height, Symbols::Unicode);
        for text in expected {
            assert!(screen.contains(text), "{text} in {screen}");
        }
    };
    let all = [
        "LINE STOPPED: no",
        "FROZEN: no release of alpha",
        "and 2 more: FROZEN beta; FROZEN gamma",
    ];
    shows(&picture, 80, 24, &all);
    shows(&picture, 40, 10, &["and 2 more: FROZEN beta; FROZEN gamma"]);
    let head = Arc::make_mut(&mut picture.head);
    head.journal = JournalState::Lost { why: Untrusted::new("no space") };
    head.banners =
        ["#41 shop: UNKNOWN", "#42 mail: UNKNOWN", "#43 pay: UNKNOWN"].map(Untrusted::new).to_vec();
    shows(
        &picture,
        80,
        24,
        &["JOURNAL AND SPOOL", "#41 shop", "and 6 more: #42 mail; #43 pay; LINE STOPPED"],
    );
    // What fits stands there whole.
    let head = Arc::make_mut(&mut picture.head);
    (head.journal, head.banners) = (JournalState::Writable, Vec::new());
    head.freezes.truncate(3);
    shows(&picture, 80, 24, &["LINE STOPPED: no", "of alpha until", "of beta until"]);
    let mut own = ui(&picture);
    press(&mut own, &picture, &typed("H"), 0);
    let page = printed(&own, &picture, 120, 40, Symbols::Unicode);
    assert!(page.contains("beta"), "{page}");
}
