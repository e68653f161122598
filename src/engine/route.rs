//! The route of one service: what is wanted, what the routers show, and the operation between.
//!
//! Decides every write to a router. Never shows as done what was not read back. Contract, by what
//! is known and not by how it came about:
//!
//! ```text
//! change in flight?  observed    → state       → effect
//! no                 = set       Verified      read again after the router's interval
//! no                 ≠ set       Drifted       record; correct it only under rule 8
//! no                 unknown     Unverified    read again with back-off
//! yes, no reply      any         Changing      none: the adapter's budget guarantees a reply
//! yes, any reply     any         Changing      read, then one of the rows above
//! superseded         any         Changing      let the write in flight end, then the newest set
//! ```

mod deadline;
mod drift;
mod others;
mod shown;

use std::collections::VecDeque;
use std::time::Duration;

use self::others::RENEW_EVERY;
use crate::Effect;
use crate::command::Reply;
use crate::ledger::{Ledger, Purpose};
use crate::reading::{SplitReading, WriteAnswer};
use crate::record::{Event, Intent, OperationResult, Outcome, RouterProof};
use crate::schedule::{Schedule, Timer};
use crate::settings::Settings;
use crate::snapshot::{JournalState, Phase, RouteState, RouterProgress};
use crate::types::{
    Actor, EffectId, Failure, Fence, Group, Now, Percent, RouterId, ServiceId, Time, Untrusted,
    Weights,
};

/// A verdict is shown at the latest this long after the request: five seconds are left of the
/// promised thirty to record and draw it.
pub const DECIDE_AFTER: Duration = Duration::from_secs(25);

/// A change toward safety waits for the journal at most this long.
const JOURNAL_PATIENCE: Duration = Duration::from_millis(1500);

/// Reads after a write before it is tried again; the pauses before the second and third.
const READ_PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(200)];

/// Toward exposure a write is tried this often, then people decide.
const EXPOSURE_TRIES_MAX: u32 = 3;

/// Longest pause between tries: while deciding, and while converging after the verdict.
const PAUSE_MAX: Duration = Duration::from_secs(2);
const CONVERGE_PAUSE: Duration = Duration::from_secs(5);

/// After an emergency rollback drift is corrected for this long.
pub const HOLD: Duration = Duration::from_mins(15);

/// Corrections of drift since the last operation; more would be a war with another writer.
const CORRECTIONS_MAX: u32 = 2;

/// Submissions that wait for the same intent: more than there are people at consoles.
const WAITING_MAX: usize = 64;

/// Writes remembered to recognise one of them landing late.
const WRITTEN_MAX: usize = 16;

/// Half a point: below it the nearest whole percent is the one that was set.
const ROUNDING: f64 = 0.5;

/// Shares are quotients of whole weights: this is no share, only what the division left over.
const EXACT: f64 = 0.001;

/// What the route may use while it decides.
pub struct Context<'a> {
    pub now: Now,
    pub settings: &'a Settings,
    pub effects: &'a mut Vec<Effect>,
    pub last_id: &'a mut u64,
    pub schedule: &'a mut Schedule,
    pub ledger: &'a mut Ledger,
    /// The highest fence of any operation.
    pub fence: &'a mut Fence,
    /// Trouble that belongs on the incident board: key, name, summary; `None` resolves the key.
    pub raised: &'a mut Vec<(String, Option<(String, String)>)>,
}

impl Context<'_> {
    pub fn id(&mut self) -> EffectId {
        *self.last_id += 1;
        EffectId(*self.last_id)
    }

    pub fn append(&mut self, actor: Actor, event: Event, purpose: Purpose, safety: bool) {
        let id = self.id();
        let effect = self.ledger.append(id, self.now, actor, event, purpose, safety);
        self.effects.push(effect);
    }
}

#[derive(Debug)]
pub struct Route {
    service: ServiceId,
    pub stable: Group,
    pub set: Option<Percent>,
    /// Of the last accepted operation: what a command must have seen.
    pub fence: Fence,
    /// Of the operation that `set` comes from: the only fence that is ever written.
    pub applied: Fence,
    routers: Vec<Router>,
    operation: Option<Operation>,
    hold_until: Option<Time>,
    /// The highest fence that another engine wrote under.
    foreign: Fence,
    /// Another engine's operation took the routers since the last of this one: whose.
    yielded: Option<Untrusted>,
    /// What the engine was not told of yet.
    news: Option<Untrusted>,
    /// The release in flight, as other engines are told.
    pub release: Option<String>,
}

