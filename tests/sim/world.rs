//! The world around one engine: time, routers, disk, operators, and what goes wrong.
//!
//! Decides everything that the engine cannot know, by the seed alone. Never shortens a promise:
//! each effect gets its one reply within its budget. Contract: `future` holds all that will
//! happen; a run is popping it until the end or the first offence. Phase one has faults; phase two
//! heals, and the routes must settle or say why; a last rollback must end verified.

mod people;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use engine::command::{Command, Expected, Submission};
use engine::reading::{Claim, Lease, SplitReading, WriteAnswer};
use engine::record::{Entry, Event, OperationResult};
use engine::settings::Settings;
use engine::snapshot::{Phase, ServiceView};
use engine::types::{
    EffectId, Failure, FailureKind, Fence, Now, Percent, RouterId, ServiceId, Time, Untrusted,
    Weights,
};
use engine::{Appended, Effect, Engine, Input};

use crate::check::{self, Book, Checked, Checks, Offence, holds};
use crate::disk::{Disk, Fate, Waiting};
use crate::fleet;
use crate::rng::Rng;
use crate::router::{Answer, Rates, Router, weights_of};
use crate::{Ran, World as Simulated};

/// After healing: late writes land, routes are read again, verdicts fall.
const SETTLE: Duration = Duration::from_secs(45);
/// A run with more is a loop.
const HAPPENINGS_MAX: u64 = 50_000;
/// A client tries a lost submission again this often.
const RETRY: Duration = Duration::from_millis(700);
/// A last rollback is asked again this often where the journal had forgotten a fence.
const LAST_TRIES_MAX: u32 = 12;

/// Ways in which a driver may be wrong; each must be caught.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// The write goes out with the intent's append, not after it.
    WritesBeforeTheJournal,
    /// The journal says durable for what it dropped.
    JournalForgets,
    /// A read shows what was sent, not what is.
    ReadingsEchoTheWrite,
    /// Each write is sent twice at once.
    WritesTwice,
    /// The fence of a write is one too low.
    FenceIsOff,
    /// The engine's deadlines are not kept.
    SleepsThroughDeadlines,
    /// A verdict that is not verified is recorded as verified.
    VerdictIsPainted,
    /// A record is taken out of the journal.
    RecordVanishes,
    /// Writes never reach the routers, even when healed.
    WritesAreLost,
    /// A retry is taken for something new.
    RetryIsNew,
    /// Replies come twice.
    RepliesTwice,
    /// Every write goes the other way.
    FallsBackAlways,
}

enum Happening {
    Deliver(Input),
    /// The journal's queue comes to its next entry.
    Flush,
    /// A router is read at this instant.
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
    /// A router falls back to what it once was.
    Revert {
        router: usize,
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
    ResultDue {
        service: usize,
        fence: Fence,
        suspended: Duration,
    },
    Heal,
    SettleDue {
        suspended: Duration,
    },
    LastRollback {
        service: usize,
        tries: u32,
    },
    LastDue {
        service: usize,
        tries: u32,
    },
    FoldJournal,
}

/// See [`crate::Plan`].
type Plan = crate::Plan<Mutant>;

pub struct World {
    plan: Plan,
    rng: Rng,
    now: Time,
    /// The world's time when the machine last booted: the engine's clock starts there.
    boot: Time,
    wall: DateTime<Utc>,
    future: BTreeMap<(Time, u64), Happening>,
    order: u64,
    settings: Settings,
    engine: Option<Engine>,
    routers: Vec<Router>,
    disk: Disk,
    disk_free: Time,
    checks: Checks,
    suspended: Duration,
    healed: bool,
    settled: bool,
    inputs: u64,
    crashes: Vec<u64>,
    lives: u64,
    submissions: u64,
    /// Names of all entries that this life asked to append.
    appended: BTreeSet<String>,
    /// All that was ever asked, by its id.
    asked: BTreeMap<String, Submission>,
    stale: Option<Expected>,
    /// Submissions that a recovering engine took up by itself.
    resumed: BTreeSet<String>,
    /// Rollbacks that still owe a result.
    owed: Vec<(usize, Fence)>,
    last_done: Vec<bool>,
    /// What was asked for the last time, until its answer came.
    unanswered: Vec<Submission>,
    trace: u64,
    log: Vec<String>,
}

impl Simulated for World {
    type Mutant = Mutant;
    const TESTS: &'static str = "";

