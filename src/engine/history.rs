//! What the journal says about the releases of one service.
//!
//! Decides which version runs where as far as it is on record, which is the last known good one,
//! and whether the objectives are met. Never calls a version good that somebody marked bad.
//! Contract: folding the entries that are durable, in their order, gives it all; what concerns
//! another service is ignored.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::readiness::Target;
use crate::record::{
    Entry, Event, Intent, OperationResult, ReleaseKind, ReleaseResult, StepResult,
};
use crate::snapshot::PastRelease;
use crate::types::{Fence, Group, Percent, Untrusted};

/// Finished releases that are remembered: a year of one each other day.
pub const RELEASES_MAX: usize = 200;

/// Versions that may be marked bad at once; beyond, the oldest mark is forgotten.
const MARKS_MAX: usize = 1000;

/// Over these spans the objectives are shown.
pub const WINDOWS: [Duration; 3] =
    [Duration::from_mins(5), Duration::from_mins(30), Duration::from_hours(24)];

#[derive(Clone, Debug, PartialEq)]
pub struct History {
    service: String,
    /// Newest first; `bad` is filled in when it is shown.
    past: VecDeque<PastRelease>,
    /// How many of them are remembered.
    most: usize,
    open: Option<Open>,
    /// On group a, on group b; `None` when it is not on record.
    running: [Option<String>; 2],
    bad: BTreeMap<String, (DateTime<Utc>, Untrusted)>,
    /// The rollback of the release that is open, or of the one that ended last.
    rollback: Option<Rollback>,
    /// Of the last intent: when it changes, percents change their meaning.
    stable: Option<Group>,
    /// The deployment that ended good last, until something else begins.
    finalised: Option<Open>,
}

/// A release that runs.
#[derive(Clone, Debug, PartialEq)]
struct Open {
    id: u64,
    version: String,
    plan: String,
    kind: ReleaseKind,
    user: Untrusted,
    started: DateTime<Utc>,
    /// The group that it brings its version to.
    onto: Group,
}

#[derive(Clone, Debug, PartialEq)]
struct Rollback {
    release: u64,
    /// The newest operation that is to bring it about.
    fence: Fence,
    decided: DateTime<Utc>,
    took: Option<Duration>,
}

fn place(group: Group) -> usize {
    match group {
        Group::A => 0,
        Group::B => 1,
    }
}

impl History {
    #[must_use]
    pub fn new(service: &str) -> History {
        History::of(service, RELEASES_MAX)
    }

    /// With every release that is on record, for who reads it once.
    #[must_use]
    pub fn whole(service: &str) -> History {
        History::of(service, usize::MAX)
    }

    fn of(service: &str, most: usize) -> History {
        History {
            service: service.to_owned(),
            past: VecDeque::new(),
            most,
            open: None,
            running: [None, None],
            bad: BTreeMap::new(),
            rollback: None,
            stable: None,
            finalised: None,
        }
    }

    /// Takes a durable entry: at a start all of them, later each as it is written.
    pub fn apply(&mut self, entry: &Entry) {
        if let Event::ReleaseStarted(it) = &entry.event
            && it.service == self.service
        {
            let onto = it.stable.other();
            if it.kind == ReleaseKind::Deploy {
                // From now on it is being replaced.
                self.running[place(onto)] = None;
            }
            self.open = Some(Open {
                id: it.release,
                version: it.version.clone(),
                plan: it.plan.clone(),
                kind: it.kind,
                user: entry.actor.user.clone(),
                started: entry.at,
                onto,
            });
        }
        if let Event::CanaryStep { release, .. } = &entry.event
            && let Some(open) = self.open(*release, ReleaseKind::Deploy)
        {
            // It takes requests: what came before in the plan brought it there.
            let (at, version) = (place(open.onto), open.version.clone());
            self.running[at] = Some(version).filter(|version| !version.is_empty());
        }
        if let Event::StepEnded { release, result: StepResult::Undone, .. } = &entry.event
            && let Some(open) = self.open(*release, ReleaseKind::Deploy)
        {
            let at = place(open.onto);
            self.running[at] = None;
        }
        if let Event::ReleaseEnded { service, .. } = &entry.event
            && *service == self.service
        {
            self.ended(&entry.event, entry.at);
        }
        if let Event::Marked { service, version, bad, reason } = &entry.event
            && *service == self.service
        {
            self.mark(version, bad.then(|| (entry.at, reason.clone())));
        }
        if let Event::Intent(intent) = &entry.event
            && intent.service == self.service
        {
            self.intent(intent, entry.at);
        }
        if let Event::Outcome(outcome) = &entry.event
            && outcome.service == self.service
            && outcome.result == OperationResult::Verified
        {
            self.proven(outcome.fence, entry.at);
        }
    }

