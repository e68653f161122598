//! How the latency of each service went: what this console saw, in four windows.
//!
//! Decides how coarse a window is. Never invents a value: where nothing was seen there is a gap.
//! Contract: sixty values for each window of each service, the worst of their span; more services
//! than the limit have none.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use engine::snapshot::{ProbeView, Snapshot};
use engine::types::{Now, Time};

/// Values in a window: what fits the narrowest panel.
const VALUES: usize = 60;
/// Four windows of a thousand services take a megabyte.
const SERVICES_MAX: usize = 1_000;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Window {
    Minutes,
    #[default]
    Hour,
    Hours,
    Day,
}

impl Window {
    pub const ALL: [Window; 4] = [Window::Minutes, Window::Hour, Window::Hours, Window::Day];

    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Window::Minutes => "5m",
            Window::Hour => "1h",
            Window::Hours => "6h",
            Window::Day => "24h",
        }
    }

    #[must_use]
    pub fn span(self) -> Duration {
        match self {
            Window::Minutes => Duration::from_mins(5),
            Window::Hour => Duration::from_hours(1),
            Window::Hours => Duration::from_hours(6),
            Window::Day => Duration::from_hours(24),
        }
    }

    #[must_use]
    pub fn next(self) -> Window {
        let at = Window::ALL.iter().position(|window| *window == self).unwrap_or_default();
        Window::ALL[(at + 1) % Window::ALL.len()]
    }

    /// The span of one value.
    fn step(self) -> Duration {
        self.span() / u32::try_from(VALUES).unwrap_or(1)
    }
}

/// The values of one window; the last one is still growing.
#[derive(Clone, Debug, Default)]
struct Ring {
    values: VecDeque<Option<f32>>,
    /// The number of the last one's span since the clock began.
    span: u64,
}

impl Ring {
    fn note(&mut self, at: Time, value: Option<f32>, step: Duration) {
        let span = number(at, step);
        let gap = span.saturating_sub(self.span).min(VALUES as u64);
        if self.values.is_empty() {
            self.values.push_back(None);
            self.span = span;
        } else {
            (0..gap).for_each(|_| self.values.push_back(None));
        }
        self.span = span.max(self.span);
        while self.values.len() > VALUES {
            self.values.pop_front();
        }
        // What is older than the newest belongs to its own span, if that is still there.
        let behind = usize::try_from(self.span - span).unwrap_or(usize::MAX);
        let place = (self.values.len() - 1).checked_sub(behind);
        let cell = place.and_then(|place| self.values.get_mut(place));
        if let (Some(cell), Some(value)) = (cell, value) {
            *cell = Some(cell.map_or(value, |cell| cell.max(value)));
        }
    }
}

/// The number of the span that an instant lies in.
fn number(at: Time, step: Duration) -> u64 {
    at.0 / u64::try_from(step.as_micros()).unwrap_or(u64::MAX).max(1)
}

#[derive(Clone, Debug, Default)]
pub struct Trends {
    services: BTreeMap<String, [Ring; 4]>,
}

/// The slowest of a service's answers; none when there is none.
fn slowest<'a>(probes: impl Iterator<Item = &'a ProbeView>) -> Option<f32> {
    let latencies = probes.filter_map(|probe| probe.latency);
    latencies.max().map(|latency| latency.as_secs_f32() * 1000.0)
}

impl Trends {
    pub fn note(&mut self, picture: &Snapshot, now: Now) {
        for service in picture.services.iter() {
            if self.services.len() >= SERVICES_MAX && !self.services.contains_key(&service.name) {
                continue;
            }
            let new = !self.services.contains_key(&service.name);
            let rings = self.services.entry(service.name.clone()).or_default();
            if new {
                seed(rings, &service.probes);
            }
            let value = slowest(service.probes.iter().map(AsRef::as_ref));
            for (window, ring) in Window::ALL.iter().zip(rings.iter_mut()) {
                ring.note(now.mono, value, window.step());
            }
        }
        let known = |name: &String| picture.services.iter().any(|service| service.name == *name);
        if self.services.len() > picture.services.len() {
            self.services.retain(|name, _| known(name));
        }
    }

    /// The values of a service up to `now`, oldest first, as many as were seen.
    #[must_use]
    pub fn values(&self, service: &str, window: Window, now: Now) -> Vec<Option<f64>> {
        let at = Window::ALL.iter().position(|own| *own == window).unwrap_or_default();
        let Some(ring) = self.services.get(service).map(|rings| &rings[at]) else {
            return Vec::new();
        };
        let span = number(now.mono, window.step());
        let mut values: Vec<Option<f64>> =
            ring.values.iter().map(|value| value.map(f64::from)).collect();
        let places = |spans: u64| usize::try_from(spans).unwrap_or(VALUES).min(VALUES);
        // In the past what came later is not known; since the last one nothing is.
        values.truncate(values.len().saturating_sub(places(ring.span.saturating_sub(span))));
        values.extend(std::iter::repeat_n(None, places(span.saturating_sub(ring.span))));
        values
    }

    /// The part of a window that one value stands for.
    #[must_use]
    pub fn count() -> usize {
        VALUES
    }
}

/// What the engine remembers of each probe was seen before this console began.
fn seed(rings: &mut [Ring; 4], probes: &[std::sync::Arc<ProbeView>]) {
    for probe in probes {
        let Some(last) = probe.observed else { continue };
        let ago = (0..).zip(probe.latencies_ms.iter().rev());
        let mut seen: Vec<(Time, u32)> = ago
            .filter_map(|(place, ms)| Some((last.mono - probe.interval * place, (*ms)?)))
            .collect();
        seen.reverse();
        for (at, ms) in seen {
            for (window, ring) in Window::ALL.iter().zip(rings.iter_mut()) {
                // Latencies are milliseconds below an hour: they fit.
                let ms = f32::from(u16::try_from(ms).unwrap_or(u16::MAX));
                if at.0 / 1_000_000 > 0 {
                    ring.note(at, Some(ms), window.step());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_of_a_span_stays_and_a_silence_is_a_gap() {
        let mut ring = Ring::default();
        let step = Duration::from_secs(5);
        let second = |s: u64| Time(s * 1_000_000);
        for (at, value) in [(0, Some(3.0)), (4, Some(9.0)), (5, Some(1.0)), (21, Some(2.0))] {
            ring.note(second(at), value, step);
        }
        let values: Vec<Option<f32>> = ring.values.iter().copied().collect();
        assert_eq!(values, [Some(9.0), Some(1.0), None, None, Some(2.0)]);
        // The past again, as a replay shows it.
        for (at, value) in [(6, Some(7.0)), (12, None), (16, Some(5.0))] {
            ring.note(second(at), value, step);
        }
        let values: Vec<Option<f32>> = ring.values.iter().copied().collect();
        assert_eq!(values, [Some(9.0), Some(7.0), None, Some(5.0), Some(2.0)]);
        ring.note(second(10_000), Some(4.0), step);
        ring.note(second(21), Some(99.0), step);
        assert_eq!(ring.values.len(), VALUES);
        assert_eq!(ring.values.iter().flatten().count(), 1, "what was long ago is gone");
    }
}
