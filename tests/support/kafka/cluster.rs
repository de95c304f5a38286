//! Three brokers that are started again whenever they end, as a service manager would.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{Client, START, cluster_id, installed, java, new_folder, not_installed};
use crate::children;
use crate::eventually::eventually_within;
use crate::target::free_port;

/// How many brokers there are.
const BROKERS: usize = 3;

/// How long a broker that has ended stays away, and how often it is looked whether one has.
const REST: Duration = Duration::from_millis(300);

/// A cluster of three brokers and controllers. It ends with this handle.
pub struct Cluster {
    folder: PathBuf,
    client: Client,
    pid_files: Vec<PathBuf>,
    stop: Arc<AtomicBool>,
    supervisor: Option<JoinHandle<()>>,
}

impl Cluster {
    /// Starts the brokers and waits until all serve. `None`, and the test skips, where Kafka is not
    /// installed.
    pub fn start() -> Option<Self> {
        if !installed() {
            not_installed();
            return None;
        }
        let folder = new_folder();
        let ports: Vec<(u16, u16)> = (0..BROKERS).map(|_| (free_port(), free_port())).collect();
        let voters: Vec<String> = ports
            .iter()
            .enumerate()
            .map(|(at, (_, controller))| format!("{}@127.0.0.1:{controller}", at + 1))
            .collect();
        let homes: Vec<PathBuf> = (1..=BROKERS).map(|id| folder.join(id.to_string())).collect();
        let id = cluster_id(free_port());
        for (at, (home, (port, controller))) in homes.iter().zip(&ports).enumerate() {
            std::fs::create_dir_all(home).unwrap();
            let file = home.join("server.properties");
            let text = properties(home, at + 1, *port, *controller, &voters.join(","));
            std::fs::write(&file, text).unwrap();
            let mut format = java("kafka.tools.StorageTool", &["-Xmx128m"]);
            format.args(["format", "--cluster-id", &id, "--config"]).arg(&file);
            let output = format.output().unwrap();
            assert!(output.status.success(), "formatting failed: {output:?}");
        }
        let addresses: Vec<String> =
            ports.iter().map(|(port, _)| format!("127.0.0.1:{port}")).collect();
        let client = Client::new(&addresses.join(","));
        let stop = Arc::new(AtomicBool::new(false));
        let pid_files = homes.iter().map(|home| home.join("pid")).collect();
        let stopped = Arc::clone(&stop);
        let supervisor = std::thread::spawn(move || supervise(&homes, &stopped));
        let supervisor = Some(supervisor);
        let cluster = Self { folder, client, pid_files, stop, supervisor };
        eventually_within(START, || cluster.client.serves_with(BROKERS));
        Some(cluster)
    }

    /// What produces, reads and asks.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Files with the process id of each broker as it is at the moment.
    pub fn pid_files(&self) -> &[PathBuf] {
        &self.pid_files
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(supervisor) = self.supervisor.take() {
            drop(supervisor.join());
        }
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// Keeps a broker in every home until told to stop; then kills them.
fn supervise(homes: &[PathBuf], stop: &AtomicBool) {
    let mut brokers: Vec<Option<Child>> = homes.iter().map(|_| None).collect();
    while !stop.load(Ordering::Relaxed) {
        for (broker, home) in brokers.iter_mut().zip(homes) {
            let runs = broker.as_mut().is_some_and(|child| child.try_wait().unwrap().is_none());
            if !runs {
                *broker = Some(launch(home));
            }
        }
        std::thread::park_timeout(REST);
    }
    for mut broker in brokers.into_iter().flatten() {
        drop(broker.kill());
        drop(broker.wait());
    }
}

fn launch(home: &Path) -> Child {
    let log = File::options().append(true).create(true).open(home.join("broker.log")).unwrap();
    let mut command = java("kafka.Kafka", &["-Xmx256m"]);
    command.arg(home.join("server.properties"));
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    let child = children::spawn(command).unwrap();
    // Whole or not at all: somebody may be reading it.
    let fresh = home.join("pid.new");
    std::fs::write(&fresh, child.id().to_string()).unwrap();
    std::fs::rename(&fresh, home.join("pid")).unwrap();
    child
}

fn properties(home: &Path, id: usize, port: u16, controller: u16, voters: &str) -> String {
    format!(
        "\
process.roles=broker,controller
node.id={id}
controller.quorum.voters={voters}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
controller.listener.names=CONTROLLER
log.dirs={}
auto.create.topics.enable=false
offsets.topic.replication.factor=3
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=3
transaction.state.log.min.isr=2
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=3
share.coordinator.state.topic.min.isr=2
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
# A broker that is killed is missed after seconds, and let in again soon.
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
replica.lag.time.max.ms=5000
log.cleaner.dedupe.buffer.size=2097152
",
        home.join("data").display()
    )
}