    /// The open release of this number and kind.
    fn open(&self, release: u64, kind: ReleaseKind) -> Option<&Open> {
        self.open.as_ref().filter(|open| open.id == release && open.kind == kind)
    }

    fn ended(&mut self, event: &Event, at: DateTime<Utc>) {
        let &Event::ReleaseEnded { release, ref version, result, stable, down_ms, .. } = event
        else {
            return;
        };
        let Some(open) = self.open.take_if(|open| open.id == release) else { return };
        let flipped = open.onto == stable && result == ReleaseResult::Good;
        self.finalised = flipped.then(|| open.clone());
        if flipped && !version.is_empty() {
            self.running[place(stable)] = Some(version.clone());
        }
        let took = self.rollback.as_ref().filter(|it| it.release == release);
        self.past.truncate(self.most - 1);
        self.past.push_front(PastRelease {
            id: release,
            version: version.clone(),
            plan: open.plan,
            kind: open.kind,
            user: open.user,
            started: open.started,
            ended: at,
            result,
            rollback_took: took.and_then(|it| it.took),
            down: down_ms.map(Duration::from_millis),
            bad: false,
        });
    }

    fn mark(&mut self, version: &str, bad: Option<(DateTime<Utc>, Untrusted)>) {
        let Some(bad) = bad else {
            self.bad.remove(version);
            return;
        };
        self.bad.insert(version.to_owned(), bad);
        if self.bad.len() > MARKS_MAX
            && let Some(oldest) = self.bad.iter().min_by_key(|(_, (at, _))| *at)
        {
            let oldest = oldest.0.clone();
            self.bad.remove(&oldest);
        }
    }

    /// A change of the split: taking all of it back is a rollback of the open release.
    fn intent(&mut self, intent: &Intent, at: DateTime<Utc>) {
        let back = self.finalised.take().filter(|open| open.onto != intent.stable);
        if let Some(open) = back.filter(|_| self.open.is_none()) {
            // The traffic was taken back while the end was on its way here: it has not ended.
            self.past.retain(|past| past.id != open.id);
            self.open = Some(open);
        }
        let roles_changed =
            self.stable.replace(intent.stable).is_some_and(|it| it != intent.stable);
        if intent.to > Percent::ZERO || roles_changed {
            // Exposed again before it was proven: that decision was taken back.
            self.rollback = self.rollback.take().filter(|it| it.took.is_some());
            return;
        }
        if let Some(pending) = self.rollback.as_mut().filter(|it| it.took.is_none()) {
            // Asked again, or pre-empted by the next one: it still counts from the decision.
            pending.fence = intent.fence;
            return;
        }
        let Some(open) = self.open.as_ref().filter(|_| intent.from != Some(Percent::ZERO)) else {
            return;
        };
        let (release, fence) = (open.id, intent.fence);
        self.rollback = Some(Rollback { release, fence, decided: at, took: None });
    }

    fn proven(&mut self, fence: Fence, at: DateTime<Utc>) {
        let Some(rollback) = self.rollback.as_mut().filter(|it| it.fence == fence) else { return };
        if rollback.took.is_some() {
            return;
        }
        // A clock that stepped back in between leaves no figure.
        rollback.took = (at - rollback.decided).to_std().ok();
        let (release, took) = (rollback.release, rollback.took);
        if let Some(past) = self.past.iter_mut().find(|past| past.id == release) {
            past.rollback_took = took;
        }
    }

    /// What runs on a group; `None` when it is not on record.
    #[must_use]
    pub fn version_on(&self, group: Group) -> Option<&str> {
        self.running[place(group)].as_deref()
    }

