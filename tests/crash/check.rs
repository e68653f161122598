//! What must hold after the engine was killed, and after it was started again.
//!
//! Decides by the journal's records and the routers' own words. Never stops at the first fault:
//! all are counted and told at the end. Contract: a split is explained by the last intent on
//! record, or by those before it that were not proven.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use engine::command::{Command, Reply};
use engine::record::{Entry, Event, Intent, OperationResult, Record, ReleaseResult, ReleaseState};
use engine::snapshot::{JournalState, Phase, RouteState, ServiceView};
use engine::types::{Fence, Group, Percent, Untrusted, Weights};
use quarterdeck::io::journal;

use crate::client::{Client, Heard, submission};
use crate::product::{Engine, until};
use crate::site::{Site, Split};

/// The promise to a rollback that was accepted, from the start of the next engine.
const PROMISE: Duration = Duration::from_secs(30);

/// Longer than a canary's soak and two of its looks: what wanted to raise would have.
const QUIET: Duration = Duration::from_millis(1200);

/// What was found, by kind.
#[derive(Debug, Default)]
pub struct Tally {
    pub kills: usize,
    /// Kills that found the routers between two splits.
    pub between: usize,
    pub lost: Vec<String>,
    pub broken: Vec<String>,
    pub unexplained: Vec<String>,
    pub raised: Vec<String>,
    pub unkept: Vec<String>,
    /// From the start of an engine to VERIFIED, at most.
    pub slowest: Duration,
}

impl Tally {
    /// Prints the figures; every fault but a kill must be absent.
    pub fn tell(&self, what: &str) {
        println!(
            "{what}: {} kills, {} of them between two splits, {} lost records, {} broken chains, \
             {} unexplained splits, {} exposures raised unasked, {} rollbacks not kept; slowest \
             rollback {:.1} s after the start",
            self.kills,
            self.between,
            self.lost.len(),
            self.broken.len(),
            self.unexplained.len(),
            self.raised.len(),
            self.unkept.len(),
            self.slowest.as_secs_f64()
        );
        let kinds = [&self.lost, &self.broken, &self.unexplained, &self.raised, &self.unkept];
        assert!(kinds.iter().all(|kind| kind.is_empty()), "{what}: {self:#?}");
    }
}

/// One site, and what its journal has said so far.
pub struct Inspector {
    pub site: Site,
    pub tally: Tally,
    known: Vec<Entry>,
}

/// How things stood when the engine was dead.
pub struct Dead {
    split: Split,
    /// Place of the canary's group.
    canary: usize,
    /// The last intent on record is a rollback: it must be carried through.
    rollback: bool,
}

impl Inspector {
    pub fn new(site: Site) -> Inspector {
        Inspector { site, tally: Tally::default(), known: Vec::new() }
    }

    /// Everything that is on record, in the journal and in the spool.
    fn entries(&mut self, when: &str) -> Vec<Entry> {
        let dir = self.site.deck.state();
        if let Err(broken) = journal::verify(&dir) {
            self.tally.broken.push(format!("{when}: record {}: {}", broken.seq, broken.why));
        }
        // First what waits, because a live engine merges it at any moment.
        let mut waiting = match journal::waiting(&dir) {
            Ok(waiting) => waiting.entries,
            Err(failure) => {
                self.tally.broken.push(format!("{when}: {}", failure.text));
                Vec::new()
            }
        };
        let mut out = Vec::new();
        if let Err(failure) = journal::export(&dir, &mut out) {
            self.tally.broken.push(format!("{when}: {}", failure.text));
        }
        let text = String::from_utf8_lossy(&out).into_owned();
        let mut entries: Vec<Entry> = text
            .lines()
            .map(|line| {
                let record: Record = serde_json::from_str(line).expect("a record is JSON");
                record.entry().expect("a record holds an entry")
            })
            .collect();
        // Merged in between it is in both.
        waiting.retain(|entry| entries.iter().all(|known| known.id != entry.id));
        entries.extend(waiting);
        let ids: BTreeSet<&String> = entries.iter().map(|entry| &entry.id).collect();
        for gone in self.known.iter().filter(|entry| !ids.contains(&entry.id)) {
            self.tally.lost.push(format!("{when}: {:?} was on record", gone.event));
        }
        self.known.clone_from(&entries);
        entries
    }

    /// The engine is dead: is what it promised on record, and do the routers do what was asked?
    pub fn dead(&mut self, when: &str, heard: &Heard) -> Dead {
        self.tally.kills += 1;
        let entries = self.entries(when);
        let missing = missing(&entries, heard);
        let told = if heard.outage { "told" } else { "never told" };
        let gone = missing.iter().map(|what| format!("{when}: {what}; the loss was {told}"));
        self.tally.lost.extend(gone);
        let split = self.site.calm_split();
        self.tally.between += usize::from(split.haproxy != split.nginx || !split.at_rest);
        if let Some(why) = unexplained(&entries, &split) {
            self.tally.unexplained.push(format!("{when}: {why}"));
        }
        let canary = match stable(&entries) {
            Group::A => 1,
            Group::B => 0,
        };
        // Accepted or not: one that is on record is carried through.
        let last = entries.iter().rev().find_map(|entry| intent(&entry.event));
        let rollback = last.is_some_and(|intent| intent.verb == "rollback");
        Dead { split, canary, rollback }
    }

