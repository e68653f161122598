//! The release of the selected service: both arms side by side, the route, the operation.
//!
//! Decides how much of it fits. Never draws a split that was not read back, and never a step of an
//! operation as done before it was proven.

use std::cmp::Ordering;

use engine::record::OperationResult;
use engine::snapshot::{
    ArmView, OperationView, Phase, RouteView, RouterProgress, RouterView, ServiceView, SignalsView,
    Snapshot,
};
use engine::types::{Freshness, Status};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::{Scene, cell, frame, number, put};
use crate::ui::theme::Role;
use crate::ui::{Panel, words};

/// The arm's name and the space after it.
const NAME: usize = 8;
/// A version and the space after it.
const VERSION: usize = 9;
/// A figure and the space after it.
const FIGURE: usize = 8;
/// Longest history of errors; with less room its newest part shows.
const HISTORY_MAX: usize = 16;
/// A table needs the route, a heading, and both arms.
const TABLE_HEIGHT_MIN: u16 = 4;
/// Below this the steps of an operation don't fit on one line, with their widest words.
const STEPS_WIDTH: u16 = 52;
/// From here on a share of errors is drawn as trouble.
const BAD_PERCENT: f64 = 1.0;
/// A shorter history says nothing.
const HISTORY_MIN: usize = 4;

/// The figures of an arm, as they stand from left to right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Figure {
    Set,
    Router,
    Traffic,
    Rate,
    Errors,
    P50,
    P95,
    P99,
}

impl Figure {
    const ALL: [Figure; 8] = [
        Figure::Set,
        Figure::Router,
        Figure::Traffic,
        Figure::Rate,
        Figure::Errors,
        Figure::P50,
        Figure::P95,
        Figure::P99,
    ];

    fn name(self) -> &'static str {
        match self {
            Figure::Set => "set",
            Figure::Router => "router",
            Figure::Traffic => "traffic",
            Figure::Rate => "req/s",
            Figure::Errors => "errors",
            Figure::P50 => "p50",
            Figure::P95 => "p95",
            Figure::P99 => "p99",
        }
    }
}

/// The columns that fit; a figure is shown whole or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Columns {
    version: bool,
    figures: Vec<Figure>,
    history: usize,
}

