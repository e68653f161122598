//! The client's end of the engine's socket.

use std::path::PathBuf;
use std::time::Duration;

use engine::command::{Reply, Submission};
use engine::snapshot::Snapshot;
use engine::types::Failure;

pub struct Options {
    pub state_dir: PathBuf,
    pub config: PathBuf,
    /// This client may look, not act.
    pub read_only: bool,
}

/// Blocking; a thread of its own reads the socket.
pub struct Link {}

/// Why [`Link::wait`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// The snapshot changed.
    Changed,
    TimedOut,
    /// The engine is gone; the last snapshot stays readable.
    Lost,
}

impl Link {
    /// Connects, starting an engine first when none runs in the state directory.
    pub fn connect(_options: &Options) -> Result<Link, Failure> {
        unimplemented!()
    }
    /// The newest whole snapshot; `None` before the first.
    #[must_use]
    pub fn snapshot(&self) -> Option<Snapshot> {
        unimplemented!()
    }
    /// Blocks until something changed, at most this long.
    pub fn wait(&mut self, _timeout: Duration) -> Wake {
        unimplemented!()
    }
    /// What [`Link::wait`] would return, as a channel of its own: `Changed` after each new section,
    /// `Lost` when the engine is gone, and the end of the channel when the link is dropped.
    pub fn events(&mut self) -> std::sync::mpsc::Receiver<Wake> {
        unimplemented!()
    }
    /// Asks, and waits for the engine's immediate answer.
    pub fn submit(&mut self, _submission: &Submission) -> Result<Reply, Failure> {
        unimplemented!()
    }
}
