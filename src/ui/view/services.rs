//! The services: worst first, each with its status in symbol and word.
//!
//! Decides which columns fit. Never shows a stale figure as a live one.

use std::time::Duration;

use engine::snapshot::{ProbeView, ServiceView, Snapshot};
use engine::types::{Freshness, Status};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::rollout::ready;
use super::{Scene, cell, frame, mark, number, put, window};
use crate::ui::theme::{Role, Theme};
use crate::ui::{Panel, words};

pub fn draw(buffer: &mut Buffer, at: Rect, scene: Scene<'_>, picture: &Snapshot) {
    let shown = scene.ui.services(picture, scene.now);
    let total = picture.services.len();
    let mut extra = format!("{total}");
    if shown.len() != total {
        extra = format!("{} of {total} match /{}", shown.len(), scene.ui.filter);
    }
    let inside = frame(buffer, at, scene, Panel::Services, &extra);
    let head = head(inside.height);
    if head == 1 {
        put(buffer, inside, 0, heading(inside.width, scene.theme));
    }
    let chosen = shown.iter().position(|service| Some(&service.name) == scene.ui.service.as_ref());
    let range = window(shown.len(), chosen.unwrap_or_default(), inside.height - head);
    let mut next = head;
    for (row, place) in (head..).zip(range) {
        put(buffer, inside, row, line(shown[place], inside.width, scene));
        if Some(place) == chosen {
            mark(buffer, inside, row, scene.theme.style(Role::Selection));
        }
        next = row + 1;
    }
    if let Some(service) = chosen.map(|place| shown[place]) {
        probes(buffer, inside, next, service, scene);
    }
}

/// Rows of the heading.
fn head(rows: u16) -> u16 {
    u16::from(rows >= 4)
}

/// The place in the list of the row that is drawn at `y`, in a panel with its frame.
#[must_use]
pub fn row_at(panel: Rect, count: usize, chosen: Option<usize>, y: u16) -> Option<usize> {
    let rows = panel.height.saturating_sub(2);
    let head = head(rows);
    let row = y.checked_sub(panel.y + 1 + head)?;
    let range = window(count, chosen.unwrap_or_default(), rows.checked_sub(head)?);
    range.clone().nth(usize::from(row))
}

/// The way back, the runbook and the probes of the selected service, where the list leaves room.
fn probes(buffer: &mut Buffer, inside: Rect, from: u16, service: &ServiceView, scene: Scene<'_>) {
    let dim = scene.theme.style(Role::Dim);
    let mut from = from;
    if service.route.is_some() && from < inside.height {
        let (text, role) = ready(service, scene);
        let text = format!("{}: {text}", service.name);
        put(buffer, inside, from, Line::styled(text, scene.theme.style(role)));
        from += 1;
    }
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
        let columns = Columns::of(inside.width, scene.theme);
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
                spans.push(cell("", columns.spark, dim));
            }
            if columns.uptime {
                spans.push(number(&words::percent(probe.uptime_percent), 7, dim));
            }
            spans.push(number(&words::age_of(probe.observed, scene.now), 6, dim));
            spans.extend(certificate(probe, scene));
            spans.push(Span::styled(probe.message.display().to_owned(), dim));
            Line::from(spans)
        };
        // Figures that have no room beside empty columns take theirs; an error is told above, too.
        let aligned = line(true);
        let fits = status != Status::Up || aligned.width() <= usize::from(inside.width);
        put(buffer, inside, row, if fits { aligned } else { line(false) });
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
    fn of(width: u16, theme: &Theme) -> Columns {
        let symbol = words::width(theme.status_symbol(Status::Up));
        let status = symbol + 9;
        let name = match width {
            0..60 => 10,
            60..100 => 12,
            _ => 18,
        };
        let spark = match width {
            0..72 => 0,
            72..110 => 10,
            _ => 16,
        };
        Columns { name, status, split: width >= 46, ready: width >= 54, spark, uptime: width >= 66 }
    }
}

fn heading(width: u16, theme: &Theme) -> Line<'static> {
    let columns = Columns::of(width, theme);
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

fn line(service: &ServiceView, width: u16, scene: Scene<'_>) -> Line<'static> {
    let theme = scene.theme;
    let columns = Columns::of(width, theme);
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
    let probe = service.probes.iter().max_by_key(|probe| probe.status_at(scene.now));
    let aged = matches!(status, Status::Stale | Status::Unknown);
    let figures = theme.style(if aged { Role::Stale } else { Role::Text });
    spans.push(number(&words::latency(probe.and_then(|probe| probe.latency)), 7, figures));
    if columns.spark > 0 {
        let values: Vec<Option<f64>> = probe.map_or(Vec::new(), |probe| {
            let newest = probe.latencies_ms.len().saturating_sub(columns.spark);
            probe.latencies_ms[newest..].iter().map(|ms| ms.map(f64::from)).collect()
        });
        let (steps, none) = theme.spark();
        let dim = theme.style(if aged { Role::Stale } else { Role::Dim });
        spans.push(cell(&words::spark(&values, columns.spark, steps, none), columns.spark, dim));
    }
    if columns.uptime {
        let uptime = probe.and_then(|probe| probe.uptime_percent);
        spans.push(number(&words::percent(uptime), 7, figures));
    }
    spans.push(age(service, scene));
    let line = Line::from(spans);
    let error = Span::styled(error(service, status, scene), theme.style(Role::Dim));
    with_words(line, error, width)
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
    let interval = service.probes.iter().map(|probe| probe.interval).min();
    let interval = interval.unwrap_or(Duration::from_secs(1));
    let observed = service.observed();
    let role = match observed.map(|at| Freshness::of(at.age(scene.now), interval)) {
        Some(Freshness::Live) => Role::Dim,
        Some(Freshness::Late) => Role::Degraded,
        Some(Freshness::Stale) | None => Role::Stale,
    };
    number(&words::age_of(observed, scene.now), 6, scene.theme.style(role))
}

fn error(service: &ServiceView, status: Status, scene: Scene<'_>) -> String {
    let worst = service.probes.iter().max_by_key(|probe| probe.status_at(scene.now));
    let Some(worst) = worst else { return "no probe".to_owned() };
    match status {
        Status::Stale => {
            let age = words::age_of(worst.observed, scene.now);
            format!("STALE {age} (last {})", worst.status.word())
        }
        Status::Down | Status::Degraded => format!("{}: {}", worst.name, worst.message),
        Status::Up | Status::Maint | Status::Unknown => match &worst.last_error {
            Some((at, text)) => format!("{} ago: {text}", words::age(at.age(scene.now))),
            // What an answer that is UP tells is no error.
            None if status == Status::Up => String::new(),
            None => worst.message.display().to_owned(),
        },
    }
}
