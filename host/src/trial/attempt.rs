//! One record through a pipeline, without Kafka and AEP: what `try` shows, `check` compares and `replay`
//! counts and sends.

use crate::fault::Fault;
use crate::generation::Pipeline;
use crate::id::{Ids, Place};
use crate::plugin::{Outcome, RunError, Runner};
use crate::record::{Event, Operation, PartitionId, Record};
use crate::schema::Warning;
use crate::transform::prepare;
use crate::validate::Refusal;

/// What a pipeline makes of a record.
pub(crate) enum Attempt {
    /// Events, at least one, valid or not.
    Emit(Vec<Attempted>),
    /// Nothing to send, for this reason.
    Filter(String),
    /// It cannot be mapped.
    Reject(Box<Fault>),
}

/// An event and what is said of it.
pub(crate) struct Attempted {
    /// The host's id of it.
    pub(crate) id: String,
    /// The destination that it names, or the pipeline's first.
    pub(crate) destination: String,
    /// The entity as JSON text; with its `_id` where it is valid.
    pub(crate) body: String,
    /// What is asked of its destination.
    pub(crate) operation: Operation,
    /// Warnings of a valid event, or why it may not be sent.
    pub(crate) verdict: Result<Vec<Warning>, Refusal>,
}

impl Attempt {
    /// Whether the record would be delivered or filtered, not dead-lettered.
    pub(crate) fn is_good(&self) -> bool {
        match self {
            Self::Emit(events) => events.iter().all(|event| event.verdict.is_ok()),
            Self::Filter(_) => true,
            Self::Reject(_) => false,
        }
    }
}

/// Runs records of one partition through a pipeline, with the functions of the data path.
pub(crate) fn attempt(
    pipeline: &Pipeline,
    runner: &mut Runner,
    ids: &Ids,
    partition: &PartitionId,
    records: &[Record],
) -> Result<Vec<Attempt>, RunError> {
    let mut attempts = Vec::with_capacity(records.len());
    while let Some(rest @ [_, ..]) = records.get(attempts.len()..) {
        attempts.extend(attempt_first(pipeline, runner, ids, partition, rest)?);
    }
    Ok(attempts)
}

/// As [`attempt`], for as many of the first records as may be held at once, one at least.
pub(crate) fn attempt_first(
    pipeline: &Pipeline,
    runner: &mut Runner,
    ids: &Ids,
    partition: &PartitionId,
    records: &[Record],
) -> Result<Vec<Attempt>, RunError> {
    let outcomes = runner.transform(partition, records)?;
    let attempts = records.iter().zip(outcomes).map(|(record, outcome)| match outcome {
        Outcome::Filter(reason) => Attempt::Filter(reason),
        Outcome::Reject(fault) => Attempt::Reject(fault),
        Outcome::Emit(events) => {
            let place = Place {
                partition: partition.partition,
                offset: record.offset,
                timestamp_ms: record.timestamp_ms,
            };
            let events = events.into_iter().enumerate();
            Attempt::Emit(
                events
                    .map(|(index, event)| attempted(pipeline, event, ids.id(place, index)))
                    .collect(),
            )
        }
    });
    Ok(attempts.collect())
}

fn attempted(pipeline: &Pipeline, event: Event, id: String) -> Attempted {
    let first = || pipeline.routes.first().map_or_else(String::new, |route| route.name.to_string());
    let destination = event.route.clone().unwrap_or_else(first);
    let operation = event.operation.unwrap_or_default();
    let body = event.body.clone();
    let (body, verdict) = match prepare(pipeline, event, &id) {
        Ok(prepared) => (prepared.event.body, Ok(prepared.event.warnings)),
        Err(refusal) => (body, Err(refusal)),
    };
    Attempted { id, destination, body, operation, verdict }
}
