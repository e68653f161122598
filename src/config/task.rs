//! What plans run, call and check, and the program of a maintenance page.
//!
//! Decides that a task is whole before anybody needs it: a program, an address, known
//! placeholders, secrets outside of the arguments. Never performs one. Contract: both halves of a
//! task have the same place in their lists.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use engine::settings::Task;
use engine::types::{ProbeId, TaskId};
use toml::de::DeValue;

use super::reader::{Node, Reader, Table};
use super::watch::{self, Source, Sources};
use super::{secret, value};
use crate::io::http::Method;
use crate::io::settings::{Bound, Format, Given, HttpTarget, ProbeTarget, Program, TaskTarget};
use crate::io::task::{PAUSE_MAX, fill};

/// An answer that says what became of a call; more is a download.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// Of a query, as much as one line of a panel shows.
const LABEL_CHARS_MAX: usize = 80;

/// Renewed by hand or by a program, there is time for it.
const VALID_FOR: Duration = Duration::from_hours(14 * 24);

/// A pattern that a person still reads.
const PATTERN_BYTES_MAX: usize = 500;

/// Both halves of every task.
#[derive(Default)]
pub struct Tasks {
    pub engine: Vec<Task>,
    pub io: Vec<TaskTarget>,
}

/// A task before it has an id.
pub struct Made {
    pub kind: &'static str,
    pub label: String,
    pub target: TaskTarget,
}

impl Tasks {
    pub fn add(&mut self, made: Made) -> TaskId {
        let id = TaskId(super::place(self.engine.len()));
        self.engine.push(Task { kind: made.kind.to_owned(), label: made.label });
        self.io.push(made.target);
        id
    }
}

/// `check` and `verify`: a probe of the service is not a task by itself.
pub enum Check {
    Probe(String, ProbeId),
    Task(Box<Made>),
}

/// Names each placeholder that stands for nothing.
fn placeholders(reader: &Reader<'_>, at: usize, key: &str, text: &str) {
    for name in fill::placeholders(text).filter(|name| !fill::NAMES.contains(name)) {
        let hint = value::nearest(name, fill::NAMES.into_iter())
            .map_or(String::new(), |near| format!("did you mean `{{{near}}}`? "));
        let name: String = name.chars().take(64).collect();
        reader.problem(
            at,
            format!(
                "`{key}` has an unknown placeholder `{{{name}}}`; {hint}\
                 known: {{service}}, {{version}}, {{group}}, {{stable}}, {{reason}}"
            ),
        );
    }
}

fn check_text(table: &Table<'_>, key: &str, text: &str) {
    placeholders(table.reader, table.place_of(key), key, text);
}

/// Arguments may hold placeholders; the program may not.
fn argv(table: &mut Table<'_>, key: &'static str) -> Option<Vec<String>> {
    let given = table.strings(key).unwrap_or_default();
    if given.first().is_some_and(|program| fill::placeholders(program).next().is_some()) {
        table.problem(key, format!("`{key}`: the program itself is never a placeholder"));
        return None;
    }
    let mut argv = None;
    if let Some(node) = table.get(key) {
        argv = table.argv(key);
        for (word, at) in words(node).into_iter().zip(given.iter().skip(1)) {
            placeholders(table.reader, word, key, at);
        }
    }
    argv
}

/// Where each argument of a program stands.
fn words(node: &Node<'_>) -> Vec<usize> {
    let DeValue::Array(items) = node.get_ref() else { return Vec::new() };
    items.iter().skip(1).map(|item| item.span().start).collect()
}

/// The program's own name: its arguments are nobody's business on a screen.
fn label(argv: &[String]) -> String {
    let program = argv.first().map_or("", String::as_str);
    let name = Path::new(program).file_name().map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_else(|| program.to_owned())
}

fn program(table: &mut Table<'_>, key: &'static str) -> Option<Program> {
    let (env, stdin) = (env(table), stdin(table));
    Some(Program { argv: argv(table, key)?, env, stdin })
}

