//! Another generation takes the place of the one that runs, against a real Kafka and the emulator.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aep_emulator::{Fault, Kind, Style};
use tempfile::TempDir;
use xylem::app::{App, Swapped};
use xylem::config;
use xylem::generation::Generation;
use xylem::plugin::{Cache, Compile, Engine, Loader};
use xylem::reload::Candidate;
use xylem_tests::kafka::{self, Message};
use xylem_tests::{eventually, eventually_within, guests, http, repository, within};

use crate::world::{ORGANISATION, World, dead_place};

const LIMIT: Duration = Duration::from_mins(3);

/// A process within the test's, and what it runs.
struct Running {
    app: App,
    loader: Loader,
    folder: TempDir,
}

/// What differs between configurations.
struct Settings {
    /// The section `aep`, beyond the organisation.
    aep: String,
    /// The inlet of `orders`.
    inlet: String,
    /// Further destinations.
    destinations: String,
    /// What the pipeline `orders` says.
    chain: String,
    /// Further keys of it.
    orders: String,
    /// Further pipelines.
    further: String,
}

impl Settings {
    fn new(world: &World) -> Self {
        Self {
            aep: String::new(),
            inlet: world.emulator.inlet_url("orders"),
            destinations: String::new(),
            chain: another_chain(0),
            orders: String::new(),
            further: String::new(),
        }
    }

    fn text(&self, world: &World) -> String {
        format!(
            "kafka: {{brokers: '{brokers}', group: {group}, start: {start}, session_timeout_ms: 6000}}
aep: {{organisation: {ORGANISATION}{aep}}}
quota: {{messages_per_second: 1000000, requests_per_second: 1000000}}
admin: {{listen: '127.0.0.1:0'}}
plugins:
  hostile: {{component: {hostile}}}
destinations:
  orders:
    inlet: {inlet}
    dataset: orders
    schema: {{id: 'https://ns.adobe.com/acme/schemas/order', file: {schema}}}
    batch: {{linger_ms: 5, max_messages: 50}}
{destinations}pipelines:
  orders:
    topics: [{topic}]
    chain: [{chain}]
    destinations: [orders]
    dead_letter: {{topic: {dead}, storm: {{percent: 50, records: 20}}}}
    quarantine: {{percent: 100, records: 20}}
{orders}{further}",
            brokers = world.kafka.bootstrap(),
            group = world.group,
            start = world.start,
            aep = self.aep,
            hostile = guests::built("hostile").display(),
            inlet = self.inlet,
            schema = repository().join("tests/bench/order/schema.json").display(),
            destinations = self.destinations,
            topic = world.topic,
            chain = self.chain,
            dead = world.dead,
            orders = self.orders,
            further = self.further,
        )
    }
}

impl Running {
    fn start(world: &World, settings: &Settings) -> Self {
        let cache = Cache::private(guests::folder().join("native"));
        let loader = Loader::new(Engine::new().unwrap(), cache, Compile::InProcess);
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("secret"), "old").unwrap();
        let file = folder.path().join("xylem.yaml");
        std::fs::write(&file, settings.text(world)).unwrap();
        let loaded = Arc::new(config::load(&file).unwrap());
        let generation = Arc::new(Generation::build(&loaded, &loader, None).unwrap());
        let app = App::start_candidate(&Candidate { loaded, generation, elsewhere: None }).unwrap();
        Self { app, loader, folder }
    }

    fn swap(&self, world: &World, settings: &Settings) -> Swapped {
        std::fs::write(self.folder.path().join("xylem.yaml"), settings.text(world)).unwrap();
        self.swap_files()
    }

    /// To what the files hold.
    fn swap_files(&self) -> Swapped {
        let loaded = config::load(&self.folder.path().join("xylem.yaml")).unwrap();
        let running = self.app.live().generation();
        let next = Generation::build(&loaded, &self.loader, Some(&running)).unwrap();
        assert!(self.app.live().refuses(&loaded).is_empty());
        self.app.live().swap(&loaded, &Arc::new(next)).unwrap()
    }

    fn status(&self) -> serde_json::Value {
        let port = self.app.admin_address().port();
        serde_json::from_str(&http::get(port, "/status").unwrap().body).unwrap()
    }

    fn wait_for_partitions(&self, wanted: usize) {
        eventually(|| match self.status()["partitions"].as_array().map(Vec::len) {
            Some(count) if count == wanted => Ok(()),
            count => Err(format!("{count:?} partitions")),
        });
    }

    fn stop(self) {
        assert!(self.app.stop(Duration::from_secs(20)).unwrap(), "not drained");
    }
}

