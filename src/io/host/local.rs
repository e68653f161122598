//! This machine, through sysinfo.
//!
//! Decides which of its disks and networks are shown. Never reads a process in full: processes
//! are only counted. Contract: blocking, so it runs on a thread of its own.

use std::time::Duration;

use engine::reading::{Disk, HostReading, Temperature};
use engine::types::{Now, Untrusted};
use sysinfo::{Components, DiskRefreshKind, Disks, System};

use super::percent;

/// More rows than a panel can show.
const DISKS_MAX: usize = 32;
const TEMPERATURES_MAX: usize = 32;
/// File systems without storage of their own.
const VIRTUAL: [&str; 8] =
    ["tmpfs", "devtmpfs", "squashfs", "iso9660", "proc", "sysfs", "ramfs", "fuse.snapfuse"];

pub(super) struct Local {
    system: Option<System>,
    disks: Option<Disks>,
    components: Option<Components>,
    /// When the last read was, and the bytes received and transmitted by then.
    last: Option<(Now, Option<(u64, u64)>)>,
}

impl Local {
    pub(super) fn new() -> Local {
        Local {
            system: System::new().ok(),
            disks: Disks::new().ok(),
            components: Components::new().ok(),
            last: None,
        }
    }

    pub(super) fn read(&mut self, now: Now) -> HostReading {
        let mut reading = HostReading {
            load: System::load_average().ok().map(|load| [load.one, load.five, load.fifteen]),
            uptime: System::uptime().ok().map(Duration::from_secs),
            processes: processes(),
            disks: self.disks(),
            temperatures: self.temperatures(),
            ..HostReading::default()
        };
        if let Some(system) = &mut self.system {
            system.refresh_cpu_usage();
            system.refresh_memory();
            // A share of time needs two reads.
            let used = f64::from(system.global_cpu_usage());
            reading.cpu_percent = self.last.map(|_| used.clamp(0.0, 100.0));
            let total = system.total_memory();
            // Inside a container nothing may be readable: zero bytes is no data.
            reading.memory_total_bytes = (total > 0).then_some(total);
            let used = total.saturating_sub(system.available_memory());
            reading.memory_percent = percent(bytes(used), bytes(total));
            reading.swap_percent = percent(bytes(system.used_swap()), bytes(system.total_swap()));
        }
        let network = std::fs::read_to_string("/proc/net/dev").ok().map(|text| traffic(&text));
        if let (Some((then, Some(before))), Some(after)) = (self.last, network) {
            let seconds = now.mono.since(then.mono).as_secs_f64();
            let rate = |before: u64, after: u64| {
                let moved = after.checked_sub(before)?;
                (seconds > 0.0).then(|| bytes(moved) / seconds)
            };
            reading.network_receive_bytes_per_s = rate(before.0, after.0);
            reading.network_transmit_bytes_per_s = rate(before.1, after.1);
        }
        self.last = Some((now, network));
        reading
    }

    fn disks(&mut self) -> Vec<Disk> {
        let Some(disks) = self.disks.as_mut() else { return Vec::new() };
        disks.refresh_specifics(true, DiskRefreshKind::nothing().with_storage());
        let mut shown: Vec<(std::ffi::OsString, Disk)> = Vec::new();
        for disk in disks.iter() {
            let kind = disk.file_system().to_string_lossy();
            let total = disk.total_space();
            let used = total.saturating_sub(disk.available_space());
            let Some(used_percent) = percent(bytes(used), bytes(total)) else { continue };
            // A device that is mounted twice is one disk.
            let seen = shown.iter().any(|(name, _)| name == disk.name());
            if VIRTUAL.contains(&&*kind) || seen || shown.len() >= DISKS_MAX {
                continue;
            }
            let mount = Untrusted::new(&disk.mount_point().to_string_lossy());
            let row = Disk { mount, used_percent, total_bytes: total };
            shown.push((disk.name().to_owned(), row));
        }
        shown.into_iter().map(|(_, disk)| disk).collect()
    }

    fn temperatures(&mut self) -> Vec<Temperature> {
        let Some(components) = self.components.as_mut() else { return Vec::new() };
        components.refresh(true);
        components
            .iter()
            .filter_map(|component| {
                let celsius = f64::from(component.temperature()?);
                let label = Untrusted::new(component.label());
                celsius.is_finite().then_some(Temperature { label, celsius })
            })
            .take(TEMPERATURES_MAX)
            .collect()
    }
}

/// Bytes received and transmitted over all networks but the loopback: one file instead of ten for
/// each network.
fn traffic(text: &str) -> (u64, u64) {
    let mut sum = (0_u64, 0_u64);
    for line in text.lines() {
        let Some((name, figures)) = line.split_once(':') else { continue };
        if name.trim() == "lo" {
            continue;
        }
        let mut figures = figures.split_whitespace().map(|figure| figure.parse().unwrap_or(0));
        // Eight figures are of what was received, then eight of what was transmitted.
        sum.0 = sum.0.saturating_add(figures.next().unwrap_or(0));
        sum.1 = sum.1.saturating_add(figures.nth(7).unwrap_or(0));
    }
    sum
}

/// The numbers in /proc are the processes; `None` where there is no /proc.
fn processes() -> Option<u64> {
    let entries = std::fs::read_dir("/proc").ok()?;
    let number = |name: &std::ffi::OsStr| {
        name.to_str().is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let count = entries.flatten().filter(|entry| number(&entry.file_name())).count() as u64;
    (count > 0).then_some(count)
}

/// Bytes as a float: exact to 9 petabytes, and only shares are shown beyond.
#[expect(clippy::cast_precision_loss, reason = "see above")]
fn bytes(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::clock;

    #[test]
    fn traffic_is_that_of_all_networks_but_the_loopback() {
        let text = "Inter-|   Receive                                                |  Transmit\n\
                    face |bytes    packets errs drop fifo frame compressed multicast|bytes    \
                    packets errs drop fifo colls carrier compressed\n    \
                    lo: 900 9 0 0 0 0 0 0 900 9 0 0 0 0 0 0\n  \
                    eth0:1000 5 0 0 0 0 0 0 2000 6 0 0 0 0 0 0\n  \
                    eth1: 10 1 0 0 0 0 0 0 20 1 0 0 0 0 0 0\n";
        assert_eq!(traffic(text), (1010, 2020));
        assert_eq!(traffic(""), (0, 0));
    }

    #[test]
    fn this_machine_has_memory_and_rates_from_the_second_read_on() {
        let mut local = Local::new();
        let first = local.read(clock::now());
        assert_eq!((first.cpu_percent, first.network_receive_bytes_per_s), (None, None));
        assert!(first.memory_percent.is_some_and(|percent| percent > 0.0));
        assert!(first.processes.is_some_and(|count| count > 0));
        assert!(first.load.is_some() && first.uptime.is_some());
        let second = local.read(clock::now());
        assert!(second.cpu_percent.is_some());
    }
}
