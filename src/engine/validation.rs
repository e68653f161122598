//! The validation of a service: named checks before a release, side by side, tried again.
//!
//! Decides which check runs next, when one is tried again, and whether a release may begin. Never
//! runs anything: it says one [`Step`] at a time and is told what became of it. Contract: at most
//! [`AT_ONCE_MAX`] checks run at once; a run is over within [`RUN_MAX`] and a little; a result
//! counts for the version it was made for, for [`FRESH_FOR`]; only a check that passed counts.

use std::time::Duration;

use crate::reading::TaskAnswer;
use crate::record::{CheckRecord, Entry, Event, Validated};
use crate::settings::Check;
use crate::snapshot::{CheckState, CheckView, ValidationView};
use crate::types::{Actor, EffectId, Now, TaskId, Time, Untrusted};
use crate::words;

/// A release begins on a result that is at most this old: the world moves on.
pub const FRESH_FOR: Duration = Duration::from_mins(15);

/// The whole run: nobody waits longer before a release.
pub const RUN_MAX: Duration = Duration::from_mins(5);

/// Programs and queries side by side: enough to be quick, too few to be a load of their own.
pub const AT_ONCE_MAX: usize = 4;

/// A task is over at its budget and a second; one that is not is given up then.
const GRACE: Duration = Duration::from_secs(3);

/// The longest pause between two tries.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Of what a check said, as much as a record and a panel keep.
const DETAIL_CHARS_MAX: usize = 400;

/// Submissions that follow one run; more people than this do not wait side by side.
const SUBMISSIONS_MAX: usize = 32;

/// The next thing to do for a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Task { place: usize, task: TaskId, budget: Duration },
    Wake(Time),
    Over { result: Box<Validated>, actor: Actor },
}

/// Who wants it, and for what.
#[derive(Clone, Debug)]
pub struct Ask {
    pub submission: String,
    pub version: String,
    pub actor: Actor,
}

/// What the last result means for a release of some version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Validity {
    /// There is none, or none of this version that is fresh.
    None,
    /// One is under way, for this version or another.
    Running,
    Passed(String),
    Failed {
        at: Now,
        why: String,
    },
}

#[derive(Clone, Debug)]
struct Progress {
    state: CheckState,
    tries: u32,
    running: Option<EffectId>,
    began: Option<Now>,
    ended: Option<Now>,
    again: Option<Time>,
    detail: Untrusted,
}

#[derive(Clone, Debug)]
struct Run {
    ask: Ask,
    submissions: Vec<String>,
    started: Now,
    checks: Vec<Progress>,
}

/// The run under way, and the last result.
#[derive(Clone, Debug, Default)]
pub struct Validation {
    service: String,
    run: Option<Run>,
    last: Option<(Validated, Actor, Now)>,
    /// The last result is on its way to the journal: nobody is told before it is there.
    recording: bool,
}

impl Validation {
    #[must_use]
    pub fn new(service: &str) -> Validation {
        Validation { service: service.to_owned(), run: None, last: None, recording: false }
    }

    /// Takes a result from the journal.
    pub fn apply(&mut self, entry: &Entry, now: Now) {
        if let Event::Validated(result) = &entry.event
            && result.service == self.service
        {
            let age = (now.wall - entry.at).to_std().unwrap_or_default();
            let at = Now { mono: now.mono - age, wall: entry.at };
            self.last = Some(((**result).clone(), entry.actor.clone(), at));
        }
    }

    /// Begins a run, or joins the one of the same version that is under way.
    pub fn begin(&mut self, ask: Ask, checks: &[Check], now: Now) -> Result<(), String> {
        if checks.is_empty() {
            return Err(format!("{} has no [[service.check]]: nothing to validate", self.service));
        }
        if let Some(run) = &mut self.run {
            if run.ask.version != ask.version {
                let other = version_words(&run.ask.version);
                return Err(format!("a validation of {other} is under way"));
            }
            if run.submissions.len() < SUBMISSIONS_MAX {
                run.submissions.push(ask.submission);
            }
            return Ok(());
        }
        let waiting = Progress {
            state: CheckState::Waiting,
            tries: 0,
            running: None,
            began: None,
            ended: None,
            again: None,
            detail: Untrusted::default(),
        };
        let submissions = vec![ask.submission.clone()];
        let checks = vec![waiting; checks.len()];
        self.run = Some(Run { ask, submissions, started: now, checks });
        Ok(())
    }

