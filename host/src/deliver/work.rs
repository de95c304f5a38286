//! What one call of [`Destination::deliver`](super::Destination::deliver) still has to send, and the
//! verdicts it has. Pure.

use std::collections::VecDeque;

use tokio::time::Instant;

use super::Verdict;
use crate::fault::Fault;

/// How often a request with an unknown outcome is sent again before events go one at a time.
const UNKNOWN_RETRIES: u8 = 3;
/// How often a batch meets a server error before it is suspected of being the reason.
const FAILURES: u8 = 5;

/// How often a piece comes back before it waits by itself.
const SETBACKS: u8 = 5;

/// Events that are sent together: a request, or what is left of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Positions in the call's messages, rising.
    pub events: Vec<usize>,
    /// What happened to it so far.
    pub history: History,
    /// Not to be sent earlier.
    pub not_before: Option<Instant>,
}

/// What happened to a piece so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct History {
    /// It was sent at least once.
    pub sent: bool,
    /// Times that it came back to be sent again.
    pub setbacks: u8,
    /// Unknown outcomes.
    pub unknown: u8,
    /// Part of something with too many unknown outcomes: the next one pauses the destination.
    pub cautious: bool,
    /// Server errors.
    pub failures: u8,
    /// Server errors alone, each followed by another event that was taken.
    pub rounds: u8,
    /// Refused alone, while nothing else was taken.
    pub accused: bool,
}

impl Piece {
    /// Whether it is one event.
    pub(super) fn is_single(&self) -> bool {
        self.events.len() <= 1
    }

    /// The same history, other events.
    fn of(&self, events: Vec<usize>) -> Self {
        Self { events, ..self.clone() }
    }

    /// Notes that it has to be sent again. How often it did so beyond what an ordinary outage costs,
    /// where it did.
    pub(super) fn note_setback(&mut self) -> Option<u32> {
        self.history.setbacks = self.history.setbacks.saturating_add(1);
        self.history.setbacks.checked_sub(SETBACKS).map(|beyond| u32::from(beyond) + 1)
    }

    /// Notes an unknown outcome. True where it has been tried often enough.
    pub(super) fn note_unknown(&mut self) -> bool {
        self.history.unknown = self.history.unknown.saturating_add(1);
        self.history.cautious || self.history.unknown > UNKNOWN_RETRIES
    }

    /// Notes a server error. True where the piece is suspected of being the reason.
    pub(super) fn note_failure(&mut self) -> bool {
        self.history.failures = self.history.failures.saturating_add(1);
        self.history.failures >= FAILURES
    }

    /// Notes that another event was taken after this one failed alone. True where that happened
    /// often enough to say that the event is at fault and not AEP.
    pub(super) fn note_round(&mut self) -> bool {
        self.history.rounds = self.history.rounds.saturating_add(1);
        self.history.rounds >= FAILURES
    }
}

/// What is to be sent, what is accused, and the verdicts.
#[derive(Debug)]
pub(super) struct Work {
    verdicts: Vec<Option<Verdict>>,
    queue: VecDeque<Piece>,
    /// Events that were refused alone, and nothing has been taken since.
    accused: Vec<(usize, Fault)>,
    /// The last event in order that was taken.
    last_taken: Option<usize>,
}

impl Work {
    /// All of `count` messages, in one piece.
    pub(super) fn new(count: usize) -> Self {
        let mut queue = VecDeque::new();
        if count > 0 {
            let events = (0..count).collect();
            queue.push_back(Piece { events, history: History::default(), not_before: None });
        }
        Self {
            verdicts: (0..count).map(|_| None).collect(),
            queue,
            accused: Vec::new(),
            last_taken: None,
        }
    }

    /// The next piece to send.
    pub(super) fn next(&mut self) -> Option<Piece> {
        self.queue.pop_front()
    }

    /// To be sent next.
    pub(super) fn put_back(&mut self, piece: Piece) {
        if !piece.events.is_empty() {
            self.queue.push_front(piece);
        }
    }

    /// To be sent after everything else.
    pub(super) fn defer(&mut self, piece: Piece) {
        if !piece.events.is_empty() {
            self.queue.push_back(piece);
        }
    }

    /// To be sent next, in two parts.
    pub(super) fn halve(&mut self, piece: &Piece) {
        let (left, right) = piece.events.split_at(piece.events.len().div_ceil(2));
        self.put_back(piece.of(right.to_vec()));
        self.put_back(piece.of(left.to_vec()));
    }

    /// To be sent in two parts, each suspected after one server error more.
    pub(super) fn halve_suspect(&mut self, mut piece: Piece) {
        piece.history.failures = FAILURES - 1;
        self.halve(&piece);
    }

