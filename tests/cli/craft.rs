//! Waiting, the doctor and the plain lines, as a script or a screen reader meets them.

use std::io::BufRead as _;

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
