//! The letters of one pipeline, read in order, and how far they are dealt with.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::count::{Count, code_of};
use crate::dead_letter::Accepted;
use crate::dead_letter::letter::Letter;
use crate::kafka::{KafkaError, Next, Window};
use crate::record::{PartitionId, Record};
use crate::settle::{Backwards, Tracker};

/// The most letters that are held at once.
const AT_ONCE: usize = 256;
/// The most bytes of letters that are held at once, but for the last.
const BYTES_AT_ONCE: usize = 4 * 1024 * 1024;
/// How many records are remembered to know a second letter of one.
const REMEMBERED: usize = 200_000;
/// How long to wait for a letter before it is looked whether to stop, or to do what there is.
const LOOK: Duration = Duration::from_millis(100);
/// How often progress is committed.
const COMMIT_EVERY: Duration = Duration::from_secs(1);

/// The letters of one pipeline, and how far they are dealt with.
pub(super) struct Letters {
    window: Window,
    pipeline: String,
    trackers: BTreeMap<i32, Tracker>,
    /// The places of records that had a letter.
    seen: HashSet<(PartitionId, i64, Option<i64>)>,
    committed: Instant,
}

/// What is owed to a letter.
pub(super) struct Ticket {
    partition: i32,
    offset: i64,
    /// The code in its header.
    pub(super) before: &'static str,
    /// The events that AEP has.
    pub(super) accepted: Accepted,
}

/// Letters that followed one another and came from one partition.
pub(super) struct Group {
    /// The partition that the records came from.
    pub(super) source: PartitionId,
    /// One for each record.
    pub(super) tickets: VecDeque<Ticket>,
    /// The records as they came.
    pub(super) records: Vec<Record>,
}

impl Letters {
    pub(super) fn new(window: Window, pipeline: &str) -> Self {
        Self {
            window,
            pipeline: pipeline.to_owned(),
            trackers: BTreeMap::new(),
            seen: HashSet::new(),
            committed: Instant::now(),
        }
    }

    /// Whether an earlier replay was gone on from.
    pub(super) fn is_resumed(&self) -> bool {
        self.window.is_resumed()
    }

    /// The next letters; none where all are read. What is no letter of the pipeline is counted and passed over.
    pub(super) fn read(
        &mut self,
        count: &mut Count,
        stop: &AtomicBool,
    ) -> anyhow::Result<Option<Vec<Group>>> {
        let mut groups: Vec<Group> = Vec::new();
        let (mut letters, mut bytes) = (0, 0);
        while letters < AT_ONCE && bytes < BYTES_AT_ONCE && !stop.load(Ordering::Acquire) {
            match self.window.next(LOOK) {
                Next::End if groups.is_empty() => return Ok(None),
                Next::Nothing if groups.is_empty() => {}
                Next::End | Next::Nothing => break,
                Next::Failed(error) => return Err(error.into()),
                Next::Record(partition, record) => {
                    let weight = record.weight();
                    let Some((ticket, letter)) = self.open(partition, record, count)? else {
                        continue;
                    };
                    letters += 1;
                    bytes += weight;
                    push(&mut groups, ticket, letter);
                }
            }
        }
        Ok(Some(groups))
    }

    fn open(
        &mut self,
        partition: i32,
        record: Record,
        count: &mut Count,
    ) -> Result<Option<(Ticket, Letter)>, Backwards> {
        let offset = record.offset;
        let tracker = self.trackers.entry(partition).or_default();
        if !tracker.track(offset, record.timestamp_ms)? {
            return Ok(None);
        }
        let letter = match Letter::read(record) {
            Ok(letter) => letter,
            Err(unreadable) => {
                tracker.settle(offset);
                count.unreadable(partition, offset, unreadable.to_string());
                return Ok(None);
            }
        };
        if letter.pipeline != self.pipeline {
            tracker.settle(offset);
            count.other_pipelines += 1;
            return Ok(None);
        }
        // After a kill a record may have been dead-lettered again.
        let place = (letter.source.clone(), letter.record.offset, letter.record.timestamp_ms);
        // Without a timestamp it may be of another topic of the same name.
        let is_new = if letter.record.timestamp_ms.is_none() {
            true
        } else if self.seen.len() < REMEMBERED {
            self.seen.insert(place)
        } else {
            !self.seen.contains(&place)
        };
        if !is_new {
            tracker.settle(offset);
            count.repeated += 1;
            return Ok(None);
        }
        let (before, accepted) = (code_of(&letter.code), letter.accepted.clone());
        Ok(Some((Ticket { partition, offset, before, accepted }, letter)))
    }

    /// The letter is dealt with.
    pub(super) fn settle(&mut self, ticket: &Ticket) {
        if let Some(tracker) = self.trackers.get_mut(&ticket.partition) {
            tracker.settle(ticket.offset);
        }
    }

    /// Commits how far the letters are dealt with, without a gap, where the last time is a second ago.
    pub(super) fn commit_if_due(&mut self, patience: Duration) {
        if self.committed.elapsed() < COMMIT_EVERY {
            return;
        }
        if let Err(error) = self.commit(patience) {
            tracing::warn!(%error, "progress is not committed; tried again");
        }
    }

    /// Commits now.
    pub(super) fn commit(&mut self, patience: Duration) -> Result<(), KafkaError> {
        // Invariant 1: up to the first letter that has no verdict.
        let position = |(partition, begin): (&i32, &i64)| {
            let tracker = self.trackers.get(partition);
            (*partition, tracker.and_then(Tracker::position).unwrap_or(*begin))
        };
        let positions = self.window.begins().iter().map(position).collect();
        // Where it fails, the next try is due a while later.
        self.committed = Instant::now();
        self.window.commit(&positions, patience)
    }
}

fn push(groups: &mut Vec<Group>, ticket: Ticket, letter: Letter) {
    let Letter { source, record, .. } = letter;
    match groups.last_mut() {
        Some(group) if group.source == source => {
            group.tickets.push_back(ticket);
            group.records.push(record);
        }
        _ => groups.push(Group { source, tickets: [ticket].into(), records: vec![record] }),
    }
}
