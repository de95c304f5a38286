//! What the process itself uses, read when somebody scrapes.

use std::fmt::Error;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use rustix::time::{ClockId, clock_gettime};

use super::scrape::{Described, Value, write};

/// What is read.
pub(super) const SCRAPED: &[Described] = &[
    Described {
        name: "process_cpu",
        kind: "counter",
        unit: Some("seconds"),
        labels: &[],
        help: "CPU time that the process used, user and system.",
    },
    Described {
        name: "process_resident",
        kind: "gauge",
        unit: Some("bytes"),
        labels: &[],
        help: "Resident memory of the process (Linux only).",
    },
    Described {
        name: "process_start_time",
        kind: "gauge",
        unit: Some("seconds"),
        labels: &[],
        help: "When the process started, in seconds since 1970.",
    },
];

/// Reads them.
#[derive(Debug)]
pub(super) struct Process {
    started: f64,
}

impl Process {
    /// Made at start.
    pub(super) fn new() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { started: since.as_secs_f64() }
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let values = [Some(cpu_seconds()), resident_bytes(), Some(self.started)];
        for (metric, value) in SCRAPED.iter().zip(values) {
            write(&mut encoder, metric, value.map(|value| (Vec::new(), Value::Number(value))))?;
        }
        Ok(())
    }
}

fn cpu_seconds() -> f64 {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    #[expect(clippy::cast_precision_loss, reason = "a process does not live 2^53 seconds")]
    let seconds = used.tv_sec as f64;
    seconds + f64::from(u32::try_from(used.tv_nsec).unwrap_or_default()) / 1e9
}

/// From `VmRSS` of `/proc/self/status`, which is in kilobytes.
fn resident_bytes() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u32 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(f64::from(kilobytes) * 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_is_read() {
        assert!(cpu_seconds() > 0.0);
        if cfg!(target_os = "linux") {
            // A test binary has more than a megabyte and less than a hundred gigabytes.
            let resident = resident_bytes().unwrap();
            assert!((1e6..1e11).contains(&resident), "{resident}");
        }
    }
}
