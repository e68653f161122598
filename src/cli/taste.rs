//! A person's own file beside the configuration: `console.toml`, and `themes/` with it.
//!
//! Decides what of it the console gets, and how its problems read. Never stops the console: who is
//! woken up must get in, with the keys of the table if need be. Contract: every problem has its
//! place and what to do about it.

use std::path::{Path, PathBuf};

use crate::config::console::{self, Taste};
use crate::io::state;
use crate::ui::keymap::Keymap;
use crate::ui::theme::{AUTO, EMBEDDED};
use crate::zone::Zone;

/// Nobody has more of their own; a folder of anything else is not read whole.
const THEMES_MAX: usize = 256;

pub struct Own {
    pub theme: Option<String>,
    pub timezones: Vec<Zone>,
    pub keymap: Keymap,
    pub mouse: bool,
    pub bell: bool,
    pub notice: bool,
    /// What is wrong, in one line.
    pub complaint: Option<String>,
    pub themes: PathBuf,
}

/// `console.toml` beside the configuration's own place.
pub fn path() -> Result<PathBuf, String> {
    Ok(state::default_config()?.with_file_name("console.toml"))
}

/// Something wrong in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// `line:column: text`.
    pub text: String,
    /// An error of the file, not only something that does not count.
    pub grave: bool,
}

pub fn load() -> Result<Own, String> {
    let path = path()?;
    let (taste, keymap, problems) = read(&path);
    // The gravest first; its file is known by its name, and the remedy must fit beside it.
    let first = problems.iter().max_by_key(|told| (told.grave, std::cmp::Reverse(&told.text)));
    let complaint = first.map(|first| match problems.len() - 1 {
        0 => format!("console.toml:{}", first.text),
        more => format!("console.toml:{} (and {more} more: quarterdeck check)", first.text),
    });
    Ok(Own {
        theme: taste.theme,
        timezones: taste.timezones,
        keymap,
        mouse: taste.mouse,
        bell: taste.bell,
        notice: taste.notice,
        complaint,
        themes: path.with_file_name("themes"),
    })
}

/// What the file says, and every problem in the order of its lines.
#[must_use]
pub fn read(path: &Path) -> (Taste, Keymap, Vec<Told>) {
    let (taste, problems) = console::read(path, &themes(&path.with_file_name("themes")));
    let own: Vec<(&str, &[String])> =
        taste.keys.iter().map(|own| (own.name.as_str(), own.keys.as_slice())).collect();
    let (keymap, conflicts) = Keymap::with(&own);
    let mut told: Vec<(usize, usize, String, bool)> =
        problems.into_iter().map(|it| (it.line, it.column, it.text, false)).collect();
    told.extend(conflicts.into_iter().map(|found| {
        let (line, column) =
            taste.keys.get(found.place).map_or((1, 1), |own| (own.line, own.column));
        (line, column, found.text, found.grave)
    }));
    // What was found first of an entry is its cause.
    told.sort_by_key(|(line, column, ..)| (*line, *column));
    let told = told.into_iter().map(|(line, column, text, grave)| Told {
        text: format!("{line}:{column}: {text}"),
        grave,
    });
    (taste, keymap, told.collect())
}

/// The names of the themes inside, and of those in `dir`.
fn themes(dir: &Path) -> Vec<String> {
    let own = std::fs::read_dir(dir).into_iter().flatten().take(THEMES_MAX);
    let own = own.filter_map(|entry| {
        let name = entry.ok()?.file_name().into_string().ok()?;
        name.strip_suffix(".toml").map(str::to_owned)
    });
    let inside = EMBEDDED.iter().map(|(name, _)| *name).chain([AUTO]).map(str::to_owned);
    inside.chain(own).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conflict_has_its_place_and_remedy() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("console.toml");
        std::fs::write(&path, "theme = \"mono\"\n[keys]\nzoom = [\"q\", \"z\"]\n").expect("a file");
        let (taste, keymap, told) = read(&path);
        assert_eq!(taste.theme.as_deref(), Some("mono"));
        assert_eq!(keymap.shown(crate::ui::keymap::Act::Quit), "–");
        let text =
            "3:1: q is zoom now, quit has no key: give it one, or use the palette".to_owned();
        assert_eq!(told, [Told { text, grave: false }]);
    }

    #[test]
    fn a_theme_is_one_inside_or_one_of_the_folder() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("console.toml");
        std::fs::create_dir(dir.path().join("themes")).expect("a folder");
        std::fs::write(dir.path().join("themes/night.toml"), "").expect("a file");
        let check = |name: &str, expected: &[&str]| {
            std::fs::write(&path, format!("theme = \"{name}\"\n")).expect("a file");
            let (_, _, told) = read(&path);
            let told: Vec<&str> = told.iter().map(|told| told.text.as_str()).collect();
            assert_eq!(told, expected);
        };
        for name in ["light", "auto", "night"] {
            check(name, &[]);
        }
        check("ligth", &["1:9: there is no theme `ligth`; did you mean `light`?"]);
        check("nigth", &["1:9: there is no theme `nigth`; did you mean `night`?"]);
    }
}
