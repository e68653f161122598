//! How a release that went forward ends.
//!
//! Decides what its end says, and whether the groups change roles. Contract: they change only where
//! all the traffic is known to be on what was not stable: by the journal, or by what every router
//! shows where a restart lost the proof.

use super::{Doing, Facts, Move, Release, percent};
use crate::record::{Event, ReleaseKind, ReleaseResult};
use crate::settings::Action;
use crate::types::{Percent, Untrusted};

impl Release {
    /// All its steps are done.
    pub(super) fn finish(&mut self, facts: &Facts) -> Option<Move> {
        let deploy = self.facts.kind == ReleaseKind::Deploy;
        let switches = self.steps.iter().any(|step| step.action == Action::Switch);
        let lost = facts.route.set.is_none() && facts.route.has_routers() && (deploy || switches);
        let shown = facts.route.exposure();
        if lost && shown.is_none() {
            "its steps are done, the proof of the split is lost: every router must be read first"
                .clone_into(&mut self.sentence);
            return None;
        }
        let all = !facts.route.has_routers()
            || facts.route.set == Some(Percent::FULL)
            || (lost && facts.route.shows(Percent::FULL));
        if deploy && !all {
            let set = percent(facts.route.set);
            self.hold(&format!("its steps are done, but the split is {set}: abort it"));
            return self.next(facts);
        }
        self.flips = deploy || (switches && all);
        let sentence = match (self.flips, shown) {
            (true, _) if deploy => "finalised: the arms change roles".to_owned(),
            (true, _) => "all steps are done: the arms change roles".to_owned(),
            (false, Some(shown)) if lost => format!(
                "all steps are done; the proof of the switch is lost and the canary has up to \
                 {shown:.0} %: the arms keep their roles"
            ),
            (false, _) => "all steps are done".to_owned(),
        };
        self.doing = Doing::Closing;
        self.back.ending = ReleaseResult::Good;
        self.sentence = sentence;
        Some(self.closing(facts))
    }

    pub(super) fn closing(&self, facts: &Facts) -> Move {
        let flips = self.back.ending == ReleaseResult::Good && self.flips;
        let stable = if flips { facts.route.stable.other() } else { facts.route.stable };
        let event = Event::ReleaseEnded {
            release: self.facts.release,
            service: self.facts.service.clone(),
            version: self.facts.version.clone(),
            result: self.back.ending,
            stable,
            sentence: Untrusted::new(&self.sentence),
            down_ms: self.downtime.millis(),
        };
        Move::Record { event, first: true }
    }
}
