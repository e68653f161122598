//! Figures as words: ages, latencies, percents, and text cut to a width.
//!
//! Decides how a figure reads. Never invents one: `None` is a dash. Contract: the results are
//! stable in width as far as their meaning allows, so that rows don't dance.

use std::time::Duration;

use engine::snapshot::{RouteState, RouteView, RouterState, RouterView, SourceView};
use engine::types::Now;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Seconds below a minute, minutes and seconds below an hour, then hours, then days.
#[must_use]
pub fn age(span: Duration) -> String {
    let s = span.as_secs();
    match s {
        0..60 => format!("{s}s"),
        60..3_600 => format!("{}m{:02}s", s / 60, s % 60),
        3_600..86_400 => format!("{}h{:02}m", s / 3_600, s % 3_600 / 60),
        _ => format!("{}d{:02}h", s / 86_400, s % 86_400 / 3_600),
    }
}

#[must_use]
pub fn age_of(at: Option<Now>, now: Now) -> String {
    at.map_or("–".to_owned(), |at| standing(at.age(now)))
}

/// The age of what stands in a list: from a minute on without seconds, so that nothing is drawn
/// each second for what does not change.
#[must_use]
pub fn standing(span: Duration) -> String {
    match span.as_secs() {
        60..3_600 => short_age(span),
        _ => age(span),
    }
}

/// The age in its largest unit alone.
#[must_use]
pub fn short_age(span: Duration) -> String {
    let s = span.as_secs();
    match s {
        0..60 => format!("{s}s"),
        60..3_600 => format!("{}m", s / 60),
        3_600..86_400 => format!("{}h", s / 3_600),
        _ => format!("{}d", s / 86_400),
    }
}

/// What is left until then; nothing when it is over.
#[must_use]
pub fn left(until: Now, now: Now) -> Duration {
    until.mono.since(now.mono)
}

/// How old a router's split is when it is no longer what the router shows now: the last read
/// failed, or is long ago, or never was. `None` while it is fresh.
#[must_use]
pub fn unread(router: &RouterView, now: Now) -> Option<Duration> {
    let age = router.read.map(|at| at.age(now)).unwrap_or_default();
    match router.state_at(now) {
        RouterState::Live | RouterState::Late => None,
        RouterState::Waiting | RouterState::Stale | RouterState::Failing => Some(age),
    }
}

/// A route's state; where it rests on what was read, and that is old, what it last was.
#[must_use]
pub fn state_of(route: &RouteView, now: Now) -> (String, bool) {
    let word = route.state.word();
    let read = match route.state {
        RouteState::Verified | RouteState::Drifted => true,
        RouteState::Unverified | RouteState::Changing => false,
    };
    match share_of(route, now).old.filter(|_| read) {
        Some(span) => (format!("STALE {} (last {word})", age(span)), true),
        None => (word.to_owned(), false),
    }
}

/// Why a source fails; its own name, which stands beside it, is left out.
#[must_use]
pub fn why(source: &SourceView) -> &str {
    let error = source.error.display();
    let named = source.name.rsplit_once(' ').map(|(name, part)| format!("{part} {name}: "));
    named.and_then(|named| error.strip_prefix(&named)).unwrap_or(error)
}

/// What the routers of a service show together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// Percent to the canary as last read, if they agree.
    pub percent: Option<f64>,
    /// Age of the oldest that cannot be taken as what is so now.
    pub old: Option<Duration>,
}

#[must_use]
pub fn share_of(route: &RouteView, now: Now) -> Share {
    let old = route.routers.iter().filter_map(|router| unread(router, now)).max();
    let mut read = route.routers.iter().map(|router| router.canary);
    let first = read.next().flatten();
    let agree = |first: &f64| read.all(|it| it.is_some_and(|it| (it - first).abs() < 0.5));
    Share { percent: first.filter(agree), old }
}

impl Share {
    /// For a narrow column: with its age when it is old.
    #[must_use]
    pub fn text(self, percent: Option<f64>) -> String {
        match (percent, self.old) {
            (None, _) => "–".to_owned(),
            (Some(percent), None) => format!("{percent:.0} %"),
            (Some(percent), Some(age)) => format!("{percent:.0}% {}", short_age(age)),
        }
    }
}

#[must_use]
pub fn latency(span: Option<Duration>) -> String {
    millis(span.map(|span| span.as_secs_f64() * 1000.0))
}

#[must_use]
pub fn millis(ms: Option<f64>) -> String {
    match ms {
        None => "–".to_owned(),
        Some(ms) if ms < 10.0 => format!("{ms:.1}ms"),
        Some(ms) if ms < 1000.0 => format!("{ms:.0}ms"),
        Some(ms) => format!("{:.1}s", ms / 1000.0),
    }
}

