//! What a swap does beside the generation, and what no swap does. Pure.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Serialize;

use crate::config::{Config, Fingerprint};
use crate::consume::Followed;
use crate::generation::Generation;
use crate::record::PartitionId;
use crate::transform::{Current, Outboxes};

/// Partitions that a sentence names; of more it tells how many.
const NAMED: usize = 8;

/// What a swap did beside the generation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Swapped {
    /// Topics that are read from now on: the group moves their partitions.
    pub topics_added: Vec<String>,
    /// Topics that are no longer read: the group takes their partitions away.
    pub topics_removed: Vec<String>,
    /// Destinations that are new.
    pub destinations_added: Vec<String>,
    /// Destinations that are gone.
    pub destinations_removed: Vec<String>,
    /// Destinations with other settings, another credential or another way there.
    pub destinations_changed: Vec<String>,
    /// Pipelines that were halted for what became of their records, and go on.
    pub lifted: Vec<String>,
    /// Partitions that begin again where they are settled, since their pipeline or their ids are others,
    /// or it was halted.
    #[serde(serialize_with = "names")]
    pub again: Vec<PartitionId>,
    /// Partitions that begin again, since an outbox that went could not deliver what it had of them.
    #[serde(serialize_with = "names")]
    pub given_up: Vec<PartitionId>,
}

fn names<S: serde::Serializer>(ids: &[PartitionId], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(ids.iter().map(ToString::to_string))
}

impl Swapped {
    /// What differs in topics and destinations.
    pub(super) fn between(before: &Current, next: &Generation, outboxes: &Outboxes) -> Self {
        let (were, are) = (topics(&before.generation), topics(next));
        let names = |only: &Outboxes, other: &Outboxes| -> Vec<String> {
            only.keys().filter(|name| !other.contains_key(*name)).map(ToString::to_string).collect()
        };
        let changed = outboxes.iter().filter(|(name, outbox)| {
            before.outboxes.get(*name).is_some_and(|old| !Arc::ptr_eq(old, outbox))
        });
        Self {
            topics_added: are.difference(&were).map(ToString::to_string).collect(),
            topics_removed: were.difference(&are).map(ToString::to_string).collect(),
            destinations_added: names(outboxes, &before.outboxes),
            destinations_removed: names(&before.outboxes, outboxes),
            destinations_changed: changed.map(|(name, _)| name.to_string()).collect(),
            ..Self::default()
        }
    }

    /// Adds what the consumer did.
    pub(super) fn note(&mut self, followed: Followed) {
        self.again = followed.again;
        self.lifted = followed.lifted.iter().map(ToString::to_string).collect();
    }

