//! What is wrong is said in full, and what is not known is not said as if it were.

use std::sync::Arc;
use std::time::Duration;

use engine::snapshot::{Incidents, Phase, Snapshot, SourceView};
use engine::types::{Status, Untrusted};
use quarterdeck::ui::keymap::Key;
use quarterdeck::ui::theme::{Role, Symbols};
use quarterdeck::ui::{Click, Event, FaultItem, Mode, Panel, Ui, view};
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect, Size};

use crate::faces::faces;
use crate::sample::{ago, now, operation, releasing, sample};
use crate::{press, printed, theme, typed, ui};

/// What a probe says when nobody listens.
const REFUSED: &str = "nothing listens at 127.0.0.1:3000: connection refused (os error 111)";

/// One watched service that is down, as with the first configuration of the README.
fn first() -> Snapshot {
    let sample = sample();
    let mut service = Arc::clone(&sample.services[2]);
    let probe = crate::first_probe(&mut service);
    probe.status = Status::Down;
    probe.observed = Some(now());
    probe.latency = None;
    probe.message = Untrusted::new(REFUSED);
    let mut source = sample.sources[2].as_ref().clone();
    source.success = None;
    source.error = Untrusted::new(REFUSED);
    Snapshot {
        services: Arc::new(vec![service]),
        hosts: Arc::default(),
        incidents: Arc::new(Incidents::default()),
        journal: Arc::default(),
        sources: Arc::new(vec![Arc::new(source)]),
        ..sample
    }
}

