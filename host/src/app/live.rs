//! The live data path: what runs, and how another generation takes its place while records flow.
//!
//! | what | at a swap |
//! | --- | --- |
//! | workers | take the generation before their next call; instances of a chain that stays go on, those of another were made before |
//! | topics | one more or less is subscribed to; partitions whose pipeline or ids are others begin again |
//! | destinations | one that stays keeps its outbox; another one's sends nothing until that before it has nothing left |
//! | quota, `admin.token`, `shutdown` | hold from then on |

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::aep::{self, Delivery};
use super::effects::{Swapped, restarts};
use super::{SwapError, memory, worker_count};
use crate::admin::{AdminToken, Part, Ready as Latch};
use crate::batch::Outbox;
use crate::config::{Config, Fingerprint, Loaded};
use crate::consume::{Assigned, Change, Topic, Topics};
use crate::deliver::{Access, Quota};
use crate::generation::{Generation, Pipeline};
use crate::http::Token;
use crate::id::Ids;
use crate::record::PartitionId;
use crate::reload::{self, Candidate};
use crate::stop;
use crate::telemetry::PluginDigest;
use crate::transform::{Current, Outboxes, Shared};

/// How long an outbox that goes may take to deliver what it has: as long as a revoked partition. What it
/// has then is what it cannot deliver, perhaps the very reason for the swap.
const DRAIN: Duration = Duration::from_secs(10);

/// How often it is looked whether it has.
const LOOK: Duration = Duration::from_millis(2);

/// What runs, and how to put something else in its place.
pub struct Live {
    shared: Arc<Shared>,
    assigned: Arc<Assigned>,
    quota: Arc<Quota>,
    /// Where deliveries run.
    site: Site,
    ready: Latch,
    admin_token: OnceLock<AdminToken>,
    cluster: OnceLock<String>,
    running: RwLock<Arc<Running>>,
    /// The generation before, whose instances are kept; locked for a whole swap.
    previous: Mutex<Option<Arc<Generation>>>,
}

/// Where tasks run, and until when.
#[derive(Clone)]
pub(super) struct Site {
    pub(super) tasks: TaskTracker,
    pub(super) cancelled: CancellationToken,
    pub(super) runtime: Handle,
}

/// What the running configuration says beside its generation.
pub(super) struct Running {
    pub(super) config: Arc<Config>,
    files: Fingerprint,
    pub(super) access: Access,
    /// Ends the renewal of the token.
    token_over: CancellationToken,
    pub(super) warnings: Vec<String>,
}

/// What a live data path is made of.
pub(super) struct Parts {
    pub(super) shared: Arc<Shared>,
    pub(super) assigned: Arc<Assigned>,
    pub(super) quota: Arc<Quota>,
    pub(super) site: Site,
    pub(super) ready: Latch,
    pub(super) running: Running,
}

impl Site {
    /// Until it is cancelled.
    pub(super) fn new(runtime: &tokio::runtime::Runtime) -> Self {
        let (tasks, cancelled) = (TaskTracker::new(), CancellationToken::new());
        Self { tasks, cancelled, runtime: runtime.handle().clone() }
    }
}

impl Running {
    /// With the access to AEP that was made for this configuration.
    pub(super) fn new(loaded: &Loaded, generation: &Generation, access: Access) -> Self {
        let mut warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
        if let Some(warning) = memory::warning(&loaded.config, generation) {
            tracing::warn!("{warning}");
            warnings.push(warning);
        }
        Self {
            config: Arc::new(loaded.config.clone()),
            files: loaded.inputs.fingerprint(),
            access,
            token_over: CancellationToken::new(),
            warnings,
        }
    }

    /// Whether requests are made as another configuration says.
    fn has_same_aep(&self, loaded: &Loaded) -> bool {
        let (ours, theirs) = (&self.config.aep, &loaded.config.aep);
        let file = ours.ca_file.as_ref();
        let files = loaded.inputs.fingerprint();
        ours == theirs && file.is_none_or(|file| self.files.agrees_on(&files, file))
    }
}

