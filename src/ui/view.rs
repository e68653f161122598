//! Draws the picture: layout, and one file for each panel.
//!
//! Decides where a panel stands and how much of it fits. Never decides what is true. Contract:
//! `draw` takes shared references and returns nothing; nothing panics from 1×1 up; only rows that
//! show are built.
//!
//! ```text
//! ≥ 120 columns                      ≥ 80 columns        narrower
//! header                             header              header
//! services        │ incidents       services            services
//! release         │ hosts           release             the focused panel
//! journal         │ sources         the focused panel   (else release)
//! footer                            footer              footer
//! ```
//! Where no service can be released, the release panel keeps one line, and narrow screens leave it
//! to the incidents. Below 40×10 there are a few words.

use engine::reading::AlertState;
use engine::snapshot::{ServiceView, Snapshot};
use engine::types::{Now, Status};
use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Clear, Widget};

use crate::ui::guard::in_flight;
use crate::ui::theme::{Role, Symbols, Theme};
use crate::ui::{Mode, Panel, Ui, words};

mod big;
mod footer;
mod guard;
mod header;
mod help;
mod hosts;
mod incidents;
mod journal;
mod operation;
mod pages;
mod release;
mod rollout;
mod room;
mod runbook;
mod services;
pub mod small;
mod sources;
mod tenants;
mod validation;

/// Smaller screens get a few words.
const WIDTH_MIN: u16 = 40;
const HEIGHT_MIN: u16 = 10;
/// From here on two columns.
const WIDTH_WIDE: u16 = 120;
/// From here on three panels stand over each other.
const WIDTH_MIDDLE: u16 = 80;

/// Two rows and their frame.
const INCIDENTS_MIN: u16 = 4;
/// One row and its frame.
const BARE_ROWS: u16 = 3;
/// What a probe says of its trouble is seldom longer.
const TROUBLE_ROWS: usize = 2;

/// What every panel needs to draw.
#[derive(Clone, Copy)]
pub struct Scene<'a> {
    pub live: Option<&'a Snapshot>,
    pub ui: &'a Ui,
    pub theme: &'a Theme,
    /// The instant shown: that of the stop while the view is stopped.
    pub now: Now,
    pub clock: Now,
}

/// Where everything stands.
#[derive(Clone, Debug, Default)]
pub struct Areas {
    pub header: Rect,
    pub panels: Vec<(Panel, Rect)>,
    pub footer: Rect,
}

/// Draws the whole screen.
pub fn draw(frame: &mut Frame<'_>, live: Option<&Snapshot>, ui: &Ui, theme: &Theme, now: Now) {
    let area = frame.area();
    draw_in(frame.buffer_mut(), area, live, ui, theme, now);
}

/// The same, into any buffer.
pub fn draw_in(
    buffer: &mut Buffer,
    area: Rect,
    live: Option<&Snapshot>,
    ui: &Ui,
    theme: &Theme,
    now: Now,
) {
    let shown_at = ui.stopped.as_ref().map_or(now, |(at, _)| *at);
    // The past is shown whole, its clock and its sources, too.
    let (live, clock) = if ui.past.is_some() { (ui.shown(live), shown_at) } else { (live, now) };
    let scene = Scene { live, ui, theme, now: shown_at, clock };
    if small::is_small(area.as_size()) {
        small::draw(buffer, area, scene);
    } else if let Mode::Room { since } = ui.mode {
        room::draw(buffer, area, scene, since);
    } else {
        whole(buffer, area, scene);
    }
    match theme.symbols {
        Symbols::Unicode => {}
        Symbols::Ascii => only_ascii(buffer, area),
    }
}

