//! One record through a pipeline, without Kafka and AEP: what `try` shows and `check` compares.

use crate::fault::Fault;
use crate::generation::Pipeline;
use crate::id::{Ids, Place};
use crate::plugin::{Outcome, RunError, Runner};
use crate::record::{Event, PartitionId, Record};
use crate::schema::Warning;
use crate::transform::prepare;
use crate::validate::Refusal;

/// What a pipeline makes of a record.
pub enum Attempt {
    /// Events, at least one, valid or not.
    Emit(Vec<Attempted>),
    /// Nothing to send, for this reason.
    Filter(String),
    /// It cannot be mapped.
    Reject(Box<Fault>),
}

/// An event and what is said of it.
pub struct Attempted {
    /// The destination that it names, or the pipeline's first.
    pub destination: String,
    /// The entity as JSON text; with its `_id` where it is valid.
    pub body: String,
    /// Warnings of a valid event, or why it may not be sent.
    pub verdict: Result<Vec<Warning>, Refusal>,
}

impl Attempt {
    /// Whether the record would be delivered or filtered, not dead-lettered.
    pub fn is_good(&self) -> bool {
        match self {
            Self::Emit(events) => events.iter().all(|event| event.verdict.is_ok()),
            Self::Filter(_) => true,
            Self::Reject(_) => false,
        }
    }
}

/// Runs records of one partition through a pipeline, with the functions of the data path.
pub fn attempt(
    pipeline: &Pipeline,
    runner: &mut Runner,
    ids: &Ids,
    partition: &PartitionId,
    records: &[Record],
) -> Result<Vec<Attempt>, RunError> {
    let mut outcomes = Vec::with_capacity(records.len());
    while let Some(rest @ [_, ..]) = records.get(outcomes.len()..) {
        outcomes.extend(runner.transform(partition, rest)?);
    }
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
                    .map(|(index, event)| attempted(pipeline, event, &ids.id(place, index)))
                    .collect(),
            )
        }
    });
    Ok(attempts.collect())
}

fn attempted(pipeline: &Pipeline, event: Event, id: &str) -> Attempted {
    let first = || pipeline.routes.first().map_or_else(String::new, |route| route.name.to_string());
    let destination = event.route.clone().unwrap_or_else(first);
    let body = event.body.clone();
    match prepare(pipeline, event, id) {
        Ok(prepared) => Attempted {
            destination,
            body: prepared.event.body,
            verdict: Ok(prepared.event.warnings),
        },
        Err(refusal) => Attempted { destination, body, verdict: Err(refusal) },
    }
}
