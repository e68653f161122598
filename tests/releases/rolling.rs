//! Rolling: instance by instance out of a real HAProxy, replaced, checked and back.

use std::net::TcpStream;
use std::path::{Path, PathBuf};

use super::*;

/// Two instances of stable, and one of the canary, which gets nothing.
struct Instances {
    each: [Backend; 3],
    haproxy: Server,
    deck: Deck,
    load: Load,
}

fn haproxy(ports: [u16; 3]) -> Server {
    let arguments = |port: u16, path: &Path| {
        let [one, two, three] = ports;
        let text = format!(
            "global\n  stats socket {}/admin.sock mode 600 level admin\ndefaults\n  mode http\n  \
             retries 0\n  timeout connect 2s\n  timeout client 2m\n  timeout server 2m\n\
             frontend fe\n  bind 127.0.0.1:{port}\n  default_backend app\nbackend app\n  \
             balance roundrobin\n  server v1 127.0.0.1:{one} weight 100\n  \
             server v2 127.0.0.1:{two} weight 100\n  server v3 127.0.0.1:{three} weight 0\n",
            path.display()
        );
        std::fs::write(path.join("haproxy.cfg"), text).expect("a config file");
        vec!["-db".into(), "-f".into(), path.join("haproxy.cfg").display().to_string()]
    };
    let ready = |_, path: &Path| servers::listens(&path.join("admin.sock"));
    servers::start("/usr/sbin/haproxy", arguments, ready)
}

impl Instances {
    fn new() -> Instances {
        let each = ["v1", "v2", "v3"].map(Backend::serve);
        let haproxy = haproxy(each.each_ref().map(|one| one.port));
        let dir = haproxy.directory.path();
        let step = |name: &str| {
            // The artifact is written into the instance's place, and must be there afterwards.
            format!(
                "{{ name = \"{name} out\", drain = \"{name}\", timeout = \"4s\" }},\n\
                 {{ name = \"{name} new\", timeout = \"10s\", \
                 run = [\"/bin/cp\", \"{0}/artifact\", \"{0}/{name}\"], \
                 undo = [\"/bin/rm\", \"{0}/{name}\"] }},\n\
                 {{ name = \"{name} healthy\", timeout = \"10s\", check = {{ retries = 2, \
                 pause = \"50ms\", command = [\"/usr/bin/test\", \"-e\", \
                 \"{0}/healthy-{name}\"] }} }},\n\
                 {{ name = \"{name} in\", ready = \"{name}\" }},\n",
                dir.display()
            )
        };
        let deck = Deck::new(&format!(
            "{HEAD}[[service]]\nname = \"web\"\nalias = \"web\"\n[[service.router]]\n\
             name = \"edge\"\nhaproxy = \"{}/admin.sock\"\nbackend = \"app\"\n\
             arms = {{ a = [\"v1\", \"v2\"], b = [\"v3\"] }}\nreread = \"500ms\"\n\
             [plan.rolling]\nservice = \"web\"\nsteps = [\n{}{}]\n",
            dir.display(),
            step("v1"),
            step("v2"),
        ));
        std::fs::write(dir.join("artifact"), "2.0").expect("writes");
        let load = Load::on(haproxy.port, 2);
        Instances { each, haproxy, deck, load }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.haproxy.directory.path().join(name)
    }

    fn healthy(&self, name: &str) {
        std::fs::write(self.file(&format!("healthy-{name}")), "").expect("writes");
    }

    /// HAProxy's own word for the servers that are out of rotation.
    fn out(&self) -> Vec<String> {
        let text = tell(&self.haproxy, "show servers state app");
        let rows = text.lines().filter(|line| !line.starts_with('#'));
        let rows = rows.map(|line| line.split(' ').collect::<Vec<_>>()).filter(|row| row.len() > 6);
        rows.filter(|row| row[6] != "0").map(|row| row[3].to_owned()).collect()
    }

    /// Each of these answers new requests.
    fn serve(&self, places: &[usize]) {
        let before: Vec<u64> = places.iter().map(|&place| self.each[place].answered()).collect();
        until("every server that is in answers", || {
            let more = |(&place, before): (&usize, &u64)| self.each[place].answered() > *before;
            places.iter().zip(&before).all(more).then_some(())
        });
    }
}

const RUN: [&str; 7] = ["run", "rolling", "web", "--version", "2.0", "--confirm", "web"];

#[test]
fn instances_are_replaced_one_by_one() {
    let site = Instances::new();
    site.healthy("v1");
    site.healthy("v2");
    let said = site.deck.run(&[&RUN[..], &["--timeout", "60s"]].concat()).ends(0, "good");
    for part in ["v1 out: v1 is drained", "v1 in: v1 is ready", "v2 out: v2 is drained"] {
        assert!(said.out.contains(part), "{part}: {said:#?}");
    }
    assert!(site.file("v1").exists() && site.file("v2").exists());
    assert_eq!(site.out(), Vec::<String>::new());
    site.serve(&[0, 1]);
    assert_eq!(site.each[2].answered(), 0, "the canary's group got nothing");
    drop(site.load);
}

#[test]
fn a_sick_instance_stays_out_until_it_is_taken_back() {
    let site = Instances::new();
    site.healthy("v1");
    site.deck.run(&[&RUN[..], &["--no-wait"]].concat()).ends(0, "ACCEPTED");
    let own = in_state(&site.deck, "HELD");
    assert!(own["release"]["sentence"].to_string().contains("v2 healthy"), "{own}");
    assert_eq!(site.out(), ["v2"], "it gets nothing while it is sick");
    site.serve(&[0]);
    site.deck.run(&["abort", "web", "--confirm", "web", "--reason", "sick"]).ends(0, "aborted");
    assert_eq!(site.out(), Vec::<String>::new(), "what was drained is back");
    assert!(!site.file("v1").exists() && !site.file("v2").exists(), "with what ran before");
    site.serve(&[0, 1]);
    let steps = records(&site.deck, "step_ended");
    let undone = steps.iter().filter(|step| step["result"] == "undone").count();
    assert_eq!(undone, 5, "v2 new, v2 out, v1 in, v1 new, v1 out: {steps:#?}");
    assert_eq!(site.deck.run(&["journal", "verify"]).code, 0);
}

#[test]
fn a_drain_that_never_ends_is_told_and_taken_back() {
    let mut site = Instances::new();
    site.load = Load::on(site.haproxy.port, 0);
    // Somebody waits for each of them, longer than this test takes.
    site.each[..2].iter().for_each(|one| one.delay(Duration::from_mins(1)));
    let ask = || {
        let mut client = TcpStream::connect(("127.0.0.1", site.haproxy.port)).expect("connects");
        client.write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n").expect("asks");
        client
    };
    let clients = [ask(), ask()];
    until("both are at work", || {
        let text = tell(&site.haproxy, "show servers conn app");
        let busy = |row: &&str| row.split(' ').nth(6) == Some("1");
        (text.lines().filter(busy).count() == 2).then_some(())
    });
    site.deck.run(&[&RUN[..], &["--no-wait"]].concat()).ends(0, "ACCEPTED");
    let own = in_state(&site.deck, "HELD");
    assert!(own["release"]["sentence"].to_string().contains("v1 still has 1 connection"), "{own}");
    assert_eq!(site.out(), ["v1"], "it gets nothing new");
    site.deck.run(&["abort", "web", "--confirm", "web", "--reason", "busy"]).ends(0, "aborted");
    assert_eq!(site.out(), Vec::<String>::new(), "it is back");
    drop(clients);
}
