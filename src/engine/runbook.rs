//! Runbooks: pages of Markdown, and which of their lines a key may run.
//!
//! Decides what in a page is a command, what of it a shell would be needed for, and what must be
//! asked before. Never runs one. Contract: a command is the words of one line, without a shell;
//! what a shell would change of them is refused, with the reason; a block marked `script` is run
//! as a whole, and its values come as variables, never as text.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::record::{Entry, Event, RunResult, sha256_hex};
use crate::snapshot::RunView;
use crate::types::{Now, TaskId, Untrusted};

/// A page that a person scrolls through.
pub const LINES_MAX: usize = 5_000;

/// As long as a diagnosis may take unless its block says otherwise.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// Side by side; more of them nobody follows.
pub const RUNS_AT_ONCE_MAX: usize = 4;

/// The newest runs that stand on the screen; the journal has all of them.
pub(crate) const RUNS_SHOWN_MAX: usize = 20;

const VALUE_CHARS_MAX: usize = 200;

/// Blocks with these words are commands; others are text.
const SHELLS: [&str; 5] = ["sh", "bash", "shell", "console", "run"];

/// Characters that a shell would act on.
const SHELL_ONLY: &str = "|<>;&$`()";

/// A page with its commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    pub name: String,
    /// Where it was read, as services name it.
    pub path: String,
    pub lines: Vec<Untrusted>,
    pub commands: Vec<PageCommand>,
}

/// Something in a page that can be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageCommand {
    /// From 1.
    pub line: usize,
    pub what: What,
    /// It changes something: a person confirms it.
    pub changes: bool,
    pub timeout: Duration,
    /// Values that a person gives.
    pub asks: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    Words(Vec<String>),
    Script(String),
    /// Why it cannot be run.
    Refused {
        text: String,
        why: String,
    },
}

impl PageCommand {
    /// As a person reads it.
    #[must_use]
    pub fn text(&self) -> String {
        match &self.what {
            What::Words(words) => words.join(" "),
            What::Script(text) => {
                let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or("");
                format!("script: {}", first.trim())
            }
            What::Refused { text, .. } => text.clone(),
        }
    }

    /// What was seen is what is run: the page may have changed since.
    #[must_use]
    pub fn digest(&self) -> String {
        sha256_hex(format!("{:?}{:?}{}", self.what, self.asks, self.changes).as_bytes())
    }

    /// Why these values will not do.
    pub fn check(&self, values: &BTreeMap<String, String>) -> Result<(), String> {
        for name in &self.asks {
            let value = values.get(name).map_or("", String::as_str);
            if value.is_empty() {
                return Err(format!("`{name}` is not given"));
            }
            if value.chars().count() > VALUE_CHARS_MAX || value.chars().any(char::is_control) {
                return Err(format!("`{name}` is too long or holds a control character"));
            }
        }
        match values.keys().find(|name| !self.asks.contains(name)) {
            Some(name) => Err(format!("`{name}` is not asked for")),
            None => Ok(()),
        }
    }
}

/// A page and the task of each of its commands; `None` where it cannot be run.
#[derive(Clone, Debug)]
pub struct Runbook {
    pub page: Page,
    pub tasks: Vec<Option<TaskId>>,
}

/// What is wrong in a page, by its line from 1.
pub type Trouble = (usize, String);

struct Fence {
    line: usize,
    mark: char,
    len: usize,
    block: Option<Block>,
}

struct Block {
    changes: bool,
    script: bool,
    timeout: Duration,
    asks: Vec<String>,
    body: Vec<(usize, String)>,
}

/// Reads a page; every problem with its line. `span` reads a time as the configuration does.
pub fn parse(
    name: &str,
    path: &str,
    text: &str,
    span: &dyn Fn(&str) -> Option<Duration>,
) -> Result<Page, Vec<Trouble>> {
    let mut troubles = Vec::new();
    let mut commands = Vec::new();
    let mut open: Option<Fence> = None;
    for (number, line) in (1..).zip(text.lines()) {
        let trimmed = line.trim_start();
        let mark = trimmed.chars().next().filter(|c| matches!(c, '`' | '~')).unwrap_or(' ');
        let len = trimmed.chars().take_while(|c| *c == mark && *c != ' ').count();
        let info = trimmed[len..].trim();
        match &mut open {
            Some(fence) if mark == fence.mark && len >= fence.len && info.is_empty() => {
                if let Some(block) = open.take().and_then(|fence| fence.block) {
                    commands.extend(block.commands());
                }
            }
            Some(fence) => {
                if let Some(block) = &mut fence.block {
                    block.body.push((number, line.to_owned()));
                }
            }
            None if len >= 3 && !(mark == '`' && info.contains('`')) => {
                let block = block(info, span).unwrap_or_else(|why| {
                    troubles.push((number, why));
                    None
                });
                open = Some(Fence { line: number, mark, len, block });
            }
            None => {}
        }
    }
    if let Some(fence) = open {
        troubles.push((fence.line, "this fence is never closed".to_owned()));
    }
    let lines: Vec<Untrusted> = text.lines().map(Untrusted::new).collect();
    if lines.len() > LINES_MAX {
        troubles.push((LINES_MAX, format!("more than {LINES_MAX} lines")));
    }
    if !troubles.is_empty() {
        return Err(troubles);
    }
    Ok(Page { name: name.to_owned(), path: path.to_owned(), lines, commands })
}

