//! The files of a fleet, filled in: free ports, the place, and times that go by faster.
//!
//! Decides which ports a fleet has. Never starts anything. Contract: the ports are a block below
//! those that the kernel gives away, and nobody else takes a block while its first port is held.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use engine::types::{Failure, FailureKind};

use crate::config::value;

/// Where blocks begin and end: below the range from which Linux takes ports for connections.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// Ports in a block, the held one included; more than any fleet names.
const BLOCK: u16 = 24;

/// A time that shrinks below this says so no more: intervals in a configuration are no shorter.
const SHORTEST: Duration = Duration::from_millis(100);

/// The file that names the ports, one `name=port` a line; it is written last.
pub const PORTS_FILE: &str = "ports";

/// The name under which a fleet's own port stands, by which the stand-ins are steered.
pub const CONTROL: &str = "control";

/// A fleet's place.
pub struct Site {
    /// The first port of the block, for as long as the fleet lives.
    pub control: TcpListener,
    first: u16,
    names: Vec<String>,
    fixed: BTreeMap<&'static str, String>,
    speed: u32,
}

impl Site {
    /// Fills every file of the fleet in `source` in, into `place`; `run` stays where it is.
    pub fn make(source: &Path, place: &Path, speed: u32) -> Result<Site, Failure> {
        let (first, control) = claim()?;
        let program = std::env::current_exe().map_err(|why| cannot("find the program", &why))?;
        let fixed = BTreeMap::from([
            ("dir", place.display().to_string()),
            ("program", program.display().to_string()),
        ]);
        let names = vec![CONTROL.to_owned()];
        let mut site = Site { control, first, names, fixed, speed };
        site.fill_all(source, place)?;
        let lines = site.names.iter().zip(first..).map(|(name, port)| format!("{name}={port}\n"));
        let text: String = lines.collect();
        // It is read as soon as it is there, so it is there at once.
        let draft = place.join("ports.new");
        write(&draft, &text)?;
        fs::rename(&draft, place.join(PORTS_FILE))
            .map_err(|why| cannot("write the ports", &why))?;
        Ok(site)
    }

    fn fill_all(&mut self, source: &Path, place: &Path) -> Result<(), Failure> {
        let failed = |why: std::io::Error| cannot(&format!("read {}", source.display()), &why);
        let mut entries = fs::read_dir(source).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let entries = entries.as_mut().map_err(|why| cannot("read the fleet's files", why))?;
        entries.sort_by_key(fs::DirEntry::file_name);
        fs::create_dir_all(place).map_err(failed)?;
        for entry in entries {
            let (from, to) = (entry.path(), place.join(entry.file_name()));
            if from.is_dir() {
                self.fill_all(&from, &to)?;
            } else if entry.file_name() != "run" {
                let text = fs::read_to_string(&from).map_err(failed)?;
                let text = self.fill(&text).map_err(|why| {
                    Failure::new(FailureKind::Malformed, format!("{}: {why}", from.display()))
                })?;
                write(&to, &text)?;
            }
        }
        Ok(())
    }

    /// `@10m@` is that time, shrunk; `@dir@` and `@program@` are paths; any other `@name@` is a
    /// port of that name.
    fn fill(&mut self, text: &str) -> Result<String, String> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('@') {
            out.push_str(before);
            let word = after.split_once('@').filter(|(word, _)| {
                !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            });
            if let Some((word, behind)) = word {
                out.push_str(&self.value(word)?);
                rest = behind;
            } else {
                out.push('@');
                rest = after;
            }
        }
        out.push_str(rest);
        Ok(out)
    }

    fn value(&mut self, word: &str) -> Result<String, String> {
        if word.starts_with(|first: char| first.is_ascii_digit()) {
            let span = value::duration(word).map_err(|why| format!("{word} {why}"))?;
            let span = span.checked_div(self.speed).unwrap_or(span).max(SHORTEST);
            return Ok(format!("{}ms", span.as_millis()));
        }
        if let Some(fixed) = self.fixed.get(word) {
            return Ok(fixed.clone());
        }
        let place = self.names.iter().position(|name| name == word).unwrap_or_else(|| {
            self.names.push(word.to_owned());
            self.names.len() - 1
        });
        let offset = u16::try_from(place).unwrap_or(BLOCK);
        if offset >= BLOCK {
            return Err(format!("more than {BLOCK} ports"));
        }
        Ok((self.first + offset).to_string())
    }
}

/// A block of ports that are all free, and its first one, held.
fn claim() -> Result<(u16, TcpListener), Failure> {
    let blocks = u32::from((PORTS.end - PORTS.start) / BLOCK);
    let mine = std::process::id();
    for number in (0..blocks).map(|step| mine.wrapping_mul(31).wrapping_add(step) % blocks) {
        let first = PORTS.start + u16::try_from(number).unwrap_or(0) * BLOCK;
        let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        let Ok(held) = bind(first) else { continue };
        if (first + 1..first + BLOCK).all(|port| bind(port).is_ok()) {
            return Ok((first, held));
        }
    }
    let text = format!("no {BLOCK} free ports in a row between {} and {}", PORTS.start, PORTS.end);
    Err(Failure::new(FailureKind::Unreachable, text))
}

/// For this user alone; what begins as a script may be run.
pub fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let mode = if text.starts_with("#!") { 0o700 } else { 0o600 };
    let mut options = fs::OpenOptions::new();
    options.create(true).truncate(true).write(true).mode(mode);
    options
        .open(path)
        .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
        .map_err(|why| cannot(&format!("write {}", path.display()), &why))
}

fn cannot(what: &str, why: &std::io::Error) -> Failure {
    Failure::new(FailureKind::Unreachable, format!("cannot {what}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(speed: u32) -> Site {
        let (first, control) = claim().expect("free ports");
        let fixed = BTreeMap::from([("dir", "/place".to_owned())]);
        Site { control, first, names: vec![CONTROL.to_owned()], fixed, speed }
    }

    fn check(text: &str, expected: &str) {
        assert_eq!(site(120).fill(text).as_deref(), Ok(expected), "{text}");
    }

    #[test]
    fn times_shrink_and_places_are_filled_in() {
        check("soak = \"@10m@\"", "soak = \"5000ms\"");
        check("every = \"@5s@\"", "every = \"100ms\"");
        check("file = \"@dir@/x\"", "file = \"/place/x\"");
        check("a@b.example, c @ d, @", "a@b.example, c @ d, @");
        assert!(site(1).fill("@1x@").is_err());
    }

    #[test]
    fn a_name_is_one_port_and_two_names_are_two() {
        let mut site = site(1);
        let first = site.first;
        let text = site.fill("@edge@ @app_a@ @edge@ @control@").expect("ports");
        assert_eq!(text, format!("{} {} {} {first}", first + 1, first + 2, first + 1));
    }

    #[test]
    fn a_block_that_is_held_is_nobody_elses() {
        let (one, other) = (claim().expect("a block"), claim().expect("a block"));
        assert_ne!(one.0, other.0);
    }
}
