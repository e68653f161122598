//! The hosts: CPU, memory, load, and the fullest disk.
//!
//! Decides what of a machine is worth a line. Never turns a missing figure into a zero.

use engine::snapshot::{HostView, Snapshot};
use engine::types::{Freshness, Now};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::{Scene, cell, frame, number, put};
use crate::ui::theme::Role;
use crate::ui::{Panel, words};

/// Above this a figure is drawn as abnormal.
const BUSY_PERCENT: f64 = 90.0;

pub fn draw(buffer: &mut Buffer, at: Rect, scene: Scene<'_>, picture: &Snapshot) {
    let inside = frame(buffer, at, scene, Panel::Hosts, "");
    let dim = scene.theme.style(Role::Dim);
    let head = u16::from(inside.height >= 3);
    if head == 1 {
        let mut spans = vec![cell("host", 12, dim), number("cpu", 6, dim)];
        spans.push(cell("", 8, dim));
        spans.extend([number("mem", 6, dim), number("load", 6, dim), number("disk", 6, dim)]);
        spans.push(number("age", 6, dim));
        spans.push(Span::styled("network", dim));
        put(buffer, inside, 0, Line::from(spans));
    }
    let first = scene.ui.scroll.get(&Panel::Hosts).copied().unwrap_or_default();
    let rows = usize::from(inside.height - head);
    for (row, host) in (head..).zip(picture.hosts.iter().skip(first).take(rows)) {
        put(buffer, inside, row, line(host, scene));
    }
}

fn line(host: &HostView, scene: Scene<'_>) -> Line<'static> {
    let theme = scene.theme;
    let stale = is_stale(host, scene.now);
    let text = theme.style(if stale { Role::Stale } else { Role::Text });
    let name = cell(&host.name, 12, text);
    let Some(reading) = &host.reading else {
        let why = if host.error.is_empty() { "no data yet" } else { host.error.display() };
        return Line::from(vec![name, Span::styled(why.to_owned(), theme.style(Role::Unknown))]);
    };
    let busy = |value: Option<f64>| match value {
        _ if stale => theme.style(Role::Stale),
        Some(value) if value >= BUSY_PERCENT => theme.style(Role::Degraded),
        Some(_) | None => text,
    };
    let (steps, none) = theme.spark();
    let history: Vec<Option<f64>> =
        host.cpu_history.iter().map(|value| value.map(f64::from)).collect();
    let disk = reading.disks.iter().map(|disk| disk.used_percent).reduce(f64::max);
    let short =
        |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.0} %"));
    let load = reading.load.map_or("–".to_owned(), |[one, _, _]| format!("{one:.2}"));
    let mut spans = vec![
        name,
        number(&short(reading.cpu_percent), 6, busy(reading.cpu_percent)),
        cell(&words::spark(&history, 8, steps, none), 8, theme.style(Role::Dim)),
        number(&short(reading.memory_percent), 6, busy(reading.memory_percent)),
        number(&load, 6, text),
        number(&short(disk), 6, busy(disk)),
        number(&words::age_of(host.observed, scene.now), 6, theme.style(Role::Dim)),
    ];
    if !host.error.is_empty() {
        spans.push(Span::styled(host.error.display().to_owned(), theme.style(Role::Down)));
    } else if stale {
        spans.push(Span::styled("STALE", theme.style(Role::Stale)));
    } else {
        let text = format!(
            "{} in {} out",
            words::bytes_per_s(reading.network_receive_bytes_per_s),
            words::bytes_per_s(reading.network_transmit_bytes_per_s)
        );
        spans.push(Span::styled(text, theme.style(Role::Dim)));
    }
    Line::from(spans)
}

fn is_stale(host: &HostView, now: Now) -> bool {
    match host.observed {
        None => true,
        Some(at) => Freshness::of(at.age(now), host.interval) == Freshness::Stale,
    }
}
