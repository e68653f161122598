//! What the services of a release world are: their plans, canaries, triggers and tasks.
//!
//! Decides nothing about time. Contract: drawn by the seed alone; every task has one role, so that
//! the world knows which step it belongs to.

use std::time::Duration;

use engine::analysis::Policy;
use engine::rule::{CANARY_NAMES, Rule, TRIGGER_NAMES};
use engine::settings::{
    Action, AfterCrash, Canary, Environment, Limits, OnFail, Pass, Plan, Probe, Router, Service,
    Settings, Signals, Step, Task, Tenants, Trigger,
};
use engine::types::{Percent, PlanId, ProbeId, RouterId, ServiceId, TaskId};

use crate::rng::Rng;

const REREAD: Duration = Duration::from_secs(12);
const PROBE: Duration = Duration::from_secs(10);

/// What a task is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Act,
    Verify,
    Undo,
    Page(bool),
}

#[derive(Clone, Copy, Debug)]
pub struct Role {
    pub kind: Kind,
    /// The step's place in its plan; of a maintenance page, none.
    pub step: Option<usize>,
}

#[derive(Clone)]
pub struct Fleet {
    pub settings: Settings,
    pub roles: Vec<Role>,
}

fn percent(value: u8) -> Percent {
    Percent::new(value).expect("a percent")
}

impl Fleet {
    pub fn draw(rng: &mut Rng) -> Fleet {
        let mut fleet = Fleet {
            settings: Settings {
                environment: Environment {
                    name: "sim".into(),
                    timezone: "UTC".into(),
                    band: "ok".into(),
                },
                hash: "0".repeat(64),
                ..Settings::default()
            },
            roles: Vec::new(),
        };
        let last = u32::from(rng.chance(200));
        for place in 0..=last {
            fleet.service(place, rng);
        }
        // Dice of their own: a seed without flags stays what it was.
        let mut dice = Rng::new(rng.clone().next());
        for place in 0..=last {
            if dice.chance(300) {
                fleet.flag(ServiceId(place), &mut dice);
            }
            if dice.chance(200) {
                fleet.switching_chore(ServiceId(place));
            }
        }
        fleet
    }

    /// A flag of this service, and steps of its plans that set it.
    fn flag(&mut self, owner: ServiceId, rng: &mut Rng) {
        let number = |at: usize| u32::try_from(at).expect("few services");
        let flag = ServiceId(number(self.settings.services.len()));
        let router = self.router(flag, format!("flag{}", owner.0));
        let own = &self.settings.services[owner.index()];
        let name = format!("flag{}", owner.0);
        self.settings.services.push(Service {
            alias: name.clone(),
            name,
            probes: Vec::new(),
            routers: vec![router],
            signals: None,
            canary: None,
            triggers: Vec::new(),
            deploy: None,
            maintenance: None,
            flag: true,
            ..own.clone()
        });
        for plan in self.settings.plans.iter_mut().filter(|plan| plan.service == Some(owner)) {
            if rng.chance(600) {
                let to = percent(rng.pick(&[0, 10, 100]));
                let timeout = Duration::from_secs(rng.pick(&[8, 20, 40]));
                last(&mut plan.steps, Step::new("flag", Action::Flag { flag, to }, timeout));
            }
        }
    }

    /// A plan by hand may switch, too: as a recovery does.
    fn switching_chore(&mut self, owner: ServiceId) {
        let name = format!("chore{}", owner.0);
        for plan in self.settings.plans.iter_mut().filter(|plan| plan.name == name) {
            last(&mut plan.steps, Step::new("over", Action::Switch, Duration::from_secs(40)));
        }
    }

    fn router(&mut self, service: ServiceId, name: String) -> RouterId {
        let id = u32::try_from(self.settings.routers.len()).expect("few routers");
        self.settings.routers.push(Router {
            service,
            name,
            kind: "http".into(),
            reread: REREAD,
            timeout: Duration::from_secs(3),
            manual: "set {a} {b}".into(),
            fallback: None,
        });
        RouterId(id)
    }