impl Columns {
    /// What is proven and how it fares come first. `percentiles`: the source gives more than an
    /// average, which stands in the column of the median.
    fn of(width: u16, percentiles: bool) -> Columns {
        let mut left = usize::from(width).saturating_sub(NAME);
        let latency = if percentiles { Figure::P95 } else { Figure::P50 };
        let other = if percentiles { Figure::P50 } else { Figure::P95 };
        let wanted = [
            Some(Figure::Router),
            Some(Figure::Errors),
            Some(latency),
            None,
            Some(Figure::Traffic),
            Some(Figure::Rate),
            Some(Figure::Set),
            Some(Figure::P99),
            Some(other),
        ];
        let mut columns = Columns { version: false, figures: Vec::new(), history: 0 };
        for one in wanted {
            let wide = one.map_or(VERSION, |_| FIGURE);
            // The last space may fall off.
            if left + 1 < wide {
                break;
            }
            left = left.saturating_sub(wide);
            match one {
                Some(figure) => columns.figures.push(figure),
                None => columns.version = true,
            }
        }
        let whole = columns.figures.len() == Figure::ALL.len();
        columns.history = if whole && left >= HISTORY_MIN { left.min(HISTORY_MAX) } else { 0 };
        columns.figures.sort_by_key(|figure| *figure as usize);
        columns
    }
}

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
        Some(route) => lines.push(route_line(route, inside.width, scene)),
    }
    // An operation that moves, or that ended badly, is what people look for first.
    let urgent = service
        .operation
        .as_ref()
        .is_some_and(|operation| operation.phase != Phase::Ended(OperationResult::Verified));
    let progress = progress(service, inside.width, scene);
    if inside.height < TABLE_HEIGHT_MIN {
        let requested = scene.ui.requested.contains_key(&service.name);
        let urgent = urgent || requested;
        lines.truncate(usize::from(!urgent));
        // What was just asked, else how far the operation is.
        let place = usize::from(!requested);
        lines.extend(progress.into_iter().filter(|_| urgent).nth(place));
        lines.push(short_canary(service, scene));
    } else if urgent || scene.ui.requested.contains_key(&service.name) {
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

fn route_line(route: &RouteView, width: u16, scene: Scene<'_>) -> Line<'static> {
    let theme = scene.theme;
    let set = match route.set {
        Some(set) => format!("set {set} to canary"),
        None => "nothing was set yet".to_owned(),
    };
    let mut line = Line::from(vec![
        Span::styled("route ", theme.style(Role::Dim)),
        Span::styled(route.state.word(), theme.style(Role::of_route(route.state))),
        Span::styled(format!("  {set}"), theme.style(Role::Text)),
    ]);
    let fence = Span::styled(format!("  fence {}", route.fence), theme.style(Role::Dim));
    if route.fence.0 > 0 && line.width() + fence.width() <= usize::from(width) {
        line.push_span(fence);
    }
    line
}

/// The canary in one line, where a table has no room.
fn short_canary(service: &ServiceView, scene: Scene<'_>) -> Line<'static> {
    let theme = scene.theme;
    let read = service.route.as_ref().and_then(read_share);
    let read = read.map_or("–".to_owned(), |read| format!("{read:.0} %"));
    let mut spans = vec![
        Span::styled("canary ", theme.style(Role::Dim)),
        Span::styled(read, theme.style(Role::Strong)),
    ];
    let Some(signals) = &service.signals else { return Line::from(spans) };
    let old = is_old(Some(signals), scene);
    let canary = &signals.canary;
    let figure = if old { Role::Stale } else { Role::Text };
    let bad = canary.error_percent.is_some_and(|percent| percent >= BAD_PERCENT) && !old;
    let errors = theme.style(if bad { Role::Down } else { figure });
    spans.push(Span::styled("  errors ", theme.style(Role::Dim)));
    spans.push(Span::styled(words::percent(canary.error_percent), errors));
    let slow = canary.latency_p95_ms.or(canary.latency_p50_ms).or(canary.latency_avg_ms);
    spans.push(Span::styled(format!("  {}", words::millis(slow)), theme.style(figure)));
    if old {
        spans.push(Span::styled("  STALE", theme.style(Role::Stale)));
    }
    Line::from(spans)
}

fn is_old(signals: Option<&SignalsView>, scene: Scene<'_>) -> bool {
    signals.is_none_or(|signals| {
        signals
            .observed
            .is_none_or(|at| Freshness::of(at.age(scene.now), signals.interval) == Freshness::Stale)
    })
}

/// Stable and canary, one row each, with set, router and traffic share.
fn arms(service: &ServiceView, width: u16, scene: Scene<'_>) -> Vec<Line<'static>> {
    let theme = scene.theme;
    let empty = ArmView::default();
    let signals = service.signals.as_ref();
    let old = is_old(signals, scene);
    let route = service.route.as_ref();
    let set = route.and_then(|route| route.set).map(|set| f64::from(set.get()));
    let router = route.and_then(read_share);
    let traffic = route.and_then(|route| route.traffic);
    let (stable, canary) = signals.map_or((&empty, &empty), |it| (&it.stable, &it.canary));
    let percentiles = signals.is_none()
        || [stable, canary].into_iter().any(|arm| arm.latency_p95_ms.is_some())
        || [stable, canary].into_iter().all(|arm| arm.latency_avg_ms.is_none());
    let columns = Columns::of(width, percentiles);
    let rest = |share: Option<f64>| share.map(|share| 100.0 - share);
    let shares = [rest(set), rest(router), rest(traffic)];
    let mut lines = vec![
        heading(&columns, scene),
        arm("stable", stable, shares, (old, &columns), scene),
        arm("canary", canary, [set, router, traffic], (old, &columns), scene),
    ];
    if let Some(signals) = signals {
        let age = words::age_of(signals.observed, scene.now);
        let window = words::age(signals.window);
        let mut text = format!("counts over {window}, {age} old");
        if old {
            text = format!("{} {text}: no data", theme.pick("░ STALE", "[..] STALE"));
        }
        if !signals.error.is_empty() {
            text = format!("{text}: {}", signals.error);
        }
        lines.push(Line::styled(text, theme.style(if old { Role::Stale } else { Role::Dim })));
    }
    lines
}

fn heading(columns: &Columns, scene: Scene<'_>) -> Line<'static> {
    let dim = scene.theme.style(Role::Dim);
    let mut spans = vec![cell("arm", NAME - 1, dim)];
    if columns.version {
        spans.push(cell("version", VERSION - 1, dim));
    }
    spans.extend(columns.figures.iter().map(|one| number(one.name(), FIGURE - 1, dim)));
    let name = if columns.history < HISTORY_MAX { "history" } else { "errors over time" };
    spans.push(Span::styled(words::clip(name, columns.history), dim));
    Line::from(spans)
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
    [set, router, traffic]: [Option<f64>; 3],
    (old, columns): (bool, &Columns),
    scene: Scene<'_>,
) -> Line<'static> {
    let theme = scene.theme;
    let text = theme.style(Role::Text);
    let figure = theme.style(if old { Role::Stale } else { Role::Text });
    let bad = view.error_percent.is_some_and(|percent| percent >= BAD_PERCENT) && !old;
    let errors = if bad { theme.style(Role::Down) } else { figure };
    let short =
        |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.0} %"));
    let p50 = view.latency_p50_ms.or(view.latency_avg_ms);
    let mut spans = vec![cell(name, NAME - 1, theme.style(Role::Strong))];
    if columns.version {
        spans.push(cell(&view.version, VERSION - 1, text));
    }
    for one in &columns.figures {
        let (value, style) = match one {
            Figure::Set => (short(set), text),
            Figure::Router => (short(router), text),
            Figure::Traffic => (words::percent(traffic), figure),
            Figure::Rate => {
                let rate = view.requests_per_s.map(|rate| format!("{rate:.1}"));
                (rate.unwrap_or("–".to_owned()), figure)
            }
            Figure::Errors => (words::percent(view.error_percent), errors),
            Figure::P50 => (words::millis(p50), figure),
            Figure::P95 => (words::millis(view.latency_p95_ms), figure),
            Figure::P99 => (words::millis(view.latency_p99_ms), figure),
        };
        spans.push(number(&value, FIGURE - 1, style));
    }
    let (steps, none) = theme.spark();
    spans.push(Span::styled(
        words::spark(&view.error_history, columns.history, steps, none),
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
fn progress(service: &ServiceView, width: u16, scene: Scene<'_>) -> Vec<Line<'static>> {
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
    lines.push(steps(operation, width, scene));
    if !operation.sentence.is_empty() {
        lines.push(Line::styled(operation.sentence.display().to_owned(), theme.style(Role::Text)));
    }
    if operation.phase == Phase::Ended(OperationResult::Verified) {
        return lines;
    }
    for router in &operation.routers {
        let proven = router.proven.map(|at| words::age(at.age(scene.now)));
        let (answer, role) = told(router, operation, service);
        let word = match (&proven, router.sent) {
            (Some(age), _) => format!("proven {age} ago"),
            (None, Some(_)) if router.tries == 1 => "sent once".to_owned(),
            (None, Some(_)) => format!("sent {} times", router.tries),
            (None, None) => "waiting".to_owned(),
        };
        lines.push(Line::from(vec![
            cell(&format!("  {}", router.router), 18, theme.style(Role::Text)),
            cell(&word, 16, theme.style(Role::Text)),
            Span::styled(answer, theme.style(role)),
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

/// A router's last word, and what it shows when that is not what it said.
fn told(
    progress: &RouterProgress,
    operation: &OperationView,
    service: &ServiceView,
) -> (String, Role) {
    let answer = progress.answer.display();
    let routers = service.route.iter().flat_map(|route| &route.routers);
    let mut own = routers.filter(|router| router.name == progress.router);
    let Some(router) = own.next().filter(|_| progress.proven.is_none()) else {
        return (answer.to_owned(), Role::Dim);
    };
    if !router.error.is_empty() {
        return (format!("{answer}, cannot be read: {}", router.error), Role::Down);
    }
    let read_after =
        router.read.zip(progress.sent).is_some_and(|(read, sent)| read.mono > sent.mono);
    match router.canary.filter(|_| read_after && !answer.is_empty()) {
        Some(canary) if (canary - f64::from(operation.to.get())).abs() >= 0.5 => {
            (format!("{answer}, but shows {canary:.0} %"), Role::Degraded)
        }
        Some(_) | None => (answer.to_owned(), Role::Dim),
    }
}

fn operation_line(operation: &OperationView, scene: Scene<'_>) -> Line<'static> {
    let theme = scene.theme;
    let way = match operation.from {
        Some(from) => format!("{from} {} {}", theme.pick("→", "->"), operation.to),
        None => format!("to {}", operation.to),
    };
    let mut text = format!(
        "{} {way} by {}, {} ago",
        operation.verb,
        operation.user,
        words::age(operation.requested.age(scene.now))
    );
    if !operation.reason.is_empty() {
        text = format!("{text}: {}", operation.reason);
    }
    Line::styled(text, theme.style(Role::Strong))
}

/// The way of the operation; on a narrow panel only where it stands.
fn steps(operation: &OperationView, width: u16, scene: Scene<'_>) -> Line<'static> {
    let theme = scene.theme;
    let proven = operation.routers.iter().filter(|router| router.proven.is_some()).count();
    let (reached, end, end_role) = match operation.phase {
        // A result is not named before it is one.
        Phase::Accepted => (1, "…", Role::Dim),
        Phase::Applying | Phase::Recording => (2, "…", Role::Dim),
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
    let all = ["REQUESTED", "ACCEPTED", &applying];
    let short = width < STEPS_WIDTH;
    for (place, word) in all.into_iter().enumerate() {
        if short && (place != reached || reached == all.len()) {
            continue;
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_go_one_by_one() {
        let check = |width: u16, expected: &[&str]| {
            let columns = Columns::of(width, true);
            let names: Vec<&str> = columns.figures.iter().map(|one| one.name()).collect();
            assert_eq!(names, expected, "{width}");
        };
        check(38, &["router", "errors", "p95"]);
        check(58, &["router", "traffic", "req/s", "errors", "p95"]);
        check(90, &["set", "router", "traffic", "req/s", "errors", "p50", "p95", "p99"]);
        check(16, &["router"]);
        check(3, &[]);
        assert!(Columns::of(44, true).version);
        assert_eq!(Columns::of(38, false).figures, [Figure::Router, Figure::Errors, Figure::P50]);
    }
}
