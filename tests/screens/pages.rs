//! The pages over the panels, with what they must and must not tell.

use engine::snapshot::JournalLine;

use super::*;

fn told(seconds: u64, kind: &str, text: &str) -> JournalLine {
    let (kind, text) = (kind.to_owned(), Untrusted::new(text));
    JournalLine { at: sample::ago(seconds).wall, user: Untrusted::new("ana"), kind, text }
}

fn page(key: char, picture: &Snapshot) -> String {
    let mut own = ui(picture);
    press(&mut own, picture, &[Key::Char(key)], 0);
    printed(&own, picture, 120, 40, Symbols::Unicode)
}

/// A row of marks, by its name, without the frame.
fn row<'a>(screen: &'a str, name: &str) -> &'a str {
    let found = screen.lines().find_map(|line| line.split_once(&format!("│{name} ")));
    found.expect("the row").1.trim_end_matches(['"', '│'])
}

#[test]
fn a_flag_is_marked_as_one_for_every_service_and_a_start_is_no_change() {
    let mut picture = sample();
    let mut services = (*picture.services).clone();
    let mut flag = services[2].clone();
    let own = Arc::make_mut(&mut flag);
    (own.name, own.flag) = ("new-ui".to_owned(), true);
    services.push(flag);
    picture.services = Arc::new(services);
    picture.journal = Arc::new(vec![
        told(3_700, "look", "r3 payments is well"),
        told(300, "started", "engine 0.2.0 started"),
        told(200, "intent", "#7 flag new-ui 0 → 50: for payments"),
        told(100, "intent", "#8 split search 0 → 5: not for new-ui"),
    ]);
    let screen = page('L', &picture);
    assert_eq!(row(&screen, "flags").matches('▲').count(), 1, "{screen}");
    assert!(screen.contains("intent: #7 flag new-ui 0 → 50"), "{screen}");
    for name in ["deploys", "splits", "config"] {
        assert!(row(&screen, name).trim().is_empty(), "{name}\n{screen}");
    }
    assert!(!screen.contains("#8 split search") && !screen.contains("started"), "{screen}");
    assert!(!screen.contains("what was before"), "{screen}");
}

#[test]
fn alerts_of_other_services_are_not_told_and_own_ones_stand_once() {
    let mut picture = sample();
    let mut incidents = (*picture.incidents).clone();
    let one = |key: &str, name: &str, service: &str| {
        let labels = [(Untrusted::new("service"), Untrusted::new(service))];
        let name = Untrusted::new(name);
        IncidentView {
            key: key.to_owned(),
            name,
            labels: labels.into(),
            ..incidents.open[0].clone()
        }
    };
    let own = "quarterdeck/slow/payments";
    incidents.open = vec![
        one("a/1", "OfPayments", "payments"),
        one("a/2", "OfSearch", "search"),
        one("a/3", "OfNobody", "payments-db"),
        IncidentView { labels: [].into(), ..one(own, "Slow", "") },
    ];
    picture.incidents = Arc::new(incidents);
    picture.journal = Arc::new(vec![
        told(3_700, "look", "r3 payments is well"),
        told(130, "opened", &format!("high Slow ({own})")),
        told(120, "incidents", "alerts: 3 opened, 0 resolved"),
        told(110, "acknowledged", "a/2: done"),
        told(109, "acknowledged", "a/1: done"),
    ]);
    let screen = page('L', &picture);
    let count = |text: &str| screen.matches(text).count();
    assert_eq!(["OfPayments", "OfNobody", " Slow"].map(count), [1, 1, 1], "{screen}");
    assert_eq!(["OfSearch", "opened", "a/2"].map(count), [0, 0, 0], "{screen}");
    assert_eq!(count("acknowledged: a/1"), 1, "{screen}");
}

