//! AEP away for a while under a steady load.

use std::process::Command;
use std::time::Duration;

use xylem_tests::{binary, kafka, within};

const LIMIT: Duration = Duration::from_mins(8);

/// Promises 4 and 11: memory stays within its budget, the group keeps its members, nothing is lost or
/// dead-lettered, and the backlog drains as fast as `/status` said. Ten minutes of it are a chore:
/// `cargo xtask bench --away`.
#[test]
fn invariant_4_aep_is_away_while_records_keep_coming() {
    within(LIMIT, || {
        if kafka::shared().is_none() {
            return;
        }
        let mut away = Command::new(binary("xylem-bench"));
        away.args(["away", "--seconds", "20", "--xylem"]).arg(binary("xylem"));
        let output = away.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}\n{words}");
    });
}
