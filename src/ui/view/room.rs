//! The wall: large type, quiet while all is well, and what is in trouble when it is not.
//!
//! Decides what can be read from across a room. Never shows a key but the one that leaves.
//! Contract: environment, clocks, ages of the sources and the read-only badge always stand there.

use engine::score::score;
use engine::snapshot::{IncidentView, ServiceView, Snapshot};
use engine::types::{Now, Status};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Widget};

use super::{Scene, big, cell, fade, header, put, status_span};
use crate::ui::guard::in_flight;
use crate::ui::keymap::Act;
use crate::ui::room::{self, Sight};
use crate::ui::theme::Role;
use crate::ui::words;

/// Services in trouble, and alarms, that are named; the rest is counted.
const NAMED_MAX: usize = 8;

pub fn draw(buffer: &mut Buffer, area: Rect, scene: Scene<'_>, since: Now) {
    Clear.render(area, buffer);
    // Nothing is burnt into a wall that stands for weeks.
    let shift = if scene.ui.kiosk { room::shift(since, scene.clock) } else { 0 };
    let area = Rect { x: area.x + shift, width: area.width.saturating_sub(shift), ..area };
    let rows = header::rows(area, scene.live, scene.ui).min(area.height / 2);
    header::draw(buffer, Rect { height: rows, ..area }, scene);
    let Some(picture) = scene.ui.shown(scene.live) else { return };
    let inside = Rect {
        x: area.x + 2,
        y: area.y + rows,
        width: area.width.saturating_sub(4),
        height: area.height.saturating_sub(rows + 1),
    };
    let foot = Rect { y: area.bottom().saturating_sub(1), height: 1.min(area.height), ..area };
    let shown = room::sight(picture, since, scene.now, scene.clock);
    let service = match &shown {
        Sight::Service(name) => picture.services.iter().find(|service| service.name == *name),
        Sight::Overview => None,
    };
    match service {
        Some(service) => one(buffer, inside, scene, picture, service),
        None => overview(buffer, inside, scene, picture),
    }
    fade(buffer, inside, scene);
    let dim = scene.theme.style(Role::Dim);
    let key = |act| scene.ui.keymap.shown(act);
    let text = match (&scene.ui.message, scene.ui.kiosk) {
        (Some(message), _) => format!("  {}", message.text),
        (None, true) => format!("  {} twice ends", key(Act::Interrupt)),
        (None, false) => format!("  {} leaves the wall", key(Act::Room)),
    };
    put(buffer, foot, 0, Line::styled(text, dim));
}

/// A block, or a letter where there are no blocks.
fn full(scene: Scene<'_>) -> char {
    scene.theme.pick("█", "#").chars().next().unwrap_or('#')
}

/// The rest of an area below its first rows.
fn below(at: Rect, rows: u16) -> Rect {
    let rows = rows.min(at.height);
    Rect { y: at.y + rows, height: at.height - rows, ..at }
}

fn overview(buffer: &mut Buffer, at: Rect, scene: Scene<'_>, picture: &Snapshot) {
    let theme = scene.theme;
    let mut services: Vec<&ServiceView> = picture.services().collect();
    services.sort_by_key(|service| std::cmp::Reverse(service.status_at(scene.now)));
    let worst = services.first().map_or(Status::Unknown, |one| one.status_at(scene.now));
    let alarms: Vec<_> = room::unheard(picture, scene.now).collect();
    let quiet = is_well(worst) && alarms.is_empty();
    let score = score(&picture.services, &picture.hosts, &picture.incidents, scene.now);
    let figure = score.value.map_or("-".to_owned(), |score| score.to_string());
    let word = if quiet { format!("{} {figure}", worst.word()) } else { worst.word().to_owned() };
    let role = if quiet { Role::Dim } else { Role::of_status(worst) };
    let top = Rect { height: at.height / 2, ..at };
    let rows = big::draw(buffer, top, &word, theme.style(role), full(scene));
    let mut rest = below(at, rows + 1);
    let (well, troubled): (Vec<_>, Vec<_>) =
        services.into_iter().partition(|one| is_well(one.status_at(scene.now)));
    // Half of the rows are for services, if so many are in trouble; the last one counts.
    let room = usize::from(rest.height.saturating_sub(1));
    let room_alarms = room - troubled.len().min(room / 2);
    let alarms = alarm_lines(&alarms, room_alarms, scene);
    let named = troubled.len().min(NAMED_MAX).min(room - alarms.len());
    for line in alarms {
        put(buffer, rest, 0, line);
        rest = below(rest, 1);
    }
    for service in &troubled[..named] {
        let status = service.status_at(scene.now);
        let line = Line::from(vec![
            status_span(theme, status),
            Span::raw("  "),
            cell(&service.name, 20, theme.style(Role::Strong)),
            Span::styled(why(service, scene), theme.style(Role::Text)),
        ]);
        put(buffer, rest, 0, line);
        rest = below(rest, 1);
    }
    let mut spans = Vec::new();
    for (status, count) in counts(&troubled[named..], scene.now) {
        let text = format!("+{count} {}  ", status.word());
        spans.push(Span::styled(text, theme.style(Role::of_status(status))));
    }
    if !well.is_empty() {
        spans.push(Span::styled(format!("+{} healthy", well.len()), theme.style(Role::Dim)));
    }
    put(buffer, rest, 0, Line::from(spans));
}

/// How many there are of each status, worst first.
fn counts(services: &[&ServiceView], now: Now) -> Vec<(Status, usize)> {
    let of = |status| services.iter().filter(|one| one.status_at(now) == status).count();
    let all = Status::ALL.into_iter().rev().map(|status| (status, of(status)));
    all.filter(|(_, count)| *count > 0).collect()
}

