//! Whether HAProxy would take weights, asked without setting one.
//!
//! Decides by the level of the socket and the backend's algorithm. Never sets anything. Contract:
//! an answer that is not understood says nothing.

use engine::reading::Access;

use super::{Place, ask, remedy};
use crate::io::router::Deadline;

/// Algorithms whose weights can be changed while HAProxy runs.
const DYNAMIC: [&str; 3] = ["roundrobin", "leastconn", "random"];
const STATIC: &str = "static-rr";

pub async fn look(place: &Place<'_>, deadline: Deadline) -> Access {
    let Ok(level) = ask(place.socket, "show cli level", deadline).await else {
        return Access::Unknown;
    };
    let line = format!("show stat {} 2 -1", place.backend);
    let algorithm = ask(place.socket, &line, deadline).await.ok();
    judge(level.trim(), algorithm.as_deref().and_then(algorithm_of))
}

fn judge(level: &str, algorithm: Option<&str>) -> Access {
    match (level, algorithm) {
        ("operator" | "user", _) => {
            let remedy = remedy("Permission denied");
            Access::denied(&format!("the socket has level {level}{remedy}"))
        }
        ("admin", Some(STATIC)) => {
            let remedy = remedy("static LB algorithm");
            Access::denied(&format!("balance {STATIC} takes no weights{remedy}"))
        }
        ("admin", Some(known)) if DYNAMIC.contains(&known) => {
            Access::granted(&format!("level admin, balance {known}"))
        }
        // The others take weights or not by their hash type, which nothing shows.
        _ => Access::Unknown,
    }
}

/// The column `algo` of the one row.
fn algorithm_of(reply: &str) -> Option<&str> {
    let mut lines = reply.lines();
    let header = lines.next()?.strip_prefix("# ")?;
    let column = header.split(',').position(|name| name == "algo")?;
    lines.next()?.split(',').nth(column).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn level_and_algorithm_decide() {
        let denied = |access: &Access| matches!(access, Access::Denied { .. });
        let granted = |access: &Access| matches!(access, Access::Granted { .. });
        assert!(granted(&judge("admin", Some("roundrobin"))));
        assert!(denied(&judge("admin", Some("static-rr"))));
        assert!(denied(&judge("operator", Some("roundrobin"))));
        assert_eq!(judge("admin", Some("source")), Access::Unknown);
        assert_eq!(judge("admin", None), Access::Unknown);
        assert_eq!(judge("Unknown command", Some("roundrobin")), Access::Unknown);
        let reply = "# pxname,svname,algo,x\napp,BACKEND,leastconn,0\n\n";
        assert_eq!(algorithm_of(reply), Some("leastconn"));
        assert_eq!(algorithm_of("# pxname,algo\n\n"), None);
        assert_eq!(algorithm_of("Permission denied\n"), None);
    }
}
