//! Rules of the section `kafka`.

use crate::config::path::KeyPath;
use crate::config::{SaslMechanism, Tls};

use super::Rules;

const DELIVERY: &str = "xylem commits what is settled, and nothing else may move an offset";
const MEMORY: &str = "xylem sets it from `limits.in_flight_bytes`";
const FETCH: &str = "xylem sets it: librdkafka's own value stalls a fast consumer";
const CODE: &str = "it makes librdkafka run other programs' code";
const OWN: &str = "xylem reads it itself";

/// librdkafka's properties that are xylem's: by name or prefix (`…*`), and why or what instead.
const OURS: &[(&str, &str)] = &[
    ("bootstrap.servers", "write `kafka.brokers`"),
    ("metadata.broker.list", "write `kafka.brokers`"),
    ("group.id", "write `kafka.group`"),
    ("group.instance.id", "write `kafka.instance_id`"),
    ("group.protocol", "write `kafka.protocol`"),
    ("session.timeout.ms", "write `kafka.session_timeout_ms`"),
    ("auto.offset.reset", "write `kafka.start`"),
    ("security.protocol", "write `kafka.tls` and `kafka.sasl`"),
    ("sasl.*", "write `kafka.sasl`"),
    ("ssl.ca.*", "write `kafka.tls.ca_file`"),
    ("ssl.certificate.*", "write `kafka.tls.certificate_file`"),
    ("ssl.key.*", "write `kafka.tls.key`"),
    ("ssl.keystore.*", "write `kafka.tls.certificate_file` and `kafka.tls.key`, both PEM"),
    ("enable.auto.commit", DELIVERY),
    ("auto.commit.*", DELIVERY),
    ("enable.auto.offset.store", DELIVERY),
    ("offset.store.*", DELIVERY),
    ("partition.assignment.strategy", DELIVERY),
    ("group.remote.assignor", DELIVERY),
    ("isolation.level", "records of aborted transactions are never sent"),
    ("enable.partition.eof", OWN),
    ("statistics.interval.ms", OWN),
    ("consume.callback.*", OWN),
    ("allow.auto.create.topics", "a misspelt topic would be made, not reported"),
    ("enable.idempotence", "a dead letter is acknowledged by all replicas, once"),
    ("acks", "a dead letter is acknowledged by all replicas"),
    ("request.required.acks", "a dead letter is acknowledged by all replicas"),
    ("transactional.*", "dead letters are not written in transactions"),
    ("queued.max.messages.kbytes", MEMORY),
    ("queued.min.messages", MEMORY),
    ("fetch.queue.backoff.ms", FETCH),
    ("plugin.library.paths", CODE),
    ("ssl.engine.*", CODE),
    ("ssl.providers", CODE),
    ("test.mock.*", "`xylem demo` brings its own brokers"),
];

const KEY: &str = "write `kafka.tls.key`, the private key in PEM: `${file:PATH}`";
const ROOTS: &str = "write `kafka.tls.ca_file`, trusted roots in PEM, which need no password";
const REGISTRY: &str = "it is for a schema registry, and xylem asks none";
const PASSWORD: &str = "properties are plain text; write `kafka.sasl.password`, which may be `${NAME}` or `${file:PATH}`";

/// What names of properties that hold secrets contain, and where the secret belongs.
const SECRETS: &[(&str, &str)] = &[
    ("ssl.truststore.", ROOTS),
    ("basic.auth.user.info", REGISTRY),
    ("schema.registry.", REGISTRY),
    ("ssl.", KEY),
    ("", PASSWORD),
];

/// Where a secret in this property belongs; none where the property holds no secret.
fn secret(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase();
    let is_secret = ["password", "secret", "ssl.truststore.", "basic.auth.user.info"];
    let is_secret = is_secret.iter().any(|part| name.contains(part));
    SECRETS.iter().find(|(part, _)| is_secret && name.contains(part)).map(|(_, instead)| *instead)
}

