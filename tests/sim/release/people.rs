//! The operators of a release world, two at once.
//!
//! Decides what is asked and when it is asked again. Never touches a router or the disk. Contract:
//! what they ask follows from what they see, now and then from what they saw before.

use std::time::Duration;

use engine::command::Command;
use engine::record::ReleaseState;
use engine::snapshot::ServiceView;
use engine::types::{Percent, Untrusted};

use super::world::{Happening, World};
use crate::check::Checked;

/// A journal that has not answered for that long does not answer.
pub const PATIENCE_MIN: Duration = Duration::from_secs(10);

/// In force at once, whatever the journal does.
pub fn restricts(command: &Command) -> bool {
    matches!(
        command,
        Command::Freeze { .. }
            | Command::StopTheLine { .. }
            | Command::Pause { .. }
            | Command::Mark { bad: true, .. }
            | Command::Trigger { off_seconds: 0, .. }
            | Command::Reply { yes: false, .. }
    )
}

/// A release goes on by it, once it is on record.
pub fn lets_go_on(command: &Command) -> bool {
    matches!(
        command,
        Command::Resume { .. } | Command::Promote { .. } | Command::Reply { yes: true, .. }
    )
}

impl World {
    pub(super) fn operate(&mut self) -> Checked {
        let Some(shown) = self.shown() else { return Ok(()) };
        let view = shown.services[self.any(shown.services.len())].clone();
        let command = self.choose(&view);
        let submission = self.new_submission(command, true);
        // A second person saw the same screen.
        let other = self.rng.chance(100).then(|| self.choose(&view));
        if self.rng.chance(150) {
            let wait = self.rng.millis(1, 5000);
            self.after(wait, Happening::Retry(submission.clone()));
        }
        let seen = submission.expected;
        self.submit(submission)?;
        if let Some(command) = other {
            let mut submission = self.new_submission(command, true);
            submission.expected = seen;
            self.submit(submission)?;
        }
        Ok(())
    }

    fn choose(&mut self, view: &ServiceView) -> Command {
        let (service, reason) = (view.name.clone(), Untrusted::new("drawn"));
        let dice = self.rng.below(100);
        let release = view.release.as_ref().filter(|release| release.result.is_none());
        match release.map(|release| release.state) {
            None => match dice {
                0..65 => self.deploy(service, reason),
                65..75 => {
                    let place = self.place(&service);
                    let plan = format!("chore{place}");
                    Command::Run { plan, service, version: String::new(), reason }
                }
                75..79 => {
                    let percent = self.rng.pick(&[0, 10, 50]);
                    let canary = Percent::new(percent).expect("a percent");
                    Command::Split { service, canary, reason }
                }
                79..88 => Command::Rollback { service, reason },
                _ => self.around(service, reason),
            },
            Some(ReleaseState::Asking) => match dice {
                0..75 => Command::Reply { service, yes: dice < 62, reason },
                75..80 => Command::Pause { service, reason },
                80..86 => Command::Abort { service, reason },
                86..92 => Command::Rollback { service, reason },
                _ => self.around(service, reason),
            },
            Some(ReleaseState::Paused | ReleaseState::Held) => match dice {
                0..62 => Command::Resume { service, reason },
                62..74 => Command::Promote { service, reason },
                74..82 => Command::Abort { service, reason },
                82..90 => Command::Rollback { service, reason },
                _ => self.around(service, reason),
            },
            Some(ReleaseState::Running | ReleaseState::WalkingBack | ReleaseState::Ended) => {
                match dice {
                    0..20 => Command::Pause { service, reason },
                    20..35 => Command::Promote { service, reason },
                    35..45 => Command::Abort { service, reason },
                    45..55 => Command::Rollback { service, reason },
                    55..60 => self.deploy(service, reason),
                    60..66 => Command::Resume { service, reason },
                    _ => self.around(service, reason),
                }
            }
        }
    }

    fn deploy(&mut self, service: String, reason: Untrusted) -> Command {
        let kind = self.rng.pick(&["g", "g", "g", "b", "b", "s"]);
        let version = format!("{kind}{}", self.rng.below(100));
        Command::Deploy { service, version, hotfix: self.rng.chance(60), reason }
    }

    /// What is said around releases.
    fn around(&mut self, service: String, reason: Untrusted) -> Command {
        let seconds = self.rng.pick(&[5, 20, 60]);
        let scope = self.rng.chance(500).then(|| service.clone());
        match self.rng.below(10) {
            0..2 => Command::Freeze { service: scope, seconds, reason },
            2..4 => Command::Thaw { service: scope, reason },
            4 => Command::StopTheLine { seconds, reason },
            5..7 => {
                let off_seconds = self.rng.pick(&[0, 30, 600]);
                Command::Trigger { service, trigger: 0, off_seconds, reason }
            }
            7..9 => {
                let version = format!("{}{}", self.rng.pick(&["g", "b"]), self.rng.below(100));
                Command::Mark { service, version, bad: self.rng.chance(500), reason }
            }
            _ => Command::Verify { service },
        }
    }
}
