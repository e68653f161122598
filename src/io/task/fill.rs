//! Puts what a release knows into the texts of a plan's task.
//!
//! Decides what a value may do in each place: it never becomes an option, another address, another
//! file or a second string. Never asks for a value that the context does not have. Contract: a
//! text without placeholders comes out as it went in; an `Err` says which placeholder and why.

use engine::reading::TaskContext;
use reqwest::Url;

/// What may stand between braces.
pub const NAMES: [&str; 5] = ["service", "version", "group", "stable", "reason"];

/// Where a text goes, and so what its values must not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spot {
    Argument,
    Url,
    /// Inside a string of JSON.
    Json,
    /// Inside a string of a query.
    Query,
    Path,
    /// Text for a program's input.
    Plain,
}

/// The words between braces, in their order: `{word}`, letters, digits and `_` only.
pub fn placeholders(text: &str) -> impl Iterator<Item = &str> {
    pieces(text).filter_map(|piece| match piece {
        Piece::Placeholder(name) => Some(name),
        Piece::Text(_) => None,
    })
}

enum Piece<'a> {
    Text(&'a str),
    Placeholder(&'a str),
}

fn pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        if let Some((name, behind)) = placeholder(rest) {
            rest = behind;
            return Some(Piece::Placeholder(name));
        }
        // A brace that opens nothing is a character like any other.
        let next = rest.char_indices().skip(1).find(|(at, _)| placeholder(&rest[*at..]).is_some());
        let (text, behind) = rest.split_at(next.map_or(rest.len(), |(at, _)| at));
        rest = behind;
        Some(Piece::Text(text))
    })
}

/// The placeholder that `text` begins with, and what follows it.
fn placeholder(text: &str) -> Option<(&str, &str)> {
    let (name, behind) = text.strip_prefix('{')?.split_once('}')?;
    let fits = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    fits.then_some((name, behind))
}

/// `text` with its placeholders replaced, as `spot` allows it.
pub fn fill(text: &str, context: &TaskContext, spot: Spot) -> Result<String, String> {
    let mut filled = String::with_capacity(text.len());
    let mut replaced = false;
    for piece in pieces(text) {
        match piece {
            Piece::Text(text) => filled.push_str(text),
            Piece::Placeholder(name) => {
                let value = value(name, context)?;
                let fitted = fitted(value, spot).map_err(|why| format!("{{{name}}} {why}"))?;
                filled.push_str(&fitted);
                replaced = true;
            }
        }
    }
    if replaced {
        whole(text, &filled, spot)?;
    }
    Ok(filled)
}

fn value<'a>(name: &str, context: &'a TaskContext) -> Result<&'a str, String> {
    let (value, may_lack) = match name {
        "service" => (context.service.as_str(), false),
        "version" => (context.version.as_str(), false),
        "group" => (context.group.as_str(), false),
        "stable" => (other_group(&context.group), false),
        "reason" => (context.reason.display(), true),
        other => match context.values.get(other) {
            Some(value) => (value.as_str(), false),
            None => return Err(format!("{{{name}}} stands for nothing")),
        },
    };
    if value.is_empty() && !may_lack {
        return Err(format!("{{{name}}} is not known here"));
    }
    if value.chars().any(char::is_control) {
        return Err(format!("{{{name}}} holds a control character"));
    }
    Ok(value)
}

/// Two groups: the other one is stable.
fn other_group(group: &str) -> &'static str {
    match group {
        "a" => "b",
        "b" => "a",
        _ => "",
    }
}

/// One value in the dress that its place asks for.
fn fitted(value: &str, spot: Spot) -> Result<String, String> {
    match spot {
        Spot::Url => Ok(percent_encoded(value)),
        Spot::Json => {
            let quoted = serde_json::Value::from(value).to_string();
            Ok(quoted[1..quoted.len() - 1].to_owned())
        }
        Spot::Query if value.contains(['"', '\'', '`', '\\', '{', '}']) => {
            Err("holds a character that would end its place in the query".to_owned())
        }
        Spot::Path if value.contains('/') || value.contains("..") => {
            Err("would name another folder".to_owned())
        }
        Spot::Argument | Spot::Plain | Spot::Query | Spot::Path => Ok(value.to_owned()),
    }
}

