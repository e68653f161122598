//! Routers: what moves traffic, and the groups of servers it moves it between.
//!
//! Decides which kind a router is and what a person would run by hand in its place. Never touches
//! a router, and never puts a secret into the manual command. Contract: `{a}` and `{b}` in the
//! manual command stand for the percents of the groups.

mod fallback;

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use engine::settings::Router;
use engine::types::ServiceId;
use toml::de::DeValue;

use super::reader::Table;
use super::{secret, value, watch};
use crate::io::router::nginx;
use crate::io::settings::{Fallback, HttpTarget, RouterTarget};

/// Servers of one group; a list this long was not written by a person.
const SERVERS_MAX: usize = 100;

/// HAProxy's greatest weight.
const WEIGHT_MAX: usize = 256;

/// A control endpoint answers with a few numbers.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// A write that takes longer leaves no time to read it back before the decision.
pub const TIMEOUTS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(20);
pub const TIMEOUT: Duration = Duration::from_secs(3);

type Groups = [Vec<String>; 2];

pub fn router(
    mut table: Table<'_>,
    service: ServiceId,
    names: &mut BTreeSet<String>,
    service_name: &str,
    known: &[RouterTarget],
) -> Option<(Router, RouterTarget, Option<Fallback>)> {
    let kind = table.one_of(&["haproxy", "nginx", "http", "command"]);
    let name = if table.has("name") { table.name("name") } else { kind.map(ToOwned::to_owned) };
    table.get("name");
    watch::unique(&table, names, name.as_ref(), "router of this service");
    let reread = table.duration("reread", watch::INTERVALS).unwrap_or(Duration::from_secs(5));
    if kind != Some("haproxy") {
        table.refuse(&["backend"], "belongs to haproxy routers");
    }
    let groups = groups(&mut table);
    let timeout = table.duration("timeout", TIMEOUTS).unwrap_or(TIMEOUT);
    let fallback = fallback::fallback(&mut table, kind);
    let must = matches!(kind, Some("haproxy" | "nginx"));
    if must && !["arms", "stable", "canary"].iter().any(|key| table.has(key)) {
        table.problem(
            "",
            "`router` needs `arms = { a = [..], b = [..] }`, or `stable` and `canary`: \
             the servers of each group",
        );
    }
    let target = kind.and_then(|kind| target(&mut table, kind, groups, service_name));
    if let (Some(kind), Some((target, _))) = (kind, &target)
        && known.iter().any(|other| same(other, target))
    {
        let why = "names a router that stands here already: two would overwrite each other";
        table.problem(kind, format!("`{kind}` {why}"));
    }
    table.finish();
    let (target, manual) = target?;
    let kind = kind?.to_owned();
    let words = fallback.as_ref().map(fallback::words);
    let router = Router { service, name: name?, kind, reread, timeout, manual, fallback: words };
    Some((router, target, fallback))
}

/// Both move the same weights.
fn same(one: &RouterTarget, other: &RouterTarget) -> bool {
    match (one, other) {
        (
            RouterTarget::Haproxy { socket, backend, .. },
            RouterTarget::Haproxy { socket: other, backend: name, .. },
        ) => (socket, backend) == (other, name),
        (RouterTarget::Nginx { file, .. }, RouterTarget::Nginx { file: other, .. }) => {
            file == other
        }
        (RouterTarget::Http(http), RouterTarget::Http(other)) => http.url == other.url,
        (RouterTarget::Command { set, .. }, RouterTarget::Command { set: other, .. }) => {
            set == other
        }
        (
            RouterTarget::Haproxy { .. }
            | RouterTarget::Nginx { .. }
            | RouterTarget::Http(_)
            | RouterTarget::Command { .. }
            | RouterTarget::Flag(_),
            _,
        ) => false,
    }
}

/// A router that is not there yet is no mistake, but worth a look.
fn look(table: &Table<'_>, key: &'static str, path: &Path, what: &str) {
    if !path.exists() {
        table.warn(key, format!("`{key}`: there is no {what} {}", path.display()));
    }
}

/// The servers of both groups, from `arms` or from `stable` and `canary`.
fn groups(table: &mut Table<'_>) -> Option<Groups> {
    let arms = table.table("arms", "arms");
    let short = table.has("stable") || table.has("canary");
    let groups = if table.has("arms") {
        table.refuse(&["stable", "canary"], "and `arms` say the same; keep one of them");
        arms.and_then(|mut arms| {
            let a = group(arms.need("a"), "a");
            let b = group(arms.need("b"), "b");
            arms.finish();
            Some([a?, b?])
        })
    } else if short {
        let stable = group(table.need("stable"), "stable");
        let canary = group(table.need("canary"), "canary");
        stable.zip(canary).map(|(stable, canary)| [stable, canary])
    } else {
        table.refuse(&["stable", "canary"], "");
        None
    };
    let [a, b] = groups.as_ref()?;
    if let Some(both) = a.iter().find(|server| b.contains(server)) {
        let key = if short { "canary" } else { "arms" };
        table.problem(key, format!("`{both}` stands in both groups"));
        return None;
    }
    groups
}

