//! Reading the journal from the command line.
//!
//! Decides how it is printed. Never writes to it: it is opened read-only, beside a running engine.
//! Contract: `verify` ends with 0 only when every record is proven to stand where it was written;
//! what waits in the spool is said by every command.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use engine::record::Entry;

use crate::cli::{Exit, Global, complain, print};
use crate::io::journal::sqlite::{self, Waiting};

#[derive(Subcommand)]
pub enum Command {
    /// The last records, oldest first
    List {
        #[arg(long, short = 'n', default_value_t = 50)]
        lines: u32,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Check that nothing was changed, moved, put in or taken out
    Verify,
    /// Every record
    Export {
        /// One JSON object a line (the only format)
        #[arg(long, required = true)]
        json: bool,
    },
}

pub fn run(command: &Command, global: &Global) -> Result<u8, Exit> {
    let dir = directory(global)?;
    let failed = |failure: engine::types::Failure| Exit::new(1, failure.text.to_string());
    match command {
        Command::List { lines, json } => {
            for record in sqlite::list(&dir, *lines).map_err(failed)? {
                let line = match record.entry() {
                    Ok(_) if *json => format!("{}\n", record.body),
                    Ok(entry) => row(&record.seq.to_string(), &entry),
                    Err(why) => format!("{:>6} {why}\n", record.seq),
                };
                print(&line)?;
            }
            let waiting = sqlite::waiting(&dir).map_err(failed)?;
            if !json {
                for entry in &waiting.entries {
                    print(&row("spool", entry))?;
                }
            }
            if let Some(text) = told(&waiting) {
                complain(&text);
            }
            Ok(0)
        }
        Command::Verify => verify(&dir),
        Command::Export { .. } => {
            sqlite::export(&dir, &mut std::io::stdout().lock()).map_err(failed)?;
            if let Some(text) = told(&sqlite::waiting(&dir).map_err(failed)?) {
                complain(&text);
            }
            Ok(0)
        }
    }
}

fn row(number: &str, entry: &Entry) -> String {
    let line = engine::line(entry);
    let at = line.at.format("%Y-%m-%d %H:%M:%S%.3fZ");
    format!("{number:>6} {at} {:<12} {:<12} {}\n", line.user, line.kind, line.text)
}

fn verify(dir: &Path) -> Result<u8, Exit> {
    let code = match sqlite::verify(dir) {
        Ok(report) => {
            print(&format!("{} records, chain whole, head {}\n", report.records, report.head))?;
            if report.headless {
                print(
                    "journal.head is missing: whether records were cut off the end cannot be \
                     told; the next record makes it anew\n",
                )?;
            }
            u8::from(report.headless)
        }
        Err(broken) => {
            print(&format!("BROKEN at record {}: {}\n", broken.seq, broken.why))?;
            1
        }
    };
    let waiting = sqlite::waiting(dir).map_err(|failure| Exit::new(1, failure.text.to_string()))?;
    if let Some(text) = told(&waiting) {
        print(&format!("{text}\n"))?;
    }
    Ok(code)
}

/// Nothing when the spool is empty.
fn told(waiting: &Waiting) -> Option<String> {
    let mut text = match waiting.entries.len() {
        0 if waiting.unreadable == 0 => return None,
        1 => "1 entry waits in the spool".to_owned(),
        count => format!("{count} entries wait in the spool"),
    };
    text.push_str(": the engine adds what waits as soon as it can write the journal");
    if waiting.unreadable > 0 {
        text.push_str(&format!("; {} lines of it cannot be read", waiting.unreadable));
    }
    Some(text)
}

pub fn directory(global: &Global) -> Result<PathBuf, Exit> {
    match &global.state_dir {
        Some(dir) => Ok(dir.clone()),
        None => global.state_dir(&global.load()?.1),
    }
}
