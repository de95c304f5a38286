//! The guests: built for `wasm32-wasip2` and laid into `target/plugins/NAME.wasm`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::{process, tools, workspace};

const TARGET: &str = "wasm32-wasip2";

/// The Rust guests: name of the file in `target/plugins`, package.
pub(crate) const RUST: [(&str, &str); 8] = [
    ("csv", "xylem-plugin-csv"),
    ("json", "xylem-plugin-json"),
    ("pos", "xylem-plugin-pos"),
    ("crm", "xylem-plugin-crm"),
    ("hostile", "xylem-guest-hostile"),
    ("stamp", "xylem-guest-stamp"),
    ("order", "xylem-bench-order"),
    ("example-rust", "xylem-example-rust"),
];

/// A build of the TypeScript example.
struct TypeScript {
    /// Of the file in `target/plugins`.
    name: &'static str,
    /// What makes it this one.
    options: &'static [&'static str],
}

const QUICKJS: TypeScript = TypeScript {
    name: "example-typescript",
    options: &["--backend", "qjs", "--backend-qjs-disable-async"],
};

/// With `SpiderMonkey` inside, as jco builds unless told otherwise: seven times the size.
const STARLINGMONKEY: TypeScript = TypeScript {
    name: "example-typescript-starlingmonkey",
    options: &["--backend", "starlingmonkey"],
};

/// What [`build`] made, a line for each guest.
pub(crate) struct Built {
    lines: Vec<String>,
    /// Why a guest could not be built here, where one could not.
    pub(crate) missing: Vec<String>,
}

impl fmt::Display for Built {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().chain(&self.missing).try_for_each(|line| writeln!(out, "{line}"))
    }
}

/// Builds all guests. A file in `target/plugins` whose content would not change is left alone.
pub(crate) fn build() -> Result<Built> {
    add_target()?;
    let mut built = Built { lines: Vec::new(), missing: Vec::new() };
    let target = workspace::target()?;
    for (name, package) in RUST {
        // One by one and as `cdylib` only: cargo leaves out link-time optimisation for a crate that
        // is a `lib` beside it, and the library is what tests on the developer's machine link.
        let mut cargo = process::cargo()?;
        cargo.args(["rustc", "--quiet", "--profile", "guest", "--target", TARGET]);
        process::run(cargo.args(["--package", package, "--lib", "--crate-type", "cdylib"]))?;
        let made = target.join(TARGET).join("guest").join(package.replace('-', "_") + ".wasm");
        let content =
            std::fs::read(&made).with_context(|| format!("cargo made no `{}`", made.display()))?;
        built.lines.push(lay(name, &content)?);
    }
    match tools::jco()? {
        Some(jco) => built.lines.push(typescript(&jco, &QUICKJS)?),
        None => built.missing.push(format!(
            "{}: not built, jco is not installed (`cargo xtask test --only tools`)",
            QUICKJS.name
        )),
    }
    Ok(built)
}

/// `-p PACKAGE` for each Rust guest.
pub(crate) fn package_arguments() -> impl Iterator<Item = &'static str> {
    RUST.iter().flat_map(|(_, package)| ["-p", package])
}

/// Adds the target that guests are compiled for, where it is missing.
pub(crate) fn add_target() -> Result<()> {
    let sysroot = process::run_quietly(Command::new("rustc").args(["--print", "sysroot"]))?;
    if Path::new(sysroot.trim()).join("lib/rustlib").join(TARGET).is_dir() {
        return Ok(());
    }
    process::run(Command::new("rustup").args(["target", "add", TARGET]))
        .with_context(|| format!("the Rust target `{TARGET}` is missing; add it to the toolchain"))
}

/// The path of a guest's component.
fn path(name: &str) -> Result<PathBuf> {
    Ok(workspace::target()?.join("plugins").join(name).with_extension("wasm"))
}

fn lay(name: &str, content: &[u8]) -> Result<String> {
    let changed = process::write_if_changed(&path(name)?, content)?;
    let note = if changed { "" } else { ", unchanged" };
    Ok(format!("{name}: {} KB{note}", content.len() / 1000))
}

/// Builds the TypeScript example with `StarlingMonkey`, which no test needs; gives its path.
pub(crate) fn starlingmonkey() -> Result<PathBuf> {
    let missing = tools::install();
    let Some(jco) = tools::jco()? else { bail!("jco is not installed: {}", missing.join("; ")) };
    println!("{}", typescript(&jco, &STARLINGMONKEY)?);
    path(STARLINGMONKEY.name)
}

/// Builds the TypeScript example with jco, unless it was built from the same inputs before.
fn typescript(jco: &Path, build: &TypeScript) -> Result<String> {
    let example = workspace::root()?.join("examples/plugins/typescript");
    let mut inputs = Vec::new();
    for name in ["src/plugin.ts", "wit/plugin.wit", "package.json", "package-lock.json"] {
        let file = example.join(name);
        let content = std::fs::read(&file);
        inputs.extend(content.with_context(|| format!("cannot read `{}`", file.display()))?);
    }
    let name = build.name;
    let inputs_of_last = jco.join(format!("{name}.inputs"));
    let made = path(name)?;
    if made.is_file() && std::fs::read(&inputs_of_last).is_ok_and(|last| last == inputs) {
        let size = std::fs::metadata(&made)?.len();
        return Ok(format!("{name}: {} KB, unchanged", size / 1000));
    }

    let fresh = jco.join(format!("{name}.wasm"));
    let mut componentize = Command::new("node");
    componentize.current_dir(&example).arg(tools::jco_program(jco)).arg("componentize");
    // Relative to the folder: an absolute path would be part of the component's bytes.
    componentize.args(["src/plugin.ts", "--cwd", ".", "--bundle"]).args(build.options);
    componentize.args(["-w", "wit", "-n", "plugin", "-o"]);
    process::run_quietly(componentize.arg(&fresh))?;
    let content = std::fs::read(&fresh)?;
    let line = lay(name, &content)?;
    process::write_if_changed(&inputs_of_last, &inputs)?;
    Ok(line)
}
