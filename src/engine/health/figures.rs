//! Figures that stand in a health answer, with the limits that the user sets for them.
//!
//! Decides what they read like, and that an answer is worse than it says when one is not below its
//! limit. Never makes an answer better. Contract: a figure that is not there is no zero: with a
//! limit it makes the answer UNKNOWN.

use serde_json::Value;

use super::{Answer, json, shortened};
use crate::types::{Status, Untrusted};

/// What one line of the screen has room for.
pub const FIGURES_MAX: usize = 8;

/// A number of a JSON body.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    pub name: String,
    /// The way to it in the body, from the outside in.
    pub path: Vec<String>,
    /// As it is shown behind the number: "s", "%".
    pub unit: String,
    /// At or above it, the answer is DEGRADED.
    pub below: Option<f64>,
}

impl Figure {
    fn of(&self, body: &Value) -> Option<f64> {
        let found = self.path.iter().try_fold(body, |value, key| value.get(key));
        found.and_then(Value::as_f64).filter(|value| value.is_finite())
    }

    fn exceeded(&self, value: Option<f64>) -> bool {
        matches!((value, self.below), (Some(value), Some(below)) if value >= below)
    }

    fn told(&self, value: Option<f64>) -> String {
        let gap = if self.unit.is_empty() { "" } else { " " };
        let unit = format!("{gap}{}", self.unit);
        // Two digits say all that a limit needs.
        let digits = |value: f64| ((value * 100.0).round() / 100.0).to_string();
        let is_over = self.exceeded(value);
        let value = value.map_or_else(|| "–".to_owned(), digits);
        let told = match self.below.map(digits) {
            None => format!("{value}{unit}"),
            Some(below) if is_over => format!("{value}{unit} (not below {below}{unit})"),
            Some(below) => format!("{value} of {below}{unit}"),
        };
        format!("{} {told}", self.name)
    }
}

/// What was seen of an answer, with its figures; the worst first. One that is neither UP nor
/// DEGRADED has more to say than they have.
#[must_use]
pub fn with_figures(
    answer: &Answer,
    figures: &[Figure],
    seen: (Status, Untrusted),
) -> (Status, Untrusted) {
    let (status, message) = seen;
    if figures.is_empty() || !matches!(status, Status::Up | Status::Degraded) {
        return (status, message);
    }
    let body = match json::parse(answer.body) {
        Ok(body) => body,
        Err(why) => {
            let why = format!("figures: JSON cannot be read: {why}");
            return (Status::Unknown, Untrusted::new(&shortened(&why)));
        }
    };
    let mut found: Vec<(&Figure, Option<f64>)> =
        figures.iter().map(|figure| (figure, figure.of(&body))).collect();
    let missing =
        |(figure, value): &(&Figure, Option<f64>)| figure.below.is_some() && value.is_none();
    let exceeded = |(figure, value): &(&Figure, Option<f64>)| figure.exceeded(*value);
    let status = if found.iter().any(missing) {
        Status::Unknown
    } else if found.iter().any(exceeded) {
        Status::Degraded
    } else {
        status
    };
    found.sort_by_key(|one| if missing(one) { 0 } else { 2 - i32::from(exceeded(one)) });
    let mut words: Vec<String> = found.iter().map(|(figure, value)| figure.told(*value)).collect();
    if !message.is_empty() {
        words.insert(0, message.display().to_owned());
    }
    (status, Untrusted::new(&shortened(&words.join(", "))))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;

    fn check(status: Status, body: &str, expected: Status, words: &str) {
        let figure = |name: &str, path: &str, unit: &str, below| Figure {
            name: name.to_owned(),
            path: path.split('.').map(str::to_owned).collect(),
            unit: unit.to_owned(),
            below,
        };
        let figures = [
            figure("connections", "connections", "", None),
            figure("lag", "replica.lag", "s", Some(10.0)),
            figure("CPU", "cpu", "%", Some(80.0)),
        ];
        let headers = BTreeMap::new();
        let latency = Duration::ZERO;
        let answer = Answer { status: 200, headers: &headers, body: body.as_bytes(), latency };
        let seen = (status, Untrusted::default());
        let (found, message) = with_figures(&answer, &figures, seen);
        assert_eq!((found, message.display()), (expected, words), "{body}");
    }

    #[test]
    fn figures_stand_beside_their_limits() {
        use Status::{Degraded, Down, Unknown, Up};
        let body = |lag: &str, cpu: &str| {
            format!(r#"{{"connections":15,"replica":{{"lag":{lag}}},"cpu":{cpu}}}"#)
        };
        let good = "connections 15, lag 2.54 of 10 s, CPU 45 of 80 %";
        check(Up, &body("2.5401", "45"), Up, good);
        check(Degraded, &body("2.5401", "45"), Degraded, good);
        let late = "lag 10 s (not below 10 s), connections 15, CPU 45 of 80 %";
        check(Up, &body("10", "45"), Degraded, late);
        let none = "lag – of 10 s, CPU 95 % (not below 80 %), connections 15";
        check(Up, &body("null", "95"), Unknown, none);
        check(Up, &body("\"2\"", "95"), Unknown, none);
        let bare = "lag – of 10 s, CPU – of 80 %, connections –";
        check(Up, "{}", Unknown, bare);
        check(Down, &body("99", "99"), Down, "");
    }

    #[test]
    fn what_is_no_json_has_no_figures() {
        let figures = [Figure {
            name: "lag".to_owned(),
            path: vec!["lag".to_owned()],
            unit: String::new(),
            below: None,
        }];
        let headers = BTreeMap::new();
        let answer =
            Answer { status: 200, headers: &headers, body: b"OK", latency: Duration::ZERO };
        let (status, message) = with_figures(&answer, &figures, (Status::Up, Untrusted::default()));
        assert_eq!(status, Status::Unknown);
        assert!(message.display().contains("JSON cannot be read"), "{message}");
        let plain = with_figures(&answer, &[], (Status::Up, Untrusted::default()));
        assert_eq!(plain, (Status::Up, Untrusted::default()));
    }
}
