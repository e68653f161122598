//! A person's own file: theme, time zones and keys of the console.
//!
//! Decides what such a file may say, and where in it something is wrong. Never holds anything of
//! an environment, and never stops the console: what is wrong is said, the rest counts. Contract:
//! what a key is called is known elsewhere; here it has its place. The themes are the caller's.

use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::reader::{Reader, Table};
use super::{Problem, contents, syntax, value};
use crate::zone::Zone;

/// More zones than this are not cycled through by hand.
const ZONES_MAX: usize = 8;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taste {
    pub theme: Option<String>,
    pub timezones: Vec<Zone>,
    /// Clicks and the wheel from the start.
    pub mouse: bool,
    /// Rings for what is new and severe, and for a question of a release.
    pub bell: bool,
    /// The same as a notice of the desktop, which rings, too.
    pub notice: bool,
    pub keys: Vec<OwnKeys>,
}

/// The keys that somebody gave to something that the console does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnKeys {
    pub name: String,
    pub keys: Vec<String>,
    pub line: usize,
    pub column: usize,
}

/// What the file says, and what is wrong in it; nothing of either when there is none. `themes` are
/// the names of those that there are.
#[must_use]
pub fn read(path: &Path, themes: &[String]) -> (Taste, Vec<Problem>) {
    if !path.exists() {
        return (Taste::default(), Vec::new());
    }
    match contents(path) {
        Ok(text) => parse(&text, themes),
        Err(text) => (Taste::default(), vec![Problem { line: 1, column: 1, text }]),
    }
}

/// The same of a text.
#[must_use]
pub fn parse(text: &str, themes: &[String]) -> (Taste, Vec<Problem>) {
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return (Taste::default(), syntax(text, &errors));
    }
    let no_env = |_: &str| None;
    let reader = Reader::new(Path::new("/"), &no_env);
    let mut table = Table::root(&reader, document.get_ref());
    let mut taste = Taste {
        theme: theme(&mut table, themes),
        mouse: table.boolean("mouse").unwrap_or_default(),
        bell: table.boolean("bell").unwrap_or_default(),
        notice: table.boolean("notice").unwrap_or_default(),
        timezones: zones(&mut table),
        keys: Vec::new(),
    };
    let keys = table.table("keys", "keys");
    let places: Vec<(String, usize, Vec<String>)> = keys
        .iter()
        .flat_map(Table::entries)
        .filter_map(|(name, at, node)| {
            let own = match node.get_ref() {
                DeValue::String(_) => reader.text(&name, node).map(|text| vec![text]),
                _ => reader
                    .list(&name, node, "a key or a list of keys", |item| reader.text(&name, item)),
            };
            Some((name, at, own?))
        })
        .collect();
    table.finish();
    let (problems, _, _) = reader.into_findings(text);
    taste.keys = places
        .into_iter()
        .map(|(name, at, keys)| {
            let before = &text[..at];
            let line = before.matches('\n').count() + 1;
            let begin = before.rfind('\n').map_or(0, |at| at + 1);
            OwnKeys { name, keys, line, column: before[begin..].chars().count() + 1 }
        })
        .collect();
    (taste, problems)
}

fn theme(table: &mut Table<'_>, themes: &[String]) -> Option<String> {
    let name = table.name("theme")?;
    if themes.contains(&name) {
        return Some(name);
    }
    let hint = match value::nearest(&name, themes.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("there are {}", themes.join(", ")),
    };
    table.problem("theme", format!("there is no theme `{name}`; {hint}"));
    None
}

fn zones(table: &mut Table<'_>) -> Vec<Zone> {
    let names = table.strings("timezones").unwrap_or_default();
    if names.len() > ZONES_MAX {
        table.problem("timezones", format!("`timezones` has at most {ZONES_MAX} zones"));
    }
    let mut zones = Vec::new();
    for name in names.iter().take(ZONES_MAX) {
        if let Ok(zone) = name.parse::<Zone>() {
            zones.push(zone);
            continue;
        }
        let known = Zone::names();
        let hint = value::nearest(name, known.iter().map(String::as_str))
            .map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        let text = "`timezones` are IANA names such as \"Europe/Lisbon\"";
        table.problem("timezones", format!("{text}{hint}"));
    }
    zones
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_has_its_place_and_the_rest_counts() {
        let text = "theme = \"light\"\ncolour = 1\ntimezones = [\"Europe/Lisbom\", \"UTC\"]\n\
                    [keys]\nrollback = \"Q\"\n  \"next-panel\" = [\"n\", \"Tab\"]\nhelp = 3\n";
        let (taste, problems) = parse(text, &["dark".to_owned(), "light".to_owned()]);
        assert_eq!(taste.theme.as_deref(), Some("light"));
        assert_eq!(taste.timezones, ["UTC".parse().expect("a zone")]);
        let own: Vec<(&str, usize, usize)> =
            taste.keys.iter().map(|own| (own.name.as_str(), own.line, own.column)).collect();
        assert_eq!(own.len(), 2, "{own:?}");
        let places: Vec<(usize, &str)> =
            problems.iter().map(|problem| (problem.line, problem.text.as_str())).collect();
        assert!(places.iter().any(|(line, text)| *line == 2 && text.contains("colour")));
        assert!(places.iter().any(|(line, text)| *line == 3 && text.contains("Europe/Lisbon")));
        assert!(places.iter().any(|(line, _)| *line == 7), "{places:?}");
    }

    #[test]
    fn a_theme_that_is_none_is_told_with_the_nearest() {
        let themes = ["dark".to_owned(), "light".to_owned()];
        let check = |text: &str, expected: &str| {
            let (taste, problems) = parse(text, &themes);
            assert_eq!(taste.theme, None);
            let told: Vec<(usize, &str)> =
                problems.iter().map(|problem| (problem.line, problem.text.as_str())).collect();
            assert_eq!(told, [(1, expected)]);
        };
        check("theme = \"ligth\"\n", "there is no theme `ligth`; did you mean `light`?");
        check("theme = \"solarized\"\n", "there is no theme `solarized`; there are dark, light");
    }
}
