//! Hours in one go: an engine that is asked something all the time, and how much it keeps.
//!
//! Decides nothing. Contract: what the engine keeps is measured by writing down all of its state;
//! everything that comes in is new each time, so that nothing is kept by its name alone.

use std::time::Duration;

use chrono::{DateTime, TimeDelta};
use engine::command::{Command, Submission};
use engine::reading::{Lease, NotifyAnswer, SplitReading, WriteAnswer};
use engine::triage::Say;
use engine::types::{Actor, Fence, Now, Percent, Time, Untrusted, Weights};
use engine::{Appended, Effect, Engine, Input};

use crate::fleet;
use crate::rng::Rng;

/// A person does something that often.
const ACT: Duration = Duration::from_secs(20);

struct Soak {
    engine: Engine,
    rng: Rng,
    now: Now,
    weights: [Weights; 2],
    acts: u64,
    /// Entries that the journal took.
    recorded: u64,
}

/// What the engine keeps after each hour, in bytes of its state as text, and how much it recorded.
#[must_use]
pub fn soak(seed: u64, hours: u64) -> (Vec<usize>, u64) {
    let now = Now { mono: Time(1_000_000), wall: DateTime::UNIX_EPOCH + TimeDelta::days(20_000) };
    let mut effects = Vec::new();
    let settings = fleet::settings(&[1, 1], true);
    let engine = Engine::recover(settings, "soak", seed, &[], Fence(0), now, &mut effects);
    let weights = [Weights::for_split(engine::types::Group::A, Percent::ZERO); 2];
    let mut soak = Soak { engine, rng: Rng::new(seed), now, weights, acts: 0, recorded: 0 };
    soak.answer(effects);
    let mut kept = Vec::new();
    for hour in 1..=hours {
        soak.until(now.mono + Duration::from_hours(hour));
        kept.push(format!("{:?}", soak.engine).len());
    }
    (kept, soak.recorded)
}

impl Soak {
    fn at(&mut self, mono: Time) {
        let passed = mono.since(self.now.mono);
        let passed = TimeDelta::from_std(passed).expect("steps are short");
        self.now = Now { mono, wall: self.now.wall + passed };
    }

    fn until(&mut self, end: Time) {
        while self.now.mono < end {
            let act = self.now.mono + ACT;
            while let Some((due, _)) = self.engine.next_deadline().filter(|(due, _)| *due < act) {
                self.at(due.max(self.now.mono));
                let mut effects = Vec::new();
                self.engine.handle_deadline(self.now, &mut effects);
                self.answer(effects);
            }
            self.at(act);
            self.act();
            // As clients do: what is shown is asked for, and what was answered is taken.
            self.engine.snapshot();
        }
    }

    fn act(&mut self) {
        self.acts += 1;
        let picture = self.engine.snapshot();
        let view = &picture.services[self.rng.pick(&[0, 1])];
        let (service, expected) = (view.name.clone(), view.expected());
        let reason = Untrusted::new(&format!("act {}", self.acts));
        let first = picture.incidents.open.first().map(|incident| incident.key.clone());
        let canary = Percent::new(self.rng.pick(&[5, 10, 50])).expect("a percent");
        let command = match (self.rng.below(10), first) {
            (0..3, _) => Command::Split { service, canary, reason },
            (3..5, _) | (_, None) => Command::Rollback { service, reason },
            (5, _) => Command::Verify { service },
            (6, _) => Command::Freeze { service: Some(service), seconds: 60, reason },
            (7, _) => Command::Thaw { service: Some(service), reason },
            (8, Some(key)) => Command::Acknowledge { key, comment: reason },
            (_, Some(key)) => Command::Triage { key, say: Say::Note { text: reason } },
        };
        let submission = Submission {
            id: format!("s{}", self.acts),
            command,
            expected,
            seen: Untrusted::default(),
            actor: Actor { user: Untrusted::new("ana"), uid: Some(1000), ssh: None },
            read_only: false,
        };
        let mut effects = Vec::new();
        self.engine.handle(self.now, Input::Submitted(submission), &mut effects);
        self.answer(effects);
    }

    /// Everything is answered at once, now and then with a failure.
    fn answer(&mut self, mut effects: Vec<Effect>) {
        while !effects.is_empty() {
            let mut more = Vec::new();
            for effect in effects {
                if let Some(input) = self.reply(effect) {
                    self.engine.handle(self.now, input, &mut more);
                }
            }
            effects = more;
        }
    }

    fn reply(&mut self, effect: Effect) -> Option<Input> {
        let rng = &mut self.rng;
        Some(match effect {
            Effect::Probe { id, probe } => {
                Input::Probed { id, probe, observation: fleet::observation(rng) }
            }
            Effect::ReadHost { id, host } => Input::HostRead { id, host, result: fleet::host(rng) },
            Effect::ReadFeed { id, feed } => {
                let mut result = fleet::feed(rng);
                for alert in result.iter_mut().flat_map(|reading| &mut reading.alerts) {
                    // No alert is ever seen again.
                    alert.fingerprint = format!("{} {}", alert.fingerprint, self.now.mono.0);
                }
                Input::FeedRead { id, feed, result }
            }
            Effect::Measure { id, service } => {
                let result = fleet::measurement(rng, self.now.wall);
                Input::Measured { id, service, result }
            }
            Effect::SetSplit { id, router, weights, .. } => {
                self.weights[router.index()] = weights;
                Input::SplitSet { id, router, answer: WriteAnswer::Applied }
            }
            Effect::ReadSplit { id, router, .. } => {
                let own = self.weights[router.index()];
                let reading = SplitReading {
                    a: f64::from(own.a.get()),
                    b: f64::from(own.b.get()),
                    fence: None,
                    note: Untrusted::default(),
                    lease: Lease::default(),
                };
                let failed = rng.chance(20);
                let result = if failed { Err(fleet::failure(rng)) } else { Ok(reading) };
                Input::SplitRead { id, router, result }
            }
            Effect::Append { id, .. } => {
                self.recorded += 1;
                Input::Appended { id, result: Appended::Durable }
            }
            Effect::Task { id, .. } => Input::TaskEnded { id, answer: fleet::task(rng) },
            Effect::Acknowledge { id, key, .. } | Effect::Escalate { id, key, .. } => {
                Input::Responded { id, key, result: Ok(()) }
            }
            Effect::Notify { id, .. } => Input::Notified { id, answer: NotifyAnswer::Sent },
            Effect::Answer(_) => return None,
        })
    }
}
