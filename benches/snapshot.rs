//! What a snapshot costs: taking readings, building its sections, drawing it.
//!
//! Decides nothing: it prints medians and their ratios, since an absolute time says more about the
//! machine. Contract: the cost for each probe and each alert stays about the same from row to row,
//! so that the total grows linearly; `cargo bench --bench snapshot` prints the table.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use engine::reading::{Alert, AlertState, FeedReading, Observation};
use engine::settings::{Environment, Feed, Probe, Service, Settings};
use engine::snapshot::Snapshot;
use engine::types::{Fence, Now, ProbeId, ServiceId, Severity, Status, Time, Untrusted};
use engine::{Effect, Engine, Input};
use quarterdeck::ui::theme::{Depth, Symbols, Theme};
use quarterdeck::ui::{Ui, view};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// Odd, so that the median is one of them.
const ROUNDS: usize = 21;
const PROBES: [u32; 4] = [10, 100, 1_000, 10_000];
const ALERTS: [u32; 3] = [100, 1_000, 10_000];
const PROBES_PER_SERVICE: u32 = 5;
const INTERVAL: Duration = Duration::from_secs(5);
const SCREEN: Rect = Rect { x: 0, y: 0, width: 200, height: 60 };

struct Bench {
    engine: Engine,
    now: Now,
    effects: Vec<Effect>,
    alerts: u32,
}

/// Medians of one size, and the longest frame.
struct Costs {
    take: Duration,
    build: Duration,
    draw: Duration,
    longest: Duration,
}

fn settings(probes: u32, feeds: u32) -> Settings {
    let environment =
        Environment { name: "bench".into(), timezone: "UTC".into(), band: "ok".into() };
    let services = (0..probes.div_ceil(PROBES_PER_SERVICE)).map(|place| Service {
        name: format!("service{place}"),
        alias: format!("s{place}"),
        probes: (place * PROBES_PER_SERVICE..probes.min((place + 1) * PROBES_PER_SERVICE))
            .map(ProbeId)
            .collect(),
        ..Service::default()
    });
    let probes = (0..probes).map(|place| Probe {
        service: ServiceId(place / PROBES_PER_SERVICE),
        name: format!("probe{place}"),
        interval: INTERVAL,
        timeout: Duration::from_secs(1),
        degraded_above: None,
        unhealthy_above: None,
        rise: 1,
        fall: 1,
    });
    let feeds = (0..feeds).map(|place| Feed {
        name: format!("feed{place}"),
        kind: "json".into(),
        interval: INTERVAL,
        can_acknowledge: false,
        can_escalate: false,
    });
    Settings {
        environment,
        services: services.collect(),
        probes: probes.collect(),
        feeds: feeds.collect(),
        ..Settings::default()
    }
}

fn alert(place: u32) -> Alert {
    Alert {
        fingerprint: format!("fingerprint{place}"),
        name: Untrusted::new("HighErrorRate"),
        severity: if place.is_multiple_of(3) { Severity::Critical } else { Severity::Low },
        state: AlertState::Triggered,
        summary: Untrusted::new(&format!("{place} requests of a thousand fail")),
        labels: BTreeMap::from([(Untrusted::new("service"), Untrusted::new("checkout"))]),
        started_at: Some(chrono::DateTime::UNIX_EPOCH + chrono::TimeDelta::seconds(place.into())),
        links: Vec::new(),
    }
}

impl Bench {
    fn new(probes: u32, alerts: u32) -> Bench {
        let now = Now { mono: Time(1_000_000), wall: chrono::DateTime::UNIX_EPOCH };
        let mut effects = Vec::new();
        let settings = settings(probes, u32::from(alerts > 0));
        let engine = Engine::recover(settings, "bench", 1, &[], Fence(0), now, &mut effects);
        Bench { engine, now, effects, alerts }
    }