    /// To be sent in parts of 1, 1, 2, 4, … events: so much may be repeated when the outcome of one
    /// is unknown, and no more.
    pub(super) fn ramp(&mut self, mut piece: Piece) {
        piece.history = History { cautious: true, unknown: 0, ..piece.history };
        let mut parts = Vec::new();
        let mut rest = piece.events.as_slice();
        let mut size = 1;
        while !rest.is_empty() {
            let (part, after) = rest.split_at(size.min(rest.len()));
            parts.push(piece.of(part.to_vec()));
            rest = after;
            size = if parts.len() == 1 { 1 } else { size * 2 };
        }
        for part in parts.into_iter().rev() {
            self.put_back(part);
        }
    }

    /// The first event of a piece; the rest is to be sent next.
    pub(super) fn keep_first(&mut self, piece: Piece) -> Piece {
        let Some((first, rest)) = piece.events.split_first() else { return piece };
        self.put_back(piece.of(rest.to_vec()));
        piece.of(vec![*first])
    }

    /// AEP took this event. True where it took a later one before.
    pub(super) fn accept(&mut self, event: usize) -> bool {
        self.decide(event, Verdict::Accepted);
        let overtaken = self.last_taken > Some(event);
        self.last_taken = self.last_taken.max(Some(event));
        overtaken
    }

    /// AEP refuses this event, and it is the record's fault.
    pub(super) fn refuse(&mut self, event: usize, fault: Fault) {
        self.decide(event, Verdict::Refused(fault));
    }

    fn decide(&mut self, event: usize, verdict: Verdict) {
        if let Some(slot) = self.verdicts.get_mut(event) {
            debug_assert!(slot.is_none(), "an event has one verdict");
            *slot = Some(verdict);
        }
    }

    /// This event was refused alone; whose fault that is shows when another is taken.
    pub(super) fn accuse(&mut self, event: usize, fault: Fault) {
        self.accused.push((event, fault));
    }

    /// How many events wait for another to be taken.
    pub(super) fn accused(&self) -> usize {
        self.accused.len()
    }

    /// Another event was taken: the accused are at fault themselves. Says how many they were.
    pub(super) fn convict(&mut self) -> usize {
        let accused = std::mem::take(&mut self.accused);
        let count = accused.len();
        for (event, fault) in accused {
            self.refuse(event, fault);
        }
        count
    }

    /// Nothing was taken: the accused are sent again.
    pub(super) fn acquit(&mut self) {
        let history = History { sent: true, accused: true, ..History::default() };
        for (event, _) in std::mem::take(&mut self.accused) {
            self.queue.push_back(Piece { events: vec![event], history, not_before: None });
        }
    }

    /// One verdict per message, in order. None where something is still to be sent.
    pub(super) fn finish(self) -> Option<Vec<Verdict>> {
        self.verdicts.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Code;

    fn pieces(work: &mut Work) -> Vec<Vec<usize>> {
        std::iter::from_fn(|| work.next()).map(|piece| piece.events).collect()
    }

    #[test]
    fn halves_and_ramps_keep_the_order() {
        let mut work = Work::new(5);
        let piece = work.next().unwrap();
        work.halve(&piece);
        assert_eq!(pieces(&mut work), [vec![0, 1, 2], vec![3, 4]]);
        work.ramp(piece.clone());
        assert_eq!(pieces(&mut work), [vec![0], vec![1], vec![2, 3], vec![4]]);
        assert_eq!(work.keep_first(piece).events, [0]);
        assert_eq!(pieces(&mut work), [vec![1, 2, 3, 4]]);
    }

    #[test]
    fn a_single_event_cannot_be_halved_away() {
        let mut work = Work::new(1);
        let piece = work.next().unwrap();
        work.halve(&piece);
        work.ramp(work.queue.front().unwrap().clone());
        assert_eq!(pieces(&mut work), [[0], [0]]);
    }

    #[test]
    fn verdicts_stand_in_the_order_of_the_messages() {
        let mut work = Work::new(3);
        assert!(!work.accept(2));
        work.accuse(0, Fault::new(Code::Refused, "no"));
        assert!(work.accept(1), "the third was taken before the second");
        assert_eq!(work.accused(), 1);
        assert_eq!(work.convict(), 1);
        let verdicts = work.finish().unwrap();
        assert!(matches!(
            verdicts.as_slice(),
            [Verdict::Refused(_), Verdict::Accepted, Verdict::Accepted]
        ));
    }

    #[test]
    fn an_unknown_outcome_is_retried_three_times() {
        let mut piece = Work::new(1).next().unwrap();
        let exhausted: Vec<bool> = (0..4).map(|_| piece.note_unknown()).collect();
        assert_eq!(exhausted, [false, false, false, true]);
    }

    #[test]
    fn work_without_messages_is_finished() {
        let mut work = Work::new(0);
        assert!(work.next().is_none());
        assert_eq!(work.finish().map(|verdicts| verdicts.len()), Some(0));
    }
}
