//! The program itself, killed at any moment, before a real HAProxy and a real nginx.
//!
//! A sample runs each time; `QUARTERDECK_KILLS` says how many kills, and with
//! `QUARTERDECK_EVERY_CALL` each system call that writes is one.

#[path = "support/backend.rs"]
#[expect(dead_code, reason = "shared with tests that need more of it")]
mod backend;
#[path = "crash/check.rs"]
mod check;
#[path = "crash/client.rs"]
mod client;
#[path = "support/product.rs"]
#[expect(dead_code, reason = "shared with tests that need more of it")]
mod product;
#[path = "support/servers.rs"]
#[expect(dead_code, reason = "shared with tests that need more of it")]
mod servers;
#[path = "crash/site.rs"]
mod site;
#[path = "crash/trace.rs"]
mod trace;

use std::time::{Duration, Instant};

use check::{Inspector, deploy, ended, is_at, is_being_set, reset, rollback, split};
use client::Client;
use engine::command::Reply;
use product::{Engine, PATIENCE};
use site::Site;
use trace::{Place, Trace};

/// Of the moments; another number is another run.
const SEED: u64 = 11;

/// Of the canary.
const STEPS: [u8; 3] = [10, 50, 100];

/// A whole deploy takes about this long; a rollback, or a step of a deploy.
const DEPLOY_SPAN: Duration = Duration::from_secs(6);
const ROLLBACK_SPAN: Duration = Duration::from_millis(300);

fn number(variable: &str, default: usize) -> usize {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable} is {text:?}: a number")),
        Err(_) => default,
    }
}

/// The same numbers for the same seed (an LCG; its upper bits are good enough for moments).
struct Moments(u64);

impl Moments {
    fn below(&mut self, span: Duration) -> Duration {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        let micros = u64::try_from(span.as_micros()).expect("a short span");
        Duration::from_micros((self.0 >> 33) % micros.max(1))
    }
}

/// Kills the engine at once, and returns what its client had heard by then.
fn kill(mut engine: Engine, client: Client) -> client::Heard {
    engine.child.kill().expect("the engine runs");
    engine.child.wait().expect("the engine ends");
    client.end()
}

/// An engine with all traffic on stable, by its own word.
fn begin(inspector: &Inspector) -> (Engine, Client) {
    let engine = inspector.site.deck.start_engine();
    let mut client = Client::of(&inspector.site.deck);
    client.see(PATIENCE, |service| service.route.as_ref().map(|_| ())).expect("a picture");
    reset(&mut client, "begin");
    (engine, client)
}

#[test]
fn killed_during_deploys() {
    let kills = number("QUARTERDECK_KILLS", 12) / 2;
    let mut inspector = Inspector::new(Site::new(2));
    let mut moments = Moments(SEED);
    let (mut engine, mut client) = begin(&inspector);
    for round in 1..=kills {
        client.ask(&format!("deploy-{round}"), deploy(&format!("1.{round}")));
        // Every other one is killed while a certain step is being set.
        let (after, span) = match (round % 2, STEPS[round / 2 % STEPS.len()]) {
            (0, step) => {
                let begun = client.see(PATIENCE, is_being_set(step));
                assert!(begun.is_some(), "{step} %: {:#?}", client.heard());
                (format!("the write of {step} % and "), ROLLBACK_SPAN)
            }
            (_, _) => (String::new(), DEPLOY_SPAN),
        };
        let moment = moments.below(span);
        std::thread::sleep(moment);
        let heard = kill(engine, client);
        let when = format!("deploy {round}, killed after {after}{moment:?}");
        let dead = inspector.dead(&when, &heard);
        (engine, client) = inspector.again(&when, &dead);
        reset(&mut client, &format!("deploy-{round}"));
    }
    drop(engine);
    inspector.tally.tell("deploys");
}

