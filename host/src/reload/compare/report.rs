//! What came of a comparison, for an answer and for people.
#![expect(clippy::cast_precision_loss, reason = "counts and bytes are far below 2^52")]

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::record::Position;

/// How a candidate did beside what runs, on the same records. Each record is counted in one of `equal` to
/// `refused_by_both`.
///
/// Invariant 10: no contents of a record, but in examples and messages, which are there only where somebody
/// asked for them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Comparison {
    /// Records that went through both.
    pub records: u64,
    /// Became the same, or were filtered by both.
    pub equal: u64,
    /// Became valid events under both, which are not the same.
    pub changed: u64,
    /// Were not dead letters, and the candidate's plugins reject them or fail on them.
    pub newly_rejected: u64,
    /// Were not dead letters, and the candidate makes of them what the schema or a limit of AEP refuses.
    pub newly_invalid: u64,
    /// Were dead letters, and the candidate makes valid events of them.
    pub newly_accepted: u64,
    /// Are filtered by the candidate and were not.
    pub newly_filtered: u64,
    /// Were filtered, and the candidate makes valid events of them.
    pub newly_emitted: u64,
    /// Are dead letters under both.
    pub refused_by_both: u64,
    /// Where changed records differ, the most frequent first.
    pub paths: Vec<PathChange>,
    /// Differences at further paths.
    pub further_paths: u64,
    /// Why records are newly rejected or invalid, the most frequent first.
    pub refusals: Vec<NewRefusal>,
    /// Records newly rejected or invalid for further reasons.
    pub further_refusals: u64,
    /// What the plugins of the running generation cost.
    pub running: Cost,
    /// What those of the candidate cost.
    pub candidate: Cost,
}

/// A place where events differ.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PathChange {
    /// A JSON pointer into the event; `*` stands for the number of an item and for a key that the schema does not
    /// list. Or `events`, `destination` or `operation`: how many there are, where one goes, what is asked.
    pub path: String,
    /// Records with another value there.
    pub changed: u64,
    /// Records that have it now and did not.
    pub added: u64,
    /// Records that had it and do not now.
    pub removed: u64,
    /// The first of these records.
    pub first: Position,
    /// Values, where somebody asked for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<Example>,
}

impl PathChange {
    /// Records that differ there.
    pub fn records(&self) -> u64 {
        // A list with one item changed and one added is one record in two counts.
        self.changed.max(self.added).max(self.removed)
    }
}

/// A value on both sides, as JSON text; long ones are cut.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Example {
    /// The record.
    pub position: Position,
    /// What the running generation makes; none where it makes nothing there.
    pub before: Option<String>,
    /// What the candidate makes.
    pub after: Option<String>,
}

/// Why records are newly rejected or invalid.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NewRefusal {
    /// The fault's code.
    pub code: String,
    /// AEP's code of the first violation, and what the schema asks for, where it refuses the event.
    pub violation: Option<String>,
    /// Where in the event, as in `paths`.
    pub path: Option<String>,
    /// How many.
    pub records: u64,
    /// The first of them.
    pub first: Position,
    /// What was said, where somebody asked for examples and hides nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<String>,
}

/// What plugins cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Cost {
    /// CPU time for each record, in microseconds, all plugins together; of calls that did not fail.
    pub cpu_us: f64,
    /// The most memory that one instance of each plugin had, all together, in bytes.
    pub memory_bytes: u64,
    /// Calls that failed: traps, overruns, wrong answers.
    pub failures: u64,
}

impl Comparison {
    /// Records that would be dead letters under the candidate and are none now.
    pub fn newly_refused(&self) -> u64 {
        self.newly_rejected + self.newly_invalid
    }

    /// Whether the candidate makes the same of every record.
    pub fn is_equal(&self) -> bool {
        self.equal + self.refused_by_both == self.records
    }

    /// How many records there were and what became of them, in words.
    pub fn counts(&self) -> String {
        let counts = [
            (self.equal, "equal"),
            (self.changed, "changed"),
            (self.newly_rejected, "newly rejected"),
            (self.newly_invalid, "newly invalid"),
            (self.newly_accepted, "newly accepted"),
            (self.newly_filtered, "newly filtered"),
            (self.newly_emitted, "no longer filtered"),
            (self.refused_by_both, "dead letters under both"),
        ];
        let counts = counts.into_iter().filter(|(count, _)| *count > 0);
        let counts: Vec<String> = counts.map(|(count, word)| format!("{count} {word}")).collect();
        let nothing = if counts.is_empty() { "nothing to compare" } else { "" };
        format!("{} records: {}{nothing}", self.records, counts.join(", "))
    }
}

/// A page for people.
impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.counts())?;
        for path in &self.paths {
            path.page(f)?;
        }
        if self.further_paths > 0 {
            writeln!(f, "  {} differences at further paths", self.further_paths)?;
        }
        for refusal in &self.refusals {
            refusal.page(f)?;
        }
        if self.further_refusals > 0 {
            writeln!(f, "  {} refused for further reasons", self.further_refusals)?;
        }
        let (before, after) = (&self.running, &self.candidate);
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        writeln!(
            f,
            "plugins: {:.1} -> {:.1} us of CPU a record, {:.1} -> {:.1} MiB, {} -> {} failed calls",
            before.cpu_us,
            after.cpu_us,
            mib(before.memory_bytes),
            mib(after.memory_bytes),
            before.failures,
            after.failures
        )
    }
}

impl PathChange {
    fn page(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [(self.changed, "changed"), (self.added, "added"), (self.removed, "removed")];
        let counts = counts.into_iter().filter(|(count, _)| *count > 0);
        let counts: Vec<String> = counts.map(|(count, word)| format!("{count} {word}")).collect();
        writeln!(f, "  {}: {}, first at {}", self.path, counts.join(", "), self.first)?;
        for Example { position, before, after } in &self.examples {
            let shown =
                |side: &Option<String>| side.clone().unwrap_or_else(|| "nothing".to_owned());
            writeln!(f, "      {position}: {} -> {}", shown(before), shown(after))?;
        }
        Ok(())
    }
}

impl NewRefusal {
    /// The reason in a few words, without anything of the record.
    pub(in crate::reload) fn why(&self) -> String {
        let mut why = self.code.clone();
        if let Some(violation) = &self.violation {
            why.extend([" ", violation]);
        }
        if let Some(path) = &self.path {
            why.extend([" at ", if path.is_empty() { "the event" } else { path }]);
        }
        why
    }

    fn page(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  {}: {} records, first at {}", self.why(), self.records, self.first)?;
        for message in &self.messages {
            writeln!(f, "      {message}")?;
        }
        Ok(())
    }
}
