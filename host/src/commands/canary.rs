//! `xylem canary`: a candidate gets a share of the keys, and is promoted or rolled back by its rule.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::Value as Json;

use super::Exit;
use super::beside::{Beside, absolute};
use super::process::ProcessArgs;
use crate::reload::CanaryAsk;

/// Give a candidate a share of the keys for good and real, and let a rule promote it or roll it back.
///
/// Both sides' dead letters, AEP's refusals and costs are held against one another (host/docs/reload.md). One bad
/// pipeline takes all keys back; when all are good the candidate replaces what runs. This is of one process, and of the
/// partitions that it has: where several share a group, ask each.
///
/// With --wait, ends with 0 where it was promoted, 1 where it was rolled back or refused, 2 where it needs a
/// restart. Always 3 where no process answers.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    process: ProcessArgs,
    /// The candidate's configuration file; default is the running one's, as it is now
    #[arg(long, value_name = "FILE")]
    candidate: Option<PathBuf>,
    /// The share of keys that it gets, above 0 and below 1 [default: 0.05]
    #[arg(long)]
    share: Option<f64>,
    /// How long it may take to decide, in seconds [default: 600]
    #[arg(long)]
    seconds: Option<u64>,
    /// Records of each side whose fate has to be known, in each pipeline that differs [default: 1000]
    #[arg(long)]
    min_records: Option<u64>,
    /// How many percentage points more dead letters are tolerated [default: 1]
    #[arg(long)]
    tolerance_percent: Option<f64>,
    /// Wait until it is decided, and show how
    #[arg(long)]
    wait: bool,
    /// Start nothing: show what has come of it so far
    #[arg(long, conflicts_with_all = ["wait", "stop", "promote"])]
    report: bool,
    /// Start nothing: take the keys back from the one that runs
    #[arg(long, conflicts_with_all = ["wait", "promote"])]
    stop: bool,
    /// Start nothing: give all keys to the one that runs, whatever its rule says
    #[arg(long, conflicts_with = "wait")]
    promote: bool,
    /// The answer as one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let (process, json) = (&args.process, args.json);
    let canary = Beside { process, path: "/canary", json, ended };
    if args.report {
        return canary.report();
    }
    if args.stop || args.promote {
        let path = if args.stop { "/canary/stop" } else { "/canary/promote" };
        return process.ask(path, json);
    }
    let asked = CanaryAsk {
        candidate: absolute(args.candidate.as_deref())?,
        share: args.share,
        seconds: args.seconds,
        min_records: args.min_records,
        tolerance_percent: args.tolerance_percent,
    };
    canary.start(&asked, args.wait)
}

/// Whether it is decided, and how.
fn ended(report: &Json) -> Option<Exit> {
    match report.get("state")?.as_str()? {
        "promoted" => Some(Exit::Done),
        "rolled-back" => Some(Exit::No),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reload::canary::CanaryState;

    #[test]
    fn the_states_of_a_canary_decide() {
        let of = |state: CanaryState| ended(&serde_json::json!({ "state": state }));
        assert_eq!(of(CanaryState::Running), None);
        assert_eq!(of(CanaryState::Promoted), Some(Exit::Done));
        assert_eq!(of(CanaryState::RolledBack), Some(Exit::No));
    }
}