    /// One interval later: the answers that have come by then.
    fn answers(&mut self) -> Vec<Input> {
        self.now.mono = self.now.mono + INTERVAL * 2;
        self.now.wall += INTERVAL * 2;
        self.engine.handle_deadline(self.now, &mut self.effects);
        let mut answers = Vec::new();
        for effect in self.effects.drain(..) {
            match effect {
                Effect::Probe { id, probe } => {
                    let observation = Observation {
                        status: Status::Up,
                        latency: Some(Duration::from_millis(12)),
                        message: Untrusted::default(),
                        certificate_expires: None,
                        clock_ahead_s: None,
                    };
                    answers.push(Input::Probed { id, probe, observation });
                }
                Effect::ReadFeed { id, feed } => {
                    let alerts = (0..self.alerts).map(alert).collect();
                    let result = Ok(FeedReading { alerts, ..FeedReading::default() });
                    answers.push(Input::FeedRead { id, feed, result });
                }
                Effect::Append { id, .. } => {
                    answers.push(Input::Appended { id, result: engine::Appended::Durable });
                }
                Effect::ReadHost { .. }
                | Effect::Measure { .. }
                | Effect::SetSplit { .. }
                | Effect::ReadSplit { .. }
                | Effect::Acknowledge { .. }
                | Effect::Notify { .. }
                | Effect::Escalate { .. }
                | Effect::Task { .. }
                | Effect::Answer(_) => panic!("nobody asks for this here: {effect:?}"),
            }
        }
        answers
    }

    fn measure(mut self) -> Costs {
        let theme = Theme::named("dark", Depth::True, Symbols::Unicode).expect("it is embedded");
        let ui = Ui::new(true, None);
        let (mut takes, mut builds, mut draws) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let answers = self.answers();
            assert!(!answers.is_empty(), "an interval brings answers");
            takes.push(time(|| {
                for input in answers {
                    self.engine.handle(self.now, input, &mut self.effects);
                }
            }));
            let mut snapshot: Option<Snapshot> = None;
            builds.push(time(|| snapshot = Some(self.engine.snapshot())));
            let mut buffer = Buffer::empty(SCREEN);
            draws.push(time(|| {
                view::draw_in(&mut buffer, SCREEN, snapshot.as_ref(), &ui, &theme, self.now);
            }));
            black_box((&snapshot, &buffer));
        }
        let longest = draws.iter().copied().max().unwrap_or_default();
        Costs { take: median(takes), build: median(builds), draw: median(draws), longest }
    }
}

fn time(work: impl FnOnce()) -> Duration {
    let begin = Instant::now();
    work();
    begin.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// One line for each size; behind each time, how it grew against the line before.
fn table(what: &str, sizes: &[u32], bench: impl Fn(u32) -> Bench) {
    let heads = ["take readings", "build snapshot", "draw 200x60", "longest frame"];
    println!("{what:>8} {:>20} {:>20} {:>20} {:>14}", heads[0], heads[1], heads[2], heads[3]);
    let mut before: Option<Costs> = None;
    for &size in sizes {
        let costs = bench(size).measure();
        let cell = |pick: fn(&Costs) -> Duration| {
            let own = pick(&costs);
            let grown =
                before.as_ref().map(|before| own.as_secs_f64() / pick(before).as_secs_f64());
            let grown = grown.map_or_else(String::new, |grown| format!(" x{grown:.1}"));
            format!("{own:.1?}{grown}")
        };
        let (take, build, draw) = (cell(|c| c.take), cell(|c| c.build), cell(|c| c.draw));
        let longest = format!("{:.1?}", costs.longest);
        println!("{size:>8} {take:>20} {build:>20} {draw:>20} {longest:>14}");
        before = Some(costs);
    }
}

fn main() {
    println!("medians of {ROUNDS}; each size is ten times the one before: linear is x10 or less\n");
    table("probes", &PROBES, |probes| Bench::new(probes, 0));
    println!();
    table("alerts", &ALERTS, |alerts| Bench::new(0, alerts));
    println!("\nthe same alerts beside 1,000 probes");
    table("alerts", &ALERTS[2..], |alerts| Bench::new(1_000, alerts));
}
