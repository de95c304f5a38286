//! What a topic holds between where a group stands and the end of the log, read once.
//!
//! The group is only where progress is kept: nobody joins it, so that a service beside it is not
//! rebalanced, and nothing is committed but what the caller commits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError as Error;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use super::begin::{self, Beginning, Rules};
use super::headers::record;
use super::probe::{ProbeError, probe};
use super::{KafkaError, consumer, fault, settings};
use crate::config::{Kafka, OutOfRange, Start};
use crate::fault::Domain;
use crate::record::{PartitionId, Record};

/// What librdkafka may fetch ahead.
const AHEAD: usize = 8 * 1024 * 1024;

/// What is read.
#[derive(Clone, Copy, Debug)]
pub struct Open<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The group that keeps the progress.
    pub group: &'a str,
    /// Reads everything, whatever the group has committed.
    pub from_beginning: bool,
    /// How long the brokers may take for each answer.
    pub patience: Duration,
}

/// Why nothing can be read.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The cluster says nothing.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// The topic cannot be read.
    #[error("the topic `{0}`: {1}")]
    Topic(String, String),
    /// The group cannot be used.
    #[error("the group `{0}`: {1}")]
    Group(String, String),
    /// The group has committed what the log does not have.
    #[error("`{0}`: {1}")]
    Halted(PartitionId, String),
    /// The brokers did not say where partitions begin or end.
    #[error("the brokers do not say where `{0}` begins")]
    Unknown(PartitionId),
    /// A request failed.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
}

/// What comes next.
pub enum Next {
    /// A record of this partition.
    Record(i32, Record),
    /// Nothing within the time.
    Nothing,
    /// All was read.
    End,
    /// The topic is gone, or may not be read.
    Failed(KafkaError),
}

/// The part of a topic that is read.
pub struct Window {
    client: Arc<BaseConsumer<Context>>,
    topic: String,
    cluster_id: Option<String>,
    /// Where each partition began.
    begins: BTreeMap<i32, i64>,
    resumed: bool,
    /// Where partitions end that are not read to their end yet.
    open: BTreeMap<i32, i64>,
}

impl Window {
    /// Asks where the topic begins and ends, and begins to read.
    pub fn open(kafka: &Kafka, asked: Open<'_>) -> Result<Self, OpenError> {
        let Open { topic, group, from_beginning, patience } = asked;
        let kafka = Kafka { group: group.to_owned(), instance_id: None, ..kafka.clone() };
        let said = probe(&kafka, &[topic], patience)?;
        let partitions = said.topics.into_iter().next().unwrap_or(Ok(0));
        let partitions = partitions.map_err(|words| OpenError::Topic(topic.to_owned(), words))?;
        said.group.map_err(|words| OpenError::Group(group.to_owned(), words))?;
        let mut window = Self {
            client: Arc::new(client(&kafka)?),
            topic: topic.to_owned(),
            cluster_id: said.cluster_id,
            begins: BTreeMap::new(),
            resumed: false,
            open: BTreeMap::new(),
        };
        let number = |index| i32::try_from(index).unwrap_or(i32::MAX);
        let partitions: Vec<_> = (0..partitions).map(|index| window.id(number(index))).collect();
        window.find_ends(&partitions, from_beginning, patience)?;
        window.assign()?;
        Ok(window)
    }

    fn find_ends(
        &mut self,
        partitions: &[PartitionId],
        from_beginning: bool,
        patience: Duration,
    ) -> Result<(), OpenError> {
        let rules = Rules { start: Start::Earliest, out_of_range: OutOfRange::Earliest };
        let asked: Vec<_> = partitions.iter().map(|id| (id.clone(), None)).collect();
        let committed = begin::look_up(&self.client, &asked, rules, patience);
        for (id, beginning) in partitions.iter().zip(committed) {
            let marks = self.client.fetch_watermarks(&id.topic, id.partition, patience);
            let (low, end) = marks.map_err(KafkaError::Request)?;
            let begin = match beginning {
                _ if from_beginning => low,
                Beginning::At { offset, fresh } => {
                    self.resumed |= !fresh;
                    offset
                }
                Beginning::Expired { next, oldest } => {
                    tracing::warn!(partition = %id, next, oldest, "records expired before they were read");
                    self.resumed = true;
                    oldest
                }
                Beginning::Halted(words) => return Err(OpenError::Halted(id.clone(), words)),
                Beginning::Unknown => return Err(OpenError::Unknown(id.clone())),
            };
            self.begins.insert(id.partition, begin);
            if begin < end {
                self.open.insert(id.partition, end);
            }
        }
        Ok(())
    }

