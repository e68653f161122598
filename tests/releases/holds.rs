//! Where a canary neither rises nor goes back: it holds, and asks for a person.

use std::sync::atomic::{AtomicBool, Ordering};

use super::canary::{SLOW, at_ten_percent};
use super::*;
use servers::Page;

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

/// Pages of counters that go on while `run` is true.
fn count(pages: [Page; 2], run: &'static AtomicBool) -> std::thread::JoinHandle<[Page; 2]> {
    std::thread::spawn(move || {
        let mut requests = 0;
        while run.load(Ordering::SeqCst) {
            requests += 1;
            let text = format!("requests_total {requests}\nerrors_total 0\n");
            for page in &pages {
                page.set("/metrics", 200, &text);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        pages
    })
}

#[test]
fn counters_that_vanish_in_a_step_hold_it() {
    static RUN: AtomicBool = AtomicBool::new(true);
    let site = Site::new();
    let pages = [Page::serve(), Page::serve()];
    let [a, b] = pages.each_ref().map(Page::url);
    let counters =
        "metrics = \"pages\"\nrequests = \"requests_total\"\nerrors = \"errors_total\"\n";
    // Far too few requests for a verdict before the wait is over.
    let tables = format!(
        "[service.canary]\nsteps = [10, 100]\nsoak = \"1s\"\nwait = \"14s\"\nevery = \"500ms\"\n\
         objective = {{ error_rate = 0.1 }}\n\
         [[metrics]]\nname = \"pages\"\nexposition = [\"{a}/metrics\", \"{b}/metrics\"]\n"
    );
    let deck = site.deck_by("", counters, &tables);
    let thread = count(pages, &RUN);
    at_ten_percent(&site, &deck);
    until("a look with figures", || (!records(&deck, "look").is_empty()).then_some(()));
    RUN.store(false, Ordering::SeqCst);
    let pages = thread.join().expect("the counters went on");
    for page in &pages {
        page.set("/metrics", 500, "broken");
    }
    held(&site, &deck, "NO DATA");
}
