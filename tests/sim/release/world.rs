//! The world around an engine that carries releases.
//!
//! Decides everything that the engine cannot know, by the seed alone: routers, disk, tasks,
//! counters, people, clocks, crashes. Never shortens a promise: each effect gets its one reply
//! within its budget. Contract: a run is popping `future` until every release has ended in a healed
//! world and all traffic is on stable, or until the first offence.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use engine::command::{Command, Submission};
use engine::record::{Entry, Event, ReleaseState};
use engine::snapshot::{RouteState, Snapshot};
use engine::types::{EffectId, Fence, Now, Percent, RouterId, Time, Untrusted, Weights};
use engine::{Effect, Engine, Input};

use super::fleet::Fleet;
use super::model::Model;
use super::mutant::Mutant;
use super::people;
use super::settle;
use super::source::{self, Source};
use crate::check::{self, Checked, Checks, Offence, holds};
use crate::disk::{Disk, Fate};
use crate::rng::Rng;
use crate::router::{Rates, Router, weights_of};
use crate::{Ran, World as Simulated};

/// A run with more is a loop.
const HAPPENINGS_MAX: u64 = 60_000;
/// A client tries a lost submission again this often.
const RETRY: Duration = Duration::from_millis(700);
/// How often the journal is folded beside the engine.
const FOLD: Duration = Duration::from_secs(20);

pub enum Happening {
    Deliver(Input),
    /// The journal's queue comes to its next entry.
    Flush,
    Sample {
        id: EffectId,
        router: RouterId,
    },
    Land {
        router: usize,
        weights: Weights,
        fence: u64,
    },
    Meddle {
        router: usize,
    },
    /// A source of counters is read at this instant.
    Scrape {
        id: EffectId,
        service: usize,
    },
    SourceFault {
        service: usize,
    },
    Reset {
        service: usize,
    },
    Sick {
        service: usize,
        on: bool,
    },
    Operate,
    Retry(Submission),
    Wall(i64),
    Suspend(Duration),
    Recover,
    AnswerDue {
        id: String,
        suspended: Duration,
    },
    Fold,
    Heal,
    /// Phase two, step by step.
    Settle(settle::Stage),
}

/// See [`crate::Plan`].
pub type Plan = crate::Plan<Mutant>;

#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct World {
    pub plan: Plan,
    pub rng: Rng,
    pub now: Time,
    pub boot: Time,
    pub wall: DateTime<Utc>,
    pub future: BTreeMap<(Time, u64), Happening>,
    pub order: u64,
    pub fleet: Fleet,
    pub engine: Option<Engine>,
    pub routers: Vec<Router>,
    pub disk: Disk,
    pub disk_free: Time,
    pub checks: Checks,
    pub models: Vec<Model>,
    pub sources: Vec<Source>,
    /// When each entry was asked for, by its id.
    pub times: BTreeMap<String, Time>,
    /// Entries whose answer the engine has not got.
    pub unheard: BTreeSet<EffectId>,
    /// Ends of releases on record that the engine has not heard of.
    pub ends: BTreeMap<EffectId, (Entry, Fate)>,
    /// Refused by the disk, and to be asked for again.
    pub missing: BTreeSet<String>,
    pub suspended: Duration,
    pub jumped: bool,
    pub healed: bool,
    pub done: bool,
    pub inputs: u64,
    pub crashes: Vec<u64>,
    pub lives: u64,
    pub submissions: u64,
    pub asked: BTreeMap<String, Submission>,
    /// The entry that tells what a submission said.
    pub said: BTreeMap<String, String>,
    pub unanswered: Vec<Submission>,
    pub resumed: BTreeSet<String>,
    /// What a person said that the engine is answering now.
    pub person: Option<Submission>,
    /// Tasks go wrong this often, in a thousand.
    pub trouble: u64,
    pub probes_fail: u64,
    pub changes: bool,
    /// Until when a task may still be under way.
    pub busy_until: Time,
    pub stale: Option<engine::command::Expected>,
    pub ended: BTreeMap<&'static str, u64>,
    pub trace: u64,
    log: Vec<String>,
}

