//! From a file to a [`Config`], or to everything that is wrong with it.
//!
//! The one place that reads the environment.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use schemars::schema_for;
use serde_json::Value as Json;

use super::Config;
use super::files::ReadError;
use super::inputs::Inputs;
use super::path::KeyPath;
use super::problem::{ConfigErrors, Draft, Problem, Problems, Severity};
use super::reference::Resolver;
use super::rules;
use super::shape::Shape;
use super::source::Source;
use super::yaml;

/// The most bytes of a configuration file; a `ConfigMap` holds one mebibyte.
const MAX_BYTES: u64 = 1024 * 1024;

/// The most bytes of a file of certificates.
pub(super) const MAX_CERTIFICATES: u64 = 4 * 1024 * 1024;

/// What the types say of a configuration's shape.
static SCHEMA: LazyLock<Json> = LazyLock::new(|| Json::from(schema_for!(Config)));

/// A configuration that can be used, as far as can be known from files alone.
pub struct Loaded {
    /// The configuration, references resolved.
    pub config: Config,
    /// What somebody should look at.
    pub warnings: Vec<Problem>,
    /// The files that it is made of: when one changes, so does the configuration.
    pub inputs: Inputs,
    /// The content of `aep.ca_file`, which is needed again at each swap back to this configuration.
    roots: Option<Arc<[u8]>>,
    source: Arc<Source>,
}

impl Loaded {
    /// A configuration that the program put together itself; its paths are absolute.
    pub fn assembled(config: Config) -> Self {
        Self {
            config,
            warnings: Vec::new(),
            inputs: Inputs::default(),
            roots: None,
            source: Arc::new(Source::unreadable(PathBuf::from("(assembled)"), String::new())),
        }
    }

    /// A path of the configuration, from its folder.
    pub fn resolve(&self, path: impl AsRef<Path>) -> PathBuf {
        self.inputs.resolve(path)
    }

    /// The same with the other's secrets: what proves who we are does not go back with a configuration.
    #[must_use]
    pub(crate) fn with_secrets_of(&self, other: &Self) -> Self {
        let mut config = self.config.clone();
        config.aep.auth.clone_from(&other.config.aep.auth);
        config.aep.proxy.clone_from(&other.config.aep.proxy);
        config.aep.ca_file.clone_from(&other.config.aep.ca_file);
        config.admin.token.clone_from(&other.config.admin.token);
        Self {
            config,
            warnings: self.warnings.clone(),
            inputs: self.inputs.clone(),
            roots: other.roots.clone(),
            source: Arc::clone(&self.source),
        }
    }

    /// The content of `aep.ca_file`, as it was when the configuration was read.
    pub(crate) fn roots(&self) -> Result<Option<Arc<[u8]>>, ReadError> {
        match (&self.roots, &self.config.aep.ca_file) {
            (None, Some(path)) => self.inputs.read_at(path, MAX_CERTIFICATES).map(Some),
            (roots, _) => Ok(roots.clone()),
        }
    }

    /// An error that was found later, shown at its place in the file.
    pub fn error(&self, path: &KeyPath, message: impl Into<String>) -> Problem {
        Draft::error(path, self.source.locate(path), message).draw(&self.source)
    }

    /// A warning that was found later, shown at its place in the file.
    pub fn warning(&self, path: &KeyPath, message: impl Into<String>) -> Problem {
        Draft::error(path, self.source.locate(path), message).warning().draw(&self.source)
    }
}

impl Config {
    /// Makes the paths of certificates start where the process stands. Paths of pipelines and
    /// destinations stay as they are written, since they are part of the generation's name.
    fn resolve_paths(&mut self, inputs: &Inputs) {
        let tls = self.kafka.tls.as_mut();
        let (ca, certificate) =
            tls.map_or((None, None), |tls| (tls.ca_file.as_mut(), tls.certificate_file.as_mut()));
        for path in [ca, certificate, self.aep.ca_file.as_mut()].into_iter().flatten() {
            *path = inputs.resolve(&*path);
        }
    }
}

/// The variables of the environment by name.
pub type Environment = BTreeMap<String, OsString>;

/// Reads a configuration file and the environment.
///
/// Reads the files that the configuration names, but starts nothing and connects to nothing.
pub fn load(path: &Path) -> Result<Loaded, ConfigErrors> {
    load_with(path, &environment(), &Inputs::beside(path))
}

/// The environment of this process; what is not UTF-8 has no name.
pub fn environment() -> Environment {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .collect()
}

/// Reads a configuration file with a given environment; what is read is noted in `inputs`, also where
/// something is wrong.
pub fn load_with(
    path: &Path,
    environment: &Environment,
    inputs: &Inputs,
) -> Result<Loaded, ConfigErrors> {
    let text = inputs
        .read_file(path, MAX_BYTES)
        .map_err(|error| Problem::in_file(path, format!("the file cannot be read: {error}")))?;
    load_text(path, text, inputs, environment)
}

/// Reads a configuration from its text; `file` is the name to show.
pub fn load_text(
    file: &Path,
    text: String,
    inputs: &Inputs,
    environment: &Environment,
) -> Result<Loaded, ConfigErrors> {
    let (root, twice) = match yaml::parse(&text) {
        Ok(parsed) => parsed,
        Err(mistake) => {
            let source = Source::unreadable(file.to_owned(), text);
            return Err(mistake.draft().draw(&source).into());
        }
    };
    let mut problems = Problems::new(Source::new(file.to_owned(), text, root.clone()));
    for mistake in twice {
        problems.twice(mistake);
    }

    let resolver = Resolver::new(inputs, environment);
    let mut shape = Shape { schema: &SCHEMA, problems: &mut problems, resolver: &resolver };
    let json = shape.check(&root);

    // What has the shape of the types is of the types; if not, the schema does not say what they do.
    let Ok(mut config) = serde_json::from_value::<Config>(json) else {
        let bug = Problem::in_file(file, "the configuration's schema and its types differ")
            .hint("this is a mistake in xylem: please report it with the configuration's keys");
        let found = problems.finish().0.into_iter();
        return Err(ConfigErrors { problems: found.chain([bug]).collect() });
    };
    rules::check(&config, inputs, &mut problems);
    config.resolve_paths(inputs);

    let (problems, source) = problems.finish();
    if problems.iter().any(|problem| problem.severity == Severity::Error) {
        return Err(ConfigErrors { problems });
    }
    let ca_file = config.aep.ca_file.as_ref();
    let roots = ca_file.and_then(|path| inputs.read_at(path, MAX_CERTIFICATES).ok());
    Ok(Loaded {
        config,
        warnings: problems,
        inputs: inputs.clone(),
        roots,
        source: Arc::new(source),
    })
}
