//! The harness holds what it promises.

use std::collections::BTreeMap;
use std::time::Duration;

use xylem_tests::kafka::{self, Broker, Message};
use xylem_tests::within;

#[test]
fn what_is_produced_is_read_with_key_headers_and_tombstone() {
    within(Duration::from_secs(90), || {
        let Some(kafka) = kafka::shared() else { return };
        let topic = kafka.topic("fixture", 2);
        let full = Message {
            partition: Some(1),
            timestamp: Some(1_767_225_600_000),
            key: Some(b"key".to_vec()),
            headers: vec![("one".to_owned(), Some(b"1".to_vec())), ("none".to_owned(), None)],
            ..Message::new("value")
        };
        let tombstone = Message {
            partition: Some(1),
            offset: 1,
            timestamp: Some(1_767_225_600_001),
            key: Some(b"key".to_vec()),
            ..Message::default()
        };
        kafka.produce(&topic, [full.clone(), tombstone.clone()]);
        assert_eq!(kafka.read(&topic), [full, tombstone]);
        assert_eq!(kafka.ends(&topic), BTreeMap::from([(0, 0), (1, 2)]));
        assert_eq!(kafka.committed("nobody", &topic), BTreeMap::new());
    });
}

#[test]
fn a_broker_keeps_its_records_over_kill_and_stop() {
    within(Duration::from_mins(10), || {
        let Some(mut broker) = Broker::start(&[]) else { return };
        let topic = broker.client().topic("kept", 4);
        let stamp = |partition: i32, sequence: u64| format!("{partition}/{sequence}").into_bytes();
        broker.client().produce_stamped(&topic, 0..4, 0..1000, stamp);
        broker.kill9();
        broker.restart();
        broker.client().produce_stamped(&topic, 0..4, 1000..1100, stamp);
        broker.stop();
        broker.restart();
        let messages = broker.client().read(&topic);
        let expected = (0..4).flat_map(|p| (0..1100).map(move |s| format!("{p}/{s}")));
        let read = messages.iter().map(|m| String::from_utf8(m.payload.clone().unwrap()).unwrap());
        assert!(read.eq(expected), "{} records of 4400", messages.len());
    });
}

#[test]
#[should_panic(expected = "was not over after")]
fn a_test_that_hangs_fails() {
    within(Duration::from_millis(50), || {
        loop {
            std::thread::park();
        }
    });
}
