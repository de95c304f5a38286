//! The fate ledger: joins what was written with the receivers' books. Pure.
//!
//! | rule | held by |
//! | --- | --- |
//! | every record has exactly one fate, the one that its content asks for | `lost`, `wrong` |
//! | a repeated event has its first id | `other_id` |
//! | first arrivals of a partition stand in offset order (promise 3) | `out_of_order` |
//! | a record that came again after an unclean end may meet another generation; counted apart | `two_fates` |
//! | a repeat follows an unclean end or an unknown outcome; it is counted | `repeats`, `letters_again` |

use std::collections::BTreeMap;

use serde::Serialize;

use super::load::{Expected, expected};

/// How many examples of each mistake are kept.
const EXAMPLES: usize = 5;

/// What became of the records so far.
#[derive(Debug)]
pub(super) struct Ledger {
    partitions: BTreeMap<i32, Vec<Fate>>,
    /// The highest record of each partition that has arrived.
    highest: BTreeMap<i32, u64>,
    verdict: Verdict,
}

/// What became of one record.
#[derive(Clone, Debug, Default)]
struct Fate {
    /// The id under which it arrived first.
    id: Option<Box<str>>,
    letters: u32,
    /// It first arrived behind a later one, which is in order where it was a dead letter before.
    late: bool,
}

impl Fate {
    /// Delivered or dead-lettered; both only where it came again.
    fn is_either(&self, unclean: bool) -> bool {
        match (&self.id, self.letters) {
            (Some(_), 0) => true,
            (None, letters) => letters > 0,
            (Some(_), _) => unclean,
        }
    }
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
    /// Records that one generation delivered and another dead-lettered: they came again after an unclean end.
    pub(super) two_fates: u64,
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