fn env(table: &mut Table<'_>) -> BTreeMap<String, Given> {
    let mut found = BTreeMap::new();
    let Some(inner) = table.table("env", "env") else { return found };
    for (name, at, node) in inner.entries() {
        let first = name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
        let fits =
            name.len() <= 128 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !first || !fits {
            inner.reader.problem(at, "the name of a variable has letters, digits and `_`");
        } else if let Some(value) = variable(inner.reader, &name, node) {
            found.insert(name, value);
        }
    }
    found
}

/// A variable whose name tells of a credential takes a secret; a path to one may stand as it is.
fn variable<'a>(reader: &'a Reader<'a>, name: &str, node: &'a Node<'a>) -> Option<Given> {
    const TELLING: [&str; 7] = ["TOKEN", "KEY", "SECRET", "PASS", "PWD", "AUTH", "CREDENTIAL"];
    let upper = name.to_ascii_uppercase();
    let place = ["FILE", "PATH", "DIR"].iter().any(|end| upper.ends_with(end));
    let telling = TELLING.iter().any(|word| upper.contains(word)) && !place;
    if telling || !matches!(node.get_ref(), DeValue::String(_)) {
        return secret::from_node(reader, name, node).map(Given::Secret);
    }
    let text = reader.text(name, node)?;
    placeholders(reader, node.span().start, name, &text);
    Some(Given::Text(text))
}

fn stdin(table: &mut Table<'_>) -> Option<Given> {
    let node = table.get("stdin")?;
    if let DeValue::Table(_) = node.get_ref() {
        return secret::from_node(table.reader, "stdin", node).map(Given::Secret);
    }
    let text = table.string("stdin")?;
    check_text(table, "stdin", &text);
    Some(Given::Text(text))
}

/// `run = [argv]` with `env` and `stdin` beside it.
pub fn run(table: &mut Table<'_>, key: &'static str) -> Option<Made> {
    let program = program(table, key)?;
    Some(Made { kind: "run", label: label(&program.argv), target: TaskTarget::Run(program) })
}

/// A program alone, where nothing stands beside it.
pub fn bare(table: &mut Table<'_>, key: &'static str) -> Option<Made> {
    let program = Program { argv: argv(table, key)?, env: BTreeMap::new(), stdin: None };
    Some(Made { kind: "run", label: label(&program.argv), target: TaskTarget::Run(program) })
}

/// `call = { url = … }`.
pub fn call(table: &mut Table<'_>) -> Option<Made> {
    let mut inner = table.table("call", "call")?;
    let method = match inner.word("method", &["GET", "PUT", "POST"]) {
        Some("GET") => Method::Get,
        Some("PUT") => Method::Put,
        Some(_) | None => Method::Post,
    };
    let body = inner.string("body");
    if let Some(body) = &body {
        check_text(&inner, "body", body);
        if method == Method::Get {
            inner.problem("body", "`body` is not sent by GET: write `method = \"POST\"`");
        }
    }
    let status = status(&mut inner);
    let url = url(&mut inner, "url");
    let http = HttpTarget {
        url: String::new(),
        headers: watch::headers(&mut inner),
        token: secret::secret(&mut inner, "token"),
        // The step's own budget comes with each call.
        timeout: *watch::TIMEOUTS.end(),
        body_bytes_max: ANSWER_BYTES_MAX,
        follow_redirects: false,
        compressed: false,
        ca_file: watch::ca_file(&mut inner),
        close: false,
    };
    inner.finish();
    let url = url?;
    let shown = url.split(['?', '#']).next().unwrap_or("").to_owned();
    let http = HttpTarget { url, ..http };
    let target = TaskTarget::Call { http, method, body, status };
    Some(Made { kind: "call", label: shown, target })
}

/// An address whose origin is fixed.
fn url(table: &mut Table<'_>, key: &'static str) -> Option<String> {
    let url = table.need(key).url(key)?;
    check_text(table, key, &url);
    let behind = url.split_once("://").map_or("", |(_, behind)| behind);
    let origin = behind.split(['/', '?', '#']).next().unwrap_or("");
    if origin.contains(['{', '}']) {
        let why = format!("`{key}`: a placeholder stands behind the host, never in its place");
        table.problem(key, why);
        return None;
    }
    Some(url)
}

