//! `cargo xtask test`: everything that has to hold, with what each part of it costs.

mod count;

use std::ffi::OsString;
use std::fmt;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use self::count::Count;
use crate::{guests, process, tools};

/// What of it is to run.
#[derive(Args)]
pub(crate) struct Options {
    /// Run this part only; may be given more than once
    #[arg(long, value_name = "PART")]
    only: Vec<Part>,
    /// Passed on to `cargo test`, such as a test's name
    #[arg(last = true)]
    arguments: Vec<OsString>,
}

/// The parts, in the order in which they run.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// `cargo fmt --check`
    Fmt,
    /// Install Apache Kafka and jco into `target/tools`
    Tools,
    /// Build the guests into `target/plugins`
    Plugins,
    /// `cargo clippy` for this machine and, for the guests, for wasm
    Clippy,
    /// Compile the programs and all tests
    Build,
    /// `cargo test` of the whole workspace
    Test,
    /// `cargo doc`, warnings being errors
    Doc,
}

/// What a part cost: time on the clock, and CPU time of all it started, which says the same on a
/// busy machine.
struct Cost {
    time: Duration,
    cpu: Duration,
}

impl fmt::Display for Cost {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (time, cpu) = (self.time.as_secs_f64(), self.cpu.as_secs_f64());
        write!(out, "{time:>7.1} s {cpu:>7.1} s")
    }
}

/// How a part ended.
enum End {
    Passed,
    Skipped(String),
    Failed(String),
}

/// Runs the parts, all of them even where one fails, then says what each cost and how it ended.
pub(crate) fn run(options: &Options) -> ExitCode {
    let chosen = |part: &Part| options.only.is_empty() || options.only.contains(part);
    let mut count = Count::default();
    let mut rows = Vec::new();
    for &part in Part::value_variants().iter().filter(|part| chosen(part)) {
        println!("--- {}", name(part));
        let (begin, cpu) = (Instant::now(), process::cpu_of_children());
        let end = run_part(part, options, &mut count)
            .unwrap_or_else(|error| End::Failed(format!("{error:#}")));
        let cost =
            Cost { time: begin.elapsed(), cpu: process::cpu_of_children().saturating_sub(cpu) };
        rows.push((part, cost, end));
    }

    println!("\n{:<10} {:>9} {:>9}  end", "part", "time", "CPU");
    for (part, cost, end) in &rows {
        println!("{:<10} {cost}  {}", name(*part), end.words());
    }
    let time = rows.iter().map(|(_, cost, _)| cost.time).sum();
    let cpu = rows.iter().map(|(_, cost, _)| cost.cpu).sum();
    println!("{:<10} {}\n", "all", Cost { time, cpu });
    for skip in &count.skips {
        println!("skipped: {skip}");
    }
    println!("{} passed, {} failed, {} skipped", count.passed(), count.failed, count.skipped());
    let failed = rows.iter().any(|(_, _, end)| matches!(end, End::Failed(_)));
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn run_part(part: Part, options: &Options, count: &mut Count) -> Result<End> {
    match part {
        Part::Tools => missing_tools(&tools::install()),
        Part::Plugins => {
            let built = guests::build()?;
            print!("{built}");
            missing_tools(&built.missing)
        }
        Part::Fmt => {
            process::run(process::cargo()?.args(["fmt", "--all", "--check"]))?;
            Ok(End::Passed)
        }
        Part::Clippy => clippy(),
        Part::Build => {
            // Tests start the programs that ship; `cargo test` alone does not build them.
            process::build_programs()?;
            let mut cargo = process::cargo()?;
            process::run(cargo.args(["test", "--release", "--workspace", "--no-run"]))?;
            Ok(End::Passed)
        }
        Part::Test => {
            let mut cargo = process::cargo()?;
            cargo.args(["test", "--release", "--workspace", "--no-fail-fast"]);
            let status = count.run(cargo.args(&options.arguments))?;
            if status.success() { Ok(End::Passed) } else { bail!("`cargo test`: {status}") }
        }
        Part::Doc => {
            let mut cargo = process::cargo()?;
            cargo.args(["doc", "--release", "--workspace", "--no-deps"]);
            process::run(cargo.arg("--document-private-items").env("RUSTDOCFLAGS", "-D warnings"))?;
            Ok(End::Passed)
        }
    }
}

fn clippy() -> Result<End> {
    let mut host = process::cargo()?;
    host.args(["clippy", "--release", "--workspace", "--all-targets", "--"]);
    process::run(host.args(["-D", "warnings"]))?;
    guests::add_target()?;
    let mut wasm = process::cargo()?;
    wasm.args(["clippy", "--profile", "guest", "--target", "wasm32-wasip2"]);
    process::run(wasm.args(guests::package_arguments()).args(["--", "-D", "warnings"]))?;
    Ok(End::Passed)
}

/// A tool that is missing is a skip with its reason, and a failure where `CI=true`.
fn missing_tools(reasons: &[String]) -> Result<End> {
    if reasons.is_empty() {
        return Ok(End::Passed);
    }
    let reasons = reasons.join("; ");
    if std::env::var_os("CI").is_some_and(|value| value == "true") {
        bail!("missing where `CI=true`: {reasons}");
    }
    Ok(End::Skipped(reasons))
}

impl End {
    fn words(&self) -> String {
        match self {
            Self::Passed => "passed".to_owned(),
            Self::Skipped(reason) => format!("skipped: {reason}"),
            Self::Failed(reason) => format!("FAILED: {reason}"),
        }
    }
}

fn name(part: Part) -> String {
    part.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}
