//! What became of the records of one side of a canary, counted by whoever decides it: workers, whoever takes
//! verdicts, whoever writes dead letters.
#![expect(clippy::cast_precision_loss, reason = "counts and bytes are far below 2^52")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fault::{Code, Domain};
use crate::plugin::Usage;
use crate::record::{PartitionId, Position};

/// Positions of dead letters that are named.
const NAMED: usize = 10;

/// The counters of one side.
#[derive(Debug, Default)]
pub struct Counts {
    records: AtomicU64,
    delivered: AtomicU64,
    filtered: AtomicU64,
    rejected: AtomicU64,
    invalid: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
    deadlines: AtomicU64,
    calls: AtomicU64,
    failed_calls: AtomicU64,
    cpu_nanos: AtomicU64,
    memory_bytes: AtomicU64,
    first: Mutex<Vec<Position>>,
    /// Whether this is the candidate's side.
    is_candidates: bool,
}

/// One side of a canary. Each record is in one of `delivered` to `deadlines` once its fate is known; dead letters
/// are those from `rejected` on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SideReport {
    /// Records that were mapped and handed on.
    pub records: u64,
    /// Records whose events AEP has taken.
    pub delivered: u64,
    /// Filtered.
    pub filtered: u64,
    /// Rejected by a plugin, or not to be read.
    pub rejected: u64,
    /// Not valid under the schema, or too large.
    pub invalid: u64,
    /// Refused by AEP.
    pub refused: u64,
    /// A plugin failed: traps, wrong answers, memory.
    pub failed: u64,
    /// A plugin used up its CPU time.
    pub deadlines: u64,
    /// Calls of its plugins.
    pub calls: u64,
    /// Calls that failed, those that were run again in halves included.
    pub failed_calls: u64,
    /// CPU time of the plugins for each record, in microseconds.
    pub cpu_us: f64,
    /// The most memory that a worker's instances had, in bytes.
    pub memory_bytes: u64,
    /// The first dead letters.
    pub first_dead_letters: Vec<Position>,
}

impl SideReport {
    /// Records that ended as dead letters.
    pub fn dead_letters(&self) -> u64 {
        self.rejected + self.invalid + self.refused + self.failed + self.deadlines
    }

    /// Records whose fate is known.
    pub fn settled(&self) -> u64 {
        self.delivered + self.filtered + self.dead_letters()
    }

    /// The share of dead letters among its records. What the mapping makes is known at once, what AEP says comes later, or
    /// much later: its refusals are held against its own verdicts, lest an outage makes dead letters of nearly all
    /// records whose fate is known.
    pub fn bad_share(&self) -> f64 {
        let records = self.records.max(1) as f64;
        let mapping =
            (self.rejected + self.invalid + self.failed + self.deadlines) as f64 / records;
        let sent = (1.0 - mapping - self.filtered as f64 / records).max(0.0);
        let verdicts = (self.delivered + self.refused).max(1) as f64;
        mapping + sent * self.refused as f64 / verdicts
    }
}

impl Counts {
    /// Those of the candidate.
    pub fn of_candidate() -> Self {
        Self { is_candidates: true, ..Self::default() }
    }

    /// Whether they are the candidate's. Its dead letters are judged by the canary's rule, so they halt no pipeline.
    pub fn is_candidates(&self) -> bool {
        self.is_candidates
    }

    /// Dead letters, and all records. Cheap: asked before each call.
    pub fn bad_of(&self) -> (u64, u64) {
        let sum = |counters: &[&AtomicU64]| {
            counters.iter().map(|counter| counter.load(Ordering::Relaxed)).sum::<u64>()
        };
        let bad =
            sum(&[&self.rejected, &self.invalid, &self.refused, &self.failed, &self.deadlines]);
        (bad, self.records.load(Ordering::Relaxed))
    }

    /// Records are mapped and handed on.
    pub fn mapped(&self, records: u64) {
        self.records.fetch_add(records, Ordering::Relaxed);
    }

    /// A record's events are accepted.
    pub fn delivered(&self) {
        self.delivered.fetch_add(1, Ordering::Relaxed);
    }

    /// A record is filtered.
    pub fn filtered(&self) {
        self.filtered.fetch_add(1, Ordering::Relaxed);
    }

    /// A record becomes a dead letter.
    pub fn dead_lettered(&self, code: Code, partition: &PartitionId, offset: i64) {
        let kind = match code {
            Code::PluginDeadline => &self.deadlines,
            Code::SchemaInvalid | Code::Oversize | Code::TooLarge => &self.invalid,
            Code::Refused => &self.refused,
            code if code.domain() == Domain::Plugin => &self.failed,
            _ => &self.rejected,
        };
        kind.fetch_add(1, Ordering::Relaxed);
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        if first.len() < NAMED {
            first.push(Position::new(partition, offset));
        }
    }

    /// A worker's plugins have used this.
    pub fn used(&self, usage: &[Usage]) {
        let cpu: Duration = usage.iter().map(|usage| usage.cpu).sum();
        let nanos = u64::try_from(cpu.as_nanos()).unwrap_or(u64::MAX);
        self.cpu_nanos.fetch_add(nanos, Ordering::Relaxed);
        let calls = usage.iter().map(|usage| usage.calls).sum();
        self.calls.fetch_add(calls, Ordering::Relaxed);
        let failures = usage.iter().map(|usage| usage.failures).sum();
        self.failed_calls.fetch_add(failures, Ordering::Relaxed);
        let memory = usage.iter().map(|usage| usage.memory_bytes).sum();
        self.memory_bytes.fetch_max(memory, Ordering::Relaxed);
    }

    /// All of it.
    pub fn report(&self) -> SideReport {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let records = of(&self.records);
        SideReport {
            records,
            delivered: of(&self.delivered),
            filtered: of(&self.filtered),
            rejected: of(&self.rejected),
            invalid: of(&self.invalid),
            refused: of(&self.refused),
            failed: of(&self.failed),
            deadlines: of(&self.deadlines),
            calls: of(&self.calls),
            failed_calls: of(&self.failed_calls),
            cpu_us: of(&self.cpu_nanos) as f64 / 1e3 / records.max(1) as f64,
            memory_bytes: of(&self.memory_bytes),
            first_dead_letters: self.first.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}
