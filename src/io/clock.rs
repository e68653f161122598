//! The only caller of the machine's clocks.
//!
//! Decides nothing. Contract: `mono` is `CLOCK_BOOTTIME`, the same for every process of this
//! machine and counting through suspend, so that a client may compute ages of the engine's values.

use chrono::Utc;
use engine::types::{Now, Time};

/// This instant on both clocks.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is where the clock is read")]
pub fn now() -> Now {
    let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(boot.tv_sec).unwrap_or_default();
    let micros = u64::try_from(boot.tv_nsec).unwrap_or_default() / 1000;
    Now { mono: Time(seconds * 1_000_000 + micros), wall: Utc::now() }
}
