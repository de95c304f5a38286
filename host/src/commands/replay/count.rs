//! What became of the letters, by the code of each letter: before and after. Pure.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::Serialize;

use crate::config::count;
use crate::fault::Code;

/// How many letters that cannot be read are named.
const NAMED: usize = 10;

/// Where a replay begins.
pub(super) const RESUMED: &str = "from where the last replay ended";
pub(super) const FROM_THE_BEGINNING: &str = "from the beginning";

/// What a letter's record is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum After {
    /// All its events are valid; nothing was sent.
    Valid,
    /// AEP has all its events.
    Delivered,
    /// A plugin filters it.
    Filtered,
    /// AEP took all that it is now when the letter was written.
    AcceptedBefore,
    /// It is still a dead letter.
    Fault(Code),
}

impl After {
    fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Delivered => "delivered",
            Self::Filtered => "filtered",
            Self::AcceptedBefore => "accepted before",
            Self::Fault(code) => code.as_str(),
        }
    }

    fn is_fault(self) -> bool {
        matches!(self, Self::Fault(_))
    }
}

/// The code of a letter, as far as it is one. Invariant 10: a header may hold anything.
pub(super) fn code_of(text: &str) -> &'static str {
    Code::ALL.iter().map(|code| code.as_str()).find(|known| *known == text).unwrap_or("unknown")
}

/// What became of the letters so far.
#[derive(Debug, Default)]
pub(super) struct Count {
    by_code: BTreeMap<(&'static str, After), u64>,
    /// Events that were delivered, or would be.
    pub(super) events: u64,
    /// Letters of other pipelines.
    pub(super) other_pipelines: u64,
    /// Letters of a record that had one already.
    pub(super) repeated: u64,
    unreadable: u64,
    named: Vec<Unread>,
}

/// A record of the dead-letter topic that cannot be read.
#[derive(Clone, Debug, Serialize)]
struct Unread {
    partition: i32,
    offset: i64,
    reason: String,
}

impl Count {
    /// A letter's record is this now.
    pub(super) fn add(&mut self, before: &'static str, after: After) {
        *self.by_code.entry((before, after)).or_default() += 1;
    }

    /// Something in the topic is no letter.
    pub(super) fn unreadable(&mut self, partition: i32, offset: i64, reason: String) {
        self.unreadable += 1;
        if self.named.len() < NAMED {
            self.named.push(Unread { partition, offset, reason });
        }
    }

    /// How many letters were dealt with.
    pub(super) fn letters(&self) -> u64 {
        self.by_code.values().sum()
    }

    /// Whether nothing is left in the topic that is of no use.
    pub(super) fn is_good(&self) -> bool {
        self.unreadable == 0 && self.sum(After::is_fault) == 0
    }

    fn sum(&self, which: impl Fn(After) -> bool) -> u64 {
        self.by_code.iter().filter(|((_, after), _)| which(*after)).map(|(_, n)| n).sum()
    }
}

/// A replay, as it is told of.
pub(super) struct Report<'a> {
    pub(super) pipeline: &'a str,
    pub(super) topic: &'a str,
    pub(super) group: &'a str,
    /// It went on from where an earlier one had ended.
    pub(super) resumed: bool,
    pub(super) deliver: bool,
    /// It came to the end that the topic had when it began.
    pub(super) complete: bool,
    pub(super) count: &'a Count,
}

#[derive(Serialize)]
struct Json<'a> {
    pipeline: &'a str,
    topic: &'a str,
    group: &'a str,
    resumed: bool,
    deliver: bool,
    complete: bool,
    letters: u64,
    events: u64,
    counts: Vec<Row>,
    other_pipelines: u64,
    repeated: u64,
    unreadable: u64,
    named: &'a [Unread],
}

#[derive(Serialize)]
struct Row {
    before: &'static str,
    after: &'static str,
    letters: u64,
}

impl Report<'_> {
    fn rows(&self) -> Vec<Row> {
        let row = |(&(before, after), &letters): (&(&'static str, After), &u64)| Row {
            before,
            after: after.as_str(),
            letters,
        };
        self.count.by_code.iter().map(row).collect()
    }

    /// One line of JSON.
    pub(super) fn json(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { pipeline, topic, group, resumed, deliver, complete, count } = *self;
        let json = Json {
            pipeline,
            topic,
            group,
            resumed,
            deliver,
            complete,
            letters: count.letters(),
            events: count.events,
            counts: self.rows(),
            other_pipelines: count.other_pipelines,
            repeated: count.repeated,
            unreadable: count.unreadable,
            named: &count.named,
        };
        writeln!(out, "{}", serde_json::to_string(&json)?)
    }

    /// A page for people.
    pub(super) fn page(&self, out: &mut dyn Write) -> io::Result<()> {
        let from = if self.resumed { RESUMED } else { FROM_THE_BEGINNING };
        writeln!(out, "dead letters of `{}` in `{}`, {from}", self.pipeline, self.topic)?;
        let rows = self.rows();
        if !rows.is_empty() {
            writeln!(out, "\n{:>8}  {:<22}  now", "letters", "code in the letter")?;
        }
        for Row { before, after, letters } in rows {
            writeln!(out, "{letters:>8}  {before:<22}  {after}")?;
        }
        self.sums(out)?;
        self.passed(out)?;
        if !self.complete {
            writeln!(out, "stopped before the end: the rest is there for the next run")?;
        }
        Ok(())
    }

    fn sums(&self, out: &mut dyn Write) -> io::Result<()> {
        let count = self.count;
        let (letters, left) = (count.letters(), count.sum(After::is_fault));
        let repaired = count.sum(|after| matches!(after, After::Valid | After::Delivered));
        let nothing = letters - left - repaired;
        let word = if self.deliver { "delivered" } else { "repaired" };
        let events = number_of(count.events, "event");
        writeln!(
            out,
            "\n{}: {repaired} {word} ({events}), {nothing} with nothing to send, {left} still at fault",
            number_of(letters, "letter"),
        )?;
        if !self.deliver && repaired > 0 {
            writeln!(out, "nothing was delivered; `--deliver` does")?;
        }
        Ok(())
    }

    fn passed(&self, out: &mut dyn Write) -> io::Result<()> {
        let count = self.count;
        if count.other_pipelines > 0 {
            writeln!(out, "passed over: {} of other pipelines", count.other_pipelines)?;
        }
        if count.repeated > 0 {
            let repeated = count.repeated;
            writeln!(out, "passed over: {repeated} more of records that had a letter already")?;
        }
        if count.unreadable > 0 {
            writeln!(out, "passed over: {} that cannot be read", count.unreadable)?;
        }
        for Unread { partition, offset, reason } in &count.named {
            writeln!(out, "  partition {partition}, offset {offset}: {reason}")?;
        }
        Ok(())
    }
}

