//! What the manuals say of tests: each that is named is there, and no guarantee stands without one.

use std::collections::BTreeMap;
use std::path::Path;

use xylem_tests::repository;

/// The pages in `host/docs` whose tables name tests in their last column.
const PAGES: [&str; 2] = ["guarantees.md", "incumbent.md"];

/// What stands in the last column where no test shows the line.
const UNTESTED: [&str; 2] = ["none yet", "not applicable"];

#[test]
fn every_test_that_a_manual_names_is_there() {
    let root = repository();
    let mut sources = BTreeMap::new();
    for page in PAGES {
        let text = std::fs::read_to_string(root.join("host/docs").join(page)).unwrap();
        let mut named = 0;
        for (path, test) in text.split('`').filter_map(reference) {
            let source = sources
                .entry(path.to_owned())
                .or_insert_with(|| std::fs::read_to_string(root.join(path)).unwrap_or_default());
            assert!(is_test(source, test), "{page} names `{path}: {test}`, which is no test");
            named += 1;
        }
        assert!(named > 30, "{page} names {named} tests");
    }
}

#[test]
fn every_line_of_a_manual_names_its_test() {
    for page in PAGES {
        let text = std::fs::read_to_string(repository().join("host/docs").join(page)).unwrap();
        let rows = text.lines().filter(|line| line.starts_with("| "));
        let rows: Vec<&str> = rows.filter(|line| !line.starts_with("| ---")).collect();
        let heads = text.matches("\n| ---").count();
        let lines: Vec<_> = rows.iter().filter(|row| !is_head(row)).collect();
        assert_eq!(rows.len() - lines.len(), heads, "{page}");
        for line in lines {
            let last = line.trim_end_matches(['|', ' ']).rsplit(" | ").next().unwrap();
            let has_test = last.split('`').any(|part| reference(part).is_some());
            assert!(has_test || UNTESTED.iter().any(|word| last.contains(word)), "{page}: {line}");
        }
    }
}

/// Whether a row is the head of a table.
fn is_head(row: &str) -> bool {
    row.trim_end().ends_with("| test |")
}

/// The file and the test of `FILE.rs: TEST`.
fn reference(text: &str) -> Option<(&str, &str)> {
    let (path, test) = text.split_once(": ")?;
    let is_name = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let is_source = Path::new(path).extension().is_some_and(|extension| extension == "rs");
    (is_source && !path.contains(' ') && is_name(test)).then_some((path, test))
}

/// Whether a source has this test: a function behind `#[test]` or `#[tokio::test]`, a property, or a
/// line of `mistakes!`.
fn is_test(source: &str, test: &str) -> bool {
    let lines: Vec<&str> = source.lines().map(str::trim_start).collect();
    let begins = [format!("fn {test}("), format!("async fn {test}(")];
    lines.iter().enumerate().any(|(at, line)| {
        let above = lines[..at].iter().rev().take_while(|line| line.starts_with(['#', '/']));
        let marked = above.clone().any(|line| line.ends_with("test]") || line.contains("::test("));
        (begins.iter().any(|begin| line.starts_with(begin)) && marked)
            || (line.starts_with(&format!("{test}: [")) && source.contains("mistakes! {"))
    })
}
