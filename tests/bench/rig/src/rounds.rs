//! All subjects in turn, and the table.

use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use xylem_bench_order::workload;
use xylem_tests::kafka::{Broker, Client};
use xylem_tests::{eventually_within, guests, http, repository};

use super::measure::{Used, used};

/// How the benchmark runs.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The workload; `order` is a JSON order of two lines, 326 bytes.
    #[arg(long, default_value = "order", value_parser = ["order", "order1k", "filter"])]
    workload: String,
    /// Records in the topic.
    #[arg(long, default_value_t = 500_000)]
    records: u64,
    /// Rounds; the table shows medians.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// The `xylem` program.
    #[arg(long)]
    xylem: PathBuf,
}

/// How long one subject may take.
const PATIENCE: Duration = Duration::from_mins(10);

const PARTITIONS: i32 = 4;
const SUBJECTS: [&str; 3] = ["floor", "xylem", "ceiling"];

/// What one run of one subject gave.
struct Run {
    used: Used,
    took: Duration,
}

/// Runs the benchmark.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let Some(broker) = Broker::start(&[]) else { anyhow::bail!("no Kafka is installed") };
    let kafka = broker.client();
    let topic = kafka.topic("bench", PARTITIONS);
    let make: fn(u64) -> String = match args.workload.as_str() {
        "order1k" => workload::order1k,
        "filter" => workload::filter,
        _ => workload::order,
    };
    println!("writing {} records …", args.records);
    let each = args.records / u64::try_from(PARTITIONS)?;
    kafka.produce_stamped(&topic, 0..PARTITIONS, 0..each, |partition, sequence| {
        make(u64::try_from(partition).unwrap() * each + sequence).into_bytes()
    });
    let records = each * u64::try_from(PARTITIONS)?;
    let expected = match args.workload.as_str() {
        "filter" => (0..records).filter(|number| number % 100 >= 97).count() as u64,
        _ => records,
    };
    let mut runs: Vec<Vec<Run>> = SUBJECTS.iter().map(|_| Vec::new()).collect();
    for round in 0..args.rounds {
        for (subject, name) in SUBJECTS.iter().enumerate() {
            let run = one(args, kafka, &topic, name, expected)?;
            println!("round {}: {name} took {:.1} s", round + 1, run.took.as_secs_f64());
            runs[subject].push(run);
        }
    }
    table(&args.workload, records, &mut runs);
    Ok(())
}

/// One subject as a process, until the inlet has counted everything.
fn one(
    args: &Args,
    kafka: &Client,
    topic: &str,
    subject: &str,
    expected: u64,
) -> anyhow::Result<Run> {
    let brokers = kafka.bootstrap();
    let rig = std::env::current_exe()?;
    let mut inlet = Command::new(&rig).arg("inlet").stdout(Stdio::piped()).spawn()?;
    let mut address = String::new();
    std::io::BufReader::new(inlet.stdout.take().unwrap()).read_line(&mut address)?;
    let url = format!("http://{}/collection/bench", address.trim());
    let group = kafka.unique(subject);
    let folder = tempfile::tempdir()?;
    let mut command = Command::new(if subject == "xylem" { &args.xylem } else { &rig });
    let config = || configuration(&folder, [brokers, topic, &group, &url]);
    match subject {
        "floor" => command.args(["floor", brokers, topic, &group, &url]),
        "ceiling" => command.arg("ceiling").arg(config()),
        _ => command.args(["run", "-c"]).arg(config()),
    };
    let child = command.stderr(Stdio::null()).stdout(Stdio::null()).spawn()?;
    let run = watch(child, address.trim(), expected);
    inlet.kill()?;
    inlet.wait()?;
    Ok(run)
}

/// Waits for the inlet's count; the time runs from its first message.
fn watch(mut child: Child, inlet: &str, expected: u64) -> Run {
    let port: u16 = inlet.rsplit(':').next().unwrap().parse().unwrap();
    let mut wait_for = |wanted: u64| {
        eventually_within(PATIENCE, || {
            assert!(child.try_wait().unwrap().is_none(), "the subject ended");
            let count: u64 = http::get(port, "/count")?.body.parse().unwrap();
            if count >= wanted { Ok(Instant::now()) } else { Err(format!("{count} of {wanted}")) }
        })
    };
    let first = wait_for(1);
    let took = wait_for(expected) - first;
    let used = used(child.id());
    child.kill().unwrap();
    child.wait().unwrap();
    Run { used, took }
}

fn configuration(folder: &TempDir, [brokers, topic, group, url]: [&str; 4]) -> PathBuf {
    let schema = repository().join("tests/bench/order/schema.json");
    let text = format!(
        "kafka: {{brokers: '{brokers}', group: {group}, start: earliest}}
aep: {{organisation: ABCD1234@AdobeOrg, tenant: _acme}}
quota: {{messages_per_second: 1000000000, requests_per_second: 1000000000}}
plugins: {{order: {{component: {plugin}}}}}
destinations:
  orders:
    inlet: {url}
    dataset: orders
    schema: {{id: 'https://ns.adobe.com/acme/schemas/order', file: {schema}}}
pipelines:
  orders:
    topics: [{topic}]
    chain: [{{plugin: order}}]
    destinations: [orders]
    dead_letter: {{topic: {topic}.dead}}
admin: {{listen: '127.0.0.1:0'}}
",
        plugin = guests::built("order").display(),
        schema = schema.display(),
    );
    let path: &Path = folder.path();
    let file = path.join("xylem.yaml");
    std::fs::write(&file, text).unwrap();
    file
}

fn table(workload: &str, records: u64, runs: &mut [Vec<Run>]) {
    let count = records as f64;
    println!("\nworkload `{workload}`, {records} records, {PARTITIONS} partitions, medians\n");
    println!(
        "{:<9} {:>14} {:>8} {:>12} {:>10}",
        "", "CPU us/record", "x floor", "records/s", "peak MiB"
    );
    let mut floor = 0.0;
    for (name, rounds) in SUBJECTS.iter().zip(runs.iter_mut()) {
        rounds.sort_by_key(|run| run.used.cpu);
        let cpu = rounds[rounds.len() / 2].used.cpu.as_secs_f64() * 1e6 / count;
        if *name == "floor" {
            floor = cpu;
        }
        let peak = rounds.iter().map(|run| run.used.peak_bytes).max().unwrap() as f64 / 1_048_576.0;
        rounds.sort_by_key(|run| run.took);
        let rate = count / rounds[rounds.len() / 2].took.as_secs_f64();
        println!("{name:<9} {cpu:>14.2} {:>8.2} {rate:>12.0} {peak:>10.1}", cpu / floor);
    }
    let run = &runs[1][0];
    let mut parts: Vec<_> = run.used.threads.iter().collect();
    parts.sort_by_key(|(_, cpu)| std::cmp::Reverse(**cpu));
    println!("\nwhere xylem's CPU time goes, by thread:");
    for (name, cpu) in parts.into_iter().take(5) {
        println!("  {name:<16} {:>6.2} us/record", cpu.as_secs_f64() * 1e6 / count);
    }
}
