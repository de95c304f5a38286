//! What tests of swaps share: a pipeline whose plugin says in each event which build of it made it, and a load
//! that goes on meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aep_emulator::{Emulator, LakeQuery, Settings, Style};
use xylem_bench_order::workload;
use xylem_tests::kafka::Client;
use xylem_tests::versions::{Stamped, Versions};
use xylem_tests::{eventually, guests, repository};

use crate::world::{ORGANISATION, World};

/// Events that the guest `stamp` makes of a record.
pub(crate) const EVENTS: u64 = 3;

pub(crate) const PARTITIONS: i32 = 2;

/// Records that are written together to each partition.
const PORTION: u64 = 50;

/// Between two portions: what runs is to keep up with them on a busy machine.
const PAUSE: Duration = Duration::from_millis(20);

/// A world of stamped events.
pub(crate) fn world(kafka: &'static Client) -> World {
    let settings =
        Settings { org: Some(ORGANISATION.to_owned()), validate: false, ..Settings::default() };
    let world = World::new(kafka, PARTITIONS, Style::Production);
    World { emulator: Emulator::start(settings).unwrap(), ..world }
}

/// A configuration whose plugin lies beside it.
pub(crate) fn configuration(world: &World, settings: &str) -> String {
    format!(
        "kafka: {{brokers: '{brokers}', group: {group}, start: earliest, session_timeout_ms: 6000}}
aep: {{organisation: {ORGANISATION}}}
quota: {{messages_per_second: 1000000, requests_per_second: 1000000}}
reload: {{recent_records: 128, watch: false}}
plugins: {{candidate: {{component: candidate.wasm, max_cpu_ms: 100}}}}
destinations:
  orders:
    inlet: {inlet}
    dataset: orders
    schema: {{id: 'https://ns.adobe.com/acme/schemas/stamped', file: {schema}}}
    batch: {{linger_ms: 20, max_messages: 500}}
pipelines:
  orders:
    topics: [{topic}]
    chain: [{{plugin: candidate, settings: {settings}}}]
    destinations: [orders]
    dead_letter: {{topic: {dead}}}
",
        brokers = world.kafka.bootstrap(),
        group = world.group,
        inlet = world.emulator.inlet_url("orders"),
        schema = repository().join("tests/guests/stamp/schema.json").display(),
        topic = world.topic,
        dead = world.dead,
    )
}

/// Puts a plugin where the configuration in the folder expects it.
pub(crate) fn lay(folder: &Path, component: impl AsRef<[u8]>) {
    guests::lay(&folder.join("candidate.wasm"), component);
}

/// Writes orders until told to stop.
pub(crate) fn load(world: &World, stop: &AtomicBool) {
    let mut next = 0;
    while !stop.load(Ordering::Relaxed) {
        world.kafka.produce_stamped(
            &world.topic,
            0..PARTITIONS,
            next..next + PORTION,
            |_, sequence| workload::order(sequence).into_bytes(),
        );
        next += PORTION;
        std::thread::park_timeout(PAUSE);
    }
}

/// How many records each partition holds.
pub(crate) fn ends(world: &World) -> BTreeMap<i32, u64> {
    let ends = world.kafka.ends(&world.topic).into_iter();
    ends.map(|(partition, end)| (partition, u64::try_from(end).unwrap())).collect()
}

/// Waits until everything is committed.
pub(crate) fn wait_committed(world: &World) {
    eventually(|| {
        let ends = world.kafka.ends(&world.topic);
        let committed = world.kafka.committed(&world.group, &world.topic);
        if committed == ends { Ok(()) } else { Err(format!("{committed:?} of {ends:?}")) }
    });
}

/// What arrived, in the order of arrival.
pub(crate) fn arrivals(world: &World) -> Vec<Stamped> {
    let query = LakeQuery { limit: usize::MAX, entities: true, ..LakeQuery::default() };
    let lake = world.emulator.control().lake(&query);
    let stamped = lake.iter().map(|entry| {
        let id: Vec<&str> = entry.msg_id.split('.').collect();
        Stamped {
            partition: id[1].parse().unwrap(),
            offset: id[2].parse().unwrap(),
            index: id[4].parse().unwrap(),
            version: guests::version_of(entry.entity.as_ref().unwrap().get().as_bytes()).unwrap(),
        }
    });
    stamped.collect()
}

/// Enters what arrived in the books.
pub(crate) fn books(arrivals: &[Stamped]) -> Versions {
    let mut versions = Versions::new(EVENTS);
    for event in arrivals {
        versions.arrive(*event);
    }
    versions
}

/// Fails unless of each record some version made all events. After a kill a record may come again under
/// another version than before.
pub(crate) fn assert_whole(arrivals: &[Stamped]) {
    let mut versions: BTreeMap<(i32, u64), BTreeMap<u64, BTreeSet<u64>>> = BTreeMap::new();
    for Stamped { partition, offset, index, version } in arrivals {
        let of = versions.entry((*partition, *offset)).or_default();
        of.entry(*version).or_default().insert(*index);
    }
    for (place, versions) in versions {
        let whole = versions.values().any(|indexes| indexes.len() as u64 == EVENTS);
        assert!(whole, "{place:?} is of two versions: {versions:?}");
    }
}
