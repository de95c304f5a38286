//! Promise 6: what does not pass the gate never replaces what runs. The data path is a stand-in here that
//! only counts.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use xylem::config::{Environment, Fingerprint, Loaded};
use xylem::generation::Step;
use xylem::plugin::{Cache, Compile, Engine, Loader};
use xylem::record::{PartitionId, Record};
use xylem::reload::beside::Beside;
use xylem::reload::recent::Recent;
use xylem::reload::{
    Ask, Began, CanaryAsk, Candidate, Cause, Decision, Gate, Live, Outcome, Parts, Passed,
    Reloader, Report, Source,
};
use xylem::settle::Budget;
use xylem::telemetry::Metrics;
use xylem_tests::candidates::renamed;
use xylem_tests::{guests, repository, within};

const LIMIT: std::time::Duration = std::time::Duration::from_mins(2);

/// The generations that were put in, after the one that it began with.
#[derive(Default)]
struct Path(Mutex<Vec<Candidate>>);

impl Live for Path {
    fn refuses(&self, next: &Loaded) -> Vec<String> {
        let moved = next.config.kafka.group != "g";
        moved.then(|| "`kafka.group` differs: restart xylem".to_owned()).into_iter().collect()
    }

    fn swap(&self, next: &Candidate) -> Result<Vec<String>, String> {
        self.0.lock().unwrap().push(next.clone());
        Ok(Vec::new())
    }
}

/// A configuration in a folder, and what reloads it.
struct World {
    folder: TempDir,
    path: Arc<Path>,
    tried: Arc<Mutex<Vec<Fingerprint>>>,
    reloader: Reloader,
    metrics: Metrics,
    recent: Arc<Recent>,
    beside: Arc<Beside>,
    give_up: Arc<AtomicBool>,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        write(&folder, "xylem.yaml", &configuration("g", "{}"));
        let schema = repository().join("tests/bench/order/schema.json");
        std::fs::copy(schema, folder.path().join("schema.json")).unwrap();
        let file = folder.path().join("xylem.yaml");
        let cache = Cache::private(guests::folder().join("native"));
        let recent = Arc::<Recent>::default();
        let gate = Gate {
            source: Source::File(file, Environment::new()),
            loader: Loader::new(Engine::new().unwrap(), cache, Compile::InProcess),
            sink: Arc::new(|_| ()),
            recent: Arc::clone(&recent),
        };
        let give_up = Arc::clone(gate.loader.give_up());
        let began = Began::now();
        let passage = gate.pass(None, |_| Vec::new());
        let Ok(running) = passage.candidate else { unreachable!("{:?}", passage.steps) };
        let decision = Decision::new(Outcome::Swapped, "started");
        let report = began.report(Cause::Start, decision, passage.steps, [None, None]);
        let (path, tried) = (Arc::<Path>::default(), Arc::<Mutex<Vec<Fingerprint>>>::default());
        path.0.lock().unwrap().push(running.clone());
        let (metrics, told) = (Metrics::default(), Arc::clone(&tried));
        let beside = Arc::<Beside>::default();
        let reloader = Reloader::start(Parts {
            gate,
            running: (running, report),
            live: Arc::clone(&path) as _,
            beside: Arc::clone(&beside),
            budget: Arc::new(Budget::new(1 << 20)),
            metrics: metrics.clone(),
            tried: Box::new(move |fingerprint| told.lock().unwrap().push(fingerprint)),
        });
        let reloader = reloader.unwrap();
        Self { folder, path, tried, reloader, metrics, recent, beside, give_up }
    }

    fn ask(&self, ask: Ask, cause: Cause) -> Report {
        self.reloader.ask(ask, cause).blocking_recv().unwrap()
    }

    fn reload(&self) -> Report {
        self.ask(Ask::Reload, Cause::Asked)
    }

    fn set(&self, settings: &str) {
        write(&self.folder, "xylem.yaml", &configuration("g", settings));
    }

    fn swaps(&self) -> usize {
        self.path.0.lock().unwrap().len() - 1
    }

    /// What was put in last.
    fn last(&self) -> Candidate {
        self.path.0.lock().unwrap().last().unwrap().clone()
    }

    /// Whether keys of what runs are divided.
    fn is_divided(&self) -> bool {
        let pipeline = Arc::clone(&self.last().generation.pipelines["orders"]);
        self.beside.canary(&pipeline).is_some()
    }

    /// Promotes a canary with these settings, whose configuration is another file.
    fn promote_elsewhere(&self, settings: &str) -> Report {
        let candidate = Some(write(&self.folder, "next.yaml", &configuration("g", settings)));
        let began =
            self.ask(Ask::Canary(CanaryAsk { candidate, ..CanaryAsk::default() }), Cause::Asked);
        assert_eq!(began.outcome, Outcome::Unchanged, "{began}");
        assert!(self.is_divided());
        let promoted = self.ask(Ask::PromoteCanary, Cause::Asked);
        assert_eq!(promoted.outcome, Outcome::Swapped, "{promoted}");
        promoted
    }
}

