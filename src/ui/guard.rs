//! The guarded switch: arming and firing are different motions.
//!
//! Decides when a dangerous command may be sent. Never sends it, and never follows the cursor:
//! the target is frozen by name when the guard opens, with the state the operator saw. Contract:
//!
//! 1. Keys of the first [`DEAD_TIME`] are dropped: they were meant for what stood there before.
//! 2. Toward safety: the alias, Enter. Toward exposure: the alias, the percent, for a shift a
//!    reason, Enter, then a countdown that any key cancels. What stands against more exposure is
//!    named; it takes the word `override` and a reason, and both go into the journal.
//! 3. Enter on an empty field does nothing. Pasted text never fills a field and never confirms.
//! 4. Esc cancels; so does [`IDLE_MAX`] without a key.
//! 5. When the service moved meanwhile, the guard says so; exposure is then refused here, and the
//!    engine refuses it anyway, because the expected state travels with the command.

use std::time::Duration;

use engine::command::{Command, Expected};
use engine::snapshot::{RouteView, ServiceView, Snapshot};
use engine::types::{Now, Percent, Time, Untrusted};

use crate::ui::gate::{self, Gate};
use crate::ui::keymap::{Danger, Key};

/// Longer than a key repeat's first delay would be rude, shorter would let a stray key through.
pub const DEAD_TIME: Duration = Duration::from_millis(400);
/// An armed guard that nobody looks at is a trap for the next one who sits down.
pub const IDLE_MAX: Duration = Duration::from_secs(15);
/// Time to read once more what is about to happen.
pub const COUNTDOWN: Duration = Duration::from_secs(5);
/// A reason is a sentence, not an essay.
const REASON_CHARS_MAX: usize = 120;
/// Aliases have at most 4 letters; a few more are kept so that a mistake is seen.
const SHORT_CHARS_MAX: usize = 8;
/// What must be typed against gates that are not green.
pub const OVERRIDE: &str = "override";
/// More gates than this are counted in the journal's line.
const GATES_TOLD_MAX: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Rollback,
    Abort,
    Promote,
    Shift,
}

