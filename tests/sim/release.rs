//! Releases in a simulated world: whole plans, canaries, triggers and people, by the seed.
//!
//! Decides nothing about the engine; it only drives it. Contract: as in the crate's head; a
//! failing seed prints the one command that replays it.

mod effects;
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
use crate::{TRACE_LINES, kept_seeds, number};
use mutant::Mutant;
use world::{Plan, Ran, World};

/// Together with the operations' own seeds, enough for every change.
const SEEDS: u64 = 4_000;
/// A mutant that survives this many seeds is not caught.
pub const MUTANT_SEEDS: u64 = 2_000;

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
fn seeds_that_failed_once_hold() {
    for seed in kept_seeds("releases.txt") {
        must_hold(Plan { seed, ..Plan::default() });
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
    let plan = Plan { seed, crash_at, short: crash_at.is_some(), ..Plan::default() };
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

/// Breaks what stands around the engine; one of `rules` must notice, in every block of seeds.
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
    let time = ["waits_take_their_time", "exposure_has_a_reason", "a_person_answers"];
    caught(Mutant::ReadingsEchoTheWrite, &["verified_was_true"]);
    caught(Mutant::WallForMono, &time);
    caught(Mutant::StartsAreToldDurable, &["tasks_follow_their_record", "exposure_has_a_reason"]);
    caught(Mutant::VerdictsAreIgnored, &["exposure_has_a_reason"]);
    caught(Mutant::SoaksAreSkipped, &["exposure_has_a_reason"]);
    caught(Mutant::StepsAreSkipped, &["exposure_has_a_reason"]);
    caught(Mutant::WaitsAreSkipped, &["waits_take_their_time"]);
    caught(Mutant::QuestionsAnswerThemselves, &["a_person_answers"]);
    caught(Mutant::CrashesRepeat, &["a_person_repeats", "checked_before_repeated"]);
    caught(Mutant::UndoIsCrossed, &["undone_in_order"]);
    caught(Mutant::UndoComesFirst, &["undone_after_the_traffic"]);
    caught(Mutant::StaleIsFresh, &["old_data_raise_nothing", "no_rollback_on_old_data"]);
    caught(Mutant::ArmsAreSwapped, &["looks_are_true"]);
    caught(Mutant::CountsAreDoubled, &["looks_are_true"]);
    caught(Mutant::TasksAnswerTwice, &["one_reply"]);
    caught(Mutant::ResumesByItself, &["a_person_resumes"]);
    caught(Mutant::PausesAreDropped, &["accepted_is_done"]);
    caught(Mutant::FreezesForbidRollbacks, &["a_rollback_is_never_refused"]);
    caught(Mutant::RolesNeverFlip, &["roles_flip_once"]);
    caught(Mutant::WalkingBackIsDropped, &["a_fail_is_not_ignored", "undone_in_order"]);
    caught(Mutant::ForgetsEnds, &["journal_is_state", "ended_is_ended"]);
    caught(Mutant::ForgetsStepEnds, &["journal_is_state"]);
    caught(Mutant::ForgetsHolds, &["journal_is_state"]);
    caught(Mutant::ForgetsLooks, &["evidence_survives"]);
    caught(Mutant::ForgetsFreezes, &["journal_is_state", "frozen_starts_nothing"]);
    caught(Mutant::ForgetsTriggers, &["one_rollback_by_itself"]);
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
