//! Which theme is drawn, and with what the terminal can show.
//!
//! Decides the theme: the one that was asked for, else the one of the terminal's background. A
//! person's own file wins over the one inside. Never asks the terminal by itself. Contract: a theme
//! that cannot be read leaves the last good one in place, or the one inside, and is told.

mod watch;

use std::env;
use std::fs;
use std::path::PathBuf;

use crate::io::terminal::sequences;
use crate::ui::theme::{AUTO, Background, Depth, EMBEDDED, Symbols, Theme};

pub use self::watch::watch;

/// More of a person's own are not offered.
const OWN_MAX: usize = 100;
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

/// Who named a theme; the first counts most.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Asked for with this start.
    pub given: Option<String>,
    /// Chosen by its key, now or before.
    pub picked: Option<String>,
    /// In the person's file.
    pub own: Option<String>,
}

pub struct Look {
    names: Names,
    /// The name that counts; `None` for the background's.
    name: Option<String>,
    depth: Depth,
    symbols: Symbols,
    /// Where a person's own themes are.
    dir: PathBuf,
    background: Option<Background>,
}

/// Why the whole screen cannot be drawn on what `TERM` names; `None` when it can.
#[must_use]
pub fn cannot_draw() -> Option<String> {
    let term = match variable("TERM").as_deref() {
        Some("dumb") => "TERM=dumb knows no screen",
        None => "TERM is not set, so that nothing is known of the terminal",
        Some(_) => return None,
    };
    Some(format!(
        "{term}: set it to what the terminal is (TERM=xterm-256color for most); `quarterdeck \
         status` and `quarterdeck --plain` need none"
    ))
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
    pub fn new(names: Names, color: ColorChoice, symbols: Symbols, dir: PathBuf) -> Look {
        let background = variable("COLORFGBG").and_then(|text| Background::of_colorfgbg(&text));
        let mut look = Look { names, name: None, depth: color.depth(), symbols, dir, background };
        look.choose();
        look
    }

    fn choose(&mut self) {
        let Names { given, picked, own } = &self.names;
        let name = given.as_ref().or(picked.as_ref()).or(own.as_ref());
        self.name = name.filter(|name| *name != AUTO).cloned();
    }

    /// The theme to begin with, and what is wrong: no theme keeps anybody out but one that is asked
    /// for now and does not exist. One of before may be gone; one whose file is broken is drawn as
    /// the one inside until it is mended.
    pub fn begin(&mut self) -> Result<(Theme, Option<String>), String> {
        let why = match self.theme() {
            Ok(theme) => return Ok((theme, None)),
            Err(why) => why,
        };
        if self.own_file(self.name()).is_none() {
            match &mut self.names {
                Names { given: Some(_), .. } => return Err(why),
                Names { picked: picked @ Some(_), .. } => *picked = None,
                Names { own, .. } => *own = None,
            }
            self.choose();
            let (theme, more) = self.begin()?;
            return Ok((theme, Some(more.unwrap_or(why))));
        }
        let inside = |name| Theme::named(name, self.depth, self.symbols);
        let theme = inside(self.name()).or_else(|_| inside(self.background_theme()))?;
        Ok((theme, Some(why)))
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

    /// The name that was chosen by its key, unless it is the one of the person's file.
    #[must_use]
    pub fn picked(&self) -> Option<&str> {
        self.names.picked.as_deref().filter(|picked| Some(*picked) != self.names.own.as_deref())
    }

    fn background_theme(&self) -> &'static str {
        self.background.unwrap_or(Background::Dark).theme()
    }

    #[must_use]
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(self.background_theme())
    }

    /// The next one of those that there are.
    pub fn next(&mut self) {
        let all = self.all();
        let at = all.iter().position(|name| name == self.name());
        let next = at.map_or(0, |at| (at + 1) % all.len());
        self.names.picked = all.into_iter().nth(next);
        self.name.clone_from(&self.names.picked);
    }

    /// Those inside, then a person's own.
    fn all(&self) -> Vec<String> {
        let inside: Vec<String> = EMBEDDED.iter().map(|(name, _)| (*name).to_owned()).collect();
        let files = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let own = files.filter_map(|entry| {
            let file = entry.file_name();
            let name = file.to_str()?.strip_suffix(".toml")?;
            self.own_file(name)?;
            (name != AUTO && !inside.iter().any(|other| other == name)).then(|| name.to_owned())
        });
        let mut own: Vec<String> = own.take(OWN_MAX).collect();
        own.sort();
        inside.into_iter().chain(own).collect()
    }

    /// The person's own file of that name, if there is one.
    fn own_file(&self, name: &str) -> Option<PathBuf> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        let path = self.dir.join(format!("{name}.toml"));
        (self.depth != Depth::Never && name.bytes().all(plain) && path.is_file()).then_some(path)
    }

    pub fn theme(&self) -> Result<Theme, String> {
        let name = self.name();
        let Some(path) = self.own_file(name) else {
            return Theme::named(name, self.depth, self.symbols)
                .map_err(|why| format!("{why}, and those in {}", self.dir.display()));
        };
        // As every other file's problems read: the place first.
        let told = |why: String| match why.strip_prefix("line ") {
            Some(why) => format!("themes/{name}.toml:{why}"),
            None => format!("themes/{name}.toml: {why}"),
        };
        let length = path.metadata().map_err(|error| told(error.to_string()))?.len();
        if length > THEME_BYTES_MAX {
            return Err(told("is too large for a theme".to_owned()));
        }
        let text = fs::read_to_string(&path).map_err(|error| told(error.to_string()))?;
        Theme::parse(&text, self.depth, self.symbols).map_err(told)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn look(name: &str, dir: &Path) -> Look {
        let names = Names { own: Some(name.to_owned()), ..Names::default() };
        Look {
            background: None,
            ..Look::new(names, ColorChoice::TrueColor, Symbols::Unicode, dir.to_owned())
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
        assert!(why.starts_with("themes/light.toml:2: "), "{why}");
        let (begun, told) = look("light", dir.path()).begin().expect("nobody is kept out");
        assert_eq!((begun, told), (inside, Some(why)), "the one inside");
        std::fs::write(dir.path().join("mine.toml"), "text = 3").expect("a file");
        let (begun, told) = look("mine", dir.path()).begin().expect("nobody is kept out");
        let background = Theme::named("dark", Depth::True, Symbols::Unicode);
        assert_eq!((Ok(begun), told.is_some()), (background, true), "the background's");
        let why = look("none", dir.path()).theme().expect_err("no theme");
        assert!(why.contains("there are dark, light"), "{why}");
        assert!(look("../light", dir.path()).theme().is_err());
    }

    #[test]
    fn a_name_that_does_not_exist_is_an_error_only_when_it_is_asked_for_now() {
        let dir = tempfile::tempdir().expect("a directory");
        let some = |name: &str| Some(name.to_owned());
        let begin = |names: Names| {
            let (color, dir) = (ColorChoice::TrueColor, dir.path().to_owned());
            let mut look = Look::new(names, color, Symbols::Unicode, dir);
            let begun = look.begin();
            begun.map(|(_, told)| (look.name().to_owned(), told.is_some()))
        };
        let gone = Names { given: None, picked: some("gone"), own: some("light") };
        assert_eq!(begin(gone.clone()), Ok(("light".to_owned(), true)));
        assert_eq!(begin(Names { given: some("mono"), ..gone }), Ok(("mono".to_owned(), false)));
        let none = Names { own: some("none"), ..Names::default() };
        assert!(begin(none).is_ok_and(|(_, told)| told));
        assert!(begin(Names { given: some("none"), ..Names::default() }).is_err());
    }

    #[test]
    fn the_key_goes_through_a_persons_own_themes_too() {
        let dir = tempfile::tempdir().expect("a directory");
        for name in ["zebra", "mine", "dark", "auto", "no theme"] {
            std::fs::write(dir.path().join(format!("{name}.toml")), "").expect("a file");
        }
        let mut look = look("mine", dir.path());
        assert_eq!(look.picked(), None, "what the file says is not remembered");
        let seen: Vec<String> = (0..=EMBEDDED.len() + 1)
            .map(|_| {
                look.next();
                look.name().to_owned()
            })
            .collect();
        assert_eq!((seen[0].as_str(), seen[1].as_str()), ("zebra", "dark"));
        assert_eq!(seen.last().map(String::as_str), Some("mine"));
        assert_eq!(look.picked(), None, "the file's own again");
        look.next();
        assert_eq!(look.picked(), Some("zebra"));
    }
}
