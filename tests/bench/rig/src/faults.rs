//! The faults that were run against the incumbent and against Benthos, run against xylem: the same
//! 40,000 records with unique ids, the same faults, one restart in the same group afterwards.

#![expect(clippy::disallowed_methods, reason = "an outage takes its time")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use aep_emulator::{Emulator, Fault, Keep, Kind, LakeQuery, Select, Settings, Style};
use rustix::process::{Pid, Signal, kill_process};
use xylem_bench_order::workload;
use xylem_tests::kafka::{Broker, Client};
use xylem_tests::{eventually_within, guests, repository};

/// How it is run.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The `xylem` program.
    #[arg(long)]
    xylem: PathBuf,
    /// Records of each run.
    #[arg(long, default_value_t = 40_000)]
    records: u64,
    /// How long AEP refuses, in seconds.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
}

/// What goes wrong in one run.
#[derive(Clone, Copy)]
enum Trouble {
    /// Every request is answered with this status for a while.
    Status(u16),
    /// One message of 450 is refused, in this form of answer.
    Refused(Style),
    /// kill -9 half-way.
    Kill,
}

const RUNS: [(&str, Trouble); 7] = [
    ("503 for a while", Trouble::Status(503)),
    ("429 for a while", Trouble::Status(429)),
    ("500 for a while", Trouble::Status(500)),
    ("one 400 in a 207, `status`", Trouble::Refused(Style::Production)),
    ("one 400 in a 207, `statusCode`", Trouble::Refused(Style::Documented)),
    ("one 400 in a 207, no id", Trouble::Refused(Style::NoXaction)),
    ("kill -9 half-way", Trouble::Kill),
];

const PARTITIONS: i32 = 4;
const ORGANISATION: &str = "ABCD1234@AdobeOrg";
const PATIENCE: Duration = Duration::from_mins(3);

/// One of so many is refused, where some are.
const ONE_OF: u64 = 450;

/// Runs all and prints the table.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let Some(broker) = Broker::start(&[]) else { anyhow::bail!("no Kafka is installed") };
    println!(
        "{:<32} {:>9} {:>7} {:>8} {:>14} {:>17} {:>9}",
        "fault", "delivered", "lost", "refused", "dead-lettered", "good among them", "repeated"
    );
    for (name, trouble) in RUNS {
        one(args, broker.client(), name, trouble)?;
    }
    Ok(())
}

/// One run: what it stands on.
struct Stand<'a> {
    args: &'a Args,
    kafka: &'a Client,
    emulator: Emulator,
    topic: String,
    dead: String,
    group: String,
    /// The `_id`s that AEP refuses.
    refused: BTreeSet<String>,
}

fn one(args: &Args, kafka: &Client, name: &str, trouble: Trouble) -> anyhow::Result<()> {
    let stand = Stand::new(args, kafka, trouble)?;
    stand.suffer(trouble)?;
    stand.row(name)
}

impl<'a> Stand<'a> {
    fn new(args: &'a Args, kafka: &'a Client, trouble: Trouble) -> anyhow::Result<Self> {
        let (style, step) = match trouble {
            Trouble::Refused(style) => (style, usize::try_from(ONE_OF)?),
            _ => (Style::Production, usize::MAX),
        };
        let emulator = Emulator::start(Settings {
            org: Some(ORGANISATION.to_owned()),
            style,
            keep: Keep::Ids,
            validate: false,
            ..Settings::default()
        })?;
        // The first of them is no order's.
        let refused: BTreeSet<String> = (0..=args.records).step_by(step).skip(1).map(id).collect();
        for id in &refused {
            let message = Select::EntityId(id.clone());
            let text = "Message has unknown xdm format".to_owned();
            emulator.control().fault(Fault::new(Kind::Refuse { message, status: 400, text }));
        }
        let (topic, dead) = (kafka.topic("orders", PARTITIONS), kafka.topic("dead", 1));
        let group = kafka.unique("faults");
        Ok(Self { args, kafka, emulator, topic, dead, group, refused })
    }

    /// Orders are numbered from 1.
    fn number(&self, partition: i32, sequence: u64) -> u64 {
        let each = self.args.records / u64::from(PARTITIONS.unsigned_abs());
        u64::from(partition.unsigned_abs()) * each + sequence + 1
    }

