//! What the page of a node exporter says about its machine.
//!
//! Decides which series are the machine's own: real file systems, networks other than the
//! loopback. Never trusts two pages in a row: a counter that fell gives no rate. Contract: pure.

use std::collections::BTreeMap;
use std::time::Duration;

use engine::reading::{Disk, HostReading, Temperature};
use engine::types::{Failure, FailureKind, Now, Untrusted};

use super::percent;
use crate::io::metrics::exposition::Sample;

/// More rows than a panel can show.
const DISKS_MAX: usize = 32;
const TEMPERATURES_MAX: usize = 32;
/// File systems without storage of their own.
const VIRTUAL: [&str; 15] = [
    "tmpfs",
    "devtmpfs",
    "squashfs",
    "iso9660",
    "proc",
    "sysfs",
    "ramfs",
    "cgroup",
    "cgroup2",
    "devpts",
    "mqueue",
    "nsfs",
    "tracefs",
    "debugfs",
    "fuse.lxcfs",
];

/// The counters of one page that only mean something beside the page before.
pub(super) struct Counters {
    at: Now,
    /// Seconds by core and mode.
    cpu: BTreeMap<(String, String), f64>,
    received: BTreeMap<String, f64>,
    transmitted: BTreeMap<String, f64>,
}

impl Counters {
    pub(super) fn from_page(page: &[Sample], at: Now) -> Counters {
        let device = |name: &str| {
            page.iter()
                .filter(|sample| sample.name == name && sample.label("device") != "lo")
                .map(|sample| (sample.label("device").to_owned(), sample.value))
                .collect()
        };
        let cpu = page.iter().filter(|sample| sample.name == "node_cpu_seconds_total");
        let key = |sample: &Sample| (sample.label("cpu").into(), sample.label("mode").into());
        Counters {
            at,
            cpu: cpu.map(|sample| (key(sample), sample.value)).collect(),
            received: device("node_network_receive_bytes_total"),
            transmitted: device("node_network_transmit_bytes_total"),
        }
    }

    fn cpu_percent(&self, before: &Counters) -> Option<f64> {
        let (mut idle, mut total) = (0.0, 0.0);
        for ((core, mode), after) in &self.cpu {
            let before = before.cpu.get(&(core.clone(), mode.clone()))?;
            let spent = after - before;
            // The kernel's idle and iowait may step back by a hair; only a real fall is a reset.
            if spent < -1.0 {
                return None;
            }
            total += spent.max(0.0);
            if matches!(mode.as_str(), "idle" | "iowait") {
                idle += spent.max(0.0);
            }
        }
        percent(total - idle, total)
    }
}

/// Bytes a second over all devices; a device that is new or fell makes it no data.
fn rate(
    before: &BTreeMap<String, f64>,
    after: &BTreeMap<String, f64>,
    span: Duration,
) -> Option<f64> {
    let seconds = span.as_secs_f64();
    if after.is_empty() || seconds <= 0.0 {
        return None;
    }
    let mut moved = 0.0;
    for (device, after) in after {
        let rise = after - before.get(device)?;
        if rise < 0.0 {
            return None;
        }
        moved += rise;
    }
    Some(moved / seconds)
}

