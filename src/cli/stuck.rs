//! What a person does where the engine does not answer.
//!
//! Decides which commands end an operation by hand. Never runs one. Contract: each is the one that
//! the console shows, for the groups as the engine, or else the journal, last had them.

use engine::command::Command;
use engine::record::{Event, Record};
use engine::route::by_hand;
use engine::snapshot::ServiceView;
use engine::types::{Group, Percent, Weights};

use crate::cli::{Exit, Global};
use crate::io::journal::sqlite;

/// The roles stand in records that are made daily; what is older is not looked through.
const RECORDS_MAX: u32 = 10_000;

/// The percent that the canary would have.
pub fn target(command: &Command) -> Option<Percent> {
    match command {
        Command::Split { canary, .. } => Some(*canary),
        Command::Promote { .. } => Some(Percent::FULL),
        Command::Abort { .. } | Command::Rollback { .. } => Some(Percent::ZERO),
        Command::Deploy { .. }
        | Command::Run { .. }
        | Command::Pause { .. }
        | Command::Resume { .. }
        | Command::Reply { .. }
        | Command::Freeze { .. }
        | Command::Thaw { .. }
        | Command::StopTheLine { .. }
        | Command::Trigger { .. }
        | Command::Mark { .. }
        | Command::Validate { .. }
        | Command::Verify { .. }
        | Command::Acknowledge { .. }
        | Command::Escalate { .. }
        | Command::Runbook { .. }
        | Command::Triage { .. } => None,
    }
}

/// By the last picture of the engine.
pub fn from_picture(service: &ServiceView, command: &Command) -> String {
    let Some(to) = target(command) else { return String::new() };
    let (stable, canary) = (to.rest().get().to_string(), to.get().to_string());
    let routers = service.route.iter().flat_map(|route| &route.routers);
    let filled = |text: &str| text.replace("{stable}", &stable).replace("{canary}", &canary);
    told(routers.map(|router| format!("{}: {}", router.name, filled(&router.manual))))
}

/// Without any: by the configuration, and the journal's word for the groups' roles.
pub fn from_disk(exit: Exit, global: &Global, name: &str, command: &Command) -> Exit {
    let (Some(to), Ok((_, loaded))) = (target(command), global.load()) else { return exit };
    let Some(service) = loaded.engine.service_named(name) else { return exit };
    let dir = global.state_dir(&loaded);
    let Some(stable) = dir.ok().and_then(|dir| stable_of(&dir, name)) else {
        let unknown = "which group is stable cannot be read from the journal: look before you \
                       move traffic by hand";
        return Exit::new(exit.code, format!("{}; nothing was asked; {unknown}", exit.why));
    };
    let weights = Weights::for_split(stable, to);
    let own = loaded.engine.routers.iter().filter(|router| router.service == service);
    let hand = told(own.map(|it| format!("{}: {}", it.name, by_hand(&it.manual, weights))));
    Exit::new(exit.code, format!("{}; nothing was asked\n{}", exit.why, hand.trim_end()))
}

/// `None` where the journal does not say it: a guess would send all traffic to the wrong group.
fn stable_of(dir: &std::path::Path, name: &str) -> Option<Group> {
    let records = sqlite::list(dir, RECORDS_MAX).ok()?;
    let says = |event: Event| {
        let (service, stable) = if let Event::Intent(intent) = event {
            (intent.service, intent.stable)
        } else if let Event::ReleaseEnded { service, stable, .. } = event {
            (service, stable)
        } else {
            return None;
        };
        (service == name).then_some(stable)
    };
    let whole = records.len() < RECORDS_MAX as usize;
    let entries = records.iter().map(Record::entry).collect::<Result<Vec<_>, _>>().ok()?;
    let said = entries.into_iter().rev().find_map(|entry| says(entry.event));
    // Before the first record of it, `a` is stable.
    said.or(whole.then_some(Group::A))
}

fn told(commands: impl Iterator<Item = String>) -> String {
    let lines: Vec<String> = commands.map(|line| format!("\n  {line}")).collect();
    if lines.is_empty() { String::new() } else { format!("by hand:{}", lines.concat()) }
}
