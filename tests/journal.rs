//! The journal against damage: every kind has a clear answer, and nothing is lost in silence.

#[path = "support/nobody.rs"]
mod nobody;

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use engine::Appended;
use engine::record::{Entry, Event};
use engine::types::{Actor, FailureKind};
use quarterdeck::io::journal::sqlite::Journal;
use quarterdeck::io::journal::{Waiting, checkpoint, export, list, verify, waiting};
use rusqlite::Connection;

fn entry(n: u32) -> Entry {
    Entry {
        id: format!("e{n}"),
        at: chrono::DateTime::UNIX_EPOCH,
        actor: Actor::engine(),
        event: Event::ConfigChanged { config_hash: n.to_string() },
    }
}

fn journal_of(count: u32, dir: &Path) -> Journal {
    let (mut journal, _) = Journal::open(dir).expect("the journal opens");
    let entries: Vec<Entry> = (1..=count).map(entry).collect();
    let all: Vec<(&Entry, bool)> = entries.iter().map(|entry| (entry, false)).collect();
    assert_eq!(journal.append_all(&all), vec![Appended::Durable; all.len()]);
    journal
}

fn tamper(dir: &Path, sql: &str) {
    let conn = Connection::open(dir.join("journal.sqlite3")).expect("opens");
    conn.execute_batch("DROP TRIGGER records_stay; DROP TRIGGER records_remain;").expect("drops");
    conn.execute_batch(sql).expect("the change itself works");
}

#[test]
fn records_survive_and_are_listed_beside_the_engine() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let journal = journal_of(5, dir.path());
    assert_eq!(verify(dir.path()).expect("holds").records, 5);
    let newest = list(dir.path(), 2).expect("lists");
    assert_eq!(newest.iter().map(|record| record.seq).collect::<Vec<_>>(), [4, 5]);
    let mut out = Vec::new();
    assert_eq!(export(dir.path(), &mut out).expect("exports"), 5);
    assert_eq!(String::from_utf8_lossy(&out).lines().count(), 5);
    drop(journal);
    let (_, entries) = Journal::open(dir.path()).expect("opens again");
    assert_eq!(entries, (1..=5).map(entry).collect::<Vec<_>>());
}

#[test]
fn the_table_itself_refuses_a_change() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let _journal = journal_of(2, dir.path());
    let conn = Connection::open(dir.path().join("journal.sqlite3")).expect("opens");
    for sql in ["UPDATE records SET body = 'x'", "DELETE FROM records"] {
        let error = conn.execute_batch(sql).expect_err("refused");
        assert!(error.to_string().contains("never"), "{error}");
    }
}

#[test]
fn a_start_reads_on_from_a_checkpoint_that_fits() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut journal = journal_of(8_000, dir.path());
    assert_eq!(checkpoint::seq(dir.path()), 0);
    checkpoint::renew(dir.path()).expect("is written");
    assert_eq!(checkpoint::seq(dir.path()), 8_000);
    assert_eq!(journal.append(&entry(8_001), false), Appended::Durable);
    drop(journal);
    let start = |dir: &Path| Journal::open(dir).map(|(_, entries)| entries);
    let entries = start(dir.path()).expect("opens");
    assert_eq!(entries, (6_001..=8_001).map(entry).collect::<Vec<_>>(), "the newest are kept");
    checkpoint::renew(dir.path()).expect("is written anew");
    assert_eq!(checkpoint::seq(dir.path()), 8_001);

    // What stands before it is for `verify`; without it a start reads all again.
    tamper(dir.path(), "UPDATE records SET body = replace(body, 'e', 'f') WHERE seq = 3");
    assert_eq!(start(dir.path()).expect("opens").len(), 2_000);
    assert_eq!(verify(dir.path()).expect_err("was changed").seq, 3);
    let path = dir.path().join("journal.checkpoint");
    let whole = fs::read_to_string(&path).expect("reads");
    let other = whole.replacen("8001", "8000", 1);
    let cut = &whole[..whole.len() - 1];
    for damaged in ["", "x", "{}\n", cut, &other, &whole.replacen("e7001", "e7002", 1)] {
        fs::write(&path, damaged).expect("writes");
        let failure = start(dir.path()).expect_err("reads all");
        assert!(failure.text.display().contains("record 3"), "{}", failure.text);
    }
}

