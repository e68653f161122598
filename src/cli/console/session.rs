//! What the console remembers from one start to the next: where one was, and how it looked.
//!
//! Decides the file's shape. Never keeps anything that was typed into a guard, and never follows a
//! file that is broken. Contract: written whole or not at all, for its owner alone.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::ui::filter::FILTER_CHARS_MAX;
use crate::ui::trend::Window;
use crate::ui::{Panel, Ui};

/// The file in the state directory.
pub const NAME: &str = "console.json";
/// It is a few words long.
const BYTES_MAX: u64 = 16 * 1024;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Session {
    panel: String,
    zoomed: bool,
    service: Option<String>,
    filter: String,
    window: String,
    zone: usize,
    mouse: bool,
    /// Only one that was chosen by a key.
    pub theme: Option<String>,
}

impl Session {
    pub fn of(ui: &Ui, theme: Option<&str>) -> Session {
        Session {
            panel: ui.focus.title().to_owned(),
            zoomed: ui.zoomed,
            service: ui.service.clone(),
            filter: ui.filter.clone(),
            window: ui.window.word().to_owned(),
            zone: ui.zone,
            mouse: ui.mouse,
            theme: theme.map(str::to_owned),
        }
    }

    /// Nothing when there is none; why not, when it cannot be read.
    pub fn read(path: &Path) -> Result<Option<Session>, String> {
        let told = |why: &str| format!("{}: {why}: the console begins anew", path.display());
        match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(told(&error.to_string())),
            Ok(facts) if facts.len() > BYTES_MAX => return Err(told("is too large")),
            Ok(_) => {}
        }
        let text = fs::read_to_string(path).map_err(|error| told(&error.to_string()))?;
        let session: Session =
            serde_json::from_str(&text).map_err(|_| told("is no session of a console"))?;
        Ok(Some(session))
    }

    pub fn write(&self, path: &Path) -> io::Result<()> {
        let text = serde_json::to_string(self).map_err(io::Error::other)?;
        let new = path.with_extension(format!("json.{}", std::process::id()));
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let written = options.open(&new).and_then(|mut file| file.write_all(text.as_bytes()));
        match written.and_then(|()| fs::rename(&new, path)) {
            Ok(()) => Ok(()),
            Err(error) => {
                // What is half written is nobody's.
                let _ = fs::remove_file(&new);
                Err(error)
            }
        }
    }

    /// As it was; a filter is told, because it hides things.
    pub fn restore(&self, ui: &mut Ui, now: engine::types::Now) {
        let panel = Panel::ALL.into_iter().find(|panel| panel.title() == self.panel);
        ui.focus = panel.unwrap_or(ui.focus);
        ui.zoomed = self.zoomed;
        ui.service.clone_from(&self.service);
        ui.filter = self.filter.chars().take(FILTER_CHARS_MAX).collect();
        let window = Window::ALL.into_iter().find(|window| window.word() == self.window);
        ui.window = window.unwrap_or_default();
        ui.zone = self.zone.min(ui.zones.len());
        ui.mouse |= self.mouse;
        if !ui.filter.is_empty() {
            ui.say(&format!("the filter /{} is still on: Esc clears it", ui.filter), now);
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use engine::types::{Now, Time};

    use super::*;

    #[test]
    fn it_comes_back_as_it_was_and_a_broken_one_is_told() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join(NAME);
        assert_eq!(Session::read(&path), Ok(None));
        let now = Now { mono: Time(1), wall: DateTime::UNIX_EPOCH };
        let mut ui = Ui::new(false, None);
        ui.focus = Panel::Journal;
        ui.filter = "pay".to_owned();
        ui.service = Some("payments".to_owned());
        ui.window = Window::Day;
        let session = Session::of(&ui, Some("light"));
        session.write(&path).expect("it is written");
        let read = Session::read(&path).expect("it is whole").expect("it is there");
        assert_eq!(read, session);
        let mut fresh = Ui::new(false, None);
        read.restore(&mut fresh, now);
        assert_eq!((fresh.focus, fresh.window), (Panel::Journal, Window::Day));
        assert_eq!((fresh.filter.as_str(), fresh.service), ("pay", ui.service));
        assert!(fresh.message.is_some(), "a filter that hides something is told");
        for broken in ["", "{", "[]", "{\"panel\": 3}"] {
            fs::write(&path, broken).expect("a file");
            assert!(Session::read(&path).is_err(), "{broken}");
        }
    }
}
