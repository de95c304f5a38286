//! Killed in the middle of a reload: what starts again runs a complete generation, and nothing is lost.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use xylem_tests::{Setup, guests, kafka, within};

use crate::stamped;

const LIMIT: Duration = Duration::from_mins(5);

/// Where the gate and the swap can be stopped. A start passes the gate once before.
const STOP_POINTS: [&str; 7] = [
    "gate-read:2",
    "gate-built:2",
    "gate-started:2",
    "gate-passed:2",
    "swap-begin",
    "swap-generation",
    "swap-done",
];

/// Those after which the new generation may have been at work.
const AFTER: [&str; 2] = ["swap-generation", "swap-done"];

#[test]
fn invariant_5_8_a_kill_at_each_stop_point_of_a_reload_loses_nothing() {
    within(LIMIT, || {
        let Some(kafka) = kafka::shared() else { return };
        for point in STOP_POINTS {
            killed_at(kafka, point);
        }
    });
}

fn killed_at(kafka: &'static kafka::Client, point: &str) {
    let (world, stop) = (&stamped::world(kafka), &AtomicBool::new(false));
    let setup = Setup::new(&stamped::configuration(world, "{}"));
    let setup = setup.environment("XYLEM_STOP_AT", point);
    let folder = setup.folder().to_owned();
    stamped::lay(&folder, guests::stamp(1));
    let mut xylem = setup.start();
    xylem.wait_ready();
    let first = xylem.status()["generation"].clone();
    let (again, killed) = std::thread::scope(|scope| {
        scope.spawn(|| stamped::load(world, stop));
        world.wait_accepted(300);
        stamped::lay(&folder, guests::stamp(2));
        xylem.signal(Signal::HUP);
        xylem.wait_stopped();
        let setup = xylem.kill9();
        let killed = stamped::arrivals(world).len();
        let mut again = setup.start();
        again.wait_ready();
        let more = u64::try_from(killed).unwrap() + 300;
        world.wait_accepted(more);
        stop.store(true, Ordering::Relaxed);
        (again, killed)
    });
    stamped::wait_committed(world);
    let second = again.status()["generation"].clone();
    assert!(second.is_string() && second != first, "{point}: {first} and then {second}");
    let (status, _) = again.stop();
    assert_eq!(status.code(), Some(0), "{point}");

    let arrivals = stamped::arrivals(world);
    let (before, after) = arrivals.split_at(killed);
    assert!(before.iter().all(|event| event.version == 1 || AFTER.contains(&point)), "{point}");
    assert!(after.iter().all(|event| event.version == 2), "{point}");
    stamped::assert_whole(&arrivals);
    let verdict = stamped::books(&arrivals).close(&stamped::ends(world));
    let bad = (verdict.lost, verdict.out_of_order, verdict.strange);
    assert_eq!(bad, (0, 0, 0), "{point}: {verdict:?}");
    assert!(kafka.read(&world.dead).is_empty(), "{point}");
}
