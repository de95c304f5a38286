//! The records: each made from its partition and its number within it alone, so that anyone can say
//! what has to become of it.

/// What has to become of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// Its event is accepted.
    Delivered,
    /// The mapping filters it.
    Filtered,
    /// It is no JSON: rejected by the plugin.
    Rejected,
    /// AEP refuses its event.
    Refused,
    /// Its event is accepted, or the mapping rejects it: that differs from one generation to the next.
    Either,
}

/// The word in an event that AEP is told to refuse.
pub(super) const REFUSED: &str = "torture.refused";

/// What has to become of record `sequence` of any partition.
pub(super) fn expected(sequence: u64) -> Expected {
    match sequence % 200 {
        13 => Expected::Rejected,
        77 => Expected::Refused,
        133 => Expected::Either,
        n if n % 10 == 5 => Expected::Filtered,
        _ => Expected::Delivered,
    }
}

/// The record's payload.
pub(super) fn payload(partition: i32, sequence: u64) -> String {
    let kind = match expected(sequence) {
        Expected::Delivered => "order",
        Expected::Filtered => "ping",
        Expected::Refused => "refused",
        Expected::Either => "either",
        Expected::Rejected => return format!("{{\"stamp\":\"{}\",", stamp(partition, sequence)),
    };
    format!(
        "{{\"stamp\":\"{}\",\"kind\":\"{kind}\",\"at\":\"2026-01-01T00:00:00Z\"}}",
        stamp(partition, sequence)
    )
}

/// The `_id` of a record's event: it names the record whatever the host makes of it.
pub(super) fn stamp(partition: i32, sequence: u64) -> String {
    format!("t-{partition}-{sequence}")
}

/// Partition and number in a stamp.
pub(super) fn read_stamp(stamp: &str) -> Option<(i32, u64)> {
    let (partition, sequence) = stamp.strip_prefix("t-")?.split_once('-')?;
    Some((partition.parse().ok()?, sequence.parse().ok()?))
}

/// The mapping table of the pipeline in its `edition`: each is another generation, and every second one rejects
/// the records of which [`Expected::Either`] is expected.
pub(super) fn mapping(edition: usize) -> String {
    let id = match edition % 2 {
        0 => ".stamp",
        _ => "'if .kind == \"either\" then null else .stamp end'",
    };
    format!(
        "\
filter:
  - {{when: '.kind == \"ping\"', reason: a ping is no event}}
events:
  - fields:
      _id: {{from: {id}, type: string, required: true}}
      timestamp: {{from: .at, type: date-time, required: true}}
      eventType: {{from: '\"torture.\" + .kind + \".{edition}\"'}}
unmapped: ignore
"
    )
}

/// The schema of the destination.
pub(super) const SCHEMA: &str = r#"{
  "$id": "https://ns.adobe.com/torture/schemas/event",
  "title": "Events of the torture",
  "type": "object",
  "meta:class": "https://ns.adobe.com/xdm/context/experienceevent",
  "required": ["_id", "timestamp"],
  "properties": {
    "_id": {"type": "string", "format": "uri-reference"},
    "timestamp": {"type": "string", "format": "date-time"},
    "eventType": {"type": "string"}
  }
}
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fate_is_expected_of_some_records_and_stamps_are_read_back() {
        let fates = [
            Expected::Delivered,
            Expected::Filtered,
            Expected::Rejected,
            Expected::Refused,
            Expected::Either,
        ];
        for fate in fates {
            assert!((0..200).any(|sequence| expected(sequence) == fate), "{fate:?}");
        }
        assert_eq!(read_stamp(&stamp(3, 77)), Some((3, 77)));
        assert_eq!(read_stamp("t-3"), None);
    }
}
