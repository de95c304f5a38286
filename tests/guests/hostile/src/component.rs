//! The mischief itself. Written against the bindings and not the kit, which would not let a plugin
//! answer with a list of the wrong length.

#![expect(
    clippy::panic,
    clippy::print_stderr,
    clippy::exit,
    clippy::disallowed_methods,
    reason = "hostile by trade"
)]

use std::cell::{Cell, RefCell};
use std::hint::black_box;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

use wasip2::clocks::monotonic_clock;
use wasip2::io::poll;
use xylem_kit::bindings::exports::xylem::plugin::transformer::Guest;
use xylem_kit::{Event, Level, Outcome, Record, Source, event, log, reject};

use crate::{Mischief, Settings, echo};

static SETTINGS: OnceLock<Settings> = OnceLock::new();

thread_local! {
    static HOARD: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
    static SEEN: Cell<u64> = const { Cell::new(0) };
}

struct Hostile;

impl Guest for Hostile {
    fn init(configuration: String) -> Result<(), String> {
        let settings: Settings =
            serde_json::from_str(&configuration).map_err(|error| error.to_string())?;
        match settings.misbehave {
            Mischief::InitError => return Err("told to refuse its configuration".to_owned()),
            Mischief::InitTrap => panic!("told to panic in init"),
            Mischief::InitLoop => compute_for_ever(),
            Mischief::InitMemory => eat(),
            _ => {}
        }
        SETTINGS.set(settings).map_err(|_| "init ran twice".to_owned())
    }

    fn transform(_source: Source, records: Vec<Record>) -> Vec<Outcome> {
        let Some(settings) = SETTINGS.get() else { panic!("the host calls init first") };
        let mut outcomes: Vec<_> = records.iter().map(|record| outcome(settings, record)).collect();
        if records.iter().any(|record| settings.strikes(record)) {
            match settings.misbehave {
                Mischief::Short => drop(outcomes.pop()),
                Mischief::Long => outcomes.push(Outcome::Filter("one too many".to_owned())),
                Mischief::EmptyList => outcomes.clear(),
                _ => {}
            }
        }
        outcomes
    }
}

xylem_kit::bindings::export!(Hostile with_types_in xylem_kit::bindings);

fn outcome(settings: &Settings, record: &Record) -> Outcome {
    SEEN.set(SEEN.get() + 1);
    if !settings.strikes(record) {
        return echo(record);
    }
    strike(settings.misbehave, settings.amount, record)
}

/// What comes of a struck record, where anything does.
fn strike(mischief: Mischief, amount: Option<usize>, record: &Record) -> Outcome {
    match mischief {
        Mischief::Loop => compute_for_ever(),
        Mischief::Slow => compute(amount.unwrap_or(10) * 1_000_000),
        Mischief::Memory => eat(),
        Mischief::Leak => HOARD.with_borrow_mut(|h| h.push(vec![1; amount.unwrap_or(1 << 20)])),
        Mischief::Sleep => loop {
            std::thread::sleep(Duration::from_hours(1));
        },
        Mischief::Nap => std::thread::sleep(Duration::from_hours(1)),
        Mischief::Wait => {
            let begin = Instant::now();
            while begin.elapsed() < Duration::from_secs(1) {}
        }
        Mischief::Poll => loop {
            poll::poll(&[&monotonic_clock::subscribe_duration(1_000_000)]);
        },
        Mischief::PollNothing => drop(poll::poll(&[])),
        Mischief::Trap => panic!("told to panic on offset {}", record.offset),
        Mischief::Unreachable => core::arch::wasm32::unreachable(),
        Mischief::Exit => std::process::exit(3),
        Mischief::Deep => drop(black_box(deep(0))),
        Mischief::Flood => loop {
            eprintln!("{}", "flood ".repeat(100));
        },
        Mischief::Chatter => {
            (0..amount.unwrap_or(1 << 20) / 100).for_each(|_| eprintln!("{:99}", "chatter"));
        }
        Mischief::FloodLog => loop {
            log(Level::Warn, &"flood ".repeat(100));
        },
        emitted => return emit(emitted, amount, record),
    }
    echo(record)
}

/// The mischief that is in the answer.
fn emit(mischief: Mischief, amount: Option<usize>, record: &Record) -> Outcome {
    let body = match mischief {
        Mischief::Huge => format!("{{\"huge\":\"{}\"}}", "x".repeat(amount.unwrap_or(16 << 20))),
        Mischief::Many => {
            let events = std::iter::repeat_with(|| event("{}".to_owned()));
            return Outcome::Emit(events.take(amount.unwrap_or(200_000)).collect());
        }
        Mischief::EmptyEmit => return Outcome::Emit(Vec::new()),
        Mischief::NotJson => "{not json".to_owned(),
        Mischief::NotObject => "[1]".to_owned(),
        Mischief::UnknownRoute => {
            let route = Some("nowhere".to_owned());
            return Outcome::Emit(vec![Event { route, ..event("{}".to_owned()) }]);
        }
        Mischief::Nondeterministic => nondeterministic(),
        Mischief::Environment => environment(),
        Mischief::Count => format!("{{\"seen\":{}}}", SEEN.get()),
        Mischief::Short | Mischief::Long | Mischief::EmptyList => return echo(record),
        other => return reject("no-mischief", format!("nothing to do for {other:?}")),
    };
    Outcome::Emit(vec![event(body)])
}

fn compute_for_ever() -> ! {
    loop {
        compute(1_000_000);
    }
}

fn compute(steps: usize) {
    for step in 0..steps {
        black_box(step);
    }
}

fn eat() -> ! {
    let mut eaten = Vec::new();
    loop {
        eaten.push(black_box(vec![1u8; 1 << 20]));
    }
}

fn deep(depth: u64) -> u64 {
    let frame = black_box([depth; 16]);
    if black_box(true) { deep(depth + 1) + frame[0] } else { depth }
}

fn nondeterministic() -> String {
    let wall = SystemTime::UNIX_EPOCH.elapsed().map(|time| time.as_nanos()).unwrap_or_default();
    let monotonic = monotonic_clock::now();
    let random = wasip2::random::random::get_random_u64();
    let insecure = wasip2::random::insecure::get_insecure_random_u64();
    let seed = wasip2::random::insecure_seed::insecure_seed();
    format!(
        "{{\"wall\":{wall},\"monotonic\":{monotonic},\"random\":{random},\
         \"insecure\":{insecure},\"seed\":[{},{}]}}",
        seed.0, seed.1
    )
}

fn environment() -> String {
    let variables: Vec<_> = std::env::vars().map(|(name, _)| name).collect();
    let arguments: Vec<_> = std::env::args().collect();
    serde_json::json!({"variables": variables, "arguments": arguments}).to_string()
}
