//! A canary: a share of the keys goes to a candidate, the rest to the generation that runs, until the [`Rule`] says
//! which of them goes on.
//!
//! Both sides deliver. A key's records go to one side throughout, in every process of the group (they are chosen by a
//! hash of the key and the candidate's name), and each record begins and ends under one generation (Invariant 5).
//! Both sides have the same topics, destinations and schemas: only chains may differ.
#![expect(clippy::cast_precision_loss, reason = "counts and bytes are far below 2^52")]

mod rule;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use rule::{Rule, Verdict};

use self::rule::{Sides, decide};
use super::beside::{Beside, Taken, Trial};
use super::counts::{Counts, SideReport};
use crate::dead_letter::Origin;
use crate::generation::{Generation, Pipeline};
use crate::plugin::{Outcome, RunError};
use crate::record::{PartitionId, Position, Record};

/// How keys are divided: what workers see of a canary.
pub struct Split {
    pairs: BTreeMap<Arc<str>, Arc<Pair>>,
}

impl Split {
    /// The two sides of a pipeline, where it is the running generation's own and the canary stands.
    pub(super) fn pair(&self, pipeline: &Arc<Pipeline>) -> Option<Arc<Pair>> {
        let pair = self.pairs.get(&pipeline.name)?;
        (Arc::ptr_eq(&pair.of, pipeline) && pair.stands()).then(|| Arc::clone(pair))
    }
}

/// The two sides of one pipeline.
pub struct Pair {
    /// What was counted, the running side's first.
    counts: [Arc<Counts>; 2],
    /// The running generation's own.
    of: Arc<Pipeline>,
    /// The same, counted.
    running: Arc<Pipeline>,
    candidate: Arc<Pipeline>,
    /// Hashes below this belong to the candidate.
    below: u64,
    /// What the hash begins with.
    salt: Salt,
    rule: Rule,
    is_over: AtomicBool,
    /// Why it is over before the rule was asked.
    broken: Mutex<Option<String>>,
}

impl Pair {
    fn new(
        of: &Arc<Pipeline>,
        candidate: &Arc<Pipeline>,
        salt: &str,
        settings: &CanarySettings,
    ) -> Arc<Self> {
        let counts = [Counts::default(), Counts::of_candidate()].map(Arc::new);
        let counted = |pipeline: &Arc<Pipeline>, side: &Arc<Counts>| {
            let side = Some(Arc::clone(side));
            let origin = Arc::new(Origin { counts: side, ..(*pipeline.origin).clone() });
            Arc::new(Pipeline { origin, ..(**pipeline).clone() })
        };
        Arc::new(Self {
            of: Arc::clone(of),
            running: counted(of, &counts[0]),
            candidate: counted(candidate, &counts[1]),
            counts,
            below: part(settings.share),
            rule: settings.rule,
            salt: Salt::of(salt),
            is_over: AtomicBool::new(false),
            broken: Mutex::default(),
        })
    }

    /// The side of the running generation.
    pub fn running(&self) -> &Arc<Pipeline> {
        &self.running
    }

    /// The side of the candidate.
    pub fn candidate(&self) -> &Arc<Pipeline> {
        &self.candidate
    }

    /// Whether a record is the candidate's: its key decides, or its position where it has none.
    pub fn takes(&self, partition: &PartitionId, record: &Record) -> bool {
        let key = record.key.as_deref();
        self.salt.hash(key, partition.partition, record.offset) < self.below
    }

    /// The side that a record belongs to.
    pub fn side(&self, is_candidates: bool) -> &Arc<Pipeline> {
        if is_candidates { &self.candidate } else { &self.running }
    }

    /// The candidate has no instance: from now on all records are the running generation's.
    pub fn give_up(&self, error: &RunError) {
        let pipeline = &self.of.name;
        self.break_off(|| format!("pipeline `{pipeline}`: the candidate has no instance: {error}"));
    }

    /// Whether keys are divided. They are not any more once the candidate is clearly bad.
    fn stands(&self) -> bool {
        if self.is_over.load(Ordering::Acquire) {
            return false;
        }
        let [old, new] = self.counts.each_ref();
        let is_bad = self.rule.is_clearly_bad(old.bad_of(), new.bad_of());
        if is_bad {
            let (running, candidate) = (old.report(), new.report());
            let sides = Sides { pipeline: &self.of.name, running: &running, candidate: &candidate };
            self.break_off(|| sides.shares());
        }
        !is_bad
    }

