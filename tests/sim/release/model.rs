//! The release as it may be: a small, obvious model beside the engine, one for each service.
//!
//! Decides which percent may be set now, which task may run, and what an end means, from the
//! journal's entries alone. Never looks into the engine. Contract: live entries are checked as they
//! leave the engine; after a crash the model is folded anew from what every disk truly kept.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use engine::command::{Command, Submission};
use engine::record::{
    Entry, Event, Intent, Look, OperationResult, ReleaseKind, ReleaseResult, ReleaseStarted,
    ReleaseState, StepResult,
};
use engine::settings::{Action, AfterCrash, Canary, Pass, Step};
use engine::snapshot::StepState;
use engine::types::{Fence, Group, Percent, Time, Untrusted};

use super::fleet::{Fleet, Kind, Role};
use super::source::Count;
use crate::check::{Checked, holds};
use crate::disk::Fate;

/// At most one rollback by itself in this long.
const COOLDOWN: Duration = Duration::from_mins(15);

/// Tasks of one release at a time.
const TASKS_MAX: usize = 4;

/// A scrape is this much older than its delivery.
const DELIVERY: Duration = Duration::from_secs(1);

/// What is known beside an entry.
pub struct Scene<'a> {
    pub now: Time,
    pub wall: DateTime<Utc>,
    /// What a person said, where the engine is answering it.
    pub person: Option<&'a Submission>,
    /// Entries of the past are folded, not judged.
    pub live: bool,
    pub fleet: &'a Fleet,
    /// What each group truly served.
    pub truth: [Count; 2],
    /// The least and the most that any router gives the canary, where all could be read.
    pub shown: Option<(Percent, Percent)>,
}

/// A release that has started and not ended.
#[derive(Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Open {
    pub facts: ReleaseStarted,
    pub steps: Vec<Step>,
    /// The configuration's plan is another one by now.
    pub changed: bool,
    pub durable: bool,
    /// The newest fence when it started.
    pub from: Fence,
    pub state: ReleaseState,
    /// Nobody said go on since the restart.
    pub restarted: bool,
    pub place: usize,
    pub marks: Vec<StepState>,
    began: Vec<Time>,
    /// The record of each step's start.
    step_record: Vec<Option<String>>,
    pub step_durable: Vec<bool>,
    acted: Vec<bool>,
    /// A person must say so before these steps are done again.
    asks: BTreeSet<usize>,
    /// The step's own verification must say no first.
    checks: BTreeSet<usize>,
    /// The canary's place that was verified last, since when, and what its looks said.
    reached: Option<usize>,
    since: Time,
    requests: u64,
    verdict: String,
    promoted: bool,
    /// A person said go on since the canary's place was verified.
    resumed: bool,
    /// Requests in the looks of the release, by stable and canary; what was true at its start.
    looked: [u64; 2],
    truth: [Count; 2],
    /// Steps that were begun before and are to be begun again.
    begun: BTreeSet<usize>,
    undone: BTreeSet<usize>,
    /// What a person answered to which step: a yes once it is on record.
    answer: Option<(usize, bool)>,
    ending: Option<ReleaseResult>,
    /// On its way back its steps are taken back, too.
    pub undoes: bool,
}

pub struct Model {
    service: usize,
    name: String,
    pub stable: Group,
    /// The newest fence of any service.
    fence: Fence,
    pub open: Option<Open>,
    /// The last operation: its fence, its split, how it ended.
    pub operation: Option<(Fence, Percent, Option<OperationResult>)>,
    /// The engine itself began it.
    pub own: bool,
    /// Submissions whose operation has begun: a restart takes one up again under a new fence.
    begun: BTreeSet<String>,
    frozen: Vec<(Option<String>, Untrusted, DateTime<Utc>)>,
    pub fired: Vec<Time>,
    /// When a new scrape with the canary's counters came last.
    pub fresh: Option<Time>,
    /// The roles change once this record's fate is known.
    flip: Option<String>,
    ended: BTreeMap<u64, ReleaseResult>,
    /// Finalised last; whoever takes the traffic back right then takes the end back.
    finalised: Option<Open>,
    /// The wall clock jumped: what ends by it may end at another time.
    pub jumped: bool,
}

fn by_engine(intent: &Intent) -> bool {
    intent.submission.starts_with("engine-")
}

fn says(person: Option<&Submission>, service: &str, which: fn(&Command) -> bool) -> bool {
    person.is_some_and(|said| which(&said.command) && said.command.service() == Some(service))
}

