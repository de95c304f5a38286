//! The fate ledger: joins what was written with the receivers' books. Pure.
//!
//! | rule | held by |
//! | --- | --- |
//! | every record has exactly one fate, the one that its content asks for | `lost`, `wrong` |
//! | a repeated event has its first id | `other_id` |
//! | first arrivals of a partition stand in offset order (promise 3) | `out_of_order` |
//! | a repeat follows an unclean end or an unknown outcome; it is counted | `repeats`, `letters_again` |
//! | a repeat may meet another generation, and then another fate, where its partition was assigned anew between the two; counted | `other_generation`, `two_generations`, else `wrong` |
//! | a canary has its half of the records while it runs, whole and no more, and all once it is promoted ([`Canaries`]) | `wrong` |

use std::collections::BTreeMap;

use serde::Serialize;

use super::canaries::Canaries;
use super::load::{Expected, expected, stamp};

/// How long before a partition's assignment its former process may have sent what arrives after it: a request
/// on its way, in milliseconds.
const LATE: i64 = 2_000;

/// How many examples of each mistake are kept.
const EXAMPLES: usize = 5;

/// What became of the records so far.
#[derive(Debug)]
pub(super) struct Ledger {
    partitions: BTreeMap<i32, Vec<Fate>>,
    /// The highest record of each partition that has arrived.
    highest: BTreeMap<i32, u64>,
    /// When each partition came to a process.
    assigned: BTreeMap<i32, Vec<i64>>,
    canaries: Canaries,
    /// The generations that dead letters name.
    generations: BTreeMap<String, u32>,
    verdict: Verdict,
}

/// What became of one record.
#[derive(Clone, Debug, Default)]
struct Fate {
    /// The id under which it arrived first.
    id: Option<Box<str>>,
    /// How it arrived last.
    under: Option<Under>,
    letters: u32,
    /// It first arrived behind a later one.
    late: bool,
    /// When its last dead letter was written, and under which generation.
    letter_at: i64,
    letter_of: u32,
}

/// Under which version of the mapping an event was made, and when it arrived, in milliseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(super) struct Under {
    pub(super) version: u64,
    pub(super) at: i64,
}

/// What the books say.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Verdict {
    /// Records written.
    pub(super) written: u64,
    /// Records whose event was accepted.
    pub(super) delivered: u64,
    /// Records that the mapping filters, and of which no receiver knows.
    pub(super) filtered: u64,
    /// Records in the dead-letter topic.
    pub(super) dead_lettered: u64,
    /// Events that were accepted again.
    pub(super) repeats: u64,
    /// Dead letters that were written again.
    pub(super) letters_again: u64,
    /// Those of both that another generation made than the time before.
    pub(super) other_generation: u64,
    /// Records that were delivered under one generation and dead-lettered under another, with a new assignment of
    /// their partition between.
    pub(super) two_generations: u64,
    /// Records without a fate.
    pub(super) lost: u64,
    /// Records with two fates, or another than their content asks for.
    pub(super) wrong: u64,
    /// Repeats under another id.
    pub(super) other_id: u64,
    /// Events that first arrived behind a later one of their partition.
    pub(super) out_of_order: u64,
    /// Things that no record explains.
    pub(super) strange: u64,
    /// The first mistakes, in words.
    pub(super) examples: Vec<String>,
}

impl Verdict {
    /// Whether every promise held.
    pub(super) fn holds(&self) -> bool {
        self.lost + self.wrong + self.other_id + self.out_of_order + self.strange == 0
    }

    fn late(&mut self, partition: i32, sequence: u64) {
        self.out_of_order += 1;
        self.note(|| format!("partition {partition}: {sequence} after a later one"));
    }

    fn note(&mut self, words: impl FnOnce() -> String) {
        if self.examples.len() < EXAMPLES {
            self.examples.push(words());
        }
    }
}

impl Ledger {
    /// So many records in each partition.
    pub(super) fn new(
        written: &BTreeMap<i32, u64>,
        assigned: BTreeMap<i32, Vec<i64>>,
        canaries: Canaries,
    ) -> Self {
        let fates = |count: &u64| vec![Fate::default(); usize::try_from(*count).unwrap_or(0)];
        let partitions = written.iter().map(|(partition, n)| (*partition, fates(n))).collect();
        let verdict = Verdict { written: written.values().sum(), ..Verdict::default() };
        Self {
            partitions,
            highest: BTreeMap::new(),
            assigned,
            canaries,
            generations: BTreeMap::new(),
            verdict,
        }
    }

