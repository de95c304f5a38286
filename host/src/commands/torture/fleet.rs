//! The processes under torture: children of this one, running the same program.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};

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
        let (child, log) = self.spawn()?;
        let child = Some(child);
        self.members.push(Member { child, log, rests_until: None, leaving: false, guest });
        Ok(())
    }

    fn spawn(&mut self) -> anyhow::Result<(Child, PathBuf)> {
        let log = self.folder.join(format!("process-{}.log", self.started));
        self.started += 1;
        let stderr = File::create(&log)?;
        let program = std::env::current_exe().context("this program does not know where it is")?;
        let child = Command::new(program)
            .args(["run", "-c", "xylem.yaml"])
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .context("cannot start a process")?;
        Ok((child, log))
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
            let (child, log) = self.spawn()?;
            if let Some(member) = self.members.get_mut(at) {
                (member.child, member.log, member.rests_until) = (Some(child), log, None);
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

    /// Asks every process that has begun to work to reload; a younger one might not listen yet, and end.
    pub(super) fn reload(&self) -> std::io::Result<()> {
        for member in self.members.iter().filter(|member| !member.leaving) {
            let listens = std::fs::read_to_string(&member.log)
                .is_ok_and(|text| text.contains("partition assigned"));
            if let Some(child) = member.child.as_ref().filter(|_| listens) {
                kill_process(Pid::from_child(child), Signal::HUP)?;
            }
        }
        Ok(())
    }

    /// How often a process swapped its generation, by the processes' own logs.
    pub(super) fn swaps(&self) -> usize {
        let count = |number: usize| {
            let log = self.folder.join(format!("process-{number}.log"));
            let text = std::fs::read_to_string(log).unwrap_or_default();
            text.lines().filter(|line| line.contains("\"outcome\":\"swapped\"")).count()
        };
        (0..self.started).map(count).sum()
    }

    /// How often partitions came to or went from a process, by the processes' own logs.
    pub(super) fn rebalances(&self) -> usize {
        let count = |number: usize| {
            let log = self.folder.join(format!("process-{number}.log"));
            let text = std::fs::read_to_string(log).unwrap_or_default();
            let mut before = false;
            // Partitions assigned together stand in lines one after the other.
            text.lines().fold(0, |rebalances, line| {
                let assigned = line.contains("partition assigned");
                let begins = assigned && !std::mem::replace(&mut before, assigned);
                before = assigned;
                rebalances + usize::from(begins || line.contains("partitions revoked"))
            })
        };
        (0..self.started).map(count).sum()
    }
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
