//! One patch of `tests/mutants`: a diff with a few words before it.
//!
//! ```text
//! A settlement of an older assignment moves the offset of the present one.
//!
//! Promise: 1
//! Killed by: --lib -- consume::tests::what_was_taken_away_settles_nothing
//!
//! --- a/host/src/consume/assigned.rs
//! …
//! ```

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::process;

/// A mutant.
#[derive(Debug)]
pub(super) struct Patch {
    /// The file's name without `.patch`.
    pub(super) name: String,
    /// The promises that it breaks, such as `1` or `2, 11`.
    pub(super) promise: String,
    /// The tests that have to fail, all of them.
    pub(super) killed_by: Selection,
    /// It is told by a test that does not end.
    pub(super) hangs: bool,
    file: PathBuf,
}

/// Tests of one binary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Selection {
    /// Which binary.
    pub(super) target: Target,
    /// Their whole names.
    pub(super) tests: Vec<String>,
}

/// A test binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// The tests beside the host's code.
    Lib,
    /// Those in `tests/`.
    It,
}

impl Target {
    pub(super) const ALL: [Self; 2] = [Self::Lib, Self::It];

    /// What chooses it on cargo's command line.
    pub(super) fn flags(self) -> &'static str {
        match self {
            Self::Lib => "--lib",
            Self::It => "--test it",
        }
    }
}

/// Every patch of a folder, by name.
pub(super) fn read_all(folder: &Path) -> Result<Vec<Patch>> {
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("cannot read `{}`", folder.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        files.push(entry?.path());
    }
    files.retain(|file| file.extension().is_some_and(|extension| extension == "patch"));
    files.sort();
    files.iter().map(|file| read(file)).collect()
}

fn read(file: &Path) -> Result<Patch> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("cannot read `{}`", file.display()))?;
    let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    parse(name, &text, file.to_owned()).with_context(|| format!("in `{}`", file.display()))
}

fn parse(name: String, text: &str, file: PathBuf) -> Result<Patch> {
    let preamble: Vec<&str> = text
        .lines()
        .take_while(|line| !line.starts_with("diff ") && !line.starts_with("--- "))
        .collect();
    let said = |key: &str| {
        let mut values = preamble.iter().filter_map(|line| line.strip_prefix(key)).map(str::trim);
        let value = values.next();
        if values.next().is_some() {
            bail!("`{key}` stands there twice")
        }
        Ok(value)
    };
    if preamble.first().is_none_or(|line| line.trim().is_empty() || line.contains(": --")) {
        bail!("it begins with a sentence that says what is broken");
    }
    let promise =
        said("Promise:")?.context("`Promise:` with the promise that it breaks is missing")?;
    if !promise.split(", ").all(|number| matches!(number.parse(), Ok(1..=11))) {
        bail!("`Promise: {promise}`: expected numbers from 1 to 11");
    }
    let killed_by =
        said("Killed by:")?.context("`Killed by:` with the tests that fail is missing")?;
    let hangs = match said("Ends:")? {
        None => false,
        Some("hangs") => true,
        Some(other) => bail!("`Ends: {other}`: expected `hangs` or no such line"),
    };
    Ok(Patch { name, promise: promise.to_owned(), killed_by: selection(killed_by)?, hangs, file })
}

/// Such as `--lib -- settle::tracker::tests::a settle::tracker::tests::b`.
fn selection(text: &str) -> Result<Selection> {
    let (flags, tests) = text.split_once(" -- ").unwrap_or((text, ""));
    let Some(target) = Target::ALL.into_iter().find(|target| target.flags() == flags) else {
        bail!("`Killed by: {flags}`: expected `--lib -- TESTS` or `--test it -- TESTS`");
    };
    let tests: Vec<String> = tests.split_whitespace().map(str::to_owned).collect();
    if tests.is_empty() {
        bail!("`Killed by:` names no test");
    }
    Ok(Selection { target, tests })
}

impl Patch {
    /// Applies it to a tree, or says why it cannot.
    pub(super) fn apply(&self, tree: &Path) -> Result<(), String> {
        self.git(tree, &[]).map_err(|error| format!("{error:#}"))
    }

