//! Reads what AEP answers. Pure: bytes in, verdicts out; nothing here trusts the bytes.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// The most characters of AEP's words that are kept.
const WORDS_CAP: usize = 2_000;

/// What AEP said of one message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    /// What it says of the message's fate.
    pub(super) said: Said,
    /// The entry itself.
    raw: &'a RawValue,
    /// The text of AEP's id of the message.
    xaction_id: Option<&'a RawValue>,
}

impl Entry<'_> {
    /// AEP's own words, shortened.
    pub(super) fn words(&self) -> String {
        match serde_json::from_str(self.raw.get()) {
            Ok(entry) => words_of(&entry),
            Err(_) => shorten(self.raw.get()),
        }
    }

    /// AEP's id of the message, which its support asks for.
    pub(super) fn xaction_id(&self) -> Option<String> {
        let id: String = serde_json::from_str(self.xaction_id?.get()).ok()?;
        Some(shorten(&id))
    }
}

/// What an entry says of its message's fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// No status: received.
    Nothing,
    /// This status.
    Status(u16),
    /// Something that is not a status.
    Unreadable,
}

/// The answer to a batch, as far as it is needed.
#[derive(Deserialize)]
struct Batch<'a> {
    #[serde(borrow)]
    responses: Vec<&'a RawValue>,
}

/// The parts of an entry that are needed where a message was taken.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Parts<'a> {
    #[serde(borrow)]
    status: Option<&'a RawValue>,
    #[serde(borrow, rename = "statusCode")]
    status_code: Option<&'a RawValue>,
    #[serde(borrow, rename = "xactionId")]
    xaction_id: Option<&'a RawValue>,
}

/// Reads the verdicts on `count` messages: `responses[i]` answers message `i`. None where the answer
/// is not JSON, or has no `responses`, or another number of them: then nothing is known of any
/// message.
pub(super) fn read_batch(body: &[u8], count: usize) -> Option<Vec<Entry<'_>>> {
    // A list would be read as the members in their order.
    if !body.trim_ascii_start().starts_with(b"{") {
        return None;
    }
    let batch: Batch<'_> = serde_json::from_slice(body).ok()?;
    if batch.responses.len() != count {
        return None;
    }
    Some(batch.responses.into_iter().map(read_entry).collect())
}

/// Reads one entry. Documents say `statusCode`, production says `status`; where both stand the worse
/// counts.
fn read_entry(raw: &RawValue) -> Entry<'_> {
    // A list would be read as the parts in their order.
    let parts =
        if raw.get().starts_with('{') { serde_json::from_str(raw.get()).ok() } else { None };
    let Some(Parts { status, status_code, xaction_id }) = parts else {
        return Entry { said: Said::Unreadable, raw, xaction_id: None };
    };
    let said = match (read_status(status), read_status(status_code)) {
        (Said::Unreadable, _) | (_, Said::Unreadable) => Said::Unreadable,
        (known, Said::Nothing) | (Said::Nothing, known) => known,
        // 100 is no success beside 200.
        (Said::Status(200..=299), other) | (other, Said::Status(200..=299)) => other,
        (Said::Status(a), Said::Status(b)) => Said::Status(a.max(b)),
    };
    Entry { said, raw, xaction_id }
}

