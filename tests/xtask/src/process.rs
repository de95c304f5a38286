//! Other programs: cargo and whatever else a chore starts.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::workspace;

/// Cargo in the repository's root, as if it were called by hand: what `cargo run` put into the
/// environment of this program is taken out again, since build scripts that watch those variables
/// (ring's does) would compile anew each time.
pub(crate) fn cargo() -> Result<Command> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace::root()?);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(&name);
        }
    }
    Ok(cargo)
}

/// Builds the programs that ship.
///
/// The whole workspace is selected, as by `cargo test --workspace`: with `-p xylem` alone some crates
/// below wasmtime have fewer features, and cargo would compile wasmtime once for each selection.
pub(crate) fn build_programs() -> Result<()> {
    let mut build = cargo()?;
    build.args(["build", "--release", "--workspace"]);
    run(build.args(["--bin", "xylem", "--bin", "aep-emulator"]))
}

/// Runs a command with its output shown; an error where it does not end well.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {}", shown(command)))?;
    if !status.success() {
        bail!("{} ended with {status}", shown(command));
    }
    Ok(())
}

/// Runs a command in silence; what it said is part of the error where it does not end well.
pub(crate) fn run_quietly(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {}", shown(command)))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        bail!("{} ended with {}: {}{}", shown(command), output.status, said, complaint.trim());
    }
    Ok(said)
}

/// CPU time of all children that have ended, and of theirs; 0 where the system does not say.
pub(crate) fn cpu_of_children() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // After the name, which may hold anything: `cutime` and `cstime`, in hundredths of a second.
    let (_, fields) = stat.rsplit_once(") ").unwrap_or_default();
    let ticks: u64 = fields.split(' ').skip(13).take(2).filter_map(|f| f.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// Whether a program of this name is on the path.
pub(crate) fn exists(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Writes a file only where its content differs, so that its time says when it last changed.
///
/// Returns whether it was written. The new content replaces the old in one step.
pub(crate) fn write_if_changed(path: &Path, content: &[u8]) -> Result<bool> {
    if std::fs::read(path).is_ok_and(|present| present == content) {
        return Ok(false);
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot create `{}`", folder.display()))?;
    }
    let partial = path.with_extension(format!("partial-{}", std::process::id()));
    std::fs::write(&partial, content)
        .and_then(|()| std::fs::rename(&partial, path))
        .with_context(|| format!("cannot write `{}`", path.display()))?;
    Ok(true)
}

fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let words: Vec<_> = std::iter::once(program)
        .chain(command.get_args().take(3))
        .map(OsStr::to_string_lossy)
        .collect();
    format!("`{}`", words.join(" "))
}
