//! A process with two pipelines, and one round with it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use aep_emulator::{Emulator, LakeQuery, Settings};
use serde_json::{Value, json};
use tempfile::TempDir;
use xylem_tests::kafka::Client;
use xylem_tests::{eventually_within, free_port, guests, http, repository};

use super::{Args, IN_FLIGHT, INSTANCE, PARTITIONS, Round, WORKERS};
use crate::inlet::Inlet;
use crate::measure::{Offspring, offspring, peak, reset_peak};
use crate::steady::Steady;

const TENANT: &str = "_acme";

/// Sign-ups a second: somebody has to notice the swap.
const SIGN_UPS: f64 = 20.0;

/// Until throughput is steady.
const WARM: Duration = Duration::from_secs(10);
/// The window before the file's arrival.
const BEFORE: Duration = Duration::from_secs(10);
/// The window after the swap.
const AFTER: Duration = Duration::from_secs(5);
/// From one look at the process to the next.
const LOOK: Duration = Duration::from_millis(100);

/// How soon an event of the plugin comes that runs.
const SOON: Duration = Duration::from_secs(30);

/// How long a swap may take.
const PATIENCE: Duration = Duration::from_mins(10);

/// A process with two pipelines, and what it stands on.
pub(super) struct Stand {
    orders: Inlet,
    profiles: Emulator,
    process: Process,
    port: u16,
    load: Steady,
    folder: TempDir,
}

impl Stand {
    /// Starts it: orders come from the backlog, sign-ups now and then.
    pub(super) fn start(kafka: &Client, args: &Args, backlog: &str) -> anyhow::Result<Self> {
        let orders = Inlet::start(false)?;
        let profiles = Emulator::start(Settings { validate: false, ..Settings::default() })?;
        let (folder, port) = (tempfile::tempdir()?, free_port());
        let (sign_ups, dead) = (kafka.topic("sign-ups", 1), kafka.topic("dead", 1));
        let inlets = [
            format!("http://{}/collection/orders", orders.address()),
            profiles.inlet_url("profiles"),
        ];
        let config = configuration(kafka, [backlog, &sign_ups, &dead], &inlets, port);
        let file = |name: &str| folder.path().join(name);
        std::fs::write(file("xylem.yaml"), config.to_string())?;
        std::fs::write(file("profile.json"), schema()?.to_string())?;
        std::fs::copy(guests::built("example-rust"), file("sign-ups.wasm"))?;
        // Written beforehand: its arrival is a rename.
        std::fs::copy(&args.plugin, file("next"))?;
        let mut command = Command::new(&args.xylem);
        command.args(["run", "--log", "error", "-c"]).arg(file("xylem.yaml"));
        command.arg("--cache").arg(cache(folder.path())).env("XDG_RUNTIME_DIR", folder.path());
        let process = Process(command.stdout(Stdio::null()).spawn()?);
        let load = Steady::start(kafka, SIGN_UPS, move |number, send| {
            let sign_up = json!({"email": format!("c{number}@shop.example"), "firstName": "Ana"});
            send(&sign_ups, 0, sign_up.to_string().as_bytes());
        })?;
        Ok(Self { orders, profiles, process, port, load, folder })
    }

    /// Lets the plugin's file arrive; `records` is the backlog.
    pub(super) fn round(self, records: u64) -> anyhow::Result<Round> {
        eventually_within(PATIENCE, || match self.orders.count() {
            0 => Err("nothing arrives".to_owned()),
            _ => Ok(()),
        });
        let (pid, folder) = (self.process.0.id(), self.folder.path());
        std::thread::sleep(WARM);
        let (first, mut watched) = (self.generation()?, Watched::default());
        reset_peak(pid)?;
        let before = self.over(BEFORE, || self.look(&mut watched) == first);
        let held = peak(pid);
        reset_peak(pid)?;

        std::fs::rename(folder.join("next"), folder.join("sign-ups.wasm"))?;
        let arrival = Instant::now();
        let during = self.over(PATIENCE, || self.look(&mut watched) == first);
        let swap = arrival.elapsed();
        let second = self.generation()?;
        anyhow::ensure!(first != second, "no swap: {}", self.status()?["reloads"][0]);
        self.wait_for_event(&second);
        let event = arrival.elapsed();
        let after = self.over(AFTER, || self.look(&mut watched) == second);

        let left = if self.all_wait()? { records - self.orders.count() } else { 0 };
        let none = || anyhow::anyhow!("nothing was compiled: no verdict");
        let round = Round {
            before,
            during,
            after,
            swap,
            event,
            compiler: watched.compiler.ok_or_else(none)?,
            peak: [held, peak(pid)],
            in_flight: watched.in_flight,
            native: largest(&cache(folder))?,
            left,
        };
        self.load.stop();
        Ok(round)
    }

