//! The whole program as an operator or a script drives it, against real servers on loopback.

#[path = "cli/clocks.rs"]
mod clocks;
#[path = "cli/craft.rs"]
mod craft;
#[path = "support/nobody.rs"]
#[expect(dead_code, reason = "shared with tests that need more of it")]
mod nobody;
#[path = "support/product.rs"]
mod product;
#[path = "support/quick.rs"]
mod quick;
#[path = "cli/safety.rs"]
mod safety;
#[path = "support/schema.rs"]
mod schema;
#[path = "support/servers.rs"]
#[expect(dead_code, reason = "shared with tests that need more of it")]
mod servers;
#[path = "support/small_disk.rs"]
mod small_disk;
#[path = "support/stub.rs"]
#[expect(dead_code, reason = "shared with tests that need more of it")]
mod stub;

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use engine::command::{Command as Ask, Expected, Reply, Submission};
use engine::record::OperationResult;
use engine::snapshot::{OperationView, Phase, RouteState};
use engine::types::{Actor, Percent, Untrusted};
use product::{Deck, Fake, Said, bare, server_of, until};
use quarterdeck::link::{Link, Options};
use rusqlite::Connection;
use rustix::process::{Resource, Rlimit, Signal, kill_process};
use serde_json::{Value, json};
use servers::Server;
use small_disk::SmallDisk;

const HEAD: &str = "version = 1\n[environment]\nname = \"test\"\n";

fn haproxy_service(name: &str, server: &Server) -> String {
    let socket = server.directory.path().join("admin.sock");
    format!(
        "[[service]]\nname = \"{name}\"\nalias = \"{}\"\n[[service.router]]\nname = \"edge\"\n\
         haproxy = \"{}\"\nbackend = \"app\"\nstable = \"stable\"\ncanary = \"canary\"\n",
        &name[..3],
        socket.display()
    )
}

fn nginx(stable: u16, canary: u16) -> Server {
    let arguments = |port: u16, path: &Path| {
        let text = include_str!("../fixtures/routers/nginx.conf")
            .replace("@PORT@", &port.to_string())
            .replace("@PROXY@", "http://app");
        std::fs::write(path.join("nginx.conf"), text).expect("writes");
        std::fs::create_dir_all(path.join("tmp")).expect("makes");
        let first = include_str!("../fixtures/routers/nginx-start.conf")
            .replace("18001", &stable.to_string())
            .replace("18002", &canary.to_string());
        std::fs::write(path.join("split.conf"), first).expect("writes");
        let prefix = path.display().to_string();
        ["-p", &prefix, "-e", "error.log", "-c", "nginx.conf"].map(str::to_owned).to_vec()
    };
    let ready = |port, _: &Path| servers::get(port, "/__generation") == Some(200);
    servers::start("/usr/sbin/nginx", arguments, ready)
}

fn nginx_service(name: &str, server: &Server, stable: u16, canary: u16) -> String {
    let dir = server.directory.path().display();
    format!(
        "[[service]]\nname = \"{name}\"\nalias = \"{}\"\n[[service.router]]\nname = \"front\"\n\
         stable = \"127.0.0.1:{stable}\"\ncanary = \"127.0.0.1:{canary}\"\n\
         nginx = {{ file = \"{dir}/split.conf\", pid = \"{dir}/nginx.pid\", test = \
         [\"/usr/sbin/nginx\", \"-t\", \"-p\", \"{dir}\", \"-e\", \"error.log\", \"-c\", \
         \"nginx.conf\"], proof = \"http://127.0.0.1:{}/__generation\", upstream = \"app\" }}\n",
        &name[..3],
        server.port
    )
}

fn http_service(name: &str, router: &Fake) -> String {
    format!(
        "[[service]]\nname = \"{name}\"\nalias = \"{}\"\n[[service.router]]\nname = \"api\"\n\
         http = {{ url = \"http://127.0.0.1:{}/split\" }}\n",
        &name[..3],
        router.port
    )
}

fn probe(port: u16) -> String {
    format!(
        "[[service.probe]]\nname = \"health\"\nhttp = \"http://127.0.0.1:{port}/health\"\n\
         interval = \"1s\"\ntimeout = \"900ms\"\nrise = 1\nfall = 1\ndegraded_above = \"300ms\"\n"
    )
}

/// Requests of a hundred that the canary answered.
fn canary_of_100(port: u16) -> usize {
    let names = (0..100).map(|_| server_of(port).expect("an answer"));
    names.filter(|name| name == "canary").count()
}

/// HAProxy's own word for the two weights.
fn weights(server: &Server) -> [String; 2] {
    told_weights(server).expect("HAProxy answers")
}

/// `None` while its socket changes hands in a reload.
fn told_weights(server: &Server) -> Option<[String; 2]> {
    let ask = |name: &str| {
        let mut stream = UnixStream::connect(server.directory.path().join("admin.sock")).ok()?;
        writeln!(stream, "get weight app/{name}").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        Some(text.split(' ').next().unwrap_or("").trim().to_owned())
    };
    Some([ask("stable")?, ask("canary")?])
}

/// With a master that can be told to reload, and that its guard ends with its workers.
struct Reloadable {
    server: Server,
    master: rustix::process::Pid,
}

