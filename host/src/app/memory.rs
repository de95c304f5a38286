//! Whether the memory that everything may take is there (design decision 22).

use super::worker_count;
use crate::config::Config;
use crate::generation::Generation;
use crate::plugin::memory_left;

const MIB: u64 = 1024 * 1024;

/// What plugins and records may take together, at their limits.
#[derive(Clone, Copy)]
struct Most {
    /// Threads that run plugins, without the spares.
    workers: u64,
    /// The plugins of all chains.
    plugins: u64,
    /// What one instance of each may take, in bytes.
    instances_bytes: u64,
    /// The budget in flight, in bytes.
    in_flight_bytes: u64,
}

/// Says so, where the limits together go beyond the memory that is left.
pub(super) fn warning(config: &Config, generation: &Generation) -> Option<String> {
    let plugins = || generation.pipelines.values().flat_map(|pipeline| &pipeline.chain.plugins);
    let most = Most {
        workers: worker_count(config) as u64,
        plugins: plugins().count() as u64,
        instances_bytes: plugins().map(|plugin| plugin.limits.max_memory_bytes).sum(),
        in_flight_bytes: config.limits.in_flight_bytes as u64,
    };
    most.beyond(memory_left()?)
}

impl Most {
    /// The warning, where `left` bytes are too few.
    fn beyond(self, left: u64) -> Option<String> {
        // Those of the generation before are kept for the way back, a set for each worker.
        let instances = self.workers.saturating_mul(3).saturating_mul(self.instances_bytes);
        let most = instances.saturating_add(self.in_flight_bytes);
        if most <= left {
            return None;
        }
        let [most, left, instances, in_flight] =
            [most, left, instances, self.in_flight_bytes].map(|bytes| bytes.div_ceil(MIB));
        Some(format!(
            "plugins and records in flight may take {most} MiB and {left} MiB of memory are left: {} \
             plugin(s) on {} worker(s), as many spares and as many kept for a rollback up to {instances} MiB, records in flight \
             {in_flight} MiB; lower `limits.workers`, a plugin's `max_memory_bytes` or \
             `limits.in_flight_bytes`, or give the container more",
            self.plugins, self.workers
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_together_are_held_against_what_is_left() {
        let most =
            Most { workers: 4, plugins: 2, instances_bytes: 96 * MIB, in_flight_bytes: 64 * MIB };
        assert_eq!(most.beyond(1216 * MIB), None);
        assert_eq!(
            most.beyond(1216 * MIB - 1).unwrap(),
            "plugins and records in flight may take 1216 MiB and 1216 MiB of memory are left: 2 \
             plugin(s) on 4 worker(s), as many spares and as many kept for a rollback up to 1152 MiB, records in \
             flight 64 MiB; lower `limits.workers`, a plugin's `max_memory_bytes` or `limits.in_flight_bytes`, or \
             give the container more"
        );
    }
}