#[derive(Debug)]
struct Router {
    id: RouterId,
    /// Percent to the canary as last read.
    reading: Option<(SplitReading, Now)>,
    error: Untrusted,
    busy: Option<(EffectId, Busy)>,
    step: Step,
    tries: u32,
    reads: u32,
    read_failures: u32,
    sent: Option<Now>,
    proven: Option<Now>,
    gave_up: bool,
    refused: bool,
    answer: Untrusted,
    written: VecDeque<(Fence, Percent)>,
    corrections: u32,
    drifted: bool,
    /// Writes of this operation that are still to go the other way.
    fallbacks: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Busy {
    Write { fence: Fence, fallback: bool },
    Read,
}

/// What comes next for a router, once it is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Write,
    Read,
    Settled,
}

#[derive(Clone, Debug)]
pub struct Operation {
    pub fence: Fence,
    pub submission: String,
    pub verb: String,
    pub actor: Actor,
    pub reason: Untrusted,
    pub seen: Untrusted,
    pub from: Option<Percent>,
    pub to: Percent,
    /// Toward less exposure: may go on without a journal, and is tried until it is proven.
    pub safety: bool,
    /// Found open after a restart: the world is read before anything is written.
    pub resumed: bool,
    pub requested: Now,
    pub phase: Phase,
    pub changed: Now,
    verdict: Option<OperationResult>,
    sentence: Untrusted,
    /// Submissions to answer once the intent is durable: what was acknowledged is never lost.
    waiting: Vec<String>,
    /// Its fences before it took the routers from another engine.
    earlier: Vec<Fence>,
}

impl Operation {
    #[must_use]
    pub fn new(fence: Fence, intent: Intent, actor: Actor, safety: bool, now: Now) -> Operation {
        Operation {
            fence,
            waiting: vec![intent.submission.clone()],
            submission: intent.submission,
            verb: intent.verb,
            actor,
            reason: intent.reason,
            seen: intent.seen,
            from: intent.from,
            to: intent.to,
            safety,
            resumed: false,
            requested: now,
            phase: Phase::Accepted,
            changed: now,
            verdict: None,
            sentence: Untrusted::new("waiting for the journal"),
            earlier: Vec::new(),
        }
    }

    #[must_use]
    pub fn in_flight(&self) -> bool {
        !matches!(self.phase, Phase::Ended(_))
    }

    /// What is proven and what is not.
    #[must_use]
    pub fn sentence(&self) -> &str {
        self.sentence.display()
    }

    /// This submission gets its answer when the journal has answered.
    #[must_use]
    pub fn waits(&self, submission: &str) -> bool {
        self.waiting.iter().any(|waiting| waiting == submission)
    }

    /// The answer to each client that waits, once.
    fn accepted(&mut self) -> impl Iterator<Item = Effect> + use<> {
        let fence = Some(self.fence);
        let waiting = std::mem::take(&mut self.waiting).into_iter();
        waiting.map(move |submission| Effect::Answer(Reply::accepted(submission, fence)))
    }

    fn refused(&mut self, why: &str) -> impl Iterator<Item = Effect> + use<> {
        let why = Untrusted::new(why);
        let waiting = std::mem::take(&mut self.waiting).into_iter();
        waiting
            .map(move |submission| Effect::Answer(Reply::Refused { submission, why: why.clone() }))
    }

    /// Found open after a restart: its intent was on record, so nobody waits for that.
    #[must_use]
    pub fn resumed(mut self) -> Operation {
        self.resumed = true;
        self.waiting.clear();
        self
    }

    /// Begun by the engine itself: nobody waits for an answer.
    #[must_use]
    pub fn unasked(mut self) -> Operation {
        self.waiting.clear();
        self
    }

    /// An operation that ended before this engine started, as the journal tells it.
    #[must_use]
    pub fn ended(mut self, result: OperationResult, sentence: &Untrusted) -> Operation {
        self.phase = Phase::Ended(result);
        self.verdict = Some(result);
        self.sentence = sentence.clone();
        self.waiting.clear();
        self
    }