    fn fate(&mut self, partition: i32, sequence: u64) -> Option<&mut Fate> {
        self.partitions.get_mut(&partition)?.get_mut(usize::try_from(sequence).ok()?)
    }

    /// An event was accepted; called in the order of arrival.
    pub(super) fn arrived(&mut self, partition: i32, sequence: u64, id: &str, under: Under) {
        let Some(fate) = self.fate(partition, sequence) else {
            return self.strange(&format!("an event of no record: {id}"));
        };
        let former = fate.under.replace(under);
        if let Some(before) = former.filter(|before| before.version != under.version) {
            self.met_another(partition, sequence, [before.at, under.at], || {
                format!("came under versions {} and {}", before.version, under.version)
            });
        }
        if expected(sequence) == Expected::Either && under.version % 2 == 1 {
            self.wrong(|| format!("{id} was delivered under version {}", under.version));
        }
        self.held_to_its_half(partition, sequence, under);
        if let Some(words) = self.canaries.arrived(&self.assigned, partition, sequence, under) {
            self.wrong(|| words);
        }
        let Some(known) = self.fate(partition, sequence) else { return };
        if let Some(first) = &known.id {
            let other = (**first != *id).then(|| first.clone());
            self.verdict.repeats += 1;
            if let Some(before) = other {
                self.verdict.other_id += 1;
                self.verdict.note(|| format!("{before} came again as {id}"));
            }
            return;
        }
        known.id = Some(id.into());
        let highest = self.highest.entry(partition).or_default();
        let after = *highest;
        *highest = sequence.max(after);
        if sequence >= after {
            return;
        }
        match self.fate(partition, sequence) {
            // In order where it was a dead letter before: the books of those are read later.
            Some(late) if expected(sequence) == Expected::Either => late.late = true,
            _ => self.verdict.late(partition, sequence),
        }
    }

    /// The dead-letter topic holds a record, written under a generation.
    pub(super) fn dead_lettered(
        &mut self,
        partition: i32,
        sequence: u64,
        at: i64,
        generation: &str,
    ) {
        let of = self.number(generation);
        let Some(fate) = self.fate(partition, sequence) else {
            return self.strange(&format!("a dead letter of no record: {partition}-{sequence}"));
        };
        fate.letters += 1;
        let is_again = fate.letters > 1;
        let before = std::mem::replace(&mut fate.letter_at, at);
        if std::mem::replace(&mut fate.letter_of, of) != of && is_again {
            self.met_another(partition, sequence, [before, at], || {
                "became a dead letter under two generations".to_owned()
            });
        }
        let Some(version) = self.canaries.version(generation) else { return };
        if expected(sequence) == Expected::Either && version % 2 == 0 {
            let record = stamp(partition, sequence);
            self.wrong(|| format!("{record} was rejected under version {version}"));
        }
        self.held_to_its_half(partition, sequence, Under { version, at });
    }

    /// The number of a generation that dead letters name.
    fn number(&mut self, generation: &str) -> u32 {
        if let Some(known) = self.generations.get(generation) {
            return *known;
        }
        let next = u32::try_from(self.generations.len()).unwrap_or(u32::MAX);
        self.generations.insert(generation.to_owned(), next);
        next
    }

    /// A record came again, of another generation.
    fn met_another(
        &mut self,
        partition: i32,
        sequence: u64,
        [before, now]: [i64; 2],
        words: impl FnOnce() -> String,
    ) {
        if is_assigned_between(&self.assigned, partition, before, now) {
            self.verdict.other_generation += 1;
            return;
        }
        self.wrong(|| format!("{} {} of one assignment", stamp(partition, sequence), words()));
    }

    /// A record of the other half is no canary's before it is promoted.
    fn held_to_its_half(&mut self, partition: i32, sequence: u64, under: Under) {
        if !self.canaries.allows(partition, sequence, under) {
            let (record, version) = (stamp(partition, sequence), under.version);
            self.wrong(|| {
                format!("{record} is not in the half of the canary of version {version}")
            });
        }
    }

