//! Settings and schemas from files, and what is refused of them.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{Schema, Settings};

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A file cannot be read.
    #[error("cannot read `{path}`: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The configuration file is not what it should be.
    #[error("`{path}` is not a configuration: {message}", path = path.display())]
    Configuration {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and column.
        message: String,
    },
    /// A schema is not JSON, has no id, or does not compile.
    #[error("schema `{name}`: {message}")]
    Schema {
        /// Its id or file.
        name: String,
        /// What is wrong.
        message: String,
    },
    /// A value makes no sense.
    #[error("`{field}`: {message}")]
    Value {
        /// The setting.
        field: &'static str,
        /// What is wrong and what would be right.
        message: String,
    },
}

impl Settings {
    /// Reads a YAML file. Relative file names within it are relative to its folder.
    pub fn from_file(path: &Path) -> Result<Self, SettingsError> {
        let text = read(path)?;
        let mut settings: Self = serde_saphyr::from_str(&text).map_err(|error| {
            SettingsError::Configuration { path: path.to_owned(), message: error.to_string() }
        })?;
        let folder = path.parent().unwrap_or(Path::new("."));
        for schema in &mut settings.schemas {
            schema.file = schema.file.take().map(|file| folder.join(file));
        }
        settings.schemas_directory =
            settings.schemas_directory.take().map(|directory| folder.join(directory));
        Ok(settings)
    }

    /// The schemas of the list and the directory, read, each with its id.
    pub(crate) fn load_schemas(&self) -> Result<Vec<(String, Value)>, SettingsError> {
        let mut loaded = Vec::new();
        for schema in &self.schemas {
            loaded.push(schema.load()?);
        }
        if let Some(directory) = &self.schemas_directory {
            for file in json_files(directory)? {
                loaded.push(Schema { file: Some(file), ..Schema::default() }.load()?);
            }
        }
        Ok(loaded)
    }

    /// Refuses values that could not work.
    pub(crate) fn check(&self) -> Result<(), SettingsError> {
        let wrong = |field, message: String| Err(SettingsError::Value { field, message });
        if !matches!(self.invalid_token_status, 401 | 403) {
            let status = self.invalid_token_status;
            return wrong("invalid_token_status", format!("{status} is neither 401 nor 403"));
        }
        if self.workers == 0 {
            return wrong("workers", "0 threads cannot serve; give 1 or more".to_owned());
        }
        if let Some(inlet) = self.inlets.iter().find(|inlet| inlet.name.is_empty()) {
            return wrong("inlets", format!("an inlet has no `name` (id {:?})", inlet.id));
        }
        if self
            .rate
            .is_some_and(|rate| rate.requests_per_second == 0 || rate.messages_per_second == 0)
        {
            return wrong("rate", "0 per second would refuse everything; use a fault".to_owned());
        }
        Ok(())
    }
}

impl Schema {
    fn load(&self) -> Result<(String, Value), SettingsError> {
        let stem =
            self.file.as_deref().and_then(Path::file_stem).map(|stem| stem.to_string_lossy());
        let name = self.id.as_deref().or(stem.as_deref()).unwrap_or("without id").to_owned();
        let fault = |message: &str| SettingsError::Schema {
            name: name.clone(),
            message: message.to_owned(),
        };
        let document = match (&self.document, &self.file) {
            (Some(document), None) => document.clone(),
            (None, Some(file)) => serde_json::from_str(&read(file)?)
                .map_err(|error| fault(&format!("is not JSON: {error}")))?,
            _ => return Err(fault("needs either `file` or `document`")),
        };
        let own = document.get("$id").and_then(Value::as_str);
        let id = self.id.as_deref().or(own).or(stem.as_deref());
        let id = id.ok_or_else(|| fault("has no `$id`; give `id`"))?.to_owned();
        Ok((id, document))
    }
}

fn read(path: &Path) -> Result<String, SettingsError> {
    fs::read_to_string(path).map_err(|source| SettingsError::Read { path: path.to_owned(), source })
}

fn json_files(directory: &Path) -> Result<Vec<PathBuf>, SettingsError> {
    let fault = |source| SettingsError::Read { path: directory.to_owned(), source };
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).map_err(fault)? {
        let path = entry.map_err(fault)?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
