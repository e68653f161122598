//! A screen as an SVG picture, for the README.
//!
//! Decides nothing but coordinates. Contract: every text is escaped; one element for each run of
//! cells of one style.

use std::fmt::Write as _;

use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};

const CELL_WIDTH: f64 = 8.4;
/// As high as the font's line, so that frames are closed.
const CELL_HEIGHT: f64 = 16.3;
const PAPER: &str = "#16181b";
const INK: &str = "#c8c8c8";

/// The whole buffer as one SVG document.
#[must_use]
pub fn picture(buffer: &Buffer) -> String {
    let area = buffer.area;
    let (wide, high) = (f64::from(area.width) * CELL_WIDTH, f64::from(area.height) * CELL_HEIGHT);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{wide:.0}\" height=\"{high:.0}\" \
         viewBox=\"0 0 {wide:.1} {high:.1}\" font-family=\"monospace\" font-size=\"14\">\n\
         <rect width=\"100%\" height=\"100%\" rx=\"6\" fill=\"{PAPER}\"/>\n"
    );
    for y in 0..area.height {
        let mut x = 0;
        while x < area.width {
            let first = &buffer[(area.x + x, area.y + y)];
            let mut text = String::new();
            let start = x;
            while x < area.width {
                let here = &buffer[(area.x + x, area.y + y)];
                if !same_style(first, here) {
                    break;
                }
                text.push_str(here.symbol());
                x += 1;
            }
            run(&mut out, first, &text, (start, y, x - start));
        }
    }
    out.push_str("</svg>\n");
    out
}

fn same_style(one: &Cell, other: &Cell) -> bool {
    (one.fg, one.bg, one.modifier) == (other.fg, other.bg, other.modifier)
}

fn run(out: &mut String, cell: &Cell, text: &str, (x, y, cells): (u16, u16, u16)) {
    let (mut ink, mut paper) = (hex(cell.fg, INK), hex(cell.bg, PAPER));
    if cell.modifier.contains(Modifier::REVERSED) {
        std::mem::swap(&mut ink, &mut paper);
    }
    let (left, top) = (f64::from(x) * CELL_WIDTH, f64::from(y) * CELL_HEIGHT);
    let wide = f64::from(cells) * CELL_WIDTH;
    if paper != PAPER {
        writeln!(
            out,
            "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{wide:.1}\" height=\"{CELL_HEIGHT}\" \
             fill=\"{paper}\"/>"
        )
        .expect("writing to a string cannot fail");
    }
    if text.trim().is_empty() {
        return;
    }
    let weight = if cell.modifier.contains(Modifier::BOLD) { " font-weight=\"bold\"" } else { "" };
    let base = top + 12.6;
    writeln!(
        out,
        "<text x=\"{left:.1}\" y=\"{base:.1}\" textLength=\"{wide:.1}\" fill=\"{ink}\"{weight} \
         xml:space=\"preserve\">{}</text>",
        escape(text)
    )
    .expect("writing to a string cannot fail");
}

fn hex(color: Color, default: &str) -> String {
    match color {
        Color::Rgb(r, g, b) => format!("#{r:02x}{g:02x}{b:02x}"),
        _ => default.to_owned(),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
