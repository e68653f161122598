//! A release of one service: the steps of a plan, one after the other, and the way back.
//!
//! Decides which step is next and what it needs. Never touches anything: it says one [`Move`] at a
//! time, and is told what became of it. Contract, level-triggered: [`Release::next`] looks at what
//! is known now, so asking it again does nothing twice. No step with an effect begins before its
//! record is durable; a failed deploy takes traffic to stable first and then its steps back.

mod back;
mod closing;
mod downtime;
mod flag;
pub mod graph;
mod mark;
mod others;
mod question;
mod restart;
mod side;
mod validate;
mod view;
mod word;

use std::time::Duration;

use self::downtime::Downtime;
use self::mark::Mark;
use self::side::{Meaning, Side, SideDoing};
use self::word::Word;
pub use self::word::is_word;
use crate::reading::{TaskAnswer, TaskContext};
use crate::record::{
    Event, OperationResult, ReleaseKind, ReleaseResult, ReleaseStarted, ReleaseState, StepResult,
};
use crate::rollout::{Next, Rollout};
use crate::route::Route;
use crate::settings::{Action, OnFail, Step};
use crate::snapshot::{RouteState, StepState};
use crate::types::{
    Actor, EffectId, Fence, Now, Percent, ServiceId, Status, TaskId, Time, Untrusted,
};
use crate::validation::Validity;

/// After a restart a router is read within this; then it is written.
const READ_PATIENCE: Duration = Duration::from_secs(15);

/// What takes a step back gets this long, whatever the step itself had.
const UNDO_BUDGET: Duration = Duration::from_mins(5);

/// A release whose start is not on record by then is refused: its client waits for an answer.
const OPENING_PATIENCE: Duration = Duration::from_secs(20);

/// Lines of a task's output that a step keeps are bounded by the adapter; this bounds a sentence.
const SENTENCE_CHARS_MAX: usize = 600;

/// The next thing to do for a release.
#[derive(Clone, Debug)]
pub enum Move {
    /// Write it down. `first`: nothing goes on before it is durable.
    Record { event: Event, first: bool },
    /// Set the split, as an operation of the route.
    Split { to: Percent, verb: &'static str },
    /// Set a feature flag, as an operation of its own.
    Flag { flag: ServiceId, to: Percent },
    /// All traffic to stable, at once.
    RollBack { sentence: String },
    Task {
        /// Place of its step.
        step: usize,
        task: TaskId,
        budget: Duration,
    },
    /// Run the service's checks for the version.
    Validate,
    /// Its start is on no record in time: refuse it. Should the start be kept after all, the
    /// event ends it.
    GiveUp { event: Event, why: String },
    /// Look again then.
    Wake(Time),
    /// People must know.
    Page { summary: String },
}

/// What a release may know about the world.
pub struct Facts<'a> {
    pub now: Now,
    pub route: &'a Route,
    /// Of the flag that the current step sets.
    pub flag: Option<&'a Route>,
    /// The service's probes: name, status now, when the last answer was asked for if it was UP.
    pub probes: Vec<(&'a str, Status, Option<Time>)>,
    pub maintenance: Option<[TaskId; 2]>,
    /// What the service's checks say about the release's version.
    pub validity: Validity,
}

/// What the current step waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    /// The release's own start is being recorded.
    Opening,
    /// The step has not begun.
    Idle,
    /// Its start is being recorded.
    Recording,
    /// It has begun; its action decides.
    Acting,
    Asked(Purpose),
    Running(EffectId, Purpose),
    /// An operation of the route is asked for, then in flight.
    Splitting(Option<Fence>),
    /// The end is being recorded.
    Closing,
}

/// What a task is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Act,
    Verify,
    /// After a restart: is it done already? If not, it is done again.
    Recheck,
    Undo(usize),
}

/// The way back, and the end.
#[derive(Clone, Debug)]
struct Back {
    /// How it ends once everything is taken back.
    ending: ReleaseResult,
    /// Steps are taken back on the way out.
    undoes: bool,
    traffic: Traffic,
    /// Something could not be taken back.
    stuck: bool,
}

/// Where a release that walks back knows the traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Traffic {
    /// It is still to be taken to stable, if a step gave any away.
    Open,
    /// Taken to stable, or it never left.
    Home,
    /// Not proven to be on stable: what may serve it stays as it is.
    Lost,
}

