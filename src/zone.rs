//! Time zones by their IANA names.
//!
//! Decides where the rules of a zone come from: the program itself, so that every machine shows the
//! same. Never the zone of the machine. Contract: reading one zone touches no other, because the
//! rules of all of them as values were a tenth of the program's resident memory.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, FixedOffset, Utc};
use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone(TimeZone);

/// A name that no zone has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unknown;

impl fmt::Display for Unknown {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("no such time zone")
    }
}

impl std::error::Error for Unknown {}

impl FromStr for Zone {
    type Err = Unknown;

    fn from_str(name: &str) -> Result<Zone, Unknown> {
        TimeZoneDatabase::bundled().get(name).map(Zone).map_err(|_| Unknown)
    }
}

impl Zone {
    /// All that there are.
    #[must_use]
    pub fn names() -> Vec<String> {
        TimeZoneDatabase::bundled().available().map(|name| name.to_string()).collect()
    }

    #[must_use]
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    #[must_use]
    pub fn is_utc(&self) -> bool {
        self.name() == "UTC"
    }

    /// The time of day there.
    #[must_use]
    pub fn time_of_day(&self, at: DateTime<Utc>) -> String {
        self.local(at).0
    }

    /// The same, with what the zone is called at that time of the year.
    #[must_use]
    pub fn clock(&self, at: DateTime<Utc>) -> String {
        let (time, letters) = self.local(at);
        format!("{time} {letters}")
    }

    fn local(&self, at: DateTime<Utc>) -> (String, String) {
        // Outside of the years -9999 to 9999 no zone has rules.
        let stamp = Timestamp::from_second(at.timestamp()).unwrap_or_default();
        let info = self.0.to_offset_info(stamp);
        let offset = FixedOffset::east_opt(info.offset().seconds());
        let time = match offset {
            Some(offset) => at.with_timezone(&offset).format("%H:%M:%S").to_string(),
            None => at.format("%H:%M:%S").to_string(),
        };
        (time, info.abbreviation().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_tells_its_time_in_summer_and_in_winter_for_years_to_come() {
        let check = |name: &str, at: &str, expected: &str| {
            let zone: Zone = name.parse().expect("a zone");
            assert_eq!(zone.clock(at.parse().expect("a time")), expected, "{name} {at}");
            assert_eq!(zone.name(), name);
        };
        check("Europe/Lisbon", "2026-01-15T12:00:00Z", "12:00:00 WET");
        check("Europe/Lisbon", "2026-07-15T12:00:00Z", "13:00:00 WEST");
        check("America/New_York", "2051-07-15T12:00:00Z", "08:00:00 EDT");
        check("Asia/Kolkata", "2026-07-15T12:00:00Z", "17:30:00 IST");
        check("UTC", "2026-07-15T12:00:00Z", "12:00:00 UTC");
    }

    #[test]
    fn a_name_that_no_zone_has_is_refused() {
        assert_eq!("Europe/Lisbom".parse::<Zone>(), Err(Unknown));
        assert_eq!("".parse::<Zone>(), Err(Unknown));
        assert!("UTC".parse::<Zone>().is_ok_and(|zone| zone.is_utc()));
        assert!(Zone::names().iter().any(|name| name == "Europe/Lisbon"));
    }
}
