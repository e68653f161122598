//! Incidents: when they open and resolve, and what a storm of them does to the engine.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::*;
use crate::settings::Settings;
use crate::types::{EffectId, Failure, FailureKind, Fence, Time};
use crate::{Appended, Effect, Engine, Input};

const FEED: FeedId = FeedId(0);

fn now(seconds: u64) -> Now {
    let wall = TimeDelta::seconds(i64::try_from(seconds).expect("a short time"));
    Now { mono: Time(seconds * 1_000_000), wall: DateTime::UNIX_EPOCH + wall }
}

fn feed() -> settings::Feed {
    settings::Feed {
        name: "alerts".into(),
        kind: "json".into(),
        interval: Duration::from_secs(10),
        can_acknowledge: true,
        can_escalate: false,
    }
}

fn alert(fingerprint: &str, state: AlertState) -> Alert {
    Alert {
        fingerprint: fingerprint.to_owned(),
        name: Untrusted::new("Down"),
        severity: Severity::High,
        state,
        summary: Untrusted::default(),
        labels: BTreeMap::new(),
        started_at: None,
        links: Vec::new(),
    }
}

fn reading(alerts: Vec<Alert>) -> FeedReading {
    FeedReading { alerts, ..FeedReading::default() }
}

fn word(event: &Event) -> String {
    match event {
        Event::IncidentOpened { key, .. } => format!("+{key}"),
        Event::IncidentResolved { key, .. } => format!("-{key}"),
        Event::IncidentsChanged { opened, resolved, .. } => format!("+{opened} -{resolved}"),
        other => panic!("no incident's event: {other:?}"),
    }
}

/// Reads one feed again and again: each reading's fingerprints, and what it is worth on record.
fn check(readings: &[(&[&str], &[&str])]) {
    let mut board = Board::default();
    for (turn, (fingerprints, expected)) in (0..).zip(readings) {
        let triggered = |name: &&str| match name.strip_prefix('~') {
            Some(name) => alert(name, AlertState::Resolved),
            None => alert(name, AlertState::Triggered),
        };
        let alerts = fingerprints.iter().map(triggered).collect();
        let events = board.read(FEED, &feed(), reading(alerts), now(turn));
        let words: Vec<String> = events.iter().map(word).collect();
        assert_eq!(words, *expected, "reading {turn} of {readings:?}");
    }
}

#[test]
fn an_incident_is_open_while_its_feed_names_it() {
    check(&[(&["a"], &["+alerts/a"]), (&["a"], &[]), (&[], &["-alerts/a"]), (&[], &[])]);
    check(&[(&["a", "a", "b"], &["+alerts/a", "+alerts/b"]), (&["b"], &["-alerts/a"])]);
    check(&[(&["a"], &["+alerts/a"]), (&["~a"], &["-alerts/a"]), (&["a"], &["+alerts/a"])]);
    check(&[(&["~a"], &[])]);
}

