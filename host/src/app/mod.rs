//! The process: everything is made here, runs until told to stop, and is drained.
//!
//! ```text
//! Kafka ─▶ poller ─▶ lanes ─▶ workers ─▶ outboxes ─▶ deliveries ─▶ AEP
//!   ▲      1 thread           n threads    1 task per   up to max_in_flight
//!   │                         + n spares   destination  tasks per destination
//!   └── positions ◀─ settlements ◀── dead letters (librdkafka's threads) ◀┘
//! ```
//!
//! | what | how many | takes | full means |
//! | --- | --- | --- | --- |
//! | poller | 1 thread | records, settlements | partitions over their share are paused |
//! | worker | one thread per core, as many spares | ready lanes | lanes wait |
//! | outbox | 1 task per destination | events | the lanes behind it are not taken up again |
//! | delivery | up to `max_in_flight` tasks per destination | a request | events wait in the outbox |
//! | dead letters | librdkafka's threads, 1 task for retries | rejected records | records stay in flight |

mod aep;
mod drain;
mod effects;
mod live;
mod memory;
mod status;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub use effects::Swapped;
pub use live::Live;

use crate::admin::{Admin, AdminError, Part, Ready as Latch, Socket};
use crate::config::{Config, Problem};
use crate::consume::{Assigned, Poller};
use crate::dead_letter::DeadLetters;
use crate::deliver::Quota;
use crate::kafka::{Consumer, KafkaError, Producer};
use crate::plugin::{Level, Line, Loader, Phase, Sink};
use crate::reload::recent::Recent;
use crate::reload::{
    Ask, Began, Candidate, Cause, Decision, Gate, Outcome, Parts, Reloader, Source, Watch,
};
use crate::settle::{Budget, Settlement};
use crate::telemetry::{Faults, Metrics, PluginLevel};
use crate::transform::{Current, Outboxes, Ready, Shared, Workers};

/// How often the cluster is asked for its id while no broker answers.
const CLUSTER_ID_PATIENCE: Duration = Duration::from_secs(2);

/// How much longer than the grace period it may take to leave the group.
const LEAVE: Duration = Duration::from_secs(2);

/// A running process.
pub struct App {
    assigned: Arc<Assigned>,
    /// Released in parts; `/readyz` shows it.
    ready: Latch,
    admin: Admin,
    source: Arc<status::Source>,
    live: Arc<Live>,
    /// None where nothing is reloaded.
    reloader: Option<Reloader>,
    /// Tells the reloader of changed files.
    watch: Watch,
    stop: Arc<AtomicBool>,
    poller: Option<Polling>,
    workers: Option<Workers>,
    site: live::Site,
    runtime: tokio::runtime::Runtime,
}

/// The poller's thread.
struct Polling {
    thread: JoinHandle<()>,
    /// How it ended: whether everything was drained, then that the group is left.
    ended: Receiver<Result<bool, KafkaError>>,
}

/// Why the process does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The gate: why, and everything that is wrong.
    #[error("{}", list(.0, .1))]
    Refused(String, Vec<Problem>),
    /// An HTTP client, a token or a destination.
    #[error("{0}")]
    Aep(String),
    /// The admin listener.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// A Kafka client.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// A thread.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
}

impl From<SwapError> for StartError {
    fn from(SwapError(words): SwapError) -> Self {
        Self::Aep(words)
    }
}

/// Why a generation cannot take the place of the one that runs: an HTTP client, a token or a destination
/// cannot be made. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SwapError(String);

fn list(reason: &str, problems: &[Problem]) -> String {
    match problems {
        [] => reason.to_owned(),
        problems => problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n\n"),
    }
}

