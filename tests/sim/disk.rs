//! The journal's disk: one queue, a hash chain, a spool beside it.
//!
//! Decides which entries survive. Contract: entries become durable in the order they were asked
//! for, and a crash keeps a prefix of those on their way.

use std::collections::{BTreeSet, VecDeque};

use engine::record::{Chain, Entry, Event, Record};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Durable,
    Spooled,
    Failed,
}

pub struct Waiting {
    pub id: engine::types::EffectId,
    pub entry: Entry,
    pub fate: Fate,
    pub safety: bool,
}

#[derive(Default)]
pub struct Disk {
    pub chain: Chain,
    pub records: Vec<Record>,
    /// The entries inside the records, so that a restart need not parse them again.
    pub entries: Vec<Entry>,
    pub spool: Vec<Entry>,
    pub queue: VecDeque<Waiting>,
    /// How often an append fails, and how often it is slow, in a thousand.
    pub fail: u64,
    pub slow: u64,
    /// How often an append, and all behind it, hangs for up to 40 s; once in a run.
    pub stall: u64,
    /// How often the spool takes what the journal refused.
    pub spools: u64,
    /// Intents and results toward safety that were refused: the engine must ask for them again.
    pub refused: BTreeSet<String>,
    /// Entries that are nowhere.
    pub lost: u64,
    pub lost_intents: u64,
}

impl Disk {
    /// Takes the oldest waiting entry to its fate.
    pub fn flush(&mut self) -> Option<Waiting> {
        let waiting = self.queue.pop_front()?;
        match waiting.fate {
            Fate::Durable => {
                self.merge();
                self.store(waiting.entry.clone());
            }
            Fate::Spooled => self.spool.push(waiting.entry.clone()),
            Fate::Failed if waiting.safety => {
                if matches!(waiting.entry.event, Event::Intent(_) | Event::Outcome(_)) {
                    self.refused.insert(waiting.entry.id.clone());
                }
                self.count_intent(&waiting.entry);
            }
            Fate::Failed => self.lose(&waiting.entry),
        }
        Some(waiting)
    }

    /// The spool goes into the journal before anything newer.
    pub fn merge(&mut self) {
        for entry in std::mem::take(&mut self.spool) {
            self.store(entry);
        }
    }

    /// What was refused is asked for again.
    pub fn found(&mut self, entry: &Entry) {
        self.refused.remove(&entry.id);
    }

    /// What was refused is not asked for any more.
    pub fn forget(&mut self) {
        self.lost += self.refused.len() as u64;
        self.refused.clear();
    }

    pub fn lose(&mut self, entry: &Entry) {
        self.lost += 1;
        self.count_intent(entry);
    }

    fn count_intent(&mut self, entry: &Entry) {
        if matches!(entry.event, Event::Intent(_)) {
            self.lost_intents += 1;
        }
    }

    fn store(&mut self, entry: Entry) {
        let record = self.chain.seal(&entry);
        self.chain.accept(&record).expect("a fresh record continues its chain");
        self.records.push(record);
        self.entries.push(entry);
    }
}