pub(super) fn reading(
    page: &[Sample],
    counters: &Counters,
    before: Option<&Counters>,
) -> Result<HostReading, Failure> {
    if !page.iter().any(|sample| sample.name.starts_with("node_")) {
        let text = "node exporter: the page has no node_ series";
        return Err(Failure::new(FailureKind::Malformed, text));
    }
    let first = |name: &str| page.iter().find(|sample| sample.name == name).map(|s| s.value);
    let span = before.map_or(Duration::ZERO, |before| counters.at.mono.since(before.at.mono));
    let total = first("node_memory_MemTotal_bytes");
    let available = first("node_memory_MemAvailable_bytes");
    let swap = first("node_memory_SwapTotal_bytes").zip(first("node_memory_SwapFree_bytes"));
    let load = [first("node_load1"), first("node_load5"), first("node_load15")];
    let started = first("node_boot_time_seconds").zip(first("node_time_seconds"));
    Ok(HostReading {
        cpu_percent: before.and_then(|before| counters.cpu_percent(before)),
        memory_percent: total.zip(available).and_then(|(all, rest)| percent(all - rest, all)),
        memory_total_bytes: total.and_then(whole),
        swap_percent: swap.and_then(|(all, rest)| percent(all - rest, all)),
        load: if let [Some(one), Some(five), Some(fifteen)] = load {
            Some([one, five, fifteen])
        } else {
            None
        },
        processes: processes(page),
        network_receive_bytes_per_s: before
            .and_then(|before| rate(&before.received, &counters.received, span)),
        network_transmit_bytes_per_s: before
            .and_then(|before| rate(&before.transmitted, &counters.transmitted, span)),
        disks: disks(page),
        temperatures: temperatures(page),
        uptime: started.and_then(|(boot, now)| Duration::try_from_secs_f64(now - boot).ok()),
        clock_ahead_s: None,
    })
}

/// The exporter counts processes only when asked to (`--collector.processes`).
fn processes(page: &[Sample]) -> Option<u64> {
    let states = page.iter().filter(|sample| sample.name == "node_processes_state");
    let sum = states.map(|sample| sample.value).reduce(|a, b| a + b);
    sum.and_then(whole)
}

fn disks(page: &[Sample]) -> Vec<Disk> {
    let mut free = BTreeMap::new();
    for sample in page.iter().filter(|sample| sample.name == "node_filesystem_avail_bytes") {
        free.insert((sample.label("device"), sample.label("mountpoint")), sample.value);
    }
    let mut shown: BTreeMap<&str, Disk> = BTreeMap::new();
    for sample in page.iter().filter(|sample| sample.name == "node_filesystem_size_bytes") {
        let (device, mount) = (sample.label("device"), sample.label("mountpoint"));
        let Some(free) = free.get(&(device, mount)) else { continue };
        let Some(total_bytes) = whole(sample.value) else { continue };
        let Some(used_percent) = percent(sample.value - free, sample.value) else { continue };
        // A device that is mounted twice is one disk.
        if VIRTUAL.contains(&sample.label("fstype"))
            || shown.contains_key(device)
            || shown.len() >= DISKS_MAX
        {
            continue;
        }
        let mount = Untrusted::new(mount);
        shown.insert(device, Disk { mount, used_percent, total_bytes });
    }
    let mut disks: Vec<Disk> = shown.into_values().collect();
    disks.sort_by(|a, b| a.mount.cmp(&b.mount));
    disks
}

fn temperatures(page: &[Sample]) -> Vec<Temperature> {
    let mut sensors = BTreeMap::new();
    for sample in page.iter().filter(|sample| sample.name == "node_hwmon_sensor_label") {
        sensors.insert((sample.label("chip"), sample.label("sensor")), sample.label("label"));
    }
    let shown = page.iter().filter_map(|sample| match sample.name.as_str() {
        "node_hwmon_temp_celsius" => {
            let (chip, sensor) = (sample.label("chip"), sample.label("sensor"));
            let named = sensors.get(&(chip, sensor)).map(|name| (*name).to_owned());
            let label = named.unwrap_or_else(|| format!("{chip} {sensor}"));
            Some(Temperature { label: Untrusted::new(&label), celsius: sample.value })
        }
        "node_thermal_zone_temp" => {
            let label = Untrusted::new(sample.label("type"));
            Some(Temperature { label, celsius: sample.value })
        }
        _ => None,
    });
    shown.take(TEMPERATURES_MAX).collect()
}

