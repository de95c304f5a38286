//! `xylem demo`: every record of the examples has exactly one fate, counted at the receivers.

use std::time::Duration;

use xylem_tests::{repository, run_to_end, within};

#[test]
fn the_demo_accounts_for_every_record() {
    within(Duration::from_mins(5), || {
        let output = run_to_end(&repository(), &["demo"]);
        let page = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(0), "{page}");
        assert!(page.contains("records has exactly one fate."), "{page}");
        for word in ["refused: the step `samples` is not passed", "swapped: no step refuses it"] {
            assert!(page.contains(word), "{word}: {page}");
        }
        let rows: Vec<Vec<&str>> = page
            .lines()
            .skip_while(|line| !line.contains("dead-lettered"))
            .skip(1)
            .take_while(|line| !line.trim().is_empty())
            .map(|line| line.split_whitespace().collect())
            .collect();
        let sum =
            |column: usize| rows.iter().map(|row| row[column].parse::<usize>().unwrap()).sum();
        let [consumed, delivered, filtered, dead]: [usize; 4] = [sum(1), sum(2), sum(3), sum(4)];
        assert_eq!(consumed, delivered + filtered + dead, "{page}");
        for source in ["website", "mobile", "pos", "crm", "call-centre", "transactions"] {
            assert!(rows.iter().any(|row| row[0] == source && row[2] != "0"), "{source}: {page}");
        }
        // The examples hold some of each kind, or the page would show nothing of them.
        assert!(filtered > 0 && dead > 0, "{page}");
    });
}
