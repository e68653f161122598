//! Feature flags: routers of their own kind, which say how many percent something is on for.
//!
//! Decides where a flag is read and set. Never decides its percent. Contract: a flag is a service
//! without probes, whose one router gives group b what is on.

use std::collections::BTreeSet;
use std::time::Duration;

use engine::settings::Router;
use engine::types::ServiceId;

use super::reader::Table;
use super::{route, secret, value, watch};
use crate::io::http::Method;
use crate::io::settings::{FlagPlace, FlagTarget, HttpTarget, RouterTarget};

/// A document that is deeper was not written by people.
const KEY_PARTS_MAX: usize = 16;

/// The router of a flag; its name is the flag's kind.
pub fn router(table: &mut Table<'_>, service: ServiceId) -> Option<(Router, RouterTarget)> {
    let kind = table.one_of(&["http", "file"]);
    let reread = table.duration("reread", watch::INTERVALS).unwrap_or(Duration::from_secs(5));
    let timeout = table.duration("timeout", route::TIMEOUTS).unwrap_or(route::TIMEOUT);
    let key = table.string("key").unwrap_or_else(|| "percent".to_owned());
    let parts: Vec<String> = key.split('.').map(str::to_owned).collect();
    if parts.len() > KEY_PARTS_MAX || parts.iter().any(String::is_empty) {
        table.problem("key", "`key` is a dotted path such as \"flags.new-checkout\"");
    }
    let (place, manual) = if kind? == "http" {
        http(table, &parts)?
    } else {
        let path = table.path("file")?;
        if !path.is_file() {
            table.warn("file", format!("`file`: there is no file {}", path.display()));
        }
        let manual = format!("set {key} to {{b}} in {}", path.display());
        (FlagPlace::File(path), manual)
    };
    let target = RouterTarget::Flag(FlagTarget { place, key: parts });
    let (name, kind) = (kind?.to_owned(), "flag".to_owned());
    let fallback = None;
    Some((Router { service, name, kind, reread, timeout, manual, fallback }, target))
}

fn http(table: &mut Table<'_>, key: &[String]) -> Option<(FlagPlace, String)> {
    let mut inner = table.table("http", "flag_http")?;
    let token = secret::in_shell(&mut inner, "token");
    let options = watch::http_options(&mut inner, Duration::from_secs(5), route::BODY_BYTES_MAX);
    let (method, word) = match inner.word("method", &["PUT", "POST"]) {
        Some("POST") => (Method::Post, "POST"),
        Some(_) | None => (Method::Put, "PUT"),
    };
    let url = inner.need("url").url("url");
    inner.finish();
    let target = HttpTarget { url: url?, ..options };
    // By a pipe: what stands among the arguments of a program is open to every user.
    let (before, header) = match token {
        Some(token) => (format!("printf 'Authorization: Bearer %s' \"{token}\" | "), "-H @- "),
        None => (String::new(), ""),
    };
    let body = key.iter().rev().fold("{b}".to_owned(), |inner, part| {
        format!("{{{}:{inner}}}", serde_json::Value::from(part.as_str()))
    });
    let manual = format!(
        "{before}curl -sS --fail -X {word} {header}-H 'Content-Type: application/json' -d {} {}",
        value::shell_word(&body),
        value::shell_word(&target.url)
    );
    Some((FlagPlace::Http { http: target, method }, manual))
}

/// Two flags at one place would overwrite each other.
pub fn is_new(table: &Table<'_>, own: &FlagTarget, seen: &mut BTreeSet<(String, String)>) {
    let place = match &own.place {
        FlagPlace::Http { http, .. } => http.url.clone(),
        FlagPlace::File(path) => path.display().to_string(),
    };
    if !seen.insert((place, own.key.join("."))) {
        table.problem("key", "there is already a flag at this place");
    }
}