#[derive(Clone, Debug)]
pub struct Release {
    pub service: ServiceId,
    pub facts: ReleaseStarted,
    pub actor: Actor,
    pub started: Now,
    pub state: ReleaseState,
    pub result: Option<ReleaseResult>,
    ended: Option<Now>,
    steps: Vec<Step>,
    marks: Vec<Mark>,
    /// What each step waits for; empty for a plain list.
    links: Vec<Vec<u32>>,
    /// Steps that run beside the current one.
    sides: Vec<Side>,
    /// Steps that ended, in that order.
    order: Vec<usize>,
    place: usize,
    doing: Doing,
    /// The record that nothing goes on without.
    awaits: Option<EffectId>,
    pub rollout: Option<Rollout>,
    /// A restart came in between: a person says go before exposure rises again.
    restarted: bool,
    /// The plan in the configuration is not the one that was started.
    changed: bool,
    answered: Option<bool>,
    word: Word,
    back: Back,
    sentence: String,
    woken: Option<Time>,
    /// Records that are not waited for.
    notes: Vec<Move>,
    downtime: Downtime,
    /// Its good end makes the other group stable.
    flips: bool,
}

impl Release {
    #[must_use]
    pub fn new(
        service: ServiceId,
        facts: ReleaseStarted,
        steps: Vec<Step>,
        actor: Actor,
        rollout: Option<Rollout>,
        now: Now,
    ) -> Release {
        Release {
            service,
            marks: vec![Mark::waiting(); steps.len()],
            links: graph::links(&steps),
            sides: Vec::new(),
            order: Vec::new(),
            facts,
            actor,
            started: now,
            state: ReleaseState::Running,
            result: None,
            ended: None,
            steps,
            place: 0,
            doing: Doing::Opening,
            awaits: None,
            rollout,
            restarted: false,
            changed: false,
            answered: None,
            word: Word::Recorded,
            back: Back {
                ending: ReleaseResult::RolledBack,
                undoes: true,
                traffic: Traffic::Open,
                stuck: false,
            },
            sentence: "its start is being recorded".to_owned(),
            woken: None,
            notes: Vec::new(),
            downtime: Downtime::new(),
            flips: false,
        }
    }

    #[must_use]
    pub fn in_flight(&self) -> bool {
        self.result.is_none()
    }

    /// It ended well, with all the traffic on what was not stable.
    #[must_use]
    pub fn flipped(&self) -> bool {
        self.flips && self.result == Some(ReleaseResult::Good)
    }

    #[must_use]
    pub fn is_opening(&self) -> bool {
        self.in_flight() && self.doing == Doing::Opening
    }

    /// What a command must have seen.
    #[must_use]
    pub fn expected(&self) -> (u64, u32) {
        (self.facts.release, u32::try_from(self.place).unwrap_or(u32::MAX))
    }

    /// Why its splits are set, for the journal.
    #[must_use]
    pub fn reason(&self) -> Untrusted {
        let version = &self.facts.version;
        Untrusted::new(&format!("r{} {version}: {}", self.facts.release, self.sentence))
    }

    fn step(&self) -> Option<&Step> {
        self.steps.get(self.place)
    }

    /// The canary or a bake is under way: looks count.
    #[must_use]
    pub fn watches(&self) -> bool {
        let acting = matches!(self.doing, Doing::Acting | Doing::Splitting(_));
        self.in_flight()
            && self.state != ReleaseState::WalkingBack
            && acting
            && self.step().is_some_and(|step| {
                matches!(step.action, Action::Canary | Action::Wait { watch: true, .. })
            })
    }

    /// The step is the canary: to promote is to finish it now.
    #[must_use]
    pub fn in_canary(&self) -> bool {
        self.in_flight() && self.step().is_some_and(|step| step.action == Action::Canary)
    }

    #[must_use]
    pub fn context(&self, group: &str, service: &str) -> TaskContext {
        TaskContext {
            service: service.to_owned(),
            version: self.facts.version.clone(),
            group: group.to_owned(),
            reason: self.facts.reason.clone(),
            ..TaskContext::default()
        }
    }

    // What it is told.

