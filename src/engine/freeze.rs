//! Freezes: no release, said by somebody, until a certain time.
//!
//! Decides whether a release of a service is forbidden. Never forbids a rollback, an abort or a
//! pause: only what brings more exposure asks here. Contract: folding the entries that are durable
//! gives the freezes; each ends by the wall clock, as it was said, or when it is thawed.

use chrono::{DateTime, Utc};

use crate::record::{Entry, Event};
use crate::snapshot::FreezeView;
use crate::types::{Now, Untrusted};
use crate::words;

/// More freezes than this at once are a script gone wild.
pub const FREEZES_MAX: usize = 100;

/// The longest freeze in seconds, 31 days: over that, the configuration should say so.
pub const SECONDS_MAX: u64 = 31 * 86_400;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Freezes {
    /// In the order in which they were said.
    list: Vec<Freeze>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Freeze {
    /// `None`: of any service.
    service: Option<String>,
    user: Untrusted,
    until: DateTime<Utc>,
    reason: Untrusted,
}

impl Freezes {
    /// Takes a durable entry: at a start all of them, later each as it is written.
    pub fn apply(&mut self, entry: &Entry) {
        if let Event::Frozen { service, until, reason } = &entry.event {
            let user = entry.actor.user.clone();
            // Said again by the same person, it is moved.
            self.list.retain(|old| old.service != *service || old.user != user);
            self.list.retain(|old| old.until > entry.at);
            if self.list.len() >= FREEZES_MAX
                && let Some(first) = (0..self.list.len()).min_by_key(|at| self.list[*at].until)
            {
                self.list.remove(first);
            }
            let (service, until, reason) = (service.clone(), *until, reason.clone());
            self.list.push(Freeze { service, user, until, reason });
        }
        if let Event::Thawed { service, .. } = &entry.event {
            self.list.retain(|freeze| freeze.service != *service);
        }
    }

    /// May somebody freeze for so long now?
    pub fn check_freeze(&self, seconds: u64, now: Now) -> Result<(), String> {
        if seconds == 0 || seconds > SECONDS_MAX {
            let days = SECONDS_MAX / 86_400;
            return Err(format!("a freeze lasts from one second to {days} days"));
        }
        if self.active(now).count() >= FREEZES_MAX {
            return Err(format!("there are {FREEZES_MAX} freezes already"));
        }
        Ok(())
    }

    /// Is there something of exactly this scope to thaw? A freeze of everything is thawed as such.
    pub fn check_thaw(&self, service: Option<&str>, now: Now) -> Result<(), String> {
        if self.active(now).any(|freeze| freeze.service.as_deref() == service) {
            return Ok(());
        }
        let scope = service.unwrap_or("everything");
        match service.and_then(|service| self.forbids(service, now)) {
            Some(all) => Err(format!("{scope} has no freeze of its own, but {all}")),
            None => Err(format!("{scope} is not frozen")),
        }
    }

    /// Why no release of `service` may start or go on; the freeze that ends last speaks.
    #[must_use]
    pub fn forbids(&self, service: &str, now: Now) -> Option<String> {
        let own = |freeze: &&Freeze| freeze.service.as_deref().is_none_or(|own| own == service);
        let last = self.active(now).filter(own).max_by_key(|freeze| freeze.until)?;
        let scope = last.service.as_deref().unwrap_or("everything");
        let until = words::until(last.until, now.wall);
        let reason =
            if last.reason.is_empty() { String::new() } else { format!(": {}", last.reason) };
        Some(format!("{scope} is frozen until {until} by {}{reason}", last.user))
    }

    /// The next end of a freeze: what is shown changes then.
    #[must_use]
    pub fn next_end(&self, now: Now) -> Option<DateTime<Utc>> {
        self.active(now).map(|freeze| freeze.until).min()
    }

    /// Those that hold, the first to end first.
    #[must_use]
    pub fn views(&self, now: Now) -> Vec<FreezeView> {
        let mut active: Vec<&Freeze> = self.active(now).collect();
        active.sort_by_key(|freeze| freeze.until);
        let view = |freeze: &Freeze| FreezeView {
            service: freeze.service.clone(),
            user: freeze.user.clone(),
            until: freeze.until,
            reason: freeze.reason.clone(),
        };
        active.into_iter().map(view).collect()
    }

    fn active(&self, now: Now) -> impl Iterator<Item = &Freeze> {
        self.list.iter().filter(move |freeze| freeze.until > now.wall)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::types::{Actor, Time};

    fn at(seconds: u64) -> Now {
        let wall = DateTime::UNIX_EPOCH + Duration::from_secs(seconds);
        Now { mono: Time(0), wall }
    }

    fn entry(said: u64, user: &str, event: Event) -> Entry {
        let actor = Actor { user: Untrusted::new(user), uid: Some(1), ssh: None };
        Entry { id: "e".to_owned(), at: at(said).wall, actor, event }
    }

    fn frozen(service: Option<&str>, until: u64) -> Event {
        Event::Frozen {
            service: service.map(str::to_owned),
            until: at(until).wall,
            reason: Untrusted::new("audit"),
        }
    }

    fn thawed(service: Option<&str>) -> Event {
        Event::Thawed { service: service.map(str::to_owned), reason: Untrusted::default() }
    }

    fn fold(entries: &[(&str, Event)]) -> Freezes {
        let mut freezes = Freezes::default();
        for (user, event) in entries {
            freezes.apply(&entry(0, user, event.clone()));
        }
        freezes
    }

    fn check(entries: &[(&str, Event)], service: &str, expected: Option<&str>) {
        let found = fold(entries).forbids(service, at(10));
        assert_eq!(found.as_deref(), expected, "{entries:?}");
    }

    #[test]
    fn a_freeze_has_scope_owner_end_and_reason() {
        let shop = ("ada", frozen(Some("shop"), 60));
        let all = ("bob", frozen(None, 120));
        let by_ada = "shop is frozen until 00:01:00Z by ada: audit";
        let by_bob = "everything is frozen until 00:02:00Z by bob: audit";
        check(&[], "shop", None);
        check(std::slice::from_ref(&shop), "shop", Some(by_ada));
        check(std::slice::from_ref(&shop), "mail", None);
        check(&[all.clone(), shop.clone()], "shop", Some(by_bob));
        check(&[all.clone(), ("eve", thawed(None))], "shop", None);
        check(&[shop.clone(), ("eve", thawed(None))], "shop", Some(by_ada));
        check(&[all, ("eve", thawed(Some("shop")))], "shop", Some(by_bob));
        check(&[shop, ("ada", frozen(Some("shop"), 5))], "shop", None);
    }

    #[test]
    fn it_ends_by_itself() {
        let freezes = fold(&[("ada", frozen(Some("shop"), 60)), ("bob", frozen(None, 30))]);
        let scopes = |now| freezes.views(at(now)).into_iter().map(|view| view.service);
        assert_eq!(scopes(29).collect::<Vec<_>>(), [None, Some("shop".to_owned())]);
        assert_eq!(scopes(30).collect::<Vec<_>>(), [Some("shop".to_owned())]);
        assert_eq!(scopes(60).count(), 0);
        assert_eq!(freezes.next_end(at(29)), Some(at(30).wall));
        assert_eq!(freezes.next_end(at(30)), Some(at(60).wall));
        assert_eq!(freezes.next_end(at(60)), None);
        assert_eq!(freezes.forbids("shop", at(60)), None);
    }

    #[test]
    fn a_thaw_needs_a_freeze_of_its_scope() {
        let freezes = fold(&[("bob", frozen(None, 60))]);
        assert_eq!(freezes.check_thaw(None, at(0)), Ok(()));
        let error = freezes.check_thaw(Some("shop"), at(0)).expect_err("only everything is");
        assert!(error.contains("no freeze of its own, but everything is frozen"), "{error}");
        let error = freezes.check_thaw(None, at(60)).expect_err("it ended");
        assert_eq!(error, "everything is not frozen");
    }

    #[test]
    fn there_are_limits() {
        let mut freezes = Freezes::default();
        for n in 0..200 {
            assert_eq!(freezes.check_freeze(60, at(0)).is_ok(), n < FREEZES_MAX as u64);
            freezes.apply(&entry(0, &format!("user{n}"), frozen(None, 1000 - n)));
        }
        assert_eq!(freezes.views(at(0)).len(), FREEZES_MAX);
        assert!(freezes.check_freeze(60, at(1000)).is_ok());
        assert!(Freezes::default().check_freeze(0, at(0)).is_err());
        assert!(Freezes::default().check_freeze(SECONDS_MAX + 1, at(0)).is_err());
        freezes.apply(&entry(1000, "late", frozen(None, 2000)));
        assert_eq!(freezes.list.len(), 1, "what ended is forgotten");
    }
}
