//! What the engine asks of a release world, and what comes back.
//!
//! Decides when each effect is answered, and with what. Never leaves one without its one reply.
//! Contract: the models see every entry as it leaves, and its fate when the engine may know it.

use std::time::Duration;

use engine::reading::{Observation, SplitReading, TaskAnswer, WriteAnswer};
use engine::record::{Entry, Event};
use engine::types::{
    EffectId, Failure, FailureKind, Fence, Percent, RouterId, Status, TaskId, Untrusted, Weights,
};
use engine::{Appended, Effect, Input};

use super::fleet::Kind;
use super::model::Scene;
use super::mutant::Mutant;
use super::source;
use super::world::{Happening, World};
use crate::check::{self, Book, Checked, Checks, holds};
use crate::disk::{Fate, Waiting};
use crate::router::Answer;

impl World {
    // Effects.

    pub(super) fn perform(&mut self, mut effects: Vec<Effect>) -> Checked {
        self.checks.effects_are_bounded(&effects)?;
        self.mutate(&mut effects);
        for effect in effects {
            self.mark(|| format!("  → {effect:?}"), &[12]);
            self.effect(effect)?;
        }
        Ok(())
    }

    pub(super) fn effect(&mut self, effect: Effect) -> Checked {
        let wait = self.rng.millis(1, 800);
        let input = match effect {
            Effect::Probe { id, probe } => {
                let bad = !self.healed && self.rng.chance(self.probes_fail);
                let status = if bad { Status::Down } else { Status::Up };
                let observation = Observation {
                    status,
                    latency: Some(wait),
                    message: Untrusted::default(),
                    certificate_expires: None,
                    clock_ahead_s: None,
                };
                Input::Probed { id, probe, observation }
            }
            Effect::ReadHost { id, host } => Input::HostRead { id, host, result: Err(nothing()) },
            Effect::ReadFeed { id, feed } => Input::FeedRead { id, feed, result: Err(nothing()) },
            Effect::Acknowledge { id, key, .. } | Effect::Escalate { id, key, .. } => {
                Input::Responded { id, key, result: Err(nothing()) }
            }
            Effect::Notify { id, .. } => {
                Input::Notified { id, answer: engine::reading::NotifyAnswer::Sent }
            }
            Effect::Measure { id, service } => {
                let service = service.index();
                self.after(wait / 2, Happening::Scrape { id, service });
                return Ok(());
            }
            Effect::Task { id, task, budget, .. } => return self.task(id, task, budget),
            Effect::SetSplit { id, router, weights, fence, budget, .. } => {
                return self.set_split(id, router, weights, fence, budget);
            }
            Effect::ReadSplit { id, router, budget, .. } => {
                self.read_split(id, router, budget);
                return Ok(());
            }
            Effect::Append { id, entry, safety } => return self.append(id, *entry, safety),
            Effect::Answer(reply) => return self.answered(&reply),
        };
        self.after(wait, Happening::Deliver(input));
        Ok(())
    }

    pub(super) fn scrape(&mut self, id: EffectId, service: usize) {
        self.flow();
        let wall = self.clock().wall;
        let mut result = self.sources[service].measure(self.now, wall);
        let canary = self.models[service].stable.other();
        if self.sources[service].is_sound(canary, self.now) {
            self.models[service].fresh = Some(self.now);
        }
        self.lie(service, wall, &mut result);
        let after = self.rng.millis(1, 300);
        let service = source::service(service);
        self.after(after, Happening::Deliver(Input::Measured { id, service, result }));
    }

    pub(super) fn task(&mut self, id: EffectId, task: TaskId, budget: Duration) -> Checked {
        let role = self.fleet.roles[task.index()];
        let Some(service) = self.owner(task) else {
            return holds("tasks_have_a_release", false, || format!("{task:?} is nobody's"));
        };
        let canary = self.models[service].stable.other();
        // As far as anybody can know: what was read last.
        let exposed = self.of(service).iter().any(|router| {
            let told = router.told.flatten().map(|told| [told.a, told.b][source::place(canary)]);
            told != Some(Percent::ZERO)
        });
        self.models[service].may_run(role, exposed)?;
        let trouble = if self.healed { 0 } else { self.trouble };
        let said = Untrusted::new("said");
        let quick = self.rng.millis(20, 1500);
        let (answer, after) = if self.rng.chance(trouble) {
            match self.rng.below(4) {
                0 => (TaskAnswer::Failed { output: said }, quick),
                1 => (TaskAnswer::Unknown { why: said }, quick),
                2 => (TaskAnswer::Passed { output: said }, budget.mul_f64(0.9)),
                _ => (TaskAnswer::Unknown { why: Untrusted::new("killed") }, budget),
            }
        } else {
            (TaskAnswer::Passed { output: said }, quick)
        };
        self.busy_until = self.busy_until.max(self.now + after);
        self.double(id, &answer, after);
        self.after(after, Happening::Deliver(Input::TaskEnded { id, answer }));
        Ok(())
    }

