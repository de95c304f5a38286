//! Notices that too many records of a pipeline are dead-lettered, or make its plugin fail. Pure.

use std::sync::Arc;

use crate::config;

/// What is wrong with too many of the records settled last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Excess {
    /// They are dead-lettered, whatever for: a storm.
    DeadLetters(String),
    /// They make this plugin fail: it is quarantined.
    Plugin(Arc<str>, String),
}

/// The records settled last, of one pipeline.
#[derive(Debug)]
pub(super) struct Storm {
    dead: Window,
    failed: Window,
    /// The plugin that is quarantined.
    pub(super) quarantined: Option<Arc<str>>,
}

/// A share among the records settled last.
///
/// Counted in windows that do not overlap: a window is over after so many records, or as soon as its
/// share is too large. Dead letters and what is filtered are settled before what AEP has to answer for, and long before
/// where it is away: a share is too large only where it stays so should all that is undecided be good. So a bad deployment costs at most one window's allowance, twice where it begins
/// in the middle of one, and what was in flight.
#[derive(Debug)]
struct Window {
    percent: u64,
    records: u64,
    seen: u64,
    bad: u64,
}

impl Window {
    fn new(percent: u8, records: u64) -> Self {
        Self { percent: percent.into(), records, seen: 0, bad: 0 }
    }

    /// Notes a record, while so many others have no verdict yet; how many of how many are bad, where this is one too
    /// many.
    fn note(&mut self, bad: bool, undecided: &impl Fn() -> u64) -> Option<(u64, u64)> {
        self.seen += 1;
        self.bad += u64::from(bad);
        let is_over = |all: u64| self.bad * 100 > all * self.percent;
        if bad && self.percent < 100 && is_over(self.records) && is_over(self.seen + undecided()) {
            return Some((self.bad, self.seen));
        }
        if self.seen >= self.records {
            (self.seen, self.bad) = (0, 0);
        }
        None
    }
}

impl Storm {
    /// Nothing settled yet.
    pub(super) fn new(storm: config::Storm, quarantine: config::Quarantine) -> Self {
        let dead = Window::new(storm.percent, storm.records);
        let failed = Window::new(quarantine.percent, quarantine.records);
        Self { dead, failed, quarantined: None }
    }

    /// Notes a settlement: whether it was a dead letter, and of which plugin's failure, while so many records have no
    /// verdict yet. What to tell the operator, where this is one too many.
    pub(super) fn note(
        &mut self,
        dead: bool,
        blamed: Option<Arc<str>>,
        undecided: impl Fn() -> u64,
    ) -> Option<Excess> {
        // Both look at every record; the plugin's failure says more.
        let stormy = self.dead.note(dead, &undecided);
        let failing = self.failed.note(blamed.is_some(), &undecided);
        if let (Some((bad, seen)), Some(plugin)) = (failing, blamed) {
            let words = format!(
                "the plugin `{plugin}` is quarantined: it failed on {bad} of the last {seen} records; mend it, or raise `quarantine`"
            );
            self.quarantined = Some(Arc::clone(&plugin));
            return Some(Excess::Plugin(plugin, words));
        }
        stormy.map(|(bad, seen)| {
            Excess::DeadLetters(format!(
                "{bad} of the last {seen} records were dead-lettered; mend the plugin, its mapping or the source, or raise `dead_letter.storm`"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many records pass when every `one_in`th is dead-lettered; none where it never stops.
    fn passes(percent: u8, one_in: u64) -> Option<u64> {
        let mut storm = storm(percent, 100);
        (1..=10_000).find(|record| storm.note(record % one_in == 0, None, || 0).is_some())
    }

    fn storm(percent: u8, quarantine: u8) -> Storm {
        let quarantine = config::Quarantine { percent: quarantine, records: 100 };
        Storm::new(config::Storm { percent, records: 100 }, quarantine)
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

    #[test]
    fn invariant_11_what_waits_for_a_verdict_may_be_good() {
        let halts_with = |undecided: u64| {
            let mut storm = storm(50, 10);
            (1..=10_000).find(|n| storm.note(n % 3 != 0, None, || n * undecided / 3).is_some())
        };
        // Of each ten records two are rejected, one filtered, and seven are on their way to an AEP that is away.
        assert_eq!((halts_with(0), halts_with(7)), (Some(76), None));
        // Of each ten records six are rejected, and four on their way.
        let mut bad = storm(50, 10);
        assert_eq!((1..=1_000).find(|n| bad.note(true, None, || n * 4 / 6).is_some()), Some(51));
    }

    #[test]
    fn a_plugin_that_fails_is_quarantined_before_there_is_a_storm() {
        let mut storm = storm(50, 10);
        // What a plugin rejects, or AEP refuses, is not its failure.
        assert!((0..50).all(|_| storm.note(true, None, || 0).is_none()));
        assert!((0..50).all(|_| storm.note(false, None, || 0).is_none()));
        let mut found = (1..=100).filter_map(|_| storm.note(true, Some("pos".into()), || 0));
        let Some(Excess::Plugin(plugin, words)) = found.next() else { panic!("no quarantine") };
        assert_eq!(&*plugin, "pos");
        assert!(words.contains("it failed on 11 of the last 11 records"), "{words}");
    }
}
