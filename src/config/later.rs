//! Names that are used in one part of the file and given in another.
//!
//! Decides whether each that is used is there. Never builds a setting. Contract: every name is told
//! once, where it is used.

use std::collections::BTreeSet;

use super::reader::Reader;
use super::value;

/// Names given and names used, checked against each other at the end.
#[derive(Default)]
pub struct Named {
    pub plans: BTreeSet<String>,
    pub channels: BTreeSet<String>,
    pub used_plans: Vec<(usize, String)>,
    pub used_channels: Vec<(usize, String)>,
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
