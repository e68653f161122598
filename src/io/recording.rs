//! A recording: what the console was shown, in a file.
//!
//! Decides its shape: a line with the instant of each picture, then the sections that changed.
//! Never holds what a secret looks like, and never grows without limit. Contract: a file that was
//! cut off plays up to its last whole picture.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use engine::section::Section;
use engine::snapshot::Snapshot;
use engine::types::Now;
use regex_lite::Regex;
use serde::{Deserialize, Serialize};

/// A day of a large environment; more is told and not written.
const FILE_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// More often than this nobody sees a difference.
const APART_MIN: Duration = Duration::from_secs(1);
/// After so many pictures a whole one, so that going back reads little.
const WHOLE_EVERY: u32 = 120;
/// As long as a section on the engine's socket may be.
const LINE_BYTES_MAX: u64 = crate::io::wire::LINE_BYTES_MAX as u64;
/// What a line begins with that begins a picture.
const BEGIN: &str = "{\"at\":";

/// Begins a picture; the sections that differ from the one before follow.
#[derive(Serialize, Deserialize)]
struct Begin {
    at: Now,
    whole: bool,
}

/// Writes a recording.
pub struct Recorder {
    file: BufWriter<File>,
    secrets: Regex,
    last: Option<(Now, Snapshot)>,
    since_whole: u32,
    written: u64,
}