impl Running {
    /// Whether events go to the same organisation and sandbox; another secret alone mends no pipeline.
    fn is_same_tenant(&self, loaded: &Loaded) -> bool {
        let (ours, theirs) = (&self.config.aep, &loaded.config.aep);
        (&ours.organisation, &ours.sandbox, &ours.tenant)
            == (&theirs.organisation, &theirs.sandbox, &theirs.tenant)
    }
}

impl Live {
    /// What was started; deliveries begin.
    pub(super) fn new(parts: Parts) -> Arc<Self> {
        let Parts { shared, assigned, quota, site, ready, running } = parts;
        let live = Self {
            shared,
            assigned,
            quota,
            site,
            ready,
            admin_token: OnceLock::new(),
            cluster: OnceLock::new(),
            running: RwLock::new(Arc::new(running)),
            previous: Mutex::default(),
        };
        let current = live.shared.current();
        live.assigned.set_outboxes(current.outboxes.values().cloned().collect());
        for outbox in current.outboxes.values() {
            live.serve(outbox);
        }
        for pipeline in current.generation.pipelines.values() {
            pipeline.chain.warm.bound(live.workers());
        }
        live.serve_token(&live.running());
        Arc::new(live)
    }

    /// The generation that records begin under.
    pub fn generation(&self) -> Arc<Generation> {
        Arc::clone(&self.current().generation)
    }

    /// How long a stop may take, as the running configuration says.
    pub fn grace(&self) -> Duration {
        Duration::from_millis(self.running().config.shutdown.grace_ms)
    }

    pub(super) fn current(&self) -> Arc<Current> {
        self.shared.current()
    }