    /// The record that was waited for is durable, or is not.
    pub fn recorded(&mut self, failure: Option<&str>, now: Now) {
        match (self.doing, failure) {
            (Doing::Opening, None) => self.doing = Doing::Idle,
            (Doing::Opening, Some(why)) => {
                self.end(ReleaseResult::Failed, now);
                self.sentence = format!("the journal cannot be written, nothing was done: {why}");
            }
            (Doing::Recording, None) => self.doing = Doing::Acting,
            (Doing::Recording, Some(why)) => {
                self.doing = Doing::Idle;
                self.marks[self.place] = self.marks[self.place].not_begun();
                self.hold(&format!("the journal cannot be written: {why}; resume tries again"));
            }
            // The end is the same with and without its record.
            (Doing::Closing, _) => self.end(self.back.ending, now),
            (
                Doing::Idle
                | Doing::Acting
                | Doing::Asked(_)
                | Doing::Running(..)
                | Doing::Splitting(_),
                _,
            ) => {}
        }
    }

    fn end(&mut self, result: ReleaseResult, now: Now) {
        self.result = Some(result);
        self.state = ReleaseState::Ended;
        self.ended = Some(now);
    }

    /// The record that is waited for went out under this id.
    pub fn awaits(&mut self, id: EffectId) {
        if !self.side_awaits(id) {
            self.awaits = Some(id);
        }
    }

    /// Is this the answer to it? One may come when another record is waited for by now.
    pub fn awaits_record(&mut self, id: EffectId) -> bool {
        self.awaits.take_if(|own| *own == id).is_some()
    }

    /// The task that was asked for has this id.
    pub fn task_began(&mut self, step: usize, id: EffectId) {
        let beside = self.sides.iter_mut().find(|side| side.place == step);
        if let Some(Side { doing, .. }) = beside {
            if let SideDoing::Asked(purpose) = *doing {
                *doing = SideDoing::Running(id, purpose);
            }
        } else if let Doing::Asked(purpose) = self.doing {
            self.doing = Doing::Running(id, purpose);
        }
    }

    /// Is this a task of its own in flight?
    #[must_use]
    pub fn runs(&self, id: EffectId) -> bool {
        let beside = |side: &Side| matches!(side.doing, SideDoing::Running(own, _) if own == id);
        matches!(self.doing, Doing::Running(own, _) if own == id) || self.sides.iter().any(beside)
    }

    /// The answer of a task in flight.
    pub fn task_ended(&mut self, id: EffectId, answer: TaskAnswer, now: Now) {
        let Some(answer) = self.side_ended(id, answer, now) else { return };
        let Doing::Running(_, purpose) = self.doing else { return };
        self.doing = Doing::Acting;
        let verified = self.step().is_some_and(|step| step.verify.is_some());
        match purpose {
            Purpose::Undo(place) => self.undone(place, answer, now),
            Purpose::Act | Purpose::Verify | Purpose::Recheck
                if self.state == ReleaseState::WalkingBack =>
            {
                // It ended on the way out: what it did is taken back like the rest.
            }
            Purpose::Act | Purpose::Verify | Purpose::Recheck => {
                match Meaning::of(purpose, answer, verified) {
                    Meaning::Done(detail) => self.done(detail, now),
                    Meaning::Verify(detail) => {
                        self.marks[self.place].detail = detail;
                        self.doing = Doing::Asked(Purpose::Verify);
                    }
                    Meaning::Again => {}
                    Meaning::Failed(why) => self.fail(&why, now),
                }
            }
        }
    }

    /// The operation that was asked for has this fence, or was refused.
    pub fn split_began(&mut self, answer: Result<Fence, String>) {
        match answer {
            Ok(fence) => self.doing = Doing::Splitting(Some(fence)),
            Err(why) if self.state == ReleaseState::WalkingBack => {
                self.doing = Doing::Acting;
                self.back.traffic = Traffic::Lost;
                self.back.stuck = true;
                self.sentence = format!("{}; no rollback: {why}", self.sentence);
            }
            Err(why) => {
                self.doing = Doing::Acting;
                self.hold(&format!("the split was refused: {why}"));
            }
        }
    }

    /// Somebody said that nothing is released now: it waits until a person resumes it.
    pub fn frozen(&mut self, why: &str) {
        self.doing = Doing::Acting;
        self.change(ReleaseState::Paused, why);
    }

    // What people say.

    pub fn pause(&mut self, why: &str) -> Result<(), String> {
        if self.doing == Doing::Closing {
            return Err("the release is ending".to_owned());
        }
        match self.state {
            ReleaseState::Running | ReleaseState::Asking | ReleaseState::Held => {
                self.change(ReleaseState::Paused, why);
                Ok(())
            }
            ReleaseState::Paused | ReleaseState::WalkingBack | ReleaseState::Ended => {
                Err(format!("the release is {}", self.state.word()))
            }
        }
    }