impl Model {
    pub fn new(service: usize, name: &str) -> Model {
        Model {
            service,
            name: name.to_owned(),
            stable: Group::A,
            fence: Fence(0),
            open: None,
            operation: None,
            own: false,
            begun: BTreeSet::new(),
            frozen: Vec::new(),
            fired: Vec::new(),
            fresh: None,
            flip: None,
            ended: BTreeMap::new(),
            finalised: None,
            jumped: false,
        }
    }

    /// What a restart finds: `entries` are all that is durable, `times` when each was asked for.
    pub fn fold(
        &mut self,
        entries: &[Entry],
        times: &BTreeMap<String, Time>,
        fleet: &Fleet,
        truth: [Count; 2],
    ) {
        let start = self.open.as_ref().map(|open| (open.facts.release, open.truth));
        let mut folded = Model::new(self.service, &self.name);
        for entry in engine::in_order(entries) {
            let now = times.get(&entry.id).copied().unwrap_or(Time(0));
            let (wall, live) = (entry.at, false);
            let scene = Scene { now, wall, person: None, live, fleet, truth, shown: None };
            // Nothing is judged here.
            let _ = folded.take(entry, &scene);
            folded.settled(entry, Fate::Durable);
        }
        if let Some(open) = &mut folded.open {
            open.restart(fleet, self.service);
            if let Some((release, truth)) = start
                && release == open.facts.release
            {
                open.truth = truth;
            }
        }
        folded.jumped = self.jumped;
        *self = folded;
    }

    fn own(&mut self, release: u64) -> Option<&mut Open> {
        self.open.as_mut().filter(|open| open.facts.release == release)
    }

    pub fn is_frozen(&self, wall: DateTime<Utc>) -> bool {
        !self.jumped
            && self.frozen.iter().any(|(scope, _, until)| {
                scope.as_ref().is_none_or(|scope| *scope == self.name) && *until > wall
            })
    }

