//! Reading the journal from the command line.
//!
//! Decides how it is printed. Never writes to it: it is opened read-only, beside a running engine.
//! Contract: `verify` ends with 0 only when every record stands where it was written.

use std::path::PathBuf;

use clap::Subcommand;

use crate::cli::{Exit, Global, print};
use crate::io::journal::sqlite;

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
            let records = sqlite::list(&dir, *lines).map_err(failed)?;
            for record in records {
                let line = match record.entry() {
                    Ok(_) if *json => format!("{}\n", record.body),
                    Ok(entry) => {
                        let line = engine::line(&entry);
                        let at = line.at.format("%Y-%m-%d %H:%M:%S%.3fZ");
                        format!(
                            "{:>6} {at} {:<12} {:<12} {}\n",
                            record.seq, line.user, line.kind, line.text
                        )
                    }
                    Err(why) => format!("{:>6} {why}\n", record.seq),
                };
                print(&line)?;
            }
            Ok(0)
        }
        Command::Verify => match sqlite::verify(&dir) {
            Ok(report) => {
                print(&format!("{} records, chain whole, head {}\n", report.records, report.head))
            }
            Err(broken) => {
                print(&format!("BROKEN at record {}: {}\n", broken.seq, broken.why))?;
                Ok(1)
            }
        },
        Command::Export { .. } => {
            sqlite::export(&dir, &mut std::io::stdout().lock()).map_err(failed)?;
            Ok(0)
        }
    }
}

fn directory(global: &Global) -> Result<PathBuf, Exit> {
    match &global.state_dir {
        Some(dir) => Ok(dir.clone()),
        None => global.state_dir(&global.load()?.1),
    }
}
