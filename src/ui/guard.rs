//! The guarded switch: arming and firing are different motions.
//!
//! Decides when a dangerous command may be sent. Never sends it, and never follows the cursor:
//! the target is frozen by name when the guard opens, with the state the operator saw. Contract:
//!
//! 1. Keys of the first [`DEAD_TIME`] are dropped: they were meant for what stood there before.
//!    What is only said of an incident takes them at once.
//! 2. What only holds things up (pause, no, freeze, stop the line) and what is personal takes Enter
//!    alone. Toward safety: the alias, Enter. Toward exposure, or away from a protection: the
//!    alias, what the verb asks for, Enter, then a countdown that any key cancels. What stands
//!    against more exposure is named; it takes the word `override` and a reason, and both go into
//!    the journal.
//! 3. Enter on an empty field that is needed does nothing. Pasted text never fills a field and
//!    never confirms; where the terminal does not mark it, an Enter that came with text is none.
//! 4. Esc cancels; so does [`IDLE_MAX`] without a key.
//! 5. When the service moved meanwhile, the guard says so; exposure is then refused here, and the
//!    engine refuses it anyway, because the expected state travels with the command.

mod may;

use std::time::Duration;

use engine::command::{Command, Expected};
use engine::snapshot::{
    FreezeView, IncidentView, ReleaseView, ServiceView, Snapshot, TriggerState,
};
use engine::triage::Say;
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
/// What is typed for an alias where every service is meant.
pub const EVERYTHING: &str = "all";
/// The line stays stopped for an hour unless somebody thaws it: long enough to meet about it.
pub const STOP_SECONDS: u64 = 3_600;
/// What a freeze and a rule that is off last unless something else is typed.
const USUAL_SPAN: &str = "1h";
/// As long as the engine takes.
const VERSION_CHARS_MAX: usize = 64;
/// Behind a version: stable is known to be sick.
const HOTFIX: &str = " hotfix";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Rollback,
    Abort,
    Promote,
    Shift,
    Deploy,
    Run,
    Pause,
    Resume,
    Yes,
    No,
    StopTheLine,
    Freeze,
    Thaw,
    RuleOff,
    RuleOn,
    MarkBad,
    MarkGood,
    Assign,
    Note,
    Snooze,
}