fn status(table: &mut Table<'_>) -> Vec<u16> {
    let Some(node) = table.get("status") else { return Vec::new() };
    let reader = table.reader;
    let one = |node: &Node<'_>| {
        let DeValue::Integer(number) = node.get_ref() else {
            reader.mistyped("status", "a status of HTTP, or a list of them", node);
            return None;
        };
        let status = u16::from_str_radix(number.as_str(), number.radix())
            .ok()
            .filter(|status| (100..600).contains(status));
        if status.is_none() {
            reader.problem(node.span().start, "`status` is from 100 to 599");
        }
        status
    };
    if let DeValue::Array(_) = node.get_ref() {
        return reader.list("status", node, "a list", one).unwrap_or_default();
    }
    one(node).into_iter().collect()
}

/// `undo = [argv]`, `{ run = [argv], env = …, stdin = … }` or `{ call = { … } }`.
pub fn undo(table: &mut Table<'_>) -> Option<Made> {
    let node = table.get("undo")?;
    if let DeValue::Array(_) = node.get_ref() {
        return bare(table, "undo");
    }
    let mut inner = table.table("undo", "undo")?;
    let made = match inner.one_of(&["run", "call"]) {
        Some("run") => run(&mut inner, "run"),
        Some(_) => {
            inner.refuse(&["env", "stdin"], "belongs to `run`");
            call(&mut inner)
        }
        None => None,
    };
    inner.finish();
    made
}

/// `check` or `verify`; `probe` finds a probe of the plan's service, or says why there is none
/// unless it was said before.
pub fn check(
    table: &mut Table<'_>,
    key: &'static str,
    sources: &Sources,
    probe: impl FnOnce(&str) -> Result<ProbeId, Option<String>>,
) -> Option<Check> {
    let mut inner = table.table(key, "check")?;
    let check = look(&mut inner, sources, probe);
    let retries = inner.integer("retries", 0..=RETRIES_MAX).unwrap_or(0);
    let pause = inner.duration("pause", PAUSES).unwrap_or(PAUSE);
    if let Some(Check::Probe(..)) = check {
        inner
            .refuse(&["retries", "pause"], "is not for `probe`, which is looked at until it is UP");
    }
    inner.finish();
    Some(match check? {
        Check::Task(made) if retries > 0 => {
            let Made { kind, label, target } = *made;
            let target = TaskTarget::Again { target: Box::new(target), retries, pause };
            Check::Task(Box::new(Made { kind, label, target }))
        }
        check => check,
    })
}

/// Enough for minutes of waiting; the step's deadline ends it anyway.
const RETRIES_MAX: u32 = 100;
const PAUSES: RangeInclusive<Duration> = Duration::from_millis(10)..=PAUSE_MAX;
const PAUSE: Duration = Duration::from_secs(1);

/// Every kind of look.
const KINDS: [&str; 9] =
    ["probe", "tcp", "http", "command", "query", "file", "runtime", "certificate", "disk"];

/// What stands beside some kinds only.
const BESIDE: [(&[&str], &[&str]); 9] = [
    (&["exit", "output"], &["command"]),
    (&["env", "stdin"], &["command", "runtime"]),
    (&["version"], &["runtime"]),
    (&["metrics", "above", "below", "baseline"], &["query"]),
    (&["format", "keys", "names"], &["file"]),
    (&["expect", "headers", "token"], &["http"]),
    (&["ca"], &["http", "certificate"]),
    (&["valid_for"], &["certificate"]),
    (&["free_percent", "free_gib"], &["disk"]),
];

