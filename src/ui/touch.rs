//! What the mouse means, and what is worth copying.
//!
//! Decides which row was meant. Never acts on one: clicks select and scroll, and nothing else; over
//! a guard or a list that is open they do nothing. Contract: what is copied is what is shown.

use engine::record::OperationResult;
use engine::snapshot::{Phase, Snapshot};
use engine::types::Now;
use ratatui::layout::{Position, Rect};

use super::keymap::Act;
use super::{Action, Click, Mode, Panel, Ui, guard, view};

/// Rows that one step of the wheel moves.
const WHEEL: usize = 3;

impl Ui {
    pub(super) fn click(
        &mut self,
        click: Click,
        at: Position,
        area: Rect,
        live: Option<&Snapshot>,
        now: Now,
    ) -> Vec<Action> {
        match (&mut self.mode, click) {
            (Mode::Help { scroll }, Click::WheelUp) => *scroll = scroll.saturating_sub(WHEEL),
            (Mode::Help { scroll }, Click::WheelDown) => *scroll += WHEEL,
            (Mode::Panels, _) => {
                let panels = view::areas(area, live, self).panels;
                let Some((panel, inside)) = panels.into_iter().find(|(_, own)| own.contains(at))
                else {
                    return Vec::new();
                };
                self.focus = panel;
                match click {
                    Click::WheelUp => self.go(live, now, |at, _| at.saturating_sub(WHEEL)),
                    Click::WheelDown => self.go(live, now, |at, _| at + WHEEL),
                    Click::Press => self.select_row(panel, inside, at.y, live, now),
                }
            }
            (
                Mode::Help { .. }
                | Mode::Page { .. }
                | Mode::Room { .. }
                | Mode::Runbook(_)
                | Mode::Filter
                | Mode::Palette { .. }
                | Mode::Faults
                | Mode::Guard(_)
                | Mode::Escalate { .. },
                _,
            ) => return Vec::new(),
        }
        vec![Action::Redraw]
    }

    pub(super) fn switch_mouse(&mut self, now: Now) -> Vec<Action> {
        self.mouse = !self.mouse;
        let text =
            if self.mouse { "the mouse selects rows here" } else { "the mouse is the terminal's" };
        self.say(text, now);
        vec![Action::Mouse(self.mouse), Action::Redraw]
    }

    /// Only lists with a selection have one.
    fn select_row(
        &mut self,
        panel: Panel,
        inside: Rect,
        y: u16,
        live: Option<&Snapshot>,
        now: Now,
    ) {
        let Some(picture) = self.shown(live) else { return };
        match panel {
            Panel::Services => {
                let row = view::service_row(inside, picture, self, now, y);
                let name =
                    row.and_then(|row| Some(self.services(picture, now).get(row)?.name.clone()));
                self.service = name.or(self.service.take());
            }
            Panel::Incidents => {
                let row = view::incident_row(inside, picture, self, now, y);
                let key = row.and_then(|row| Some(self.incidents(picture).get(row)?.key.clone()));
                self.incident = key.or(self.incident.take());
            }
            Panel::Release | Panel::Hosts | Panel::Journal | Panel::Sources => {}
        }
    }

    /// What is selected, as text that is of use somewhere else.
    pub(super) fn copy(&mut self, live: Option<&Snapshot>, now: Now) -> Vec<Action> {
        match self.copied(live, now) {
            Ok(text) => vec![Action::Copy(text)],
            Err(why) => {
                self.say(&why, now);
                vec![Action::Redraw]
            }
        }
    }

    fn copied(&self, live: Option<&Snapshot>, now: Now) -> Result<String, String> {
        let picture = self.shown(live).ok_or("nothing is shown yet")?;
        match self.focus {
            Panel::Services | Panel::Release => {
                let service = self.visible_service(live, now)?;
                // What must be typed by hand is what somebody copies in an emergency.
                let open = service.operation.as_ref().filter(|operation| match operation.phase {
                    Phase::Ended(OperationResult::Partial | OperationResult::Unknown) => true,
                    Phase::Accepted
                    | Phase::Applying
                    | Phase::Recording
                    | Phase::Ended(
                        OperationResult::Verified
                        | OperationResult::Superseded
                        | OperationResult::Refused,
                    ) => false,
                });
                let manual = open.map(|operation| operation.manual.join("\n"));
                Ok(manual.unwrap_or_else(|| guard::seen(service, now)))
            }
            Panel::Incidents => {
                let incident = self.visible_incident(live)?;
                let links = incident.links.iter().map(|link| link.display().to_owned());
                let mut parts = vec![
                    incident.severity.word().to_owned(),
                    incident.name.display().to_owned(),
                    incident.summary.display().to_owned(),
                    incident.key.clone(),
                ];
                parts.extend(links);
                Ok(parts.join("\n"))
            }
            Panel::Hosts | Panel::Journal | Panel::Sources => {
                let lines: Vec<String> = match self.focus {
                    Panel::Journal => self
                        .journal(picture)
                        .into_iter()
                        .rev()
                        .map(|line| {
                            let at = line.at.format("%Y-%m-%dT%H:%M:%SZ");
                            format!("{at} {} {} {}", line.user, line.kind, line.text)
                        })
                        .collect(),
                    Panel::Sources => self
                        .sources(picture, now)
                        .into_iter()
                        .filter(|source| !source.error.is_empty())
                        .map(|source| format!("{}: {}", source.name, source.error))
                        .collect(),
                    Panel::Hosts | Panel::Services | Panel::Release | Panel::Incidents => {
                        Vec::new()
                    }
                };
                let key = self.keymap.shown(Act::Copy);
                let none = || format!("{key} copies services, incidents, the journal, and errors");
                if lines.is_empty() { Err(none()) } else { Ok(lines.join("\n")) }
            }
        }
    }
}
