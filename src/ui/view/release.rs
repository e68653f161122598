//! The release of the selected service: both arms side by side, the route, the operation.
//!
//! Decides how much of it fits. Never draws a split that was not read back, and never a step of an
//! operation as done before it was proven.

use std::cmp::Ordering;

use engine::record::OperationResult;
use engine::snapshot::{
    ArmView, OperationView, Phase, RouteView, RouterView, ServiceView, Snapshot,
};
use engine::types::{Freshness, Status};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::{Scene, cell, frame, number, put};
use crate::ui::theme::Role;
use crate::ui::{Panel, words};

/// Arm, version and the eight figures, each with a space after it.
const FIGURES_WIDTH: usize = 8 + 9 + 8 * 8;
/// Longest history of errors; with less room its newest part shows.
const HISTORY_WIDTH: usize = 16;

pub fn draw(buffer: &mut Buffer, at: Rect, scene: Scene<'_>, picture: &Snapshot) {
    let name = scene.ui.service.as_deref().unwrap_or("–");
    let inside = frame(buffer, at, scene, Panel::Release, name);
    let service = picture.services.iter().find(|service| service.name == name);
    let Some(service) = service else {
        let text = " no service is selected";
        return put(buffer, inside, 0, Line::styled(text, scene.theme.style(Role::Dim)));
    };
    let mut lines = Vec::new();
    match &service.route {
        None => {
            lines
                .push(Line::styled("only watched: it has no router", scene.theme.style(Role::Dim)));
        }
        Some(route) => lines.push(route_line(route, scene)),
    }
    // An operation that moves, or that ended badly, is what people look for first.
    let urgent = service
        .operation
        .as_ref()
        .is_some_and(|operation| operation.phase != Phase::Ended(OperationResult::Verified));
    let progress = progress(service, scene);
    if urgent || scene.ui.requested.contains_key(&service.name) {
        lines.extend(progress);
        lines.extend(arms(service, inside.width, scene));
    } else {
        lines.extend(arms(service, inside.width, scene));
        lines.extend(progress);
    }
    if let Some(route) = &service.route {
        lines.extend(route.routers.iter().map(|router| router_line(router, route, scene)));
    }
    for (row, line) in (0..inside.height).zip(lines) {
        put(buffer, inside, row, line);
    }
}

