//! Which configuration answers: asked on new connections, and by the master's children.
//!
//! Decides when a reload is proven. Never uses a kept connection: an old worker would answer on it.

use std::time::Duration;

use engine::types::{Failure, FailureKind};
use rustix::process::Pid;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::Deadline;

/// A generation and a few headers.
const ANSWER_BYTES_MAX: u64 = 4096;
/// One question; a worker that takes longer is asked again on a new connection.
const ASK_TIMEOUT: Duration = Duration::from_millis(500);
const POLL: Duration = Duration::from_millis(5);
/// nginx tells its old workers to quit 100 ms after it started the new ones.
const OVERLAP: Duration = Duration::from_millis(110);
/// Without a generation in the answer there is no reason to wait longer than this.
const SILENCE: Duration = Duration::from_millis(300);
/// Consecutive matches where the workers cannot be watched.
const MATCHES_MIN: u32 = 6;

pub enum Proof {
    Proven,
    /// The new configuration answers, but not alone.
    Mixed(String),
    /// The old configuration answers.
    Old(String),
    /// Nobody says which one answers.
    Unseen(String),
}

/// Polls until `generation` is all that answers, or the limit.
pub async fn wait(url: &str, generation: &str, master: Pid, old: &[Pid], limit: Deadline) -> Proof {
    let started = Instant::now();
    let mut matching: Option<Instant> = None;
    let mut matches = 0_u32;
    let mut last = Proof::Unseen("there was no time left to ask".to_owned());
    while limit.left() > Duration::ZERO {
        let alive = workers(master);
        let gone =
            !old.is_empty() && old.iter().all(|pid| !alive.contains(pid) || is_leaving(*pid));
        let given = limit.left().min(ASK_TIMEOUT);
        match ask(url, given).await {
            Ok(running) if running == generation => {
                let since = *matching.get_or_insert_with(Instant::now);
                matches += 1;
                // `gone` was seen before this answer: no old worker can have given it.
                if gone || (since.elapsed() >= OVERLAP && matches >= MATCHES_MIN && old.is_empty())
                {
                    return Proof::Proven;
                }
                last = Proof::Mixed("old workers still answer".to_owned());
            }
            Ok(running) => {
                last = if matching.is_some() {
                    Proof::Mixed(format!("{running} still answers beside the new one"))
                } else {
                    Proof::Old(running)
                };
                matches = 0;
            }
            Err(failure) => {
                if started.elapsed() > SILENCE && failure.kind == FailureKind::Malformed {
                    return Proof::Unseen(failure.text.display().to_owned());
                }
                last = unanswered(last, &failure, given);
            }
        }
        sleep(POLL.min(limit.left())).await;
    }
    last
}

/// What is known after a question that nobody answered in the time that it was given.
fn unanswered(last: Proof, failure: &Failure, given: Duration) -> Proof {
    // Cut short by the limit, it says nothing new.
    let cut = given < ASK_TIMEOUT && failure.kind == FailureKind::Timeout;
    match last {
        Proof::Mixed(_) => last,
        Proof::Old(_) if cut => last,
        _ => Proof::Unseen(failure.text.display().to_owned()),
    }
}

/// The generation that one new connection shows.
pub async fn ask(url: &str, timeout: Duration) -> Result<String, Failure> {
    let (host, path) = parts(url).ok_or_else(|| {
        let text = format!("proof URL {url:?} is not http://HOST:PORT/PATH");
        Failure::new(FailureKind::Malformed, text)
    })?;
    let address = if host.contains(':') { host.to_owned() } else { format!("{host}:80") };
    let work = async {
        let mut stream = TcpStream::connect(&address).await?;
        let request = format!("GET {path} HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
        Ok::<Vec<u8>, std::io::Error>(answer)
    };
    let answer = match tokio::time::timeout(timeout, work).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => {
            let text = format!("proof {url}: {error}");
            return Err(Failure::new(FailureKind::Unreachable, text));
        }
        Err(_) => {
            return Err(Failure::new(FailureKind::Timeout, format!("proof {url} did not answer")));
        }
    };
    generation(&String::from_utf8_lossy(&answer)).map_err(|why| {
        Failure::new(FailureKind::Malformed, format!("proof {url} shows no generation: {why}"))
    })
}

