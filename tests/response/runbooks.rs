//! Runbooks through the binary: read, run, refused, guarded, on record.

use super::*;

const PAGE: &str = "# Stuck\n\nLook first.\n\n```sh\necho stable is {service}\nps | head\n```\n\
                    ```sh changes ask=pid timeout=20s\n\
                    sh -c 'echo end \"$0\" >> ended' {pid}\n```\n\
                    ```sh script ask=word\n\
                    echo \"said: $WORD {kept}\" | tr a-z A-Z\n```\n\
                    ```sh timeout=1s\nsleep 600\n```\n";

fn deck(page: &str) -> Deck {
    let router = Fake::serve("router");
    let deck = Deck::new(&format!(
        "{HEAD}[[service]]\nname = \"web\"\nalias = \"web\"\nrunbook = \"stuck.md\"\n\
         [service.router]\nhttp = {{ url = \"http://127.0.0.1:{}/\" }}\n\
         [[incident]]\nname = \"gone\"\nseverity = \"high\"\nwhen = \"service.down > 0\"\n\
         runbook = \"stuck.md\"\n",
        router.port
    ));
    std::fs::write(deck.dir.path().join("stuck.md"), page).expect("a page is written");
    deck
}

#[test]
fn a_page_is_read_and_its_commands_are_run_without_a_shell() {
    let deck = deck(PAGE);
    let page = deck.run(&["runbook", "stuck"]).ends(0, "[ 1]  echo stable is {service}").out;
    assert!(page.contains("[ 3]! sh -c") && page.contains("cannot be run: `|` needs a"), "{page}");
    deck.run(&["runbook"]).ends(0, "5 commands");
    let run = |more: &[&str]| deck.run(&[&["runbook", "stuck", "--service", "web"], more].concat());
    run(&["--run", "1"]).ends(0, "stable is web\n");
    run(&["--run", "2"]).ends(1, "`|` needs a shell");
    // What changes something is confirmed, and its value is one word whatever it holds.
    let end = ["--run", "3", "--set", "pid=1; touch gone"];
    run(&end).ends(64, "--confirm web");
    run(&["--run", "3", "--confirm", "web"]).ends(1, "`pid` is not given");
    let whole = [&end[..], &["--confirm", "web"]].concat();
    run(&whole).ends(0, "");
    run(&["--run", "4", "--set", "word=a'b $(id)"]).ends(0, "SAID: A'B $(ID) {KEPT}\n");
    run(&["--run", "5"]).ends(3, "UNKNOWN");
    run(&["--run", "9"]).ends(64, "stuck has 5 commands");
    deck.run(&["runbook", "none"]).ends(64, "no runbook none; there are stuck");
    let read_only = ["--read-only", "runbook", "stuck", "--service", "web", "--run", "1"];
    deck.run(&read_only).ends(1, "read-only");
    assert!(!deck.dir.path().join("gone").exists());
    let ended = std::fs::read_to_string(deck.dir.path().join("ended")).expect("it ran there");
    assert_eq!(ended, "end 1; touch gone\n");
    let started = records(&deck, "runbook_started");
    let ended = until("the records", || {
        Some(records(&deck, "runbook_ended")).filter(|ended| ended.len() == 4)
    });
    let results: Vec<&Value> = ended.iter().map(|event| &event["result"]).collect();
    assert_eq!(results, ["passed", "passed", "passed", "unknown"], "{ended:?}");
    assert_eq!(started[1]["values"]["pid"], "1; touch gone");
    assert_eq!(started[1]["changes"], true);
    let lines = deck.run(&["journal", "list"]).out;
    assert!(lines.contains("stuck:6 echo stable is {service}"), "{lines}");
}

#[test]
fn a_page_that_changed_is_not_run_and_a_broken_one_is_told_with_its_line() {
    let deck = deck(PAGE);
    let _engine = deck.start_engine();
    let write = |page: &str| {
        std::fs::write(deck.dir.path().join("stuck.md"), page).expect("a page is written");
    };
    // An idle engine makes room for the new page: what was seen is what is run.
    write(&PAGE.replace("echo stable is", "echo now it is"));
    let said = deck.run(&["runbook", "stuck", "--service", "web", "--run", "1"]);
    assert!(said.out.contains("now it is web") || said.err.contains("is not what it was"));
    assert!(!said.out.contains("stable is web"), "{said:#?}");
    for (page, part) in [
        ("x\n\n```sh\nls\n", "4:11: `runbook`: stuck.md:3: this fence is never closed"),
        ("```sh chnages\nls\n```\n", "stuck.md:1: `chnages` is not known"),
        ("```sh\nls {databse}\n```\n", "stuck.md:2: `{databse}` stands for nothing"),
    ] {
        write(page);
        let said = deck.run(&["check"]);
        assert!(said.code == 65 && said.err.contains(part), "{part}: {said:#?}");
    }
}
