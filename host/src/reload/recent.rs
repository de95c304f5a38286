//! The last real records of each pipeline, and what the gate makes of them.
//!
//! They are kept where `reload.recent_records` asks for it, in memory only, bounded in number and bytes.
#![expect(clippy::cast_precision_loss, reason = "counts and bytes are far below 2^52")]

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::compare::{Compare, CompareError, Comparison, Show};
use super::measure::measure;
use crate::config;
use crate::generation::Pipeline;
use crate::plugin::Hooks;
use crate::record::{PartitionId, Record};

/// What the records of all pipelines may weigh, in bytes: 256 records of 1 KB for each of 16
/// pipelines. They stand outside the budget in flight, which is given back when a record is settled.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// The most that are taken of one call, so that a busy pipeline pays for a few clones and not for each
/// record, and several partitions are among the last ones.
const MAX_OF_A_CALL: usize = 16;

/// The most records in one call while they are compared: between calls there is a look at the clock.
const CALL: usize = 16;

/// One of so many records is many.
const MANY: u64 = 10;

/// How long comparing may take: a plugin that loops costs its whole CPU budget on each record.
const PATIENCE: Duration = Duration::from_secs(20);

/// The last records of each pipeline.
#[derive(Default)]
pub struct Recent {
    /// The most of one pipeline; 0 keeps none.
    records: AtomicUsize,
    pipelines: Mutex<BTreeMap<Arc<str>, Ring>>,
}

/// The last records of one pipeline.
#[derive(Default)]
struct Ring {
    records: VecDeque<(PartitionId, Record)>,
    bytes: usize,
}

impl Ring {
    fn pop(&mut self) {
        if let Some((_, record)) = self.records.pop_front() {
            self.bytes -= record.weight();
        }
    }
}

impl Recent {
    /// Keeps the last so many of each pipeline from now on, and forgets the others.
    pub fn keep(&self, records: usize) {
        self.records.store(records, Ordering::Relaxed);
        let mut pipelines = self.pipelines.lock().unwrap_or_else(PoisonError::into_inner);
        for ring in pipelines.values_mut() {
            while ring.records.len() > records {
                ring.pop();
            }
        }
    }

    /// The most of one pipeline; 0 keeps none.
    pub fn kept(&self) -> usize {
        self.records.load(Ordering::Relaxed)
    }

    /// Notes the records of a call. The contents are shared with whoever holds them, not copied.
    pub fn note(&self, pipeline: &Arc<str>, partition: &PartitionId, records: &[Record]) {
        let most = self.kept();
        if most == 0 {
            return;
        }
        let mut pipelines = self.pipelines.lock().unwrap_or_else(PoisonError::into_inner);
        let others = pipelines.len() + usize::from(!pipelines.contains_key(pipeline));
        let ring = pipelines.entry(Arc::clone(pipeline)).or_default();
        for record in records.iter().take(MAX_OF_A_CALL) {
            ring.bytes += record.weight();
            ring.records.push_back((partition.clone(), record.clone()));
        }
        let room = MAX_BYTES / others.max(1);
        for kept in pipelines.values_mut() {
            while kept.records.len() > most || kept.bytes > room {
                kept.pop();
            }
        }
    }

    /// Those of a pipeline, the oldest first.
    pub fn of(&self, pipeline: &str) -> Vec<(PartitionId, Record)> {
        let pipelines = self.pipelines.lock().unwrap_or_else(PoisonError::into_inner);
        pipelines
            .get(pipeline)
            .map(|ring| ring.records.iter().cloned().collect())
            .unwrap_or_default()
    }

    /// Forgets those of pipelines that are gone.
    pub fn keep_only(&self, lives: impl Fn(&str) -> bool) {
        let mut pipelines = self.pipelines.lock().unwrap_or_else(PoisonError::into_inner);
        pipelines.retain(|name, _| lives(name));
    }
}

