//! Plans: named steps that deploy, recover and respond.
//!
//! Decides that every step is whole: one action, a deadline, what it touches is there. Never
//! performs one. Contract: a step that moves traffic has a service with routers, and a plan that
//! passes here can be carried to its end by names alone.

mod order;

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use engine::settings::{Action, AfterCrash, OnFail, Plan, Probe, Service, Step};
use engine::types::{PlanId, ProbeId, ServiceId, TaskId, Untrusted};

use toml::de::DeValue;

use super::reader::{Table, share};
use super::task::{self, Check, Made, Tasks};
use super::watch::{SPANS, Sources};
use super::{later, value};
use crate::io::settings::{ProbeTarget, RouterTarget, TaskTarget};

const ACTIONS: [&str; 13] = [
    "check",
    "run",
    "call",
    "split",
    "flag",
    "canary",
    "switch",
    "drain",
    "ready",
    "wait",
    "ask",
    "maintenance",
    "note",
];

/// A restore of a large database takes hours; a question may stand over a weekend.
const DEADLINES: RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_hours(7 * 24);
/// What answers at all answers within this.
const ANSWER_TIME: Duration = Duration::from_secs(10);
/// Requests in flight end within this.
const DRAIN_TIME: Duration = Duration::from_mins(1);
/// The time within which a change of a route has its result.
const ROUTE_TIME: Duration = Duration::from_secs(30);

/// What a person reads in one line.
const NAME_CHARS_MAX: usize = 80;
/// A question or a note: a paragraph.
const TEXT_CHARS_MAX: usize = 1000;

/// Where a service names a plan.
pub struct Use {
    pub at: usize,
    pub plan: String,
    pub service: ServiceId,
    pub role: Role,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Deploy,
    Recovery,
}

impl Role {
    fn key(self) -> &'static str {
        match self {
            Role::Deploy => "deploy",
            Role::Recovery => "recovery",
        }
    }
}

/// `deploy` and `recovery` of a service.
pub fn uses(table: &mut Table<'_>, service: ServiceId) -> Vec<Use> {
    let mut found = Vec::new();
    for role in [Role::Deploy, Role::Recovery] {
        if let Some(plan) = table.string(role.key()) {
            found.push(Use { at: table.place_of(role.key()), plan, service, role });
        }
    }
    found
}

/// `maintenance = { on = [argv], off = [argv] }`.
pub fn maintenance(table: &mut Table<'_>, tasks: &mut Tasks) -> Option<[TaskId; 2]> {
    let mut inner = table.table("maintenance", "maintenance")?;
    let on = task::bare(inner.need("on"), "on");
    let off = task::bare(inner.need("off"), "off");
    inner.finish();
    Some([tasks.add(on?), tasks.add(off?)])
}

/// What steps may name.
pub struct World<'w> {
    pub services: &'w [Service],
    pub probes: &'w [Probe],
    pub targets: &'w [ProbeTarget],
    pub routers: &'w [RouterTarget],
    pub sources: &'w Sources,
}

/// Every plan of the file, in the order of their names.
pub fn plans(
    table: &Table<'_>,
    world: &World<'_>,
    uses: &[Use],
    tasks: &mut Tasks,
    named: &mut later::Named,
) -> Vec<Plan> {
    let reader = table.reader;
    let mut plans = Vec::new();
    for (name, at, node) in table.entries() {
        if let Err(why) = value::name(&name) {
            reader.problem(at, format!("the key under `plan` {why}"));
        }
        named.plans.insert(name.clone());
        let Some(inner) = reader.table("plan", "plan", "a table", node) else { continue };
        plans.push(plan(inner, name, world, uses, tasks));
    }
    plans
}