fn route_line(route: &RouteView, scene: Scene<'_>) -> Line<'static> {
    let theme = scene.theme;
    let set = route.set.map_or("nothing set".to_owned(), |set| format!("set {set} to canary"));
    Line::from(vec![
        Span::styled("route ", theme.style(Role::Dim)),
        Span::styled(route.state.word(), theme.style(Role::of_route(route.state))),
        Span::styled(format!("  {set}"), theme.style(Role::Text)),
        Span::styled(format!("  fence {}", route.fence), theme.style(Role::Dim)),
    ])
}

/// Stable and canary, one row each, with set, router and traffic share.
fn arms(service: &ServiceView, width: u16, scene: Scene<'_>) -> Vec<Line<'static>> {
    let theme = scene.theme;
    let dim = theme.style(Role::Dim);
    let mut lines = Vec::new();
    let mut spans = vec![cell("arm", 7, dim), cell("version", 8, dim)];
    for name in ["set", "router", "traffic", "req/s", "errors", "p50", "p95", "p99"] {
        spans.push(number(name, 7, dim));
    }
    let room = usize::from(width).saturating_sub(FIGURES_WIDTH).min(HISTORY_WIDTH);
    let name = if room < HISTORY_WIDTH { "history" } else { "errors over time" };
    spans.push(Span::styled(words::clip(name, room), dim));
    lines.push(Line::from(spans));
    let empty = ArmView::default();
    let signals = service.signals.as_ref();
    let old = signals.is_none_or(|signals| {
        signals
            .observed
            .is_none_or(|at| Freshness::of(at.age(scene.now), signals.interval) == Freshness::Stale)
    });
    let route = service.route.as_ref();
    let set = route.and_then(|route| route.set).map(|set| f64::from(set.get()));
    let router = route.and_then(read_share);
    let traffic = route.and_then(|route| route.traffic);
    let (stable, canary) = signals.map_or((&empty, &empty), |it| (&it.stable, &it.canary));
    let rest = |share: Option<f64>| share.map(|share| 100.0 - share);
    lines.push(arm("stable", stable, [rest(set), rest(router), rest(traffic)], (old, room), scene));
    lines.push(arm("canary", canary, [set, router, traffic], (old, room), scene));
    if let Some(signals) = signals {
        let age = words::age_of(signals.observed, scene.now);
        let window = words::age(signals.window);
        let mut text = format!("counts over {window}, {age} old");
        if old {
            text = format!("{} {text}: no data", theme.pick("░ STALE", "STALE"));
        }
        if !signals.error.is_empty() {
            text = format!("{text}: {}", signals.error);
        }
        lines.push(Line::styled(text, theme.style(if old { Role::Stale } else { Role::Dim })));
    }
    lines
}

/// What the routers showed when read, if they agree.
pub fn read_share(route: &RouteView) -> Option<f64> {
    let mut read = route.routers.iter().map(|router| router.canary);
    let first = read.next()??;
    read.all(|other| other.is_some_and(|other| (other - first).abs() < 0.5)).then_some(first)
}

fn arm(
    name: &str,
    view: &ArmView,
    shares: [Option<f64>; 3],
    (old, room): (bool, usize),
    scene: Scene<'_>,
) -> Line<'static> {
    let theme = scene.theme;
    let text = theme.style(Role::Text);
    let figure = theme.style(if old { Role::Stale } else { Role::Text });
    let mut spans = vec![cell(name, 7, theme.style(Role::Strong)), cell(&view.version, 8, text)];
    let [set, router, traffic] = shares;
    let short =
        |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.0} %"));
    spans.push(number(&short(set), 7, text));
    spans.push(number(&short(router), 7, text));
    spans.push(number(&words::percent(traffic), 7, figure));
    let rate = view.requests_per_s.map_or("–".to_owned(), |rate| format!("{rate:.1}"));
    spans.push(number(&rate, 7, figure));
    let bad = view.error_percent.is_some_and(|percent| percent >= 1.0) && !old;
    let errors = theme.style(if bad { Role::Down } else { Role::Text });
    let errors = if old { figure } else { errors };
    spans.push(number(&words::percent(view.error_percent), 7, errors));
    let p50 = view.latency_p50_ms.or(view.latency_avg_ms);
    for value in [p50, view.latency_p95_ms, view.latency_p99_ms] {
        spans.push(number(&words::millis(value), 7, figure));
    }
    let (steps, none) = theme.spark();
    spans.push(Span::styled(
        words::spark(&view.error_history, room, steps, none),
        theme.style(if bad { Role::Down } else { Role::Dim }),
    ));
    Line::from(spans)
}

