//! Servers whose clocks are wrong.

use chrono::TimeDelta;
use quarterdeck::io::clock;

use super::stub::{Answer, Stub};
use super::*;

/// A feed in which nothing is open.
const ALERTS: &str = r#"{"incidents":[]}"#;

/// A server that always says this time, and that all is well.
fn server(ahead_s: i64, body: &str) -> Stub {
    let said = clock::now().wall + TimeDelta::seconds(ahead_s);
    let head = said.format("date: %a, %d %b %Y %H:%M:%S GMT\r\n").to_string();
    Stub::serve(&[Answer::Status(200, String::leak(head), body.to_owned())])
}

#[test]
fn a_clock_that_is_off_by_more_than_half_a_minute_is_said_to_be() {
    let (feed, page) = (server(400, ALERTS), server(-400, "requests_total{v=\"a\"} 1\n"));
    let (health, right) = (server(600, "ok"), server(0, ALERTS));
    let router = Fake::serve("router");
    let deck = Deck::new(&format!(
        "{HEAD}{}{}[service.signals]\nmetrics = \"page\"\n\
         requests = 'requests_total{{v=\"{{arm}}\"}}'\nversions = {{ a = \"a\", b = \"b\" }}\n\
         [[metrics]]\nname = \"page\"\nexposition = [\"{}\"]\n\
         [[feed]]\nname = \"far\"\njson = {{ url = \"{}\" }}\ninterval = \"1s\"\n\
         [[feed]]\nname = \"right\"\njson = {{ url = \"{}\" }}\ninterval = \"1s\"\n",
        http_service("mail", &router),
        probe(health.port),
        page.url("/metrics"),
        feed.url("/alerts"),
        right.url("/alerts")
    ));
    let _engine = deck.start_engine();
    let found = until("every source has answered", || {
        let found = status(&deck).1;
        let sources = found["sources"].as_array().cloned().unwrap_or_default();
        sources.iter().all(|source| !source["age_s"].is_null()).then_some(sources)
    });
    // They stand still while this test goes on.
    let check = |name: &str, about: Option<i64>| {
        let own = found.iter().find(|source| source["name"] == name).expect("the source");
        let ahead = own["clock_ahead_s"].as_i64();
        let near = |(ahead, about): (i64, i64)| (about - 120..=about).contains(&ahead);
        let right = ahead.zip(about).map_or(ahead == about, near);
        assert!(right, "{name} {about:?}: {own}");
    };
    check("far feed", Some(400));
    check("right feed", None);
    check("mail signals", Some(-400));
    check("mail/health probe", Some(600));
    let told = deck.run(&["status"]);
    let told = told.ends(0, "source    far feed: clock ").ends(0, "s ahead");
    told.ends(0, "source    mail signals: clock ").ends(0, "s behind");
}
