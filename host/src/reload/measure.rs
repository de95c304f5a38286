//! What a candidate's plugins cost beside those that run, on a machine that does other things.
#![expect(clippy::cast_precision_loss, reason = "counts and bytes are far below 2^52")]

use std::time::{Duration, Instant};

use super::compare::Compare;
use crate::plugin::RunError;
use crate::record::{PartitionId, Record};

/// The CPU time that a pass uses at least: the clock and the first look into cold caches are small
/// against it.
const PASS: Duration = Duration::from_millis(5);

/// Passes of each side, in turn. The fastest counts: whatever else goes on can only make a pass slower.
const PASSES: usize = 5;

/// The most that measuring may take. What is too slow to be measured in it was told by its first pass.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often the records are run in one pass at most.
const MAX_ROUNDS: u32 = 1_000;

/// The CPU time of the plugins for each record, the running generation's first, in microseconds. None where
/// plugins see no record, or there is no time.
pub(super) fn measure(
    compare: &mut Compare,
    calls: &[(PartitionId, Vec<Record>)],
) -> Result<Option<[f64; 2]>, RunError> {
    let records: usize = calls.iter().map(|(_, records)| records.len()).sum();
    let began = Instant::now();
    let mut best = [f64::INFINITY; 2];
    for _ in 0..PASSES {
        for (side, fastest) in compare.sides().into_iter().zip(&mut best) {
            let (mut used, mut rounds) = (Duration::ZERO, 0);
            while used < PASS && rounds < MAX_ROUNDS && began.elapsed() < PATIENCE {
                for (partition, call) in calls {
                    used += side.cost_of(partition, call)?;
                }
                rounds += 1;
            }
            if rounds > 0 {
                *fastest = fastest
                    .min(used.as_secs_f64() * 1e6 / (f64::from(rounds) * records.max(1) as f64));
            }
        }
    }
    Ok(best.iter().all(|cost| cost.is_finite() && *cost > 0.0).then_some(best))
}
