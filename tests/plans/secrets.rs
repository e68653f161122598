//! A secret reaches a program by its input or its variables, and nothing else.

use super::*;

const ON_INPUT: &str = "swordfish-on-input";
const IN_ENV: &str = "swordfish-in-env";

#[test]
fn a_secret_stands_in_no_process_list_and_no_journal() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().display();
    for (name, secret) in [("input", ON_INPUT), ("variable", IN_ENV)] {
        std::fs::write(dir.path().join(name), format!("{secret}\n")).expect("writes");
    }
    // It keeps what it was given, says it aloud, and stays until it was looked at.
    let script = format!(
        "cat > {path}/got; echo $DB_PASSWORD >> {path}/got; cat {path}/got; echo $$ > {path}/pid; \
         for i in $(seq 600); do [ -e {path}/seen ] && exit 0; sleep 0.1; done; exit 1"
    );
    let deck = deck(&format!(
        "[plan.load]\nservice = \"web\"\nsteps = [{{ name = \"load\", \
         run = [\"/bin/sh\", \"-c\", \"{script}\"], timeout = \"70s\", \
         stdin = {{ file = \"{path}/input\" }}, \
         env = {{ DB_PASSWORD = {{ file = \"{path}/variable\" }} }} }}]\n"
    ));
    deck.run(&["run", "load", "web", "--confirm", "web", "--no-wait"]).ends(0, "");
    let pid: u32 = until("the program", || {
        let text = std::fs::read_to_string(dir.path().join("pid")).ok()?;
        text.trim().parse().ok()
    });
    let argv = std::fs::read(format!("/proc/{pid}/cmdline")).expect("its arguments");
    let argv = String::from_utf8_lossy(&argv).into_owned();
    std::fs::write(dir.path().join("seen"), "").expect("writes");
    until("the end", || (service(&deck)["release"]["result"] == "good").then_some(()));
    let got = std::fs::read_to_string(dir.path().join("got")).expect("what it got");
    let journal = deck.run(&["journal", "export", "--json"]).ends(0, "***").out;
    let status = deck.run(&["status", "--json"]).out;
    for secret in [ON_INPUT, IN_ENV] {
        assert!(got.contains(secret), "the program was given it: {got}");
        for (place, text) in [("argv", &argv), ("journal", &journal), ("status", &status)] {
            assert!(!text.contains(secret), "{place}: {text}");
        }
    }
}
