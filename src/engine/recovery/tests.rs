//! What the journal says is wanted, by the records that it holds.

use super::*;
use crate::record::Outcome;

const SERVICE: &str = "web";

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + chrono::TimeDelta::seconds(seconds)
}

fn percent(value: u8) -> Percent {
    Percent::new(value).expect("a percent")
}

fn intent(fence: u64, verb: &str, from: u8, to: u8) -> Event {
    Event::Intent(Intent {
        fence: Fence(fence),
        submission: format!("s{fence}"),
        service: SERVICE.to_owned(),
        verb: verb.to_owned(),
        stable: Group::A,
        from: Some(percent(from)),
        to: percent(to),
        reason: Untrusted::default(),
        seen: Untrusted::default(),
        routers: vec!["edge".to_owned()],
    })
}

fn outcome(fence: u64, result: OperationResult) -> Event {
    Event::Outcome(Outcome {
        fence: Fence(fence),
        service: SERVICE.to_owned(),
        result,
        sentence: Untrusted::new("said"),
        routers: Vec::new(),
    })
}

fn interrupted(fence: u64) -> Event {
    Event::Interrupted {
        fence: Fence(fence),
        service: SERVICE.to_owned(),
        sentence: Untrusted::new("asks"),
    }
}

fn folded(events: &[Event]) -> Fold {
    let entries: Vec<Entry> = (0..)
        .zip(events)
        .map(|(place, event)| Entry {
            id: format!("e{place}"),
            at: at(place),
            actor: Actor::engine(),
            event: event.clone(),
        })
        .collect();
    fold(&entries)
}

/// Set, the fence of the open operation, fence and result of the one that ended.
type Expected = (Option<u8>, Option<u64>, Option<(u64, OperationResult)>);

fn check(events: &[Event], expected: Expected) {
    let fold = folded(events);
    let service = fold.services.get(SERVICE).cloned().unwrap_or_default();
    let seen = (
        service.set.map(Percent::get),
        service.open.map(|(intent, ..)| intent.fence.0),
        service.ended.map(|ended| (ended.intent.fence.0, ended.result)),
    );
    assert_eq!(seen, expected, "{events:?}");
}

#[test]
fn records_say_what_is_set_open_and_ended() {
    use OperationResult::{Partial, Refused, Superseded, Unknown, Verified};
    let split = || intent(1, "split", 0, 25);
    let rollback = || intent(2, "rollback", 25, 0);
    check(&[], (None, None, None));
    check(&[split()], (Some(25), Some(1), None));
    check(&[split(), outcome(1, Verified)], (Some(25), None, Some((1, Verified))));
    // All routers refused: what was set before is set still.
    check(&[split(), outcome(1, Refused)], (Some(0), None, Some((1, Refused))));
    check(&[split(), outcome(1, Partial)], (Some(25), None, Some((1, Partial))));
    // Proven after its first verdict.
    let late = [split(), outcome(1, Unknown), outcome(1, Verified)];
    check(&late, (Some(25), None, Some((1, Verified))));
    // The rollback that superseded stays open, whatever is said about the older one.
    check(&[split(), rollback()], (Some(0), Some(2), None));
    check(&[split(), rollback(), outcome(1, Superseded)], (Some(0), Some(2), None));
    check(&[split(), rollback(), outcome(1, Refused)], (Some(0), Some(2), None));
    // What a restart interrupted is wanted no more until someone asks.
    check(&[split(), interrupted(1)], (None, None, Some((1, Unknown))));
    check(&[split(), rollback(), interrupted(1)], (Some(0), Some(2), None));
    // A result without its intent says what was proven, here nothing.
    check(&[outcome(7, Verified)], (None, None, None));
    check(&[interrupted(7)], (None, None, None));
}

/// A release that was started while a rollback was under way.
fn release_beside(fence: u64) -> Event {
    Event::ReleaseStarted(ReleaseStarted {
        release: fence,
        submission: "s-release".to_owned(),
        service: SERVICE.to_owned(),
        version: String::new(),
        plan: "chore".to_owned(),
        kind: ReleaseKind::Plan,
        hotfix: false,
        stable: Group::A,
        steps: vec!["note".to_owned()],
        after: Vec::new(),
        baseline: BTreeMap::new(),
        reason: Untrusted::default(),
        seen: Untrusted::default(),
    })
}

/// A restart takes a rollback up again under a new fence: a release that began beside it goes on,
/// one that a person takes back does not.
#[test]
fn a_rollback_taken_up_again_ends_no_release_a_second_time() {
    let state = |events: &[Event]| {
        let fold = folded(events);
        fold.services[SERVICE].release.as_ref().map(|open| open.state)
    };
    let again = |fence: u64, submission: &str| {
        let Event::Intent(intent) = intent(fence, "rollback", 0, 0) else { panic!("an intent") };
        Event::Intent(Intent { submission: submission.to_owned(), ..intent })
    };
    let begun = [intent(1, "rollback", 25, 0), release_beside(1)];
    let with = |last: Event| [begun[0].clone(), begun[1].clone(), last];
    assert_eq!(state(&begun), Some(ReleaseState::Running));
    assert_eq!(state(&with(again(2, "s1"))), Some(ReleaseState::Running));
    assert_eq!(state(&with(again(2, "s2"))), Some(ReleaseState::WalkingBack));
}

