//! The header: environment, score, mode, clocks, ages of the sources, and banners.
//!
//! Decides what must always be seen. Contract: banners come before everything else in the body;
//! what has no room is said in fewer words, and counted.

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

/// The shortest clock.
const CLOCK_MIN: usize = 6;
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
    let all =
        shown(own_banners(scene).chain(scene.live.map(banners).unwrap_or_default()).collect());
    // Without a row of their own the sources stand in the first one.
    let alone = usize::from(at.height) <= 1 + all.len();
    put(buffer, at, 0, first_line(at.width, alone, scene));
    let mut row = 1;
    for banner in &all {
        let text = words::fit(&format!(" {}", banner.text), usize::from(at.width), false);
        put(buffer, at, row, Line::styled(text, theme.style(banner.role)));
        row += 1;
    }
    let Some(live) = scene.live else { return };
    let mut spans = vec![Span::styled(" sources ", theme.style(Role::Dim))];
    spans.extend(sources(live, scene));
    put(buffer, at, row, Line::from(spans));
}

pub(super) struct Banner {
    pub text: String,
    /// Where there is no row for it.
    short: String,
    pub role: Role,
}

impl Banner {
    fn new(text: String, role: Role) -> Banner {
        let short = text.split(['(', ':']).next().unwrap_or_default().trim_end().to_owned();
        Banner { text, short, role }
    }
}

/// The first ones, and in the last row how many others there are.
fn shown(mut all: Vec<Banner>) -> Vec<Banner> {
    if all.len() > BANNERS_MAX {
        let rest = all.split_off(BANNERS_MAX - 1);
        let alarm = rest.iter().any(|banner| banner.role == Role::Banner);
        let role = if alarm { Role::Banner } else { Role::Frozen };
        let short: Vec<&str> = rest.iter().map(|banner| banner.short.as_str()).collect();
        let text = format!("and {} more: {}", rest.len(), short.join("; "));
        all.push(Banner::new(text, role));
    }
    all
}

