//! The gate: the steps that a candidate passes before it may replace the generation that runs.
//!
//! What is read is read once, so that what was checked is what will run. Everything that costs happens
//! here, on a thread that lets the workers go first and in the compiler's process.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::recent::{Recent, prove};
use super::report::{Decision, Outcome, Passed, StepReport};
use crate::config::{
    Config, ConfigErrors, Environment, Fingerprint, Inputs, KeyPath, Loaded, Problem, load_with,
};
use crate::generation::{Generation, STEPS, Step};
use crate::http::client;
use crate::plugin::{Hooks, Loader, Sink, WORKER_STACK_BYTES};
use crate::stop;
use crate::trial::samples;

/// How far the gate's thread steps back: it has a tenth of the weight of a worker.
const STEP_BACK: i32 = 10;

/// Why a candidate is given up that nothing is wrong with.
const GIVEN_UP: &str =
    "the candidate was given up, since somebody asked for something that cannot wait";

/// A generation that may run, and what it was made of.
#[derive(Clone)]
pub struct Candidate {
    /// The configuration.
    pub loaded: Arc<Loaded>,
    /// What it says.
    pub generation: Arc<Generation>,
    /// Its configuration's file, where that is another one than a reload reads.
    pub elsewhere: Option<PathBuf>,
}

impl Candidate {
    /// What its files held.
    pub fn fingerprint(&self) -> Fingerprint {
        self.loaded.inputs.fingerprint()
    }

    /// Whether a swap to the other would change nothing.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.generation.name == other.generation.name
            && self.loaded.config == other.loaded.config
            && self.has_same_aep(other)
    }

    /// Whether both reach AEP in the same way.
    pub(super) fn has_same_aep(&self, other: &Self) -> bool {
        let (ours, theirs) = (&self.loaded.config.aep, &other.loaded.config.aep);
        let same_file = |file| self.fingerprint().agrees_on(&other.fingerprint(), file);
        ours == theirs && ours.ca_file.as_deref().is_none_or(same_file)
    }

    /// The same with the other's secrets.
    pub(super) fn with_secrets_of(&self, other: &Self) -> Self {
        let loaded = Arc::new(self.loaded.with_secrets_of(&other.loaded));
        Self { loaded, ..self.clone() }
    }

    /// Whether the other one differs from it in secrets alone.
    pub(super) fn is_rotated_to(&self, other: &Self) -> bool {
        let rotated = self.loaded.with_secrets_of(&other.loaded);
        self.generation.name == other.generation.name && rotated.config == other.loaded.config
    }

    /// Something that it has in common with what was left, and not with what runs; in words.
    pub(super) fn brings_back(&self, left: &Self, running: &Self) -> Option<String> {
        for (name, pipeline) in &self.generation.pipelines {
            let is_of = |other: &Self| {
                other.generation.pipelines.get(name).is_some_and(|theirs| pipeline.is_same(theirs))
            };
            if is_of(left) && !is_of(running) {
                return Some(format!("pipeline `{name}`"));
            }
        }
        let returns = self.has_same_aep(left) && !self.has_same_aep(running);
        returns.then(|| "the section `aep`".to_owned())
    }
}

/// Where candidates come from.
pub enum Source {
    /// A configuration file, and the environment as it was at the start.
    File(PathBuf, Environment),
    /// A configuration that the program put together; the files that it names may change.
    Assembled(Box<Config>),
}

impl Source {
    /// Reads everything anew; what was read is noted in the inputs.
    fn read(&self) -> (Inputs, Result<Loaded, ConfigErrors>) {
        match self {
            Self::File(file, environment) => {
                let inputs = Inputs::beside(file);
                let loaded = load_with(file, environment, &inputs);
                (inputs, loaded)
            }
            Self::Assembled(config) => {
                let loaded = Loaded::assembled((**config).clone());
                (loaded.inputs.clone(), Ok(loaded))
            }
        }
    }

    /// The configuration's file, for those who have to name it.
    fn file(&self) -> PathBuf {
        match self {
            Self::File(file, _) => file.clone(),
            Self::Assembled(_) => PathBuf::from("xylem.yaml"),
        }
    }
}

/// The gate.
pub struct Gate {
    /// Where candidates come from.
    pub source: Source,
    /// Loads and compiles components.
    pub loader: Loader,
    /// Where guests' lines go.
    pub sink: Sink,
    /// The last records of what runs.
    pub recent: Arc<Recent>,
}

/// How a candidate came through the gate.
pub struct Passage {
    /// It, or why it is refused.
    pub candidate: Result<Candidate, Decision>,
    /// The steps that were taken.
    pub steps: Vec<StepReport>,
    /// What its files held.
    pub tried: Fingerprint,
}

/// A candidate ahead of the gate.
#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    /// Its configuration, where that is not the one that candidates come from.
    pub(super) file: Option<&'a Path>,
    /// What runs.
    pub(super) running: Option<&'a Candidate>,
    /// Whether it has to do as well as what runs on recent records.
    pub(super) proves: bool,
}