    fn enter(&mut self, phase: Phase, sentence: &str, now: Now) {
        self.phase = phase;
        self.changed = now;
        self.sentence = Untrusted::new(sentence);
    }
}

impl Route {
    #[must_use]
    pub fn new(service: ServiceId, routers: &[RouterId]) -> Route {
        Route {
            service,
            stable: Group::A,
            set: None,
            fence: Fence(0),
            applied: Fence(0),
            routers: routers.iter().map(|&id| Router::new(id)).collect(),
            operation: None,
            hold_until: None,
            foreign: Fence(0),
            yielded: None,
            news: None,
            release: None,
        }
    }

    #[must_use]
    pub fn operation(&self) -> Option<&Operation> {
        self.operation.as_ref()
    }

    /// One more submission wants what the operation in flight does. It waits for the journal as
    /// the first one does, or gets the fence at once; `Err` when too many wait already.
    pub fn join(&mut self, submission: &str) -> Result<Option<Fence>, String> {
        let Some(operation) = self.operation.as_mut() else { return Ok(None) };
        if operation.phase != Phase::Accepted {
            return Ok(Some(operation.fence));
        }
        if operation.waiting.len() >= WAITING_MAX {
            return Err(format!("#{} waits for the journal: ask again", operation.fence));
        }
        operation.waiting.push(submission.to_owned());
        Ok(None)
    }

    /// How the operation with this fence ended; `None` while it is in flight.
    #[must_use]
    pub fn result_of(&self, fence: Fence) -> Option<OperationResult> {
        let same = |operation: &Operation| operation.earlier.contains(&fence);
        if self.fence > fence && !self.operation.as_ref().is_some_and(same) {
            return Some(OperationResult::Superseded);
        }
        match self.operation.as_ref()?.phase {
            Phase::Ended(result) => Some(result),
            Phase::Accepted | Phase::Applying | Phase::Recording => None,
        }
    }

    /// An operation is in flight.
    #[must_use]
    pub fn is_changing(&self) -> bool {
        self.operation.as_ref().is_some_and(Operation::in_flight)
    }

    /// Part of the traffic is on the canary, or drift is being corrected after a rollback.
    #[must_use]
    pub fn wants_watching(&self, now: Time) -> bool {
        let between = |set: Percent| set != Percent::ZERO && set != Percent::FULL;
        self.has_routers() && (self.set.is_some_and(between) || self.holding(now))
    }

    #[must_use]
    pub fn has_routers(&self) -> bool {
        !self.routers.is_empty()
    }

    /// The arms change roles: what was canary has all the traffic and is stable now.
    pub fn finalise(&mut self) {
        self.stable = self.stable.other();
        self.set = Some(Percent::ZERO);
    }

    #[must_use]
    pub fn has(&self, router: RouterId) -> bool {
        self.routers.iter().any(|own| own.id == router)
    }

    /// The most that the canary may be getting now; `None` when a router could not say.
    #[must_use]
    pub fn exposure(&self) -> Option<f64> {
        self.routers
            .iter()
            .map(|router| if router.error.is_empty() { router.canary(self.stable) } else { None })
            .try_fold(0.0_f64, |most, canary| Some(most.max(canary?)))
    }

    /// Names of the routers whose last read failed or never came.
    #[must_use]
    pub fn unreadable(&self, settings: &Settings) -> Vec<String> {
        self.routers
            .iter()
            .filter(|router| router.reading.is_none() || !router.error.is_empty())
            .map(|router| settings.router(router.id).name.clone())
            .collect()
    }

    /// Shows an operation that ended before this engine started.
    pub fn show_ended(&mut self, operation: Operation) {
        self.operation = Some(operation);
    }

    pub fn hold(&mut self, until: Time) {
        self.hold_until = Some(until);
    }

