//! HAProxy's own counters of each server, from its runtime socket.
//!
//! Decides which columns are requests and errors. Never writes: the one command is `show stat`.
//! Contract: one connection, one command, read to its end; the reply is at most
//! [`REPLY_BYTES_MAX`] bytes.
//!
//! Errors are `hrsp_5xx + econ + eresp`: a server that is gone or cuts its answers has no 5xx in
//! its own row. `rtime` is an average over the last 1024 requests, so it is not a percentile.

use std::collections::BTreeMap;
use std::path::Path;

use engine::reading::{GroupCounters, Measurement, Series};
use engine::types::{Failure, FailureKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::io::clock;

/// A backend of ten thousand servers fits.
const REPLY_BYTES_MAX: u64 = 4 << 20;
/// `rtime` averages over this many requests.
const AVERAGED_REQUESTS: f64 = 1024.0;

pub(super) async fn look(
    socket: &Path,
    backend: &str,
    groups: &[Vec<String>; 2],
) -> Result<Measurement, Failure> {
    // A `;` or a line end would begin another command.
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.:-".contains(c);
    if backend.is_empty() || !backend.chars().all(plain) {
        let text = format!("haproxy backend {backend:?}: a name is letters, digits and _ . : -");
        return Err(Failure::new(FailureKind::Denied, text));
    }
    let place = socket.display();
    let failed = |error: std::io::Error| {
        let kind = match error.kind() {
            std::io::ErrorKind::PermissionDenied => FailureKind::Denied,
            _ => FailureKind::Unreachable,
        };
        Failure::new(kind, format!("haproxy socket {place}: {error}"))
    };
    let mut stream = UnixStream::connect(socket).await.map_err(failed)?;
    // 4 asks for the servers only, -1 for all of them.
    let command = format!("show stat {backend} 4 -1\n");
    stream.write_all(command.as_bytes()).await.map_err(failed)?;
    let mut reply = Vec::new();
    stream.take(REPLY_BYTES_MAX + 1).read_to_end(&mut reply).await.map_err(failed)?;
    let at = clock::now().wall;
    if reply.len() as u64 > REPLY_BYTES_MAX {
        let text = format!("haproxy backend {backend}: more than {REPLY_BYTES_MAX} bytes");
        return Err(Failure::new(FailureKind::Malformed, text));
    }
    let [a, b] = parse(&reply, backend, groups)?;
    Ok(Measurement::new(at, a, b))
}

fn parse(
    reply: &[u8],
    backend: &str,
    groups: &[Vec<String>; 2],
) -> Result<[GroupCounters; 2], Failure> {
    let malformed = |why: String| {
        Failure::new(FailureKind::Malformed, format!("haproxy backend {backend}: {why}"))
    };
    let text = std::str::from_utf8(reply).map_err(|_| malformed("not UTF-8".into()))?;
    let mut lines = text.lines();
    let head = lines.next().unwrap_or_default();
    let Some(head) = head.strip_prefix("# ") else {
        let said = text.trim();
        if said.is_empty() {
            return Err(malformed("an empty reply".into()));
        }
        let kind = if said.starts_with("Permission denied") {
            FailureKind::Denied
        } else {
            FailureKind::Refused
        };
        let said: String = said.chars().take(200).collect();
        return Err(Failure::new(kind, format!("haproxy backend {backend}: {said}")));
    };
    if !text.ends_with('\n') {
        return Err(malformed("the reply is cut off".into()));
    }
    let columns: BTreeMap<&str, usize> =
        head.split(',').enumerate().map(|(place, name)| (name, place)).collect();
    let column = |name: &str| {
        columns.get(name).copied().ok_or_else(|| malformed(format!("no column {name}")))
    };
    let (server, total, latency) = (column("svname")?, column("stot")?, column("rtime")?);
    let (proxy, last) = (column("pxname")?, columns.len() - 1);
    let errors = [column("hrsp_5xx")?, column("econ")?, column("eresp")?];
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    for (place, line) in lines.enumerate().filter(|(_, line)| !line.is_empty()) {
        let cells = cells(line);
        if cells.len() < last {
            return Err(malformed(format!("line {} is cut off", place + 2)));
        }
        let count = |column: usize| cells[column].parse::<u64>().ok().map(counted);
        let name = &cells[server];
        if cells[proxy] != backend || matches!(name.as_str(), "BACKEND" | "FRONTEND") {
            continue;
        }
        let row = Row {
            requests: count(total),
            // A missing part would make the sum look better than it is.
            errors: errors.iter().map(|column| count(*column)).sum(),
            latency_ms: count(latency),
        };
        rows.insert(name.clone(), row);
    }
    let known = |group: &Vec<String>| group.iter().any(|server| rows.contains_key(server));
    if !groups.iter().any(known) {
        let names = groups.concat().join(", ");
        let text = format!("haproxy backend {backend}: none of its servers is called {names}");
        return Err(Failure::new(FailureKind::Refused, text));
    }
    Ok([counters(&rows, &groups[0]), counters(&rows, &groups[1])])
}

struct Row {
    requests: Option<f64>,
    errors: Option<f64>,
    latency_ms: Option<f64>,
}

/// Counters of HAProxy stay far below the 2^53 that a float counts exactly.
#[expect(clippy::cast_precision_loss, reason = "see above")]
fn counted(value: u64) -> f64 {
    value as f64
}

fn counters(rows: &BTreeMap<String, Row>, servers: &[String]) -> GroupCounters {
    let (mut requests, mut errors) = (Series::new(), Series::new());
    let (mut weighted, mut weight) = (0.0, 0.0);
    for name in servers {
        let Some(row) = rows.get(name) else { continue };
        // Without its errors a server's requests would all look good: neither is counted.
        let (Some(total), Some(failed)) = (row.requests, row.errors) else { continue };
        requests.insert(name.clone(), total);
        errors.insert(name.clone(), failed);
        if let Some(latency) = row.latency_ms {
            let share = total.min(AVERAGED_REQUESTS);
            weighted += latency * share;
            weight += share;
        }
    }
    GroupCounters {
        errors: (!errors.is_empty()).then_some(errors),
        requests: (!requests.is_empty()).then_some(requests),
        latency_avg_ms: (weight > 0.0).then(|| weighted / weight),
        ..GroupCounters::default()
    }
}

/// The cells of one CSV line; a quoted cell may hold commas and doubled quotes.
fn cells(line: &str) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut quoted = false;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                cells.last_mut().expect("there is always one cell").push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(String::new()),
            c => cells.last_mut().expect("there is always one cell").push(c),
        }
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORDED: &[u8] = include_bytes!("../../../fixtures/metrics/haproxy-show-stat.csv");

    fn groups() -> [Vec<String>; 2] {
        [vec!["stable".into()], vec!["canary".into()]]
    }

    fn check_failure(reply: &[u8], kind: FailureKind, part: &str) {
        let Err(failure) = parse(reply, "be_app", &groups()) else { panic!("expected {part}") };
        assert_eq!(failure.kind, kind);
        assert!(failure.text.display().contains(part), "{}", failure.text);
    }

    #[test]
    fn a_recorded_reply() {
        let [a, b] = parse(RECORDED, "be_app", &groups()).expect("recorded from a real server");
        let sum = |series: Option<Series>| series.map(|s| s.into_values().sum::<f64>());
        assert_eq!((sum(a.requests), sum(a.errors)), (Some(2816.0), Some(5.0)));
        assert_eq!((sum(b.requests), sum(b.errors)), (Some(1205.0), Some(257.0)));
        assert_eq!((a.latency_avg_ms, b.latency_avg_ms), (Some(13.0), Some(46.0)));
    }

    #[test]
    fn a_missing_server_is_no_data() {
        let groups = [vec!["stable".to_owned()], vec!["gone".to_owned()]];
        let [_, b] = parse(RECORDED, "be_app", &groups).expect("one group is there");
        assert_eq!(b, GroupCounters::default());
    }

    #[test]
    fn errors_are_told() {
        check_failure(b"No such proxy.\n\n", FailureKind::Refused, "No such proxy.");
        check_failure(b"Permission denied\n\n", FailureKind::Denied, "Permission denied");
        check_failure(b"", FailureKind::Malformed, "an empty reply");
        check_failure(b"# pxname,svname\n", FailureKind::Malformed, "no column stot");
        check_failure(b"\xff", FailureKind::Malformed, "not UTF-8");
        let cut = RECORDED.windows(8).position(|part| part == b"be_app,c").expect("recorded");
        check_failure(&RECORDED[..cut + 30], FailureKind::Malformed, "is cut off");
        let line = [&RECORDED[..cut + 30], b"\n"].concat();
        check_failure(&line, FailureKind::Malformed, "line 4 is cut off");
        let head = RECORDED.iter().position(|byte| *byte == b'\n').expect("recorded");
        check_failure(&RECORDED[..=head], FailureKind::Refused, "none of its servers");
    }

    #[test]
    fn quoted_cells() {
        assert_eq!(cells("a,\"b,\"\"c\",,d"), ["a", "b,\"c", "", "d"]);
    }
}
