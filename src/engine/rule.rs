//! Rules that a user writes: CEL over the figures of both arms, hosts and services.
//!
//! Decides what a rule may name, what the figures are, and what the rule's answer is. Never
//! compares what is not there. Contract: a rule is CEL's arithmetic, comparisons and logic over
//! figures, checked when it is compiled, so that judging it cannot fail. Operands are resolved
//! before evaluation, so one without data makes the whole rule *no data*, whatever the rest says;
//! so does an arithmetic result that is no number. Every number is a float, however it is written;
//! `min` and `max` of several numbers are there besides.

mod compile;
pub mod figures;
mod tally;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use self::compile::Truth;
pub use self::figures::{
    CANARY_NAMES, HOST_NAMES, INCIDENT_NAMES, TRIGGER_NAMES, baseline, fresh, read, written,
};
pub use self::tally::{Tally, Weighed, weigh};

/// Figures by what a rule calls them: `canary.error_rate`. What has no data is not in it.
pub type Values = BTreeMap<String, f64>;

/// A compiled rule; equal when written the same.
#[derive(Clone)]
pub struct Rule {
    pub source: String,
    /// The figures that it names, each once, in their order.
    operands: Arc<[String]>,
    program: Arc<Truth>,
}

/// What a rule says about some figures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    True,
    False,
    /// This operand has none.
    NoData(String),
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Rule").field(&self.source).finish()
    }
}

impl PartialEq for Rule {
    fn eq(&self, other: &Rule) -> bool {
        self.source == other.source
    }
}

impl Rule {
    /// Compiles `source`, whose operands are all in `known`, or says what is wrong with it.
    pub fn compile(source: &str, known: &[&str]) -> Result<Rule, String> {
        let (program, operands) = compile::compile(source, known)?;
        Ok(Rule {
            source: source.to_owned(),
            operands: operands.into(),
            program: Arc::new(program),
        })
    }

    /// The figures that it names, each once.
    #[must_use]
    pub fn operands(&self) -> &[String] {
        &self.operands
    }

    #[must_use]
    pub fn judge(&self, values: &Values) -> Answer {
        let mut operands = Vec::with_capacity(self.operands.len());
        for name in self.operands.iter() {
            match values.get(name).filter(|value| value.is_finite()) {
                Some(value) => operands.push(*value),
                None => return Answer::NoData(name.clone()),
            }
        }
        match self.program.run(&operands) {
            Some(true) => Answer::True,
            Some(false) => Answer::False,
            None => Answer::NoData("a division by zero".to_owned()),
        }
    }

    /// What its operands are, for the sentence that explains it: `canary.error_rate 12.5`.
    #[must_use]
    pub fn figures(&self, values: &Values) -> String {
        let told = self.operands.iter().map(|name| match values.get(name) {
            Some(value) if value.is_finite() => {
                format!("{name} {}{}", short(*value), about(name, values))
            }
            Some(_) | None => format!("{name} without data"),
        });
        told.collect::<Vec<_>>().join(", ")
    }
}

/// Of how many a sentence tells what a figure is about.
const ABOUT_MAX: usize = 3;