    /// The service whose plan has this task.
    fn owner(&self, task: TaskId) -> Option<usize> {
        let settings = &self.fleet.settings;
        let page = settings.services.iter().position(|own| {
            own.maintenance.is_some_and(|pages| pages.contains(&task))
                && matches!(self.fleet.roles[task.index()].kind, Kind::Page(_))
        });
        let plan = settings.plans.iter().find(|plan| {
            plan.steps.iter().any(|step| {
                step.verify == Some(task)
                    || step.undo == Some(task)
                    || step.action == engine::settings::Action::Task(task)
            })
        });
        page.or_else(|| Some(plan?.service?.index()))
    }

    fn set_split(
        &mut self,
        id: EffectId,
        router_id: RouterId,
        weights: Weights,
        fence: Fence,
        budget: Duration,
    ) -> Checked {
        let place = router_id.index();
        let service = &self.fleet.settings.services[self.routers[place].service].name;
        self.checks.write_follows_intent(service, fence, weights, self.now)?;
        let router = &mut self.routers[place];
        check::one_write_in_flight(router, fence, self.disk.lost_intents)?;
        router.in_flight = true;
        router.sent_fence = fence.0;
        router.sent = weights;
        router.been = vec![router.actual];
        let fate = router.write(fence.0, false, budget, &mut self.rng);
        if let Some(lands) = fate.lands {
            self.after(lands, Happening::Land { router: place, weights, fence: fence.0 });
        }
        let why = Untrusted::new("the world said so");
        let answer = match fate.reply {
            Answer::Applied => WriteAnswer::Applied,
            Answer::Rejected => WriteAnswer::Rejected { why, newer: None },
            Answer::Unknown => WriteAnswer::Unknown { why },
        };
        let input = Input::SplitSet { id, router: router_id, answer };
        self.after(fate.after, Happening::Deliver(input));
        Ok(())
    }

    fn read_split(&mut self, id: EffectId, router: RouterId, budget: Duration) {
        let unreadable = self.routers[router.index()].rates.unreadable;
        if self.rng.chance(unreadable) {
            let after = if self.rng.chance(500) { budget } else { self.rng.millis(1, 30) };
            let result = Err(nothing());
            self.after(after, Happening::Deliver(Input::SplitRead { id, router, result }));
        } else {
            let after = self.rng.millis(1, 20);
            self.after(after, Happening::Sample { id, router });
        }
    }

    pub(super) fn sample(&mut self, id: EffectId, router: RouterId) {
        let own = &self.routers[router.index()];
        let echo = self.plan.mutant == Some(Mutant::ReadingsEchoTheWrite);
        let shown = if echo { own.sent } else { own.actual };
        let fence = if echo { Some(own.sent_fence) } else { own.carried };
        let reading = SplitReading {
            a: f64::from(shown.a.get()),
            b: f64::from(shown.b.get()),
            fence: fence.filter(|_| own.carries),
            lease: engine::reading::Lease::default(),
            note: Untrusted::default(),
        };
        let after = self.rng.millis(0, 10);
        let input = Input::SplitRead { id, router, result: Ok(reading) };
        self.after(after, Happening::Deliver(input));
    }

    pub(super) fn append(&mut self, id: EffectId, entry: Entry, safety: bool) -> Checked {
        // What a disk refused is asked for again under its old name: the models know it.
        let again = self.times.contains_key(&entry.id);
        if again {
            self.disk.found(&entry);
            self.missing.remove(&entry.id);
        }
        match &entry.event {
            _ if again => {}
            Event::Intent(intent) => self.intended(intent, safety)?,
            Event::Outcome(outcome) => {
                let service = self.place(&outcome.service);
                self.checks.verified_was_true(outcome, &self.of(service))?;
                let key = (outcome.service.clone(), outcome.fence);
                if let Some(book) = self.checks.books.get_mut(&key) {
                    book.refused = outcome.result == engine::record::OperationResult::Refused;
                }
            }
            Event::ReleaseStarted(facts) => {
                self.flow();
                self.arrives(&facts.service, &facts.version);
            }
            Event::ReleaseEnded { result, .. } => {
                *self.ended.entry(result.word()).or_default() += 1;
            }
            _ => {}
        }
        if !again {
            self.times.insert(entry.id.clone(), self.now);
            self.judge(&entry)?;
        }
        let fate = if !self.rng.chance(self.disk.fail) {
            Fate::Durable
        } else if safety && self.rng.chance(self.disk.spools) {
            Fate::Spooled
        } else {
            Fate::Failed
        };
        let slow = self.rng.chance(self.disk.slow);
        let takes = if self.rng.chance(self.disk.stall) {
            self.disk.stall = 0;
            self.rng.millis(2000, 40_000)
        } else if slow {
            self.rng.millis(100, 3000)
        } else {
            self.rng.millis(0, 8)
        };
        self.disk_free = self.disk_free.max(self.now) + takes;
        let wait = self.disk_free.since(self.now);
        self.unheard.insert(id);
        self.hasten(id, &entry);
        self.disk.queue.push_back(Waiting { id, entry, fate, safety });
        self.after(wait, Happening::Flush);
        Ok(())
    }

