//! Steps that name what they wait for run side by side, and are taken up after a crash.

use std::path::Path;

use super::*;

/// Makes a file and waits for another one; a minute is for a machine that is busy.
fn meets(dir: &Path, own: &str, other: &str) -> String {
    let dir = dir.display();
    let script = format!(
        "touch {dir}/{own}; for i in $(seq 600); do [ -e {dir}/{other} ] && exit 0; sleep 0.1; \
         done; exit 1"
    );
    format!("run = [\"/bin/sh\", \"-c\", \"{script}\"], timeout = \"70s\"")
}

#[test]
fn independent_steps_meet_and_the_last_waits_for_both() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path();
    let (one, two) = (meets(path, "one", "two"), meets(path, "two", "one"));
    let deck = deck(&format!(
        "[plan.build]\nservice = \"web\"\nsteps = [\n\
         {{ name = \"last\", after = [\"one\", \"two\"], note = \"both are there\" }},\n\
         {{ name = \"one\", after = [], {one}, estimate = \"2s\" }},\n\
         {{ name = \"two\", after = [], priority = 5, {two} }},\n]\n"
    ));
    let words = ["run", "build", "web", "--confirm", "web", "--timeout", "90s"];
    deck.run(&words).ends(0, "good");
    let steps = service(&deck)["release"]["steps"].clone();
    let names: Vec<&str> =
        steps.as_array().expect("a list").iter().filter_map(|step| step["name"].as_str()).collect();
    // The lowest priority first, and what waits behind what it waits for.
    assert_eq!(names, ["two", "one", "last"]);
    assert_eq!((&steps[1]["estimate_ms"], &steps[1]["state"]), (&2000.into(), &"done".into()));
    assert!(steps[1]["took_ms"].as_u64().is_some(), "{steps}");
    deck.run(&["status"]).ends(3, "done     one: ");
    let started = records(&deck, "release_started");
    assert_eq!(started[0]["after"], serde_json::json!([[], [], [1, 0]]));
}

#[test]
fn what_ran_side_by_side_is_asked_for_after_a_crash() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path();
    let (one, two) = (meets(path, "one", "gate"), meets(path, "two", "gate"));
    let deck = deck(&format!(
        "[plan.build]\nservice = \"web\"\nsteps = [\n\
         {{ name = \"one\", after = [], {one}, after_crash = \"repeat\" }},\n\
         {{ name = \"two\", after = [], {two}, after_crash = \"ask\" }},\n\
         {{ name = \"last\", after = [\"one\", \"two\"], note = \"both are there\" }},\n]\n"
    ));
    let engine = deck.start_engine();
    deck.run(&["run", "build", "web", "--confirm", "web", "--no-wait"]).ends(0, "");
    until("both run", || (path.join("one").exists() && path.join("two").exists()).then_some(()));
    drop(engine);
    let _engine = deck.start_engine();
    std::fs::write(path.join("gate"), "open").expect("writes");
    let state = |wanted: &str| {
        until(wanted, || {
            let own = service(&deck)["release"].clone();
            (own["state"] == wanted || own["result"] == wanted).then_some(own)
        })
    };
    let held = state("HELD");
    assert!(held["sentence"].as_str().is_some_and(|why| why.starts_with("two was")), "{held}");
    deck.run(&["resume", "web", "--confirm", "web", "--reason", "it is safe"]).ends(0, "ACCEPTED");
    state("good");
}

#[test]
fn a_plan_without_a_router_is_aborted_and_taken_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().display();
    let deck = deck(&format!(
        "[plan.build]\nservice = \"web\"\nsteps = [\n\
         {{ name = \"make\", run = [\"/bin/touch\", \"{path}/made\"], timeout = \"20s\", \
         undo = [\"/bin/rm\", \"{path}/made\"] }},\n\
         {{ name = \"fail\", run = [\"/bin/false\"], timeout = \"20s\" }},\n]\n"
    ));
    let words = ["run", "build", "web", "--confirm", "web", "--no-wait"];
    deck.run(&words).ends(0, "");
    until("it holds", || (service(&deck)["release"]["state"] == "HELD").then_some(()));
    assert!(dir.path().join("made").exists());
    deck.run(&["abort", "web", "--confirm", "web", "--reason", "no use", "--no-wait"]).ends(0, "");
    until("the end", || (service(&deck)["release"]["result"] == "aborted").then_some(()));
    assert!(!dir.path().join("made").exists(), "what was done is taken back");
}

#[test]
fn steps_in_a_circle_are_refused_with_their_place() {
    let note = |name: &str, after: &str| {
        format!("{{ name = \"{name}\", note = \"{name}\", after = [{after}] }},\n")
    };
    let check = |steps: &[String], expected: &str| {
        let all = steps.concat();
        let deck = deck(&format!("[plan.round]\nsteps = [\n{all}]\n"));
        deck.run(&["check"]).ends(65, expected);
    };
    check(
        &[note("a", "\"c\""), note("b", "\"a\""), note("c", "\"b\"")],
        "toml:9:35: `after`: these steps wait for each other: a → c → b → a",
    );
    check(&[note("a", "\"a\"")], "toml:9:35: `after`: these steps wait for each other: a → a");
    let missing = "toml:10:39: `after`: this plan has no step named `on`; did you mean `one`?";
    check(&[note("one", ""), note("two", "\"on\"")], missing);
    let list = "{ note = \"x\", priority = 3 },\n".to_owned();
    check(&[list], "`priority` is for plans whose steps have `after`");
}