impl Verb {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Verb::Rollback => "ROLLBACK",
            Verb::Abort => "ABORT",
            Verb::Promote => "PROMOTE",
            Verb::Shift => "SHIFT",
            Verb::Deploy => "DEPLOY",
            Verb::Run => "RUN",
            Verb::Pause => "PAUSE",
            Verb::Resume => "RESUME",
            Verb::Yes => "ANSWER YES",
            Verb::No => "ANSWER NO",
            Verb::StopTheLine => "STOP THE LINE",
            Verb::Freeze => "FREEZE",
            Verb::Thaw => "THAW",
            Verb::RuleOff => "RULE OFF",
            Verb::RuleOn => "RULE ON",
            Verb::MarkBad => "MARK BAD",
            Verb::MarkGood => "MARK GOOD",
            Verb::Assign => "ASSIGN",
            Verb::Note => "NOTE",
            Verb::Snooze => "SNOOZE",
        }
    }

    #[must_use]
    pub fn danger(self) -> Danger {
        match self {
            Verb::Rollback | Verb::Abort => Danger::Safety,
            Verb::Promote | Verb::Shift | Verb::Deploy | Verb::Run | Verb::Resume | Verb::Yes => {
                Danger::Exposure
            }
            // Less protection is a way to more exposure.
            Verb::Thaw | Verb::RuleOff | Verb::MarkGood => Danger::Exposure,
            Verb::Pause
            | Verb::No
            | Verb::StopTheLine
            | Verb::Freeze
            | Verb::RuleOn
            | Verb::MarkBad
            | Verb::Assign
            | Verb::Note
            | Verb::Snooze => Danger::Confirmed,
        }
    }

    /// True for what gives the canary more traffic, now or by and by.
    fn exposes(self) -> bool {
        match self {
            Verb::Promote | Verb::Shift | Verb::Deploy | Verb::Run | Verb::Resume | Verb::Yes => {
                true
            }
            Verb::Rollback
            | Verb::Abort
            | Verb::Pause
            | Verb::No
            | Verb::StopTheLine
            | Verb::Freeze
            | Verb::Thaw
            | Verb::RuleOff
            | Verb::RuleOn
            | Verb::MarkBad
            | Verb::MarkGood
            | Verb::Assign
            | Verb::Note
            | Verb::Snooze => false,
        }
    }

    /// True for what is one change of the split.
    #[must_use]
    pub fn moves(self) -> bool {
        matches!(self, Verb::Rollback | Verb::Abort | Verb::Promote | Verb::Shift)
    }

    /// True for what starts a release or a plan.
    fn starts(self) -> bool {
        matches!(self, Verb::Deploy | Verb::Run)
    }

    /// What no later command takes back.
    #[must_use]
    pub fn final_part(self) -> &'static str {
        match self {
            Verb::Rollback | Verb::Abort => {
                "what the canary answered already; what it wrote stays written"
            }
            Verb::Promote | Verb::Shift | Verb::Resume | Verb::Yes => {
                "what the canary answers meanwhile; a rollback moves the traffic back"
            }
            Verb::Deploy => {
                "what its plan runs, what the canary answers; a rollback is one key away"
            }
            Verb::Run => "what the plan does; a step that fails holds it, abort ends it",
            Verb::Pause => "nothing: it is still watched, and resume goes on",
            Verb::No => "the answer: the plan goes its way for a no",
            Verb::StopTheLine => "nothing: rollbacks go on, resume and thaw take it back",
            Verb::Freeze => "nothing: rollbacks go on, thaw takes it back",
            Verb::Thaw => "nothing: releases may start again",
            Verb::RuleOff => "nothing: until it is on again, only people roll back for it",
            Verb::RuleOn => "nothing: it may roll back by itself again",
            Verb::MarkBad => "nothing: it is not deployed again until it is marked good",
            Verb::MarkGood => "nothing: it may be deployed and rolled back to again",
            Verb::Assign => "nothing: it can be given to somebody else",
            Verb::Note => "the note: it stays in the journal",
            Verb::Snooze => "nothing: it speaks again when its time is over",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    Alias,
    Percent,
    Version,
    Rule,
    Plan,
    Span,
    Override,
    Reason,
    Comment,
    Assignee,
    Note,
}

impl Field {
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Field::Alias => "alias",
            Field::Percent => "percent to canary",
            Field::Version => "version",
            Field::Rule => "number of the rule",
            Field::Plan => "name of the plan",
            Field::Span => "for (30m, 2h, 1d)",
            Field::Override => "type override",
            Field::Reason => "reason",
            Field::Comment => "comment",
            Field::Assignee => "who has it (empty: nobody)",
            Field::Note => "note",
        }
    }
}

/// What a guard is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Service,
    /// Every service at once.
    Everything,
    /// An incident, by its key.
    Incident(String),
}

#[derive(Clone, Debug)]
pub struct Guard {
    pub verb: Verb,
    pub target: Target,
    /// Of the service; of an incident its name.
    pub name: String,
    /// What must be typed where an alias is asked for.
    pub alias: String,
    /// `None` where nothing is decided on the state of a service.
    pub expected: Option<Expected>,
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
    /// The key that ends a freeze, as it is shown.
    pub thaw: String,
    /// What stood against more exposure since the guard opened; empty toward safety.
    pub against: Vec<Gate>,
    /// The most that the canary may be getting; `None` when a router could not say.
    exposure: Option<f64>,
    /// Numbers of the rules that may be chosen.
    rules: Vec<usize>,
    /// Names of the plans that may be chosen.
    plans: Vec<String>,
}

/// What became of the guard after a key or a tick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Open,
    Closed(&'static str),
    Fire(Command),
}

