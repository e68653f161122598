//! The engine itself: takes an input, keeps the state, hands out effects.
//!
//! Decides whether a command is allowed and which part an input belongs to; the parts decide the
//! rest. Never loses an input in silence: a reply that nobody waits for changes nothing. Contract:
//! see the crate's head.

mod actions;
mod guards;
mod incidents;
mod picture;
mod promises;
mod releases;
mod responses;
mod runbooks;
mod scalings;
mod validations;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::command::{Command, Expected, Reply, Submission};
use crate::freeze::Freezes;
use crate::history::History;
use crate::incident::Board;
use crate::ledger::{KNOCK_EVERY, Ledger, Purpose};
use crate::notice::Queue;
use crate::record::{Entry, Event, Intent, OperationResult};
use crate::recovery::{ServiceFold, fold, in_order};
use crate::release::Release;
use crate::response;
use crate::rng::Rng;
use crate::route::{Context, HOLD, Operation, Route};
use crate::runbook::Runs;
use crate::scaling;
use crate::schedule::{Schedule, Timer};
use crate::settings::{self, Settings};
use crate::snapshot::{JournalState, Snapshot};
use crate::trigger::Triggers;
use crate::types::{
    Actor, EffectId, FeedId, Fence, Group, HostId, Now, Percent, ProbeId, RouterId, ServiceId,
    Severity, Time, Untrusted,
};
use crate::validation::Validation;
use crate::watch::{Feed, Host, Probe, Signals};
use crate::{Appended, Effect, Input};

/// Answers kept for retries of a submission.
const REPLIES_MAX: usize = 256;

/// First looks are spread over this long, so that a start does not hit everything at once.
const FIRST_LOOKS: Duration = Duration::from_millis(300);
/// Of many probes, no more begin at a start than one each: what thousands of questions take at
/// once is memory for as long as the engine runs.
const FIRST_PROBE: Duration = Duration::from_millis(1);

/// How a command was taken.
enum Taken {
    /// Done, or the same as the operation with this fence that is on record.
    Accepted(Option<Fence>),
    /// Its route answers, once the intent is durable.
    Waits,
}

/// What an acknowledgement or escalation that is on its way belongs to.
#[derive(Clone, Debug)]
struct Response {
    actor: Actor,
    comment: Option<Untrusted>,
    feed: FeedId,
}

/// The whole state; everything it knows came in through [`Engine::handle`].
#[derive(Debug)]
pub struct Engine {
    settings: Settings,
    started: Now,
    /// The newest time it was given.
    latest: Now,
    rng: Rng,
    last_id: u64,
    fence: Fence,
    schedule: Schedule,
    ledger: Ledger,
    board: Board,
    probes: Vec<Probe>,
    hosts: Vec<Host>,
    groups: Vec<scaling::Group>,
    feeds: Vec<Feed>,
    /// By service.
    signals: Vec<Option<Signals>>,
    /// By service; a service without routers has an empty route.
    routes: Vec<Route>,
    /// By service: the release in flight, else the last one.
    releases: Vec<Option<Release>>,
    last_release: u64,
    /// By service.
    triggers: Vec<Triggers>,
    history: Vec<History>,
    validations: Vec<Validation>,
    response: response::Response,
    notices: Queue,
    runs: Runs,
    running: runbooks::AllRunning,
    freezes: Freezes,
    /// By service: the last rollback after which its recovery plan was offered.
    offered: Vec<Fence>,
    /// Services whose release may go on.
    touched: BTreeSet<ServiceId>,
    replies: Vec<(String, Reply)>,
    responses: BTreeMap<EffectId, Response>,
    /// Who waits for a record, by the effect that asked for it.
    promised: BTreeMap<EffectId, promises::Promise>,
    banners: Vec<Untrusted>,
    dirty: Dirty,
    shown: Option<Snapshot>,
}

