//! Everything that is shown, in every class of theme and terminal, at four sizes: its words, the
//! roles that draw them, and their colours.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use quarterdeck::ui::theme::{Background, Role};
use ratatui::buffer::{Buffer, Cell};
use ratatui::layout::Rect;
use ratatui::style::{Color, Style};

use super::panels::Shown;
use super::*;

const SIZES: [(u16, u16); 4] = [(40, 12), (80, 24), (120, 40), (200, 60)];

/// A name, a theme, and the terminal it is drawn on.
const CLASSES: [(&str, &str, Depth, Symbols); 10] = [
    ("dark", "dark", Depth::True, Symbols::Unicode),
    ("light", "light", Depth::True, Symbols::Unicode),
    ("contrast", "contrast", Depth::True, Symbols::Unicode),
    ("redgreen", "redgreen", Depth::True, Symbols::Unicode),
    ("blueyellow", "blueyellow", Depth::True, Symbols::Unicode),
    ("mono", "mono", Depth::Never, Symbols::Unicode),
    ("256_colours", "dark", Depth::Indexed, Symbols::Unicode),
    ("16_colours", "dark", Depth::Basic, Symbols::Unicode),
    ("16_colours_light", "light", Depth::Basic, Symbols::Unicode),
    ("ascii", "dark", Depth::True, Symbols::Ascii),
];

/// What must stand there however small the screen is.
fn words(shown: &str) -> &'static [&'static str] {
    match shown {
        "services" => &["payments", "DEGRADED", "checkout", "STALE"],
        "release" => &["v1.9.0", "WALKING BACK", "FAIL: the canary", "rollback ready: yes"],
        "incidents" => &["HighErrorRate", "critical", "SlowQue", "21 % errors"],
        "hosts" => &["web-1", "97 %", "disks / 71 %"],
        "journal" => &["VERIFIED: edge-1", "intent", "split payments"],
        "sources" => &["search/api", "timeout after 2s", "alerts"],
        "screen" => &["payments", "DEGRADED", "WALKING BACK"],
        "wall" | "changes" => &["payments"],
        "handover" => &["HighErrorRate"],
        "rollback" => &["ROLLBACK payments", "P A Y", "edge-1"],
        "shift" => &["SHIFT payments", "AGAINST", "P A Y"],
        "palette" => &["rollback", "promote"],
        "help" => &["Emergency rollback"],
        "runbook" => &["systemctl status payments"],
        other => panic!("what must {other} show?"),
    }
}

fn buffer(shown: &Shown, picture: &Snapshot, (wide, high): (u16, u16), theme: &Theme) -> Buffer {
    let area = Rect::new(0, 0, wide, high);
    let mut buffer = Buffer::empty(area);
    view::draw_in(&mut buffer, area, Some(picture), &shown.ui, theme, now());
    buffer
}

fn rows(buffer: &Buffer) -> String {
    let wide = usize::from(buffer.area.width);
    let row = |cells: &[Cell]| cells.iter().map(Cell::symbol).collect::<String>();
    let rows = buffer.content.chunks(wide).map(row);
    rows.fold(String::new(), |text, row| text + row.trim_end() + "\n")
}

/// A theme whose colours say which role has drawn a cell; the selection is only a background.
fn telling() -> Theme {
    let text = Role::ALL.iter().fold(String::new(), |text, role| {
        let ground = if *role == Role::Selection { "bg" } else { "fg" };
        text + &format!("[{}]\n{ground} = \"#0000{:02x}\"\n", role.name(), *role as u8)
    });
    Theme::parse(&text, Depth::True, Symbols::Unicode).expect("every role is there")
}

/// Which role drew a cell; `None` for a blank one and for the terminal's own colour.
fn role(cell: &Cell) -> Option<Role> {
    match cell.fg {
        Color::Rgb(0, 0, number) if !cell.symbol().trim().is_empty() => {
            Role::ALL.get(usize::from(number)).copied()
        }
        _ => None,
    }
}

