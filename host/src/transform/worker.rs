//! A worker: takes a ready partition, runs its records through the chain, and hands the events on.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::current::Current;
use super::lane::{Lane, Ready, Turn};
use super::prepare::{Prepared, prepare};
use crate::batch::Outbound;
use crate::dead_letter::DeadLetters;
use crate::fault::Fault;
use crate::generation::{Generation, Pipeline};
use crate::id::Place;
use crate::plugin::{Hooks, Outcome, RunError, Runner, Sink, WORKER_STACK_BYTES};
use crate::record::{Event, Record};
use crate::reload::beside::{Beside, Trial};
use crate::reload::canary::{Pair, merge};
use crate::reload::recent::Recent;
use crate::settle::{Budget, Debt, Owed, Settlement};
use crate::stop;
use crate::telemetry::{DestinationCode, Metrics, PipelineCode, PipelineDestination, PluginLabels};
use crate::validate::Refusal;

/// How long a partition waits before an instance that could not be had is asked for again.
const START_AGAIN: Duration = Duration::from_secs(1);

/// How far a thread with an overdue call steps back: it has a tenth of the weight of the others, so that
/// it goes on where they leave nothing, too.
const STEP_BACK: i32 = 10;

/// What all workers share.
pub struct Shared {
    /// Partitions with records.
    pub ready: Arc<Ready>,
    /// What records begin under from now on.
    pub current: RwLock<Arc<Current>>,
    /// Where rejected records go.
    pub dead_letters: Arc<DeadLetters>,
    /// The budget of bytes in flight.
    pub budget: Arc<Budget>,
    /// How many partitions are assigned, which decides their shares.
    pub partitions: Arc<AtomicUsize>,
    /// What is counted.
    pub metrics: Metrics,
    /// Where guests' lines go.
    pub sink: Sink,
    /// The last records of each pipeline.
    pub recent: Arc<Recent>,
    /// What runs beside the generation.
    pub beside: Arc<Beside>,
    /// Once true, running calls end, nothing decided.
    pub stop: Arc<AtomicBool>,
}

impl Shared {
    /// The generation that records begin under from now on.
    pub fn generation(&self) -> Arc<Generation> {
        Arc::clone(&self.current().generation)
    }

    /// What records begin under from now on.
    pub fn current(&self) -> Arc<Current> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Records begin under this from now on (Invariant 5). Workers that have nothing to do look, too, so
    /// that nothing of what went lives on in them.
    pub fn replace(&self, next: Current) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
        self.ready.look();
    }
}

/// The workers.
pub struct Workers {
    threads: Threads,
    shared: Arc<Shared>,
}

/// The workers' threads; a worker may go on on a new one.
type Threads = Arc<Mutex<Vec<JoinHandle<()>>>>;

impl Workers {
    /// Starts `count` workers and as many spares.
    pub fn start(count: usize, shared: &Arc<Shared>) -> std::io::Result<Self> {
        let threads = Threads::default();
        for number in 0..count * 2 {
            let spare = number >= count;
            let name = if spare {
                format!("spare-{}", number - count)
            } else {
                format!("worker-{number}")
            };
            Worker::new(name, Arc::clone(shared), &threads, spare).spawn()?;
        }
        Ok(Self { threads, shared: Arc::clone(shared) })
    }

    /// Sends all home and waits for them. Calls under way end, nothing decided.
    pub fn stop(self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.ready.stop();
        // One by one: a thread may still hand over to a new one.
        while let Some(thread) = next(&self.threads) {
            if thread.join().is_err() {
                tracing::error!("a worker panicked");
            }
        }
    }
}

fn next(threads: &Threads) -> Option<JoinHandle<()>> {
    threads.lock().unwrap_or_else(PoisonError::into_inner).pop()
}

struct Worker {
    name: String,
    threads: Threads,
    shared: Arc<Shared>,
    spare: bool,
    hooks: Hooks,
    /// Set by the plugin's meter when the present call has used much CPU time.
    slow: Arc<AtomicBool>,
    /// Set when a call on the present thread was overdue: the thread has stepped back for good.
    stepped_back: Arc<AtomicBool>,
    current: Arc<Current>,
    /// How often it was told to look for another.
    looked: u64,
    /// This worker's own instances, by pipeline of the generation.
    runners: BTreeMap<Arc<str>, Runner>,
    /// The same, of a canary's candidate.
    beside: BTreeMap<Arc<str>, Runner>,
}