    fn wrong(&mut self, words: impl FnOnce() -> String) {
        self.verdict.wrong += 1;
        self.verdict.note(words);
    }

    /// Something that no record explains.
    pub(super) fn strange(&mut self, words: &str) {
        self.verdict.strange += 1;
        self.verdict.note(|| words.to_owned());
    }

    /// Whether every record has its fate; filtered ones count when their offsets are committed.
    pub(super) fn close(self) -> Verdict {
        let mut verdict = self.verdict;
        for (partition, fates) in &self.partitions {
            for (sequence, fate) in (0_u64..).zip(fates) {
                let wanted = expected(sequence);
                if fate.late && fate.letters == 0 {
                    verdict.late(*partition, sequence);
                }
                verdict.delivered += u64::from(fate.id.is_some());
                verdict.dead_lettered += u64::from(fate.letters > 0);
                verdict.letters_again += u64::from(fate.letters.saturating_sub(1));
                let right = match wanted {
                    Expected::Delivered => fate.id.is_some() && fate.letters == 0,
                    Expected::Rejected | Expected::Refused => fate.id.is_none() && fate.letters > 0,
                    Expected::Filtered => fate.id.is_none() && fate.letters == 0,
                    Expected::Either => match (&fate.under, fate.letters > 0) {
                        (Some(under), true) => {
                            let (event, letter) = (under.at, fate.letter_at);
                            let explained =
                                is_assigned_between(&self.assigned, *partition, event, letter);
                            verdict.two_generations += u64::from(explained);
                            explained
                        }
                        (arrived, letter) => arrived.is_some() != letter,
                    },
                };
                verdict.filtered += u64::from(wanted == Expected::Filtered && right);
                if right {
                    continue;
                }
                if fate.id.is_none() && fate.letters == 0 {
                    verdict.lost += 1;
                } else {
                    verdict.wrong += 1;
                }
                verdict.note(|| {
                    let letters = fate.letters;
                    let arrived = fate.id.is_some();
                    format!("{partition}-{sequence} should be {wanted:?}: arrived {arrived}, {letters} dead letters")
                });
            }
        }
        verdict
    }
}