/// Offsets from 0 to `count` of all partitions have arrived; repeats have equal ids and stand in order, too.
fn assert_arrived(world: &World, partitions: i32, count: i64) {
    let arrived: BTreeSet<(i32, i64)> = world.arrivals().into_iter().collect();
    for partition in 0..partitions {
        for offset in 0..count {
            assert!(arrived.contains(&(partition, offset)), "{partition}: {offset} is lost");
        }
    }
    let mut first = BTreeSet::new();
    let new: Vec<(i32, i64)> =
        world.arrivals().into_iter().filter(|place| first.insert(*place)).collect();
    World::assert_in_order(&new);
}

fn wait_arrived(world: &World, count: usize) {
    eventually_within(Duration::from_mins(1), || {
        let arrived: BTreeSet<(i32, i64)> = world.arrivals().into_iter().collect();
        if arrived.len() >= count { Ok(()) } else { Err(format!("{} of {count}", arrived.len())) }
    });
}

/// Another configuration of the plugin, which does the same.
fn another_chain(number: usize) -> String {
    format!("{{plugin: hostile, settings: {{on: never-{number}}}}}")
}

#[test]
fn invariant_5_swaps_under_load_lose_and_reorder_nothing() {
    within(LIMIT, || {
        let Some(kafka) = kafka::shared() else { return };
        let world = World::new(kafka, 4, Style::Production);
        let mut settings = Settings::new(&world);
        let running = Running::start(&world, &settings);
        running.wait_for_partitions(4);
        let mut names = BTreeSet::new();
        for round in 0..20_u64 {
            world.kafka.produce_stamped(
                &world.topic,
                0..4,
                round * 100..(round + 1) * 100,
                |partition, sequence| {
                    let number = u64::try_from(partition).unwrap() * 1_000_000 + sequence;
                    event(number).into_bytes()
                },
            );
            settings.chain = another_chain(usize::try_from(round % 3).unwrap());
            let swapped = running.swap(&world, &settings);
            assert_eq!(swapped, Swapped::default());
            names.insert(running.app.live().generation().name.to_string());
        }
        assert_eq!(names.len(), 3);
        wait_arrived(&world, 8_000);
        assert_eq!(world.arrivals().len(), 8_000, "nothing is repeated");
        assert_arrived(&world, 4, 2_000);
        let status = running.status();
        let generations = status["partitions"][0]["generations"].as_array().unwrap();
        let known =
            |entry: &serde_json::Value| names.contains(entry["generation"].as_str().unwrap());
        assert!(!generations.is_empty() && generations[1..].iter().all(known), "{status}");
        running.stop();
        world.assert_committed();
    });
}

/// An event of the order schema.
fn event(number: u64) -> String {
    xylem_bench_order::map(&xylem_bench_order::workload::order(number)).unwrap().unwrap_or_else(
        || {
            // One that the plugin would park.
            xylem_bench_order::map(&xylem_bench_order::workload::order(1)).unwrap().unwrap()
        },
    )
}

fn produce(world: &World, partitions: i32, sequences: std::ops::Range<u64>) {
    world.kafka.produce_stamped(&world.topic, 0..partitions, sequences, |partition, sequence| {
        event(u64::try_from(partition).unwrap() * 1_000_000 + sequence).into_bytes()
    });
}

#[test]
fn a_pipeline_comes_and_goes_while_another_goes_on() {
    within(LIMIT, || {
        let Some(kafka) = kafka::shared() else { return };
        let world = World::new(kafka, 2, Style::Production);
        let second = kafka.topic("second", 2);
        let mut settings = Settings::new(&world);
        let running = Running::start(&world, &settings);
        running.wait_for_partitions(2);
        produce(&world, 2, 0..100);
        settings.further = format!(
            "  second: {{topics: [{second}], chain: [{chain}], destinations: [orders], dead_letter: {{topic: {dead}}}}}\n",
            chain = settings.chain,
            dead = world.dead
        );
        let swapped = running.swap(&world, &settings);
        assert_eq!((&swapped.topics_added, &swapped.again), (&vec![second.clone()], &vec![]));
        running.wait_for_partitions(4);
        produce(&world, 2, 100..200);
        kafka.produce(&second, (0..100).map(|number| Message::new(event(number))));
        world.wait_accepted(500);

        settings.further.clear();
        let swapped = running.swap(&world, &settings);
        assert_eq!(swapped.topics_removed, std::slice::from_ref(&second));
        running.wait_for_partitions(2);
        assert_eq!(kafka.committed(&world.group, &second), kafka.ends(&second), "drained");
        produce(&world, 2, 200..300);
        kafka.produce(&second, (0..10).map(|number| Message::new(event(number))));
        world.wait_accepted(700);
        running.stop();
        world.assert_committed();
        assert_eq!(world.arrivals().len(), 700, "none of the pipeline that is gone");
    });
}

