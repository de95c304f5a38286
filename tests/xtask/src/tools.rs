//! What the tests stand on and cargo does not bring: installed into `target/tools`, from the
//! package registries, with each one's ordinary client.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::{process, workspace};

/// Apache Kafka's broker and its dependencies, as a Maven project.
const KAFKA: &str = include_str!("../kafka.xml");

/// Installs what is not there yet. Gives the tools that cannot be installed, each with the reason.
pub(crate) fn install() -> Vec<String> {
    let kafka = programs(["java", "mvn"]).and_then(|()| install_kafka()).context("Apache Kafka");
    let jco = programs(["node", "npm"]).and_then(|()| install_jco()).context("jco");
    [kafka, jco].into_iter().filter_map(Result::err).map(|error| format!("{error:#}")).collect()
}

/// The folder jco is installed in, where it is.
pub(crate) fn jco() -> Result<Option<PathBuf>> {
    let folder = folder("jco")?;
    Ok(jco_program(&folder).is_file().then_some(folder))
}

/// What node is to run, within the folder that [`jco`] gives.
pub(crate) fn jco_program(folder: &Path) -> PathBuf {
    folder.join("node_modules/@bytecodealliance/jco/dist/jco.js")
}

fn install_kafka() -> Result<()> {
    install_once(&folder("kafka")?, KAFKA.as_bytes(), |folder| {
        std::fs::write(folder.join("pom.xml"), KAFKA)?;
        let mut maven = Command::new("mvn");
        maven.current_dir(folder).args(["--batch-mode", "--quiet", "--no-transfer-progress"]);
        process::run_quietly(maven.args(["dependency:copy-dependencies", "-DoutputDirectory=jars"]))
            .map(drop)
    })
}

/// The versions are those of the TypeScript example, which is built with it.
fn install_jco() -> Result<()> {
    let example = workspace::root()?.join("examples/plugins/typescript");
    let package = std::fs::read(example.join("package.json"))?;
    let lock = std::fs::read(example.join("package-lock.json"))?;
    install_once(&folder("jco")?, &[package.as_slice(), &lock].concat(), |folder| {
        std::fs::write(folder.join("package.json"), &package)?;
        std::fs::write(folder.join("package-lock.json"), &lock)?;
        let mut npm = Command::new("npm");
        // Not `npm ci`: it wants every platform's optional packages in the lock file, and npm
        // leaves out those that the registry at hand does not serve.
        npm.current_dir(folder).args(["install", "--no-audit", "--no-fund", "--loglevel=error"]);
        process::run_quietly(&mut npm).map(drop)
    })
}

/// What an installation calls.
fn programs(names: [&str; 2]) -> Result<()> {
    match names.iter().find(|name| !process::exists(name)) {
        Some(name) => bail!("`{name}` is not on the path"),
        None => Ok(()),
    }
}

/// Installs into an empty folder, unless the same was installed there before.
///
/// The file `installed` is written last: a folder without it, or with other content in it, is an
/// installation that was broken off or is out of date.
fn install_once(
    folder: &Path,
    what: &[u8],
    install: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    let installed = folder.join("installed");
    if std::fs::read(&installed).is_ok_and(|present| present == what) {
        return Ok(());
    }
    if folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    std::fs::create_dir_all(folder)?;
    install(folder)?;
    std::fs::write(&installed, what)
        .with_context(|| format!("cannot write `{}`", installed.display()))
}

fn folder(tool: &str) -> Result<PathBuf> {
    Ok(workspace::target()?.join("tools").join(tool))
}