/// Sections to build anew for the next snapshot; all of them when there was none.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "one flag for each section")]
struct Dirty {
    head: bool,
    /// All of them.
    services: bool,
    /// Those whose probes answered.
    probed: BTreeSet<ServiceId>,
    hosts: bool,
    incidents: bool,
    journal: bool,
    sources: bool,
    /// A probe turned: more than new figures.
    news: bool,
}

impl Engine {
    /// An engine that goes on where the durable `entries` end. A rollback found open resumes by
    /// itself under a new fence, after the routers were read; anything toward exposure stops and
    /// asks. `floor` is the highest fence that any router's writer has seen: it may be ahead of a
    /// journal that could not be written.
    pub fn recover(
        settings: Settings,
        version: &str,
        seed: u64,
        entries: &[Entry],
        floor: Fence,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Engine {
        let folded = fold(entries);
        let routes = (0..).zip(&settings.services).map(|(place, service)| {
            recovered_route(ServiceId(place), service, folded.services.get(&service.name), now)
        });
        let mut engine = Engine {
            routes: routes.collect(),
            probes: Probe::all(&settings),
            hosts: settings.hosts.iter().map(Host::new).collect(),
            groups: settings.scaling.iter().map(scaling::Group::new).collect(),
            feeds: settings.feeds.iter().map(Feed::new).collect(),
            signals: settings
                .services
                .iter()
                .map(|service| service.signals.as_ref().map(Signals::new))
                .collect(),
            replies: folded
                .submissions
                .iter()
                .map(|(id, fence)| {
                    let reply = Reply::accepted(id.clone(), *fence);
                    (id.clone(), reply)
                })
                .collect(),
            releases: settings.services.iter().map(|_| None).collect(),
            last_release: folded.release,
            triggers: settings.services.iter().map(Triggers::new).collect(),
            history: settings.services.iter().map(|own| History::new(&own.name)).collect(),
            validations: settings.services.iter().map(|own| Validation::new(&own.name)).collect(),
            response: response::Response::default(),
            notices: Queue::new(&settings.channels),
            runs: Runs::default(),
            running: BTreeMap::new(),
            freezes: Freezes::default(),
            offered: settings
                .services
                .iter()
                .map(|own| folded.services.get(&own.name).map_or(Fence(0), |known| known.fence))
                .collect(),
            touched: BTreeSet::new(),
            settings,
            started: now,
            latest: now,
            rng: Rng::new(seed),
            last_id: 0,
            fence: folded.fence.max(floor),
            schedule: Schedule::default(),
            ledger: Ledger::new(seed, entries),
            board: Board::default(),
            responses: BTreeMap::new(),
            promised: BTreeMap::new(),
            banners: Vec::new(),
            dirty: Dirty { news: true, ..Dirty::default() },
            shown: None,
        };
        for entry in in_order(entries) {
            engine.apply(entry, now);
        }
        let hash = engine.settings.hash.clone();
        if folded.config_hash.as_ref().is_some_and(|old| *old != hash) {
            engine.note(Event::ConfigChanged { config_hash: hash.clone() }, now, effects);
        }
        engine.note(
            Event::Started { version: version.to_owned(), config_hash: hash },
            now,
            effects,
        );
        engine.first_looks(now);
        for (name, known) in folded.services {
            let Some(service) = engine.settings.service_named(&name) else { continue };
            if let Some(open) = known.open {
                engine.reopen(service, open.0, open.1, now, effects);
            }
            if let Some(open) = known.release {
                engine.reopen_release(service, open, now);
            }
        }
        engine.reopen_incidents(now, effects);
        engine.end_cut_off_runs(now, effects);
        engine.settle(now, effects);
        engine
    }

    fn reopen(
        &mut self,
        service: ServiceId,
        intent: Intent,
        actor: Actor,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let name = intent.service.clone();
        let (old, verb, to) = (intent.fence, intent.verb.clone(), intent.to);
        let rollback = to == Percent::ZERO;
        let sentence = if rollback {
            format!("{verb} was open at a restart: it goes on")
        } else {
            format!("{verb} to {to} was open at a restart: nothing more is sent until you ask")
        };
        self.banners.push(Untrusted::new(&format!("{name}: {sentence}")));
        if rollback {
            self.fence.0 += 1;
            let (submission, fence) = (intent.submission.clone(), Some(self.fence));
            self.keep(Reply::accepted(submission, fence));
            let operation = Operation::new(self.fence, intent, actor, true, now).resumed();
            self.with_route(service, now, effects, |route, ctx| route.begin(operation, ctx));
        } else {
            let sentence = Untrusted::new(&sentence);
            let route = &mut self.routes[service.index()];
            route.set = None;
            let operation = Operation::new(old, intent, actor, false, now);
            route.show_ended(operation.ended(OperationResult::Unknown, &sentence));
            self.note(Event::Interrupted { fence: old, service: name, sentence }, now, effects);
        }
    }

    fn first_looks(&mut self, now: Now) {
        let mut timers = Vec::new();
        timers.extend((0..).zip(&self.settings.routers).map(|(n, _)| Timer::Router(RouterId(n))));
        timers.extend((0..).zip(&self.settings.probes).map(|(n, _)| Timer::Probe(ProbeId(n))));
        timers.extend((0..).zip(&self.settings.hosts).map(|(n, _)| Timer::Host(HostId(n))));
        timers.extend((0..).zip(&self.settings.feeds).map(|(n, _)| Timer::Feed(FeedId(n))));
        timers.extend(
            (0..)
                .zip(&self.signals)
                .filter(|(_, signals)| signals.is_some())
                .map(|(n, _)| Timer::Measure(ServiceId(n))),
        );
        for (group, own) in self.settings.scaling.iter().enumerate() {
            self.schedule.set(Timer::Scaling(group), now.mono + own.every);
        }
        let probes = u32::try_from(self.settings.probes.len()).unwrap_or(u32::MAX);
        let over = FIRST_LOOKS.max(FIRST_PROBE.saturating_mul(probes));
        for timer in timers {
            let over = if matches!(timer, Timer::Probe(_)) { over } else { FIRST_LOOKS };
            let at = now.mono + self.rng.up_to(over);
            self.schedule.set(timer, at);
        }
    }

    /// Takes one input; what is to be done comes out in `effects`.
    pub fn handle(&mut self, now: Now, input: Input, effects: &mut Vec<Effect>) {
        self.latest = now;
        let first = effects.len();
        self.take(now, input, effects);
        self.settle(now, effects);
        self.mind_journal(first, now, effects);
    }

    /// What an outage left out goes before anything newer, once something shows that the journal
    /// answers, and with whatever is to be appended anyway.
    fn mind_journal(&mut self, first: usize, now: Now, effects: &mut Vec<Effect>) {
        let writable = self.ledger.state == JournalState::Writable;
        if self.ledger.owes() {
            let append = |effect: &Effect| matches!(effect, Effect::Append { .. });
            let newer = effects[first..].iter().position(append).map(|place| first + place);
            if let Some(place) = newer.or(writable.then_some(effects.len())) {
                let again = self.ledger.append_again(&mut self.last_id);
                effects.splice(place..place, again);
            }
        }
        if writable {
            self.schedule.clear(Timer::Knock);
        } else if !self.schedule.is_set(Timer::Knock) {
            self.schedule.set(Timer::Knock, now.mono + KNOCK_EVERY);
        }
    }

    /// Shows whether the journal can be written again, by a record that says so.
    fn knock(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if self.ledger.knocks() {
            return;
        }
        if let Some(event) = self.ledger.outage() {
            let (id, actor) = (self.id(), Actor::engine());
            effects.push(self.ledger.append(id, now, actor, event, Purpose::Knock, false));
        }
    }

    /// Lets the releases go on that something happened for.
    fn settle(&mut self, now: Now, effects: &mut Vec<Effect>) {
        while let Some(service) = self.touched.pop_first() {
            self.carry(service, now, effects);
            self.offer_recovery(service, now, effects);
            self.page_unproven(service, now, effects);
        }
        self.take_turns(now, effects);
    }

    fn take(&mut self, now: Now, input: Input, effects: &mut Vec<Effect>) {
        match input {
            Input::Submitted(submission) => self.submitted(submission, now, effects),
            Input::Probed { id, probe, observation } => {
                let state = &mut self.probes[probe.index()];
                if let Some(next) = state.poll.answered(id, now, &mut self.rng) {
                    self.dirty.news |= state.observe(observation, now);
                    self.schedule.set(Timer::Probe(probe), next);
                    let service = self.settings.probe(probe).service;
                    if self.releases[service.index()].as_ref().is_some_and(Release::in_flight) {
                        self.touched.insert(service);
                    }
                    self.dirty.probed.insert(service);
                    self.dirty.sources = true;
                    self.look_at_service(service, now, effects);
                }
            }
            Input::HostRead { id, host, result } => {
                let state = &mut self.hosts[host.index()];
                if let Some(next) = state.poll.answered(id, now, &mut self.rng) {
                    let fresh = result.is_ok();
                    let reading = result.as_ref().ok().cloned();
                    state.read(result, now);
                    self.schedule.set(Timer::Host(host), next);
                    self.dirty.hosts = true;
                    self.dirty.sources = true;
                    if let Some(reading) = reading {
                        self.note_load(host, &reading, now);
                    }
                    self.look_at_host(host, fresh, now, effects);
                }
            }
            Input::FeedRead { id, feed, result } => self.feed_read(id, feed, result, now, effects),
            Input::Measured { id, service, result } => {
                let Some(state) = self.signals[service.index()].as_mut() else { return };
                if let Some(next) = state.poll.answered(id, now, &mut self.rng) {
                    let failed = result.is_err();
                    let delta = state.read(result, now);
                    self.schedule.set(Timer::Measure(service), next);
                    self.dirty.services = true;
                    self.dirty.sources = true;
                    if let Some((delta, from)) = delta {
                        self.counted(service, delta, from, now, effects);
                    } else if failed {
                        self.uncounted(service, now, effects);
                    }
                    self.look_at_service(service, now, effects);
                }
            }
            Input::SplitSet { id, router, answer } => {
                let service = self.settings.router(router).service;
                self.with_route(service, now, effects, |route, ctx| {
                    route.split_set(id, router, &answer, ctx);
                });
            }
            Input::SplitRead { id, router, result } => {
                let service = self.settings.router(router).service;
                self.with_route(service, now, effects, |route, ctx| {
                    route.split_read(id, router, result, ctx);
                });
                self.dirty.sources = true;
            }
            Input::TaskEnded { id, answer } => self.task_ended(id, answer, now, effects),
            Input::Notified { id, answer } => self.notified(id, answer, now, effects),
            Input::Appended { id, result } => self.appended(id, &result, now, effects),
            Input::Responded { id, key, result } => {
                self.responded(id, &key, result, now, effects);
            }
        }
    }

    /// Does what is due at `now`; nothing when called early.
    pub fn handle_deadline(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.latest = now;
        let first = effects.len();
        while let Some(timer) = self.schedule.pop_due(now.mono) {
            self.fire(timer, now, effects);
            self.settle(now, effects);
        }
        self.mind_journal(first, now, effects);
    }

    /// When to call [`Engine::handle_deadline`] next, and why.
    #[must_use]
    pub fn next_deadline(&self) -> Option<(Time, Timer)> {
        self.schedule.next()
    }

    fn fire(&mut self, timer: Timer, now: Now, effects: &mut Vec<Effect>) {
        match timer {
            Timer::Decide(service) => self.with_route(service, now, effects, Route::decide),
            Timer::Fallback(service) => {
                self.with_route(service, now, effects, Route::fall_back);
            }
            Timer::Journal(service) => {
                self.with_route(service, now, effects, Route::journal_late);
                self.dirty.head = true;
            }
            Timer::Knock => self.knock(now, effects),
            Timer::Answer => self.promises_late(now, effects),
            Timer::Notice => self.carry_notices(now, effects),
            Timer::Scaling(group) => self.judge_size(group, now, effects),
            Timer::Escalate => self.escalate_due(now, effects),
            Timer::Rest => self.wake_incidents(now, effects),
            Timer::Lapse => self.lapse(now),
            Timer::Validate(service) => self.carry_validation(service, now, effects),
            Timer::Release(service) => {
                self.touched.insert(service);
            }
            Timer::Router(router) => {
                let service = self.settings.router(router).service;
                self.with_route(service, now, effects, |route, ctx| route.act(router, ctx));
            }
            Timer::Probe(probe) => {
                let id = self.id();
                if self.probes[probe.index()].poll.ask(id, now) {
                    effects.push(Effect::Probe { id, probe });
                }
            }
            Timer::Host(host) => {
                let id = self.id();
                if self.hosts[host.index()].poll.ask(id, now) {
                    effects.push(Effect::ReadHost { id, host });
                }
            }
            Timer::Feed(feed) => {
                let id = self.id();
                if self.feeds[feed.index()].poll.ask(id, now) {
                    effects.push(Effect::ReadFeed { id, feed });
                }
            }
            Timer::Measure(service) => {
                let id = self.id();
                let asked = self.signals[service.index()]
                    .as_mut()
                    .is_some_and(|signals| signals.poll.ask(id, now));
                if asked {
                    effects.push(Effect::Measure { id, service });
                }
            }
        }
    }

    fn id(&mut self) -> EffectId {
        self.last_id += 1;
        EffectId(self.last_id)
    }

    fn note(&mut self, event: Event, now: Now, effects: &mut Vec<Effect>) {
        if self.ledger.is_full() {
            self.ledger.leave_out();
            return;
        }
        self.jot(Actor::engine(), event, false, now, effects);
    }

    fn with_route(
        &mut self,
        service: ServiceId,
        now: Now,
        effects: &mut Vec<Effect>,
        act: impl FnOnce(&mut Route, &mut Context),
    ) {
        let mut raised = Vec::new();
        let first = effects.len();
        let mut context = Context {
            now,
            settings: &self.settings,
            effects,
            last_id: &mut self.last_id,
            schedule: &mut self.schedule,
            ledger: &mut self.ledger,
            fence: &mut self.fence,
            raised: &mut raised,
        };
        let route = &mut self.routes[service.index()];
        let release = self.releases[service.index()].as_ref().filter(|own| own.in_flight());
        route.release = release.map(Release::in_words);
        let had_traffic = route.set.is_some_and(|set| set > Percent::ZERO);
        act(route, &mut context);
        let is_first = !had_traffic && route.set.is_some_and(|set| set > Percent::ZERO);
        let canary = route.stable.other();
        if let Some(who) = route.take_news()
            && let Some(release) = &mut self.releases[service.index()]
        {
            release.superseded(&format!("{who} changed the routers: look before you resume"));
        }
        if is_first {
            self.count_anew(service, canary, now);
        }
        self.dirty.services = true;
        self.touched.insert(service);
        self.touch_owners(service);
        for effect in &effects[first..] {
            if let Effect::Answer(reply) = effect {
                self.keep(reply.clone());
            } else if let Effect::Append { entry, .. } = effect {
                self.apply(entry, now);
            }
        }
        for (key, trouble) in raised {
            match trouble {
                Some((name, summary)) => {
                    self.raise(&key, Severity::High, &name, &summary, now, effects);
                }
                None => self.clear(&key, now, effects),
            }
        }
    }

    fn appended(&mut self, id: EffectId, result: &Appended, now: Now, effects: &mut Vec<Effect>) {
        let Some(purpose) = self.ledger.appended(id, result) else { return };
        self.dirty.head = true;
        self.dirty.journal = true;
        self.promise_kept(id, result, now, effects);
        let failure = match result {
            Appended::Durable | Appended::Spooled { .. } => None,
            Appended::Failed { why } => Some(why.display()),
        };
        match purpose {
            Purpose::Intent(service, fence) => {
                self.with_route(service, now, effects, |route, ctx| {
                    route.intent_appended(fence, failure, ctx);
                });
            }
            Purpose::Outcome(service, fence) => {
                self.with_route(service, now, effects, |route, ctx| {
                    route.outcome_appended(fence, ctx);
                });
            }
            Purpose::Correction(router) => {
                let service = self.settings.router(router).service;
                self.with_route(service, now, effects, |route, ctx| {
                    route.correction_appended(router, failure.is_some(), ctx);
                });
            }
            Purpose::Validation(service) => self.validation_recorded(service),
            Purpose::Runbook(run) => self.run_recorded(run, failure, now, effects),
            Purpose::RunbookEnd(run) => self.runs.recorded(run),
            Purpose::Release(service) => {
                self.release_recorded(service, id, failure, now, effects);
            }
            Purpose::Note | Purpose::Knock => {}
        }
        if let Some(event) = self.ledger.over(purpose) {
            let (id, actor) = (self.id(), Actor::engine());
            effects.push(self.ledger.append(id, now, actor, event, Purpose::Note, true));
        }
    }

    // Commands.

    fn submitted(&mut self, submission: Submission, now: Now, effects: &mut Vec<Effect>) {
        let mut operations = self.routes.iter().filter_map(Route::operation);
        if operations.any(|operation| operation.waits(&submission.id)) {
            return;
        }
        let mut releases = self.releases.iter().flatten();
        if releases.any(|own| own.is_opening() && own.facts.submission == submission.id) {
            return;
        }
        if self.is_promised(&submission.id) {
            return;
        }
        // The newest counts: a resumed operation has a newer fence than its submission had first.
        let kept = self.replies.iter().rev().find(|(id, _)| *id == submission.id);
        if let Some((_, reply)) = kept {
            effects.push(Effect::Answer(reply.clone()));
            return;
        }
        let reply = match self.accept(&submission, now, effects) {
            Ok(Taken::Waits) => return,
            Ok(Taken::Accepted(fence)) => Reply::accepted(submission.id, fence),
            Err(why) => {
                let why = Untrusted::new(&why);
                self.journal_refusal(&submission, &why, now, effects);
                Reply::Refused { submission: submission.id, why }
            }
        };
        self.keep(reply.clone());
        effects.push(Effect::Answer(reply));
    }

    /// Keeps the answer for a retry.
    fn keep(&mut self, reply: Reply) {
        let (Reply::Accepted { submission, .. } | Reply::Refused { submission, .. }) = &reply;
        let id = submission.clone();
        self.replies.retain(|(other, _)| *other != id);
        if self.replies.len() == REPLIES_MAX {
            self.replies.remove(0);
        }
        self.replies.push((id, reply));
    }

    fn journal_refusal(
        &mut self,
        submission: &Submission,
        why: &Untrusted,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        if self.ledger.is_full() {
            self.ledger.leave_out();
            return;
        }
        let event = Event::Refused {
            submission: submission.id.clone(),
            verb: submission.command.verb().to_owned(),
            service: submission.command.service().map(str::to_owned),
            why: why.clone(),
            reason: submission.command.reason().cloned().unwrap_or_default(),
            seen: submission.seen.clone(),
        };
        let id = self.id();
        let actor = submission.actor.clone();
        effects.push(self.ledger.append(id, now, actor, event, Purpose::Note, false));
    }

    /// Who else wanted what is under way, and why.
    fn journal_joined(
        &mut self,
        submission: &Submission,
        service: &str,
        fence: Fence,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        if self.ledger.is_full() {
            self.ledger.leave_out();
            return;
        }
        let event = Event::Joined {
            fence,
            submission: submission.id.clone(),
            service: service.to_owned(),
            verb: submission.command.verb().to_owned(),
            reason: submission.command.reason().cloned().unwrap_or_default(),
            seen: submission.seen.clone(),
        };
        let (id, actor) = (self.id(), submission.actor.clone());
        effects.push(self.ledger.append(id, now, actor, event, Purpose::Note, true));
    }

    fn accept(
        &mut self,
        submission: &Submission,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<Taken, String> {
        if submission.read_only {
            return Err("this client is read-only".to_owned());
        }
        let safe = matches!(
            submission.command,
            Command::Abort { .. } | Command::Rollback { .. } | Command::Pause { .. }
        );
        if self.ledger.is_full() && !safe {
            return Err("the journal does not keep up: only what is toward safety goes".to_owned());
        }
        match &submission.command {
            Command::Split { service, canary, reason } => {
                self.change(submission, service, *canary, reason, now, effects)
            }
            Command::Promote { service, reason } => {
                let id = self.known(service)?;
                self.check_validated(id, now)?;
                if self.in_canary(id) {
                    return self.steer(submission, now, effects);
                }
                self.change(submission, service, Percent::FULL, reason, now, effects)
            }
            Command::Abort { service, reason } | Command::Rollback { service, reason } => {
                self.change(submission, service, Percent::ZERO, reason, now, effects)
            }
            Command::Deploy { .. } | Command::Run { .. } => self.deploy(submission, now, effects),
            Command::Pause { .. } | Command::Resume { .. } | Command::Reply { .. } => {
                self.steer(submission, now, effects)
            }
            Command::Freeze { .. }
            | Command::Thaw { .. }
            | Command::StopTheLine { .. }
            | Command::Trigger { .. }
            | Command::Mark { .. } => self.say(submission, now, effects),
            Command::Validate { service, version } => {
                self.validate(submission, service, version, now, effects)
            }
            Command::Verify { service } => {
                let service = self.known(service)?;
                for router in self.settings.service(service).routers.clone() {
                    self.with_route(service, now, effects, |route, ctx| route.act(router, ctx));
                }
                let service = self.settings.service(service).name.clone();
                let event = Event::Reread { submission: submission.id.clone(), service };
                let (id, actor) = (self.id(), submission.actor.clone());
                effects.push(self.ledger.append(id, now, actor, event, Purpose::Note, false));
                Ok(Taken::Accepted(None))
            }
            Command::Acknowledge { key, comment } => {
                self.respond(submission, key, Some(comment), now, effects)?;
                Ok(Taken::Accepted(None))
            }
            Command::Escalate { key } => {
                self.respond(submission, key, None, now, effects)?;
                Ok(Taken::Accepted(None))
            }
            Command::Runbook { .. } => self.run_command(submission, now, effects),
            Command::Triage { key, say } => {
                self.triage(submission, key, say.clone(), now, effects)?;
                Ok(Taken::Accepted(None))
            }
        }
    }

    fn known(&self, service: &str) -> Result<ServiceId, String> {
        self.settings.service_named(service).ok_or_else(|| {
            let names: Vec<&str> =
                self.settings.services.iter().map(|service| service.name.as_str()).collect();
            format!("no service {service}; there are {}", names.join(", "))
        })
    }

    fn change(
        &mut self,
        submission: &Submission,
        service: &str,
        to: Percent,
        reason: &Untrusted,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<Taken, String> {
        let id = self.known(service)?;
        let routers = &self.settings.service(id).routers;
        if routers.is_empty() {
            return self.abort_unrouted(id, submission);
        }
        let route = &self.routes[id.index()];
        let emergency = matches!(submission.command, Command::Rollback { .. });
        // What the routers may be serving decides the direction; not knowing counts as exposure.
        let toward_safety = to == Percent::ZERO
            || route.exposure().is_some_and(|exposure| f64::from(to.get()) <= exposure);
        let running = route.operation().filter(|operation| operation.in_flight());
        if let Some(running) = running {
            if to == Percent::ZERO && running.verb == "rollback" {
                let fence = running.fence;
                let joined = self.routes[id.index()].join(&submission.id)?;
                self.journal_joined(submission, service, fence, now, effects);
                return Ok(joined.map_or(Taken::Waits, |fence| Taken::Accepted(Some(fence))));
            }
            if to != Percent::ZERO {
                return Err(format!(
                    "#{} {} by {} is in flight",
                    running.fence, running.verb, running.actor.user
                ));
            }
        }
        // All traffic to stable is right whatever has moved since.
        if to != Percent::ZERO {
            self.check_expected(id, submission.expected.as_ref())?;
        }
        let release = self.releases[id.index()].as_ref().filter(|release| release.in_flight());
        if let Some(release) = release
            && to != Percent::ZERO
        {
            let number = release.facts.release;
            return Err(format!(
                "release r{number} sets the split of {service}: pause, promote or abort it"
            ));
        }
        if to != Percent::ZERO
            && let Some(held) = route.held(now)
        {
            return Err(held);
        }
        if !toward_safety {
            self.check_unfrozen(id, now)?;
            let unreadable = route.unreadable(&self.settings);
            if !unreadable.is_empty() {
                let names = unreadable.join(", ");
                return Err(format!("{names} cannot be read: no more exposure until it can"));
            }
        }
        self.fence.0 += 1;
        let intent = Intent {
            fence: self.fence,
            submission: submission.id.clone(),
            service: service.to_owned(),
            verb: submission.command.verb().to_owned(),
            stable: route.stable,
            from: route.set,
            to,
            reason: reason.clone(),
            seen: submission.seen.clone(),
            routers: Vec::new(),
        };
        let actor = submission.actor.clone();
        let verb = submission.command.verb();
        let why = format!("{verb} by {}: {reason}", actor.user);
        let operation = Operation::new(self.fence, intent, actor, toward_safety, now);
        let fence = self.fence;
        self.with_route(id, now, effects, |route, ctx| route.begin(operation, ctx));
        self.preempt(id, !emergency, fence, &why);
        Ok(Taken::Waits)
    }

    /// A command is decided on what was seen; if that moved, it is refused.
    fn check_expected(
        &self,
        service: ServiceId,
        expected: Option<&Expected>,
    ) -> Result<(), String> {
        let route = &self.routes[service.index()];
        let Some(expected) = expected else {
            return Err("the submission does not say what the operator saw".to_owned());
        };
        let release = self.releases[service.index()].as_ref().filter(|own| own.in_flight());
        let at = release.map(Release::expected);
        if expected.set != route.set || expected.fence != route.fence {
            let set = route.set.map_or_else(|| "not set".to_owned(), |set| set.to_string());
            let by = route.operation().map_or_else(String::new, |operation| {
                format!(" (#{} {} by {})", operation.fence, operation.verb, operation.actor.user)
            });
            return Err(format!("moved under you: the split is now {set}{by}"));
        }
        if expected.release != at {
            let now = at.map_or_else(
                || "no release is in flight".to_owned(),
                |(id, step)| format!("release r{id} is at step {}", step + 1),
            );
            return Err(format!("moved under you: {now}"));
        }
        Ok(())
    }

    fn in_canary(&self, service: ServiceId) -> bool {
        self.releases[service.index()].as_ref().is_some_and(Release::in_flight)
    }
}

/// A route as the journal tells it; what its routers show is not known yet.
fn recovered_route(
    id: ServiceId,
    service: &settings::Service,
    known: Option<&ServiceFold>,
    now: Now,
) -> Route {
    let mut route = Route::new(id, &service.routers);
    let Some(known) = known else { return route };
    route.stable = known.stable.unwrap_or(Group::A);
    route.set = known.set;
    route.fence = known.fence;
    route.applied = known.fence;
    if let Some(ended) = &known.ended {
        let since = (now.wall - ended.at).to_std().unwrap_or_default();
        let then = Now { mono: now.mono - since, wall: ended.at };
        let (intent, actor) = (ended.intent.clone(), ended.actor.clone());
        let safety = intent.to == Percent::ZERO;
        let operation = Operation::new(intent.fence, intent, actor, safety, then);
        route.show_ended(operation.ended(ended.result, &ended.sentence));
    }
    if let Some(at) = known.rolled_back {
        let since = (now.wall - at).to_std().unwrap_or_default();
        route.hold(now.mono + HOLD.saturating_sub(since));
    }
    route
}

#[cfg(test)]
mod safety_tests;
