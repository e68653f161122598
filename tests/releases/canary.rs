//! The stepped canary: carried up, taken back, steered, and found again after a crash.

use engine::command::{Command as Ask, Expected, Reply, Submission};
use engine::types::{Actor, Percent, Untrusted};
use quarterdeck::link::{Link, Options};
use rustix::process::Signal;

use super::*;

/// Stays at each step until it is steered.
pub const SLOW: &str = "[service.canary]\nsteps = [10, 50, 100]\nsoak = \"10m\"\nwait = \"20m\"\n\
                    every = \"500ms\"\nbake = \"10m\"\nobjective = { error_rate = 10.0 }\n";

/// Starts a release and waits until its first step is verified.
pub fn at_ten_percent(site: &Site, deck: &Deck) {
    let words = ["deploy", "web", "--version", "2.0", "--confirm", "web", "--no-wait"];
    deck.run(&words).ends(0, "ACCEPTED");
    until("the first step", || (!records(deck, "canary_step").is_empty()).then_some(()));
    assert_eq!(site.weights(), ["90", "10"]);
}

#[test]
fn a_good_canary_is_finalised_and_the_next_goes_the_other_way() {
    let site = Site::new();
    let deck = site.deck("", CANARY);
    let first = deploy(&deck, "2.0").ends(0, "good: finalised");
    for part in ["r1 2.0 by plan default: canary, bake", "set 10 %, router edge 10.0 %", "PASS"] {
        assert!(first.out.contains(part), "{part}: {first:#?}");
    }
    assert_eq!(site.weights(), ["0", "100"], "{first:#?}");
    let split = &service(&deck)["split"];
    assert_eq!(split["set"], 0, "the arms changed roles: {split}");
    let second = deploy(&deck, "2.1").ends(0, "good: finalised");
    assert_eq!(site.weights(), ["100", "0"], "{second:#?}");
    let percents: Vec<Value> =
        records(&deck, "canary_step").iter().map(|step| step["percent"].clone()).collect();
    assert_eq!(percents, [10, 50, 100, 10, 50, 100]);
    let arms: Vec<Value> =
        records(&deck, "release_ended").iter().map(|end| end["stable"].clone()).collect();
    assert_eq!(arms, ["b", "a"]);
    assert!(site.a.answered() > 100 && site.b.answered() > 100);
}

#[test]
fn a_bad_canary_is_taken_back_by_itself() {
    let site = Site::new();
    let deck = site.deck("", CANARY);
    site.b.errors(50);
    let said = deploy(&deck, "2.0").ends(1, "rolled back");
    assert!(said.out.contains("FAIL"), "{said:#?}");
    assert_eq!(site.weights(), ["100", "0"]);
    let own = service(&deck);
    assert_eq!(own["release"]["result"], "rolled_back", "{own}");
    let highest = records(&deck, "canary_step").iter().filter_map(|s| s["percent"].as_u64()).max();
    assert_eq!(highest, Some(10), "it never rose: {said:#?}");
    let past = &history(&deck)[0];
    assert_eq!((&past["result"], &past["bad"]), (&"rolled_back".into(), &true.into()), "{past}");
    assert!(past["rollback_took_s"].as_f64().is_some_and(|took| took < 30.0), "{past}");
    serves_alone(&site.a, &site.b);
    deploy(&deck, "2.0").ends(1, "2.0 is marked bad");
    deck.run(&["mark", "web", "2.0", "good", "--reason", "it was the database"]).ends(0, "");
    // What is in force is shown with the next picture.
    until("a good mark", || (history(&deck)[0]["bad"] == false).then_some(()));
}

/// The service's releases, newest first.
fn history(deck: &Deck) -> Vec<Value> {
    let said = deck.run(&["releases", "web", "--json"]).ends(0, "objectives");
    let all: Value = serde_json::from_str(&said.out).expect("JSON");
    all["services"][0]["releases"].as_array().expect("a list").clone()
}

