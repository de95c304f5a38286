//! Where things are.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// The repository's root: the folder of the workspace's `Cargo.toml`.
pub(crate) fn root() -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().with_context(|| format!("no repository at `{}`", root.display()))
}

/// Cargo's target folder: this program runs from `<target>/release/xtask`.
pub(crate) fn target() -> Result<PathBuf> {
    let program = std::env::current_exe().context("the path of this program is not to be had")?;
    let target = program.parent().and_then(Path::parent);
    target.map(Path::to_owned).context("run this as `cargo xtask`")
}
