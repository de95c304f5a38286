//! Consuming: one thread that polls, hands records to the workers, and moves offsets.
//!
//! The thread never waits on a worker. A partition that holds more than its share of the budget is
//! paused after a second (a pause throws away what was fetched ahead); when the budget is spent
//! nothing is polled until something settles. Offsets move over the settled prefix only.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;

use crate::id::Ids;
use crate::kafka::{Assignments, Consumer, Fetched, KafkaError};
use crate::record::{PartitionId, Record};
use crate::settle::{Backwards, Budget, Partition, Settled, Settlement, Settlements, Tracker};
use crate::stop;
use crate::telemetry::{CommitLabels, Metrics, SettlementLabels, TopicLabels};
use crate::transform::{Lane, Ready};

/// How long a partition may hold more than its share before it is paused, and how long polling may
/// rest while the budget is spent.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often shares are looked at and settlements are carried to Kafka.
const TICK: Duration = Duration::from_millis(20);

/// How long a revoked partition may take to settle what was begun.
const REVOKE_DRAIN: Duration = Duration::from_secs(10);

/// What the polling thread shares with the group's callbacks, which run on it too, and with
/// `/status`.
pub struct Assigned {
    partitions: Mutex<HashMap<PartitionId, Held>>,
    settlements: Arc<Settlements>,
    budget: Arc<Budget>,
    ready: Arc<Ready>,
    topics: OnceLock<BTreeMap<String, Topic>>,
    terms: AtomicU64,
    count: Arc<AtomicUsize>,
    metrics: Metrics,
    /// Records from the committed offset to the log's end, as librdkafka last counted them.
    lags: Mutex<BTreeMap<PartitionId, i64>>,
}

/// What a topic's records need to know.
pub struct Topic {
    /// Its pipeline.
    pub pipeline: Arc<str>,
    /// Makes the ids of its events.
    pub ids: Ids,
}

/// One assigned partition.
struct Held {
    lane: Arc<Lane>,
    counters: Counters,
    tracker: Tracker,
    stored: Option<i64>,
    over_since: Option<Instant>,
    paused: bool,
    /// Offsets ran backwards: nothing more is taken until an operator acts (promise 9).
    halted: Option<Backwards>,
}

/// The metrics of one assigned partition, looked up once.
struct Counters {
    records: Counter,
    bytes: Counter,
    delivered: Counter,
    filtered: Counter,
    dead_lettered: Counter,
}

impl Counters {
    fn new(metrics: &Metrics, pipeline: &Arc<str>, topic: &Arc<str>) -> Self {
        let pipeline = || Arc::clone(pipeline);
        let topic = TopicLabels { pipeline: pipeline(), topic: Arc::clone(topic) };
        let settled = |how: Settlement| {
            let labels = SettlementLabels { pipeline: pipeline(), settlement: how.as_str() };
            metrics.records_settled.get_or_create(&labels).clone()
        };
        Self {
            records: metrics.records_consumed.get_or_create(&topic).clone(),
            bytes: metrics.consumed_bytes.get_or_create(&topic).clone(),
            delivered: settled(Settlement::Delivered),
            filtered: settled(Settlement::Filtered),
            dead_lettered: settled(Settlement::DeadLettered),
        }
    }

    fn settled(&self, how: Settlement) {
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
    /// Records from the committed offset to the log's end, as of the last statistics.
    pub lag: Option<i64>,
    /// Records in flight.
    pub in_flight: usize,
    /// Bytes in flight.
    pub bytes: usize,
    /// Not fetched from at the moment.
    pub paused: bool,
    /// Why nothing more is taken until an operator acts.
    pub halted: Option<String>,
}

impl Assigned {
    /// Nothing assigned yet.
    pub fn new(
        settlements: Arc<Settlements>,
        budget: Arc<Budget>,
        ready: Arc<Ready>,
        metrics: Metrics,
    ) -> Arc<Self> {
        Arc::new(Self {
            partitions: Mutex::default(),
            settlements,
            budget,
            ready,
            topics: OnceLock::new(),
            terms: AtomicU64::new(1),
            count: Arc::default(),
            metrics,
            lags: Mutex::default(),
        })
    }

    /// Tells which topics there are; before the group is joined, once.
    pub fn set_topics(&self, topics: BTreeMap<String, Topic>) {
        // Once: a second call would change ids while records are in flight.
        self.topics.get_or_init(|| topics);
    }

    /// How many partitions are assigned.
    pub fn count(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.count)
    }

