//! Which rows show, and which one a click means.

use engine::snapshot::SourceView;
use quarterdeck::ui::Click;
use ratatui::layout::{Position, Rect};

use super::*;

fn panel(ui: &Ui, picture: &Snapshot, panel: Panel) -> String {
    let mut own = ui.clone();
    (own.focus, own.zoomed, own.mode) = (panel, true, Mode::Panels);
    printed(&own, picture, 120, 12, Symbols::Unicode)
}

#[test]
fn a_filter_holds_for_every_list_by_its_own_fields() {
    let picture = sample();
    let with = |filter: &str| {
        let mut own = ui(&picture);
        let (_, at) = press(&mut own, &picture, &typed("\t\t\t\t\tG"), 0);
        press(&mut own, &picture, &typed(&format!("/{filter}\n")), at);
        own
    };
    let check = |filter, at, title: &str, there: &[&str], hidden: &[&str]| {
        let screen = panel(&with(filter), &picture, at);
        assert!(screen.contains(title), "{filter}: {title}\n{screen}");
        assert!(there.iter().all(|text| screen.contains(text)), "{filter}\n{screen}");
        assert!(!hidden.iter().any(|text| screen.contains(text)), "{filter}\n{screen}");
    };
    let (edge, api) = ("edge-1", "payments/api");
    check("edge", Panel::Sources, "1 failing · 1 of 4 match /edge", &[edge], &[api, "alerts"]);
    check("state:failing", Panel::Sources, "1 of 4", &["search/api"], &[edge, api]);
    check("!kind:probe", Panel::Sources, "2 of 4", &[edge, "alerts"], &[api]);
    check("web", Panel::Hosts, "2 of 3 match /web", &["web-1", "web-2"], &["here"]);
    check("error:refused", Panel::Hosts, "1 of 3", &["web-2"], &["web-1", "here"]);
    check("kind:intent", Panel::Journal, "1 of 3 match /kind:intent · UTC", &["10 %"], &["VERI"]);
    check("user:ben", Panel::Journal, "0 of 3", &[], &["intent", "started"]);
    check("", Panel::Journal, "journal · UTC", &["intent", "started"], &["match"]);
    // What is copied is what is shown.
    let mut own = with("user:ana kind:intent");
    own.focus = Panel::Journal;
    let (actions, _) = press(&mut own, &picture, &typed("c"), 9_000);
    let copied = actions.iter().find_map(|action| match action {
        Action::Copy(text) => Some(text.lines().count()),
        Action::Quit
        | Action::Redraw
        | Action::Suspend
        | Action::Fault(_)
        | Action::Theme
        | Action::Mouse(_)
        | Action::Seek { .. }
        | Action::PauseReplay
        | Action::Speed { .. }
        | Action::Submit { .. } => None,
    });
    assert_eq!(copied, Some(1));
}

#[test]
fn a_click_selects_the_incident_under_it_whatever_stands_over_the_list() {
    let calm = sample();
    let mut storm = sample();
    let mut incidents = (*storm.incidents).clone();
    incidents.names = vec![NameCount { name: Untrusted::new("HighErrorRate"), count: 3 }];
    storm.incidents = Arc::new(incidents);
    let mut sources = (*storm.sources).clone();
    let error = Untrusted::new("connection refused by 10.0.0.7:9093, and that for a long time now");
    let first = sources[0].as_ref().clone();
    sources.push(Arc::new(SourceView { name: "pages feed".to_owned(), error, ..first }));
    storm.sources = Arc::new(sources);
    for (picture, (wide, high)) in [(&calm, (120, 40)), (&storm, (200, 60))] {
        let mut own = ui(picture);
        own.mouse = true;
        let screen = printed(&own, picture, wide, high, Symbols::Unicode);
        let found = screen.lines().zip(0..).find_map(|(line, row)| {
            let (before, _) = line.split_once("▲ high")?;
            Some((u16::try_from(before.chars().count()).ok()?, row))
        });
        let (column, row) = found.expect("its row");
        let at = Position::new(column, row);
        let area = Rect::new(0, 0, wide, high);
        own.update(Event::Click { click: Click::Press, at, area }, Some(picture), now());
        assert_eq!(own.focus, Panel::Incidents, "{screen}");
        assert_eq!(own.incident.as_deref(), Some("a/2"), "{screen}");
    }
}
