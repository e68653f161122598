//! What the terminal sends: bytes in, keys, pastes, clicks and answers out.
//!
//! Decides where a sequence begins and ends. Never waits for one longer than its limit, and never
//! takes an answer of the terminal for keys, however late it comes or however it was cut. Contract:
//! what is no whole sequence is dropped; keys that came in one piece are marked, because no person
//! types them.

use std::io;
use std::time::Duration;

use crossterm::event::{
    Event, KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// After this an escape is the key and not the beginning of a sequence, also over a slow link.
const ESCAPE_PATIENCE: Duration = Duration::from_millis(25);
/// An answer of the terminal, or a paste, that stops in its middle is over after this.
const STRING_PATIENCE: Duration = Duration::from_secs(1);
/// Longer sequences are none.
const SEQUENCE_BYTES_MAX: usize = 64;
/// Answers are short; what goes on longer is swallowed and not kept.
const STRING_BYTES_MAX: usize = 256;
/// More pasted text than this fits no field.
const PASTE_BYTES_MAX: usize = 64 * 1024;
/// Far more than a person types between two reads.
const READ_BYTES: usize = 4096;

const ESC: u8 = 0x1b;
const PASTE_BEGIN: &[u8] = b"\x1b[200~";
const PASTE_END: &[u8] = b"\x1b[201~";

/// One thing that came from the terminal.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    Event(Event),
    /// What it draws behind the text.
    Background((u8, u8, u8)),
    /// What it says of a private mode: known (set or not), or not.
    Mode {
        number: u16,
        known: bool,
    },
    /// It answered everything that it was asked before: answers keep their order.
    Fence,
}

/// What of the input is no whole sequence yet.
#[derive(Default)]
pub struct Parser {
    bytes: Vec<u8>,
    paste: Option<Vec<u8>>,
}

/// What stands at the beginning of the bytes.
enum Parsed {
    /// The rest of it is still to come.
    Open,
    /// So many bytes, and what they mean.
    Whole(usize, Option<Input>),
}

impl Parser {
    /// Takes what was read; gives what is whole.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Input> {
        self.bytes.extend_from_slice(bytes);
        let mut found = Vec::new();
        loop {
            if self.paste.is_some() {
                match self.pasted() {
                    Some(text) => found.push(text),
                    None => return found,
                }
                continue;
            }
            if self.bytes.starts_with(PASTE_BEGIN) {
                self.bytes.drain(..PASTE_BEGIN.len());
                self.paste = Some(Vec::new());
                continue;
            }
            if self.bytes.is_empty() {
                return found;
            }
            match parse(&self.bytes) {
                Parsed::Open => {
                    // It goes on and on: its beginning stays, so that its end is known as such.
                    if self.bytes.len() > STRING_BYTES_MAX {
                        let end = self.bytes.len() - 1;
                        self.bytes.drain(2..end);
                    }
                    return found;
                }
                Parsed::Whole(count, input) => {
                    self.bytes.drain(..count);
                    found.extend(input);
                }
            }
        }
    }

    /// How long the rest of what has begun is waited for; `None` when nothing has.
    #[must_use]
    pub fn patience(&self) -> Option<Duration> {
        // No person types the beginning of an answer.
        let begun = match self.bytes.as_slice() {
            [ESC, b']' | b'P' | b'_' | b'^' | b'X', ..] => true,
            bytes => bytes.starts_with(b"\x1b[") && bytes.len() > 2,
        };
        if begun || self.paste.is_some() {
            Some(STRING_PATIENCE)
        } else {
            (!self.bytes.is_empty()).then_some(ESCAPE_PATIENCE)
        }
    }

    /// The rest did not come.
    pub fn expire(&mut self) -> Vec<Input> {
        if let Some(text) = self.paste.take() {
            self.bytes.clear();
            return vec![paste(&text)];
        }
        let escape = matches!(self.bytes.as_slice(), [ESC] | [ESC, b'[' | b'O']);
        self.bytes.clear();
        if escape { vec![key(KeyCode::Esc)] } else { Vec::new() }
    }

    /// The paste, once its end is here.
    fn pasted(&mut self) -> Option<Input> {
        let end = find(&self.bytes, PASTE_END);
        // The end may be cut: as many bytes as could begin it stay.
        let whole = end.unwrap_or(self.bytes.len().saturating_sub(PASTE_END.len() - 1));
        let text = self.paste.get_or_insert_default();
        let room = PASTE_BYTES_MAX.saturating_sub(text.len());
        text.extend(self.bytes[..whole].iter().take(room));
        self.bytes.drain(..whole);
        end?;
        self.bytes.drain(..PASTE_END.len());
        self.paste.take().map(|text| paste(&text))
    }
}

