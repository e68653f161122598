//! What stands around releases: rules that roll back, emergencies, freezes, readiness.

use std::path::PathBuf;

use super::*;

#[test]
fn a_rule_rolls_back_once_and_only_once() {
    let site = Site::new();
    let rule = "[[service.rollback_when]]\nwhen = \"canary.error_rate > 20.0\"\nfor = \"1s\"\n";
    let deck = site.deck("", rule);
    let expose =
        ["split", "web", "50", "--override", "a test", "--confirm", "web", "--reason", "by hand"];
    deck.run(&expose).ends(0, "VERIFIED");
    site.b.errors(80);
    // Nobody looks: it stays all the same.
    until("the rollback", || (site.weights() == ["100", "0"]).then_some(()));
    until("its proof", || (records(&deck, "outcome").len() == 2).then_some(()));
    until("its end", || (service(&deck)["split"]["set"] == 0).then_some(()));
    let fired = records(&deck, "trigger_fired");
    assert!(fired.len() == 1, "{fired:?}");
    let sentence = fired[0]["sentence"].to_string();
    assert!(sentence.contains("canary.error_rate"), "{sentence}");

    // The same again within the cooldown is people's business.
    deck.run(&expose).ends(0, "VERIFIED");
    let said = until("a page", || {
        let said = deck.run(&["status"]);

        said.out.contains("a rollback is wanted and held").then_some(said)
    });
    assert_eq!(site.weights(), ["50", "50"], "{said:#?}");
    assert_eq!(records(&deck, "trigger_fired").len(), 1);
    let off = ["trigger", "web", "1", "off", "--for", "1h", "--reason", "known"];
    deck.run(&off).ends(0, "ACCEPTED");
    deck.run(&["trigger", "web", "2", "on"]).ends(1, "there is no such one");
    deck.run(&["trigger", "web", "1", "off", "--reason", "known"]).ends(64, "--for");
    deck.run(&["trigger", "web", "1", "on"]).ends(0, "ACCEPTED");
    deck.run(&["rollback", "web", "--confirm", "web", "--reason", "enough"]).ends(0, "VERIFIED");
}

#[test]
fn an_emergency_ends_the_release_and_recovery_follows() {
    let site = Site::new();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let page: PathBuf = dir.path().join("maintenance.html");
    let source = dir.path().join("source.html");
    std::fs::write(&source, "back soon").expect("writes");
    let service_part = format!(
        "recovery = \"recover-web\"\nmaintenance = {{ on = [\"/bin/cp\", \"{}\", \"{1}\"], off = \
         [\"/bin/rm\", \"{1}\"] }}\n[[service.probe]]\nname = \"a\"\nhttp = \
         \"http://127.0.0.1:{2}/health\"\ninterval = \"200ms\"\n",
        source.display(),
        page.display(),
        site.a.port
    );
    let tables = "[service.canary]\nsteps = [10, 100]\nsoak = \"10m\"\nobjective = { error_rate = \
                  10.0 }\n[plan.recover-web]\nsteps = [ { maintenance = \"on\" }, { ask = \"Is the \
                  database restored?\", timeout = \"5m\" }, { check = { probe = \"a\" } }, { \
                  maintenance = \"off\" }, { note = \"recovered\" } ]\n";
    let deck = site.deck(&service_part, tables);
    let words = ["deploy", "web", "--version", "2.0", "--confirm", "web", "--no-wait"];
    deck.run(&words).ends(0, "ACCEPTED");
    until("some exposure", || (site.weights() == ["90", "10"]).then_some(()));
    let said = deck.run(&["rollback", "web", "--confirm", "web", "--reason", "5xx on payments"]);
    said.ends(0, "VERIFIED");
    assert_eq!(site.weights(), ["100", "0"]);
    // The recovery plan is offered; nothing of it is done before a yes.
    let own = in_state(&deck, "ASKING");
    assert_eq!(own["release"]["step"], "go on?", "{own}");
    assert!(!page.exists(), "{own}");
    let next = ["deploy", "web", "--version", "2.1", "--confirm", "web", "--no-wait"];
    let said = deck.run(&next).ends(1, "it must end first");
    assert!(said.out.contains("`reply web no` declines it"), "{said:#?}");
    let said = deck.run(&["releases", "web"]).ends(0, "rolled back");
    assert!(said.out.contains("traffic back in"), "{said:#?}");
    deck.run(&["reply", "web", "yes", "--confirm", "web"]).ends(0, "ACCEPTED");
    until("the maintenance page", || page.exists().then_some(()));
    let own = in_state(&deck, "ASKING");
    assert!(page.exists(), "{own}");
    assert!(own["release"]["sentence"].to_string().contains("database restored"), "{own}");
    deck.run(&["reply", "web", "yes"]).ends(64, "--confirm web");
    deck.run(&["reply", "web", "yes", "--confirm", "web"]).ends(0, "");
    let own = in_state(&deck, "ENDED");
    assert_eq!(own["release"]["result"], "good", "{own}");
    assert!(!page.exists());

    // The same by hand, and left at its question.
    let words = ["run", "recover-web", "web", "--confirm", "web", "--timeout", "1s"];
    deck.run(&words).ends(2, "r3 is ASKING after 1 s");
    assert!(page.exists());
    deck.run(&["reply", "web", "no", "--confirm", "web"]).ends(0, "ACCEPTED");
    let own = in_state(&deck, "ENDED");
    assert_eq!(own["release"]["result"], "aborted", "{own}");
    assert_eq!(site.weights(), ["100", "0"], "a plan changes no roles");
    assert_eq!(deck.run(&["journal", "verify"]).code, 0);
}

