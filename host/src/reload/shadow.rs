//! A shadow: a candidate runs beside the generation that runs, on a share of live calls, and delivers nothing.
//!
//! Workers hand over clones of records and never wait. One thread, which lets all others go first, runs both
//! sides over them, so that the data path pays for the clones alone. When there is much to do, the shadow is the
//! first thing to be shed; what it did not see is counted.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::beside::{Beside, Taken, Trial};
use super::compare::{Compare, CompareError, Comparison, Show};
use super::gate::step_back;
use crate::generation::{Generation, Pipeline};
use crate::plugin::{Hooks, WORKER_STACK_BYTES};
use crate::record::{PartitionId, Record};
use crate::settle::Budget;

/// Calls that wait for the shadow's thread. More would be older, not better.
const QUEUE: usize = 64;

/// The part of the budget that records which wait for the shadow may take.
const PART_OF_BUDGET: usize = 16;

/// How old the report may be while the thread is busy.
const FRESH: Duration = Duration::from_millis(200);

/// What a shadow is asked for.
#[derive(Clone, Debug)]
pub struct ShadowSettings {
    /// The pipelines, by name; all that both generations have where there are none.
    pub pipelines: Vec<String>,
    /// The share of calls, from 0 to 1.
    pub share: f64,
    /// It ends after so many records.
    pub records: u64,
    /// It ends after this time.
    pub time: Duration,
    /// What of records is shown.
    pub show: Show,
}

impl Default for ShadowSettings {
    fn default() -> Self {
        // A tenth of the calls costs a fifth of the plugins' CPU time, of what workers leave.
        let (share, records, time) = (0.1, 100_000, Duration::from_mins(10));
        Self { pipelines: Vec::new(), share, records, time, show: Show::default() }
    }
}

/// What workers see of a shadow.
pub struct Tap {
    calls: SyncSender<Option<Call>>,
    /// The running generation's own pipelines: others are not of this comparison.
    running: BTreeMap<Arc<str>, Weak<Pipeline>>,
    share: f64,
    budget: Arc<Budget>,
    /// What waits weighs, in bytes.
    waiting: Arc<AtomicUsize>,
    shed: AtomicU64,
    stop: Arc<AtomicBool>,
    /// Why it was stopped.
    why: OnceLock<String>,
}

/// Records of one call on their way to the shadow.
struct Call {
    pipeline: Arc<str>,
    partition: PartitionId,
    records: Vec<Record>,
    /// Given back with it.
    _held: Held,
}

