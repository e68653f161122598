//! The plans that an armed incident calls for.
//!
//! Decides which runs, which waits for its turn, and which never begins. Contract: each is begun at
//! most once for each incident, also over a restart; without `armed` it is only written down; what
//! waits is bounded in number and time, and every turn of it is on record.

use std::time::Duration;

use super::Engine;
use crate::Effect;
use crate::command::{Command, Submission};
use crate::record::Event;
use crate::release::Release;
use crate::response::Open;
use crate::settings::{Definition, Scope};
use crate::types::{Actor, Now, PlanId, Untrusted};

/// Longer ago, an incident is another one than the plan was meant for.
const WAIT_MAX: Duration = Duration::from_mins(15);
/// More that wait are a storm; a person looks at it.
const WAITING_MAX: usize = 64;

impl Engine {
    /// One action: a release of its plan when armed, else a line in the journal.
    pub(super) fn act_on(
        &mut self,
        own: &Definition,
        subject: &str,
        key: &str,
        plan: PlanId,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let name = self.settings.plan(plan).name.clone();
        if !own.armed {
            let (said, shown) = ("not armed: nothing was done", "dry run");
            return self.write_action(key, &name, (said, shown, false), false, now, effects);
        }
        let said = match self.served(own, subject, plan) {
            Err(why) => why,
            // What waits goes before it: it waits for a release of the same service.
            Ok(service) if self.is_releasing(&service) => {
                let too_many = self.response.waiting().len() >= WAITING_MAX;
                let said =
                    if too_many { "not started: too many wait" } else { "waits for its turn" };
                return self.write_action(key, &name, (said, said, !too_many), true, now, effects);
            }
            Ok(service) => match self.begin_action(own, subject, key, &name, service, now, effects)
            {
                Ok(()) => "started".to_owned(),
                Err(why) => format!("not started: {why}"),
            },
        };
        self.write_action(key, &name, (&said, &said, false), true, now, effects);
    }

    /// Begins what waited and can begin now.
    pub(super) fn take_turns(&mut self, now: Now, effects: &mut Vec<Effect>) {
        for (key, plan, since) in self.response.waiting() {
            let Some(open) = self.response.open.get(&key).cloned() else { continue };
            let own = self.settings.incidents.iter().find(|own| own.name == open.definition);
            let own = own.filter(|own| own.armed).cloned();
            let place = own.as_ref().and_then(|own| {
                own.actions.iter().copied().find(|id| self.settings.plan(*id).name == plan)
            });
            let said = match own.zip(place) {
                None => "not started: the configuration does not call for it any more".to_owned(),
                Some(_) if since.age(now) > WAIT_MAX => {
                    format!("not started: its turn did not come within {} min", minutes(WAIT_MAX))
                }
                Some((own, place)) => match self.served(&own, &open.subject, place) {
                    Err(why) => why,
                    Ok(service) if self.is_releasing(&service) => continue,
                    Ok(service) => {
                        // Written before it begins: a crash in between leaves it out, not twice.
                        let said = ("its turn came", "started", false);
                        self.write_action(&key, &plan, said, true, now, effects);
                        let subject = &open.subject;
                        match self.begin_action(&own, subject, &key, &plan, service, now, effects) {
                            Ok(()) => continue,
                            Err(why) => format!("not started: {why}"),
                        }
                    }
                },
            };
            self.write_action(&key, &plan, (&said, &said, false), true, now, effects);
        }
    }

    /// The incident is over: what still waits is not wanted any more.
    pub(super) fn forgo(&mut self, key: &str, open: &Open, now: Now, effects: &mut Vec<Effect>) {
        for (plan, _) in &open.waiting {
            let said = "not started: the incident is over";
            self.write_action(key, plan, (said, said, false), true, now, effects);
        }
    }

    fn is_releasing(&self, service: &str) -> bool {
        let id = self.settings.service_named(service);
        let release = id.and_then(|id| self.releases[id.index()].as_ref());
        release.is_some_and(Release::in_flight)
    }