    /// Writes, lets it go wrong, and starts once more.
    fn suffer(&self, trouble: Trouble) -> anyhow::Result<()> {
        let Self { args, kafka, topic, group, .. } = self;
        let folder = tempfile::tempdir()?;
        let file = self.configuration(folder.path())?;
        let control = self.emulator.control();
        let outage = match trouble {
            Trouble::Status(status) => Some(control.fault(Fault::status(status).after(5))),
            _ => None,
        };
        let mut process = Process::start(&args.xylem, &file)?;
        let each = args.records / u64::from(PARTITIONS.unsigned_abs());
        kafka.produce_stamped(topic, 0..PARTITIONS, 0..each, |partition, sequence| {
            workload::order(self.number(partition, sequence)).into_bytes()
        });
        if let Some(outage) = outage {
            wait(|| control.took_effect(outage) > 0, "the outage");
            std::thread::sleep(Duration::from_secs(args.seconds));
            control.clear(outage);
        }
        if matches!(trouble, Trouble::Kill) {
            let half = args.records / 2;
            wait(|| control.summary().inlets.values().any(|i| i.accepted >= half), "half of it");
            drop(process);
            process = Process::start(&args.xylem, &file)?;
        }
        let committed = || kafka.committed(group, topic) == kafka.ends(topic);
        wait(committed, "everything is committed");
        // The restart, and whatever it would send again.
        process.stop();
        let again = Process::start(&args.xylem, &file)?;
        wait(committed, "the restart");
        again.stop();
        Ok(())
    }

    /// Reads the books and prints the row.
    fn row(&self, name: &str) -> anyhow::Result<()> {
        let mut arrived: BTreeMap<String, u64> = BTreeMap::new();
        let query = LakeQuery { limit: usize::MAX, ..LakeQuery::default() };
        for entry in self.emulator.control().lake(&query) {
            *arrived.entry(entry.entity_id.unwrap_or_default()).or_default() += 1;
        }
        let order = |letter: &xylem_tests::kafka::Message| {
            let text = String::from_utf8_lossy(letter.payload.as_deref().unwrap_or_default());
            text.split('"').nth(3).unwrap_or_default().to_owned()
        };
        let letters: Vec<String> = self.kafka.read(&self.dead).iter().map(order).collect();
        let fateless = |id: &String| !arrived.contains_key(id) && !letters.contains(id);
        let lost = (1..=self.args.records).map(id).filter(fateless).count();
        let good = letters.iter().filter(|id| !self.refused.contains(*id)).count();
        println!(
            "{name:<32} {:>9} {lost:>7} {:>8} {:>14} {good:>17} {:>9}",
            arrived.len(),
            self.refused.len(),
            letters.len(),
            arrived.values().sum::<u64>() - arrived.len() as u64,
        );
        let once = letters.len() == self.refused.len();
        anyhow::ensure!(lost == 0 && good == 0 && once, "a record has no fate, or two");
        Ok(())
    }

    fn configuration(&self, folder: &Path) -> anyhow::Result<PathBuf> {
        let text = format!(
            "kafka: {{brokers: '{brokers}', group: {group}, start: earliest, session_timeout_ms: 6000}}
aep: {{organisation: {ORGANISATION}}}
plugins: {{order: {{component: {plugin}}}}}
destinations:
  orders:
    inlet: {inlet}
    dataset: orders
    schema: {{id: 'https://ns.adobe.com/acme/schemas/order', file: {schema}}}
    batch: {{max_messages: {ONE_OF}}}
pipelines:
  orders:
    topics: [{topic}]
    chain: [{{plugin: order}}]
    destinations: [orders]
    dead_letter: {{topic: {dead}}}
admin: {{listen: '127.0.0.1:0'}}
",
            brokers = self.kafka.bootstrap(),
            group = self.group,
            topic = self.topic,
            dead = self.dead,
            plugin = guests::built("order").display(),
            inlet = self.emulator.inlet_url("orders"),
            schema = repository().join("tests/bench/order/schema.json").display(),
        );
        let file = folder.join("xylem.yaml");
        std::fs::write(&file, text)?;
        Ok(file)
    }
}

/// The `_id` of an order.
fn id(number: u64) -> String {
    format!("O-{number:010}")
}

fn wait(mut there: impl FnMut() -> bool, what: &str) {
    eventually_within(PATIENCE, || if there() { Ok(()) } else { Err(what.to_owned()) });
}

/// `xylem run`, killed when dropped.
struct Process(Child);

impl Process {
    fn start(xylem: &Path, file: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new(xylem);
        command.args(["run", "--log", "error", "-c"]).arg(file);
        Ok(Self(command.stdout(Stdio::null()).stderr(Stdio::inherit()).spawn()?))
    }

    fn stop(mut self) {
        kill_process(Pid::from_child(&self.0), Signal::TERM).unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
