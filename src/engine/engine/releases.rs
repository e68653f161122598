//! The engine's part in releases: what may start, what a move means, what is passed on.
//!
//! Decides whether a release is allowed. Never decides what a release does next: that is
//! [`crate::release`]. Contract: one release in flight for each service; an operation that somebody
//! else begins takes it back or ends it.

use super::{Engine, Taken};
use crate::command::{Command, Reply, Submission};
use crate::ledger::Purpose;
use crate::record::{
    ArmCount, Event, Intent, Look, ReleaseKind, ReleaseResult, ReleaseStarted, ReleaseState,
};
use crate::release::{Facts, Move, Release, graph, is_word};
use crate::rollout::{Delta, Rollout};
use crate::route::Operation;
use crate::rule::{self, Values};
use crate::schedule::Timer;
use crate::settings::{self, Action, Step};
use crate::snapshot::JournalState;
use crate::types::{
    Actor, EffectId, Fence, Group, Now, Percent, PlanId, ServiceId, Severity, Time, Untrusted,
};
use crate::watch::Signals;
use crate::{Effect, reading::TaskAnswer};

/// Moves of one release in one turn; more is a loop, which must not hold up all the others.
const MOVES_MAX: usize = 64;
/// After that many it goes on a little later.
const TURN_PAUSE: std::time::Duration = std::time::Duration::from_secs(1);

/// Longest name of a version.
const VERSION_BYTES_MAX: usize = 64;

/// A person has this long for the question that a bare switch asks.
const ASK_TIMEOUT: std::time::Duration = std::time::Duration::from_mins(30);

/// A run of the checks, and one of another version before it.
const VALIDATE_TIMEOUT: std::time::Duration = std::time::Duration::from_mins(11);

impl Engine {
    /// Goes on with a release as far as what is known allows.
    pub(super) fn carry(&mut self, service: ServiceId, now: Now, effects: &mut Vec<Effect>) {
        for _ in 0..MOVES_MAX {
            let Some(mut release) = self.releases[service.index()].take() else { return };
            let next = release.next(&self.facts(service, &release, now));
            self.releases[service.index()] = Some(release);
            self.dirty.services = true;
            let Some(next) = next else { return };
            self.make(service, next, now, effects);
        }
        self.schedule.set(Timer::Release(service), now.mono + TURN_PAUSE);
    }

