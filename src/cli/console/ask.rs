//! What the console asks of the engine: until there is an answer, and each intention once.
//!
//! Decides whether a question is asked again, and which id it has. Never decides what is asked.
//! Contract: the same id for the same intention, so that it is done once.

use std::thread;
use std::time::{Duration, Instant};

use engine::command::{Command, Expected, Reply, Submission};
use engine::types::Now;

use crate::ui::Unanswered;

/// No new try after this; with the link's own patience an answer is shown within thirty seconds.
pub const ASK_MAX: Duration = Duration::from_secs(15);

/// Between two tries while the engine is being started again.
const ASK_PAUSE: Duration = Duration::from_millis(200);

/// Asks until there is an answer, always with the same id, so that it is done once. Toward
/// exposure nothing is sent to an engine that was gone when the operator asked: what stood on the
/// screen may not be so any more.
pub fn ask(
    submission: &Submission,
    deadline: Instant,
    mut submit: impl FnMut(&Submission) -> Result<Reply, Unanswered>,
) -> Result<Reply, Unanswered> {
    let waits = matches!(
        submission.command,
        Command::Rollback { .. }
            | Command::Abort { .. }
            | Command::Pause { .. }
            | Command::Freeze { .. }
            | Command::StopTheLine { .. }
    );
    let mut maybe_sent = false;
    loop {
        let answer = match submit(submission) {
            Err(Unanswered::NotSent(why)) if maybe_sent => Err(Unanswered::Unknown(why)),
            answer @ (Ok(_) | Err(_)) => answer,
        };
        let again = match &answer {
            Ok(_) => false,
            Err(Unanswered::Unknown(_)) => {
                maybe_sent = true;
                true
            }
            Err(Unanswered::NotSent(_)) => waits,
        };
        if !again || Instant::now() >= deadline {
            return answer;
        }
        thread::sleep(ASK_PAUSE);
    }
}

/// The ids of submissions. Asking the same again after no answer is the same intention.
#[derive(Default)]
pub struct Ids {
    asked: u64,
    open: Vec<Open>,
}

struct Open {
    id: String,
    command: Command,
    expected: Option<Expected>,
    /// When it was given up without an answer; `None` while it is asked.
    given_up: Option<Now>,
}

/// The same asked later than this is a new intention.
const SAME_MAX: Duration = Duration::from_mins(1);

/// More questions without an answer than this are forgotten, oldest first.
const OPEN_MAX: usize = 16;

impl Ids {
    pub fn of(&mut self, command: &Command, expected: Option<Expected>, now: Now) -> String {
        self.open.retain(|open| open.given_up.is_none_or(|at| at.age(now) < SAME_MAX));
        let known = self.open.iter_mut().find(|open| {
            open.given_up.is_some() && open.command == *command && open.expected == expected
        });
        if let Some(known) = known {
            known.given_up = None;
            return known.id.clone();
        }
        self.asked += 1;
        let id = format!("{}-{}-{}", std::process::id(), now.mono.0, self.asked);
        if self.open.len() == OPEN_MAX {
            self.open.remove(0);
        }
        let command = command.clone();
        self.open.push(Open { id: id.clone(), command, expected, given_up: None });
        id
    }

    pub fn answered(&mut self, id: &str, answer: &Result<Reply, Unanswered>, now: Now) {
        match answer {
            Ok(_) => self.open.retain(|open| open.id != id),
            Err(Unanswered::NotSent(_) | Unanswered::Unknown(_)) => {
                let open = self.open.iter_mut().find(|open| open.id == id);
                if let Some(open) = open {
                    open.given_up = Some(now);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use engine::types::{Actor, Fence, Percent, Time, Untrusted};

    use super::*;

    fn at(seconds: u64) -> Now {
        Now { mono: Time(seconds * 1_000_000), wall: DateTime::UNIX_EPOCH }
    }

    fn rollback() -> Command {
        Command::Rollback { service: "shop".to_owned(), reason: Untrusted::default() }
    }

    fn promote() -> Command {
        Command::Promote { service: "shop".to_owned(), reason: Untrusted::default() }
    }

    fn seen(fence: u64) -> Expected {
        Expected { set: Percent::new(50), fence: Fence(fence), release: None }
    }

    #[test]
    fn the_same_again_after_no_answer_has_the_same_id() {
        let unknown = Err(Unanswered::Unknown("no answer".to_owned()));
        let given_up = || {
            let mut ids = Ids::default();
            let id = ids.of(&rollback(), Some(seen(1)), at(0));
            ids.answered(&id, &unknown, at(5));
            (ids, id)
        };
        let (mut ids, id) = given_up();
        assert_eq!(ids.of(&rollback(), Some(seen(1)), at(20)), id, "the same");
        assert_ne!(ids.of(&rollback(), Some(seen(1)), at(21)), id, "twice at once are two");
        let (mut ids, id) = given_up();
        assert_ne!(ids.of(&promote(), Some(seen(1)), at(20)), id, "another command");
        assert_ne!(ids.of(&rollback(), Some(seen(2)), at(20)), id, "something moved meanwhile");
        let (mut ids, id) = given_up();
        assert_ne!(ids.of(&rollback(), Some(seen(1)), at(66)), id, "much later");
        let (mut ids, id) = given_up();
        let answer = Ok(Reply::accepted(id.clone(), None));
        ids.answered(&id, &answer, at(6));
        assert_ne!(ids.of(&rollback(), Some(seen(1)), at(20)), id, "it was answered");
    }

    /// What is asked, and what comes of it, when the engine behaves like `answers`.
    fn check(command: Command, answers: &[Result<(), Unanswered>], asked: usize, text: &str) {
        let submission = Submission {
            id: "one".to_owned(),
            command,
            expected: None,
            seen: Untrusted::default(),
            actor: Actor::engine(),
            read_only: false,
        };
        let mut count = 0;
        let answer = ask(&submission, Instant::now() + Duration::from_mins(1), |again| {
            assert_eq!(again.id, "one");
            count += 1;
            let accepted = Reply::accepted(again.id.clone(), None);
            answers[count - 1].clone().map(|()| accepted)
        });
        assert_eq!(count, asked);
        assert!(format!("{answer:?}").starts_with(text), "{answer:?}");
    }

    #[test]
    fn without_an_answer_it_is_asked_again_with_its_id() {
        let gone = || Err(Unanswered::NotSent("gone".to_owned()));
        let silent = || Err(Unanswered::Unknown("silent".to_owned()));
        check(promote(), &[Ok(())], 1, "Ok");
        check(promote(), &[silent(), silent(), Ok(())], 3, "Ok");
        check(promote(), &[gone()], 1, "Err(NotSent");
        check(promote(), &[silent(), gone(), Ok(())], 3, "Ok");
        check(rollback(), &[gone(), silent(), gone(), Ok(())], 4, "Ok");
    }
}