    /// From now on all records are the running generation's.
    fn break_off(&self, why: impl FnOnce() -> String) {
        let mut broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
        if broken.is_none() {
            *broken = Some(why());
        }
        self.is_over.store(true, Ordering::Release);
    }

    fn counts(&self) -> [Arc<Counts>; 2] {
        self.counts.clone()
    }
}

/// By what records are divided: the same in every process of the group.
#[derive(Clone, Copy, Debug)]
pub struct Salt([u8; 32]);

impl Salt {
    /// That of a candidate, by the name of its generation.
    pub fn of(candidate: &str) -> Self {
        Self(*blake3::hash(candidate.as_bytes()).as_bytes())
    }

    /// A number for a record's key, or for its position where it has none.
    pub fn hash(&self, key: Option<&[u8]>, partition: i32, offset: i64) -> u64 {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        match key {
            Some(key) => hasher.update(key),
            None => hasher.update(&partition.to_le_bytes()).update(&offset.to_le_bytes()),
        };
        let mut first = [0; 8];
        hasher.finalize_xof().fill(&mut first);
        u64::from_le_bytes(first)
    }
}

/// This share of all numbers.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share is from 0 to 1, and `as` stays within the numbers"
)]
pub fn part(share: f64) -> u64 {
    (share.clamp(0.0, 1.0) * u64::MAX as f64) as u64
}

/// The outcomes of both sides in the order of the records, up to the first record that has none: what comes
/// after it is not handed on before it (Invariant 3). `sides` says which records are the candidate's.
pub fn merge(sides: &[bool], running: Vec<Outcome>, candidate: Vec<Outcome>) -> Vec<Outcome> {
    let mut outcomes = Vec::with_capacity(running.len() + candidate.len());
    let (mut running, mut candidate) = (running.into_iter(), candidate.into_iter());
    for is_candidates in sides {
        let Some(outcome) = (if *is_candidates { candidate.next() } else { running.next() }) else {
            break;
        };
        outcomes.push(outcome);
    }
    outcomes
}

/// A canary that runs or has ended.
pub struct Canary {
    /// None once it has ended, so that nothing of the candidate stays but what was counted.
    split: Mutex<Option<Arc<Split>>>,
    /// What was counted, the running side's first.
    counts: BTreeMap<Arc<str>, [Arc<Counts>; 2]>,
    beside: Arc<Beside>,
    rule: Rule,
    share: f64,
    names: [Arc<str>; 2],
    began: Instant,
    ended: Mutex<Option<Ended>>,
}

/// How it ended.
#[derive(Clone)]
struct Ended {
    state: CanaryState,
    reason: String,
    took: Duration,
}

/// What is asked of a canary.
#[derive(Clone, Copy, Debug)]
pub struct CanarySettings {
    /// The share of keys that go to the candidate, from 0 to 1.
    pub share: f64,
    /// By what it is judged.
    pub rule: Rule,
}

impl Default for CanarySettings {
    fn default() -> Self {
        // Few enough to mend by hand, many enough to tell within minutes.
        Self { share: 0.05, rule: Rule::default() }
    }
}

/// Where a canary is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CanaryState {
    /// Keys are divided.
    Running,
    /// The candidate takes all keys.
    Promoted,
    /// All keys are back.
    RolledBack,
}

/// What came of a canary.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CanaryReport {
    /// Where it is.
    pub state: CanaryState,
    /// Why; none while it runs.
    pub reason: Option<String>,
    /// The generation that runs.
    pub running: String,
    /// The candidate.
    pub candidate: String,
    /// The share of keys that go to the candidate.
    pub share: f64,
    /// How long it has run, in seconds.
    pub seconds: f64,
    /// Records that the candidate mapped.
    pub mapped_records: u64,
    /// Those of them that are dead letters.
    pub affected_records: u64,
    /// Both sides, by pipeline.
    pub pipelines: BTreeMap<String, PairReport>,
}

/// Both sides of a pipeline.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct PairReport {
    /// What runs.
    pub running: SideReport,
    /// The candidate.
    pub candidate: SideReport,
}

