//! What people say about releases: pause, resume, reply, freeze, thaw, triggers, marks.
//!
//! Decides which of them need the alias: those after which exposure may rise, or a release end.
//! Never waits for more than the engine's answer and the picture that shows it. Contract: 0 when
//! it was taken, 1 when it was refused.

use std::time::Duration;

use clap::{Args, ValueEnum};
use engine::command::{Command, Reply, Submission};
use engine::types::{Actor, Untrusted};

use crate::cli::operate::{self, Asked, Confirm, service_of, stands};
use crate::cli::{Exit, Global, USAGE, print, submission_id, wait_for};
use crate::config;
use crate::link::REPLY_PATIENCE;

/// The picture that shows a taken command comes at once; it is only printed.
const PICTURE_PATIENCE: Duration = Duration::from_secs(2);

#[derive(Args)]
pub struct Pause {
    service: String,
    /// Why; kept in the journal
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
}

#[derive(Args)]
pub struct Resume {
    service: String,
    #[command(flatten)]
    confirm: Confirm,
}

#[derive(Args)]
pub struct Answer {
    service: String,
    #[arg(value_enum)]
    say: YesNo,
    #[command(flatten)]
    confirm: Confirm,
}

#[derive(Clone, Copy, ValueEnum)]
enum YesNo {
    Yes,
    No,
}

#[derive(Args)]
pub struct Freeze {
    /// Of this service alone; else of all
    service: Option<String>,
    #[command(flatten)]
    span: Span,
}

#[derive(Args)]
pub struct Thaw {
    /// The freeze of this service; else the one of all
    service: Option<String>,
    /// Why; kept in the journal
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
}

#[derive(Args)]
pub struct Span {
    /// For this long, as the configuration writes it: "30m", "2h", "1d"
    #[arg(long = "for", value_name = "TIME", value_parser = config::duration)]
    span: Duration,
    /// Why; kept in the journal
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

#[derive(Args)]
pub struct Trigger {
    service: String,
    /// Its number, from 1, in the order of `rollback_when`
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    number: u32,
    #[arg(value_enum)]
    to: OnOff,
    /// Off for this long: "30m", "2h"
    #[arg(
        long = "for",
        value_name = "TIME",
        value_parser = config::duration,
        required_if_eq("to", "off")
    )]
    span: Option<Duration>,
    /// Why; kept in the journal
    #[arg(long, value_name = "TEXT", default_value = "", required_if_eq("to", "off"))]
    reason: String,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OnOff {
    On,
    Off,
}

#[derive(Args)]
pub struct Mark {
    service: String,
    version: String,
    #[arg(value_enum)]
    to: BadGood,
    /// Why; kept in the journal
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum BadGood {
    Bad,
    Good,
}

pub fn pause(args: &Pause, global: &Global) -> Result<u8, Exit> {
    let (service, reason) = (args.service.clone(), Untrusted::new(&args.reason));
    of_service(&args.service, None, global, Command::Pause { service, reason })
}

pub fn resume(args: &Resume, global: &Global) -> Result<u8, Exit> {
    let (service, reason) = (args.service.clone(), Untrusted::new(&args.confirm.reason));
    of_service(&args.service, Some(&args.confirm), global, Command::Resume { service, reason })
}

pub fn reply(args: &Answer, global: &Global) -> Result<u8, Exit> {
    let (service, reason) = (args.service.clone(), Untrusted::new(&args.confirm.reason));
    let yes = matches!(args.say, YesNo::Yes);
    of_service(&args.service, Some(&args.confirm), global, Command::Reply { service, yes, reason })
}

pub fn freeze(args: &Freeze, global: &Global) -> Result<u8, Exit> {
    let (seconds, reason) = args.span.read()?;
    submit(global, Command::Freeze { service: args.service.clone(), seconds, reason })
}

pub fn thaw(args: &Thaw, global: &Global) -> Result<u8, Exit> {
    let reason = Untrusted::new(&args.reason);
    submit(global, Command::Thaw { service: args.service.clone(), reason })
}

pub fn stop_the_line(args: &Span, global: &Global) -> Result<u8, Exit> {
    let (seconds, reason) = args.read()?;
    submit(global, Command::StopTheLine { seconds, reason })
}

pub fn trigger(args: &Trigger, global: &Global) -> Result<u8, Exit> {
    let off_seconds = match (args.to, args.span) {
        (OnOff::On, None) => 0,
        (OnOff::On, Some(_)) => {
            return Err(Exit::new(USAGE, "--for belongs to `off`: `on` arms it again"));
        }
        (OnOff::Off, span) => seconds(span.unwrap_or_default())?,
    };
    if args.to == OnOff::Off {
        needs_reason(&args.reason)?;
    }
    let command = Command::Trigger {
        service: args.service.clone(),
        trigger: args.number - 1,
        off_seconds,
        reason: Untrusted::new(&args.reason),
    };
    submit(global, command)
}

pub fn mark(args: &Mark, global: &Global) -> Result<u8, Exit> {
    needs_reason(&args.reason)?;
    let command = Command::Mark {
        service: args.service.clone(),
        version: args.version.clone(),
        bad: args.to == BadGood::Bad,
        reason: Untrusted::new(&args.reason),
    };
    submit(global, command)
}

impl Span {
    fn read(&self) -> Result<(u64, Untrusted), Exit> {
        needs_reason(&self.reason)?;
        Ok((seconds(self.span)?, Untrusted::new(&self.reason)))
    }
}

fn seconds(span: Duration) -> Result<u64, Exit> {
    match span.as_secs() {
        0 => Err(Exit::new(USAGE, "--for is a second at least")),
        seconds => Ok(seconds),
    }
}

fn needs_reason(reason: &str) -> Result<(), Exit> {
    if reason.trim().is_empty() {
        return Err(Exit::new(USAGE, "--reason TEXT is needed: it stays in the journal"));
    }
    Ok(())
}

/// For a release in flight: decided on what is shown, and shown again after it.
fn of_service(
    name: &str,
    confirm: Option<&Confirm>,
    global: &Global,
    command: Command,
) -> Result<u8, Exit> {
    let Asked { mut link, reply, before, .. } =
        operate::ask(name, confirm, global, command, (REPLY_PATIENCE, None))?;
    match reply {
        Reply::Refused { .. } => Ok(1),
        Reply::Accepted { .. } => {
            let after = wait_for(&mut link, PICTURE_PATIENCE, |snapshot| {
                let now = service_of(snapshot, name).map(stands)?;
                (now != before).then_some(now)
            });
            print(&format!("NOW        {}\n", after.unwrap_or(before)))
        }
    }
}

/// For what is decided on nothing that is shown.
fn submit(global: &Global, command: Command) -> Result<u8, Exit> {
    let mut link = global.link()?;
    let submission = Submission {
        id: submission_id(),
        command,
        expected: None,
        seen: Untrusted::default(),
        // The engine replaces it by what the kernel says.
        actor: Actor::engine(),
        read_only: global.read_only,
    };
    match operate::submit(&mut link, &submission)? {
        Reply::Refused { .. } => Ok(1),
        Reply::Accepted { .. } => Ok(0),
    }
}
