//! Named roles and how each theme draws them.
//!
//! Decides styles by role, and what is left of a colour on a terminal with fewer. Never decides
//! what a thing is: panels name roles, not colours. Contract: every theme defines every role, and
//! no theme paints a background it does not need, so both light and dark terminals stay readable.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use engine::snapshot::RouteState;
use engine::types::{Severity, Status};
use ratatui::style::{Color, Modifier, Style};
use serde::Deserialize;

macro_rules! roles {
    ($($role:ident $name:literal,)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Role { $($role),* }

        impl Role {
            pub const ALL: &[Role] = &[$(Role::$role),*];

            /// Its key in a theme's file.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Role::$role => $name),* }
            }
        }
    };
}

roles! {
    Text "text",
    Dim "dim",
    Strong "strong",
    Border "border",
    Focus "focus",
    Selection "selection",
    Key "key",
    Input "input",
    Up "up",
    Maint "maint",
    Unknown "unknown",
    Stale "stale",
    Degraded "degraded",
    Down "down",
    Critical "critical",
    High "high",
    Medium "medium",
    Low "low",
    Banner "banner",
    Frozen "frozen",
    BandDanger "band_danger",
    BandCaution "band_caution",
    BandCalm "band_calm",
    Alias "alias",
}

impl Role {
    #[must_use]
    pub fn of_status(status: Status) -> Role {
        match status {
            Status::Up => Role::Up,
            Status::Maint => Role::Maint,
            Status::Unknown => Role::Unknown,
            Status::Stale => Role::Stale,
            Status::Degraded => Role::Degraded,
            Status::Down => Role::Down,
        }
    }

    #[must_use]
    pub fn of_severity(severity: Severity) -> Role {
        match severity {
            Severity::Low => Role::Low,
            Severity::Medium => Role::Medium,
            Severity::High => Role::High,
            Severity::Critical => Role::Critical,
        }
    }

    #[must_use]
    pub fn of_route(state: RouteState) -> Role {
        match state {
            RouteState::Verified => Role::Text,
            RouteState::Drifted => Role::Down,
            RouteState::Unverified | RouteState::Changing => Role::Degraded,
        }
    }

    /// The band of an environment. A name that no theme knows is treated as dangerous: a typo
    /// must not make production look calm.
    #[must_use]
    pub fn of_band(band: &str) -> Role {
        match band {
            "calm" | "safe" | "ok" | "info" => Role::BandCalm,
            "caution" | "warning" | "warn" | "degraded" => Role::BandCaution,
            _ => Role::BandDanger,
        }
    }
}

/// How many colours the terminal has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    True,
    Indexed,
    Basic,
    Never,
}

/// One symbol for each idea, so that nothing rests on colour alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Symbols {
    Unicode,
    Ascii,
}

#[derive(Clone, Debug)]
pub struct Theme {
    styles: Vec<Style>,
    pub symbols: Symbols,
}

