//! Named roles and how each theme draws them.
//!
//! Decides styles by role, and what is left of a colour on a terminal with fewer. Never decides
//! what a thing is: panels name roles, not colours. Contract: every theme defines every role, and
//! paints no background that it does not need; a theme says for which background it was made, and
//! its text stands out from that one by 4.5 to 1 or more.

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

/// What a terminal draws behind its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Background {
    Dark,
    Light,
}

impl Background {
    /// As the terminal says it: the last field of `COLORFGBG` is one of the 16 names.
    #[must_use]
    pub fn of_colorfgbg(text: &str) -> Option<Background> {
        match text.rsplit(';').next()?.parse().ok()? {
            0..=6 | 8 => Some(Background::Dark),
            7 | 9..=15 => Some(Background::Light),
            16u8.. => None,
        }
    }

    /// By how much light it gives, on the terminal's scale of 0 to 255 a part.
    #[must_use]
    pub fn of_color(rgb: (u8, u8, u8)) -> Background {
        if luminance(rgb) > MIDDLE { Background::Light } else { Background::Dark }
    }

    /// The theme for those who chose none.
    #[must_use]
    pub fn theme(self) -> &'static str {
        match self {
            Background::Dark => "dark",
            Background::Light => "light",
        }
    }
}

/// As far from black as from white, as eyes see it.
const MIDDLE: f64 = 0.18;

#[derive(Clone, Debug, PartialEq)]
pub struct Theme {
    styles: Vec<Style>,
    pub symbols: Symbols,
    /// What it was made for; `None` for any.
    pub background: Option<Background>,
}

/// The name that stands for the theme of the terminal's background.
pub const AUTO: &str = "auto";

/// The themes inside the binary: name and text.
pub const EMBEDDED: &[(&str, &str)] = &[
    ("dark", include_str!("../../themes/dark.toml")),
    ("light", include_str!("../../themes/light.toml")),
    ("contrast", include_str!("../../themes/contrast.toml")),
    ("redgreen", include_str!("../../themes/redgreen.toml")),
    ("blueyellow", include_str!("../../themes/blueyellow.toml")),
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
        let mut file: toml::Table = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            let line = text[..at].lines().count().max(1);
            format!("line {line}: {}", error.message())
        })?;
        let mut problems = String::new();
        let background = match file.remove("background").as_ref().map(toml::Value::as_str) {
            None => None,
            Some(Some("dark")) => Some(Background::Dark),
            Some(Some("light")) => Some(Background::Light),
            Some(_) => {
                note(&mut problems, "background is \"dark\" or \"light\"");
                None
            }
        };
        let mut styles = Vec::with_capacity(Role::ALL.len());
        for role in Role::ALL {
            let style = match file.remove(role.name()).map(toml::Value::try_into::<Spec>) {
                Some(Ok(spec)) => spec.style(depth),
                Some(Err(error)) => Err(error.message().to_owned()),
                None => Err("is missing".to_owned()),
            };
            match style {
                Ok(style) => styles.push(style),
                Err(why) => note(&mut problems, &format!("role {} {why}", role.name())),
            }
        }
        for name in file.keys() {
            note(&mut problems, &format!("there is no role {name}"));
        }
        let theme = Theme { styles, symbols, background };
        if problems.is_empty() { Ok(theme) } else { Err(problems) }
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
        Depth::Basic => basic.or(full).map(|color| match color {
            Color::Rgb(r, g, b) => nearest_16(r, g, b),
            Color::Indexed(number @ 16..) => {
                let (r, g, b) = of_256(number);
                nearest_16(r, g, b)
            }
            other => other,
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

/// What a number above the sixteen names stands for.
fn of_256(number: u8) -> (u8, u8, u8) {
    let level = |part: u8| CUBE[usize::from(part % 6)];
    match number.saturating_sub(16) {
        step @ 216.. => grey(step - 216),
        place => (level(place / 36), level(place / 6), level(place)),
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

/// Relative luminance of a colour, as the contrast rules of the web define it.
fn luminance((r, g, b): (u8, u8, u8)) -> f64 {
    let part = |value: u8| {
        let value = f64::from(value) / 255.0;
        if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    };
    0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b)
}

#[cfg(test)]
mod tests;
