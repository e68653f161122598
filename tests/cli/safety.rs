//! The command line where something is wrong: what speaks against a change, who does not answer,
//! and what nobody wrote down.

use super::*;

#[test]
fn more_exposure_is_not_asked_for_against_what_speaks_against_it() {
    let (router, web) = (Fake::serve("router"), Fake::serve("web"));
    let service = format!("{HEAD}{}{}", http_service("mail", &router), probe(web.port));
    let deck = Deck::new(&service);
    let _engine = deck.start_engine();
    let split = |more: &[&str]| {
        deck.run(&[&["split", "mail", "25", "--confirm", "mai", "--reason", "try"], more].concat())
    };
    split(&[]).ends(0, "VERIFIED");
    web.down(true);
    until("it is DOWN", || (status(&deck).0 == 2).then_some(()));
    for words in [["split", "mail", "50"].as_slice(), &["promote", "mail"]] {
        let said = deck.run(&[words, &["--confirm", "mai"]].concat());
        let said = said.ends(1, "AGAINST    health DOWN").ends(1, "--override REASON");
        assert!(!said.out.contains("REQUESTED"), "{said:?}");
    }
    assert_eq!(router.split(), (75, 25));
    let half = ["split", "mail", "50", "--confirm", "mai"];
    deck.run(&[&half[..], &["--override", " "]].concat()).ends(64, "--override needs a reason");
    let said = deck.run(&[&half[..], &["--override", "the probe lies"]].concat());
    said.ends(0, "AGAINST    health DOWN");
    assert_eq!(router.split(), (50, 50));
    let told = deck.run(&["journal", "list"]);
    told.ends(0, "OVERRIDE of [health DOWN").ends(0, "the probe lies");
    // Less exposure, and the way to safety, are asked for as they are.
    split(&[]).ends(0, "VERIFIED");
    deck.run(&["rollback", "mail", "--confirm", "mai", "--reason", "x"]).ends(0, "VERIFIED");
}

#[test]
fn an_engine_that_hangs_leaves_a_way_by_hand() {
    let router = Fake::serve("router");
    let deck = Deck::new(&format!("{HEAD}{}", http_service("mail", &router)));
    let engine = deck.start_engine();
    let rollback = ["rollback", "mail", "--confirm", "mai", "--reason", "x"];
    let by_hand = format!("http://127.0.0.1:{}/split", router.port);
    // It hears the question, and does not answer it.
    let mut link = link(&deck);
    link.wait(Duration::from_secs(30));
    kill_process(engine.pid(), Signal::STOP).expect("it is ours");
    let submission = Submission {
        id: "hangs".to_owned(),
        command: Ask::Rollback { service: "mail".into(), reason: Untrusted::new("x") },
        expected: None,
        seen: Untrusted::default(),
        actor: Actor::engine(),
        read_only: false,
    };
    let failure = link.submit_within(&submission, Duration::from_millis(100)).expect_err("stopped");
    let pid = engine.pid().as_raw_nonzero();
    let text = failure.text.to_string();
    let expected = format!("the engine (pid {pid}) did not answer: it may still be carried out");
    assert_eq!(text, expected);
    let said = deck.run(&rollback).ends(69, "nothing was asked");
    for part in [format!("the engine (pid {pid})"), "by hand:\n  api: curl".into(), by_hand] {
        assert!(said.err.contains(&part), "{said:?} lacks {part}");
    }
    // Without a journal to read, no command is named: a guess could send all to the canary.
    let (journal, aside) = (deck.state(), deck.dir.path().join("aside"));
    std::fs::create_dir(&aside).expect("a directory");
    let names = ["journal.sqlite3", "journal.sqlite3-wal", "journal.sqlite3-shm"];
    let carry = |from: &Path, to: &Path| {
        for name in names {
            std::fs::rename(from.join(name), to.join(name)).expect("the journal");
        }
    };
    carry(&journal, &aside);
    std::fs::write(journal.join(names[0]), "no database").expect("a file in its place");
    let said = deck.run(&rollback).ends(69, "which group is stable cannot be read");
    assert!(!said.err.contains("curl"), "{said:?}");
    carry(&aside, &journal);
    kill_process(engine.pid(), Signal::CONT).expect("it is ours");
    deck.run(&rollback).ends(0, "VERIFIED");
}
