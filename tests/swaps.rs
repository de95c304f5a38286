//! Promise 5 under load: plugins are swapped, and every record is of one version.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use xylem_tests::versions::{Stamped, Versions};
use xylem_tests::{binary, kafka, within};

const LIMIT: Duration = Duration::from_mins(5);

/// Forty swaps between two versions of a plugin, on eight partitions. A thousand, with their bounds on
/// latency, are a chore: `cargo xtask swaps`.
#[test]
fn invariant_5_a_record_begins_and_ends_under_one_generation() {
    within(LIMIT, || {
        if kafka::shared().is_none() {
            return;
        }
        let mut swaps = Command::new(binary("xylem-bench"));
        swaps.args(["swaps", "--json", "--untimed", "--count", "40", "--stretch", "10"]);
        swaps.args(["--every-ms", "100", "--records", "40000", "--rate", "4000"]);
        let output = swaps.arg("--xylem").arg(binary("xylem")).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}\n{words}");
        let report: Value = serde_json::from_str(&said).unwrap();
        let events = report["ledger"]["events"].as_u64().unwrap();
        assert!(events >= 120_000 && report["swaps"] == 40, "{said}");
    });
}

/// Books of one partition whose records become two events each.
fn books(events: &[(u64, u64, u64)]) -> xylem_tests::versions::Verdict {
    let mut versions = Versions::new(2);
    for (offset, index, version) in events.iter().copied() {
        versions.arrive(Stamped { partition: 0, offset, index, version });
    }
    versions.close(&BTreeMap::from([(0, 2)]))
}

#[test]
fn a_whole_ledger_of_versions_holds_and_every_mistake_is_seen() {
    let whole = books(&[(0, 0, 1), (0, 1, 1), (1, 0, 2), (1, 1, 2), (0, 1, 1)]);
    assert!(whole.holds() && whole.changes == (1, 1), "{whole:?}");
    assert_eq!((whole.events, whole.repeats, whole.by_version.len()), (4, 1, 2));

    let mixed = books(&[(0, 0, 1), (0, 1, 2), (1, 0, 2), (1, 1, 2)]);
    assert!(mixed.mixed == 1 && !mixed.holds(), "{mixed:?}");
    let late = books(&[(0, 0, 1), (1, 0, 1), (0, 1, 1), (1, 1, 1)]);
    assert!(late.out_of_order == 1 && late.lost == 0 && !late.holds(), "{late:?}");
    let lost = books(&[(0, 0, 1), (1, 0, 1)]);
    assert!(lost.lost == 2 && !lost.holds(), "{lost:?}");
    assert_eq!(books(&[]).lost, 4);
    let strange = books(&[(0, 0, 1), (0, 1, 1), (0, 2, 1), (1, 0, 1), (1, 1, 1), (2, 0, 1)]);
    assert!(strange.strange == 2 && !strange.holds(), "{strange:?}");
}