#[test]
fn verify_names_the_first_broken_record() {
    let check = |sql: &str, seq: u64| {
        let dir = tempfile::tempdir().expect("a temporary directory");
        drop(journal_of(6, dir.path()));
        tamper(dir.path(), sql);
        let broken = verify(dir.path()).expect_err(sql);
        assert_eq!(broken.seq, seq, "{sql}: {}", broken.why);
        assert!(Journal::open(dir.path()).is_err(), "{sql}");
    };
    check("UPDATE records SET body = replace(body, '3', '4') WHERE seq = 3", 3);
    check("DELETE FROM records WHERE seq = 4", 4);
    check("DELETE FROM records WHERE seq = 1", 1);
    check("DELETE FROM records WHERE seq >= 5", 5);
    check("DELETE FROM records", 1);
    check("INSERT INTO records SELECT 0, body, prev, hash FROM records WHERE seq = 1", 1);
    check("INSERT INTO records SELECT 7, body, prev, hash FROM records WHERE seq = 6", 7);
    check(
        "UPDATE records SET seq = 99 WHERE seq = 2; UPDATE records SET seq = 2 WHERE seq = 3; \
         UPDATE records SET seq = 3 WHERE seq = 99",
        2,
    );
    check("UPDATE records SET body = x'ff' WHERE seq = 2", 2);
}

#[test]
fn a_locked_journal_says_so() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut journal = journal_of(1, dir.path());
    let other = Connection::open(dir.path().join("journal.sqlite3")).expect("opens");
    other.execute_batch("BEGIN IMMEDIATE").expect("takes the lock");
    let answer = journal.append(&entry(2), false);
    assert!(
        matches!(&answer, Appended::Failed { why } if why.display().contains("lock")),
        "{answer:?}"
    );
    assert!(matches!(journal.append(&entry(3), true), Appended::Spooled { .. }));
    other.execute_batch("ROLLBACK").expect("lets go");
    assert_eq!(journal.append(&entry(4), false), Appended::Durable);
    assert_eq!(journal.spooled(), 0);
    drop(journal);
    let (_, entries) = Journal::open(dir.path()).expect("opens");
    assert_eq!(entries, [entry(1), entry(3), entry(4)], "the spooled entry came first");
}

#[test]
fn a_spool_is_merged_when_the_journal_opens() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut journal = journal_of(1, dir.path());
    let other = Connection::open(dir.path().join("journal.sqlite3")).expect("opens");
    other.execute_batch("BEGIN IMMEDIATE").expect("takes the lock");
    assert!(matches!(journal.append(&entry(2), true), Appended::Spooled { .. }));
    drop(journal);
    other.execute_batch("ROLLBACK").expect("lets go");
    let (journal, entries) = Journal::open(dir.path()).expect("opens");
    assert_eq!(entries, [entry(1), entry(2)]);
    assert_eq!(journal.spooled(), 0);
}

#[test]
fn a_damaged_file_names_the_remedy() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    fs::write(dir.path().join("journal.sqlite3"), "garbage ".repeat(1000)).expect("writes");
    let failure = Journal::open(dir.path()).err().expect("refused");
    assert_eq!(failure.kind, FailureKind::Malformed, "{}", failure.text);
    assert!(failure.text.display().contains("move journal.* away"), "{}", failure.text);
    assert_eq!(verify(dir.path()).expect_err("refused").seq, 0);
}

#[test]
fn a_missing_journal_is_not_an_empty_one() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    assert!(list(dir.path(), 10).is_err());
    assert!(verify(dir.path()).is_err());
}

/// Opens it as an engine does: two entries are known, safety is spooled, exposure is refused.
fn goes_on_without(dir: &Path, part: &str) -> Journal {
    let (mut journal, entries) = Journal::open_or_spool(dir);
    assert_eq!(entries, [entry(1), entry(2)], "what can be read is known");
    refuses_exposure(&mut journal, dir, part);
    assert!(matches!(journal.append(&entry(4), true), Appended::Spooled { .. }));
    assert_eq!(waiting(dir).expect("reads").entries, [entry(4)]);
    journal
}