    fn facts(&self, service: ServiceId, release: &Release, now: Now) -> Facts<'_> {
        let settings = self.settings.service(service);
        let own = settings.probes.iter().map(|&id| {
            let probe = &self.probes[id.index()];
            let name = self.settings.probe(id).name.as_str();
            (name, probe.status_at(now), probe.up)
        });
        Facts {
            now,
            route: &self.routes[service.index()],
            flag: release.flag().map(|flag| &self.routes[flag.index()]),
            probes: own.collect(),
            maintenance: settings.maintenance,
            validity: self.validations[service.index()].validity(&release.facts.version, now),
        }
    }

    fn make(&mut self, service: ServiceId, next: Move, now: Now, effects: &mut Vec<Effect>) {
        match next {
            Move::Record { event, first } => {
                let word = is_word(&event);
                let awaited = first || word;
                let purpose = if awaited { Purpose::Release(service) } else { Purpose::Note };
                let exposes = matches!(event, Event::ReleaseStarted(_) | Event::StepStarted { .. });
                let actor = match &self.releases[service.index()] {
                    Some(release) if release.is_opening() => release.actor.clone(),
                    Some(_) | None => Actor::engine(),
                };
                let id = self.append(actor, event, purpose, !exposes, now, effects);
                if word {
                    self.told(service, |release| release.word_went_out(id));
                }
                if first {
                    self.told(service, |release| release.awaits(id));
                    self.count_anew(service, self.routes[service.index()].stable.other(), now);
                }
            }
            Move::Split { to, verb } => {
                if let Some(why) = self.freeze_on(service, to, now) {
                    return self.told(service, |release| release.frozen(&why));
                }
                let answer = self.split_for(service, service, to, verb, now, effects);
                self.told(service, |release| release.split_began(answer));
            }
            Move::Flag { flag, to } => self.set_flag(service, flag, to, now, effects),
            Move::RollBack { sentence } => {
                let release = self.releases[service.index()].as_ref();
                let judged = release.and_then(|release| release.rollout.as_ref()?.failed());
                if let Some(why) = judged.map(str::to_owned) {
                    self.mark_bad(service, &why, now, effects);
                }
                let fence = self.roll_back(service, &sentence, now, effects);
                self.told(service, |release| release.split_began(Ok(fence)));
            }
            Move::Task { step, task, budget } => {
                let id = self.id();
                let group = self.routes[service.index()].stable.other();
                let name = self.settings.service(service).name.clone();
                let Some(release) = &mut self.releases[service.index()] else { return };
                release.task_began(step, id);
                let context = release.context(group.word(), &name);
                effects.push(Effect::Task { id, task, context, budget });
            }
            Move::Validate => self.validate_release(service, now, effects),
            Move::GiveUp { event, why } => {
                let Some(release) = &self.releases[service.index()] else { return };
                let submission = release.facts.submission.clone();
                self.jot(Actor::engine(), event, true, now, effects);
                let reply = Reply::Refused { submission, why: Untrusted::new(&why) };
                self.keep(reply.clone());
                effects.push(Effect::Answer(reply));
            }
            Move::Wake(at) => self.schedule.set(Timer::Release(service), at),
            Move::Page { summary } => {
                let key = self.release_key(service);
                let name =
                    format!("{}: the release needs a person", self.settings.service(service).name);
                self.raise(&key, Severity::Critical, &name, &summary, now, effects);
            }
        }
    }

    fn told(&mut self, service: ServiceId, tell: impl FnOnce(&mut Release)) {
        if let Some(release) = &mut self.releases[service.index()] {
            tell(release);
        }
    }

    fn release_key(&self, service: ServiceId) -> String {
        format!("{}/{}/release", crate::incident::OWN, self.settings.service(service).name)
    }

    /// What was raised about a release is over when it goes on or ends.
    fn settle_page(&mut self, service: ServiceId, now: Now, effects: &mut Vec<Effect>) {
        let key = self.release_key(service);
        self.clear(&key, now, effects);
    }

    /// Why a freeze forbids this split: only one that is surely no more exposure is free.
    fn freeze_on(&self, service: ServiceId, to: Percent, now: Now) -> Option<String> {
        let exposure = self.routes[service.index()].exposure();
        if to == Percent::ZERO || exposure.is_some_and(|now| f64::from(to.get()) <= now) {
            return None;
        }
        self.freezes.forbids(&self.settings.service(service).name, now)
    }

    /// A flag that a release of `owner` wants. On the way back nobody waits for its end.
    fn set_flag(
        &mut self,
        owner: ServiceId,
        flag: ServiceId,
        to: Percent,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        if let Some(why) = self.freeze_on(flag, to, now) {
            return self.told(owner, |release| release.frozen(&why));
        }
        let busy = self.routes[flag.index()].operation().filter(|other| other.in_flight());
        let answer = match busy {
            // Somebody turns it off already: theirs is not taken away from them.
            Some(other) if to == Percent::ZERO && other.to == to => Ok(other.fence),
            Some(other) if to != Percent::ZERO => {
                Err(format!("#{} {} is in flight", other.fence, other.verb))
            }
            Some(_) | None => self.split_for(owner, flag, to, "flag", now, effects),
        };
        self.told(owner, |release| {
            if release.state != ReleaseState::WalkingBack {
                release.split_began(answer);
            }
        });
    }

    /// Releases that wait for this flag.
    pub(super) fn touch_owners(&mut self, flag: ServiceId) {
        if !self.settings.service(flag).flag {
            return;
        }
        let waits = |release: &Release| release.in_flight() && release.flag() == Some(flag);
        let all = (0..).zip(&self.releases);
        let found = all.filter(|(_, release)| release.as_ref().is_some_and(waits));
        self.touched.extend(found.map(|(place, _)| ServiceId(place)));
    }

    /// A split that the release of `owner` wants; why not, where it would raise exposure blindly.
    fn split_for(
        &mut self,
        owner: ServiceId,
        service: ServiceId,
        to: Percent,
        verb: &str,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<Fence, String> {
        let route = &self.routes[service.index()];
        let toward_safety = to == Percent::ZERO
            || route.exposure().is_some_and(|exposure| f64::from(to.get()) <= exposure);
        if to != Percent::ZERO
            && let Some(held) = route.held(now)
        {
            return Err(held);
        }
        if !toward_safety {
            let unreadable = route.unreadable(&self.settings);
            if !unreadable.is_empty() {
                return Err(format!("{} cannot be read", unreadable.join(", ")));
            }
            if let JournalState::Spooling { why } | JournalState::Lost { why } = &self.ledger.state
            {
                return Err(format!("the journal cannot be written: {why}"));
            }
        }
        let Some(release) = &self.releases[owner.index()] else {
            return Err("there is no release".to_owned());
        };
        let (actor, reason) = (release.actor.clone(), release.reason());
        Ok(self.begin(service, to, verb, actor, &reason, toward_safety, now, effects))
    }

    /// All traffic to stable by the engine itself; joins a rollback that is in flight.
    pub(super) fn roll_back(
        &mut self,
        service: ServiceId,
        sentence: &str,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Fence {
        let route = &self.routes[service.index()];
        let running = route.operation().filter(|operation| operation.in_flight());
        if let Some(running) = running
            && running.to == Percent::ZERO
        {
            return running.fence;
        }
        let (to, reason) = (Percent::ZERO, Untrusted::new(sentence));
        self.begin(service, to, "rollback", Actor::engine(), &reason, true, now, effects)
    }

    #[expect(clippy::too_many_arguments, reason = "an operation has that many facts")]
    fn begin(
        &mut self,
        service: ServiceId,
        to: Percent,
        verb: &str,
        actor: Actor,
        reason: &Untrusted,
        safety: bool,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Fence {
        self.fence.0 += 1;
        let fence = self.fence;
        let route = &self.routes[service.index()];
        let intent = Intent {
            fence,
            // Nobody submitted it; the name is its own and never comes again.
            submission: format!("engine-{fence}"),
            service: self.settings.service(service).name.clone(),
            verb: verb.to_owned(),
            stable: route.stable,
            from: route.set,
            to,
            reason: reason.clone(),
            seen: Untrusted::default(),
            routers: Vec::new(),
        };
        let operation = Operation::new(fence, intent, actor, safety, now).unasked();
        self.with_route(service, now, effects, |route, ctx| route.begin(operation, ctx));
        fence
    }

    // News.

    /// The record that a release waits for.
    pub(super) fn release_recorded(
        &mut self,
        service: ServiceId,
        id: EffectId,
        failure: Option<&str>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let Some(release) = &mut self.releases[service.index()] else { return };
        if release.side_recorded(id, failure) || release.word_recorded(id, failure) {
            self.touched.insert(service);
            return;
        }
        if !release.awaits_record(id) {
            return;
        }
        let opening = release.is_opening();
        release.recorded(failure, now);
        let (submission, result) = (release.facts.submission.clone(), release.result);
        let flipped = release.flipped();
        if opening {
            let reply = match failure {
                None => Reply::accepted(submission, None),
                Some(why) => {
                    let why = format!("the journal cannot be written, nothing was done: {why}");
                    Reply::Refused { submission, why: Untrusted::new(&why) }
                }
            };
            self.keep(reply.clone());
            effects.push(Effect::Answer(reply));
        }
        if flipped {
            self.routes[service.index()].finalise();
            let canary = self.routes[service.index()].stable.other();
            self.count_anew(service, canary, now);
        }
        if result.is_some_and(|result| result != ReleaseResult::Failed) {
            self.settle_page(service, now, effects);
        }
        self.touched.insert(service);
    }

    pub(super) fn task_ended(
        &mut self,
        id: EffectId,
        answer: TaskAnswer,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let Some(answer) = self.check_ended(id, answer, now, effects) else { return };
        let Some(answer) = self.run_ended(id, answer, now, effects) else { return };
        for (place, release) in (0..).zip(&mut self.releases) {
            let Some(release) = release else { continue };
            if release.runs(id) {
                release.task_ended(id, answer, now);
                self.touched.insert(ServiceId(place));
                return;
            }
        }
    }

    /// What both groups did since the last reading of the counters.
    pub(super) fn counted(
        &mut self,
        service: ServiceId,
        delta: [Option<ArmCount>; 2],
        from: Option<Time>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let group = self.routes[service.index()].stable;
        let [a, b] = delta;
        let (stable, canary) = match group {
            Group::A => (a, b),
            Group::B => (b, a),
        };
        self.pull_triggers(service, now, effects);
        self.look_at_canary(service, Delta { stable, canary }, from, now, effects);
    }

    /// The counters could not be read: once the last figures are old, that is a look, too.
    pub(super) fn uncounted(&mut self, service: ServiceId, now: Now, effects: &mut Vec<Effect>) {
        let release = self.releases[service.index()].as_ref();
        let rollout = release.and_then(|release| release.rollout.as_ref());
        if rollout.is_some_and(|rollout| rollout.is_stale(now)) {
            self.look_at_canary(service, Delta::default(), Some(now.mono), now, effects);
        }
    }

    fn look_at_canary(
        &mut self,
        service: ServiceId,
        delta: Delta,
        from: Option<Time>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let group = self.routes[service.index()].stable;
        let Some(release) = &mut self.releases[service.index()] else { return };
        if !release.watches() {
            return;
        }
        let id = release.facts.release;
        let Some(rollout) = &mut release.rollout else { return };
        let signals = self.signals[service.index()].as_ref();
        let asked = signals.and_then(|signals| signals.fresh(now));
        if !rollout.observe(delta, from, asked, now) {
            return;
        }
        let delta = rollout.take();
        let settings = self.settings.service(service).signals.as_ref();
        rollout.look(&delta, figures(signals, settings, group, now), now);
        let look = Look {
            release: id,
            service: self.settings.service(service).name.clone(),
            place: u32::try_from(rollout.place()).unwrap_or(u32::MAX),
            stable: delta.stable,
            canary: delta.canary,
            verdict: rollout.word().to_owned(),
            sentence: Untrusted::new(rollout.sentence()),
        };
        self.note(Event::Look(look), now, effects);
        self.touched.insert(service);
    }

    /// Another version takes the canary's part: what its group did before is no figure of it.
    pub(super) fn count_anew(&mut self, service: ServiceId, canary: Group, now: Now) {
        if let Some(signals) = &mut self.signals[service.index()] {
            signals.count_anew(canary, now);
        }
    }

    /// The figures that rules may name, as fresh as they are, without a baseline.
    pub(super) fn values(&self, service: ServiceId, now: Now) -> Values {
        let settings = self.settings.service(service).signals.as_ref();
        let stable = self.routes[service.index()].stable;
        figures(self.signals[service.index()].as_ref(), settings, stable, now)
    }

    // Commands.

    pub(super) fn deploy(
        &mut self,
        submission: &Submission,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<Taken, String> {
        let (name, version, plan, hotfix) = match &submission.command {
            Command::Deploy { service, version, hotfix, .. } => (service, version, None, *hotfix),
            Command::Run { plan, service, version, .. } => (service, version, Some(plan), false),
            other => return Err(format!("{} starts no release", other.verb())),
        };
        let service = self.known(name)?;
        let settings = self.settings.service(service).clone();
        if settings.flag && plan.is_none() {
            return Err(format!("{name} is a flag: it is set, not released"));
        }
        check_version(version, plan.is_some())?;
        if let Some(why) = self.history[service.index()].why_bad(version) {
            return Err(format!(
                "{version} is marked bad: {why}; mark it good first, with a reason"
            ));
        }
        let kind = if plan.is_some() { ReleaseKind::Plan } else { ReleaseKind::Deploy };
        let plan = match plan {
            Some(plan) => Some(self.plan_named(plan, service)?),
            None => settings.deploy,
        };
        if let Some(other) = self.releases[service.index()].as_ref().filter(|r| r.in_flight()) {
            return Err(other.in_the_way());
        }
        if kind == ReleaseKind::Deploy {
            self.may_deploy(service, submission, now)?;
            if hotfix && settings.canary.as_ref().is_none_or(|canary| canary.objective.is_none()) {
                return Err(format!(
                    "a hotfix is held against `objective.error_rate`, which {name} does not have"
                ));
            }
        }
        let version = self.version_for(service, version, kind);
        let steps = self.steps(service, plan, kind);
        if steps.is_empty() {
            return Err(format!("{name} has nothing to do: the plan has no steps"));
        }
        self.last_release += 1;
        let baseline = rule::baseline(&self.values(service, now));
        let facts = ReleaseStarted {
            release: self.last_release,
            submission: submission.id.clone(),
            service: name.clone(),
            version,
            plan: self.plan_name(plan),
            kind,
            hotfix,
            stable: self.routes[service.index()].stable,
            steps: steps.iter().map(|step| step.name.clone()).collect(),
            after: graph::links(&steps),
            baseline: baseline
                .iter()
                .map(|(key, value)| (key.clone(), value.to_string()))
                .collect(),
            reason: submission.command.reason().cloned().unwrap_or_default(),
            seen: submission.seen.clone(),
        };
        let rollout = self.rollout(service, &facts);
        let event = Event::ReleaseStarted(facts.clone());
        let release = Release::new(service, facts, steps, submission.actor.clone(), rollout, now);
        self.releases[service.index()] = Some(release);
        self.make(service, Move::Record { event, first: true }, now, effects);
        self.dirty.services = true;
        Ok(Taken::Waits)
    }

    /// A plan that names no version means what stable runs, else the last that was good.
    fn version_for(&self, service: ServiceId, named: &str, kind: ReleaseKind) -> String {
        if !named.is_empty() || kind == ReleaseKind::Deploy {
            return named.to_owned();
        }
        let history = &self.history[service.index()];
        let target = history.target(self.routes[service.index()].stable);
        let on_stable = target.version.filter(|_| target.bad.is_none());
        on_stable.or_else(|| history.last_good(None).map(str::to_owned)).unwrap_or_default()
    }

    /// After an emergency rollback moved the traffic, the service's recovery plan may follow: it
    /// is offered once, and its first step is the question.
    pub(super) fn offer_recovery(
        &mut self,
        service: ServiceId,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let Some(plan) = self.settings.service(service).recovery else { return };
        let route = &self.routes[service.index()];
        let Some(operation) = route.operation() else { return };
        let (fence, actor) = (operation.fence, operation.actor.clone());
        let over = operation.verb == "rollback" && !operation.in_flight();
        let busy = self.releases[service.index()].as_ref().is_some_and(Release::in_flight);
        if !over || busy || self.offered[service.index()] >= fence {
            return;
        }
        self.offered[service.index()] = fence;
        let name = self.settings.plan(plan).name.clone();
        let steps = self.steps(service, Some(plan), ReleaseKind::Recovery);
        self.last_release += 1;
        let facts = ReleaseStarted {
            release: self.last_release,
            submission: format!("recovery-{fence}"),
            service: self.settings.service(service).name.clone(),
            version: self.version_for(service, "", ReleaseKind::Recovery),
            plan: name,
            kind: ReleaseKind::Recovery,
            hotfix: false,
            stable: route.stable,
            steps: steps.iter().map(|step| step.name.clone()).collect(),
            after: graph::links(&steps),
            baseline: std::collections::BTreeMap::new(),
            reason: Untrusted::new(&format!("after rollback #{fence}")),
            seen: Untrusted::default(),
        };
        let event = Event::ReleaseStarted(facts.clone());
        let release = Release::new(service, facts, steps, actor, None, now);
        self.releases[service.index()] = Some(release);
        self.make(service, Move::Record { event, first: true }, now, effects);
    }

    fn may_deploy(
        &self,
        service: ServiceId,
        submission: &Submission,
        now: Now,
    ) -> Result<(), String> {
        let route = &self.routes[service.index()];
        self.check_unfrozen(service, now)?;
        if !route.has_routers() {
            let name = &self.settings.service(service).name;
            return Err(format!("{name} has no router: there is nothing to release with"));
        }
        if let Some(running) = route.operation().filter(|operation| operation.in_flight()) {
            return Err(format!("#{} {} is in flight", running.fence, running.verb));
        }
        self.check_expected(service, submission.expected.as_ref())?;
        if let Some(held) = route.held(now) {
            return Err(held);
        }
        let unreadable = route.unreadable(&self.settings);
        if !unreadable.is_empty() {
            return Err(format!("{} cannot be read", unreadable.join(", ")));
        }
        if let JournalState::Spooling { why } | JournalState::Lost { why } = &self.ledger.state {
            return Err(format!("the journal cannot be written: {why}"));
        }
        match route.exposure() {
            Some(exposure) if exposure > 0.0 => Err(format!(
                "the canary has {exposure:.0} % of the traffic already: roll back or promote first"
            )),
            Some(_) | None => Ok(()),
        }
    }

    fn plan_named(&self, plan: &str, service: ServiceId) -> Result<PlanId, String> {
        let place = self.settings.plans.iter().position(|own| own.name == plan);
        let Some(place) = place else {
            let names: Vec<&str> =
                self.settings.plans.iter().map(|plan| plan.name.as_str()).collect();
            return Err(format!("no plan {plan}; there are {}", names.join(", ")));
        };
        if self.settings.plans[place].service.is_some_and(|own| own != service) {
            return Err(format!("plan {plan} belongs to another service"));
        }
        Ok(PlanId(u32::try_from(place).expect("the number of plans is bounded by config")))
    }

    fn plan_name(&self, plan: Option<PlanId>) -> String {
        plan.map_or_else(|| "default".to_owned(), |plan| self.settings.plan(plan).name.clone())
    }

    /// The steps of a plan; a deploy is given its canary or switch, and its bake.
    pub(super) fn steps(
        &self,
        service: ServiceId,
        plan: Option<PlanId>,
        kind: ReleaseKind,
    ) -> Vec<Step> {
        let mut steps = plan.map(|plan| self.settings.plan(plan).steps.clone()).unwrap_or_default();
        match kind {
            ReleaseKind::Plan => return steps,
            ReleaseKind::Recovery => {
                let question = "traffic is on stable; go on with the recovery plan?".to_owned();
                let ask = Action::Ask { question, default: Some(false) };
                graph::put_first(&mut steps, Step::new("go on?", ask, ASK_TIMEOUT));
                return steps;
            }
            ReleaseKind::Deploy => {}
        }
        if !self.settings.service(service).checks.is_empty() {
            let validate = Step::new("validate", Action::Validate, VALIDATE_TIMEOUT);
            graph::put_first(&mut steps, validate);
        }
        let canary = self.settings.service(service).canary.as_ref();
        let moves = |step: &Step| matches!(step.action, Action::Canary | Action::Switch);
        if !steps.iter().any(moves) {
            if canary.is_some() {
                let canary = Step::new("canary", Action::Canary, ASK_TIMEOUT);
                graph::put_last(&mut steps, canary);
            } else {
                let question = "give all traffic to the new version?".to_owned();
                let ask = Action::Ask { question, default: None };
                graph::put_last(&mut steps, Step::new("ask", ask, ASK_TIMEOUT));
                let switch = Step::new("switch", Action::Switch, ASK_TIMEOUT);
                graph::put_last(&mut steps, switch);
            }
        }
        if let Some(canary) = canary.filter(|canary| !canary.bake.is_zero()) {
            let wait = Action::Wait { span: canary.bake, watch: true };
            graph::put_last(&mut steps, Step::new("bake", wait, canary.bake * 2));
        }
        for phase in &self.settings.service(service).phases {
            graph::put_last(&mut steps, phase.clone());
        }
        steps
    }

    pub(super) fn rollout(&self, service: ServiceId, facts: &ReleaseStarted) -> Option<Rollout> {
        let settings = self.settings.service(service);
        let canary = settings.canary.clone()?;
        let signals = settings.signals.as_ref();
        let slow = signals.is_some_and(|signals| signals.slow_above.is_some());
        let interval = signals.map_or(canary.every, |signals| signals.interval);
        let baseline = rule::read(&facts.baseline);
        Some(Rollout::new(canary, facts.hotfix, slow, baseline, interval))
    }

    /// Pause, resume, reply, or promote a release.
    pub(super) fn steer(
        &mut self,
        submission: &Submission,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<Taken, String> {
        let name = submission.command.service().unwrap_or_default();
        let service = self.known(name)?;
        let reason = submission.command.reason().cloned().unwrap_or_default();
        if !matches!(submission.command, Command::Pause { .. }) {
            self.check_expected(service, submission.expected.as_ref())?;
        }
        let frozen = self.check_unfrozen(service, now).err();
        let release = self.releases[service.index()].as_mut().filter(|r| r.in_flight());
        let Some(release) = release else {
            return Err(format!("no release of {name} is in flight"));
        };
        let why = format!("{} by {}: {reason}", submission.command.verb(), submission.actor.user);
        match &submission.command {
            Command::Pause { .. } => release.pause(&why)?,
            Command::Resume { .. } => release.resume(&why, now)?,
            Command::Promote { .. } => {
                if let Some(frozen) = frozen {
                    return Err(frozen);
                }
                release.promote(&why, now)?;
            }
            Command::Reply { yes, .. } => release.reply(*yes, &reason)?,
            other => return Err(format!("{} steers no release", other.verb())),
        }
        self.settle_page(service, now, effects);
        self.touched.insert(service);
        Ok(self.promise_of(service, submission, now, effects))
    }

    /// Somebody began an operation of their own: a release in flight ends with it.
    pub(super) fn preempt(&mut self, service: ServiceId, abort: bool, fence: Fence, why: &str) {
        if let Some(release) = &mut self.releases[service.index()] {
            release.preempt(abort, Some(fence), why);
            self.touched.insert(service);
        }
    }

    /// A plan of a service that is only watched ends; its steps are taken back.
    pub(super) fn abort_unrouted(
        &mut self,
        service: ServiceId,
        submission: &Submission,
    ) -> Result<Taken, String> {
        let name = &self.settings.service(service).name;
        let reason = submission.command.reason().cloned().unwrap_or_default();
        let release = self.releases[service.index()].as_mut().filter(|own| own.in_flight());
        let Some(release) = release.filter(|_| matches!(submission.command, Command::Abort { .. }))
        else {
            return Err(format!("{name} has no router: it is only watched"));
        };
        release.preempt(true, None, &format!("abort by {}: {reason}", submission.actor.user));
        self.touched.insert(service);
        Ok(Taken::Accepted(None))
    }

    /// A release that the journal shows as open.
    pub(super) fn reopen_release(
        &mut self,
        service: ServiceId,
        open: crate::recovery::OpenRelease,
        now: Now,
    ) {
        let plan = match open.facts.kind {
            ReleaseKind::Deploy => self.settings.service(service).deploy,
            ReleaseKind::Plan | ReleaseKind::Recovery => {
                self.plan_named(&open.facts.plan, service).ok()
            }
        };
        let steps = self.steps(service, plan, open.facts.kind);
        let rollout = self.rollout(service, &open.facts);
        let name = open.facts.service.clone();
        let id = open.facts.release;
        let release = Release::recovered(service, open, steps, rollout, now);
        let sentence = match release.state {
            ReleaseState::WalkingBack => "it goes on to be taken back",
            ReleaseState::Running => "it goes on, but raises nothing until you resume it",
            ReleaseState::Paused | ReleaseState::Held => "it waits for you",
            ReleaseState::Asking | ReleaseState::Ended => "see its panel",
        };
        let text = format!("{name}: release r{id} was open at a restart: {sentence}");
        self.banners.push(Untrusted::new(&text));
        self.releases[service.index()] = Some(release);
        self.touched.insert(service);
    }
}

/// What rules may name of these counters; nothing where there are none.
fn figures(
    signals: Option<&Signals>,
    settings: Option<&settings::Signals>,
    stable: Group,
    now: Now,
) -> Values {
    let fresh = signals.filter(|signals| signals.fresh(now).is_some());
    let Some((signals, settings)) = fresh.zip(settings) else { return Values::new() };
    let (view, traffic) = signals.view(settings, stable);
    rule::fresh(&view, traffic, None, now)
}

/// A version stands in argument lists and addresses: no option, no path, no blank.
pub(super) fn check_version(version: &str, may_be_empty: bool) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '+' | '-');
    let starts_well = version.chars().next().is_some_and(|c| c.is_ascii_alphanumeric());
    if (version.is_empty() && may_be_empty)
        || (starts_well && version.len() <= VERSION_BYTES_MAX && version.chars().all(plain))
    {
        return Ok(());
    }
    Err(format!(
        "a version is 1 to {VERSION_BYTES_MAX} letters, digits, . _ + or -, and begins with a \
         letter or digit"
    ))
}