/// The one look that the table names, and what belongs to it.
pub fn look(
    inner: &mut Table<'_>,
    sources: &Sources,
    probe: impl FnOnce(&str) -> Result<ProbeId, Option<String>>,
) -> Option<Check> {
    let kind = inner.one_of(&KINDS);
    for (keys, kinds) in BESIDE {
        let foreign = kind.is_some_and(|kind| !kinds.contains(&kind));
        let kinds: Vec<String> = kinds.iter().map(|kind| format!("`{kind}`")).collect();
        for key in keys {
            if inner.get(key).is_some() && foreign {
                inner.problem(key, format!("`{key}` belongs to {}", kinds.join(" and ")));
            }
        }
    }
    let made = match kind? {
        "probe" => {
            let name = inner.string("probe")?;
            return match probe(&name) {
                Ok(id) => Some(Check::Probe(name, id)),
                Err(why) => {
                    if let Some(why) = why {
                        inner.problem("probe", why);
                    }
                    None
                }
            };
        }
        "command" => command(inner),
        "query" => query(inner, sources),
        "file" => file(inner),
        "tcp" => tcp(inner),
        "http" => http(inner),
        "runtime" => runtime(inner),
        "certificate" => certificate(inner),
        _ => disk(inner),
    };
    made.map(|made| Check::Task(Box::new(made)))
}

fn tcp(table: &mut Table<'_>) -> Option<Made> {
    let address = table.string("tcp")?;
    if let Err(why) = value::address(&address) {
        table.problem("tcp", format!("`tcp` {why}"));
        return None;
    }
    let label = address.clone();
    let target = ProbeTarget::Tcp { address, timeout: *watch::TIMEOUTS.end() };
    Some(Made { kind: "check tcp", label, target: TaskTarget::Look(target) })
}

/// An address, asked by GET within the check's own time.
fn asked(table: &mut Table<'_>, key: &'static str) -> Option<(HttpTarget, String)> {
    let http = HttpTarget {
        url: String::new(),
        headers: if key == "http" { watch::headers(table) } else { BTreeMap::new() },
        token: if key == "http" { secret::secret(table, "token") } else { None },
        timeout: *watch::TIMEOUTS.end(),
        body_bytes_max: ANSWER_BYTES_MAX,
        follow_redirects: false,
        compressed: false,
        ca_file: watch::ca_file(table),
        close: false,
    };
    let url = url(table, key)?;
    let shown = url.split(['?', '#']).next().unwrap_or("").to_owned();
    Some((HttpTarget { url, ..http }, shown))
}

fn http(table: &mut Table<'_>) -> Option<Made> {
    let expect = watch::expect(table);
    let (http, label) = asked(table, "http")?;
    let target = TaskTarget::Look(ProbeTarget::Http { http, expect, figures: Vec::new() });
    Some(Made { kind: "check http", label, target })
}

fn certificate(table: &mut Table<'_>) -> Option<Made> {
    let valid_for = table.duration("valid_for", watch::SPANS).unwrap_or(VALID_FOR);
    let (http, label) = asked(table, "certificate")?;
    if !http.url.starts_with("https:") {
        table.problem("certificate", "`certificate` is an address that begins with https://");
        return None;
    }
    let target = TaskTarget::Certificate { http, valid_for };
    Some(Made { kind: "check certificate", label, target })
}

fn runtime(table: &mut Table<'_>) -> Option<Made> {
    let text = table.need("version").string("version");
    let bounds = text.and_then(|text| {
        let bounds: Option<Vec<Bound>> =
            text.split(',').map(|part| Bound::parse(part.trim())).collect();
        if bounds.is_none() {
            let why = "`version` is a list of bounds such as \">=18.2, <21\"";
            table.problem("version", why);
        }
        bounds
    });
    let program = program(table, "runtime")?;
    let label = label(&program.argv);
    Some(Made {
        kind: "check runtime",
        label,
        target: TaskTarget::Runtime { program, bounds: bounds? },
    })
}

fn disk(table: &mut Table<'_>) -> Option<Made> {
    let free_percent = table.number("free_percent", 0.0..=100.0);
    let free_gib = table.number("free_gib", 0.0..=1e6);
    if !table.has("free_percent") && !table.has("free_gib") {
        table.problem("disk", "`disk` needs `free_percent` or `free_gib`: how much room is enough");
    }
    let path = table.path("disk")?;
    let label = path.to_string_lossy().into_owned();
    let free_bytes = free_gib.map(|gib| gib * 1024.0 * 1024.0 * 1024.0);
    let target = TaskTarget::Disk { path, free_percent, free_bytes };
    Some(Made { kind: "check disk", label, target })
}

