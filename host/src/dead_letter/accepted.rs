//! The list of a record's events that AEP has taken, as a dead letter's header holds it.

use std::ops::RangeInclusive;

/// Writes rising indexes as `0-3,5`: of thousands of events one may be refused, and a header is no
/// place for thousands of numbers.
pub(super) fn write(indexes: &[usize]) -> String {
    let mut ranges: Vec<RangeInclusive<usize>> = Vec::new();
    for &index in indexes {
        match ranges.last_mut() {
            Some(last) if last.end() + 1 == index => *last = *last.start()..=index,
            _ => ranges.push(index..=index),
        }
    }
    let texts = ranges.iter().map(|range| match (range.start(), range.end()) {
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first}-{last}"),
    });
    texts.collect::<Vec<_>>().join(",")
}

/// Events of a record that AEP has taken already.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    ranges: Vec<RangeInclusive<usize>>,
}

impl Accepted {
    /// Reads the header's text; none where it is no such list.
    pub(super) fn read(text: &str) -> Option<Self> {
        let range = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            Some(first.parse().ok()?..=last.parse().ok()?)
        };
        let ranges: Option<Vec<_>> = text.split(',').map(range).collect();
        ranges.map(|ranges| Self { ranges })
    }

    /// Whether the event at this index was taken.
    pub fn contains(&self, index: usize) -> bool {
        self.ranges.iter().any(|range| range.contains(&index))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn neighbours_are_a_range() {
        for (indexes, text) in
            [(&[0][..], "0"), (&[0, 1, 2, 3, 5], "0-3,5"), (&[2, 4, 6, 7], "2,4,6-7")]
        {
            assert_eq!(write(indexes), text);
        }
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for text in ["", "a", "1,,2", "1-", "-1", "1,2,", "1 2"] {
            assert_eq!(Accepted::read(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(indexes in proptest::collection::btree_set(0_usize..200, 1..50)) {
            let list: Vec<usize> = indexes.iter().copied().collect();
            let read = Accepted::read(&write(&list)).unwrap();
            // One by one too, as letters of older versions have them.
            let plain: Vec<String> = list.iter().map(ToString::to_string).collect();
            let older = Accepted::read(&plain.join(",")).unwrap();
            for index in 0..200 {
                prop_assert_eq!(read.contains(index), indexes.contains(&index));
                prop_assert_eq!(older.contains(index), indexes.contains(&index));
            }
        }
    }
}
