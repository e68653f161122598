//! Runbooks from the command line: read, and one of their commands run.
//!
//! Decides how a page is printed. Never runs what changes something without the alias. Contract:
//! 0 only when the command ended well; 1 when it was refused or failed, 3 when nobody knows.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use engine::command::{Command, Reply, Submission};
use engine::record::RunResult;
use engine::runbook::{Page, PageCommand, What, result_word};
use engine::types::{Actor, Untrusted};

use crate::cli::{Exit, Global, UNAVAILABLE, USAGE, complain, print, submission_id, wait_for};

/// Beside the command's own time.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Args)]
pub struct Runbook {
    /// Its file's name without `.md`; without it all are listed
    name: Option<String>,
    /// Run the command with this number
    #[arg(
        long,
        value_name = "N",
        requires = "name",
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    run: Option<u32>,
    /// What `{service}`, `{version}` and `{group}` are about
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// The incident that it is about, by its key
    #[arg(long, value_name = "KEY")]
    incident: Option<String>,
    /// A value that the command asks for
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = pair)]
    values: Vec<(String, String)>,
    /// The alias of the service, or `run`: for what changes something
    #[arg(long, value_name = "ALIAS", default_value = "")]
    confirm: String,
    /// Why; kept in the journal
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("it is NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

pub fn run(args: &Runbook, global: &Global) -> Result<u8, Exit> {
    let (_, loaded) = global.load()?;
    let books = &loaded.engine.runbooks;
    let Some(name) = &args.name else {
        let lines = books.iter().map(|book| {
            let (page, count) = (&book.page, book.page.commands.len());
            format!("{:<24} {count} commands  {}\n", page.name, page.path)
        });
        return print(&lines.collect::<String>());
    };
    let Some(book) = books.iter().find(|own| own.page.name == *name) else {
        let names: Vec<&str> = books.iter().map(|own| own.page.name.as_str()).collect();
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        return Err(Exit::new(USAGE, format!("no runbook {name}; there are {names}")));
    };
    let Some(number) = args.run else { return print(&text(&book.page)) };
    let place = number - 1;
    let Some(command) = book.page.commands.get(place as usize) else {
        let count = book.page.commands.len();
        return Err(Exit::new(USAGE, format!("{name} has {count} commands")));
    };
    if let What::Refused { why, .. } = &command.what {
        return Err(Exit::new(1, format!("{}: {why}", command.text())));
    }
    let alias = args.service.as_ref().and_then(|service| {
        loaded.engine.services.iter().find(|own| own.name == *service).map(|own| own.alias.clone())
    });
    let alias = alias.unwrap_or_else(|| "run".to_owned());
    if command.changes && args.confirm != alias {
        let text = command.text();
        return Err(Exit::new(USAGE, format!("{text} changes something: --confirm {alias}")));
    }
    let request = Command::Runbook {
        runbook: name.clone(),
        place,
        digest: command.digest(),
        service: args.service.clone(),
        incident: args.incident.clone(),
        values: args.values.iter().cloned().collect::<BTreeMap<_, _>>(),
        reason: Untrusted::new(&args.reason),
    };
    follow(request, command, global)
}

/// The page with a number before each command.
fn text(page: &Page) -> String {
    let mut out = String::new();
    for (line, text) in (1..).zip(&page.lines) {
        let own = (1..).zip(&page.commands).find(|(_, command)| command.line == line);
        let Some((number, command)) = own else {
            out += &format!("      {text}\n");
            continue;
        };
        let mark = if command.changes { "!" } else { " " };
        out += &format!("[{number:>2}]{mark} {text}\n");
        if let What::Refused { why, .. } = &command.what {
            out += &format!("        cannot be run: {why}\n");
        }
    }
    out
}

fn follow(request: Command, command: &PageCommand, global: &Global) -> Result<u8, Exit> {
    let mut link = global.link()?;
    let submission = Submission {
        id: submission_id(),
        command: request,
        expected: None,
        seen: Untrusted::new(&command.text()),
        // The engine replaces it by what the kernel says.
        actor: Actor::engine(),
        read_only: global.read_only,
    };
    let reply = link
        .submit(&submission)
        .map_err(|failure| Exit::new(UNAVAILABLE, failure.text.to_string()))?;
    if let Reply::Refused { why, .. } = reply {
        return Err(Exit::new(1, why.to_string()));
    }
    let ended = wait_for(&mut link, command.timeout + PATIENCE, |snapshot| {
        let own = snapshot.head.runs.iter().find(|run| run.submission == submission.id)?;
        Some((own.result?, own.output.clone()))
    });
    let Some((result, output)) = ended else {
        return Err(Exit::new(3, "it has no result: the engine may have been restarted"));
    };
    let output = output.display().replace('\u{240a}', "\n");
    print(&format!("{output}\n"))?;
    complain(&format!("quarterdeck: {}", result_word(result)));
    Ok(match result {
        RunResult::Passed => 0,
        RunResult::Failed => 1,
        RunResult::Unknown => 3,
    })
}
