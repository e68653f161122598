//! The managed file at rest: what nginx runs, or the next reload of anybody changes the traffic.
//!
//! Decides when a file that is ahead of nginx, as a kill between rename and reload leaves it, is
//! put back. Never touches one that a person edited, or that another engine is at. Contract: it was
//! ahead for longer than any reload takes; both contents stay beside it, so that a reading can
//! still tell what runs.

use std::time::{Duration, Instant};

use engine::types::{Failure, FailureKind, Fence};

use super::conf::Conf;
use super::{Memory, Place, load, proof, read_file, replace, sibling, write_failure};
use crate::io::router::Deadline;

/// A reload that was asked for is over by then: a master that cannot bind tries for 2.5 s.
const REST_AFTER: Duration = Duration::from_secs(3);

/// One question before a write; without an answer the file counts as what runs.
const ASK_TIME: Duration = Duration::from_millis(200);

/// Where what was put back stood before.
const DISPLACED: &str = "displaced";

/// A file that nginx does not run.
#[derive(Clone, Debug)]
pub struct Ahead {
    since: Instant,
    fence: Fence,
    generation: String,
    running: String,
    /// What nginx runs.
    text: String,
}

/// The kept file of this generation, if it moves the configured block.
pub(super) async fn find(
    place: &Place<'_>,
    memory: &Memory,
    running: &str,
    deadline: Deadline,
) -> Result<Option<(Conf, String)>, Failure> {
    let mut texts = Vec::new();
    for suffix in ["previous", DISPLACED] {
        texts.extend(read_file(&sibling(place.file, suffix), deadline).await?);
    }
    texts.extend(memory.previous.as_ref().map(Conf::print));
    let conf = |text: String| Some((Conf::parse(&text).ok()?, text));
    let runs = |conf: &Conf| conf.generation() == running && place.misfit(conf).is_none();
    Ok(texts.into_iter().filter_map(conf).find(|(conf, _)| runs(conf)))
}

/// What a write that fails must put back: the file, unless nginx runs the one that was kept.
pub(super) async fn what_runs(
    place: &Place<'_>,
    memory: &Memory,
    file: Option<String>,
    deadline: Deadline,
) -> Option<String> {
    let held = file.as_deref().map(Conf::parse)?.ok().map(|conf| conf.generation());
    let Ok(running) = proof::ask(place.proof, deadline.left().min(ASK_TIME)).await else {
        return file;
    };
    if held.as_ref() == Some(&running) {
        return file;
    }
    match find(place, memory, &running, deadline).await {
        Ok(Some((_, text))) => Some(text),
        Ok(None) | Err(_) => file,
    }
}

/// A reading found `held` in the file, and nginx at what `text` says.
pub(super) fn seen(memory: &Memory, held: &Conf, running: &str, text: String) {
    let generation = held.generation();
    let mut ahead = memory.ahead.borrow_mut();
    let same = |it: &Ahead| it.generation == generation && it.running == running;
    if !ahead.as_ref().is_some_and(same) {
        let (since, fence, running) = (Instant::now(), held.fence, running.to_owned());
        *ahead = Some(Ahead { since, fence, generation, running, text });
    }
}

/// Puts the file back that nginx runs, if it is time; what became of it.
pub async fn repair(place: &Place<'_>, memory: &Memory, deadline: Deadline) -> Option<String> {
    let ahead = memory.ahead.borrow().clone()?;
    if ahead.since.elapsed() < REST_AFTER {
        return None;
    }
    let running = proof::ask(place.proof, deadline.left()).await.ok()?;
    if running != ahead.running {
        return None;
    }
    let Ahead { fence, generation, text, .. } = ahead;
    let (file, shown) = (place.file.to_owned(), generation.clone());
    let work = move || {
        let now = load(&file)?.unwrap_or_default();
        if Conf::parse(&now).map(|conf| conf.generation()).as_ref() != Ok(&generation) {
            let text = "the file changed meanwhile: left as it is";
            return Err(Failure::new(FailureKind::Refused, text));
        }
        replace(&sibling(&file, DISPLACED), &now)
            .and_then(|()| replace(&file, &text))
            .map_err(|error| write_failure(&file, &error))
    };
    let done = std::sync::Arc::clone(&memory.disk).change(fence, deadline, work).await;
    Some(match done {
        Ok(()) => {
            memory.ahead.replace(None);
            format!("the file was ahead of nginx ({shown}): what runs is put back")
        }
        Err(failure) => format!("the file is ahead of nginx: {}", failure.text),
    })
}
