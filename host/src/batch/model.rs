//! The batcher against a model that keeps lists and searches them: after every step both agree, and
//! what is sent is held against the rules, not against another batcher.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::{Batch, Batcher, Entry, Next};
use crate::config::{self, Order};

/// Below this other partitions join, and joining ends there (design decision 18).
const SMALL: usize = 64 * 1024;
/// `{"messages":[` and `]}`.
const ENVELOPE: usize = 15;
const LINGER: Duration = Duration::from_millis(10);

/// An event: its partition, its number among all, its size.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Event {
    partition: u64,
    number: usize,
    bytes: usize,
}

impl Entry for Event {
    fn bytes(&self) -> usize {
        self.bytes
    }
}

/// What is done to a batcher.
#[derive(Clone, Debug)]
enum Step {
    Push(u64, usize),
    Next,
    /// The verdicts of one of the requests in flight are in.
    Done(usize),
    Forget(u64),
    Pass(u64),
    Drain,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let partition = || 0_u64..5;
    let bytes = prop_oneof![2 => 1_usize..12, 4 => 1_usize..400, 2 => 1_000_usize..70_000];
    let step = prop_oneof![
        8 => (partition(), bytes).prop_map(|(partition, bytes)| Step::Push(partition, bytes)),
        6 => Just(Step::Next),
        3 => any::<usize>().prop_map(Step::Done),
        1 => partition().prop_map(Step::Forget),
        2 => (0_u64..15).prop_map(Step::Pass),
    ];
    // At most one drain, late, as a stop is.
    (prop::collection::vec(step, 0..150), any::<bool>(), 0_usize..40).prop_map(
        |(mut steps, drains, before_end)| {
            if drains {
                steps.insert(steps.len().saturating_sub(before_end), Step::Drain);
            }
            steps
        },
    )
}

/// Lists of what waits and what is on its way.
struct Model {
    max_messages: usize,
    max_bytes: usize,
    in_order: bool,
    draining: bool,
    now: Instant,
    waiting: Vec<(Instant, Event)>,
    flying: Vec<Vec<u64>>,
    /// By partition that is due: who was served first since it is.
    passed_over: BTreeMap<u64, BTreeSet<u64>>,
}

impl Model {
    fn of(&self, partition: u64) -> Vec<(Instant, Event)> {
        self.waiting.iter().copied().filter(|(_, event)| event.partition == partition).collect()
    }

    /// Partitions of which something waits that could be sent, were it due.
    fn open(&self) -> BTreeSet<u64> {
        let flies = |partition| self.flying.iter().flatten().any(|flying| *flying == partition);
        let waiting = self.waiting.iter().map(|(_, event)| event.partition);
        waiting.filter(|partition| !(self.in_order && flies(*partition))).collect()
    }

    /// When an open partition is due.
    fn due_at(&self, partition: u64) -> Instant {
        let waiting = self.of(partition);
        let bytes: usize = ENVELOPE + waiting.iter().map(|(_, e)| e.bytes + 1).sum::<usize>();
        let full = waiting.len() >= self.max_messages || bytes >= self.max_bytes;
        if full || self.draining { self.now } else { waiting[0].0 + LINGER }
    }

    fn check(&mut self, next: &Next<Event>) -> Result<(), TestCaseError> {
        let open = self.open();
        let first_due = open.iter().map(|partition| self.due_at(*partition)).min();
        match next {
            Next::Idle => prop_assert_eq!(first_due, None),
            Next::Wait(at) => {
                prop_assert!(*at > self.now);
                prop_assert_eq!(first_due, Some(*at));
            }
            Next::Send(batch) => self.send(batch, &open)?,
        }
        Ok(())
    }

