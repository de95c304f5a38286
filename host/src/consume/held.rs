//! One assigned partition: what is in flight, and what is counted of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;

use super::backlog::Backlog;
use super::retention::Expiry;
use crate::record::PartitionId;
use crate::settle::{Settlement, Tracker};
use crate::telemetry::{Metrics, SettlementLabels, TopicLabels};
use crate::transform::{Begun, Lane};

/// Records between the settled prefix and the newest one that a partition may have. One record that
/// stays open (its dead letter is not taken, its destination is away) holds back all behind it.
const MAX_OPEN: usize = 65_536;

/// One assigned partition.
pub(super) struct Held {
    pub lane: Arc<Lane>,
    pub counters: Counters,
    pub tracker: Tracker,
    pub backlog: Backlog,
    /// Where it began, as far as the brokers said.
    pub began: Option<i64>,
    pub stored: Option<i64>,
    pub paused: bool,
    /// Why nothing more is taken until an operator acts.
    pub halted: Option<Arc<str>>,
    /// It is to begin again where it is settled: when what was begun is, or at the latest then.
    pub again: Option<Instant>,
}

impl Held {
    /// Nothing taken yet.
    pub(super) fn new(lane: Arc<Lane>, counters: Counters) -> Self {
        Self {
            lane,
            counters,
            tracker: Tracker::default(),
            backlog: Backlog::default(),
            began: None,
            stored: None,
            paused: false,
            halted: None,
            again: None,
        }
    }

    /// Goes on where the assignment before was settled. The next record was handed out before, and comes
    /// again.
    pub(super) fn following(mut self, before: &mut Self) -> Self {
        self.began = before.settled();
        self.tracker = Tracker::at(before.tracker.position());
        self.lane.remember(&before.lane, self.began);
        self.backlog = std::mem::take(&mut before.backlog);
        self
    }

    /// One above the settled prefix, where that is known.
    fn settled(&self) -> Option<i64> {
        self.tracker.position().or(self.began)
    }

    /// Whether records are taken in.
    pub(super) fn is_open(&self) -> bool {
        self.halted.is_none() && !self.lane.partition.is_closed()
    }

    /// What is to be read next, where that is known.
    pub(super) fn next(&self) -> Option<i64> {
        self.tracker.next().max(self.began)
    }

    /// Whether it holds more than its share: of bytes, or of records behind an open one, which
    /// weigh nothing once they are settled but come again after a crash (Invariant 4).
    pub(super) fn is_over(&self, share: usize) -> bool {
        self.lane.partition.weight() > share || self.tracker.in_flight() > MAX_OPEN
    }

    /// Whether it holds so little that it may be fetched from again.
    pub(super) fn is_under(&self, share: usize) -> bool {
        self.lane.partition.weight() < share / 2 && self.tracker.in_flight() < MAX_OPEN / 2
    }

    /// Begins no further record, and throws away what was not begun.
    pub(super) fn close(&mut self) {
        self.lane.partition.close();
        if let Some(first) = self.lane.clear() {
            self.tracker.forget_from(first);
        }
    }

    /// For `/status`.
    pub(super) fn state(&self, id: &PartitionId, retention: Option<Duration>) -> PartitionState {
        let settled = self.settled();
        // Settled since the log's end was asked for, it is behind us for a moment.
        let lag = self.backlog.end().zip(settled).map(|(end, settled)| (end - settled).max(0));
        let waits = lag.is_some_and(|lag| lag > 0);
        let oldest = self.tracker.oldest_ms().filter(|_| waits);
        PartitionState {
            id: id.clone(),
            pipeline: Arc::clone(&self.lane.pipeline),
            position: self.tracker.position(),
            log_end: self.backlog.end(),
            lag,
            arrival_per_second: self.backlog.arrival_per_second(),
            expiry: retention.zip(oldest).map(|(retention, oldest)| Expiry::new(retention, oldest)),
            in_flight: self.tracker.in_flight(),
            bytes: self.lane.partition.weight(),
            paused: self.paused,
            halted: self.halted.as_deref().map(str::to_owned),
            begun: self.lane.begun(),
        }
    }
}

/// The metrics of one assigned partition, looked up once.
pub(super) struct Counters {
    pub records: Counter,
    pub bytes: Counter,
    delivered: Counter,
    filtered: Counter,
    dead_lettered: Counter,
    pub expired: Counter,
}

impl Counters {
    /// Those of a pipeline's topic.
    pub(super) fn new(metrics: &Metrics, pipeline: &Arc<str>, topic: &Arc<str>) -> Self {
        let pipeline = || Arc::clone(pipeline);
        let topic = TopicLabels { pipeline: pipeline(), topic: Arc::clone(topic) };
        let settled = |how: Settlement| {
            let labels = SettlementLabels { pipeline: pipeline(), settlement: how.as_str() };
            metrics.records_settled.get_or_create(&labels).clone()
        };
        Self {
            records: metrics.records_consumed.get_or_create(&topic).clone(),
            expired: metrics.records_expired.get_or_create(&topic).clone(),
            bytes: metrics.consumed_bytes.get_or_create(&topic).clone(),
            delivered: settled(Settlement::Delivered),
            filtered: settled(Settlement::Filtered),
            dead_lettered: settled(Settlement::DeadLettered),
        }
    }

    /// Counts a settlement.
    pub(super) fn settled(&self, how: Settlement) {
        match how {
            Settlement::Delivered => self.delivered.inc(),
            Settlement::Filtered => self.filtered.inc(),
            Settlement::DeadLettered => self.dead_lettered.inc(),
        };
    }
}

/// One assigned partition, for `/status`.
#[derive(Clone, Debug)]
pub struct PartitionState {
    /// Which partition.
    pub id: PartitionId,
    /// Its pipeline.
    pub pipeline: Arc<str>,
    /// One above the settled prefix; none before the first settlement here.
    pub position: Option<i64>,
    /// One above the newest record that may be read, as of the last few seconds, paused or not.
    pub log_end: Option<i64>,
    /// Offsets from the settled prefix to the log's end. Gaps, which hold no record, are among them.
    pub lag: Option<i64>,
    /// Records that come in a second, averaged over half a minute; none before it was looked twice.
    pub arrival_per_second: Option<f64>,
    /// When its oldest record that is not settled may expire; none where nothing waits, the topic
    /// keeps records for ever, or it is not known.
    pub expiry: Option<Expiry>,
    /// Records in flight.
    pub in_flight: usize,
    /// Bytes in flight.
    pub bytes: usize,
    /// Not fetched from at the moment.
    pub paused: bool,
    /// Why nothing more is taken until an operator acts.
    pub halted: Option<String>,
    /// Under which generations its records began lately, the oldest first.
    pub begun: Vec<Begun>,
}
