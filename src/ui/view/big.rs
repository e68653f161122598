//! Large type: letters of three by five blocks.
//!
//! Decides how large a text can be. Contract: what does not fit as blocks is plain text.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Line;

use super::put;

const ROWS: u16 = 5;
const COLUMNS: u16 = 3;
/// Larger than this is not read from farther away: a wall stays calm.
const SCALE_MAX: u16 = 4;

/// Three bits a row, the leftmost first.
const FONT: [(char, [u8; 5]); 44] = [
    ('A', [2, 5, 7, 5, 5]),
    ('B', [6, 5, 6, 5, 6]),
    ('C', [3, 4, 4, 4, 3]),
    ('D', [6, 5, 5, 5, 6]),
    ('E', [7, 4, 6, 4, 7]),
    ('F', [7, 4, 6, 4, 4]),
    ('G', [3, 4, 5, 5, 3]),
    ('H', [5, 5, 7, 5, 5]),
    ('I', [7, 2, 2, 2, 7]),
    ('J', [1, 1, 1, 5, 2]),
    ('K', [5, 5, 6, 5, 5]),
    ('L', [4, 4, 4, 4, 7]),
    ('M', [5, 7, 7, 5, 5]),
    ('N', [6, 5, 5, 5, 5]),
    ('O', [2, 5, 5, 5, 2]),
    ('P', [6, 5, 6, 4, 4]),
    ('Q', [2, 5, 5, 6, 3]),
    ('R', [6, 5, 6, 5, 5]),
    ('S', [3, 4, 2, 1, 6]),
    ('T', [7, 2, 2, 2, 2]),
    ('U', [5, 5, 5, 5, 7]),
    ('V', [5, 5, 5, 5, 2]),
    ('W', [5, 5, 7, 7, 5]),
    ('X', [5, 5, 2, 5, 5]),
    ('Y', [5, 5, 2, 2, 2]),
    ('Z', [7, 1, 2, 4, 7]),
    ('0', [7, 5, 5, 5, 7]),
    ('1', [2, 6, 2, 2, 7]),
    ('2', [6, 1, 2, 4, 7]),
    ('3', [6, 1, 2, 1, 6]),
    ('4', [5, 5, 7, 1, 1]),
    ('5', [7, 4, 6, 1, 6]),
    ('6', [3, 4, 6, 5, 2]),
    ('7', [7, 1, 2, 2, 2]),
    ('8', [2, 5, 2, 5, 2]),
    ('9', [2, 5, 3, 1, 6]),
    ('%', [5, 1, 2, 4, 5]),
    ('.', [0, 0, 0, 0, 2]),
    ('-', [0, 0, 7, 0, 0]),
    ('_', [0, 0, 0, 0, 7]),
    ('/', [1, 1, 2, 4, 4]),
    (':', [0, 2, 0, 2, 0]),
    ('+', [0, 2, 7, 2, 0]),
    (' ', [0, 0, 0, 0, 0]),
];

fn glyph(c: char) -> Option<[u8; 5]> {
    let c = c.to_ascii_uppercase();
    FONT.iter().find(|(known, _)| *known == c).map(|(_, rows)| *rows)
}

/// Draws `text` as large as it fits into `at`; says how many rows it took.
pub fn draw(buffer: &mut Buffer, at: Rect, text: &str, style: Style, full: char) -> u16 {
    let glyphs: Option<Vec<[u8; 5]>> = text.chars().map(glyph).collect();
    let count = u16::try_from(text.chars().count()).unwrap_or(u16::MAX);
    let fits = |(wide, high): &(u16, u16)| {
        let columns = u32::from(count) * u32::from(COLUMNS + 1) * u32::from(*wide);
        columns <= u32::from(at.width) + u32::from(*wide) && ROWS * high <= at.height
    };
    // Cells for a block, largest first; a cell is about twice as high as it is wide.
    let scales = (1..=SCALE_MAX).rev().map(|high| (2 * high, high)).chain([(1, 1)]);
    let (Some(glyphs), Some((wide, high))) = (glyphs, scales.into_iter().find(fits)) else {
        put(buffer, at, 0, Line::styled(text.to_owned(), style));
        return 1.min(at.height);
    };
    let block = |bits: u8| -> String {
        (0..COLUMNS)
            .map(|column| if bits & (4 >> column) == 0 { ' ' } else { full })
            .flat_map(|c| std::iter::repeat_n(c, usize::from(wide)))
            .collect()
    };
    let gap = " ".repeat(usize::from(wide));
    for row in 0..ROWS {
        let blocks: Vec<String> =
            glyphs.iter().map(|glyph| block(glyph[usize::from(row)])).collect();
        let line = blocks.join(&gap);
        for part in 0..high {
            put(buffer, at, row * high + part, Line::styled(line.clone(), style));
        }
    }
    ROWS * high
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_as_large_as_it_fits() {
        let check = |text: &str, width, height, expected| {
            let at = Rect { x: 0, y: 0, width, height };
            let rows = draw(&mut Buffer::empty(at), at, text, Style::default(), '#');
            assert_eq!(rows, expected, "{text} in {width}x{height}");
        };
        check("DOWN", 80, 20, 10);
        check("DOWN", 40, 20, 5);
        check("DOWN", 196, 20, 20);
        check("DOWN", 196, 19, 15);
        check("DOWN", 100, 50, 15);
        check("DOWN", 400, 100, 20);
        check("DOWN", 16, 20, 5);
        check("DOWN", 10, 20, 1);
        check("DOWN", 80, 4, 1);
        check("日本", 80, 20, 1);
        check("X", 0, 0, 0);
    }
}