impl App {
    /// Reads everything, and begins to consume as soon as a broker answers. A start is a reload from
    /// nothing: what does not pass the gate does not run.
    pub fn start(
        source: Source,
        loader: Loader,
        socket: Option<Socket>,
    ) -> Result<Self, StartError> {
        let began = Began::now();
        let (metrics, sink) = telemetry();
        let recent = Arc::<Recent>::default();
        let gate = Gate { source, loader, sink: Arc::clone(&sink), recent: Arc::clone(&recent) };
        let passage = gate.pass(None, |_| Vec::new());
        let candidate = match passage.candidate {
            Ok(candidate) => candidate,
            Err(refused) => {
                let problems = passage.steps.into_iter().flat_map(|step| step.problems).collect();
                return Err(StartError::Refused(refused.reason, problems));
            }
        };
        recent.keep(candidate.loaded.config.reload.recent_records);
        let mut app = Self::start_generation(&candidate, socket, metrics, sink, &recent)?;
        let name = Arc::clone(&candidate.generation.name);
        let started = Decision::new(Outcome::Swapped, "started");
        let report = began.report(Cause::Start, started, passage.steps, [None, Some(&name)]);
        let settings = candidate.loaded.config.reload;
        let reloader = Reloader::start(Parts {
            gate,
            running: (candidate, report),
            live: Arc::clone(&app.live) as _,
            beside: Arc::clone(&app.source.shared.beside),
            budget: Arc::clone(&app.source.shared.budget),
            metrics: app.source.metrics.clone(),
            tried: Box::new(app.watch.follow()),
        })?;
        app.admin.takes_requests(&reloader);
        if settings.watch {
            let told = reloader.clone();
            app.watch.start(&settings, move || {
                // What comes of it stands in the log and in `/status`.
                drop(told.ask(Ask::Reload, Cause::Files).blocking_recv());
            })?;
        }
        app.reloader = Some(reloader);
        Ok(app)
    }

    /// As [`App::start`], with a candidate that was built already; nothing is reloaded.
    pub fn start_candidate(candidate: &Candidate) -> Result<Self, StartError> {
        let (metrics, sink) = telemetry();
        Self::start_generation(candidate, None, metrics, sink, &Arc::default())
    }

    fn start_generation(
        Candidate { loaded, generation, .. }: &Candidate,
        socket: Option<Socket>,
        metrics: Metrics,
        sink: Sink,
        recent: &Arc<Recent>,
    ) -> Result<Self, StartError> {
        let config = &loaded.config;
        let (latch, quota) = (Latch::new(), Arc::new(Quota::new(&config.quota)));
        metrics.set_generation(&generation.name, live::digests(generation));
        let faults = Faults::new(metrics.clone());
        latch.release(Part::Generation);
        let none = aep::Delivery { access: None, destinations: None, outboxes: &Outboxes::new() };
        let (access, outboxes) = aep::outboxes(loaded, &quota, &none)?;
        let budget = Arc::new(Budget::new(config.limits.in_flight_bytes));
        let ready = Arc::new(Ready::default());
        let dead_letters = DeadLetters::new(Producer::new(&config.kafka)?, faults.clone());
        let assigned = Assigned::new(&budget, &ready, &dead_letters, metrics.clone());
        let consumer = Consumer::new(&config.kafka, budget.limit(), Arc::clone(&assigned) as _)?;
        let current = Current::new(1, generation, outboxes, &config.limits);
        let shared = Arc::new(Shared {
            ready,
            current: RwLock::new(Arc::new(current)),
            dead_letters,
            budget,
            partitions: assigned.count(),
            metrics: metrics.clone(),
            sink,
            recent: Arc::clone(recent),
            beside: Arc::default(),
            stop: Arc::default(),
        });
        let runtime = runtime()?;
        let site = live::Site::new(&runtime);
        let live = Live::new(live::Parts {
            shared: Arc::clone(&shared),
            assigned: Arc::clone(&assigned),
            quota: Arc::clone(&quota),
            site: site.clone(),
            ready: latch.clone(),
            running: live::Running::new(loaded, generation, access),
        });
        let source = Arc::new(status::Source::new(&shared, &live, &assigned, quota, faults));
        let status = Arc::clone(&source) as _;
        let admin = Admin::start(config, socket, metrics, latch.clone(), status)?;
        live.set_admin_token(admin.token());
        let workers = Some(Workers::start(worker_count(config), &shared)?);
        let mut app = Self {
            assigned,
            ready: latch,
            admin,
            source,
            live,
            reloader: None,
            watch: Watch::default(),
            stop: Arc::default(),
            poller: None,
            workers,
            site,
            runtime,
        };
        app.spawn_retries();
        app.spawn_poller(config, consumer)?;
        Ok(app)
    }

