//! Two engines, each with a state directory of its own, and one router between them.

#[path = "support/product.rs"]
#[expect(dead_code, reason = "shared with tests that need more of it")]
mod product;
#[path = "support/servers.rs"]
#[expect(dead_code, reason = "shared with tests that need more of it")]
mod servers;

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use product::{Deck, Fake, until};
use rustix::process::{Signal, kill_process};
use servers::Server;

const HEAD: &str = "version = 1\n[environment]\nname = \"test\"\n\
                    [[service]]\nname = \"web\"\nalias = \"web\"\n";

/// A router of two scripts: what it holds is a file, and a write takes a while. One of 50 hangs as
/// long as there is a file `hold`.
struct Script {
    dir: tempfile::TempDir,
}

impl Script {
    fn new(seconds: &str) -> Script {
        let script = Script { dir: tempfile::tempdir().expect("a temporary directory") };
        std::fs::write(script.path("split"), "0\n").expect("writes");
        let (begun, split) = (script.path("begun"), script.path("split"));
        let text = format!(
            "#!/bin/sh\necho $1 >> {}\nsleep {seconds}\n\
             while [ $1 = 50 ] && [ -e {} ]; do sleep 0.1; done\necho $1 > {}\n",
            begun.display(),
            script.path("hold").display(),
            split.display()
        );
        std::fs::write(script.path("set"), text).expect("writes");
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(script.path("set"), mode).expect("ours");
        script
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn router(&self) -> String {
        let dir = self.dir.path().display();
        format!(
            "[[service.router]]\nname = \"script\"\nreread = \"1s\"\ncommand = {{ read = \
             [\"/bin/cat\", \"{dir}/split\"], set = [\"{dir}/set\", \"{{canary}}\"], \
             lease = \"{dir}/lease\" }}\n"
        )
    }

    fn shows(&self) -> String {
        std::fs::read_to_string(self.path("split")).expect("reads").trim().to_owned()
    }

    fn begun(&self) -> usize {
        std::fs::read_to_string(self.path("begun")).unwrap_or_default().lines().count()
    }
}

fn haproxy_router(server: &Server) -> String {
    let socket = server.directory.path().join("admin.sock");
    format!(
        "[[service.router]]\nname = \"edge\"\nhaproxy = \"{}\"\nbackend = \"app\"\n\
         stable = \"stable\"\ncanary = \"canary\"\nreread = \"1s\"\n",
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

fn nginx_router(server: &Server, stable: u16, canary: u16) -> String {
    let dir = server.directory.path().display();
    format!(
        "[[service.router]]\nname = \"front\"\nreread = \"1s\"\n\
         stable = \"127.0.0.1:{stable}\"\ncanary = \"127.0.0.1:{canary}\"\n\
         nginx = {{ file = \"{dir}/split.conf\", pid = \"{dir}/nginx.pid\", test = \
         [\"/usr/sbin/nginx\", \"-t\", \"-p\", \"{dir}\", \"-e\", \"error.log\", \"-c\", \
         \"nginx.conf\"], proof = \"http://127.0.0.1:{}/__generation\", upstream = \"app\" }}\n",
        server.port
    )
}

fn canary_weight(server: &Server) -> String {
    let socket = server.directory.path().join("admin.sock");
    let mut stream = UnixStream::connect(socket).expect("HAProxy answers");
    writeln!(stream, "get weight app/canary").expect("writes");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("reads");
    text.split(' ').next().unwrap_or("").trim().to_owned()
}

fn words<'a>(verb: &'a [&'a str]) -> Vec<&'a str> {
    [verb, &["--override", "test", "--confirm", "web", "--reason", "test"]].concat()
}

/// Starts the command in the background.
fn begin(deck: &Deck, verb: &[&str]) -> Child {
    let mut command = deck.command(&words(verb));
    command.stdout(Stdio::piped()).spawn().expect("the program starts")
}

fn end(child: Child) -> (i32, String) {
    let output = child.wait_with_output().expect("it ends");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.code().unwrap_or(-1), text)
}

/// An engine learns of another by its next look at the router; until then only the router's
/// writer refuses.
fn knows_who_has_it(deck: &Deck) {
    until("the look that shows the lease", || {
        let told = deck.run(&["ready", "web"]).out;
        let held = told.contains("holds the lease") && !told.contains("nobody else holds");
        held.then_some(())
    });
}

#[test]
fn an_emergency_takes_the_routers_and_anything_else_waits() {
    let (stable, canary) = (Fake::serve("stable"), Fake::serve("canary"));
    let (stable, canary) = (stable.port, canary.port);
    let (edge, front) = (servers::haproxy(stable, canary), nginx(stable, canary));
    let script = Script::new("0.5");
    std::fs::write(script.path("hold"), "").expect("writes");
    let routers = [haproxy_router(&edge), nginx_router(&front, stable, canary), script.router()];
    let config = format!("{HEAD}{}", routers.concat());
    let (bob, eve) = (Deck::new(&config), Deck::new(&config));
    let (_bob, _eve) = (bob.start_engine(), eve.start_engine());

    let change = begin(&bob, &["split", "web", "50"]);
    until("the first write", || (script.begun() > 0).then_some(()));
    knows_who_has_it(&eve);
    let refused = eve.run(&words(&["split", "web", "30"]));
    let refused = refused.ends(1, "held by ");
    for part in ["split of web", &format!("{}", bob.state().display()), "until "] {
        assert!(refused.out.contains(part), "{refused:?} lacks {part}");
    }
    eve.run(&words(&["rollback", "web"])).ends(0, "VERIFIED");
    let (code, text) = end(change);
    assert!(code == 4 && text.contains("superseded by #"), "{code}: {text}");
    assert_eq!((canary_weight(&edge).as_str(), script.shows().as_str()), ("0", "0"));
    bob.run(&["journal", "list"]).ends(0, "SUPERSEDED");

    // What is wanted is not bob's to say any more; he asks anew, and eve gives way.
    until("bob's next look", || {
        let said = bob.run(&["status", "--json"]);
        let found: serde_json::Value = serde_json::from_str(&said.out).ok()?;
        found["services"][0]["split"]["set"].is_null().then_some(())
    });
    until("the end of eve's lease", || {
        let said = bob.run(&words(&["split", "web", "20"]));
        (said.code == 0 && said.out.contains("VERIFIED")).then_some(())
    });
    assert_eq!(script.shows(), "20");
    for deck in [&bob, &eve] {
        deck.run(&["journal", "verify"]).ends(0, "chain whole");
    }
}

#[test]
fn an_engine_that_stops_blocks_nobody_for_long() {
    let script = Script::new("1");
    let config = format!("{HEAD}{}", script.router());
    let (bob, eve) = (Deck::new(&config), Deck::new(&config));
    let (stopped, _eve) = (bob.start_engine(), eve.start_engine());
    let change = begin(&bob, &["split", "web", "50"]);
    until("the write", || (script.begun() > 0).then_some(()));
    kill_process(stopped.pid(), Signal::STOP).expect("it is ours");
    let started = std::time::Instant::now();
    knows_who_has_it(&eve);
    eve.run(&words(&["split", "web", "30"])).ends(1, "held by ");
    until("the end of the lease", || {
        let said = eve.run(&words(&["split", "web", "30"]));
        (said.code == 0).then_some(())
    });
    assert!(started.elapsed() < std::time::Duration::from_secs(30), "{:?}", started.elapsed());
    assert_eq!(script.shows(), "30");
    kill_process(stopped.pid(), Signal::CONT).expect("it is ours");
    let (code, text) = end(change);
    assert!(code == 4 && text.contains("superseded by #"), "{code}: {text}");
    let writes = script.begun();
    // Longer than bob's engine would have waited for its next try.
    until("bob's next looks", || {
        let said = bob.run(&["status", "--json"]);
        let found: serde_json::Value = serde_json::from_str(&said.out).ok()?;
        found["services"][0]["split"]["set"].is_null().then_some(())
    });
    assert_eq!((script.shows().as_str(), script.begun()), ("30", writes), "nothing came late");
}

/// The promise counts from the start of the next engine, also for a router that never answers.
#[test]
fn a_killed_engine_has_a_result_though_its_router_hangs() {
    let script = Script::new("60");
    std::fs::write(script.path("split"), "50\n").expect("writes");
    let deck = Deck::new(&format!("{HEAD}{}", script.router()));
    let mut engine = deck.start_engine();
    let mut command = begin(&deck, &["rollback", "web"]);
    until("the write", || (script.begun() > 0).then_some(()));
    kill_process(engine.pid(), Signal::KILL).expect("it is ours");
    engine.child.wait().expect("it ends");
    let started = std::time::Instant::now();
    let _next = deck.start_engine();
    until("a result", || {
        let said = deck.run(&["journal", "list"]);
        said.out.contains("PARTIAL").then_some(())
    });
    // 25 s by the protocol, and a loaded machine.
    assert!(started.elapsed() < std::time::Duration::from_secs(45), "{:?}", started.elapsed());
    // Its client waits for the next engine as long as it may.
    let _ = command.kill();
    command.wait().expect("it ends");
}
