//! Plans through the binary: graphs, secrets, flags, scaling, and what they leave in the journal.

#[path = "plans/flag.rs"]
mod flag;
#[path = "plans/graph.rs"]
mod graph;
#[path = "support/product.rs"]
#[expect(dead_code, reason = "shared with tests that need more of it")]
mod product;
#[path = "plans/scaling.rs"]
mod scaling;
#[path = "plans/secrets.rs"]
mod secrets;
#[path = "support/servers.rs"]
#[expect(dead_code, reason = "shared with tests that need more of it")]
mod servers;

use product::{Deck, until};
use serde_json::Value;

/// One service that is watched by nothing, and what stands behind it.
fn deck(rest: &str) -> Deck {
    Deck::new(&format!(
        "version = 1\n[environment]\nname = \"test\"\n[[service]]\nname = \"web\"\n\
         alias = \"web\"\n{rest}"
    ))
}

/// The service's part of `status --json`.
fn service(deck: &Deck) -> Value {
    let said = deck.run(&["status", "--json"]);
    let all: Value = serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("{said:#?}"));
    all["services"][0].clone()
}

/// Every event of this kind, oldest first.
fn records(deck: &Deck, kind: &str) -> Vec<Value> {
    let said = deck.run(&["journal", "export", "--json"]).ends(0, "");
    let entries = said.out.lines().map(|line| {
        let record: Value = serde_json::from_str(line).expect("a record is JSON");
        let body = record["body"].as_str().map(str::to_owned);
        body.map_or(record, |body| serde_json::from_str(&body).expect("an entry is JSON"))
    });
    entries.filter(|entry| entry["event"]["kind"] == kind).map(|e| e["event"].clone()).collect()
}