fn command(table: &mut Table<'_>) -> Option<Made> {
    let exit = table.integer("exit", 0..=255).unwrap_or(0);
    let output = table.string("output").and_then(|pattern| {
        if pattern.len() > PATTERN_BYTES_MAX {
            table.problem("output", format!("`output` is longer than {PATTERN_BYTES_MAX} bytes"));
            return None;
        }
        match regex_lite::Regex::new(&pattern) {
            Ok(regex) => Some(regex),
            Err(why) => {
                table.problem("output", format!("`output` is no regular expression: {why}"));
                None
            }
        }
    });
    let program = program(table, "command")?;
    let exit = i32::try_from(exit).expect("at most 255");
    let label = label(&program.argv);
    let target = TaskTarget::Command { program, exit, output };
    Some(Made { kind: "check command", label, target })
}

fn query(table: &mut Table<'_>, sources: &Sources) -> Option<Made> {
    const LEVELS: std::ops::RangeInclusive<f64> = -1e15..=1e15;
    let query = table.string("query")?;
    if let Err(why) = value::expression(&query) {
        table.problem("query", format!("`query` {why}"));
    }
    check_text(table, "query", &query);
    let baseline = table.string("baseline");
    if let Some(baseline) = &baseline {
        if let Err(why) = value::expression(baseline) {
            table.problem("baseline", format!("`baseline` {why}"));
        }
        check_text(table, "baseline", baseline);
    }
    let (above, below) = (table.number("above", LEVELS), table.number("below", LEVELS));
    if !table.has("above") && !table.has("below") {
        table.problem("query", "`query` needs `above` or `below`: where its values must lie");
    }
    if above.zip(below).is_some_and(|(above, below)| above >= below) {
        table.problem("below", "`below` is not above `above`: nothing lies between");
    }
    let http = metrics(table, sources)?;
    let label = query.chars().take(LABEL_CHARS_MAX).collect();
    let target = TaskTarget::Query { http, query, baseline, above, below };
    Some(Made { kind: "check query", label, target })
}

/// The Prometheus server that `metrics` names, or the only one.
pub fn metrics(table: &mut Table<'_>, sources: &Sources) -> Option<HttpTarget> {
    let servers = || {
        sources.iter().filter_map(|(name, source)| match source {
            Source::Prometheus(http) => Some((name.as_str(), http)),
            Source::Exposition(..) => None,
        })
    };
    let Some(name) = table.string("metrics") else {
        let mut all = servers();
        return match (all.next(), all.next()) {
            (Some((_, http)), None) if !table.has("metrics") => Some(http.clone()),
            _ => {
                table.need("metrics");
                None
            }
        };
    };
    let found = servers().find(|(own, _)| *own == name).map(|(_, http)| http.clone());
    if found.is_none() {
        let hint = value::nearest(&name, servers().map(|(name, _)| name))
            .map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        table
            .problem("metrics", format!("`metrics` names no Prometheus server of this file{hint}"));
    }
    found
}

fn file(table: &mut Table<'_>) -> Option<Made> {
    let format = table.word("format", &["json", "toml", "yaml"]).map(|word| match word {
        "json" => Format::Json,
        "toml" => Format::Toml,
        _ => Format::Yaml,
    });
    let keys = table.strings("keys").unwrap_or_default();
    if !keys.is_empty() && !table.has("format") {
        table.problem("keys", "`keys` needs `format`: what kind of document it is");
    }
    let names = table.strings("names").unwrap_or_default();
    if names.iter().any(String::is_empty) {
        table.problem("names", "`names` holds an empty name");
    }
    for name in &names {
        check_text(table, "names", name);
    }
    let path = table.string("file")?;
    check_text(table, "file", &path);
    if path.is_empty() {
        table.problem("file", "`file` is an empty path");
        return None;
    }
    let label = path.clone();
    let target = TaskTarget::File { dir: table.reader.dir.to_owned(), path, format, keys, names };
    Some(Made { kind: "check file", label, target })
}
