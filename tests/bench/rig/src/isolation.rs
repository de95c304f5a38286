//! What a bad record costs the records beside it: the time from the broker's timestamp to the
//! receiver, while a plugin misbehaves and while it does not, in one run at a third of the capacity.
//!
//! Two pipelines share a process and a destination. Into one partition of the first a bad record is
//! written; the *window* lasts until its dead letter is acknowledged. Looked at are the other
//! partitions of that pipeline, and the other pipeline, over the records written in windows; beside
//! them stand as many undisturbed windows of the same lengths, each after a rest.

#![expect(clippy::disallowed_methods, reason = "a load comes in time, and a window is a time")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Message as _, Offset, TopicPartitionList};
use xylem::id::Ids;
use xylem_bench_order::{map, workload};
use xylem_tests::kafka::{Broker, Client};
use xylem_tests::{eventually_within, guests, repository};

use super::inlet::{Arrival, Inlet};
use super::steady::Steady;

/// How it is measured.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The `xylem` program.
    #[arg(long)]
    xylem: PathBuf,
    /// Windows for each way to misbehave.
    #[arg(long, default_value_t = 20)]
    windows: usize,
    /// Records in each of two topics, from which the capacity is measured.
    #[arg(long, default_value_t = 200_000)]
    records: u64,
    /// Only these ways to misbehave.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

/// The hostile guest's ways that the table has.
const GUESTS: [&str; 8] =
    ["loop", "memory", "sleep", "poll", "poll-nothing", "trap", "short", "flood"];

const PARTITIONS: i32 = 4;
const CLUSTER: &str = "isolation";
const ORGANISATION: &str = "ABCD1234@AdobeOrg";

/// Orders of this number and above are bad records, and [`MARK`] is in their text.
const BAD: u64 = 9_000_000_000;
const MARK: &str = "O-9";

/// Between a window and what is measured next: the bad record's own partition catches up.
const REST: Duration = Duration::from_millis(500);

const PATIENCE: Duration = Duration::from_mins(3);

/// From and to, in milliseconds since 1970.
type Window = (i64, i64);

/// Measures the capacity, then every way to misbehave at a third of it, and prints the table.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    // The broker's own time: a producer's would not be the same clock's reading.
    let settings = [("log.message.timestamp.type", "LogAppendTime")];
    let Some(broker) = Broker::start(&settings) else { anyhow::bail!("no Kafka is installed") };
    let kafka = broker.client();
    let capacity = capacity(args, kafka)?;
    let rate = capacity / 3.0;
    println!("capacity {capacity:.0} records/s; the load is {rate:.0} records/s\n");
    println!(
        "{:<13}{:>8}{:>12} | {:>9}{:>9}{:>9}{:>7} | {:>9}{:>9}{:>9}{:>7}",
        "",
        "windows",
        "mean length",
        "records",
        "p99 calm",
        "p99 bad",
        "ratio",
        "records",
        "p99 calm",
        "p99 bad",
        "ratio"
    );
    println!("{:<33} | {:<34} | other pipeline", "", "same pipeline, other partitions");
    for guest in GUESTS {
        if args.only.is_empty() || args.only.iter().any(|name| name == guest) {
            measure(args, kafka, guest, rate)?;
        }
    }
    Ok(())
}

/// A process under load, and what it stands on.
struct Stand {
    kafka: Client,
    struck: String,
    other: String,
    dead: String,
    inlet: Inlet,
    folder: tempfile::TempDir,
}

impl Stand {
    fn new(kafka: &Client) -> anyhow::Result<Self> {
        Ok(Self {
            kafka: kafka.clone(),
            struck: kafka.topic("struck", PARTITIONS),
            other: kafka.topic("other", PARTITIONS),
            dead: kafka.topic("dead", 1),
            inlet: Inlet::start(true)?,
            folder: tempfile::tempdir()?,
        })
    }