    /// Starts an operation: its intent goes to the journal, nothing else happens yet. One in
    /// flight is superseded.
    pub fn begin(&mut self, mut operation: Operation, ctx: &mut Context) {
        let service = ctx.settings.service(self.service);
        let intent = Intent {
            fence: operation.fence,
            submission: operation.submission.clone(),
            service: service.name.clone(),
            verb: operation.verb.clone(),
            stable: self.stable,
            from: operation.from,
            to: operation.to,
            reason: operation.reason.clone(),
            seen: operation.seen.clone(),
            routers: self.router_names(ctx.settings),
        };
        ctx.append(
            operation.actor.clone(),
            Event::Intent(intent),
            Purpose::Intent(self.service, operation.fence),
            operation.safety,
        );
        if let Some(old) = self.operation.take().filter(Operation::in_flight) {
            let sentence = format!("superseded by #{} {}", operation.fence, operation.verb);
            ctx.effects.extend(old.clone().refused(&sentence));
            self.record_outcome(&old, OperationResult::Superseded, &sentence, Purpose::Note, ctx);
        }
        operation.changed = ctx.now;
        self.fence = operation.fence;
        // What the old operation still wanted written must not go out under the new fence.
        // Nor may what the old one proved stand beside the new one.
        for router in &mut self.routers {
            router.forget(Step::Settled);
        }
        self.set_deadlines(&operation, ctx);
        if operation.safety {
            ctx.schedule.set(Timer::Journal(self.service), ctx.now.mono + JOURNAL_PATIENCE);
        }
        self.operation = Some(operation);
    }

    /// The journal's answer about an intent.
    pub fn intent_appended(&mut self, fence: Fence, failure: Option<&str>, ctx: &mut Context) {
        let Some(operation) = self.operation.as_mut() else { return };
        if operation.fence != fence || operation.phase != Phase::Accepted {
            return;
        }
        match failure {
            Some(why) if !operation.safety => {
                let sentence = format!("the journal cannot be written, nothing was sent: {why}");
                ctx.effects.extend(operation.refused(&sentence));
                operation.enter(Phase::Ended(OperationResult::Refused), &sentence, ctx.now);
                ctx.schedule.clear(Timer::Decide(self.service));
            }
            Some(_) | None => self.apply(ctx),
        }
    }

    /// The journal's answer about a result.
    pub fn outcome_appended(&mut self, fence: Fence, ctx: &mut Context) {
        let Some(operation) = self.operation.as_mut() else { return };
        if operation.fence != fence || operation.phase != Phase::Recording {
            return;
        }
        ctx.schedule.clear(Timer::Journal(self.service));
        if let Some(result) = operation.verdict {
            operation.phase = Phase::Ended(result);
            operation.changed = ctx.now;
        }
        if self.keeps() {
            return;
        }
        // Nothing is in flight any more: another engine need not wait for the lease to run out.
        for router in &self.routers {
            if router.step == Step::Settled {
                ctx.schedule.set(Timer::Router(router.id), ctx.now.mono);
            }
        }
    }

    /// A record that allows a correction is durable, or the hold allows it without.
    pub fn correction_appended(&mut self, router: RouterId, failed: bool, ctx: &mut Context) {
        if failed && !self.holding(ctx.now.mono) {
            return;
        }
        if self.operation.as_ref().is_some_and(Operation::in_flight) {
            return;
        }
        if let Some(router) = self.routers.iter_mut().find(|own| own.id == router)
            && router.step == Step::Settled
        {
            router.step = Step::Write;
        }
        self.act(router, ctx);
    }

    /// Time is up for the operation: say what is proven.
    pub fn decide(&mut self, ctx: &mut Context) {
        let Some(operation) = self.operation.as_mut() else { return };
        match operation.phase {
            Phase::Accepted if !operation.safety => {
                let sentence = "the journal did not answer, nothing was sent";
                ctx.effects.extend(operation.refused(sentence));
                operation.enter(Phase::Ended(OperationResult::Refused), sentence, ctx.now);
                // The intent may still become durable: then the journal must know its end.
                let (ended, result) = (operation.clone(), OperationResult::Refused);
                self.record_outcome(&ended, result, sentence, Purpose::Note, ctx);
            }
            Phase::Accepted | Phase::Applying => self.conclude(ctx),
            Phase::Recording | Phase::Ended(_) => {}
        }
    }

    /// The journal keeps the operation waiting: safety goes on without it, and a result is shown.
    pub fn journal_late(&mut self, ctx: &mut Context) {
        let Some(operation) = self.operation.as_ref() else { return };
        let fence = operation.fence;
        match operation.phase {
            Phase::Accepted if operation.safety => {
                ctx.ledger.late();
                self.apply(ctx);
            }
            Phase::Recording => {
                ctx.ledger.late();
                self.outcome_appended(fence, ctx);
            }
            Phase::Accepted | Phase::Applying | Phase::Ended(_) => {}
        }
    }

