//! A plan as a graph, by hand: what runs beside what, and the way back.

use std::time::Duration;

use super::*;
use crate::record::{ReleaseKind, ReleaseStarted};
use crate::release::graph;
use crate::route::Route;
use crate::settings::{OnFail, Step};
use crate::types::{Actor, Group, ServiceId, TaskId, Time};
use crate::validation::Validity;

const NOW: Now = Now { mono: Time(1_000_000_000), wall: chrono::DateTime::UNIX_EPOCH };

/// A step whose task has its own number, and whose undo has that and a hundred.
fn step(number: u32, after: &[&str]) -> Step {
    Step {
        undo: Some(TaskId(number + 100)),
        after: Some(after.iter().map(|name| (*name).to_owned()).collect()),
        ..Step::new(&format!("s{number}"), Action::Task(TaskId(number)), Duration::from_secs(9))
    }
}

struct Rig {
    release: Release,
    route: Route,
    /// Tasks in flight, by their effect.
    tasks: Vec<(EffectId, TaskId)>,
    id: u64,
}

impl Rig {
    fn new(kind: ReleaseKind, steps: Vec<Step>) -> Rig {
        let facts = ReleaseStarted {
            release: 1,
            submission: "s".into(),
            service: "web".into(),
            version: "2".into(),
            plan: "p".into(),
            kind,
            hotfix: false,
            stable: Group::A,
            steps: steps.iter().map(|step| step.name.clone()).collect(),
            after: graph::links(&steps),
            baseline: std::collections::BTreeMap::new(),
            reason: Untrusted::default(),
            seen: Untrusted::default(),
        };
        let mut release = Release::new(ServiceId(0), facts, steps, Actor::engine(), None, NOW);
        release.recorded(None, NOW);
        let mut rig =
            Rig { release, route: Route::new(ServiceId(0), &[]), tasks: Vec::new(), id: 0 };
        rig.go();
        rig
    }

    /// Everything it asks for is done, but tasks stay in flight; what runs now.
    fn go(&mut self) -> Vec<u32> {
        loop {
            let facts = Facts {
                now: NOW,
                route: &self.route,
                flag: None,
                probes: Vec::new(),
                maintenance: None,
                validity: Validity::None,
            };
            let Some(next) = self.release.next(&facts) else { break };
            self.id += 1;
            let id = EffectId(self.id);
            match next {
                Move::Record { first: true, .. } => {
                    self.release.awaits(id);
                    if !self.release.side_recorded(id, None) && self.release.awaits_record(id) {
                        self.release.recorded(None, NOW);
                    }
                }
                Move::Task { step, task, .. } => {
                    self.release.task_began(step, id);
                    self.tasks.push((id, task));
                }
                Move::Record { .. } | Move::Wake(_) | Move::Page { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        self.tasks.iter().map(|(_, task)| task.0).collect()
    }

    fn ends(&mut self, task: u32, passed: bool) -> Vec<u32> {
        let at = self.tasks.iter().position(|(_, own)| own.0 == task).expect("it runs");
        let (id, _) = self.tasks.remove(at);
        let output = Untrusted::default();
        let answer =
            if passed { TaskAnswer::Passed { output } } else { TaskAnswer::Failed { output } };
        self.release.task_ended(id, answer, NOW);
        self.go()
    }
}

#[test]
fn at_most_four_run_and_each_waits_for_what_it_names() {
    let steps = vec![
        step(0, &[]),
        step(1, &[]),
        step(2, &[]),
        step(3, &[]),
        step(4, &[]),
        step(5, &["s1"]),
    ];
    let mut rig = Rig::new(ReleaseKind::Plan, steps);
    assert_eq!(rig.go(), [1, 2, 3, 0]);
    assert_eq!(rig.ends(1, true), [2, 3, 0, 4]);
    assert_eq!(rig.ends(0, true), [2, 3, 4, 5], "the first that is not done is its own");
    for task in [5, 4, 3, 2] {
        rig.ends(task, true);
    }
    assert_eq!(rig.release.result, Some(crate::record::ReleaseResult::Good));
}

#[test]
fn a_failure_waits_for_the_others_and_takes_back_the_last_first() {
    let steps = vec![step(0, &[]), step(1, &[]), step(2, &["s1"]), step(3, &["s0", "s2"])];
    let own = |step: Step| Step { on_fail: OnFail::RollBack, ..step };
    let plan = steps.clone().into_iter().map(own).collect();
    for (kind, steps) in [(ReleaseKind::Deploy, steps), (ReleaseKind::Plan, plan)] {
        let mut rig = Rig::new(kind, steps);
        assert_eq!(rig.go(), [1, 0]);
        assert_eq!(rig.ends(1, true), [0, 2]);
        assert_eq!(rig.ends(2, false), [0], "nothing is taken back while a step still runs");
        assert_eq!(rig.ends(0, true), [100], "what was never known to end comes first");
        assert_eq!(rig.ends(100, true), [102]);
        assert_eq!(rig.ends(102, true), [101], "s1 not before s2, which waited for it");
        assert_eq!(rig.ends(101, true), Vec::<u32>::new());
        assert_eq!(rig.release.result, Some(crate::record::ReleaseResult::RolledBack));
    }
}

#[test]
fn a_plan_holds_when_a_step_beside_fails_and_repeats_it() {
    let steps = vec![step(0, &[]), step(1, &[]), step(2, &["s0", "s1"])];
    let mut rig = Rig::new(ReleaseKind::Plan, steps);
    assert_eq!(rig.ends(1, false), [0]);
    assert_eq!(rig.release.state, ReleaseState::Held);
    assert_eq!(rig.ends(0, true), Vec::<u32>::new(), "nothing begins while it holds");
    rig.release.resume("go on", NOW).expect("it is held");
    assert_eq!(rig.go(), Vec::<u32>::new(), "nothing begins before that is on record");
    rig.release.word_went_out(EffectId(0));
    assert!(rig.release.word_recorded(EffectId(0), None));
    assert_eq!(rig.go(), [1]);
    assert_eq!(rig.ends(1, true), [2]);
}
