//! Ways in which a driver, a disk or a source may be wrong around a release.
//!
//! Decides nothing but what is broken. Never part of the product: each defect sits between the
//! engine and the world. Contract: every one is caught by a rule that names it.

use chrono::{DateTime, Utc};
use engine::Effect;
use engine::reading::{Measurement, TaskAnswer};
use engine::record::{Entry, Event};
use engine::settings::Settings;
use engine::types::{EffectId, Failure};
use std::time::Duration;

use super::world::World;
use crate::check::Checked;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    ReadingsEchoTheWrite,
    WallForMono,
}

impl World {
    pub fn told_settings(&self) -> Settings {
        self.fleet.settings.clone()
    }

    /// What the journal gives back at a start.
    pub fn remembered(&self) -> Vec<Entry> {
        self.disk.entries.clone()
    }

    pub fn resumes_by_itself(&mut self) -> Checked {
        Ok(())
    }

    pub fn mutate(&mut self, _effects: &mut Vec<Effect>) {}

    pub fn lie(
        &mut self,
        _service: usize,
        _wall: DateTime<Utc>,
        _result: &mut Result<Measurement, Failure>,
    ) {
    }

    pub fn double(&mut self, _id: EffectId, _answer: &TaskAnswer, _after: Duration) {}

    pub fn hasten(&mut self, _id: EffectId, entry: &Entry) {
        let _ = matches!(entry.event, Event::StepStarted { .. });
    }
}
