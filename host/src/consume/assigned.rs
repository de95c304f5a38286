//! What is assigned to this process, and what becomes of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::TICK;
use super::held::{Counters, Held, PartitionState};
use super::storm::{Excess, Storm};
use crate::batch::Outbox;
use crate::config;
use crate::dead_letter::DeadLetters;
use crate::fault::Code;
use crate::id::Ids;
use crate::kafka::{Assignments, Beginning};
use crate::record::{PartitionId, Record};
use crate::settle::{Budget, Partition, Settled, Settlement, Settlements};
use crate::telemetry::{Metrics, PluginLabels};
use crate::transform::{Lane, Ready};

/// How long a revoked partition may take to settle what was begun.
const REVOKE_DRAIN: Duration = Duration::from_secs(10);

/// What the polling thread shares with the group's callbacks, which run on it too, and with
/// `/status`.
pub struct Assigned {
    /// Locked first, where several are.
    partitions: Mutex<HashMap<PartitionId, Held>>,
    /// By pipeline.
    pub(super) storms: Mutex<HashMap<Arc<str>, Storm>>,
    /// Why pipelines take nothing more; over rebalances, until the process ends or another generation
    /// lifts it.
    pub(super) halts: Mutex<HashMap<Arc<str>, Halt>>,
    settlements: Arc<Settlements>,
    budget: Arc<Budget>,
    ready: Arc<Ready>,
    pub(super) outboxes: RwLock<Vec<Arc<Outbox>>>,
    dead_letters: Arc<DeadLetters>,
    /// When everything has to have ended, once the process stops.
    deadline: RwLock<Option<Instant>>,
    pub(super) topics: RwLock<Topics>,
    /// Counts changes of the topics.
    pub(super) changes: AtomicU64,
    terms: AtomicU64,
    count: Arc<AtomicUsize>,
    pub(super) metrics: Metrics,
    /// How long topics keep their records, where they told; none means for ever.
    retentions: Mutex<BTreeMap<Arc<str>, Option<Duration>>>,
    /// Topics that do not exist or may not be read, as far as is known.
    pub(super) missing: Mutex<BTreeSet<String>>,
    /// How many partitions each topic has, as far as is known.
    pub(super) counts: Mutex<BTreeMap<String, usize>>,
}

/// The topics of all pipelines, by name.
pub type Topics = BTreeMap<String, Topic>;

/// Why a pipeline takes nothing more.
pub(super) struct Halt {
    pub(super) reason: Arc<str>,
    /// It is for what its records became, so that another chain may do better.
    pub(super) for_records: bool,
}

/// What a topic's records need to know.
#[derive(Clone)]
pub struct Topic {
    /// Its pipeline.
    pub pipeline: Arc<str>,
    /// Makes the ids of its events.
    pub ids: Ids,
    /// How many of its dead letters are too many.
    pub storm: config::Storm,
    /// On how many of its records a plugin may fail.
    pub quarantine: config::Quarantine,
}

impl Assigned {
    /// Nothing assigned yet.
    pub fn new(
        budget: &Arc<Budget>,
        ready: &Arc<Ready>,
        dead_letters: &Arc<DeadLetters>,
        metrics: Metrics,
    ) -> Arc<Self> {
        Arc::new(Self {
            partitions: Mutex::default(),
            storms: Mutex::default(),
            halts: Mutex::default(),
            settlements: Arc::default(),
            budget: Arc::clone(budget),
            ready: Arc::clone(ready),
            outboxes: RwLock::default(),
            dead_letters: Arc::clone(dead_letters),
            deadline: RwLock::default(),
            topics: RwLock::default(),
            changes: AtomicU64::new(0),
            terms: AtomicU64::new(1),
            count: Arc::default(),
            metrics,
            retentions: Mutex::default(),
            missing: Mutex::default(),
            counts: Mutex::default(),
        })
    }

    /// Topics that do not exist or may not be read.
    pub fn missing(&self) -> Vec<String> {
        let missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        missing.iter().cloned().collect()
    }

    /// From now on nothing takes longer than until then.
    pub fn end_by(&self, deadline: Instant) {
        *self.deadline.write().unwrap_or_else(PoisonError::into_inner) = Some(deadline);
    }

