//! What one instance may use.

use std::time::Duration;

use wasmtime::ResourceLimiter;

use super::engine::{MAX_STACK_BYTES, TICK};
use crate::config;

/// Core instances that one component may consist of: Python's has about 20.
const MAX_CORE_INSTANCES: usize = 256;

/// Tables and memories that one component may consist of.
const MAX_TABLES: usize = 256;

/// A call with several records may use this part of the CPU budget. It says nothing about any
/// record but makes a batch with one poison record among 256 cost two budgets, not nine.
const SHARED_CALL: u32 = 8;

/// At the pace of the last call, the next one is cut to this part of the CPU budget.
const PACE: u32 = 32;

/// A call that uses this part of the CPU budget, twice the pace, is overdue.
const OVERDUE: u32 = 16;

/// What all items of one record may use in one step of a chain, in CPU budgets. A record that became
/// thousands of events would else have a budget for each of them.
const RECORD_BUDGETS: u32 = 16;

/// What a call may return, in bytes; and what may come of one record in one step, however large it is.
/// It is the same for every call, so that an answer that passes among others passes alone.
pub(super) const MAX_OUTPUT_BYTES: usize = 16 * 1024 * 1024;

/// What may come of a record in one step, in bytes, however small it is.
const MIN_OUTPUT_BYTES: usize = 4 * 1024 * 1024;

/// What may come of a record in one step, in times its own bytes: a table of short rows becomes
/// events with long names. Kafka's largest record by default, 1 MB, may become the 16 MiB.
const OUTPUT_FACTOR: usize = 16;

/// What may come of a record of so many bytes in one step of a chain, in bytes.
pub(super) fn output_room(bytes: usize) -> usize {
    bytes.saturating_mul(OUTPUT_FACTOR).clamp(MIN_OUTPUT_BYTES, MAX_OUTPUT_BYTES)
}

/// The limits of one instance, from the configuration of its plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Linear memories and tables together, in bytes.
    pub max_memory_bytes: u64,
    /// CPU time of a call for one record.
    pub max_cpu: Duration,
    /// Stack, in bytes.
    pub max_stack_bytes: usize,
}

impl From<&config::Plugin> for Limits {
    fn from(plugin: &config::Plugin) -> Self {
        Self {
            max_memory_bytes: plugin.max_memory_bytes,
            max_cpu: Duration::from_millis(plugin.max_cpu_ms),
            max_stack_bytes: plugin.max_stack_bytes.min(MAX_STACK_BYTES),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::from(&config::Plugin::default())
    }
}

impl Limits {
    /// The CPU time that a call with `records` records may use.
    pub(super) fn budget(&self, records: usize) -> Duration {
        if records <= 1 {
            return self.max_cpu;
        }
        // Below a few ticks the clock is too coarse.
        (self.max_cpu / SHARED_CALL).max(4 * TICK).min(self.max_cpu)
    }

    /// The CPU time that all items of one record may use in one step, give or take a call.
    pub(super) fn record_budget(&self) -> Duration {
        self.max_cpu * RECORD_BUDGETS
    }

    /// The CPU time after which a call is overdue: it has not failed, but its thread gives way.
    pub(super) fn overdue_after(&self) -> Duration {
        self.max_cpu / OVERDUE
    }

    /// How many records the next call may have, when the last took `cpu` for `records`.
    pub(super) fn next_call(&self, cpu: Duration, records: usize) -> usize {
        let room = (self.max_cpu / PACE).as_nanos();
        let each = cpu.as_nanos() / (records.max(1) as u128);
        usize::try_from(room.checked_div(each).unwrap_or(u128::MAX)).unwrap_or(usize::MAX).max(1)
    }
}

/// Counts what an instance has, and refuses what is beyond its limit.
pub(super) struct Meter {
    limit: u64,
    used: u64,
    /// What was refused in the present call, in bytes in all.
    pub(super) refused: Option<u64>,
}

impl Meter {
    /// A meter at nothing.
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, used: 0, refused: None }
    }

    /// Linear memories and tables, in bytes.
    pub(super) fn used(&self) -> u64 {
        self.used
    }

    /// Whether so much more may be had.
    fn grow(&mut self, current: usize, desired: usize, unit: u64) -> bool {
        let more = (desired.saturating_sub(current) as u64).saturating_mul(unit);
        let wanted = self.used.saturating_add(more);
        // Invariant 7: no growth beyond the limit.
        if wanted > self.limit {
            self.refused = Some(wanted);
            return false;
        }
        self.used = wanted;
        true
    }
}

impl ResourceLimiter for Meter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // Beyond its own maximum the growth fails anyway and costs nothing.
        Ok(maximum.is_some_and(|maximum| desired > maximum) || self.grow(current, desired, 1))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let beyond = maximum.is_some_and(|maximum| desired > maximum);
        Ok(beyond || self.grow(current, desired, size_of::<usize>() as u64))
    }

    fn instances(&self) -> usize {
        MAX_CORE_INSTANCES
    }

    fn tables(&self) -> usize {
        MAX_TABLES
    }

    fn memories(&self) -> usize {
        MAX_TABLES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn invariant_7_memories_and_tables_share_one_limit() {
        let mut meter = Meter::new(1_000);
        assert!(meter.memory_growing(0, 400, None).unwrap());
        assert!(meter.table_growing(0, 50, None).unwrap());
        assert_eq!(meter.used(), 800);
        assert!(!meter.memory_growing(400, 601, None).unwrap());
        assert_eq!((meter.used(), meter.refused), (800, Some(1_001)));
        assert!(meter.memory_growing(400, 600, None).unwrap());
    }

    #[test]
    fn a_growth_beyond_its_own_maximum_is_not_counted() {
        let mut meter = Meter::new(1_000);
        assert!(meter.memory_growing(0, 2_000, Some(100)).unwrap());
        assert_eq!((meter.used(), meter.refused), (0, None));
    }

    #[test]
    fn only_a_single_record_has_the_whole_budget() {
        let limits = Limits { max_cpu: SECOND, ..Limits::default() };
        assert_eq!(limits.budget(1), SECOND);
        assert_eq!(limits.budget(2), SECOND / 8);
        let short = Limits { max_cpu: Duration::from_millis(10), ..limits };
        assert_eq!(short.budget(2), short.max_cpu);
    }

    #[test]
    fn calls_are_cut_to_the_pace() {
        let limits = Limits { max_cpu: 32 * SECOND, ..Limits::default() };
        assert_eq!(limits.next_call(SECOND, 10), 10);
        assert_eq!(limits.next_call(10 * SECOND, 1), 1);
        assert_eq!(limits.next_call(Duration::ZERO, 10), usize::MAX);
    }
}
