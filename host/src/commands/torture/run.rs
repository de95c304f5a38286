//! One run: writes, breaks, waits, and reads the books.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use aep_emulator::LakeQuery;
use anyhow::Context;
use serde::Serialize;

use super::Args;
use super::breaker::{Breaker, Counted};
use super::canaries::Canaries;
use super::fleet::{Ended, Fleet, How};
use super::ledger::{Ledger, Under, Verdict};
use super::load::{key, payload, read_id, read_stamp};
use super::schedule::make;
use super::world::World;
use crate::record::Record;

/// Between two portions of the load, and between two looks at the schedule.
pub(super) const TICK: Duration = Duration::from_millis(20);

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
    pub(super) canaries: Ends,
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

/// How canaries ended. Those that are missing went down with their process.
#[derive(Debug, Default, Serialize)]
pub(super) struct Ends {
    pub(super) begun: usize,
    pub(super) promoted: usize,
    pub(super) rolled_back: usize,
    /// By a reload, a rollback, or the stop of their process.
    pub(super) ended: usize,
}

impl Ends {
    fn of(begun: usize, all: &[Ended]) -> Self {
        let count = |how: How| all.iter().filter(|ended| ended.how == how).count();
        Self {
            begun,
            promoted: count(How::Promoted),
            rolled_back: count(How::RolledBack),
            ended: count(How::Stopped),
        }
    }
}

/// When those were promoted that were, by their names.
fn promoted(all: &[Ended]) -> BTreeMap<String, i64> {
    let promoted = all.iter().filter(|ended| ended.how == How::Promoted);
    promoted.map(|ended| (ended.candidate.clone(), ended.at)).collect()
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
    let ended = fleet.canaries_ended();
    let canaries = Canaries::new(&breaker.canaries, &promoted(&ended));
    let ends = Ends::of(breaker.canaries.len(), &ended);
    let ledger = books(&world, args, fleet.assignments(&world.topic), canaries)?;
    Ok(Report {
        seed,
        faults: breaker.counted,
        rebalances,
        processes_started: fleet.started(),
        unclean_ends: fleet.unclean,
        canaries: ends,
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
            let key = key(sequence);
            let key = key.as_deref().map(str::as_bytes);
            world.peer.push(&world.topic, partition, key, payload.as_bytes())?;
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

/// Reads the receivers' books.
fn books(
    world: &World,
    args: &Args,
    assigned: BTreeMap<i32, Vec<i64>>,
    canaries: Canaries,
) -> anyhow::Result<Verdict> {
    let mut written: BTreeMap<i32, u64> = (0..args.partitions).map(|p| (p, 0)).collect();
    for number in 0..args.records {
        *written.entry(place(number, args.partitions).0).or_default() += 1;
    }
    let mut ledger = Ledger::new(&written, assigned, canaries);
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
                let at = letter.timestamp_ms.unwrap_or(0);
                ledger.dead_lettered(partition, sequence, at, generation_of(&letter));
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

/// The generation that a dead letter names.
fn generation_of(letter: &Record) -> &str {
    let header = letter.headers.iter().rfind(|header| header.key == "xylem.generation");
    let name = header.and_then(|header| header.value.as_deref()).unwrap_or_default();
    std::str::from_utf8(name).unwrap_or_default()
}
