//! The doctor's look at the terminal.
//!
//! Decides what the terminal can do, as far as it says so. Never waits for an answer longer than
//! half a second. Contract: the line settings are as before, whatever the terminal answers.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use ratatui::crossterm::terminal::{disable_raw_mode, enable_raw_mode};

use super::{Finding, State};
use crate::cli::console::{ColorChoice, knows_modes, symbols};
use crate::io::input::{Input, Reader};
use crate::io::terminal::sequences;
use crate::ui::theme::{Depth, Symbols};

/// Longer than a round trip over a bad line.
const ANSWER_MAX: Duration = Duration::from_millis(500);

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

pub fn findings(color: ColorChoice, ascii: bool, no_probe: bool) -> Vec<Finding> {
    let mut findings = vec![term(), colours(color.depth()), letters(symbols(ascii))];
    let is_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    if is_terminal && !no_probe {
        findings.push(synchronized(if knows_modes() { ask() } else { Some(false) }));
    } else {
        let found = if no_probe { "not asked" } else { "no terminal here" };
        let remedy = "run it in the terminal, without --no-probe";
        findings.push(Finding::new("synchronized output", State::Unknown, found, remedy));
    }
    findings.push(clipboard());
    findings
}

fn term() -> Finding {
    let name = variable("TERM");
    match name.as_str() {
        "" => Finding::new("TERM", State::Fail, "not set", "export TERM=xterm-256color"),
        "dumb" => {
            Finding::new("TERM", State::Fail, "dumb", "a real terminal, or quarterdeck --plain")
        }
        _ => Finding::new("TERM", State::Ok, name, ""),
    }
}

fn colours(depth: Depth) -> Finding {
    let (state, found) = match depth {
        Depth::True => (State::Ok, "16 million"),
        Depth::Indexed => (State::Ok, "256"),
        Depth::Basic => (State::Warn, "16"),
        Depth::Never => (State::Warn, "none"),
    };
    let remedy = "TERM=xterm-256color where the terminal has them, no NO_COLOR, or --color";
    Finding::new("colours", state, found, remedy)
}

fn letters(symbols: Symbols) -> Finding {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].map(variable);
    let locale = locale.iter().find(|value| !value.is_empty());
    let found = locale.map_or("no locale is set", String::as_str);
    match symbols {
        Symbols::Unicode if locale.is_none() => {
            let found = format!("{found}: symbols all the same, --ascii draws letters");
            Finding::new("UTF-8", State::Ok, found, "")
        }
        Symbols::Unicode => Finding::new("UTF-8", State::Ok, found, ""),
        Symbols::Ascii => {
            Finding::new("UTF-8", State::Warn, format!("letters only ({found})"), "LANG=C.UTF-8")
        }
    }
}

fn synchronized(answer: Option<bool>) -> Finding {
    let name = "synchronized output";
    match answer {
        Some(true) => Finding::new(name, State::Ok, "yes", ""),
        Some(false) => Finding::new(name, State::Ok, "not known to this terminal: not used", ""),
        None => Finding::new(name, State::Ok, "no answer within half a second: not used", ""),
    }
}

/// Whether it knows synchronized output; `None` when it says nothing.
fn ask() -> Option<bool> {
    enable_raw_mode().ok()?;
    let answer = (|| {
        let mut out = std::io::stdout();
        let questions = [sequences::ASK_SYNCHRONIZED, sequences::ASK_END].concat();
        out.write_all(questions.as_bytes()).ok()?;
        out.flush().ok()?;
        let deadline = Instant::now() + ANSWER_MAX;
        let mut reader = Reader::default();
        let mut known = None;
        loop {
            let left = deadline.checked_duration_since(Instant::now())?;
            for input in reader.next(Some(left)).ok()?.inputs {
                match input {
                    Input::Mode { number: sequences::SYNCHRONIZED, known: own } => {
                        known = Some(own);
                    }
                    Input::Fence => return Some(known.unwrap_or(false)),
                    Input::Mode { .. } | Input::Event(_) | Input::Background(_) => {}
                }
            }
        }
    })();
    // A terminal that is gone has no settings.
    let _ = disable_raw_mode();
    answer
}

fn clipboard() -> Finding {
    let name = "clipboard (OSC 52)";
    if variable("TMUX").is_empty() {
        let remedy = "press c in the console and paste: no terminal says whether it took it";
        return Finding::new(name, State::Unknown, "cannot be asked", remedy);
    }
    let remedy = "one of them: tmux set -s set-clipboard on; tmux set -g allow-passthrough on";
    Finding::new(name, State::Unknown, "inside tmux", remedy)
}
