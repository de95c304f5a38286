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
    /// Delivered under a mapping of an even version, rejected under one of an odd version.
    Either,
}

/// The word in an event that AEP is told to refuse.
pub(super) const REFUSED: &str = "torture.refused";

/// What has to become of record `sequence` of any partition.
pub(super) fn expected(sequence: u64) -> Expected {
    match sequence % 200 {
        13 => Expected::Rejected,
        77 => Expected::Refused,
        n if n % 10 == 5 => Expected::Filtered,
        n if n % 10 == 3 => Expected::Either,
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

/// The record's key; a part of the records has none. Keys have no part in what becomes of a record, and each is in
/// all partitions.
pub(super) fn key(sequence: u64) -> Option<String> {
    (sequence % 7 < 4).then(|| format!("customer-{}", sequence % 97))
}

/// What names a record, whatever the host makes of it; the `_id` of its event is this and the version of the
/// mapping.
pub(super) fn stamp(partition: i32, sequence: u64) -> String {
    format!("t-{partition}-{sequence}")
}

/// Partition and number in a stamp.
pub(super) fn read_stamp(stamp: &str) -> Option<(i32, u64)> {
    let (partition, sequence) = stamp.strip_prefix("t-")?.split_once('-')?;
    Some((partition.parse().ok()?, sequence.parse().ok()?))
}

/// Partition, number and version of the mapping in the `_id` of an event.
pub(super) fn read_id(id: &str) -> Option<(i32, u64, u64)> {
    let (stamp, version) = id.rsplit_once('-')?;
    let (partition, sequence) = read_stamp(stamp)?;
    Some((partition, sequence, version.parse().ok()?))
}

/// The mapping table of the pipeline, in one of its versions.
pub(super) fn mapping(version: u64) -> String {
    let id = match version % 2 {
        0 => format!(".stamp + \"-{version}\""),
        _ => format!("if .kind == \"either\" then null else .stamp + \"-{version}\" end"),
    };
    format!(
        "\
filter:
  - {{when: '.kind == \"ping\"', reason: a ping is no event}}
events:
  - fields:
      _id: {{from: '{id}', type: string, required: true}}
      timestamp: {{from: .at, type: date-time, required: true}}
      eventType: {{from: '\"torture.\" + .kind'}}
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
        for fate in [
            Expected::Delivered,
            Expected::Filtered,
            Expected::Rejected,
            Expected::Refused,
            Expected::Either,
        ] {
            assert!((0..200).any(|sequence| expected(sequence) == fate), "{fate:?}");
            for keyed in [true, false] {
                let is_one = |n: u64| expected(n) == fate && key(n).is_some() == keyed;
                assert!((0..2_000).any(is_one), "{fate:?} with a key: {keyed}");
            }
        }
        assert_eq!(read_stamp(&stamp(3, 77)), Some((3, 77)));
        assert_eq!(read_stamp("t-3"), None);
        assert_eq!(read_id(&format!("{}-12", stamp(3, 77))), Some((3, 77, 12)));
        assert_eq!(read_id(&stamp(3, 77)), None);
    }
}
