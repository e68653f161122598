//! The journal: append-only, hash-chained, with a head and a checkpoint beside it, and a spool for
//! a full disk.
//!
//! Decides whether an entry is durable. Never changes a record. Contract: an append answers
//! durable only for what is on disk, and `verify` names the first record that does not fit.

pub mod checkpoint;
mod head;
mod read;
mod spool;
pub mod sqlite;

pub use sqlite::{Broken, Report, Waiting, export, list, verify, waiting};
