//! What is wrong is said in full, and what is not known is not said as if it were.

use std::sync::Arc;

use engine::snapshot::{Incidents, ServiceView, Snapshot};
use engine::types::{Status, Untrusted};
use quarterdeck::ui::theme::Symbols;
use quarterdeck::ui::{Click, Event};
use ratatui::layout::{Position, Rect};

use crate::sample::{now, sample};
use crate::{printed, ui};

/// What a probe says when nobody listens.
const REFUSED: &str = "nothing listens at 127.0.0.1:3000: connection refused (os error 111)";

/// One watched service that is down, as with the first configuration of the README.
fn first() -> Snapshot {
    let sample = sample();
    let mut service: ServiceView = sample.services[2].clone();
    let probe = &mut service.probes[0];
    probe.status = Status::Down;
    probe.observed = Some(now());
    probe.latency = None;
    probe.message = Untrusted::new(REFUSED);
    let mut source = sample.sources[2].clone();
    source.success = None;
    source.error = Untrusted::new(REFUSED);
    Snapshot {
        services: Arc::new(vec![service]),
        hosts: Arc::default(),
        incidents: Arc::new(Incidents::default()),
        journal: Arc::default(),
        sources: Arc::new(vec![source]),
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
    several[1].probes[0].status = Status::Down;
    several[1].probes[0].message = Untrusted::new(REFUSED);
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
