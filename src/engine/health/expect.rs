//! The user's own judgement of an answer: a CEL expression.
//!
//! Decides what an expression may name, and what its result means. Never runs a comprehension, so
//! that an evaluation costs no more than the size of the expression times the size of the answer.
//! Contract: only `true` is UP; an operand that is missing is UNKNOWN.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use cel::{Context, ExecutionError, Program, Value};

use super::{Answer, json};
use crate::expression;
use crate::types::Status;

/// What an expression may name.
const NAMES: [&str; 4] = ["status", "headers", "body", "latency_ms"];
/// A result or an error may quote the whole body.
const QUOTE_CHARS_MAX: usize = 120;

/// A compiled `expect`: a CEL expression over `status`, `headers`, `body`, `latency_ms`.
#[derive(Clone)]
pub struct Expect {
    pub source: String,
    program: Arc<Program>,
    uses_body: bool,
}

impl fmt::Debug for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expect").field(&self.source).finish()
    }
}

impl Expect {
    /// Compiles `source`, or says what is wrong with it.
    pub fn compile(source: &str) -> Result<Expect, String> {
        let program = expression::parse(source)?;
        let references = program.references();
        let mut names = references.variables();
        names.sort_unstable();
        if let Some(name) = names.iter().find(|name| !NAMES.contains(name)) {
            return Err(format!("unknown name {name:?}; known are {}", NAMES.join(", ")));
        }
        let uses_body = names.contains(&"body");
        let expect = Expect { source: source.to_owned(), program: Arc::new(program), uses_body };
        expect.rehearse()?;
        Ok(expect)
    }

    /// Runs once on an empty answer: what fails there for any answer is an error of the source.
    fn rehearse(&self) -> Result<(), String> {
        let answer =
            Answer { status: 200, headers: &BTreeMap::new(), body: b"{}", latency: Duration::ZERO };
        match self.run(&answer, Value::Map(HashMap::<String, Value>::new().into())) {
            Err(ExecutionError::UndeclaredReference(name)) => {
                Err(format!("unknown function {name:?}"))
            }
            Ok(Value::Bool(_)) | Err(_) => Ok(()),
            Ok(other) => Err(format!("is {}, not true or false", quoted(&other))),
        }
    }

    pub(super) fn judge(&self, answer: &Answer) -> (Status, String) {
        let body = match json::parse(answer.body) {
            Ok(value) => from_json(&value),
            Err(why) if self.uses_body && answer.claims_json() => {
                return (Status::Unknown, format!("expect: JSON cannot be read: {why}"));
            }
            Err(_) => Value::from(String::from_utf8_lossy(answer.body).into_owned()),
        };
        match self.run(answer, body) {
            Ok(Value::Bool(true)) => (Status::Up, String::new()),
            Ok(Value::Bool(false)) => (Status::Down, format!("expect is false: {}", self.source)),
            Ok(other) => {
                (Status::Unknown, format!("expect: {} is neither true nor false", quoted(&other)))
            }
            Err(error) => (Status::Unknown, format!("expect: {}", said(&error))),
        }
    }

    fn run(&self, answer: &Answer, body: Value) -> Result<Value, ExecutionError> {
        let headers: HashMap<String, Value> = answer
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), Value::from(value.as_str())))
            .collect();
        let latency_ms = i64::try_from(answer.latency.as_millis()).unwrap_or(i64::MAX);
        let mut context = Context::default();
        context.add_variable_from_value("status", Value::Int(i64::from(answer.status)));
        context.add_variable_from_value("headers", Value::Map(headers.into()));
        context.add_variable_from_value("latency_ms", Value::Int(latency_ms));
        context.add_variable_from_value("body", body);
        self.program.execute(&context)
    }
}

