//! Makes the links of the selected incident ones that a terminal can follow (OSC 8).
//!
//! Decides which cells of a finished picture they are. Never changes a character of it. Contract: a
//! link leads where its text says: only an address that stands there, whole or cut off at the edge.
//! Every cell carries its own sequence, so that a cell that is drawn over is no link any more.

use std::env;
use std::num::NonZeroU16;

use engine::snapshot::IncidentView;
use ratatui::buffer::{Buffer, CellDiffOption};

use crate::io::terminal::sequences;

/// More of them than this are only text: each cell is as long as its address.
const LINKS_MAX: usize = 4;
/// As the incident's panel names them.
const NAME: &str = "link ";
/// A cut address that shows less than this says too little of where it leads.
const SHOWN_MIN: usize = 12;

/// Whether the terminal leaves out what it does not know.
pub fn are_known() -> bool {
    let term = env::var("TERM").unwrap_or_default();
    let tmux = env::var_os("TMUX").is_some();
    !matches!(term.as_str(), "" | "dumb" | "linux") && (tmux || !term.starts_with("screen"))
}

/// They stand below each other, in their order.
pub fn put(buffer: &mut Buffer, incident: &IncidentView) {
    let mut row = buffer.area.top();
    for (id, link) in incident.links.iter().take(LINKS_MAX).enumerate() {
        let Some(begin) = sequences::link(link.display(), id) else { continue };
        let places = (row..buffer.area.bottom())
            .find_map(|y| place(buffer, y, link.display()).map(|found| (y, found)));
        let Some((y, (from, to))) = places else { continue };
        for x in from..to {
            let Some(cell) = buffer.cell_mut((x, y)) else { continue };
            let symbol = format!("{begin}{}{}", cell.symbol(), sequences::LINK_END);
            cell.set_symbol(&symbol);
            cell.set_diff_option(CellDiffOption::ForcedWidth(NonZeroU16::MIN));
        }
        row = y + 1;
    }
}

/// From where to where the address stands in a row.
fn place(buffer: &Buffer, y: u16, url: &str) -> Option<(u16, u16)> {
    let symbol = |x: u16| buffer.cell((x, y)).map(ratatui::buffer::Cell::symbol);
    let is = |x: u16, byte: u8| symbol(x).is_some_and(|symbol| symbol.as_bytes() == [byte]);
    let matching = |at: u16, text: &str| {
        (at..).zip(text.bytes()).take_while(|(x, byte)| is(*x, *byte)).count()
    };
    (buffer.area.left()..buffer.area.right()).find_map(|x| {
        if matching(x, NAME) < NAME.len() {
            return None;
        }
        let from = x + u16::try_from(NAME.len()).ok()?;
        let shown = matching(from, url);
        let to = from.checked_add(u16::try_from(shown).ok()?)?;
        let cut = shown >= SHOWN_MIN && symbol(to) == Some("…");
        let whole = shown == url.len() && symbol(to).is_none_or(|next| " │|".contains(next));
        (cut || whole).then_some((from, to))
    })
}

#[cfg(test)]
mod tests {
    use ratatui::layout::Rect;

    use super::*;

    #[test]
    fn only_an_address_that_stands_there_is_one() {
        let check = |text: &str, url: &str, expected: Option<(u16, u16)>| {
            let mut buffer = Buffer::empty(Rect::new(0, 0, 30, 1));
            buffer.set_string(0, 0, text, ratatui::style::Style::default());
            assert_eq!(place(&buffer, 0, url), expected, "{text}");
        };
        check("│ link https://a.example/x", "https://a.example/x", Some((7, 26)));
        check("│ link https://a.example/xy", "https://a.example/x", None);
        check("│ link https://a.exampl…", "https://a.example/x", Some((7, 23)));
        check("│ link https://a…", "https://a.example/x", None);
        check("│ link https://b.example/x", "https://a.example/x", None);
        check("│ note https://a.example/x", "https://a.example/x", None);
    }
}
