//! The section `reload`.

use schemars::JsonSchema;
use serde::Deserialize;

/// How changed files are taken up, and what a changed plugin, mapping or schema has to show before it
/// replaces the one that runs.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Reload {
    /// Whether the files that the configuration is made of are watched, and a change is taken up by itself. With
    /// `false` a reload waits for `xylem reload`, `POST /reload` or SIGHUP.
    pub watch: bool,
    /// How often the watched files are read again, in seconds, where the file system tells of no change (NFS, some
    /// volumes of containers). Elsewhere a change is taken up about a second after the last write.
    #[schemars(range(min = 1, max = 86_400))]
    pub poll_seconds: u32,
    /// How many of its last records each pipeline keeps in memory, to hold a candidate against what runs. 0
    /// keeps none: the step `records` of a reload is skipped, and `budget` measures with the samples. Together they take 4 MiB at most;
    /// they are never written to a disk.
    #[schemars(range(max = 10_000))]
    pub recent_records: usize,
    /// How many of these records, in percent, may become dead letters under the candidate that are none now.
    #[schemars(range(max = 100))]
    pub max_newly_rejected_percent: u8,
    /// How many times the CPU time of the plugins that run those of the candidate may use on these records.
    #[schemars(range(min = 1, max = 1_000))]
    pub max_cpu_ratio: u32,
    /// How many times their memory, likewise.
    #[schemars(range(min = 1, max = 1_000))]
    pub max_memory_ratio: u32,
}

impl Default for Reload {
    fn default() -> Self {
        Self {
            watch: true,
            // A scan of ten megabytes takes 10 ms of CPU time: a thousandth of a core.
            poll_seconds: 10,
            // Records of customers are kept longer than needed only where somebody asks for it.
            recent_records: 0,
            // A change that is to reject more says so.
            max_newly_rejected_percent: 0,
            // Twice is a plugin that does more; five times is one that goes wrong.
            max_cpu_ratio: 3,
            max_memory_ratio: 3,
        }
    }
}
