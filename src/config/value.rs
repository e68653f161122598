//! The small languages inside strings: durations, names, addresses, URLs, expressions.
//!
//! Decides whether one string is well formed. Never reads a file, and never repeats the string in
//! its answer: it may hold a secret by mistake. Contract: an `Err` continues a sentence that
//! begins with the key.

use std::fmt::Write as _;
use std::time::Duration;

/// Longest name: a label of DNS, so that names of services fit wherever labels do.
const NAME_BYTES_MAX: usize = 63;

/// Longest expression that a person still understands.
const EXPRESSION_BYTES_MAX: usize = 2000;

const UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// `250ms`, `5s`, `1m`, `1h30m`, `2d`: whole numbers with units, the largest first.
pub fn duration(text: &str) -> Result<Duration, String> {
    const SHAPE: &str = "is no duration: write \"250ms\", \"5s\", \"1m\", \"1h30m\" or \"2d\"";
    let bad = || SHAPE.to_owned();
    let mut rest = text;
    let mut millis: u64 = 0;
    let mut next_unit = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().map_err(|_| bad())?;
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let place = UNITS
            .iter()
            .position(|(unit, _)| *unit == &rest[..letters])
            .filter(|place| *place >= next_unit)
            .ok_or_else(bad)?;
        rest = &rest[letters..];
        next_unit = place + 1;
        let part = number.checked_mul(UNITS[place].1).ok_or_else(bad)?;
        millis = millis.checked_add(part).ok_or_else(bad)?;
    }
    if next_unit == 0 { Err(bad()) } else { Ok(Duration::from_millis(millis)) }
}

/// The same language, backwards.
pub fn duration_text(span: Duration) -> String {
    let mut millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    let mut out = String::new();
    for (unit, size) in UNITS {
        if millis >= size {
            write!(out, "{}{unit}", millis / size).expect("writing to a string cannot fail");
            millis %= size;
        }
    }
    if out.is_empty() { "0s".to_owned() } else { out }
}

pub fn name(text: &str) -> Result<(), String> {
    let fits = (1..=NAME_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
        // A name becomes part of paths: `..` must not.
        && text.bytes().any(|b| b.is_ascii_alphanumeric());
    if fits {
        Ok(())
    } else {
        Err("is a name of 1 to 63 characters from a-z, 0-9, `.`, `_` and `-`".to_owned())
    }
}

/// A backend or server in HAProxy's own alphabet, so that a name cannot carry a command.
pub fn server(text: &str) -> Result<(), String> {
    let fits =
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.:-".contains(&b));
    if fits {
        Ok(())
    } else {
        Err("holds a name outside HAProxy's alphabet (A-Z a-z 0-9 _ . : -)".to_owned())
    }
}

/// `host:port`, with brackets around an IPv6 address.
pub fn address(text: &str) -> Result<(), String> {
    let shape = || "is an address such as \"127.0.0.1:5432\" or \"[::1]:5432\"".to_owned();
    let (host, port) = text.rsplit_once(':').ok_or_else(shape)?;
    let port_fits =
        port.parse::<u16>().is_ok_and(|port| port > 0) && port.bytes().all(|b| b.is_ascii_digit());
    let host_fits = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        }
    };
    if port_fits && host_fits { Ok(()) } else { Err(shape()) }
}

/// A URL that a plain GET can be sent to and that holds no credentials.
pub fn url(text: &str) -> Result<(), String> {
    let url = reqwest::Url::parse(text).map_err(|error| format!("is no URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("is a URL that begins with http:// or https://".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold credentials: use `token` or `headers` with a secret".to_owned());
    }
    if text.contains(char::is_whitespace) {
        return Err("is no URL: it contains white space".to_owned());
    }
    Ok(())
}

/// The rough shape of an expression: brackets and quotes close, and there is something in it.
pub fn expression(text: &str) -> Result<(), String> {
    if text.trim().is_empty() {
        return Err("is an empty expression".to_owned());
    }
    if text.len() > EXPRESSION_BYTES_MAX {
        return Err(format!("is an expression longer than {EXPRESSION_BYTES_MAX} bytes"));
    }
    let mut open = Vec::new();
    let mut quote = None;
    let mut escaped = false;
    for c in text.chars() {
        if let Some(end) = quote {
            if escaped {
                escaped = false;
            } else if c == '\\' {
                escaped = true;
            } else if c == end {
                quote = None;
            }
            continue;
        }
        match c {
            '\'' | '"' => quote = Some(c),
            '(' => open.push(')'),
            '[' => open.push(']'),
            '{' => open.push('}'),
            ')' | ']' | '}' if open.pop() != Some(c) => {
                return Err(format!("is no expression: `{c}` closes nothing"));
            }
            _ => {}
        }
    }
    if quote.is_some() {
        return Err("is no expression: a quote is not closed".to_owned());
    }
    if let Some(missing) = open.pop() {
        return Err(format!("is no expression: `{missing}` is missing"));
    }
    Ok(())
}

/// The word that was probably meant: at most a third of it is wrong.
pub fn nearest<'a>(text: &str, words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // Distance costs the product of both lengths; nobody mistypes a key into a paragraph.
    if text.len() > NAME_BYTES_MAX {
        return None;
    }
    words
        .map(|word| (distance(text, word), word))
        .filter(|(distance, word)| *distance <= 1 + word.chars().count() / 4)
        .min()
        .filter(|(distance, word)| *distance < word.chars().count())
        .map(|(_, word)| word)
}