/// The text names the place and what helps.
fn refuses_exposure(journal: &mut Journal, dir: &Path, part: &str) {
    let answer = journal.append(&entry(3), false);
    let Appended::Failed { why } = &answer else { panic!("{answer:?}") };
    let (text, place) = (why.display(), dir.display().to_string());
    assert!(text.contains(part) && text.contains(&place), "{text} lacks {part:?} or {place}");
}

/// Once the journal takes records again, the very next one is durable.
fn goes_on_with(mut journal: Journal, dir: &Path) {
    assert_eq!(journal.append(&entry(5), false), Appended::Durable);
    assert_eq!(waiting(dir).expect("reads"), Waiting::default());
    drop(journal);
    let (_, entries) = Journal::open(dir).expect("opens");
    assert_eq!(entries, [entry(1), entry(2), entry(4), entry(5)]);
    assert!(!verify(dir).expect("holds").headless);
}

#[test]
fn a_journal_locked_at_the_start_is_read_and_spooled() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    drop(journal_of(2, dir.path()));
    let other = Connection::open(dir.path().join("journal.sqlite3")).expect("opens");
    other.execute_batch("BEGIN IMMEDIATE").expect("takes the lock");
    let failure = Journal::open(dir.path()).err().expect("locked");
    assert!(failure.text.display().contains("another process holds its lock"), "{}", failure.text);
    let journal = goes_on_without(dir.path(), "another process holds its lock");
    other.execute_batch("ROLLBACK").expect("lets go");
    goes_on_with(journal, dir.path());
}

#[test]
fn a_journal_that_may_not_be_written_is_read_and_spooled() {
    const TEST: &str = "a_journal_that_may_not_be_written_is_read_and_spooled";
    if nobody::ran_as_nobody(&[TEST]) {
        return;
    }
    let remedy = "give the engine's user";
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("journal.sqlite3");
    drop(journal_of(2, dir.path()));
    nobody::mode(&file, 0o400);
    let journal = goes_on_without(dir.path(), remedy);
    nobody::mode(&file, 0o600);
    goes_on_with(journal, dir.path());

    let dir = tempfile::tempdir().expect("a temporary directory");
    drop(journal_of(2, dir.path()));
    nobody::mode(dir.path(), 0o500);
    let journal = goes_on_without(dir.path(), remedy);
    nobody::mode(dir.path(), 0o700);
    goes_on_with(journal, dir.path());
}

#[test]
fn a_corrupt_journal_keeps_nobody_from_a_rollback() {
    let check = |damage: &dyn Fn(&Path), part: &str| {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("journal.sqlite3");
        drop(journal_of(150, dir.path()));
        damage(&path);
        let failure = Journal::open(dir.path()).err().expect("refused");
        assert!(failure.text.display().contains(part), "{}", failure.text);
        let before = fs::read(&path).expect("reads");
        let (mut journal, entries) = Journal::open_or_spool(dir.path());
        assert_eq!(entries, [], "half a journal is not folded");
        refuses_exposure(&mut journal, dir.path(), "keep it as evidence");
        assert!(matches!(journal.append(&entry(1004), true), Appended::Spooled { .. }));
        assert_eq!(fs::read(&path).expect("reads"), before, "evidence stays as it is");
        assert_eq!(waiting(dir.path()).expect("reads").entries, [entry(1004)]);
        // What the text asks for.
        for name in
            ["journal.sqlite3", "journal.sqlite3-wal", "journal.sqlite3-shm", "journal.head"]
        {
            let _ = fs::remove_file(dir.path().join(name));
        }
        assert_eq!(journal.append(&entry(1005), false), Appended::Durable);
        drop(journal);
        let (_, entries) = Journal::open(dir.path()).expect("opens");
        assert_eq!(entries, [entry(1004), entry(1005)]);
    };
    let over = |at: u64, bytes: &'static [u8]| {
        move |path: &Path| {
            let file = fs::OpenOptions::new().write(true).open(path).expect("opens");
            file.write_all_at(bytes, at).expect("writes");
        }
    };
    check(&over(0, &[0x20; 200]), "not a database");
    check(&over(4096 * 8, &[0x5a; 4096]), "broken at record");
    check(&over(4096, &[0; 4096]), "broken at record");
    check(
        &|path| {
            let file = fs::OpenOptions::new().write(true).open(path).expect("opens");
            file.set_len(4096 * 3).expect("cuts");
        },
        "keep it as evidence",
    );
    check(&|path| fs::write(path, "").expect("writes"), "cut short");
}

