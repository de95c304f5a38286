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

    /// Whether nothing more should be fetched.
    pub fn is_spent(&self) -> bool {
        self.used() >= self.limit
    }

    /// What one partition may hold for itself: an eighth, or less where many are assigned, so that
    /// all shares together fit and no partition that is stuck can starve another.
    pub fn share(&self, partitions: usize) -> usize {
        self.limit / partitions.max(8)
    }

    pub(super) fn charge(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn release(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invariant_4_all_shares_together_fit_the_budget() {
        let budget = Budget::new(64 << 20);
        for partitions in [1, 7, 8, 9, 1000] {
            assert!(budget.share(partitions) * partitions <= budget.limit());
        }
        assert_eq!(budget.share(1), 8 << 20);
    }
}