/// A count that a page writes as a float; `None` below zero and beyond what a float counts.
fn whole(value: f64) -> Option<u64> {
    if !(0.0..9e15).contains(&value) {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded above")]
    Some(value as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::metrics::exposition;
    use engine::types::Time;

    fn read(text: &str, second: u64, before: Option<&Counters>) -> (HostReading, Counters) {
        let page = exposition::parse(text.as_bytes()).expect("a valid page");
        let wall = chrono::DateTime::from_timestamp(0, 0).expect("the beginning of time");
        let at = Now { mono: Time(second * 1_000_000), wall };
        let counters = Counters::from_page(&page, at);
        (reading(&page, &counters, before).expect("a page of a node exporter"), counters)
    }

    fn page(idle: u32, user: u32, received: u32) -> String {
        format!(
            "node_cpu_seconds_total{{cpu=\"0\",mode=\"idle\"}} {idle}\n\
             node_cpu_seconds_total{{cpu=\"0\",mode=\"user\"}} {user}\n\
             node_network_receive_bytes_total{{device=\"lo\"}} 999999\n\
             node_network_receive_bytes_total{{device=\"eth0\"}} {received}\n"
        )
    }

    fn check(after: &str, cpu: Option<f64>, received: Option<f64>) {
        let (first, counters) = read(&page(100, 100, 1000), 0, None);
        assert_eq!((first.cpu_percent, first.network_receive_bytes_per_s), (None, None));
        let (second, _) = read(after, 10, Some(&counters));
        assert_eq!((second.cpu_percent, second.network_receive_bytes_per_s), (cpu, received));
    }

    #[test]
    fn rates_are_differences_and_a_fall_is_no_data() {
        check(&page(175, 125, 3000), Some(25.0), Some(200.0));
        check(&page(2, 1, 10), None, None);
        check(&page(100, 100, 1000), None, Some(0.0));
        check("node_load1 1\n", None, None);
    }

    #[test]
    fn the_rest_of_a_page() {
        let (reading, _) = read(
            "node_memory_MemTotal_bytes 1000\nnode_memory_MemAvailable_bytes 250\n\
             node_memory_SwapTotal_bytes 0\nnode_memory_SwapFree_bytes 0\n\
             node_load1 1\nnode_load5 2\nnode_load15 3\n\
             node_filesystem_size_bytes{device=\"/dev/a\",fstype=\"ext4\",mountpoint=\"/\"} 100\n\
             node_filesystem_avail_bytes{device=\"/dev/a\",fstype=\"ext4\",mountpoint=\"/\"} 40\n\
             node_filesystem_size_bytes{device=\"t\",fstype=\"tmpfs\",mountpoint=\"/run\"} 100\n\
             node_filesystem_avail_bytes{device=\"t\",fstype=\"tmpfs\",mountpoint=\"/run\"} 40\n\
             node_hwmon_temp_celsius{chip=\"c\",sensor=\"t1\"} 42.5\n\
             node_hwmon_sensor_label{chip=\"c\",sensor=\"t1\",label=\"Core 0\"} 1\n\
             node_boot_time_seconds 100\nnode_time_seconds 160\n",
            0,
            None,
        );
        assert_eq!(reading.memory_percent, Some(75.0));
        assert_eq!(reading.swap_percent, None, "no swap is no figure");
        assert_eq!(reading.load, Some([1.0, 2.0, 3.0]));
        assert_eq!((reading.disks.len(), reading.disks[0].used_percent), (1, 60.0));
        assert_eq!(reading.temperatures[0].label.display(), "Core 0");
        assert_eq!(reading.uptime, Some(Duration::from_mins(1)));
        assert_eq!(reading.processes, None);
    }

    #[test]
    fn another_page_is_refused() {
        let page = exposition::parse(b"up 1\n").expect("a valid page");
        let wall = chrono::DateTime::from_timestamp(0, 0).expect("the beginning of time");
        let counters = Counters::from_page(&page, Now { mono: Time(0), wall });
        assert!(reading(&page, &counters, None).is_err());
    }
}