fn is_selected(cell: &Cell) -> bool {
    cell.bg != Color::Reset
}

#[test]
fn every_panel_at_four_sizes() {
    let picture = panels::picture();
    let telling = telling();
    for shown in panels::all(&picture) {
        let mut text = String::new();
        for size in SIZES {
            let buffer = buffer(&shown, &picture, size, &telling);
            let mut cells: BTreeMap<&str, usize> = BTreeMap::new();
            for cell in &buffer.content {
                if !cell.symbol().trim().is_empty() {
                    *cells.entry(role(cell).map_or("none", Role::name)).or_default() += 1;
                }
            }
            let cells: Vec<String> =
                cells.iter().map(|(role, count)| format!("{role} {count}")).collect();
            let (wide, high) = size;
            writeln!(text, "{wide}x{high}: {}\n{}", cells.join(", "), rows(&buffer))
                .expect("writing to a string cannot fail");
        }
        insta::assert_snapshot!(format!("panel_{}", shown.name), text);
    }
}

/// What must be told apart on one screen by its look alone.
const APART: [&[Role]; 2] = [
    &[Role::Up, Role::Maint, Role::Unknown, Role::Stale, Role::Degraded, Role::Down],
    &[Role::Low, Role::Medium, Role::High, Role::Critical],
];

/// Fewer letters than this on a whole screen say nothing.
const LETTERS_MIN: usize = 60;

#[test]
fn every_class_of_theme_shows_the_same_words_and_each_role_in_its_own_look() {
    let picture = panels::picture();
    let all = panels::all(&picture);
    let telling = telling();
    for (class, name, depth, symbols) in CLASSES {
        let theme = Theme::named(name, depth, symbols).expect("it is embedded");
        let mut looks: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for (shown, size) in all.iter().flat_map(|shown| SIZES.map(|size| (shown, size))) {
            let place = format!("{} {size:?} in {class}", shown.name);
            let told = buffer(shown, &picture, size, &telling);
            let drawn = buffer(shown, &picture, size, &theme);
            let text = rows(&drawn);
            for word in words(shown.name) {
                assert!(text.contains(word), "{place} lacks {word}\n{text}");
            }
            let letters = text.chars().filter(|c| c.is_alphanumeric()).count();
            assert!(letters >= LETTERS_MIN, "{place} is empty\n{text}");
            match symbols {
                Symbols::Unicode => assert_eq!(text, rows(&told), "{place}"),
                Symbols::Ascii => {
                    assert!(text.is_ascii(), "{place}\n{text}");
                    // Its symbols are wider: roles do not stand where they stood.
                    continue;
                }
            }
            let cells = || told.content.iter().zip(&drawn.content);
            for (told, cell) in cells().filter_map(|(told, cell)| Some((role(told)?, cell))) {
                fits(cell, told, &theme, depth, &place);
                looks.entry(told.name()).or_default().insert(look(cell));
            }
            for group in APART {
                let mut seen: BTreeMap<String, Role> = BTreeMap::new();
                for (told, cell) in cells().filter(|(told, _)| !is_selected(told)) {
                    let Some(own) = role(told).filter(|role| group.contains(role)) else {
                        continue;
                    };
                    let other = *seen.entry(look(cell)).or_insert(own);
                    assert_eq!(other, own, "{place}: two roles look alike");
                }
            }
        }
        let looks = looks.into_iter().fold(String::new(), |text, (role, looks)| {
            let looks: Vec<String> = looks.into_iter().collect();
            text + &format!("{role}: {}\n", looks.join(", "))
        });
        insta::assert_snapshot!(format!("class_{class}"), looks);
    }
}

