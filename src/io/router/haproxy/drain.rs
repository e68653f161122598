//! Takes one server out of HAProxy's rotation and brings it back: the turn of an instance in a
//! rolling release.
//!
//! Decides when a server is drained: in state `drain`, and with no connection left. Never drains
//! the last server that serves, and never touches weights. Contract: read back before it is done;
//! doing it twice does nothing new.

use std::path::Path;
use std::time::Duration;

use engine::types::{Failure, FailureKind};

use super::{ADMIN_DRAIN, Place, ask, find, servers};
use crate::io::router::Deadline;

/// Between two looks at the connections that are left.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Drains `server`, or brings it back; what was read last, or why not.
pub async fn administer(
    socket: &Path,
    backend: &str,
    server: &str,
    drain: bool,
    deadline: Deadline,
) -> Result<String, Failure> {
    let groups = [vec![server.to_owned()], Vec::new()];
    let place = Place { socket, backend, groups: &groups };
    let all = servers(&place, deadline).await?;
    find(&place, &all, server)?;
    if drain && !all.iter().any(|other| other.name != server && other.serving() > 0) {
        let text = format!("{server} is the last server of {backend} that serves: not drained");
        return Err(Failure::new(FailureKind::Refused, text));
    }
    let word = if drain { "drain" } else { "ready" };
    let line = format!("set server {backend}/{server} state {word}");
    let reply = ask(socket, &line, deadline).await?;
    if reply != "\n" {
        let text = format!("`{line}`: {}{}", reply.trim(), super::remedy(&reply));
        return Err(Failure::new(FailureKind::Refused, text));
    }
    loop {
        let all = servers(&place, deadline).await?;
        let own = find(&place, &all, server)?;
        let as_wanted = (own.admin & ADMIN_DRAIN != 0) == drain && (drain || own.out().is_none());
        let left = if drain { connections(socket, backend, server, deadline).await? } else { 0 };
        if as_wanted && left == 0 {
            return Ok(format!("{server} is {}", if drain { "drained" } else { "ready" }));
        }
        if deadline.left() <= LOOK_EVERY {
            let s = if left == 1 { "" } else { "s" };
            let text = format!("{server} still has {left} connection{s}");
            return Err(Failure::new(FailureKind::Timeout, text));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Connections that a server has in use.
async fn connections(
    socket: &Path,
    backend: &str,
    server: &str,
    deadline: Deadline,
) -> Result<u64, Failure> {
    let line = format!("show servers conn {backend}");
    let reply = ask(socket, &line, deadline).await?;
    count(&reply, backend, server)
        .map_err(|why| Failure::new(FailureKind::Malformed, format!("`{line}`: {why}")))
}

fn count(reply: &str, backend: &str, server: &str) -> Result<u64, String> {
    let mut lines = reply.lines();
    let header = lines.find_map(|line| line.strip_prefix("# ")).ok_or("no header")?;
    let used = header.split_whitespace().position(|column| column == "used_cur");
    let used = used.ok_or("no column used_cur")?;
    let name = format!("{backend}/{server}");
    let row = lines.find(|line| line.split_whitespace().next() == Some(&name));
    let row = row.ok_or_else(|| format!("no row for {name}"))?;
    // The header has a dash for itself; the row a column for it, too.
    let cell = row.split_whitespace().nth(used).ok_or("a row that is too short")?;
    cell.parse().map_err(|_| format!("{cell:?} is no number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_found_by_their_column() {
        let reply = "# bkname/svname bkid/svid addr port - purge_delay used_cur used_max need_est \
                     unsafe_nb safe_nb idle_lim idle_cur idle_per_thr[1]\n\
                     shop/v1 3/1 127.0.0.1 80 - 5000 4 9 9 0 0 -1 0 0\n\
                     shop/v2 3/2 127.0.0.1 81 - 5000 0 2 2 0 0 -1 0 0\n\n";
        assert_eq!(count(reply, "shop", "v1"), Ok(4));
        assert_eq!(count(reply, "shop", "v2"), Ok(0));
        assert!(count(reply, "shop", "v3").is_err());
        assert!(count("Unknown command\n", "shop", "v1").is_err());
    }
}