    fn apply(&mut self, ctx: &mut Context) {
        let Some(operation) = self.operation.as_mut() else { return };
        ctx.schedule.clear(Timer::Journal(self.service));
        operation.enter(Phase::Applying, "writing the routers", ctx.now);
        ctx.effects.extend(operation.accepted());
        self.set = Some(operation.to);
        self.applied = operation.fence;
        self.yielded = None;
        if operation.verb == "rollback" {
            self.hold_until = Some(ctx.now.mono + HOLD);
        }
        let first = if operation.resumed { Step::Read } else { Step::Write };
        for router in &mut self.routers {
            router.restart(first);
        }
        self.act_all(ctx);
    }

    fn act_all(&mut self, ctx: &mut Context) {
        let ids: Vec<RouterId> = self.routers.iter().map(|router| router.id).collect();
        for id in ids {
            self.act(id, ctx);
        }
    }

    /// Does the router's next step, unless one is in flight.
    pub fn act(&mut self, id: RouterId, ctx: &mut Context) {
        let (stable, fence, set) = (self.stable, self.applied, self.set);
        let claim = self.claim(ctx.settings);
        let renew = self.keeps().then(|| claim.clone());
        let budgets = self.budgets(ctx.settings.router(id), ctx.now.mono);
        let Some(router) = self.routers.iter_mut().find(|own| own.id == id) else { return };
        if router.busy.is_some() {
            return;
        }
        ctx.schedule.clear(Timer::Router(id));
        let effect = ctx.id();
        match (router.step, set) {
            (Step::Write, Some(set)) => {
                let fallback = router.fallbacks > 0;
                router.fallbacks = router.fallbacks.saturating_sub(1);
                router.busy = Some((effect, Busy::Write { fence, fallback }));
                router.tries += 1;
                router.reads = 0;
                router.sent.get_or_insert(ctx.now);
                router.remember(fence, set);
                ctx.effects.push(Effect::SetSplit {
                    id: effect,
                    router: id,
                    weights: Weights::for_split(stable, set),
                    fence,
                    claim,
                    fallback,
                    budget: budgets.write,
                });
            }
            (Step::Write, None) | (Step::Read | Step::Settled, _) => {
                router.busy = Some((effect, Busy::Read));
                let budget = budgets.read;
                ctx.effects.push(Effect::ReadSplit { id: effect, router: id, renew, budget });
            }
        }
    }

    /// A write was answered. The answer is kept for people; what counts is the read after it.
    pub fn split_set(
        &mut self,
        id: EffectId,
        router_id: RouterId,
        answer: &WriteAnswer,
        ctx: &mut Context,
    ) {
        let (fence, newest) = (self.applied, self.fence);
        let stable = self.stable;
        let set = self.set;
        let Some(router) = self.routers.iter_mut().find(|own| own.id == router_id) else { return };
        let Some((busy, Busy::Write { fence: sent_fence, fallback })) = router.busy else { return };
        if busy != id {
            return;
        }
        router.busy = None;
        let text = match answer {
            WriteAnswer::Applied => "accepted".to_owned(),
            WriteAnswer::Rejected { why, .. } => format!("rejected: {why}"),
            WriteAnswer::Unknown { why } => format!("no answer: {why}"),
        };
        let way = if fallback { ", by its other way" } else { "" };
        let text = format!("{text}{way}");
        let told = Untrusted::new(&text);
        // One record for each new answer: a router that refuses forever must not fill the journal.
        let fresh = router.tries == 1 || told != router.answer;
        // The answer to a write of an operation that was superseded is not one to the newest.
        if sent_fence == newest {
            router.refused = matches!(answer, WriteAnswer::Rejected { .. });
            router.answer = told.clone();
        }
        if sent_fence == fence {
            router.step = Step::Read;
        }
        let newer = match answer {
            WriteAnswer::Rejected { newer, .. } => newer.filter(|newer| *newer >= sent_fence),
            WriteAnswer::Applied | WriteAnswer::Unknown { .. } => None,
        };
        if fresh && let Some(set) = set {
            let event = Event::Sent {
                fence: sent_fence,
                service: ctx.settings.service(self.service).name.clone(),
                router: ctx.settings.router(router_id).name.clone(),
                weights: Weights::for_split(stable, set),
                answer: told,
            };
            ctx.append(Actor::engine(), event, Purpose::Note, true);
        }
        if let Some(newer) = newer.filter(|_| sent_fence == fence) {
            self.outrun(newer, ctx);
            if self.operation.as_ref().is_some_and(|it| it.phase == Phase::Accepted) {
                // The new intent comes first; a read would only hold up the write after it.
                return;
            }
        }
        self.act(router_id, ctx);
    }

