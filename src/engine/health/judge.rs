//! When a change of health counts.
//!
//! Decides by rise, fall and the latency thresholds what a row of observations means. Never looks
//! at a clock. Contract: the same observations give the same statuses.

use std::time::Duration;

use crate::reading::Observation;
use crate::types::Status;

/// The state of one probe between its observations.
///
/// First an observation is weighed: UP slower than `degraded_above` is DEGRADED; UP or DEGRADED
/// slower than `unhealthy_above` is DOWN. Then the first rule that fits decides what is shown:
///
/// 1. The first observation decides as it is.
/// 2. UNKNOWN (and STALE) shows at once. It ends a row of good answers, but not one of bad
///    answers, because it is neither.
/// 3. DOWN shows once it is the `fall`-th bad one in a row, or when the probe was DOWN and has not
///    come back since. Before that the status shown stays, except that one that is DOWN only
///    because it was slow shows DEGRADED in place of UP.
/// 4. After DOWN, an UP, DEGRADED or MAINT shows once it is the `rise`-th of these in a row;
///    before that the status shown stays.
/// 5. Otherwise UP, DEGRADED and MAINT show at once.
#[derive(Clone, Debug)]
pub struct Judge {
    rise: u32,
    fall: u32,
    degraded_above: Option<Duration>,
    unhealthy_above: Option<Duration>,
    shown: Option<Status>,
    /// It went DOWN and has not come back, whatever is shown since.
    down: bool,
    goods: u32,
    bads: u32,
}

impl Judge {
    /// A `rise` or `fall` of 0 means 1.
    #[must_use]
    pub fn new(
        rise: u32,
        fall: u32,
        degraded_above: Option<Duration>,
        unhealthy_above: Option<Duration>,
    ) -> Judge {
        Judge {
            rise: rise.max(1),
            fall: fall.max(1),
            degraded_above,
            unhealthy_above,
            shown: None,
            down: false,
            goods: 0,
            bads: 0,
        }
    }

    /// What is shown so far; `None` before the first observation.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        self.shown
    }

    /// Takes one observation in and says what is to be shown now.
    pub fn observe(&mut self, observation: &Observation) -> Status {
        let weighed = self.weigh(observation);
        let next = match (weighed, self.shown) {
            (Status::Down, None) => {
                self.down = true;
                Status::Down
            }
            (Status::Unknown | Status::Stale, _) => {
                self.goods = 0;
                Status::Unknown
            }
            (Status::Down, Some(shown)) => self.bad(shown, observation.status),
            (Status::Up | Status::Degraded | Status::Maint, shown) => self.good(shown, weighed),
        };
        self.shown = Some(next);
        next
    }

    /// The status with the latency thresholds applied.
    fn weigh(&self, observation: &Observation) -> Status {
        let slower = |limit: Option<Duration>| match (observation.latency, limit) {
            (Some(latency), Some(limit)) => latency > limit,
            (Some(_) | None, None) | (None, Some(_)) => false,
        };
        match observation.status {
            Status::Up | Status::Degraded if slower(self.unhealthy_above) => Status::Down,
            Status::Up if slower(self.degraded_above) => Status::Degraded,
            status @ (Status::Up
            | Status::Maint
            | Status::Unknown
            | Status::Stale
            | Status::Degraded
            | Status::Down) => status,
        }
    }

    fn bad(&mut self, shown: Status, raw: Status) -> Status {
        self.goods = 0;
        self.bads = self.bads.saturating_add(1);
        self.down |= self.bads >= self.fall;
        if self.down {
            Status::Down
        } else if shown == Status::Up && raw != Status::Down {
            Status::Degraded
        } else {
            shown
        }
    }

    fn good(&mut self, shown: Option<Status>, weighed: Status) -> Status {
        self.bads = 0;
        self.goods = self.goods.saturating_add(1);
        match shown {
            Some(shown) if self.down && self.goods < self.rise => shown,
            Some(_) | None => {
                self.down = false;
                weighed
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Untrusted;

    /// Letters are observations: u UP, d DOWN, ? UNKNOWN, m MAINT, s slow, S very slow, g DEGRADED.
    /// The result has one letter for each status shown.
    fn check(rise: u32, fall: u32, observed: &str, shown: &str) {
        let ms = Duration::from_millis;
        let mut judge = Judge::new(rise, fall, Some(ms(100)), Some(ms(1000)));
        let mut result = String::new();
        for letter in observed.chars() {
            let (status, latency) = match letter {
                'u' => (Status::Up, Some(ms(100))),
                's' => (Status::Up, Some(ms(101))),
                'S' => (Status::Up, Some(ms(1001))),
                'g' => (Status::Degraded, Some(ms(5))),
                'm' => (Status::Maint, Some(ms(5))),
                'd' => (Status::Down, None),
                _ => (Status::Unknown, None),
            };
            let message = Untrusted::default();
            let observation = Observation {
                status,
                latency,
                message,
                certificate_expires: None,
                clock_ahead_s: None,
            };
            result.push(match judge.observe(&observation) {
                Status::Up => 'u',
                Status::Degraded => 'g',
                Status::Down => 'd',
                Status::Maint => 'm',
                Status::Unknown | Status::Stale => '?',
            });
        }
        assert_eq!(result, shown, "rise {rise}, fall {fall}, observed {observed}");
    }

    #[test]
    fn the_first_observation_decides() {
        check(3, 3, "u", "u");
        check(3, 3, "d", "d");
        check(3, 3, "?", "?");
        check(3, 3, "S", "d");
        check(0, 0, "udu", "udu");
    }

    #[test]
    fn fall_and_rise_count_in_a_row() {
        check(2, 3, "uddd", "uuud");
        check(2, 3, "uddudd", "uuuuuu");
        check(2, 3, "duu", "ddu");
        check(2, 3, "dudu", "dddd");
    }

    #[test]
    fn unknown_is_neither_good_nor_bad() {
        check(2, 2, "u?u", "u?u");
        check(2, 2, "ud?d", "uu?d");
        check(2, 2, "du?u", "dd??");
        check(2, 2, "d?uu", "d??u");
        check(2, 2, "d?d", "d?d");
    }

    #[test]
    fn slowness_shows_at_once() {
        check(2, 2, "usu", "ugu");
        check(2, 2, "uSS", "ugd");
        check(2, 2, "dss", "ddg");
        check(2, 2, "umug", "umug");
    }
}