    /// Undoes it.
    pub(super) fn take_back(&self, tree: &Path) -> Result<()> {
        self.git(tree, &["--reverse"])
    }

    fn git(&self, tree: &Path, flags: &[&str]) -> Result<()> {
        let mut git = Command::new("git");
        // Not as a part of the repository around the tree: git would skip what lies outside.
        git.current_dir(tree).env("GIT_CEILING_DIRECTORIES", tree.parent().unwrap_or(tree));
        git.arg("apply").args(flags).arg(&self.file);
        process::run_quietly(&mut git).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::workspace;

    fn parsed(text: &str) -> Result<Patch, String> {
        parse("m".into(), text, PathBuf::new()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_preamble_says_what_is_broken_and_which_tests_fail() {
        let text = "All is well.\n\nPromise: 1, 11\nKilled by: --test it -- a::b c::d\nEnds: hangs\n\ndiff --git";
        let patch = parsed(text).unwrap();
        assert_eq!((patch.promise.as_str(), patch.hangs), ("1, 11", true));
        let tests = vec!["a::b".to_owned(), "c::d".to_owned()];
        assert_eq!(patch.killed_by, Selection { target: Target::It, tests });
    }

    #[test]
    fn what_a_preamble_lacks_is_said() {
        let begin = "A sentence.\nPromise: 1\n";
        for (text, words) in [
            ("A sentence.\nKilled by: --lib -- a::b\n", "`Promise:`"),
            ("\nPromise: 1\nKilled by: --lib -- a::b\n", "begins with a sentence"),
            ("A sentence.\nPromise: 12\nKilled by: --lib -- a::b\n", "from 1 to 11"),
            (begin, "`Killed by:`"),
            (&format!("{begin}Killed by: --lib\n"), "no test"),
            (&format!("{begin}Killed by: --bin x -- a\n"), "expected `--lib"),
            (&format!("{begin}Killed by: --lib -- a\nKilled by: --lib -- b\n"), "twice"),
            (&format!("{begin}Killed by: --lib -- a\nEnds: soon\n"), "`Ends: soon`"),
        ] {
            let error = parsed(text).unwrap_err();
            assert!(error.contains(words), "{text:?}: {error}");
        }
    }

    /// The files that may hold a test of this name.
    fn files(target: Target, test: &str) -> Vec<PathBuf> {
        let mut modules: Vec<&str> = test.split("::").collect();
        modules.pop();
        let folder = Path::new(match target {
            Target::Lib => "host/src",
            Target::It => "tests",
        });
        let mut files = Vec::new();
        // `mod tests` stands in the file of what it tests, or in one of its own.
        for dropped in 0..=usize::from(modules.last() == Some(&"tests")) {
            let path = modules
                .iter()
                .take(modules.len() - dropped)
                .fold(folder.to_owned(), |p, m| p.join(m));
            files.push(path.with_extension("rs"));
            files.push(path.join("mod.rs"));
        }
        files
    }

    /// Whether the mutants are killed is `cargo xtask mutants`' to find out; that they still can be
    /// is seen here, in no time.
    #[test]
    fn every_patch_applies_and_names_tests_that_exist() {
        if !process::exists("git") {
            let line = b"skipped: every_patch_applies_and_names_tests_that_exist: no git\n";
            return std::io::stderr().write_all(line).unwrap();
        }
        let root = workspace::root().unwrap();
        let patches = read_all(&root.join("tests/mutants")).unwrap();
        assert!(patches.len() >= 15, "{} patches", patches.len());
        let mut complaints = Vec::new();
        for patch in &patches {
            let Selection { target, tests } = &patch.killed_by;
            if let Err(error) = patch.git(&root, &["--check"]) {
                complaints.push(format!("{}: {error:#}", patch.name));
            }
            for test in tests {
                let name = test.rsplit("::").next().unwrap_or_default();
                let texts = files(*target, test)
                    .into_iter()
                    .filter_map(|f| std::fs::read_to_string(root.join(f)).ok());
                if !texts.into_iter().any(|text| text.contains(&format!("fn {name}("))) {
                    complaints.push(format!("{}: there is no test `{test}`", patch.name));
                }
            }
        }
        assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    }
}