    /// When everything has to have ended, once the process stops.
    pub(super) fn deadline(&self) -> Option<Instant> {
        *self.deadline.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many partitions are assigned.
    pub fn count(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.count)
    }

    /// The state of every assigned partition.
    pub fn states(&self) -> Vec<PartitionState> {
        let retentions = self.retentions.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let retention = |id: &PartitionId| retentions.get(&id.topic).copied().flatten();
        let mut states: Vec<PartitionState> =
            self.held().iter().map(|(id, held)| held.state(id, retention(id))).collect();
        states.sort_by(|a, b| a.id.cmp(&b.id));
        states
    }

    /// How many partitions all topics have together; 0 while that of one is not known.
    pub fn all_partitions(&self) -> usize {
        let topics = self.topics();
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if topics.iter().all(|topic| counts.contains_key(topic)) {
            counts.values().sum()
        } else {
            0
        }
    }

    /// Notes how many partitions a topic has.
    pub(super) fn note_partitions(&self, topic: &str, count: usize) {
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        // Asked for while it was still one of ours.
        if topics.contains_key(topic) {
            let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
            counts.insert(topic.to_owned(), count);
        }
    }

    /// Notes where logs end now.
    pub(super) fn note_ends(&self, ends: &BTreeMap<PartitionId, i64>, now: Instant) {
        let mut partitions = self.held();
        for (id, end) in ends {
            if let Some(held) = partitions.get_mut(id) {
                held.backlog.note(now, *end);
            }
        }
    }

    /// Notes how long topics keep their records; what is not told stays as it was.
    pub(super) fn note_retentions(&self, told: BTreeMap<Arc<str>, Option<Duration>>) {
        self.retentions.lock().unwrap_or_else(PoisonError::into_inner).extend(told);
    }

    /// Whether partitions of more than one pipeline are assigned.
    pub(super) fn has_several_pipelines(&self) -> bool {
        let partitions = self.held();
        let mut pipelines = partitions.values().map(|held| &held.lane.pipeline);
        let first = pipelines.next();
        pipelines.any(|pipeline| Some(pipeline) != first)
    }

    /// The budget of bytes in flight.
    pub(super) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Moves settlements that wait into `into`, waiting up to `patience` where none does.
    pub(super) fn take(&self, into: &mut Vec<Settled>, patience: Duration) {
        self.settlements.take(into, patience);
    }

    /// Which partitions are assigned.
    pub(super) fn ids(&self) -> Vec<PartitionId> {
        self.held().keys().cloned().collect()
    }

    /// What is to be read next of every partition that takes records in.
    pub(super) fn nexts(&self) -> Vec<(PartitionId, Option<i64>)> {
        let partitions = self.held();
        let going = partitions.iter().filter(|(_, held)| held.is_open());
        going.map(|(id, held)| (id.clone(), held.next())).collect()
    }

    /// Notes where a partition begins or goes on.
    pub(super) fn begin(&self, id: &PartitionId, beginning: &Beginning) {
        let mut partitions = self.held();
        let Some(held) = partitions.get_mut(id) else { return };
        // What librdkafka had stored is gone with the assignment before.
        held.stored = None;
        match beginning {
            Beginning::At { offset, .. } => held.began = Some(*offset),
            Beginning::Expired { next, oldest } => {
                held.began = Some(*oldest);
                held.counters.expired.inc_by(u64::try_from(oldest - next).unwrap_or(0));
                tracing::error!(partition = %id, next, oldest,
                    "records are gone: retention passed the group; going on with the oldest one left");
            }
            Beginning::Halted(reason) => self.halt(&mut partitions, id, reason, false),
            Beginning::Unknown => {}
        }
    }

