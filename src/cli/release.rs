//! Releases and plans from the command line: started here, and followed to their end.
//!
//! Decides what is printed while one goes on: each thing again when it changed. Never steers it.
//! Contract: 0 only for a release that ended good; 1 for one that was refused, failed, was rolled
//! back or aborted; 2 when the time is up while it waits for a person, 3 while it does not.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use engine::command::{Command, Reply};
use engine::record::{ReleaseResult, ReleaseState};
use engine::snapshot::{ReleaseView, ServiceView, StepState};
use engine::types::{Now, Untrusted};
use engine::words;

use crate::cli::operate::{self, Confirm, service_of};
use crate::cli::{Exit, Global, print, wait_for};
use crate::io::clock;
use crate::link::{Link, REPLY_PATIENCE};

#[derive(Args)]
pub struct Deploy {
    service: String,
    /// What is released: letters, digits, . _ + and -
    #[arg(long, value_name = "VERSION")]
    version: String,
    /// Stable is known to be broken: the release is held against the objective alone
    #[arg(long)]
    hotfix: bool,
    #[command(flatten)]
    confirm: Confirm,
    #[command(flatten)]
    patience: Patience,
}

#[derive(Args)]
pub struct Run {
    plan: String,
    service: String,
    /// For plans that name a `{version}`
    #[arg(long, value_name = "VERSION", default_value = "")]
    version: String,
    #[command(flatten)]
    confirm: Confirm,
    #[command(flatten)]
    patience: Patience,
}

#[derive(Args)]
struct Patience {
    /// Return once accepted, without following it
    #[arg(long)]
    no_wait: bool,
    /// Follow it at most this long: seconds, or "90m"
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = operate::patience)]
    timeout: Duration,
}

pub fn deploy(args: &Deploy, global: &Global) -> Result<u8, Exit> {
    let command = Command::Deploy {
        service: args.service.clone(),
        version: args.version.clone(),
        hotfix: args.hotfix,
        reason: Untrusted::new(&args.confirm.reason),
    };
    start(&args.service, &args.confirm, &args.patience, global, command)
}

pub fn run(args: &Run, global: &Global) -> Result<u8, Exit> {
    let command = Command::Run {
        plan: args.plan.clone(),
        service: args.service.clone(),
        version: args.version.clone(),
        reason: Untrusted::new(&args.confirm.reason),
    };
    start(&args.service, &args.confirm, &args.patience, global, command)
}

fn start(
    name: &str,
    confirm: &Confirm,
    patience: &Patience,
    global: &Global,
    command: Command,
) -> Result<u8, Exit> {
    let mut asked = operate::ask(name, Some(confirm), global, command, (REPLY_PATIENCE, None))?;
    match asked.reply {
        Reply::Refused { .. } => Ok(1),
        Reply::Accepted { .. } if patience.no_wait => Ok(0),
        Reply::Accepted { .. } => {
            let own = |release: &ReleaseView| release.submission == asked.submission;
            follow(&mut asked.link, name, patience.timeout, own)
        }
    }
}

/// Follows a release on its way back after its traffic was taken to stable; 0 unless it could not
/// be taken back whole.
pub fn follow_back(link: &mut Link, name: &str, id: u64, timeout: Duration) -> Result<u8, Exit> {
    let mut told = Told::default();
    let ended = wait_for(link, timeout, |snapshot| {
        let service = service_of(snapshot, name)?;
        let release = service.release.as_ref()?;
        if release.id != id {
            return Some(None);
        }
        told.tell(service, release, clock::now());
        release.result.map(Some)
    });
    match ended {
        Some(Some(ReleaseResult::Failed)) => Ok(1),
        Some(_) => Ok(0),
        None => {
            print(&format!("r{id} is still on its way back\n"))?;
            Ok(3)
        }
    }
}

/// Prints each change of the release until it ends or the time is up.
fn follow(
    link: &mut Link,
    name: &str,
    timeout: Duration,
    own: impl Fn(&ReleaseView) -> bool,
) -> Result<u8, Exit> {
    let mut told = Told::default();
    let mut last: Option<(u64, ReleaseState)> = None;
    let ended = wait_for(link, timeout, |snapshot| {
        let service = service_of(snapshot, name)?;
        let release = service.release.as_ref();
        let Some(release) = release.filter(|release| own(release)) else {
            // A newer one took its place: the history says how it ended.
            let (id, _) = last?;
            let past = service.history.iter().find(|past| past.id == id)?;
            let end = format!("{}: another began right behind it", past.result.word());
            told.news("state", past.result.word(), &end);
            return Some(past.result);
        };
        last = Some((release.id, release.state));
        told.tell(service, release, clock::now());
        release.result
    });
    match (ended, last) {
        (Some(ReleaseResult::Good), _) => Ok(0),
        (Some(ReleaseResult::RolledBack | ReleaseResult::Aborted | ReleaseResult::Failed), _) => {
            Ok(1)
        }
        (None, Some((id, state))) => {
            let (word, waited) = (state.word(), words::span(timeout));
            print(&format!("r{id} is {word} after {waited}; it goes on without this command\n"))?;
            Ok(match state {
                ReleaseState::Held | ReleaseState::Paused | ReleaseState::Asking => 2,
                ReleaseState::Running | ReleaseState::WalkingBack | ReleaseState::Ended => 3,
            })
        }
        (None, None) => {
            print("the release was accepted and has not been seen since\n")?;
            Ok(3)
        }
    }
}