impl Reloadable {
    fn start() -> Reloadable {
        let arguments = |port: u16, path: &Path| {
            let dir = path.display();
            let text = format!(
                "global\n stats socket {dir}/admin.sock mode 600 level admin\n\
                 defaults\n mode http\n timeout connect 2s\n timeout client 5s\n \
                 timeout server 5s\n\
                 frontend fe\n bind 127.0.0.1:{port}\n default_backend app\n\
                 backend app\n balance roundrobin\n server stable 127.0.0.1:1 weight 100\n \
                 server canary 127.0.0.1:2 weight 100\n"
            );
            std::fs::write(path.join("haproxy.cfg"), text).expect("a config file");
            let words = [format!("{dir}/pid"), format!("{dir}/haproxy.cfg")];
            ["-W", "-db", "-p", &words[0], "-f", &words[1]].map(str::to_owned).to_vec()
        };
        let ready = |_, path: &Path| {
            servers::listens(&path.join("admin.sock")) && path.join("pid").exists()
        };
        let server = servers::start("/usr/sbin/haproxy", arguments, ready);
        let pid = until("its process id", || {
            let text = std::fs::read_to_string(server.directory.path().join("pid")).ok()?;
            rustix::process::Pid::from_raw(text.lines().next()?.trim().parse().ok()?)
        });
        Reloadable { server, master: pid }
    }

    /// Returns when the new worker answers with the weights of its configuration.
    fn reload(&self) {
        kill_process(self.master, Signal::USR2).expect("it is ours");
        let lost = ["100", "100"].map(str::to_owned);
        until("the reload", || (told_weights(&self.server)? == lost).then_some(()));
    }
}

impl Drop for Reloadable {
    fn drop(&mut self) {
        // The master takes its workers along, which a kill would not.
        let _ = kill_process(self.master, Signal::TERM);
        until("the end of HAProxy", || told_weights(&self.server).is_none().then_some(()));
    }
}

fn status(deck: &Deck) -> (i32, Value) {
    let said = deck.run(&["status", "--json"]);
    let value = serde_json::from_str(&said.out).unwrap_or_else(|why| panic!("{why}: {said:?}"));
    let schema = include_str!("../docs/status.schema.json");
    let schema = serde_json::from_str(schema).expect("the schema is JSON");
    assert_eq!(schema::problems(&schema, &value), Vec::<String>::new());
    (said.code, value)
}

#[test]
fn status_tells_everything_and_its_exit_code_is_the_worst_state() {
    let (web, page) = (Fake::serve("web"), servers::Page::serve());
    page.set("/metrics", 200, "http_requests_total{version=\"v1\"} 7\n");
    let (alerts, node) = (servers::alertmanager(), servers::node_exporter());
    let prometheus = servers::prometheus(&[page.port], "groups: []\n");
    let router = Fake::serve("router");
    let post = format!("{}/api/v2/alerts", alerts.url());
    let body = r#"[{"labels":{"alertname":"DiskFull","severity":"page"}}]"#;
    post_json(&post, alerts.port, body);
    let service = http_service("checkout", &router);
    let deck = Deck::new(&format!(
        "{HEAD}[[host]]\nname = \"web-1\"\nnode_exporter = \"{}/metrics\"\n{service}{}\
         [service.signals]\nmetrics = \"prom\"\nrequests = \
         'http_requests_total{{version=\"{{arm}}\"}}'\n\
         versions = {{ a = \"v1\", b = \"v2\" }}\n\
         [service.tenants]\n\
         figures = {{ asked = 'http_requests_total{{version=\"{{tenant}}\"}}' }}\n\
         class.small = {{ names = [\"v1\", \"nobody\"], limits = {{ asked = 5 }} }}\n\
         [[metrics]]\nname = \"prom\"\nprometheus = \"{}\"\n\
         [[feed]]\nname = \"alerts\"\nalertmanager = \"{}\"\n",
        node.url(),
        probe(web.port),
        prometheus.url(),
        alerts.url()
    ));
    let _engine = deck.start_engine();
    let found = until("a healthy look", || {
        let (code, found) = status(&deck);
        let counted = !found["services"][0]["tenants"][0]["figures"][0]["value"].is_null();
        let alerted = found["incidents"][0]["name"] == "DiskFull";
        (code == 0 && alerted && counted).then_some(found)
    });
    for key in ["environment", "at", "score", "services", "hosts", "incidents", "sources"] {
        assert!(found.get(key).is_some(), "{key} is missing: {found:#}");
    }
    assert_eq!((&found["environment"], &found["services_unknown"]), (&json!("test"), &json!(0)));
    let service = &found["services"][0];
    assert_eq!((&service["name"], &service["status"]), (&"checkout".into(), &"UP".into()));
    assert_eq!(service["split"]["routers"][0]["canary"], 0.0);
    let tenant = |name: &str, over: bool, value: Option<f64>| {
        let figure = json!({ "name": "asked", "value": value, "limit": 5.0, "target": null });
        json!({ "name": name, "class": "small", "over": over, "figures": [figure] })
    };
    let tenants = [tenant("v1", true, Some(7.0)), tenant("nobody", false, None)];
    assert_eq!(service["tenants"], json!(tenants), "who is over, and who has no data");
    assert!(found["hosts"][0]["memory_percent"].as_f64().is_some_and(|percent| percent > 0.0));
    for source in found["sources"].as_array().expect("a list") {
        assert_eq!(source["error"], "", "{found:#}");
    }
    deck.run(&["status"]).ends(0, "DiskFull");
    let turns = |what: &str, code: i32, word: &str| {
        until(what, || {
            let (ended, found) = status(&deck);
            (ended == code && found["services"][0]["status"] == word).then_some(())
        });
    };
    web.delay(Duration::from_millis(500));
    turns("a slow backend", 1, "DEGRADED");
    web.delay(Duration::ZERO);
    web.down(true);
    turns("a stopped backend", 2, "DOWN");
}