/// The inlet does not exist, which is why it is corrected: what is stuck there is given up and goes to
/// the right one, in order.
#[test]
fn invariant_3_a_destination_is_corrected_while_requests_are_stuck() {
    within(LIMIT, || {
        let Some(kafka) = kafka::shared() else { return };
        let world = World::new(kafka, 3, Style::Production);
        let mut settings = Settings::new(&world);
        let right = std::mem::replace(&mut settings.inlet, world.emulator.inlet_url("wrong"));
        let wrong = world.emulator.control().fault(Fault::status(404).at("wrong"));
        let running = Running::start(&world, &settings);
        running.wait_for_partitions(3);
        produce(&world, 3, 0..500);
        eventually(|| match world.emulator.control().took_effect(wrong) {
            0 => Err("not asked yet".to_owned()),
            _ => Ok(()),
        });
        settings.inlet = right;
        let swapped = running.swap(&world, &settings);
        assert_eq!(swapped.destinations_changed, ["orders"]);
        assert_eq!(swapped.given_up.len(), 3, "{swapped:?}");
        produce(&world, 3, 500..600);
        wait_arrived(&world, 1_800);
        running.stop();
        assert_arrived(&world, 3, 600);
        world.assert_committed();
        assert_eq!(kafka.read(&world.dead).len(), 0);
    });
}

/// What the old one can deliver it delivers, and the new one comes behind it.
#[test]
fn invariant_3_a_destination_that_changes_delivers_what_it_has_first() {
    within(LIMIT, || {
        let Some(kafka) = kafka::shared() else { return };
        let world = World::new(kafka, 3, Style::Production);
        let mut settings = Settings::new(&world);
        let delay = world.emulator.control().fault(Fault::new(Kind::Latency { ms: 300 }));
        let running = Running::start(&world, &settings);
        running.wait_for_partitions(3);
        produce(&world, 3, 0..300);
        world.wait_accepted(1);
        settings.inlet = world.emulator.inlet_url("other");
        let swapped = std::thread::scope(|scope| {
            scope.spawn(|| produce(&world, 3, 300..600));
            running.swap(&world, &settings)
        });
        produce(&world, 3, 600..700);
        assert_eq!((swapped.destinations_changed.len(), swapped.given_up.len()), (1, 0));
        world.emulator.control().clear(delay);
        wait_arrived(&world, 2_100);
        running.stop();
        assert_eq!(world.arrivals().len(), 2_100, "nothing is repeated");
        assert_arrived(&world, 3, 700);
        let summary = world.emulator.control().summary();
        assert!(summary.inlets["orders"].accepted > 0 && summary.inlets["other"].accepted > 0);
    });
}

/// All destinations change, and one of them is stuck: the other one goes on meanwhile.
#[test]
fn a_destination_that_is_stuck_holds_up_no_other() {
    within(LIMIT, || {
        let Some(kafka) = kafka::shared() else { return };
        let world = World::new(kafka, 1, Style::Production);
        let stuck = kafka.topic("stuck", 1);
        let mut settings = Settings::new(&world);
        let schema = repository().join("tests/bench/order/schema.json");
        settings.destinations = format!(
            "  stuck:
    inlet: {inlet}
    dataset: stuck
    schema: {{id: 'https://ns.adobe.com/acme/schemas/order', file: {schema}}}
",
            inlet = world.emulator.inlet_url("stuck"),
            schema = schema.display(),
        );
        settings.further = format!(
            "  stuck:
    topics: [{stuck}]
    chain: [{chain}]
    destinations: [stuck]
    dead_letter: {{topic: {dead}}}
",
            chain = another_chain(0),
            dead = world.dead,
        );
        let away = world.emulator.control().fault(Fault::status(404).at("stuck"));
        let running = Running::start(&world, &settings);
        running.wait_for_partitions(2);
        kafka.produce_stamped(&stuck, 0..1, 0..10, |_, sequence| event(sequence).into_bytes());
        eventually(|| match world.emulator.control().took_effect(away) {
            0 => Err("not asked yet".to_owned()),
            _ => Ok(()),
        });
        settings.aep = ", timeout_ms: 20000".to_owned();
        let (live, before) = (Arc::clone(running.app.live()), running.app.live().generation());
        let swapped = std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                let swapped = || !Arc::ptr_eq(&live.generation(), &before);
                eventually(|| swapped().then_some(()).ok_or("not swapped yet".to_owned()));
                // What comes from here on goes by the new one, while the stuck one is waited for.
                produce(&world, 1, 0..10);
                wait_arrived(&world, 10);
                Instant::now()
            });
            let swapped = running.swap(&world, &settings);
            let over = Instant::now();
            assert!(other.join().unwrap() < over, "it waited for the stuck one");
            swapped
        });
        assert_eq!(swapped.destinations_changed, ["orders", "stuck"]);
        assert_eq!(swapped.given_up.len(), 1, "{swapped:?}");
        // What is stuck may or may not have begun again.
        running.app.stop(Duration::from_secs(1)).unwrap();
    });
}

