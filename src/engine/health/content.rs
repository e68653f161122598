//! The formats that are recognised by content.
//!
//! Decides which word means which status and which component is named. Never guesses: a word that
//! is not in the table is UNKNOWN and is quoted. Contract: at most [`COMPONENTS_MAX`] parts of an
//! answer are looked at.

use serde_json::{Map, Value};

use super::{Answer, json};
use crate::types::Status;

/// More parts than any real service has; one more makes the answer UNKNOWN, not truncated.
const COMPONENTS_MAX: usize = 1000;
/// A status is a word or two; longer text is not one.
const WORD_BYTES_MAX: usize = 64;
/// A sentence such as "Prometheus Server is Ready."
const SENTENCE_BYTES_MAX: usize = 100;
/// Lines of Kubernetes' verbose text.
const LINES_MAX: usize = 1000;

/// Where the formats keep their parts: health+json and `MicroProfile`, ASP.NET, Spring (new, old),
/// `FastAPI`, and what home-made ones usually say.
const PARTS: [&str; 9] = [
    "checks",
    "entries",
    "components",
    "details",
    "failed_checks",
    "results",
    "services",
    "dependencies",
    "endpoints",
];
/// Where the formats keep the reason of a part.
const REASONS: [&str; 7] =
    ["output", "exception", "description", "error", "message", "reason", "errors"];

/// Judges an answer without `expect`.
pub(super) fn judge(answer: &Answer) -> (Status, String) {
    let http = Http(answer.status);
    let body = answer.body.trim_ascii();
    if body.is_empty() {
        return http.alone();
    }
    let is_kubernetes = body.starts_with(b"[+]") || body.starts_with(b"[-]");
    let looks_json = matches!(body.first(), Some(b'{' | b'[')) && !is_kubernetes;
    if answer.claims_json() || looks_json {
        return match json::parse(body) {
            Ok(value) => http.with(judge_json(answer, &value)),
            Err(why) => http.with((Status::Unknown, format!("JSON cannot be read: {why}"))),
        };
    }
    let text = String::from_utf8_lossy(body);
    if is_kubernetes {
        return judge_kubernetes(http, &text);
    }
    http.with(judge_text(&text))
}

/// The HTTP status, or a command's exit code made to look like one.
#[derive(Clone, Copy)]
struct Http(u16);

impl Http {
    fn is_error(self) -> bool {
        self.0 >= 400
    }
    fn is_success(self) -> bool {
        (200..300).contains(&self.0)
    }

    fn alone(self) -> (Status, String) {
        if self.is_success() {
            (Status::Up, String::new())
        } else if self.is_error() {
            (Status::Down, format!("HTTP {}", self.0))
        } else {
            (Status::Unknown, format!("HTTP {}, which says nothing about health", self.0))
        }
    }

    /// Content and HTTP status together; the worse one decides.
    fn with(self, (status, message): (Status, String)) -> (Status, String) {
        let told = |message: String| {
            let gap = if message.is_empty() { "" } else { ": " };
            format!("HTTP {}{gap}{message}", self.0)
        };
        match status {
            Status::Maint => (status, message),
            Status::Down if self.is_error() => (status, told(message)),
            Status::Up if self.is_error() => {
                (Status::Down, format!("HTTP {}, although the body says all is well", self.0))
            }
            Status::Unknown | Status::Stale | Status::Degraded if self.is_error() => {
                (Status::Down, told(message))
            }
            Status::Up if !self.is_success() => self.alone(),
            Status::Up | Status::Unknown | Status::Stale | Status::Degraded | Status::Down => {
                (status, message)
            }
        }
    }
}

/// The one table of words, in lower case with `_` between.
fn status_of(word: &str) -> Option<Status> {
    if word.len() > WORD_BYTES_MAX {
        return None;
    }
    let word = word.trim().to_ascii_lowercase().replace([' ', '-'], "_");
    Some(match word.as_str() {
        "up" | "ok" | "pass" | "passed" | "passing" | "healthy" | "ready" | "alive" | "live"
        | "operational" | "serving" | "green" | "pong" => Status::Up,
        "warn"
        | "warning"
        | "degraded"
        | "degraded_performance"
        | "partial_outage"
        | "minor"
        | "yellow" => Status::Degraded,
        "down" | "fail" | "failed" | "failing" | "error" | "unhealthy" | "not_ready" | "dead"
        | "critical" | "major" | "major_outage" | "not_serving" | "unavailable" | "red" => {
            Status::Down
        }
        "out_of_service" | "under_maintenance" | "maintenance" | "maint" => Status::Maint,
        _ => return None,
    })
}