fn write(folder: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn configuration(group: &str, settings: &str) -> String {
    format!(
        "kafka: {{brokers: 'localhost:1', group: {group}, start: earliest}}
aep: {{organisation: o@AdobeOrg, auth: {{token_url: 'http://127.0.0.1:1/', client_id: a, client_secret: b, scopes: [openid]}}}}
plugins: {{hostile: {{component: {hostile}}}}}
destinations:
  orders:
    inlet: http://127.0.0.1:1/collection/a
    dataset: d
    schema: {{id: 'https://ns.adobe.com/acme/schemas/order', file: schema.json}}
pipelines:
  orders:
    topics: [orders]
    chain: [{{plugin: hostile, settings: {settings}}}]
    destinations: [orders]
    dead_letter: {{topic: dead}}
",
        hostile = guests::built("hostile").display(),
    )
}

#[test]
fn invariant_6_what_is_new_and_good_takes_the_place_once() {
    within(LIMIT, || {
        let world = World::new();
        assert_eq!(world.reload().outcome, Outcome::Unchanged);
        world.set("{on: 1}");
        let report = world.reload();
        assert_eq!(report.outcome, Outcome::Swapped, "{report}");
        assert!(report.running != report.before && report.running == report.candidate);
        assert_eq!(world.reload().outcome, Outcome::Unchanged);
        assert_eq!(world.swaps(), 1);
        write(&world.folder, "xylem.yaml", &(configuration("g", "{on: 1}") + "# words\n"));
        let report = world.reload();
        assert_eq!((report.outcome, world.swaps()), (Outcome::Unchanged, 1), "{report}");
    });
}

#[test]
fn invariant_6_what_is_refused_leaves_nothing_but_its_report() {
    within(LIMIT, || {
        let world = World::new();
        world.set("{misbehave: init-error}");
        let report = world.ask(Ask::Reload, Cause::Files);
        assert_eq!(report.outcome, Outcome::Refused, "{report}");
        let last = report.steps.last().unwrap();
        assert_eq!((last.step, last.passed), (Step::Start, Passed::No), "{report}");
        assert_eq!((world.swaps(), world.reloader.previous()), (0, None));
        assert_eq!(world.metrics.files_not_running.get(), 1);

        // The same bytes are not tried again until somebody asks.
        let again = world.ask(Ask::Reload, Cause::Files);
        assert_eq!((again.outcome, again.steps.len()), (Outcome::Unchanged, 0), "{again}");
        assert_eq!(
            world.metrics.files_not_running.get(),
            1,
            "what is in the files still does not run"
        );
        assert_eq!(world.reload().outcome, Outcome::Refused);

        world.set("{}");
        assert_eq!(world.ask(Ask::Reload, Cause::Files).outcome, Outcome::Unchanged);
        assert_eq!(world.metrics.files_not_running.get(), 0);
        assert_eq!(world.reloader.reports()[0].outcome, Outcome::Refused, "a report stays");
    });
}

#[test]
fn invariant_6_a_rollback_returns_and_is_not_undone_by_the_files() {
    within(LIMIT, || {
        let world = World::new();
        let nothing = world.ask(Ask::Rollback, Cause::Asked);
        assert_eq!(nothing.outcome, Outcome::Refused, "{nothing}");
        world.set("{on: 1}");
        let swapped = world.reload();
        let back = world.ask(Ask::Rollback, Cause::Asked);
        assert_eq!((back.outcome, &back.running), (Outcome::Swapped, &swapped.before), "{back}");
        // Whoever watches the files sees no difference from what was tried last.
        assert_eq!(
            world.tried.lock().unwrap().last().map(|tried| tried.again() == *tried),
            Some(true)
        );
        let files = world.ask(Ask::Reload, Cause::Files);
        assert_eq!(
            (files.outcome, &files.running),
            (Outcome::Unchanged, &swapped.before),
            "{files}"
        );
        let forward = world.reload();
        assert_eq!((forward.outcome, &forward.running), (Outcome::Swapped, &swapped.running));
        let back = world.ask(Ask::Rollback, Cause::Asked);
        assert_eq!(back.running, swapped.before);
        let forward = world.ask(Ask::Rollback, Cause::Asked);
        assert_eq!(forward.running, swapped.running, "one step, there and back");
    });
}

#[test]
fn invariant_6_what_needs_a_restart_says_so() {
    within(LIMIT, || {
        let world = World::new();
        write(&world.folder, "xylem.yaml", &configuration("h", "{}"));
        let report = world.reload();
        assert_eq!(report.outcome, Outcome::RestartNeeded);
        assert_eq!(
            (report.reason.as_str(), world.swaps()),
            ("`kafka.group` differs: restart xylem", 0)
        );
    });
}

#[test]
fn invariant_6_a_file_that_goes_or_breaks_changes_nothing() {
    within(LIMIT, || {
        let world = World::new();
        std::fs::remove_file(world.folder.path().join("schema.json")).unwrap();
        let report = world.reload();
        assert_eq!((report.outcome, report.steps.len()), (Outcome::Refused, 1), "{report}");
        assert!(report.to_string().contains("schema.json"), "{report}");
        std::fs::remove_file(world.folder.path().join("xylem.yaml")).unwrap();
        assert_eq!(world.reload().outcome, Outcome::Refused);
        write(&world.folder, "xylem.yaml", "kafka: [");
        assert_eq!(world.reload().outcome, Outcome::Refused);
        assert_eq!(world.swaps(), 0);
    });
}

/// Keeps valid events as the last records, one of which says `poison`.
fn remember(world: &World) {
    let record = |offset: i64| {
        let kind = if offset == 7 { "poison" } else { "order" };
        let event =
            format!(r#"{{"_id":"a","timestamp":"2026-01-02T03:04:05Z","eventType":"{kind}"}}"#);
        Record { offset, payload: Some(event.into()), ..Record::default() }
    };
    let partition = PartitionId { topic: "orders".into(), partition: 0 };
    world.recent.keep(100);
    for first in [0, 16] {
        let records: Vec<Record> = (first..first + 16).map(record).collect();
        world.recent.note(&"orders".into(), &partition, &records);
    }
}

fn step(report: &Report, step: Step) -> (Passed, String) {
    let taken = report.steps.iter().find(|taken| taken.step == step).unwrap();
    let problems: Vec<String> =
        taken.problems.iter().map(|problem| problem.message.clone()).collect();
    (taken.passed, format!("{}{}", taken.note, problems.join(" ")))
}

#[test]
fn invariant_6_what_fails_on_recent_records_or_costs_too_much_is_refused() {
    within(LIMIT, || {
        let world = World::new();
        let (passed, why) = step(
            &{
                world.set("{on: 1}");
                world.reload()
            },
            Step::Records,
        );
        assert_eq!(
            (passed, why.as_str()),
            (Passed::Skipped, "no record is kept (`reload.recent_records`), or none came yet")
        );
        remember(&world);
        world.set("{misbehave: trap, on: poison}");
        let report = world.reload();
        assert_eq!(report.outcome, Outcome::Refused, "{report}");
        let (passed, why) = step(&report, Step::Records);
        assert_eq!(passed, Passed::No);
        assert!(
            why.contains("1 would become dead letters") && why.contains("plugin.trap"),
            "{why}"
        );
        assert!(why.contains("the first at orders-0@7"), "{why}");
        // Twice a hundred thousand steps or so is what it takes to echo.
        world.set("{misbehave: slow, amount: 1}");
        let report = world.reload();
        assert_eq!(report.outcome, Outcome::Refused, "{report}");
        assert_eq!(step(&report, Step::Records).0, Passed::Yes, "{report}");
        let (passed, why) = step(&report, Step::Budget);
        assert_eq!(passed, Passed::No);
        assert!(why.contains("`reload.max_cpu_ratio` allows 3"), "{why}");
        world.set("{on: no such text}");
        let report = world.reload();
        assert_eq!(report.outcome, Outcome::Swapped, "{report}");
        assert_eq!(step(&report, Step::Records).1, "32, none newly refused beyond what is allowed");
        assert_eq!(world.swaps(), 2);
    });
}

#[test]
fn invariant_6_who_asks_for_a_network_is_told_that_there_is_none() {
    within(LIMIT, || {
        let world = World::new();
        let hostile = guests::built("hostile");
        let asking = renamed(
            &std::fs::read(&hostile).unwrap(),
            b"xylem:plugin/logging@0.1.0",
            b"wasi:sockets/network@0.2.0",
        );
        std::fs::write(world.folder.path().join("asking.wasm"), asking).unwrap();
        let text = configuration("g", "{}");
        let text = text.replace(&hostile.display().to_string(), "asking.wasm");
        write(&world.folder, "xylem.yaml", &text);
        let report = world.reload();
        assert_eq!(report.outcome, Outcome::Swapped, "{report}");
        let said = "`hostile` asks for `wasi:sockets` and gets nothing of it".to_owned();
        assert_eq!(step(&report, Step::Imports), (Passed::Yes, said));
    });
}

#[test]
fn a_change_that_makes_no_difference_leaves_what_may_run_beside() {
    within(LIMIT, || {
        let world = World::new();
        write(&world.folder, "xylem.yaml", &(configuration("g", "{}") + "# words\n"));
        assert_eq!(world.reload().outcome, Outcome::Unchanged);
        world.promote_elsewhere("{on: 1}");
    });
}

#[test]
fn invariant_6_the_own_file_is_followed_whatever_came_from_elsewhere() {
    within(LIMIT, || {
        let world = World::new();
        let promoted = world.promote_elsewhere("{on: 1}");
        assert_eq!(world.metrics.files_not_running.get(), 1);
        // Back to the own file, and back again to what came from elsewhere.
        let own = world.reload();
        assert_eq!((own.outcome, &own.running), (Outcome::Swapped, &promoted.before));
        let back = world.ask(Ask::Rollback, Cause::Asked);
        assert_eq!((back.outcome, &back.running), (Outcome::Swapped, &promoted.running));
        assert_eq!(world.metrics.files_not_running.get(), 1);
        let watched = world.folder.path().join("xylem.yaml");
        let is_watched = || {
            let tried = world.tried.lock().unwrap();
            tried.last().unwrap().paths().any(|path| path == watched)
        };
        assert!(is_watched());
        world.set("{on: 2}");
        assert_eq!(world.ask(Ask::Reload, Cause::Files).outcome, Outcome::Swapped);
        // There, back and there again.
        world.promote_elsewhere("{on: 3}");
        world.ask(Ask::Rollback, Cause::Asked);
        world.ask(Ask::Rollback, Cause::Asked);
        let own = world.reload();
        assert_eq!((own.outcome, is_watched()), (Outcome::Swapped, true), "{own}");
    });
}

#[test]
fn invariant_6_what_was_rolled_back_does_not_return_with_another_change() {
    within(LIMIT, || {
        let world = World::new();
        world.set("{on: 1}");
        assert_eq!(world.reload().outcome, Outcome::Swapped);
        assert_eq!(world.ask(Ask::Rollback, Cause::Asked).outcome, Outcome::Swapped);
        let also = configuration("g", "{on: 1}").replace("client_secret: b", "client_secret: c");
        write(&world.folder, "xylem.yaml", &also);
        let report = world.ask(Ask::Reload, Cause::Files);
        assert_eq!(report.outcome, Outcome::Refused, "{report}");
        assert!(
            report.reason.starts_with("pipeline `orders` is again what was rolled back"),
            "{report}"
        );
        // Whoever asks for it gets it; what is mended comes by itself.
        world.set("{on: 2}");
        assert_eq!(world.ask(Ask::Reload, Cause::Files).outcome, Outcome::Swapped);
        assert_eq!(world.ask(Ask::Rollback, Cause::Asked).outcome, Outcome::Swapped);
        assert_eq!(world.reload().outcome, Outcome::Swapped);
    });
}

#[test]
fn who_takes_something_away_does_not_wait_for_a_candidate() {
    within(LIMIT, || {
        let world = World::new();
        world.give_up.store(true, Ordering::Release);
        world.set("{on: 1}");
        let report = world.reload();
        assert_eq!((report.outcome, world.swaps()), (Outcome::Refused, 0), "{report}");
        assert!(report.reason.starts_with("the candidate was given up"), "{report}");
        // The request for which it was given up is answered, and all is as before.
        assert_eq!(world.ask(Ask::Rollback, Cause::Asked).outcome, Outcome::Refused);
        assert_eq!(world.reload().outcome, Outcome::Swapped);
    });
}

#[test]
fn invariant_6_certificates_that_are_none_do_not_pass() {
    within(LIMIT, || {
        let world = World::new();
        write(&world.folder, "ca.pem", "-----BEGIN CERTIFICATE-----\nnone");
        let text = configuration("g", "{}").replace("aep: {", "aep: {ca_file: ca.pem, ");
        write(&world.folder, "xylem.yaml", &text);
        let report = world.reload();
        assert_eq!(report.outcome, Outcome::Refused, "{report}");
        let (passed, why) = step(&report, Step::Configuration);
        assert_eq!(passed, Passed::No);
        assert!(why.contains("`aep.ca_file` holds no PEM certificate"), "{why}");
    });
}

#[test]
fn invariant_6_a_sample_more_is_run() {
    within(LIMIT, || {
        let world = World::new();
        std::fs::create_dir(world.folder.path().join("samples")).unwrap();
        let event = r#"{"_id":"a","timestamp":"2026-01-02T03:04:05Z","eventType":"order"}"#;
        write(&world.folder, "samples/a.input.json", event);
        let text = configuration("g", "{on: no such text}")
            .replace("    chain:", "    samples: samples\n    chain:");
        write(&world.folder, "xylem.yaml", &text);
        let report = world.reload();
        assert_eq!(
            step(&report, Step::Samples),
            (Passed::Yes, "1 as expected".to_owned()),
            "{report}"
        );
        assert_eq!(world.reload().steps.len(), 0);
        write(&world.folder, "samples/b.input.json", "{}");
        let report = world.reload();
        assert_eq!(report.outcome, Outcome::Refused, "{report}");
        assert_eq!(step(&report, Step::Samples).0, Passed::No);
    });
}

fn with_another_secret(settings: &str) -> String {
    configuration("g", settings).replace("client_secret: b", "client_secret: c")
}

#[test]
fn a_rotated_secret_is_no_step_to_go_back_and_stays() {
    within(LIMIT, || {
        let world = World::new();
        world.set("{on: 1}");
        let swapped = world.reload();
        write(&world.folder, "xylem.yaml", &with_another_secret("{on: 1}"));
        let rotated = world.ask(Ask::Reload, Cause::Files);
        assert_eq!((rotated.outcome, &rotated.running), (Outcome::Swapped, &swapped.running));
        let secret = world.last().loaded.config.aep.auth.clone();
        let back = world.ask(Ask::Rollback, Cause::Asked);
        assert_eq!((back.outcome, &back.running), (Outcome::Swapped, &swapped.before), "{back}");
        assert_eq!(world.last().loaded.config.aep.auth, secret);
        assert!(back.reason.contains("the files still hold the other"), "{back}");
        let forward = world.ask(Ask::Rollback, Cause::Asked);
        assert_eq!(forward.running, swapped.running);
        assert!(forward.reason.contains("which is what the files hold"), "{forward}");
    });
}

#[test]
fn what_a_canary_replaced_does_not_return_with_another_change() {
    within(LIMIT, || {
        let world = World::new();
        let promoted = world.promote_elsewhere("{on: 1}");
        write(&world.folder, "xylem.yaml", &with_another_secret("{}"));
        let report = world.ask(Ask::Reload, Cause::Files);
        assert_eq!((report.outcome, &report.running), (Outcome::Refused, &promoted.running));
        assert!(report.reason.contains("is again what was replaced by a canary"), "{report}");
        // Put in its place, it is what runs.
        world.set("{on: 1}");
        assert_eq!(world.ask(Ask::Reload, Cause::Files).outcome, Outcome::Unchanged);
        assert_eq!(world.metrics.files_not_running.get(), 0);
    });
}
