//! The books of a receiver while plugins are swapped: which version made which event, and whether any is
//! lost, late, or of two minds. Pure; fed in the order of arrival, it keeps only what is open.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

/// How many examples of mistakes are kept.
const EXAMPLES: usize = 5;

/// An event as it arrived.
#[derive(Clone, Copy, Debug)]
pub struct Stamped {
    /// Where its record is from.
    pub partition: i32,
    /// The record's offset.
    pub offset: u64,
    /// Which of the record's events it is.
    pub index: u64,
    /// What made it.
    pub version: u64,
}

/// What has arrived.
#[derive(Debug)]
pub struct Versions {
    /// Events that a record becomes.
    events: u64,
    partitions: BTreeMap<i32, Course>,
    verdict: Verdict,
}

/// What has arrived of a partition. Events are numbered through.
#[derive(Debug, Default)]
struct Course {
    next: u64,
    missing: BTreeSet<u64>,
    version: Option<u64>,
    changes: u64,
}

/// What the books say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Events that arrived, each counted once.
    pub events: u64,
    /// Events that arrived again.
    pub repeats: u64,
    /// Events that did not arrive.
    pub lost: u64,
    /// Events that first arrived behind a later one of their partition.
    pub out_of_order: u64,
    /// Records whose events are of two versions.
    pub mixed: u64,
    /// Events of no record.
    pub strange: u64,
    /// Events of each version.
    pub by_version: BTreeMap<u64, u64>,
    /// How often the version changed within a partition: the fewest and the most.
    pub changes: (u64, u64),
    /// The first mistakes, in words.
    pub examples: Vec<String>,
}

impl Verdict {
    /// Whether every promise held.
    pub fn holds(&self) -> bool {
        self.lost + self.out_of_order + self.mixed + self.strange == 0
    }

    fn note(&mut self, words: impl FnOnce() -> String) {
        if self.examples.len() < EXAMPLES {
            self.examples.push(words());
        }
    }
}

impl Versions {
    /// Books for records that become so many events each.
    pub fn new(events: u64) -> Self {
        Self { events, partitions: BTreeMap::new(), verdict: Verdict::default() }
    }

    /// Events that have arrived, each counted once.
    pub fn arrived(&self) -> u64 {
        self.verdict.events
    }

    /// An event arrived.
    pub fn arrive(&mut self, event: Stamped) {
        let Stamped { partition, offset, index, version } = event;
        if index >= self.events {
            self.verdict.strange += 1;
            return self.verdict.note(|| format!("{event:?} is of no record"));
        }
        let number = offset * self.events + index;
        let course = self.partitions.entry(partition).or_default();
        if number < course.next {
            if !course.missing.remove(&number) {
                self.verdict.repeats += 1;
                return;
            }
            self.verdict.out_of_order += 1;
            let after = course.next - 1;
            self.verdict.note(|| format!("{event:?} came after event {after} of its partition"));
        } else {
            if number > course.next {
                course.missing.extend(course.next..number);
            }
            course.next = number + 1;
            match course.version.replace(version) {
                Some(before) if before != version && index > 0 => {
                    self.verdict.mixed += 1;
                    self.verdict.note(|| format!("{event:?} follows an event of {before}"));
                }
                Some(before) if before != version => course.changes += 1,
                _ => {}
            }
        }
        self.verdict.events += 1;
        *self.verdict.by_version.entry(version).or_default() += 1;
    }

    /// Closes the books; `ends` says how many records each partition holds.
    pub fn close(self, ends: &BTreeMap<i32, u64>) -> Verdict {
        let mut verdict = self.verdict;
        let none = Course::default();
        for (partition, end) in ends {
            let course = self.partitions.get(partition).unwrap_or(&none);
            let tail = (end * self.events).saturating_sub(course.next);
            let lost = course.missing.len() as u64 + tail;
            verdict.lost += lost;
            if lost > 0 {
                let first = course.missing.first().unwrap_or(&course.next) / self.events;
                verdict
                    .note(|| format!("partition {partition}: {lost} lost, record {first} first"));
            }
        }
        let changes = || ends.keys().map(|p| self.partitions.get(p).map_or(0, |c| c.changes));
        verdict.changes = (changes().min().unwrap_or(0), changes().max().unwrap_or(0));
        for (partition, course) in &self.partitions {
            let end = ends.get(partition).copied().unwrap_or(0) * self.events;
            verdict.strange += course.next.saturating_sub(end);
        }
        verdict
    }
}
