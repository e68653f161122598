//! The next version of a service, from what was released.
//!
//! Decides which number comes next. Never guesses from what is no semantic version, and never gives
//! a number twice. Contract: 0 and the version alone on its line; 1 when there is none to go on
//! from.

use std::fmt;

use clap::{Args, Subcommand, ValueEnum};
use engine::record::ReleaseResult;
use engine::snapshot::PastRelease;
use engine::types::Untrusted;

use crate::cli::{Exit, Global, history, print};

#[derive(Subcommand)]
pub enum Version {
    /// The one behind the highest good version on record, never released before
    Next(Next),
}

#[derive(Args)]
pub struct Next {
    part: Part,
    service: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    Major,
    Minor,
    Patch,
}

pub fn run(Version::Next(args): &Version, global: &Global) -> Result<u8, Exit> {
    let service = history::service(&args.service, global)?;
    let past = history::whole(&service, global)?;
    let next = next(&service.name, &past, args.part).map_err(|why| Exit::new(1, why))?;
    print(&format!("{next}\n"))
}

/// Behind the highest good version; one that was tried already is passed over.
fn next(service: &str, history: &[PastRelease], part: Part) -> Result<String, String> {
    let good = |past: &&PastRelease| {
        past.result == ReleaseResult::Good && !past.bad && !past.version.is_empty()
    };
    let mut good = history.iter().filter(good);
    let newest = good.next().ok_or_else(|| {
        format!("{service} has no good release on record: name its first version yourself")
    })?;
    let mut base = parse(&newest.version).ok_or_else(|| {
        let version = Untrusted::new(&newest.version);
        format!(
            "{version}, the last good version of {service}, is no semantic version \
                 (MAJOR.MINOR.PATCH, such as 1.4.2)"
        )
    })?;
    for other in good.filter_map(|past| parse(&past.version)) {
        if other.rank() > base.rank() {
            base = other;
        }
    }
    let used = |version: &Semantic| history.iter().any(|past| past.version == version.to_string());
    let too_large = || format!("there is no version behind {base}");
    let mut next = base.bumped(part).ok_or_else(too_large)?;
    while used(&next) {
        next = next.bumped(part).ok_or_else(too_large)?;
    }
    Ok(next.to_string())
}

/// A semantic version; what stands behind a `+` is no part of its order.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Semantic {
    /// It is written with a `v`.
    prefixed: bool,
    numbers: [u64; 3],
    is_pre: bool,
}

impl Semantic {
    /// A version before the release of its numbers is lower than that.
    fn rank(&self) -> ([u64; 3], bool) {
        (self.numbers, !self.is_pre)
    }

    /// What comes before its own release ends with that release.
    fn bumped(&self, part: Part) -> Option<Semantic> {
        let [major, minor, patch] = self.numbers;
        let up = |number: u64, lower: &[u64]| {
            let ends = self.is_pre && lower.iter().all(|lower| *lower == 0);
            if ends { Some(number) } else { number.checked_add(1) }
        };
        let numbers = match part {
            Part::Major => [up(major, &[minor, patch])?, 0, 0],
            Part::Minor => [major, up(minor, &[patch])?, 0],
            Part::Patch => [major, minor, up(patch, &[])?],
        };
        Some(Semantic { prefixed: self.prefixed, numbers, is_pre: false })
    }
}

impl fmt::Display for Semantic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.numbers;
        let prefix = if self.prefixed { "v" } else { "" };
        write!(f, "{prefix}{major}.{minor}.{patch}")
    }
}

fn parse(text: &str) -> Option<Semantic> {
    let bare = text.strip_prefix('v').unwrap_or(text);
    let (version, build) = bare.split_once('+').map_or((bare, None), |(v, b)| (v, Some(b)));
    let (core, pre) = version.split_once('-').map_or((version, None), |(v, p)| (v, Some(p)));
    let word = |word: &str| {
        !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let sound = |part: Option<&str>| part.is_none_or(|part| part.split('.').all(word));
    if !sound(build) || !sound(pre) {
        return None;
    }
    let mut numbers = core.split('.').map(|number| {
        let plain = number == "0" || !number.starts_with('0');
        let digits = number.bytes().all(|b| b.is_ascii_digit());
        number.parse::<u64>().ok().filter(|_| plain && digits)
    });
    let own = [numbers.next()??, numbers.next()??, numbers.next()??];
    let whole = numbers.next().is_none();
    let prefixed = bare.len() != text.len();
    whole.then_some(Semantic { prefixed, numbers: own, is_pre: pre.is_some() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Newest first: a version, and whether it was good.
    fn history(versions: &[(&str, bool)]) -> Vec<PastRelease> {
        let started = chrono::DateTime::UNIX_EPOCH;
        let past = |(version, good): &(&str, bool)| PastRelease {
            id: 1,
            version: (*version).to_owned(),
            plan: "default".to_owned(),
            kind: engine::record::ReleaseKind::Deploy,
            user: Untrusted::new("ann"),
            started,
            ended: started,
            result: if *good { ReleaseResult::Good } else { ReleaseResult::RolledBack },
            rollback_took: None,
            bad: false,
            down: None,
        };
        versions.iter().map(past).collect()
    }

    fn check(versions: &[(&str, bool)], part: Part, expected: Result<&str, &str>) {
        match (next("web", &history(versions), part), expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{versions:?}"),
            (Err(why), Err(part)) => assert!(why.contains(part), "{versions:?}: {why}"),
            (found, expected) => panic!("{versions:?}: {found:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn the_next_version_is_behind_the_highest_good_one() {
        check(&[("1.4.2", true)], Part::Patch, Ok("1.4.3"));
        check(&[("1.4.2", true)], Part::Minor, Ok("1.5.0"));
        check(&[("v1.4.2", true)], Part::Major, Ok("v2.0.0"));
        check(&[("1.4.2+build.7", true)], Part::Patch, Ok("1.4.3"));
        check(&[("2.0.0-rc.1", true)], Part::Patch, Ok("2.0.0"));
        check(&[("2.0.0-rc.1", true)], Part::Major, Ok("2.0.0"));
        check(&[("2.1.0-rc.1", true)], Part::Major, Ok("3.0.0"));
        // Back to an older one by hand: what was given stays given.
        check(&[("1.3.9", true), ("1.10.0", true)], Part::Patch, Ok("1.10.1"));
    }

    #[test]
    fn what_was_tried_is_never_given_again() {
        check(&[("1.4.3", false), ("1.4.2", true)], Part::Patch, Ok("1.4.4"));
        check(&[("2.0.0", false), ("1.4.2", true)], Part::Major, Ok("3.0.0"));
        check(&[("9.0.0", false), ("1.4.2", true)], Part::Patch, Ok("1.4.3"));
        let mut marked = history(&[("1.5.0", true), ("1.4.2", true)]);
        marked[0].bad = true;
        assert_eq!(next("web", &marked, Part::Minor).as_deref(), Ok("1.6.0"));
    }

    #[test]
    fn what_is_no_semantic_version_is_said() {
        for wrong in ["build-77", "1.4", "1.4.2.1", "01.4.2", "1.4.x", "1.4.2-", "1.4.+2", "latest"]
        {
            check(&[(wrong, true), ("1.0.0", true)], Part::Patch, Err("is no semantic version"));
        }
        check(&[], Part::Patch, Err("no good release"));
        check(&[("1.0.0", false)], Part::Patch, Err("no good release"));
        let most = format!("{}.0.0", u64::MAX);
        check(&[(&most, true)], Part::Major, Err("no version behind"));
    }
}
