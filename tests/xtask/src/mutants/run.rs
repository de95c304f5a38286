//! Building and testing in the copy, within limits of time.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::copy;
use super::outcome::Ran;
use super::patch::{Selection, Target};
use crate::process;

/// The longest that a build may take: the first compiles all of our crates.
const BUILD_LIMIT: Duration = Duration::from_mins(30);
/// The longest that the named tests may take.
const TEST_LIMIT: Duration = Duration::from_mins(3);

/// Our own crates are compiled in a third of the time without optimisation, and mutants change no
/// other. Those of others stay as they are compiled.
const UNOPTIMISED: [&str; 2] = ["xylem", "aep-emulator"];

/// A copy of the repository and a target folder of its own.
pub(super) struct Bench {
    /// The copy.
    pub(super) tree: PathBuf,
    /// A file per mutant.
    pub(super) logs: PathBuf,
    target: PathBuf,
}

impl Bench {
    /// Brings the copy up to date, and lends it what the tests use beside the programs.
    pub(super) fn set_up(root: &Path, target: &Path) -> Result<Self> {
        let folder = target.join("mutants");
        let bench = Self {
            tree: folder.join("tree"),
            logs: folder.join("logs"),
            target: folder.join("target"),
        };
        for path in [&bench.logs, &bench.tree, &bench.target] {
            fs::create_dir_all(path)
                .with_context(|| format!("cannot make `{}`", path.display()))?;
        }
        copy::sources(root, &bench.tree)?;
        copy::compiled(&target.join("release"), &bench.target.join("release"))?;
        for lent in ["plugins", "tools"] {
            let link = bench.target.join(lent);
            if !link.is_symlink() {
                std::os::unix::fs::symlink(target.join(lent), &link)
                    .with_context(|| format!("cannot make `{}`", link.display()))?;
            }
        }
        Ok(bench)
    }

    /// Where what is said of a mutant is written.
    pub(super) fn log(&self, name: &str) -> PathBuf {
        self.logs.join(format!("{name}.log"))
    }

    /// Compiles what the tests need; false where it does not compile.
    pub(super) fn build(&self, name: &str, target: Target) -> Result<bool> {
        let mut tests = self.cargo("test", target)?;
        let mut commands = vec![tests.arg("--no-run")];
        let mut programs = self.cargo("build", target)?;
        if target == Target::It {
            commands.push(programs.args(["--bin", "xylem", "--bin", "aep-emulator"]));
        }
        for command in commands {
            match self.run(name, command, BUILD_LIMIT)?.success {
                Some(true) => {}
                Some(false) => return Ok(false),
                None => bail!("no end of compiling: {}", self.log(name).display()),
            }
        }
        Ok(true)
    }

    /// Runs named tests.
    pub(super) fn test(&self, name: &str, selection: &Selection) -> Result<Ran> {
        let mut tests = self.cargo("test", selection.target)?;
        tests.args(["--", "--exact"]).args(&selection.tests);
        self.run(name, &mut tests, TEST_LIMIT)
    }

    fn cargo(&self, command: &str, target: Target) -> Result<Command> {
        let mut cargo = process::cargo()?;
        cargo.current_dir(&self.tree).arg(command).args(["--release", "--workspace"]);
        for package in UNOPTIMISED {
            cargo.args(["--config", &format!("profile.release.package.{package}.opt-level=0")]);
        }
        match target {
            // Whatever stands on the host's library would have it compiled twice.
            Target::Lib => cargo.args(["--exclude", "xylem-tests", "--exclude", "xylem-bench"]),
            Target::It => &mut cargo,
        };
        if command == "test" {
            cargo.args(target.flags().split(' '));
        }
        cargo.env("CARGO_TARGET_DIR", &self.target);
        // Else a failure of one mutant would be tried with the next, too.
        cargo.env("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "true");
        Ok(cargo)
    }

    /// Runs a command and all that it starts, up to a limit.
    fn run(&self, name: &str, command: &mut Command, limit: Duration) -> Result<Ran> {
        let path = self.log(name);
        let log =
            File::create(&path).with_context(|| format!("cannot write `{}`", path.display()))?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .context("cannot start cargo")?;
        let group = child.id();
        let (ended, end) = mpsc::channel();
        let waiter = std::thread::spawn(move || ended.send(child.wait()));
        let status = end.recv_timeout(limit);
        if status.is_err() {
            let group = format!("-{group}");
            process::run(Command::new("kill").args(["-KILL", "--", &group]))?;
        }
        drop(waiter.join());
        let success = match status {
            Ok(status) => Some(status.context("cargo was lost")?.success()),
            Err(_) => None,
        };
        Ok(Ran { said: String::from_utf8_lossy(&fs::read(&path)?).into_owned(), success })
    }
}
