//! Split, promote, abort and roll back from the command line.
//!
//! Decides what is printed while an operation goes on. Never fires without the service's alias.
//! Contract: 0 only when every router was read back as asked; what a release in flight makes of it
//! is followed, too.

use std::time::{Duration, Instant};

use clap::Args;
use engine::command::{Command, Reply, Submission};
use engine::record::{OperationResult, ReleaseState};
use engine::snapshot::{JournalState, OperationView, Phase, ReleaseView, ServiceView, Snapshot};
use engine::types::{Actor, FailureKind, Fence, Percent, Untrusted};

use crate::cli::{
    Exit, Global, UNAVAILABLE, USAGE, complain, print, release, stuck, submission_id, wait_for,
};
use crate::io::clock;
use crate::link::{Link, REPLY_PATIENCE};
use crate::ui::gate;

/// The exit code of what nobody knows.
const UNKNOWN: u8 = 3;

/// The first answers of what a gate looks at come within this; after it, none is no data.
const FIRST_LOOKS: Duration = Duration::from_secs(10);

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
pub struct Flag {
    #[arg(value_name = "FLAG")]
    name: String,
    /// Whole percent that it is on for, 0 to 100, or `off`
    #[arg(value_parser = on)]
    percent: u8,
    #[command(flatten)]
    guard: Guard,
}

fn on(text: &str) -> Result<u8, String> {
    match text {
        "off" => Ok(0),
        _ => text
            .parse()
            .ok()
            .filter(|percent| *percent <= 100)
            .ok_or_else(|| "a flag is `off` or on for a whole percent from 0 to 100".to_owned()),
    }
}

#[derive(Args)]
pub struct Change {
    service: String,
    #[command(flatten)]
    guard: Guard,
}

#[derive(Args)]
struct Guard {
    #[command(flatten)]
    confirm: Confirm,
    /// Return once accepted, without waiting for the result
    #[arg(long)]
    no_wait: bool,
    /// Raise exposure against what speaks against it, and why; kept in the journal
    #[arg(long = "override", value_name = "REASON")]
    over: Option<String>,
    /// Wait at most this long for the result: seconds, or "2m"
    #[arg(long, value_name = "TIME", default_value = "30", value_parser = patience)]
    timeout: Duration,
}

/// What everything that may change exposure needs.
#[derive(Args)]
pub struct Confirm {
    /// The service's short alias, typed to fire
    #[arg(long, value_name = "ALIAS")]
    pub confirm: Option<String>,
    /// Why; kept in the journal
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: String,
}

/// A span as the configuration has it; bare digits are seconds.
pub fn patience(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
        Err(_) => crate::config::duration(text),
    }
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