    pub fn resume(&mut self, why: &str, now: Now) -> Result<(), String> {
        self.check_word()?;
        if !matches!(self.state, ReleaseState::Paused | ReleaseState::Held) {
            return Err(format!("the release is {}", self.state.word()));
        }
        if self.changed {
            return Err("its plan changed since it started: it can only be aborted".to_owned());
        }
        self.restarted = false;
        if let Some(rollout) = &mut self.rollout {
            rollout.resume(now);
        }
        if self.marks.get(self.place).is_some_and(|mark| mark.state == StepState::Failed) {
            self.doing = Doing::Idle;
        }
        for mark in self.marks.iter_mut().filter(|mark| mark.state == StepState::Failed) {
            *mark = mark.again();
        }
        self.change(ReleaseState::Running, why);
        self.word = Word::Said(None);
        Ok(())
    }

    pub fn reply(&mut self, yes: bool, reason: &Untrusted) -> Result<(), String> {
        self.check_word()?;
        if self.state != ReleaseState::Asking {
            return Err("the release asks nothing".to_owned());
        }
        self.answered = Some(yes);
        self.note(Event::Answered {
            release: self.facts.release,
            service: self.facts.service.clone(),
            step: self.expected().1,
            yes,
            reason: reason.clone(),
        });
        self.word = if yes { Word::Said(None) } else { Word::Recorded };
        Ok(())
    }

    /// Finish the canary now: its last step is next.
    pub fn promote(&mut self, why: &str, now: Now) -> Result<(), String> {
        self.check_word()?;
        if !self.in_canary() || !matches!(self.doing, Doing::Acting) {
            return Err("the release is not at its canary".to_owned());
        }
        self.restarted = false;
        let Some(rollout) = &mut self.rollout else {
            return Err("the release has no canary".to_owned());
        };
        if rollout.is_last() {
            return Err("the canary has all the traffic already".to_owned());
        }
        let place = rollout.place();
        rollout.resume(now);
        rollout.enter(usize::MAX);
        self.change(ReleaseState::Running, why);
        self.word = Word::Said(Some(place));
        Ok(())
    }

    /// Somebody took the traffic to stable by an operation of their own, which ends the release.
    /// An abort takes the steps back, too; an emergency leaves all else as it is.
    /// Without a router there is no operation, and no traffic to take.
    pub fn preempt(&mut self, abort: bool, fence: Option<Fence>, why: &str) {
        if !self.in_flight() || self.state == ReleaseState::WalkingBack {
            return;
        }
        if self.doing == Doing::Closing && !self.flips {
            // All its steps are done, and the roles stay: its end stands as it is recorded.
            return;
        }
        self.back.ending = if abort { ReleaseResult::Aborted } else { ReleaseResult::RolledBack };
        self.back.undoes = abort;
        self.back.traffic = if fence.is_none() { Traffic::Home } else { Traffic::Open };
        if self.doing == Doing::Recording {
            // Its record is on its way, and nothing else of it has happened.
            self.marks[self.place] = self.marks[self.place].not_begun();
        }
        if !matches!(self.doing, Doing::Running(..) | Doing::Opening) {
            self.doing = fence.map_or(Doing::Acting, |fence| Doing::Splitting(Some(fence)));
        }
        self.change(ReleaseState::WalkingBack, why);
    }

    // What it decides.

    fn note(&mut self, event: Event) {
        self.notes.push(Move::Record { event, first: false });
    }

    fn change(&mut self, state: ReleaseState, why: &str) {
        let why: String = why.chars().take(SENTENCE_CHARS_MAX).collect();
        self.state = state;
        if state == ReleaseState::WalkingBack {
            self.stop_beside();
        }
        self.woken = None;
        self.note(Event::ReleaseChanged {
            release: self.facts.release,
            service: self.facts.service.clone(),
            state,
            why: Untrusted::new(&why),
            back: (state == ReleaseState::WalkingBack)
                .then_some((self.back.ending, self.back.undoes)),
        });
        self.sentence = why;
    }

    fn hold(&mut self, why: &str) {
        if self.state != ReleaseState::Held {
            self.notes.push(Move::Page { summary: why.to_owned() });
            self.change(ReleaseState::Held, why);
        }
    }

