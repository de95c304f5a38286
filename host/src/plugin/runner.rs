//! A worker's own instances of a chain, and what it does with them.

use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::batch::{Batch, outcome_weight};
use super::bindings;
use super::chain::{Chain, Item, Outcome, Plugin, event, lend, lend_headers, weight};
use super::error::RunError;
use super::host::{Clock, Hooks, cpu_time};
use super::instance::{Answer, Failure, Instance};
use super::limits::output_room;
use crate::fault::{Code, Fault};
use crate::record::{PartitionId, Record};

/// Events that one record may become.
const MAX_EVENTS: usize = 65_536;

/// What a worker's plugin has used since it was last asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Calls.
    pub calls: u64,
    /// Records in them, those run again included.
    pub records: u64,
    /// Calls that failed, each of which cost an instance.
    pub failures: u64,
    /// Instances made.
    pub instances: u64,
    /// CPU time in calls that succeeded.
    pub cpu: Duration,
    /// Memory of the present instance, in bytes.
    pub memory_bytes: u64,
}

/// A worker's instances of one chain. Belongs to one thread at a time, whose stack must have
/// [`WORKER_STACK_BYTES`](super::WORKER_STACK_BYTES).
pub struct Runner {
    chain: Arc<Chain>,
    steps: Vec<Slot>,
    hooks: Hooks,
}

/// Instances of a chain without a worker: as many as workers have left, and as the gate has made.
#[derive(Default)]
pub struct Warm(Mutex<State>);

#[derive(Default)]
struct State {
    /// One worker's each.
    steps: Vec<Vec<Slot>>,
    /// For how many workers they are kept; none before it was said.
    room: Option<usize>,
}

impl Warm {
    /// From now on instances for at most so many workers are kept.
    pub fn bound(&self, room: usize) {
        let over = {
            let mut state = self.lock();
            state.room = Some(room);
            let keep = room.min(state.steps.len());
            state.steps.split_off(keep)
        };
        // Their memory is given back without the lock.
        drop(over);
    }

    /// For how many workers there are instances.
    pub fn count(&self) -> usize {
        self.lock().steps.len()
    }

    fn take(&self) -> Option<Vec<Slot>> {
        self.lock().steps.pop()
    }

    fn put(&self, steps: Vec<Slot>) {
        let mut state = self.lock();
        if state.room.is_none_or(|room| state.steps.len() < room) {
            state.steps.push(steps);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A plugin's place in a worker.
struct Slot {
    /// None before the first use and after a failure.
    instance: Option<Instance>,
    /// The most records in the next call, by the pace of the last.
    next_call: usize,
    usage: Usage,
}

impl Runner {
    /// A runner without instances: they are made at first use.
    pub fn new(chain: Arc<Chain>, hooks: Hooks) -> Self {
        let slot = || Slot { instance: None, next_call: usize::MAX, usage: Usage::default() };
        let steps = chain.plugins.iter().map(|_| slot()).collect();
        Self { chain, steps, hooks }
    }

    /// A runner with instances that another one has [parked](Self::park), where there are some.
    pub fn warm(chain: Arc<Chain>, hooks: Hooks) -> Self {
        match chain.warm.take() {
            Some(mut steps) => {
                for instance in steps.iter_mut().filter_map(|slot| slot.instance.as_mut()) {
                    instance.adopt(&hooks);
                }
                Self { chain, steps, hooks }
            }
            None => Self::new(chain, hooks),
        }
    }

    /// Leaves its instances to whoever needs some of this chain next: a swap there or back then finds
    /// them ready.
    pub fn park(mut self) {
        self.take_usage();
        // Before its first call, or after a failure, there is nothing to keep.
        if self.steps.iter().all(|slot| slot.instance.is_some()) {
            self.chain.warm.put(self.steps);
        }
    }

    /// The chain.
    pub fn chain(&self) -> &Arc<Chain> {
        &self.chain
    }

    /// Makes all instances now and runs their `init`.
    ///
    /// Invariant 6: the gate of a reload calls this before a generation may replace another.
    pub fn start(&mut self) -> Result<(), RunError> {
        let mut clock = Clock::new(cpu_time());
        for (slot, plugin) in self.steps.iter_mut().zip(&self.chain.plugins) {
            slot.instance(plugin, &self.hooks, &mut clock)?;
        }
        Ok(())
    }

    /// What each plugin has used since the last time, in the chain's order.
    pub fn take_usage(&mut self) -> Vec<Usage> {
        let steps = self.steps.iter_mut();
        steps
            .map(|slot| {
                let memory_bytes = slot.instance.as_ref().map_or(0, Instance::memory_bytes);
                Usage { memory_bytes, ..std::mem::take(&mut slot.usage) }
            })
            .collect()
    }

    /// Maps records of one partition, in offset order: one outcome for each, in the same order.
    /// Where they become much, only the first records get theirs, one at least: the others are to be
    /// given again when these are on their way (Invariant 4). How the records are cut into calls makes
    /// no difference. An error decides nothing: the same records may be given again.
    pub fn transform(
        &mut self,
        source: &PartitionId,
        records: &[Record],
    ) -> Result<Vec<Outcome>, RunError> {
        if let Some(stand_in) = self.chain.stand_in {
            return Ok(stand_in(source, records));
        }
        let forms = self.chain.forms;
        let (mut batch, items) = Batch::new(records, forms.tombstones);
        let headers: Vec<_> = records.iter().map(|record| lend_headers(forms, record)).collect();
        let mut way = Way {
            chain: &self.chain,
            source,
            hooks: &self.hooks,
            headers: &headers,
            clock: Clock::new(cpu_time()),
        };
        let undecided = way.pass(&mut self.steps, 0, &mut batch, items)?;
        Ok(batch.finish(undecided.unwrap_or(records.len())))
    }
}

/// A runner is made on one thread and used on another.
const _: () = {
    const fn is_send<T: Send>() {}
    is_send::<Runner>();
};

/// What one plugin of a chain works with.
#[derive(Clone, Copy)]
struct Step<'a> {
    chain: &'a Chain,
    plugin: &'a Plugin,
    source: &'a PartitionId,
    hooks: &'a Hooks,
}

impl Step<'_> {
    /// What the guest is told of the records' origin.
    fn source(&self) -> bindings::Source<'_> {
        bindings::Source {
            pipeline: &self.chain.pipeline,
            topic: &self.source.topic,
            partition: u32::try_from(self.source.partition).unwrap_or(0),
        }
    }

