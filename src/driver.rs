//! The loop between the engine and the world.
//!
//! Decides only order and pace:
//!
//! 1. wait for an input, the engine's next deadline, or the end
//! 2. drain every ready input, commands and routers first, and take the time
//! 3. hand each to the engine
//! 4. hand it the deadline, if one is due
//! 5. perform the effects
//! 6. publish the newest snapshot, and go to 1
//!
//! Never blocks: what can take time runs in a task or a thread of its own. Contract: one engine
//! for one state directory, held by a lock on it.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use engine::command::Reply;
use engine::snapshot::Snapshot;
use engine::types::{Now, Time};
use engine::{Effect, Engine, Input};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

use crate::config::Loaded;
use crate::io::clock::Alarm;
use crate::io::journal::sqlite::Journal;
use crate::io::socket::FromClient;
use crate::io::{World, clock, socket, wire};

/// Snapshots go out at most this often, but at once for a change of an operation.
const FRAME: Duration = Duration::from_millis(50);

/// New figures of what is watched go out once a second, this long before the consoles' clocks
/// turn: they draw both at once.
const BEFORE_SECOND: Duration = Duration::from_millis(10);

/// Clients hear at least this often that the engine is alive, whether or not anything changed.
const BEAT: Duration = Duration::from_secs(2);

/// Making and sending a snapshot of much takes at most one part in so many of the time.
const IDLE_SHARE: u32 = 50;

/// An engine started on demand ends when this long nobody looked and nothing was going on, unless
/// it has something to watch over.
const IDLE_EXIT: Duration = Duration::from_secs(5);

/// Inputs taken in one turn; the rest waits for the next, so that snapshots keep coming.
const TURN_INPUTS_MAX: usize = 1024;

pub struct Options {
    pub state_dir: PathBuf,
    /// End when idle, because a client started it.
    pub on_demand: bool,
}

/// Runs the engine of a state directory until it is told to end.
pub fn run(loaded: Loaded, options: &Options) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("starting the runtime: {error}"))?;
    let result = tokio::task::LocalSet::new().block_on(&runtime, serve(loaded, options));
    // A disk that does not answer must not keep the process.
    runtime.shutdown_background();
    result
}

async fn serve(loaded: Loaded, options: &Options) -> Result<(), String> {
    crate::io::state::private_dir(&options.state_dir)?;
    let Some(_lock) = lock(options)? else {
        // Another client was faster; its engine serves this one too.
        return Ok(());
    };
    // A journal that cannot be written keeps nobody from a rollback.
    let (journal, entries) = Journal::open_or_spool(&options.state_dir);
    let (inputs_in, inputs) = mpsc::unbounded_channel();
    let world = World::new(&loaded.engine, loaded.io, journal, &options.state_dir, inputs_in)
        .map_err(|failure| failure.text.to_string())?;
    let listener = socket::bind(&options.state_dir)?;
    let (clients_in, clients) = mpsc::channel(socket::MESSAGES_MAX);
    let (publish, snapshots) = watch::channel(None);
    let hash = loaded.engine.hash.clone();
    tokio::task::spawn_local(socket::serve(listener, hash, clients_in, snapshots));

    let now = clock::now();
    let floor = world.fence();
    let mut effects = Vec::new();
    let engine =
        Engine::recover(loaded.engine, wire::BUILD, seed(now), &entries, floor, now, &mut effects);
    // The whole history: the engine has taken from it what it needs.
    drop(entries);
    let acting = engine.acts();
    let mut driver = Driver {
        engine,
        world,
        inputs,
        clients,
        publish,
        asked: BTreeMap::new(),
        joined: 0,
        quiet_since: now.mono,
        socket: socket::identity(&options.state_dir),
        state_dir: options.state_dir.clone(),
        published: Time(0),
        beaten: Time(0),
        show_from: Time(0),
        unpublished: true,
        acting,
        on_demand: options.on_demand,
    };
    driver.perform(effects);
    driver.run().await
}

/// Not secret, only different for each start.
fn seed(now: Now) -> u64 {
    now.mono.0 ^ (u64::from(std::process::id()) << 40) ^ now.wall.timestamp_micros().unsigned_abs()
}

