//! Every record's fate, read at the receivers: the emulator's books and the dead-letter topics.

use std::collections::{BTreeMap, BTreeSet};

use aep_emulator::LakeQuery;

use super::set_up::{Input, SetUp};
use crate::app::App;
use crate::id::Ids;
use crate::kafka::Peer;
use crate::record::Record;
use crate::settle::Settlement;

/// What was written, by pipeline and partition.
pub(super) struct Ledger {
    written: BTreeMap<String, BTreeMap<i32, i64>>,
    /// What the process says it filtered: no receiver can know.
    filtered: BTreeMap<String, usize>,
    /// The part of every message id that names topic and pipeline.
    prefixes: BTreeMap<String, String>,
}

/// What became of the records of one pipeline.
#[derive(Default)]
pub(super) struct Fates {
    /// Records written to the topic.
    pub(super) written: usize,
    /// Records of which the emulator has events.
    pub(super) delivered: BTreeSet<(i32, i64)>,
    /// Events in the emulator's lake.
    pub(super) events: usize,
    /// Events that its validator refused afterwards.
    pub(super) invalid: usize,
    /// Records in the dead-letter topic.
    pub(super) dead_lettered: BTreeSet<(i32, i64)>,
    /// Records that the process filtered.
    pub(super) filtered: usize,
    /// Records with no fate, or with two.
    pub(super) wrong: usize,
    /// An event worth looking at.
    pub(super) example: Option<String>,
    /// A dead letter worth looking at.
    pub(super) letter: Option<Record>,
}

impl Ledger {
    /// Nothing written yet.
    pub(super) fn new(set_up: &SetUp) -> Self {
        let config = &set_up.config;
        let mut prefixes = BTreeMap::new();
        for (name, pipeline) in &config.pipelines {
            for topic in &pipeline.topics {
                let ids = Ids::new("demo", topic, &pipeline.id_epoch, name);
                prefixes.insert(ids.prefix().to_owned(), name.clone());
            }
        }
        Self { written: BTreeMap::new(), filtered: BTreeMap::new(), prefixes }
    }

    /// Notes records written.
    pub(super) fn note(&mut self, input: &Input, partition: i32, count: usize) {
        let partitions = self.written.entry(input.pipeline.clone()).or_default();
        *partitions.entry(partition).or_default() += i64::try_from(count).unwrap_or_default();
    }

    /// Notes what the process filtered.
    pub(super) fn note_filtered(&mut self, app: &App) {
        for pipeline in self.written.keys() {
            let count = app.settled_as(&pipeline.as_str().into(), Settlement::Filtered);
            self.filtered.insert(pipeline.clone(), usize::try_from(count).unwrap_or_default());
        }
    }

    /// How many records were written.
    pub(super) fn written(&self) -> usize {
        let counts = self.written.values().flat_map(BTreeMap::values);
        counts.map(|count| usize::try_from(*count).unwrap_or_default()).sum()
    }

    /// Reads the receivers' books.
    pub(super) fn close(
        &self,
        set_up: &SetUp,
        peer: &Peer,
    ) -> anyhow::Result<BTreeMap<String, Fates>> {
        let mut fates: BTreeMap<String, Fates> = BTreeMap::new();
        for (pipeline, partitions) in &self.written {
            let written = partitions.values().sum::<i64>();
            fates.entry(pipeline.clone()).or_default().written = usize::try_from(written)?;
        }
        self.read_lake(set_up, &mut fates);
        for (name, pipeline) in &set_up.config.pipelines {
            let Some(fate) = fates.get_mut(name) else { continue };
            for letter in peer.read(&pipeline.dead_letter.topic)? {
                fate.dead_lettered.extend(position(&letter));
                fate.letter.get_or_insert(letter);
            }
        }
        for (name, fate) in &mut fates {
            let twice = fate.delivered.intersection(&fate.dead_lettered).count();
            let seen = fate.delivered.union(&fate.dead_lettered).count();
            fate.filtered = self.filtered.get(name).copied().unwrap_or_default();
            fate.wrong = twice + fate.written.abs_diff(seen + fate.filtered);
        }
        Ok(fates)
    }

    fn read_lake(&self, set_up: &SetUp, fates: &mut BTreeMap<String, Fates>) {
        let control = set_up.emulator.control();
        control.wait_validated(super::PATIENCE);
        let query = LakeQuery { limit: usize::MAX, entities: true, ..LakeQuery::default() };
        for entry in control.lake(&query) {
            let mut parts = entry.msg_id.split('.');
            let pipeline = parts.next().and_then(|prefix| self.prefixes.get(prefix));
            let numbers = (parts.next(), parts.next());
            let (Some(pipeline), (Some(partition), Some(offset))) = (pipeline, numbers) else {
                continue;
            };
            let Some(fate) = fates.get_mut(pipeline) else { continue };
            if let (Ok(partition), Ok(offset)) = (partition.parse(), offset.parse()) {
                fate.delivered.insert((partition, offset));
            }
            fate.events += 1;
            fate.invalid += usize::from(entry.invalid);
            if fate.example.is_none() {
                fate.example = entry.entity.as_ref().map(ToString::to_string);
            }
        }
    }
}

/// Where a dead letter's record was, from its headers.
fn position(letter: &Record) -> Option<(i32, i64)> {
    let number = |key: &str| {
        let header = letter.headers.iter().find(|header| header.key == key)?;
        std::str::from_utf8(header.value.as_ref()?).ok()
    };
    let partition = number("__connect.errors.partition")?.parse().ok()?;
    Some((partition, number("__connect.errors.offset")?.parse().ok()?))
}