    fn service(&mut self, place: u32, rng: &mut Rng) {
        let id = ServiceId(place);
        let maintenance = rng
            .chance(500)
            .then(|| [true, false].map(|on| self.task(Role { kind: Kind::Page(on), step: None })));
        let deploy = rng.chance(650).then(|| self.plan(id, "deploy", maintenance, rng));
        self.plan(id, "chore", maintenance, rng);
        let edges = 0..rng.pick(&[1, 1, 2]);
        let routers = edges.map(|edge| self.router(id, format!("edge{place}-{edge}"))).collect();
        self.settings.probes.push(Probe {
            service: id,
            name: "probe".into(),
            interval: PROBE,
            timeout: Duration::from_secs(2),
            degraded_above: None,
            unhealthy_above: None,
            rise: 2,
            fall: 2,
        });
        let interval = Duration::from_secs(rng.pick(&[2, 3]));
        self.settings.services.push(Service {
            name: format!("service{place}"),
            alias: format!("s{place}"),
            runbook: None,
            probes: vec![ProbeId(place)],
            routers,
            signals: Some(Signals {
                interval,
                window: interval * 4,
                slow_above: rng.chance(300).then_some(Duration::from_millis(500)),
                versions: ["one".into(), "two".into()],
                tenants: Tenants::default(),
            }),
            canary: rng.chance(850).then(|| canary(rng)),
            triggers: triggers(rng),
            deploy,
            recovery: None,
            maintenance,
            phases: Vec::new(),
            checks: Vec::new(),
            flag: false,
        });
    }

    fn task(&mut self, role: Role) -> TaskId {
        let id = u32::try_from(self.roles.len()).expect("few tasks");
        self.roles.push(role);
        self.settings.tasks.push(Task { kind: "run".into(), label: format!("{:?}", role.kind) });
        TaskId(id)
    }

    fn plan(
        &mut self,
        service: ServiceId,
        name: &str,
        maintenance: Option<[TaskId; 2]>,
        rng: &mut Rng,
    ) -> PlanId {
        let mut steps = Vec::new();
        let mut paged = false;
        for place in 0..=usize::try_from(rng.below(4)).expect("few steps") {
            let action = match rng.below(100) {
                45..53 => Action::Probe("probe".into()),
                53..63 => Action::Wait { span: rng.millis(1000, 6000), watch: rng.chance(300) },
                63..73 => Action::Ask {
                    question: "go on?".into(),
                    default: rng.pick(&[None, None, Some(true), Some(false)]),
                },
                73..79 => Action::Note("noted".into()),
                79..89 if maintenance.is_some() => {
                    paged = !paged;
                    Action::Maintenance(paged)
                }
                89..93 if name == "chore" => Action::Split(percent(rng.pick(&[0, 5, 50]))),
                93..96 if name == "deploy" => Action::Switch,
                _ => Action::Task(self.task(Role { kind: Kind::Act, step: Some(place) })),
            };
            steps.push(self.step(place, action, rng));
        }
        link(&mut steps, rng);
        let id = u32::try_from(self.settings.plans.len()).expect("few plans");
        let name = format!("{name}{}", service.0);
        self.settings.plans.push(Plan { name, service: Some(service), steps });
        PlanId(id)
    }

    fn step(&mut self, place: usize, action: Action, rng: &mut Rng) -> Step {
        let acts = matches!(action, Action::Task(_) | Action::Maintenance(_));
        let role = |kind| Role { kind, step: Some(place) };
        let undoes = matches!(action, Action::Task(_)) && rng.chance(600);
        let word = match action {
            Action::Probe(_) => "probe",
            Action::Task(_) => "task",
            Action::Split(_) => "split",
            Action::Flag { .. } => "flag",
            Action::Canary => "canary",
            Action::Switch => "switch",
            Action::Wait { .. } => "wait",
            Action::Ask { .. } => "ask",
            Action::Maintenance(_) => "page",
            Action::Validate => "validate",
            Action::Note(_) => "note",
        };
        Step {
            name: format!("{word} {place}"),
            timeout: Duration::from_secs(rng.pick(&[8, 20, 40])),
            verify: (acts && rng.chance(350)).then(|| self.task(role(Kind::Verify))),
            undo: undoes.then(|| self.task(role(Kind::Undo))),
            after_crash: rng.pick(&[AfterCrash::Repeat, AfterCrash::Check, AfterCrash::Ask]),
            ..Step::new("", action, Duration::ZERO)
        }
    }