impl Simulated for World {
    type Mutant = Mutant;
    const TESTS: &'static str = "release::";

    fn new(plan: Plan) -> World {
        let mut rng = Rng::new(plan.seed ^ 0x5ea1_0000_0000_0000);
        let fleet = Fleet::draw(&mut rng);
        let calm = rng.chance(400);
        let mut routers = Vec::new();
        for own in &fleet.settings.routers {
            let carries = rng.chance(500);
            let rates = if calm { Rates::default() } else { Rates::draw(&mut rng) };
            routers.push(Router::new(own.service.index(), own.name.clone(), carries, rates));
        }
        let mut disk = Disk::default();
        if !calm {
            disk.fail = rng.pick(&[0, 0, 0, 20, 200]);
            disk.stall = rng.pick(&[0, 0, 0, 10]);
        }
        disk.slow = rng.pick(&[0, 50, 300]);
        disk.spools = rng.pick(&[1000, 800, 0]);
        let now = Time(1_000_000);
        let services = &fleet.settings.services;
        let mut world = World {
            models: (0..).zip(services).map(|(at, own)| Model::new(at, &own.name)).collect(),
            sources: services.iter().map(|_| Source::draw(&mut rng, now)).collect(),
            plan,
            now,
            boot: Time(0),
            wall: DateTime::UNIX_EPOCH + TimeDelta::days(20_000),
            future: BTreeMap::new(),
            order: 0,
            engine: None,
            routers,
            disk,
            disk_free: Time(0),
            checks: Checks::default(),
            times: BTreeMap::new(),
            unheard: BTreeSet::new(),
            ends: BTreeMap::new(),
            missing: BTreeSet::new(),
            suspended: Duration::ZERO,
            jumped: false,
            healed: false,
            done: false,
            inputs: 0,
            crashes: Vec::new(),
            lives: 0,
            submissions: 0,
            asked: BTreeMap::new(),
            said: BTreeMap::new(),
            unanswered: Vec::new(),
            resumed: BTreeSet::new(),
            person: None,
            trouble: rng.pick(&[0, 0, 100, 250]),
            probes_fail: rng.pick(&[0, 0, 50, 300]),
            changes: rng.chance(100),
            busy_until: now,
            stale: None,
            ended: BTreeMap::new(),
            trace: 0xcbf2_9ce4_8422_2325,
            log: Vec::new(),
            fleet,
            rng,
        };
        world.foresee();
        world
    }

    fn run(&mut self) -> Result<Ran, Offence> {
        let mut happenings = 0_u64;
        while !self.done {
            happenings += 1;
            holds("the_world_ends", happenings < HAPPENINGS_MAX, || {
                format!("{happenings} happenings by {:?}", self.now)
            })?;
            let due = self.engine.as_ref().and_then(Engine::next_deadline);
            let due = due.map(|(at, _)| self.due(at));
            let next = self.future.first_key_value().map(|((at, _), _)| *at);
            match (due, next) {
                (Some(due), next) if next.is_none_or(|next| due <= next) => {
                    self.now = self.now.max(due);
                    if self.rng.chance(100) {
                        self.now = self.now + self.rng.millis(0, 5);
                    }
                    self.deadline()?;
                }
                (_, Some(_)) => {
                    let Some(((at, _), happening)) = self.future.pop_first() else { continue };
                    self.now = self.now.max(at);
                    self.happen(happening)?;
                }
                (_, None) => {
                    return holds("the_world_ends", false, || "nothing will happen".to_owned())
                        .map(|()| unreachable!());
                }
            }
        }
        self.fold_journal()?;
        check::chain_holds(&self.disk.records, &self.disk.chain)?;
        let ended = std::mem::take(&mut self.ended);
        Ok(Ran { trace: self.trace, inputs: self.inputs, ended })
    }

    fn log(&self) -> &[String] {
        &self.log
    }
}

