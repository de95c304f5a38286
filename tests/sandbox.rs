//! Hostile guests cost a record, never a neighbour: promises 5 to 7, 9 and 10 at the sandbox.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::shadow_unrelated,
    reason = "a test may panic, and tells one thing after the other"
)]

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use xylem::config::{Form, KeyForm, Tombstones};
use xylem::fault::{Code, Fault};
use xylem::plugin::{
    Cache, CallLimits, Chain, Compile, Component, Engine, Forms, Hooks, Limits, Line, LoadError,
    Loader, Outcome, Phase, Plugin, RunError, Runner, StartError,
};
use xylem::record::{Event, Header, PartitionId, Record};
use xylem_tests::candidates::renamed;
use xylem_tests::{binary, guests, run_to_end, within};

/// A test that takes longer hangs.
const LIMIT: Duration = Duration::from_mins(2);

/// Limits that make tests short.
const SMALL: Limits = Limits {
    max_memory_bytes: 64 * 1024 * 1024,
    max_cpu: Duration::from_millis(200),
    max_stack_bytes: 512 * 1024,
};

/// Settings of the hostile guest that strike no record of these tests: all are echoed.
const ECHO: &str = r#"{"on":"no such text"}"#;

/// One engine and one cache for all tests, as in a process.
fn loader() -> &'static Loader {
    static LOADER: std::sync::OnceLock<Loader> = std::sync::OnceLock::new();
    LOADER.get_or_init(|| {
        let cache = Cache::private(guests::folder().join("native"));
        Loader::new(Engine::new().unwrap(), cache, Compile::InProcess)
    })
}

/// A built component.
fn component(name: &str) -> Arc<Component> {
    let wasm = std::fs::read(guests::built(name)).unwrap();
    loader().load(name, &wasm, &SMALL).unwrap()
}

/// The hostile guest with settings.
fn hostile(settings: &str) -> Plugin {
    Plugin {
        name: "hostile".to_owned(),
        component: component("hostile"),
        limits: SMALL,
        configuration: settings.to_owned(),
    }
}

/// A chain with the defaults of a text pipeline.
fn chain(plugins: Vec<Plugin>) -> Chain {
    Chain {
        pipeline: "test".to_owned(),
        plugins,
        forms: Forms::default(),
        call: CallLimits::default(),
        stand_in: None,
        warm: xylem::plugin::Warm::default(),
    }
}

/// Hooks that forget lines.
fn quiet() -> Hooks {
    Hooks::new(Arc::new(|_| ()))
}

fn runner(plugins: Vec<Plugin>) -> Runner {
    Runner::new(Arc::new(chain(plugins)), quiet())
}

fn source() -> PartitionId {
    PartitionId { topic: "topic".into(), partition: 3 }
}

/// Records with offsets from 0 and payloads `{"n":offset}`.
fn records(count: i64) -> Vec<Record> {
    (0..count)
        .map(|offset| Record {
            offset,
            timestamp_ms: Some(1_000 + offset),
            payload: Some(body(offset).into()),
            ..Record::default()
        })
        .collect()
}

fn body(offset: i64) -> String {
    format!("{{\"n\":{offset}}}")
}

/// What an echo makes of the record at an offset.
fn echoed(offset: i64) -> Outcome {
    Outcome::Emit(vec![Event { body: body(offset), route: None, operation: None }])
}

/// All records, with offsets from 0, are echoed.
fn assert_echoed(outcomes: &[Outcome]) {
    for (offset, outcome) in (0..).zip(outcomes) {
        assert!(*outcome == echoed(offset), "record {offset} became {outcome:?}");
    }
}

