//! The journal in one SQLite file.
//!
//! Decides whether a record landed, after an error too. Never updates or deletes a row, and the
//! table itself refuses it. Contract: WAL with synchronous FULL, one writing connection; readers
//! open it read-only beside a running engine.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use engine::Appended;
use engine::record::{Chain, Entry, Record};
use engine::types::{Failure, FailureKind, Untrusted};
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Row, params};

use super::head;
use super::spool::Spool;

const NAME: &str = "journal.sqlite3";

/// Longer than any transaction of ours; a lock that stays is somebody else's.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS records (
    seq INTEGER PRIMARY KEY, body TEXT NOT NULL, prev TEXT NOT NULL, hash TEXT NOT NULL);
CREATE TRIGGER IF NOT EXISTS records_stay BEFORE UPDATE ON records
    BEGIN SELECT RAISE(ABORT, 'records are never changed'); END;
CREATE TRIGGER IF NOT EXISTS records_remain BEFORE DELETE ON records
    BEGIN SELECT RAISE(ABORT, 'records are never deleted'); END;";

pub struct Journal {
    conn: Connection,
    chain: Chain,
    dir: PathBuf,
    spool: Result<Spool, String>,
}

/// A journal that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub records: u64,
    pub head: String,
}

/// The first record that does not fit; 0 when the journal cannot be read at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    pub seq: u64,
    pub why: String,
}

impl Journal {
    /// Opens or makes the journal, checks its chain, merges the spool, and returns all entries.
    pub fn open(dir: &Path) -> Result<(Journal, Vec<Entry>), Failure> {
        let conn = connect(dir)?;
        let mut chain = Chain::default();
        let mut records = Vec::new();
        walk(&conn, &mut chain, |record| {
            records.push(record);
            Ok(())
        })
        .and_then(|()| {
            let head = head::load(dir).map_err(|why| Broken { seq: chain.seq, why })?;
            check_head(head.as_ref(), &conn, &chain)
        })
        .map_err(|broken| {
            let text = format!(
                "the journal in {} is broken at record {}: {}; keep it as evidence, move it away \
                 and start anew",
                dir.display(),
                broken.seq,
                broken.why
            );
            Failure::new(FailureKind::Malformed, text)
        })?;
        let spool = Spool::open(dir).map_err(|error| error.to_string());
        let mut journal = Journal { conn, chain, dir: dir.to_owned(), spool };
        let known = journal.chain.seq;
        if journal.spooled() > 0 {
            // What cannot be merged now stays in the spool for the next append.
            let _ = journal.append_all(&[]);
        }
        let mut merged = Chain { seq: known, head: journal.head_at(known) };
        let rest = walk(&journal.conn, &mut merged, |record| {
            records.push(record);
            Ok(())
        });
        rest.map_err(|broken| Failure::new(FailureKind::Malformed, broken.why))?;
        let entries = records.iter().map(Record::entry).collect::<Result<Vec<_>, _>>();
        let entries = entries.map_err(|why| {
            let text = format!("{why}; was it written by a newer version?");
            Failure::new(FailureKind::Malformed, text)
        })?;
        Ok((journal, entries))
    }

    #[must_use]
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// Entries that wait in the spool.
    #[must_use]
    pub fn spooled(&self) -> usize {
        self.spool.as_ref().map_or(0, |spool| spool.entries().len())
    }

    /// Appends one entry; with `safety` it may go to the spool.
    pub fn append(&mut self, entry: &Entry, safety: bool) -> Appended {
        self.append_all(&[(entry, safety)]).pop().unwrap_or(Appended::Durable)
    }

    /// Appends all in one transaction, what waits in the spool first; one answer for each.
    pub fn append_all(&mut self, entries: &[(&Entry, bool)]) -> Vec<Appended> {
        match self.commit(entries) {
            Ok(()) => vec![Appended::Durable; entries.len()],
            Err(why) => {
                entries.iter().map(|(entry, safety)| self.fall_back(entry, *safety, &why)).collect()
            }
        }
    }

    fn fall_back(&mut self, entry: &Entry, safety: bool, why: &str) -> Appended {
        if !safety {
            return Appended::Failed { why: Untrusted::new(why) };
        }
        let added = match &mut self.spool {
            Ok(spool) => spool.add(entry).map_err(|error| error.to_string()),
            Err(error) => Err(error.clone()),
        };
        match added {
            Ok(()) => Appended::Spooled { why: Untrusted::new(why) },
            Err(error) => {
                Appended::Failed { why: Untrusted::new(&format!("{why}; the spool too: {error}")) }
            }
        }
    }

    fn commit(&mut self, entries: &[(&Entry, bool)]) -> Result<(), String> {
        let say =
            |dir: &Path, error: &rusqlite::Error| failure(dir, error).text.display().to_owned();
        let mut chain = self.chain.clone();
        let mut records = Vec::new();
        let spooled: &[Entry] = self.spool.as_ref().map_or(&[], Spool::entries);
        for entry in spooled {
            // A crash between the merge and the clearing leaves entries that are already there.
            if !holds(&self.conn, &entry.id).map_err(|error| say(&self.dir, &error))? {
                seal(&mut chain, &mut records, entry)?;
            }
        }
        for (entry, _) in entries {
            seal(&mut chain, &mut records, entry)?;
        }
        if let Err(error) = insert(&mut self.conn, &records) {
            // An error of a commit says nothing about the disk: look.
            let landed = records.last().is_some_and(|last| self.head_at(last.seq) == last.hash);
            if !landed {
                return Err(say(&self.dir, &error));
            }
        }
        self.chain = chain;
        // The head may lag; the next append writes it again.
        let _ = head::store(&self.dir, &self.chain);
        if let Ok(spool) = &mut self.spool {
            let _ = spool.clear();
        }
        Ok(())
    }