/// Invariant 4: what waits here is in the budget.
struct Held {
    bytes: usize,
    budget: Arc<Budget>,
    waiting: Arc<AtomicUsize>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.release(self.bytes);
        self.waiting.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Tap {
    /// Shows the shadow a call. It never waits: what does not fit, or comes while there is much to do
    /// (`is_pressed`), is shed.
    pub fn offer(
        &self,
        pipeline: &Arc<Pipeline>,
        partition: &PartitionId,
        records: &[Record],
        is_pressed: impl FnOnce() -> bool,
    ) {
        let ours = self.running.get(&pipeline.name);
        let is_ours = ours.is_some_and(|ours| ours.as_ptr() == Arc::as_ptr(pipeline));
        if !is_ours || self.stop.load(Ordering::Relaxed) {
            return;
        }
        if records.first().is_none_or(|first| !self.is_due(partition, first.offset)) {
            return;
        }
        let bytes: usize = records.iter().map(Record::weight).sum();
        let room = self.budget.limit() / PART_OF_BUDGET;
        let is_full = self.waiting.load(Ordering::Relaxed) + bytes > room;
        if is_full || self.budget.is_tight() || is_pressed() {
            self.shed.fetch_add(records.len() as u64, Ordering::Relaxed);
            return;
        }
        self.waiting.fetch_add(bytes, Ordering::Relaxed);
        self.budget.charge(bytes);
        let (budget, waiting) = (Arc::clone(&self.budget), Arc::clone(&self.waiting));
        let call = Call {
            pipeline: Arc::clone(&pipeline.name),
            partition: partition.clone(),
            records: records.to_vec(),
            _held: Held { bytes, budget, waiting },
        };
        if self.calls.try_send(Some(call)).is_err() {
            self.shed.fetch_add(records.len() as u64, Ordering::Relaxed);
        }
    }

    /// Whether the call that begins with this record is one of the share. Chosen by a hash, since partitions that take
    /// turns would be seen always or never by a count.
    fn is_due(&self, partition: &PartitionId, first: i64) -> bool {
        let mut hasher = blake3::Hasher::new();
        hasher.update(partition.topic.as_bytes());
        hasher.update(&partition.partition.to_le_bytes());
        hasher.update(&first.to_le_bytes());
        let mut place = [0; 4];
        hasher.finalize_xof().fill(&mut place);
        f64::from(u32::from_le_bytes(place)) < self.share * f64::from(u32::MAX) + 1.0
    }
}

/// A shadow that runs or has ended.
pub struct Shadow {
    tap: Arc<Tap>,
    seen: Arc<Mutex<Seen>>,
    names: [Arc<str>; 2],
    began: Instant,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the thread lets others see.
#[derive(Default)]
struct Seen {
    pipelines: BTreeMap<Arc<str>, Comparison>,
    ended: Option<Ended>,
    took: Option<Duration>,
}

/// How a shadow ended.
#[derive(Clone)]
struct Ended {
    kind: ShadowEnd,
    why: String,
}

/// Whether a shadow has seen what it was to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ShadowEnd {
    /// It has: as many records as asked for, or those of the time.
    Complete,
    /// It was stopped before.
    Stopped,
    /// It could not go on.
    Failed,
}

/// What came of a shadow.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ShadowReport {
    /// The generation that runs.
    pub running: String,
    /// The generation that runs beside it.
    pub candidate: String,
    /// The share of calls that it is shown.
    pub share: f64,
    /// How long it has run, in seconds.
    pub seconds: f64,
    /// How it ended; none while it runs.
    pub end: Option<ShadowEnd>,
    /// Why it ended, in words.
    pub ended: Option<String>,
    /// Records that it was to see and did not, because there was too much to do.
    pub shed_records: u64,
    /// What came of the others, by pipeline.
    pub pipelines: BTreeMap<String, Comparison>,
}

/// Why there is no shadow.
#[derive(Debug, thiserror::Error)]
pub enum ShadowError {
    /// Something runs beside already.
    #[error(transparent)]
    Taken(#[from] Taken),
    /// There is nothing to compare.
    #[error("{0}")]
    Nothing(String),
    /// There is no thread.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
}

impl Shadow {
    /// Starts a shadow. It compares with `running` alone: once another generation runs, it sees nothing more.
    pub fn start(
        beside: &Arc<Beside>,
        running: &Generation,
        candidate: &Generation,
        settings: &ShadowSettings,
        budget: &Arc<Budget>,
    ) -> Result<Self, ShadowError> {
        let pairs = pairs(running, candidate, &settings.pipelines).map_err(ShadowError::Nothing)?;
        let stop = Arc::new(AtomicBool::new(false));
        let hooks = Hooks { stop: Arc::clone(&stop), ..Hooks::new(Arc::new(|_| ())) };
        let (calls, given) = sync_channel(QUEUE);
        let compare = |[ours, theirs]: &[Arc<Pipeline>; 2]| {
            let compare = Compare::new(ours, theirs, &hooks, settings.show.clone());
            (Arc::clone(&ours.name), compare)
        };
        let compares = pairs.iter().map(compare).collect();
        let all = pairs.iter().map(|[ours, _]| (Arc::clone(&ours.name), Arc::downgrade(ours)));
        let tap = Arc::new(Tap {
            calls,
            running: all.collect(),
            share: settings.share.clamp(0.0, 1.0),
            budget: Arc::clone(budget),
            waiting: Arc::default(),
            shed: AtomicU64::new(0),
            stop,
            why: OnceLock::new(),
        });
        let (seen, began) = (Arc::<Mutex<Seen>>::default(), Instant::now());
        let names = [Arc::clone(&running.name), Arc::clone(&candidate.name)];
        beside.put(Trial::Shadow(Arc::clone(&tap)))?;
        let thread = Thread {
            calls: given,
            compares,
            tap: Arc::clone(&tap),
            beside: Arc::clone(beside),
            seen: Arc::clone(&seen),
            left: settings.records,
            began,
            until: began + settings.time,
        };
        let spawned = std::thread::Builder::new()
            .name("shadow".into())
            .stack_size(WORKER_STACK_BYTES)
            .spawn(move || thread.run());
        match spawned {
            Ok(started) => Ok(Self { tap, seen, names, began, thread: Mutex::new(Some(started)) }),
            Err(error) => {
                beside.take(&Trial::Shadow(tap));
                Err(error.into())
            }
        }
    }

