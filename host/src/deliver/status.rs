//! What `/status` shows of a destination.

use std::time::Duration;

use super::Destination;
use super::gate::GateStatus;
use crate::fault::{Code, Domain};

/// What `/status` shows of a destination.
#[derive(Clone, Debug)]
pub struct DestinationStatus {
    /// Its name in the configuration.
    pub name: String,
    /// Whether requests pass, wait, or need somebody to act.
    pub state: DestinationState,
    /// Requests on their way.
    pub in_flight: usize,
    /// The most requests on their way at once.
    pub max_in_flight: usize,
    /// The largest request that is sent, where AEP taught one smaller than the configuration's.
    pub learned_bytes: Option<usize>,
    /// Events that AEP took.
    pub accepted: u64,
    /// Events that AEP refused for good.
    pub refused: u64,
    /// Requests sent.
    pub requests: u64,
    /// The last fault, and how long ago.
    pub last_fault: Option<(Code, Duration)>,
    /// AEP's id of an event accepted lately, for its support.
    pub last_xaction_id: Option<String>,
}

/// Whether requests pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DestinationState {
    /// They pass.
    Open,
    /// They wait for AEP or the network; it ends by itself.
    BackingOff {
        /// Why.
        code: Code,
        /// For how long already.
        since: Duration,
        /// How long until the next try; zero while one is on its way.
        retry_in: Duration,
    },
    /// They wait until somebody mends the configuration or the credential, or finds out why nobody
    /// knows what arrives; meanwhile one request at a time is tried.
    Paused {
        /// Why.
        code: Code,
        /// For how long already.
        since: Duration,
        /// How long until the next try; zero while one is on its way.
        retry_in: Duration,
    },
}

impl Destination {
    /// What `/status` shows.
    pub fn status(&self) -> DestinationStatus {
        let state = match self.gate.status() {
            GateStatus::Open => DestinationState::Open,
            GateStatus::Shut { code, since, retry_in, one_event, .. } => match code.domain() {
                Domain::Infrastructure | Domain::Quota if !one_event => {
                    DestinationState::BackingOff { code, since, retry_in }
                }
                _ => DestinationState::Paused { code, since, retry_in },
            },
        };
        let learned = self.learned_bytes();
        let seen = self.seen();
        DestinationStatus {
            name: self.name.clone(),
            state,
            in_flight: (self.max_in_flight as usize).saturating_sub(self.slots.available_permits()),
            max_in_flight: self.max_in_flight as usize,
            learned_bytes: Some(learned).filter(|&learned| learned < self.max_bytes),
            accepted: self.metrics.accepted.get(),
            refused: self.metrics.refused.get(),
            requests: self.metrics.requests(),
            last_fault: seen.fault.map(|(code, at)| (code, at.elapsed())),
            last_xaction_id: seen.xaction_id.clone(),
        }
    }
}