/// What stands behind the marks of a fence: `sh changes timeout=2m ask=pid`.
fn block(info: &str, span: &dyn Fn(&str) -> Option<Duration>) -> Result<Option<Block>, String> {
    let mut words = info.split_whitespace();
    if !words.next().is_some_and(|first| SHELLS.contains(&first)) {
        return Ok(None);
    }
    let mut block = Block {
        changes: false,
        script: false,
        timeout: TIMEOUT,
        asks: Vec::new(),
        body: Vec::new(),
    };
    for word in words {
        match word.split_once('=') {
            None if word == "changes" => block.changes = true,
            None if word == "script" => block.script = true,
            Some(("timeout", text)) => {
                block.timeout = span(text).ok_or_else(|| format!("`{text}` is no time"))?;
            }
            Some(("ask", names)) => {
                for name in names.split(',') {
                    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
                    {
                        return Err(format!("`ask`: `{name}` is no name: letters a-z and `_`"));
                    }
                    block.asks.push(name.to_owned());
                }
            }
            _ => {
                return Err(format!(
                    "`{word}` is not known; known are changes, script, timeout=30s, ask=name"
                ));
            }
        }
    }
    Ok(Some(block))
}

impl Block {
    fn commands(self) -> Vec<PageCommand> {
        let Block { changes, script, timeout, asks, body } = self;
        let whole = |line: usize, what: What, asks: Vec<String>| PageCommand {
            line,
            what,
            changes,
            timeout,
            asks,
        };
        if script {
            let first = body.first().map_or(1, |(line, _)| *line);
            let text: String = body.into_iter().map(|(_, line)| line + "\n").collect();
            return vec![whole(first, What::Script(text), asks)];
        }
        let lines = body.into_iter().map(|(line, text)| {
            let text = text.trim().strip_prefix("$ ").unwrap_or(text.trim()).to_owned();
            (line, text)
        });
        let lines = lines.filter(|(_, text)| !text.is_empty() && !text.starts_with('#'));
        lines
            .map(|(line, text)| {
                let asked = |name: &&String| text.contains(&format!("{{{name}}}"));
                let own = asks.iter().filter(asked).cloned().collect();
                let what = match words(&text) {
                    Ok(words) => What::Words(words),
                    Err(why) => What::Refused { text, why },
                };
                whole(line, what, own)
            })
            .collect()
    }
}

/// The words of a line, as a shell without any of its powers would see them.
fn words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    let needs = |c: char| {
        format!("`{c}` needs a shell, and none reads it: mark the block `script` to run it whole")
    };
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        None => return Err("a ' is never closed".to_owned()),
                        Some('\'') => break,
                        Some(c) => word.push(c),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        None => return Err("a \" is never closed".to_owned()),
                        Some('"') => break,
                        Some('\\') => word.push(chars.next().unwrap_or('\\')),
                        Some(c @ ('$' | '`')) => return Err(needs(c)),
                        Some(c) => word.push(c),
                    }
                }
            }
            '\\' => match chars.next() {
                None => return Err("a line is a command: it does not go on below".to_owned()),
                Some(c) => word.get_or_insert_default().push(c),
            },
            c if SHELL_ONLY.contains(c) => return Err(needs(c)),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    match words.first() {
        None => Err("there is no program".to_owned()),
        Some(first) if first.contains(['{', '=']) => {
            Err("the program itself is never a placeholder or a variable".to_owned())
        }
        Some(_) => Ok(words),
    }
}

/// The newest runs, as the journal tells them.
#[derive(Clone, Debug, Default)]
pub struct Runs {
    views: VecDeque<RunView>,
    /// Runs whose end is on its way to the journal: they are not shown as over.
    unrecorded: BTreeSet<u64>,
    pub last: u64,
}

impl Runs {
    /// Takes what is on record; true when it changes what is shown.
    pub fn apply(&mut self, entry: &Entry, now: Now) -> bool {
        let age = (now.wall - entry.at).to_std().unwrap_or_default();
        let at = Now { mono: now.mono - age, wall: entry.at };
        if let Event::RunbookStarted { run, submission, runbook, line, command, incident, .. } =
            &entry.event
        {
            self.last = self.last.max(*run);
            if self.views.len() == RUNS_SHOWN_MAX {
                self.views.pop_front();
            }
            self.views.push_back(RunView {
                run: *run,
                submission: submission.clone(),
                runbook: runbook.clone(),
                line: *line,
                command: command.clone(),
                incident: incident.clone(),
                user: entry.actor.user.clone(),
                started: at,
                ended: None,
                result: None,
                output: Untrusted::default(),
            });
            return true;
        }
        let Event::RunbookEnded { run, result, output } = &entry.event else { return false };
        if let Some(view) = self.views.iter_mut().find(|view| view.run == *run) {
            view.ended = Some(at);
            view.result = Some(*result);
            view.output = output.clone();
        }
        true
    }