#[test]
fn where_the_journals_tail_begins_is_marked() {
    let mut picture = sample();
    picture.journal = Arc::new(vec![told(1_800, "intent", "#7 split payments 0 → 5")]);
    let screen = page('L', &picture);
    for name in ["deploys", "splits", "flags", "config", "alerts"] {
        let row = row(&screen, name);
        let known = row.trim_start_matches([' ', '·']);
        let dots = row.matches('·').count();
        assert!((50..60).contains(&dots) && !known.contains('·'), "{name}: {dots}\n{screen}");
    }
    let text = "what was before 13:33:11 is in the journal: quarterdeck journal list";
    assert!(screen.contains(text), "{screen}");
    picture.journal = Arc::default();
    let empty = page('L', &picture);
    assert_eq!(row(&empty, "splits").matches('·').count(), 108, "{empty}");
}

#[test]
fn the_handover_tells_who_has_what_and_everything_that_ends() {
    let mut picture = releasing(release());
    let mut incidents = (*picture.incidents).clone();
    incidents.open[0].triage.snoozed_until = Some(sample::ahead(3_600).wall);
    incidents.open[2].triage.assignee = Untrusted::new("ben");
    picture.incidents = Arc::new(incidents);
    let mut services = (*picture.services).clone();
    let rule = &mut Arc::make_mut(&mut services[1]).triggers[0];
    rule.state = TriggerState::Off;
    rule.sentence = Untrusted::new("off until 14:33:11Z by ana: known");
    picture.services = Arc::new(services);
    let mut sources = (*picture.sources).clone();
    Arc::make_mut(&mut sources[0]).name = "alerts feed".to_owned();
    picture.sources = Arc::new(sources);
    picture.journal = Arc::new(vec![
        told(9_000, "acknowledged", "a/2: done"),
        told(600, "acknowledged", "a/2: done"),
        told(500, "acknowledged", "a/3: it does not answer"),
    ]);
    let screen = page('H', &picture);
    for text in [
        "critical HighErrorRate aside until 15:03:11 for 2m10s",
        "high HighErrorRate acknowledged for 2m10s",
        "low HighErrorRate ben has it for 2m10s",
        "14:33:11 (in 30m00s) payments rule canary.error_rate > 10.0 is armed again",
        "15:03:11 (in 1h00m) HighErrorRate (a/1) is not put aside any more",
        "15:53:11 (in 1h50m) HighErrorRate (a/2): our silence in the Alertmanager",
    ] {
        assert!(screen.contains(text), "{text}\n{screen}");
    }
    assert_eq!(screen.matches("our silence").count(), 1, "{screen}");
    assert!(!screen.contains("NOBODY"), "{screen}");
}

#[test]
fn the_handover_begins_at_a_time_that_is_typed() {
    let mut picture = sample();
    picture.journal = Arc::new(vec![
        told(90_000, "look", "long ago"),
        told(240, "intent", "#7 before the shift"),
        told(120, "intent", "#8 in the shift"),
    ]);
    let mut own = ui(&picture);
    let shown = |own: &Ui| printed(own, &picture, 120, 40, Symbols::Unicode);
    let (_, at) = press(&mut own, &picture, &typed("H"), 0);
    assert!(shown(&own).contains("since 13:03:11 (last 1h) · UTC"));
    assert!(shown(&own).contains("#7 before") && shown(&own).contains("0-9 since a time"));
    let (_, at) = press(&mut own, &picture, &typed("14:0"), at);
    assert!(shown(&own).contains("since 14:0▏ UTC, as 14:00"), "{}", shown(&own));
    assert!(shown(&own).contains("#7 before"), "not before it is taken");
    let (_, at) = press(&mut own, &picture, &typed("0\n"), at);
    let screen = shown(&own);
    assert!(screen.contains("since 14:00:00 · UTC"), "{screen}");
    assert!(!screen.contains("#7 before") && screen.contains("#8 in the shift"), "{screen}");
    let (_, at) = press(&mut own, &picture, &typed("99:9\n"), at);
    let told = own.message.as_ref().map(|message| message.text.as_str());
    assert_eq!(told, Some("99:9 is no time: 14:00"));
    assert!(shown(&own).contains("since 14:00:00"), "what counted counts");
    let keys = [Key::Char('1'), Key::Esc, Key::Char('W')];
    let (_, at) = press(&mut own, &picture, &keys, at);
    assert!(shown(&own).contains("(last 6h)"), "the page is open, and the window counts again");
    press(&mut own, &picture, &[Key::Esc], at);
    assert!(matches!(own.mode, Mode::Panels));
}
