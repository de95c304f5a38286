//! What a canary had a right to: half of the records until it was promoted, and all of that half while it ran. Pure.
//!
//! Both are held against the events in the order of their arrival, and against the generation that dead letters
//! name:
//!
//! - Nothing of the other half is a candidate's before it was promoted.
//! - Of two of its events between which its partition did not move, no record of its half that lies between them in
//!   the partition came under another version.

use std::collections::BTreeMap;

use super::ledger::{Under, is_assigned_between};
use super::load::{key, stamp};
use crate::reload::canary::{Salt, part};

/// The share that candidates have.
pub(super) const SHARE: f64 = 0.5;

/// How long after a promoted candidate has all records its process may say so, in milliseconds.
const TOLD: i64 = 2_000;

/// The canaries of a run.
#[derive(Debug, Default)]
pub(super) struct Canaries {
    by_version: BTreeMap<u64, Canary>,
    /// Their versions, by the names of their generations.
    names: BTreeMap<String, u64>,
    /// Where they are in each partition.
    stretches: BTreeMap<i32, Vec<Stretch>>,
}

/// One canary.
#[derive(Debug)]
struct Canary {
    salt: Salt,
    /// Since when it may have all records.
    promoted: Option<i64>,
}

impl Canary {
    /// Whether a record is in its half. Offsets are sequences: the load is a partition's only writer.
    fn takes(&self, partition: i32, sequence: u64) -> bool {
        let offset = i64::try_from(sequence).unwrap_or(i64::MAX);
        let hash = self.salt.hash(key(sequence).as_deref().map(str::as_bytes), partition, offset);
        hash < part(SHARE)
    }

    fn is_promoted(&self, at: i64) -> bool {
        self.promoted.is_some_and(|promoted| promoted.saturating_sub(TOLD) <= at)
    }
}

/// A canary in a partition.
#[derive(Debug)]
struct Stretch {
    version: u64,
    /// Its last record, and when that arrived.
    last: (u64, i64),
    /// The first record of its half after that which came under another version.
    passed: Option<u64>,
}

impl Canaries {
    /// Versions and their candidates' names, and when those that were promoted were.
    pub(super) fn new(begun: &[(u64, String)], promoted: &BTreeMap<String, i64>) -> Self {
        let canary = |(version, name): &(u64, String)| {
            let promoted = promoted.get(name).copied();
            (*version, Canary { salt: Salt::of(name), promoted })
        };
        Self {
            by_version: begun.iter().map(canary).collect(),
            names: begun.iter().map(|(version, name)| (name.clone(), *version)).collect(),
            stretches: BTreeMap::new(),
        }
    }

    /// The version of a candidate, by its name.
    pub(super) fn version(&self, generation: &str) -> Option<u64> {
        self.names.get(generation).copied()
    }

    /// Whether a record may be of a version at a time; those that are no canary's may have all.
    pub(super) fn allows(&self, partition: i32, sequence: u64, under: Under) -> bool {
        let canary = self.by_version.get(&under.version);
        canary.is_none_or(|one| one.is_promoted(under.at) || one.takes(partition, sequence))
    }