#[must_use]
pub fn percent(value: Option<f64>) -> String {
    match value {
        None => "–".to_owned(),
        Some(value) if value == 0.0 || value >= 99.95 => format!("{value:.0} %"),
        Some(value) => format!("{value:.1} %"),
    }
}

#[must_use]
pub fn count(value: Option<f64>) -> String {
    match value {
        None => "–".to_owned(),
        Some(value) if value < 10_000.0 => format!("{value:.0}"),
        Some(value) if value < 10_000_000.0 => format!("{:.0}k", value / 1e3),
        Some(value) => format!("{:.0}M", value / 1e6),
    }
}

#[must_use]
pub fn bytes_per_s(value: Option<f64>) -> String {
    match value {
        None => "–".to_owned(),
        Some(value) if value < 1e3 => format!("{value:.0}B/s"),
        Some(value) if value < 1e6 => format!("{:.0}kB/s", value / 1e3),
        Some(value) if value < 1e9 => format!("{:.1}MB/s", value / 1e6),
        Some(value) => format!("{:.1}GB/s", value / 1e9),
    }
}

#[must_use]
pub fn width(text: &str) -> usize {
    UnicodeWidthStr::width(text)
}

/// `text` in at most `max` cells; what was cut is shown by an ellipsis.
#[must_use]
pub fn clip(text: &str, max: usize) -> String {
    if width(text) <= max {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 0;
    for c in text.chars() {
        let wide = c.width().unwrap_or(0);
        if used + wide > max.saturating_sub(1) {
            break;
        }
        used += wide;
        out.push(c);
    }
    if max > 0 {
        out.push('…');
    }
    out
}

/// `text` on at most `max` lines of `wide` cells, broken at blanks where there are some; what does
/// not fit is shown by an ellipsis.
#[must_use]
pub fn wrap(text: &str, wide: usize, max: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() && wide > 0 && lines.len() < max {
        if lines.len() + 1 == max || width(rest) <= wide {
            lines.push(clip(rest, wide));
            break;
        }
        let mut used = 0;
        let fits = |c: &char| {
            used += c.width().unwrap_or(0);
            used <= wide
        };
        let bytes: usize = rest.chars().take_while(fits).map(char::len_utf8).sum();
        // A character wider than the line is cut off, so that the rest gets shorter.
        let bytes = bytes.max(rest.chars().next().map_or(1, char::len_utf8));
        let whole = rest[bytes..].starts_with(' ');
        let blank = if whole { Some(bytes) } else { rest[..bytes].rfind(' ') };
        let end = blank.filter(|end| *end > 0).unwrap_or(bytes);
        lines.push(clip(rest[..end].trim_end(), wide));
        rest = rest[end..].trim_start();
    }
    lines
}

/// A bar of `wide` cells, filled to `part` of 1.
#[must_use]
pub fn bar(part: f64, wide: usize, [full, empty]: [char; 2]) -> String {
    let filled = (0..wide).filter(|cell| share(*cell, wide) < part).count();
    let filled = if part >= 1.0 { wide } else { filled.min(wide.saturating_sub(1)) };
    let rest = wide - filled;
    full.to_string().repeat(filled) + &empty.to_string().repeat(rest)
}

/// Clipped and filled to exactly `wide` cells, on the left or the right.
#[must_use]
pub fn fit(text: &str, wide: usize, right: bool) -> String {
    let text = clip(text, wide);
    let fill = " ".repeat(wide.saturating_sub(width(&text)));
    if right { fill + &text } else { text + &fill }
}

/// Latencies below this are the machine's own noise.
const CALM_MS: f64 = 10.0;
/// Values that differ by less than this part of the largest are steady.
const STEADY: f64 = 1.0 / 3.0;
/// Where what is steady lies: below the middle, and as far from the next step up as down.
const STEADY_AT: f64 = 0.4375;

/// What the height of a graph of latencies stands for: the largest, but so much that what is
/// steady lies low and still.
#[must_use]
pub fn ceiling(values: &[Option<f64>]) -> f64 {
    let (top, least) = (largest(values), values.iter().flatten().copied().reduce(f64::min));
    let steady = top - least.unwrap_or_default() < top * STEADY;
    if steady { (top / STEADY_AT).max(CALM_MS) } else { top.max(CALM_MS) }
}

fn largest(values: &[Option<f64>]) -> f64 {
    values.iter().flatten().fold(0.0_f64, |top, value| top.max(*value))
}

/// The newest values that fit, scaled to the largest of them.
#[must_use]
pub fn spark(values: &[Option<f64>], wide: usize, steps: &[char], none: char) -> String {
    below(largest, values, wide, steps, none)
}

/// The same of latencies, below their ceiling.
#[must_use]
pub fn course(values: &[Option<f64>], wide: usize, steps: &[char], none: char) -> String {
    below(ceiling, values, wide, steps, none)
}

fn below(
    top: fn(&[Option<f64>]) -> f64,
    values: &[Option<f64>],
    wide: usize,
    steps: &[char],
    none: char,
) -> String {
    let shown = &values[values.len().saturating_sub(wide)..];
    let top = top(shown);
    let line: String = shown
        .iter()
        .map(|value| match value {
            Some(value) => steps[level(*value, top, steps.len())],
            None => none,
        })
        .collect();
    fit(&line, wide, true)
}

fn level(value: f64, top: f64, count: usize) -> usize {
    if top <= 0.0 {
        return 0;
    }
    (1..count).rev().find(|step| share(*step, count) <= value / top).unwrap_or(0)
}

/// The share of the largest value at which a step begins.
fn share(step: usize, count: usize) -> f64 {
    let part = |n: usize| f64::from(u32::try_from(n).unwrap_or(u32::MAX));
    part(step) / part(count)
}

#[cfg(test)]
mod tests {
    use engine::types::Untrusted;

    use super::*;

    #[test]
    fn ages_are_in_seconds_below_a_minute() {
        let check = |secs, expected: &str| assert_eq!(age(Duration::from_secs(secs)), expected);
        check(59, "59s");
        check(134, "2m14s");
        check(3_660, "1h01m");
        check(90_000, "1d01h");
    }

    #[test]
    fn what_stands_in_a_list_is_told_in_minutes() {
        let check =
            |secs, expected: &str| assert_eq!(standing(Duration::from_secs(secs)), expected);
        check(59, "59s");
        check(134, "2m");
        check(3_660, "1h01m");
    }

    #[test]
    fn text_is_cut_by_cells() {
        assert_eq!(clip("payments", 5), "paym…");
        assert_eq!(clip("日本語", 4), "日…");
        assert_eq!(clip("x", 0), "");
        assert_eq!(fit("ab", 4, true), "  ab");
    }

    #[test]
    fn text_wraps_at_blanks() {
        let check = |text: &str, wide, max, expected: &[&str]| {
            assert_eq!(wrap(text, wide, max), expected, "{text} in {wide}");
        };
        check("", 10, 3, &[]);
        check("do not retry", 20, 3, &["do not retry"]);
        check("do not retry; v verifies", 12, 3, &["do not", "retry; v", "verifies"]);
        check("do not retry; v verifies", 12, 2, &["do not", "retry; v ve…"]);
        check("abcdefgh", 3, 9, &["abc", "def", "gh"]);
        check("日本語", 1, 9, &["…", "…", "…"]);
        check("abc def", 3, 9, &["abc", "def"]);
    }

    #[test]
    fn an_error_leaves_out_the_name_that_stands_beside_it() {
        let check = |name: &str, error: &str, expected: &str| {
            let source = SourceView {
                name: name.to_owned(),
                kind: "json".to_owned(),
                interval: Duration::from_secs(5),
                success: None,
                error: Untrusted::new(error),
                skew_s: None,
            };
            assert_eq!(why(&source), expected);
        };
        check("pager feed", "feed pager: HTTP 401: no", "HTTP 401: no");
        check("pager feed", "feed other: HTTP 401", "feed other: HTTP 401");
        check("shop/api probe", "connection refused", "connection refused");
        check("alerts", "connection refused", "connection refused");
    }

    #[test]
    fn a_bar_is_full_only_when_it_is() {
        let check = |part, expected: &str| assert_eq!(bar(part, 4, ['#', '-']), expected);
        check(0.0, "----");
        check(0.01, "#---");
        check(0.5, "##--");
        check(0.99, "###-");
        check(1.0, "####");
    }

    #[test]
    fn a_gap_in_a_sparkline_is_not_a_zero() {
        let steps = ['_', '#'];
        assert_eq!(spark(&[Some(0.0), None, Some(4.0)], 4, &steps, '.'), " _.#");
    }

    #[test]
    fn a_steady_latency_lies_low_and_a_rise_stands_out() {
        let steps = ['1', '2', '3', '4', '5', '6', '7', '8'];
        let check = |values: &[u32], expected: &str| {
            let values: Vec<Option<f64>> = values.iter().map(|ms| Some(f64::from(*ms))).collect();
            assert_eq!(course(&values, values.len(), &steps, '.'), expected, "{values:?}");
        };
        check(&[0, 0, 0, 0], "1111");
        check(&[2, 1, 2, 2], "2122");
        check(&[300, 310, 290, 300], "4444");
        check(&[300, 300, 300, 900], "3338");
        check(&[200, 390, 210, 400], "5858");
        check(&[1, 1, 1, 40], "1118");
    }
}
