//! One run: writes, breaks, waits, and reads the books.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use aep_emulator::{Body, Fault as Spoil, FaultId, Kind as Spoiling, LakeQuery};
use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;

use super::Args;
use super::fleet::Fleet;
use super::ledger::{Ledger, Under, Verdict};
use super::load::{payload, read_id, read_stamp};
use super::schedule::{Fault, Kind, make};
use super::world::World;
use crate::record::Record;

/// Between two looks at the schedule.
const TICK: Duration = Duration::from_millis(20);

/// When a process is asked again that had nothing to go back to.
const LATER: Duration = Duration::from_millis(500);

/// How long after the load a fault may still wait for its effect.
const OVERDUE: Duration = Duration::from_mins(1);

/// How long nothing may be settled before the rest counts as lost: longer than a killed member of a
/// classic group is missed, twice.
const PATIENCE: Duration = Duration::from_mins(1);

/// How long the brokers may take to write the last records.
const FLUSH: Duration = Duration::from_mins(2);

/// What came of a run.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) seed: u64,
    pub(super) faults: Vec<Counted>,
    pub(super) rebalances: usize,
    pub(super) processes_started: usize,
    /// Those that were told to stop and did not end with 0: the grace period ended first.
    pub(super) unclean_ends: usize,
    pub(super) ledger: Verdict,
    /// Why there is no verdict, where there is none.
    pub(super) complaints: Vec<String>,
}

impl Report {
    /// Whether every promise held, in a run that was what was asked for.
    pub(super) fn holds(&self) -> bool {
        self.ledger.holds() && self.complaints.is_empty()
    }
}

/// Faults of one kind.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Counted {
    pub(super) kind: &'static str,
    pub(super) asked: usize,
    pub(super) took_effect: usize,
    /// Those that happened while one of another kind lasted.
    pub(super) overlapped: usize,
}

/// Runs it.
pub(super) fn run(args: &Args) -> anyhow::Result<Report> {
    let began = SystemTime::UNIX_EPOCH.elapsed()?;
    let seed = args.seed.unwrap_or_else(|| u64::try_from(began.as_millis()).unwrap_or_default());
    let world = World::new(args, &format!("{}-{}", began.as_secs(), std::process::id()))?;
    let over = Duration::from_secs(args.seconds);
    let faults = make(seed, over, &args.counts());
    let mut out = std::io::stderr();
    writeln!(
        out,
        "seed {seed}: {} records over {} s, {} faults",
        args.records,
        args.seconds,
        faults.len()
    )?;
    let mut fleet = Fleet::start(&world.folder, args.processes)?;
    let mut breaker = Breaker::new(&world, args, faults);
    let written = AtomicU64::new(0);
    let given_up = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let load = scope.spawn(|| write(&world, args, over, &written, &given_up));
        let broken = breaker.run(&mut fleet, || {
            let written = written.load(Ordering::Relaxed);
            progress(&mut out, written, args.records);
        });
        given_up.store(broken.is_err(), Ordering::Relaxed);
        let loaded = load.join().map_err(|_| anyhow::anyhow!("the load panicked"))?;
        broken.and(loaded)
    })?;
    let open = world.drain(args.partitions, PATIENCE, || {
        fleet.look(Instant::now())?;
        Ok(fleet.is_complete())
    })?;
    let mut complaints = breaker.complaints;
    fleet.end()?;
    if open > 0 {
        complaints.push(format!(
            "{open} records are not settled after {} s without progress",
            PATIENCE.as_secs()
        ));
    }
    complaints
        .extend(fleet.surprises.iter().map(|end| format!("a process ended by itself: {end}")));
    let rebalances = fleet.rebalances();
    let ledger = books(&world, args, fleet.assignments(&world.topic))?;
    Ok(Report {
        seed,
        faults: breaker.counted,
        rebalances,
        processes_started: fleet.started(),
        unclean_ends: fleet.unclean,
        ledger,
        complaints,
    })
}

