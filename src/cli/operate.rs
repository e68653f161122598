//! Split, promote, abort and roll back from the command line.
//!
//! Decides what is printed while an operation goes on. Never fires without the service's alias.
//! Contract: 0 only when every router was read back as asked.

use std::time::Duration;

use clap::Args;
use engine::command::{Command, Reply, Submission};
use engine::record::OperationResult;
use engine::snapshot::{OperationView, Phase, ServiceView, Snapshot};
use engine::types::{Actor, Fence, Percent, Untrusted};

use crate::cli::{Exit, Global, UNAVAILABLE, USAGE, print, submission_id, wait_for};

#[derive(Args)]
pub struct Split {
    service: String,
    /// Whole percent to the canary, 0 to 100
    #[arg(value_parser = clap::value_parser!(u8).range(0..=100))]
    percent: u8,
    #[command(flatten)]
    guard: Guard,
}

#[derive(Args)]
pub struct Change {
    service: String,
    #[command(flatten)]
    guard: Guard,
}

#[derive(Args)]
struct Guard {
    /// The service's short alias, typed to fire
    #[arg(long, value_name = "ALIAS")]
    confirm: Option<String>,
    /// Why; kept in the journal
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    /// Return once accepted, without waiting for the result
    #[arg(long)]
    no_wait: bool,
    /// Wait at most this many seconds for the result
    #[arg(long, value_name = "SECONDS", default_value_t = 40)]
    timeout: u64,
}

pub fn split(args: &Split, global: &Global) -> Result<u8, Exit> {
    let canary = Percent::new(args.percent)
        .ok_or_else(|| Exit::new(USAGE, "a percent lies between 0 and 100"))?;
    run(&args.service, &args.guard, global, |service, reason| Command::Split {
        service,
        canary,
        reason,
    })
}

pub fn promote(args: &Change, global: &Global) -> Result<u8, Exit> {
    run(&args.service, &args.guard, global, |service, reason| Command::Promote { service, reason })
}

pub fn abort(args: &Change, global: &Global) -> Result<u8, Exit> {
    run(&args.service, &args.guard, global, |service, reason| Command::Abort { service, reason })
}

pub fn rollback(args: &Change, global: &Global) -> Result<u8, Exit> {
    if args.guard.reason.trim().is_empty() {
        return Err(Exit::new(USAGE, "a rollback needs --reason TEXT: it stays in the journal"));
    }
    run(&args.service, &args.guard, global, |service, reason| Command::Rollback { service, reason })
}

fn run(
    name: &str,
    guard: &Guard,
    global: &Global,
    command: impl FnOnce(String, Untrusted) -> Command,
) -> Result<u8, Exit> {
    let mut link = global.link()?;
    let command = command(name.to_owned(), Untrusted::new(&guard.reason));
    // A rollback waits for nothing; anything else is decided on what the routers show.
    let at_once = matches!(command, Command::Rollback { .. });
    let patience = if at_once { Duration::ZERO } else { Duration::from_secs(5) };
    let first = wait_for(&mut link, Duration::from_secs(10), |snapshot| Some(snapshot.clone()))
        .ok_or_else(|| Exit::new(UNAVAILABLE, "the engine shows nothing"))?;
    let seen = wait_for(&mut link, patience, |snapshot| {
        let route = service_of(snapshot, name)?.route.as_ref()?;
        let read = |router: &engine::snapshot::RouterView| {
            router.read.is_some() || !router.error.is_empty()
        };
        route.routers.iter().all(read).then(|| snapshot.clone())
    })
    .unwrap_or(first);
    let Some(service) = service_of(&seen, name) else {
        let names: Vec<&str> = seen.services.iter().map(|service| service.name.as_str()).collect();
        return Err(Exit::new(USAGE, format!("no service {name}; there are {}", names.join(", "))));
    };
    if guard.confirm.as_deref() != Some(service.alias.as_str()) {
        let environment = &seen.head.environment.name;
        return Err(Exit::new(
            USAGE,
            format!(
                "{} {name} in {environment}: {}\nto fire, add --confirm {}",
                command.verb(),
                stands(service),
                service.alias
            ),
        ));
    }
    let submission = Submission {
        id: submission_id(),
        seen: Untrusted::new(&stands(service)),
        expected: service.expected(),
        command,
        // The engine replaces it by what the kernel says.
        actor: Actor::engine(),
        read_only: global.read_only,
    };
    print(&format!("REQUESTED  {} {name}: {}\n", submission.command.verb(), stands(service)))?;
    let reply = link
        .submit(&submission)
        .map_err(|failure| Exit::new(UNAVAILABLE, failure.text.to_string()))?;
    match reply {
        Reply::Refused { why, .. } => {
            print(&format!("REFUSED    {why}\n"))?;
            Ok(1)
        }
        Reply::Accepted { fence: Some(fence), .. } => {
            print(&format!("ACCEPTED   #{fence}\n"))?;
            if guard.no_wait {
                return Ok(0);
            }
            follow(&mut link, name, fence, Duration::from_secs(guard.timeout))
        }
        Reply::Accepted { fence: None, .. } => Ok(0),
    }
}

