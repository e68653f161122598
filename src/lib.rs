//! Quarterdeck, the release officer's console.
//!
//! The loop, in six steps (see [`driver`]): wait for an input, a deadline or the end; drain what is
//! ready; hand it to the engine; hand it the deadline; perform the effects; publish the snapshot.
//!
//! In reading order: the `engine` crate decides, [`io`] touches the world, [`driver`] is the loop
//! between them, [`link`] is a client's end of the socket, [`ui`] shows and asks, [`cli`] starts it
//! all, [`config`] reads the file, [`demo`] is the sandbox. `ARCHITECTURE.md` has the map.

// They panic where the terminal is gone.
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod cli;
pub mod config;
pub mod demo;
pub mod driver;
pub mod io;
pub mod link;
pub mod ui;
pub mod zone;