    fn send(&mut self, batch: &Batch<Event>, open: &BTreeSet<u64>) -> Result<(), TestCaseError> {
        let sizes = batch.entries.iter().map(|event| event.bytes + 1);
        prop_assert_eq!(batch.bytes, ENVELOPE + sizes.sum::<usize>());
        prop_assert!((1..=self.max_messages).contains(&batch.entries.len()));
        prop_assert!(batch.bytes <= self.max_bytes || batch.entries.len() == 1);

        // One partition after the other, each from its head, and none that has to wait.
        let mut runs: Vec<(u64, usize)> = Vec::new();
        for event in &batch.entries {
            match runs.last_mut() {
                Some((partition, count)) if *partition == event.partition => *count += 1,
                _ => runs.push((event.partition, 1)),
            }
        }
        let partitions: Vec<u64> = runs.iter().map(|(partition, _)| *partition).collect();
        prop_assert_eq!(&partitions, &batch.partitions);
        prop_assert_eq!(partitions.iter().collect::<BTreeSet<_>>().len(), partitions.len());
        prop_assert!(partitions.iter().all(|partition| open.contains(partition)));
        let due: Vec<u64> = open.iter().copied().filter(|p| self.due_at(*p) <= self.now).collect();
        prop_assert!(due.contains(&partitions[0]), "nothing was due");

        let (mut bytes, mut taken) = (ENVELOPE, 0);
        for (at, (partition, count)) in runs.iter().enumerate() {
            prop_assert!(at == 0 || bytes < SMALL, "joined a request that is not small");
            let head: Vec<Event> =
                self.of(*partition).iter().map(|(_, e)| *e).take(*count).collect();
            prop_assert_eq!(&batch.entries[taken..taken + count], &head[..]);
            bytes += head.iter().map(|event| event.bytes + 1).sum::<usize>();
            taken += count;
            prop_assert!(at == 0 || bytes <= SMALL.min(self.max_bytes), "joined beyond it");
        }
        self.waiting.retain(|(_, event)| !batch.entries.contains(event));

        // What still waits did not fit.
        for partition in open {
            let Some((_, event)) = self.of(*partition).first().copied() else { continue };
            let limit = if *partition == partitions[0] {
                self.max_bytes
            } else if batch.bytes < SMALL {
                self.max_bytes.min(SMALL)
            } else {
                continue;
            };
            let fits = batch.bytes + event.bytes < limit && batch.entries.len() < self.max_messages;
            prop_assert!(!fits, "{event:?} would have fitted");
        }
        self.take_turns(&due, &partitions)?;
        self.flying.push(partitions);
        Ok(())
    }

    /// Nobody is served first twice while another is due.
    fn take_turns(&mut self, due: &[u64], sent: &[u64]) -> Result<(), TestCaseError> {
        self.passed_over
            .retain(|partition, _| due.contains(partition) && !sent.contains(partition));
        for partition in due.iter().filter(|partition| !sent.contains(partition)) {
            let first = self.passed_over.entry(*partition).or_default().insert(sent[0]);
            prop_assert!(first, "{} came twice while {partition} was due", sent[0]);
        }
        Ok(())
    }

    fn done(&mut self, which: usize) -> Option<Vec<u64>> {
        if self.flying.is_empty() {
            return None;
        }
        Some(self.flying.swap_remove(which % self.flying.len()))
    }
}

/// One step of both.
fn step(
    batcher: &mut Batcher<Event>,
    model: &mut Model,
    number: usize,
    step: &Step,
) -> Result<(), TestCaseError> {
    match *step {
        Step::Push(partition, bytes) => {
            let event = Event { partition, number, bytes };
            batcher.push(partition, event, model.now);
            model.waiting.push((model.now, event));
        }
        Step::Next => {
            let next = batcher.next(model.now);
            model.check(&next)?;
        }
        Step::Done(which) => {
            if let Some(partitions) = model.done(which) {
                batcher.done(&partitions);
            }
        }
        Step::Forget(partition) => {
            batcher.forget(partition);
            model.waiting.retain(|(_, event)| event.partition != partition);
        }
        Step::Pass(milliseconds) => model.now += Duration::from_millis(milliseconds),
        Step::Drain => {
            batcher.drain();
            model.draining = true;
        }
    }
    prop_assert_eq!(batcher.waiting(), model.waiting.len());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn invariant_3_every_step_is_the_models(
        steps in steps(),
        max_messages in 1_usize..8,
        max_bytes in prop_oneof![Just(40_usize), Just(1_000), Just(100_000), Just(900_000)],
        order in prop_oneof![3 => Just(Order::Partition), 1 => Just(Order::None)],
    ) {
        let settings = config::Batch { max_messages, max_bytes, linger_ms: 10, max_in_flight: 4 };
        let mut batcher = Batcher::new(&settings, order);
        let mut model = Model {
            max_messages,
            max_bytes,
            in_order: order == Order::Partition,
            draining: false,
            now: Instant::now(),
            waiting: Vec::new(),
            flying: Vec::new(),
            passed_over: BTreeMap::new(),
        };
        for (number, each) in steps.iter().enumerate() {
            step(&mut batcher, &mut model, number, each)?;
        }

        // In the end all of it goes, within as many requests as there are events.
        step(&mut batcher, &mut model, 0, &Step::Drain)?;
        for _ in 0..=steps.len() {
            while !model.flying.is_empty() {
                step(&mut batcher, &mut model, 0, &Step::Done(0))?;
            }
            step(&mut batcher, &mut model, 0, &Step::Next)?;
        }
        prop_assert_eq!(batcher.waiting(), 0);
    }
}
