//! Rules of a service: what they name, and whether it is ever counted.
//!
//! Decides that a rule can be answered at all. Never judges one. Contract: a rule that passes here
//! names only figures that the service's signals give, so that *no data* means a gap, not a typo.

use engine::rule::{CANARY_NAMES, Rule};
use engine::tenant::PREFIX;
use engine::types::Untrusted;

use super::reader::{Node, Reader, Table};
use crate::io::settings::SignalsTarget;

/// What the signals of a service give.
pub struct Figures {
    pub errors: bool,
    percentiles: bool,
    average: bool,
    /// What rules call the figures of tenants.
    pub tenants: Vec<String>,
}

impl Figures {
    /// Everything: for signals that are wrong in themselves, so that only this is said.
    pub const ALL: Figures =
        Figures { errors: true, percentiles: true, average: true, tenants: Vec::new() };

    pub fn of(target: &SignalsTarget) -> Figures {
        match target {
            SignalsTarget::Prometheus { errors, buckets, sum, .. }
            | SignalsTarget::Exposition { errors, buckets, sum, .. } => Figures {
                errors: errors.is_some(),
                percentiles: buckets.is_some(),
                average: sum.is_some(),
                tenants: Vec::new(),
            },
            SignalsTarget::Haproxy { .. } => Figures { percentiles: false, ..Figures::ALL },
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

/// The rules of a list; each that is wrong is told at its own place.
pub fn rules(table: &mut Table<'_>, key: &'static str, figures: Option<&Figures>) -> Vec<Rule> {
    let Some(node) = table.get(key) else { return Vec::new() };
    let reader = table.reader;
    reader
        .list(key, node, "a list of rules", |item| rule(reader, key, (CANARY_NAMES, figures), item))
        .unwrap_or_default()
}

/// One rule over the names that stand for something there. Without figures, nothing is counted.
pub fn rule<'a>(
    reader: &Reader<'a>,
    key: &str,
    (known, figures): (&[&str], Option<&Figures>),
    node: &'a Node<'a>,
) -> Option<Rule> {
    let source = reader.text(key, node)?;
    let at = node.span().start;
    let Some(figures) = figures else {
        reader.problem(at, format!("`{key}` needs [service.signals]: nothing is counted"));
        return None;
    };
    let tenants = figures.tenants.iter().map(String::as_str);
    let known: Vec<&str> = known.iter().copied().chain(tenants).collect();
    let rule = match Rule::compile(&source, &known) {
        Ok(rule) => rule,
        Err(why) => {
            reader.problem(at, format!("`{key}` is no rule: {}", Untrusted::new(&why)));
            return None;
        }
    };
    let mut fine = true;
    for operand in rule.operands().iter().filter(|own| !own.starts_with(PREFIX)) {
        let figure = operand.rsplit('.').next().unwrap_or(operand);
        if let Some(keys) = figures.lacks(figure) {
            let text =
                format!("`{key}` names `{operand}`, which needs {keys} in [service.signals]");
            reader.problem(at, text);
            fine = false;
        }
    }
    fine.then_some(rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_counted_can_be_named() {
        let bare =
            Figures { errors: false, percentiles: false, average: false, tenants: Vec::new() };
        let check = |figure: &str, lacks: Option<&str>| assert_eq!(bare.lacks(figure), lacks);
        check("share", None);
        check("throughput", None);
        check("availability", Some("`errors`"));
        check("latency_avg", Some("`sum` and `count`"));
        check("latency_p99", Some("`latency`, the histogram's buckets,"));
        for name in engine::rule::CANARY_NAMES {
            let (_, figure) = name.split_once('.').expect("an arm and a figure");
            assert_eq!(Figures::ALL.lacks(figure), None, "{figure}");
        }
    }
}
