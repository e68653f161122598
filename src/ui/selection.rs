//! Which rows show, which of them is selected, and what may be asked of it.
//!
//! Decides by the filter and the focus. Never acts. Contract: no key acts on a row that does not
//! show; a selection stays on its row however the rows are sorted.

use engine::record::ReleaseState;
use engine::snapshot::{IncidentView, ServiceView, Snapshot};
use engine::types::{Now, Status};

use super::keymap::{self, Act, Danger, Where};
use super::past::Past;
use super::{Panel, Ui, filter, guard, view};

impl Ui {
    /// The services that the filter lets through, worst first, else as configured.
    #[must_use]
    pub fn services<'a>(&self, picture: &'a Snapshot, now: Now) -> Vec<&'a ServiceView> {
        let passes = |service: &ServiceView, status: Status| {
            let fields = [
                ("name", service.name.as_str()),
                ("alias", service.alias.as_str()),
                ("status", status.word()),
            ];
            filter::matches(&self.filter, &fields)
        };
        let judged = picture.services().map(|service| (service.status_at(now), service));
        let mut shown: Vec<_> =
            judged.filter(|(status, service)| passes(service, *status)).collect();
        shown.sort_by_key(|(status, _)| std::cmp::Reverse(*status));
        shown.into_iter().map(|(_, service)| service).collect()
    }

    /// The incidents that the filter lets through, in the engine's order.
    #[must_use]
    pub fn incidents<'a>(&self, picture: &'a Snapshot) -> Vec<&'a IncidentView> {
        if self.filter.is_empty() {
            return picture.incidents.open.iter().collect();
        }
        let shown = picture.incidents.open.iter().filter(|incident| {
            let mut fields = vec![
                ("name", incident.name.display()),
                ("severity", incident.severity.word()),
                ("source", incident.source.as_str()),
                ("summary", incident.summary.display()),
                ("state", view::state_word(incident.state)),
            ];
            fields.extend(incident.labels.values().map(|value| ("label", value.display())));
            filter::matches(&self.filter, &fields)
        });
        shown.collect()
    }

    /// After the filter changed: what it hides is not selected any more, so that no key acts on it.
    pub(super) fn select_visible(&mut self, live: Option<&Snapshot>, now: Now) {
        let Some(picture) = self.shown(live) else { return };
        let services = self.services(picture, now);
        let selected = services.iter().any(|one| Some(&one.name) == self.service.as_ref());
        let service = services.first().map(|service| service.name.clone());
        let incidents = self.incidents(picture);
        let chosen = incidents.iter().any(|one| Some(&one.key) == self.incident.as_ref());
        let incident = incidents.first().map(|incident| incident.key.clone());
        if !selected {
            self.service = service;
        }
        if !chosen {
            self.incident = incident;
        }
    }

    /// The selected service, whether or not the filter shows it.
    #[must_use]
    pub fn selected_service<'a>(&self, live: Option<&'a Snapshot>) -> Option<&'a ServiceView> {
        let name = self.service.as_ref()?;
        live?.services().find(|service| service.name == *name)
    }

    /// The selected service if its row shows; why not. Acts are always on the live picture, even
    /// while the view is stopped.
    pub(super) fn visible_service<'a>(
        &self,
        live: Option<&'a Snapshot>,
        now: Now,
    ) -> Result<&'a ServiceView, String> {
        let none = || "no service is selected".to_owned();
        let service = self.selected_service(live).ok_or_else(none)?;
        let picture = self.shown(live).ok_or_else(none)?;
        if self.services(picture, now).iter().any(|shown| shown.name == service.name) {
            return Ok(service);
        }
        Err(format!("{} is hidden by /{}: Esc clears the filter", service.name, self.filter))
    }

    /// The selected incident if its panel has the focus and its row shows; why not.
    pub(super) fn visible_incident<'a>(
        &self,
        live: Option<&'a Snapshot>,
    ) -> Result<&'a IncidentView, &'static str> {
        if self.focus != Panel::Incidents {
            return Err("go to the incidents panel first");
        }
        let none = "no incident is selected";
        let key = self.incident.as_ref().ok_or(none)?;
        let picture = self.shown(live).ok_or(none)?;
        if !self.incidents(picture).iter().any(|shown| shown.key == *key) {
            return Err("the selected incident is hidden by the filter: Esc clears it");
        }
        live.and_then(|live| live.incidents.open.iter().find(|open| open.key == *key)).ok_or(none)
    }

    /// True when `act` can be asked for here: what the footer offers.
    #[must_use]
    pub fn offers(&self, act: Act, live: Option<&Snapshot>, now: Now) -> bool {
        let binding = keymap::binding(act);
        let fixed = self.read_only || self.past.is_some();
        if fixed && binding.danger != Danger::None {
            return false;
        }
        let service = self.visible_service(live, now).ok();
        let release = service.and_then(guard::in_flight);
        let paused = release.is_some_and(|release| {
            matches!(release.state, ReleaseState::Paused | ReleaseState::Held)
        });
        match (binding.place, act) {
            (Where::Release, Act::Resume) => paused,
            (Where::Release, _) => release.is_some_and(|release| {
                matches!(release.state, ReleaseState::Running | ReleaseState::Asking)
            }),
            (Where::Service, Act::Deploy) => {
                release.is_none() && service.is_some_and(|service| service.route.is_some())
            }
            (Where::Service, Act::RunPlan) => {
                release.is_none() && service.is_some_and(|service| !service.plans.is_empty())
            }
            (Where::Service, Act::Abort) => release.is_some(),
            (Where::Service, Act::Thaw) => {
                live.is_some_and(|live| live.head.freezes.iter().any(|one| one.until > now.wall))
            }
            (Where::Service, _) => service.is_some_and(|service| service.route.is_some()),
            (Where::Question, _) => release.is_some_and(|release| release.question.is_some()),
            (Where::Rule, _) => service.is_some_and(|service| !service.triggers.is_empty()),
            (Where::Incident, _) => self.visible_incident(live).is_ok(),
            (Where::Demo, _) => !self.faults.is_empty(),
            (Where::Replay, _) => matches!(self.past, Some(Past::Replay { .. })),
            (Where::Everywhere, _) => true,
        }
    }
}