impl Verb {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Verb::Rollback => "ROLLBACK",
            Verb::Abort => "ABORT",
            Verb::Promote => "PROMOTE",
            Verb::Shift => "SHIFT",
        }
    }

    #[must_use]
    pub fn danger(self) -> Danger {
        match self {
            Verb::Rollback | Verb::Abort => Danger::Safety,
            Verb::Promote | Verb::Shift => Danger::Exposure,
        }
    }

    /// What no later command takes back.
    #[must_use]
    pub fn final_part(self) -> &'static str {
        match self {
            Verb::Rollback | Verb::Abort => {
                "what the canary answered already; what it wrote stays written"
            }
            Verb::Promote | Verb::Shift => {
                "what the canary answers meanwhile; R moves the traffic back"
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    Alias,
    Percent,
    Override,
    Reason,
}

impl Field {
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Field::Alias => "alias",
            Field::Percent => "percent to canary",
            Field::Override => "type override",
            Field::Reason => "reason",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Guard {
    pub verb: Verb,
    pub service: String,
    pub alias: String,
    pub expected: Expected,
    pub opened: Now,
    pub last_key: Time,
    /// The fields in their order and what was typed into them.
    pub fields: Vec<(Field, String)>,
    pub at: usize,
    /// Why the last Enter did not fire; empty when it may.
    pub problem: String,
    /// When the countdown fires; `None` before.
    pub fires: Option<Time>,
    /// What the operator saw, kept for the journal.
    pub seen: String,
    /// What stood against more exposure since the guard opened; empty toward safety.
    pub against: Vec<Gate>,
    /// The most that the canary may be getting; `None` when a router could not say.
    exposure: Option<f64>,
}

/// What became of the guard after a key or a tick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Open,
    Closed(&'static str),
    Fire(Command),
}

impl Guard {
    /// Arms `verb` for a service; why not, when the service has nothing to move.
    pub fn open(
        verb: Verb,
        service: &ServiceView,
        picture: &Snapshot,
        now: Now,
    ) -> Result<Guard, String> {
        let (Some(route), Some(expected)) = (&service.route, service.expected()) else {
            return Err(format!("{} has no router: it is only watched", service.name));
        };
        let mut guard = Guard {
            verb,
            service: service.name.clone(),
            alias: service.alias.clone(),
            expected,
            opened: now,
            last_key: now.mono,
            fields: Vec::new(),
            at: 0,
            problem: String::new(),
            fires: None,
            seen: seen(service, route, now),
            against: Vec::new(),
            exposure: None,
        };
        guard.look(Some(picture), now);
        guard.arrange();
        Ok(guard)
    }

    /// Looks what stands against more exposure now; true when something new does. What went away
    /// stays listed, so that no row and no field moves under the fingers.
    fn look(&mut self, picture: Option<&Snapshot>, now: Now) -> bool {
        let found = picture.and_then(|picture| {
            let service = picture.services.iter().find(|one| one.name == self.service)?;
            Some((picture, service, service.route.as_ref()?))
        });
        let (Danger::Exposure, Some((picture, service, route))) = (self.verb.danger(), found)
        else {
            return false;
        };
        self.exposure = exposure(route);
        let nothing_yet = self.exposure.is_some_and(|canary| canary < 0.5);
        let measured = self.verb == Verb::Promote || !nothing_yet;
        let mut news = false;
        self.against.iter_mut().for_each(|gate| gate.holds = false);
        for gate in gate::against(picture, service, measured, now) {
            let known = self.against.iter_mut().find(|known| known.key == gate.key);
            if let Some(known) = known {
                *known = gate;
            } else {
                news = true;
                self.against.push(gate);
            }
        }
        if news {
            self.fields.iter_mut().for_each(|(field, text)| {
                if *field == Field::Override {
                    text.clear();
                }
            });
        }
        self.arrange();
        news
    }

    /// True when what is typed gives the canary more than it may have now.
    #[must_use]
    pub fn raises(&self) -> bool {
        let more = |to: Percent| self.exposure.is_none_or(|now| f64::from(to.get()) > now);
        self.verb.danger() == Danger::Exposure
            && self.target().is_none_or(|to| to != Percent::ZERO && more(to))
    }

    #[must_use]
    pub fn overrides(&self) -> bool {
        self.raises() && !self.against.is_empty()
    }

    /// The fields that are asked for, with what was typed so far.
    fn arrange(&mut self) {
        let here = self.fields.get(self.at).map(|(field, _)| *field);
        let mut wanted = vec![Field::Alias];
        if self.verb.danger() == Danger::Exposure {
            wanted.push(Field::Percent);
        }
        if self.overrides() {
            wanted.push(Field::Override);
        }
        if self.verb == Verb::Shift || self.overrides() {
            wanted.push(Field::Reason);
        }
        let typed = |field: Field| (field, self.typed(field).to_owned());
        self.fields = wanted.into_iter().map(typed).collect();
        let last = self.fields.len() - 1;
        let place = self.fields.iter().position(|(field, _)| Some(*field) == here);
        self.at = place.unwrap_or(self.at.min(last));
    }

    /// What the service moved to since the guard opened; `None` while it did not.
    #[must_use]
    pub fn moved(&self, snapshot: &Snapshot) -> Option<String> {
        let Some(service) = snapshot.services.iter().find(|service| service.name == self.service)
        else {
            return Some("it is no longer in the configuration".to_owned());
        };
        let route = service.route.as_ref()?;
        if (route.set, route.fence) == (self.expected.set, self.expected.fence) {
            return None;
        }
        Some(match route.set {
            Some(set) => format!("moved under you: now {set}"),
            None => "moved under you: nothing is set now".to_owned(),
        })
    }

    /// The percent that will be set; `None` while it is not typed.
    #[must_use]
    pub fn target(&self) -> Option<Percent> {
        match self.verb {
            Verb::Rollback | Verb::Abort => Some(Percent::ZERO),
            Verb::Promote => Some(Percent::FULL),
            Verb::Shift => self.typed(Field::Percent).trim().parse().ok().and_then(Percent::new),
        }
    }

    #[must_use]
    pub fn is_dead(&self, now: Now) -> bool {
        self.opened.age(now) < DEAD_TIME
    }

    /// When this guard next changes by itself.
    #[must_use]
    pub fn deadline(&self, now: Now) -> Time {
        let own = self.fires.unwrap_or(self.last_key + IDLE_MAX);
        if self.is_dead(now) { own.min(self.opened.mono + DEAD_TIME) } else { own }
    }

    pub fn key(&mut self, key: Key, snapshot: Option<&Snapshot>, now: Now) -> Step {
        if self.is_dead(now) {
            return Step::Open;
        }
        self.last_key = now.mono;
        if self.fires.is_some() {
            return Step::Closed("cancelled in the countdown; nothing was sent");
        }
        self.problem.clear();
        if self.look(snapshot, now) && self.overrides() {
            "something new stands against it: read it first".clone_into(&mut self.problem);
        }
        let step = self.typed_key(key, snapshot, now);
        self.arrange();
        step
    }

    fn typed_key(&mut self, key: Key, snapshot: Option<&Snapshot>, now: Now) -> Step {
        match key {
            Key::Esc | Key::Ctrl('c') => return Step::Closed("cancelled; nothing was sent"),
            Key::Enter => return self.enter(snapshot, now),
            Key::Tab | Key::Down => self.at = (self.at + 1) % self.fields.len(),
            Key::BackTab | Key::Up => {
                self.at = (self.at + self.fields.len() - 1) % self.fields.len();
            }
            Key::Backspace => {
                self.fields[self.at].1.pop();
            }
            Key::Ctrl('u') => self.fields[self.at].1.clear(),
            Key::Char(c) => self.push(c),
            Key::Ctrl(_)
            | Key::Left
            | Key::Right
            | Key::PageUp
            | Key::PageDown
            | Key::Home
            | Key::End => {}
        }
        Step::Open
    }

    /// Pasted text is refused in every field: what fires must have been typed.
    pub fn paste(&mut self, now: Now) -> Step {
        self.last_key = now.mono;
        if self.fires.is_some() {
            return Step::Closed("cancelled in the countdown; nothing was sent");
        }
        "pasted text is not taken here: type it".clone_into(&mut self.problem);
        Step::Open
    }

    pub fn tick(&mut self, snapshot: Option<&Snapshot>, now: Now) -> Step {
        let news = self.look(snapshot, now);
        if news && self.overrides() && self.fires.take().is_some() {
            // The one who reads it needs time for it.
            self.last_key = now.mono;
            "stopped: something new stands against it".clone_into(&mut self.problem);
            return Step::Open;
        }
        if let Some(at) = self.fires {
            if let Some(moved) = snapshot.and_then(|snapshot| self.moved(snapshot)) {
                self.fires = None;
                self.problem = moved;
                return Step::Open;
            }
            return if now.mono >= at { self.fire() } else { Step::Open };
        }
        if now.mono.since(self.last_key) >= IDLE_MAX {
            return Step::Closed("closed itself after 15 s without a key; nothing was sent");
        }
        Step::Open
    }

    fn push(&mut self, c: char) {
        let (field, text) = &mut self.fields[self.at];
        let max = match field {
            Field::Alias | Field::Percent | Field::Override => SHORT_CHARS_MAX,
            Field::Reason => REASON_CHARS_MAX,
        };
        if text.chars().count() < max && !c.is_control() {
            text.push(c);
        }
    }

    fn enter(&mut self, snapshot: Option<&Snapshot>, now: Now) -> Step {
        let (field, text) = &self.fields[self.at];
        if text.trim().is_empty() {
            return Step::Open;
        }
        if let Some(problem) = self.problem_of(*field) {
            self.problem = problem;
            return Step::Open;
        }
        let open = self.fields.iter().position(|(field, _)| self.problem_of(*field).is_some());
        if let Some(open) = open {
            self.at = open;
            return Step::Open;
        }
        if self.verb.danger() == Danger::Safety {
            return self.fire();
        }
        if let Some(moved) = snapshot.and_then(|snapshot| self.moved(snapshot)) {
            self.problem = format!("{moved}; Esc, look, and arm again");
            return Step::Open;
        }
        self.fires = Some(now.mono + COUNTDOWN);
        Step::Open
    }

    fn problem_of(&self, field: Field) -> Option<String> {
        let text = self.typed(field).trim();
        match field {
            Field::Alias if text != self.alias => {
                Some(format!("\"{text}\" is not the alias of {}", self.service))
            }
            Field::Percent => {
                let typed = text.parse().ok().and_then(Percent::new);
                match (self.verb, typed) {
                    (_, None) => Some("a whole percent from 0 to 100".to_owned()),
                    (Verb::Promote, Some(typed)) if typed != Percent::FULL => {
                        Some("promote is 100; S shifts to any other percent".to_owned())
                    }
                    (Verb::Shift, Some(typed)) if Some(typed) == self.expected.set => {
                        Some(format!("it is at {typed} already"))
                    }
                    (Verb::Rollback | Verb::Abort | Verb::Promote | Verb::Shift, Some(_)) => None,
                }
            }
            Field::Override if !text.eq_ignore_ascii_case(OVERRIDE) => {
                Some(format!("type {OVERRIDE}, or Esc and wait for green"))
            }
            Field::Reason if text.is_empty() => {
                Some("say why: it goes into the journal".to_owned())
            }
            Field::Alias | Field::Override | Field::Reason => None,
        }
    }

    fn typed(&self, wanted: Field) -> &str {
        self.fields.iter().find(|(field, _)| *field == wanted).map_or("", |(_, text)| text)
    }

    /// What was typed, behind what it overrides: the journal keeps both.
    fn reason(&self) -> String {
        let typed = self.typed(Field::Reason).trim();
        if !self.overrides() {
            return typed.to_owned();
        }
        let holding = |gate: &&Gate| gate.holds;
        let told: Vec<&str> = self
            .against
            .iter()
            .filter(holding)
            .take(GATES_TOLD_MAX)
            .map(|gate| gate.text.as_str())
            .collect();
        let more = self.against.iter().filter(holding).count() - told.len();
        let more = if more > 0 { format!("; {more} more") } else { String::new() };
        if told.is_empty() {
            return typed.to_owned();
        }
        format!("OVERRIDE of [{}{more}]: {typed}", told.join("; "))
    }

    fn fire(&self) -> Step {
        let service = self.service.clone();
        let reason = Untrusted::new(&self.reason());
        let command = match self.verb {
            Verb::Rollback => Command::Rollback { service, reason },
            Verb::Abort => Command::Abort { service, reason },
            Verb::Promote => Command::Promote { service, reason },
            Verb::Shift => match self.target() {
                Some(canary) => Command::Split { service, canary, reason },
                None => return Step::Open,
            },
        };
        Step::Fire(command)
    }
}

/// The most that any router gives the canary, if all of them were read.
fn exposure(route: &RouteView) -> Option<f64> {
    let mut read = route.routers.iter().map(|one| one.canary.filter(|_| one.error.is_empty()));
    read.try_fold(0.0_f64, |most, canary| Some(most.max(canary?)))
}

/// One line that says what stood on the screen when the guard opened.
fn seen(service: &ServiceView, route: &RouteView, now: Now) -> String {
    let set = route.set.map_or("nothing set".to_owned(), |set| format!("set {set}"));
    let routers: Vec<String> = route
        .routers
        .iter()
        .map(|router| match router.canary {
            Some(canary) => format!("{} {canary:.0} %", router.name),
            None => format!("{} not read", router.name),
        })
        .collect();
    format!(
        "{} {}, {set}, {}, {}",
        service.name,
        service.status_at(now),
        route.state.word(),
        routers.join(", ")
    )
}