    fn new(plan: Plan) -> World {
        let mut rng = Rng::new(plan.seed);
        let services = if plan.short { 1 } else { 1 + usize::from(rng.chance(400)) };
        let mut counts = Vec::new();
        for _ in 0..services {
            counts.push(if plan.short { rng.pick(&[1, 2]) } else { rng.pick(&[1, 2, 2, 3]) });
        }
        let mut settings = fleet::settings(&counts, !plan.short);
        let mut routers = Vec::new();
        // Dice of their own: the kept seeds stay what they were.
        let mut ways = Rng::new(!plan.seed);
        for own in &mut settings.routers {
            let carries = rng.chance(500);
            let rates = Rates::draw(&mut rng);
            let mut router = Router::new(own.service.index(), own.name.clone(), carries, rates);
            if ways.chance(250) {
                own.fallback = Some("kill switch".to_owned());
                router.other_way = Rates::draw(&mut ways);
            }
            routers.push(router);
        }
        let fail = rng.pick(&[0, 0, 0, 20, 200, 1000]);
        let mut disk = Disk { fail, ..Disk::default() };
        disk.slow = rng.pick(&[0, 0, 50, 300]);
        disk.stall = rng.pick(&[0, 0, 0, 0, 30, 100]);
        disk.spools = rng.pick(&[1000, 1000, 800, 0]);
        let mut world = World {
            plan,
            rng,
            now: Time(1_000_000),
            boot: Time(0),
            wall: DateTime::UNIX_EPOCH + TimeDelta::days(20_000),
            future: BTreeMap::new(),
            order: 0,
            settings,
            engine: None,
            routers,
            disk,
            disk_free: Time(0),
            checks: Checks::default(),
            suspended: Duration::ZERO,
            healed: false,
            settled: false,
            inputs: 0,
            crashes: Vec::new(),
            lives: 0,
            submissions: 0,
            appended: BTreeSet::new(),
            asked: BTreeMap::new(),
            stale: None,
            resumed: BTreeSet::new(),
            owed: Vec::new(),
            last_done: vec![false; services],
            unanswered: Vec::new(),
            trace: 0xcbf2_9ce4_8422_2325,
            log: Vec::new(),
        };
        world.foresee();
        world
    }

    fn run(&mut self) -> Result<Ran, Offence> {
        let mut happenings = 0_u64;
        while !self.last_done.iter().all(|done| *done) || !self.settled {
            happenings += 1;
            holds("the_world_ends", happenings < HAPPENINGS_MAX, || {
                format!("{happenings} happenings by {:?}", self.now)
            })?;
            let due = self.engine.as_ref().and_then(Engine::next_deadline);
            let due = due.map(|(at, _)| Time(at.0 + self.boot.0));
            let next = self.future.first_key_value().map(|((at, _), _)| *at);
            let sleeps = self.plan.mutant == Some(Mutant::SleepsThroughDeadlines) && self.lives > 0;
            match (due, next) {
                (Some(due), next) if next.is_none_or(|next| due <= next) && !self.dozes(sleeps) => {
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
                    return Err(Offence {
                        rule: "the_world_ends",
                        text: "nothing will ever happen".to_owned(),
                    });
                }
            }
        }
        self.fold_journal()?;
        check::chain_holds(&self.disk.records, &self.disk.chain)?;
        Ok(Ran { trace: self.trace, inputs: self.inputs, ..Ran::default() })
    }

    fn log(&self) -> &[String] {
        &self.log
    }
}

impl World {
    /// Puts the faults and the operators of the seed into the future.
    fn foresee(&mut self) {
        let end = if self.plan.short { 12_000 } else { 20_000 + self.rng.below(25_000) };
        let acts = if self.plan.short { 3 } else { 3 + self.rng.below(6) };
        self.after(Duration::ZERO, Happening::Recover);
        for _ in 0..acts {
            let at = self.rng.millis(400, end);
            self.after(at, Happening::Operate);
        }
        for _ in 0..self.rng.pick(&[0, 0, 1, 3]) {
            let (at, router) = (self.rng.millis(400, end), self.any_router());
            self.after(at, Happening::Meddle { router });
        }
        for _ in 0..self.rng.pick(&[0, 0, 1, 2]) {
            let (at, router) = (self.rng.millis(400, end), self.any_router());
            self.after(at, Happening::Revert { router });
        }
        if self.rng.chance(300) {
            let (at, by) = (self.rng.millis(0, end), self.rng.pick(&[-3600, -5, 5, 3600]));
            self.after(at, Happening::Wall(by));
        }
        if self.rng.chance(200) {
            let (at, span) = (self.rng.millis(0, end), self.rng.millis(100, 40_000));
            self.after(at, Happening::Suspend(span));
        }
        match self.plan.crash_at {
            Some(at) => self.crashes.push(at),
            None if self.plan.short => {}
            None => {
                for _ in 0..self.rng.pick(&[0, 1, 1, 1, 2]) {
                    let at = 1 + self.rng.below(250);
                    self.crashes.push(at);
                }
            }
        }
        self.after(Duration::from_millis(end), Happening::Heal);
    }

