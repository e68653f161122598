//! What is true of a fleet's stand-ins: what runs where, what was asked, what was told.
//!
//! Decides how a version behaves, by its name. Never opens a socket. Contract: counters only rise.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Spec;
use crate::demo::world::{Seen, Tally, locked};

/// What a slow version adds: above the 3,000 ms by which a canary may be slower than stable.
const SLOW: Duration = Duration::from_millis(3500);

/// Texts kept for each channel; more are forgotten, oldest first.
const TOLD_MAX: usize = 1000;

pub struct World {
    pub slots: Vec<Slot>,
    /// Figures that people turn: what pages show and what they are measured by.
    pub knobs: Mutex<BTreeMap<String, f64>>,
    /// What was sent to each channel.
    told: Mutex<BTreeMap<String, VecDeque<Value>>>,
    pub machine: Mutex<Machine>,
    pub seen: Arc<Seen>,
}

/// A place where one version of an application runs, or none.
pub struct Slot {
    pub name: String,
    pub health: super::Health,
    /// Where its database listens.
    pub database: Option<std::net::SocketAddr>,
    /// How long a version that is not slow takes to answer.
    pub work: Duration,
    version: Mutex<Option<String>>,
    pub flag: Option<String>,
    /// Percents owed to the new code.
    owed: Mutex<f64>,
    pub tallies: Vec<(Whose, Mutex<Tally>)>,
}

/// What is counted apart; empty where there is no such thing.
pub struct Whose {
    pub tenant: String,
    /// `b` is the new code behind a flag, `a` the old one.
    pub path: &'static str,
}

/// What a node exporter would have counted.
pub struct Machine {
    at: Instant,
    pub busy_s: f64,
    pub idle_s: f64,
}

impl World {
    pub fn new(spec: &Spec) -> World {
        let slots = spec.slot.iter().map(|slot| {
            let nobody = vec![String::new()];
            let tenants = if slot.tenants.is_empty() { &nobody } else { &slot.tenants };
            let paths: &[&str] = if slot.flag.is_some() { &["a", "b"] } else { &[""] };
            let each = |tenant: &String| {
                let own = tenant.clone();
                paths
                    .iter()
                    .map(move |path| (Whose { tenant: own.clone(), path }, Mutex::default()))
            };
            Slot {
                name: slot.name.clone(),
                health: slot.health,
                database: slot.database,
                work: Duration::from_millis(slot.work_ms),
                version: Mutex::new(Some(slot.version.clone()).filter(|v| !v.is_empty())),
                flag: slot.flag.clone(),
                owed: Mutex::default(),
                tallies: tenants.iter().flat_map(each).collect(),
            }
        });
        World {
            slots: slots.collect(),
            knobs: Mutex::new(spec.knobs.clone()),
            told: Mutex::default(),
            machine: Mutex::new(Machine { at: Instant::now(), busy_s: 0.0, idle_s: 0.0 }),
            seen: Arc::default(),
        }
    }

    pub fn slot(&self, name: &str) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.name == name)
    }

    /// A knob that nobody turned and no file names is at zero.
    pub fn knob(&self, name: &str) -> f64 {
        locked(&self.knobs).get(name).copied().unwrap_or_default()
    }

    pub fn tell(&self, channel: &str, what: Value) {
        let mut told = locked(&self.told);
        let told = told.entry(channel.to_owned()).or_default();
        told.push_back(what);
        while told.len() > TOLD_MAX {
            told.pop_front();
        }
    }

    pub fn told(&self, channel: &str) -> Vec<Value> {
        locked(&self.told).get(channel).into_iter().flatten().cloned().collect()
    }
}

impl Slot {
    pub fn version(&self) -> Option<String> {
        locked(&self.version).clone()
    }

    pub fn run(&self, version: Option<String>) {
        *locked(&self.version) = version;
    }

    /// Requests for work that it answered.
    pub fn answered(&self) -> u64 {
        self.tallies.iter().map(|(_, tally)| locked(tally).count()).sum()
    }

    /// Does the new code answer this request? It answers as many percent as the flag says.
    pub fn takes_new(&self, percent: f64) -> bool {
        let mut owed = locked(&self.owed);
        *owed += percent;
        let due = *owed >= 100.0;
        if due {
            *owed -= 100.0;
        }
        due
    }

    /// The tally of this tenant; of the first one for a stranger.
    pub fn tally(&self, tenant: &str, path: &str) -> &Mutex<Tally> {
        let mut own = self.tallies.iter().filter(|(whose, _)| whose.path == path);
        let found = own.clone().find(|(whose, _)| whose.tenant == tenant).or_else(|| own.next());
        &found.unwrap_or(&self.tallies[0]).1
    }
}

/// What a version's name makes it do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manner {
    /// One request of five fails.
    pub errs: bool,
    /// What it takes longer than others.
    pub extra: Duration,
    pub sick: bool,
    /// It takes longer than anybody waits, also to say how it is.
    pub hangs: bool,
}

impl Manner {
    pub fn of(version: &str) -> Manner {
        let extra = if version.contains("slow") { SLOW } else { Duration::ZERO };
        Manner {
            errs: version.contains("errors"),
            extra,
            sick: version.contains("sick"),
            hangs: version.contains("hangs"),
        }
    }
}

impl Machine {
    /// Time goes by, so busy as the knob says.
    pub fn advance(&mut self, cpu_percent: f64) {
        let now = Instant::now();
        let span = (now - self.at).as_secs_f64();
        self.at = now;
        let busy = cpu_percent.clamp(0.0, 100.0) / 100.0;
        self.busy_s += span * busy;
        self.idle_s += span * (1.0 - busy);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_what_is_wrong() {
        let good = Manner { errs: false, extra: Duration::ZERO, sick: false, hangs: false };
        assert_eq!(Manner::of("2.0"), good);
        assert_eq!(Manner::of("2.0-errors"), Manner { errs: true, ..good });
        assert_eq!(Manner::of("2.0-slow"), Manner { extra: SLOW, ..good });
        assert_eq!(Manner::of("2.0-sick"), Manner { sick: true, ..good });
        assert_eq!(Manner::of("2.0-hangs"), Manner { hangs: true, ..good });
    }
}
