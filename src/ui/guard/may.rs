//! What may be armed at all.
//!
//! Decides by the picture alone, before anything is typed; the engine decides again. Never
//! opens a guard. Contract: a refusal says why, and what would help.

use engine::record::ReleaseState;
use engine::snapshot::{ServiceView, Snapshot};
use engine::types::Now;

use super::{Verb, freeze_of, in_flight, rules};
use crate::ui::gate;

/// Why `verb` makes no sense now: what the engine would refuse anyway is said before it is typed.
pub(super) fn may(
    verb: Verb,
    service: &ServiceView,
    picture: &Snapshot,
    now: Now,
) -> Result<(), String> {
    let name = &service.name;
    let release = in_flight(service);
    let state = release.map(|release| (release.id, release.state));
    let none = || format!("no release of {name} is in flight");
    match verb {
        Verb::Rollback | Verb::Abort | Verb::Promote | Verb::Shift | Verb::Deploy
            if service.route.is_none() =>
        {
            Err(format!("{name} has no router: it is only watched"))
        }
        Verb::Deploy => may_deploy(service, picture, now),
        Verb::Run if service.plans.is_empty() => Err(format!("{name} has no plan")),
        Verb::Run => may_start(service),
        Verb::Pause => match state {
            None => Err(none()),
            Some((_, ReleaseState::Running | ReleaseState::Asking | ReleaseState::Held)) => Ok(()),
            Some((id, state)) => Err(format!("r{id} is {}", state.word())),
        },
        Verb::Resume => match state {
            None => Err(none()),
            Some((_, ReleaseState::Paused | ReleaseState::Held)) => Ok(()),
            Some((id, state)) => {
                Err(format!("r{id} is {}: there is nothing to resume", state.word()))
            }
        },
        Verb::Yes | Verb::No if release.is_none_or(|release| release.question.is_none()) => {
            Err(format!("{name} asks nothing"))
        }
        Verb::Thaw
            if freeze_of(picture, Some(name), now).or(freeze_of(picture, None, now)).is_none() =>
        {
            Err(format!("{name} is not frozen"))
        }
        Verb::RuleOff | Verb::RuleOn if rules(verb, service).is_empty() => {
            let state = if verb == Verb::RuleOn { "off" } else { "on" };
            Err(format!("no rule of {name} is {state}"))
        }
        Verb::Rollback
        | Verb::Abort
        | Verb::Promote
        | Verb::Shift
        | Verb::Yes
        | Verb::No
        | Verb::StopTheLine
        | Verb::Freeze
        | Verb::Thaw
        | Verb::RuleOff
        | Verb::RuleOn
        | Verb::MarkBad
        | Verb::MarkGood
        | Verb::Assign
        | Verb::Note
        | Verb::Snooze => Ok(()),
    }
}

fn may_start(service: &ServiceView) -> Result<(), String> {
    if let Some(release) = in_flight(service) {
        let answer = if release.question.is_some() { "; answer what it asks" } else { "" };
        let (id, state) = (release.id, release.state.word());
        return Err(format!("r{id} is {state}: it must end first{answer}"));
    }
    Ok(())
}

fn may_deploy(service: &ServiceView, picture: &Snapshot, now: Now) -> Result<(), String> {
    may_start(service)?;
    let own = freeze_of(picture, Some(&service.name), now);
    if let Some(freeze) = own.or(freeze_of(picture, None, now)) {
        return Err(format!("frozen by {}: {}; thaw ends it", freeze.user, freeze.reason));
    }
    match service.route.as_ref().and_then(|route| gate::exposure(route, now)) {
        Some(share) if share > 0.0 => Err(format!(
            "the canary has {share:.0} % of the traffic already: roll back or promote first"
        )),
        Some(_) | None => Ok(()),
    }
}