fn progress(out: &mut impl Write, written: u64, records: u64) {
    // To whom nobody listens nothing need be told.
    drop(write!(out, "\r  {written} of {records} written "));
    drop(out.flush());
}

/// Writes all records, evenly over the time, in turn to all partitions.
fn write(
    world: &World,
    args: &Args,
    over: Duration,
    written: &AtomicU64,
    given_up: &AtomicBool,
) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut next = 0;
    while next < args.records && !given_up.load(Ordering::Relaxed) {
        let share = began.elapsed().as_secs_f64() / over.as_secs_f64();
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count of records, far below 2^52"
        )]
        let due = ((share * args.records as f64) as u64).min(args.records);
        for number in next..due {
            let (partition, sequence) = place(number, args.partitions);
            let payload = payload(partition, sequence);
            world.peer.push(&world.topic, partition, payload.as_bytes())?;
        }
        next = due;
        written.store(next, Ordering::Relaxed);
        std::thread::park_timeout(TICK);
    }
    world.peer.flush(FLUSH).context("the load was not written")
}

/// Partition of record `number`, and its number within it.
fn place(number: u64, partitions: i32) -> (i32, u64) {
    let partitions = u64::try_from(partitions.max(1)).unwrap_or(1);
    (i32::try_from(number % partitions).unwrap_or(0), number / partitions)
}

/// Carries the schedule out.
struct Breaker<'a> {
    world: &'a World,
    pid_files: &'a [PathBuf],
    /// How long the load lasts.
    over: Duration,
    /// What is still to begin, last first.
    ahead: Vec<Fault>,
    lasting: Vec<Lasting>,
    counted: Vec<Counted>,
    complaints: Vec<String>,
    /// The version of the mapping that is in place, the newest that made an event, and up to where in the lake
    /// that was looked for.
    version: u64,
    newest: u64,
    looked: u64,
}

/// A fault that has begun.
struct Lasting {
    kind: Kind,
    ends: Instant,
    overlapped: bool,
    /// Of AEP: to be cleared in the end.
    spoil: Option<FaultId>,
    /// Of a broker: its pid file, and who was killed.
    broker: Option<(PathBuf, String)>,
    /// Of a reload: the version that is to make events.
    version: Option<u64>,
}