    /// The state of every assigned partition.
    pub fn states(&self) -> Vec<PartitionState> {
        let lags = self.lags.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut states: Vec<PartitionState> = self
            .held()
            .iter()
            .map(|(id, held)| PartitionState {
                id: id.clone(),
                pipeline: Arc::clone(&held.lane.pipeline),
                position: held.tracker.position(),
                lag: lags.get(id).copied(),
                in_flight: held.tracker.in_flight(),
                bytes: held.lane.partition.weight(),
                paused: held.paused,
                halted: held.halted.map(|backwards| backwards.to_string()),
            })
            .collect();
        states.sort_by(|a, b| a.id.cmp(&b.id));
        states
    }

    fn held(&self) -> MutexGuard<'_, HashMap<PartitionId, Held>> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a fetched record in; false where its partition is not ours or is halted.
    fn accept(&self, id: &PartitionId, record: Record) -> bool {
        let mut partitions = self.held();
        let Some(held) = partitions.get_mut(id).filter(|held| held.halted.is_none()) else {
            return false;
        };
        if let Err(backwards) = held.tracker.track(record.offset) {
            // Invariant 9: the topic was made again under its name; ids would be used twice.
            tracing::error!(partition = %id, %backwards, "offsets ran backwards; partition halted: \
                set `id_epoch`, reset the group's offsets and restart");
            held.halted = Some(backwards);
            return false;
        }
        held.lane.partition.charge(record.weight());
        held.counters.records.inc();
        held.counters.bytes.inc_by(record.bytes() as u64);
        let lane = Arc::clone(&held.lane);
        drop(partitions);
        self.ready.push(&lane, record);
        true
    }

    /// Carries settlements into the trackers. Those of an older term are ignored: the partition
    /// was taken away meanwhile, and its records come again elsewhere.
    fn apply(&self, settled: &mut Vec<Settled>) {
        let mut partitions = self.held();
        for Settled { partition, offset, how } in settled.drain(..) {
            let held = partitions.get_mut(&partition.id);
            if let Some(held) = held.filter(|held| held.lane.partition.term == partition.term) {
                held.tracker.settle(offset);
                held.counters.settled(how);
            }
        }
    }

    /// Positions that moved since they were last asked for.
    fn moved(&self) -> Vec<(PartitionId, i64)> {
        let mut moved = Vec::new();
        for (id, held) in self.held().iter_mut() {
            if held.stored != held.tracker.position()
                && let Some(position) = held.tracker.position()
            {
                held.stored = Some(position);
                moved.push((id.clone(), position));
            }
        }
        moved
    }

    /// Which partitions to pause and which to resume, by their shares of the budget.
    fn shares(&self, now: Instant) -> (Vec<PartitionId>, Vec<PartitionId>) {
        let mut partitions = self.held();
        let share = self.budget.share(partitions.len());
        let spent = self.budget.is_spent();
        let (mut pause, mut resume) = (Vec::new(), Vec::new());
        for (id, held) in partitions.iter_mut() {
            let weight = held.lane.partition.weight();
            self.ready.look_again(&held.lane, share);
            if weight > share {
                let since = *held.over_since.get_or_insert(now);
                if !held.paused && (spent || now - since >= PATIENCE) {
                    held.paused = true;
                    pause.push(id.clone());
                }
            } else {
                held.over_since = None;
                if held.paused && held.halted.is_none() && weight < share / 2 {
                    held.paused = false;
                    resume.push(id.clone());
                }
            }
            if held.halted.is_some() && !held.paused {
                held.paused = true;
                pause.push(id.clone());
            }
        }
        (pause, resume)
    }

    /// Begins no further record of these partitions (all, where none are named) and throws away
    /// what was not begun.
    fn close(&self, ids: Option<&[PartitionId]>) {
        for (id, held) in self.held().iter_mut() {
            if ids.is_none_or(|ids| ids.contains(id)) {
                held.lane.partition.close();
                if let Some(first) = held.lane.clear() {
                    held.tracker.forget_from(first);
                }
            }
        }
    }

    fn in_flight(&self, ids: Option<&[PartitionId]>) -> usize {
        self.held()
            .iter()
            .filter(|(id, _)| ids.is_none_or(|ids| ids.contains(id)))
            .map(|(_, held)| held.tracker.in_flight())
            .sum()
    }

    /// Waits until what was begun is settled, or the time is over; true where all is.
    fn drain(&self, ids: Option<&[PartitionId]>, deadline: Instant) -> bool {
        let mut settled = Vec::new();
        loop {
            // A worker may have taken records just before the lane was closed and cleared.
            self.apply(&mut settled);
            if self.in_flight(ids) == 0 {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            self.settlements.take(&mut settled, left.min(TICK));
        }
    }
}

impl Assignments for Assigned {
    fn committed(&self, done: bool) {
        let result = if done { "done" } else { "failed" };
        self.metrics.commits.get_or_create(&CommitLabels { result }).inc();
    }

    fn lags(&self, lags: BTreeMap<PartitionId, i64>) {
        *self.lags.lock().unwrap_or_else(PoisonError::into_inner) = lags;
    }

