//! What `xylem try` prints: a line of JSON per record, or a page for people.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::value::RawValue;

use super::attempt::{Attempt, Attempted};
use super::layout::{compact, pretty};
use crate::fault::Fault;
use crate::validate::Refusal;

/// A record as it is shown.
pub(crate) struct Shown<'a> {
    /// The input's name as the user gave it.
    pub(crate) input: &'a str,
    /// The record's number within its input, from 0.
    pub(crate) record: usize,
    /// What became of it.
    pub(crate) attempt: &'a Attempt,
}

/// A line of `--json`; its form is a contract.
#[derive(Serialize)]
struct Line<'a> {
    input: &'a str,
    record: usize,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    events: Option<Vec<EventLine<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<FaultLine<'a>>,
}

#[derive(Serialize)]
struct EventLine<'a> {
    destination: &'a str,
    /// Absent where the plugin's text is not JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<Box<RawValue>>,
    valid: bool,
    faults: Vec<ViolationLine<'a>>,
}

/// What is wrong with an event.
#[derive(Serialize)]
struct ViolationLine<'a> {
    code: &'a str,
    pointer: &'a str,
    message: &'a str,
}

#[derive(Serialize)]
struct FaultLine<'a> {
    code: &'static str,
    domain: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plugin: Option<&'a str>,
}

impl Shown<'_> {
    /// One line of JSON.
    pub(crate) fn json(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { input, record, attempt } = *self;
        let mut line = Line {
            input,
            record,
            outcome: outcome(attempt),
            events: None,
            reason: None,
            fault: None,
        };
        match attempt {
            Attempt::Emit(events) => line.events = Some(events.iter().map(event_line).collect()),
            Attempt::Filter(reason) => line.reason = Some(reason),
            Attempt::Reject(fault) => {
                line.fault = Some(FaultLine {
                    code: fault.code.as_str(),
                    domain: fault.domain().as_str(),
                    message: words(fault),
                    path: fault.path.as_deref(),
                    plugin: fault.plugin.as_ref().map(|plugin| plugin.name.as_str()),
                });
            }
        }
        serde_json::to_writer(&mut *out, &line)?;
        out.write_all(b"\n")
    }

    /// A paragraph for people.
    pub(crate) fn page(&self, out: &mut dyn Write) -> io::Result<()> {
        write!(out, "{} record {}: {}", self.input, self.record, outcome(self.attempt))?;
        match self.attempt {
            Attempt::Emit(events) => {
                writeln!(out)?;
                events.iter().try_for_each(|event| event_page(event, out))
            }
            Attempt::Filter(reason) => writeln!(out, ": {reason}"),
            Attempt::Reject(fault) => fault_page(fault, out),
        }
    }
}

fn outcome(attempt: &Attempt) -> &'static str {
    match attempt {
        Attempt::Emit(_) => "emit",
        Attempt::Filter(_) => "filter",
        Attempt::Reject(_) => "reject",
    }
}

fn event_line(event: &Attempted) -> EventLine<'_> {
    EventLine {
        destination: &event.destination,
        event: RawValue::from_string(compact(&event.body)).ok(),
        valid: event.verdict.is_ok(),
        faults: violations(event).collect(),
    }
}

/// Everything that is wrong with an event.
fn violations(event: &Attempted) -> impl Iterator<Item = ViolationLine<'_>> {
    let (of_schema, other) = match &event.verdict {
        Ok(_) => (None, None),
        Err(Refusal::Invalid(violations)) => (Some(violations.first.iter()), None),
        Err(Refusal::Fault(fault)) => (None, Some(fault)),
    };
    let of_schema = of_schema.into_iter().flatten().map(|violation| ViolationLine {
        code: violation.code,
        pointer: &violation.pointer,
        message: &violation.message,
    });
    let other = other.into_iter().map(|fault| ViolationLine {
        code: fault.code.as_str(),
        pointer: fault.path.as_deref().unwrap_or_default(),
        message: &fault.message,
    });
    of_schema.chain(other)
}

/// A fault's words, after the plugin's own code where it gave one.
fn words(fault: &Fault) -> String {
    match &fault.reason {
        Some(reason) if !reason.is_empty() => format!("{reason}: {}", fault.message),
        _ => fault.message.clone(),
    }
}

fn event_page(event: &Attempted, out: &mut dyn Write) -> io::Result<()> {
    let verdict = if event.verdict.is_ok() { "valid" } else { "NOT VALID" };
    writeln!(out, "  for `{}`, {verdict}", event.destination)?;
    match serde_json::from_str::<&RawValue>(&event.body) {
        Ok(_) => writeln!(out, "{}", pretty(&event.body, 2))?,
        Err(_) => writeln!(out, "  {}", event.body)?,
    }
    for ViolationLine { code, pointer, message } in violations(event) {
        writeln!(out, "  ✗ {code} #{pointer}: {message}")?;
    }
    if let Err(Refusal::Invalid(violations)) = &event.verdict
        && violations.total > violations.first.len()
    {
        writeln!(out, "  ✗ and {} more", violations.total - violations.first.len())?;
    }
    for warning in event.verdict.iter().flatten() {
        writeln!(
            out,
            "  ! {} #{}: {}",
            warning.code.as_str(),
            warning.pointer,
            warning.code.meaning()
        )?;
    }
    Ok(())
}

