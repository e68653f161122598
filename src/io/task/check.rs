//! Checks beside programs and queries: one look, documents, versions, certificates, disks.
//!
//! Decides whether each is as it should be. Never shows what a document holds: an error names its
//! line and column. Contract: returns within its budget; what cannot be told has failed.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use engine::reading::{TaskAnswer, TaskContext};
use engine::types::Status;
use engine::words;

use super::fill::{Spot, fill};
use super::{Ready, failed, passed, told, yaml};
use crate::io::http::{Client, Method};
use crate::io::settings::{Bound, Format, HttpTarget, Order, ProbeTarget, Program};
use crate::io::{clock, probe};

/// A document that a release depends on; more is a dump.
const DOCUMENT_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// A pipe in the place of a file must not hold the check.
const OPEN_AT_ONCE: i32 = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
/// How many of the words that are missing are shown.
const MISSING_SHOWN: usize = 5;
const GIB: f64 = 1024.0 * 1024.0 * 1024.0;

/// One look at a target.
pub async fn look_once(
    client: &Client,
    target: &ProbeTarget,
    context: &TaskContext,
    budget: Duration,
) -> TaskAnswer {
    let mut target = target.clone();
    match &mut target {
        ProbeTarget::Http { http, .. } => {
            match fill(&http.url, context, Spot::Url) {
                Ok(url) => http.url = url,
                Err(why) => return failed(&why),
            }
            http.timeout = http.timeout.min(budget);
        }
        ProbeTarget::Tcp { timeout, .. } | ProbeTarget::Command { timeout, .. } => {
            *timeout = (*timeout).min(budget);
        }
    }
    let seen = probe::run(client, &target).await;
    let took = seen.latency.map_or(String::new(), |took| format!(" in {}", words::span(took)));
    match seen.status {
        Status::Up => passed(&format!("UP{took}")),
        status @ (Status::Maint
        | Status::Unknown
        | Status::Stale
        | Status::Degraded
        | Status::Down) => failed(&format!("{status} {}", seen.message)),
    }
}

/// A file, and what must be in it.
pub struct Document {
    pub path: PathBuf,
    pub format: Option<Format>,
    pub keys: Vec<String>,
    pub names: Vec<String>,
}

pub async fn file(wanted: Document, budget: Duration) -> TaskAnswer {
    match blocking(move || look_at(&wanted), budget).await {
        Ok(bytes) => passed(&format!("{bytes} bytes")),
        Err(why) => failed(&why),
    }
}

/// Work that a slow disk may hold, within its budget.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
    budget: Duration,
) -> Result<T, String> {
    match tokio::time::timeout(budget, tokio::task::spawn_blocking(work)).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err("the check broke off".to_owned()),
        Err(_) => Err(format!("the disk did not answer within {budget:?}")),
    }
}

/// The size of a file that is as it should be.
fn look_at(wanted: &Document) -> Result<u64, String> {
    let shown = wanted.path.display();
    let wrong = |error: std::io::Error| format!("{shown}: {error}");
    let file = File::options().read(true).custom_flags(OPEN_AT_ONCE).open(&wanted.path);
    let file = file.map_err(wrong)?;
    let facts = file.metadata().map_err(wrong)?;
    if !facts.is_file() {
        return Err(format!("{shown}: is not a file"));
    }
    if facts.len() == 0 {
        return Err(format!("{shown}: is empty"));
    }
    if wanted.format.is_none() && wanted.names.is_empty() {
        return Ok(facts.len());
    }
    if facts.len() > DOCUMENT_BYTES_MAX {
        return Err(format!("{shown}: larger than {DOCUMENT_BYTES_MAX} bytes"));
    }
    let mut bytes = Vec::new();
    file.take(DOCUMENT_BYTES_MAX).read_to_end(&mut bytes).map_err(wrong)?;
    look_into(&bytes, wanted).map_err(|why| format!("{shown}: {why}"))?;
    Ok(facts.len())
}

fn look_into(bytes: &[u8], wanted: &Document) -> Result<(), String> {
    let has: Box<dyn Fn(&str) -> bool + '_> = match wanted.format {
        None => Box::new(|_| true),
        Some(Format::Json) => {
            let document: serde_json::Value =
                serde_json::from_slice(bytes).map_err(|why| format!("no JSON: {why}"))?;
            Box::new(move |key| {
                key.split('.').try_fold(&document, |at, part| at.get(part)).is_some()
            })
        }
        Some(Format::Toml) => {
            let text = text_of(bytes)?;
            let document: toml::Table = toml::from_str(text).map_err(|why| {
                let at = why.span().map_or(0, |span| span.start);
                let (line, column) = place(text, at);
                format!("no TOML: {} at line {line} column {column}", why.message())
            })?;
            let document = toml::Value::Table(document);
            Box::new(move |key| {
                key.split('.').try_fold(&document, |at, part| at.get(part)).is_some()
            })
        }
        Some(Format::Yaml) => {
            let found = yaml::keys(text_of(bytes)?, &wanted.keys)?;
            Box::new(move |key| found.contains(key))
        }
    };
    let absent = wanted.keys.iter().filter(|key| !has(key)).map(String::as_str).collect();
    missing("key", absent)?;
    if wanted.names.is_empty() {
        return Ok(());
    }
    let text = text_of(bytes)?;
    let absent = wanted.names.iter().filter(|name| !has_word(text, name));
    missing("name", absent.map(String::as_str).collect())
}

