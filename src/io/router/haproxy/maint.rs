//! All traffic to one group by taking the other one's servers out: for when weights do not take.
//!
//! Decides which servers go into maintenance. Never takes out the last server that takes traffic,
//! and never brings one back: that is for a person. Contract: doing it twice does nothing new; the
//! reading counts a server in maintenance as nothing.

use engine::reading::WriteAnswer;
use engine::types::{Percent, Weights};

use super::{Place, ask, find, remedy, servers};
use crate::io::router::{Deadline, rejected, unknown};

pub async fn set(place: &Place<'_>, weights: Weights, deadline: Deadline) -> WriteAnswer {
    let [a, b] = place.groups;
    let (good, bad) = match (weights.a, weights.b) {
        (_, Percent::ZERO) => (a, b),
        (Percent::ZERO, _) => (b, a),
        (_, _) => return rejected("maintenance is for all traffic to one group"),
    };
    let all = match servers(place, deadline).await {
        Ok(all) => all,
        Err(failure) => return rejected(format!("nothing was sent: {}", failure.text)),
    };
    let serves = |name: &String| find(place, &all, name).is_ok_and(super::Server::takes_traffic);
    if !good.iter().any(serves) {
        return rejected("no server of the other group takes traffic: nobody would be left");
    }
    for name in bad {
        let line = format!("set server {}/{name} state maint", place.backend);
        match ask(place.socket, &line, deadline).await {
            Ok(reply) if reply == "\n" => {}
            Ok(reply) => {
                return unknown(format!("`{line}`: {}{}", reply.trim(), remedy(&reply)));
            }
            Err(failure) => return unknown(failure.text.display()),
        }
    }
    WriteAnswer::Applied
}
