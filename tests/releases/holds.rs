//! Where a canary neither rises nor goes back: it holds, and asks for a person.

use super::canary::{SLOW, at_ten_percent};
use super::*;

/// Held, with a page, at the share that it had.
fn held(site: &Site, deck: &Deck, why: &str) {
    let own = in_state(deck, "HELD");
    assert!(own["release"]["sentence"].to_string().contains(why), "{why}: {own}");
    until("a page", || {
        let said = deck.run(&["status"]);
        said.out.contains("web: the release needs a person").then_some(())
    });
    assert_eq!(site.weights(), ["90", "10"], "it neither rose nor went back");
    let asked: Vec<Value> = records(deck, "intent").iter().map(|it| it["set"].clone()).collect();
    assert_eq!(asked.len(), 1, "one change of the router: {asked:?}");
    deck.run(&["abort", "web", "--confirm", "web", "--reason", "enough"]).ends(0, "aborted");
    assert_eq!(site.weights(), ["100", "0"]);
    assert_eq!(deck.run(&["journal", "verify"]).code, 0);
}

#[test]
fn a_canary_is_not_blamed_for_what_stable_has_too() {
    let site = Site::new();
    let deck = site.deck("", SLOW);
    at_ten_percent(&site, &deck);
    site.a.errors(80);
    site.b.errors(80);
    held(&site, &deck, "so it may not be the canary");
}
