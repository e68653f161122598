//! The walk over the parsed file: one typed question for each key.
//!
//! Decides what is a problem of shape: wrong type, missing key, unknown key. Never stops at a
//! problem, so that all are reported at once. Contract: every key that is asked for becomes known,
//! and [`Table::finish`] reports the rest; no value of the file is ever part of a text here.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use engine::types::{Percent, Untrusted};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Problem, value};
use crate::io::settings::Secret;

/// Longest list in the file: more entries are a mistake of a generator, not an environment.
pub const LIST_MAX: usize = 500;

/// Longest string: enough for any query or URL, too short to hide something in.
pub const STRING_BYTES_MAX: usize = 8192;

/// The place of the outermost table.
const ROOT: &str = "root";

/// After that many problems nobody reads on.
const PROBLEMS_MAX: usize = 100;

pub type Node<'a> = Spanned<DeValue<'a>>;

/// What all tables share: where paths begin, the environment, and what was found so far.
pub struct Reader<'a> {
    pub dir: &'a Path,
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// No secret is looked up: who only looks has none.
    pub blind: bool,
    /// A secret's command runs once, however many parts use it.
    pub fetched: RefCell<BTreeMap<Vec<String>, Secret>>,
    /// How long secrets' commands took so far.
    pub spent: Cell<Duration>,
    problems: RefCell<Vec<(usize, String)>>,
    warnings: RefCell<Vec<(usize, String)>>,
    asked: RefCell<BTreeSet<String>>,
}

impl<'a> Reader<'a> {
    pub fn new(dir: &'a Path, env: &'a dyn Fn(&str) -> Option<String>) -> Reader<'a> {
        Reader {
            dir,
            env,
            blind: false,
            fetched: RefCell::default(),
            spent: Cell::default(),
            problems: RefCell::default(),
            warnings: RefCell::default(),
            asked: RefCell::default(),
        }
    }

    pub fn problem(&self, at: usize, text: impl Into<String>) {
        self.problems.borrow_mut().push((at, text.into()));
    }

    pub fn warn(&self, at: usize, text: impl Into<String>) {
        self.warnings.borrow_mut().push((at, text.into()));
    }

    /// Problems, warnings, and every key asked for as `place.key`.
    pub fn into_findings(self, text: &str) -> (Vec<Problem>, Vec<Problem>, BTreeSet<String>) {
        let problems = placed(text, self.problems.into_inner());
        let warnings = placed(text, self.warnings.into_inner());
        (problems, warnings, self.asked.into_inner())
    }

    /// `path` as it stands in the file, from the file's directory on.
    pub fn path(&self, path: &str) -> PathBuf {
        self.dir.join(path)
    }

    /// A program named by a path is found from the file's directory; a bare name from `PATH`.
    pub fn program(&self, mut argv: Vec<String>) -> Vec<String> {
        if let Some(program) = argv.first_mut()
            && program.contains('/')
        {
            let plain = program.strip_prefix("./").unwrap_or(program);
            *program = self.path(plain).to_string_lossy().into_owned();
        }
        argv
    }

    /// A string within its limit.
    pub fn text(&self, key: &str, node: &Node<'a>) -> Option<String> {
        let DeValue::String(text) = node.get_ref() else {
            self.mistyped(key, "a string", node);
            return None;
        };
        if text.len() > STRING_BYTES_MAX {
            self.problem(
                node.span().start,
                format!("`{key}` is longer than {STRING_BYTES_MAX} bytes"),
            );
            return None;
        }
        if text.contains('\0') {
            self.problem(node.span().start, format!("`{key}` contains a NUL byte"));
            return None;
        }
        Some(text.to_string())
    }

    pub fn mistyped(&self, key: &str, wanted: &str, node: &Node<'a>) {
        let found = match node.get_ref().type_str() {
            kind @ ("integer" | "array") => format!("an {kind}"),
            kind => format!("a {kind}"),
        };
        self.problem(node.span().start, format!("`{key}` is {wanted}, not {found}"));
    }

    /// Every element by `read`; a list that is too long is a problem of its own.
    pub fn list<T>(
        &self,
        key: &str,
        node: &'a Node<'a>,
        wanted: &str,
        mut read: impl FnMut(&'a Node<'a>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let DeValue::Array(items) = node.get_ref() else {
            self.mistyped(key, wanted, node);
            return None;
        };
        if items.len() > LIST_MAX {
            self.problem(
                node.span().start,
                format!("`{key}` has {} entries; at most {LIST_MAX}", items.len()),
            );
            return None;
        }
        // All are read before any missing one is noticed, so that each reports its problems.
        let read: Vec<Option<T>> = items.iter().map(&mut read).collect();
        read.into_iter().collect()
    }

    pub fn table(
        &'a self,
        key: &str,
        place: &'static str,
        wanted: &str,
        node: &'a Node<'a>,
    ) -> Option<Table<'a>> {
        let DeValue::Table(map) = node.get_ref() else {
            self.mistyped(key, wanted, node);
            return None;
        };
        Some(Table { reader: self, place, at: node.span().start, map, known: Vec::new() })
    }
}