fn post_json(url: &str, port: u16, body: &str) {
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).expect("connects");
    write!(
        stream,
        "POST {url} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Type: application/json\
         \r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .expect("writes");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("reads");
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
}

#[test]
fn what_was_never_seen_is_unknown() {
    let slow = Fake::serve("slow");
    slow.delay(Duration::from_secs(20));
    let deck = Deck::new(&format!(
        "{HEAD}[[service]]\nname = \"late\"\n[[service.probe]]\nname = \"p\"\n\
         http = \"http://127.0.0.1:{}/\"\ntimeout = \"20s\"\ninterval = \"30s\"\n",
        slow.port
    ));
    deck.run(&["status", "--timeout", "5"]).ends(3, "UNKNOWN");
}

#[test]
fn traffic_moves_truly_and_the_journal_proves_it() {
    let (stable, canary) = (Fake::serve("stable"), Fake::serve("canary"));
    let (stable, canary) = (stable.port, canary.port);
    let (edge, front) = (servers::haproxy(stable, canary), nginx(stable, canary));
    let (edge2, front2) = (servers::haproxy(stable, canary), nginx(stable, canary));
    let both = nginx_service("duo", &front2, stable, canary);
    let (_, second) = both.split_once("[[service.router]]").expect("a router");
    let deck = Deck::new(&format!(
        "{HEAD}{}{}{}[[service.router]]{second}",
        haproxy_service("web", &edge),
        nginx_service("shop", &front, stable, canary),
        haproxy_service("duo", &edge2)
    ));
    let split =
        ["split", "web", "25", "--override", "a test", "--confirm", "web", "--reason", "try it"];
    deck.run(&split).ends(0, "VERIFIED");
    let found: Vec<u16> =
        weights(&edge).iter().map(|weight| weight.parse().expect("a weight")).collect();
    assert_eq!(u32::from(found[0]), u32::from(found[1]) * 3, "{found:?}");
    assert_eq!(canary_of_100(edge.port), 25);
    deck.run(&["split", "web", "60", "--override", "a test", "--confirm", "wbe", "--reason", "x"])
        .ends(64, "--confirm web");
    deck.run(&["split", "web", "60"]).ends(64, "--confirm web");
    deck.run(&["rollback", "web", "--confirm", "web"]).ends(64, "--reason");
    deck.run(&["split", "nosuch", "60"]).ends(64, "web, shop, duo");
    deck.run(&["--read-only", "promote", "web", "--override", "a test", "--confirm", "web"])
        .ends(1, "REFUSED");
    assert_eq!(canary_of_100(edge.port), 25, "nothing moved");
    deck.run(&["split", "shop", "25", "--override", "a test", "--confirm", "sho", "--reason", "x"])
        .ends(0, "VERIFIED");
    let share = canary_of_100(front.port);
    assert!((23..=27).contains(&share), "{share}");
    deck.run(&["promote", "duo", "--override", "a test", "--confirm", "duo", "--reason", "x"])
        .ends(0, "VERIFIED");
    assert_eq!([edge2.port, front2.port].map(canary_of_100), [100, 100]);
    for (service, ports) in [("duo", vec![edge2.port, front2.port]), ("web", vec![edge.port])] {
        let words = ["rollback", service, "--confirm", service, "--reason", "errors rise"];
        deck.run(&words).ends(0, "VERIFIED");
        for port in ports {
            assert_eq!(canary_of_100(port), 0, "{service}");
        }
    }
    check_journal(&deck);
}

fn check_journal(deck: &Deck) {
    deck.run(&["journal", "verify"]).ends(0, "chain whole");
    deck.run(&["journal", "list"]).ends(0, "errors rise");
    let said = deck.run(&["journal", "export", "--json"]).ends(0, "errors rise");
    for line in said.out.lines() {
        let record: Value = serde_json::from_str(line).expect("an object a line");
        assert!(record["seq"].is_u64() && record["hash"].is_string(), "{line}");
    }
    let count = said.out.lines().count();
    deck.end_engine(Signal::TERM);
    damage(deck, "UPDATE records SET body = replace(body, 'try it', 'my bad')", |at| at < count);
    damage(deck, &format!("DELETE FROM records WHERE seq = {count}"), |at| at == count);
}

/// Changes a copy of the journal; `expected` judges the record that `verify` names.
fn damage(deck: &Deck, sql: &str, expected: impl Fn(usize) -> bool) {
    let copy = Deck::new("");
    std::fs::create_dir(copy.state()).expect("makes");
    for file in std::fs::read_dir(deck.state()).expect("lists").flatten() {
        if file.file_type().expect("a type").is_file() {
            std::fs::copy(file.path(), copy.state().join(file.file_name())).expect("copies");
        }
    }
    let conn = Connection::open(copy.state().join("journal.sqlite3")).expect("opens");
    conn.execute_batch("DROP TRIGGER records_stay; DROP TRIGGER records_remain").expect("drops");
    conn.execute_batch(sql).expect("the change itself works");
    drop(conn);
    let said = copy.run(&["journal", "verify"]).ends(1, "BROKEN at record ");
    let place = said.out.split(' ').nth(3).expect("a number").trim_end_matches(':');
    let place: usize = place.parse().expect("a number");
    assert!(place > 0 && expected(place), "{sql}: {said:?}");
}

