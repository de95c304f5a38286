//! What `/status` shows, as types; `host/docs/status.md` is written from them by a test.
//!
//! Invariant 10: codes, names, counts and positions; no message of a fault, since it may quote a
//! record, and no secret.

use schemars::JsonSchema;
use serde::Serialize;

use super::Ready;
use crate::reload::{Reloader, Report};

/// The state of one process.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Status {
    /// The program's version.
    pub version: String,
    /// Seconds since the process started.
    pub uptime_seconds: u64,
    /// Whether the process is ready.
    pub ready: bool,
    /// What it waits for before it is ready.
    pub waiting_for: Vec<String>,
    /// The live generation's name: a digest of configuration and components, equal in every process
    /// that runs the same.
    pub generation: Option<String>,
    /// The generation that a rollback returns to; none before the first swap.
    pub previous_generation: Option<String>,
    /// What came of the last reloads, the newest first and the start among them. Changed files that
    /// make no difference leave no report.
    pub reloads: Vec<Report>,
    /// The pipelines.
    pub pipelines: Vec<PipelineStatus>,
    /// The partitions assigned to this process.
    pub partitions: Vec<PartitionStatus>,
    /// The destinations.
    pub destinations: Vec<DestinationStatus>,
    /// The token; none without `aep.auth`.
    pub token: Option<TokenStatus>,
    /// What is not settled.
    pub in_flight: InFlightStatus,
    /// What is still to come, and how long it takes.
    pub backlog: BacklogStatus,
    /// The share of the organisation's quota.
    pub quota: QuotaStatus,
    /// The dead letters.
    pub dead_letters: DeadLetterStatus,
    /// Faults of records since the start, by pipeline and code.
    pub faults: Vec<FaultStatus>,
    /// What the configuration was warned of, whether the memory may not do, topics that are missing, pipelines
    /// that pause for their dead letters, and topics whose retention may take records that are not settled.
    pub warnings: Vec<String>,
}

impl Status {
    /// The same status, with what the latch says.
    #[must_use]
    pub(super) fn with_ready(mut self, ready: &Ready) -> Self {
        self.waiting_for = ready.missing().into_iter().map(str::to_owned).collect();
        self.ready = self.waiting_for.is_empty();
        self
    }

    /// The same status, with what became of reloads.
    #[must_use]
    pub(super) fn with_reloads(mut self, reloader: Option<&Reloader>) -> Self {
        if let Some(reloader) = reloader {
            self.previous_generation = reloader.previous().map(|name| name.to_string());
            self.reloads = reloader.reports();
        }
        self
    }
}

/// One pipeline.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct PipelineStatus {
    /// Its name.
    pub name: String,
    /// Its topics.
    pub topics: Vec<String>,
    /// Its plugins, in order.
    pub chain: Vec<PluginStatus>,
    /// Its destinations; the first is where events without a route go.
    pub destinations: Vec<String>,
    /// Where its rejected records go.
    pub dead_letter_topic: String,
}

/// One plugin of a chain.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct PluginStatus {
    /// Its name.
    pub name: String,
    /// The first 16 hex digits of its component's BLAKE3 hash.
    pub digest: String,
    /// The memory that one instance may use, in bytes.
    pub max_memory_bytes: u64,
    /// The CPU time that one call may use, in milliseconds.
    pub max_cpu_ms: u64,
    /// Lines of level `warn` that it logged while it mapped records, in all pipelines. Their text may
    /// quote a record: `xylem try` shows it.
    pub warn_lines: u64,
    /// Lines of level `error`, likewise.
    pub error_lines: u64,
}

/// One assigned partition.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct PartitionStatus {
    /// The topic.
    pub topic: String,
    /// The partition's number.
    pub partition: i32,
    /// The pipeline.
    pub pipeline: String,
    /// The offset up to which everything is settled; none before the first settlement here.
    pub position: Option<i64>,
    /// Offsets from the settled prefix to the end of the log, where both are known; asked for every two
    /// seconds, of paused partitions, too.
    pub lag: Option<i64>,
    /// Records that come in a second, averaged over half a minute.
    pub arrival_per_second: Option<f64>,
    /// Records that are not settled.
    pub in_flight_records: usize,
    /// What they weigh, in bytes.
    pub in_flight_bytes: usize,
    /// Whether nothing is fetched at the moment, because too much is in flight.
    pub paused: bool,
    /// Why nothing more is taken until an operator acts.
    pub halted: Option<String>,
    /// Under which generations its records began here, the last eight, the oldest first.
    pub generations: Vec<BegunStatus>,
}

/// Records that began under one generation: from this offset up to the next one's.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct BegunStatus {
    /// The generation's name.
    pub generation: String,
    /// The first offset.
    pub from_offset: i64,
}

