//! A real Apache Kafka in `KRaft` mode, from the jars in `target/tools/kafka`: one broker, or a cluster
//! of three.

mod client;
mod cluster;

use std::fmt::Write as _;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

pub use self::client::{Client, Message};
pub use self::cluster::Cluster;
use crate::absent::missing_tool;
use crate::children;
use crate::eventually::{eventually, eventually_within};
use crate::target::{free_port, target};

/// How long a broker may take to start, or to be let in again after it was killed: two to four
/// seconds where the machine has nothing else to do.
const START: Duration = Duration::from_mins(2);

/// A broker of its own, for tests that stop and kill it. It dies with this handle.
pub struct Broker {
    folder: PathBuf,
    client: Client,
    process: Option<Child>,
}

/// The broker that tests without faults share, started when the first one asks for it; it dies
/// with the test process. `None`, and the test skips, where Kafka is not installed.
pub fn shared() -> Option<&'static Client> {
    static BROKER: OnceLock<Option<Broker>> = OnceLock::new();
    let broker = BROKER.get_or_init(|| installed().then(|| Broker::launch(&[])));
    if broker.is_none() {
        not_installed();
    }
    broker.as_ref().map(Broker::client)
}

impl Broker {
    /// Formats and starts a broker. `None`, and the test skips, where Kafka is not installed.
    ///
    /// `properties` are added to the broker's own and win over them.
    pub fn start(properties: &[(&str, &str)]) -> Option<Self> {
        if !installed() {
            not_installed();
            return None;
        }
        Some(Self::launch(properties))
    }

    /// What produces, reads and asks. It keeps its address over restarts.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Kills the broker as `kill -9` does.
    pub fn kill9(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Stops the broker in an orderly way and waits for its end.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            kill_process(Pid::from_child(&process), Signal::TERM).unwrap();
            eventually(|| match process.try_wait().unwrap() {
                Some(_) => Ok(()),
                None => Err(self.complaint("the broker does not stop")),
            });
        }
    }

    /// Starts the broker again with the same data and address, and waits until it serves.
    pub fn restart(&mut self) {
        assert!(self.process.is_none(), "stop or kill the broker first");
        let log = File::options().append(true).create(true).open(self.folder.join("broker.log"));
        let log = log.unwrap();
        let mut command = java("kafka.Kafka", &["-Xmx256m"]);
        command.arg(self.folder.join("server.properties"));
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let mut process = children::spawn(command).unwrap();
        eventually_within(START, || {
            let ended = process.try_wait().unwrap();
            assert!(ended.is_none(), "{}", self.complaint("the broker ended"));
            self.client.serves().map_err(|error| self.complaint(&error))
        });
        self.process = Some(process);
    }

    fn launch(properties: &[(&str, &str)]) -> Self {
        let folder = new_folder();
        let (port, controller) = (free_port(), free_port());
        let mut text = server_properties(&folder, port, controller);
        for (name, value) in properties {
            writeln!(text, "{name}={value}").unwrap();
        }
        let file = folder.join("server.properties");
        std::fs::write(&file, text).unwrap();
        let mut format = java("kafka.tools.StorageTool", &["-Xmx128m"]);
        format.args(["format", "--cluster-id", &cluster_id(port), "--config"]).arg(&file);
        let output = format.output().unwrap();
        assert!(output.status.success(), "formatting failed: {output:?}");
        let client = Client::new(&format!("127.0.0.1:{port}"));
        let mut broker = Self { folder, client, process: None };
        broker.restart();
        broker
    }

    fn complaint(&self, words: &str) -> String {
        let log = std::fs::read_to_string(self.folder.join("broker.log")).unwrap_or_default();
        let tail: Vec<_> = log.lines().rev().take(20).collect();
        format!("{words}; its last words, newest first:\n{}", tail.join("\n"))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill9();
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// A broker small enough to run several, that misses a dead peer or member soon.
fn server_properties(folder: &Path, port: u16, controller: u16) -> String {
    let data = folder.join("data");
    format!(
        "\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
controller.listener.names=CONTROLLER
log.dirs={}
auto.create.topics.enable=false
# One broker, so one replica of what Kafka keeps for itself, and few partitions of it to open.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
# A group is complete when its first member is there; tests wait for members themselves.
group.initial.rebalance.delay.ms=0
# Tests that kill a member may ask for a short session.
group.min.session.timeout.ms=1000
group.consumer.min.session.timeout.ms=1000
group.consumer.session.timeout.ms=6000
group.consumer.min.heartbeat.interval.ms=200
group.consumer.heartbeat.interval.ms=500
# After kill -9 the broker is let in again when its old session is over: 2.4 s instead of 11.
broker.session.timeout.ms=1500
broker.heartbeat.interval.ms=300
# 128 MB by default.
log.cleaner.dedupe.buffer.size=2097152
",
        data.display()
    )
}

/// A cluster id is a UUID in 22 characters of base64; one made from the port is as good.
fn cluster_id(port: u16) -> String {
    format!("xylem-tests-{port:05}-AAAQ")
}

fn java(class: &str, options: &[&str]) -> Command {
    let mut java = Command::new("java");
    java.args(options).args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
    java.arg("-Dlog4j2.level=INFO").arg("-cp").arg(jars().join("*")).arg(class);
    java
}

fn jars() -> PathBuf {
    target().join("tools/kafka/jars")
}

/// Whether there are jars, and a JVM to run them.
fn installed() -> bool {
    jars().is_dir() && Command::new("java").arg("-version").output().is_ok()
}

fn not_installed() {
    missing_tool("Apache Kafka", "`cargo xtask test --only tools` installs it with java and mvn");
}

/// A new folder under `target/tmp`. A killed test process leaves its own behind: whoever comes
/// next takes those of dead processes away.
fn new_folder() -> PathBuf {
    let parent = target().join("tmp");
    std::fs::create_dir_all(&parent).unwrap();
    for entry in std::fs::read_dir(&parent).unwrap().flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix("broker-")?.split('-').next());
        let owner = owner.and_then(|pid| Pid::from_raw(pid.parse().ok()?));
        if owner.is_some_and(|pid| test_kill_process(pid).is_err()) {
            drop(std::fs::remove_dir_all(entry.path()));
        }
    }
    let folder = parent.join(format!("broker-{}-{}", std::process::id(), free_port()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}