    /// A fault of this plugin.
    fn blame(&self, fault: Fault) -> Box<Fault> {
        Box::new(fault.of(self.plugin.reference()))
    }

    /// Turns a guest's outcome into items for the next plugin, or a decision.
    fn take(
        &self,
        batch: &mut Batch<'_>,
        item: &Item,
        outcome: bindings::Outcome,
        emitted: &mut Vec<Item>,
    ) {
        match outcome {
            bindings::Outcome::Emit(events) if events.is_empty() => {
                let fault = Fault::new(Code::PluginEmptyEmit, "the plugin emits an empty list");
                batch.reject(item.record, self.blame(fault));
            }
            bindings::Outcome::Emit(events) => {
                let before = item.event.as_ref();
                emitted.extend(
                    events.into_iter().map(|given| Item {
                        record: item.record,
                        event: Some(event(given, before)),
                    }),
                );
            }
            bindings::Outcome::Filter(reason) => batch.filter(item.record, reason),
            bindings::Outcome::Reject(rejection) => {
                let mut fault = Fault::new(Code::Rejected, rejection.message);
                fault.path = rejection.path;
                fault.reason = Some(rejection.code);
                batch.reject(item.record, self.blame(fault));
            }
        }
    }
}

/// A batch on its way: what its steps share.
struct Way<'w, 'a> {
    chain: &'w Chain,
    source: &'w PartitionId,
    hooks: &'w Hooks,
    /// The records' headers, lent.
    headers: &'w [Vec<bindings::Header<'a>>],
    clock: Clock,
}

impl Way<'_, '_> {
    /// Runs items through the plugins from the one at `at` on. What is complete after a call goes
    /// through the rest of the chain before the next call: no more is held than an answer and the
    /// events of a record in each step, and what is decided (Invariant 4). Gives the first record that
    /// is not decided, where so much is that the others wait.
    fn pass(
        &mut self,
        slots: &mut [Slot],
        at: usize,
        batch: &mut Batch<'_>,
        items: Vec<Item>,
    ) -> Result<Option<usize>, RunError> {
        let (Some((slot, later)), Some(plugin)) =
            (slots.split_first_mut(), self.chain.plugins.get(at))
        else {
            batch.arrive(items);
            return Ok(None);
        };
        let step = Step { chain: self.chain, plugin, source: self.source, hooks: self.hooks };
        let (items, lent) = lend_all(step, self.headers, batch, &items);
        let mut calls = Calls {
            step,
            items: &items,
            rest: 0,
            halves: Vec::new(),
            cost: Cost::default(),
            emitted: Vec::new(),
        };
        while let Some(call) = calls.next(slot, batch, &lent) {
            if self.hooks.stop.load(Ordering::Relaxed) {
                return Err(RunError::Stopped);
            }
            let records = lent.get(call.clone()).unwrap_or_default();
            let called = slot.call(step, records, &mut self.clock)?;
            calls.take(batch, call, called);
            let undecided = calls.undecided(batch);
            let complete = calls.complete(batch, undecided);
            if !complete.is_empty()
                && let Some(deeper) = self.pass(later, at + 1, batch, complete)?
            {
                return Ok(Some(deeper));
            }
            if batch.is_full() && undecided.is_some_and(|record| record > 0) {
                return Ok(undecided);
            }
        }
        Ok(None)
    }
}

