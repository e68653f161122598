//! Incidents of our own and their notices, against receivers that misbehave.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use engine::command::{Command, Submission};
use engine::types::{Actor, Untrusted};
use quarterdeck::link::{Link, Options};

use super::*;

const CHANNEL: &str = "[notify.ops]\nwebhook = { url = \"URL\", template = '{\"t\": \
                       \"{stage} {name}\", \"k\": \"{key}\", \"n\": {number}}' }\n";

/// A service with a probe that looks often, and what is said about it.
fn deck(probe: &Fake, tables: &str) -> Deck {
    Deck::new(&format!(
        "{HEAD}[[service]]\nname = \"web\"\nalias = \"web\"\n[service.probe]\n\
         http = \"http://127.0.0.1:{}/\"\ninterval = \"100ms\"\nrise = 1\nfall = 1\n{tables}",
        probe.port
    ))
}

fn incident(more: &str) -> String {
    format!(
        "[[incident]]\nname = \"gone\"\nseverity = \"critical\"\nwhen = \"service.down > 0\"\n\
         clear_after = \"300ms\"\nnotify = [\"ops\"]\n{more}"
    )
}

/// Two looks, and what a loaded machine needs to write them down and tell them.
const SOON: Duration = Duration::from_secs(20);

const KEY: &str = "quarterdeck/incident/gone/web";

fn texts(stub: &Stub) -> Vec<String> {
    let asked = stub.asked();
    asked.iter().map(|one| one.json()["t"].as_str().unwrap_or_default().to_owned()).collect()
}

fn acknowledge(deck: &Deck) {
    let options = Options {
        state_dir: deck.state(),
        config: deck.config(),
        config_hash: None,
        read_only: false,
    };
    let mut link = Link::connect(&options).expect("the engine runs");
    let submission = Submission {
        id: "ack-1".to_owned(),
        command: Command::Acknowledge { key: KEY.to_owned(), comment: Untrusted::new("mine") },
        expected: None,
        seen: Untrusted::default(),
        actor: Actor::engine(),
        read_only: false,
    };
    link.submit(&submission).expect("it is taken");
}

#[test]
fn an_incident_is_told_acknowledged_and_over_once() {
    let (probe, pager) = (Fake::serve("web"), Stub::serve(&[Answer::status(202)]));
    let late = "retry-after: 2\r\n";
    let answers =
        [Answer::status(500), Answer::Status(429, late, String::new()), Answer::status(200)];
    let slack = Stub::serve(&answers);
    let channels = format!(
        "[notify.ops]\nslack = {{ url = {{ file = \"hook\" }} }}\n[notify.pager]\n\
         pagerduty = {{ routing_key = {{ file = \"key\" }}, url = \"{}\" }}\n",
        pager.url("/v2/enqueue")
    );
    let tables = incident("").replace("[\"ops\"]", "[\"ops\", \"pager\"]") + &channels;
    let deck = deck(&probe, &tables);
    let put = |name: &str, text: &str| {
        std::fs::write(deck.dir.path().join(name), text).expect("a file is written");
    };
    put("hook", &slack.url("/services/T0K3N"));
    put("key", "r0uting-s3cret");
    let _engine = deck.start_engine();
    probe.down(true);
    let opened = std::time::Instant::now();
    until("the page", || (!pager.asked().is_empty()).then_some(()));
    assert!(opened.elapsed() < SOON, "within two looks: {:?}", opened.elapsed());
    until("the third try", || (slack.asked().len() == 3).then_some(()));
    let asked = slack.asked();
    let waited = asked[2].at - asked[1].at;
    assert!(waited >= Duration::from_secs(2), "Retry-After is kept: {waited:?}");
    assert_eq!(asked[0].body, asked[2].body);
    let text = asked[0].json()["text"].to_string();
    assert!(text.contains("*OPENED* [test] critical: gone on web"), "{text}");
    acknowledge(&deck);
    until("the acknowledgement", || (pager.asked().len() == 2).then_some(()));
    probe.down(false);
    until("the end", || (pager.asked().len() == 3 && slack.asked().len() == 5).then_some(()));
    let events: Vec<Value> = pager.asked().iter().map(stub::Asked::json).collect();
    let actions: Vec<&Value> = events.iter().map(|event| &event["event_action"]).collect();
    assert_eq!(actions, ["trigger", "acknowledge", "resolve"]);
    assert!(events.iter().all(|event| event["dedup_key"] == KEY), "{events:?}");
    assert!(events.iter().all(|event| event["routing_key"] == "r0uting-s3cret"));
    until("the records", || (records(&deck, "notice_ended").len() == 6).then_some(()));
    assert_eq!(records(&deck, "incident_opened").len(), 1);
    assert_eq!(records(&deck, "incident_resolved").len(), 1);
    // What is told of the next one comes after all that was to be told of this one.
    probe.down(true);
    until("the next", || (pager.asked().len() >= 4 && slack.asked().len() >= 6).then_some(()));
    until("its records", || (records(&deck, "notice_ended").len() == 8).then_some(()));
    assert_eq!((pager.asked().len(), slack.asked().len()), (4, 6), "nothing is sent twice");
    let journal = deck.run(&["journal", "export", "--json"]).out;
    assert!(!journal.contains("T0K3N") && !journal.contains("r0uting"), "{journal}");
}

