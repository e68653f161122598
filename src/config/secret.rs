//! Secrets by reference: from the environment, a file, or a command.
//!
//! Decides whether a secret is there. Never shows a value: texts name the variable, the file or
//! the program only; of a file it keeps none. Contract: a missing secret is a warning; only a wrong
//! shape is a problem, and a command is over within its limit.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use toml::de::DeValue;

use super::reader::{Node, Reader, Table};
use super::value;
use crate::io::secret::{BYTES_MAX, checked, of_file};
use crate::io::settings::Secret;

/// A password manager that takes longer is waiting for a person who is not there.
const COMMAND_LIMIT: Duration = Duration::from_secs(5);

/// All commands together: a start that takes longer looks like a hang.
const COMMANDS_LIMIT: Duration = Duration::from_secs(15);

/// How often an ending command is looked at.
const POLL: Duration = Duration::from_millis(5);

/// The secret under `key`; `None` when the key is missing or misshapen.
pub fn secret(table: &mut Table<'_>, key: &'static str) -> Option<Secret> {
    let reader = table.reader;
    let node = table.get(key)?;
    from_node(reader, key, node)
}

/// The secret that stands in `node`.
pub fn from_node<'a>(reader: &'a Reader<'a>, key: &str, node: &'a Node<'a>) -> Option<Secret> {
    let DeValue::Table(_) = node.get_ref() else {
        reader.problem(
            node.span().start,
            format!(
                "`{key}` is a secret and never stands in this file: write {{ env = \"NAME\" }}, \
                 {{ file = \"PATH\" }} or {{ command = [\"PROGRAM\", \"ARGUMENT\"] }}"
            ),
        );
        return None;
    };
    let mut table = reader.table(key, "secret", "a secret", node)?;
    let kind = table.one_of(&["env", "file", "command"]);
    let variable = table.string("env");
    let file = table.path("file");
    let argv = table.argv("command");
    table.finish();
    if reader.blind {
        return Some(Secret::Missing("a console that only looks has no secrets".to_owned()));
    }
    let found = match kind? {
        "env" => from_env(reader, &variable?),
        "file" => from_file(reader, node.span().start, key, file?),
        _ => from_command(reader, &argv?),
    };
    if let Secret::Missing(why) = &found {
        reader.warn(node.span().start, format!("`{key}`: {why}"));
    }
    Some(found)
}

/// How a shell gets at the secret that stands under `key`, for a person who has to.
pub fn in_shell(table: &mut Table<'_>, key: &'static str) -> Option<String> {
    let reader = table.reader;
    let DeValue::Table(map) = table.get(key)?.get_ref() else { return None };
    let text = |name: &str| match map.get(name).map(toml::Spanned::get_ref) {
        Some(DeValue::String(text)) => Some(text.to_string()),
        Some(_) | None => None,
    };
    if let Some(variable) = text("env") {
        return Some(format!("${variable}"));
    }
    if let Some(file) = text("file") {
        let path = reader.path(&file);
        return Some(format!("$(cat {})", value::shell_word(&path.to_string_lossy())));
    }
    let DeValue::Array(argv) = map.get("command")?.get_ref() else { return None };
    let words = argv.iter().map(|word| match word.get_ref() {
        DeValue::String(text) => Some(text.to_string()),
        _ => None,
    });
    let argv = reader.program(words.collect::<Option<Vec<String>>>()?);
    let words: Vec<String> = argv.iter().map(|word| value::shell_word(word)).collect();
    Some(format!("$({})", words.join(" ")))
}

fn from_env(reader: &Reader<'_>, variable: &str) -> Secret {
    match (reader.env)(variable) {
        Some(value) => found(&value, &format!("environment variable {variable}")),
        None => Secret::Missing(format!("environment variable {variable} is not set")),
    }
}

/// What is wrong with it now may be right when it is used.
fn from_file(reader: &Reader<'_>, at: usize, key: &str, path: PathBuf) -> Secret {
    let (value, is_open) = of_file(&path);
    if let Err(why) = value {
        reader.warn(at, format!("`{key}`: {why}"));
    }
    if is_open {
        let shown = path.display();
        reader.warn(at, format!("file {shown} is open to every user; chmod 600 closes it"));
    }
    Secret::File(path)
}

fn from_command(reader: &Reader<'_>, argv: &[String]) -> Secret {
    if let Some(known) = reader.fetched.borrow().get(argv) {
        return known.clone();
    }
    let program = argv.first().map_or("", String::as_str);
    let begin = Instant::now();
    let left = COMMANDS_LIMIT.saturating_sub(reader.spent.get());
    let result = run(argv, COMMAND_LIMIT.min(left));
    reader.spent.set(reader.spent.get() + begin.elapsed());
    let found = match result {
        Ok(text) => found(&text, &format!("command {program}")),
        Err(why) => Secret::Missing(format!("command {program} {why}")),
    };
    reader.fetched.borrow_mut().insert(argv.to_vec(), found.clone());
    found
}

fn found(text: &str, origin: &str) -> Secret {
    checked(text, origin).map_or_else(Secret::Missing, Secret::Known)
}

/// What the program prints, if it ends well within the limit. Its own process group ends with it.
fn run(argv: &[String], limit: Duration) -> Result<String, String> {
    let deadline = Instant::now() + limit;
    let (program, arguments) = argv.split_first().ok_or("is empty")?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|error| format!("did not start: {error}"))?;
    let result = collect(&mut child, deadline);
    if result.is_err() {
        end(&mut child);
    }
    result
}

fn collect(child: &mut Child, deadline: Instant) -> Result<String, String> {
    let late = || "took longer than 5s, or all commands longer than 15s".to_owned();
    let output = child.stdout.take().ok_or("gave no output")?;
    let (sender, receiver) = mpsc::channel();
    // The thread ends with the pipe, which ends with the process group.
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = output.take(BYTES_MAX + 1).read_to_end(&mut bytes);
        // Nobody listens any more after the deadline.
        let _ = sender.send(read.map(|_| bytes));
    });
    let left = deadline.saturating_duration_since(Instant::now());
    let bytes = receiver
        .recv_timeout(left)
        .map_err(|_| late())?
        .map_err(|error| format!("could not be read: {error}"))?;
    let status = loop {
        if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
            break status;
        }
        if Instant::now() >= deadline {
            return Err(late());
        }
        std::thread::sleep(POLL);
    };
    if !status.success() {
        return Err(format!("failed: {status}"));
    }
    String::from_utf8(bytes).map_err(|_| "printed something else than UTF-8 text".to_owned())
}

/// The group first, so that what the program started does not stay behind.
fn end(child: &mut Child) {
    let group = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(group) = group {
        // It may have ended by itself in the meantime.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let _ = child.kill();
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv(words: &[&str]) -> Vec<String> {
        words.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_command_gives_its_line() {
        assert_eq!(run(&argv(&["printf", "s3cret\\n"]), COMMAND_LIMIT).as_deref(), Ok("s3cret\n"));
    }

    #[test]
    fn a_command_that_fails_or_hangs_gives_nothing() {
        assert!(run(&argv(&["false"]), COMMAND_LIMIT).is_err());
        assert!(run(&argv(&["/nonexistent/program"]), COMMAND_LIMIT).is_err());
        let begin = Instant::now();
        let limit = Duration::from_millis(100);
        assert!(run(&argv(&["sh", "-c", "sleep 60 & sleep 60"]), limit).is_err());
        assert!(begin.elapsed() < Duration::from_secs(5));
    }
}
