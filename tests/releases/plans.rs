//! Blue-green by a plan, with nginx: forward to its end, and back from each place.

use std::path::Path;
use std::process::{Child, Stdio};

use super::*;
use product::server_of;

fn nginx(stable: u16, canary: u16) -> Server {
    let arguments = |port: u16, path: &Path| {
        let text = include_str!("../../fixtures/routers/nginx.conf")
            .replace("@PORT@", &port.to_string())
            .replace("@PROXY@", "http://app");
        std::fs::write(path.join("nginx.conf"), text).expect("writes");
        std::fs::create_dir_all(path.join("tmp")).expect("makes");
        let first = include_str!("../../fixtures/routers/nginx-start.conf")
            .replace("18001", &stable.to_string())
            .replace("18002", &canary.to_string());
        std::fs::write(path.join("split.conf"), first).expect("writes");
        let prefix = path.display().to_string();
        ["-p", &prefix, "-e", "error.log", "-c", "nginx.conf"].map(str::to_owned).to_vec()
    };
    let ready = |port, _: &Path| servers::get(port, "/__generation") == Some(200);
    servers::start("/usr/sbin/nginx", arguments, ready)
}

/// Two slots behind nginx, and a plan that puts a file where a version runs.
struct Slots {
    blue: Backend,
    green: Backend,
    nginx: Server,
    deck: Deck,
    _load: Load,
}

impl Slots {
    fn new() -> Slots {
        let (blue, green) = (Backend::serve("blue"), Backend::serve("green"));
        let nginx = nginx(blue.port, green.port);
        let load = Load::on(nginx.port, 1);
        let dir = nginx.directory.path().display();
        std::fs::write(nginx.directory.path().join("artifact"), "version").expect("writes");
        let deck = Deck::new(&format!(
            "{HEAD}[[service]]\nname = \"front\"\nalias = \"fro\"\ndeploy = \"blue-green\"\n\
             [[service.probe]]\nname = \"green\"\nhttp = \"http://127.0.0.1:{green}/health\"\n\
             interval = \"100ms\"\nrise = 1\nfall = 1\n\
             [[service.router]]\nname = \"front\"\nstable = \"127.0.0.1:{blue}\"\n\
             canary = \"127.0.0.1:{green}\"\nnginx = {{ file = \"{dir}/split.conf\", pid = \
             \"{dir}/nginx.pid\", test = [\"/usr/sbin/nginx\", \"-t\", \"-p\", \"{dir}\", \"-e\", \
             \"error.log\", \"-c\", \"nginx.conf\"], proof = \
             \"http://127.0.0.1:{port}/__generation\", upstream = \"app\" }}\n\
             [plan.blue-green]\nservice = \"front\"\nsteps = [\n\
             {{ run = [\"/bin/cp\", \"{dir}/artifact\", \"{dir}/slot-{{group}}\"], \
             timeout = \"10s\", undo = [\"/bin/rm\", \"{dir}/slot-{{group}}\"], verify = {{ file = \
             \"{dir}/slot-{{group}}\" }}, name = \"start\" }},\n\
             {{ check = {{ probe = \"green\" }}, timeout = \"10s\", name = \"health\" }},\n\
             {{ ask = \"Smoke tests are green. Go on?\", timeout = \"1m\" }},\n\
             {{ switch = true }},\n\
             {{ wait = \"2s\", watch = true, name = \"settle\" }},\n\
             {{ check = {{ probe = \"green\" }}, timeout = \"10s\", \
             name = \"final health\" }},\n]\n",
            green = green.port,
            blue = blue.port,
            port = nginx.port,
        ));
        Slots { blue, green, nginx, deck, _load: load }
    }

    /// The file that stands for a running version on group b.
    fn started(&self) -> bool {
        self.nginx.directory.path().join("slot-b").exists()
    }

    fn serves(&self) -> String {
        server_of(self.nginx.port).expect("nginx answers")
    }

    /// A release that is followed in the background.
    fn deploy(&self) -> Child {
        let words = ["deploy", "front", "--version", "2.0", "--confirm", "fro", "--timeout", "60s"];
        let mut command = self.deck.command(&words);
        command.stdout(Stdio::piped()).spawn().expect("the program starts")
    }

    fn reply(&self, word: &str) {
        in_state(&self.deck, "ASKING");
        assert_eq!(self.serves(), "blue", "nothing moved before the answer");
        self.deck.run(&["reply", "front", word, "--confirm", "fro"]).ends(0, "ACCEPTED");
    }
}

/// What a followed release ended with.
fn ended(child: Child, code: i32, parts: &[&str]) {
    let output = child.wait_with_output().expect("it ends");
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(code), "{text}");
    for part in parts {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn a_switch_goes_through_its_plan_to_the_end() {
    let slots = Slots::new();
    let child = slots.deploy();
    slots.reply("yes");
    let parts = ["step 1/6 start", "step 2/6 health: green is UP", "ASKING: Smoke tests", "good"];
    ended(child, 0, &parts);
    assert_eq!(slots.serves(), "green");
    assert!(slots.started());
    let own = service(&slots.deck);
    assert_eq!((&own["split"]["set"], &own["release"]["result"]), (&0.into(), &"good".into()));
    serves_alone(&slots.green, &slots.blue);
    assert_eq!(slots.deck.run(&["journal", "verify"]).code, 0);
}

#[test]
fn a_sick_slot_is_taken_back_before_traffic_moves() {
    let slots = Slots::new();
    slots.green.sick(true);
    let child = slots.deploy();
    let parts =
        ["failed   step 2/6 health: green is DOWN", "undone   step 1/6 start", "rolled back"];
    ended(child, 1, &parts);
    assert!(!slots.started(), "what was started is stopped");
    assert_eq!(slots.serves(), "blue");
    assert_eq!(slots.green.answered(), 0, "no request came there");
    let intents = records(&slots.deck, "intent");
    assert!(intents.is_empty(), "no router was written: {intents:?}");
}

#[test]
fn a_slot_that_falls_ill_after_the_switch_loses_the_traffic_again() {
    let slots = Slots::new();
    let child = slots.deploy();
    slots.reply("yes");
    until("the switch", || (slots.serves() == "green").then_some(()));
    slots.green.sick(true);
    ended(child, 1, &["green is DOWN", "undone   step 1/6 start", "rolled back"]);
    assert_eq!(slots.serves(), "blue");
    assert!(!slots.started());
}

#[test]
fn a_no_ends_it_as_a_failed_check_does() {
    let slots = Slots::new();
    let child = slots.deploy();
    slots.reply("no");
    ended(child, 1, &["the answer was no", "rolled back"]);
    assert_eq!(slots.serves(), "blue");
    assert!(!slots.started());
}