fn parts(url: &str) -> Option<(&str, &str)> {
    let rest = url.strip_prefix("http://")?;
    let (host, path) = match rest.find('/') {
        Some(place) => rest.split_at(place),
        None => (rest, "/"),
    };
    let plain = |c: char| c.is_ascii_graphic();
    (!host.is_empty() && host.chars().all(plain) && path.chars().all(plain)).then_some((host, path))
}

fn generation(answer: &str) -> Result<String, String> {
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("the answer was cut off")?;
    let status = head.split_whitespace().nth(1).unwrap_or("nothing");
    if status != "200" {
        return Err(format!("it answers {status}"));
    }
    let body = body.trim();
    let (fence, hash) = body.split_once(':').ok_or("its body is something else")?;
    let plain = |c: char| c.is_ascii_alphanumeric();
    if fence.parse::<u64>().is_err() || hash.len() > 64 || !hash.chars().all(plain) {
        return Err("its body is something else".to_owned());
    }
    Ok(body.to_owned())
}

/// The children of the master; empty where the kernel does not tell.
pub fn workers(master: Pid) -> Vec<Pid> {
    let id = master.as_raw_nonzero();
    let text = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
    let ids = text.unwrap_or_default();
    ids.split_whitespace().filter_map(|id| id.parse().ok()).filter_map(Pid::from_raw).collect()
}

/// Whether the worker takes no new connections any more.
pub fn is_leaving(pid: Pid) -> bool {
    command_line(pid).is_none_or(|line| line.is_empty() || line.contains("shutting down"))
}

pub fn command_line(pid: Pid) -> Option<String> {
    let bytes = std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).ok()?;
    Some(String::from_utf8_lossy(&bytes).replace('\0', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_generation_is_one() {
        let check = |answer: &str, expected: Option<&str>| {
            assert_eq!(generation(answer).ok().as_deref(), expected, "{answer:?}");
        };
        check("HTTP/1.1 200 OK\r\nX: y\r\n\r\n7:abc\n", Some("7:abc"));
        check("HTTP/1.1 404 Not Found\r\n\r\n7:abc", None);
        check("HTTP/1.1 200 OK\r\n\r\n<html>", None);
        check("HTTP/1.1 200 OK\r\n", None);
        check("HTTP/1.1 200 OK\r\n\r\n7:\u{1b}[2J", None);
    }

    #[test]
    fn only_a_question_with_its_whole_time_takes_back_what_answered() {
        let silent = || Failure::new(FailureKind::Timeout, "did not answer");
        let old = || Proof::Old("6:abc".to_owned());
        assert!(matches!(unanswered(old(), &silent(), POLL), Proof::Old(_)));
        assert!(matches!(unanswered(old(), &silent(), ASK_TIMEOUT), Proof::Unseen(_)));
        let refused = Failure::new(FailureKind::Unreachable, "refused");
        assert!(matches!(unanswered(old(), &refused, POLL), Proof::Unseen(_)));
        let mixed = Proof::Mixed("both".to_owned());
        assert!(matches!(unanswered(mixed, &silent(), ASK_TIMEOUT), Proof::Mixed(_)));
    }

    #[test]
    fn the_url_has_one_form() {
        assert_eq!(parts("http://127.0.0.1:8/x"), Some(("127.0.0.1:8", "/x")));
        assert_eq!(parts("http://localhost:8"), Some(("localhost:8", "/")));
        assert_eq!(parts("https://localhost"), None);
        assert_eq!(parts("http://a b/"), None);
        assert_eq!(parts("http://a/\r\nX: y"), None);
    }
}
