//! What records begin under.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::batch::Outbox;
use crate::config;
use crate::generation::Generation;
use crate::plugin::CallLimits;

/// Outboxes by destination.
pub type Outboxes = BTreeMap<Arc<str>, Arc<Outbox>>;

/// A generation and where its events go. It is replaced as a whole, so that a call has either all of the
/// old or all of the new (Invariant 5).
pub struct Current {
    /// Counts swaps, from 1.
    pub number: u64,
    /// The generation.
    pub generation: Arc<Generation>,
    /// The outboxes of its destinations.
    pub outboxes: Outboxes,
    /// The most that one call takes.
    pub limits: CallLimits,
}

impl Current {
    /// A generation with its outboxes.
    pub fn new(
        number: u64,
        generation: &Arc<Generation>,
        outboxes: Outboxes,
        limits: &config::Limits,
    ) -> Self {
        Self { number, generation: Arc::clone(generation), outboxes, limits: limits.into() }
    }
}
