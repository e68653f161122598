//! Runs a program by its argument list.
//!
//! Decides what such a program gets and how it ends: no shell, a cleared environment, limits on
//! what it uses, a process group of its own that is killed as a whole. Never passes a secret on a
//! command line by itself, and never shows an argument in an error, since a user may have put one
//! there. Contract: `run` returns within its timeout plus `REAP_TIMEOUT` and keeps at most
//! [`OUTPUT_BYTES_MAX`] of each stream; whatever the program leaves behind in its group is killed.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use engine::types::{Failure, FailureKind};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process_group, prlimit};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin};

/// Enough for a page of JSON; a program that writes more is read on, but not kept.
pub const OUTPUT_BYTES_MAX: usize = 64 * 1024;
/// The end of a flood: enough for the last lines that a person reads.
const LAST_BYTES_MAX: usize = 16 * 1024;
/// A killed process is gone at once unless the kernel holds it; then nobody should wait for it.
const REAP_TIMEOUT: Duration = Duration::from_millis(200);
/// A program's last words are in the pipe when it ends; only its leftovers hold it open longer.
const LEFTOVER_TIMEOUT: Duration = Duration::from_millis(100);
/// What programs need to find themselves, their user and their language.
const ENVIRONMENT: [&str; 9] =
    ["PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR"];

/// What the kernel allows a program, and all that it starts, beside the timeout: an end for what
/// leaves its group, far above what a test or a query needs. Whatever is less already stays.
const LIMITS: [(Resource, u64); 4] = [
    // Seconds of work, not of waiting.
    (Resource::Cpu, 60),
    // So high because a line added to an old log counts as the whole log.
    (Resource::Fsize, 16 * 1024 * 1024 * 1024),
    // The memory of a crash may hold what was fed to it.
    (Resource::Core, 0),
    // The test of a proxy's configuration may open a file for each listener and log.
    (Resource::Nofile, 65_536),
];

/// A restore or a build keeps about that many busy.
const PROCESSORS: u64 = 8;

/// What a program said before it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// `None` when a signal ended it.
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    /// At least one stream was longer than what is kept of it.
    pub truncated: bool,
}

/// The end of what a program said on both streams, line by line as it came; also of one that was
/// killed.
#[derive(Debug, Default)]
pub struct Last(Mutex<Said>);

#[derive(Debug, Default)]
struct Said {
    lines: Vec<u8>,
    /// Of each stream, the line that is not ended yet.
    open: [Vec<u8>; 2],
}

impl Last {
    fn hear(&self, stream: usize, bytes: &[u8]) {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut open = std::mem::take(&mut said.open[stream]);
        open.extend_from_slice(bytes);
        let whole = open.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        said.lines.extend(open.drain(..whole));
        said.open[stream] = open;
        let Said { lines, open: [out, err] } = &mut *said;
        for kept in [lines, out, err] {
            kept.drain(..kept.len().saturating_sub(LAST_BYTES_MAX));
        }
    }

    #[must_use]
    pub fn words(&self) -> String {
        let said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let [out, err] = &said.open;
        let all = [said.lines.as_slice(), out, b"\n", err].concat();
        String::from_utf8_lossy(&all).into_owned()
    }
}

/// Runs `argv` with `stdin` (nothing when `None`) and waits for its end.
pub async fn run(
    argv: &[String],
    stdin: Option<&str>,
    timeout: Duration,
) -> Result<Output, Failure> {
    run_with(argv, &[], stdin, timeout, &Last::default()).await
}

