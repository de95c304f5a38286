//! The floor: what a good engineer would write in an afternoon. No plugin, no validation, no order
//! across retries, one request in flight per partition, offsets stored after the answer.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

const MAX_MESSAGES: usize = 1000;
const MAX_BYTES: usize = 900_000;

/// A request under construction.
#[derive(Default)]
struct Body {
    text: String,
    messages: usize,
    last: i64,
}

/// Consumes until killed.
pub(crate) fn run(brokers: &str, topic: &str, group: &str, inlet: &str) -> anyhow::Result<()> {
    drop(rustls::crypto::ring::default_provider().install_default());
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", group)
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.offset.store", "false")
        .set("fetch.queue.backoff.ms", "5")
        .set("queued.max.messages.kbytes", "8192")
        .create()?;
    consumer.subscribe(&[topic])?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let client = reqwest::Client::builder().no_proxy().build()?;
    let url: Arc<str> = inlet.replace("/collection/", "/collection/batch/").into();
    let (done, answers) = channel::<(i32, i64)>();
    let mut bodies: HashMap<i32, Body> = HashMap::new();
    let mut waiting: HashSet<i32> = HashSet::new();
    loop {
        match consumer.poll(Duration::from_millis(5)) {
            Some(Ok(message)) => {
                let text = std::str::from_utf8(message.payload().unwrap_or_default())?;
                let event = xylem_bench_order::map(text)?;
                let body = bodies.entry(message.partition()).or_default();
                body.last = message.offset();
                if let Some(event) = event {
                    append(body, message.partition(), message.offset(), &event);
                }
            }
            Some(Err(error)) => println!("floor: {error}"),
            None => {}
        }
        take_answers(&consumer, topic, &answers, &mut waiting, false);
        for (partition, body) in &mut bodies {
            let full = body.messages >= MAX_MESSAGES || body.text.len() >= MAX_BYTES;
            // A full request behind one that is out: nothing is polled before its answer.
            while full && waiting.contains(partition) {
                take_answers(&consumer, topic, &answers, &mut waiting, true);
            }
            if full || (waiting.is_empty() && body.messages > 0) {
                waiting.insert(*partition);
                let body = std::mem::take(body);
                runtime.spawn(post(
                    client.clone(),
                    Arc::clone(&url),
                    *partition,
                    body,
                    done.clone(),
                ));
            }
        }
    }
}

fn append(body: &mut Body, partition: i32, offset: i64, event: &str) {
    const SCHEMA: &str = r#"{"id":"https://ns.adobe.com/acme/schemas/order","contentType":"application/vnd.adobe.xed-full+json;version=1"}"#;
    body.text.push_str(if body.messages == 0 { "{\"messages\":[" } else { "," });
    body.messages += 1;
    write!(
        body.text,
        r#"{{"header":{{"datasetId":"orders","imsOrgId":"ABCD1234@AdobeOrg","schemaRef":{SCHEMA},"msgId":"floor.{partition}.{offset}"}},"body":{{"xdmMeta":{{"schemaRef":{SCHEMA}}},"xdmEntity":{event}}}}}"#
    )
    .unwrap();
}

/// Stores what was answered, waiting for one answer if asked to.
fn take_answers(
    consumer: &BaseConsumer,
    topic: &str,
    answers: &Receiver<(i32, i64)>,
    waiting: &mut HashSet<i32>,
    wait: bool,
) {
    let first = if wait { answers.recv().ok() } else { answers.try_recv().ok() };
    for (partition, last) in first.into_iter().chain(answers.try_iter()) {
        waiting.remove(&partition);
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(last + 1)).unwrap();
        consumer.store_offsets(&list).unwrap();
    }
}

async fn post(
    client: reqwest::Client,
    url: Arc<str>,
    partition: i32,
    mut body: Body,
    done: Sender<(i32, i64)>,
) {
    body.text.push_str("]}");
    let request =
        client.post(&*url).header("content-type", "application/json").body(body.text).send().await;
    let answer = request.unwrap().bytes().await.unwrap();
    let verdicts: serde_json::Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!(verdicts["responses"].as_array().unwrap().len(), body.messages);
    done.send((partition, body.last)).unwrap();
}
