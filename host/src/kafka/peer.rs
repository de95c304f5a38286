//! An ordinary client beside the pipelines, as an application would have: the demo's producer, and
//! the reader of what the topics hold afterwards.

use std::time::{Duration, Instant};

use bytes::Bytes;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{Offset, TopicPartitionList};

use super::KafkaError;
use crate::record::{Header, Record};

/// How long the cluster may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A client of one cluster.
pub struct Peer {
    bootstrap: String,
    producer: BaseProducer,
}

impl Peer {
    /// A client; nothing is sent yet.
    pub fn new(bootstrap: &str) -> Result<Self, KafkaError> {
        let producer = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("linger.ms", "2")
            .create()
            .map_err(KafkaError::settings)?;
        Ok(Self { bootstrap: bootstrap.to_owned(), producer })
    }

    /// Writes records to one partition, in order, and waits until the broker has them.
    pub fn write(&self, topic: &str, partition: i32, payloads: &[&[u8]]) -> Result<(), KafkaError> {
        for payload in payloads {
            let record: BaseRecord<'_, (), [u8]> =
                BaseRecord::to(topic).partition(partition).payload(payload);
            self.producer.send(record).map_err(|(error, _)| KafkaError::Request(error))?;
        }
        self.producer.flush(PATIENCE).map_err(KafkaError::Request)
    }

    /// Everything that a topic holds, partition by partition.
    pub fn read(&self, topic: &str) -> Result<Vec<Record>, KafkaError> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.bootstrap)
            // Needed by librdkafka, used by nobody: nothing is committed.
            .set("group.id", "xylem-reader")
            .set("enable.auto.commit", "false")
            .create()
            .map_err(KafkaError::settings)?;
        let metadata =
            consumer.fetch_metadata(Some(topic), PATIENCE).map_err(KafkaError::Request)?;
        let partitions =
            metadata.topics().first().map_or(&[][..], rdkafka::metadata::MetadataTopic::partitions);
        let mut records = Vec::new();
        for partition in partitions.iter().map(rdkafka::metadata::MetadataPartition::id) {
            read_partition(&consumer, topic, partition, &mut records)?;
        }
        Ok(records)
    }
}

fn read_partition(
    consumer: &BaseConsumer,
    topic: &str,
    partition: i32,
    records: &mut Vec<Record>,
) -> Result<(), KafkaError> {
    let (low, high) =
        consumer.fetch_watermarks(topic, partition, PATIENCE).map_err(KafkaError::Request)?;
    if low >= high {
        return Ok(());
    }
    let mut list = TopicPartitionList::with_capacity(1);
    list.add_partition_offset(topic, partition, Offset::Beginning).map_err(KafkaError::Request)?;
    consumer.assign(&list).map_err(KafkaError::Request)?;
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let message = match consumer.poll(Duration::from_millis(100)) {
            None => continue,
            Some(message) => message.map_err(KafkaError::Request)?,
        };
        let headers = message.headers().map_or_else(Vec::new, |headers| {
            let owned = |header: rdkafka::message::Header<'_, &[u8]>| Header {
                key: header.key.to_owned(),
                value: header.value.map(Bytes::copy_from_slice),
            };
            headers.iter().map(owned).collect()
        });
        records.push(Record {
            offset: message.offset(),
            timestamp_ms: message.timestamp().to_millis(),
            key: message.key().map(Bytes::copy_from_slice),
            payload: message.payload().map(Bytes::copy_from_slice),
            headers,
        });
        if message.offset() + 1 >= high {
            return Ok(());
        }
    }
    Err(KafkaError::Fatal(format!("`{topic}` was not read to its end in time")))
}