fn number_of(number: u64, noun: &str) -> String {
    count(usize::try_from(number).unwrap_or(usize::MAX), noun)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(count: &Count, resumed: bool, deliver: bool, complete: bool) -> (String, String) {
        let (pipeline, topic, group) = ("pos", "pos.dead", "xylem-replay-pos");
        let report = Report { pipeline, topic, group, resumed, deliver, complete, count };
        let (mut json, mut page) = (Vec::new(), Vec::new());
        report.json(&mut json).unwrap();
        report.page(&mut page).unwrap();
        (String::from_utf8(json).unwrap(), String::from_utf8(page).unwrap())
    }

    fn counted() -> Count {
        let mut count = Count::default();
        for _ in 0..118 {
            count.add("record.rejected", After::Valid);
        }
        count.add("record.rejected", After::Fault(Code::SchemaInvalid));
        count.add(code_of("aep.refused"), After::Filtered);
        count.add(code_of("what a header may hold"), After::AcceptedBefore);
        count.events = 120;
        count
    }

    #[test]
    fn a_dry_run() {
        let mut count = counted();
        count.other_pipelines = 4;
        count.repeated = 2;
        for offset in 0..12 {
            count.unreadable(3, offset, "it has no header `xylem.code`".to_owned());
        }
        let (json, page) = printed(&count, false, false, true);
        let lines: Vec<&str> = page.lines().collect();
        assert_eq!(
            lines[..14],
            [
                "dead letters of `pos` in `pos.dead`, from the beginning",
                "",
                " letters  code in the letter      now",
                "       1  aep.refused             filtered",
                "     118  record.rejected         valid",
                "       1  record.rejected         schema.invalid",
                "       1  unknown                 accepted before",
                "",
                "121 letters: 118 repaired (120 events), 2 with nothing to send, 1 still at fault",
                "nothing was delivered; `--deliver` does",
                "passed over: 4 of other pipelines",
                "passed over: 2 more of records that had a letter already",
                "passed over: 12 that cannot be read",
                "  partition 3, offset 0: it has no header `xylem.code`",
            ]
        );
        assert_eq!(lines.len(), 13 + NAMED);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!((json["unreadable"].as_u64(), json["events"].as_u64()), (Some(12), Some(120)));
        assert_eq!(json["named"].as_array().map(Vec::len), Some(NAMED));
        assert!(!count.is_good());
    }

    #[test]
    fn a_delivery_that_was_stopped() {
        let mut count = Count::default();
        count.add("plugin.trap", After::Delivered);
        count.events = 1;
        assert!(count.is_good());
        let (json, page) = printed(&count, true, true, false);
        let lines = [
            "dead letters of `pos` in `pos.dead`, from where the last replay ended",
            "",
            " letters  code in the letter      now",
            "       1  plugin.trap             delivered",
            "",
            "1 letter: 1 delivered (1 event), 0 with nothing to send, 0 still at fault",
            "stopped before the end: the rest is there for the next run",
        ];
        assert_eq!(page.lines().collect::<Vec<_>>(), lines);
        assert_eq!(
            json,
            concat!(
                r#"{"pipeline":"pos","topic":"pos.dead","group":"xylem-replay-pos","resumed":true,"deliver":true,"#,
                r#""complete":false,"letters":1,"events":1,"counts":[{"before":"plugin.trap","after":"delivered","letters":1}],"#,
                r#""other_pipelines":0,"repeated":0,"unreadable":0,"named":[]}"#,
                "\n"
            )
        );
    }

    #[test]
    fn nothing_there() {
        let (_, page) = printed(&Count::default(), false, false, true);
        let lines = [
            "dead letters of `pos` in `pos.dead`, from the beginning",
            "",
            "0 letters: 0 repaired (0 events), 0 with nothing to send, 0 still at fault",
        ];
        assert_eq!(page.lines().collect::<Vec<_>>(), lines);
        assert!(Count::default().is_good());
    }
}
