//! The guard as it is drawn: what will happen, before it can.
//!
//! Decides what is left out on a small screen: never the verb, the service, the alias or the
//! field that takes the keys. Outside text stands behind a gutter.

use std::time::Duration;

use engine::snapshot::ServiceView;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::release::read_share;
use super::{Scene, overlay, put};
use crate::ui::guard::{DEAD_TIME, Field, Guard, IDLE_MAX};
use crate::ui::keymap::Danger;
use crate::ui::theme::Role;
use crate::ui::words;

const WIDTH: u16 = 78;
/// With less room than this for facts, only the field that takes the keys is drawn.
const FACTS_MIN: usize = 6;
/// Gates that are drawn one by one.
const GATES_MAX: usize = 5;

pub fn draw(buffer: &mut Buffer, area: Rect, scene: Scene<'_>, guard: &Guard) {
    let theme = scene.theme;
    let environment = scene.live.map(|live| &live.head.environment);
    let band = environment.map_or(Role::BandDanger, |it| Role::of_band(&it.band));
    let place = environment.map_or("–".to_owned(), |it| it.name.to_uppercase());
    let title = Line::from(vec![
        Span::styled(format!(" {place} "), theme.style(band)),
        Span::styled(
            format!(" {} {} ", guard.verb.word(), guard.service),
            theme.style(Role::Focus),
        ),
    ]);
    let service = scene
        .live
        .and_then(|live| live.services.iter().find(|service| service.name == guard.service));
    let facts = service.map_or(Vec::new(), |service| facts(service, guard, scene));
    let whole = fields(guard, scene);
    let wanted = u16::try_from(facts.len() + whole.len() + 3).unwrap_or(u16::MAX);
    let inside = overlay(buffer, area, theme, (WIDTH, wanted), title);
    let rows = usize::from(inside.height);
    let fields = if whole.len() + FACTS_MIN > rows { field(guard, scene) } else { whole };
    let below = u16::try_from(fields.len()).unwrap_or(u16::MAX).min(inside.height);
    let above = inside.height - below;
    for (row, line) in (0..above).zip(facts) {
        put(buffer, inside, row, line);
    }
    for (row, line) in (above..inside.height).zip(fields) {
        put(buffer, inside, row, line);
    }
}