    /// Takes nothing more of the pipeline that the partition belongs to; what was not begun is left.
    fn halt(
        &self,
        partitions: &mut HashMap<PartitionId, Held>,
        id: &PartitionId,
        reason: &str,
        for_records: bool,
    ) {
        let Some(pipeline) = partitions.get(id).map(|held| Arc::clone(&held.lane.pipeline)) else {
            return;
        };
        tracing::error!(partition = %id, %pipeline, reason, "pipeline halted");
        let reason: Arc<str> = format!("{id}: {reason}").into();
        let mut halts = self.halts.lock().unwrap_or_else(PoisonError::into_inner);
        let halt = halts.entry(Arc::clone(&pipeline)).or_insert(Halt { reason, for_records });
        // A better chain does not help against the other.
        halt.for_records &= for_records;
        for held in partitions.values_mut().filter(|held| held.lane.pipeline == pipeline) {
            held.halted.get_or_insert_with(|| Arc::clone(&halt.reason));
            held.close();
        }
    }

    /// Notes a settlement of a pipeline; a reason to halt it, where this is one bad record too many.
    fn storm(
        &self,
        partitions: &HashMap<PartitionId, Held>,
        pipeline: &Arc<str>,
        how: Settlement,
        blamed: Option<Arc<str>>,
    ) -> Option<String> {
        let undecided = || {
            let its = partitions.values().filter(|held| held.lane.pipeline == *pipeline);
            its.map(|held| held.lane.partition.undecided()).sum()
        };
        let is_dead = how == Settlement::DeadLettered;
        let mut storms = self.storms.lock().unwrap_or_else(PoisonError::into_inner);
        match storms.get_mut(pipeline)?.note(is_dead, blamed, undecided)? {
            Excess::DeadLetters(reason) => Some(reason),
            Excess::Plugin(plugin, reason) => {
                let labels = PluginLabels { pipeline: Arc::clone(pipeline), plugin };
                self.metrics.plugin_quarantined.get_or_create(&labels).set(1);
                Some(reason)
            }
        }
    }

    pub(super) fn held(&self) -> MutexGuard<'_, HashMap<PartitionId, Held>> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a fetched record in, unless its partition is not ours or is halted. True where the
    /// partition is to be paused at once, because shares are held to and this is over its own.
    pub(super) fn accept(&self, id: &PartitionId, record: Record, crowded: bool) -> bool {
        let mut partitions = self.held();
        let share = self.budget.share(partitions.len());
        let Some(held) = partitions.get_mut(id).filter(|held| held.is_open()) else {
            return false;
        };
        match held.tracker.track(record.offset, record.timestamp_ms) {
            Ok(true) => {}
            Ok(false) => return false,
            Err(backwards) => {
                // Invariant 9: ids would be used twice.
                let reason = format!(
                    "{backwards}: the topic was made again; stop xylem, reset the group's offsets for it, and start again"
                );
                self.halt(&mut partitions, id, &reason, false);
                return false;
            }
        }
        held.lane.partition.charge(record.weight());
        held.counters.records.inc();
        held.counters.bytes.inc_by(record.bytes() as u64);
        // Invariant 4: asked of every record, since a fetch holds thousands of one partition. What
        // this one takes more than its share is missing when another wants its own.
        let pause = crowded && !held.paused && held.is_over(share);
        held.paused |= pause;
        let lane = Arc::clone(&held.lane);
        drop(partitions);
        self.ready.push(&lane, record);
        pause
    }

    /// Carries settlements into the trackers. Those of an older term are ignored: the partition
    /// was taken away meanwhile, and its records come again elsewhere.
    pub(super) fn apply(&self, settled: &mut Vec<Settled>) {
        let mut partitions = self.held();
        for Settled { partition, offset, how, blamed, excused } in settled.drain(..) {
            let held = partitions.get_mut(&partition.id);
            let Some(held) = held.filter(|held| held.lane.partition.term == partition.term) else {
                continue;
            };
            held.tracker.settle(offset);
            held.counters.settled(how);
            if held.halted.is_some() || excused {
                continue;
            }
            let pipeline = Arc::clone(&held.lane.pipeline);
            if let Some(reason) = self.storm(&partitions, &pipeline, how, blamed) {
                self.halt(&mut partitions, &partition.id, &reason, true);
            }
        }
    }

