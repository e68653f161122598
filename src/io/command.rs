//! Runs one program by its argument list, bounded in time and output; stands in until the full one.

use std::process::Stdio;
use std::time::Duration;

use engine::types::{Failure, FailureKind};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::process::Command;

/// Enough for the report of a configuration test.
const OUTPUT_BYTES_MAX: u64 = 64 * 1024;

/// What a program left behind.
#[derive(Clone, Debug)]
pub struct Output {
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub truncated: bool,
}

/// Ends the whole process group when dropped.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

/// Runs `argv` in a process group of its own, which is ended at the deadline.
pub async fn run(
    argv: &[String],
    _stdin: Option<&[u8]>,
    timeout: Duration,
) -> Result<Output, Failure> {
    let Some((program, rest)) = argv.split_first() else {
        return Err(Failure::new(FailureKind::Malformed, "the argument list is empty"));
    };
    let mut child = Command::new(program)
        .args(rest)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| {
            Failure::new(FailureKind::Unreachable, format!("cannot start {program}: {error}"))
        })?;
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let mut group = Group(pid);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(Failure::new(FailureKind::Malformed, "the program has no output"));
    };
    let (mut stdout, mut stderr) = (stdout.take(OUTPUT_BYTES_MAX), stderr.take(OUTPUT_BYTES_MAX));
    let work = async {
        let (first, second, status) =
            tokio::join!(stdout.read_to_end(&mut out), stderr.read_to_end(&mut err), child.wait());
        first.and(second).and(status)
    };
    let status = match tokio::time::timeout(timeout, work).await {
        Ok(Ok(status)) => status,
        Ok(Err(error)) => {
            return Err(Failure::new(FailureKind::Refused, format!("{program}: {error}")));
        }
        Err(_) => {
            let text = format!("{program} did not end within {timeout:?} and was killed");
            return Err(Failure::new(FailureKind::Timeout, text));
        }
    };
    group.0 = None;
    Ok(Output { code: status.code(), stdout: out, stderr: err, truncated: false })
}
