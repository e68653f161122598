//! Waiting, the doctor, the plain lines and long histories, as a script or a screen reader meets
//! them.

use std::io::BufRead as _;
use std::os::unix::fs::DirBuilderExt as _;

use engine::Appended;
use engine::record::{Entry, Event, ReleaseKind, ReleaseResult, ReleaseStarted};
use engine::types::Group;
use quarterdeck::io::journal::sqlite::Journal;

use super::*;

#[test]
fn the_doctor_names_what_is_wrong_and_what_to_do() {
    let web = Fake::serve("web");
    let service = format!("{HEAD}[[service]]\nname = \"web\"\n{}", probe(web.port));
    let deck = Deck::new(&service);
    let said = deck.run(&["doctor", "--json", "--color", "256"]);
    let found: Value =
        serde_json::from_str(&said.out).unwrap_or_else(|why| panic!("{why}: {said:?}"));
    let state = |found: &Value, name: &str| {
        let all = found["checks"].as_array().expect("a list").iter();
        let own = all.filter(|check| check["name"] == name).map(|check| check["state"].clone());
        own.collect::<Vec<_>>()
    };
    for name in ["configuration", "state directory", "journal", "engine", "web/health probe"] {
        assert_eq!(state(&found, name), ["ok"], "{name}: {found:#}");
    }
    assert_eq!(state(&found, "synchronized output"), ["unknown"], "there is no terminal");
    // What is wrong has a remedy each, and the code says so.
    let broken = format!(
        "{service}[[service.router]]\nname = \"api\"\nhttp = {{ url = \"http://127.0.0.1:9/s\", \
         token = {{ env = \"QUARTERDECK_NO_SUCH_TOKEN\" }} }}\n"
    );
    let deck = Deck::new(&broken);
    let said = deck.run(&["doctor", "--json"]);
    let found: Value =
        serde_json::from_str(&said.out).unwrap_or_else(|why| panic!("{why}: {said:?}"));
    assert_eq!((said.code, &found["ok"]), (1, &false.into()), "{found:#}");
    let warned = found["checks"].as_array().expect("a list").iter().any(|check| {
        check["state"] == "warn"
            && check["found"].as_str().is_some_and(|text| text.contains("NO_SUCH_TOKEN"))
    });
    assert!(warned, "{found:#}");
    for check in found["checks"].as_array().expect("a list") {
        let fine = check["state"] == "ok";
        assert_eq!(check["remedy"] == "", fine, "{check:#}");
    }
    deck.run(&["doctor"]).ends(1, "do: ");
}

#[test]
fn check_tells_what_of_a_persons_own_file_does_not_count() {
    let deck = Deck::new(HEAD);
    let home = deck.state().with_file_name("own");
    std::fs::create_dir_all(home.join("quarterdeck")).expect("a folder");
    let check = |text: &str, code: i32, told: &[&str]| {
        std::fs::write(home.join("quarterdeck/console.toml"), text).expect("the file");
        let output = deck.command(&["check"]).env("XDG_CONFIG_HOME", &home).output();
        let said = Said::of(&output.expect("it runs"));
        assert_eq!(said.code, code, "{said:?}");
        for told in told {
            assert!(said.err.contains(told), "{told}: {said:?}");
        }
    };
    check("theme = \"ligth\"\n", 0, &["console.toml:1:9", "did you mean `light`?"]);
    check("[keys]\nfilter = \"l\"\n", 0, &["2:1: l is filter now, next-panel keeps Tab Right"]);
    check("[keys]\nrollback = []\n", 65, &["2:1: rollback must have a key: it keeps R"]);
    check("[keys]\nquit = \"F1\"\nmark-bad = \"Delete\"\n", 0, &[]);
}

#[test]
fn a_speed_is_a_number_above_nothing() {
    for wrong in ["nan", "inf", "-inf", "0", "-1", "fast"] {
        let speed = format!("--speed={wrong}");
        bare(&["replay", &speed, "/nothing"]).ends(64, "a number above 0");
    }
    bare(&["replay", "--speed", "0.5", "/nothing"]).ends(65, "");
}

