//! What travels between a client and the engine: one JSON value a line.
//!
//! Decides the shape of the messages. Never carries a secret. Contract: a line is at most
//! [`LINE_BYTES_MAX`] bytes; an unknown message ends the connection with a clear error, because
//! both ends of one state directory should be of one version.

use engine::command::{Reply, Submission};
use engine::section::Section;
use engine::types::Untrusted;
use serde::{Deserialize, Serialize};

/// The largest section is the incidents', at most 500 rows of a few kilobytes, or at first the
/// sources', one for each probe.
pub const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Version and commit of this build, as both ends compare it.
pub const BUILD: &str = env!("CARGO_PKG_VERSION");

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToEngine {
    /// First message of every client. The kernel says who it is; the client adds its SSH session.
    Hello { build: String, ssh: Option<Untrusted> },
    /// The actor in it is replaced by the one that the kernel names.
    Submit(Box<Submission>),
    /// End, if nothing is going on, so that a newer engine can take over.
    Retire,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToClient {
    /// First message of every engine.
    Hello {
        build: String,
        pid: u32,
        /// Of the file that it runs on; empty from a build that did not say.
        #[serde(default)]
        config_hash: String,
    },
    Section(Section),
    /// Every section of one snapshot was sent; without any before it: nothing changed, and the
    /// engine is alive.
    Whole,
    Reply(Reply),
}

/// A message as its line, with the line's end.
pub fn encode<T: Serialize>(message: &T) -> String {
    let mut line = serde_json::to_string(message).expect("messages have string keys only");
    line.push('\n');
    line
}
