//! A release as it goes: its steps, the evidence, what it asks, what is next, and the way back.
//!
//! Decides the order in which a person needs to know. Never draws evidence by colour alone, and
//! never a promise: what is next is said as the engine said it. Contract: every line has a rank,
//! so that the panel can leave out what matters least.

use engine::record::{ReleaseResult, ReleaseState};
use engine::snapshot::{
    CanaryView, Evidence, Question, ReleaseView, ServiceView, StepState, StepView, TriggerState,
    TriggerView,
};
use engine::types::Status;
use ratatui::text::{Line, Span};

use super::release::Ranked;
use super::{Scene, cell, number, validation};
use crate::ui::theme::Role;
use crate::ui::words;

/// The word that begins a line, and the space after it.
pub const NAME: usize = 9;
/// Lines of the verdict's sentence, of a question, of the reason why it ended.
const SENTENCE_MAX: usize = 3;
const QUESTION_MAX: usize = 3;
/// Cells of an evidence's bar.
const BAR_MAX: usize = 16;
/// A shorter bar says nothing that the figure beside it does not.
const BAR_MIN: usize = 4;
/// From here on evidence is drawn as trouble.
const FAIL_NEAR: f64 = 0.5;
/// Rules that are drawn unless the panel is zoomed.
const RULES_MAX: usize = 2;

/// The release in flight, else how the last one ended.
pub fn lines(service: &ServiceView, width: u16, scene: Scene<'_>) -> Vec<Ranked> {
    let Some(release) = &service.release else { return Vec::new() };
    let mut lines = vec![(0, headline(release, width, scene))];
    if release.result.is_some() {
        let good = release.result == Some(ReleaseResult::Good);
        let rank = if good { 5 } else { 3 };
        let told = told("because", release.sentence.display(), width, Role::Text, scene);
        lines.extend(told.into_iter().map(|line| (rank, line)));
        return lines;
    }
    if let Some(question) = &release.question {
        lines.extend(asks(question, width, scene).into_iter().map(|line| (0, line)));
    }
    if let Some(canary) = &release.canary {
        lines.push((1, bar_of_steps(canary, scene)));
    }
    lines.extend((0..).zip(next(release, width, scene)).map(|(at, line)| (2 + at, line)));
    let word = release.canary.as_ref().map_or("", |canary| canary.verdict.as_str());
    let role = match (release.state, word) {
        (ReleaseState::WalkingBack, _) | (_, "FAIL") => Role::Down,
        (ReleaseState::Held | ReleaseState::Paused, _) | (_, "HOLD" | "NO DATA") => Role::Degraded,
        (ReleaseState::Running | ReleaseState::Asking | ReleaseState::Ended, _) => Role::Text,
    };
    let judged = release.state == ReleaseState::Running && !word.is_empty();
    let name = if judged { "verdict" } else { "because" };
    let told = told(name, &verdict(release, word, judged), width, role, scene);
    lines.extend((0_u8..).zip(told).map(|(at, line)| (1 + 2 * at.min(1), line)));
    lines.extend(looks_on(release, judged, width, scene));
    if let Some(canary) = &release.canary {
        lines.extend(canary.evidence.iter().map(|one| (3, evidence(one, width, scene))));
        lines.extend(counts(canary, width, scene).into_iter().map(|line| (5, line)));
    }
    lines
}

/// Why it is where it is, behind the verdict's own word where the sentence does not begin with it.
fn verdict(release: &ReleaseView, word: &str, judged: bool) -> String {
    // Without a reason of a person's own, nothing follows the colon.
    let sentence = release.sentence.display().trim_end_matches([':', ' ']);
    if judged && !sentence.starts_with(word) {
        return format!("{word}: {sentence}");
    }
    sentence.to_owned()
}

/// It is still watched while nothing moves, and what is seen may be why a person says resume.
fn looks_on(release: &ReleaseView, judged: bool, width: u16, scene: Scene<'_>) -> Vec<Ranked> {
    let Some(canary) = release.canary.as_ref().filter(|_| !judged) else { return Vec::new() };
    if release.sentence.display().contains(canary.sentence.display()) {
        return Vec::new();
    }
    let lines = told("verdict", canary.sentence.display(), width, Role::Text, scene);
    lines.into_iter().map(|line| (3, line)).collect()
}