fn paste(text: &[u8]) -> Input {
    // In raw mode a new line of the clipboard comes as a carriage return.
    Input::Event(Event::Paste(String::from_utf8_lossy(text).replace('\r', "\n")))
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

fn key(code: KeyCode) -> Input {
    Input::Event(Event::Key(KeyEvent::new(code, KeyModifiers::NONE)))
}

fn control(letter: u8) -> Input {
    let code = KeyCode::Char(char::from(letter));
    Input::Event(Event::Key(KeyEvent::new(code, KeyModifiers::CONTROL)))
}

fn parse(bytes: &[u8]) -> Parsed {
    let Some(first) = bytes.first() else { return Parsed::Open };
    let one = |input| Parsed::Whole(1, input);
    match first {
        &ESC => escape(bytes),
        b'\r' => one(Some(key(KeyCode::Enter))),
        b'\t' => one(Some(key(KeyCode::Tab))),
        0x7f | 0x08 => one(Some(key(KeyCode::Backspace))),
        0x01..=0x1a => one(Some(control(first + b'a' - 1))),
        0x00..0x20 => one(None),
        0x20.. => character(bytes),
    }
}

fn character(bytes: &[u8]) -> Parsed {
    let long = match bytes[0] {
        0..0xc0 | 0xf8.. => 1,
        0xc0..0xe0 => 2,
        0xe0..0xf0 => 3,
        0xf0..0xf8 => 4,
    };
    match bytes.get(..long) {
        None => Parsed::Open,
        Some(bytes) => match str::from_utf8(bytes).ok().and_then(|text| text.chars().next()) {
            Some(c) => Parsed::Whole(long, Some(key(KeyCode::Char(c)))),
            None => Parsed::Whole(1, None),
        },
    }
}

fn escape(bytes: &[u8]) -> Parsed {
    match bytes.get(1) {
        None => Parsed::Open,
        Some(b'[') => csi(bytes),
        Some(b'O') => match bytes.get(2) {
            None => Parsed::Open,
            Some(last @ b'P'..=b'S') => Parsed::Whole(3, Some(key(KeyCode::F(last - b'P' + 1)))),
            Some(last) => Parsed::Whole(3, arrow(*last)),
        },
        Some(b']' | b'P' | b'_' | b'^' | b'X') => string(bytes),
        // The key, and then another: there are no bindings with Alt.
        Some(_) => Parsed::Whole(1, Some(key(KeyCode::Esc))),
    }
}

fn arrow(last: u8) -> Option<Input> {
    Some(key(match last {
        b'A' => KeyCode::Up,
        b'B' => KeyCode::Down,
        b'C' => KeyCode::Right,
        b'D' => KeyCode::Left,
        b'H' => KeyCode::Home,
        b'F' => KeyCode::End,
        b'Z' => KeyCode::BackTab,
        _ => return None,
    }))
}

/// `ESC [`, parameters, one last byte.
fn csi(bytes: &[u8]) -> Parsed {
    // The function keys of the Linux console have no last byte of the usual range first.
    if bytes.get(2) == Some(&b'[') {
        return match bytes.get(3) {
            None => Parsed::Open,
            Some(last @ b'A'..=b'E') => Parsed::Whole(4, Some(key(KeyCode::F(last - b'A' + 1)))),
            Some(_) => Parsed::Whole(4, None),
        };
    }
    let end = bytes[2..].iter().position(|byte| !(0x20..0x40).contains(byte));
    let Some(end) = end.map(|end| end + 2) else {
        let long = bytes.len() > SEQUENCE_BYTES_MAX;
        return if long { Parsed::Whole(bytes.len(), None) } else { Parsed::Open };
    };
    let last = bytes[end];
    if !(0x40..0x7f).contains(&last) {
        // Something else begins in its middle.
        return Parsed::Whole(end, None);
    }
    let text = str::from_utf8(&bytes[2..end]).unwrap_or_default();
    let input = match (last, text.as_bytes().first()) {
        (b'c', Some(b'?')) => Some(Input::Fence),
        (b'y', Some(b'?')) => mode(text),
        (b'M' | b'm', Some(b'<')) => mouse(&text[1..], last == b'M'),
        (b'~', _) => key_of_number(text),
        (_, _) => arrow(last),
    };
    Parsed::Whole(end + 1, input)
}

fn key_of_number(text: &str) -> Option<Input> {
    let number = text.split(';').next().unwrap_or_default();
    Some(key(match number {
        "1" | "7" => KeyCode::Home,
        "4" | "8" => KeyCode::End,
        "5" => KeyCode::PageUp,
        "6" => KeyCode::PageDown,
        "2" => KeyCode::Insert,
        "3" => KeyCode::Delete,
        // Gaps in the numbers: keyboards of terminals had them.
        _ => KeyCode::F(match number.parse::<u8>().ok()? {
            number @ 11..=15 => number - 10,
            number @ 17..=21 => number - 11,
            number @ 23..=24 => number - 12,
            _ => return None,
        }),
    }))
}

/// `?2026;2$`: known unless it says 0.
fn mode(text: &str) -> Option<Input> {
    let (number, value) = text.strip_prefix('?')?.strip_suffix('$')?.split_once(';')?;
    Some(Input::Mode { number: number.parse().ok()?, known: matches!(value, "1" | "2" | "3") })
}

/// The buttons that mean something: the left one and the wheel.
fn mouse(text: &str, pressed: bool) -> Option<Input> {
    let mut numbers = text.split(';').map(str::parse::<u16>);
    let (button, column, row) = (numbers.next()?, numbers.next()?, numbers.next()?);
    let kind = match (button.ok()?, pressed) {
        (0, true) => MouseEventKind::Down(MouseButton::Left),
        (64, true) => MouseEventKind::ScrollUp,
        (65, true) => MouseEventKind::ScrollDown,
        (_, _) => return None,
    };
    Some(Input::Event(Event::Mouse(MouseEvent {
        kind,
        column: column.ok()?.checked_sub(1)?,
        row: row.ok()?.checked_sub(1)?,
        modifiers: KeyModifiers::NONE,
    })))
}

/// `ESC ]` and the like, up to BEL or `ESC \`.
fn string(bytes: &[u8]) -> Parsed {
    let bell = bytes.iter().position(|byte| *byte == 0x07);
    let ended = find(bytes, b"\x1b\\");
    let (end, long) = match (bell, ended) {
        (Some(bell), Some(ended)) if ended < bell => (ended, 2),
        (Some(bell), _) => (bell, 1),
        (None, Some(ended)) => (ended, 2),
        (None, None) => {
            return Parsed::Open;
        }
    };
    let body = str::from_utf8(&bytes[2..end]).unwrap_or_default();
    Parsed::Whole(end + long, background(body).map(Input::Background))
}

/// `11;rgb:ffff/ffff/ffff`, with one to four digits a part.
fn background(body: &str) -> Option<(u8, u8, u8)> {
    let color = body.strip_prefix("11;")?;
    let color = color.strip_prefix("rgb:").or_else(|| color.strip_prefix("rgba:"))?;
    let mut parts = color.split('/').map(|part| {
        let most = 16_u32.checked_pow(u32::try_from(part.len()).ok()?)?.checked_sub(1)?;
        let value = u32::from_str_radix(part, 16).ok()?;
        u8::try_from(value.checked_mul(255)?.checked_div(most)?).ok()
    });
    Some((parts.next()??, parts.next()??, parts.next()??))
}

/// What came next: together with something else, or alone.
pub struct Next {
    pub inputs: Vec<Input>,
    pub together: bool,
}

/// Standard input, read as it comes.
#[derive(Default)]
pub struct Reader {
    parser: Parser,
    /// More was there when the last was read.
    more: bool,
}

impl Reader {
    /// Waits for the next inputs, at most this long; `None` for as long as it takes.
    pub fn next(&mut self, limit: Option<Duration>) -> io::Result<Next> {
        let stdin = io::stdin();
        let patience = self.parser.patience();
        let wait = patience.into_iter().chain(limit).min();
        if !is_ready(&stdin, wait)? {
            let inputs = if patience.is_some() { self.parser.expire() } else { Vec::new() };
            return Ok(Next { inputs, together: false });
        }
        let mut bytes = [0; READ_BYTES];
        // Past the buffer of the standard library: what it holds back, poll does not know of.
        let count = match rustix::io::read(&stdin, &mut bytes) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(rustix::io::Errno::INTR) => 0,
            Err(error) => return Err(error.into()),
        };
        let inputs = self.parser.feed(&bytes[..count]);
        let before = self.more;
        self.more = is_ready(&stdin, Some(Duration::ZERO))?;
        let keys = inputs.iter().filter(|input| matches!(input, Input::Event(Event::Key(_))));
        // An escape key that was waited for came alone, and what ended the wait did, too.
        let several = count > 1 && keys.count() > 1;
        Ok(Next { together: before || self.more || several, inputs })
    }
}

