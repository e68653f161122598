//! What the journal says, and the chain that makes a change of it visible.
//!
//! Decides the shape of an entry and of a sealed record. Never writes anything: the journal's
//! adapter keeps a [`Chain`] and stores what it seals. Contract: `hash = SHA-256(prev || seq ||
//! body)`, over the exact bytes that are stored, so `verify` needs no knowledge of the entry.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::notice::Notice;
use crate::triage::Said;
use crate::types::{Actor, Fence, Group, Percent, Untrusted, Weights};

/// One thing worth remembering. `id` names it, so that an append of unknown outcome can be looked
/// up instead of written twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub id: String,
    pub at: DateTime<Utc>,
    pub actor: Actor,
    pub event: Event,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Event {
    /// An engine started with this configuration.
    Started {
        version: String,
        config_hash: String,
    },
    ConfigChanged {
        config_hash: String,
    },
    /// The journal could not be written since then, and can again.
    JournalAnswers {
        since: DateTime<Utc>,
        why: Untrusted,
        /// Records of that time that were not kept.
        left_out: u32,
    },
    /// Asked, and not done.
    Refused {
        submission: String,
        verb: String,
        service: Option<String>,
        why: Untrusted,
        reason: Untrusted,
        seen: Untrusted,
    },
    /// Somebody asked for what the operation with this fence was doing already.
    Joined {
        fence: Fence,
        submission: String,
        service: String,
        verb: String,
        reason: Untrusted,
        seen: Untrusted,
    },
    /// Somebody had every router of the service read at once.
    Reread {
        submission: String,
        service: String,
    },
    /// Durable before the first router is touched.
    Intent(Intent),
    /// What was sent to one router, and what the router said.
    Sent {
        fence: Fence,
        service: String,
        router: String,
        weights: Weights,
        answer: Untrusted,
    },
    /// The one result word of an operation, with what each router showed.
    Outcome(Outcome),
    /// A restart found this operation open; what it wanted is no longer wanted until someone asks.
    Interrupted {
        fence: Fence,
        service: String,
        sentence: Untrusted,
    },
    /// A settled route was found, or came back, with another split than the one set.
    Drift {
        service: String,
        router: String,
        set: Percent,
        read: Untrusted,
        corrected: bool,
    },
    Acknowledged {
        key: String,
        comment: Untrusted,
        result: Untrusted,
    },
    Escalated {
        key: String,
        result: Untrusted,
    },
    /// What a person said of an incident, or that its rest is over.
    Triaged {
        key: String,
        #[serde(flatten)]
        said: Said,
    },
    IncidentOpened {
        key: String,
        name: Untrusted,
        severity: String,
    },
    IncidentResolved {
        key: String,
        name: Untrusted,
    },
    ReleaseStarted(ReleaseStarted),
    /// A plan step began.
    StepStarted {
        release: u64,
        service: String,
        step: u32,
        name: String,
    },
    StepEnded {
        release: u64,
        service: String,
        step: u32,
        result: StepResult,
        /// What was read, said or printed: the last lines.
        detail: Untrusted,
    },
    /// A canary step began, counted from its percent being verified.
    CanaryStep {
        release: u64,
        service: String,
        place: u32,
        percent: Percent,
    },
    Look(Look),
    /// A person's answer to a step's question, or the default when nobody did.
    Answered {
        release: u64,
        service: String,
        step: u32,
        yes: bool,
        reason: Untrusted,
    },
    ReleaseChanged {
        release: u64,
        service: String,
        state: ReleaseState,
        why: Untrusted,
        /// On the way back: how it will end, and whether its steps are taken back, too.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        back: Option<(ReleaseResult, bool)>,
    },
    ReleaseEnded {
        release: u64,
        service: String,
        version: String,
        result: ReleaseResult,
        /// The group that is stable from now on.
        stable: Group,
        sentence: Untrusted,
        /// Milliseconds in which all probes of the service said DOWN meanwhile; `None`: not known.
        #[serde(default)]
        down_ms: Option<u64>,
    },
    TriggerFired {
        service: String,
        trigger: u32,
        sentence: Untrusted,
    },
    /// Switched off until then; `None` arms it again.
    TriggerSet {
        service: String,
        trigger: u32,
        off_until: Option<DateTime<Utc>>,
        reason: Untrusted,
    },
    Frozen {
        service: Option<String>,
        until: DateTime<Utc>,
        reason: Untrusted,
    },
    Thawed {
        service: Option<String>,
        reason: Untrusted,
    },
    Marked {
        service: String,
        version: String,
        bad: bool,
        reason: Untrusted,
    },
    /// People are to be told.
    NoticeQueued(Box<Notice>),
    /// A channel took it, or it was given up.
    NoticeEnded {
        number: u64,
        channel: String,
        sent: bool,
        detail: Untrusted,
    },
    /// An incident called for this plan.
    ActionTaken {
        key: String,
        plan: String,
        armed: bool,
        result: Untrusted,
    },
    /// The size of a group of hosts is judged otherwise than before, or a plan was run for it.
    Advised(Advised),
    /// A person runs a command of a runbook.
    RunbookStarted {
        run: u64,
        submission: String,
        runbook: String,
        line: u32,
        command: Untrusted,
        changes: bool,
        service: Option<String>,
        incident: Option<String>,
        values: BTreeMap<String, String>,
    },
    RunbookEnded {
        run: u64,
        result: RunResult,
        output: Untrusted,
    },
    /// The checks before a release are over.
    Validated(Box<Validated>),
    /// More incidents changed in one reading than are worth a record each.
    IncidentsChanged {
        source: String,
        opened: u32,
        resolved: u32,
    },
}

