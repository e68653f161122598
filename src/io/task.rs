//! Performs one task of a plan: a program, a call or a check.
//!
//! Decides what became of it: done, not done, or nobody knows. A late or cut-off `run` or `call`
//! may have happened, so it is unknown; a late check is a failure. Never starts a task whose
//! values or secrets are missing, never repeats one but a check that says so. Contract: returns
//! within its budget and a second, with the last [`LINES_MAX`] lines of output, without the secrets
//! that it was given.

pub mod check;
pub mod fill;
mod yaml;

use std::time::Duration;

use engine::reading::{TaskAnswer, TaskContext};
use engine::types::{Failure, FailureKind, Status, Untrusted};

use self::fill::{Spot, fill};
use crate::io::command::{self, Last, Output};
use crate::io::http::{Answer, Client, Method};
use crate::io::router::Deadline;
use crate::io::router::haproxy::drain::administer;
use crate::io::settings::{Given, HttpTarget, ProbeTarget, Program, TaskTarget};
use crate::io::{metrics, probe};

/// As much as a person reads of a program that failed.
pub const LINES_MAX: usize = 20;
/// Room for the verdict before it: a whole field is 4 KiB.
const OUTPUT_BYTES_MAX: usize = 3800;
/// Characters that fit into a field however much cleaning adds to each.
const PIECE_CHARS: usize = 200;
/// Of an answer's body, enough for a sentence.
const BODY_CHARS_MAX: usize = 500;
/// Shorter ones would blacken half of the words.
const SECRET_CHARS_MIN: usize = 5;
/// Between two looks at a probe that is not UP yet.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Longest pause between two tries of a check.
pub const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Tries that still to come share what is left of the time, at most by that many parts.
const TRIES_WITH_TIME: u32 = 4;
/// How many values that are wrong are shown.
const VALUES_SHOWN: usize = 3;

/// Performs `target` with the values of `context`.
pub async fn perform(
    client: &Client,
    target: &TaskTarget,
    context: &TaskContext,
    budget: Duration,
) -> TaskAnswer {
    match target {
        TaskTarget::Run(program) => run(program, context, budget).await,
        TaskTarget::Call { http, method, body, status } => {
            match prepare_call(http, body.as_deref(), context) {
                Ok((url, body)) => {
                    let call = Call { http, method: *method, url, body, status };
                    call.send(client, budget).await
                }
                Err(why) => failed(&why),
            }
        }
        TaskTarget::Probe(target) => look(client, target, budget).await,
        TaskTarget::Look(target) => check::look_once(client, target, context, budget).await,
        TaskTarget::Command { program, exit, output } => {
            check_command(program, *exit, output.as_ref(), context, budget).await
        }
        TaskTarget::Query { http, query, baseline, above, below } => {
            let http = HttpTarget { timeout: http.timeout.min(budget), ..http.clone() };
            let limits = (*above, *below);
            ask(client, &http, (query, baseline.as_deref()), limits, context).await
        }
        TaskTarget::File { dir, path, format, keys, names } => {
            let filled = names.iter().map(|name| fill(name, context, Spot::Plain));
            match fill(path, context, Spot::Path)
                .and_then(|path| Ok((path, filled.collect::<Result<Vec<_>, _>>()?)))
            {
                Ok((path, names)) => {
                    let wanted = check::Document {
                        path: dir.join(path),
                        format: *format,
                        keys: keys.clone(),
                        names,
                    };
                    check::file(wanted, budget).await
                }
                Err(why) => failed(&why),
            }
        }
        TaskTarget::Again { target, retries, pause } => {
            let tries = Tries { left: *retries + 1, pause: *pause };
            Box::pin(tries.perform(client, target, context, budget)).await
        }
        TaskTarget::Server { socket, backend, server, drain } => {
            let deadline = Deadline::after(budget);
            match administer(socket, backend, server, *drain, deadline).await {
                Ok(said) => passed(&said),
                Err(failure) => failed(failure.text.display()),
            }
        }
        TaskTarget::Runtime { program, bounds } => {
            check::runtime(program, bounds, context, budget).await
        }
        TaskTarget::Certificate { http, valid_for } => {
            check::certificate(client, http, *valid_for, budget).await
        }
        TaskTarget::Disk { path, free_percent, free_bytes } => {
            check::disk(path.clone(), *free_percent, *free_bytes, budget).await
        }
    }
}

/// A check that is asked again: nothing is changed by that.
struct Tries {
    left: u32,
    pause: Duration,
}

