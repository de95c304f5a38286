//! One record's events on their way: the record is closed with the last verdict.

use std::sync::{Arc, Mutex, PoisonError};

use super::{Debt, Settlement};
use crate::dead_letter::{DeadLetters, Origin};
use crate::fault::Fault;

/// What is still owed on one record that became events.
pub struct Owed {
    state: Mutex<State>,
    origin: Arc<Origin>,
    dead_letters: Arc<DeadLetters>,
}

struct State {
    /// Taken with the last verdict.
    debt: Option<Debt>,
    open: usize,
    accepted: Vec<usize>,
    refused: Option<Fault>,
}

impl Owed {
    /// A record that became `events` events.
    pub fn new(
        debt: Debt,
        events: usize,
        origin: &Arc<Origin>,
        dead_letters: &Arc<DeadLetters>,
    ) -> Arc<Self> {
        let state = State { debt: Some(debt), open: events, accepted: Vec::new(), refused: None };
        Arc::new(Self {
            state: Mutex::new(state),
            origin: Arc::clone(origin),
            dead_letters: Arc::clone(dead_letters),
        })
    }

    /// Notes the verdict on the event at `index`. With the last one the record is settled as
    /// delivered, or written once as a dead letter that names the accepted indexes (Invariant 2).
    pub fn answer(&self, index: usize, verdict: Result<(), Fault>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.open -= 1;
        match verdict {
            Ok(()) => state.accepted.push(index),
            Err(fault) => state.refused = state.refused.take().or(Some(fault)),
        }
        if state.open > 0 {
            return;
        }
        let (debt, refused) = (state.debt.take(), state.refused.take());
        let mut accepted = std::mem::take(&mut state.accepted);
        drop(state);
        match (debt, refused) {
            (Some(debt), None) => debt.settle(Settlement::Delivered),
            (Some(debt), Some(fault)) => {
                accepted.sort_unstable();
                self.dead_letters.send(debt, &fault, &self.origin, &accepted);
            }
            (None, _) => {}
        }
    }
}
