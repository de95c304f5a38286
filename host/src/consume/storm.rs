//! Notices that too many records of a pipeline are dead-lettered. Pure.

use crate::config;

/// Dead letters among the records settled last, of one pipeline.
///
/// Counted in windows that do not overlap: a window is over after so many records, or as soon as it
/// has too many dead letters. So a bad deployment costs at most one window's allowance, twice where
/// it begins in the middle of one, and what was in flight.
#[derive(Debug)]
pub(super) struct Storm {
    settings: config::Storm,
    settled: u64,
    dead: u64,
}

impl Storm {
    /// Nothing settled yet.
    pub(super) fn new(settings: config::Storm) -> Self {
        Self { settings, settled: 0, dead: 0 }
    }

    /// Notes a settlement. What to tell the operator, where this is one dead letter too many.
    pub(super) fn note(&mut self, dead: bool) -> Option<String> {
        self.settled += 1;
        self.dead += u64::from(dead);
        let config::Storm { percent, records } = self.settings;
        if dead && percent < 100 && self.dead * 100 > records * u64::from(percent) {
            return Some(format!(
                "{} of the last {} records were dead-lettered; mend the plugin, its mapping or the source, and start \
                 again, or raise `dead_letter.storm`",
                self.dead, self.settled
            ));
        }
        if self.settled >= records {
            (self.settled, self.dead) = (0, 0);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many records pass when every `one_in`th is dead-lettered; none where it never stops.
    fn passes(percent: u8, one_in: u64) -> Option<u64> {
        let mut storm = Storm::new(config::Storm { percent, records: 100 });
        (1..=10_000).find(|record| storm.note(record % one_in == 0).is_some())
    }

    #[test]
    fn a_storm_is_more_than_its_share_of_a_window() {
        assert_eq!(passes(50, 1), Some(51));
        assert_eq!(passes(50, 2), None);
        assert_eq!(passes(10, 5), Some(55));
        assert_eq!(passes(10, 10), None);
        assert_eq!(passes(100, 1), None);
        assert_eq!(passes(0, 100), Some(100));
    }
}
