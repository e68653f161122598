//! Blue-green by a plan, with HAProxy: over to the new slot in one step, and back again.

use std::path::PathBuf;

use super::*;

/// The plan: what stands for a running version is made, then all traffic moves, watched.
fn site_with(settle: &str) -> (Site, Deck, PathBuf) {
    let site = Site::new();
    let slot = site.haproxy.directory.path().join("slot-b");
    let dir = site.haproxy.directory.path().display();
    let service = format!(
        "deploy = \"blue-green\"\n[[service.probe]]\nname = \"green\"\n\
         http = \"http://127.0.0.1:{}/health\"\ninterval = \"100ms\"\nrise = 1\nfall = 1\n",
        site.b.port
    );
    let plan = format!(
        "[plan.blue-green]\nservice = \"web\"\nsteps = [\n\
         {{ name = \"start\", run = [\"/bin/touch\", \"{dir}/slot-{{group}}\"], timeout = \"10s\", \
         undo = [\"/bin/rm\", \"{dir}/slot-{{group}}\"] }},\n\
         {{ name = \"health\", check = {{ probe = \"green\" }}, timeout = \"10s\" }},\n\
         {{ switch = true }},\n\
         {{ name = \"settle\", wait = \"{settle}\", watch = true }},\n]\n"
    );
    let deck = site.deck(&service, &plan);
    (site, deck, slot)
}

#[test]
fn haproxy_is_switched_in_one_step() {
    let (site, deck, slot) = site_with("1s");
    let said = deploy(&deck, "2.0").ends(0, "good");
    assert_eq!(site.weights(), ["0", "100"], "{said:#?}");
    assert!(slot.exists());
    let asked: Vec<Value> = records(&deck, "intent").iter().map(|it| it["verb"].clone()).collect();
    assert_eq!(asked, ["switch"], "one change of the router");
    let own = service(&deck);
    assert_eq!((&own["split"]["set"], &own["release"]["result"]), (&0.into(), &"good".into()));
    assert!(site.b.answered() > 0, "{own}");
    serves_alone(&site.b, &site.a);
}

#[test]
fn haproxy_is_switched_back_from_a_slot_that_falls_ill() {
    let (site, deck, slot) = site_with("10m");
    let words = ["deploy", "web", "--version", "2.0", "--confirm", "web", "--no-wait"];
    deck.run(&words).ends(0, "ACCEPTED");
    until("the switch", || (site.weights() == ["0", "100"]).then_some(()));
    assert!(slot.exists());
    site.b.sick(true);
    let own = in_state(&deck, "ENDED");
    assert_eq!(own["release"]["result"], "rolled_back", "{own}");
    assert_eq!(site.weights(), ["100", "0"]);
    assert!(!slot.exists(), "what was started is stopped");
    assert_eq!(own["split"]["set"], 0, "{own}");
    assert_eq!(deck.run(&["journal", "verify"]).code, 0);
}