impl Guard {
    /// Arms `verb` for a service; why not, when there is nothing to do.
    pub fn open(
        verb: Verb,
        service: &ServiceView,
        picture: &Snapshot,
        now: Now,
    ) -> Result<Guard, String> {
        may::may(verb, service, picture, now)?;
        let mut guard = Guard::new(verb, Target::Service, &service.name, now);
        guard.alias.clone_from(&service.alias);
        guard.expected = service.expected();
        guard.seen = seen(service, now);
        guard.plans.clone_from(&service.plans);
        match verb {
            Verb::Thaw if freeze_of(picture, Some(&service.name), now).is_none() => {
                guard.target = Target::Everything;
                EVERYTHING.clone_into(&mut guard.alias);
                "every service".clone_into(&mut guard.name);
            }
            Verb::RuleOff | Verb::RuleOn => guard.rules = rules(verb, service),
            Verb::Rollback
            | Verb::Abort
            | Verb::Promote
            | Verb::Shift
            | Verb::Deploy
            | Verb::Run
            | Verb::Pause
            | Verb::Resume
            | Verb::Yes
            | Verb::No
            | Verb::StopTheLine
            | Verb::Freeze
            | Verb::Thaw
            | Verb::MarkBad
            | Verb::MarkGood
            | Verb::Assign
            | Verb::Note
            | Verb::Snooze => {}
        }
        guard.look(Some(picture), now);
        guard.arrange();
        guard.prefill(service);
        Ok(guard)
    }

    /// Arms what stops every release.
    #[must_use]
    pub fn stop_the_line(picture: &Snapshot, now: Now) -> Guard {
        let mut guard = Guard::new(Verb::StopTheLine, Target::Everything, "every service", now);
        let running = picture.services.iter().filter_map(|one| in_flight(one)).count();
        guard.seen = format!("{running} releases in flight");
        guard.arrange();
        guard
    }

    /// Opens the box in which a person says something of an incident.
    #[must_use]
    pub fn of_incident(verb: Verb, incident: &IncidentView, now: Now) -> Guard {
        let target = Target::Incident(incident.key.clone());
        let mut guard = Guard::new(verb, target, incident.name.display(), now);
        incident.name.display().clone_into(&mut guard.seen);
        guard.arrange();
        for (field, text) in &mut guard.fields {
            if *field == Field::Span {
                USUAL_SPAN.clone_into(text);
            } else if *field == Field::Assignee {
                incident.triage.assignee.display().clone_into(text);
            }
        }
        guard
    }

    fn new(verb: Verb, target: Target, name: &str, now: Now) -> Guard {
        Guard {
            verb,
            target,
            name: name.to_owned(),
            alias: String::new(),
            expected: None,
            opened: now,
            last_key: now.mono,
            fields: Vec::new(),
            at: 0,
            problem: String::new(),
            fires: None,
            seen: String::new(),
            thaw: String::new(),
            against: Vec::new(),
            exposure: None,
            rules: Vec::new(),
            plans: Vec::new(),
        }
    }

    /// What most people would type, so that they only correct it.
    fn prefill(&mut self, service: &ServiceView) {
        let release = service.release.as_ref().map(|release| release.version.clone());
        let counted = service.signals.as_ref().map(|signals| signals.canary.version.clone());
        let version = release.or(counted).unwrap_or_default();
        for (field, text) in &mut self.fields {
            if *field == Field::Span {
                USUAL_SPAN.clone_into(text);
            } else if *field == Field::Version && !self.verb.starts() {
                text.clone_from(&version);
            }
        }
    }

    /// Looks what stands against more exposure now; true when something new does. What went away
    /// stays listed, so that no row and no field moves under the fingers.
    fn look(&mut self, picture: Option<&Snapshot>, now: Now) -> bool {
        let found = picture.and_then(|picture| {
            let service = picture.services.iter().find(|one| one.name == self.name)?;
            Some((picture, service, service.route.as_ref()?))
        });
        let (true, Some((picture, service, route))) = (self.verb.exposes(), found) else {
            return false;
        };
        self.exposure = gate::exposure(route, now);
        let measured = self.verb == Verb::Promote || gate::is_measured(self.exposure);
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
        if !self.verb.moves() {
            return self.verb.exposes();
        }
        let more = |to: Percent| self.exposure.is_none_or(|now| f64::from(to.get()) > now);
        self.verb.exposes() && self.target().is_none_or(|to| to != Percent::ZERO && more(to))
    }

