//! The demo's world: the six examples in one configuration, an in-process Kafka, a local AEP.

use std::collections::BTreeMap;
use std::path::Path;

use aep_emulator::{Client, Dataset, Emulator, Inlet, Schema, Secret as ClientSecret, Settings};
use anyhow::Context;
use include_dir::{Dir, include_dir};
use tempfile::TempDir;

use crate::config::{self, Address, Auth, Config, GroupProtocol, Loaded, Secret, Start};
use crate::kafka::MockCluster;
use crate::reload::Source;
use crate::trial::{Cut, split};

/// Partitions of each example topic.
pub(super) const PARTITIONS: i32 = 2;

/// The examples as they stand in the repository, in the order in which they are shown.
static EXAMPLES: [(&str, Dir<'_>); 6] = [
    ("website", include_dir!("$CARGO_MANIFEST_DIR/../examples/website")),
    ("mobile", include_dir!("$CARGO_MANIFEST_DIR/../examples/mobile")),
    ("pos", include_dir!("$CARGO_MANIFEST_DIR/../examples/pos")),
    ("crm", include_dir!("$CARGO_MANIFEST_DIR/../examples/crm")),
    ("call-centre", include_dir!("$CARGO_MANIFEST_DIR/../examples/call-centre")),
    ("transactions", include_dir!("$CARGO_MANIFEST_DIR/../examples/transactions")),
];

/// What runs beside the process, and what it is told.
pub(super) struct SetUp {
    /// The in-process Kafka.
    pub(super) cluster: MockCluster,
    /// The local AEP.
    pub(super) emulator: Emulator,
    /// The configuration.
    pub(super) config: Config,
    /// What is written to the topics.
    pub(super) inputs: Vec<Input>,
    /// Holds the examples' files.
    folder: TempDir,
}

/// An example file: records of one pipeline.
pub(super) struct Input {
    /// The pipeline.
    pub(super) pipeline: String,
    /// Its topic.
    pub(super) topic: String,
    /// The records, in order.
    pub(super) records: Vec<Vec<u8>>,
}

impl SetUp {
    /// Where the examples' files are.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What the process is started from.
    pub(super) fn source(&self) -> Source {
        Source::Assembled(Box::new(self.config.clone()))
    }

    /// Everything but the process itself.
    pub(super) fn new(admin: &str) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("no temporary folder for the examples")?;
        let (mut config, inputs) = examples(folder.path())?;
        let emulator = Emulator::start(emulator_settings(&config))?;
        let topics = topics(&config);
        let named: Vec<(&str, i32)> = topics.iter().map(|(t, n)| (t.as_str(), *n)).collect();
        let cluster = MockCluster::start(&named)?;
        point_at(&mut config, &cluster, &emulator, admin);
        Ok(Self { cluster, emulator, config, inputs, folder })
    }
}

/// The examples' configurations as one, paths made absolute, and their data.
fn examples(folder: &Path) -> anyhow::Result<(Config, Vec<Input>)> {
    let mut whole: Option<Config> = None;
    let mut inputs = Vec::new();
    for (name, files) in &EXAMPLES {
        let base = folder.join(name);
        std::fs::create_dir_all(&base)?;
        files.extract(&base).with_context(|| format!("cannot write the example `{name}`"))?;
        let file = base.join("xylem.yaml");
        let loaded = config::load_with(&file, &BTreeMap::new(), &config::Inputs::beside(&file))?;
        inputs.extend(data(&loaded, &base.join("data"))?);
        let example = absolute(&loaded);
        match &mut whole {
            None => whole = Some(example),
            Some(config) => {
                config.destinations.extend(example.destinations);
                config.pipelines.extend(example.pipelines);
                config.plugins.extend(example.plugins);
            }
        }
    }
    Ok((whole.context("there is no example")?, inputs))
}

fn absolute(loaded: &Loaded) -> Config {
    let mut config = loaded.config.clone();
    for destination in config.destinations.values_mut() {
        destination.schema.file = loaded.resolve(&destination.schema.file);
    }
    for pipeline in config.pipelines.values_mut() {
        pipeline.samples = pipeline.samples.as_ref().map(|path| loaded.resolve(path));
        for step in &mut pipeline.chain {
            step.mapping = step.mapping.as_ref().map(|path| loaded.resolve(path));
            for path in step.lookups.values_mut() {
                *path = loaded.resolve(&*path);
            }
        }
    }
    config
}