    /// The address of the admin listener.
    pub fn admin_address(&self) -> std::net::SocketAddr {
        self.admin.address()
    }

    /// Whether a generation is live, a token had and the topics subscribed to.
    pub fn is_ready(&self) -> bool {
        self.ready.is_ready()
    }

    /// Reloads on request; none where nothing is reloaded.
    pub fn reloader(&self) -> Option<&Reloader> {
        self.reloader.as_ref()
    }

    /// How long a graceful stop may take.
    pub fn grace(&self) -> Duration {
        self.live.grace()
    }

    /// What the operator should know of the configuration.
    pub fn warnings(&self) -> Vec<String> {
        self.live.running().warnings.clone()
    }

    /// What runs, and how to put another generation in its place.
    pub fn live(&self) -> &Arc<Live> {
        &self.live
    }

    /// The runtime, for what waits beside the data path.
    pub fn runtime(&self) -> &tokio::runtime::Runtime {
        &self.runtime
    }

    /// How many records of a pipeline were settled in one way.
    pub fn settled_as(&self, pipeline: &Arc<str>, how: Settlement) -> u64 {
        self.source.metrics.settled_as(pipeline, how)
    }

    /// How many records were settled.
    pub fn settled(&self) -> u64 {
        self.source.settled()
    }

    /// Whether the poller still runs; it ends by itself only when the Kafka client cannot go on.
    pub fn is_running(&self) -> bool {
        self.poller.as_ref().is_some_and(|poller| !poller.thread.is_finished())
    }

    /// Delivers what was begun, commits, leaves the group. True where all of it was done within
    /// the grace period (Invariant 8); what was not comes again.
    pub fn stop(mut self, grace: Duration) -> Result<bool, KafkaError> {
        let deadline = Instant::now() + grace;
        self.assigned.end_by(deadline);
        self.stop.store(true, Ordering::Release);
        self.assigned.linger_no_more();
        let poller = self.poller.take();
        let wait = |extra: Duration| {
            let left = (deadline + extra).saturating_duration_since(Instant::now());
            poller.as_ref().map(|poller| poller.ended.recv_timeout(left))
        };
        let drained = wait(LEAVE);
        if let Some(workers) = self.workers.take() {
            workers.stop();
        }
        self.site.cancelled.cancel();
        self.site.tasks.close();
        self.runtime.block_on(self.site.tasks.wait());
        match drained {
            Some(Ok(Ok(drained))) => {
                if matches!(wait(LEAVE), Some(Err(RecvTimeoutError::Timeout))) {
                    tracing::warn!("the group is not left in time; its members wait for us");
                }
                Ok(drained)
            }
            Some(Ok(Err(error))) => Err(error),
            Some(Err(RecvTimeoutError::Timeout)) => Ok(false),
            Some(Err(RecvTimeoutError::Disconnected)) | None => {
                Err(KafkaError::Fatal("the poller panicked".into()))
            }
        }
    }

    /// Writes dead letters again, and notes how things stand.
    fn spawn_retries(&self) {
        let cancelled = self.site.cancelled.clone();
        let source = Arc::clone(&self.source);
        let every_second = async move {
            let mut second = tokio::time::interval(Duration::from_secs(1));
            while cancelled.run_until_cancelled(second.tick()).await.is_some() {
                source.each_second();
            }
        };
        self.site.tasks.spawn_on(every_second, &self.site.runtime);
    }

