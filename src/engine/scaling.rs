//! Advice on the size of a group of hosts.
//!
//! Decides whether a group is too small or too large, from the last readings of all its hosts.
//! Never acts: the engine runs a plan when somebody armed it. Contract: advice needs
//! [`SAMPLES`] fresh readings of every host; anything less is no data, never "enough room".

use std::collections::VecDeque;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::settings::Scaling;
use crate::types::{HostId, Now, Time};

/// One reading may be an accident; ten of them at five seconds are most of a minute.
pub const SAMPLES: usize = 10;

/// A newest reading that is older than so many intervals is stale.
const LATE: u32 = 3;

/// The ten of a slow host may take this many times as long as they should; more is a gap.
const STRETCH: u32 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Size {
    /// More hosts are needed.
    Up,
    /// Fewer would do.
    Down,
    Right,
    NoData,
}

impl Size {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Size::Up => "scale up",
            Size::Down => "scale down",
            Size::Right => "stay",
            Size::NoData => "no data",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advice {
    pub size: Size,
    pub urgent: bool,
    pub sentence: String,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Time,
    cpu: f64,
    memory: f64,
}

/// What is known of one group.
#[derive(Debug, Default)]
pub struct Group {
    /// In the order of the settings' hosts.
    samples: Vec<VecDeque<Sample>>,
    pub advice: Option<(Advice, Now)>,
    /// When a plan was started for it last.
    pub acted: Option<DateTime<Utc>>,
}

impl Group {
    #[must_use]
    pub fn new(settings: &Scaling) -> Group {
        Group { samples: vec![VecDeque::new(); settings.hosts.len()], ..Group::default() }
    }

    /// A reading of one of its hosts; a figure that is missing makes a gap.
    pub fn observe(&mut self, place: usize, figures: [Option<f64>; 2], now: Now) {
        let Some(samples) = self.samples.get_mut(place) else { return };
        let [Some(cpu), Some(memory)] = figures else { return };
        samples.push_back(Sample { at: now.mono, cpu, memory });
        if samples.len() > SAMPLES {
            samples.pop_front();
        }
    }

