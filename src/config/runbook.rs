//! Runbooks beside the configuration: read once, whoever names them.
//!
//! Decides which names of pages there are, and that every placeholder of a command stands for
//! something. Never runs one. Contract: a problem of a page is told where the file names it, with
//! the page's own line.

use std::path::Path;

use engine::runbook::{self, Page, PageCommand, Runbook, What};
use engine::types::{TaskId, Untrusted};

use super::reader::Table;
use super::task::{Made, Tasks};
use super::value;
use crate::io::settings::{Given, Program, TaskTarget};
use crate::io::task::fill;

/// A page for people; more is a book.
const PAGE_BYTES_MAX: u64 = 256 * 1024;

/// Every page of the file, each once.
#[derive(Default)]
pub struct Runbooks {
    pub all: Vec<Runbook>,
}

impl Runbooks {
    /// The file's hash with what its pages say: another page is another configuration.
    pub fn hash(&self, file: &str) -> String {
        if self.all.is_empty() {
            return file.to_owned();
        }
        let pages = self.all.iter().flat_map(|own| &own.page.lines);
        let text = pages.fold(file.to_owned(), |text, line| text + "\n" + line.display());
        engine::record::sha256_hex(text.as_bytes())
    }

    /// `runbook = "runbooks/x.md"` or an address: what a person is shown.
    pub fn read(&mut self, table: &mut Table<'_>, tasks: &mut Tasks) -> Option<String> {
        let text = table.string("runbook")?;
        if text.contains("://") {
            return table.url("runbook");
        }
        table.path("runbook")?;
        self.add(table, "runbook", &text, tasks)
    }

    /// `runbooks = ["runbooks/x.md"]`: what alerts may name.
    pub fn read_more(&mut self, table: &mut Table<'_>, tasks: &mut Tasks) {
        for text in table.strings("runbooks").unwrap_or_default() {
            self.add(table, "runbooks", &text, tasks);
        }
    }

    fn add(
        &mut self,
        table: &Table<'_>,
        key: &'static str,
        text: &str,
        tasks: &mut Tasks,
    ) -> Option<String> {
        let path = table.reader.path(text);
        let shown = path.to_string_lossy().into_owned();
        if self.all.iter().any(|own| own.page.path == shown) {
            return Some(shown);
        }
        if !path.is_file() {
            table.warn(key, format!("`{key}`: there is no file {}", path.display()));
            return Some(shown);
        }
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let name = name.unwrap_or_default();
        if let Some(other) = self.all.iter().find(|own| own.page.name == name) {
            let other = other.page.path.clone();
            table.problem(key, format!("`{key}`: {other} is called `{name}`, too"));
            return None;
        }
        match page(&path, &name, &shown) {
            Ok(page) => {
                let made = page.commands.iter().map(|command| {
                    for why in unknown(command) {
                        let line = command.line;
                        table.problem(key, format!("`{key}`: {text}:{line}: {why}"));
                    }
                    made(command, &page.path).map(|made| tasks.add(made))
                });
                let tasks: Vec<Option<TaskId>> = made.collect();
                self.all.push(Runbook { page, tasks });
                Some(shown)
            }
            Err(troubles) => {
                for (line, why) in troubles {
                    table.problem(key, format!("`{key}`: {text}:{line}: {why}"));
                }
                None
            }
        }
    }
}

fn page(path: &Path, name: &str, shown: &str) -> Result<Page, Vec<runbook::Trouble>> {
    let wrong = |why: String| vec![(1, why)];
    let facts = std::fs::metadata(path).map_err(|error| wrong(error.to_string()))?;
    if facts.len() > PAGE_BYTES_MAX {
        return Err(wrong(format!("larger than {PAGE_BYTES_MAX} bytes")));
    }
    let bytes = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|_| wrong("is not UTF-8 text".to_owned()))?;
    runbook::parse(name, shown, &text, &|span| value::duration(span).ok())
}

/// Placeholders that stand for nothing.
fn unknown(command: &PageCommand) -> Vec<String> {
    let What::Words(words) = &command.what else { return Vec::new() };
    let known =
        |name: &&str| fill::NAMES.contains(name) || command.asks.iter().any(|own| own == name);
    let names = words.iter().flat_map(|word| fill::placeholders(word));
    let names = names.filter(|name| !known(name));
    names
        .map(|name| {
            let name = Untrusted::new(name);
            format!("`{{{name}}}` stands for nothing: declare it behind the fence, `ask={name}`")
        })
        .collect()
}

fn made(command: &PageCommand, path: &str) -> Option<Made> {
    let variable = |name: &String| (name.to_ascii_uppercase(), Given::Text(format!("{{{name}}}")));
    let program = match &command.what {
        What::Words(words) => Program { argv: words.clone(), env: [].into(), stdin: None },
        What::Script(text) => Program {
            argv: ["/bin/sh", "-eu", "-s"].map(str::to_owned).to_vec(),
            env: command.asks.iter().map(variable).collect(),
            stdin: Some(Given::Raw(text.clone())),
        },
        What::Refused { .. } => return None,
    };
    let label = format!("{path}:{}", command.line);
    Some(Made { kind: "runbook", label, target: TaskTarget::Run(program) })
}
