//! A plain Kafka client: what a producer, an operator and a reader of dead letters would do.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Header, Headers as _, Message as _, OwnedHeaders};
use rdkafka::metadata::MetadataTopic;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext};
use rdkafka::{Offset, TopicPartitionList};

use crate::eventually::{eventually, patience};

/// How long one request may take.
const REQUEST: Duration = Duration::from_secs(10);

/// Looks at a cluster from outside; works against a mock cluster too, but for creating topics.
#[derive(Clone, Debug)]
pub struct Client {
    bootstrap: String,
}

/// A record, to be produced or as read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The partition; when producing, `None` leaves it to the key.
    pub partition: Option<i32>,
    /// The offset, as read.
    pub offset: i64,
    /// Milliseconds since 1970; when producing, `None` means now.
    pub timestamp: Option<i64>,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value; `None` is a tombstone.
    pub payload: Option<Vec<u8>>,
    /// The headers in order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Message {
    /// A record that has a value only.
    pub fn new(payload: impl Into<Vec<u8>>) -> Self {
        Self { payload: Some(payload.into()), ..Self::default() }
    }

    /// The first header of this name, as text.
    pub fn header(&self, name: &str) -> Option<String> {
        let (_, value) = self.headers.iter().find(|(key, _)| key == name)?;
        Some(String::from_utf8_lossy(value.as_deref().unwrap_or_default()).into_owned())
    }
}

impl Client {
    /// For the brokers at this address.
    pub fn new(bootstrap: &str) -> Self {
        Self { bootstrap: bootstrap.to_owned() }
    }

    /// The brokers' address.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// A name that no other test has, for a topic or a group.
    pub fn unique(&self, word: &str) -> String {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        format!("{word}-{}-{number}", std::process::id())
    }

    /// Creates a topic with a unique name that begins with `word`; gives the name.
    pub fn topic(&self, word: &str, partitions: i32) -> String {
        let name = self.unique(word);
        self.create_topic(&name, partitions, &[]);
        name
    }

