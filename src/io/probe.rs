//! One look at one target.
//!
//! Decides what a failure to get an answer means: silence and refusal are DOWN, an answer that
//! cannot be read is UNKNOWN, as is a look that could not be taken at all or whose token was
//! refused. Never keeps state between looks. Contract: returns within the target's timeout, with
//! every outside text cleaned.

use std::io;
use std::time::Duration;

use engine::health::{self, Expect, Figure};
use engine::reading::Observation;
use engine::types::{FailureKind, Status, Untrusted};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::io::command;
use crate::io::http::{Client, Method};
use crate::io::settings::{HttpTarget, ProbeTarget};

/// Asks for the richer format where a server has several.
const ACCEPT: &str = "application/health+json, application/json;q=0.9, */*;q=0.8";
/// A kept connection takes 25 KB, most of it buffers; one made anew costs about as much CPU as the
/// request on it.
const CONNECTIONS_MAX: usize = 500;
/// As much as a message has room for.
const LINE_CHARS_MAX: usize = 240;

/// Decides which connections are worth keeping: where there are many, those of the targets that are
/// asked most often, and all that a handshake would have to make again.
pub fn close_seldom(targets: &mut [ProbeTarget], probes: &[engine::settings::Probe]) {
    let plain = probes.iter().zip(targets).filter_map(|(probe, target)| match target {
        ProbeTarget::Http { http, .. } if http.url.starts_with("http:") => {
            Some((probe.interval, http))
        }
        ProbeTarget::Http { .. } | ProbeTarget::Tcp { .. } | ProbeTarget::Command { .. } => None,
    });
    let mut plain: Vec<(Duration, &mut HttpTarget)> = plain.collect();
    plain.sort_by_key(|(interval, _)| *interval);
    for (_, http) in plain.into_iter().skip(CONNECTIONS_MAX) {
        http.close = true;
    }
}

/// Takes one look and says what was seen.
pub async fn run(client: &Client, target: &ProbeTarget) -> Observation {
    match target {
        ProbeTarget::Http { http, expect, figures } => {
            ask(client, http, expect.as_ref(), figures).await
        }
        ProbeTarget::Tcp { address, timeout } => connect(address, *timeout).await,
        ProbeTarget::Command { argv, timeout, expect } => {
            execute(argv, *timeout, expect.as_ref()).await
        }
    }
}

fn seen(status: Status, latency: Option<Duration>, message: &str) -> Observation {
    Observation {
        status,
        latency,
        message: Untrusted::new(message),
        certificate_expires: None,
        clock_ahead_s: None,
    }
}

async fn ask(
    client: &Client,
    http: &HttpTarget,
    expect: Option<&Expect>,
    figures: &[Figure],
) -> Observation {
    let chosen = http.headers.keys().any(|name| name.eq_ignore_ascii_case("accept"));
    let headers: &[(&str, &str)] = if chosen { &[] } else { &[("accept", ACCEPT)] };
    match client.attempt(http, Method::Get, &http.url, headers, None).await {
        Ok(answer) => {
            let health = health::Answer {
                status: answer.status,
                headers: &answer.headers,
                body: &answer.body,
                latency: answer.latency,
            };
            let seen = health::classify(&health, expect);
            let (mut status, mut message) = health::with_figures(&health, figures, seen);
            // Who is not let in has not seen how it is. An `expect` may want just that answer.
            if http.token.is_some() && matches!(answer.status, 401 | 403) && status != Status::Up {
                let why = format!("denied: HTTP {}: look at the token", answer.status);
                (status, message) = (Status::Unknown, Untrusted::new(&why));
            }
            let certificate_expires = answer.certificate_expires;
            let latency = Some(answer.latency);
            Observation { status, latency, message, certificate_expires, clock_ahead_s: None }
        }
        Err(trouble) => seen(status_without_answer(trouble.kind), None, &trouble.text),
    }
}

fn status_without_answer(kind: FailureKind) -> Status {
    match kind {
        FailureKind::Timeout | FailureKind::Unreachable => Status::Down,
        FailureKind::Refused | FailureKind::Malformed | FailureKind::Denied => Status::Unknown,
    }
}

async fn connect(address: &str, timeout: Duration) -> Observation {
    let started = Instant::now();
    match tokio::time::timeout(timeout, TcpStream::connect(address)).await {
        Ok(Ok(_)) => seen(Status::Up, Some(started.elapsed()), ""),
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
            seen(Status::Down, None, "connection refused")
        }
        Ok(Err(error)) => seen(Status::Down, None, &error.to_string()),
        Err(_) => seen(Status::Down, None, &format!("no connection within {timeout:?}")),
    }
}

async fn execute(argv: &[String], timeout: Duration, expect: Option<&Expect>) -> Observation {
    let started = Instant::now();
    let output = match command::run(argv, None, timeout).await {
        Ok(output) => output,
        Err(failure) => {
            // A program that cannot be started says nothing about the service.
            let status = match failure.kind {
                FailureKind::Timeout => Status::Down,
                FailureKind::Unreachable
                | FailureKind::Refused
                | FailureKind::Malformed
                | FailureKind::Denied => Status::Unknown,
            };
            return seen(status, None, failure.text.display());
        }
    };
    let latency = started.elapsed();
    let (status, message) = match (output.code, expect) {
        (None, _) => (Status::Down, "ended by a signal".to_owned()),
        (Some(_), Some(_)) if output.truncated => {
            let why = format!("output is larger than {} bytes", command::OUTPUT_BYTES_MAX);
            (Status::Unknown, why)
        }
        (Some(code), Some(expect)) => {
            let headers = std::collections::BTreeMap::new();
            let answer = health::Answer {
                // An exit code has 8 bits.
                status: u16::try_from(code).unwrap_or(u16::MAX),
                headers: &headers,
                body: &output.stdout,
                latency,
            };
            let (status, message) = health::classify(&answer, Some(expect));
            (status, message.display().to_owned())
        }
        (Some(0), None) => (Status::Up, String::new()),
        (Some(code), None) => {
            let last = last_line(&output.stderr).or_else(|| last_line(&output.stdout));
            let gap = if last.is_some() { ": " } else { "" };
            (Status::Down, format!("exit code {code}{gap}{}", last.unwrap_or_default()))
        }
    };
    seen(status, Some(latency), &message)
}

fn last_line(output: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(output);
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty())?;
    Some(line.chars().take(LINE_CHARS_MAX).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_connections_the_busiest_are_kept() {
        let target = |url: &str| ProbeTarget::Http {
            http: HttpTarget { url: url.to_owned(), ..HttpTarget::default() },
            expect: None,
            figures: Vec::new(),
        };
        let probe = |seconds: u64| engine::settings::Probe {
            service: engine::types::ServiceId(0),
            name: String::new(),
            interval: Duration::from_secs(seconds),
            timeout: Duration::from_secs(1),
            degraded_above: None,
            unhealthy_above: None,
            rise: 1,
            fall: 1,
        };
        // Two seldom, one of them over TLS; then as many as are kept.
        let mut targets = vec![target("http://a/"), target("https://a/")];
        let mut probes = vec![probe(60), probe(60)];
        for _ in 0..CONNECTIONS_MAX {
            targets.push(target("http://a/"));
            probes.push(probe(5));
        }
        close_seldom(&mut targets, &probes);
        let closed =
            |target: &ProbeTarget| matches!(target, ProbeTarget::Http { http, .. } if http.close);
        let closed: Vec<usize> =
            (0..).zip(&targets).filter(|(_, it)| closed(it)).map(|(place, _)| place).collect();
        assert_eq!(closed, [0]);
    }
}
