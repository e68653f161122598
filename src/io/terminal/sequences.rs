//! What a terminal is told beside its cells: clipboard, notices, links, questions; and a frame in
//! sixteen colours.
//!
//! Decides the bytes. Never lets a text end its sequence: control characters are left out.
//! Contract: inside tmux a sequence is wrapped, so that it reaches the terminal outside; a link is
//! not, tmux draws it itself; the clipboard goes both ways, tmux has one of its own.

use std::fmt::Write as _;

/// What it draws behind the text.
pub const ASK_BACKGROUND: &str = "\x1b]11;?\x1b\\";
/// Whether it knows synchronized updates; Terminal.app of Apple prints a piece of the question.
pub const ASK_SYNCHRONIZED: &str = "\x1b[?2026$p";
/// The number of that mode in the answer.
pub const SYNCHRONIZED: u16 = 2026;
/// Behind questions: every terminal answers it, so that the end is known.
pub const ASK_END: &str = "\x1b[c";
/// Clicks and the wheel, with their place.
pub const MOUSE_ON: &str = "\x1b[?1000h\x1b[?1006h";
pub const MOUSE_OFF: &str = "\x1b[?1006l\x1b[?1000l";
/// Rings, or flashes, or marks the window: as its user set it.
pub const BELL: &str = "\x07";

/// Terminals take no longer clipboards.
const CLIPBOARD_BYTES_MAX: usize = 75_000;
/// A notice is read at a glance.
const NOTICE_CHARS_MAX: usize = 200;
/// Each cell of a link carries the whole address.
const LINK_BYTES_MAX: usize = 300;

/// Sends a text to the terminal's clipboard; `None` when it is too long. Nobody answers: whether
/// it was taken is not known. Inside tmux one way needs `set-clipboard on`, the other one
/// `allow-passthrough on`; with both the same text arrives twice.
#[must_use]
pub fn clipboard(text: &str, tmux: bool) -> Option<String> {
    (text.len() <= CLIPBOARD_BYTES_MAX).then(|| {
        let sequence = format!("\x1b]52;c;{}\x07", base64(text.as_bytes()));
        if tmux { sequence.clone() + &wrapped(&sequence, true) } else { sequence }
    })
}

/// A notice of the desktop, and the bell for terminals that have none.
#[must_use]
pub fn notice(title: &str, body: &str, program: &str, tmux: bool) -> String {
    let clean = |text: &str| -> String {
        text.chars().filter(|c| !c.is_control() && *c != ';').take(NOTICE_CHARS_MAX).collect()
    };
    let (title, body) = (clean(title), clean(body));
    // Some know both and would show it twice.
    let sequence = if matches!(program, "iTerm.app" | "WezTerm" | "kitty" | "ghostty") {
        format!("\x1b]9;{title}: {body}\x07")
    } else {
        format!("\x1b]777;notify;{title};{body}\x07")
    };
    format!("{}{BELL}", wrapped(&sequence, tmux))
}

/// Begins a link; `None` for what is no plain address of the web. Cells of one `id` are one link.
#[must_use]
pub fn link(url: &str, id: usize) -> Option<String> {
    let web = url.starts_with("https://") || url.starts_with("http://");
    let plain = url.bytes().all(|byte| byte.is_ascii_graphic());
    (web && plain && url.len() <= LINK_BYTES_MAX).then(|| format!("\x1b]8;id=q{id};{url}\x1b\\"))
}

pub const LINK_END: &str = "\x1b]8;;\x1b\\";

/// A frame with its colours as a terminal of sixteen takes them: 30 to 37 and 90 to 97, and the
/// same for what is behind the text. The backend numbers them as of 256, where such a terminal
/// reads the 5 as blinking.
#[must_use]
pub fn in_sixteen(frame: &[u8]) -> Vec<u8> {
    let mut told = Vec::with_capacity(frame.len());
    let mut rest = frame;
    while let Some(at) = rest.windows(2).position(|two| two == b"\x1b[") {
        let (before, sequence) = rest.split_at(at + 2);
        told.extend_from_slice(before);
        let digit = |byte: &u8| !byte.is_ascii_digit() && *byte != b';';
        let end = sequence.iter().position(digit).unwrap_or(sequence.len());
        let (numbers, after) = sequence.split_at(end);
        if after.first() == Some(&b'm') {
            told.extend_from_slice(sixteen(&String::from_utf8_lossy(numbers)).as_bytes());
        } else {
            told.extend_from_slice(numbers);
        }
        rest = after;
    }
    told.extend_from_slice(rest);
    told
}