    fn any_router(&mut self) -> usize {
        let count = self.routers.len() as u64;
        usize::try_from(self.rng.below(count)).expect("few routers")
    }

    fn after(&mut self, span: Duration, happening: Happening) {
        self.order += 1;
        self.future.insert((self.now + span, self.order), happening);
    }

    fn clock(&self) -> Now {
        let since = self.now.since(Time(0));
        let wall = self.wall + TimeDelta::from_std(since).expect("a run is short");
        Now { mono: Time(self.now.0 - self.boot.0), wall }
    }

    /// A sleeping driver wakes for routers and pollers, but not for verdicts.
    fn dozes(&self, sleeps: bool) -> bool {
        use engine::Timer;
        let timer = self.engine.as_ref().and_then(Engine::next_deadline).map(|(_, timer)| timer);
        sleeps && matches!(timer, Some(Timer::Decide(_) | Timer::Journal(_)))
    }

    fn mark(&mut self, text: impl Fn() -> String, words: &[u64]) {
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
            Happening::Deliver(input) => self.deliver(input),
            Happening::Flush => {
                self.flush();
                Ok(())
            }
            Happening::Sample { id, router } => {
                self.sample(id, router);
                Ok(())
            }
            Happening::Land { router, weights, fence } => {
                self.mark(|| format!("edge {router} becomes {weights:?} by {fence}"), &[1, fence]);
                self.routers[router].becomes(weights, Some(fence));
                Ok(())
            }
            Happening::Meddle { router } => {
                let percent = self.rng.pick(&[0, 1, 5, 25, 50, 99, 100]);
                let b = Percent::new(percent).expect("a percent");
                self.mark(|| format!("someone sets edge {router} to {percent}"), &[2]);
                self.routers[router].becomes(Weights { a: b.rest(), b }, None);
                Ok(())
            }
            Happening::Revert { router } => {
                self.mark(|| format!("edge {router} falls back"), &[15]);
                self.routers[router].reverts(&mut self.rng);
                Ok(())
            }
            Happening::Operate => self.operate(),
            Happening::Retry(submission) => self.submit(submission),
            Happening::Wall(by) => {
                self.mark(|| format!("the wall clock jumps by {by} s"), &[3]);
                self.wall += TimeDelta::seconds(by);
                Ok(())
            }
            Happening::Suspend(span) => {
                self.mark(|| format!("suspended for {span:?}"), &[4]);
                self.now = self.now + span;
                self.suspended += span;
                Ok(())
            }
            Happening::Recover => self.recover(),
            Happening::AnswerDue { id, suspended } => self.answer_due(id, suspended),
            Happening::ResultDue { service, fence, suspended } => {
                self.result_due(service, fence, suspended)
            }
            Happening::Heal => {
                self.heal();
                Ok(())
            }
            Happening::SettleDue { suspended } => self.settle_due(suspended),
            Happening::LastRollback { service, tries } => self.last_rollback(service, tries),
            Happening::LastDue { service, tries } => self.last_due(service, tries),
            Happening::FoldJournal => self.fold_journal(),
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
        check::chain_holds(&self.disk.records, &self.disk.chain)?;
        self.mark(|| "an engine starts".to_owned(), &[5]);
        let mut effects = Vec::new();
        let seed = self.plan.seed.wrapping_mul(31).wrapping_add(self.lives);
        let engine = check::needed_is_enough(
            &self.settings,
            seed,
            &self.disk.entries,
            Fence(self.routers.iter().map(|router| router.fence_max).max().unwrap_or_default()),
            self.clock(),
            &mut effects,
        )?;
        self.engine = Some(engine);
        self.forget_lost_intents();
        self.resume(&mut effects);
        self.perform(effects)?;
        for (service, fence) in std::mem::take(&mut self.owed) {
            self.owe(service, fence);
        }
        let asked = std::mem::take(&mut self.unanswered);
        for submission in asked {
            self.after(RETRY, Happening::Retry(submission));
        }
        if self.healed && !self.settled {
            self.settle();
        }
        if self.settled {
            for service in 0..self.last_done.len() {
                self.after(RETRY, Happening::LastRollback { service, tries: 0 });
            }
        }
        Ok(())
    }

