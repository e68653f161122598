//! Reading the journal: its chain, its head, its spool.
//!
//! Decides whether the records stand as they were written. Never writes, so that it works beside a
//! running engine and on evidence. Contract: `verify` names the first record that does not fit.

use std::io::Write;
use std::path::Path;

use engine::record::{Chain, Entry, Record};
use engine::types::{Failure, FailureKind};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row};

use super::sqlite::{BUSY_TIMEOUT, NAME, failure};
use super::{head, spool};

/// A journal that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub records: u64,
    pub head: String,
    /// There are records and no `journal.head`: records cut off the end would not be seen.
    pub headless: bool,
}

/// The first record that does not fit; 0 when the journal cannot be read at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    pub seq: u64,
    pub why: String,
}

/// What waits beside the journal to be merged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    pub entries: Vec<Entry>,
    /// Lines of the spool that cannot be read; an engine keeps them in `spool.unreadable`.
    pub unreadable: usize,
}

pub(super) fn connect(dir: &Path) -> Result<Connection, Failure> {
    let path = dir.join(NAME);
    if !path.exists() {
        let text = format!("there is no journal in {}; is it the state directory?", dir.display());
        return Err(Failure::new(FailureKind::Unreachable, text));
    }
    let open = |name: &str| -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_URI;
        let conn = Connection::open_with_flags(name, flags)?;
        conn.busy_timeout(BUSY_TIMEOUT)?;
        // The file is only looked at by the first question.
        conn.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        Ok(conn)
    };
    let name = uri(&path);
    let as_it_lies = format!("{name}?immutable=1");
    let log = std::fs::metadata(dir.join(format!("{NAME}-wal"))).map_or(0, |log| log.len());
    // A reader would leave files beside it that are as read-only as the journal is, and in its
    // way when it is not any more.
    let fixed = rustix::fs::access(&path, rustix::fs::Access::WRITE_OK).is_err();
    if fixed && log == 0 {
        return open(&as_it_lies).map_err(|error| failure(dir, &error));
    }
    open(&name).or_else(|error| match log {
        0 => open(&as_it_lies).map_err(|_| failure(dir, &error)),
        _ => Err(failure(dir, &error)),
    })
}

fn uri(path: &Path) -> String {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut uri = "file:".to_owned();
    for byte in std::os::unix::ffi::OsStrExt::as_bytes(absolute.as_os_str()) {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'_' | b'-' => {
                uri.push(char::from(*byte));
            }
            _ => uri.push_str(&format!("%{byte:02x}")),
        }
    }
    uri
}

/// Feeds every record after the chain's end, in order, through the chain.
pub(super) fn walk(
    conn: &Connection,
    chain: &mut Chain,
    mut each: impl FnMut(Record) -> Result<(), String>,
) -> Result<(), Broken> {
    let start = chain.seq;
    let whole = |error: rusqlite::Error| Broken { seq: 0, why: error.to_string() };
    // A record before the first would never be reached by the chain.
    let below = if start == 0 { i64::MIN } else { i64::try_from(start).unwrap_or(i64::MAX) };
    let mut statement = conn
        .prepare("SELECT seq, body, prev, hash FROM records WHERE seq > ? ORDER BY seq")
        .map_err(whole)?;
    let mut rows = statement.query([below]).map_err(whole)?;
    loop {
        let seq = chain.seq + 1;
        let broken = |why: String| Broken { seq, why };
        match rows.next() {
            Ok(Some(row)) => {
                let record = record(row)
                    .map_err(|error| broken(format!("record {seq} is unreadable: {error}")))?;
                chain.accept(&record).map_err(broken)?;
                each(record).map_err(broken)?;
            }
            Ok(None) => return Ok(()),
            Err(error) => return Err(broken(error.to_string())),
        }
    }
}

fn record(row: &Row<'_>) -> rusqlite::Result<Record> {
    let seq: i64 = row.get(0)?;
    Ok(Record {
        seq: u64::try_from(seq).unwrap_or_default(),
        body: row.get(1)?,
        prev: row.get(2)?,
        hash: row.get(3)?,
    })
}

