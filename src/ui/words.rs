//! Figures as words: ages, latencies, percents, and text cut to a width.
//!
//! Decides how a figure reads. Never invents one: `None` is a dash. Contract: the results are
//! stable in width as far as their meaning allows, so that rows don't dance.

use std::time::Duration;

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
    at.map_or("–".to_owned(), |at| age(at.age(now)))
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

/// Clipped and filled to exactly `wide` cells, on the left or the right.
#[must_use]
pub fn fit(text: &str, wide: usize, right: bool) -> String {
    let text = clip(text, wide);
    let fill = " ".repeat(wide.saturating_sub(width(&text)));
    if right { fill + &text } else { text + &fill }
}

/// The newest values that fit, scaled to the largest of them.
#[must_use]
pub fn spark(values: &[Option<f64>], wide: usize, steps: &[char], none: char) -> String {
    let shown = &values[values.len().saturating_sub(wide)..];
    let top = shown.iter().flatten().fold(0.0_f64, |top, value| top.max(*value));
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
    fn text_is_cut_by_cells() {
        assert_eq!(clip("payments", 5), "paym…");
        assert_eq!(clip("日本語", 4), "日…");
        assert_eq!(clip("x", 0), "");
        assert_eq!(fit("ab", 4, true), "  ab");
    }

    #[test]
    fn a_gap_in_a_sparkline_is_not_a_zero() {
        let steps = ['_', '#'];
        assert_eq!(spark(&[Some(0.0), None, Some(4.0)], 4, &steps, '.'), " _.#");
    }
}
