//! The hosts: CPU, memory, load, and the fullest disk.
//!
//! Decides what of a machine is worth a line. Never turns a missing figure into a zero, and never
//! cuts one: a column that does not fit is left out.

use engine::reading::HostReading;
use engine::scaling::Size;
use engine::snapshot::{AdviceView, HostView, Snapshot};
use engine::types::{Freshness, Now};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::{Scene, cell, first_row, frame, number, put};
use crate::ui::theme::Role;
use crate::ui::{Panel, words};

/// As disks are sold.
const GIGABYTE: u64 = 1_000_000_000;

/// Above this a figure is drawn as abnormal.
const BUSY_PERCENT: f64 = 90.0;

/// The columns that fit; a figure is shown whole or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "one flag for each column")]
struct Columns {
    name: usize,
    history: bool,
    load: bool,
    disk: bool,
    age: bool,
    /// What is left for words: the network, or what went wrong.
    rest: usize,
}

/// A figure and the space after it.
const FIGURE: usize = 7;
const HISTORY: usize = 9;
/// "999kB/s in 999kB/s out", and what stands for an error must say more than its first word.
const REST_MIN: usize = 24;

impl Columns {
    fn of(width: u16) -> Columns {
        let width = usize::from(width);
        let name = if width < 44 { 8 } else { 12 };
        // Name, processor and memory are what a row is for.
        let mut left = width.saturating_sub(name + 1 + 2 * FIGURE);
        let mut fits = |wide: usize| {
            let fits = left >= wide;
            left -= if fits { wide } else { 0 };
            fits
        };
        let (disk, age, load) = (fits(FIGURE), fits(FIGURE), fits(FIGURE));
        let history = fits(HISTORY);
        Columns { name, history, load, disk, age, rest: left }
    }
}

pub fn draw(buffer: &mut Buffer, at: Rect, scene: Scene<'_>, picture: &Snapshot) {
    let hosts = scene.ui.hosts(picture);
    let part = scene.ui.part(hosts.len(), picture.hosts.len());
    let inside = frame(buffer, at, scene, Panel::Hosts, &part);
    let columns = Columns::of(inside.width);
    let head = u16::from(inside.height >= 3);
    if head == 1 {
        put(buffer, inside, 0, heading(columns, scene));
    }
    let first = first_row(scene, Panel::Hosts, hosts.len());
    let mut row = head;
    let mut advised = Vec::new();
    for host in hosts.into_iter().skip(first) {
        if row >= inside.height {
            break;
        }
        put(buffer, inside, row, line(host, columns, scene));
        row += 1;
        // Each group is told of once, under its first host.
        let advice = host.advice.as_ref().filter(|advice| !advised.contains(&&advice.group));
        if let Some(advice) = advice.filter(|it| scene.ui.zoomed || it.size != Size::Right) {
            advised.push(&advice.group);
            put(buffer, inside, row, advice_line(advice, inside.width, scene));
            row += 1;
        }
        let more = host.reading.as_ref().filter(|_| scene.ui.zoomed);
        let role = if is_stale(host, scene.now) { Role::Stale } else { Role::Dim };
        for text in more.into_iter().flat_map(details) {
            for part in words::wrap(&text, usize::from(inside.width).saturating_sub(4), 3) {
                put(
                    buffer,
                    inside,
                    row,
                    Line::styled(format!("    {part}"), scene.theme.style(role)),
                );
                row += 1;
            }
        }
    }
}

/// Is the group too small or too large, and why?
fn advice_line(advice: &AdviceView, width: u16, scene: Scene<'_>) -> Line<'static> {
    let stale = Freshness::of(advice.at.age(scene.now), advice.every) == Freshness::Stale;
    let role = match advice.size {
        _ if stale => Role::Stale,
        Size::Up if advice.urgent => Role::Down,
        Size::Up | Size::Down => Role::Degraded,
        Size::Right => Role::Dim,
        Size::NoData => Role::Unknown,
    };
    let urgent = if advice.urgent { " URGENT" } else { "" };
    let armed = if advice.armed { ", armed" } else { "" };
    let stale = if stale { "STALE " } else { "" };
    let text = format!(
        "  {stale}{} {}{urgent}{armed}: {}",
        advice.group,
        advice.size.word(),
        advice.sentence
    );
    Line::styled(words::clip(&text, usize::from(width)), scene.theme.style(role))
}

/// What a zoomed panel says more about a machine.
fn details(reading: &HostReading) -> Vec<String> {
    let percent =
        |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.0} %"));
    let processes = reading.processes.map_or("–".to_owned(), |count| count.to_string());
    let uptime = reading.uptime.map_or("–".to_owned(), words::age);
    let load =
        reading.load.map_or("–".to_owned(), |load| load.map(|one| format!("{one:.2}")).join(" "));
    let swap = percent(reading.swap_percent);
    let mut lines = vec![format!("swap {swap}  processes {processes}  load {load}  up {uptime}")];
    let all = |parts: Vec<String>, name: &str, lines: &mut Vec<String>| {
        if !parts.is_empty() {
            lines.push(format!("{name} {}", parts.join("  ")));
        }
    };
    let disks = reading.disks.iter().map(|disk| {
        format!("{} {:.0} % of {} GB", disk.mount, disk.used_percent, disk.total_bytes / GIGABYTE)
    });
    all(disks.collect(), "disks", &mut lines);
    let warm =
        reading.temperatures.iter().map(|one| format!("{} {:.0} °C", one.label, one.celsius));
    all(warm.collect(), "temperatures", &mut lines);
    lines
}