/// Colours and weight of a cell in words.
fn look(cell: &Cell) -> String {
    let Style { fg, bg, add_modifier, .. } = cell.style();
    let colour = |color: Option<Color>| color.unwrap_or_default().to_string();
    let mut text = colour(fg);
    if bg.is_some_and(|bg| bg != Color::Reset) {
        text += &format!(" on {}", colour(bg));
    }
    if add_modifier.is_empty() { text } else { text + &format!(" {add_modifier:?}") }
}

/// The terminal has this colour, and its text stands out.
fn fits(cell: &Cell, role: Role, theme: &Theme, depth: Depth, place: &str) {
    let place = format!("{place}: {} is {}", role.name(), look(cell));
    for color in [cell.fg, cell.bg] {
        let known = match color {
            Color::Reset => true,
            Color::Rgb(..) => depth == Depth::True,
            Color::Indexed(_) => depth == Depth::Indexed,
            _ => depth == Depth::Basic,
        };
        assert!(known, "{place}");
    }
    if let Color::Rgb(r, g, b) = cell.fg
        && role != Role::Border
    {
        let usual = match theme.background {
            Some(Background::Light) => [(255, 255, 255), (253, 246, 227)],
            Some(Background::Dark) | None => [(0, 0, 0), (28, 28, 28)],
        };
        let papers = match cell.bg {
            Color::Rgb(r, g, b) => [(r, g, b); 2],
            _ => usual,
        };
        for paper in papers {
            let found = contrast((r, g, b), paper);
            assert!(found >= 4.5, "{place}: {found:.2} to 1 on {paper:?}");
        }
    }
}

/// As the contrast rules of the web define it.
fn contrast(one: (u8, u8, u8), other: (u8, u8, u8)) -> f64 {
    let part = |value: u8| {
        let value = f64::from(value) / 255.0;
        if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    };
    let light = |(r, g, b)| 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b) + 0.05;
    let (one, other): (f64, f64) = (light(one), light(other));
    one.max(other) / one.min(other)
}

#[test]
fn live_is_said_while_data_arrives_and_only_then() {
    let picture = sample();
    let mut silent = picture.clone();
    let mut sources = (*picture.sources).clone();
    for source in &mut sources {
        Arc::make_mut(source).error = Untrusted::new("no route to host");
    }
    silent.sources = Arc::new(sources);
    // A status that is known is data, though its probe got no answer.
    let mut services = (*picture.services).clone();
    for probe in services.iter_mut().flat_map(|it| &mut Arc::make_mut(it).probes).map(Arc::make_mut)
    {
        probe.observed = Some(sample::ago(134));
    }
    silent.services = Arc::new(services);
    for (live, shown) in
        [(Some(&picture), "LIVE"), (Some(&silent), "NO DATA"), (None, "CONNECTING")]
    {
        let mut terminal = Terminal::new(TestBackend::new(100, 30)).expect("it cannot fail");
        let (own, theme) = (ui(&picture), theme(Symbols::Unicode));
        terminal.draw(|frame| view::draw(frame, live, &own, &theme, now())).expect("it is drawn");
        let text = terminal.backend().to_string();
        let words = ["LIVE", "NO DATA", "CONNECTING"];
        let said: Vec<&str> = words.into_iter().filter(|word| text.contains(word)).collect();
        assert_eq!(said, [shown], "{text}");
    }
}

#[test]
fn the_pictures_in_the_docs_are_what_is_drawn() {
    let mut kept: BTreeSet<_> = std::fs::read_dir(pictures::FOLDER)
        .expect("the folder")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    let root = env!("CARGO_MANIFEST_DIR");
    let read = |page: &str| std::fs::read_to_string(format!("{root}/{page}")).expect("a page");
    let pages = read("README.md") + &read("docs/console.md");
    for (path, text) in pictures::pictures() {
        let name = path.display();
        let file = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        assert!(pages.contains(&format!("pictures/{file})")), "no page shows {name}");
        let old = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(old == text, "{name} is old: cargo run --example picture makes it anew");
        kept.remove(&path);
    }
    assert!(kept.is_empty(), "nothing draws {kept:?}");
}
