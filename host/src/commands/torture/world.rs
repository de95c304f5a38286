//! What a run stands on: topics, a local AEP, a folder with the configuration.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use aep_emulator::{
    Client, Emulator, Fault as Spoil, Inlet, Keep, Kind as Spoiling, LakeEntry, LakeQuery, Secret,
    Select, Settings,
};
use anyhow::Context;

use super::Args;
use super::load::{REFUSED, SCHEMA, mapping, read_id};
use crate::kafka::Peer;

/// The organisation of the run.
const ORGANISATION: &str = "00000000000000000000000A@AdobeOrg";

/// The inlet, and the destination.
const INLET: &str = "events";

/// Everything beside the processes.
pub(super) struct World {
    pub(super) peer: Peer,
    pub(super) emulator: Emulator,
    pub(super) topic: String,
    pub(super) dead: String,
    pub(super) group: String,
    /// The folder, and what removes it in the end where nobody wants it.
    pub(super) folder: PathBuf,
    _temporary: Option<tempfile::TempDir>,
}

impl World {
    /// Topics, emulator and configuration; `run` is part of all names.
    pub(super) fn new(args: &Args, run: &str) -> anyhow::Result<Self> {
        let temporary = match &args.keep {
            Some(_) => None,
            None => Some(tempfile::tempdir().context("no temporary folder")?),
        };
        let folder = match (&args.keep, &temporary) {
            (Some(keep), _) => keep.clone(),
            (None, Some(temporary)) => temporary.path().to_owned(),
            (None, None) => anyhow::bail!("no folder"),
        };
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make `{}`", folder.display()))?;
        let peer = Peer::new(&args.brokers)?;
        let replicas = i32::try_from(peer.brokers()?.min(3))?;
        let (topic, dead) = (format!("xylem-torture-{run}"), format!("xylem-torture-{run}.dead"));
        // Acknowledged by two, so that a broker that is killed takes nothing with it.
        let settings: &[(&str, &str)] =
            if replicas == 3 { &[("min.insync.replicas", "2")] } else { &[] };
        peer.create_topic(&topic, args.partitions, replicas, settings)?;
        peer.create_topic(&dead, args.partitions.min(3), replicas, settings)?;
        let emulator = Emulator::start(settings_of_emulator())?;
        let refused = Spoiling::Refuse {
            message: Select::Containing(REFUSED.to_owned()),
            status: 400,
            text: "refused by the torture".to_owned(),
        };
        emulator.control().fault(Spoil::new(refused));
        let group = format!("xylem-torture-{run}");
        let world = Self { peer, emulator, topic, dead, group, folder, _temporary: temporary };
        world.configure(&args.brokers)?;
        Ok(world)
    }

    fn configure(&self, brokers: &str) -> anyhow::Result<()> {
        let Self { topic, dead, group, emulator, .. } = self;
        let text = format!(
            "kafka:
  brokers: '{brokers}'
  group: {group}
  start: earliest
  session_timeout_ms: 6000
aep:
  organisation: {ORGANISATION}
  auth:
    token_url: {token}
    client_id: torture
    client_secret: ${{file:secret}}
    scopes: [openid]
destinations:
  {INLET}:
    inlet: {inlet}
    dataset: torture
    schema: {{id: 'https://ns.adobe.com/torture/schemas/event', file: schema.json}}
pipelines:
  torture:
    topics: [{topic}]
    chain: [{{plugin: json, mapping: mapping.yaml}}]
    destinations: [{INLET}]
    dead_letter: {{topic: {dead}}}
admin: {{listen: '127.0.0.1:0'}}
",
            token = emulator.token_url(),
            inlet = emulator.inlet_url(INLET),
        );
        for (name, content) in [
            ("xylem.yaml", text.as_str()),
            ("schema.json", SCHEMA),
            ("mapping.yaml", mapping(0).as_str()),
            ("secret", "torture-secret"),
        ] {
            write(&self.folder, name, content)?;
        }
        Ok(())
    }

    /// Puts a version of the mapping in place, at once and whole.
    pub(super) fn map(&self, version: u64) -> anyhow::Result<()> {
        write(&self.folder, "mapping.new", &mapping(version))?;
        let place = self.folder.join("mapping.yaml");
        std::fs::rename(self.folder.join("mapping.new"), &place)
            .with_context(|| format!("cannot write `{}`", place.display()))
    }

    /// Lays a configuration with a version of the mapping beside the one that runs; its name.
    pub(super) fn candidate(&self, version: u64) -> anyhow::Result<String> {
        let (name, table) =
            (format!("candidate-{version}.yaml"), format!("mapping-{version}.yaml"));
        let own = self.folder.join("xylem.yaml");
        let text = std::fs::read_to_string(&own)
            .with_context(|| format!("cannot read `{}`", own.display()))?;
        let text = text.replace("mapping: mapping.yaml", &format!("mapping: {table}"));
        write(&self.folder, &table, &mapping(version))?;
        write(&self.folder, &name, &text)?;
        Ok(name)
    }

    /// The versions of the mapping among the events after a place in the lake, which moves to its end.
    pub(super) fn versions(&self, after: &mut u64) -> BTreeSet<u64> {
        let query = LakeQuery { after: *after, limit: usize::MAX, ..LakeQuery::default() };
        let entries = self.emulator.control().lake(&query);
        *after = entries.last().map_or(*after, |entry| entry.seq);
        let version = |entry: &LakeEntry| Some(read_id(entry.entity_id.as_deref()?)?.2);
        entries.iter().filter_map(version).collect()
    }

    /// How many records are not settled, by the committed offsets.
    pub(super) fn open(&self, partitions: i32) -> anyhow::Result<u64> {
        let progress = self.peer.progress(&self.group, &self.topic, partitions)?;
        let open = |(end, committed): (i64, Option<i64>)| {
            u64::try_from(end - committed.unwrap_or(0)).unwrap_or(0)
        };
        Ok(progress.into_iter().map(open).sum())
    }

    /// Waits until everything is settled; how many records are not after a time without progress.
    pub(super) fn drain(
        &self,
        partitions: i32,
        patience: Duration,
        mut look: impl FnMut() -> anyhow::Result<bool>,
    ) -> anyhow::Result<u64> {
        let (mut least, mut since) = (u64::MAX, Instant::now());
        loop {
            let complete = look()?;
            // A broker may be on its way back: asked again.
            let open = self.open(partitions).unwrap_or(u64::MAX);
            if open == 0 && complete {
                return Ok(0);
            }
            if open < least {
                (least, since) = (open, Instant::now());
            } else if since.elapsed() > patience {
                return Ok(open);
            }
            std::thread::park_timeout(Duration::from_millis(200));
        }
    }
}

fn settings_of_emulator() -> Settings {
    Settings {
        org: Some(ORGANISATION.to_owned()),
        clients: vec![Client {
            id: "torture".to_owned(),
            secrets: vec![Secret("torture-secret".to_owned())],
            scopes: Vec::new(),
        }],
        inlets: vec![Inlet {
            name: INLET.to_owned(),
            authentication_required: true,
            ..Inlet::default()
        }],
        keep: Keep::Ids,
        validate: false,
        ..Settings::default()
    }
}

fn write(folder: &Path, name: &str, content: &str) -> anyhow::Result<()> {
    let file = folder.join(name);
    std::fs::write(&file, content).with_context(|| format!("cannot write `{}`", file.display()))
}