/// The files of an example's `data` folder; `PIPELINE.EXT` or `PIPELINE.NAME.EXT`.
fn data(loaded: &Loaded, folder: &Path) -> anyhow::Result<Vec<Input>> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .with_context(|| format!("`{}`", folder.display()))?
        .collect::<Result<_, _>>()?;
    files.sort_by_key(std::fs::DirEntry::file_name);
    let mut inputs: Vec<Input> = Vec::new();
    for file in files {
        let name = file.file_name().to_string_lossy().into_owned();
        let pipeline = name.split('.').next().unwrap_or_default().to_owned();
        let settings = loaded.config.pipelines.get(&pipeline);
        let settings = settings.with_context(|| format!("`{name}` names no pipeline"))?;
        let topic = settings.topics.first().cloned().unwrap_or_default();
        let bytes = std::fs::read(file.path())?;
        let cut = Cut::of(settings.split, settings.chain.first());
        let records = split(&bytes, cut).into_iter().map(<[u8]>::to_vec);
        match inputs.iter_mut().find(|input| input.pipeline == pipeline) {
            Some(input) => input.records.extend(records),
            None => inputs.push(Input { pipeline, topic, records: records.collect() }),
        }
    }
    Ok(inputs)
}

/// Every topic with its partitions: those of the pipelines, then their dead-letter topics.
fn topics(config: &Config) -> Vec<(String, i32)> {
    let mut topics: BTreeMap<String, i32> = BTreeMap::new();
    for pipeline in config.pipelines.values() {
        topics.extend(pipeline.topics.iter().map(|topic| (topic.clone(), PARTITIONS)));
        topics.insert(pipeline.dead_letter.topic.clone(), 1);
    }
    topics.into_iter().collect()
}

/// An AEP that knows the examples' schemas and datasets, with an inlet for each destination.
fn emulator_settings(config: &Config) -> Settings {
    let mut settings = Settings {
        org: Some(config.aep.organisation.as_str().to_owned()),
        clients: vec![Client {
            id: "demo".to_owned(),
            secrets: vec![ClientSecret("demo-secret".to_owned())],
            scopes: Vec::new(),
        }],
        validate: true,
        ..Settings::default()
    };
    let mut schemas: BTreeMap<String, Schema> = BTreeMap::new();
    let mut datasets: BTreeMap<String, Dataset> = BTreeMap::new();
    for (name, destination) in &config.destinations {
        settings.inlets.push(Inlet {
            name: name.clone(),
            authentication_required: true,
            ..Inlet::default()
        });
        let id = destination.schema.id.as_str().to_owned();
        let dataset = destination.dataset.as_str().to_owned();
        datasets.insert(dataset.clone(), Dataset { id: dataset, schema: Some(id.clone()) });
        let file = Some(destination.schema.file.clone());
        schemas.insert(id.clone(), Schema { id: Some(id), file, document: None });
    }
    settings.schemas = schemas.into_values().collect();
    settings.datasets = datasets.into_values().collect();
    settings
}

/// Turns the examples' addresses to the demo's own world.
fn point_at(config: &mut Config, cluster: &MockCluster, emulator: &Emulator, admin: &str) {
    config.kafka.brokers = Address::literal(cluster.bootstrap());
    "demo".clone_into(&mut config.kafka.group);
    config.kafka.start = Start::Earliest;
    // A first join of the classic protocol takes three seconds on the mock cluster.
    config.kafka.protocol = GroupProtocol::Consumer;
    config.kafka.cluster_id = Some("demo".to_owned());
    config.aep.auth = Some(Auth {
        token_url: Address::literal(emulator.token_url()),
        client_id: Address::literal("demo"),
        client_secret: Secret::literal("demo-secret"),
        scopes: vec!["openid".to_owned()],
    });
    admin.clone_into(&mut config.admin.listen);
    // The demo asks for its reloads itself, so that each has its report.
    config.reload.watch = false;
    for (name, destination) in &mut config.destinations {
        destination.inlet = Address::literal(emulator.inlet_url(name));
    }
}