/// A result with what each router showed.
fn proved(fence: u64, result: OperationResult, routers: &[&str]) -> Event {
    let proof = |canary: &&str| RouterProof {
        router: "edge".to_owned(),
        canary: (!canary.is_empty()).then(|| (*canary).to_owned()),
        note: Untrusted::default(),
    };
    Event::Outcome(Outcome {
        fence: Fence(fence),
        service: SERVICE.to_owned(),
        result,
        sentence: Untrusted::new("said"),
        routers: routers.iter().map(proof).collect(),
    })
}

#[test]
fn a_result_whose_intent_was_lost_says_what_was_proven() {
    use OperationResult::{Partial, Refused, Superseded, Unknown, Verified};
    let split = || intent(1, "split", 0, 25);
    let done = [split(), outcome(1, Verified)];
    let after = |event: Event| [done[0].clone(), done[1].clone(), event];
    let before = Some((1, Verified));
    check(&after(proved(2, Verified, &["0.00", "0.00"])), (Some(0), None, before));
    check(&after(proved(2, Verified, &["24.90"])), (Some(25), None, before));
    check(&after(proved(2, Verified, &["0.00", "25.00"])), (None, None, before));
    check(&after(proved(2, Verified, &["0.00", ""])), (None, None, before));
    // Somebody moved something, nobody knows what is wanted.
    for result in [Partial, Unknown, Superseded] {
        check(&after(proved(2, result, &["0.00"])), (None, None, before));
    }
    check(&after(proved(2, Refused, &["25.00"])), (Some(25), None, before));
    // What was open is not any more, and the fence is used.
    check(&[split(), proved(2, Verified, &["0.00"])], (Some(0), None, None));
    assert_eq!(folded(&[proved(9, Verified, &["0.00"])]).fence, Fence(9));
}

#[test]
fn records_that_come_late_do_not_undo_newer_ones() {
    use OperationResult::{Refused, Superseded, Verified};
    let rollback = || intent(2, "rollback", 25, 0);
    let newer = [rollback(), outcome(2, Verified)];
    let after = |event: Event| [newer[0].clone(), newer[1].clone(), event];
    let stands = (Some(0), None, Some((2, Verified)));
    check(&after(intent(1, "split", 0, 25)), stands);
    check(&after(outcome(1, Superseded)), stands);
    check(&after(rollback()), stands);
    // The intent after its result.
    check(&[outcome(2, Verified), rollback()], stands);
    let refused = [outcome(2, Refused), intent(2, "split", 10, 25)];
    check(&refused, (Some(10), None, Some((2, Refused))));
    let late = [proved(3, Verified, &["10.00"]), rollback()];
    check(&late, (Some(10), None, Some((2, OperationResult::Superseded))));
    // What was refused moved nothing: an older intent that comes late is still the newest.
    check(&[outcome(3, Refused), rollback()], (Some(0), Some(2), None));
    let fold = folded(&[intent(3, "split", 0, 10), rollback()]);
    assert_eq!(fold.services[SERVICE].rolled_back, Some(at(1)), "the hold counts all the same");
    assert_eq!(fold.services[SERVICE].set, Some(percent(10)));
}

#[test]
fn the_fence_is_the_highest_and_a_rollback_is_remembered() {
    let fold = folded(&[intent(5, "split", 0, 10), intent(6, "rollback", 10, 0)]);
    assert_eq!(fold.fence, Fence(6));
    assert_eq!(fold.services[SERVICE].fence, Fence(6));
    assert_eq!(fold.services[SERVICE].rolled_back, Some(at(1)));
    let fold = folded(&[intent(5, "abort", 10, 0)]);
    assert_eq!(fold.services[SERVICE].rolled_back, None, "an abort starts no hold");
}

#[test]
fn the_newest_submissions_are_remembered_up_to_a_limit() {
    let count = u64::try_from(SUBMISSIONS_MAX).expect("a small limit") + 10;
    let events: Vec<Event> = (1..=count).map(|fence| intent(fence, "split", 0, 1)).collect();
    let fold = folded(&events);
    assert_eq!(fold.submissions.len(), SUBMISSIONS_MAX);
    assert_eq!(fold.submissions[0], ("s11".to_owned(), Some(Fence(11))));
    assert_eq!(fold.submissions.last(), Some(&(format!("s{count}"), Some(Fence(count)))));
}

#[test]
fn the_configuration_is_the_one_of_the_last_start() {
    let started = |hash: &str| Event::Started { version: "1".into(), config_hash: hash.into() };
    let changed = |hash: &str| Event::ConfigChanged { config_hash: hash.into() };
    let check = |events: &[Event], expected: Option<&str>| {
        assert_eq!(folded(events).config_hash.as_deref(), expected, "{events:?}");
    };
    check(&[], None);
    check(&[started("a")], Some("a"));
    check(&[started("a"), changed("b"), started("b")], Some("b"));
    check(&[started("a"), started("c")], Some("c"));
}
