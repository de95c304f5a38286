//! What a cluster answers to questions that change nothing.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError as Error, RDKafkaErrorCode as Kind};
use rdkafka::{Offset, TopicPartitionList};

use super::{SettingsError, settings};
use crate::config::Kafka;

/// What a cluster said.
pub struct Probe {
    /// Its id, where it has one.
    pub cluster_id: Option<String>,
    /// Of each topic its partitions, or why there are none, in the order of the question.
    pub topics: Vec<Result<usize, String>>,
    /// Whether the group's offsets may be read, or why not.
    pub group: Result<(), String>,
}

/// Why a cluster said nothing.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The client refuses its settings.
    #[error("librdkafka refuses its settings: {0}")]
    Settings(SettingsError),
    /// Nobody answers.
    #[error("no broker answers within {seconds} s{}", .complaint.as_ref().map(|c| format!(": {c}")).unwrap_or_default())]
    Silent {
        /// How long it was waited.
        seconds: u64,
        /// What the client complained of last.
        complaint: Option<String>,
    },
}

/// Asks for topics and for the group's offsets; joins no group, makes no topic.
pub fn probe(kafka: &Kafka, topics: &[&str], patience: Duration) -> Result<Probe, ProbeError> {
    let context = Context::default();
    let last = Arc::clone(&context.last);
    let settings = settings::consumer(kafka, 0);
    let client: BaseConsumer<Context> = BaseConsumer::from_config_and_context(&settings, context)
        .map_err(|error| ProbeError::Settings(error.into()))?;
    if client.fetch_metadata(Some(topics.first().unwrap_or(&"")), patience).is_err() {
        // Complaints wait in the client until it is polled.
        while let Some(message) = client.poll(Duration::ZERO) {
            drop(message);
        }
        let complaint = last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        return Err(ProbeError::Silent { seconds: patience.as_secs(), complaint });
    }
    let found: Vec<_> = topics.iter().map(|topic| partitions(&client, topic, patience)).collect();
    let asked = topics.iter().zip(&found).find(|(_, found)| found.is_ok());
    let group = asked.map_or(Ok(()), |(topic, _)| {
        let mut list = TopicPartitionList::new();
        let added = list.add_partition_offset(topic, 0, Offset::Invalid);
        added.and_then(|()| client.committed_offsets(list, patience).map(drop)).map_err(|e| say(&e))
    });
    Ok(Probe { cluster_id: client.client().fetch_cluster_id(patience), topics: found, group })
}

fn partitions(
    client: &BaseConsumer<Context>,
    topic: &str,
    patience: Duration,
) -> Result<usize, String> {
    let metadata = client.fetch_metadata(Some(topic), patience).map_err(|error| say(&error))?;
    let found = metadata.topics().first().ok_or("the broker says nothing of it")?;
    match found.error() {
        Some(error) => Err(say(&Error::MetadataFetch(error.into()))),
        None if found.partitions().is_empty() => Err("it does not exist".to_owned()),
        None => Ok(found.partitions().len()),
    }
}

fn say(error: &Error) -> String {
    match error.rdkafka_error_code() {
        Some(Kind::UnknownTopic | Kind::UnknownTopicOrPartition) => "it does not exist".to_owned(),
        Some(Kind::TopicAuthorizationFailed) => "this user may not read it".to_owned(),
        Some(Kind::GroupAuthorizationFailed) => "this user may not use it".to_owned(),
        Some(code) => code.to_string(),
        None => error.to_string(),
    }
}

/// Keeps the last complaint of the client, which says why nobody answers.
#[derive(Default)]
struct Context {
    last: Arc<Mutex<Option<String>>>,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, _facility: &str, message: &str) {
        if level as i32 <= RDKafkaLogLevel::Warning as i32 {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            *last = Some(message.to_owned());
        }
    }

    fn error(&self, _error: Error, reason: &str) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some(reason.to_owned());
    }
}

impl ConsumerContext for Context {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::MockCluster;

    fn settings(brokers: &str) -> Kafka {
        let json = serde_json::json!({ "brokers": brokers, "group": "g", "start": "earliest" });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn a_cluster_says_what_there_is() {
        let cluster = MockCluster::start(&[("orders", 3), ("dead", 1)]).unwrap();
        let kafka = settings(cluster.bootstrap());
        let probe = probe(&kafka, &["orders", "dead"], Duration::from_secs(20)).unwrap();
        assert_eq!(probe.topics, [Ok(3), Ok(1)]);
        assert_eq!(probe.group, Ok(()));
    }

    #[test]
    fn nobody_answers() {
        // Port 9 of this machine: discard, which nobody runs.
        let refused = probe(&settings("127.0.0.1:9"), &["orders"], Duration::from_secs(2));
        let message = refused.err().unwrap().to_string();
        assert!(message.contains("no broker answers within 2 s"), "{message}");
        assert!(message.contains("127.0.0.1:9"), "{message}");
    }
}