/// One part of an answer that has a status of its own.
struct Part {
    path: String,
    status: Status,
    /// The word as it came.
    raw: String,
    reason: String,
}

impl Part {
    fn told(&self) -> String {
        let path = if self.path.is_empty() { "status" } else { &self.path };
        let gap = if self.reason.is_empty() { "" } else { ": " };
        format!("{path} is {:?}{gap}{}", self.raw, self.reason)
    }
}

fn judge_json(answer: &Answer, value: &Value) -> (Status, String) {
    match value {
        Value::Object(fields) => judge_object(answer, fields),
        Value::Array(items) => judge_list(items),
        Value::String(text) => judge_text(text),
        Value::Bool(true) => (Status::Up, String::new()),
        Value::Bool(false) => (Status::Down, "the body is false".to_owned()),
        Value::Null | Value::Number(_) => nothing_named(),
    }
}

fn nothing_named() -> (Status, String) {
    (Status::Unknown, "the body names no known status; an expect can judge it".to_owned())
}

fn judge_object(answer: &Answer, fields: &Map<String, Value>) -> (Status, String) {
    // FastAPI puts an error's body below "detail".
    let fields = match fields.get("detail") {
        Some(Value::Object(inner)) if !fields.contains_key("status") => inner,
        Some(_) | None => fields,
    };
    if is_gatus(fields) {
        return judge_list(std::slice::from_ref(&Value::Object(fields.clone())));
    }
    // A custom status is a thing of Spring only; elsewhere an unknown word is just unknown.
    let spring = answer.header("content-type").contains("spring-boot.actuator")
        || fields.get("components").is_some_and(Value::is_object);
    let unlisted = if spring { Status::Degraded } else { Status::Unknown };
    let mut parts = Vec::new();
    if !collect_parts("", fields, unlisted, &mut parts) {
        let why = format!("the body has more than {COMPONENTS_MAX} components");
        return (Status::Unknown, why);
    }
    summed_up(whole(fields, unlisted), &parts)
}

/// The status of the answer as a whole, where it has one.
fn whole(fields: &Map<String, Value>, unlisted: Status) -> Option<Part> {
    if let Some(part) = part_of("", fields, unlisted) {
        return Some(part);
    }
    // Statuspage: the status is an object with an indicator.
    let indicator = fields.get("status")?.get("indicator")?.as_str()?;
    let status = match indicator {
        "none" => Some(Status::Up),
        other => status_of(other),
    };
    let reason = fields.get("status").and_then(Value::as_object).map(reason_of).unwrap_or_default();
    let status = status.unwrap_or(Status::Unknown);
    Some(Part { path: String::new(), status, raw: indicator.to_owned(), reason })
}

/// The status that an object gives itself.
fn part_of(path: &str, fields: &Map<String, Value>, unlisted: Status) -> Option<Part> {
    let (status, raw) = match fields.get("status") {
        Some(Value::String(word)) if word.trim().is_empty() => (Status::Unknown, word.clone()),
        Some(Value::String(word)) if word.eq_ignore_ascii_case("unknown") => {
            (Status::Unknown, word.clone())
        }
        Some(Value::String(word)) => (status_of(word).unwrap_or(unlisted), word.clone()),
        Some(Value::Bool(good)) => (of_bool(*good), good.to_string()),
        // An error page of Spring or a gateway repeats the HTTP status.
        Some(Value::Number(code)) if code.as_u64().is_some_and(|code| code >= 400) => {
            (Status::Down, code.to_string())
        }
        Some(Value::Number(code)) => (Status::Unknown, code.to_string()),
        Some(Value::Null | Value::Array(_) | Value::Object(_)) | None => {
            let keys = ["healthy", "ready", "alive", "ok", "success"];
            let (key, good) =
                keys.iter().find_map(|key| Some((key, fields.get(*key)?.as_bool()?)))?;
            (of_bool(good), format!("{key}: {good}"))
        }
    };
    Some(Part { path: path.to_owned(), status, raw, reason: reason_of(fields) })
}

fn of_bool(good: bool) -> Status {
    if good { Status::Up } else { Status::Down }
}

