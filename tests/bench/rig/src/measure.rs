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

/// The most that was resident since the start, or since [`reset_peak`], in bytes.
pub(crate) fn peak(pid: u32) -> u64 {
    memory(pid, "VmHWM:")
}

/// What is resident now is the peak from here on.
pub(crate) fn reset_peak(pid: u32) -> std::io::Result<()> {
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5")
}

/// A process that another one started, and what it has used so far.
#[derive(Clone, Debug)]
pub(crate) struct Offspring {
    /// User and system time.
    pub(crate) cpu: Duration,
    /// Peak resident memory, in bytes.
    pub(crate) peak_bytes: u64,
    /// The limit that it has set itself, in bytes.
    pub(crate) limit_bytes: u64,
}

impl Offspring {
    /// What the gate wants to be left before it starts a compiler, in bytes: a limit counts memory that is never touched,
    /// and is a quarter above it.
    pub(crate) fn need(&self) -> u64 {
        self.limit_bytes / 5 * 4
    }
}

/// A child of this process, where there is one.
pub(crate) fn offspring(pid: u32) -> Option<Offspring> {
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    // Each may end while it is looked at.
    processes.map(|entry| entry.path()).find_map(|folder| {
        let stat = std::fs::read_to_string(folder.join("stat")).ok()?;
        let parent = stat.rsplit(')').next()?.split_whitespace().nth(1)?;
        if parent != pid.to_string() {
            return None;
        }
        let status = std::fs::read_to_string(folder.join("status")).ok()?;
        let limits = std::fs::read_to_string(folder.join("limits")).ok()?;
        let limit = limits.lines().find_map(|line| line.strip_prefix("Max data size"))?;
        let limit_bytes = limit.split_whitespace().next()?.parse().ok()?;
        Some(Offspring { cpu: cpu(&stat), peak_bytes: line(&status, "VmHWM:")?, limit_bytes })
    })
}

/// A line of a process's status, in bytes.
fn memory(pid: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    line(&status, name).unwrap()
}

fn line(status: &str, name: &str) -> Option<u64> {
    let text = status.lines().find_map(|line| line.strip_prefix(name))?;
    Some(text.trim().trim_end_matches(" kB").parse::<u64>().ok()? * 1024)
}

/// Fields 14 and 15 of a stat line, in ticks of 10 ms. The name before them may hold blanks.
fn cpu(stat: &str) -> Duration {
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}