#[test]
fn a_journal_taken_away_while_it_is_in_use_is_noticed() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (path, away) = (dir.path().join("journal.sqlite3"), dir.path().join("away"));
    let mut journal = journal_of(2, dir.path());
    fs::rename(&path, &away).expect("moves");
    refuses_exposure(&mut journal, dir.path(), "taken away");
    assert!(matches!(journal.append(&entry(4), true), Appended::Spooled { .. }));
    assert!(!path.exists(), "nothing is put in its place");
    fs::rename(&away, &path).expect("moves");
    goes_on_with(journal, dir.path());
}

#[test]
fn a_missing_head_is_said_and_goes_on_record() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    drop(journal_of(3, dir.path()));
    fs::remove_file(dir.path().join("journal.head")).expect("removes");
    assert!(verify(dir.path()).expect("the chain holds").headless);
    let (journal, entries) = Journal::open(dir.path()).expect("opens");
    assert_eq!(entries.len(), 4);
    let note = engine::line(&entries[3]);
    assert!(note.text.display().contains("journal.head was missing"), "{}", note.text);
    drop(journal);
    assert!(!verify(dir.path()).expect("holds").headless);
    // The same where the journal was locked when it was looked for.
    let dir = tempfile::tempdir().expect("a temporary directory");
    drop(journal_of(2, dir.path()));
    fs::remove_file(dir.path().join("journal.head")).expect("removes");
    let other = Connection::open(dir.path().join("journal.sqlite3")).expect("opens");
    other.execute_batch("BEGIN IMMEDIATE").expect("takes the lock");
    let (mut journal, _) = Journal::open_or_spool(dir.path());
    other.execute_batch("ROLLBACK").expect("lets go");
    assert_eq!(journal.append(&entry(3), false), Appended::Durable);
    drop(journal);
    let (_, entries) = Journal::open(dir.path()).expect("opens");
    assert_eq!((entries.len(), &entries[3]), (4, &entry(3)));
    assert!(engine::line(&entries[2]).text.display().contains("journal.head was missing"));
    // An empty journal has a head from the start, so its absence tells something later.
    let dir = tempfile::tempdir().expect("a temporary directory");
    drop(journal_of(0, dir.path()));
    assert!(dir.path().join("journal.head").exists());
}

#[test]
fn a_spool_line_that_cannot_be_read_is_counted_and_kept() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    drop(journal_of(1, dir.path()));
    let spool = dir.path().join("spool.jsonl");
    let line = format!("{{broken\n{}\n", serde_json::to_string(&entry(2)).expect("an entry"));
    let file = fs::OpenOptions::new().write(true).open(&spool).expect("opens");
    file.write_all_at(line.as_bytes(), 0).expect("writes");
    let found = waiting(dir.path()).expect("reads");
    assert_eq!((found.entries, found.unreadable), (vec![entry(2)], 1));
    let (_, entries) = Journal::open(dir.path()).expect("opens");
    assert_eq!(entries, [entry(1), entry(2)]);
    assert_eq!(waiting(dir.path()).expect("reads"), Waiting::default());
    let kept = fs::read_to_string(dir.path().join("spool.unreadable")).expect("kept");
    assert!(kept.contains("{broken"));
}

#[test]
fn the_head_lags_only_so_far_and_never_leads() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (mut journal, _) = Journal::open(dir.path()).expect("opens");
    let head = || {
        let text = fs::read_to_string(dir.path().join("journal.head")).expect("reads");
        let value: serde_json::Value = serde_json::from_str(&text).expect("an object");
        value["seq"].as_u64().expect("a number")
    };
    let mut lagged = false;
    for n in 1..=130 {
        assert_eq!(journal.append(&entry(n), false), Appended::Durable);
        let behind = journal.chain().seq - head();
        assert!(behind < 64, "{behind} behind at {n}");
        lagged |= behind > 0;
        assert_eq!(journal.lags(), behind > 0);
    }
    assert!(lagged, "an append does not wait for the head");
    journal.settle();
    assert_eq!((head(), journal.lags()), (130, false));
    assert!(verify(dir.path()).is_ok());
}