fn group(table: &mut Table<'_>, key: &'static str) -> Option<Vec<String>> {
    let servers = table.string_or_list(key)?;
    if servers.is_empty() || servers.len() > SERVERS_MAX {
        table.problem(key, format!("`{key}` holds 1 to {SERVERS_MAX} servers"));
        return None;
    }
    for server in &servers {
        // The wider alphabet of both routers; each checks its own on top.
        if let Err(why) = value::server(&server.replace(['[', ']'], "")) {
            table.problem(key, format!("`{key}` {why}"));
            return None;
        }
    }
    let distinct: BTreeSet<&String> = servers.iter().collect();
    if distinct.len() != servers.len() {
        table.problem(key, format!("`{key}` names a server twice"));
        return None;
    }
    Some(servers)
}

fn target(
    table: &mut Table<'_>,
    kind: &str,
    groups: Option<Groups>,
    service_name: &str,
) -> Option<(RouterTarget, String)> {
    match kind {
        "haproxy" => haproxy(table, groups),
        "nginx" => nginx_target(table, groups, service_name),
        "http" => http(table),
        _ => command(table),
    }
}

fn haproxy(table: &mut Table<'_>, groups: Option<Groups>) -> Option<(RouterTarget, String)> {
    let socket = table.path("haproxy");
    let backend = table.need("backend").string("backend");
    if let Some(Err(why)) = backend.as_deref().map(value::server) {
        table.problem("backend", format!("`backend` {why}"));
    }
    let (socket, backend, groups) = (socket?, backend?, groups?);
    look(table, "haproxy", &socket, "socket");
    if groups.iter().flatten().any(|server| server.contains(['[', ']'])) {
        let key = if table.has("arms") { "arms" } else { "stable" };
        table.problem(key, "a group holds a name outside HAProxy's alphabet");
        return None;
    }
    let mut commands = Vec::new();
    for (own, other, share) in [(0, 1, "a"), (1, 0, "b")] {
        let weight = weight(share, groups[own].len(), groups[other].len());
        for server in &groups[own] {
            commands.push(format!("set server {backend}/{server} weight {weight}"));
        }
    }
    let address = format!("UNIX-CONNECT:{}", socket.display());
    // Double quotes let the shell do the arithmetic; the names hold nothing else it would read.
    let manual =
        format!("printf \"{}\\n\" | socat - {}", commands.join("; "), value::shell_word(&address));
    Some((RouterTarget::Haproxy { socket, backend, groups }, manual))
}

/// A server's weight such that the groups' sums stand in proportion to their percents.
fn weight(share: &str, own: usize, other: usize) -> String {
    if own == other {
        return format!("{{{share}}}");
    }
    if 100 * own.max(other) <= WEIGHT_MAX {
        return format!("$(({{{share}}}*{other}))");
    }
    format!("$(({{{share}}}*{WEIGHT_MAX}*{other}/{}))", 100 * own.max(other))
}

fn nginx_target(
    table: &mut Table<'_>,
    groups: Option<Groups>,
    service_name: &str,
) -> Option<(RouterTarget, String)> {
    let mut inner = table.table("nginx", "nginx")?;
    let file = inner.need("file").path("file");
    let pid = inner.need("pid").path("pid");
    let test = inner.need("test").argv("test");
    let proof = inner.need("proof").url("proof");
    if proof.as_deref().is_some_and(|url| url.starts_with("https:")) {
        inner.problem("proof", "`proof` is asked over http:// on this host, never over https://");
    }
    if let Some(dir) = file.as_deref().and_then(Path::parent) {
        look(&inner, "file", dir, "directory");
    }
    if let Some(pid) = &pid {
        look(&inner, "pid", pid, "file");
    }
    let upstream = inner.string("upstream").unwrap_or_else(|| service_name.to_owned());
    let split_by = inner.string("split_by");
    if split_by.as_ref().is_some_and(|key| !is_split_key(key)) {
        inner.problem(
            "split_by",
            "`split_by` is a text of nginx variables such as \"$remote_addr$http_user_agent\"",
        );
    }
    // A block may be called almost anything; a variable may not.
    let more: &[u8] = if split_by.is_some() { b"_" } else { b"_.-" };
    let fits = |b: u8| b.is_ascii_alphanumeric() || more.contains(&b);
    if upstream.is_empty() || !upstream.bytes().all(fits) {
        inner.problem(
            "upstream",
            "`upstream` (by default the service's name) holds letters, digits, `_`, and without \
             `split_by` also `.` and `-`",
        );
    }
    let misfit = |file| nginx::misfit(file, &upstream, split_by.as_deref());
    if let Some(why) = file.as_deref().and_then(misfit) {
        inner.warn("file", why);
    }
    inner.finish();
    let groups = groups.filter(|groups| have_ports(table, groups));
    let (file, pid, test, proof, groups) = (file?, pid?, test?, proof?, groups?);
    let shares = shares(&groups, split_by.is_some());
    let test_words: Vec<String> = test.iter().map(|word| value::shell_word(word)).collect();
    let manual = format!(
        "edit {} (block {upstream}: {shares}), \
         then: {} && kill -HUP \"$(cat {})\"",
        value::shell_word(&file.to_string_lossy()),
        test_words.join(" "),
        value::shell_word(&pid.to_string_lossy()),
    );
    Some((RouterTarget::Nginx { file, upstream, pid, test, proof, groups, split_by }, manual))
}

