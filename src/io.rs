//! The adapters: everything that touches the world.

pub mod clock;
pub mod command;
pub mod feed;
pub mod host;
pub mod http;
pub mod journal;
pub mod metrics;
pub mod probe;
pub mod router;
pub mod settings;
pub mod socket;
pub mod terminal;
pub mod wire;
