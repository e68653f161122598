//! How many fates the engine lives through, and that each rule would notice.
//!
//! Decides nothing about the engine. Contract: `QUARTERDECK_SEEDS` says how many seeds run,
//! `QUARTERDECK_SEED` runs one. `QUARTERDECK_SWEEP_SEEDS` and `QUARTERDECK_MUTANT_SEEDS` do the
//! same for crashes and mutants; `tests/long` sets all three. A failing seed prints what happened
//! and the one command that replays it.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use sim::soak::soak;
use sim::{Offence, OperationMutant, Operations, Plan, Ran, ReleaseMutant, Releases, World};

/// The last lines of a trace say what led to an offence.
const TRACE_LINES: usize = 80;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

fn run<W: World>(plan: Plan<W::Mutant>) -> Result<Ran, Offence> {
    W::new(plan).run()
}

/// Runs the plan; an offence is told with its trace and the command that replays it.
fn must_hold<W: World>(plan: Plan<W::Mutant>) -> Ran {
    let offence = match run::<W>(plan) {
        Ok(ran) => return ran,
        Err(offence) => offence,
    };
    let mut world = W::new(Plan { verbose: true, ..plan });
    let again = world.run().err();
    let log = world.log();
    let crash = plan.crash_at.map(|at| format!("QUARTERDECK_CRASH={at} "));
    panic!(
        "{}\n{}: {}\nthe same again: {}\nreplay: {}QUARTERDECK_SEED={} cargo test \
         --test sim {}one_seed -- --exact --nocapture",
        log[log.len().saturating_sub(TRACE_LINES)..].join("\n"),
        offence.rule,
        offence.text,
        again.as_ref() == Some(&offence),
        crash.unwrap_or_default(),
        plan.seed,
        W::TESTS,
    );
}

/// Does the work for each number below `count` on all cores.
fn each<T: Send>(count: u64, work: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let next = AtomicU64::new(0);
    let share = || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= count {
                return done;
            }
            done.push(work(at));
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(share)).collect();
        let ended = running.into_iter().flat_map(|own| {
            // The words of the first that failed.
            own.join().unwrap_or_else(|panic| {
                next.store(count, Ordering::Relaxed);
                resume_unwind(panic)
            })
        });
        ended.collect()
    })
}

fn kept_seeds<W: World>(file: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/scenarios");
    let text = std::fs::read_to_string(folder.join(file)).expect("the kept seeds can be read");
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    for line in lines.filter(|line| !line.is_empty()) {
        let seed = line.parse().expect("a line of the kept seeds is a number");
        must_hold::<W>(Plan::new(seed));
    }
}

fn seeds<W: World>(few: u64) {
    let count = number("QUARTERDECK_SEEDS").unwrap_or(few);
    let start = Instant::now();
    let all = each(count, |seed| must_hold::<W>(Plan::new(seed)));
    let mut ended: BTreeMap<&str, u64> = BTreeMap::new();
    for (word, times) in all.iter().flat_map(|ran| &ran.ended) {
        *ended.entry(word).or_default() += times;
    }
    println!(
        "{count} seeds, {} inputs in {:.1} s; releases: {ended:?}; traces {:016x}",
        all.iter().map(|ran| ran.inputs).sum::<u64>(),
        start.elapsed().as_secs_f64(),
        all.iter().fold(0, |sum: u64, ran| sum.wrapping_add(ran.trace)),
    );
}

fn one<W: World>() {
    let Some(seed) = number("QUARTERDECK_SEED") else { return };
    let crash_at = number("QUARTERDECK_CRASH");
    let plan = if crash_at.is_some() { Plan::crashing(seed, crash_at) } else { Plan::new(seed) };
    println!("seed {seed} holds: {:?}", must_hold::<W>(plan));
}