/// What to write into the managed file, in words.
fn shares(groups: &Groups, by_clients: bool) -> String {
    let [a, b] = groups.each_ref().map(|servers| servers.join(" and "));
    if by_clients {
        return format!("give {{a}} % to {a}, {{b}} % to {b}");
    }
    let [of_a, of_b] = groups.each_ref().map(Vec::len);
    // Each server has a weight of its own: the larger group's must be smaller.
    let [of_b, of_a] =
        [of_a, of_b].map(|other| if of_a == of_b { String::new() } else { format!("*{other}") });
    format!(
        "set the weight of {a} to {{a}}{of_a}, {b} to {{b}}{of_b}; mark a server of weight 0 `down`"
    )
}

/// Each server is an address; says so where one is not.
fn have_ports(table: &Table<'_>, groups: &Groups) -> bool {
    let keys = if table.has("arms") { ["arms", "arms"] } else { ["stable", "canary"] };
    let mut fine = true;
    for (key, servers) in keys.into_iter().zip(groups) {
        let wrong = servers.iter().map(|server| value::address(server)).find(Result::is_err);
        if let Some(Err(why)) = wrong {
            table.problem(key, format!("`{key}`: each server {why}"));
            fine = false;
        }
    }
    fine
}

/// Variables and plain separators: nothing that could end the directive.
fn is_split_key(key: &str) -> bool {
    key.contains('$') && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"_$.:-".contains(&b))
}

fn http(table: &mut Table<'_>) -> Option<(RouterTarget, String)> {
    let node = table.get("http")?;
    if let DeValue::String(_) = node.get_ref() {
        table.problem("http", "`http` of a router is a table: { url = \"…\", token = { .. } }");
        return None;
    }
    let inner = table.table("http", "http")?;
    let (target, token) = endpoint(inner)?;
    // By a pipe: what stands among the arguments of a program is open to every user.
    let (before, header) = match token {
        Some(token) => (format!("printf 'Authorization: Bearer %s' \"{token}\" | "), "-H @- "),
        None => (String::new(), ""),
    };
    let manual = format!(
        "{before}curl -sS --fail -X PUT {header}-H 'Content-Type: application/json' \
         -d '{{\"stable\":{{a}},\"canary\":{{b}}}}' {}",
        value::shell_word(&target.url)
    );
    Some((RouterTarget::Http(target), manual))
}

/// A control endpoint, and its token as a shell would read it.
fn endpoint(mut inner: Table<'_>) -> Option<(HttpTarget, Option<String>)> {
    let token = secret::in_shell(&mut inner, "token");
    let options = watch::http_options(&mut inner, Duration::from_secs(5), BODY_BYTES_MAX);
    let url = inner.need("url").url("url");
    inner.finish();
    Some((HttpTarget { url: url?, ..options }, token))
}

fn command(table: &mut Table<'_>) -> Option<(RouterTarget, String)> {
    let mut inner = table.table("command", "command")?;
    let read = inner.need("read").argv("read");
    let set = inner.need("set").argv("set");
    let lease = inner.path("lease");
    inner.finish();
    let (read, set) = (read?, set?);
    let placeholders = ["{a}", "{b}", "{canary}", "{stable}"];
    if !set.iter().any(|word| placeholders.iter().any(|holder| word.contains(holder))) {
        table.problem(
            "command",
            "`set` has no place for the split: write `{a}`, `{b}`, `{stable}` or `{canary}`",
        );
        return None;
    }
    // Group a is stable at first; the command line speaks of the groups as they are named.
    let words: Vec<String> = set
        .iter()
        .map(|word| value::shell_word(&word.replace("{canary}", "{b}").replace("{stable}", "{a}")))
        .collect();
    Some((RouterTarget::Command { read, set, lease }, words.join(" ")))
}