fn headline(release: &ReleaseView, width: u16, scene: Scene<'_>) -> Line<'static> {
    let theme = scene.theme;
    let hotfix = if release.hotfix { " HOTFIX" } else { "" };
    let mut spans = vec![Span::styled(
        format!("r{} {}{hotfix}", release.id, release.what()),
        theme.style(Role::Strong),
    )];
    let dot = Span::styled(" · ", theme.style(Role::Dim));
    if let Some(result) = release.result {
        let role = match result {
            ReleaseResult::Good => Role::Up,
            ReleaseResult::RolledBack | ReleaseResult::Aborted => Role::Degraded,
            ReleaseResult::Failed => Role::Down,
        };
        spans.push(dot.clone());
        spans.push(Span::styled(result_word(result), theme.style(role)));
    } else {
        spans.push(Span::styled(format!("  {}", place(release)), theme.style(Role::Strong)));
        spans.push(dot.clone());
        spans.push(Span::styled(release.state.word(), theme.style(state_role(release.state))));
    }
    let age = match release.ended {
        Some(ended) => format!("{} ago", words::age(ended.age(scene.now))),
        None => words::age(release.started.age(scene.now)),
    };
    let rest = [format!("by {}", release.user), age];
    for text in rest {
        let used: usize = spans.iter().map(Span::width).sum();
        if used + 3 + words::width(&text) <= usize::from(width) {
            spans.push(dot.clone());
            spans.push(Span::styled(text, theme.style(Role::Text)));
        }
    }
    Line::from(spans)
}

fn result_word(result: ReleaseResult) -> &'static str {
    match result {
        ReleaseResult::Good => "FINALISED",
        ReleaseResult::RolledBack => "ROLLED BACK",
        ReleaseResult::Aborted => "ABORTED",
        ReleaseResult::Failed => "FAILED: a person must look",
    }
}

fn state_role(state: ReleaseState) -> Role {
    match state {
        ReleaseState::Running | ReleaseState::Ended => Role::Strong,
        ReleaseState::Paused | ReleaseState::Held => Role::Degraded,
        ReleaseState::Asking => Role::Focus,
        ReleaseState::WalkingBack => Role::Down,
    }
}

/// `CANARY 2/5` while the canary runs, else the plan's step.
fn place(release: &ReleaseView) -> String {
    let step = release.steps.get(release.step as usize);
    let name = step.map_or("…", |step| step.name.as_str());
    match &release.canary {
        Some(canary) if name.eq_ignore_ascii_case("canary") => {
            format!("CANARY {}/{}", canary.place + 1, canary.steps.len())
        }
        Some(_) | None => {
            let at = (release.step as usize + 1).min(release.steps.len());
            let running = release.steps.iter().filter(|step| step.state == StepState::Running);
            let beside = match running.count() {
                0 | 1 => String::new(),
                all => format!(" +{}", all - 1),
            };
            format!("STEP {at}/{} {name}{beside}", release.steps.len())
        }
    }
}

