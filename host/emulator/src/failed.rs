//! Failed batches: what the asynchronous validator refused, per dataset, in the forms in which
//! Data Access gives such records back.

use std::{
    fmt::Write as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    envelope, ident,
    lake::Arrival,
    schema::{Violation, exception},
    settings::FailedShape,
};

/// Milliseconds after which a dataset's failures go into a new batch; AEP works in quarters of an hour.
const BATCH_MS: u64 = 15 * 60 * 1_000;

/// All failed batches, oldest first.
#[derive(Debug, Default)]
pub(crate) struct FailedBatches(Mutex<Vec<Batch>>);

#[derive(Debug)]
struct Batch {
    id: String,
    dataset: String,
    created_ms: u64,
    sealed: bool,
    records: Vec<FailedRecord>,
}

/// A message that failed.
#[derive(Debug)]
pub(crate) struct FailedRecord {
    /// Its place in the lake.
    pub(crate) seq: u64,
    /// Its place in the request.
    pub(crate) index: u32,
    /// When it was found out.
    pub(crate) processed_ms: u64,
    /// The request it came with.
    pub(crate) arrival: Arc<Arrival>,
    /// The message as it came.
    pub(crate) message: Bytes,
    /// What is wrong with it.
    pub(crate) violations: Vec<Violation>,
}

/// A failed batch, as views show it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FailedBatch {
    /// The batch's id, a ULID.
    pub id: String,
    /// The dataset.
    pub dataset: String,
    /// Milliseconds since 1970.
    pub created_ms: u64,
    /// What it holds.
    pub records: Vec<FailedMessage>,
}

/// A message of a failed batch, as views show it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FailedMessage {
    /// Its place in the lake.
    pub seq: u64,
    /// `header.msgId`, or the transaction id.
    pub msg_id: String,
    /// The transaction id of the answer.
    pub xaction_id: String,
    /// What is wrong with it.
    pub violations: Vec<Violation>,
}

impl FailedBatches {
    /// Adds a message to its dataset's batch.
    pub(crate) fn add(&self, dataset: &str, record: FailedRecord) {
        let mut batches = self.lock();
        let now = ident::now_ms();
        let current = batches.iter_mut().rev().find(|batch| {
            batch.dataset == dataset
                && !batch.sealed
                && now.saturating_sub(batch.created_ms) < BATCH_MS
        });
        match current {
            Some(batch) => batch.records.push(record),
            None => batches.push(Batch {
                id: ident::ulid(),
                dataset: dataset.to_owned(),
                created_ms: now,
                sealed: false,
                records: vec![record],
            }),
        }
    }

    /// Later failures go into new batches.
    pub(crate) fn seal(&self) {
        self.lock().iter_mut().for_each(|batch| batch.sealed = true);
    }

    /// All batches.
    pub(crate) fn view(&self, sandbox: &str) -> Vec<FailedBatch> {
        let batches = self.lock();
        let view = |batch: &Batch| FailedBatch {
            id: batch.id.clone(),
            dataset: batch.dataset.clone(),
            created_ms: batch.created_ms,
            records: batch.records.iter().map(|record| record.view(sandbox)).collect(),
        };
        batches.iter().map(view).collect()
    }

    /// Id, dataset, creation and count of all batches.
    pub(crate) fn list(&self) -> Vec<(String, String, u64, usize)> {
        let batches = self.lock();
        let line = |batch: &Batch| {
            (batch.id.clone(), batch.dataset.clone(), batch.created_ms, batch.records.len())
        };
        batches.iter().map(line).collect()
    }

    /// The file of a batch, one JSON record a line.
    pub(crate) fn file(&self, id: &str, shape: FailedShape, sandbox: &str) -> Option<String> {
        let batches = self.lock();
        let batch = batches.iter().find(|batch| batch.id == id)?;
        let mut file = String::new();
        for record in &batch.records {
            writeln!(file, "{}", record.render(shape, sandbox)).ok()?;
        }
        Some(file)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Batch>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FailedRecord {
    /// Header with what AEP adds to it, and body.
    fn parts(&self, sandbox: &str) -> (Value, Value) {
        let message: Value = serde_json::from_slice(&self.message).unwrap_or_default();
        let (came, body) = match (message.get("header"), message.get("body")) {
            (Some(header @ Value::Object(_)), Some(body)) => (header.to_string(), body.clone()),
            _ => (String::new(), message),
        };
        let header = envelope::header(
            came.as_bytes(),
            &self.arrival,
            self.index,
            self.processed_ms,
            sandbox,
        );
        (header, body)
    }

    fn view(&self, sandbox: &str) -> FailedMessage {
        let (header, _) = self.parts(sandbox);
        let xaction_id = self.arrival.xaction(self.index);
        let msg_id = header.get("msgId").and_then(Value::as_str).unwrap_or(&xaction_id).to_owned();
        FailedMessage { seq: self.seq, msg_id, xaction_id, violations: self.violations.clone() }
    }

    /// The record as Data Access gives it back.
    fn render(&self, shape: FailedShape, sandbox: &str) -> Value {
        let (header, body) = self.parts(sandbox);
        match shape {
            FailedShape::ValidationErrors => json!({
                "_validationErrors": self.exceptions(), "header": header, "body": body,
            }),
            FailedShape::Streaming => {
                let errors: Vec<Value> = self
                    .violations
                    .iter()
                    .map(|violation| json!({"code": violation.code, "message": violation.sentence()}))
                    .collect();
                json!({"header": header, "body": body, "_errors": {"_streamingValidation": errors}})
            }
            FailedShape::Strings => {
                let errors = json!({"_streamingValidation": self.exceptions()});
                json!({
                    "header": header.to_string(), "body": body.to_string(), "_errors": errors.to_string(),
                })
            }
        }
    }

    fn exceptions(&self) -> Value {
        json!([exception(&self.violations)])
    }
}