    fn start(&self, xylem: &Path, guest: &str) -> anyhow::Result<Process> {
        let file = self.folder.path().join("xylem.yaml");
        std::fs::write(&file, self.configuration(guest))?;
        let mut command = Command::new(xylem);
        command.args(["run", "--log", "error", "-c"]).arg(file);
        let child = command.stdout(Stdio::null()).stderr(Stdio::inherit()).spawn()?;
        Ok(Process(child))
    }

    fn configuration(&self, guest: &str) -> String {
        format!(
            "kafka: {{brokers: '{brokers}', group: {group}, start: earliest, cluster_id: {CLUSTER}}}
aep: {{organisation: {ORGANISATION}}}
quota: {{messages_per_second: 1000000000, requests_per_second: 1000000000}}
plugins:
  order: {{component: {order}}}
  hostile: {{component: {hostile}}}
destinations:
  orders:
    inlet: http://{inlet}/collection/bench
    dataset: orders
    schema: {{id: 'https://ns.adobe.com/acme/schemas/order', file: {schema}}}
pipelines:
  struck:
    topics: [{struck}]
    chain: [{{plugin: hostile, settings: {{misbehave: {guest}, on: {MARK}}}}}]
    destinations: [orders]
    dead_letter: {{topic: {dead}}}
  other:
    topics: [{other}]
    chain: [{{plugin: order}}]
    destinations: [orders]
    dead_letter: {{topic: {dead}}}
admin: {{listen: '127.0.0.1:0'}}
",
            brokers = self.kafka.bootstrap(),
            group = self.kafka.unique("isolation"),
            order = guests::built("order").display(),
            hostile = guests::built("hostile").display(),
            inlet = self.inlet.address(),
            schema = repository().join("tests/bench/order/schema.json").display(),
            struck = self.struck,
            other = self.other,
            dead = self.dead,
        )
    }
}

/// Killed when dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Records per second that are written, carried and received on this machine, all at once: the
/// load is written while it is carried, so its writing is part of the capacity.
fn capacity(args: &Args, kafka: &Client) -> anyhow::Result<f64> {
    let stand = Stand::new(kafka)?;
    let each = args.records / u64::try_from(PARTITIONS)?;
    let total = each * u64::try_from(PARTITIONS * 2)?;
    let _process = stand.start(&args.xylem, "none")?;
    std::thread::scope(|scope| {
        for (topic, make) in [(&stand.struck, event as fn(u64) -> Vec<u8>), (&stand.other, order)] {
            scope.spawn(move || {
                kafka.produce_stamped(topic, 0..PARTITIONS, 0..each, |_, sequence| make(sequence));
            });
        }
    });
    eventually_within(PATIENCE, || match stand.inlet.count() {
        count if count >= total => Ok(()),
        count => Err(format!("{count} of {total}")),
    });
    let arrivals = stand.inlet.arrivals();
    let times = || arrivals.iter().map(|arrival| arrival.received_ms);
    let took = times().max().unwrap() - times().min().unwrap();
    #[expect(clippy::cast_precision_loss, reason = "below 2^52")]
    Ok(total as f64 / took as f64 * 1000.0)
}

fn order(number: u64) -> Vec<u8> {
    workload::order(number).into_bytes()
}

/// The hostile guest echoes: its records are events already.
fn event(number: u64) -> Vec<u8> {
    map(&workload::order(number)).unwrap().unwrap().into_bytes()
}

/// One way to misbehave, and its row.
fn measure(args: &Args, kafka: &Client, guest: &str, rate: f64) -> anyhow::Result<()> {
    let stand = Stand::new(kafka)?;
    let process = stand.start(&args.xylem, guest)?;
    let load = load(&stand, rate)?;
    let letters = letters(&stand)?;
    eventually_within(PATIENCE, || match stand.inlet.count() {
        0 => Err("nothing arrives".to_owned()),
        _ => Ok(()),
    });
    // Once unmeasured: the guest's first instance, buffers, the group's first seconds.
    bad_record(&stand, &load, &letters, BAD);
    let (mut bad, mut calm): (Vec<Window>, Vec<Window>) = (Vec::new(), Vec::new());
    for number in 1..=args.windows as u64 {
        std::thread::sleep(REST);
        let window = bad_record(&stand, &load, &letters, BAD + number);
        bad.push(window);
        std::thread::sleep(REST);
        let begin = now();
        std::thread::sleep(Duration::from_millis(u64::try_from(window.1 - window.0)?));
        calm.push((begin, now()));
    }
    std::thread::sleep(REST);
    load.stop();
    drop(process);
    let arrivals = stand.inlet.arrivals();
    row(&stand, guest, &arrivals, &bad, &calm);
    Ok(())
}

