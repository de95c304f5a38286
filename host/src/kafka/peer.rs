//! An ordinary client beside the pipelines, as an application would have: the demo's producer, and
//! the reader of what the topics hold afterwards.

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{Offset, TopicPartitionList};

use super::KafkaError;
use super::headers::record;
use crate::record::Record;

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
            // A broker that is killed must not write a record twice.
            .set("enable.idempotence", "true")
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

    /// Hands a record to the producer, which writes it when it can; [`Peer::flush`] waits for that.
    pub fn push(
        &self,
        topic: &str,
        partition: i32,
        key: Option<&[u8]>,
        payload: &[u8],
    ) -> Result<(), KafkaError> {
        let mut record: BaseRecord<'_, [u8], [u8]> =
            BaseRecord::to(topic).partition(partition).payload(payload);
        record.key = key;
        loop {
            match self.producer.send(record) {
                Ok(()) => {
                    self.producer.poll(Duration::ZERO);
                    return Ok(());
                }
                Err((error, again)) => {
                    if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                        return Err(KafkaError::Request(error));
                    }
                    self.producer.poll(Duration::from_millis(10));
                    record = again;
                }
            }
        }
    }

    /// Waits until everything is written, or the patience is over.
    pub fn flush(&self, patience: Duration) -> Result<(), KafkaError> {
        self.producer.flush(patience).map_err(KafkaError::Request)
    }

    /// Makes a topic, with as many replicas as asked for.
    pub fn create_topic(
        &self,
        name: &str,
        partitions: i32,
        replicas: i32,
        settings: &[(&str, &str)],
    ) -> Result<(), KafkaError> {
        let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
            .set("bootstrap.servers", &self.bootstrap)
            .create()
            .map_err(KafkaError::settings)?;
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(replicas));
        let topic = settings.iter().fold(topic, |topic, (key, value)| topic.set(key, value));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .map_err(|error| KafkaError::Fatal(error.to_string()))?;
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
        let made = runtime
            .block_on(admin.create_topics([&topic], &options))
            .map_err(KafkaError::Request)?;
        match made.into_iter().next() {
            Some(Ok(_)) => Ok(()),
            Some(Err((_, code))) => {
                Err(KafkaError::Fatal(format!("the topic `{name}` cannot be made: {code}")))
            }
            None => Err(KafkaError::Fatal(format!("nothing is said of the topic `{name}`"))),
        }
    }

    /// How many brokers answer for the cluster.
    pub fn brokers(&self) -> Result<usize, KafkaError> {
        let metadata = self.reader("")?.fetch_metadata(None, PATIENCE);
        metadata.map(|metadata| metadata.brokers().len()).map_err(KafkaError::Request)
    }

    /// The offset after the newest record of each partition, and what the group has committed
    /// there, if anything.
    pub fn progress(
        &self,
        group: &str,
        topic: &str,
        partitions: i32,
    ) -> Result<Vec<(i64, Option<i64>)>, KafkaError> {
        let reader = self.reader(group)?;
        let mut list = TopicPartitionList::new();
        list.add_partition_range(topic, 0, partitions - 1);
        let mut ends = list.clone();
        ends.set_all_offsets(Offset::End).map_err(KafkaError::Request)?;
        let ends = reader.offsets_for_times(ends, PATIENCE).map_err(KafkaError::Request)?;
        let committed = reader.committed_offsets(list, PATIENCE).map_err(KafkaError::Request)?;
        let offset = |found: &TopicPartitionList, partition| {
            let element = found.find_partition(topic, partition)?;
            element.offset().to_raw().filter(|offset| *offset >= 0)
        };
        (0..partitions)
            .map(|partition| {
                let end = offset(&ends, partition).ok_or_else(|| {
                    KafkaError::Fatal(format!("partition {partition} does not say where it ends"))
                })?;
                Ok((end, offset(&committed, partition)))
            })
            .collect()
    }

    /// A consumer that joins no group.
    fn reader(&self, group: &str) -> Result<BaseConsumer, KafkaError> {
        ClientConfig::new()
            .set("bootstrap.servers", &self.bootstrap)
            // Needed by librdkafka; nothing is committed.
            .set("group.id", if group.is_empty() { "xylem-reader" } else { group })
            .set("enable.auto.commit", "false")
            .create()
            .map_err(KafkaError::settings)
    }

    /// Everything that a topic holds, partition by partition.
    pub fn read(&self, topic: &str) -> Result<Vec<Record>, KafkaError> {
        let consumer = self.reader("")?;
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
        records.push(record(&message));
        if message.offset() + 1 >= high {
            return Ok(());
        }
    }
    Err(KafkaError::Fatal(format!("`{topic}` was not read to its end in time")))
}