/// The head may lag behind the chain, never lead it or differ from it.
pub(super) fn check_head(
    head: Option<&Chain>,
    conn: &Connection,
    chain: &Chain,
) -> Result<(), Broken> {
    let Some(head) = head else { return Ok(()) };
    if head.seq > chain.seq {
        let why = format!(
            "the journal was cut short: it ends at record {}, journal.head knows {}",
            chain.seq, head.seq
        );
        return Err(Broken { seq: chain.seq + 1, why });
    }
    if head.seq > 0 && hash_at(conn, head.seq).as_deref() != Some(head.head.as_str()) {
        let why = format!("record {} is not the one that journal.head knows", head.seq);
        return Err(Broken { seq: head.seq, why });
    }
    Ok(())
}

/// Checks the whole chain and its head, beside a running engine.
pub fn verify(dir: &Path) -> Result<Report, Broken> {
    let unreadable = |failure: Failure| Broken { seq: 0, why: failure.text.display().to_owned() };
    let conn = connect(dir).map_err(unreadable)?;
    // The head comes first: a running engine may append while the records are walked.
    let head = head::load(dir).map_err(|why| Broken { seq: 0, why })?;
    let mut chain = Chain::default();
    walk(&conn, &mut chain, |_| Ok(()))?;
    check_head(head.as_ref(), &conn, &chain)?;
    let headless = head.is_none() && chain.seq > 0;
    Ok(Report { records: chain.seq, head: chain.head, headless })
}

/// What is in the spool and not in the records, whatever state they are in.
pub fn waiting(dir: &Path) -> Result<Waiting, Failure> {
    let (entries, unreadable) = spool::read(dir).map_err(|error| {
        let text = format!("cannot read the spool {}: {error}", spool::place(dir).display());
        Failure::new(FailureKind::Denied, text)
    })?;
    let conn = connect(dir).ok();
    let merged =
        |entry: &Entry| conn.as_ref().is_some_and(|conn| holds(conn, &entry.id).unwrap_or(false));
    Ok(Waiting { entries: entries.into_iter().filter(|e| !merged(e)).collect(), unreadable })
}

/// Writes every record as one line of JSON.
pub fn export(dir: &Path, mut out: impl Write) -> Result<u64, Failure> {
    let conn = connect(dir)?;
    let mut chain = Chain::default();
    walk(&conn, &mut chain, |record| {
        let line = serde_json::to_string(&record).map_err(|error| error.to_string())?;
        writeln!(out, "{line}").map_err(|error| error.to_string())
    })
    .map_err(|broken| {
        let text = format!("export stopped before record {}: {}", broken.seq, broken.why);
        Failure::new(FailureKind::Malformed, text)
    })?;
    Ok(chain.seq)
}

/// Hands on every entry, oldest first; one that a newer program wrote in its own way is left out.
pub fn entries(dir: &Path, mut each: impl FnMut(&Entry)) -> Result<(), Failure> {
    let walked = walk(&connect(dir)?, &mut Chain::default(), |record| {
        if let Ok(entry) = record.entry() {
            each(&entry);
        }
        Ok(())
    });
    walked.map_err(|broken| {
        let text = format!("the journal does not hold at record {}: {}", broken.seq, broken.why);
        Failure::new(FailureKind::Malformed, text)
    })
}

/// The newest `limit` records, oldest first.
pub fn list(dir: &Path, limit: u32) -> Result<Vec<Record>, Failure> {
    let conn = connect(dir)?;
    let read = || -> rusqlite::Result<Vec<Record>> {
        let mut statement =
            conn.prepare("SELECT seq, body, prev, hash FROM records ORDER BY seq DESC LIMIT ?")?;
        statement.query_map([limit], record)?.collect()
    };
    let mut records = read().map_err(|error| failure(dir, &error))?;
    records.reverse();
    Ok(records)
}

pub(super) fn holds(conn: &Connection, id: &str) -> rusqlite::Result<bool> {
    conn.query_row("SELECT 1 FROM records WHERE body ->> '$.id' = ? LIMIT 1", [id], |_| Ok(()))
        .optional()
        .map(|found| found.is_some())
}

pub(super) fn hash_at(conn: &Connection, seq: u64) -> Option<String> {
    let seq = i64::try_from(seq).ok()?;
    conn.query_row("SELECT hash FROM records WHERE seq = ?", [seq], |row| row.get(0)).ok()
}
