//! What changes what runs, in a real process: who may ask for it, each way to ask does the same, and files
//! that change are taken up by themselves.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use aep_emulator::Style;
use rustix::process::Signal;
use serde_json::Value;
use xylem_bench_order::workload;
use xylem_tests::kafka::{self, Message};
use xylem_tests::{Setup, Xylem, eventually, http, run_to_end, within};

use crate::world::World;

const LIMIT: Duration = Duration::from_mins(3);

/// What `admin.token` says.
const TOKEN: &str = "geheim-of-the-operator";

/// A configuration that is reloaded on request only.
const UNWATCHED: &str = "reload: {watch: false}\n";

fn orders(world: &World, further: &str) -> Setup {
    world.setup("order", "{plugin: order}", further)
}

/// Adds the token, in a file, to the section `admin` that stands last.
fn with_token(setup: Setup) -> Setup {
    let setup = setup.file("token", TOKEN);
    let path = setup.folder().join("xylem.yaml");
    let text = std::fs::read_to_string(&path).unwrap() + "  token: '${file:token}'\n";
    std::fs::write(path, text).unwrap();
    setup
}

/// Changes the configuration in a way that can be swapped in.
fn edit(folder: &Path, from: &str, to: &str) {
    let path = folder.join("xylem.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{text}");
    // As an editor does it.
    std::fs::write(folder.join("xylem.yaml.new"), text.replace(from, to)).unwrap();
    std::fs::rename(folder.join("xylem.yaml.new"), path).unwrap();
}

/// Changes the CPU budget of the plugin, to that of the round.
fn change(xylem: &Xylem, round: usize) {
    let budget = |round: usize| format!("max_cpu_ms: {}", 200 + round);
    edit(xylem.folder(), &budget(round - 1), &budget(round));
}

/// The socket that the process made for itself.
pub(crate) fn socket(folder: &Path) -> PathBuf {
    let mut found = std::fs::read_dir(folder.join("xylem")).unwrap();
    found.next().unwrap().unwrap().path()
}

/// The newest report once there are so many.
fn report(xylem: &Xylem, count: usize) -> Value {
    eventually(|| {
        let reloads = xylem.status()["reloads"].clone();
        if reloads.as_array().unwrap().len() == count {
            Ok(reloads[0].clone())
        } else {
            Err(reloads.to_string())
        }
    })
}