    /// Starts the engine again and watches it until it has settled, and a while longer.
    pub fn again(&mut self, when: &str, dead: &Dead) -> (Engine, Client) {
        let begin = Instant::now();
        let engine = self.site.deck.start_engine();
        let client = Client::of(&self.site.deck);
        let mut settled = None;
        let mut raised = None;
        while settled.is_none_or(|at: Instant| at.elapsed() < QUIET) {
            let split = self.site.split();
            let shares = |split: &Split| split.shares(dead.canary);
            if shares(&split).iter().zip(shares(&dead.split)).any(|(new, old)| *new > old + 0.01) {
                raised = Some(format!("{when}: {split:?} after {:?}", dead.split));
            }
            if settled.is_none() {
                let calm = |service: &ServiceView| is_settled(service, dead.rollback).then_some(());
                settled = client.see(Duration::from_millis(20), calm).map(|()| Instant::now());
            }
            if settled.is_none() && begin.elapsed() > PROMISE {
                let seen = client.heard().service;
                self.tally.unkept.push(format!("{when}: after 30 s it shows {seen:#?}"));
                settled = Some(Instant::now());
            }
        }
        self.tally.raised.extend(raised);
        if let Some(at) = settled.filter(|_| dead.rollback) {
            self.tally.slowest = self.tally.slowest.max(at.duration_since(begin));
        }
        self.at_rest(when, &client);
        (engine, client)
    }