#[test]
fn killed_during_rollbacks() {
    let kills = number("QUARTERDECK_KILLS", 12).div_ceil(2);
    let mut inspector = Inspector::new(Site::new(2));
    let mut moments = Moments(SEED + 1);
    let (mut engine, mut client) = begin(&inspector);
    for round in 1..=kills {
        // Every other one ends a release in flight.
        let (percent, command) =
            if round % 2 == 0 { (10, deploy(&format!("1.{round}"))) } else { (50, split(50)) };
        client.ask(&format!("before-{round}"), command);
        let at = client.see(PATIENCE, is_at(percent));
        assert!(at.is_some(), "{percent} %: {:#?}", client.heard());
        client.ask(&format!("rollback-{round}"), rollback());
        let moment = moments.below(ROLLBACK_SPAN);
        std::thread::sleep(moment);
        let heard = kill(engine, client);
        let when = format!("rollback {round}, killed after {moment:?}");
        let dead = inspector.dead(&when, &heard);
        (engine, client) = inspector.again(&when, &dead);
        reset(&mut client, &format!("rollback-{round}"));
    }
    drop(engine);
    inspector.tally.tell("rollbacks");
}

#[test]
fn the_inspector_sees_what_is_wrong() {
    let mut inspector = Inspector::new(Site::new(0));
    let (engine, mut client) = begin(&inspector);
    client.ask("half", split(50));
    assert!(client.see(PATIENCE, is_at(50)).is_some(), "{:#?}", client.heard());
    let mut heard = kill(engine, client);
    inspector.dead("as it is", &heard);
    let found = |inspector: &Inspector| {
        let tally = &inspector.tally;
        [tally.lost.len(), tally.broken.len(), tally.unexplained.len()]
    };
    assert_eq!(found(&inspector), [0, 0, 0], "{:#?}", inspector.tally);
    site::tell(&inspector.site.haproxy, "set weight app/canary 60");
    inspector.dead("a weight that nobody asked for", &heard);
    assert_eq!(found(&inspector), [0, 0, 1], "{:#?}", inspector.tally);
    site::tell(&inspector.site.haproxy, "set weight app/canary 50");
    heard.replies.push(Reply::accepted("never".to_owned(), None));
    inspector.dead("a promise that is not on record", &heard);
    assert_eq!(found(&inspector), [1, 0, 1], "{:#?}", inspector.tally);
    let journal = inspector.site.deck.state().join("journal.sqlite3");
    let journal = rusqlite::Connection::open(journal).expect("opens");
    let cut = "DROP TRIGGER records_remain; DELETE FROM records WHERE seq = 3;";
    journal.execute_batch(cut).expect("cuts");
    inspector.dead("a record taken out", &heard);
    let [lost, broken, _] = found(&inspector);
    assert!(lost > 2 && broken > 0, "{:#?}", inspector.tally);
}

/// Far above what a rollback makes of one kind.
const CALLS_MAX: usize = 500;

/// How a sweep goes over the calls of its places.
enum Reach {
    /// The first or the second call of each kind, by turns.
    Sample,
    /// Each call, until a rollback ends before the fault comes.
    All,
}

fn reach() -> Reach {
    if number("QUARTERDECK_EVERY_CALL", 0) == 0 { Reach::Sample } else { Reach::All }
}

/// What gets the faults.
#[derive(Clone, Copy, Debug)]
enum Change {
    /// From 50 % to nothing.
    Rollback,
    /// From nothing to 50 %.
    Raise,
}

/// An engine whose changes get faults at chosen calls.
struct Sweep {
    change: Change,
    inspector: Inspector,
    /// Always there, but while it is replaced.
    running: Option<(Engine, Client)>,
    round: usize,
    faults: usize,
    /// Rollbacks during which the engine said that its journal takes nothing.
    outages: usize,
}

impl Sweep {
    fn new(change: Change) -> Sweep {
        let inspector = Inspector::new(Site::new(0));
        let running = Some(begin(&inspector));
        Sweep { change, inspector, running, round: 0, faults: 0, outages: 0 }
    }

