//! A generation: one consistent set of compiled chains, schemas and destinations.
//!
//! A generation is immutable; its name is a digest of its contents, equal in every process that
//! has the same configuration, components, mappings and schemas.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

use crate::config::{self, KeyPath, Loaded, MAX_COMPONENT_BYTES, MAX_SCHEMA_BYTES, Problem};
use crate::dead_letter::Origin;
use crate::fault::{Code, Fault, PluginRef};
use crate::plugin::{
    CallLimits, Chain, Component, Forms, Hooks, Limits, LoadError, Loader, Plugin, RunError,
    Runner, StandIn, Warm,
};
use crate::schema::Schema;
use crate::stamp::Stamp;

/// A step of the gate, in the order in which they are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// All files are read, once, and the configuration makes sense.
    Configuration,
    /// Each component is one, and whole.
    Component,
    /// It imports what a plugin may have.
    Imports,
    /// It is compiled, out of the way of the records.
    Compile,
    /// It exports what a plugin has to have.
    Contract,
    /// Every plugin starts under its limits.
    Start,
    /// The samples become what is expected.
    Samples,
    /// The last records become events that may be sent.
    Records,
    /// It costs about as much CPU time and memory as what runs.
    Budget,
}

/// All steps in order.
pub const STEPS: [Step; 9] = [
    Step::Configuration,
    Step::Component,
    Step::Imports,
    Step::Compile,
    Step::Contract,
    Step::Start,
    Step::Samples,
    Step::Records,
    Step::Budget,
];

impl Step {
    /// The step that a component does not pass.
    fn of(error: &LoadError) -> Self {
        match error {
            LoadError::Read { .. }
            | LoadError::NotAComponent { .. }
            | LoadError::Truncated { .. }
            | LoadError::NotUnderstood { .. } => Self::Component,
            LoadError::Imports { .. } => Self::Imports,
            LoadError::Contract { .. } => Self::Contract,
            LoadError::CompileMemory { .. }
            | LoadError::Compile { .. }
            | LoadError::Cache { .. }
            | LoadError::Native { .. }
            | LoadError::Ticker(_) => Self::Compile,
        }
    }

    /// Its name, as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Component => "component",
            Self::Imports => "imports",
            Self::Compile => "compile",
            Self::Contract => "contract",
            Self::Start => "start",
            Self::Samples => "samples",
            Self::Records => "records",
            Self::Budget => "budget",
        }
    }
}

/// Something that keeps a candidate from being a generation.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The step that it does not pass.
    pub step: Step,
    /// What is wrong.
    pub problem: Problem,
}

/// One consistent set of compiled chains and configuration.
pub struct Generation {
    /// The first 12 hex digits of a digest of all that decides outcomes.
    pub name: Arc<str>,
    /// The pipelines by name.
    pub pipelines: BTreeMap<Arc<str>, Arc<Pipeline>>,
}

/// One pipeline of a generation.
#[derive(Clone)]
pub struct Pipeline {
    /// Its name.
    pub name: Arc<str>,
    /// Its topics.
    pub topics: Vec<String>,
    /// Goes into its ids.
    pub id_epoch: String,
    /// Its plugins.
    pub chain: Arc<Chain>,
    /// Its destinations, the default first.
    pub routes: Vec<Route>,
    /// Where rejected records go, and under which names.
    pub origin: Arc<Origin>,
    /// How many of them are too many.
    pub storm: config::Storm,
    /// On how many a plugin may fail.
    pub quarantine: config::Quarantine,
}

/// A destination as a pipeline sees it.
#[derive(Clone)]
pub struct Route {
    /// Its name.
    pub name: Arc<str>,
    /// Its schema, closed.
    pub schema: Arc<Schema>,
    /// Of the schema's file.
    pub schema_hash: blake3::Hash,
    /// Its settings.
    pub settings: Arc<config::Destination>,
    /// Where an event names its generation, if it does.
    pub stamp: Option<Stamp>,
}

impl Route {
    fn is_same(&self, other: &Self) -> bool {
        self.name == other.name
            && self.schema_hash == other.schema_hash
            && self.settings == other.settings
    }
}

impl Generation {
    /// Loads components, reads mappings and schemas. Every problem is reported, not the first.
    ///
    /// What is the same in the `running` generation is shared with it: its instances go on.
    pub fn build(
        loaded: &Loaded,
        loader: &Loader,
        running: Option<&Self>,
    ) -> Result<Self, Vec<Refusal>> {
        let mut builder = Builder {
            loaded,
            loader,
            running,
            digest: blake3::Hasher::new(),
            refusals: Vec::new(),
            components: BTreeMap::new(),
            routes: BTreeMap::new(),
        };
        builder.routes();
        let chains = builder.chains();
        if !builder.refusals.is_empty() {
            return Err(builder.refusals);
        }
        let mut name = builder.digest.finalize().to_hex().to_string();
        name.truncate(12);
        let name: Arc<str> = name.into();
        let pipelines = chains
            .into_iter()
            .filter_map(|(pipeline, chain)| {
                let built = builder.pipeline(&pipeline, chain, &name)?;
                Some((pipeline, Arc::new(built)))
            })
            .collect();
        Ok(Self { name, pipelines })
    }