/// What else is in trouble beside `own`: a line for each status, with as many names as fit.
fn others(
    picture: &Snapshot,
    own: &ServiceView,
    wide: usize,
    scene: Scene<'_>,
) -> Vec<Line<'static>> {
    let now = scene.now;
    let troubled = picture.services.iter().filter(|one| one.name != own.name);
    let troubled = troubled.filter(|one| !is_well(one.status_at(now)));
    let troubled: Vec<&ServiceView> = troubled.map(|one| -> &ServiceView { one }).collect();
    let line = |(status, count): (Status, usize)| {
        let names = troubled.iter().filter(|one| one.status_at(now) == status);
        let names: Vec<&str> = names.map(|one| one.name.as_str()).collect();
        let more = if status == own.status_at(now) { "more " } else { "" };
        let head = format!("and {count} {more}{}: ", status.word());
        let names = listed(&names, wide.saturating_sub(words::width(&head)));
        Line::styled(head + &names, scene.theme.style(Role::of_status(status)))
    };
    counts(&troubled, now).into_iter().map(line).collect()
}

/// As many names as fit, and how many others there are.
fn listed(names: &[&str], wide: usize) -> String {
    let cut = |shown: usize| match names.len() - shown {
        0 => names.join(", "),
        left => format!("{} and {left} more", names[..shown].join(", ")),
    };
    let fits = (1..=names.len()).rev().map(cut).find(|text| words::width(text) <= wide);
    fits.unwrap_or_else(|| cut(1))
}

fn one(buffer: &mut Buffer, at: Rect, scene: Scene<'_>, picture: &Snapshot, own: &ServiceView) {
    let theme = scene.theme;
    let status = own.status_at(scene.now);
    let quiet = is_well(status);
    let role = if quiet { Role::Dim } else { Role::of_status(status) };
    let name_role = if quiet { Role::Dim } else { Role::Strong };
    let top = Rect { height: at.height * 2 / 5, ..at };
    let rows = big::draw(buffer, top, &own.name, theme.style(name_role), full(scene));
    let mut rest = below(at, rows + 1);
    let top = Rect { height: rest.height / 2, ..rest };
    let rows = big::draw(buffer, top, status.word(), theme.style(role), full(scene));
    rest = below(rest, rows + 1);
    let mut lines = others(picture, own, usize::from(rest.width), scene);
    let latency = words::latency(own.worst(scene.now).and_then(|probe| probe.latency));
    let age = words::age_of(own.observed(scene.now), scene.now);
    let text = |text: String| Line::styled(text, theme.style(Role::Text));
    lines.push(text(format!("{latency}, {age} ago  {}", why(own, scene))));
    if let Some(route) = &own.route {
        let share = words::share_of(route, scene.now);
        let percent = share.text(share.percent);
        let (state, _) = words::state_of(route, scene.now);
        lines.push(text(format!("{percent} to the canary, {state}")));
    }
    if let Some(release) = in_flight(own) {
        let state = release.state.word();
        let what = release.what();
        lines.push(text(format!("r{} {what} {state}: {}", release.id, release.sentence)));
    }
    let rows = usize::from(rest.height);
    let alarms: Vec<_> = room::unheard(picture, scene.now).collect();
    let alarms = alarm_lines(&alarms, rows.saturating_sub(lines.len()).max(1), scene);
    lines.truncate(rows.saturating_sub(alarms.len()));
    lines.extend(alarms);
    for line in lines {
        put(buffer, rest, 0, line);
        rest = below(rest, 1);
    }
}

fn is_well(status: Status) -> bool {
    matches!(status, Status::Up | Status::Maint)
}

fn why(service: &ServiceView, scene: Scene<'_>) -> String {
    let Some(probe) = service.worst(scene.now) else { return "nothing watches it".to_owned() };
    match probe.status_at(scene.now) {
        Status::Up | Status::Maint => String::new(),
        Status::Stale => {
            format!("last {} {}", probe.status, words::age_of(probe.observed, scene.now))
        }
        Status::Unknown | Status::Degraded | Status::Down => {
            format!("{}: {}", probe.name, probe.message)
        }
    }
}

/// They flash, once a second at most, in reverse: seen without colour, too. In at most `room` rows;
/// what is not named is counted.
fn alarm_lines(alarms: &[&IncidentView], room: usize, scene: Scene<'_>) -> Vec<Line<'static>> {
    let flash = !scene.ui.no_blink && scene.clock.wall.timestamp() % 2 == 0;
    let named =
        if alarms.len() <= room { NAMED_MAX } else { NAMED_MAX.min(room.saturating_sub(1)) };
    let mut lines: Vec<Line<'static>> = alarms
        .iter()
        .take(named)
        .map(|incident| {
            let mut style = scene.theme.style(Role::of_severity(incident.severity));
            if flash {
                style = style.add_modifier(Modifier::REVERSED);
            }
            let severity = incident.severity.word().to_uppercase();
            let age = words::age(incident.first_seen.age(scene.now));
            let text = format!(" {severity} {} for {age}: {} ", incident.name, incident.summary);
            Line::styled(text, style)
        })
        .collect();
    if alarms.len() > named && room > 0 {
        let text = match named {
            0 => format!(" {} alarms that nobody has", alarms.len()),
            named => format!(" and {} more that nobody has", alarms.len() - named),
        };
        lines.push(Line::styled(text, scene.theme.style(Role::Strong)));
    }
    lines
}
