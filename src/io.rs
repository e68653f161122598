//! The adapters: everything that touches the world.
//!
//! Decides nothing: [`World::perform`] does what the engine asks and sends exactly one input back.
//! Never two writes to one router at once. Contract: every adapter bounds itself in time and size,
//! so every effect has its reply.

pub mod clock;
pub mod command;
pub mod feed;
pub mod host;
pub mod http;
pub mod input;
pub mod journal;
pub mod metrics;
pub mod notify;
pub mod probe;
pub mod recording;
pub mod router;
pub mod secret;
pub mod settings;
pub mod socket;
pub mod state;
pub mod task;
pub mod terminal;
pub mod wire;

use std::convert::Infallible;
use std::path::Path;
use std::rc::Rc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use engine::reading::{
    Claim, FeedReading, HostReading, Measurement, Observation, SplitReading, WriteAnswer,
};
use engine::types::{Failure, FailureKind, Fence, ServiceId, Untrusted, Weights};
use engine::{Effect, Input};
use tokio::sync::{Mutex, mpsc};

use crate::io::journal::sqlite::Journal;

/// A backstop over the adapters' own limits: a reply comes even when one of them is stuck.
const BACKSTOP: Duration = Duration::from_secs(1);

/// The journal's head is written when no append came for this long: none waits for it then.
const HEAD_PAUSE: Duration = Duration::from_millis(20);

/// An engine that ends waits this long for what is on its way to the journal; a disk that does not
/// answer must not keep it.
const JOURNAL_END: Duration = Duration::from_secs(3);

/// All adapters of one configuration.
pub struct World {
    client: http::Client,
    settings: Rc<settings::Settings>,
    hosts: Vec<Rc<Mutex<host::Reader>>>,
    feeds: Vec<Rc<Mutex<feed::Reader>>>,
    /// The only writer of each router, or why there is none.
    routers: Vec<Writer>,
    journal: Keeper,
    inputs: mpsc::UnboundedSender<Input>,
}

type Writer = Result<Rc<Mutex<router::Writer>>, Failure>;

const STUCK: &str = "the router's adapter did not return";

async fn set_split(
    writer: Writer,
    client: &http::Client,
    weights: Weights,
    fence: Fence,
    claim: &Claim,
    fallback: bool,
    budget: Duration,
) -> WriteAnswer {
    let writer = match writer {
        Ok(writer) => writer,
        Err(failure) => return WriteAnswer::Rejected { why: failure.text, newer: None },
    };
    let mut writer = writer.lock().await;
    let write = async {
        if fallback {
            writer.fall_back(client, weights, fence, claim, budget).await
        } else {
            writer.set(client, weights, fence, claim, budget).await
        }
    };
    let stuck = |_| WriteAnswer::Unknown { why: Untrusted::new(STUCK) };
    tokio::time::timeout(budget + BACKSTOP, write).await.unwrap_or_else(stuck)
}

async fn read_split(
    writer: Writer,
    client: &http::Client,
    renew: Option<&Claim>,
    budget: Duration,
) -> Result<SplitReading, Failure> {
    let writer = writer?;
    let writer = writer.lock().await;
    let read = writer.read(client, renew, budget);
    let stuck = |_| Err(Failure::new(FailureKind::Timeout, STUCK));
    tokio::time::timeout(budget + BACKSTOP, read).await.unwrap_or_else(stuck)
}

struct Append {
    id: engine::types::EffectId,
    entry: Box<engine::record::Entry>,
    safety: bool,
}