    /// Whether it runs the very chain of this pipeline.
    pub fn has_chain(&self, pipeline: &Pipeline) -> bool {
        let same = self.pipelines.get(&pipeline.name);
        same.is_some_and(|same| Arc::ptr_eq(&same.chain, &pipeline.chain))
    }

    fn routes(&self) -> impl Iterator<Item = &Route> {
        self.pipelines.values().flat_map(|pipeline| &pipeline.routes)
    }

    /// Puts a function of this program in place of every chain: what the plugins would cost less.
    /// For the benchmark's ceiling.
    pub fn stand_in(&mut self, outcomes: StandIn) {
        for pipeline in self.pipelines.values_mut() {
            if let Some(chain) = Arc::get_mut(pipeline).and_then(|p| Arc::get_mut(&mut p.chain)) {
                chain.stand_in = Some(outcomes);
            }
        }
    }

    /// Makes `count` instances of every plugin that `running` does not have and runs their `init`; workers
    /// find them ready.
    ///
    /// Invariant 6: a generation whose plugins do not start never replaces another.
    pub fn start(
        &self,
        loaded: &Loaded,
        hooks: &Hooks,
        running: Option<&Self>,
        count: usize,
    ) -> Result<(), Vec<Problem>> {
        let mut problems = Vec::new();
        for (name, pipeline) in &self.pipelines {
            if running.is_some_and(|running| running.has_chain(pipeline)) {
                continue;
            }
            let start = |_| {
                let mut runner = Runner::new(Arc::clone(&pipeline.chain), hooks.clone());
                runner.start()?;
                runner.park();
                Ok::<(), RunError>(())
            };
            if let Err(error) = (0..count).try_for_each(start) {
                let path = KeyPath::root().key("pipelines").key(name).key("chain");
                problems.push(loaded.error(&path, error.to_string()));
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }
}

impl Pipeline {
    /// The destination that an event names, or the first.
    pub fn route(&self, name: Option<&str>) -> Result<&Route, Box<Fault>> {
        let found = match name {
            None => self.routes.first(),
            Some(name) => self.routes.iter().find(|route| &*route.name == name),
        };
        found.ok_or_else(|| {
            let names: Vec<&str> = self.routes.iter().map(|route| &*route.name).collect();
            let wanted = name.unwrap_or_default();
            let message =
                format!("no destination `{wanted}`; the pipeline has {}", names.join(", "));
            Box::new(Fault::new(Code::PluginRoute, message))
        })
    }

    /// Whether the other one makes the same events of the same records.
    pub fn maps_as(&self, other: &Self) -> bool {
        let same_chain = Arc::ptr_eq(&self.chain, &other.chain) || self.chain.is_same(&other.chain);
        same_chain
            && self.routes.len() == other.routes.len()
            && self.routes.iter().zip(&other.routes).all(|(one, other)| one.is_same(other))
    }

    /// Whether the other one does the same in all.
    pub fn is_same(&self, other: &Self) -> bool {
        self.maps_as(other)
            && self.topics == other.topics
            && self.id_epoch == other.id_epoch
            && self.storm == other.storm
            && self.quarantine == other.quarantine
            && self.origin.topic == other.origin.topic
    }

    /// The plugin that made the events.
    pub fn last_plugin(&self) -> Option<PluginRef> {
        self.chain.plugins.last().map(Plugin::reference)
    }
}

struct Builder<'a> {
    loaded: &'a Loaded,
    loader: &'a Loader,
    running: Option<&'a Generation>,
    digest: blake3::Hasher,
    refusals: Vec<Refusal>,
    components: BTreeMap<String, Option<Arc<Component>>>,
    routes: BTreeMap<String, Route>,
}

impl Builder<'_> {
    fn refuse(&mut self, step: Step, problem: Problem) {
        self.refusals.push(Refusal { step, problem });
    }

    /// Adds to the generation's name. Length first, so that parts do not run together.
    fn count(&mut self, part: &[u8]) {
        self.digest.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
        self.digest.update(part);
    }

    fn routes(&mut self) {
        for (name, settings) in &self.loaded.config.destinations {
            let path = KeyPath::root().key("destinations").key(name).key("schema").key("file");
            match self.route(name, settings) {
                Ok((route, text)) => {
                    self.count(format!("{name} {settings:?}").as_bytes());
                    self.count(text.as_bytes());
                    self.routes.insert(name.clone(), route);
                }
                Err(error) => {
                    let file = self.loaded.resolve(&settings.schema.file);
                    let error = format!("`{}`: {error}", file.display());
                    self.refuse(Step::Configuration, self.loaded.error(&path, error));
                }
            }
        }
    }

