//! The ids of events (promise 9): readable, and the same whenever a record comes again.

use std::borrow::Cow;

/// Makes the ids of one topic's events in one pipeline.
///
/// An id is `HASH.PARTITION.OFFSET.TIMESTAMP.INDEX`, such as `9f86d08188.3.1042.1700000000000.0`:
/// the first ten hex digits of a hash over cluster id, topic, `id_epoch` and pipeline, then the
/// record's place and time (milliseconds since 1970, `~` where the record has none) and the event's
/// index within the record. Its alphabet is a part of `[A-Za-z0-9._~-]`: nothing to escape in JSON, and
/// a valid URI reference, which XDM demands of `_id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ids {
    prefix: String,
}

/// The place and time of a record, as far as ids need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The partition's number.
    pub partition: i32,
    /// The offset within the partition; of a replayed dead letter, the original one.
    pub offset: i64,
    /// Milliseconds since 1970 in UTC; none where the record has none.
    pub timestamp_ms: Option<i64>,
}

impl Ids {
    /// Hex digits of the hash: 40 bits. Two of a thousand pipelines share a hash once in two
    /// million configurations.
    const HASH_DIGITS: usize = 10;

    /// The ids of `topic` in `pipeline`; `id_epoch` is the pipeline's setting, empty by default.
    pub fn new(cluster_id: &str, topic: &str, id_epoch: &str, pipeline: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        for part in [cluster_id, topic, id_epoch, pipeline] {
            // Length first, so that no two lists of parts run into the same bytes.
            hasher.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        let mut prefix = hasher.finalize().to_hex().to_string();
        prefix.truncate(Self::HASH_DIGITS);
        Self { prefix }
    }

    /// What every id of this topic and pipeline begins with.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The id of the event at `index` among the final events of the record at `place`.
    // Invariant 9: made of nothing but what a repeated record brings again.
    pub fn id(&self, place: Place, index: usize) -> String {
        let Place { partition, offset, timestamp_ms } = place;
        let prefix = &self.prefix;
        match timestamp_ms {
            Some(timestamp) => format!("{prefix}.{partition}.{offset}.{timestamp}.{index}"),
            None => format!("{prefix}.{partition}.{offset}.~.{index}"),
        }
    }
}

/// The JSON object `body` with `"_id":"id"` as its first member, everything else byte for byte.
///
/// The caller knows that `body` is a JSON object without an `_id`; of a text that does not begin
/// with `{` (after white space) nothing is changed. `id` must be of the alphabet of [`Ids`].
pub fn with_id<'a>(body: &'a str, id: &str) -> Cow<'a, str> {
    const JSON_SPACE: [char; 4] = [' ', '\t', '\n', '\r'];
    let Some((space, rest)) = body.split_once('{') else { return Cow::Borrowed(body) };
    if !space.trim_start_matches(JSON_SPACE).is_empty() {
        return Cow::Borrowed(body);
    }
    let comma = if rest.trim_start_matches(JSON_SPACE).starts_with('}') { "" } else { "," };
    let mut text = String::with_capacity(body.len() + id.len() + 9);
    for part in [space, "{\"_id\":\"", id, "\"", comma, rest] {
        text.push_str(part);
    }
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    const PLACE: Place =
        Place { partition: 3, offset: 1042, timestamp_ms: Some(1_700_000_000_000) };

    #[test]
    fn invariant_9_a_repeated_record_has_the_same_ids() {
        let ids = Ids::new("lkc-1", "orders", "", "pos");
        let again = Ids::new("lkc-1", "orders", "", "pos");
        assert_eq!(ids.id(PLACE, 0), again.id(PLACE, 0));
        assert_eq!(ids.id(PLACE, 2), format!("{}.3.1042.1700000000000.2", hash_of_the_example()));
    }

    /// The first ten digits for cluster `lkc-1`, topic `orders`, no epoch and pipeline `pos`.
    fn hash_of_the_example() -> String {
        let bytes =
            b"\x05\0\0\0\0\0\0\0lkc-1\x06\0\0\0\0\0\0\0orders\0\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0pos";
        blake3::hash(bytes).to_hex().chars().take(10).collect()
    }

    #[test]
    fn invariant_9_everything_that_tells_records_apart_is_in_the_id() {
        let names = ["a", "b", "ab", "", "bb"];
        let prefixes: BTreeSet<String> = (0..5 * 5 * 5 * 5)
            .map(|n| [n % 5, n / 5 % 5, n / 25 % 5, n / 125].map(|i: usize| names[i]))
            .map(|[cluster, topic, epoch, pipeline]| {
                Ids::new(cluster, topic, epoch, pipeline).prefix
            })
            .collect();
        assert_eq!(prefixes.len(), 5 * 5 * 5 * 5);

        let ids = Ids::new("c", "t", "", "p");
        let places = [
            PLACE,
            Place { partition: 31, offset: 42, ..PLACE },
            Place { offset: 1043, ..PLACE },
            Place { timestamp_ms: Some(0), ..PLACE },
            Place { timestamp_ms: Some(-1), ..PLACE },
            Place { timestamp_ms: None, ..PLACE },
        ];
        let mut seen = BTreeSet::new();
        assert!(places.iter().all(|&place| (0..3).all(|index| seen.insert(ids.id(place, index)))));
    }

    /// JSON objects as text, with white space where JSON allows it.
    fn object_text() -> impl Strategy<Value = String> {
        let space = "[ \t\r\n]{0,3}";
        let any_value = prop::sample::select(vec![
            "1",
            "-0",
            "1.0e5",
            "\"}{\\\"\"",
            "null",
            "[ 1, 2 ]",
            "{ }",
            "{\"_id\": 3}",
        ]);
        (
            space,
            prop::collection::btree_map("[a-z]{1,3}", (space, any_value, space), 0..4),
            space,
            space,
        )
            .prop_map(|(before, members, inside, after)| {
                let members: Vec<String> = members
                    .iter()
                    .map(|(key, (left, value, right))| {
                        format!("{left}\"{key}\"{right}:{left}{value}{right}")
                    })
                    .collect();
                format!("{before}{{{inside}{}{inside}}}{after}", members.join(","))
            })
    }

    proptest! {
        #[test]
        fn with_id_adds_the_id_and_changes_nothing_else(
            text in object_text(),
            partition in 0i32..,
            offset in any::<i64>(),
            timestamp_ms in any::<Option<i64>>(),
            index in 0usize..9,
        ) {
            let id = Ids::new("c", "t", "e", "p").id(Place { partition, offset, timestamp_ms }, index);
            prop_assert!(id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._~-".contains(&b)));
            let with = with_id(&text, &id);
            let mut value: Value = serde_json::from_str(&with).unwrap();
            prop_assert_eq!(value.as_object_mut().unwrap().remove("_id"), Some(Value::String(id.clone())));
            prop_assert_eq!(value, serde_json::from_str::<Value>(&text).unwrap());
            // Byte for byte: taking the member out again leaves the text.
            let member = format!("\"_id\":\"{id}\"");
            let without = with.replacen(&format!("{member},"), "", 1).replacen(&member, "", 1);
            prop_assert_eq!(without, text);
        }
    }

    #[test]
    fn with_id_leaves_what_is_no_object_alone() {
        for text in ["", "null", "[{}]", "\"{}\"", "3"] {
            assert_eq!(with_id(text, "x"), text);
        }
    }
}
