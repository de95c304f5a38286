//! A worker's own instances of a chain, and what it does with them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::bindings;
use super::chain::{Chain, Item, Outcome, Plugin, event, lend, lend_headers, weight};
use super::error::RunError;
use super::host::{Clock, Hooks, cpu_time};
use super::instance::{Answer, Failure, Instance};
use crate::config::Tombstones;
use crate::fault::{Code, Fault};
use crate::record::{Event, PartitionId, Record};

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
    /// How the records are cut into calls makes no difference. An error decides nothing: the same
    /// records may be given again.
    pub fn transform(
        &mut self,
        source: &PartitionId,
        records: &[Record],
    ) -> Result<Vec<Outcome>, RunError> {
        if let Some(stand_in) = self.chain.stand_in {
            return Ok(stand_in(source, records));
        }
        let mut batch = Batch::new(records, self.chain.forms.tombstones);
        let mut clock = Clock::new(cpu_time());
        for (slot, plugin) in self.steps.iter_mut().zip(&self.chain.plugins) {
            let step = Step { chain: &self.chain, plugin, source, hooks: &self.hooks };
            slot.transform(&step, &mut batch, &mut clock)?;
        }
        Ok(batch.finish())
    }
}

/// A runner is made on one thread and used on another.
const _: () = {
    const fn is_send<T: Send>() {}
    is_send::<Runner>();
};

/// Records on their way through a chain.
struct Batch<'a> {
    records: &'a [Record],
    /// What goes into the next plugin, in order.
    items: Vec<Item>,
    /// What is decided, by record: a rejection stands, a filter gives way to events that are left.
    decided: Vec<Option<Outcome>>,
}

impl<'a> Batch<'a> {
    /// All records ahead of the first plugin, but tombstones that no plugin sees.
    fn new(records: &'a [Record], tombstones: Tombstones) -> Self {
        let mut items = Vec::with_capacity(records.len());
        let mut decided = Vec::with_capacity(records.len());
        for (at, record) in records.iter().enumerate() {
            decided.push(match tombstones {
                Tombstones::Filter if record.payload.is_none() => {
                    Some(Outcome::Filter("tombstone".to_owned()))
                }
                Tombstones::Reject if record.payload.is_none() => {
                    let fault = Fault::new(Code::Tombstone, "the record has no value");
                    Some(Outcome::Reject(Box::new(fault)))
                }
                _ => {
                    items.push(Item { record: at, event: None });
                    None
                }
            });
        }
        Self { records, items, decided }
    }

    /// Rejects a record as a whole; the first fault stands.
    fn reject(&mut self, record: usize, fault: Box<Fault>) {
        match self.decided.get_mut(record) {
            Some(Some(Outcome::Reject(_))) | None => {}
            Some(decided) => *decided = Some(Outcome::Reject(fault)),
        }
    }

    /// Notes that one event of a record is filtered; the first reason stands.
    fn filter(&mut self, record: usize, reason: String) {
        if let Some(decided @ None) = self.decided.get_mut(record) {
            *decided = Some(Outcome::Filter(reason));
        }
    }

    /// Forgets the items of records that are rejected.
    fn drop_rejected(&mut self) {
        let decided = &self.decided;
        self.items
            .retain(|item| !matches!(decided.get(item.record), Some(Some(Outcome::Reject(_)))));
    }

    /// One outcome for each record.
    fn finish(self) -> Vec<Outcome> {
        let mut events: Vec<Vec<Event>> = self.records.iter().map(|_| Vec::new()).collect();
        for item in self.items {
            if let (Some(events), Some(event)) = (events.get_mut(item.record), item.event) {
                events.push(event);
            }
        }
        let decided = self.decided.into_iter().zip(events);
        decided
            .map(|(decided, left)| match decided {
                Some(Outcome::Reject(fault)) => Outcome::Reject(fault),
                Some(outcome) if left.is_empty() => outcome,
                // Without a decision there are events: every item ends as one, a filter or a
                // rejection.
                _ => Outcome::Emit(left),
            })
            .collect()
    }
}

/// What a guest made of one record, or how it failed on it alone.
type Verdict = Result<bindings::Outcome, Box<Fault>>;

