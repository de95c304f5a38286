//! Following a swap: topics come and go, partitions begin again, halts are lifted.
//!
//! A partition that begins again ends its term as at a revoke and gets another one; its records come again
//! from the settled prefix on, under the same ids (Invariants 8 and 9).

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::assigned::{Assigned, Topic, Topics};
use super::held::Held;
use super::storm::Storm;
use crate::batch::Outbox;
use crate::record::PartitionId;
use crate::telemetry::PluginLabels;
use crate::transform::Lane;

/// How long what was begun of a partition may take to settle before it begins again: as long as at a
/// revoke. What is not settled then is what kept it.
const SETTLE: Duration = Duration::from_secs(10);

/// What the data path has to follow.
pub struct Change {
    /// The topics from now on.
    pub topics: Topics,
    /// Pipelines that are not what they were: what was held against them is held no longer.
    pub changed: BTreeSet<Arc<str>>,
    /// Where events may still wait or be on their way.
    pub outboxes: Vec<Arc<Outbox>>,
}

/// What that did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Followed {
    /// Partitions that begin again.
    pub again: Vec<PartitionId>,
    /// Pipelines whose halt is lifted.
    pub lifted: Vec<Arc<str>>,
}

impl Assigned {
    /// Follows a change that `install` makes: in between no partition is assigned and none is taken away.
    ///
    /// Invariant 5: lanes whose records would meet another pipeline are closed before that is so.
    pub fn follow(&self, change: Change, install: impl FnOnce()) -> Followed {
        let mut partitions = self.held();
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        let lifted = self.lift(&change);
        let latest = Instant::now() + SETTLE;
        let mut again = Vec::new();
        for (id, held) in partitions.iter_mut() {
            let topic = change.topics.get(&*id.topic);
            if topic.is_some_and(|topic| goes_on(held, topic, &lifted)) {
                continue;
            }
            held.close();
            // Where the topic is no longer ours, the partition is about to be taken away.
            if topic.is_some() {
                held.again.get_or_insert(latest);
                again.push(id.clone());
            }
        }
        self.forget_others(&change.topics);
        *topics = change.topics;
        drop(topics);
        *self.outboxes.write().unwrap_or_else(PoisonError::into_inner) = change.outboxes;
        install();
        self.changes.fetch_add(1, Ordering::Release);
        again.sort();
        Followed { again, lifted }
    }

    /// Lifts the halts of pipelines that changed, and begins to count anew what becomes of their records.
    fn lift(&self, change: &Change) -> Vec<Arc<str>> {
        let mut halts = self.halts.lock().unwrap_or_else(PoisonError::into_inner);
        let lifts = |pipeline: &Arc<str>| change.changed.contains(pipeline);
        let lifted = halts.extract_if(|pipeline, halt| halt.for_records && lifts(pipeline));
        let lifted: Vec<Arc<str>> = lifted.map(|(pipeline, _)| pipeline).collect();
        drop(halts);
        let mut storms = self.storms.lock().unwrap_or_else(PoisonError::into_inner);
        for (pipeline, storm) in storms.extract_if(|pipeline, _| lifts(pipeline)) {
            if let Some(plugin) = storm.quarantined {
                self.metrics.plugin_quarantined.remove(&PluginLabels { pipeline, plugin });
            }
        }
        for topic in change.topics.values() {
            let new = || Storm::new(topic.storm, topic.quarantine);
            storms.entry(Arc::clone(&topic.pipeline)).or_insert_with(new);
        }
        drop(storms);
        for pipeline in &lifted {
            tracing::info!(%pipeline, "the halt is lifted: the pipeline is another");
        }
        lifted
    }

    /// Of topics that are no longer ours nothing is known.
    fn forget_others(&self, topics: &Topics) {
        let mut missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        missing.retain(|topic| topics.contains_key(topic));
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.retain(|topic, _| topics.contains_key(topic));
    }

    /// The topics of all pipelines; none before they are told.
    pub fn topics(&self) -> Vec<String> {
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        topics.keys().cloned().collect()
    }

    /// Counts changes of the topics.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Where events may be from now on.
    pub fn set_outboxes(&self, outboxes: Vec<Arc<Outbox>>) {
        *self.outboxes.write().unwrap_or_else(PoisonError::into_inner) = outboxes;
    }

    /// The process stops: events wait for no others any more.
    pub fn linger_no_more(&self) {
        let outboxes = self.outboxes.read().unwrap_or_else(PoisonError::into_inner);
        outboxes.iter().for_each(|outbox| outbox.drain());
    }

    /// The terms of partitions with a call under way that began before what has this number was current, of pipelines
    /// that feed what is waited for. Of calls that are older still nobody knows what they feed.
    pub fn behind(&self, number: u64, feeds: impl Fn(&str) -> bool) -> Vec<u64> {
        let partitions = self.held();
        let counts = |lane: &Lane| {
            lane.is_behind(number) && (feeds(&lane.pipeline) || lane.is_behind(number - 1))
        };
        let behind = partitions.values().filter(|held| counts(&held.lane));
        behind.map(|held| held.lane.partition.term).collect()
    }

    /// Ends these terms at once; their partitions begin again.
    pub fn give_up(&self, terms: &[u64]) -> Vec<PartitionId> {
        let mut partitions = self.held();
        let mut ended = Vec::new();
        for (id, held) in partitions.iter_mut() {
            if terms.contains(&held.lane.partition.term) {
                held.close();
                held.again = Some(Instant::now());
                self.end(&held.lane.partition);
                ended.push(id.clone());
            }
        }
        ended.sort();
        ended
    }

    /// Gives partitions their next term where the one before is over, and where they are read from; none
    /// where that is not known.
    pub(super) fn begin_again(&self, now: Instant) -> Vec<(PartitionId, Option<i64>)> {
        let mut partitions = self.held();
        let mut begun = Vec::new();
        for (id, held) in partitions.iter_mut() {
            let Some(latest) = held.again else { continue };
            if !self.has_ended(held, now >= latest) {
                continue;
            }
            let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
            let Some(topic) = topics.get(&*id.topic) else { continue };
            let next = self.hold(id, topic).following(held);
            *held = next;
            begun.push((id.clone(), held.began));
        }
        begun
    }

    /// Whether a term that is to end has ended, and nothing of it is on its way.
    fn has_ended(&self, held: &mut Held, must: bool) -> bool {
        held.close();
        let partition = &held.lane.partition;
        if !partition.is_over() {
            if held.tracker.in_flight() > 0 && !must {
                return false;
            }
            self.end(partition);
        }
        // Invariant 3: a request that carries events of others, too, is not given up.
        let outboxes = self.outboxes.read().unwrap_or_else(PoisonError::into_inner);
        !outboxes.iter().any(|outbox| outbox.holds(partition.term))
    }
}

/// Whether a partition goes on as it is.
fn goes_on(held: &Held, topic: &Topic, lifted: &[Arc<str>]) -> bool {
    let same = held.lane.pipeline == topic.pipeline && held.lane.ids == topic.ids;
    same && !lifted.contains(&topic.pipeline)
        && (held.halted.is_some() || !held.lane.partition.is_closed())
}