/// Sorted by place, without doubles, with line and column.
pub fn placed(text: &str, mut found: Vec<(usize, String)>) -> Vec<Problem> {
    found.sort();
    found.dedup();
    let more = found.len().saturating_sub(PROBLEMS_MAX);
    found.truncate(PROBLEMS_MAX);
    let starts: Vec<usize> =
        std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
    let mut problems: Vec<Problem> = found
        .into_iter()
        .map(|(at, text_of)| {
            let mut at = at.min(text.len());
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            let line = starts.partition_point(|start| *start <= at);
            let column = 1 + text[starts[line - 1]..at].chars().count();
            // Paths and names of programs in it come from outside.
            let text = Untrusted::new(&text_of).display().to_owned();
            Problem { line, column, text }
        })
        .collect();
    if more > 0
        && let Some(last) = problems.last().cloned()
    {
        problems.push(Problem { text: format!("and {more} more problems"), ..last });
    }
    problems
}

/// One table of the file.
pub struct Table<'a> {
    pub reader: &'a Reader<'a>,
    /// What it is called in texts and in the schema.
    place: &'static str,
    at: usize,
    map: &'a DeTable<'a>,
    known: Vec<&'static str>,
}

impl<'a> Table<'a> {
    pub fn root(reader: &'a Reader<'a>, map: &'a DeTable<'a>) -> Table<'a> {
        Table { reader, place: ROOT, at: 0, map, known: Vec::new() }
    }

    pub fn get(&mut self, key: &'static str) -> Option<&'a Node<'a>> {
        if !self.known.contains(&key) {
            self.known.push(key);
            self.reader.asked.borrow_mut().insert(format!("{}.{key}", self.place));
        }
        self.map.get(key)
    }

    /// What it is called in texts.
    fn called(&self) -> String {
        if self.place == ROOT { "the file".to_owned() } else { format!("`{}`", self.place) }
    }

    pub fn has(&self, key: &str) -> bool {
        self.map.contains_key(key)
    }

    /// Where the value of `key` stands, or the table when there is none.
    pub fn place_of(&self, key: &str) -> usize {
        self.map.get(key).map_or(self.at, |node| node.span().start)
    }

    pub fn problem(&self, key: &str, text: impl Into<String>) {
        self.reader.problem(self.place_of(key), text);
    }

    pub fn warn(&self, key: &str, text: impl Into<String>) {
        self.reader.warn(self.place_of(key), text);
    }

    /// Reports `key` when it is missing.
    pub fn need(&mut self, key: &'static str) -> &mut Self {
        if self.get(key).is_none() {
            self.problem(key, format!("{} needs `{key}`", self.called()));
        }
        self
    }

    /// Reports each of `keys` that is there: it has no meaning for this kind.
    pub fn refuse(&mut self, keys: &[&'static str], why: &str) {
        for key in keys {
            if self.get(key).is_some() {
                self.problem(key, format!("`{key}` {why}"));
            }
        }
    }

    /// The one of `kinds` that is there.
    pub fn one_of(&mut self, kinds: &[&'static str]) -> Option<&'static str> {
        let there: Vec<&'static str> =
            kinds.iter().copied().filter(|kind| self.get(kind).is_some()).collect();
        let names = || quoted(kinds, "or");
        match there.as_slice() {
            [kind] => Some(kind),
            [] => {
                self.problem("", format!("{} needs one of {}", self.called(), names()));
                None
            }
            [_, second, ..] => {
                self.problem(
                    second,
                    format!("{} takes only one of {}", self.called(), quoted(&there, "and")),
                );
                None
            }
        }
    }

    pub fn string(&mut self, key: &'static str) -> Option<String> {
        let node = self.get(key)?;
        self.reader.text(key, node)
    }

    /// One of a few fixed words.
    pub fn word(&mut self, key: &'static str, words: &[&'static str]) -> Option<&'static str> {
        let text = self.string(key)?;
        let found = words.iter().copied().find(|word| *word == text);
        if found.is_none() {
            let hint = value::nearest(&text, words.iter().copied())
                .map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            self.problem(key, format!("`{key}` is one of {}{hint}", quoted(words, "or")));
        }
        found
    }

    /// A name that stands in commands, journals and file names.
    pub fn name(&mut self, key: &'static str) -> Option<String> {
        let name = self.string(key)?;
        if let Err(why) = value::name(&name) {
            self.problem(key, format!("`{key}` {why}"));
            return None;
        }
        Some(name)
    }

    pub fn boolean(&mut self, key: &'static str) -> Option<bool> {
        let node = self.get(key)?;
        let DeValue::Boolean(value) = node.get_ref() else {
            self.reader.mistyped(key, "true or false", node);
            return None;
        };
        Some(*value)
    }

    pub fn integer(&mut self, key: &'static str, range: RangeInclusive<u32>) -> Option<u32> {
        let node = self.get(key)?;
        let DeValue::Integer(value) = node.get_ref() else {
            self.reader.mistyped(key, "a whole number", node);
            return None;
        };
        let value = i64::from_str_radix(value.as_str(), value.radix())
            .ok()
            .and_then(|value| u32::try_from(value).ok())
            .filter(|value| range.contains(value));
        if value.is_none() {
            self.problem(key, format!("`{key}` is from {} to {}", range.start(), range.end()));
        }
        value
    }

    /// A number, whole or with a fraction.
    pub fn number(&mut self, key: &'static str, range: RangeInclusive<f64>) -> Option<f64> {
        let node = self.get(key)?;
        let Some(number) = figure(node) else {
            self.reader.mistyped(key, "a number", node);
            return None;
        };
        let number = Some(number).filter(|number| range.contains(number));
        if number.is_none() {
            self.problem(key, format!("`{key}` is from {} to {}", range.start(), range.end()));
        }
        number
    }

    pub fn duration(
        &mut self,
        key: &'static str,
        range: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let node = self.get(key)?;
        let DeValue::String(text) = node.get_ref() else {
            self.reader.mistyped(key, "a duration such as \"5s\" or \"1h30m\"", node);
            return None;
        };
        match value::duration(text) {
            Err(why) => {
                self.problem(key, format!("`{key}` {why}"));
                None
            }
            Ok(span) if !range.contains(&span) => {
                let shown = |span: &Duration| value::duration_text(*span);
                self.problem(
                    key,
                    format!("`{key}` is from {} to {}", shown(range.start()), shown(range.end())),
                );
                None
            }
            Ok(span) => Some(span),
        }
    }

    pub fn strings(&mut self, key: &'static str) -> Option<Vec<String>> {
        let node = self.get(key)?;
        self.reader.list(key, node, "a list of strings", |item| self.reader.text(key, item))
    }

    /// One string, or a list of them.
    pub fn string_or_list(&mut self, key: &'static str) -> Option<Vec<String>> {
        let node = self.get(key)?;
        if let DeValue::String(_) = node.get_ref() {
            return self.reader.text(key, node).map(|text| vec![text]);
        }
        self.reader
            .list(key, node, "a string or a list of strings", |item| self.reader.text(key, item))
    }

    /// A program and its arguments: never a line for a shell.
    pub fn argv(&mut self, key: &'static str) -> Option<Vec<String>> {
        let node = self.get(key)?;
        let wanted = "a list of a program and its arguments (no shell reads it)";
        let argv = self.reader.list(key, node, wanted, |item| self.reader.text(key, item))?;
        if argv.first().is_none_or(String::is_empty) {
            self.problem(key, format!("`{key}` names no program"));
            return None;
        }
        Some(self.reader.program(argv))
    }

    pub fn url(&mut self, key: &'static str) -> Option<String> {
        let text = self.string(key)?;
        if let Err(why) = value::url(&text) {
            self.problem(key, format!("`{key}` {why}"));
            return None;
        }
        Some(text)
    }

    pub fn path(&mut self, key: &'static str) -> Option<PathBuf> {
        let text = self.string(key)?;
        if text.is_empty() {
            self.problem(key, format!("`{key}` is an empty path"));
            return None;
        }
        Some(self.reader.path(&text))
    }

    pub fn table(&mut self, key: &'static str, place: &'static str) -> Option<Table<'a>> {
        let node = self.get(key)?;
        self.reader.table(key, place, "a table", node)
    }

    /// The tables of a list, or the one table that may stand in its place.
    pub fn tables(&mut self, key: &'static str, place: &'static str) -> Vec<Table<'a>> {
        let Some(node) = self.get(key) else { return Vec::new() };
        if let DeValue::Table(_) = node.get_ref() {
            return self.reader.table(key, place, "a table", node).into_iter().collect();
        }
        let reader = self.reader;
        reader
            .list(key, node, "a table or a list of tables", |item| {
                reader.table(key, place, "a list of tables", item)
            })
            .unwrap_or_default()
    }

    /// Every entry of a table whose keys are the user's own; too many are a problem.
    pub fn entries(&self) -> impl Iterator<Item = (String, usize, &'a Node<'a>)> + use<'a> {
        if self.map.len() > LIST_MAX {
            let text = format!("{} has more than {LIST_MAX} entries", self.called());
            self.reader.problem(self.at, text);
        }
        self.map
            .iter()
            .take(LIST_MAX)
            .map(|(key, node)| (key.get_ref().to_string(), key.span().start, node))
    }

    /// Reports every key that nobody asked for.
    pub fn finish(self) {
        for key in self.map.keys() {
            if self.known.iter().any(|known| *known == key.get_ref().as_ref()) {
                continue;
            }
            let shown = shown_key(key.get_ref());
            let mut known = self.known.clone();
            known.sort_unstable();
            let hint = value::nearest(key.get_ref(), known.iter().copied())
                .map_or(String::new(), |near| format!("did you mean `{near}`? "));
            self.reader.problem(
                key.span().start,
                format!(
                    "unknown key `{shown}` in {}; {hint}known here: {}",
                    self.called(),
                    known.join(", ")
                ),
            );
        }
    }
}