/// Writes a bad record to partition 0 and waits for its dead letter: the window between.
fn bad_record(stand: &Stand, load: &Steady, letters: &BaseConsumer, number: u64) -> Window {
    let begin = now();
    load.send(&stand.struck, 0, &event(number));
    let end = eventually_within(PATIENCE, || match letters.poll(Duration::from_millis(100)) {
        Some(Ok(letter)) => Ok(letter.timestamp().to_millis().unwrap()),
        Some(Err(error)) => Err(error.to_string()),
        None => Err("no dead letter".to_owned()),
    });
    (begin, end)
}

fn letters(stand: &Stand) -> anyhow::Result<BaseConsumer> {
    let letters: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", stand.kafka.bootstrap())
        .set("group.id", "letters")
        .create()?;
    let mut from = TopicPartitionList::new();
    from.add_partition_offset(&stand.dead, 0, Offset::Beginning)?;
    letters.assign(&from)?;
    Ok(letters)
}

/// A steady stream into all partitions of both topics.
fn load(stand: &Stand, rate: f64) -> anyhow::Result<Steady> {
    // Made beforehand: the load's own work is not what is measured.
    let events: Vec<_> = (0..1000).map(event).collect();
    let orders: Vec<_> = (0..1000).map(order).collect();
    let topics = [(stand.struck.clone(), events), (stand.other.clone(), orders)];
    Steady::start(&stand.kafka, rate, move |number, send| {
        let (topic, payloads) = &topics[(number % 2) as usize];
        let partition = i32::try_from(number / 2 % PARTITIONS as u64).unwrap();
        send(topic, partition, &payloads[(number / 2 % 1000) as usize]);
    })
}

fn now() -> i64 {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap();
    i64::try_from(now.as_millis()).unwrap()
}

/// The 99th percentiles over all windows, of the same pipeline and of the other.
fn row(stand: &Stand, guest: &str, arrivals: &[Arrival], bad: &[Window], calm: &[Window]) {
    let prefix = |topic: &str, pipeline| Ids::new(CLUSTER, topic, "", pipeline).prefix().to_owned();
    let length: i64 = bad.iter().map(|(begin, end)| end - begin).sum();
    let mean = length / i64::try_from(bad.len()).unwrap();
    print!("{guest:<13}{:>8}{:>9} ms", bad.len(), mean);
    let prefixes = [prefix(&stand.struck, "struck"), prefix(&stand.other, "other")];
    for (own, first) in prefixes.iter().zip([1, 0]) {
        let of = |windows: &[Window]| {
            let mut latencies: Vec<i64> = arrivals
                .iter()
                .filter(|arrival| arrival.prefix == own.as_bytes()[..])
                .filter(|arrival| arrival.partition >= first)
                .filter(|a| windows.iter().any(|w| (w.0..=w.1).contains(&a.written_ms)))
                .map(|arrival| arrival.received_ms - arrival.written_ms)
                .collect();
            latencies.sort_unstable();
            latencies
        };
        let (calm, bad) = (of(calm), of(bad));
        let p99 = |latencies: &[i64]| latencies.get(latencies.len() * 99 / 100).copied();
        let (calm, ms) = (p99(&calm).unwrap_or_default(), p99(&bad).unwrap_or_default());
        #[expect(clippy::cast_precision_loss, reason = "milliseconds")]
        let ratio = ms as f64 / calm.max(1) as f64;
        print!(" | {:>9}{calm:>6} ms{ms:>6} ms{ratio:>7.2}", bad.len());
    }
    println!();
}