/// Whether a partition came to a process between two times, whichever was first.
pub(super) fn is_assigned_between(
    assigned: &BTreeMap<i32, Vec<i64>>,
    partition: i32,
    one: i64,
    other: i64,
) -> bool {
    let between = one.min(other).saturating_sub(LATE)..=one.max(other);
    assigned.get(&partition).is_some_and(|times| times.iter().any(|at| between.contains(at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The version that was in place first, at a time.
    fn at(at: i64) -> Under {
        Under { version: 0, at }
    }

    fn empty(records: u64) -> Ledger {
        let assigned = BTreeMap::from([(0, vec![100_000])]);
        // Of version 3, never promoted.
        let canaries = Canaries::new(&[(3, "three".to_owned())], &BTreeMap::new());
        Ledger::new(&BTreeMap::from([(0, records)]), assigned, canaries)
    }

    /// A whole run of 200 records in one partition.
    fn whole() -> Ledger {
        let mut ledger = empty(200);
        for sequence in 0..200 {
            match expected(sequence) {
                Expected::Delivered | Expected::Either => {
                    ledger.arrived(0, sequence, &format!("id.{sequence}"), at(0));
                }
                Expected::Rejected | Expected::Refused => ledger.dead_lettered(0, sequence, 0, "g"),
                Expected::Filtered => {}
            }
        }
        ledger
    }

    #[test]
    fn a_whole_run_holds_and_repeats_are_counted() {
        let mut ledger = whole();
        ledger.arrived(0, 1, "id.1", at(1));
        ledger.dead_lettered(0, 13, 1, "g");
        let verdict = ledger.close();
        assert!(verdict.holds(), "{verdict:?}");
        assert_eq!((verdict.repeats, verdict.letters_again), (1, 1));
        assert_eq!(verdict.delivered + verdict.filtered + verdict.dead_lettered, 200);
    }

    #[test]
    fn every_mistake_is_seen() {
        let lost = empty(3).close();
        assert_eq!((lost.lost, lost.holds()), (3, false));

        let mut twice = whole();
        twice.dead_lettered(0, 1, 0, "g");
        assert_eq!(twice.close().wrong, 1);
        let mut unfiltered = whole();
        unfiltered.arrived(0, 5, "id.5", at(0));
        assert_eq!(unfiltered.close().wrong, 1);

        let mut other = whole();
        other.arrived(0, 1, "id.one", at(0));
        assert_eq!(other.close().other_id, 1);

        let mut order = empty(3);
        for sequence in [0, 2, 1] {
            order.arrived(0, sequence, "id", at(0));
        }
        assert_eq!(order.close().out_of_order, 1);

        let mut strange = whole();
        strange.arrived(0, 200, "id.200", at(0));
        strange.dead_lettered(7, 0, 0, "g");
        assert_eq!(strange.close().strange, 2);
    }

    #[test]
    fn two_generations_of_a_record_need_an_assignment_between() {
        // Record 3 was delivered at 0; its partition came to a process at 100,000.
        let mut explained = whole();
        explained.dead_lettered(0, 3, 100_001, "g");
        explained.dead_lettered(0, 13, 100_001, "h");
        explained.arrived(0, 1, "id.1", Under { version: 1, at: 100_001 });
        let verdict = explained.close();
        assert!(verdict.holds(), "{verdict:?}");
        assert_eq!((verdict.two_generations, verdict.other_generation), (1, 2));

        let mut fate = whole();
        fate.dead_lettered(0, 3, 99_999, "g");
        assert_eq!(fate.close().wrong, 1);
        let mut event = whole();
        event.arrived(0, 1, "id.1", Under { version: 1, at: 99_999 });
        assert_eq!(event.close().wrong, 1);
        let mut letters = whole();
        letters.dead_lettered(0, 13, 99_999, "h");
        assert_eq!(letters.close().wrong, 1);
        // What was a dead letter first may be delivered behind later ones; nothing else may.
        for (letter, late) in [(true, 0), (false, 1)] {
            let mut again = empty(200);
            again.arrived(0, 199, "id.199", at(0));
            if letter {
                again.dead_lettered(0, 3, 0, "g");
            }
            again.arrived(0, 3, "id.3", at(100_001));
            assert_eq!(again.close().out_of_order, late);
        }
        // An event of a version that rejects such records.
        let mut mixed = empty(4);
        mixed.arrived(0, 3, "id.3", Under { version: 1, at: 0 });
        assert_eq!(mixed.close().wrong, 1);
    }

    #[test]
    fn a_canary_is_held_to_its_half_by_events_and_dead_letters() {
        let canaries = || empty(200).canaries;
        let may = |sequence: &u64| canaries().allows(0, *sequence, Under { version: 3, at: 0 });
        let of = |wanted: Expected, its: bool| {
            (0..200).find(|n| expected(*n) == wanted && may(n) == its).unwrap()
        };
        for (its, wrong) in [(true, 0), (false, 1)] {
            let mut event = empty(200);
            event.arrived(0, of(Expected::Delivered, its), "id", Under { version: 3, at: 0 });
            assert_eq!(event.verdict.wrong, wrong);
            let mut letter = empty(200);
            letter.dead_lettered(0, of(Expected::Either, its), 0, "three");
            assert_eq!(letter.verdict.wrong, wrong);
        }
        // Passed over.
        let its: Vec<u64> =
            (0..200).filter(|n| may(n) && expected(*n) == Expected::Delivered).take(3).collect();
        let mut passed = empty(200);
        for (sequence, version) in its.into_iter().zip([3, 2, 3]) {
            passed.arrived(0, sequence, "id", Under { version, at: 0 });
        }
        assert_eq!(passed.verdict.wrong, 1);
        // An even version rejects none of these.
        let even =
            Canaries::new(&[(2, "two".to_owned())], &BTreeMap::from([("two".to_owned(), 0)]));
        let mut rejected = Ledger { canaries: even, ..empty(4) };
        rejected.dead_lettered(0, 3, 0, "two");
        assert_eq!(rejected.verdict.wrong, 1);
    }
}
