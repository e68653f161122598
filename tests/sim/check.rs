//! What must hold, whatever the world does.
//!
//! Decides whether a run is right, from what went out, what came back and what truly is. Never
//! looks into the engine but by its snapshot. Contract: each rule is a function that names the
//! offence; [`Offence::rule`] is the name of that function.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use engine::command::Reply;
use engine::needed::needed;
use engine::record::{Chain, Entry, Intent, OperationResult, Outcome, Record};
use engine::settings::Settings;
use engine::snapshot::{Phase, RouteState, ServiceView, Snapshot};
use engine::types::{EffectId, Fence, Now, Percent, ServiceId, Time, Weights};
use engine::{Effect, Engine};

use crate::disk::Fate;
use crate::router::Router;

/// One input may ask for no more than this: every poller and router at once, their records, and
/// what an outage of the journal left out.
pub const EFFECTS_PER_INPUT_MAX: usize = 48 + 32;
/// Replies that the engine may be waiting for, a slow disk included.
pub const PENDING_MAX: usize = 256;
/// A result is displayed within this.
pub const RESULT_WITHIN: Duration = Duration::from_secs(30);
/// A change is accepted or refused within this, whatever the journal does.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(26);
/// Shorter than any patience with the journal that would make sense.
const JOURNAL_PATIENCE_MIN: Duration = Duration::from_secs(1);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offence {
    pub rule: &'static str,
    pub text: String,
}

pub type Checked = Result<(), Offence>;

/// The offence of `rule`, unless it holds.
pub fn holds(rule: &'static str, right: bool, text: impl FnOnce() -> String) -> Checked {
    if right { Ok(()) } else { Err(Offence { rule, text: text() }) }
}

/// An intent as the world saw it leave.
pub struct Book {
    pub intent: Intent,
    pub safety: bool,
    pub asked: Time,
    /// The journal's answer as the engine got it; `None` before.
    pub fate: Option<Fate>,
    pub refused: bool,
    /// An older intent of the same submission is on record.
    pub resumes: bool,
}

impl Book {
    /// May anything be built on this intent?
    fn carries(&self, now: Time) -> bool {
        match self.fate {
            Some(Fate::Durable) => true,
            Some(Fate::Spooled | Fate::Failed) => self.safety,
            None => self.safety && now.since(self.asked) >= JOURNAL_PATIENCE_MIN,
        }
    }
}

#[derive(Default)]
pub struct Checks {
    /// By service and fence.
    pub books: BTreeMap<(String, Fence), Book>,
    pending: BTreeSet<EffectId>,
    last_id: EffectId,
    /// Submissions that a client waits for.
    pub awaited: BTreeSet<String>,
    /// The last answer to each submission, as far as it binds.
    pub given: BTreeMap<String, Reply>,
}

impl Checks {
    /// A new life: nothing is owed to the old one.
    pub fn restart(&mut self) {
        self.pending.clear();
        self.last_id = EffectId(0);
        self.awaited.clear();
    }

    /// After a crash only an acceptance binds whose operation is on record.
    pub fn forget_answers(&mut self) {
        let books = &self.books;
        self.given.retain(|id, reply| match reply {
            Reply::Accepted { .. } => books.values().any(|book| book.intent.submission == *id),
            Reply::Refused { .. } => false,
        });
    }

    /// (9) Each submission is answered once for each time it waits, and always the same way.
    pub fn one_answer(&mut self, reply: &Reply) -> Checked {
        let rule = "one_answer";
        let (Reply::Accepted { submission, .. } | Reply::Refused { submission, .. }) = reply;
        holds(rule, self.awaited.remove(submission), || format!("nobody waits for {reply:?}"))?;
        let before = self.given.insert(submission.clone(), reply.clone());
        let stands = match (&before, reply) {
            (None, _) | (Some(Reply::Refused { .. }), Reply::Refused { .. }) => true,
            (Some(Reply::Accepted { fence: old, .. }), Reply::Accepted { fence: new, .. }) => {
                new >= old
            }
            (Some(Reply::Accepted { .. }), Reply::Refused { .. })
            | (Some(Reply::Refused { .. }), Reply::Accepted { .. }) => false,
        };
        holds(rule, stands, || format!("first {before:?}, then {reply:?}"))
    }

