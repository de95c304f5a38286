//! librdkafka's in-process cluster, for the demo and quick tests.

use std::sync::mpsc;
use std::thread::JoinHandle;

use rdkafka::mocking::MockCluster as Cluster;

use super::KafkaError;

/// A cluster of one broker in this process. It keeps at most 5 MiB per partition: older records
/// are dropped, so a producer must follow its consumer.
///
/// librdkafka's handle must stay on one thread, so the cluster has its own.
pub struct MockCluster {
    bootstrap: String,
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl MockCluster {
    /// Starts a cluster with these topics and their numbers of partitions.
    pub fn start(topics: &[(&str, i32)]) -> Result<Self, KafkaError> {
        let topics: Vec<(String, i32)> = topics.iter().map(|(t, n)| ((*t).into(), *n)).collect();
        let (ready, started) = mpsc::channel();
        let (stop, stopped) = mpsc::channel::<()>();
        let thread = std::thread::Builder::new()
            .name("mock-kafka".into())
            .spawn(move || {
                let made = Cluster::new(1).and_then(|cluster| {
                    for (topic, partitions) in &topics {
                        cluster.create_topic(topic, *partitions, 1)?;
                    }
                    Ok(cluster)
                });
                match made {
                    Ok(cluster) => {
                        if ready.send(Ok(cluster.bootstrap_servers())).is_ok() {
                            // Ends when the owner drops its side.
                            stopped.recv().unwrap_or_default();
                        }
                    }
                    Err(error) => {
                        // The owner waits for this; if it is gone there is nobody to tell.
                        ready.send(Err(error)).unwrap_or_default();
                    }
                }
            })
            .map_err(|error| {
                KafkaError::Fatal(format!("no thread for the mock cluster: {error}"))
            })?;
        let bootstrap = started
            .recv()
            .map_err(|_| KafkaError::Fatal("the mock cluster ended".into()))?
            .map_err(KafkaError::settings)?;
        Ok(Self { bootstrap, stop: Some(stop), thread: Some(thread) })
    }

    /// The broker's address.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }
}

impl Drop for MockCluster {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::warn!("the mock cluster's thread panicked");
        }
    }
}
