//! A runbook on the screen: read, choose a command, give its values, confirm it.
//!
//! Decides when a command may be sent. Never sends what only reads without a key of its own, nor
//! what changes something without the alias. Contract: keys of the first moment are dropped;
//! pasted text never fills a field.

use std::collections::BTreeMap;

use engine::command::Command;
use engine::runbook::{Page, PageCommand, What};
use engine::settings::{Definition, Settings};
use engine::snapshot::{IncidentView, ServiceView, Snapshot};
use engine::types::{Now, Untrusted};

use crate::ui::guard::DEAD_TIME;
use crate::ui::keymap::Key;
use crate::ui::{Action, Mode, Panel, Ui};

/// Rows that a page key moves.
const PAGE_ROWS: usize = 10;
const VALUE_CHARS_MAX: usize = 120;
/// Aliases and [`CONFIRM`] have at most 4 letters; a few more are kept so that a mistake is seen.
const CONFIRM_CHARS_MAX: usize = 8;
/// Typed where no service is meant.
pub const CONFIRM: &str = "run";

#[derive(Clone, Debug)]
pub struct Reading {
    pub page: Page,
    /// First row shown.
    pub scroll: usize,
    /// Place of the chosen command.
    pub chosen: usize,
    pub service: Option<String>,
    pub incident: Option<String>,
    /// What is typed before something that changes is run.
    pub alias: String,
    pub step: Step,
    pub problem: String,
    opened: Now,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Read,
    /// Values that are asked for, with what was typed; the place of the one that takes the keys.
    Ask {
        values: Vec<(String, String)>,
        at: usize,
    },
    Confirm {
        values: Vec<(String, String)>,
        typed: String,
    },
}

/// The pages that can be read here, and which of them incidents of our own have.
#[derive(Clone, Debug, Default)]
pub struct Runbooks {
    pages: Vec<Page>,
    /// By the definition's name: path or address.
    incidents: BTreeMap<String, String>,
}

impl Runbooks {
    #[must_use]
    pub fn of(settings: &Settings) -> Runbooks {
        let incidents = settings.incidents.iter();
        let named = |own: &Definition| Some((own.name.clone(), own.runbook.clone()?));
        Runbooks {
            pages: settings.runbooks.iter().map(|book| book.page.clone()).collect(),
            incidents: incidents.filter_map(named).collect(),
        }
    }

    /// Where an incident says what to do: its definition, a link of its alert.
    pub(super) fn of_incident<'a>(&'a self, incident: &'a IncidentView) -> Option<&'a str> {
        let own = incident.key.strip_prefix("quarterdeck/incident/");
        let own = own.and_then(|rest| self.incidents.get(rest.split('/').next()?));
        let is_page = |link: &&str| link.contains("runbook") || link.strip_suffix(".md").is_some();
        let link = || incident.links.iter().map(Untrusted::display).find(is_page);
        own.map(String::as_str).or_else(link)
    }

    /// The page at this path, or the one that an alert's path or address ends with.
    fn page(&self, place: &str) -> Option<&Page> {
        let last = place.split(['#', '?']).next()?.rsplit('/').next()?;
        let name = last.strip_suffix(".md").unwrap_or(last);
        let pages = || self.pages.iter();
        pages()
            .find(|page| page.path == place)
            .or_else(|| pages().find(|page| !place.starts_with('/') && page.name == name))
    }
}

impl Ui {
    /// Opens the page of the selected incident, else of the selected service.
    pub(super) fn open_runbook(&mut self, live: Option<&Snapshot>, now: Now) {
        let incident = (self.focus == Panel::Incidents).then(|| self.visible_incident(live));
        let incident = incident.and_then(Result::ok);
        let names = |service: &ServiceView| {
            incident.is_none_or(|incident| {
                incident.labels.values().any(|value| value.display() == service.name)
                    || incident.key.ends_with(&format!("/{}", service.name))
            })
        };
        let selected = self.selected_service(live);
        let service = match incident {
            Some(_) => live.and_then(|live| live.services().find(|service| names(service))),
            None => selected,
        };
        let place = incident.and_then(|incident| self.runbooks.of_incident(incident));
        let place = place.or_else(|| service?.runbook.as_deref());
        let Some(place) = place.map(str::to_owned) else {
            return self.say("there is no runbook for it", now);
        };
        let Some(page) = self.runbooks.page(&place).cloned() else {
            return self.say(&format!("runbook: {place}"), now);
        };
        let mut reading = Reading::new(page, now);
        reading.service = service.map(|service| service.name.clone());
        if let Some(service) = service {
            reading.alias.clone_from(&service.alias);
        }
        reading.incident = incident.map(|incident| incident.key.clone());
        self.mode = Mode::Runbook(Box::new(reading));
    }

    pub(super) fn runbook_key(&mut self, key: Key, burst: bool, now: Now) -> Vec<Action> {
        let Mode::Runbook(reading) = &mut self.mode else { return Vec::new() };
        match reading.key(key, burst, now) {
            After::Open => {}
            After::Closed => self.mode = Mode::Panels,
            After::Run(..) if self.read_only => {
                "READ-ONLY: this console may look, not act".clone_into(&mut reading.problem);
            }
            After::Run(command, seen) => {
                return vec![Action::Redraw, Action::Submit { command, expected: None, seen }];
            }
        }
        vec![Action::Redraw]
    }
}

/// What became of it after a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum After {
    Open,
    Closed,
    /// The command, and its words as they stood there.
    Run(Command, Untrusted),
}

