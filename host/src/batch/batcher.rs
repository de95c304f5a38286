//! Events of one destination gathered into requests. Pure: `now` is an argument.
//!
//! Invariant 3: a partition has at most one request in flight per destination, so no event is
//! first sent before every event of earlier requests has its verdict; within a request events
//! stand in offset order. With `order: none` requests of a partition may overlap.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::config;

/// Below this size a request takes in events of other partitions: a thousand quiet partitions
/// must not spend the organisation's quota of requests on small ones.
const SMALL: usize = 64 * 1024;

/// The bytes of `{"messages":[` and `]}`.
const ENVELOPE: usize = 15;

/// What stands in a queue: it knows its size, and the partition that it came from.
pub trait Entry {
    /// The encoded size in bytes.
    fn bytes(&self) -> usize;
}

/// The events that wait for one destination, by partition.
#[derive(Debug)]
pub struct Batcher<E> {
    max_messages: usize,
    max_bytes: usize,
    linger: Duration,
    in_order: bool,
    draining: bool,
    /// By the assignment's number, which is unique per partition and term.
    queues: BTreeMap<u64, Queue<E>>,
    /// Where the search for a full or old queue goes on, so that all get their turn.
    turn: u64,
}

#[derive(Debug)]
struct Queue<E> {
    entries: VecDeque<(Instant, E)>,
    bytes: usize,
    in_flight: usize,
}

/// Events to be sent together.
#[derive(Debug)]
pub struct Batch<E> {
    /// The events, in offset order for each partition.
    pub entries: Vec<E>,
    /// The partitions that they come from.
    pub partitions: Vec<u64>,
    /// The size of the request's body.
    pub bytes: usize,
}

/// What the batcher wants next.
#[derive(Debug)]
pub enum Next<E> {
    /// Send this.
    Send(Batch<E>),
    /// Nothing is due before this instant.
    Wait(Instant),
    /// Nothing waits, or all that waits is behind a request in flight.
    Idle,
}

impl<E: Entry> Batcher<E> {
    /// An empty batcher.
    pub fn new(settings: &config::Batch, order: config::Order) -> Self {
        Self {
            max_messages: settings.max_messages,
            max_bytes: settings.max_bytes,
            linger: Duration::from_millis(settings.linger_ms),
            in_order: order == config::Order::Partition,
            draining: false,
            queues: BTreeMap::new(),
            turn: 0,
        }
    }

    /// Adds an event of a partition, which came after all that were added before.
    pub fn push(&mut self, partition: u64, entry: E, now: Instant) {
        let queue = self.queues.entry(partition).or_insert_with(Queue::new);
        queue.bytes += entry.bytes() + 1;
        queue.entries.push_back((now, entry));
    }

    /// From now on events do not wait for others.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// How many events wait.
    pub fn waiting(&self) -> usize {
        self.queues.values().map(|queue| queue.entries.len()).sum()
    }

    /// Whether something of a partition waits or is on its way.
    pub fn holds(&self, partition: u64) -> bool {
        self.queues.contains_key(&partition)
    }

    /// The partitions of which something waits or is on its way.
    pub fn partitions(&self) -> Vec<u64> {
        self.queues.keys().copied().collect()
    }

    /// What to do at `now`.
    pub fn next(&mut self, now: Instant) -> Next<E> {
        let mut earliest: Option<Instant> = None;
        let mut due = None;
        let turn = self.turn;
        for (id, queue) in self.queues.range(turn..).chain(self.queues.range(..turn)) {
            let Some(at) = self.due_at(queue, now) else { continue };
            if at <= now {
                due = Some(*id);
                break;
            }
            earliest = Some(earliest.map_or(at, |e| e.min(at)));
        }
        match (due, earliest) {
            (Some(id), _) => Next::Send(self.seal(id)),
            (None, Some(at)) => Next::Wait(at),
            (None, None) => Next::Idle,
        }
    }

    /// Takes note that a request of these partitions has all its verdicts.
    pub fn done(&mut self, partitions: &[u64]) {
        for id in partitions {
            let Some(queue) = self.queues.get_mut(id) else { continue };
            queue.in_flight -= 1;
            if queue.in_flight == 0 && queue.entries.is_empty() {
                self.queues.remove(id);
            }
        }
    }

    /// Forgets what waits of a partition.
    pub fn forget(&mut self, partition: u64) {
        let Some(queue) = self.queues.get_mut(&partition) else { return };
        queue.entries.clear();
        queue.bytes = 0;
        if queue.in_flight == 0 {
            self.queues.remove(&partition);
        }
    }

    /// When the queue is due: full, or its first event old enough; none if it cannot be sent now.
    fn due_at(&self, queue: &Queue<E>, now: Instant) -> Option<Instant> {
        if self.in_order && queue.in_flight > 0 {
            return None;
        }
        let (since, _) = queue.entries.front()?;
        let full =
            queue.entries.len() >= self.max_messages || ENVELOPE + queue.bytes >= self.max_bytes;
        Some(if full || self.draining { now } else { *since + self.linger })
    }

    fn seal(&mut self, first: u64) -> Batch<E> {
        let mut batch = Batch { entries: Vec::new(), partitions: Vec::new(), bytes: ENVELOPE };
        self.fill(&mut batch, first, self.max_bytes);
        let others: Vec<u64> = self
            .queues
            .range(first..)
            .chain(self.queues.range(..first))
            .filter(|(id, queue)| {
                **id != first
                    && !queue.entries.is_empty()
                    && !(self.in_order && queue.in_flight > 0)
            })
            .map(|(id, _)| *id)
            .collect();
        for id in others {
            if batch.bytes >= SMALL {
                break;
            }
            self.fill(&mut batch, id, self.max_bytes.min(SMALL));
        }
        self.turn = first + 1;
        batch
    }