/// Edits from `a` to `b`: insert, delete, replace, swap neighbours.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().flat_map(char::to_lowercase).collect();
    let b: Vec<char> = b.chars().flat_map(char::to_lowercase).collect();
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let swap = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
                let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let edited = (rows[i - 1][j].min(rows[i][j - 1]) + 1).min(replaced);
                if swap { edited.min(rows[i - 2][j - 2] + 1) } else { edited }
            };
        }
    }
    rows[a.len()][b.len()]
}

/// One word for a POSIX shell, as a person would paste it.
pub fn shell_word(text: &str) -> String {
    let plain = !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-./:=@%+,{}".contains(&b));
    if plain { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_whole_numbers_with_units() {
        let check = |text: &str, millis: Option<u64>| {
            assert_eq!(duration(text).ok(), millis.map(Duration::from_millis), "{text:?}");
        };
        check("250ms", Some(250));
        check("5s", Some(5_000));
        check("1h30m", Some(5_400_000));
        check("2d", Some(172_800_000));
        for bad in ["", "5", "s", "1.5s", "-1s", "5 s", "1m1h", "5s5s", "5S", "1µs"] {
            check(bad, None);
        }
        check("99999999999999999999d", None);
        check("9999999999999999d", None);
    }

    #[test]
    fn durations_are_shown_in_their_own_language() {
        for text in ["250ms", "5s", "1h30m", "2d", "1d1ms"] {
            assert_eq!(duration_text(duration(text).expect("well formed")), text);
        }
    }

    #[test]
    fn names_cannot_be_paths() {
        for good in ["a", "web-1", "v1.2_x"] {
            assert!(name(good).is_ok(), "{good}");
        }
        for bad in ["", "..", "-", "a/b", "A", "ä", &"x".repeat(64)] {
            assert!(name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn server_names_cannot_carry_a_command() {
        assert!(server("v1:a.b-C_9").is_ok());
        for bad in ["", "v1;shutdown", "v1\nx", "a b", "a/b"] {
            assert!(server(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses_have_a_port() {
        for good in ["127.0.0.1:80", "[::1]:80", "db.internal:5432"] {
            assert!(address(good).is_ok(), "{good}");
        }
        for bad in ["db", "db:", "db:0", "db:70000", "::1:80", ":80", "a b:80", "db:+80"] {
            assert!(address(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn urls_hold_no_credentials() {
        assert!(url("https://edge.example/api?x=1").is_ok());
        for bad in ["edge", "ftp://x/", "http://", "http://u:p@x/", "http://u@x/", "http://x/a b"] {
            let why = url(bad).expect_err(bad);
            assert!(!why.contains("u:p"), "{why}");
        }
    }

    #[test]
    fn expressions_close_what_they_open() {
        assert!(expression("a.b > 1.0 && c in ['x)', \"y\"]").is_ok());
        for bad in ["", "(a", "a)", "'a", "[a)", "  "] {
            assert!(expression(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_nearest_word_is_near() {
        let words = ["interval", "timeout", "fall", "rise"];
        let check = |text, near| assert_eq!(nearest(text, words.iter().copied()), near);
        check("intervall", Some("interval"));
        check("timoeut", Some("timeout"));
        check("Fall", Some("fall"));
        check("colour", None);
        check("x", None);
    }

    #[test]
    fn shell_words_survive_a_shell() {
        assert_eq!(shell_word("a b"), "'a b'");
        assert_eq!(shell_word("it's"), "'it'\\''s'");
        assert_eq!(shell_word("/run/x.sock"), "/run/x.sock");
    }
}