#[test]
fn what_was_not_taken_survives_a_restart() {
    let (probe, stub) = (Fake::serve("web"), Stub::serve(&[Answer::Nothing]));
    let tables = incident("") + &CHANNEL.replace("URL", &stub.url("/hook"));
    let deck = deck(&probe, &tables);
    let engine = deck.start_engine();
    probe.down(true);
    until("a first try", || (stub.asked().len() == 1).then_some(()));
    drop(engine);
    stub.answers(&[Answer::status(200)]);
    let _engine = deck.start_engine();
    until("a second try", || (stub.asked().len() == 2).then_some(()));
    let number = |place: usize| {
        let asked = stub.asked();
        let line = asked[place].head.lines().find(|line| line.starts_with("idempotency-key"));
        line.map(str::to_owned).expect("a notice has a number")
    };
    assert_eq!(number(0), number(1));
    until("its record", || (records(&deck, "notice_ended").len() == 1).then_some(()));
    probe.down(false);
    until("the end", || (stub.asked().len() == 3).then_some(()));
    assert_eq!(texts(&stub), ["opened gone on web", "opened gone on web", "resolved gone on web"]);
    assert_eq!(records(&deck, "incident_opened").len(), 1, "it was open already");
}

#[test]
fn a_receiver_that_refuses_is_given_up_and_shown() {
    let (probe, stub) = (Fake::serve("web"), Stub::serve(&[Answer::status(404)]));
    let tables = incident("") + &CHANNEL.replace("URL", &stub.url("/hook"));
    let deck = deck(&probe, &tables);
    let _engine = deck.start_engine();
    probe.down(true);
    let ended = until("the end", || records(&deck, "notice_ended").pop());
    assert_eq!((&ended["sent"], &ended["channel"]), (&Value::Bool(false), &Value::from("ops")));
    assert!(ended["detail"].as_str().is_some_and(|text| text.contains("answered 404")), "{ended}");
    assert_eq!(stub.asked().len(), 1);
}

#[test]
fn nobody_takes_it_and_it_is_escalated() {
    let (probe, stub) = (Fake::serve("web"), Stub::serve(&[Answer::status(200)]));
    let more = "escalate_after = \"500ms\"\nescalate_to = [\"boss\"]\n";
    let boss = "[notify.boss]\ncommand = [\"/bin/sh\", \"-c\", \"cat >> told\"]\n";
    let tables = incident(more) + &CHANNEL.replace("URL", &stub.url("/hook")) + boss;
    let deck = deck(&probe, &tables.replace("told", "TOLD"));
    let told = deck.dir.path().join("told");
    let text = std::fs::read_to_string(deck.config()).expect("the configuration");
    std::fs::write(deck.config(), text.replace("TOLD", &told.to_string_lossy())).expect("written");
    let _engine = deck.start_engine();
    probe.down(true);
    let said =
        until("the boss", || std::fs::read_to_string(&told).ok().filter(|t| t.ends_with('\n')));
    assert!(said.contains("\"stage\":\"escalated\""), "{said}");
    probe.down(false);
    until("the end", || {
        let said = std::fs::read_to_string(&told).ok()?;
        (said.lines().count() == 2 && said.contains("\"stage\":\"resolved\"")).then_some(())
    });
    until("its record", || (records(&deck, "escalated").len() == 1).then_some(()));
    until("the last one", || (texts(&stub).len() == 2).then_some(()));
    assert_eq!(texts(&stub), ["opened gone on web", "resolved gone on web"]);
}

