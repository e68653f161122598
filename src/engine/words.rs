//! Spans and instants as sentences say them.
//!
//! Decides how much precision a person needs. Never reads a clock. Contract: a span is told in one
//! unit, rounded down, so that an age is never told older than it is.

use std::time::Duration;

use chrono::{DateTime, Utc};

/// `4 s`, `90 s`, `5 min`, `3 h`, `2 d`: whole minutes from two on, and so forth.
#[must_use]
pub fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        _ if seconds == 0 && !span.is_zero() => format!("{} ms", span.as_millis()),
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        172_800.. => format!("{} d", seconds / 86_400),
    }
}

/// `14:03:11Z`, the way every sentence names an instant of today.
#[must_use]
pub fn clock(at: DateTime<Utc>) -> String {
    at.format("%H:%M:%SZ").to_string()
}

/// An instant to come: with its date where the time of day alone could be taken for an earlier one.
#[must_use]
pub fn until(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let far = (at - now).to_std().is_ok_and(|span| span >= Duration::from_hours(20));
    if far { at.format("%Y-%m-%d %H:%MZ").to_string() } else { clock(at) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_has_one_unit() {
        let check = |span_of: Duration, expected: &str| assert_eq!(span(span_of), expected);
        check(Duration::ZERO, "0 s");
        check(Duration::from_millis(250), "250 ms");
        check(Duration::from_millis(4900), "4 s");
        check(Duration::from_secs(90), "90 s");
        check(Duration::from_mins(5), "5 min");
        check(Duration::from_mins(119), "119 min");
        check(Duration::from_hours(2), "2 h");
        check(Duration::from_hours(24 * 9), "9 d");
    }

    #[test]
    fn a_far_instant_has_its_date() {
        let hours = |hours| DateTime::UNIX_EPOCH + Duration::from_hours(hours);
        assert_eq!(until(hours(19), hours(0)), "19:00:00Z");
        assert_eq!(until(hours(20), hours(0)), "1970-01-01 20:00Z");
        assert_eq!(until(hours(3), hours(50)), "03:00:00Z");
    }
}
