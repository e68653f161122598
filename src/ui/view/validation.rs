//! The checks of a service: how far they are, what they said, and how long that counts.
//!
//! Decides which checks are named. Never counts a check that did not pass as one that did.
//! Contract: while they run, what runs is named; afterwards, every one that failed.

use engine::snapshot::{CheckState, CheckView, ValidationView};
use ratatui::text::{Line, Span};

use super::release::Ranked;
use super::rollout::{NAME, told};
use super::{Scene, cell};
use crate::ui::theme::Role;
use crate::ui::words;

/// Failed checks that are told with what they said; the others are named.
const TOLD_MAX: usize = 3;

/// The checks in a few lines; what failed matters more than what passed.
pub fn lines(view: &ValidationView, width: u16, scene: Scene<'_>) -> Vec<Ranked> {
    let (text, role) = summary(view, scene);
    let first = told("checks", &text, width, role, scene);
    let mut lines: Vec<Ranked> =
        (5_u8..).zip(first).map(|(rank, line)| (rank.min(6), line)).collect();
    if view.can_deploy.is_some() && !is_old(view, scene) {
        for check in failed(view).take(TOLD_MAX) {
            let role = if check.critical { Role::Down } else { Role::Degraded };
            let text = format!("{}: {}", check.name, check.detail);
            let rows = told("", &text, width, role, scene);
            lines.extend(rows.into_iter().take(1).map(|line| (6, line)));
        }
    }
    lines
}

/// The same in one line.
pub fn line(view: &ValidationView, scene: Scene<'_>) -> Line<'static> {
    let (text, role) = summary(view, scene);
    Line::from(vec![
        cell("checks", NAME - 1, scene.theme.style(Role::Dim)),
        Span::styled(text, scene.theme.style(role)),
    ])
}

fn failed(view: &ValidationView) -> impl Iterator<Item = &CheckView> {
    let own = |critical: bool| {
        let failed = view.checks.iter().filter(|check| check.state == CheckState::Failed);
        failed.filter(move |check| check.critical == critical)
    };
    own(true).chain(own(false))
}

fn is_old(view: &ValidationView, scene: Scene<'_>) -> bool {
    view.ended.is_some_and(|at| at.age(scene.now) > view.fresh_for)
}

fn names<'a>(checks: impl Iterator<Item = &'a CheckView>) -> String {
    checks.map(|check| check.name.as_str()).collect::<Vec<_>>().join(", ")
}

fn summary(view: &ValidationView, scene: Scene<'_>) -> (String, Role) {
    let state = |state: CheckState| view.checks.iter().filter(move |check| check.state == state);
    let passed = state(CheckState::Passed).count();
    let version = if view.version.is_empty() { "" } else { " for " };
    let counted = format!("{passed} of {} passed{version}{}", view.checks.len(), view.version);
    let named = |word: &str, names: String| {
        if names.is_empty() { String::new() } else { format!(", {word} {names}") }
    };
    let bad = named("failed", names(failed(view)));
    let Some(can_deploy) = view.can_deploy else {
        let since = words::age(view.started.age(scene.now));
        let runs = named("runs", names(state(CheckState::Running)));
        let again = named("again", names(state(CheckState::Retrying)));
        return (format!("{counted}, under way for {since}{bad}{runs}{again}"), Role::Strong);
    };
    let age = words::age_of(view.ended, scene.now);
    if is_old(view, scene) {
        return (format!("{counted} {age} ago: too old to release on{bad}"), Role::Stale);
    }
    let (word, role) = if can_deploy { ("yes", Role::Up) } else { ("NO", Role::Down) };
    (format!("may deploy: {word}, {counted} {age} ago{bad}"), role)
}

/// Every check with its state, for a zoomed panel.
pub fn checks(view: &ValidationView, scene: Scene<'_>) -> Vec<Line<'static>> {
    let theme = scene.theme;
    let lines = view.checks.iter().map(|check| {
        let (word, role) = match check.state {
            CheckState::Waiting => ("waits", Role::Dim),
            CheckState::Running => ("runs", Role::Strong),
            CheckState::Retrying => ("again", Role::Degraded),
            CheckState::Passed => ("passed", Role::Up),
            CheckState::Failed if check.critical => ("FAILED", Role::Down),
            CheckState::Failed => ("failed", Role::Degraded),
        };
        Line::from(vec![
            cell(&format!("  {word}"), 8, theme.style(role)),
            cell(&check.name, 23, theme.style(Role::Text)),
            cell(&words::latency(check.took), 8, theme.style(Role::Dim)),
            Span::styled(check.detail.display().to_owned(), theme.style(Role::Dim)),
        ])
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chrono::DateTime;
    use engine::types::{Now, Time, Untrusted};

    use super::*;
    use crate::ui::Ui;
    use crate::ui::theme::{Depth, Symbols, Theme};

    fn at(seconds: u64) -> Now {
        let span = Duration::from_secs(seconds);
        Now { mono: Time(0) + span, wall: DateTime::UNIX_EPOCH + span }
    }

    fn check(states: &[(&str, CheckState, bool)], ended: Option<u64>, expected: &[&str]) {
        let checks = states.iter().map(|(name, state, critical)| CheckView {
            name: (*name).to_owned(),
            critical: *critical,
            state: *state,
            tries: 1,
            took: None,
            detail: Untrusted::new("it said so"),
        });
        let checks: Vec<CheckView> = checks.collect();
        let bad = |check: &CheckView| check.critical && check.state == CheckState::Failed;
        let view = ValidationView {
            submissions: Vec::new(),
            version: "1.2".to_owned(),
            user: Untrusted::new("ana"),
            started: at(0),
            ended: ended.map(at),
            can_deploy: ended.map(|_| !checks.iter().any(bad)),
            fresh_for: Duration::from_mins(15),
            checks,
        };
        let theme = Theme::named("mono", Depth::Never, Symbols::Unicode).expect("embedded");
        let ui = Ui::new(false, None);
        let scene = Scene { live: None, ui: &ui, theme: &theme, now: at(1_000), clock: at(1_000) };
        let drawn = lines(&view, 120, scene);
        let drawn: Vec<String> = drawn.iter().map(|(_, line)| line.to_string()).collect();
        let drawn: Vec<&str> = drawn.iter().map(|line| line[9..].trim_end()).collect();
        assert_eq!(drawn, expected);
    }

    #[test]
    fn what_runs_and_what_failed_has_its_name() {
        use CheckState::{Failed, Passed, Retrying, Running, Waiting};
        let under_way = [
            ("api", Passed, true),
            ("db", Running, true),
            ("disk", Failed, false),
            ("tls", Retrying, true),
            ("late", Waiting, true),
        ];
        let text = "1 of 5 passed for 1.2, under way for 16m40s, failed disk, runs db, again tls";
        check(&under_way, None, &[text]);
        let over = [("docs", Failed, false), ("api", Passed, true), ("db", Failed, true)];
        let text = "may deploy: NO, 1 of 3 passed for 1.2 10s ago, failed db, docs";
        check(&over, Some(990), &[text, "db: it said so", "docs: it said so"]);
        let text = "1 of 3 passed for 1.2 16m ago: too old to release on, failed db, docs";
        check(&over, Some(10), &[text]);
        let text = "may deploy: yes, 1 of 1 passed for 1.2 10s ago";
        check(&[("api", Passed, true)], Some(990), &[text]);
    }
}