fn link(deck: &Deck) -> Link {
    let (state_dir, config) = (deck.state(), deck.config());
    let options = Options { state_dir, config, config_hash: None, read_only: false };
    Link::connect(&options).expect("an engine answers")
}

/// Submits and waits for the end; the time between is what an operator waits.
fn fire(link: &mut Link, id: &str, command: Ask) -> (Duration, OperationView) {
    let route = until("a reading of every router", || {
        let route = link.snapshot()?.services[0].route.clone()?;
        route.routers.iter().all(|router| router.read.is_some()).then_some(route)
    });
    let expected = Some(Expected { set: route.set, fence: route.fence, release: None });
    let submission = Submission {
        id: id.to_owned(),
        command,
        expected,
        seen: Untrusted::default(),
        actor: Actor::engine(),
        read_only: false,
    };
    let begin = Instant::now();
    let reply = link.submit(&submission).expect("an answer");
    let Reply::Accepted { fence: Some(fence), .. } = reply else { panic!("{reply:?}") };
    loop {
        let operation = link.snapshot().and_then(|snapshot| snapshot.services[0].operation.clone());
        if let Some(operation) = operation
            && operation.fence == fence
            && matches!(operation.phase, Phase::Ended(_))
        {
            return (begin.elapsed(), operation);
        }
        assert!(begin.elapsed() < product::PATIENCE, "no end");
        link.wait(Duration::from_secs(1));
    }
}

/// The median from Enter to VERIFIED; `least` gets a file of its own.
fn median_rollback(
    name: &str,
    config: &str,
    promise: (Duration, u32),
    mut least: impl FnMut(&std::fs::File),
) {
    let deck = Deck::new(&format!("{HEAD}{config}"));
    let _engine = deck.start_engine();
    let mut link = link(&deck);
    let own = std::fs::File::create(deck.dir.path().join("least")).expect("makes");
    let rollback = |turn: usize| {
        let (service, reason) = (name.to_owned(), Untrusted::new("timing"));
        let canary = Percent::new(50).expect("a percent");
        let split = Ask::Split { service: service.clone(), canary, reason: reason.clone() };
        let [_, spent] =
            [("split", split), ("back", Ask::Rollback { service, reason })].map(|(id, command)| {
                let (spent, ended) = fire(&mut link, &format!("{id}-{turn}"), command);
                assert_eq!(ended.phase, Phase::Ended(OperationResult::Verified), "{ended:#?}");
                spent
            });
        spent
    };
    quick::judge(name, promise, rollback, || least(&own));
}

#[test]
fn a_rollback_is_verified_within_its_time() {
    let edge = servers::haproxy(servers::free_port(), servers::free_port());
    let config = haproxy_service("haproxy", &edge);
    // A look at the servers, two weights, the read-back with its level; the intent and the outcome
    // with the journal's head, the fence, the lease.
    median_rollback("haproxy", &config, (Duration::from_millis(50), 4), |file| {
        quick::ask_haproxy(&edge.directory.path().join("admin.sock"), "app", 5);
        quick::sync(file, 8);
    });
    let (stable, canary) = (servers::free_port(), servers::free_port());
    let front = nginx(stable, canary);
    let config = nginx_service("nginx", &front, stable, canary);
    // Besides, two files and their directory.
    median_rollback("nginx", &config, (Duration::from_millis(400), 2), |file| {
        quick::sync(file, 12);
        quick::reload_nginx(front.directory.path());
    });
}

#[test]
fn a_killed_engine_leaves_no_rollback_without_a_result() {
    let router = Fake::serve("router");
    let deck = Deck::new(&format!("{HEAD}{}", http_service("mail", &router)));
    deck.run(&["split", "mail", "50", "--override", "a test", "--confirm", "mai", "--reason", "x"])
        .ends(0, "VERIFIED");
    assert_eq!(router.split(), (50, 50));
    router.delay(Duration::from_mins(1));
    let before = router.puts();
    let words = ["rollback", "mail", "--confirm", "mai", "--reason", "errors", "--no-wait"];
    deck.run(&words).ends(0, "ACCEPTED");
    until("the write", || (router.puts() > before).then_some(()));
    deck.end_engine(Signal::KILL);
    router.delay(Duration::ZERO);
    // The next client starts another engine, which finishes what was begun.
    deck.run(&["status"]);
    let link = link(&deck);
    let ended = until("a result", || {
        let operation = link.snapshot()?.services[0].operation.clone()?;
        matches!(operation.phase, Phase::Ended(_)).then_some(operation)
    });
    assert_eq!((ended.verb.as_str(), ended.to), ("rollback", Percent::ZERO), "{ended:#?}");
    deck.run(&["journal", "list"]).ends(0, "errors");
    // Whatever the result word says, asking again ends well.
    let words = ["rollback", "mail", "--confirm", "mai", "--reason", "again"];
    deck.run(&words).ends(0, "VERIFIED");
    assert_eq!(router.split(), (100, 0));
}