/// Whether requests to a destination pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DestinationState {
    /// They pass.
    Open,
    /// They wait for AEP or the network; it ends by itself.
    BackingOff,
    /// They wait until somebody mends what `code` names; one is tried now and then.
    Paused,
}

/// One destination.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct DestinationStatus {
    /// Its name.
    pub name: String,
    /// Whether requests pass.
    pub state: DestinationState,
    /// Why not.
    pub code: Option<String>,
    /// For how long not, in seconds.
    pub since_seconds: Option<f64>,
    /// How long until the next try, in seconds; 0 while one is on its way.
    pub retry_in_seconds: Option<f64>,
    /// Requests on their way.
    pub requests_in_flight: usize,
    /// Requests sent since the start.
    pub requests: u64,
    /// Events that AEP took.
    pub accepted: u64,
    /// Events that AEP refused.
    pub refused: u64,
    /// The code of the last fault.
    pub last_fault: Option<String>,
    /// How long ago it was, in seconds.
    pub last_fault_seconds_ago: Option<f64>,
    /// AEP's id of an event accepted lately; Adobe's support asks for it.
    pub last_xaction_id: Option<String>,
}

/// What is still to come to this process.
#[derive(Clone, Copy, Debug, Default, Serialize, JsonSchema)]
pub struct BacklogStatus {
    /// Records that are not settled, up to the logs' ends, of all assigned partitions that are not
    /// halted.
    pub records: u64,
    /// Records a second that come in.
    pub arriving_per_second: f64,
    /// How long the backlog takes to drain, in seconds, counted from when AEP takes requests; none
    /// where as much comes in as the quota or this process lets out.
    pub drain_seconds: Option<f64>,
}

/// The share of the organisation's quota.
#[derive(Clone, Copy, Debug, Default, Serialize, JsonSchema)]
pub struct QuotaStatus {
    /// From 0 to 1: what the configuration says, or the part of the topics' partitions that is
    /// assigned to this process; less for a while after AEP answered 429.
    pub share: f64,
    /// Messages that this process may send in a second.
    pub messages_per_second: f64,
    /// Requests that wait for their turn.
    pub requests_waiting: usize,
}

/// The token of `aep.auth`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct TokenStatus {
    /// Whether there is one that is still good.
    pub ready: bool,
    /// Its age in seconds.
    pub age_seconds: Option<f64>,
    /// How long it lives on, in seconds.
    pub expires_in_seconds: Option<f64>,
    /// The code of what the last fetch failed with.
    pub fault: Option<String>,
    /// When it is tried again, in seconds.
    pub retry_in_seconds: Option<f64>,
}

/// What is not settled.
#[derive(Clone, Copy, Debug, Default, Serialize, JsonSchema)]
pub struct InFlightStatus {
    /// Records.
    pub records: usize,
    /// What they weigh, in bytes.
    pub bytes: usize,
    /// The budget, in bytes.
    pub budget_bytes: usize,
}

/// The dead letters.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct DeadLetterStatus {
    /// Letters that no dead-letter topic has taken yet.
    pub waiting: usize,
    /// How often a dead-letter topic did not take one.
    pub refusals: u64,
    /// Why they are not taken (`dead-letter.unwritable`, `dead-letter.refused`): the topic, Kafka's words, and
    /// what to set.
    pub refusal: Option<String>,
}

/// Faults of one code in one pipeline.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct FaultStatus {
    /// The pipeline.
    pub pipeline: String,
    /// The code.
    pub code: String,
    /// The domain: who has to act.
    pub domain: String,
    /// How many.
    pub count: u64,
    /// Where the last one was: `TOPIC-PARTITION@OFFSET`.
    pub last_position: String,
    /// How long ago that was, in seconds.
    pub last_seconds_ago: f64,
    /// What to do about it.
    pub advice: String,
}

#[cfg(test)]
mod tests {
    use schemars::schema_for;
    use serde_json::Value;

    use super::*;
    use crate::manual::{current, tables};

    const HEAD: &str = "\
# `/status`

`GET /status` on the admin listener gives this JSON. From beyond loopback it wants
`Authorization: Bearer TOKEN` with the token of `admin.token`, and answers 401 without. No secret, no
contents of a record and no message of a fault is ever in it; what AEP or a plugin said of a record
is in the headers of its dead letter. What is not known or does not apply is `null`.

This page is written from the types in `host/src/admin/status.rs` by a test.
";

    #[test]
    fn the_manual_is_current() {
        let schema = Value::from(schema_for!(Status));
        current("status.md", &tables(HEAD, &schema, false));
    }
}
