//! Which theme is drawn, and with what the terminal can show.
//!
//! Decides the theme: the one that was asked for, else the one of the terminal's background. A
//! person's own file wins over the one inside. Never asks the terminal by itself. Contract: a theme
//! that cannot be read leaves the last good one in place.

use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use crate::io::terminal::sequences;
use crate::ui::theme::{AUTO, Background, Depth, EMBEDDED, Symbols, Theme};

/// Editors write a file in several steps.
const QUIET: Duration = Duration::from_millis(150);
/// A theme is a page of text.
const THEME_BYTES_MAX: u64 = 64 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ColorChoice {
    Auto,
    #[value(name = "truecolor")]
    TrueColor,
    #[value(name = "256")]
    Indexed,
    #[value(name = "16")]
    Basic,
    Never,
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

impl ColorChoice {
    /// `NO_COLOR` wins over guessing, an explicit choice wins over both. sshd drops `COLORTERM`,
    /// so a terminal that does not say gets 256 colours.
    #[must_use]
    pub fn depth(self) -> Depth {
        match self {
            ColorChoice::TrueColor => Depth::True,
            ColorChoice::Indexed => Depth::Indexed,
            ColorChoice::Basic => Depth::Basic,
            ColorChoice::Never => Depth::Never,
            ColorChoice::Auto if variable("NO_COLOR").is_some() => Depth::Never,
            ColorChoice::Auto => {
                let term = variable("TERM").unwrap_or_default();
                let colorterm = variable("COLORTERM").unwrap_or_default();
                match (term.as_str(), colorterm.as_str()) {
                    ("dumb", _) => Depth::Never,
                    (_, "truecolor" | "24bit") => Depth::True,
                    ("linux" | "vt100" | "xterm" | "ansi" | "screen", _) => Depth::Basic,
                    (_, _) => Depth::Indexed,
                }
            }
        }
    }
}

/// Letters where symbols would come out as question marks: a locale that says it is not UTF-8, or
/// the Linux console with its 256 glyphs. One that says nothing gets symbols.
#[must_use]
pub fn symbols(ascii: bool) -> Symbols {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(|name| variable(name));
    let plain = locale.is_some_and(|locale| {
        let locale = locale.to_lowercase();
        !locale.contains("utf-8") && !locale.contains("utf8")
    });
    let console = variable("TERM").is_some_and(|term| term == "linux");
    if ascii || plain || console { Symbols::Ascii } else { Symbols::Unicode }
}

pub struct Look {
    /// The name that was chosen; `None` for the background's.
    name: Option<String>,
    depth: Depth,
    symbols: Symbols,
    /// Where a person's own themes are.
    dir: PathBuf,
    background: Option<Background>,
}

/// False for a terminal that answers no question.
fn answers() -> bool {
    !matches!(variable("TERM").as_deref(), Some("dumb" | "linux" | "") | None)
}

/// False also for one that prints a piece of a question about its modes.
#[must_use]
pub fn knows_modes() -> bool {
    answers() && variable("TERM_PROGRAM").as_deref() != Some("Apple_Terminal")
}

impl Look {
    pub fn new(name: Option<String>, color: ColorChoice, symbols: Symbols, dir: PathBuf) -> Look {
        let background = variable("COLORFGBG").and_then(|text| Background::of_colorfgbg(&text));
        let name = name.filter(|name| name != AUTO);
        Look { name, depth: color.depth(), symbols, dir, background }
    }

    /// True when the terminal must say what it draws behind the text.
    #[must_use]
    pub fn must_ask(&self) -> bool {
        self.name.is_none() && self.background.is_none() && self.depth != Depth::Never && answers()
    }

    /// What the terminal is asked in one go, if anything.
    #[must_use]
    pub fn questions(&self) -> Option<String> {
        let background = self.must_ask().then_some(sequences::ASK_BACKGROUND);
        let synchronized = knows_modes().then_some(sequences::ASK_SYNCHRONIZED);
        let questions: String = background.into_iter().chain(synchronized).collect();
        (!questions.is_empty()).then(|| questions + sequences::ASK_END)
    }

    /// True for a terminal that has no more colours than these.
    #[must_use]
    pub fn is_sixteen(&self) -> bool {
        self.depth == Depth::Basic
    }

    pub fn learn(&mut self, background: Background) {
        self.background = Some(background);
    }

    /// The name that somebody chose.
    #[must_use]
    pub fn chosen(&self) -> Option<&str> {
        self.name.as_deref()
    }

    #[must_use]
    pub fn name(&self) -> &str {
        let background = self.background.unwrap_or(Background::Dark);
        self.name.as_deref().unwrap_or(background.theme())
    }

    /// The next one of those that there are.
    pub fn next(&mut self) {
        let at = EMBEDDED.iter().position(|(name, _)| *name == self.name());
        let next = at.map_or(0, |at| (at + 1) % EMBEDDED.len());
        self.name = Some(EMBEDDED[next].0.to_owned());
    }

    pub fn theme(&self) -> Result<Theme, String> {
        let name = self.name();
        let path = self.dir.join(format!("{name}.toml"));
        let own = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
        if self.depth == Depth::Never || !own || !path.is_file() {
            return Theme::named(name, self.depth, self.symbols)
                .map_err(|why| format!("{why}, and those in {}", self.dir.display()));
        }
        let told = |why: String| format!("{}: {why}", path.display());
        let length = path.metadata().map_err(|error| told(error.to_string()))?.len();
        if length > THEME_BYTES_MAX {
            return Err(told("is too large for a theme".to_owned()));
        }
        let text = std::fs::read_to_string(&path).map_err(|error| told(error.to_string()))?;
        Theme::parse(&text, self.depth, self.symbols).map_err(told)
    }
}

/// Sends a message each time that something in `dir` changed; nothing when there is no such folder.
pub fn watch<T: Send + 'static>(dir: &Path, sender: Sender<T>, message: fn() -> T) {
    let watch = || -> rustix::io::Result<rustix::fd::OwnedFd> {
        let watch = inotify::init(CreateFlags::CLOEXEC)?;
        let flags = WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO | WatchFlags::DELETE;
        inotify::add_watch(&watch, dir, flags)?;
        Ok(watch)
    };
    // Without it a theme changes at the next start.
    let Ok(watch) = watch() else { return };
    let _ = thread::Builder::new()
        .name("themes".to_owned())
        .spawn(move || while settled(&watch).is_ok() && sender.send(message()).is_ok() {});
}