    /// Orders a second that arrive over a time, or for as long as `on` says.
    fn over(&self, time: Duration, mut on: impl FnMut() -> bool) -> f64 {
        let (begin, count) = (Instant::now(), self.orders.count());
        while begin.elapsed() < time && on() {}
        (self.orders.count() - count) as f64 / begin.elapsed().as_secs_f64()
    }

    /// Looks at the process and at the compiler that it started, after a while. The generation that runs.
    fn look(&self, watched: &mut Watched) -> String {
        std::thread::sleep(LOOK);
        watched.compiler = offspring(self.process.0.id()).or(watched.compiler.take());
        let status = self.status().unwrap();
        watched.in_flight = watched.in_flight.max(status["in_flight"]["bytes"].as_u64().unwrap());
        status["generation"].to_string()
    }

    fn status(&self) -> anyhow::Result<Value> {
        let answer = http::get(self.port, "/status").map_err(anyhow::Error::msg)?;
        Ok(serde_json::from_str(&answer.body)?)
    }

    fn generation(&self) -> anyhow::Result<String> {
        Ok(self.status()?["generation"].to_string())
    }

    /// Waits for a profile that names this generation.
    fn wait_for_event(&self, generation: &str) {
        let mut query = LakeQuery { entities: true, limit: usize::MAX, ..LakeQuery::default() };
        let named = format!(r#""generation":{generation}"#);
        eventually_within(SOON, || {
            let lake = self.profiles.control().lake(&query);
            query.after = lake.last().map_or(query.after, |last| last.seq);
            let mut entities = lake.iter().filter_map(|entry| entry.entity.as_ref());
            let come = entities.any(|entity| entity.get().contains(&named));
            if come { Ok(()) } else { Err(format!("no profile of {generation}")) }
        });
    }

    /// Whether every partition of the backlog has orders that nobody has begun.
    fn all_wait(&self) -> anyhow::Result<bool> {
        let status = self.status()?;
        let partitions = status["partitions"].as_array().into_iter().flatten();
        let waiting = partitions.filter(|partition| {
            let number = |name: &str| partition[name].as_u64().unwrap_or_default();
            partition["pipeline"] == "orders" && number("lag") > number("in_flight_records")
        });
        Ok(waiting.count() == usize::try_from(PARTITIONS)?)
    }
}

/// What was seen of a process over a time.
#[derive(Default)]
struct Watched {
    compiler: Option<Offspring>,
    in_flight: u64,
}

/// Killed when dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn configuration(
    kafka: &Client,
    [backlog, sign_ups, dead]: [&str; 3],
    [orders, profiles]: &[String; 2],
    port: u16,
) -> Value {
    let schema = repository().join("tests/bench/order/schema.json");
    let pipeline = |topic: &str, plugin: &str, destination: &str| {
        json!({
            "topics": [topic],
            "chain": [{"plugin": plugin}],
            "destinations": [destination],
            "dead_letter": {"topic": dead},
        })
    };
    json!({
        "kafka": {"brokers": kafka.bootstrap(), "group": kafka.unique("compile"), "start": "earliest"},
        "aep": {"organisation": "ABCD1234@AdobeOrg", "tenant": TENANT},
        "quota": {"messages_per_second": 1_000_000_000, "requests_per_second": 1_000_000_000},
        "limits": {"workers": WORKERS, "in_flight_bytes": IN_FLIGHT},
        "admin": {"listen": format!("127.0.0.1:{port}")},
        "plugins": {
            "order": {"component": guests::built("order")},
            "sign-ups": {"component": "sign-ups.wasm", "max_memory_bytes": INSTANCE},
        },
        "destinations": {
            "orders": {
                "inlet": orders,
                "dataset": "orders",
                "schema": {"id": "https://ns.adobe.com/acme/schemas/order", "file": schema},
            },
            "profiles": {
                "inlet": profiles,
                "dataset": "profiles",
                "schema": {"id": "https://ns.adobe.com/acme/schemas/profile", "file": "profile.json"},
                "generation_field": "/_tenant/generation",
            },
        },
        "pipelines": {
            "orders": pipeline(backlog, "order", "orders"),
            "sign-ups": pipeline(sign_ups, "sign-ups", "profiles"),
        },
    })
}

/// The schema of the website's profiles, with a field for the generation.
fn schema() -> anyhow::Result<Value> {
    let text = std::fs::read(repository().join("examples/website/schemas/profile.json"))?;
    let mut schema: Value = serde_json::from_slice(&text)?;
    schema["properties"][TENANT] =
        json!({"type": "object", "properties": {"generation": {"type": "string"}}});
    Ok(schema)
}

/// Where native code goes.
fn cache(folder: &Path) -> PathBuf {
    folder.join("native")
}

/// The size of the largest file in a folder.
fn largest(folder: &Path) -> anyhow::Result<u64> {
    let mut largest = 0;
    for entry in std::fs::read_dir(folder)? {
        largest = largest.max(entry?.metadata()?.len());
    }
    Ok(largest)
}