    /// Creates a topic, with settings such as `("cleanup.policy", "compact")`, and waits until its
    /// partitions have leaders.
    pub fn create_topic(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) {
        let admin: AdminClient<DefaultClientContext> = self.settings().create().unwrap();
        eventually(|| {
            let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
            let topic = settings.iter().fold(topic, |topic, (key, value)| topic.set(key, value));
            let options = AdminOptions::new().request_timeout(Some(patience(REQUEST)));
            match block_on(admin.create_topics([&topic], &options)).map(|mut made| made.pop()) {
                Ok(Some(Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)))) => Ok(()),
                other => Err(format!("`{name}` is not created: {other:?}")),
            }
        });
        let wanted = usize::try_from(partitions).unwrap();
        let consumer = self.consumer("");
        eventually(|| match led_partitions(&consumer, name) {
            Ok(led) if led.len() == wanted => Ok(()),
            other => Err(format!("`{name}` has no leaders: {other:?}")),
        });
    }

    /// Deletes a topic.
    pub fn delete_topic(&self, name: &str) {
        let admin: AdminClient<DefaultClientContext> = self.settings().create().unwrap();
        let deleted = block_on(admin.delete_topics(&[name], &AdminOptions::new())).unwrap();
        assert!(deleted.iter().all(Result::is_ok), "{deleted:?}");
    }

    /// Changes one setting of a topic; the others go back to their defaults.
    pub fn set_topic(&self, name: &str, key: &str, value: &str) {
        let admin: AdminClient<DefaultClientContext> = self.settings().create().unwrap();
        let change = AlterConfig::new(ResourceSpecifier::Topic(name)).set(key, value);
        let changed = block_on(admin.alter_configs([&change], &AdminOptions::new())).unwrap();
        assert!(changed.iter().all(Result::is_ok), "{changed:?}");
    }

    /// Adds partitions to a topic, up to this many.
    pub fn add_partitions(&self, name: &str, partitions: usize) {
        let admin: AdminClient<DefaultClientContext> = self.settings().create().unwrap();
        let more = NewPartitions::new(name, partitions);
        let made = block_on(admin.create_partitions([&more], &AdminOptions::new())).unwrap();
        assert!(made.iter().all(Result::is_ok), "{made:?}");
        let consumer = self.consumer("");
        eventually(|| match led_partitions(&consumer, name) {
            Ok(led) if led.len() == partitions => Ok(()),
            other => Err(format!("`{name}` has no leaders: {other:?}")),
        });
    }

    /// Produces records in a transaction of their own that is committed or aborted: both leave a marker,
    /// which takes an offset.
    pub fn produce_transaction(
        &self,
        topic: &str,
        messages: impl IntoIterator<Item = Message>,
        commit: bool,
    ) {
        let limit = patience(REQUEST);
        let producer: BaseProducer<Acknowledgements> = self
            .settings()
            .set("transactional.id", self.unique("transaction"))
            .create_with_context(Acknowledgements(Arc::default()))
            .unwrap();
        producer.init_transactions(limit).unwrap();
        producer.begin_transaction().unwrap();
        for message in messages {
            send(&producer, topic, &message);
        }
        producer.flush(limit).unwrap();
        if commit {
            producer.commit_transaction(limit).unwrap();
        } else {
            producer.abort_transaction(limit).unwrap();
        }
    }

    /// Takes the records before this offset away, as retention does.
    pub fn delete_before(&self, topic: &str, partition: i32, offset: i64) {
        let admin: AdminClient<DefaultClientContext> = self.settings().create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(offset)).unwrap();
        block_on(admin.delete_records(&list, &AdminOptions::new())).unwrap();
    }

    /// Commits an offset for a group without members, as an operator does.
    pub fn commit(&self, group: &str, topic: &str, partition: i32, offset: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(offset)).unwrap();
        self.consumer(group).commit(&list, CommitMode::Sync).unwrap();
    }

    /// Produces one record with a header whose key is any bytes, as producers in C or Go may.
    pub fn produce_with_header_key(&self, topic: &str, payload: &[u8], key: &[u8]) {
        #[expect(unsafe_code, reason = "no function takes these bytes")]
        // SAFETY: it is not looked at as text; rdkafka copies the bytes into a C string.
        let key = unsafe { std::str::from_utf8_unchecked(key) };
        let producer: BaseProducer = self.settings().create().unwrap();
        let headers = OwnedHeaders::new().insert(Header { key, value: Some("value") });
        let record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic).payload(payload);
        producer.send(record.headers(headers)).map_err(|(error, _)| error).unwrap();
        producer.flush(patience(REQUEST)).unwrap();
    }

    /// Produces records in order and waits until all are acknowledged.
    pub fn produce(&self, topic: &str, messages: impl IntoIterator<Item = Message>) {
        let acknowledged = Arc::new(Acknowledged::default());
        let context = Acknowledgements(acknowledged.clone());
        let producer: BaseProducer<Acknowledgements> = self
            .settings()
            .set("enable.idempotence", "true")
            .set("linger.ms", "5")
            .set("message.timeout.ms", patience(REQUEST * 6).as_millis().to_string())
            .create_with_context(context)
            .unwrap();
        let mut sent = 0;
        for message in messages {
            send(&producer, topic, &message);
            sent += 1;
        }
        producer.flush(patience(REQUEST * 6)).unwrap();
        let failure = acknowledged.failure.lock().unwrap().take();
        assert_eq!(failure, None, "a record was not acknowledged");
        assert_eq!(acknowledged.count.load(Ordering::Relaxed), sent, "acknowledged");
    }

    /// Produces records that carry their stamp: for each sequence one to each of the partitions,
    /// whose payload `make(partition, sequence)` writes the stamp into.
    pub fn produce_stamped(
        &self,
        topic: &str,
        partitions: Range<i32>,
        sequences: Range<u64>,
        make: impl Fn(i32, u64) -> Vec<u8>,
    ) {
        let stamps = sequences.flat_map(|sequence| partitions.clone().map(move |p| (p, sequence)));
        self.produce(
            topic,
            stamps.map(|(partition, sequence)| Message {
                partition: Some(partition),
                ..Message::new(make(partition, sequence))
            }),
        );
    }

    /// Reads a topic wholly, until each partition's end is met; by partition and offset.
    pub fn read(&self, topic: &str) -> Vec<Message> {
        let consumer = self.consumer("");
        let mut open = BTreeSet::new();
        let mut from = TopicPartitionList::new();
        for partition in watermarks(&consumer, topic).into_keys() {
            open.insert(partition);
            from.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
        }
        consumer.assign(&from).unwrap();
        let mut messages = Vec::new();
        eventually(|| {
            while !open.is_empty() {
                match consumer.poll(Duration::from_millis(100)) {
                    Some(Ok(message)) => messages.push(message_of(&message)),
                    // Offsets before it may be compacted away, or transaction markers.
                    Some(Err(KafkaError::PartitionEOF(partition))) => drop(open.remove(&partition)),
                    Some(Err(error)) => return Err(format!("reading `{topic}`: {error}")),
                    None => return Err(format!("`{topic}` is read but for partitions {open:?}")),
                }
            }
            Ok(())
        });
        messages.sort_by_key(|message| (message.partition, message.offset));
        messages
    }

    /// The offset after the newest record of each partition.
    pub fn ends(&self, topic: &str) -> BTreeMap<i32, i64> {
        let marks = watermarks(&self.consumer(""), topic);
        marks.into_iter().map(|(partition, (_, end))| (partition, end)).collect()
    }

    /// What a group has committed, for the partitions where it has.
    pub fn committed(&self, group: &str, topic: &str) -> BTreeMap<i32, i64> {
        let consumer = self.consumer(group);
        let mut partitions = TopicPartitionList::new();
        for partition in watermarks(&consumer, topic).into_keys() {
            partitions.add_partition(topic, partition);
        }
        let committed = eventually(|| {
            let asked = consumer.committed_offsets(partitions.clone(), patience(REQUEST));
            asked.map_err(|error| format!("no committed offsets of `{group}`: {error}"))
        });
        let offsets = committed.elements();
        let offsets = offsets.iter().filter_map(|e| Some((e.partition(), e.offset().to_raw()?)));
        offsets.filter(|(_, offset)| *offset >= 0).collect()
    }

    /// Whether a broker answers.
    pub(super) fn serves(&self) -> Result<(), String> {
        self.serves_with(1)
    }

    /// Whether so many brokers are known to the one that answers.
    pub(super) fn serves_with(&self, brokers: usize) -> Result<(), String> {
        let consumer = self.consumer("");
        let metadata = consumer.fetch_metadata(None, Duration::from_secs(1));
        let metadata = metadata.map_err(|error| format!("{}: {error}", self.bootstrap))?;
        match metadata.brokers().len() {
            count if count >= brokers => Ok(()),
            count => Err(format!("{count} of {brokers} brokers")),
        }
    }

    /// A consumer that never joins: for offsets, metadata and assigned partitions.
    fn consumer(&self, group: &str) -> BaseConsumer {
        let group = if group.is_empty() { "reader" } else { group };
        let mut settings = self.settings();
        settings.set("group.id", group).set("enable.auto.commit", "false");
        settings.set("enable.partition.eof", "true").create().unwrap()
    }

    fn settings(&self) -> ClientConfig {
        let mut settings = ClientConfig::new();
        settings.set("bootstrap.servers", &self.bootstrap);
        // A broker that comes back is found at once.
        settings.set("reconnect.backoff.max.ms", "500");
        settings
    }
}

