//! Text from outside, as a type of its own.
//!
//! Decides what of it may be shown. Never lets a control byte, a bidirectional override, an
//! invisible character or a pile of combining marks through: it is cleaned when it enters, so
//! screen, log, journal and notifications all get the same harmless text. Contract: cleaning is
//! idempotent, and its result is at most [`FIELD_BYTES_MAX`] bytes of printable characters.

use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};
use unicode_width::UnicodeWidthChar;

/// Longest field kept, in bytes: enough for a stack trace's head, small enough to lay out at once.
pub const FIELD_BYTES_MAX: usize = 4096;

/// More than two marks on one base is decoration or an attack on the layout.
const MARKS_PER_BASE_MAX: usize = 2;

/// Text that came from outside, already cleaned.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Untrusted(String);

impl Untrusted {
    /// Cleans `raw`: controls become visible pictures, format characters their code point.
    #[must_use]
    pub fn new(raw: &str) -> Untrusted {
        Untrusted(clean(raw))
    }

    /// The cleaned text.
    #[must_use]
    pub fn display(&self) -> &str {
        &self.0
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<String> for Untrusted {
    fn from(raw: String) -> Untrusted {
        Untrusted::new(&raw)
    }
}

impl From<Untrusted> for String {
    fn from(text: Untrusted) -> String {
        text.0
    }
}

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

fn clean(raw: &str) -> String {
    // Most text is plain and is taken as it is.
    if raw.len() <= FIELD_BYTES_MAX - 16 && raw.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return raw.to_owned();
    }
    let mut out = String::with_capacity(raw.len().min(FIELD_BYTES_MAX));
    let mut marks = 0;
    for c in raw.chars() {
        if out.len() > FIELD_BYTES_MAX - 16 {
            out.push('…');
            break;
        }
        match c {
            '\u{00}'..='\u{1f}' => {
                out.push(char::from_u32(0x2400 + c as u32).unwrap_or('\u{fffd}'));
                marks = 0;
            }
            '\u{7f}' => {
                out.push('\u{2421}');
                marks = 0;
            }
            '\u{80}'..='\u{9f}' => {
                write!(out, "<{:02X}>", c as u32).expect("a string takes every write");
                marks = 0;
            }
            c if is_invisible(c) => {
                write!(out, "⟨U+{:04X}⟩", c as u32).expect("a string takes every write");
                marks = 0;
            }
            c if c.width() == Some(0) => {
                // A mark needs a base of its own: one on nothing would join what stands before.
                if marks < MARKS_PER_BASE_MAX && !out.is_empty() {
                    out.push(c);
                    marks += 1;
                }
            }
            c => {
                out.push(c);
                marks = 0;
            }
        }
    }
    out
}

/// Characters that take no room or turn the direction of their neighbours: bidi controls, joiners,
/// fillers, variation selectors, tags, line separators (Unicode's default ignorables and Cf).
fn is_invisible(c: char) -> bool {
    matches!(u32::from(c),
        0x00ad | 0x034f | 0x061c | 0x06dd | 0x070f | 0x08e2 | 0x115f | 0x1160 | 0x180b..=0x180f
        | 0x17b4 | 0x17b5 | 0x0600..=0x0605 | 0x0890 | 0x0891 | 0x200b..=0x200f | 0x2028..=0x202e
        | 0x2060..=0x206f | 0x3164 | 0xfe00..=0xfe0f | 0xfeff | 0xffa0 | 0xfff0..=0xfffb
        | 0x110bd | 0x110cd | 0x13430..=0x1343f | 0x1bca0..=0x1bca3 | 0x1d173..=0x1d17a
        | 0xe0000..=0xe0fff)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(raw: &str, shown: &str) {
        let once = Untrusted::new(raw);
        assert_eq!(once.display(), shown);
        assert_eq!(Untrusted::new(once.display()), once, "cleaning twice changes nothing");
    }

    #[test]
    fn controls_become_visible() {
        check("a\u{1b}[31mb\u{7}", "a␛[31mb␇");
        check("x\u{9b}2Jy\u{7f}", "x<9B>2Jy␡");
        check("one\ntwo\ttab", "one␊two␉tab");
    }

    #[test]
    fn invisible_characters_name_themselves() {
        check("a\u{202e}b", "a⟨U+202E⟩b");
        check("pay\u{200b}ments", "pay⟨U+200B⟩ments");
        check("\u{e0041}", "⟨U+E0041⟩");
    }

    #[test]
    fn stacked_marks_are_cut_at_two() {
        check("e\u{301}\u{302}\u{303}\u{304}x", "e\u{301}\u{302}x");
    }

    #[test]
    fn a_field_is_bounded() {
        assert!(Untrusted::new(&"é".repeat(100_000)).display().len() <= FIELD_BYTES_MAX);
    }

    #[test]
    fn text_is_cleaned_on_its_way_in_from_the_wire_too() {
        let text: Untrusted = serde_json::from_str(r#""\u001b]52;c;x\u0007""#).expect("valid JSON");
        assert_eq!(text.display(), "␛]52;c;x␇");
    }
}