fn from_json(value: &serde_json::Value) -> Value {
    match value {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(value) => Value::Bool(*value),
        serde_json::Value::String(text) => Value::from(text.as_str()),
        serde_json::Value::Number(number) => number
            .as_i64()
            .map(Value::Int)
            .or_else(|| number.as_u64().map(Value::UInt))
            .or_else(|| number.as_f64().map(Value::Float))
            .unwrap_or(Value::Null),
        serde_json::Value::Array(items) => {
            Value::List(items.iter().map(from_json).collect::<Vec<_>>().into())
        }
        serde_json::Value::Object(fields) => {
            let fields: HashMap<String, Value> =
                fields.iter().map(|(key, value)| (key.clone(), from_json(value))).collect();
            Value::Map(fields.into())
        }
    }
}

fn said(error: &ExecutionError) -> String {
    match error {
        ExecutionError::NoSuchKey(key) => format!("no such key {key}"),
        other => other.to_string().chars().take(QUOTE_CHARS_MAX).collect(),
    }
}

fn quoted(value: &Value) -> String {
    match value.json() {
        Ok(json) => json.to_string().chars().take(QUOTE_CHARS_MAX).collect(),
        Err(_) => "the result".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str, body: &str, status: Status, words: &str) {
        let expect = Expect::compile(source).expect("the expression compiles");
        let headers = BTreeMap::from([
            ("content-type".to_owned(), "application/json".to_owned()),
            ("x-version".to_owned(), "42".to_owned()),
        ]);
        let latency = Duration::from_millis(250);
        let answer = Answer { status: 200, headers: &headers, body: body.as_bytes(), latency };
        let (found, message) = expect.judge(&answer);
        assert_eq!(found, status, "{source} on {body}: {message}");
        assert!(message.contains(words), "{source} on {body}: {message}");
    }

    #[test]
    fn true_is_up_and_false_names_the_expression() {
        check("status == 200 && latency_ms < 300", "", Status::Up, "");
        check("headers['x-version'] == '42'", "{}", Status::Up, "");
        check("body.a.b >= 2", r#"{"a":{"b":2.5}}"#, Status::Up, "");
        check("body.a.b < 2.5", r#"{"a":{"b":2}}"#, Status::Up, "");
        check("body[0].name == 'x'", r#"[{"name":"x"}]"#, Status::Up, "");
        check("body.status in ['ok', 'fine']", r#"{"status":"fine"}"#, Status::Up, "");
        check("has(body.a) && body.a", r#"{"b":1}"#, Status::Down, "has(body.a) && body.a");
        check("status == 204", "{}", Status::Down, "expect is false: status == 204");
    }

    #[test]
    fn what_cannot_be_told_is_unknown() {
        check("body.score > 80", "{}", Status::Unknown, "expect: no such key score");
        check("body.score > 80", r#"{"score":null}"#, Status::Unknown, "expect: ");
        check("body.score > 80", r#"{"score":"NaN"}"#, Status::Unknown, "expect: ");
        check("body.score", r#"{"score":7}"#, Status::Unknown, "7 is neither");
        check("body.score > 80", "{", Status::Unknown, "JSON cannot be read");
        check("body.score > 80", r#"{"score":1,"score":99}"#, Status::Unknown, "given twice");
        check("body.n / body.d > 1", r#"{"n":1,"d":0}"#, Status::Unknown, "expect: ");
        check("status == 200", "{", Status::Up, "");
    }

    fn refuse(source: &str, words: &str) {
        let error = Expect::compile(source).expect_err("it must be refused");
        assert!(error.contains(words), "{error}");
    }

    #[test]
    fn a_bad_expression_is_refused_at_once() {
        refuse("body.all(x, x > 1)", "not allowed");
        refuse("[1].map(x, x)[0] == 1", "not allowed");
        refuse("{'a': body.exists(x, x)}.a", "not allowed");
        refuse("bdy.a == 1", "unknown name \"bdy\"");
        refuse("nosuch(status)", "unknown function");
        refuse("1 + 1", "not true or false");
        refuse("status ==", "");
        refuse("", "");
        refuse(&"!".repeat(2000), "");
        refuse(&format!("body{} == 1", ".a".repeat(500)), "too deep");
        refuse(&"x".repeat(3000), "longer than");
    }
}