/// Lends all items of a step to the guest; those that cannot be lent are their records' fault.
fn lend_all<'i, 'r: 'i>(
    step: Step<'_>,
    headers: &'i [Vec<bindings::Header<'_>>],
    batch: &mut Batch<'r>,
    items: &'i [Item],
) -> (Vec<&'i Item>, Vec<bindings::Record<'i>>) {
    let mut kept = Vec::with_capacity(items.len());
    let mut lent = Vec::with_capacity(items.len());
    let records = batch.records;
    for item in items {
        let (Some(record), Some(headers)) = (records.get(item.record), headers.get(item.record))
        else {
            continue;
        };
        match lend(step.chain.forms, record, item.event.as_ref(), headers) {
            Ok(record) => {
                lent.push(record);
                kept.push(item);
            }
            Err(fault) => batch.reject(item.record, fault),
        }
    }
    (kept, lent)
}

/// The calls of one step. They go through the items in order; a record's items lie side by side.
struct Calls<'i> {
    step: Step<'i>,
    items: &'i [&'i Item],
    /// Where what is not cut into calls yet begins.
    rest: usize,
    /// Calls still to be made again, innermost last: halves of calls that failed.
    halves: Vec<Range<usize>>,
    /// What the present record has cost.
    cost: Cost,
    /// What the items became that has not gone on.
    emitted: Vec<Item>,
}

/// What came of a call, and the CPU time it took.
struct Called {
    answer: Result<Vec<bindings::Outcome>, Box<Fault>>,
    cpu: Duration,
    /// It was its instance's first.
    fresh: bool,
}

impl Calls<'_> {
    /// The next call. Items of rejected records are passed over.
    fn next(
        &mut self,
        slot: &Slot,
        batch: &mut Batch<'_>,
        lent: &[bindings::Record<'_>],
    ) -> Option<Range<usize>> {
        let step = self.step;
        let budget = step.plugin.limits.record_budget();
        let record = self.undecided(batch)?;
        if record == self.cost.record && self.cost.cpu >= budget {
            let used = budget.as_millis();
            let text = format!("the record's events used their CPU time of {used} ms");
            batch.reject(record, step.blame(Fault::new(Code::PluginDeadline, text)));
            self.undecided(batch)?;
        }
        if let Some(half) = self.halves.pop() {
            return Some(half);
        }
        let begin = self.rest;
        self.rest += slot.cut(step, lent.get(begin..)?);
        Some(begin..self.rest)
    }

    /// Takes what a call gave.
    fn take(&mut self, batch: &mut Batch<'_>, call: Range<usize>, called: Called) {
        let items = self.items.get(call.clone()).unwrap_or_default();
        if let (Some(first), Some(last)) = (items.first(), items.last())
            && first.record == last.record
        {
            self.cost.of(first.record).cpu += called.cpu;
        }
        match (called.answer, items) {
            (Ok(outcomes), _) => {
                for (item, outcome) in items.iter().zip(outcomes) {
                    self.take_one(batch, item, outcome);
                }
            }
            // Invariant 7: a record is at fault only when it fails alone, and not for what an instance
            // has kept of those before it. Its CPU time is its own in any case.
            (Err(fault), [item]) if called.fresh || fault.code == Code::PluginDeadline => {
                batch.reject(item.record, self.step.blame(*fault));
            }
            (Err(_), [_]) => self.halves.push(call),
            (Err(_), _) => {
                let middle = call.start + call.len() / 2;
                self.halves.extend([middle..call.end, call.start..middle]);
            }
        }
    }

    fn take_one(&mut self, batch: &mut Batch<'_>, item: &Item, outcome: bindings::Outcome) {
        let Some(record) = batch.records.get(item.record) else { return };
        if batch.is_rejected(item.record) {
            return;
        }
        match self.cost.of(item.record).add(record, &outcome) {
            Some(fault) => batch.reject(item.record, self.step.blame(fault)),
            None => self.step.take(batch, item, outcome, &mut self.emitted),
        }
    }

    /// What the records before `undecided` became in this step.
    fn complete(&mut self, batch: &Batch<'_>, undecided: Option<usize>) -> Vec<Item> {
        self.emitted.retain(|item| !batch.is_rejected(item.record));
        let end = self.emitted.iter().position(|item| Some(item.record) == undecided);
        let incomplete = self.emitted.split_off(end.unwrap_or(self.emitted.len()));
        std::mem::replace(&mut self.emitted, incomplete)
    }

    /// The record of the next item, passing over rejected ones.
    fn undecided(&mut self, batch: &Batch<'_>) -> Option<usize> {
        loop {
            let next = match self.halves.last_mut() {
                Some(half) if half.start >= half.end => {
                    self.halves.pop();
                    continue;
                }
                Some(half) => &mut half.start,
                None => &mut self.rest,
            };
            let record = self.items.get(*next)?.record;
            if !batch.is_rejected(record) {
                return Some(record);
            }
            *next += 1;
        }
    }
}

