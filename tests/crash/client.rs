//! A client of the engine: asks, and keeps what it was answered and shown.
//!
//! Decides nothing. Never starts an engine. Contract: what an engine sent before it died is kept,
//! so that what was promised can be held against the journal.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use engine::command::{Command, Reply, Submission};
use engine::section::Section;
use engine::snapshot::{Head, JournalState, Phase, ServiceView};
use engine::types::{Actor, Fence, Untrusted};
use quarterdeck::io::wire::{self, BUILD, ToClient, ToEngine};

use crate::product::Deck;

/// What the engine said.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    pub service: Option<ServiceView>,
    pub head: Option<Arc<Head>>,
    pub replies: Vec<Reply>,
    /// Results that were shown, by fence.
    pub results: Vec<(Fence, Phase)>,
    /// It was shown that the journal takes nothing, not even into its spool.
    pub outage: bool,
}

pub struct Client {
    write: UnixStream,
    heard: Arc<Mutex<Heard>>,
    reader: JoinHandle<()>,
}

impl Client {
    pub fn of(deck: &Deck) -> Client {
        let path = deck.state().join("engine.sock");
        let mut write = UnixStream::connect(path).expect("the engine's socket");
        let hello = ToEngine::Hello { build: BUILD.to_owned(), ssh: None };
        write.write_all(wire::encode(&hello).as_bytes()).expect("the engine listens");
        let heard = Arc::new(Mutex::new(Heard::default()));
        let own = Arc::clone(&heard);
        let read = BufReader::new(write.try_clone().expect("a second handle"));
        let reader = std::thread::spawn(move || {
            for line in read.lines() {
                // The engine was killed in the middle of a line.
                let Ok(line) = line else { return };
                let Ok(message) = serde_json::from_str(&line) else { return };
                own.lock().unwrap_or_else(PoisonError::into_inner).take(message);
            }
        });
        Client { write, heard, reader }
    }

    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn heard(&self) -> Heard {
        self.lock().clone()
    }

    /// Waits for a picture of the service that `look` accepts.
    pub fn see<T>(
        &self,
        patience: Duration,
        look: impl Fn(&ServiceView) -> Option<T>,
    ) -> Option<T> {
        let end = Instant::now() + patience;
        loop {
            let found = self.lock().service.as_ref().and_then(&look);
            if found.is_some() || Instant::now() > end || self.reader.is_finished() {
                return found;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Asks, on what is seen now, and does not wait for the answer.
    pub fn ask(&mut self, id: &str, command: Command) {
        let expected = self.lock().service.as_ref().and_then(ServiceView::expected);
        let submission = Submission {
            id: id.to_owned(),
            command,
            expected,
            seen: Untrusted::new("a test"),
            actor: Actor::engine(),
            read_only: false,
        };
        let line = wire::encode(&ToEngine::Submit(Box::new(submission)));
        // An engine that is gone already has accepted nothing.
        let _ = self.write.write_all(line.as_bytes());
    }

    pub fn reply(&self, id: &str) -> Option<Reply> {
        self.lock().replies.iter().find(|reply| submission(reply) == id).cloned()
    }

    /// All that came before the end of the connection.
    pub fn end(self) -> Heard {
        // Ended already by an engine that died; by us for one that lives.
        let _ = self.write.shutdown(std::net::Shutdown::Both);
        let _ = self.reader.join();
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.clone()
    }
}

pub fn submission(reply: &Reply) -> &str {
    match reply {
        Reply::Accepted { submission, .. } | Reply::Refused { submission, .. } => submission,
    }
}

impl Heard {
    fn take(&mut self, message: ToClient) {
        match message {
            ToClient::Reply(reply) => self.replies.push(reply),
            ToClient::Section(Section::Services(rows)) => {
                // The only one.
                self.service = rows.changed.first().map(|(_, service)| service.as_ref().clone());
                let shown = self.service.as_ref().and_then(|service| service.operation.as_ref());
                let ended = shown.filter(|shown| matches!(shown.phase, Phase::Ended(_)));
                if let Some(ended) = ended.map(|ended| (ended.fence, ended.phase))
                    && self.results.last() != Some(&ended)
                {
                    self.results.push(ended);
                }
            }
            ToClient::Section(Section::Head(head)) => {
                self.outage |= matches!(head.journal, JournalState::Lost { .. });
                self.head = Some(head);
            }
            ToClient::Section(
                Section::Probes { .. }
                | Section::Hosts(_)
                | Section::Incidents(_)
                | Section::Journal(_)
                | Section::Sources(_),
            )
            | ToClient::Hello { .. }
            | ToClient::Whole => {}
        }
    }
}
