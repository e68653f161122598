//! Tells people through a channel: Slack, PagerDuty, a webhook, a program.
//!
//! Decides what a receiver's answer means: taken, never, or later. Never repeats a notice by
//! itself, and never shows an address, which may be a secret as a whole. Contract: returns within
//! [`TIMEOUT`] and a second; outside text cannot end its string or call a whole channel.

use std::time::Duration;

use engine::notice::{Notice, Stage};
use engine::reading::NotifyAnswer;
use engine::types::{FailureKind, Severity, Untrusted};
use serde_json::json;

use crate::io::command::{self, Last};
use crate::io::http::{Answer, Client, Method};
use crate::io::settings::{ChannelTarget, HttpTarget, Secret};

/// A receiver that takes longer is asked again later.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// Of an answer's body, enough for a sentence.
const BODY_CHARS_MAX: usize = 200;

/// PagerDuty refuses a longer summary.
const SUMMARY_CHARS_MAX: usize = 1000;

/// What may stand between braces in a template.
pub const PLACEHOLDERS: [&str; 8] =
    ["name", "summary", "severity", "stage", "key", "environment", "at", "number"];

/// Sends one notice.
pub async fn send(client: &Client, target: &ChannelTarget, notice: &Notice) -> NotifyAnswer {
    match target {
        ChannelTarget::Slack { url } => {
            post(client, &HttpTarget::default(), url, json!({ "text": slack(notice) }), notice)
                .await
        }
        ChannelTarget::PagerDuty { url, routing_key } => {
            let key = match routing_key.value().await {
                Ok(key) => key,
                Err(why) => return missing(&why),
            };
            let url = Secret::Known(url.clone());
            let answer =
                post(client, &HttpTarget::default(), &url, event(notice, &key), notice).await;
            redacted(answer, &[&key])
        }
        ChannelTarget::Webhook { http, url, template } => match template {
            None => post(client, http, url, document(notice), notice).await,
            Some(template) => deliver(client, http, url, fill(template, notice), notice).await,
        },
        ChannelTarget::Command { argv } => run(argv, notice).await,
    }
}

fn missing(why: &str) -> NotifyAnswer {
    NotifyAnswer::Refused { why: Untrusted::new(&format!("a secret is missing: {why}")) }
}

async fn post(
    client: &Client,
    http: &HttpTarget,
    url: &Secret,
    body: serde_json::Value,
    notice: &Notice,
) -> NotifyAnswer {
    deliver(client, http, url, body.to_string(), notice).await
}

async fn deliver(
    client: &Client,
    http: &HttpTarget,
    url: &Secret,
    body: String,
    notice: &Notice,
) -> NotifyAnswer {
    let (url, http) = match (url.value().await, http.resolved().await) {
        (Ok(url), Ok(http)) => (url, http),
        (Err(why), _) | (_, Err(why)) => return missing(&why),
    };
    let http =
        HttpTarget { url: url.to_string(), timeout: TIMEOUT, body_bytes_max: 64 * 1024, ..http };
    // The same again is the same notice: a receiver that knows the header takes it once.
    let number = format!("{}-{}", notice.environment, notice.number);
    let headers = [("idempotency-key", number.as_str())];
    let mut secrets: Vec<&str> = vec![&url];
    secrets.extend(http.secrets());
    let answer = match client.attempt(&http, Method::Post, &url, &headers, Some(body)).await {
        Ok(answer) => judge(&answer),
        Err(trouble) => {
            let why = Untrusted::new(&trouble.text);
            match trouble.kind {
                FailureKind::Denied => NotifyAnswer::Refused { why },
                FailureKind::Timeout
                | FailureKind::Unreachable
                | FailureKind::Refused
                | FailureKind::Malformed => NotifyAnswer::Later { why, after: None },
            }
        }
    };
    redacted(answer, &secrets)
}

/// What a status says: a receiver that is overloaded or broken is asked again.
fn judge(answer: &Answer) -> NotifyAnswer {
    if (200..300).contains(&answer.status) {
        return NotifyAnswer::Sent;
    }
    let body: String = String::from_utf8_lossy(&answer.body).trim().chars().collect();
    let body: String = body.chars().take(BODY_CHARS_MAX).collect();
    let gap = if body.is_empty() { "" } else { ": " };
    let why = Untrusted::new(&format!("answered {}{gap}{body}", answer.status));
    match answer.status {
        408 | 425 | 429 | 500.. => NotifyAnswer::Later { why, after: retry_after(answer) },
        _ => NotifyAnswer::Refused { why },
    }
}

/// Seconds, or an instant of HTTP.
fn retry_after(answer: &Answer) -> Option<Duration> {
    let text = answer.headers.get("retry-after")?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = chrono::DateTime::parse_from_rfc2822(text).ok()?;
    (at.to_utc() - crate::io::clock::now().wall).to_std().ok()
}

fn redacted(answer: NotifyAnswer, secrets: &[&str]) -> NotifyAnswer {
    let clean = |why: Untrusted| {
        let mut text = why.display().to_owned();
        for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
            text = text.replace(secret, "***");
        }
        Untrusted::new(&text)
    };
    match answer {
        NotifyAnswer::Sent => NotifyAnswer::Sent,
        NotifyAnswer::Refused { why } => NotifyAnswer::Refused { why: clean(why) },
        NotifyAnswer::Later { why, after } => NotifyAnswer::Later { why: clean(why), after },
    }
}

