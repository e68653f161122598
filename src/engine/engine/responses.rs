//! The engine's part in incidents of our own: what a look at their conditions becomes.
//!
//! Decides who is told what. Never decides when one opens: [`crate::response`] does. Contract: an
//! opening is on record before its notices and actions.

use super::Engine;
use crate::Effect;
use crate::incident::OWN;
use crate::incident::group::Group;
use crate::notice::{Notice, Stage, Step};
use crate::reading::{AlertState, NotifyAnswer};
use crate::record::Event;
use crate::response::{Call, Open, key_of};
use crate::rule::Values;
use crate::rule::figures::host_values;
use crate::schedule::Timer;
use crate::settings::{COUNTERS, Definition, Scope};
use crate::types::{
    Actor, ChannelId, EffectId, HostId, Now, RouterId, ServiceId, Status, Untrusted,
};

impl Engine {
    /// Incidents that the journal shows as open stand on the board again; nobody is told twice.
    pub(super) fn reopen_incidents(&mut self, now: Now, effects: &mut Vec<Effect>) {
        for (key, open) in self.response.open.clone() {
            if open.is_raised() {
                self.raise_again(&key, &open);
                continue;
            }
            let definitions = &self.settings.incidents;
            let place = definitions.iter().position(|own| own.name == open.definition);
            let Some(place) = place.filter(|place| self.watches(*place, &open.subject)) else {
                let name = Untrusted::new(&open.definition);
                self.forgo(&key, &open, now, effects);
                self.note(Event::IncidentResolved { key, name }, now, effects);
                continue;
            };
            let own = self.settings.incidents[place].clone();
            let title = title(&own, &open.subject);
            let summary = "open since before a restart";
            // Its opening is on record already.
            let _ = self.board.raise(&key, own.severity, &title, summary, open.opened);
            self.board.define(&key, Group::of(&own, &open.subject));
            if open.acknowledged {
                self.board.set_state(&key, AlertState::Acknowledged);
            }
            if !open.told {
                self.tell(&own.notify, &key, Stage::Opened, now, effects);
            }
        }
        self.wake_incidents(now, effects);
        self.escalate_due(now, effects);
        self.carry_notices(now, effects);
    }

    /// What Quarterdeck raised before a restart stays open until what it was about says otherwise.
    fn raise_again(&mut self, key: &str, open: &Open) {
        let (name, summary) = (open.name.display(), "open since before a restart");
        // Its opening is on record already.
        let _ = self.board.raise(key, open.severity, name, summary, open.opened);
        if open.acknowledged {
            self.board.set_state(key, AlertState::Acknowledged);
        }
        for (id, router) in (0..).zip(&self.settings.routers) {
            let service = &self.settings.service(router.service).name;
            if *key == format!("{OWN}/{service}/{}", router.name) {
                self.routes[router.service.index()].drifted_before(RouterId(id));
            }
        }
    }

    /// Is there still such a host or service?
    fn watches(&self, definition: usize, subject: &str) -> bool {
        let own = &self.settings.incidents[definition];
        own.is_about(subject)
            && match own.scope {
                Scope::Hosts => self.settings.hosts.iter().any(|host| host.name == subject),
                Scope::Services => self.settings.service_named(subject).is_some(),
                Scope::Environment => self.settings.environment.name == subject,
            }
    }

    pub(super) fn look_at_host(
        &mut self,
        host: HostId,
        fresh: bool,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        if self.settings.incidents.is_empty() {
            return;
        }
        let settings = self.settings.host(host).clone();
        let view = self.hosts[host.index()].view(&settings);
        let reading = view.reading.as_ref().filter(|_| fresh);
        let values = reading.map(host_values).unwrap_or_default();
        self.look(Scope::Hosts, &settings.name, &values, now, effects);
    }

    pub(super) fn look_at_service(
        &mut self,
        service: ServiceId,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        if self.settings.incidents.is_empty() {
            return;
        }
        let mut values = self.values(service, now);
        let probes = &self.settings.service(service).probes;
        let statuses = probes.iter().map(|&id| self.probes[id.index()].status_at(now));
        let statuses: Vec<Status> = statuses.collect();
        let known = !statuses.iter().any(|it| matches!(it, Status::Unknown | Status::Stale));
        for (name, status) in
            [("service.down", Status::Down), ("service.degraded", Status::Degraded)]
        {
            let count = statuses.iter().filter(|own| **own == status).count();
            // What is not known is not healthy: only a count that is there is a figure then.
            if known && !statuses.is_empty() || count > 0 {
                let count = u32::try_from(count).unwrap_or(u32::MAX);
                values.insert(name.to_owned(), f64::from(count));
            }
        }
        let name = self.settings.service(service).name.clone();
        self.look(Scope::Services, &name, &values, now, effects);
    }

    /// Counters and feeds, whenever one of them was read.
    pub(super) fn look_at_environment(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if !self.settings.incidents.iter().any(|own| own.scope == Scope::Environment) {
            return;
        }
        let mut values = Values::new();
        let mut all = true;
        for (feed, settings) in self.feeds.iter().zip(&self.settings.feeds) {
            let fresh = feed.is_fresh(now);
            let figures = feed.figures().iter().filter(|_| fresh);
            values.extend(figures.map(|(name, value)| (format!("counter.{name}"), *value)));
            all &= fresh || settings.kind == COUNTERS;
        }
        // A feed that is silent may have more: then nobody knows how many there are.
        if all {
            values.extend(self.board.figures());
        }
        let name = self.settings.environment.name.clone();
        self.look(Scope::Environment, &name, &values, now, effects);
    }