/// How a command of a runbook ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunResult {
    Passed,
    Failed,
    /// Killed at its deadline, or cut off: it may or may not have happened.
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    pub fence: Fence,
    pub submission: String,
    pub service: String,
    pub verb: String,
    pub stable: Group,
    pub from: Option<Percent>,
    pub to: Percent,
    pub reason: Untrusted,
    /// What stood on the operator's screen.
    pub seen: Untrusted,
    pub routers: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    pub fence: Fence,
    pub service: String,
    pub result: OperationResult,
    /// One sentence: what is proven, what is not.
    pub sentence: Untrusted,
    pub routers: Vec<RouterProof>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouterProof {
    pub router: String,
    /// Percent to the canary as read back, as text so that an entry compares exactly; `None` when
    /// it could not be read.
    pub canary: Option<String>,
    pub note: Untrusted,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseStarted {
    pub release: u64,
    pub submission: String,
    pub service: String,
    /// Empty where the plan brings none.
    pub version: String,
    pub plan: String,
    /// The events' own tag is called `kind` already.
    #[serde(rename = "release_kind")]
    pub kind: ReleaseKind,
    /// The control is the objective, not a stable that is known to be sick.
    pub hotfix: bool,
    /// The group that is stable while it runs.
    pub stable: Group,
    /// Names of the plan's steps: a plan that changed since is not resumed by itself.
    pub steps: Vec<String>,
    /// For each step the places of those that it waits for; empty when each waits for the last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<Vec<u32>>,
    /// What stable showed at the start, by the names that rules use; as text, to compare exactly.
    pub baseline: BTreeMap<String, String>,
    pub reason: Untrusted,
    pub seen: Untrusted,
}

/// What was said of a group of hosts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advised {
    pub group: String,
    pub size: crate::scaling::Size,
    pub urgent: bool,
    pub sentence: Untrusted,
    pub armed: bool,
    /// Its plan was asked for: the cool-down begins.
    pub started: bool,
    pub result: Untrusted,
}

