//! Killed in the middle of a reload or a rollback: what starts again runs a complete generation, and nothing is lost.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use xylem_tests::{Setup, eventually, guests, http, kafka, within};

use crate::{asked, stamped};

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

/// Those of a rollback, which is the second swap.
const OF_ROLLBACK: [&str; 3] = ["swap-begin:2", "swap-generation:2", "swap-done:2"];

/// Those after which the new generation may have been at work.
const AFTER: [&str; 4] = ["swap-generation", "swap-done", "swap-generation:2", "swap-done:2"];

#[test]
fn invariant_5_8_a_kill_at_each_stop_point_of_a_reload_loses_nothing() {
    within(LIMIT, || {
        let Some(kafka) = kafka::shared() else { return };
        for point in STOP_POINTS {
            killed_at(kafka, point, false);
        }
    });
}

/// The files hold the newer version all the while: it is what starts again.
#[test]
fn invariant_5_8_a_kill_at_each_stop_point_of_a_rollback_loses_nothing() {
    within(LIMIT, || {
        let Some(kafka) = kafka::shared() else { return };
        for point in OF_ROLLBACK {
            killed_at(kafka, point, true);
        }
    });
}

fn killed_at(kafka: &'static kafka::Client, point: &str, rolls_back: bool) {
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
        if rolls_back {
            eventually(|| {
                let versions = stamped::arrivals(world).into_iter().map(|event| event.version);
                versions.max().filter(|newest| *newest == 2).ok_or_else(|| "still 1".to_owned())
            });
            // Who is stopped does not answer; the kill ends the wait.
            let socket = asked::socket(&folder);
            scope.spawn(move || drop(http::post_local(&socket, "/rollback")));
        }
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
    for partition in 0..stamped::PARTITIONS {
        let of = before.iter().filter(|event| event.partition == partition);
        let versions = of.map(|event| event.version).collect::<Vec<_>>();
        let (newest, is_sorted) = (versions.iter().max(), versions.is_sorted());
        assert!(AFTER.contains(&point) || is_sorted, "{point}: one went back");
        assert!(AFTER.contains(&point) || rolls_back || newest <= Some(&1), "{point}");
    }
    assert!(after.iter().all(|event| event.version == 2), "{point}");
    stamped::assert_whole(&arrivals);
    let verdict = stamped::books(&arrivals).close(&stamped::ends(world));
    let bad = (verdict.lost, verdict.out_of_order, verdict.strange);
    assert_eq!(bad, (0, 0, 0), "{point}: {verdict:?}");
    assert!(kafka.read(&world.dead).is_empty(), "{point}");
}
