//! What processes cost, read from outside.
//!
//! Decides which figures of `/proc` are counted, of every thread: CPU in nanoseconds, voluntary
//! switches, resident memory (whole, and with each page shared among those that have it). Never
//! asks the measured program. Contract: a process that is gone counts nothing.

use std::fs;
use std::path::Path;
use std::time::Duration;

/// Sums over processes, at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    pub cpu: Duration,
    /// Each time that a thread went to sleep by itself: as many wake-ups.
    pub wakes: u64,
    pub resident_kb: u64,
    /// The same, with each page shared among those that have it.
    pub proportional_kb: u64,
}

impl Usage {
    pub fn of(pids: &[i32]) -> Usage {
        let mut sum = Usage::default();
        for pid in pids {
            let place = format!("/proc/{pid}");
            sum.resident_kb += field(&format!("{place}/status"), "VmRSS:");
            sum.proportional_kb += field(&format!("{place}/smaps_rollup"), "Pss:");
            let threads = fs::read_dir(format!("{place}/task")).into_iter().flatten();
            for thread in threads.filter_map(Result::ok) {
                sum.cpu += on_cpu(&thread.path());
                let status = thread.path().join("status");
                sum.wakes += field(&status.to_string_lossy(), "voluntary_ctxt_switches:");
            }
        }
        sum
    }
}

/// Nanoseconds on a processor: the first figure of the scheduler's own count.
fn on_cpu(thread: &Path) -> Duration {
    let text = fs::read_to_string(thread.join("schedstat")).unwrap_or_default();
    let nanos = text.split(' ').next().and_then(|figure| figure.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

fn field(path: &str, name: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// This process and all that descend from it.
pub fn tree(root: i32) -> Vec<i32> {
    let mut all = vec![root];
    let mut next = 0;
    while let Some(pid) = all.get(next).copied() {
        next += 1;
        let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten();
        for thread in threads.filter_map(Result::ok) {
            let text = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            all.extend(text.split_whitespace().filter_map(|child| child.parse::<i32>().ok()));
        }
    }
    all
}

/// The processor's name: figures are of this machine only.
pub fn machine() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    format!("{} × {cores}", model.map_or("an unnamed processor", |(_, name)| name))
}

/// How much of the machine others took, as a share of one core: figures beside a busy neighbour
/// are worth less.
pub fn busy() -> Duration {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    let ticks: Vec<u64> = line.split_whitespace().skip(1).flat_map(str::parse).collect();
    // user, nice, system, then idle and waiting, then interrupts; a tick is 10 ms.
    let used = ticks.iter().take(3).sum::<u64>() + ticks.iter().skip(5).take(3).sum::<u64>();
    Duration::from_millis(used * 10)
}
