//! The header: environment, score, mode, clocks, ages of the sources, and banners.
//!
//! Decides what must always be seen. Contract: banners come before everything else in the body.

use engine::score::{CRITICAL_BELOW, score};
use engine::snapshot::{FreezeView, JournalState, Snapshot, SourceState};
use engine::types::Status;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::{Scene, put};
use crate::ui::keymap::Act;
use crate::ui::past::Past;
use crate::ui::theme::Role;
use crate::ui::{Ui, words};

/// More banners than this are counted, so that the body keeps its room.
const BANNERS_MAX: usize = 3;
/// Narrower headers say the score without words, so that the clock keeps its place.
const SHORT_BELOW: u16 = 60;
/// Narrower ones say nothing that is as usual.
const TIGHT_BELOW: u16 = 50;

pub fn rows(area: Rect, live: Option<&Snapshot>, ui: &Ui) -> u16 {
    let own = usize::from(ui.is_unheard()) + usize::from(ui.past.is_some());
    let banners = live.map_or(0, |live| banners(live).len()) + own;
    let banners = u16::try_from(banners.min(BANNERS_MAX)).unwrap_or_default();
    1 + u16::from(area.height >= 16) + banners
}

pub fn draw(buffer: &mut Buffer, at: Rect, scene: Scene<'_>) {
    let theme = scene.theme;
    let mut all: Vec<(String, Role)> = own_banners(scene);
    all.extend(scene.live.map(banners).unwrap_or_default());
    all.truncate(BANNERS_MAX);
    // Without a row of their own the sources stand in the first one.
    let alone = usize::from(at.height) <= 1 + all.len();
    put(buffer, at, 0, first_line(at.width, alone, scene));
    let mut row = 1;
    for (text, role) in &all {
        banner(buffer, at, row, (&format!(" {text}"), *role), scene);
        row += 1;
    }
    let Some(live) = scene.live else { return };
    let mut spans = vec![Span::styled(" sources ", theme.style(Role::Dim))];
    spans.extend(sources(live, scene));
    put(buffer, at, row, Line::from(spans));
}

/// What this console must say of what it shows.
fn own_banners(scene: Scene<'_>) -> Vec<(String, Role)> {
    let unheard = match (scene.ui.lost, scene.ui.silent) {
        (Some(lost), _) => Some(("is lost since", lost.age(scene.clock))),
        (None, Some(span)) => Some(("does not answer since", span)),
        (None, None) => None,
    };
    let unheard = unheard.map(|(what, span)| {
        let age = words::age(span);
        let text = format!("STALE: the engine {what} {age}; this is the last known state");
        (text, Role::Banner)
    });
    let key = |act| scene.ui.keymap.shown(act);
    let at = scene.now.wall.format("%Y-%m-%d %H:%M:%S UTC");
    let past = scene.ui.past.map(|past| match past {
        Past::Kept => format!(
            "THE PAST: {at}; nothing can be changed here. {} and {} go on, {} is now",
            key(Act::Earlier),
            key(Act::Later),
            key(Act::Back)
        ),
        Past::Replay { speed, paused, percent } => {
            let state = if paused { "paused".to_owned() } else { format!("{speed} x") };
            format!(
                "REPLAY {at} · {state} · {percent} %; {} pauses, {} {} seek, {} {} speed",
                key(Act::Stop),
                key(Act::Earlier),
                key(Act::Later),
                key(Act::Slower),
                key(Act::Faster)
            )
        }
    });
    unheard.into_iter().chain(past.map(|text| (text, Role::Frozen))).collect()
}

fn banner(buffer: &mut Buffer, at: Rect, row: u16, (text, role): (&str, Role), scene: Scene<'_>) {
    let text = words::fit(text, usize::from(at.width), false);
    put(buffer, at, row, Line::styled(text, scene.theme.style(role)));
}