    /// The result is in the journal, or cannot be.
    pub fn recorded(&mut self) {
        self.recording = false;
    }

    #[must_use]
    pub fn is_running(&self) -> bool {
        self.run.is_some() || self.recording
    }

    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.run.as_ref().map(|run| run.ask.version.as_str())
    }

    #[must_use]
    pub fn runs(&self, id: EffectId) -> bool {
        self.run.iter().flat_map(|run| &run.checks).any(|check| check.running == Some(id))
    }

    /// The task that was asked for has this id.
    pub fn began(&mut self, place: usize, id: EffectId, now: Now) {
        let Some(check) = self.run.as_mut().and_then(|run| run.checks.get_mut(place)) else {
            return;
        };
        check.state = CheckState::Running;
        check.tries += 1;
        check.running = Some(id);
        check.began = check.began.or(Some(now));
    }

    /// What became of a task: passed, tried again, or failed for good.
    pub fn answered(&mut self, id: EffectId, answer: TaskAnswer, settings: &[Check], now: Now) {
        let Some(run) = &mut self.run else { return };
        let end = run.started.mono + RUN_MAX;
        let found = run.checks.iter_mut().zip(settings).find(|(own, _)| own.running == Some(id));
        let Some((check, settings)) = found else { return };
        check.running = None;
        let (passed, said) = match answer {
            TaskAnswer::Passed { output } => (true, output),
            TaskAnswer::Failed { output } => (false, output),
            TaskAnswer::Unknown { why } => (false, why),
        };
        let said: String = said.display().chars().take(DETAIL_CHARS_MAX).collect();
        check.detail = Untrusted::new(&said);
        let again = now.mono + pause(settings.pause, check.tries);
        if passed {
            check.end(CheckState::Passed, now);
        } else if check.tries > settings.retries || again >= end {
            check.end(CheckState::Failed, now);
        } else {
            check.state = CheckState::Retrying;
            check.again = Some(again);
        }
    }

    /// The next step; `None` when it waits for answers. Ask again after each step and each news.
    pub fn next(&mut self, settings: &[Check], now: Now) -> Option<Step> {
        let run = self.run.as_mut()?;
        let end = run.started.mono + RUN_MAX;
        run.give_up(end, now);
        if run.checks.iter().all(|check| check.ended.is_some()) {
            let result = run.result(&self.service, settings, now);
            let actor = self.run.take()?.ask.actor;
            self.last = Some((result.clone(), actor.clone(), now));
            self.recording = true;
            return Some(Step::Over { result: Box::new(result), actor });
        }
        let busy = run.checks.iter().filter(|check| check.running.is_some()).count();
        let ready = |check: &Progress| match check.state {
            CheckState::Waiting => true,
            CheckState::Retrying => check.again.is_some_and(|at| at <= now.mono),
            CheckState::Running | CheckState::Passed | CheckState::Failed => false,
        };
        if busy < AT_ONCE_MAX
            && let Some(place) = run.checks.iter().position(ready)
        {
            let check = &settings[place];
            let budget = check.timeout.min(end.since(now.mono));
            return Some(Step::Task { place, task: check.task, budget });
        }
        let retries = run.checks.iter().filter_map(|check| check.again);
        let later = retries.filter(|at| *at > now.mono).min();
        let limit = if now.mono < end { end } else { end + GRACE };
        Some(Step::Wake(later.unwrap_or(limit).min(limit)))
    }

    /// What the last result says about a release of `version`.
    #[must_use]
    pub fn validity(&self, version: &str, now: Now) -> Validity {
        if self.is_running() {
            return Validity::Running;
        }
        let fresh = self
            .last
            .as_ref()
            .filter(|(result, _, at)| result.version == version && at.age(now) <= FRESH_FOR);
        match fresh {
            None => Validity::None,
            Some((result, _, at)) if result.can_deploy => {
                let age = words::span(at.age(now));
                Validity::Passed(format!("{}, {age} ago", summary(result)))
            }
            Some((result, _, at)) => Validity::Failed { at: *at, why: summary(result) },
        }
    }

    /// Why more exposure must wait for a validation, whatever its version; `None` when it need not.
    #[must_use]
    pub fn forbids(&self, now: Now) -> Option<String> {
        match &self.last {
            Some((result, _, at)) if result.can_deploy && at.age(now) <= FRESH_FOR => None,
            Some((result, _, at)) if result.can_deploy => {
                let (age, limit) = (words::span(at.age(now)), words::span(FRESH_FOR));
                Some(format!("its validation is {age} old, more than {limit}"))
            }
            Some((result, ..)) => Some(format!("its validation failed: {}", summary(result))),
            None => Some("it was not validated".to_owned()),
        }
    }

    #[must_use]
    pub fn view(&self, settings: &[Check]) -> Option<ValidationView> {
        if let Some(run) = &self.run {
            let checks = run.checks.iter().zip(settings).map(|(check, settings)| CheckView {
                name: settings.name.clone(),
                critical: settings.critical,
                state: check.state,
                tries: check.tries,
                took: check.took(),
                detail: check.detail.clone(),
            });
            return Some(ValidationView {
                submissions: run.submissions.clone(),
                version: run.ask.version.clone(),
                user: run.ask.actor.user.clone(),
                started: run.started,
                ended: None,
                can_deploy: None,
                fresh_for: FRESH_FOR,
                checks: checks.collect(),
            });
        }
        let (result, actor, at) = self.last.as_ref()?;
        let took = Duration::from_millis(result.millis);
        let wall = chrono::TimeDelta::from_std(took).unwrap_or_default();
        let checks = result.checks.iter().map(|check| CheckView {
            name: check.name.clone(),
            critical: check.critical,
            state: if check.passed { CheckState::Passed } else { CheckState::Failed },
            tries: check.tries,
            took: Some(Duration::from_millis(check.millis)),
            detail: check.detail.clone(),
        });
        Some(ValidationView {
            submissions: result.submissions.clone(),
            version: result.version.clone(),
            user: actor.user.clone(),
            started: Now { mono: at.mono - took, wall: at.wall - wall },
            ended: (!self.recording).then_some(*at),
            can_deploy: (!self.recording).then_some(result.can_deploy),
            fresh_for: FRESH_FOR,
            checks: checks.collect(),
        })
    }
}