fn fact(name: &str, text: String, scene: Scene<'_>) -> Line<'static> {
    Line::from(vec![
        Span::styled(words::fit(name, 7, false) + " ", scene.theme.style(Role::Dim)),
        Span::styled(text, scene.theme.style(Role::Text)),
    ])
}

fn facts(service: &ServiceView, guard: &Guard, scene: Scene<'_>) -> Vec<Line<'static>> {
    let theme = scene.theme;
    let Some(route) = &service.route else { return Vec::new() };
    let arrow = theme.pick("→", "->");
    let gutter = theme.pick("│", "|");
    let to = guard.target().map_or("?".to_owned(), |to| to.to_string());
    let read = read_share(route);
    let shown = read.map_or("routers disagree or were not read".to_owned(), |read| {
        format!("routers show {read:.0} %")
    });
    let change = match (guard.expected.set, read) {
        (Some(from), _) => format!("{from} {arrow} {to}, {shown}"),
        (None, Some(read)) => format!("{read:.0} % (as read) {arrow} {to}"),
        (None, None) => format!("? {arrow} {to}, {shown}"),
    };
    let now = scene.clock;
    let share = match (route.traffic, guard.target()) {
        (None, _) => "not counted: the traffic is unknown".to_owned(),
        (Some(traffic), None) => format!("{traffic:.1} % is on the canary now"),
        (Some(traffic), Some(to)) => {
            let moved = (traffic - f64::from(to.get())).abs();
            format!("about {moved:.1} % of the requests")
        }
    };
    let read_at = route.routers.iter().filter_map(|router| router.read).min_by_key(|at| at.mono);
    let data = format!(
        "{} {}, probed {} ago, routers read {} ago",
        theme.status_symbol(service.status_at(now)),
        service.status_at(now),
        words::age_of(service.observed(), now),
        words::age_of(read_at, now)
    );
    // The first lines are what a small screen shows.
    let mut lines = Vec::new();
    if let Some(moved) = scene.live.and_then(|live| guard.moved(live)) {
        lines.push(Line::styled(moved, theme.style(Role::Banner)));
    }
    lines.push(fact("canary", change, scene));
    lines.extend(against(guard, scene));
    lines.extend([fact("affects", share, scene), fact("data", data, scene)]);
    if let Some(last) = &service.operation {
        let age = words::age(last.requested.age(now));
        let text =
            format!("{gutter} {} by {}, {} ago: {}", last.verb, last.user, age, last.phase.word());
        lines.push(fact("last", text, scene));
        if !last.reason.is_empty() {
            lines.push(fact("", format!("{gutter} {}", last.reason), scene));
        }
    }
    let weights = guard
        .target()
        .map_or("?".to_owned(), |to| format!("stable {}, canary {} %", to.rest().get(), to.get()));
    for (place, router) in route.routers.iter().enumerate() {
        let name = if place == 0 { "sends" } else { "" };
        let text = format!("{gutter} {}: {weights} ({})", router.name, router.kind);
        lines.push(fact(name, text, scene));
    }
    lines.push(fact("final", guard.verb.final_part().to_owned(), scene));
    lines
}

/// What stands against more exposure; part of it is outside text, so all stands behind a gutter.
fn against(guard: &Guard, scene: Scene<'_>) -> Vec<Line<'static>> {
    let theme = scene.theme;
    if !guard.raises() {
        return Vec::new();
    }
    let gutter = theme.pick("│", "|");
    let row = |name: &str, text: String, role| {
        Line::from(vec![
            Span::styled(words::fit(name, 7, false) + " ", theme.style(Role::Degraded)),
            Span::styled(format!("{gutter} {text}"), theme.style(role)),
        ])
    };
    let name = |place: usize| if place == 0 { "AGAINST" } else { "" };
    let mut lines: Vec<Line<'static>> = (0..)
        .zip(guard.against.iter().take(GATES_MAX))
        .map(|(place, gate)| {
            if gate.holds {
                row(name(place), gate.text.clone(), Role::Degraded)
            } else {
                row(name(place), format!("no longer: {}", gate.text), Role::Dim)
            }
        })
        .collect();
    let more = guard.against.len().saturating_sub(GATES_MAX);
    if more > 0 {
        lines.push(row("", format!("and {more} more"), Role::Degraded));
    }
    lines
}

fn fields(guard: &Guard, scene: Scene<'_>) -> Vec<Line<'static>> {
    let theme = scene.theme;
    if let Some(fires) = guard.fires {
        // The second that has begun is counted whole.
        let left = fires.since(scene.clock.mono).as_millis().div_ceil(1000);
        let text = format!(" {} in {left} s ", guard.verb.word());
        return vec![
            Line::styled(text, theme.style(Role::Banner)),
            Line::styled("any key cancels", theme.style(Role::Strong)),
        ];
    }
    let places = 0..guard.fields.len();
    let mut lines: Vec<Line<'static>> = places.map(|place| input(guard, place, scene)).collect();
    lines.extend(remarks(guard, scene));
    lines
}

/// Only the field that takes the keys, with its place among all of them.
fn field(guard: &Guard, scene: Scene<'_>) -> Vec<Line<'static>> {
    if guard.fires.is_some() {
        return fields(guard, scene);
    }
    let mut line = input(guard, guard.at, scene);
    if guard.fields.len() > 1 {
        let place = format!("{}/{} ", guard.at + 1, guard.fields.len());
        line.spans.insert(1, Span::styled(place, scene.theme.style(Role::Dim)));
    }
    std::iter::once(line).chain(remarks(guard, scene)).collect()
}

fn remarks(guard: &Guard, scene: Scene<'_>) -> Vec<Line<'static>> {
    let theme = scene.theme;
    let hint = Line::styled(hint(guard, scene.clock), theme.style(Role::Dim));
    if guard.problem.is_empty() {
        return vec![hint];
    }
    vec![Line::styled(guard.problem.clone(), theme.style(Role::Degraded)), hint]
}

fn input(guard: &Guard, place: usize, scene: Scene<'_>) -> Line<'static> {
    let theme = scene.theme;
    let Some((field, text)) = guard.fields.get(place) else { return Line::default() };
    let here = place == guard.at;
    let cursor = if here { theme.pick("▏", "_") } else { "" };
    let pointer = words::fit(if here { theme.pick("▸", ">") } else { "" }, 2, false);
    let mut spans = vec![Span::styled(pointer, theme.style(Role::Key))];
    match field {
        Field::Alias => {
            let large: String = guard.alias.chars().flat_map(|c| [' ', c]).collect();
            let large = format!("{} ", large.to_uppercase());
            spans.push(Span::styled("type ", theme.style(Role::Text)));
            spans.push(Span::styled(large, theme.style(Role::Alias)));
            spans.push(Span::styled(format!(" ({}) ", guard.alias), theme.style(Role::Dim)));
        }
        Field::Override => {
            let label = format!("{} ", field.label());
            spans.push(Span::styled(label, theme.style(Role::Degraded)));
        }
        Field::Percent | Field::Reason => {
            let label = format!("{} ", field.label());
            spans.push(Span::styled(label, theme.style(Role::Text)));
        }
    }
    spans.push(Span::styled(format!("{text}{cursor}"), theme.style(Role::Input)));
    Line::from(spans)
}

fn hint(guard: &Guard, now: engine::types::Now) -> String {
    if guard.is_dead(now) {
        return "wait: keys are dropped for a moment".to_owned();
    }
    let left = IDLE_MAX.saturating_sub(now.mono.since(guard.last_key)).as_secs();
    let enter = match guard.verb.danger() {
        Danger::Exposure if guard.at + 1 == guard.fields.len() => "Enter starts 5 s",
        Danger::Exposure => "Enter next",
        Danger::None | Danger::Light | Danger::Confirmed | Danger::Safety => "Enter fires",
    };
    format!("{enter}  Esc cancels  {left}s left")
}

/// The small question before an escalation.
pub fn escalate(buffer: &mut Buffer, area: Rect, scene: Scene<'_>, name: &str, open: Duration) {
    let theme = scene.theme;
    let title = Line::styled(" ESCALATE ", theme.style(Role::Focus));
    let inside = overlay(buffer, area, theme, (60, 6), title);
    put(buffer, inside, 0, Line::raw("hand this to the next level, and page them:"));
    put(buffer, inside, 1, Line::raw(format!("{} {name}", theme.pick("│", "|"))));
    let hint = if open < DEAD_TIME {
        "wait: keys are dropped for a moment"
    } else {
        "y sends  Esc cancels"
    };
    put(buffer, inside, 3, Line::styled(hint, theme.style(Role::Dim)));
}