/// `1 · 5 · [25] · 50 · 100`: brackets around the current one.
fn bar_of_steps(canary: &CanaryView, scene: Scene<'_>) -> Line<'static> {
    let theme = scene.theme;
    let here = canary.place as usize;
    let mut spans = vec![cell("steps %", NAME - 1, theme.style(Role::Dim))];
    for (place, percent) in canary.steps.iter().enumerate() {
        if place > 0 {
            spans.push(Span::styled(theme.pick(" · ", " - "), theme.style(Role::Dim)));
        }
        let percent = percent.get();
        spans.push(match place.cmp(&here) {
            std::cmp::Ordering::Less => Span::styled(percent.to_string(), theme.style(Role::Text)),
            std::cmp::Ordering::Equal => {
                Span::styled(format!("[{percent}]"), theme.style(Role::Strong))
            }
            std::cmp::Ordering::Greater => {
                Span::styled(percent.to_string(), theme.style(Role::Dim))
            }
        });
    }
    Line::from(spans)
}

/// What happens next, and how much time is left until it does.
fn next(release: &ReleaseView, width: u16, scene: Scene<'_>) -> Vec<Line<'static>> {
    let now = scene.now;
    let mut parts = vec![release.next.display().to_owned()];
    if let Some(canary) = &release.canary {
        let left = |until| words::left(until, now);
        if let Some(until) = canary.bake_until {
            parts.push(format!("bakes {} more", words::age(left(until))));
        } else if canary.since.is_none() {
            parts.push("its split is being set".to_owned());
        } else {
            parts.extend(canary.soak_until.map(|until| match left(until) {
                left if left.as_secs() == 0 => "soaked".to_owned(),
                left => format!("soaks {} more", words::age(left)),
            }));
            parts.extend(canary.wait_until.map(|until| match left(until) {
                left if left.as_secs() == 0 => "its time is up".to_owned(),
                left => format!("holds in {}", words::age(left)),
            }));
        }
    }
    parts.retain(|part| !part.is_empty());
    // While nothing moves, no time counts.
    if release.state != ReleaseState::Running {
        parts.truncate(1);
    }
    told("next", &parts.join(" · "), width, Role::Text, scene)
}

/// One sentence behind its name, over a few lines.
pub fn told(
    name: &str,
    text: &str,
    width: u16,
    role: Role,
    scene: Scene<'_>,
) -> Vec<Line<'static>> {
    let theme = scene.theme;
    let rows = words::wrap(text, usize::from(width).saturating_sub(NAME), SENTENCE_MAX);
    let name = |at: usize| if at == 0 { name } else { "" };
    let rows = (0..).zip(rows).map(|(at, row)| {
        Line::from(vec![
            cell(name(at), NAME - 1, theme.style(Role::Dim)),
            Span::styled(row, theme.style(role)),
        ])
    });
    rows.collect()
}

/// One test: how far toward each of its thresholds, in bar and figure.
fn evidence(one: &Evidence, width: u16, scene: Scene<'_>) -> Line<'static> {
    let theme = scene.theme;
    let name = if width < 60 { NAME - 1 } else { 13 };
    // Two words of five cells, two figures of six, and what is around the bars.
    let room = usize::from(width).saturating_sub(name + 1 + 2 * 5 + 2 * 6 + 2 * 2 + 2) / 2;
    let wide = room.min(BAR_MAX);
    let cells = [theme.pick("█", "#"), theme.pick("░", "-")].map(|it| it.chars().next());
    let cells = cells.map(|cell| cell.unwrap_or(' '));
    let mut spans = vec![cell(&one.name, name, theme.style(Role::Text))];
    let fail = match one.fail {
        part if part >= 1.0 => Role::Down,
        part if part >= FAIL_NEAR => Role::Degraded,
        _ => Role::Text,
    };
    let pass = if one.pass >= 1.0 { Role::Up } else { Role::Text };
    for (word, part, role) in [("fail", one.fail, fail), ("pass", one.pass, pass)] {
        let part = if part.is_finite() { part.clamp(0.0, 1.0) } else { 0.0 };
        spans.push(Span::styled(format!("{word} "), theme.style(Role::Dim)));
        if wide >= BAR_MIN {
            spans.push(Span::styled(words::bar(part, wide, cells), theme.style(role)));
            spans.push(Span::raw(" "));
        }
        // Nothing but the threshold itself is 100 %.
        let figure = if part >= 1.0 { 100.0 } else { (part * 100.0).min(99.0) };
        spans.push(number(&format!("{figure:.0} %"), 5, theme.style(role)));
        spans.push(Span::raw(" "));
    }
    Line::from(spans)
}

/// What both arms did since the step began.
fn counts(canary: &CanaryView, width: u16, scene: Scene<'_>) -> Vec<Line<'static>> {
    let arm = |name: &str, arm: engine::snapshot::ArmTotals| {
        let slow = arm.slow.map_or(String::new(), |slow| format!(", {slow} slow"));
        let (requests, errors) = (arm.requests, arm.errors);
        format!("{name} {requests} requests, {errors} errors{slow}")
    };
    let text = format!("{} · {}", arm("stable", canary.stable), arm("canary", canary.canary));
    told("in step", &text, width, Role::Text, scene)
}

fn asks(question: &Question, width: u16, scene: Scene<'_>) -> Vec<Line<'static>> {
    let theme = scene.theme;
    let rows = words::wrap(&question.text, usize::from(width).saturating_sub(NAME), QUESTION_MAX);
    let mut lines: Vec<Line<'static>> = (0..)
        .zip(rows)
        .map(|(at, row)| {
            let name = if at == 0 { " ASKS" } else { "" };
            let role = if at == 0 { Role::Banner } else { Role::Text };
            Line::from(vec![
                Span::styled(words::fit(name, NAME - 1, false), theme.style(role)),
                Span::styled(format!(" {row}"), theme.style(Role::Strong)),
            ])
        })
        .collect();
    let left = words::age(words::left(question.until, scene.now));
    let then = match question.default {
        Some(true) => "then yes",
        Some(false) => "then no",
        None => "then the step fails",
    };
    let mut spans = vec![Span::raw(" ".repeat(NAME))];
    if !scene.ui.read_only {
        spans.push(Span::styled("y", theme.style(Role::Key)));
        spans.push(Span::styled(" yes  ", theme.style(Role::Text)));
        spans.push(Span::styled("n", theme.style(Role::Key)));
        spans.push(Span::styled(" no  ", theme.style(Role::Text)));
    }
    spans.push(Span::styled(format!("{left} left, {then}"), theme.style(Role::Degraded)));
    lines.push(Line::from(spans));
    lines
}

/// What stands whether or not a release is on its way: the way back, and who goes it by himself.
pub fn standing(service: &ServiceView, width: u16, scene: Scene<'_>) -> Vec<Ranked> {
    let mut lines = Vec::new();
    if service.route.is_some() {
        let (text, role) = ready(service, scene);
        let rows = words::wrap(&text, usize::from(width), SENTENCE_MAX);
        let rank = |at: u8| if at == 0 { 2 } else { 6 };
        let rows = (0_u8..).zip(rows);
        lines.extend(rows.map(|(at, row)| (rank(at), Line::styled(row, scene.theme.style(role)))));
    }
    if let Some(view) = &service.validation {
        lines.extend(validation::lines(view, width, scene));
    }
    let max = if scene.ui.zoomed { usize::MAX } else { RULES_MAX };
    let rules = (1..).zip(&service.triggers).take(max);
    for (number, rule) in rules {
        let armed = rule.state == TriggerState::Armed;
        let calm = armed && rule.since.is_none();
        let mut line = rule_line(number, rule, scene);
        let beside = Span::styled(format!("  {}", rule.sentence), scene.theme.style(Role::Dim));
        let fits = line.width() + beside.width() <= usize::from(width);
        let below = if calm && !scene.ui.zoomed && fits {
            line.push_span(beside);
            Vec::new()
        } else if scene.ui.zoomed || calm || !armed {
            told("", rule.sentence.display(), width, Role::Dim, scene)
        } else {
            // While it is true, its line says for how long.
            Vec::new()
        };
        lines.push((if calm { 6 } else { 3 }, line));
        lines.extend(below.into_iter().map(|line| (7, line)));
    }
    lines
}

/// The lamp, in symbol and words.
pub fn ready(service: &ServiceView, scene: Scene<'_>) -> (String, Role) {
    let (ok, text) = service.readiness.summary(scene.now);
    let (status, role) = match ok {
        Some(true) => (Status::Up, Role::Up),
        Some(false) => (Status::Down, Role::Down),
        None => (Status::Unknown, Role::Unknown),
    };
    (format!("{} {text}", scene.theme.status_symbol(status)), role)
}

#[must_use]
pub fn state_word(state: TriggerState) -> &'static str {
    match state {
        TriggerState::Armed => "ARMED",
        TriggerState::Held => "HELD",
        TriggerState::Off => "OFF",
    }
}

fn rule_line(number: usize, rule: &TriggerView, scene: Scene<'_>) -> Line<'static> {
    let theme = scene.theme;
    let tone = match (rule.state, rule.since) {
        (TriggerState::Armed, None) => Role::Dim,
        (TriggerState::Armed, Some(_)) | (TriggerState::Off, _) => Role::Degraded,
        (TriggerState::Held, _) => Role::Down,
    };
    let span = words::age(rule.span);
    let since = rule
        .since
        .map(|since| format!("  true for {} of {span}", words::age(since.age(scene.now))))
        .unwrap_or_default();
    let name = format!("rule {number}");
    Line::from(vec![
        cell(&name, NAME - 1, theme.style(Role::Dim)),
        Span::styled(state_word(rule.state), theme.style(tone)),
        Span::styled(format!("  {} for {span}", rule.rule), theme.style(Role::Text)),
        Span::styled(since, theme.style(tone)),
    ])
}

/// The plan, every check of the way back, and what was released before.
pub fn zoomed(service: &ServiceView, width: u16, scene: Scene<'_>) -> Vec<Line<'static>> {
    let theme = scene.theme;
    let mut lines = Vec::new();
    let heading = |text: String| Line::styled(text, theme.style(Role::Dim));
    if let Some(release) = &service.release {
        lines.push(heading(format!("plan {}", release.plan)));
        for (number, step) in (1..).zip(&release.steps) {
            lines.extend(step_lines(number, step, width, scene));
        }
    }
    if let Some(view) = &service.validation {
        lines.push(heading("checks".to_owned()));
        lines.extend(validation::checks(view, scene));
    }
    if !service.readiness.checks.is_empty() {
        lines.push(heading("the way back".to_owned()));
    }
    for check in &service.readiness.checks {
        let (word, role) = match check.ok_at(scene.now) {
            Some(true) => ("yes", Role::Up),
            Some(false) => ("NO", Role::Down),
            None => ("?", Role::Unknown),
        };
        lines.push(Line::from(vec![
            cell(&format!("  {word}"), 7, theme.style(role)),
            cell(&check.name, 24, theme.style(Role::Text)),
            Span::styled(check.why.display().to_owned(), theme.style(Role::Dim)),
        ]));
    }
    if !service.history.is_empty() {
        lines.push(heading("released before".to_owned()));
    }
    for past in &service.history {
        let took = past.rollback_took.map(words::age);
        let took = took.map_or(String::new(), |took| format!(", rollback took {took}"));
        let age = (scene.now.wall - past.ended).to_std().unwrap_or_default();
        let text =
            format!("{} by {}, {} ago{took}", past.result.word(), past.user, words::age(age));
        let bad = if past.bad { " MARKED BAD" } else { "" };
        lines.push(Line::from(vec![
            cell(&format!("  r{}", past.id), 7, theme.style(Role::Dim)),
            cell(past.what(), 24, theme.style(Role::Text)),
            Span::styled(text, theme.style(Role::Text)),
            Span::styled(bad, theme.style(Role::Down)),
        ]));
    }
    lines
}

fn step_lines(number: usize, step: &StepView, width: u16, scene: Scene<'_>) -> Vec<Line<'static>> {
    let theme = scene.theme;
    let (mark, word, role) = match step.state {
        StepState::Waiting => (theme.pick("·", "."), "waiting", Role::Dim),
        StepState::Running => (theme.pick("▸", ">"), "running", Role::Strong),
        StepState::Done => (theme.pick("✓", "+"), "done", Role::Up),
        StepState::Failed => (theme.pick("✗", "x"), "failed", Role::Down),
        StepState::Undone => (theme.pick("↶", "<"), "undone", Role::Degraded),
    };
    let took = match (step.started, step.ended) {
        (Some(started), Some(ended)) => words::age(started.age(ended)),
        (Some(started), None) => words::age(started.age(scene.now)),
        (None, _) => String::new(),
    };
    let took = match step.estimate.map(words::age) {
        Some(estimate) if took.is_empty() => format!("about {estimate}"),
        Some(estimate) => format!("{took} of about {estimate}"),
        None => took,
    };
    let mut lines = vec![Line::from(vec![
        Span::styled(format!("  {mark} "), theme.style(role)),
        cell(&format!("{number} {}", step.name), 24, theme.style(Role::Text)),
        cell(word, 8, theme.style(role)),
        Span::styled(took, theme.style(Role::Dim)),
    ])];
    let gutter = theme.pick("│", "|");
    let rows =
        words::wrap(step.detail.display(), usize::from(width).saturating_sub(8), SENTENCE_MAX);
    lines.extend(
        rows.into_iter()
            .map(|row| Line::styled(format!("      {gutter} {row}"), theme.style(Role::Dim))),
    );
    lines
}
