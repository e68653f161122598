//! The simulated world: one engine, thousands of fates, each replayed by its seed.
//!
//! Decides nothing about the engine; it only drives it. Contract: `QUARTERDECK_SEEDS` says how
//! many seeds run, `QUARTERDECK_SEED` runs one and prints what happened. `QUARTERDECK_SWEEP_SEEDS`
//! and `QUARTERDECK_MUTANT_SEEDS` do the same for crashes and mutants; `tests/long` sets all three.

mod check;
mod disk;
mod fleet;
mod release;
mod rng;
mod router;
mod world;

use std::path::Path;
use std::time::Instant;

use check::Offence;
use world::{Mutant, Plan, Ran, World};

/// Enough to meet each fault in each state, few enough for every change.
const SEEDS: u64 = 10_000;
/// A crash at every input multiplies a run by the number of its inputs.
const SWEEP_SEEDS: u64 = 50;
/// A mutant that survives this many seeds is not caught.
const MUTANT_SEEDS: u64 = 300;
/// The last lines of a trace say what led to an offence.
const TRACE_LINES: usize = 80;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

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
                 sim one_seed -- --nocapture",
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

fn kept_seeds(file: &str) -> Vec<u64> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/scenarios").join(file);
    let text = std::fs::read_to_string(&path).expect("the kept seeds can be read");
    text.lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim())
        .filter(|line| !line.is_empty())
        .map(|line| line.parse().expect("a line of the kept seeds is a number"))
        .collect()
}

#[test]
fn seeds_that_failed_once_hold() {
    for seed in kept_seeds("seeds.txt") {
        must_hold(Plan { seed, ..Plan::default() });
    }
}

#[test]
fn every_seed_holds() {
    let count = number("QUARTERDECK_SEEDS").unwrap_or(SEEDS);
    let start = Instant::now();
    let mut inputs = 0;
    for seed in 0..count {
        inputs += must_hold(Plan { seed, ..Plan::default() }).inputs;
    }
    println!("{count} seeds, {inputs} inputs in {:.1} s", start.elapsed().as_secs_f64());
}

#[test]
fn one_seed() {
    let Some(seed) = number("QUARTERDECK_SEED") else { return };
    let crash_at = number("QUARTERDECK_CRASH");
    let plan = Plan { seed, crash_at, short: crash_at.is_some(), ..Plan::default() };
    let ran = must_hold(plan);
    println!("seed {seed} holds: {ran:?}");
}

#[test]
fn a_crash_at_any_input_holds() {
    let start = Instant::now();
    let mut runs = 0_u64;
    for seed in 0..number("QUARTERDECK_SWEEP_SEEDS").unwrap_or(SWEEP_SEEDS) {
        let plan = Plan { seed, short: true, ..Plan::default() };
        let inputs = must_hold(plan).inputs;
        for at in 1..=inputs {
            must_hold(Plan { crash_at: Some(at), ..plan });
            runs += 1;
        }
    }
    println!("{runs} crashes in {:.1} s", start.elapsed().as_secs_f64());
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 0..200 {
        let plan = Plan { seed, ..Plan::default() };
        assert_eq!(must_hold(plan).trace, must_hold(plan).trace, "seed {seed}");
    }
}

/// Breaks the driver; one of `rules` must notice, in every block of seeds and not by one lucky
/// seed. Whatever other rules notice first in a seed is the mutant's doing too, but proves nothing
/// about these.
fn caught(mutant: Mutant, rules: &[&str]) {
    let wanted = number("QUARTERDECK_MUTANT_SEEDS").unwrap_or(MUTANT_SEEDS);
    for block in 0..wanted.div_ceil(MUTANT_SEEDS) {
        let first = block * MUTANT_SEEDS;
        let found = (first..first + MUTANT_SEEDS).find_map(|seed| {
            let plan = Plan { seed, mutant: Some(mutant), ..Plan::default() };
            run(plan).err().filter(|found| rules.contains(&found.rule)).map(|found| (seed, found))
        });
        let Some((seed, offence)) = found else {
            panic!("{mutant:?} survived {MUTANT_SEEDS} seeds from {first}");
        };
        println!("{mutant:?} caught at seed {seed} by {}", offence.rule);
    }
}

#[test]
fn every_mutant_is_caught() {
    caught(Mutant::WritesBeforeTheJournal, &["write_follows_intent"]);
    caught(Mutant::FenceIsOff, &["write_follows_intent"]);
    caught(Mutant::WritesTwice, &["one_write_in_flight"]);
    caught(Mutant::ReadingsEchoTheWrite, &["verified_was_true"]);
    caught(Mutant::VerdictIsPainted, &["verified_was_true"]);
    caught(Mutant::RecordVanishes, &["chain_holds"]);
    caught(Mutant::JournalForgets, &["journal_is_state"]);
    caught(Mutant::WritesAreLost, &["rollback_converges", "settles_or_says_why"]);
    caught(Mutant::SleepsThroughDeadlines, &["rollback_has_result", "one_answer"]);
    caught(Mutant::RepliesTwice, &["one_reply"]);
    caught(Mutant::RetryIsNew, &["submission_acts_once"]);
}
