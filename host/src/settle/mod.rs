//! Settling: closing a record that is in flight, in exactly one of three ways.
//!
//! A [`Partition`] is one assignment of a topic partition to this process. Each of its records
//! becomes a [`Debt`] when a worker takes it up; the debt is paid once, by [`Debt::settle`], when
//! AEP has accepted every event, the record was filtered, or the dead-letter topic acknowledged it
//! (Invariant 2). A debt that is dropped unpaid leaves its offset open, so that the record comes
//! again: a bug costs a repeat, never a loss.
//!
//! Settlements wait in [`Settlements`] for the consumer, which alone moves offsets ([`Tracker`]).

mod budget;
mod owed;
mod tracker;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

pub use budget::Budget;
pub use owed::Owed;
pub use tracker::{Backwards, Tracker};

use crate::record::{PartitionId, Record};

/// How a record was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Settlement {
    /// AEP accepted every event that the record became.
    Delivered,
    /// A plugin, or the pipeline's rule for tombstones, filtered it for a stated reason.
    Filtered,
    /// The dead-letter topic acknowledged it.
    DeadLettered,
}

impl Settlement {
    /// The name in labels and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Filtered => "filtered",
            Self::DeadLettered => "dead-lettered",
        }
    }
}

/// One assignment of a topic partition to this process.
pub struct Partition {
    /// Which partition.
    pub id: PartitionId,
    /// The assignment's number: settlements of an older term are ignored.
    pub term: u64,
    /// Bytes of this partition in flight: records, and the events that they became.
    weight: AtomicUsize,
    /// The part of it that workers have begun.
    begun: AtomicUsize,
    /// Set when the partition is taken away or the process stops: no further record is begun.
    closed: AtomicBool,
    /// Records without a verdict.
    undecided: AtomicU64,
    /// Set when the partition is taken away: what its records became is not sent from here.
    over: AtomicBool,
    budget: Arc<Budget>,
    settlements: Arc<Settlements>,
}

impl Partition {
    /// A new assignment.
    pub fn new(
        id: PartitionId,
        term: u64,
        budget: Arc<Budget>,
        settlements: Arc<Settlements>,
    ) -> Self {
        let (weight, begun) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let (closed, over) = (AtomicBool::new(false), AtomicBool::new(false));
        let undecided = AtomicU64::new(0);
        Self { id, term, weight, begun, closed, undecided, over, budget, settlements }
    }

    /// Bytes in flight.
    pub fn weight(&self) -> usize {
        self.weight.load(Ordering::Relaxed)
    }

    /// Bytes of records that were begun, and of the events that they became.
    pub fn begun(&self) -> usize {
        self.begun.load(Ordering::Relaxed)
    }

    /// Records that became events, as long as AEP has not answered for all of them.
    pub fn undecided(&self) -> u64 {
        self.undecided.load(Ordering::Relaxed)
    }

    /// Whether no further record may be begun.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Begins no further record.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Whether the partition was taken away.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// The partition was taken away.
    pub fn end(&self) {
        self.over.store(true, Ordering::Release);
    }

    /// Adds to what is in flight. Invariant 4: everything that waits anywhere is counted here.
    pub fn charge(&self, bytes: usize) {
        self.weight.fetch_add(bytes, Ordering::Relaxed);
        self.budget.charge(bytes);
    }

    /// Takes from what is in flight.
    pub fn release(&self, bytes: usize) {
        self.weight.fetch_sub(bytes, Ordering::Relaxed);
        self.budget.release(bytes);
    }
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (term {})", self.id, self.term)
    }
}

/// What one record owes its partition. Holds the record as it came, for a dead letter.
pub struct Debt {
    /// The record.
    pub record: Record,
    partition: Arc<Partition>,
    weight: usize,
    /// The plugin that failed on it, if one did.
    blamed: Option<Arc<str>>,
    /// Whether what becomes of it says nothing of the pipeline.
    excused: bool,
}

