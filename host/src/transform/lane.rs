//! A partition's queue of records, and the queue of partitions that have some.
//!
//! A partition is run by one worker at a time but is pinned to none: ready partitions queue, a
//! free worker takes the next. While a call has used much CPU a spare worker serves the queue, so
//! that a slow plugin holds no other partition (Invariant 7).

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::id::Ids;
use crate::plugin::CallLimits;
use crate::record::Record;
use crate::settle::Partition;

/// How many generations a partition remembers.
const REMEMBERED: usize = 8;

/// From which offset on a partition's records began under a generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    /// The generation's name.
    pub generation: Arc<str>,
    /// The first offset.
    pub offset: i64,
}

/// One assigned partition as workers see it.
pub struct Lane {
    /// The assignment.
    pub partition: Arc<Partition>,
    /// The pipeline that the partition's topic belongs to.
    pub pipeline: Arc<str>,
    /// Makes the ids of its events.
    pub ids: Ids,
    state: Mutex<State>,
    /// The number of what the present call runs under; 0 where none runs.
    runs_under: AtomicU64,
    /// The number of what the last call began under.
    began_under: AtomicU64,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Record>,
    /// In the queue of ready partitions, or run by a worker.
    busy: bool,
    /// Has records, but what was begun weighs too much, or it is not to be begun yet: waits for
    /// [`Ready::look_again`].
    gated: bool,
    not_before: Option<Instant>,
    /// The oldest first.
    begun: VecDeque<Begun>,
}

impl State {
    fn is_held(&self, lane: &Lane, share: usize) -> bool {
        lane.partition.begun() > share || self.not_before.is_some_and(|at| at > Instant::now())
    }
}

impl Lane {
    /// An empty lane.
    pub fn new(partition: Arc<Partition>, pipeline: Arc<str>, ids: Ids) -> Self {
        Self {
            partition,
            pipeline,
            ids,
            state: Mutex::default(),
            runs_under: AtomicU64::new(0),
            began_under: AtomicU64::new(0),
        }
    }

    /// What the lane of the assignment before remembers of records before `next` is remembered here, too.
    pub fn remember(&self, before: &Self, next: Option<i64>) {
        let begun = before.begun().into_iter();
        let kept = begun.filter(|begun| next.is_some_and(|next| begun.offset < next));
        self.state().begun = kept.collect();
    }

    /// Under which generations its records began lately, the oldest first.
    pub fn begun(&self) -> Vec<Begun> {
        self.state().begun.iter().cloned().collect()
    }

    /// A worker has it, and looks at what is current: called while that cannot change.
    pub fn enter(&self, number: u64) {
        self.runs_under.store(number, Ordering::Release);
    }

    /// The worker's call is over, and what it gave is handed on.
    pub fn leave(&self) {
        self.runs_under.store(0, Ordering::Release);
    }

    /// Whether a call runs that began before what has this number was current.
    pub fn is_behind(&self, number: u64) -> bool {
        (1..number).contains(&self.runs_under.load(Ordering::Acquire))
    }

    /// Records from this offset on begin under a generation.
    pub fn note(&self, number: u64, generation: &Arc<str>, offset: i64) {
        if self.began_under.swap(number, Ordering::Relaxed) == number {
            return;
        }
        let mut state = self.state();
        // Records that are given again begin once more, perhaps under another one.
        state.begun.retain(|begun| begun.offset < offset);
        if state.begun.back().is_none_or(|last| last.generation != *generation) {
            state.begun.push_back(Begun { generation: Arc::clone(generation), offset });
        }
        if state.begun.len() > REMEMBERED {
            state.begun.pop_front();
        }
    }

    /// Takes the next records for one call: what is queued, never waiting for more. None once the lane is
    /// closed: by then another generation may run that does not know its pipeline.
    pub fn take(&self, limits: CallLimits) -> Vec<Record> {
        let mut state = self.state();
        let (mut taken, mut bytes) = (Vec::new(), 0);
        if self.partition.is_closed() {
            return taken;
        }
        while taken.len() < limits.records
            && let Some(record) = state.queue.pop_front_if(|record| {
                taken.is_empty() || bytes + payload_bytes(record) <= limits.bytes
            })
        {
            bytes += payload_bytes(&record);
            taken.push(record);
        }
        taken
    }