/// The numbers of one style: "38;5;1" is "31", "48;5;9" is "101"; all else stays.
fn sixteen(numbers: &str) -> String {
    let mut told: Vec<String> = Vec::new();
    let mut numbers = numbers.split(';').peekable();
    while let Some(number) = numbers.next() {
        let base = match number {
            "38" => 30,
            "48" => 40,
            other => {
                told.push(other.to_owned());
                continue;
            }
        };
        let color = numbers.next_if_eq(&"5").and_then(|_| numbers.next()?.parse().ok());
        told.push(match color {
            Some(color @ 0..=7u8) => (base + color).to_string(),
            Some(color) => (base + 60 + color % 8).to_string(),
            None => number.to_owned(),
        });
    }
    told.join(";")
}

fn wrapped(sequence: &str, tmux: bool) -> String {
    if !tmux {
        return sequence.to_owned();
    }
    format!("\x1bPtmux;{}\x1b\\", sequence.replace('\x1b', "\x1b\x1b"))
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let at = |place: usize| u32::from(group.get(place).copied().unwrap_or_default());
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for place in 0..4 {
            let index = usize::try_from(bits >> (18 - 6 * place) & 63).unwrap_or_default();
            let letter = if place > group.len() { '=' } else { char::from(LETTERS[index]) };
            write!(out, "{letter}").expect("writing to a string cannot fail");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_as_letters() {
        let check = |text: &str, expected| assert_eq!(base64(text.as_bytes()), expected, "{text}");
        check("", "");
        check("f", "Zg==");
        check("fo", "Zm8=");
        check("foo", "Zm9v");
        check("foobar", "Zm9vYmFy");
        check("\u{ff}\u{3ff}?>", "w7/Pvz8+");
    }

    #[test]
    fn sixteen_colours_have_numbers_of_their_own() {
        let check = |frame: &str, expected: &str| {
            let told = in_sixteen(frame.as_bytes());
            assert_eq!(String::from_utf8_lossy(&told), expected, "{frame:?}");
        };
        check("", "");
        check("38;5;1m ▲", "38;5;1m ▲");
        check("\x1b[2;3Ha\x1b[38;5;1mb", "\x1b[2;3Ha\x1b[31mb");
        check("\x1b[1m\x1b[38;5;9;48;5;0mx", "\x1b[1m\x1b[91;40mx");
        check("\x1b[38;5;15;48;5;8m\x1b[39;49m", "\x1b[97;100m\x1b[39;49m");
        check("\x1b[39m\x1b[0m\x1b[", "\x1b[39m\x1b[0m\x1b[");
    }

    #[test]
    fn a_text_cannot_end_its_sequence() {
        let bytes = notice("DOWN", "a\x07\x1b]52;c;eHg=\x07\u{9c}b", "xterm", false);
        assert_eq!(bytes, "\x1b]777;notify;DOWN;a]52ceHg=b\x07\x07");
        assert_eq!(
            notice("DOWN", "x", "WezTerm", true),
            "\x1bPtmux;\x1b\x1b]9;DOWN: x\x07\x1b\\\x07"
        );
        assert_eq!(clipboard("foo", false).as_deref(), Some("\x1b]52;c;Zm9v\x07"));
        let both = "\x1b]52;c;Zm9v\x07\x1bPtmux;\x1b\x1b]52;c;Zm9v\x07\x1b\\";
        assert_eq!(clipboard("foo", true).as_deref(), Some(both));
        assert_eq!(clipboard(&"x".repeat(80_000), false), None);
        assert_eq!(link("https://x/\x1b", 0), None);
        assert_eq!(link("file:///etc/passwd", 0), None);
        assert!(link("https://wiki/x", 0).is_some());
    }
}
