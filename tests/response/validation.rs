//! The checks before a release: live, bounded, tried again, required by deploy and promote.

use super::*;

/// A service with an HTTP router and these checks.
fn deck(router: &Fake, checks: &str) -> Deck {
    let url = format!("http://127.0.0.1:{}/", router.port);
    Deck::new(&format!(
        "{HEAD}[[service]]\nname = \"web\"\nalias = \"web\"\n[service.router]\n\
         http = {{ url = \"{url}\" }}\nreread = \"500ms\"\n{checks}"
    ))
}

fn document(said: &Said) -> Value {
    serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("no JSON: {said:#?}"))
}

#[test]
fn every_kind_of_check_says_what_it_found() {
    let stub = Stub::serve(&[Answer::Status(200, "", "{\"status\":\"ok\"}".to_owned())]);
    let router = Fake::serve("router");
    let (address, url) = (format!("127.0.0.1:{}", stub.port), stub.url("/v2/{version}"));
    let checks = format!(
        "[[service.check]]\nname = \"tcp\"\ntcp = \"{address}\"\n\
         [[service.check]]\nname = \"http\"\nhttp = \"{url}\"\n\
         expect = \"status == 200 && body.status == 'ok'\"\n\
         [[service.check]]\nname = \"command\"\ncommand = [\"/bin/echo\", \"ok {{version}}\"]\n\
         output = \"^ok 1.2\"\n\
         [[service.check]]\nname = \"runtime\"\nruntime = [\"/bin/echo\", \"v18.4.1\"]\n\
         version = \">=18.2, <21\"\n\
         [[service.check]]\nname = \"old\"\nruntime = [\"/bin/echo\", \"v18.4.1\"]\n\
         version = \">=20\"\ncritical = false\nretries = 0\n\
         [[service.check]]\nname = \"file\"\nfile = \"good.json\"\nformat = \"json\"\n\
         keys = [\"db.host\"]\nnames = [\"get_user\"]\n\
         [[service.check]]\nname = \"broken\"\nfile = \"bad.toml\"\nformat = \"toml\"\n\
         critical = false\nretries = 0\n\
         [[service.check]]\nname = \"disk\"\ndisk = \"/\"\nfree_percent = 0\n\
         [[service.check]]\nname = \"yaml\"\nfile = \"good.yaml\"\nformat = \"yaml\"\n\
         keys = [\"db.host\"]\n\
         [[service.check]]\nname = \"database\"\ncommand = [\"/bin/sh\", \"-c\", \
         \"cat; echo; echo $PGUSER\"]\nenv = {{ PGUSER = \"watch\" }}\nstdin = \"select 1\"\n\
         output = \"select 1\"\n"
    );
    let deck = deck(&router, &checks);
    let put = |name: &str, text: &str| {
        std::fs::write(deck.dir.path().join(name), text).expect("a file is written");
    };
    put("good.json", "{\"db\": {\"host\": \"x\"}, \"calls\": [\"get_user\"]}");
    put("good.yaml", "db:\n  host: x\n");
    put("bad.toml", "a = 1\nb = = 2\n");
    let said = deck.run(&["validate", "web", "--version", "1.2", "--json"]);
    let found = document(&said);
    assert_eq!((said.code, &found["can_deploy"]), (0, &Value::Bool(true)), "{found:#}");
    assert_eq!([&found["passed"], &found["failed"], &found["warnings"]], [8, 0, 2], "{found:#}");
    let detail = |name: &str| {
        let checks = found["checks"].as_array().expect("a list").iter();
        let mut own = checks.filter(|check| check["name"] == name);
        own.next().expect("the check is there")["detail"].to_string()
    };
    assert!(detail("old").contains("18.4.1 is not >=20.0.0"), "{found:#}");
    assert!(detail("broken").contains("at line 2 column 5"), "{found:#}");
    assert!(stub.asked().iter().any(|asked| asked.head.contains("get /v2/1.2 ")));
    let said = deck.run(&["validate", "web", "--version", "1.2"]).ends(0, "CAN DEPLOY: 8 passed");
    assert!(said.out.contains("warning   old") && said.out.contains("passed    http"), "{said:#?}");
    assert_eq!(records(&deck, "validated").len(), 2);
    let said = deck.run(&["status", "--json"]);
    let last = &document(&said)["services"][0]["validation"];
    let state = [&last["state"], &last["version"], &last["can_deploy"], &last["fresh"]];
    assert_eq!(state, [&json!("ended"), &json!("1.2"), &json!(true), &json!(true)], "{last:#}");
    assert_eq!([&last["passed"], &last["checks"]], [8, 10], "{last:#}");
    assert_eq!(last["warnings"], json!(["old", "broken"]));
    let plain = deck.run(&["status"]).out;
    assert!(plain.contains("checks    1.2 may deploy, ") && plain.contains(": old, broken\n"));
}

