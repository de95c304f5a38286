//! The demo's last page: a table per pipeline, an event and a dead letter worth looking at.

use std::collections::BTreeMap;
use std::io::Write;

use super::ledger::Fates;
use crate::record::Record;

/// Writes the page; true where every record has exactly one fate and AEP kept every event.
pub(super) fn summary(
    out: &mut impl Write,
    fates: &BTreeMap<String, Fates>,
) -> anyhow::Result<bool> {
    writeln!(out, "\nWhat became of every record, counted where it arrived:\n")?;
    writeln!(
        out,
        "  {:<18} {:>8} {:>10} {:>9} {:>14} {:>8}",
        "pipeline", "consumed", "delivered", "filtered", "dead-lettered", "events"
    )?;
    for (name, fate) in fates {
        writeln!(
            out,
            "  {name:<18} {:>8} {:>10} {:>9} {:>14} {:>8}",
            fate.written,
            fate.delivered.len(),
            fate.filtered,
            fate.dead_lettered.len(),
            fate.events,
        )?;
    }
    if let Some((name, event)) = fates.iter().find_map(|(n, f)| Some((n, f.example.as_ref()?))) {
        writeln!(out, "\nAn event of `{name}`, as AEP has it:\n")?;
        writeln!(out, "{}", indented(&pretty(event)))?;
    }
    if let Some((name, letter)) = fates.iter().find_map(|(n, f)| Some((n, f.letter.as_ref()?))) {
        writeln!(out, "\nA dead letter of `{name}`: the record as it came, and why:\n")?;
        show_letter(out, letter)?;
    }
    let wrong: usize = fates.values().map(|fate| fate.wrong).sum();
    let invalid: usize = fates.values().map(|fate| fate.invalid).sum();
    writeln!(out)?;
    if wrong > 0 {
        writeln!(out, "WRONG: {wrong} records have no fate, or two")?;
    }
    if invalid > 0 {
        writeln!(out, "WRONG: AEP's validator refused {invalid} events after accepting them")?;
    }
    if wrong == 0 && invalid == 0 {
        let total: usize = fates.values().map(|fate| fate.written).sum();
        writeln!(out, "Every one of {total} records has exactly one fate.")?;
    }
    Ok(wrong == 0 && invalid == 0)
}

fn show_letter(out: &mut impl Write, letter: &Record) -> std::io::Result<()> {
    let payload = letter.payload.as_deref().unwrap_or_default();
    let text = String::from_utf8_lossy(payload);
    let short: String = text.chars().take(400).collect();
    let more = if short.len() < text.len() { " …" } else { "" };
    writeln!(out, "{}{more}\n", indented(short.trim_end()))?;
    for header in &letter.headers {
        let value = String::from_utf8_lossy(header.value.as_deref().unwrap_or_default());
        let line: String = value.lines().next().unwrap_or_default().chars().take(120).collect();
        writeln!(out, "  {:<42} {line}", header.key)?;
    }
    Ok(())
}

fn pretty(json: &str) -> String {
    serde_json::from_str::<serde_json::Value>(json)
        .and_then(|value| serde_json::to_string_pretty(&value))
        .unwrap_or_else(|_| json.to_owned())
}

/// Each line two places further in.
pub(super) fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}
