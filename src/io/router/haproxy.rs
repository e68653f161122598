//! HAProxy by its runtime socket.
//!
//! Decides the weight of each server and what `show servers state` says. Never sends a percent, a
//! second command on one connection, or `ready` to a server that a person took out. Contract: the
//! good is raised before the bad is lowered; success is exactly an empty line.

pub mod access;
pub mod drain;
pub mod maint;

use std::path::Path;

use engine::reading::{Lease, SplitReading, WriteAnswer};
use engine::types::{Failure, FailureKind, Untrusted, Weights};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::weights::{check_share, server_weights};
use super::{Deadline, rejected, unknown};

/// Thousands of servers fit; a socket that never ends does not.
const REPLY_BYTES_MAX: u64 = 1024 * 1024;

/// Bits of `srv_admin_state`: forced, inherited, configured and resolution maintenance.
const ADMIN_MAINT: u32 = 0x27;
/// Forced and inherited drain.
const ADMIN_DRAIN: u32 = 0x18;

/// `srv_op_state` of a server that runs; below it is down or starting, above it stops.
const OP_RUNNING: u32 = 2;

/// Which servers of which backend, behind which socket.
pub struct Place<'a> {
    pub socket: &'a Path,
    pub backend: &'a str,
    pub groups: &'a [Vec<String>; 2],
}

/// One row of `show servers state`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Server {
    name: String,
    weight: u32,
    admin: u32,
    op: u32,
}

impl Server {
    fn out(&self) -> Option<&'static str> {
        if self.admin & ADMIN_MAINT != 0 {
            Some("maint")
        } else if self.admin & ADMIN_DRAIN != 0 {
            Some("drain")
        } else {
            None
        }
    }
    /// Up, in rotation and with a weight.
    fn takes_traffic(&self) -> bool {
        self.serving() > 0 && self.op == OP_RUNNING
    }
    /// What it gets of new traffic: nothing in maintenance or drain.
    fn serving(&self) -> u32 {
        if self.out().is_some() { 0 } else { self.weight }
    }
}

pub async fn set(place: &Place<'_>, weights: Weights, deadline: Deadline) -> WriteAnswer {
    let servers = match servers(place, deadline).await {
        Ok(servers) => servers,
        Err(failure) => return rejected(format!("nothing was sent: {}", failure.text)),
    };
    let plan = match plan(place, &servers, weights) {
        Ok(plan) => plan,
        Err(why) => return rejected(why),
    };
    for (sent, (name, weight)) in plan.iter().enumerate() {
        let line = format!("set server {}/{name} weight {weight}", place.backend);
        match ask(place.socket, &line, deadline).await {
            Ok(reply) if reply == "\n" => {}
            Ok(reply) if reply.is_empty() => {
                return unknown(format!("the reply to `{line}` was cut off"));
            }
            Ok(reply) => {
                let why = format!("`{line}`: {}{}", reply.trim(), remedy(&reply));
                return if sent == 0 {
                    rejected(why)
                } else {
                    unknown(format!("{why} ({sent} of {} weights were set)", plan.len()))
                };
            }
            Err(failure) if sent == 0 && failure.kind != FailureKind::Timeout => {
                return rejected(failure.text.display());
            }
            Err(failure) => return unknown(failure.text.display()),
        }
    }
    WriteAnswer::Applied
}

pub async fn read(place: &Place<'_>, deadline: Deadline) -> Result<SplitReading, Failure> {
    split(place, &servers(place, deadline).await?)
}

/// What to send, in order: weights that rise first, so that the sum is never zero on the way.
fn plan(
    place: &Place<'_>,
    servers: &[Server],
    weights: Weights,
) -> Result<Vec<(String, u16)>, String> {
    let [group_a, group_b] = place.groups;
    let shares = [(weights.a, group_a, "a"), (weights.b, group_b, "b")];
    for (percent, group, letter) in shares {
        if percent.get() > 0 && group.is_empty() {
            return Err(format!("group {letter} has no server to take {percent}"));
        }
    }
    let (of_a, of_b) = server_weights(weights.a, weights.b, group_a.len(), group_b.len());
    check_share(weights, (of_a, group_a.len()), (of_b, group_b.len()))?;
    let mut serving = 0_u32;
    let mut waiting = Vec::new();
    let mut rising = Vec::new();
    let mut rest = Vec::new();
    for (weight, group) in [(of_a, group_a), (of_b, group_b)] {
        for name in group {
            let server = find(place, servers, name).map_err(|f| f.text.display().to_owned())?;
            match server.out() {
                Some(state) if weight > 0 => waiting.push(format!("{name} is in {state}")),
                Some(_) => {}
                None => serving += u32::from(weight),
            }
            let list = if u32::from(weight) > server.weight { &mut rising } else { &mut rest };
            list.push((name.clone(), weight));
        }
    }
    if serving == 0 {
        return Err(format!(
            "no server would take traffic: {}; `set server {}/NAME state ready` brings one back",
            waiting.join(", "),
            place.backend
        ));
    }
    rising.append(&mut rest);
    Ok(rising)
}