fn whole(buffer: &mut Buffer, area: Rect, scene: Scene<'_>) {
    let Scene { live, ui, theme, clock: now, .. } = scene;
    let areas = areas(area, live, ui);
    header::draw(buffer, areas.header, scene);
    if let Some(picture) = ui.shown(live) {
        for (panel, at) in &areas.panels {
            draw_panel(buffer, *at, *panel, scene, picture);
            fade(buffer, *at, scene);
        }
    } else {
        let text = Line::styled(" waiting for the engine's first picture…", theme.style(Role::Dim));
        if let Some((_, at)) = areas.panels.first() {
            put(buffer, *at, 0, text);
        }
    }
    footer::draw(buffer, areas.footer, scene);
    match &ui.mode {
        Mode::Panels | Mode::Filter | Mode::Room { .. } => {}
        Mode::Page { page, scroll } => pages::draw(buffer, area, scene, *page, *scroll),
        Mode::Palette { query, at } => help::palette(buffer, area, scene, query, *at),
        Mode::Runbook(reading) => runbook::draw(buffer, area, scene, reading),
        Mode::Help { scroll } => help::help(buffer, area, scene, *scroll),
        Mode::Faults => help::faults(buffer, area, scene),
        Mode::Guard(state) => guard::draw(buffer, area, scene, state),
        Mode::Escalate { name, opened, .. } => {
            guard::escalate(buffer, area, scene, name, opened.age(now));
        }
    }
}

/// Nothing in it is known to be so any more: its words stay, its colours go.
fn fade(buffer: &mut Buffer, at: Rect, scene: Scene<'_>) {
    if scene.ui.is_unheard() {
        buffer.set_style(at.intersection(buffer.area), scene.theme.style(Role::Stale));
    }
}

pub use help::last as help_last;
pub use incidents::row_at as incident_row;
pub use services::row_at as service_row;

fn draw_panel(buffer: &mut Buffer, at: Rect, panel: Panel, scene: Scene<'_>, picture: &Snapshot) {
    match panel {
        Panel::Services => services::draw(buffer, at, scene, picture),
        Panel::Release => release::draw(buffer, at, scene, picture),
        Panel::Incidents => incidents::draw(buffer, at, scene, picture),
        Panel::Hosts => hosts::draw(buffer, at, scene, picture),
        Panel::Journal => journal::draw(buffer, at, scene, picture),
        Panel::Sources => sources::draw(buffer, at, scene, picture),
    }
}

/// Replaces what a terminal without Unicode cannot show, whoever wrote it.
fn only_ascii(buffer: &mut Buffer, area: Rect) {
    let area = area.intersection(buffer.area);
    for place in area.positions() {
        let Some(cell) = buffer.cell_mut(place) else { continue };
        let plain = match cell.symbol() {
            symbol if symbol.is_ascii() => continue,
            "–" | "·" => "-",
            "…" => "~",
            "│" => "|",
            _ => "?",
        };
        cell.set_symbol(plain);
    }
}

/// Where everything stands on a screen of this size; the same answer for drawing and mouse.
#[must_use]
pub fn areas(area: Rect, live: Option<&Snapshot>, ui: &Ui) -> Areas {
    let header_rows = header::rows(area, live, ui).min(area.height / 2);
    let header = Rect { height: header_rows, ..area };
    let footer = Rect { y: area.bottom().saturating_sub(1), height: 1.min(area.height), ..area };
    let body = Rect {
        y: area.y + header_rows,
        height: area.height.saturating_sub(header_rows + 1),
        ..area
    };
    let panels = if ui.zoomed {
        vec![(ui.focus, body)]
    } else if area.width >= WIDTH_WIDE && body.height >= 18 {
        wide(body, ui.shown(live))
    } else {
        stacked(body, ui, ui.shown(live))
    };
    Areas { header, panels, footer }
}

/// Rows for every service, the probes of the selected one, whichever it is, and its trouble.
fn services_rows(picture: Option<&Snapshot>) -> u16 {
    let count = picture.map_or(0, |picture| picture.services.len());
    let probes = picture.and_then(|it| it.services.iter().map(|one| one.probes.len()).max());
    let rows = count + probes.map_or(0, |probes| probes + 1) + TROUBLE_ROWS;
    u16::try_from(rows).unwrap_or(u16::MAX).saturating_add(3)
}