impl World {
    pub fn new(
        engine: &engine::settings::Settings,
        mut settings: settings::Settings,
        journal: Journal,
        state_dir: &Path,
        inputs: mpsc::UnboundedSender<Input>,
    ) -> Result<World, Failure> {
        probe::close_seldom(&mut settings.probes, &engine.probes);
        let identity = router::lease::Identity::here(&engine.environment.name, state_dir);
        let targets = settings.routers.iter().zip(&settings.fallbacks);
        let routers = engine.routers.iter().zip(targets).map(|(own, (target, fallback))| {
            let service = &engine.services[own.service.index()].name;
            let name = format!("{service}.{}", own.name);
            let writer = router::Writer::open(&name, target.clone(), &identity, state_dir)?;
            Ok(Rc::new(Mutex::new(writer.with_fallback(fallback.clone()))))
        });
        let feeds =
            engine.feeds.iter().zip(&settings.feeds).map(|(own, target)| {
                Rc::new(Mutex::new(feed::Reader::new(&own.name, target.clone())))
            });
        let hosts =
            settings.hosts.iter().map(|host| Rc::new(Mutex::new(host::Reader::new(host.clone()))));
        Ok(World {
            client: http::Client::new()?,
            hosts: hosts.collect(),
            feeds: feeds.collect(),
            routers: routers.collect(),
            journal: Keeper::start(journal, inputs.clone())?,
            settings: Rc::new(settings),
            inputs,
        })
    }

    /// The highest fence that any router's writer has seen.
    #[must_use]
    pub fn fence(&self) -> Fence {
        let writers = self.routers.iter().flatten();
        writers
            .filter_map(|writer| writer.try_lock().ok().map(|writer| writer.max_fence()))
            .max()
            .unwrap_or_default()
    }

    /// Starts the effect; its reply comes as an input. Answers to clients are the driver's.
    pub fn perform(&self, effect: Effect) {
        let (client, settings) = (self.client.clone(), Rc::clone(&self.settings));
        let watch = http::Watch::default();
        let asks = self.client.watched(&watch);
        match effect {
            Effect::Probe { id, probe } => self.spawn(async move {
                let seen = probe::run(&asks, &settings.probes[probe.index()]).await;
                let observation = Observation { clock_ahead_s: watch.ahead(), ..seen };
                Input::Probed { id, probe, observation }
            }),
            Effect::ReadHost { id, host } => {
                let reader = Rc::clone(&self.hosts[host.index()]);
                self.spawn(async move {
                    let result = reader.lock().await.read(&asks).await;
                    let clock_ahead_s = watch.ahead();
                    let result = result.map(|own| HostReading { clock_ahead_s, ..own });
                    Input::HostRead { id, host, result }
                });
            }
            Effect::ReadFeed { id, feed } => {
                let reader = Rc::clone(&self.feeds[feed.index()]);
                self.spawn(async move {
                    let result = reader.lock().await.read(&asks).await;
                    let clock_ahead_s = watch.ahead();
                    let result = result.map(|own| FeedReading { clock_ahead_s, ..own });
                    Input::FeedRead { id, feed, result }
                });
            }
            Effect::Measure { id, service } => self.spawn(async move {
                let result = measure(&asks, &watch, &settings, service).await;
                Input::Measured { id, service, result }
            }),
            Effect::SetSplit { id, router, weights, fence, claim, fallback, budget } => {
                let writer = self.routers[router.index()].clone();
                self.spawn(async move {
                    let write =
                        set_split(writer, &client, weights, fence, &claim, fallback, budget);
                    let answer = write.await;
                    Input::SplitSet { id, router, answer }
                });
            }
            Effect::ReadSplit { id, router, renew, budget } => {
                let writer = self.routers[router.index()].clone();
                self.spawn(async move {
                    let result = read_split(writer, &client, renew.as_ref(), budget).await;
                    Input::SplitRead { id, router, result }
                });
            }
            Effect::Task { id, task, context, budget } => self.spawn(async move {
                let target = &settings.tasks[task.index()];
                let answer = task::perform(&client, target, &context, budget).await;
                Input::TaskEnded { id, answer }
            }),
            Effect::Append { id, entry, safety } => {
                self.journal.append(Append { id, entry, safety });
            }
            Effect::Acknowledge { id, feed, fingerprint, key, actor, comment } => {
                let reader = Rc::clone(&self.feeds[feed.index()]);
                self.spawn(async move {
                    let mut reader = reader.lock().await;
                    let result = reader.acknowledge(&client, &fingerprint, &actor, &comment).await;
                    Input::Responded { id, key, result }
                });
            }
            Effect::Escalate { id, feed, fingerprint, key, actor } => {
                let reader = Rc::clone(&self.feeds[feed.index()]);
                self.spawn(async move {
                    let result = reader.lock().await.escalate(&client, &fingerprint, &actor).await;
                    Input::Responded { id, key, result }
                });
            }
            Effect::Notify { id, channel, notice } => self.spawn(async move {
                let target = &settings.channels[channel.index()];
                let answer = notify::send(&client, target, &notice).await;
                Input::Notified { id, answer }
            }),
            Effect::Answer(_) => {}
        }
    }

