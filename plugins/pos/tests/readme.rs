//! The pair in the README is what the plugin does.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use xylem_kit::Plugin;
use xylem_mapping::golden;
use xylem_plugin_pos::Pos;

/// What stands between two fences.
fn block<'r>(readme: &'r str, language: &str) -> &'r str {
    let (_, section) = readme.split_once("## One input and its output").unwrap();
    let (_, rest) = section.split_once(&format!("```{language}\n")).unwrap();
    rest.split_once("```").unwrap().0
}

#[test]
fn the_pair_of_the_readme() {
    let readme = include_str!("../README.md");
    let settings = r#"{"tenant": "_acme", "time_zones": {"9": "America/Los_Angeles"},
        "unmapped": "reject", "totals": "reject"}"#;
    let pos = Pos::init(settings).unwrap();
    let outcome = golden::outcome(&pos, block(readme, "xml").as_bytes().to_vec()).unwrap();
    let expected: serde_json::Value = serde_json::from_str(block(readme, "json")).unwrap();
    assert_eq!(outcome.pointer("/events/0/event"), Some(&expected), "{outcome:#}");
}
