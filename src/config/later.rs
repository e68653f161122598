//! What the file may already say and nothing acts on yet: incidents and notifications.
//!
//! Decides only whether it is well formed. Never builds a setting. Contract: a file that passes
//! here means the same when these parts come to life; [`Named`] checks that what is named exists.

use std::collections::BTreeSet;

use super::reader::{Reader, Table};
use super::watch::{SPANS, unique};
use super::{secret, value};

/// Names given and names used, checked against each other at the end.
#[derive(Default)]
pub struct Named {
    pub plans: BTreeSet<String>,
    pub channels: BTreeSet<String>,
    used_plans: Vec<(usize, String)>,
    used_channels: Vec<(usize, String)>,
}

impl Named {
    /// The plan `name` is used where `at` stands.
    pub fn uses_plan(&mut self, at: usize, name: &str) {
        self.used_plans.push((at, name.to_owned()));
    }

    /// Reports every name that is used and never given.
    pub fn finish(self, reader: &Reader<'_>) {
        for (used, given, what) in
            [(self.used_plans, self.plans, "plan"), (self.used_channels, self.channels, "notify")]
        {
            for (at, name) in used {
                if given.contains(&name) {
                    continue;
                }
                let hint = value::nearest(&name, given.iter().map(String::as_str))
                    .map_or(String::new(), |near| format!("; did you mean `{near}`?"));
                let name = engine::types::Untrusted::new(&name);
                reader.problem(at, format!("there is no [{what}.{name}]{hint}"));
            }
        }
    }
}

fn expression(table: &mut Table<'_>, key: &'static str) {
    if let Some(text) = table.string(key)
        && let Err(why) = value::expression(&text)
    {
        table.problem(key, format!("`{key}` {why}"));
    }
}

pub fn incident(mut table: Table<'_>, seen: &mut BTreeSet<String>, named: &mut Named) {
    let name = table.need("name").name("name");
    unique(&table, seen, name.as_ref(), "incident");
    table.need("severity").word("severity", &["critical", "high", "medium", "low"]);
    expression(table.need("when"), "when");
    table.duration("for", SPANS);
    table.duration("escalate_after", SPANS);
    let plans = table.strings("actions").unwrap_or_default();
    let at = table.place_of("actions");
    named.used_plans.extend(plans.into_iter().map(|plan| (at, plan)));
    let channels = table.strings("notify").unwrap_or_default();
    let at = table.place_of("notify");
    named.used_channels.extend(channels.into_iter().map(|channel| (at, channel)));
    table.finish();
}

/// `[notify.NAME]`: one way to reach people.
pub fn channels(table: &Table<'_>, named: &mut Named) {
    let reader = table.reader;
    for (name, at, node) in table.entries() {
        if let Err(why) = value::name(&name) {
            reader.problem(at, format!("the key under `notify` {why}"));
        }
        named.channels.insert(name);
        let Some(mut channel) = reader.table("notify", "channel", "a table", node) else {
            continue;
        };
        channel.one_of(&["slack", "pagerduty"]);
        if let Some(mut slack) = channel.table("slack", "slack") {
            secret::secret(slack.need("url"), "url");
            slack.finish();
        }
        if let Some(mut pagerduty) = channel.table("pagerduty", "events") {
            secret::secret(pagerduty.need("routing_key"), "routing_key");
            pagerduty.finish();
        }
        channel.finish();
    }
}
