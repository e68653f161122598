//! Validation, incidents of our own and notifications, through the binary.

#[path = "response/incidents.rs"]
mod incidents;
#[path = "support/product.rs"]
#[expect(dead_code, reason = "shared with tests that need more of it")]
mod product;
#[path = "response/runbooks.rs"]
mod runbooks;
#[path = "support/stub.rs"]
mod stub;
#[path = "response/validation.rs"]
mod validation;

use product::{Deck, Fake, Said, until};
use serde_json::{Value, json};
use stub::{Answer, Stub};

pub const HEAD: &str = "version = 1\n[environment]\nname = \"test\"\n";

/// Every record of this kind, oldest first.
fn records(deck: &Deck, kind: &str) -> Vec<Value> {
    let said = deck.run(&["journal", "export", "--json"]).ends(0, "");
    let entries = said.out.lines().map(|line| {
        let record: Value = serde_json::from_str(line).expect("a record is JSON");
        let body = record["body"].as_str().map(str::to_owned);
        body.map_or(record, |body| serde_json::from_str(&body).expect("an entry is JSON"))
    });
    entries.filter(|entry| entry["event"]["kind"] == kind).map(|e| e["event"].clone()).collect()
}
