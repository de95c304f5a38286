//! The processes under torture: children of this one, running the same program.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::Context;
use jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::canaries::SHARE;

/// Stands in the line in which a process logs that a partition came to it.
const ASSIGNED: &str = "partition assigned";

/// The rule of canaries: of half of what a process maps it is decided within seconds. A candidate that rejects what
/// the other side delivers has a tenth of dead letters more.
const RULE: [&str; 6] = ["--seconds", "60", "--min-records", "200", "--tolerance-percent", "4"];

/// How the reasons of its rule begin.
const RULES: [&str; 2] = ["pipeline `", "not promoted: "];

/// How a canary ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ended {
    /// The candidate's name.
    pub(super) candidate: String,
    pub(super) how: How,
    /// When, in milliseconds since 1970.
    pub(super) at: i64,
}

/// In which of three ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// By its rule: it takes the place of what runs.
    Promoted,
    /// By its rule: it is gone.
    RolledBack,
    /// By a reload, a rollback, or the end of its process.
    Stopped,
}

/// The processes, and what became of earlier ones.
pub(super) struct Fleet {
    folder: PathBuf,
    members: Vec<Member>,
    started: usize,
    /// Ends that nobody asked for.
    pub(super) surprises: Vec<String>,
    /// Exit codes after SIGTERM other than 0: the grace period was too short, say.
    pub(super) unclean: usize,
}

/// A place for one process at a time.
struct Member {
    child: Option<Child>,
    log: PathBuf,
    /// The number of the process, by which its log and its socket are called.
    number: usize,
    /// Not to be started again before.
    rests_until: Option<Instant>,
    /// Told to end by SIGTERM.
    leaving: bool,
    /// Not to be started again at all.
    guest: bool,
}

impl Fleet {
    /// Starts so many processes with the configuration in the folder.
    pub(super) fn start(folder: &Path, count: usize) -> anyhow::Result<Self> {
        let mut fleet = Self {
            folder: folder.to_owned(),
            members: Vec::new(),
            started: 0,
            surprises: Vec::new(),
            unclean: 0,
        };
        for _ in 0..count {
            fleet.add(false)?;
        }
        Ok(fleet)
    }

    fn add(&mut self, guest: bool) -> anyhow::Result<()> {
        let (child, log, number) = self.spawn()?;
        let child = Some(child);
        self.members.push(Member { child, log, number, rests_until: None, leaving: false, guest });
        Ok(())
    }

    fn spawn(&mut self) -> anyhow::Result<(Child, PathBuf, usize)> {
        let number = self.started;
        let log = self.folder.join(format!("process-{number}.log"));
        self.started += 1;
        let stderr = File::create(&log)?;
        let child = Command::new(program()?)
            .args(["run", "-c", "xylem.yaml", "--socket", &socket(number)])
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .context("cannot start a process")?;
        Ok((child, log, number))
    }

    /// A process that runs, chosen by number; none where none does.
    fn chosen(&mut self, whom: usize) -> Option<&mut Member> {
        let mut running: Vec<&mut Member> = self
            .members
            .iter_mut()
            .filter(|member| member.child.is_some() && !member.leaving && !member.guest)
            .collect();
        let index = whom.checked_rem(running.len())?;
        Some(running.swap_remove(index))
    }

    /// The number of a process that carries records, or did.
    fn carrier(&self, whom: usize) -> Option<usize> {
        let running = |member: &&Member| member.child.is_some() && !member.leaving && !member.guest;
        let carries = |number: &usize| self.log(*number).contains(ASSIGNED);
        let members = self.members.iter().filter(running);
        let carriers: Vec<usize> = members.map(|member| member.number).filter(carries).collect();
        carriers.get(whom.checked_rem(carriers.len())?).copied()
    }

    /// Kills a process; it is started again at the given time. Whether there was one.
    pub(super) fn kill(&mut self, whom: usize, again: Instant) -> std::io::Result<bool> {
        let Some(member) = self.chosen(whom) else { return Ok(false) };
        if let Some(mut child) = member.child.take() {
            child.kill()?;
            child.wait()?;
        }
        member.rests_until = Some(again);
        Ok(true)
    }

    /// Asks a process to stop; it is started again at the given time, once it has.
    pub(super) fn stop(&mut self, whom: usize, again: Instant) -> std::io::Result<bool> {
        let Some(member) = self.chosen(whom) else { return Ok(false) };
        if let Some(child) = &member.child {
            kill_process(Pid::from_child(child), Signal::TERM)?;
        }
        (member.leaving, member.rests_until) = (true, Some(again));
        Ok(true)
    }

