//! The budget of bytes in flight.

use std::sync::atomic::{AtomicUsize, Ordering};

/// One budget for everything in flight in this process (promise 4).
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    used: AtomicUsize,
}

impl Budget {
    /// A budget of `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { limit, used: AtomicUsize::new(0) }
    }

    /// Bytes in flight.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// The most bytes in flight.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Whether half of it is in use: the other half is for the partitions' shares.
    pub fn is_tight(&self) -> bool {
        self.used() >= self.limit / 2
    }

    /// Whether it is clearly below that half.
    pub fn has_eased(&self) -> bool {
        self.used() < self.limit / 8 * 3
    }

    /// Whether there is so much room that nobody's share matters.
    pub fn is_easy(&self) -> bool {
        self.used() < self.limit / 4
    }

    /// What one partition may hold in any case, however many others are stuck: the half that is left
    /// when the budget is tight, divided.
    pub fn share(&self, partitions: usize) -> usize {
        self.limit / 2 / partitions.max(8)
    }

    /// Adds to what is in flight.
    pub(crate) fn charge(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Takes from what is in flight.
    pub(crate) fn release(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invariant_4_all_shares_together_fit_what_is_left_when_it_is_tight() {
        let budget = Budget::new(64 << 20);
        budget.charge(32 << 20);
        assert!(budget.is_tight());
        for partitions in [1, 7, 8, 9, 1000] {
            assert!(budget.used() + budget.share(partitions) * partitions <= budget.limit());
        }
        assert_eq!(budget.share(1), 4 << 20);
    }
}