    /// The end of a run goes to the journal.
    pub fn await_record(&mut self, run: u64) {
        self.unrecorded.insert(run);
    }

    /// The journal has its end, or says itself that it takes nothing.
    pub fn recorded(&mut self, run: u64) {
        self.unrecorded.remove(&run);
    }

    /// Newest last.
    #[must_use]
    pub fn views(&self) -> Vec<RunView> {
        let shown = |view: &RunView| {
            if !self.unrecorded.contains(&view.run) {
                return view.clone();
            }
            RunView { ended: None, result: None, output: Untrusted::default(), ..view.clone() }
        };
        self.views.iter().map(shown).collect()
    }

    /// Those that are not over.
    pub fn open(&self) -> impl Iterator<Item = &RunView> {
        self.views.iter().filter(|view| view.result.is_none())
    }
}

#[must_use]
pub fn result_word(result: RunResult) -> &'static str {
    match result {
        RunResult::Passed => "done",
        RunResult::Failed => "FAILED",
        RunResult::Unknown => "UNKNOWN",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(text: &str) -> Option<Duration> {
        text.strip_suffix('s')?.parse().ok().map(Duration::from_secs)
    }

    fn read(text: &str) -> Result<Page, Vec<Trouble>> {
        parse("x", "x.md", text, &seconds)
    }

    fn check(line: &str, expected: Result<&[&str], &str>) {
        match (words(line), expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{line}"),
            (Err(why), Err(part)) => assert!(why.contains(part), "{line}: {why}"),
            (found, expected) => panic!("{line}: {found:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn a_line_is_words_and_nothing_that_a_shell_would_do() {
        check(
            "psql -c 'select 1; | > $x' {service}",
            Ok(&["psql", "-c", "select 1; | > $x", "{service}"]),
        );
        check("echo \"a b\" c\\ d ''", Ok(&["echo", "a b", "c d", ""]));
        check("a | b", Err("`|` needs a shell"));
        check("a > b", Err("`>` needs a shell"));
        check("echo $HOME", Err("`$` needs a shell"));
        check("echo \"$HOME\"", Err("`$` needs a shell"));
        check("a && b", Err("`&` needs a shell"));
        check("a 'b", Err("never closed"));
        check("a \\", Err("does not go on below"));
        check("X=1 a", Err("never a placeholder or a variable"));
        check("{service} a", Err("never a placeholder"));
    }

    #[test]
    fn fenced_commands_are_found_with_their_lines() {
        let text = "# Stuck\n\n```sh\n# look first\n$ ps {service}\ndf | head\n```\n\n~~~json\n{}\n\
                    ```\n~~~\n```sh changes timeout=90s ask=pid,why\nkill {pid}\n```\n\
                    ```bash script changes\nps | head\n```\n";
        let page = read(text).expect("it is whole");
        let told = page.commands.iter().map(|it| (it.line, it.text(), it.changes));
        let told: Vec<(usize, String, bool)> = told.collect();
        let expected = [
            (5, "ps {service}", false),
            (6, "df | head", false),
            (14, "kill {pid}", true),
            (17, "script: ps | head", true),
        ];
        let expected = expected.map(|(line, text, changes)| (line, text.to_owned(), changes));
        assert_eq!(told, expected);
        assert!(matches!(&page.commands[1].what, What::Refused { why, .. } if why.contains("`|`")));
        assert_eq!(page.commands[2].asks, ["pid"], "only what the line names");
        assert_eq!(page.commands[2].timeout, Duration::from_secs(90));
        let values = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        assert!(page.commands[2].check(&values(&[("pid", "12")])).is_ok());
        assert!(page.commands[2].check(&values(&[])).is_err());
        assert!(page.commands[2].check(&values(&[("pid", "1\n2")])).is_err());
        assert!(page.commands[2].check(&values(&[("pid", "1"), ("x", "2")])).is_err());
    }

    #[test]
    fn what_is_broken_is_told_with_its_line() {
        let check = |text: &str, line: usize, part: &str| {
            let troubles = read(text).expect_err(text);
            assert!(troubles[0].0 == line && troubles[0].1.contains(part), "{troubles:?}");
        };
        check("a\n```sh\nls\n", 2, "never closed");
        check("```sh\nls\n~~~\n", 1, "never closed");
        check("a\n\n```sh chnages\nls\n```\n", 3, "`chnages` is not known");
        check("```sh timeout=long\nls\n```\n", 1, "`long` is no time");
        check("```sh ask=P-1\nls\n```\n", 1, "is no name");
        let long = "x\n".repeat(LINES_MAX + 1);
        check(&long, LINES_MAX, "more than 5000 lines");
    }
}