impl Gate {
    /// Reads a candidate and takes it through all steps. `refuses` says what of it cannot be swapped
    /// while the process runs.
    pub fn pass(
        &self,
        running: Option<&Candidate>,
        refuses: impl Fn(&Loaded) -> Vec<String> + Send + Sync,
    ) -> Passage {
        self.pass_as(Entry { file: None, running, proves: true }, refuses)
    }

    /// The same for a candidate that may be in another file, or need not do as well as what runs.
    pub(super) fn pass_as(
        &self,
        entry: Entry<'_>,
        refuses: impl Fn(&Loaded) -> Vec<String> + Send + Sync,
    ) -> Passage {
        let (inputs, read) = match (entry.file, &self.source) {
            (None, source) => source.read(),
            (Some(file), Source::File(_, environment)) => {
                Source::File(file.to_owned(), environment.clone()).read()
            }
            (Some(file), Source::Assembled(_)) => {
                Source::File(file.to_owned(), Environment::default()).read()
            }
        };
        stop::point("gate-read");
        let mut steps = Steps::default();
        // A guest needs a worker's stack, and nobody is to wait for what it does meanwhile.
        let passed = std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("gate".into());
            let gate = || {
                step_back();
                self.candidate(read, entry, refuses, &mut steps)
            };
            match thread.stack_size(WORKER_STACK_BYTES).spawn_scoped(scope, gate) {
                Ok(thread) => thread.join().unwrap_or_else(|_| Err(stopped("the gate panicked"))),
                Err(error) => Err(stopped(&format!("cannot start a thread: {error}"))),
            }
        });
        // Whatever it says of an instance that was told to stop.
        let is_given_up = self.loader.give_up().load(Ordering::Acquire);
        let passed = if is_given_up { Err(stopped(GIVEN_UP)) } else { passed };
        let tried = inputs.fingerprint();
        inputs.release();
        Passage { candidate: passed, steps: steps.0, tried }
    }

    /// Whether this is the file that candidates come from.
    fn reads(&self, file: &Path) -> bool {
        let real = |path: &Path| std::fs::canonicalize(path).ok();
        matches!(&self.source, Source::File(own, _) if real(own).is_some_and(|own| Some(own) == real(file)))
    }

    fn candidate(
        &self,
        read: Result<Loaded, ConfigErrors>,
        entry: Entry<'_>,
        refuses: impl Fn(&Loaded) -> Vec<String>,
        steps: &mut Steps,
    ) -> Result<Candidate, Decision> {
        let loaded = match read {
            Ok(loaded) => loaded,
            Err(errors) => return Err(steps.refuse(Step::Configuration, errors.problems)),
        };
        let restart = refuses(&loaded);
        if !restart.is_empty() {
            return Err(Decision::new(Outcome::RestartNeeded, restart.join("; ")));
        }
        if let Err(error) = client(&loaded, 1) {
            let problem = loaded.error(&KeyPath::root().key("aep"), error.to_string());
            return Err(steps.refuse(Step::Configuration, vec![problem]));
        }
        let before = entry.running.map(|running| &*running.generation);
        let generation = match Generation::build(&loaded, &self.loader, before) {
            Ok(generation) => generation,
            Err(refusals) => {
                let first = refusals.iter().map(|refusal| refusal.step).min();
                let problems = refusals.into_iter().map(|refusal| refusal.problem).collect();
                return Err(steps.refuse(first.unwrap_or(Step::Configuration), problems));
            }
        };
        steps.passed_until(Step::Contract, &withheld(&generation));
        stop::point("gate-built");
        let stop = Arc::clone(self.loader.give_up());
        let hooks = Hooks { stop, ..Hooks::new(Arc::clone(&self.sink)) };
        if let Err(problems) = generation.start(&loaded, &hooks, before, workers(&loaded)) {
            return Err(steps.refuse(Step::Start, problems));
        }
        steps.passed(Step::Start, String::new());
        stop::point("gate-started");
        self.samples((&loaded, &generation), entry.file, &hooks, steps)?;
        if let Some(running) = before.filter(|_| entry.proves) {
            self.beside([running, &generation], &loaded, &hooks, steps)?;
        }
        stop::point("gate-passed");
        Ok(Candidate {
            loaded: Arc::new(loaded),
            generation: Arc::new(generation),
            elsewhere: entry.file.filter(|file| !self.reads(file)).map(Path::to_owned),
        })
    }

    /// Holds the pipelines that changed against those that run: with the last real records, else with
    /// the samples, which say nothing new of outcomes.
    fn beside(
        &self,
        [running, candidate]: [&Generation; 2],
        loaded: &Loaded,
        hooks: &Hooks,
        steps: &mut Steps,
    ) -> Result<(), Decision> {
        let (mut seen, mut bad, mut costs, mut dear) = (0, Vec::new(), Vec::new(), Vec::new());
        for (name, pipeline) in &candidate.pipelines {
            let Some(before) = running.pipelines.get(name).filter(|b| !b.maps_as(pipeline)) else {
                continue;
            };
            let recent = self.recent.of(name);
            let is_real = !recent.is_empty();
            let records = if is_real { recent } else { samples::records(loaded, pipeline) };
            if records.is_empty() {
                continue;
            }
            let path = KeyPath::root().key("pipelines").key(name).key("chain");
            let proof = prove(before, pipeline, records, &loaded.config.reload, hooks).map_err(
                |error| steps.refuse(Step::Records, vec![loaded.error(&path, error.to_string())]),
            )?;
            seen += if is_real { proof.comparison.records } else { 0 };
            let refused = proof.refused.filter(|_| is_real);
            bad.extend(refused.map(|words| loaded.error(&path, words)));
            dear.extend(proof.too_dear.map(|words| loaded.error(&path, words)));
            let cost = |[was, is]: [f64; 2]| format!("`{name}` {is:.1} us, was {was:.1}");
            costs.extend(proof.cpu_us.map(cost));
        }
        steps.decide(
            Step::Records,
            bad,
            match seen {
                0 => Err("no record is kept (`reload.recent_records`), or none came yet"),
                seen => Ok(format!("{seen}, none newly refused beyond what is allowed")),
            },
        )?;
        steps.decide(
            Step::Budget,
            dear,
            if costs.is_empty() {
                Err("there is neither a record nor a sample to measure with")
            } else {
                Ok(format!("CPU time per record: {}", costs.join("; ")))
            },
        )
    }

    /// Maps the samples of all pipelines.
    fn samples(
        &self,
        (loaded, generation): (&Loaded, &Generation),
        file: Option<&Path>,
        hooks: &Hooks,
        steps: &mut Steps,
    ) -> Result<(), Decision> {
        let file = file.map_or_else(|| self.source.file(), Path::to_owned);
        let (mut good, mut problems) = (0, Vec::new());
        for pipeline in generation.pipelines.values() {
            let tried = samples::run(&file, loaded, pipeline, hooks);
            good += tried.good;
            problems.extend(tried.problems);
        }
        steps.decide(
            Step::Samples,
            problems,
            match good {
                0 => Err("no pipeline names a folder of `samples`"),
                good => Ok(format!("{good} as expected")),
            },
        )
    }
}

