//! The journal in one SQLite file.
//!
//! Decides whether a record landed, after an error too. Never updates or deletes a row, and the
//! table itself refuses it. Contract: WAL with synchronous FULL, one writing connection; readers
//! open it read-only beside a running engine.

use std::fs::OpenOptions;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use engine::Appended;
use engine::record::{Chain, Entry, Event, Record};
use engine::types::{Actor, Failure, FailureKind, Untrusted};
use rusqlite::{Connection, ErrorCode, OpenFlags, params};

pub use super::read::{Broken, Report, Waiting, entries, export, list, verify, waiting};
use super::read::{check_head, hash_at, holds, walk};
use super::spool::{self, Spool};
use super::{checkpoint, head, read};

pub(super) const NAME: &str = "journal.sqlite3";

/// Longer than any transaction of ours; a lock that stays is somebody else's. Well below the
/// engine's patience, so that a rollback is in the spool before it is sent.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_millis(500);

/// Records that the head may be behind: more than one operation writes, however busy it is.
const HEAD_LAG_MAX: u64 = 64;

/// Records between two checkpoints: what a start reads of them takes it some 50 ms.
const CHECKPOINT_EVERY: u64 = 5_000;

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS records (
    seq INTEGER PRIMARY KEY, body TEXT NOT NULL, prev TEXT NOT NULL, hash TEXT NOT NULL);
CREATE TRIGGER IF NOT EXISTS records_stay BEFORE UPDATE ON records
    BEGIN SELECT RAISE(ABORT, 'records are never changed'); END;
CREATE TRIGGER IF NOT EXISTS records_remain BEFORE DELETE ON records
    BEGIN SELECT RAISE(ABORT, 'records are never deleted'); END;";

pub struct Journal {
    /// Or why there is none; every append tries again.
    conn: Result<Connection, Failure>,
    chain: Chain,
    /// Records that the head was told of.
    settled: u64,
    /// Records that the checkpoint was told of.
    checkpointed: u64,
    dir: PathBuf,
    /// Device and inode of the file that is open: a file moved away is written to no more.
    file: Option<(u64, u64)>,
    spool: Result<Spool, String>,
}

/// A journal that was read from its first record to its last.
struct Loaded {
    conn: Connection,
    chain: Chain,
    /// What a start needs of them.
    entries: Result<Vec<Entry>, String>,
    headless: bool,
}

impl Journal {
    /// Opens or makes the journal, checks its chain from the last checkpoint on, merges the spool,
    /// and returns the entries that a start needs.
    pub fn open(dir: &Path) -> Result<(Journal, Vec<Entry>), Failure> {
        let Loaded { conn, chain, entries, headless } = load(dir)?;
        let mut entries = entries.map_err(|why| newer(&why))?;
        let file = identity(dir);
        let known = chain.clone();
        let mut journal = Journal {
            conn: Ok(conn),
            settled: chain.seq,
            checkpointed: checkpoint::seq(dir),
            chain,
            dir: dir.to_owned(),
            file,
            spool: open_spool(dir),
        };
        let notes: Vec<Entry> = headless.then(|| headless_note(dir, &known)).into_iter().collect();
        if journal.spooled() > 0 || headless {
            // What cannot be merged now stays in the spool for the next append.
            let all: Vec<(&Entry, bool)> = notes.iter().map(|entry| (entry, false)).collect();
            let _ = journal.append_all(&all);
        }
        if journal.lags() || known.seq == 0 {
            // From now on a head that is missing was taken away.
            journal.settle();
        }
        let mut merged = known;
        if let Ok(conn) = &journal.conn {
            walk(conn, &mut merged, |record| {
                entries.push(record.entry()?);
                Ok(())
            })
            .map_err(|broken| Failure::new(FailureKind::Malformed, broken.why))?;
        }
        Ok((journal, entries))
    }

    /// As `open`; a journal that cannot be opened refuses every entry but those toward safety,
    /// which go to the spool. What can be read of it, and the spool, is returned: a rollback must
    /// work on a broken disk too.
    #[must_use]
    pub fn open_or_spool(dir: &Path) -> (Journal, Vec<Entry>) {
        let failure = match Journal::open(dir) {
            Ok(opened) => return opened,
            Err(failure) => failure,
        };
        let spool = open_spool(dir);
        let (chain, mut entries) = read_whole(dir).unwrap_or_default();
        for entry in spool.as_ref().map_or(&[][..], Spool::entries) {
            if entries.iter().all(|known| known.id != entry.id) {
                entries.push(entry.clone());
            }
        }
        let (conn, settled, dir) = (Err(failure), chain.seq, dir.to_owned());
        let checkpointed = settled;
        let journal = Journal { conn, chain, settled, checkpointed, dir, file: None, spool };
        (journal, entries)
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
        let note = self.reopen();
        let conn = self.conn.as_mut().map_err(|failure| failure.text.display().to_owned())?;
        let mut chain = self.chain.clone();
        let mut records = Vec::new();
        let spooled: &[Entry] = self.spool.as_ref().map_or(&[], Spool::entries);
        for entry in spooled {
            // A crash between the merge and the clearing leaves entries that are already there.
            if !holds(conn, &entry.id).map_err(|error| say(&self.dir, &error))? {
                seal(&mut chain, &mut records, entry)?;
            }
        }
        for entry in note.iter().chain(entries.iter().map(|(entry, _)| *entry)) {
            seal(&mut chain, &mut records, entry)?;
        }
        if let Err(error) = insert(conn, &records) {
            // An error of a commit says nothing about the disk: look.
            let stored = |last: &Record| hash_at(conn, last.seq).as_ref() == Some(&last.hash);
            if !records.last().is_some_and(stored) {
                return Err(say(&self.dir, &error));
            }
        }
        self.chain = chain;
        if self.chain.seq - self.settled >= HEAD_LAG_MAX {
            self.settle();
        }
        if let Ok(spool) = &mut self.spool {
            let _ = spool.clear();
        }
        Ok(())
    }

