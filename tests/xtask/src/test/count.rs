//! Counts what test binaries say about themselves.
//!
//! libtest knows no test that skips itself. Ours says so with a line on the process's own standard
//! error, past libtest's capture: `skipped: NAME: REASON`. libtest counts it as passed.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context as _, Result};

/// The sum over all test binaries.
#[derive(Default)]
pub(crate) struct Count {
    ended_well: usize,
    pub(crate) failed: usize,
    ignored: usize,
    /// `NAME: REASON` of each test that skipped itself.
    pub(crate) skips: Vec<String>,
}

impl Count {
    /// Runs `cargo test`, shows what it says and counts.
    pub(crate) fn run(&mut self, tests: &mut Command) -> Result<ExitStatus> {
        let mut child = tests
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start `cargo test`")?;
        let stdout = child.stdout.take().context("no standard output")?;
        let stderr = child.stderr.take().context("no standard error")?;
        let skips = std::thread::spawn(move || {
            let mut skips = Vec::new();
            each_line(stderr, |line| {
                eprintln!("{line}");
                skips.extend(line.strip_prefix("skipped: ").map(str::to_owned));
            });
            skips
        });
        each_line(stdout, |line| {
            println!("{line}");
            self.add_result(line);
        });
        self.skips.extend(skips.join().unwrap_or_default());
        child.wait().context("`cargo test` was lost")
    }

    pub(crate) fn passed(&self) -> usize {
        self.ended_well.saturating_sub(self.skips.len())
    }

    pub(crate) fn skipped(&self) -> usize {
        self.skips.len() + self.ignored
    }

    /// Adds a line such as `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; …`.
    fn add_result(&mut self, line: &str) {
        let Some(result) = line.strip_prefix("test result: ") else { return };
        let (_, numbers) = result.split_once(". ").unwrap_or_default();
        for part in numbers.split("; ") {
            let Some((number, word)) = part.split_once(' ') else { continue };
            let Ok(number) = number.parse::<usize>() else { continue };
            match word {
                "passed" => self.ended_well += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }
}

/// Calls `see` for each line, until the other end closes.
fn each_line(from: impl Read, mut see: impl FnMut(&str)) {
    let mut reader = BufReader::new(from);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        see(String::from_utf8_lossy(&line).trim_end());
        line.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_all_binaries_are_summed() {
        let mut count = Count::default();
        for line in [
            "running 3 tests",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.01s",
            "test result: FAILED. 10 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.20s",
            "test result: of my own making",
        ] {
            count.add_result(line);
        }
        count.skips.push("samples: `XYLEM_SAMPLES` is not set".to_owned());
        assert_eq!((count.passed(), count.failed, count.skipped()), (12, 2, 2));
    }

    #[test]
    fn a_skip_is_read_from_standard_error_and_not_counted_as_passed() {
        let mut count = Count::default();
        let script = "echo 'skipped: a::b: no samples' >&2; \
                      echo 'test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out'";
        let status = count.run(Command::new("sh").args(["-c", script])).unwrap();
        assert!(status.success());
        assert_eq!(count.skips, ["a::b: no samples"]);
        assert_eq!((count.passed(), count.skipped()), (0, 1));
    }
}
