//! One consumer, polled by one thread.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError as Error, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{Offset, TopicPartitionList};

use super::{KafkaError, settings};
use crate::config::Kafka;
use crate::record::{Header, PartitionId, Record};

/// What the consumer tells its owner of the group's decisions. Called inside [`Consumer::poll`],
/// on the polling thread.
pub trait Assignments: Send + Sync + 'static {
    /// These partitions are ours from now on.
    fn assigned(&self, partitions: &[PartitionId]);

    /// These partitions go to another member. Returns the positions to commit for them; what is
    /// not settled by then comes again there. `lost`: they are gone already, nothing can be
    /// committed.
    fn revoked(&self, partitions: &[PartitionId], lost: bool) -> Vec<(PartitionId, i64)>;

    /// A commit ended, well or not.
    fn committed(&self, done: bool);

    /// Records between the committed offset and the log's end, every five seconds.
    fn lags(&self, lags: BTreeMap<PartitionId, i64>);
}

/// What one poll brought.
pub enum Fetched {
    /// A record.
    Record {
        /// The topic's name, borrowed by the caller's look-up.
        partition: PartitionId,
        /// The record, copied out of librdkafka's buffer.
        record: Record,
    },
    /// Nothing within the time.
    Nothing,
    /// A condition that librdkafka mends by itself, or an operator must.
    Trouble(KafkaError),
}

/// The consumer of this process.
pub struct Consumer {
    client: BaseConsumer<Context>,
    /// One allocation per topic, not per record.
    topics: BTreeMap<String, Arc<str>>,
    paused: Vec<PartitionId>,
}

impl Consumer {
    /// Makes the client; nothing is sent before [`Consumer::subscribe`].
    pub fn new(
        kafka: &Kafka,
        budget: usize,
        assignments: Arc<dyn Assignments>,
    ) -> Result<Self, KafkaError> {
        let context = Context { assignments };
        let client =
            BaseConsumer::from_config_and_context(&settings::consumer(kafka, budget), context)
                .map_err(KafkaError::Settings)?;
        Ok(Self { client, topics: BTreeMap::new(), paused: Vec::new() })
    }

    /// The cluster's own id, which goes into every message id. None while no broker answers.
    pub fn cluster_id(&self, patience: Duration) -> Option<String> {
        self.client.client().fetch_cluster_id(patience)
    }

    /// Joins the group.
    pub fn subscribe(&mut self, topics: &[&str]) -> Result<(), KafkaError> {
        self.topics = topics.iter().map(|t| ((*t).to_owned(), Arc::from(*t))).collect();
        self.client.subscribe(topics).map_err(KafkaError::Request)
    }

    /// Waits for a record; serves the group meanwhile.
    pub fn poll(&mut self, patience: Duration) -> Fetched {
        match self.client.poll(patience) {
            None => Fetched::Nothing,
            Some(Ok(message)) => self.fetched(&message),
            Some(Err(error)) => self.trouble(error),
        }
    }

    /// Notes the settled prefix of a partition; librdkafka commits it within a second.
    pub fn store(&self, partition: &PartitionId, position: i64) {
        let mut list = TopicPartitionList::with_capacity(1);
        // `store_offsets` stores as is: the position is already one above the last record.
        let stored = list
            .add_partition_offset(&partition.topic, partition.partition, Offset::Offset(position))
            .and_then(|()| self.client.store_offsets(&list));
        if let Err(error) = stored {
            // The partition was taken away meanwhile: its new owner starts at what was committed.
            tracing::debug!(%partition, %error, "offset not stored");
        }
    }

    /// Fetches no more from these partitions; what was fetched ahead is thrown away.
    pub fn pause(&mut self, partitions: &[PartitionId]) {
        if let Err(error) = self.client.pause(&list(partitions)) {
            tracing::warn!(%error, "cannot pause partitions");
        }
        self.paused.extend_from_slice(partitions);
    }

    /// Fetches from these partitions again.
    pub fn resume(&mut self, partitions: &[PartitionId]) {
        if let Err(error) = self.client.resume(&list(partitions)) {
            tracing::warn!(%error, "cannot resume partitions");
        }
        self.paused.retain(|paused| !partitions.contains(paused));
    }