    fn look(
        &mut self,
        scope: Scope,
        subject: &str,
        values: &Values,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        for call in self.response.look(&self.settings.incidents, scope, subject, values, now) {
            match call {
                Call::Open { definition, subject, summary } => {
                    self.open(definition, &subject, &summary, now, effects);
                }
                Call::Resolve { key } => self.over(&key, now, effects),
            }
        }
    }

    fn open(
        &mut self,
        place: usize,
        subject: &str,
        summary: &str,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let own = self.settings.incidents[place].clone();
        let key = key_of(&own.name, subject);
        let event = self.board.raise(&key, own.severity, &title(&own, subject), summary, now);
        self.board.define(&key, Group::of(&own, subject));
        self.dirty.incidents = true;
        if let Some(event) = event {
            self.note(event, now, effects);
        }
        self.tell(&own.notify, &key, Stage::Opened, now, effects);
        for plan in &own.actions {
            self.act_on(&own, subject, &key, *plan, now, effects);
        }
        self.escalate_due(now, effects);
    }

    fn over(&mut self, key: &str, now: Now, effects: &mut Vec<Effect>) {
        let Some(open) = self.response.open.get(key).cloned() else { return };
        let definition = self.settings.incidents.iter().find(|own| own.name == open.definition);
        let mut channels = definition.map(|own| own.notify.clone()).unwrap_or_default();
        if open.escalated {
            let more = definition.map(|own| own.escalate_to.clone()).unwrap_or_default();
            let more = more.into_iter().filter(|one| !channels.contains(one));
            let more: Vec<ChannelId> = more.collect();
            channels.extend(more);
        }
        self.tell(&channels, key, Stage::Resolved, now, effects);
        self.forgo(key, &open, now, effects);
        self.resolve(key, now, effects);
    }

    /// A person has it: the channels that were told of it hear that, too.
    pub(super) fn acknowledged(&mut self, key: &str, now: Now, effects: &mut Vec<Effect>) {
        let channels = self.channels_of(key, false);
        self.tell(&channels, key, Stage::Acknowledged, now, effects);
    }

    pub(super) fn channels_of(&self, key: &str, escalated: bool) -> Vec<ChannelId> {
        let open = self.response.open.get(key);
        if open.is_some_and(Open::is_raised) {
            return self.settings.notify.clone();
        }
        let own = open.and_then(|open| {
            self.settings.incidents.iter().find(|own| own.name == open.definition)
        });
        own.map_or_else(Vec::new, |own| {
            let next = escalated && !own.escalate_to.is_empty();
            if next { own.escalate_to.clone() } else { own.notify.clone() }
        })
    }

    /// Hands an incident of our own to the next level.
    pub(super) fn escalate(
        &mut self,
        key: &str,
        actor: Actor,
        why: &str,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let (own, result) = (key.to_owned(), Untrusted::new(why));
        self.jot(actor, Event::Escalated { key: own, result }, true, now, effects);
        self.board.set_pending(key, "escalated");
        self.dirty.incidents = true;
        let channels = self.channels_of(key, true);
        self.tell(&channels, key, Stage::Escalated, now, effects);
    }

    /// Escalates what nobody took in time, and looks again when the next is due.
    pub(super) fn escalate_due(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let rests = |key: &str| self.board.rests(key);
        let (due, next) = self.response.overdue(&self.settings.incidents, rests, now);
        for key in due {
            self.escalate(&key, Actor::engine(), "nobody acknowledged it in time", now, effects);
        }
        if let Some(next) = next {
            self.schedule.set(Timer::Escalate, next);
        }
    }

    // Notices.

    pub(super) fn tell(
        &mut self,
        channels: &[ChannelId],
        key: &str,
        stage: Stage,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let Some(view) = self.board.view(key).cloned() else { return };
        for channel in channels {
            let number = self.notices.next_number();
            let name = self.settings.channels[channel.index()].name.clone();
            let event = if self.notices.is_full() {
                let detail = Untrusted::new("the queue is full");
                Event::NoticeEnded { number, channel: name, sent: false, detail }
            } else {
                Event::NoticeQueued(Box::new(Notice {
                    number,
                    channel: name,
                    key: key.to_owned(),
                    stage,
                    severity: view.severity,
                    environment: self.settings.environment.name.clone(),
                    name: view.name.clone(),
                    summary: view.summary.clone(),
                    at: now.wall,
                }))
            };
            // Kept even when the journal is not: people are told all the same.
            self.jot(Actor::engine(), event, true, now, effects);
        }
        self.carry_notices(now, effects);
    }

    /// Sends what may be sent now.
    pub(super) fn carry_notices(&mut self, now: Now, effects: &mut Vec<Effect>) {
        while let Some(step) = self.notices.next(now) {
            match step {
                Step::Wake(at) => return self.schedule.set(Timer::Notice, at),
                Step::Send { channel, notice } => {
                    let id = self.id();
                    self.notices.began(channel, notice.number, id);
                    effects.push(Effect::Notify { id, channel, notice });
                }
                Step::GiveUp { number, channel, why } => {
                    let detail = Untrusted::new(&why);
                    let event = Event::NoticeEnded { number, channel, sent: false, detail };
                    self.jot(Actor::engine(), event, true, now, effects);
                }
            }
        }
    }

    pub(super) fn notified(
        &mut self,
        id: EffectId,
        answer: NotifyAnswer,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        self.dirty.sources = true;
        if let Some(event) = self.notices.answered(id, answer, now) {
            self.jot(Actor::engine(), event, true, now, effects);
        }
        self.carry_notices(now, effects);
    }
}

fn title(own: &Definition, subject: &str) -> String {
    format!("{} on {subject}", own.name)
}