impl Tries {
    /// Until it passes, or the tries or the time are over.
    async fn perform(
        mut self,
        client: &Client,
        target: &TaskTarget,
        context: &TaskContext,
        budget: Duration,
    ) -> TaskAnswer {
        let deadline = Deadline::after(budget);
        let mut count = 0;
        loop {
            count += 1;
            // One that hangs must leave time for the next.
            let part = deadline.left() / self.left.min(TRIES_WITH_TIME);
            let answer = perform(client, target, context, part).await;
            self.left -= 1;
            let over = self.left == 0 || deadline.left() <= self.pause;
            match answer {
                TaskAnswer::Failed { output } if over && count > 1 => {
                    return failed(&format!("{output} (try {count})"));
                }
                TaskAnswer::Failed { .. } if !over => {}
                answer @ (TaskAnswer::Passed { .. }
                | TaskAnswer::Failed { .. }
                | TaskAnswer::Unknown { .. }) => return answer,
            }
            tokio::time::sleep(self.pause).await;
            self.pause = (self.pause * 2).min(PAUSE_MAX);
        }
    }
}

/// The values of a query, or how many times its baseline they are, against the limits.
async fn ask(
    client: &Client,
    http: &HttpTarget,
    (query, baseline): (&str, Option<&str>),
    (above, below): (Option<f64>, Option<f64>),
    context: &TaskContext,
) -> TaskAnswer {
    let fill = |query: &str| fill(query, context, Spot::Query);
    let (query, baseline) = match (fill(query), baseline.map(fill).transpose()) {
        (Ok(query), Ok(baseline)) => (query, baseline),
        (Err(why), _) | (_, Err(why)) => return failed(&why),
    };
    let found = metrics::values(client, http, &query).await;
    let Some(baseline) = baseline else { return judge_values(found, above, below) };
    match metrics::values(client, http, &baseline).await {
        Err(failure) => TaskAnswer::Failed { output: failure.text },
        Ok((base, 0)) if base.len() == 1 && base[0] > 0.0 => {
            let ratios = found
                .map(|(values, gaps)| (values.iter().map(|value| value / base[0]).collect(), gaps));
            judge_values(ratios, above, below)
        }
        Ok(_) => failed("the baseline is not one number above 0"),
    }
}

fn failed(why: &str) -> TaskAnswer {
    TaskAnswer::Failed { output: Untrusted::new(why) }
}

fn passed(output: &str) -> TaskAnswer {
    TaskAnswer::Passed { output: Untrusted::new(output) }
}

/// A program as it starts: every value known.
struct Ready<'a> {
    argv: Vec<String>,
    env: Vec<(&'a str, String)>,
    stdin: Option<String>,
    secrets: Vec<String>,
}

impl<'a> Ready<'a> {
    async fn new(program: &'a Program, context: &TaskContext) -> Result<Ready<'a>, String> {
        let mut secrets = Vec::new();
        let mut given = async |given: &'a Given| match given {
            Given::Text(text) => fill(text, context, Spot::Plain),
            Given::Raw(text) => Ok(text.clone()),
            Given::Secret(secret) => {
                let value = secret.value().await;
                let value = value.map_err(|why| format!("a secret is missing: {why}"))?;
                secrets.push(value.to_string());
                Ok(value.into_owned())
            }
        };
        let mut env = Vec::new();
        for (name, value) in &program.env {
            env.push((name.as_str(), given(value).await?));
        }
        let stdin = match &program.stdin {
            Some(text) => Some(given(text).await?),
            None => None,
        };
        let (first, rest) = program.argv.split_first().ok_or("no program is named")?;
        // The program itself is the user's own word.
        let mut argv = vec![first.clone()];
        for argument in rest {
            argv.push(fill(argument, context, Spot::Argument)?);
        }
        Ok(Ready { argv, env, stdin, secrets })
    }

    async fn run(&self, budget: Duration) -> (Result<Output, Failure>, String) {
        let last = Last::default();
        let stdin = self.stdin.as_deref();
        let result = command::run_with(&self.argv, &self.env, stdin, budget, &last).await;
        let secrets = self.secrets.iter().map(String::as_str);
        (result, end_of(&without(&last.words(), secrets)))
    }
}

/// `text` without what must not be shown.
fn without<'a>(text: &str, secrets: impl Iterator<Item = &'a str>) -> String {
    let mut text = text.to_owned();
    for secret in secrets.filter(|secret| secret.chars().count() >= SECRET_CHARS_MIN) {
        text = text.replace(secret, "***");
    }
    text
}

