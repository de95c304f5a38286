//! Where logs end, and how many there are, asked beside the polling thread.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};

use super::KafkaError;
use super::consumer::Context;
use crate::record::PartitionId;

/// Asks where logs end, with the consumer's own connections. Statistics would tell it, too, but learn
/// it from fetch answers only: of a paused partition they say nothing new.
///
/// Whoever drops the last handle of the client leaves the group, so this goes before the consumer.
pub struct LogEnds(pub(super) Arc<BaseConsumer<Context>>);

impl LogEnds {
    /// One above the newest record of each partition that may be read, of those that answer in time:
    /// one request per broker.
    pub fn ask(
        &self,
        partitions: &[PartitionId],
        patience: Duration,
    ) -> Result<BTreeMap<PartitionId, i64>, KafkaError> {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for id in partitions {
            list.add_partition_offset(&id.topic, id.partition, Offset::End)
                .map_err(KafkaError::Request)?;
        }
        // As a time, `End` stands for the end of the log.
        let found = self.0.offsets_for_times(list, patience).map_err(KafkaError::Request)?;
        let end = |id: &PartitionId| {
            let element = found.find_partition(&id.topic, id.partition)?;
            element.error().ok()?;
            element.offset().to_raw().filter(|raw| *raw >= 0)
        };
        Ok(partitions.iter().filter_map(|id| Some((id.clone(), end(id)?))).collect())
    }

    /// How many partitions a topic has.
    pub fn partitions(&self, topic: &str, patience: Duration) -> Result<usize, KafkaError> {
        let metadata = self.0.fetch_metadata(Some(topic), patience).map_err(KafkaError::Request)?;
        Ok(metadata.topics().iter().map(|found| found.partitions().len()).sum())
    }
}
