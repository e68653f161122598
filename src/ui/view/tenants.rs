//! The tenants of a service: who is over a limit or a target, and by what.
//!
//! Decides who is named: whoever is in trouble first, the others where there is room. Never says
//! that a tenant without data is within its limits. Contract: trouble has a word of its own.

use engine::snapshot::{SignalsView, TenantFigure, TenantView};
use engine::tenant::by_trouble;
use ratatui::text::Line;

use super::Scene;
use super::release::Ranked;
use super::rollout::told;
use crate::ui::theme::Role;

/// Tenants that are named unless the panel is zoomed.
const NAMED_MAX: usize = 4;

/// How many are in trouble, and each of them; the worst have the best ranks.
pub fn lines(signals: &SignalsView, width: u16, scene: Scene<'_>) -> Vec<Ranked> {
    if signals.tenants.is_empty() {
        return Vec::new();
    }
    let (text, role) = summary(signals, scene);
    let rank = if role == Role::Text { 6 } else { 3 };
    let first = |line: Vec<Line<'static>>| line.into_iter().take(1);
    let mut lines: Vec<Ranked> =
        first(told("tenants", &text, width, role, scene)).map(|line| (rank, line)).collect();
    if !signals.is_fresh(scene.now) {
        return lines;
    }
    let max = if scene.ui.zoomed { usize::MAX } else { NAMED_MAX };
    for tenant in by_trouble(&signals.tenants).into_iter().take(max) {
        let (word, role, rank) = trouble(tenant);
        let figures: Vec<String> = tenant.figures.iter().map(figure).collect();
        let text = format!("{word}{} ({}): {}", tenant.name, tenant.class, figures.join(", "));
        lines.extend(first(told("", &text, width, role, scene)).map(|line| (rank, line)));
    }
    lines
}

fn trouble(tenant: &TenantView) -> (&'static str, Role, u8) {
    match (tenant.is_over(), tenant.is_over_target(), tenant.is_unknown()) {
        (true, _, _) => ("OVER ", Role::Down, 3),
        (_, true, _) => ("above target ", Role::Degraded, 5),
        (_, _, true) => ("no data ", Role::Degraded, 6),
        (false, false, false) => ("", Role::Text, 8),
    }
}

fn summary(signals: &SignalsView, scene: Scene<'_>) -> (String, Role) {
    let tenants = &signals.tenants;
    if !signals.is_fresh(scene.now) {
        return (format!("{}: no data", scene.theme.pick("░ STALE", "[..] STALE")), Role::Stale);
    }
    let count = |is: fn(&TenantView) -> bool| tenants.iter().filter(|own| is(own)).count();
    let parts = [
        ("over a limit", count(TenantView::is_over), Role::Down),
        ("above a target", count(TenantView::is_over_target), Role::Degraded),
        ("without data", count(TenantView::is_unknown), Role::Degraded),
    ];
    let all = tenants.len();
    let bad: Vec<&(&str, usize, Role)> = parts.iter().filter(|(_, count, _)| *count > 0).collect();
    let said: Vec<String> = bad.iter().map(|(word, count, _)| format!("{count} {word}")).collect();
    let error = &signals.tenants_error;
    let why = if error.is_empty() { String::new() } else { format!(": {error}") };
    match bad.first() {
        Some((_, _, role)) => (format!("{} of {all}{why}", said.join(", ")), *role),
        None => (format!("all {all} within limits and targets{why}"), Role::Text),
    }
}

/// `latency 4000 > 3000`, `rows 12 of 10000`, `queries – of 120`.
fn figure(own: &TenantFigure) -> String {
    let shown = |value: f64| match value {
        value if value.fract().abs() < f64::EPSILON || value >= 100.0 => format!("{value:.0}"),
        value => format!("{value:.1}"),
    };
    let value = own.value.map_or_else(|| "–".to_owned(), shown);
    let sign = |over: Option<bool>| if over == Some(true) { ">" } else { "of" };
    let bound = match (own.limit, own.target) {
        (_, Some(target)) if own.is_over() != Some(true) && own.is_over_target() == Some(true) => {
            format!(" > {}", shown(target))
        }
        (Some(limit), _) => format!(" {} {}", sign(own.is_over()), shown(limit)),
        (None, Some(target)) => format!(" of {}", shown(target)),
        (None, None) => String::new(),
    };
    format!("{} {value}{bound}", own.name)
}
