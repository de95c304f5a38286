//! `xylem precompile`: native code of components, made ahead.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use serde::Serialize;

use super::unless_closed;
use crate::plugin::{Cache, Compile, Engine, Loader, compile_as_child, read_component};

/// Compile components into the cache of native code, when an image is built or in an init
/// container, so that no serving process has to.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The components' files.
    #[arg(required_unless_present = "internal", value_name = "COMPONENT")]
    components: Vec<PathBuf>,
    /// The cache's directory, made readable to all; default is this user's own cache.
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// One JSON object per component.
    #[arg(long)]
    json: bool,
    /// Compile stdin to this file: how `xylem` compiles out of the way of its records.
    #[arg(long, hide = true, requires_all = ["internal_name", "internal_memory"])]
    internal: Option<PathBuf>,
    /// The component's name in errors.
    #[arg(long, hide = true)]
    internal_name: Option<String>,
    /// The memory that the compiler may use, in bytes.
    #[arg(long, hide = true)]
    internal_memory: Option<u64>,
}

/// What became of one component.
#[derive(Serialize)]
struct Line<'a> {
    component: &'a Path,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    native_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
    /// `compiled`, `cached` or `failed`.
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Runs the command: exit code 1 where a component is not a plugin or does not compile.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if let (Some(file), Some(name), Some(memory)) =
        (&args.internal, &args.internal_name, args.internal_memory)
    {
        compile_as_child(name, file, memory)?;
        return Ok(ExitCode::SUCCESS);
    }
    let cache = args.cache.as_ref().map_or_else(Cache::of_user, Cache::shared);
    let loader = Loader::new(Engine::new()?, cache, Compile::InProcess);
    let mut failed = false;
    for component in &args.components {
        let line = compile(&loader, component);
        failed |= line.error.is_some();
        unless_closed(write(&line, args.json)).context("cannot write to stdout")?;
    }
    Ok(ExitCode::from(u8::from(failed)))
}

/// Compiles one component.
fn compile<'a>(loader: &Loader, component: &'a Path) -> Line<'a> {
    let name = component.display().to_string();
    let compiled = read_component(component).and_then(|wasm| loader.precompile(&name, &wasm));
    match compiled {
        Ok(made) => Line {
            component,
            digest: Some(made.digest),
            native_bytes: Some(made.native_bytes),
            file: Some(made.file),
            state: if made.is_new { "compiled" } else { "cached" },
            error: None,
        },
        Err(error) => Line {
            component,
            digest: None,
            native_bytes: None,
            file: None,
            state: "failed",
            error: Some(format!("{:#}", anyhow::Error::from(error))),
        },
    }
}

/// Writes a line for a program or a person.
fn write(line: &Line<'_>, json: bool) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    match line {
        line if json => writeln!(out, "{}", serde_json::to_string(line)?)?,
        Line { error: Some(error), .. } => writeln!(out, "failed   {error}")?,
        line => {
            let file = line.file.as_deref().unwrap_or(Path::new("")).display();
            writeln!(out, "{:8} {} -> {file}", line.state, line.component.display())?;
        }
    }
    Ok(())
}