/// Alarms first, then what nobody may release, the widest first.
pub(super) fn banners(live: &Snapshot) -> Vec<(String, Role)> {
    let journal = match &live.head.journal {
        JournalState::Writable => None,
        JournalState::Spooling { why } => Some(format!(
            "JOURNAL CANNOT BE WRITTEN: only changes toward safety go on, into the spool ({why})"
        )),
        JournalState::Lost { why } => {
            Some(format!("JOURNAL AND SPOOL ARE LOST: this banner is the only record ({why})"))
        }
    };
    let others = live.head.banners.iter().map(|text| text.display().to_owned());
    let alarms = journal.into_iter().chain(others).map(|text| (text, Role::Banner));
    alarms.chain(freezes(live)).collect()
}

fn freezes(live: &Snapshot) -> Vec<(String, Role)> {
    let mut freezes: Vec<&FreezeView> = live.head.freezes.iter().collect();
    freezes.sort_by_key(|freeze| freeze.service.is_some());
    let text = |freeze: &FreezeView| {
        let until = freeze.until.format("%H:%M UTC");
        let what = match &freeze.service {
            None => "LINE STOPPED: no release of any service".to_owned(),
            Some(service) => format!("FROZEN: no release of {service}"),
        };
        let why = if freeze.reason.is_empty() { "" } else { ": " };
        format!("{what} until {until}, by {}{why}{}", freeze.user, freeze.reason)
    };
    freezes.into_iter().map(|freeze| (text(freeze), Role::Frozen)).collect()
}

