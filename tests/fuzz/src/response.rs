//! Whatever AEP or its token endpoint answers: nothing is success that AEP did not call so.

use std::time::Duration;

use serde_json::Value;
use xylem::deliver::fuzzing;

/// AEP's words are kept up to 2,000 characters, its id of the message as well; a few are ours.
const MOST_QUOTED: usize = 4_200;

/// The first byte is the number of messages that were sent, the rest is the answer.
pub(crate) fn run(data: &[u8]) {
    let Some((&count, body)) = data.split_first() else { return };
    let count = usize::from(count);
    if let Some(said) = fuzzing::verdicts(body, count) {
        let refused = said.refused.iter().map(|(event, _)| *event);
        let mut all: Vec<usize> = said.accepted.iter().copied().chain(refused).collect();
        all.extend(&said.left);
        all.sort_unstable();
        assert!(all.iter().copied().eq(0..count), "each message has one verdict: {said:?}");
        assert!(said.refused.iter().all(|(_, words)| words.chars().count() <= MOST_QUOTED));
        // Numbers beyond a double and deep nesting are left to the host's own reader.
        if let Ok(answer) = serde_json::from_slice::<Value>(body) {
            let responses = answer.get("responses").and_then(Value::as_array);
            assert_eq!(responses.map(Vec::len), Some(count), "as many verdicts as messages");
            let taken = |at: &usize| responses.and_then(|r| r.get(*at)).is_some_and(is_taken);
            assert!(said.accepted.iter().all(taken), "{answer} accepts {:?}", said.accepted);
            let refuses = |at: &usize| responses.and_then(|r| r.get(*at)).is_some_and(is_refused);
            assert!(said.refused.iter().all(|(at, _)| refuses(at)), "{answer} refuses otherwise");
        }
    }

    let (words, _) = fuzzing::words(body);
    assert!(words.chars().count() <= MOST_QUOTED);
    let granted = fuzzing::granted(200, body);
    let bounds = Duration::from_secs(1)..=Duration::from_secs(1_000_000);
    assert!(granted.is_none_or(|lifetime| bounds.contains(&lifetime)), "{granted:?}");
    assert!(fuzzing::granted(400, body).is_none());
    let has_token = |answer: Value| answer.get("access_token").is_some_and(Value::is_string);
    let answer = serde_json::from_slice::<Value>(body);
    assert!(granted.is_none() || answer.map_or(true, has_token), "a token from nowhere");
}

/// The statuses of an entry, none where one is no status.
fn statuses(entry: &Value) -> Option<Vec<u64>> {
    let found = ["status", "statusCode"].into_iter().filter_map(|key| entry.as_object()?.get(key));
    let number = |status: &Value| match status {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    found.filter(|status| !status.is_null()).map(number).collect()
}

/// Whether an entry may be taken for success: an object in which no status says otherwise.
fn is_taken(entry: &Value) -> bool {
    let success = |found: Vec<u64>| found.iter().all(|status| (200..300).contains(status));
    entry.is_object() && statuses(entry).is_some_and(success)
}

/// Whether an entry may end its record: it has a 4xx.
fn is_refused(entry: &Value) -> bool {
    statuses(entry).is_some_and(|found| found.iter().any(|status| (400..500).contains(status)))
}