/// What stands on the screen already, so that only news are printed.
#[derive(Default)]
struct Told(BTreeMap<String, String>);

impl Told {
    /// Prints `line` unless what it is about is still `key`.
    fn news(&mut self, about: &str, key: &str, line: &str) {
        if self.0.get(about).is_some_and(|old| old == key) {
            return;
        }
        self.0.insert(about.to_owned(), key.to_owned());
        // A reader that went away does not stop the release.
        let _ = print(&format!("{line}\n"));
    }

    fn tell(&mut self, service: &ServiceView, release: &ReleaseView, now: Now) {
        if !self.0.contains_key("release") {
            let names: Vec<&str> = release.steps.iter().map(|step| step.name.as_str()).collect();
            let (id, version, plan) = (release.id, &release.version, &release.plan);
            let version = if version.is_empty() { String::new() } else { format!(" {version}") };
            let line = format!("r{id}{version} by plan {plan}: {}", names.join(", "));
            self.news("release", "", &line);
        }
        self.steps(release);
        self.split(service, release);
        // Between two steps of a canary, the release says what let it go on.
        let acts = release.steps.iter().any(|step| {
            step.state == StepState::Running && step.name != release.sentence.display()
        });
        if acts && release.state == ReleaseState::Running && release.canary.is_some() {
            let sentence = release.sentence.to_string();
            self.news("verdict", &sentence, &format!("  {:<9}{sentence}", "canary"));
        }
        self.state(service, release, now);
    }

    fn steps(&mut self, release: &ReleaseView) {
        for (place, step) in release.steps.iter().enumerate() {
            let word = match step.state {
                StepState::Waiting => continue,
                StepState::Running => "running",
                StepState::Done => "done",
                StepState::Failed => "failed",
                StepState::Undone => "undone",
            };
            let detail = match step.state {
                StepState::Waiting | StepState::Running => String::new(),
                StepState::Done | StepState::Failed | StepState::Undone => detail(&step.detail),
            };
            let line = format!(
                "  {word:<9}step {}/{} {}{detail}",
                place + 1,
                release.steps.len(),
                step.name
            );
            self.news(&format!("step {place}"), word, &line);
        }
    }

    /// Set, router and traffic: told when one of the first two moved.
    fn split(&mut self, service: &ServiceView, release: &ReleaseView) {
        let Some(route) = &service.route else { return };
        let set = route.set.map_or_else(|| "not set".to_owned(), |set| set.to_string());
        let routers: Vec<String> = route
            .routers
            .iter()
            .map(|router| match router.canary {
                Some(canary) if router.error.is_empty() => {
                    format!("{} {canary:.1} %", router.name)
                }
                Some(_) | None => format!("{} unknown", router.name),
            })
            .collect();
        if release.result.is_some() {
            return;
        }
        let key = format!("set {set}, router {}", routers.join(", "));
        let traffic = route.traffic.map_or_else(
            || "traffic unknown".to_owned(),
            |traffic| format!("traffic {traffic:.1} %"),
        );
        self.news("split", &key, &format!("  {:<9}{key}, {traffic}", "split"));
    }

    fn state(&mut self, service: &ServiceView, release: &ReleaseView, now: Now) {
        let word = release.result.map_or(release.state.word(), ReleaseResult::word);
        // The sentence of a running release is its step's or its canary's, which are told.
        let key = match release.state {
            ReleaseState::Running => word.to_owned(),
            ReleaseState::Paused
            | ReleaseState::Held
            | ReleaseState::Asking
            | ReleaseState::WalkingBack
            | ReleaseState::Ended => format!("{word}: {}", release.sentence),
        };
        if let Some(question) = &release.question {
            let left = words::span(now.age(question.until));
            let default = match question.default {
                Some(true) => ", then yes counts",
                Some(false) => ", then no counts",
                None => "",
            };
            let (name, alias) = (&service.name, &service.alias);
            let line = format!(
                "{word}: {}\n  within {left}{default}: quarterdeck reply {name} yes|no --confirm \
                 {alias}",
                question.text
            );
            return self.news("state", &key, &line);
        }
        let next = if release.next.is_empty() || release.state == ReleaseState::Running {
            String::new()
        } else {
            format!(" ({})", release.next)
        };
        self.news("state", &key, &format!("{key}{next}"));
    }
}

/// The last line of what a step said.
fn detail(text: &Untrusted) -> String {
    let text = text.to_string();
    text.lines()
        .rev()
        .find(|line| !line.trim().is_empty())
        .map_or_else(String::new, |line| format!(": {line}"))
}
