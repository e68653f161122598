//! What a frame and an engine cost, as ratios and counts: absolute times are the machine's.

use std::hint::black_box;
use std::time::Duration;

use engine::reading::{Alert, FeedReading, HostReading, Observation};
use engine::settings::{Feed, Host, Probe, Service, Settings};
use engine::types::{ProbeId, ServiceId, Time};
use engine::{Appended, Effect, Engine, Input};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::{Paragraph, Widget};

use super::*;

/// The shortest of these is what the work itself takes, on a busy machine too.
const ROUNDS: usize = 30;

/// CPU time, so that others on the machine do not count.
fn shortest(mut work: impl FnMut()) -> Duration {
    let cpu = || {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::new(
            u64::try_from(now.tv_sec).unwrap_or(0),
            u32::try_from(now.tv_nsec).unwrap_or(0),
        )
    };
    let time = |_| {
        let begin = cpu();
        work();
        cpu().saturating_sub(begin)
    };
    (0..ROUNDS).map(time).min().unwrap_or_default()
}

#[test]
fn a_frame_costs_few_bare_ones() {
    let picture = sample();
    let (ui, theme) = (ui(&picture), theme(Symbols::Unicode));
    for (width, height) in [(80, 24), (200, 60)] {
        let area = Rect::new(0, 0, width, height);
        // A screen full of plain text, and the comparison with the one before.
        let text: Vec<Line<'_>> =
            (0..height).map(|_| Line::raw("x".repeat(width.into()))).collect();
        let (mut before, mut buffer) = (Buffer::empty(area), Buffer::empty(area));
        let bare = shortest(|| {
            buffer.reset();
            Paragraph::new(text.clone()).render(area, &mut buffer);
            black_box(before.diff(&buffer));
        });
        before.reset();
        let own = shortest(|| {
            buffer.reset();
            view::draw_in(&mut buffer, area, Some(&picture), &ui, &theme, now());
            black_box(before.diff(&buffer));
        });
        let ratio = own.as_secs_f64() / bare.as_secs_f64();
        assert!(ratio < 8.0, "{width}x{height}: {own:?} is {ratio:.1} times {bare:?}");
    }
}

fn engine(probes: u32, hosts: usize, feeds: usize) -> (Engine, Vec<Effect>) {
    let settings = Settings {
        services: vec![Service {
            name: "shop".to_owned(),
            alias: "shp".to_owned(),
            probes: (0..probes).map(ProbeId).collect(),
            ..Service::default()
        }],
        probes: (0..probes)
            .map(|place| Probe {
                service: ServiceId(0),
                name: format!("probe{place}"),
                interval: Duration::from_secs(5),
                timeout: Duration::from_secs(1),
                degraded_above: None,
                unhealthy_above: None,
                rise: 1,
                fall: 1,
            })
            .collect(),
        hosts: (0..hosts)
            .map(|_| Host { name: "here".to_owned(), interval: Duration::from_secs(1) })
            .collect(),
        feeds: (0..feeds)
            .map(|_| Feed {
                name: "alerts".to_owned(),
                kind: "json".to_owned(),
                interval: Duration::from_secs(10),
                can_acknowledge: false,
                can_escalate: false,
            })
            .collect(),
        ..Settings::default()
    };
    let mut effects = Vec::new();
    let engine = Engine::recover(settings, "test", 1, &[], Fence(0), now(), &mut effects);
    (engine, effects)
}

/// What is asked for, answered at once: well, and with so many alerts.
fn answers(effects: &mut Vec<Effect>, alerts: u32) -> Vec<Input> {
    let answer = |effect| match effect {
        Effect::Probe { id, probe } => {
            let observation = Observation {
                status: Status::Up,
                latency: Some(Duration::from_millis(12)),
                message: Untrusted::default(),
                certificate_expires: None,
                clock_ahead_s: None,
            };
            Input::Probed { id, probe, observation }
        }
        Effect::ReadHost { id, host } => {
            Input::HostRead { id, host, result: Ok(HostReading::default()) }
        }
        Effect::ReadFeed { id, feed } => {
            let alerts = (0..alerts).map(alert).collect();
            Input::FeedRead { id, feed, result: Ok(FeedReading { alerts, ..Default::default() }) }
        }
        Effect::Append { id, .. } => Input::Appended { id, result: Appended::Durable },
        other => panic!("nobody asks for this here: {other:?}"),
    };
    effects.drain(..).map(answer).collect()
}

fn alert(place: u32) -> Alert {
    Alert {
        fingerprint: place.to_string(),
        name: Untrusted::new("HighErrorRate"),
        severity: Severity::Low,
        state: AlertState::Triggered,
        summary: Untrusted::new("requests fail"),
        labels: std::collections::BTreeMap::new(),
        started_at: None,
        links: Vec::new(),
    }
}

fn later(at: Now, span: Duration) -> Now {
    Now { mono: at.mono + span, wall: at.wall + span }
}

#[test]
fn an_engine_wakes_for_what_is_due_and_for_nothing_else() {
    let (mut engine, mut effects) = engine(10, 1, 0);
    let begin = now();
    let (mut at, mut woken) = (begin, 0);
    let end: Time = begin.mono + Duration::from_mins(1);
    loop {
        for input in answers(&mut effects, 0) {
            engine.handle(at, input, &mut effects);
        }
        let Some((due, _)) = engine.next_deadline().filter(|(due, _)| *due < end) else { break };
        woken += usize::from(due > at.mono);
        at = later(begin, due.since(begin.mono).max(at.mono.since(begin.mono)));
        engine.handle_deadline(at, &mut effects);
    }
    // Ten probes every 5 s and a host every second are 180 questions, give or take the jitter.
    assert!((120..=220).contains(&woken), "{woken} in a minute");
}

#[test]
fn ten_times_the_alerts_cost_about_ten_times_as_much() {
    let cost = |alerts: u32| {
        let (mut engine, mut effects) = engine(0, 0, 1);
        let mut at = now();
        shortest(|| {
            at = later(at, Duration::from_secs(20));
            engine.handle_deadline(at, &mut effects);
            for input in answers(&mut effects, alerts) {
                engine.handle(at, input, &mut effects);
            }
            black_box(engine.snapshot());
        })
    };
    let (few, many) = (cost(500), cost(5_000));
    let ratio = many.as_secs_f64() / few.as_secs_f64();
    assert!(ratio < 30.0, "{many:?} is {ratio:.1} times {few:?}");
}