    /// Intents that no disk took are gone; the others are on record now.
    fn forget_lost_intents(&mut self) {
        let kept: BTreeSet<(String, Fence)> = self
            .disk
            .entries
            .iter()
            .filter_map(|entry| match &entry.event {
                Event::Intent(intent) => Some((intent.service.clone(), intent.fence)),
                _ => None,
            })
            .collect();
        self.checks.books.retain(|key, _| kept.contains(key));
        for book in self.checks.books.values_mut() {
            book.fate = Some(Fate::Durable);
        }
        self.checks.forget_answers();
        let books = &self.checks.books;
        let names: Vec<&str> = self.settings.services.iter().map(|s| s.name.as_str()).collect();
        self.owed
            .retain(|(service, fence)| books.contains_key(&(names[*service].to_owned(), *fence)));
    }

    /// What a recovering engine takes up again carries the old submission under a new fence.
    fn resume(&mut self, effects: &mut [Effect]) {
        for effect in effects.iter() {
            let Effect::Append { entry, .. } = effect else { continue };
            let Event::Intent(intent) = &entry.event else { continue };
            let old = self.checks.books.iter().find_map(|(key, book)| {
                (book.intent.submission == intent.submission).then(|| key.clone())
            });
            let Some(old) = old else { continue };
            self.checks.books.remove(&old);
            self.resumed.insert(intent.submission.clone());
            for (_, fence) in &mut self.owed {
                if *fence == old.1 {
                    *fence = intent.fence;
                }
            }
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

    fn deliver(&mut self, input: Input) -> Checked {
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
        let first = self.checks.awaited.insert(submission.id.clone());
        self.asked.insert(submission.id.clone(), submission.clone());
        self.turn(effects)?;
        if self.engine.is_some() && first && self.checks.awaited.contains(&submission.id) {
            holds("one_answer", people::changes(&submission.command).is_some(), || {
                format!("{} waits, though it changes nothing", submission.id)
            })?;
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
                self.mark(|| format!("journal {id:?} {result:?}"), &[9, id.0]);
                *id
            }
            Input::Probed { id, .. }
            | Input::HostRead { id, .. }
            | Input::FeedRead { id, .. }
            | Input::Measured { id, .. }
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
        let Some(engine) = &self.engine else { return Ok(()) };
        for (place, service) in (0..self.settings.services.len()).zip(0..) {
            let own = self.routers.iter().filter(|router| router.service == place);
            check::verified_is_read(engine.route_shown(ServiceId(service)), own)?;
        }
        Ok(())
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
        self.appended.clear();
        let keep = self.rng.below(self.disk.queue.len() as u64 + 1);
        for _ in 0..keep {
            self.disk.flush();
        }
        for waiting in std::mem::take(&mut self.disk.queue) {
            self.disk.lose(&waiting.entry);
        }
        // What it kept to be appended again dies with it.
        self.disk.forget();
        self.future.retain(|_, happening| match happening {
            Happening::Deliver(_)
            | Happening::Flush
            | Happening::Sample { .. }
            | Happening::AnswerDue { .. }
            | Happening::ResultDue { .. }
            | Happening::SettleDue { .. }
            | Happening::LastRollback { .. }
            | Happening::LastDue { .. } => false,
            Happening::Land { .. }
            | Happening::Meddle { .. }
            | Happening::Revert { .. }
            | Happening::Operate
            | Happening::Retry(_)
            | Happening::Wall(_)
            | Happening::Suspend(_)
            | Happening::Recover
            | Happening::Heal
            | Happening::FoldJournal => true,
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

    // Effects.

    fn perform(&mut self, mut effects: Vec<Effect>) -> Checked {
        self.checks.effects_are_bounded(&effects)?;
        self.mutate(&mut effects);
        for effect in effects {
            self.mark(|| format!("  → {effect:?}"), &[12]);
            self.effect(effect)?;
        }
        Ok(())
    }

    /// A wrong driver, where the plan asks for one.
    fn mutate(&mut self, effects: &mut Vec<Effect>) {
        let Some(mutant) = self.plan.mutant else { return };
        let mut more = Vec::new();
        for effect in effects.iter_mut() {
            match (mutant, effect) {
                (Mutant::WritesBeforeTheJournal, Effect::Append { id, entry, .. }) => {
                    let Event::Intent(intent) = &entry.event else { continue };
                    let service = self.settings.service_named(&intent.service);
                    let Some(service) = service else { continue };
                    more.push(Effect::SetSplit {
                        id: EffectId(id.0 + 1_000_000),
                        router: self.settings.service(service).routers[0],
                        weights: Weights::for_split(intent.stable, intent.to),
                        fence: intent.fence,
                        claim: Claim::default(),
                        fallback: false,
                        budget: Duration::from_secs(1),
                    });
                }
                (Mutant::WritesTwice, effect @ Effect::SetSplit { .. }) => {
                    more.push(effect.clone());
                }
                (Mutant::FenceIsOff, Effect::SetSplit { fence, .. }) => {
                    fence.0 = fence.0.saturating_sub(1);
                }
                (Mutant::FallsBackAlways, Effect::SetSplit { fallback, .. }) => *fallback = true,
                (Mutant::VerdictIsPainted, Effect::Append { entry, .. }) => {
                    if let Event::Outcome(outcome) = &mut entry.event {
                        outcome.result = OperationResult::Verified;
                    }
                }
                (_, _) => {}
            }
        }
        effects.extend(more);
    }

    fn effect(&mut self, effect: Effect) -> Checked {
        let wait = self.rng.millis(1, 1500);
        let input = match effect {
            Effect::Probe { id, probe } => {
                Input::Probed { id, probe, observation: fleet::observation(&mut self.rng) }
            }
            Effect::ReadHost { id, host } => {
                Input::HostRead { id, host, result: fleet::host(&mut self.rng) }
            }
            Effect::ReadFeed { id, feed } => {
                Input::FeedRead { id, feed, result: fleet::feed(&mut self.rng) }
            }
            Effect::Measure { id, service } => {
                let at = self.clock().wall;
                let result = fleet::measurement(&mut self.rng, at);
                Input::Measured { id, service, result }
            }
            Effect::Task { id, .. } => {
                let answer = fleet::task(&mut self.rng);
                Input::TaskEnded { id, answer }
            }
            Effect::Notify { id, .. } => {
                Input::Notified { id, answer: engine::reading::NotifyAnswer::Sent }
            }
            Effect::Acknowledge { id, key, .. } | Effect::Escalate { id, key, .. } => {
                let failed = self.rng.chance(300);
                let result = if failed { Err(fleet::failure(&mut self.rng)) } else { Ok(()) };
                Input::Responded { id, key, result }
            }
            Effect::SetSplit { id, router, weights, fence, fallback, budget, .. } => {
                let name = &self.settings.services[self.routers[router.index()].service].name;
                self.checks.other_way_is_for_safety(name, fence, weights, fallback)?;
                return self.set_split(id, router, weights, fence, fallback, budget);
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

    fn set_split(
        &mut self,
        id: EffectId,
        router_id: RouterId,
        weights: Weights,
        fence: Fence,
        fallback: bool,
        budget: Duration,
    ) -> Checked {
        let place = router_id.index();
        let service = &self.settings.services[self.routers[place].service].name;
        self.checks.write_follows_intent(service, fence, weights, self.now)?;
        let router = &mut self.routers[place];
        check::one_write_in_flight(router, fence, self.disk.lost_intents)?;
        router.in_flight = true;
        router.sent_fence = fence.0;
        router.sent = weights;
        router.been = vec![router.actual];
        let fate = router.write(fence.0, fallback, budget, &mut self.rng);
        let lost = self.plan.mutant == Some(Mutant::WritesAreLost);
        if let Some(lands) = fate.lands.filter(|_| !lost) {
            self.after(lands, Happening::Land { router: place, weights, fence: fence.0 });
        }
        let why = Untrusted::new("the world said so");
        let answer = match fate.reply {
            Answer::Applied => WriteAnswer::Applied,
            Answer::Rejected => WriteAnswer::Rejected { why, newer: None },
            Answer::Unknown => WriteAnswer::Unknown { why },
        };
        let input = Input::SplitSet { id, router: router_id, answer };
        if self.plan.mutant == Some(Mutant::RepliesTwice) {
            self.after(fate.after, Happening::Deliver(input.clone()));
        }
        self.after(fate.after, Happening::Deliver(input));
        Ok(())
    }

    fn read_split(&mut self, id: EffectId, router: RouterId, budget: Duration) {
        let unreadable = self.routers[router.index()].rates.unreadable;
        if self.rng.chance(unreadable) {
            let after = if self.rng.chance(500) { budget } else { self.rng.millis(1, 30) };
            let result = Err(Failure::new(FailureKind::Timeout, "unreadable"));
            self.after(after, Happening::Deliver(Input::SplitRead { id, router, result }));
        } else {
            let after = self.rng.millis(1, 20);
            self.after(after, Happening::Sample { id, router });
        }
    }

    fn sample(&mut self, id: EffectId, router: RouterId) {
        let own = &self.routers[router.index()];
        let echo = self.plan.mutant == Some(Mutant::ReadingsEchoTheWrite);
        let shown = if echo { own.sent } else { own.actual };
        let reading = SplitReading {
            a: f64::from(shown.a.get()),
            b: f64::from(shown.b.get()),
            fence: if echo { Some(own.sent_fence) } else { own.carried }.filter(|_| own.carries),
            note: Untrusted::default(),
            lease: Lease::default(),
        };
        let after = self.rng.millis(0, 10);
        let input = Input::SplitRead { id, router, result: Ok(reading) };
        self.after(after, Happening::Deliver(input));
    }

    fn append(&mut self, id: EffectId, entry: Entry, safety: bool) -> Checked {
        // What a disk refused is asked for again under its old name; it is on record once.
        let again = !self.appended.insert(entry.id.clone());
        if again {
            let taken = |own: &Entry| own.id == entry.id;
            let twice = self.disk.entries.iter().chain(&self.disk.spool).any(taken)
                || self.disk.queue.iter().any(|waiting| taken(&waiting.entry));
            holds("recorded_once", !twice, || format!("{entry:?} is recorded again"))?;
            self.disk.found(&entry);
        }
        match &entry.event {
            _ if again => {}
            Event::Intent(intent) => {
                self.checks.submission_acts_once(intent)?;
                let service = self.place(&intent.service);
                let told = of(&self.routers, service)
                    .iter()
                    .filter_map(|router| router.told.flatten())
                    .map(|weights| weights.b.get())
                    .max();
                Checks::safety_is_no_pretext(intent, safety, told)?;
                let key = (intent.service.clone(), intent.fence);
                let resumes = self.resumed.contains(&intent.submission);
                let (intent, asked) = (intent.clone(), self.now);
                let book = Book { intent, safety, asked, fate: None, refused: false, resumes };
                self.checks.books.insert(key, book);
            }
            Event::Outcome(outcome) => {
                let service = self.place(&outcome.service);
                self.checks.verified_was_true(outcome, &of(&self.routers, service))?;
                let key = (outcome.service.clone(), outcome.fence);
                if let Some(book) = self.checks.books.get_mut(&key) {
                    book.refused = outcome.result == OperationResult::Refused;
                }
            }
            _ => {}
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
        self.disk.queue.push_back(Waiting { id, entry, fate, safety });
        self.after(wait, Happening::Flush);
        Ok(())
    }

    fn place(&self, service: &str) -> usize {
        let place = self.settings.services.iter().position(|own| own.name == service);
        place.expect("an entry names a service that there is")
    }

    fn flush(&mut self) {
        let Some(front) = self.disk.queue.front() else { return };
        let forgets = self.plan.mutant == Some(Mutant::JournalForgets);
        let intent = matches!(front.entry.event, Event::Intent(_));
        let waiting =
            if forgets && intent { self.disk.queue.pop_front() } else { self.disk.flush() };
        let Some(Waiting { id, entry, fate, .. }) = waiting else { return };
        if self.plan.mutant == Some(Mutant::RecordVanishes) && self.disk.records.len() == 8 {
            self.disk.records.remove(4);
        }
        if let Event::Intent(intent) = &entry.event {
            let key = (intent.service.clone(), intent.fence);
            if let Some(book) = self.checks.books.get_mut(&key) {
                book.fate = Some(fate);
            }
        }
        let why = Untrusted::new("the disk said no");
        let result = match fate {
            Fate::Durable => Appended::Durable,
            Fate::Spooled => Appended::Spooled { why },
            Fate::Failed => Appended::Failed { why },
        };
        let seal = self
            .disk
            .chain
            .head
            .bytes()
            .fold(0, |sum: u64, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
        self.mark(|| format!("disk {id:?} {fate:?}"), &[13, seal]);
        self.after(Duration::ZERO, Happening::Deliver(Input::Appended { id, result }));
    }

    // Phase two.

    fn heal(&mut self) {
        self.mark(|| "all is healed".to_owned(), &[14]);
        self.healed = true;
        for router in &mut self.routers {
            router.rates = Rates::default();
        }
        self.disk.fail = 0;
        self.disk.slow = 0;
        self.disk.stall = 0;
        self.after(Duration::ZERO, Happening::Recover);
        self.settle();
    }

    /// What a disk was asked for before it healed still comes to its fate, and only then is it
    /// asked for again.
    fn settle(&mut self) {
        let span = self.disk_free.since(self.now) + SETTLE;
        self.after(span, Happening::SettleDue { suspended: self.suspended });
    }

    fn settle_due(&mut self, suspended: Duration) -> Checked {
        if self.settled {
            // A start after the healing looked first.
            return Ok(());
        }
        let missed = self.suspended.saturating_sub(suspended);
        if missed > Duration::ZERO {
            let suspended = self.suspended;
            self.after(missed, Happening::SettleDue { suspended });
            return Ok(());
        }
        let Some(shown) = self.shown() else { return Ok(()) };
        let refused = &self.disk.refused;
        holds("outage_is_made_up_for", refused.is_empty(), || {
            format!("{refused:?} are asked for no more")
        })?;
        for place in 0..shown.services.len() {
            check::settles_or_says_why(&shown, place, &of(&self.routers, place))?;
        }
        self.settled = true;
        self.after(Duration::ZERO, Happening::FoldJournal);
        for service in 0..shown.services.len() {
            self.after(RETRY, Happening::LastRollback { service, tries: 0 });
        }
        Ok(())
    }

    fn last_rollback(&mut self, service: usize, tries: u32) -> Checked {
        self.last_done[service] = false;
        let name = self.settings.services[service].name.clone();
        let reason = Untrusted::new("the last word");
        let mut submission = self.submission(Command::Rollback { service: name, reason }, None);
        submission.id = format!("last-{service}-{}-{tries}", self.lives);
        submission.read_only = false;
        self.after(check::RESULT_WITHIN, Happening::LastDue { service, tries });
        self.submit(submission)
    }

    fn last_due(&mut self, service: usize, tries: u32) -> Checked {
        let Some(shown) = self.shown() else { return Ok(()) };
        let routers = of(&self.routers, service);
        let converged = check::rollback_converges(&shown.services[service], &routers);
        if converged.is_err() && self.disk.lost_intents > 0 && tries < LAST_TRIES_MAX {
            self.after(RETRY, Happening::LastRollback { service, tries: tries + 1 });
            return Ok(());
        }
        self.last_done[service] = true;
        converged
    }

    /// Only what every disk took can be found again.
    fn fold_journal(&mut self) -> Checked {
        let quiet = self.disk.lost == 0 && self.disk.queue.is_empty() && self.disk.spool.is_empty();
        let now = self.clock();
        let quiet = quiet && self.disk.refused.is_empty();
        let Some(engine) = self.engine.as_mut().filter(|_| quiet) else {
            return Ok(());
        };
        let running = engine.snapshot();
        check::section_is_fresh(&running, engine)?;
        let moves = |view: &ServiceView| {
            let phase = view.operation.as_ref().map(|operation| operation.phase);
            phase.is_some_and(|phase| !matches!(phase, Phase::Ended(_)))
        };
        if running.services().any(moves) {
            return Ok(());
        }
        let mut ignored = Vec::new();
        let (settings, entries) = (self.settings.clone(), &self.disk.entries);
        let mut folded = Engine::recover(settings, "sim", 1, entries, Fence(0), now, &mut ignored);
        check::journal_is_state(&running, &folded.snapshot())
    }
}

fn of(routers: &[Router], service: usize) -> Vec<&Router> {
    routers.iter().filter(|router| router.service == service).collect()
}