/// A status as a number or as its text.
fn read_status(raw: Option<&RawValue>) -> Said {
    let Some(raw) = raw else { return Said::Nothing };
    let number = match serde_json::from_str(raw.get()).unwrap_or_default() {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    match number.and_then(|number| u16::try_from(number).ok()) {
        Some(status @ 100..=599) => Said::Status(status),
        _ => Said::Unreadable,
    }
}

/// AEP's words in the body of a refused request: of its problem object, else the body's text.
pub(super) fn read_words(body: &[u8]) -> String {
    match serde_json::from_slice::<Value>(body) {
        Ok(value) => words_of(&value),
        Err(_) => shorten(&String::from_utf8_lossy(body)),
    }
}

/// The words of an entry or problem object: its messages, innermost causes included, else its title,
/// else its JSON.
fn words_of(value: &Value) -> String {
    let mut found = Vec::new();
    let main = value.get("message").or_else(|| value.pointer("/report/message"));
    found.extend(main.and_then(Value::as_str).map(str::to_owned));
    let causes = [value.pointer("/report/cause/_streamingValidation"), value.get("cause")];
    for cause in causes.into_iter().flatten() {
        collect_causes(cause, &mut found, 0);
    }
    if found.is_empty() {
        found.extend(value.get("title").and_then(Value::as_str).map(str::to_owned));
    }
    if found.is_empty() {
        found.push(value.to_string());
    }
    shorten(&found.join("; "))
}

/// Collects the messages of a validator's nested violations, with where they stand.
fn collect_causes(cause: &Value, found: &mut Vec<String>, depth: usize) {
    /// Deeper than any validator nests, shallow enough for any stack.
    const DEPTH: usize = 16;
    if depth > DEPTH || found.len() > 20 {
        return;
    }
    match cause {
        Value::Array(causes) => causes.iter().for_each(|c| collect_causes(c, found, depth + 1)),
        Value::Object(object) => {
            let pointer = object.get("pointerToViolation").and_then(Value::as_str);
            if let Some(message) = object.get("message").and_then(Value::as_str) {
                found.push(match pointer {
                    Some(pointer) => format!("{pointer}: {message}"),
                    None => message.to_owned(),
                });
            }
            if let Some(causes) = object.get("causingExceptions") {
                collect_causes(causes, found, depth + 1);
            }
            if let Some(causes) = object.get("_streamingValidation") {
                collect_causes(causes, found, depth + 1);
            }
        }
        _ => {}
    }
}

/// The first part of a text.
fn shorten(text: &str) -> String {
    match text.char_indices().nth(WORDS_CAP) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// Whether a refusal's words are about what the host writes around an event: header, organisation,
/// schema, flow, dataset or inlet.
///
/// AEP opens its texts with `inletId: […] imsOrgId: […]` and names paths of the event: what stands
/// in brackets, what is a path, and that opening say nothing.
pub(super) fn names_header(words: &str) -> bool {
    /// Words that name what the host writes.
    const NAMES: &[&str] = &[
        "header",
        "org",
        "orgs",
        "imsorg",
        "imsorgid",
        "organisation",
        "organization",
        "schema",
        "schemaref",
        "schemas",
        "flow",
        "flowid",
        "dataflow",
        "dataset",
        "datasetid",
        "inlet",
        "sandbox",
        "xdmmeta",
    ];
    let mut plain = String::with_capacity(words.len());
    let mut depth = 0_usize;
    for c in words.chars() {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            _ if depth == 0 => plain.extend(c.to_lowercase()),
            _ => {}
        }
    }
    let plain = plain.replace("inletid:", " ").replace("imsorgid:", " ");
    let plain = plain.replace("schema violation", " ").replace("schema location", " ");
    if plain.contains("unknown xdm format") {
        return true;
    }
    plain
        .split_whitespace()
        .filter(|word| !word.contains('/'))
        .flat_map(|word| word.split(|c: char| !c.is_alphanumeric()))
        .any(|word| NAMES.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an answer says, one word per message.
    fn said(body: &str, count: usize) -> Option<Vec<Said>> {
        let entries = read_batch(body.as_bytes(), count)?;
        Some(entries.into_iter().map(|entry| entry.said).collect())
    }

    #[test]
    fn all_three_shapes_are_read_by_position() {
        // As the documentation prints it, as production answers, and without any id (aep.md 1.7).
        let documented = r#"{"inletId":"9b","batchId":"1:2:3","receivedTimeMs":1565638336705,"responses":[
            {"xactionId":"1565650704337:2124:92:3"},
            {"statusCode":400,"message":"inletId: [9b] imsOrgId: [O] Message has unknown xdm format"}]}"#;
        let production = r#"{"responses":[
            {"xactionId":"9341f8eb-494a-4c89-9879-4d06a58d2dc7-1"},
            {"xactionId":"9341f8eb-494a-4c89-9879-4d06a58d2dc7-0","status":400,
             "message":"The 'header' field is mandatory. Provide a valid 'header' value and try again."}]}"#;
        let bare = r#"{"responses":[{},{"status":400,"message":"m"}]}"#;
        for body in [documented, production, bare] {
            assert_eq!(said(body, 2), Some(vec![Said::Nothing, Said::Status(400)]));
        }
        let entries = read_batch(production.as_bytes(), 2).unwrap();
        assert_eq!(
            entries[1].words(),
            "The 'header' field is mandatory. Provide a valid 'header' value and try again."
        );
        assert_eq!(
            entries[1].xaction_id().as_deref(),
            Some("9341f8eb-494a-4c89-9879-4d06a58d2dc7-0")
        );
    }

    #[test]
    fn a_status_is_a_number_or_its_text() {
        let body = r#"{"responses":[{"status":"400"},{"statusCode":" 503 "},{"status":200},
            {"status":null},{"status":200,"statusCode":400},{"status":100,"statusCode":200},
            {"status":"bad"},{"status":4000},{"status":{}},{"status":40.5},[],null,"ok"]}"#;
        let unreadable = [Said::Unreadable; 7];
        let mut expected = vec![
            Said::Status(400),
            Said::Status(503),
            Said::Status(200),
            Said::Nothing,
            Said::Status(400),
            Said::Status(100),
        ];
        expected.extend(unreadable);
        assert_eq!(said(body, 13), Some(expected));
    }

    #[test]
    fn a_short_missing_or_unreadable_answer_says_nothing() {
        for body in [
            r#"{"responses":[{}]}"#,
            r#"{"responses":[{},{},{}]}"#,
            r#"{"responses":{}}"#,
            r#"{"responses":null}"#,
            r#"{"inletId":"9b"}"#,
            r#"{"responses":[{},{}"#,
            "<html>Bad gateway</html>",
            "",
            "[]",
            "[[{},{}]]",
            "\u{0}",
        ] {
            assert_eq!(said(body, 2), None, "{body}");
        }
    }

    #[test]
    fn words_are_aeps_own() {
        let problem = br##"{"type":"x","status":400,"title":"Invalid XDM Message Format","report":{
            "message":"Message is invalid","cause":{"_streamingValidation":[{"pointerToViolation":"#",
            "causingExceptions":[{"pointerToViolation":"#/_id","causingExceptions":[],
            "message":"expected type: String, found: Long"}],"message":"2 schema violations found"}]}}}"##;
        assert_eq!(
            read_words(problem),
            "Message is invalid; #: 2 schema violations found; #/_id: expected type: String, found: Long"
        );
        assert_eq!(read_words(b"<html>no</html>"), "<html>no</html>");
        assert_eq!(read_words(br#"{"error":"x"}"#), r#"{"error":"x"}"#);
        assert_eq!(read_words(&[b'a'; 5_000]).chars().count(), WORDS_CAP + 1);
    }

    #[test]
    fn words_about_the_header_are_told_from_words_about_the_event() {
        for words in [
            "inletId: [9b] imsOrgId: [O] Message has an absent or wrong ims org in the header",
            "inletId: [9b] imsOrgId: [O] Message has unknown xdm format",
            "The 'header' field is mandatory. Provide a valid 'header' value and try again.",
            "Schema not found",
            "unknown flowId",
            "Dataset does not exist",
        ] {
            assert!(names_header(words), "{words}");
        }
        for words in [
            "inletId: [9b] imsOrgId: [O] Message is invalid",
            "Message is invalid; #: 2 schema violations found; #/_id: expected type: String, found: Long",
            "#/flow: expected type: String, found: Null",
            "required key [header] not found",
            "#/a: organized crime is not a valid enum value",
            "",
        ] {
            assert!(!names_header(words), "{words}");
        }
    }
}