impl Reading {
    #[must_use]
    pub fn new(page: Page, now: Now) -> Reading {
        Reading {
            page,
            scroll: 0,
            chosen: 0,
            service: None,
            incident: None,
            alias: CONFIRM.to_owned(),
            step: Step::Read,
            problem: String::new(),
            opened: now,
        }
    }

    #[must_use]
    pub fn command(&self) -> Option<&PageCommand> {
        self.page.commands.get(self.chosen)
    }

    pub fn key(&mut self, key: Key, burst: bool, now: Now) -> After {
        if self.opened.age(now) < DEAD_TIME || (burst && key.is_text()) {
            return After::Open;
        }
        self.problem.clear();
        match std::mem::replace(&mut self.step, Step::Read) {
            Step::Read => self.read_key(key, now),
            Step::Ask { values, at } => self.ask_key(key, values, at, now),
            Step::Confirm { values, typed } => self.confirm_key(key, values, typed),
        }
    }

    fn read_key(&mut self, key: Key, now: Now) -> After {
        let last = self.page.lines.len().saturating_sub(1);
        let commands = self.page.commands.len();
        match key {
            Key::Esc | Key::Ctrl('c') | Key::Char('q') => return After::Closed,
            Key::Down | Key::Char('j') => self.scroll = (self.scroll + 1).min(last),
            Key::Up | Key::Char('k') => self.scroll = self.scroll.saturating_sub(1),
            Key::PageDown | Key::Char(' ') => self.scroll = (self.scroll + PAGE_ROWS).min(last),
            Key::PageUp => self.scroll = self.scroll.saturating_sub(PAGE_ROWS),
            Key::Home | Key::Char('g') => self.scroll = 0,
            Key::End | Key::Char('G') => self.scroll = last,
            Key::Tab | Key::Char('n') if commands > 0 => self.choose((self.chosen + 1) % commands),
            Key::BackTab | Key::Char('p') if commands > 0 => {
                self.choose((self.chosen + commands - 1) % commands);
            }
            Key::Enter | Key::Char('x') => return self.begin(now),
            Key::Char(_)
            | Key::Ctrl(_)
            | Key::Tab
            | Key::BackTab
            | Key::Backspace
            | Key::Left
            | Key::Right
            | Key::Insert
            | Key::Delete
            | Key::F(_) => {}
        }
        After::Open
    }

    /// The chosen command is always in sight.
    fn choose(&mut self, place: usize) {
        self.chosen = place;
        let line = self.command().map_or(1, |command| command.line);
        self.scroll = line.saturating_sub(4);
    }

    fn begin(&mut self, now: Now) -> After {
        let Some(command) = self.command().cloned() else {
            "nothing in this page can be run".clone_into(&mut self.problem);
            return After::Open;
        };
        if let What::Refused { why, .. } = &command.what {
            self.problem.clone_from(why);
            return After::Open;
        }
        let values: Vec<(String, String)> =
            command.asks.iter().map(|name| (name.clone(), String::new())).collect();
        // What is asked next was not there yet for the keys that come right behind this one.
        self.opened = now;
        if !values.is_empty() {
            self.step = Step::Ask { values, at: 0 };
            return After::Open;
        }
        self.asked(values)
    }

    /// All values are there: what changes something is confirmed first.
    fn asked(&mut self, values: Vec<(String, String)>) -> After {
        let Some(command) = self.command() else { return After::Open };
        if command.changes {
            self.step = Step::Confirm { values, typed: String::new() };
            return After::Open;
        }
        self.run(values)
    }

    fn ask_key(
        &mut self,
        key: Key,
        mut values: Vec<(String, String)>,
        mut at: usize,
        now: Now,
    ) -> After {
        match key {
            Key::Esc | Key::Ctrl('c') => return After::Open,
            Key::Enter if values[at].1.trim().is_empty() => {}
            Key::Enter if at + 1 == values.len() => {
                self.opened = now;
                return self.asked(values);
            }
            Key::Enter => at += 1,
            Key::Backspace => _ = values[at].1.pop(),
            Key::Char(c) if values[at].1.chars().count() < VALUE_CHARS_MAX => values[at].1.push(c),
            Key::Char(_)
            | Key::Ctrl(_)
            | Key::Tab
            | Key::BackTab
            | Key::Up
            | Key::Down
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
        self.step = Step::Ask { values, at };
        After::Open
    }

    fn confirm_key(&mut self, key: Key, values: Vec<(String, String)>, mut typed: String) -> After {
        match key {
            Key::Esc | Key::Ctrl('c') => return After::Open,
            Key::Enter if typed == self.alias => return self.run(values),
            Key::Enter if typed.is_empty() => {}
            Key::Enter => self.problem = format!("type {}", self.alias),
            Key::Backspace => _ = typed.pop(),
            Key::Char(c) if typed.chars().count() < CONFIRM_CHARS_MAX => typed.push(c),
            Key::Char(_)
            | Key::Ctrl(_)
            | Key::Tab
            | Key::BackTab
            | Key::Up
            | Key::Down
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
        self.step = Step::Confirm { values, typed };
        After::Open
    }

    fn run(&mut self, values: Vec<(String, String)>) -> After {
        let Some(command) = self.command() else { return After::Open };
        let values: BTreeMap<String, String> =
            values.into_iter().map(|(name, value)| (name, value.trim().to_owned())).collect();
        let request = Command::Runbook {
            runbook: self.page.name.clone(),
            place: u32::try_from(self.chosen).unwrap_or(u32::MAX),
            digest: command.digest(),
            service: self.service.clone(),
            incident: self.incident.clone(),
            values,
            reason: Untrusted::default(),
        };
        After::Run(request, Untrusted::new(&command.text()))
    }
}

#[cfg(test)]
mod tests;