/// Invariant 10: shows no contents.
impl fmt::Debug for Recent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recent").field("records", &self.records).finish_non_exhaustive()
    }
}

/// What a candidate made of recent records.
#[derive(Debug)]
pub struct Proof {
    /// How it did beside what runs.
    pub comparison: Comparison,
    /// CPU time of the plugins for each record in microseconds, measured in turn, the running generation's first;
    /// none where it was not measured.
    pub cpu_us: Option<[f64; 2]>,
    /// What it may not become a generation for: the outcomes of records.
    pub refused: Option<String>,
    /// Likewise: what it costs.
    pub too_dear: Option<String>,
}

/// Runs recent records of a pipeline through what runs and through a candidate. The thread's stack must have
/// [`WORKER_STACK_BYTES`](crate::plugin::WORKER_STACK_BYTES).
pub fn prove(
    running: &Arc<Pipeline>,
    candidate: &Arc<Pipeline>,
    records: Vec<(PartitionId, Record)>,
    allowed: &config::Reload,
    hooks: &Hooks,
) -> Result<Proof, CompareError> {
    let mut compare = Compare::new(running, candidate, hooks, Show::default());
    let (given, calls) = (records.len() as u64, calls(records));
    let began = Instant::now();
    for (partition, call) in &calls {
        compare.run(partition, call)?;
        let bad = compare.comparison().newly_refused();
        // Enough is known, and each further record may cost a second.
        if bad > most(given, allowed) || began.elapsed() > PATIENCE {
            break;
        }
    }
    let comparison = compare.comparison();
    let name = &candidate.name;
    let refused = refused(name, &comparison, given, allowed);
    let cpu_us = if refused.is_some() {
        None
    } else if comparison.records < given {
        // Too slow to be measured further.
        Some([comparison.running.cpu_us, comparison.candidate.cpu_us])
    } else {
        measure(&mut compare, &calls).map_err(CompareError::Candidate)?
    };
    let too_dear = too_dear(name, &compare.comparison(), cpu_us, allowed);
    Ok(Proof { comparison, cpu_us, refused, too_dear })
}

/// Calls of records of one partition each, in offset order.
fn calls(mut records: Vec<(PartitionId, Record)>) -> Vec<(PartitionId, Vec<Record>)> {
    records.sort_by(|(a, one), (b, other)| a.cmp(b).then(one.offset.cmp(&other.offset)));
    // What was repeated may be there twice.
    records.dedup_by(|(a, one), (b, other)| a == b && one.offset == other.offset);
    let mut calls: Vec<(PartitionId, Vec<Record>)> = Vec::new();
    for (partition, record) in records {
        match calls.last_mut() {
            Some((last, call)) if *last == partition && call.len() < CALL => call.push(record),
            _ => calls.push((partition, vec![record])),
        }
    }
    calls
}

/// How many of so many records may be newly refused.
fn most(given: u64, allowed: &config::Reload) -> u64 {
    given * u64::from(allowed.max_newly_rejected_percent) / 100
}

/// Why a candidate is refused for what it makes of records.
fn refused(
    pipeline: &str,
    comparison: &Comparison,
    given: u64,
    allowed: &config::Reload,
) -> Option<String> {
    let bad = comparison.newly_refused();
    if bad <= most(given, allowed) {
        return None;
    }
    let reason = comparison.refusals.first().map_or_else(String::new, |refusal| {
        format!(", most of them for {}, the first at {}", refusal.why(), refusal.first)
    });
    let (seen, percent) = (comparison.records, allowed.max_newly_rejected_percent);
    // Once there are too many, the others are not tried.
    let seen = if seen < given { format!("the first {seen} of {given}") } else { seen.to_string() };
    Some(format!(
        "pipeline `{pipeline}`: of {seen} recent records, {bad} would become dead letters that are none now{reason}; \
         `reload.max_newly_rejected_percent` allows {percent} %: mend the plugin or the mapping, or raise it where \
         such records are to be refused"
    ))
}