/// Runs `count` records through the hostile guest that misbehaves at offset 2; all others must be
/// echoed. The fault of offset 2, and how long it took.
fn struck(mischief: &str, count: i64) -> Box<Fault> {
    // Above the 4 MiB that an answer may have, below the memory that it is made in.
    let amount = if mischief == "huge" { 5_000_000 } else { 200_000 };
    let settings = format!("{{\"misbehave\":\"{mischief}\",\"on\":2,\"amount\":{amount}}}");
    let mut runner = runner(vec![hostile(&settings)]);
    let outcomes = runner.transform(&source(), &records(count)).unwrap();
    assert_eq!(outcomes.len(), records(count).len());
    let mut fault = None;
    for (offset, outcome) in (0..).zip(outcomes) {
        match outcome {
            Outcome::Reject(found) if offset == 2 => fault = Some(found),
            outcome => {
                assert!(outcome == echoed(offset), "{mischief}: {offset} became {outcome:?}");
            }
        }
    }
    let usage = runner.take_usage();
    // Invariant 7: no store is used after a failure.
    assert_eq!(usage[0].instances, usage[0].failures + u64::from(usage[0].memory_bytes > 0));
    let fault = fault.unwrap_or_else(|| panic!("{mischief}: offset 2 was not rejected"));
    let plugin = fault.plugin.clone().unwrap();
    assert_eq!((plugin.name.as_str(), plugin.digest.len()), ("hostile", 16));
    fault
}

#[test]
fn invariant_7_one_poison_record_costs_one_record() {
    let expected = [
        ("loop", Code::PluginDeadline),
        ("sleep", Code::PluginDeadline),
        ("wait", Code::PluginDeadline),
        ("poll", Code::PluginDeadline),
        ("flood", Code::PluginDeadline),
        ("flood-log", Code::PluginDeadline),
        ("memory", Code::PluginMemory),
        ("poll-nothing", Code::PluginBlocked),
        ("trap", Code::PluginTrap),
        ("unreachable", Code::PluginTrap),
        ("exit", Code::PluginTrap),
        ("deep", Code::PluginTrap),
        ("short", Code::PluginCount),
        ("long", Code::PluginCount),
        ("empty-list", Code::PluginCount),
        ("huge", Code::PluginOutputSize),
        ("many", Code::PluginOutputSize),
        ("empty-emit", Code::PluginEmptyEmit),
    ];
    within(LIMIT, move || {
        for (mischief, code) in expected {
            let fault = struck(mischief, 64);
            assert_eq!(fault.code, code, "{mischief}: {}", fault.message);
        }
    });
}

#[test]
fn a_fault_carries_the_guests_own_words() {
    within(LIMIT, || {
        let fault = struck("trap", 5);
        assert!(fault.message.contains("told to panic on offset 2"), "{}", fault.message);
        let fault = struck("deep", 5);
        assert!(fault.message.starts_with("wasm trap: "), "{}", fault.message);
        assert!(fault.trace.is_some());
        let fault = struck("memory", 5);
        assert!(fault.message.contains(&SMALL.max_memory_bytes.to_string()), "{}", fault.message);
    });
}