    /// What came of it so far.
    pub fn report(&self) -> ShadowReport {
        let seen = lock(&self.seen);
        let took = seen.took.unwrap_or_else(|| self.began.elapsed());
        let [running, candidate] = self.names.each_ref().map(ToString::to_string);
        let pipelines =
            seen.pipelines.iter().map(|(name, comparison)| (name.to_string(), comparison.clone()));
        ShadowReport {
            running,
            candidate,
            share: self.tap.share,
            seconds: took.as_secs_f64(),
            end: seen.ended.as_ref().map(|ended| ended.kind),
            ended: seen.ended.as_ref().map(|ended| ended.why.clone()),
            shed_records: self.tap.shed.load(Ordering::Relaxed),
            pipelines: pipelines.collect(),
        }
    }

    /// Whether it still runs.
    pub fn is_running(&self) -> bool {
        lock(&self.seen).ended.is_none()
    }

    /// Ends it, where it still runs.
    pub fn stop(&self) {
        self.stop_because("it was stopped");
    }

    /// Ends it for a reason, where it still runs.
    pub(super) fn stop_because(&self, why: &str) {
        drop(self.tap.why.set(why.to_owned()));
        self.tap.stop.store(true, Ordering::Release);
        // Wakes the thread; where the queue is full, it does not sleep.
        drop(self.tap.calls.try_send(None));
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the shadow's thread panicked");
        }
    }
}