    fn spawn_poller(&mut self, config: &Config, consumer: Consumer) -> std::io::Result<()> {
        let (id, brokers) = (config.kafka.cluster_id.clone(), config.kafka.brokers.clone());
        let (assigned, live) = (Arc::clone(&self.assigned), Arc::clone(&self.live));
        let stop = Arc::clone(&self.stop);
        let ready = self.ready.clone();
        let (end, ended) = channel();
        let run = move || {
            let Some(cluster) = cluster_id(id, brokers.as_str(), &consumer, &stop) else {
                return drop(end.send(Ok(true)));
            };
            live.set_cluster(cluster);
            let mut poller = match Poller::new(consumer, assigned, stop) {
                Ok(poller) => poller,
                Err(error) => {
                    let error = format!("cannot start a thread: {error}");
                    return drop(end.send(Err(KafkaError::Fatal(error))));
                }
            };
            if let Err(error) = poller.subscribe() {
                return drop(end.send(Err(error)));
            }
            ready.release(Part::Subscription);
            let drained = poller.run().map(|()| poller.drain());
            // Nobody listens any more where the grace period is over.
            drop(end.send(drained));
            // Leaves the group; `end` goes after it.
            drop(poller);
            drop(end);
        };
        let thread = std::thread::Builder::new().name("poller".into()).spawn(run)?;
        self.poller = Some(Polling { thread, ended });
        Ok(())
    }
}

/// The id that goes into every message id: the configured one, or the cluster's own.
fn cluster_id(
    configured: Option<String>,
    brokers: &str,
    consumer: &Consumer,
    stop: &AtomicBool,
) -> Option<String> {
    if configured.is_some() {
        return configured;
    }
    let mut told = false;
    loop {
        if let Some(id) = consumer.cluster_id(CLUSTER_ID_PATIENCE) {
            return Some(id);
        }
        if stop.load(Ordering::Acquire) {
            return None;
        }
        if !std::mem::replace(&mut told, true) {
            tracing::warn!(brokers, "no broker answers yet; trying on");
        }
    }
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("deliver")
        .enable_all()
        .build()
}

fn telemetry() -> (Metrics, Sink) {
    let metrics = Metrics::default();
    let sink = log_sink(metrics.clone());
    (metrics, sink)
}

fn worker_count(config: &Config) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    config.limits.workers.unwrap_or_else(cores).max(1)
}

/// Guests' lines in the operator's log. Invariant 10: what a guest writes while it maps records may
/// quote them, so only lines of `init` are shown, and the others counted.
fn log_sink(metrics: Metrics) -> Sink {
    Arc::new(move |line: Line<'_>| {
        if line.phase != Phase::Init {
            let labels = PluginLevel { plugin: line.plugin.into(), level: line.level.as_str() };
            metrics.plugin_lines.get_or_create(&labels).inc();
            return;
        }
        let (plugin, text) = (line.plugin, line.text);
        match line.level {
            Level::Error | Level::Warn => tracing::warn!(plugin, "{text}"),
            Level::Info => tracing::info!(plugin, "{text}"),
            Level::Debug | Level::Trace => tracing::debug!(plugin, "{text}"),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invariant_10_lines_about_records_are_counted_and_not_shown() {
        let metrics = Metrics::default();
        let sink = log_sink(metrics.clone());
        for (phase, level) in [
            (Phase::Init, Level::Warn),
            (Phase::Transform, Level::Warn),
            (Phase::Transform, Level::Warn),
            (Phase::Transform, Level::Error),
        ] {
            sink(Line { plugin: "pos", phase, level, text: "what a record says" });
        }
        assert_eq!((metrics.lines("pos", "warn"), metrics.lines("pos", "error")), (2, 1));
        let page = metrics.encode().unwrap();
        assert!(
            page.contains("xylem_plugin_lines_total{plugin=\"pos\",level=\"warn\"} 2"),
            "{page}"
        );
        assert!(!page.contains("what a record says"));
    }
}
