//! A person's word that lets a release go on.
//!
//! Decides when it counts: once it is on record. Never holds up what is toward safety. Contract:
//! until then nothing more begins and no exposure rises; without a record the release is held.

use super::Release;
use crate::record::{Event, ReleaseState};
use crate::types::EffectId;

/// With the canary's place before it, where it moved it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// Nothing was said that is not on record.
    Recorded,
    /// Its record is the next.
    Said(Option<usize>),
    Recording(EffectId, Option<usize>),
}

/// Is this the record of a word that lets a release go on?
#[must_use]
pub fn is_word(event: &Event) -> bool {
    matches!(
        event,
        Event::ReleaseChanged { state: ReleaseState::Running, .. }
            | Event::Answered { yes: true, .. }
    )
}

impl Release {
    /// The record of what was said last went out under this id.
    pub fn word_went_out(&mut self, id: EffectId) {
        if let Word::Said(place) = self.word {
            self.word = Word::Recording(id, place);
        }
    }

    /// The journal's answer; is it about what was said last?
    pub fn word_recorded(&mut self, id: EffectId, failure: Option<&str>) -> bool {
        if !matches!(self.word, Word::Recording(own, _) if own == id) {
            return false;
        }
        match failure {
            None => self.word = Word::Recorded,
            Some(why) => self.word_lost(why),
        }
        true
    }

    /// No record has what a person said: it does not count.
    fn word_lost(&mut self, why: &str) {
        let (Word::Said(place) | Word::Recording(_, place)) = self.word else { return };
        self.word = Word::Recorded;
        self.answered = None;
        if let (Some(rollout), Some(place)) = (&mut self.rollout, place) {
            rollout.enter(place);
        }
        if matches!(self.state, ReleaseState::Running | ReleaseState::Asking) {
            self.hold(&format!("no record has what was said last ({why}): say it again"));
        }
    }

    /// One word at a time: the next may mean something else once this one is known.
    pub(super) fn check_word(&self) -> Result<(), String> {
        if self.word == Word::Recorded {
            return Ok(());
        }
        Err("what was said last is not on record yet".to_owned())
    }

    /// It runs, and whoever let it run is on record.
    pub(super) fn goes(&self) -> bool {
        self.state == ReleaseState::Running && self.word == Word::Recorded
    }
}