/// Crashes at each input of a run, one after the other.
fn sweep<W: World>(few: u64) {
    let count = number("QUARTERDECK_SWEEP_SEEDS").unwrap_or(few);
    let start = Instant::now();
    let crashes = each(count, |seed| {
        let inputs = must_hold::<W>(Plan::crashing(seed, None)).inputs;
        for at in 1..=inputs {
            must_hold::<W>(Plan::crashing(seed, Some(at)));
        }
        inputs
    });
    let crashes: u64 = crashes.into_iter().sum();
    println!("{count} seeds, {crashes} crashes in {:.1} s", start.elapsed().as_secs_f64());
}

/// Which rules speak first, over many seeds: a survey for whoever changes the engine.
fn survey_of<W: World>() {
    let Some(count) = number("QUARTERDECK_SURVEY") else { return };
    let mut found: BTreeMap<&str, (u64, u64, String)> = BTreeMap::new();
    let all = each(count, |seed| run::<W>(Plan::new(seed)).err().map(|own| (seed, own)));
    for (seed, offence) in all.into_iter().flatten() {
        let first = found.entry(offence.rule).or_insert((0, seed, offence.text));
        first.0 += 1;
    }
    for (rule, (times, seed, text)) in found {
        println!("{times:>6} {rule}, first {seed}: {text}");
    }
}

fn the_same<W: World>(count: u64) {
    for seed in 0..count {
        let plan = Plan::new(seed);
        assert_eq!(must_hold::<W>(plan).trace, must_hold::<W>(plan).trace, "seed {seed}");
    }
}

/// Breaks what stands around the engine; one of the mutant's rules must notice, in every block of
/// seeds and not by one lucky seed. Whatever other rules notice first in a seed is the mutant's
/// doing too, but proves nothing about these.
fn caught<W: World>(block: u64, mutants: &[(W::Mutant, &[&str])]) {
    let wanted = number("QUARTERDECK_MUTANT_SEEDS").unwrap_or(block);
    let count = u64::try_from(mutants.len()).expect("few mutants");
    each(count, |at| {
        let (mutant, rules) = mutants[usize::try_from(at).expect("few mutants")];
        for first in (0..wanted).step_by(usize::try_from(block).expect("few seeds")) {
            let found = (first..first + block).find_map(|seed| {
                let plan = Plan { mutant: Some(mutant), ..Plan::new(seed) };
                let found = run::<W>(plan).err().filter(|found| rules.contains(&found.rule));
                found.map(|found| (seed, found.rule))
            });
            let Some((seed, rule)) = found else {
                panic!("{mutant:?} survived {block} seeds from {first}");
            };
            println!("{mutant:?} caught at seed {seed} by {rule}");
        }
    });
}

// Operations.

/// Enough to meet each fault in each state, few enough for every change.
const SEEDS: u64 = 10_000;
/// A crash at every input multiplies a run by the number of its inputs.
const SWEEP_SEEDS: u64 = 50;
/// A mutant that survives this many seeds is not caught.
const MUTANT_SEEDS: u64 = 300;

#[test]
fn seeds_that_failed_once_hold() {
    kept_seeds::<Operations>("seeds.txt");
}

#[test]
fn every_seed_holds() {
    seeds::<Operations>(SEEDS);
}

#[test]
fn one_seed() {
    one::<Operations>();
}

#[test]
fn a_crash_at_any_input_holds() {
    sweep::<Operations>(SWEEP_SEEDS);
}

#[test]
fn the_same_seed_is_the_same_run() {
    the_same::<Operations>(200);
}

#[test]
fn every_mutant_is_caught() {
    use OperationMutant as M;
    caught::<Operations>(
        MUTANT_SEEDS,
        &[
            (M::WritesBeforeTheJournal, &["write_follows_intent"]),
            (M::FenceIsOff, &["write_follows_intent"]),
            (M::WritesTwice, &["one_write_in_flight"]),
            (M::ReadingsEchoTheWrite, &["verified_was_true"]),
            (M::VerdictIsPainted, &["verified_was_true"]),
            (M::RecordVanishes, &["chain_holds"]),
            (M::JournalForgets, &["journal_is_state"]),
            (M::WritesAreLost, &["rollback_converges", "settles_or_says_why"]),
            (M::SleepsThroughDeadlines, &["rollback_has_result", "one_answer"]),
            (M::RepliesTwice, &["one_reply"]),
            (M::FallsBackAlways, &["other_way_is_for_safety"]),
            (M::RetryIsNew, &["submission_acts_once"]),
        ],
    );
}