    /// Why this version is marked bad.
    #[must_use]
    pub fn why_bad(&self, version: &str) -> Option<&Untrusted> {
        self.bad.get(version).map(|(_, reason)| reason)
    }

    /// The version of the newest release that ended good, is not marked bad, and is not `besides`.
    #[must_use]
    pub fn last_good(&self, besides: Option<&str>) -> Option<&str> {
        let good = self.past.iter().find(|past| {
            past.kind == ReleaseKind::Deploy
                && past.result == ReleaseResult::Good
                && !past.version.is_empty()
                && !self.bad.contains_key(&past.version)
                && besides != Some(past.version.as_str())
        })?;
        Some(&good.version)
    }

    /// Where a rollback of the traffic goes.
    #[must_use]
    pub fn target(&self, stable: Group) -> Target {
        let version = self.running[place(stable)].clone();
        let bad = version.as_deref().and_then(|version| self.why_bad(version)).cloned();
        Target { group: stable, version, bad, any_bad: !self.bad.is_empty() }
    }

    /// The newest releases, newest first, at most `most`.
    #[must_use]
    pub fn views(&self, most: usize) -> Vec<PastRelease> {
        let view = |past: &PastRelease| PastRelease {
            bad: self.bad.contains_key(&past.version),
            ..past.clone()
        };
        self.past.iter().take(most).map(view).collect()
    }
}

/// What the release history is measured by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// Percent of the deployments that ended good; above 95. One that a person ended counts as
    /// not good: it did not arrive.
    Success,
    /// Seconds that the slowest good deployment took, from its start to its end with all soaks and
    /// its bake; below 15 minutes.
    DeployTime,
    /// Seconds from the decision until the traffic was proven back, of the slowest; below 5
    /// minutes. A release that could not be taken back whole misses it.
    RollbackTime,
    /// Seconds in which all probes of the service said DOWN while it was deployed, of the worst;
    /// none. A deployment through which an engine was started again has no figure.
    Downtime,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Objective {
    pub goal: Goal,
    /// Releases that ended in this span before now.
    pub window: Duration,
    /// How many count here.
    pub counted: u32,
    pub value: Option<f64>,
    /// `None` when nothing counts: no release is neither good nor bad.
    pub met: Option<bool>,
}

impl Goal {
    pub const ALL: [Goal; 4] =
        [Goal::Success, Goal::DeployTime, Goal::RollbackTime, Goal::Downtime];

    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Goal::Success => "deployment success above 95 %",
            Goal::DeployTime => "deployment below 15 min",
            Goal::RollbackTime => "rollback below 5 min",
            Goal::Downtime => "no downtime",
        }
    }

    fn met(self, value: f64) -> bool {
        match self {
            Goal::Success => value > 95.0,
            Goal::DeployTime => value < 900.0,
            Goal::RollbackTime => value < 300.0,
            Goal::Downtime => value <= 0.0,
        }
    }

    /// The value of a release that counts; infinite for one that misses the goal without a figure.
    fn of(self, past: &PastRelease) -> Option<f64> {
        let deploy = past.kind == ReleaseKind::Deploy;
        let good = past.result == ReleaseResult::Good;
        match self {
            Goal::Success => deploy.then_some(if good { 100.0 } else { 0.0 }),
            Goal::DeployTime => {
                let took = (past.ended - past.started).to_std().ok()?;
                (deploy && good).then_some(took.as_secs_f64())
            }
            Goal::RollbackTime => match past.rollback_took {
                Some(took) => Some(took.as_secs_f64()),
                None => (past.result == ReleaseResult::Failed).then_some(f64::INFINITY),
            },
            Goal::Downtime => past.down.filter(|_| deploy).map(|down| down.as_secs_f64()),
        }
    }

    fn over(self, past: &[PastRelease], window: Duration, now: DateTime<Utc>) -> Objective {
        let recent = past.iter().filter(|past| {
            // What ends in the future by a clock that stepped ended just now.
            (now - past.ended).to_std().unwrap_or_default() <= window
        });
        let each: Vec<f64> = recent.filter_map(|past| self.of(past)).collect();
        let counted = u32::try_from(each.len()).unwrap_or(u32::MAX);
        let worst = match self {
            Goal::Success => (counted > 0).then(|| each.iter().sum::<f64>() / f64::from(counted)),
            Goal::DeployTime | Goal::RollbackTime | Goal::Downtime => {
                each.iter().copied().reduce(f64::max)
            }
        };
        let value = match self {
            Goal::Success => worst,
            Goal::DeployTime | Goal::RollbackTime | Goal::Downtime => {
                each.iter().copied().filter(|value| value.is_finite()).reduce(f64::max)
            }
        };
        let met = worst.map(|worst| self.met(worst));
        Objective { goal: self, window, counted, value, met }
    }
}

