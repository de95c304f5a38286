//! What a test binary's output says of a mutant.

/// How a run of named tests ended.
pub(super) struct Ran {
    /// All that it said.
    pub(super) said: String,
    /// Whether it ended well; none where it had to be ended.
    pub(super) success: Option<bool>,
}

/// What that says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Every named test failed.
    Killed,
    /// Every named test passed.
    Survived,
    /// It did not end in time.
    Hung,
    /// Nothing, for this reason.
    Unclear(String),
}

impl Outcome {
    /// Reads libtest's lines: a test that did not run, or skipped itself, tells nothing.
    pub(super) fn of(ran: &Ran, tests: &[String]) -> Self {
        let Some(success) = ran.success else { return Self::Hung };
        let lines = || ran.said.lines();
        let count: usize = lines().filter_map(running).sum();
        if count != tests.len() {
            return Self::Unclear(format!("{count} of the {} named tests ran", tests.len()));
        }
        if let Some(skip) = lines().find_map(|line| line.strip_prefix("skipped: ")) {
            return Self::Unclear(format!("skipped: {skip}"));
        }
        let failed = failures(&ran.said);
        let missed: Vec<&str> =
            tests.iter().map(String::as_str).filter(|test| !failed.contains(test)).collect();
        match (success, failed.is_empty()) {
            (true, true) => Self::Survived,
            (false, true) => Self::Unclear("the test binary died".to_owned()),
            _ if missed.is_empty() => Self::Killed,
            _ => Self::Unclear(format!(
                "failed: {}; passed: {}",
                failed.join(", "),
                missed.join(", ")
            )),
        }
    }

    pub(super) fn words(&self) -> String {
        match self {
            Self::Killed => "every named test failed".to_owned(),
            Self::Survived => "every named test passed".to_owned(),
            Self::Hung => "no end within the limit".to_owned(),
            Self::Unclear(reason) => reason.clone(),
        }
    }
}

/// The number in a line such as `running 3 tests`.
fn running(line: &str) -> Option<usize> {
    let (number, word) = line.strip_prefix("running ")?.split_once(' ')?;
    if matches!(word, "test" | "tests") { number.parse().ok() } else { None }
}

/// The names in libtest's last list of failures.
fn failures(said: &str) -> Vec<&str> {
    let Some((_, list)) = said.rsplit_once("\nfailures:\n") else { return Vec::new() };
    list.lines().map_while(|line| line.strip_prefix("    ")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(said: &str, success: Option<bool>) -> Outcome {
        Outcome::of(&Ran { said: said.to_owned(), success }, &["a::b".into(), "a::c".into()])
    }

    fn unclear(reason: &str) -> Outcome {
        Outcome::Unclear(reason.to_owned())
    }

    #[test]
    fn only_failures_of_all_named_tests_kill() {
        let all = "running 0 tests\n\nrunning 2 tests\ntest a::b ... FAILED\n\nfailures:\n\n---- a::b stdout ----\n\n\
                   failures:\n    a::b\n    a::c\n\ntest result: FAILED. 0 passed; 2 failed\n";
        assert_eq!(outcome(all, Some(false)), Outcome::Killed);
        let one = "running 2 tests\n\nfailures:\n    a::b\n\ntest result: FAILED.\n";
        assert_eq!(outcome(one, Some(false)), unclear("failed: a::b; passed: a::c"));
        assert_eq!(outcome("running 2 tests\n", Some(true)), Outcome::Survived);
    }

    #[test]
    fn what_did_not_run_kills_nothing() {
        assert_eq!(outcome("running 1 test\n", Some(true)), unclear("1 of the 2 named tests ran"));
        assert_eq!(
            outcome("error: no such command\n", Some(false)),
            unclear("0 of the 2 named tests ran")
        );
        assert_eq!(outcome("running 2 tests\n", Some(false)), unclear("the test binary died"));
        let skipped = "running 2 tests\nskipped: b: no Java\n";
        assert_eq!(outcome(skipped, Some(true)), unclear("skipped: b: no Java"));
        assert_eq!(outcome("running 2 tests\n", None), Outcome::Hung);
    }
}
