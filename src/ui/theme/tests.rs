//! Themes: every role at every depth, contrast, what colour-blind eyes see.

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
    let basic = choose(Some("red"), Some("208"), Depth::Basic);
    assert_eq!(basic, Ok(Some(Color::Yellow)), "one of 256 is none of sixteen");
    assert_eq!([16, 231, 255].map(of_256), [(0, 0, 0), (255, 255, 255), (238, 238, 238)]);
}

const ALL_DEPTHS: [Depth; 4] = [Depth::True, Depth::Indexed, Depth::Basic, Depth::Never];

/// Lines are no text.
fn text_roles() -> impl Iterator<Item = Role> {
    Role::ALL.iter().copied().filter(|role| !matches!(role, Role::Border | Role::Selection))
}

/// What stands in rows that can be selected.
fn in_rows(role: Role) -> bool {
    use Role::{Alias, BandCalm, BandCaution, BandDanger, Banner, Frozen, Input};
    !matches!(role, Alias | BandCalm | BandCaution | BandDanger | Banner | Frozen | Input)
}

/// What is drawn behind text: the darkest and the lightest of the usual backgrounds.
fn papers(background: Background) -> [Rgb; 2] {
    match background {
        Background::Dark => [(0, 0, 0), (28, 28, 28)],
        Background::Light => [(255, 255, 255), (253, 246, 227)],
    }
}

type Rgb = (u8, u8, u8);

/// A colour as most terminals draw it.
fn drawn(color: Color) -> Rgb {
    match color {
        Color::Rgb(r, g, b) => (r, g, b),
        Color::Indexed(index @ 16..=231) => {
            let level = |by: u8| CUBE[usize::from((index - 16) / by % 6)];
            (level(36), level(6), level(1))
        }
        Color::Indexed(index @ 232..) => grey(index - 232),
        named => BASIC.iter().find(|(known, _)| *known == named).expect("one of the 16").1,
    }
}