    fn intended(&mut self, intent: &engine::record::Intent, safety: bool) -> Checked {
        self.checks.submission_acts_once(intent)?;
        let service = self.place(&intent.service);
        let canary = source::place(intent.stable.other());
        let of = self.of(service);
        let told = of.iter().filter_map(|router| router.told.flatten());
        let told = told.map(|weights| [weights.a, weights.b][canary].get()).max();
        Checks::safety_is_no_pretext(intent, safety, told)?;
        let key = (intent.service.clone(), intent.fence);
        let resumes = self.resumed.contains(&intent.submission);
        let (intent, asked) = (intent.clone(), self.now);
        let book = Book { intent, safety, asked, fate: None, refused: false, resumes };
        self.checks.books.insert(key, book);
        Ok(())
    }

    /// A version comes onto the group that is not stable; its name says what it is like.
    fn arrives(&mut self, service: &str, version: &str) {
        let service = self.place(service);
        let group = source::place(self.models[service].stable.other());
        let quality = match version.as_bytes().first() {
            Some(b'b') => source::Quality::Bad(self.rng.pick(&[60, 300, 900])),
            Some(b's') => source::Quality::Slow,
            Some(_) => source::Quality::Good,
            None => return,
        };
        self.sources[service].quality[group] = quality;
    }

    /// The least and the most that the routers of a service showed the canary, where all could be
    /// read.
    pub(super) fn exposed(&self, service: usize) -> Option<(Percent, Percent)> {
        let canary = source::place(self.models[service].stable.other());
        let mut own = self.routers.iter().filter(|router| router.service == service);
        own.try_fold((Percent::FULL, Percent::ZERO), |(least, most), router| {
            let told = router.told.flatten()?;
            let share = [told.a, told.b][canary];
            Some((least.min(share), most.max(share)))
        })
    }

    /// The models see every entry as it leaves.
    fn judge(&mut self, entry: &Entry) -> Checked {
        self.flags_hold(entry)?;
        let wall = self.clock().wall;
        let shown: Vec<_> = (0..self.models.len()).map(|service| self.exposed(service)).collect();
        for ((model, source), shown) in self.models.iter_mut().zip(&self.sources).zip(shown) {
            let scene = Scene {
                now: self.now,
                wall,
                person: self.person.as_ref(),
                live: true,
                fleet: &self.fleet,
                truth: source.truth,
                shown,
            };
            model.take(entry, &scene)?;
        }
        Ok(())
    }

    pub(super) fn place(&self, service: &str) -> usize {
        let place = self.fleet.settings.services.iter().position(|own| own.name == service);
        place.expect("an entry names a service that there is")
    }

    pub(super) fn flush(&mut self) {
        let Some(Waiting { id, entry, fate, safety }) = self.disk.flush() else { return };
        if let Event::Intent(intent) = &entry.event {
            let key = (intent.service.clone(), intent.fence);
            if let Some(book) = self.checks.books.get_mut(&key) {
                book.fate = Some(fate);
            }
        }
        if fate == Fate::Failed && safety {
            self.missing.insert(entry.id.clone());
        }
        if matches!(entry.event, Event::ReleaseEnded { .. }) {
            self.ends.insert(id, (entry, fate));
        } else {
            for model in &mut self.models {
                model.settled(&entry, fate);
            }
        }
        let why = Untrusted::new("the disk said no");
        let result = match fate {
            Fate::Durable => Appended::Durable,
            Fate::Spooled => Appended::Spooled { why },
            Fate::Failed => Appended::Failed { why },
        };
        self.mark(|| format!("disk {id:?} {fate:?}"), &[13]);
        if self.unheard.contains(&id) {
            self.after(Duration::ZERO, Happening::Deliver(Input::Appended { id, result }));
        }
    }
}

fn nothing() -> Failure {
    Failure::new(FailureKind::Timeout, "no answer")
}