    /// A router was read: the only proof there is.
    pub fn split_read(
        &mut self,
        id: EffectId,
        router_id: RouterId,
        result: Result<SplitReading, Failure>,
        ctx: &mut Context,
    ) {
        let Some(router) = self.routers.iter_mut().find(|own| own.id == router_id) else { return };
        if router.busy != Some((id, Busy::Read)) {
            return;
        }
        router.busy = None;
        let other = result.as_ref().ok().and_then(|reading| reading.lease.other.clone());
        match result {
            Ok(reading) => {
                router.reading = Some((reading, ctx.now));
                router.error = Untrusted::default();
                router.read_failures = 0;
            }
            Err(failure) => {
                router.error = failure.text;
                router.read_failures += 1;
            }
        }
        if let Some((fence, who)) = other.filter(|(fence, _)| *fence > self.applied) {
            self.give_way(fence, &who, ctx);
        }
        let Some(router) = self.routers.iter().find(|own| own.id == router_id) else { return };
        if router.step == Step::Write {
            // It was asked before the write: news, but no proof.
            self.act(router_id, ctx);
            return;
        }
        if self.working() {
            self.judge(router_id, ctx);
        } else {
            self.watch_drift(router_id, ctx);
        }
    }

    /// An operation wants its routers proven: while applying, and after a verdict toward safety
    /// that left some unproven.
    fn working(&self) -> bool {
        self.yielded.is_none()
            && self.operation.as_ref().is_some_and(|it| match it.phase {
                Phase::Applying => true,
                Phase::Accepted => false,
                Phase::Recording | Phase::Ended(_) => {
                    it.safety
                        && matches!(
                            it.verdict,
                            Some(OperationResult::Partial | OperationResult::Unknown)
                        )
                }
            })
    }

    fn judge(&mut self, id: RouterId, ctx: &mut Context) {
        let Some(operation) = self.operation.as_ref() else { return };
        let (fence, to, safety) = (operation.fence, operation.to, operation.safety);
        let applying = operation.phase == Phase::Applying;
        let stable = self.stable;
        let Some(router) = self.routers.iter_mut().find(|own| own.id == id) else { return };
        if router.shows(stable, to, Some(fence)) {
            router.proven.get_or_insert(ctx.now);
            router.step = Step::Settled;
            let next = ctx.now.mono + ctx.settings.router(id).reread.min(RENEW_EVERY);
            ctx.schedule.set(Timer::Router(id), next);
            self.conclude_if_done(ctx);
            return;
        }
        router.proven = None;
        router.reads += 1;
        let pause = if let Some(pause) = READ_PAUSES.get(router.reads as usize - 1) {
            router.step = Step::Read;
            *pause
        } else if !safety && router.tries >= EXPOSURE_TRIES_MAX {
            router.gave_up = true;
            router.step = Step::Settled;
            ctx.settings.router(id).reread
        } else {
            router.step = Step::Write;
            let factor = 1 << router.tries.min(4);
            let limit = if applying { PAUSE_MAX } else { CONVERGE_PAUSE };
            if applying { (Duration::from_millis(100) * factor).min(limit) } else { limit }
        };
        ctx.schedule.set(Timer::Router(id), ctx.now.mono + pause);
        self.conclude_if_done(ctx);
    }

    fn conclude_if_done(&mut self, ctx: &mut Context) {
        if self.routers.iter().all(|router| router.proven.is_some() || router.gave_up) {
            self.conclude(ctx);
        }
    }