/// True while no service has anything to release: its panel says so in one line.
fn is_bare(picture: Option<&Snapshot>) -> bool {
    let bare = |service: &ServiceView| {
        service.route.is_none()
            && service.signals.is_none()
            && service.release.is_none()
            && service.plans.is_empty()
            && service.triggers.is_empty()
            && service.validation.is_none()
    };
    picture.is_some_and(|picture| picture.services().all(bare))
}

fn wide(body: Rect, picture: Option<&Snapshot>) -> Vec<(Panel, Rect)> {
    let left = body.width * 3 / 5;
    let bare = is_bare(picture);
    let most = if bare { body.height / 2 } else { body.height / 3 };
    let services = services_rows(picture).clamp(6, most);
    let journal = ((body.height - services) / 4).max(4);
    let release = if bare { BARE_ROWS } else { body.height - services - journal };
    let third = body.height / 3;
    let (x, right) = (body.x + left, body.width - left);
    vec![
        (Panel::Services, Rect { width: left, height: services, ..body }),
        (Panel::Release, Rect { y: body.y + services, width: left, height: release, ..body }),
        (
            Panel::Journal,
            Rect {
                y: body.y + services + release,
                width: left,
                height: body.height - services - release,
                ..body
            },
        ),
        (Panel::Incidents, Rect { x, width: right, height: third, ..body }),
        (Panel::Hosts, Rect { x, y: body.y + third, width: right, height: third }),
        (
            Panel::Sources,
            Rect { x, y: body.y + 2 * third, width: right, height: body.height - 2 * third },
        ),
    ]
}

fn stacked(body: Rect, ui: &Ui, picture: Option<&Snapshot>) -> Vec<(Panel, Rect)> {
    let selected = ui.selected_service(picture);
    let quiet = matches!(ui.focus, Panel::Services | Panel::Release);
    let releasing = quiet && selected.is_some_and(|service| in_flight(service).is_some());
    let bare = is_bare(picture);
    let first = match body.height {
        0..14 => body.height / 2,
        14.. if bare => services_rows(picture).clamp(6, body.height / 2),
        14.. => 6.max(body.height / 4),
    };
    let rest = body.height - first;
    let services = Rect { height: first, ..body };
    let below = Rect { y: body.y + first, height: rest, ..body };
    let focused = match ui.focus {
        Panel::Services | Panel::Release => None,
        Panel::Incidents | Panel::Hosts | Panel::Journal | Panel::Sources => Some(ui.focus),
    };
    if body.width >= WIDTH_MIDDLE && (rest >= 14 || (bare && rest >= BARE_ROWS + INCIDENTS_MIN)) {
        // A release in flight is read; what else is open stands in the header, too.
        let upper = match (bare, releasing) {
            (true, _) => BARE_ROWS,
            (false, true) => rest - INCIDENTS_MIN,
            (false, false) => rest * 3 / 5,
        };
        return vec![
            (Panel::Services, services),
            (Panel::Release, Rect { height: upper, ..below }),
            (
                focused.unwrap_or(Panel::Incidents),
                Rect { y: below.y + upper, height: rest - upper, ..below },
            ),
        ];
    }
    let usual = if bare && ui.focus != Panel::Release { Panel::Incidents } else { Panel::Release };
    vec![(Panel::Services, services), (focused.unwrap_or(usual), below)]
}

#[must_use]
pub fn state_word(state: AlertState) -> &'static str {
    match state {
        AlertState::Triggered => "triggered",
        AlertState::Acknowledged => "acknowledged",
        AlertState::Resolved => "resolved",
    }
}

fn status_span(theme: &Theme, status: Status) -> Span<'static> {
    let text = format!("{} {}", theme.status_symbol(status), status.word());
    Span::styled(text, theme.style(Role::of_status(status)))
}

/// A panel's frame with its title; the inside is returned.
fn frame(buffer: &mut Buffer, at: Rect, scene: Scene<'_>, panel: Panel, extra: &str) -> Rect {
    let focused = scene.ui.focus == panel;
    let title = if extra.is_empty() {
        format!(" {} ", panel.title())
    } else {
        format!(" {} · {extra} ", panel.title())
    };
    let title = words::clip(&title, usize::from(at.width.saturating_sub(4)));
    let role = if focused { Role::Focus } else { Role::Border };
    let title_role = if focused { Role::Focus } else { Role::Dim };
    boxed(buffer, at, scene.theme, Line::styled(title, scene.theme.style(title_role)), role)
}

