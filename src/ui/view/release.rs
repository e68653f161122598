//! The release of the selected service: where it stands, both arms side by side, the route.
//!
//! Decides how much of it fits: each line has a rank, and what matters least goes first. Never
//! draws a split that was not read back lately as one that is so.

use engine::record::OperationResult;
use engine::snapshot::{ArmView, Phase, RouteView, RouterView, ServiceView, SignalsView, Snapshot};
use engine::types::Status;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::{Scene, cell, frame, number, operation, put, rollout, tenants};
use crate::ui::guard::in_flight;
use crate::ui::theme::Role;
use crate::ui::words::Share;
use crate::ui::{Panel, words};

/// The arm's name and the space after it.
const NAME: usize = 8;
/// A version and the space after it.
const VERSION: usize = 9;
/// A figure and the space after it.
const FIGURE: usize = 8;
/// Longest history of errors; with less room its newest part shows.
const HISTORY_MAX: usize = 16;
/// The rank of the arms' table.
const TABLE: u8 = 4;
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

/// How the arms are drawn.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Table {
    Whole,
    /// The canary alone, in one line.
    Line,
}

/// A line and its rank: the greater, the sooner it is left out.
pub type Ranked = (u8, Line<'static>);

pub fn draw(buffer: &mut Buffer, at: Rect, scene: Scene<'_>, picture: &Snapshot) {
    let name = scene.ui.service.as_deref().unwrap_or("–");
    let inside = frame(buffer, at, scene, Panel::Release, name);
    let service = picture.services.iter().find(|service| service.name == name);
    let Some(service) = service else {
        let text = " no service is selected";
        return put(buffer, inside, 0, Line::styled(text, scene.theme.style(Role::Dim)));
    };
    let rows = usize::from(inside.height);
    let mut all = lines(service, inside, scene, Table::Whole);
    // Half a table says less than one line.
    if all.iter().filter(|(rank, _)| *rank <= TABLE).count() > rows {
        all = lines(service, inside, scene, Table::Line);
    }
    let lines = fitting(all, rows);
    for (row, line) in (0..inside.height).zip(lines) {
        put(buffer, inside, row, line);
    }
}

/// Leaves out the last of the least worth, until the others fit.
fn fitting(mut lines: Vec<Ranked>, rows: usize) -> Vec<Line<'static>> {
    while lines.len() > rows {
        let least = lines.iter().map(|(rank, _)| *rank).max().unwrap_or_default();
        let Some(place) = lines.iter().rposition(|(rank, _)| *rank == least) else { break };
        lines.remove(place);
    }
    lines.into_iter().map(|(_, line)| line).collect()
}

fn ranked(rank: u8, lines: Vec<Line<'static>>) -> impl Iterator<Item = Ranked> {
    lines.into_iter().map(move |line| (rank, line))
}

/// Everything there is to say, in the order in which it is read.
fn lines(service: &ServiceView, inside: Rect, scene: Scene<'_>, table: Table) -> Vec<Ranked> {
    let width = inside.width;
    let running = in_flight(service).is_some();
    // An operation that moves, or that ended badly, is what people look for first.
    let urgent = scene.ui.requested.contains_key(&service.name)
        || service
            .operation
            .as_ref()
            .is_some_and(|operation| operation.phase != Phase::Ended(OperationResult::Verified));
    let mut lines = rollout::lines(service, width, scene);
    let place = if running { 6 } else { 0 };
    match &service.route {
        None => {
            let text = "only watched: it has no router";
            lines.push((place, Line::styled(text, scene.theme.style(Role::Dim))));
        }
        Some(route) => lines.push((place, route_line(route, service.flag, width, scene))),
    }
    let progress = operation::progress(service, width, scene);
    if urgent {
        // Steps and result before what each router said.
        let ranks = (0..).map(|at: u8| if at < 2 { 1 } else { 3 });
        let at = lines.len() - 1;
        let progress: Vec<Ranked> = ranks.zip(progress).collect();
        lines.splice(if running { 1..1 } else { at + 1..at + 1 }, progress);
    } else if !running {
        lines.extend(ranked(8, progress));
    }
    match table {
        // The routers' own lines say it all.
        _ if service.flag => {}
        // Nothing moves, and nothing is counted.
        _ if service.route.is_none() && service.signals.is_none() => {}
        Table::Line => lines.push((0, short_canary(service, scene))),
        Table::Whole => {
            let mut arms = arms(service, width, scene);
            let age = arms.split_off(arms.len().min(3));
            lines.extend(ranked(TABLE, arms));
            lines.extend(ranked(TABLE + 1, age));
        }
    }
    if let Some(signals) = &service.signals {
        lines.extend(tenants::lines(signals, width, scene));
    }
    lines.extend(rollout::standing(service, width, scene));
    if let Some(route) = &service.route {
        let routers = route.routers.iter();
        let rank = |router: &RouterView| if router.holder.is_some() { 2 } else { 7 };
        lines.extend(routers.map(|one| (rank(one), router_line(one, route, scene))));
    }
    if scene.ui.zoomed {
        lines.extend(ranked(9, rollout::zoomed(service, width, scene)));
    }
    lines
}