/// Why there is no canary.
#[derive(Debug, thiserror::Error)]
pub enum CanaryError {
    /// Something runs beside already.
    #[error(transparent)]
    Taken(#[from] Taken),
    /// The two generations differ in more than chains, or not at all.
    #[error("{0}")]
    Unfit(String),
}

impl Canary {
    /// Divides keys from now on. Once another generation runs, it is over without a word.
    pub fn start(
        beside: &Arc<Beside>,
        running: &Generation,
        candidate: &Generation,
        settings: &CanarySettings,
    ) -> Result<Self, CanaryError> {
        let differing = differing(running, candidate).map_err(CanaryError::Unfit)?;
        let pair = |[of, candidate_side]: &[Arc<Pipeline>; 2]| {
            (Arc::clone(&of.name), Pair::new(of, candidate_side, &candidate.name, settings))
        };
        let split = Arc::new(Split { pairs: differing.iter().map(pair).collect() });
        beside.put(Trial::Canary(Arc::clone(&split)))?;
        let sides = split.pairs.iter().map(|(name, two)| (Arc::clone(name), two.counts()));
        Ok(Self {
            counts: sides.collect(),
            split: Mutex::new(Some(split)),
            beside: Arc::clone(beside),
            rule: settings.rule,
            share: settings.share,
            names: [Arc::clone(&running.name), Arc::clone(&candidate.name)],
            began: Instant::now(),
            ended: Mutex::default(),
        })
    }

    /// What the rule says by now; none where the canary goes on, or has ended. Whoever asks carries it out.
    pub fn judge(&self, now: Instant) -> Option<Verdict> {
        let split = self.split().clone()?;
        for pair in split.pairs.values() {
            if let Some(why) = &*pair.broken.lock().unwrap_or_else(PoisonError::into_inner) {
                return Some(Verdict::RollBack(why.clone()));
            }
        }
        let reports = self.reports();
        let pipelines: Vec<Sides<'_>> = reports
            .iter()
            .map(|(pipeline, PairReport { running, candidate })| Sides {
                pipeline,
                running,
                candidate,
            })
            .collect();
        decide(&pipelines, &self.rule, now.saturating_duration_since(self.began))
    }

    /// Ends it: another generation, the candidate, has taken the place of what ran.
    pub fn promoted(&self, why: &str) {
        self.end(CanaryState::Promoted, why);
    }

    /// Ends it, where it has not ended: all keys are the running generation's.
    pub fn roll_back(&self, why: &str) {
        self.end(CanaryState::RolledBack, why);
    }

    fn end(&self, state: CanaryState, reason: &str) {
        let mut ended = self.ended();
        if ended.is_some() {
            return;
        }
        // Calls under way end under the side that they began with.
        if let Some(split) = self.split().take() {
            if state == CanaryState::RolledBack {
                // Workers leave their instances there; nobody will want them.
                split.pairs.values().for_each(|pair| pair.candidate.chain.warm.bound(0));
            }
            self.beside.take(&Trial::Canary(split));
        }
        let [_, candidate] = &self.names;
        tracing::info!(%candidate, promoted = (state == CanaryState::Promoted), reason, "canary");
        *ended = Some(Ended { state, reason: reason.to_owned(), took: self.began.elapsed() });
    }

    /// What came of it so far. Verdicts that come late are counted after the end, too.
    pub fn report(&self) -> CanaryReport {
        let ended = self.ended().clone();
        let pipelines = self.reports();
        let [running, candidate] = self.names.each_ref().map(ToString::to_string);
        CanaryReport {
            state: ended.as_ref().map_or(CanaryState::Running, |ended| ended.state),
            reason: ended.as_ref().map(|ended| ended.reason.clone()),
            running,
            candidate,
            share: self.share,
            seconds: ended.map_or_else(|| self.began.elapsed(), |ended| ended.took).as_secs_f64(),
            mapped_records: pipelines.values().map(|pair| pair.candidate.records).sum(),
            affected_records: pipelines.values().map(|pair| pair.candidate.dead_letters()).sum(),
            pipelines,
        }
    }

    fn reports(&self) -> BTreeMap<String, PairReport> {
        let report = |(name, [running, candidate]): (&Arc<str>, &[Arc<Counts>; 2])| {
            let (running, candidate) = (running.report(), candidate.report());
            (name.to_string(), PairReport { running, candidate })
        };
        self.counts.iter().map(report).collect()
    }