    /// (9) What is accepted cannot be lost any more: its intent is on record. Toward safety the
    /// journal may have refused, or be silent for too long.
    pub fn accepted_is_on_record(&self, service: &str, fence: Fence, now: Time) -> Checked {
        let rule = "accepted_is_on_record";
        let Some(book) = self.books.get(&(service.to_owned(), fence)) else {
            return holds(rule, false, || format!("{fence} of {service} is accepted: no intent"));
        };
        holds(rule, book.resumes || book.carries(now), || {
            format!("{fence} of {service} is accepted, its intent is {:?}", book.fate)
        })
    }

    /// (7) Work per input is bounded, each effect has an id of its own.
    pub fn effects_are_bounded(&mut self, effects: &[Effect]) -> Checked {
        let rule = "effects_are_bounded";
        holds(rule, effects.len() <= EFFECTS_PER_INPUT_MAX, || {
            format!("{} effects of one input", effects.len())
        })?;
        let before = self.last_id;
        for id in effects.iter().filter_map(id_of) {
            holds(rule, self.pending.insert(id) && id > before, || {
                format!("effect {id:?} was asked for twice")
            })?;
            self.last_id = self.last_id.max(id);
        }
        let pending = self.pending.len();
        holds(rule, pending <= PENDING_MAX, || format!("{pending} effects wait for their reply"))
    }

    /// (7) Every effect is answered once.
    pub fn one_reply(&mut self, id: EffectId) -> Checked {
        holds("one_reply", self.pending.remove(&id), || format!("{id:?} is answered twice"))
    }

    /// (7) Nothing that is due may be left for later.
    pub fn deadline_lies_ahead(next: Option<Time>, now: Time) -> Checked {
        holds("deadline_lies_ahead", next.is_none_or(|next| next > now), || {
            format!("at {now:?} the next deadline is {next:?}")
        })
    }

    /// (1) A router is written only under an intent that is on record; toward safety the journal
    /// may have refused, or be silent for too long, but the intent was asked for.
    pub fn write_follows_intent(
        &self,
        service: &str,
        fence: Fence,
        weights: Weights,
        now: Time,
    ) -> Checked {
        let rule = "write_follows_intent";
        let Some(book) = self.books.get(&(service.to_owned(), fence)) else {
            return holds(rule, false, || format!("{service} is written under {fence}: no intent"));
        };
        let split = |to: Percent| Weights::for_split(book.intent.stable, to);
        let back = book.refused && book.intent.from.map(split) == Some(weights);
        holds(rule, split(book.intent.to) == weights || back, || {
            format!("{service} is written {weights:?} under {fence}, which wants {:?}", book.intent)
        })?;
        holds(rule, book.carries(now), || {
            format!("{service} is written under {fence} whose intent is {:?}", book.fate)
        })
    }

    /// (1) The other way leads to stable alone.
    pub fn other_way_is_for_safety(
        &self,
        service: &str,
        fence: Fence,
        weights: Weights,
        fallback: bool,
    ) -> Checked {
        let book = self.books.get(&(service.to_owned(), fence));
        let home = book.map(|book| Weights::for_split(book.intent.stable, Percent::ZERO));
        holds("other_way_is_for_safety", !fallback || home == Some(weights), || {
            format!("{service} is written {weights:?} under {fence} by its other way")
        })
    }

    /// (1) Only a change toward less exposure may call itself one toward safety.
    pub fn safety_is_no_pretext(intent: &Intent, safety: bool, exposed: Option<u8>) -> Checked {
        let to = intent.to.get();
        let least = to == 0 || intent.from.is_some_and(|from| intent.to <= from);
        let right = !safety || least || exposed.is_some_and(|exposed| to <= exposed);
        holds("safety_is_no_pretext", right, || {
            format!("{} from {:?} to {} as safety", intent.verb, intent.from, intent.to)
        })
    }

