//! Instant queries of a Prometheus server.
//!
//! Decides what moment a look belongs to. Never averages: the texts select raw counters. Contract:
//! all queries of a look are evaluated at one moment of the server's own clock.
//!
//! The time of a look is the newest scrape of the request series: where their query is a plain
//! selector, `timestamp(selector)` tells it. Any other query has no scrape of its own, so its look
//! carries the moment of evaluation. A value that is no number is no data; among error series it
//! takes the whole group's data away, because without it the errors would look like fewer.

use chrono::{DateTime, Utc};
use engine::reading::{GroupCounters, Measurement};
use engine::types::{Failure, FailureKind, Untrusted};
use serde_json::Value;

use super::selector::Selector;
use super::{BODY_BYTES_MAX, GROUPS, Queries, Row, Signal, exposition, store};
use crate::io::clock;
use crate::io::http::{Client, Method};
use crate::io::settings::HttpTarget;

/// More of an error message than this does not help a person.
const MESSAGE_CHARS_MAX: usize = 300;

pub(super) async fn look(
    client: &Client,
    http: &HttpTarget,
    queries: &Queries<'_>,
) -> Result<Measurement, Failure> {
    let http = HttpTarget { body_bytes_max: BODY_BYTES_MAX, ..http.clone() };
    // The server's own clock: ours may be wrong by minutes, and then nothing would be found.
    let evaluated = ask(client, &http, "time()", None, "the server's time").await?.at;
    let clock_ahead_s = evaluated.map(|at| (at - clock::now().wall).num_seconds());
    let mut scraped = None;
    let mut groups = [GroupCounters::default(), GroupCounters::default()];
    for (group, counters) in groups.iter_mut().enumerate() {
        let mut hidden = false;
        for (signal, query) in queries.of(group) {
            let what = format!("{} of group {}", signal.word(), GROUPS[group]);
            let answer = ask(client, &http, query, evaluated, &what).await?;
            hidden |= signal == Signal::Errors && answer.gaps > 0;
            store(counters, signal, answer.rows)
                .map_err(|why| Failure::new(FailureKind::Malformed, format!("{what}: {why}")))?;
        }
        if hidden {
            *counters = GroupCounters::default();
        }
        let query = &queries.requests[group];
        if counters.requests.is_some() && Selector::parse(query).is_ok() {
            let query = format!("timestamp({query})");
            let what = format!("scrape time of group {}", GROUPS[group]);
            let answer = ask(client, &http, &query, evaluated, &what).await?;
            let newest = answer.rows.iter().map(|row| row.value).max_by(f64::total_cmp);
            scraped = scraped.max(newest.and_then(moment));
        }
    }
    let at = scraped.or(evaluated).unwrap_or_else(|| clock::now().wall);
    let [a, b] = groups;
    Ok(Measurement { clock_ahead_s, ..Measurement::new(at, a, b) })
}

/// The values of one query, and how many of them are no number.
pub(super) async fn values(
    client: &Client,
    http: &HttpTarget,
    query: &str,
) -> Result<(Vec<f64>, usize), Failure> {
    let http = HttpTarget { body_bytes_max: BODY_BYTES_MAX, ..http.clone() };
    let answer = ask(client, &http, query, None, "a check").await?;
    Ok((answer.rows.iter().map(|row| row.value).collect(), answer.gaps))
}

/// The values of one query by what `label` says of each; those that are no number are left out.
pub(super) async fn labelled(
    client: &Client,
    http: &HttpTarget,
    query: &str,
    label: &str,
) -> Result<Vec<(String, f64)>, Failure> {
    let http = HttpTarget { body_bytes_max: BODY_BYTES_MAX, ..http.clone() };
    let answer = ask(client, &http, query, None, "tenants").await?;
    let rows = answer.rows.into_iter();
    Ok(rows.filter_map(|mut row| Some((row.labels.remove(label)?, row.value))).collect())
}

struct Answered {
    rows: Vec<Row>,
    /// Rows whose value is no number.
    gaps: usize,
    /// The moment of evaluation.
    at: Option<DateTime<Utc>>,
}

async fn ask(
    client: &Client,
    http: &HttpTarget,
    query: &str,
    time: Option<DateTime<Utc>>,
    what: &str,
) -> Result<Answered, Failure> {
    let base = http.url.trim_end_matches('/');
    let mut url = format!("{base}/api/v1/query?query={}", percent_encoded(query));
    if let Some(time) = time {
        let millis = time.timestamp_subsec_millis();
        url = format!("{url}&time={}.{millis:03}", time.timestamp());
    }
    let answer = client.send(http, Method::Get, &url, &[], None).await?;
    parse(answer.status, &answer.body).map_err(|failure| {
        Failure::new(failure.kind, format!("prometheus, {what}: {}", failure.text))
    })
}

