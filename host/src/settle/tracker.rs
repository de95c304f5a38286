//! The settled prefix of one partition. Pure: no clock, no Kafka.

use std::collections::VecDeque;

/// Which records of a partition are open, and up to where all are settled.
///
/// Offsets have gaps (compaction, transactions), so *all* means all that were handed to us, never
/// n + 1.
#[derive(Debug, Default)]
pub struct Tracker {
    /// Records that are not yet part of the settled prefix, in offset order.
    open: VecDeque<Entry>,
    /// Offset and timestamp of the newest record.
    last: Option<(i64, Option<i64>)>,
    position: Option<i64>,
    /// The timestamp of the last record that left `open`: settled, or the first that was forgotten.
    left_ms: Option<i64>,
}

#[derive(Debug)]
struct Entry {
    offset: i64,
    timestamp_ms: Option<i64>,
    settled: bool,
}

/// An offset that is not above the one before it: the topic was made again under its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("offset {offset} follows {last}")]
pub struct Backwards {
    /// The offset that came.
    pub offset: i64,
    /// The highest before it.
    pub last: i64,
}

impl Tracker {
    /// Nothing in flight; settled up to this position, where it is known.
    pub fn at(position: Option<i64>) -> Self {
        Self { position, ..Self::default() }
    }

    /// Notes a record as in flight. False for the newest record once more, which librdkafka may
    /// hand out twice where it stops a partition between a record and the note that it was taken.
    pub fn track(&mut self, offset: i64, timestamp_ms: Option<i64>) -> Result<bool, Backwards> {
        let newest = (offset, timestamp_ms);
        match self.last {
            Some(last) if last == newest => return Ok(false),
            Some((last, _)) if offset <= last => return Err(Backwards { offset, last }),
            _ => {}
        }
        self.last = Some(newest);
        self.open.push_back(Entry { offset, timestamp_ms, settled: false });
        Ok(true)
    }

    /// The offset after the newest record. None before the first.
    pub fn next(&self) -> Option<i64> {
        self.last.map(|(offset, _)| offset + 1)
    }

    /// Closes a record. An offset that is not in flight is ignored.
    pub fn settle(&mut self, offset: i64) {
        let index = self.open.partition_point(|entry| entry.offset < offset);
        if let Some(entry) = self.open.get_mut(index).filter(|entry| entry.offset == offset) {
            entry.settled = true;
        }
        // Invariant 1: the position moves over settled records only, from the lowest on.
        while let Some(entry) = self.open.pop_front_if(|entry| entry.settled) {
            self.position = Some(entry.offset + 1);
            self.left_ms = entry.timestamp_ms;
        }
    }

    /// Forgets records from `offset` on, which were not begun and will come again.
    pub fn forget_from(&mut self, offset: i64) {
        let index = self.open.partition_point(|entry| entry.offset < offset);
        if let Some(first) = self.open.get(index) {
            self.left_ms = first.timestamp_ms;
        }
        self.open.truncate(index);
    }

    /// The timestamp of the oldest record that is not settled, or of the last one before it where that
    /// one was not handed to us yet. None where no record was, or it has no timestamp.
    pub fn oldest_ms(&self) -> Option<i64> {
        self.open.front().map_or(self.left_ms, |oldest| oldest.timestamp_ms)
    }

    /// The offset to commit: one above the settled prefix. None before the first settlement.
    pub fn position(&self) -> Option<i64> {
        self.position
    }

    /// How many records are in flight.
    pub fn in_flight(&self) -> usize {
        self.open.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_position_waits_for_the_lowest_open_record() {
        let mut tracker = Tracker::default();
        for offset in [10, 11, 14] {
            assert_eq!(tracker.track(offset, None), Ok(true));
        }
        tracker.settle(11);
        assert_eq!(tracker.position(), None);
        tracker.settle(10);
        assert_eq!(tracker.position(), Some(12));
        tracker.settle(14);
        assert_eq!((tracker.position(), tracker.in_flight()), (Some(15), 0));
    }

    #[test]
    fn offsets_that_run_backwards_are_refused() {
        let mut tracker = Tracker::default();
        tracker.track(5, Some(77)).unwrap();
        assert_eq!(tracker.track(5, Some(78)), Err(Backwards { offset: 5, last: 5 }));
        assert_eq!(tracker.track(0, Some(77)), Err(Backwards { offset: 0, last: 5 }));
    }

    #[test]
    fn the_newest_record_once_more_is_no_other_record() {
        let mut tracker = Tracker::default();
        tracker.track(5, Some(77)).unwrap();
        assert_eq!((tracker.track(5, Some(77)), tracker.in_flight()), (Ok(false), 1));
    }

    #[test]
    fn forgotten_records_hold_nothing_back() {
        let mut tracker = Tracker::default();
        for offset in 0..4 {
            assert_eq!(tracker.track(offset, None), Ok(true));
        }
        tracker.settle(0);
        tracker.forget_from(2);
        tracker.settle(1);
        assert_eq!((tracker.position(), tracker.in_flight()), (Some(2), 0));
    }

    #[test]
    fn the_oldest_record_that_waits_says_since_when() {
        let mut tracker = Tracker::default();
        assert_eq!(tracker.oldest_ms(), None);
        for offset in 0..4 {
            tracker.track(offset, Some(offset * 10)).unwrap();
        }
        assert_eq!(tracker.oldest_ms(), Some(0));
        tracker.settle(1);
        tracker.settle(0);
        assert_eq!(tracker.oldest_ms(), Some(20));
        // Given up before it was begun: it still waits in Kafka.
        tracker.forget_from(2);
        assert_eq!(tracker.oldest_ms(), Some(20));
    }

    proptest! {
        /// Against the simplest model: a set of open offsets.
        #[test]
        fn invariant_1_nothing_open_lies_below_the_position(
            gaps in proptest::collection::vec(1_i64..4, 1..60),
            order in proptest::collection::vec(any::<prop::sample::Index>(), 0..80),
        ) {
            let mut tracker = Tracker::default();
            let offsets: Vec<i64> =
                gaps.iter().scan(0, |at, gap| { *at += gap; Some(*at) }).collect();
            for offset in &offsets {
                tracker.track(*offset, None).unwrap();
            }
            let mut open: std::collections::BTreeSet<i64> = offsets.iter().copied().collect();
            let mut before = None;
            for index in order {
                let offset = *index.get(&offsets);
                open.remove(&offset);
                tracker.settle(offset);
                let expected = offsets
                    .iter()
                    .take_while(|o| !open.contains(o))
                    .last()
                    .map(|o| o + 1);
                prop_assert_eq!(tracker.position(), expected);
                prop_assert!(tracker.position() >= before);
                before = tracker.position();
            }
        }
    }
}