/// The steps taken so far.
#[derive(Default)]
struct Steps(Vec<StepReport>);

impl Steps {
    fn passed(&mut self, step: Step, note: String) {
        self.0.push(StepReport { step, passed: Passed::Yes, note, problems: Vec::new() });
    }

    /// Not passed where there are problems, else passed with a note, or skipped for a reason.
    fn decide(
        &mut self,
        step: Step,
        problems: Vec<Problem>,
        note: Result<String, &str>,
    ) -> Result<(), Decision> {
        if !problems.is_empty() {
            return Err(self.refuse(step, problems));
        }
        let (passed, note) = match note {
            Ok(note) => (Passed::Yes, note),
            Err(reason) => (Passed::Skipped, reason.to_owned()),
        };
        self.0.push(StepReport { step, passed, note, problems });
        Ok(())
    }

    /// All steps up to this one are passed; `withheld` is the note on the imports.
    fn passed_until(&mut self, last: Step, withheld: &str) {
        for step in STEPS.into_iter().filter(|step| *step <= last) {
            let note = if step == Step::Imports { withheld.to_owned() } else { String::new() };
            self.passed(step, note);
        }
    }

    /// This step is not passed; those before it are.
    fn refuse(&mut self, step: Step, problems: Vec<Problem>) -> Decision {
        for before in STEPS.into_iter().take_while(|before| *before < step) {
            if self.0.iter().all(|taken| taken.step != before) {
                self.passed(before, String::new());
            }
        }
        self.0.push(StepReport { step, passed: Passed::No, note: String::new(), problems });
        Decision::new(Outcome::Refused, format!("the step `{}` is not passed", step.as_str()))
    }
}

/// Which plugins ask for files or a network, and get none. A build without them is smaller, and one that uses them
/// shows what it makes of that in its records.
fn withheld(generation: &Generation) -> String {
    let plugins = generation.pipelines.values().flat_map(|pipeline| &pipeline.chain.plugins);
    let asking = plugins.filter(|plugin| !plugin.component.withheld().is_empty());
    let words: BTreeMap<&str, String> = asking
        .map(|plugin| {
            let packages = plugin.component.withheld().join("`, `");
            (
                plugin.name.as_str(),
                format!("`{}` asks for `{packages}` and gets nothing of it", plugin.name),
            )
        })
        .collect();
    words.into_values().collect::<Vec<_>>().join("; ")
}

/// A refusal that says nothing of the candidate.
fn stopped(words: &str) -> Decision {
    Decision::new(Outcome::Refused, words)
}

/// Instances of each plugin that are made beforehand: one for each worker.
fn workers(loaded: &Loaded) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    loaded.config.limits.workers.unwrap_or_else(cores).max(1)
}

/// Lets the workers go first.
pub(super) fn step_back() {
    // Elsewhere it would be the whole process.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(STEP_BACK) {
        tracing::debug!(%error, "a thread beside the data path does not step back");
    }
}
