//! What runs against a candidate, over the same records: the one mechanism behind the gate's recent
//! records, a shadow, and whoever wants to know what a change would do.
#![expect(clippy::cast_precision_loss, reason = "counts and bytes are far below 2^52")]

mod difference;
mod report;
mod tally;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub use report::{Comparison, Cost, Example, NewRefusal, PathChange};
use tally::{Pair, Tally, Telling};

use crate::dead_letter::Origin;
use crate::generation::Pipeline;
use crate::id::Ids;
use crate::plugin::{Hooks, RunError, Runner};
use crate::record::{PartitionId, Record};
use crate::trial::{Attempt, attempt_first};

/// Stands for the cluster in ids. They only have to be equal on both sides where both would give the same.
const CLUSTER: &str = "compare";

/// What of records is shown.
#[derive(Clone, Debug, Default)]
pub struct Show {
    /// So many values for each path, and so many messages for each reason.
    pub examples: usize,
    /// JSON pointers of values that are never shown, `*` for any key or item; with one of them, no messages
    /// are shown either, since they may quote anything.
    pub redact: Vec<String>,
}

/// Two pipelines, each with instances of its own. Belongs to one thread at a time, whose stack must have
/// [`WORKER_STACK_BYTES`](crate::plugin::WORKER_STACK_BYTES).
pub struct Compare {
    running: Side,
    candidate: Side,
    show: Show,
    tally: Tally,
}

/// Why records were not compared.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// The running generation's plugins have no instance.
    #[error("the running generation: {0}")]
    Running(#[source] RunError),
    /// The candidate's have none.
    #[error("the candidate: {0}")]
    Candidate(#[source] RunError),
}

impl Compare {
    /// A comparison of nothing yet.
    pub fn new(
        running: &Arc<Pipeline>,
        candidate: &Arc<Pipeline>,
        hooks: &Hooks,
        show: Show,
    ) -> Self {
        let side = |pipeline| Side::new(pipeline, hooks);
        // That an event names another generation is no difference.
        let generation = Arc::clone(&running.origin.generation);
        let origin = Arc::new(Origin { generation, ..(*candidate.origin).clone() });
        let candidate = Arc::new(Pipeline { origin, ..(**candidate).clone() });
        let running = side(Arc::clone(running));
        Self { running, candidate: side(candidate), show, tally: Tally::default() }
    }

    /// Runs records of one partition, in offset order, through both.
    pub fn run(&mut self, partition: &PartitionId, records: &[Record]) -> Result<(), CompareError> {
        let mut done = 0;
        while let Some(rest @ [_, ..]) = records.get(done..) {
            let before = self.running.attempt(partition, rest).map_err(CompareError::Running)?;
            let after = self.candidate.attempt(partition, rest).map_err(CompareError::Candidate)?;
            let telling = Telling { sides: [&self.running, &self.candidate], show: &self.show };
            // Where one side has decided less, what is left is run again: it becomes the same.
            for ((record, ours), theirs) in rest.iter().zip(&before).zip(&after) {
                let pair = Pair { partition, offset: record.offset, before: ours, after: theirs };
                self.tally.add(&pair, &telling);
                done += 1;
            }
        }
        Ok(())
    }

    /// What came of it so far.
    pub fn comparison(&self) -> Comparison {
        let mut comparison = self.tally.comparison();
        comparison.running = self.running.cost(comparison.records);
        comparison.candidate = self.candidate.cost(comparison.records);
        comparison
    }

    /// Both sides, the running one first, for whoever measures them.
    pub(super) fn sides(&mut self) -> [&mut Side; 2] {
        [&mut self.running, &mut self.candidate]
    }
}

/// A pipeline with its instances, and what they have used.
pub(super) struct Side {
    pipeline: Arc<Pipeline>,
    runner: Runner,
    ids: BTreeMap<Arc<str>, Ids>,
    cpu: Duration,
    memory_bytes: u64,
    failures: u64,
}

impl Side {
    fn new(pipeline: Arc<Pipeline>, hooks: &Hooks) -> Self {
        let runner = Runner::new(Arc::clone(&pipeline.chain), hooks.clone());
        let ids = BTreeMap::new();
        Self { pipeline, runner, ids, cpu: Duration::ZERO, memory_bytes: 0, failures: 0 }
    }

    fn attempt(
        &mut self,
        partition: &PartitionId,
        records: &[Record],
    ) -> Result<Vec<Attempt>, RunError> {
        let pipeline = &self.pipeline;
        let ids = self.ids.entry(Arc::clone(&partition.topic)).or_insert_with(|| {
            Ids::new(CLUSTER, &partition.topic, &pipeline.id_epoch, &pipeline.name)
        });
        let attempts = attempt_first(pipeline, &mut self.runner, ids, partition, records);
        let used = self.take_usage();
        self.cpu += used;
        attempts
    }

    /// Runs records through the plugins alone and gives the CPU time that they used.
    pub(super) fn cost_of(
        &mut self,
        partition: &PartitionId,
        records: &[Record],
    ) -> Result<Duration, RunError> {
        let mut done = 0;
        let mut used = Duration::ZERO;
        while let Some(rest @ [_, ..]) = records.get(done..) {
            done += self.runner.transform(partition, rest)?.len().max(1);
            used += self.take_usage();
        }
        Ok(used)
    }

    fn take_usage(&mut self) -> Duration {
        let usage = self.runner.take_usage();
        let memory = usage.iter().map(|usage| usage.memory_bytes).sum();
        self.memory_bytes = self.memory_bytes.max(memory);
        self.failures += usage.iter().map(|usage| usage.failures).sum::<u64>();
        usage.iter().map(|usage| usage.cpu).sum()
    }

    fn cost(&self, records: u64) -> Cost {
        Cost {
            cpu_us: self.cpu.as_secs_f64() * 1e6 / records.max(1) as f64,
            memory_bytes: self.memory_bytes,
            failures: self.failures,
        }
    }
}

#[cfg(test)]
mod tests;
