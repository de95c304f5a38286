//! A minute of torture: every record has exactly one fate, whatever is killed and whatever fails.

use std::time::Duration;

use serde_json::Value;
use xylem_tests::kafka::Cluster;
use xylem_tests::{run_to_end, within};

const LIMIT: Duration = Duration::from_mins(8);

/// Promises 1 to 5, 8, 9 and 11 under fire. Longer runs are a chore: `cargo xtask torture`.
#[test]
fn invariant_1_2_3_8_9_11_a_minute_of_torture_leaves_every_record_one_fate() {
    within(LIMIT, || {
        let Some(cluster) = Cluster::start() else { return };
        let folder = tempfile::tempdir().unwrap();
        let keep = folder.path().join("run").display().to_string();
        let mut arguments = vec!["--log", "error", "torture", "--json"];
        arguments.extend(["--brokers", cluster.client().bootstrap(), "--keep", &keep]);
        arguments.extend(["--records", "60000", "--seconds", "60", "--seed", "20261122"]);
        let files: Vec<_> = cluster.pid_files().iter().map(|f| f.display().to_string()).collect();
        for file in &files {
            arguments.extend(["--broker-pid-file", file]);
        }
        let output = run_to_end(folder.path(), &arguments);
        let said = String::from_utf8_lossy(&output.stdout);
        let words = format!("{said}\n{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(0), "{words}");
        let report: Value = serde_json::from_str(&said).unwrap();
        let ledger = &report["ledger"];
        let count = |name: &str| ledger[name].as_u64().unwrap();
        let fates = count("delivered") + count("filtered") + count("dead_lettered");
        assert_eq!(fates - count("two_generations"), 60_000);
        // A run in which nothing had to be sent again has proven nothing.
        assert!(count("repeats") > 0, "{words}");
        let faults = report["faults"].as_array().unwrap();
        assert!(faults.iter().all(|fault| fault["took_effect"].as_u64() > Some(0)), "{words}");
    });
}
