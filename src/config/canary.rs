//! How a release is raised step by step, and what takes it back by itself.
//!
//! Decides every default and what could never work: steps that do not end in full traffic, a wait
//! shorter than the soak, a judgement without counters. Never judges a release. Contract: a canary
//! that passes here can reach 100 % on the road that `pass` names.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use engine::analysis::Policy;
use engine::rule::TRIGGER_NAMES;
use engine::settings::{Canary, Limits, OnFail, Pass, StepTimes, Trigger};
use engine::types::Percent;

use toml::de::DeValue;

use super::reader::{Node, Reader, Table, share};
use super::rule::{self, Figures};
use super::watch::{INTERVALS, SPANS};

/// A minute of traffic is the least that says something about a step.
const SOAK: Duration = Duration::from_mins(1);
/// Longer than that a person wants to know why it takes so long.
const WAIT: Duration = Duration::from_mins(30);
/// Often enough that a bad canary harms few, seldom enough to read the journal afterwards.
const EVERY: Duration = Duration::from_secs(10);
/// Leaks and caches show within minutes at full traffic.
const BAKE: Duration = Duration::from_mins(10);
/// A rate over fewer requests is an anecdote.
const REQUESTS_MIN: u32 = 100;
/// One bad minute takes a release back; one bad look does not.
const TRIGGER_SPAN: Duration = Duration::from_mins(1);

/// More would be a rule that never counts.
const LIMIT_MAX: u32 = 10_000;
const REQUESTS_MAX: u32 = 1_000_000_000;
/// Below, evidence takes days; above, the verdict is a coin.
const CHANCES: RangeInclusive<f64> = 0.000_01..=0.5;
/// Ten times as bad is not a tolerance any more.
const TOLERANCES: RangeInclusive<f64> = 0.0..=9.0;
/// Below 1.05 no canary could be told apart in a day.
const HARMS: RangeInclusive<f64> = 1.05..=100.0;
/// A promise of no error at all can never be proven, one of only errors is none.
const PROMISES: RangeInclusive<f64> = 0.001..=99.0;

/// What the canary's service has, as far as it matters here.
#[derive(Clone, Copy)]
pub struct Around<'a> {
    /// `None` where nothing is counted.
    pub figures: Option<&'a Figures>,
    pub routed: bool,
}

pub fn canary(mut table: Table<'_>, around: Around<'_>) -> Canary {
    let given = table.word("pass", &["evidence", "time"]);
    let pass = if given == Some("time") { Pass::Time } else { Pass::Evidence };
    let on_fail = match table.word("on_fail", &["roll back", "hold"]) {
        Some("hold") => OnFail::Hold,
        Some(_) | None => OnFail::RollBack,
    };
    let soak = table.duration("soak", SPANS).unwrap_or(SOAK);
    let wait = table.duration("wait", SPANS).unwrap_or(WAIT);
    let (steps, own_times) = steps(&mut table, StepTimes { soak, wait });
    let canary = Canary {
        steps,
        pass,
        objective: objective(&mut table),
        soak,
        wait,
        own_times,
        every: table.duration("every", INTERVALS).unwrap_or(EVERY),
        on_fail,
        bake: table.duration("bake", Duration::ZERO..=*SPANS.end()).unwrap_or(BAKE),
        requests_min: requests_min(&mut table, pass, around),
        fail_when: rule::rules(&mut table, "fail_when", around.figures),
        pass_when: rule::rules(&mut table, "pass_when", around.figures),
        limits: Limits {
            failure: table.integer("failure_limit", 0..=LIMIT_MAX).unwrap_or(0),
            consecutive_failure: table.integer("consecutive_failure_limit", 0..=LIMIT_MAX),
            inconclusive: table.integer("inconclusive_limit", 0..=LIMIT_MAX),
            error: table.integer("error_limit", 0..=LIMIT_MAX),
        },
        policy: policy(&mut table),
    };
    times(&table, &canary);
    evidence(&table, &canary, around);
    if !around.routed {
        table.problem("", "`canary` needs a [[service.router]]: nothing could move the traffic");
    }
    table.finish();
    canary
}

type Steps = (Vec<Percent>, BTreeMap<usize, StepTimes>);

/// Rising whole percents that end in full traffic; a step may have times of its own.
fn steps(table: &mut Table<'_>, usual: StepTimes) -> Steps {
    let reader = table.reader;
    let Some(node) = table.need("steps").get("steps") else { return Steps::default() };
    let wanted = "a list of whole percents";
    let one = |item| step(reader, item, usual);
    let Some(found) = reader.list("steps", node, wanted, one) else { return Steps::default() };
    let steps: Vec<Percent> = found.iter().map(|(percent, _)| *percent).collect();
    let own = found.into_iter().enumerate().filter_map(|(place, (_, own))| Some((place, own?)));
    if steps.windows(2).any(|pair| pair[0] >= pair[1]) {
        table.problem("steps", "`steps` rise: each is above the one before it");
    } else if steps.last() != Some(&Percent::FULL) {
        table.problem(
            "steps",
            "the last of `steps` is 100: a release ends with all traffic; write it down",
        );
    }
    (steps, own.collect())
}

