//! Feature flags: on by degrees, off at once, read back, drift, and the first rung of a ladder.

use std::path::Path;

use super::*;

fn deck_with(path: &Path, plans: &str) -> Deck {
    let file = path.join("flags.json");
    std::fs::write(&file, r#"{"other":1,"flags":{"basket":0}}"#).expect("writes");
    deck(&format!(
        "[[flag]]\nname = \"basket\"\nalias = \"bask\"\nfile = \"{}\"\n\
         key = \"flags.basket\"\nreread = \"200ms\"\n{plans}",
        file.display()
    ))
}

fn shown(path: &Path) -> Value {
    let text = std::fs::read(path.join("flags.json")).expect("the file");
    serde_json::from_slice(&text).expect("JSON")
}

fn flag(deck: &Deck) -> Value {
    let said = deck.run(&["status", "--json"]);
    let all: Value = serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("{said:#?}"));
    all["services"][1].clone()
}

#[test]
fn a_flag_is_turned_on_by_degrees_and_off_at_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let deck = deck_with(dir.path(), "");
    let ask = |percent: &str| {
        deck.run(&["flag", "basket", percent, "--confirm", "bask", "--reason", "try"])
    };
    // On a busy machine what was read may be old now and then; nothing else stands against it.
    let set = |percent: &str| {
        until("a fresh reading", || {
            let said = ask(percent);
            (!said.out.contains("AGAINST    file cannot be read")).then_some(said)
        })
    };
    set("10").ends(0, "VERIFIED");
    assert_eq!(shown(dir.path()), serde_json::json!({"other": 1, "flags": {"basket": 10}}));
    set("60").ends(0, "VERIFIED");
    assert_eq!(flag(&deck)["split"]["routers"][0]["canary"], 60.0);
    set("off").ends(0, "VERIFIED");
    assert_eq!(shown(dir.path())["flags"]["basket"], 0);
    deck.run(&["flag", "basket", "5"]).ends(64, "--confirm bask");
    deck.run(&["flag", "web", "5", "--confirm", "web"]).ends(64, "no flag web; there are basket");
    deck.run(&["deploy", "basket", "--version", "2", "--confirm", "bask"]).ends(1, "is a flag");
    let verbs: Vec<Value> =
        records(&deck, "intent").iter().map(|intent| intent["verb"].clone()).collect();
    assert_eq!(verbs, ["split", "split", "rollback"]);
    // Somebody else changes the file: soon after it was turned off it is set again, at most twice.
    let by_hand = || {
        let path = dir.path().join("flags.json");
        std::fs::write(path, r#"{"flags":{"basket":true}}"#).expect("writes");
    };
    by_hand();
    until("off again", || (shown(dir.path())["flags"]["basket"] == 0).then_some(()));
    until("drift", || {
        by_hand();
        (flag(&deck)["status"] == "DEGRADED").then_some(())
    });
    // A correction that is on its way may still replace the file.
    until("unreadable", || {
        std::fs::write(dir.path().join("flags.json"), "{").expect("writes");
        (flag(&deck)["status"] == "UNKNOWN").then_some(())
    });
    ask("20").ends(1, "AGAINST    file cannot be read");
}

#[test]
fn a_plan_sets_a_flag_and_the_way_back_turns_it_off() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().display();
    let deck = deck_with(
        dir.path(),
        &format!(
            "[plan.try]\nservice = \"web\"\nsteps = [\n\
             {{ flag = \"basket\", on = 25, verify = {{ file = \"{path}/flags.json\", \
             names = [\"25\"] }} }},\n\
             {{ ask = \"Go on?\", timeout = \"1m\" }},\n\
             {{ flag = \"basket\", on = 100 }},\n]\n\
             [plan.ladder]\nservice = \"web\"\nsteps = [{{ flag = \"basket\", on = 0 }}]\n"
        ),
    );
    let on = || shown(dir.path())["flags"]["basket"].clone();
    let run = |plan: &str| deck.run(&["run", plan, "web", "--confirm", "web", "--no-wait"]);
    let state = |wanted: &str| {
        until(wanted, || {
            let own = service(&deck)["release"].clone();
            (own["state"] == wanted || own["result"] == wanted).then_some(())
        });
    };
    run("try").ends(0, "");
    state("ASKING");
    assert_eq!(on(), 25);
    deck.run(&["abort", "web", "--confirm", "web", "--reason", "no", "--no-wait"]).ends(0, "");
    state("aborted");
    until("off", || (on() == 0).then_some(()));
    run("try").ends(0, "");
    state("ASKING");
    deck.run(&["reply", "web", "yes", "--confirm", "web"]).ends(0, "");
    state("good");
    assert_eq!(on(), 100);
    run("ladder").ends(0, "");
    until("off", || (on() == 0).then_some(()));
    state("good");
}
