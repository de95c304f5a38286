//! Carries the schedule out: what goes wrong begins, takes effect, and ends.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use aep_emulator::{Body, Fault as Spoil, FaultId, Kind as Spoiling};
use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;

use super::Args;
use super::fleet::Fleet;
use super::run::TICK;
use super::schedule::{Fault, Kind};
use super::versions::Versions;
use super::world::World;

/// When a process is asked again that had nothing to go back to, or has a canary.
const LATER: Duration = Duration::from_millis(500);

/// How long after the load a fault may still wait for its effect.
const OVERDUE: Duration = Duration::from_mins(1);

/// Faults of one kind.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Counted {
    pub(super) kind: &'static str,
    pub(super) asked: usize,
    pub(super) took_effect: usize,
    /// Those that happened while one of another kind lasted.
    pub(super) overlapped: usize,
}

/// Whoever breaks.
pub(super) struct Breaker<'a> {
    world: &'a World,
    pid_files: &'a [PathBuf],
    /// When the load began, and how long it lasts.
    began: Instant,
    over: Duration,
    /// What is still to begin, last first.
    ahead: Vec<Fault>,
    lasting: Vec<Lasting>,
    pub(super) counted: Vec<Counted>,
    pub(super) complaints: Vec<String>,
    /// Canaries that began: their versions, and their candidates' names.
    pub(super) canaries: Vec<(u64, String)>,
    /// The versions of the mapping, and up to where in the lake they were looked for.
    versions: Versions,
    looked: u64,
}

/// A fault that has begun.
struct Lasting {
    fault: Fault,
    ends: Instant,
    overlapped: bool,
    /// Of AEP: to be cleared in the end.
    spoil: Option<FaultId>,
    /// Of a broker: its pid file, and who was killed.
    broker: Option<(PathBuf, String)>,
    /// Of a reload or a canary: the version that is to make events.
    version: Option<u64>,
    /// Of a canary: the number of the process that has it.
    process: Option<usize>,
}

impl Lasting {
    fn new(fault: Fault, ends: Instant) -> Self {
        let (spoil, broker, version, process) = (None, None, None, None);
        Self { fault, ends, overlapped: false, spoil, broker, version, process }
    }
}

impl<'a> Breaker<'a> {
    pub(super) fn new(world: &'a World, args: &'a Args, mut faults: Vec<Fault>) -> Self {
        faults.reverse();
        let counts: BTreeMap<Kind, usize> = args.counts().into_iter().collect();
        let counted = |kind: Kind| Counted {
            kind: kind.as_str(),
            asked: counts.get(&kind).copied().unwrap_or(0),
            took_effect: 0,
            overlapped: 0,
        };
        Self {
            world,
            pid_files: &args.broker_pid_file,
            began: Instant::now(),
            over: Duration::from_secs(args.seconds),
            ahead: faults,
            lasting: Vec::new(),
            counted: Kind::ALL.map(counted).to_vec(),
            complaints: Vec::new(),
            canaries: Vec::new(),
            versions: Versions::default(),
            looked: 0,
        }
    }

    /// Until every fault has begun and ended.
    pub(super) fn run(&mut self, fleet: &mut Fleet, mut tell: impl FnMut()) -> anyhow::Result<()> {
        self.began = Instant::now();
        let (began, mut told) = (self.began, self.began);
        while !self.ahead.is_empty() || !self.lasting.is_empty() {
            let now = Instant::now();
            fleet.look(now)?;
            while let Some(fault) = self.ahead.pop_if(|next| began + next.at <= now) {
                if !self.begin(fleet, fault, now)? {
                    self.put_off(fault, now);
                    break;
                }
            }
            self.end_those_due(fleet, now)?;
            if now.duration_since(told) > Duration::from_secs(1) {
                told = now;
                tell();
            }
            if now.duration_since(began) > self.over + OVERDUE {
                break;
            }
            std::thread::park_timeout(TICK);
        }
        for counted in &self.counted {
            // A canary goes with its process, and with every swap: that each is seen cannot be asked for.
            let is_canary = counted.kind == Kind::Canary.as_str();
            let wanted = if is_canary { counted.asked.min(1) } else { counted.asked };
            if counted.took_effect < wanted {
                self.complaints.push(format!(
                    "of {} times {}, {} took effect",
                    counted.asked, counted.kind, counted.took_effect
                ));
            }
        }
        Ok(())
    }

    /// There is nobody to hit at the moment. Who is asked may say no, and then the next one is asked.
    fn put_off(&mut self, fault: Fault, now: Instant) {
        let asks = matches!(fault.kind, Kind::Rollback | Kind::Canary);
        let (later, next) = if asks { (LATER, 1) } else { (TICK, 0) };
        let (at, whom) = (now.duration_since(self.began) + later, fault.whom.wrapping_add(next));
        self.ahead.push(Fault { at, whom, ..fault });
        self.ahead.sort_by_key(|other| std::cmp::Reverse(other.at));
    }

