//! One consumer, polled by one thread.

use std::collections::BTreeMap;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError as Error, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};

use super::begin::{self, Beginning, Rules};
use super::ends::LogEnds;
use super::headers::headers;
use super::retention::Retentions;
use super::{KafkaError, fault, settings};
use crate::config::{Kafka, Start};
use crate::fault::Code;
use crate::record::{PartitionId, Record};

/// How long the brokers may take to say where newly assigned partitions begin.
const BEGIN_PATIENCE: Duration = Duration::from_secs(10);

/// What librdkafka says of a topic that is not there, before its name.
const NOT_AVAILABLE: &str = "Subscribed topic not available:";

/// How often it is looked whether a commit was answered.
const COMMIT_TICK: Duration = Duration::from_millis(20);

/// What the consumer tells its owner of the group's decisions. Called inside [`Consumer::poll`],
/// on the polling thread.
pub trait Assignments: Send + Sync + 'static {
    /// These partitions are ours from now on, and begin here.
    fn assigned(&self, partitions: &[(PartitionId, Beginning)]);

    /// These partitions go to another member. Returns the positions to commit for them; what is
    /// not settled by then comes again there. `lost`: they are gone already, nothing can be
    /// committed.
    fn revoked(&self, partitions: &[PartitionId], lost: bool) -> Vec<(PartitionId, i64)>;

    /// A topic that is subscribed to does not exist, or may not be read.
    fn missing(&self, topic: &str);
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
    /// The next record of some partition is not there: its log is shorter, or begins later.
    OutOfRange,
    /// A condition that librdkafka mends by itself, or an operator must.
    Trouble(KafkaError),
}

/// The consumer of this process.
pub struct Consumer {
    client: Arc<BaseConsumer<Context>>,
    /// One allocation per topic, not per record.
    topics: BTreeMap<String, Arc<str>>,
    rules: Rules,
    admin: ClientConfig,
}

impl Consumer {
    /// Makes the client; nothing is sent before [`Consumer::subscribe`].
    pub fn new(
        kafka: &Kafka,
        budget: usize,
        assignments: Arc<dyn Assignments>,
    ) -> Result<Self, KafkaError> {
        let rules = Rules { start: kafka.start, out_of_range: kafka.out_of_range };
        let context = Context { assignments, rules, seen: Mutex::default() };
        let client =
            BaseConsumer::from_config_and_context(&settings::consumer(kafka, budget), context)
                .map_err(KafkaError::settings)?;
        let client = Arc::new(client);
        Ok(Self { client, topics: BTreeMap::new(), rules, admin: settings::admin(kafka) })
    }

    /// The cluster's own id, which goes into every message id. None while no broker answers.
    pub fn cluster_id(&self, patience: Duration) -> Option<String> {
        self.client.client().fetch_cluster_id(patience)
    }