    /// Puts back records that were taken last and not begun, ahead of all others.
    pub fn put_back(&self, records: Vec<Record>) {
        let mut state = self.state();
        for record in records.into_iter().rev() {
            state.queue.push_front(record);
        }
    }

    /// Puts records back, none of which is begun again for a while.
    pub fn postpone(&self, records: Vec<Record>, until: Instant) {
        self.put_back(records);
        self.state().not_before = Some(until);
    }

    /// Throws away what was not begun, which comes again after a restart or at another member.
    /// Returns the first of it.
    pub fn clear(&self) -> Option<i64> {
        let mut state = self.state();
        let first = state.queue.front().map(|record| record.offset);
        for record in state.queue.drain(..) {
            self.partition.release(record.weight());
        }
        first
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was put back into a lane that was taken away meanwhile weighs nothing from now on.
impl Drop for Lane {
    fn drop(&mut self) {
        self.clear();
    }
}

fn payload_bytes(record: &Record) -> usize {
    record.payload.as_ref().map_or(0, bytes::Bytes::len)
}

/// What a worker does next.
pub enum Turn {
    /// Runs records of this partition.
    Lane(Arc<Lane>),
    /// Looks for another generation; idle workers, too, since they hold instances.
    Look,
    /// Goes home.
    End,
}

/// The partitions that have records and no worker.
#[derive(Default)]
pub struct Ready {
    queue: Mutex<Queue>,
    any: Condvar,
    spare: Condvar,
}

#[derive(Default)]
struct Queue {
    lanes: VecDeque<Arc<Lane>>,
    /// Calls under way that have used much CPU: as many spare workers may run.
    slow: usize,
    spares: usize,
    /// How often workers were told to look for another generation.
    looks: u64,
    stopped: bool,
}

impl Ready {
    /// Adds a record to its lane, and the lane to the queue.
    pub fn push(&self, lane: &Arc<Lane>, record: Record) {
        let mut state = lane.state();
        state.queue.push_back(record);
        if !state.busy && !state.gated {
            state.busy = true;
            drop(state);
            self.enqueue(lane);
        }
    }

    /// Puts a lane back after a call: behind the others, where it has more. A lane whose begun
    /// records and events weigh more than `share` waits until they weigh less (Invariant 4).
    pub fn give_back(&self, lane: &Arc<Lane>, share: usize) {
        let mut state = lane.state();
        if state.queue.is_empty() || lane.partition.is_closed() {
            state.busy = false;
        } else if state.is_held(lane, share) {
            (state.busy, state.gated) = (false, true);
        } else {
            drop(state);
            self.enqueue(lane);
        }
    }

    /// Lets a waiting lane go on where it weighs less than `share` now.
    pub fn look_again(&self, lane: &Arc<Lane>, share: usize) {
        let mut state = lane.state();
        if state.gated && !state.is_held(lane, share) {
            (state.busy, state.gated) = (true, false);
            drop(state);
            self.enqueue(lane);
        }
    }

    /// Waits for a turn. A spare worker is given a lane only while calls are slow, and counts until
    /// [`Ready::leave_spare`]. `looked` counts how often this worker was told to look.
    pub fn take(&self, spare: bool, looked: &mut u64) -> Turn {
        let mut queue = self.lock();
        loop {
            if queue.stopped {
                return Turn::End;
            }
            if *looked < queue.looks {
                *looked = queue.looks;
                return Turn::Look;
            }
            if (!spare || queue.spares < queue.slow)
                && let Some(lane) = queue.lanes.pop_front()
            {
                queue.spares += usize::from(spare);
                return Turn::Lane(lane);
            }
            let turn = if spare { &self.spare } else { &self.any };
            queue = turn.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A spare worker has ended its call.
    pub fn leave_spare(&self) {
        self.lock().spares -= 1;
    }

    /// A call has become slow (`true`), or a slow call has ended.
    pub fn note_slow(&self, begins: bool) {
        let mut queue = self.lock();
        queue.slow = if begins { queue.slow + 1 } else { queue.slow.saturating_sub(1) };
        drop(queue);
        self.spare.notify_all();
    }

    /// How many lanes wait for a worker.
    pub fn waiting(&self) -> usize {
        self.lock().lanes.len()
    }

    /// Has all workers look for another generation.
    pub(crate) fn look(&self) {
        self.lock().looks += 1;
        self.any.notify_all();
        self.spare.notify_all();
    }

    /// Sends all workers home.
    pub fn stop(&self) {
        self.lock().stopped = true;
        self.any.notify_all();
        self.spare.notify_all();
    }

    fn enqueue(&self, lane: &Arc<Lane>) {
        let mut queue = self.lock();
        queue.lanes.push_back(Arc::clone(lane));
        let spare = queue.spares < queue.slow;
        drop(queue);
        self.any.notify_one();
        if spare {
            self.spare.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::record::PartitionId;
    use crate::settle::Budget;

    fn lane() -> Arc<Lane> {
        let id = PartitionId { topic: "t".into(), partition: 0 };
        let partition = Partition::new(id, 1, Arc::new(Budget::new(1 << 20)), Arc::default());
        Arc::new(Lane::new(Arc::new(partition), "p".into(), Ids::new("c", "t", "", "p")))
    }

    fn record(offset: i64, bytes: usize) -> Record {
        Record { offset, payload: Some(Bytes::from(vec![0; bytes])), ..Record::default() }
    }

    fn take(ready: &Ready) -> Arc<Lane> {
        let Turn::Lane(lane) = ready.take(false, &mut 0) else { unreachable!() };
        lane
    }

    #[test]
    fn a_call_takes_what_fits_and_one_record_at_least() {
        let (ready, lane) = (Ready::default(), lane());
        for (offset, bytes) in [(0, 10), (1, 10), (2, 5000), (3, 1)] {
            ready.push(&lane, record(offset, bytes));
        }
        let limits = CallLimits { records: 10, bytes: 100 };
        let offsets = |records: Vec<Record>| records.iter().map(|r| r.offset).collect::<Vec<_>>();
        assert_eq!(offsets(lane.take(limits)), [0, 1]);
        assert_eq!(offsets(lane.take(limits)), [2]);
        assert_eq!(offsets(lane.take(limits)), [3]);
    }

    #[test]
    fn what_is_put_back_comes_first_and_in_order() {
        let (ready, lane) = (Ready::default(), lane());
        for offset in 0..3 {
            ready.push(&lane, record(offset, 10));
        }
        let taken = take(&ready);
        let limits = CallLimits { records: 2, bytes: 100 };
        taken.put_back(taken.take(limits));
        ready.give_back(&taken, usize::MAX);
        assert_eq!(ready.lock().lanes.len(), 1, "the lane has records again");
        let offsets = lane.take(limits).iter().map(|r| r.offset).collect::<Vec<_>>();
        assert_eq!(offsets, [0, 1]);
        assert_eq!(lane.take(limits)[0].offset, 2);
    }

    #[test]
    fn invariant_4_a_lane_that_goes_gives_back_what_waits_in_it() {
        let (ready, lane) = (Ready::default(), lane());
        ready.push(&lane, record(0, 10));
        let partition = Arc::clone(&lane.partition);
        let record = lane.take(CallLimits { records: 1, bytes: 1 }).remove(0);
        partition.charge(record.weight());
        lane.clear();
        lane.put_back(vec![record]);
        drop((ready, lane));
        assert_eq!(partition.weight(), 0);
    }

    #[test]
    fn a_lane_has_one_worker_at_a_time() {
        let (ready, lane) = (Ready::default(), lane());
        ready.push(&lane, record(0, 1));
        let taken = take(&ready);
        ready.push(&lane, record(1, 1));
        assert!(ready.lock().lanes.is_empty());
        ready.give_back(&taken, usize::MAX);
        assert_eq!(ready.lock().lanes.len(), 1);
    }

    #[test]
    fn invariant_4_a_lane_waits_while_what_was_begun_weighs_too_much() {
        let (ready, lane) = (Ready::default(), lane());
        ready.push(&lane, record(0, 1000));
        ready.push(&lane, record(1, 1000));
        let taken = take(&ready);
        let limits = CallLimits { records: 1, bytes: 1 };
        let begun =
            crate::settle::Debt::new(Arc::clone(&lane.partition), lane.take(limits).remove(0));
        ready.give_back(&taken, 500);
        assert!(ready.lock().lanes.is_empty());
        ready.look_again(&lane, 500);
        assert!(ready.lock().lanes.is_empty());
        drop(begun);
        ready.look_again(&lane, 500);
        assert_eq!(ready.lock().lanes.len(), 1);
    }

    #[test]
    fn invariant_7_a_spare_worker_enters_only_while_calls_are_slow() {
        let (ready, lane) = (Arc::new(Ready::default()), lane());
        ready.push(&lane, record(0, 1));
        let spare = {
            let ready = Arc::clone(&ready);
            std::thread::spawn(move || matches!(ready.take(true, &mut 0), Turn::Lane(_)))
        };
        assert!(!spare.is_finished());
        ready.note_slow(true);
        assert!(spare.join().unwrap());
        ready.leave_spare();
    }

    #[test]
    fn invariant_7_records_whose_plugin_does_not_start_wait_and_hold_no_worker() {
        let (ready, lane) = (Ready::default(), lane());
        ready.push(&lane, record(0, 1));
        ready.push(&lane, record(1, 1));
        let limits = CallLimits { records: 256, bytes: 1 << 20 };
        let taken = take(&ready).take(limits);
        let later = Instant::now() + std::time::Duration::from_hours(1);
        lane.postpone(taken, later);
        ready.give_back(&lane, 1 << 20);
        ready.look_again(&lane, 1 << 20);
        assert_eq!(ready.waiting(), 0, "not yet");
        lane.state().not_before = Some(Instant::now());
        ready.look_again(&lane, 1 << 20);
        let offsets: Vec<i64> =
            take(&ready).take(limits).iter().map(|record| record.offset).collect();
        assert_eq!(offsets, [0, 1]);
    }

    #[test]
    fn invariant_5_nothing_is_taken_from_a_closed_lane() {
        let (ready, lane) = (Ready::default(), lane());
        ready.push(&lane, record(0, 1));
        lane.partition.close();
        assert!(lane.take(CallLimits { records: 1, bytes: 1 }).is_empty());
    }

    #[test]
    fn invariant_5_a_call_is_behind_until_it_is_over() {
        let lane = lane();
        assert!(!lane.is_behind(2));
        lane.enter(1);
        assert!(lane.is_behind(2) && !lane.is_behind(1));
        lane.leave();
        assert!(!lane.is_behind(2));
    }

    #[test]
    fn workers_that_wait_are_told_once_to_look() {
        let ready = Arc::new(Ready::default());
        for spare in [false, true] {
            let mut looked = 0;
            ready.look();
            assert!(matches!(ready.take(spare, &mut looked), Turn::Look));
            let waiting = {
                let ready = Arc::clone(&ready);
                std::thread::spawn(move || matches!(ready.take(spare, &mut looked), Turn::Look))
            };
            ready.look();
            assert!(waiting.join().unwrap());
        }
    }

    #[test]
    fn a_closed_lane_is_not_taken_up_again() {
        let (ready, lane) = (Ready::default(), lane());
        ready.push(&lane, record(0, 1));
        let taken = take(&ready).take(CallLimits { records: 1, bytes: 1 });
        lane.partition.close();
        lane.put_back(taken);
        ready.give_back(&lane, 1 << 20);
        assert_eq!(ready.waiting(), 0);
        assert_eq!(lane.clear(), Some(0));
    }
}