fn text_of(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes)
        .map_err(|why| format!("is not UTF-8 text (byte {})", why.valid_up_to() + 1))
}

fn missing(what: &str, absent: Vec<&str>) -> Result<(), String> {
    if absent.is_empty() {
        return Ok(());
    }
    let more = absent.len().saturating_sub(MISSING_SHOWN);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    let shown: Vec<&str> = absent.into_iter().take(MISSING_SHOWN).collect();
    Err(format!("lacks the {what} {}{more}", shown.join(", ")))
}

/// Line and column, both from 1; columns in characters.
fn place(text: &str, at: usize) -> (usize, usize) {
    let before = &text.as_bytes()[..at.min(text.len())];
    let line = before.split(|byte| *byte == b'\n').count();
    let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    (line, String::from_utf8_lossy(&before[start..]).chars().count() + 1)
}

/// `name` stands in `text` with nothing before or behind that would make it another name.
fn has_word(text: &str, name: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(name).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let behind = text[at + name.len()..].chars().next();
        !before.is_some_and(part) && !behind.is_some_and(part)
    })
}

/// What a program says that it is.
pub async fn runtime(
    program: &Program,
    bounds: &[Bound],
    context: &TaskContext,
    budget: Duration,
) -> TaskAnswer {
    let ready = match Ready::new(program, context).await {
        Ok(ready) => ready,
        Err(why) => return failed(&why),
    };
    let (result, said) = ready.run(budget).await;
    let verdict = match result {
        Err(failure) => failure.text.display().to_owned(),
        Ok(output) if output.code != Some(0) => "it did not end well".to_owned(),
        // Some programs tell their version on the other stream.
        Ok(_) => match version_in(&said) {
            None => "it names no version".to_owned(),
            Some(found) => {
                let [major, minor, patch] = found;
                let words = format!("{major}.{minor}.{patch}");
                match bounds.iter().find(|bound| !bound.holds(found)) {
                    None => return passed(&words),
                    Some(bound) => format!("{words} is not {bound}"),
                }
            }
        },
    };
    TaskAnswer::Failed { output: told(&verdict, &said) }
}

/// The first `1.2` or `1.2.3` of a text, else its first number.
fn version_in(text: &str) -> Option<[u32; 3]> {
    let numbers = text.split(|c: char| !c.is_ascii_digit() && c != '.');
    let numbers = numbers.filter(|part| part.starts_with(|c: char| c.is_ascii_digit()));
    let all: Vec<[u32; 3]> = numbers.clone().filter_map(version).collect();
    let dotted = numbers.zip(&all).find(|(part, _)| part.trim_end_matches('.').contains('.'));
    dotted.map(|(_, version)| *version).or_else(|| all.first().copied())
}

/// `18`, `18.2` or `18.2.1`; what is not there is 0, what follows is not looked at.
fn version(text: &str) -> Option<[u32; 3]> {
    let mut found = [0; 3];
    for (place, part) in found.iter_mut().zip(text.trim_end_matches('.').split('.')) {
        *place = part.parse().ok()?;
    }
    Some(found)
}

impl Bound {
    fn holds(self, version: [u32; 3]) -> bool {
        match self.order {
            Order::AtLeast => version >= self.version,
            Order::Above => version > self.version,
            Order::AtMost => version <= self.version,
            Order::Below => version < self.version,
            Order::Exactly => version == self.version,
        }
    }

    /// `>=18.2`, `<21`, `=3.1.4`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Bound> {
        const ORDERS: [(&str, Order); 5] = [
            (">=", Order::AtLeast),
            ("<=", Order::AtMost),
            (">", Order::Above),
            ("<", Order::Below),
            ("=", Order::Exactly),
        ];
        let (sign, order) = ORDERS.into_iter().find(|(sign, _)| text.starts_with(sign))?;
        let rest = text[sign.len()..].trim();
        let plain = rest.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        let parts = rest.split('.').count();
        let version = version(rest).filter(|_| plain && parts <= 3 && !rest.ends_with('.'))?;
        Some(Bound { order, version })
    }
}

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sign = match self.order {
            Order::AtLeast => ">=",
            Order::Above => ">",
            Order::AtMost => "<=",
            Order::Below => "<",
            Order::Exactly => "=",
        };
        let [major, minor, patch] = self.version;
        write!(f, "{sign}{major}.{minor}.{patch}")
    }
}