impl Worker {
    fn new(name: String, shared: Arc<Shared>, threads: &Threads, spare: bool) -> Self {
        let threads = Arc::clone(threads);
        let slow = Arc::new(AtomicBool::new(false));
        let stepped_back = Arc::new(AtomicBool::new(false));
        let hooks = Hooks {
            sink: Arc::clone(&shared.sink),
            on_busy: {
                let (slow, ready) = (Arc::clone(&slow), Arc::clone(&shared.ready));
                Arc::new(move || {
                    if !slow.swap(true, Ordering::AcqRel) {
                        ready.note_slow(true);
                    }
                })
            },
            on_overdue: {
                let stepped_back = Arc::clone(&stepped_back);
                Arc::new(move || {
                    if !stepped_back.swap(true, Ordering::AcqRel) {
                        step_back();
                    }
                })
            },
            stop: Arc::clone(&shared.stop),
        };
        let current = shared.current();
        Self {
            name,
            threads,
            shared,
            spare,
            hooks,
            slow,
            stepped_back,
            current,
            looked: 0,
            runners: BTreeMap::new(),
            beside: BTreeMap::new(),
        }
    }

    /// Runs on a new thread.
    fn spawn(self) -> std::io::Result<()> {
        let threads = Arc::clone(&self.threads);
        let thread =
            std::thread::Builder::new().name(self.name.clone()).stack_size(WORKER_STACK_BYTES);
        // Locked first: whoever waits for the present thread sees the new one.
        let mut threads = threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.push(thread.spawn(move || self.run())?);
        Ok(())
    }

    fn run(mut self) {
        loop {
            let turn = self.shared.ready.take(self.spare, &mut self.looked);
            // What a canary leaves is there for the generation that it may have become.
            self.look_beside();
            // Invariant 5: a record begins and ends under the generation of its call.
            let lane = match turn {
                Turn::Lane(lane) => {
                    self.look(Some(&lane));
                    lane
                }
                Turn::Look => {
                    self.look(None);
                    continue;
                }
                Turn::End => return,
            };
            let records = lane.take(self.current.limits);
            self.process(&lane, records);
            lane.leave();
            if self.slow.swap(false, Ordering::AcqRel) {
                self.shared.ready.note_slow(false);
            }
            if self.spare {
                self.shared.ready.leave_spare();
            }
            let partitions = self.shared.partitions.load(Ordering::Relaxed);
            self.shared.ready.give_back(&lane, self.shared.budget.share(partitions));
            if self.stepped_back.swap(false, Ordering::AcqRel) {
                return self.hand_over();
            }
        }
    }

    /// Goes on on a new thread: one that has stepped back may not step forward again without a
    /// privilege. The instances go along.
    fn hand_over(self) {
        let name = self.name.clone();
        if let Err(error) = self.spawn() {
            // As good as a panic, and as rare: the other workers go on.
            tracing::error!(name, %error, "no thread to go on with; one worker less");
        }
    }

    /// Goes over to what is current now, and enters the lane under it; keeps the instances of chains that
    /// it shares with what was current before.
    fn look(&mut self, lane: Option<&Lane>) {
        let current = self.shared.current.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(lane) = lane {
            lane.enter(current.number);
        }
        if Arc::ptr_eq(&current, &self.current) {
            return;
        }
        let next = Arc::clone(&current);
        drop(current);
        self.current = next;
        for (name, runner) in std::mem::take(&mut self.runners) {
            let now = self.current.generation.pipelines.get(&name);
            if now.is_some_and(|now| Arc::ptr_eq(&now.chain, runner.chain())) {
                self.runners.insert(name, runner);
            } else {
                runner.park();
            }
        }
    }

    /// Leaves a canary's instances to others when it is over.
    fn look_beside(&mut self) {
        if !self.beside.is_empty() && self.shared.beside.get().is_none() {
            std::mem::take(&mut self.beside).into_values().for_each(Runner::park);
        }
    }

