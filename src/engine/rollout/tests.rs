//! What looks come to when their readings are late or missing.

use super::*;
use crate::settings::Limits;

fn now(seconds: u64) -> Now {
    let wall = chrono::DateTime::UNIX_EPOCH + Duration::from_secs(seconds);
    Now { mono: Time(0) + Duration::from_secs(seconds), wall }
}

/// Its split is verified at second 10; the source is read every 2 s.
fn watching(objective: Option<f64>) -> Rollout {
    let canary = Canary {
        steps: vec![Percent::FULL],
        pass: Pass::Time,
        objective,
        soak: Duration::from_secs(5),
        first_soak: Duration::from_secs(5),
        wait: Duration::from_mins(5),
        every: Duration::from_secs(2),
        on_fail: OnFail::RollBack,
        bake: Duration::ZERO,
        requests_min: 10,
        fail_when: Vec::new(),
        pass_when: Vec::new(),
        limits: Limits::default(),
        policy: Policy::default(),
    };
    let mut rollout = Rollout::new(canary, false, false, Values::new(), Duration::from_secs(2));
    rollout.verified(now(10));
    rollout
}

fn delta() -> Delta {
    let arm = || Some(ArmCount { requests: 500, ..ArmCount::default() });
    Delta { stable: arm(), canary: arm() }
}

#[test]
fn an_answer_is_as_old_as_its_question() {
    for (asked, came, expected) in [
        (16, 17, "PASS"),
        // The machine slept while it was on its way.
        (16, 60, "NO DATA"),
    ] {
        let mut rollout = watching(None);
        let (from, to) = (Some(now(12).mono), Some(now(asked).mono));
        assert!(rollout.observe(delta(), from, to, now(came)), "it is time for a look");
        let delta = rollout.take();
        rollout.look(&delta, Values::new(), now(came));
        assert_eq!(rollout.word(), expected, "asked at {asked} s, came at {came} s");
        let passes = matches!(rollout.next(now(came)), Next::Pass(_));
        assert_eq!(passes, expected == "PASS", "{:?}", rollout.next(now(came)));
    }
}

#[test]
fn the_first_step_takes_its_own_time() {
    for (first, seconds, expected) in [(5, 17, true), (60, 17, false), (60, 71, true)] {
        let mut rollout = watching(None);
        rollout.settings.first_soak = Duration::from_secs(first);
        let (from, to) = (Some(now(12).mono), Some(now(seconds).mono));
        assert!(rollout.observe(delta(), from, to, now(seconds)), "it is time for a look");
        let delta = rollout.take();
        rollout.look(&delta, Values::new(), now(seconds));
        let passes = matches!(rollout.next(now(seconds)), Next::Pass(_));
        assert_eq!(passes, expected, "soak of {first} s, {} s in", seconds - 10);
    }
}

#[test]
fn what_began_before_the_split_was_verified_is_left_out() {
    for (from, counts) in [(None, false), (Some(9), false), (Some(10), true)] {
        let mut rollout = watching(None);
        let from = from.map(|seconds| now(seconds).mono);
        let observed = rollout.observe(delta(), from, Some(now(13).mono), now(13));
        assert_eq!((observed, rollout.take() != Delta::default()), (counts, counts), "{from:?}");
    }
}

#[test]
fn a_person_who_resumes_starts_the_evidence_anew() {
    for (word, stays) in [("FAIL", false), ("HOLD", false), ("NEED MORE DATA", true)] {
        let mut rollout = watching(Some(3.0));
        let bad = |errors| Some(ArmCount { requests: 500, errors, ..ArmCount::default() });
        rollout.replay(&Delta { stable: bad(0), canary: bad(100) });
        rollout.judged(word, "said");
        let before = rollout.view().evidence;
        rollout.resume(now(20));
        assert_eq!(rollout.view().evidence == before, stays, "{word}");
    }
}
