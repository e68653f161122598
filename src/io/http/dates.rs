//! How far the clocks of servers are from ours, by the dates of their answers.
//!
//! Decides what an answer says of its server's clock. Never judges it: the engine does. Contract: a
//! date is parsed when its second changes, not with each of thousands of answers; one that a cache
//! kept counts with the age that the cache tells.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use reqwest::header::{self, HeaderMap, HeaderValue};

use crate::io::clock;

/// Shared by all clients: most servers say the same second.
#[derive(Clone, Default)]
pub struct Dates(Arc<Mutex<Option<Date>>>);

struct Date {
    said: HeaderValue,
    time: DateTime<Utc>,
}

impl Dates {
    /// By how many seconds the server is ahead of us; `None` when it does not say its time.
    pub fn ahead(&self, headers: &HeaderMap) -> Option<i64> {
        let said = headers.get(header::DATE)?;
        let age = headers.get(header::AGE).and_then(|age| age.to_str().ok()?.parse::<u32>().ok());
        let age = i64::from(age.unwrap_or_default());
        Some((self.parsed(said)? - clock::now().wall).num_seconds().saturating_add(age))
    }

    fn parsed(&self, said: &HeaderValue) -> Option<DateTime<Utc>> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(date) = last.as_ref().filter(|date| date.said == said) {
            return Some(date.time);
        }
        let time = DateTime::parse_from_rfc2822(said.to_str().ok()?).ok()?.to_utc();
        *last = Some(Date { said: said.clone(), time });
        Some(time)
    }
}

/// The clock of one source, over all answers of a look: the one that is farthest from ours counts.
#[derive(Clone, Default)]
pub struct Watch(Arc<Mutex<Option<i64>>>);

impl Watch {
    pub fn note(&self, ahead: Option<i64>) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *seen = farthest(*seen, ahead);
    }

    #[must_use]
    pub fn ahead(&self) -> Option<i64> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[must_use]
pub fn farthest(one: Option<i64>, other: Option<i64>) -> Option<i64> {
    one.into_iter().chain(other).max_by_key(|ahead| ahead.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn a_date_says_how_far_a_clock_is() {
        let check = |seconds: i64, age: Option<&str>, expected: i64| {
            let said = clock::now().wall + TimeDelta::seconds(seconds);
            let mut headers = HeaderMap::new();
            let text = said.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
            headers.insert(header::DATE, text.parse().expect("a header"));
            if let Some(age) = age {
                headers.insert(header::AGE, age.parse().expect("a header"));
            }
            let found = Dates::default().ahead(&headers).expect("a date");
            assert!((found - expected).abs() <= 2, "{found} is not about {expected}");
        };
        check(0, None, 0);
        check(299, None, 299);
        check(-400, None, -400);
        check(-400, Some("400"), 0);
        check(-400, Some("old"), -400);
        let mut headers = HeaderMap::new();
        assert_eq!(Dates::default().ahead(&headers), None);
        headers.insert(header::DATE, HeaderValue::from_static("noon"));
        assert_eq!(Dates::default().ahead(&headers), None);
    }

    #[test]
    fn the_farthest_clock_of_a_look_counts() {
        let watch = Watch::default();
        assert_eq!(watch.ahead(), None);
        for ahead in [Some(1), None, Some(-40), Some(30)] {
            watch.note(ahead);
        }
        assert_eq!(watch.ahead(), Some(-40));
    }
}
