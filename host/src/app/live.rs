//! The live data path, as far as a generation can be put into it while records flow.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use super::digests;
use crate::config::{Config, Loaded};
use crate::reload::{self, Candidate};
use crate::stop;
use crate::telemetry::Metrics;
use crate::transform::Shared;

/// What runs, and where.
pub(super) struct Live {
    running: RwLock<Arc<Config>>,
    shared: Arc<Shared>,
    metrics: Metrics,
}

impl Live {
    /// A data path that runs this configuration.
    pub(super) fn new(config: &Arc<Config>, shared: &Arc<Shared>, metrics: &Metrics) -> Self {
        let (shared, metrics) = (Arc::clone(shared), metrics.clone());
        Self { running: RwLock::new(Arc::clone(config)), shared, metrics }
    }

    /// How long a graceful stop may take.
    pub(super) fn grace(&self) -> Duration {
        Duration::from_millis(self.config().shutdown.grace_ms)
    }

    fn config(&self) -> Arc<Config> {
        Arc::clone(&self.running.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl reload::Live for Live {
    fn refuses(&self, next: &Loaded) -> Vec<String> {
        refusals(&self.config(), &next.config)
    }

    fn swap(&self, next: &Candidate) -> Vec<String> {
        stop::point("swap-begin");
        let generation = &next.generation;
        *self.running.write().unwrap_or_else(PoisonError::into_inner) =
            Arc::new(next.loaded.config.clone());
        self.metrics.set_generation(&generation.name, digests(generation));
        // Invariant 5: workers look at it before a call.
        self.shared.set_generation(generation);
        stop::point("swap-done");
        Vec::new()
    }
}

/// What differs and cannot be swapped, a sentence each.
fn refusals(running: &Config, next: &Config) -> Vec<String> {
    let topics = |config: &Config| -> Vec<(String, String, Vec<String>)> {
        let pipelines = config.pipelines.iter();
        pipelines.map(|(name, p)| (name.clone(), p.id_epoch.clone(), p.topics.clone())).collect()
    };
    let parts = [
        ("kafka", running.kafka == next.kafka),
        ("limits", running.limits == next.limits),
        ("admin", running.admin == next.admin),
        ("aep", running.aep == next.aep),
        ("quota", running.quota == next.quota),
        ("destinations", running.destinations == next.destinations),
        ("pipelines (names, `topics`, `id_epoch`)", topics(running) == topics(next)),
    ];
    let differ = parts.into_iter().filter(|(_, same)| !same);
    differ.map(|(part, _)| format!("{part} differ from what runs: restart xylem")).collect()
}