/// The same with variables of its own; `last` hears what it says.
pub async fn run_with(
    argv: &[String],
    env: &[(&str, String)],
    stdin: Option<&str>,
    timeout: Duration,
    last: &Last,
) -> Result<Output, Failure> {
    let Some((program, arguments)) = argv.split_first() else {
        return Err(Failure::new(FailureKind::Malformed, "run a command: no program is named"));
    };
    let failed = |kind, why: &str| Failure::new(kind, format!("run {program}: {why}"));
    let mut command = tokio::process::Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(ENVIRONMENT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
        .envs(env.iter().map(|(name, value)| (name, value)))
        .stdin(if stdin.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| failed(kind_of(&error), &error.to_string()))?;
    let group = Group::of(&child);
    group.limit(timeout);
    match tokio::time::timeout(timeout, attend(&mut child, stdin, last)).await {
        Ok(Ok(output)) => {
            drop(group);
            Ok(output)
        }
        Ok(Err(error)) => Err(failed(FailureKind::Malformed, &error.to_string())),
        Err(_) => {
            drop(group);
            // Reaped here so that no zombie stays; the runtime does it later if this is too short.
            let _ = tokio::time::timeout(REAP_TIMEOUT, child.wait()).await;
            Err(failed(FailureKind::Timeout, &format!("no end within {timeout:?}")))
        }
    }
}

fn kind_of(error: &io::Error) -> FailureKind {
    match error.kind() {
        io::ErrorKind::PermissionDenied => FailureKind::Denied,
        _ => FailureKind::Unreachable,
    }
}

/// Kills all that is left of a group when it goes out of scope, also when the caller gives up.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Group {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Group(id.and_then(Pid::from_raw))
    }

    /// Set from outside, as soon as the program is loaded: before it is fed, though not before its
    /// first instruction.
    fn limit(&self, timeout: Duration) {
        for (resource, most) in LIMITS {
            // What may go on for an hour may also work for an hour, on several processors.
            let span = timeout.as_secs();
            let long = resource == Resource::Cpu && span > most;
            let most = if long { span.saturating_mul(PROCESSORS) } else { most };
            let own = getrlimit(resource);
            let lower = |limit: Option<u64>| Some(limit.map_or(most, |limit| limit.min(most)));
            let limits = Rlimit { current: lower(own.current), maximum: lower(own.maximum) };
            if self.0.is_some() {
                // Refused for a program that runs as somebody else; the timeout holds for it too.
                let _ = prlimit(self.0, resource, limits);
            }
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // An error means that nobody is left in it.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

async fn attend(child: &mut Child, stdin: Option<&str>, last: &Last) -> io::Result<Output> {
    let feed = feed(child.stdin.take(), stdin.unwrap_or("").to_owned());
    let mut out = Kept::default();
    let mut err = Kept::default();
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let ended: io::Result<ExitStatus> = {
        let talk = async {
            tokio::join!(
                feed,
                drain(stdout, &mut out, (last, 0)),
                drain(stderr, &mut err, (last, 1))
            );
        };
        tokio::pin!(talk);
        tokio::select! {
            ended = child.wait() => {
                let _ = tokio::time::timeout(LEFTOVER_TIMEOUT, talk).await;
                ended
            }
            () = &mut talk => child.wait().await,
        }
    };
    Ok(Output {
        code: ended?.code(),
        truncated: out.truncated || err.truncated,
        stdout: out.bytes,
        stderr: err.bytes,
    })
}

/// A program that does not read its input is its own affair.
async fn feed(pipe: Option<ChildStdin>, text: String) {
    if let Some(mut pipe) = pipe {
        let _ = pipe.write_all(text.as_bytes()).await;
    }
}

#[derive(Default)]
struct Kept {
    bytes: Vec<u8>,
    truncated: bool,
}

async fn drain(pipe: Option<impl AsyncRead + Unpin>, kept: &mut Kept, last: (&Last, usize)) {
    let Some(mut pipe) = pipe else { return };
    let mut buffer = vec![0; 8 * 1024];
    while let Ok(count @ 1..) = pipe.read(&mut buffer).await {
        last.0.hear(last.1, &buffer[..count]);
        let room = OUTPUT_BYTES_MAX - kept.bytes.len();
        kept.bytes.extend_from_slice(&buffer[..count.min(room)]);
        kept.truncated |= count > room;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_program_and_its_children_are_limited() {
        // The limits stand before the program is fed, and it waits for that.
        let script = "read go; exec /bin/sh -c 'ulimit -c; ulimit -t; ulimit -n; ulimit -f'";
        let argv = ["/bin/sh", "-c", script].map(str::to_owned);
        let output = run(&argv, Some("go\n"), Duration::from_secs(10)).await.expect("it runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        // None is `unlimited`.
        let found: Vec<u64> = said.lines().map(|line| line.parse().expect("a limit")).collect();
        // The shell counts files in blocks of 512 bytes.
        for ((resource, most), found) in
            LIMITS.into_iter().zip([found[1], found[3].saturating_mul(512), found[0], found[2]])
        {
            assert!(found <= most, "{resource:?}: {found}");
        }
    }
}