#[test]
fn survey() {
    survey_of::<Operations>();
}

#[test]
fn a_day_keeps_no_more_than_a_shift() {
    for (kept, recorded) in each(2, |seed| soak(seed, 24)) {
        println!("bytes kept after each hour: {kept:?}; {recorded} entries recorded");
        assert!(recorded > 15_000, "little was done: {recorded}");
        // By then every history is full; the rest is what the hour itself makes.
        let shift = kept[7];
        let most = kept.iter().skip(8).max().expect("a day");
        assert!(*most <= shift + shift / 30, "{kept:?}");
    }
}

mod release {
    use super::*;

    const SEEDS: u64 = 20_000;
    const SWEEP_SEEDS: u64 = 10;
    const MUTANT_SEEDS: u64 = 10_000;

    #[test]
    fn seeds_that_failed_once_hold() {
        kept_seeds::<Releases>("releases.txt");
    }

    #[test]
    fn every_seed_holds() {
        seeds::<Releases>(SEEDS);
    }

    #[test]
    fn one_seed() {
        one::<Releases>();
    }

    #[test]
    fn a_crash_at_any_input_holds() {
        sweep::<Releases>(SWEEP_SEEDS);
    }

    #[test]
    fn the_same_seed_is_the_same_run() {
        the_same::<Releases>(50);
    }

    #[test]
    fn every_mutant_is_caught() {
        use ReleaseMutant as M;
        let time: &[&str] = &["waits_take_their_time", "exposure_has_a_reason", "a_person_answers"];
        caught::<Releases>(
            MUTANT_SEEDS,
            &[
                (M::ReadingsEchoTheWrite, &["verified_was_true"]),
                (M::WallForMono, time),
                (M::StartsAreToldDurable, &["tasks_follow_their_record", "exposure_has_a_reason"]),
                (M::VerdictsAreIgnored, &["exposure_has_a_reason"]),
                (M::SoaksAreSkipped, &["exposure_has_a_reason"]),
                (M::StepsAreSkipped, &["exposure_has_a_reason"]),
                (M::WaitsAreSkipped, &["waits_take_their_time"]),
                (M::QuestionsAnswerThemselves, &["a_person_answers"]),
                (M::CrashesRepeat, &["a_person_repeats", "checked_before_repeated"]),
                (M::UndoIsCrossed, &["undone_in_order"]),
                (M::UndoComesFirst, &["undone_after_the_traffic"]),
                (M::StaleIsFresh, &["old_data_raise_nothing", "no_rollback_on_old_data"]),
                (M::ArmsAreSwapped, &["looks_are_true"]),
                (M::CountsAreDoubled, &["looks_are_true"]),
                (M::TasksAnswerTwice, &["one_reply"]),
                (M::ResumesByItself, &["a_person_resumes"]),
                (M::PausesAreDropped, &["accepted_is_done", "accepted_is_on_record"]),
                (M::WordsAreTakenAtOnce, &["accepted_is_on_record"]),
                (M::FreezesForbidRollbacks, &["a_rollback_is_never_refused"]),
                (M::RolesNeverFlip, &["roles_flip_once"]),
                (M::WalkingBackIsDropped, &["a_fail_is_not_ignored", "undone_in_order"]),
                (M::ForgetsEnds, &["journal_is_state", "ended_is_ended"]),
                (M::ForgetsStepEnds, &["journal_is_state"]),
                (M::ForgetsHolds, &["journal_is_state"]),
                (M::ForgetsLooks, &["evidence_survives"]),
                (M::ForgetsFreezes, &["journal_is_state", "frozen_starts_nothing"]),
                (M::ForgetsTriggers, &["one_rollback_by_itself"]),
            ],
        );
    }

    #[test]
    fn survey() {
        survey_of::<Releases>();
    }
}