#[test]
fn an_action_runs_once_and_only_when_armed() {
    for armed in [false, true] {
        let (probe, stub) = (Fake::serve("web"), Stub::serve(&[Answer::status(200)]));
        let plan = |name: &str| {
            format!(
                "[plan.{name}]\nservice = \"web\"\nsteps = [{{ run = [\"/bin/sh\", \"-c\", \
                 \"echo {name} >> MARK\"], timeout = \"10s\" }}]\n"
            )
        };
        let plan = plan("scale") + &plan("shed");
        let more = format!("actions = [\"scale\", \"shed\"]\narmed = {armed}\n");
        let tables = incident(&more) + &CHANNEL.replace("URL", &stub.url("/hook")) + &plan;
        let deck = deck(&probe, &tables);
        let mark = deck.dir.path().join("mark");
        let text = std::fs::read_to_string(deck.config()).expect("the configuration");
        std::fs::write(deck.config(), text.replace("MARK", &mark.to_string_lossy()))
            .expect("written");
        let engine = deck.start_engine();
        probe.down(true);
        // The second plan is of the same service: it waits for its turn.
        let count = if armed { 3 } else { 2 };
        let taken = until("the actions", || {
            Some(records(&deck, "action_taken")).filter(|taken| taken.len() == count)
        });
        assert!(taken.iter().all(|one| one["armed"] == Value::Bool(armed)), "{taken:?}");
        if armed {
            until("both plans' end", || (records(&deck, "release_ended").len() == 2).then_some(()));
        }
        // A restart takes it up where it stands: nothing runs again.
        drop(engine);
        let _engine = deck.start_engine();
        probe.down(false);
        until("its end", || (!records(&deck, "incident_resolved").is_empty()).then_some(()));
        assert_eq!(records(&deck, "action_taken").len(), count);
        let ran = std::fs::read_to_string(&mark).unwrap_or_default();
        assert_eq!(ran, if armed { "scale\nshed\n" } else { "" });
    }
}

#[test]
fn what_people_say_of_an_incident_is_on_record_and_outlives_a_restart() {
    let (probe, stub) = (Fake::serve("web"), Stub::serve(&[Answer::status(200)]));
    let more = "escalate_after = \"12s\"\nescalate_to = [\"ops\"]\n";
    // Another one that nobody puts aside tells when this one would have been escalated.
    let left = incident(more).replace("\"gone\"", "\"left\"");
    let tables = incident(more) + &left + &CHANNEL.replace("URL", &stub.url("/hook"));
    let deck = deck(&probe, &tables);
    let engine = deck.start_engine();
    let of_gone = || -> Vec<String> {
        texts(&stub).into_iter().filter(|text| text.contains("gone")).collect()
    };
    probe.down(true);
    until("their records", || (records(&deck, "notice_ended").len() == 2).then_some(()));
    // Put aside before anybody is late.
    deck.run(&["incident", "snooze", "gone", "--for", "1h", "--reason", "known"]).ends(0, "");
    deck.run(&["incident", "assign", KEY, "ana"]).ends(0, "");
    deck.run(&["incident", "note", "gone on", "restarted \u{1b}[31mtwice"]).ends(0, "");
    deck.run(&["incident", "note", "gone", ""]).ends(1, "the note is empty");
    deck.run(&["incident", "note", "nothing", "x"]).ends(1, "no open incident fits nothing");
    drop(engine);
    let _engine = deck.start_engine();
    until("the other's escalation", || {
        texts(&stub).contains(&"escalated left on web".to_owned()).then_some(())
    });
    let said = deck.run(&["incident", "list"]).ends(0, "critical  snoozed   gone on web");
    assert!(said.out.contains("ana has it"), "{said:#?}");
    assert!(said.out.contains(": restarted ␛[31mtwice"), "{said:#?}");
    assert_eq!(of_gone(), ["opened gone on web"], "it is put aside");
    deck.run(&["incident", "wake", "gone"]).ends(0, "");
    until("the escalation", || (of_gone().len() == 2).then_some(()));
    assert_eq!(of_gone(), ["opened gone on web", "escalated gone on web"]);
    deck.run(&["incident", "ack", "gone", "--comment", "mine"]).ends(0, "");
    deck.run(&["incident", "list"]).ends(0, "critical  acked     gone on web");
    until("their records", || (records(&deck, "triaged").len() == 4).then_some(()));
    let lines = deck.run(&["journal", "list"]).out;
    assert!(lines.contains("ana has it") && lines.contains("snoozed until"), "{lines}");
    let report =
        deck.run(&["report", "--incident", "gone"]).ends(0, "# critical: `gone on web`").out;
    for part in ["| opened |", "snoozed until", "ana has it", "restarted", "| acknowledged |"] {
        assert!(report.contains(part), "{part}: {report}");
    }
    assert!(report.contains("## Records") && report.contains("####"), "{report}");
    deck.run(&["report", "--since", "1h"]).ends(0, "# What happened");
    deck.run(&["report", "--incident", "nothing"]).ends(1, "no incident on record fits nothing");
    deck.run(&["report"]).ends(64, "--incident");
}