/// What the checks of a service said, each with its tries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validated {
    /// Everybody who asked for it.
    pub submissions: Vec<String>,
    pub service: String,
    /// Empty where none was named.
    pub version: String,
    /// Every critical check passed.
    pub can_deploy: bool,
    pub millis: u64,
    pub checks: Vec<CheckRecord>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckRecord {
    pub name: String,
    pub critical: bool,
    pub passed: bool,
    pub tries: u32,
    pub millis: u64,
    pub detail: Untrusted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReleaseKind {
    /// Brings a version and makes it stable.
    Deploy,
    /// Runs a plan; the roles of the groups stay.
    Plan,
    /// A plan offered after an emergency rollback: its first step is the question.
    Recovery,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepResult {
    Done,
    Failed,
    /// Taken back.
    Undone,
    /// It could not be taken back: a person must look.
    NotUndone,
    /// A restart found it under way.
    Interrupted,
}

impl ReleaseState {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            ReleaseState::Running => "RUNNING",
            ReleaseState::Paused => "PAUSED",
            ReleaseState::Held => "HELD",
            ReleaseState::Asking => "ASKING",
            ReleaseState::WalkingBack => "WALKING BACK",
            ReleaseState::Ended => "ENDED",
        }
    }
}

impl ReleaseResult {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            ReleaseResult::Good => "good",
            ReleaseResult::RolledBack => "rolled back",
            ReleaseResult::Aborted => "aborted",
            ReleaseResult::Failed => "failed",
        }
    }
}

/// What a release is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ReleaseState {
    Running,
    /// A person stopped it, or a restart did; it is still watched.
    Paused,
    /// It waits for a person: its time is up, or its evidence is not what it should be.
    Held,
    /// Its step has a question.
    Asking,
    /// It failed: traffic goes to stable, then its steps are taken back.
    WalkingBack,
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReleaseResult {
    /// Finalised: its group is stable now. For a plan: all its steps are done.
    Good,
    /// Evidence or a failed step took it back.
    RolledBack,
    /// A person ended it.
    Aborted,
    /// It could not be taken back whole: a person must look.
    Failed,
}

/// One look at both arms during a canary step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look {
    pub release: u64,
    pub service: String,
    /// Place of the canary step.
    pub place: u32,
    /// What happened since the look before; `None` is no data.
    pub stable: Option<ArmCount>,
    pub canary: Option<ArmCount>,
    pub verdict: String,
    pub sentence: Untrusted,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArmCount {
    pub requests: u64,
    pub errors: u64,
    /// Slower than the border, where there is a histogram and a border.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow: Option<u64>,
    /// Cumulative histogram: upper bound in seconds, and requests up to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buckets: Vec<(String, u64)>,
}

/// The same words on screen, in the journal and on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum OperationResult {
    Verified,
    Partial,
    Unknown,
    Superseded,
    Refused,
}

impl OperationResult {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            OperationResult::Verified => "VERIFIED",
            OperationResult::Partial => "PARTIAL",
            OperationResult::Unknown => "UNKNOWN",
            OperationResult::Superseded => "SUPERSEDED",
            OperationResult::Refused => "REFUSED",
        }
    }
}

/// A sealed entry: `body` is the entry's JSON, byte for byte as hashed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub seq: u64,
    pub body: String,
    pub prev: String,
    pub hash: String,
}

impl Record {
    /// The entry inside; an error when the body is not one that this version knows.
    pub fn entry(&self) -> Result<Entry, String> {
        serde_json::from_str(&self.body).map_err(|error| format!("record {}: {error}", self.seq))
    }
}

/// The end of the chain: what the next record continues.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    /// Number of records so far; the next record has this plus one.
    pub seq: u64,
    pub head: String,
}

impl Default for Chain {
    fn default() -> Chain {
        Chain { seq: 0, head: "0".repeat(64) }
    }
}

