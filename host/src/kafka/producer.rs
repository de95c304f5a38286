//! The producer of dead letters.

use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::KafkaError as Error;
use rdkafka::message::{DeliveryResult, Header as KafkaHeader, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};

use super::fault::Refusal;
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
    /// Whether to write it in a batch of its own: brokers refuse a batch for its size, with all in it.
    fn alone(&self) -> bool;
    /// The broker did not take it, for the reason given.
    fn failed(self: Box<Self>, refusal: Refusal);
}

/// Writes letters; their fate is told from a thread of its own.
pub struct Producer {
    batching: Slot,
    /// For letters that were refused for their batch's size; made when the first one is.
    alone: OnceLock<Slot>,
}

/// A client that may have to be made again.
struct Slot {
    settings: ClientConfig,
    client: RwLock<Arc<ThreadedProducer<Context>>>,
}

impl Producer {
    /// Makes the client.
    pub fn new(kafka: &Kafka) -> Result<Self, KafkaError> {
        let batching = Slot::new(settings::producer(kafka))?;
        Ok(Self { batching, alone: OnceLock::new() })
    }

    /// Hands a letter to librdkafka. Its fate comes through [`Letter::written`] or
    /// [`Letter::failed`], always.
    pub fn send(&self, letter: Box<dyn Letter>) {
        let (topic, alone) = (letter.topic().to_owned(), letter.alone());
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
        let slot = if alone { self.alone() } else { &self.batching };
        let client = slot.client();
        if let Err((error, record)) = client.send(record) {
            (*record.delivery_opaque).failed(Refusal::from(&error));
        }
    }

    /// Waits until every letter has its fate.
    pub fn flush(&self, patience: Duration) -> Result<(), KafkaError> {
        let deadline = Instant::now() + patience;
        self.slots().try_for_each(|slot| {
            let left = deadline.saturating_duration_since(Instant::now());
            slot.client().flush(left).map_err(KafkaError::Request)
        })
    }

    /// Makes another client where one has met an error that it does not get over, such as a
    /// sequence that the brokers have forgotten. Called before letters are written again.
    pub fn renew(&self) {
        self.slots().for_each(Slot::renew);
    }

    fn slots(&self) -> impl Iterator<Item = &Slot> {
        std::iter::once(&self.batching).chain(self.alone.get())
    }

    fn alone(&self) -> &Slot {
        if let Some(alone) = self.alone.get() {
            return alone;
        }
        let mut settings = self.batching.settings.clone();
        settings.set("batch.num.messages", "1");
        match Slot::new(settings) {
            Ok(slot) => self.alone.get_or_init(|| slot),
            Err(error) => {
                tracing::error!(%error, "no Kafka client for single dead letters");
                &self.batching
            }
        }
    }
}

impl Slot {
    fn new(settings: ClientConfig) -> Result<Self, KafkaError> {
        let client = RwLock::new(Arc::new(client(&settings)?));
        Ok(Self { settings, client })
    }

    fn renew(&self) {
        let Some((_, reason)) = self.client().client().fatal_error() else { return };
        tracing::warn!(reason, "the Kafka client of dead letters is made again");
        match client(&self.settings) {
            Ok(client) => {
                *self.client.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(client);
            }
            Err(error) => tracing::error!(%error, "no Kafka client for dead letters"),
        }
    }

    fn client(&self) -> Arc<ThreadedProducer<Context>> {
        Arc::clone(&self.client.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn client(settings: &ClientConfig) -> Result<ThreadedProducer<Context>, KafkaError> {
    ThreadedProducer::from_config_and_context(settings, Context).map_err(KafkaError::settings)
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
            Err((error, _)) => letter.failed(Refusal::from(error)),
        }
    }
}