    /// Tells every process that carries records that its files changed; how many there were. One that only
    /// starts would take the signal for its end, and reads the files anyway.
    pub(super) fn hang_up(&self) -> std::io::Result<usize> {
        let mut told = 0;
        for member in self.members.iter().filter(|member| !member.leaving) {
            let Some(child) = &member.child else { continue };
            let log = std::fs::read_to_string(&member.log)?;
            if log.contains(ASSIGNED) {
                kill_process(Pid::from_child(child), Signal::HUP)?;
                told += 1;
            }
        }
        Ok(told)
    }

    /// Tells a process to go back to the generation before; whether it did. One that was started since the last
    /// reload has none.
    pub(super) fn roll_back(&self, whom: usize) -> anyhow::Result<bool> {
        Ok(self.ask(whom, &["rollback"])?.is_some())
    }

    /// Tells a process to give a share of its records to the candidate in a file; the process's number, and the
    /// candidate's name. None where that is refused: it has a canary, say.
    pub(super) fn canary(
        &self,
        whom: usize,
        file: &str,
    ) -> anyhow::Result<Option<(usize, String)>> {
        let share = SHARE.to_string();
        let mut arguments = vec!["canary", "--candidate", file, "--share", &share];
        arguments.extend(RULE);
        let Some((number, report)) = self.ask(whom, &arguments)? else { return Ok(None) };
        let candidate = report.get("candidate").and_then(Value::as_str);
        Ok(Some((number, candidate.context("a canary has no name")?.to_owned())))
    }

    /// Whether a process still has this canary, or has promoted it.
    pub(super) fn has_canary(&self, number: usize, candidate: &str) -> bool {
        let is_alive = |member: &Member| member.number == number && member.child.is_some();
        let is_over = |ended: Ended| ended.candidate == candidate && ended.how != How::Promoted;
        self.members.iter().any(is_alive)
            && !self.log(number).lines().filter_map(canary_ended).any(is_over)
    }

    /// Asks a process by command; its number and the report, where it did what it was asked for.
    fn ask(&self, whom: usize, arguments: &[&str]) -> anyhow::Result<Option<(usize, Value)>> {
        let Some(number) = self.carrier(whom) else { return Ok(None) };
        let output = Command::new(program()?)
            .args(arguments)
            .args(["--socket", &socket(number), "--json"])
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .output()
            .context("cannot start a command")?;
        if !output.status.success() {
            return Ok(None);
        }
        let report = serde_json::from_slice(&output.stdout).context("a report is no JSON")?;
        Ok(Some((number, report)))
    }

    /// One process more.
    pub(super) fn join(&mut self) -> anyhow::Result<()> {
        self.add(true)
    }

    /// Asks the process that joined first to leave.
    pub(super) fn leave(&mut self) -> std::io::Result<()> {
        let guest = self.members.iter_mut().find(|member| member.guest && !member.leaving);
        let Some(member) = guest else { return Ok(()) };
        member.leaving = true;
        match &member.child {
            Some(child) => Ok(kill_process(Pid::from_child(child), Signal::TERM)?),
            None => Ok(()),
        }
    }

    /// Notes who has ended, and starts those again whose rest is over.
    pub(super) fn look(&mut self, now: Instant) -> anyhow::Result<()> {
        for member in &mut self.members {
            let Some(child) = &mut member.child else { continue };
            let Some(status) = child.try_wait()? else { continue };
            if !member.leaving {
                self.surprises.push(format!("{status}; see {}", member.log.display()));
                member.rests_until = Some(now);
            } else if !status.success() {
                self.unclean += 1;
            }
            (member.child, member.leaving) = (None, false);
        }
        self.members.retain(|member| member.child.is_some() || !member.guest);
        let due = |member: &Member| {
            member.child.is_none() && member.rests_until.is_some_and(|until| until <= now)
        };
        let again: Vec<usize> =
            (0..self.members.len()).filter(|at| self.members.get(*at).is_some_and(due)).collect();
        for at in again {
            let (child, log, number) = self.spawn()?;
            if let Some(member) = self.members.get_mut(at) {
                (member.child, member.log, member.rests_until) = (Some(child), log, None);
                member.number = number;
            }
        }
        Ok(())
    }

    /// How many processes there were.
    pub(super) fn started(&self) -> usize {
        self.started
    }

    /// Whether every place has a process that is not told to end, and no guest is left.
    pub(super) fn is_complete(&self) -> bool {
        self.members.iter().all(|member| member.child.is_some() && !member.leaving && !member.guest)
    }

    /// Asks all to stop and waits for them.
    pub(super) fn end(&mut self) -> anyhow::Result<()> {
        for member in &mut self.members {
            if let Some(child) = &member.child {
                kill_process(Pid::from_child(child), Signal::TERM)?;
            }
        }
        for member in &mut self.members {
            if let Some(mut child) = member.child.take() {
                let status = child.wait()?;
                if !status.success() {
                    self.unclean += 1;
                }
            }
        }
        Ok(())
    }