fn router_line(router: &RouterView, route: &RouteView, scene: Scene<'_>) -> Line<'static> {
    let theme = scene.theme;
    let read = router.canary.map_or("not read".to_owned(), |canary| format!("{canary:.0} %"));
    let wanted = route.set.map(|set| f64::from(set.get()));
    let equal = match (router.canary, wanted) {
        (Some(read), Some(wanted)) => (read - wanted).abs() < 0.5,
        _ => false,
    };
    let old = router
        .read
        .is_none_or(|at| Freshness::of(at.age(scene.now), router.reread) == Freshness::Stale);
    let role = match (equal, old) {
        (true, false) => Role::Text,
        (_, true) => Role::Stale,
        (false, false) => Role::Degraded,
    };
    let mut spans = vec![
        cell(&format!("router {}", router.name), 18, theme.style(Role::Text)),
        cell(&router.kind, 8, theme.style(Role::Dim)),
        number(&read, 8, theme.style(role)),
        Span::styled(
            format!("read {} ago ", words::age_of(router.read, scene.now)),
            theme.style(Role::Dim),
        ),
    ];
    if !router.error.is_empty() {
        spans.push(Span::styled(router.error.display().to_owned(), theme.style(Role::Down)));
    } else if old {
        spans.push(Span::styled(
            theme.pick("░ STALE", "[..] STALE"),
            theme.style(Role::of_status(Status::Stale)),
        ));
    } else {
        spans.push(Span::styled(router.note.display().to_owned(), theme.style(Role::Dim)));
    }
    Line::from(spans)
}

/// REQUESTED → ACCEPTED → APPLYING n/m → VERIFIED, and one line for each router.
fn progress(service: &ServiceView, scene: Scene<'_>) -> Vec<Line<'static>> {
    let theme = scene.theme;
    let mut lines = Vec::new();
    if let Some(requested) = scene.ui.requested.get(&service.name) {
        let (text, role) = match &requested.answer {
            None => (
                format!(
                    "{} REQUESTED {} ago",
                    requested.verb,
                    words::age(requested.at.age(scene.clock))
                ),
                Role::Strong,
            ),
            Some(Ok(_)) => (format!("{} ACCEPTED", requested.verb), Role::Strong),
            Some(Err(why)) => (format!("{} {why}", requested.verb), Role::Down),
        };
        lines.push(Line::styled(text, theme.style(role)));
    }
    let Some(operation) = &service.operation else { return lines };
    lines.push(operation_line(operation, scene));
    lines.push(steps(operation, scene));
    if !operation.sentence.is_empty() {
        lines.push(Line::styled(operation.sentence.display().to_owned(), theme.style(Role::Text)));
    }
    if operation.phase == Phase::Ended(OperationResult::Verified) {
        return lines;
    }
    for router in &operation.routers {
        let proven = router.proven.map(|at| words::age(at.age(scene.now)));
        let word = match (&proven, router.sent) {
            (Some(age), _) => format!("proven {age} ago"),
            (None, Some(_)) => format!("sent, {} tries", router.tries),
            (None, None) => "waiting".to_owned(),
        };
        lines.push(Line::from(vec![
            cell(&format!("  {}", router.router), 18, theme.style(Role::Text)),
            cell(&word, 16, theme.style(Role::Text)),
            Span::styled(router.answer.display().to_owned(), theme.style(Role::Dim)),
        ]));
    }
    if matches!(operation.phase, Phase::Ended(_)) {
        let manual = operation.manual.iter();
        lines.extend(manual.map(|text| {
            Line::from(vec![
                Span::styled("  by hand: ", theme.style(Role::Dim)),
                Span::styled(text.clone(), theme.style(Role::Strong)),
            ])
        }));
    }
    lines
}

fn operation_line(operation: &OperationView, scene: Scene<'_>) -> Line<'static> {
    let theme = scene.theme;
    let from = operation.from.map_or("?".to_owned(), |from| from.to_string());
    let arrow = theme.pick("→", "->");
    let mut text = format!(
        "{} {from} {arrow} {} by {}, {} ago",
        operation.verb,
        operation.to,
        operation.user,
        words::age(operation.requested.age(scene.now))
    );
    if !operation.reason.is_empty() {
        text = format!("{text}: {}", operation.reason);
    }
    Line::styled(text, theme.style(Role::Strong))
}

fn steps(operation: &OperationView, scene: Scene<'_>) -> Line<'static> {
    let theme = scene.theme;
    let proven = operation.routers.iter().filter(|router| router.proven.is_some()).count();
    let (reached, end, end_role) = match operation.phase {
        Phase::Accepted => (1, "VERIFIED", Role::Dim),
        Phase::Applying | Phase::Recording => (2, "VERIFIED", Role::Dim),
        Phase::Ended(result) => {
            let role = match result {
                OperationResult::Verified => Role::Up,
                OperationResult::Superseded => Role::Dim,
                OperationResult::Partial | OperationResult::Unknown => Role::Degraded,
                OperationResult::Refused => Role::Down,
            };
            (3, result.word(), role)
        }
    };
    let applying = format!("APPLYING {proven}/{}", operation.routers.len());
    let arrow = theme.pick(" → ", " -> ");
    let mut spans = Vec::new();
    for (place, word) in ["REQUESTED", "ACCEPTED", &applying].into_iter().enumerate() {
        let role = match place.cmp(&reached) {
            Ordering::Equal => Role::Strong,
            Ordering::Less => Role::Text,
            Ordering::Greater => Role::Dim,
        };
        spans.push(Span::styled(word.to_owned(), theme.style(role)));
        spans.push(Span::styled(arrow, theme.style(Role::Dim)));
    }
    spans.push(Span::styled(end, theme.style(end_role)));
    if operation.phase == Phase::Ended(OperationResult::Unknown) {
        spans.push(Span::styled("  do not retry; v verifies", theme.style(Role::Strong)));
    }
    Line::from(spans)
}