    fn record_step(&mut self, place: usize, result: StepResult, detail: Untrusted) {
        self.note(Event::StepEnded {
            release: self.facts.release,
            service: self.facts.service.clone(),
            step: u32::try_from(place).unwrap_or(u32::MAX),
            result,
            detail,
        });
    }

    fn done(&mut self, detail: Untrusted, now: Now) {
        self.over(self.place, StepState::Done, detail, now);
        self.answered = None;
        self.woken = None;
        self.doing = Doing::Idle;
        self.pass_over();
        if self.state == ReleaseState::Asking {
            self.state = ReleaseState::Running;
        }
    }

    fn fail(&mut self, why: &str, now: Now) {
        let name = self.step().map(|step| step.name.clone()).unwrap_or_default();
        self.over(self.place, StepState::Failed, Untrusted::new(why), now);
        self.doing = Doing::Acting;
        let why = format!("step {} ({name}) failed: {why}", self.place + 1);
        if self.fails_back(self.place) {
            return self.walk_back(&why);
        }
        // Its step is over: it does not fail again while it waits for a person.
        self.doing = Doing::Idle;
        self.hold(&format!("{why}; resume repeats it, abort ends it"));
    }

    /// Does it go back by itself when this step fails? A plan does not unless it says so: it may be
    /// the rollback itself.
    fn fails_back(&self, place: usize) -> bool {
        let own = self.steps.get(place).map_or(OnFail::Hold, |step| step.on_fail);
        self.facts.kind == ReleaseKind::Deploy || own == OnFail::RollBack
    }

    fn walk_back(&mut self, why: &str) {
        self.back.ending = ReleaseResult::RolledBack;
        self.back.undoes = true;
        self.change(ReleaseState::WalkingBack, why);
    }

    /// The next move; `None` when it waits. Ask again after each move and after each news.
    pub fn next(&mut self, facts: &Facts) -> Option<Move> {
        let statuses = facts.probes.iter().map(|(_, status, _)| *status);
        self.downtime.look(statuses, facts.now.mono);
        if !self.notes.is_empty() {
            return Some(self.notes.remove(0));
        }
        if self.doing == Doing::Opening && self.in_flight() {
            return self.opening(facts);
        }
        match self.state {
            ReleaseState::Ended => None,
            ReleaseState::WalkingBack => self.back(facts),
            ReleaseState::Running
            | ReleaseState::Asking
            | ReleaseState::Paused
            | ReleaseState::Held => self.forward(facts),
        }
    }

    /// Whoever asked for it gets an answer in time, whatever the journal does.
    fn opening(&mut self, facts: &Facts) -> Option<Move> {
        let deadline = self.started.mono + OPENING_PATIENCE;
        if facts.now.mono < deadline {
            return self.wake(deadline);
        }
        "the journal did not answer, nothing was done".clone_into(&mut self.sentence);
        self.back.ending = ReleaseResult::Failed;
        self.end(ReleaseResult::Failed, facts.now);
        self.awaits = None;
        let Move::Record { event, .. } = self.closing(facts) else { return None };
        Some(Move::GiveUp { event, why: self.sentence.clone() })
    }

    fn forward(&mut self, facts: &Facts) -> Option<Move> {
        if let Some(next) = self.beside(facts) {
            return Some(next);
        }
        match self.doing {
            Doing::Opening
            | Doing::Recording
            | Doing::Running(..)
            | Doing::Closing
            | Doing::Splitting(None) => None,
            Doing::Splitting(Some(fence)) if facts.flag.is_some() => self.flagging(fence, facts),
            Doing::Splitting(Some(fence)) => self.splitting(fence, facts),
            Doing::Asked(purpose) => self.task(purpose, facts),
            Doing::Idle if !self.goes() => None,
            Doing::Idle if self.has_beside(self.place) => None,
            Doing::Idle if self.place == self.steps.len() => self.finish(facts),
            Doing::Idle => {
                self.doing = Doing::Recording;
                self.marks[self.place].state = StepState::Running;
                self.marks[self.place].started = Some(facts.now);
                let name = self.step().map(|step| step.name.clone()).unwrap_or_default();
                self.sentence.clone_from(&name);
                let event = Event::StepStarted {
                    release: self.facts.release,
                    service: self.facts.service.clone(),
                    step: self.expected().1,
                    name,
                };
                Some(Move::Record { event, first: true })
            }
            Doing::Acting => self.act(facts),
        }
    }

