//! Releases in a simulated world: whole plans, canaries, triggers and people, by the seed.
//!
//! Decides nothing about the engine; it only drives it. Contract: as in the crate's head; a
//! failing seed prints the one command that replays it.

mod fleet;
mod model;
mod mutant;
mod people;
mod settle;
mod source;
mod world;

use std::collections::BTreeMap;
use std::time::Instant;

use crate::check::Offence;
use crate::{TRACE_LINES, number};
use world::{Plan, Ran, World};

/// Together with the operations' own seeds, enough for every change.
const SEEDS: u64 = 10_000;

fn run(plan: Plan) -> Result<Ran, Offence> {
    World::new(plan).run()
}

/// Runs the plan; an offence is told with its trace and the command that replays it.
fn must_hold(plan: Plan) -> Ran {
    match run(plan) {
        Ok(ran) => ran,
        Err(offence) => {
            let mut world = World::new(Plan { verbose: true, ..plan });
            let again = world.run().err();
            let first = world.log.len().saturating_sub(TRACE_LINES);
            let sweep = plan.crash_at.map(|at| format!("QUARTERDECK_CRASH={at} "));
            panic!(
                "{}\n{}: {}\nthe same again: {}\nreplay: {}QUARTERDECK_SEED={} cargo test --test \
                 sim release::one_seed -- --nocapture",
                world.log[first..].join("\n"),
                offence.rule,
                offence.text,
                again.as_ref() == Some(&offence),
                sweep.unwrap_or_default(),
                plan.seed,
            );
        }
    }
}

#[test]
fn every_seed_holds() {
    let count = number("QUARTERDECK_SEEDS").unwrap_or(SEEDS);
    let start = Instant::now();
    let mut inputs = 0;
    let mut ended: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in 0..count {
        let ran = must_hold(Plan { seed, ..Plan::default() });
        inputs += ran.inputs;
        for (word, times) in ran.ended {
            *ended.entry(word).or_default() += times;
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    println!("{count} seeds, {inputs} inputs in {seconds:.1} s; releases: {ended:?}");
}

#[test]
fn one_seed() {
    let Some(seed) = number("QUARTERDECK_SEED") else { return };
    let crash_at = number("QUARTERDECK_CRASH");
    let plan = Plan {
        seed,
        crash_at,
        short: crash_at.is_some(),
        verbose: std::env::var("LIVE").is_ok(),
        ..Plan::default()
    };
    let ran = must_hold(plan);
    println!("seed {seed} holds: {ran:?}");
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 0..50 {
        let plan = Plan { seed, ..Plan::default() };
        assert_eq!(must_hold(plan).trace, must_hold(plan).trace, "seed {seed}");
    }
}

/// Which rules speak first, over many seeds: a survey for whoever changes the engine.
#[test]
fn survey() {
    let Some(count) = number("QUARTERDECK_SURVEY") else { return };
    let mut found: BTreeMap<&str, (u64, u64, String)> = BTreeMap::new();
    for seed in 0..count {
        if let Err(offence) = run(Plan { seed, ..Plan::default() }) {
            let first = found.entry(offence.rule).or_insert((0, seed, offence.text));
            first.0 += 1;
        }
    }
    for (rule, (times, seed, text)) in found {
        println!("{times:>6} {rule}, first {seed}: {text}");
    }
}
