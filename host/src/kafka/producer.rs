//! The producer of dead letters.

use std::time::Duration;

use bytes::Bytes;
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::KafkaError as Error;
use rdkafka::message::{DeliveryResult, Header as KafkaHeader, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};

use super::{KafkaError, consumer, settings};
use crate::config::Kafka;
use crate::record::Header;

/// One record to be written. Comes back to its owner when the broker has spoken.
pub trait Letter: Send + Sync + 'static {
    /// The topic.
    fn topic(&self) -> &str;
    /// The raw key.
    fn key(&self) -> Option<Bytes>;
    /// The raw payload.
    fn payload(&self) -> Option<Bytes>;
    /// The headers, in order.
    fn headers(&self) -> Vec<Header>;
    /// All replicas have it.
    fn written(self: Box<Self>);
    /// The broker did not take it, for the reason given.
    fn failed(self: Box<Self>, reason: String);
}

/// Writes letters; their fate is told from a thread of its own.
pub struct Producer {
    client: ThreadedProducer<Context>,
}

impl Producer {
    /// Makes the client.
    pub fn new(kafka: &Kafka) -> Result<Self, KafkaError> {
        ThreadedProducer::from_config_and_context(&settings::producer(kafka), Context)
            .map(|client| Self { client })
            .map_err(KafkaError::Settings)
    }

    /// Hands a letter to librdkafka. Its fate comes through [`Letter::written`] or
    /// [`Letter::failed`], always.
    pub fn send(&self, letter: Box<dyn Letter>) {
        let topic = letter.topic().to_owned();
        let (key, payload) = (letter.key(), letter.payload());
        let headers = letter.headers().iter().fold(OwnedHeaders::new(), |headers, header| {
            headers.insert(KafkaHeader { key: &header.key, value: header.value.as_deref() })
        });
        // A trait object is two words; librdkafka carries one.
        let mut record: BaseRecord<'_, [u8], [u8], _> =
            BaseRecord::with_opaque_to(&topic, Box::new(letter)).headers(headers);
        if let Some(key) = &key {
            record = record.key(key);
        }
        if let Some(payload) = &payload {
            record = record.payload(payload);
        }
        if let Err((error, record)) = self.client.send(record) {
            (*record.delivery_opaque).failed(error.to_string());
        }
    }

    /// Waits until every letter has its fate.
    pub fn flush(&self, patience: Duration) -> Result<(), KafkaError> {
        self.client.flush(patience).map_err(KafkaError::Request)
    }
}

struct Context;

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        consumer::log(level, facility, message);
    }

    fn error(&self, error: Error, reason: &str) {
        tracing::warn!(%error, reason, "Kafka client of dead letters");
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<Box<dyn Letter>>;

    fn delivery(&self, result: &DeliveryResult<'_>, letter: Self::DeliveryOpaque) {
        match result {
            Ok(_) => letter.written(),
            Err((error, _)) => letter.failed(error.to_string()),
        }
    }
}
