//! Being written.

pub mod console;