    /// Joins the group with these topics; where it was joined before, what differs is assigned and taken
    /// away. Without a change nothing happens.
    pub fn subscribe(&mut self, topics: &[String]) -> Result<(), KafkaError> {
        if self.topics.keys().eq(topics) {
            return Ok(());
        }
        self.topics = topics.iter().map(|topic| (topic.clone(), topic.as_str().into())).collect();
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        self.client.subscribe(&names).map_err(KafkaError::Request)
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
    pub fn pause(&self, partitions: &[PartitionId]) {
        if let Err(error) = self.client.pause(&list(partitions)) {
            tracing::warn!(%error, "cannot pause partitions");
        }
    }

    /// Fetches from these partitions again.
    pub fn resume(&self, partitions: &[PartitionId]) {
        if let Err(error) = self.client.resume(&list(partitions)) {
            tracing::warn!(%error, "cannot resume partitions");
        }
    }

    /// Asks where partitions go on whose next record is the one given, if known.
    pub fn look_again(
        &self,
        partitions: &[(PartitionId, Option<i64>)],
        patience: Duration,
    ) -> Vec<Beginning> {
        // What was added meanwhile begins at its first record here, too.
        let added = |id: &PartitionId| self.client.context().is_added(&self.client, id);
        let ask = |one: &(PartitionId, Option<i64>)| {
            let start = if added(&one.0) { Start::Earliest } else { self.rules.start };
            let rules = Rules { start, ..self.rules };
            begin::look_up(&self.client, std::slice::from_ref(one), rules, patience).remove(0)
        };
        if partitions.iter().any(|(id, _)| added(id)) {
            return partitions.iter().map(ask).collect();
        }
        begin::look_up(&self.client, partitions, self.rules, patience)
    }

    /// Reads a partition from another offset; whether it does.
    pub fn restart(&self, partition: &PartitionId, beginning: &Beginning) -> bool {
        // A seek would be refused: librdkafka has given the partition up.
        let mut list = TopicPartitionList::with_capacity(1);
        let restarted = list
            .add_partition_offset(&partition.topic, partition.partition, beginning.offset())
            .and_then(|()| self.client.incremental_unassign(&list))
            .and_then(|()| self.client.incremental_assign(&list))
            .and_then(|()| match beginning {
                Beginning::At { fresh: true, .. } => self.client.commit(&list, CommitMode::Async),
                _ => Ok(()),
            });
        if let Err(error) = restarted {
            tracing::warn!(%partition, %error, "cannot go on with the partition; tried again");
            return false;
        }
        true
    }

    /// Asks where logs end; to be dropped before this.
    pub fn log_ends(&self) -> LogEnds {
        LogEnds(Arc::clone(&self.client))
    }

    /// Asks how long topics keep their records.
    pub fn retentions(&self) -> Retentions {
        Retentions::new(self.admin.clone())
    }

    /// Commits what is stored and waits for the answer, until the deadline; true where it is done.
    pub fn commit(&self, deadline: Instant) -> bool {
        let (answer, answers) = channel();
        let client = Arc::clone(&self.client);
        // librdkafka tells the result of a commit to none but who waits for it, for as long as it
        // takes: so a thread does, and is left behind where the time is over.
        std::thread::spawn(move || {
            // Nobody listens any more where the time is over.
            drop(answer.send(client.commit_consumer_state(CommitMode::Sync)));
        });
        loop {
            match answers.recv_timeout(COMMIT_TICK) {
                Ok(Ok(()) | Err(Error::ConsumerCommit(RDKafkaErrorCode::NoOffset))) => return true,
                Ok(Err(error)) => {
                    tracing::warn!(%error, "commit");
                    return false;
                }
                Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => {
                    // The group must not think that we are gone. What is fetched beside it comes again.
                    drop(self.client.poll(Duration::ZERO));
                }
                Err(_) => return false,
            }
        }
    }

    fn fetched(&self, message: &BorrowedMessage<'_>) -> Fetched {
        let topic =
            self.topics.get(message.topic()).cloned().unwrap_or_else(|| message.topic().into());
        Fetched::Record {
            partition: PartitionId { topic, partition: message.partition() },
            record: Record {
                offset: message.offset(),
                timestamp_ms: message.timestamp().to_millis(),
                key: message.key().map(Bytes::copy_from_slice),
                payload: message.payload().map(Bytes::copy_from_slice),
                headers: headers(message),
            },
        }
    }

    fn trouble(&self, error: Error) -> Fetched {
        if let Some((_, reason)) = self.client.client().fatal_error() {
            return Fetched::Trouble(KafkaError::Fatal(reason));
        }
        match error.rdkafka_error_code().map(fault::consuming) {
            Some(Code::OutOfRange) => Fetched::OutOfRange,
            // Told with its name through the client's context.
            Some(Code::TopicRefused) => Fetched::Nothing,
            _ => Fetched::Trouble(KafkaError::Request(error)),
        }
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
pub(super) struct Context {
    assignments: Arc<dyn Assignments>,
    rules: Rules,
    /// How many partitions topics had when they were first assigned.
    seen: Mutex<BTreeMap<Arc<str>, i32>>,
}

impl Context {
    /// Whether a partition was added to its topic after this process first saw that: then its records are
    /// new, and a group that starts at the newest record reads them all.
    fn is_added(&self, consumer: &BaseConsumer<Self>, id: &PartitionId) -> bool {
        if self.rules.start == Start::Earliest {
            return false;
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = seen.get(&id.topic) {
            return id.partition >= *count;
        }
        let metadata = consumer.fetch_metadata(Some(&id.topic), BEGIN_PATIENCE).ok();
        let count =
            metadata.and_then(|metadata| Some(metadata.topics().first()?.partitions().len()));
        if let Some(count) = count.and_then(|count| i32::try_from(count).ok()) {
            seen.insert(Arc::clone(&id.topic), count);
        }
        false
    }

    fn assign(&self, consumer: &BaseConsumer<Self>, list: &mut TopicPartitionList) {
        // librdkafka keeps a pause over a rebalance, and whoever gets the partition again would
        // wait for ever.
        if let Err(error) = consumer.resume(list) {
            tracing::debug!(%error, "newly assigned partitions not resumed");
        }
        let (added, known): (Vec<_>, Vec<_>) = ids(list)
            .into_iter()
            .map(|id| (id, None))
            .partition(|(id, _)| self.is_added(consumer, id));
        let mut beginnings = begin::look_up(consumer, &known, self.rules, BEGIN_PATIENCE);
        if !added.is_empty() {
            let rules = Rules { start: Start::Earliest, ..self.rules };
            beginnings.extend(begin::look_up(consumer, &added, rules, BEGIN_PATIENCE));
        }
        let partitions: Vec<_> = known.into_iter().chain(added).collect();
        let mut fresh = TopicPartitionList::new();
        for ((id, _), beginning) in partitions.iter().zip(&beginnings) {
            let offset = beginning.offset();
            let mut set = list.set_partition_offset(&id.topic, id.partition, offset);
            if let Beginning::At { fresh: true, .. } = beginning {
                set = set.and(fresh.add_partition_offset(&id.topic, id.partition, offset));
            }
            if let Err(error) = set {
                tracing::warn!(partition = %id, %error, "cannot set where the partition begins");
            }
        }
        if let Err(error) = consumer.incremental_assign(list) {
            tracing::error!(%error, "cannot take the assigned partitions");
        }
        // Committed before anything is read: whoever comes after a crash begins here, too.
        if fresh.count() > 0
            && let Err(error) = consumer.commit(&fresh, CommitMode::Sync)
        {
            tracing::warn!(%error, "cannot commit where new partitions begin");
        }
        let taken: Vec<_> = partitions.into_iter().map(|(id, _)| id).zip(beginnings).collect();
        self.assignments.assigned(&taken);
    }

    fn revoke(&self, consumer: &BaseConsumer<Self>, list: &TopicPartitionList) {
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
        if let Err(error) = consumer.incremental_unassign(list) {
            tracing::error!(%error, "cannot give the revoked partitions up");
        }
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: Error, reason: &str) {
        let topic = reason.strip_prefix(NOT_AVAILABLE).and_then(|rest| rest.split(':').next());
        if let Some(topic) = topic {
            self.assignments.missing(topic.trim());
        } else {
            let code = error.rdkafka_error_code().map_or(Code::KafkaUnreachable, fault::consuming);
            tracing::warn!(code = code.as_str(), %error, reason, "Kafka client");
        }
    }
}

impl ConsumerContext for Context {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        what: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        match what {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self.assign(consumer, list),
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => self.revoke(consumer, list),
            other => {
                let error = RDKafkaErrorCode::from(other);
                tracing::warn!(%error, "rebalance");
                self.revoke(consumer, list);
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
