//! A release in each state that has its own face on the panel.

use engine::record::{ReleaseResult, ReleaseState};
use engine::snapshot::{Question, ReleaseView, StepState};
use engine::types::Untrusted;

use super::sample::{ago, ahead, release};

/// Each with its name.
pub fn faces() -> Vec<(&'static str, ReleaseView)> {
    let changed = |state, sentence: &str, next: &str| ReleaseView {
        state,
        sentence: Untrusted::new(sentence),
        next: Untrusted::new(next),
        ..release()
    };
    let held = changed(
        ReleaseState::Held,
        "HOLD after 15 min: the canary had 3 of 9 errors with 24.7 % of the traffic",
        "resume goes on, promote finishes, abort ends it",
    );
    let question = Question {
        text: "Smoke tests are green. Go on?".to_owned(),
        until: ahead(1_690),
        default: Some(false),
    };
    let asking = ReleaseView {
        question: Some(question),
        ..changed(ReleaseState::Asking, "a question", "a person says yes or no")
    };
    let why = "FAIL: the canary has 21.4 % errors, stable 0.1 %; by luck less than 1 in 100.";
    let mut back =
        changed(ReleaseState::WalkingBack, why, "all traffic to stable, then its steps back");
    if let Some(canary) = &mut back.canary {
        "FAIL".clone_into(&mut canary.verdict);
        canary.sentence = Untrusted::new(why);
        canary.evidence[0].fail = 1.0;
    }
    let mut done = ReleaseView {
        result: Some(ReleaseResult::Good),
        ended: Some(ago(30)),
        ..changed(ReleaseState::Ended, "v1.9.0 is stable now", "")
    };
    done.steps.iter_mut().for_each(|step| step.state = StepState::Done);
    let more = release();
    vec![
        ("more_data", more),
        ("held", held),
        ("asking", asking),
        ("back", back),
        ("finalised", done),
    ]
}