/// Takes the state directory for this engine. `None` when an engine that was started on demand
/// finds another in place.
fn lock(options: &Options) -> Result<Option<File>, String> {
    let path = options.state_dir.join("engine.lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|error| format!("{}: {error}", path.display()))?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) if options.on_demand => Ok(None),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            Err(format!("an engine already runs in {}", options.state_dir.display()))
        }
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

struct Driver {
    engine: Engine,
    world: World,
    /// At most one reply for each effect; the engine bounds those.
    inputs: mpsc::UnboundedReceiver<Input>,
    clients: mpsc::Receiver<FromClient>,
    publish: watch::Sender<Option<Snapshot>>,
    /// Who waits for the reply to a submission.
    asked: BTreeMap<String, mpsc::Sender<Reply>>,
    joined: u32,
    /// Since when nobody looks and nothing is under way.
    quiet_since: Time,
    state_dir: PathBuf,
    /// The socket that clients find, as it was bound.
    socket: Option<(u64, u64)>,
    published: Time,
    /// Clients last heard anything then.
    beaten: Time,
    /// Before this, mere figures wait.
    show_from: Time,
    unpublished: bool,
    /// Something is under way, as of the last turn.
    acting: bool,
    on_demand: bool,
}

/// What a turn begins with.
enum Wake {
    Input(Box<Input>),
    Client(FromClient),
    Due,
    End,
}

impl Driver {
    async fn run(mut self) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("listening for signals: {error}");
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let mut hangup = signal(SignalKind::hangup()).map_err(failed)?;
        let mut alarm = Alarm::new().map_err(|error| format!("setting a timer: {error}"))?;
        loop {
            let until = self.until(clock::now());
            let wake = tokio::select! {
                biased;
                Some(client) = self.clients.recv() => Wake::Client(client),
                Some(input) = self.inputs.recv() => Wake::Input(Box::new(input)),
                rung = alarm.at(until) => match rung {
                    Ok(()) => Wake::Due,
                    Err(error) => return Err(format!("waiting for a timer: {error}")),
                },
                _ = terminate.recv() => Wake::End,
                _ = interrupt.recv() => Wake::End,
                // A terminal that goes away is not the engine's business.
                _ = hangup.recv() => continue,
            };
            if self.turn(wake) {
                return Ok(());
            }
        }
    }

    /// When the next thing is to be done: a deadline, a snapshot that waits, the end of idleness.
    fn until(&self, now: Now) -> Time {
        let mut until = now.mono + Duration::from_mins(1);
        if let Some((deadline, _)) = self.engine.next_deadline() {
            until = until.min(deadline);
        }
        if self.joined > 0 {
            until = until.min(self.beaten + BEAT);
        }
        if self.unpublished && self.joined > 0 {
            until = until.min(self.show_at());
        }
        if self.on_demand && self.joined == 0 {
            // Something to watch over may keep it longer: it looks again after the same time.
            let quiet = now.mono.since(self.quiet_since) >= IDLE_EXIT;
            let since = if quiet { now.mono } else { self.quiet_since };
            until = until.min(since + IDLE_EXIT);
        }
        until
    }

    /// One turn; true when it is the last.
    fn turn(&mut self, wake: Wake) -> bool {
        let mut ready = Vec::new();
        let mut retire = false;
        match wake {
            Wake::Input(input) => ready.push(*input),
            Wake::Client(client) => retire |= self.client(client, &mut ready),
            Wake::Due => {}
            Wake::End => return true,
        }
        while let Ok(client) = self.clients.try_recv() {
            retire |= self.client(client, &mut ready);
        }
        while ready.len() < TURN_INPUTS_MAX
            && let Ok(input) = self.inputs.try_recv()
        {
            ready.push(input);
        }
        ready.sort_by_key(rank);
        let person = ready.first().is_some_and(|input| rank(input) == PERSON);
        let moved = ready.first().is_some_and(|input| rank(input) <= URGENT);
        let acted = self.acting;
        let now = clock::now();
        let mut effects = Vec::new();
        self.unpublished |= !ready.is_empty();
        for input in ready {
            self.engine.handle(now, input, &mut effects);
        }
        self.engine.handle_deadline(now, &mut effects);
        self.perform(effects);
        self.acting = self.engine.acts();
        self.show(now, person || (moved && (acted || self.acting)));
        self.beat(now);
        if self.joined > 0 || self.acting {
            self.quiet_since = now.mono;
        }
        let quiet = self.on_demand && now.mono.since(self.quiet_since) >= IDLE_EXIT;
        // A directory that was taken away has another engine soon, and nobody can ask this one.
        let ends = |own: &Driver| own.engine.is_idle(now) || !own.is_reachable();
        (quiet && ends(self)) || (retire && self.engine.may_retire())
    }

    fn is_reachable(&self) -> bool {
        socket::identity(&self.state_dir) == self.socket
    }

    /// Takes a client's message; true when it asks the engine to end.
    fn client(&mut self, message: FromClient, ready: &mut Vec<Input>) -> bool {
        match message {
            FromClient::Joined => {
                self.joined += 1;
                self.unpublished = true;
                self.show_from = Time(0);
            }
            FromClient::Left => {
                self.joined = self.joined.saturating_sub(1);
                if self.joined == 0 {
                    // Whoever comes next must not be shown how it was when the last one left.
                    self.publish.send_replace(None);
                }
            }
            FromClient::Submitted { submission, reply } => {
                self.asked.insert(submission.id.clone(), reply);
                ready.push(Input::Submitted(*submission));
            }
            FromClient::Retire => return true,
        }
        false
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Answer(reply) => self.answer(reply),
                Effect::Probe { .. }
                | Effect::ReadHost { .. }
                | Effect::ReadFeed { .. }
                | Effect::Measure { .. }
                | Effect::SetSplit { .. }
                | Effect::ReadSplit { .. }
                | Effect::Task { .. }
                | Effect::Append { .. }
                | Effect::Acknowledge { .. }
                | Effect::Notify { .. }
                | Effect::Escalate { .. } => self.world.perform(effect),
            }
        }
    }

    fn answer(&mut self, reply: Reply) {
        let (Reply::Accepted { submission, .. } | Reply::Refused { submission, .. }) = &reply;
        if let Some(client) = self.asked.remove(submission) {
            // A client that reads no answers asks again, and gets the same one.
            let _ = client.try_send(reply);
        }
    }

    /// When what is not shown yet goes out: news soon, mere figures with the next second.
    fn show_at(&self) -> Time {
        let soon = self.published + FRAME;
        if self.engine.has_news() || self.acting { soon } else { soon.max(self.show_from) }
    }

    fn show(&mut self, now: Now, urgent: bool) {
        if !self.unpublished || self.joined == 0 || !(urgent || now.mono >= self.show_at()) {
            return;
        }
        self.publish.send_replace(Some(self.engine.snapshot()));
        self.unpublished = false;
        self.published = now.mono;
        self.beaten = now.mono;
        // Clients get it in the next turns of this thread: about as dear again as making it.
        let rest = clock::now().mono.since(now.mono) * IDLE_SHARE;
        self.show_from = second_after(now.mono + rest.max(FRAME));
    }

    /// What was shown last, again: of it nothing is sent but its end.
    fn beat(&mut self, now: Now) {
        if self.joined > 0 && now.mono.since(self.beaten) >= BEAT {
            self.publish.send_modify(|_| {});
            self.beaten = now.mono;
        }
    }
}

/// Just before the next whole second of the clock that consoles draw by.
fn second_after(time: Time) -> Time {
    let lead = u64::try_from(BEFORE_SECOND.as_micros()).unwrap_or(0);
    Time((time.0 + lead).next_multiple_of(1_000_000).saturating_sub(lead))
}

/// What a person asked for; it is shown at once.
const PERSON: u8 = 0;

/// Inputs up to this rank change an operation: what they change is shown at once.
const URGENT: u8 = 2;

/// The order within a turn: people, then routers, then the journal, then what is watched.
fn rank(input: &Input) -> u8 {
    match input {
        Input::Submitted(_) => PERSON,
        Input::SplitSet { .. } | Input::SplitRead { .. } | Input::TaskEnded { .. } => 1,
        Input::Appended { .. } | Input::Responded { .. } | Input::Notified { .. } => 2,
        Input::Probed { .. } | Input::HostRead { .. } | Input::Measured { .. } => 3,
        Input::FeedRead { .. } => 4,
    }
}