    #[must_use]
    pub fn overrides(&self) -> bool {
        self.raises() && !self.against.is_empty()
    }

    /// The fields that are asked for, with what was typed so far.
    fn arrange(&mut self) {
        let here = self.fields.get(self.at).map(|(field, _)| *field);
        let mut wanted = match self.verb {
            Verb::Rollback | Verb::Abort | Verb::Resume | Verb::Yes => vec![Field::Alias],
            Verb::Promote => vec![Field::Alias, Field::Percent],
            Verb::Shift => vec![Field::Alias, Field::Percent, Field::Reason],
            Verb::Deploy => vec![Field::Version, Field::Reason, Field::Alias],
            Verb::Run => vec![Field::Plan, Field::Version, Field::Reason, Field::Alias],
            Verb::Pause | Verb::No | Verb::StopTheLine | Verb::RuleOn => vec![Field::Reason],
            Verb::Freeze => vec![Field::Span, Field::Reason],
            Verb::Thaw => vec![Field::Alias, Field::Reason],
            Verb::RuleOff => vec![Field::Alias, Field::Span, Field::Reason],
            Verb::MarkBad => vec![Field::Version, Field::Reason],
            Verb::MarkGood => vec![Field::Alias, Field::Version, Field::Reason],
            Verb::Assign => vec![Field::Assignee],
            Verb::Note => vec![Field::Note],
            Verb::Snooze => vec![Field::Span, Field::Comment],
        };
        if self.rules.len() > 1 {
            wanted.insert(wanted.len() - 1, Field::Rule);
        }
        if self.overrides() {
            let reason = wanted.iter().position(|field| *field == Field::Reason);
            match (reason, self.verb) {
                (Some(_), Verb::Deploy | Verb::Run) | (None, _) => wanted.push(Field::Override),
                (Some(reason), _) => wanted.insert(reason, Field::Override),
            }
            if reason.is_none() {
                wanted.push(Field::Reason);
            }
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
        let expected = self.expected.filter(|_| self.verb.moves() || self.verb.exposes())?;
        let Some(service) = snapshot.services.iter().find(|service| service.name == self.name)
        else {
            return Some("it is no longer in the configuration".to_owned());
        };
        let now = service.expected()?;
        if (now.set, now.fence) != (expected.set, expected.fence) {
            return Some(match now.set {
                Some(set) => format!("moved under you: now {set}"),
                None => "moved under you: nothing is set now".to_owned(),
            });
        }
        match (now.release, expected.release) {
            (now, before) if now == before => None,
            (Some((id, step)), _) => {
                Some(format!("moved under you: release r{id} is at step {} now", step + 1))
            }
            (None, _) => Some("moved under you: the release has ended".to_owned()),
        }
    }

    /// The percent that will be set; `None` while it is not typed, or none is.
    #[must_use]
    pub fn target(&self) -> Option<Percent> {
        match self.verb {
            Verb::Rollback | Verb::Abort => Some(Percent::ZERO),
            Verb::Promote => Some(Percent::FULL),
            Verb::Shift => self.typed(Field::Percent).trim().parse().ok().and_then(Percent::new),
            Verb::Deploy
            | Verb::Run
            | Verb::Pause
            | Verb::Resume
            | Verb::Yes
            | Verb::No
            | Verb::StopTheLine
            | Verb::Freeze
            | Verb::Thaw
            | Verb::RuleOff
            | Verb::RuleOn
            | Verb::MarkBad
            | Verb::MarkGood
            | Verb::Assign
            | Verb::Note
            | Verb::Snooze => None,
        }
    }

    /// True when Enter does without it.
    #[must_use]
    pub fn is_optional(&self, field: Field) -> bool {
        let quick = matches!(self.verb, Verb::Pause | Verb::No | Verb::StopTheLine | Verb::RuleOn);
        matches!(field, Field::Comment | Field::Assignee)
            || (quick && field == Field::Reason)
            || (self.verb == Verb::Run && field == Field::Version)
    }

    #[must_use]
    pub fn is_dead(&self, now: Now) -> bool {
        self.opened.age(now) < DEAD_TIME && !matches!(self.target, Target::Incident(_))
    }

    /// When this guard next changes by itself.
    #[must_use]
    pub fn deadline(&self, now: Now) -> Time {
        let own = self.fires.unwrap_or(self.last_key + IDLE_MAX);
        if self.is_dead(now) { own.min(self.opened.mono + DEAD_TIME) } else { own }
    }

    /// `burst`: it came together with others, typed by no person.
    pub fn key(&mut self, key: Key, burst: bool, snapshot: Option<&Snapshot>, now: Now) -> Step {
        if self.is_dead(now) {
            return Step::Open;
        }
        self.last_key = now.mono;
        if self.fires.is_some() {
            return Step::Closed("cancelled in the countdown; nothing was sent");
        }
        if burst && key == Key::Enter {
            "Enter came with the text: press it again".clone_into(&mut self.problem);
            return Step::Open;
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
            | Key::End
            | Key::Insert
            | Key::Delete
            | Key::F(_) => {}
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
            Field::Alias | Field::Percent | Field::Override | Field::Rule | Field::Span => {
                SHORT_CHARS_MAX
            }
            Field::Version | Field::Plan => VERSION_CHARS_MAX + HOTFIX.len(),
            Field::Reason | Field::Comment | Field::Assignee | Field::Note => REASON_CHARS_MAX,
        };
        if text.chars().count() < max && !c.is_control() {
            text.push(c);
        }
    }

    fn enter(&mut self, snapshot: Option<&Snapshot>, now: Now) -> Step {
        let (field, text) = &self.fields[self.at];
        if text.trim().is_empty() && !self.is_optional(*field) {
            return Step::Open;
        }
        if let Some(problem) = self.problem_of(*field) {
            self.problem = problem;
            return Step::Open;
        }
        if let Some(frozen) = self.frozen() {
            self.problem = format!("{frozen}; {} thaws", self.thaw);
            return Step::Open;
        }
        // The version of a plan may stay empty, but not unseen: the plan may be about it.
        let unseen = *field == Field::Plan && self.typed(Field::Version).is_empty();
        let open = self.fields.iter().position(|(field, _)| {
            (unseen && *field == Field::Version) || self.problem_of(*field).is_some()
        });
        if let Some(open) = open {
            self.at = open;
            return Step::Open;
        }
        if self.verb.danger() != Danger::Exposure {
            return self.fire();
        }
        if let Some(moved) = snapshot.and_then(|snapshot| self.moved(snapshot)) {
            self.problem = format!("{moved}; Esc, look, and arm again");
            return Step::Open;
        }
        self.fires = Some(now.mono + COUNTDOWN);
        Step::Open
    }

    /// The freeze that no word overrides: the engine raises nothing under it.
    fn frozen(&self) -> Option<&str> {
        let moves = self.verb.moves() && self.raises();
        let gate = self.against.iter().find(|gate| gate.key == gate::FREEZE && gate.holds);
        gate.filter(|_| moves).map(|gate| gate.text.as_str())
    }

    fn problem_of(&self, field: Field) -> Option<String> {
        let text = self.typed(field).trim();
        match field {
            Field::Alias if text != self.alias => Some(match self.target {
                Target::Everything => format!("type {EVERYTHING}: it is about every service"),
                Target::Service | Target::Incident(_) => {
                    format!("\"{text}\" is not the alias of {}", self.name)
                }
            }),
            Field::Percent => self.problem_of_percent(text),
            Field::Override if !text.eq_ignore_ascii_case(OVERRIDE) => {
                Some(format!("type {OVERRIDE}, or Esc and wait for green"))
            }
            Field::Version if text.is_empty() && !self.is_optional(field) => {
                Some("say which version".to_owned())
            }
            Field::Rule if self.rule().is_none() => {
                let known: Vec<String> = self.rules.iter().map(ToString::to_string).collect();
                Some(format!("a number of a rule: {}", known.join(", ")))
            }
            Field::Plan if !self.plans.iter().any(|plan| plan == text) => {
                Some(format!("a name of a plan: {}", self.plans.join(", ")))
            }
            Field::Span if seconds(text).is_none() => {
                Some("a time such as 30m, 2h or 1d".to_owned())
            }
            Field::Reason if text.is_empty() && !self.is_optional(field) => {
                Some("say why: it goes into the journal".to_owned())
            }
            Field::Note if text.is_empty() => Some("write it down".to_owned()),
            Field::Alias
            | Field::Override
            | Field::Version
            | Field::Rule
            | Field::Plan
            | Field::Span
            | Field::Reason
            | Field::Comment
            | Field::Assignee
            | Field::Note => None,
        }
    }

    fn problem_of_percent(&self, text: &str) -> Option<String> {
        let Some(typed) = text.parse().ok().and_then(Percent::new) else {
            return Some("a whole percent from 0 to 100".to_owned());
        };
        let set = self.expected.and_then(|expected| expected.set);
        if self.verb == Verb::Promote && typed != Percent::FULL {
            return Some("promote is 100; shift gives any other percent".to_owned());
        }
        let same = self.verb == Verb::Shift && Some(typed) == set;
        same.then(|| format!("it is at {typed} already"))
    }

    /// The number of the rule that is meant.
    #[must_use]
    pub fn rule(&self) -> Option<usize> {
        if let [only] = self.rules.as_slice() {
            return Some(*only);
        }
        let typed = self.typed(Field::Rule).trim().parse().ok()?;
        self.rules.contains(&typed).then_some(typed)
    }

    fn typed(&self, wanted: Field) -> &str {
        self.fields.iter().find(|(field, _)| *field == wanted).map_or("", |(_, text)| text)
    }

    /// The version, and whether it is a hotfix over a stable that is known to be sick.
    #[must_use]
    pub fn version(&self) -> (&str, bool) {
        let typed = self.typed(Field::Version).trim();
        let hotfix = typed.strip_suffix(HOTFIX).filter(|_| self.verb == Verb::Deploy);
        hotfix.map_or((typed, false), |version| (version.trim_end(), true))
    }

    /// What was typed, behind what it overrides: the journal keeps both.
    fn reason(&self) -> String {
        let typed = self.typed(Field::Reason).trim();
        if !self.overrides() {
            return typed.to_owned();
        }
        gate::overridden(&self.against, typed)
    }

    fn fire(&self) -> Step {
        let command = self.command();
        command.map_or(Step::Open, Step::Fire)
    }

    /// What is said of an incident; only the fields that the verb asks for are there.
    fn said_of_incident(&self) -> Option<Command> {
        let Target::Incident(key) = &self.target else { return None };
        let typed = |field: Field| Untrusted::new(self.typed(field).trim());
        let key = key.clone();
        let asked = |field: Field| self.fields.iter().any(|(own, _)| *own == field);
        let say = if asked(Field::Assignee) {
            Say::Assign { to: typed(Field::Assignee) }
        } else if asked(Field::Note) {
            Say::Note { text: typed(Field::Note) }
        } else {
            let seconds = seconds(self.typed(Field::Span).trim())?;
            Say::Snooze { seconds, reason: typed(Field::Comment) }
        };
        Some(Command::Triage { key, say })
    }

    /// What is asked of the engine; `None` while something is missing.
    fn command(&self) -> Option<Command> {
        let service = self.name.clone();
        let reason = Untrusted::new(&self.reason());
        let (version, hotfix) = self.version();
        let version = version.to_owned();
        let plan = self.typed(Field::Plan).trim().to_owned();
        let span = || seconds(self.typed(Field::Span).trim());
        let trigger = || u32::try_from(self.rule()?.checked_sub(1)?).ok();
        Some(match self.verb {
            Verb::Rollback => Command::Rollback { service, reason },
            Verb::Abort => Command::Abort { service, reason },
            Verb::Promote => Command::Promote { service, reason },
            Verb::Shift => Command::Split { service, canary: self.target()?, reason },
            Verb::Deploy => Command::Deploy { service, version, hotfix, reason },
            Verb::Run => Command::Run { plan, service, version, reason },
            Verb::Pause => Command::Pause { service, reason },
            Verb::Resume => Command::Resume { service, reason },
            Verb::Yes | Verb::No => Command::Reply { service, yes: self.verb == Verb::Yes, reason },
            Verb::StopTheLine => Command::StopTheLine { seconds: STOP_SECONDS, reason },
            Verb::Freeze => Command::Freeze { service: Some(service), seconds: span()?, reason },
            Verb::Thaw => {
                let service = (self.target == Target::Service).then_some(service);
                Command::Thaw { service, reason }
            }
            Verb::RuleOff => {
                let (trigger, off_seconds) = (trigger()?, span()?);
                Command::Trigger { service, trigger, off_seconds, reason }
            }
            Verb::RuleOn => {
                Command::Trigger { service, trigger: trigger()?, off_seconds: 0, reason }
            }
            Verb::MarkBad | Verb::MarkGood => {
                Command::Mark { service, version, bad: self.verb == Verb::MarkBad, reason }
            }
            Verb::Assign | Verb::Note | Verb::Snooze => {
                return self.said_of_incident();
            }
        })
    }
}

/// The release that is on its way.
#[must_use]
pub fn in_flight(service: &ServiceView) -> Option<&ReleaseView> {
    service.release.as_ref().filter(|release| release.result.is_none())
}

/// The freeze of exactly this scope that ends last.
#[must_use]
pub fn freeze_of<'a>(
    picture: &'a Snapshot,
    service: Option<&str>,
    now: Now,
) -> Option<&'a FreezeView> {
    let own = picture.head.freezes.iter().filter(|freeze| freeze.until > now.wall);
    own.filter(|freeze| freeze.service.as_deref() == service).max_by_key(|freeze| freeze.until)
}

