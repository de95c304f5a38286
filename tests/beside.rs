//! What runs beside the generation that runs, on live traffic: a shadow that finds what was planted, canaries that
//! are rolled back and promoted by themselves. A real Kafka, the emulator, the json plugin.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aep_emulator::Style;
use serde_json::json;
use xylem::app::App;
use xylem::config::Environment;
use xylem::plugin::{Cache, Compile, Engine, Loader};
use xylem::reload::canary::CanaryState;
use xylem::reload::{Ask, CanaryAsk, Cause, Outcome, Report, ShadowAsk, Source};
use xylem_bench_order::workload;
use xylem_tests::kafka::{self, Message};
use xylem_tests::{Setup, eventually, guests, within};

use crate::stamped;
use crate::world::World;

const LIMIT: Duration = Duration::from_mins(4);

const PARTITIONS: i32 = 4;

/// Keys, of which 3 % are struck.
const KEYS: u64 = 2_000;

/// Keys of the stamped records; a key has one partition.
const STAMPED_KEYS: u64 = 200;

fn mapping(zone: &str, sku: &str, price: &str, kind: &str) -> String {
    format!(
        "events:
  - fields:
      timestamp: {{from: .at, type: date-time, zone: {zone}, required: true}}
      eventType: {{from: '{kind}', type: string, required: true}}
      productListItems:
        each: '.lines[]'
        fields:
          SKU: {{from: '{sku}', type: string}}
          priceTotal: {{from: '{price}', type: number}}
unmapped: ignore
"
    )
}

fn good() -> String {
    mapping("UTC", ".sku", ".price", ".kind")
}

/// A process under test: in this one, so that its reloader can be asked.
struct Running {
    world: World,
    setup: Setup,
    app: App,
    produced: u64,
}

impl Running {
    /// Runs the good mapping; the other one is the candidate's.
    fn start(kafka: &'static kafka::Client, candidate: &str) -> Self {
        let world = World::new(kafka, PARTITIONS, Style::Production);
        // What two mappings cost on a busy machine is not what these tests are about.
        let further = "reload: {max_cpu_ratio: 1000}\n";
        let setup = world.setup("json", "{plugin: json, mapping: mapping.yaml}", further);
        let file = setup.folder().join("xylem.yaml");
        let text = std::fs::read_to_string(&file).unwrap();
        let text = text.replace("mapping: mapping.yaml", "mapping: candidate-mapping.yaml");
        let setup = setup
            .file("mapping.yaml", good())
            .file("candidate-mapping.yaml", candidate)
            .file("candidate.yaml", text);
        let cache = Cache::private(guests::folder().join("native"));
        let loader = Loader::new(Engine::new().unwrap(), cache, Compile::InProcess);
        let app = App::start(Source::File(file, Environment::new()), loader, None).unwrap();
        Self { world, setup, app, produced: 0 }
    }

    fn candidate(&self) -> std::path::PathBuf {
        self.setup.folder().join("candidate.yaml")
    }

    fn ask(&self, ask: Ask) -> Report {
        self.app.reloader().unwrap().ask(ask, Cause::Asked).blocking_recv().unwrap()
    }

    /// Writes some more records, each key in turn.
    fn produce(&mut self, count: u64) {
        let message = |number: u64| {
            let key = number % KEYS;
            let lines = json!([{"sku": format!("00{key}"), "price": 12.5}]);
            let order =
                json!({"key": key, "at": "2026-01-02T03:04:05", "kind": "order", "lines": lines});
            let partition = Some(i32::try_from(key).unwrap() % PARTITIONS);
            let key = Some(format!("customer-{key}").into_bytes());
            Message { partition, key, ..Message::new(order.to_string()) }
        };
        let numbers = self.produced..self.produced + count;
        self.world.kafka.produce(&self.world.topic, numbers.map(message));
        self.produced += count;
    }

    /// Waits until everything is settled, and ends.
    fn settle(self) -> World {
        eventually(|| {
            let (world, ends) = (&self.world, self.world.kafka.ends(&self.world.topic));
            let committed = world.kafka.committed(&world.group, &world.topic);
            if committed == ends { Ok(()) } else { Err(format!("{committed:?} of {ends:?}")) }
        });
        assert!(self.app.stop(Duration::from_secs(20)).unwrap());
        self.world
    }

    /// Runs a canary until its rule has spoken; the reload thread's report.
    fn canary(&mut self, min_records: u64) -> Report {
        let (candidate, min_records) = (Some(self.candidate()), Some(min_records));
        let ask = CanaryAsk {
            candidate,
            share: Some(0.5),
            seconds: Some(120),
            min_records,
            ..CanaryAsk::default()
        };
        let began = self.ask(Ask::Canary(ask));
        assert_eq!(began.outcome, Outcome::Unchanged, "{began}");
        eventually(|| {
            self.produce(500);
            let report = self.app.reloader().unwrap().reports().remove(0);
            let canary = || format!("{}", self.app.reloader().unwrap().canary().unwrap());
            if report.cause == Cause::Canary { Ok(report) } else { Err(canary()) }
        })
    }
}

