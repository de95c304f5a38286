//! `xylem check`: everything that can be known without a record.

mod connect;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use super::{CacheArgs, Exit, unless_closed};
use crate::config::{self, Loaded, Problem, Severity};
use crate::generation::Generation;
use crate::plugin::{Hooks, Line, Loader, Phase, Sink, WORKER_STACK_BYTES};
use crate::trial::samples;

/// Check the configuration, schemas, mappings, plugins and samples, and say all that is wrong.
///
/// Starts the plugins and maps the samples, but connects to nothing unless `--connect` asks for it.
///
/// Ends with 0 where nothing is wrong, 1 where a sample does not give what is expected, 2 where the
/// configuration or something that it names is wrong, 3 where something cannot be reached.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// Also ask the brokers for topics and group, the token endpoint for a token, and each inlet
    /// for an answer to a batch without messages
    #[arg(long)]
    connect: bool,
    /// One JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    cache: CacheArgs,
}

/// Everything that was found; `--json` shows it.
#[derive(Serialize)]
struct Report {
    /// Whether nothing is wrong.
    valid: bool,
    /// The generation's name, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<String>,
    pipelines: Vec<Way>,
    /// How many samples gave what is expected.
    samples: usize,
    /// What was reached, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reached: Vec<String>,
    problems: Vec<Problem>,
    #[serde(skip)]
    exit: Exit,
}

/// The way of a pipeline's records.
#[derive(Serialize)]
struct Way {
    name: String,
    topics: Vec<String>,
    chain: Vec<String>,
    destinations: Vec<String>,
    dead_letter: String,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let report = match config::load(&args.config) {
        Ok(loaded) => check(args, &loaded)?,
        Err(errors) => {
            let mut report = Report::new(Vec::new());
            report.found(Exit::Configuration, errors.problems);
            report
        }
    };
    unless_closed(if args.json {
        writeln!(io::stdout(), "{}", serde_json::to_string(&report)?)
    } else {
        report.print(&mut io::stderr().lock(), &mut io::stdout().lock())
    })?;
    Ok(report.exit.into())
}

fn check(args: &Args, loaded: &Loaded) -> anyhow::Result<Report> {
    let mut report = Report::new(ways(loaded));
    report.problems.extend(loaded.warnings.iter().cloned());
    let loader = args.cache.loader()?;
    // A guest needs a worker's stack, and the main thread's may be smaller.
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("check".into());
        let checking = thread
            .stack_size(WORKER_STACK_BYTES)
            .spawn_scoped(scope, || plugins(args, loaded, &loader, &mut report))?;
        checking.join().map_err(|_| anyhow::anyhow!("the thread that runs plugins panicked"))
    })?;
    if args.connect {
        connect::check(loaded, &mut report)?;
    }
    Ok(report)
}

/// Components, schemas and mappings; then the plugins' own opinion; then the samples.
fn plugins(args: &Args, loaded: &Loaded, loader: &Loader, report: &mut Report) {
    let generation = match Generation::build(loaded, loader, None) {
        Ok(generation) => generation,
        Err(refusals) => {
            let problems = refusals.into_iter().map(|refusal| refusal.problem);
            report.found(Exit::Configuration, problems.collect());
            return;
        }
    };
    let hooks = Hooks::new(lines_to_stderr());
    if let Err(problems) = generation.start(loaded, &hooks, None, 1) {
        report.found(Exit::Configuration, problems);
        return;
    }
    report.generation = Some(generation.name.to_string());
    for pipeline in generation.pipelines.values() {
        let tried = samples::run(&args.config, loaded, pipeline, &hooks);
        report.samples += tried.good;
        report.found(Exit::No, tried.problems);
    }
}

impl Report {
    fn new(pipelines: Vec<Way>) -> Self {
        Self {
            valid: true,
            generation: None,
            pipelines,
            samples: 0,
            reached: Vec::new(),
            problems: Vec::new(),
            exit: Exit::Done,
        }
    }

    /// Adds problems. The code is that of the gravest: configuration, then samples, then what
    /// cannot be reached.
    fn found(&mut self, exit: Exit, problems: Vec<Problem>) {
        if problems.iter().any(|problem| problem.severity == Severity::Error) {
            self.valid = false;
            let gravest = [Exit::Configuration, Exit::No, Exit::Unreachable];
            let both = [self.exit, exit];
            self.exit = gravest.into_iter().find(|code| both.contains(code)).unwrap_or(exit);
        }
        self.problems.extend(problems);
    }

    /// Problems for people on `err`, what is good on `out`.
    fn print(&self, err: &mut dyn Write, out: &mut dyn Write) -> io::Result<()> {
        for problem in &self.problems {
            writeln!(err, "{problem}\n")?;
        }
        for Way { name, topics, chain, destinations, dead_letter } in &self.pipelines {
            let (topics, chain) = (topics.join(", "), chain.join(" -> "));
            let destinations = destinations.join(", ");
            writeln!(
                out,
                "{name}: {topics} -> {chain} -> {destinations}; rejected to {dead_letter}"
            )?;
        }
        for reached in &self.reached {
            writeln!(out, "{reached}")?;
        }
        if self.samples > 0 {
            writeln!(out, "{} as expected", config::count(self.samples, "sample"))?;
        }
        let errors = self.problems.iter().filter(|p| p.severity == Severity::Error).count();
        let warnings = config::count(self.problems.len() - errors, "warning");
        match &self.generation {
            Some(name) if self.valid => writeln!(out, "good, {warnings}; generation {name}"),
            _ => writeln!(err, "{}, {warnings}", config::count(errors, "error")),
        }
    }
}

fn ways(loaded: &Loaded) -> Vec<Way> {
    let pipelines = loaded.config.pipelines.iter();
    pipelines
        .map(|(name, pipeline)| Way {
            name: name.clone(),
            topics: pipeline.topics.clone(),
            chain: pipeline.chain.iter().map(|step| step.plugin.clone()).collect(),
            destinations: pipeline.destinations.clone(),
            dead_letter: pipeline.dead_letter.topic.clone(),
        })
        .collect()
}

/// What plugins say while they start goes to stderr; of what they say of samples nothing is shown.
pub(super) fn lines_to_stderr() -> Sink {
    std::sync::Arc::new(|line: Line<'_>| {
        if line.phase == Phase::Init {
            // Where stderr is gone there is nobody to tell.
            drop(writeln!(io::stderr(), "{}: {}", line.plugin, line.text));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gravest_problem_decides_the_code() {
        let error = || vec![Problem::in_file("f", "wrong")];
        for (first, second, expected) in [
            (Exit::Unreachable, Exit::No, Exit::No),
            (Exit::No, Exit::Unreachable, Exit::No),
            (Exit::Configuration, Exit::No, Exit::Configuration),
            (Exit::Unreachable, Exit::Unreachable, Exit::Unreachable),
        ] {
            let mut report = Report::new(Vec::new());
            report.found(first, error());
            report.found(second, error());
            report.found(Exit::Configuration, Vec::new());
            assert_eq!(report.exit, expected);
            assert!(!report.valid);
        }
        assert!(Report::new(Vec::new()).valid);
    }
}
