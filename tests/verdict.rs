//! The verdict over simulated releases: a small sample of what `benches/verdict.rs` measures.
//!
//! Decides whether false alarms and times stay near the figures. Contract: fixed seeds, so it says
//! the same every time.

#[path = "support/streams.rs"]
#[expect(dead_code, reason = "shared with the bench, which compares more rules")]
mod streams;

use engine::analysis::Policy;
use streams::{Fails, Judge, Rng, STEPS, Traffic, median, release};

const EQUAL: Traffic = Traffic { requests: 500.0, errors: 0.01, ratio: 1.0, outage: 1.0 };

fn policy(tol: f64) -> Policy {
    Policy { tol, ..Policy::default() }
}

#[test]
fn draws_have_their_mean_and_variance() {
    for mean in [0.05, 3.0, 9.9, 10.1, 40.0, 495.0] {
        let mut rng = Rng::new(7);
        let count = 40_000_u32;
        let draws: Vec<f64> = (0..count).map(|_| rng.poisson(mean)).collect();
        let average = draws.iter().sum::<f64>() / f64::from(count);
        let spread = draws.iter().map(|x| (x - average).powi(2)).sum::<f64>() / f64::from(count);
        let error = (mean / f64::from(count)).sqrt();
        assert!((average - mean).abs() < 4.0 * error, "mean {average} of {mean}");
        assert!((spread / mean - 1.0).abs() < 0.05, "variance {spread} of {mean}");
    }
}

#[test]
fn equal_releases_do_not_fail() {
    let mut failed = 0;
    for seed in 0..300 {
        let mut judge = Fails::new(&policy(0.0));
        // Every fourth has an outage of both arms in each step.
        let outage = if seed % 4 == 0 { 20.0 } else { 1.0 };
        let endings = release(Traffic { outage, ..EQUAL }, &STEPS, seed, &mut [&mut judge]);
        failed += u32::from(endings[0].second.is_some());
    }
    assert!(failed <= 3, "{failed} of 300 equal releases failed");
}

#[test]
fn a_fail_does_not_overstate() {
    let mut overstated = 0;
    for seed in 0..200 {
        let mut judge = Fails::new(&policy(0.1));
        let endings =
            release(Traffic { ratio: 4.0, ..EQUAL }, &STEPS, 2000 + seed, &mut [&mut judge]);
        assert!(endings[0].second.is_some(), "seed {seed}");
        overstated += u32::from(judge.at_least().is_none_or(|least| least > 4.0));
    }
    assert!(overstated <= 2, "{overstated} of 200 said more than the true 4×");
}

#[test]
fn bad_releases_fail_in_time() {
    let check = |tol: f64, ratio: f64, at_most: u32| {
        let seconds = (0..101).map(|seed| {
            let mut judge = Fails::new(&policy(tol));
            let judges: &mut [&mut dyn Judge] = &mut [&mut judge];
            release(Traffic { ratio, ..EQUAL }, &STEPS, 1000 + seed, judges)[0].second
        });
        let found = median(seconds).expect("most fail");
        assert!(found <= at_most, "tol {tol}, {ratio}×: {found} s");
    };
    check(0.1, 10.0, 13);
    check(0.0, 3.0, 110);
    check(0.1, 3.0, 130);
}