#[test]
fn a_stopped_client_stops_nobody_else() {
    let router = Fake::serve("router");
    let deck = Deck::new(&format!("{HEAD}{}", http_service("mail", &router)));
    router.delay(Duration::from_secs(1));
    let words =
        ["split", "mail", "50", "--override", "a test", "--confirm", "mai", "--reason", "x"];
    let mut client =
        deck.command(&words).stdout(Stdio::piped()).spawn().expect("the program starts");
    until("the write", || (router.puts() > 0).then_some(()));
    let pid = rustix::process::Pid::from_child(&client);
    kill_process(pid, Signal::STOP).expect("it is ours");
    router.delay(Duration::ZERO);
    let words = ["rollback", "mail", "--confirm", "mai", "--reason", "y"];
    deck.run(&words).ends(0, "VERIFIED");
    assert_eq!(router.split(), (100, 0));
    kill_process(pid, Signal::CONT).expect("it is ours");
    let code = client.wait().expect("it ends").code();
    assert!(matches!(code, Some(0 | 4)), "verified before, or superseded: {code:?}");
}

#[test]
fn a_router_that_hangs_ends_in_unknown_with_a_way_by_hand() {
    let router = Fake::serve("router");
    let deck = Deck::new(&format!("{HEAD}{}", http_service("mail", &router)));
    deck.run(&["split", "mail", "50", "--override", "a test", "--confirm", "mai", "--reason", "x"])
        .ends(0, "VERIFIED");
    router.delay(Duration::from_mins(2));
    let begin = Instant::now();
    let words = ["rollback", "mail", "--confirm", "mai", "--reason", "errors"];
    let said = deck.run(&words).ends(3, "UNKNOWN");
    // 30 s by the protocol, which the simulator holds to the microsecond; and a loaded machine.
    assert!(begin.elapsed() < Duration::from_secs(45), "{:?}", begin.elapsed());
    let (_, manual) = said.out.split_once("by hand:").expect("a manual command");
    assert!(manual.contains(&format!("127.0.0.1:{}", router.port)), "{manual}");
    router.delay(Duration::ZERO);
}

fn edit_config(deck: &Deck, text: &str) {
    std::fs::write(deck.config(), text).expect("writes");
}

#[test]
fn a_changed_configuration_is_used_by_the_next_command() {
    let deck = Deck::new(&format!("{HEAD}[[service]]\nname = \"mail\"\n"));
    let names = |deck: &Deck| {
        let said = deck.run(&["status", "--json"]);
        assert_eq!(said.err, "", "nothing is odd");
        let value: Value = serde_json::from_str(&said.out).expect("JSON");
        let services = value["services"].as_array().expect("services").clone();
        services.iter().map(|own| own["name"].as_str().unwrap_or("").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&deck), ["mail"]);
    let first = deck.engine().expect("the engine runs");
    assert_eq!(names(&deck), ["mail"]);
    assert_eq!(deck.engine(), Some(first), "the same file is the same engine");
    edit_config(&deck, &format!("{HEAD}[[service]]\nname = \"chat\"\n"));
    assert_eq!(names(&deck), ["chat"]);
    assert_ne!(deck.engine(), Some(first));
    // The picture does not wait for the record of the start.
    until("the record", || {
        deck.run(&["journal", "list"]).out.contains("configuration").then_some(())
    });
}

#[test]
fn a_busy_engine_keeps_its_configuration_and_says_so() {
    let router = Fake::serve("router");
    let service = http_service("mail", &router);
    let deck = Deck::new(&format!("{HEAD}{service}"));
    deck.run(&["split", "mail", "50", "--override", "a test", "--confirm", "mai", "--reason", "x"])
        .ends(0, "VERIFIED");
    router.delay(Duration::from_mins(1));
    let words = ["rollback", "mail", "--confirm", "mai", "--reason", "errors", "--no-wait"];
    deck.run(&words).ends(0, "ACCEPTED");
    let first = deck.engine().expect("the engine runs");
    edit_config(&deck, &format!("{HEAD}{service}[[service]]\nname = \"chat\"\n"));
    let notice = "the running engine uses another configuration (it is busy with #2): this change \
                  takes effect when it ends";
    let begin = Instant::now();
    let said = deck.run(&["status", "--timeout", "0"]);
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    assert!(said.err.contains(notice) && !said.out.contains("chat"), "{said:?}");
    assert_eq!(deck.engine(), Some(first));
    // A console that stays shows the notice as a banner, and sees the change take effect.
    let (state_dir, config) = (deck.state(), deck.config());
    let options =
        Options { state_dir, config, config_hash: Some("new".to_owned()), read_only: false };
    let console = Link::connect(&options).expect("an engine answers");
    until("the banner", || {
        let head = console.snapshot()?.head;
        head.banners.iter().any(|text| text.display() == notice).then_some(())
    });
    router.delay(Duration::ZERO);
    // This process cannot start an engine: the next command does.
    until("the new configuration", || deck.run(&["status"]).out.contains("chat").then_some(()));
    until("the console", || (console.snapshot()?.services.len() == 2).then_some(()));
    assert_ne!(deck.engine(), Some(first));
    assert_eq!(router.split(), (100, 0), "the rollback was finished first");
}

