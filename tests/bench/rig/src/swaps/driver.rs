//! The process whose plugin is swapped, and who swaps it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::Value;
use xylem_tests::candidates::BAD;
use xylem_tests::kafka::Client;
use xylem_tests::{Setup, Xylem, eventually_within, guests, repository};

use super::Args;
use super::receiver::Receiver;

const ORGANISATION: &str = "ABCD1234@AdobeOrg";

/// The plugin's settings in the configuration; bad candidates have others.
const SETTINGS: &str = "settings: {}";

/// How long a swap may take before the run is given up.
const SWAP: Duration = Duration::from_mins(1);

/// A process under load, and its plugin's file.
pub(super) struct Driver {
    kafka: Client,
    topic: String,
    dead: String,
    group: String,
    xylem: PathBuf,
    plugin: PathBuf,
    /// The configuration that it began with.
    text: String,
    version: u64,
    process: Option<Xylem>,
    took: Vec<Duration>,
}

impl Driver {
    /// Starts the process with version 1.
    pub(super) fn start(kafka: &Client, args: &Args, receiver: &Receiver, partitions: i32) -> Self {
        let (topic, dead) = (kafka.topic("swaps", partitions), kafka.topic("dead", 1));
        let group = kafka.unique("swaps");
        let text = format!(
            "kafka: {{brokers: '{brokers}', group: {group}, start: earliest}}
aep: {{organisation: {ORGANISATION}}}
quota: {{messages_per_second: 1000000000, requests_per_second: 1000000000}}
reload: {{watch: false, recent_records: {recent}}}
plugins: {{stamp: {{component: stamp.wasm, max_cpu_ms: 100}}}}
destinations:
  stamped:
    inlet: http://{inlet}/collection/swaps
    dataset: stamped
    schema: {{id: 'https://ns.adobe.com/acme/schemas/stamped', file: {schema}}}
pipelines:
  stamped:
    topics: [{topic}]
    chain: [{{plugin: stamp, {SETTINGS}}}]
    destinations: [stamped]
    dead_letter: {{topic: {dead}}}
",
            // Without them some would be taken for good.
            recent = if args.refused { 128 } else { 0 },
            brokers = kafka.bootstrap(),
            inlet = receiver.address(),
            schema = repository().join("tests/guests/stamp/schema.json").display(),
        );
        let setup = Setup::new(&text);
        let mut driver = Self {
            kafka: kafka.clone(),
            topic,
            dead,
            group,
            xylem: args.xylem.clone(),
            plugin: setup.folder().join("stamp.wasm"),
            // With what the harness adds.
            text: std::fs::read_to_string(setup.folder().join("xylem.yaml")).unwrap(),
            version: 1,
            process: None,
            took: Vec::new(),
        };
        guests::lay(&driver.plugin, guests::stamp(driver.version));
        let mut process = setup.start_program(&args.xylem, &["run", "-c", "xylem.yaml"]);
        process.wait_ready();
        driver.process = Some(process);
        driver
    }

    /// The topic.
    pub(super) fn topic(&self) -> &str {
        &self.topic
    }

    /// Swaps so far, or refusals.
    pub(super) fn swaps(&self) -> u64 {
        self.took.len() as u64
    }

    /// Swaps count from here on.
    pub(super) fn forget(&mut self) {
        self.took.clear();
    }

    /// How long they took, in milliseconds: median, 99th percentile, longest.
    pub(super) fn took_ms(&self) -> [f64; 3] {
        let mut took: Vec<f64> = self.took.iter().map(|took| took.as_secs_f64() * 1000.0).collect();
        took.sort_by(f64::total_cmp);
        [took.len() / 2, took.len() * 99 / 100, took.len() - 1].map(|place| took[place])
    }

    /// Lays the other version down, and waits until it runs, by `xylem reload --wait`.
    pub(super) fn swap(&mut self) -> anyhow::Result<()> {
        self.version = 3 - self.version;
        guests::lay(&self.plugin, guests::stamp(self.version));
        self.reload("swapped")
    }

    /// Lays a bad candidate down, and waits until it is refused; they take turns.
    pub(super) fn refuse(&mut self) -> anyhow::Result<()> {
        let bad = &BAD[self.took.len() % BAD.len()];
        bad.lay(&self.plugin);
        let file = self.plugin.with_file_name("xylem.yaml");
        let settings = format!("settings: {}", bad.settings);
        guests::lay(&file, self.text.replace(SETTINGS, &settings));
        self.reload("refused").with_context(|| bad.name)
    }

    /// `xylem reload --wait`.
    fn reload(&mut self, outcome: &str) -> anyhow::Result<()> {
        let (begin, folder) = (Instant::now(), self.plugin.parent().unwrap());
        let output = Command::new(&self.xylem)
            .args(["reload", "-c", "xylem.yaml", "--wait", "--json"])
            .current_dir(folder)
            .env("XDG_RUNTIME_DIR", folder)
            .output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        let words = String::from_utf8_lossy(&output.stderr);
        let report: Value = serde_json::from_str(&said).unwrap_or_default();
        anyhow::ensure!(report["outcome"] == outcome, "{said}{words}");
        self.took.push(begin.elapsed());
        Ok(())
    }

    /// How many records each partition holds.
    pub(super) fn ends(&self) -> BTreeMap<i32, u64> {
        let ends = self.kafka.ends(&self.topic).into_iter();
        ends.map(|(partition, end)| (partition, u64::try_from(end).unwrap())).collect()
    }

    /// Waits until so many events have arrived; gives up where nothing comes any more.
    pub(super) fn wait(patience: Duration, receiver: &Receiver, events: u64) {
        let (mut most, mut since) = (0, Instant::now());
        eventually_within(patience, || {
            let arrived = receiver.arrived();
            if arrived > most {
                (most, since) = (arrived, Instant::now());
            }
            // What is lost is the ledger's to say.
            if arrived >= events || since.elapsed() > SWAP {
                return Ok(());
            }
            Err(format!("{arrived} of {events} events"))
        });
    }

    /// Ends the process; whether it ended well, with everything committed.
    pub(super) fn stop(&mut self) -> bool {
        let process = self.process.take().unwrap();
        let (status, _) = process.stop();
        let committed = self.kafka.committed(&self.group, &self.topic);
        status.success() && committed == self.kafka.ends(&self.topic)
    }

    /// How many dead letters there are.
    pub(super) fn dead_letters(&self) -> u64 {
        u64::try_from(self.kafka.ends(&self.dead).values().sum::<i64>()).unwrap()
    }
}
