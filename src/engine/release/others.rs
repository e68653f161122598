//! A release and the engines beside this one.
//!
//! Decides what becomes of it when another engine changes the routers. Never goes on by itself
//! then. Contract: what others are told of it names it and its service.

use super::{Doing, Release};
use crate::record::ReleaseState;

impl Release {
    /// Another engine changed the routers: nothing more is sent until a person has looked.
    pub fn superseded(&mut self, why: &str) {
        if matches!(self.doing, Doing::Splitting(Some(_)))
            && self.state != ReleaseState::WalkingBack
        {
            self.doing = Doing::Acting;
        }
        // One that waits already, or is on its way back, goes on as it does.
        let _ = self.pause(why);
    }

    /// What other engines are told of it: "r3 canary of checkout".
    #[must_use]
    pub fn in_words(&self) -> String {
        let facts = &self.facts;
        let what = if facts.version.is_empty() { &facts.plan } else { &facts.version };
        format!("release r{} {what} of {}", facts.release, facts.service)
    }
}
