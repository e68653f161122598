//! Quarterdeck, the release officer's console.

pub mod cli;
pub mod config;
pub mod demo;
pub mod driver;
pub mod io;
pub mod link;
pub mod ui;
