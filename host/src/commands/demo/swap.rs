//! A mapping is edited while records flow: what its sample does not allow does not get in, and what
//! gets in shows in the next events.

use std::io::Write;

use aep_emulator::LakeQuery;
use anyhow::Context as _;
use serde_json::Value as Json;

use super::ledger::Ledger;
use super::set_up::SetUp;
use super::{PORTION, rest, wait_settled};
use crate::app::App;
use crate::kafka::Peer;
use crate::reload::{Ask, Cause, Outcome, Report};

/// The pipeline whose mapping is edited, and the files below the examples' folder.
const PIPELINE: &str = "website";
const MAPPING: &str = "website/mappings/segment.yaml";
const EXPECTED: &str = "website/samples/calls.expected.json";

/// What stands in both files, and what is put in its place.
const CHANNEL: [&str; 2] = ["xdm/channels/web", "xdm/channels/web-shop"];

/// The process, and what it works on.
pub(super) struct Swap<'a> {
    pub(super) app: &'a App,
    pub(super) set_up: &'a SetUp,
    pub(super) peer: &'a Peer,
    pub(super) ledger: &'a mut Ledger,
}

impl Swap<'_> {
    /// Edits the mapping alone, then what its sample expects, too. True where the first was refused, the
    /// second swapped in, and the events say so.
    pub(super) fn show(&mut self, out: &mut impl Write) -> anyhow::Result<bool> {
        writeln!(
            out,
            "\nA mapping is edited while records flow, `{}` -> `{}`:",
            CHANNEL[0], CHANNEL[1]
        )?;
        let refused = self.edit(MAPPING)?;
        write!(out, "\n  {MAPPING}\n{}", indented(&refused))?;
        let swapped = self.edit(EXPECTED)?;
        write!(out, "\n  {EXPECTED}, too\n{}", indented(&swapped))?;
        self.write(usize::MAX)?;
        wait_settled(self.app, self.ledger);
        let [first, last] = self.channels()?;
        writeln!(out, "\n  channel._id of the first event of `{PIPELINE}`: {first}")?;
        writeln!(out, "  channel._id of the last one:               {last}")?;
        Ok(refused.outcome == Outcome::Refused
            && swapped.outcome == Outcome::Swapped
            && first.ends_with(CHANNEL[0])
            && last.ends_with(CHANNEL[1]))
    }

    /// Edits a file, asks for a reload, and writes records until it is done.
    fn edit(&mut self, file: &str) -> anyhow::Result<Report> {
        let path = self.set_up.folder().join(file);
        let text = std::fs::read_to_string(&path)?;
        std::fs::write(&path, text.replace(CHANNEL[0], CHANNEL[1]))?;
        let reloader = self.app.reloader().context("nothing is reloaded here")?;
        let mut report = reloader.ask(Ask::Reload, Cause::Asked);
        loop {
            match report.try_recv() {
                Ok(report) => return Ok(report),
                Err(tokio::sync::oneshot::error::TryRecvError::Empty) => self.write(PORTION)?,
                Err(error) => return Err(error.into()),
            }
            rest(self.app);
        }
    }

    /// Writes the pipeline's first records once more.
    fn write(&mut self, count: usize) -> anyhow::Result<()> {
        for input in self.set_up.inputs.iter().filter(|input| input.pipeline == PIPELINE) {
            let records: Vec<&[u8]> = input.records.iter().take(count).map(Vec::as_slice).collect();
            self.peer.write(&input.topic, 0, &records)?;
            self.ledger.note(input, 0, records.len());
        }
        Ok(())
    }

    /// What the first and the last event of the pipeline say of their channel, as AEP has them.
    fn channels(&self) -> anyhow::Result<[String; 2]> {
        let query = LakeQuery { limit: usize::MAX, entities: true, ..LakeQuery::default() };
        let events = self.set_up.emulator.control().lake(&query);
        let channel = |entity: &str| {
            let entity: Json = serde_json::from_str(entity).ok()?;
            let channel = entity.pointer("/channel/_id")?.as_str()?;
            channel.contains(CHANNEL[0]).then(|| channel.to_owned())
        };
        let mut channels = events.iter().filter_map(|event| channel(event.entity.as_ref()?.get()));
        let first = channels.next().context("no event says its channel")?;
        let last = channels.next_back().unwrap_or_else(|| first.clone());
        Ok([first, last])
    }
}

fn indented(report: &Report) -> String {
    super::show::indented(&super::show::indented(report.to_string().trim_end())) + "\n"
}