impl Drop for Shadow {
    fn drop(&mut self) {
        self.stop();
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

fn complete(why: &str) -> Ended {
    Ended { kind: ShadowEnd::Complete, why: why.to_owned() }
}

fn failed(why: String) -> Ended {
    Ended { kind: ShadowEnd::Failed, why }
}

/// The pipelines of these names in both generations.
fn pairs(
    running: &Generation,
    candidate: &Generation,
    names: &[String],
) -> Result<Vec<[Arc<Pipeline>; 2]>, String> {
    let pair = |name: &str| {
        let (ours, theirs) = (running.pipelines.get(name)?, candidate.pipelines.get(name)?);
        Some([Arc::clone(ours), Arc::clone(theirs)])
    };
    if names.is_empty() {
        let all: Vec<_> = running.pipelines.keys().filter_map(|name| pair(name)).collect();
        return if all.is_empty() {
            Err("no pipeline is in both generations".to_owned())
        } else {
            Ok(all)
        };
    }
    let found = names.iter().map(|name| {
        pair(name).ok_or_else(|| format!("pipeline `{name}` is not in both generations"))
    });
    found.collect()
}

/// The thread's own.
struct Thread {
    calls: Receiver<Option<Call>>,
    compares: BTreeMap<Arc<str>, Compare>,
    tap: Arc<Tap>,
    beside: Arc<Beside>,
    seen: Arc<Mutex<Seen>>,
    /// Records that it is still to see.
    left: u64,
    began: Instant,
    until: Instant,
}

impl Thread {
    fn run(mut self) {
        step_back();
        // Whatever a candidate does to it: the place has to be free again.
        let ended = catch_unwind(AssertUnwindSafe(|| self.work()));
        let ended =
            ended.unwrap_or_else(|_| failed("xylem has a bug: the shadow panicked".to_owned()));
        // From here on nothing more comes; what waits is let go.
        self.tap.stop.store(true, Ordering::Release);
        self.beside.take(&Trial::Shadow(Arc::clone(&self.tap)));
        while self.calls.try_recv().is_ok() {}
        self.publish();
        let mut seen = lock(&self.seen);
        tracing::info!(ended = ended.why, "shadow");
        seen.ended = Some(ended);
        seen.took = Some(self.began.elapsed());
    }

    /// Compares until the end; why it came.
    fn work(&mut self) -> Ended {
        let mut published = Instant::now();
        loop {
            if self.tap.stop.load(Ordering::Acquire) {
                let why = self.tap.why.get().cloned().unwrap_or_default();
                return Ended { kind: ShadowEnd::Stopped, why };
            }
            if self.left == 0 {
                return complete("it has seen all the records that it was asked for");
            }
            let left = self.until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return complete("its time is over");
            }
            let next = match self.calls.try_recv() {
                Err(TryRecvError::Empty) => {
                    self.publish();
                    self.calls.recv_timeout(left)
                }
                Err(TryRecvError::Disconnected) => Err(RecvTimeoutError::Disconnected),
                Ok(call) => Ok(call),
            };
            let Ok(Some(call)) = next else { continue };
            if let Err(error) = self.compare(&call)
                && !self.tap.stop.load(Ordering::Acquire)
            {
                return failed(format!("no instance: {error}"));
            }
            if published.elapsed() > FRESH {
                self.publish();
                published = Instant::now();
            }
        }
    }

    fn compare(&mut self, call: &Call) -> Result<(), CompareError> {
        let Some(compare) = self.compares.get_mut(&call.pipeline) else { return Ok(()) };
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(call.records.len());
        compare.run(&call.partition, call.records.get(..wanted).unwrap_or_default())?;
        self.left -= wanted as u64;
        Ok(())
    }

    fn publish(&self) {
        let pipelines = self.compares.iter();
        let pipelines =
            pipelines.map(|(name, compare)| (Arc::clone(name), compare.comparison())).collect();
        lock(&self.seen).pipelines = pipelines;
    }
}

/// A page for people.
impl fmt::Display for ShadowReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (running, candidate, seconds) = (&self.running, &self.candidate, self.seconds);
        write!(f, "shadow: generation {candidate} beside {running}, {seconds:.1} s")?;
        match &self.ended {
            Some(ended) => writeln!(f, ", ended: {ended}")?,
            None => writeln!(f, " so far")?,
        }
        if self.end.is_some() && self.pipelines.values().all(|compared| compared.records == 0) {
            writeln!(f, "no record was compared: nothing is known of the candidate")?;
        }
        if self.shed_records > 0 {
            writeln!(
                f,
                "not seen, because there was too much to do: {} records",
                self.shed_records
            )?;
        }
        for (name, comparison) in &self.pipelines {
            write!(f, "pipeline {name}: {comparison}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plugin::{Outcome, StandIn};
    use crate::record::Event;
    use crate::rig;

    fn emit(body: &str) -> Outcome {
        Outcome::Emit(vec![Event { body: body.to_owned(), route: None, operation: None }])
    }

    const OLD: StandIn = |_, records| records.iter().map(|_| emit("{\"n\":1}")).collect();
    const NEW: StandIn = |_, records| records.iter().map(|_| emit("{\"n\":100}")).collect();

    fn generation(name: &str, stand_in: StandIn) -> Generation {
        let schema = json!({"type": "object", "properties": {"n": {"type": "integer"}}});
        let pipeline = Arc::new(rig::pipeline(name, &schema, stand_in));
        Generation { name: name.into(), pipelines: [("orders".into(), pipeline)].into() }
    }

    struct World {
        beside: Arc<Beside>,
        budget: Arc<Budget>,
        running: Generation,
        shadow: Shadow,
    }

    impl World {
        fn new(settings: &ShadowSettings) -> Self {
            let (beside, budget) = (Arc::default(), Arc::new(Budget::new(1 << 20)));
            let (running, candidate) = (generation("g1", OLD), generation("g2", NEW));
            let shadow = Shadow::start(&beside, &running, &candidate, settings, &budget).unwrap();
            Self { beside, budget, running, shadow }
        }

        fn offer(&self, offset: i64, is_pressed: bool) {
            let Some(Trial::Shadow(tap)) = self.beside.get() else { return };
            let records = [rig::record(offset)];
            let records = records.map(|record| Record { payload: Some("x".into()), ..record });
            tap.offer(&self.running.pipelines["orders"], &rig::partition_id(), &records, || {
                is_pressed
            });
        }

        fn wait(&self) -> ShadowReport {
            let until = Instant::now() + Duration::from_secs(30);
            while self.shadow.is_running() {
                assert!(Instant::now() < until, "the shadow does not end");
                std::thread::yield_now();
            }
            self.shadow.report()
        }
    }

    fn all(records: u64) -> ShadowSettings {
        ShadowSettings { share: 1.0, records, ..ShadowSettings::default() }
    }

    #[test]
    fn a_shadow_reports_what_differs_and_leaves_nothing_behind() {
        let world = World::new(&all(3));
        for offset in 0..3 {
            world.offer(offset, false);
        }
        let report = world.wait();
        assert_eq!(
            report.ended.as_deref(),
            Some("it has seen all the records that it was asked for")
        );
        let comparison = &report.pipelines["orders"];
        assert_eq!((comparison.records, comparison.changed), (3, 3));
        assert_eq!(comparison.paths[0].path, "/n");
        assert!(world.beside.get().is_none());
        assert_eq!(world.budget.used(), 0);
        assert_eq!([report.running, report.candidate], ["g1", "g2"]);
    }

    #[test]
    fn invariant_4_a_shadow_is_the_first_thing_to_be_shed() {
        let world = World::new(&all(1));
        world.offer(0, true);
        world.budget.charge(1 << 19);
        world.offer(1, false);
        world.budget.release(1 << 19);
        assert_eq!(world.shadow.report().shed_records, 2);
        world.offer(2, false);
        assert_eq!(world.wait().pipelines["orders"].paths[0].first.offset, 2);
    }

    #[test]
    fn a_shadow_ends_when_it_is_told_or_its_time_is_over() {
        let World { shadow, beside, .. } = World::new(&all(1));
        shadow.stop();
        let report = shadow.report();
        assert_eq!(report.ended.as_deref(), Some("it was stopped"));
        assert_eq!(report.end, Some(ShadowEnd::Stopped));
        assert!(report.to_string().contains("no record was compared"), "{report}");
        assert!(beside.get().is_none());
        let world = World::new(&ShadowSettings { time: Duration::ZERO, ..all(1) });
        let over = world.wait();
        assert_eq!(over.ended.as_deref(), Some("its time is over"));
        assert_eq!(over.end, Some(ShadowEnd::Complete));
    }

    #[test]
    fn a_shadow_that_panics_leaves_its_place() {
        const BUG: StandIn = |_, _| panic!("a bug");
        let (beside, budget) = (Arc::default(), Arc::new(Budget::new(1 << 20)));
        let (running, candidate) = (generation("g1", OLD), generation("g2", BUG));
        let shadow = Shadow::start(&beside, &running, &candidate, &all(1), &budget).unwrap();
        let world = World { beside, budget, running, shadow };
        world.offer(0, false);
        let report = world.wait();
        assert_eq!(report.end, Some(ShadowEnd::Failed));
        assert!(world.beside.get().is_none());
        assert_eq!(world.budget.used(), 0);
    }

    #[test]
    fn one_thing_runs_beside_at_a_time_and_only_what_both_generations_have() {
        let world = World::new(&all(1));
        let candidate = generation("g2", NEW);
        let start = |settings: &ShadowSettings| {
            let started =
                Shadow::start(&world.beside, &world.running, &candidate, settings, &world.budget);
            started.err().unwrap().to_string()
        };
        assert!(start(&all(1)).starts_with("a shadow runs already"));
        let other = ShadowSettings { pipelines: vec!["pos".to_owned()], ..all(1) };
        assert_eq!(start(&other), "pipeline `pos` is not in both generations");
    }

    #[test]
    fn a_share_of_calls_is_seen_of_each_partition() {
        let world = World::new(&ShadowSettings { share: 0.25, ..all(100) });
        for partition in 0..4 {
            let partition = PartitionId { partition, ..rig::partition_id() };
            let due =
                (0..4_000).filter(|first| world.shadow.tap.is_due(&partition, *first)).count();
            assert!((900..1_100).contains(&due), "{due}");
        }
        let whole = World::new(&all(1));
        assert!((0..4_000).all(|first| whole.shadow.tap.is_due(&rig::partition_id(), first)));
    }
}
