//! The simulated world: one engine, thousands of fates, each replayed by its seed.
//!
//! Decides nothing about the engine; it only drives it. Contract: a [`World`] is made of its plan
//! alone and lives through it once, to its end or to the first offence. Two worlds stand beside one
//! another: operations on many routers, and whole releases. `sim.rs` says how many seeds run.

mod check;
mod disk;
mod fleet;
mod release;
mod rng;
mod router;
pub mod soak;
mod world;

use std::collections::BTreeMap;
use std::fmt::Debug;

pub use check::Offence;
pub use release::{Mutant as ReleaseMutant, World as Releases};
pub use world::{Mutant as OperationMutant, World as Operations};

/// What kind of run.
#[derive(Clone, Copy, Debug)]
pub struct Plan<M> {
    pub seed: u64,
    /// Crash at this input; else the seed decides.
    pub crash_at: Option<u64>,
    /// Less of everything, and only the crash that is asked for.
    pub short: bool,
    pub mutant: Option<M>,
    pub verbose: bool,
}

impl<M> Plan<M> {
    #[must_use]
    pub fn new(seed: u64) -> Plan<M> {
        Plan { seed, crash_at: None, short: false, mutant: None, verbose: false }
    }

    /// A short run that crashes at this input.
    #[must_use]
    pub fn crashing(seed: u64, crash_at: Option<u64>) -> Plan<M> {
        Plan { crash_at, short: true, ..Plan::new(seed) }
    }
}

/// What a run that held came to.
#[derive(Debug, Default)]
pub struct Ran {
    /// The hash of all that happened.
    pub trace: u64,
    pub inputs: u64,
    /// How its releases ended.
    pub ended: BTreeMap<&'static str, u64>,
}

pub trait World {
    type Mutant: Copy + Debug + Sync;
    /// Stands before the names of its tests.
    const TESTS: &'static str;

    fn new(plan: Plan<Self::Mutant>) -> Self;
    /// Lives through the whole future.
    fn run(&mut self) -> Result<Ran, Offence>;
    /// What happened, line by line, where the plan is verbose.
    fn log(&self) -> &[String];
}
