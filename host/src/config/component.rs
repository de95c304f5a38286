//! Where the component of a plugin is.

use std::path::{Path, PathBuf};

use super::Config;
use super::inputs::Inputs;

/// The largest component that is read, in bytes: several times what any toolchain makes.
pub const MAX_COMPONENT_BYTES: u64 = 128 * 1024 * 1024;

/// The plugins that come with xylem and need no entry in the configuration.
pub const SHIPPED: [&str; 4] = ["csv", "json", "pos", "crm"];

/// Why a plugin has no component.
#[derive(Debug, thiserror::Error)]
pub enum ComponentError {
    /// Neither configured nor shipped.
    #[error("the plugin `{0}` has no entry under `plugins` and is none of those that xylem ships")]
    Unknown(String),
    /// Configured without a component, and not shipped.
    #[error("`plugins.{0}` names no `component`")]
    Unnamed(String),
    /// Shipped, but not found.
    #[error(
        "the shipped plugin `{name}` is not beside the program; looked for {}; \
         `cargo xtask plugins` builds it, or name a `component`",
        .looked.iter().map(|path| format!("`{}`", path.display())).collect::<Vec<_>>().join(", ")
    )]
    NotFound {
        /// The plugin.
        name: String,
        /// Where it was looked for.
        looked: Vec<PathBuf>,
    },
}

impl Config {
    /// The component file of a plugin: the configured one, else the shipped one beside the program.
    pub fn component(&self, name: &str, inputs: &Inputs) -> Result<PathBuf, ComponentError> {
        let entry = self.plugins.get(name);
        if let Some(component) = entry.and_then(|plugin| plugin.component.as_ref()) {
            return Ok(inputs.resolve(component));
        }
        if !SHIPPED.contains(&name) {
            let name = name.to_owned();
            return Err(match entry {
                Some(_) => ComponentError::Unnamed(name),
                None => ComponentError::Unknown(name),
            });
        }
        let program = std::env::current_exe().unwrap_or_default();
        shipped(name, program.parent().unwrap_or(Path::new(".")))
    }
}

/// Looks for a shipped plugin beside a program: installed, in a build, in a test of a build.
fn shipped(name: &str, program_dir: &Path) -> Result<PathBuf, ComponentError> {
    let file = format!("{name}.wasm");
    let looked: Vec<PathBuf> = ["plugins", "../plugins", "../../plugins"]
        .iter()
        .map(|folder| program_dir.join(folder).join(&file))
        .collect();
    match looked.iter().find(|path| path.is_file()) {
        Some(path) => Ok(path.clone()),
        None => Err(ComponentError::NotFound { name: name.to_owned(), looked }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shipped_plugins_are_found_beside_the_program() {
        let dir = tempfile::tempdir().unwrap();
        let program_dir = dir.path().join("release");
        std::fs::create_dir_all(&program_dir).unwrap();
        let missing = shipped("csv", &program_dir).unwrap_err().to_string();
        assert!(missing.contains("release/plugins/csv.wasm"), "{missing}");
        assert!(missing.contains("cargo xtask plugins"), "{missing}");

        std::fs::create_dir_all(dir.path().join("plugins")).unwrap();
        std::fs::write(dir.path().join("plugins/csv.wasm"), "").unwrap();
        assert!(shipped("csv", &program_dir).unwrap().ends_with("plugins/csv.wasm"));
    }
}
