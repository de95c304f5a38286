//! Dead letters: a record that cannot be delivered, written as it came to a topic of its own.
//!
//! The letter carries the raw key, payload and headers, and the cause in headers of the form that
//! Kafka Connect uses (`__connect.errors.…`), with ours (`xylem.…`) beside them. It is written
//! again for as long as it takes: its record is settled when the topic has acknowledged it.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::fault::{Code, Fault};
use crate::kafka::{Letter, Producer};
use crate::record::Header;
use crate::settle::{Debt, Settlement};
use crate::stop;
use crate::telemetry::Faults;

/// The most bytes of a message or backtrace in a header.
const TEXT_LIMIT: usize = 16 * 1024;

/// Writes dead letters and keeps those that the topic did not take, to write them again.
pub struct DeadLetters {
    producer: Producer,
    faults: Faults,
    /// Those that are to be written again.
    again: Mutex<Vec<DeadLetter>>,
    /// Letters that no topic has acknowledged yet.
    waiting: AtomicUsize,
    refused: AtomicU64,
    /// Why the last one was not taken, until one is.
    refusal: Mutex<Option<String>>,
}

/// Where a dead letter goes, and under which name and generation it failed.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The dead-letter topic.
    pub topic: Arc<str>,
    /// The pipeline.
    pub pipeline: Arc<str>,
    /// The generation.
    pub generation: Arc<str>,
}

impl DeadLetters {
    /// Writes with this producer, and counts what was at fault.
    pub fn new(producer: Producer, faults: Faults) -> Arc<Self> {
        Arc::new(Self {
            producer,
            faults,
            again: Mutex::default(),
            waiting: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
            refusal: Mutex::default(),
        })
    }

    /// Writes one record; it is settled when the topic has it. `accepted` are the indexes of its
    /// events that AEP has taken: a replay skips them.
    pub fn send(
        self: &Arc<Self>,
        mut debt: Debt,
        fault: &Fault,
        origin: &Origin,
        accepted: &[usize],
    ) {
        let (id, offset) = (&debt.partition().id, debt.record.offset);
        self.faults.count(&origin.pipeline, fault.code, id, offset);
        let headers = headers(&debt, fault, origin, accepted);
        // Invariant 4: a letter that waits is in flight with all that it carries.
        debt.charge(headers.iter().map(Header::weight).sum());
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.write(DeadLetter {
            debt,
            topic: Arc::clone(&origin.topic),
            headers,
            owner: Arc::clone(self),
        });
    }

    /// Writes again what was not taken. Called every second.
    pub fn retry(&self) {
        self.producer.renew();
        let waiting =
            std::mem::take(&mut *self.again.lock().unwrap_or_else(PoisonError::into_inner));
        for letter in waiting {
            self.write(letter);
        }
    }

    /// How many letters no topic has acknowledged yet.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Why the last letter was not taken: the topic and Kafka's words. None once one was taken.
    pub fn refusal(&self) -> Option<String> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How often the topic did not take a letter.
    pub fn refusals(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn write(&self, letter: DeadLetter) {
        self.producer.send(Box::new(letter));
    }
}

struct DeadLetter {
    debt: Debt,
    topic: Arc<str>,
    headers: Vec<Header>,
    owner: Arc<DeadLetters>,
}

impl Letter for DeadLetter {
    fn topic(&self) -> &str {
        &self.topic
    }

    fn key(&self) -> Option<Bytes> {
        self.debt.record.key.clone()
    }

    fn payload(&self) -> Option<Bytes> {
        self.debt.record.payload.clone()
    }

    fn headers(&self) -> Vec<Header> {
        self.headers.clone()
    }

    fn written(self: Box<Self>) {
        stop::point("dead-lettered");
        self.owner.waiting.fetch_sub(1, Ordering::Relaxed);
        self.owner.refusal.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Invariant 2: the topic has acknowledged it.
        self.debt.settle(Settlement::DeadLettered);
    }

    fn failed(self: Box<Self>, reason: String) {
        let owner = Arc::clone(&self.owner);
        if owner.refused.fetch_add(1, Ordering::Relaxed).is_power_of_two() {
            let code = Code::DeadLetterUnwritable.as_str();
            tracing::warn!(code, topic = %self.topic, reason, "dead letter not written; trying on");
        }
        // Invariant 11: an unwritable topic is an outage; the record waits.
        let words = format!("`{}`: {reason}", self.topic);
        *owner.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(words);
        owner.again.lock().unwrap_or_else(PoisonError::into_inner).push(*self);
    }
}

/// The record's own headers, then the cause.
fn headers(debt: &Debt, fault: &Fault, origin: &Origin, accepted: &[usize]) -> Vec<Header> {
    let id = &debt.partition().id;
    let record = &debt.record;
    let mut headers = record.headers.clone();
    let mut add = |key: &str, value: &str| {
        headers.push(Header {
            key: key.to_owned(),
            value: Some(Bytes::copy_from_slice(clip(value).as_bytes())),
        });
    };
    add("__connect.errors.topic", &id.topic);
    add("__connect.errors.partition", &id.partition.to_string());
    add("__connect.errors.offset", &record.offset.to_string());
    add("__connect.errors.connector.name", &origin.pipeline);
    add("__connect.errors.stage", stage(fault));
    add("__connect.errors.exception.class.name", fault.code.as_str());
    add("__connect.errors.exception.message", &fault.message);
    if let Some(trace) = &fault.trace {
        add("__connect.errors.exception.stacktrace", trace);
    }
    add("xylem.code", fault.code.as_str());
    add("xylem.domain", fault.domain().as_str());
    add("xylem.generation", &origin.generation);
    if let Some(timestamp) = record.timestamp_ms {
        add("xylem.timestamp", &timestamp.to_string());
    }
    if let Some(reason) = &fault.reason {
        add("xylem.reason", reason);
    }
    if let Some(path) = &fault.path {
        add("xylem.path", path);
    }
    if let Some(plugin) = &fault.plugin {
        add("xylem.plugin", &plugin.name);
        add("xylem.plugin.digest", &plugin.digest);
    }
    if !accepted.is_empty() {
        let list: Vec<String> = accepted.iter().map(ToString::to_string).collect();
        add("xylem.accepted", &list.join(","));
    }
    headers
}

/// The step at which the record failed, in Connect's words as far as they fit.
fn stage(fault: &Fault) -> &'static str {
    match fault.code {
        Code::NotUtf8 | Code::Tombstone => "VALUE_CONVERTER",
        Code::SchemaInvalid | Code::Oversize | Code::TooLarge => "VALIDATION",
        Code::Refused => "TASK_PUT",
        _ => "TRANSFORMATION",
    }
}

fn clip(text: &str) -> &str {
    let mut end = text.len().min(TEXT_LIMIT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}