    /// How often partitions came to or went from a process, by the processes' own logs.
    pub(super) fn rebalances(&self) -> usize {
        let count = |number: usize| {
            let text = self.log(number);
            let mut before = false;
            // Partitions assigned together stand in lines one after the other.
            text.lines().fold(0, |rebalances, line| {
                let assigned = line.contains(ASSIGNED);
                let begins = assigned && !std::mem::replace(&mut before, assigned);
                before = assigned;
                rebalances + usize::from(begins || line.contains("partitions revoked"))
            })
        };
        (0..self.started).map(count).sum()
    }

    /// When each partition of a topic came to a process, in milliseconds since 1970, by their logs.
    pub(super) fn assignments(&self, topic: &str) -> BTreeMap<i32, Vec<i64>> {
        let mut all: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
        for (partition, at) in self.logged(|line| assignment(line, topic)) {
            all.entry(partition).or_default().push(at);
        }
        all
    }

    /// How the canaries ended that did not go down with their process.
    pub(super) fn canaries_ended(&self) -> Vec<Ended> {
        self.logged(canary_ended)
    }

    /// What stands in the lines of all logs.
    fn logged<T>(&self, read: impl Fn(&str) -> Option<T>) -> Vec<T> {
        let logs = (0..self.started).map(|number| self.log(number));
        logs.flat_map(|text| text.lines().filter_map(&read).collect::<Vec<T>>()).collect()
    }

    fn log(&self, number: usize) -> String {
        let log = self.folder.join(format!("process-{number}.log"));
        std::fs::read_to_string(log).unwrap_or_default()
    }
}

/// This program.
fn program() -> anyhow::Result<PathBuf> {
    std::env::current_exe().context("this program does not know where it is")
}

/// The socket of a process, in the folder that all run in: paths of sockets have to be short.
fn socket(number: usize) -> String {
    format!("process-{number}.sock")
}

/// Reads a line of a log: which partition of the topic came, and when.
fn assignment(line: &str, topic: &str) -> Option<(i32, i64)> {
    if !line.contains(ASSIGNED) {
        return None;
    }
    let line: Value = serde_json::from_str(line).ok()?;
    let partition = line.get("partition")?.as_str()?.strip_prefix(topic)?.strip_prefix('-')?;
    Some((partition.parse().ok()?, at(&line)?))
}

/// Reads a line of a log: how a canary ended.
fn canary_ended(line: &str) -> Option<Ended> {
    if !line.contains("\"canary\"") {
        return None;
    }
    let line: Value = serde_json::from_str(line).ok()?;
    if line.get("message")? != "canary" {
        return None;
    }
    let reason = line.get("reason")?.as_str()?;
    let by_rule = RULES.iter().any(|words| reason.starts_with(words));
    let how = if line.get("promoted")?.as_bool()? {
        How::Promoted
    } else if by_rule {
        How::RolledBack
    } else {
        How::Stopped
    };
    Some(Ended { candidate: line.get("candidate")?.as_str()?.to_owned(), how, at: at(&line)? })
}

/// When a line of a log was written.
fn at(line: &Value) -> Option<i64> {
    let at: Timestamp = line.get("timestamp")?.as_str()?.parse().ok()?;
    Some(at.as_millisecond())
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for member in &mut self.members {
            if let Some(child) = &mut member.child {
                drop(child.kill());
                drop(child.wait());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_is_read_from_a_log() {
        let line = r#"{"timestamp":"2026-11-22T00:00:01.5Z","level":"INFO","message":"partition assigned","partition":"t-1-7"}"#;
        let at: Timestamp = "2026-11-22T00:00:01.5Z".parse().unwrap();
        assert_eq!(assignment(line, "t-1"), Some((7, at.as_millisecond())));
        assert_eq!(assignment(line, "other"), None);
        assert_eq!(assignment("partition assigned", "t-1"), None);
    }

    #[test]
    fn the_end_of_a_canary_is_read_from_a_log() {
        let line = |promoted: bool, reason: &str| {
            let at = "2026-11-22T00:00:01.5Z";
            let line = serde_json::json!({
                "timestamp": at, "level": "INFO", "message": "canary",
                "candidate": "g2", "promoted": promoted, "reason": reason,
            });
            canary_ended(&line.to_string()).unwrap()
        };
        let at = "2026-11-22T00:00:01.5Z".parse::<Timestamp>().unwrap().as_millisecond();
        let how = How::Promoted;
        assert_eq!(line(true, "good"), Ended { candidate: "g2".to_owned(), how, at });
        assert_eq!(line(false, "pipeline `torture`: 5 of 10").how, How::RolledBack);
        assert_eq!(line(false, "it was stopped").how, How::Stopped);
        assert_eq!(canary_ended(r#"{"message":"reload","cause":"canary"}"#), None);
    }
}