impl Recorder {
    /// A new file, for its owner alone.
    pub fn create(path: &Path) -> io::Result<Recorder> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        // A header, a pair or a URL that carries one; the texts come from outside.
        let names = "authorization|token|password|passwd|secret|api[_-]?key|access[_-]?key";
        let scheme = format!(r"(?:(?:{names})\s*[=:]\s*)?(?:bearer|basic)\s+");
        let pair = format!(r#"(?:{names})(?:\\")?\s*[=:]\s*(?:\\")?"#);
        let before = format!(r#"{scheme}|{pair}|://[^/@\s:"]+:"#);
        let secrets = format!(r#"(?i)({before})[^\s"'&,;@\\]+"#);
        let secrets = Regex::new(&secrets).map_err(io::Error::other)?;
        let file = BufWriter::new(file);
        Ok(Recorder { file, secrets, last: None, since_whole: 0, written: 0 })
    }

    /// Keeps a picture; one that comes too soon after the last is left out.
    pub fn keep(&mut self, now: Now, picture: &Snapshot) -> io::Result<()> {
        if self.last.as_ref().is_some_and(|(at, _)| at.age(now) < APART_MIN) {
            return Ok(());
        }
        if self.written > FILE_BYTES_MAX {
            return Err(io::Error::other("the recording is full: 512 MB"));
        }
        let whole = self.since_whole == 0;
        let before = self.last.as_ref().map(|(_, picture)| picture).filter(|_| !whole);
        let mut text = crate::io::wire::encode(&Begin { at: now, whole });
        for section in picture.changes_since(before) {
            let line = crate::io::wire::encode(&section);
            text.push_str(&self.secrets.replace_all(&line, "$1***"));
        }
        self.file.write_all(text.as_bytes())?;
        // Nothing is lost but the last second when the machine goes away.
        self.file.flush()?;
        self.written += text.len() as u64;
        self.since_whole = (self.since_whole + 1) % WHOLE_EVERY;
        self.last = Some((now, picture.clone()));
        Ok(())
    }
}

/// Where a picture stands in the file.
#[derive(Clone, Copy, Debug)]
struct Place {
    at: Now,
    offset: u64,
    whole: bool,
}

/// Reads a recording.
pub struct Player {
    file: BufReader<File>,
    places: Vec<Place>,
    /// The picture that was built last, by its place.
    built: Option<(usize, Snapshot)>,
}

impl Player {
    pub fn open(path: &Path) -> Result<Player, String> {
        let shown = path.display();
        let told = |error: io::Error| format!("{shown}: {error}");
        let mut file = BufReader::new(File::open(path).map_err(told)?);
        let mut places = Vec::new();
        let mut offset = 0;
        let mut line = String::new();
        loop {
            line.clear();
            let read = (&mut file).take(LINE_BYTES_MAX).read_line(&mut line).map_err(told)? as u64;
            // A line without its end was cut off.
            if read == 0 || !line.ends_with('\n') {
                break;
            }
            if line.starts_with(BEGIN)
                && let Ok(Begin { at, whole }) = serde_json::from_str(&line)
            {
                places.push(Place { at, offset, whole });
            }
            offset += read;
        }
        // The last picture may lack sections.
        if places.len() > 1 && !line.is_empty() {
            places.pop();
        }
        if !places.first().is_some_and(|first| first.whole) {
            return Err(format!("{shown}: is no recording of quarterdeck --record"));
        }
        Ok(Player { file, places, built: None })
    }

    #[must_use]
    pub fn first(&self) -> Now {
        self.places[0].at
    }

    #[must_use]
    pub fn last(&self) -> Now {
        self.places[self.places.len() - 1].at
    }

    /// The picture that was on the screen `since` after the first one.
    pub fn at(&mut self, since: Duration) -> Result<(Now, Snapshot), String> {
        let wanted = self.first().mono + since;
        let after = self.places.partition_point(|place| place.at.mono <= wanted);
        let place = after.saturating_sub(1);
        let whole = self.places[..=place].iter().rposition(|it| it.whole).unwrap_or_default();
        let (from, mut picture) = match self.built.take() {
            Some((built, picture)) if (whole..=place).contains(&built) => (built + 1, picture),
            Some(_) | None => (whole, Snapshot::empty()),
        };
        for next in from..=place {
            self.apply(next, &mut picture)?;
        }
        self.built = Some((place, picture.clone()));
        Ok((self.places[place].at, picture))
    }

    fn apply(&mut self, place: usize, picture: &mut Snapshot) -> Result<(), String> {
        let told = |error: io::Error| format!("the recording: {error}");
        self.file.seek(SeekFrom::Start(self.places[place].offset)).map_err(told)?;
        let mut line = String::new();
        self.file.read_line(&mut line).map_err(told)?;
        loop {
            line.clear();
            let read = (&mut self.file).take(LINE_BYTES_MAX).read_line(&mut line).map_err(told)?;
            if read == 0 || line.starts_with(BEGIN) {
                return Ok(());
            }
            let section: Section = serde_json::from_str(&line)
                .map_err(|error| format!("the recording is damaged: {error}"))?;
            picture.apply(section).map_err(|error| format!("the recording is damaged: {error}"))?;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chrono::DateTime;
    use engine::snapshot::JournalLine;
    use engine::types::{Time, Untrusted};

    use super::*;

    fn at(seconds: u64) -> Now {
        Now { mono: Time(seconds * 1_000_000), wall: DateTime::UNIX_EPOCH }
    }

    fn picture(text: &str) -> Snapshot {
        let line = JournalLine {
            at: DateTime::UNIX_EPOCH,
            user: Untrusted::new("ana"),
            kind: "intent".to_owned(),
            text: Untrusted::new(text),
        };
        Snapshot { journal: Arc::new(vec![line]), ..Snapshot::empty() }
    }

    #[test]
    fn what_was_recorded_plays_forth_and_back_and_from_a_cut_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("day");
        let mut recorder = Recorder::create(&path).expect("a new file");
        for second in 0..300 {
            recorder.keep(at(second), &picture(&format!("at {second}"))).expect("it is written");
        }
        recorder.keep(at(299), &picture("too soon")).expect("left out");
        let check = |player: &mut Player, since: u64, expected: &str| {
            let (_, picture) = player.at(Duration::from_secs(since)).expect("a picture");
            assert_eq!(picture.journal[0].text.display(), expected);
        };
        let mut player = Player::open(&path).expect("a recording");
        for since in [0, 7, 299, 130, 119, 120, 121, 5, 1_000] {
            check(&mut player, since, &format!("at {}", since.min(299)));
        }
        assert!(Recorder::create(&path).is_err(), "nothing is written over");
        let whole = std::fs::read(&path).expect("the file");
        std::fs::write(&path, &whole[..whole.len() - 10]).expect("a cut file");
        check(&mut Player::open(&path).expect("a recording"), 1_000, "at 298");
        std::fs::write(&path, "{}\n").expect("a file");
        assert!(Player::open(&path).is_err());
    }

    #[test]
    fn what_looks_like_a_secret_is_not_written() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("day");
        let mut recorder = Recorder::create(&path).expect("a new file");
        let texts = "Authorization: Bearer s3cret1 token=s3cret2&x=1 password: s3cret3, \
                     https://ana:s3cret4@example.com api_key=s3cret5 {\"token\": \"s3cret6\"}";
        recorder.keep(at(1), &picture(texts)).expect("it is written");
        let written = std::fs::read_to_string(&path).expect("the file");
        assert!(!written.contains("s3cret"), "{written}");
        assert!(written.contains("x=1") && written.contains("example.com"), "{written}");
        Player::open(&path).expect("still whole").at(Duration::ZERO).expect("a picture");
    }
}