/// The themes inside the binary: name and text.
pub const EMBEDDED: &[(&str, &str)] = &[
    ("dark", include_str!("../../themes/dark.toml")),
    ("light", include_str!("../../themes/light.toml")),
    ("mono", include_str!("../../themes/mono.toml")),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Spec {
    fg: Option<String>,
    bg: Option<String>,
    /// Instead of the nearest, on a terminal with 16 colours.
    fg16: Option<String>,
    bg16: Option<String>,
    #[serde(default)]
    style: Vec<String>,
}

impl Theme {
    /// An embedded theme by name. Without colours it is always the one that needs none.
    pub fn named(name: &str, depth: Depth, symbols: Symbols) -> Result<Theme, String> {
        let name = if depth == Depth::Never { "mono" } else { name };
        let Some((_, text)) = EMBEDDED.iter().find(|(known, _)| *known == name) else {
            let known: Vec<&str> = EMBEDDED.iter().map(|(name, _)| *name).collect();
            return Err(format!("no theme is called \"{name}\"; there are {}", known.join(", ")));
        };
        Theme::parse(text, depth, symbols).map_err(|problem| format!("theme {name}: {problem}"))
    }

    /// Reads a theme's text; all problems at once.
    pub fn parse(text: &str, depth: Depth, symbols: Symbols) -> Result<Theme, String> {
        let mut specs: BTreeMap<String, Spec> =
            toml::from_str(text).map_err(|error| error.to_string())?;
        let mut problems = String::new();
        let mut styles = Vec::with_capacity(Role::ALL.len());
        for role in Role::ALL {
            let style = match specs.remove(role.name()) {
                Some(spec) => spec.style(depth),
                None => Err("is missing".to_owned()),
            };
            match style {
                Ok(style) => styles.push(style),
                Err(why) => note(&mut problems, &format!("role {} {why}", role.name())),
            }
        }
        for name in specs.keys() {
            note(&mut problems, &format!("there is no role {name}"));
        }
        if problems.is_empty() { Ok(Theme { styles, symbols }) } else { Err(problems) }
    }

    #[must_use]
    pub fn style(&self, role: Role) -> Style {
        self.styles[role as usize]
    }

    #[must_use]
    pub fn status_symbol(&self, status: Status) -> &'static str {
        match (self.symbols, status) {
            (Symbols::Unicode, Status::Up) => "●",
            (Symbols::Unicode, Status::Degraded) => "▲",
            (Symbols::Unicode, Status::Down) => "■",
            (Symbols::Unicode, Status::Maint) => "◆",
            (Symbols::Unicode, Status::Unknown) => "?",
            (Symbols::Unicode, Status::Stale) => "░",
            (Symbols::Ascii, Status::Up) => "[ok]",
            (Symbols::Ascii, Status::Degraded) => "[! ]",
            (Symbols::Ascii, Status::Down) => "[!!]",
            (Symbols::Ascii, Status::Maint) => "[mt]",
            (Symbols::Ascii, Status::Unknown) => "[??]",
            (Symbols::Ascii, Status::Stale) => "[..]",
        }
    }

    /// The characters of a sparkline, lowest first, and the one for no data.
    #[must_use]
    pub fn spark(&self) -> (&'static [char], char) {
        match self.symbols {
            Symbols::Unicode => (&['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'], '·'),
            Symbols::Ascii => (&['_', '.', ':', '-', '=', '+', '*', '#'], ' '),
        }
    }

    #[must_use]
    pub fn pick(&self, unicode: &'static str, ascii: &'static str) -> &'static str {
        match self.symbols {
            Symbols::Unicode => unicode,
            Symbols::Ascii => ascii,
        }
    }
}

fn note(problems: &mut String, text: &str) {
    if !problems.is_empty() {
        problems.push_str("; ");
    }
    write!(problems, "{text}").expect("writing to a string cannot fail");
}

impl Spec {
    fn style(&self, depth: Depth) -> Result<Style, String> {
        let mut style = Style::default();
        if let Some(color) = choose(self.fg.as_deref(), self.fg16.as_deref(), depth)? {
            style = style.fg(color);
        }
        if let Some(color) = choose(self.bg.as_deref(), self.bg16.as_deref(), depth)? {
            style = style.bg(color);
        }
        for word in &self.style {
            style = style.add_modifier(match word.as_str() {
                "bold" => Modifier::BOLD,
                "dim" => Modifier::DIM,
                "italic" => Modifier::ITALIC,
                "underline" => Modifier::UNDERLINED,
                "reverse" => Modifier::REVERSED,
                other => return Err(format!("has no style \"{other}\"")),
            });
        }
        Ok(style)
    }
}

fn choose(full: Option<&str>, basic: Option<&str>, depth: Depth) -> Result<Option<Color>, String> {
    let full = full.map(color).transpose()?;
    let basic = basic.map(color).transpose()?;
    Ok(match depth {
        Depth::True => full,
        Depth::Indexed => full.map(|color| match color {
            Color::Rgb(r, g, b) => Color::Indexed(nearest_256(r, g, b)),
            other => other,
        }),
        Depth::Basic => basic.or_else(|| {
            full.map(|color| match color {
                Color::Rgb(r, g, b) => nearest_16(r, g, b),
                other => other,
            })
        }),
        Depth::Never => None,
    })
}

