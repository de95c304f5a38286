//! The record and what plugins make of it. Imports nothing of ours.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A partition of a topic.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartitionId {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number, from 0.
    pub partition: i32,
}

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

impl fmt::Debug for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where one record stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Position {
    /// The topic.
    pub topic: String,
    /// The partition's number.
    pub partition: i32,
    /// The offset within the partition.
    pub offset: i64,
}

impl Position {
    /// The position of the record at `offset`.
    pub fn new(partition: &PartitionId, offset: i64) -> Self {
        Self { topic: partition.topic.to_string(), partition: partition.partition, offset }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}@{}", self.topic, self.partition, self.offset)
    }
}

/// One Kafka header; a key may occur more than once.
#[derive(Clone, PartialEq, Eq)]
pub struct Header {
    /// The header's name.
    pub key: String,
    /// The header's value; none is Kafka's null.
    pub value: Option<Bytes>,
}

impl Header {
    /// What the header weighs in the budget of records in flight, in bytes.
    pub fn weight(&self) -> usize {
        const BOOKKEEPING: usize = 64;
        BOOKKEEPING + self.bytes()
    }

    /// The bytes of its key and value.
    pub fn bytes(&self) -> usize {
        self.key.len() + self.value.as_ref().map_or(0, Bytes::len)
    }
}

/// One Kafka record as it came: the raw bytes, whatever plugins see of them.
#[derive(Clone, Default)]
pub struct Record {
    /// The offset within its partition.
    pub offset: i64,
    /// Milliseconds since 1970 in UTC; none where the broker gives none.
    pub timestamp_ms: Option<i64>,
    /// The key; none is Kafka's null.
    pub key: Option<Bytes>,
    /// The value; none is a tombstone.
    pub payload: Option<Bytes>,
    /// All headers, in order.
    pub headers: Vec<Header>,
}

impl Record {
    /// What the record weighs in the budget of records in flight, in bytes: its contents and the
    /// bookkeeping that goes with it.
    pub fn weight(&self) -> usize {
        const BOOKKEEPING: usize = 256;
        BOOKKEEPING + self.bytes()
    }

    /// The bytes of key, value and headers.
    pub fn bytes(&self) -> usize {
        let headers: usize = self.headers.iter().map(Header::bytes).sum();
        self.key.as_ref().map_or(0, Bytes::len)
            + self.payload.as_ref().map_or(0, Bytes::len)
            + headers
    }
}

/// What a `raw` destination is asked to do with an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Operation {
    /// Add the entity.
    #[default]
    Create,
    /// Change the fields that are given, keep the rest.
    Update,
    /// Remove the entity.
    Delete,
}

/// One XDM entity on its way to one destination.
#[derive(Clone, PartialEq, Eq)]
pub struct Event {
    /// The entity as JSON text, without AEP's envelope.
    pub body: String,
    /// One of the pipeline's destinations by name; none means its first.
    pub route: Option<String>,
    /// None means [`Operation::Create`].
    pub operation: Option<Operation>,
}
