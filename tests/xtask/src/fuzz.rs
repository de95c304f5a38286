//! `cargo xtask fuzz`: libFuzzer over the parsers of foreign bytes, guided by coverage.
//!
//! A stable rustc does: `tests/fuzz/instrument` has LLVM's own pass count edges, in our crates alone.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::{process, workspace};

/// What is fuzzed, and for how long.
#[derive(Args)]
pub(crate) struct Options {
    /// Seconds for each target
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Which ones; all where none is named
    #[arg(value_parser = [RESPONSE, COMPONENT, CONFIGURATION])]
    targets: Vec<String>,
}

/// What AEP answers.
const RESPONSE: &str = "response";
/// What lies where a component should.
const COMPONENT: &str = "component";
/// The configuration and a mapping.
const CONFIGURATION: &str = "configuration";

/// What a run of one target came to, in libFuzzer's numbers.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    /// Edges covered by the corpus, and in the end.
    coverage: Option<(u64, u64)>,
    /// Inputs tried.
    runs: u64,
    runs_per_second: u64,
}

/// Fuzzes the targets one after the other, then says what came of it.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let program = build()?;
    let mut rows = Vec::new();
    let mut failed = false;
    for name in [RESPONSE, COMPONENT, CONFIGURATION] {
        if !options.targets.is_empty() && !options.targets.iter().any(|target| target == name) {
            continue;
        }
        println!("--- {name}, {} s", options.seconds);
        let (outcome, crash) = fuzz(&program, name, options.seconds)?;
        let Some((before, after)) = outcome.coverage.filter(|(_, after)| *after > 0) else {
            bail!("`{name}` reports no coverage: `tests/fuzz/instrument` was not used");
        };
        failed |= crash.is_some();
        let end =
            crash.map_or_else(|| "nothing found".to_owned(), |crash| format!("FAILED: {crash}"));
        let Outcome { runs, runs_per_second, .. } = outcome;
        rows.push(format!(
            "{name:<14} {runs:>10} {runs_per_second:>8} {before:>9} {after:>9}  {end}"
        ));
    }
    println!("\n{:<14} {:>10} {:>8} {:>9} {:>9}", "target", "inputs", "inputs/s", "edges", "then");
    for row in rows {
        println!("{row}");
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Builds the targets with coverage.
fn build() -> Result<PathBuf> {
    let wrapper = workspace::root()?.join("tests/fuzz/instrument");
    let mut build = process::cargo()?;
    build.args(["build", "--release", "--workspace", "--features", "xylem-fuzz/libfuzzer"]);
    process::run(build.args(["--bin", "xylem-fuzz"]).env("RUSTC_WORKSPACE_WRAPPER", wrapper))?;
    Ok(workspace::target()?.join("release/xylem-fuzz"))
}

/// Fuzzes one target: from the corpus in the tree and from what earlier runs found, which stays in
/// `target/fuzz`. What breaks a promise is left there, too; how to run it again is returned.
fn fuzz(program: &Path, name: &str, seconds: u32) -> Result<(Outcome, Option<String>)> {
    let kept = workspace::target()?.join("fuzz");
    let (found, scratch) = (kept.join("corpus").join(name), kept.join("scratch"));
    for folder in [&found, &scratch] {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot create `{}`", folder.display()))?;
    }
    let tree = workspace::root()?.join("tests/fuzz");
    let mut command = Command::new(program);
    command
        .env("XYLEM_FUZZ_TARGET", name)
        // Folders that a target makes go with the chore.
        .env("TMPDIR", &scratch)
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/{name}-", kept.display()))
        // An input has 10 s; more than 1 GiB is too much for any.
        .args(["-timeout=10", "-rss_limit_mb=1024", "-max_len=16384", "-print_final_stats=1"])
        .args([&found, &tree.join("corpus").join(name)]);
    let dictionary = tree.join("dictionaries").join(name);
    if dictionary.is_file() {
        command.arg(format!("-dict={}", dictionary.display()));
    }
    let output = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .with_context(|| format!("cannot start `{}`", program.display()))?;
    std::fs::remove_dir_all(&scratch).context("cannot tidy")?;
    let said = String::from_utf8_lossy(&output.stderr);
    let outcome = read(&said);
    if output.status.success() {
        return Ok((outcome, None));
    }
    let tail: Vec<&str> = said.lines().rev().take(60).collect();
    for line in tail.iter().rev() {
        eprintln!("{line}");
    }
    let input =
        said.lines().find_map(|line| line.split_once("Test unit written to ")).map(|(_, p)| p);
    let input = input.unwrap_or("(no input was left)");
    let again = format!("XYLEM_FUZZ_TARGET={name} {} {input}", program.display());
    Ok((outcome, Some(again)))
}

/// Reads libFuzzer's log.
fn read(log: &str) -> Outcome {
    let mut outcome = Outcome::default();
    let coverage = log.lines().filter_map(|line| number(line.split_once(" cov: ")?.1));
    for edges in coverage {
        let (first, _) = outcome.coverage.unwrap_or((edges, edges));
        outcome.coverage = Some((first, edges));
    }
    for line in log.lines() {
        let Some((name, value)) = line.strip_prefix("stat::").and_then(|s| s.split_once(':'))
        else {
            continue;
        };
        match name {
            "number_of_executed_units" => outcome.runs = number(value).unwrap_or_default(),
            "average_exec_per_sec" => outcome.runs_per_second = number(value).unwrap_or_default(),
            _ => {}
        }
    }
    outcome
}

/// The number at the beginning of a text.
fn number(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libfuzzers_log_is_read() {
        let log = "#2\tINITED cov: 120 ft: 130 corp: 1/1b exec/s: 0 rss: 30Mb\n\
                   #99\tNEW    cov: 131 ft: 140 corp: 2/8b lim: 4 exec/s: 0 rss: 30Mb L: 7/7\n\
                   #5000\tDONE   cov: 131 ft: 141 corp: 3/9b\n\
                   stat::number_of_executed_units: 5000\n\
                   stat::average_exec_per_sec:     2500\n";
        let expected = Outcome { coverage: Some((120, 131)), runs: 5_000, runs_per_second: 2_500 };
        assert_eq!(read(log), expected);
        assert_eq!(read("nothing of it"), Outcome::default());
    }
}