    /// An event has arrived; what is wrong with it. Called in the order of arrival.
    pub(super) fn arrived(
        &mut self,
        assigned: &BTreeMap<i32, Vec<i64>>,
        partition: i32,
        sequence: u64,
        under: Under,
    ) -> Option<String> {
        let stretches = self.stretches.entry(partition).or_default();
        for other in stretches.iter_mut().filter(|other| other.version != under.version) {
            let canary = self.by_version.get(&other.version);
            let is_behind = other.passed.is_none() && sequence > other.last.0;
            if is_behind && canary.is_some_and(|canary| canary.takes(partition, sequence)) {
                other.passed = Some(sequence);
            }
        }
        let canary = self.by_version.get(&under.version)?;
        let now = (sequence, under.at);
        let same = stretches.iter_mut().find(|stretch| stretch.version == under.version);
        let Some(stretch) = same else {
            stretches.push(Stretch { version: under.version, last: now, passed: None });
            return None;
        };
        // A request that was sent again says nothing.
        if sequence <= stretch.last.0 {
            return None;
        }
        let before = std::mem::replace(&mut stretch.last, now);
        let passed = stretch.passed.take().filter(|passed| *passed < sequence)?;
        let is_moved = is_assigned_between(assigned, partition, before.1, under.at);
        (!is_moved && !canary.is_promoted(under.at)).then(|| {
            let record = stamp(partition, passed);
            format!(
                "{record} is in the half of the canary of version {}, which passed it over",
                under.version
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A canary of version 1 that was promoted at 50,000, and one of version 3 that was not.
    fn canaries() -> Canaries {
        let begun = [(1, "one".to_owned()), (3, "three".to_owned())];
        Canaries::new(&begun, &BTreeMap::from([("one".to_owned(), 50_000)]))
    }

    /// Records of a partition that are in the half of a canary, and records that are not.
    fn halves(version: u64) -> [Vec<u64>; 2] {
        let canaries = canaries();
        let canary = &canaries.by_version[&version];
        let (its, others) = (0..1_000).partition(|sequence| canary.takes(0, *sequence));
        [its, others]
    }

    #[test]
    fn a_candidate_has_its_half_and_all_once_it_is_promoted() {
        let canaries = canaries();
        for version in [1, 3] {
            let [its, others] = halves(version);
            assert!(its.len().abs_diff(others.len()) < 200, "{} {}", its.len(), others.len());
            let may = |sequence, at| canaries.allows(0, sequence, Under { version, at });
            assert!(may(its[0], 0) && !may(others[0], 47_999));
            assert_eq!(may(others[0], 48_000), version == 1);
        }
        assert!(canaries.allows(0, 0, Under { version: 2, at: 0 }));
        assert_eq!((canaries.version("three"), canaries.version("two")), (Some(3), None));
    }

    #[test]
    fn a_record_of_its_half_is_not_passed_over_while_the_partition_stays() {
        let assigned = BTreeMap::from([(0, vec![100_000])]);
        let [its, others] = halves(3);
        let wrong = |events: &[(u64, u64, i64)]| {
            let mut canaries = canaries();
            let arrive = |(sequence, version, at): &(u64, u64, i64)| {
                canaries.arrived(&assigned, 0, *sequence, Under { version: *version, at: *at })
            };
            events.iter().filter_map(arrive).count()
        };
        let late = others.iter().find(|other| **other > its[0] && **other < its[2]);
        let other = late.copied().unwrap_or(its[0]);
        // The other half goes on beside it, and its own half is the running version's before and after.
        assert_eq!(wrong(&[(its[0], 0, 0), (its[1], 3, 1), (other, 0, 2), (its[2], 3, 3)]), 0);
        assert_eq!(wrong(&[(its[0], 3, 0), (its[1], 0, 1), (its[2], 0, 2)]), 0);
        assert_eq!(wrong(&[(its[0], 3, 0), (its[1], 0, 1), (its[2], 3, 2)]), 1);
        // The partition came to a process between the two.
        assert_eq!(wrong(&[(its[0], 3, 0), (its[1], 0, 1), (its[2], 3, 100_001)]), 0);
        // A request that is sent again.
        assert_eq!(wrong(&[(its[0], 0, 0), (its[1], 3, 1), (its[0], 0, 2), (its[1], 3, 3)]), 0);

        // What was promoted may go by a rollback and come again by the next.
        let [own, _] = halves(1);
        assert_eq!(wrong(&[(own[0], 1, 0), (own[1], 0, 1), (own[2], 1, 47_999)]), 1);
        assert_eq!(wrong(&[(own[0], 1, 0), (own[1], 0, 1), (own[2], 1, 48_000)]), 0);
    }
}