    fn split(&self) -> MutexGuard<'_, Option<Arc<Split>>> {
        self.split.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ended(&self) -> MutexGuard<'_, Option<Ended>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        self.roll_back("nobody holds it any more");
    }
}

/// The pipelines whose chains differ; or why a canary cannot tell the two generations apart.
fn differing(
    running: &Generation,
    candidate: &Generation,
) -> Result<Vec<[Arc<Pipeline>; 2]>, String> {
    let names = |generation: &Generation| generation.pipelines.keys().cloned().collect::<Vec<_>>();
    if names(running) != names(candidate) {
        return Err("a canary needs the same pipelines on both sides; reload instead".to_owned());
    }
    let mut differing = Vec::new();
    for (ours, theirs) in running.pipelines.values().zip(candidate.pipelines.values()) {
        if let Some(what) = unfit(ours, theirs) {
            return Err(format!(
                "a canary needs the same {what} on both sides, and pipeline `{}` has others; reload instead",
                ours.name
            ));
        }
        if !Arc::ptr_eq(&ours.chain, &theirs.chain) {
            differing.push([Arc::clone(ours), Arc::clone(theirs)]);
        }
    }
    if differing.is_empty() {
        return Err("the candidate's chains are those that run: there is nothing to try".to_owned());
    }
    Ok(differing)
}

/// What two pipelines must share and do not.
fn unfit(ours: &Pipeline, theirs: &Pipeline) -> Option<&'static str> {
    let routes = ours.routes.len() == theirs.routes.len();
    let all = |same: fn(&crate::generation::Route, &crate::generation::Route) -> bool| {
        routes && ours.routes.iter().zip(&theirs.routes).all(|(one, other)| same(one, other))
    };
    [
        (ours.topics == theirs.topics, "topics"),
        (ours.id_epoch == theirs.id_epoch, "`id_epoch`"),
        (ours.origin.topic == theirs.origin.topic, "dead-letter topic"),
        (all(|one, other| one.schema_hash == other.schema_hash), "schemas"),
        (
            all(|one, other| one.name == other.name && one.settings == other.settings),
            "destinations",
        ),
    ]
    .into_iter()
    .find_map(|(is_same, what)| (!is_same).then_some(what))
}

/// A page for people.
impl fmt::Display for CanaryReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (running, candidate) = (&self.running, &self.candidate);
        let (share, seconds) = (self.share * 100.0, self.seconds);
        let state = match self.state {
            CanaryState::Running => "runs",
            CanaryState::Promoted => "promoted",
            CanaryState::RolledBack => "rolled back",
        };
        writeln!(
            f,
            "canary: generation {candidate} beside {running}, {share:.1} % of keys, {seconds:.1} s: {state}"
        )?;
        if let Some(reason) = &self.reason {
            writeln!(f, "{reason}")?;
        }
        let (mapped, affected) = (self.mapped_records, self.affected_records);
        writeln!(
            f,
            "{mapped} records were mapped by the candidate, {affected} of them are dead letters"
        )?;
        for (name, PairReport { running: old, candidate: new }) in &self.pipelines {
            writeln!(f, "pipeline {name:<22} {:>12} {:>12}", "running", "candidate")?;
            let rows = [
                ("records", old.records, new.records),
                ("delivered", old.delivered, new.delivered),
                ("filtered", old.filtered, new.filtered),
                ("rejected", old.rejected, new.rejected),
                ("invalid", old.invalid, new.invalid),
                ("refused by AEP", old.refused, new.refused),
                ("plugin failed", old.failed, new.failed),
                ("plugin out of CPU time", old.deadlines, new.deadlines),
                ("memory, KiB", old.memory_bytes / 1024, new.memory_bytes / 1024),
            ];
            for (word, ours, theirs) in rows {
                writeln!(f, "  {word:<29} {ours:>12} {theirs:>12}")?;
            }
            writeln!(f, "  {:<29} {:>12.1} {:>12.1}", "CPU a record, us", old.cpu_us, new.cpu_us)?;
            let first: Vec<String> =
                new.first_dead_letters.iter().map(Position::to_string).collect();
            if !first.is_empty() {
                writeln!(f, "  first dead letters of the candidate: {}", first.join(", "))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