    /// A destination and the text of its schema.
    fn route(&self, name: &str, settings: &config::Destination) -> Result<(Route, String), String> {
        let inputs = &self.loaded.inputs;
        let text = inputs
            .read_text(&settings.schema.file, MAX_SCHEMA_BYTES)
            .map_err(|error| error.to_string())?;
        let schema_hash = blake3::hash(text.as_bytes());
        let mut routes = self.running.iter().flat_map(|running| running.routes());
        let known = routes
            .find(|route| route.schema_hash == schema_hash && route.settings.mode == settings.mode);
        let schema = match known {
            Some(route) => Arc::clone(&route.schema),
            None => {
                Arc::new(Schema::load(&text, settings.mode).map_err(|error| error.to_string())?)
            }
        };
        let settings = Arc::new(settings.clone());
        let tenant = self.loaded.config.aep.tenant.as_deref();
        let field = settings.generation_field.as_deref();
        let stamp = field.map(|field| Stamp::new(field, tenant)).transpose();
        let stamp = stamp.map_err(|error| error.to_string())?;
        Ok((Route { name: name.into(), schema, schema_hash, settings, stamp }, text))
    }

    fn chains(&mut self) -> Vec<(Arc<str>, Arc<Chain>)> {
        let mut chains = Vec::new();
        let call = CallLimits::from(&self.loaded.config.limits);
        self.count(format!("{call:?}").as_bytes());
        for (name, pipeline) in &self.loaded.config.pipelines {
            self.count(format!("{name} {pipeline:?}").as_bytes());
            let mut plugins = Vec::new();
            for (index, step) in pipeline.chain.iter().enumerate() {
                let path = KeyPath::root().key("pipelines").key(name).key("chain").index(index);
                plugins.extend(self.plugin(step, &path));
            }
            let chain = Chain {
                pipeline: name.clone(),
                plugins,
                forms: Forms::from(pipeline),
                call,
                stand_in: None,
                warm: Warm::default(),
            };
            let running = self.running.and_then(|running| running.pipelines.get(name.as_str()));
            let chain = match running {
                Some(running) if running.chain.is_same(&chain) => Arc::clone(&running.chain),
                _ => Arc::new(chain),
            };
            chains.push((name.as_str().into(), chain));
        }
        chains
    }

    fn plugin(&mut self, step: &config::Step, path: &KeyPath) -> Option<Plugin> {
        let tenant = self.loaded.config.aep.tenant.as_deref();
        let configuration = match step.configuration(&self.loaded.inputs, tenant) {
            Ok(configuration) => configuration,
            Err(error) => {
                for problem in error.problems {
                    self.refuse(Step::Configuration, problem);
                }
                return None;
            }
        };
        let settings = self.loaded.config.plugins.get(&step.plugin).cloned().unwrap_or_default();
        let limits = Limits::from(&settings);
        self.count(format!("{limits:?}").as_bytes());
        let component = self.component(&step.plugin, &settings, path)?;
        self.count(component.digest().as_bytes());
        self.count(configuration.as_bytes());
        Some(Plugin { name: step.plugin.clone(), component, limits, configuration })
    }

    /// Each component is loaded once, and a broken one reported once.
    fn component(
        &mut self,
        name: &str,
        settings: &config::Plugin,
        path: &KeyPath,
    ) -> Option<Arc<Component>> {
        if let Some(known) = self.components.get(name) {
            return known.clone();
        }
        let config = &self.loaded.config;
        let inputs = &self.loaded.inputs;
        let file = config.component(name, inputs).map_err(|error| error.to_string());
        let read = file.and_then(|file| {
            inputs
                .read_at(&file, MAX_COMPONENT_BYTES)
                .map_err(|error| format!("cannot read component `{}`: {error}", file.display()))
        });
        let limits = Limits::from(settings);
        let loaded = read.map_err(|error| (Step::Configuration, error)).and_then(|wasm| {
            let loaded = self.loader.load(name, &wasm, &limits);
            loaded.map_err(|error| (Step::of(&error), chain_of(&error)))
        });
        let component = match loaded {
            Ok(component) => Some(component),
            Err((step, error)) => {
                self.refuse(step, self.loaded.error(path, error));
                None
            }
        };
        self.components.insert(name.to_owned(), component.clone());
        component
    }

    fn pipeline(
        &self,
        name: &Arc<str>,
        chain: Arc<Chain>,
        generation: &Arc<str>,
    ) -> Option<Pipeline> {
        let settings = self.loaded.config.pipelines.get(&**name)?;
        let routes =
            settings.destinations.iter().filter_map(|d| self.routes.get(d).cloned()).collect();
        let origin = Origin {
            topic: settings.dead_letter.topic.as_str().into(),
            pipeline: Arc::clone(name),
            generation: Arc::clone(generation),
            counts: None,
        };
        Some(Pipeline {
            name: Arc::clone(name),
            topics: settings.topics.clone(),
            id_epoch: settings.id_epoch.clone(),
            chain,
            routes,
            origin: Arc::new(origin),
            storm: settings.dead_letter.storm,
            quarantine: settings.quarantine,
        })
    }
}

/// An error with its causes, on one line.
fn chain_of(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        text.push_str(": ");
        text.push_str(&deeper.to_string());
        cause = deeper.source();
    }
    text
}