    /// (9) An operation exists once for each submission.
    pub fn submission_acts_once(&self, intent: &Intent) -> Checked {
        let rule = "submission_acts_once";
        let double = self.books.values().find(|book| book.intent.submission == intent.submission);
        holds(rule, double.is_none(), || {
            format!("{} is an operation again, as {}", intent.submission, intent.fence)
        })?;
        let taken = self.books.contains_key(&(intent.service.clone(), intent.fence));
        holds(rule, !taken, || format!("fence {} is given again", intent.fence))
    }

    /// (3) Verified is recorded only of what was true at some instant after the last write.
    pub fn verified_was_true(&self, outcome: &Outcome, routers: &[&Router]) -> Checked {
        let rule = "verified_was_true";
        if outcome.result != OperationResult::Verified {
            return Ok(());
        }
        let Some(book) = self.books.get(&(outcome.service.clone(), outcome.fence)) else {
            return holds(rule, false, || format!("{} has no intent", outcome.fence));
        };
        let target = Weights::for_split(book.intent.stable, book.intent.to);
        for router in routers {
            holds(rule, router.been.contains(&target), || {
                format!("{} was never {target:?}, only {:?}", router.name, router.been)
            })?;
        }
        Ok(())
    }
}

/// (3) What is shown as verified is what was read last.
pub fn verified_is_read<'a>(
    (state, set): (RouteState, Option<Percent>),
    routers: impl Iterator<Item = &'a Router>,
) -> Checked {
    if state != RouteState::Verified {
        return Ok(());
    }
    for router in routers {
        let read = router.told.flatten().map(|weights| weights.b);
        holds("verified_is_read", set.is_some() && set == read, || {
            format!("{} is verified at {set:?}, read was {read:?}", router.name)
        })?;
    }
    Ok(())
}

/// (3) The section of the services is as new as the routes.
pub fn section_is_fresh(shown: &Snapshot, engine: &Engine) -> Checked {
    for (view, service) in shown.services.iter().zip(0..) {
        let told = view.route.as_ref().map(|route| (route.state, route.set));
        let truly = engine.route_shown(ServiceId(service));
        holds("section_is_fresh", told == Some(truly), || {
            format!("{} shows {told:?}, is {truly:?}", view.name)
        })?;
    }
    Ok(())
}

/// (5) One write at a time for each router, and never back to an older operation.
pub fn one_write_in_flight(router: &Router, fence: Fence, lost_intents: u64) -> Checked {
    let rule = "one_write_in_flight";
    holds(rule, !router.in_flight, || format!("{} is already being written", router.name))?;
    // An intent that no disk took is forgotten by a crash; then only the writer knows the fence.
    holds(rule, fence.0 >= router.sent_fence || lost_intents > 0, || {
        format!("{} gets {fence} after {}", router.name, router.sent_fence)
    })
}

/// (6) A rollback has a result on screen in time; a newer operation took its place at most.
pub fn rollback_has_result(view: &ServiceView, fence: Fence) -> Checked {
    let right = view.operation.as_ref().is_some_and(|operation| {
        operation.fence > fence
            || (operation.fence == fence && matches!(operation.phase, Phase::Ended(_)))
    });
    holds("rollback_has_result", right, || {
        format!("rollback {fence} of {} shows {:?}", view.name, view.operation)
    })
}

/// (4) The chain of the journal holds.
pub fn chain_holds(records: &[Record], chain: &Chain) -> Checked {
    let mut walked = Chain::default();
    for record in records {
        let accepted = walked.accept(record);
        holds("chain_holds", accepted.is_ok(), || accepted.err().unwrap_or_default())?;
    }
    holds("chain_holds", walked == *chain, || format!("{walked:?} is not the head {chain:?}"))
}

/// (4) The journal alone gives the durable state of the engine that runs.
pub fn journal_is_state(running: &Snapshot, folded: &Snapshot) -> Checked {
    for (running, folded) in running.services.iter().zip(folded.services.iter()) {
        let durable =
            |view: &ServiceView| view.route.as_ref().map(|route| (route.set, route.fence));
        holds("journal_is_state", durable(running) == durable(folded), || {
            format!(
                "{} runs {:?}, its journal says {:?}",
                running.name,
                durable(running),
                durable(folded)
            )
        })?;
    }
    Ok(())
}