    fn process(&mut self, lane: &Arc<Lane>, mut records: Vec<Record>) {
        let current = Arc::clone(&self.current);
        let Some(first) = records.first().map(|record| record.offset) else { return };
        let Some(pipeline) = current.generation.pipelines.get(&lane.pipeline).map(Arc::clone)
        else {
            // Not reached: the lanes of a pipeline that goes are closed before it does.
            return lane.postpone(records, Instant::now() + START_AGAIN);
        };
        lane.note(current.number, &current.generation.name, first);
        let canary = self.shared.beside.canary(&pipeline);
        let transformed = match &canary {
            None => self.transform(&pipeline, lane, &records, false),
            Some(pair) => self.transform_both(pair, lane, &records),
        };
        let outcomes = match transformed {
            Ok(outcomes) => outcomes,
            Err(RunError::Stopped) => return,
            // The records wait, since it is not their fault (Invariant 11); the worker does not, so that
            // it is there for others (Invariant 7).
            Err(error) => {
                tracing::error!(pipeline = %pipeline.name, %error, "no instance; trying on");
                return lane.postpone(records, Instant::now() + START_AGAIN);
            }
        };
        stop::point("transformed");
        // Invariant 4: what became too much for one turn waits for the lane's next, which comes when
        // its share allows.
        lane.put_back(records.split_off(outcomes.len().min(records.len())));
        self.show(&pipeline, lane, &records);
        let mut outgoing = Outgoing::new(&self.shared, &current, &pipeline, lane);
        for (record, outcome) in records.into_iter().zip(outcomes) {
            if let Some(pair) = &canary {
                outgoing.pipeline = pair.side(pair.takes(&lane.partition.id, &record));
            }
            outgoing.count(&outcome);
            let debt = Debt::new(Arc::clone(&lane.partition), record);
            match outcome {
                Outcome::Emit(events) => outgoing.emit(debt, events),
                Outcome::Filter(_) => debt.settle(Settlement::Filtered),
                Outcome::Reject(fault) => outgoing.reject(debt, &fault),
            }
        }
        outgoing.push();
    }

    /// Lets those who want to see records see some.
    fn show(&self, pipeline: &Arc<Pipeline>, lane: &Lane, records: &[Record]) {
        let (shared, partition) = (&self.shared, &lane.partition.id);
        shared.recent.note(&pipeline.name, partition, records);
        if let Some(Trial::Shadow(tap)) = shared.beside.get() {
            tap.offer(pipeline, partition, records, || shared.ready.waiting() > 0);
        }
    }

    fn count_usage(&mut self, pipeline: &Pipeline, is_beside: bool) {
        let metrics = &self.shared.metrics;
        let runners = if is_beside { &mut self.beside } else { &mut self.runners };
        let Some(runner) = runners.get_mut(&pipeline.name) else { return };
        let used = runner.take_usage();
        if let Some(counts) = &pipeline.origin.counts {
            counts.used(&used);
        }
        for (usage, plugin) in used.into_iter().zip(&pipeline.chain.plugins) {
            let labels = PluginLabels {
                pipeline: Arc::clone(&pipeline.name),
                plugin: plugin.name.as_str().into(),
            };
            metrics.plugin_calls.get_or_create(&labels).inc_by(usage.calls);
            metrics.plugin_records.get_or_create(&labels).inc_by(usage.records);
            metrics.plugin_failures.get_or_create(&labels).inc_by(usage.failures);
            metrics.plugin_instances.get_or_create(&labels).inc_by(usage.instances);
            metrics.plugin_cpu_seconds.get_or_create(&labels).inc_by(usage.cpu.as_secs_f64());
        }
    }

    /// One outcome for each of the first records, or for all.
    fn transform(
        &mut self,
        pipeline: &Pipeline,
        lane: &Lane,
        records: &[Record],
        is_beside: bool,
    ) -> Result<Vec<Outcome>, RunError> {
        let runners = if is_beside { &mut self.beside } else { &mut self.runners };
        let new = || Runner::warm(Arc::clone(&pipeline.chain), self.hooks.clone());
        let runner = runners.entry(Arc::clone(&pipeline.name)).or_insert_with(new);
        if !Arc::ptr_eq(runner.chain(), &pipeline.chain) {
            // Of the canary before this one.
            std::mem::replace(runner, new()).park();
        }
        let transformed = runner.transform(&lane.partition.id, records);
        self.count_usage(pipeline, is_beside);
        transformed
    }