impl Debt {
    /// The debt of a record whose weight the consumer charged when it was fetched.
    pub fn new(partition: Arc<Partition>, record: Record) -> Self {
        let weight = record.weight();
        partition.begun.fetch_add(weight, Ordering::Relaxed);
        Self { record, partition, weight, blamed: None, excused: false }
    }

    /// The record's partition.
    pub fn partition(&self) -> &Arc<Partition> {
        &self.partition
    }

    /// Counts the bytes that the record became.
    pub fn charge(&mut self, bytes: usize) {
        self.weight += bytes;
        self.partition.begun.fetch_add(bytes, Ordering::Relaxed);
        self.partition.charge(bytes);
    }

    /// Notes that a plugin failed on the record, rather than rejecting it.
    pub fn blame(&mut self, plugin: &str) {
        self.blamed = Some(plugin.into());
    }

    /// Notes that what becomes of the record is a canary's: it says nothing of the pipeline.
    pub fn excuse(&mut self) {
        self.excused = true;
    }

    /// Closes the record.
    pub fn settle(mut self, how: Settlement) {
        self.partition.settlements.push(Settled {
            partition: Arc::clone(&self.partition),
            offset: self.record.offset,
            how,
            blamed: self.blamed.take(),
            excused: self.excused,
        });
    }
}

impl Drop for Debt {
    fn drop(&mut self) {
        self.partition.begun.fetch_sub(self.weight, Ordering::Relaxed);
        self.partition.release(self.weight);
    }
}

/// A record that was closed.
#[derive(Debug)]
pub struct Settled {
    /// The assignment under which it was handed to us.
    pub partition: Arc<Partition>,
    /// Its offset.
    pub offset: i64,
    /// How.
    pub how: Settlement,
    /// The plugin that failed on it, if one did.
    pub blamed: Option<Arc<str>>,
    /// Whether that is to halt nothing: another rule watches it.
    pub excused: bool,
}

/// Settlements on their way to the consumer. Bounded by the records in flight, which the budget
/// bounds.
#[derive(Default)]
pub struct Settlements {
    queue: Mutex<Vec<Settled>>,
    any: Condvar,
}

impl Settlements {
    fn push(&self, settled: Settled) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).push(settled);
        self.any.notify_one();
    }

    /// Moves everything that waits into `into`, waiting up to `patience` where nothing does.
    pub fn take(&self, into: &mut Vec<Settled>, patience: Duration) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.is_empty() && !patience.is_zero() {
            queue = self
                .any
                .wait_timeout_while(queue, patience, |queue| queue.is_empty())
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        into.append(&mut queue);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(settlements: &Arc<Settlements>, budget: &Arc<Budget>) -> Arc<Partition> {
        let id = PartitionId { topic: "t".into(), partition: 0 };
        Arc::new(Partition::new(id, 1, Arc::clone(budget), Arc::clone(settlements)))
    }

    #[test]
    fn a_debt_gives_back_all_that_was_charged() {
        let (settlements, budget) = (Arc::default(), Arc::new(Budget::new(1000)));
        let partition = partition(&settlements, &budget);
        let record = Record { offset: 7, ..Record::default() };
        partition.charge(record.weight());
        let mut debt = Debt::new(Arc::clone(&partition), record);
        debt.charge(500);
        assert_eq!(budget.used(), 756);
        debt.settle(Settlement::Delivered);
        assert_eq!((budget.used(), partition.weight()), (0, 0));
        let mut settled = Vec::new();
        settlements.take(&mut settled, Duration::ZERO);
        assert_eq!(settled.iter().map(|s| s.offset).collect::<Vec<_>>(), [7]);
    }

    #[test]
    fn invariant_2_a_dropped_debt_settles_nothing() {
        let (settlements, budget) = (Arc::default(), Arc::new(Budget::new(1000)));
        let partition = partition(&settlements, &budget);
        let record = Record::default();
        partition.charge(record.weight());
        drop(Debt::new(partition, record));
        let mut settled = Vec::new();
        settlements.take(&mut settled, Duration::ZERO);
        assert!(settled.is_empty());
        assert_eq!(budget.used(), 0);
    }
}