/// How long the certificate of an address is good for.
pub async fn certificate(
    client: &Client,
    http: &HttpTarget,
    valid_for: Duration,
    budget: Duration,
) -> TaskAnswer {
    let http = HttpTarget { timeout: http.timeout.min(budget), ..http.clone() };
    let answer = match client.send(&http, Method::Get, &http.url, &[], None).await {
        Ok(answer) => answer,
        Err(failure) => return TaskAnswer::Failed { output: failure.text },
    };
    let Some(end) = answer.certificate_expires else { return failed("it has no certificate") };
    let until = end.format("%Y-%m-%d");
    match (end - clock::now().wall).to_std() {
        Ok(left) if left > valid_for => passed(&format!("valid until {until}")),
        Ok(left) => failed(&format!("only valid for {}, until {until}", words::span(left))),
        Err(_) => failed(&format!("expired {until}")),
    }
}

/// The room on a file system.
pub async fn disk(
    path: PathBuf,
    free_percent: Option<f64>,
    free_bytes: Option<f64>,
    budget: Duration,
) -> TaskAnswer {
    let (free, total) = match blocking(move || room(&path), budget).await {
        Ok(found) => found,
        Err(why) => return failed(&why),
    };
    let percent = free / total * 100.0;
    let words = format!("{percent:.1} % free, {:.1} GiB", free / GIB);
    let short = free_percent.is_some_and(|least| percent <= least)
        || free_bytes.is_some_and(|least| free <= least);
    if short { failed(&words) } else { passed(&words) }
}

/// Free for everybody, and all, in bytes.
#[expect(clippy::cast_precision_loss, reason = "a percent of a disk needs no more digits")]
fn room(path: &Path) -> Result<(f64, f64), String> {
    let shown = path.display();
    let facts = rustix::fs::statvfs(path).map_err(|error| format!("{shown}: {error}"))?;
    if facts.f_blocks == 0 {
        return Err(format!("{shown}: its file system has no size"));
    }
    let size = facts.f_frsize as f64;
    Ok((facts.f_bavail as f64 * size, facts.f_blocks as f64 * size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found_in_what_programs_say() {
        let check = |text: &str, found: Option<[u32; 3]>| assert_eq!(version_in(text), found);
        check("v18.20.4", Some([18, 20, 4]));
        check("nginx version: nginx/1.26.0 (Debian)", Some([1, 26, 0]));
        check("Python 3.11.2", Some([3, 11, 2]));
        check("psql (PostgreSQL) 15", Some([15, 0, 0]));
        check("2 tools: git 2.39.5.", Some([2, 39, 5]));
        check("unknown", None);
    }

    #[test]
    fn bounds_hold_or_not() {
        let check = |bound: &str, version: [u32; 3], holds: bool| {
            let own = Bound::parse(bound).expect(bound);
            assert_eq!(own.holds(version), holds, "{bound} of {version:?}");
        };
        check(">=18.2", [18, 2, 0], true);
        check(">=18.2", [18, 1, 9], false);
        check("<21", [20, 99, 0], true);
        check("<21", [21, 0, 0], false);
        check("= 3.1.4", [3, 1, 4], true);
        check(">1.9", [1, 10, 0], true);
        check("<=1.9.1", [1, 9, 2], false);
        for bad in ["18", ">=", ">=x", ">=1.2.3.4", "~1.2", ">=1.", ">= 1 .2"] {
            assert_eq!(Bound::parse(bad), None, "{bad}");
        }
    }

    fn check_document(format: Option<Format>, text: &str, expected: &str) {
        let words = |list: &[&str]| list.iter().map(ToString::to_string).collect();
        let wanted = Document {
            path: PathBuf::new(),
            format,
            keys: if format.is_some() { words(&["db.host", "db.port"]) } else { Vec::new() },
            names: words(&["get_user"]),
        };
        let found = look_into(text.as_bytes(), &wanted).err().unwrap_or_default();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn documents_are_valid_and_have_their_keys_and_names() {
        let json = Some(Format::Json);
        let whole = r#"{"db": {"host": "x", "port": 1}, "calls": ["get_user"]}"#;
        check_document(json, whole, "");
        check_document(json, "{\"db\": {\"host\": 1}}", "lacks the key db.port");
        check_document(
            json,
            "{\n  \"db\": s3cret\n}",
            "no JSON: expected value at line 2 column 9",
        );
        let toml = Some(Format::Toml);
        check_document(toml, "# get_user\n[db]\nhost = 'x'\nport = 1\n", "");
        check_document(toml, "db = 1\n", "lacks the key db.host, db.port");
        let broken = "a = 1\nb = s3cret\n";
        let wanted = Document { path: PathBuf::new(), format: toml, keys: vec![], names: vec![] };
        let why = look_into(broken.as_bytes(), &wanted).expect_err("it is no TOML");
        assert!(why.ends_with("at line 2 column 5") && !why.contains("s3cret"), "{why}");
        let yaml = Some(Format::Yaml);
        check_document(yaml, "# get_user\ndb: {host: x, port: 1}\n", "");
        check_document(yaml, "db:\n  host: x\n", "lacks the key db.port");
        check_document(None, "call get_user;", "");
        check_document(None, "call get_users or forget_user", "lacks the name get_user");
    }
}
