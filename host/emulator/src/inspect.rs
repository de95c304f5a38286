//! The asynchronous validator: a thread of its own behind a bounded queue. When the queue is full,
//! requests wait for room; nothing is shed.

use std::{
    collections::HashMap,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock},
    thread,
    time::Duration,
};

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::mpsc::{self, OwnedPermit, Receiver, Sender};

use crate::{
    failed::{FailedBatches, FailedRecord},
    ident,
    inlet::Judged,
    known::Gate,
    lake::{Arrival, Lake},
    schema::{Schema, Violation, exception},
};

/// Requests whose messages may wait.
const WAITING: usize = 64;

/// The handle of the validator's thread.
#[derive(Debug)]
pub(crate) struct Inspector {
    schemas: Schemas,
    queue: Mutex<Option<Sender<Vec<Job>>>>,
    pending: Arc<Pending>,
}

/// Compiled schemas by id.
type Schemas = Arc<RwLock<HashMap<String, Arc<Schema>>>>;

/// A place in the queue; none where this inlet's messages are not validated.
pub(crate) type Room = Option<OwnedPermit<Vec<Job>>>;

/// A message to be validated.
#[derive(Debug)]
pub(crate) struct Job {
    seq: u64,
    index: u32,
    arrival: Arc<Arrival>,
    dataset: String,
    message: Bytes,
    entity: Bytes,
    /// None where the message has no entity.
    schema: Option<Arc<Schema>>,
    partial: bool,
}

#[derive(Debug, Default)]
struct Pending {
    count: Mutex<u64>,
    less: Condvar,
}

impl Inspector {
    /// Starts the thread. It ends after [`Self::close`], when its queue is empty.
    pub(crate) fn start(
        schemas: HashMap<String, Arc<Schema>>,
        lake: Arc<Lake>,
        failed: Arc<FailedBatches>,
    ) -> std::io::Result<Self> {
        let (queue, jobs) = mpsc::channel(WAITING);
        let pending = Arc::new(Pending::default());
        let done = Arc::clone(&pending);
        thread::Builder::new()
            .name("aep-validator".to_owned())
            .spawn(move || inspect(jobs, &lake, &failed, &done))?;
        let schemas = Arc::new(RwLock::new(schemas));
        Ok(Self { schemas, queue: Mutex::new(Some(queue)), pending })
    }

    /// Waits for room for one request's messages.
    pub(crate) async fn room(&self, gate: &Gate) -> Room {
        let wanted = gate.validate;
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match queue.filter(|_| wanted) {
            Some(queue) => queue.reserve_owned().await.ok(),
            None => None,
        }
    }

    /// Adds a compiled schema.
    pub(crate) fn add(&self, id: &str, schema: Schema) {
        let mut schemas = self.schemas.write().unwrap_or_else(PoisonError::into_inner);
        schemas.insert(id.to_owned(), Arc::new(schema));
    }

    /// The job for a message, if there is anything to validate it against.
    pub(crate) fn job(&self, arrival: &Arc<Arrival>, judged: &Judged) -> Option<Job> {
        let schema = judged.schema.as_deref().and_then(|id| self.schema(id));
        if judged.has_entity && schema.is_none() {
            return None;
        }
        Some(Job {
            seq: 0,
            index: judged.arriving.index,
            arrival: Arc::clone(arrival),
            dataset: judged.arriving.dataset.clone(),
            message: judged.message.clone(),
            entity: judged.arriving.entity.clone(),
            schema: schema.filter(|_| judged.has_entity),
            partial: judged.partial,
        })
    }

    /// Queues jobs of one request in the room reserved for it.
    pub(crate) fn send(&self, room: Room, jobs: Vec<Job>) {
        let Some(room) = room.filter(|_| !jobs.is_empty()) else { return };
        *self.pending.lock() += jobs.len() as u64;
        room.send(jobs);
    }

    /// Validates at once: the validator's object for what is wrong.
    pub(crate) fn sync_report(&self, judged: &Judged) -> Option<Value> {
        let schema = judged.schema.as_deref().and_then(|id| self.schema(id));
        let violations =
            check(&judged.arriving.entity, judged.has_entity, schema.as_deref(), judged.partial);
        (!violations.is_empty()).then(|| exception(&violations))
    }

    /// Messages that wait for their verdict.
    pub(crate) fn pending(&self) -> u64 {
        *self.pending.lock()
    }

    /// Waits until no message waits; false when the time ran out.
    pub(crate) fn wait(&self, limit: Duration) -> bool {
        let count = self.pending.lock();
        let waited = self.pending.less.wait_timeout_while(count, limit, |count| *count > 0);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// Takes no more jobs.
    pub(crate) fn close(&self) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn schema(&self, id: &str) -> Option<Arc<Schema>> {
        self.schemas.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }
}

impl Job {
    /// The place of its message in the lake.
    pub(crate) fn set_seq(&mut self, seq: u64) {
        self.seq = seq;
    }
}

impl Pending {
    fn lock(&self) -> MutexGuard<'_, u64> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn inspect(mut jobs: Receiver<Vec<Job>>, lake: &Lake, failed: &FailedBatches, pending: &Pending) {
    while let Some(jobs) = jobs.blocking_recv() {
        for job in jobs {
            let violations =
                check(&job.entity, job.schema.is_some(), job.schema.as_deref(), job.partial);
            let now = ident::now_ms();
            lake.judge(job.seq, !violations.is_empty(), now);
            if !violations.is_empty() {
                let (seq, index, processed_ms) = (job.seq, job.index, now);
                let (arrival, message) = (job.arrival, job.message);
                let record =
                    FailedRecord { seq, index, processed_ms, arrival, message, violations };
                failed.add(&job.dataset, record);
            }
            *pending.lock() -= 1;
            pending.less.notify_all();
        }
    }
}

fn check(
    entity: &[u8],
    has_entity: bool,
    schema: Option<&Schema>,
    partial: bool,
) -> Vec<Violation> {
    if !has_entity {
        return vec![Violation::of_message("required", "Payload body is missing xdmEntity")];
    }
    let Some(schema) = schema else { return Vec::new() };
    match serde_json::from_slice::<Value>(entity) {
        Ok(entity) if partial => schema.check_partial(&entity),
        Ok(entity) => schema.check(&entity),
        Err(_) => vec![Violation::of_message("type", "the entity is nested too deeply")],
    }
}
