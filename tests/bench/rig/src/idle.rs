//! What an idle process holds: started with the four shipped plugins precompiled, each of which has
//! mapped records on every worker. Kafka and AEP are other processes.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use aep_emulator::{Emulator, Settings};
use serde_json::{Value, json};
use xylem_tests::kafka::{Broker, Client, Message};
use xylem_tests::{eventually, free_port, http, repository};

/// A pipeline for each shipped plugin: the example and the pipeline.
const PIPELINES: [(&str, &str); 4] =
    [("website", "website"), ("crm", "crm-customers"), ("pos", "pos"), ("crm", "crm")];

const PARTITIONS: i32 = 8;

/// Workers of the process; each makes its own instance of each plugin.
const WORKERS: u64 = 2;

/// How it is measured.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The `xylem` program.
    #[arg(long)]
    xylem: PathBuf,
}

/// Starts `xylem`, waits until every worker has an instance of every plugin, and prints the figures.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let Some(broker) = Broker::start(&[]) else { anyhow::bail!("no Kafka is installed") };
    let emulator = Emulator::start(Settings::default())?;
    let folder = tempfile::tempdir()?;
    let port = free_port();
    let config = configuration(broker.client(), &emulator, port)?;
    let file = folder.path().join("xylem.yaml");
    std::fs::write(&file, config.to_string())?;
    // Once, so that the plugins are compiled; and once more, measured.
    let (first, _) = started(&args.xylem, &file, port);
    end(first);
    let (process, ready) = started(&args.xylem, &file, port);
    wait_for_instances(port);
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id()))?;
    let resident = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        let kib: f64 = line.trim().trim_end_matches(" kB").parse().unwrap();
        kib / 1024.0
    };
    println!("ready {} ms after the start, plugins precompiled", ready.as_millis());
    println!(
        "{:.1} MiB resident ({:.1} of it anonymous), {WORKERS} workers, {} instances",
        resident("VmRSS:"),
        resident("RssAnon:"),
        WORKERS * 4,
    );
    end(process);
    Ok(())
}

/// The examples' pipelines in one configuration, with topics that hold a few records each.
fn configuration(kafka: &Client, emulator: &Emulator, port: u16) -> anyhow::Result<Value> {
    let (mut pipelines, mut destinations) = (json!({}), json!({}));
    let dead = kafka.topic("dead", 1);
    for (example, name) in PIPELINES {
        let folder = repository().join("examples").join(example);
        let text = std::fs::read_to_string(folder.join("xylem.yaml"))?;
        let mut config: Value = serde_saphyr::from_str(&text)?;
        let mut pipeline = config["pipelines"][name].take();
        let topic = kafka.topic(name, PARTITIONS);
        fill(kafka, &topic, &folder, name, pipeline["split"] == "file");
        pipeline["topics"] = json!([topic]);
        pipeline["dead_letter"] = json!({"topic": dead});
        pipeline.as_object_mut().unwrap().remove("samples");
        let step = &mut pipeline["chain"][0];
        if let Some(mapping) = step["mapping"].as_str().map(|path| folder.join(path)) {
            step["mapping"] = json!(mapping);
        }
        for destination in pipeline["destinations"].as_array().unwrap() {
            let destination = destination.as_str().unwrap();
            let mut settings = config["destinations"][destination].take();
            settings["inlet"] = json!(emulator.inlet_url(destination));
            let schema = folder.join(settings["schema"]["file"].as_str().unwrap());
            settings["schema"]["file"] = json!(schema);
            destinations[destination] = settings;
        }
        pipelines[name] = pipeline;
    }
    Ok(json!({
        "kafka": {"brokers": kafka.bootstrap(), "group": kafka.unique("idle"), "start": "earliest"},
        "aep": {"organisation": "1234567890ABCDEF12345678@AdobeOrg", "tenant": "_acme"},
        "admin": {"listen": format!("127.0.0.1:{port}")},
        "limits": {"workers": WORKERS},
        "pipelines": pipelines,
        "destinations": destinations,
    }))
}

/// The first record of the pipeline's first data file, to each partition.
fn fill(kafka: &Client, topic: &str, example: &Path, pipeline: &str, whole: bool) {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(example.join("data")).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let prefix = format!("{pipeline}.");
    let named = |path: &&PathBuf| path.file_name().unwrap().to_string_lossy().starts_with(&prefix);
    let bytes = std::fs::read(files.iter().find(named).unwrap()).unwrap();
    let first = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let record = if whole { &bytes[..] } else { first };
    let messages = (0..PARTITIONS)
        .map(|partition| Message { partition: Some(partition), ..Message::new(record) });
    kafka.produce(topic, messages);
}

/// A process that is ready, and how long that took.
fn started(xylem: &Path, config: &Path, port: u16) -> (Child, Duration) {
    let begin = Instant::now();
    let mut command = Command::new(xylem);
    command.args(["run", "--log", "warn", "-c"]).arg(config).stderr(Stdio::inherit());
    let child = command.spawn().unwrap();
    let ready = eventually(|| match http::get(port, "/readyz")?.status {
        200 => Ok(begin.elapsed()),
        status => Err(format!("/readyz says {status}")),
    });
    (child, ready)
}

fn end(mut process: Child) {
    process.kill().unwrap();
    process.wait().unwrap();
}

/// Waits until every worker has an instance of every plugin. Few records may all be taken by one
/// worker: then there are fewer, and the figure is not for what it says.
fn wait_for_instances(port: u16) {
    eventually(|| {
        let metrics = http::get(port, "/metrics")?.body;
        let lines =
            metrics.lines().filter(|line| line.starts_with("xylem_plugin_instances_total{"));
        let counts: Vec<u64> =
            lines.filter_map(|line| line.rsplit(' ').next()?.parse().ok()).collect();
        let complete = counts.len() == PIPELINES.len() && counts.iter().all(|n| *n == WORKERS);
        if complete { Ok(()) } else { Err(format!("instances by plugin: {counts:?}")) }
    });
}