    /// Positions that moved since they were last asked for.
    pub(super) fn moved(&self) -> Vec<(PartitionId, i64)> {
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

    /// Which partitions to pause and which to resume; by their shares of the budget where it is
    /// crowded.
    pub(super) fn shares(&self, crowded: bool) -> (Vec<PartitionId>, Vec<PartitionId>) {
        let mut partitions = self.held();
        let share = self.budget.share(partitions.len());
        // Where there is room, only open records are counted.
        let most = if crowded { share } else { usize::MAX };
        let (mut pause, mut resume) = (Vec::new(), Vec::new());
        for (id, held) in partitions.iter_mut() {
            self.ready.look_again(&held.lane, share);
            let stands = !held.is_open() || self.dead_letters.is_blocked(&held.lane.pipeline);
            if !held.paused && (stands || held.is_over(most)) {
                held.paused = true;
                pause.push(id.clone());
            } else if held.paused && !stands && held.is_under(most) {
                held.paused = false;
                resume.push(id.clone());
            }
        }
        (pause, resume)
    }

    /// A new term of a partition, with nothing taken yet.
    pub(super) fn hold(&self, id: &PartitionId, topic: &Topic) -> Held {
        let partition = Arc::new(Partition::new(
            id.clone(),
            self.terms.fetch_add(1, Ordering::Relaxed),
            Arc::clone(&self.budget),
            Arc::clone(&self.settlements),
        ));
        let counters = Counters::new(&self.metrics, &topic.pipeline, &id.topic);
        let lane = Lane::new(partition, Arc::clone(&topic.pipeline), topic.ids.clone());
        let mut held = Held::new(Arc::new(lane), counters);
        let halts = self.halts.lock().unwrap_or_else(PoisonError::into_inner);
        held.halted = halts.get(&topic.pipeline).map(|halt| Arc::clone(&halt.reason));
        held
    }

    /// Ends a term: what its records became is sent by whoever has the next one.
    pub(super) fn end(&self, partition: &Partition) {
        partition.end();
        let outboxes = self.outboxes.read().unwrap_or_else(PoisonError::into_inner);
        outboxes.iter().for_each(|outbox| outbox.forget(partition));
    }

    /// Begins no further record of these partitions (all, where none are named) and throws away
    /// what was not begun.
    pub(super) fn close(&self, ids: Option<&[PartitionId]>) {
        for (id, held) in self.held().iter_mut() {
            if ids.is_none_or(|ids| ids.contains(id)) {
                held.close();
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
    pub(super) fn drain(&self, ids: Option<&[PartitionId]>, deadline: Instant) -> bool {
        let mut settled = Vec::new();
        loop {
            // A worker may have taken records just before the lane was closed and cleared, and put
            // some of them back since.
            self.close(ids);
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
    fn missing(&self, topic: &str) {
        let mut missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        if missing.insert(topic.to_owned()) {
            let code = Code::TopicRefused;
            tracing::warn!(code = code.as_str(), topic, "{}", code.advice());
        }
    }

    fn assigned(&self, partitions: &[(PartitionId, Beginning)]) {
        let mut held = self.held();
        for (id, _) in partitions {
            let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
            let Some(topic) = topics.get(&*id.topic) else { continue };
            self.missing.lock().unwrap_or_else(PoisonError::into_inner).remove(&*id.topic);
            held.insert(id.clone(), self.hold(id, topic));
        }
        self.count.store(held.len(), Ordering::Relaxed);
        drop(held);
        self.metrics.rebalances.inc();
        for (id, beginning) in partitions {
            tracing::info!(partition = %id, ?beginning, "partition assigned");
            self.begin(id, beginning);
        }
    }

    fn revoked(&self, partitions: &[PartitionId], lost: bool) -> Vec<(PartitionId, i64)> {
        self.close(Some(partitions));
        let limit = Instant::now() + REVOKE_DRAIN;
        let deadline = self.deadline().map_or(limit, |deadline| deadline.min(limit));
        if !lost && !self.drain(Some(partitions), deadline) {
            tracing::warn!(?partitions, "revoked with records in flight: they come again");
        }
        let mut held = self.held();
        for id in partitions {
            // Whoever has the partition next sends these events; sent from here, too, they would
            // come late, behind newer ones (Invariant 3).
            if let Some(held) = held.get(id) {
                self.end(&held.lane.partition);
            }
        }
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
