//! Releases, plans and triggers through the binary, against real routers on loopback.

#[path = "support/backend.rs"]
#[expect(dead_code, reason = "more of it than the first tests need")]
mod backend;
#[path = "support/product.rs"]
#[expect(dead_code, reason = "shared with tests that need more of it")]
mod product;
#[path = "support/servers.rs"]
#[expect(dead_code, reason = "shared with tests that need more of it")]
mod servers;

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use backend::{Backend, Load};
use product::{Deck, Said, until};
use serde_json::Value;
use servers::Server;

const HEAD: &str = "version = 1\n[environment]\nname = \"test\"\n";

/// Short enough for a test, with the roads of a real one.
const CANARY: &str = "[service.canary]\nsteps = [10, 50, 100]\nsoak = \"1s\"\nwait = \"60s\"\n\
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
        let socket = self.haproxy.directory.path().join("admin.sock");
        Deck::new(&format!(
            "{HEAD}[[service]]\nname = \"web\"\nalias = \"web\"\n{more}[[service.router]]\n\
             name = \"edge\"\nhaproxy = \"{}\"\nbackend = \"app\"\nstable = \"stable\"\n\
             canary = \"canary\"\nreread = \"500ms\"\n[service.signals]\nmetrics = \"haproxy\"\n\
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
    until("the canary gets nothing more", || {
        let before = site.b.answered();
        std::thread::sleep(std::time::Duration::from_millis(200));
        (site.b.answered() == before).then_some(())
    });
}