/// Every goal over every window, from releases as they are shown.
#[must_use]
pub fn objectives(past: &[PastRelease], now: DateTime<Utc>) -> Vec<Objective> {
    let each = |goal: Goal| WINDOWS.map(|window| goal.over(past, window, now));
    Goal::ALL.into_iter().flat_map(each).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Outcome, ReleaseStarted};
    use crate::types::Actor;

    fn at(seconds: u64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn started(release: u64, version: &str, stable: Group) -> Event {
        Event::ReleaseStarted(ReleaseStarted {
            release,
            submission: format!("s{release}"),
            service: "shop".to_owned(),
            version: version.to_owned(),
            plan: "deploy".to_owned(),
            kind: ReleaseKind::Deploy,
            hotfix: false,
            stable,
            steps: Vec::new(),
            after: Vec::new(),
            baseline: BTreeMap::new(),
            reason: Untrusted::default(),
            seen: Untrusted::default(),
        })
    }

    fn ended(release: u64, version: &str, result: ReleaseResult, stable: Group) -> Event {
        Event::ReleaseEnded {
            release,
            service: "shop".to_owned(),
            version: version.to_owned(),
            result,
            stable,
            sentence: Untrusted::default(),
            down_ms: None,
        }
    }

    fn canary(release: u64) -> Event {
        Event::CanaryStep {
            release,
            service: "shop".to_owned(),
            place: 0,
            percent: Percent::default(),
        }
    }

    fn marked(version: &str, bad: bool) -> Event {
        Event::Marked {
            service: "shop".to_owned(),
            version: version.to_owned(),
            bad,
            reason: Untrusted::new("leaks"),
        }
    }

    fn split(fence: u64, from: u8, to: u8, stable: Group) -> Event {
        Event::Intent(Intent {
            fence: Fence(fence),
            submission: format!("f{fence}"),
            service: "shop".to_owned(),
            verb: "split".to_owned(),
            stable,
            from: Percent::new(from),
            to: Percent::new(to).expect("a percent"),
            reason: Untrusted::default(),
            seen: Untrusted::default(),
            routers: Vec::new(),
        })
    }

    fn outcome(fence: u64, result: OperationResult) -> Event {
        Event::Outcome(Outcome {
            fence: Fence(fence),
            service: "shop".to_owned(),
            result,
            sentence: Untrusted::default(),
            routers: Vec::new(),
        })
    }

    fn fold(events: Vec<(u64, Event)>) -> History {
        folded(History::new("shop"), events)
    }

    fn folded(mut history: History, events: Vec<(u64, Event)>) -> History {
        for (seconds, event) in events {
            let actor = Actor { user: Untrusted::new("ada"), uid: Some(1), ssh: None };
            history.apply(&Entry { id: "e".to_owned(), at: at(seconds), actor, event });
        }
        history
    }

    /// 1.0 on a, then 1.1 on b, then 1.2 on a.
    fn three() -> Vec<(u64, Event)> {
        use ReleaseResult::Good;
        vec![
            (0, started(1, "1.0", Group::B)),
            (10, ended(1, "1.0", Good, Group::A)),
            (20, started(2, "1.1", Group::A)),
            (30, ended(2, "1.1", Good, Group::B)),
            (40, started(3, "1.2", Group::B)),
            (50, ended(3, "1.2", Good, Group::A)),
        ]
    }

    #[test]
    fn each_group_runs_what_arrived_there() {
        let history = fold(three());
        assert_eq!(history.version_on(Group::A), Some("1.2"));
        assert_eq!(history.version_on(Group::B), Some("1.1"));
        let shown: Vec<u64> = history.views(2).iter().map(|past| past.id).collect();
        assert_eq!(shown, [3, 2]);
        let newest = &history.views(1)[0];
        assert_eq!((newest.started, newest.ended), (at(40), at(50)));
        assert_eq!(newest.user.display(), "ada");
    }

    #[test]
    fn what_did_not_arrive_is_not_on_record() {
        use ReleaseResult::{Aborted, RolledBack};
        let with = |more: Vec<(u64, Event)>| {
            let mut events = three();
            events.extend(more);
            fold(events)
        };
        let begun = vec![(60, started(4, "1.3", Group::A))];
        assert_eq!(with(begun.clone()).version_on(Group::B), None);
        let exposed = [begun.clone(), vec![(61, canary(4))]].concat();
        assert_eq!(with(exposed.clone()).version_on(Group::B), Some("1.3"));
        let end = (65, ended(4, "1.3", RolledBack, Group::A));
        let back = with([exposed.clone(), vec![end.clone()]].concat());
        assert_eq!(back.version_on(Group::B), Some("1.3"), "it is still there, without traffic");
        assert_eq!(back.version_on(Group::A), Some("1.2"));
        assert_eq!(back.last_good(None), Some("1.2"));
        let undone = Event::StepEnded {
            release: 4,
            service: "shop".to_owned(),
            step: 0,
            result: StepResult::Undone,
            detail: Untrusted::default(),
        };
        let undone = with([exposed, vec![(64, undone), end]].concat());
        assert_eq!(undone.version_on(Group::B), None);
        let aborted = with([begun, vec![(61, ended(4, "1.3", Aborted, Group::A))]].concat());
        assert_eq!(aborted.version_on(Group::B), None);
    }

    #[test]
    fn a_bad_version_is_never_the_last_good_one() {
        let check = |marks: &[(&str, bool)], besides: Option<&str>, expected: Option<&str>| {
            let mut events = three();
            events.extend(marks.iter().map(|(version, bad)| (60, marked(version, *bad))));
            assert_eq!(fold(events).last_good(besides), expected, "{marks:?}");
        };
        check(&[], None, Some("1.2"));
        check(&[], Some("1.2"), Some("1.1"));
        check(&[("1.2", true)], None, Some("1.1"));
        check(&[("1.2", true), ("1.2", false)], None, Some("1.2"));
        check(&[("1.1", true)], Some("1.2"), Some("1.0"));
        check(&[("1.0", true), ("1.1", true), ("1.2", true)], None, None);
        let mut events = three();
        events.push((60, marked("1.2", true)));
        let history = fold(events);
        assert!(history.views(1)[0].bad);
        let target = history.target(Group::A);
        assert_eq!(target.version.as_deref(), Some("1.2"));
        assert_eq!(target.bad, Some(Untrusted::new("leaks")));
        let other = history.target(Group::B);
        assert_eq!((other.bad, other.any_bad), (None, true));
    }

    /// How long the rollback of release 4 took, in seconds.
    fn took(events: Vec<(u64, Event)>) -> Option<u64> {
        let mut all = three();
        all.push((60, started(4, "1.3", Group::A)));
        all.push((70, split(10, 0, 10, Group::A)));
        all.push((71, outcome(10, OperationResult::Verified)));
        all.extend(events);
        fold(all).views(1)[0].rollback_took.map(|took| took.as_secs())
    }

    #[test]
    fn a_rollback_takes_from_the_decision_to_the_proof() {
        use OperationResult::{Partial, Superseded, Verified};
        let back = |fence| split(fence, 10, 0, Group::A);
        let end = |seconds| (seconds, ended(4, "1.3", ReleaseResult::RolledBack, Group::A));
        assert_eq!(took(vec![(80, back(11)), (83, outcome(11, Verified)), end(90)]), Some(3));
        assert_eq!(took(vec![end(90)]), None);
        assert_eq!(took(vec![(80, back(11)), (83, outcome(11, Partial)), end(90)]), None);
        let later =
            vec![(80, back(11)), (83, outcome(11, Partial)), end(90), (99, outcome(11, Verified))];
        assert_eq!(took(later), Some(19), "proven after the release had ended");
        let twice = vec![
            (80, back(11)),
            (85, split(12, 0, 0, Group::A)),
            (85, outcome(11, Superseded)),
            (88, outcome(12, Verified)),
            (89, split(13, 0, 0, Group::A)),
            (95, outcome(13, Verified)),
            end(96),
        ];
        assert_eq!(took(twice), Some(8), "from the first decision to the first proof");
        let raised = vec![
            (80, back(11)),
            (81, split(12, 0, 20, Group::A)),
            (200, split(13, 20, 0, Group::A)),
            (202, outcome(13, Verified)),
            end(210),
        ];
        assert_eq!(took(raised), Some(2), "the first decision was taken back");
        let stepped = vec![(80, back(11)), (20, outcome(11, Verified)), end(90)];
        assert_eq!(took(stepped), None);
    }

    #[test]
    fn a_change_of_roles_is_no_rollback() {
        let flipped = vec![
            (80, split(11, 100, 0, Group::B)),
            (81, outcome(11, OperationResult::Verified)),
            (82, ended(4, "1.3", ReleaseResult::Good, Group::B)),
        ];
        assert_eq!(took(flipped), None);
    }

    #[test]
    fn another_service_is_another_history() {
        let mut history = History::new("mail");
        for (seconds, event) in three() {
            let actor = Actor::engine();
            history.apply(&Entry { id: "e".to_owned(), at: at(seconds), actor, event });
        }
        assert_eq!(history, History::new("mail"));
    }

    #[test]
    fn it_is_bounded() {
        let mut events = Vec::new();
        for id in 0..500 {
            events.push((id, started(id, "1", Group::A)));
            events.push((id, ended(id, "1", ReleaseResult::Good, Group::B)));
        }
        for n in 0..1100 {
            events.push((n, marked(&format!("v{n}"), true)));
        }
        let whole = folded(History::whole("shop"), events.clone());
        assert_eq!(whole.views(usize::MAX).len(), 500);
        let history = fold(events);
        assert_eq!(history.views(usize::MAX).len(), RELEASES_MAX);
        assert_eq!(history.views(1)[0].id, 499);
        assert_eq!(history.bad.len(), MARKS_MAX);
        assert!(history.why_bad("v99").is_none() && history.why_bad("v100").is_some());
    }

    fn past(began: u64, end: u64, result: ReleaseResult, took: Option<u64>) -> PastRelease {
        PastRelease {
            id: end,
            version: "1".to_owned(),
            plan: "deploy".to_owned(),
            kind: ReleaseKind::Deploy,
            user: Untrusted::default(),
            started: at(began),
            ended: at(end),
            result,
            rollback_took: took.map(Duration::from_secs),
            down: None,
            bad: false,
        }
    }

    #[test]
    fn objectives_are_counted_over_three_windows() {
        use ReleaseResult::{Failed, Good, RolledBack};
        let day = 86_400;
        let mut past = [
            past(day - 100, day - 10, Good, None),
            past(day - 2000, day - 1000, RolledBack, Some(299)),
            past(day - 9000, day - 8000, Good, None),
            past(10, 20, Failed, None),
            past(0, 0, Good, Some(9999)),
        ];
        past[1].down = Some(Duration::from_secs(4));
        past[2].down = Some(Duration::ZERO);
        let found = objectives(&past, at(day + 15));
        let check = |goal: Goal, expected: [(u32, Option<f64>, Option<bool>); 3]| {
            let rows = found.iter().filter(|objective| objective.goal == goal);
            let rows: Vec<_> = rows.map(|row| (row.counted, row.value, row.met)).collect();
            assert_eq!(rows, expected, "{}", goal.words());
        };
        let (yes, no) = (Some(true), Some(false));
        let success = [(1, Some(100.0), yes), (2, Some(50.0), no), (4, Some(50.0), no)];
        check(Goal::Success, success);
        let time = [(1, Some(90.0), yes), (1, Some(90.0), yes), (2, Some(1000.0), no)];
        check(Goal::DeployTime, time);
        let back = [(0, None, None), (1, Some(299.0), yes), (2, Some(299.0), no)];
        check(Goal::RollbackTime, back);
        let down = [(0, None, None), (1, Some(4.0), no), (2, Some(4.0), no)];
        check(Goal::Downtime, down);
        assert!(objectives(&[], at(day)).iter().all(|row| row.met.is_none()));
    }
}