/// Off goes at once, whatever else is in flight; what is on was decided on what was seen.
pub fn flag(args: &Flag, global: &Global) -> Result<u8, Exit> {
    let mut link = global.link()?;
    let flags = wait_for(&mut link, Duration::from_secs(10), |snapshot| {
        let flags = snapshot.services.iter().filter(|own| own.flag);
        Some(flags.map(|own| own.name.clone()).collect::<Vec<String>>())
    });
    let flags = flags.ok_or_else(|| Exit::new(UNAVAILABLE, "the engine shows nothing"))?;
    if !flags.contains(&args.name) {
        let why = format!("no flag {}; there are {}", args.name, flags.join(", "));
        return Err(Exit::new(USAGE, why));
    }
    drop(link);
    if args.percent == 0 {
        let off = |service, reason| Command::Rollback { service, reason };
        return run(&args.name, &args.guard, global, off);
    }
    let canary = Percent::new(args.percent)
        .ok_or_else(|| Exit::new(USAGE, "a percent lies between 0 and 100"))?;
    run(&args.name, &args.guard, global, |service, reason| Command::Split {
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
    if args.guard.confirm.reason.trim().is_empty() {
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
    let command = command(name.to_owned(), Untrusted::new(&guard.confirm.reason));
    // The steps of a release are taken back after an abort; an emergency has its result at once.
    let aborts = matches!(command, Command::Abort { .. });
    let end = Instant::now() + guard.timeout;
    let patience = guard.timeout.min(REPLY_PATIENCE);
    let mut asked =
        ask(name, Some(&guard.confirm), global, command, (patience, guard.over.as_deref()))?;
    match asked.reply {
        Reply::Refused { .. } => Ok(1),
        Reply::Accepted { .. } if guard.no_wait => Ok(0),
        Reply::Accepted { fence: Some(fence), .. } => {
            let code = follow(&mut asked.link, name, fence, guard.timeout)?;
            match &asked.steered {
                Some(id) if aborts && code == 0 => {
                    let left = end.saturating_duration_since(Instant::now());
                    release::follow_back(&mut asked.link, name, *id, left)
                }
                Some(_) | None => Ok(code),
            }
        }
        // Without a router there is no traffic to take back, only the release's steps.
        Reply::Accepted { fence: None, .. } if aborts && !asked.routed => match asked.steered {
            Some(id) => release::follow_back(&mut asked.link, name, id, guard.timeout),
            None => Ok(0),
        },
        Reply::Accepted { fence: None, .. } => {
            let after = asked.fence;
            let begun = wait_for(&mut asked.link, guard.timeout, |snapshot| {
                let operation = service_of(snapshot, name)?.operation.as_ref()?;
                (operation.fence > after).then_some(operation.fence)
            });
            let left = end.saturating_duration_since(Instant::now());
            match begun {
                Some(fence) => follow(&mut asked.link, name, fence, left),
                None => unknown(guard.timeout),
            }
        }
    }
}

/// What was asked about a service, and the answer.
pub struct Asked {
    pub link: Link,
    pub reply: Reply,
    pub submission: String,
    /// How the service stood.
    pub before: String,
    /// The fence of the last operation when it was asked.
    fence: Fence,
    /// The release that was in flight then.
    steered: Option<u64>,
    /// Has the service a router?
    routed: bool,
}

/// Shows how a service stands, asks for `command` and prints the answer. With `confirm`, only when
/// the alias was typed; what raises exposure against what speaks against it, only when that is
/// overridden. The answer is waited for this long.
pub fn ask(
    name: &str,
    confirm: Option<&Confirm>,
    global: &Global,
    mut command: Command,
    (answer, over): (Duration, Option<&str>),
) -> Result<Asked, Exit> {
    let stuck = |exit| stuck::from_disk(exit, global, name, &command);
    let mut link = global.link().map_err(stuck)?;
    // A rollback waits for nothing; anything else is decided on what the routers show.
    let at_once = matches!(command, Command::Rollback { .. });
    let raised = stuck::target(&command).filter(|to| *to != Percent::ZERO);
    let judges = raised.is_some() && over.is_none();
    let patience = match (at_once, judges) {
        (true, _) => Duration::ZERO,
        (false, false) => Duration::from_secs(5),
        (false, true) => FIRST_LOOKS,
    };
    let first = wait_for(&mut link, Duration::from_secs(10), |snapshot| Some(snapshot.clone()))
        .ok_or_else(|| Exit::new(UNAVAILABLE, "the engine shows nothing"))?;
    let seen = wait_for(&mut link, patience, |snapshot| {
        let service = service_of(snapshot, name)?;
        let read = |router: &engine::snapshot::RouterView| {
            router.read.is_some() || !router.error.is_empty()
        };
        let mut routers = service.route.iter().flat_map(|route| &route.routers);
        (routers.all(read) && (!judges || looked(service))).then(|| snapshot.clone())
    })
    .unwrap_or(first);
    let Some(service) = service_of(&seen, name) else {
        let names: Vec<&str> = seen.services.iter().map(|service| service.name.as_str()).collect();
        return Err(Exit::new(USAGE, format!("no service {name}; there are {}", names.join(", "))));
    };
    if confirm.is_some_and(|typed| typed.confirm.as_deref() != Some(service.alias.as_str())) {
        let environment = &seen.head.environment.name;
        let (verb, alias) = (command.verb(), &service.alias);
        let why = format!(
            "{verb} {name} in {environment}: {}\nto fire, add --confirm {alias}",
            stands(service)
        );
        return Err(Exit::new(USAGE, why));
    }
    if let Some(to) = raised {
        pass(&gate::against_split(&seen, service, to, clock::now()), over, &mut command)?;
    }
    let expected = service.expected();
    let submission = Submission {
        id: submission_id(),
        seen: Untrusted::new(&stands(service)),
        expected,
        command,
        // The engine replaces it by what the kernel says.
        actor: Actor::engine(),
        read_only: global.read_only,
    };
    print(&format!("REQUESTED  {} {name}: {}\n", submission.command.verb(), stands(service)))?;
    let reply = submit_within(&mut link, &submission, answer).map_err(|mut exit| {
        exit.why = format!("{}\n{}", exit.why, stuck::from_picture(service, &submission.command));
        exit.why.truncate(exit.why.trim_end().len());
        exit
    })?;
    Ok(Asked {
        link,
        reply,
        submission: submission.id,
        before: stands(service),
        fence: expected.map(|expected| expected.fence).unwrap_or_default(),
        steered: expected.and_then(|expected| expected.release).map(|(id, _)| id),
        routed: service.route.is_some(),
    })
}

/// All that a gate looks at has answered once.
fn looked(service: &ServiceView) -> bool {
    service.probes.iter().all(|probe| probe.observed.is_some())
        && service.signals.as_ref().is_none_or(|signals| signals.observed.is_some())
}

/// What speaks against more exposure ends it, unless it is overridden: then the journal keeps both.
fn pass(against: &[gate::Gate], over: Option<&str>, command: &mut Command) -> Result<(), Exit> {
    let verb = command.verb();
    let (Command::Split { reason, .. } | Command::Promote { reason, .. }) = command else {
        return Ok(());
    };
    for gate in against {
        print(&format!("AGAINST    {}\n", gate.text))?;
    }
    match over.map(str::trim) {
        Some("") => Err(Exit::new(USAGE, "--override needs a reason: it stays in the journal")),
        Some(over) => {
            let said = [reason.display(), over];
            let said: Vec<&str> = said.into_iter().filter(|text| !text.is_empty()).collect();
            *reason = Untrusted::new(&gate::overridden(against, &said.join("; ")));
            Ok(())
        }
        None if against.is_empty() => Ok(()),
        None => {
            let why = format!("{verb} is not asked for: wait for green, or add --override REASON");
            Err(Exit::new(1, why))
        }
    }
}

/// Submits, and prints the answer.
pub fn submit(link: &mut Link, submission: &Submission) -> Result<Reply, Exit> {
    submit_within(link, submission, REPLY_PATIENCE)
}

fn submit_within(
    link: &mut Link,
    submission: &Submission,
    patience: Duration,
) -> Result<Reply, Exit> {
    let reply = link.submit_within(submission, patience).map_err(|failure| {
        if failure.kind == FailureKind::Timeout {
            return Exit::new(UNKNOWN, format!("UNKNOWN: {}", failure.text));
        }
        Exit::new(UNAVAILABLE, failure.text.to_string())
    })?;
    match &reply {
        Reply::Refused { why, .. } => print(&format!("REFUSED    {why}\n"))?,
        Reply::Accepted { fence: Some(fence), .. } => print(&format!("ACCEPTED   #{fence}\n"))?,
        Reply::Accepted { fence: None, note, .. } => {
            let note = if note.is_empty() { String::new() } else { format!(", but {note}") };
            print(&format!("ACCEPTED   {}{note}\n", submission.command.verb()))?
        }
    };
    Ok(reply)
}

pub fn service_of<'a>(snapshot: &'a Snapshot, name: &str) -> Option<&'a ServiceView> {
    snapshot.services().find(|service| service.name == name)
}

/// What the operator saw, in one line.
pub fn stands(service: &ServiceView) -> String {
    let release = service.release.as_ref().filter(|release| release.result.is_none());
    let release = release.map(|release| format!("; {}", release_words(release)));
    let release = release.unwrap_or_default();
    let Some(route) = &service.route else { return format!("no router{release}") };
    let set = route.set.map_or_else(|| "not set".to_owned(), |set| set.to_string());
    let routers: Vec<String> = route
        .routers
        .iter()
        .map(|router| match router.canary {
            Some(canary) if router.error.is_empty() => format!("{} {canary:.0} %", router.name),
            Some(_) | None => format!("{} unknown", router.name),
        })
        .collect();
    let state = route.state.word();
    if service.flag {
        return format!("on: set {set}, read {} ({state}){release}", routers.join(", "));
    }
    format!("canary set {set}, routers {} ({state}){release}", routers.join(", "))
}

fn release_words(release: &ReleaseView) -> String {
    let (id, what, state) = (release.id, release.what(), release.state);
    match state {
        ReleaseState::Running
        | ReleaseState::Paused
        | ReleaseState::Held
        | ReleaseState::Asking => format!(
            "r{id} {what} {} at step {} of {}",
            state.word(),
            release.step + 1,
            release.steps.len()
        ),
        ReleaseState::WalkingBack | ReleaseState::Ended => {
            format!("r{id} {what} {}", state.word())
        }
    }
}

fn unknown(waited: Duration) -> Result<u8, Exit> {
    print(&format!("UNKNOWN    no result after {} s; do not retry\n", waited.as_secs()))?;
    Ok(UNKNOWN)
}

/// Prints each change of the operation until it ends, and turns its result into the exit code.
fn follow(link: &mut Link, name: &str, fence: Fence, timeout: Duration) -> Result<u8, Exit> {
    let mut told = String::new();
    let mut unrecorded = false;
    let ended = wait_for(link, timeout, |snapshot| {
        if let JournalState::Spooling { why } | JournalState::Lost { why } = &snapshot.head.journal
            && !std::mem::replace(&mut unrecorded, true)
        {
            complain(&format!("quarterdeck: the journal does not take what is done here: {why}"));
        }
        let operation = service_of(snapshot, name)?.operation.as_ref()?;
        let same = operation.fence == fence || operation.earlier.contains(&fence);
        if operation.fence > fence && !same {
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
        return unknown(timeout);
    };
    print(&format!("{:<10} {sentence}\n", result.word()))?;
    if !manual.is_empty() && result != OperationResult::Verified {
        print(&format!("by hand:\n  {}\n", manual.join("\n  ")))?;
    }
    Ok(match result {
        OperationResult::Verified => 0,
        OperationResult::Refused => 1,
        OperationResult::Partial => 2,
        OperationResult::Unknown => UNKNOWN,
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
