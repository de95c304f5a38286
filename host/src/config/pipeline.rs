//! The sections `plugins` and `pipelines`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A component and its limits.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Plugin {
    /// The component's file, relative to the configuration file; absent for a shipped plugin.
    #[serde(default)]
    pub component: Option<PathBuf>,
    /// The linear memory that one instance may use, in bytes.
    #[serde(default = "Plugin::default_max_memory_bytes")]
    #[schemars(range(min = 1_048_576, max = 4_294_967_296u64))]
    pub max_memory_bytes: u64,
    /// The CPU time that a call for one record may use, in milliseconds: a record that uses it up is
    /// dead-lettered. A call for several records may use an eighth of it, and is run again in halves
    /// when it does.
    #[serde(default = "Plugin::default_max_cpu_ms")]
    #[schemars(range(min = 1, max = 60_000))]
    pub max_cpu_ms: u64,
    /// The stack that one call may use, in bytes.
    #[serde(default = "Plugin::default_max_stack_bytes")]
    #[schemars(range(min = 65_536, max = 8_388_608))]
    pub max_stack_bytes: usize,
}

impl Default for Plugin {
    fn default() -> Self {
        Self {
            component: None,
            max_memory_bytes: Self::default_max_memory_bytes(),
            max_cpu_ms: Self::default_max_cpu_ms(),
            max_stack_bytes: Self::default_max_stack_bytes(),
        }
    }
}

impl Plugin {
    /// Four times what the hungriest toolchain (C with zig's stack, 24 MiB) needs, rounded.
    fn default_max_memory_bytes() -> u64 {
        64 * 1024 * 1024
    }

    /// A thousand times a slow mapping; short enough that a loop is noticed.
    fn default_max_cpu_ms() -> u64 {
        1_000
    }

    /// wasmtime's own default; the recursion of `CPython` and `QuickJS` fits.
    fn default_max_stack_bytes() -> usize {
        512 * 1024
    }
}

/// Topics -> chain -> validation -> destinations.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pipeline {
    /// The topics; each belongs to exactly one pipeline.
    pub topics: Vec<String>,
    /// The form in which plugins get payloads.
    #[serde(default)]
    pub payload: Form,
    /// The form in which plugins get keys.
    #[serde(default)]
    pub key: KeyForm,
    /// Whether plugins get headers (about 0.3 microseconds each).
    #[serde(default)]
    pub headers: bool,
    /// What becomes of records without a value.
    #[serde(default)]
    pub tombstones: Tombstones,
    /// The plugins, in order.
    pub chain: Vec<Step>,
    /// The destinations; the first is where events without a route go.
    pub destinations: Vec<String>,
    /// Where rejected records go.
    pub dead_letter: DeadLetter,
    /// On how many records a plugin may fail: traps, overruns, wrong answers. The plugin is then
    /// quarantined: its pipeline halts until it is started again.
    #[serde(default)]
    pub quarantine: Quarantine,
    /// How `xylem try` cuts an input file into records.
    #[serde(default)]
    pub split: Split,
    /// A folder of samples, `NAME.input.EXT` and optionally `NAME.expected.json`, relative to the
    /// configuration file. `xylem check` runs them.
    #[serde(default)]
    pub samples: Option<PathBuf>,
    /// Goes into every id: change it when a topic is made again and its records are to count as new.
    #[serde(default)]
    pub id_epoch: String,
}

/// The form of payloads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// UTF-8 text; other bytes are the record's fault.
    #[default]
    Text,
    /// Bytes as they came.
    Bytes,
}

/// The form of keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum KeyForm {
    /// Plugins do not see keys.
    #[default]
    None,
    /// UTF-8 text; other bytes are the record's fault.
    Text,
    /// Bytes as they came.
    Bytes,
}

/// What becomes of records without a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Tombstones {
    /// They are filtered.
    #[default]
    Filter,
    /// The plugin decides.
    Plugin,
    /// They are dead-lettered.
    Reject,
}

/// How `xylem try` cuts a file into records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// A record per line; a CSV row ends outside quotes.
    #[default]
    Line,
    /// The file is one record.
    File,
}

/// One plugin of a chain, with what it is told.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// The plugin's name: an entry of `plugins`, or a shipped plugin.
    pub plugin: String,
    /// Whatever the plugin understands. References are not read here: no secret reaches a plugin.
    #[serde(default)]
    pub settings: serde_json::Map<String, serde_json::Value>,
    /// A mapping table: a YAML or JSON file relative to the configuration file.
    #[serde(default)]
    pub mapping: Option<PathBuf>,
    /// Look-up files by name, relative to the configuration file; the plugin gets their text.
    #[serde(default)]
    pub lookups: BTreeMap<String, PathBuf>,
}

/// Where rejected records go.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeadLetter {
    /// The topic; it must exist, and no pipeline may read it.
    pub topic: String,
    /// How many dead letters are too many. The pipeline then halts until it is started again, so
    /// that a bad plugin or mapping does not drain a topic into the dead-letter topic.
    #[serde(default)]
    pub storm: Storm,
}

/// How many dead letters are too many.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Storm {
    /// More than this share of a window, in percent; 100 halts never.
    #[serde(default = "Storm::default_percent")]
    #[schemars(range(max = 100))]
    pub percent: u8,
    /// The window: so many records of the pipeline, in this process.
    #[serde(default = "Storm::default_records")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub records: u64,
}

impl Default for Storm {
    fn default() -> Self {
        Self { percent: Self::default_percent(), records: Self::default_records() }
    }
}

impl Storm {
    /// A source of which half is unusable is not one that was meant.
    fn default_percent() -> u8 {
        50
    }

    /// Few enough to read, more than a source's bad minute.
    fn default_records() -> u64 {
        1_000
    }
}

/// On how many records a plugin may fail.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Quarantine {
    /// More than this share of a window, in percent; 100 quarantines never.
    #[serde(default = "Quarantine::default_percent")]
    #[schemars(range(max = 100))]
    pub percent: u8,
    /// The window: so many records of the pipeline, in this process.
    #[serde(default = "Quarantine::default_records")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub records: u64,
}

impl Default for Quarantine {
    fn default() -> Self {
        Self { percent: Self::default_percent(), records: Self::default_records() }
    }
}

impl Quarantine {
    /// A plugin may reject what it likes, but should never fail: each failure costs an instance, and up
    /// to a second of CPU time. Not so low that one bad sender among many stops all.
    fn default_percent() -> u8 {
        10
    }

    /// As for a storm.
    fn default_records() -> u64 {
        Storm::default_records()
    }
}
