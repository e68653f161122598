//! What a start needs of the records up to one of them, so that it need not read those.
//!
//! Decides nothing, and is believed only where it fits: the record it ends at is in the journal,
//! its own digest holds, and this build would keep the same. Never replaces a record: `verify`
//! reads them all. Contract: without it a start gives the same, only later.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;

use engine::needed::{NEWEST, Needed, RULES, needed};
use engine::record::{Chain, Entry, sha256_hex};
use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use super::read::{self, Broken, hash_at, walk};
use crate::io::wire;

const NAME: &str = "journal.checkpoint";

/// Some thousand entries; a file that is larger is none of ours.
const BYTES_MAX: u64 = 64 << 20;

#[derive(Serialize, Deserialize)]
struct Head {
    build: String,
    rules: u32,
    chain: Chain,
    /// SHA-256 of what follows.
    digest: String,
}

/// Where the records go on, and what is needed of those before: nothing of none, where no
/// checkpoint fits.
fn load(dir: &Path, conn: &Connection) -> (Chain, Vec<Entry>) {
    let fits = |(chain, _): &(Chain, Vec<Entry>)| {
        hash_at(conn, chain.seq).as_deref() == Some(chain.head.as_str())
    };
    parse(dir).filter(fits).unwrap_or_default()
}

/// The record at which the checkpoint ends; 0 where there is none for this build.
#[must_use]
pub fn seq(dir: &Path) -> u64 {
    let mut line = String::new();
    let read = File::open(dir.join(NAME))
        .and_then(|file| BufReader::new(file.take(BYTES_MAX)).read_line(&mut line));
    read.ok().and_then(|_| head(&line)).map_or(0, |head| head.chain.seq)
}

fn head(line: &str) -> Option<Head> {
    let head: Head = serde_json::from_str(line).ok()?;
    (head.build == wire::BUILD && head.rules == RULES).then_some(head)
}

fn parse(dir: &Path) -> Option<(Chain, Vec<Entry>)> {
    let mut text = String::new();
    File::open(dir.join(NAME)).ok()?.take(BYTES_MAX).read_to_string(&mut text).ok()?;
    let (line, rest) = text.split_once('\n')?;
    let head = head(line).filter(|head| head.digest == sha256_hex(rest.as_bytes()))?;
    let entries = rest.lines().map(serde_json::from_str).collect::<Result<_, _>>().ok()?;
    Some((head.chain, entries))
}

/// Reads on from the checkpoint that is there and writes a newer one, beside a running engine.
pub fn renew(dir: &Path) -> Result<(), String> {
    let conn = read::connect(dir).map_err(|failure| failure.text.display().to_owned())?;
    let (chain, entries) = read_on(&conn, dir).map_err(|broken| broken.why)?;
    store(dir, chain, &needed(entries?, NEWEST)).map_err(|error| error.to_string())
}

/// The end of the chain, and what is needed of all its records, or which of them cannot be read.
pub fn read_on(
    conn: &Connection,
    dir: &Path,
) -> Result<(Chain, Result<Vec<Entry>, String>), Broken> {
    let (mut chain, entries) = load(dir, conn);
    let mut kept = Ok(Needed::from(entries));
    walk(conn, &mut chain, |record| {
        if let Ok(needed) = &mut kept {
            match record.entry() {
                Ok(entry) => needed.push(entry),
                Err(why) => kept = Err(why),
            }
        }
        Ok(())
    })?;
    Ok((chain, kept.map(Needed::entries)))
}

fn store(dir: &Path, chain: Chain, entries: &[Entry]) -> std::io::Result<()> {
    let mut rest = String::new();
    for entry in entries {
        rest.push_str(&serde_json::to_string(entry)?);
        rest.push('\n');
    }
    let (build, digest) = (wire::BUILD.to_owned(), sha256_hex(rest.as_bytes()));
    let head = serde_json::to_string(&Head { build, rules: RULES, chain, digest })?;
    let new = dir.join(".journal.checkpoint.new");
    let mut file = File::create(&new)?;
    file.write_all(format!("{head}\n{rest}").as_bytes())?;
    file.sync_data()?;
    fs::rename(&new, dir.join(NAME))
}