#[test]
fn a_release_is_steered_by_people_who_see_it() {
    let site = Site::new();
    let deck = site.deck("", SLOW);
    let (state_dir, config) = (deck.state(), deck.config());
    let options = Options { state_dir, config, config_hash: None, read_only: false };
    // A client of this program finds the engine running.
    service(&deck);
    let mut link = Link::connect(&options).expect("an engine answers");
    let before = until("a reading of the router", || {
        let service = link.snapshot()?.services[0].clone();
        service.route.as_ref()?.routers[0].read.and(service.expected())
    });
    at_ten_percent(&site, &deck);
    let mut late = |id: &str, expected: Expected| {
        let command =
            Ask::Promote { service: "web".to_owned(), reason: Untrusted::new("looks well") };
        let reply = link.submit(&Submission {
            id: id.to_owned(),
            command,
            expected: Some(expected),
            seen: Untrusted::default(),
            actor: Actor::engine(),
            read_only: false,
        });
        let Ok(Reply::Refused { why, .. }) = reply else { panic!("{reply:?}") };
        assert!(why.display().contains("moved under you"), "{why}");
    };
    // What it was decided on is not there any more: the split, then the release alone.
    late("late-1", before);
    late("late-2", Expected { set: Percent::new(10), ..before });

    deck.run(&["deploy", "web", "--version", "2.1", "--confirm", "web"])
        .ends(1, "r1 of web is RUNNING: it must end first");
    deck.run(&["pause", "web", "--reason", "lunch"]).ends(0, "r1 2.0 PAUSED");
    let own = in_state(&deck, "PAUSED");
    assert!(own["release"]["sentence"].to_string().contains("lunch"), "{own}");
    deck.run(&["resume", "web"]).ends(64, "to fire, add --confirm web");
    deck.run(&["resume", "web", "--confirm", "web"]).ends(0, "r1 2.0 RUNNING");
    deck.run(&["resume", "web", "--confirm", "web"]).ends(1, "the release is RUNNING");
    deck.run(&["split", "web", "30", "--override", "a test", "--confirm", "web"])
        .ends(1, "pause, promote or abort it");
    deck.run(&["promote", "web", "--override", "a test", "--confirm", "web"]).ends(0, "VERIFIED");
    assert_eq!(site.weights(), ["0", "100"]);
    until("the bake", || {
        let step = &service(&deck)["release"]["step"];
        (step == "canary" || step == "bake").then_some(())
    });
    deck.run(&["abort", "web", "--confirm", "web"]).ends(0, "aborted");
    assert_eq!(site.weights(), ["100", "0"]);
    assert_eq!(service(&deck)["release"]["result"], "aborted");
    deck.run(&["pause", "web"]).ends(1, "no release of web is in flight");
}

#[test]
fn an_engine_killed_in_a_canary_raises_nothing_by_itself() {
    let site = Site::new();
    let deck = site.deck("", &CANARY.replace("soak = \"1s\"", "soak = \"4s\""));
    at_ten_percent(&site, &deck);
    deck.end_engine(Signal::KILL);
    assert_eq!(site.weights(), ["90", "10"], "the router serves on");
    let own = in_state(&deck, "PAUSED");
    assert!(own["release"]["sentence"].to_string().contains("restart"), "{own}");
    assert_eq!((site.weights(), &own["split"]["set"]), (["90".into(), "10".into()], &10.into()));
    deck.run(&["resume", "web", "--confirm", "web"]).ends(0, "");
    let own = in_state(&deck, "ENDED");
    assert_eq!(own["release"]["result"], "good", "{own}");
    assert_eq!(site.weights(), ["0", "100"]);
    assert_eq!(deck.run(&["journal", "verify"]).code, 0);
}

#[test]
fn a_slow_canary_is_taken_back_by_a_rule() {
    let site = Site::new();
    let rule = "fail_when = [\"canary.latency_avg > stable.latency_avg + 50.0\"]\n\
                failure_limit = 1\n";
    let deck = site.deck("", &format!("{CANARY}{rule}"));
    site.b.delay(Duration::from_millis(150));
    let said = deploy(&deck, "2.0").ends(1, "rolled back");
    assert!(said.out.contains("canary.latency_avg"), "{said:#?}");
    assert_eq!(site.weights(), ["100", "0"]);
}
