//! The guard as it is drawn: what will happen, before it can.
//!
//! Decides what is left out on a small screen: never the verb, the service, the alias or the
//! field that takes the keys. Outside text stands behind a gutter.

use std::time::Duration;

use engine::snapshot::{ReleaseView, RouteView, ServiceView, Snapshot};
use engine::types::Percent;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::rollout::state_word;
use super::{Scene, overlay, put, time_of_day, validation};
use crate::ui::guard::{DEAD_TIME, Field, Guard, IDLE_MAX, STOP_SECONDS, Target, Verb, in_flight};
use crate::ui::keymap::Danger;
use crate::ui::theme::Role;
use crate::ui::words;

const WIDTH: u16 = 78;
/// A fact's name and the space after it.
const NAME: usize = 9;
/// Lines of one request; a longer one stands whole in the release panel after it failed.
const SENDS_MAX: usize = 4;
/// Lines of outside text.
const SENTENCE_MAX: usize = 3;
const QUESTION_MAX: usize = 3;
/// Lines of names of plans.
const PLANS_MAX: usize = 3;
/// Past releases that are named.
const VERSIONS_MAX: usize = 3;
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
        Span::styled(format!(" {} {} ", guard.verb.word(), guard.name), theme.style(Role::Focus)),
    ]);
    let facts = facts(guard, scene, usize::from(WIDTH.min(area.width)).saturating_sub(2));
    let whole = fields(guard, scene);
    let wanted = u16::try_from(facts.len() + whole.len() + 3).unwrap_or(u16::MAX);
    let inside = overlay(buffer, area, theme, (WIDTH, wanted), title);
    let rows = usize::from(inside.height);
    let kept = FACTS_MIN.min(facts.len());
    let fields = if whole.len() + kept > rows { field(guard, scene) } else { whole };
    let below = u16::try_from(fields.len()).unwrap_or(u16::MAX).min(inside.height);
    let above = inside.height - below;
    for (row, line) in (0..above).zip(facts) {
        put(buffer, inside, row, line);
    }
    for (row, line) in (above..inside.height).zip(fields) {
        put(buffer, inside, row, line);
    }
}