    /// Moves events of one partition from its queue to the batch, as many as fit. An event that
    /// alone exceeds the limit travels alone: AEP's verdict on it is the truth.
    fn fill(&mut self, batch: &mut Batch<E>, id: u64, max_bytes: usize) {
        let Some(queue) = self.queues.get_mut(&id) else { return };
        let before = batch.entries.len();
        while batch.entries.len() < self.max_messages {
            let Some((_, next)) = queue.entries.front() else { break };
            let size = next.bytes() + 1;
            if batch.bytes + size > max_bytes && !batch.entries.is_empty() {
                break;
            }
            let Some((_, entry)) = queue.entries.pop_front() else { break };
            queue.bytes -= size;
            batch.bytes += size;
            batch.entries.push(entry);
        }
        if batch.entries.len() > before {
            queue.in_flight += 1;
            batch.partitions.push(id);
        }
    }
}

impl<E> Queue<E> {
    fn new() -> Self {
        Self { entries: VecDeque::new(), bytes: 0, in_flight: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, PartialEq)]
    struct Sized(u64, usize, usize);

    impl Entry for Sized {
        fn bytes(&self) -> usize {
            self.2
        }
    }

    fn batcher(order: config::Order) -> Batcher<Sized> {
        let settings =
            config::Batch { max_messages: 3, max_bytes: 1000, linger_ms: 10, max_in_flight: 4 };
        Batcher::new(&settings, order)
    }

    fn sent(next: Next<Sized>) -> Batch<Sized> {
        match next {
            Next::Send(batch) => batch,
            other => panic!("expected a batch, got {other:?}"),
        }
    }

    #[test]
    fn seals_when_full_or_when_the_first_event_is_old() {
        let (mut batcher, now) = (batcher(config::Order::Partition), Instant::now());
        batcher.push(1, Sized(1, 0, 100), now);
        let Next::Wait(at) = batcher.next(now) else { panic!("not due yet") };
        assert_eq!(at, now + Duration::from_millis(10));
        batcher.push(1, Sized(1, 1, 100), now);
        batcher.push(1, Sized(1, 2, 100), now);
        assert_eq!(sent(batcher.next(now)).entries.len(), 3);
        batcher.done(&[1]);
        batcher.push(1, Sized(1, 3, 100), now);
        assert_eq!(sent(batcher.next(now + Duration::from_millis(10))).entries.len(), 1);
    }

    #[test]
    fn invariant_3_a_partition_waits_for_its_request() {
        let (mut batcher, now) = (batcher(config::Order::Partition), Instant::now());
        for n in 0..4 {
            batcher.push(1, Sized(1, n, 10), now);
        }
        let first = sent(batcher.next(now));
        assert!(matches!(batcher.next(now + Duration::from_secs(1)), Next::Idle));
        batcher.done(&first.partitions);
        assert_eq!(sent(batcher.next(now + Duration::from_secs(1))).entries, [Sized(1, 3, 10)]);
    }

    #[test]
    fn without_order_requests_of_a_partition_overlap() {
        let (mut batcher, now) = (batcher(config::Order::None), Instant::now());
        for n in 0..6 {
            batcher.push(1, Sized(1, n, 10), now);
        }
        assert_eq!(sent(batcher.next(now)).entries.len(), 3);
        assert_eq!(sent(batcher.next(now)).entries.len(), 3);
    }

    #[test]
    fn a_small_request_takes_in_other_partitions() {
        let (mut batcher, now) = (batcher(config::Order::Partition), Instant::now());
        batcher.push(1, Sized(1, 0, 10), now);
        batcher.push(2, Sized(2, 0, 10), now);
        let batch = sent(batcher.next(now + Duration::from_millis(10)));
        assert_eq!(batch.partitions, [1, 2]);
        assert_eq!(batch.bytes, ENVELOPE + 22);
    }

    #[test]
    fn invariant_3_a_small_request_leaves_out_a_partition_that_waits_for_its_own() {
        let (mut batcher, now) = (batcher(config::Order::Partition), Instant::now());
        let late = now + Duration::from_millis(10);
        batcher.push(1, Sized(1, 0, 10), now);
        assert_eq!(sent(batcher.next(late)).partitions, [1]);
        batcher.push(1, Sized(1, 1, 10), now);
        batcher.push(2, Sized(2, 0, 10), now);
        assert_eq!(sent(batcher.next(late)).partitions, [2]);
    }

    #[test]
    fn partitions_take_turns() {
        let (mut batcher, now) = (batcher(config::Order::Partition), Instant::now());
        for n in 0..12 {
            batcher.push(n % 2, Sized(n % 2, 0, 10), now);
        }
        for expected in [[0], [1], [0], [1]] {
            let batch = sent(batcher.next(now));
            assert_eq!(batch.entries.len(), 3);
            assert_eq!(batch.partitions, expected);
            batcher.done(&batch.partitions);
        }
    }

    #[test]
    fn an_event_above_the_limit_travels_alone() {
        let (mut batcher, now) = (batcher(config::Order::Partition), Instant::now());
        batcher.push(1, Sized(1, 0, 10), now);
        batcher.push(1, Sized(1, 1, 5000), now);
        assert_eq!(sent(batcher.next(now)).entries.len(), 1);
        batcher.done(&[1]);
        assert_eq!(sent(batcher.next(now)).entries, [Sized(1, 1, 5000)]);
    }
}