/// Numbers of the rules that are on, or off.
fn rules(verb: Verb, service: &ServiceView) -> Vec<usize> {
    let off = verb == Verb::RuleOn;
    let all = (1..).zip(&service.triggers);
    all.filter(|(_, rule)| (rule.state == TriggerState::Off) == off).map(|(at, _)| at).collect()
}

/// Seconds of a typed time: `90s`, `30m`, `2h`, `1d`.
fn seconds(text: &str) -> Option<u64> {
    let unit = text.chars().last()?;
    let factor = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return None,
    };
    let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
    number.checked_mul(factor).filter(|seconds| *seconds > 0)
}

/// One line that says what stood on the screen when the guard opened.
#[must_use]
pub fn seen(service: &ServiceView, now: Now) -> String {
    let mut parts = vec![format!("{} {}", service.name, service.status_at(now))];
    if let Some(route) = &service.route {
        parts.push(route.set.map_or("nothing set".to_owned(), |set| format!("set {set}")));
        parts.push(route.state.word().to_owned());
        parts.extend(route.routers.iter().map(|router| match router.canary {
            Some(canary) => format!("{} {canary:.0} %", router.name),
            None => format!("{} not read", router.name),
        }));
    }
    if let Some(release) = in_flight(service) {
        let state = release.state.word();
        parts.push(format!("r{} {} {state}: {}", release.id, release.what(), release.sentence));
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_a_unit() {
        let check = |text: &str, expected| assert_eq!(seconds(text), expected, "{text}");
        check("90s", Some(90));
        check("30m", Some(1_800));
        check("2h", Some(7_200));
        check("1d", Some(86_400));
        for wrong in ["", "5", "0m", "h", "-1h", "1w", "é", "99999999999999999999d"] {
            check(wrong, None);
        }
    }
}
