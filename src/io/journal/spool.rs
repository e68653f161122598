//! A reserve beside the journal: a change toward safety is remembered even on a full disk.
//!
//! Decides nothing. Never grows: its bytes are written once, before they are needed. Contract: an
//! entry that was added is durable and stays until [`Spool::clear`].

use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use engine::record::Entry;

/// Room for about a hundred rollbacks.
const SPOOL_BYTES: usize = 64 * 1024;

pub fn place(dir: &Path) -> PathBuf {
    dir.join("spool.jsonl")
}

/// The entries of a spool that an engine may have open, and how many lines are unreadable.
pub fn read(dir: &Path) -> std::io::Result<(Vec<Entry>, usize)> {
    let mut bytes = Vec::new();
    match File::open(place(dir)) {
        Ok(file) => file.take(SPOOL_BYTES as u64).read_to_end(&mut bytes)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    let (_, entries, unreadable) = parse(&bytes);
    Ok((entries, unreadable))
}

/// The length of the whole lines, what they say, and how many say nothing.
fn parse(bytes: &[u8]) -> (usize, Vec<Entry>, usize) {
    // A torn last line was never acknowledged: it is left out and overwritten.
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |place| place + 1);
    let text = String::from_utf8_lossy(&bytes[..whole]);
    let entries: Vec<Entry> =
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let unreadable = text.lines().count() - entries.len();
    (whole, entries, unreadable)
}

pub struct Spool {
    file: File,
    used: usize,
    entries: Vec<Entry>,
}

impl Spool {
    pub fn open(dir: &Path) -> std::io::Result<Spool> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(place(dir))?;
        let mut bytes = Vec::new();
        (&mut file).take(SPOOL_BYTES as u64).read_to_end(&mut bytes)?;
        if bytes.len() < SPOOL_BYTES {
            let missing = vec![0; SPOOL_BYTES - bytes.len()];
            file.write_all_at(&missing, bytes.len() as u64)?;
            file.sync_all()?;
        }
        let (whole, entries, unreadable) = parse(&bytes);
        if unreadable > 0 {
            // The next merge clears the spool; the copy stays as evidence.
            let _ = std::fs::copy(place(dir), dir.join("spool.unreadable"));
        }
        Ok(Spool { file, used: whole, entries })
    }

    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub fn add(&mut self, entry: &Entry) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        if self.used + line.len() > SPOOL_BYTES {
            return Err(std::io::Error::other("the spool is full"));
        }
        self.file.write_all_at(&line, self.used as u64)?;
        self.file.sync_data()?;
        self.used += line.len();
        self.entries.push(entry.clone());
        Ok(())
    }

    pub fn clear(&mut self) -> std::io::Result<()> {
        if self.used > 0 {
            self.file.write_all_at(&vec![0; self.used], 0)?;
            self.file.sync_data()?;
            self.used = 0;
        }
        self.entries.clear();
        Ok(())
    }
}