    /// Ends the operation with one word, from what is proven and nothing else.
    fn conclude(&mut self, ctx: &mut Context) {
        let Some(operation) = self.operation.as_ref() else { return };
        let proven = self.routers.iter().filter(|router| router.proven.is_some()).count();
        let total = self.routers.len();
        let result = self.verdict(operation);
        let took = ctx.now.mono.since(operation.requested.mono).as_secs_f64();
        let mut sentence = match result {
            OperationResult::Verified => {
                format!("{proven} of {total} read back at {} after {took:.2} s", operation.to)
            }
            OperationResult::Refused => format!("{total} of {total} routers refused"),
            OperationResult::Partial | OperationResult::Unknown | OperationResult::Superseded => {
                format!("{proven} of {total} proven after {took:.1} s")
            }
        };
        for router in self.routers.iter().filter(|router| router.proven.is_none()) {
            let name = &ctx.settings.router(router.id).name;
            sentence = format!("{sentence}; {name} {}", router.trouble(self.stable));
        }
        let refused_back = (result == OperationResult::Refused).then_some(operation.from);
        let operation = operation.clone();
        // A result that is on screen is not taken away to wait for a journal that is down.
        let lost = matches!(ctx.ledger.state, JournalState::Lost { .. });
        let shown = operation.verdict.is_some() && lost;
        let purpose = Purpose::Outcome(self.service, operation.fence);
        self.record_outcome(&operation, result, &sentence, purpose, ctx);
        if let Some(from) = refused_back {
            self.set = from;
        }
        if let Some(operation) = self.operation.as_mut() {
            operation.verdict = Some(result);
            operation.enter(Phase::Recording, &sentence, ctx.now);
        }
        ctx.schedule.clear(Timer::Decide(self.service));
        ctx.schedule.clear(Timer::Fallback(self.service));
        ctx.schedule.set(Timer::Journal(self.service), ctx.now.mono + JOURNAL_PATIENCE);
        if shown {
            self.outcome_appended(operation.fence, ctx);
        }
    }

    fn verdict(&self, operation: &Operation) -> OperationResult {
        let mut unproven = self.routers.iter().filter(|router| router.proven.is_none()).peekable();
        if unproven.peek().is_none() {
            return OperationResult::Verified;
        }
        let requested = operation.requested.mono;
        let known = |router: &Router| {
            router.error.is_empty()
                && router.reading.as_ref().is_some_and(|(_, at)| at.mono >= requested)
        };
        let nothing_moved = !operation.safety
            && self.routers.iter().all(|router| {
                known(router)
                    && router.refused
                    && operation.from.is_some_and(|from| router.shows(self.stable, from, None))
            });
        if nothing_moved {
            OperationResult::Refused
        } else if unproven.all(known) {
            OperationResult::Partial
        } else {
            OperationResult::Unknown
        }
    }

    fn record_outcome(
        &self,
        operation: &Operation,
        result: OperationResult,
        sentence: &str,
        purpose: Purpose,
        ctx: &mut Context,
    ) {
        let routers = self
            .routers
            .iter()
            .map(|router| RouterProof {
                router: ctx.settings.router(router.id).name.clone(),
                canary: router
                    .canary(self.stable)
                    .filter(|_| router.error.is_empty())
                    .map(|canary| format!("{canary:.2}")),
                note: router.answer.clone(),
            })
            .collect();
        let outcome = Outcome {
            fence: operation.fence,
            service: ctx.settings.service(self.service).name.clone(),
            result,
            sentence: Untrusted::new(sentence),
            routers,
        };
        ctx.append(operation.actor.clone(), Event::Outcome(outcome), purpose, true);
    }

    fn holding(&self, now: Time) -> bool {
        self.hold_until.is_some_and(|until| now < until)
    }

    fn router_names(&self, settings: &Settings) -> Vec<String> {
        self.routers.iter().map(|router| settings.router(router.id).name.clone()).collect()
    }

    #[must_use]
    pub fn state(&self) -> RouteState {
        if self.operation.as_ref().is_some_and(Operation::in_flight) {
            return RouteState::Changing;
        }
        let Some(set) = self.set else { return RouteState::Unverified };
        let known = |router: &Router| router.reading.is_some() && router.error.is_empty();
        if !self.routers.iter().all(known) {
            RouteState::Unverified
        } else if self.routers.iter().all(|router| router.shows(self.stable, set, None)) {
            RouteState::Verified
        } else {
            RouteState::Drifted
        }
    }
}