    /// The service that the plan is run on.
    fn served(&self, own: &Definition, subject: &str, plan: PlanId) -> Result<String, String> {
        match (self.settings.plan(plan).service, own.scope) {
            (Some(service), _) => Ok(self.settings.service(service).name.clone()),
            (None, Scope::Services) => Ok(subject.to_owned()),
            (None, Scope::Hosts | Scope::Environment) => {
                Err("the plan names no service".to_owned())
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "an action has that many facts")]
    fn begin_action(
        &mut self,
        own: &Definition,
        subject: &str,
        key: &str,
        plan: &str,
        service: String,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<(), String> {
        let submission = Submission {
            id: format!("{key}/{plan}/{}", now.wall.timestamp_millis()),
            command: Command::Run {
                plan: plan.to_owned(),
                service,
                version: String::new(),
                reason: Untrusted::new(&format!("incident {} on {subject}", own.name)),
            },
            expected: None,
            seen: Untrusted::default(),
            actor: Actor::engine(),
            read_only: false,
        };
        self.deploy(&submission, now, effects).map(|_| ())
    }

    /// What is kept of it, what the panel shows, and whether it waits.
    fn write_action(
        &mut self,
        key: &str,
        plan: &str,
        (said, shown, waits): (&str, &str, bool),
        armed: bool,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        self.board.set_pending(key, &format!("{plan}: {shown}"));
        self.dirty.incidents = true;
        let (key, plan) = (key.to_owned(), plan.to_owned());
        let result = Untrusted::new(said);
        self.note(Event::ActionTaken { key, plan, armed, result, waits }, now, effects);
    }
}

fn minutes(span: Duration) -> u64 {
    span.as_secs() / 60
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::reading::{Observation, TaskAnswer};
    use crate::record::Entry;
    use crate::rule::{INCIDENT_NAMES, Rule};
    use crate::settings::{self, Action, Settings, Step};
    use crate::types::{EffectId, Fence, ProbeId, ServiceId, Severity, Status, TaskId, Time};
    use crate::{Appended, Input};

    fn service(name: &str, probes: Vec<ProbeId>) -> settings::Service {
        settings::Service {
            name: name.into(),
            alias: name.into(),
            runbook: None,
            probes,
            routers: Vec::new(),
            signals: None,
            canary: None,
            triggers: Vec::new(),
            checks: Vec::new(),
            flag: false,
            deploy: None,
            recovery: None,
            maintenance: None,
            phases: Vec::new(),
        }
    }

    fn settings() -> Settings {
        let probe = settings::Probe {
            service: ServiceId(0),
            name: "web".into(),
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(1),
            degraded_above: None,
            unhealthy_above: None,
            rise: 1,
            fall: 1,
        };
        let plan = |name: &str, task| settings::Plan {
            name: name.into(),
            service: Some(ServiceId(0)),
            steps: vec![Step::new("do", Action::Task(TaskId(task)), Duration::from_hours(1))],
        };
        let incident = Definition {
            name: "gone".into(),
            severity: Severity::Critical,
            runbook: None,
            rule: Rule::compile("service.down > 0", INCIDENT_NAMES).expect("a rule"),
            scope: Scope::Services,
            only: Vec::new(),
            alerts: Vec::new(),
            span: Duration::ZERO,
            clear_after: Duration::ZERO,
            notify: Vec::new(),
            escalate_after: None,
            escalate_to: Vec::new(),
            actions: vec![PlanId(0), PlanId(1)],
            armed: true,
        };
        Settings {
            services: vec![service("web", vec![ProbeId(0)]), service("machine", Vec::new())],
            probes: vec![probe],
            plans: vec![plan("one", 0), plan("two", 1)],
            incidents: vec![incident],
            ..Settings::default()
        }
    }

    /// An engine whose probe says what it is told to, and whose tasks end by hand.
    struct Rig {
        engine: Engine,
        now: Now,
        effects: Vec<Effect>,
        entries: Vec<Entry>,
        status: Status,
        tasks: Vec<(EffectId, TaskId)>,
    }

    impl Rig {
        fn new(entries: Vec<Entry>, now: Now) -> Rig {
            Rig::with(settings(), entries, now)
        }

        fn with(settings: Settings, entries: Vec<Entry>, now: Now) -> Rig {
            let mut effects = Vec::new();
            // Each life names its entries by a seed of its own.
            let seed = entries.len() as u64;
            let engine =
                Engine::recover(settings, "test", seed, &entries, Fence(0), now, &mut effects);
            Rig { engine, now, effects, entries, status: Status::Down, tasks: Vec::new() }
        }

        fn play(&mut self, seconds: u64) {
            let end = self.now.mono + Duration::from_secs(seconds);
            self.answer();
            while let Some((at, _)) = self.engine.next_deadline().filter(|(at, _)| *at <= end) {
                self.to(at);
                self.engine.handle_deadline(self.now, &mut self.effects);
                self.answer();
            }
            self.to(end);
        }

        fn to(&mut self, at: Time) {
            self.now.wall += at.since(self.now.mono);
            self.now.mono = self.now.mono.max(at);
        }

        fn answer(&mut self) {
            while !self.effects.is_empty() {
                for effect in std::mem::take(&mut self.effects) {
                    let input = match effect {
                        Effect::Append { id, entry, .. } => {
                            self.entries.push(*entry);
                            Input::Appended { id, result: Appended::Durable }
                        }
                        Effect::Probe { id, probe } => {
                            let observation = Observation {
                                status: self.status,
                                latency: Some(Duration::from_millis(5)),
                                message: Untrusted::default(),
                                certificate_expires: None,
                                clock_ahead_s: None,
                            };
                            Input::Probed { id, probe, observation }
                        }
                        Effect::Task { id, task, .. } => {
                            self.tasks.push((id, task));
                            continue;
                        }
                        Effect::Answer(_) => continue,
                        other => panic!("nobody asks for this here: {other:?}"),
                    };
                    self.engine.handle(self.now, input, &mut self.effects);
                }
            }
        }

        /// The tasks that were begun since, each ended well.
        fn end_tasks(&mut self) -> Vec<u32> {
            let tasks = std::mem::take(&mut self.tasks);
            for (id, _) in &tasks {
                let answer = TaskAnswer::Passed { output: Untrusted::default() };
                let input = Input::TaskEnded { id: *id, answer };
                self.engine.handle(self.now, input, &mut self.effects);
            }
            self.play(6);
            tasks.into_iter().map(|(_, task)| task.0).collect()
        }

        fn told(&self) -> Vec<String> {
            let told = self.entries.iter().filter_map(|entry| {
                let Event::ActionTaken { plan, result, .. } = &entry.event else { return None };
                Some(format!("{plan}: {result}"))
            });
            told.collect()
        }
    }

    const START: Now = Now { mono: Time(3_600_000_000), wall: DateTime::UNIX_EPOCH };

    fn begun() -> Rig {
        let mut rig = Rig::new(Vec::new(), START);
        rig.play(6);
        assert_eq!(rig.told(), ["one: started", "two: waits for its turn"]);
        rig
    }

    const WAITED: [&str; 3] = ["one: started", "two: waits for its turn", "two: its turn came"];

    #[test]
    fn the_second_action_waits_for_the_first_and_runs_once() {
        let mut rig = begun();
        assert_eq!(rig.end_tasks(), [0]);
        assert_eq!(rig.end_tasks(), [1]);
        rig.play(60);
        assert_eq!(rig.end_tasks(), Vec::<u32>::new());
        assert_eq!(rig.told(), WAITED);
    }

    #[test]
    fn actions_of_two_services_run_side_by_side() {
        let mut settings = settings();
        settings.plans[1].service = Some(ServiceId(1));
        let mut rig = Rig::with(settings, Vec::new(), START);
        rig.play(6);
        assert_eq!(rig.told(), ["one: started", "two: started"]);
        assert_eq!(rig.end_tasks(), [0, 1]);
    }

    #[test]
    fn what_waits_outlives_a_restart_and_still_runs_once() {
        let rig = begun();
        let mut rig = Rig::new(rig.entries, rig.now);
        rig.play(6);
        assert_eq!(rig.end_tasks(), [0], "it may be done twice");
        let mut rig = Rig::new(rig.entries, rig.now);
        rig.play(6);
        assert_eq!(rig.end_tasks(), [1]);
        let mut rig = Rig::new(rig.entries, rig.now);
        rig.play(60);
        assert_eq!(rig.end_tasks(), Vec::<u32>::new());
        assert_eq!(rig.told(), WAITED);
    }

    #[test]
    fn what_waits_is_left_out_when_the_incident_is_over_or_too_old() {
        let check = |rig: &mut Rig, why: &str| {
            assert_eq!(rig.told()[2..], [format!("two: not started: {why}")]);
            assert_eq!(rig.end_tasks(), [0]);
            assert_eq!(rig.end_tasks(), Vec::<u32>::new());
        };
        let mut rig = begun();
        rig.status = Status::Up;
        rig.play(6);
        check(&mut rig, "the incident is over");
        let mut rig = begun();
        rig.play(16 * 60);
        check(&mut rig, "its turn did not come within 15 min");
    }
}
