//! A router behind two commands: one sets the split, one prints it.
//!
//! Decides what their output means. Never uses a shell: placeholders are replaced inside single
//! arguments. Contract: `{a}` and `{stable}` stand for group a's percent, `{b}` and `{canary}` for
//! group b's; the read command prints group b's percent, or JSON `{"a":..,"b":..}`
//! (`stable` and `canary` are other names for the same).

use engine::reading::{Lease, SplitReading, WriteAnswer};
use engine::types::{Failure, FailureKind, Untrusted, Weights};
use serde::Deserialize;

use super::access::may_run;
use super::{Deadline, rejected, unknown};
use crate::io::command;

#[derive(Deserialize)]
struct Split {
    #[serde(alias = "stable")]
    a: f64,
    #[serde(alias = "canary")]
    b: f64,
}

pub async fn set(argv: &[String], weights: Weights, deadline: Deadline) -> WriteAnswer {
    let argv: Vec<String> = argv.iter().map(|word| fill(word, weights)).collect();
    match command::run(&argv, None, deadline.left()).await {
        Ok(output) if output.code == Some(0) => WriteAnswer::Applied,
        Ok(output) => rejected(failure_text(&output)),
        Err(failure) => match failure.kind {
            FailureKind::Timeout | FailureKind::Malformed | FailureKind::Refused => {
                unknown(failure.text.display())
            }
            FailureKind::Unreachable | FailureKind::Denied => rejected(failure.text.display()),
        },
    }
}

pub async fn read(argv: &[String], deadline: Deadline) -> Result<SplitReading, Failure> {
    let output = command::run(argv, None, deadline.left()).await?;
    if output.code != Some(0) {
        return Err(Failure::new(FailureKind::Refused, failure_text(&output)));
    }
    parse(&String::from_utf8_lossy(&output.stdout))
}

/// Its program can be run; what it would then do, nobody knows.
pub fn access(program: &str) -> Result<String, String> {
    may_run(program).map(|()| format!("{program} can be run"))
}

fn fill(word: &str, weights: Weights) -> String {
    let (a, b) = (weights.a.get().to_string(), weights.b.get().to_string());
    word.replace("{a}", &a).replace("{stable}", &a).replace("{b}", &b).replace("{canary}", &b)
}

fn failure_text(output: &command::Output) -> String {
    let last = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        text.lines().rev().find(|line| !line.trim().is_empty()).map(str::to_owned)
    };
    let code = output.code.map_or_else(|| "by a signal".to_owned(), |code| format!("with {code}"));
    match last(&output.stderr).or_else(|| last(&output.stdout)) {
        Some(line) => format!("the command ended {code}: {line}"),
        None => format!("the command ended {code} and said nothing"),
    }
}

fn parse(text: &str) -> Result<SplitReading, Failure> {
    let text = text.trim();
    let split = match text.parse::<f64>() {
        Ok(b) => Some(Split { a: 100.0 - b, b }),
        Err(_) => serde_json::from_str(text).ok(),
    };
    let sane = |split: &Split| {
        let range = 0.0..=100.0;
        range.contains(&split.a)
            && range.contains(&split.b)
            && (split.a + split.b - 100.0).abs() < 1.0
    };
    if let Some(Split { a, b }) = split.filter(sane) {
        return Ok(SplitReading {
            a,
            b,
            fence: None,
            note: Untrusted::default(),
            lease: Lease::default(),
        });
    }
    let start: String = text.chars().take(80).collect();
    let why = format!("the command printed {start:?}, not a percent from 0 to 100");
    Err(Failure::new(FailureKind::Malformed, why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::types::Percent;

    fn check(text: &str, expected: Option<(f64, f64)>) {
        assert_eq!(parse(text).ok().map(|split| (split.a, split.b)), expected, "{text:?}");
    }

    #[test]
    fn output_is_a_percent_or_json() {
        check("10\n", Some((90.0, 10.0)));
        check("12.5", Some((87.5, 12.5)));
        check(r#"{"stable": 90, "canary": 10}"#, Some((90.0, 10.0)));
        check(r#"{"a": 0, "b": 100}"#, Some((0.0, 100.0)));
        for bad in ["", "NaN", "inf", "-1", "101", "ten", r#"{"a": 90}"#, r#"{"a": 90, "b": 90}"#] {
            check(bad, None);
        }
    }

    #[test]
    fn placeholders_stay_inside_their_argument() {
        let ten = Percent::new(10).expect("10 is a percent");
        let weights = Weights { a: ten.rest(), b: ten };
        assert_eq!(fill("--split={stable}/{canary};", weights), "--split=90/10;");
        assert_eq!(fill("{a}:{b}", weights), "90:10");
    }
}
