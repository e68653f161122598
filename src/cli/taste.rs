//! A person's own file beside the configuration: `console.toml`, and `themes/` with it.
//!
//! Decides what of it the console gets, and how its problems read. Never stops the console: who is
//! woken up must get in, with the keys of the table if need be. Contract: every problem has its
//! place and what to do about it.

use std::path::{Path, PathBuf};

use crate::config::console::{self, Taste};
use crate::io::state;
use crate::ui::keymap::Keymap;
use crate::zone::Zone;

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

pub fn load() -> Result<Own, String> {
    let path = path()?;
    let (taste, keymap, problems) = read(&path);
    let complaint = problems.first().map(|first| match problems.len() - 1 {
        0 => first.clone(),
        more => format!("{first} (and {more} more: quarterdeck check)"),
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

/// What the file says, and every problem as `path:line:column: text`.
#[must_use]
pub fn read(path: &Path) -> (Taste, Keymap, Vec<String>) {
    let (taste, problems) = console::read(path);
    let own: Vec<(&str, &[String])> =
        taste.keys.iter().map(|own| (own.name.as_str(), own.keys.as_slice())).collect();
    let (keymap, conflicts) = Keymap::with(&own);
    let mut told: Vec<(usize, usize, String)> =
        problems.into_iter().map(|it| (it.line, it.column, it.text)).collect();
    told.extend(conflicts.into_iter().map(|(place, text)| {
        taste.keys.get(place).map_or((1, 1, text.clone()), |own| (own.line, own.column, text))
    }));
    told.sort();
    let line = |(line, column, text)| format!("{}:{line}:{column}: {text}", path.display());
    let told = told.into_iter().map(line).collect();
    (taste, keymap, told)
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
        let text = format!(
            "{}:3:1: q is zoom now, and quit has no key left: give it one, or find it in the \
             palette",
            path.display()
        );
        assert_eq!(told, [text]);
    }
}
