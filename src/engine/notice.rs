//! What people are told through channels: a queue that survives a restart.
//!
//! Decides which notice goes out next, when one is tried again and when it is given up. Never
//! sends. Contract: pending is exactly what the journal has queued and not ended, at most
//! [`QUEUE_MAX`]; each channel gets one at a time, in their order; one that was under way at a
//! restart is sent again, under the same number.

use std::collections::VecDeque;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::reading::NotifyAnswer;
use crate::record::{Entry, Event};
use crate::settings::Channel;
use crate::snapshot::SourceView;
use crate::types::{ChannelId, EffectId, Now, Severity, Time, Untrusted};

/// More than this tells nobody anything new.
pub const QUEUE_MAX: usize = 200;

/// With the pauses between them, about as long as [`AGE_MAX`].
const TRIES_MAX: u32 = 12;

/// What is older than this is no news any more.
const AGE_MAX: Duration = Duration::from_hours(1);

const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_mins(5);
/// A channel that asks for more is asked again sooner all the same.
const RETRY_AFTER_MAX: Duration = Duration::from_mins(15);

/// A channel has no interval: its last success never gets stale.
const NEVER: Duration = Duration::from_hours(24 * 365);

/// Where an incident stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    Opened,
    Acknowledged,
    Escalated,
    Resolved,
}

impl Stage {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Stage::Opened => "opened",
            Stage::Acknowledged => "acknowledged",
            Stage::Escalated => "escalated",
            Stage::Resolved => "resolved",
        }
    }
}

/// One thing to tell through one channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    pub number: u64,
    /// By name: the file may change.
    pub channel: String,
    /// The incident's: what a receiver merges by.
    pub key: String,
    pub stage: Stage,
    pub severity: Severity,
    pub environment: String,
    pub name: Untrusted,
    pub summary: Untrusted,
    pub at: DateTime<Utc>,
}

/// The next thing to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    Send {
        channel: ChannelId,
        notice: Box<Notice>,
    },
    Wake(Time),
    /// Nobody can be told: the channel is not in the file any more, or it is too old.
    GiveUp {
        number: u64,
        channel: String,
        why: String,
    },
}

#[derive(Clone, Debug)]
struct Pending {
    notice: Notice,
    queued: Time,
    tries: u32,
    again: Time,
}

#[derive(Clone, Debug)]
struct State {
    channel: Channel,
    in_flight: Option<(EffectId, u64)>,
    success: Option<Now>,
    error: Untrusted,
}

#[derive(Clone, Debug, Default)]
pub struct Queue {
    pending: VecDeque<Pending>,
    last: u64,
    states: Vec<State>,
}

impl Queue {
    #[must_use]
    pub fn new(channels: &[Channel]) -> Queue {
        let state = |channel: &Channel| State {
            channel: channel.clone(),
            in_flight: None,
            success: None,
            error: Untrusted::default(),
        };
        Queue { pending: VecDeque::new(), last: 0, states: channels.iter().map(state).collect() }
    }

    /// The number of the next notice.
    #[must_use]
    pub fn next_number(&self) -> u64 {
        self.last + 1
    }

