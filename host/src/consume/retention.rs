//! Whether records expire before they are settled. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use super::held::PartitionState;

/// When the oldest record that waits may expire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// How long the topic keeps a record.
    pub retention: Duration,
    /// In milliseconds since 1970. Kafka takes whole segments, so it may keep the record longer.
    pub at_ms: i64,
}

impl Expiry {
    /// Of a record with this timestamp.
    pub(super) fn new(retention: Duration, timestamp_ms: i64) -> Self {
        let retention_ms = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
        Self { retention, at_ms: timestamp_ms.saturating_add(retention_ms) }
    }

    /// How much time is left; none where it is over.
    fn left(self, now_ms: i64) -> Duration {
        Duration::from_millis(u64::try_from(self.at_ms.saturating_sub(now_ms)).unwrap_or(0))
    }

    /// Whether to warn: the backlog takes longer than is left, or half of the retention has gone.
    /// How long AEP stays away is in no estimate, so half is told in any case.
    fn is_near(self, now_ms: i64, drain: Option<Duration>) -> bool {
        self.left(now_ms) <= drain.unwrap_or_default().max(self.retention / 2)
    }
}

/// A sentence for each topic whose retention passes records that are not settled yet; `drain` says
/// how long the backlog takes to drain, none where that is not in sight.
pub fn warnings(states: &[PartitionState], now_ms: i64, drain: Option<Duration>) -> Vec<String> {
    let mut topics: BTreeMap<&str, (usize, Duration)> = BTreeMap::new();
    for state in states {
        let near = state.expiry.filter(|expiry| expiry.is_near(now_ms, drain));
        if let Some(expiry) = near {
            let left = expiry.left(now_ms);
            let (partitions, soonest) = topics.entry(&state.id.topic).or_insert((0, left));
            *partitions += 1;
            *soonest = left.min(*soonest);
        }
    }
    let say = |(topic, (partitions, left)): (&str, (usize, Duration))| {
        format!(
            "`{topic}`: retention may take records that are not settled in {} s ({partitions} partitions); raise \
             `retention.ms` of the topic, or make the backlog drain",
            left.as_secs()
        )
    };
    topics.into_iter().map(say).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::PartitionId;

    const HOUR: Duration = Duration::from_hours(1);

    fn near(age_minutes: i64, drain: Option<Duration>) -> bool {
        let now_ms = 1_700_000_000_000;
        Expiry::new(HOUR, now_ms - age_minutes * 60_000).is_near(now_ms, drain)
    }

    #[test]
    fn a_backlog_that_drains_in_time_is_no_warning() {
        assert!(!near(20, Some(HOUR / 2)));
        assert!(near(20, Some(HOUR * 3 / 4)));
        assert!(near(90, Some(Duration::ZERO)));
    }

    #[test]
    fn half_of_the_retention_is_told_in_any_case() {
        assert!(!near(20, None));
        assert!(near(31, None));
        assert!(near(31, Some(Duration::ZERO)));
    }

    #[test]
    fn a_topic_is_told_once_with_its_soonest_partition() {
        let state = |topic: &str, partition, at_ms| PartitionState {
            id: PartitionId { topic: topic.into(), partition },
            pipeline: "orders".into(),
            position: None,
            log_end: None,
            lag: Some(7),
            expiry: Some(Expiry { retention: HOUR, at_ms }),
            arrival_per_second: None,
            in_flight: 0,
            bytes: 0,
            paused: false,
            halted: None,
            begun: Vec::new(),
        };
        let states = [
            state("orders", 0, 90_000),
            state("orders", 1, 60_000),
            state("others", 0, 7_200_000),
            PartitionState { expiry: None, ..state("more", 0, 0) },
        ];
        let warnings = warnings(&states, 0, None);
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        let words =
            "`orders`: retention may take records that are not settled in 60 s (2 partitions)";
        assert!(warnings[0].starts_with(words), "{warnings:?}");
    }
}