fn is_ready(stdin: &io::Stdin, limit: Option<Duration>) -> io::Result<bool> {
    let span = limit.and_then(|limit| Timespec::try_from(limit).ok());
    let mut fds = [PollFd::new(stdin, PollFlags::IN)];
    match poll(&mut fds, span.as_ref()) {
        Ok(count) => Ok(count > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In one piece, and byte by byte: the same, but for the escape key that waits.
    fn check(bytes: &[u8], expected: &[Input]) {
        let mut whole = Parser::default();
        let mut found = whole.feed(bytes);
        found.extend(whole.expire());
        assert_eq!(found, expected, "{}", bytes.escape_ascii());
        let mut slow = Parser::default();
        let mut found: Vec<Input> = bytes.iter().flat_map(|byte| slow.feed(&[*byte])).collect();
        found.extend(slow.expire());
        assert_eq!(found, expected, "slow {}", bytes.escape_ascii());
    }

    fn keys(codes: &[KeyCode]) -> Vec<Input> {
        codes.iter().map(|code| key(*code)).collect()
    }

    #[test]
    fn keys_are_told_from_sequences() {
        use KeyCode::{BackTab, Backspace, Char, Delete, Down, End, Enter};
        use KeyCode::{Esc, F, Home, Insert, PageUp, Tab, Up};
        check(b"aR ", &keys(&[Char('a'), Char('R'), Char(' ')]));
        check("é日😀".as_bytes(), &keys(&[Char('é'), Char('日'), Char('😀')]));
        check(b"\r\t\x7f\x08", &keys(&[Enter, Tab, Backspace, Backspace]));
        check(b"\x1b", &keys(&[Esc]));
        check(b"\x1bq", &keys(&[Esc, Char('q')]));
        check(b"\x1b\x1b", &keys(&[Esc, Esc]));
        check(b"\x1b[A\x1bOB\x1b[1;5A\x1b[Z", &keys(&[Up, Down, Up, BackTab]));
        check(b"\x1b[H\x1b[4~\x1b[5~\x1b[7~", &keys(&[Home, End, PageUp, Home]));
        check(b"\x1b[[Ax\x1b[[Zx", &keys(&[F(1), Char('x'), Char('x')]));
        check(b"\x1b[2~\x1b[3~\x1b[3;2~", &keys(&[Insert, Delete, Delete]));
        check(b"\x1bOP\x1bOS\x1b[11~\x1b[15~", &keys(&[F(1), F(4), F(1), F(5)]));
        check(b"\x1b[17~\x1b[21~\x1b[23~\x1b[24~", &keys(&[F(6), F(10), F(11), F(12)]));
        check(b"\x1b[16~\x1b[22~\x1b[25~x", &keys(&[Char('x')]));
        check(b"\xff\xfea\xc3", &keys(&[Char('a')]));
        check(b"\x1b[99\x1b[A", &keys(&[Up]));
        let control = Event::Key(KeyEvent::new(Char('c'), KeyModifiers::CONTROL));
        check(b"\x03", &[Input::Event(control)]);
    }

    #[test]
    fn a_paste_is_one_thing_whatever_is_in_it() {
        let paste = |text: &str| Input::Event(Event::Paste(text.to_owned()));
        check(
            b"\x1b[200~a\rb\x1b[A\x1b[201~q",
            &[paste("a\nb\x1b[A"), keys(&[KeyCode::Char('q')])[0].clone()],
        );
        check(b"\x1b[200~\x1b[201~", &[paste("")]);
        let mut cut = Parser::default();
        assert_eq!(cut.feed(b"\x1b[200~R then no end"), []);
        assert_eq!(cut.patience(), Some(STRING_PATIENCE));
        assert!(matches!(cut.expire().as_slice(), [Input::Event(Event::Paste(_))]));
        let mut long = Parser::default();
        long.feed(PASTE_BEGIN);
        for _ in 0..100 {
            long.feed(&[b'x'; 4096]);
        }
        let found = long.feed(PASTE_END);
        let [Input::Event(Event::Paste(text))] = found.as_slice() else { panic!("no paste") };
        assert_eq!(text.len(), PASTE_BYTES_MAX);
    }

    #[test]
    fn answers_of_the_terminal_are_never_keys() {
        check(b"\x1b]11;rgb:ffff/8080/0000\x07", &[Input::Background((255, 128, 0))]);
        check(b"\x1b]11;rgb:1/22/333\x1b\\", &[Input::Background((17, 34, 51))]);
        check(b"\x1b]11;rgb:zz/22/333\x1b\\", &[]);
        check(b"\x1b]52;c;UkZY\x07\x1bP1$r0m\x1b\\", &[]);
        check(b"\x1b[?64;1;2c", &[Input::Fence]);
        check(b"\x1b[?2026;2$y", &[Input::Mode { number: 2026, known: true }]);
        check(b"\x1b[?2026;0$y", &[Input::Mode { number: 2026, known: false }]);
        // Cut off in the middle, and going on for ever.
        check(b"\x1b]11;rgb:ffff/80", &[]);
        check(b"\x1b[?64;1", &[]);
    }

    #[test]
    fn clicks_and_the_wheel_have_a_place() {
        let event = |kind| MouseEvent { kind, column: 4, row: 9, modifiers: KeyModifiers::NONE };
        let down = Event::Mouse(event(MouseEventKind::Down(MouseButton::Left)));
        check(b"\x1b[<0;5;10M", &[Input::Event(down)]);
        check(b"\x1b[<64;5;10M", &[Input::Event(Event::Mouse(event(MouseEventKind::ScrollUp)))]);
        check(b"\x1b[<0;5;10m\x1b[<35;5;10M\x1b[<0;0;10M", &[]);
    }
}