#[test]
fn wrong_calls_and_wrong_files_say_what_to_do() {
    bare(&["status"]).ends(65, "quarterdeck config example");
    bare(&["--nonsense"]).ends(64, "--nonsense");
    bare(&["split", "web", "101"]).ends(64, "101");
    bare(&["--version"]).ends(0, env!("CARGO_PKG_VERSION"));
    bare(&["--help"]).ends(0, "Exit codes");
    bare(&["completions", "bash"]).ends(0, "complete");
    bare(&["man"]).ends(0, ".TH");
    let schema = bare(&["config", "schema"]).ends(0, "$schema");
    let schema: Value = serde_json::from_str(&schema.out).expect("valid JSON");
    let example = bare(&["config", "example"]).ends(0, "version = 1");
    let document: Value = toml::from_str(&example.out).expect("valid TOML");
    assert_eq!(schema::problems(&schema, &document), Vec::<String>::new());
    let wrong = serde_json::json!({ "version": "one", "servise": [] });
    assert!(schema::problems(&schema, &wrong).len() >= 3, "the schema refuses what is wrong");
    Deck::new(&example.out).run(&["check"]).ends(0, "ok: environment staging");
    let deck = Deck::new("version = 1\n[environment]\nname = 5\n");
    let place = format!("{}:3:8", deck.config().display());
    deck.run(&["check"]).ends(65, &place);
    deck.run(&["status"]).ends(65, &place);
    std::fs::remove_file(deck.config()).expect("removes");
    deck.run(&["check"]).ends(65, "config.toml");
}

#[test]
fn one_state_directory_has_one_engine_and_one_owner() {
    let deck = Deck::new(HEAD);
    let _engine = deck.start_engine();
    deck.run(&["engine"]).ends(1, "already runs");
    let mode = |path: &Path| std::fs::metadata(path).expect("exists").permissions().mode() & 0o777;
    assert_eq!(mode(&deck.state()), 0o700);
    assert_eq!(mode(&deck.state().join("engine.sock")), 0o600);
    assert_eq!(mode(&deck.state().join("journal.sqlite3")), 0o600);
}

#[test]
fn secrets_stay_where_they_are() {
    let secrets = ["sEcReT-from-env", "sEcReT-from-file"];
    let router = Fake::serve("router");
    let token = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(token.path(), secrets[1]).expect("writes");
    let url = format!("http://127.0.0.1:{}/split", router.port);
    let service = http_service("mail", &router).replace(
        &format!("{{ url = \"{url}\" }}"),
        &format!("{{ url = \"{url}\", token = {{ env = \"QD_TEST_TOKEN\" }} }}"),
    );
    let deck = Deck::new(&format!(
        "{HEAD}{service}{}token = {{ file = \"{}\" }}\n",
        probe(router.port),
        token.path().display()
    ));
    let run = |words: &[&str]| {
        let mut command = deck.command(words);
        let output = command.env("QD_TEST_TOKEN", secrets[0]).output().expect("starts");
        assert!(output.status.success(), "{words:?}: {output:?}");
        [output.stdout, output.stderr].concat()
    };
    let mut seen =
        run(&["split", "mail", "50", "--override", "a test", "--confirm", "mai", "--reason", "x"]);
    router.down(true);
    // Reading fails now, and every failure is told.
    let mut failed = deck.command(&["status", "--json"]);
    let failed = failed.env("QD_TEST_TOKEN", secrets[0]).output().expect("starts");
    seen.extend([failed.stdout, failed.stderr].concat());
    seen.extend(run(&["journal", "export", "--json"]));
    seen.extend(run(&["check"]));
    let pid = deck.engine().expect("the engine runs").as_raw_nonzero();
    seen.extend(std::fs::read(format!("/proc/{pid}/cmdline")).expect("reads"));
    seen.extend(std::fs::read(deck.state().join("engine.log")).expect("reads"));
    let seen = String::from_utf8_lossy(&seen);
    for secret in secrets {
        assert!(!seen.contains(secret), "{seen}");
    }
}

/// A service behind an HTTP router, half on each version.
fn half_and_half() -> (Fake, Deck) {
    let router = Fake::serve("router");
    let deck = Deck::new(&format!("{HEAD}{}", http_service("mail", &router)));
    (router, deck)
}

const HALF: [&str; 9] =
    ["split", "mail", "50", "--override", "a test", "--confirm", "mai", "--reason", "x"];
const PROMOTE: [&str; 8] =
    ["promote", "mail", "--override", "a test", "--confirm", "mai", "--reason", "x"];
const ROLLBACK: [&str; 6] = ["rollback", "mail", "--confirm", "mai", "--reason", "no room left"];

/// More exposure is refused, naming the place and what helps; a rollback goes on by the spool.
fn only_safety_goes_on(router: &Fake, deck: &Deck, part: &str, run: &dyn Fn(&[&str]) -> Said) {
    let said = run(&PROMOTE);
    let place = deck.state().display().to_string();
    assert!(said.code == 1 && said.out.contains(part) && said.out.contains(&place), "{said:#?}");
    assert_ne!(router.split(), (0, 100), "nothing moved");
    run(&ROLLBACK).ends(0, "VERIFIED").ends(0, "the journal does not take what is done here");
    assert_eq!(router.split(), (100, 0));
    let said = run(&["journal", "verify"]);
    assert!(said.out.contains("in the spool"), "{said:#?}");
    let banners = link(deck);
    until("a banner", || {
        let head = banners.snapshot()?.head;
        (head.journal != engine::snapshot::JournalState::Writable).then_some(())
    });
}

/// The journal takes records again: the first promotion goes on, and the rollback is on record.
fn all_goes_on(router: &Fake, run: &dyn Fn(&[&str]) -> Said) {
    run(&PROMOTE).ends(0, "VERIFIED");
    assert_eq!(router.split(), (0, 100));
    run(&["journal", "list"]).ends(0, "no room left");
    let said = run(&["journal", "verify"]).ends(0, "chain whole");
    assert!(!said.out.contains("spool"), "{said:#?}");
}