fn first_line(width: u16, alone: bool, scene: Scene<'_>) -> Line<'static> {
    let theme = scene.theme;
    let (name, band) = scene.live.map_or(("–".to_owned(), Role::BandDanger), |live| {
        let environment = &live.head.environment;
        (environment.name.to_uppercase(), Role::of_band(&environment.band))
    });
    let mut spans = vec![Span::styled(format!(" {name} "), theme.style(band)), Span::raw(" ")];
    spans.extend(score_spans(width, scene));
    spans.extend(mode(width, scene));
    spans.extend(trouble(width, alone, scene));
    if let Some((at, _)) = scene.ui.stopped.as_ref().filter(|_| scene.ui.past.is_none()) {
        let text = format!("  view stopped {}", words::age(at.age(scene.clock)));
        spans.push(Span::styled(text, theme.style(Role::Degraded)));
    }
    let used: usize = spans.iter().map(Span::width).sum();
    let clocks = clocks(usize::from(width).saturating_sub(used + 1), scene);
    let gap = usize::from(width).saturating_sub(used + words::width(&clocks) + 1);
    spans.push(Span::raw(" ".repeat(gap)));
    spans.push(Span::styled(clocks, theme.style(Role::Text)));
    Line::from(spans)
}

fn score_spans(width: u16, scene: Scene<'_>) -> Vec<Span<'static>> {
    let theme = scene.theme;
    let value = scene
        .live
        .and_then(|live| score(&live.services, &live.hosts, &live.incidents, scene.clock));
    match value {
        Some(value) if width < SHORT_BELOW => {
            let role = if value < CRITICAL_BELOW { Role::Down } else { Role::Strong };
            let sign = if value < CRITICAL_BELOW { "!" } else { "" };
            let of = if width < TIGHT_BELOW { "" } else { "/100" };
            vec![Span::styled(format!("{value}{of}{sign} "), theme.style(role))]
        }
        None => vec![Span::styled("health –  ", theme.style(Role::Dim))],
        Some(value) if value < CRITICAL_BELOW => {
            vec![Span::styled(format!("health {value}/100 CRITICAL  "), theme.style(Role::Down))]
        }
        Some(value) => vec![
            Span::styled("health ", theme.style(Role::Dim)),
            Span::styled(format!("{value}/100  "), theme.style(Role::Strong)),
        ],
    }
}

/// A tight header says the mode only when it is not the usual one.
fn mode(width: u16, scene: Scene<'_>) -> Option<Span<'static>> {
    let theme = scene.theme;
    Some(if scene.ui.is_unheard() {
        Span::styled("STALE", theme.style(Role::Down))
    } else if scene.ui.read_only {
        Span::styled("READ-ONLY", theme.style(Role::Strong))
    } else if let Some((word, role)) = unheard(scene) {
        Span::styled(word, theme.style(role))
    } else if width < TIGHT_BELOW {
        return None;
    } else {
        Span::styled("LIVE", theme.style(Role::Text))
    })
}

/// What stands for LIVE while no data arrives: an engine that answers is not enough for it.
fn unheard(scene: Scene<'_>) -> Option<(&'static str, Role)> {
    let Some(live) = scene.live else { return Some(("CONNECTING", Role::Unknown)) };
    let states = || live.sources.iter().map(|source| source.state_at(scene.clock));
    // A refused connection is no answer to the poller, but says of the service that it is down.
    let known = |status| match status {
        Status::Up | Status::Degraded | Status::Down | Status::Maint => true,
        Status::Stale | Status::Unknown => false,
    };
    let judged = live.services.iter().any(|service| known(service.status_at(scene.clock)));
    if judged || live.sources.is_empty() || states().any(|state| state == SourceState::Ok) {
        None
    } else if states().all(|state| state == SourceState::Waiting) {
        Some(("WAITING", Role::Unknown))
    } else {
        Some(("NO DATA", Role::Down))
    }
}

/// What is open and what is silent, in as few words as a small screen has.
fn trouble(width: u16, alone: bool, scene: Scene<'_>) -> Vec<Span<'static>> {
    let Some(live) = scene.live else { return Vec::new() };
    let mut spans = Vec::new();
    let padded = |text: String| {
        if width < TIGHT_BELOW { format!("{text} ") } else { format!("  {text}") }
    };
    let open = &live.incidents.open;
    if live.incidents.total > 0 {
        let worst = open.iter().map(|incident| incident.severity).max();
        let role = worst.map_or(Role::Strong, Role::of_severity);
        let text = padded(format!("{} open", live.incidents.total));
        spans.push(Span::styled(text, scene.theme.style(role)));
    }
    let silent = |state| match state {
        SourceState::Failing | SourceState::Stale => true,
        SourceState::Ok | SourceState::Waiting => false,
    };
    let silent = live.sources.iter().filter(|one| silent(one.state_at(scene.clock))).count();
    if alone && silent > 0 {
        let text = padded(format!("{silent} silent"));
        spans.push(Span::styled(text, scene.theme.style(Role::Down)));
    }
    spans
}

/// As many clocks as fit: UTC always last to go.
fn clocks(room: usize, scene: Scene<'_>) -> String {
    let wall = scene.clock.wall;
    let utc = wall.format("%H:%M:%S UTC").to_string();
    let local: Vec<String> =
        scene.ui.zones.iter().filter(|zone| !zone.is_utc()).map(|zone| zone.clock(wall)).collect();
    let dated = format!("{}  {}", wall.format("%Y-%m-%d"), utc);
    let mut choices = vec![wall.format("%H:%MZ").to_string(), utc.clone()];
    match local.first() {
        Some(local) => {
            choices.push(format!("{utc}  {local}"));
            choices.push(format!("{dated}  {local}"));
        }
        None => choices.push(dated),
    }
    choices.into_iter().rev().find(|text| words::width(text) <= room).unwrap_or_default()
}

fn sources(live: &Snapshot, scene: Scene<'_>) -> Vec<Span<'static>> {
    let theme = scene.theme;
    let mut ok = 0;
    let mut spans = Vec::new();
    for source in live.sources.iter() {
        let state = source.state_at(scene.clock);
        let role = match state {
            SourceState::Ok => {
                ok += 1;
                continue;
            }
            SourceState::Waiting => Role::Unknown,
            SourceState::Stale => Role::Stale,
            SourceState::Failing => Role::Down,
        };
        let age = words::age_of(source.success, scene.clock);
        spans.push(Span::styled(
            format!("  {} {} {age}", source.name, state.word()),
            theme.style(role),
        ));
    }
    let oldest = live.sources.iter().filter_map(|source| source.success).min_by_key(|at| at.mono);
    let text = format!("{ok} ok, oldest {}", words::age_of(oldest, scene.clock));
    spans.insert(0, Span::styled(text, theme.style(Role::Dim)));
    spans
}