/// What only shows in the whole.
fn whole(text: &str, filled: &str, spot: Spot) -> Result<(), String> {
    match spot {
        Spot::Argument if filled.starts_with('-') && !text.starts_with('-') => {
            Err("an argument would begin with `-` and become an option".to_owned())
        }
        Spot::Url if shape(text) != shape(filled) => {
            Err("the address would point elsewhere".to_owned())
        }
        Spot::Argument | Spot::Url | Spot::Json | Spot::Query | Spot::Path | Spot::Plain => Ok(()),
    }
}

/// Origin and depth of an address: a value of `..` changes the depth.
fn shape(url: &str) -> Option<(String, usize)> {
    let url = Url::parse(url).ok()?;
    Some((url.origin().ascii_serialization(), url.path_segments()?.count()))
}

fn percent_encoded(text: &str) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let digit = |half: u8| char::from(DIGITS[usize::from(half)]);
            encoded.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use engine::types::Untrusted;

    use super::*;

    fn context(version: &str) -> TaskContext {
        TaskContext {
            service: "checkout".to_owned(),
            version: version.to_owned(),
            group: "b".to_owned(),
            reason: Untrusted::new("5xx \"up\"\nnow"),
            ..TaskContext::default()
        }
    }

    fn check(text: &str, version: &str, spot: Spot, expected: Result<&str, &str>) {
        let found = fill(text, &context(version), spot);
        match expected {
            Ok(filled) => assert_eq!(found.as_deref(), Ok(filled), "{text}"),
            Err(part) => {
                assert!(found.as_ref().is_err_and(|why| why.contains(part)), "{text}: {found:?}");
            }
        }
    }

    #[test]
    fn placeholders_are_words_in_braces() {
        let found = |text| placeholders(text).collect::<Vec<_>>();
        assert_eq!(
            found("{version}-{a_1}{}{ x }{a=\"b\"}{{group}}ä{"),
            ["version", "a_1", "group"]
        );
        check("{a=\"b\"} {} {", "1", Spot::Plain, Ok("{a=\"b\"} {} {"));
        check("{group}{stable}", "1", Spot::Plain, Ok("ba"));
        check("{}{version}}", "1.2", Spot::Argument, Ok("{}1.2}"));
    }

    #[test]
    fn a_value_never_becomes_an_option() {
        check("--image=app:{version}", "1.2", Spot::Argument, Ok("--image=app:1.2"));
        check("{version}", "1.2", Spot::Argument, Ok("1.2"));
        check("--image={version}", "--all", Spot::Argument, Ok("--image=--all"));
        check("{version}", "--all", Spot::Argument, Err("become an option"));
        check("{version}.tar", "-rf", Spot::Argument, Err("become an option"));
        check("{version}", "", Spot::Argument, Err("{version} is not known here"));
        check("{version}", "1\n2", Spot::Argument, Err("control character"));
        check("{versoin}", "1", Spot::Argument, Err("{versoin} stands for nothing"));
    }

    #[test]
    fn a_value_never_leaves_its_place() {
        let url = "http://x:1/a/{version}/b?r={reason}";
        check(url, "1/2", Spot::Url, Ok("http://x:1/a/1%2F2/b?r=5xx%20%22up%22%E2%90%8Anow"));
        check(url, "..", Spot::Url, Err("elsewhere"));
        check(url, ".", Spot::Url, Err("elsewhere"));
        check("{\"r\":\"{reason}\"}", "1", Spot::Json, Ok("{\"r\":\"5xx \\\"up\\\"␊now\"}"));
        check("up{v=\"{version}\"}", "1.2", Spot::Query, Ok("up{v=\"1.2\"}"));
        check("up{v=\"{version}\"}", "1\"} or up{v!=\"", Spot::Query, Err("end its place"));
        check("dump-{version}.sql", "1.2", Spot::Path, Ok("dump-1.2.sql"));
        check("dump-{version}.sql", "../x", Spot::Path, Err("another folder"));
        check("{reason}", "1", Spot::Plain, Ok("5xx \"up\"␊now"));
    }
}