    /// The next file: one plan has changed.
    pub fn change(&mut self, rng: &mut Rng) {
        let plans = self.settings.plans.len() as u64;
        let place = usize::try_from(rng.below(plans)).expect("few plans");
        let steps = &mut self.settings.plans[place].steps;
        match rng.below(3) {
            0 => steps[0].name.push_str(" anew"),
            1 if steps.len() > 1 => {
                steps.pop();
            }
            _ => {
                let note = Action::Note("new".into());
                steps.push(Step::new("one more", note, Duration::from_secs(5)));
            }
        }
        self.settings.hash = format!("{:064x}", rng.next());
    }

    /// What a release of the service does, step by step.
    pub fn steps(&self, service: usize, plan: &str, deploy: bool) -> Vec<Step> {
        let own = &self.settings.services[service];
        let named = self.settings.plans.iter().find(|own| own.name == plan);
        let mut steps = if deploy {
            own.deploy.map(|id| self.settings.plan(id).steps.clone()).unwrap_or_default()
        } else {
            return named.map(|plan| plan.steps.clone()).unwrap_or_default();
        };
        let step = |name: &str, action| Step::new(name, action, Duration::from_mins(30));
        if !steps.iter().any(|step| matches!(step.action, Action::Canary | Action::Switch)) {
            if own.canary.is_some() {
                last(&mut steps, step("canary", Action::Canary));
            } else {
                let question = String::new();
                last(&mut steps, step("ask", Action::Ask { question, default: None }));
                last(&mut steps, step("switch", Action::Switch));
            }
        }
        if let Some(canary) = own.canary.as_ref().filter(|canary| !canary.bake.is_zero()) {
            last(&mut steps, step("bake", Action::Wait { span: canary.bake, watch: true }));
        }
        steps
    }
}

/// Some plans are graphs. The dice are thrown apart, so that a seed of a list stays what it was.
fn link(steps: &mut [Step], rng: &Rng) {
    let mut rng = rng.clone();
    if !rng.chance(350) {
        return;
    }
    let names: Vec<String> = steps.iter().map(|step| step.name.clone()).collect();
    for (place, step) in steps.iter_mut().enumerate() {
        let before = names[..place].iter().filter(|_| rng.chance(400));
        step.after = Some(before.cloned().collect());
    }
}

/// Behind all others.
fn last(steps: &mut Vec<Step>, mut step: Step) {
    if steps.iter().any(|step| step.after.is_some()) {
        step.after = Some(steps.iter().map(|step| step.name.clone()).collect());
    }
    steps.push(step);
}

fn canary(rng: &mut Rng) -> Canary {
    let shapes: [&[u8]; 5] = [&[100], &[10, 100], &[5, 50, 100], &[25, 100], &[20, 40, 60, 100]];
    let rule = |source: &str| Rule::compile(source, CANARY_NAMES).expect("the rule compiles");
    let soak = rng.millis(2000, 8000);
    Canary {
        steps: rng.pick(&shapes).iter().map(|value| percent(*value)).collect(),
        pass: if rng.chance(600) { Pass::Evidence } else { Pass::Time },
        objective: rng.pick(&[None, Some(1.0), Some(3.0)]),
        soak,
        wait: soak + rng.millis(15_000, 40_000),
        own_times: std::collections::BTreeMap::new(),
        every: Duration::from_secs(rng.pick(&[2, 3, 4])),
        on_fail: if rng.chance(800) { OnFail::RollBack } else { OnFail::Hold },
        bake: Duration::from_secs(rng.pick(&[0, 5, 15])),
        requests_min: rng.pick(&[10, 50]),
        fail_when: if rng.chance(300) { vec![rule("canary.error_rate > 20")] } else { Vec::new() },
        pass_when: if rng.chance(100) { vec![rule("canary.error_rate < 5")] } else { Vec::new() },
        limits: Limits { failure: 1, error: Some(4), inconclusive: Some(4), ..Limits::default() },
        policy: Policy::default(),
    }
}

fn triggers(rng: &mut Rng) -> Vec<Trigger> {
    let mut found = Vec::new();
    for source in ["canary.error_rate > 15", "service.error_rate > 25"] {
        if rng.chance(450) {
            let rule = Rule::compile(source, TRIGGER_NAMES).expect("the rule compiles");
            let span = Duration::from_secs(rng.pick(&[0, 3, 6]));
            found.push(Trigger { rule, span });
        }
    }
    found
}