impl Rules<'_> {
    pub(super) fn kafka(&mut self) {
        let config = self.config;
        let kafka = &config.kafka;
        let at = KeyPath::root().key("kafka");
        self.not_empty(&kafka.group, &at.key("group"));
        self.brokers(&at.key("brokers"));
        if let Some(id) = &kafka.instance_id {
            self.not_empty(id.as_str(), &at.key("instance_id"));
        }
        if let Some(id) = &kafka.cluster_id {
            self.not_empty(id, &at.key("cluster_id"));
        }
        if let Some(tls) = &kafka.tls {
            self.tls(tls, &at.key("tls"));
        }
        if let Some(sasl) = &kafka.sasl {
            let sasl_at = at.key("sasl");
            self.not_empty(sasl.username.as_str(), &sasl_at.key("username"));
            self.not_empty(sasl.password.expose(), &sasl_at.key("password"));
            if sasl.mechanism == SaslMechanism::Plain && kafka.tls.is_none() {
                let message = "SASL PLAIN without `kafka.tls` sends the password in the clear";
                let draft = self.problems.at(&sasl_at.key("mechanism"), message).warning();
                self.problems.push(draft.hint("add `tls: {}` under `kafka`, or use SCRAM-SHA-512"));
            }
        }
        for (name, value) in &kafka.properties {
            self.property(name, value, &at.key("properties").key(name));
        }
    }

    fn brokers(&mut self, at: &KeyPath) {
        let brokers = self.config.kafka.brokers.as_str();
        if !self.not_empty(brokers, at) {
            return;
        }
        for broker in brokers.split(',').map(str::trim) {
            let wrong = if broker.contains("://") {
                "carries a scheme"
            } else if !is_host_port(broker) {
                "is no `host:port`"
            } else {
                continue;
            };
            let message = format!("the broker `{}` {wrong}", self.shown(broker, at));
            let draft = self.problems.at(at, message);
            self.problems
                .push(draft.hint(
                    "`host:port`, several separated by commas; TLS is chosen by `kafka.tls`",
                ));
        }
    }

    fn tls(&mut self, tls: &Tls, at: &KeyPath) {
        self.pem_file(tls.ca_file.as_deref(), &at.key("ca_file"));
        self.pem_file(tls.certificate_file.as_deref(), &at.key("certificate_file"));
        match (&tls.certificate_file, &tls.key) {
            (Some(_), None) => {
                let message = "`kafka.tls.certificate_file` needs `kafka.tls.key`";
                self.problems.error(&at.key("certificate_file"), message);
            }
            (None, Some(_)) => {
                let message = "`kafka.tls.key` needs `kafka.tls.certificate_file`";
                self.problems.error(&at.key("key"), message);
            }
            _ => {}
        }
        let Some(key) = &tls.key else { return };
        let pem = key.expose();
        let message = if !(pem.contains("-----BEGIN ") && pem.contains("PRIVATE KEY-----")) {
            "`kafka.tls.key` is no private key in PEM"
        } else if pem.contains("ENCRYPTED") {
            "`kafka.tls.key` is an encrypted key, and xylem knows no pass phrase for it"
        } else {
            return;
        };
        let draft = self.problems.at(&at.key("key"), message);
        self.problems.push(draft.hint("the key's text is wanted; for a file write `${file:PATH}`"));
    }

    fn property(&mut self, name: &str, value: &str, at: &KeyPath) {
        let ours = OURS.iter().find(|(pattern, _)| match pattern.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => name == *pattern,
        });
        if let Some((_, reason)) = ours {
            // Invariant 10: somebody may have put a password here.
            self.problems.mask(at);
            let message = format!("the property `{name}` is xylem's own");
            let draft = self.problems.at(at, message);
            self.problems.push(draft.hint(*reason));
        } else if let Some(instead) = secret(name) {
            // Invariant 10: here it would stand in plain text.
            self.problems.mask(at);
            let message = format!("the property `{name}` would hold a secret");
            let draft = self.problems.at(at, message);
            self.problems.push(draft.hint(instead));
        } else {
            self.not_empty(value, at);
        }
    }
}

/// `host:port` or `[v6]:port`; the port may be absent, 9092 is Kafka's own.
fn is_host_port(broker: &str) -> bool {
    let (host, port) = match broker.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (broker, None),
    };
    let host_is_good = !host.is_empty()
        && !host.contains(char::is_whitespace)
        && !host.contains('/')
        && (host.starts_with('[') || !host.contains(':'));
    host_is_good && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

#[cfg(test)]
mod tests {
    use super::{KEY, PASSWORD, REGISTRY, ROOTS, is_host_port, secret};

    #[test]
    fn properties_that_hold_secrets_are_known_by_their_names() {
        for (name, instead) in [
            ("ssl.truststore.location", ROOTS),
            ("ssl.truststore.password", ROOTS),
            ("SSL.Trustore.Password", KEY),
            ("basic.auth.user.info", REGISTRY),
            ("schema.registry.basic.auth.user.info", REGISTRY),
            ("sals.password", PASSWORD),
            ("oauth.client.secret", PASSWORD),
        ] {
            assert_eq!(secret(name), Some(instead), "{name}");
        }
        for name in ["client.rack", "ssl.cipher.suites", "socket.keepalive.enable"] {
            assert_eq!(secret(name), None, "{name}");
        }
    }

    #[test]
    fn brokers_are_host_and_port() {
        for good in ["kafka:9092", "kafka", "10.0.0.1:1", "[::1]:9092", "[::1]"] {
            assert!(is_host_port(good), "{good}");
        }
        for bad in ["", ":9092", "kafka:", "kafka:99999", "a b:1", "kafka:9092/x", "::1", "k:0"] {
            assert!(!is_host_port(bad), "{bad}");
        }
    }
}
