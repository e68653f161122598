//! The operation of a service as it goes: asked, accepted, applied, and how it ended.
//!
//! Decides how much of it is said. Contract: never a step as done before it was proven, and what a
//! person must type by hand is shown whole.

use std::cmp::Ordering;

use engine::record::OperationResult;
use engine::snapshot::{OperationView, Phase, RouterProgress, ServiceView};
use ratatui::text::{Line, Span};

use super::{Scene, cell};
use crate::ui::keymap::Act;
use crate::ui::theme::Role;
use crate::ui::words;

/// Below this the steps of an operation don't fit on one line, with their widest words.
const STEPS_WIDTH: u16 = 52;
/// Lines of a refusal, of a sentence, and of what is typed by hand.
const REFUSAL_MAX: usize = 3;
const SENTENCE_MAX: usize = 2;
const MANUAL_MAX: usize = 12;

/// REQUESTED → ACCEPTED → APPLYING n/m → VERIFIED, and one line for each router.
pub fn progress(service: &ServiceView, width: u16, scene: Scene<'_>) -> Vec<Line<'static>> {
    let theme = scene.theme;
    let mut lines = Vec::new();
    if let Some(requested) = scene.ui.requested.get(&service.name) {
        let (text, role) = match &requested.answer {
            None => (
                format!(
                    "{} REQUESTED {} ago",
                    requested.verb,
                    words::age(requested.at.age(scene.clock))
                ),
                Role::Strong,
            ),
            Some(Ok(_)) => (format!("{} ACCEPTED", requested.verb), Role::Strong),
            Some(Err(why)) => (format!("{} {why}", requested.verb), Role::Down),
        };
        let rows = words::wrap(&text, usize::from(width), REFUSAL_MAX);
        lines.extend(rows.into_iter().map(|row| Line::styled(row, theme.style(role))));
    }
    let Some(operation) = &service.operation else { return lines };
    lines.push(operation_line(operation, scene));
    lines.push(steps(operation, width, scene));
    if operation.phase == Phase::Ended(OperationResult::Unknown) {
        let verify = scene.ui.keymap.shown(Act::Verify);
        let text = format!("do not retry; {verify} verifies");
        lines.push(Line::styled(text, theme.style(Role::Strong)));
    }
    let sentence = words::wrap(operation.sentence.display(), usize::from(width), SENTENCE_MAX);
    lines.extend(sentence.into_iter().map(|row| Line::styled(row, theme.style(Role::Text))));
    if operation.phase == Phase::Ended(OperationResult::Verified) {
        return lines;
    }
    for router in &operation.routers {
        let proven = router.proven.map(|at| words::age(at.age(scene.now)));
        let (answer, role) = told(router, operation, service);
        let word = match (&proven, router.sent) {
            (Some(age), _) => format!("proven {age} ago"),
            (None, Some(_)) if router.tries == 1 => "sent once".to_owned(),
            (None, Some(_)) => format!("sent {} times", router.tries),
            (None, None) => "waiting".to_owned(),
        };
        lines.push(Line::from(vec![
            cell(&format!("  {}", router.router), 18, theme.style(Role::Text)),
            cell(&word, 16, theme.style(Role::Text)),
            Span::styled(answer, theme.style(role)),
        ]));
    }
    if matches!(operation.phase, Phase::Ended(_)) {
        for text in &operation.manual {
            lines.push(Line::styled("by hand:", theme.style(Role::Dim)));
            let rows = words::wrap(text, usize::from(width).saturating_sub(2), MANUAL_MAX);
            let strong = theme.style(Role::Strong);
            lines.extend(rows.into_iter().map(|row| Line::styled(format!("  {row}"), strong)));
        }
    }
    lines
}

/// A router's last word, and what it shows when that is not what it said.
fn told(
    progress: &RouterProgress,
    operation: &OperationView,
    service: &ServiceView,
) -> (String, Role) {
    let answer = progress.answer.display();
    let routers = service.route.iter().flat_map(|route| &route.routers);
    let mut own = routers.filter(|router| router.name == progress.router);
    let Some(router) = own.next().filter(|_| progress.proven.is_none()) else {
        return (answer.to_owned(), Role::Dim);
    };
    if !router.error.is_empty() {
        let comma = if answer.is_empty() { "" } else { ", " };
        return (format!("{answer}{comma}cannot be read: {}", router.error), Role::Down);
    }
    let read_after =
        router.read.zip(progress.sent).is_some_and(|(read, sent)| read.mono > sent.mono);
    match router.canary.filter(|_| read_after && !answer.is_empty()) {
        Some(canary) if (canary - f64::from(operation.to.get())).abs() >= 0.5 => {
            (format!("{answer}, but shows {canary:.0} %"), Role::Degraded)
        }
        Some(_) | None => (answer.to_owned(), Role::Dim),
    }
}

fn operation_line(operation: &OperationView, scene: Scene<'_>) -> Line<'static> {
    let theme = scene.theme;
    let way = match operation.from {
        Some(from) => format!("{from} {} {}", theme.pick("→", "->"), operation.to),
        None => format!("to {}", operation.to),
    };
    let mut text = format!(
        "{} {way} by {}, {} ago",
        operation.verb,
        operation.user,
        words::age(operation.requested.age(scene.now))
    );
    if !operation.reason.is_empty() {
        text = format!("{text}: {}", operation.reason);
    }
    Line::styled(text, theme.style(Role::Strong))
}

/// The way of the operation; on a narrow panel only where it stands.
fn steps(operation: &OperationView, width: u16, scene: Scene<'_>) -> Line<'static> {
    let theme = scene.theme;
    let proven = operation.routers.iter().filter(|router| router.proven.is_some()).count();
    let (reached, end, end_role) = match operation.phase {
        // A result is not named before it is one.
        Phase::Accepted => (1, "…", Role::Dim),
        Phase::Applying | Phase::Recording => (2, "…", Role::Dim),
        Phase::Ended(result) => {
            let role = match result {
                OperationResult::Verified => Role::Up,
                OperationResult::Superseded => Role::Dim,
                OperationResult::Partial | OperationResult::Unknown => Role::Degraded,
                OperationResult::Refused => Role::Down,
            };
            (3, result.word(), role)
        }
    };
    let applying = format!("APPLYING {proven}/{}", operation.routers.len());
    let arrow = theme.pick(" → ", " -> ");
    let mut spans = Vec::new();
    let all = ["REQUESTED", "ACCEPTED", &applying];
    let short = width < STEPS_WIDTH;
    for (place, word) in all.into_iter().enumerate() {
        if short && (place != reached || reached == all.len()) {
            continue;
        }
        let role = match place.cmp(&reached) {
            Ordering::Equal => Role::Strong,
            Ordering::Less => Role::Text,
            Ordering::Greater => Role::Dim,
        };
        spans.push(Span::styled(word.to_owned(), theme.style(role)));
        spans.push(Span::styled(arrow, theme.style(Role::Dim)));
    }
    spans.push(Span::styled(end, theme.style(end_role)));
    Line::from(spans)
}