    fn spawn(&self, work: impl Future<Output = Input> + 'static) {
        let inputs = self.inputs.clone();
        tokio::task::spawn_local(async move {
            let _ = inputs.send(work.await);
        });
    }
}

async fn measure(
    client: &http::Client,
    watch: &http::Watch,
    settings: &settings::Settings,
    service: ServiceId,
) -> Result<Measurement, Failure> {
    let Some(target) = &settings.signals[service.index()] else {
        return Err(Failure::new(FailureKind::Refused, "no signals are configured"));
    };
    let mut measurement = metrics::measure(client, target).await?;
    if let Some(target) = settings.tenants.get(service.index()).and_then(Option::as_ref) {
        measurement.tenants = metrics::tenants(client, target).await;
    }
    measurement.clock_ahead_s = http::farthest(measurement.clock_ahead_s, watch.ahead());
    Ok(measurement)
}

/// The journal syncs to disk, so it has a thread of its own: appends in their order, each replied.
struct Keeper {
    appends: Option<std::sync::mpsc::Sender<Append>>,
    /// Answers with an error when the thread has let go of the journal.
    ended: std::sync::mpsc::Receiver<Infallible>,
}

impl Keeper {
    fn start(
        mut journal: Journal,
        inputs: mpsc::UnboundedSender<Input>,
    ) -> Result<Keeper, Failure> {
        let (appends, receiver) = std::sync::mpsc::channel::<Append>();
        let (running, ended) = std::sync::mpsc::channel::<Infallible>();
        let work = move || {
            loop {
                let next = if journal.lags() {
                    receiver.recv_timeout(HEAD_PAUSE)
                } else {
                    receiver.recv().map_err(RecvTimeoutError::from)
                };
                match next {
                    Ok(Append { id, entry, safety }) => {
                        let result = journal.append(&entry, safety);
                        // What is on its way goes on record, also where nobody asks any more.
                        let _ = inputs.send(Input::Appended { id, result });
                    }
                    Err(RecvTimeoutError::Timeout) => {
                        journal.settle();
                        journal.keep_checkpoint();
                    }
                    Err(RecvTimeoutError::Disconnected) => break,
                }
            }
            drop(journal);
            drop(running);
        };
        std::thread::Builder::new().name("journal".to_owned()).spawn(work).map_err(|error| {
            let text = format!("starting the journal's thread: {error}");
            Failure::new(FailureKind::Refused, text)
        })?;
        Ok(Keeper { appends: Some(appends), ended })
    }

    fn append(&self, append: Append) {
        if let Some(appends) = &self.appends {
            // The thread lives as long as this does.
            let _ = appends.send(append);
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.appends = None;
        let _ = self.ended.recv_timeout(JOURNAL_END);
    }
}

#[cfg(test)]
mod tests {
    use engine::record::{Entry, Event};
    use engine::types::{Actor, EffectId};

    use super::*;

    #[test]
    fn what_is_on_its_way_is_on_record_when_the_engine_has_ended() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (journal, _) = Journal::open(dir.path()).expect("opens");
        let (inputs, asked_no_more) = mpsc::unbounded_channel();
        drop(asked_no_more);
        let keeper = Keeper::start(journal, inputs).expect("starts");
        for number in 0..3 {
            let event = Event::Started { version: "0".to_owned(), config_hash: "0".to_owned() };
            let (id, at) = (format!("test-{number}"), clock::now().wall);
            let entry = Entry { id, at, actor: Actor::engine(), event };
            keeper.append(Append { id: EffectId(number), entry: Box::new(entry), safety: false });
        }
        drop(keeper);
        let report = journal::verify(dir.path()).expect("is whole");
        assert_eq!((report.records, report.headless), (3, false));
        let head = std::fs::read_to_string(dir.path().join("journal.head")).expect("reads");
        assert!(head.contains(&report.head), "{head}");
    }
}
