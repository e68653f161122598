//! The schedule: one deadline for each timer, the earliest first, none early.

use super::*;

const DECIDE: Timer = Timer::Decide(ServiceId(0));
const PROBE: Timer = Timer::Probe(ProbeId(0));
const FEED: Timer = Timer::Feed(FeedId(0));

/// Sets in this order (`None` clears), then takes what is due at `now`.
fn check(steps: &[(Timer, Option<u64>)], now: u64, expected: &[Timer]) {
    let mut schedule = Schedule::default();
    for &(timer, at) in steps {
        match at {
            Some(at) => schedule.set(timer, Time(at)),
            None => schedule.clear(timer),
        }
    }
    let due: Vec<Timer> = std::iter::from_fn(|| schedule.pop_due(Time(now))).collect();
    assert_eq!(due, expected, "{steps:?} at {now}");
    assert!(schedule.next().is_none_or(|(at, _)| at > Time(now)), "what is left is later");
}

#[test]
fn timers_fire_in_order_and_never_early() {
    check(&[], 10, &[]);
    check(&[(PROBE, Some(11))], 10, &[]);
    check(&[(PROBE, Some(10))], 10, &[PROBE]);
    check(&[(PROBE, Some(9)), (DECIDE, Some(3)), (FEED, Some(12))], 10, &[DECIDE, PROBE]);
    // At the same instant the verdict comes before what is only watched.
    check(&[(FEED, Some(5)), (PROBE, Some(5)), (DECIDE, Some(5))], 10, &[DECIDE, PROBE, FEED]);
}

#[test]
fn a_timer_has_one_deadline() {
    check(&[(PROBE, Some(3)), (PROBE, Some(20))], 10, &[]);
    check(&[(PROBE, Some(20)), (PROBE, Some(3))], 10, &[PROBE]);
    check(&[(PROBE, Some(3)), (PROBE, Some(3))], 10, &[PROBE]);
    check(&[(PROBE, Some(3)), (PROBE, None)], 10, &[]);
    check(&[(PROBE, None), (DECIDE, Some(1)), (FEED, None)], 10, &[DECIDE]);
}