    /// Whether the head waits to be written.
    #[must_use]
    pub fn lags(&self) -> bool {
        self.settled != self.chain.seq
    }

    /// Writes the head; for when nobody waits for an append. It may stay behind, where it cannot be
    /// written: the next one says more.
    pub fn settle(&mut self) {
        let _ = head::store(&self.dir, &self.chain);
        self.settled = self.chain.seq;
    }

    /// Has a new checkpoint written when the last one is far behind; for when nobody waits. Without
    /// it the next start takes longer, and that is all.
    pub fn keep_checkpoint(&mut self) {
        if self.chain.seq.saturating_sub(self.checkpointed) < CHECKPOINT_EVERY {
            return;
        }
        self.checkpointed = self.chain.seq;
        let dir = self.dir.clone();
        let renew = move || drop(checkpoint::renew(&dir));
        let _ = std::thread::Builder::new().name("checkpoint".to_owned()).spawn(renew);
    }

    /// Opens the journal anew where it could not be opened or its file was moved. It must end where
    /// this one ends: records that the engine has not read may say something else than it does.
    /// Returns what to note of it.
    fn reopen(&mut self) -> Option<Entry> {
        if self.conn.is_ok() && identity(&self.dir) == self.file {
            return None;
        }
        let path = self.dir.join(NAME);
        let found = if self.chain.seq > 0 && !path.exists() {
            let text = format!(
                "the journal {} was taken away: put it back, or end the engine",
                path.display()
            );
            Err(Failure::new(FailureKind::Unreachable, text))
        } else {
            load(&self.dir)
        };
        let mut headless = false;
        let opened = found.and_then(|loaded| {
            if loaded.chain == self.chain {
                headless = loaded.headless;
                return Ok(loaded.conn);
            }
            let text = format!(
                "the journal {} has {} records, this engine knows {}: end the engine, the next \
                 one starts with what is there",
                path.display(),
                loaded.chain.seq,
                self.chain.seq
            );
            Err(Failure::new(FailureKind::Refused, text))
        });
        self.file = opened.is_ok().then(|| identity(&self.dir)).flatten();
        self.conn = opened;
        if self.spool.is_err() {
            self.spool = open_spool(&self.dir);
        }
        let note = headless.then(|| headless_note(&self.dir, &self.chain));
        if self.conn.is_ok() {
            // A new journal has a head from its first record on.
            self.settle();
        }
        note
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        if self.lags() {
            self.settle();
        }
    }
}

fn load(dir: &Path) -> Result<Loaded, Failure> {
    let conn = connect(dir)?;
    let (chain, entries, headless) = read_all(&conn, dir).map_err(|broken| {
        let text = format!(
            "the journal in {} is broken at record {}: {}; keep it as evidence: move {NAME}* and \
             {} away, the next record starts a new one",
            dir.display(),
            broken.seq,
            broken.why,
            head::NAME
        );
        Failure::new(FailureKind::Malformed, text)
    })?;
    Ok(Loaded { conn, chain, entries, headless })
}

type Whole = (Chain, Result<Vec<Entry>, String>, bool);

fn read_all(conn: &Connection, dir: &Path) -> Result<Whole, Broken> {
    let (chain, entries) = checkpoint::read_on(conn, dir)?;
    let head = head::load(dir).map_err(|why| Broken { seq: chain.seq, why })?;
    check_head(head.as_ref(), conn, &chain)?;
    let headless = head.is_none() && chain.seq > 0;
    Ok((chain, entries, headless))
}

/// What a journal says that can be read whole, though not written.
fn read_whole(dir: &Path) -> Option<(Chain, Vec<Entry>)> {
    let conn = read::connect(dir).ok()?;
    let (chain, entries, _) = read_all(&conn, dir).ok()?;
    Some((chain, entries.ok()?))
}

fn newer(why: &str) -> Failure {
    let text = format!("{why}; was it written by a newer version?");
    Failure::new(FailureKind::Malformed, text)
}

fn open_spool(dir: &Path) -> Result<Spool, String> {
    let shown = spool::place(dir);
    Spool::open(dir).map_err(|error| format!("{}: {error}", shown.display()))
}

/// On record because the next append makes a new head, and nobody could see it any more.
fn headless_note(dir: &Path, chain: &Chain) -> Entry {
    let at = crate::io::clock::now().wall;
    let name = format!(
        "{} was missing: whether records after {} were cut off cannot be told",
        dir.join(head::NAME).display(),
        chain.seq
    );
    Entry {
        id: format!("headless-{}-{}", chain.seq, at.timestamp_micros()),
        at,
        actor: Actor::engine(),
        event: Event::IncidentOpened {
            key: "journal.head".to_owned(),
            name: Untrusted::new(&name),
            severity: "high".to_owned(),
        },
    }
}

fn identity(dir: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(dir.join(NAME)).ok().map(|meta| (meta.dev(), meta.ino()))
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

/// What went wrong, and what helps.
pub(super) fn failure(dir: &Path, error: &rusqlite::Error) -> Failure {
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
            "it is damaged: keep it as evidence: move journal.* away, the next record starts a \
             new one",
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