    /// Begins a fault; false where there is nobody to hit.
    fn begin(&mut self, fleet: &mut Fleet, fault: Fault, now: Instant) -> anyhow::Result<bool> {
        let ends = now + fault.lasts;
        let spoil = |what| Some(self.world.emulator.control().fault(Spoil::new(what)));
        let status = |status, retry_after: Option<&str>| {
            let retry_after = retry_after.map(str::to_owned);
            spoil(Spoiling::Status { status, retry_after, body: Body::default() })
        };
        let mut lasting = Lasting::new(fault, ends);
        match fault.kind {
            Kind::Kill if !fleet.kill(fault.whom, ends)? => return Ok(false),
            Kind::Stop if !fleet.stop(fault.whom, ends)? => return Ok(false),
            Kind::Rollback if !fleet.roll_back(fault.whom)? => return Ok(false),
            Kind::Kill | Kind::Stop | Kind::Rollback => self.took_effect(fault.kind),
            Kind::Join => {
                fleet.join()?;
                self.took_effect(fault.kind);
            }
            Kind::Outage => lasting.spoil = status(503, None),
            Kind::Throttle => lasting.spoil = status(429, Some("1")),
            Kind::Reset => lasting.spoil = spoil(Spoiling::ResetAfter),
            Kind::Slow => lasting.spoil = spoil(Spoiling::Latency { ms: 300 }),
            Kind::Revoke => {
                if self.world.emulator.control().revoke_tokens() == 0 {
                    return Ok(false);
                }
                self.took_effect(fault.kind);
            }
            Kind::Broker => {
                // One at a time: two of three would take the cluster away.
                if self.lasting.iter().any(|other| other.fault.kind == Kind::Broker) {
                    return Ok(false);
                }
                let Some(file) = self.pid_files.get(fault.whom % self.pid_files.len().max(1))
                else {
                    return Ok(true);
                };
                lasting.broker = Some((file.clone(), kill_broker(file)?));
                self.took_effect(fault.kind);
            }
            Kind::Reload => lasting.version = Some(self.map_anew(fleet)?),
            Kind::Canary => {
                let Some((version, process)) = self.begin_canary(fleet, fault.whom)? else {
                    return Ok(false);
                };
                (lasting.version, lasting.process) = (Some(version), Some(process));
            }
        }
        for other in &mut self.lasting {
            if other.fault.kind != fault.kind {
                (other.overlapped, lasting.overlapped) = (true, true);
            }
        }
        self.lasting.push(lasting);
        Ok(true)
    }

    /// Writes the next version of the mapping, and has all processes read it.
    fn map_anew(&mut self, fleet: &mut Fleet) -> anyhow::Result<u64> {
        let version = self.versions.of_reload();
        self.world.map(version)?;
        // Whom this does not reach reads the file when it starts.
        fleet.hang_up()?;
        Ok(version)
    }

    /// Has a process give records to the next version of the mapping: which version, and which process; none where it
    /// does not.
    fn begin_canary(&mut self, fleet: &Fleet, whom: usize) -> anyhow::Result<Option<(u64, usize)>> {
        let version = self.versions.of_canary();
        let file = self.world.candidate(version)?;
        let Some((process, name)) = fleet.canary(whom, &file)? else { return Ok(None) };
        self.canaries.push((version, name));
        Ok(Some((version, process)))
    }

    fn end_those_due(&mut self, fleet: &mut Fleet, now: Instant) -> anyhow::Result<()> {
        if self.lasting.iter().any(|lasting| lasting.version.is_some()) {
            self.versions.see(self.world.versions(&mut self.looked));
        }
        let begun = std::mem::take(&mut self.lasting);
        let due = |lasting: &Lasting| lasting.ends <= now && self.took_its_effect(lasting);
        let (ended, lasting): (Vec<_>, Vec<_>) = begun.into_iter().partition(due);
        self.lasting = lasting;
        for Lasting { fault, spoil, overlapped, .. } in ended {
            if let Some(spoil) = spoil {
                self.world.emulator.control().clear(spoil);
                self.took_effect(fault.kind);
            }
            if fault.kind == Kind::Join {
                fleet.leave()?;
            }
            if matches!(fault.kind, Kind::Reload | Kind::Canary) {
                self.took_effect(fault.kind);
            }
            if overlapped && let Some(counted) = self.counted_of(fault.kind) {
                counted.overlapped += 1;
            }
        }
        self.ask_others(fleet, now);
        Ok(())
    }

    /// Whether what waits for an effect has had it.
    fn took_its_effect(&self, lasting: &Lasting) -> bool {
        if let Some(spoil) = lasting.spoil {
            // A request has met it.
            return self.world.emulator.control().took_effect(spoil) > 0;
        }
        if let Some((file, killed)) = &lasting.broker {
            return std::fs::read_to_string(file).is_ok_and(|pid| pid != *killed);
        }
        // Likewise an event.
        lasting.version.is_none_or(|version| self.versions.shows(version))
    }

    /// Canaries that went before anything was seen of them begin anew.
    fn ask_others(&mut self, fleet: &Fleet, now: Instant) {
        let mut gone = Vec::new();
        for lasting in &mut self.lasting {
            let Some(process) = lasting.process.filter(|_| lasting.ends <= now) else { continue };
            let begun = |(version, _): &&(u64, String)| Some(*version) == lasting.version;
            let name = self.canaries.iter().rfind(begun).map(|(_, name)| name);
            if name.is_none_or(|name| fleet.has_canary(process, name)) {
                lasting.ends = now + LATER;
            } else {
                gone.push((lasting.fault, lasting.version));
            }
        }
        for (fault, version) in gone {
            self.lasting.retain(|lasting| lasting.version != version);
            self.put_off(fault, now);
        }
    }

    fn took_effect(&mut self, kind: Kind) {
        if let Some(counted) = self.counted_of(kind) {
            counted.took_effect += 1;
        }
    }

    fn counted_of(&mut self, kind: Kind) -> Option<&mut Counted> {
        self.counted.iter_mut().find(|counted| counted.kind == kind.as_str())
    }
}

/// Kills the broker whose process id stands in the file; what stood there.
fn kill_broker(file: &PathBuf) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("cannot read `{}`", file.display()))?;
    let pid = text.trim().parse().ok().and_then(Pid::from_raw);
    let pid = pid.with_context(|| format!("`{}` holds no process id", file.display()))?;
    kill_process(pid, Signal::KILL).with_context(|| format!("cannot kill {text}"))?;
    Ok(text)
}