fn reason_of(fields: &Map<String, Value>) -> String {
    let texts = REASONS.iter().filter_map(|key| match fields.get(*key)? {
        Value::String(text) => Some(text.trim()),
        Value::Array(items) => items.first()?.as_str(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    });
    let own = texts.into_iter().find(|text| !text.is_empty()).unwrap_or("").to_owned();
    if !own.is_empty() {
        return own;
    }
    // Spring keeps the exception below "details"; a database says it in figures.
    let details = fields.get("details").and_then(Value::as_object);
    let nested = details.and_then(|details| details.get("error")).and_then(Value::as_str);
    nested.map_or_else(|| figures_of(fields), |text| text.trim().to_owned())
}

/// What a database's health body measures, in words.
fn figures_of(fields: &Map<String, Value>) -> String {
    let known = [
        ("replicationLag", "replication lag", " s"),
        ("cpuUsage", "CPU", " %"),
        ("connections", "connections", ""),
    ];
    let told = known.iter().filter_map(|(key, words, unit)| {
        let figure = match fields.get(*key)? {
            Value::Number(number) => number.to_string(),
            Value::String(text) => text.clone(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
        };
        Some(format!("{words} {figure}{unit}"))
    });
    told.collect::<Vec<_>>().join(", ")
}

/// Adds the parts below `fields`, deepest first. False when there are too many.
fn collect_parts(
    path: &str,
    fields: &Map<String, Value>,
    unlisted: Status,
    parts: &mut Vec<Part>,
) -> bool {
    for key in PARTS {
        let fits = match fields.get(key) {
            Some(Value::Object(named)) => named
                .iter()
                .all(|(name, value)| collect_part(&below(path, name), value, unlisted, parts)),
            Some(Value::Array(items)) => items.iter().all(|item| {
                let name = name_of(item);
                collect_part(&below(path, name), item, unlisted, parts)
            }),
            Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) | None => true,
        };
        if !fits {
            return false;
        }
    }
    true
}

fn below(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn name_of(item: &Value) -> &str {
    let keys = ["name", "service", "component", "componentId", "id", "key"];
    keys.iter().find_map(|key| item.get(*key)?.as_str()).unwrap_or("a component")
}

fn collect_part(path: &str, value: &Value, unlisted: Status, parts: &mut Vec<Part>) -> bool {
    match value {
        Value::Object(fields) => {
            if !collect_parts(path, fields, unlisted, parts) {
                return false;
            }
            parts.extend(part_of(path, fields, unlisted));
        }
        // health+json: each check is a list of observations.
        Value::Array(items) => {
            return items
                .iter()
                .all(|item| item.is_array() || collect_part(path, item, unlisted, parts));
        }
        // {"services":{"db":"up"}}: other words are details, such as a database's name.
        Value::String(word) => parts.extend(status_of(word).map(|status| Part {
            path: path.to_owned(),
            status,
            raw: word.clone(),
            reason: String::new(),
        })),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
    parts.len() <= COMPONENTS_MAX
}

/// The whole and its parts, as one status and the sentence that says why.
fn summed_up(whole: Option<Part>, parts: &[Part]) -> (Status, String) {
    // Of equals the first, which is the deepest: it names the cause, not its container.
    let worst = parts.iter().rev().max_by_key(|part| part.status);
    let bad = worst.filter(|part| part.status >= Status::Degraded);
    let more = |part: &Part| {
        let same = |other: &&Part| {
            other.status == part.status && !part.path.starts_with(&format!("{}.", other.path))
        };
        match parts.iter().filter(same).count() {
            0 | 1 => String::new(),
            count => format!(" (and {} more)", count - 1),
        }
    };
    match (whole, bad) {
        (None, None) => nothing_named(),
        (None, Some(part)) => (part.status, part.told() + &more(part)),
        (Some(whole), None) => {
            let message = match (whole.status, worst) {
                (Status::Up, _) => String::new(),
                (_, Some(part)) if part.status == whole.status => part.told() + &more(part),
                (_, Some(_) | None) => whole.told(),
            };
            (whole.status, message)
        }
        (Some(whole), Some(part)) if whole.status == Status::Up => {
            (Status::Degraded, format!("says {:?}, but {}{}", whole.raw, part.told(), more(part)))
        }
        (Some(whole), Some(part)) => {
            (whole.status, format!("{:?}: {}{}", whole.raw, part.told(), more(part)))
        }
    }
}

/// Gatus: an endpoint with its results, the newest last.
fn is_gatus(fields: &Map<String, Value>) -> bool {
    let results = fields.get("results").and_then(Value::as_array);
    results.and_then(|results| results.last()).is_some_and(|last| last.get("success").is_some())
}

fn judge_list(items: &[Value]) -> (Status, String) {
    let mut parts = Vec::new();
    for item in items {
        let Some(fields) = item.as_object() else { return nothing_named() };
        let name = name_of(item);
        let last = fields.get("results").and_then(Value::as_array).and_then(|all| all.last());
        match (last.and_then(Value::as_object), fields.contains_key("results")) {
            (Some(last), _) => parts.push(gatus_part(name, last)),
            (None, true) => parts.push(Part {
                path: name.to_owned(),
                status: Status::Unknown,
                raw: "no results".to_owned(),
                reason: String::new(),
            }),
            (None, false) => parts.extend(part_of(name, fields, Status::Unknown)),
        }
        if parts.len() > COMPONENTS_MAX {
            let why = format!("the body has more than {COMPONENTS_MAX} components");
            return (Status::Unknown, why);
        }
    }
    if parts.is_empty() || parts.len() < items.len() {
        return nothing_named();
    }
    let worst = parts.iter().rev().max_by_key(|part| part.status);
    match worst {
        Some(part) if part.status != Status::Up => (part.status, part.told()),
        Some(_) | None => (Status::Up, String::new()),
    }
}

fn gatus_part(name: &str, result: &Map<String, Value>) -> Part {
    let success = result.get("success").and_then(Value::as_bool);
    let failed = result.get("conditionResults").and_then(Value::as_array).and_then(|all| {
        all.iter().find(|one| one.get("success").and_then(Value::as_bool) == Some(false))
    });
    let condition = failed.and_then(|one| one.get("condition")).and_then(Value::as_str);
    let reason = condition.map_or_else(|| reason_of(result), |text| format!("{text} failed"));
    let (status, raw) = match success {
        Some(true) => (Status::Up, "success: true"),
        Some(false) => (Status::Down, "success: false"),
        None => (Status::Unknown, "no success"),
    };
    Part { path: name.to_owned(), status, raw: raw.to_owned(), reason }
}

/// Text for people: only the HTTP status is a promise, the lines say why.
fn judge_kubernetes(http: Http, text: &str) -> (Status, String) {
    let failed: Vec<&str> =
        text.lines().take(LINES_MAX).filter_map(|line| line.strip_prefix("[-]")).collect();
    let told = match failed.as_slice() {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [one, rest @ ..] => format!("{one} (and {} more)", rest.len()),
    };
    match failed.is_empty() {
        true => http.with((Status::Up, String::new())),
        false if http.is_error() => http.with((Status::Down, told)),
        false => (Status::Degraded, format!("HTTP {}, but {told}", http.0)),
    }
}

/// ASP.NET's default writer and plain words; a sentence counts by its last word.
fn judge_text(text: &str) -> (Status, String) {
    let text = text.trim_start_matches('\u{feff}').trim();
    if let Some(status) = status_of(text.trim_end_matches(['.', '!'])) {
        let message = match status {
            Status::Up => String::new(),
            Status::Maint | Status::Unknown | Status::Stale | Status::Degraded | Status::Down => {
                format!("says {text:?}")
            }
        };
        return (status, message);
    }
    let line = text.lines().next().unwrap_or("");
    if text.len() <= SENTENCE_BYTES_MAX && says_well(text) {
        return (Status::Up, String::new());
    }
    let head: String = line.chars().take(WORD_BYTES_MAX).collect();
    (Status::Unknown, format!("the body names no known status: {head:?}; an expect can judge it"))
}

/// "Prometheus Server is Ready.", but not "Server is not ready."
fn says_well(sentence: &str) -> bool {
    let words: Vec<String> = sentence
        .split_whitespace()
        .map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()).to_ascii_lowercase())
        .collect();
    match words.as_slice() {
        [before @ .., verb, last] => {
            verb == "is"
                && status_of(last) == Some(Status::Up)
                && !before.iter().any(|word| matches!(word.as_str(), "no" | "not" | "never"))
        }
        [] | [_] => false,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::super::classify;
    use super::*;

    fn check(code: u16, kind: &str, body: &str, status: Status, words: &str) {
        let headers = BTreeMap::from([("content-type".to_owned(), kind.to_owned())]);
        let latency = Duration::from_millis(3);
        let answer = Answer { status: code, headers: &headers, body: body.as_bytes(), latency };
        let (found, message) = classify(&answer, None);
        assert_eq!(found, status, "{code} {body}: {message}");
        assert!(message.display().contains(words), "{code} {body}: {message}");
        assert_eq!(found == Status::Up, message.is_empty(), "{code} {body}: {message}");
    }

    #[test]
    fn without_a_body_http_decides() {
        check(204, "", "", Status::Up, "");
        check(200, "application/json", " \r\n", Status::Up, "");
        check(301, "", "", Status::Unknown, "HTTP 301");
        check(404, "", "", Status::Down, "HTTP 404");
        check(503, "", "", Status::Down, "HTTP 503");
    }

    #[test]
    fn words_are_words_and_nothing_else() {
        check(200, "text/plain", "OK", Status::Up, "");
        check(200, "text/plain", "Healthy\n", Status::Up, "");
        check(200, "text/plain", "Degraded", Status::Degraded, "Degraded");
        check(503, "text/plain", "Unhealthy", Status::Down, "HTTP 503");
        check(200, "text/plain", "Prometheus Server is Ready.\n", Status::Up, "");
        check(200, "text/plain", "Server is not ready", Status::Unknown, "not ready");
        check(200, "text/html", "<html>Welcome", Status::Unknown, "no known status");
        check(502, "text/html", "<html>Bad Gateway", Status::Down, "HTTP 502");
        check(200, "text/plain", "okay-ish", Status::Unknown, "okay-ish");
    }

    #[test]
    fn json_that_cannot_be_read_is_never_up() {
        let json = "application/json";
        check(200, json, r#"{"status":"UP""#, Status::Unknown, "JSON cannot be read");
        check(200, json, "OK", Status::Unknown, "JSON cannot be read");
        check(200, "application/health+json; charset=utf-8", "pass", Status::Unknown, "JSON");
        check(200, "text/plain", "{", Status::Unknown, "JSON cannot be read");
        check(200, json, r#"{"status":"UP","status":"DOWN"}"#, Status::Unknown, "twice");
        check(200, json, &"[".repeat(60_000), Status::Unknown, "deeper");
        check(500, json, "{", Status::Down, "HTTP 500");
    }

    #[test]
    fn an_unknown_word_is_quoted() {
        let json = "application/json";
        check(200, json, r#"{"status":"wobbly"}"#, Status::Unknown, "wobbly");
        check(200, json, r#"{"status":""}"#, Status::Unknown, "status");
        check(200, json, r#"{"status":null}"#, Status::Unknown, "no known status");
        check(200, json, "{}", Status::Unknown, "no known status");
        check(200, json, "[]", Status::Unknown, "no known status");
        check(200, json, r#"{"status":200}"#, Status::Unknown, "200");
        check(200, json, r#"{"status":"UNKNOWN"}"#, Status::Unknown, "UNKNOWN");
    }

    #[test]
    fn the_worst_component_is_named() {
        let json = "application/json";
        let nested = r#"{"status":"DOWN","components":{"db":{"status":"UP"},"broker":{"status":
            "DOWN","components":{"us1":{"status":"DOWN","details":{"error":"refused"}}}}}}"#;
        check(503, json, nested, Status::Down, "broker.us1 is \"DOWN\": refused");
        let summed = r#"{"status":"UP","components":{"db":{"status":"DOWN"}}}"#;
        check(200, json, summed, Status::Degraded, "says \"UP\", but db is \"DOWN\"");
        let custom = r#"{"status":"FATIGUED","components":{"db":{"status":"FATIGUED"}}}"#;
        check(200, json, custom, Status::Degraded, "FATIGUED");
        let many = format!(r#"{{"status":"UP","services":{{{}}}}}"#, {
            let parts: Vec<String> = (0..1001).map(|n| format!(r#""s{n}":"up""#)).collect();
            parts.join(",")
        });
        check(200, json, &many, Status::Unknown, "more than 1000");
    }

    #[test]
    fn an_error_of_http_outweighs_good_words() {
        let json = "application/json";
        check(500, json, r#"{"status":"UP"}"#, Status::Down, "although");
        check(503, json, r#"{"status":"OUT_OF_SERVICE"}"#, Status::Maint, "OUT_OF_SERVICE");
        check(503, json, r#"{"status":"warn"}"#, Status::Down, "HTTP 503");
        check(404, json, r#"{"detail":"Not Found"}"#, Status::Down, "HTTP 404");
        check(302, json, r#"{"status":"UP"}"#, Status::Unknown, "HTTP 302");
    }

    #[test]
    fn hostile_text_is_harmless_in_the_message() {
        let body = "{\"status\":\"x\u{1b}]52;c;eA==\u{7}\u{202e}\u{e0041}e\u{301}\u{301}\u{301}\"}";
        let headers = BTreeMap::new();
        let latency = Duration::ZERO;
        let answer = Answer { status: 200, headers: &headers, body: body.as_bytes(), latency };
        let (status, message) = classify(&answer, None);
        assert_eq!(status, Status::Unknown);
        let bad = |c: char| c.is_control() || c == '\u{202e}' || c == '\u{e0041}';
        assert!(!message.display().contains(bad), "{message}");
    }
}