impl World {
    /// Puts the faults and the people of the seed into the future.
    fn foresee(&mut self) {
        let long = if self.plan.short { 30_000 } else { 60_000 };
        let end = long + self.rng.below(30_000);
        self.after(Duration::ZERO, Happening::Recover);
        let mut at = self.rng.millis(500, 4000);
        while at < Duration::from_millis(end) {
            self.after(at, Happening::Operate);
            let pause = self.rng.pick(&[4000, 8000, 16_000]);
            at += self.rng.millis(1000, pause);
        }
        let some = |rng: &mut Rng, list: &[u32]| rng.pick(list);
        for _ in 0..some(&mut self.rng, &[0, 0, 0, 1]) {
            let (at, router) = (self.rng.millis(400, end), self.any(self.routers.len()));
            self.after(at, Happening::Meddle { router });
        }
        let stale = self.plan.mutant == Some(Mutant::StaleIsFresh);
        let faults = some(&mut self.rng, if stale { &[6] } else { &[0, 0, 1, 2] });
        for _ in 0..faults {
            let (at, service) = (self.rng.millis(400, end), self.any(self.models.len()));
            self.after(at, Happening::SourceFault { service });
        }
        for _ in 0..some(&mut self.rng, &[0, 0, 1]) {
            let (at, service) = (self.rng.millis(400, end), self.any(self.models.len()));
            self.after(at, Happening::Reset { service });
        }
        if self.rng.chance(150) {
            let (at, service) = (self.rng.millis(400, end), self.any(self.models.len()));
            let over = at + self.rng.millis(5000, 40_000);
            self.after(at, Happening::Sick { service, on: true });
            self.after(over, Happening::Sick { service, on: false });
        }
        if self.rng.chance(150) {
            let (at, by) = (self.rng.millis(0, end), self.rng.pick(&[-3600, -5, 5, 3600]));
            self.after(at, Happening::Wall(by));
        }
        if self.rng.chance(100) {
            let (at, span) = (self.rng.millis(0, end), self.rng.millis(100, 40_000));
            self.after(at, Happening::Suspend(span));
        }
        match self.plan.crash_at {
            Some(at) => self.crashes.push(at),
            None if self.plan.short => {}
            None => {
                for _ in 0..self.rng.pick(&[0, 0, 1, 1, 2]) {
                    let at = 1 + self.rng.below(400);
                    self.crashes.push(at);
                }
            }
        }
        self.after(FOLD, Happening::Fold);
        self.after(Duration::from_millis(end), Happening::Heal);
    }

    pub(super) fn any(&mut self, count: usize) -> usize {
        usize::try_from(self.rng.below(count as u64)).expect("few of them")
    }

    pub(super) fn after(&mut self, span: Duration, happening: Happening) {
        self.order += 1;
        self.future.insert((self.now + span, self.order), happening);
    }

    pub(super) fn clock(&self) -> Now {
        let since = self.now.since(Time(0));
        let wall = self.wall + TimeDelta::from_std(since).expect("a run is short");
        let mono = if self.plan.mutant == Some(Mutant::WallForMono) {
            let jumped = wall - (DateTime::UNIX_EPOCH + TimeDelta::days(20_000));
            Time(u64::try_from(jumped.num_microseconds().unwrap_or(0)).unwrap_or(0))
        } else {
            Time(self.now.0 - self.boot.0)
        };
        Now { mono, wall }
    }

    /// The world's time of a deadline.
    fn due(&self, at: Time) -> Time {
        if self.plan.mutant == Some(Mutant::WallForMono) {
            let ahead = at.0.saturating_sub(self.clock().mono.0);
            return Time(self.now.0 + ahead);
        }
        Time(at.0 + self.boot.0)
    }