fn split(place: &Place<'_>, servers: &[Server]) -> Result<SplitReading, Failure> {
    let mut sums = [0.0, 0.0];
    let mut notes = Vec::new();
    for (sum, group) in sums.iter_mut().zip(place.groups) {
        for name in group {
            let server = find(place, servers, name)?;
            *sum += f64::from(server.serving());
            match (server.out(), server.op) {
                (Some(state), _) => notes.push(format!("{name} in {state}")),
                (None, 0) => notes.push(format!("{name} down")),
                (None, 3) => notes.push(format!("{name} stopping")),
                (None, 1..) => {}
            }
        }
    }
    for other in servers {
        let known = place.groups.iter().flatten().any(|name| *name == other.name);
        if !known && other.serving() > 0 {
            notes.push(format!("{} has weight {} in no group", other.name, other.weight));
        }
    }
    let total = sums[0] + sums[1];
    if total <= 0.0 {
        let text = format!("no server of {} takes traffic: {}", place.backend, notes.join(", "));
        return Err(Failure::new(FailureKind::Refused, text));
    }
    Ok(SplitReading {
        a: 100.0 * sums[0] / total,
        b: 100.0 * sums[1] / total,
        fence: None,
        note: Untrusted::new(&notes.join(", ")),
        lease: Lease::default(),
    })
}

fn find<'s>(place: &Place<'_>, servers: &'s [Server], name: &str) -> Result<&'s Server, Failure> {
    servers.iter().find(|server| server.name == name).ok_or_else(|| {
        let text = format!("server {name} is not in backend {}", place.backend);
        Failure::new(FailureKind::Refused, text)
    })
}

async fn servers(place: &Place<'_>, deadline: Deadline) -> Result<Vec<Server>, Failure> {
    for name in place.groups.iter().flatten().map(String::as_str).chain([place.backend]) {
        if !is_name(name) {
            let text = format!("{name:?} is not a name: letters, digits, _ . : - only");
            return Err(Failure::new(FailureKind::Malformed, text));
        }
    }
    let line = format!("show servers state {}", place.backend);
    let reply = ask(place.socket, &line, deadline).await?;
    if !reply.starts_with("1\n") && !reply.trim().is_empty() {
        let text = format!("`{line}`: {}{}", reply.trim(), remedy(&reply));
        return Err(Failure::new(FailureKind::Refused, text));
    }
    if !reply.ends_with("\n\n") {
        let text = format!("the reply to `{line}` was cut off after {} bytes", reply.len());
        return Err(Failure::new(FailureKind::Malformed, text));
    }
    parse(&reply).map_err(|why| Failure::new(FailureKind::Malformed, format!("`{line}`: {why}")))
}

fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | ':' | '-');
    !name.is_empty() && name.chars().all(plain)
}

fn remedy(reply: &str) -> &'static str {
    if reply.contains("Permission denied") {
        " (the stats socket needs `level admin`)"
    } else if reply.contains("static LB algorithm") {
        " (use `balance roundrobin` or `leastconn`)"
    } else {
        ""
    }
}

/// Columns by their header: their order is not promised.
fn parse(reply: &str) -> Result<Vec<Server>, String> {
    let mut lines = reply.lines().skip_while(|line| !line.starts_with("# "));
    let header: Vec<&str> = match lines.next() {
        Some(line) => line.split_whitespace().skip(1).collect(),
        None => return Err("no header".to_owned()),
    };
    let place = |name: &str| {
        header.iter().position(|column| *column == name).ok_or(format!("no column {name}"))
    };
    let (name, weight) = (place("srv_name")?, place("srv_uweight")?);
    let (admin, op) = (place("srv_admin_state")?, place("srv_op_state")?);
    lines
        .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
        .map(|line| {
            let row: Vec<&str> = line.split_whitespace().collect();
            let number = |place: usize| row.get(place).and_then(|text| text.parse::<u32>().ok());
            match (row.get(name), number(weight), number(admin), number(op)) {
                (Some(name), Some(weight), Some(admin), Some(op)) => {
                    Ok(Server { name: (*name).to_owned(), weight, admin, op })
                }
                (None, ..) | (_, None, ..) | (_, _, None, _) | (.., None) => {
                    Err(format!("unreadable row {line:?}"))
                }
            }
        })
        .collect()
}