/// A percent, or `{ percent = 5, soak = "15m", wait = "1h" }`.
fn step<'a>(
    reader: &'a Reader<'a>,
    node: &'a Node<'a>,
    usual: StepTimes,
) -> Option<(Percent, Option<StepTimes>)> {
    let DeValue::Table(_) = node.get_ref() else {
        return share(reader, "steps", 1, node).map(|percent| (percent, None));
    };
    let mut table = reader.table("steps", "canary_step", "a table", node)?;
    let percent = table.need("percent").get("percent");
    let percent = percent.and_then(|node| share(reader, "percent", 1, node));
    let soak = table.duration("soak", SPANS);
    let wait = table.duration("wait", SPANS);
    // A longer soak alone makes room for itself.
    let soak = soak.unwrap_or(usual.soak.min(wait.unwrap_or(usual.soak)));
    let times = StepTimes { soak, wait: wait.unwrap_or(usual.wait.max(soak)) };
    if times.wait < times.soak {
        table.problem("wait", "`wait` is shorter than `soak`: the step could not pass");
    }
    table.finish();
    Some((percent?, Some(times)))
}

fn objective(table: &mut Table<'_>) -> Option<f64> {
    let mut inner = table.table("objective", "objective")?;
    let rate = inner.need("error_rate").number("error_rate", PROMISES);
    inner.finish();
    rate
}

fn requests_min(table: &mut Table<'_>, pass: Pass, around: Around<'_>) -> u64 {
    let given = table.integer("requests_min", 0..=REQUESTS_MAX);
    match pass {
        Pass::Evidence => {
            let why = "belongs to `pass = \"time\"`: evidence says by itself when it is enough";
            table.refuse(&["requests_min"], why);
            0
        }
        Pass::Time if around.figures.is_none() => {
            table.refuse(&["requests_min"], "needs [service.signals]: nothing is counted");
            0
        }
        Pass::Time => u64::from(given.unwrap_or(REQUESTS_MIN)),
    }
}

fn policy(table: &mut Table<'_>) -> Policy {
    let usual = Policy::default();
    let alpha = table.number("alpha", CHANCES).unwrap_or(usual.alpha);
    let beta = table.number("beta", CHANCES).unwrap_or(usual.beta);
    let tol = table.number("tol", TOLERANCES).unwrap_or(usual.tol);
    let (mut harm_errors, mut harm_slow) = (usual.harm_errors, usual.harm_slow);
    if let Some(mut inner) = table.table("harm", "harm") {
        harm_errors = inner.number("errors", HARMS).unwrap_or(harm_errors);
        harm_slow = inner.number("slow", HARMS).unwrap_or(harm_slow);
        inner.finish();
    }
    let least = harm_errors.min(harm_slow);
    if 1.0 + tol >= least {
        let key = if table.has("tol") { "tol" } else { "harm" };
        table.problem(
            key,
            format!("`tol` tolerates {tol} more, but `harm` begins at {least} times: lower `tol`"),
        );
    }
    Policy { alpha, beta, tol, harm_errors, harm_slow }
}

fn times(table: &Table<'_>, canary: &Canary) {
    if canary.wait < canary.soak {
        let key = if table.has("wait") { "wait" } else { "soak" };
        table.problem(key, "`wait` is shorter than `soak`: no step could pass");
    }
    if canary.every > canary.wait {
        let key = if table.has("every") { "every" } else { "wait" };
        table.problem(key, "`every` is longer than `wait`: a step would end before a look");
    }
}

/// Evidence needs counters, and a road to PASS.
fn evidence(table: &Table<'_>, canary: &Canary, around: Around<'_>) {
    if canary.pass == Pass::Time {
        return;
    }
    let Some(figures) = around.figures else {
        table.problem(
            "",
            "`canary` needs [service.signals] to judge by evidence; or `pass = \"time\"` without \
             rules",
        );
        return;
    };
    if !figures.errors {
        table.problem(
            "",
            "`canary` judges errors, and [service.signals] has no `errors`: every release would \
             look free of them",
        );
    }
    if canary.objective.is_none() && !table.has("objective") {
        table.warn(
            "",
            "without `objective = { error_rate = … }` nothing can pass at 100 %, where there is \
             no stable arm to compare with, nor a release without any error",
        );
    }
}

pub fn trigger(mut table: Table<'_>, around: Around<'_>) -> Option<Trigger> {
    let reader = table.reader;
    let rule = table
        .need("when")
        .get("when")
        .and_then(|node| rule::rule(reader, "when", (TRIGGER_NAMES, around.figures), node));
    let span = table.duration("for", SPANS).unwrap_or(TRIGGER_SPAN);
    if !around.routed {
        table.problem(
            "",
            "`rollback_when` needs a [[service.router]]: nothing could move the traffic",
        );
    }
    table.finish();
    Some(Trigger { rule: rule?, span })
}