/// Somebody else turns the router.
fn turn(router: &Fake, stable: u8, canary: u8) {
    let body = format!("{{\"stable\":{stable},\"canary\":{canary}}}");
    let request = format!("PUT / HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let mut stream = TcpStream::connect(("127.0.0.1", router.port)).expect("it listens");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
}

#[test]
fn what_quarterdeck_raises_by_itself_is_told_once_also_over_a_restart() {
    let (router, stub) = (Fake::serve("router"), Stub::serve(&[Answer::status(200)]));
    let config = format!(
        "version = 1\n[environment]\nname = \"test\"\nnotify = [\"ops\"]\n[[service]]\n\
         name = \"web\"\nalias = \"web\"\n[service.router]\n\
         http = {{ url = \"http://127.0.0.1:{}/\" }}\nreread = \"200ms\"\n{}",
        router.port,
        CHANNEL.replace("URL", &stub.url("/hook"))
    );
    let deck = Deck::new(&config);
    let engine = deck.start_engine();
    deck.run(&[
        "split",
        "web",
        "25",
        "--override",
        "a test",
        "--confirm",
        "web",
        "--reason",
        "try",
    ])
    .ends(0, "VERIFIED");
    turn(&router, 60, 40);
    // What was told and not recorded yet is told again: that is another test.
    until("its record", || (records(&deck, "notice_ended").len() == 1).then_some(()));
    drop(engine);
    let _engine = deck.start_engine();
    until("the drift", || {
        let said = deck.run(&["status", "--json"]);
        let all: Value = serde_json::from_str(&said.out).ok()?;
        (all["services"][0]["split"]["routers"][0]["canary"] == 40.0).then_some(())
    });
    turn(&router, 75, 25);
    until("the end", || (texts(&stub).len() == 2).then_some(()));
    assert_eq!(texts(&stub), ["opened web: split drifted", "resolved web: split drifted"]);
    assert_eq!(records(&deck, "incident_opened").len(), 1);
}

#[test]
fn counters_open_an_incident_within_two_looks() {
    let value = |number: u32| {
        let text = format!(
            "{{\"status\":\"success\",\"data\":{{\"resultType\":\"vector\",\"result\":[{{\
             \"metric\":{{}},\"value\":[1,\"{number}\"]}}]}}}}"
        );
        Answer::Status(200, "content-type: application/json\r\n", text)
    };
    let (prometheus, stub) = (Stub::serve(&[value(7)]), Stub::serve(&[Answer::status(200)]));
    let deck = Deck::new(&format!(
        "{HEAD}[[metrics]]\nname = \"prom\"\nprometheus = \"{}\"\n[[feed]]\nname = \"security\"\n\
         interval = \"200ms\"\ncounters = {{ violations = \"violations\", failed_logins = \
         \"logins\" }}\n[[incident]]\nname = \"breach\"\nseverity = \"critical\"\n\
         when = \"counter.violations > 0 && counter.failed_logins > 100\"\n\
         clear_after = \"300ms\"\nnotify = [\"ops\"]\n{}",
        prometheus.url(""),
        CHANNEL.replace("URL", &stub.url("/hook"))
    ));
    let _engine = deck.start_engine();
    until("some looks", || (prometheus.asked().len() >= 6).then_some(()));
    assert_eq!(texts(&stub), Vec::<String>::new(), "7 is not above 100");
    prometheus.answers(&[value(101)]);
    let raised = std::time::Instant::now();
    until("the notice", || (texts(&stub).len() == 1).then_some(()));
    assert!(raised.elapsed() < SOON, "{:?}", raised.elapsed());
    assert_eq!(texts(&stub), ["opened breach on test"]);
    // A counter that does not answer is no evidence that it is over.
    prometheus.answers(&[Answer::status(500)]);
    let asked = prometheus.asked().len();
    until("some looks", || (prometheus.asked().len() >= asked + 8).then_some(()));
    assert_eq!(texts(&stub).len(), 1);
    prometheus.answers(&[value(0)]);
    until("the end", || (texts(&stub).len() == 2).then_some(()));
    let told = records(&deck, "notice_queued");
    let summary = told[0]["summary"].as_str().unwrap_or_default();
    assert!(summary.contains("counter.failed_logins 101"), "{summary}");
}

/// What Alertmanager would say of a storm: most about one service, each with a kilobyte of notes.
fn storm(count: u32) -> Answer {
    let notes = "it does not answer ".repeat(60);
    let alerts = (0..count).map(|place| {
        let name = if place % 10 == 0 { "Slow" } else { "Down" };
        json!({
            "labels": {
                "alertname": name, "severity": "high", "service": "web",
                "instance": format!("i-{place}"),
            },
            "annotations": { "summary": "gone", "description": notes },
            "startsAt": "2026-01-01T00:00:00Z",
            "fingerprint": format!("{place:016x}"),
            "status": { "state": "active" },
        })
    });
    let mut alerts: Vec<Value> = alerts.collect();
    let other = json!({ "alertname": "DiskFull", "severity": "page", "service": "mail" });
    alerts.push(json!({ "labels": other, "status": { "state": "active" } }));
    let body = Value::Array(alerts).to_string();
    Answer::Status(200, "content-type: application/json\r\n", body)
}

#[test]
fn a_storm_of_alerts_is_grouped_counted_and_leaves_the_rest_in_sight() {
    let (probe, alerts) = (Fake::serve("web"), Stub::serve(&[storm(12_000)]));
    let feed = format!(
        "[[feed]]\nname = \"alerts\"\nalertmanager = \"{}\"\ninterval = \"3s\"\n\
         timeout = \"30s\"\n[[incident]]\nname = \"storm\"\nseverity = \"medium\"\n\
         when = \"feed.open > 1000 && feed.critical > 0\"\nclear_after = \"1s\"\n\
         alerts = {{ service = \"mail\" }}\n",
        alerts.url("")
    );
    let deck = deck(&probe, &(incident("").replace("notify = [\"ops\"]\n", "") + &feed));
    let _engine = deck.start_engine();
    probe.down(true);
    let status = || {
        let said = deck.run(&["status", "--json"]);
        serde_json::from_str::<Value>(&said.out).unwrap_or_else(|_| panic!("{said:#?}"))
    };
    let named = |status: &Value, name: &str| {
        let all = status["incidents"].as_array().expect("a list").clone();
        all.into_iter().find(|own| own["name"] == name)
    };
    let (status, gone) = until("the incident and its alerts", || {
        let status = status();
        let gone = named(&status, "gone on web")?;
        named(&status, "storm on test")?;
        (gone["alerts"]["total"] != 0).then_some((status, gone))
    });
    // Twelve thousand and one came in 16 MB; the worst ten thousand are kept.
    assert_eq!(status["incidents_left_out"], 2_001, "counted");
    assert_eq!(status["incidents_open"], 10_002, "with both of our own");
    assert_eq!(gone["alerts"]["total"], 9_999);
    assert_eq!(gone["alerts"]["worst"].as_array().map(Vec::len), Some(5));
    let list = status["incidents"].as_array().expect("a list");
    assert_eq!(list.len(), 500);
    let mut first: Vec<&str> = list[..3].iter().filter_map(|own| own["name"].as_str()).collect();
    first.sort_unstable();
    assert_eq!(first, ["DiskFull", "gone on web", "storm on test"], "before what is grouped");
    let said = deck.run(&["incident", "list"]).ends(0, "gone on web").out;
    for part in [
        "9999 alerts: high",
        "1 alert: critical DiskFull",
        "9502 more; most of all are \
                 Down",
        "2001 more were left out",
    ] {
        assert!(said.contains(part), "{part}: {}", &said[..said.len().min(2_000)]);
    }
    let told = records(&deck, "incident_opened");
    assert_eq!(told.len(), 2, "a storm is one record: {told:?}");
    // What was left out is not called over when the rest goes on; all is when the feed is quiet.
    alerts.answers(&[storm(0)]);
    until("the end of the storm", || {
        let said = deck.run(&["incident", "list"]).out;
        (said.contains("gone on web") && said.contains("DiskFull") && !said.contains("more"))
            .then_some(())
    });
    until("the end of its incident", || {
        records(&deck, "incident_resolved")
            .iter()
            .any(|it| it["name"] == "storm on test")
            .then_some(())
    });
    probe.down(false);
}
