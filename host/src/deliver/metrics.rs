//! What a destination counts. Plain atomics; telemetry maps them to its own format.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::http::Transport;

/// Upper bounds of the buckets of request times, in milliseconds; a last bucket has none.
pub const BOUNDS_MS: [u64; 12] =
    [5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000];

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds.
    pub fn add(&self, n: usize) {
        self.0.fetch_add(n as u64, Ordering::Relaxed);
    }

    /// The number.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counters of one destination, from its beginning.
#[derive(Debug)]
pub struct DeliverMetrics {
    /// Answers by HTTP status; the index is the status.
    statuses: Box<[Counter]>,
    /// Requests without an answer, by kind in the order of [`Transport::ALL`].
    transports: [Counter; Transport::ALL.len()],
    /// Events that AEP took.
    pub accepted: Counter,
    /// Events that AEP refused for good.
    pub refused: Counter,
    /// Events sent again.
    pub repeated: Counter,
    /// Events taken after a later event of their request: AEP had refused them for a while.
    pub overtaken: Counter,
    /// Bytes of request bodies.
    pub bytes: Counter,
    /// Requests whose outcome nobody knows.
    pub unknown: Counter,
    /// Requests sent in parts because they were too large.
    pub split: Counter,
    /// Requests halved to find the event at fault.
    pub isolated: Counter,
    /// Accepted events sent once more, to tell a refused event from a refused header.
    pub witnesses: Counter,
    /// Requests that found the gate shut.
    pub waits: Counter,
    /// How long requests waited at the gate, in milliseconds.
    pub waited_ms: Counter,
    /// Request times.
    pub times: Histogram,
}

impl Default for DeliverMetrics {
    fn default() -> Self {
        Self {
            statuses: std::iter::repeat_with(Counter::default).take(600).collect(),
            transports: Default::default(),
            accepted: Counter::default(),
            refused: Counter::default(),
            repeated: Counter::default(),
            overtaken: Counter::default(),
            bytes: Counter::default(),
            unknown: Counter::default(),
            split: Counter::default(),
            isolated: Counter::default(),
            witnesses: Counter::default(),
            waits: Counter::default(),
            waited_ms: Counter::default(),
            times: Histogram::default(),
        }
    }
}

impl DeliverMetrics {
    /// Counts an answer.
    pub(super) fn answered(&self, status: u16) {
        if let Some(counter) = self.statuses.get(usize::from(status)) {
            counter.add(1);
        }
    }

    /// Counts a request without an answer.
    pub(super) fn unanswered(&self, kind: Transport) {
        let position = Transport::ALL.iter().position(|&other| other == kind);
        if let Some(counter) = position.and_then(|i| self.transports.get(i)) {
            counter.add(1);
        }
    }

    /// Answers by HTTP status, those that occurred.
    pub fn statuses(&self) -> impl Iterator<Item = (u16, u64)> + '_ {
        let counts = self.statuses.iter().zip(0_u16..);
        counts.map(|(counter, status)| (status, counter.get())).filter(|&(_, count)| count > 0)
    }

    /// Requests without an answer, by kind.
    pub fn transports(&self) -> impl Iterator<Item = (Transport, u64)> + '_ {
        Transport::ALL.into_iter().zip(self.transports.iter().map(Counter::get))
    }

    /// Requests, answered or not.
    pub fn requests(&self) -> u64 {
        self.statuses().map(|(_, n)| n).sum::<u64>()
            + self.transports().map(|(_, n)| n).sum::<u64>()
    }
}

/// Durations in buckets.
#[derive(Debug, Default)]
pub struct Histogram {
    /// One more than [`BOUNDS_MS`]; not cumulative.
    buckets: [Counter; BOUNDS_MS.len() + 1],
    sum_us: Counter,
}

impl Histogram {
    /// Counts a duration.
    pub(super) fn observe(&self, duration: Duration) {
        let bucket = BOUNDS_MS.partition_point(|&bound| duration.as_millis() > u128::from(bound));
        if let Some(counter) = self.buckets.get(bucket) {
            counter.add(1);
        }
        self.sum_us.add(usize::try_from(duration.as_micros()).unwrap_or(usize::MAX));
    }

    /// How many durations fell into each bucket: those of [`BOUNDS_MS`], and one above. Not cumulative.
    pub fn buckets(&self) -> [u64; BOUNDS_MS.len() + 1] {
        std::array::from_fn(|i| self.buckets.get(i).map_or(0, Counter::get))
    }

    /// The sum of all durations.
    pub fn sum(&self) -> Duration {
        Duration::from_micros(self.sum_us.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_is_counted_where_it_belongs() {
        let metrics = DeliverMetrics::default();
        metrics.answered(207);
        metrics.answered(207);
        metrics.answered(503);
        metrics.unanswered(Transport::Broken);
        assert_eq!(metrics.statuses().collect::<Vec<_>>(), [(207, 2), (503, 1)]);
        assert_eq!(metrics.requests(), 4);
        for ms in [0, 5, 6, 60_000] {
            metrics.times.observe(Duration::from_millis(ms));
        }
        let buckets = metrics.times.buckets();
        assert_eq!((buckets[0], buckets[1], buckets[12]), (2, 1, 1));
        assert_eq!(metrics.times.sum(), Duration::from_millis(60_011));
    }
}
