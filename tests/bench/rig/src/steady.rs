//! A load that comes in time.

#![expect(clippy::disallowed_methods, reason = "a load comes in time")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use xylem_tests::kafka::Client;

/// The load comes in portions, so many in a second.
const PORTIONS: u32 = 100;

/// How long the last of it may take.
const PATIENCE: Duration = Duration::from_mins(3);

/// A steady stream, until it is stopped.
pub(crate) struct Steady {
    producer: Arc<LoadProducer>,
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

type LoadProducer = ThreadedProducer<DefaultProducerContext>;

impl Steady {
    /// Sends so many records a second: `each` gets a record's number, and what takes its topic,
    /// partition and payload.
    pub(crate) fn start(
        kafka: &Client,
        rate: f64,
        each: impl Fn(u64, &dyn Fn(&str, i32, &[u8])) + Send + 'static,
    ) -> anyhow::Result<Self> {
        let producer: LoadProducer = ClientConfig::new()
            .set("bootstrap.servers", kafka.bootstrap())
            // As producers of a steady stream do: with 1 ms the broker alone took a whole core.
            .set("linger.ms", "10")
            .create()?;
        let (producer, stop) = (Arc::new(producer), Arc::new(AtomicBool::new(false)));
        let (sender, stopped) = (Arc::clone(&producer), Arc::clone(&stop));
        let sent = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&sent);
        let thread = std::thread::spawn(move || {
            let take = |topic: &str, partition, payload: &[u8]| {
                send(&sender, topic, partition, payload);
            };
            let begin = Instant::now();
            while !stopped.load(Ordering::Relaxed) {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a count of records, far below 2^52"
                )]
                let due = (begin.elapsed().as_secs_f64() * rate) as u64;
                for number in count.swap(due, Ordering::Relaxed)..due {
                    each(number, &take);
                }
                std::thread::sleep(Duration::from_secs(1) / PORTIONS);
            }
            sender.flush(PATIENCE).unwrap();
        });
        Ok(Self { producer, stop, sent, thread })
    }

    /// Sends one more record now.
    pub(crate) fn send(&self, topic: &str, partition: i32, payload: &[u8]) {
        send(&self.producer, topic, partition, payload);
    }

    /// Records sent so far.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Ends it, once everything is written; how many records that were.
    pub(crate) fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        self.sent.load(Ordering::Relaxed)
    }
}

fn send(producer: &LoadProducer, topic: &str, partition: i32, payload: &[u8]) {
    let record = BaseRecord::<(), [u8]>::to(topic).payload(payload).partition(partition);
    producer.send(record).map_err(|(error, _)| error).unwrap();
}