    /// The same, where some of the records are a candidate's.
    fn transform_both(
        &mut self,
        pair: &Pair,
        lane: &Lane,
        records: &[Record],
    ) -> Result<Vec<Outcome>, RunError> {
        let sides: Vec<bool> =
            records.iter().map(|record| pair.takes(&lane.partition.id, record)).collect();
        let mut both = [Vec::new(), Vec::new()];
        for (is_candidates, outcomes) in [false, true].into_iter().zip(&mut both) {
            let ours = records.iter().zip(&sides).filter(|(_, side)| **side == is_candidates);
            let ours: Vec<Record> = ours.map(|(record, _)| record.clone()).collect();
            if ours.is_empty() {
                continue;
            }
            match self.transform(pair.side(is_candidates), lane, &ours, is_candidates) {
                Ok(given) => *outcomes = given,
                Err(error @ RunError::Start(_)) if is_candidates => {
                    // Invariant 5: nothing is decided, and next time the records are the running
                    // generation's.
                    pair.give_up(&error);
                    return Ok(Vec::new());
                }
                Err(error) => return Err(error),
            }
        }
        let [running, candidate] = both;
        Ok(merge(&sides, running, candidate))
    }
}

/// Lets other threads go first: what an overdue call needs comes out of what they leave (Invariant 7).
fn step_back() {
    // Elsewhere it would be the whole process.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(STEP_BACK) {
        tracing::debug!(%error, "the thread of an overdue call does not step back");
    }
}

/// What one call's records became, by destination.
struct Outgoing<'a> {
    shared: &'a Shared,
    current: &'a Current,
    pipeline: &'a Pipeline,
    lane: &'a Lane,
    events: BTreeMap<Arc<str>, Vec<Outbound>>,
}

impl<'a> Outgoing<'a> {
    fn new(
        shared: &'a Shared,
        current: &'a Current,
        pipeline: &'a Pipeline,
        lane: &'a Lane,
    ) -> Self {
        Self { shared, current, pipeline, lane, events: BTreeMap::new() }
    }

    /// Counts a record for whoever holds its generation against another.
    fn count(&self, outcome: &Outcome) {
        let Some(counts) = &self.pipeline.origin.counts else { return };
        counts.mapped(1);
        if matches!(outcome, Outcome::Filter(_)) {
            counts.filtered();
        }
    }

    /// Checks all events of a record, and only then keeps any for sending (Invariant 2).
    fn emit(&mut self, mut debt: Debt, events: Vec<Event>) {
        let place = Place {
            partition: debt.partition().id.partition,
            offset: debt.record.offset,
            timestamp_ms: debt.record.timestamp_ms,
        };
        let count = events.len();
        let mut ready = Vec::with_capacity(count);
        for (index, event) in events.into_iter().enumerate() {
            let id = self.lane.ids.id(place, index);
            match prepare(self.pipeline, event, &id) {
                Ok(prepared) => ready.push((id, prepared)),
                Err(refusal) => {
                    self.count_violations(&refusal);
                    return self.reject(debt, &Fault::from(refusal));
                }
            }
        }
        let mut messages = Vec::with_capacity(count);
        for (id, prepared) in ready {
            self.count_warnings(&prepared);
            let Some(outbox) = self.current.outboxes.get(&prepared.route.name) else { return };
            let (destination, event) = (outbox.destination(), &prepared.event);
            match destination.encode(&id, &event.body, event.operation) {
                Ok(message) => messages.push((&prepared.route.name, message)),
                Err(fault) => return self.reject(debt, &fault),
            }
        }
        debt.charge(messages.iter().map(|(_, message)| message.bytes.len()).sum());
        let owed = Owed::new(debt, count, &self.pipeline.origin, &self.shared.dead_letters);
        for (index, (route, message)) in messages.into_iter().enumerate() {
            let outbound = Outbound { message, owed: Arc::clone(&owed), index };
            self.events.entry(Arc::clone(route)).or_default().push(outbound);
        }
    }

    fn count_violations(&self, refusal: &Refusal) {
        let Refusal::Invalid(violations) = refusal else { return };
        for violation in &violations.first {
            let labels =
                PipelineCode { pipeline: Arc::clone(&self.pipeline.name), code: violation.code };
            self.shared.metrics.schema_violations.get_or_create(&labels).inc();
        }
    }

    fn count_warnings(&self, prepared: &Prepared<'_>) {
        for warning in &prepared.event.warnings {
            let labels = DestinationCode {
                destination: Arc::clone(&prepared.route.name),
                code: warning.code.as_str(),
            };
            self.shared.metrics.schema_warnings.get_or_create(&labels).inc();
        }
    }

    fn reject(&self, debt: Debt, fault: &Fault) {
        self.shared.dead_letters.send(debt, fault, &self.pipeline.origin, &[]);
    }

