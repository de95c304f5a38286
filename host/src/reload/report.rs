//! What came of a reload, for `/status`, for an answer and for people.
//!
//! Invariant 10: names, paths of files, codes and counts; no contents of a record, no secret.

use std::fmt;
use std::time::Instant;

use schemars::JsonSchema;
use serde::Serialize;

use crate::config::Problem;
use crate::generation::Step;

/// Who wanted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The process started.
    Start,
    /// A file changed.
    Files,
    /// SIGHUP.
    Signal,
    /// `xylem reload` or `POST /reload`, and what goes with them.
    Asked,
    /// A canary's own rule.
    Canary,
}

impl Cause {
    /// Its name, as in JSON and labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Files => "files",
            Self::Signal => "signal",
            Self::Asked => "asked",
            Self::Canary => "canary",
        }
    }
}

/// What became of the generation that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The candidate took its place.
    Swapped,
    /// There is nothing new, so it goes on.
    Unchanged,
    /// The candidate was refused; it goes on.
    Refused,
    /// The candidate needs a restart of the process; it goes on.
    RestartNeeded,
}

impl Outcome {
    /// Its name, as in JSON and labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Swapped => "swapped",
            Self::Unchanged => "unchanged",
            Self::Refused => "refused",
            Self::RestartNeeded => "restart-needed",
        }
    }
}

/// What came of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Passed {
    /// Passed.
    Yes,
    /// Not passed: the candidate is refused.
    No,
    /// There was nothing to hold it against; the note says what would be.
    Skipped,
}

/// A step that was taken.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct StepReport {
    /// Which.
    pub step: Step,
    /// What came of it.
    pub passed: Passed,
    /// What was seen, in a few words.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// What is wrong, each with its file, its place there and what to do.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
}

/// What came of a reload.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Report {
    /// Who wanted it.
    pub cause: Cause,
    /// When it began, RFC 3339 in UTC.
    pub began: String,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// What became of the generation that runs.
    pub outcome: Outcome,
    /// Why, in a sentence.
    pub reason: String,
    /// The generation that runs from now on; none where the process does not start.
    pub running: Option<String>,
    /// The generation that ran before.
    pub before: Option<String>,
    /// The candidate's generation, as far as it came to be one.
    pub candidate: Option<String>,
    /// The steps of the gate that were taken, in order. What comes after one that is not passed was not
    /// taken.
    pub steps: Vec<StepReport>,
    /// What the swap did beside it: topics that come or go (a rebalance follows), destinations that
    /// changed, partitions that begin again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub effects: Vec<String>,
}

/// What was decided.
pub struct Decision {
    /// What became of the generation that runs.
    pub outcome: Outcome,
    /// Why, in a sentence.
    pub reason: String,
    /// The candidate's generation, as far as it came to be one.
    pub candidate: Option<String>,
    /// What the swap did beside it.
    pub effects: Vec<String>,
}

impl Decision {
    /// A decision without effects.
    pub fn new(outcome: Outcome, reason: impl Into<String>) -> Self {
        Self { outcome, reason: reason.into(), candidate: None, effects: Vec::new() }
    }
}

/// When a reload began.
pub struct Began {
    at: jiff::Timestamp,
    clock: Instant,
}

impl Began {
    /// Now.
    pub fn now() -> Self {
        Self { at: jiff::Timestamp::now(), clock: Instant::now() }
    }

    /// What came of it; the generations that ran before and run now.
    pub fn report(
        &self,
        cause: Cause,
        decision: Decision,
        steps: Vec<StepReport>,
        [before, running]: [Option<&str>; 2],
    ) -> Report {
        Report {
            cause,
            began: self.at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
            took_ms: u64::try_from(self.clock.elapsed().as_millis()).unwrap_or(u64::MAX),
            outcome: decision.outcome,
            reason: decision.reason,
            running: running.map(str::to_owned),
            before: before.map(str::to_owned),
            candidate: decision.candidate,
            steps,
            effects: decision.effects,
        }
    }
}

impl Report {
    /// Whether what was asked for is so now.
    pub fn is_done(&self) -> bool {
        matches!(self.outcome, Outcome::Swapped | Outcome::Unchanged)
    }

    /// Everything that is wrong.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.steps.iter().flat_map(|step| &step.problems)
    }
}

/// A page for people.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = self.outcome.as_str();
        writeln!(f, "{outcome}: {} ({} ms)", self.reason, self.took_ms)?;
        let plain = |step: &&StepReport| step.passed == Passed::Yes && step.note.is_empty();
        let passed: Vec<&str> =
            self.steps.iter().take_while(plain).map(|step| step.step.as_str()).collect();
        if !passed.is_empty() {
            writeln!(f, "  ok {}", passed.join(", "))?;
        }
        for step in self.steps.iter().skip(passed.len()) {
            let mark = match step.passed {
                Passed::Yes => "ok",
                Passed::No => "NO",
                Passed::Skipped => "--",
            };
            let note = if step.note.is_empty() { "" } else { ": " };
            writeln!(f, "  {mark} {}{note}{}", step.step.as_str(), step.note)?;
            for problem in &step.problems {
                for line in problem.to_string().lines() {
                    writeln!(f, "       {line}")?;
                }
            }
        }
        for effect in &self.effects {
            writeln!(f, "  {effect}")?;
        }
        let running = self.running.as_deref().unwrap_or("none");
        match &self.before {
            Some(before) if self.outcome == Outcome::Swapped => {
                writeln!(f, "running: generation {running}, before it {before}")
            }
            _ => writeln!(f, "running: generation {running}"),
        }
    }
}
