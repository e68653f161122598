//! The engine's part in incidents of every source: readings, and what people do with them.
//!
//! Decides who is asked to take or escalate one, and puts on record what is said of it. Never
//! decides when one opens. Contract: a rest that is over is on record before anybody is told.

use super::{Engine, Response};
use crate::Effect;
use crate::command::Submission;
use crate::ledger::Purpose;
use crate::notice::Stage;
use crate::reading::AlertState;
use crate::record::Event;
use crate::schedule::Timer;
use crate::triage::{Said, Say};
use crate::types::{Actor, EffectId, Failure, FeedId, Now, Untrusted};

impl Engine {
    pub(super) fn feed_read(
        &mut self,
        id: EffectId,
        feed: FeedId,
        result: Result<crate::reading::FeedReading, Failure>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let state = &mut self.feeds[feed.index()];
        let Some(next) = state.poll.answered(id, now, &mut self.rng) else { return };
        self.schedule.set(Timer::Feed(feed), next);
        self.dirty.sources = true;
        if let Some(reading) = state.read(result, now) {
            self.dirty.incidents = true;
            for event in self.board.read(feed, self.settings.feed(feed), reading, now) {
                self.note(event, now, effects);
            }
        }
        self.look_at_environment(now, effects);
    }

    pub(super) fn responded(
        &mut self,
        id: EffectId,
        key: &str,
        result: Result<(), Failure>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let Some(response) = self.responses.remove(&id) else { return };
        let text = match &result {
            Ok(()) => Untrusted::new("done"),
            Err(failure) => failure.text.clone(),
        };
        let verb = if response.comment.is_some() { "acknowledge" } else { "escalate" };
        match result {
            Ok(()) if response.comment.is_some() => {
                self.board.set_state(key, AlertState::Acknowledged);
                self.board.set_pending(key, "");
            }
            Ok(()) => self.board.set_pending(key, "escalated"),
            Err(failure) => {
                self.board.set_pending(key, &format!("{verb} failed: {}", failure.text));
            }
        }
        let key = key.to_owned();
        let event = match response.comment {
            Some(comment) => Event::Acknowledged { key, comment, result: text },
            None => Event::Escalated { key, result: text },
        };
        let append = self.id();
        let effect = self.ledger.append(append, now, response.actor, event, Purpose::Note, false);
        effects.push(effect);
        self.schedule.set(Timer::Feed(response.feed), now.mono);
        self.dirty.incidents = true;
    }

    pub(super) fn respond(
        &mut self,
        submission: &Submission,
        key: &str,
        comment: Option<&Untrusted>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<(), String> {
        let Some((feed, fingerprint)) = self.board.origin(key) else {
            return Err(format!("no open incident {key}"));
        };
        let allowed = self.board.view(key).is_some_and(|view| match comment {
            Some(_) => view.can_acknowledge,
            None => view.can_escalate,
        });
        let verb = submission.command.verb();
        if !allowed {
            return Err(format!("the feed of {key} cannot {verb}"));
        }
        let actor = submission.actor.clone();
        let key = key.to_owned();
        self.dirty.incidents = true;
        let Some(feed) = feed else {
            let Some(comment) = comment.cloned() else {
                self.escalate(&key, actor, "done", now, effects);
                return Ok(());
            };
            self.board.set_state(&key, AlertState::Acknowledged);
            let (own, result) = (key.clone(), Untrusted::new("done"));
            let event = Event::Acknowledged { key: own, comment, result };
            self.jot(actor, event, false, now, effects);
            self.acknowledged(&key, now, effects);
            return Ok(());
        };
        let id = self.id();
        self.board.set_pending(&key, if comment.is_some() { "acking…" } else { "escalating…" });
        let response = Response { actor: actor.clone(), comment: comment.cloned(), feed };
        self.responses.insert(id, response);
        effects.push(match comment.cloned() {
            Some(comment) => Effect::Acknowledge { id, feed, fingerprint, key, actor, comment },
            None => Effect::Escalate { id, feed, fingerprint, key, actor },
        });
        Ok(())
    }

    /// What a person says of an open incident, whatever its feed.
    pub(super) fn triage(
        &mut self,
        submission: &Submission,
        key: &str,
        say: Say,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<(), String> {
        if self.board.view(key).is_none() {
            return Err(format!("no open incident {key}"));
        }
        let (key, said) = (key.to_owned(), say.said(now)?);
        self.jot(submission.actor.clone(), Event::Triaged { key, said }, false, now, effects);
        self.escalate_due(now, effects);
        Ok(())
    }

    /// Ends the rests that are over; when the next one is.
    pub(super) fn wake_incidents(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let (due, next) = self.board.rested(now);
        for key in due {
            let reason = Untrusted::new("its time is over");
            let said = Said::Snoozed { until: None, reason };
            let event = Event::Triaged { key: key.clone(), said };
            self.jot(Actor::engine(), event, true, now, effects);
            let waits = |state| state == AlertState::Triggered;
            if self.board.view(&key).is_some_and(|view| waits(view.state)) {
                let channels = self.channels_of(&key, false);
                self.tell(&channels, &key, Stage::Opened, now, effects);
            }
        }
        if let Some(next) = next {
            self.schedule.set(Timer::Rest, next);
        }
    }
}