/// One paragraph; `<!channel>` of somebody else's text stays text.
fn slack(notice: &Notice) -> String {
    let plain = |text: &Untrusted| {
        text.display().replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
    };
    let (environment, severity) = (&notice.environment, notice.severity.word());
    let stage = notice.stage.word().to_uppercase();
    format!(
        "*{stage}* [{environment}] {severity}: {}\n{}",
        plain(&notice.name),
        plain(&notice.summary)
    )
}

/// An event of PagerDuty's API v2, merged by the incident's key.
fn event(notice: &Notice, routing_key: &str) -> serde_json::Value {
    let action = match notice.stage {
        Stage::Opened | Stage::Escalated => "trigger",
        Stage::Acknowledged => "acknowledge",
        Stage::Resolved => "resolve",
    };
    let severity = match notice.severity {
        Severity::Critical => "critical",
        Severity::High => "error",
        Severity::Medium => "warning",
        Severity::Low => "info",
    };
    let escalated = if notice.stage == Stage::Escalated { "ESCALATED: " } else { "" };
    let summary = format!("{escalated}{}: {}", notice.name, notice.summary);
    let summary: String = summary.chars().take(SUMMARY_CHARS_MAX).collect();
    json!({
        "routing_key": routing_key,
        "event_action": action,
        "dedup_key": notice.key,
        "payload": {
            "summary": summary,
            "source": notice.environment,
            "severity": severity,
            "timestamp": notice.at.to_rfc3339(),
        },
    })
}

/// What a webhook without a template and a program get.
fn document(notice: &Notice) -> serde_json::Value {
    json!({
        "number": notice.number,
        "key": notice.key,
        "stage": notice.stage,
        "severity": notice.severity,
        "environment": notice.environment,
        "name": notice.name,
        "summary": notice.summary,
        "at": notice.at,
    })
}

/// A template with its values, each as it may stand inside a string of JSON.
fn fill(template: &str, notice: &Notice) -> String {
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(at) = rest.find('{') {
        let (before, behind) = rest.split_at(at);
        filled.push_str(before);
        let found = PLACEHOLDERS.iter().find_map(|name| {
            let rest = behind.strip_prefix('{')?.strip_prefix(name)?.strip_prefix('}')?;
            Some((*name, rest))
        });
        if let Some((name, behind)) = found {
            let quoted = serde_json::Value::from(value(name, notice)).to_string();
            filled.push_str(&quoted[1..quoted.len() - 1]);
            rest = behind;
        } else {
            filled.push('{');
            rest = &behind[1..];
        }
    }
    filled.push_str(rest);
    filled
}

fn value(name: &str, notice: &Notice) -> String {
    match name {
        "name" => notice.name.to_string(),
        "summary" => notice.summary.to_string(),
        "severity" => notice.severity.word().to_owned(),
        "stage" => notice.stage.word().to_owned(),
        "key" => notice.key.clone(),
        "environment" => notice.environment.clone(),
        "at" => notice.at.to_rfc3339(),
        _ => notice.number.to_string(),
    }
}

async fn run(argv: &[String], notice: &Notice) -> NotifyAnswer {
    let input = format!("{}\n", document(notice));
    let result = command::run_with(argv, &[], Some(&input), TIMEOUT, &Last::default()).await;
    match result {
        Ok(output) if output.code == Some(0) => NotifyAnswer::Sent,
        Ok(output) => {
            let code =
                output.code.map_or("a signal".to_owned(), |code| format!("exit code {code}"));
            let why = Untrusted::new(&format!("the program ended with {code}"));
            NotifyAnswer::Later { why, after: None }
        }
        Err(failure) => match failure.kind {
            FailureKind::Unreachable | FailureKind::Denied => {
                NotifyAnswer::Refused { why: failure.text }
            }
            FailureKind::Timeout | FailureKind::Refused | FailureKind::Malformed => {
                NotifyAnswer::Later { why: failure.text, after: None }
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice() -> Notice {
        Notice {
            number: 7,
            channel: "ops".to_owned(),
            key: "quarterdeck/incident/hot/web".to_owned(),
            stage: Stage::Opened,
            severity: Severity::High,
            environment: "test".to_owned(),
            name: Untrusted::new("hot <!channel> \u{1b}[31m"),
            summary: Untrusted::new("said \"no\"\nand left"),
            at: chrono::DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn outside_text_stays_text() {
        let text = slack(&notice());
        assert!(text.contains("&lt;!channel&gt;") && !text.contains('\u{1b}'), "{text}");
        let filled =
            fill("{\"t\": \"{name}: {summary}\", \"n\": {number}, \"x\": \"{y}\"}", &notice());
        let read: serde_json::Value = serde_json::from_str(&filled).expect("it is JSON");
        assert_eq!((read["n"].as_u64(), read["x"].as_str()), (Some(7), Some("{y}")));
        assert!(read["t"].as_str().is_some_and(|text| text.contains("said \"no\"")), "{filled}");
    }

    #[test]
    fn an_event_of_pagerduty_is_merged_by_its_key() {
        let event = event(&notice(), "r0uting");
        assert_eq!(event["event_action"], "trigger");
        assert_eq!(event["dedup_key"], "quarterdeck/incident/hot/web");
        assert_eq!(event["payload"]["severity"], "error");
    }

    #[test]
    fn a_secret_never_comes_back() {
        let later = NotifyAnswer::Later { why: Untrusted::new("no https://x/T0K"), after: None };
        let clean = NotifyAnswer::Later { why: Untrusted::new("no ***"), after: None };
        assert_eq!(redacted(later, &["https://x/T0K"]), clean);
    }
}