    /// Goes over all places; `faults` gives the fault for the place of each kind of call.
    fn over(&mut self, places: &[Place], faults: &[&str]) {
        let reach = reach();
        let kinds = places.iter().flat_map(|place| place.calls.iter().map(move |c| (place, *c)));
        for (turn, (place, call)) in kinds.enumerate() {
            match reach {
                Reach::Sample => {
                    let number = (1 + turn % 2).to_string();
                    self.once(place, call, faults[turn % faults.len()], &number);
                }
                Reach::All => {
                    for fault in faults {
                        let hit =
                            |number: &usize| self.once(place, call, fault, &number.to_string());
                        let calls = (1..=CALLS_MAX).take_while(hit).count();
                        println!("{}, {call}: {calls} calls got {fault}", place.name);
                        assert!(calls < CALLS_MAX, "a rollback has no end");
                    }
                }
            }
        }
    }

    /// One change with this fault; whether the fault came.
    fn once(&mut self, place: &Place, call: &str, fault: &str, number: &str) -> bool {
        self.round += 1;
        let round = self.round;
        let when =
            format!("{:?} {round}, {fault} at {call} {number} of {}", self.change, place.name);
        let (engine, mut client) = self.running.take().expect("an engine runs");
        let (before, percent, command) = match self.change {
            Change::Rollback => (split(50), 50, rollback()),
            Change::Raise => (rollback(), 0, split(50)),
        };
        client.ask(&format!("before-{round}"), before);
        let at = client.see(PATIENCE, ended(&format!("before-{round}"), percent));
        assert!(at.is_some(), "{when}: {:#?}", client.heard());
        let trace = Trace::attach(engine.pid(), place, call, fault, number);
        let id = format!("change-{round}");
        client.ask(&id, command);
        let (mut proven, mut dead) = (false, false);
        let end = Instant::now() + PATIENCE;
        while !proven && !dead && Instant::now() < end {
            dead = trace::is_gone(engine.pid());
            let step = Duration::from_millis(20);
            proven = client.see(step, ended(&id, 50 - percent)).is_some();
        }
        if !proven && !dead {
            self.inspector.tally.unkept.push(format!("{when}: {:#?}", client.heard()));
        }
        let came = !trace.end().is_empty() || dead;
        self.faults += usize::from(came);
        if !came {
            self.running = Some((engine, client));
            return false;
        }
        // What an error left behind must be there for the next engine, too.
        if !dead {
            self.inspector.at_rest(&when, &client);
        }
        let heard = kill(engine, client);
        self.outages += usize::from(heard.outage);
        let dead = self.inspector.dead(&when, &heard);
        self.running = Some(self.inspector.again(&when, &dead));
        if let Some((_, client)) = &mut self.running {
            reset(client, &when);
        }
        true
    }

    fn tell(self, what: &str) {
        drop(self.running);
        assert!(self.faults > 0, "{what}: no fault ever came");
        println!("{what}: {} changes, {} faults", self.round, self.faults);
        self.inspector.tally.tell(what);
    }
}

#[test]
fn killed_at_the_system_calls_of_a_rollback() {
    let mut sweep = Sweep::new(Change::Rollback);
    let places = trace::everything(&sweep.inspector.site);
    sweep.over(&places, &["signal=SIGKILL"]);
    sweep.tell("killed at system calls");
}

#[test]
fn killed_at_the_system_calls_of_a_raise() {
    let mut sweep = Sweep::new(Change::Raise);
    let places = trace::everything(&sweep.inspector.site);
    sweep.over(&places, &["signal=SIGKILL"]);
    sweep.tell("a raise killed at system calls");
}

#[test]
fn a_disk_that_fails_loses_nothing_in_silence() {
    let mut sweep = Sweep::new(Change::Rollback);
    let places = trace::files(&sweep.inspector.site);
    sweep.over(&places, &["error=EIO", "error=ENOSPC"]);
    sweep.tell("failing writes");
}

#[test]
fn a_disk_that_fails_for_good_keeps_no_rollback() {
    let mut sweep = Sweep::new(Change::Rollback);
    let calls = "write,pwrite64,fsync,fdatasync";
    for place in trace::state(&sweep.inspector.site) {
        for fault in ["error=EIO", "error=ENOSPC"] {
            assert!(sweep.once(&place, calls, fault, "1+"), "{fault} at {}", place.name);
        }
    }
    assert_eq!(sweep.outages, sweep.faults, "each was said");
    sweep.tell("a dead disk");
}
