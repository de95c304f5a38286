//! The versions of the mapping that were given out, and those that receivers have seen. Pure.

use std::collections::BTreeSet;

/// One counter serves reloads and canaries: whether a version is odd says what it rejects.
#[derive(Debug, Default)]
pub(super) struct Versions {
    last: u64,
    /// Those of canaries.
    canaries: BTreeSet<u64>,
    seen: BTreeSet<u64>,
}

impl Versions {
    /// The next one, for the files that all processes read.
    pub(super) fn of_reload(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// The next one, for a candidate of one process.
    pub(super) fn of_canary(&mut self) -> u64 {
        self.last += 1;
        self.canaries.insert(self.last);
        self.last
    }

    /// Events of these have arrived.
    pub(super) fn see(&mut self, versions: BTreeSet<u64>) {
        self.seen.extend(versions);
    }

    /// Whether a version took effect: for a canary's only its own events show it, and they show nothing of a reload; a
    /// reload that is overtaken by the next one is shown by that.
    pub(super) fn shows(&self, version: u64) -> bool {
        if self.canaries.contains(&version) {
            return self.seen.contains(&version);
        }
        self.seen.range(version..).any(|seen| !self.canaries.contains(seen))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reload_is_shown_by_it_or_a_later_one_and_a_canary_by_itself() {
        let mut versions = Versions::default();
        let (first, canary) = (versions.of_reload(), versions.of_canary());
        let (second, other) = (versions.of_reload(), versions.of_canary());
        assert_eq!((first, canary, second, other), (1, 2, 3, 4));
        let shown = |of: &Versions| [1, 2, 3, 4].map(|version| of.shows(version));
        versions.see([0, 4].into());
        assert_eq!(shown(&versions), [false, false, false, true]);
        versions.see([3].into());
        assert_eq!(shown(&versions), [true, false, true, true]);
        versions.see([2].into());
        assert_eq!(shown(&versions), [true; 4]);
    }
}