fn boxed(buffer: &mut Buffer, at: Rect, theme: &Theme, title: Line<'_>, role: Role) -> Rect {
    let at = at.intersection(buffer.area);
    let mut block = Block::bordered().title(title).border_style(theme.style(role));
    block = match theme.symbols {
        Symbols::Unicode => block.border_type(BorderType::Rounded),
        Symbols::Ascii => block.border_set(ASCII_BORDER),
    };
    let inside = block.inner(at);
    block.render(at, buffer);
    inside
}

const ASCII_BORDER: ratatui::symbols::border::Set<'static> = ratatui::symbols::border::Set {
    top_left: "+",
    top_right: "+",
    bottom_left: "+",
    bottom_right: "+",
    vertical_left: "|",
    vertical_right: "|",
    horizontal_top: "-",
    horizontal_bottom: "-",
};

/// An empty box in the middle of the screen, at most this large.
fn overlay(
    buffer: &mut Buffer,
    area: Rect,
    theme: &Theme,
    (width, height): (u16, u16),
    title: Line<'_>,
) -> Rect {
    let (width, height) = (width.min(area.width), height.min(area.height));
    let at = Rect {
        x: area.x + (area.width - width) / 2,
        y: area.y + (area.height - height) / 2,
        width,
        height,
    };
    Clear.render(at, buffer);
    boxed(buffer, at, theme, title, Role::Focus)
}

/// One line at a row of an area; rows outside are not drawn. What does not fit is cut, and an
/// ellipsis says so.
fn put(buffer: &mut Buffer, at: Rect, row: u16, line: impl Into<Line<'static>>) {
    let at = at.intersection(buffer.area);
    if row >= at.height || at.width == 0 {
        return;
    }
    let line = line.into();
    let cut = words::width(line.to_string().trim_end()) > usize::from(at.width);
    line.render(Rect { y: at.y + row, height: 1, ..at }, buffer);
    if cut && let Some(last) = buffer.cell_mut((at.right() - 1, at.y + row)) {
        last.set_symbol("…");
    }
}

/// Puts the row's own background, or reverse, over a whole line.
fn mark(buffer: &mut Buffer, at: Rect, row: u16, style: Style) {
    let at = at.intersection(buffer.area);
    if row < at.height {
        buffer.set_style(Rect { y: at.y + row, height: 1, ..at }, style);
    }
}

/// The part of a list that shows, so that the selected row is in it.
fn window(count: usize, selected: usize, rows: u16) -> std::ops::Range<usize> {
    let rows = usize::from(rows);
    let first = selected.saturating_sub(rows.saturating_sub(1)).min(count.saturating_sub(rows));
    first..count.min(first + rows)
}

/// A cell of a table: text, width, right-aligned or not, style.
fn cell(text: &str, wide: usize, style: Style) -> Span<'static> {
    Span::styled(words::fit(text, wide, false) + " ", style)
}

fn number(text: &str, wide: usize, style: Style) -> Span<'static> {
    Span::styled(words::fit(text, wide, true) + " ", style)
}

/// The first row shown of a list that is scrolled; its last one stays.
fn first_row(scene: Scene<'_>, panel: Panel, count: usize) -> usize {
    let scrolled = scene.ui.scroll.get(&panel).copied().unwrap_or_default();
    scrolled.min(count.saturating_sub(1))
}

/// A time of day in the chosen zone.
fn time_of_day(scene: Scene<'_>, at: chrono::DateTime<chrono::Utc>) -> String {
    scene.ui.time_of_day(at)
}

/// The name of the chosen zone.
fn zone_name(scene: Scene<'_>) -> String {
    let chosen = scene.ui.zone.checked_sub(1).and_then(|zone| scene.ui.zones.get(zone));
    chosen.map_or("UTC".to_owned(), |zone| zone.name().to_owned())
}
