//! Steps and their times, and what missing counts come to.

use std::collections::BTreeMap;

use super::*;
use crate::settings::{Limits, StepTimes};

const EVERY: Duration = Duration::from_secs(10);

fn at(seconds: u64) -> Now {
    let wall = chrono::DateTime::UNIX_EPOCH + Duration::from_secs(seconds);
    Now { mono: Time(0) + Duration::from_secs(seconds), wall }
}

fn percent(value: u8) -> Percent {
    Percent::new(value).expect("a percent")
}

/// 5 % for 15 min, then 50 and 100 % for 2 min each, by time.
fn rollout() -> Rollout {
    let minutes = Duration::from_mins;
    let first = StepTimes { soak: minutes(15), wait: minutes(20) };
    let canary = Canary {
        steps: [5, 50, 100].map(percent).to_vec(),
        pass: Pass::Time,
        objective: None,
        soak: minutes(2),
        wait: minutes(10),
        own_times: BTreeMap::from([(0, first)]),
        every: EVERY,
        on_fail: OnFail::RollBack,
        bake: Duration::ZERO,
        requests_min: 10,
        fail_when: Vec::new(),
        pass_when: Vec::new(),
        limits: Limits::default(),
        policy: Policy::default(),
    };
    Rollout::new(canary, false, false, Values::new(), EVERY)
}

/// Looks each ten seconds at what `count` says, until a step comes to something.
fn until_over(
    rollout: &mut Rollout,
    from: u64,
    count: impl Fn(u64) -> Option<ArmCount>,
) -> (u64, Next) {
    for after in (10..).step_by(10) {
        let now = at(from + after);
        let delta = Delta { stable: count(after), canary: count(after) };
        let before = at(from + after - 10);
        if rollout.observe(delta, Some(before.mono), now) {
            let delta = rollout.take();
            rollout.look(&delta, Values::new(), now);
        }
        let next = rollout.next(now);
        if next != Next::Stay {
            return (after, next);
        }
        assert!(after < 100_000, "it never ends");
    }
    unreachable!("the steps have no end")
}

fn healthy() -> ArmCount {
    ArmCount { requests: 100, errors: 0, slow: None, buckets: Vec::new() }
}

#[test]
fn a_step_may_have_times_of_its_own() {
    let mut rollout = rollout();
    for (place, seconds) in [(0, 15 * 60), (1, 2 * 60), (2, 2 * 60)] {
        rollout.enter(place);
        rollout.verified(at(1000));
        let soak = rollout.view().soak_until.expect("it soaks");
        assert_eq!(soak.age(at(1000 + seconds)), Duration::ZERO, "step {place}");
        let (after, next) = until_over(&mut rollout, 1000, |_| Some(healthy()));
        assert!(matches!(next, Next::Pass(_)), "step {place}: {next:?}");
        assert_eq!(after, seconds, "step {place}");
    }
}

#[test]
fn counts_that_vanish_in_mid_step_hold_it() {
    for (place, wait) in [(0, 20 * 60), (1, 10 * 60)] {
        let mut rollout = rollout();
        rollout.enter(place);
        rollout.verified(at(1000));
        let gone = |after: u64| (after < 100).then(healthy);
        let (after, next) = until_over(&mut rollout, 1000, gone);
        let Next::Hold(why) = next else { panic!("{next:?}") };
        assert!(why.contains("NO DATA"), "{why}");
        assert_eq!((after, rollout.word()), (wait, "NO DATA"), "step {place}");
    }
}
