//! What a process has used: CPU time, peak memory, and CPU time by named thread. Linux only.

use std::collections::BTreeMap;
use std::time::Duration;

/// What a process has used so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Used {
    /// User and system time.
    pub(crate) cpu: Duration,
    /// Peak resident memory, in bytes.
    pub(crate) peak_bytes: u64,
    /// CPU time by the thread's name without its number.
    pub(crate) threads: BTreeMap<String, Duration>,
}

/// Reads a process.
pub(crate) fn used(pid: u32) -> Used {
    let folder = format!("/proc/{pid}");
    let mut threads = BTreeMap::new();
    for task in std::fs::read_dir(format!("{folder}/task")).unwrap() {
        let task = task.unwrap().path();
        let Ok(comm) = std::fs::read_to_string(task.join("comm")) else { continue };
        let Ok(stat) = std::fs::read_to_string(task.join("stat")) else { continue };
        let name = comm.trim().trim_end_matches(|c: char| c.is_ascii_digit() || c == '-');
        *threads.entry(name.to_owned()).or_default() += cpu(&stat);
    }
    let stat = std::fs::read_to_string(format!("{folder}/stat")).unwrap();
    Used { cpu: cpu(&stat), peak_bytes: memory(pid, "VmHWM:"), threads }
}

/// Resident memory of a process, in bytes.
pub(crate) fn resident(pid: u32) -> u64 {
    memory(pid, "VmRSS:")
}

/// A line of a process's status, in bytes.
fn memory(pid: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let text = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    text.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Fields 14 and 15 of a stat line, in ticks of 10 ms. The name before them may hold blanks.
fn cpu(stat: &str) -> Duration {
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}