#[test]
fn a_freeze_refuses_a_release_and_never_a_rollback() {
    let site = Site::new();
    let probe = format!(
        "[[service.probe]]\nname = \"a\"\nhttp = \"http://127.0.0.1:{}/health\"\n\
         interval = \"200ms\"\n",
        site.a.port
    );
    let deck = site.deck(&probe, &CANARY.replace("soak = \"1s\"", "soak = \"50s\""));
    // Before the first write: HAProxy says by itself that it would take one.
    until("a rollback that is ready", || (deck.run(&["ready", "web"]).code == 0).then_some(()));
    deck.run(&["split", "web", "20", "--override", "a test", "--confirm", "web"])
        .ends(0, "VERIFIED");
    deck.run(&["freeze", "--for", "2h", "--reason", "quarter's end"]).ends(0, "ACCEPTED");
    deck.run(&["freeze", "--for", "2 h", "--reason", "x"]).ends(64, "is no duration");
    let said = deck.run(&["rollback", "web", "--confirm", "web", "--reason", "5xx"]);
    said.ends(0, "VERIFIED");
    let refused = deploy(&deck, "2.0").ends(1, "everything is frozen until");
    assert!(refused.out.contains("quarter's end"), "{refused:#?}");
    assert!(records(&deck, "release_started").is_empty());
    let ready = deck.run(&["ready", "web"]);
    assert!(ready.code == 0 && ready.out.contains("rollback ready: yes"), "{ready:#?}");
    deck.run(&["thaw", "--reason", "done"]).ends(0, "ACCEPTED");
    deck.run(&["thaw"]).ends(1, "everything is not frozen");

    let words = ["deploy", "web", "--version", "2.0", "--confirm", "web", "--no-wait"];
    deck.run(&words).ends(0, "ACCEPTED");
    deck.run(&["stop-the-line", "--for", "1h", "--reason", "all hands"]).ends(0, "ACCEPTED");
    in_state(&deck, "PAUSED");
    deck.run(&["rollback", "web", "--confirm", "web", "--reason", "5xx"]).ends(0, "VERIFIED");
    in_state(&deck, "ENDED");
    assert_eq!(site.weights(), ["100", "0"]);
}

#[test]
fn a_router_that_takes_no_write_goes_its_other_way() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("split");
    std::fs::write(&file, "25").expect("writes");
    let path = file.display();
    let deck = Deck::new(&format!(
        "{HEAD}[[service]]\nname = \"web\"\nalias = \"web\"\n[[service.router]]\nname = \"edge\"\n\
         command = {{ read = [\"/bin/cat\", \"{path}\"], set = [\"/bin/false\", \"{{b}}\"] }}\n\
         fallback = {{ command = [\"/bin/sh\", \"-c\", \"echo {{b}} > {path}\"] }}\n"
    ));
    let said = deck.run(&["rollback", "web", "--confirm", "web", "--reason", "5xx"]);
    let said = said.ends(0, "VERIFIED");
    assert_eq!(std::fs::read_to_string(&file).expect("reads").trim(), "0", "{said:#?}");
    let answers: Vec<Value> =
        records(&deck, "sent").iter().map(|sent| sent["answer"].clone()).collect();
    let told = |part: &str| answers.iter().any(|it| it.to_string().contains(part));
    assert!(told("rejected") && told("accepted, by its other way"), "{answers:?}");
}