/// Gives each service its plans, as `uses` say; a name without a plan is told elsewhere.
pub fn assign(
    table: &Table<'_>,
    services: &mut [Service],
    plans: &[Plan],
    uses: &[Use],
    named: &mut later::Named,
) {
    for used in uses {
        named.uses_plan(used.at, &used.plan);
        let Some(place) = plans.iter().position(|plan| plan.name == used.plan) else { continue };
        if let Some(owner) = plans[place].service.filter(|owner| *owner != used.service) {
            let text = format!(
                "`{}` names a plan of the service `{}`",
                used.role.key(),
                services[owner.index()].name
            );
            table.reader.problem(used.at, text);
        }
        let id = Some(PlanId(super::place(place)));
        let service = &mut services[used.service.index()];
        match used.role {
            Role::Deploy => service.deploy = id,
            Role::Recovery => service.recovery = id,
        }
    }
}

fn plan(
    mut table: Table<'_>,
    name: String,
    world: &World<'_>,
    uses: &[Use],
    tasks: &mut Tasks,
) -> Plan {
    let service = owner(&mut table, &name, world, uses);
    // An owner that is named and not there is told once, not at each step.
    let lost = service.is_none() && table.has("service");
    let mut work = Work { world, service, lost, tasks };
    let mut names = BTreeSet::new();
    let (mut steps, mut wishes, mut whole) = (Vec::new(), Vec::new(), true);
    for mut inner in table.need("steps").tables("steps", "step") {
        let wish = order::wish(&mut inner);
        match step(inner, &mut work, &mut names) {
            Some(step) => {
                steps.push(step);
                wishes.push(wish);
            }
            None => whole = false,
        }
    }
    if table.word("on_fail", &["roll back", "hold"]) == Some("roll back") {
        for step in &mut steps {
            step.on_fail = OnFail::RollBack;
        }
    }
    let given = table.get("steps").map(toml::Spanned::get_ref);
    if matches!(given, Some(DeValue::Array(items)) if items.is_empty()) {
        table
            .problem("steps", "`steps` is empty: a plan that does nothing looks like one that did");
    }
    unique_names(&mut steps, &names);
    // A step that is told of already is no missing name.
    let steps = if whole { order::ordered(&table, steps, &wishes) } else { steps };
    table.finish();
    Plan { name, service, steps }
}

/// The plan's service: named, or the only one that uses the plan.
fn owner(table: &mut Table<'_>, plan: &str, world: &World<'_>, uses: &[Use]) -> Option<ServiceId> {
    let Some(name) = table.string("service") else {
        let own: BTreeSet<ServiceId> =
            uses.iter().filter(|used| used.plan == plan).map(|used| used.service).collect();
        return own.first().copied().filter(|_| own.len() == 1);
    };
    let names = || world.services.iter().map(|service| service.name.as_str());
    let place = names().position(|own| own == name);
    if place.is_none() {
        let hint = value::nearest(&name, names())
            .map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        let name = Untrusted::new(&name);
        table.problem("service", format!("there is no [[service]] named `{name}`{hint}"));
    }
    place.map(|place| ServiceId(super::place(place)))
}

/// While one plan is read.
struct Work<'w> {
    world: &'w World<'w>,
    service: Option<ServiceId>,
    lost: bool,
    tasks: &'w mut Tasks,
}