fn service_of<'a>(snapshot: &'a Snapshot, name: &str) -> Option<&'a ServiceView> {
    snapshot.services.iter().find(|service| service.name == name)
}

/// What the operator saw, in one line.
fn stands(service: &ServiceView) -> String {
    let Some(route) = &service.route else { return "no router".to_owned() };
    let set = route.set.map_or_else(|| "not set".to_owned(), |set| set.to_string());
    let routers: Vec<String> = route
        .routers
        .iter()
        .map(|router| match router.canary {
            Some(canary) if router.error.is_empty() => format!("{} {canary:.0} %", router.name),
            Some(_) | None => format!("{} unknown", router.name),
        })
        .collect();
    format!("canary set {set}, routers {} ({})", routers.join(", "), route.state.word())
}

/// Prints each change of the operation until it ends, and turns its result into the exit code.
fn follow(
    link: &mut crate::link::Link,
    name: &str,
    fence: Fence,
    timeout: Duration,
) -> Result<u8, Exit> {
    let mut told = String::new();
    let ended = wait_for(link, timeout, |snapshot| {
        let operation = service_of(snapshot, name)?.operation.as_ref()?;
        if operation.fence > fence {
            return Some((OperationResult::Superseded, format!("by #{}", operation.fence), vec![]));
        }
        if operation.fence < fence {
            return None;
        }
        let text = progress(operation);
        if text != told && !matches!(operation.phase, Phase::Ended(_)) {
            let _ = print(&text);
            told = text;
        }
        match operation.phase {
            Phase::Ended(result) => {
                Some((result, operation.sentence.to_string(), operation.manual.clone()))
            }
            Phase::Accepted | Phase::Applying | Phase::Recording => None,
        }
    });
    let Some((result, sentence, manual)) = ended else {
        print(&format!("UNKNOWN    no result after {} s; do not retry\n", timeout.as_secs()))?;
        return Ok(3);
    };
    print(&format!("{:<10} {sentence}\n", result.word()))?;
    if !manual.is_empty() && result != OperationResult::Verified {
        print(&format!("by hand:\n  {}\n", manual.join("\n  ")))?;
    }
    Ok(match result {
        OperationResult::Verified => 0,
        OperationResult::Refused => 1,
        OperationResult::Partial => 2,
        OperationResult::Unknown => 3,
        OperationResult::Superseded => 4,
    })
}

fn progress(operation: &OperationView) -> String {
    let proven = operation.routers.iter().filter(|router| router.proven.is_some()).count();
    let routers: Vec<String> = operation
        .routers
        .iter()
        .map(|router| match (router.proven, router.sent) {
            (Some(_), _) => format!("{} proven", router.router),
            (None, Some(_)) => format!("{} sent {}", router.router, router.answer),
            (None, None) => format!("{} waits", router.router),
        })
        .collect();
    let (word, total) = (operation.phase.word(), operation.routers.len());
    format!("{word:<10} {proven}/{total}: {}\n", routers.join("; "))
}