    /// The same for people; nothing where nothing was done.
    pub fn sentences(&self) -> Vec<String> {
        let partitions = |ids: &[PartitionId]| match ids.split_at_checked(NAMED) {
            None | Some((_, [])) => list(ids),
            Some((named, more)) => format!("{} and {} more", list(named), more.len()),
        };
        let sentence =
            |words: String, what: &str| (!words.is_empty()).then(|| format!("{what}: {words}"));
        [
            sentence(list(&self.topics_added), "topics read from now on, a rebalance follows"),
            sentence(list(&self.topics_removed), "topics no longer read, a rebalance follows"),
            sentence(list(&self.destinations_added), "destinations added"),
            sentence(list(&self.destinations_removed), "destinations removed"),
            sentence(list(&self.destinations_changed), "destinations changed"),
            sentence(list(&self.lifted), "pipelines no longer halted"),
            sentence(partitions(&self.again), "partitions that begin again where they are settled"),
            sentence(
                partitions(&self.given_up),
                "partitions that begin again, since their destination did not take what it had within 10 s",
            ),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

fn list<T: ToString>(items: &[T]) -> String {
    items.iter().map(|item| format!("`{}`", item.to_string())).collect::<Vec<_>>().join(", ")
}

fn topics(generation: &Generation) -> BTreeSet<&str> {
    let pipelines = generation.pipelines.values();
    pipelines.flat_map(|pipeline| pipeline.topics.iter().map(String::as_str)).collect()
}

/// What of the other configuration needs a restart, a sentence each.
pub(super) fn restarts(
    (ours, files): (&Config, &Fingerprint),
    (next, next_files): (&Config, &Fingerprint),
) -> Vec<String> {
    let tls = ours.kafka.tls.iter().flat_map(|tls| [&tls.ca_file, &tls.certificate_file]);
    let same_files = tls.flatten().all(|file| files.agrees_on(next_files, file));
    let differs = [
        ("kafka", ours.kafka == next.kafka && same_files, "the client is in its group already"),
        ("admin.listen", ours.admin.listen == next.admin.listen, "probes ask the other address"),
        ("limits.workers", ours.limits.workers == next.limits.workers, "the threads run"),
        (
            "limits.in_flight_bytes",
            ours.limits.in_flight_bytes == next.limits.in_flight_bytes,
            "the Kafka client's queues are a part of it",
        ),
        (
            "reload.watch` or `reload.poll_seconds",
            (ours.reload.watch, ours.reload.poll_seconds)
                == (next.reload.watch, next.reload.poll_seconds),
            "the watching has begun",
        ),
    ];
    let differs = differs.into_iter().filter(|(_, same, _)| !same);
    differs
        .map(|(key, _, reason)| {
            format!("`{key}` differs and cannot be swapped ({reason}): restart xylem")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(changes: &[(&str, &str)]) -> Config {
        let mut text = "kafka: {brokers: 'b:1', group: g, start: earliest}
aep: {organisation: O@AdobeOrg}
destinations: {}
pipelines: {}
limits: {in_flight_bytes: 1000000}
admin: {listen: '127.0.0.1:0'}
shutdown: {grace_ms: 1}
"
        .to_owned();
        for (from, to) in changes {
            assert!(text.contains(from));
            text = text.replace(from, to);
        }
        serde_saphyr::from_str(&text).unwrap()
    }

    fn refused(changes: &[(&str, &str)]) -> Vec<String> {
        let files = Fingerprint::default();
        restarts((&config(&[]), &files), (&config(changes), &files))
    }

    #[test]
    fn what_cannot_be_swapped_is_named_and_says_to_restart() {
        assert_eq!(refused(&[]), [""; 0]);
        assert_eq!(refused(&[("grace_ms: 1", "grace_ms: 2"), ("O@", "P@")]), [""; 0]);
        let words = refused(&[("group: g", "group: h"), ("1000000", "2000000, workers: 2")]);
        let keys: Vec<&str> = words.iter().filter_map(|words| words.split('`').nth(1)).collect();
        assert_eq!(keys, ["kafka", "limits.workers", "limits.in_flight_bytes"]);
        assert!(words.iter().all(|words| words.ends_with(": restart xylem")));
        assert_eq!(
            refused(&[("127.0.0.1:0", "0.0.0.0:1")]),
            [
                "`admin.listen` differs and cannot be swapped (probes ask the other address): restart xylem"
            ]
        );
    }

    #[test]
    fn many_partitions_are_counted() {
        let id = |partition| PartitionId { topic: "t".into(), partition };
        let swapped = Swapped {
            topics_added: vec!["a".to_owned(), "b".to_owned()],
            again: (0..10).map(id).collect(),
            ..Swapped::default()
        };
        assert_eq!(
            swapped.sentences(),
            [
                "topics read from now on, a rebalance follows: `a`, `b`",
                "partitions that begin again where they are settled: `t-0`, `t-1`, `t-2`, `t-3`, `t-4`, `t-5`, \
                 `t-6`, `t-7` and 2 more"
            ]
        );
        assert_eq!(Swapped::default().sentences(), [""; 0]);
    }
}