    fn splitting(&mut self, fence: Fence, facts: &Facts) -> Option<Move> {
        match facts.route.result_of(fence)? {
            OperationResult::Verified => self.split_is_verified(facts),
            // Whoever superseded it says what becomes of the release.
            OperationResult::Superseded => None,
            result @ (OperationResult::Partial
            | OperationResult::Unknown
            | OperationResult::Refused) => {
                self.doing = Doing::Acting;
                let text = format!("the split ended {}", result.word());
                self.fail(&text, facts.now);
                self.next(facts)
            }
        }
    }

    /// The split that the step wants was read back.
    fn split_is_verified(&mut self, facts: &Facts) -> Option<Move> {
        self.doing = Doing::Acting;
        let action = self.step().map(|step| step.action.clone());
        if let (Some(Action::Switch), Some(rollout)) = (&action, &mut self.rollout) {
            // What follows a switch is watched like a canary with all the traffic.
            rollout.enter(usize::MAX);
            rollout.verified(facts.now);
        }
        let canary = action == Some(Action::Canary);
        let Some(rollout) = self.rollout.as_mut().filter(|_| canary) else {
            let text = format!("verified at {}", percent(facts.route.set));
            return self.read_back(&text, facts);
        };
        rollout.verified(facts.now);
        let (place, percent) = (rollout.place(), rollout.percent());
        let event = Event::CanaryStep {
            release: self.facts.release,
            service: self.facts.service.clone(),
            place: u32::try_from(place).unwrap_or(u32::MAX),
            percent,
        };
        Some(Move::Record { event, first: false })
    }

    /// The routers show what the step set; its own `verify` may still say no.
    fn read_back(&mut self, text: &str, facts: &Facts) -> Option<Move> {
        if self.step().is_some_and(|step| step.verify.is_some()) {
            self.marks[self.place].detail = Untrusted::new(text);
            self.doing = Doing::Asked(Purpose::Verify);
        } else {
            self.done(Untrusted::new(text), facts.now);
        }
        self.next(facts)
    }

    fn task(&mut self, purpose: Purpose, facts: &Facts) -> Option<Move> {
        let step = self.steps.get(match purpose {
            Purpose::Act | Purpose::Verify | Purpose::Recheck => self.place,
            Purpose::Undo(place) => place,
        })?;
        let page = |on: bool| facts.maintenance.map(|[up, down]| if on { up } else { down });
        let task = match (purpose, &step.action) {
            (Purpose::Verify | Purpose::Recheck, _) => step.verify,
            (Purpose::Act, Action::Task(task)) => Some(*task),
            (Purpose::Act, Action::Maintenance(on)) => page(*on),
            (Purpose::Undo(_), Action::Maintenance(true)) => step.undo.or(page(false)),
            (Purpose::Undo(_), _) => step.undo,
            (Purpose::Act, _) => None,
        };
        let budget = match purpose {
            Purpose::Act | Purpose::Verify | Purpose::Recheck => step.timeout,
            Purpose::Undo(_) => UNDO_BUDGET,
        };
        if let Some(task) = task {
            let step = match purpose {
                Purpose::Act | Purpose::Verify | Purpose::Recheck => self.place,
                Purpose::Undo(place) => place,
            };
            return Some(Move::Task { step, task, budget });
        }
        self.doing = Doing::Acting;
        self.fail("the configuration names nothing to run for it", facts.now);
        self.next(facts)
    }

    fn act(&mut self, facts: &Facts) -> Option<Move> {
        let step = self.step()?;
        let started = self.marks[self.place].started.unwrap_or(facts.now);
        let deadline = started.mono + step.timeout;
        let running = self.goes();
        match step.action.clone() {
            Action::Canary => self.canary(facts),
            Action::Ask { question, default } => self.ask(&question, default, deadline, facts),
            Action::Wait { span, watch } => self.wait(started, span, watch, facts),
            _ if !running => None,
            Action::Validate => self.validate(started, deadline, facts),
            Action::Task(_) | Action::Maintenance(_) => {
                self.doing = Doing::Asked(Purpose::Act);
                self.task(Purpose::Act, facts)
            }
            Action::Note(text) => {
                self.done(Untrusted::new(&text), facts.now);
                self.next(facts)
            }
            Action::Split(to) => self.split(to, "split", facts),
            Action::Flag { flag, to } => self.set_flag(flag, to, facts),
            Action::Switch => self.split(Percent::FULL, "switch", facts),
            Action::Probe(name) => {
                let found = facts.probes.iter().find(|(own, ..)| *own == name);
                let fresh = found.is_some_and(|(_, status, at)| {
                    *status == Status::Up && at.is_some_and(|at| at > started.mono)
                });
                if fresh {
                    self.done(Untrusted::new(&format!("{name} is UP")), facts.now);
                    return self.next(facts);
                }
                if facts.now.mono >= deadline {
                    let status = found.map_or("unknown", |(_, status, _)| status.word());
                    self.fail(&format!("{name} is {status} at the deadline"), facts.now);
                    return self.next(facts);
                }
                self.wake(deadline)
            }
        }
    }