fn color(text: &str) -> Result<Color, String> {
    text.parse::<Color>().map_err(|_| format!("has no colour \"{text}\""))
}

/// The levels of the 6×6×6 cube of a 256-colour terminal.
const CUBE: [u8; 6] = [0, 95, 135, 175, 215, 255];

#[expect(clippy::many_single_char_names, reason = "the cube's own letters")]
fn nearest_256(r: u8, g: u8, b: u8) -> u8 {
    let level = |value: u8| {
        (0u8..6).min_by_key(|i| CUBE[usize::from(*i)].abs_diff(value)).unwrap_or_default()
    };
    let (i, j, k) = (level(r), level(g), level(b));
    let cube = (CUBE[usize::from(i)], CUBE[usize::from(j)], CUBE[usize::from(k)]);
    let grey_step = (0u8..24).min_by_key(|i| distance((r, g, b), grey(*i))).unwrap_or_default();
    if distance((r, g, b), grey(grey_step)) < distance((r, g, b), cube) {
        232 + grey_step
    } else {
        16 + 36 * i + 6 * j + k
    }
}

fn grey(step: u8) -> (u8, u8, u8) {
    let value = 8 + 10 * step;
    (value, value, value)
}

/// As most terminals draw the 16 names; the names are what is sent.
const BASIC: [(Color, (u8, u8, u8)); 16] = [
    (Color::Black, (0, 0, 0)),
    (Color::Red, (170, 0, 0)),
    (Color::Green, (0, 170, 0)),
    (Color::Yellow, (170, 120, 0)),
    (Color::Blue, (0, 0, 170)),
    (Color::Magenta, (170, 0, 170)),
    (Color::Cyan, (0, 170, 170)),
    (Color::Gray, (170, 170, 170)),
    (Color::DarkGray, (85, 85, 85)),
    (Color::LightRed, (255, 85, 85)),
    (Color::LightGreen, (85, 255, 85)),
    (Color::LightYellow, (255, 255, 85)),
    (Color::LightBlue, (85, 85, 255)),
    (Color::LightMagenta, (255, 85, 255)),
    (Color::LightCyan, (85, 255, 255)),
    (Color::White, (255, 255, 255)),
];

fn nearest_16(r: u8, g: u8, b: u8) -> Color {
    let nearest = BASIC.iter().min_by_key(|(_, known)| distance((r, g, b), *known));
    nearest.map_or(Color::Reset, |(color, _)| *color)
}

fn distance(one: (u8, u8, u8), other: (u8, u8, u8)) -> u32 {
    let square = |a: u8, b: u8| u32::from(a.abs_diff(b)).pow(2);
    square(one.0, other.0) + square(one.1, other.1) + square(one.2, other.2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_theme_defines_every_role_at_every_depth() {
        for (name, _) in EMBEDDED {
            for depth in [Depth::True, Depth::Indexed, Depth::Basic, Depth::Never] {
                let theme = Theme::named(name, depth, Symbols::Unicode);
                assert!(theme.is_ok(), "{name} at {depth:?}: {:?}", theme.err());
            }
        }
    }

    #[test]
    fn without_colours_the_selection_is_still_seen() {
        let theme = Theme::named("dark", Depth::Never, Symbols::Ascii).expect("mono is embedded");
        for role in Role::ALL {
            let style = theme.style(*role);
            assert_eq!((style.fg, style.bg), (None, None), "{}", role.name());
        }
        assert!(theme.style(Role::Selection).add_modifier.contains(Modifier::REVERSED));
    }

    #[test]
    fn problems_are_named_all_at_once() {
        let problem = Theme::parse("[tex]\nfg = \"red\"", Depth::True, Symbols::Unicode).err();
        let problem = problem.expect("a theme with one wrong role is refused");
        assert!(problem.contains("role text is missing") && problem.contains("no role tex"));
    }

    #[test]
    fn colours_fall_to_their_nearest() {
        assert_eq!(nearest_256(255, 0, 0), 196);
        assert_eq!(nearest_256(128, 128, 128), 244);
        assert_eq!(nearest_16(230, 70, 70), Color::LightRed);
    }
}