    fn assign(&self) -> Result<(), KafkaError> {
        let mut list = TopicPartitionList::new();
        let places = self.begins.iter().filter(|(partition, _)| self.open.contains_key(partition));
        for (partition, begin) in places {
            list.add_partition_offset(&self.topic, *partition, Offset::Offset(*begin))
                .map_err(KafkaError::Request)?;
        }
        self.client.incremental_assign(&list).map_err(KafkaError::Request)
    }

    /// The cluster's own id.
    pub fn cluster_id(&self) -> Option<&str> {
        self.cluster_id.as_deref()
    }

    /// Whether the group had committed anything that was gone on from.
    pub fn is_resumed(&self) -> bool {
        self.resumed
    }

    /// Where each partition began.
    pub fn begins(&self) -> &BTreeMap<i32, i64> {
        &self.begins
    }

    /// Waits for the next record.
    pub fn next(&mut self, patience: Duration) -> Next {
        while !self.open.is_empty() {
            let client = Arc::clone(&self.client);
            match client.poll(patience) {
                None => return Next::Nothing,
                Some(Ok(message)) => {
                    let (partition, offset) = (message.partition(), message.offset());
                    let Some(&end) = self.open.get(&partition) else { continue };
                    if offset + 1 >= end {
                        self.close(partition);
                    }
                    if offset < end {
                        return Next::Record(partition, record(&message));
                    }
                }
                // The last offsets may be a transaction's, or compacted away.
                Some(Err(Error::PartitionEOF(partition))) => self.close(partition),
                Some(Err(error)) => {
                    let code = error.rdkafka_error_code().map(fault::consuming);
                    if code.is_some_and(|code| code.domain() == Domain::Configuration) {
                        return Next::Failed(KafkaError::Request(error));
                    }
                    tracing::warn!(%error, topic = self.topic, "cannot read; trying on");
                    return Next::Nothing;
                }
            }
        }
        Next::End
    }

    /// Commits where the group stands and waits for the answer.
    pub fn commit(
        &self,
        positions: &BTreeMap<i32, i64>,
        patience: Duration,
    ) -> Result<(), KafkaError> {
        let mut list = TopicPartitionList::new();
        for (partition, position) in positions {
            list.add_partition_offset(&self.topic, *partition, Offset::Offset(*position))
                .map_err(KafkaError::Request)?;
        }
        let (told, answers) = channel();
        let client = Arc::clone(&self.client);
        // It takes as long as the brokers are away; whoever asks may be told to stop meanwhile.
        std::thread::spawn(move || {
            // Nobody listens any more where the patience is over.
            drop(told.send(client.commit(&list, CommitMode::Sync)));
        });
        match answers.recv_timeout(patience) {
            Ok(answer) => answer.map_err(KafkaError::Request),
            Err(_) => Err(KafkaError::Fatal("no answer to a commit".to_owned())),
        }
    }

    /// Reads no more of a partition.
    fn close(&mut self, partition: i32) {
        if self.open.remove(&partition).is_none() {
            return;
        }
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition(&self.topic, partition);
        if let Err(error) = self.client.incremental_unassign(&list) {
            tracing::debug!(%error, partition, "a partition that was read is not given up");
        }
    }

    fn id(&self, partition: i32) -> PartitionId {
        PartitionId { topic: self.topic.as_str().into(), partition }
    }
}

fn client(kafka: &Kafka) -> Result<BaseConsumer<Context>, KafkaError> {
    let mut settings = settings::consumer(kafka, AHEAD);
    settings
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        // Where it begins is said; what expires while it is read cannot be read.
        .set("auto.offset.reset", "earliest")
        .set("statistics.interval.ms", "0");
    BaseConsumer::from_config_and_context(&settings, Context).map_err(KafkaError::settings)
}

struct Context;

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        consumer::log(level, facility, message);
    }

    fn error(&self, error: Error, reason: &str) {
        tracing::warn!(%error, reason, "Kafka client");
    }
}

impl ConsumerContext for Context {}
