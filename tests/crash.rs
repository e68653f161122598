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

use std::time::Duration;

use check::{Inspector, deploy, is_at, reset, rollback, split};
use client::Client;
use product::{Engine, PATIENCE};
use site::Site;

/// Of the moments; another number is another run.
const SEED: u64 = 11;

/// A whole deploy takes about this long, and a rollback.
const DEPLOY_SPAN: Duration = Duration::from_millis(6000);
const ROLLBACK_SPAN: Duration = Duration::from_millis(500);

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
        let moment = moments.below(DEPLOY_SPAN);
        std::thread::sleep(moment);
        let heard = kill(engine, client);
        let when = format!("deploy {round}, killed after {moment:?}");
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
        assert!(at.is_some(), "{percent} %: {:#?}", client.heard().service);
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
