//! What may be absent: documents of others, and tools.

use std::io::Write as _;
use std::path::PathBuf;

/// Says that the running test skips, and why; the test then returns.
///
/// The line `skipped: NAME: REASON` goes to the process's own standard error, past libtest's
/// capture, where `cargo xtask test` counts it.
pub fn skip(reason: &str) {
    let thread = std::thread::current();
    let line = format!("skipped: {}: {reason}\n", thread.name().unwrap_or("a test"));
    std::io::stderr().lock().write_all(line.as_bytes()).unwrap();
}

/// A tool is missing: the test skips, or fails where `CI=true`.
pub fn missing_tool(tool: &str, reason: &str) {
    let ci = std::env::var_os("CI").is_some_and(|value| value == "true");
    assert!(!ci, "`{tool}` is missing where `CI=true`: {reason}");
    skip(&format!("`{tool}` is missing: {reason}"));
}

/// The folder of other people's documents; where there is none, the test skips even in CI.
pub fn samples() -> Option<PathBuf> {
    let folder = std::env::var_os("XYLEM_SAMPLES").map(PathBuf::from);
    if folder.is_none() {
        skip("`XYLEM_SAMPLES` is not set: no documents of others");
    }
    folder
}
