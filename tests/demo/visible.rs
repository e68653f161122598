//! Each fault of the menu stands on the panels within seconds of its start.
//!
//! The whole way is taken: the fleet, its adapters, an engine of its own, the socket, and the
//! panels as they are drawn.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Child, Command as Process, Stdio};
use std::time::{Duration, Instant};

use engine::command::{Command, Expected, Reply, Submission};
use engine::snapshot::{RouteState, ServiceView, Snapshot, SourceState};
use engine::types::{Actor, Now, Status, Untrusted};
use quarterdeck::demo::{Fault, Fleet};
use quarterdeck::io::clock;
use quarterdeck::link::{Link, Options};
use quarterdeck::ui::theme::{Depth, Symbols, Theme};
use quarterdeck::ui::{Event, Ui, view};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::{PATIENCE, VISIBLE};

const ROUNDS: usize = 3;

/// Ends the engine with the test.
struct Engine(Child);

impl Drop for Engine {
    fn drop(&mut self) {
        // It fails only when the process is gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A fleet, an engine on it, and a client of that engine; dropped in this order.
struct Watched {
    link: Link,
    _engine: Engine,
    fleet: Fleet,
    _dir: tempfile::TempDir,
}

impl Watched {
    /// Returns once everything is well and known.
    fn start() -> Watched {
        let fleet = Fleet::start().expect("the sandbox starts");
        let dir = tempfile::tempdir().expect("a directory");
        let config = fleet.write_config(dir.path()).expect("the configuration is written");
        let state_dir = dir.path().join("state");
        let engine = engine_on(&config, &state_dir);
        let socket = state_dir.join("engine.sock");
        let deadline = Instant::now() + PATIENCE;
        while std::os::unix::net::UnixStream::connect(&socket).is_err() {
            assert!(Instant::now() < deadline, "no engine at {}", socket.display());
            std::thread::sleep(Duration::from_millis(10));
        }
        let options = Options { state_dir, config, config_hash: None, read_only: false };
        let link = Link::connect(&options).expect("the engine answers");
        let mut watched = Watched { link, _engine: engine, fleet, _dir: dir };
        watched.until("a healthy fleet", PATIENCE, |picture, now| {
            let well = |service: &ServiceView| {
                service.status_at(now) == Status::Up
                    && service.route.as_ref().is_some_and(|route| {
                        route.state != RouteState::Changing && route.routers[0].canary.is_some()
                    })
                    && service.signals.as_ref().is_some_and(|signals| {
                        service.name != "checkout" || signals.canary.requests > Some(0.0)
                    })
            };
            let known = picture.sources.iter().all(|one| one.state_at(now) == SourceState::Ok);
            (known && !picture.services.is_empty() && picture.services().all(well)).then_some(())
        });
        watched
    }

    fn until<T>(
        &mut self,
        what: &str,
        limit: Duration,
        look: impl Fn(&Snapshot, Now) -> Option<T>,
    ) -> T {
        let deadline = Instant::now() + limit;
        loop {
            let picture = self.link.snapshot();
            if let Some(found) = picture.as_ref().and_then(|it| look(it, clock::now())) {
                return found;
            }
            let screen = picture.as_ref().map(|picture| screen(picture, clock::now()));
            assert!(
                Instant::now() < deadline,
                "not within {limit:?}: {what}\n{}",
                screen.unwrap_or_default()
            );
            self.link.wait(Duration::from_millis(50));
        }
    }

    /// Waits until every one of `words` stands on one screen; how long after `start`.
    fn shows(&mut self, start: Instant, fault: Fault, words: &[&str]) -> Duration {
        self.until(&format!("{fault:?} as {words:?}"), PATIENCE, |picture, now| {
            let screen = screen(picture, now);
            words.iter().all(|word| screen.contains(word)).then_some(())
        });
        println!("{fault:?}: visible after {:.1} s", start.elapsed().as_secs_f64());
        start.elapsed()
    }

    fn roll_back(&mut self) {
        let picture = self.link.snapshot().expect("a picture");
        let route = picture.services[0].route.as_ref().expect("checkout has a route");
        let submission = Submission {
            id: "rollback".to_owned(),
            command: Command::Rollback {
                service: "checkout".to_owned(),
                reason: Untrusted::default(),
            },
            expected: Some(Expected { set: route.set, fence: route.fence, release: None }),
            seen: Untrusted::default(),
            actor: Actor {
                user: Untrusted::new("test"),
                uid: Some(rustix::process::getuid().as_raw()),
                ssh: None,
            },
            read_only: false,
        };
        // An engine that answers late has it all the same: asked again, it says so.
        let mut replies = (0..ROUNDS).map(|_| self.link.submit(&submission));
        let reply = replies.find(Result::is_ok);
        assert!(matches!(reply, Some(Ok(Reply::Accepted { .. }))), "{reply:?}");
    }
}

fn engine_on(config: &Path, state_dir: &Path) -> Engine {
    let mut process = Process::new(env!("CARGO_BIN_EXE_quarterdeck"));
    process.arg("engine").arg("--config").arg(config).arg("--state-dir").arg(state_dir);
    let child = process.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
    Engine(child.expect("the program starts"))
}

/// The panels as text, with checkout's release.
fn screen(picture: &Snapshot, now: Now) -> String {
    let mut ui = Ui::new(false, None);
    ui.service = Some("checkout".to_owned());
    ui.update(Event::Changed, Some(picture), now);
    let theme = Theme::named("mono", Depth::Never, Symbols::Unicode).expect("mono is embedded");
    let area = Rect::new(0, 0, 160, 48);
    let mut buffer = Buffer::empty(area);
    view::draw_in(&mut buffer, area, Some(picture), &ui, &theme, now);
    let mut out = String::new();
    for row in 0..area.height {
        let line = (0..area.width).filter_map(|column| buffer.cell((column, row)));
        out.extend(line.map(ratatui::buffer::Cell::symbol));
        writeln!(out).expect("a string takes it");
    }
    out
}

/// Starts the fault, does what else it takes, and sees it in time: at once, or in one of the rounds
/// that a loaded machine is given.
fn is_visible(fault: Fault, words: &[&str], then: impl Fn(&mut Watched)) {
    let round = |_: usize| {
        let mut watched = Watched::start();
        watched.fleet.set_fault(fault, true);
        let start = Instant::now();
        then(&mut watched);
        watched.shows(start, fault, words)
    };
    assert!((0..ROUNDS).any(|number| round(number) <= VISIBLE), "{fault:?}: never in {VISIBLE:?}");
}

#[test]
fn canary_errors_are_visible() {
    is_visible(Fault::CanaryErrors, &["▲ DEGRADED checkout", "HighErrorRate"], |_| ());
}

#[test]
fn a_slow_canary_is_visible() {
    is_visible(Fault::CanaryLatency, &["▲ DEGRADED checkout", "HighLatency"], |_| ());
}

#[test]
fn a_database_that_is_down_is_visible() {
    is_visible(Fault::DatabaseDown, &["■ DOWN     payments", "DatabaseDown"], |_| ());
}

#[test]
fn a_feed_that_is_down_is_visible() {
    is_visible(Fault::FeedDown, &["alerts feed: silent for", "alerts feed failing"], |_| ());
}

#[test]
fn a_router_that_hangs_is_visible() {
    is_visible(Fault::RouterHangs, &["checkout/proxy router failing", "UNVERIFIED"], |_| ());
}

/// Until it is asked for something, a liar says nothing wrong: an operator asks at once.
#[test]
fn a_router_that_lies_is_visible() {
    let words = ["accepted, but shows 10 %", "APPLYING 0/1", "CHANGING"];
    is_visible(Fault::RouterLies, &words, Watched::roll_back);
}
