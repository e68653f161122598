//! A router behind an HTTP endpoint: `GET` tells the split, `PUT` sets it.
//!
//! Decides what an answer means: applied, rejected or unknown. Never takes the answer to a `PUT`
//! for the truth; only a `GET` is. Contract: the body is `{"stable":90,"canary":10}` both ways,
//! where `stable` is group a and `canary` group b, and more where the endpoint keeps the fence;
//! both calls return within their budget.

use std::time::Duration;

use engine::reading::{Access, Lease, SplitReading, WriteAnswer};
use engine::types::{Failure, FailureKind, Fence, Untrusted, Weights};
use serde_json::Value;

use crate::io::http::{Answer, Client, Method};
use crate::io::settings::HttpTarget;

/// Of an error body, enough for a sentence: more would push the rest off the line.
const TEXT_CHARS_MAX: usize = 200;

/// `408 Request Timeout`: the one client error that does not say that nothing happened.
const REQUEST_TIMEOUT: u16 = 408;

/// `409 Conflict`: the endpoint has seen a newer fence.
const CONFLICT: u16 = 409;

/// Whose write it is, for an endpoint that keeps the fence.
pub struct Stamp<'a> {
    pub fence: Fence,
    pub holder: &'a str,
}

/// Sets absolute shares. Idempotent. A `stamp` only where the endpoint keeps one: another may be
/// strict about what it is sent.
pub async fn set(
    client: &Client,
    target: &HttpTarget,
    weights: Weights,
    stamp: Option<&Stamp<'_>>,
    budget: Duration,
) -> WriteAnswer {
    let mut body = serde_json::json!({ "stable": weights.a.get(), "canary": weights.b.get() });
    if let Some(stamp) = stamp {
        body["fence"] = stamp.fence.0.into();
        body["holder"] = stamp.holder.into();
    }
    send(client, target, Method::Put, &body, budget).await
}

/// Sends an absolute value, and says what its answer means.
pub async fn send(
    client: &Client,
    target: &HttpTarget,
    method: Method,
    body: &Value,
    budget: Duration,
) -> WriteAnswer {
    let put = client.send(target, method, &target.url, &[], Some(body.to_string()));
    match tokio::time::timeout(budget, put).await {
        Ok(Ok(answer)) => judge(&answer),
        Ok(Err(failure)) => match failure.kind {
            // A missing secret is found before anything is sent.
            FailureKind::Denied => WriteAnswer::Rejected { why: failure.text, newer: None },
            FailureKind::Timeout
            | FailureKind::Unreachable
            | FailureKind::Refused
            | FailureKind::Malformed => WriteAnswer::Unknown { why: failure.text },
        },
        Err(_) => WriteAnswer::Unknown { why: Untrusted::new(&late("set", budget)) },
    }
}

/// Reads the split back.
pub async fn read(
    client: &Client,
    target: &HttpTarget,
    own: &str,
    budget: Duration,
) -> Result<SplitReading, Failure> {
    let body = get(client, target, budget).await?;
    parse(&body, own)
        .map_err(|why| Failure::new(FailureKind::Malformed, format!("the split is unclear: {why}")))
}

/// The body of a good answer.
pub async fn get(
    client: &Client,
    target: &HttpTarget,
    budget: Duration,
) -> Result<Vec<u8>, Failure> {
    let get = client.send(target, Method::Get, &target.url, &[], None);
    let answer = tokio::time::timeout(budget, get)
        .await
        .map_err(|_| Failure::new(FailureKind::Timeout, late("read", budget)))??;
    if !is_success(answer.status) {
        return Err(Failure::new(FailureKind::Refused, said(&answer)));
    }
    Ok(answer.body)
}

fn late(what: &str, budget: Duration) -> String {
    format!("{what} the split: no answer within {} ms", budget.as_millis())
}

fn is_success(status: u16) -> bool {
    (200..300).contains(&status)
}

fn judge(answer: &Answer) -> WriteAnswer {
    let why = || Untrusted::new(&said(answer));
    match answer.status {
        status if is_success(status) => WriteAnswer::Applied,
        REQUEST_TIMEOUT => WriteAnswer::Unknown { why: why() },
        CONFLICT => {
            let body = serde_json::from_slice::<Value>(&answer.body).ok();
            let newer = body.and_then(|body| body.get("fence")?.as_u64()).map(Fence);
            WriteAnswer::Rejected { why: why(), newer }
        }
        400..500 => WriteAnswer::Rejected { why: why(), newer: None },
        _ => WriteAnswer::Unknown { why: why() },
    }
}

/// The status, and what the body says about it.
fn said(answer: &Answer) -> String {
    let text = String::from_utf8_lossy(&answer.body);
    let told = serde_json::from_str::<Value>(&text).ok();
    let told = told.as_ref().and_then(|body| {
        ["error", "message", "detail"].iter().find_map(|name| body.get(name)?.as_str())
    });
    let short: String = told.unwrap_or(&text).trim().chars().take(TEXT_CHARS_MAX).collect();
    if short.is_empty() {
        format!("answered {}", answer.status)
    } else {
        format!("answered {}: {short}", answer.status)
    }
}

