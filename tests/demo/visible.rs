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

use super::VISIBLE;

/// Far above what a start takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);

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
            (known && !picture.services.is_empty() && picture.services.iter().all(well))
                .then_some(())
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

    /// Starts the fault, and waits until every one of `words` stands on one screen.
    fn shows(mut self, fault: Fault, words: &[&str]) {
        self.fleet.set_fault(fault, true);
        self.shows_since(Instant::now(), fault, words);
    }

    fn shows_since(&mut self, start: Instant, fault: Fault, words: &[&str]) {
        let left = VISIBLE.saturating_sub(start.elapsed());
        self.until(&format!("{fault:?} as {words:?}"), left, |picture, now| {
            let screen = screen(picture, now);
            words.iter().all(|word| screen.contains(word)).then_some(())
        });
        println!("{fault:?}: visible after {:.1} s", start.elapsed().as_secs_f64());
    }

    fn roll_back(&mut self) {
        let picture = self.link.snapshot().expect("a picture");
        let route = picture.services[0].route.as_ref().expect("checkout has a route");
        let reply = self.link.submit(&Submission {
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
        });
        assert!(matches!(reply, Ok(Reply::Accepted { .. })), "{reply:?}");
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

#[test]
fn canary_errors_are_visible() {
    Watched::start().shows(Fault::CanaryErrors, &["▲ DEGRADED checkout", "HighErrorRate"]);
}

#[test]
fn a_slow_canary_is_visible() {
    Watched::start().shows(Fault::CanaryLatency, &["▲ DEGRADED checkout", "HighLatency"]);
}

#[test]
fn a_database_that_is_down_is_visible() {
    Watched::start().shows(Fault::DatabaseDown, &["■ DOWN     payments", "DatabaseDown"]);
}

#[test]
fn a_feed_that_is_down_is_visible() {
    Watched::start().shows(Fault::FeedDown, &["alerts feed: silent for", "alerts feed failing"]);
}

#[test]
fn a_router_that_hangs_is_visible() {
    Watched::start().shows(Fault::RouterHangs, &["checkout/proxy router failing", "UNVERIFIED"]);
}

/// Until it is asked for something, a liar says nothing wrong: an operator asks at once.
#[test]
fn a_router_that_lies_is_visible() {
    let mut watched = Watched::start();
    watched.fleet.set_fault(Fault::RouterLies, true);
    let start = Instant::now();
    watched.roll_back();
    let words = ["accepted, but shows 10 %", "APPLYING 0/1", "CHANGING"];
    watched.shows_since(start, Fault::RouterLies, &words);
}
