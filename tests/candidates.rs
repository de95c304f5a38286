//! Candidates that must not get in: each is refused with words that its author can act on, while what runs goes
//! on.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use regex::Regex;
use xylem::app::App;
use xylem::config::Environment;
use xylem::plugin::{Cache, Compile, Engine, Loader};
use xylem::reload::{Ask, Cause, Outcome, Report, Source};
use xylem_tests::candidates::BAD;
use xylem_tests::{binary, guests, kafka, within};

use crate::stamped;
use crate::world::World;

const LIMIT: Duration = Duration::from_mins(5);

#[test]
fn invariant_6_bad_candidates_are_refused_with_reasons_while_the_stream_goes_on() {
    // Built outside the limit, since that may take longer than any test.
    let xylem = binary("xylem");
    within(LIMIT, move || {
        let Some(kafka) = kafka::shared() else { return };
        let (world, stop) = (&stamped::world(kafka), &AtomicBool::new(false));
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        stamped::lay(folder, guests::stamp(1));
        put(world, folder, "{}");
        let cache = Cache::private(folder.join("native"));
        let loader = Loader::new(Engine::new().unwrap(), cache, Compile::Child(xylem));
        let source = Source::File(folder.join("xylem.yaml"), Environment::new());
        let app = App::start(source, loader, None).unwrap();
        let page = std::thread::scope(|scope| {
            scope.spawn(|| stamped::load(world, stop));
            world.wait_accepted(2_000);
            let page = refusals(&app, world, folder);
            stamped::lay(folder, guests::stamp(2));
            put(world, folder, "{}");
            let good = reload(&app);
            stop.store(true, Ordering::Relaxed);
            assert_eq!(good.outcome, Outcome::Swapped, "{good}");
            page
        });
        stamped::wait_committed(world);
        assert!(app.stop(Duration::from_secs(10)).unwrap());
        let arrivals = stamped::arrivals(world);
        let verdict = stamped::books(&arrivals).close(&stamped::ends(world));
        assert!(verdict.holds() && verdict.changes.1 <= 1, "{verdict:?}");
        assert!(!verdict.by_version.contains_key(&3), "{verdict:?}");
        assert_eq!(kafka.read(&world.dead).len(), 0, "a candidate's fault reached a record");
        insta::assert_snapshot!("bad_candidates", page);
    });
}

/// Tries all of them; what was said of each.
fn refusals(app: &App, world: &World, folder: &Path) -> String {
    let mut page = String::new();
    for bad in BAD {
        let name = bad.name;
        bad.lay(&folder.join("candidate.wasm"));
        put(world, folder, bad.settings);
        let before = accepted(world);
        let report = reload(app);
        assert_eq!(report.outcome, Outcome::Refused, "{name}: {report}");
        assert_eq!(report.before, report.running, "{name}");
        page.extend(["## ", name, "\n\n", &in_general(&report, world, folder), "\n"]);
        // What runs goes on.
        world.wait_accepted(before + 300);
    }
    page
}

fn accepted(world: &World) -> u64 {
    world.emulator.control().summary().inlets.values().map(|inlet| inlet.accepted).sum()
}

fn put(world: &World, folder: &Path, settings: &str) {
    guests::lay(
        &folder.join("xylem.yaml"),
        stamped::configuration(world, settings) + "admin: {listen: '127.0.0.1:0'}\n",
    );
}

fn reload(app: &App) -> Report {
    app.reloader().unwrap().ask(Ask::Reload, Cause::Asked).blocking_recv().unwrap()
}

/// A report without what differs from run to run.
fn in_general(report: &Report, world: &World, folder: &Path) -> String {
    let text = report.to_string().replace(&folder.display().to_string(), "FOLDER");
    let text = text.replace(&world.topic, "TOPIC");
    let rules = [
        (r"generation [0-9a-f]{12}", "generation NAME"),
        (r"\(\d+ ms\)", "(N ms)"),
        (r"TOPIC-\d+@\d+", "TOPIC-P@N"),
        (r"\d+\.\d+ times", "N times"),
        (r"\d+\.\d+ us", "N us"),
        (r"used \d+\.\d+", "used N"),
        (r"(the first \d+ of )?\d+ recent records, \d+ would", "N recent records, N would"),
    ];
    rules.iter().fold(text, |text, (pattern, general)| {
        Regex::new(pattern).unwrap().replace_all(&text, *general).into_owned()
    })
}