/// The last lines, cleaned, within their limits.
fn end_of(text: &str) -> String {
    let lines = text.split(['\n', '\r']).rev().filter(|line| !line.trim().is_empty());
    let mut kept: Vec<String> = Vec::new();
    let mut room = OUTPUT_BYTES_MAX;
    for line in lines.take(LINES_MAX) {
        let mut line = clean_end(line.trim_end());
        if line.len() > room {
            if kept.is_empty() {
                let from = (line.len() - room..line.len()).find(|at| line.is_char_boundary(*at));
                line = from.map_or(String::new(), |from| format!("…{}", &line[from..]));
                kept.push(line);
            }
            break;
        }
        // A line's end takes three bytes when it is shown.
        room = room.saturating_sub(line.len() + 3);
        kept.push(line);
    }
    kept.reverse();
    kept.join("\n")
}

/// The end of one line, cleaned. In pieces, because a field that is too long loses its end.
fn clean_end(line: &str) -> String {
    let chars: Vec<char> = line.chars().collect();
    let from = chars.len().saturating_sub(OUTPUT_BYTES_MAX);
    let pieces = chars[from..].chunks(PIECE_CHARS);
    pieces.map(|piece| String::from(Untrusted::new(&String::from_iter(piece)))).collect()
}

/// The verdict, and below it what the program said.
fn told(verdict: &str, said: &str) -> Untrusted {
    if said.is_empty() {
        Untrusted::new(verdict)
    } else {
        Untrusted::new(&format!("{verdict}\n{said}"))
    }
}

async fn run(program: &Program, context: &TaskContext, budget: Duration) -> TaskAnswer {
    let ready = match Ready::new(program, context).await {
        Ok(ready) => ready,
        Err(why) => return failed(&why),
    };
    let (result, said) = ready.run(budget).await;
    match result {
        Ok(Output { code: Some(0), .. }) => passed(&said),
        Ok(Output { code: Some(code), .. }) => {
            TaskAnswer::Failed { output: told(&format!("exit code {code}"), &said) }
        }
        Ok(Output { code: None, .. }) => {
            TaskAnswer::Unknown { why: told("a signal ended it", &said) }
        }
        Err(failure) => match failure.kind {
            // It never started.
            FailureKind::Unreachable | FailureKind::Denied => {
                TaskAnswer::Failed { output: failure.text }
            }
            FailureKind::Timeout | FailureKind::Refused | FailureKind::Malformed => {
                TaskAnswer::Unknown { why: told(failure.text.display(), &said) }
            }
        },
    }
}

async fn check_command(
    program: &Program,
    exit: i32,
    pattern: Option<&regex_lite::Regex>,
    context: &TaskContext,
    budget: Duration,
) -> TaskAnswer {
    let ready = match Ready::new(program, context).await {
        Ok(ready) => ready,
        Err(why) => return failed(&why),
    };
    let (result, said) = ready.run(budget).await;
    let verdict = match result {
        Ok(output) => match output.code {
            None => "a signal ended it".to_owned(),
            Some(code) if code != exit => format!("exit code {code}, not {exit}"),
            Some(_) => {
                let text = String::from_utf8_lossy(&output.stdout);
                if pattern.is_none_or(|pattern| pattern.is_match(&text)) {
                    return passed(&said);
                }
                "its output does not match".to_owned()
            }
        },
        Err(failure) => failure.text.display().to_owned(),
    };
    TaskAnswer::Failed { output: told(&verdict, &said) }
}

/// Address and body with their values.
fn prepare_call(
    http: &HttpTarget,
    body: Option<&str>,
    context: &TaskContext,
) -> Result<(String, Option<String>), String> {
    let url = fill(&http.url, context, Spot::Url)?;
    let body = body.map(|body| fill(body, context, Spot::Json)).transpose()?;
    Ok((url, body))
}

struct Call<'a> {
    http: &'a HttpTarget,
    method: Method,
    url: String,
    body: Option<String>,
    status: &'a [u16],
}

impl Call<'_> {
    async fn send(self, client: &Client, budget: Duration) -> TaskAnswer {
        let http = match self.http.resolved().await {
            Ok(http) => HttpTarget { timeout: budget, ..http },
            Err(why) => return failed(&format!("a secret is missing: {why}")),
        };
        let sent = client.send(&http, self.method, &self.url, &[], self.body).await;
        match sent {
            Ok(answer) => judge_answer(&answer, self.status, &said(&answer, &http)),
            Err(failure) => match (failure.kind, self.method) {
                // What is denied was never sent, and a look changes nothing.
                (FailureKind::Denied, _) | (_, Method::Get) => {
                    TaskAnswer::Failed { output: failure.text }
                }
                (_, Method::Put | Method::Post) => TaskAnswer::Unknown { why: failure.text },
            },
        }
    }
}

