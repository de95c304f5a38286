//! librdkafka's settings from the configuration. Which of them `kafka.properties` may not set stands
//! in the rules of the configuration.

use rdkafka::ClientConfig;

use crate::config::{GroupProtocol, Kafka, SaslMechanism};

/// What consumer and producer share: brokers and security.
pub(super) fn common(kafka: &Kafka) -> ClientConfig {
    let mut settings = ClientConfig::new();
    settings.set("bootstrap.servers", kafka.brokers.as_str());
    settings.set("client.id", "xylem");
    let protocol = match (&kafka.tls, &kafka.sasl) {
        (None, None) => "plaintext",
        (Some(_), None) => "ssl",
        (None, Some(_)) => "sasl_plaintext",
        (Some(_), Some(_)) => "sasl_ssl",
    };
    settings.set("security.protocol", protocol);
    if let Some(tls) = &kafka.tls {
        if let Some(ca) = &tls.ca_file {
            settings.set("ssl.ca.location", ca.to_string_lossy());
        }
        if let Some(certificate) = &tls.certificate_file {
            settings.set("ssl.certificate.location", certificate.to_string_lossy());
        }
        if let Some(key) = &tls.key {
            settings.set("ssl.key.pem", key.expose());
        }
    }
    if let Some(sasl) = &kafka.sasl {
        settings.set(
            "sasl.mechanism",
            match sasl.mechanism {
                SaslMechanism::Plain => "PLAIN",
                SaslMechanism::ScramSha256 => "SCRAM-SHA-256",
                SaslMechanism::ScramSha512 => "SCRAM-SHA-512",
            },
        );
        settings.set("sasl.username", sasl.username.as_str());
        settings.set("sasl.password", sasl.password.expose());
    }
    settings
}

/// The consumer's settings. `budget` is the budget of bytes in flight.
pub(super) fn consumer(kafka: &Kafka, budget: usize) -> ClientConfig {
    let mut settings = common(kafka);
    settings
        .set("group.id", &kafka.group)
        // Offsets are stored by us when a record is settled, committed by librdkafka every second,
        // at a revoke and at the end (Invariant 1).
        .set("enable.auto.commit", "true")
        .set("enable.auto.offset.store", "false")
        .set("auto.commit.interval.ms", "1000")
        // Where partitions begin is decided in `begin`; librdkafka only says that it does not know.
        .set("auto.offset.reset", "error")
        .set("isolation.level", "read_committed")
        .set("allow.auto.create.topics", "false")
        // A fast consumer empties the queue in milliseconds: the default pause of a second after
        // a full queue would halve its throughput (measured: 124,000 -> 261,000 records/s).
        .set("fetch.queue.backoff.ms", "5")
        // An eighth of the budget, at most 8 MB: the queue is memory beside the budget.
        .set("queued.max.messages.kbytes", (budget / 8192).clamp(1024, 8192).to_string())
        .set("queued.min.messages", "10000")
        .set("fetch.wait.max.ms", "100")
        // A topic that is made late, and partitions that are added, are seen by then; the default is
        // five minutes.
        .set("topic.metadata.refresh.interval.ms", "20000");
    if let Some(id) = &kafka.instance_id {
        settings.set("group.instance.id", id.as_str());
    }
    match kafka.protocol {
        GroupProtocol::Classic => settings
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", kafka.session_timeout_ms.to_string()),
        GroupProtocol::Consumer => settings.set("group.protocol", "consumer"),
    };
    further(settings, kafka)
}

/// The settings of the producer of dead letters: acknowledged by all replicas, in order, once.
pub(super) fn producer(kafka: &Kafka) -> ClientConfig {
    let mut settings = common(kafka);
    settings
        .set("enable.idempotence", "true")
        // We retry for ever ourselves; librdkafka's own patience only bounds one attempt.
        .set("message.timeout.ms", "30000")
        .set("linger.ms", "5")
        // Whatever came in has to fit, with its headers: the topic decides, not the client. What
        // waits is counted in the budget of bytes in flight.
        .set("message.max.bytes", "1000000000")
        .set("queue.buffering.max.kbytes", "2097151")
        .set("compression.type", "lz4");
    further(settings, kafka)
}

/// The settings of a client that asks how topics are set up.
pub(super) fn admin(kafka: &Kafka) -> ClientConfig {
    let mut settings = further(common(kafka), kafka);
    // What it cannot do it answers; that brokers are away the consumer says, too.
    settings.set("log_level", "2");
    settings
}

fn further(mut settings: ClientConfig, kafka: &Kafka) -> ClientConfig {
    for (name, value) in &kafka.properties {
        settings.set(name, value);
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kafka() -> Kafka {
        serde_saphyr::from_str("{brokers: 'b:9092', group: g, start: earliest}").unwrap()
    }

    #[test]
    fn invariant_1_no_offset_is_stored_but_by_us() {
        let settings = consumer(&kafka(), 64 << 20);
        assert_eq!(settings.get("enable.auto.offset.store"), Some("false"));
        assert_eq!(settings.get("auto.offset.reset"), Some("error"));
    }

    #[test]
    fn invariant_2_a_dead_letter_is_acknowledged_by_all_replicas() {
        // Idempotence refuses any other `acks` than `all`.
        let settings = producer(&kafka());
        assert_eq!(settings.get("enable.idempotence"), Some("true"));
        assert_eq!(settings.get("acks"), None);
    }
}