#[test]
fn a_secret_that_is_rotated_is_used_from_then_on() {
    within(LIMIT, || {
        let Some(kafka) = kafka::shared() else { return };
        let world = World::new(kafka, 2, Style::Production);
        let mut settings = Settings::new(&world);
        settings.aep = format!(
            ", auth: {{token_url: '{}', client_id: id, client_secret: '${{file:secret}}', scopes: [openid]}}",
            world.emulator.token_url()
        );
        let refused = world.emulator.control().fault(Fault::status(401).at_token());
        let running = Running::start(&world, &settings);
        running.wait_for_partitions(2);
        produce(&world, 2, 0..100);
        eventually(|| match world.emulator.control().took_effect(refused) {
            0 => Err("no token asked for".to_owned()),
            _ => Ok(()),
        });
        world.emulator.control().clear(refused);
        std::fs::write(running.folder.path().join("secret"), "new").unwrap();
        // The old credential is asked for again after a minute only.
        let swapped = running.swap_files();
        assert_eq!(swapped.destinations_changed, ["orders"]);
        wait_arrived(&world, 200);
        assert!(running.app.is_ready());
        running.stop();
        assert_arrived(&world, 2, 100);
    });
}

#[test]
fn invariant_9_another_epoch_gives_other_ids_from_the_settled_prefix_on() {
    within(LIMIT, || {
        let Some(kafka) = kafka::shared() else { return };
        let world = World::new(kafka, 2, Style::Production);
        let mut settings = Settings::new(&world);
        let running = Running::start(&world, &settings);
        running.wait_for_partitions(2);
        produce(&world, 2, 0..100);
        world.wait_accepted(200);
        settings.orders = "    id_epoch: '2'\n".to_owned();
        let swapped = running.swap(&world, &settings);
        assert_eq!(swapped.again.len(), 2, "{swapped:?}");
        produce(&world, 2, 100..200);
        world.wait_accepted(400);
        running.stop();
        world.assert_committed();
        let lake = world.emulator.control().lake(&aep_emulator::LakeQuery {
            limit: usize::MAX,
            ..aep_emulator::LakeQuery::default()
        });
        let mut prefixes: BTreeMap<String, BTreeSet<i64>> = BTreeMap::new();
        for entry in &lake {
            let mut parts = entry.msg_id.split('.');
            let (prefix, _, offset) = (parts.next(), parts.next(), parts.next());
            let offset = offset.unwrap().parse().unwrap();
            prefixes.entry(prefix.unwrap().to_owned()).or_default().insert(offset);
        }
        let mut ranges: Vec<(i64, i64)> =
            prefixes.values().map(|of| (*of.first().unwrap(), *of.last().unwrap())).collect();
        ranges.sort_unstable();
        assert_eq!(ranges, [(0, 99), (100, 199)]);
    });
}

#[test]
fn a_halted_pipeline_goes_on_with_a_better_plugin() {
    within(LIMIT, || {
        let Some(kafka) = kafka::shared() else { return };
        let world = World::new(kafka, 2, Style::Production);
        let mut settings = Settings::new(&world);
        settings.chain = "{plugin: hostile, settings: {misbehave: trap}}".to_owned();
        let running = Running::start(&world, &settings);
        running.wait_for_partitions(2);
        produce(&world, 2, 0..100);
        eventually(|| match running.status()["partitions"][0]["halted"].as_str() {
            Some(_) => Ok(()),
            None => Err("not halted".to_owned()),
        });
        produce(&world, 2, 100..600);
        settings.chain = another_chain(1);
        let swapped = running.swap(&world, &settings);
        assert_eq!(swapped.lifted, ["orders"]);
        eventually_within(Duration::from_mins(1), || {
            let dead = kafka.read(&world.dead).len();
            let arrived = world.arrivals().len();
            if arrived + dead >= 1_200 { Ok(()) } else { Err(format!("{arrived} + {dead}")) }
        });
        running.stop();
        world.assert_nothing_lost();
        world.assert_committed();
        let dead: BTreeSet<(i32, i64)> = kafka.read(&world.dead).iter().map(dead_place).collect();
        let arrived: BTreeSet<(i32, i64)> = world.arrivals().into_iter().collect();
        assert!(dead.is_disjoint(&arrived), "one fate each");
        assert!(!dead.is_empty() && arrived.len() >= 1_000);
    });
}