    fn wake(&mut self, at: Time) -> Option<Move> {
        (self.woken != Some(at)).then(|| {
            self.woken = Some(at);
            Move::Wake(at)
        })
    }

    fn split(&mut self, to: Percent, verb: &'static str, facts: &Facts) -> Option<Move> {
        let up = facts.route.set.is_none_or(|set| to > set);
        if up && self.restarted {
            let why = "a restart came in between: resume raises exposure again";
            self.change(ReleaseState::Paused, why);
            return self.next(facts);
        }
        if facts.route.set == Some(to) && !facts.route.is_changing() {
            // Set already, as after a restart: it is read before it is written again.
            let asked = self.marks[self.place].started.unwrap_or(facts.now);
            match facts.route.state() {
                RouteState::Verified => return self.split_is_verified(facts),
                RouteState::Unverified if asked.age(facts.now) < READ_PATIENCE => {
                    return self.wake(asked.mono + READ_PATIENCE);
                }
                RouteState::Unverified | RouteState::Drifted | RouteState::Changing => {}
            }
        }
        self.doing = Doing::Splitting(None);
        // What let it be raised stays beside it: it is the reason in the journal.
        let named = self.step().is_some_and(|step| step.name == self.sentence);
        let because =
            if named { String::new() } else { format!("{}; ", std::mem::take(&mut self.sentence)) };
        self.sentence = format!("{because}{verb} to {to}");
        Some(Move::Split { to, verb })
    }

    fn canary(&mut self, facts: &Facts) -> Option<Move> {
        let running = self.goes();
        let rollout = self.rollout.as_mut()?;
        if !rollout.is_set() {
            if !running {
                return None;
            }
            let to = rollout.percent();
            return self.split(to, "canary", facts);
        }
        match rollout.next(facts.now) {
            Next::Fail(why) => {
                self.fail(&why, facts.now);
                self.next(facts)
            }
            Next::Hold(why) => {
                if !running {
                    return None;
                }
                self.hold(&why);
                self.next(facts)
            }
            Next::Pass(why) if running => {
                self.sentence.clone_from(&why);
                if rollout.is_last() {
                    self.done(Untrusted::new(&why), facts.now);
                } else {
                    let place = rollout.place() + 1;
                    rollout.enter(place);
                }
                self.next(facts)
            }
            Next::Pass(_) | Next::Stay => {
                let at = rollout.wakes(facts.now)?;
                self.wake(at.mono)
            }
        }
    }

    fn wait(&mut self, started: Now, span: Duration, watch: bool, facts: &Facts) -> Option<Move> {
        if watch {
            let failed = self.rollout.as_ref().and_then(Rollout::failed).map(str::to_owned);
            let mut down = facts.probes.iter().filter(|(_, status, _)| *status == Status::Down);
            let down = down.next().map(|(probe, ..)| format!("{probe} is DOWN"));
            if let Some(why) = failed.or(down) {
                self.fail(&why, facts.now);
                return self.next(facts);
            }
        }
        if !self.goes() {
            return None;
        }
        let held = self.rollout.as_ref().filter(|_| watch).and_then(Rollout::held);
        if let Some(why) = held.map(str::to_owned) {
            self.hold(&why);
            return self.next(facts);
        }
        let until = started.mono + span;
        if facts.now.mono >= until {
            let text = format!("{} s passed", span.as_secs());
            self.done(Untrusted::new(&text), facts.now);
            return self.next(facts);
        }
        self.wake(until)
    }
}

fn interrupted(step: &str) -> String {
    format!("{step} was under way at a restart: resume does it again, abort takes it back")
}

/// A split, or that none is set.
fn percent(set: Option<Percent>) -> String {
    set.map_or_else(|| "no split".to_owned(), |set| set.to_string())
}

#[cfg(test)]
mod tests;