impl Chain {
    /// The next record; the chain itself moves only by [`Chain::accept`], after it is durable.
    #[must_use]
    pub fn seal(&self, entry: &Entry) -> Record {
        let body = serde_json::to_string(entry).expect("an entry has no map with odd keys");
        let seq = self.seq + 1;
        let hash = digest(&self.head, seq, &body);
        Record { seq, body, prev: self.head.clone(), hash }
    }

    /// Moves to `record` if it continues this chain, or says what is wrong with it.
    pub fn accept(&mut self, record: &Record) -> Result<(), String> {
        if record.seq != self.seq + 1 {
            return Err(format!(
                "record {} stands where record {} belongs",
                record.seq,
                self.seq + 1
            ));
        }
        if record.prev != self.head {
            return Err(format!("record {} does not continue the record before it", record.seq));
        }
        if record.hash != digest(&record.prev, record.seq, &record.body) {
            return Err(format!("record {} was changed: its hash does not fit", record.seq));
        }
        self.seq = record.seq;
        self.head.clone_from(&record.hash);
        Ok(())
    }
}

fn digest(prev: &str, seq: u64, body: &str) -> String {
    let mut hasher = Sha256::new();
    hasher.update(prev.as_bytes());
    hasher.update(seq.to_be_bytes());
    hasher.update(body.as_bytes());
    hex(&hasher.finalize())
}

/// The SHA-256 of `bytes`, in lower-case hexadecimal.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        write!(out, "{byte:02x}").expect("writing to a string cannot fail");
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(n: u32) -> Entry {
        Entry {
            id: format!("e{n}"),
            at: DateTime::UNIX_EPOCH,
            actor: Actor::engine(),
            event: Event::ConfigChanged { config_hash: n.to_string() },
        }
    }

    fn chain_of(count: u32) -> Vec<Record> {
        let mut chain = Chain::default();
        (0..count)
            .map(|n| {
                let record = chain.seal(&entry(n));
                chain.accept(&record).expect("a fresh record continues its chain");
                record
            })
            .collect()
    }

    fn first_broken(records: &[Record]) -> Option<String> {
        let mut chain = Chain::default();
        records.iter().find_map(|record| chain.accept(record).err())
    }

    #[test]
    fn a_release_is_read_as_it_was_written() {
        let started = ReleaseStarted {
            release: 1,
            submission: "s".into(),
            service: "shop".into(),
            version: "1.2.0".into(),
            plan: "default".into(),
            kind: ReleaseKind::Deploy,
            hotfix: false,
            stable: Group::A,
            steps: vec!["canary".into()],
            after: Vec::new(),
            baseline: BTreeMap::new(),
            reason: Untrusted::default(),
            seen: Untrusted::default(),
        };
        let look = Look {
            release: 1,
            service: "shop".into(),
            place: 0,
            stable: None,
            canary: Some(ArmCount::default()),
            verdict: "PASS".into(),
            sentence: Untrusted::default(),
        };
        for event in [Event::ReleaseStarted(started), Event::Look(look)] {
            let record = Chain::default().seal(&Entry { event: event.clone(), ..entry(1) });
            assert_eq!(record.entry().map(|entry| entry.event), Ok(event));
        }
    }

    #[test]
    fn a_whole_chain_is_accepted() {
        assert_eq!(first_broken(&chain_of(5)), None);
    }

    #[test]
    fn every_kind_of_tampering_is_named() {
        let mut changed = chain_of(5);
        changed[2].body = changed[2].body.replace('2', "3");
        assert!(first_broken(&changed).is_some_and(|text| text.contains("record 3 was changed")));

        let mut swapped = chain_of(5);
        swapped.swap(1, 2);
        assert!(first_broken(&swapped).is_some_and(|text| text.starts_with("record 3 stands")));

        let mut deleted = chain_of(5);
        deleted.remove(3);
        assert!(first_broken(&deleted).is_some_and(|text| text.starts_with("record 5 stands")));

        let mut inserted = chain_of(5);
        inserted.insert(2, chain_of(3).remove(2));
        assert!(first_broken(&inserted).is_some());
    }
}