    /// Hands everything to the outboxes, in offset order for each destination (Invariant 3).
    fn push(self) {
        for (route, events) in self.events {
            if let Some(outbox) = self.current.outboxes.get(&route) {
                let labels = PipelineDestination {
                    pipeline: Arc::clone(&self.pipeline.name),
                    destination: route,
                };
                let emitted = self.shared.metrics.events_emitted.get_or_create(&labels);
                emitted.inc_by(events.len() as u64);
                outbox.push(&self.lane.partition, events);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::batch::Outbox;
    use crate::config::Tombstones;
    use crate::generation::{Generation, Route};
    use crate::id::Ids;
    use crate::plugin::{CallLimits, Chain, Forms, Warm};
    use crate::rig::{self, Assignment};
    use crate::schema::Schema;

    /// One pipeline with one destination, where an event needs a name.
    struct World {
        assignment: Assignment,
        shared: Shared,
        pipeline: Pipeline,
        lane: Lane,
    }

    impl World {
        fn new() -> Self {
            let assignment = Assignment::new();
            let settings = Arc::new(rig::nowhere());
            let outbox = Outbox::new(rig::destination(&settings), &settings);
            let shared = Shared {
                ready: Arc::default(),
                current: RwLock::new(Arc::new(Current {
                    number: 1,
                    generation: Arc::new(Generation {
                        name: "g1".into(),
                        pipelines: BTreeMap::new(),
                    }),
                    outboxes: [("profiles".into(), outbox)].into(),
                    limits: CallLimits::default(),
                })),
                dead_letters: rig::dead_letters(),
                budget: Arc::clone(&assignment.budget),
                partitions: Arc::default(),
                metrics: Metrics::new(),
                sink: Arc::new(|_| {}),
                recent: Arc::default(),
                beside: Arc::default(),
                stop: Arc::default(),
            };
            let schema = json!({"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]});
            let schema = Arc::new(Schema::load(&schema.to_string(), settings.mode).unwrap());
            let name: Arc<str> = "orders".into();
            let pipeline = Pipeline {
                name: Arc::clone(&name),
                topics: Vec::new(),
                id_epoch: String::new(),
                chain: Arc::new(Chain {
                    pipeline: "orders".to_owned(),
                    plugins: Vec::new(),
                    forms: forms(),
                    call: CallLimits::default(),
                    stand_in: None,
                    warm: Warm::default(),
                }),
                routes: vec![Route {
                    name: "profiles".into(),
                    schema,
                    schema_hash: blake3::hash(b""),
                    stamp: None,
                    settings,
                }],
                origin: rig::origin(),
                quarantine: crate::config::Quarantine::default(),
                storm: crate::config::Storm::default(),
            };
            let ids = Ids::new("cluster", "orders", "", "orders");
            let lane = Lane::new(Arc::clone(&assignment.partition), name, ids);
            Self { assignment, shared, pipeline, lane }
        }

        /// A record becomes events of these bodies. How many are to be sent.
        fn emit(&self, bodies: &[&str]) -> usize {
            let current = self.shared.current();
            let mut outgoing = Outgoing::new(&self.shared, &current, &self.pipeline, &self.lane);
            let event =
                |body: &&str| Event { body: (*body).to_owned(), route: None, operation: None };
            outgoing.emit(self.assignment.debt(rig::record(7)), bodies.iter().map(event).collect());
            outgoing.push();
            current.outboxes.values().map(|outbox| outbox.waiting()).sum()
        }
    }

    fn forms() -> Forms {
        let (payload, key) = (crate::config::Form::Text, crate::config::KeyForm::None);
        Forms { payload, key, headers: false, tombstones: Tombstones::Filter }
    }

    const GOOD: &str = "{\"name\":\"n\"}";

    #[test]
    fn invariant_2_of_a_record_with_one_invalid_event_nothing_is_sent() {
        for bodies in [[GOOD, "{}"], ["{}", GOOD]] {
            let world = World::new();
            assert_eq!(world.emit(&bodies), 0);
            assert_eq!(world.shared.dead_letters.waiting(), 1);
            assert_eq!(world.assignment.settled(), []);
        }
    }

    #[test]
    fn invariant_4_events_that_wait_weigh_in_the_budget() {
        let world = World::new();
        assert_eq!(world.emit(&[GOOD, GOOD]), 2);
        let events = 2 * GOOD.len();
        assert!(world.assignment.budget.used() > rig::record(7).weight() + events);
        assert_eq!(
            (world.shared.dead_letters.waiting(), world.assignment.settled()),
            (0, Vec::new())
        );
    }
}
