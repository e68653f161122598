//! The only caller of the machine's clocks.
//!
//! Decides nothing. Contract: `mono` is `CLOCK_BOOTTIME`, the same for every process of this
//! machine and counting through suspend, so that a client may compute ages of the engine's values.

use std::io;

use chrono::Utc;
use engine::types::{Now, Time};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::net::unix::pipe::Receiver;

/// This instant on both clocks.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is where the clock is read")]
pub fn now() -> Now {
    let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(boot.tv_sec).unwrap_or_default();
    let micros = u64::try_from(boot.tv_nsec).unwrap_or_default() / 1000;
    Now { mono: Time(seconds * 1_000_000 + micros), wall: Utc::now() }
}

/// Rings at a time of our own clock, which goes on while the machine is suspended.
///
/// A timer of the runtime wakes the process twice or thrice for each time it rings, once for each
/// turn of its wheels; the kernel's does it once.
pub struct Alarm {
    /// Any descriptor that is only read can be waited for as a pipe.
    timer: Receiver,
    set: Option<Time>,
}

impl Alarm {
    pub fn new() -> io::Result<Alarm> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Boottime, flags)?;
        Ok(Alarm { timer: Receiver::from_owned_fd_unchecked(timer)?, set: None })
    }

    /// Returns at `time`, at once when it is over. Dropping what it returns loses nothing.
    pub async fn at(&mut self, time: Time) -> io::Result<()> {
        if self.set != Some(time) {
            // A time of zero would switch the timer off.
            let micros = time.0.max(1);
            let fit = |figure: u64| i64::try_from(figure).unwrap_or(i64::MAX);
            let it_value = Timespec {
                tv_sec: fit(micros / 1_000_000),
                tv_nsec: fit(micros % 1_000_000 * 1000),
            };
            let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
            let set = Itimerspec { it_interval, it_value };
            timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &set)?;
            self.set = Some(time);
        }
        loop {
            self.timer.readable().await?;
            match self.timer.try_read(&mut [0; 8]) {
                // It was set again after it had rung.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => {
                    self.set = None;
                    return read.map(drop);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn an_alarm_rings_when_it_was_last_set_to_and_never_early() {
        let mut alarm = Alarm::new().expect("a timer");
        let soon = now().mono + Duration::from_millis(30);
        let late = now().mono + Duration::from_hours(1);
        // Set, given up, and set again.
        let given_up = tokio::time::timeout(Duration::from_millis(1), alarm.at(late)).await;
        assert!(given_up.is_err());
        alarm.at(soon).await.expect("it rings");
        assert!(now().mono >= soon);
        // One that rang unheard does not ring for another time.
        alarm.at(Time(0)).await.expect("what is over rings at once");
        let given_up = tokio::time::timeout(Duration::from_millis(30), alarm.at(late)).await;
        assert!(given_up.is_err());
    }
}
