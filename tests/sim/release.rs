//! Releases in a simulated world: whole plans, canaries, triggers and people, by the seed.
//!
//! Decides nothing: its parts do. Contract: as in the crate's head.

mod effects;
mod flag;
mod fleet;
mod model;
mod mutant;
mod people;
mod settle;
mod source;
mod world;

pub use mutant::Mutant;
pub use world::World;
