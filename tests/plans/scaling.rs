//! Advice on a group of hosts: shown, on record, and a plan only when it is armed and cooled down.

use std::path::Path;

use super::*;

/// A machine that runs a test does something: both figures are above 0.
fn deck_with(dir: &Path, armed: bool) -> Deck {
    let path = dir.display();
    deck(&format!(
        "[[host]]\nname = \"here\"\nlocal = true\ninterval = \"250ms\"\n\
         [[scaling]]\nname = \"group\"\nhosts = [\"here\"]\ncpu_above = 0.01\n\
         memory_above = 0.01\ncpu_below = 0\nmemory_below = 0\nup = \"more\"\n\
         armed = {armed}\nevery = \"200ms\"\ncooldown = \"1h\"\n\
         [plan.more]\nservice = \"web\"\nsteps = [{{ run = [\"/bin/sh\", \"-c\", \
         \"echo more >> {path}/done\"], timeout = \"20s\" }}]\n"
    ))
}

fn advice(deck: &Deck) -> Value {
    let said = deck.run(&["status", "--json"]);
    let all: Value = serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("{said:#?}"));
    all["hosts"][0]["advice"].clone()
}

fn advised(deck: &Deck) -> Value {
    until("advice", || {
        let all = records(deck, "advised");
        all.into_iter().find(|one| one["size"] == "up")
    })
}

#[test]
fn advice_is_shown_and_on_record_and_does_nothing_unarmed() {
    let dir = tempfile::tempdir().expect("a directory");
    let deck = deck_with(dir.path(), false);
    let _engine = deck.start_engine();
    let record = advised(&deck);
    assert_eq!((&record["armed"], &record["started"]), (&false.into(), &false.into()));
    let seen = until("the advice", || Some(advice(&deck)).filter(|it| it["size"] == "up"));
    assert!(
        seen["sentence"].as_str().is_some_and(|why| why.contains("over 10 readings")),
        "{seen}"
    );
    assert!(deck.run(&["status"]).out.contains("scaling   group "));
    assert!(records(&deck, "release_started").is_empty());
}

#[test]
fn an_armed_plan_runs_once_until_it_is_cool_also_over_a_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    let deck = deck_with(dir.path(), true);
    let runs = || std::fs::read_to_string(dir.path().join("done")).unwrap_or_default();
    let engine = deck.start_engine();
    until("the plan", || (runs() == "more\n").then_some(()));
    until("its end", || (service(&deck)["release"]["result"] == "good").then_some(()));
    drop(engine);
    let before = records(&deck, "advised").len();
    let _engine = deck.start_engine();
    until("more advice", || (records(&deck, "advised").len() > before).then_some(()));
    until("the advice", || (advice(&deck)["size"] == "up").then_some(()));
    assert_eq!(runs(), "more\n");
    assert_eq!(records(&deck, "release_started").len(), 1);
}