fn words(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn each_way_to_ask_does_the_same() {
    within(LIMIT, || {
        let Some(kafka) = kafka::shared() else { return };
        let world = World::new(kafka, 1, Style::Production);
        let mut xylem = with_token(orders(&world, UNWATCHED)).start();
        xylem.wait_ready();
        let folder = xylem.folder().to_owned();
        assert_eq!(report(&xylem, 1)["cause"], "start");
        let authorization = format!("Authorization: Bearer {TOKEN}\r\n");
        let ways: [(&str, &dyn Fn()); 5] = [
            ("signal", &|| xylem.signal(Signal::HUP)),
            ("asked", &|| {
                let answer = http::post(xylem.admin_port(), "/reload", &authorization).unwrap();
                assert_eq!(answer.status, 200, "{answer:?}");
            }),
            ("asked", &|| {
                let answer = http::post_local(&socket(&folder), "/reload?wait=false").unwrap();
                assert_eq!((answer.status, &*answer.body), (202, "{\"asked\":true}"));
            }),
            ("asked", &|| {
                let said = words(&run_to_end(&folder, &["reload", "-c", "xylem.yaml", "--wait"]));
                assert!(
                    said.0 == Some(0) && said.1.starts_with("swapped: no step refuses it"),
                    "{said:?}"
                );
            }),
            ("asked", &|| {
                let at = socket(&folder);
                let said = run_to_end(&folder, &["reload", "--socket", at.to_str().unwrap()]);
                assert_eq!(words(&said).0, Some(0), "{said:?}");
            }),
        ];
        for (round, (cause, ask)) in ways.into_iter().enumerate() {
            change(&xylem, round + 1);
            ask();
            let report = report(&xylem, round + 2);
            assert_eq!((&report["cause"], &report["outcome"]), (&cause.into(), &"swapped".into()));
            let steps = report["steps"].as_array().unwrap();
            let passed = |step: &Value| step["passed"] != "no";
            assert!(steps.len() > 5 && steps.iter().all(passed), "{report:#}");
        }

        let back = words(&run_to_end(&folder, &["rollback", "-c", "xylem.yaml", "--json"]));
        assert_eq!(back.0, Some(0), "{back:?}");
        let back: Value = serde_json::from_str(&back.1).unwrap();
        assert_eq!(back["outcome"], "swapped");
        assert!(!xylem.stderr().contains(TOKEN) && !xylem.status().to_string().contains(TOKEN));
        world.produce(1, 10);
        world.wait_accepted(10);
        let at = socket(&folder);
        let (status, setup) = xylem.stop();
        assert!(status.success() && !at.exists(), "the socket goes with the process");
        drop(setup);
    });
}

/// What changes what runs.
const CHANGES: [&str; 8] = [
    "/reload",
    "/reload?wait=false",
    "/rollback",
    "/shadow",
    "/shadow/stop",
    "/canary",
    "/canary/stop",
    "/canary/promote",
];

#[test]
fn invariant_10_who_may_not_ask_changes_nothing() {
    within(LIMIT, || {
        let Some(kafka) = kafka::shared() else { return };
        let world = World::new(kafka, 1, Style::Production);
        let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
        let from_a_page = bearer(TOKEN) + "Origin: http://127.0.0.1:9600\r\n";
        let cases = [
            (false, String::new(), 403),
            (false, bearer(TOKEN), 403),
            (false, bearer(""), 403),
            (true, String::new(), 401),
            (true, bearer("geheim-of-the-operato"), 401),
            (true, from_a_page, 403),
        ];
        for token in [false, true] {
            let setup = orders(&world, UNWATCHED);
            let mut xylem = if token { with_token(setup).start() } else { setup.start() };
            xylem.wait_ready();
            change(&xylem, 1);
            let before = xylem.status();
            for (_, headers, status) in cases.iter().filter(|(with, ..)| *with == token) {
                for path in CHANGES {
                    let answer = http::post(xylem.admin_port(), path, headers).unwrap();
                    assert_eq!(answer.status, *status, "{headers:?}: {answer:?}");
                    assert!(!answer.body.contains(TOKEN), "{answer:?}");
                }
                // A shadow's report may hold contents of records.
                for path in ["/shadow", "/canary"] {
                    let answer = http::get_with(xylem.admin_port(), path, headers).unwrap();
                    assert_eq!(answer.status, *status, "{headers:?}: {answer:?}");
                }
            }
            let after = xylem.status();
            assert_eq!(before["reloads"], after["reloads"], "nobody was listened to");
            // The thread takes one request after the other: this is the first.
            let said = http::post_local(&socket(xylem.folder()), "/reload").unwrap();
            assert_eq!(said.status, 200, "{said:?}");
            assert_eq!(report(&xylem, 2)["outcome"], "swapped");
            xylem.stop();
        }
    });
}

#[test]
fn the_commands_end_as_scripts_expect() {
    within(LIMIT, || {
        let Some(kafka) = kafka::shared() else { return };
        let world = World::new(kafka, 1, Style::Production);
        let mut xylem = orders(&world, UNWATCHED).start();
        xylem.wait_ready();
        let folder = xylem.folder().to_owned();
        let ask = |arguments: &[&str]| words(&run_to_end(&folder, arguments));
        let reload = ["reload", "-c", "xylem.yaml", "--wait"];

        let said = ask(&reload);
        assert!(said.0 == Some(0) && said.1.starts_with("unchanged: "), "{said:?}");
        let said = ask(&["rollback", "-c", "xylem.yaml"]);
        let nothing = "refused: there is no generation before this one";
        assert!(said.0 == Some(1) && said.1.starts_with(nothing), "{said:?}");
        edit(&folder, "dataset: orders", "dataset: [orders");
        let said = ask(&reload);
        assert!(said.0 == Some(1) && said.1.contains("NO configuration"), "{said:?}");
        assert!(said.1.contains("--> xylem.yaml:"), "{said:?}");
        edit(&folder, "dataset: [orders", "dataset: orders");
        let group = format!("group: {}", world.group);
        edit(&folder, &group, "group: another");
        let said = ask(&[&reload[..], &["--json"]].concat());
        let report: Value = serde_json::from_str(&said.1).unwrap();
        assert!(said.0 == Some(2) && report["outcome"] == "restart-needed", "{said:?}");
        edit(&folder, "group: another", &group);
        assert_eq!(ask(&["reload"]).0, Some(2), "which process is meant?");

        // A second process with the same file goes without a socket; with the same socket it does not start.
        let at = socket(&folder);
        let second = ask(&["run", "-c", "xylem.yaml", "--socket", at.to_str().unwrap()]);
        assert!(second.0 == Some(2) && second.2.contains("another xylem answers on"), "{second:?}");
        assert_eq!(ask(&reload).0, Some(0));

        // Killed, it leaves its socket; the next one takes its place.
        let setup = xylem.kill9();
        assert!(at.exists());
        let said = ask(&reload);
        let place = format!("no xylem answers (`{}`: ", at.display());
        assert!(said.0 == Some(3) && said.2.starts_with(&place), "{said:?}");
        let mut again = setup.start();
        again.wait_ready();
        assert_eq!(ask(&reload).0, Some(0));
        let (status, setup) = again.stop();
        assert!(status.success());
        drop(setup);
    });
}

#[test]
fn invariant_6_files_are_taken_up_by_themselves_and_a_deleted_one_is_not() {
    within(LIMIT, || {
        let Some(kafka) = kafka::shared() else { return };
        let world = World::new(kafka, 1, Style::Production);
        let mut xylem = orders(&world, "").start();
        xylem.wait_ready();
        change(&xylem, 1);
        let swapped = report(&xylem, 2);
        assert_eq!((&swapped["cause"], &swapped["outcome"]), (&"files".into(), &"swapped".into()));

        let (file, aside) = (xylem.folder().join("xylem.yaml"), xylem.folder().join("aside"));
        std::fs::rename(&file, &aside).unwrap();
        let refused = report(&xylem, 3);
        assert_eq!(
            (&refused["outcome"], &refused["running"]),
            (&"refused".into(), &swapped["running"])
        );
        assert!(xylem.metrics().contains("xylem_files_not_running 1"));
        world.produce(1, 10);
        world.wait_accepted(10);
        std::fs::rename(&aside, &file).unwrap();
        eventually(|| {
            let metrics = xylem.metrics();
            if metrics.contains("xylem_files_not_running 0") { Ok(()) } else { Err(metrics) }
        });
        change(&xylem, 2);
        assert_eq!(report(&xylem, 4)["outcome"], "swapped");
        xylem.stop();
    });
}

/// A command, while records come all the time.
fn under_load(world: &World, folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    std::thread::scope(|scope| {
        let command = scope.spawn(|| words(&run_to_end(folder, arguments)));
        let mut number = 0..;
        while !command.is_finished() {
            let some = number.by_ref().take(50);
            world.kafka.produce(&world.topic, some.map(|n| Message::new(workload::order(n))));
        }
        command.join().unwrap()
    })
}

#[test]
fn shadow_and_canary_run_beside_and_end_as_scripts_expect() {
    within(LIMIT, || {
        let Some(kafka) = kafka::shared() else { return };
        let world = World::new(kafka, 1, Style::Production);
        let mut xylem = orders(&world, UNWATCHED).start();
        xylem.wait_ready();
        let folder = xylem.folder().to_owned();
        let running = std::fs::read_to_string(folder.join("xylem.yaml")).unwrap();
        let next = running.replace("max_cpu_ms: 200", "max_cpu_ms: 250");
        assert_ne!(running, next);
        std::fs::write(folder.join("next.yaml"), next).unwrap();

        let said = words(&run_to_end(&folder, &["shadow", "-c", "xylem.yaml", "--report"]));
        assert!(said.0 == Some(1) && said.1.contains("there was no shadow yet"), "{said:?}");
        let beside = ["-c", "xylem.yaml", "--candidate", "next.yaml", "--seconds", "60", "--wait"];
        let shadow = [&["shadow"], &beside[..], &["--share", "1", "--records", "20"]].concat();
        let said = under_load(&world, &folder, &shadow);
        assert!(said.0 == Some(0) && said.1.contains("20 records: 20 equal"), "{said:?}");
        // Nobody writes: nothing was compared, and nothing is known.
        let idle = ["--candidate", "next.yaml", "--seconds", "1", "--wait"];
        let idle = [&["shadow", "-c", "xylem.yaml"], &idle[..]].concat();
        let said = words(&run_to_end(&folder, &idle));
        assert!(said.0 == Some(1) && said.1.contains("no record was compared"), "{said:?}");

        let never = ["--share", "0.5", "--seconds", "1", "--wait", "--json"];
        let never =
            [&["canary", "-c", "xylem.yaml", "--candidate", "next.yaml"], &never[..]].concat();
        let said = words(&run_to_end(&folder, &never));
        let report: Value = serde_json::from_str(&said.1).unwrap_or_default();
        assert!(said.0 == Some(1) && report["state"] == "rolled-back", "{said:?}");

        let canary = [&["canary"], &beside[..], &["--share", "0.5", "--min-records", "5"]].concat();
        let said = under_load(&world, &folder, &canary);
        assert!(said.0 == Some(0) && said.1.contains("promoted"), "{said:?}");
        let said = words(&run_to_end(&folder, &["canary", "-c", "xylem.yaml", "--stop"]));
        assert!(said.0 == Some(1), "nothing runs beside any more: {said:?}");
        xylem.stop();
    });
}
