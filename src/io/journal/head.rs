//! The end of the chain in a second file, so that a journal cut short is seen.
//!
//! Decides nothing. Contract: it never runs ahead of the journal, and a head that was stored
//! survives a loss of power.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use engine::record::Chain;

pub const NAME: &str = "journal.head";

/// `None` when there is none yet, or no more.
pub fn load(dir: &Path) -> Result<Option<Chain>, String> {
    let path = dir.join(NAME);
    match fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(text.trim())
            .map(Some)
            .map_err(|error| format!("{} is unreadable: {error}", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

/// Replaces the whole file at once.
pub fn store(dir: &Path, chain: &Chain) -> std::io::Result<()> {
    let new = dir.join(".journal.head.new");
    let text = serde_json::to_string(chain)?;
    let mut file = File::create(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_data()?;
    fs::rename(&new, dir.join(NAME))?;
    // Without this a rename may be undone by a loss of power.
    File::open(dir)?.sync_all()
}
