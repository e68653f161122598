//! The journal against damage: every kind has a clear answer, and nothing is lost in silence.

use std::fs;
use std::path::Path;

use engine::Appended;
use engine::record::{Entry, Event};
use engine::types::{Actor, FailureKind};
use quarterdeck::io::journal::sqlite::Journal;
use quarterdeck::io::journal::{export, list, verify};
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
    for n in 1..=count {
        assert_eq!(journal.append(&entry(n), false), Appended::Durable);
    }
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
    assert!(failure.text.display().contains("move it away"), "{}", failure.text);
    assert_eq!(verify(dir.path()).expect_err("refused").seq, 0);
}

#[test]
fn a_missing_journal_is_not_an_empty_one() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    assert!(list(dir.path(), 10).is_err());
    assert!(verify(dir.path()).is_err());
}
