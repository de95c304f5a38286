//! The rule by which a canary is promoted or rolled back. Pure.
//!
//! Each pipeline whose chain differs is held against the running generation on the same stretch of time:
//!
//! - *Clearly bad*, at any time: at least 10 dead letters of the candidate, and its share of dead letters is above the running
//!   side's by the tolerance and 10 points more.
//! - Otherwise nothing is decided before `min_records` records of each side have a known fate: delivered, filtered or
//!   dead letters.
//! - Then it is *bad* where its share of dead letters is above the running side's by more than the tolerance, or its plugins
//!   use more than `max_cpu_ratio` times the CPU time a record and 20 us more for each call; else *good*. A candidate that
//!   has fewer dead letters than what runs does more for its records, so its cost is not held against it.
//!
//! One bad pipeline rolls the canary back; when all are good it is promoted. When the time is over before that, it is not
//! promoted, and the reason says which records were missing.
#![expect(clippy::cast_precision_loss, reason = "counts and bytes are far below 2^52")]

use std::time::Duration;

use super::super::counts::SideReport;

/// Dead letters that a candidate has at least when it is clearly bad.
const CLEAR_DEAD_LETTERS: u64 = 10;

/// How far above the tolerance its share is then.
const CLEAR_SHARE: f64 = 0.1;

/// What a call costs whatever it maps, in microseconds. A small share has few records in each call, so that they would seem
/// dear: a call of `SpiderMonkey` takes 12 us before the first record.
const CALL_US: f64 = 20.0;

/// What is asked of a canary.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// Records of each side, in each pipeline, whose fate has to be known.
    pub min_records: u64,
    /// How long that may take.
    pub time: Duration,
    /// How far the candidate's share of dead letters may be above the running side's, from 0 to 1.
    pub tolerance: f64,
    /// How many times the CPU time a record its plugins may use.
    pub max_cpu_ratio: f64,
}

impl Default for Rule {
    fn default() -> Self {
        Self {
            // A fault of 3 % is then 30 records, where chance makes it 15 to 45.
            min_records: 1_000,
            time: Duration::from_mins(10),
            tolerance: 0.01,
            max_cpu_ratio: 3.0,
        }
    }
}

impl Rule {
    /// Whether a side with so many dead letters of so many records is beyond what chance does. Workers ask it before
    /// each call, so that a candidate that fails on everything fails on few records.
    pub(super) fn is_clearly_bad(&self, running: (u64, u64), candidate: (u64, u64)) -> bool {
        let share = |(bad, records): (u64, u64)| bad as f64 / records.max(1) as f64;
        candidate.0 >= CLEAR_DEAD_LETTERS
            && share(candidate) > share(running) + self.tolerance + CLEAR_SHARE
    }
}

/// What becomes of a candidate, and why, with the numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It takes the place of what runs.
    Promote(String),
    /// All keys go back to what runs.
    RollBack(String),
}

/// One pipeline of a canary.
pub(super) struct Sides<'a> {
    pub(super) pipeline: &'a str,
    pub(super) running: &'a SideReport,
    pub(super) candidate: &'a SideReport,
}

/// What one pipeline says.
enum Said {
    Bad(String),
    Good(String),
    /// Too few records yet.
    Open(String),
}

