//! The services: worst first, each with its status in symbol and word.
//!
//! Decides which columns fit. Never shows a stale figure as a live one. Contract: what is wrong
//! with the selected service stands below the list in its own words, however narrow the rows are.

use std::time::Duration;

use engine::snapshot::{ProbeView, ServiceView, Snapshot};
use engine::types::{Freshness, Now, Status};
use ratatui::buffer::Buffer;
use ratatui::layout::{Margin, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::{Scene, cell, frame, mark, number, put, window};
use crate::ui::theme::{Role, Theme};
use crate::ui::{Panel, Ui, words};

pub fn draw(buffer: &mut Buffer, at: Rect, scene: Scene<'_>, picture: &Snapshot) {
    let shown = scene.ui.services(picture, scene.now);
    let total = picture.services.len();
    let mut extra = format!("{total}");
    if shown.len() != total {
        extra = format!("{} of {total} match /{}", shown.len(), scene.ui.filter);
    }
    let inside = frame(buffer, at, scene, Panel::Services, &extra);
    let columns = Columns::of(inside.width, picture, scene.theme);
    let chosen = shown.iter().position(|service| Some(&service.name) == scene.ui.service.as_ref());
    let service = chosen.map(|place| shown[place]);
    let (head, trouble) = rows(inside, shown.len(), service, scene.now);
    if head == 1 {
        put(buffer, inside, 0, heading(&columns, inside.width, scene.theme));
    }
    let told = u16::try_from(trouble.len()).unwrap_or(u16::MAX);
    let room = inside.height.saturating_sub(head + told);
    let range = window(shown.len(), chosen.unwrap_or_default(), room);
    let mut next = head;
    for (row, place) in (head..).zip(range) {
        put(buffer, inside, row, line(shown[place], &columns, inside.width, scene));
        if Some(place) == chosen {
            mark(buffer, inside, row, scene.theme.style(Role::Selection));
        }
        next = row + 1;
    }
    let Some(service) = service else { return };
    let style = scene.theme.style(Role::of_status(service.status_at(scene.now)));
    for text in trouble {
        put(buffer, inside, next, Line::styled(text, style));
        next += 1;
    }
    probes(buffer, inside, next, service, (&columns, scene));
}

/// Rows of the heading, and what is wrong with the selected service: it takes at most half of the
/// rows from the list, and what the list leaves.
fn rows(inside: Rect, count: usize, service: Option<&ServiceView>, now: Now) -> (u16, Vec<String>) {
    let rows = usize::from(inside.height);
    let taken = if rows > LIST_MIN { rows / 2 } else { 0 };
    let most = taken.max(rows.saturating_sub(count + 1));
    let text = service.and_then(|service| trouble(service, now)).unwrap_or_default();
    let told = words::wrap(&text, usize::from(inside.width), most);
    let head = rows - told.len() > count.min(LIST_MIN);
    (u16::from(head), told)
}

/// What is wrong with a service, each of its probes in its own words, the worst first.
fn trouble(service: &ServiceView, now: Now) -> Option<String> {
    if service.probes.is_empty() && !service.flag {
        return Some(format!("{} UNKNOWN: no probe watches it", service.name));
    }
    let mut probes: Vec<(Status, &ProbeView)> =
        service.probes.iter().map(|probe| (probe.status_at(now), probe.as_ref())).collect();
    probes.sort_by_key(|(status, _)| std::cmp::Reverse(*status));
    let told = probes.into_iter().filter_map(|(status, probe)| {
        let name = format!("{}/{}", service.name, probe.name);
        let said = said(probe, status, now);
        match status {
            Status::Up | Status::Maint => None,
            Status::Stale => Some(format!("{name} {said}")),
            Status::Unknown | Status::Degraded | Status::Down => {
                Some(format!("{name} {status}: {said}"))
            }
        }
    });
    let told: Vec<String> = told.collect();
    (!told.is_empty()).then(|| told.join("; "))
}

/// The place in the list of the row that is drawn at `y`, in a panel with its frame.
#[must_use]
pub fn row_at(panel: Rect, picture: &Snapshot, ui: &Ui, now: Now, y: u16) -> Option<usize> {
    let inside = panel.inner(Margin::new(1, 1));
    let shown = ui.services(picture, now);
    let chosen = shown.iter().position(|service| Some(&service.name) == ui.service.as_ref());
    let (head, trouble) = rows(inside, shown.len(), chosen.map(|place| shown[place]), now);
    let row = y.checked_sub(inside.y + head)?;
    let room = inside.height.checked_sub(head + u16::try_from(trouble.len()).ok()?)?;
    window(shown.len(), chosen.unwrap_or_default(), room).nth(usize::from(row))
}

/// The runbook and the probes of the selected service, where the list leaves room.
fn probes(
    buffer: &mut Buffer,
    inside: Rect,
    from: u16,
    service: &ServiceView,
    (columns, scene): (&Columns, Scene<'_>),
) {
    let dim = scene.theme.style(Role::Dim);
    if from + 1 >= inside.height || service.probes.is_empty() {
        return;
    }
    let runbook = service.runbook.as_ref().map(|link| format!("  runbook {link}"));
    let heading = format!("probes of {}{}", service.name, runbook.unwrap_or_default());
    put(buffer, inside, from, Line::styled(heading, dim));
    for (row, probe) in (from + 1..inside.height).zip(&service.probes) {
        let status = probe.status_at(scene.now);
        let style = scene.theme.style(Role::of_status(status));
        let word = format!("{} {}", scene.theme.status_symbol(status), status.word());
        let line = |is_aligned: bool| {
            let mut spans = vec![
                cell(&word, columns.status, style),
                cell(&probe.name, columns.name, scene.theme.style(Role::Text)),
            ];
            if columns.split && is_aligned {
                spans.push(cell("", SPLIT, dim));
            }
            if columns.ready && is_aligned {
                spans.push(cell("", READY, dim));
            }
            spans.push(number(&words::latency(probe.latency), 7, dim));
            if columns.spark > 0 && is_aligned {
                spans.push(spark(probe, columns.spark, dim, scene.theme));
            }
            if columns.uptime {
                spans.push(number(&words::percent(probe.uptime_percent), 7, dim));
            }
            spans.push(number(&words::age_of(probe.observed, scene.now), 6, dim));
            spans.extend(certificate(probe, scene));
            Line::from(spans)
        };
        // What an answer that is UP tells are figures; what was wrong before is told above.
        let figures = status == Status::Up && !probe.message.is_empty();
        let text = if figures {
            probe.message.display().to_owned()
        } else {
            said(probe, status, scene.now)
        };
        let wanted = line(true).width() + words::width(&text);
        // Figures that have no room beside empty columns take theirs.
        let own = line(!figures || wanted <= usize::from(inside.width));
        put(buffer, inside, row, with_words(own, Span::styled(text, dim), inside.width));
    }
}

/// Days until a certificate expires: time to renew at two weeks, trouble at three days.
fn certificate(probe: &ProbeView, scene: Scene<'_>) -> Option<Span<'static>> {
    let days = (probe.certificate_expires? - scene.now.wall).num_days();
    let role = match days {
        ..3 => Role::Down,
        3..14 => Role::Degraded,
        14.. => Role::Dim,
    };
    Some(Span::styled(format!("cert {days}d "), scene.theme.style(role)))
}

/// A share with its age: "100% 59m".
const SPLIT: usize = 8;
const READY: usize = 8;

/// Less room than this says nothing about an error.
const WORDS_MIN: usize = 8;

/// The heading goes before the list has less rows than this.
const LIST_MIN: usize = 3;

/// A shorter sparkline shows no course.
const SPARK_MIN: usize = 4;

/// Widths by what fits: name, status, split, latency, spark, uptime, age; the rest is the error.
struct Columns {
    name: usize,
    status: usize,
    split: bool,
    /// Would a rollback work?
    ready: bool,
    spark: usize,
    uptime: bool,
}

impl Columns {
    /// Names take what they need, split and way back only where there is a router.
    fn of(width: u16, picture: &Snapshot, theme: &Theme) -> Columns {
        let symbol = words::width(theme.status_symbol(Status::Up));
        let (name_max, spark_max) = match width {
            0..60 => (10, 0),
            60..110 => (12, 10),
            110.. => (18, 16),
        };
        let longest = picture.services.iter().map(|service| words::width(&service.name)).max();
        let routed = picture.services.iter().any(|service| service.route.is_some());
        let mut columns = Columns {
            name: longest.unwrap_or_default().clamp("service".len(), name_max),
            status: symbol + 9,
            split: routed && width >= 46,
            ready: routed && width >= 54,
            spark: 0,
            uptime: width >= 66,
        };
        let left = usize::from(width).saturating_sub(columns.width() + 1).min(spark_max);
        columns.spark = if left >= SPARK_MIN { left } else { 0 };
        columns
    }

    /// Of all but the sparkline and the words, each with its space.
    fn width(&self) -> usize {
        let optional = [(self.split, SPLIT), (self.ready, READY), (self.uptime, 7)];
        let optional: usize = optional.iter().filter(|one| one.0).map(|one| one.1 + 1).sum();
        self.status + 1 + self.name + 1 + optional + 8 + 7
    }
}

fn heading(columns: &Columns, width: u16, theme: &Theme) -> Line<'static> {
    let dim = theme.style(Role::Dim);
    let mut spans = vec![cell("status", columns.status, dim), cell("service", columns.name, dim)];
    if columns.split {
        spans.push(number("canary", SPLIT, dim));
    }
    if columns.ready {
        spans.push(number("way back", READY, dim));
    }
    spans.push(number("latency", 7, dim));
    if columns.spark > 0 {
        spans.push(cell("", columns.spark, dim));
    }
    if columns.uptime {
        spans.push(number("uptime", 7, dim));
    }
    spans.push(number("age", 6, dim));
    with_words(Line::from(spans), Span::styled("last error", dim), width)
}

/// Words at the end of a row, where there is room for more than their first letters.
fn with_words(mut line: Line<'static>, words: Span<'static>, width: u16) -> Line<'static> {
    if line.width() + WORDS_MIN <= usize::from(width) {
        line.push_span(words);
    }
    line
}

fn line(service: &ServiceView, columns: &Columns, width: u16, scene: Scene<'_>) -> Line<'static> {
    let theme = scene.theme;
    let status = service.status_at(scene.now);
    let style = theme.style(Role::of_status(status));
    let text = if status == Status::Up { theme.style(Role::Text) } else { style };
    let word = format!("{} {}", theme.status_symbol(status), status.word());
    let mut spans =
        vec![cell(&word, columns.status, style), cell(&service.name, columns.name, text)];
    if columns.split {
        let (text, role) = split(service, scene);
        spans.push(number(&text, SPLIT, theme.style(role)));
    }
    if columns.ready {
        let (text, role) = lamp(service, scene);
        spans.push(number(&text, READY, theme.style(role)));
    }
    let probe = service.worst(scene.now);
    let aged = matches!(status, Status::Stale | Status::Unknown);
    let figures = theme.style(if aged { Role::Stale } else { Role::Text });
    spans.push(number(&words::latency(probe.and_then(|probe| probe.latency)), 7, figures));
    if columns.spark > 0 {
        let dim = theme.style(if aged { Role::Stale } else { Role::Dim });
        spans.push(match probe {
            Some(probe) => spark(probe, columns.spark, dim, theme),
            None => cell("", columns.spark, dim),
        });
    }
    if columns.uptime {
        let uptime = probe.and_then(|probe| probe.uptime_percent);
        spans.push(number(&words::percent(uptime), 7, figures));
    }
    spans.push(age(service, scene));
    let line = Line::from(spans);
    let error = Span::styled(error(service, status, scene.now), theme.style(Role::Dim));
    with_words(line, error, width)
}

fn spark(probe: &ProbeView, wide: usize, style: Style, theme: &Theme) -> Span<'static> {
    let newest = probe.latencies_ms.len().saturating_sub(wide);
    let values: Vec<Option<f64>> =
        probe.latencies_ms[newest..].iter().map(|ms| ms.map(f64::from)).collect();
    let (steps, none) = theme.spark();
    cell(&words::course(&values, wide, steps, none), wide, style)
}

/// The canary's share as the routers show it; an old one is dimmed, with its age.
fn split(service: &ServiceView, scene: Scene<'_>) -> (String, Role) {
    let Some(route) = &service.route else { return ("–".to_owned(), Role::Dim) };
    let share = words::share_of(route, scene.now);
    let read = route.routers.iter().filter(|router| router.canary.is_some()).count();
    match share.percent {
        None if read == 0 => ("?".to_owned(), Role::Unknown),
        None => ("mixed".to_owned(), Role::Degraded),
        Some(_) if share.old.is_some() => (share.text(share.percent), Role::Stale),
        Some(_) => (share.text(share.percent), Role::Dim),
    }
}

/// Would a rollback work, in a word.
fn lamp(service: &ServiceView, scene: Scene<'_>) -> (String, Role) {
    if service.route.is_none() {
        return ("–".to_owned(), Role::Dim);
    }
    match service.readiness.summary(scene.now).0 {
        Some(true) => ("ready".to_owned(), Role::Up),
        Some(false) => ("NO".to_owned(), Role::Down),
        None => ("unknown".to_owned(), Role::Unknown),
    }
}

fn age(service: &ServiceView, scene: Scene<'_>) -> Span<'static> {
    let observed = service.observed(scene.now);
    let own = service.probes.iter().filter(|probe| probe.observed == observed);
    let interval = own.map(|probe| probe.interval).min().unwrap_or(Duration::from_secs(1));
    let role = match observed.map(|at| Freshness::of(at.age(scene.now), interval)) {
        Some(Freshness::Live) => Role::Dim,
        Some(Freshness::Late) => Role::Degraded,
        Some(Freshness::Stale) | None => Role::Stale,
    };
    number(&words::age_of(observed, scene.now), 6, scene.theme.style(role))
}

fn error(service: &ServiceView, status: Status, now: Now) -> String {
    let Some(worst) = service.worst(now) else { return "no probe".to_owned() };
    let said = said(worst, status, now);
    match status {
        Status::Down | Status::Degraded => format!("{}: {said}", worst.name),
        Status::Up | Status::Maint | Status::Unknown | Status::Stale => said,
    }
}

/// A probe's own words, or the last ones of trouble while it is well.
fn said(probe: &ProbeView, status: Status, now: Now) -> String {
    match (status, &probe.last_error) {
        (Status::Stale, _) => {
            let age = words::age_of(probe.observed, now);
            format!("STALE {age} (last {})", probe.status.word())
        }
        (Status::Unknown, _) if probe.observed.is_none() => "no answer yet".to_owned(),
        (Status::Up | Status::Maint, Some((at, text))) => {
            format!("{} ago: {text}", words::age(at.age(now)))
        }
        // What an answer that is UP tells is no error.
        (Status::Up, None) => String::new(),
        (Status::Maint | Status::Unknown | Status::Degraded | Status::Down, _) => {
            probe.message.display().to_owned()
        }
    }
}