    pub(super) fn running(&self) -> Arc<Running> {
        Arc::clone(&self.running.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Who sets the token of the admin listener.
    pub(super) fn set_admin_token(&self, token: AdminToken) {
        drop(self.admin_token.set(token));
    }

    /// A broker has told the cluster's id: from now on topics have ids.
    pub(super) fn set_cluster(&self, cluster: String) {
        let cluster = self.cluster.get_or_init(|| cluster);
        let change = |live: &Self| {
            let current = live.current();
            let topics = topics(&current.generation, cluster);
            Change { topics, changed: BTreeSet::new(), outboxes: all(&current.outboxes) }
        };
        // A swap that is under way knows the id, or waits for this one's place in the line.
        let swapping = self.previous.lock().unwrap_or_else(PoisonError::into_inner);
        self.assigned.follow(change(self), || ());
        drop(swapping);
    }

    /// What of another configuration cannot be swapped while the process runs, a sentence each.
    pub fn refuses(&self, next: &Loaded) -> Vec<String> {
        let running = self.running();
        restarts((&running.config, &running.files), (&next.config, &next.inputs.fingerprint()))
    }

    /// Puts a generation in the place of the one that runs, this one or an earlier one; an error is told
    /// before anything was changed. Takes as long as outboxes that go take to become empty, 20 s at most.
    pub fn swap(&self, loaded: &Loaded, next: &Arc<Generation>) -> Result<Swapped, SwapError> {
        let mut previous = self.previous.lock().unwrap_or_else(PoisonError::into_inner);
        let (before, running) = (self.current(), self.running());
        let same_aep = running.has_same_aep(loaded);
        let reuse = Delivery {
            access: same_aep.then(|| running.access.clone()),
            destinations: Some(&running.config.destinations),
            outboxes: &before.outboxes,
        };
        let (access, outboxes) = aep::outboxes(loaded, &self.quota, &reuse)?;
        for pipeline in next.pipelines.values() {
            pipeline.chain.warm.bound(self.workers());
        }
        stop::point("swap-begin");
        let mut after = Running::new(loaded, next, access);
        if same_aep {
            after.token_over = running.token_over.clone();
        }
        let after = Arc::new(after);
        let number = before.number + 1;
        let mut swapped = Swapped::between(&before, next, &outboxes);
        let leaving = self.prepare(&before, &outboxes);
        if !same_aep {
            self.serve_token(&after);
        }
        self.configure(&after);
        let change = Change {
            topics: self.cluster.get().map(|id| topics(next, id)).unwrap_or_default(),
            changed: changed(&before.generation, next, running.is_same_tenant(loaded)),
            outboxes: all(&outboxes).into_iter().chain(leaving.iter().cloned()).collect(),
        };
        let current = Current::new(number, next, outboxes.clone(), &after.config.limits);
        let followed = self.assigned.follow(change, || self.shared.replace(current));
        *self.running.write().unwrap_or_else(PoisonError::into_inner) = after;
        self.shared.metrics.set_generation(&next.name, digests(next));
        tracing::info!(generation = %next.name, before = %before.generation.name,
            "records begin under another generation");
        stop::point("swap-generation");
        swapped.note(followed);
        swapped.given_up = self.retire(&leaving, &outboxes, &before);
        if !same_aep {
            running.token_over.cancel();
        }
        if let Some(older) = previous.replace(Arc::clone(&before.generation)) {
            cool_down(&older, [&before.generation, next]);
        }
        stop::point("swap-done");
        Ok(swapped)
    }

    /// How many workers there are; spares aside.
    fn workers(&self) -> usize {
        worker_count(&self.running().config)
    }

    /// Has new outboxes served. Those that take another's place are held until that one is empty. Gives
    /// those that go.
    fn prepare(&self, before: &Current, next: &Outboxes) -> Vec<Arc<Outbox>> {
        let stays = |outbox: &Arc<Outbox>| {
            let same = next.get(outbox.destination().name());
            same.is_some_and(|same| Arc::ptr_eq(same, outbox))
        };
        let leaving: Vec<Arc<Outbox>> =
            before.outboxes.values().filter(|outbox| !stays(outbox)).cloned().collect();
        for (name, outbox) in next {
            match before.outboxes.get(name) {
                Some(same) if Arc::ptr_eq(same, outbox) => continue,
                Some(_) => outbox.hold(),
                None => {}
            }
            self.serve(outbox);
        }
        leaving
    }

    /// What holds in place.
    fn configure(&self, after: &Running) {
        self.quota.reconfigure(&after.config.quota);
        if let Some(token) = self.admin_token.get() {
            token.set(after.config.admin.token.clone());
        }
    }

    /// Waits until each outbox that goes is empty, and lets the one that takes its place send. Gives up what they do not
    /// deliver in time: the partitions that it is of begin again.
    fn retire(
        &self,
        leaving: &[Arc<Outbox>],
        next: &Outboxes,
        before: &Current,
    ) -> Vec<PartitionId> {
        if leaving.is_empty() {
            return Vec::new();
        }
        for outbox in leaving {
            outbox.drain();
        }
        let left = |outbox: &Outbox| {
            let name = outbox.destination().name();
            let feeds = |pipeline: &str| {
                let pipeline = before.generation.pipelines.get(pipeline);
                pipeline.is_some_and(|it| it.routes.iter().any(|route| &*route.name == name))
            };
            // In this order: a call hands over what it gave, and then it is over.
            [self.assigned.behind(before.number + 1, feeds), outbox.terms()].concat()
        };
        let over = |outbox: &Outbox| {
            outbox.end();
            if let Some(successor) = next.get(outbox.destination().name()) {
                // Invariant 3: all that went before has its verdict, or comes again behind this.
                successor.release();
            }
        };
        let mut open: Vec<&Outbox> = leaving.iter().map(|outbox| &**outbox).collect();
        // One that delivers does not wait for one that cannot.
        let in_time = self.wait(|| {
            open.extract_if(.., |outbox| left(outbox).is_empty()).for_each(over);
            open.is_empty()
        });
        let mut given_up = Vec::new();
        if !in_time {
            let terms: Vec<u64> = open.iter().flat_map(|outbox| left(outbox)).collect();
            given_up = self.assigned.give_up(&terms);
            // What was on its way is given up with it, so this takes no time.
            if !self.wait(|| open.iter().all(|outbox| outbox.terms().is_empty())) {
                tracing::error!("an outbox that goes still has something on its way");
            }
            open.into_iter().for_each(over);
        }
        self.assigned.set_outboxes(all(next));
        given_up
    }

    /// Waits until something is so; not where the process stops or it takes too long.
    fn wait(&self, mut done: impl FnMut() -> bool) -> bool {
        let deadline = Instant::now() + DRAIN;
        while !done() {
            if Instant::now() >= deadline || self.site.cancelled.is_cancelled() {
                return false;
            }
            std::thread::park_timeout(LOOK);
        }
        true
    }

    fn serve(&self, outbox: &Arc<Outbox>) {
        let Site { tasks, cancelled, runtime } = &self.site;
        let run = Arc::clone(outbox).run(tasks.clone(), cancelled.clone());
        tasks.spawn_on(run, runtime);
    }

    /// Keeps the token fresh; readiness waits for the first one.
    fn serve_token(&self, running: &Running) {
        let ready = self.ready.clone();
        let Some(token) = running.access.token.clone() else { return ready.release(Part::Token) };
        let (stopped, over) = (self.site.cancelled.clone(), running.token_over.clone());
        let keep = async move { over.run_until_cancelled(keep_fresh(&token, &ready)).await };
        let run = async move {
            stopped.run_until_cancelled(keep).await;
        };
        self.site.tasks.spawn_on(run, &self.site.runtime);
    }
}

impl reload::Live for Live {
    fn refuses(&self, next: &Loaded) -> Vec<String> {
        self.refuses(next)
    }

    fn swap(&self, next: &Candidate) -> Result<Vec<String>, String> {
        let swapped =
            self.swap(&next.loaded, &next.generation).map_err(|error| error.to_string())?;
        let recent = &self.shared.recent;
        recent.keep(next.loaded.config.reload.recent_records);
        recent.keep_only(|name| next.generation.pipelines.contains_key(name));
        Ok(swapped.sentences())
    }

    fn look(&self) {
        self.shared.ready.look();
    }
}

/// Fetches the first token before a request needs it, and renews it before it expires.
async fn keep_fresh(token: &Token, ready: &Latch) {
    while let Err(fault) = token.bearer().await {
        tracing::warn!(code = fault.code.as_str(), "no token yet; trying on");
        tokio::time::sleep(fault.retry_in.max(Duration::from_millis(100))).await;
    }
    ready.release(Part::Token);
    token.keep_fresh().await;
}

fn all(outboxes: &Outboxes) -> Vec<Arc<Outbox>> {
    outboxes.values().cloned().collect()
}

/// Keeps no instances any more of what is in none of the others.
fn cool_down(generation: &Generation, others: [&Generation; 2]) {
    for pipeline in generation.pipelines.values() {
        if !others.iter().any(|other| other.has_chain(pipeline)) {
            pipeline.chain.warm.bound(0);
        }
    }
}

/// The pipelines that are not what they were, so that what was held against them may be over.
fn changed(before: &Generation, next: &Generation, same_tenant: bool) -> BTreeSet<Arc<str>> {
    let is_same = |pipeline: &Pipeline| {
        let same = next.pipelines.get(&pipeline.name);
        same_tenant && same.is_some_and(|same| pipeline.is_same(same))
    };
    let changed = before.pipelines.values().filter(|pipeline| !is_same(pipeline));
    changed.map(|pipeline| Arc::clone(&pipeline.name)).collect()
}

fn topics(generation: &Generation, cluster: &str) -> Topics {
    let mut topics = Topics::new();
    for pipeline in generation.pipelines.values() {
        for topic in &pipeline.topics {
            let ids = Ids::new(cluster, topic, &pipeline.id_epoch, &pipeline.name);
            let (storm, quarantine) = (pipeline.storm, pipeline.quarantine);
            let pipeline = Arc::clone(&pipeline.name);
            topics.insert(topic.clone(), Topic { pipeline, ids, storm, quarantine });
        }
    }
    topics
}

pub(super) fn digests(generation: &Generation) -> Vec<PluginDigest> {
    let chains = generation.pipelines.values().map(|pipeline| &pipeline.chain.plugins);
    let digest = |plugin: &crate::plugin::Plugin| PluginDigest {
        plugin: plugin.name.as_str().into(),
        digest: plugin.component.digest().into(),
    };
    chains.flatten().map(digest).collect()
}
