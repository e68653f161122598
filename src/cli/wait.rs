//! `quarterdeck wait`: until services, an operation or a release are as wanted.
//!
//! Decides when that is so. Never changes anything, and never takes what is unknown or stale for
//! it. Contract: 0 when it is so, 1 when it ended otherwise, 3 when the time is up; an operation
//! that ended gives its own code.

use std::time::Duration;

use engine::record::{OperationResult, ReleaseResult};
use engine::snapshot::{Phase, RouteState, ServiceView, Snapshot};
use engine::types::{Now, Status};

use crate::cli::operate::patience;
use crate::cli::{Exit, Global, USAGE, print, wait_for};
use crate::io::clock;

#[derive(clap::Args)]
pub struct Args {
    /// Only these; else all
    service: Vec<String>,
    /// What is waited for
    #[arg(long, value_enum, default_value = "healthy")]
    until: Until,
    /// Wait at most this long: seconds, or "10m"
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = patience)]
    timeout: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Until {
    /// Every service UP, or in MAINT
    Healthy,
    /// Every router of them shows what is set
    Verified,
    /// Nothing moves: the operation in flight has ended; its result is the exit code
    Settled,
    /// The release in flight has ended; 0 when it was good
    Released,
}

pub fn run(args: &Args, global: &Global) -> Result<u8, Exit> {
    let mut link = global.link()?;
    let mut last = String::new();
    let code = wait_for(&mut link, args.timeout, |picture| {
        let found = chosen(picture, &args.service).map(|services| {
            let looked: Vec<Result<u8, String>> =
                services.iter().map(|one| look(args.until, one, clock::now())).collect();
            if let Some(Err(why)) = looked.iter().find(|one| one.is_err()) {
                last.clone_from(why);
                return None;
            }
            looked.into_iter().flatten().max().or(Some(0))
        });
        match found {
            Ok(code) => code.map(Ok),
            Err(why) => Some(Err(why)),
        }
    });
    match code {
        Some(Ok(code)) => Ok(code),
        Some(Err(why)) => Err(Exit::new(USAGE, why)),
        None => {
            print(&format!("not within {:?}: {last}\n", args.timeout))?;
            Ok(3)
        }
    }
}

fn chosen<'a>(picture: &'a Snapshot, names: &[String]) -> Result<Vec<&'a ServiceView>, String> {
    if names.is_empty() {
        return Ok(picture.services().collect());
    }
    let find = |name: &String| {
        let found = picture.services().find(|service| service.name == *name);
        found.ok_or_else(|| format!("there is no service {name}"))
    };
    names.iter().map(find).collect()
}

/// The exit code when it is so; else what it is still waiting for.
fn look(until: Until, service: &ServiceView, now: Now) -> Result<u8, String> {
    let name = &service.name;
    match until {
        Until::Healthy => match service.status_at(now) {
            Status::Up | Status::Maint => Ok(0),
            status @ (Status::Unknown | Status::Stale | Status::Degraded | Status::Down) => {
                Err(format!("{name} is {status}"))
            }
        },
        Until::Verified => match service.route.as_ref().map(|route| route.state) {
            None | Some(RouteState::Verified) => Ok(0),
            Some(state) => Err(format!("{name} is {}", state.word())),
        },
        Until::Settled => match service.operation.as_ref().map(|operation| operation.phase) {
            None => Ok(0),
            Some(Phase::Ended(result)) => Ok(match result {
                OperationResult::Verified => 0,
                OperationResult::Refused => 1,
                OperationResult::Partial => 2,
                OperationResult::Unknown => 3,
                OperationResult::Superseded => 4,
            }),
            Some(phase) => Err(format!("{name} is {}", phase.word())),
        },
        Until::Released => match &service.release {
            None => Ok(0),
            Some(release) => match release.result {
                Some(ReleaseResult::Good) => Ok(0),
                Some(
                    ReleaseResult::RolledBack | ReleaseResult::Aborted | ReleaseResult::Failed,
                ) => Ok(1),
                None => Err(format!("{name} r{} is {}", release.id, release.state.word())),
            },
        },
    }
}