fn fault_page(fault: &Fault, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, ": {}", words(fault))?;
    if let Some(path) = &fault.path {
        writeln!(out, "  at {path}")?;
    }
    writeln!(out, "  {fault}: {} {}", fault.code.meaning(), fault.code.advice())?;
    for line in fault.trace.iter().flat_map(|trace| trace.lines()) {
        writeln!(out, "  {line}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Code, PluginRef};
    use crate::record::Operation;
    use crate::schema::{Violation, Violations, Warning, WarningCode};

    fn event(body: &str, verdict: Result<Vec<Warning>, Refusal>) -> Attempted {
        let (destination, body) = ("web".to_owned(), body.to_owned());
        Attempted { id: String::new(), destination, body, operation: Operation::Create, verdict }
    }

    fn invalid() -> Refusal {
        let violation = Violation {
            code: "DCVS-1104-400",
            pointer: "/a".to_owned(),
            keyword: "type",
            message: "expected type: Integer, found: Double".to_owned(),
        };
        Refusal::Invalid(Violations { first: vec![violation], total: 3 })
    }

    fn rejection() -> Attempt {
        let plugin = PluginRef { name: "csv".to_owned(), digest: "0".repeat(16) };
        let mut fault = Fault::new(Code::Rejected, "no such day").at("row 3").of(plugin);
        fault.reason = Some("bad-date".to_owned());
        Attempt::Reject(Box::new(fault))
    }

    fn printed(attempt: &Attempt) -> (String, String) {
        let shown = Shown { input: "a.csv", record: 7, attempt };
        let (mut json, mut page) = (Vec::new(), Vec::new());
        shown.json(&mut json).unwrap();
        shown.page(&mut page).unwrap();
        (String::from_utf8(json).unwrap(), String::from_utf8(page).unwrap())
    }

    #[test]
    fn an_emitted_record() {
        let warning = Warning { code: WarningCode::SoftEnum, pointer: "/b".to_owned() };
        let attempt = Attempt::Emit(vec![
            event("{ \"b\": 1.0,\n\"a\": {} }", Ok(vec![warning])),
            event("{\"a\":1.0}", Err(invalid())),
            event("not json", Err(Refusal::Fault(Box::new(Fault::new(Code::PluginOutput, "why"))))),
        ]);
        assert!(!attempt.is_good());
        let (json, page) = printed(&attempt);
        assert_eq!(
            json,
            concat!(
                r#"{"input":"a.csv","record":7,"outcome":"emit","events":["#,
                r#"{"destination":"web","event":{"b":1.0,"a":{}},"valid":true,"faults":[]},"#,
                r#"{"destination":"web","event":{"a":1.0},"valid":false,"faults":[{"code":"DCVS-1104-400","pointer":"/a","message":"expected type: Integer, found: Double"}]},"#,
                r#"{"destination":"web","valid":false,"faults":[{"code":"plugin.output","pointer":"","message":"why"}]}]}"#,
                "\n"
            )
        );
        let lines = [
            "a.csv record 7: emit",
            "  for `web`, valid",
            "  {",
            "    \"b\": 1.0,",
            "    \"a\": {}",
            "  }",
            "  ! schema.soft-enum #/b: The value is not among the schema's suggestions.",
            "  for `web`, NOT VALID",
            "  {",
            "    \"a\": 1.0",
            "  }",
            "  ✗ DCVS-1104-400 #/a: expected type: Integer, found: Double",
            "  ✗ and 2 more",
            "  for `web`, NOT VALID",
            "  not json",
            "  ✗ plugin.output #: why",
        ];
        assert_eq!(page.lines().collect::<Vec<_>>(), lines);
    }

    #[test]
    fn a_filtered_record() {
        let attempt = Attempt::Filter("test store".to_owned());
        assert!(attempt.is_good());
        let (json, page) = printed(&attempt);
        assert_eq!(
            json,
            "{\"input\":\"a.csv\",\"record\":7,\"outcome\":\"filter\",\"reason\":\"test store\"}\n"
        );
        assert_eq!(page, "a.csv record 7: filter: test store\n");
    }

    #[test]
    fn a_rejected_record() {
        assert!(!rejection().is_good());
        let (json, page) = printed(&rejection());
        assert_eq!(
            json,
            concat!(
                r#"{"input":"a.csv","record":7,"outcome":"reject","fault":{"code":"record.rejected","domain":"record","#,
                r#""message":"bad-date: no such day","path":"row 3","plugin":"csv"}}"#,
                "\n"
            )
        );
        let first: Vec<&str> = page.lines().take(2).collect();
        assert_eq!(first, ["a.csv record 7: reject: bad-date: no such day", "  at row 3"]);
        assert!(page.contains("record.rejected (plugin `csv`)"), "{page}");
    }
}