    fn out_of_order(&mut self, partition: i32, sequence: u64) {
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
    pub(super) fn new(written: &BTreeMap<i32, u64>) -> Self {
        let fates = |count: &u64| vec![Fate::default(); usize::try_from(*count).unwrap_or(0)];
        let partitions = written.iter().map(|(partition, n)| (*partition, fates(n))).collect();
        let verdict = Verdict { written: written.values().sum(), ..Verdict::default() };
        Self { partitions, highest: BTreeMap::new(), verdict }
    }

    fn fate(&mut self, partition: i32, sequence: u64) -> Option<&mut Fate> {
        self.partitions.get_mut(&partition)?.get_mut(usize::try_from(sequence).ok()?)
    }

    /// An event was accepted; called in the order of arrival.
    pub(super) fn arrived(&mut self, partition: i32, sequence: u64, id: &str) {
        let Some(fate) = self.fate(partition, sequence) else {
            return self.strange(&format!("an event of no record: {id}"));
        };
        if let Some(first) = &fate.id {
            let other = (**first != *id).then(|| first.clone());
            self.verdict.repeats += 1;
            if let Some(before) = other {
                self.verdict.other_id += 1;
                self.verdict.note(|| format!("{before} came again as {id}"));
            }
            return;
        }
        fate.id = Some(id.into());
        let highest = self.highest.entry(partition).or_default();
        let after = *highest;
        *highest = sequence.max(after);
        if sequence >= after {
            return;
        }
        match (expected(sequence), self.fate(partition, sequence)) {
            (Expected::Either, Some(fate)) => fate.late = true,
            _ => self.verdict.out_of_order(partition, sequence),
        }
    }

    /// The dead-letter topic holds a record.
    pub(super) fn dead_lettered(&mut self, partition: i32, sequence: u64) {
        match self.fate(partition, sequence) {
            Some(fate) => fate.letters += 1,
            None => self.strange(&format!("a dead letter of no record: {partition}-{sequence}")),
        }
    }

    /// Something that no record explains.
    pub(super) fn strange(&mut self, words: &str) {
        self.verdict.strange += 1;
        self.verdict.note(|| words.to_owned());
    }

    /// Whether every record has its fate; filtered ones count when their offsets are committed. `unclean` says
    /// whether any process or assignment ended so that records came again.
    pub(super) fn close(self, unclean: bool) -> Verdict {
        let mut verdict = self.verdict;
        for (partition, fates) in &self.partitions {
            for (sequence, fate) in (0_u64..).zip(fates) {
                let wanted = expected(sequence);
                if fate.late && fate.letters == 0 {
                    verdict.out_of_order(*partition, sequence);
                }
                verdict.delivered += u64::from(fate.id.is_some());
                verdict.dead_lettered += u64::from(fate.letters > 0);
                verdict.letters_again += u64::from(fate.letters.saturating_sub(1));
                let right = match wanted {
                    Expected::Delivered => fate.id.is_some() && fate.letters == 0,
                    Expected::Rejected | Expected::Refused => fate.id.is_none() && fate.letters > 0,
                    Expected::Filtered => fate.id.is_none() && fate.letters == 0,
                    Expected::Either => fate.is_either(unclean),
                };
                verdict.two_fates += u64::from(right && fate.id.is_some() && fate.letters > 0);
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A whole run of 200 records in one partition.
    fn whole() -> Ledger {
        let mut ledger = Ledger::new(&BTreeMap::from([(0, 200)]));
        for sequence in 0..200 {
            match expected(sequence) {
                Expected::Delivered => ledger.arrived(0, sequence, &format!("id.{sequence}")),
                Expected::Rejected | Expected::Refused | Expected::Either => {
                    ledger.dead_lettered(0, sequence);
                }
                Expected::Filtered => {}
            }
        }
        ledger
    }

    #[test]
    fn a_whole_run_holds_and_repeats_are_counted() {
        let mut ledger = whole();
        ledger.arrived(0, 1, "id.1");
        ledger.dead_lettered(0, 13);
        let verdict = ledger.close(true);
        assert!(verdict.holds(), "{verdict:?}");
        assert_eq!((verdict.repeats, verdict.letters_again), (1, 1));
        assert_eq!(
            verdict.delivered + verdict.filtered + verdict.dead_lettered - verdict.two_fates,
            200
        );
    }

    #[test]
    fn two_fates_take_two_generations_and_an_unclean_end() {
        let both = || {
            let mut ledger = whole();
            ledger.arrived(0, 133, "id.133");
            ledger
        };
        // It came behind 199, as what is sent again does.
        let verdict = both().close(true);
        assert!(verdict.two_fates == 1 && verdict.holds(), "{verdict:?}");
        assert_eq!(both().close(false).wrong, 1);
        let mut late = Ledger::new(&BTreeMap::from([(0, 200)]));
        late.arrived(0, 199, "id.199");
        late.arrived(0, 133, "id.133");
        assert_eq!(late.close(true).out_of_order, 1, "it was no dead letter before");
    }

    #[test]
    fn every_mistake_is_seen() {
        let written = BTreeMap::from([(0, 3)]);
        let lost = Ledger::new(&written).close(true);
        assert_eq!((lost.lost, lost.holds()), (3, false));

        let mut twice = whole();
        twice.dead_lettered(0, 1);
        assert_eq!(twice.close(true).wrong, 1);
        let mut unfiltered = whole();
        unfiltered.arrived(0, 5, "id.5");
        assert_eq!(unfiltered.close(true).wrong, 1);

        let mut other = whole();
        other.arrived(0, 1, "id.one");
        assert_eq!(other.close(true).other_id, 1);

        let mut order = Ledger::new(&written);
        for sequence in [0, 2, 1] {
            order.arrived(0, sequence, "id");
        }
        assert_eq!(order.close(true).out_of_order, 1);

        let mut strange = whole();
        strange.arrived(0, 200, "id.200");
        strange.dead_lettered(7, 0);
        assert_eq!(strange.close(true).strange, 2);
    }
}