fn parse(status: u16, body: &[u8]) -> Result<Answered, Failure> {
    let malformed = |why: &str| Failure::new(FailureKind::Malformed, why);
    let value = match serde_json::from_slice::<Value>(body) {
        Ok(value) => value,
        Err(error) if status == 200 => {
            return Err(malformed(&format!("not JSON: {error}")));
        }
        Err(_) => return Err(refused(status, &String::from_utf8_lossy(body))),
    };
    if status != 200 || value["status"] == "error" {
        let kind = value["errorType"].as_str().unwrap_or("error");
        let text = value["error"].as_str().unwrap_or("no reason given");
        return Err(refused(status, &format!("{kind}: {text}")));
    }
    let data = &value["data"];
    let result = &data["result"];
    let mut answered = Answered { rows: Vec::new(), gaps: 0, at: None };
    match data["resultType"].as_str() {
        Some("vector") => {
            let rows = result.as_array().ok_or_else(|| malformed("the result is not a list"))?;
            for row in rows {
                add(&mut answered, &row["metric"], &row["value"]).map_err(malformed)?;
            }
        }
        Some("scalar") => add(&mut answered, &Value::Null, result).map_err(malformed)?,
        Some(other) => {
            let other = Untrusted::new(other);
            return Err(malformed(&format!("a {other} is not counters: ask for a vector")));
        }
        None => return Err(malformed("the answer has no result")),
    }
    Ok(answered)
}

fn add(answered: &mut Answered, metric: &Value, value: &Value) -> Result<(), &'static str> {
    let time = value[0].as_f64().ok_or("a sample without a time")?;
    let text = value[1].as_str().ok_or("a value is not a text")?;
    let value = exposition::number(text).ok_or("a value is not a number")?;
    answered.at = answered.at.max(moment(time));
    if !value.is_finite() {
        answered.gaps += 1;
        return Ok(());
    }
    let mut labels = std::collections::BTreeMap::new();
    let mut name = String::new();
    for (label, text) in metric.as_object().into_iter().flatten() {
        let text = text.as_str().ok_or("a label is not a text")?;
        if label == "__name__" {
            text.clone_into(&mut name);
        } else {
            labels.insert(label.clone(), text.to_owned());
        }
    }
    answered.rows.push(Row { name, labels, value });
    Ok(())
}

fn refused(status: u16, text: &str) -> Failure {
    let kind = if matches!(status, 401 | 403) { FailureKind::Denied } else { FailureKind::Refused };
    let text: String = text.trim().chars().take(MESSAGE_CHARS_MAX).collect();
    Failure::new(kind, format!("HTTP {status}: {text}"))
}

/// Seconds since 1970 with a fraction, to the millisecond.
fn moment(seconds: f64) -> Option<DateTime<Utc>> {
    if !(0.0..1e11).contains(&seconds) {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "bounded just above")]
    DateTime::from_timestamp_millis((seconds * 1000.0).round() as i64)
}

/// As a value in a URL: everything but letters, digits and `-_.~` is encoded.
fn percent_encoded(text: &str) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut encoded = String::with_capacity(text.len() * 2);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let digit = |half: u8| char::from(DIGITS[usize::from(half)]);
            encoded.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    macro_rules! recorded {
        ($name:literal) => {
            include_bytes!(concat!("../../../fixtures/metrics/", $name, ".json"))
        };
    }

    fn check(body: &[u8], rows: usize, gaps: usize) {
        let answered = parse(200, body).expect("a recorded answer");
        assert_eq!((answered.rows.len(), answered.gaps), (rows, gaps));
    }

    fn check_failure(status: u16, body: &[u8], kind: FailureKind, part: &str) {
        let Err(failure) = parse(status, body) else { panic!("expected a failure: {part}") };
        assert_eq!(failure.kind, kind);
        assert!(failure.text.display().contains(part), "{}", failure.text);
    }

    #[test]
    fn recorded_answers() {
        check(recorded!("prometheus-vector"), 2, 0);
        check(recorded!("prometheus-nan"), 0, 1);
        check(recorded!("prometheus-inf"), 0, 1);
        check(recorded!("prometheus-empty"), 0, 0);
        check(recorded!("prometheus-scalar"), 1, 0);
    }

    #[test]
    fn errors_keep_their_message() {
        let refused = FailureKind::Refused;
        check_failure(400, recorded!("prometheus-error-parse"), refused, "unclosed left paren");
        check_failure(503, recorded!("prometheus-error-timeout"), refused, "timeout: query");
        check_failure(503, b"Service Unavailable", refused, "HTTP 503: Service Unavailable");
        check_failure(401, b"who", FailureKind::Denied, "HTTP 401");
        let malformed = FailureKind::Malformed;
        check_failure(200, recorded!("prometheus-matrix"), malformed, "a matrix is not counters");
        check_failure(200, b"<html>", malformed, "not JSON");
        check_failure(200, b"{}", malformed, "no result");
        let row = br#"{"data":{"resultType":"vector","result":[{"value":[1,2]}]}}"#;
        check_failure(200, row, malformed, "a value is not a text");
    }

    #[test]
    fn a_query_becomes_part_of_a_url() {
        assert_eq!(percent_encoded("a{b=\"ä\"}+1"), "a%7Bb%3D%22%C3%A4%22%7D%2B1");
    }
}