/// What a status says. Three of them say only that somebody between gave up.
fn judge_answer(answer: &Answer, wanted: &[u16], said: &str) -> TaskAnswer {
    const CUT_OFF: [u16; 3] = [408, 502, 504];
    let fits = match wanted {
        [] => (200..300).contains(&answer.status),
        some => some.contains(&answer.status),
    };
    let text = Untrusted::new(said);
    if fits {
        TaskAnswer::Passed { output: text }
    } else if CUT_OFF.contains(&answer.status) {
        TaskAnswer::Unknown { why: text }
    } else {
        TaskAnswer::Failed { output: text }
    }
}

fn said(answer: &Answer, http: &HttpTarget) -> String {
    let body = without(&String::from_utf8_lossy(&answer.body), http.secrets());
    let body: String = body.trim().chars().take(BODY_CHARS_MAX).collect();
    let gap = if body.is_empty() { "" } else { ": " };
    format!("answered {}{gap}{body}", answer.status)
}

/// Looks until the probe is UP or the budget is spent.
async fn look(client: &Client, target: &ProbeTarget, budget: Duration) -> TaskAnswer {
    let mut last = "no answer yet".to_owned();
    let looks = async {
        loop {
            let seen = probe::run(client, target).await;
            if seen.status == Status::Up {
                return;
            }
            last = format!("{} {}", seen.status, seen.message);
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    match tokio::time::timeout(budget, looks).await {
        Ok(()) => passed("UP"),
        Err(_) => failed(&format!("not UP within {budget:?}: {last}")),
    }
}

/// Every value lies between; what cannot be told fails.
fn judge_values(
    found: Result<(Vec<f64>, usize), Failure>,
    above: Option<f64>,
    below: Option<f64>,
) -> TaskAnswer {
    let (values, gaps) = match found {
        Ok(found) => found,
        Err(failure) => return TaskAnswer::Failed { output: failure.text },
    };
    if values.is_empty() || gaps > 0 {
        return failed("no data");
    }
    let wrong = |value: &&f64| {
        above.is_some_and(|above| **value <= above) || below.is_some_and(|below| **value >= below)
    };
    let shown = |values: &mut dyn Iterator<Item = &f64>| {
        let texts: Vec<String> = values.take(VALUES_SHOWN).map(ToString::to_string).collect();
        texts.join(", ")
    };
    let bad = shown(&mut values.iter().filter(wrong));
    if bad.is_empty() {
        return passed(&shown(&mut values.iter()));
    }
    let above = above.map_or(String::new(), |above| format!(" above {above}"));
    let below = below.map_or(String::new(), |below| format!(" below {below}"));
    failed(&format!("{bad} is not{above}{below}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_within_their_limits() {
        let many: Vec<String> = (0..1000).map(|n| format!("line {n}\r\n")).collect();
        let end = end_of(&many.concat());
        assert_eq!(end.lines().count(), LINES_MAX);
        assert!(end.starts_with("line 980\n") && end.ends_with("line 999"), "{end}");
        let long = end_of(&format!("{}end", "\u{1b}ä".repeat(10_000)));
        assert!(long.len() <= OUTPUT_BYTES_MAX + 4 && long.ends_with("end"), "{}", long.len());
        let wide = end_of(&format!("{}\nend", "x".repeat(3800)));
        assert_eq!(wide, "end");
        let told = told("exit code 1", &end_of(&"\u{7}\n".repeat(3000)));
        assert!(told.display().len() <= engine::text::FIELD_BYTES_MAX);
        assert_eq!(end_of("\n\n"), "");
    }

    #[test]
    fn secrets_that_come_back_are_blackened() {
        assert_eq!(
            without("a=s3cret b=s3cret c=on", ["s3cret", "on"].into_iter()),
            "a=*** b=*** c=on"
        );
    }

    fn check(values: &[f64], gaps: usize, above: Option<f64>, below: Option<f64>, word: &str) {
        let answer = judge_values(Ok((values.to_vec(), gaps)), above, below);
        let found = match answer {
            TaskAnswer::Passed { output } => format!("passed: {output}"),
            TaskAnswer::Failed { output } => format!("failed: {output}"),
            TaskAnswer::Unknown { why } => format!("unknown: {why}"),
        };
        assert_eq!(found, word);
    }

    #[test]
    fn every_value_lies_between() {
        check(&[1.0, 2.0], 0, Some(0.0), Some(3.0), "passed: 1, 2");
        check(&[1.0, 3.0, 4.0], 0, None, Some(3.0), "failed: 3, 4 is not below 3");
        check(&[0.0], 0, Some(0.0), None, "failed: 0 is not above 0");
        check(&[], 0, Some(0.0), None, "failed: no data");
        check(&[1.0], 1, Some(0.0), None, "failed: no data");
    }
}