/// Whom a figure is about, where [`crate::tenant::values`] says so: ` (north latency 4000)`.
fn about(name: &str, values: &Values) -> String {
    let front = format!("{name} ");
    let all = values.range(front.clone()..).map_while(|(own, value)| {
        own.strip_prefix(&front).map(|who| format!("{who} {}", short(*value)))
    });
    let all: Vec<String> = all.collect();
    let more = match all.len().saturating_sub(ABOUT_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    match all.get(..ABOUT_MAX.min(all.len())) {
        Some(some @ [_, ..]) => format!(" ({}{more})", some.join(", ")),
        Some([]) | None => String::new(),
    }
}

/// A figure for people: as many digits as tell something, never an exponent.
fn short(value: f64) -> String {
    let size = value.abs();
    let digits = if size >= 1000.0 || size.fract() < f64::EPSILON {
        0
    } else if size >= 10.0 {
        1
    } else if size >= 0.1 {
        2
    } else {
        4
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Values {
        [
            ("canary.error_rate", 12.5),
            ("stable.error_rate", 0.5),
            ("canary.requests", 400.0),
            ("canary.errors", 50.0),
            ("stable.requests", 0.0),
            ("stable.latency_avg", 200.0),
            ("canary.latency_avg", 260.0),
            ("service.latency_p99", f64::NAN),
            ("service.throughput", f64::INFINITY),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
    }

    fn check(source: &str, expected: &Answer) {
        let rule = Rule::compile(source, CANARY_NAMES).expect("the rule compiles");
        assert_eq!(rule.judge(&some()), *expected, "{source}");
    }

    fn no_data(name: &str) -> Answer {
        Answer::NoData(name.to_owned())
    }

    #[test]
    fn whole_numbers_stand_beside_fractions() {
        check("canary.error_rate > 10", &Answer::True);
        check("canary.error_rate > 10u", &Answer::True);
        check("canary.error_rate > 12.5", &Answer::False);
        check("canary.error_rate > stable.error_rate + 2", &Answer::True);
        check("canary.latency_avg > stable.latency_avg * 6 / 5", &Answer::True);
        check("canary.latency_avg > stable.latency_avg + 3000", &Answer::False);
        // Integers would make 0 of it.
        check("canary.error_rate > 25 / 2 - 1 / 2", &Answer::True);
        check("-canary.error_rate < -12 && !(canary.errors != 50)", &Answer::True);
        check("canary.errors > 100 ? stable.error_rate > 1 : canary.errors == 50", &Answer::True);
        check("(canary.errors > 60 ? 1 : 2) * canary.errors == 100", &Answer::True);
        check("canary.latency_avg > max(stable.latency_avg, 255, 10.5)", &Answer::True);
        check("canary.latency_avg > min(stable.latency_avg, 255)", &Answer::True);
        check("double(canary.errors) >= 50 && true", &Answer::True);
    }

    #[test]
    fn what_is_not_there_is_no_data_whatever_the_rest_says() {
        check("canary.error_rate > 10 || baseline.error_rate > 1", &no_data("baseline.error_rate"));
        check("canary.error_rate < 10 && baseline.error_rate > 1", &no_data("baseline.error_rate"));
        check("canary.errors > 0 || service.latency_p99 > 1", &no_data("service.latency_p99"));
        check("!(service.throughput < 1.0)", &no_data("service.throughput"));
        check("canary.errors > 1 ? true : canary.share > 1", &no_data("canary.share"));
    }

    #[test]
    fn a_result_that_is_no_number_is_no_data() {
        check("canary.errors / stable.requests > 2", &no_data("a division by zero"));
        check("!(canary.errors / stable.requests > 2)", &no_data("a division by zero"));
        check("stable.requests / stable.requests != 0.5", &no_data("a division by zero"));
        // A guard that already decides is enough, on either side.
        check("stable.requests > 0 && canary.errors / stable.requests > 2", &Answer::False);
        check("canary.errors / stable.requests > 2 && stable.requests > 0", &Answer::False);
        check("canary.errors / stable.requests > 2 || canary.errors > 1", &Answer::True);
        check(
            "canary.errors / stable.requests > 2 || canary.errors < 1",
            &no_data("a division by zero"),
        );
        check("stable.requests > 0 ? canary.errors / stable.requests > 2 : true", &Answer::True);
    }

    fn refuse(source: &str, words: &str) {
        let error = Rule::compile(source, TRIGGER_NAMES).expect_err("it must be refused");
        assert!(error.contains(words), "{source}: {error}");
    }

    #[test]
    fn a_bad_rule_is_refused_at_once() {
        refuse("canary.eror_rate > 1", "did you mean `canary.error_rate`?");
        refuse("canry.error_rate > 1", "did you mean `canary.error_rate`?");
        refuse("baseline.requests > 1", "`baseline.requests` is not known");
        refuse("nonsense.thing > 1", "known are stable, canary, service with requests, errors");
        refuse("canary > 1", "`canary` is no figure");
        refuse("canary.error_rate.x > 1", "`canary.error_rate.x` is not known");
        refuse("canary['error_rate'] > 1", "canary.error_rate");
        refuse("canary.error_rate", "a number, not true or false");
        refuse("canary.error_rate + 1", "a number, not true or false");
        refuse("canary.error_rate > 10 && canary.requests", "`&&` needs true or false");
        refuse("1 < canary.error_rate < 3", "`<` needs numbers");
        refuse("canary.error_rate > '10'", "only numbers");
        refuse("canary.error_rate > null", "only numbers");
        refuse("canary.error_rate in [1.0, 2.0]", "`in` is not allowed");
        refuse("canary.requests % 2 == 0", "`%` is not allowed");
        refuse("size(canary.requests) > 1", "`size` is not allowed");
        refuse("canary.requests.abs() > 1", "`abs` is not allowed");
        refuse("has(canary.requests) && canary.requests > 1", "has()");
        refuse("max() > canary.requests", "`max` needs");
        refuse("double(canary.requests, 1) > 1", "`double` needs");
        refuse("canary.requests > 1e400", "");
        refuse("[1].all(x, x > canary.requests)", "not allowed");
        refuse("{'a': 1}.a > canary.requests", "");
        refuse("true", "names no figure");
        refuse("1 > 0", "names no figure");
        refuse("canary.requests >", "");
        refuse("", "");
        refuse(&"!".repeat(2000), "");
        refuse(&format!("{} > 1", "canary.requests +".repeat(200)), "");
        refuse(&format!("canary.requests{} > 1", " + 1".repeat(300)), "too deep");
        refuse(&"x".repeat(3000), "longer than");
    }

    #[test]
    fn figures_explain_an_answer() {
        let rule = "canary.error_rate > 10 && canary.requests > 9 && service.latency_p99 > 1.0";
        let rule = Rule::compile(rule, CANARY_NAMES).expect("the rule compiles");
        assert_eq!(
            rule.figures(&some()),
            "canary.error_rate 12.5, canary.requests 400, service.latency_p99 without data"
        );
    }

    /// The same rule by the interpreter that CEL's own library brings, on the same figures.
    fn reference(source: &str, values: &Values) -> Option<bool> {
        let mut context = cel::Context::default();
        let mut arms: BTreeMap<&str, std::collections::HashMap<String, cel::Value>> =
            BTreeMap::new();
        for (name, value) in values {
            let (arm, field) = name.split_once('.').expect("two levels");
            arms.entry(arm).or_default().insert(field.to_owned(), cel::Value::Float(*value));
        }
        for (arm, fields) in arms {
            context.add_variable_from_value(arm, cel::Value::Map(fields.into()));
        }
        let program = cel::Program::compile(source).expect("the rule compiles");
        match program.execute(&context) {
            Ok(cel::Value::Bool(truth)) => Some(truth),
            Ok(_) | Err(_) => None,
        }
    }

    #[test]
    fn rules_mean_what_cel_means() {
        let rules = [
            "canary.a > stable.a + 2.0",
            "canary.a * 1.5 - stable.b / 4.0 <= 3.0",
            "canary.a > 1.0 && stable.a < 2.0 || !(canary.b == stable.b)",
            "canary.a > 1.0 || stable.a < 2.0 && canary.b != stable.b",
            "(canary.a > stable.a ? canary.a : stable.a) >= 2.5",
            "canary.a > 1.0 ? stable.a > 1.0 : canary.b < -stable.b",
            "canary.a - stable.a - canary.b > -1.0",
            "canary.a / stable.b / 2.0 > 1.0",
            "(canary.a > 1.0) == (stable.a > 1.0)",
            "(canary.a > 1.0) != (stable.a > 1.0)",
        ];
        let known = ["canary.a", "canary.b", "stable.a", "stable.b"];
        let mut seed = 7_u64;
        for _ in 0..500 {
            let mut draw = || {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                f64::from(u32::try_from(seed >> 60).expect("four bits")) / 2.0 - 2.0
            };
            let values: Values = known.iter().map(|name| ((*name).to_owned(), draw())).collect();
            for source in rules {
                let rule = Rule::compile(source, &known).expect("the rule compiles");
                let expected = match rule.judge(&values) {
                    Answer::True => Some(true),
                    Answer::False => Some(false),
                    // CEL goes on with an infinity; a rule does not.
                    Answer::NoData(_) => continue,
                };
                assert_eq!(reference(source, &values), expected, "{source} on {values:?}");
            }
        }
    }
}