/// What is known about the target; the first lines are what a small screen shows.
fn facts(guard: &Guard, scene: Scene<'_>, width: usize) -> Vec<Line<'static>> {
    let Some(live) = scene.live else { return Vec::new() };
    let service = live.services.iter().find(|service| service.name == guard.name);
    let mut lines = Vec::new();
    if let Some(moved) = guard.moved(live) {
        lines.push(Line::styled(moved, scene.theme.style(Role::Banner)));
    }
    lines.extend(match (&guard.target, service) {
        (Target::Incident(key), _) => incident(live, key, scene, width),
        (Target::Everything, _) => everything(live, guard.verb, scene),
        (Target::Service, None) => Vec::new(),
        (Target::Service, Some(service)) if guard.verb.moves() => {
            moving(service, guard, scene, width)
        }
        (Target::Service, Some(service)) => standing(service, guard, scene, width),
    });
    lines.push(fact("final", guard.verb.final_part().to_owned(), scene));
    lines
}

fn fact(name: &str, text: String, scene: Scene<'_>) -> Line<'static> {
    Line::from(vec![
        Span::styled(words::fit(name, NAME - 1, false) + " ", scene.theme.style(Role::Dim)),
        Span::styled(text, scene.theme.style(Role::Text)),
    ])
}

/// A fact of several lines; outside text stands behind a gutter.
fn told(name: &str, text: &str, scene: Scene<'_>, width: usize, max: usize) -> Vec<Line<'static>> {
    let gutter = scene.theme.pick("│", "|");
    let rows = words::wrap(text, width.saturating_sub(NAME + 2), max);
    let name = |place: usize| if place == 0 { name } else { "" };
    (0..).zip(rows).map(|(at, row)| fact(name(at), format!("{gutter} {row}"), scene)).collect()
}

/// What a change of the split does.
fn moving(
    service: &ServiceView,
    guard: &Guard,
    scene: Scene<'_>,
    width: usize,
) -> Vec<Line<'static>> {
    let theme = scene.theme;
    let Some(route) = &service.route else { return Vec::new() };
    let arrow = theme.pick("→", "->");
    let now = scene.clock;
    let to = guard.target().map_or("?".to_owned(), |to| to.to_string());
    let read = words::share_of(route, now);
    let shown = match (read.percent, read.old) {
        (None, _) => "routers disagree or were not read".to_owned(),
        (Some(read), None) => format!("routers show {read:.0} %"),
        (Some(read), Some(age)) => format!("routers showed {read:.0} % {} ago", words::age(age)),
    };
    let change = match (guard.expected.and_then(|it| it.set), read.percent) {
        (Some(from), _) => format!("{from} {arrow} {to}, {shown}"),
        (None, Some(read)) => format!("{read:.0} % (as read) {arrow} {to}"),
        (None, None) => format!("? {arrow} {to}, {shown}"),
    };
    let share = match (route.traffic, guard.target()) {
        (None, _) => "not counted: the traffic is unknown".to_owned(),
        (Some(traffic), None) => format!("{traffic:.1} % is on the canary now"),
        (Some(traffic), Some(to)) => {
            let moved = (traffic - f64::from(to.get())).abs();
            format!("about {moved:.1} % of the requests")
        }
    };
    let mut lines = vec![fact("canary", change, scene)];
    lines.extend(against(guard, scene));
    lines.extend(in_flight(service).map(|release| fact("release", headline(release), scene)));
    lines.push(fact("affects", share, scene));
    lines.push(fact("data", data(service, scene), scene));
    lines.extend(last(service, scene));
    lines.extend(sends(route, guard, scene, width));
    lines
}

fn data(service: &ServiceView, scene: Scene<'_>) -> String {
    let now = scene.clock;
    let routers = service.route.iter().flat_map(|route| &route.routers);
    let read_at = routers.filter_map(|router| router.read).min_by_key(|at| at.mono);
    format!(
        "{} {}, probed {} ago, routers read {} ago",
        scene.theme.status_symbol(service.status_at(now)),
        service.status_at(now),
        words::age_of(service.observed(now), now),
        words::age_of(read_at, now)
    )
}

fn last(service: &ServiceView, scene: Scene<'_>) -> Vec<Line<'static>> {
    let Some(last) = &service.operation else { return Vec::new() };
    let gutter = scene.theme.pick("│", "|");
    let age = words::age(last.requested.age(scene.clock));
    let text =
        format!("{gutter} {} by {}, {} ago: {}", last.verb, last.user, age, last.phase.word());
    let mut lines = vec![fact("last", text, scene)];
    if !last.reason.is_empty() {
        lines.push(fact("", format!("{gutter} {}", last.reason), scene));
    }
    lines
}

/// The request to each router, as a person would send it.
fn sends(route: &RouteView, guard: &Guard, scene: Scene<'_>, width: usize) -> Vec<Line<'static>> {
    let to = guard.target();
    let percent = |value: Option<u8>| value.map_or("?".to_owned(), |value| value.to_string());
    let stable = percent(to.map(|to| to.rest().get()));
    let canary = percent(to.map(Percent::get));
    let mut lines = Vec::new();
    for router in &route.routers {
        let name = if lines.is_empty() { "sends" } else { "" };
        let text = if router.manual.is_empty() {
            format!("{}: stable {stable}, canary {canary} % ({})", router.name, router.kind)
        } else {
            let filled = router.manual.replace("{stable}", &stable).replace("{canary}", &canary);
            format!("{}: {filled}", router.name)
        };
        lines.extend(told(name, &text, scene, width, SENDS_MAX));
    }
    lines
}

/// What anything else of a service is decided on.
fn standing(
    service: &ServiceView,
    guard: &Guard,
    scene: Scene<'_>,
    width: usize,
) -> Vec<Line<'static>> {
    let gutter = scene.theme.pick("│", "|");
    let mut lines = Vec::new();
    if let Some(release) = &service.release {
        lines.push(fact("release", headline(release), scene));
        if let Some(question) = &release.question {
            lines.extend(told("asks", &question.text, scene, width, QUESTION_MAX));
        }
        if release.result.is_none() {
            lines.extend(told("", release.sentence.display(), scene, width, SENTENCE_MAX));
        }
    }
    lines.extend(against(guard, scene));
    match guard.verb {
        Verb::Deploy => {
            lines.push(fact("hotfix", hotfix(guard), scene));
            let (_, ready) = service.readiness.summary(scene.clock);
            lines.push(fact("way back", ready, scene));
            lines.extend(service.validation.as_ref().map(|view| validation::line(view, scene)));
            lines.push(fact("data", data(service, scene), scene));
            lines.extend(versions(service, scene));
        }
        Verb::Run => {
            lines.extend(told("plans", &service.plans.join(", "), scene, width, PLANS_MAX));
        }
        Verb::MarkBad | Verb::MarkGood => lines.extend(versions(service, scene)),
        Verb::RuleOff | Verb::RuleOn => {
            for (number, rule) in (1..).zip(&service.triggers) {
                let name = if number == 1 { "rules" } else { "" };
                let text = format!("{number} {} {}", state_word(rule.state), rule.rule);
                lines.push(fact(name, text, scene));
            }
        }
        Verb::Freeze | Verb::Thaw => {
            let freezes = scene.live.map(|live| live.head.freezes.iter());
            for freeze in freezes.into_iter().flatten() {
                let scope = freeze.service.as_deref().unwrap_or("every service");
                let until = time_of_day(scene, freeze.until);
                let text =
                    format!("{gutter} {scope} until {until} by {}: {}", freeze.user, freeze.reason);
                lines.push(fact("frozen", text, scene));
            }
        }
        Verb::Pause
        | Verb::Resume
        | Verb::Yes
        | Verb::No
        | Verb::Rollback
        | Verb::Abort
        | Verb::Promote
        | Verb::Shift
        | Verb::StopTheLine
        | Verb::Assign
        | Verb::Note
        | Verb::Snooze => {}
    }
    lines
}

fn hotfix(guard: &Guard) -> String {
    match guard.version() {
        (_, true) => "YES: over a sick stable; only the objective decides".to_owned(),
        (_, false) => "no; write `1.2.3 hotfix` when stable itself is sick".to_owned(),
    }
}

/// What ran, and what is known to be bad.
fn versions(service: &ServiceView, scene: Scene<'_>) -> Vec<Line<'static>> {
    let now = service.signals.as_ref().map(|signals| {
        let (stable, canary) = (&signals.stable.version, &signals.canary.version);
        fact("now", format!("stable {stable}, canary {canary}"), scene)
    });
    let past = (0..).zip(service.history.iter().take(VERSIONS_MAX)).map(|(place, past)| {
        let bad = if past.bad { " MARKED BAD" } else { "" };
        let text = format!("r{} {} {}{bad}", past.id, past.what(), past.result.word());
        fact(if place == 0 { "before" } else { "" }, text, scene)
    });
    now.into_iter().chain(past).collect()
}

fn everything(live: &Snapshot, verb: Verb, scene: Scene<'_>) -> Vec<Line<'static>> {
    let running = live.services.iter().filter_map(|service| Some((service, in_flight(service)?)));
    let mut lines: Vec<Line<'static>> = running
        .map(|(service, release)| {
            fact("release", format!("{}: {}", service.name, headline(release)), scene)
        })
        .collect();
    if lines.is_empty() {
        lines.push(fact("release", "none is in flight".to_owned(), scene));
    }
    if verb == Verb::StopTheLine {
        let minutes = STOP_SECONDS / 60;
        let text = format!("all are paused; no release for {minutes} min; rollbacks go on");
        lines.push(fact("then", text, scene));
    }
    let gutter = scene.theme.pick("│", "|");
    let own = live.head.freezes.iter().filter(|freeze| freeze.service.is_none());
    lines.extend(own.map(|freeze| {
        let until = time_of_day(scene, freeze.until);
        let text = format!("{gutter} until {until} by {}: {}", freeze.user, freeze.reason);
        fact("stopped", text, scene)
    }));
    lines
}

fn incident(live: &Snapshot, key: &str, scene: Scene<'_>, width: usize) -> Vec<Line<'static>> {
    let Some(incident) = live.incidents.open.iter().find(|one| one.key == key) else {
        return vec![fact("", "it is no longer open".to_owned(), scene)];
    };
    let since = words::age(incident.first_seen.age(scene.clock));
    let text = format!("{} from {}, first seen {since} ago", incident.severity, incident.source);
    let mut lines = vec![fact("alert", text, scene)];
    lines.extend(told("summary", incident.summary.display(), scene, width, SENTENCE_MAX));
    lines
}

/// A release in one line.
fn headline(release: &ReleaseView) -> String {
    let state = match release.result {
        Some(result) => result.word(),
        None => release.state.word(),
    };
    let place = release.canary.as_ref().map(|canary| {
        let percent = canary.steps.get(canary.place as usize);
        percent.map_or(String::new(), |percent| format!(" at {percent}"))
    });
    format!("r{} {} {state}{}", release.id, release.what(), place.unwrap_or_default())
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
            Span::styled(words::fit(name, NAME - 1, false) + " ", theme.style(Role::Degraded)),
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

/// What is wrong with what was typed; last what the keys do now.
pub(super) fn remarks(guard: &Guard, scene: Scene<'_>) -> Vec<Line<'static>> {
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
        Field::Percent
        | Field::Reason
        | Field::Version
        | Field::Rule
        | Field::Plan
        | Field::Span
        | Field::Comment
        | Field::Assignee
        | Field::Note => {
            let empty = if guard.is_optional(*field) { "(may stay empty) " } else { "" };
            let label = format!("{} {empty}", field.label());
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
