//! Releases, plans and triggers through the binary, against real routers on loopback.

#[path = "support/backend.rs"]
mod backend;
#[path = "releases/canary.rs"]
mod canary;
#[path = "releases/guards.rs"]
mod guards;
#[path = "releases/holds.rs"]
mod holds;
#[path = "releases/ladder.rs"]
mod ladder;
#[path = "releases/plans.rs"]
mod plans;
#[path = "support/product.rs"]
#[expect(dead_code, reason = "shared with tests that need more of it")]
mod product;
#[path = "releases/rolling.rs"]
mod rolling;
#[path = "support/servers.rs"]
#[expect(dead_code, reason = "shared with tests that need more of it")]
mod servers;
#[path = "releases/switch.rs"]
mod switch;

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use backend::{Backend, Load};
use product::{Deck, Said, until};
use serde_json::Value;
use servers::Server;

pub const HEAD: &str = "version = 1\n[environment]\nname = \"test\"\n";

/// Short enough for a test, with the roads of a real one.
pub const CANARY: &str = "[service.canary]\nsteps = [10, 50, 100]\nsoak = \"1s\"\nwait = \"60s\"\n\
                      every = \"500ms\"\nbake = \"2s\"\nobjective = { error_rate = 10.0 }\n";

/// Two versions behind a real HAProxy, with clients that keep asking.
struct Site {
    a: Backend,
    b: Backend,
    haproxy: Server,
    _load: Load,
}

impl Site {
    fn new() -> Site {
        let (a, b) = (Backend::serve("stable"), Backend::serve("canary"));
        let haproxy = servers::haproxy(a.port, b.port);
        tell(&haproxy, "set weight app/canary 0");
        let load = Load::on(haproxy.port, 2);
        Site { a, b, haproxy, _load: load }
    }

    /// The service `web`, with `more` in it; `tables` stand behind it.
    fn deck(&self, more: &str, tables: &str) -> Deck {
        self.deck_by(more, "metrics = \"haproxy\"\n", tables)
    }

    /// The same, counted by `counters`.
    fn deck_by(&self, more: &str, counters: &str, tables: &str) -> Deck {
        let socket = self.haproxy.directory.path().join("admin.sock");
        Deck::new(&format!(
            "{HEAD}[[service]]\nname = \"web\"\nalias = \"web\"\n{more}[[service.router]]\n\
             name = \"edge\"\nhaproxy = \"{}\"\nbackend = \"app\"\nstable = \"stable\"\n\
             canary = \"canary\"\nreread = \"500ms\"\n[service.signals]\n{counters}\
             interval = \"250ms\"\nwindow = \"2s\"\n{tables}",
            socket.display()
        ))
    }

    /// HAProxy's own word for the weights of group a and b.
    fn weights(&self) -> [String; 2] {
        ["stable", "canary"].map(|name| {
            let text = tell(&self.haproxy, &format!("get weight app/{name}"));
            text.split(' ').next().unwrap_or("").trim().to_owned()
        })
    }
}

/// One command on HAProxy's socket.
fn tell(server: &Server, command: &str) -> String {
    let path = server.directory.path().join("admin.sock");
    let mut stream = UnixStream::connect(path).expect("HAProxy's socket");
    writeln!(stream, "{command}").expect("it takes a command");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("it answers");
    text
}

/// Polls until only `new` is asked, however slow the clients are just now.
fn serves_alone(new: &Backend, old: &Backend) {
    until("one slot alone", || {
        let (before, end) = (old.answered(), new.answered() + 20);
        until("requests", || (new.answered() >= end).then_some(()));
        (old.answered() == before).then_some(())
    });
}

/// Polls until the release of the service is in this state, and gives the service.
fn in_state(deck: &Deck, state: &str) -> Value {
    until(&format!("a release that is {state}"), || {
        let own = service(deck);
        (own["release"]["state"] == state).then_some(own)
    })
}

/// The service's part of `status --json`.
fn service(deck: &Deck) -> Value {
    let said = deck.run(&["status", "--json"]);
    let all: Value = serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("{said:#?}"));
    all["services"][0].clone()
}

fn deploy(deck: &Deck, version: &str) -> Said {
    let words = ["deploy", "web", "--version", version, "--confirm", "web", "--timeout", "60s"];
    let said = deck.run(&words);
    assert_eq!(deck.run(&["journal", "verify"]).code, 0, "the journal is whole");
    said
}

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