impl Progress {
    fn end(&mut self, state: CheckState, now: Now) {
        self.state = state;
        self.running = None;
        self.again = None;
        self.ended = Some(now);
    }

    fn took(&self) -> Option<Duration> {
        Some(self.began?.age(self.ended?))
    }
}

impl Run {
    /// What is not over at the end of the run has failed.
    fn give_up(&mut self, end: Time, now: Now) {
        if now.mono < end {
            return;
        }
        let late = now.mono >= end + GRACE;
        for check in self.checks.iter_mut().filter(|check| check.ended.is_none()) {
            if check.running.is_none() || late {
                let why = format!("not over within {}", words::span(RUN_MAX));
                check.detail = Untrusted::new(&why);
                check.end(CheckState::Failed, now);
            }
        }
    }

    fn result(&self, service: &str, settings: &[Check], now: Now) -> Validated {
        let checks = self.checks.iter().zip(settings).map(|(check, settings)| CheckRecord {
            name: settings.name.clone(),
            critical: settings.critical,
            passed: check.state == CheckState::Passed,
            tries: check.tries,
            millis: millis(check.took().unwrap_or_default()),
            detail: check.detail.clone(),
        });
        let checks: Vec<CheckRecord> = checks.collect();
        Validated {
            submissions: self.submissions.clone(),
            service: service.to_owned(),
            version: self.ask.version.clone(),
            can_deploy: checks.iter().all(|check| check.passed || !check.critical),
            millis: millis(self.started.age(now)),
            checks,
        }
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// The pause after the try with this number: doubled each time.
fn pause(first: Duration, tries: u32) -> Duration {
    first.saturating_mul(1 << tries.saturating_sub(1).min(10)).min(PAUSE_MAX)
}

fn version_words(version: &str) -> String {
    if version.is_empty() { "no version".to_owned() } else { version.to_owned() }
}

/// `3 passed, 1 warning (docs), 2 failed (api, disk)`.
#[must_use]
pub fn summary(result: &Validated) -> String {
    let names = |critical: bool| {
        let failed = result.checks.iter().filter(|check| !check.passed);
        let own = failed.filter(|check| check.critical == critical);
        own.map(|check| check.name.as_str()).collect::<Vec<_>>()
    };
    let passed = result.checks.iter().filter(|check| check.passed).count();
    let mut text = format!("{passed} passed");
    let (failed, warnings) = (names(true), names(false));
    if !warnings.is_empty() {
        let word = if warnings.len() == 1 { "warning" } else { "warnings" };
        text = format!("{text}, {} {word} ({})", warnings.len(), warnings.join(", "));
    }
    if !failed.is_empty() {
        text = format!("{text}, {} failed ({})", failed.len(), failed.join(", "));
    }
    text
}

/// As the journal's panel has it.
#[must_use]
pub fn line(result: &Validated) -> String {
    let version = version_words(&result.version);
    let word = if result.can_deploy { "can deploy" } else { "cannot deploy" };
    format!("{} {version} {word}: {}", result.service, summary(result))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Now {
        let span = Duration::from_secs(seconds);
        Now { mono: Time(0) + span, wall: chrono::DateTime::UNIX_EPOCH + span }
    }

    fn check(name: &str, retries: u32, critical: bool) -> Check {
        Check {
            name: name.to_owned(),
            task: TaskId(0),
            timeout: Duration::from_secs(30),
            retries,
            pause: Duration::from_secs(1),
            critical,
        }
    }

    fn ask(version: &str) -> Ask {
        let (submission, version) = (format!("s-{version}"), version.to_owned());
        Ask { submission, version, actor: Actor::engine() }
    }

    fn passed() -> TaskAnswer {
        TaskAnswer::Passed { output: Untrusted::new("ok") }
    }

    fn failed() -> TaskAnswer {
        TaskAnswer::Failed { output: Untrusted::new("no") }
    }

    /// Starts everything that may start; the budgets of what was started.
    fn start(own: &mut Validation, checks: &[Check], ids: &mut u64, now: Now) -> Vec<Duration> {
        let mut begun = Vec::new();
        while let Some(Step::Task { place, budget, .. }) = own.next(checks, now) {
            *ids += 1;
            own.began(place, EffectId(*ids), now);
            begun.push(budget);
        }
        begun
    }

    #[test]
    fn a_few_run_at_once_and_the_others_follow() {
        let checks: Vec<Check> = (0..6).map(|n| check(&format!("c{n}"), 0, true)).collect();
        let mut own = Validation::new("web");
        own.begin(ask("1"), &checks, at(0)).expect("there are checks");
        let mut ids = 0;
        assert_eq!(start(&mut own, &checks, &mut ids, at(0)).len(), AT_ONCE_MAX);
        own.answered(EffectId(1), passed(), &checks, at(1));
        assert_eq!(start(&mut own, &checks, &mut ids, at(1)).len(), 1);
        assert_eq!(own.validity("1", at(1)), Validity::Running);
        for id in 2..=6 {
            start(&mut own, &checks, &mut ids, at(2));
            own.answered(EffectId(id), passed(), &checks, at(2));
        }
        let Some(Step::Over { result, .. }) = own.next(&checks, at(3)) else { panic!("{own:?}") };
        assert!(result.can_deploy && result.checks.iter().all(|check| check.passed));
        assert_eq!(result.millis, 3000);
    }

    #[test]
    fn a_failure_is_tried_again_after_a_longer_pause_each_time() {
        let checks = [check("api", 2, true), check("docs", 0, false)];
        let mut own = Validation::new("web");
        own.begin(ask("1"), &checks, at(0)).expect("there are checks");
        let mut ids = 0;
        start(&mut own, &checks, &mut ids, at(0));
        own.answered(EffectId(2), failed(), &checks, at(0));
        own.answered(EffectId(1), failed(), &checks, at(0));
        assert_eq!(own.next(&checks, at(0)), Some(Step::Wake(at(1).mono)));
        start(&mut own, &checks, &mut ids, at(1));
        own.answered(EffectId(3), failed(), &checks, at(1));
        assert_eq!(own.next(&checks, at(1)), Some(Step::Wake(at(3).mono)));
        start(&mut own, &checks, &mut ids, at(3));
        own.answered(EffectId(4), failed(), &checks, at(3));
        let Some(Step::Over { result, .. }) = own.next(&checks, at(3)) else { panic!("{own:?}") };
        assert_eq!((result.can_deploy, result.checks[0].tries), (false, 3));
        assert_eq!(summary(&result), "0 passed, 1 warning (docs), 1 failed (api)");
    }

    #[test]
    fn a_warning_stops_nothing() {
        let checks = [check("docs", 0, false)];
        let mut own = Validation::new("web");
        own.begin(ask("1"), &checks, at(0)).expect("there are checks");
        let mut ids = 0;
        start(&mut own, &checks, &mut ids, at(0));
        own.answered(EffectId(1), failed(), &checks, at(0));
        let over = own.next(&checks, at(0));
        assert!(matches!(over, Some(Step::Over { result, .. }) if result.can_deploy));
        assert_eq!(own.validity("1", at(0)), Validity::Running, "it is not on record yet");
        own.recorded();
        assert!(matches!(own.validity("1", at(900)), Validity::Passed(_)));
        assert_eq!(own.validity("1", at(901)), Validity::None);
        assert_eq!(own.validity("2", at(1)), Validity::None);
        assert_eq!(own.forbids(at(900)), None);
        assert!(own.forbids(at(901)).is_some_and(|why| why.contains("15 min old")));
    }

    #[test]
    fn the_whole_run_has_a_limit() {
        let checks: Vec<Check> = (0..5).map(|n| check(&format!("c{n}"), 3, true)).collect();
        let mut own = Validation::new("web");
        own.begin(ask("1"), &checks, at(0)).expect("there are checks");
        let mut ids = 0;
        start(&mut own, &checks, &mut ids, at(0));
        own.answered(EffectId(1), passed(), &checks, at(290));
        assert_eq!(start(&mut own, &checks, &mut ids, at(290)), [Duration::from_secs(10)]);
        // Nobody answered any more: given up a little after the end.
        assert_eq!(own.next(&checks, at(299)), Some(Step::Wake(at(300).mono)));
        assert_eq!(own.next(&checks, at(300)), Some(Step::Wake(at(303).mono)));
        let Some(Step::Over { result, .. }) = own.next(&checks, at(303)) else { panic!("{own:?}") };
        let late = result.checks.iter().filter(|check| !check.passed).count();
        assert_eq!((late, result.can_deploy), (4, false));
        own.answered(EffectId(2), passed(), &checks, at(304));
        own.recorded();
        assert!(!own.is_running());
    }

    #[test]
    fn the_same_version_is_joined_and_another_waits() {
        let checks = [check("api", 0, true)];
        let mut own = Validation::new("web");
        own.begin(ask("1"), &checks, at(0)).expect("there are checks");
        own.begin(ask("1"), &checks, at(1)).expect("it is joined");
        assert!(own.begin(ask("2"), &checks, at(1)).is_err());
        let view = own.view(&checks).expect("it runs");
        assert_eq!((view.submissions.len(), view.can_deploy), (2, None));
        assert!(Validation::new("web").begin(ask("1"), &[], at(0)).is_err());
    }
}