/// Part C, point 5: a price times 100, a lost leading zero and a shifted time zone.
#[test]
fn a_shadow_names_the_paths_of_what_was_planted_and_delivers_nothing() {
    within(LIMIT, || {
        let Some(kafka) = kafka::shared() else { return };
        let planted = mapping("Europe/Berlin", ".sku | ltrimstr(\"0\")", ".price * 100", ".kind");
        let mut running = Running::start(kafka, &planted);
        let ask = ShadowAsk {
            candidate: Some(running.candidate()),
            share: Some(1.0),
            records: Some(50),
            examples: 1,
            redact: vec!["/timestamp".to_owned()],
            ..ShadowAsk::default()
        };
        let began = running.ask(Ask::Shadow(ask.clone()));
        assert_eq!(began.outcome, Outcome::Unchanged, "{began}");
        assert_eq!(running.ask(Ask::Shadow(ask)).outcome, Outcome::Refused, "one at a time");
        let report = eventually(|| {
            running.produce(20);
            let report = running.app.reloader().unwrap().shadow().unwrap();
            if report.ended.is_some() { Ok(report) } else { Err(format!("{report}")) }
        });
        let comparison = &report.pipelines["orders"];
        assert_eq!((comparison.records, comparison.changed), (50, 50), "{report}");
        let paths: BTreeSet<(&str, u64)> =
            comparison.paths.iter().map(|path| (path.path.as_str(), path.changed)).collect();
        let expected = [
            ("/productListItems/*/SKU", 50),
            ("/productListItems/*/priceTotal", 50),
            ("/timestamp", 50),
        ];
        assert_eq!(paths, expected.into(), "{report}");
        let page = report.to_string();
        assert!(page.contains("12.5 -> 1250") && !page.contains("2026-01-02"), "{page}");
        assert!(comparison.candidate.cpu_us > 0.0 && comparison.candidate.memory_bytes > 0);
        let produced = running.produced;
        let world = running.settle();
        let arrivals = world.arrivals();
        assert_eq!(arrivals.len() as u64, produced, "the shadow has delivered nothing");
        World::assert_in_order(&arrivals);
    });
}

/// Part C, point 5: a plugin that fails for 3 % of keys.
#[test]
fn a_canary_that_fails_for_some_keys_is_rolled_back_by_itself_and_nothing_is_lost() {
    within(LIMIT, || {
        let Some(kafka) = kafka::shared() else { return };
        let failing = "if .key % 33 == 7 then null else .kind end";
        let mut running = Running::start(kafka, &mapping("UTC", ".sku", ".price", failing));
        let before = running.app.reloader().unwrap().reports()[0].running.clone();
        running.produce(100);
        let report = running.canary(1_000);
        assert_eq!(report.outcome, Outcome::Refused, "{report}");
        assert_eq!(report.running, before);
        assert!(
            report.reason.starts_with("the canary was rolled back: pipeline `orders`: "),
            "{report}"
        );
        let reloader = running.app.reloader().unwrap().clone();
        let candidate = report.candidate.unwrap();
        // What comes now is all the running generation's.
        running.produce(500);
        let world = running.settle();
        let canary = reloader.canary().unwrap();
        assert_eq!((canary.state, &canary.candidate), (CanaryState::RolledBack, &candidate));
        let letters = kafka.read(&world.dead);
        assert_eq!(canary.affected_records, letters.len() as u64, "{canary}");
        let (affected, mapped) = (canary.affected_records, canary.mapped_records);
        assert!(affected * 100 > mapped && affected * 100 < 6 * mapped, "{canary}");
        for letter in &letters {
            let order: serde_json::Value =
                serde_json::from_slice(letter.payload.as_ref().unwrap()).unwrap();
            assert_eq!(order["key"].as_u64().unwrap() % 33, 7);
            assert_eq!(letter.header("xylem.generation").as_ref(), Some(&candidate));
        }
        world.assert_nothing_lost();
        World::assert_in_order(&world.arrivals());
        let ends: i64 = kafka.ends(&world.topic).values().sum();
        assert_eq!(i64::try_from(world.arrivals().len() + letters.len()).unwrap(), ends);
    });
}

