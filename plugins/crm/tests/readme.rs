//! The pair in the README is what the plugin does.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use xylem_kit::Plugin;
use xylem_mapping::golden;
use xylem_plugin_crm::Crm;

/// The input and the output.
fn blocks(readme: &str) -> (&str, &str) {
    let (_, section) = readme.split_once("## One input and its output").unwrap();
    let mut fenced =
        section.split("```json\n").skip(1).map(|rest| rest.split_once("```").unwrap().0);
    (fenced.next().unwrap(), fenced.next().unwrap())
}

#[test]
fn the_pair_of_the_readme() {
    let readme = include_str!("../README.md");
    let settings = r#"{"org": "00D5e000000AcmeEAC", "tenant": "_acme", "unmapped": "reject",
        "identity": {"person": "b2b_person", "email": "Email"}}"#;
    let crm = Crm::init(settings).unwrap();
    let (input, output) = blocks(readme);
    let outcome = golden::outcome(&crm, input.as_bytes().to_vec()).unwrap();
    let expected: serde_json::Value = serde_json::from_str(output).unwrap();
    assert_eq!(outcome.pointer("/events/0/event"), Some(&expected), "{outcome:#}");
}
