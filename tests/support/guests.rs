//! The components in `target/plugins`, as `cargo xtask plugins` lays them there.

use std::path::PathBuf;

use crate::absent::missing_tool;
use crate::target::target;

/// The folder of all built components.
pub fn folder() -> PathBuf {
    target().join("plugins")
}

/// A component that cargo alone can build; panics where it was not.
pub fn built(name: &str) -> PathBuf {
    let path = folder().join(name).with_extension("wasm");
    assert!(path.is_file(), "no `{}`: run `cargo xtask plugins`", path.display());
    path
}

/// The TypeScript example, which takes jco to build; where it was not built, the test skips.
pub fn example_typescript() -> Option<PathBuf> {
    let path = folder().join("example-typescript.wasm");
    if path.is_file() {
        return Some(path);
    }
    missing_tool("jco", "`cargo xtask test --only tools --only plugins` did not build the example");
    None
}