    /// The hash stored for `seq`; of nothing for 0 or a missing record.
    fn head_at(&self, seq: u64) -> String {
        hash_at(&self.conn, seq).unwrap_or_else(|| Chain::default().head)
    }
}

fn seal(chain: &mut Chain, records: &mut Vec<Record>, entry: &Entry) -> Result<(), String> {
    let record = chain.seal(entry);
    chain.accept(&record)?;
    records.push(record);
    Ok(())
}

fn insert(conn: &mut Connection, records: &[Record]) -> rusqlite::Result<()> {
    let transaction = conn.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    {
        let mut statement = transaction
            .prepare_cached("INSERT INTO records (seq, body, prev, hash) VALUES (?, ?, ?, ?)")?;
        for record in records {
            let seq = i64::try_from(record.seq).unwrap_or(i64::MAX);
            statement.execute(params![seq, record.body, record.prev, record.hash])?;
        }
    }
    transaction.commit()
}

fn holds(conn: &Connection, id: &str) -> rusqlite::Result<bool> {
    conn.query_row("SELECT 1 FROM records WHERE body ->> '$.id' = ? LIMIT 1", [id], |_| Ok(()))
        .optional()
        .map(|found| found.is_some())
}

fn hash_at(conn: &Connection, seq: u64) -> Option<String> {
    let seq = i64::try_from(seq).ok()?;
    conn.query_row("SELECT hash FROM records WHERE seq = ?", [seq], |row| row.get(0)).ok()
}

fn connect(dir: &Path) -> Result<Connection, Failure> {
    let path = dir.join(NAME);
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(|error| {
            let text = format!(
                "cannot write the journal {}: {error}; give the engine's user that directory, or \
                 choose another with --state-dir",
                path.display()
            );
            Failure::new(FailureKind::Denied, text)
        })?;
    let open = || -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(&path, flags)?;
        conn.busy_timeout(BUSY_TIMEOUT)?;
        conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get::<_, String>(0))?;
        conn.execute_batch("PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF;")?;
        // Takes the write lock once: a journal that another process holds is found here.
        conn.execute_batch(&format!("BEGIN IMMEDIATE; {SCHEMA} COMMIT;"))?;
        Ok(conn)
    };
    open().map_err(|error| failure(dir, &error))
}

fn connect_to_read(dir: &Path) -> Result<Connection, Failure> {
    let path = dir.join(NAME);
    if !path.exists() {
        let text = format!("there is no journal in {}; is it the state directory?", dir.display());
        return Err(Failure::new(FailureKind::Unreachable, text));
    }
    let open = || -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(&path, flags)?;
        conn.busy_timeout(BUSY_TIMEOUT)?;
        Ok(conn)
    };
    open().map_err(|error| failure(dir, &error))
}

/// What went wrong, and what helps.
fn failure(dir: &Path, error: &rusqlite::Error) -> Failure {
    let path = dir.join(NAME);
    let shown = path.display();
    let (kind, remedy) = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            (FailureKind::Timeout, "another process holds its lock: end it, then try again")
        }
        Some(ErrorCode::DiskFull) => {
            (FailureKind::Refused, "the disk is full: make room, the next append goes on")
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => (
            FailureKind::Malformed,
            "it is damaged: keep it as evidence, move it away and start anew",
        ),
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => (
            FailureKind::Denied,
            "give the engine's user write permission for the directory, or choose --state-dir",
        ),
        Some(ErrorCode::SystemIoFailure) => {
            (FailureKind::Refused, "the disk answers with errors: look at the kernel's log")
        }
        Some(_) | None => (FailureKind::Refused, "look at the file with sqlite3"),
    };
    Failure::new(kind, format!("journal {shown}: {error}; {remedy}"))
}

/// Feeds every record after the chain's end, in order, through the chain.
fn walk(
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
fn check_head(head: Option<&Chain>, conn: &Connection, chain: &Chain) -> Result<(), Broken> {
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
    let conn = connect_to_read(dir).map_err(unreadable)?;
    // The head comes first: a running engine may append while the records are walked.
    let head = head::load(dir).map_err(|why| Broken { seq: 0, why })?;
    let mut chain = Chain::default();
    walk(&conn, &mut chain, |_| Ok(()))?;
    check_head(head.as_ref(), &conn, &chain)?;
    Ok(Report { records: chain.seq, head: chain.head })
}

/// Writes every record as one line of JSON.
pub fn export(dir: &Path, mut out: impl Write) -> Result<u64, Failure> {
    let conn = connect_to_read(dir)?;
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

/// The newest `limit` records, oldest first.
pub fn list(dir: &Path, limit: u32) -> Result<Vec<Record>, Failure> {
    let conn = connect_to_read(dir)?;
    let read = || -> rusqlite::Result<Vec<Record>> {
        let mut statement =
            conn.prepare("SELECT seq, body, prev, hash FROM records ORDER BY seq DESC LIMIT ?")?;
        statement.query_map([limit], record)?.collect()
    };
    let mut records = read().map_err(|error| failure(dir, &error))?;
    records.reverse();
    Ok(records)
}