    fn assigned(&self, partitions: &[PartitionId]) {
        let mut held = self.held();
        for id in partitions {
            let topics = self.topics.get();
            let Some(topic) = topics.and_then(|topics| topics.get(&*id.topic)) else { continue };
            let partition = Arc::new(Partition::new(
                id.clone(),
                self.terms.fetch_add(1, Ordering::Relaxed),
                Arc::clone(&self.budget),
                Arc::clone(&self.settlements),
            ));
            let ids = topic.ids.clone();
            let counters = Counters::new(&self.metrics, &topic.pipeline, &id.topic);
            let lane = Arc::new(Lane::new(partition, Arc::clone(&topic.pipeline), ids));
            held.insert(
                id.clone(),
                Held {
                    lane,
                    counters,
                    tracker: Tracker::default(),
                    stored: None,
                    over_since: None,
                    paused: false,
                    halted: None,
                },
            );
        }
        self.count.store(held.len(), Ordering::Relaxed);
        self.metrics.rebalances.inc();
        tracing::info!(?partitions, "partitions assigned");
    }

    fn revoked(&self, partitions: &[PartitionId], lost: bool) -> Vec<(PartitionId, i64)> {
        self.close(Some(partitions));
        if !lost && !self.drain(Some(partitions), Instant::now() + REVOKE_DRAIN) {
            tracing::warn!(?partitions, "revoked with records in flight: they come again");
        }
        let mut held = self.held();
        let positions = partitions
            .iter()
            .filter_map(|id| Some((id.clone(), held.remove(id)?.tracker.position()?)))
            .collect();
        self.count.store(held.len(), Ordering::Relaxed);
        self.metrics.rebalances.inc();
        tracing::info!(?partitions, lost, "partitions revoked");
        if lost { Vec::new() } else { positions }
    }
}

/// Polls until told to stop, then drains. Runs on a thread of its own.
pub struct Poller {
    consumer: Consumer,
    assigned: Arc<Assigned>,
    stop: Arc<AtomicBool>,
    settled: Vec<Settled>,
    last_tick: Instant,
    last_poll: Instant,
}

impl Poller {
    /// A poller of a consumer that has subscribed.
    pub fn new(consumer: Consumer, assigned: Arc<Assigned>, stop: Arc<AtomicBool>) -> Self {
        let now = Instant::now();
        Self { consumer, assigned, stop, settled: Vec::new(), last_tick: now, last_poll: now }
    }

    /// Polls until told to stop.
    pub fn run(&mut self) -> Result<(), KafkaError> {
        while !self.stop.load(Ordering::Acquire) {
            if self.last_tick.elapsed() >= TICK {
                self.tick();
            }
            if self.assigned.budget.is_spent() && self.last_poll.elapsed() < PATIENCE {
                // Invariant 4: nothing is fetched; what settles makes room.
                self.assigned.settlements.take(&mut self.settled, TICK);
                self.tick();
                continue;
            }
            self.last_poll = Instant::now();
            match self.consumer.poll(TICK) {
                Fetched::Record { partition, record } => {
                    stop::point("fetched");
                    self.assigned.accept(&partition, record);
                }
                Fetched::Nothing => {}
                Fetched::Trouble(error @ KafkaError::Fatal(_)) => return Err(error),
                Fetched::Trouble(error) => tracing::warn!(%error, "consumer"),
            }
        }
        Ok(())
    }

    /// Ends within the time: what was begun is settled and committed, the group is left. True
    /// where all was (promise 8).
    pub fn drain(mut self, deadline: Instant) -> bool {
        let all: Vec<PartitionId> = self.assigned.held().keys().cloned().collect();
        self.consumer.pause(&all);
        self.assigned.close(None);
        let mut drained = false;
        while !drained && Instant::now() < deadline {
            // Polled all the while: the group must not think that we are gone.
            if let Fetched::Record { .. } = self.consumer.poll(Duration::ZERO) {
                continue;
            }
            drained = self.assigned.drain(None, deadline.min(Instant::now() + TICK * 5));
            self.store();
        }
        stop::point("drained");
        if let Err(error) = self.consumer.commit() {
            tracing::warn!(%error, "last commit failed: records since the one before come again");
            return false;
        }
        drained
    }

    fn tick(&mut self) {
        self.last_tick = Instant::now();
        self.assigned.settlements.take(&mut self.settled, Duration::ZERO);
        self.assigned.apply(&mut self.settled);
        self.store();
        let (pause, resume) = self.assigned.shares(self.last_tick);
        if !pause.is_empty() {
            self.consumer.pause(&pause);
        }
        if !resume.is_empty() {
            self.consumer.resume(&resume);
        }
    }

    fn store(&self) {
        for (id, position) in self.assigned.moved() {
            stop::point("store");
            self.consumer.store(&id, position);
        }
    }
}