/// Why a candidate is refused for what it costs.
fn too_dear(
    pipeline: &str,
    comparison: &Comparison,
    cpu_us: Option<[f64; 2]>,
    allowed: &config::Reload,
) -> Option<String> {
    // A record that was refused or filtered costs next to nothing; where many become events, that is no measure.
    let more = comparison.newly_accepted + comparison.newly_emitted;
    if let Some([before, after]) = cpu_us
        && after > f64::from(allowed.max_cpu_ratio) * before
        && more * MANY <= comparison.records
    {
        let (times, most) = (after / before, allowed.max_cpu_ratio);
        return Some(format!(
            "pipeline `{pipeline}`: the plugins use {after:.1} us of CPU a record and used {before:.1}, which is \
             {times:.1} times as much on the same recent records; `reload.max_cpu_ratio` allows {most}"
        ));
    }
    let [before, after] = [comparison.running, comparison.candidate].map(|cost| cost.memory_bytes);
    if before > 0 && after > u64::from(allowed.max_memory_ratio).saturating_mul(before) {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let (before, after, most) = (mib(before), mib(after), allowed.max_memory_ratio);
        return Some(format!(
            "pipeline `{pipeline}`: an instance of its plugins has {after:.1} MiB and had {before:.1} on the same \
             recent records; `reload.max_memory_ratio` allows {most} times as much"
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fault::{Code, Fault};
    use crate::plugin::{Outcome, StandIn};
    use crate::reload::compare::Cost;
    use crate::rig;

    const MIB: u64 = 1 << 20;

    fn partition(number: i32) -> PartitionId {
        PartitionId { topic: "orders".into(), partition: number }
    }

    fn record(offset: i64, bytes: usize) -> Record {
        Record { payload: Some(vec![b' '; bytes].into()), ..rig::record(offset) }
    }

    fn offsets(recent: &Recent, pipeline: &str) -> Vec<i64> {
        recent.of(pipeline).iter().map(|(_, record)| record.offset).collect()
    }

    #[test]
    fn the_last_records_are_kept_and_few_of_each_call() {
        let (recent, name) = (Recent::default(), "orders".into());
        recent.note(&name, &partition(0), &[record(0, 1)]);
        assert_eq!(offsets(&recent, "orders"), [0; 0], "nobody asked for any");
        recent.keep(20);
        let call: Vec<Record> = (0..100).map(|offset| record(offset, 1)).collect();
        recent.note(&name, &partition(0), &call);
        assert_eq!(offsets(&recent, "orders"), (0..16).collect::<Vec<_>>());
        recent.note(&name, &partition(0), &call[50..60]);
        assert_eq!(offsets(&recent, "orders"), (6..16).chain(50..60).collect::<Vec<_>>());
        recent.keep(3);
        assert_eq!(offsets(&recent, "orders"), [57, 58, 59]);
        recent.keep_only(|kept| kept != "orders");
        assert_eq!(offsets(&recent, "orders"), [0; 0]);
    }

    #[test]
    fn invariant_4_recent_records_of_all_pipelines_share_their_room() {
        let recent = Recent::default();
        recent.keep(1_000);
        for offset in 0..10 {
            for pipeline in ["a", "b"] {
                recent.note(&pipeline.into(), &partition(0), &[record(offset, 1_000_000)]);
            }
        }
        assert_eq!((offsets(&recent, "a"), offsets(&recent, "b")), (vec![8, 9], vec![8, 9]));
    }

    #[test]
    fn calls_hold_records_of_one_partition_in_order_and_once() {
        let one = |number, offset| (partition(number), record(offset, 1));
        let calls = calls(vec![one(1, 5), one(0, 7), one(1, 4), one(0, 7)]);
        let offsets: Vec<(i32, Vec<i64>)> = calls
            .iter()
            .map(|(id, records)| {
                (id.partition, records.iter().map(|record| record.offset).collect())
            })
            .collect();
        assert_eq!(offsets, [(0, vec![7]), (1, vec![4, 5])]);
    }

    const GOOD: StandIn = |_, records| records.iter().map(|_| event("{\"name\":\"n\"}")).collect();

    fn event(body: &str) -> Outcome {
        let body = body.to_owned();
        Outcome::Emit(vec![crate::record::Event { body, route: None, operation: None }])
    }

    fn proved(candidate: StandIn, allowed: &config::Reload) -> Proof {
        let schema = json!({"type": "object", "properties": {"name": {"type": "string"}}});
        let pipeline = |stand_in| Arc::new(rig::pipeline("g", &schema, stand_in));
        let records = (0..40).map(|offset| (partition(0), record(offset, 1))).collect();
        let hooks = Hooks::new(Arc::new(|_| ()));
        prove(&pipeline(GOOD), &pipeline(candidate), records, allowed, &hooks).unwrap()
    }

    #[test]
    fn a_candidate_that_rejects_or_spoils_what_is_good_is_refused_with_a_sentence() {
        let rejects: StandIn = |_, records| {
            let outcome = |record: &Record| match record.offset % 10 {
                3 => Outcome::Reject(Box::new(Fault::new(Code::Rejected, "no"))),
                _ => event("{\"name\":\"n\"}"),
            };
            records.iter().map(outcome).collect()
        };
        let strict = config::Reload::default();
        let refused = proved(rejects, &strict).refused.unwrap();
        assert_eq!(
            refused,
            "pipeline `orders`: of the first 16 of 40 recent records, 2 would become dead letters that are none now, most of \
             them for record.rejected, the first at orders-0@3; `reload.max_newly_rejected_percent` allows 0 %: \
             mend the plugin or the mapping, or raise it where such records are to be refused"
        );
        let lenient = config::Reload { max_newly_rejected_percent: 10, ..strict };
        let proof = proved(rejects, &lenient);
        assert_eq!((proof.refused, proof.comparison.newly_rejected), (None, 4));

        let spoils: StandIn = |_, records| records.iter().map(|_| event("{\"name\":1}")).collect();
        let spoilt = proved(spoils, &lenient).refused.unwrap();
        assert!(
            spoilt.contains("most of them for schema.invalid DCVS-1104-400 (expected type: String, found: Integer) at /name"),
            "{spoilt}"
        );
        assert_eq!(proved(GOOD, &strict).refused, None);
    }

    #[test]
    fn a_candidate_that_costs_too_much_is_refused_with_the_numbers() {
        let allowed = config::Reload::default();
        let cost = |memory_bytes| Cost { memory_bytes, ..Cost::default() };
        let comparison = |running, candidate| Comparison {
            running: cost(running),
            candidate: cost(candidate),
            ..Comparison::default()
        };
        let dear = |cpu, running, candidate| {
            too_dear("orders", &comparison(running, candidate), cpu, &allowed)
        };
        assert_eq!(dear(Some([10.0, 30.0]), MIB, 3 * MIB), None);
        assert_eq!(dear(None, 0, 100 * MIB), None);
        let mended = Comparison { records: 100, newly_accepted: 11, ..Comparison::default() };
        assert_eq!(too_dear("orders", &mended, Some([1.0, 30.0]), &allowed), None);
        let same = Comparison { newly_accepted: 10, ..mended };
        assert!(too_dear("orders", &same, Some([1.0, 30.0]), &allowed).is_some());
        assert_eq!(
            dear(Some([10.0, 52.14]), MIB, MIB).as_deref(),
            Some(
                "pipeline `orders`: the plugins use 52.1 us of CPU a record and used 10.0, which is 5.2 times as \
                 much on the same recent records; `reload.max_cpu_ratio` allows 3"
            )
        );
        let memory = dear(Some([10.0, 10.0]), MIB, 4 * MIB).unwrap();
        assert!(memory.contains("has 4.0 MiB and had 1.0"), "{memory}");
    }
}