/// One plugin of a chain at work on a batch.
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
    fn take(&self, batch: &mut Batch<'_>, item: &Item, outcome: bindings::Outcome) -> Vec<Item> {
        match outcome {
            bindings::Outcome::Emit(events) if events.is_empty() => {
                let fault = Fault::new(Code::PluginEmptyEmit, "the plugin emits an empty list");
                batch.reject(item.record, self.blame(fault));
            }
            bindings::Outcome::Emit(events) => {
                let before = item.event.as_ref();
                let next = events.into_iter().map(|next| event(next, before));
                return next
                    .map(|event| Item { record: item.record, event: Some(event) })
                    .collect();
            }
            bindings::Outcome::Filter(reason) => batch.filter(item.record, reason),
            bindings::Outcome::Reject(rejection) => {
                let mut fault = Fault::new(Code::Rejected, rejection.message);
                fault.path = rejection.path;
                fault.reason = Some(rejection.code);
                batch.reject(item.record, self.blame(fault));
            }
        }
        Vec::new()
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

    /// Runs the plugin over all items of a batch.
    fn transform(
        &mut self,
        step: &Step<'_>,
        batch: &mut Batch<'_>,
        clock: &mut Clock,
    ) -> Result<(), RunError> {
        let forms = step.chain.forms;
        let items = std::mem::take(&mut batch.items);
        let headers: Vec<_> =
            batch.records.iter().map(|record| lend_headers(forms, record)).collect();
        let mut lent = Vec::with_capacity(items.len());
        let mut lent_items = Vec::with_capacity(items.len());
        for item in &items {
            let (Some(record), Some(headers)) =
                (batch.records.get(item.record), headers.get(item.record))
            else {
                continue;
            };
            match lend(forms, record, item.event.as_ref(), headers) {
                Ok(record) => {
                    lent.push(record);
                    lent_items.push(item);
                }
                Err(fault) => batch.reject(item.record, fault),
            }
        }
        let mut next = Vec::with_capacity(lent.len());
        let mut counts = vec![0_usize; batch.records.len()];
        for (item, verdict) in lent_items.into_iter().zip(self.calls(step, &lent, clock)?) {
            match verdict {
                Ok(outcome) => {
                    let events = step.take(batch, item, outcome);
                    let count = counts.get_mut(item.record).map_or(0, |count| {
                        *count += events.len();
                        *count
                    });
                    if count <= MAX_EVENTS {
                        next.extend(events);
                    } else {
                        let text = format!("the record becomes more than {MAX_EVENTS} events");
                        let fault = Fault::new(Code::PluginOutputSize, text);
                        batch.reject(item.record, step.blame(fault));
                    }
                }
                Err(fault) => batch.reject(item.record, step.blame(*fault)),
            }
        }
        batch.items = next;
        batch.drop_rejected();
        Ok(())
    }

    /// Runs the plugin over records, cut into calls: an outcome or a fault for each.
    fn calls(
        &mut self,
        step: &Step<'_>,
        records: &[bindings::Record<'_>],
        clock: &mut Clock,
    ) -> Result<Vec<Verdict>, RunError> {
        let mut verdicts = Vec::with_capacity(records.len());
        let mut rest = records;
        // Calls still to be made again, innermost last: halves of calls that failed.
        let mut halves: Vec<&[bindings::Record<'_>]> = Vec::new();
        while let Some(call) = halves.pop().or_else(|| self.cut(step, &mut rest)) {
            if step.hooks.stop.load(Ordering::Relaxed) {
                return Err(RunError::Stopped);
            }
            match self.call(step, call, clock)? {
                Ok(outcomes) => verdicts.extend(outcomes.into_iter().map(Ok)),
                // Invariant 7: a record is at fault only when it fails alone.
                Err(fault) => match call.split_at_checked(call.len() / 2) {
                    Some((first, second)) if !first.is_empty() => halves.extend([second, first]),
                    _ => verdicts.push(Err(fault)),
                },
            }
        }
        Ok(verdicts)
    }

    /// Takes the next call from what is left.
    fn cut<'a, 'r>(
        &self,
        step: &Step<'_>,
        rest: &mut &'a [bindings::Record<'r>],
    ) -> Option<&'a [bindings::Record<'r>]> {
        let limits = step.chain.call;
        let mut bytes = 0_usize;
        let fits = rest.iter().take(limits.records.min(self.next_call)).take_while(|record| {
            bytes = bytes.saturating_add(weight(record));
            bytes <= limits.bytes
        });
        let (call, left) = rest.split_at_checked(fits.count().max(1))?;
        *rest = left;
        Some(call)
    }

    /// One call. After a failure the instance is gone.
    fn call(
        &mut self,
        step: &Step<'_>,
        records: &[bindings::Record<'_>],
        clock: &mut Clock,
    ) -> Result<Result<Vec<bindings::Outcome>, Box<Fault>>, RunError> {
        let bytes = records.iter().map(weight).sum();
        let instance = self.instance(step.plugin, step.hooks, clock)?;
        let result = instance.transform(step.source(), records, bytes, clock);
        self.usage.calls += 1;
        self.usage.records += records.len() as u64;
        match result {
            Ok(Answer { outcomes, cpu }) => {
                self.usage.cpu += cpu;
                self.next_call = step.plugin.limits.next_call(cpu, records.len());
                Ok(Ok(outcomes))
            }
            Err(failure) => {
                self.usage.failures += 1;
                self.instance = None;
                match failure {
                    Failure::Stopped => Err(RunError::Stopped),
                    Failure::Fault(fault) => Ok(Err(fault)),
                }
            }
        }
    }
}