/// What one record has cost in one step.
#[derive(Default)]
struct Cost {
    record: usize,
    events: usize,
    bytes: usize,
    cpu: Duration,
}

impl Cost {
    /// The cost of this record: from nothing, where the last was another's.
    fn of(&mut self, record: usize) -> &mut Self {
        if self.record != record {
            *self = Self { record, ..Self::default() };
        }
        self
    }

    /// Adds an outcome; the fault where it becomes too much. Neither depends on how the items are
    /// cut into calls.
    fn add(&mut self, record: &Record, outcome: &bindings::Outcome) -> Option<Fault> {
        if let bindings::Outcome::Emit(events) = outcome {
            self.events += events.len();
        }
        self.bytes += outcome_weight(outcome);
        let room = output_room(record.bytes());
        let text = if self.events > MAX_EVENTS {
            format!("the record becomes more than {MAX_EVENTS} events")
        } else if self.bytes > room {
            format!("what the record becomes is larger than {room} bytes")
        } else {
            return None;
        };
        Some(Fault::new(Code::PluginOutputSize, text))
    }
}

impl Slot {
    /// The instance, made if there is none.
    fn instance(
        &mut self,
        plugin: &Plugin,
        hooks: &Hooks,
        clock: &mut Clock,
    ) -> Result<&mut Instance, RunError> {
        if self.instance.as_ref().is_some_and(Instance::is_worn) {
            self.instance = None;
        }
        match &mut self.instance {
            Some(instance) => Ok(instance),
            empty => {
                self.usage.instances += 1;
                Ok(empty.insert(Instance::start(plugin, hooks, clock)?))
            }
        }
    }

    /// How many of these records the next call takes, one at least.
    fn cut(&self, step: Step<'_>, records: &[bindings::Record<'_>]) -> usize {
        let limits = step.chain.call;
        let mut bytes = 0_usize;
        let fits = records.iter().take(limits.records.min(self.next_call)).take_while(|record| {
            bytes = bytes.saturating_add(weight(record));
            bytes <= limits.bytes
        });
        fits.count().max(1)
    }

    /// One call. After a failure the instance is gone.
    fn call(
        &mut self,
        step: Step<'_>,
        records: &[bindings::Record<'_>],
        clock: &mut Clock,
    ) -> Result<Called, RunError> {
        let instance = self.instance(step.plugin, step.hooks, clock)?;
        let fresh = instance.is_fresh();
        let result = instance.transform(step.source(), records, clock);
        self.usage.calls += 1;
        self.usage.records += records.len() as u64;
        match result {
            Ok(Answer { outcomes, cpu }) => {
                self.usage.cpu += cpu;
                self.next_call = step.plugin.limits.next_call(cpu, records.len());
                Ok(Called { answer: Ok(outcomes), cpu, fresh })
            }
            Err(failure) => {
                self.usage.failures += 1;
                self.instance = None;
                match failure {
                    Failure::Stopped => Err(RunError::Stopped),
                    Failure::Fault(fault) => {
                        Ok(Called { answer: Err(fault), cpu: clock.used(), fresh })
                    }
                }
            }
        }
    }
}