#[test]
fn waiting_ends_when_it_is_so_or_the_time_is_up() {
    let web = Fake::serve("web");
    let service = format!("{HEAD}[[service]]\nname = \"web\"\n{}", probe(web.port));
    let deck = Deck::new(&service);
    let _engine = deck.start_engine();
    deck.run(&["wait", "--until", "healthy", "--timeout", "30s"]).ends(0, "");
    deck.run(&["wait", "web", "--until", "settled"]).ends(0, "");
    deck.run(&["wait", "nobody"]).ends(64, "there is no service nobody");
    web.down(true);
    until("it is DOWN", || (status(&deck).0 == 2).then_some(()));
    deck.run(&["wait", "--timeout", "1s"]).ends(3, "web is DOWN");
    let waiting = deck.command(&["wait", "web", "--timeout", "60s"]).spawn().expect("it starts");
    web.down(false);
    let ended = waiting.wait_with_output().expect("it ends");
    assert_eq!(ended.status.code(), Some(0));
}

#[test]
fn plain_lines_tell_what_became_different() {
    let web = Fake::serve("web");
    let service = format!("{HEAD}[[service]]\nname = \"web\"\n{}", probe(web.port));
    let deck = Deck::new(&service);
    let _engine = deck.start_engine();
    deck.run(&["wait"]).ends(0, "");
    let mut plain = deck.command(&["--plain"]).stdout(Stdio::piped()).spawn().expect("it starts");
    let (sender, lines) = std::sync::mpsc::channel();
    let out = plain.stdout.take().expect("its output");
    let reader = std::thread::spawn(move || {
        for line in std::io::BufReader::new(out).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let next = |part: &str| {
        let end = Instant::now() + product::PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let line = lines.recv_timeout(left).unwrap_or_else(|_| panic!("no line: {part}"));
            assert!(!line.contains('\x1b'), "{line:?}");
            if line.contains(part) {
                return;
            }
        }
    };
    next("UP        web");
    web.down(true);
    next("service web: DOWN");
    web.down(false);
    next("service web: UP");
    plain.kill().expect("it runs");
    plain.wait().expect("it ends");
    reader.join().expect("its output ends");
}

/// The beginning and the end of a deployment that ended good.
fn deployed(release: u64, version: &str) -> [Event; 2] {
    let (service, version) = ("web".to_owned(), version.to_owned());
    let started = ReleaseStarted {
        release,
        submission: format!("s{release}"),
        service: service.clone(),
        version: version.clone(),
        plan: "default".to_owned(),
        kind: ReleaseKind::Deploy,
        hotfix: false,
        stable: Group::A,
        steps: Vec::new(),
        after: Vec::new(),
        baseline: std::collections::BTreeMap::new(),
        reason: Untrusted::default(),
        seen: Untrusted::default(),
    };
    let (result, sentence) = (ReleaseResult::Good, Untrusted::default());
    let stable = Group::A;
    let ended =
        Event::ReleaseEnded { release, service, version, result, stable, sentence, down_ms: None };
    [Event::ReleaseStarted(started), ended]
}

#[test]
fn every_release_on_record_counts() {
    let web = Fake::serve("web");
    let deck = Deck::new(&format!("{HEAD}[[service]]\nname = \"web\"\n{}", probe(web.port)));
    let mut builder = std::fs::DirBuilder::new();
    builder.mode(0o700).create(deck.state()).expect("a state directory");
    // The highest came first; thirty others since then.
    let versions = std::iter::once("7.2.0".to_owned()).chain((0..30).map(|n| format!("6.0.{n}")));
    let events = (1..).zip(versions).flat_map(|(id, version)| deployed(id, &version));
    let entries: Vec<Entry> = (0..)
        .zip(events)
        .map(|(n, event)| Entry {
            id: format!("e{n}"),
            at: quarterdeck::io::clock::now().wall,
            actor: Actor::engine(),
            event,
        })
        .collect();
    let (mut journal, _) = Journal::open(&deck.state()).expect("the journal opens");
    let all: Vec<(&Entry, bool)> = entries.iter().map(|entry| (entry, false)).collect();
    assert_eq!(journal.append_all(&all), vec![Appended::Durable; all.len()]);
    drop(journal);
    assert_eq!(deck.run(&["version", "next", "minor", "web"]).ends(0, "").out, "7.3.0\n");
    let said = deck.run(&["releases", "web", "--json"]).ends(0, "");
    let found: Value = serde_json::from_str(&said.out).expect("JSON");
    let web = &found["services"][0];
    assert_eq!(web["releases"].as_array().map(Vec::len), Some(20));
    let day = web["objectives"].as_array().expect("a list").iter();
    let counted: Vec<&Value> =
        day.filter(|one| one["window_s"] == 86400).map(|one| &one["releases"]).collect();
    assert_eq!(counted[..2], [&json!(31), &json!(31)], "{web:#}");
}