    pub(super) fn mark(&mut self, text: impl Fn() -> String, words: &[u64]) {
        for word in words.iter().chain([&self.now.0]) {
            for byte in word.to_le_bytes() {
                self.trace = (self.trace ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
        if self.plan.verbose {
            let seconds = self.now.since(Time(0)).as_secs_f64();
            self.log.push(format!("{seconds:>9.3}  {}", text()));
        }
    }

    fn happen(&mut self, happening: Happening) -> Checked {
        match happening {
            Happening::Deliver(input) => return self.deliver(input),
            Happening::Flush => self.flush(),
            Happening::Sample { id, router } => self.sample(id, router),
            Happening::Land { router, weights, fence } => {
                self.flow();
                self.mark(|| format!("edge {router} becomes {weights:?} by {fence}"), &[1, fence]);
                self.routers[router].becomes(weights, Some(fence));
            }
            Happening::Meddle { router } if !self.healed => {
                self.flow();
                let percent = self.rng.pick(&[0, 5, 50, 100]);
                let b = Percent::new(percent).expect("a percent");
                self.mark(|| format!("someone sets edge {router} to {percent}"), &[2]);
                self.routers[router].becomes(Weights { a: b.rest(), b }, None);
            }
            Happening::Scrape { id, service } => self.scrape(id, service),
            Happening::SourceFault { service } if !self.healed => {
                let (fault, span) = source::fault(&mut self.rng);
                self.mark(|| format!("source {service}: {fault:?} for {span:?}"), &[17]);
                self.sources[service].fault = Some((fault, self.now + span));
            }
            Happening::Reset { service } => {
                let group = self.any(2);
                self.mark(|| format!("source {service}: group {group} starts anew"), &[18]);
                self.sources[service].reset(group);
            }
            Happening::Sick { service, on } => {
                self.flow();
                self.mark(|| format!("service {service} is sick: {on}"), &[19]);
                self.sources[service].sick = on && !self.healed;
            }
            Happening::Operate if !self.healed => return self.operate(),
            Happening::Meddle { .. } | Happening::SourceFault { .. } | Happening::Operate => {}
            Happening::Retry(submission) => return self.submit(submission),
            Happening::Wall(by) => {
                self.mark(|| format!("the wall clock jumps by {by} s"), &[3]);
                self.wall += TimeDelta::seconds(by);
                self.jumped = true;
                for model in &mut self.models {
                    model.jumped = true;
                }
            }
            Happening::Suspend(span) => {
                self.mark(|| format!("suspended for {span:?}"), &[4]);
                self.now = self.now + span;
                self.suspended += span;
            }
            Happening::Recover => return self.recover(),
            Happening::AnswerDue { id, suspended } => return self.answer_due(id, suspended),
            Happening::Fold => {
                self.after(FOLD, Happening::Fold);
                return self.fold_journal();
            }
            Happening::Heal => self.heal(),
            Happening::Settle(stage) => return self.settle(stage),
        }
        Ok(())
    }

    /// Traffic up to now, by what the routers truly are.
    pub(super) fn flow(&mut self) {
        for (service, source) in self.sources.iter_mut().enumerate() {
            let own = self.routers.iter().filter(|router| router.service == service);
            let shares: Vec<f64> = own.map(|router| f64::from(router.actual.b.get())).collect();
            let count = f64::from(u32::try_from(shares.len()).expect("few routers"));
            source.flow(self.now, shares.iter().sum::<f64>() / count / 100.0, &mut self.rng);
        }
    }

    // The engine's side.

    fn recover(&mut self) -> Checked {
        if self.engine.is_some() {
            return Ok(());
        }
        self.disk.merge();
        self.lives += 1;
        if self.lives > 1 && self.rng.chance(300) {
            self.boot = Time(self.now.0 - 1_000_000);
        }
        if self.lives > 1 && self.changes && self.rng.chance(500) {
            self.mark(|| "the configuration is another one".to_owned(), &[20]);
            self.fleet.change(&mut self.rng);
        }
        check::chain_holds(&self.disk.records, &self.disk.chain)?;
        self.mark(|| "an engine starts".to_owned(), &[5]);
        self.forget_lost_intents();
        for service in 0..self.models.len() {
            let truth = self.sources[service].truth;
            self.models[service].fold(&self.disk.entries, &self.times, &self.fleet, truth);
        }
        let mut effects = Vec::new();
        let seed = self.plan.seed.wrapping_mul(31).wrapping_add(self.lives);
        let floor = self.routers.iter().map(|router| router.fence_max).max().unwrap_or_default();
        let engine = check::needed_is_enough(
            &self.told_settings(),
            seed,
            &self.remembered(),
            Fence(floor),
            self.clock(),
            &mut effects,
        )?;
        self.engine = Some(engine);
        self.resume(&effects);
        self.perform(effects)?;
        for submission in std::mem::take(&mut self.unanswered) {
            self.after(RETRY, Happening::Retry(submission));
        }
        self.resumes_by_itself()?;
        if self.healed {
            self.look_soon();
        }
        Ok(())
    }

    /// Intents that no disk took are gone; the others are on record now.
    fn forget_lost_intents(&mut self) {
        let intents = self.disk.entries.iter().filter_map(|entry| match &entry.event {
            Event::Intent(intent) => Some((intent.service.clone(), intent.fence)),
            _ => None,
        });
        let kept: BTreeSet<(String, Fence)> = intents.collect();
        self.checks.books.retain(|key, _| kept.contains(key));
        for book in self.checks.books.values_mut() {
            book.fate = Some(Fate::Durable);
        }
        self.checks.forget_answers();
    }

    /// What a recovering engine takes up again carries the old submission under a new fence.
    fn resume(&mut self, effects: &[Effect]) {
        for effect in effects {
            let Effect::Append { entry, .. } = effect else { continue };
            let Event::Intent(intent) = &entry.event else { continue };
            let old = self.checks.books.iter().find_map(|(key, book)| {
                (book.intent.submission == intent.submission).then(|| key.clone())
            });
            let Some(old) = old else { continue };
            self.checks.books.remove(&old);
            self.resumed.insert(intent.submission.clone());
        }
    }

    fn deadline(&mut self) -> Checked {
        let now = self.clock();
        let Some(engine) = self.engine.as_mut() else { return Ok(()) };
        let mut effects = Vec::new();
        engine.handle_deadline(now, &mut effects);
        let next = engine.next_deadline().map(|(at, _)| at);
        Checks::deadline_lies_ahead(next, now.mono)?;
        self.turn(effects)
    }

    pub(super) fn deliver(&mut self, input: Input) -> Checked {
        self.note(&input)?;
        let now = self.clock();
        let Some(engine) = self.engine.as_mut() else { return Ok(()) };
        let submission = match &input {
            Input::Submitted(submission) => Some(submission.clone()),
            Input::Probed { .. }
            | Input::HostRead { .. }
            | Input::FeedRead { .. }
            | Input::Measured { .. }
            | Input::SplitSet { .. }
            | Input::SplitRead { .. }
            | Input::Appended { .. }
            | Input::TaskEnded { .. }
            | Input::Notified { .. }
            | Input::Responded { .. } => None,
        };
        let mut effects = Vec::new();
        engine.handle(now, input, &mut effects);
        let Some(submission) = submission else { return self.turn(effects) };
        self.says(&submission, &effects);
        let first = self.checks.awaited.insert(submission.id.clone());
        self.asked.insert(submission.id.clone(), submission.clone());
        self.person = Some(submission.clone());
        let new = !self.checks.given.contains_key(&submission.id);
        let turned = self.turn(effects);
        self.person = None;
        turned?;
        if new && first {
            self.is_done(&submission)?;
        }
        if self.engine.is_some() && first && self.checks.awaited.contains(&submission.id) {
            let (id, suspended) = (submission.id, self.suspended);
            self.after(check::ANSWER_WITHIN, Happening::AnswerDue { id, suspended });
        }
        Ok(())
    }

    /// The books of what comes back to the engine.
    fn note(&mut self, input: &Input) -> Checked {
        let id = match input {
            Input::Submitted(submission) => {
                self.mark(|| format!("asked {submission:?}"), &[6]);
                return Ok(());
            }
            Input::SplitSet { id, router, answer } => {
                self.routers[router.index()].in_flight = false;
                self.mark(|| format!("edge {router:?} answers {answer:?}"), &[7, id.0]);
                *id
            }
            Input::SplitRead { id, router, result } => {
                let told = result.as_ref().ok().map(weights_of);
                self.routers[router.index()].told = Some(told);
                self.mark(|| format!("edge {router:?} shows {told:?}"), &[8, id.0]);
                *id
            }
            Input::TaskEnded { id, answer } => {
                self.mark(|| format!("task {id:?} {answer:?}"), &[16, id.0]);
                *id
            }
            Input::Appended { id, result } => {
                self.unheard.remove(id);
                if let Some((entry, fate)) = self.ends.remove(id) {
                    for model in &mut self.models {
                        model.settled(&entry, fate);
                    }
                }
                self.mark(|| format!("journal {id:?} {result:?}"), &[9, id.0]);
                *id
            }
            Input::Measured { id, service, result } => {
                self.mark(|| format!("measured {service:?} {result:?}"), &[21, id.0]);
                *id
            }
            Input::Probed { id, .. }
            | Input::HostRead { id, .. }
            | Input::FeedRead { id, .. }
            | Input::Notified { id, .. }
            | Input::Responded { id, .. } => {
                self.mark(|| format!("poll {id:?}"), &[10, id.0]);
                *id
            }
        };
        self.checks.one_reply(id)
    }

    fn turn(&mut self, effects: Vec<Effect>) -> Checked {
        self.inputs += 1;
        if self.crashes.contains(&self.inputs) {
            return self.crash(effects);
        }
        self.perform(effects)?;
        for model in &self.models {
            model.after_input()?;
        }
        let Some(engine) = &self.engine else { return Ok(()) };
        for place in 0..self.models.len() {
            self.verified_is_read(engine.route_shown(source::service(place)), place)?;
        }
        Ok(())
    }

    /// What is shown as verified is what was read last, whichever group is stable.
    fn verified_is_read(&self, route: (RouteState, Option<Percent>), place: usize) -> Checked {
        let (RouteState::Verified, Some(set)) = route else { return Ok(()) };
        // A change of the roles that the engine has not heard of is on its way.
        let stable = self.models[place].stable;
        let roles = [Some(stable), Some(stable.other()).filter(|_| !self.unheard.is_empty())];
        for router in self.of(place) {
            let read = router.told.flatten();
            let right =
                roles.iter().flatten().any(|stable| read == Some(Weights::for_split(*stable, set)));
            holds("verified_is_read", right, || {
                format!("{} is verified at {set}, {stable:?} is stable: {read:?}", router.name)
            })?;
        }
        Ok(())
    }

    pub(super) fn shown(&mut self) -> Option<Snapshot> {
        self.engine.as_mut().map(Engine::snapshot)
    }

    pub(super) fn of(&self, service: usize) -> Vec<&Router> {
        self.routers.iter().filter(|router| router.service == service).collect()
    }

    /// The process dies after a part of its last effects; a prefix of the journal's queue and
    /// every write on its way may still land.
    fn crash(&mut self, mut effects: Vec<Effect>) -> Checked {
        let done = self.rng.below(effects.len() as u64 + 1);
        effects.truncate(usize::try_from(done).expect("few effects"));
        self.perform(effects)?;
        let asked = &self.asked;
        let waits = self.checks.awaited.iter().filter_map(|id| asked.get(id).cloned());
        self.unanswered.extend(waits);
        self.mark(|| "the engine is killed".to_owned(), &[11]);
        self.engine = None;
        self.checks.restart();
        self.unheard.clear();
        self.said.clear();
        self.ends.clear();
        self.missing.clear();
        let keep = self.rng.below(self.disk.queue.len() as u64 + 1);
        for _ in 0..keep {
            self.disk.flush();
        }
        for waiting in std::mem::take(&mut self.disk.queue) {
            self.disk.lose(&waiting.entry);
        }
        self.disk.forget();
        self.future.retain(|_, happening| match happening {
            Happening::Deliver(_)
            | Happening::Flush
            | Happening::Sample { .. }
            | Happening::Scrape { .. }
            | Happening::AnswerDue { .. }
            | Happening::Settle(_) => false,
            Happening::Land { .. }
            | Happening::Meddle { .. }
            | Happening::SourceFault { .. }
            | Happening::Reset { .. }
            | Happening::Sick { .. }
            | Happening::Operate
            | Happening::Retry(_)
            | Happening::Wall(_)
            | Happening::Suspend(_)
            | Happening::Recover
            | Happening::Fold
            | Happening::Heal => true,
        });
        for router in &mut self.routers {
            router.in_flight = false;
            router.told = None;
            router.been = vec![router.actual];
        }
        let down = self.rng.millis(50, 3000);
        self.after(down, Happening::Recover);
        Ok(())
    }

    fn answer_due(&mut self, id: String, suspended: Duration) -> Checked {
        let missed = self.suspended.saturating_sub(suspended);
        if missed > Duration::ZERO {
            let suspended = self.suspended;
            self.after(missed, Happening::AnswerDue { id, suspended });
            return Ok(());
        }
        holds("one_answer", !self.checks.awaited.contains(&id), || format!("{id} has no answer"))
    }

    pub(super) fn submit(&mut self, submission: Submission) -> Checked {
        if self.engine.is_none() {
            self.unanswered.push(submission);
            return Ok(());
        }
        if let Some(reply) = self.waylaid(&submission) {
            self.checks.awaited.insert(submission.id.clone());
            self.asked.insert(submission.id.clone(), submission.clone());
            self.answered(&reply)?;
            return self.is_done(&submission);
        }
        self.deliver(Input::Submitted(submission))
    }

    pub(super) fn answered(&mut self, reply: &engine::command::Reply) -> Checked {
        use engine::command::Reply;
        // A retry hears the same again.
        let (Reply::Accepted { submission, .. } | Reply::Refused { submission, .. }) = reply;
        let again = self.checks.given.get(submission) == Some(reply);
        self.checks.one_answer(reply)?;
        match reply {
            Reply::Accepted { submission, fence: Some(fence), .. } => {
                let asked = self.asked.get(submission).and_then(|own| own.command.service());
                let service = asked.map(str::to_owned).unwrap_or_default();
                self.checks.accepted_is_on_record(&service, *fence, self.now)
            }
            Reply::Accepted { note, .. } if again && !note.is_empty() => Ok(()),
            Reply::Accepted { submission, fence: None, note } => {
                self.accepted(submission, !note.is_empty())
            }
            Reply::Refused { submission, why } => self.refused(submission, why.display()),
        }
    }

    /// What was not refused is so.
    fn is_done(&self, submission: &Submission) -> Checked {
        use engine::command::Reply;
        let refused = matches!(self.checks.given.get(&submission.id), Some(Reply::Refused { .. }));
        let Command::Pause { service, .. } = &submission.command else { return Ok(()) };
        let open = self.models[self.place(service)].open.as_ref();
        let paused = open.is_none_or(|open| open.state == ReleaseState::Paused);
        holds("accepted_is_done", refused || self.engine.is_none() || paused, || {
            format!("{service} is {:?}", open.map(|open| open.state))
        })
    }

    /// Which entry tells what a person just said?
    fn says(&mut self, submission: &Submission, effects: &[Effect]) {
        let told = effects.iter().find_map(|effect| match effect {
            // What an outage left out is said again, not now.
            Effect::Append { entry, .. } if !self.times.contains_key(&entry.id) => {
                let told = matches!(
                    entry.event,
                    Event::ReleaseChanged { .. }
                        | Event::Answered { .. }
                        | Event::Frozen { .. }
                        | Event::Thawed { .. }
                        | Event::TriggerSet { .. }
                        | Event::Marked { .. }
                );
                told.then(|| entry.id.clone())
            }
            _ => None,
        });
        if let Some(told) = told {
            self.said.insert(submission.id.clone(), told);
        }
    }

    /// What was accepted cannot be lost any more, unless it only restricts and the answer says that
    /// no record has it.
    fn accepted(&self, submission: &str, unrecorded: bool) -> Checked {
        let rule = "accepted_is_on_record";
        let asked = self.asked.get(submission).map(|asked| &asked.command);
        let mut kept = self.disk.entries.iter().chain(&self.disk.spool);
        if matches!(asked, Some(Command::Deploy { .. } | Command::Run { .. })) {
            let kept = kept.any(|entry| {
                matches!(&entry.event, Event::ReleaseStarted(own) if own.submission == submission)
            });
            return holds(rule, kept, || format!("{submission} is on no record"));
        }
        if matches!(asked, Some(Command::Verify { .. })) {
            // It changes nothing.
            return Ok(());
        }
        let said = self.said.get(submission);
        if unrecorded {
            let restricts = asked.is_some_and(people::restricts);
            let due = said.and_then(|said| self.times.get(said));
            let lost = said.is_some_and(|said| self.missing.contains(said))
                || due.is_some_and(|at| self.now.since(*at) >= people::PATIENCE_MIN);
            return holds(rule, restricts && lost, || format!("{asked:?} is accepted unrecorded"));
        }
        let kept = said.is_some_and(|said| kept.any(|entry| entry.id == *said));
        holds(rule, kept, || format!("{asked:?} is accepted, its record {said:?} is not kept"))
    }

    /// Nothing that was said stands between a person and a rollback.
    fn refused(&mut self, submission: &str, why: &str) -> Checked {
        let Some(asked) = self.asked.get(submission).cloned() else { return Ok(()) };
        if self.said.remove(submission).is_some() {
            self.refused_is_not_in_force(&asked)?;
        }
        let back = matches!(asked.command, Command::Rollback { .. });
        holds("a_rollback_is_never_refused", !back || asked.read_only, || {
            format!("{submission}: {why}")
        })
    }

    /// A release waits where a person's word that would let it go on is refused.
    fn refused_is_not_in_force(&mut self, asked: &Submission) -> Checked {
        let service = asked.command.service().filter(|_| people::lets_go_on(&asked.command));
        let Some(service) = service.map(str::to_owned) else { return Ok(()) };
        let place = self.place(&service);
        let Some(shown) = self.shown() else { return Ok(()) };
        let release = shown.services[place].release.as_ref();
        let seen = asked.expected.and_then(|seen| seen.release).map(|(id, _)| id);
        let runs =
            release.is_some_and(|own| own.state == ReleaseState::Running && seen == Some(own.id));
        holds("refused_is_not_in_force", !runs, || format!("{asked:?} is refused: {release:?}"))
    }

    fn heal(&mut self) {
        self.mark(|| "all is healed".to_owned(), &[14]);
        self.flow();
        self.healed = true;
        for router in &mut self.routers {
            router.rates = Rates::default();
        }
        for source in &mut self.sources {
            source.fault = None;
            source.sick = false;
        }
        (self.disk.fail, self.disk.slow, self.disk.stall) = (0, 0, 0);
        self.after(Duration::ZERO, Happening::Recover);
        // An engine that is still to start looks by itself.
        if self.engine.is_some() {
            self.look_soon();
        }
    }

    /// Only what every disk took can be found again.
    fn fold_journal(&mut self) -> Checked {
        let quiet = self.disk.lost == 0 && self.disk.queue.is_empty() && self.disk.spool.is_empty();
        let quiet = quiet && self.unheard.is_empty() && self.missing.is_empty();
        let now = self.clock();
        let Some(running) = self.shown().filter(|_| quiet) else { return Ok(()) };
        if let Some(engine) = &self.engine {
            check::section_is_fresh(&running, engine)?;
        }
        let (settings, entries) = (self.told_settings(), self.remembered());
        let mut ignored = Vec::new();
        let mut folded = Engine::recover(settings, "sim", 1, &entries, Fence(0), now, &mut ignored);
        settle::folded_is_the_same(&running, &folded.snapshot(), now.wall, self.jumped)
    }

    pub(super) fn new_submission(&mut self, command: Command, expected: bool) -> Submission {
        self.submissions += 1;
        let seen = self.shown().and_then(|shown| {
            let name = command.service()?;
            shown.services.iter().find(|view| view.name == name)?.expected()
        });
        let seen = if self.rng.chance(100) && !self.healed { self.stale.or(seen) } else { seen };
        self.stale = seen;
        let user = self.rng.pick(&["ada", "bob"]);
        Submission {
            id: format!("s{}-{}", self.lives, self.submissions),
            command,
            expected: seen.filter(|_| expected),
            seen: Untrusted::new("a screen"),
            actor: engine::types::Actor { user: Untrusted::new(user), uid: Some(1000), ssh: None },
            read_only: !self.healed && self.rng.chance(10),
        }
    }
}
