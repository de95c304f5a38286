//! What `xylem shadow` and `xylem canary` have in common: a candidate runs beside what runs, for a while.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value as Json;

use super::process::{self, JSON, ProcessArgs, TEXT};
use super::{Exit, say};

/// How often it is asked whether it has ended.
const LOOK: Duration = Duration::from_millis(500);

/// A shadow or a canary of a running process.
pub(super) struct Beside<'a> {
    pub(super) process: &'a ProcessArgs,
    /// `/shadow` or `/canary`.
    pub(super) path: &'static str,
    pub(super) json: bool,
    /// How a report says that it has ended, and how the command ends then.
    pub(super) ended: fn(&Json) -> Option<Exit>,
}

impl Beside<'_> {
    /// Starts it and shows the gate's report; where it is to be waited for, shows what came of it.
    pub(super) fn start(&self, asked: &impl Serialize, wait: bool) -> anyhow::Result<ExitCode> {
        let asked = serde_json::to_string(asked)?;
        let accept = if self.json { JSON } else { TEXT };
        let said = match self.process.call(self.path, Some(&asked), accept)? {
            Ok(said) => said,
            Err(exit) => return Ok(exit.into()),
        };
        if !wait || process::exit(said.status, said.header.as_deref()) != Exit::Done {
            return process::show(&said);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        loop {
            let now = match self.process.call(self.path, None, JSON)? {
                Ok(now) => now,
                Err(exit) => return Ok(exit.into()),
            };
            let report: Option<Json> = serde_json::from_str(&now.text).ok();
            let Some(report) = report.filter(|_| now.status == 200) else {
                // It was started again, say, and knows nothing of this one.
                say(format_args!("its report can no longer be read: {}", now.text.trim_end()));
                return Ok(Exit::Unreachable.into());
            };
            if let Some(exit) = (self.ended)(&report) {
                self.report()?;
                return Ok(exit.into());
            }
            runtime.block_on(async { tokio::time::sleep(LOOK).await });
        }
    }

    /// Shows what has come of it so far.
    pub(super) fn report(&self) -> anyhow::Result<ExitCode> {
        let accept = if self.json { JSON } else { TEXT };
        match self.process.call(self.path, None, accept)? {
            Ok(said) => process::show(&said),
            Err(exit) => Ok(exit.into()),
        }
    }
}

/// The path as the other process can find it.
pub(super) fn absolute(candidate: Option<&Path>) -> std::io::Result<Option<PathBuf>> {
    candidate.map(std::path::absolute).transpose()
}
