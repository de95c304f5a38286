//! `cargo xtask mutants`: breaks a promise on purpose, once per patch of `tests/mutants`, and sees to
//! it that the tests which the patch names fail.
//!
//! It works on a copy of the working tree as it stands (`target/mutants/tree`), with a target folder
//! of its own, so that nothing of a mutant is ever left where people build.

mod copy;
mod outcome;
mod patch;
mod run;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};

use self::outcome::Outcome;
use self::patch::{Patch, Selection};
use self::run::Bench;
use crate::workspace;

/// Which of them.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only these, by the names of their files; all without
    names: Vec<String>,
}

/// One line of the table.
struct Row {
    name: String,
    promise: String,
    seconds: f64,
    end: End,
}

/// How a mutant ended.
enum End {
    /// By these tests.
    Killed(String),
    /// Why it shows nothing, or that no test saw it.
    Failed(String),
}

/// Applies each patch in turn and runs its tests; a failure where one survived or shows nothing.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let root = workspace::root()?;
    let bench = Bench::set_up(&root, &workspace::target()?)?;
    // The copy's own, which nobody edits meanwhile.
    let patches = chosen(patch::read_all(&bench.tree.join("tests/mutants"))?, &options.names)?;
    unmutated(&bench, &patches)?;

    let mut rows = Vec::new();
    for patch in &patches {
        println!("--- {}", patch.name);
        let begun = Instant::now();
        let end = match mutate(&bench, patch)? {
            Ok(killers) => End::Killed(killers),
            Err(reason) => End::Failed(reason),
        };
        println!("    {}", end.words());
        let seconds = begun.elapsed().as_secs_f64();
        rows.push(Row { name: patch.name.clone(), promise: patch.promise.clone(), seconds, end });
    }
    print_table(&rows);
    let failed = rows.iter().filter(|row| matches!(row.end, End::Failed(_))).count();
    println!("\n{} killed, {failed} not", rows.len() - failed);
    println!("What cargo and the tests said: {}", shown(&bench.logs));
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The patches of these names; all where none is given.
fn chosen(patches: Vec<Patch>, names: &[String]) -> Result<Vec<Patch>> {
    if names.is_empty() {
        return Ok(patches);
    }
    let known: BTreeSet<&str> = patches.iter().map(|patch| patch.name.as_str()).collect();
    if let Some(unknown) = names.iter().find(|name| !known.contains(name.as_str())) {
        let known: Vec<&str> = known.into_iter().collect();
        bail!("no `tests/mutants/{unknown}.patch`; there are {}", known.join(", "));
    }
    Ok(patches.into_iter().filter(|patch| names.contains(&patch.name)).collect())
}

/// A test that fails anyway kills nothing: without a mutant all of them have to pass.
fn unmutated(bench: &Bench, patches: &[Patch]) -> Result<()> {
    for (target, names) in union(patches) {
        let selection = Selection { target, tests: names.into_iter().collect() };
        println!("--- without a mutant: {} tests of `{}`", selection.tests.len(), target.flags());
        if !bench.build("without", target)? {
            bail!("the tree does not compile as it stands: {}", shown(&bench.log("without")));
        }
        let ran = bench.test("without", &selection)?;
        match Outcome::of(&ran, &selection.tests) {
            Outcome::Survived => {}
            other => bail!("the tests fail without a mutant: {}", other.words()),
        }
    }
    Ok(())
}

/// All named tests, by the binary that they are in.
fn union(patches: &[Patch]) -> Vec<(patch::Target, BTreeSet<String>)> {
    patch::Target::ALL
        .into_iter()
        .map(|target| {
            let of_target = patches.iter().filter(|patch| patch.killed_by.target == target);
            (target, of_target.flat_map(|patch| patch.killed_by.tests.iter().cloned()).collect())
        })
        .filter(|(_, tests): &(_, BTreeSet<String>)| !tests.is_empty())
        .collect()
}

/// Applies a patch, builds, runs its tests and takes it back. The tests that failed, or why the
/// mutant shows nothing.
fn mutate(bench: &Bench, patch: &Patch) -> Result<Result<String, String>> {
    if let Err(complaint) = patch.apply(&bench.tree) {
        return Ok(Err(format!("no longer applies: {complaint}")));
    }
    let end = try_out(bench, patch);
    patch.take_back(&bench.tree)?;
    end
}

fn try_out(bench: &Bench, patch: &Patch) -> Result<Result<String, String>> {
    let Selection { target, tests } = &patch.killed_by;
    if !bench.build(&patch.name, *target)? {
        let log = bench.log(&patch.name);
        return Ok(Err(format!("does not compile: {}", shown(&log))));
    }
    let ran = bench.test(&patch.name, &patch.killed_by)?;
    Ok(match Outcome::of(&ran, tests) {
        Outcome::Killed => Ok(tests.join(", ")),
        Outcome::Hung if patch.hangs => Ok(format!("{} (no end)", tests.join(", "))),
        Outcome::Survived => Err(format!("SURVIVED {}", tests.join(", "))),
        other => Err(other.words()),
    })
}

impl End {
    fn words(&self) -> String {
        match self {
            Self::Killed(tests) => format!("killed by {tests}"),
            Self::Failed(reason) => reason.clone(),
        }
    }
}

fn print_table(rows: &[Row]) {
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or_default();
    println!("\n{:<width$}  {:<8} {:>7}  end", "mutant", "promise", "time");
    for Row { name, promise, seconds, end } in rows {
        println!("{name:<width$}  {promise:<8} {seconds:>5.0} s  {}", end.words());
    }
}

/// A path as people see it: below the present folder where it is.
fn shown(path: &Path) -> String {
    let here: PathBuf = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).unwrap_or(path).display().to_string()
}
