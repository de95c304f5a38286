//! `xylem run` between a real Kafka and the emulator, all in order.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use xylem_bench_order::workload;
use xylem_tests::{Scene, kafka, within};

/// Promises 1 to 3 where nothing fails (`invariant_1`, `invariant_2`, `invariant_3`): each order
/// arrives exactly once, in order within its partition, and all is committed at the end.
#[test]
fn orders_arrive_once_in_order_and_are_committed() {
    within(Duration::from_mins(5), || {
        const PARTITIONS: i32 = 8;
        const EACH: u64 = 25_000;
        let Some(kafka) = kafka::shared() else { return };
        let scene = Scene::orders(kafka, PARTITIONS);
        let xylem = scene.start();
        let number = |partition: i32, sequence: u64| {
            u64::try_from(partition).unwrap() * 1_000_000 + sequence
        };
        kafka.produce_stamped(scene.topic(), 0..PARTITIONS, 0..EACH, |partition, sequence| {
            workload::order(number(partition, sequence)).into_bytes()
        });
        scene.wait_accepted(u64::try_from(PARTITIONS).unwrap() * EACH);
        let (status, _) = xylem.stop();
        assert_eq!(status.code(), Some(0));

        let mut next = BTreeMap::new();
        let delivered = scene.delivered();
        for event in &delivered {
            let sequence: &mut u64 = next.entry(event.partition).or_default();
            let expected = format!("O-{:010}", number(event.partition, *sequence));
            assert_eq!(event.entity_id, expected, "partition {}", event.partition);
            assert_eq!(u64::try_from(event.offset).unwrap(), *sequence);
            *sequence += 1;
        }
        assert_eq!(next, (0..PARTITIONS).map(|partition| (partition, EACH)).collect());
        let ids: BTreeSet<_> = delivered.iter().map(|event| &event.msg_id).collect();
        assert_eq!(ids.len(), delivered.len());
        assert_eq!(scene.committed(), kafka.ends(scene.topic()));
        assert_eq!(kafka.read(scene.dead_letters()), []);
    });
}