/// The manual command with the percents filled in.
#[must_use]
pub fn by_hand(template: &str, weights: Weights) -> String {
    template
        .replace("{a}", &weights.a.get().to_string())
        .replace("{b}", &weights.b.get().to_string())
}

/// The same with the roles' names in the places of the groups'.
fn by_role(template: &str, stable: Group) -> String {
    let (a, b) = match stable {
        Group::A => ("{stable}", "{canary}"),
        Group::B => ("{canary}", "{stable}"),
    };
    template.replace("{a}", a).replace("{b}", b)
}

impl Router {
    fn new(id: RouterId) -> Router {
        Router {
            id,
            reading: None,
            error: Untrusted::default(),
            busy: None,
            step: Step::Settled,
            tries: 0,
            reads: 0,
            read_failures: 0,
            sent: None,
            proven: None,
            gave_up: false,
            refused: false,
            answer: Untrusted::default(),
            written: VecDeque::new(),
            corrections: 0,
            drifted: false,
            fallbacks: 0,
        }
    }

    fn restart(&mut self, step: Step) {
        self.forget(step);
        self.corrections = 0;
    }

    /// Forgets what was done and proven for the last operation.
    fn forget(&mut self, step: Step) {
        self.step = step;
        self.tries = 0;
        self.reads = 0;
        self.sent = None;
        self.proven = None;
        self.gave_up = false;
        self.refused = false;
        self.fallbacks = 0;
        self.answer = Untrusted::default();
    }

    fn remember(&mut self, fence: Fence, set: Percent) {
        if self.written.back() == Some(&(fence, set)) {
            return;
        }
        if self.written.len() == WRITTEN_MAX {
            self.written.pop_front();
        }
        self.written.push_back((fence, set));
    }

    /// True when `read` is a value that we wrote under a fence below `fence`.
    fn wrote_before(&self, fence: Fence, read: f64) -> bool {
        self.written.iter().any(|&(older, set)| older < fence && same(set, read))
    }

    fn canary(&self, stable: Group) -> Option<f64> {
        self.reading.as_ref().map(|(reading, _)| match stable {
            Group::A => reading.b,
            Group::B => reading.a,
        })
    }

    /// The last read succeeded and says `split`; with a fence, also that it is of this write.
    fn shows(&self, stable: Group, split: Percent, fence: Option<Fence>) -> bool {
        let Some((reading, _)) = self.reading.as_ref().filter(|_| self.error.is_empty()) else {
            return false;
        };
        let ours = match (fence, reading.fence) {
            (Some(fence), Some(carried)) => fence.0 == carried,
            (Some(_), None) | (None, _) => true,
        };
        ours && self.canary(stable).is_some_and(|canary| same(split, canary))
    }

    fn trouble(&self, stable: Group) -> String {
        if !self.error.is_empty() {
            return format!("cannot be read ({})", self.error);
        }
        let answer = if self.answer.is_empty() { "not asked" } else { self.answer.display() };
        match self.canary(stable) {
            Some(canary) => format!("shows {canary:.1} % ({answer})"),
            None => format!("was never read ({answer})"),
        }
    }

    fn progress(&self, settings: &Settings) -> RouterProgress {
        RouterProgress {
            router: settings.router(self.id).name.clone(),
            sent: self.sent,
            proven: self.proven,
            tries: self.tries,
            answer: self.answer.clone(),
        }
    }
}

/// A split is a whole percent, so a reading proves the nearest one and no other: half a point is
/// all that the rounding of a router's weights may cost, and writers refuse what costs more.
/// Nothing and everything are exact on both sides: a router at 0 % proves no split but 0 %.
pub(crate) fn same(split: Percent, canary: f64) -> bool {
    let exactly = |end: f64| (end - canary).abs() < EXACT;
    if split == Percent::ZERO || split == Percent::FULL {
        return exactly(f64::from(split.get()));
    }
    let difference = (f64::from(split.get()) - canary).abs();
    difference < ROUNDING && !exactly(0.0) && !exactly(100.0)
}

#[cfg(test)]
mod tests;