impl<'w> Work<'w> {
    /// The plan's service; says that `key` needs one when there is none.
    fn owner(&self, table: &Table<'_>, key: &str) -> Option<&'w Service> {
        let found = self.service.map(|id| &self.world.services[id.index()]);
        if found.is_none() && !self.lost {
            table.problem(
                key,
                format!("`{key}` needs to know whose it is: write `service = \"…\"` in the plan"),
            );
        }
        found
    }

    fn routed(&self, table: &Table<'_>, key: &str) -> Option<&'w Service> {
        let service = self.owner(table, key)?;
        if service.routers.is_empty() {
            let text = format!("`{key}` moves traffic, and `{}` has no router", service.name);
            table.problem(key, text);
            return None;
        }
        Some(service)
    }
}

/// The plan's probe of this name; `None` in an error that is told already.
fn probe(work: &Work<'_>, name: &str) -> Result<ProbeId, Option<String>> {
    let Some(id) = work.service else {
        let why = "`probe` needs to know whose it is: write `service = \"…\"` in the plan";
        return Err((!work.lost).then(|| why.to_owned()));
    };
    let service = &work.world.services[id.index()];
    let probes = work.world.probes;
    let own = || service.probes.iter().map(|id| (*id, probes[id.index()].name.as_str()));
    own().find(|(_, own)| *own == name).map(|(id, _)| id).ok_or_else(|| {
        let hint = value::nearest(name, own().map(|(_, name)| name))
            .map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        Some(format!("`{}` has no probe named `{}`{hint}", service.name, Untrusted::new(name)))
    })
}

fn step(mut table: Table<'_>, work: &mut Work<'_>, names: &mut BTreeSet<String>) -> Option<Step> {
    let kind = table.one_of(&ACTIONS);
    let given = name(&mut table, names);
    let mut found = kind.and_then(|kind| action(&mut table, kind, work));
    beside(&mut table, kind);
    let timeout = timeout(&mut table, kind, found.as_ref().and_then(|found| found.least));
    let verify = verify(&mut table, work);
    let opposite = found.as_mut().and_then(|found| found.opposite.take());
    let undo = task::undo(&mut table).or(opposite).map(|made| work.tasks.add(made));
    let after_crash = after_crash(&mut table, kind);
    let estimate = table.duration("estimate", DEADLINES);
    table.finish();
    let found = found?;
    let name = given.unwrap_or(found.words);
    // Where it stands among the others is decided when all are read.
    Some(Step { verify, undo, after_crash, estimate, ..Step::new(&name, found.action, timeout) })
}

/// A name that the user gave.
fn name(table: &mut Table<'_>, names: &mut BTreeSet<String>) -> Option<String> {
    let name = text(table, "name", NAME_CHARS_MAX)?;
    if !names.insert(name.clone()) {
        table.problem("name", "there is already a step of this name in the plan");
    }
    Some(name)
}

/// Printable text of some length.
fn text(table: &mut Table<'_>, key: &'static str, chars_max: usize) -> Option<String> {
    let text = table.string(key)?;
    let shown = Untrusted::new(&text);
    if text.trim().is_empty() || text.chars().count() > chars_max || shown.display() != text {
        table.problem(key, format!("`{key}` is 1 to {chars_max} printable characters"));
        return None;
    }
    Some(text)
}

/// An action, the words for it, and the time that it takes by itself.
struct Found {
    action: Action,
    words: String,
    least: Option<Duration>,
    /// What takes it back unless the step says otherwise.
    opposite: Option<Made>,
}

impl Found {
    fn new(action: Action, words: impl Into<String>) -> Found {
        Found { action, words: words.into(), least: None, opposite: None }
    }

    fn task(made: Made, verb: &str, work: &mut Work<'_>) -> Found {
        let words: String =
            format!("{verb} {}", made.label).trim().chars().take(NAME_CHARS_MAX).collect();
        Found::new(Action::Task(work.tasks.add(made)), words)
    }
}

/// One server of the service's HAProxy router, out of rotation or back in it.
fn server(table: &mut Table<'_>, key: &'static str, work: &mut Work<'_>) -> Option<Found> {
    let name = table.string(key)?;
    let service = work.routed(table, key)?;
    let routers = service.routers.iter().map(|id| &work.world.routers[id.index()]);
    let found = routers.filter_map(|router| match router {
        RouterTarget::Haproxy { socket, backend, groups } => Some((socket, backend, groups)),
        RouterTarget::Nginx { .. }
        | RouterTarget::Http(_)
        | RouterTarget::Command { .. }
        | RouterTarget::Flag(_) => None,
    });
    let own: Vec<_> =
        found.filter(|(.., groups)| groups.iter().flatten().any(|own| *own == name)).collect();
    let [(socket, backend, _)] = own.as_slice() else {
        let shown = Untrusted::new(&name);
        let text = format!(
            "`{key}` names a server of exactly one haproxy router of `{}`; `{shown}` is not that",
            service.name
        );
        table.problem(key, text);
        return None;
    };
    let made = |drain: bool| Made {
        kind: "server",
        label: name.clone(),
        target: TaskTarget::Server {
            socket: (*socket).clone(),
            backend: (*backend).clone(),
            server: name.clone(),
            drain,
        },
    };
    let drain = key == "drain";
    let (least, opposite) = (Some(DRAIN_TIME), Some(made(!drain)));
    Some(Found { least, opposite, ..Found::task(made(drain), key, work) })
}

fn action(table: &mut Table<'_>, kind: &'static str, work: &mut Work<'_>) -> Option<Found> {
    match kind {
        "check" => check(table, work),
        "run" => Some(Found::task(task::run(table, "run")?, "run", work)),
        "call" => Some(Found::task(task::call(table)?, "call", work)),
        "split" => {
            let node = table.get("split")?;
            let percent = share(table.reader, "split", 0, node)?;
            work.routed(table, "split")?;
            Some(Found::new(Action::Split(percent), format!("split {percent}")))
        }
        "flag" => flag(table, work),
        "canary" => canary(table, work),
        "switch" => {
            only_true(table, "switch")?;
            work.routed(table, "switch")?;
            Some(Found::new(Action::Switch, "switch"))
        }
        "drain" => server(table, "drain", work),
        "ready" => server(table, "ready", work),
        "wait" => {
            let span = table.duration("wait", SPANS)?;
            let watch = table.boolean("watch").unwrap_or(false);
            if watch {
                work.owner(table, "watch")?;
            }
            let words = format!("wait {}", value::duration_text(span));
            let action = Action::Wait { span, watch };
            Some(Found { least: Some(span), ..Found::new(action, words) })
        }
        "ask" => {
            let question = text(table, "ask", TEXT_CHARS_MAX)?;
            let default = table.word("default", &["yes", "no"]).map(|word| word == "yes");
            Some(Found::new(Action::Ask { question, default }, "ask"))
        }
        "maintenance" => {
            let on = table.word("maintenance", &["on", "off"])? == "on";
            let service = work.owner(table, "maintenance")?;
            if service.maintenance.is_none() {
                let text = format!(
                    "`{}` has no `maintenance = {{ on = […], off = […] }}` to run",
                    service.name
                );
                table.problem("maintenance", text);
            }
            let words = if on { "maintenance on" } else { "maintenance off" };
            Some(Found::new(Action::Maintenance(on), words))
        }
        _ => Some(Found::new(Action::Note(text(table, "note", TEXT_CHARS_MAX)?), "note")),
    }
}

fn flag(table: &mut Table<'_>, work: &Work<'_>) -> Option<Found> {
    let name = table.string("flag");
    let to = table.need("on").get("on").and_then(|node| share(table.reader, "on", 0, node));
    work.owner(table, "flag");
    let name = name?;
    let flags = || work.world.services.iter().filter(|own| own.flag).map(|own| own.name.as_str());
    let place = work.world.services.iter().position(|own| own.flag && own.name == name);
    let Some(place) = place else {
        let hint = value::nearest(&name, flags())
            .map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        let shown = Untrusted::new(&name);
        table.problem("flag", format!("there is no [[flag]] named `{shown}`{hint}"));
        return None;
    };
    let (flag, to) = (ServiceId(super::place(place)), to?);
    Some(Found::new(Action::Flag { flag, to }, format!("flag {name} {to}")))
}

/// A switch has no other value.
fn only_true(table: &mut Table<'_>, key: &'static str) -> Option<()> {
    let value = table.boolean(key)?;
    if !value {
        table.problem(key, format!("`{key}` is true, or the step is left out"));
    }
    value.then_some(())
}

fn canary(table: &mut Table<'_>, work: &Work<'_>) -> Option<Found> {
    only_true(table, "canary")?;
    let service = work.routed(table, "canary")?;
    let Some(canary) = &service.canary else {
        let text = format!("`canary`: the service `{}` has no [service.canary]", service.name);
        table.problem("canary", text);
        return None;
    };
    let waits = (0..canary.steps.len()).map(|place| canary.times(place).wait);
    let least = Some(waits.fold(Duration::ZERO, Duration::saturating_add));
    Some(Found { least, ..Found::new(Action::Canary, "canary") })
}

fn check(table: &mut Table<'_>, work: &mut Work<'_>) -> Option<Found> {
    let world = work.world;
    match task::check(table, "check", world.sources, |name| probe(work, name))? {
        Check::Probe(name, id) => {
            let probe = &world.probes[id.index()];
            // As long as a probe that was down takes to be up again.
            let least = probe.interval.saturating_mul(probe.rise + 1) + probe.timeout;
            let words = format!("check probe {name}");
            let least = Some(least.max(ANSWER_TIME));
            Some(Found { least, ..Found::new(Action::Probe(name), words) })
        }
        Check::Task(made) => {
            let verb = made.kind;
            Some(Found::task(*made, verb, work))
        }
    }
}

fn verify(table: &mut Table<'_>, work: &mut Work<'_>) -> Option<TaskId> {
    let world = work.world;
    let check = task::check(table, "verify", world.sources, |name| probe(work, name))?;
    let made = match check {
        Check::Task(made) => *made,
        Check::Probe(label, id) => {
            // A target that was refused leaves the lists apart; its problem is told already.
            let target = TaskTarget::Probe(world.targets.get(id.index())?.clone());
            Made { kind: "check probe", label, target }
        }
    };
    Some(work.tasks.add(made))
}

/// Keys that belong to some actions only.
fn beside(table: &mut Table<'_>, kind: Option<&str>) {
    let Some(kind) = kind else {
        // What they mean is open; they are known all the same.
        for key in ["env", "stdin", "watch", "default", "on"] {
            table.get(key);
        }
        return;
    };
    if kind != "run" {
        table.refuse(&["env", "stdin"], "belongs to `run`");
    }
    if kind != "wait" {
        table.refuse(&["watch"], "belongs to `wait`");
    }
    if kind != "ask" {
        table.refuse(&["default"], "belongs to `ask`");
    }
    if kind != "flag" {
        table.refuse(&["on"], "belongs to `flag`");
    }
    if matches!(kind, "check" | "wait" | "ask" | "note") {
        let why = "has nothing to do here: this step changes nothing";
        table.refuse(&["verify", "undo"], why);
    }
}

/// The step's budget: given where nobody else can know it, otherwise what the action takes.
fn timeout(table: &mut Table<'_>, kind: Option<&str>, least: Option<Duration>) -> Duration {
    let given = table.duration("timeout", DEADLINES);
    match kind {
        Some(kind @ ("run" | "call" | "ask")) => {
            if !table.has("timeout") {
                let text =
                    format!("a step that has `{kind}` needs `timeout`: none goes on for ever");
                table.problem("", text);
            }
        }
        Some(kind @ ("wait" | "canary" | "note")) => {
            let why = format!("is not given beside `{kind}`, which has its own time");
            table.refuse(&["timeout"], &why);
        }
        Some(_) | None => {}
    }
    let usual = match kind {
        Some("split" | "switch" | "flag") => ROUTE_TIME,
        Some(_) | None => ANSWER_TIME,
    };
    given.or(least).unwrap_or(usual)
}

/// May the step be repeated? A look may, a change only when its `verify` tells.
fn after_crash(table: &mut Table<'_>, kind: Option<&str>) -> AfterCrash {
    let verified = table.has("verify");
    let harmless = matches!(kind, Some("check" | "drain" | "ready" | "wait" | "ask" | "note"));
    match table.word("after_crash", &["repeat", "check", "ask"]) {
        Some("repeat") => AfterCrash::Repeat,
        Some("check") => {
            if !verified {
                let why = "`after_crash = \"check\"` needs `verify`: what tells that it is done";
                table.problem("after_crash", why);
            }
            AfterCrash::Check
        }
        None if harmless => AfterCrash::Repeat,
        None if verified => AfterCrash::Check,
        Some(_) | None => AfterCrash::Ask,
    }
}

/// Steps without a given name are told apart by a number.
fn unique_names(steps: &mut [Step], given: &BTreeSet<String>) {
    let mut taken = given.clone();
    let mut seen = given.clone();
    for step in steps {
        // Each given name meets itself once.
        if seen.remove(&step.name) {
            continue;
        }
        let words = step.name.clone();
        let mut number = 2_u32;
        while !taken.insert(step.name.clone()) {
            step.name = format!("{words} ({number})");
            number += 1;
        }
    }
}