#[test]
fn invariant_7_a_poison_record_among_256_costs_about_two_budgets() {
    within(LIMIT, || {
        let mut runner = runner(vec![hostile(r#"{"misbehave":"loop","on":100}"#)]);
        runner.start().unwrap();
        let began = Instant::now();
        let cpu = cpu();
        runner.transform(&source(), &records(256)).unwrap();
        let used = self::cpu().saturating_sub(cpu);
        // The budget alone, and an eighth of it for each of the eight levels above; ticks beside.
        assert!(used < SMALL.max_cpu * 3, "{used:?} of CPU time, {:?}", began.elapsed());
    });
}

#[test]
fn invariant_4_a_batch_that_fans_out_is_decided_in_parts() {
    within(LIMIT, || {
        let large = 3_000_000;
        let settings = format!("{{\"misbehave\":\"huge\",\"amount\":{large}}}");
        // Alone, ahead of another plugin and behind one.
        for plugins in [
            vec![hostile(&settings)],
            vec![hostile(&settings), hostile(ECHO)],
            vec![hostile(ECHO), hostile(&settings)],
        ] {
            let mut runner = runner(plugins);
            let records = records(24);
            let mut decided = 0;
            while decided < records.len() {
                let outcomes = runner.transform(&source(), &records[decided..]).unwrap();
                // 8 MiB, and the answer that goes beyond them.
                let held = outcomes.len() * large;
                assert!((1..24 * 1024 * 1024).contains(&held), "{held} bytes at once");
                let is_large = |outcome: &Outcome| matches!(outcome, Outcome::Emit(e) if e[0].body.len() > large);
                assert!(outcomes.iter().all(is_large));
                decided += outcomes.len();
            }
        }
        // What is small stays one call.
        let mut plain = runner(vec![hostile(ECHO)]);
        assert_eq!(plain.transform(&source(), &records(256)).unwrap().len(), 256);
        assert_eq!(plain.take_usage()[0].calls, 1);
    });
}

#[test]
fn invariant_4_a_record_has_one_bound_for_all_its_events() {
    within(LIMIT, || {
        // Each event of 2 MB is small enough, the three of them are not.
        let many = hostile(r#"{"misbehave":"many","amount":3,"on":1}"#);
        let huge = hostile(r#"{"misbehave":"huge","amount":2000000,"on":1}"#);
        for call in [1, 7, 256] {
            let call = CallLimits { records: call, ..CallLimits::default() };
            let plugins = [&many, &huge].map(|p| Plugin {
                component: Arc::clone(&p.component),
                ..hostile(&p.configuration)
            });
            let chain = Chain { call, ..chain(plugins.into()) };
            let mut runner = Runner::new(Arc::new(chain), quiet());
            let outcomes = runner.transform(&source(), &records(3)).unwrap();
            assert!(outcomes[0] == echoed(0) && outcomes[2] == echoed(2));
            assert!(
                matches!(&outcomes[1], Outcome::Reject(f) if f.code == Code::PluginOutputSize
                    && f.message == "what the record becomes is larger than 4194304 bytes"),
                "{:?}",
                outcomes[1]
            );
        }
    });
}

#[test]
fn invariant_7_a_record_of_many_events_has_no_budget_for_each() {
    within(LIMIT, || {
        // All 500 events of the record loop in the second plugin: the first that does is the last.
        let many = || hostile(r#"{"misbehave":"many","amount":500,"on":1}"#);
        let mut chained = runner(vec![many(), hostile(r#"{"misbehave":"loop","on":1}"#)]);
        chained.start().unwrap();
        let began = cpu();
        let outcomes = chained.transform(&source(), &records(3)).unwrap();
        let used = cpu().saturating_sub(began);
        assert!(matches!(&outcomes[1], Outcome::Reject(f) if f.code == Code::PluginDeadline));
        assert!(outcomes[0] == echoed(0) && outcomes[2] == echoed(2));
        assert!(used < SMALL.max_cpu * 4, "{used:?} of CPU time");

        // None of them loops, and all together would take a hundred budgets.
        let slow = hostile(r#"{"misbehave":"slow","on":1,"amount":40}"#);
        let mut chained = runner(vec![many(), slow]);
        let began = cpu();
        let outcomes = chained.transform(&source(), &records(3)).unwrap();
        let used = cpu().saturating_sub(began);
        assert!(
            matches!(&outcomes[1], Outcome::Reject(f) if f.code == Code::PluginDeadline
                && f.message == "the record's events used their CPU time of 3200 ms"),
            "{:?}",
            outcomes[1]
        );
        assert!(outcomes[0] == echoed(0) && outcomes[2] == echoed(2));
        assert!(used < SMALL.max_cpu * 20, "{used:?} of CPU time");
    });
}

/// The CPU time of this thread.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap(), u32::try_from(time.tv_nsec).unwrap())
}

#[test]
fn slow_records_are_not_at_fault_and_calls_shrink_to_their_pace() {
    within(LIMIT, || {
        // About a twentieth of the budget each: 64 of them are three budgets.
        let mut runner = runner(vec![hostile(r#"{"misbehave":"slow","amount":10}"#)]);
        for _ in 0..2 {
            let outcomes = runner.transform(&source(), &records(64)).unwrap();
            assert_echoed(&outcomes);
        }
        runner.take_usage();
        runner.transform(&source(), &records(64)).unwrap();
        assert_eq!(runner.take_usage()[0].failures, 0, "calls fit the pace by now");
    });
}

#[test]
fn what_cannot_harm_is_let_be() {
    within(LIMIT, || {
        for mischief in ["nap", "chatter", "not-json", "unknown-route", "environment"] {
            let settings = format!("{{\"misbehave\":\"{mischief}\",\"on\":2,\"amount\":9000}}");
            let mut runner = runner(vec![hostile(&settings)]);
            let outcomes = runner.transform(&source(), &records(5)).unwrap();
            assert!(matches!(&outcomes[2], Outcome::Emit(_)), "{mischief}: {:?}", outcomes[2]);
            assert_eq!(runner.take_usage()[0].failures, 0, "{mischief}");
        }
    });
}

#[test]
fn invariant_9_nothing_depends_on_where_a_call_begins() {
    within(LIMIT, || {
        let settings = r#"{"misbehave":"nondeterministic"}"#;
        let mixed = r#"{"misbehave":"trap","on":"7"}"#;
        for settings in [settings, mixed] {
            let cut = |size: usize| -> Vec<Outcome> {
                let call = CallLimits { records: size, ..CallLimits::default() };
                let chain = Chain { call, ..chain(vec![hostile(settings)]) };
                let mut runner = Runner::new(Arc::new(chain), quiet());
                let records = records(600);
                let batches = records.chunks(size);
                batches.flat_map(|batch| runner.transform(&source(), batch).unwrap()).collect()
            };
            let whole = cut(500);
            assert!(cut(1) == whole && cut(7) == whole, "{settings}");
        }
    });
}

#[test]
fn the_environment_is_empty_and_clocks_stand_still() {
    within(LIMIT, || {
        let one = |mischief: &str| {
            let settings = format!("{{\"misbehave\":\"{mischief}\"}}");
            let outcomes = runner(vec![hostile(&settings)]).transform(&source(), &records(1));
            match outcomes.unwrap().remove(0) {
                Outcome::Emit(events) => events[0].body.clone(),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(one("environment"), r#"{"arguments":[],"variables":[]}"#);
        let said: serde_json::Value = serde_json::from_str(&one("nondeterministic")).unwrap();
        // 2025-01-01T00:00:00Z.
        assert_eq!(said["wall"], 1_735_689_600_000_000_000_u64);
        assert_eq!(one("nondeterministic"), one("nondeterministic"));
    });
}

#[test]
fn invariant_6_a_plugin_that_does_not_start_says_why() {
    within(LIMIT, || {
        let start = |mischief: &str| {
            let settings = format!("{{\"misbehave\":\"{mischief}\"}}");
            runner(vec![hostile(&settings)]).start().unwrap_err()
        };
        match start("init-error") {
            RunError::Start(StartError::Refused { plugin, text }) => {
                assert_eq!(
                    (plugin.as_str(), text.as_str()),
                    ("hostile", "told to refuse its configuration")
                );
            }
            other => panic!("{other}"),
        }
        for (mischief, words) in [
            ("init-trap", "told to panic in init"),
            ("init-loop", "CPU time of 200 ms"),
            ("init-memory", "bytes of memory, the limit is"),
        ] {
            let error = start(mischief).to_string();
            assert!(error.contains("`hostile` does not start"), "{error}");
            assert!(error.contains(words), "{error}");
        }
        let mut misspelt = runner(vec![hostile(r#"{"misbehave":"no-such"}"#)]);
        assert!(misspelt.start().unwrap_err().to_string().contains("no-such"));
    });
}

#[test]
fn a_worker_can_be_stopped_in_a_call() {
    within(LIMIT, || {
        let mut hooks = quiet();
        let limits = Limits { max_cpu: Duration::from_mins(10), ..SMALL };
        let stop = Arc::clone(&hooks.stop);
        hooks.on_busy = Arc::new(move || stop.store(true, std::sync::atomic::Ordering::Relaxed));
        let plugin = Plugin { limits, ..hostile(r#"{"misbehave":"loop"}"#) };
        let mut runner = Runner::new(Arc::new(chain(vec![plugin])), hooks);
        let result = runner.transform(&source(), &records(3));
        assert!(matches!(result, Err(RunError::Stopped)));
    });
}

#[test]
fn a_busy_and_an_overdue_worker_say_so_once() {
    within(LIMIT, || {
        let [count, overdue] = [(); 2].map(|()| Arc::new(std::sync::atomic::AtomicUsize::new(0)));
        let mut hooks = quiet();
        let counter = |count: &Arc<std::sync::atomic::AtomicUsize>| {
            let count = Arc::clone(count);
            Arc::new(move || {
                count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            })
        };
        hooks.on_busy = counter(&count);
        hooks.on_overdue = counter(&overdue);
        let busy = Arc::new(chain(vec![hostile(r#"{"misbehave":"loop","on":1}"#)]));
        Runner::new(busy, hooks.clone()).transform(&source(), &records(4)).unwrap();
        assert_eq!(count.load(std::sync::atomic::Ordering::Relaxed), 1);
        let idle = Arc::new(chain(vec![hostile(ECHO)]));
        Runner::new(idle, hooks).transform(&source(), &records(4)).unwrap();
        assert_eq!(count.load(std::sync::atomic::Ordering::Relaxed), 1);
        assert_eq!(overdue.load(std::sync::atomic::Ordering::Relaxed), 1);
    });
}

#[test]
fn lines_are_marked_and_limited() {
    within(LIMIT, || {
        let lines: Arc<Mutex<Vec<(Phase, String)>>> = Arc::default();
        let taken = Arc::clone(&lines);
        let hooks = Hooks::new(Arc::new(move |line: Line<'_>| {
            assert_eq!(line.plugin, "hostile");
            assert!(line.text.len() <= 8 * 1024);
            taken.lock().unwrap().push((line.phase, line.text.to_owned()));
        }));
        let flood = Arc::new(chain(vec![hostile(r#"{"misbehave":"flood-log","on":2}"#)]));
        Runner::new(flood, hooks.clone()).transform(&source(), &records(3)).unwrap();
        let flooded = std::mem::take(&mut *lines.lock().unwrap());
        // Calls: all three, two halves of them, one of those again; a hundred lines and a word each.
        assert!((101..=404).contains(&flooded.len()), "{} lines", flooded.len());
        assert!(flooded.iter().all(|(phase, _)| *phase == Phase::Transform));
        let chatter =
            Arc::new(chain(vec![hostile(r#"{"misbehave":"chatter","on":2,"amount":9000}"#)]));
        Runner::new(chatter, hooks).transform(&source(), &records(3)).unwrap();
        assert_eq!(lines.lock().unwrap().len(), 1, "stderr of a call is one line");
    });
}

#[test]
fn a_leak_costs_runs_and_no_record() {
    within(LIMIT, || {
        let mut runner = runner(vec![hostile(r#"{"misbehave":"leak","amount":4000000}"#)]);
        for _ in 0..20 {
            assert_echoed(&runner.transform(&source(), &records(4)).unwrap());
        }
        let usage = runner.take_usage()[0];
        assert!(usage.instances > 1 && usage.memory_bytes <= SMALL.max_memory_bytes, "{usage:?}");
    });
}

/// A record that is alone in its call meets what an instance has kept of those before it: that is not
/// its fault either.
#[test]
fn invariant_7_a_record_alone_does_not_pay_for_a_leak() {
    within(LIMIT, || {
        let mut runner = runner(vec![hostile(r#"{"misbehave":"leak","amount":4000000}"#)]);
        for _ in 0..50 {
            assert_echoed(&runner.transform(&source(), &records(1)).unwrap());
        }
        let usage = runner.take_usage()[0];
        assert!(usage.failures > 1 && usage.instances > usage.failures, "{usage:?}");
    });
}

#[test]
fn an_instance_that_has_grown_is_replaced_in_time() {
    within(LIMIT, || {
        let mut runner = runner(vec![hostile(r#"{"misbehave":"leak","on":0,"amount":40000000}"#)]);
        for _ in 0..2 {
            runner.transform(&source(), &records(1)).unwrap();
            let grown = runner.take_usage()[0];
            assert!(grown.memory_bytes > 40_000_000, "{grown:?}");
            let later = Record { offset: 7, payload: Some(body(7).into()), ..Record::default() };
            for _ in 0..1_000 {
                let outcomes = runner.transform(&source(), std::slice::from_ref(&later)).unwrap();
                assert!(outcomes == [echoed(7)], "record 7 became {outcomes:?}");
            }
            let usage = runner.take_usage()[0];
            assert!(usage.failures == 0 && usage.memory_bytes < 2_000_000, "{usage:?}");
        }
    });
}

#[test]
fn a_chain_hands_events_on() {
    within(LIMIT, || {
        let route = hostile(r#"{"misbehave":"unknown-route","on":1}"#);
        let mut chained = runner(vec![route, hostile(ECHO)]);
        let outcomes = chained.transform(&source(), &records(3)).unwrap();
        assert!(outcomes[0] == echoed(0) && outcomes[2] == echoed(2));
        let routed =
            Event { body: "{}".to_owned(), route: Some("nowhere".to_owned()), operation: None };
        assert!(outcomes[1] == Outcome::Emit(vec![routed]), "the route is kept");

        let many = r#"{"misbehave":"many","amount":3,"on":1}"#;
        let mut chained = runner(vec![hostile(many), hostile(r#"{"misbehave":"trap","on":1}"#)]);
        let outcomes = chained.transform(&source(), &records(3)).unwrap();
        let Outcome::Reject(fault) = &outcomes[1] else { panic!("{:?}", outcomes[1]) };
        assert_eq!(fault.code, Code::PluginTrap, "one event's fault rejects the record");
        assert!(outcomes[0] == echoed(0) && outcomes[2] == echoed(2));

        let mut chained = runner(vec![hostile(many), hostile(ECHO)]);
        let outcomes = chained.transform(&source(), &records(3)).unwrap();
        assert!(matches!(&outcomes[1], Outcome::Emit(events) if events.len() == 3));
    });
}

#[test]
fn tombstones_and_foreign_bytes_are_the_pipelines_choice() {
    within(LIMIT, || {
        let with = |forms: Forms, payload: Option<&'static [u8]>| {
            let chain = Chain { forms, ..chain(vec![hostile(ECHO)]) };
            let payload = payload.map(Into::into);
            let headers = vec![Header { key: "a".to_owned(), value: None }];
            let record = Record { payload, headers, key: Some("k".into()), ..Record::default() };
            Runner::new(Arc::new(chain), quiet()).transform(&source(), &[record]).unwrap().remove(0)
        };
        let forms = Forms { headers: true, key: KeyForm::Text, ..Forms::default() };
        assert!(with(forms, None) == Outcome::Filter("tombstone".to_owned()));
        let rejecting = Forms { tombstones: Tombstones::Reject, ..forms };
        assert!(matches!(with(rejecting, None), Outcome::Reject(f) if f.code == Code::Tombstone));
        let asking = Forms { tombstones: Tombstones::Plugin, ..forms };
        assert!(with(asking, None) == Outcome::Filter("tombstone".to_owned()), "the guest's word");
        assert!(
            matches!(with(forms, Some(b"\xff")), Outcome::Reject(f) if f.code == Code::NotUtf8)
        );
        let bytes = Forms { payload: Form::Bytes, ..forms };
        assert!(
            matches!(with(bytes, Some(b"\xff")), Outcome::Reject(f) if f.code == Code::Rejected)
        );
    });
}

#[test]
fn what_is_no_plugin_is_refused_with_a_reason() {
    within(LIMIT, || {
        let wasm = std::fs::read(guests::built("hostile")).unwrap();
        let refused = |wasm: &[u8]| match loader().load("p", wasm, &SMALL) {
            Ok(_) => panic!("loaded"),
            Err(error) => error,
        };
        assert!(matches!(refused(b"\0asm\x01\0\0\0"), LoadError::NotAComponent { .. }));
        assert!(matches!(refused(&wasm[..wasm.len() / 2]), LoadError::Truncated { .. }));
        let empty = refused(b"\0asm\x0d\0\x01\0").to_string();
        assert!(empty.contains("does not export `xylem:plugin/transformer@0.1.0`"), "{empty}");
        // An unknown section: what a newer encoding looks like.
        let newer = refused(b"\0asm\x0d\0\x01\0\x7f\x01\x00").to_string();
        assert!(newer.contains("not understood by wasmtime 48"), "{newer}");
        // The same length of names keeps the component whole.
        let foreign = renamed(&wasm, b"xylem:plugin/logging@0.1.0", b"other:plugin/logging@0.1.0");
        let foreign = refused(&foreign).to_string();
        assert!(foreign.contains("imports `other:plugin/logging@0.1.0`"), "{foreign}");
        let later =
            renamed(&wasm, b"xylem:plugin/transformer@0.1.0", b"xylem:plugin/transformer@0.2.0");
        let later = refused(&later).to_string();
        assert!(later.contains("version 0.2.0, this host has version 0.1.0"), "{later}");
    });
}

#[test]
fn a_child_compiles_and_the_cache_serves_without_one() {
    // Built outside the limit, since that may take longer than any test.
    let xylem = binary("xylem");
    within(LIMIT, move || {
        let wasm = std::fs::read(guests::built("example-rust")).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let loaded = |compiler: PathBuf, cache: Cache| {
            let loader = Loader::new(Engine::new().unwrap(), cache, Compile::Child(compiler));
            loader.load("example", &wasm, &SMALL).map(|component| component.digest().to_owned())
        };
        let nobody = || PathBuf::from("/nonexistent/xylem");
        let own = folder.path().join("own");
        let missed = loaded(nobody(), Cache::private(&own)).unwrap_err().to_string();
        assert!(missed.starts_with("compiling `example` failed (not run)"), "{missed}");
        let digest = loaded(xylem, Cache::private(&own)).unwrap();
        assert_eq!(loaded(nobody(), Cache::private(&own)).unwrap(), digest);

        // Filled ahead, as an image's build does, and then read-only.
        let filled = folder.path().join("filled");
        let guest = guests::built("example-rust");
        let arguments = ["precompile", "--cache", "filled", guest.to_str().unwrap(), "--json"];
        let output = run_to_end(folder.path(), &arguments);
        let line: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&line["state"], &line["digest"]), (&"compiled".into(), &digest.clone().into()));
        std::fs::set_permissions(&filled, std::fs::Permissions::from_mode(0o555)).unwrap();
        assert_eq!(loaded(nobody(), Cache::private(&filled)).unwrap(), digest);
        std::fs::set_permissions(&filled, std::fs::Permissions::from_mode(0o755)).unwrap();
    });
}

#[test]
fn a_compiler_that_dies_is_an_error_with_its_status() {
    within(LIMIT, || {
        let wasm = std::fs::read(guests::built("example-rust")).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::private(folder.path());
        let compile = Compile::Child(PathBuf::from("/bin/false"));
        let loader = Loader::new(Engine::new().unwrap(), cache, compile);
        let error = loader.load("example", &wasm, &SMALL).err().unwrap().to_string();
        assert!(error.contains("exit status: 1") && error.contains("MiB"), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
    });
}

#[test]
fn inspect_says_what_a_component_is() {
    binary("xylem");
    within(LIMIT, || {
        let folder = tempfile::tempdir().unwrap();
        let guest = guests::built("example-rust");
        let inspect = |file: &str| {
            let arguments = ["inspect", "--json", "--cache", "cache", file];
            let output = run_to_end(folder.path(), &arguments);
            (output.status.code().unwrap(), output)
        };
        let (code, output) = inspect(guest.to_str().unwrap());
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(code, 0);
        assert_eq!(report["deterministic"], true);
        assert_eq!(report["exports"], serde_json::json!(["xylem:plugin/transformer@0.1.0"]));
        assert_eq!(report["wasm_bytes"], std::fs::metadata(&guest).unwrap().len());

        std::fs::write(folder.path().join("core.wasm"), b"\0asm\x01\0\0\0").unwrap();
        let (code, output) = inspect("core.wasm");
        assert_eq!(code, 1);
        assert!(String::from_utf8(output.stderr).unwrap().contains("is a core module"));

        let (code, output) = inspect("missing.wasm");
        let words = String::from_utf8(output.stderr).unwrap();
        assert_eq!(code, 2, "{words}");
        assert!(words.starts_with("cannot read component `missing.wasm`: "), "{words}");
    });
}
