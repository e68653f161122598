//! The ladder of docs/releases.md: from the least to the most, each rung verified before the next
//! is offered.

use super::*;

#[test]
fn each_rung_is_verified_before_the_next_is_offered() {
    let site = Site::new();
    let dir = tempfile::tempdir().expect("a directory");
    let (flags, previous) = (dir.path().join("flags.json"), dir.path().join("previous"));
    std::fs::write(&flags, r#"{"new-checkout":100}"#).expect("writes");
    let probe = format!(
        "[[service.probe]]\nname = \"api\"\nhttp = \"http://127.0.0.1:{}/health\"\n\
         interval = \"100ms\"\nrise = 1\nfall = 1\n",
        site.a.port
    );
    let rest = format!(
        "[[flag]]\nname = \"new-checkout\"\nalias = \"new\"\nfile = \"{}\"\n\
         key = \"new-checkout\"\nreread = \"200ms\"\n\
         [plan.ladder]\nservice = \"web\"\nsteps = [\n\
         {{ name = \"flag off\", flag = \"new-checkout\", on = 0, timeout = \"5s\", \
         verify = {{ probe = \"api\" }} }},\n\
         {{ ask = \"Still broken: previous configuration?\", timeout = \"10m\" }},\n\
         {{ name = \"configuration\", run = [\"/bin/touch\", \"{}\"], timeout = \"10s\", \
         verify = {{ probe = \"api\" }} }},\n\
         {{ ask = \"Still broken: all traffic to stable?\", timeout = \"10m\" }},\n\
         {{ split = 0 }},\n]\n",
        flags.display(),
        previous.display()
    );
    let deck = site.deck(&probe, &rest);
    let asks = |question: &str| {
        until(question, || {
            let own = service(&deck);
            own["release"].to_string().contains(question).then_some(own)
        })
    };
    let yes = || deck.run(&["reply", "web", "yes", "--confirm", "web"]).ends(0, "ACCEPTED");
    let off = || {
        let text = std::fs::read(&flags).expect("the file");
        let shown: Value = serde_json::from_slice(&text).expect("JSON");
        shown["new-checkout"] == 0
    };
    deck.run(&["split", "web", "50", "--override", "a test", "--confirm", "web"])
        .ends(0, "VERIFIED");

    // The first rung is done and not verified: the second is not offered.
    site.a.sick(true);
    until("a sick service", || (service(&deck)["status"] == "DOWN").then_some(()));
    deck.run(&["run", "ladder", "web", "--confirm", "web", "--no-wait"]).ends(0, "ACCEPTED");
    let own = in_state(&deck, "HELD");
    assert!(off(), "{own}");
    assert!(own["release"]["sentence"].to_string().contains("flag off"), "{own}");
    assert!(!own["release"].to_string().contains("Still broken"), "{own}");
    site.a.sick(false);
    until("a healthy service", || (service(&deck)["status"] == "UP").then_some(()));
    deck.run(&["resume", "web", "--confirm", "web"]).ends(0, "");

    let own = asks("previous configuration?");
    assert!(!previous.exists(), "nothing of the second rung before a yes: {own}");
    assert_eq!(site.weights(), ["50", "50"]);
    yes();
    let own = asks("all traffic to stable?");
    assert!(previous.exists(), "{own}");
    assert_eq!(site.weights(), ["50", "50"], "nothing of the third rung before a yes");
    yes();
    let own = in_state(&deck, "ENDED");
    assert_eq!(own["release"]["result"], "good", "{own}");
    assert_eq!(site.weights(), ["100", "0"]);
    assert_eq!(deck.run(&["journal", "verify"]).code, 0);
}