#[test]
fn a_full_disk_refuses_a_promotion_and_lets_a_rollback_through() {
    let (router, deck) = half_and_half();
    let mut wrapped = Command::new("/bin/sh");
    // A file that may not grow answers with an error instead of a signal.
    wrapped.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh", product::PROGRAM]);
    wrapped.args(deck.command(&["engine"]).get_args());
    let engine = deck.start_engine_by(wrapped);
    let run = |words: &[&str]| deck.run(words);
    run(&HALF).ends(0, "VERIFIED");
    let limit = |bytes: Option<u64>| {
        let limits = Rlimit { current: bytes, maximum: None };
        rustix::process::prlimit(Some(engine.pid()), Resource::Fsize, limits).expect("it is ours");
    };
    limit(Some(4096));
    only_safety_goes_on(&router, &deck, "journal", &run);
    limit(None);
    all_goes_on(&router, &run);
}

#[test]
fn a_disk_that_is_really_full_lets_a_rollback_through() {
    let (router, deck) = half_and_half();
    let run = |words: &[&str]| deck.run(words);
    let Some(disk) = SmallDisk::mount(&deck.state()) else {
        println!("no mount: a_full_disk_refuses_a_promotion_and_lets_a_rollback_through stands");
        return;
    };
    run(&HALF).ends(0, "VERIFIED");
    disk.fill();
    only_safety_goes_on(&router, &deck, "disk is full: make room", &run);
    disk.free();
    all_goes_on(&router, &run);
    // An engine that starts on a full disk reads what is there and moves traffic to safety.
    run(&HALF).ends(0, "VERIFIED");
    disk.fill();
    deck.end_engine(Signal::KILL);
    only_safety_goes_on(&router, &deck, "make room", &run);
    disk.free();
    deck.end_engine(Signal::KILL);
    all_goes_on(&router, &run);
}

#[test]
fn a_corrupt_journal_lets_a_rollback_through() {
    let (router, deck) = half_and_half();
    let run = |words: &[&str]| deck.run(words);
    run(&HALF).ends(0, "VERIFIED");
    deck.end_engine(Signal::KILL);
    let path = deck.state().join("journal.sqlite3");
    let conn = Connection::open(&path).expect("opens");
    conn.execute_batch("DROP TRIGGER records_stay; UPDATE records SET hash = 'x' WHERE seq = 2")
        .expect("the change itself works");
    drop(conn);
    only_safety_goes_on(&router, &deck, "is broken at record 2", &run);
    run(&["journal", "verify"]).ends(1, "BROKEN at record 2");
    // What the text asks for.
    for name in ["journal.sqlite3", "journal.sqlite3-wal", "journal.sqlite3-shm", "journal.head"] {
        let _ = std::fs::rename(deck.state().join(name), deck.dir.path().join(name));
    }
    all_goes_on(&router, &run);
}

#[test]
fn a_journal_that_another_process_locks_lets_a_rollback_through() {
    let (router, deck) = half_and_half();
    let run = |words: &[&str]| deck.run(words);
    run(&HALF).ends(0, "VERIFIED");
    let other = Connection::open(deck.state().join("journal.sqlite3")).expect("opens");
    let lock = || other.execute_batch("BEGIN IMMEDIATE").expect("takes the lock");
    lock();
    only_safety_goes_on(&router, &deck, "another process holds its lock", &run);
    other.execute_batch("ROLLBACK").expect("lets go");
    all_goes_on(&router, &run);
    // The same for an engine that starts while it is locked.
    run(&HALF).ends(0, "VERIFIED");
    deck.end_engine(Signal::KILL);
    lock();
    only_safety_goes_on(&router, &deck, "another process holds its lock", &run);
    other.execute_batch("ROLLBACK").expect("lets go");
    all_goes_on(&router, &run);
}

/// Gives the deck away, with a copy of the program.
fn program_of_nobody(deck: &Deck) -> PathBuf {
    let program = deck.dir.path().join("quarterdeck");
    nobody::copy_program(Path::new(product::PROGRAM), &program);
    for path in [deck.dir.path(), &program, &deck.config()] {
        nobody::give(path);
    }
    program
}

fn run_as_nobody(deck: &Deck, program: &Path, words: &[&str]) -> Said {
    let mut command = Command::new(program);
    command.args(deck.command(words).get_args()).current_dir(deck.dir.path());
    nobody::become_nobody(command.stdin(Stdio::null()));
    let output = command.output().expect("the program starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let code = output.status.code().unwrap_or(-1);
    Said { code, out: text(&output.stdout), err: text(&output.stderr) }
}

#[test]
fn a_journal_that_may_not_be_written_lets_a_rollback_through() {
    let (router, deck) = half_and_half();
    let program = program_of_nobody(&deck);
    let run = |words: &[&str]| run_as_nobody(&deck, &program, words);
    run(&HALF).ends(0, "VERIFIED");
    let path = deck.state().join("journal.sqlite3");
    let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(&path).expect("exists"));
    assert!(owner != 0, "the engine runs without privileges");
    let pid = deck.engine().expect("the engine runs");
    kill_process(pid, Signal::TERM).expect("it can be ended");
    // Its socket goes first; the journal is closed when the process is gone.
    let program_of = format!("/proc/{}/exe", pid.as_raw_nonzero());
    until("the end of the engine", || std::fs::read_link(&program_of).is_err().then_some(()));
    nobody::mode(&path, 0o400);
    only_safety_goes_on(&router, &deck, "give the engine's user", &run);
    nobody::mode(&path, 0o600);
    all_goes_on(&router, &run);
    // A directory that lost its owner's right to write gets it back.
    deck.end_engine(Signal::KILL);
    nobody::mode(&deck.state(), 0o500);
    run(&ROLLBACK).ends(0, "VERIFIED");
    assert_eq!(router.split(), (100, 0));
}