#[test]
fn a_flaky_check_is_tried_again_and_a_failed_one_says_no() {
    let stub = Stub::serve(&[Answer::status(500), Answer::status(500), Answer::status(200)]);
    let router = Fake::serve("router");
    let checks = format!(
        "[[service.check]]\nname = \"flaky\"\nhttp = \"{}\"\npause = \"20ms\"\n\
         [[service.check]]\nname = \"silent\"\ntcp = \"127.0.0.1:1\"\nretries = 1\n\
         pause = \"10ms\"\n\
         [[service.check]]\nname = \"stuck\"\ncommand = [\"/bin/sleep\", \"600\"]\n\
         timeout = \"300ms\"\nretries = 0\n\
         [[service.check]]\nname = \"flood\"\ncommand = [\"/bin/sh\", \"-c\", \
         \"head -c 3000000 /dev/zero | tr '\\\\0' x; exit 3\"]\nretries = 0\n\
         [[service.check]]\nname = \"asks\"\ncommand = [\"/bin/sh\", \"-c\", \
         \"read x < /dev/tty\"]\nretries = 0\n",
        stub.url("/")
    );
    let deck = deck(&router, &checks);
    let said = deck.run(&["validate", "web", "--json"]);
    let found = document(&said);
    let states: Vec<String> = found["checks"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|check| format!("{} {} {}", check["name"], check["state"], check["tries"]))
        .collect();
    let expected = [
        "\"flaky\" \"passed\" 3",
        "\"silent\" \"failed\" 2",
        "\"stuck\" \"failed\" 1",
        "\"flood\" \"failed\" 1",
        "\"asks\" \"failed\" 1",
    ];
    assert_eq!(states, expected, "{found:#}");
    assert_eq!((said.code, &found["can_deploy"]), (1, &Value::Bool(false)));
    let took = found["took_ms"].as_u64().expect("a span");
    assert!(took < 20_000, "side by side: {took}");
    deck.run(&["validate", "nobody"]).ends(1, "no service nobody; there are web");
    deck.run(&["validate", "web", "--version", "-x"]).ends(64, "");
}

#[test]
fn deploy_and_promote_need_a_fresh_validation() {
    let router = Fake::serve("router");
    let checks = "[[service.check]]\nname = \"mark\"\nfile = \"mark\"\nretries = 0\n";
    let deck = deck(&router, checks);
    deck.run(&["promote", "web", "--override", "a test", "--confirm", "web"])
        .ends(1, "web: it was not validated");
    let deploy = ["deploy", "web", "--version", "2", "--confirm", "web", "--timeout", "30s"];
    let said = deck.run(&deploy).ends(1, "rolled back");
    assert!(
        said.out.contains("failed   step 1/3 validate: 0 passed, 1 failed (mark)"),
        "{said:#?}"
    );
    assert_eq!(router.puts(), 0, "nothing was touched");
    std::fs::write(deck.dir.path().join("mark"), "x").expect("a file is written");
    deck.run(&["promote", "web", "--override", "a test", "--confirm", "web"])
        .ends(1, "its validation failed");
    deck.run(&["validate", "web", "--version", "2"]).ends(0, "CAN DEPLOY");
    let begun = records(&deck, "validated").len();
    let again = ["deploy", "web", "--version", "2", "--confirm", "web", "--timeout", "2s"];
    let said = deck.run(&again).ends(2, "ASKING");
    assert!(said.out.contains("done     step 1/3 validate: 1 passed, "), "{said:#?}");
    assert_eq!(records(&deck, "validated").len(), begun, "the fresh result was taken");
    deck.run(&["abort", "web", "--confirm", "web"]).ends(0, "");
    // A result lives on in the journal.
    deck.end_engine(rustix::process::Signal::KILL);
    let said = deck.run(&again);
    assert!(said.out.contains("done     step 1/3 validate: 1 passed, "), "{said:#?}");
    assert_eq!(records(&deck, "validated").len(), begun);
    assert_eq!(deck.run(&["journal", "verify"]).code, 0);
}

/// A release at full traffic, in its first phase; `good`: its checks go on passing.
fn phases(good: bool) -> (Fake, Deck, Value) {
    let router = Fake::serve("router");
    let tables = "[[service.check]]\nname = \"mark\"\nfile = \"mark\"\nretries = 0\n\
                  [[service.phase]]\nname = \"health\"\nfor = \"200ms\"\n\
                  [[service.phase]]\nname = \"load\"\nfor = \"1200ms\"\nevery = \"400ms\"\n\
                  checks = [\"mark\"]\n";
    let deck = deck(&router, tables);
    let _engine = deck.start_engine();
    let mark = deck.dir.path().join("mark");
    std::fs::write(&mark, "x").expect("a file is written");
    let words = ["deploy", "web", "--version", "2", "--confirm", "web", "--timeout", "2s"];
    deck.run(&words).ends(2, "ASKING");
    if !good {
        std::fs::remove_file(&mark).expect("it is there");
    }
    deck.run(&["reply", "web", "yes", "--confirm", "web", "--reason", "go"]).ends(0, "");
    let ended = until("the end", || records(&deck, "release_ended").pop());
    (router, deck, ended)
}

#[test]
fn a_phase_that_fails_rolls_back() {
    let (router, deck, ended) = phases(false);
    assert_eq!(ended["result"], "rolled_back", "{ended}");
    until("all traffic on stable", || (router.split() == (100, 0)).then_some(()));
    let steps = records(&deck, "step_started");
    let names: Vec<&str> = steps.iter().filter_map(|step| step["name"].as_str()).collect();
    let expected = ["validate", "ask", "switch", "health", "load 1/3", "load 1/3: mark"];
    assert_eq!(names, expected);
}

#[test]
fn a_release_is_good_behind_its_phases() {
    let (router, deck, ended) = phases(true);
    assert_eq!(ended["result"], "good", "{ended}");
    assert_eq!(router.split(), (0, 100));
    let last = records(&deck, "step_started").pop().expect("there are steps");
    assert_eq!(last["name"], "load 3/3: mark");
}
