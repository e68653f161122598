//! The other way of a router: how all traffic goes to stable when the usual way is not proven.
//!
//! Decides which ways fit which router. Never goes one. Contract: a way that passes here can be
//! gone again and again with the same effect, as far as its shape shows.

use super::{Table, endpoint};
use crate::io::settings::Fallback;

/// `fallback = { maint = true }`, `{ command = [argv] }` or `{ http = { … } }`.
pub fn fallback(table: &mut Table<'_>, kind: Option<&str>) -> Option<Fallback> {
    let mut inner = table.table("fallback", "fallback")?;
    let found = match inner.one_of(&["maint", "command", "http"]) {
        Some("maint") => {
            let on = inner.boolean("maint");
            if on == Some(false) {
                inner.problem("maint", "`maint` is true, or `fallback` is left out");
            }
            if kind.is_some_and(|kind| kind != "haproxy") {
                inner.problem("maint", "`maint` belongs to haproxy routers");
            }
            on.map(|_| Fallback::Maint)
        }
        Some("command") => inner.argv("command").map(Fallback::Command),
        Some(_) => {
            let inner = inner.table("http", "http");
            inner.and_then(endpoint).map(|(target, _)| Fallback::Http(target))
        }
        None => None,
    };
    inner.finish();
    found
}

/// What people read about it.
pub fn words(fallback: &Fallback) -> String {
    match fallback {
        Fallback::Maint => "the canary's servers into maintenance".to_owned(),
        Fallback::Command(argv) => argv.first().cloned().unwrap_or_default(),
        Fallback::Http(http) => http.url.split(['?', '#']).next().unwrap_or("").to_owned(),
    }
}