    /// Takes an entry as it leaves the engine.
    pub fn take(&mut self, entry: &Entry, scene: &Scene) -> Checked {
        if let Event::Intent(intent) = &entry.event {
            self.fence = self.fence.max(intent.fence);
        }
        match &entry.event {
            Event::Intent(intent) if intent.service == self.name => self.intent(intent, scene),
            Event::Outcome(outcome) if outcome.service == self.name => {
                if let Some((fence, _, result)) = &mut self.operation
                    && *fence == outcome.fence
                {
                    *result = Some(outcome.result);
                }
                Ok(())
            }
            Event::Interrupted { fence, service, .. } if *service == self.name => {
                if let Some((own, _, result)) = &mut self.operation
                    && own == fence
                {
                    *result = Some(OperationResult::Unknown);
                }
                Ok(())
            }
            Event::ReleaseStarted(facts) if facts.service == self.name => self.starts(facts, scene),
            Event::StepStarted { release, step, service, .. } if *service == self.name => {
                self.step_starts(*release, *step as usize, &entry.id, scene)
            }
            Event::StepEnded { release, service, step, result, detail }
                if *service == self.name =>
            {
                self.step_ends(*release, *step as usize, *result, detail.display(), scene)
            }
            Event::CanaryStep { release, service, place, percent } if *service == self.name => {
                self.canary_step(*release, *place as usize, *percent, scene)
            }
            Event::Look(look) if look.service == self.name => self.look(look, scene),
            Event::Answered { release, service, step, yes, .. } if *service == self.name => {
                self.answers(*release, *step as usize, *yes, scene)
            }
            Event::ReleaseChanged { release, service, state, why, back }
                if *service == self.name =>
            {
                if let (Some(open), Some((_, undoes))) = (self.own(*release), back) {
                    open.undoes = *undoes;
                }
                self.changes(*release, *state, why.display(), scene)
            }
            Event::ReleaseEnded { release, service, result, stable, .. }
                if *service == self.name =>
            {
                self.ends(*release, *result, *stable, &entry.id, scene)
            }
            Event::TriggerFired { service, .. } if *service == self.name => self.fires(scene),
            Event::Frozen { service, until, .. } => {
                let user = entry.actor.user.clone();
                self.frozen.retain(|(scope, own, _)| scope != service || *own != user);
                self.frozen.push((service.clone(), user, *until));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// What became of an entry, as the disk truly knows it.
    pub fn settled(&mut self, entry: &Entry, fate: Fate) {
        let kept = fate != Fate::Failed;
        match &entry.event {
            // What lets more happen is in force once it is on record.
            Event::Thawed { service, .. } if kept => {
                self.frozen.retain(|(scope, ..)| scope != service);
            }
            Event::Answered { release, service, step, yes: true, .. }
                if kept && *service == self.name =>
            {
                if let Some(open) = self.own(*release) {
                    open.answer = Some((*step as usize, true));
                }
            }
            Event::ReleaseStarted(facts) if facts.service == self.name => {
                if kept {
                    if let Some(open) = self.own(facts.release) {
                        open.durable = true;
                    }
                } else {
                    self.open.take_if(|open| open.facts.release == facts.release);
                }
            }
            Event::StepStarted { release, service, step, .. } if *service == self.name => {
                let step = *step as usize;
                if let Some(open) = self.own(*release)
                    && open.step_record[step].as_ref() == Some(&entry.id)
                {
                    open.step_durable[step] = kept;
                    if !kept {
                        open.marks[step] = StepState::Waiting;
                    }
                }
            }
            Event::ReleaseEnded { release, service, result, stable, .. }
                if *service == self.name =>
            {
                self.flip.take_if(|flip| *flip == entry.id).inspect(|_| {
                    self.stable = self.stable.other();
                });
                let gone = self
                    .open
                    .take_if(|open| open.facts.release == *release && open.ending == Some(*result));
                if let Some(open) = gone
                    && kept
                {
                    self.ended.insert(open.facts.release, *result);
                    let flipped = |open: &Open| open.facts.stable != *stable;
                    let good = *result == ReleaseResult::Good;
                    self.finalised = Some(open).filter(|open| good && flipped(open));
                }
            }
            _ => {}
        }
    }

    fn starts(&mut self, facts: &ReleaseStarted, scene: &Scene) -> Checked {
        if scene.live {
            let refused = |open: &Open| open.ending == Some(ReleaseResult::Failed);
            holds("one_release_in_flight", self.open.as_ref().is_none_or(refused), || {
                format!("r{} starts beside another one", facts.release)
            })?;
            let frozen = self.is_frozen(scene.wall) && facts.kind == ReleaseKind::Deploy;
            holds("frozen_starts_nothing", !frozen, || {
                format!("r{} of {} starts in a freeze", facts.release, self.name)
            })?;
            holds("roles_are_known", facts.stable == self.stable, || {
                format!("r{} takes {:?} for stable", facts.release, facts.stable)
            })?;
        }
        let deploy = facts.kind == ReleaseKind::Deploy;
        let steps = scene.fleet.steps(self.service, &facts.plan, deploy);
        let count = facts.steps.len();
        self.open = Some(Open {
            changed: false,
            steps,
            durable: false,
            from: self.fence,
            state: ReleaseState::Running,
            restarted: false,
            place: 0,
            marks: vec![StepState::Waiting; count],
            began: vec![scene.now; count],
            step_record: vec![None; count],
            step_durable: vec![false; count],
            acted: vec![false; count],
            asks: BTreeSet::new(),
            checks: BTreeSet::new(),
            reached: None,
            since: scene.now,
            requests: 0,
            verdict: String::new(),
            promoted: false,
            resumed: false,
            looked: [0; 2],
            truth: scene.truth,
            begun: BTreeSet::new(),
            undone: BTreeSet::new(),
            answer: None,
            ending: None,
            undoes: false,
            facts: facts.clone(),
        });
        Ok(())
    }

    fn step_starts(&mut self, release: u64, step: usize, id: &str, scene: &Scene) -> Checked {
        let name = self.name.clone();
        let ended = self.ended.contains_key(&release);
        holds("ended_is_ended", !scene.live || !ended, || {
            format!("r{release} of {name} ended, and starts step {step}")
        })?;
        let Some(open) = self.own(release) else { return Ok(()) };
        if scene.live {
            let right = open.durable && open.goes(step) && !open.changed;
            holds("stopped_goes_no_further", right, || {
                format!("r{release} is {:?}, and starts step {step}", open.state)
            })?;
            holds("steps_in_order", open.is_next(step), || {
                format!("r{release} starts step {step} after {:?}", open.marks)
            })?;
            holds("a_person_repeats", !open.asks.contains(&step), || {
                format!("r{release} repeats step {step} and asked nobody")
            })?;
        }
        // The record of an end may be lost; what came after it is not.
        for before in open.behind(step) {
            open.marks[before] = StepState::Done;
        }
        open.marks[step] = StepState::Running;
        open.place = if open.is_list() { step } else { open.first_not_done() };
        open.began[step] = scene.now;
        open.step_record[step] = Some(id.to_owned());
        open.step_durable[step] = false;
        open.acted[step] = false;
        open.checks.remove(&step);
        Ok(())
    }

    fn step_ends(
        &mut self,
        release: u64,
        step: usize,
        result: StepResult,
        detail: &str,
        scene: &Scene,
    ) -> Checked {
        let name = self.name.clone();
        let Some(open) = self.own(release) else { return Ok(()) };
        if scene.live {
            open.may_end(&name, step, result, detail, scene)?;
        }
        let to = match open.steps.get(step).map(|step| &step.action) {
            Some(Action::Switch) if result == StepResult::Done => Some(Percent::FULL),
            Some(Action::Split(to)) if result == StepResult::Done => Some(*to),
            Some(_) | None => None,
        };
        if let Some(to) = to {
            self.is_set("splits_are_verified", to, scene)?;
        }
        let Some(open) = self.own(release) else { return Ok(()) };
        match result {
            StepResult::Done => {
                open.marks[step] = StepState::Done;
                let own = step >= open.place;
                open.step_durable[step] &= open.is_list() && !own;
                if open.state == ReleaseState::Asking && step == open.place {
                    open.state = ReleaseState::Running;
                }
                if !open.is_list() {
                    open.place = open.first_not_done();
                } else if own {
                    open.place = step + 1;
                }
            }
            StepResult::Interrupted | StepResult::Failed => {
                open.marks[step] = StepState::Failed;
                open.begun.insert(step);
            }
            StepResult::Undone | StepResult::NotUndone => {
                open.marks[step] = StepState::Undone;
                if !scene.live {
                    // Nothing is undone but on the way back, whether that is on record or not.
                    open.state = ReleaseState::WalkingBack;
                    open.undoes = true;
                }
            }
        }
        Ok(())
    }

    fn canary_step(
        &mut self,
        release: u64,
        place: usize,
        percent: Percent,
        scene: &Scene,
    ) -> Checked {
        let canary = scene.fleet.settings.services[self.service].canary.as_ref();
        if self.own(release).is_none() {
            return Ok(());
        }
        let rule = "canary_steps_are_verified";
        let own = canary.is_some_and(|own| own.steps.get(place) == Some(&percent));
        holds(rule, !scene.live || own, || format!("r{release} is at {percent} by step {place}"))?;
        self.is_set(rule, percent, scene)?;
        let Some(open) = self.own(release) else { return Ok(()) };
        open.reached = Some(place);
        open.since = scene.now;
        open.requests = 0;
        open.verdict.clear();
        open.promoted = false;
        open.resumed = false;
        Ok(())
    }

    /// The split is proven: by the result of the last operation, or by what was read since.
    fn is_set(&mut self, rule: &'static str, wanted: Percent, scene: &Scene) -> Checked {
        let last = self.operation.as_mut().filter(|(_, to, _)| *to == wanted);
        let verified = |(_, _, result): &&mut (Fence, Percent, Option<OperationResult>)| {
            *result == Some(OperationResult::Verified)
        };
        let proven = last.as_ref().is_some_and(verified) || scene.shown == Some((wanted, wanted));
        holds(rule, !scene.live || proven, || {
            format!("{wanted} is not proven: {last:?}, read {:?}", scene.shown)
        })?;
        if let Some((_, _, result)) = last {
            *result = Some(OperationResult::Verified);
        }
        Ok(())
    }

    fn look(&mut self, look: &Look, scene: &Scene) -> Checked {
        let canary = self.stable.other();
        let fresh = self.fresh;
        let Some(open) = self.own(look.release) else { return Ok(()) };
        let arms = [canary.other(), canary].map(super::source::place);
        for (at, arm) in [&look.stable, &look.canary].into_iter().enumerate() {
            open.looked[at] += arm.as_ref().map_or(0, |arm| arm.requests);
            let served = scene.truth[arms[at]].requests - open.truth[arms[at]].requests;
            holds("looks_are_true", !scene.live || exact(open.looked[at]) <= served + 3.0, || {
                format!("r{} has looked at {} requests of {served}", look.release, open.looked[at])
            })?;
        }
        open.requests += look.canary.as_ref().map_or(0, |arm| arm.requests);
        open.verdict.clone_from(&look.verdict);
        // A rule may fail it on the window's figures, which are older than the look.
        let rule = look.verdict == "FAIL" && look.sentence.display().contains('`');
        let sound = look.canary.is_some() || rule || !matches!(&*look.verdict, "PASS" | "FAIL");
        holds("no_data_decides_nothing", !scene.live || sound, || format!("{look:?}"))?;
        let decides = matches!(&*look.verdict, "PASS" | "FAIL");
        let known = !decides || fresh.is_some();
        holds("no_data_decides_nothing", !scene.live || known, || format!("{look:?}"))
    }

    fn answers(&mut self, release: u64, step: usize, yes: bool, scene: &Scene) -> Checked {
        let said = scene.person.is_some_and(|said| {
            matches!(&said.command, Command::Reply { service, yes: own, .. }
                if *service == self.name && *own == yes)
        });
        holds("a_person_answers", said || !scene.live, || format!("nobody said {yes}"))?;
        if let Some(open) = self.own(release).filter(|_| !yes) {
            open.answer = Some((step, false));
        }
        Ok(())
    }

    fn changes(&mut self, release: u64, state: ReleaseState, why: &str, scene: &Scene) -> Checked {
        let name = self.name.clone();
        let ended = self.ended.contains_key(&release);
        holds("ended_is_ended", !scene.live || !ended, || {
            format!("r{release} of {name} ended, and is {}", state.word())
        })?;
        let Some(open) = self.own(release) else { return Ok(()) };
        let goes =
            |command: &Command| matches!(command, Command::Resume { .. } | Command::Promote { .. });
        if state == ReleaseState::Running {
            holds("a_person_resumes", !scene.live || says(scene.person, &name, goes), || {
                format!("r{release} of {name} runs again: {why}")
            })?;
            let promoted = |command: &Command| matches!(command, Command::Promote { .. });
            open.promoted |= says(scene.person, &name, promoted);
            open.resumed = true;
            open.restarted = false;
            open.asks.clear();
            for mark in open.marks.iter_mut().filter(|mark| **mark == StepState::Failed) {
                *mark = StepState::Waiting;
            }
        }
        holds("it_says_why", !scene.live || !why.is_empty(), || {
            format!("r{release} is {} without a word", state.word())
        })?;
        open.state = state;
        Ok(())
    }

    fn ends(
        &mut self,
        release: u64,
        result: ReleaseResult,
        stable: Group,
        id: &str,
        scene: &Scene,
    ) -> Checked {
        let name = self.name.clone();
        let (now, operation) = (self.stable, self.operation);
        let Some(open) = self.own(release) else {
            return holds("ended_is_ended", !scene.live, || {
                format!("r{release} of {name} ends again")
            });
        };
        // Where a restart lost the proof, what every router shows stands in for it.
        let shown = scene.shown == Some((Percent::FULL, Percent::FULL));
        let full = operation.is_some_and(|(_, to, result)| {
            let verified = result == Some(OperationResult::Verified);
            let lost = result == Some(OperationResult::Unknown);
            to == Percent::FULL && (verified || (lost && shown))
        });
        // A plan's switch counts where the traffic is proven to be there at its end.
        let switched = full && open.steps.iter().any(|step| step.action == Action::Switch);
        let deploy = open.facts.kind == ReleaseKind::Deploy;
        // What is on record has been judged: not every proof is there beside it.
        let flipped = if scene.live { deploy || switched } else { stable != open.facts.stable };
        let finalised = result == ReleaseResult::Good && flipped;
        if scene.live && result == ReleaseResult::Good {
            let done = open.marks.iter().all(|mark| *mark == StepState::Done);
            holds("good_is_done", done, || format!("r{release} is good after {:?}", open.marks))?;
        }
        if scene.live && finalised {
            holds("finalised_has_it_all", full, || {
                format!("r{release} of {name} is finalised, the route is {operation:?}")
            })?;
        }
        let role = if finalised { open.facts.stable.other() } else { now };
        holds("roles_flip_once", !scene.live || stable == role, || {
            format!("r{release} of {name} ends {result:?}: {stable:?} is stable, not {role:?}")
        })?;
        open.ending = Some(result);
        if finalised && now != role {
            self.flip = Some(id.to_owned());
        }
        Ok(())
    }

    fn fires(&mut self, scene: &Scene) -> Checked {
        let signals = scene.fleet.settings.services[self.service].signals.as_ref();
        let patience = signals.map_or(Duration::ZERO, |signals| signals.interval * 3 + DELIVERY);
        if scene.live {
            let fresh = self.fresh.is_some_and(|at| scene.now.since(at) <= patience);
            holds("no_rollback_on_old_data", fresh, || {
                format!("{} fires at {:?} on data of {:?}", self.name, scene.now, self.fresh)
            })?;
            let last = self.fired.last().copied();
            // After a restart the wall clock is all that says how long ago it fired.
            let waited = |last: Time| self.jumped || scene.now.since(last) >= COOLDOWN;
            let pause = last.is_none_or(waited);
            holds("one_rollback_by_itself", pause, || {
                format!("{} fires at {:?} after {last:?}", self.name, scene.now)
            })?;
        }
        self.fired.push(scene.now);
        Ok(())
    }

    fn intent(&mut self, intent: &Intent, scene: &Scene) -> Checked {
        if scene.live {
            holds("roles_flip_once", intent.stable == self.stable, || {
                format!("{intent:?} takes {:?} for stable", intent.stable)
            })?;
            // What every router shows already is no more exposure.
            let up = intent.to > intent.from.unwrap_or(Percent::ZERO)
                && scene.shown.is_none_or(|(_, most)| intent.to > most);
            let flag = scene.fleet.settings.services[self.service].flag;
            if up && by_engine(intent) && flag {
                // Its owner's model knows.
            } else if up && by_engine(intent) {
                self.may_raise(intent, scene)?;
            } else if up {
                let asked = scene.person.is_some_and(|said| said.id == intent.submission);
                holds("exposure_has_a_reason", asked, || format!("nobody asked for {intent:?}"))?;
            }
        } else {
            let end = self.finalised.take();
            let end = end.filter(|open| open.facts.stable == intent.stable);
            if let Some(open) = end.filter(|_| self.open.is_none()) {
                self.ended.remove(&open.facts.release);
                self.open = Some(open);
            }
            self.stable = intent.stable;
            let own = by_engine(intent) && intent.verb != "rollback";
            let again = self.begun.contains(&intent.submission);
            let back = intent.to == Percent::ZERO && !own && !again;
            if let Some(open) = self.open.as_mut().filter(|_| back) {
                // Whoever takes the traffic back ends the release.
                open.state = ReleaseState::WalkingBack;
            }
        }
        self.begun.insert(intent.submission.clone());
        // Whoever takes the traffic back while the end is being recorded takes the end back.
        let flips = self.flip.take().is_some();
        if let Some(open) = &mut self.open
            && open.state != ReleaseState::WalkingBack
            && open.ending != Some(ReleaseResult::Failed)
            && (open.facts.kind == ReleaseKind::Deploy || flips)
        {
            open.ending = None;
        }
        self.operation = Some((intent.fence, intent.to, None));
        self.own = by_engine(intent);
        Ok(())
    }

    /// Which percent may be set now?
    fn may_raise(&self, intent: &Intent, scene: &Scene) -> Checked {
        let rule = "exposure_has_a_reason";
        let Some(open) = self.open.as_ref().filter(|open| open.durable) else {
            return holds(rule, false, || format!("{intent:?} belongs to no release"));
        };
        let stopped = open.state != ReleaseState::Running || open.restarted || open.changed;
        holds("stopped_raises_nothing", !stopped, || {
            let (state, restarted) = (open.state, open.restarted);
            format!("{state:?}, restarted {restarted}, changed {}: {intent:?}", open.changed)
        })?;
        holds("frozen_raises_nothing", !self.is_frozen(scene.wall), || {
            format!("{} is frozen: {intent:?}", self.name)
        })?;
        let durable = open.step_durable.get(open.place) == Some(&true);
        holds(rule, durable, || format!("{intent:?} before its step is durable"))?;
        let canary = scene.fleet.settings.services[self.service].canary.as_ref();
        match open.steps.get(open.place).map(|step| &step.action) {
            Some(Action::Split(to)) => {
                holds(rule, intent.to == *to, || format!("{intent:?} at a split to {to}"))
            }
            Some(Action::Switch) => {
                holds(rule, intent.to == Percent::FULL, || format!("{intent:?} at a switch"))
            }
            Some(Action::Canary) => match canary {
                Some(canary) => self.may_raise_canary(open, canary, intent, scene),
                None => holds(rule, false, || format!("{intent:?}: there is no canary")),
            },
            other => holds(rule, false, || format!("{intent:?} at {other:?}")),
        }
    }

    fn may_raise_canary(
        &self,
        open: &Open,
        canary: &Canary,
        intent: &Intent,
        scene: &Scene,
    ) -> Checked {
        let rule = "exposure_has_a_reason";
        let last = canary.steps.len() - 1;
        let here = open.reached.unwrap_or(0);
        let at = |place: usize| canary.steps[place.min(last)] == intent.to;
        if at(here) || (open.promoted && at(last)) {
            return Ok(());
        }
        holds(rule, at(here + 1) && open.reached.is_some(), || {
            format!("{intent:?} at step {here} of {:?}", canary.steps)
        })?;
        let signals = scene.fleet.settings.services[self.service].signals.as_ref();
        let patience = signals.map_or(Duration::ZERO, |signals| signals.interval * 3 + DELIVERY);
        let fresh = self.fresh.is_some_and(|at| scene.now.since(at) <= patience);
        holds("old_data_raise_nothing", fresh || open.resumed, || {
            format!("{intent:?} at {:?} on data of {:?}", scene.now, self.fresh)
        })?;
        let soaked = scene.now.since(open.since) >= canary.times(here).soak;
        holds(rule, soaked, || format!("{intent:?} after {:?}", scene.now.since(open.since)))?;
        let passed = match canary.pass {
            Pass::Evidence => open.verdict == "PASS",
            Pass::Time => {
                !matches!(&*open.verdict, "FAIL" | "HOLD") && open.requests >= canary.requests_min
            }
        };
        holds(rule, passed, || {
            let (verdict, requests) = (&open.verdict, open.requests);
            format!("{intent:?} on {verdict:?} with {requests} requests, by {:?}", canary.pass)
        })
    }

    /// May this task run now?
    pub fn may_run(&mut self, role: Role, exposed: bool) -> Checked {
        let (name, operation) = (self.name.clone(), self.operation);
        let Some(open) = self.open.as_mut() else {
            return holds("tasks_have_a_release", false, || format!("{role:?} of {name}"));
        };
        let (place, state) = (open.place, open.state);
        let back = state == ReleaseState::WalkingBack;
        let step = role.step.unwrap_or(place);
        let durable = open.step_durable.get(step) == Some(&true);
        let current = step == place || (!open.is_list() && open.marks[step] == StepState::Running);
        match role.kind {
            Kind::Verify => {
                open.checks.remove(&step);
                let right = current && durable;
                holds("tasks_follow_their_record", right, || format!("{role:?} at {place}"))
            }
            Kind::Act | Kind::Page(_) if !back => {
                holds("tasks_follow_their_record", current && durable, || {
                    format!("{role:?} of {name} at step {place}, durable {durable}")
                })?;
                holds("stopped_goes_no_further", open.goes(step), || {
                    format!("{role:?} of {name} while {state:?}")
                })?;
                let asks = open.asks.contains(&step);
                holds("a_person_repeats", !asks, || format!("{role:?} of {name} once more"))?;
                holds("checked_before_repeated", !open.checks.contains(&step), || {
                    format!("{role:?} of {name} is repeated unchecked")
                })?;
                let acted = std::mem::replace(&mut open.acted[step], true);
                holds("tasks_run_once", !acted, || format!("{role:?} of {name} runs again"))?;
                let beside = (0..open.marks.len())
                    .filter(|&at| open.acted[at] && open.marks[at] == StepState::Running);
                holds("few_run_beside", beside.count() <= TASKS_MAX, || format!("{role:?}"))
            }
            Kind::Act => holds("stopped_goes_no_further", false, || format!("{role:?} on the way")),
            Kind::Undo | Kind::Page(_) => {
                let step = role.step.or_else(|| open.last_page());
                open.may_undo(step, exposed, operation)
            }
        }
    }

    /// After an input: what failed is on its way back, or a person is asked.
    pub fn after_input(&self) -> Checked {
        let Some(open) = self.open.as_ref().filter(|open| open.ending.is_none()) else {
            return Ok(());
        };
        let failed = open.marks.contains(&StepState::Failed) || {
            let canary = open.steps.get(open.place).map(|step| &step.action);
            canary == Some(&Action::Canary) && open.verdict == "FAIL" && open.reached.is_some()
        };
        let left = matches!(open.state, ReleaseState::Running | ReleaseState::Asking);
        holds("a_fail_is_not_ignored", !failed || !left || open.restarted, || {
            format!("r{} of {} failed and is {:?}", open.facts.release, self.name, open.state)
        })
    }
}

impl Open {
    /// A new life found it open.
    fn restart(&mut self, fleet: &Fleet, service: usize) {
        self.restarted = true;
        self.durable = true;
        let deploy = self.facts.kind == ReleaseKind::Deploy;
        self.steps = fleet.steps(service, &self.facts.plan, deploy);
        self.changed = !self.steps.iter().map(|step| &step.name).eq(&self.facts.steps);
        self.undone.clear();
        self.ending = None;
        self.acted.fill(false);
        if self.state == ReleaseState::Asking {
            self.state = ReleaseState::Running;
        }
        let end = if self.changed { self.place } else { self.steps.len() };
        for place in self.place..end {
            self.restart_step(place);
        }
    }

    fn restart_step(&mut self, place: usize) {
        let step = &self.steps[place];
        let acts = matches!(step.action, Action::Task(_) | Action::Maintenance(_));
        match self.marks[place] {
            StepState::Failed => {
                self.asks.insert(place);
            }
            StepState::Running => {
                self.begun.insert(place);
                match step.after_crash {
                    AfterCrash::Check if acts && step.verify.is_some() => {
                        self.checks.insert(place);
                    }
                    AfterCrash::Check | AfterCrash::Ask if acts => {
                        self.asks.insert(place);
                    }
                    AfterCrash::Repeat | AfterCrash::Check | AfterCrash::Ask => {
                        self.marks[place] = StepState::Waiting;
                    }
                }
            }
            StepState::Waiting | StepState::Done | StepState::Undone => {}
        }
    }

    /// Its steps go one by one.
    fn is_list(&self) -> bool {
        self.facts.after.is_empty()
    }

    /// What must be done before this step.
    fn behind(&self, step: usize) -> Vec<usize> {
        if self.is_list() {
            return (0..step).collect();
        }
        let mut found: Vec<usize> =
            self.facts.after[step].iter().map(|place| *place as usize).collect();
        for place in found.clone() {
            found.extend(self.behind(place));
        }
        found
    }

    fn first_not_done(&self) -> usize {
        let open = self.marks.iter().position(|mark| *mark != StepState::Done);
        open.unwrap_or(self.marks.len())
    }

    /// May this step begin, by what is done?
    fn is_next(&self, step: usize) -> bool {
        let done = |place: usize| self.marks[place] == StepState::Done;
        let beside = !self.is_list()
            && self.marks[step] == StepState::Waiting
            && matches!(self.steps[step].action, Action::Task(_));
        (step == self.place || beside) && self.behind(step).into_iter().all(done)
    }

    /// May anything of this step begin now? A question holds up only what comes behind it.
    fn goes(&self, step: usize) -> bool {
        let beside = !self.is_list() && step != self.place;
        self.state == ReleaseState::Running || (beside && self.state == ReleaseState::Asking)
    }

    fn may_end(
        &self,
        name: &str,
        step: usize,
        result: StepResult,
        detail: &str,
        scene: &Scene,
    ) -> Checked {
        let Some(own) = self.steps.get(step).filter(|_| !self.changed) else { return Ok(()) };
        let took = scene.now.since(self.began[step]);
        let late = took >= own.timeout;
        match (&own.action, result) {
            (Action::Wait { span, .. }, StepResult::Done) => {
                holds("waits_take_their_time", took >= *span, || {
                    format!("{name} waited {took:?} of {span:?}")
                })
            }
            (Action::Ask { default, .. }, StepResult::Done | StepResult::Failed) => {
                let wanted = result == StepResult::Done;
                let said = self.answer == Some((step, wanted));
                let silence = late && (*default == Some(wanted) || (default.is_none() && !wanted));
                holds("a_person_answers", said || silence, || {
                    format!("{name}: nobody said so: {result:?} {detail}")
                })
            }
            _ => Ok(()),
        }
    }

    /// The page that is up.
    fn last_page(&self) -> Option<usize> {
        (0..self.steps.len()).rev().find(|&at| {
            self.steps[at].action == Action::Maintenance(true)
                && self.touched(at)
                && !self.undone.contains(&at)
        })
    }

    /// It may have left something behind.
    pub fn touched(&self, at: usize) -> bool {
        match self.marks[at] {
            StepState::Waiting => self.begun.contains(&at),
            StepState::Undone => false,
            StepState::Running | StepState::Done | StepState::Failed => true,
        }
    }

    fn may_undo(
        &mut self,
        step: Option<usize>,
        exposed: bool,
        operation: Option<(Fence, Percent, Option<OperationResult>)>,
    ) -> Checked {
        let Some(step) = step else {
            return holds("undone_in_order", false, || "no step has this task".to_owned());
        };
        holds("undone_in_order", self.state == ReleaseState::WalkingBack, || {
            format!("step {step} is undone while {:?}", self.state)
        })?;
        let order = if self.is_list() {
            self.undone.iter().all(|other| *other > step)
        } else {
            !self.undone.iter().any(|other| self.behind(step).contains(other))
        };
        holds("undone_in_order", order, || {
            format!("step {step} is undone after {:?}", self.undone)
        })?;
        self.undone.insert(step);
        holds("undone_in_order", self.touched(step), || {
            format!("step {step} is {:?}", self.marks[step])
        })?;
        let moved = self.steps.iter().zip(&self.marks).any(|(step, mark)| {
            *mark != StepState::Waiting
                && matches!(step.action, Action::Canary | Action::Split(_) | Action::Switch)
        });
        let decided = operation.is_some_and(|(_, to, result)| {
            let proven =
                matches!(result, Some(OperationResult::Verified | OperationResult::Superseded));
            to == Percent::ZERO && proven
        });
        let first = self.undone.len() == 1;
        holds("undone_after_the_traffic", !first || !moved || !exposed || decided, || {
            format!("step {step} is undone while the canary has traffic: {operation:?}")
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
fn exact(count: u64) -> f64 {
    count as f64
}
