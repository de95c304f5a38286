//! The last faults, for `/status`: how many, and where the last one was. No messages.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::fault::Code;
use crate::record::PartitionId;

use super::labels::PipelineCode;
use super::metrics::Metrics;

/// Counts faults of records, in the metrics and by their last place. Cheap to clone.
#[derive(Clone)]
pub struct Faults {
    metrics: Metrics,
    seen: Arc<Mutex<Seen>>,
}

/// By pipeline and code.
type Seen = BTreeMap<(Arc<str>, Code), FaultSeen>;

/// What is known of one code in one pipeline.
#[derive(Clone, Debug)]
pub struct FaultSeen {
    /// How many.
    pub count: u64,
    /// The partition of the last one.
    pub partition: PartitionId,
    /// The offset of the last one.
    pub offset: i64,
    /// When the last one was.
    pub at: Instant,
}

impl Faults {
    /// Counts into these metrics.
    pub fn new(metrics: Metrics) -> Self {
        Self { metrics, seen: Arc::default() }
    }

    /// Counts one fault. Invariant 10: its code and its place, nothing of what it says.
    pub fn count(&self, pipeline: &Arc<str>, code: Code, partition: &PartitionId, offset: i64) {
        let labels = PipelineCode { pipeline: Arc::clone(pipeline), code: code.as_str() };
        self.metrics.faults.get_or_create(&labels).inc();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let partition = partition.clone();
        let at = Instant::now();
        let entry = seen.entry((Arc::clone(pipeline), code)).or_insert_with(|| FaultSeen {
            count: 0,
            partition: partition.clone(),
            offset,
            at,
        });
        *entry = FaultSeen { count: entry.count + 1, partition, offset, at };
    }

    /// Everything that was seen, by pipeline and code.
    pub fn seen(&self) -> Vec<(Arc<str>, Code, FaultSeen)> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter().map(|((pipeline, code), s)| (Arc::clone(pipeline), *code, s.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_place_is_kept() {
        let faults = Faults::new(Metrics::default());
        let pipeline: Arc<str> = "orders".into();
        let partition = PartitionId { topic: "orders".into(), partition: 3 };
        faults.count(&pipeline, Code::SchemaInvalid, &partition, 7);
        faults.count(&pipeline, Code::SchemaInvalid, &partition, 9);
        let seen = faults.seen();
        assert_eq!((seen[0].2.count, seen[0].2.offset), (2, 9));
        let page = faults.metrics.encode().unwrap();
        assert!(page.contains("xylem_faults_total{pipeline=\"orders\",code=\"schema.invalid\"} 2"));
    }
}