/// An engine that starts from what it needs of the journal, which is the one that starts from all.
pub fn needed_is_enough(
    settings: &Settings,
    seed: u64,
    entries: &[Entry],
    floor: Fence,
    now: Now,
    effects: &mut Vec<Effect>,
) -> Result<Engine, Offence> {
    let start = |entries: &[Entry]| {
        let mut own = Vec::new();
        let engine = Engine::recover(settings.clone(), "sim", seed, entries, floor, now, &mut own);
        (engine, own)
    };
    let (mut engine, own) = start(&needed(entries.to_vec(), 0));
    let (mut whole, others) = start(entries);
    // The end of the journal is shown as it is.
    let said = |engine: &mut Engine, effects: &[Effect]| {
        let shown = Snapshot { journal: Arc::default(), ..engine.snapshot() };
        format!("{effects:?} {shown:?}")
    };
    let (found, expected) = (said(&mut engine, &own), said(&mut whole, &others));
    holds("needed_is_enough", found == expected, || {
        let same = found.bytes().zip(expected.bytes()).take_while(|(own, other)| own == other);
        let first = found.floor_char_boundary(same.count().saturating_sub(60));
        let part = |text: &str| text[first..].chars().take(200).collect::<String>();
        format!("…{}…\ninstead of …{}…", part(&found), part(&expected))
    })?;
    *effects = own;
    Ok(engine)
}

/// (2) After healing the routers are as set, or the screen says why not.
pub fn settles_or_says_why(shown: &Snapshot, place: usize, routers: &[&Router]) -> Checked {
    let rule = "settles_or_says_why";
    let view = &shown.services[place];
    let Some(route) = view.route.as_ref() else {
        return holds(rule, false, || format!("{} has lost its route", view.name));
    };
    let said = view.operation.as_ref().is_some_and(|operation| {
        let Phase::Ended(result) = operation.phase else { return false };
        result != OperationResult::Verified && !operation.sentence.is_empty()
    });
    let told = shown.incidents.open.iter().any(|incident| incident.key.contains(&view.name))
        || !shown.head.banners.is_empty();
    let right = match route.state {
        RouteState::Verified => routers.iter().all(|router| Some(router.actual.b) == route.set),
        RouteState::Drifted => said || told,
        RouteState::Unverified => route.set.is_none() || said || told,
        RouteState::Changing => false,
    };
    holds(rule, right, || {
        let actual: Vec<Weights> = routers.iter().map(|router| router.actual).collect();
        format!("{route:?} {:?}, truly {actual:?}", view.operation)
    })
}

/// (2) A last rollback in a healed world ends verified, with all traffic truly on stable.
pub fn rollback_converges(view: &ServiceView, routers: &[&Router]) -> Checked {
    let rule = "rollback_converges";
    let route = view.route.as_ref();
    let shown = route.is_some_and(|route| {
        route.state == RouteState::Verified && route.set == Some(Percent::ZERO)
    });
    let ended = view
        .operation
        .as_ref()
        .is_none_or(|operation| operation.phase == Phase::Ended(OperationResult::Verified));
    let actual = routers.iter().all(|router| router.actual.b == Percent::ZERO);
    holds(rule, shown && ended && actual, || {
        let actual: Vec<Weights> = routers.iter().map(|router| router.actual).collect();
        format!("{route:?} {:?}, truly {actual:?}", view.operation)
    })
}

/// The id that the reply will carry.
pub fn id_of(effect: &Effect) -> Option<EffectId> {
    match effect {
        Effect::Probe { id, .. }
        | Effect::ReadHost { id, .. }
        | Effect::ReadFeed { id, .. }
        | Effect::Measure { id, .. }
        | Effect::SetSplit { id, .. }
        | Effect::ReadSplit { id, .. }
        | Effect::Append { id, .. }
        | Effect::Task { id, .. }
        | Effect::Acknowledge { id, .. }
        | Effect::Notify { id, .. }
        | Effect::Escalate { id, .. } => Some(*id),
        Effect::Answer(_) => None,
    }
}
