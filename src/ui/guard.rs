//! The guarded switch: arming and firing are different motions.
//!
//! Decides when a dangerous command may be sent. Never sends it, and never follows the cursor:
//! the target is frozen by name when the guard opens, with the state the operator saw. Contract:
//!
//! 1. Keys of the first [`DEAD_TIME`] are dropped: they were meant for what stood there before.
//! 2. Toward safety: the alias, Enter. Toward exposure: the alias, the percent, for a shift a
//!    reason, Enter, then a countdown that any key cancels.
//! 3. Enter on an empty field does nothing. Pasted text never fills a field and never confirms.
//! 4. Esc cancels; so does [`IDLE_MAX`] without a key.
//! 5. When the service moved meanwhile, the guard says so; exposure is then refused here, and the
//!    engine refuses it anyway, because the expected state travels with the command.

use std::time::Duration;

use engine::command::{Command, Expected};
use engine::snapshot::{RouteView, ServiceView, Snapshot};
use engine::types::{Now, Percent, Time, Untrusted};

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
    Reason,
}

impl Field {
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Field::Alias => "alias",
            Field::Percent => "percent to canary",
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
    pub fn open(verb: Verb, service: &ServiceView, now: Now) -> Result<Guard, String> {
        let (Some(route), Some(expected)) = (&service.route, service.expected()) else {
            return Err(format!("{} has no router: it is only watched", service.name));
        };
        let mut fields = vec![(Field::Alias, String::new())];
        if verb.danger() == Danger::Exposure {
            fields.push((Field::Percent, String::new()));
        }
        if verb == Verb::Shift {
            fields.push((Field::Reason, String::new()));
        }
        Ok(Guard {
            verb,
            service: service.name.clone(),
            alias: service.alias.clone(),
            expected,
            opened: now,
            last_key: now.mono,
            fields,
            at: 0,
            problem: String::new(),
            fires: None,
            seen: seen(service, route, now),
        })
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
            Field::Alias | Field::Percent => SHORT_CHARS_MAX,
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
            Field::Reason if text.is_empty() => {
                Some("say why: it goes into the journal".to_owned())
            }
            Field::Alias | Field::Reason => None,
        }
    }

    fn typed(&self, wanted: Field) -> &str {
        self.fields.iter().find(|(field, _)| *field == wanted).map_or("", |(_, text)| text)
    }

    fn fire(&self) -> Step {
        let service = self.service.clone();
        let reason = Untrusted::new(self.typed(Field::Reason).trim());
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
