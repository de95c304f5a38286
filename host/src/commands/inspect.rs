//! `xylem inspect`: what a component imports, exports and weighs, and whether it is deterministic.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;

use super::{Exit, say, unless_closed};
use crate::plugin::{Cache, Compile, Engine, LoadError, Loader, Report, read_component};

/// Show what a component imports and what it gets of that, what it exports, what it weighs, who
/// made it, and whether it is a plugin.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The component's file.
    #[arg(value_name = "COMPONENT")]
    component: PathBuf,
    /// The cache's directory; default is this user's own cache.
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

/// A report as JSON.
#[derive(Serialize)]
struct View<'a> {
    component: &'a Path,
    digest: &'a str,
    wasm_bytes: u64,
    code_bytes: u64,
    native_bytes: u64,
    modules: usize,
    producers: Vec<Producer<'a>>,
    imports: Vec<Import<'a>>,
    exports: &'a [String],
    /// Whether its outcomes depend on nothing but the record and the configuration: true of every
    /// plugin, since nothing that a plugin may import moves.
    deterministic: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<&'a str>,
}

/// A tool that signed.
#[derive(Serialize)]
struct Producer<'a> {
    part: &'a str,
    name: &'a str,
    version: &'a str,
}

/// An import and what is given of it.
#[derive(Serialize)]
struct Import<'a> {
    name: &'a str,
    given: &'a str,
}

/// Runs the command: exit code 1 where the component is not a plugin of this host, 2 where it cannot
/// be read.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let cache = args.cache.as_ref().map_or_else(Cache::of_user, Cache::private);
    let loader = Loader::new(Engine::new()?, cache, Compile::InProcess);
    let name = args.component.display().to_string();
    let report = match read_component(&args.component).and_then(|wasm| loader.inspect(&name, &wasm))
    {
        Ok(report) => report,
        Err(error @ LoadError::Read { .. }) => {
            say(format_args!("{:#}", anyhow::Error::from(error)));
            return Ok(Exit::Configuration.into());
        }
        // The answer to what this is: nothing that could be a plugin.
        Err(
            error @ (LoadError::NotAComponent { .. }
            | LoadError::Truncated { .. }
            | LoadError::NotUnderstood { .. }),
        ) => {
            say(error);
            return Ok(Exit::No.into());
        }
        Err(error) => return Err(error.into()),
    };
    let view = view(&args.component, &report);
    let mut out = std::io::stdout().lock();
    unless_closed(if args.json {
        writeln!(out, "{}", serde_json::to_string(&view)?)
    } else {
        write(&mut out, &view)
    })?;
    Ok(if report.refusal.is_some() { Exit::No } else { Exit::Done }.into())
}

/// What is shown of a report.
fn view<'a>(component: &'a Path, report: &'a Report) -> View<'a> {
    let producers = report.outline.producers.iter();
    let imports = report.imports.iter();
    View {
        component,
        digest: &report.digest,
        wasm_bytes: report.outline.bytes,
        code_bytes: report.outline.code_bytes,
        native_bytes: report.native_bytes,
        modules: report.outline.modules,
        producers: producers
            .map(|made| Producer { part: &made.part, name: &made.name, version: &made.version })
            .collect(),
        imports: imports.map(|import| Import { name: &import.name, given: import.given }).collect(),
        exports: &report.exports,
        deterministic: report.refusal.is_none(),
        refusal: report.refusal.as_deref(),
    }
}

/// Writes a report for a person.
fn write(out: &mut impl Write, view: &View<'_>) -> std::io::Result<()> {
    let kib = |bytes: u64| format!("{} KiB", bytes.div_ceil(1024));
    writeln!(out, "{}", view.component.display())?;
    writeln!(out, "  digest   {}", view.digest)?;
    let (wasm, native) = (kib(view.wasm_bytes), kib(view.native_bytes));
    writeln!(out, "  weighs   {wasm}, {native} as native code, {} core modules", view.modules)?;
    for made in &view.producers {
        writeln!(out, "  made by  {} {} ({})", made.name, made.version, made.part)?;
    }
    for export in view.exports {
        writeln!(out, "  exports  {export}")?;
    }
    for import in &view.imports {
        writeln!(out, "  imports  {:44} {}", import.name, import.given)?;
    }
    match view.refusal {
        None => writeln!(
            out,
            "  a plugin of this host; its outcomes depend on nothing but record and configuration"
        ),
        Some(refusal) => writeln!(out, "  not a plugin of this host: {refusal}"),
    }
}
