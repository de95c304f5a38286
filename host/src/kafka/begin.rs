//! Where a partition begins when it is assigned, and where it goes on when its next record is gone.
//!
//! Nothing of this is left to `auto.offset.reset`, which goes to one end of the log without a word:
//! a group that starts at the newest record would skip what came while it was away, and a topic
//! that was made again would be read under the old topic's offsets.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaResult;
use rdkafka::{Offset, TopicPartitionList};

use crate::config::{OutOfRange, Start};
use crate::record::PartitionId;

/// Where one partition begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// At this offset. `fresh`: the group had none committed.
    At {
        /// The first offset to be read.
        offset: i64,
        /// The group has no committed offset yet.
        fresh: bool,
    },
    /// The records from `next` on are gone: at the oldest that is left.
    Expired {
        /// The offset that was next.
        next: i64,
        /// The oldest one that is left.
        oldest: i64,
    },
    /// Not before an operator has acted, for this reason.
    Halted(String),
    /// The brokers did not say.
    Unknown,
}

/// What is configured about it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// Where a group without a committed offset starts.
    pub start: Start,
    /// What to do when the next record is gone.
    pub out_of_range: OutOfRange,
}

impl Rules {
    /// Decides for a log that holds `oldest..end` where `next` is to be read next, if known.
    pub(super) fn decide(self, next: Option<i64>, oldest: i64, end: i64) -> Beginning {
        match next {
            None => Beginning::At {
                offset: match self.start {
                    Start::Earliest => oldest,
                    Start::Latest => end,
                },
                fresh: true,
            },
            // Invariant 9: under the old offsets the new topic's records would be skipped.
            Some(next) if next > end => Beginning::Halted(format!(
                "the next offset is {next}, but the log ends at {end}: the topic was made again, or the brokers lost \
                 records; stop xylem, reset the group's offsets for it, and start again"
            )),
            Some(next) if next < oldest => match self.out_of_range {
                OutOfRange::Earliest => Beginning::Expired { next, oldest },
                OutOfRange::Halt => Beginning::Halted(format!(
                    "the next offset is {next}, but the oldest record left is {oldest}: retention has passed the group; \
                     stop xylem, reset the group's offsets for it, and start again"
                )),
            },
            Some(next) => Beginning::At { offset: next, fresh: false },
        }
    }
}

impl Beginning {
    /// The offset to read from, as far as it is known; nothing is taken in of a halted partition.
    pub(super) fn offset(&self) -> Offset {
        match self {
            Self::At { offset, .. } | Self::Expired { oldest: offset, .. } => {
                Offset::Offset(*offset)
            }
            Self::Halted(_) => Offset::End,
            // What is committed, if anything is.
            Self::Unknown => Offset::Invalid,
        }
    }
}

/// Looks up where partitions begin; `next` of each is what is to be read next, where that is known
/// better than by the committed offset.
pub(super) fn look_up<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    partitions: &[(PartitionId, Option<i64>)],
    rules: Rules,
    patience: Duration,
) -> Vec<Beginning> {
    ask(consumer, partitions, rules, patience).unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot look up where partitions begin; asked again");
        vec![Beginning::Unknown; partitions.len()]
    })
}

fn ask<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    partitions: &[(PartitionId, Option<i64>)],
    rules: Rules,
    patience: Duration,
) -> KafkaResult<Vec<Beginning>> {
    let list = |offset: Offset| -> KafkaResult<TopicPartitionList> {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for (id, _) in partitions {
            list.add_partition_offset(&id.topic, id.partition, offset)?;
        }
        Ok(list)
    };
    let committed = consumer.committed_offsets(list(Offset::Invalid)?, patience)?;
    // One request per broker; these two stand for the ends of the log there.
    let oldest = consumer.offsets_for_times(list(Offset::Beginning)?, patience)?;
    let end = consumer.offsets_for_times(list(Offset::End)?, patience)?;
    let offset = |found: &TopicPartitionList, id: &PartitionId| {
        let element = found.find_partition(&id.topic, id.partition)?;
        element.error().ok()?;
        element.offset().to_raw().filter(|raw| *raw >= 0)
    };
    // An error is no answer: a group that has committed must not pass for one that has not.
    let told = |id: &PartitionId| {
        let found = committed.find_partition(&id.topic, id.partition);
        found.is_some_and(|element| element.error().is_ok())
    };
    let decide = |(id, next): &(PartitionId, Option<i64>)| {
        let ends = offset(&oldest, id).zip(offset(&end, id));
        match ends.filter(|_| next.is_some() || told(id)) {
            Some((first, last)) => {
                rules.decide(next.or_else(|| offset(&committed, id)), first, last)
            }
            None => Beginning::Unknown,
        }
    };
    Ok(partitions.iter().map(decide).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const EARLIEST: Rules = Rules { start: Start::Earliest, out_of_range: OutOfRange::Earliest };

    #[test]
    fn a_group_without_offsets_starts_where_it_is_told_to() {
        let latest = Rules { start: Start::Latest, ..EARLIEST };
        let fresh = |offset| Beginning::At { offset, fresh: true };
        assert_eq!(EARLIEST.decide(None, 5, 9), fresh(5));
        assert_eq!(latest.decide(None, 5, 9), fresh(9));
    }

    #[test]
    fn a_committed_offset_within_the_log_is_gone_on_from() {
        for next in [5, 7, 9] {
            let expected = Beginning::At { offset: next, fresh: false };
            assert_eq!(EARLIEST.decide(Some(next), 5, 9), expected);
        }
    }

    #[test]
    fn records_that_are_gone_are_named_or_halt() {
        let expired = Beginning::Expired { next: 2, oldest: 5 };
        assert_eq!(EARLIEST.decide(Some(2), 5, 9), expired);
        let halt = Rules { out_of_range: OutOfRange::Halt, ..EARLIEST };
        assert!(matches!(halt.decide(Some(2), 5, 9), Beginning::Halted(_)));
    }

    #[test]
    fn invariant_9_an_offset_beyond_the_end_halts() {
        assert!(matches!(EARLIEST.decide(Some(10), 5, 9), Beginning::Halted(_)));
    }
}