impl<'a> Breaker<'a> {
    fn new(world: &'a World, args: &'a Args, mut faults: Vec<Fault>) -> Self {
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
            over: Duration::from_secs(args.seconds),
            ahead: faults,
            lasting: Vec::new(),
            counted: Kind::ALL.map(counted).to_vec(),
            complaints: Vec::new(),
            version: 0,
            newest: 0,
            looked: 0,
        }
    }

    /// Until every fault has begun and ended.
    fn run(&mut self, fleet: &mut Fleet, mut tell: impl FnMut()) -> anyhow::Result<()> {
        let began = Instant::now();
        let mut told = began;
        while !self.ahead.is_empty() || !self.lasting.is_empty() {
            let now = Instant::now();
            fleet.look(now)?;
            while let Some(fault) = self.ahead.pop_if(|next| began + next.at <= now) {
                if !self.begin(fleet, fault, now)? {
                    self.put_off(fault, now - began);
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
            if counted.took_effect < counted.asked {
                self.complaints.push(format!(
                    "of {} times {}, {} took effect",
                    counted.asked, counted.kind, counted.took_effect
                ));
            }
        }
        Ok(())
    }

    /// There is nobody to hit at the moment.
    fn put_off(&mut self, fault: Fault, now: Duration) {
        let later = if fault.kind == Kind::Rollback { LATER } else { TICK };
        self.ahead.push(Fault { at: now + later, ..fault });
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
        let mut lasting = Lasting {
            kind: fault.kind,
            ends,
            overlapped: false,
            spoil: None,
            broker: None,
            version: None,
        };
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
                if self.lasting.iter().any(|other| other.kind == Kind::Broker) {
                    return Ok(false);
                }
                let Some(file) = self.pid_files.get(fault.whom % self.pid_files.len().max(1))
                else {
                    return Ok(true);
                };
                lasting.broker = Some((file.clone(), kill_broker(file)?));
                self.took_effect(fault.kind);
            }
            Kind::Reload => {
                lasting.version = Some(self.map_anew(fleet)?);
            }
        }
        for other in &mut self.lasting {
            if other.kind != fault.kind {
                (other.overlapped, lasting.overlapped) = (true, true);
            }
        }
        self.lasting.push(lasting);
        Ok(true)
    }

    /// Writes the next version of the mapping, and has all processes read it.
    fn map_anew(&mut self, fleet: &mut Fleet) -> anyhow::Result<u64> {
        self.world.map(self.version + 1)?;
        self.version += 1;
        // Whom this does not reach reads the file when it starts.
        fleet.hang_up()?;
        Ok(self.version)
    }

    fn end_those_due(&mut self, fleet: &mut Fleet, now: Instant) -> anyhow::Result<()> {
        let mut ended = Vec::new();
        if self.lasting.iter().any(|lasting| lasting.version.is_some()) {
            let seen = self.world.newest(&mut self.looked);
            self.newest = self.newest.max(seen.unwrap_or(0));
        }
        let newest = self.newest;
        let control = self.world.emulator.control();
        self.lasting.retain_mut(|lasting| {
            let due = match (&lasting.spoil, &lasting.broker) {
                // It counts when a request has met it, so it waits for one.
                (Some(spoil), _) => lasting.ends <= now && control.took_effect(*spoil) > 0,
                (_, Some((file, killed))) => {
                    lasting.ends <= now
                        && std::fs::read_to_string(file).is_ok_and(|pid| pid != *killed)
                }
                // Likewise when an event has met it, or a later one.
                (None, None) => {
                    lasting.ends <= now && lasting.version.is_none_or(|version| version <= newest)
                }
            };
            if due {
                ended.push((lasting.kind, lasting.spoil, lasting.overlapped));
            }
            !due
        });
        for (kind, spoil, overlapped) in ended {
            if let Some(spoil) = spoil {
                control.clear(spoil);
                self.took_effect(kind);
            }
            if kind == Kind::Join {
                fleet.leave()?;
            }
            if kind == Kind::Reload {
                self.took_effect(kind);
            }
            if overlapped && let Some(counted) = self.counted_of(kind) {
                counted.overlapped += 1;
            }
        }
        Ok(())
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

/// Reads the receivers' books.
fn books(world: &World, args: &Args, assigned: BTreeMap<i32, Vec<i64>>) -> anyhow::Result<Verdict> {
    let mut written: BTreeMap<i32, u64> = (0..args.partitions).map(|p| (p, 0)).collect();
    for number in 0..args.records {
        *written.entry(place(number, args.partitions).0).or_default() += 1;
    }
    let mut ledger = Ledger::new(&written, assigned);
    let query = LakeQuery { limit: usize::MAX, ..LakeQuery::default() };
    for entry in world.emulator.control().lake(&query) {
        match entry.entity_id.as_deref().and_then(read_id) {
            Some((partition, sequence, version)) => {
                let at = i64::try_from(entry.received_at_ms).unwrap_or(i64::MAX);
                ledger.arrived(partition, sequence, &entry.msg_id, Under { version, at });
            }
            None => ledger.strange(&format!("an event without a stamp: {}", entry.msg_id)),
        }
    }
    for letter in world.peer.read(&world.dead)? {
        match stamp_of(&letter) {
            Some((partition, sequence)) => {
                ledger.dead_lettered(partition, sequence, letter.timestamp_ms.unwrap_or(0));
            }
            None => ledger.strange("a dead letter without a stamp"),
        }
    }
    Ok(ledger.close())
}

/// The stamp in a dead letter's payload, which may be no JSON.
fn stamp_of(letter: &Record) -> Option<(i32, u64)> {
    let text = std::str::from_utf8(letter.payload.as_ref()?).ok()?;
    read_stamp(text.split('"').nth(3)?)
}