/// What the producer's callback counts.
#[derive(Default)]
struct Acknowledged {
    count: AtomicU64,
    failure: Mutex<Option<String>>,
}

struct Acknowledgements(Arc<Acknowledged>);

impl ClientContext for Acknowledgements {}

impl ProducerContext for Acknowledgements {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(_) => drop(self.0.count.fetch_add(1, Ordering::Relaxed)),
            Err((error, _)) => *self.0.failure.lock().unwrap() = Some(error.to_string()),
        }
    }
}

fn send(producer: &BaseProducer<Acknowledgements>, topic: &str, message: &Message) {
    let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic);
    record.partition = message.partition;
    record.timestamp = message.timestamp;
    record.key = message.key.as_deref();
    record.payload = message.payload.as_deref();
    if !message.headers.is_empty() {
        let add = |headers: OwnedHeaders, (key, value): &(String, Option<Vec<u8>>)| {
            headers.insert(Header { key, value: value.as_ref() })
        };
        record.headers = Some(message.headers.iter().fold(OwnedHeaders::new(), add));
    }
    while let Err((error, again)) = producer.send(record) {
        let full = KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
        assert_eq!(error, full, "cannot produce to `{topic}`");
        producer.poll(Duration::from_millis(10));
        record = again;
    }
    producer.poll(Duration::ZERO);
}

fn message_of(message: &BorrowedMessage<'_>) -> Message {
    let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
    Message {
        partition: Some(message.partition()),
        offset: message.offset(),
        timestamp: message.timestamp().to_millis(),
        key: message.key().map(<[u8]>::to_vec),
        payload: message.payload().map(<[u8]>::to_vec),
        headers: headers.map(|h| (h.key.to_owned(), h.value.map(<[u8]>::to_vec))).collect(),
    }
}

/// The oldest offset and the one after the newest, by partition.
fn watermarks(consumer: &BaseConsumer, topic: &str) -> BTreeMap<i32, (i64, i64)> {
    eventually(|| {
        let partitions = led_partitions(consumer, topic)?;
        let ask = |partition| {
            let marks = consumer.fetch_watermarks(topic, partition, patience(REQUEST));
            marks.map(|marks| (partition, marks)).map_err(|error| format!("{topic}: {error}"))
        };
        partitions.into_iter().map(ask).collect()
    })
}

/// The partitions of a topic, all of which have a leader; none of a topic that is not there.
fn led_partitions(consumer: &BaseConsumer, topic: &str) -> Result<Vec<i32>, String> {
    let metadata = consumer.fetch_metadata(Some(topic), patience(REQUEST));
    let metadata = metadata.map_err(|error| format!("no metadata of `{topic}`: {error}"))?;
    let partitions = metadata.topics().iter().flat_map(MetadataTopic::partitions);
    partitions
        .map(|partition| match partition.leader() {
            leader if leader >= 0 => Ok(partition.id()),
            _ => Err(format!("partition {} of `{topic}` has no leader", partition.id())),
        })
        .collect()
}

/// Runs a future whose progress comes from another thread, as rdkafka's admin calls are.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}