/// One command on one connection, its reply read to the end.
async fn ask(socket: &Path, line: &str, deadline: Deadline) -> Result<String, Failure> {
    let shown = socket.display();
    if deadline.left().is_zero() {
        // A process that was stopped must not send what it wanted long ago.
        let text = format!("no time left for `{line}`: not sent");
        return Err(Failure::new(FailureKind::Timeout, text));
    }
    let work = async {
        let mut stream = UnixStream::connect(socket).await?;
        stream.write_all(format!("{line}\n").as_bytes()).await?;
        let mut reply = Vec::new();
        stream.take(REPLY_BYTES_MAX).read_to_end(&mut reply).await?;
        Ok::<Vec<u8>, std::io::Error>(reply)
    };
    match tokio::time::timeout(deadline.left(), work).await {
        Ok(Ok(reply)) => Ok(String::from_utf8_lossy(&reply).into_owned()),
        Ok(Err(error)) => Err(socket_failure(socket, &error)),
        Err(_) => {
            let text = format!("no answer from {shown} to `{line}` in time");
            Err(Failure::new(FailureKind::Timeout, text))
        }
    }
}

fn socket_failure(socket: &Path, error: &std::io::Error) -> Failure {
    use std::io::ErrorKind;
    let shown = socket.display();
    match error.kind() {
        ErrorKind::NotFound => Failure::new(
            FailureKind::Unreachable,
            format!("no socket at {shown}: does HAProxy run, with `stats socket {shown}`?"),
        ),
        ErrorKind::PermissionDenied => Failure::new(
            FailureKind::Denied,
            format!(
                "no permission for {shown}: give the stats socket `mode 660` and a `group`, and \
                 add the engine's user to that group"
            ),
        ),
        _ => Failure::new(FailureKind::Unreachable, format!("{shown}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use engine::types::Percent;

    use super::*;

    fn state(rows: &[(&str, u32, u32, u32)]) -> Vec<Server> {
        let server = |(name, weight, admin, op): &(&str, u32, u32, u32)| Server {
            name: (*name).to_owned(),
            weight: *weight,
            admin: *admin,
            op: *op,
        };
        rows.iter().map(server).collect()
    }

    fn groups() -> [Vec<String>; 2] {
        [vec!["blue".to_owned()], vec!["green".to_owned()]]
    }

    fn place(groups: &[Vec<String>; 2]) -> Place<'_> {
        Place { socket: Path::new("/nowhere"), backend: "be", groups }
    }

    #[test]
    fn the_good_is_raised_before_the_bad_is_lowered() {
        let groups = groups();
        let servers = state(&[("blue", 100, 0, 2), ("green", 0, 0, 2)]);
        let weights = Weights { a: Percent::ZERO, b: Percent::FULL };
        let plan = plan(&place(&groups), &servers, weights).expect("possible");
        assert_eq!(plan, [("green".to_owned(), 100), ("blue".to_owned(), 0)]);
    }

    #[test]
    fn a_plan_that_leaves_nobody_serving_is_refused() {
        let groups = groups();
        let servers = state(&[("blue", 100, 0, 2), ("green", 0, 1, 0)]);
        let weights = Weights { a: Percent::ZERO, b: Percent::FULL };
        let why = plan(&place(&groups), &servers, weights).expect_err("refused");
        assert!(why.contains("green is in maint"), "{why}");
    }

    #[test]
    fn a_server_in_maintenance_counts_as_nothing() {
        let groups = groups();
        let servers = state(&[("blue", 90, 0, 2), ("green", 10, 1, 0)]);
        let reading = split(&place(&groups), &servers).expect("readable");
        assert!((reading.a - 100.0).abs() < f64::EPSILON);
        assert_eq!(reading.note.display(), "green in maint");
    }

    #[test]
    fn names_cannot_start_a_second_command() {
        for bad in ["", "a;b", "a b", "a\nb", "a/b", "ä"] {
            assert!(!is_name(bad), "{bad:?}");
        }
        assert!(is_name("srv-1.a:80_x"));
    }
}
