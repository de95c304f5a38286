//! The components in `target/plugins`, as `cargo xtask plugins` lays them there.

use std::path::{Path, PathBuf};

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

/// Stands once in the guest `stamp` and in each of its events, before the digits of its version.
const STAMP: &[u8] = b"stamp.version.";

/// Digits of a version.
const DIGITS: usize = 12;

/// The guest `stamp` as a build of its own that says this version.
pub fn stamp(version: u64) -> Vec<u8> {
    let mut component = std::fs::read(built("stamp")).unwrap();
    let digits = digits(&component).unwrap();
    let stamped = format!("{version:012}");
    for (digit, new) in component.iter_mut().skip(digits).zip(stamped.bytes()) {
        *digit = new;
    }
    component
}

/// The version that an event of the guest `stamp` says.
pub fn version_of(event: &[u8]) -> Option<u64> {
    let digits = digits(event)?;
    std::str::from_utf8(event.get(digits..digits + DIGITS)?).ok()?.parse().ok()
}

fn digits(bytes: &[u8]) -> Option<usize> {
    Some(memchr::memmem::find(bytes, STAMP)? + STAMP.len())
}

/// Puts a file in its place by a rename, as everybody should who replaces a plugin.
pub fn lay(path: &Path, content: impl AsRef<[u8]>) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, content).unwrap();
    std::fs::rename(beside, path).unwrap();
}
