//! Mistakes that people make, each with its whole message.
//!
//! The snapshots are read by people: a changed message is reviewed as words, not as output.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{Environment, Inputs, Loaded, load_text, load_with};

const GOOD: &str = r#"# orders to AEP
kafka:
  brokers: ${BROKERS}
  group: xylem-orders
  start: earliest
  sasl: { mechanism: SCRAM-SHA-512, username: xylem, password: "${file:password}" }
  tls: {}
  properties:
    client.rack: eu-1a
aep:
  organisation: 0123456789ABCDEF@AdobeOrg
  tenant: _acme
  auth:
    client_id: 1f2e3d
    client_secret: ${CLIENT_SECRET}
    scopes: [openid, AdobeID]
destinations:
  orders:
    inlet: https://dcs.adobedc.net/collection/abc123
    schema: { id: https://ns.adobe.com/acme/schemas/1, file: order.schema.json }
    dataset: 64b7
  customers:
    inlet: https://dcs.adobedc.net/collection/batch/def456
    schema: { id: https://ns.adobe.com/acme/schemas/2, file: order.schema.json }
    dataset: 64b8
    mode: raw
    flow: 9c1d
pipelines:
  orders:
    topics: [orders, orders-eu]
    chain:
      - plugin: json
        mapping: order.map.yaml
    destinations: [orders, customers]
    dead_letter: { topic: orders.dead }
"#;

/// The good configuration in a folder with its files.
struct Folder {
    dir: TempDir,
    environment: Environment,
}

impl Folder {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("password", "s3cret-password\n"),
            ("order.schema.json", "{}"),
            ("order.map.yaml", "_id: .id\n"),
            ("ca.pem", "-----BEGIN CERTIFICATE-----\n"),
            ("core.wasm", "\0asm\x01\0\0\0"),
        ] {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let environment = BTreeMap::from([
            ("BROKERS".to_owned(), "kafka-1:9092,kafka-2:9092".into()),
            ("CLIENT_SECRET".to_owned(), "s3cret-client".into()),
        ]);
        Self { dir, environment }
    }

    fn load(&self, text: &str) -> Result<Loaded, String> {
        let base_dir = self.dir.path().to_owned();
        load_text(
            Path::new("xylem.yaml"),
            text.to_owned(),
            &Inputs::new(base_dir),
            &self.environment,
        )
        .map_err(|errors| self.tidy(&errors.to_string()))
    }

    fn tidy(&self, message: &str) -> String {
        message.replace(self.dir.path().to_str().unwrap(), "/etc/xylem")
    }
}

/// The good configuration with texts replaced, each of which it must hold.
fn with(changes: &[(&str, &str)]) -> String {
    changes.iter().fold(GOOD.to_owned(), |text, (from, to)| {
        assert_eq!(text.matches(from).count(), 1, "{from}");
        text.replace(from, to)
    })
}

fn errors(changes: &[(&str, &str)]) -> String {
    match Folder::new().load(&with(changes)) {
        Ok(_) => panic!("nothing was found"),
        Err(errors) => errors,
    }
}

fn warnings(changes: &[(&str, &str)]) -> String {
    let loaded = Folder::new().load(&with(changes)).unwrap();
    let warnings: Vec<_> = loaded.warnings.iter().map(ToString::to_string).collect();
    warnings.join("\n\n")
}

fn snapshot(name: &str, message: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_omit_expression(true);
    settings.set_prepend_module_to_snapshot(false);
    settings.bind(|| insta::assert_snapshot!(name, message));
}

/// One snapshot for each mistake.
macro_rules! mistakes {
    ($($name:ident: $changes:expr;)*) => {
        $(#[test]
        fn $name() {
            snapshot(stringify!($name), &errors(&$changes));
        })*
    };
}

mistakes! {
    unknown_key_with_a_near_one: [("    topics:", "    topicz:")];
    key_of_another_section: [("    dataset: 64b7", "    dataset: 64b7\n    max_messages: 500")];
    name_that_kafka_uses: [("  group: xylem", "  group.id: xylem")];
    missing_key: [("  start: earliest\n", "")];
    choice_misspelt: [("start: earliest", "start: earlist")];
    duration_with_unit: [("  group:", "  session_timeout_ms: 45s\n  group:")];
    number_out_of_range: [("    dataset: 64b7", "    dataset: 64b7\n    batch: { max_bytes: 2000000 }")];
    text_that_yaml_reads_as_number: [("dataset: 64b7", "dataset: 6407")];
    switched_on_by_nothing: [("  tls: {}", "  tls:")];
    yes_for_true: [("    flow: 9c1d", "    flow: 9c1d\n    profile: yes")];
    text_where_a_list_belongs: [("topics: [orders, orders-eu]", "topics: orders")];
    variable_unset: [("${CLIENT_SECRET}", "${CLIENT_SECRETS}")];
    secret_file_missing: [("${file:password}", "${file:secrets/password}")];
    reference_with_default: [("${BROKERS}", "${BROKERS:-localhost:9092}")];
    reference_in_settings: [
        ("        mapping:", "        settings: { key: \"${CLIENT_SECRET}\" }\n        mapping:")
    ];
    tab_for_indentation: [("  group: xylem", "\tgroup: xylem")];
    reference_unquoted_in_braces: [("\"${file:password}\"", "${file:password}")];
    key_twice: [("  tenant: _acme", "  tenant: _acme\n  tenant: _other")];
    topic_in_two_pipelines: [("pipelines:\n", "pipelines:
  all:
    topics: [orders]
    chain: [{ plugin: json }]
    destinations: [orders]
    dead_letter: { topic: all.dead }
")];
    destination_unknown: [("destinations: [orders, customers]", "destinations: [order, customers]")];
    destinations_absent: [("destinations: [orders, customers]", "destinations: []")];
    plugin_unknown: [("plugin: json", "plugin: jsn")];
    dead_letters_come_round: [("topic: orders.dead", "topic: orders-eu")];
    property_with_a_secret: [("client.rack: eu-1a", "ssl.truststore.password: hunter2")];
    property_of_ours: [("client.rack: eu-1a", "enable.auto.commit: \"true\"")];
    organisation_without_suffix: [("ABCDEF@AdobeOrg", "ABCDEF")];
    tenant_without_underscore: [("tenant: _acme", "tenant: acme")];
    inlet_with_a_password: [
        ("https://dcs.adobedc.net/collection/abc123", "https://me:hunter2@dcs.adobedc.net/inlet/abc123")
    ];
    inlet_is_another_url: [("collection/abc123", "inlet/abc123")];
    schema_id_is_alt_id: [("https://ns.adobe.com/acme/schemas/1", "_acme.schemas.1")];
    raw_without_flow: [("    flow: 9c1d\n", "")];
    header_that_cannot_be_sent: [
        ("    flow: 9c1d", "    flow: 9c1d\n    headers: { x-note: \"a\\nb\", \"x note\": c, Authorization: d }")
    ];
    pipeline_without_dead_letter: [("    dead_letter: { topic: orders.dead }\n", "")];
    authenticate_without_credential: [
        ("  auth:
    client_id: 1f2e3d
    client_secret: ${CLIENT_SECRET}
    scopes: [openid, AdobeID]
", ""),
        ("dataset: 64b7", "dataset: 64b7\n    authenticate: true"),
    ];
    files_missing: [
        ("schemas/1, file: order.schema.json", "schemas/1, file: schemas/order.json"),
        ("order.map.yaml", "order.mapping.yaml"),
        ("pipelines:\n", "plugins:\n  geo: { component: geo.wasm }\npipelines:\n"),
    ];
    component_is_a_core_module: [("pipelines:\n", "plugins:\n  geo: { component: core.wasm }\npipelines:\n")];
    secret_in_the_wrong_shape: [("\"${file:password}\"", "[hunter2]")];
    many_at_once: [
        ("  group: xylem-orders\n", "  grupo: xylem-orders\n"),
        ("start: earliest", "start: first"),
        ("tenant: _acme", "tenant: acme"),
        ("scopes: [openid, AdobeID]", "scopes: openid"),
        ("destinations: [orders, customers]", "destinations: [ordres, customers]"),
        ("dead_letter: { topic: orders.dead }", "dead_letter: orders.dead"),
    ];
    empty_file: [(GOOD, "")];
    section_without_contents: [(GOOD, "kafka:\naep:\ndestinations:\npipelines:\n")];
}

#[test]
fn a_good_configuration_loads() {
    let folder = Folder::new();
    let loaded = folder.load(&with(&[("tls: {}", "tls: { ca_file: ca.pem }")])).unwrap();
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    let config = loaded.config;
    let ca_file = config.kafka.tls.unwrap().ca_file.unwrap();
    assert_eq!(ca_file, folder.dir.path().join("ca.pem"));
    assert_eq!(config.kafka.brokers.as_str(), "kafka-1:9092,kafka-2:9092");
    assert_eq!(config.kafka.sasl.unwrap().password.expose(), "s3cret-password");
    assert_eq!(config.aep.auth.unwrap().client_secret.expose(), "s3cret-client");
    assert_eq!(config.destinations["orders"].batch.max_messages, 1_000);
    assert_eq!(config.pipelines["orders"].chain[0].mapping, Some(PathBuf::from("order.map.yaml")));
    assert_eq!(config.limits.call_records, 256);
    let read = loaded.inputs.fingerprint();
    let names: Vec<_> = read.paths().filter_map(|path| path.file_name()?.to_str()).collect();
    for name in ["password", "ca.pem", "order.map.yaml"] {
        assert!(names.contains(&name), "{names:?}");
    }
}

#[test]
fn warnings_do_not_stop_us() {
    snapshot(
        "warnings",
        &warnings(&[
            ("mechanism: SCRAM-SHA-512", "mechanism: PLAIN"),
            ("  tls: {}\n", ""),
            (
                "https://dcs.adobedc.net/collection/abc123",
                "http://dcs.adobedc.net/collection/abc123",
            ),
            ("destinations: [orders, customers]", "destinations: [orders]"),
            ("pipelines:\n", "plugins:\n  csv: {}\npipelines:\n"),
        ]),
    );
}

#[test]
fn a_file_that_is_not_there() {
    let missing = load_with(Path::new("no/such.yaml"), &Environment::new(), &Inputs::new("no"))
        .err()
        .unwrap();
    snapshot("file_missing", &missing.to_string());
}

#[test]
fn the_examples_are_good() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let mut seen = 0;
    for entry in std::fs::read_dir(examples).unwrap() {
        let path = entry.unwrap().path().join("xylem.yaml");
        if path.is_file() {
            seen += 1;
            match load_with(&path, &Environment::new(), &Inputs::beside(&path)) {
                Ok(loaded) => assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings),
                Err(errors) => panic!("{errors}"),
            }
        }
    }
    assert!(seen > 0, "there are no examples");
}

/// Invariant 10: whatever is wrong around a secret, its text is in no message.
#[test]
fn invariant_10_no_mistake_shows_a_secret() {
    let password = "password: \"${file:password}\"";
    for change in [
        "password: hunter2, colour: red",
        "pasword: hunter2",
        "password: [hunter2]",
        "password: { a: hunter2 }",
        "password: hunter2, password: hunter2",
        "password: hunter2 }\n  x: {",
        "password: \"hunter2",
        "password: hunter2:\n",
        "password: !secret hunter2",
        "password: *hunter2",
        "\tpassword: hunter2",
    ] {
        let message = errors(&[(password, change), ("start: earliest", "start: never")]);
        assert!(!message.contains("hunter2"), "{change}\n{message}");
    }
    for (from, to) in [
        ("    client_secret: ${CLIENT_SECRET}", "    client_secret:\n      - hunter2"),
        (
            "    client_secret: ${CLIENT_SECRET}",
            "    client_secret: |\n      hunter2\n    colour: red",
        ),
        (
            "    client_secret: ${CLIENT_SECRET}",
            "    client_secret: 12345hunter2\n    client_id: x",
        ),
        ("  sasl: {", "  sasl: hunter2\n  sals: {"),
        ("    client.rack: eu-1a", "    sasl.password: hunter2"),
        ("  auth:\n", "  auth: hunter2\n  outh:\n"),
        ("  tls: {}", "  tls: { certificate_file: password, key: hunter2 }"),
        ("  tenant: _acme", "  tenant: _acme\n  proxy: user:hunter2@proxy"),
        ("    client_secret: ${CLIENT_SECRET}", "    client_secret: 'a${hunter2}'"),
        ("    client_secret: ${CLIENT_SECRET}", "    client_secret: 'a${hunter2!}'"),
        ("    client.rack: eu-1a", "    ssl.truststore.password: hunter2"),
        ("    client.rack: eu-1a", "    basic.auth.user.info: user:hunter2"),
        ("    client.rack: eu-1a", "    sals.password: hunter2"),
        ("  auth:\n", "  auth:\n    token_url: https://user:hunter2@ims.example/token\n"),
        ("  auth:\n", "  auth:\n    token_url: ftp://user:hunter2@ims.example/token\n"),
        ("  auth:\n", "  auth:\n    token_url: https://user:hunter2@ims example/token\n"),
        ("https://dcs.adobedc.net/collection/abc123", "https://u:hunter2@dcs.adobedc.net/inlet/a"),
        (
            "https://dcs.adobedc.net/collection/abc123",
            "https://u:hunter2@dcs.adobedc.net/collection/a",
        ),
        ("brokers: ${BROKERS}", "brokers: SASL_SSL://user:hunter2@kafka:9092"),
        ("kafka:\n", "kafka: &a\n  <<: { password: hunter2 }\n"),
    ] {
        let message = errors(&[(from, to)]);
        assert!(!message.contains("hunter2"), "{to}\n{message}");
    }
}

/// Whatever bytes stand in the file, the answer is a configuration or a list of problems.
#[test]
fn any_text_gives_an_answer() {
    let folder = Folder::new();
    let mut state = 1_u64;
    for _ in 0..2_000 {
        let mut text = GOOD.to_owned().into_bytes();
        for _ in 0..3 {
            // A linear congruential generator (Knuth's constants) is random enough for this.
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let at = usize::try_from(state >> 33).unwrap() % text.len();
            text[at] =
                b"\t\n :[]{}\"'&*!|>-#%@`,?0\x7f\xc3"[usize::try_from(state >> 40).unwrap() % 25];
        }
        let text = String::from_utf8_lossy(&text);
        if let Err(message) = folder.load(&text) {
            assert!(!message.contains("types differ"), "{text}\n{message}");
        }
    }
}