fn heading(columns: Columns, scene: Scene<'_>) -> Line<'static> {
    let dim = scene.theme.style(Role::Dim);
    let mut spans = vec![cell("host", columns.name, dim), number("cpu", 6, dim)];
    if columns.history {
        spans.push(cell("", 8, dim));
    }
    spans.push(number("mem", 6, dim));
    for (name, shown) in [("disk", columns.disk), ("load", columns.load), ("age", columns.age)] {
        if shown {
            spans.push(number(name, 6, dim));
        }
    }
    if columns.rest >= REST_MIN {
        spans.push(Span::styled("network", dim));
    }
    Line::from(spans)
}

fn line(host: &HostView, columns: Columns, scene: Scene<'_>) -> Line<'static> {
    let theme = scene.theme;
    let stale = is_stale(host, scene.now);
    let text = theme.style(if stale { Role::Stale } else { Role::Text });
    let name = cell(&host.name, columns.name, text);
    let Some(reading) = &host.reading else {
        let why = if host.error.is_empty() { "no data yet" } else { host.error.display() };
        return Line::from(vec![name, Span::styled(why.to_owned(), theme.style(Role::Unknown))]);
    };
    let busy = |value: Option<f64>| match value {
        _ if stale => theme.style(Role::Stale),
        Some(value) if value >= BUSY_PERCENT => theme.style(Role::Degraded),
        Some(_) | None => text,
    };
    let short =
        |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.0} %"));
    let mut spans = vec![name, number(&short(reading.cpu_percent), 6, busy(reading.cpu_percent))];
    if columns.history {
        let (steps, none) = theme.spark();
        let history: Vec<Option<f64>> =
            host.cpu_history.iter().map(|value| value.map(f64::from)).collect();
        spans.push(cell(&words::spark(&history, 8, steps, none), 8, theme.style(Role::Dim)));
    }
    spans.push(number(&short(reading.memory_percent), 6, busy(reading.memory_percent)));
    if columns.disk {
        let disk = reading.disks.iter().map(|disk| disk.used_percent).reduce(f64::max);
        spans.push(number(&short(disk), 6, busy(disk)));
    }
    if columns.load {
        let load = reading.load.map_or("–".to_owned(), |[one, _, _]| format!("{one:.2}"));
        spans.push(number(&load, 6, text));
    }
    if columns.age {
        // Without room for a word the age itself says that a machine is silent.
        let role = if stale || !host.error.is_empty() { Role::Down } else { Role::Dim };
        let age = words::age_of(host.observed, scene.now);
        spans.push(number(&age, 6, theme.style(role)));
    }
    spans.extend(rest(host, reading, stale, columns, scene));
    Line::from(spans)
}

fn rest(
    host: &HostView,
    reading: &HostReading,
    stale: bool,
    columns: Columns,
    scene: Scene<'_>,
) -> Option<Span<'static>> {
    let theme = scene.theme;
    if !host.error.is_empty() {
        let text = words::clip(host.error.display(), columns.rest);
        return Some(Span::styled(text, theme.style(Role::Down)));
    }
    if stale {
        let text = words::clip("STALE", columns.rest);
        return Some(Span::styled(text, theme.style(Role::Stale)));
    }
    let text = format!(
        "{} in {} out",
        words::bytes_per_s(reading.network_receive_bytes_per_s),
        words::bytes_per_s(reading.network_transmit_bytes_per_s)
    );
    (columns.rest >= REST_MIN).then(|| Span::styled(text, theme.style(Role::Dim)))
}

fn is_stale(host: &HostView, now: Now) -> bool {
    match host.observed {
        None => true,
        Some(at) => Freshness::of(at.age(now), host.interval) == Freshness::Stale,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(width: u16, shown: [bool; 4]) {
        let columns = Columns::of(width);
        assert_eq!([columns.disk, columns.age, columns.load, columns.history], shown, "{width}");
    }

    #[test]
    fn columns_go_one_by_one() {
        check(100, [true; 4]);
        check(53, [true, true, true, false]);
        check(38, [true, true, false, false]);
        check(34, [true, false, false, false]);
        check(1, [false; 4]);
    }
}
