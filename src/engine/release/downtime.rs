//! How long a service was down while a release of it was under way.
//!
//! Decides only by the service's own probes: it is down while every one of them says DOWN; a slot
//! that is not started yet takes nobody's answers away. Never guesses: a moment in which no probe
//! answers and not all say DOWN leaves no figure at all. Contract: fed with each turn of the
//! release, so it is as fine as the probes are.

use std::time::Duration;

use crate::types::{Status, Time};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Downtime {
    known: bool,
    total: Duration,
    since: Option<Time>,
}

impl Downtime {
    pub(super) fn new() -> Downtime {
        Downtime { known: true, total: Duration::ZERO, since: None }
    }

    /// What came before is not known.
    pub(super) fn unknown() -> Downtime {
        Downtime { known: false, ..Downtime::new() }
    }

    pub(super) fn look(&mut self, mut probes: impl Iterator<Item = Status> + Clone, now: Time) {
        let some = probes.clone().next().is_some();
        let down = some && probes.clone().all(|status| status == Status::Down);
        let answers = |status| matches!(status, Status::Up | Status::Degraded | Status::Maint);
        self.known &= down || probes.any(answers);
        if let Some(since) = self.since.take() {
            self.total += now.since(since);
        }
        self.since = down.then_some(now);
    }

    pub(super) fn millis(self) -> Option<u64> {
        let millis = u64::try_from(self.total.as_millis()).unwrap_or(u64::MAX);
        self.known.then_some(millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_down_while_all_its_probes_are() {
        use Status::{Degraded, Down, Maint, Stale, Unknown, Up};
        let check = |looks: &[&[Status]], expected: Option<u64>| {
            let mut downtime = Downtime::new();
            for (second, probes) in (0..).zip(looks) {
                downtime.look(probes.iter().copied(), Time(0) + Duration::from_secs(second));
            }
            let millis = expected.map(|seconds| seconds * 1000);
            assert_eq!(downtime.millis(), millis, "{looks:?}");
        };
        check(&[&[Up, Up], &[Up, Down], &[Maint, Down], &[Degraded, Unknown]], Some(0));
        check(&[&[Up, Down], &[Down, Down], &[Down, Down], &[Up, Down], &[Up, Up]], Some(2));
        check(&[&[Down], &[Up], &[Up], &[Down], &[Up]], Some(2));
        check(&[&[Up, Up], &[Stale, Down], &[Up, Up]], None);
        check(&[&[Unknown], &[Up]], None);
        check(&[&[], &[]], None);
        assert_eq!(Downtime::unknown().millis(), None);
    }
}