/// Shares of any total up to 100 each, as percents of their sum.
fn parse(body: &[u8], own: &str) -> Result<SplitReading, String> {
    let body: Value = serde_json::from_slice(body).map_err(|why| format!("no JSON: {why}"))?;
    let (stable, canary) = (share(&body, "stable")?, share(&body, "canary")?);
    let sum = stable + canary;
    if sum <= 0.0 {
        return Err("neither stable nor canary has a share".to_owned());
    }
    let fence = body.get("fence").and_then(Value::as_u64);
    let holder = body.get("holder").and_then(Value::as_str).unwrap_or_default();
    let other = fence.filter(|_| !holder.is_empty() && holder != own);
    Ok(SplitReading {
        a: stable * 100.0 / sum,
        b: canary * 100.0 / sum,
        fence,
        note: Untrusted::default(),
        lease: Lease {
            fenced: fence.is_some(),
            other: other.map(|fence| (Fence(fence), Untrusted::new(holder))),
            access: match body.get("writable").and_then(Value::as_bool) {
                Some(true) => Access::granted("its answer says so"),
                Some(false) => Access::denied("its answer says so: look at the token"),
                None => Access::Unknown,
            },
            ..Lease::default()
        },
    })
}

fn share(body: &Value, name: &str) -> Result<f64, String> {
    let value = body.get(name).ok_or_else(|| format!("{name} is missing"))?;
    let number = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok());
    match number {
        // NaN is in no range.
        Some(number) if (0.0..=100.0).contains(&number) => Ok(number),
        Some(number) => Err(format!("{name} is {number}, not from 0 to 100")),
        None => Err(format!("{name} is not a number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str, expected: Result<(f64, f64), &str>) {
        let found = parse(body.as_bytes(), "").map(|split| (split.a, split.b));
        match expected {
            Ok(split) => assert_eq!(found, Ok(split), "{body}"),
            Err(part) => {
                assert!(found.as_ref().is_err_and(|why| why.contains(part)), "{body}: {found:?}");
            }
        }
    }

    #[test]
    fn splits_are_read_as_percents() {
        check(r#"{"stable":90,"canary":10}"#, Ok((90.0, 10.0)));
        check(r#"{"stable":"90","canary":" 10 ","owner":"x"}"#, Ok((90.0, 10.0)));
        check(r#"{"stable":1,"canary":3}"#, Ok((25.0, 75.0)));
        check(r#"{"stable":0,"canary":0.5}"#, Ok((0.0, 100.0)));
    }

    #[test]
    fn what_is_unclear_is_no_split() {
        check(r#"{"stable":0,"canary":0}"#, Err("neither"));
        check(r#"{"stable":101,"canary":0}"#, Err("101"));
        check(r#"{"stable":-1,"canary":1}"#, Err("-1"));
        check(r#"{"stable":"NaN","canary":1}"#, Err("NaN"));
        check(r#"{"stable":null,"canary":1}"#, Err("not a number"));
        check(r#"{"stable":90}"#, Err("canary is missing"));
        check("[90,10]", Err("stable is missing"));
        check("90", Err("stable is missing"));
        check("", Err("no JSON"));
        check(r#"{"stable":90,"#, Err("no JSON"));
    }

    #[test]
    fn an_endpoint_that_keeps_the_fence_tells_whose_it_is() {
        let read = |body: &str| parse(body.as_bytes(), "bob@web1 07").expect("a split");
        let other = read(r#"{"stable":90,"canary":10,"fence":12,"holder":"eve@web2 12"}"#);
        assert_eq!(other.fence, Some(12));
        assert_eq!(other.lease.other, Some((Fence(12), Untrusted::new("eve@web2 12"))));
        let own = read(r#"{"stable":90,"canary":10,"fence":12,"holder":"bob@web1 07"}"#);
        assert!(own.lease.fenced && own.lease.other.is_none());
        assert!(!read(r#"{"stable":90,"canary":10}"#).lease.fenced);
        let access =
            |more: &str| read(&format!("{{\"stable\":90,\"canary\":10{more}}}")).lease.access;
        assert!(matches!(access(",\"writable\":true"), Access::Granted { .. }));
        assert!(matches!(access(",\"writable\":false"), Access::Denied { .. }));
        assert_eq!(access(",\"writable\":\"yes\""), Access::Unknown);
        assert_eq!(access(""), Access::Unknown);
    }

    fn check_write(status: u16, body: &str, expected: &str) {
        let answer = Answer {
            status,
            headers: std::collections::BTreeMap::new(),
            body: body.as_bytes().to_vec(),
            latency: Duration::ZERO,
            certificate_expires: None,
        };
        let found = match judge(&answer) {
            WriteAnswer::Applied => "applied".to_owned(),
            WriteAnswer::Rejected { why, newer: None } => format!("rejected: {why}"),
            WriteAnswer::Rejected { newer: Some(newer), .. } => format!("superseded by {newer}"),
            WriteAnswer::Unknown { why } => format!("unknown: {why}"),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn a_status_says_what_became_of_a_write() {
        check_write(200, "", "applied");
        check_write(204, "", "applied");
        check_write(401, r#"{"error":"no token"}"#, "rejected: answered 401: no token");
        check_write(422, "bad\u{1b}[31m", "rejected: answered 422: bad␛[31m");
        check_write(409, r#"{"error":"old","fence":12,"holder":"x"}"#, "superseded by 12");
        check_write(409, r#"{"error":"busy"}"#, "rejected: answered 409: busy");
        check_write(408, "", "unknown: answered 408");
        check_write(302, "", "unknown: answered 302");
        check_write(503, "", "unknown: answered 503");
    }
}