    #[must_use]
    pub fn is_full(&self) -> bool {
        self.pending.len() >= QUEUE_MAX
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Takes what is on record: queued, or ended.
    pub fn apply(&mut self, entry: &Entry, now: Now) {
        if let Event::NoticeQueued(notice) = &entry.event {
            self.last = self.last.max(notice.number);
            let age = (now.wall - entry.at).to_std().unwrap_or_default();
            self.pending.push_back(Pending {
                notice: (**notice).clone(),
                queued: now.mono - age,
                tries: 0,
                again: now.mono,
            });
        } else if let Event::NoticeEnded { number, .. } = &entry.event {
            self.last = self.last.max(*number);
            self.pending.retain(|pending| pending.notice.number != *number);
        }
    }

    /// The next step; ask again after each of them and after each news.
    pub fn next(&self, now: Now) -> Option<Step> {
        let mut wake: Option<Time> = None;
        for (place, state) in (0..).zip(&self.states) {
            if state.in_flight.is_some() {
                continue;
            }
            let mut own = self.pending.iter();
            let Some(first) = own.find(|it| it.notice.channel == state.channel.name) else {
                continue;
            };
            if now.mono.since(first.queued) > AGE_MAX {
                return Some(given_up(&first.notice, "it is older than an hour"));
            }
            if first.again <= now.mono {
                let notice = Box::new(first.notice.clone());
                return Some(Step::Send { channel: ChannelId(place), notice });
            }
            wake = Some(wake.map_or(first.again, |at| at.min(first.again)));
        }
        let known = |name: &str| self.states.iter().any(|state| state.channel.name == name);
        let lost = self.pending.iter().find(|pending| !known(&pending.notice.channel));
        if let Some(lost) = lost {
            return Some(given_up(&lost.notice, "the channel is not in the configuration"));
        }
        wake.map(Step::Wake)
    }

    /// The notice is on its way.
    pub fn began(&mut self, channel: ChannelId, number: u64, id: EffectId) {
        if let Some(state) = self.states.get_mut(channel.index()) {
            state.in_flight = Some((id, number));
        }
        if let Some(own) = self.pending.iter_mut().find(|own| own.notice.number == number) {
            own.tries += 1;
        }
    }

    /// What became of it: an entry when it is over.
    pub fn answered(&mut self, id: EffectId, answer: NotifyAnswer, now: Now) -> Option<Event> {
        let own = |state: &&mut State| state.in_flight.is_some_and(|(own, _)| own == id);
        let state = self.states.iter_mut().find(own)?;
        let (_, number) = state.in_flight.take()?;
        let pending = self.pending.iter_mut().find(|own| own.notice.number == number)?;
        let channel = state.channel.name.clone();
        let ended = |sent: bool, detail: Untrusted| {
            Some(Event::NoticeEnded { number, channel: channel.clone(), sent, detail })
        };
        match answer {
            NotifyAnswer::Sent => {
                state.success = Some(now);
                state.error = Untrusted::default();
                ended(true, Untrusted::new(&format!("try {}", pending.tries)))
            }
            NotifyAnswer::Refused { why } => {
                state.error = why.clone();
                ended(false, why)
            }
            NotifyAnswer::Later { why, after } => {
                state.error = why.clone();
                let doubled = PAUSE_FIRST.saturating_mul(1 << pending.tries.min(10) >> 1);
                let asked = after.unwrap_or_default().min(RETRY_AFTER_MAX);
                pending.again = now.mono + doubled.min(PAUSE_MAX).max(asked);
                if pending.tries >= TRIES_MAX { ended(false, why) } else { None }
            }
        }
    }

    /// Each channel as a source, with what went wrong last.
    pub fn sources(&self) -> impl Iterator<Item = SourceView> {
        self.states.iter().map(|state| SourceView {
            name: format!("notify {}", state.channel.name),
            kind: state.channel.kind.clone(),
            interval: NEVER,
            success: state.success,
            error: state.error.clone(),
            skew_s: None,
        })
    }
}

/// As the journal's panel has it.
#[must_use]
pub fn line(notice: &Notice) -> String {
    let (number, stage) = (notice.number, notice.stage.word());
    format!("n{number} for {}: {} {stage}", notice.channel, notice.name)
}

fn given_up(notice: &Notice, why: &str) -> Step {
    let (number, channel) = (notice.number, notice.channel.clone());
    Step::GiveUp { number, channel, why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Actor;

    fn at(seconds: u64) -> Now {
        let span = Duration::from_secs(seconds);
        Now { mono: Time(0) + span, wall: DateTime::UNIX_EPOCH + span }
    }

    fn queue() -> Queue {
        let channel = |name: &str| Channel { name: name.to_owned(), kind: "slack".to_owned() };
        Queue::new(&[channel("a"), channel("b")])
    }

    fn entry(event: Event) -> Entry {
        Entry { id: String::new(), at: at(0).wall, actor: Actor::engine(), event }
    }

    fn queued(number: u64, channel: &str) -> Entry {
        entry(Event::NoticeQueued(Box::new(Notice {
            number,
            channel: channel.to_owned(),
            key: "k".to_owned(),
            stage: Stage::Opened,
            severity: Severity::High,
            environment: "test".to_owned(),
            name: Untrusted::new("n"),
            summary: Untrusted::default(),
            at: at(0).wall,
        })))
    }

    fn sends(queue: &mut Queue, now: Now) -> Vec<u64> {
        let mut sent = Vec::new();
        while let Some(Step::Send { channel, notice }) = queue.next(now) {
            queue.began(channel, notice.number, EffectId(notice.number));
            sent.push(notice.number);
        }
        sent
    }

    #[test]
    fn a_channel_gets_one_at_a_time_in_their_order() {
        let mut own = queue();
        for (number, channel) in [(1, "a"), (2, "a"), (3, "b")] {
            own.apply(&queued(number, channel), at(0));
        }
        assert_eq!(sends(&mut own, at(0)), [1, 3]);
        let ended = own.answered(EffectId(1), NotifyAnswer::Sent, at(1)).expect("it is over");
        own.apply(&entry(ended), at(1));
        assert_eq!(sends(&mut own, at(1)), [2]);
        assert_eq!(own.next_number(), 4);
    }

    #[test]
    fn a_failure_is_tried_again_later_and_given_up_at_last() {
        let mut own = queue();
        own.apply(&queued(1, "a"), at(0));
        let later = |after| NotifyAnswer::Later { why: Untrusted::new("500"), after };
        assert_eq!(sends(&mut own, at(0)), [1]);
        assert_eq!(own.answered(EffectId(1), later(None), at(0)), None);
        assert_eq!(own.next(at(0)), Some(Step::Wake(at(1).mono)));
        assert_eq!(sends(&mut own, at(1)), [1]);
        let asked = Some(Duration::from_secs(30));
        assert_eq!(own.answered(EffectId(1), later(asked), at(1)), None);
        assert_eq!(own.next(at(1)), Some(Step::Wake(at(31).mono)));
        assert!(own.sources().next().is_some_and(|source| source.error.display() == "500"));
        assert!(matches!(own.next(at(3601)), Some(Step::GiveUp { number: 1, .. })));
        let mut tries = 2;
        let mut now = 31;
        let over = loop {
            assert_eq!(sends(&mut own, at(now)), [1]);
            tries += 1;
            if let Some(event) = own.answered(EffectId(1), later(None), at(now)) {
                break event;
            }
            let Some(Step::Wake(next)) = own.next(at(now)) else { panic!("{own:?}") };
            now = next.0 / 1_000_000;
        };
        assert!(matches!(over, Event::NoticeEnded { sent: false, .. }));
        assert!(tries == TRIES_MAX && now < 3600, "{tries} tries, {now} s");
    }

    #[test]
    fn what_was_not_over_is_pending_after_a_restart() {
        let mut own = queue();
        own.apply(&queued(1, "a"), at(100));
        own.apply(&queued(2, "a"), at(100));
        let ended = |number| {
            let detail = Untrusted::default();
            entry(Event::NoticeEnded { number, channel: "a".to_owned(), sent: true, detail })
        };
        own.apply(&ended(1), at(100));
        assert_eq!(sends(&mut own, at(100)), [2]);
        own.apply(&queued(3, "gone"), at(100));
        assert!(matches!(own.next(at(100)), Some(Step::GiveUp { number: 3, .. })));
        let mut old = queue();
        old.apply(&queued(1, "a"), at(3700));
        assert!(matches!(old.next(at(3700)), Some(Step::GiveUp { number: 1, .. })));
    }
}
