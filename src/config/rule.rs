//! Rules of a service: what they name, and whether it is ever counted.
//!
//! Decides that a rule can be answered at all. Never judges one. Contract: a rule that passes here
//! names only figures that the service's signals give, so that *no data* means a gap, not a typo.

use engine::rule::Rule;
use engine::types::Untrusted;

use super::reader::{Node, Reader, Table};
use super::value;
use crate::io::settings::SignalsTarget;

/// Who has figures: each arm, the stable arm when the release began, both arms together.
const ARMS: [&str; 4] = ["stable", "canary", "baseline", "service"];

const FIGURES: [&str; 10] = [
    "requests",
    "errors",
    "error_rate",
    "availability",
    "throughput",
    "latency_avg",
    "latency_p50",
    "latency_p95",
    "latency_p99",
    "share",
];

/// Words of CEL that name nothing.
const WORDS: [&str; 4] = ["true", "false", "null", "in"];

/// What the signals of a service give.
pub struct Figures {
    pub errors: bool,
    percentiles: bool,
    average: bool,
}

impl Figures {
    /// Everything: for signals that are wrong in themselves, so that only this is said.
    pub const ALL: Figures = Figures { errors: true, percentiles: true, average: true };

    pub fn of(target: &SignalsTarget) -> Figures {
        match target {
            SignalsTarget::Prometheus { errors, buckets, sum, .. }
            | SignalsTarget::Exposition { errors, buckets, sum, .. } => Figures {
                errors: errors.is_some(),
                percentiles: buckets.is_some(),
                average: sum.is_some(),
            },
            SignalsTarget::Haproxy { .. } => {
                Figures { errors: true, percentiles: false, average: true }
            }
        }
    }

    /// The keys of `[service.signals]` without which `figure` is never counted.
    fn lacks(&self, figure: &str) -> Option<&'static str> {
        match figure {
            "errors" | "error_rate" | "availability" if !self.errors => Some("`errors`"),
            "latency_avg" if !self.average => Some("`sum` and `count`"),
            "latency_p50" | "latency_p95" | "latency_p99" if !self.percentiles => {
                Some("`latency`, the histogram's buckets,")
            }
            _ => None,
        }
    }
}

/// Every name that a rule may use, whether it is counted or not.
fn names() -> Vec<String> {
    ARMS.iter()
        .flat_map(|arm| FIGURES.iter().map(move |figure| format!("{arm}.{figure}")))
        .collect()
}

/// The rules of a list; each that is wrong is told at its own place.
pub fn rules(table: &mut Table<'_>, key: &'static str, figures: Option<&Figures>) -> Vec<Rule> {
    let Some(node) = table.get(key) else { return Vec::new() };
    let reader = table.reader;
    reader
        .list(key, node, "a list of rules", |item| rule(reader, key, figures, item))
        .unwrap_or_default()
}

/// One rule. Without `figures`, the service counts nothing.
pub fn rule<'a>(
    reader: &Reader<'a>,
    key: &str,
    figures: Option<&Figures>,
    node: &'a Node<'a>,
) -> Option<Rule> {
    let source = reader.text(key, node)?;
    let at = node.span().start;
    if let Err(why) = value::expression(&source) {
        reader.problem(at, format!("`{key}` {why}"));
        return None;
    }
    let Some(figures) = figures else {
        reader.problem(at, format!("`{key}` needs [service.signals]: nothing is counted"));
        return None;
    };
    let names = names();
    let known: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut fine = true;
    for operand in operands(&source) {
        if let Err(why) = named(operand, &known, figures) {
            reader.problem(at, format!("`{key}` names `{}`{why}", Untrusted::new(operand)));
            fine = false;
        }
    }
    if !fine {
        return None;
    }
    match Rule::compile(&source, &known) {
        Ok(rule) => Some(rule),
        Err(why) => {
            reader.problem(at, format!("`{key}` is no rule: {}", Untrusted::new(&why)));
            None
        }
    }
}

/// An operand is known and counted.
fn named(operand: &str, known: &[&str], figures: &Figures) -> Result<(), String> {
    if !known.contains(&operand) {
        let hint = value::nearest(operand, known.iter().copied())
            .map_or(String::new(), |near| format!("did you mean `{near}`? "));
        return Err(format!(
            ", which nothing counts; {hint}known: {} with {}",
            ARMS.join(", "),
            FIGURES.join(", ")
        ));
    }
    let figure = operand.rsplit('.').next().unwrap_or(operand);
    match figures.lacks(figure) {
        Some(keys) => Err(format!(", which needs {keys} in [service.signals]")),
        None => Ok(()),
    }
}

/// What an expression names: dotted words outside of texts, without functions and CEL's words.
fn operands(source: &str) -> Vec<&str> {
    let bytes = source.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    let run = |from: usize, fits: fn(u8) -> bool| {
        from + bytes[from..].iter().take_while(|byte| fits(**byte)).count()
    };
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.';
    while at < bytes.len() {
        let first = bytes[at];
        if matches!(first, b'"' | b'\'') {
            at = after_text(bytes, at);
        } else if first.is_ascii_alphabetic() || first == b'_' {
            let end = run(at, word);
            let called = bytes.get(run(end, |byte| byte == b' ')) == Some(&b'(');
            let whole = &source[at..end];
            let name =
                if called { whole.rsplit_once('.').map_or("", |(head, _)| head) } else { whole };
            if !name.is_empty() && !WORDS.contains(&name) && !found.contains(&name) {
                found.push(name);
            }
            at = end;
        } else {
            // A number's exponent is no name.
            at = if first.is_ascii_digit() { run(at, word) } else { at + 1 };
        }
    }
    found
}

/// Behind the text that begins at `at`.
fn after_text(bytes: &[u8], at: usize) -> usize {
    let mut place = at + 1;
    while place < bytes.len() && bytes[place] != bytes[at] {
        place += if bytes[place] == b'\\' { 2 } else { 1 };
    }
    place + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operands_are_the_dotted_words() {
        let check = |source: &str, expected: &[&str]| assert_eq!(operands(source), expected);
        check("canary.error_rate > 10.0", &["canary.error_rate"]);
        check("a.b > 1e5 && !(c.d in [1, 2]) || true", &["a.b", "c.d"]);
        check("'x.y' == \"it's \\\" z.w\" && a.b == a.b", &["a.b"]);
        check("double(a.b) > 1.5 && a.c.size() > 0 && max (a.d)", &["a.b", "a.c", "a.d"]);
        check("ä.b > 'unclosed", &["b"]);
    }

    fn check(operand: &str, figures: &Figures, expected: &str) {
        let names = names();
        let known: Vec<&str> = names.iter().map(String::as_str).collect();
        let found = named(operand, &known, figures).err().unwrap_or_default();
        assert!(found.starts_with(expected) && found.is_empty() == expected.is_empty(), "{found}");
    }

    #[test]
    fn only_what_is_counted_can_be_named() {
        let bare = Figures { errors: false, percentiles: false, average: false };
        check("canary.latency_p95", &Figures::ALL, "");
        check("canary.share", &bare, "");
        check("canary.latency_p95", &bare, ", which needs `latency`");
        check("service.availability", &bare, ", which needs `errors`");
        check("stable.latency_avg", &bare, ", which needs `sum` and `count`");
        check(
            "canary.errro_rate",
            &bare,
            ", which nothing counts; did you mean `canary.error_rate`?",
        );
        check("host.cpu", &bare, ", which nothing counts; known:");
    }
}