/// A candidate that does as well takes the place by itself.
#[test]
fn a_good_canary_is_promoted_by_itself_and_nothing_is_lost() {
    within(LIMIT, || {
        let Some(kafka) = kafka::shared() else { return };
        let mut running = Running::start(kafka, &mapping("UTC", ".sku", ".price", "\"other\""));
        let report = running.canary(300);
        assert_eq!(report.outcome, Outcome::Swapped, "{report}");
        assert_eq!(report.running, report.candidate);
        assert!(
            report.reason.starts_with("the canary was promoted: pipeline `orders`: 0 of "),
            "{report}"
        );
        assert!(report.effects.iter().any(|effect| effect.contains("candidate.yaml")), "{report}");
        let back = running.ask(Ask::Rollback);
        assert_eq!((back.outcome, back.running), (Outcome::Swapped, report.before));
        running.produce(500);
        let produced = running.produced;
        let world = running.settle();
        let arrivals = world.arrivals();
        assert_eq!(arrivals.len() as u64, produced);
        World::assert_in_order(&arrivals);
    });
}

/// A canary is under way and then ended by a reload: each record is of one version, and each key of one side.
#[test]
fn invariant_3_5_a_canarys_keys_stay_on_their_side_until_a_reload_ends_it() {
    within(LIMIT, || {
        let Some(kafka) = kafka::shared() else { return };
        let world = stamped::world(kafka);
        let setup = Setup::new(&stamped::configuration(&world, "{}"));
        let folder = setup.folder().to_owned();
        let text = std::fs::read_to_string(folder.join("xylem.yaml")).unwrap();
        std::fs::write(folder.join("next.yaml"), text.replace("candidate.wasm", "next.wasm"))
            .unwrap();
        stamped::lay(&folder, guests::stamp(1));
        guests::lay(&folder.join("next.wasm"), guests::stamp(2));
        let cache = Cache::private(guests::folder().join("native"));
        let loader = Loader::new(Engine::new().unwrap(), cache, Compile::InProcess);
        let source = Source::File(folder.join("xylem.yaml"), Environment::new());
        let app = App::start(source, loader, None).unwrap();
        let reloader = app.reloader().unwrap();
        let ask = |ask| reloader.ask(ask, Cause::Asked).blocking_recv().unwrap();

        let mut numbers = 0..;
        let mut produce = || {
            let message = |number: u64| {
                let (partition, key) = (number % STAMPED_KEYS % 2, number % STAMPED_KEYS);
                let partition = Some(i32::try_from(partition).unwrap());
                let key = Some(key.to_string().into_bytes());
                Message { partition, key, ..Message::new(workload::order(number)) }
            };
            kafka.produce(&world.topic, numbers.by_ref().take(200).map(message));
        };
        produce();
        let candidate = Some(folder.join("next.yaml"));
        let (share, min_records) = (Some(0.5), Some(u64::MAX));
        let began =
            ask(Ask::Canary(CanaryAsk { candidate, share, min_records, ..CanaryAsk::default() }));
        assert_eq!(began.outcome, Outcome::Unchanged, "{began}");
        eventually(|| {
            produce();
            let canary = reloader.canary().unwrap();
            if canary.mapped_records >= 1_000 { Ok(()) } else { Err(canary.to_string()) }
        });
        stamped::lay(&folder, guests::stamp(3));
        let reloaded = ask(Ask::Reload);
        assert_eq!(reloaded.outcome, Outcome::Swapped, "{reloaded}");
        let canary = reloader.canary().unwrap();
        assert_eq!(canary.state, CanaryState::RolledBack);
        assert!(canary.to_string().contains("another generation took the place"), "{canary}");
        produce();
        stamped::wait_committed(&world);
        assert!(app.stop(Duration::from_secs(20)).unwrap());

        assert_sides(&world);
        assert!(kafka.read(&world.dead).is_empty());
    });
}

/// Fails unless each record is of one version, and a key that went to the candidate stayed there.
fn assert_sides(world: &World) {
    let arrivals = stamped::arrivals(world);
    let verdict = stamped::books(&arrivals).close(&stamped::ends(world));
    assert!(verdict.holds() && verdict.by_version.len() == 3, "{verdict:?}");
    let written = world.kafka.read(&world.topic).into_iter();
    let keys: BTreeMap<(i32, u64), Vec<u8>> = written
        .map(|record| {
            let offset = u64::try_from(record.offset).unwrap();
            ((record.partition.unwrap(), offset), record.key.unwrap())
        })
        .collect();
    let mut versions: BTreeMap<&[u8], Vec<u64>> = BTreeMap::new();
    for event in &arrivals {
        versions.entry(&keys[&(event.partition, event.offset)]).or_default().push(event.version);
    }
    assert!(versions.values().all(|of| of.is_sorted()), "a key went back and forth: {versions:?}");
    let moved = versions.values().filter(|of| of.contains(&2)).count();
    assert!((60..140).contains(&moved), "{moved} of {STAMPED_KEYS} keys");
}
