//! The emulator's controls as methods: faults, switches, views.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    failed::FailedBatch,
    fault::{Fault, FaultId, FaultReport},
    lake::{InletSummary, LakeEntry, LakeQuery},
    settings::{FailedShape, Style},
    state::Shared,
    token::TokenCounts,
};

/// Controls a running emulator. Cheap to clone; it goes on to show what was there after the
/// emulator has stopped.
#[derive(Clone, Debug)]
pub struct Control(pub(crate) Arc<Shared>);

/// All counts.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Per inlet, by name.
    pub inlets: BTreeMap<String, InletSummary>,
    /// Of the token endpoint.
    pub tokens: TokenCounts,
    /// Messages that wait for the asynchronous validator.
    pub pending_validation: u64,
}

impl Control {
    /// Orders a fault, active at once.
    pub fn fault(&self, fault: Fault) -> FaultId {
        self.0.faults.add(fault)
    }

    /// All faults ever ordered, with how often each took effect.
    pub fn faults(&self) -> Vec<FaultReport> {
        self.0.faults.reports()
    }

    /// How often a fault took effect; 0 for one that was never ordered.
    pub fn took_effect(&self, id: FaultId) -> u64 {
        let reports = self.0.faults.reports();
        reports.iter().find(|report| report.id == id).map_or(0, |report| report.took_effect)
    }

    /// Ends a fault; false where it had ended already.
    pub fn clear(&self, id: FaultId) -> bool {
        self.0.faults.clear(Some(id)) > 0
    }

    /// Ends all faults; says how many ended.
    pub fn clear_all(&self) -> usize {
        self.0.faults.clear(None)
    }

    /// Changes the form of the answers.
    pub fn set_style(&self, style: Style) {
        self.0.set_live(|live| live.style = style);
    }

    /// Changes the form of records in failed batches.
    pub fn set_failed_shape(&self, shape: FailedShape) {
        self.0.set_live(|live| live.failed_shape = shape);
    }

    /// From now on tokens live so many seconds.
    pub fn set_token_ttl(&self, seconds: u64) {
        self.0.tokens.set_ttl(seconds);
    }

    /// Makes every token given so far worthless; says how many were still good.
    pub fn revoke_tokens(&self) -> u64 {
        self.0.tokens.revoke_all()
    }

    /// Accepted messages in the order of arrival.
    pub fn lake(&self, query: &LakeQuery) -> Vec<LakeEntry> {
        self.0.lake.entries(query, &self.0.settings.sandbox)
    }

    /// All accepted messages of an inlet with their entities.
    pub fn messages(&self, inlet: &str) -> Vec<LakeEntry> {
        let inlet = Some(inlet.to_owned());
        self.lake(&LakeQuery { inlet, limit: usize::MAX, entities: true, ..LakeQuery::default() })
    }

    /// The Profile store's view: of each `_id` the first valid message, of all inlets.
    pub fn profile(&self, query: &LakeQuery) -> Vec<LakeEntry> {
        self.0.lake.profile(query, &self.0.settings.sandbox)
    }

    /// Failed batches, oldest first.
    pub fn failed_batches(&self) -> Vec<FailedBatch> {
        self.0.failed.view(&self.0.settings.sandbox)
    }

    /// Later failures go into new batches.
    pub fn seal_failed_batches(&self) {
        self.0.failed.seal();
    }

    /// All counts.
    pub fn summary(&self) -> Summary {
        Summary {
            inlets: self.0.lake.summary(),
            tokens: self.0.tokens.counts(),
            pending_validation: self.0.validator.pending(),
        }
    }

    /// Waits until the validator has nothing left to do; false when the time ran out. Blocks the
    /// thread: not for async code on a single-threaded runtime that the senders need too.
    pub fn wait_validated(&self, limit: Duration) -> bool {
        self.0.validator.wait(limit)
    }

    /// Waits until the counts of an inlet (by name) are as wished; false when the time ran out.
    /// Blocks the thread like [`Self::wait_validated`].
    pub fn wait_until(
        &self,
        inlet: &str,
        limit: Duration,
        wish: impl FnMut(&InletSummary) -> bool,
    ) -> bool {
        self.0.lake.wait(inlet, limit, wish)
    }
}
