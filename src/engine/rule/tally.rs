//! What all rules of a step say at one look, and how often they have said it.
//!
//! Decides when looks of one kind are too many. Never decides what follows from that. Contract:
//! a limit is reached at *more than* it; a look without data is neither a failure nor a pass.

use super::{Answer, Rule, Values};
use crate::settings::Limits;

/// What the rules of a step say together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weighed {
    /// Nothing that fails is true, and everything that passes is.
    Passed,
    Failed,
    /// Nothing that fails is true, nor all that passes.
    Inconclusive,
    NoData,
}

/// All rules at one look, with the sentence that explains it. One `fail_when` that is true fails
/// it; else one rule without data leaves it open; without `pass_when`, what did not fail passed.
#[must_use]
pub fn weigh(fail_when: &[Rule], pass_when: &[Rule], values: &Values) -> (Weighed, String) {
    let mut missing = None;
    for rule in fail_when {
        match rule.judge(values) {
            Answer::True => return (Weighed::Failed, told(rule, "is true", values)),
            Answer::False => {}
            Answer::NoData(name) => missing = missing.or(Some((rule, name))),
        }
    }
    let mut open = None;
    for rule in pass_when {
        match rule.judge(values) {
            Answer::True => {}
            Answer::False => open = open.or(Some(rule)),
            Answer::NoData(name) => missing = missing.or(Some((rule, name))),
        }
    }
    if let Some((rule, name)) = missing {
        return (Weighed::NoData, format!("`{}` has no data: {name}", rule.source));
    }
    if let Some(rule) = open {
        return (Weighed::Inconclusive, told(rule, "is not true yet", values));
    }
    let sentence = match (fail_when, pass_when) {
        ([], []) => "no rules",
        ([_], []) => "the rule that fails is not true",
        (_, []) => "no rule that fails is true",
        (_, _) => "every rule that passes is true",
    };
    (Weighed::Passed, sentence.to_owned())
}

fn told(rule: &Rule, what: &str, values: &Values) -> String {
    format!("`{}` {what}: {}", rule.source, rule.figures(values))
}

/// How often the looks of a step said what. A new step starts a new one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    failed: u32,
    failed_in_row: u32,
    inconclusive: u32,
    /// Without data, one after the other: one look with data starts anew.
    blind_in_row: u32,
}

impl Tally {
    pub fn count(&mut self, look: Weighed) {
        match look {
            Weighed::Passed => {
                self.failed_in_row = 0;
                self.blind_in_row = 0;
            }
            Weighed::Failed => {
                self.failed += 1;
                self.failed_in_row += 1;
                self.blind_in_row = 0;
            }
            Weighed::Inconclusive => {
                self.inconclusive += 1;
                self.failed_in_row = 0;
                self.blind_in_row = 0;
            }
            // It says nothing, so it ends no row of failures.
            Weighed::NoData => self.blind_in_row += 1,
        }
    }

    /// The first limit that is reached: what kind of look it is, and the sentence.
    #[must_use]
    pub fn reached(&self, limits: &Limits) -> Option<(Weighed, String)> {
        let failed = Weighed::Failed;
        let rows = [
            (failed, self.failed, Some(limits.failure), "failed"),
            (failed, self.failed_in_row, limits.consecutive_failure, "in a row failed"),
            (Weighed::NoData, self.blind_in_row, limits.error, "in a row had no data"),
            (Weighed::Inconclusive, self.inconclusive, limits.inconclusive, "were inconclusive"),
        ];
        rows.into_iter().find_map(|(look, count, limit, what)| {
            let limit = limit.filter(|limit| count > *limit)?;
            let looks = if count == 1 { "look" } else { "looks" };
            Some((look, format!("{count} {looks} {what}, {limit} are allowed")))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::CANARY_NAMES;

    fn rules(sources: &[&str]) -> Vec<Rule> {
        let compile = |source: &&str| Rule::compile(source, CANARY_NAMES).expect("it compiles");
        sources.iter().map(compile).collect()
    }

    fn check(fail_when: &[&str], pass_when: &[&str], expected: Weighed, words: &str) {
        let values = Values::from([
            ("canary.errors".to_owned(), 12.0),
            ("canary.requests".to_owned(), 40.0),
        ]);
        let (found, sentence) = weigh(&rules(fail_when), &rules(pass_when), &values);
        assert_eq!(found, expected, "{fail_when:?} {pass_when:?}: {sentence}");
        assert!(sentence.contains(words), "{sentence}");
    }

    #[test]
    fn one_rule_that_fails_is_enough() {
        let (yes, no, blind) = ("canary.errors > 10", "canary.errors > 20", "canary.share > 1");
        check(&[blind, no, yes], &[], Weighed::Failed, "is true: canary.errors 12");
        check(&[blind, no], &[yes], Weighed::NoData, "has no data: canary.share");
        check(&[no], &[blind, no], Weighed::NoData, "canary.share");
        check(&[no], &[yes, no], Weighed::Inconclusive, "`canary.errors > 20` is not true yet");
        check(&[no], &[yes, yes], Weighed::Passed, "");
        check(&[no], &[], Weighed::Passed, "");
        check(&[], &[], Weighed::Passed, "no rules");
    }

    fn reached(looks: &[Weighed], limits: Limits) -> Option<Weighed> {
        let mut tally = Tally::default();
        for look in looks {
            assert_eq!(tally.reached(&limits), None, "{looks:?} before its end");
            tally.count(*look);
        }
        tally.reached(&limits).map(|(look, _)| look)
    }

    #[test]
    fn a_limit_is_reached_at_more_than_it() {
        use Weighed::{Failed, Inconclusive, NoData, Passed};
        let none = Limits::default();
        assert_eq!(reached(&[Passed, NoData, NoData, Inconclusive], none), None);
        assert_eq!(reached(&[Passed, Failed], none), Some(Failed));
        let two = Limits { failure: 2, ..none };
        assert_eq!(reached(&[Failed, Passed, Failed], two), None);
        assert_eq!(reached(&[Failed, Passed, Failed, Failed], two), Some(Failed));
        let row = Limits { failure: 9, consecutive_failure: Some(1), ..none };
        assert_eq!(reached(&[Failed, Passed, Failed, Inconclusive, Failed], row), None);
        assert_eq!(reached(&[Failed, NoData, Failed], row), Some(Failed));
        let blind = Limits { error: Some(2), ..none };
        assert_eq!(reached(&[NoData, NoData, Passed, NoData, NoData], blind), None);
        assert_eq!(reached(&[NoData, NoData, NoData], blind), Some(NoData));
        let open = Limits { inconclusive: Some(1), ..none };
        assert_eq!(reached(&[Inconclusive, Passed, Inconclusive], open), Some(Inconclusive));
    }
}
