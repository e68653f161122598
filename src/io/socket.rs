//! The engine's end of its socket.
//!
//! Decides who a client is, by the kernel's word. Never lets a slow client hold up the engine:
//! each has a task of its own that sends the newest snapshot and skips those it missed. Contract:
//! the socket is 0600 inside a 0700 directory, so that only its owner and root get in.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use engine::command::{Reply, Submission};
use engine::snapshot::Snapshot;
use engine::types::{Actor, Untrusted};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};

use crate::io::wire::{self, BUILD, LINE_BYTES_MAX, ToClient, ToEngine};

/// File name of the socket in the state directory.
pub const NAME: &str = "engine.sock";

/// A client that takes nothing for this long is gone.
const WRITE_PATIENCE: Duration = Duration::from_secs(30);

/// A picture goes out in pieces of about this size: the first of ten thousand probes is megabytes.
const PIECE_BYTES: usize = 64 * 1024;

/// Messages of all clients that the driver has not taken yet; a client with more waits to be read.
pub const MESSAGES_MAX: usize = 256;

/// Answers that a client has not been sent yet; who asks on without reading asks again by name.
const REPLIES_MAX: usize = 64;

/// What the clients tell the driver.
pub enum FromClient {
    Joined,
    Left,
    Submitted { submission: Box<Submission>, reply: mpsc::Sender<Reply> },
    Retire,
}

/// Binds the socket, replacing one that a dead engine left (the directory's lock is held).
pub fn bind(dir: &Path) -> Result<UnixListener, String> {
    let path = dir.join(NAME);
    match std::fs::remove_file(&path) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(format!("{}: {error}", path.display())),
    }
    let listener = UnixListener::bind(&path).map_err(|error| {
        format!("{}: {error} (a socket's path may have at most 107 bytes)", path.display())
    })?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))
        .map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(listener)
}

/// Device and inode of the socket that clients find in the directory; `None` when there is none.
#[must_use]
pub fn identity(dir: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(dir.join(NAME)).ok().map(|meta| (meta.dev(), meta.ino()))
}

/// Accepts clients for ever, and tells each what this engine runs on.
pub async fn serve(
    listener: UnixListener,
    config_hash: String,
    driver: mpsc::Sender<FromClient>,
    snapshots: watch::Receiver<Option<Snapshot>>,
) {
    let hello = wire::encode(&ToClient::Hello {
        build: BUILD.to_owned(),
        pid: std::process::id(),
        config_hash,
    });
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let (driver, snapshots) = (driver.clone(), snapshots.clone());
                let hello = hello.clone();
                tokio::task::spawn_local(async move {
                    if driver.send(FromClient::Joined).await.is_ok() {
                        client(stream, &hello, &driver, snapshots).await;
                        let _ = driver.send(FromClient::Left).await;
                    }
                });
            }
            // Out of descriptors, most likely: clients can wait, the engine's work cannot.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn client(
    stream: UnixStream,
    hello: &str,
    driver: &mpsc::Sender<FromClient>,
    mut snapshots: watch::Receiver<Option<Snapshot>>,
) {
    let Ok(peer) = stream.peer_cred() else { return };
    let mut actor = Actor { user: user_name(peer.uid()), uid: Some(peer.uid()), ssh: None };
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read.take(LINE_BYTES_MAX as u64));
    let (reply, mut replies) = mpsc::channel(REPLIES_MAX);
    if write.write_all(hello.as_bytes()).await.is_err() {
        return;
    }
    snapshots.mark_changed();
    let mut sent: Option<Snapshot> = None;
    let mut line = String::new();
    loop {
        tokio::select! {
            biased;
            Some(reply) = replies.recv() => {
                if !send(&mut write, &wire::encode(&ToClient::Reply(reply))).await {
                    return;
                }
            }
            got = lines.read_line(&mut line) => {
                if !matches!(got, Ok(1..)) || !line.ends_with('\n') {
                    return;
                }
                lines.get_mut().set_limit(LINE_BYTES_MAX as u64);
                let Ok(message) = serde_json::from_str(&line) else { return };
                line.clear();
                match message {
                    ToEngine::Hello { ssh, .. } => actor.ssh = ssh,
                    ToEngine::Submit(mut submission) => {
                        submission.actor = actor.clone();
                        let reply = reply.clone();
                        let message = FromClient::Submitted { submission, reply };
                        if driver.send(message).await.is_err() {
                            return;
                        }
                    }
                    ToEngine::Retire => {
                        let _ = driver.send(FromClient::Retire).await;
                    }
                }
            }
            changed = snapshots.changed() => {
                if changed.is_err() {
                    return;
                }
                let Some(newest) = snapshots.borrow_and_update().clone() else { continue };
                let mut out = String::new();
                for section in newest.changes_since(sent.as_ref()) {
                    out.push_str(&wire::encode(&ToClient::Section(section)));
                    if out.len() >= PIECE_BYTES {
                        if !send(&mut write, &out).await {
                            return;
                        }
                        out.clear();
                    }
                }
                out.push_str(&wire::encode(&ToClient::Whole));
                if !send(&mut write, &out).await {
                    return;
                }
                sent = Some(newest);
            }
        }
    }
}

/// False when the client is gone, or takes nothing.
async fn send(write: &mut OwnedWriteHalf, text: &str) -> bool {
    let written = tokio::time::timeout(WRITE_PATIENCE, write.write_all(text.as_bytes())).await;
    matches!(written, Ok(Ok(())))
}

/// The name that this machine gives to a user id; the number where it gives none.
/// The user's name, or the number where it has none.
#[must_use]
pub fn user_name(uid: u32) -> Untrusted {
    let table = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let named = table.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then_some(name)
    });
    named.map_or_else(|| Untrusted::new(&format!("uid {uid}")), Untrusted::new)
}