fn route_line(route: &RouteView, flag: bool, width: u16, scene: Scene<'_>) -> Line<'static> {
    let theme = scene.theme;
    let set = match route.set {
        Some(set) if flag => format!("set on for {set}"),
        Some(set) => format!("set {set} to canary"),
        None => "nothing was set yet".to_owned(),
    };
    let (state, old) = words::state_of(route, scene.now);
    let mut line = Line::from(vec![
        Span::styled("route ", theme.style(Role::Dim)),
        Span::styled(
            state,
            theme.style(if old { Role::Stale } else { Role::of_route(route.state) }),
        ),
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
    let read = service.route.as_ref().map_or(NO_SHARE, |it| words::share_of(it, scene.now));
    let role = if read.old.is_some() { Role::Stale } else { Role::Strong };
    let mut spans = vec![
        Span::styled("canary ", theme.style(Role::Dim)),
        Span::styled(read.text(read.percent), theme.style(role)),
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
    signals.is_none_or(|signals| !signals.is_fresh(scene.now))
}

/// Stable and canary, one row each, with set, router and traffic share.
fn arms(service: &ServiceView, width: u16, scene: Scene<'_>) -> Vec<Line<'static>> {
    let theme = scene.theme;
    let empty = ArmView::default();
    let signals = service.signals.as_ref();
    let old = is_old(signals, scene);
    let route = service.route.as_ref();
    let set = route.and_then(|route| route.set).map(|set| f64::from(set.get()));
    let router = route.map_or(NO_SHARE, |route| words::share_of(route, scene.now));
    let traffic = route.and_then(|route| route.traffic);
    let (stable, canary) = signals.map_or((&empty, &empty), |it| (&it.stable, &it.canary));
    let percentiles = signals.is_none()
        || [stable, canary].into_iter().any(|arm| arm.latency_p95_ms.is_some())
        || [stable, canary].into_iter().all(|arm| arm.latency_avg_ms.is_none());
    let columns = Columns::of(width, percentiles);
    let rest = |share: Option<f64>| share.map(|share| 100.0 - share);
    let role = if router.old.is_some() { Role::Stale } else { Role::Text };
    let shown = |percent| (router.text(percent), role);
    let shares = |set, read, traffic| Shares { set, router: shown(read), traffic };
    let own = shares(set, router.percent, traffic);
    let others = shares(rest(set), rest(router.percent), rest(traffic));
    let mut lines = vec![
        heading(&columns, scene),
        arm("stable", stable, &others, (old, &columns), scene),
        arm("canary", canary, &own, (old, &columns), scene),
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

/// Without a router.
const NO_SHARE: Share = Share { percent: None, old: None };

/// What an arm is to get, what the routers give it, and what it gets.
struct Shares {
    set: Option<f64>,
    router: (String, Role),
    traffic: Option<f64>,
}

fn arm(
    name: &str,
    view: &ArmView,
    shares: &Shares,
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
            Figure::Set => (short(shares.set), text),
            Figure::Router => (shares.router.0.clone(), theme.style(shares.router.1)),
            Figure::Traffic => (words::percent(shares.traffic), figure),
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
    let old = words::unread(router, scene.now).is_some();
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
    let holder = router.holder.as_ref().filter(|it| it.until.mono > scene.now.mono);
    if let Some(holder) = holder {
        let text = format!("held by {}: {} ", holder.who, holder.doing);
        spans.insert(3, Span::styled(text, theme.style(Role::Degraded)));
    }
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