    /// Commits what is stored and waits for the answer.
    pub fn commit(&self) -> Result<(), KafkaError> {
        match self.client.commit_consumer_state(CommitMode::Sync) {
            Ok(()) | Err(Error::ConsumerCommit(RDKafkaErrorCode::NoOffset)) => Ok(()),
            Err(error) => Err(KafkaError::Request(error)),
        }
    }

    fn fetched(&self, message: &BorrowedMessage<'_>) -> Fetched {
        let topic =
            self.topics.get(message.topic()).cloned().unwrap_or_else(|| message.topic().into());
        let headers = message.headers().map_or_else(Vec::new, |headers| {
            headers
                .iter()
                .map(|header| Header {
                    key: header.key.to_owned(),
                    value: header.value.map(Bytes::copy_from_slice),
                })
                .collect()
        });
        Fetched::Record {
            partition: PartitionId { topic, partition: message.partition() },
            record: Record {
                offset: message.offset(),
                timestamp_ms: message.timestamp().to_millis(),
                key: message.key().map(Bytes::copy_from_slice),
                payload: message.payload().map(Bytes::copy_from_slice),
                headers,
            },
        }
    }

    fn trouble(&self, error: Error) -> Fetched {
        if let Some((_, reason)) = self.client.client().fatal_error() {
            return Fetched::Trouble(KafkaError::Fatal(reason));
        }
        Fetched::Trouble(KafkaError::Request(error))
    }
}

fn list(partitions: &[PartitionId]) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for id in partitions {
        list.add_partition(&id.topic, id.partition);
    }
    list
}

/// Turns librdkafka's callbacks into [`Assignments`] and logs.
struct Context {
    assignments: Arc<dyn Assignments>,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: Error, reason: &str) {
        tracing::warn!(%error, reason, "Kafka client");
    }

    fn stats(&self, statistics: rdkafka::Statistics) {
        let mut lags = BTreeMap::new();
        for topic in statistics.topics.values() {
            let name: Arc<str> = topic.topic.as_str().into();
            for partition in topic.partitions.values().filter(|p| p.partition >= 0) {
                let id = PartitionId { topic: Arc::clone(&name), partition: partition.partition };
                if partition.consumer_lag >= 0 {
                    lags.insert(id, partition.consumer_lag);
                }
            }
        }
        self.assignments.lags(lags);
    }
}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let Rebalance::Revoke(list) = rebalance else { return };
        let positions = self.assignments.revoked(&ids(list), consumer.assignment_lost());
        let mut offsets = TopicPartitionList::with_capacity(positions.len());
        for (id, position) in positions {
            let added =
                offsets.add_partition_offset(&id.topic, id.partition, Offset::Offset(position));
            if let Err(error) = added {
                tracing::warn!(partition = %id, %error, "offset not stored");
            }
        }
        // Committed by librdkafka before the partitions go.
        if let Err(error) = consumer.store_offsets(&offsets) {
            tracing::debug!(%error, "offsets of revoked partitions not stored");
        }
    }

    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(list) => self.assignments.assigned(&ids(list)),
            Rebalance::Revoke(_) => {}
            Rebalance::Error(error) => tracing::warn!(%error, "rebalance"),
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        match result {
            Ok(()) => self.assignments.committed(true),
            Err(Error::ConsumerCommit(RDKafkaErrorCode::NoOffset)) => {}
            Err(error) => {
                self.assignments.committed(false);
                tracing::warn!(%error, "commit failed; tried again with the next");
            }
        }
    }
}

fn ids(list: &TopicPartitionList) -> Vec<PartitionId> {
    list.elements()
        .iter()
        .map(|element| PartitionId {
            topic: element.topic().into(),
            partition: element.partition(),
        })
        .collect()
}

/// librdkafka's own lines. They name brokers, topics and groups, never contents or secrets.
pub(super) fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg
        | RDKafkaLogLevel::Alert
        | RDKafkaLogLevel::Critical
        | RDKafkaLogLevel::Error
        | RDKafkaLogLevel::Warning => tracing::warn!(target: "librdkafka", facility, "{message}"),
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
            tracing::info!(target: "librdkafka", facility, "{message}");
        }
        RDKafkaLogLevel::Debug => tracing::debug!(target: "librdkafka", facility, "{message}"),
    }
}