    /// `hosts` are names and intervals, in the order of the settings.
    #[must_use]
    pub fn judge(&self, settings: &Scaling, hosts: &[(&str, Duration)], now: Now) -> Advice {
        let (mut cpu, mut memory, mut count) = (0.0, 0.0, 0.0);
        for ((name, interval), samples) in hosts.iter().zip(&self.samples) {
            let span = *interval * u32::try_from(SAMPLES).unwrap_or(u32::MAX) * STRETCH;
            let age = |sample: Option<&Sample>| sample.map(|it| now.mono.since(it.at));
            let whole = samples.len() == SAMPLES
                && age(samples.back()).is_some_and(|age| age <= *interval * LATE)
                && age(samples.front()).is_some_and(|age| age <= span);
            if !whole {
                let sentence = format!("{name} has no {SAMPLES} fresh readings");
                return Advice { size: Size::NoData, urgent: false, sentence };
            }
            for sample in samples {
                cpu += sample.cpu;
                memory += sample.memory;
                count += 1.0;
            }
        }
        decide(settings, cpu / count, memory / count)
    }
}

fn decide(limits: &Scaling, cpu: f64, memory: f64) -> Advice {
    let figures = format!("CPU {cpu:.0} %, memory {memory:.0} % over {SAMPLES} readings");
    let (size, urgent, why) = if cpu > limits.cpu_above && memory > limits.memory_above {
        let why = format!("above {} and {}", limits.cpu_above, limits.memory_above);
        (Size::Up, cpu > limits.urgent_above, why)
    } else if cpu < limits.cpu_below && memory < limits.memory_below {
        (Size::Down, false, format!("below {} and {}", limits.cpu_below, limits.memory_below))
    } else if cpu.is_nan() || memory.is_nan() {
        (Size::NoData, false, "no figure".to_owned())
    } else {
        (Size::Right, false, "between the limits".to_owned())
    };
    Advice { size, urgent, sentence: format!("{figures}: {why}") }
}

/// May a plan run again?
#[must_use]
pub fn has_cooled(settings: &Scaling, acted: Option<DateTime<Utc>>, now: Now) -> bool {
    acted.is_none_or(|acted| {
        // A clock that was set back must not hold it for ever, nor let it go at once.
        let age = (now.wall - acted).abs().to_std().unwrap_or(Duration::MAX);
        age >= settings.cooldown
    })
}

/// Places of a host in the groups that have it.
#[must_use]
pub fn places(groups: &[Scaling], host: HostId) -> Vec<(usize, usize)> {
    let place = |group: &Scaling| group.hosts.iter().position(|own| *own == host);
    groups.iter().enumerate().filter_map(|(at, group)| Some((at, place(group)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Scaling {
        Scaling {
            name: "web".into(),
            hosts: vec![HostId(0), HostId(1)],
            cpu_above: 80.0,
            memory_above: 80.0,
            urgent_above: 90.0,
            cpu_below: 20.0,
            memory_below: 30.0,
            up: None,
            down: None,
            armed: false,
            every: Duration::from_mins(1),
            cooldown: Duration::from_mins(10),
        }
    }

    fn at(seconds: u64) -> Now {
        let wall = DateTime::UNIX_EPOCH + Duration::from_secs(seconds);
        Now { mono: Time(seconds * 1_000_000), wall }
    }

    /// Both hosts read `count` times each 5 s, judged `later` seconds after the last.
    fn judged(figures: [Option<f64>; 2], count: u64, later: u64) -> Advice {
        let settings = settings();
        let mut group = Group::new(&settings);
        for round in 0..count {
            for host in 0..2 {
                group.observe(host, figures, at(1000 + round * 5));
            }
        }
        let hosts = [("web1", Duration::from_secs(5)), ("web2", Duration::from_secs(5))];
        group.judge(&settings, &hosts, at(1000 + count.saturating_sub(1) * 5 + later))
    }

    #[test]
    fn both_figures_decide_and_the_processor_says_how_urgent() {
        let check = |cpu: f64, memory: f64, size: Size, urgent: bool| {
            let found = judged([Some(cpu), Some(memory)], 10, 0);
            assert_eq!((found.size, found.urgent), (size, urgent), "{cpu} {memory}");
            assert!(found.sentence.contains("CPU"), "{}", found.sentence);
        };
        check(85.0, 85.0, Size::Up, false);
        check(95.0, 81.0, Size::Up, true);
        check(95.0, 80.0, Size::Right, false);
        check(80.0, 99.0, Size::Right, false);
        check(19.0, 29.0, Size::Down, false);
        check(19.0, 30.0, Size::Right, false);
        check(f64::NAN, 99.0, Size::NoData, false);
    }

    #[test]
    fn less_than_ten_fresh_readings_of_each_host_are_no_data() {
        let busy = [Some(99.0), Some(99.0)];
        assert_eq!(judged(busy, 9, 0).size, Size::NoData);
        assert_eq!(judged(busy, 10, 15).size, Size::Up);
        assert_eq!(judged(busy, 10, 16).size, Size::NoData, "the last one is stale");
        assert_eq!(judged([Some(5.0), None], 10, 0).size, Size::NoData, "missing is not zero");
        let mut group = Group::new(&settings());
        for round in 0..10 {
            group.observe(0, busy, at(1000 + round * 5));
        }
        let hosts = [("web1", Duration::from_secs(5)), ("web2", Duration::from_secs(5))];
        let found = group.judge(&settings(), &hosts, at(1045));
        assert_eq!(found.sentence, "web2 has no 10 fresh readings");
    }

    #[test]
    fn a_plan_cools_down() {
        let settings = settings();
        assert!(has_cooled(&settings, None, at(0)));
        assert!(!has_cooled(&settings, Some(at(100).wall), at(699)));
        assert!(has_cooled(&settings, Some(at(100).wall), at(700)));
    }
}