    /// In the end the engine shows what the routers do and the journal tells why, or it says that
    /// it does not know and asks.
    pub fn at_rest(&mut self, when: &str, client: &Client) {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            let split = self.site.split();
            let entries = self.entries(when);
            let heard = client.heard();
            let why = unexplained(&entries, &split);
            let whole = missing(&entries, &heard).is_empty();
            if why.is_none() && whole && agrees(&heard, &split, stable(&entries)) {
                return;
            }
            if Instant::now() > end {
                let text = format!("{when}: {why:?} {split:?}, shown is {heard:#?}");
                self.tally.unexplained.push(text);
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn intent(event: &Event) -> Option<&Intent> {
    if let Event::Intent(intent) = event { Some(intent) } else { None }
}

/// What was answered or shown and is not on record.
fn missing(entries: &[Entry], heard: &Heard) -> Vec<String> {
    let mut missing = Vec::new();
    for reply in heard.replies.iter().filter(|it| matches!(it, Reply::Accepted { .. })) {
        let id = submission(reply);
        if !entries.iter().any(|entry| submitted(&entry.event) == Some(id)) {
            missing.push(format!("{id} was accepted"));
        }
    }
    for (fence, phase) in &heard.results {
        let found = entries.iter().any(|entry| result(&entry.event) == Some((*fence, *phase)));
        // An intent that could not be recorded was never begun.
        if !found && *phase != Phase::Ended(OperationResult::Refused) {
            missing.push(format!("#{fence} was shown as {}", phase.word()));
        }
    }
    missing
}

/// The submission that this record accepts.
fn submitted(event: &Event) -> Option<&str> {
    if let Event::Intent(intent) = event {
        Some(&intent.submission)
    } else if let Event::ReleaseStarted(started) = event {
        Some(&started.submission)
    } else {
        None
    }
}

/// How this record ends which operation.
fn result(event: &Event) -> Option<(Fence, Phase)> {
    if let Event::Outcome(outcome) = event {
        Some((outcome.fence, Phase::Ended(outcome.result)))
    } else if let Event::Interrupted { fence, .. } = event {
        Some((*fence, Phase::Ended(OperationResult::Unknown)))
    } else {
        None
    }
}

/// Nothing is on its way; an accepted rollback is VERIFIED.
fn is_settled(service: &ServiceView, rollback: bool) -> bool {
    let Some(route) = &service.route else { return false };
    let asked = route.routers.iter().all(|it| it.read.is_some() || !it.error.is_empty());
    let release = service.release.as_ref().filter(|release| release.result.is_none());
    let back = release.is_some_and(|release| release.state == ReleaseState::WalkingBack);
    let phase = service.operation.as_ref().map(|operation| operation.phase);
    let proven = phase == Some(Phase::Ended(OperationResult::Verified))
        && route.set == Some(Percent::ZERO)
        && route.state == RouteState::Verified;
    asked && route.state != RouteState::Changing && !back && (proven || !rollback)
}

/// Every weight is one that the last intent asks for or began with, unless that was proven.
fn unexplained(entries: &[Entry], split: &Split) -> Option<String> {
    let mut allowed = vec![];
    let mut fences = vec![];
    for entry in entries.iter().rev() {
        let Some(intent) = intent(&entry.event) else { continue };
        allowed.push(weights(intent.stable, intent.to));
        fences.push(intent.fence.0);
        let verified = (intent.fence, Phase::Ended(OperationResult::Verified));
        if entries.iter().any(|entry| result(&entry.event) == Some(verified)) {
            break;
        }
        allowed.extend(intent.from.map(|from| weights(intent.stable, from)));
    }
    let fits = |place: usize| allowed.iter().any(|it| it[place] == split.haproxy[place]);
    let fence = fences.contains(&split.fence);
    let explained = fits(0) && fits(1) && allowed.contains(&split.nginx) && fence;
    (!explained).then(|| format!("{split:?}, on record are {allowed:?} by {fences:?}"))
}

/// VERIFIED is what the routers do; anything else asks a person. What nginx runs lies in its file.
fn agrees(heard: &Heard, split: &Split, stable: Group) -> bool {
    let Some(service) = &heard.service else { return false };
    let Some(route) = &service.route else { return false };
    if !heard.head.as_ref().is_some_and(|head| head.journal == JournalState::Writable) {
        return false;
    }
    match (route.state, route.set) {
        (RouteState::Verified, Some(set)) => {
            let wanted = weights(stable, set);
            split.haproxy == wanted && split.nginx == wanted && split.at_rest
        }
        (RouteState::Verified, None) | (RouteState::Changing, _) => false,
        (RouteState::Unverified | RouteState::Drifted, _) => {
            let banner = heard.head.as_ref().is_some_and(|head| !head.banners.is_empty());
            banner && split.at_rest
        }
    }
}

fn weights(stable: Group, canary: Percent) -> [u32; 2] {
    let weights = Weights::for_split(stable, canary);
    [weights.a, weights.b].map(|share| u32::from(share.get()))
}

/// The group that is stable by the last record that says so.
fn stable(entries: &[Entry]) -> Group {
    let told = entries.iter().rev().find_map(|entry| {
        if let Event::Intent(intent) = &entry.event {
            Some(intent.stable)
        } else if let Event::ReleaseEnded { stable, result: ReleaseResult::Good, .. } = &entry.event
        {
            Some(*stable)
        } else {
            None
        }
    });
    told.unwrap_or(Group::A)
}

/// All traffic to stable, and no release in flight.
pub fn reset(client: &mut Client, name: &str) {
    let mut tries = 0;
    until("all traffic to stable", || {
        tries += 1;
        let id = format!("{name}-reset-{tries}");
        client.ask(&id, rollback());
        let answered = until("an answer", || client.reply(&id));
        let Reply::Accepted { fence: Some(fence), .. } = answered else { return None };
        client.see(Duration::from_secs(8), |service| {
            let open = service.release.as_ref().is_some_and(|release| release.result.is_none());
            let newest = service.operation.as_ref().is_some_and(|it| it.fence >= fence);
            (newest && is_settled(service, true) && !open).then_some(())
        })
    });
}

pub fn rollback() -> Command {
    Command::Rollback { service: "web".to_owned(), reason: Untrusted::new("a test") }
}

pub fn split(canary: u8) -> Command {
    let canary = Percent::new(canary).expect("a percent");
    Command::Split { service: "web".to_owned(), canary, reason: Untrusted::new("a test") }
}

pub fn deploy(version: &str) -> Command {
    Command::Deploy {
        service: "web".to_owned(),
        version: version.to_owned(),
        hotfix: false,
        reason: Untrusted::new("a test"),
    }
}

/// The canary gets `percent`, read back from every router.
pub fn is_at(percent: u8) -> impl Fn(&ServiceView) -> Option<()> {
    move |service| {
        let route = service.route.as_ref()?;
        let set = route.set.map(Percent::get) == Some(percent);
        (set && route.state == RouteState::Verified).then_some(())
    }
}

/// What was asked for by this id is VERIFIED at `percent`.
pub fn ended(id: &str, percent: u8) -> impl Fn(&ServiceView) -> Option<()> {
    move |service| {
        let own = service.operation.as_ref().filter(|it| it.submission == id)?;
        (own.phase == Phase::Ended(OperationResult::Verified)).then_some(())?;
        is_at(percent)(service)
    }
}

/// A change to `percent` is under way.
pub fn is_being_set(percent: u8) -> impl Fn(&ServiceView) -> Option<()> {
    move |service| {
        let operation = service.operation.as_ref()?;
        let flies = !matches!(operation.phase, Phase::Ended(_));
        (flies && operation.to.get() == percent).then_some(())
    }
}