#[test]
fn a_read_only_state_directory_says_what_to_do() {
    let (router, deck) = half_and_half();
    let Some(disk) = SmallDisk::mount(&deck.state()) else {
        println!("no mount: a_journal_that_may_not_be_written_lets_a_rollback_through stands");
        return;
    };
    deck.run(&HALF).ends(0, "VERIFIED");
    deck.end_engine(Signal::KILL);
    disk.remount("ro");
    let said = deck.run(&ROLLBACK);
    let place = deck.state().display().to_string();
    assert!(said.code != 0 && said.err.contains(&place), "{said:#?}");
    assert!(said.err.contains("--state-dir"), "{said:#?}");
    // What the text asks for.
    let other = Deck::new(&std::fs::read_to_string(deck.config()).expect("reads"));
    other.run(&ROLLBACK).ends(0, "VERIFIED");
    assert_eq!(router.split(), (100, 0));
}

#[test]
fn a_reload_that_loses_the_weights_is_seen_within_two_reads() {
    let edge = Reloadable::start();
    let config = haproxy_service("web", &edge.server) + "reread = \"1s\"\n";
    let deck = Deck::new(&format!("{HEAD}{config}"));
    deck.run(&["split", "web", "25", "--override", "a test", "--confirm", "web", "--reason", "x"])
        .ends(0, "VERIFIED");
    let link = link(&deck);
    let route = || link.snapshot().and_then(|snapshot| snapshot.services[0].route.clone());
    until("a settled route", || (route()?.state == RouteState::Verified).then_some(()));
    edge.reload();
    let since = quarterdeck::io::clock::now().mono;
    let mut reads = std::collections::BTreeSet::new();
    let seen = until("the drift", || {
        let route = route()?;
        let read = route.routers[0].read?.mono;
        if read > since {
            reads.insert(read);
        }
        (route.state == RouteState::Drifted).then_some(route)
    });
    assert!(reads.len() <= 2, "{reads:?}");
    assert_eq!(seen.routers[0].canary, Some(50.0), "what is shown is what was read");
    assert_eq!(seen.set.map(Percent::get), Some(25), "what is wanted has not changed");
    let said = deck.run(&["status"]);
    assert!(said.out.contains("DRIFTED"), "{said:#?}");
    // The record is on its way to the disk while the screen shows it.
    let recorded = |part: &str| {
        until("the record", || deck.run(&["journal", "list"]).out.contains(part).then_some(()));
    };
    recorded("set is 25 %");

    // After an emergency rollback the same reload is undone.
    deck.run(&["rollback", "web", "--confirm", "web", "--reason", "y"]).ends(0, "VERIFIED");
    edge.reload();
    until("the correction", || (told_weights(&edge.server)?[1] == "0").then_some(()));
    until("a settled route", || (route()?.state == RouteState::Verified).then_some(()));
    recorded("set again");
}

#[test]
fn an_engine_that_may_not_signal_nginx_says_so() {
    if !nobody::is_root() {
        println!("only root can start an nginx that this user may not signal");
        return;
    }
    let (stable, canary) = (servers::free_port(), servers::free_port());
    let front = nginx(stable, canary);
    let file = front.directory.path().join("split.conf");
    for path in [front.directory.path(), &file] {
        nobody::give(path);
    }
    let config = nginx_service("shop", &front, stable, canary);
    let (head, tail) = config.split_once("test = [").expect("a test");
    let (_, tail) = tail.split_once(']').expect("its end");
    let deck = Deck::new(&format!("{HEAD}{head}test = [\"/bin/true\"]{tail}"));
    let program = program_of_nobody(&deck);
    let before = std::fs::read_to_string(&file).expect("reads");
    let words =
        ["split", "shop", "25", "--override", "a test", "--confirm", "sho", "--reason", "x"];
    let said = run_as_nobody(&deck, &program, &words);
    assert!(said.code != 0 && said.out.contains("must run as nginx's user"), "{said:#?}");
    assert!(said.out.contains("the previous file is put back"), "{said:#?}");
    assert_eq!(std::fs::read_to_string(&file).expect("reads"), before);
}

#[test]
fn a_head_that_was_taken_away_is_said_and_goes_on_record() {
    let (_router, deck) = half_and_half();
    deck.run(&HALF).ends(0, "VERIFIED");
    deck.end_engine(Signal::KILL);
    deck.run(&["journal", "verify"]).ends(0, "chain whole");
    std::fs::remove_file(deck.state().join("journal.head")).expect("removes");
    deck.run(&["journal", "verify"]).ends(1, "journal.head is missing");
    deck.run(&["status"]);
    deck.run(&["journal", "list"]).ends(0, "journal.head was missing");
    deck.run(&["journal", "verify"]).ends(0, "chain whole");
}