/// Waits for a change, and until there was none for a little while.
fn settled(watch: &rustix::fd::OwnedFd) -> io::Result<()> {
    let mut events = [0; 4096];
    rustix::io::read(watch, &mut events)?;
    let quiet = Timespec::try_from(QUIET).ok();
    loop {
        let mut fds = [PollFd::new(watch, PollFlags::IN)];
        if poll(&mut fds, quiet.as_ref())? == 0 {
            return Ok(());
        }
        rustix::io::read(watch, &mut events)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(name: &str, dir: &Path) -> Look {
        Look {
            name: Some(name.to_owned()),
            depth: Depth::True,
            symbols: Symbols::Unicode,
            dir: dir.to_owned(),
            background: None,
        }
    }

    #[test]
    fn an_own_theme_wins_and_a_broken_one_says_where() {
        let dir = tempfile::tempdir().expect("a directory");
        let inside = look("light", dir.path()).theme().expect("it is embedded");
        let (_, dark) = EMBEDDED[0];
        std::fs::write(dir.path().join("light.toml"), dark).expect("a file");
        let own = look("light", dir.path()).theme().expect("a whole theme");
        assert_ne!(own, inside);
        std::fs::write(dir.path().join("light.toml"), "[text]\nfg = \n").expect("a file");
        let why = look("light", dir.path()).theme().expect_err("no theme");
        assert!(why.contains("light.toml: line 2"), "{why}");
        let why = look("none", dir.path()).theme().expect_err("no theme");
        assert!(why.contains("there are dark, light"), "{why}");
        assert!(look("../light", dir.path()).theme().is_err());
    }

    #[test]
    fn a_change_of_a_theme_is_noticed() {
        let dir = tempfile::tempdir().expect("a directory");
        let (sender, changes) = std::sync::mpsc::channel();
        watch(dir.path(), sender, || ());
        std::fs::write(dir.path().join("own.toml"), "one").expect("a file");
        changes.recv_timeout(Duration::from_secs(30)).expect("a change");
    }
}