#[test]
fn a_storm_gets_one_record() {
    let names: Vec<String> = (0..=RECORDS_PER_READING_MAX).map(|place| place.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    check(&[(&names, &["+21 -0"]), (&[], &["+0 -21"])]);
    check(&[(&names, &["+21 -0"]), (&names[1..], &["-alerts/0"])]);
}

#[test]
fn feeds_and_the_engines_own_incidents_do_not_resolve_each_other() {
    let other = settings::Feed { name: "pager".into(), ..feed() };
    let one = || reading(vec![alert("a", AlertState::Triggered)]);
    let mut board = Board::default();
    board.read(FEED, &feed(), one(), now(0));
    board.read(FeedId(1), &other, one(), now(1));
    assert!(board.raise("quarterdeck/x", Severity::Critical, "x", "first", now(2)).is_some());
    assert!(board.raise("quarterdeck/x", Severity::Critical, "x", "again", now(3)).is_none());
    board.read(FEED, &feed(), reading(Vec::new()), now(4));
    let keys: Vec<String> = board.section().open.into_iter().map(|view| view.key).collect();
    assert_eq!(keys, ["quarterdeck/x", "pager/a"], "worst first");
    assert_eq!(board.view("quarterdeck/x").map(|view| view.summary.display()), Some("again"));
    assert!(board.resolve_at("quarterdeck/x", now(5)).is_some());
    assert!(board.resolve_at("quarterdeck/x", now(6)).is_none());
}

#[test]
fn the_same_incident_keeps_its_first_sight_and_takes_what_is_new() {
    let mut board = Board::default();
    board.read(FEED, &feed(), reading(vec![alert("a", AlertState::Triggered)]), now(1));
    board.set_pending("alerts/a", "acknowledging");
    board.read(FEED, &feed(), reading(vec![alert("a", AlertState::Triggered)]), now(2));
    let view = board.view("alerts/a").expect("it is open");
    assert_eq!((view.first_seen, view.last_seen), (now(1), now(2)));
    assert_eq!(view.pending.display(), "acknowledging");
    let worse = Alert { severity: Severity::Critical, ..alert("a", AlertState::Acknowledged) };
    board.read(FEED, &feed(), reading(vec![worse]), now(3));
    let view = board.view("alerts/a").expect("it is open");
    assert_eq!((view.severity, view.state), (Severity::Critical, AlertState::Acknowledged));
    assert!(view.pending.is_empty(), "the feed has answered");
}

/// An engine with one feed, its readings answered by hand.
struct Storm {
    engine: Engine,
    now: Now,
    effects: Vec<Effect>,
}

impl Storm {
    fn new() -> Storm {
        let settings = Settings { feeds: vec![feed()], ..Settings::default() };
        let mut effects = Vec::new();
        let engine = Engine::recover(settings, "test", 1, &[], Fence(0), now(1), &mut effects);
        Storm { engine, now: now(1), effects }
    }

    /// The id under which the feed is asked next; records on the way are durable.
    fn asked(&mut self) -> EffectId {
        for _ in 0..100 {
            for effect in std::mem::take(&mut self.effects) {
                match effect {
                    Effect::ReadFeed { id, .. } => return id,
                    Effect::Append { id, .. } => {
                        let input = Input::Appended { id, result: Appended::Durable };
                        self.engine.handle(self.now, input, &mut self.effects);
                    }
                    other => panic!("nobody asks for this here: {other:?}"),
                }
            }
            self.now = Now {
                mono: self.now.mono + Duration::from_secs(1),
                wall: self.now.wall + TimeDelta::seconds(1),
            };
            self.engine.handle_deadline(self.now, &mut self.effects);
        }
        panic!("the feed is never asked");
    }

    /// Answers the feed's next request; says how many records that was worth.
    fn read(&mut self, result: Result<FeedReading, Failure>) -> usize {
        let id = self.asked();
        let input = Input::FeedRead { id, feed: FEED, result };
        self.engine.handle(self.now, input, &mut self.effects);
        self.effects.iter().filter(|effect| matches!(effect, Effect::Append { .. })).count()
    }
}

/// Ten thousand alerts: each fingerprint twice, and each second one starts in the future.
fn storm(wall: DateTime<Utc>) -> FeedReading {
    let alerts = (0..10_000_i64).map(|place| {
        let fingerprint = format!("{:04}", place / 2);
        let ahead = if place / 2 % 2 == 0 { 86_400 } else { -60 };
        Alert {
            started_at: Some(wall + TimeDelta::seconds(ahead)),
            severity: if place < 20 { Severity::Critical } else { Severity::Low },
            ..alert(&fingerprint, AlertState::Triggered)
        }
    });
    FeedReading { alerts: alerts.collect(), dropped: 7, ..FeedReading::default() }
}

#[test]
fn ten_thousand_alerts_are_counted_limited_and_told_once() {
    let mut world = Storm::new();
    let wall = world.now.wall;
    assert_eq!(world.read(Ok(storm(wall))), 1, "one summary, not thousands of records");
    let seen = world.engine.snapshot().incidents;
    assert_eq!((seen.total, seen.dropped, seen.open.len()), (5_000, 7, INCIDENTS_SHOWN_MAX));
    assert!(seen.open[..10].iter().all(|view| view.severity == Severity::Critical), "worst first");
    assert!(seen.open[10..].iter().all(|view| view.severity == Severity::Low));
    // A start in the future counts as the newest, and never as an age.
    assert!(seen.open[10..].iter().all(|view| view.started_at < Some(wall)));
    assert!(seen.open.iter().all(|view| view.first_seen.mono <= world.now.mono));
    // The same again is nothing new.
    assert_eq!(world.read(Ok(storm(wall))), 0);
    assert_eq!(world.engine.snapshot().incidents.total, 5_000);
    // A feed that fails resolves nothing.
    world.read(Err(Failure::new(FailureKind::Timeout, "late")));
    assert_eq!(world.engine.snapshot().incidents.total, 5_000);
    // An empty one resolves all, and the list of what was resolved has its limit.
    assert_eq!(world.read(Ok(reading(Vec::new()))), 1);
    let seen = world.engine.snapshot().incidents;
    assert_eq!((seen.total, seen.dropped, seen.open.len()), (0, 0, 0));
    assert_eq!(seen.resolved.len(), RESOLVED_MAX);
}

fn labelled(fingerprint: &str, severity: Severity, labels: &[(&str, &str)]) -> Alert {
    let labels = labels.iter().map(|(name, value)| (Untrusted::new(name), Untrusted::new(value)));
    Alert { severity, labels: labels.collect(), ..alert(fingerprint, AlertState::Triggered) }
}

#[test]
fn the_alerts_of_a_service_belong_to_its_incident_and_stand_behind_it() {
    let mut board = Board::default();
    let raise = |board: &mut Board, key: &str, severity, group| {
        board.raise(key, severity, key, "", now(0));
        board.define(key, group);
    };
    let named = |name: &str| Some(Group::Subject(name.to_owned()));
    raise(&mut board, "quarterdeck/incident/gone/web", Severity::High, named("web"));
    raise(&mut board, "quarterdeck/incident/full/db", Severity::High, named("db"));
    let labels = vec![
        (Untrusted::new("team"), Untrusted::new("shop")),
        (Untrusted::new("tier"), Untrusted::new("1")),
    ];
    let labels = Some(Group::Labels(labels));
    raise(&mut board, "quarterdeck/incident/shop/test", Severity::Low, labels);
    raise(&mut board, "quarterdeck/drift", Severity::High, None);
    let alerts = vec![
        labelled("a", Severity::Critical, &[("instance", "web:9100")]),
        labelled("b", Severity::High, &[("service", "web"), ("team", "shop")]),
        labelled("c", Severity::Low, &[("service", "web-2")]),
        labelled("d", Severity::Low, &[("team", "shop"), ("tier", "1")]),
    ];
    board.read(FEED, &feed(), reading(alerts), now(1));
    let section = board.section();
    let group = |key: &str| {
        let own = section.open.iter().find(|view| view.key.ends_with(key)).expect(key);
        own.alerts.as_ref().map(|alerts| {
            let keys = alerts.worst.iter().map(|alert| alert.key.as_str());
            (alerts.total, keys.collect::<Vec<_>>())
        })
    };
    assert_eq!(group("gone/web"), Some((2, vec!["alerts/a", "alerts/b"])), "the worst first");
    assert_eq!(group("full/db"), Some((0, vec![])));
    assert_eq!(group("shop/test"), Some((1, vec!["alerts/d"])), "all of its labels");
    assert_eq!((group("drift"), group("alerts/b")), (None, None));
    let keys: Vec<&str> = section.open.iter().map(|view| view.key.as_str()).collect();
    let expected = [
        // Worse than the incident that it belongs to.
        "alerts/a",
        "quarterdeck/drift",
        "quarterdeck/incident/full/db",
        "quarterdeck/incident/gone/web",
        "quarterdeck/incident/shop/test",
        "alerts/c",
        // What another stands for.
        "alerts/b",
        "alerts/d",
    ];
    assert_eq!(keys, expected);
    board.resolve_at("quarterdeck/incident/gone/web", now(2));
    let keys: Vec<String> = board.section().open.into_iter().map(|view| view.key).collect();
    assert_eq!(keys[3], "alerts/b", "on its own again, by its severity and start");
}

#[test]
fn what_a_limit_left_out_is_counted_and_not_called_over() {
    let mut board = Board::default();
    board.read(FEED, &feed(), reading(vec![alert("a", AlertState::Triggered)]), now(0));
    let alerts = vec![alert("b", AlertState::Triggered)];
    let cut = FeedReading { alerts, dropped: 7, ..FeedReading::default() };
    let events = board.read(FEED, &feed(), cut, now(1));
    assert_eq!(events.iter().map(word).collect::<Vec<_>>(), ["+alerts/b"]);
    let section = board.section();
    assert_eq!((section.total, section.dropped, section.resolved.len()), (1, 7, 0));
    assert_eq!(board.figures().get("feed.open"), Some(&8.0), "all of them are open");
}

#[test]
fn a_storm_behind_an_incident_leaves_the_others_in_sight_and_is_told_by_its_names() {
    let mut board = Board::default();
    let key = "quarterdeck/incident/gone/web";
    board.raise(key, Severity::Critical, "gone", "", now(0));
    board.define(key, Some(Group::Subject("web".to_owned())));
    let mut alerts: Vec<Alert> = (0..10_000)
        .map(|place| {
            let name = if place % 10 == 0 { "Slow" } else { "Down" };
            let labels = [("service", "web")];
            let alert = labelled(&place.to_string(), Severity::High, &labels);
            Alert { name: Untrusted::new(name), ..alert }
        })
        .collect();
    alerts.push(labelled("other", Severity::Low, &[("service", "mail")]));
    board.read(FEED, &feed(), reading(alerts), now(1));
    let section = board.section();
    assert_eq!((section.total, section.open.len()), (10_002, INCIDENTS_SHOWN_MAX));
    assert_eq!(section.open[0].alerts.as_ref().map(|alerts| alerts.total), Some(10_000));
    assert_eq!(section.open[0].alerts.as_ref().map(|alerts| alerts.worst.len()), Some(5));
    assert_eq!(section.open[1].key, "alerts/other", "before what belongs to the incident");
    let names: Vec<(&str, u32)> =
        section.names.iter().map(|own| (own.name.display(), own.count)).collect();
    assert_eq!(names, [("Down", 9_001), ("Slow", 1_000)]);
}
