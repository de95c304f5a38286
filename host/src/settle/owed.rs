//! One record's events on their way: the record is closed with the last verdict.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Debt, Partition, Settlement};
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
    debt: Option<(Debt, Undecided)>,
    open: usize,
    accepted: Vec<usize>,
    refused: Option<Fault>,
}

/// A record whose verdicts are awaited, as long as it is there.
struct Undecided(Arc<Partition>);

impl Undecided {
    fn new(partition: &Arc<Partition>) -> Self {
        partition.undecided.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(partition))
    }
}

impl Drop for Undecided {
    fn drop(&mut self) {
        self.0.undecided.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Owed {
    /// A record that became `events` events.
    pub fn new(
        debt: Debt,
        events: usize,
        origin: &Arc<Origin>,
        dead_letters: &Arc<DeadLetters>,
    ) -> Arc<Self> {
        let undecided = Undecided::new(debt.partition());
        let debt = Some((debt, undecided));
        let state = State { debt, open: events, accepted: Vec::new(), refused: None };
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
            (Some((debt, _)), None) => {
                if let Some(counts) = &self.origin.counts {
                    counts.delivered();
                }
                debt.settle(Settlement::Delivered);
            }
            (Some((debt, _)), Some(fault)) => {
                accepted.sort_unstable();
                self.dead_letters.send(debt, &fault, &self.origin, &accepted);
            }
            (None, _) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Code;
    use crate::rig::{self, Assignment};

    fn owed(assignment: &Assignment, events: usize) -> (Arc<Owed>, Arc<DeadLetters>) {
        let dead_letters = rig::dead_letters();
        let debt = assignment.debt(rig::record(7));
        (Owed::new(debt, events, &rig::origin(), &dead_letters), dead_letters)
    }

    #[test]
    fn invariant_2_a_record_is_settled_with_the_verdict_on_its_last_event() {
        let assignment = Assignment::new();
        let (owed, dead_letters) = owed(&assignment, 3);
        for index in [2, 0] {
            owed.answer(index, Ok(()));
            assert_eq!(assignment.settled(), []);
        }
        assert_eq!(assignment.partition.undecided(), 1);
        owed.answer(1, Ok(()));
        assert_eq!(assignment.settled(), [(7, Settlement::Delivered)]);
        assert_eq!(dead_letters.waiting(), 0);
    }

    #[test]
    fn invariant_2_one_refused_event_makes_one_dead_letter() {
        let assignment = Assignment::new();
        let (owed, dead_letters) = owed(&assignment, 3);
        for index in [0, 1] {
            owed.answer(index, Err(Fault::new(Code::Refused, "no")));
        }
        owed.answer(2, Ok(()));
        assert_eq!(dead_letters.waiting(), 1);
        assert_eq!(assignment.settled(), [], "not before the topic has acknowledged it");
    }
}