fn contrast(one: Rgb, other: Rgb) -> f64 {
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

/// The least contrast of a theme's text, alone and in the selected row, and where it is.
fn least(theme: &Theme) -> (f64, String) {
    let selection = theme.style(Role::Selection);
    let mut least = (f64::MAX, String::new());
    for role in text_roles() {
        let whole = theme.style(role).patch(selection);
        let selected = if in_rows(role) { whole } else { theme.style(role) };
        for (place, style) in [("", theme.style(role)), (" selected", selected)] {
            for paper in papers(theme.background.unwrap_or(Background::Dark)) {
                let Some(ink) = style.fg.map(drawn) else { continue };
                let found = contrast(ink, style.bg.map_or(paper, drawn));
                if found < least.0 {
                    least = (found, format!("{}{place} on {paper:?}", role.name()));
                }
            }
        }
    }
    least
}

#[test]
fn text_stands_out_in_every_theme() {
    let mut weak = Vec::new();
    for (name, _) in EMBEDDED {
        // Without a colour of its own, text is the terminal's.
        for depth in ALL_DEPTHS {
            let theme = Theme::named(name, depth, Symbols::Unicode).expect("it is embedded");
            let (contrast, place) = least(&theme);
            let wanted = if *name == "contrast" { 7.0 } else { 4.5 };
            if contrast < wanted {
                weak.push(format!("{name} at {depth:?}: {contrast:.2} of {place}"));
            }
        }
    }
    assert_eq!(weak, [""; 0]);
}

/// What must be told apart by its style alone, in every theme and at every depth.
const APART: [&[Role]; 3] = [
    &[Role::Up, Role::Maint, Role::Unknown, Role::Stale, Role::Degraded, Role::Down],
    &[Role::Low, Role::Medium, Role::High, Role::Critical],
    &[Role::Text, Role::Dim, Role::Strong, Role::Down, Role::Degraded, Role::Stale],
];

#[test]
fn roles_that_mean_different_things_look_different() {
    for (name, _) in EMBEDDED {
        for depth in ALL_DEPTHS {
            let theme = Theme::named(name, depth, Symbols::Unicode).expect("it is embedded");
            for group in APART {
                for (place, role) in group.iter().enumerate() {
                    let same = group[..place].iter().find(|it| {
                        theme.style(**it) == theme.style(*role)
                            && !(is_mono(name, depth) && excused(**it, *role))
                    });
                    assert_eq!(same, None, "{name} at {depth:?}: {}", role.name());
                }
            }
        }
    }
}

fn is_mono(name: &str, depth: Depth) -> bool {
    name == "mono" || depth == Depth::Never
}

/// Five weights cannot tell everything apart: without colour, symbol and word do it.
fn excused(one: Role, other: Role) -> bool {
    [one, other] == [Role::Strong, Role::Degraded]
}

/// What an eye of this kind sees (Machado and others, 2009, in full), in linear light.
fn seen(kind: &[[f64; 3]; 3], rgb: Rgb) -> [f64; 3] {
    let parts = [(rgb.0, 0, 0), (0, rgb.1, 0), (0, 0, rgb.2)];
    let weights = [0.2126, 0.7152, 0.0722];
    let linear = [0, 1, 2].map(|at| luminance(parts[at]) / weights[at]);
    let sum = |row: &[f64; 3]| row.iter().zip(linear).map(|(a, b)| a * b).sum::<f64>();
    kind.each_ref().map(|row| sum(row).clamp(0.0, 1.0))
}

/// CIE L*a*b*, in which distances are about as large as they look.
#[expect(clippy::many_single_char_names, reason = "the names of the space's own parts")]
fn lab([r, g, b]: [f64; 3]) -> [f64; 3] {
    let curve = |t: f64| if t > 0.008_856 { t.cbrt() } else { 7.787 * t + 16.0 / 116.0 };
    let x = curve((0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.950_47);
    let y = curve(0.2126 * r + 0.7152 * g + 0.0722 * b);
    let z = curve((0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.088_83);
    [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
}

const PROTAN: [[f64; 3]; 3] = [
    [0.152_286, 1.052_583, -0.204_868],
    [0.114_503, 0.786_281, 0.099_216],
    [-0.003_882, -0.048_116, 1.051_998],
];
const DEUTAN: [[f64; 3]; 3] = [
    [0.367_322, 0.860_646, -0.227_968],
    [0.280_085, 0.672_501, 0.047_413],
    [-0.011_820, 0.042_940, 0.968_881],
];
const TRITAN: [[f64; 3]; 3] = [
    [1.255_528, -0.076_749, -0.178_779],
    [-0.078_411, 0.930_809, 0.147_602],
    [0.004_733, 0.691_367, 0.303_900],
];

/// Some ten times what can just be told apart side by side.
const APART_MIN: f64 = 24.0;

#[test]
fn the_states_are_apart_for_colour_blind_eyes() {
    for (name, kinds) in [("redgreen", &[PROTAN, DEUTAN][..]), ("blueyellow", &[TRITAN][..])] {
        let theme = Theme::named(name, Depth::True, Symbols::Unicode).expect("it is embedded");
        let states = [Role::Up, Role::Maint, Role::Unknown, Role::Degraded, Role::Down];
        for kind in kinds {
            let looks = states.map(|role| {
                lab(seen(kind, drawn(theme.style(role).fg.expect("states have a colour"))))
            });
            for (place, one) in looks.iter().enumerate() {
                for (other, before) in looks[..place].iter().enumerate() {
                    let far: f64 = one.iter().zip(before).map(|(a, b)| (a - b).powi(2)).sum();
                    let (one, other) = (states[place].name(), states[other].name());
                    let far = far.sqrt();
                    assert!(far >= APART_MIN, "{name}: {one} and {other} are {far:.0} apart");
                }
            }
        }
    }
}

#[test]
fn a_background_is_light_or_dark() {
    use Background::{Dark, Light};
    let check = |text, expected| assert_eq!(Background::of_colorfgbg(text), expected, "{text}");
    check("15;0", Some(Dark));
    check("0;15", Some(Light));
    check("0;default;15", Some(Light));
    check("12;8", Some(Dark));
    check("15;default", None);
    check("", None);
    check("0;16", None);
    assert_eq!(Background::of_color((253, 246, 227)), Light);
    assert_eq!(Background::of_color((40, 44, 52)), Dark);
}