/// What becomes of a canary that has run for so long; none where it goes on.
pub(super) fn decide(pipelines: &[Sides<'_>], rule: &Rule, elapsed: Duration) -> Option<Verdict> {
    let (mut good, mut open) = (Vec::new(), Vec::new());
    for sides in pipelines {
        match sides.say(rule) {
            Said::Bad(why) => return Some(Verdict::RollBack(why)),
            Said::Good(why) => good.push(why),
            Said::Open(why) => open.push(why),
        }
    }
    if open.is_empty() {
        return Some(Verdict::Promote(good.join("; ")));
    }
    (elapsed >= rule.time).then(|| {
        let seconds = rule.time.as_secs_f64();
        Verdict::RollBack(format!(
            "not promoted: too few records in {seconds:.0} s: {}",
            open.join("; ")
        ))
    })
}

impl Sides<'_> {
    /// Both sides' dead letters, in words.
    pub(super) fn shares(&self) -> String {
        let Self { pipeline, running, candidate } = self;
        format!(
            "pipeline `{pipeline}`: {} of {} records of the candidate are dead letters ({:.1} %), {} of {} of the \
             running generation ({:.1} %)",
            candidate.dead_letters(),
            candidate.records,
            candidate.bad_share() * 100.0,
            running.dead_letters(),
            running.records,
            running.bad_share() * 100.0,
        )
    }

    fn say(&self, rule: &Rule) -> Said {
        let Self { pipeline, running, candidate } = self;
        let over = candidate.bad_share() - running.bad_share();
        let shares = self.shares();
        let counts = |side: &SideReport| (side.dead_letters(), side.records);
        if rule.is_clearly_bad(counts(running), counts(candidate)) {
            return Said::Bad(shares);
        }
        let least = rule.min_records;
        if running.settled() < least || candidate.settled() < least {
            let (has, other) = (candidate.settled(), running.settled());
            return Said::Open(format!(
                "pipeline `{pipeline}` has the fate of {has} records of the candidate and {other} of the running \
                 generation, and needs {least} of each"
            ));
        }
        if over > rule.tolerance {
            let tolerance = rule.tolerance * 100.0;
            return Said::Bad(format!("{shares}; {tolerance:.1} points more are tolerated"));
        }
        let costs =
            format!("{:.1} us of CPU a record beside {:.1}", candidate.cpu_us, running.cpu_us);
        let of_calls = CALL_US * candidate.calls as f64 / candidate.records.max(1) as f64;
        let is_dear = candidate.cpu_us > rule.max_cpu_ratio * running.cpu_us + of_calls;
        if is_dear && over >= 0.0 && running.cpu_us > 0.0 {
            let most = rule.max_cpu_ratio;
            return Said::Bad(format!(
                "pipeline `{pipeline}`: the candidate's plugins use {costs}; {most:.1} times as much is tolerated"
            ));
        }
        Said::Good(format!("{shares}; {costs}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(settled: u64, bad: u64, cpu_us: f64) -> SideReport {
        SideReport {
            records: settled,
            delivered: settled - bad,
            rejected: bad,
            calls: settled / 10,
            cpu_us,
            ..SideReport::default()
        }
    }

    fn decided(running: &SideReport, candidate: &SideReport, seconds: u64) -> &'static str {
        let sides = [Sides { pipeline: "orders", running, candidate }];
        match decide(&sides, &Rule::default(), Duration::from_secs(seconds)) {
            None => "goes on",
            Some(Verdict::Promote(_)) => "promoted",
            Some(Verdict::RollBack(why)) if why.starts_with("not promoted") => "too few",
            Some(Verdict::RollBack(_)) => "rolled back",
        }
    }

    #[test]
    fn the_rule_by_a_table() {
        let table = [
            // Records, dead letters and CPU of the running side and of the candidate; seconds.
            ((900, 0, 1.0), (900, 0, 1.0), 1, "goes on"),
            ((900, 0, 1.0), (900, 0, 1.0), 600, "too few"),
            ((9_000, 0, 1.0), (999, 0, 1.0), 600, "too few"),
            ((9_000, 0, 1.0), (1_000, 0, 1.0), 1, "promoted"),
            ((9_000, 0, 1.0), (1_000, 10, 1.0), 1, "promoted"),
            ((9_000, 0, 1.0), (1_000, 11, 1.0), 1, "rolled back"),
            ((9_000, 0, 1.0), (1_000, 30, 1.0), 600, "rolled back"),
            // What is bad already is no fault of the candidate.
            ((1_000, 500, 1.0), (1_000, 505, 1.0), 1, "promoted"),
            // It may be better.
            ((1_000, 500, 1.0), (1_000, 0, 1.0), 1, "promoted"),
            // Clearly bad, early.
            ((20, 0, 1.0), (40, 9, 1.0), 1, "goes on"),
            ((20, 0, 1.0), (40, 10, 1.0), 1, "rolled back"),
            ((0, 0, 0.0), (10, 10, 1.0), 1, "rolled back"),
            ((100, 20, 1.0), (100, 30, 1.0), 1, "goes on"),
            ((1_000, 0, 10.0), (1_000, 0, 30.0), 1, "promoted"),
            ((1_000, 0, 10.0), (1_000, 0, 31.0), 1, "promoted"),
            ((1_000, 0, 10.0), (1_000, 0, 32.1), 1, "rolled back"),
            // What is mended costs more than what was refused.
            ((1_000, 900, 1.0), (1_000, 0, 50.0), 1, "promoted"),
            ((1_000, 0, 0.0), (1_000, 0, 50.0), 1, "promoted"),
            // Nobody knows what CPU costs of too few records.
            ((100, 0, 10.0), (100, 0, 100.0), 1, "goes on"),
        ];
        for ((r, rb, rc), (c, cb, cc), seconds, expected) in table {
            let found = decided(&side(r, rb, rc), &side(c, cb, cc), seconds);
            assert_eq!(found, expected, "{r} {rb} {rc} / {c} {cb} {cc} after {seconds} s");
        }
    }

    #[test]
    fn an_outage_makes_no_share_of_dead_letters() {
        // AEP has taken nothing for a while: the fate of next to nothing is known but of what was rejected.
        let away = |records, rejected| SideReport { records, rejected, ..SideReport::default() };
        assert_eq!(decided(&away(40_000, 0), &away(4_000, 20), 1), "goes on");
        let back = |records, rejected| SideReport { delivered: 1_000, ..away(records, rejected) };
        assert_eq!(decided(&back(40_000, 0), &back(4_000, 20), 1), "promoted");
        assert_eq!(decided(&back(40_000, 0), &back(4_000, 80), 1), "rolled back");
        // Refusals are seen in AEP's verdicts, however many are still to come.
        let refused = SideReport { refused: 30, ..back(40_000, 0) };
        assert_eq!(decided(&back(400_000, 0), &refused, 1), "rolled back");
    }

    #[test]
    fn the_reason_has_the_numbers_and_one_bad_pipeline_is_enough() {
        let (good, bad, idle) = (side(1_000, 0, 5.0), side(1_000, 30, 5.0), side(0, 0, 0.0));
        let sides = |pipeline, running, candidate| Sides { pipeline, running, candidate };
        let (orders, pos) = (sides("orders", &good, &bad), sides("pos", &good, &good));
        let quiet = sides("quiet", &idle, &idle);
        let rule = Rule::default();
        assert_eq!(
            decide(&[pos, orders], &rule, Duration::ZERO),
            Some(Verdict::RollBack(
                "pipeline `orders`: 30 of 1000 records of the candidate are dead letters (3.0 %), 0 of 1000 of the \
                 running generation (0.0 %); 1.0 points more are tolerated"
                    .to_owned()
            ))
        );
        let busy = sides("pos", &good, &good);
        assert_eq!(
            decide(&[busy, quiet], &rule, rule.time),
            Some(Verdict::RollBack(
                "not promoted: too few records in 600 s: pipeline `quiet` has the fate of 0 records of the candidate \
                 and 0 of the running generation, and needs 1000 of each"
                    .to_owned()
            ))
        );
    }
}