/// An integer or a float as it stands; `None` for anything else.
pub fn figure(node: &Node<'_>) -> Option<f64> {
    match node.get_ref() {
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .ok()
            .and_then(|number| i32::try_from(number).ok())
            .map_or(Some(f64::NAN), |number| Some(f64::from(number))),
        DeValue::Float(number) => Some(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::String(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_)
        | DeValue::Array(_)
        | DeValue::Table(_) => None,
    }
}

/// A share of the traffic: routers take whole percents only.
pub fn share(reader: &Reader<'_>, key: &str, least: u8, node: &Node<'_>) -> Option<Percent> {
    let DeValue::Integer(number) = node.get_ref() else {
        reader.mistyped(key, "a whole percent", node);
        return None;
    };
    let share = i64::from_str_radix(number.as_str(), number.radix())
        .ok()
        .and_then(|number| u8::try_from(number).ok())
        .filter(|number| *number >= least)
        .and_then(Percent::new);
    if share.is_none() {
        let text = format!("`{key}` is a whole percent, from {least} to 100");
        reader.problem(node.span().start, text);
    }
    share
}

/// A key of the file as it may be shown: cleaned and short.
fn shown_key(key: &str) -> String {
    let head: String = key.chars().take(64).collect();
    Untrusted::new(&head).display().to_owned()
}

fn quoted(words: &[&str], last: &str) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match words.as_slice() {
        [] => String::new(),
        [word] => word.clone(),
        [head @ .., tail] => format!("{} {last} {tail}", head.join(", ")),
    }
}
