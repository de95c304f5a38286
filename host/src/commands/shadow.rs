//! `xylem shadow`: a candidate sees live records beside what runs, and delivers nothing.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::Value as Json;

use super::Exit;
use super::beside::{Beside, absolute};
use super::process::ProcessArgs;
use crate::reload::ShadowAsk;

/// Let a candidate see a share of the live records beside what runs, and say where their events differ.
///
/// It delivers nothing, and is the first to go without where there is much to do. Nothing is swapped in the end.
///
/// With --wait, ends with 0 where records were compared and every one became the same; with 1 where some did not, where
/// none came, and where it was stopped or the candidate is refused. Always 3 where no process answers.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    process: ProcessArgs,
    /// The candidate's configuration file; default is the running one's, as it is now
    #[arg(long, value_name = "FILE")]
    candidate: Option<PathBuf>,
    /// A pipeline to look at; may stand several times, default is all
    #[arg(short, long = "pipeline", value_name = "NAME")]
    pipelines: Vec<String>,
    /// The share of calls that it sees, above 0 and up to 1 [default: 0.1]
    #[arg(long)]
    share: Option<f64>,
    /// It ends after so many seconds [default: 600]
    #[arg(long)]
    seconds: Option<u64>,
    /// It ends after so many records [default: 100000]
    #[arg(long)]
    records: Option<u64>,
    /// Values shown for each path that differs, up to 20. They are contents of records
    #[arg(long, default_value_t = 0)]
    examples: usize,
    /// A JSON pointer whose values are never shown, `*` for any key; may stand several times
    #[arg(long, value_name = "POINTER")]
    redact: Vec<String>,
    /// Wait until it has ended, and show what came of it
    #[arg(long)]
    wait: bool,
    /// Start nothing: show what has come of it so far
    #[arg(long, conflicts_with_all = ["wait", "stop"])]
    report: bool,
    /// Start nothing: end the one that runs
    #[arg(long, conflicts_with = "wait")]
    stop: bool,
    /// The answer as one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let (process, json) = (&args.process, args.json);
    let shadow = Beside { process, path: "/shadow", json, ended };
    if args.report {
        return shadow.report();
    }
    if args.stop {
        return process.ask("/shadow/stop", json);
    }
    let asked = ShadowAsk {
        candidate: absolute(args.candidate.as_deref())?,
        pipelines: args.pipelines.clone(),
        share: args.share,
        seconds: args.seconds,
        records: args.records,
        examples: args.examples,
        redact: args.redact.clone(),
    };
    shadow.start(&asked, args.wait)
}

/// Whether it has ended, and whether all was the same. What was not compared is not the same.
fn ended(report: &Json) -> Option<Exit> {
    let end = report.get("end")?.as_str()?;
    let of = |pipeline: &Json, key| pipeline.get(key).and_then(Json::as_u64).unwrap_or_default();
    let is_equal = |pipeline: &Json| {
        of(pipeline, "equal") + of(pipeline, "refused_by_both") == of(pipeline, "records")
    };
    let pipelines = report.get("pipelines")?.as_object()?;
    let was_compared = pipelines.values().any(|pipeline| of(pipeline, "records") > 0);
    let same = end == "complete" && was_compared && pipelines.values().all(is_equal);
    Some(if same { Exit::Done } else { Exit::No })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::reload::shadow::ShadowEnd;

    #[test]
    fn a_shadow_that_differs_or_saw_nothing_is_a_no() {
        let report = |end: Option<ShadowEnd>, records: u64, changed: u64| {
            let pipeline = json!({
                "records": records, "equal": records - changed, "changed": changed, "refused_by_both": 0
            });
            json!({"end": end, "pipelines": {"orders": pipeline}})
        };
        assert_eq!(ended(&report(None, 5, 0)), None);
        let complete = Some(ShadowEnd::Complete);
        assert_eq!(ended(&report(complete, 5, 0)), Some(Exit::Done));
        assert_eq!(ended(&report(complete, 5, 1)), Some(Exit::No));
        assert_eq!(ended(&report(complete, 0, 0)), Some(Exit::No));
        for end in [ShadowEnd::Stopped, ShadowEnd::Failed] {
            assert_eq!(ended(&report(Some(end), 5, 0)), Some(Exit::No));
        }
    }
}