/// What this console must say of what it shows.
fn own_banners(scene: Scene<'_>) -> impl Iterator<Item = Banner> {
    let unheard = match (scene.ui.lost, scene.ui.silent) {
        (Some(lost), _) => Some(("is lost since", lost.age(scene.clock))),
        (None, Some(span)) => Some(("does not answer since", span)),
        (None, None) => None,
    };
    let unheard = unheard.map(|(what, span)| {
        let age = words::age(span);
        let text = format!("STALE: the engine {what} {age}; this is the last known state");
        Banner::new(text, Role::Banner)
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
    unheard.into_iter().chain(past.map(|text| Banner::new(text, Role::Frozen)))
}

/// Alarms first, then what nobody may release, the widest first.
pub(super) fn banners(live: &Snapshot) -> Vec<Banner> {
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
    let alarms = journal
        .into_iter()
        .chain(others)
        .chain(skew(live))
        .map(|text| Banner::new(text, Role::Banner));
    alarms.chain(freezes(live)).collect()
}

/// The clock that is farthest from ours, and how many others are too far.
fn skew(live: &Snapshot) -> Option<String> {
    let far = || live.sources.iter().filter_map(|source| Some((source, source.skew_s?)));
    let (worst, _) = far().max_by_key(|(_, skew)| skew.unsigned_abs())?;
    let others = match far().count() - 1 {
        0 => String::new(),
        1 => "; 1 other is off, too".to_owned(),
        count => format!("; {count} others are off, too"),
    };
    let skew = worst.skew().unwrap_or_default();
    Some(format!("CLOCK: {} is {skew}{others}: its times mislead", worst.name))
}

fn freezes(live: &Snapshot) -> impl Iterator<Item = Banner> {
    let mut freezes: Vec<&FreezeView> = live.head.freezes.iter().collect();
    freezes.sort_by_key(|freeze| freeze.service.is_some());
    freezes.into_iter().map(|freeze| {
        let until = freeze.until.format("%H:%M UTC");
        let (what, short) = match &freeze.service {
            None => {
                ("LINE STOPPED: no release of any service".to_owned(), "LINE STOPPED".to_owned())
            }
            Some(service) => {
                (format!("FROZEN: no release of {service}"), format!("FROZEN {service}"))
            }
        };
        let why = if freeze.reason.is_empty() { "" } else { ": " };
        let text = format!("{what} until {until}, by {}{why}{}", freeze.user, freeze.reason);
        Banner { text, short, role: Role::Frozen }
    })
}

fn first_line(width: u16, alone: bool, scene: Scene<'_>) -> Line<'static> {
    let theme = scene.theme;
    let (name, band) = scene.live.map_or(("–".to_owned(), Role::BandDanger), |live| {
        let environment = &live.head.environment;
        (environment.name.to_uppercase(), Role::of_band(&environment.band))
    });
    let spans_of = |(as_if, troubles): (u16, usize)| {
        let band = Span::styled(format!(" {name} "), theme.style(band));
        let mut spans = vec![band, Span::raw(ticker(scene)), Span::raw(" ")];
        spans.extend(score_spans(as_if, scene));
        spans.extend(mode(as_if, scene));
        spans.extend(trouble(as_if, alone, scene).into_iter().take(troubles));
        if let Some((at, _)) = scene.ui.stopped.as_ref().filter(|_| scene.ui.past.is_none()) {
            let text = format!("  view stopped {}", words::age(at.age(scene.clock)));
            spans.push(Span::styled(text, theme.style(Role::Degraded)));
        }
        spans
    };
    let used = |spans: &Vec<Span<'_>>| spans.iter().map(Span::width).sum::<usize>() + 1;
    let fits = |spans: &Vec<Span<'_>>| used(spans) + CLOCK_MIN <= usize::from(width);
    // In fewer words, as on a narrower screen, where no clock fits beside them; the panels say what
    // is open, too.
    let tight = TIGHT_BELOW - 1;
    let choices = [(width, 2), (SHORT_BELOW - 1, 2), (tight, 2), (tight, 1), (tight, 0)];
    let mut choices = choices.into_iter().map(|(as_if, most)| spans_of((as_if.min(width), most)));
    let mut spans = choices.find(fits).unwrap_or_else(|| spans_of((tight.min(width), 0)));
    let used = used(&spans);
    let clocks = clocks(usize::from(width).saturating_sub(used), scene);
    let gap = usize::from(width).saturating_sub(used + words::width(&clocks));
    spans.push(Span::raw(" ".repeat(gap)));
    spans.push(Span::styled(clocks, theme.style(Role::Text)));
    Line::from(spans)
}

/// One cell that moves with each news of the engine: while it stands still nothing new arrives.
/// Without a colour of its own, so that it costs a character.
fn ticker(scene: Scene<'_>) -> &'static str {
    let faces = [("◐", "|"), ("◓", "/"), ("◑", "-"), ("◒", "\\")];
    let (unicode, ascii) = faces[usize::from(scene.ui.news) % faces.len()];
    match scene.live.filter(|_| scene.ui.past.is_none()) {
        Some(_) => scene.theme.pick(unicode, ascii),
        None => " ",
    }
}

fn score_spans(width: u16, scene: Scene<'_>) -> Vec<Span<'static>> {
    let theme = scene.theme;
    let score =
        scene.live.map(|live| score(&live.services, &live.hosts, &live.incidents, scene.clock));
    let Some(score) = score.filter(|score| score.value.is_some() || score.unknown > 0) else {
        return vec![Span::styled("health –  ", theme.style(Role::Dim))];
    };
    let critical = score.value.is_some_and(|value| value < CRITICAL_BELOW);
    let role = if critical { Role::Down } else { Role::Strong };
    let short = width < SHORT_BELOW;
    let Some(value) = score.value else {
        let text = if short { "? " } else { "health ?  " };
        return vec![Span::styled(text, theme.style(Role::Unknown))];
    };
    let figure = match (short, critical) {
        (false, false) => format!("{value}/100"),
        (false, true) => format!("health {value}/100 CRITICAL"),
        (true, _) => {
            let of = if width < TIGHT_BELOW { "" } else { "/100" };
            format!("{value}{of}{}", if critical { "!" } else { "" })
        }
    };
    let unknown = match score.unknown {
        0 => String::new(),
        count if short => format!(" {count}?"),
        count => format!(", {count} unknown"),
    };
    let head = (!short && !critical).then(|| Span::styled("health ", theme.style(Role::Dim)));
    let mut spans: Vec<Span<'_>> = head.into_iter().collect();
    spans.push(Span::styled(figure, theme.style(role)));
    spans.push(Span::styled(unknown, theme.style(Role::Unknown)));
    spans.push(Span::raw(if short { " " } else { "  " }));
    spans
}

/// Whether data arrives, and whether this console may only look. A tight header says only what is
/// not as usual.
fn mode(width: u16, scene: Scene<'_>) -> Vec<Span<'static>> {
    let ui = scene.ui;
    let state = match ui.past {
        Some(Past::Kept) => Some(("PAST", Role::Strong)),
        Some(Past::Replay { .. }) => Some(("REPLAY", Role::Strong)),
        None if ui.is_unheard() => Some(("STALE", Role::Down)),
        None => unheard(scene),
    };
    let usual = if width < TIGHT_BELOW || (ui.read_only && width < SHORT_BELOW) {
        None
    } else {
        Some(("LIVE", Role::Text))
    };
    let badge = match state {
        Some(_) if width < TIGHT_BELOW => "RO",
        Some(_) | None => "READ-ONLY",
    };
    let badge = ui.read_only.then_some((badge, Role::Strong));
    let said: Vec<_> = state.or(usual).into_iter().chain(badge).collect();
    let last = said.len().saturating_sub(usize::from(width >= TIGHT_BELOW));
    let words = said.into_iter().map(|(word, role)| Span::styled(word, scene.theme.style(role)));
    let gap = |place| Span::raw(if place <= last { " " } else { "" });
    (1..).zip(words).flat_map(|(place, word)| [word, gap(place)]).collect()
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
