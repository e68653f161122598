//! A metric name with label matchers: `name{l="v",m!="x",n=~"re",o!~"re"}`.
//!
//! Decides whether a sample is meant. Never evaluates a query: anything more is an error here.
//! Contract: pure; patterns are anchored at both ends and run in linear time.

use regex_lite::{Regex, RegexBuilder};

use super::exposition::{Sample, name, quoted};

/// More matchers than this are a mistake in the configuration.
const MATCHERS_MAX: usize = 32;
/// A pattern that compiles to more is a mistake too; the usual ones stay below a kilobyte.
const PATTERN_BYTES_MAX: usize = 256 * 1024;

#[derive(Clone, Debug)]
pub struct Selector {
    name: Option<String>,
    matchers: Vec<(String, Test)>,
}

#[derive(Clone, Debug)]
enum Test {
    Is(String),
    IsNot(String),
    Like(Regex),
    Unlike(Regex),
}

impl Selector {
    pub fn parse(text: &str) -> Result<Selector, String> {
        let text = text.trim();
        let (metric, rest) = if text.starts_with('{') { ("", text) } else { name(text, true)? };
        let mut selector =
            Selector { name: (!metric.is_empty()).then(|| metric.into()), matchers: Vec::new() };
        let rest = rest.trim_start();
        if rest.is_empty() {
            return Ok(selector);
        }
        let mut rest = rest.strip_prefix('{').ok_or("more than a metric name and its labels")?;
        loop {
            rest = rest.trim_start();
            if let Some(rest) = rest.strip_prefix('}') {
                if !rest.trim().is_empty() {
                    return Err("text after the labels".into());
                }
                if selector.name.is_none() && selector.matchers.is_empty() {
                    return Err("neither a name nor a label".into());
                }
                return Ok(selector);
            }
            if selector.matchers.len() >= MATCHERS_MAX {
                return Err(format!("more than {MATCHERS_MAX} matchers"));
            }
            let (matcher, after) = matcher(rest)?;
            selector.matchers.push(matcher);
            let after = after.trim_start();
            rest = match after.strip_prefix(',') {
                Some(after) => after,
                None if after.starts_with('}') => after,
                None => return Err("the labels are not closed".into()),
            };
        }
    }

    #[must_use]
    pub fn matches(&self, sample: &Sample) -> bool {
        self.name.as_ref().is_none_or(|name| *name == sample.name)
            && self.matchers.iter().all(|(label, test)| {
                let value =
                    if label == "__name__" { sample.name.as_str() } else { sample.label(label) };
                match test {
                    Test::Is(wanted) => value == wanted,
                    Test::IsNot(unwanted) => value != unwanted,
                    Test::Like(pattern) => pattern.is_match(value),
                    Test::Unlike(pattern) => !pattern.is_match(value),
                }
            })
    }
}

fn matcher(text: &str) -> Result<((String, Test), &str), String> {
    let (label, rest) = name(text, false)?;
    let rest = rest.trim_start();
    // The longer signs first: `=` is the beginning of `=~`.
    let (sign, rest) = ["=~", "!~", "!=", "="]
        .iter()
        .find_map(|sign| rest.strip_prefix(sign).map(|rest| (*sign, rest)))
        .ok_or_else(|| format!("after `{label}` stands none of = != =~ !~"))?;
    let rest = rest.trim_start().strip_prefix('"').ok_or("a value without quotes")?;
    let (value, rest) = quoted(rest)?;
    let wanted = match sign {
        "=" => Test::Is(value),
        "!=" => Test::IsNot(value),
        "=~" => Test::Like(pattern(&value)?),
        _ => Test::Unlike(pattern(&value)?),
    };
    Ok(((label.to_owned(), wanted), rest))
}

fn pattern(text: &str) -> Result<Regex, String> {
    RegexBuilder::new(&format!("^(?:{text})$"))
        .size_limit(PATTERN_BYTES_MAX)
        .dot_matches_new_line(true)
        .build()
        .map_err(|error| format!("the pattern `{text}`: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::metrics::exposition;

    fn check(selector: &str, expected: &[f64]) {
        let page = "http{v=\"a\",code=\"200\"} 1\nhttp{v=\"a\",code=\"503\"} 2\n\
                    http{v=\"b\",code=\"200\"} 3\nother{v=\"a\"} 4\n";
        let samples = exposition::parse(page.as_bytes()).expect("a valid page");
        let selector = Selector::parse(selector).expect("a valid selector");
        let found: Vec<f64> =
            samples.iter().filter(|s| selector.matches(s)).map(|s| s.value).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn the_four_signs() {
        check("http", &[1.0, 2.0, 3.0]);
        check("http{v=\"a\"}", &[1.0, 2.0]);
        check("http{v!=\"a\",}", &[3.0]);
        check("http{code=~\"5..\"}", &[2.0]);
        check("http{code=~\"5\"}", &[]);
        check("http{ v = \"a\" , code !~ \"5..\" }", &[1.0]);
        check("{v=\"a\"}", &[1.0, 2.0, 4.0]);
        check("other{code=\"\"}", &[4.0]);
    }

    #[test]
    fn more_than_a_selector_is_refused() {
        for text in [
            "",
            "{}",
            "sum(http)",
            "http[5m]",
            "http{v=a}",
            "http{v=\"a\"",
            "a + b",
            "http{v=~\"(\"}",
            "http{v=\"a\"} offset 5m",
        ] {
            assert!(Selector::parse(text).is_err(), "{text}");
        }
    }
}