/// The text of the screen without its frames and line ends, so that wrapped words are found.
fn words_of(screen: &str) -> String {
    let plain = screen.replace(['"', '│', '\n'], " ");
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn why_the_selected_service_is_down_stands_there_whole() {
    let mut several = (*sample().services).clone();
    crate::first_probe(&mut several[1]).status = Status::Down;
    crate::first_probe(&mut several[1]).message = Untrusted::new(REFUSED);
    let several = Snapshot { services: Arc::new(several), ..sample() };
    for picture in [first(), several] {
        let mut own = ui(&picture);
        if picture.services.len() == 1 {
            own.service = Some("search".to_owned());
        }
        for (width, height) in [(60, 20), (80, 24), (120, 40), (200, 60)] {
            let screen = printed(&own, &picture, width, height, Symbols::Unicode);
            assert!(words_of(&screen).contains(&format!("api DOWN: {REFUSED}")), "{screen}");
        }
    }
}

#[test]
fn what_cannot_be_released_takes_one_row() {
    let picture = first();
    let mut own = ui(&picture);
    own.service = Some("search".to_owned());
    for (width, height) in [(80, 24), (120, 40)] {
        let name = format!("first_{width}x{height}");
        insta::assert_snapshot!(name, printed(&own, &picture, width, height, Symbols::Unicode));
    }
}

#[test]
fn the_course_of_a_latency_shows_at_every_usual_width() {
    for width in [80, 100, 120, 140, 200] {
        let screen = printed(&ui(&sample()), &sample(), width, 40, Symbols::Unicode);
        let row = screen.lines().find(|row| row.contains("checkout")).expect("its row");
        assert!(row.contains("▆▅▄"), "{width}: {screen}");
    }
}

#[test]
fn a_click_means_the_row_under_it_while_trouble_takes_rows() {
    let picture = sample();
    let mut own = ui(&picture);
    own.mouse = true;
    let area = Rect::new(0, 0, 80, 24);
    let screen = printed(&own, &picture, 80, 24, Symbols::Unicode);
    let row = screen.lines().position(|row| row.contains("● UP")).expect("checkout's row");
    let at = Position::new(5, u16::try_from(row).expect("a row"));
    own.update(Event::Click { click: Click::Press, at, area }, Some(&picture), now());
    assert_eq!(own.service.as_deref(), Some("checkout"), "{screen}");
}

/// The incidents' panel with these feeds, none of which names any.
fn empty(feeds: &[SourceView]) -> String {
    let mut picture = sample();
    let mut sources = (*picture.sources).clone();
    sources.remove(0);
    sources.extend(feeds.iter().cloned().map(Arc::new));
    picture.sources = Arc::new(sources);
    picture.incidents = Arc::new(Incidents::default());
    let mut own = ui(&picture);
    own.focus = Panel::Incidents;
    printed(&own, &picture, 80, 24, Symbols::Unicode)
}

#[test]
fn an_empty_list_of_incidents_says_what_is_known() {
    let feed = |success: Option<u64>, error: &str| SourceView {
        name: "pager feed".to_owned(),
        kind: "pagerduty".to_owned(),
        interval: Duration::from_secs(5),
        success: success.map(ago),
        error: Untrusted::new(error),
        skew_s: None,
    };
    let check = |feeds: &[SourceView], title: &str, text: &str| {
        let screen = empty(feeds);
        assert!(screen.contains(&format!("incidents · {title} ")), "{title}: {screen}");
        assert!(screen.contains(text), "{text}: {screen}");
        assert_eq!(screen.contains("0 open"), title == "0 open", "{screen}");
    };
    check(&[feed(Some(2), "")], "0 open", " none open");
    check(&[feed(None, "")], "unknown", "not known yet: waiting for the first answer");
    check(&[], "no feed", "no feed is configured; own rules opened none");
    let never = [feed(None, "feed pager: HTTP 401: no")];
    check(&never, "unknown", "not known: it was never heard");
    check(&never, "unknown", "pager feed: silent since the start HTTP 401: no");
    let gone = [feed(Some(40), "connection refused"), feed(Some(2), "")];
    check(&gone, "unknown", "none was open when it was last heard");
    check(&gone, "unknown", "pager feed: silent for 40s connection refused");
    let long = "the token is read from the environment variable PAGER_TOKEN, which is not set";
    let screen = empty(&[feed(None, long)]);
    assert!(words_of(&screen).contains(&format!("silent since the start {long}")), "{screen}");
}

#[test]
fn feeds_are_named_while_other_incidents_are_open() {
    let mut picture = sample();
    let mut sources = (*picture.sources).clone();
    Arc::make_mut(&mut sources[0]).success = None;
    Arc::make_mut(&mut sources[0]).error = Untrusted::new("connection refused");
    picture.sources = Arc::new(sources);
    let mut own = ui(&picture);
    own.focus = Panel::Incidents;
    let screen = printed(&own, &picture, 80, 24, Symbols::Unicode);
    assert!(screen.contains("incidents · 3 open"), "{screen}");
    assert!(screen.contains("alerts: silent since the start connection refused"), "{screen}");
}

#[test]
fn a_route_that_was_read_long_ago_is_not_called_verified() {
    let mut picture = sample();
    let mut services = (*picture.services).clone();
    let route = Arc::make_mut(&mut services[1]).route.as_mut().expect("payments has a route");
    for router in &mut route.routers {
        router.read = Some(ago(134));
    }
    picture.services = Arc::new(services);
    let screen = printed(&ui(&picture), &picture, 80, 24, Symbols::Unicode);
    assert!(screen.contains("route STALE 2m14s (last VERIFIED)  set 25 %"), "{screen}");
}

#[test]
fn a_refused_connection_is_data() {
    let picture = first();
    let screen = printed(&ui(&picture), &picture, 80, 24, Symbols::Unicode);
    assert!(screen.contains("LIVE") && !screen.contains("NO DATA"), "{screen}");
}

#[test]
fn a_source_says_why_it_fails_where_there_is_room() {
    let mut picture = first();
    let mut sources = (*picture.sources).clone();
    Arc::make_mut(&mut sources[0]).name = "pager feed".to_owned();
    Arc::make_mut(&mut sources[0]).error = Untrusted::new(&format!("feed pager: {REFUSED}"));
    picture.sources = Arc::new(sources);
    let screen = printed(&ui(&picture), &picture, 120, 40, Symbols::Unicode);
    // The panel stands beside the journal, which is empty.
    assert!(words_of(&screen).contains(REFUSED), "{screen}");
    assert!(!screen.contains("feed pager"), "{screen}");
}

#[test]
fn a_router_that_said_nothing_has_no_comma() {
    let mut picture = sample();
    let mut services = (*picture.services).clone();
    Arc::make_mut(&mut services[1]).operation = Some(operation(Phase::Applying));
    let route = Arc::make_mut(&mut services[1]).route.as_mut().expect("payments has a route");
    route.routers[1].error = Untrusted::new("no answer");
    picture.services = Arc::new(services);
    let screen = printed(&ui(&picture), &picture, 120, 40, Symbols::Unicode);
    assert!(screen.contains("sent once        cannot be read: no answer"), "{screen}");
}

#[test]
fn an_engine_that_does_not_answer_is_named_and_its_data_fade() {
    let picture = sample();
    let mut own = ui(&picture);
    own.silent = Some(Duration::from_secs(14));
    let theme = theme(Symbols::Unicode);
    let (area, stale) = (Rect::new(0, 0, 80, 24), theme.style(Role::Stale).fg);
    for mode in [Mode::Panels, Mode::Room { since: now() }] {
        own.mode = mode;
        let mut buffer = Buffer::empty(area);
        view::draw_in(&mut buffer, area, Some(&picture), &own, &theme, now());
        let screen = printed(&own, &picture, 80, 24, Symbols::Unicode);
        assert!(screen.contains("STALE: the engine does not answer since 14s"), "{screen}");
        assert!(!screen.contains("LIVE"), "{screen}");
        let body = screen.lines().skip(3).take(20);
        let rows = (3..).zip(body).filter(|(_, row)| row.contains("DEGRADED"));
        let faded = rows.map(|(y, row)| {
            let x = row.chars().take_while(|c| *c != 'D').count() - 1;
            buffer[(u16::try_from(x).expect("on the screen"), y)].style().fg
        });
        let faded: Vec<_> = faded.collect();
        assert!(!faded.is_empty() && faded.iter().all(|fg| *fg == stale), "{faded:?} {screen}");
    }
    own.mode = Mode::Panels;
    press(&mut own, &picture, &typed("S"), 0);
    assert!(matches!(own.mode, Mode::Panels), "no more exposure on old data");
    press(&mut own, &picture, &typed("R"), 100);
    assert!(matches!(own.mode, Mode::Guard(_)), "the way to safety is open");
}

#[test]
fn a_rule_says_its_sentence_whole_where_there_is_room() {
    let sentence = "no data: canary had 3 requests in the last 30 s, fewer than the 20 it takes";
    let (_, face) = faces().swap_remove(0);
    let mut picture = releasing(face);
    let mut services = (*picture.services).clone();
    Arc::make_mut(&mut services[1]).triggers[0].sentence = Untrusted::new(sentence);
    Arc::make_mut(&mut services[1]).release = None;
    picture.services = Arc::new(services);
    for size in [(120, 40), (200, 60)] {
        let screen = printed(&ui(&picture), &picture, size.0, size.1, Symbols::Unicode);
        let left: Vec<String> = screen
            .lines()
            .map(|row| row.chars().take(usize::from(size.0) * 3 / 5).collect())
            .collect();
        assert!(words_of(&left.join("\n")).contains(sentence), "{screen}");
        assert_eq!(screen.matches("rollback ready").count(), 1, "{screen}");
    }
}

#[test]
fn a_fault_that_is_on_is_said_in_the_footer() {
    let picture = sample();
    let mut own = ui(&picture);
    let fault = |on| FaultItem { key: 'e', label: "database down".to_owned(), on };
    let check = |own: &Ui, width: u16, text: &str| {
        let screen = printed(own, &picture, width, 24, Symbols::Unicode);
        let last = screen.lines().last().unwrap_or_default();
        assert_eq!(last.contains("ON"), !text.is_empty(), "{screen}");
        assert!(last.contains(text), "{text}: {screen}");
        let told = last.matches(" F ").count();
        assert_eq!(told, 1, "the key of the faults once: {last}");
    };
    own.faults = vec![fault(false), fault(false)];
    check(&own, 120, "");
    own.faults[1].on = true;
    check(&own, 80, "F fault ON: database down");
    check(&own, 40, "F fault ON");
    own.faults[0].on = true;
    check(&own, 80, "F 2 faults ON");
}

#[test]
fn the_page_of_keys_cuts_no_guard_and_says_that_more_follows() {
    let picture = sample();
    for (width, height) in [(80, 24), (40, 10), (120, 40)] {
        let mut own = ui(&picture);
        own.update(Event::Resize(Size { width, height }), Some(&picture), now());
        press(&mut own, &picture, &typed("?"), 0);
        let mut seen = printed(&own, &picture, width, height, Symbols::Unicode);
        assert!(seen.contains(" more below "), "{seen}");
        for _ in 0..200 {
            press(&mut own, &picture, &[Key::Down], 0);
            seen += &printed(&own, &picture, width, height, Symbols::Unicode);
        }
        press(&mut own, &picture, &[Key::End], 0);
        let end = printed(&own, &picture, width, height, Symbols::Unicode);
        assert!(end.contains("Leave; what is in") && !end.contains(" more below "), "{end}");
        // Wider screens show the panels beside the page.
        assert!(!seen.contains('…') || width > 98, "{seen}");
    }
}

#[test]
fn a_bad_status_has_the_age_of_the_answer_that_made_it_so() {
    let check = |bad: Status, age: u64, expected: &str| {
        let mut picture = first();
        let services = Arc::make_mut(&mut picture.services);
        let mut fresh = services[0].probes[0].as_ref().clone();
        (fresh.status, fresh.observed) = (Status::Up, Some(ago(1)));
        let old = crate::first_probe(&mut services[0]);
        (old.status, old.observed) = (bad, Some(ago(age)));
        old.interval = Duration::from_secs(10);
        Arc::make_mut(&mut services[0]).probes.push(Arc::new(fresh));
        let mut own = ui(&picture);
        own.service = Some("search".to_owned());
        let screen = printed(&own, &picture, 120, 40, Symbols::Unicode);
        let row = screen.lines().find(|row| row.contains(" search  ")).unwrap_or_default();
        assert!(row.contains(expected), "{bad} {age}: {row}");
        own.mode = Mode::Room { since: now() };
        let screen = printed(&own, &picture, 120, 40, Symbols::Unicode);
        assert!(
            bad != Status::Down || screen.contains(&format!("{} ago", expected.trim_end())),
            "{screen}"
        );
    };
    check(Status::Down, 12, " 12s ");
    check(Status::Up, 240, " 4m ");
    check(Status::Up, 12, " 1s ");
}
